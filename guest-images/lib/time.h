/* Time: the TSC and the APIC timer, their frequencies, and a watchdog for waits in HLT. */
#ifndef TIME_H
#define TIME_H

#include "types.h"

/**
 * Frequency of the TSC in Hz. Found on first use: the option `tsc=`, CPUID leaf 15H, CPUID leaf 40000010H of a
 * hypervisor, CPUID leaf 16H, else 10 ms of PIT channel 2.
 */
u64 tsc_hz(void);

/** Frequency of the undivided APIC timer clock in Hz: the option `apicfreq=`, else measured against the TSC. */
u64 apic_timer_hz(void);

/** TSC cycles in that many milliseconds. */
u64 milliseconds_to_tsc(u64 milliseconds);

/** Sleeps in HLT until the TSC has advanced by `cycles`; uses the APIC timer. */
void sleep_cycles(u64 cycles);

/**
 * A watchdog ends waits in HLT for something that never happens: about a minute after watchdog_start the APIC timer
 * interrupts once and watchdog_expired() turns true. Needs no calibration. The option `watchdog=0` keeps it off.
 */
void watchdog_start(void);
void watchdog_stop(void);
bool watchdog_expired(void);

/** Interval timer channels (Intel "8254 Programmable Interval Timer"): the input clock in Hz. */
#define PIT_HZ 1193182

/** Channel 0 in mode 2 (rate generator) with this divisor, or stopped (mode 0, never counting down) with 0. */
void pit_start_periodic(u32 divisor);

#endif
