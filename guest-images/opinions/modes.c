/*
 * What real-address and virtual-8086 mode have of their own, big real mode, and double faults. SDM Vol. 3B, "8086 Emulation"; Vol. 3A,
 * "Interrupt 8—Double Fault Exception (#DF)".
 */
#include "runtime.h"

const char program_name[] = "modes";

enum { OK = VECTOR_DONE, DF = 8, GP = 13, SS = 12, NP = 11, TS = 10, PF = 14, UD = 6, DE = 0 };
extern struct pointer real_idt;

#define REAL_CODE(name, text) ASSEMBLE(name, 16, text)
static u32 run_real(const u8 *code, const u8 *end) {
  put_code(0, code, (u32)(end - code));
  context_for(REAL);
  run(REAL);
  return context.vector;
}
#define RUN_REAL(name) run_real(name, name##_end)

REAL_CODE(sgdt_lmsw, "smsw ax; and ax, 1");
REAL_CODE(big_offset, "mov ebx, 0x280000; mov eax, [ebx]");
REAL_CODE(nothing, "nop");
REAL_CODE(push_pop, "push ax; pop bx");
REAL_CODE(interrupt_6, "int 6");
REAL_CODE(load_segment, "mov ax, 0xFFFF; mov ds, ax; mov al, [0x10]; mov cl, [0xFFFF]");
REAL_CODE(iret_flags, "pushf; push cs; call 1f; mov ax, 1; jmp 2f; 1: iret; 2: nop");

static void real_mode(void) {
  begin("real-mode");
  check("pe", (RUN_REAL(sgdt_lmsw), context.eax), 0);
  /* FFFF:0010 is 100000H: with A20 the HMA, here the program's own first bytes. */
  RUN_REAL(load_segment), check("hma", context.vector, OK), check("hma-byte", context.eax & 0xFF, *(volatile u8 *)0x100000);
  check("hma-end", context.ecx, *(volatile u8 *)0x10FFEF);
  RUN_REAL(interrupt_6), check("int-6", context.vector, 6), check("int-6-ip", context.eip, 2);
  /* The stack pointer is 16 bits wide; the upper half of ESP stays. */
  put_code(0, push_pop, (u32)(push_pop_end - push_pop));
  context_for(REAL), context.esp = 0x12340000, context.eax = 0x5A5A, run(REAL);
  check("sp-wraps", context.vector, OK), check("sp-upper", context.esp, 0x12340000), check("sp-value", context.ebx & 0xFFFF, 0x5A5A);
  /* IDTR's limit in real mode: a vector beyond it is #GP. */
  real_idt.limit = VECTOR_DONE * 4 + 2, RUN_REAL(nothing), check("idt-limit", context.vector, GP), check("idt-limit-ip", context.eip, 1);
  real_idt.limit = 0x3FF;
  end();
}

/* Big real mode: the limits of segment registers loaded in protected mode stay. */
REAL_CODE(unreal_code,
  "cli; mov eax, cr0; or al, 1; mov cr0, eax; jmp 1f; 1: mov bx, 0x10; mov es, bx; mov eax, cr0; and al, 0xFE; mov cr0, eax; jmp 2f; 2:"
  "xor bx, bx; mov es, bx; mov ebx, 0x280000; mov eax, es:[ebx]; mov dword ptr es:[ebx+4], 0x600DF00D; mov ecx, 0x10000; mov dl, es:[ecx]");
REAL_CODE(limits_again, "mov ax, 0x3000; mov es, ax; mov ebx, 0x10000; mov al, es:[ebx]");
static void big_real_mode(void) {
  begin("big-real-mode");
  volatile u32 *high = (volatile u32 *)0x280000;
  high[0] = 0xB16B00B5, high[1] = 0;
  RUN_REAL(unreal_code);
  check("vector", context.vector, OK), check("read", context.eax, 0xB16B00B5), check("write", high[1], 0x600DF00D);
  /* The way to real-address mode loads ES with a limit of 64 KiB. */
  RUN_REAL(limits_again);
  check("limit", context.vector, GP);
  end();
}

/* --- virtual-8086 mode --- */
#define V86(name, text) ASSEMBLE(name, 16, text)
V86(v_cli, "cli");
V86(v_sti, "sti");
V86(v_pushf, "pushf");
V86(v_popf, "popf");
V86(v_int, "int 0x40");
V86(v_iret, "iret");
V86(v_pushfd, "pushfd");
V86(v_iretd, "iretd");
V86(v_in, "in al, 0x80");
V86(v_out, "out dx, al");
V86(v_outsw, "outsw");
V86(v_hlt, "hlt");
V86(v_mov_cr, "mov eax, cr0");
V86(v_lgdt, "lgdt [si]");
V86(v_lmsw, "lmsw ax");
V86(v_ud, "ud2");
V86(v_div, "xor cl, cl; div cl");
V86(v_all, "pushf; popf; cli; sti; pushf; pop ax; push ax; push cs; call 1f; jmp 2f; 1: iret; 2: nop");

static u32 run_v86(const u8 *code, const u8 *end, u32 iopl) {
  put_code(0, code, (u32)(end - code));
  context_for(VIRTUAL86);
  context.eflags = (context.eflags & ~FLAG_IOPL3) | iopl << 12;
  context.edx = 0x80, context.fs = 0x1234, context.gs = 0x4321;
  return run(VIRTUAL86);
}
#define SENSITIVE(X) X(v_cli) X(v_sti) X(v_pushf) X(v_popf) X(v_int) X(v_iret) X(v_pushfd) X(v_iretd)
#define PRIVILEGED(X) X(v_hlt) X(v_mov_cr) X(v_lgdt) X(v_lmsw)

static void virtual_8086(void) {
  begin("v86-iopl");
#define IOPL_0(name) run_v86(name, name##_end, 0), check_event(#name, GP, 0, 0), check(#name, context.eip, 0);
#define IOPL_2(name) run_v86(name, name##_end, 2), check_event(#name, GP, 0, 0);
#define IOPL_3(name) run_v86(name, name##_end, 3), check_event(#name, GP, 0, 0);
  SENSITIVE(IOPL_0)
  SENSITIVE(IOPL_2)
  PRIVILEGED(IOPL_3)
  run_v86(v_all, v_all_end, 3), check("allowed", context.vector, OK);
  check("pushf-image", context.eax & 0xF202, FLAG_IOPL3 | FLAG_IF | 2);
  end();
  begin("v86-io");
  for (u32 i = 0; i < 8192; i++) main_tss.io_map[i] = 0;
  /* IOPL does not matter, the bitmap does. What faults is the INT behind. */
  run_v86(v_in, v_in_end, 0), check("allowed", context.vector, GP), check("allowed-ip", context.eip, 2);
  main_tss.io_map[0x80 / 8] = 1;
  run_v86(v_in, v_in_end, 3), check_event("in", GP, 0, 0);
  run_v86(v_out, v_out_end, 3), check_event("out", GP, 0, 0);
  main_tss.io_map[0x80 / 8] = 2, run_v86(v_outsw, v_outsw_end, 3), check_event("outsw", GP, 0, 0);
  main_tss.io_map[0x80 / 8] = 0;
  end();
  begin("v86-frame");
  run_v86(v_div, v_div_end, 3);
  check("vector", context.vector, DE), check("ip", context.eip, 2), check("cs", context.cs, CODE_BASE >> 4);
  check("vm", context.eflags & (FLAG_VM | FLAG_RF | FLAG_IOPL3), FLAG_VM | FLAG_RF | FLAG_IOPL3);
  check("ss", context.ss, STACK_BASE >> 4), check("esp", context.esp & 0xFFFF, PROGRAM_SP);
  check("es", context.es, DATA_BASE >> 4), check("ds", context.ds, DATA_BASE >> 4), check("fs", context.fs, 0x1234), check("gs", context.gs, 0x4321);
  check("frame", (u32)frame, main_tss.tss.esp0 - 36);
  run_v86(v_ud, v_ud_end, 3), check("ud", context.vector, UD);
  end();
}

static void virtual_8086_gates(void) {
  begin("v86-gates");
  /* A gate to a ring other than 0 is #GP with the selector. */
  set_gdt(SEL_FREE, descriptor(0, 0xFFFFF, 0xBB, 0xC));
  idt[0x41] = gate(SEL_FREE, trap_stub(0x41), 0xEE, 0);
  static const u8 int_41[] = {0xCD, 0x41};
  run_v86(int_41, int_41 + 2, 3), check_event("ring-1", GP, SEL_FREE, 0);
  idt[0x41] = gate(SEL_USER_CODE32 & ~3, trap_stub(0x41), 0xEE, 0);
  run_v86(int_41, int_41 + 2, 3), check_event("ring-3", GP, SEL_USER_CODE32 & ~3, 0);
  idt[0x41] = gate(SEL_CODE32, trap_stub(0x41), 0x8E, 0);
  run_v86(int_41, int_41 + 2, 3), check_event("dpl", GP, 0x41 * 8 + 2, 0);
  reset_gate(0x41, 0);
  end();
}

/* --- double faults: the second of two contributory exceptions, or of a page fault and one of these --- */
FLAT(divide, "xor ecx, ecx; div ecx");
FLAT(protection, "mov ds, eax");
FLAT(undefined, "ud2");
FLAT(interrupt, "int 0x42");
static void double_fault(const char *what, u32 first, const u8 *code, u32 vector, u32 error) {
  idt[first] = gate(SEL_DATA, 0, 0x8E | DPL(3), 0); /* its delivery is #GP */
  context_flat(3), context.eax = 0xFFF8;
  run_flat(code);
  check(what, context.vector, vector), check(what, context.error, error);
  reset_gate(first, 0);
}
FLAT(handle, "pop ebx");
static void double_faults(void) {
  begin("double-fault");
  double_fault("de-gp", DE, divide, DF, 0);
  check("df-eip", context.eip, (u32)divide + 2);
  double_fault("ud-gp", UD, undefined, GP, SEL_DATA | 1); /* #UD is benign */
  double_fault("int-gp", 0x42, interrupt, GP, SEL_DATA); /* so is an interrupt */
  /* #NP by way of a gate that is not present: its own code has its vector. */
  idt[GP] = gate(SEL_CODE32, trap_stub(GP), 0x0E, 0);
  context_flat(3), context.eax = 0xFFF8, run_flat(protection);
  check("gp-np", context.vector, DF), check("gp-np-error", context.error, 0), check("gp-np-eip", context.eip, (u32)protection);
  reset_gate(GP, 0);
  /* #DF through a task gate, when even the stack is broken. */
  end();
  begin("double-fault-task");
  static struct tss32 task;
  static u8 stack[512] __attribute__((aligned(16)));
  set_gdt(SEL_TSS_B, descriptor((u32)&task, sizeof task - 1, 0x89, 0));
  task = (struct tss32){.eip = (u32)handle, .cs = SEL_CODE32, .ss = SEL_DATA, .ds = SEL_DATA, .es = SEL_DATA, .eflags = 2, .esp = (u32)stack + sizeof stack, .io_base = 104};
  idt[DF] = gate(SEL_TSS_B, 0, 0x85, 0);
  main_tss.tss.ss0 = 0; /* the #UD's stack switch is #TS, whose own is #TS again */
  context_flat(3), run_flat(undefined);
  main_tss.tss.ss0 = SEL_DATA;
  check("vector", context.vector, OK), check("error", context.ebx, 0), check("eip", main_tss.tss.eip, (u32)undefined);
  check("link", task.link & 0xFFFF, SEL_TSS);
  reset_gate(DF, 0);
  set_gdt(SEL_TSS, descriptor((u32)&main_tss, MAIN_TSS_BYTES - 1, 0x89, 0));
  __asm__ volatile("ltr %w0; clts" ::"r"(SEL_TSS));
  end();
}

void program_run(void) {
  real_mode();
  big_real_mode();
  virtual_8086();
  double_faults();
  virtual_8086_gates();
}
