#include "heap.h"

#include "boot-info.h"
#include "string.h"
#include "traps.h"

extern u8 image_end[];

/** What untouched pages leave for later allocations, such as the buffers of a deep queue. */
#define HEAP_RESERVE (16 << 20)

static u64 next, end;

void heap_init(void) {
  next = ALIGN_UP(POINTER_TO_PHYSICAL(image_end), PAGE_BYTES);
  end = low_memory_end();
  if (end <= next) panic("no RAM behind the kernel image in the loader's memory map");
}

void *heap_allocate(u64 bytes, u64 alignment) {
  u64 start = ALIGN_UP(next, alignment);
  if (start + bytes < start || start + bytes > end) panic("out of memory: %lu bytes wanted", bytes);
  next = start + bytes;
  return memset(PHYSICAL_TO_POINTER(start), 0, bytes);
}

void *heap_untouched_page(void) {
  u64 start = ALIGN_UP(next, PAGE_BYTES);
  if (start + PAGE_BYTES + HEAP_RESERVE > end) return 0;
  next = start + PAGE_BYTES;
  return PHYSICAL_TO_POINTER(start);
}
