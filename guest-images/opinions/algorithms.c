/*
 * Compiled C: algorithms whose results are known (primes, a sort, CRC-32, 64-bit sums, permutations), as compilers emit code for them.
 * Their data is left in memory.
 */
#include "runtime.h"

const char program_name[] = "algorithms";

#define PRIMES 65536
static u8 *const composite = (u8 *)RESULTS_RAW;
#define NUMBERS 2000
static u32 *const numbers = (u32 *)(RESULTS_RAW + PRIMES);

static void primes(void) {
  begin("primes");
  memset(composite, 0, PRIMES);
  u32 count = 0;
  for (u32 n = 2; n < PRIMES; n++) {
    if (composite[n]) continue;
    count++;
    for (u32 m = 2 * n; m < PRIMES; m += n) composite[m] = 1;
  }
  check("below-65536", count, 6542);
  end();
}

/* Quicksort, with recursion into both parts. */
static void sort(u32 *first, u32 *last) {
  if (first >= last) return;
  u32 pivot = first[(last - first) / 2], *low = first, *high = last;
  while (low <= high) {
    while (*low < pivot) low++;
    while (*high > pivot) high--;
    if (low <= high) {
      u32 other = *low;
      *low++ = *high;
      *high-- = other;
    }
  }
  sort(first, high);
  sort(low, last);
}
static void sorts(void) {
  begin("sort");
  u32 state = 12345, sum = 0, ordered = 0;
  for (u32 i = 0; i < NUMBERS; i++) numbers[i] = state = state * 1664525 + 1013904223, sum += state;
  sort(numbers, numbers + NUMBERS - 1);
  for (u32 i = 0; i < NUMBERS; i++) {
    sum -= numbers[i];
    if (i > 0 && numbers[i - 1] <= numbers[i]) ordered++;
  }
  check("ordered", ordered, NUMBERS - 1);
  check("same-sum", sum, 0);
  end();
}

static void checksum(void) {
  begin("crc-32");
  u32 crc = 0xFFFFFFFF;
  for (const char *c = "123456789"; *c; c++) {
    crc ^= (u8)*c;
    for (int i = 0; i < 8; i++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  check("of-123456789", ~crc, 0xCBF43926);
  end();
}

static void wide(void) {
  begin("64-bit");
  u64 a = 0, b = 1;
  for (int i = 0; i < 90; i++) {
    u64 next = a + b;
    a = b;
    b = next;
  }
  check("fibonacci-90-low", (u32)a, (u32)2880067194370816120ULL);
  check("fibonacci-90-high", (u32)(a >> 32), (u32)(2880067194370816120ULL >> 32));
  u64 factorial = 1;
  for (u32 i = 2; i <= 20; i++) factorial *= i;
  check("factorial-20-low", (u32)factorial, (u32)2432902008176640000ULL);
  check("factorial-20-high", (u32)(factorial >> 32), (u32)(2432902008176640000ULL >> 32));
  end();
}

/* Heap's algorithm; the parity of each permutation alternates. */
static u32 permutations(u32 *items, u32 count) {
  if (count == 1) return 1;
  u32 found = 0;
  for (u32 i = 0; i < count; i++) {
    found += permutations(items, count - 1);
    u32 at = count % 2 ? 0 : i, other = items[at];
    items[at] = items[count - 1];
    items[count - 1] = other;
  }
  return found;
}
static void recursion(void) {
  begin("permutations");
  u32 items[7] = {1, 2, 3, 4, 5, 6, 7};
  check("of-7", permutations(items, 7), 5040);
  end();
}

void program_run(void) {
  primes();
  sorts();
  checksum();
  wide();
  recursion();
}
