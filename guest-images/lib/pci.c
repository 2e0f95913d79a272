#include "pci.h"

#include "acpi.h"
#include "boot-info.h"
#include "console.h"
#include "io.h"
#include "paging.h"
#include "traps.h"

#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA 0xCFC
#define CONFIG_ENABLE 0x80000000

#define HEADER_TYPE_MASK 0x7F
#define HEADER_MULTI_FUNCTION 0x80
#define HEADER_BRIDGE 1
#define STATUS_CAPABILITIES 0x10

#define BAR_IO 0x1
#define BAR_MEMORY_TYPE_64 0x4
#define BAR_MEMORY_FLAGS 0xF
#define BAR_IO_FLAGS 0x3

/* Where BARs go that nobody has placed: below the I/O APIC, as PC firmware does, and I/O ports above ISA's. */
#define MEMORY_WINDOW_START 0xFD000000
#define MEMORY_WINDOW_END 0xFEC00000
#define IO_WINDOW_START 0xC000
#define IO_WINDOW_END 0x10000

#define MSIX_CONTROL 2
#define MSIX_TABLE 4
#define MSIX_ENABLE 0x8000
#define MSIX_FUNCTION_MASK 0x4000
#define MSIX_ENTRY_BYTES 16
#define MSIX_VECTOR_MASKED 1
#define MSI_ADDRESS 0xFEE00000

struct pci_function pci_functions[MAX_PCI_FUNCTIONS];
u32 pci_function_count;

static bool scanned;
static bool ecam;

bool pci_uses_ecam(void) { return ecam; }

static u64 ecam_address(const struct pci_function *f, u32 offset) {
  u64 bus = f->bus - acpi.mcfg_first_bus;
  return acpi.mcfg_base + (bus << 20 | (u64)f->device << 15 | (u64)f->function << 12 | offset);
}

static void select(const struct pci_function *f, u32 offset) {
  outl(CONFIG_ADDRESS,
       CONFIG_ENABLE | (u32)f->bus << 16 | (u32)f->device << 11 | (u32)f->function << 8 | (offset & 0xFC));
}

#define DEFINE_CONFIG_ACCESS(width, type, suffix)                                                                   \
  type pci_read##width(const struct pci_function *f, u32 offset) {                                                  \
    if (ecam) return mmio_read##width(ecam_address(f, offset));                                                     \
    select(f, offset);                                                                                              \
    return in##suffix((u16)(CONFIG_DATA + (offset & 3)));                                                           \
  }                                                                                                                 \
  void pci_write##width(const struct pci_function *f, u32 offset, type value) {                                     \
    if (ecam) {                                                                                                     \
      mmio_write##width(ecam_address(f, offset), value);                                                            \
      return;                                                                                                       \
    }                                                                                                               \
    select(f, offset);                                                                                              \
    out##suffix((u16)(CONFIG_DATA + (offset & 3)), value);                                                          \
  }

DEFINE_CONFIG_ACCESS(8, u8, b)
DEFINE_CONFIG_ACCESS(16, u16, w)
DEFINE_CONFIG_ACCESS(32, u32, l)

static void scan_bus(u8 bus, u32 depth);

static void scan_function(u8 bus, u8 device, u8 function, u32 depth) {
  struct pci_function f = {.bus = bus, .device = device, .function = function};
  u32 id = pci_read32(&f, PCI_VENDOR_ID);
  if ((id & 0xFFFF) == 0xFFFF || pci_function_count == MAX_PCI_FUNCTIONS) return;
  u32 class = pci_read32(&f, PCI_CLASS_REVISION);
  f.vendor_id = (u16)id;
  f.device_id = (u16)(id >> 16);
  f.class = (u8)(class >> 24);
  f.subclass = (u8)(class >> 16);
  f.interface = (u8)(class >> 8);
  pci_functions[pci_function_count++] = f;
  if ((pci_read8(&f, PCI_HEADER_TYPE) & HEADER_TYPE_MASK) == HEADER_BRIDGE) {
    u8 secondary = pci_read8(&f, PCI_SECONDARY_BUS);
    if (secondary > bus) scan_bus(secondary, depth + 1);
  }
}

static void scan_bus(u8 bus, u32 depth) {
  if (depth > 8 || (ecam && (bus < acpi.mcfg_first_bus || bus > acpi.mcfg_last_bus))) return;
  for (u8 device = 0; device < 32; device++) {
    struct pci_function f = {.bus = bus, .device = device};
    if (pci_read16(&f, PCI_VENDOR_ID) == 0xFFFF) continue;
    u8 functions = pci_read8(&f, PCI_HEADER_TYPE) & HEADER_MULTI_FUNCTION ? 8 : 1;
    for (u8 function = 0; function < functions; function++) scan_function(bus, device, function, depth);
  }
}

/* --- base address registers --- */

struct bar {
  const struct pci_function *function;
  u32 offset;
  bool io, is_64;
  u64 address, bytes; /* bytes = 0: not implemented */
};

/** Reads a BAR and its size: the bits that stay 0 when all ones are written (decoding switched off meanwhile). */
static struct bar bar_probe(const struct pci_function *f, u32 index) {
  struct bar bar = {.function = f, .offset = PCI_BAR0 + 4 * index};
  u16 command = pci_read16(f, PCI_COMMAND);
  pci_write16(f, PCI_COMMAND, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
  u32 low = pci_read32(f, bar.offset);
  bar.io = low & BAR_IO;
  bar.is_64 = !bar.io && (low & 6) == BAR_MEMORY_TYPE_64;
  u32 flags = bar.io ? BAR_IO_FLAGS : BAR_MEMORY_FLAGS;
  u32 high = bar.is_64 ? pci_read32(f, bar.offset + 4) : 0;
  pci_write32(f, bar.offset, 0xFFFFFFFF);
  u64 mask = pci_read32(f, bar.offset) & ~flags;
  pci_write32(f, bar.offset, low);
  if (bar.is_64) {
    pci_write32(f, bar.offset + 4, 0xFFFFFFFF);
    mask |= (u64)pci_read32(f, bar.offset + 4) << 32;
    pci_write32(f, bar.offset + 4, high);
  } else if (mask != 0) {
    mask |= bar.io ? 0xFFFFFFFFFFFF0000 : 0xFFFFFFFF00000000;
  }
  pci_write16(f, PCI_COMMAND, command);
  bar.bytes = mask == 0 ? 0 : ~mask + 1;
  bar.address = (low & ~flags) | (u64)high << 32;
  return bar;
}

#define MAX_BARS 128
static struct bar bars[MAX_BARS];
static u32 bar_count;

static bool range_taken(bool io, u64 start, u64 bytes) {
  for (u32 i = 0; i < bar_count; i++)
    if (bars[i].io == io && bars[i].address != 0 && bars[i].address < start + bytes &&
        start < bars[i].address + bars[i].bytes)
      return true;
  return false;
}

static void place_bar(struct bar *bar) {
  u64 end = bar->io ? IO_WINDOW_END : MEMORY_WINDOW_END;
  u64 step = bar->io ? bar->bytes : MAX(bar->bytes, PAGE_BYTES);
  for (u64 at = ALIGN_UP(bar->io ? IO_WINDOW_START : MEMORY_WINDOW_START, step); at + bar->bytes <= end; at += step) {
    if (range_taken(bar->io, at, bar->bytes)) continue;
    bar->address = at;
    pci_write32(bar->function, bar->offset, (u32)at);
    if (bar->is_64) pci_write32(bar->function, bar->offset + 4, 0);
    return;
  }
  printf("no room for a BAR of %lu bytes\n", bar->bytes);
}

/** Firmware has placed a function's BARs, or the function has none in use, if nothing that it enabled is at 0. */
static bool has_unplaced_bar(const struct pci_function *f) {
  if ((pci_read8(f, PCI_HEADER_TYPE) & HEADER_TYPE_MASK) != 0) return false;
  return !(pci_read16(f, PCI_COMMAND) & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
}

/**
 * Places every BAR that is still 0, if there is a function that nobody switched on. Machines whose firmware did its
 * work are left as they are, without the many accesses that measuring the BARs takes.
 */
static void place_bars(void) {
  bool needed = false;
  for (u32 i = 0; i < pci_function_count; i++) needed |= has_unplaced_bar(&pci_functions[i]);
  if (!needed) return;
  for (u32 i = 0; i < pci_function_count; i++) {
    const struct pci_function *f = &pci_functions[i];
    if ((pci_read8(f, PCI_HEADER_TYPE) & HEADER_TYPE_MASK) != 0) continue;
    for (u32 index = 0; index < 6 && bar_count < MAX_BARS; index++) {
      struct bar bar = bar_probe(f, index);
      if (bar.bytes != 0) bars[bar_count++] = bar;
      if (bar.is_64) index++;
    }
  }
  for (u32 i = 0; i < bar_count; i++)
    if (bars[i].address == 0) place_bar(&bars[i]);
}

void pci_init(void) {
  if (scanned) return;
  scanned = true;
  ecam = option_is("pci", "ecam") && acpi.mcfg_base != 0;
  if (option_is("pci", "ecam") && !ecam) printf("pci=ecam: no MCFG table; ports CF8H/CFCH are used\n");
  if (ecam) paging_map_device(acpi.mcfg_base, (u64)(acpi.mcfg_last_bus - acpi.mcfg_first_bus + 1) << 20);
  scan_bus(ecam ? acpi.mcfg_first_bus : 0, 0);
  place_bars();
}

u8 pci_find_capability(const struct pci_function *f, u8 type, u8 after) {
  if (!(pci_read16(f, PCI_STATUS) & STATUS_CAPABILITIES)) return 0;
  u8 at = after ? pci_read8(f, after + 1) : pci_read8(f, PCI_CAPABILITIES);
  /* 48 is as many capabilities as fit in 192 bytes: a list that is longer is a loop. */
  for (int i = 0; i < 48 && (at & 0xFC) >= 0x40; i++) {
    at &= 0xFC;
    if (pci_read8(f, at) == type) return at;
    at = pci_read8(f, at + 1);
  }
  return 0;
}

u64 pci_bar_address(const struct pci_function *f, u32 bar) {
  u32 low = pci_read32(f, PCI_BAR0 + 4 * bar);
  if (low & BAR_IO) return low & ~BAR_IO_FLAGS;
  u64 high = (low & 6) == BAR_MEMORY_TYPE_64 && bar < 5 ? pci_read32(f, PCI_BAR0 + 4 * bar + 4) : 0;
  return high << 32 | (low & ~BAR_MEMORY_FLAGS);
}

bool pci_bar_is_io(const struct pci_function *f, u32 bar) { return pci_read32(f, PCI_BAR0 + 4 * bar) & BAR_IO; }

/* --- MSI-X: PCI Local Bus Specification, "MSI-X Capability and Table Structures" --- */

bool msix_enable(struct msix *msix, const struct pci_function *f) {
  u8 capability = pci_find_capability(f, PCI_CAP_MSIX, 0);
  if (!capability) return false;
  u16 control = pci_read16(f, capability + MSIX_CONTROL);
  u32 table = pci_read32(f, capability + MSIX_TABLE);
  *msix = (struct msix){f, capability, (control & 0x7FF) + 1u, pci_bar_address(f, table & 7) + (table & ~7u)};
  paging_map_device(msix->table, (u64)msix->entries * MSIX_ENTRY_BYTES);
  pci_write16(f, capability + MSIX_CONTROL, control | MSIX_ENABLE | MSIX_FUNCTION_MASK);
  for (u32 i = 0; i < msix->entries; i++) mmio_write32(msix->table + i * MSIX_ENTRY_BYTES + 12, MSIX_VECTOR_MASKED);
  pci_write16(f, capability + MSIX_CONTROL, (control | MSIX_ENABLE) & (u16)~MSIX_FUNCTION_MASK);
  return true;
}

void msix_set(const struct msix *msix, u32 entry, u8 vector, u32 apic_id) {
  if (entry >= msix->entries) panic("MSI-X vector %u of %u", entry, msix->entries);
  u64 at = msix->table + entry * MSIX_ENTRY_BYTES;
  mmio_write32(at + 12, MSIX_VECTOR_MASKED);
  mmio_write32(at + 0, MSI_ADDRESS | apic_id << 12);
  mmio_write32(at + 4, 0);
  mmio_write32(at + 8, vector); /* fixed delivery, edge */
  mmio_write32(at + 12, 0);
}

u8 msix_allocate_vector(void) {
  static u64 next;
  if (next == 0) next = option_u64("msixvector", VECTOR_MSIX);
  if (next < 0x20 || next > VECTOR_MSIX_LAST) panic("no MSI-X vector %lu", next);
  return (u8)next++;
}

u32 msix_destination(void) {
  u64 index = option_u64("msixcpu", 0);
  return cpus[index < cpu_count ? index : 0].apic_id;
}
