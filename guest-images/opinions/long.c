/*
 * IA-32e mode: 64-bit and compatibility code, canonical addresses, interrupt frames and IST, SYSCALL, SYSENTER, SWAPGS, call
 * gates, 4-level paging with all page sizes, PCID, SMEP and SMAP, and what 64-bit code may not do. SDM Vol. 3A, "Paging", "Exception and
 * Interrupt Handling in 64-bit Mode", "Stack Switching in IA-32e Mode"; Vol. 2, the instructions named.
 */
#include "layout64.h"
#include "report.h"

const char program_name[] = "long";

enum { OK = VECTOR_DONE, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11, SS = 12, GP = 13, PF = 14, DB = 1, AC = 17 };
#define FLAG_CF 1ul
#define FLAG_TF 0x100ul
#define FLAG_IF 0x200ul
#define FLAG_DF 0x400ul
#define FLAG_IOPL3 0x3000ul
#define FLAG_NT 0x4000ul
#define FLAG_RF 0x10000ul
#define FLAG_AC 0x40000ul

struct context64 {
  u64 rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15, ds;
  u64 rip, cs, rflags, rsp, ss, vector, error, cr2, trap_rsp, trap_ss;
};
_Static_assert(sizeof(struct context64) == CTX64_BYTES, "layout64.h");
extern volatile struct context64 context64;
#define ctx context64
void enter64(void);
extern u8 trap_stubs[];
extern u64 boot_pml4[512], boot_pdpt[512], boot_directory[512];

static u64 gdt[64] __attribute__((aligned(16)));
static u64 idt[512] __attribute__((aligned(16)));
static struct __attribute__((packed)) {
  u32 reserved;
  u64 rsp[3], reserved2, ist[7], reserved3;
  u16 reserved4, io_base;
} tss;
struct __attribute__((packed)) pointer {
  u16 limit;
  u64 base;
};
static u8 stack0[8192] __attribute__((aligned(16))), stack3[8192] __attribute__((aligned(16))), stack_ist[4096] __attribute__((aligned(16)));
#define TOP(stack) ((u64)(stack) + sizeof(stack))

#define CODE64 0x00AF9B000000FFFFul
#define CODE32 0x00CF9B000000FFFFul
#define DATA 0x00CF93000000FFFFul
#define USER (3ul << 45)

#define ASSEMBLE64(name, bits, text)                                                                      \
  __asm__(".pushsection .rodata\n .code" #bits "\n .intel_syntax noprefix\n" #name ":\n" text "; int 0x40\n" \
          #name "_end:\n .att_syntax\n .code64\n .popsection");                                            \
  extern const u8 name[], name##_end[]
#define C64(name, text) ASSEMBLE64(name, 64, text)
#define C32(name, text) ASSEMBLE64(name, 32, text)

static void set_gate(u32 vector, u64 target, u32 selector, u32 type, u32 ist) {
  idt[2 * vector] = (target & 0xFFFF) | (u64)selector << 16 | (u64)ist << 32 | (u64)type << 40 | (target >> 16 & 0xFFFF) << 48;
  idt[2 * vector + 1] = target >> 32;
}
static void reset_gate(u32 vector) {
  set_gate(vector, (u64)trap_stubs + 16 * vector, SEL64_CODE, vector == OK || vector == 3 || vector == 4 ? 0xEE : 0x8E, 0);
}
static void set_system(u32 selector, u64 base, u32 limit, u32 access) {
  gdt[selector >> 3] = (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | (u64)access << 40 | (u64)(limit >> 16 & 15) << 48 | (base >> 24 & 0xFF) << 56;
  gdt[(selector >> 3) + 1] = base >> 32;
}
static u64 read_msr(u32 index) {
  u32 low, high;
  __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
  return (u64)high << 32 | low;
}
static void write_msr(u32 index, u64 value) { __asm__ volatile("wrmsr" ::"a"((u32)value), "d"((u32)(value >> 32)), "c"(index) : "memory"); }
#define CR(n)                                                                                                    \
  static inline u64 read_cr##n(void) {                                                                           \
    u64 value;                                                                                                   \
    __asm__ volatile("mov %%cr" #n ", %0" : "=r"(value));                                                        \
    return value;                                                                                                \
  }                                                                                                              \
  static inline void write_cr##n(u64 value) { __asm__ volatile("mov %0, %%cr" #n ::"r"(value) : "memory"); }
CR(0) CR(3) CR(4)
static void cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d) { __asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(0)); }
static int has_pcid, has_invpcid, has_smep, has_smap, has_1g, has_fsgsbase;
#define EFER 0xC0000080
#define STAR 0xC0000081
#define LSTAR 0xC0000082
#define CSTAR 0xC0000083
#define FMASK 0xC0000084
#define FS_BASE 0xC0000100
#define GS_BASE 0xC0000101
#define KERNEL_GS_BASE 0xC0000102

static void fresh(u32 cs) {
  for (u32 i = 0; i < sizeof ctx / 8; i++) ((volatile u64 *)&ctx)[i] = 0;
  ctx.cs = cs, ctx.rflags = 2;
  ctx.ss = ctx.ds = cs & 3 ? SEL64_USER_DATA : SEL64_DATA;
  ctx.rsp = TOP(stack3) - 256;
}
static u32 run(u32 cs, const u8 *code) {
  ctx.cs = cs, ctx.rip = (u64)code;
  enter64();
  return (u32)ctx.vector;
}
/* From fresh registers; `check_event` behind. */
static u32 go(u32 cs, const u8 *code) {
  fresh(cs);
  return run(cs, code);
}
static void check_event(const char *what, u32 vector, u64 error, const u8 *at) {
  check(what, ctx.vector, vector);
  if (ctx.vector != vector || vector == OK) return;
  check(what, ctx.error, error);
  if (at) check(what, ctx.rip, (u64)at);
}
#define K64 SEL64_CODE
#define U64 SEL64_USER_CODE
#define U32 SEL64_USER_CODE32

/* --- basics --- */
C64(add64, "mov rax, 0x7FFFFFFFFFFFFFFF; add rax, 1; mov ecx, -1; mov r8d, eax; movsxd r9, ecx");
C32(add32, "mov eax, 0x7FFFFFFF; add eax, 1; inc ecx; push eax; pop edx");
static void basics(void) {
  begin("code-64");
  go(U64, add64), check_event("vector", OK, 0, 0), check("rax", ctx.rax, 1ul << 63), check("rcx", ctx.rcx, 0xFFFFFFFF);
  check("r8", ctx.r8, 0), check("r9", ctx.r9, ~0ul), check("overflow", ctx.rflags & 0x800, 0x800);
  end();
  begin("code-compatibility");
  go(U32, add32), check_event("vector", OK, 0, 0), check("rax", ctx.rax, 0x80000000), check("rcx", ctx.rcx, 1), check("rdx", ctx.rdx, 0x80000000);
  check("cs", ctx.cs, U32), check("rsp", ctx.rsp, TOP(stack3) - 256);
  end();
}

/* --- canonical addresses --- */
C64(read_rbx, "mov rax, [rbx]");
C64(write_rbx, "mov [rbx], rax");
C64(read_rbp, "mov rax, [rbp]");
C64(push_rax, "push rax");
C64(jmp_rbx, "jmp rbx");
C64(call_rbx, "call rbx");
C64(ret_there, "push rbx; ret");
C64(invlpg_rbx, "invlpg [rbx]");
static void canonical(void) {
  static const u64 bad[] = {0x800000000000ul, 0xFFFF7FFFFFFFFFFFul, 0x8000000000000000ul};
  begin("canonical");
  for (u32 i = 0; i < 3; i++) {
    fresh(U64), ctx.rbx = bad[i], run(U64, read_rbx), check_event("read", GP, 0, read_rbx);
    fresh(U64), ctx.rbx = bad[i], run(U64, write_rbx), check_event("write", GP, 0, write_rbx);
    fresh(U64), ctx.rbp = bad[i], run(U64, read_rbp), check_event("stack", SS, 0, read_rbp);
    fresh(U64), ctx.rsp = bad[i] + 8, run(U64, push_rax), check_event("push", SS, 0, push_rax), check("push-rsp", ctx.rsp, bad[i] + 8);
    fresh(U64), ctx.rbx = bad[i], run(U64, jmp_rbx), check_event("jmp", GP, 0, jmp_rbx);
    fresh(U64), ctx.rbx = bad[i], run(U64, call_rbx), check_event("call", GP, 0, call_rbx), check("call-rsp", ctx.rsp, TOP(stack3) - 256);
    fresh(U64), ctx.rbx = bad[i], run(U64, ret_there), check_event("ret", GP, 0, ret_there + 1), check("ret-rsp", ctx.rsp, TOP(stack3) - 264);
    fresh(K64), ctx.rbx = bad[i], run(K64, invlpg_rbx), check("invlpg", ctx.vector, OK); /* does nothing */
  }
  fresh(U64), ctx.rbx = 0x7FFFFFFFFFFCul, run(U64, read_rbx), check_event("across", GP, 0, read_rbx);
  end();
}

/* --- what 64-bit code does not have --- */
#define UNDEFINED(X)                                                                                            \
  X(push_es, ".byte 0x06") X(pop_ds, ".byte 0x1F") X(daa, ".byte 0x27") X(das, ".byte 0x2F") X(aaa, ".byte 0x37") \
  X(aas, ".byte 0x3F") X(pusha, ".byte 0x60") X(popa, ".byte 0x61") X(bound, ".byte 0x62, 0x03")                \
  X(opcode_82, ".byte 0x82, 0xC0, 0x01") X(call_far, ".byte 0x9A; .long 0; .word 0x2B") X(les, ".byte 0xC4, 0x03") \
  X(into, ".byte 0xCE") X(aam, ".byte 0xD4, 0x0A") X(aad, ".byte 0xD5, 0x0A") X(salc, ".byte 0xD6")               \
  X(jmp_far, ".byte 0xEA; .long 0; .word 0x2B") X(lds, ".byte 0xC5, 0x03") X(ud2, "ud2")                        \
  X(lock_mov, ".byte 0xF0, 0x48, 0x89, 0x03") X(mov_cr1, ".byte 0x0F, 0x20, 0xC8")
#define DEFINE_UNDEFINED(name, text) C64(u_##name, text);
UNDEFINED(DEFINE_UNDEFINED)
C64(near_66, ".byte 0x66, 0xE8; .long 1f - 2f; 2: mov eax, 1; 1: mov ecx, 2");
C64(push_66, "mov rbx, rsp; .byte 0x66, 0x50; sub rbx, rsp");
C64(rex_ignored, ".byte 0x48, 0x66, 0xB8, 0x34, 0x12");
C64(nop_90, "mov rax, 0x123456789; .byte 0x48, 0x90; .byte 0x87, 0xC0");
C64(fs_segment, "mov rax, fs:[0]; mov rcx, ds:[rbx]; mov rdx, cs:[rbx]");
static void differences(void) {
  begin("undefined-in-64-bit-code");
#define TRY_UNDEFINED(name, text) fresh(U64), ctx.rbx = TOP(stack3) - 512, run(U64, u_##name), check_event(#name, UD, 0, u_##name);
  UNDEFINED(TRY_UNDEFINED)
  end();
  begin("defaults-in-64-bit-code");
  go(U64, near_66), check_event("66-call", OK, 0, 0), check("66-call-eax", ctx.rax, 0), check("66-call-rsp", ctx.rsp, TOP(stack3) - 264);
  go(U64, push_66), check("push-66", ctx.rbx, 2);
  fresh(U64), ctx.rax = ~0ul, run(U64, rex_ignored), check("rex-not-last", ctx.rax, 0xFFFFFFFFFFFF1234ul);
  go(U64, nop_90), check("xchg-eax-eax", ctx.rax, 0x23456789);
  static u64 value = 0x1122334455667788ul;
  write_msr(FS_BASE, (u64)&value);
  fresh(U64), ctx.rbx = (u64)&value, run(U64, fs_segment), check_event("segments", OK, 0, 0);
  check("fs-base", ctx.rax, value), check("ds", ctx.rcx, value), check("cs", ctx.rdx, value);
  write_msr(FS_BASE, 0);
  end();
}

/* --- interrupt frames --- */
C64(int_41, "int 0x41");
C32(int_41_32, "int 0x41");
C64(handler, "mov rdi, rsp");
static const u64 *pushed(void) { return (const u64 *)ctx.rdi; }
static void frames(void) {
  begin("interrupt-frame");
  set_gate(0x41, (u64)handler, SEL64_CODE, 0xEE, 0);
  fresh(U64), ctx.rflags |= FLAG_IF | FLAG_CF | FLAG_NT | FLAG_AC, ctx.rsp -= 3;
  u64 rsp = ctx.rsp;
  run(U64, int_41);
  check("vector", ctx.vector, OK), check("rsp", ctx.rdi, TOP(stack0) - 40), check("ss", ctx.ss, 0); /* a null selector of RPL 0 */
  check("rip", pushed()[0], (u64)int_41 + 2), check("cs", pushed()[1], U64), check("flags", pushed()[2], 2 | FLAG_IF | FLAG_CF | FLAG_NT | FLAG_AC);
  check("old-rsp", pushed()[3], rsp), check("old-ss", pushed()[4], SEL64_USER_DATA);
  check("new-flags", ctx.rflags & (FLAG_IF | FLAG_NT | FLAG_CF | FLAG_AC), FLAG_CF | FLAG_AC);
  go(U32, int_41_32), check("from-compatibility", pushed()[1], U32), check("from-compatibility-rip", pushed()[0], (u64)int_41_32 + 2);
  /* At the same level the frame is aligned to 16 bytes. */
  for (u32 i = 0; i < 16; i += 5) {
    fresh(K64), ctx.rsp -= i, rsp = ctx.rsp, run(K64, int_41);
    check("aligned", ctx.rdi, (rsp & ~15ul) - 40), check("aligned-rsp", pushed()[3], rsp), check("aligned-ss", pushed()[4], SEL64_DATA);
  }
  end();
  begin("ist");
  for (u32 i = 1; i <= 7; i++) tss.ist[i - 1] = TOP(stack_ist) - 128 * i - 3;
  for (u32 i = 1; i <= 7; i++)
    for (u32 cpl = 0; cpl <= 3; cpl += 3) {
      set_gate(0x41, (u64)handler, SEL64_CODE, 0xEF, i);
      go(cpl ? U64 : K64, int_41), check("rsp", ctx.rdi, ((TOP(stack_ist) - 128 * i - 3) & ~15ul) - 40);
      check("ss", ctx.ss, cpl ? 0 : SEL64_DATA); /* without a change of privilege SS stays */
    }
  tss.ist[0] = 0x800000000000ul, set_gate(0x41, (u64)handler, SEL64_CODE, 0xEE, 1);
  go(U64, int_41), check_event("not-canonical", SS, 0, int_41);
  set_gate(UD, (u64)handler, SEL64_CODE, 0x8E, 1);
  go(U64, u_ud2), check_event("exception-not-canonical", SS, 1, u_ud2);
  reset_gate(UD);
  end();
  begin("gate-faults");
  static const struct {
    const char *name;
    u32 selector, type, vector, error;
    u64 target;
  } cases[] = {
      {"dpl", SEL64_CODE, 0x8E, GP, 0x41 * 8 + 2, 0},
      {"not-present", SEL64_CODE, 0x6E, NP, 0x41 * 8 + 2, 0},
      {"type-16", SEL64_CODE, 0xE6, GP, 0x41 * 8 + 2, 0},
      {"type-task", SEL64_CODE, 0xE5, GP, 0x41 * 8 + 2, 0},
      {"null", 0, 0xEE, GP, 0, 0},
      {"data", SEL64_DATA, 0xEE, GP, SEL64_DATA, 0},
      {"code-32", SEL64_CODE32, 0xEE, GP, SEL64_CODE32, 0},
      {"beyond", 0xFFF8, 0xEE, GP, 0xFFF8, 0},
      {"not-canonical", SEL64_CODE, 0xEE, GP, 0, 0x800000000000ul},
  };
  for (u32 i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    set_gate(0x41, cases[i].target ? cases[i].target : (u64)handler, cases[i].selector, cases[i].type, 0);
    go(U64, int_41), check_event(cases[i].name, cases[i].vector, cases[i].error, int_41);
  }
  reset_gate(0x41);
  end();
}

/* --- IRETQ and far returns --- */
C64(iretq_, "push r8; push r9; push r10; push r11; push r12; iretq");
C64(lretq_, "push r11; push r12; rex.w; .byte 0xCB");
C64(nothing, "nop");
static void iret(const char *what, u64 ss, u64 rsp, u64 rflags, u64 cs, u64 rip, u32 vector, u64 error) {
  fresh(K64), ctx.r8 = ss, ctx.r9 = rsp, ctx.r10 = rflags, ctx.r11 = cs, ctx.r12 = rip;
  run(K64, iretq_), check_event(what, vector, error, vector == OK ? 0 : iretq_ + 10);
}
static void returns(void) {
  u64 top = TOP(stack3) - 1024, there = (u64)nothing;
  begin("iretq");
  iret("user", SEL64_USER_DATA, top, 2 | FLAG_CF, U64, there, OK, 0), check("user-cs", ctx.cs, U64), check("user-rsp", ctx.rsp, top);
  iret("same", SEL64_DATA, top, 2, K64, there, OK, 0), check("same-rsp", ctx.rsp, top), check("same-ss", ctx.ss, SEL64_DATA);
  iret("null-ss-0", 0, top, 2, K64, there, OK, 0), check("null-ss", ctx.ss, 0);
  iret("null-ss-3", 3, top, 2, U64, there, GP, 0);
  iret("not-canonical", SEL64_USER_DATA, top, 2, U64, 0x800000000000ul, GP, 0);
  iret("null-cs", SEL64_DATA, top, 2, 0, there, GP, 0);
  iret("data-cs", SEL64_DATA, top, 2, SEL64_DATA, there, GP, SEL64_DATA);
  iret("ss-rpl", SEL64_DATA, top, 2, U64, there, GP, SEL64_DATA);
  iret("compatibility", SEL64_USER_DATA, top, 2, U32, (u64)add32, OK, 0), check("compatibility-cs", ctx.cs, U32);
  iret("not-canonical-rsp", SEL64_USER_DATA, 0x800000000000ul, 2, U64, there, OK, 0); /* loaded as it is */
  check("not-canonical-rsp-value", ctx.rsp, 0x800000000000ul);
  end();
  begin("retfq");
  fresh(K64), ctx.r11 = K64, ctx.r12 = there, run(K64, lretq_), check_event("same", OK, 0, 0);
  gdt[SEL64_FREE >> 3] = 0x00EF9B000000FFFFul; /* L and D */
  fresh(K64), ctx.r11 = SEL64_FREE, ctx.r12 = there, run(K64, lretq_), check_event("l-and-d", GP, SEL64_FREE, 0);
  fresh(K64), ctx.r11 = K64, ctx.r12 = 0x800000000000ul, run(K64, lretq_), check_event("not-canonical", GP, 0, 0);
  end();
}

/* --- SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS --- */
C64(syscall_, "syscall");
C32(syscall_32, "syscall");
C64(kernel_entry, "mov rdi, rsp");
C64(sysretq_, "sysretq");
C64(sysretd_, ".byte 0x0F, 0x07");
C64(sysenter_, "sysenter");
C32(sysenter_32, "sysenter");
C64(sysexitq_, "rex.w; .byte 0x0F, 0x35");
C64(sysexitd_, ".byte 0x0F, 0x35");
C64(swapgs_, "swapgs");
C32(in_32, "mov edi, esp");
C64(rdfsbase_, "rdfsbase rax");
C64(wrgsbase_, "wrgsbase rbx");
static void system_calls(void) {
  u64 efer = read_msr(EFER);
  begin("syscall");
  write_msr(STAR, (u64)(SEL64_USER_CODE32 & ~0) << 48 | (u64)SEL64_CODE << 32);
  write_msr(LSTAR, (u64)kernel_entry), write_msr(CSTAR, (u64)kernel_entry), write_msr(FMASK, FLAG_IF | FLAG_DF | FLAG_TF);
  fresh(U64), ctx.rflags |= FLAG_IF | FLAG_DF | FLAG_CF | FLAG_IOPL3;
  u64 rsp = ctx.rsp;
  run(U64, syscall_);
  check("vector", ctx.vector, OK), check("cs", ctx.cs, SEL64_CODE), check("ss", ctx.ss, SEL64_DATA);
  check("rcx", ctx.rcx, (u64)syscall_ + 2), check("r11", ctx.r11, 2 | FLAG_IF | FLAG_DF | FLAG_CF | FLAG_IOPL3);
  check("flags", ctx.rflags & (FLAG_IF | FLAG_DF | FLAG_CF | FLAG_IOPL3), FLAG_CF | FLAG_IOPL3), check("rsp", ctx.rdi, rsp);
  go(U32, syscall_32), check_event("compatibility", UD, 0, syscall_32);
  write_msr(EFER, efer & ~1ul), go(U64, syscall_), check_event("sce", UD, 0, syscall_), write_msr(EFER, efer);
  end();
  begin("sysret");
  fresh(K64), ctx.rcx = (u64)nothing, ctx.r11 = 2 | FLAG_CF | FLAG_RF, ctx.rsp = TOP(stack3) - 1024, run(K64, sysretq_);
  check("vector", ctx.vector, OK), check("cs", ctx.cs, U64), check("ss", ctx.ss, SEL64_USER_DATA), check("rip", ctx.rip, (u64)nothing_end);
  check("rsp", ctx.rsp, TOP(stack3) - 1024), check("flags", ctx.rflags & (FLAG_CF | FLAG_RF), FLAG_CF);
  fresh(K64), ctx.rcx = 0xFFFFFFFF00000000ul | (u64)in_32, ctx.r11 = 2, run(K64, sysretd_), check("32-cs", ctx.cs, U32), check("32-vector", ctx.vector, OK);
  fresh(K64), ctx.rcx = 0x800000000000ul, ctx.r11 = 2, run(K64, sysretq_), check_event("not-canonical", GP, 0, sysretq_), check("not-canonical-cs", ctx.cs, K64);
  go(U64, sysretq_), check_event("user", GP, 0, sysretq_);
  end();
  begin("sysenter");
  write_msr(0x174, SEL64_CODE), write_msr(0x175, TOP(stack0) - 64), write_msr(0x176, (u64)kernel_entry);
  fresh(U64), ctx.rflags |= FLAG_IF | FLAG_CF, run(U64, sysenter_);
  check("vector", ctx.vector, OK), check("cs", ctx.cs, SEL64_CODE), check("ss", ctx.ss, SEL64_DATA), check("rsp", ctx.rdi, TOP(stack0) - 64);
  check("if", ctx.rflags & (FLAG_IF | FLAG_CF), FLAG_CF);
  go(U32, sysenter_32), check("compatibility", ctx.vector, OK), check("compatibility-cs", ctx.cs, SEL64_CODE);
  write_msr(0x174, 0), go(U64, sysenter_), check_event("cs-null", GP, 0, sysenter_), write_msr(0x174, SEL64_CODE);
  /* SYSEXIT's selectors are the base's plus 16 and 24, and with REX.W plus 32 and 40. */
  u64 at[6];
  for (u32 i = 0; i < 6; i++) at[i] = gdt[(SEL64_FREE >> 3) + i];
  gdt[(SEL64_FREE >> 3) + 2] = CODE32 | USER, gdt[(SEL64_FREE >> 3) + 3] = DATA | USER;
  gdt[(SEL64_FREE >> 3) + 4] = CODE64 | USER, gdt[(SEL64_FREE >> 3) + 5] = DATA | USER;
  write_msr(0x174, SEL64_FREE);
  fresh(K64), ctx.rcx = TOP(stack3) - 512, ctx.rdx = (u64)nothing, run(K64, sysexitq_);
  check("exit-64", ctx.vector, OK), check("exit-64-cs", ctx.cs, (SEL64_FREE + 32) | 3), check("exit-64-ss", ctx.ss, (SEL64_FREE + 40) | 3), check("exit-64-rsp", ctx.rsp, TOP(stack3) - 512);
  fresh(K64), ctx.rcx = TOP(stack3) - 512, ctx.rdx = (u64)in_32, run(K64, sysexitd_);
  check("exit-32", ctx.vector, OK), check("exit-32-cs", ctx.cs, (SEL64_FREE + 16) | 3), check("exit-32-ss", ctx.ss, (SEL64_FREE + 24) | 3);
  fresh(K64), ctx.rcx = TOP(stack3) - 512, ctx.rdx = 0x800000000000ul, run(K64, sysexitq_), check_event("exit-not-canonical", GP, 0, sysexitq_);
  go(U64, sysexitq_), check_event("exit-user", GP, 0, sysexitq_);
  write_msr(0x174, 0);
  for (u32 i = 0; i < 6; i++) gdt[(SEL64_FREE >> 3) + i] = at[i];
  end();
  begin("swapgs");
  write_msr(GS_BASE, 0x1111), write_msr(KERNEL_GS_BASE, 0xFFFF800000002222ul);
  go(K64, swapgs_), check("vector", ctx.vector, OK), check("gs", read_msr(GS_BASE), 0xFFFF800000002222ul), check("kernel-gs", read_msr(KERNEL_GS_BASE), 0x1111);
  go(U64, swapgs_), check_event("user", GP, 0, swapgs_);
  write_msr(GS_BASE, 0);
  end();
  if (has_fsgsbase) {
    begin("fsgsbase");
    go(U64, rdfsbase_), check_event("off", UD, 0, rdfsbase_);
    write_cr4(read_cr4() | 0x10000);
    write_msr(FS_BASE, 0x123456789ABCul), go(U64, rdfsbase_), check_event("on", OK, 0, 0), check("value", ctx.rax, 0x123456789ABCul), write_msr(FS_BASE, 0);
    fresh(U64), ctx.rbx = 0x800000000000ul, run(U64, wrgsbase_), check_event("not-canonical", GP, 0, wrgsbase_);
    fresh(U64), ctx.rbx = 0x5000, run(U64, wrgsbase_), check("write", read_msr(GS_BASE), 0x5000), write_msr(GS_BASE, 0);
    write_cr4(read_cr4() & ~0x10000ul);
    end();
  }
}

/* --- call gates, descriptors, control registers --- */
C64(call_gate, "call fword ptr [rbx]");
C64(mov_ds, "mov ds, eax");
C64(mov_ss, "mov ss, eax");
C64(ltr_, "ltr ax");
C64(lldt_, "lldt ax");
C64(lar_, "lar rdx, rax; setz cl");
C64(to_cr0, "mov cr0, rax");
C64(to_cr3, "mov cr3, rax");
C64(to_cr4, "mov cr4, rax");
C64(to_cr8, "mov cr8, rax");
C64(wrmsr_, "wrmsr");
C64(rdmsr_, "rdmsr");
static struct __attribute__((packed)) {
  u32 offset;
  u16 selector;
} far_pointer;
static void set_call_gate(u64 target, u32 selector, u32 type, u32 upper_type) {
  gdt[SEL64_FREE >> 3] = (target & 0xFFFF) | (u64)selector << 16 | (u64)type << 40 | (target >> 16 & 0xFFFF) << 48;
  gdt[(SEL64_FREE >> 3) + 1] = target >> 32 | (u64)upper_type << 40;
}
static void through(const char *what, u32 cs, u32 vector, u64 error) {
  far_pointer.selector = SEL64_FREE | 3;
  fresh(cs), ctx.rbx = (u64)&far_pointer, run(cs, call_gate), check_event(what, vector, error, call_gate);
}
static void system_state(void) {
  begin("call-gate-64");
  set_call_gate((u64)handler, SEL64_CODE, 0xEC, 0);
  through("inner", U64, OK, 0), check("cs", ctx.cs, SEL64_CODE), check("ss", ctx.ss, 0), check("rsp", ctx.rdi, TOP(stack0) - 32);
  check("rip", pushed()[0], (u64)call_gate_end - 2), check("old-cs", pushed()[1], U64), check("old-rsp", pushed()[2], TOP(stack3) - 256), check("old-ss", pushed()[3], SEL64_USER_DATA);
  through("same", K64, OK, 0), check("same-rsp", ctx.rdi, TOP(stack3) - 256 - 16);
  set_call_gate((u64)handler, SEL64_CODE, 0xE4, 0), through("type-16", U64, GP, SEL64_FREE);
  set_call_gate((u64)handler, SEL64_CODE, 0xEC, 5), through("upper-type", U64, GP, SEL64_FREE);
  set_call_gate((u64)handler, SEL64_CODE32, 0xEC, 0), through("code-32", U64, GP, SEL64_CODE32);
  set_call_gate(0x800000000000ul, SEL64_CODE, 0xEC, 0), through("not-canonical", U64, GP, 0);
  set_call_gate((u64)handler, SEL64_CODE, 0x6C, 0), through("not-present", U64, NP, SEL64_FREE);
  set_call_gate((u64)handler, SEL64_CODE, 0x8C, 0), through("dpl", U64, GP, SEL64_FREE);
  tss.rsp[0] = 0x800000000000ul, set_gate(SS, (u64)trap_stubs + 16 * SS, SEL64_CODE, 0x8E, 2);
  set_call_gate((u64)handler, SEL64_CODE, 0xEC, 0), tss.ist[1] = TOP(stack_ist), through("stack-not-canonical", U64, SS, 0);
  tss.rsp[0] = TOP(stack0), reset_gate(SS);
  end();
  begin("segments-64");
  fresh(U64), ctx.rax = 3, run(U64, mov_ds), check_event("null-ds", OK, 0, 0);
  fresh(U64), ctx.rax = 3, run(U64, mov_ss), check_event("null-ss-3", GP, 0, mov_ss);
  fresh(K64), ctx.rax = 0, run(K64, mov_ss), check_event("null-ss-0", OK, 0, 0);
  fresh(K64), ctx.rax = 3, run(K64, mov_ss), check_event("null-ss-rpl", GP, 0, mov_ss);
  static const struct {
    u32 access, is_valid;
  } types[] = {{0xE1, 0}, {0xE2, 1}, {0xE4, 0}, {0xE5, 0}, {0xE9, 1}, {0xEB, 1}, {0xEC, 1}, {0xEE, 0}};
  for (u32 i = 0; i < 8; i++) {
    set_system(SEL64_FREE, 0, 0xFF, types[i].access);
    fresh(U64), ctx.rax = SEL64_FREE | 3, run(U64, lar_), check("lar", ctx.rcx, types[i].is_valid);
    if (types[i].is_valid) check("lar-rights", ctx.rdx & 0xFF00, types[i].access << 8);
  }
  end();
}

static void table_registers(void) {
  begin("ltr-lldt-64");
  set_system(SEL64_FREE, (u64)&tss, sizeof tss - 1, 0x81);
  fresh(K64), ctx.rax = SEL64_FREE, run(K64, ltr_), check_event("ltr-16", GP, SEL64_FREE, ltr_);
  set_system(SEL64_FREE, (u64)&tss, sizeof tss - 1, 0x8B);
  fresh(K64), ctx.rax = SEL64_FREE, run(K64, ltr_), check_event("ltr-busy", GP, SEL64_FREE, ltr_);
  fresh(K64), ctx.rax = 0, run(K64, ltr_), check_event("ltr-null", GP, 0, ltr_);
  set_system(SEL64_FREE, 0x800000000000ul, 15, 0x82);
  fresh(K64), ctx.rax = SEL64_FREE, run(K64, lldt_), check_event("lldt-not-canonical", GP, SEL64_FREE, lldt_);
  fresh(K64), ctx.rax = SEL64_DATA, run(K64, lldt_), check_event("lldt-data", GP, SEL64_DATA, lldt_);
  end();
}

static void control_registers(void) {
  begin("control-registers-64");
  u64 cr0 = read_cr0(), cr4 = read_cr4(), cr3 = read_cr3(), efer = read_msr(EFER);
#define REFUSED(name, code, value) fresh(K64), ctx.rax = (value), run(K64, code), check_event(name, GP, 0, code)
  REFUSED("cr0-upper", to_cr0, cr0 | 1ul << 32);
  REFUSED("cr0-pg-without-pe", to_cr0, cr0 & ~1ul);
  REFUSED("cr0-nw-without-cd", to_cr0, cr0 | 1ul << 29);
  REFUSED("cr0-paging-off", to_cr0, cr0 & ~(1ul << 31)); /* in 64-bit code */
  REFUSED("cr4-reserved", to_cr4, cr4 | 1ul << 31);
  REFUSED("cr4-upper", to_cr4, cr4 | 1ul << 40);
  REFUSED("cr4-pae-off", to_cr4, cr4 & ~0x20ul);
  REFUSED("cr3-reserved", to_cr3, cr3 | 1ul << 60);
  REFUSED("cr8", to_cr8, 16);
  check("cr0", read_cr0(), cr0), check("cr3", read_cr3(), cr3), check("cr4", read_cr4(), cr4);
#define REFUSED_MSR(name, index, value) fresh(K64), ctx.rcx = (index), ctx.rax = (u32)(value), ctx.rdx = (u64)(value) >> 32, run(K64, wrmsr_), check_event(name, GP, 0, wrmsr_)
  REFUSED_MSR("efer-reserved", EFER, efer | 2);
  REFUSED_MSR("efer-lme", EFER, efer & ~0x100ul); /* not while paging is on */
  REFUSED_MSR("lstar", LSTAR, 0x800000000000ul);
  REFUSED_MSR("kernel-gs", KERNEL_GS_BASE, 0x8000000000000000ul);
  REFUSED_MSR("sysenter-eip", 0x176, 0x800000000000ul);
  REFUSED_MSR("pat", 0x277, 0x0202020202020202ul);
  fresh(K64), ctx.rcx = 0x4000, run(K64, rdmsr_), check_event("no-msr", GP, 0, rdmsr_);
  check("efer", read_msr(EFER), efer);
  end();
}

/* --- 4-level paging. The page under test is at 8000000000H, in the second entry of the PML4. --- */
#define P 1ul
#define W 2ul
#define U 4ul
#define A 0x20ul
#define D 0x40ul
#define LARGE 0x80ul
#define G 0x100ul
#define XD (1ul << 63)
#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_I 0x10u
#define TEST 0x8000000000ul
#define FRAME 0x60000ul
#define OTHER 0x61000ul
#define MEMORY(at) (*(volatile u64 *)(at))
static volatile u64 tables[4][512] __attribute__((aligned(4096))); /* by level: 0 PT, 1 PD, 2 PDPT; PML4 is the boot's */
static volatile u64 *entry_of(u32 level) { return level == 3 ? (volatile u64 *)&boot_pml4[1] : &tables[level][0]; }
static void set_entry(u32 level, u64 bits) { *entry_of(level) = bits | (level == 0 ? FRAME : (u64)tables[level - 1]); }
static void reset_tables(void) {
  for (u32 level = 0; level < 4; level++) set_entry(level, P | W | U);
  write_cr3(read_cr3());
}
C64(write_rcx, "mov [rbx], rcx");
static u64 access_at(u64 address, u32 cs, const u8 *code) {
  __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
  fresh(cs), ctx.rbx = address, ctx.rcx = 0x9090909090909090ul;
  run(cs, code);
  if (ctx.vector == OK) return 0x100;
  check("vector", ctx.vector, PF), check("cr2", ctx.cr2, address), check("rip", ctx.rip, code == jmp_rbx ? address : (u64)code);
  return ctx.error;
}
static u64 access(u32 cs, const u8 *code) { return access_at(TEST + 8, cs, code); }

static void page_rights(void) {
  begin("rights-4-level");
  for (u32 i = 0; i < 32; i++) *(volatile u8 *)(FRAME + i) = 0x90;
  *(volatile u16 *)(FRAME + 32) = 0x40CD;
  /* At each level every combination of P, W, U and XD, with all others open. */
  for (u32 level = 0; level < 4; level++)
    for (u32 bits = 0; bits < 16; bits++)
      for (u32 kind = 0; kind < 3; kind++)
        for (u32 user = 0; user < 2; user++) {
          for (u32 other = 0; other < 4; other++) set_entry(other, P | W | U);
          set_entry(level, (bits & 7) | (bits & 8 ? XD : 0));
          int present = bits & P, xd = bits & 8;
          int allowed = present && (!user || bits & U) && (kind != 1 || bits & W) && (kind != 2 || !xd);
          u32 error = (present ? PF_P : 0) | (kind == 1 ? PF_W : 0) | (user ? PF_U : 0) | (kind == 2 ? PF_I : 0);
          check("error", access(user ? U64 : K64, kind == 0 ? read_rbx : kind == 1 ? write_rcx : jmp_rbx), allowed ? 0x100 : error);
          if (allowed)
            for (u32 l = 0; l < 4; l++) check("accessed", *entry_of(l) & (A | D), l == 0 && kind == 1 ? A | D : A);
        }
  reset_tables();
  end();
  begin("reserved-4-level");
  for (u32 level = 0; level < 4; level++) {
    reset_tables(), set_entry(level, P | W | U | 1ul << 51);
    check("address", access(K64, read_rbx), PF_P | PF_RSVD), check("address-user", access(U64, write_rcx), PF_P | PF_RSVD | PF_W | PF_U);
    reset_tables(), set_entry(level, P | W | U | 1ul << 52 | 1ul << 62), check("ignored", access(K64, read_rbx), 0x100);
    reset_tables(), set_entry(level, W | U | 1ul << 51), check("not-present", access(K64, read_rbx), 0);
  }
  reset_tables(), set_entry(3, P | W | U | LARGE), check("ps-in-pml4", access(K64, read_rbx), PF_P | PF_RSVD);
  write_msr(EFER, read_msr(EFER) & ~0x800ul);
  reset_tables(), set_entry(1, P | W | U | XD), check("xd-without-nxe", access(K64, read_rbx), PF_P | PF_RSVD);
  reset_tables(), set_entry(1, U), check("no-id-without-nxe", access(K64, jmp_rbx), 0);
  write_msr(EFER, read_msr(EFER) | 0x800ul);
  reset_tables();
  end();
}
static void page_sizes(void) {
  begin("large-pages-4-level");
  MEMORY(FRAME) = 0x1234;
  reset_tables();
  tables[1][0] = P | W | U | LARGE, write_cr3(read_cr3());
  check("2m", MEMORY(TEST + FRAME), 0x1234), check("2m-accessed", tables[1][0] & (A | D), A);
  MEMORY(TEST + FRAME) = 0x5678, check("2m-write", MEMORY(FRAME), 0x5678), check("2m-dirty", tables[1][0] & (A | D), A | D);
  tables[1][0] = P | W | U | LARGE | 1ul << 13, check("2m-reserved", access(K64, read_rbx), PF_P | PF_RSVD);
  tables[1][0] = P | W | U | LARGE | 1ul << 12, check("2m-pat", access(K64, read_rbx), 0x100);
  reset_tables();
  tables[2][0] = P | W | U | LARGE, write_cr3(read_cr3());
  if (has_1g) {
    check("1g", MEMORY(TEST + FRAME), 0x5678), check("1g-accessed", tables[2][0] & (A | D), A);
    MEMORY(TEST + FRAME) = 0x9ABC, check("1g-write", MEMORY(FRAME), 0x9ABC), check("1g-dirty", tables[2][0] & (A | D), A | D);
    tables[2][0] = P | W | U | LARGE | 1ul << 29, check("1g-reserved", access(K64, read_rbx), PF_P | PF_RSVD);
    tables[2][0] = P | U | LARGE, check("1g-read-only", access(U64, write_rcx), PF_P | PF_W | PF_U);
  } else check("1g-reserved", access(K64, read_rbx), PF_P | PF_RSVD);
  reset_tables();
  end();
}
C64(read_ac, "stac; mov rax, [rbx]; clac");
static void supervisor_protection(void) {
  reset_tables();
  for (u32 i = 0; i < 512; i++) boot_directory[i] &= ~U;
  write_cr3(read_cr3());
  if (has_smep) {
    begin("smep-4-level");
    for (u32 i = 0; i < 32; i++) *(volatile u8 *)(FRAME + i) = 0x90;
    write_cr4(read_cr4() | 0x100000);
    check("fetch", access(K64, jmp_rbx), PF_P | PF_I), check("read", access(K64, read_rbx), 0x100);
    set_entry(2, P | W), check("supervisor", access(K64, jmp_rbx), 0x100); /* U in every level makes a user page */
    reset_tables();
    write_cr4(read_cr4() & ~0x100000ul);
    end();
  }
  if (has_smap) {
    begin("smap-4-level");
    write_cr4(read_cr4() | 0x200000);
    check("read", access(K64, read_rbx), PF_P), check("write", access(K64, write_rcx), PF_P | PF_W), check("stac", access(K64, read_ac), 0x100);
    write_cr4(read_cr4() & ~0x200000ul);
    end();
  }
  for (u32 i = 0; i < 512; i++) boot_directory[i] |= U;
  write_cr3(read_cr3());
}
static void invpcid(u64 type, u64 pcid, u64 address) {
  struct {
    u64 pcid, address;
  } operand = {pcid, address};
  __asm__ volatile("invpcid %0, %1" ::"m"(operand), "r"(type) : "memory");
}
C64(invpcid_rax, "invpcid rax, [rbx]");
static void process_contexts(void) {
  if (!has_pcid) return;
  begin("pcid");
  u64 cr3 = read_cr3();
  fresh(K64), write_cr3(cr3 | 5), ctx.rax = read_cr4() | 0x20000, run(K64, to_cr4), check_event("cr3-not-0", GP, 0, to_cr4);
  write_cr3(cr3), write_cr4(read_cr4() | 0x20000);
  set_entry(0, P | W | U), MEMORY(FRAME) = 0x1111, MEMORY(OTHER) = 0x2222;
  write_cr3(cr3 | 5), check("first", MEMORY(TEST), 0x1111);
  check("cr3", read_cr3(), cr3 | 5);
  /* A change of the entry, and a load of CR3 that flushes PCID 5: the new translation is seen. */
  tables[0][0] = OTHER | P | W | U;
  write_cr3(cr3 | 6), check("other-pcid", MEMORY(TEST), 0x2222);
  write_cr3(cr3 | 5), check("flushed", MEMORY(TEST), 0x2222);
  tables[0][0] = FRAME | P | W | U;
  if (has_invpcid) {
    invpcid(0, 5, TEST), check("invpcid-address", MEMORY(TEST), 0x1111);
    tables[0][0] = OTHER | P | W | U, invpcid(1, 5, 0), check("invpcid-context", MEMORY(TEST), 0x2222);
    tables[0][0] = FRAME | P | W | U, invpcid(2, 0, 0), check("invpcid-all", MEMORY(TEST), 0x1111);
    tables[0][0] = OTHER | P | W | U, invpcid(3, 0, 0), check("invpcid-all-but-global", MEMORY(TEST), 0x2222);
    static u64 operand[2];
    fresh(K64), operand[0] = 0x1000, ctx.rax = 0, ctx.rbx = (u64)operand, run(K64, invpcid_rax), check_event("invpcid-reserved", GP, 0, invpcid_rax);
    fresh(K64), operand[0] = 0, ctx.rax = 4, ctx.rbx = (u64)operand, run(K64, invpcid_rax), check_event("invpcid-type", GP, 0, invpcid_rax);
    fresh(K64), operand[1] = 0x800000000000ul, ctx.rax = 0, ctx.rbx = (u64)operand, run(K64, invpcid_rax), check_event("invpcid-canonical", GP, 0, invpcid_rax);
    go(U64, invpcid_rax), check_event("invpcid-user", GP, 0, invpcid_rax);
  }
  /* Bit 63 keeps the PCID's translations; it is no bit of CR3. */
  write_cr3(cr3 | 7 | 1ul << 63), check("bit-63", read_cr3(), cr3 | 7);
  write_cr3(cr3), write_cr4(read_cr4() & ~0x20000ul);
  end();
}

/* --- debug registers in 64-bit mode --- */
C64(to_dr7, "mov dr7, rax");
static void debug(void) {
  begin("debug-64");
  static u64 watched;
  u64 dr6;
  __asm__ volatile("mov %0, %%dr0; mov %1, %%dr6" ::"r"(&watched), "r"(0ul));
  __asm__ volatile("mov %0, %%dr7" ::"r"(0x400ul | 1 | 1ul << 16 | 2ul << 18)); /* writes of 8 bytes */
  fresh(U64), ctx.rbx = (u64)&watched, run(U64, write_rbx);
  __asm__ volatile("mov %0, %%dr7" ::"r"(0x400ul));
  __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
  check_event("vector", DB, 0, write_rbx + 3), check("dr6", dr6 & 0xE00F, 1);
  fresh(K64), ctx.rax = 1ul << 32, run(K64, to_dr7), check_event("dr7-upper", GP, 0, to_dr7);
  end();
}

/* There are no task switches. The last three groups are those at which QEMU 7.2 ends itself. */
static void no_tasks(void) {
  begin("call-tss-64");
  set_system(SEL64_FREE, (u64)&tss, sizeof tss - 1, 0xE9), through("tss", U64, GP, SEL64_FREE);
  end();
}

void program_main(void);
void program_main(void) {
  gdt[1] = CODE64, gdt[2] = DATA, gdt[3] = CODE32 | USER, gdt[4] = DATA | USER, gdt[5] = CODE64 | USER, gdt[6] = CODE32;
  tss.rsp[0] = TOP(stack0), tss.io_base = sizeof tss;
  set_system(SEL64_TSS, (u64)&tss, sizeof tss - 1, 0x89);
  for (u32 vector = 0; vector < 256; vector++) reset_gate(vector);
  struct pointer gdt_pointer = {sizeof gdt - 1, (u64)gdt}, idt_pointer = {sizeof idt - 1, (u64)idt};
  __asm__ volatile("lgdt %0; lidt %1; ltr %w2; pushq %3; pushq $1f; lretq; 1: mov %w4, %%ss; mov %w4, %%ds; mov %w4, %%es" ::"m"(gdt_pointer),
                   "m"(idt_pointer), "r"(SEL64_TSS), "i"(SEL64_CODE), "r"(SEL64_DATA)
                   : "memory");
  report_start();
  program_run();
  finish();
}

void program_run(void) {
  u32 a, b, c, d, most;
  cpuid(0, &most, &b, &c, &d), cpuid(1, &a, &b, &c, &d), has_pcid = c >> 17 & 1;
  if (most >= 7) cpuid(7, &a, &b, &c, &d), has_fsgsbase = b & 1, has_smep = b >> 7 & 1, has_invpcid = b >> 10 & 1, has_smap = b >> 20 & 1;
  cpuid(0x80000001, &a, &b, &c, &d), has_1g = d >> 26 & 1;
  basics();
  canonical();
  differences();
  frames();
  returns();
  system_calls();
  system_state();
  page_rights();
  page_sizes();
  supervisor_protection();
  process_contexts();
  debug();
  table_registers();
  control_registers();
  no_tasks();
}
