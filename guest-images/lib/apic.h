/*
 * The local APIC, as memory-mapped registers (xAPIC) or as MSRs (x2APIC). SDM Vol. 3A, "Advanced Programmable
 * Interrupt Controller (APIC)". Registers are named by their offset in the xAPIC page; the x2APIC MSR of the register
 * at offset n is 800H + n / 16.
 */
#ifndef APIC_H
#define APIC_H

#include "percpu.h"

#define APIC_ID 0x020
#define APIC_VERSION 0x030
#define APIC_TPR 0x080
#define APIC_EOI 0x0B0
#define APIC_LDR 0x0D0
#define APIC_SVR 0x0F0
#define APIC_ISR 0x100
#define APIC_IRR 0x200
#define APIC_ESR 0x280
#define APIC_ICR 0x300
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_THERMAL 0x330
#define APIC_LVT_PMC 0x340
#define APIC_LVT_LINT0 0x350
#define APIC_LVT_LINT1 0x360
#define APIC_LVT_ERROR 0x370
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE 0x3E0

#define LVT_MASKED 0x10000
#define LVT_TIMER_PERIODIC 0x20000
#define LVT_TIMER_TSC_DEADLINE 0x40000
#define LVT_DELIVERY_NMI 0x400
#define LVT_DELIVERY_EXTINT 0x700

#define ICR_FIXED 0x00000
#define ICR_NMI 0x00400
#define ICR_INIT 0x00500
#define ICR_STARTUP 0x00600
#define ICR_LEVEL_ASSERT 0x04000
#define ICR_SELF 0x40000

/** Decides xAPIC or x2APIC by the option `apic=`, the default being x2APIC where CPUID has it. On the boot CPU, once. */
void apic_choose_mode(void);

/** Enables this CPU's local APIC in the chosen mode: TPR 0, timer, LINT0 and performance LVTs masked, LINT1 = NMI. */
void apic_init_cpu(void);

bool apic_is_x2apic(void);

/** Does CPUID report the TSC-deadline mode of the APIC timer? */
bool apic_has_tsc_deadline(void);

u32 apic_read(u32 offset);
void apic_write(u32 offset, u32 value);

/** This CPU's APIC ID. */
u32 apic_id(void);

/** End of interrupt, counted. */
void apic_eoi(void);

/** Sends an interrupt; `command` is the low half of the ICR. Waits, bounded, for an idle ICR in xAPIC mode. */
void apic_send(u32 apic_id, u32 command);

/** Starts the timer: `count` ticks of the APIC timer clock divided by 2^`shift` (0 to 7), once or for ever. */
void apic_timer_start(u32 count, u32 shift, bool periodic);

/** Arms the timer for a value of the TSC. Only if apic_has_tsc_deadline(). */
void apic_timer_deadline(u64 tsc);

/** Masks and stops the timer. */
void apic_timer_stop(void);

#endif
