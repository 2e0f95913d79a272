/*
 * The verb `exits`: what each operation costs that can make a virtual machine exit, in TSC cycles as the guest sees
 * them. An operation is repeated, twice as often each time, until the repetitions take at least `min` cycles
 * (default 2,000,000); the last round is printed as `BENCH name iterations cycles`. `loop` is the empty loop, to
 * subtract. An operation that this machine does not have is printed as `BENCH-SKIP name reason`.
 */
#include "acpi.h"
#include "apic.h"
#include "boot-info.h"
#include "console.h"
#include "heap.h"
#include "io.h"
#include "ioapic.h"
#include "machine-verbs.h"
#include "paging.h"
#include "pci.h"
#include "smp.h"
#include "string.h"
#include "time.h"
#include "traps.h"

#define PORT_POST_CODE 0x80
#define COM1_LSR (COM1_BASE + 5)
#define PCI_CONFIG_ADDRESS 0xCF8
#define PTE_AVAILABLE 0x200UL /* a bit that the CPU ignores */
#define HLT_TIMER_COUNT 1000
#define FAR_DEADLINE (1UL << 62)
#define MAX_ITERATIONS (1UL << 32)

/** What a hypervisor that does not know our hypercall may answer is its business; KVM's number 0 does not exist. */
#define HYPERCALL_NUMBER 0

static volatile u32 taken; /* interrupts that reached on_bench_interrupt */

static void on_bench_interrupt(struct trap_frame *frame) {
  (void)frame;
  taken++;
  apic_eoi();
}

/* Each runs an operation `n` times and returns how often it really did, which is less only if it ran out of something. */

static u64 run_loop(u64 n) {
  for (u64 i = 0; i < n; i++) compiler_barrier();
  return n;
}

static u64 run_rdtsc(u64 n) {
  for (u64 i = 0; i < n; i++) rdtsc();
  return n;
}

static u64 run_cpuid(u64 n) {
  for (u64 i = 0; i < n; i++) cpuid(0, 0);
  return n;
}

static u64 run_in_pm_timer(u64 n) {
  for (u64 i = 0; i < n; i++) inl(acpi.pm_timer);
  return n;
}

static u64 run_in_lsr(u64 n) {
  for (u64 i = 0; i < n; i++) inb(COM1_LSR);
  return n;
}

static u64 run_out_post_code(u64 n) {
  for (u64 i = 0; i < n; i++) outb(PORT_POST_CODE, 0);
  return n;
}

static u64 run_out_pci_address(u64 n) {
  for (u64 i = 0; i < n; i++) outl(PCI_CONFIG_ADDRESS, 0x80000000);
  return n;
}

static u64 run_mmio_ioapic(u64 n) {
  u64 address = acpi.ioapic_count ? acpi.ioapics[0].address : 0xFEC00000;
  for (u64 i = 0; i < n; i++) mmio_read32(address);
  return n;
}

static u64 run_rdmsr(u64 n) {
  for (u64 i = 0; i < n; i++) rdmsr(MSR_IA32_APIC_BASE);
  return n;
}

static u64 run_wrmsr_efer(u64 n) {
  u64 efer = rdmsr(MSR_IA32_EFER);
  for (u64 i = 0; i < n; i++) wrmsr(MSR_IA32_EFER, efer);
  return n;
}

static u64 run_wrmsr_tsc_deadline(u64 n) {
  apic_timer_deadline(FAR_DEADLINE);
  for (u64 i = 0; i < n; i++) {
    PERCPU->counters.apic++;
    wrmsr(MSR_IA32_TSC_DEADLINE, FAR_DEADLINE);
  }
  apic_timer_stop();
  return n;
}

static u64 run_apic_read_id(u64 n) {
  for (u64 i = 0; i < n; i++) apic_read(APIC_ID);
  return n;
}

static u64 run_apic_write_tpr(u64 n) {
  for (u64 i = 0; i < n; i++) apic_write(APIC_TPR, 0);
  return n;
}

/** With nothing in service an EOI changes nothing, and costs what it costs. */
static u64 run_apic_eoi(u64 n) {
  for (u64 i = 0; i < n; i++) apic_eoi();
  return n;
}

/** An IPI to oneself, taken at once. */
static u64 run_self_ipi(u64 n) {
  u32 before = taken;
  for (u64 i = 0; i < n; i++) {
    apic_send(PERCPU->apic_id, ICR_FIXED | ICR_LEVEL_ASSERT | VECTOR_SELF);
    interrupts_on();
    for (int polls = 0; (u32)(taken - before) <= i && polls < 1000000; polls++) cpu_pause();
    interrupts_off();
  }
  return (u32)(taken - before);
}

/** HLT with an interrupt already pending: the cheapest way through it. */
static u64 run_hlt_pending(u64 n) {
  u32 before = taken;
  for (u64 i = 0; i < n; i++) {
    apic_send(PERCPU->apic_id, ICR_FIXED | ICR_LEVEL_ASSERT | VECTOR_SELF);
    wait_for_interrupt();
  }
  return (u32)(taken - before);
}

/** HLT until the APIC timer, set to HLT_TIMER_COUNT ticks, wakes us. */
static u64 run_hlt_timer(u64 n) {
  u32 before = taken;
  for (u64 i = 0; i < n; i++) {
    apic_timer_start(HLT_TIMER_COUNT, 0, false);
    wait_for_interrupt();
  }
  apic_timer_stop();
  return (u32)(taken - before);
}

static void do_nothing(void *unused) { (void)unused; }

/** Another CPU, in HLT, is called and has answered. */
static u64 run_ipi_round_trip(u64 n) {
  for (u64 i = 0; i < n; i++) {
    smp_call(1, do_nothing, 0);
    if (!smp_wait(1)) return i;
  }
  return n;
}

/** A byte of a page that nobody has touched: under EPT without prefaulting, one violation. */
static u64 run_touch(u64 n) {
  for (u64 i = 0; i < n; i++) {
    volatile u8 *page = heap_untouched_page();
    if (!page) return i;
    *page = 1;
  }
  return n;
}

static u64 run_mov_cr3(u64 n) {
  u64 cr3 = read_cr3();
  for (u64 i = 0; i < n; i++) write_cr3(cr3);
  return n;
}

static u64 run_mov_cr0(u64 n) {
  u64 cr0 = read_cr0();
  for (u64 i = 0; i < n; i++) write_cr0(cr0);
  return n;
}

static u8 edited_page[2 * PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));

static u64 run_invlpg(u64 n) {
  for (u64 i = 0; i < n; i++) {
    invlpg(edited_page);
    *(volatile u8 *)edited_page;
  }
  return n;
}

/** A page-table entry is changed, its TLB entry invalidated, and the page used. */
static u64 run_pte_edit(u64 n) {
  volatile u64 *entry = paging_entry(POINTER_TO_PHYSICAL(edited_page));
  for (u64 i = 0; i < n; i++) {
    *entry ^= PTE_AVAILABLE;
    invlpg(edited_page);
    *(volatile u8 *)edited_page;
  }
  return n;
}

static void skip_ud2(struct trap_frame *frame) { frame->rip += 2; }

/** An exception, handled: for a hypervisor that intercepts it, or whose shadow IDT is in the way. */
static u64 run_exception_ud(u64 n) {
  trap_set_handler(VECTOR_UD, skip_ud2);
  for (u64 i = 0; i < n; i++) __asm__ volatile("ud2");
  trap_set_handler(VECTOR_UD, 0);
  return n;
}

static u64 run_vmcall(u64 n) {
  for (u64 i = 0; i < n; i++) {
    u64 rax = HYPERCALL_NUMBER;
    __asm__ volatile("vmcall" : "+a"(rax)::"memory");
  }
  return n;
}

/* --- what a machine may lack --- */

static const char *always(void) { return 0; }
static const char *needs_pm_timer(void) { return acpi.pm_timer ? 0 : "no PM timer"; }
static const char *needs_tsc_deadline(void) { return apic_has_tsc_deadline() ? 0 : "no TSC-deadline mode"; }
static const char *needs_second_cpu(void) { return cpu_count > 1 ? 0 : "one CPU"; }

static void one_vmcall(void *unused) {
  (void)unused;
  run_vmcall(1);
}

/** VMCALL where no hypervisor listens is #UD, and where one does it may do anything: only when told to. */
static const char *needs_hypercall(void) {
  struct caught_exception caught;
  if (!option_is("hypercall", "1")) return "no hypercall=1";
  if (!try_call(one_vmcall, 0, &caught)) return 0;
  return caught.vector == VECTOR_UD ? "#UD" : "exception";
}

static const struct {
  const char *name;
  u64 (*run)(u64 iterations);
  const char *(*lacking)(void);
} benchmarks[] = {
    {"loop", run_loop, always},
    {"rdtsc", run_rdtsc, always},
    {"cpuid", run_cpuid, always},
    {"in_pm_timer", run_in_pm_timer, needs_pm_timer},
    {"in_lsr", run_in_lsr, always},
    {"out_80", run_out_post_code, always},
    {"out_cf8", run_out_pci_address, always},
    {"mmio_ioapic", run_mmio_ioapic, always},
    {"rdmsr_apic_base", run_rdmsr, always},
    {"wrmsr_efer", run_wrmsr_efer, always},
    {"wrmsr_tsc_deadline", run_wrmsr_tsc_deadline, needs_tsc_deadline},
    {"apic_read_id", run_apic_read_id, always},
    {"apic_write_tpr", run_apic_write_tpr, always},
    {"apic_eoi", run_apic_eoi, always},
    {"self_ipi", run_self_ipi, always},
    {"hlt_pending", run_hlt_pending, always},
    {"hlt_timer", run_hlt_timer, always},
    {"ipi_round_trip", run_ipi_round_trip, needs_second_cpu},
    {"touch", run_touch, always},
    {"mov_cr0", run_mov_cr0, always},
    {"mov_cr3", run_mov_cr3, always},
    {"invlpg", run_invlpg, always},
    {"pte_edit", run_pte_edit, always},
    {"exception_ud", run_exception_ud, always},
    {"vmcall", run_vmcall, needs_hypercall},
};

static void run_benchmark(u32 index, u64 min_cycles) {
  const char *lacking = benchmarks[index].lacking();
  if (lacking) {
    printf("BENCH-SKIP %s %s\n", benchmarks[index].name, lacking);
    return;
  }
  u64 best = 0, best_cycles = 0;
  for (u64 n = 1; n < MAX_ITERATIONS; n *= 2) {
    u64 start = rdtsc();
    u64 done = benchmarks[index].run(n);
    u64 cycles = rdtsc() - start;
    if (done > best) {
      best = done;
      best_cycles = cycles;
    }
    if (done < n || cycles >= min_cycles) break; /* it ran out of something, or ran long enough */
  }
  if (best == 0) printf("BENCH-SKIP %s nothing left to use\n", benchmarks[index].name);
  else printf("BENCH %s %lu %lu\n", benchmarks[index].name, best, best_cycles);
}

/** `exits:min=CYCLES,only=NAME`: all micro-benchmarks, or one. */
void verb_exits(const struct arguments *arguments) {
  u64 min_cycles = argument_u64(arguments, "min", 2000000);
  const char *only = argument_text(arguments, "only", "");
  trap_set_handler(VECTOR_SELF, on_bench_interrupt);
  trap_set_handler(VECTOR_TIMER, on_bench_interrupt);
  paging_entry(POINTER_TO_PHYSICAL(edited_page)); /* split the page table before anything is timed */
  bool found = false;
  for (u32 i = 0; i < ARRAY_LENGTH(benchmarks); i++) {
    if (*only && strcmp(only, benchmarks[i].name) != 0) continue;
    found = true;
    run_benchmark(i, min_cycles);
  }
  if (!found) report_fail("exits", "there is no micro-benchmark '%s'", only);
}
