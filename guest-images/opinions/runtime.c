#include "runtime.h"

extern u8 trap_stubs[], low_stub_address[];
extern volatile u32 is_entered, trap_esp, trap_ss;
extern u8 trap_stack_top[];

u64 gdt[GDT_ENTRIES] __attribute__((aligned(8))), idt[256] __attribute__((aligned(8))), ldt[8];
struct main_tss main_tss;
struct pointer idt_pointer = {sizeof idt - 1, (u32)idt};
static struct pointer gdt_pointer = {sizeof gdt - 1, (u32)gdt};
const u32 *frame;
const char *const place_names[PLACES] = {"real", "v86", "pm16", "pm32"};

/* --- descriptors --- */
u64 descriptor(u32 base, u32 limit, u32 access, u32 flags) {
  u32 low = (limit & 0xFFFF) | base << 16;
  u32 high = (base >> 16 & 0xFF) | access << 8 | (limit & 0xF0000) | flags << 20 | (base & 0xFF000000);
  return (u64)high << 32 | low;
}

u64 gate(u32 selector, u32 offset, u32 type, u32 parameters) {
  return (u64)((offset & 0xFFFF0000) | type << 8 | parameters) << 32 | (offset & 0xFFFF) | selector << 16;
}

u32 trap_stub(u32 vector) { return (u32)trap_stubs + 16 * vector; }
void reset_gate(u32 vector, u32 dpl) { idt[vector] = gate(SEL_CODE32, trap_stub(vector), 0x8E | DPL(dpl), 0); }

static void set_up_tables(void) {
  set_gdt(SEL_CODE32, descriptor(0, 0xFFFFF, CODE_READABLE, FLAG_BIG | FLAG_PAGES));
  set_gdt(SEL_DATA, descriptor(0, 0xFFFFF, DATA_WRITABLE, FLAG_BIG | FLAG_PAGES));
  set_gdt(SEL_CODE16_0, descriptor(0, 0xFFFF, CODE_READABLE, 0));
  set_gdt(SEL_DATA16_0, descriptor(0, 0xFFFF, DATA_WRITABLE, 0));
  set_gdt(SEL_TSS, descriptor((u32)&main_tss, MAIN_TSS_BYTES - 1, 0x89, 0));
  set_gdt(SEL_LDT, descriptor((u32)ldt, sizeof ldt - 1, 0x82, 0));
  set_gdt(SEL_USER_CODE32, descriptor(0, 0xFFFFF, CODE_READABLE | DPL(3), FLAG_BIG | FLAG_PAGES));
  set_gdt(SEL_USER_DATA, descriptor(0, 0xFFFFF, DATA_WRITABLE | DPL(3), FLAG_BIG | FLAG_PAGES));
  set_gdt(SEL_PROGRAM_CODE16, descriptor(CODE_BASE, 0xFFFF, CODE_READABLE | DPL(3), 0));
  set_gdt(SEL_PROGRAM_CODE32, descriptor(CODE_BASE, 0xFFFF, CODE_READABLE | DPL(3), FLAG_BIG));
  set_gdt(SEL_PROGRAM_DATA, descriptor(DATA_BASE, 0xFFFF, DATA_WRITABLE | DPL(3), 0));
  set_gdt(SEL_PROGRAM_STACK16, descriptor(STACK_BASE, 0xFFFF, DATA_WRITABLE | DPL(3), 0));
  set_gdt(SEL_PROGRAM_STACK32, descriptor(STACK_BASE, 0xFFFF, DATA_WRITABLE | DPL(3), FLAG_BIG));
  for (u32 vector = 0; vector < 256; vector++) reset_gate(vector, 0);
  reset_gate(3, 3);
  reset_gate(4, 3);
  reset_gate(VECTOR_DONE, 3);
  main_tss.tss.ss0 = SEL_DATA;
  main_tss.tss.esp0 = (u32)trap_stack_top;
  main_tss.tss.io_base = offsetof(struct main_tss, io_map);
  main_tss.io_map[8192] = 0xFF; /* beyond the last port, as the processor reads two bytes */
  u16 *vectors = (u16 *)0;
  for (u32 vector = 0; vector <= VECTOR_DONE; vector++) {
    __asm__ volatile("" : "+r"(vectors));
    vectors[2 * vector] = (u16)((u32)low_stub_address + 8 * vector);
    vectors[2 * vector + 1] = 0;
  }
  __asm__ volatile("lgdt %0; lidt %1; lldt %w2; ltr %w3" ::"m"(gdt_pointer), "m"(idt_pointer), "r"(0), "r"(SEL_TSS));
}

/* --- code under test --- */
void trap_record(const u32 *saved);
void trap_record(const u32 *saved) {
  /* gs fs es ds, edi esi ebp esp ebx edx ecx eax, vector error eip cs eflags (esp ss (es ds fs gs)) */
  u32 vector = saved[12], eflags = saved[16], cs = saved[15];
  if (!is_entered) {
    report_panic(vector, saved[13], saved[14], context.cr2);
  }
  volatile struct context *c = &context;
  c->gs = saved[0] & 0xFFFF, c->fs = saved[1] & 0xFFFF, c->es = saved[2] & 0xFFFF, c->ds = saved[3] & 0xFFFF;
  c->edi = saved[4], c->esi = saved[5], c->ebp = saved[6], c->ebx = saved[8], c->edx = saved[9];
  c->ecx = saved[10], c->eax = saved[11];
  c->vector = vector, c->error = saved[13], c->eip = saved[14], c->cs = cs & 0xFFFF, c->eflags = eflags;
  frame = saved + 14;
  if (eflags & FLAG_VM) {
    c->esp = saved[17], c->ss = saved[18] & 0xFFFF, c->es = saved[19] & 0xFFFF, c->ds = saved[20] & 0xFFFF;
    c->fs = saved[21] & 0xFFFF, c->gs = saved[22] & 0xFFFF;
  } else if (cs & 3) {
    c->esp = saved[17], c->ss = saved[18] & 0xFFFF;
  } else {
    c->esp = (u32)(saved + 17), c->ss = trap_ss;
  }
}

void context_for(enum place place) {
  u8 *bytes = (u8 *)&context;
  for (u32 i = 0; i < sizeof context; i++) ((volatile u8 *)bytes)[i] = 0;
  volatile struct context *c = &context;
  c->esp = PROGRAM_SP;
  c->eflags = 2 | FLAG_IOPL3;
  if (place == PROTECTED16 || place == PROTECTED32) {
    c->cs = place == PROTECTED16 ? SEL_PROGRAM_CODE16 : SEL_PROGRAM_CODE32;
    c->ss = place == PROTECTED16 ? SEL_PROGRAM_STACK16 : SEL_PROGRAM_STACK32;
    c->ds = c->es = SEL_PROGRAM_DATA;
    return;
  }
  c->cs = CODE_BASE >> 4;
  c->ss = STACK_BASE >> 4;
  c->ds = c->es = DATA_BASE >> 4;
  if (place == VIRTUAL86) c->eflags |= FLAG_VM;
}

u32 run(enum place place) {
  if (place == REAL) enter_real();
  else enter();
  return context.vector;
}

extern u8 flat_stack[8192];
u8 flat_stack[8192] __attribute__((aligned(16)));
__asm__(".globl flat_stack_top\n.set flat_stack_top, flat_stack + 8192 - 512");

void context_flat(u32 cpl) {
  context_for(PROTECTED32);
  volatile struct context *c = &context;
  c->eflags = 2;
  c->cs = cpl == 0 ? SEL_CODE32 : SEL_USER_CODE32;
  c->ss = c->ds = c->es = cpl == 0 ? SEL_DATA : SEL_USER_DATA;
  c->esp = (u32)flat_stack + sizeof flat_stack - 512;
}

u32 run_flat(const u8 *code) {
  context.eip = (u32)code;
  enter();
  return context.vector;
}

void check_event(const char *what, u32 vector, u32 error, const u8 *at) {
  check(what, context.vector, vector);
  if (context.vector != vector || vector == VECTOR_DONE) return;
  check(what, context.error, error);
  if (at) check(what, context.eip, (u32)at);
}

u32 put_code(u32 offset, const u8 *bytes, u32 count) {
  for (u32 i = 0; i < count; i++) code_bytes[offset++] = bytes[i];
  code_bytes[offset] = 0xCD;
  code_bytes[offset + 1] = VECTOR_DONE;
  return offset;
}

void program_main(void);
void program_main(void) {
  set_up_tables();
  report_start();
  program_run();
  finish();
}
