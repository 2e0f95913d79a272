/* I/O APICs (Intel "82093AA I/O Advanced Programmable Interrupt Controller") and the pair of 8259A PICs. */
#ifndef IOAPIC_H
#define IOAPIC_H

#include "traps.h"

/** Remaps the PICs to VECTOR_PIC with all inputs masked, and masks all inputs of all I/O APICs. */
void irq_init(void);

/**
 * Routes an ISA interrupt, by the MADT's overrides, to the booting CPU and unmasks it.
 * The handler runs with IF = 0 and must call irq_end().
 */
void irq_route_isa(u32 irq, trap_handler handler);

/** Routes a PCI interrupt pin by its interrupt line (as firmware wrote it): level-triggered. */
void irq_route_pci(u32 line, trap_handler handler);

/** Masks an ISA or PCI interrupt at the I/O APIC. */
void irq_mask(u32 irq);

/** The vector that irq_route_isa gives to an ISA interrupt. */
u8 irq_vector(u32 irq);

/** Sends the EOI of an interrupt that came through the local APIC. */
void irq_end(void);

/** Unmasks one input of the PICs (which then need LINT0 in ExtINT mode to reach the CPU), or masks all with 16. */
void pic_unmask_only(u32 irq);

/** Sends the PICs' non-specific EOI for an input. */
void pic_end(u32 irq);

/** Number of I/O APICs found. */
u32 ioapic_count(void);

#endif
