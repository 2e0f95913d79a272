/* The few facts that we take from ACPI tables (ACPI Specification, "ACPI Software Programming Model"). */
#ifndef ACPI_H
#define ACPI_H

#include "percpu.h"

#define MAX_IOAPICS 4
#define ISA_IRQS 16

struct ioapic_entry {
  u32 address, gsi_base;
};

struct isa_override {
  u32 gsi;
  bool active_low, level;
};

struct acpi_facts {
  bool present;              /* an RSDP with a good checksum was found */
  u32 cpu_apic_ids[MAX_CPUS];
  u32 cpu_count;             /* enabled CPUs in the MADT; 0 without MADT */
  u32 local_apic_address;
  struct ioapic_entry ioapics[MAX_IOAPICS];
  u32 ioapic_count;          /* 0 without MADT */
  struct isa_override isa[ISA_IRQS]; /* identity where the MADT says nothing */
  u64 mcfg_base;             /* ECAM of segment 0, 0 without MCFG */
  u8 mcfg_first_bus, mcfg_last_bus;
  u16 pm1a_control, pm1b_control; /* PM1x_CNT ports, 0 if there are none */
  u16 pm_timer;              /* PM_TMR port, 0 if there is none */
  u16 smi_command;
  u8 acpi_enable;
  bool has_s5;               /* \_S5 was found in the DSDT */
  u8 s5_type_a, s5_type_b;   /* SLP_TYP values for S5 */
};

extern struct acpi_facts acpi;

/** Finds and reads the tables; leaves defaults where something is missing or its checksum is wrong. */
void acpi_init(void);

#endif
