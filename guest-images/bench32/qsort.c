/* Quicksort of 100,000 numbers with insertion sort for short ranges: compares, unpredictable branches, recursion. */
#include "bench.h"

#define COUNT 100000
#define SHORT_RANGE 12

const char bench_name[] = "qsort";
const u32 bench_default_rounds = 7;

static u32 numbers[COUNT];

static void insertion_sort(u32 *a, int count) {
  for (int i = 1; i < count; i++) {
    u32 value = a[i];
    int at = i;
    for (; at > 0 && a[at - 1] > value; at--) a[at] = a[at - 1];
    a[at] = value;
  }
}

static void swap(u32 *a, u32 *b) {
  u32 t = *a;
  *a = *b;
  *b = t;
}

/** Hoare's partition around the median of first, middle and last. */
static void sort(u32 *a, int count) {
  while (count > SHORT_RANGE) {
    u32 *middle = a + count / 2, *last = a + count - 1;
    if (*middle < *a) swap(middle, a);
    if (*last < *a) swap(last, a);
    if (*last < *middle) swap(last, middle);
    u32 pivot = *middle;
    int i = -1, j = count;
    for (;;) {
      do i++;
      while (a[i] < pivot);
      do j--;
      while (a[j] > pivot);
      if (i >= j) break;
      swap(a + i, a + j);
    }
    sort(a, j + 1);
    a += j + 1;
    count -= j + 1;
  }
  insertion_sort(a, count);
}

u32 bench_run(u32 n) {
  u32 checksum = MIX_START, random = 12345;
  while (n-- > 0) {
    for (int i = 0; i < COUNT; i++) numbers[i] = next_random(&random);
    sort(numbers, COUNT);
    for (int i = 0; i < COUNT; i += 97) checksum = mix(checksum, numbers[i]);
  }
  return checksum;
}
