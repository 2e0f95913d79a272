/*
 * Debug registers, single step, RF and TF, the shadows of STI, MOV SS and POP SS, and alignment checks. SDM Vol. 3B, "Debug
 * Registers", "Debug Exceptions"; Vol. 3A, "Masking Exceptions and Interrupts When Switching Stacks", "Alignment Check Exception".
 */
#include "runtime.h"

const char program_name[] = "debug";

enum { OK = VECTOR_DONE, DB = 1, GP = 13, AC = 17, UD = 6 };
#define DR6_BS 0x4000u
#define DR6_BD 0x2000u
#define DR6_LOW (0xE00Fu)

static u32 read_dr6(void) {
  u32 value;
  __asm__ volatile("mov %%dr6, %0" : "=r"(value));
  return value;
}
static u32 read_dr7(void) {
  u32 value;
  __asm__ volatile("mov %%dr7, %0" : "=r"(value));
  return value;
}
static void write_dr6(u32 value) { __asm__ volatile("mov %0, %%dr6" ::"r"(value)); }
static void write_dr7(u32 value) { __asm__ volatile("mov %0, %%dr7" ::"r"(value)); }
static void write_dr0(u32 value) { __asm__ volatile("mov %0, %%dr0" ::"r"(value)); }
static void write_dr1(u32 value) { __asm__ volatile("mov %0, %%dr1" ::"r"(value)); }

/* Runs code with breakpoints on; they are off again behind. */
static u32 run_with(u32 dr7, u32 eflags, u32 cpl, const u8 *code) {
  context_flat(cpl);
  context.eflags |= eflags;
  context.ebx = DATA_BASE, context.ecx = 3, context.esi = DATA_BASE, context.edi = DATA_BASE + 0x100;
  write_dr6(0);
  write_dr7(dr7);
  run_flat(code);
  write_dr7(0x400);
  return context.vector;
}
static void trap_at(const char *what, u32 eip, u32 dr6) {
  check(what, context.vector, DB);
  check(what, context.eip, eip);
  check(what, read_dr6() & DR6_LOW, dr6);
}

FLAT(two_nops, "nop; nop");
FLAT(popf_tf, "pushfd; or dword ptr [esp], 0x100; popfd; nop; nop");
FLAT(int_tf, "int 0x40");
FLAT(move_ss_tf, "mov eax, ss; mov ss, eax; nop; nop");
FLAT(pop_ss, "push ss; pop ss; nop; nop");
FLAT(rep_movs, "rep movsb; nop");
FLAT(fault_tf, "ud2");
FLAT(pushf_tf, "pushfd; pop eax");

static void single_step(void) {
  begin("single-step");
  run_with(0x400, FLAG_TF, 3, two_nops), trap_at("nop", (u32)two_nops + 1, DR6_BS);
  check("tf-saved", context.eflags & FLAG_TF, FLAG_TF);
  run_with(0x400, 0, 3, popf_tf), trap_at("popf", (u32)popf_tf + 10, DR6_BS); /* behind the instruction after POPF */
  run_with(0x400, FLAG_TF, 3, rep_movs), trap_at("rep", (u32)rep_movs, DR6_BS), check("rep-ecx", context.ecx, 2);
  run_with(0x400, FLAG_TF, 3, fault_tf), check("fault", context.vector, UD), check("fault-tf", context.eflags & FLAG_TF, FLAG_TF);
  check("fault-rf", context.eflags & FLAG_RF, FLAG_RF), check("fault-dr6", read_dr6() & DR6_LOW, 0);
  /* INT clears TF: the handler is not stepped, nor is there a trap behind it until IRET. */
  run_with(0x400, FLAG_TF, 3, int_tf), check("int", context.vector, OK), check("int-tf", context.eflags & FLAG_TF, FLAG_TF);
  /* MOV SS and POP SS hold the trap back for one instruction; TF is still on, so it comes behind that. */
  run_with(0x400, FLAG_TF, 0, move_ss_tf), trap_at("mov-eax-ss", (u32)move_ss_tf + 2, DR6_BS);
  context_flat(0), context.eflags |= FLAG_TF, context.eax = SEL_DATA, write_dr6(0);
  run_flat(move_ss_tf + 2), trap_at("mov-ss", (u32)move_ss_tf + 5, DR6_BS);
  context_flat(0), context.eflags |= FLAG_TF, context.esp -= 4, *(volatile u32 *)context.esp = SEL_DATA, write_dr6(0);
  run_flat(pop_ss + 1), trap_at("pop-ss", (u32)pop_ss + 3, DR6_BS);
  run_with(0x400, FLAG_TF, 3, pushf_tf), trap_at("pushf", (u32)pushf_tf + 1, DR6_BS);
  check("pushf-image", *(volatile u32 *)context.esp & FLAG_TF, FLAG_TF);
  end();
}

FLAT(read_byte, "mov al, [ebx]; nop");
FLAT(read_dword, "mov eax, [ebx]; nop");
FLAT(write_dword, "mov [ebx], eax; nop");
FLAT(write_byte_3, "mov [ebx+3], al; nop");
FLAT(write_byte_4, "mov [ebx+4], al; nop");
FLAT(write_before, "mov [ebx-3], eax; nop");
FLAT(write_read, "add [ebx], eax; nop");
FLAT(movs_both, "movsb; nop");
FLAT(push_there, "mov esp, ebx; add esp, 4; push eax; nop");
FLAT(cmp_there, "cmp dword ptr [ebx], 0; nop");
FLAT(out_80, "out 0x80, al; nop");
#define RW(n, kind, length) ((kind) << (16 + 4 * (n)) | (length) << (18 + 4 * (n)))
#define LOCAL(n) (1u << (2 * (n)))
#define GLOBAL(n) (2u << (2 * (n)))

static void data_breakpoints(void) {
  begin("data-breakpoints");
  u32 writes = 0x400 | LOCAL(0) | RW(0, 1u, 3u), accesses = 0x400 | GLOBAL(0) | RW(0, 3u, 3u);
  write_dr0(DATA_BASE);
  run_with(writes, 0, 3, write_dword), trap_at("write", (u32)write_dword + 2, 1);
  run_with(writes, 0, 3, read_dword), check("read-no", context.vector, OK);
  run_with(writes, 0, 3, write_byte_3), trap_at("write-end", (u32)write_byte_3 + 3, 1);
  run_with(writes, 0, 3, write_byte_4), check("write-behind-no", context.vector, OK);
  run_with(writes, 0, 3, write_before), trap_at("write-overlap", (u32)write_before + 3, 1);
  run_with(accesses, 0, 3, read_byte), trap_at("access-read", (u32)read_byte + 2, 1);
  run_with(accesses, 0, 3, cmp_there), trap_at("access-cmp", (u32)cmp_there + 3, 1);
  run_with(writes, 0, 3, write_read), trap_at("modify", (u32)write_read + 2, 1);
  run_with(writes, 0, 3, push_there), trap_at("push", (u32)push_there + 6, 1);
  run_with(accesses, 0, 3, movs_both), trap_at("movs-source", (u32)movs_both + 1, 1);
  run_with(accesses, 0, 3, rep_movs), trap_at("rep", (u32)rep_movs, 1), check("rep-ecx", context.ecx, 2);
  run_with(0x400 | RW(0, 1u, 3u), 0, 3, write_dword), check("disabled", context.vector, OK);
  run_with(0x400 | LOCAL(0) | RW(0, 1u, 0u), 0, 3, write_dword), trap_at("length-1", (u32)write_dword + 2, 1);
  /* A breakpoint of 4 bytes is aligned: the low bits of its address are ignored. */
  write_dr0(DATA_BASE + 3), run_with(writes, 0, 3, write_before), trap_at("aligned", (u32)write_before + 3, 1);
  /* Two at once; one that matches but is not enabled is reported too, or not: its bit is masked away. */
  write_dr0(DATA_BASE), write_dr1(DATA_BASE + 2);
  run_with(0x400 | LOCAL(0) | RW(0, 1u, 3u) | LOCAL(1) | RW(1, 1u, 1u), 0, 3, write_dword), trap_at("two", (u32)write_dword + 2, 3);
  run_with(writes | 0x400, FLAG_TF, 3, write_dword), trap_at("with-tf", (u32)write_dword + 2, DR6_BS | 1);
  write_dr1(0);
  end();
  begin("io-breakpoints");
  write_cr4(read_cr4() | 8);
  write_dr0(0x80);
  run_with(0x400 | LOCAL(0) | RW(0, 2u, 0u), FLAG_IOPL3, 3, out_80), trap_at("out", (u32)out_80 + 2, 1);
  write_dr0(0x81);
  run_with(0x400 | LOCAL(0) | RW(0, 2u, 0u), FLAG_IOPL3, 3, out_80), check("other-port", context.vector, OK);
  write_cr4(read_cr4() & ~8u);
  end();
}

FLAT(breaks, "nop; nop; mov eax, 5; nop");
FLAT(move_ss_break, "mov ss, eax; nop; nop");
static void instruction_breakpoints(void) {
  begin("instruction-breakpoints");
  write_dr0((u32)breaks + 1);
  run_with(0x400 | GLOBAL(0), 0, 3, breaks), trap_at("fault", (u32)breaks + 1, 1);
  check("rf-saved", context.eflags & FLAG_RF, 0); /* the one fault that does not set it */
  context_flat(3), context.eip = (u32)breaks + 1, context.eflags |= FLAG_RF, write_dr6(0), write_dr7(0x400 | GLOBAL(0));
  run_flat(breaks + 1), write_dr7(0x400), check("rf", context.vector, OK), check("rf-cleared", context.eflags & FLAG_RF, 0);
  check("rf-eax", context.eax, 5);
  write_dr0((u32)breaks + 3); /* inside an instruction */
  run_with(0x400 | GLOBAL(0), 0, 3, breaks), check("inside", context.vector, OK);
  /* At the instruction behind MOV SS there is none. */
  write_dr0((u32)move_ss_break + 2);
  context_flat(0), context.eax = SEL_DATA, write_dr6(0), write_dr7(0x400 | GLOBAL(0));
  run_flat(move_ss_break), write_dr7(0x400), check("behind-mov-ss", context.vector, OK);
  write_dr0((u32)move_ss_break + 3);
  context_flat(0), context.eax = SEL_DATA, write_dr6(0), write_dr7(0x400 | GLOBAL(0));
  run_flat(move_ss_break), write_dr7(0x400), trap_at("second-behind-mov-ss", (u32)move_ss_break + 3, 1);
  end();
}

FLAT(int1, ".byte 0xF1; nop");
FLAT(touch_dr7, "mov eax, dr7; nop");
FLAT(touch_dr4, "mov eax, dr4; nop");
FLAT(write_dr4, "mov dr4, eax; nop");
static void registers(void) {
  begin("debug-registers");
  write_dr6(0), check("dr6-fixed", read_dr6() & 0xFFFE17F0, 0xFFFE07F0); /* bits 31:17 and 10:4 are 1, bit 12 is 0 */
  write_dr7(0), check("dr7-fixed", read_dr7() & 0xD400, 0x400);
  run_with(0x400, 0, 3, int1), check("int1", context.vector, DB), check("int1-eip", context.eip, (u32)int1 + 1);
  /* General detect: any access to a debug register is #DB before it happens, and GD is cleared. */
  run_with(0x2400, 0, 0, touch_dr7), trap_at("gd", (u32)touch_dr7, DR6_BD);
  /* Without CR4.DE, DR4 and DR5 are names of DR6 and DR7. */
  write_dr6(0xFFFF0FF1);
  context_flat(0), run_flat(touch_dr4), check("dr4", context.vector, OK), check("dr4-is-dr6", context.eax & 0xF, 1);
  write_cr4(read_cr4() | 8);
  context_flat(0), run_flat(touch_dr4), check_event("dr4-de", UD, 0, touch_dr4);
  context_flat(0), run_flat(write_dr4), check_event("dr4-de-write", UD, 0, write_dr4);
  write_cr4(read_cr4() & ~8u);
  end();
}

/* --- interrupt shadows: IRQ0 of the 8259 is pending while IF becomes 1 --- */
#define PIC1 0x20
FLAT(sti_nops, "sti; nop; nop; nop; cli");
FLAT(mov_ss_open, "mov ss, eax; nop; nop; cli");
FLAT(sti_cli, "sti; cli; nop");
FLAT(sti_twice, "sti; sti; nop; nop; cli");
FLAT(popf_if, "pushfd; or dword ptr [esp], 0x200; popfd; nop; nop; cli");
FLAT(iret_if, "pushfd; or dword ptr [esp], 0x200; push cs; call 1f; 1: add dword ptr [esp], 2f - 1b; iretd; 2: nop; nop; cli");

static void pend(void) {
  outb(PIC1, 0x11), outb(0x21, 0x60), outb(0x21, 4), outb(0x21, 1), outb(0x21, 0xFF); /* vectors 60H to 67H */
  outb(0x43, 0x30), outb(0x40, 1), outb(0x40, 0); /* counter 0: mode 0, one tick */
  outb(PIC1, 0x0A); /* the request register is what is read */
  for (u32 i = 0; i < 10000000 && !(inb(PIC1) & 1); i++) {
  }
  outb(0x21, 0xFE);
}
static void interrupt_at(const char *what, const u8 *code, u32 offset) {
  pend();
  context_flat(0);
  context.eax = SEL_DATA;
  if (code == mov_ss_open) context.eflags |= FLAG_IF;
  run_flat(code);
  outb(0x21, 0xFF);
  if (offset == 0) {
    check(what, context.vector, OK);
    return;
  }
  check(what, context.vector, 0x60);
  check(what, context.eip - (u32)code, offset);
  if (context.vector == 0x60) outb(PIC1, 0x20);
}
static void shadows(void) {
  begin("interrupt-shadows");
  interrupt_at("sti", sti_nops, 2); /* behind the instruction after STI */
  interrupt_at("sti-cli", sti_cli, 0); /* never open */
  interrupt_at("sti-sti", sti_twice, 2); /* the second sets nothing and adds no shadow */
  interrupt_at("popf", popf_if, 9);
  interrupt_at("iret", iret_if, (u32)(iret_if_end - iret_if) - 2 - 3);
  end();
}

/* --- alignment --- */
FLAT(word_1, "mov ax, [ebx+1]");
FLAT(dword_2, "mov eax, [ebx+2]");
FLAT(dword_4, "mov eax, [ebx+4]");
FLAT(store_1, "mov [ebx+1], eax");
FLAT(byte_1, "mov al, [ebx+1]");
FLAT(push_odd, "mov esp, ebx; add esp, 0x103; push eax");
FLAT(double_4, "fld qword ptr [ebx+4]; fstp st");
static void alignment(void) {
  begin("alignment-check");
  write_cr0(read_cr0() | 0x40000);
  static const struct {
    const u8 *code;
    u32 faults;
  } cases[] = {{word_1, 1}, {dword_2, 1}, {dword_4, 0}, {store_1, 1}, {byte_1, 0}};
  for (u32 i = 0; i < 5; i++) {
    run_with(0x400, FLAG_AC, 3, cases[i].code), check_event("at-3", cases[i].faults ? AC : OK, 0, cases[i].code);
    run_with(0x400, 0, 3, cases[i].code), check_event("without-ac", OK, 0, 0);
    run_with(0x400, FLAG_AC, 0, cases[i].code), check_event("at-0", OK, 0, 0);
  }
  run_with(0x400, FLAG_AC, 3, push_odd), check("push", context.vector, AC);
  run_with(0x400, FLAG_AC, 3, double_4), check("x87", context.vector, AC);
  write_cr0(read_cr0() & ~0x40000u);
  run_with(0x400, FLAG_AC, 3, word_1), check_event("without-am", OK, 0, 0);
  end();
}

void program_run(void) {
  __asm__ volatile("clts; fninit");
  single_step();
  data_breakpoints();
  instruction_breakpoints();
  registers();
  shadows();
  alignment();
}
