/* The kernel's page tables: low memory identity mapped; device memory uncached and not executable. */
#ifndef PAGING_H
#define PAGING_H

#include "types.h"

/**
 * Refines the boot tables: RAM below 4 GiB write-back, everything else below 4 GiB uncacheable and, where the CPU has
 * NX, not executable. Pages are 2 MiB, and WP is on.
 */
void paging_init(void);

/** Makes [physical, physical + bytes) usable as identity-mapped device memory; nothing to do below 4 GiB. */
void paging_map_device(u64 physical, u64 bytes);

/**
 * Splits the 2 MiB page around `address` (below 4 GiB) into 4 KiB pages, if it is not yet, and returns the
 * page-table entry of the 4 KiB page. The caller changes it and invalidates the TLB.
 */
volatile u64 *paging_entry(u64 address);

#define PTE_PRESENT 0x001UL
#define PTE_WRITE 0x002UL
#define PTE_PWT 0x008UL
#define PTE_PCD 0x010UL
#define PTE_PAGE_SIZE 0x080UL
#define PTE_NX 0x8000000000000000UL
#define PTE_ADDRESS 0x000FFFFFFFFFF000UL

#endif
