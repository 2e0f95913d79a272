/*
 * A hypervisor from VMXON to VMRESUME, with extended page tables and one guest. See README.md.
 *
 * Intel SDM Vol. 3C: "Introduction to Virtual Machine Extensions", "Virtual Machine Control Structures", "VMX Support for Address
 * Translation". Chapters are in the order in which the processor is brought to it.
 */
#include "report.h"
#include "vmcs.h"

const char program_name[] = "tiny-hypervisor";

/* --- 1. Instructions that C has no words for -------------------------------------------------------------------------------- */

struct cpuid_answer {
  u32 eax, ebx, ecx, edx;
};
static struct cpuid_answer cpuid(u32 leaf) {
  struct cpuid_answer a;
  __asm__ volatile("cpuid" : "=a"(a.eax), "=b"(a.ebx), "=c"(a.ecx), "=d"(a.edx) : "a"(leaf), "c"(0));
  return a;
}
static u64 rdmsr(u32 index) {
  u32 low, high;
  __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return low | (u64)high << 32;
}
static void wrmsr(u32 index, u64 value) {
  __asm__ volatile("wrmsr" ::"c"(index), "a"((u32)value), "d"((u32)(value >> 32)));
}
#define READ(name) ({ u64 value; __asm__ volatile("mov %%" #name ", %0" : "=r"(value)); value; })
#define WRITE(name, value) __asm__ volatile("mov %0, %%" #name ::"r"((u64)(value)) : "memory")

/* VMX instructions tell how they ended in CF (VMfailInvalid) and ZF (VMfailValid): true is VMsucceed. */
#define VMX(instruction, pointer)                                                                               \
  ({                                                                                                            \
    u8 failed;                                                                                                  \
    __asm__ volatile(#instruction " %1; setna %0" : "=r"(failed) : "m"(pointer) : "cc", "memory");               \
    !failed;                                                                                                    \
  })
static void vmwrite(u64 field, u64 value) { __asm__ volatile("vmwrite %1, %0" ::"r"(field), "r"(value) : "cc"); }
static u64 vmread(u64 field) {
  u64 value;
  __asm__ volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc");
  return value;
}

/* --- 2. Memory: a page each for what the processor reads by itself ------------------------------------------------------------ */

#define PAGE __attribute__((aligned(4096)))
static u32 vmxon_region[1024] PAGE, vmcs_region[1024] PAGE;
static u8 io_bitmap[8192] PAGE, msr_bitmap[4096] PAGE;
static u64 ept_pml4[512] PAGE, ept_pdpt[512] PAGE, ept_directory[512] PAGE;
static u8 guest_stack[8192] PAGE;
static u64 gdt[8], tss[13];
static struct __attribute__((packed)) {
  u16 limit;
  u64 base;
} gdt_pointer = {sizeof gdt - 1, (u64)gdt};

enum { SELECTOR_CODE = 8, SELECTOR_DATA = 16, SELECTOR_TSS = 24 };
/* A port, an MSR and a page that the hypervisor keeps for itself. */
enum { OWN_PORT = 0x1F00, OWN_MSR = 0x1A0 };
#define LAZY_PAGE 0x1800000ul
#define LARGE 0x200000ul

/* The hypervisor's own segments. VM exit loads selectors from the VMCS, and wants a task register that is not null. */
static void load_segments(void) {
  u64 base = (u64)tss;
  gdt[SELECTOR_CODE / 8] = 0x00AF9B000000FFFF;
  gdt[SELECTOR_DATA / 8] = 0x00CF93000000FFFF;
  gdt[SELECTOR_TSS / 8] = 0x67 | (base & 0xFFFFFF) << 16 | 0x89ul << 40 | (base >> 24 & 0xFF) << 56;
  gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
  __asm__ volatile("lgdt %0; ltr %w1; pushq %2; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:\n"
                   "mov %3, %%ds; mov %3, %%es; mov %3, %%ss" ::"m"(gdt_pointer), "r"(SELECTOR_TSS), "i"(SELECTOR_CODE),
                   "r"(SELECTOR_DATA)
                   : "rax", "memory");
}

/* --- 3. VMX operation --------------------------------------------------------------------------------------------------------- */

#define IA32_FEATURE_CONTROL 0x3A
#define IA32_VMX_BASIC 0x480
#define CPUID_VMX (1u << 5)
#define CR4_VMXE (1ul << 13)

/* "Enabling and Entering VMX Operation". */
static int enter_vmx_operation(void) {
  /* Firmware allows VMX by a bit that it locks; where it has not locked it, we do. */
  u64 feature_control = rdmsr(IA32_FEATURE_CONTROL);
  if (!(feature_control & 1)) wrmsr(IA32_FEATURE_CONTROL, feature_control | 5);
  /* Some bits of CR0 and CR4 are fixed in VMX operation. */
  WRITE(cr0, (READ(cr0) | rdmsr(0x486)) & rdmsr(0x487));
  WRITE(cr4, (READ(cr4) | rdmsr(0x488) | CR4_VMXE) & rdmsr(0x489));
  vmxon_region[0] = vmcs_region[0] = (u32)rdmsr(IA32_VMX_BASIC) & 0x7FFFFFFF;
  u64 region = (u64)vmxon_region;
  return VMX(vmxon, region);
}

/* --- 4. Extended page tables: guest-physical addresses are machine-physical ones, all but a page ------------------------------ */

static u64 make_ept(void) {
  ept_pml4[0] = (u64)ept_pdpt | 7; /* read, write, execute */
  ept_pdpt[0] = (u64)ept_directory | 7;
  /* 2-MByte pages, write-back. One is left out: the guest's first access to it is an EPT violation. */
  for (u64 i = 0; i < 512; i++) ept_directory[i] = i * LARGE == LAZY_PAGE ? 0 : i * LARGE | 0xB7;
  return (u64)ept_pml4 | 3 << 3 | 6; /* four levels, write-back */
}

/* --- 5. The control structure --------------------------------------------------------------------------------------------------- */

/* A control word: what we want, with the bits that this processor demands, without those that it does not have. */
static u32 controls(u32 capability_msr, u32 wanted) {
  u64 capability = rdmsr(capability_msr);
  return (wanted | (u32)capability) & (u32)(capability >> 32);
}

#define USE_TRUE_CONTROLS ((rdmsr(IA32_VMX_BASIC) >> 55 & 1) * 12)
static void fill_controls(void) {
  u32 offset = USE_TRUE_CONTROLS; /* 481H to 484H, or 48DH to 490H */
  vmwrite(PIN_BASED_CONTROLS, controls(0x481 + offset, 0));
  /* HLT exiting, I/O bitmaps, MSR bitmaps, secondary controls. */
  vmwrite(PRIMARY_CONTROLS, controls(0x482 + offset, 1u << 7 | 1u << 25 | 1u << 28 | 1u << 31));
  vmwrite(SECONDARY_CONTROLS, controls(0x48B, 1u << 1)); /* EPT */
  vmwrite(EXIT_CONTROLS, controls(0x483 + offset, 1u << 9)); /* the host is in 64-bit mode */
  vmwrite(ENTRY_CONTROLS, controls(0x484 + offset, 1u << 9)); /* the guest in IA-32e mode */
  vmwrite(EXCEPTION_BITMAP, 0);
  io_bitmap[OWN_PORT / 8] |= 1 << OWN_PORT % 8;
  msr_bitmap[OWN_MSR / 8] |= 1 << OWN_MSR % 8;
  vmwrite(IO_BITMAP_A, (u64)io_bitmap);
  vmwrite(IO_BITMAP_B, (u64)io_bitmap + 4096);
  vmwrite(MSR_BITMAP, (u64)msr_bitmap);
  vmwrite(EPT_POINTER, make_ept());
  vmwrite(VMCS_LINK_POINTER, ~0ul);
}

/* Where an exit finds itself: here, with our tables. */
static void fill_host_state(void) {
  extern u8 guest_exits[];
  vmwrite(HOST_CR0, READ(cr0));
  vmwrite(HOST_CR3, READ(cr3));
  vmwrite(HOST_CR4, READ(cr4));
  vmwrite(HOST_CS_SELECTOR, SELECTOR_CODE);
  vmwrite(HOST_SS_SELECTOR, SELECTOR_DATA);
  vmwrite(HOST_DS_SELECTOR, SELECTOR_DATA);
  vmwrite(HOST_ES_SELECTOR, SELECTOR_DATA);
  vmwrite(HOST_FS_SELECTOR, 0);
  vmwrite(HOST_GS_SELECTOR, 0);
  vmwrite(HOST_TR_SELECTOR, SELECTOR_TSS);
  vmwrite(HOST_TR_BASE, (u64)tss);
  vmwrite(HOST_GDTR_BASE, (u64)gdt);
  vmwrite(HOST_IDTR_BASE, 0);
  vmwrite(HOST_RIP, (u64)guest_exits);
}

static void guest_segment(u32 index, u32 selector, u32 limit, u32 rights, u64 base) {
  vmwrite(GUEST_ES_SELECTOR + 2 * index, selector);
  vmwrite(GUEST_ES_LIMIT + 2 * index, limit);
  vmwrite(GUEST_ES_ACCESS_RIGHTS + 2 * index, rights);
  vmwrite(GUEST_ES_BASE + 2 * index, base);
}

/* The guest starts in our own mode, with our page tables (which EPT translates again) and a stack of its own. */
static void fill_guest_state(void (*entry)(void)) {
  enum { CODE64 = 0xA09B, DATA = 0xC093, UNUSABLE = 0x10000, BUSY_TSS = 0x8B };
  vmwrite(GUEST_CR0, READ(cr0));
  vmwrite(GUEST_CR3, READ(cr3));
  vmwrite(GUEST_CR4, READ(cr4));
  for (u32 i = 0; i < 6; i++) guest_segment(i, SELECTOR_DATA, 0xFFFFFFFF, DATA, 0);
  guest_segment(1, SELECTOR_CODE, 0xFFFFFFFF, CODE64, 0);
  guest_segment(6, 0, 0, UNUSABLE, 0);
  guest_segment(7, SELECTOR_TSS, 0x67, BUSY_TSS, (u64)tss);
  vmwrite(GUEST_GDTR_BASE, (u64)gdt);
  vmwrite(GUEST_GDTR_LIMIT, sizeof gdt - 1);
  vmwrite(GUEST_IDTR_BASE, 0);
  vmwrite(GUEST_IDTR_LIMIT, 0);
  vmwrite(GUEST_DR7, 0x400);
  vmwrite(GUEST_RFLAGS, 2);
  vmwrite(GUEST_RIP, (u64)entry);
  vmwrite(GUEST_RSP, (u64)guest_stack + sizeof guest_stack - 8);
}

/* --- 6. The guest ----------------------------------------------------------------------------------------------------------------- */

static volatile u64 seen[5];

/* A hypercall: RAX is the argument, and the answer. */
static u64 hypercall(u64 argument) {
  __asm__ volatile("vmcall" : "+a"(argument) : : "memory");
  return argument;
}

static void guest(void) {
  seen[0] = cpuid(0x40000000).ebx;
  seen[1] = hypercall(41);
  outb(OWN_PORT, 0x5A);
  seen[2] = rdmsr(OWN_MSR);
  volatile u64 *lazy = (volatile u64 *)LAZY_PAGE;
  *lazy = 0x1234; /* violation, mapping, and again */
  seen[3] = *lazy;
  for (u64 i = 0; i < 100; i++) seen[4] += hypercall(i) - i;
  for (;;) __asm__ volatile("hlt");
}

/* --- 7. The hypervisor's loop -------------------------------------------------------------------------------------------------- */

struct registers {
  u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
};
int enter_guest(struct registers *r, int is_launched);

static u32 exits[64];
static u8 port_value;
static u64 violation_at, violation_qualification;

/* An instruction has been emulated: on behind it. */
static void skip_instruction(void) { vmwrite(GUEST_RIP, vmread(GUEST_RIP) + vmread(EXIT_INSTRUCTION_LENGTH)); }

/* What an exit is answered with; 0 when the guest is done, or does what nobody foresaw. */
static int handle_exit(struct registers *r) {
  u32 reason = (u32)vmread(EXIT_REASON) & 0xFFFF;
  exits[reason & 63]++;
  switch (reason) {
  case EXIT_CPUID: {
    int is_ours = (u32)r->rax == 0x40000000;
    struct cpuid_answer a = cpuid((u32)r->rax);
    r->rax = a.eax;
    r->rbx = is_ours ? 0x796E6974 /* "tiny" */ : a.ebx;
    r->rcx = a.ecx;
    r->rdx = a.edx;
    break;
  }
  case EXIT_VMCALL:
    r->rax++;
    break;
  case EXIT_IO:
    port_value = (u8)r->rax;
    break;
  case EXIT_MSR_READ:
    r->rax = 0xCAFE;
    r->rdx = 0;
    break;
  case EXIT_EPT_VIOLATION:
    violation_at = vmread(GUEST_PHYSICAL_ADDRESS);
    violation_qualification = vmread(EXIT_QUALIFICATION);
    ept_directory[violation_at / LARGE] = (violation_at & ~(LARGE - 1)) | 0xB7;
    return 1; /* the instruction is made again */
  default:
    return 0;
  }
  skip_instruction();
  return 1;
}

static int run_guest(void) {
  struct registers r = {0};
  int is_launched = 0;
  do {
    if (enter_guest(&r, is_launched)) return 0;
    is_launched = 1;
  } while (handle_exit(&r));
  return (u32)vmread(EXIT_REASON) == EXIT_HLT;
}

/* --- 8. All of it ------------------------------------------------------------------------------------------------------------------ */

void program_main(void);
void program_main(void) {
  report_start();
  program_run();
  finish();
}

static int has_ept(void) {
  u64 primary = rdmsr(0x482);
  return primary >> 63 && rdmsr(0x48B) >> 33 & 1;
}

void program_run(void) {
  if (!(cpuid(1).ecx & CPUID_VMX) || !has_ept()) {
    print("SKIP no VT-x with EPT here\n");
    return;
  }
  load_segments();
  begin("vmxon");
  check("succeeds", (word)enter_vmx_operation(), 1);
  u64 region = (u64)vmxon_region;
  check("once only", (word)VMX(vmxon, region), 0);
  end();

  begin("vmcs");
  region = (u64)vmcs_region;
  check("vmclear", (word)VMX(vmclear, region), 1);
  check("vmptrld", (word)VMX(vmptrld, region), 1);
  fill_controls();
  fill_host_state();
  check("an entry without a guest state", (word)run_guest(), 0);
  check("is a failed one", vmread(EXIT_REASON), 0x80000021);
  fill_guest_state(guest);
  end();

  begin("guest");
  check("runs to its HLT", (word)run_guest(), 1);
  check("CPUID is answered by us", seen[0], 0x796E6974);
  check("a hypercall", seen[1], 42);
  check("a port", port_value, 0x5A);
  check("an MSR", seen[2], 0xCAFE);
  check("a page that was not there", seen[3], 0x1234);
  check("where it was missed", violation_at, LAZY_PAGE);
  check("by a write, with a linear address", violation_qualification & 0x1BF, 0x182);
  check("a hundred hypercalls", seen[4], 100);
  end();

  begin("exits");
  check("CPUID", exits[EXIT_CPUID], 1);
  check("VMCALL", exits[EXIT_VMCALL], 101);
  check("I/O", exits[EXIT_IO], 1);
  check("MSR", exits[EXIT_MSR_READ], 1);
  check("EPT violation", exits[EXIT_EPT_VIOLATION], 1);
  check("HLT", exits[EXIT_HLT], 1);
  end();

  begin("vmxoff");
  check("vmclear", (word)VMX(vmclear, region), 1);
  u8 failed;
  __asm__ volatile("vmxoff; setna %0" : "=r"(failed) : : "cc");
  check("succeeds", failed, 0);
  end();
}
