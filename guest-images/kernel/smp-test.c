/*
 * The verb `smp`: every CPU, called by IPI, adds to a shared counter with LOCKed instructions and, under a spinlock,
 * to one without; all of them at the same time.
 */
#include "smp.h"

#include "apic.h"
#include "console.h"
#include "machine-verbs.h"

static struct {
  volatile u32 arrived;
  u32 participants;
  u64 increments;
  u64 locked_counter;
  struct spinlock lock;
  volatile u64 plain_counter;
  volatile u64 seen[MAX_CPUS]; /* APIC ID + 1 of the CPU that ran with this index */
} shared;

static void work(void *argument) {
  (void)argument;
  shared.seen[PERCPU->index] = apic_id() + 1;
  __atomic_fetch_add(&shared.arrived, 1, __ATOMIC_SEQ_CST);
  /* Start together, so that the increments really collide; bounded, in case a CPU never comes. */
  for (u32 i = 0; i < 100000000 && shared.arrived < shared.participants; i++) cpu_pause();
  for (u64 i = 0; i < shared.increments; i++) {
    __atomic_fetch_add(&shared.locked_counter, 1, __ATOMIC_SEQ_CST);
    spin_lock(&shared.lock);
    shared.plain_counter++;
    spin_unlock(&shared.lock);
  }
}

/** `smp:count=N`: N increments on each CPU (default 1000). */
void verb_smp(const struct arguments *arguments) {
  shared.arrived = 0;
  shared.participants = cpu_count;
  shared.increments = argument_u64(arguments, "count", 1000);
  shared.locked_counter = shared.plain_counter = 0;
  for (u32 c = 1; c < cpu_count; c++) smp_call(c, work, 0);
  work(0);
  for (u32 c = 1; c < cpu_count; c++)
    if (!smp_wait(c)) {
      report_fail("smp", "CPU %u did not return", c);
      return;
    }
  u64 expected = shared.increments * cpu_count;
  for (u32 c = 0; c < cpu_count; c++)
    if (shared.seen[c] != (u64)cpus[c].apic_id + 1) {
      report_fail("smp", "CPU %u: expected APIC ID %u, got %lu", c, cpus[c].apic_id, shared.seen[c] - 1);
      return;
    }
  if (shared.locked_counter != expected || shared.plain_counter != expected) {
    report_fail("smp", "expected %lu, got %lu locked and %lu under the lock", expected, shared.locked_counter,
                shared.plain_counter);
    return;
  }
  printf("SMP ok n=%u\n", cpu_count);
  report_pass("smp");
}
