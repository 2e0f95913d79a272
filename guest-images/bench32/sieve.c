/* Sieve of Eratosthenes over a million bytes: byte stores with growing strides. */
#include "bench.h"

#define LIMIT 1000000

const char bench_name[] = "sieve";
const u32 bench_default_rounds = 8;

static u8 composite[LIMIT];

static u32 sieve(u32 checksum) {
  for (u32 i = 0; i < LIMIT; i++) composite[i] = 0;
  for (u32 p = 2; p * p < LIMIT; p++)
    if (!composite[p])
      for (u32 multiple = p * p; multiple < LIMIT; multiple += p) composite[multiple] = 1;
  u32 count = 0, last = 0;
  for (u32 i = 2; i < LIMIT; i++)
    if (!composite[i]) {
      count++;
      last = i;
    }
  return mix(mix(checksum, count), last);
}

u32 bench_run(u32 n) {
  u32 checksum = MIX_START;
  while (n-- > 0) checksum = sieve(checksum);
  return checksum;
}
