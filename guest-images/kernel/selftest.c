/*
 * The verb `selftest`: the CPU and this kernel's own library do what the SDM says, as far as the rest relies on it.
 */
#include "acpi.h"
#include "apic.h"
#include "boot-info.h"
#include "console.h"
#include "cpu.h"
#include "heap.h"
#include "machine-verbs.h"
#include "memory-map.h"
#include "paging.h"
#include "string.h"
#include "traps.h"

#define PF_PRESENT 1
#define PF_WRITE 2
#define PF_FETCH 16

#define PTE_ACCESSED 0x20UL
#define PTE_DIRTY 0x40UL

static u8 test_page[PAGE_BYTES] __attribute__((aligned(PAGE_BYTES)));
static volatile u64 *test_entry;

/* --- exceptions: vector and error code --- */

static void do_ud2(void *p) { (void)p; __asm__ volatile("ud2"); }
static void do_divide(void *p) { (void)p; __asm__ volatile("divl %%ecx" ::"a"(1), "d"(0), "c"(0)); }
static void do_breakpoint(void *p) { (void)p; __asm__ volatile("int3"); }
static void do_non_canonical(void *p) {
  (void)p;
  __asm__ volatile("movq (%0), %%rax" ::"r"(0x8000000000000000) : "rax");
}
static void do_bad_selector(void *p) { (void)p; __asm__ volatile("movw %w0, %%es" ::"r"(0x1238)); }
static void do_read(void *p) { __asm__ volatile("movb (%0), %%al" ::"r"(p) : "rax"); }
static void do_write(void *p) { __asm__ volatile("movb %%al, (%0)" ::"r"(p) : "memory"); }
static void do_fetch(void *p) { __asm__ volatile("call *%0" ::"r"(p) : "memory", "rax", "rcx", "rdx"); }

static void expect_exception(const char *name, void (*function)(void *), void *argument, u64 vector, u64 error_code) {
  struct caught_exception caught;
  if (!try_call(function, argument, &caught)) {
    report_fail(name, "expected vector %lu, got no exception", vector);
  } else if (caught.vector != vector || caught.error_code != error_code) {
    report_fail(name, "expected vector %lu error 0x%lx, got %lu error 0x%lx", vector, error_code, caught.vector,
                caught.error_code);
  } else if (vector == VECTOR_PF && caught.cr2 != POINTER_TO_PHYSICAL(argument)) {
    report_fail(name, "expected CR2 %p, got 0x%lx", argument, caught.cr2);
  } else {
    report_pass(name);
  }
}

/* Writes an MSR that no processor has. */
static void __attribute__((noinline)) do_bad_wrmsr(void *p) {
  (void)p;
  __asm__ volatile(".globl bad_wrmsr_at\nbad_wrmsr_at: wrmsr" ::"c"(0x150), "a"(0), "d"(0));
}

/* The same at an address in the upper half, as operating systems have it: what tells of RIP must have all of its bits. */
static void test_upper_half(void) {
  extern u8 bad_wrmsr_at[];
  volatile u64 *pml4 = (volatile u64 *)PHYSICAL_TO_POINTER(read_cr3() & PTE_ADDRESS);
  const u64 upper_half = 0xFFFFFF8000000000;
  pml4[511] = pml4[0];
  struct caught_exception caught = {0, 0, 0, 0};
  try_call((void (*)(void *))((u64)do_bad_wrmsr + upper_half), 0, &caught);
  report_equal("upper-half-vector", VECTOR_GP, caught.vector);
  report_equal("upper-half-rip", (u64)bad_wrmsr_at + upper_half, caught.rip);
  pml4[511] = 0;
  write_cr3(read_cr3());
}

static void test_exceptions(void) {
  expect_exception("exception-ud", do_ud2, 0, VECTOR_UD, 0);
  expect_exception("exception-de", do_divide, 0, VECTOR_DE, 0);
  expect_exception("exception-bp", do_breakpoint, 0, VECTOR_BP, 0);
  expect_exception("exception-gp-noncanonical", do_non_canonical, 0, VECTOR_GP, 0);
  expect_exception("exception-gp-selector", do_bad_selector, 0, VECTOR_GP, 0x1238);
}

/* --- paging --- */

static void set_test_entry(u64 clear, u64 set) {
  *test_entry = (*test_entry & ~clear) | set;
  invlpg(test_page);
}

static void test_paging(void) {
  test_entry = paging_entry(POINTER_TO_PHYSICAL(test_page));
  memset(test_page, 0xC3, PAGE_BYTES); /* RET, for the instruction fetch */
  u64 original = *test_entry;

  set_test_entry(PTE_ACCESSED | PTE_DIRTY, 0);
  do_read(test_page);
  report_equal("paging-accessed", PTE_ACCESSED, *test_entry & (PTE_ACCESSED | PTE_DIRTY));
  do_write(test_page);
  report_equal("paging-dirty", PTE_ACCESSED | PTE_DIRTY, *test_entry & (PTE_ACCESSED | PTE_DIRTY));
  test_page[0] = 0xC3;

  set_test_entry(PTE_PRESENT, 0);
  expect_exception("paging-not-present-read", do_read, test_page + 5, VECTOR_PF, 0);
  expect_exception("paging-not-present-write", do_write, test_page + 7, VECTOR_PF, PF_WRITE);
  set_test_entry(PTE_WRITE, PTE_PRESENT);
  do_read(test_page);
  expect_exception("paging-read-only", do_write, test_page + 9, VECTOR_PF, PF_PRESENT | PF_WRITE);
  set_test_entry(0, PTE_WRITE);
  do_fetch(test_page);
  report_pass("paging-fetch");
  if (rdmsr(MSR_IA32_EFER) & EFER_NXE) {
    set_test_entry(0, PTE_NX);
    expect_exception("paging-no-execute", do_fetch, test_page, VECTOR_PF, PF_PRESENT | PF_FETCH);
  }
  *test_entry = original;
  invlpg(test_page);
}

/** A store to code that was just executed is seen by the next execution (SDM, "Self-Modifying Code"). */
static void test_self_modifying_code(void) {
  u8 *code = test_page;
  u32 (*function)(void) = (u32(*)(void))(uintptr_t)code;
  u32 sum = 0;
  for (u32 i = 1; i <= 10; i++) {
    code[0] = 0xB8; /* MOV EAX, imm32 */
    memcpy(code + 1, &i, 4);
    code[5] = 0xC3;
    sum += function();
  }
  report_equal("self-modifying-code", 55, sum);
}

/* --- arithmetic and strings --- */

static void test_arithmetic(void) {
  volatile u64 a = 0xFEDCBA9876543210, b = 0x123456789;
  report_equal("divide-64", 0xE0000000, a / b);
  report_equal("remainder-64", 0x96543210, a % b);
  u64 high, low;
  __asm__ volatile("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "r"(a) : "cc");
  report_equal("multiply-128-high", 0xFDBAC097C8DC5ACC, high);
  report_equal("multiply-128-low", 0xDEEC6CD7A44A4100, low);
  u64 upper = 0xFFFFFFFFFFFFFFFF;
  __asm__ volatile("movl $1, %k0" : "+r"(upper));
  report_equal("32-bit-write-clears-upper", 1, upper);
  u8 carry;
  __asm__ volatile("addq $1, %1; setc %0" : "=q"(carry), "+r"((u64){UINT64_MAX})::"cc");
  report_equal("carry", 1, carry);
}

static void test_library(void) {
  char text[64];
  u64 value = 0;
  snprintf(text, sizeof text, "%d|%5u|%-4s|%04x|%lx|%c%%", -42, 7u, "ab", 0xBEu, 0xFEDCBA9876543210UL, 'z');
  if (strcmp(text, "-42|    7|ab  |00be|fedcba9876543210|z%") == 0) report_pass("printf");
  else report_fail("printf", "got %s", text);
  bool good = parse_u64("64K", '\0', &value) && value == 65536 && parse_u64("0x1f,", ',', &value) && value == 31 &&
              !parse_u64("12x", '\0', &value) && !parse_u64("18446744073709551616", '\0', &value) &&
              !parse_u64("", '\0', &value);
  report_equal("parse_u64", 1, good);
  memcpy(test_page, "0123456789", 10);
  memmove(test_page + 2, test_page, 8);
  report_equal("memmove", 0, (u64)memcmp(test_page, "0101234567", 10));
}

/* --- time and interrupts --- */

static volatile u32 self_interrupts;

static void on_self(struct trap_frame *frame) {
  (void)frame;
  self_interrupts++;
  apic_eoi();
}

static void test_interrupts(void) {
  u64 first = rdtsc(), last = first;
  bool went_back = false;
  for (int i = 0; i < 1000; i++) {
    u64 now = rdtsc();
    went_back |= now < last;
    last = now;
  }
  report_equal("tsc-advances", 1, last > first && !went_back);
  trap_set_handler(VECTOR_SELF, on_self);
  self_interrupts = 0;
  apic_send(PERCPU->apic_id, ICR_FIXED | ICR_LEVEL_ASSERT | VECTOR_SELF);
  for (int i = 0; i < 1000; i++) cpu_pause();
  report_equal("interrupt-held-by-if", 0, self_interrupts);
  interrupts_on();
  for (int i = 0; i < 1000000 && self_interrupts == 0; i++) cpu_pause();
  interrupts_off();
  report_equal("self-ipi", 1, self_interrupts);
  /* Two of them, and the task priority above the vector: nothing until it is lowered, and then only one of them. */
  apic_write(APIC_TPR, VECTOR_SELF & 0xF0);
  apic_send(PERCPU->apic_id, ICR_FIXED | ICR_LEVEL_ASSERT | VECTOR_SELF);
  apic_send(PERCPU->apic_id, ICR_FIXED | ICR_LEVEL_ASSERT | VECTOR_SELF);
  interrupts_on();
  for (int i = 0; i < 1000; i++) cpu_pause();
  report_equal("interrupt-held-by-tpr", 1, self_interrupts);
  apic_write(APIC_TPR, 0);
  for (int i = 0; i < 1000000 && self_interrupts == 1; i++) cpu_pause();
  interrupts_off();
  report_equal("interrupt-after-tpr", 2, self_interrupts);
}

void verb_selftest(const struct arguments *arguments) {
  (void)arguments;
  test_exceptions();
  test_upper_half();
  test_paging();
  test_self_modifying_code();
  test_arithmetic();
  test_library();
  test_interrupts();
  printf("SELFTEST apic=%s cpus=%u acpi=%u\n", apic_is_x2apic() ? "x2apic" : "xapic", cpu_count, acpi.present);
}
