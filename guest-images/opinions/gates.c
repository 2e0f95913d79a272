/*
 * Changes of privilege: call gates of both sizes with parameters, far returns, IRET, interrupt and trap gates, conforming
 * segments, and every fault on the way with its error code. SDM Vol. 3A, "Privilege Level Checking When Transferring Program
 * Control Between Code Segments" and "Exception and Interrupt Handling in Protected Mode"; Vol. 2, CALL, RET, IRET, INT.
 */
#include "runtime.h"

const char program_name[] = "gates";

enum { OK = VECTOR_DONE, GP = 13, NP = 11, SS = 12, TS = 10, UD = 6, USED = 0x41 };
#define SEL_GATE SEL_FREE
#define SEL_TARGET (SEL_FREE + 8)
#define SEL_STACK (SEL_FREE + 16)
#define SEL_CODE1 (SEL_FREE + 24)
#define SEL_DATA1 (SEL_FREE + 32)
#define SEL_CONFORMING (SEL_FREE + 40)
#define FLAT_CODE descriptor(0, 0xFFFFF, 0x9B, 0xC)

extern u8 trap_stack_top[];
static u32 *stack_at(u32 esp) { return (u32 *)esp; }

FLAT(target, "nop");
FLAT(call_gate, ".byte 0x9A; .long 0; .word 0x83"); /* SEL_GATE, RPL 3 */
FLAT(jmp_gate, ".byte 0xEA; .long 0; .word 0x83");
FLAT(call_gate_0, ".byte 0x9A; .long 0; .word 0x80");
FLAT(call_gate_16, ".byte 0x66, 0x9A; .word 0; .word 0x83");

static void reset_tables(void) {
  set_gdt(SEL_GATE, gate(SEL_TARGET, (u32)target, 0xEC, 0));
  set_gdt(SEL_TARGET, FLAT_CODE);
  set_gdt(SEL_CONFORMING, descriptor(0, 0xFFFFF, 0x9F, 0xC));
  set_gdt(SEL_STACK, descriptor(0, 0xFFFFF, 0x93, 0xC));
  set_gdt(SEL_CODE1, descriptor(0, 0xFFFFF, 0xBB, 0xC));
  set_gdt(SEL_DATA1, descriptor(0, 0xFFFFF, 0xB3, 0xC));
  main_tss.tss.ss0 = SEL_DATA;
  main_tss.tss.esp0 = (u32)trap_stack_top;
  main_tss.tss.ss1 = SEL_DATA1 | 1;
  main_tss.tss.esp1 = (u32)trap_stack_top - 2048;
}

static void call_gates(void) {
  static const u32 counts[] = {0, 1, 2, 5, 31};
  for (u32 wide = 0; wide < 2; wide++) {
    u32 size = wide ? 4 : 2;
    begin(wide ? "call-gate-32" : "call-gate-16");
    /* A 16-bit gate's offset has 16 bits: its target is reached through a base. */
    u32 base = wide ? 0 : (u32)target & 0xFFFF0000;
    set_gdt(SEL_TARGET, descriptor(base, 0xFFFFF, 0x9B, 0xC));
    for (u32 i = 0; i < 5; i++) {
      u32 n = counts[i];
      set_gdt(SEL_GATE, gate(SEL_TARGET, (u32)target - base, wide ? 0xEC : 0xE4, n));
      context_flat(3);
      context.eflags |= FLAG_CF | FLAG_IOPL3;
      for (u32 p = 0; p < 32; p++)
        if (wide) stack_at(context.esp)[p] = 0xC0DE0000 + p;
        else ((u16 *)context.esp)[p] = (u16)(0xC0D0 + p);
      u32 esp = context.esp;
      run_flat(call_gate);
      check("vector", context.vector, OK);
      check("cs", context.cs, SEL_TARGET);
      check("ss", context.ss, SEL_DATA);
      check("eip", context.eip, (u32)target_end - base);
      check("esp", context.esp, (u32)trap_stack_top - (4 + n) * size);
      check("flags", context.eflags & (FLAG_CF | FLAG_IOPL3), FLAG_CF | FLAG_IOPL3);
      for (u32 p = 0; p < 4 + n; p++) {
        u32 got = wide ? stack_at(context.esp)[p] : ((u16 *)context.esp)[p];
        u32 expected = p == 0 ? (u32)call_gate + 7 : p == 1 ? SEL_USER_CODE32 : p == 2 + n ? esp : p == 3 + n ? SEL_USER_DATA : (wide ? 0xC0DE0000 : 0xC0D0) + p - 2;
        if (p == 1 || p == 3 + n) got &= 0xFFFF;
        check("stack", got, wide ? expected : expected & 0xFFFF);
      }
    }
    end();
  }
  reset_tables();
  begin("call-gate-same-level");
  context_flat(0);
  u32 esp = context.esp;
  run_flat(call_gate_0), check("vector", context.vector, OK), check("esp", context.esp, esp - 8);
  check("eip", stack_at(context.esp)[0], (u32)call_gate_0 + 7), check("cs", stack_at(context.esp)[1] & 0xFFFF, SEL_CODE32);
  set_gdt(SEL_GATE, gate(SEL_CONFORMING, (u32)target, 0xEC, 3));
  context_flat(3), esp = context.esp, run_flat(call_gate);
  check("conforming", context.vector, OK), check("conforming-cs", context.cs, SEL_CONFORMING | 3);
  check("conforming-esp", context.esp, esp - 8);
  context_flat(3), run_flat(jmp_gate), check("jmp-conforming", context.cs, SEL_CONFORMING | 3);
  context_flat(3), esp = context.esp, run_flat(call_gate_16), check("operand-size", context.vector, OK);
  check("operand-size-esp", context.esp, esp - 8); /* the gate's size counts, not the instruction's */
  end();
  reset_tables();
  begin("call-gate-to-ring-1");
  set_gdt(SEL_GATE, gate(SEL_CODE1, (u32)target, 0xEC, 1));
  context_flat(3), run_flat(call_gate);
  check("vector", context.vector, OK), check("cs", context.cs, SEL_CODE1 | 1), check("ss", context.ss, SEL_DATA1 | 1);
  check("esp", context.esp, (u32)trap_stack_top - 2048 - 20);
  end();
}

static void gate_fault(const char *what, const u8 *code, u32 vector, u32 error) {
  context_flat(code == call_gate_0 ? 0 : 3);
  run_flat(code);
  check_event(what, vector, error, code);
  check(what, context.esp, (u32)flat_stack_top);
  reset_tables();
}

static void call_gate_faults(void) {
  reset_tables();
  begin("call-gate-faults");
  set_gdt(SEL_GATE, gate(SEL_TARGET, (u32)target, 0x8C, 0)), gate_fault("gate-dpl", call_gate, GP, SEL_GATE);
  set_gdt(SEL_GATE, gate(SEL_TARGET, (u32)target, 0x6C, 0)), gate_fault("gate-not-present", call_gate, NP, SEL_GATE);
  set_gdt(SEL_GATE, gate(0, (u32)target, 0xEC, 0)), gate_fault("null-target", call_gate, GP, 0);
  set_gdt(SEL_GATE, gate(SEL_DATA, (u32)target, 0xEC, 0)), gate_fault("data-target", call_gate, GP, SEL_DATA);
  set_gdt(SEL_GATE, gate(SEL_TSS, (u32)target, 0xEC, 0)), gate_fault("system-target", call_gate, GP, SEL_TSS);
  set_gdt(SEL_GATE, gate(0xFFF8, (u32)target, 0xEC, 0)), gate_fault("beyond-target", call_gate, GP, 0xFFF8);
  set_gdt(SEL_GATE, gate(SEL_CODE1, (u32)target, 0x8C, 0)), gate_fault("outer-target", call_gate_0, GP, SEL_CODE1);
  set_gdt(SEL_TARGET, descriptor(0, 0xFFFFF, 0x1B, 0xC)), gate_fault("target-not-present", call_gate, NP, SEL_TARGET);
  set_gdt(SEL_TARGET, descriptor(0, 0xFFF, 0x9B, 4)), gate_fault("target-limit", call_gate, GP, 0);
  gate_fault("jmp-inner", jmp_gate, GP, SEL_TARGET);
  /* Inner stacks. The fault's handler must find its own, so the gate leads to ring 1. */
#define TO_RING_1 set_gdt(SEL_GATE, gate(SEL_CODE1, (u32)target, 0xEC, 1))
  TO_RING_1, main_tss.tss.ss1 = 0, gate_fault("ss-null", call_gate, TS, 0);
  TO_RING_1, main_tss.tss.ss1 = 0xFFF9, gate_fault("ss-beyond", call_gate, TS, 0xFFF8);
  TO_RING_1, main_tss.tss.ss1 = SEL_DATA1, gate_fault("ss-rpl", call_gate, TS, SEL_DATA1);
  TO_RING_1, main_tss.tss.ss1 = SEL_STACK | 1, gate_fault("ss-dpl", call_gate, TS, SEL_STACK);
  TO_RING_1, main_tss.tss.ss1 = SEL_CODE1 | 1, gate_fault("ss-code", call_gate, TS, SEL_CODE1);
  TO_RING_1, set_gdt(SEL_DATA1, descriptor(0, 0xFFFFF, 0xB1, 0xC)), gate_fault("ss-read-only", call_gate, TS, SEL_DATA1);
  TO_RING_1, set_gdt(SEL_DATA1, descriptor(0, 0xFFFFF, 0x33, 0xC)), gate_fault("ss-not-present", call_gate, SS, SEL_DATA1);
  TO_RING_1, set_gdt(SEL_DATA1, descriptor(0, 0xFFF, 0xB3, 4)), gate_fault("ss-limit", call_gate, SS, SEL_DATA1);
  end();
}

/* --- direct far transfers --- */
FLAT(jmp_target, ".byte 0xEA; .long target; .word 0x88");
FLAT(call_target, ".byte 0x9A; .long target; .word 0x88");
FLAT(jmp_conforming, ".byte 0xEA; .long target; .word 0xA8");
FLAT(jmp_free, "jmp fword ptr [ebx]");

static void direct(const char *what, u32 cpl, u32 selector, u32 vector, u32 error) {
  static struct {
    u32 offset;
    u16 selector;
  } pointer;
  pointer.offset = (u32)target, pointer.selector = (u16)selector;
  context_flat(cpl);
  context.ebx = (u32)&pointer;
  run_flat(jmp_free);
  check_event(what, vector, error, vector == OK ? 0 : jmp_free);
  if (vector == OK) check(what, context.cs, (selector & ~3u) | cpl);
}

static void far_transfers(void) {
  reset_tables();
  begin("far-direct");
  direct("same", 0, SEL_TARGET, OK, 0);
  direct("conforming", 3, SEL_CONFORMING, OK, 0);
  direct("conforming-rpl", 3, SEL_CONFORMING | 3, OK, 0);
  context_flat(0);
  u32 esp = context.esp;
  run_flat(call_target), check("call", context.vector, OK), check("call-esp", context.esp, esp - 8);
  check("call-eip", stack_at(context.esp)[0], (u32)call_target + 7);
  context_flat(3), run_flat(jmp_conforming), check("jmp-conforming", context.cs, SEL_CONFORMING | 3);
  end();
}

static void far_transfer_faults(void) {
  reset_tables();
  begin("far-direct-faults");
  direct("rpl-too-big", 0, SEL_TARGET | 1, GP, SEL_TARGET);
  direct("inner", 3, SEL_TARGET, GP, SEL_TARGET);
  direct("outer", 0, SEL_USER_CODE32, GP, SEL_USER_CODE32 & ~3u);
  direct("null", 3, 3, GP, 0);
  direct("data", 0, SEL_DATA, GP, SEL_DATA);
  direct("beyond", 0, 0xFFF8, GP, 0xFFF8);
  set_gdt(SEL_TARGET, descriptor(0, 0xFFFFF, 0x1B, 0xC)), direct("not-present", 0, SEL_TARGET, NP, SEL_TARGET);
  set_gdt(SEL_TARGET, descriptor(0, 0xFFFF, 0x9B, 4)), direct("limit", 0, SEL_TARGET, GP, 0);
  set_gdt(SEL_TARGET, descriptor(0, 0xFFFFF, 0x9A, 0xC)), direct("accessed", 0, SEL_TARGET, OK, 0);
  check("accessed-bit", (u32)(gdt[SEL_TARGET >> 3] >> 40) & 0xFF, 0x9B);
  direct("ldt", 0, SEL_LDT, GP, SEL_LDT);
  reset_tables();
  context_flat(3), run_flat(jmp_target), check_event("jmp-inner", GP, SEL_TARGET, jmp_target);
  end();
}

/* --- RETF and IRET --- */
FLAT(retf, ".byte 0xCB");
FLAT(retf_8, ".byte 0xCA; .word 8");
FLAT(iret_, "iretd");
FLAT(iret_3, "iretd");

/* Runs `code` at a level on a stack of given words. */
static void on_stack(u32 cpl, const u8 *code, const u32 *words, u32 count) {
  context_flat(cpl);
  context.esp -= 64;
  for (u32 i = 0; i < count; i++) stack_at(context.esp)[i] = words[i];
  run_flat(code);
}
#define ON_STACK(cpl, code, ...) \
  on_stack(cpl, code, (const u32[]){__VA_ARGS__}, sizeof((const u32[]){__VA_ARGS__}) / sizeof(u32))
#define USER_STACK ((u32)flat_stack_top - 1024)

static void far_returns(void) {
  u32 t = (u32)target;
  reset_tables();
  begin("retf");
  ON_STACK(0, retf, t, SEL_CODE32), check("same", context.vector, OK), check("same-esp", context.esp, (u32)flat_stack_top - 64 + 8);
  ON_STACK(0, retf_8, t, SEL_CODE32), check("same-8", context.esp, (u32)flat_stack_top - 64 + 16);
  ON_STACK(0, retf, t, SEL_USER_CODE32, USER_STACK, SEL_USER_DATA);
  check("outer", context.vector, OK), check("outer-cs", context.cs, SEL_USER_CODE32), check("outer-ss", context.ss, SEL_USER_DATA);
  check("outer-esp", context.esp, USER_STACK);
  check("ds-null", context.ds, 0), check("es-null", context.es, 0); /* their DPL 0 is above CPL 3 */
  ON_STACK(0, retf_8, t, SEL_USER_CODE32, 1, 2, USER_STACK, SEL_USER_DATA), check("outer-8", context.esp, USER_STACK + 8);
  ON_STACK(0, retf, t, SEL_CODE1 | 1, USER_STACK, SEL_DATA1 | 1), check("ring-1", context.cs, SEL_CODE1 | 1);
  ON_STACK(0, retf, t, SEL_CONFORMING | 3, USER_STACK, SEL_USER_DATA), check("conforming", context.cs, SEL_CONFORMING | 3);
  end();
}

static void far_return_faults(void) {
  u32 t = (u32)target;
  reset_tables();
  begin("retf-faults");
  ON_STACK(3, retf, t, SEL_CODE32), check_event("inner", GP, SEL_CODE32, retf);
  ON_STACK(0, retf, t, 0), check_event("null", GP, 0, retf);
  ON_STACK(0, retf, t, SEL_DATA), check_event("data", GP, SEL_DATA, retf);
  ON_STACK(0, retf, t, 0xFFF8), check_event("beyond", GP, 0xFFF8, retf);
  ON_STACK(0, retf, t, SEL_USER_CODE32 & ~3u), check_event("rpl-dpl", GP, SEL_USER_CODE32 & ~3u, retf);
  ON_STACK(0, retf, t, SEL_USER_CODE32, USER_STACK, 0), check_event("ss-null", GP, 0, retf);
  ON_STACK(0, retf, t, SEL_USER_CODE32, USER_STACK, SEL_DATA | 3), check_event("ss-dpl", GP, SEL_DATA, retf);
  ON_STACK(0, retf, t, SEL_USER_CODE32, USER_STACK, SEL_USER_DATA & ~3u), check_event("ss-rpl", GP, SEL_USER_DATA & ~3u, retf);
  set_gdt(SEL_STACK, descriptor(0, 0xFFFFF, 0x73, 0xC));
  ON_STACK(0, retf, t, SEL_USER_CODE32, USER_STACK, SEL_STACK | 3), check_event("ss-not-present", SS, SEL_STACK, retf);
  set_gdt(SEL_TARGET, descriptor(0, 0xFFFFF, 0x1B, 0xC));
  ON_STACK(0, retf, t, SEL_TARGET), check_event("not-present", NP, SEL_TARGET, retf);
  set_gdt(SEL_TARGET, descriptor(0, 0xFFFF, 0x9B, 4));
  ON_STACK(0, retf, t, SEL_TARGET), check_event("limit", GP, 0, retf);
  end();
}

static void interrupt_returns(void) {
  u32 t = (u32)target;
  reset_tables();
  begin("iret");
  ON_STACK(0, iret_, t, SEL_CODE32, 2 | FLAG_CF | FLAG_IOPL3 | FLAG_AC);
  check("same", context.vector, OK), check("same-flags", context.eflags & ~FLAG_RF, 2 | FLAG_CF | FLAG_IOPL3 | FLAG_AC);
  ON_STACK(0, iret_, t, SEL_USER_CODE32, 2 | FLAG_ZF | FLAG_IOPL3, USER_STACK, SEL_USER_DATA);
  check("outer", context.vector, OK), check("outer-flags", context.eflags, 2 | FLAG_ZF | FLAG_IOPL3);
  check("outer-esp", context.esp, USER_STACK), check("ds-null", context.ds, 0);
  /* At CPL 3 IRET changes neither IOPL nor, with CPL > IOPL, IF. VM cannot be set there. */
  ON_STACK(3, iret_3, t, SEL_USER_CODE32, 2 | FLAG_SF | FLAG_IOPL3 | FLAG_IF | FLAG_VM);
  check("user", context.vector, OK), check("user-flags", context.eflags, 2 | FLAG_SF);
  /* Into virtual-8086 mode: CS:IP, SS:SP and the data segments from the stack. */
  code_bytes[0x10] = 0xCD, code_bytes[0x11] = VECTOR_DONE;
  ON_STACK(0, iret_, 0x10, CODE_BASE >> 4, 2 | FLAG_VM | FLAG_IOPL3, 0x8000, STACK_BASE >> 4, 0x1111, 0x2222, 0x3333, 0x4444);
  check("v86", context.vector, OK), check("v86-flags", context.eflags, 2 | FLAG_VM | FLAG_IOPL3);
  check("v86-es", context.es, 0x1111), check("v86-ds", context.ds, 0x2222), check("v86-fs", context.fs, 0x3333);
  check("v86-gs", context.gs, 0x4444), check("v86-ss", context.ss, STACK_BASE >> 4);
  end();
}

static void interrupt_return_faults(void) {
  u32 t = (u32)target;
  reset_tables();
  begin("iret-faults");
  ON_STACK(3, iret_3, t, SEL_CODE32, 2), check_event("inner", GP, SEL_CODE32, iret_3);
  ON_STACK(0, iret_, t, 0, 2), check_event("null", GP, 0, iret_);
  ON_STACK(0, iret_, t, SEL_DATA, 2), check_event("data", GP, SEL_DATA, iret_);
  ON_STACK(0, iret_, t, SEL_USER_CODE32, 2, USER_STACK, SEL_DATA), check_event("ss-rpl", GP, SEL_DATA, iret_);
  ON_STACK(0, iret_, t, SEL_USER_CODE32, 2, USER_STACK, 0), check_event("ss-null", GP, 0, iret_);
  set_gdt(SEL_STACK, descriptor(0, 0xFFFFF, 0x73, 0xC));
  ON_STACK(0, iret_, t, SEL_USER_CODE32, 2, USER_STACK, SEL_STACK | 3), check_event("ss-not-present", SS, SEL_STACK, iret_);
  end();
}

/* --- interrupt and trap gates --- */
FLAT(int_41, "int 0x41");
FLAT(int3_, ".byte 0xCC");
FLAT(into_, "mov al, 0x7F; add al, 1; into");
FLAT(undefined, "ud2");
FLAT(handler, "nop");

static void interrupt_gates(void) {
  reset_tables();
  begin("interrupt-gate-32");
  idt[USED] = gate(SEL_TARGET, (u32)handler, 0xEE, 0);
  context_flat(3), context.eflags |= FLAG_IF | FLAG_CF | FLAG_NT | FLAG_AC | FLAG_TF * 0;
  run_flat(int_41);
  check("vector", context.vector, OK), check("cs", context.cs, SEL_TARGET), check("ss", context.ss, SEL_DATA);
  check("esp", context.esp, (u32)trap_stack_top - 20);
  check("flags", context.eflags & (FLAG_IF | FLAG_NT | FLAG_CF | FLAG_AC), FLAG_CF | FLAG_AC);
  check("eip", stack_at(context.esp)[0], (u32)int_41 + 2), check("pushed-cs", stack_at(context.esp)[1] & 0xFFFF, SEL_USER_CODE32);
  check("pushed-flags", stack_at(context.esp)[2], 2 | FLAG_IF | FLAG_CF | FLAG_NT | FLAG_AC);
  check("pushed-esp", stack_at(context.esp)[3], (u32)flat_stack_top), check("pushed-ss", stack_at(context.esp)[4] & 0xFFFF, SEL_USER_DATA);
  end();
  begin("trap-gate-32");
  idt[USED] = gate(SEL_TARGET, (u32)handler, 0xEF, 0);
  context_flat(3), context.eflags |= FLAG_IF, run_flat(int_41), check("if", context.eflags & FLAG_IF, FLAG_IF);
  context_flat(0);
  u32 esp = context.esp;
  run_flat(int_41), check("same-level-esp", context.esp, esp - 12);
  idt[USED] = gate(SEL_CONFORMING, (u32)handler, 0xEF, 0);
  context_flat(3), esp = context.esp, run_flat(int_41), check("conforming", context.cs, SEL_CONFORMING | 3), check("conforming-esp", context.esp, esp - 12);
  end();
  begin("interrupt-gate-16");
  u32 base = (u32)handler & 0xFFFF0000;
  set_gdt(SEL_TARGET, descriptor(base, 0xFFFFF, 0x9B, 0xC));
  idt[USED] = gate(SEL_TARGET, (u32)handler - base, 0xE6, 0);
  context_flat(3), context.eflags |= FLAG_CF | FLAG_IF, run_flat(int_41);
  check("esp", context.esp, (u32)trap_stack_top - 10), check("if", context.eflags & FLAG_IF, 0);
  const u16 *words = (const u16 *)context.esp;
  check("ip", words[0], (u32)(int_41 + 2) & 0xFFFF), check("cs", words[1], SEL_USER_CODE32);
  check("flags", words[2], 2 | FLAG_CF | FLAG_IF), check("sp", words[3], (u32)flat_stack_top & 0xFFFF), check("ss", words[4], SEL_USER_DATA);
  idt[USED] = gate(SEL_TARGET, (u32)handler - base, 0xE7, 0);
  context_flat(0), esp = context.esp, run_flat(int_41), check("trap-esp", context.esp, esp - 6);
  reset_tables();
  end();
  reset_gate(USED, 3);
}

static void gate_event(const char *what, u32 cpl, const u8 *code, u32 at, u32 vector, u32 error) {
  context_flat(cpl), run_flat(code);
  check_event(what, vector, error, code + at);
  reset_gate(USED, 3), reset_gate(UD, 0), reset_gate(3, 3), reset_gate(4, 3);
  reset_tables();
}

static void interrupt_gate_faults(void) {
  begin("interrupt-gate-faults");
  idt[USED] = gate(SEL_TARGET, (u32)handler, 0x8E, 0), gate_event("dpl", 3, int_41, 0, GP, USED * 8 + 2);
  idt[3] = gate(SEL_TARGET, (u32)handler, 0x8E, 0), gate_event("dpl-int3", 3, int3_, 0, GP, 3 * 8 + 2);
  idt[4] = gate(SEL_TARGET, (u32)handler, 0x8E, 0), gate_event("dpl-into", 3, into_, 4, GP, 4 * 8 + 2);
  idt[USED] = gate(SEL_TARGET, (u32)handler, 0x6E, 0), gate_event("not-present", 3, int_41, 0, NP, USED * 8 + 2);
  idt[USED] = gate(SEL_TARGET, (u32)handler, 0xEC, 0), gate_event("call-gate", 3, int_41, 0, GP, USED * 8 + 2);
  idt[USED] = 0, gate_event("empty", 0, int_41, 0, GP, USED * 8 + 2);
  struct pointer shorter = {USED * 8 + 6, (u32)idt};
  __asm__ volatile("lidt %0" ::"m"(shorter));
  gate_event("limit", 3, int_41, 0, GP, USED * 8 + 2);
  __asm__ volatile("lidt %0" ::"m"(idt_pointer));
  idt[USED] = gate(0, (u32)handler, 0xEE, 0), gate_event("null", 3, int_41, 0, GP, 0);
  idt[USED] = gate(SEL_DATA, (u32)handler, 0xEE, 0), gate_event("data", 3, int_41, 0, GP, SEL_DATA);
  idt[USED] = gate(0xFFF8, (u32)handler, 0xEE, 0), gate_event("beyond", 3, int_41, 0, GP, 0xFFF8);
  idt[USED] = gate(SEL_USER_CODE32 & ~3u, (u32)handler, 0xEE, 0), gate_event("outer", 0, int_41, 0, GP, SEL_USER_CODE32 & ~3u);
  idt[USED] = gate(SEL_TARGET, (u32)handler, 0xEE, 0), set_gdt(SEL_TARGET, descriptor(0, 0xFFFFF, 0x1B, 0xC));
  gate_event("code-not-present", 3, int_41, 0, NP, SEL_TARGET);
  idt[USED] = gate(SEL_TARGET, (u32)handler, 0xEE, 0), set_gdt(SEL_TARGET, descriptor(0, 0xFFF, 0x9B, 4));
  gate_event("code-limit", 3, int_41, 0, GP, 0);
  /* An exception's delivery sets EXT. */
  idt[UD] = gate(SEL_TARGET, (u32)handler, 0x0E, 0), gate_event("exception-not-present", 3, undefined, 0, NP, UD * 8 + 3);
  idt[UD] = gate(SEL_DATA, (u32)handler, 0x8E, 0), gate_event("exception-data", 0, undefined, 0, GP, SEL_DATA | 1);
  idt[UD] = gate(0, (u32)handler, 0x8E, 0), gate_event("exception-null", 0, undefined, 0, GP, 1);
  end();
  /* Stacks of inner levels. The handler of #TS and #SS must find its own: ring 1 is the inner level of the interrupt. */
  begin("interrupt-stack-faults");
  u64 inner = gate(SEL_CODE1, (u32)handler, 0xEE, 0);
  idt[USED] = inner, gate_event("ring-1", 3, int_41, 2, OK, 0);
  idt[USED] = inner, main_tss.tss.ss1 = 0, gate_event("null", 3, int_41, 0, TS, 0);
  idt[USED] = inner, main_tss.tss.ss1 = 0xFFF9, gate_event("beyond", 3, int_41, 0, TS, 0xFFF8);
  idt[USED] = inner, main_tss.tss.ss1 = SEL_DATA1, gate_event("rpl", 3, int_41, 0, TS, SEL_DATA1);
  idt[USED] = inner, main_tss.tss.ss1 = SEL_USER_DATA, gate_event("dpl", 3, int_41, 0, TS, SEL_USER_DATA & ~3u);
  idt[USED] = inner, set_gdt(SEL_DATA1, descriptor(0, 0xFFFFF, 0xB1, 0xC)), gate_event("read-only", 3, int_41, 0, TS, SEL_DATA1);
  idt[USED] = inner, set_gdt(SEL_DATA1, descriptor(0, 0xFFFFF, 0x33, 0xC)), gate_event("not-present", 3, int_41, 0, SS, SEL_DATA1);
  idt[USED] = inner, set_gdt(SEL_DATA1, descriptor(0, 0xFFF, 0xB3, 4)), gate_event("limit", 3, int_41, 0, SS, SEL_DATA1);
  idt[UD] = inner, main_tss.tss.ss1 = SEL_DATA1, gate_event("exception-rpl", 3, undefined, 0, TS, SEL_DATA1 | 1);
  idt[UD] = inner, set_gdt(SEL_DATA1, descriptor(0, 0xFFFFF, 0x33, 0xC)), gate_event("exception-not-present", 3, undefined, 0, SS, SEL_DATA1 | 1);
  end();
}

/* --- privileged instructions and I/O --- */
#define PRIVILEGED(X)                                                                                        \
  X(hlt_, "hlt") X(lgdt_, "lgdt [esp]") X(lidt_, "lidt [esp]") X(lldt_, "lldt ax") X(ltr_, "ltr ax")         \
  X(lmsw_, "lmsw ax") X(clts_, "clts") X(to_cr0, "mov cr0, eax") X(from_cr0, "mov eax, cr0")                  \
  X(from_cr3, "mov eax, cr3") X(to_dr7, "mov dr7, eax") X(from_dr0, "mov eax, dr0") X(invd_, "invd")           \
  X(wbinvd_, "wbinvd") X(invlpg_, "invlpg [esp]") X(rdmsr_, "rdmsr") X(wrmsr_, "wrmsr")
#define IO(X)                                                                                                \
  X(cli_, "cli") X(sti_, "sti") X(in_al, "in al, 0x80") X(in_eax, "in eax, 0x80") X(out_dx, "mov edx, 0x80; out dx, al")
#define DEFINE(name, text) FLAT(name, text);
PRIVILEGED(DEFINE)
IO(DEFINE)

static void privileged(void) {
  begin("privileged-at-3");
#define TRY(name, text) context_flat(3), context.eflags |= FLAG_IOPL3, run_flat(name), check_event(text, GP, 0, name);
  PRIVILEGED(TRY)
  end();
  begin("iopl");
#define REFUSED(name, text) context_flat(3), run_flat(name), check_event(text, GP, 0, 0);
#define ALLOWED(name, text) context_flat(3), context.eflags |= FLAG_IOPL3, run_flat(name), check_event(text, OK, 0, 0);
  for (u32 i = 0; i < 8192; i++) main_tss.io_map[i] = 0xFF;
  IO(REFUSED)
  IO(ALLOWED)
  end();
  /* With CPL > IOPL the bitmap decides: every bit of the access must be clear. */
  begin("io-bitmap");
  main_tss.io_map[0x80 / 8] = 0xFE, context_flat(3), run_flat(in_al), check_event("byte", OK, 0, 0);
  context_flat(3), run_flat(in_eax), check_event("dword-partly", GP, 0, in_eax);
  main_tss.io_map[0x80 / 8] = 0xF0, context_flat(3), run_flat(in_eax), check_event("dword", OK, 0, 0);
  main_tss.tss.io_base = MAIN_TSS_BYTES, context_flat(3), run_flat(in_al), check_event("no-map", GP, 0, in_al);
  main_tss.tss.io_base = offsetof(struct main_tss, io_map);
  for (u32 i = 0; i < 8192; i++) main_tss.io_map[i] = 0;
  end();
}

FLAT(pop_flags, "pushfd; or dword ptr [esp], 0x3200; popfd; pushfd; pop eax; cli");
FLAT(pop_flags_3, "pushfd; or dword ptr [esp], 0x3200; popfd; pushfd; pop eax");
static void flags(void) {
  begin("popf");
  context_flat(0), run_flat(pop_flags), check("0", context.eax & 0x3200, 0x3200);
  context_flat(3), run_flat(pop_flags_3), check("3-iopl-0", context.vector, OK), check("3-unchanged", context.eax & 0x3200, 0);
  context_flat(3), context.eflags |= 0x3000, run_flat(pop_flags_3), check("3-iopl-3", context.eax & 0x3200, 0x3200);
  end();
}

/* Faults of gates last: there is a machine that gives up at some. */
void program_run(void) {
  call_gates();
  far_transfers();
  interrupt_returns();
  far_returns();
  interrupt_gates();
  privileged();
  flags();
  far_transfer_faults();
  far_return_faults();
  interrupt_return_faults();
  interrupt_gate_faults();
  call_gate_faults();
}
