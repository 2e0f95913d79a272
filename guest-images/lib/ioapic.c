#include "ioapic.h"

#include "acpi.h"
#include "apic.h"
#include "console.h"
#include "io.h"

/* 82093AA: an index register and a data register. */
#define IOREGSEL 0x00
#define IOWIN 0x10
#define IOAPIC_DEFAULT_ADDRESS 0xFEC00000
#define IOAPICVER 0x01
#define IOREDTBL 0x10

#define REDIRECTION_MASKED 0x10000
#define REDIRECTION_LEVEL 0x08000
#define REDIRECTION_ACTIVE_LOW 0x02000

/* 8259A: initialization command words 1 to 4 and the non-specific EOI (operation command word 2). */
#define PIC_MASTER 0x20
#define PIC_SLAVE 0xA0
#define ICW1_INIT_ICW4 0x11
#define ICW4_8086 0x01
#define OCW2_EOI 0x20
#define PIC_CASCADE 2

struct ioapic {
  u64 address;
  u32 gsi_base, inputs;
};

static struct ioapic ioapics[MAX_IOAPICS];
static u32 count;

static u32 ioapic_read(const struct ioapic *ioapic, u32 index) {
  mmio_write32(ioapic->address + IOREGSEL, index);
  return mmio_read32(ioapic->address + IOWIN);
}

static void ioapic_write(const struct ioapic *ioapic, u32 index, u32 value) {
  mmio_write32(ioapic->address + IOREGSEL, index);
  mmio_write32(ioapic->address + IOWIN, value);
}

static void pic_init(void) {
  outb(PIC_MASTER, ICW1_INIT_ICW4);
  outb(PIC_SLAVE, ICW1_INIT_ICW4);
  outb(PIC_MASTER + 1, VECTOR_PIC);
  outb(PIC_SLAVE + 1, VECTOR_PIC + 8);
  outb(PIC_MASTER + 1, 1 << PIC_CASCADE);
  outb(PIC_SLAVE + 1, PIC_CASCADE);
  outb(PIC_MASTER + 1, ICW4_8086);
  outb(PIC_SLAVE + 1, ICW4_8086);
  pic_unmask_only(16);
}

/** A PIC withdraws an interrupt after the CPU asked: input 7 then answers, wants no EOI, and is counted by trap(). */
static void on_pic_spurious(struct trap_frame *frame) { (void)frame; }

static void on_apic_spurious(struct trap_frame *frame) { (void)frame; }

static void on_apic_error(struct trap_frame *frame) {
  (void)frame;
  apic_write(APIC_ESR, 0);
  printf("local APIC error, ESR=0x%x\n", apic_read(APIC_ESR));
  apic_eoi();
}

void irq_init(void) {
  pic_init();
  trap_set_handler(VECTOR_PIC + 7, on_pic_spurious);
  trap_set_handler(VECTOR_PIC + 15, on_pic_spurious);
  trap_set_handler(VECTOR_SPURIOUS, on_apic_spurious);
  trap_set_handler(VECTOR_ERROR, on_apic_error);

  count = acpi.ioapic_count;
  for (u32 i = 0; i < count; i++)
    ioapics[i] = (struct ioapic){.address = acpi.ioapics[i].address, .gsi_base = acpi.ioapics[i].gsi_base};
  if (count == 0) {
    ioapics[0] = (struct ioapic){.address = IOAPIC_DEFAULT_ADDRESS};
    count = 1;
    /* Without a MADT the PIT is where every PC has it, on input 2. */
    acpi.isa[0].gsi = 2;
  }
  for (u32 i = 0; i < count; i++) {
    ioapics[i].inputs = (ioapic_read(&ioapics[i], IOAPICVER) >> 16 & 0xFF) + 1;
    for (u32 input = 0; input < ioapics[i].inputs; input++)
      ioapic_write(&ioapics[i], IOREDTBL + 2 * input, REDIRECTION_MASKED);
  }
}

static void route(u32 gsi, u32 low, u32 destination) {
  for (u32 i = 0; i < count; i++) {
    if (gsi < ioapics[i].gsi_base || gsi - ioapics[i].gsi_base >= ioapics[i].inputs) continue;
    u32 entry = IOREDTBL + 2 * (gsi - ioapics[i].gsi_base);
    ioapic_write(&ioapics[i], entry, REDIRECTION_MASKED);
    ioapic_write(&ioapics[i], entry + 1, destination << 24);
    ioapic_write(&ioapics[i], entry, low);
    return;
  }
  printf("no I/O APIC has input %u\n", gsi);
}

static struct isa_override override_of(u32 irq) {
  return irq < ISA_IRQS ? acpi.isa[irq] : (struct isa_override){.gsi = irq};
}

u8 irq_vector(u32 irq) { return (u8)(VECTOR_IOAPIC + (override_of(irq).gsi & 0x1F)); }

static void route_to_boot_cpu(u32 irq, bool pci, trap_handler handler) {
  struct isa_override how = override_of(irq);
  u32 low = irq_vector(irq);
  /* A PCI pin is level-triggered; its polarity at the I/O APIC is the board's, as the MADT has it. */
  if (how.level || pci) low |= REDIRECTION_LEVEL;
  if (how.active_low) low |= REDIRECTION_ACTIVE_LOW;
  trap_set_handler(irq_vector(irq), handler);
  route(how.gsi, low, cpus[0].apic_id);
}

void irq_route_isa(u32 irq, trap_handler handler) { route_to_boot_cpu(irq, false, handler); }
void irq_route_pci(u32 line, trap_handler handler) { route_to_boot_cpu(line, true, handler); }

void irq_mask(u32 irq) { route(override_of(irq).gsi, REDIRECTION_MASKED, 0); }

void irq_end(void) { apic_eoi(); }

void pic_unmask_only(u32 irq) {
  u16 mask = irq < 16 ? (u16)~(1u << irq | 1u << PIC_CASCADE) : 0xFFFF;
  outb(PIC_MASTER + 1, (u8)mask);
  outb(PIC_SLAVE + 1, (u8)(mask >> 8));
}

void pic_end(u32 irq) {
  if (irq >= 8) {
    PERCPU->counters.pic_eois++;
    outb(PIC_SLAVE, OCW2_EOI);
  }
  PERCPU->counters.pic_eois++;
  outb(PIC_MASTER, OCW2_EOI);
}

u32 ioapic_count(void) { return count; }
