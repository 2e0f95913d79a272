#include "apic.h"

#include "acpi.h"
#include "boot-info.h"
#include "console.h"
#include "traps.h"

#define APIC_BASE_ENABLE 0x800
#define APIC_BASE_EXTD 0x400
#define APIC_BASE_ADDRESS 0xFFFFFF000

#define CPUID_1_ECX_X2APIC (1u << 21)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)

#define SVR_ENABLE 0x100
#define ICR_DELIVERY_PENDING 0x1000
#define DELIVERY_POLL_LIMIT 10000000

static bool x2apic;
static bool tsc_deadline;
static u64 xapic_base;

static u32 x2apic_msr(u32 offset) { return MSR_IA32_X2APIC_FIRST + (offset >> 4); }

void apic_choose_mode(void) {
  u32 features = cpuid(1, 0).ecx;
  bool has_x2apic = (features & CPUID_1_ECX_X2APIC) != 0;
  tsc_deadline = (features & CPUID_1_ECX_TSC_DEADLINE) != 0;
  x2apic = has_x2apic && !option_is("apic", "xapic");
  if (option_is("apic", "x2apic") && !has_x2apic) printf("apic=x2apic: CPUID has no x2APIC; xAPIC is used\n");
}

void apic_init_cpu(void) {
  u64 base = rdmsr(MSR_IA32_APIC_BASE);
  xapic_base = base & APIC_BASE_ADDRESS;
  if (!x2apic && (base & APIC_BASE_EXTD)) {
    /* "x2APIC State Transitions": the way back to xAPIC mode leads through the disabled state. */
    base &= ~(u64)(APIC_BASE_EXTD | APIC_BASE_ENABLE);
    wrmsr(MSR_IA32_APIC_BASE, base);
  }
  base |= APIC_BASE_ENABLE;
  wrmsr(MSR_IA32_APIC_BASE, base);
  if (x2apic) wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_EXTD);

  apic_write(APIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
  apic_write(APIC_TPR, 0);
  apic_write(APIC_LVT_TIMER, LVT_MASKED);
  apic_write(APIC_LVT_LINT0, LVT_MASKED);
  apic_write(APIC_LVT_LINT1, LVT_DELIVERY_NMI);
  apic_write(APIC_LVT_ERROR, VECTOR_ERROR);
  u32 max_lvt = apic_read(APIC_VERSION) >> 16 & 0xFF;
  if (max_lvt >= 4) apic_write(APIC_LVT_PMC, LVT_MASKED);
  if (max_lvt >= 5) apic_write(APIC_LVT_THERMAL, LVT_MASKED);
  PERCPU->apic_id = apic_id();
}

bool apic_is_x2apic(void) { return x2apic; }
bool apic_has_tsc_deadline(void) { return tsc_deadline; }

static volatile u32 *xapic_register(u32 offset) { return PHYSICAL_TO_POINTER(xapic_base + offset); }

u32 apic_read(u32 offset) {
  PERCPU->counters.apic++;
  return x2apic ? (u32)rdmsr(x2apic_msr(offset)) : *xapic_register(offset);
}

void apic_write(u32 offset, u32 value) {
  PERCPU->counters.apic++;
  if (x2apic) wrmsr(x2apic_msr(offset), value);
  else *xapic_register(offset) = value;
}

u32 apic_id(void) {
  u32 id = apic_read(APIC_ID);
  return x2apic ? id : id >> 24;
}

void apic_eoi(void) {
  PERCPU->counters.eois++;
  apic_write(APIC_EOI, 0);
}

void apic_send(u32 destination, u32 command) {
  PERCPU->counters.ipis++;
  if (x2apic) {
    memory_fence(); /* an x2APIC write is not serializing: the stores that the IPI announces go first */
    PERCPU->counters.apic++;
    wrmsr(x2apic_msr(APIC_ICR), (u64)destination << 32 | command);
    return;
  }
  u64 flags = interrupts_save(); /* the two halves belong together */
  apic_write(APIC_ICR + 0x10, destination << 24);
  apic_write(APIC_ICR, command);
  for (int i = 0; i < DELIVERY_POLL_LIMIT && (apic_read(APIC_ICR) & ICR_DELIVERY_PENDING); i++) cpu_pause();
  interrupts_restore(flags);
}

void apic_timer_start(u32 count, u32 shift, bool periodic) {
  /* Divide configuration register: bits 3, 1, 0 hold the logarithm minus 1, and 7 means division by 1. */
  u32 code = (shift + 7) & 7;
  apic_write(APIC_TIMER_DIVIDE, (code & 4) << 1 | (code & 3));
  apic_write(APIC_LVT_TIMER, VECTOR_TIMER | (periodic ? LVT_TIMER_PERIODIC : 0));
  apic_write(APIC_TIMER_INITIAL, count);
}

void apic_timer_deadline(u64 tsc) {
  apic_write(APIC_LVT_TIMER, VECTOR_TIMER | LVT_TIMER_TSC_DEADLINE);
  memory_fence(); /* in xAPIC mode the LVT write is a store, and WRMSR does not wait for it */
  PERCPU->counters.apic++;
  wrmsr(MSR_IA32_TSC_DEADLINE, tsc);
}

void apic_timer_stop(void) {
  apic_write(APIC_LVT_TIMER, LVT_MASKED);
  apic_write(APIC_TIMER_INITIAL, 0);
}
