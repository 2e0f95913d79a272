#include "percpu.h"

#include "string.h"

/* struct counters is nothing but u64s, so that it can be added up as an array. */
#define COUNTER_WORDS (sizeof(struct counters) / sizeof(u64))

void counters_sum(struct counters *sum) {
  memset(sum, 0, sizeof *sum);
  for (u32 c = 0; c < cpu_count; c++)
    for (u32 i = 0; i < COUNTER_WORDS; i++) ((u64 *)sum)[i] += ((const volatile u64 *)&cpus[c].counters)[i];
}
