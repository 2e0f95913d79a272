/*
 * Hardware tasks: switches by JMP, CALL, IRET and interrupts, through TSS descriptors and task gates, of 32-bit and 16-bit
 * TSSs; busy bits, NT, back link, CR0.TS, the saved state, and the faults of both tasks. SDM Vol. 3A, "Task Management".
 */
#include "runtime.h"

const char program_name[] = "tasks";

enum { OK = VECTOR_DONE, GP = 13, NP = 11, SS = 12, TS = 10, DB = 1, USED = 0x41 };
#define SEL_TASK SEL_FREE
#define SEL_TASK_GATE (SEL_FREE + 8)
#define SEL_BAD (SEL_FREE + 16)
#define AVAILABLE32 0x89
#define BUSY32 0x8B
#define AVAILABLE16 0x81

struct tss16 {
  u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
static struct tss32 task;
static struct tss16 task16;
static u8 task_stack[1024] __attribute__((aligned(16)));
extern u8 trap_stack_top[];
#define STACK_TOP ((u32)task_stack + sizeof task_stack)

FLAT(entry, "nop");
FLAT(jmp_tss, ".byte 0xEA; .long 0; .word 0x80");
FLAT(call_tss, ".byte 0x9A; .long 0; .word 0x80");
FLAT(jmp_gate, ".byte 0xEA; .long 0; .word 0x8B");
FLAT(call_gate, ".byte 0x9A; .long 0; .word 0x8B");
FLAT(int_gate, "int 0x41");
FLAT(iret_, "iretd");

static u32 access_of(u32 selector) { return (u32)(gdt[selector >> 3] >> 40) & 0xFF; }

/* Makes the main task current again, and the other one fresh: it starts at `entry` in ring 0. */
static void reset(void) {
  set_gdt(SEL_TSS, descriptor((u32)&main_tss, MAIN_TSS_BYTES - 1, AVAILABLE32, 0));
  __asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
  __asm__ volatile("clts");
  set_gdt(SEL_TASK, descriptor((u32)&task, sizeof task - 1, AVAILABLE32, 0));
  set_gdt(SEL_TASK_GATE, gate(SEL_TASK, 0, 0xE5, 0));
  memset(&task, 0, sizeof task);
  task.eip = (u32)entry, task.cs = SEL_CODE32, task.ss = task.ds = SEL_DATA, task.es = SEL_USER_DATA, task.fs = SEL_USER_DATA;
  task.eflags = 2 | FLAG_ZF, task.esp = STACK_TOP;
  task.eax = 0xA, task.ecx = 0xC, task.edx = 0xD, task.ebx = 0xB, task.ebp = 0xBB, task.esi = 0x51, task.edi = 0xD1;
  task.ss0 = SEL_DATA, task.esp0 = (u32)trap_stack_top, task.io_base = 104;
  main_tss.tss.link = 0;
  reset_gate(USED, 3);
}

static void switched(u32 nested) {
  check("vector", context.vector, OK);
  check("eip", context.eip, (u32)entry_end), check("cs", context.cs, SEL_CODE32), check("ss", context.ss, SEL_DATA);
  check("esp", context.esp, STACK_TOP);
  check("eax", context.eax, 0xA), check("ecx", context.ecx, 0xC), check("edx", context.edx, 0xD), check("ebx", context.ebx, 0xB);
  check("ebp", context.ebp, 0xBB), check("esi", context.esi, 0x51), check("edi", context.edi, 0xD1);
  check("ds", context.ds, SEL_DATA), check("es", context.es, SEL_USER_DATA), check("gs", context.gs, 0);
  check("flags", context.eflags & (FLAG_ZF | FLAG_CF | FLAG_NT | FLAG_IOPL3), FLAG_ZF | (nested ? FLAG_NT : 0));
  check("ts", read_cr0() & 8, 8);
  u32 tr;
  __asm__ volatile("str %0" : "=r"(tr));
  check("tr", tr, SEL_TASK);
  check("new-busy", access_of(SEL_TASK), BUSY32);
  check("old-busy", access_of(SEL_TSS), nested ? BUSY32 : AVAILABLE32);
  check("link", task.link & 0xFFFF, nested ? SEL_TSS : 0);
}

static void saved(u32 cpl, const u8 *after) {
  const struct tss32 *t = &main_tss.tss;
  check("saved-eip", t->eip, (u32)after), check("saved-cs", t->cs & 0xFFFF, cpl ? SEL_USER_CODE32 : SEL_CODE32);
  check("saved-eax", t->eax, 0x11), check("saved-edi", t->edi, 0x77), check("saved-esp", t->esp, (u32)flat_stack_top);
  check("saved-flags", t->eflags & (FLAG_CF | FLAG_ZF), FLAG_CF);
  check("saved-ds", t->ds & 0xFFFF, cpl ? SEL_USER_DATA : SEL_DATA);
}

static void start(u32 cpl, const u8 *code) {
  context_flat(cpl);
  context.eax = 0x11, context.edi = 0x77, context.eflags |= FLAG_CF;
  run_flat(code);
}

static void switches(void) {
  begin("jmp-tss"), reset(), start(0, jmp_tss), switched(0), saved(0, jmp_tss + 7), end();
  begin("call-tss"), reset(), start(0, call_tss), switched(1), saved(0, call_tss + 7), end();
  begin("jmp-task-gate"), reset(), start(3, jmp_gate), switched(0), saved(3, jmp_gate + 7), end();
  begin("call-task-gate"), reset(), start(3, call_gate), switched(1), saved(3, call_gate + 7), end();
  begin("int-task-gate"), reset(), idt[USED] = gate(SEL_TASK, 0, 0xE5, 0), start(3, int_gate), switched(1), saved(3, int_gate + 2), end();
}

/* There and back: the nested task returns by IRET, and the caller goes on behind the CALL. */
FLAT(call_and_go_on, ".byte 0x9A; .long 0; .word 0x80; nop; mov ebx, 0x1234");
FLAT(returning_task, "inc eax; iretd; add eax, 0x10; iretd");
FLAT(call_twice, ".byte 0x9A; .long 0; .word 0x80; .byte 0x9A; .long 0; .word 0x80");
static void returns(void) {
  begin("iret-from-task");
  reset(), task.eip = (u32)returning_task;
  start(0, call_and_go_on);
  check("vector", context.vector, OK), check("ebx", context.ebx, 0x1234), check("eax", context.eax, 0x11);
  check("old-busy", access_of(SEL_TSS), BUSY32), check("task-available", access_of(SEL_TASK), AVAILABLE32);
  check("task-eax", task.eax, 0xB), check("task-eip", task.eip, (u32)returning_task + 2);
  check("task-nt", task.eflags & FLAG_NT, 0), check("nt", context.eflags & FLAG_NT, 0);
  reset(), task.eip = (u32)returning_task, start(0, call_twice);
  check("again", context.vector, OK), check("again-eax", task.eax, 0x1B);
  end();
}

/* An exception through a task gate: its error code is on the new task's stack, and EIP saved at the instruction. */
FLAT(fault, "mov ds, eax");
FLAT(pop_error, "pop ebx");
static void exceptions(void) {
  begin("exception-task-gate");
  reset(), idt[GP] = gate(SEL_TASK, 0, 0x85, 0), task.eip = (u32)pop_error;
  context_flat(3), context.eax = 0xFFF8, run_flat(fault);
  check("vector", context.vector, OK), check("error", context.ebx, 0xFFF8), check("esp", context.esp, STACK_TOP);
  check("saved-eip", main_tss.tss.eip, (u32)fault), check("rf", main_tss.tss.eflags & FLAG_RF, FLAG_RF);
  check("link", task.link & 0xFFFF, SEL_TSS), check("nt", context.eflags & FLAG_NT, FLAG_NT);
  reset_gate(GP, 0);
  end();
}

static void sixteen_bits(void) {
  begin("tss-16");
  reset();
  u32 base = (u32)entry & 0xFFFF0000;
  set_gdt(SEL_BAD, descriptor(base, 0xFFFF, 0xFB, FLAG_BIG));
  set_gdt(SEL_TASK, descriptor((u32)&task16, sizeof task16 - 1, AVAILABLE16, 0));
  task16 = (struct tss16){.ip = (u16)(u32)entry, .cs = SEL_BAD | 3, .ds = SEL_USER_DATA};
  /* In ring 3, so that the interrupt that ends it has a flat stack. */
  set_gdt(SEL_FREE + 24, descriptor(STACK_BASE, 0xFFFF, 0xF3, 0));
  task16.ss = (SEL_FREE + 24) | 3, task16.sp = 0x8000, task16.flags = 2 | FLAG_CF, task16.ax = 0xAAAA, task16.di = 0xD1D1;
  task16.ss0 = SEL_DATA, task16.sp0 = REAL_STACK;
  start(0, call_tss);
  check("vector", context.vector, OK), check("cs", context.cs, SEL_BAD | 3), check("eax", context.eax & 0xFFFF, 0xAAAA);
  check("edi", context.edi & 0xFFFF, 0xD1D1), check("sp", context.esp & 0xFFFF, 0x8000);
  check("flags", context.eflags & (FLAG_CF | FLAG_NT), FLAG_CF | FLAG_NT), check("link", task16.link, SEL_TSS);
  check("busy", access_of(SEL_TASK), 0x83), check("fs", context.fs, 0), check("gs", context.gs, 0);
  saved(0, call_tss + 7);
  end();
}

/* Faults before the switch are the instruction's: nothing has changed. */
static void early(const char *what, u32 cpl, const u8 *code, u32 vector, u32 error) {
  start(cpl, code);
  check_event(what, vector, error, code);
  u32 tr;
  __asm__ volatile("str %0" : "=r"(tr));
  check(what, tr, SEL_TSS), check(what, context.eax, 0x11);
  reset();
}
static void early_faults(void) {
  begin("faults-before-the-switch");
  reset();
  early("tss-dpl", 3, jmp_tss, GP, SEL_TASK);
  set_gdt(SEL_TASK, descriptor((u32)&task, sizeof task - 1, BUSY32, 0)), early("busy", 0, jmp_tss, GP, SEL_TASK);
  set_gdt(SEL_TASK, descriptor((u32)&task, sizeof task - 1, BUSY32, 0)), early("busy-call", 0, call_tss, GP, SEL_TASK);
  set_gdt(SEL_TASK, descriptor((u32)&task, sizeof task - 1, 0x09, 0)), early("not-present", 0, jmp_tss, NP, SEL_TASK);
  set_gdt(SEL_TASK, descriptor((u32)&task, 102, AVAILABLE32, 0)), early("limit", 0, jmp_tss, TS, SEL_TASK);
  set_gdt(SEL_TASK, descriptor((u32)&task, 42, AVAILABLE16, 0)), early("limit-16", 0, jmp_tss, TS, SEL_TASK);
  set_gdt(SEL_TASK_GATE, gate(SEL_TASK, 0, 0x85, 0)), early("gate-dpl", 3, jmp_gate, GP, SEL_TASK_GATE);
  set_gdt(SEL_TASK_GATE, gate(SEL_TASK, 0, 0x65, 0)), early("gate-not-present", 3, call_gate, NP, SEL_TASK_GATE);
  set_gdt(SEL_TASK_GATE, gate(SEL_DATA, 0, 0xE5, 0)), early("gate-to-data", 3, call_gate, GP, SEL_DATA);
  set_gdt(SEL_TASK_GATE, gate(4, 0, 0xE5, 0)), early("gate-to-ldt", 3, call_gate, GP, 4);
  set_gdt(SEL_TASK_GATE, gate(0xFFF8, 0, 0xE5, 0)), early("gate-beyond", 3, call_gate, GP, 0xFFF8);
  set_gdt(SEL_TASK, descriptor((u32)&task, sizeof task - 1, 0x09, 0)), idt[USED] = gate(SEL_TASK, 0, 0xE5, 0);
  early("int-not-present", 3, int_gate, NP, SEL_TASK);
  set_gdt(SEL_TASK, descriptor((u32)&task, sizeof task - 1, BUSY32, 0)), idt[USED] = gate(SEL_TASK, 0, 0xE5, 0);
  early("int-busy", 3, int_gate, GP, SEL_TASK);
  /* IRET with NT: the link must be a busy TSS. */
  for (u32 i = 0; i < 4; i++) {
    static const struct {
      const char *name;
      u32 link, vector, error;
    } links[] = {{"iret-null-link", 0, TS, 0}, {"iret-available", SEL_TASK, TS, SEL_TASK}, {"iret-data", SEL_DATA, TS, SEL_DATA}, {"iret-ldt", 4, TS, 4}};
    main_tss.tss.link = links[i].link;
    context_flat(0), context.eax = 0x11, context.eflags |= FLAG_NT;
    run_flat(iret_), check_event(links[i].name, links[i].vector, links[i].error, iret_);
  }
  reset();
  end();
}

/*
 * Faults of the new task's state come when the switch is done: they are its first instruction's, in its context. Its stack may
 * be missing then, so the fault's handler is a task, as the manual recommends for #TS.
 */
static struct tss32 handler;
static u8 handler_stack[512] __attribute__((aligned(16)));
#define SEL_HANDLER SEL_TSS_B
FLAT(handle, "pop ebx");
static void late(const char *what, u32 vector, u32 error) {
  set_gdt(SEL_HANDLER, descriptor((u32)&handler, sizeof handler - 1, AVAILABLE32, 0));
  memset(&handler, 0, sizeof handler);
  handler.eip = (u32)handle, handler.cs = SEL_CODE32, handler.ss = handler.ds = handler.es = SEL_DATA, handler.eflags = 2;
  handler.esp = (u32)handler_stack + sizeof handler_stack, handler.io_base = 104;
  idt[vector] = gate(SEL_HANDLER, 0, 0x85, 0);
  start(0, call_tss);
  check_event(what, OK, 0, 0);
  check(what, context.ebx, error);
  check(what, handler.link & 0xFFFF, SEL_TASK);
  check(what, task.eip, (u32)entry), check(what, task.eax, 0xA), check(what, task.link & 0xFFFF, SEL_TSS);
  check(what, main_tss.tss.eip, (u32)call_tss + 7);
  reset_gate(vector, 0);
  reset();
}
static void late_faults(void) {
  begin("faults-of-the-new-task");
  reset();
  task.ldt = SEL_DATA, late("ldt-type", TS, SEL_DATA);
  task.ldt = 0xFFF8, late("ldt-beyond", TS, 0xFFF8);
  task.cs = SEL_DATA, late("cs-data", TS, SEL_DATA);
  task.cs = 0, late("cs-null", TS, 0);
  task.cs = SEL_CODE32 | 3, task.ss = task.ds = SEL_USER_DATA, late("cs-dpl", TS, SEL_CODE32);
  task.ss = 0, late("ss-null", TS, 0);
  task.ss = SEL_USER_DATA, late("ss-rpl", TS, SEL_USER_DATA & ~3u);
  task.ss = SEL_CODE32, late("ss-code", TS, SEL_CODE32);
  set_gdt(SEL_BAD, descriptor(0, 0xFFFFF, 0x13, 0xC)), task.ss = SEL_BAD, late("ss-not-present", SS, SEL_BAD);
  set_gdt(SEL_BAD, descriptor(0, 0xFFFFF, 0x1B, 0xC)), task.cs = SEL_BAD, late("cs-not-present", NP, SEL_BAD);
  task.ds = 0xFFF8, late("ds-beyond", TS, 0xFFF8);
  task.ds = SEL_TSS, late("ds-system", TS, SEL_TSS);
  set_gdt(SEL_BAD, descriptor(0, 0xFFFFF, 0x13, 0xC)), task.ds = SEL_BAD, late("ds-not-present", NP, SEL_BAD);
  task.es = SEL_BAD, late("es-not-present", NP, SEL_BAD);
  task.gs = SEL_BAD, late("gs-not-present", NP, SEL_BAD);
  end();
}

/* The T flag of the new TSS: #DB before its first instruction, BT in DR6. */
static void debug_trap(void) {
  begin("trap-bit");
  reset(), task.trap = 1;
  u32 dr6 = 0;
  __asm__ volatile("mov %0, %%dr6" ::"r"(dr6));
  start(0, jmp_tss);
  check_event("vector", DB, 0, entry);
  __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
  check("dr6", dr6 & 0xE00F, 0x8000);
  reset();
  end();
}

FLAT(use_x87, "fnop");
static void device_not_available(void) {
  begin("ts-and-nm");
  reset(), task.eip = (u32)use_x87, start(0, jmp_tss);
  check_event("nm", 7, 0, use_x87);
  reset(), end();
}

/* Faults last: there is a machine that gives up at some. */
void program_run(void) {
  switches();
  returns();
  exceptions();
  device_not_available();
  debug_trap();
  late_faults();
  early_faults();
  sixteen_bits();
}
