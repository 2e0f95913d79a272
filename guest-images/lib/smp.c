#include "smp.h"

#include "acpi.h"
#include "apic.h"
#include "boot-info.h"
#include "console.h"
#include "heap.h"
#include "memory-map.h"
#include "string.h"
#include "traps.h"

/** How often we look whether a CPU has come up before the second start-up IPI, and in all; each look is a PAUSE. */
#define START_POLLS_FIRST 1000000
#define START_POLLS 100000000
#define CALL_POLLS 1000000000

/** What ap-start.S reads; the same layout as its labels from ap_start_parameters. */
struct __attribute__((packed)) ap_parameters {
  u64 stack, cpu, entry;
  u32 cr0, cr3, cr4, efer;
};

extern u8 ap_start[], ap_start_end[], ap_start_parameters[];

static void on_call(struct trap_frame *frame) {
  (void)frame;
  apic_eoi();
  struct cpu *cpu = this_cpu();
  void (*function)(void *) = cpu->call_function;
  if (!function) return; /* a mere wake-up */
  function(cpu->call_argument);
  __atomic_store_n(&cpu->call_function, (void (*)(void *))0, __ATOMIC_RELEASE);
}

/** First C code of an application processor, on its own stack. */
static void ap_main(struct cpu *cpu) {
  traps_init_cpu(cpu);
  apic_init_cpu();
  __atomic_store_n(&cpu->online, true, __ATOMIC_RELEASE);
  for (;;) wait_for_interrupt();
}

static bool wait_online(const struct cpu *cpu, u32 polls) {
  for (u32 i = 0; i < polls; i++) {
    if (cpu->online) return true;
    cpu_pause();
  }
  return false;
}

/**
 * INIT, then start-up IPIs (SDM Vol. 3A, "MP Initialization Example"). The delays of that example, 10 ms and 200 µs,
 * were for CPUs with a separate APIC chip; as Linux does for every CPU since, we leave the first out, and send
 * the second start-up IPI only to a CPU that has not come up.
 */
static bool start(struct cpu *cpu) {
  struct ap_parameters *parameters = PHYSICAL_TO_POINTER(AP_START_BASE + (ap_start_parameters - ap_start));
  memcpy(PHYSICAL_TO_POINTER(AP_START_BASE), ap_start, (size_t)(ap_start_end - ap_start));
  *parameters = (struct ap_parameters){
      .stack = POINTER_TO_PHYSICAL(heap_allocate(STACK_BYTES, 16)) + STACK_BYTES,
      .cpu = POINTER_TO_PHYSICAL(cpu),
      .entry = POINTER_TO_PHYSICAL(ap_main),
      .cr0 = (u32)read_cr0(),
      .cr3 = (u32)read_cr3(),
      .cr4 = (u32)read_cr4(),
      .efer = (u32)rdmsr(MSR_IA32_EFER) & ~(u32)EFER_LMA, /* LMA is the CPU's to set */
  };
  memory_fence();
  apic_send(cpu->apic_id, ICR_INIT | ICR_LEVEL_ASSERT);
  apic_send(cpu->apic_id, ICR_STARTUP | ICR_LEVEL_ASSERT | AP_START_VECTOR);
  if (wait_online(cpu, START_POLLS_FIRST)) return true;
  apic_send(cpu->apic_id, ICR_STARTUP | ICR_LEVEL_ASSERT | AP_START_VECTOR);
  return wait_online(cpu, START_POLLS);
}

void smp_init(void) {
  trap_set_handler(VECTOR_CALL, on_call);
  if (option_is("smp", "0")) return;
  for (u32 i = 0; i < acpi.cpu_count && cpu_count < MAX_CPUS; i++) {
    if (acpi.cpu_apic_ids[i] == cpus[0].apic_id) continue;
    struct cpu *cpu = &cpus[cpu_count];
    cpu->index = cpu_count;
    cpu->apic_id = acpi.cpu_apic_ids[i];
    if (start(cpu)) cpu_count++;
    else printf("CPU with APIC ID %u did not start\n", cpu->apic_id);
  }
}

void smp_call(u32 cpu, void (*function)(void *), void *argument) {
  cpus[cpu].call_argument = argument;
  __atomic_store_n(&cpus[cpu].call_function, function, __ATOMIC_RELEASE);
  apic_send(cpus[cpu].apic_id, ICR_FIXED | VECTOR_CALL);
}

bool smp_wait(u32 cpu) {
  for (u32 i = 0; i < CALL_POLLS; i++) {
    if (!__atomic_load_n(&cpus[cpu].call_function, __ATOMIC_ACQUIRE)) return true;
    cpu_pause();
  }
  return false;
}
