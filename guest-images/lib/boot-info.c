#include "boot-info.h"

#include "memory-map.h"
#include "string.h"

struct boot_info boot_info;

/* "Multiboot Specification version 0.6.96", "Boot information format". */
struct __attribute__((packed)) multiboot_info {
  u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr;
};
#define MULTIBOOT_HAS_MEMORY 0x001
#define MULTIBOOT_HAS_COMMAND_LINE 0x004
#define MULTIBOOT_HAS_MEMORY_MAP 0x040

struct __attribute__((packed)) multiboot_range {
  u32 size; /* of what follows */
  u64 base, length;
  u32 type;
};

/* Xen's public/arch-x86/hvm/start_info.h. */
#define PVH_MAGIC 0x336EC578
struct pvh_start_info {
  u32 magic, version, flags, nr_modules;
  u64 modlist_paddr, cmdline_paddr, rsdp_paddr;
  u64 memmap_paddr; /* version 1 and later */
  u32 memmap_entries, reserved;
};
struct pvh_range {
  u64 base, length;
  u32 type, reserved;
};

/* "The Linux/x86 Boot Protocol": offsets in boot_params ("zero page"). */
#define BOOT_PARAMS_ACPI_RSDP_ADDR 0x070
#define BOOT_PARAMS_EXT_CMD_LINE_PTR 0x0C8
#define BOOT_PARAMS_E820_ENTRIES 0x1E8
#define BOOT_PARAMS_CMD_LINE_PTR 0x228
#define BOOT_PARAMS_E820_TABLE 0x2D0
#define BOOT_PARAMS_E820_MAX 128
struct __attribute__((packed)) e820_range {
  u64 base, length;
  u32 type;
};

static void add_range(u64 base, u64 length, u32 type) {
  if (length == 0 || boot_info.range_count == MAX_MEMORY_RANGES) return;
  boot_info.ranges[boot_info.range_count++] = (struct memory_range){base, length, type};
}

static void copy_command_line(const char *text) {
  size_t i = 0;
  if (text)
    for (; text[i] && i + 1 < MAX_COMMAND_LINE; i++) boot_info.command_line[i] = text[i];
  boot_info.command_line[i] = '\0';
}

static void read_multiboot(const struct multiboot_info *info) {
  if (info->flags & MULTIBOOT_HAS_COMMAND_LINE) copy_command_line(PHYSICAL_TO_POINTER(info->cmdline));
  if (info->flags & MULTIBOOT_HAS_MEMORY_MAP) {
    u32 offset = 0;
    while (offset + sizeof(struct multiboot_range) <= info->mmap_length) {
      const struct multiboot_range *range = PHYSICAL_TO_POINTER((u64)info->mmap_addr + offset);
      add_range(range->base, range->length, range->type);
      offset += range->size + sizeof range->size;
    }
  } else if (info->flags & MULTIBOOT_HAS_MEMORY) {
    add_range(0, (u64)info->mem_lower << 10, MEMORY_RAM);
    add_range(0x100000, (u64)info->mem_upper << 10, MEMORY_RAM);
  }
}

static void read_pvh(const struct pvh_start_info *info) {
  if (info->magic != PVH_MAGIC) return;
  copy_command_line(PHYSICAL_TO_POINTER(info->cmdline_paddr));
  boot_info.rsdp = info->rsdp_paddr;
  if (info->version < 1) return;
  const struct pvh_range *ranges = PHYSICAL_TO_POINTER(info->memmap_paddr);
  for (u32 i = 0; i < info->memmap_entries; i++) add_range(ranges[i].base, ranges[i].length, ranges[i].type);
}

static void read_linux(const u8 *params) {
  u64 command_line = *(const u32 *)(params + BOOT_PARAMS_CMD_LINE_PTR) |
                     (u64) * (const u32 *)(params + BOOT_PARAMS_EXT_CMD_LINE_PTR) << 32;
  copy_command_line(PHYSICAL_TO_POINTER(command_line));
  boot_info.rsdp = *(const u64 *)(params + BOOT_PARAMS_ACPI_RSDP_ADDR);
  const struct e820_range *ranges = (const struct e820_range *)(params + BOOT_PARAMS_E820_TABLE);
  u32 count = MIN(params[BOOT_PARAMS_E820_ENTRIES], BOOT_PARAMS_E820_MAX);
  for (u32 i = 0; i < count; i++) add_range(ranges[i].base, ranges[i].length, ranges[i].type);
}

void boot_info_read(u32 protocol, u64 information) {
  boot_info.protocol = protocol;
  if (protocol == PROTOCOL_MULTIBOOT) read_multiboot(PHYSICAL_TO_POINTER(information));
  else if (protocol == PROTOCOL_PVH) read_pvh(PHYSICAL_TO_POINTER(information));
  else read_linux(PHYSICAL_TO_POINTER(information));
}

const char *boot_protocol_name(void) {
  switch (boot_info.protocol) {
    case PROTOCOL_MULTIBOOT: return "multiboot";
    case PROTOCOL_PVH: return "pvh";
    default: return "linux";
  }
}

const char *option_text(const char *name) {
  size_t length = strlen(name);
  const char *word = boot_info.command_line;
  while (*word) {
    if (strncmp(word, name, length) == 0 && word[length] == '=') return word + length + 1;
    while (*word && *word != ' ') word++;
    while (*word == ' ') word++;
  }
  return 0;
}

bool option_is(const char *name, const char *value) {
  const char *text = option_text(name);
  size_t length = strlen(value);
  return text && strncmp(text, value, length) == 0 && (text[length] == '\0' || text[length] == ' ');
}

u64 option_u64(const char *name, u64 otherwise) {
  const char *text = option_text(name);
  u64 value;
  return text && parse_u64(text, ' ', &value) ? value : otherwise;
}

u64 low_memory_end(void) {
  for (u32 i = 0; i < boot_info.range_count; i++) {
    const struct memory_range *range = &boot_info.ranges[i];
    if (range->type == MEMORY_RAM && range->base <= KERNEL_BASE && range->base + range->length > KERNEL_BASE)
      return MIN(range->base + range->length, 0x100000000);
  }
  return 0;
}
