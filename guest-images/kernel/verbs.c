/* The table of verbs, and the verbs too small for a file of their own. */
#include "acpi.h"
#include "bench-io.h"
#include "boot-info.h"
#include "console.h"
#include "machine-verbs.h"
#include "pci.h"
#include "power.h"
#include "script.h"

static void verb_hello(const struct arguments *arguments) {
  (void)arguments;
  printf("HELLO protocol=%s command_line=%s\n", boot_protocol_name(), boot_info.command_line);
}

static void verb_memmap(const struct arguments *arguments) {
  static const char *const names[] = {"?", "ram", "reserved", "acpi", "nvs", "unusable"};
  (void)arguments;
  for (u32 i = 0; i < boot_info.range_count; i++) {
    const struct memory_range *range = &boot_info.ranges[i];
    printf("MEMORY %016lx-%016lx %s\n", range->base, range->base + range->length - 1,
           range->type < ARRAY_LENGTH(names) ? names[range->type] : names[0]);
  }
}

static void verb_acpi(const struct arguments *arguments) {
  (void)arguments;
  printf("ACPI present=%u cpus=%u ioapics=%u mcfg=0x%lx pm1a_cnt=0x%x pm_tmr=0x%x s5=%u slp_typ=%u\n", acpi.present,
         acpi.cpu_count, acpi.ioapic_count, acpi.mcfg_base, acpi.pm1a_control, acpi.pm_timer, acpi.has_s5,
         acpi.s5_type_a);
  for (u32 irq = 0; irq < ISA_IRQS; irq++)
    if (acpi.isa[irq].gsi != irq || acpi.isa[irq].level || acpi.isa[irq].active_low)
      printf("ACPI isa_irq=%u gsi=%u level=%u active_low=%u\n", irq, acpi.isa[irq].gsi, acpi.isa[irq].level,
             acpi.isa[irq].active_low);
}

static void verb_lspci(const struct arguments *arguments) {
  (void)arguments;
  pci_init();
  for (u32 i = 0; i < pci_function_count; i++) {
    const struct pci_function *f = &pci_functions[i];
    printf("PCI %02x:%02x.%u %04x:%04x class=%02x%02x%02x command=%04x irq=%u\n", f->bus, f->device, f->function,
           f->vendor_id, f->device_id, f->class, f->subclass, f->interface, pci_read16(f, PCI_COMMAND),
           pci_read8(f, PCI_INTERRUPT_LINE));
  }
  printf("LSPCI functions=%u access=%s\n", pci_function_count, pci_uses_ecam() ? "ecam" : "ports");
}

static void verb_help(const struct arguments *arguments) {
  (void)arguments;
  for (const struct verb *verb = verbs; verb->name; verb++) printf("%-12s %s\n", verb->name, verb->help);
}

const struct verb verbs[] = {
    {"help", verb_help, "lists the verbs"},
    {"hello", verb_hello, "prints the boot protocol and the command line"},
    {"memmap", verb_memmap, "prints the loader's memory map"},
    {"acpi", verb_acpi, "prints what was found in ACPI tables"},
    {"lspci", verb_lspci, "lists PCI functions"},
    {"ideread", verb_ideread, "sector=N: one sector by PIO, DMA and LBA48 DMA, compared"},
    {"seq", verb_seq, "dev=ide|virtio,size=65536,count=64,qd=1,start=0,span=…,lba48=0,mode=dma|pio,queues=1,sum=1"},
    {"rand", verb_rand, "as seq, with size=4096,seed=1"},
    {"busy", verb_busy, "pattern=rand|seq and as these, computing instead of HLT"},
    {"write", verb_write, "dev=,start=,count=,size=4096,seed=1: writes a pattern and reads it back"},
    {"beyond", verb_beyond, "dev=,mode=dma|pio: reads and writes behind the end must fail"},
    {"flush", verb_flush, "dev="},
    {"discard", verb_discard, "dev=,start=,sectors=8"},
    {"writezeroes", verb_writezeroes, "dev=,start=,sectors=8: and reads them back"},
    {"getid", verb_getid, "dev=: prints identification"},
    {"idle", verb_idle, "ms=100: HLT until the APIC timer"},
    {"spin", verb_spin, "loops=1000000 or cycles=N: computes, no I/O"},
    {"exits", verb_exits, "min=2000000,only=NAME: what each exit costs"},
    {"walks", verb_walks, "pages=256: paging-structure entries that a TLB miss reads, by performance counters"},
    {"smp", verb_smp, "count=1000: all CPUs count together"},
    {"timer", verb_timer, "interrupts from PIT, RTC, APIC timer, by every way"},
    {"uartecho", verb_uartecho, "count=64: echoes received characters, by interrupt, until '.'"},
    {"selftest", verb_selftest, "CPU, paging, interrupts and library"},
    {"fault", verb_fault, "kind=ud|de|gp|pf|triple|unmapped|jump|jumpnp,catch=0: raises it"},
    {"poweroff", verb_poweroff, "ACPI S5"},
    {"reset", verb_reset, "resets the machine (CF9H)"},
    {"exit", verb_exit, "code=N: leaves through the debug-exit port"},
    {0},
};
