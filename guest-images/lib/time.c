#include "time.h"

#include "apic.h"
#include "boot-info.h"
#include "console.h"
#include "io.h"
#include "traps.h"

#define PIT_CHANNEL0 0x40
#define PIT_CHANNEL2 0x42
#define PIT_CONTROL 0x43
#define PIT_CHANNEL0_MODE2 0x34 /* low byte, then high byte; rate generator; binary */
#define PIT_CHANNEL0_MODE0 0x30
#define PIT_CHANNEL2_MODE0 0xB0 /* interrupt on terminal count */

/* Port 61H, "NMI Status and Control": bit 0 gates channel 2, bit 1 the speaker, bit 5 reads channel 2's output. */
#define PORT_61H 0x61
#define PORT_61H_GATE2 0x01
#define PORT_61H_SPEAKER 0x02
#define PORT_61H_OUT2 0x20

#define CALIBRATION_MS 10
#define CALIBRATION_POLL_LIMIT 100000000

#define HYPERVISOR_LEAF 0x40000000
#define HYPERVISOR_TIMING_LEAF 0x40000010
#define CPUID_1_ECX_HYPERVISOR (1u << 31)

/* The watchdog's period: these are 51 s at 2.67 GHz and, with the timer clock divided by 16, 69 s at 1 GHz. */
#define WATCHDOG_TSC_CYCLES (1UL << 37)
#define WATCHDOG_TIMER_COUNT 0xFFFFFFFF
#define WATCHDOG_TIMER_SHIFT 4

/** TSC cycles per second by PIT channel 2, which counts down CALIBRATION_MS and then raises its output. */
static u64 measure_tsc(void) {
  u32 count = PIT_HZ * CALIBRATION_MS / 1000;
  u8 port61 = inb(PORT_61H);
  outb(PORT_61H, (u8)((port61 & ~PORT_61H_SPEAKER) | PORT_61H_GATE2));
  outb(PIT_CONTROL, PIT_CHANNEL2_MODE0);
  outb(PIT_CHANNEL2, (u8)count);
  outb(PIT_CHANNEL2, (u8)(count >> 8));
  u64 start = rdtsc();
  u32 polls = 0;
  while (!(inb(PORT_61H) & PORT_61H_OUT2))
    if (++polls == CALIBRATION_POLL_LIMIT) panic("calibration: PIT channel 2 never reached its terminal count");
  u64 cycles = rdtsc() - start;
  outb(PORT_61H, port61);
  return cycles * 1000 / CALIBRATION_MS;
}

/** What CPUID says about the TSC's frequency in Hz, or 0. */
static u64 tsc_hz_of_cpuid(void) {
  u32 max = cpuid(0, 0).eax;
  if (max >= 0x15) {
    struct cpuid_result r = cpuid(0x15, 0); /* TSC = crystal (ECX) * EBX / EAX */
    if (r.eax != 0 && r.ebx != 0 && r.ecx != 0) return (u64)r.ecx * r.ebx / r.eax;
  }
  if ((cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR) && cpuid(HYPERVISOR_LEAF, 0).eax >= HYPERVISOR_TIMING_LEAF) {
    u32 khz = cpuid(HYPERVISOR_TIMING_LEAF, 0).eax;
    if (khz != 0) return (u64)khz * 1000;
  }
  if (max >= 0x16) {
    u32 mhz = cpuid(0x16, 0).eax & 0xFFFF;
    if (mhz != 0) return (u64)mhz * 1000000;
  }
  return 0;
}

u64 tsc_hz(void) {
  static u64 hz;
  if (hz == 0) hz = option_u64("tsc", 0);
  if (hz == 0) hz = tsc_hz_of_cpuid();
  if (hz == 0) hz = measure_tsc();
  return hz;
}

u64 apic_timer_hz(void) {
  static u64 hz;
  if (hz == 0) hz = option_u64("apicfreq", 0);
  if (hz != 0) return hz;
  u64 period = tsc_hz() * CALIBRATION_MS / 1000;
  apic_timer_start(0xFFFFFFFF, 0, false);
  apic_write(APIC_LVT_TIMER, LVT_MASKED);
  u64 start = rdtsc();
  u32 polls = 0;
  while (rdtsc() - start < period)
    if (++polls == CALIBRATION_POLL_LIMIT) panic("calibration: the TSC does not count");
  u64 ticks = 0xFFFFFFFF - apic_read(APIC_TIMER_CURRENT);
  apic_timer_stop();
  hz = ticks * 1000 / CALIBRATION_MS;
  if (hz == 0) panic("calibration: the APIC timer does not count");
  return hz;
}

u64 milliseconds_to_tsc(u64 milliseconds) { return tsc_hz() / 1000 * milliseconds; }

static void on_sleep_timer(struct trap_frame *frame) {
  (void)frame;
  apic_eoi();
}

void sleep_cycles(u64 cycles) {
  u64 start = rdtsc(), elapsed;
  trap_set_handler(VECTOR_TIMER, on_sleep_timer);
  while ((elapsed = rdtsc() - start) < cycles) {
    if (apic_has_tsc_deadline()) {
      apic_timer_deadline(start + cycles);
    } else {
      /* Divided by 16, the timer clock is below 2^32 Hz, so this does not overflow; long sleeps take rounds. */
      u64 round = MIN(cycles - elapsed, 0xFFFFFFFF);
      u64 ticks = round * (apic_timer_hz() >> 4) / tsc_hz() + 1;
      apic_timer_start((u32)MIN(ticks, 0xFFFFFFFF), 4, false);
    }
    wait_for_interrupt();
  }
  apic_timer_stop();
}

static volatile bool expired;

static void on_watchdog(struct trap_frame *frame) {
  (void)frame;
  expired = true;
  apic_eoi();
}

void watchdog_start(void) {
  expired = false;
  if (option_is("watchdog", "0")) return;
  trap_set_handler(VECTOR_TIMER, on_watchdog);
  if (apic_has_tsc_deadline()) apic_timer_deadline(rdtsc() + WATCHDOG_TSC_CYCLES);
  else apic_timer_start(WATCHDOG_TIMER_COUNT, WATCHDOG_TIMER_SHIFT, false);
}

void watchdog_stop(void) {
  if (option_is("watchdog", "0")) return;
  apic_timer_stop();
}

bool watchdog_expired(void) { return expired; }

void pit_start_periodic(u32 divisor) {
  outb(PIT_CONTROL, divisor == 0 ? PIT_CHANNEL0_MODE0 : PIT_CHANNEL0_MODE2);
  if (divisor == 0) return; /* mode 0 does not count until a count is written */
  outb(PIT_CHANNEL0, (u8)divisor);
  outb(PIT_CHANNEL0, (u8)(divisor >> 8));
}
