/* What the boot loader told us, copied to one form whatever the protocol was. */
#ifndef BOOT_INFO_H
#define BOOT_INFO_H

#include "types.h"

#define MAX_MEMORY_RANGES 64
#define MAX_COMMAND_LINE 4096

/** Types of address ranges, the same numbers in E820H, multiboot and PVH (ACPI Specification, "Address Range Types"). */
#define MEMORY_RAM 1
#define MEMORY_RESERVED 2
#define MEMORY_ACPI_RECLAIMABLE 3
#define MEMORY_ACPI_NVS 4
#define MEMORY_UNUSABLE 5

struct memory_range {
  u64 base, length;
  u32 type;
};

struct boot_info {
  u32 protocol; /* PROTOCOL_… */
  char command_line[MAX_COMMAND_LINE];
  u32 range_count;
  struct memory_range ranges[MAX_MEMORY_RANGES];
  u64 rsdp; /* physical address of ACPI's RSDP if the loader named it, else 0 */
};

extern struct boot_info boot_info;

/** Copies what the loader passed. Must run before anything writes to memory outside the image. */
void boot_info_read(u32 protocol, u64 information);

/** "multiboot", "pvh" or "linux". */
const char *boot_protocol_name(void);

/** The value of `name=value` on the command line up to the next space, or 0; the text is not terminated there. */
const char *option_text(const char *name);

/** Is the option's value exactly `value`? False if the option is absent. */
bool option_is(const char *name, const char *value);

/** A numeric option, or `otherwise` if it is absent or not a number. */
u64 option_u64(const char *name, u64 otherwise);

/** The end of the RAM range that holds the kernel, at most 4 GiB; 0 if no range holds it. */
u64 low_memory_end(void);

#endif
