/*
 * The verb `walks`: how many paging-structure entries a TLB miss reads, by the processor's own counters (CPUID leaf AH; on processors of
 * the Haswell family event 08H, unit mask 01H, counts loads whose translation had to be walked for, and event BCH what the
 * walker read). Loads touch `pages` pages (default 256) of 4 KiB once each after the TLB has been emptied; then the same with a page
 * of 2 MiB each. Printed as `WALKS KIND misses N references M`.
 *
 * What the loop's code and stack miss is not in the figures: a run without loads is subtracted.
 */
#include "cpu.h"
#include "heap.h"
#include "machine-verbs.h"
#include "console.h"
#include "paging.h"

#define IA32_PERFEVTSEL0 0x186
#define SELECT_OS (1u << 17)
#define SELECT_ENABLE (1u << 22)
#define LOAD_WALKS 0x0108
#define WALKER_LOADS 0x0FBC

#define SMALL_PAGE 0x1000UL
#define LARGE_PAGE 0x200000UL
#define MOST_LARGE_PAGES 4

struct walks {
  u64 misses, references;
};

static u64 rdpmc(u32 counter) {
  u32 low, high;
  __asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(counter) : "memory");
  return (u64)high << 32 | low;
}

/* Not inlined: both calls run the same code. */
static __attribute__((noinline)) struct walks count(volatile u8 *from, u64 step, u64 pages) {
  u64 flags = interrupts_save();
  write_cr3(read_cr3());
  u64 misses = rdpmc(0), references = rdpmc(1);
  for (u64 i = 0; i < pages; i++) (void)from[i * step];
  struct walks seen = {rdpmc(0) - misses, rdpmc(1) - references};
  interrupts_restore(flags);
  return seen;
}

static void measure(const char *kind, u8 *from, u64 step, u64 pages) {
  /* The first round sets accessed bits, and makes a hypervisor map what it maps late. */
  count(from, step, pages);
  struct walks with = count(from, step, pages), without = count(from, step, 0);
  printf("WALKS %s misses %lu references %lu\n", kind, with.misses - without.misses,
         with.references - without.references);
}

void verb_walks(const struct arguments *arguments) {
  struct cpuid_result leaf = cpuid(0xA, 0);
  if ((leaf.eax & 0xFF) == 0 || (leaf.eax >> 8 & 0xFF) < 2) {
    printf("BENCH-SKIP walks no performance counters\n");
    return;
  }
  u64 pages = argument_u64(arguments, "pages", 256);
  wrmsr(IA32_PERFEVTSEL0, LOAD_WALKS | SELECT_OS | SELECT_ENABLE);
  wrmsr(IA32_PERFEVTSEL0 + 1, WALKER_LOADS | SELECT_OS | SELECT_ENABLE);
  u8 *small = heap_allocate(pages * SMALL_PAGE, LARGE_PAGE);
  for (u64 i = 0; i < pages; i++) (void)paging_entry((u64)small + i * SMALL_PAGE);
  measure("4-KiB", small, SMALL_PAGE, pages);
  u64 large_pages = pages < MOST_LARGE_PAGES ? pages : MOST_LARGE_PAGES;
  u8 *large = heap_allocate(large_pages * LARGE_PAGE, LARGE_PAGE);
  measure("2-MiB", large, LARGE_PAGE, large_pages);
  wrmsr(IA32_PERFEVTSEL0, 0);
  wrmsr(IA32_PERFEVTSEL0 + 1, 0);
}
