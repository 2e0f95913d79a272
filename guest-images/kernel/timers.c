/*
 * The verbs `timer` (an interrupt from every timer of a PC, by every way it can take), `idle` and `spin`.
 */
#include "acpi.h"
#include "apic.h"
#include "bench-io.h"
#include "console.h"
#include "io.h"
#include "ioapic.h"
#include "machine-verbs.h"
#include "time.h"
#include "traps.h"

#define IRQ_PIT 0
#define IRQ_RTC 8

#define TICKS 5
#define PIT_DIVISOR_1KHZ 1193
/** The backup behind the APIC timer's tests: ticks at 18.2 Hz, the slowest rate of the PIT, until we give up (2 s). */
#define BACKUP_LIMIT 36

/* Real-time clock: Motorola "MC146818A", register numbers and bits. */
#define RTC_INDEX 0x70
#define RTC_DATA 0x71
#define RTC_A 0x0A
#define RTC_B 0x0B
#define RTC_C 0x0C
#define RTC_A_RATE_1024HZ 0x06
#define RTC_B_PIE 0x40

static volatile u32 ticks, backup_ticks;

static void on_tick(struct trap_frame *frame) {
  (void)frame;
  ticks++;
  irq_end();
}

static void on_pic_tick(struct trap_frame *frame) {
  (void)frame;
  ticks++;
  pic_end(IRQ_PIT); /* an ExtINT interrupt is not in the local APIC's ISR: it gets no EOI there */
}

static u8 rtc_read(u8 index) {
  outb(RTC_INDEX, index);
  return inb(RTC_DATA);
}

static void rtc_write(u8 index, u8 value) {
  outb(RTC_INDEX, index);
  outb(RTC_DATA, value);
}

static void on_rtc_tick(struct trap_frame *frame) {
  (void)frame;
  ticks++;
  rtc_read(RTC_C); /* takes the interrupt back; without this read there is no other */
  irq_end();
}

static void on_backup(struct trap_frame *frame) {
  (void)frame;
  backup_ticks++;
  irq_end();
}

static void report_ticks(const char *name, u64 start) {
  u64 cycles = rdtsc() - start;
  if (ticks < TICKS) {
    report_fail(name, "expected %u interrupts, got %u", TICKS, ticks);
    return;
  }
  printf("TIMER %s ticks=%u cycles=%lu\n", name, ticks, cycles);
  report_pass(name);
}

/** Waits in HLT for TICKS interrupts of a source other than the APIC timer, which is the watchdog. */
static void await_ticks(const char *name) {
  u64 start = rdtsc();
  watchdog_start();
  while (ticks < TICKS && !watchdog_expired()) wait_for_interrupt();
  watchdog_stop();
  report_ticks(name, start);
}

static void test_pit(void) {
  ticks = 0;
  irq_route_isa(IRQ_PIT, on_tick);
  pit_start_periodic(PIT_DIVISOR_1KHZ);
  await_ticks("timer-pit-ioapic");
  pit_start_periodic(0);
  irq_mask(IRQ_PIT);
}

/** "Virtual wire": PIC → LINT0 programmed for ExtINT → the CPU asks the PIC for the vector. */
static void test_pit_through_pic(void) {
  ticks = 0;
  trap_set_handler(VECTOR_PIC + IRQ_PIT, on_pic_tick);
  apic_write(APIC_LVT_LINT0, LVT_DELIVERY_EXTINT);
  pic_unmask_only(IRQ_PIT);
  pit_start_periodic(PIT_DIVISOR_1KHZ);
  await_ticks("timer-pit-pic");
  pit_start_periodic(0);
  pic_unmask_only(16);
  apic_write(APIC_LVT_LINT0, LVT_MASKED);
}

static void test_rtc(void) {
  ticks = 0;
  irq_route_isa(IRQ_RTC, on_rtc_tick);
  rtc_write(RTC_A, (u8)((rtc_read(RTC_A) & 0xF0) | RTC_A_RATE_1024HZ));
  u8 control = rtc_read(RTC_B);
  rtc_write(RTC_B, control | RTC_B_PIE);
  rtc_read(RTC_C);
  await_ticks("timer-rtc");
  rtc_write(RTC_B, control & (u8)~RTC_B_PIE);
  rtc_read(RTC_C);
  irq_mask(IRQ_RTC);
}

enum apic_timer_mode { ONE_SHOT, PERIODIC, TSC_DEADLINE };

/** Each interrupt is a millisecond after the one before. The PIT ends the wait if the APIC timer is dead. */
static void test_apic_timer(const char *name, enum apic_timer_mode mode) {
  ticks = backup_ticks = 0;
  u32 count = (u32)(apic_timer_hz() / 1000);
  u64 millisecond = milliseconds_to_tsc(1);
  trap_set_handler(VECTOR_TIMER, on_tick);
  irq_route_isa(IRQ_PIT, on_backup);
  pit_start_periodic(0x10000);
  u64 start = rdtsc();
  if (mode == PERIODIC) apic_timer_start(count, 0, true);
  u32 armed_for = TICKS;
  while (ticks < TICKS && backup_ticks < BACKUP_LIMIT) {
    if (armed_for != ticks) {
      armed_for = ticks;
      if (mode == ONE_SHOT) apic_timer_start(count, 0, false);
      if (mode == TSC_DEADLINE) apic_timer_deadline(rdtsc() + millisecond);
    }
    wait_for_interrupt();
  }
  apic_timer_stop();
  pit_start_periodic(0);
  irq_mask(IRQ_PIT);
  report_ticks(name, start);
}

/** The ACPI PM timer counts at 3.579545 MHz, three times the PIT's clock. */
static void test_pm_timer(void) {
  if (!acpi.pm_timer) return;
  u32 start = inl(acpi.pm_timer);
  sleep_cycles(milliseconds_to_tsc(2));
  u32 elapsed = (inl(acpi.pm_timer) - start) & 0xFFFFFF;
  printf("TIMER timer-pm counts=%u in 2 ms\n", elapsed);
  if (elapsed >= 7159 / 2) report_pass("timer-pm");
  else report_fail("timer-pm", "expected about 7159 counts, got %u", elapsed);
}

/** `timer`: five interrupts from each timer. */
void verb_timer(const struct arguments *arguments) {
  (void)arguments;
  test_pit();
  test_pit_through_pic();
  test_rtc();
  test_apic_timer("timer-apic-oneshot", ONE_SHOT);
  test_apic_timer("timer-apic-periodic", PERIODIC);
  if (apic_has_tsc_deadline()) test_apic_timer("timer-apic-tscdeadline", TSC_DEADLINE);
  else printf("TIMER timer-apic-tscdeadline not offered by CPUID\n");
  test_pm_timer();
}

/** Counters before and after something, and its length. */
static struct counters before, after;
static u64 started, cycles_taken;

static void measure_start(void) {
  counters_sum(&before);
  started = rdtsc();
}

static void measure_end(void) {
  cycles_taken = rdtsc() - started;
  counters_sum(&after);
}

/** `idle:ms=N`: HLT for N milliseconds (default 100), woken by the APIC timer alone. */
void verb_idle(const struct arguments *arguments) {
  u64 cycles = milliseconds_to_tsc(argument_u64(arguments, "ms", 100));
  if (!apic_has_tsc_deadline()) apic_timer_hz(); /* measured before, not during */
  measure_start();
  sleep_cycles(cycles);
  measure_end();
  printf("IDLE cycles=%lu", cycles_taken);
  print_counter_deltas(&before, &after);
  printf("\n");
}

/** `spin:loops=N` or `spin:cycles=N`: computes, with interrupts on and no I/O, to compare exit counts with. */
void verb_spin(const struct arguments *arguments) {
  u64 cycles = argument_u64(arguments, "cycles", 0);
  u64 loops = argument_u64(arguments, "loops", cycles ? UINT64_MAX : 1000000);
  u64 value = 1, done = 0;
  measure_start();
  interrupts_on();
  while (done < loops && (cycles == 0 || rdtsc() - started < cycles))
    for (int i = 0; i < 64 && done < loops; i++, done++) value = value * 6364136223846793005 + 1442695040888963407;
  interrupts_off();
  measure_end();
  printf("SPIN loops=%lu value=0x%016lx cycles=%lu", done, value, cycles_taken);
  print_counter_deltas(&before, &after);
  printf("\n");
}
