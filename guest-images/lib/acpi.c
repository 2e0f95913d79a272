#include "acpi.h"

#include "boot-info.h"
#include "string.h"

struct acpi_facts acpi;

#define EBDA_SEGMENT_POINTER 0x40E /* BIOS data area: segment of the extended BIOS data area */
#define BIOS_AREA 0xE0000
#define BIOS_AREA_END 0x100000

struct __attribute__((packed)) rsdp {
  char signature[8];
  u8 checksum;
  char oem_id[6];
  u8 revision;
  u32 rsdt;
  u32 length; /* revision 2 and later */
  u64 xsdt;
};
#define RSDP_V1_BYTES 20

struct __attribute__((packed)) table_header {
  char signature[4];
  u32 length;
  u8 revision, checksum;
  char oem_id[6], oem_table_id[8];
  u32 oem_revision, creator_id, creator_revision;
};

/* Offsets in the FADT ("Fixed ACPI Description Table"). */
#define FADT_DSDT 40
#define FADT_SMI_CMD 48
#define FADT_ACPI_ENABLE 52
#define FADT_PM1A_CNT_BLK 64
#define FADT_PM1B_CNT_BLK 68
#define FADT_PM_TMR_BLK 76

/* "Multiple APIC Description Table": entry types. */
#define MADT_LOCAL_APIC 0
#define MADT_IO_APIC 1
#define MADT_INTERRUPT_SOURCE_OVERRIDE 2
#define MADT_LOCAL_X2APIC 9
#define MADT_ENTRIES 44
#define MADT_CPU_ENABLED 1

/* No table that we read comes near this; a larger length is a broken table. */
#define MAX_TABLE_BYTES (16 << 20)

static u16 read16(const void *p) { return *(const u16 *)p; }
static u32 read32(const void *p) { return *(const u32 *)p; }
static u64 read64(const void *p) { return *(const u64 *)p; }

static bool checksum_good(const void *start, u32 length) {
  u8 sum = 0;
  for (u32 i = 0; i < length; i++) sum = (u8)(sum + ((const u8 *)start)[i]);
  return sum == 0;
}

static const struct rsdp *find_rsdp_in(u64 start, u64 end) {
  for (u64 at = start; at + RSDP_V1_BYTES <= end; at += 16) {
    const struct rsdp *candidate = PHYSICAL_TO_POINTER(at);
    if (memcmp(candidate->signature, "RSD PTR ", 8) == 0 && checksum_good(candidate, RSDP_V1_BYTES)) return candidate;
  }
  return 0;
}

/** ACPI Specification, "Finding the RSDP on IA-PC Systems": the first KiB of the EBDA, then the BIOS area. */
static const struct rsdp *find_rsdp(void) {
  if (boot_info.rsdp) return find_rsdp_in(boot_info.rsdp, boot_info.rsdp + RSDP_V1_BYTES);
  u64 ebda = (u64)*(volatile u16 *)EBDA_SEGMENT_POINTER << 4;
  const struct rsdp *found = ebda >= 0x80000 && ebda < 0xA0000 ? find_rsdp_in(ebda, ebda + 1024) : 0;
  return found ? found : find_rsdp_in(BIOS_AREA, BIOS_AREA_END);
}

static bool table_good(const struct table_header *table) {
  return table->length >= sizeof *table && table->length <= MAX_TABLE_BYTES && checksum_good(table, table->length);
}

static void read_madt(const u8 *table, u32 length) {
  acpi.local_apic_address = read32(table + 36);
  for (u32 at = MADT_ENTRIES; at + 2 <= length && table[at + 1] >= 2; at += table[at + 1]) {
    const u8 *entry = table + at;
    if (at + entry[1] > length) return;
    switch (entry[0]) {
      case MADT_LOCAL_APIC:
        if ((read32(entry + 4) & MADT_CPU_ENABLED) && acpi.cpu_count < MAX_CPUS)
          acpi.cpu_apic_ids[acpi.cpu_count++] = entry[3];
        break;
      case MADT_LOCAL_X2APIC:
        if ((read32(entry + 8) & MADT_CPU_ENABLED) && acpi.cpu_count < MAX_CPUS)
          acpi.cpu_apic_ids[acpi.cpu_count++] = read32(entry + 4);
        break;
      case MADT_IO_APIC:
        if (acpi.ioapic_count < MAX_IOAPICS)
          acpi.ioapics[acpi.ioapic_count++] = (struct ioapic_entry){read32(entry + 4), read32(entry + 8)};
        break;
      case MADT_INTERRUPT_SOURCE_OVERRIDE:
        /* Flags: bits 1:0 polarity (3 = active low), bits 3:2 trigger mode (3 = level). */
        if (entry[3] < ISA_IRQS)
          acpi.isa[entry[3]] = (struct isa_override){
              .gsi = read32(entry + 4),
              .active_low = (read16(entry + 8) & 3) == 3,
              .level = (read16(entry + 8) >> 2 & 3) == 3,
          };
        break;
    }
  }
}

/** One AML integer constant ("Data Objects Encoding"); returns the byte after it, or 0 if it is something else. */
static const u8 *aml_small_integer(const u8 *aml, u8 *value) {
  switch (aml[0]) {
    case 0x00: *value = 0; return aml + 1; /* ZeroOp */
    case 0x01: *value = 1; return aml + 1; /* OneOp */
    case 0x0A: *value = aml[1]; return aml + 2; /* BytePrefix */
    case 0x0B: *value = aml[1]; return aml + 3; /* WordPrefix */
    case 0x0C: *value = aml[1]; return aml + 5; /* DWordPrefix */
    default: return 0;
  }
}

/**
 * Finds Name (\_S5, Package () { a, b, … }) by its encoding: NameOp, "_S5_" (with or without a root prefix),
 * PackageOp, PkgLength, NumElements, elements. An AML interpreter would find it in every case; firmware writes it so.
 */
static void read_s5(const u8 *dsdt, u32 length) {
  for (u32 at = sizeof(struct table_header) + 2; at + 8 <= length; at++) {
    if (memcmp(dsdt + at, "_S5_", 4) != 0 || dsdt[at + 4] != 0x12) continue;
    if (dsdt[at - 1] != 0x08 && !(dsdt[at - 1] == '\\' && dsdt[at - 2] == 0x08)) continue;
    /* The package may be the last thing in the table: read it from a copy with zeroes behind. */
    u8 name[24] = {0};
    memcpy(name, dsdt + at, MIN(length - at, sizeof name));
    const u8 *element = name + 5 + 1 + (name[5] >> 6) + 1; /* PkgLength has 1 to 4 bytes; then NumElements */
    element = aml_small_integer(element, &acpi.s5_type_a);
    if (!element) continue;
    if (!aml_small_integer(element, &acpi.s5_type_b)) acpi.s5_type_b = acpi.s5_type_a;
    acpi.has_s5 = true;
    return;
  }
}

static void read_fadt(const u8 *table, u32 length) {
  if (length < FADT_PM_TMR_BLK + 4) return;
  acpi.smi_command = (u16)read32(table + FADT_SMI_CMD);
  acpi.acpi_enable = table[FADT_ACPI_ENABLE];
  acpi.pm1a_control = (u16)read32(table + FADT_PM1A_CNT_BLK);
  acpi.pm1b_control = (u16)read32(table + FADT_PM1B_CNT_BLK);
  acpi.pm_timer = (u16)read32(table + FADT_PM_TMR_BLK);
  const struct table_header *dsdt = PHYSICAL_TO_POINTER(read32(table + FADT_DSDT));
  if (dsdt && table_good(dsdt)) read_s5((const u8 *)dsdt, dsdt->length);
}

static void read_mcfg(const u8 *table, u32 length) {
  for (u32 at = 44; at + 16 <= length; at += 16)
    if (read16(table + at + 8) == 0) {
      acpi.mcfg_base = read64(table + at);
      acpi.mcfg_first_bus = table[at + 10];
      acpi.mcfg_last_bus = table[at + 11];
      return;
    }
}

void acpi_init(void) {
  for (u32 irq = 0; irq < ISA_IRQS; irq++) acpi.isa[irq].gsi = irq;
  const struct rsdp *rsdp = find_rsdp();
  if (!rsdp) return;
  acpi.present = true;
  bool extended = rsdp->revision >= 2 && rsdp->xsdt != 0 && rsdp->xsdt < 0x100000000;
  const struct table_header *root = PHYSICAL_TO_POINTER(extended ? rsdp->xsdt : rsdp->rsdt);
  if (!table_good(root)) return;
  u32 entry_bytes = extended ? 8 : 4;
  for (u32 at = sizeof *root; at + entry_bytes <= root->length; at += entry_bytes) {
    u64 address = extended ? read64((const u8 *)root + at) : read32((const u8 *)root + at);
    if (address == 0 || address >= 0x100000000) continue; /* only 4 GiB are mapped */
    const struct table_header *table = PHYSICAL_TO_POINTER(address);
    if (!table_good(table)) continue;
    if (memcmp(table->signature, "APIC", 4) == 0) read_madt((const u8 *)table, table->length);
    if (memcmp(table->signature, "FACP", 4) == 0) read_fadt((const u8 *)table, table->length);
    if (memcmp(table->signature, "MCFG", 4) == 0) read_mcfg((const u8 *)table, table->length);
  }
}
