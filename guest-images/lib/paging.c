#include "paging.h"

#include "boot-info.h"
#include "cpu.h"
#include "heap.h"

#define GIB (1UL << 30)
#define LARGE_PAGE_BYTES (2UL << 20)
#define ENTRIES 512

extern u64 boot_pml4[ENTRIES], boot_pdpt[ENTRIES], boot_page_directories[4 * ENTRIES];

/** NX if EFER.NXE is on, else 0: the bit is reserved without it. */
static u64 no_execute(void) { return rdmsr(MSR_IA32_EFER) & EFER_NXE ? PTE_NX : 0; }

static bool holds_ram(u64 start, u64 end) {
  for (u32 i = 0; i < boot_info.range_count; i++) {
    const struct memory_range *range = &boot_info.ranges[i];
    if (range->type != MEMORY_RESERVED && range->base < end && range->base + range->length > start) return true;
  }
  return false;
}

void paging_init(void) {
  u64 device = PTE_PCD | PTE_PWT | no_execute();
  for (u64 i = 0; i < 4 * ENTRIES; i++) {
    u64 address = i * LARGE_PAGE_BYTES;
    if (address != 0 && !holds_ram(address, address + LARGE_PAGE_BYTES)) boot_page_directories[i] |= device;
  }
  write_cr3(read_cr3());
}

void paging_map_device(u64 physical, u64 bytes) {
  u64 end = physical + bytes;
  for (u64 at = physical & ~(LARGE_PAGE_BYTES - 1); at < end; at += LARGE_PAGE_BYTES) {
    if (at < 4 * GIB) continue;
    u64 *pml4e = &boot_pml4[at >> 39 & (ENTRIES - 1)];
    if (!(*pml4e & PTE_PRESENT))
      *pml4e = POINTER_TO_PHYSICAL(heap_allocate(PAGE_BYTES, PAGE_BYTES)) | PTE_PRESENT | PTE_WRITE;
    u64 *pdpte = (u64 *)PHYSICAL_TO_POINTER(*pml4e & PTE_ADDRESS) + (at >> 30 & (ENTRIES - 1));
    if (!(*pdpte & PTE_PRESENT))
      *pdpte = POINTER_TO_PHYSICAL(heap_allocate(PAGE_BYTES, PAGE_BYTES)) | PTE_PRESENT | PTE_WRITE;
    u64 *pde = (u64 *)PHYSICAL_TO_POINTER(*pdpte & PTE_ADDRESS) + (at >> 21 & (ENTRIES - 1));
    *pde = at | PTE_PRESENT | PTE_WRITE | PTE_PAGE_SIZE | PTE_PCD | PTE_PWT | no_execute();
  }
}

volatile u64 *paging_entry(u64 address) {
  u64 *pde = &boot_page_directories[address >> 21];
  if (*pde & PTE_PAGE_SIZE) {
    u64 *table = heap_allocate(PAGE_BYTES, PAGE_BYTES);
    u64 flags = *pde & ~(PTE_ADDRESS | PTE_PAGE_SIZE);
    for (u64 i = 0; i < ENTRIES; i++) table[i] = ((address & ~(LARGE_PAGE_BYTES - 1)) + i * PAGE_BYTES) | flags;
    *pde = POINTER_TO_PHYSICAL(table) | PTE_PRESENT | PTE_WRITE;
    write_cr3(read_cr3());
  }
  volatile u64 *table = PHYSICAL_TO_POINTER(*pde & PTE_ADDRESS);
  return &table[address >> 12 & (ENTRIES - 1)];
}
