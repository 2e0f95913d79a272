/* Memory behind the image, given out from low to high and never taken back. */
#ifndef HEAP_H
#define HEAP_H

#include "types.h"

/** Starts the heap behind the image; RAM ends where the loader's memory map says. Stops the machine if there is none. */
void heap_init(void);

/** `bytes` of zeroed memory aligned to `alignment` (a power of two). Stops the machine when RAM is used up. */
void *heap_allocate(u64 bytes, u64 alignment);

/** One page that this kernel has never read or written, or 0 when no more than 16 MiB are left. Its content is unknown. */
void *heap_untouched_page(void);

#endif
