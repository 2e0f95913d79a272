/*
 * Segment protection: what may be loaded into DS and SS, limits of every kind, LDT, and LAR, LSL, VERR, VERW and ARPL.
 * SDM Vol. 3A, "Protection"; Vol. 2, the instructions named.
 */
#include "runtime.h"

const char program_name[] = "segments";

FLAT(load_ds, "mov ds, eax");
FLAT(load_ss, "mov ss, eax");
FLAT(load_fs, "mov fs, eax");
FLAT(pop_ds, "push eax; pop ds");
FLAT(lds, "lds edx, [ebx]");

enum { OK = VECTOR_DONE, GP = 13, NP = 11, SS = 12, TS = 10, UD = 6 };

/* One descriptor and what loading it does: DS at CPL 0 with RPL 0, and with RPL 3; DS at CPL 3 (RPL 3); SS at CPL 0; SS at CPL 3. */
static const struct kind {
  const char *name;
  u8 access, ds0, ds0_rpl3, ds3, ss0, ss3;
  /* The same with RPL 0 and 3: LAR and LSL at CPL 3; VERR, VERW. */
  u8 lar3, lsl3, verr3, verw3, lar0, lsl0, verr0, verw0;
} kinds[] = {
    {"data-read-write-0", 0x92, OK, GP, GP, OK, GP, 0, 0, 0, 0, 1, 1, 1, 1},
    {"data-read-write-3", 0xF2, OK, OK, OK, GP, OK, 1, 1, 1, 1, 1, 1, 1, 1},
    {"data-read-only-3", 0xF0, OK, OK, OK, GP, GP, 1, 1, 1, 0, 1, 1, 1, 0},
    {"data-read-only-0", 0x90, OK, GP, GP, GP, GP, 0, 0, 0, 0, 1, 1, 1, 0},
    {"data-expand-down-0", 0x96, OK, GP, GP, OK, GP, 0, 0, 0, 0, 1, 1, 1, 1},
    {"data-read-write-1", 0xB2, OK, GP, GP, GP, GP, 0, 0, 0, 0, 1, 1, 1, 1},
    {"code-execute-only-0", 0x98, GP, GP, GP, GP, GP, 0, 0, 0, 0, 1, 1, 0, 0},
    {"code-readable-0", 0x9A, OK, GP, GP, GP, GP, 0, 0, 0, 0, 1, 1, 1, 0},
    {"code-readable-3", 0xFA, OK, OK, OK, GP, GP, 1, 1, 1, 0, 1, 1, 1, 0},
    {"code-conforming-0", 0x9E, OK, OK, OK, GP, GP, 1, 1, 1, 0, 1, 1, 1, 0},
    {"code-conforming-execute-only-0", 0x9C, GP, GP, GP, GP, GP, 1, 1, 0, 0, 1, 1, 0, 0},
    {"data-not-present-0", 0x12, NP, GP, GP, SS, GP, 0, 0, 0, 0, 1, 1, 1, 1},
    {"data-not-present-3", 0x72, NP, NP, NP, GP, SS, 1, 1, 1, 1, 1, 1, 1, 1},
    {"tss-16-3", 0xE1, GP, GP, GP, GP, GP, 1, 1, 0, 0, 1, 1, 0, 0},
    {"ldt-3", 0xE2, GP, GP, GP, GP, GP, 1, 1, 0, 0, 1, 1, 0, 0},
    {"tss-16-busy-0", 0x83, GP, GP, GP, GP, GP, 0, 0, 0, 0, 1, 1, 0, 0},
    {"call-gate-16-3", 0xE4, GP, GP, GP, GP, GP, 1, 0, 0, 0, 1, 0, 0, 0},
    {"task-gate-3", 0xE5, GP, GP, GP, GP, GP, 1, 0, 0, 0, 1, 0, 0, 0},
    {"interrupt-gate-16-3", 0xE6, GP, GP, GP, GP, GP, 0, 0, 0, 0, 0, 0, 0, 0},
    {"trap-gate-16-3", 0xE7, GP, GP, GP, GP, GP, 0, 0, 0, 0, 0, 0, 0, 0},
    {"reserved-8-3", 0xE8, GP, GP, GP, GP, GP, 0, 0, 0, 0, 0, 0, 0, 0},
    {"tss-32-3", 0xE9, GP, GP, GP, GP, GP, 1, 1, 0, 0, 1, 1, 0, 0},
    {"tss-32-busy-3", 0xEB, GP, GP, GP, GP, GP, 1, 1, 0, 0, 1, 1, 0, 0},
    {"call-gate-32-3", 0xEC, GP, GP, GP, GP, GP, 1, 0, 0, 0, 1, 0, 0, 0},
    {"interrupt-gate-32-3", 0xEE, GP, GP, GP, GP, GP, 0, 0, 0, 0, 0, 0, 0, 0},
    {"reserved-0-3", 0xE0, GP, GP, GP, GP, GP, 0, 0, 0, 0, 0, 0, 0, 0},
    {"reserved-10-3", 0xEA, GP, GP, GP, GP, GP, 0, 0, 0, 0, 0, 0, 0, 0},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static void load(const char *what, u32 cpl, const u8 *code, u32 selector, u32 vector) {
  context_flat(cpl);
  context.eax = selector;
  run_flat(code);
  check_event(what, vector, selector & 0xFFFC, code);
}

static void loads(void) {
  for (u32 i = 0; i < KINDS; i++) {
    const struct kind *k = &kinds[i];
    begin(k->name);
    for (u32 table = 0; table < 2; table++) {
      u32 selector = table == 0 ? SEL_FREE : 4;
      u64 value = descriptor(0x1000, 0xFFFFF, k->access, FLAG_BIG | FLAG_PAGES);
      if ((k->access & 0x10) == 0) value = descriptor(0x1000, 0x123, k->access, 0);
      if (table == 0) set_gdt(selector, value);
      else ldt[0] = value;
      __asm__ volatile("lldt %w0" ::"r"(SEL_LDT));
      load("ds-0", 0, load_ds, selector, k->ds0);
      load("fs-0-rpl-3", 0, load_fs, selector | 3, k->ds0_rpl3);
      load("ds-3", 3, load_ds, selector | 3, k->ds3);
      if (k->ss0 != OK) load("ss-0", 0, load_ss, selector, k->ss0);
      load("ss-0-rpl-3", 0, load_ss, selector | 3, GP);
      load("ss-3", 3, load_ss, selector | 3, k->ss3);
      load("ss-3-rpl-0", 3, load_ss, selector, GP);
      /* A data or code segment that was loaded has been accessed. */
      u64 now = table == 0 ? gdt[selector >> 3] : ldt[0];
      int was_loaded = k->ds0 == OK || k->ds3 == OK || k->ss3 == OK;
      check("accessed", (u32)(now >> 40) & 0xFF, was_loaded ? k->access | 1u : k->access);
    }
    end();
  }
}

FLAT(lar, "lar edx, eax; setz cl; lar si, ax");
FLAT(lsl, "lsl edx, eax; setz cl");
FLAT(verr, "verr ax; setz cl");
FLAT(verw, "verw ax; setz cl");

static void look(const char *what, u32 cpl, const u8 *code, u32 selector, u32 holds, u32 value) {
  context_flat(cpl);
  context.eax = selector, context.edx = 0x5A5A5A5A, context.ecx = 0xFF;
  run_flat(code);
  check(what, context.vector, OK);
  check(what, context.ecx, holds);
  if (code == lar || code == lsl) check(what, context.edx, holds ? value : 0x5A5A5A5A);
}

static void looks(void) {
  for (u32 i = 0; i < KINDS; i++) {
    const struct kind *k = &kinds[i];
    static char group[64] = "look-at-";
    u32 n = 8;
    for (const char *c = k->name; *c; c++) group[n++] = *c;
    group[n] = '\0';
    begin(group);
    u32 is_system = (k->access & 0x10) == 0;
    set_gdt(SEL_FREE, is_system ? descriptor(0, 0x123, k->access, 1) : descriptor(0, 0x12345, k->access, 0xD));
    /* LAR gives access byte and flags (bits 23:8; bits 19:16 are undefined: the limit's, in every processor). */
    u32 rights = k->access << 8 | (is_system ? 0x100000 : 0xD00000);
    u32 limit = is_system ? 0x123 : 0x12345FFF;
    for (u32 cpl = 0; cpl <= 3; cpl += 3) {
      u32 selector = SEL_FREE | cpl;
      context_flat(cpl);
      context.eax = selector, context.edx = 0x5A5A5A5A, context.ecx = 0xFF;
      run_flat(lar);
      check("lar-zf", context.ecx, cpl ? k->lar3 : k->lar0);
      if (context.ecx == 1) {
        check("lar", context.edx & 0xF0FF00, rights);
        check("lar-16", context.esi, k->access << 8);
      } else check("lar-none", context.edx, 0x5A5A5A5A);
      look("lsl", cpl, lsl, selector, cpl ? k->lsl3 : k->lsl0, limit);
      look("verr", cpl, verr, selector, cpl ? k->verr3 : k->verr0, 0);
      look("verw", cpl, verw, selector, cpl ? k->verw3 : k->verw0, 0);
    }
    end();
  }
  begin("look-at-nothing");
  look("null-lar", 0, lar, 0, 0, 0);
  look("null-lsl", 0, lsl, 3, 0, 0);
  look("null-verr", 0, verr, 0, 0, 0);
  look("beyond-lar", 0, lar, 0xFFF8, 0, 0);
  look("beyond-verw", 3, verw, 0xFFFB, 0, 0);
  end();
}

FLAT(arpl, "arpl cx, ax; setz bl");
static void adjusts(void) {
  begin("arpl");
  for (u32 from = 0; from < 4; from++)
    for (u32 to = 0; to < 4; to++) {
      context_flat(3);
      context.eax = 0x20 | from, context.ecx = 0xABCD1230 | to, context.ebx = 0;
      run_flat(arpl);
      check("vector", context.vector, OK);
      check("zf", context.ebx, to < from);
      check("rpl", context.ecx, 0xABCD1230 | (to < from ? from : to));
    }
  end();
}

FLAT(null_read, "xor eax, eax; mov ds, eax; nop; mov ecx, ds:[0x2000]");
FLAT(null_write_fs, "xor eax, eax; mov fs, eax; nop; mov fs:[0x2000], ecx");
FLAT(load_null_ss, "xor eax, eax; mov ss, eax");
FLAT(read_code, "mov ecx, cs:[0x2000]");
FLAT(write_code, "mov cs:[0x2000], ecx");
FLAT(write_ds, "mov ds, eax; mov [0x2000], ecx");
FLAT(read_ds, "mov ds, eax; mov ecx, [0x2000]");

static void types(void) {
  begin("null-segments");
  context_flat(0), run_flat(null_read), check_event("read", GP, 0, 0);
  context_flat(3), run_flat(null_read), check_event("read-3", GP, 0, 0);
  context_flat(0), run_flat(null_write_fs), check_event("write-fs", GP, 0, 0);
  context_flat(0), run_flat(load_null_ss), check_event("ss", GP, 0, 0);
  context_flat(3), run_flat(load_null_ss), check_event("ss-3", GP, 0, 0);
  context_flat(0), context.eax = 0x3F8 | (GDT_ENTRIES << 3), run_flat(load_ds);
  check_event("beyond-table", GP, 0x3F8 | (GDT_ENTRIES << 3), load_ds);
  __asm__ volatile("lldt %w0" ::"r"(0));
  context_flat(0), context.eax = 4, run_flat(load_ds), check_event("no-ldt", GP, 4, load_ds);
  context_flat(0), context.eax = SEL_DATA, context.ebx = DATA_BASE, *data32(0) = 0x1234, *data32(4) = SEL_FREE | 7;
  run_flat(lds), check_event("lds-no-ldt", GP, SEL_FREE | 4, lds), check("lds-edx", context.edx, 0);
  context_flat(0), context.eax = 0xFFF8, run_flat(pop_ds), check_event("pop", GP, 0xFFF8, pop_ds + 1);
  check("pop-esp", context.esp, (u32)flat_stack_top - 4);
  end();
  begin("types");
  context_flat(0), run_flat(read_code), check_event("read-code", OK, 0, 0);
  context_flat(0), run_flat(write_code), check_event("write-code", GP, 0, write_code);
  set_gdt(SEL_FREE, descriptor(0, 0xFFFFF, 0x90, 0xC));
  context_flat(0), context.eax = SEL_FREE, run_flat(read_ds), check_event("read-read-only", OK, 0, 0);
  context_flat(0), context.eax = SEL_FREE, run_flat(write_ds), check_event("write-read-only", GP, 0, 0);
  end();
}

/* Limits: the last byte that may be read by each size, in expand-up and expand-down segments. */
FLAT(read_byte, "mov fs, eax; mov cl, fs:[ebx]");
FLAT(read_word, "mov fs, eax; mov cx, fs:[ebx]");
FLAT(read_dword, "mov fs, eax; mov ecx, fs:[ebx]");
FLAT(write_dword, "mov fs, eax; mov fs:[ebx], ecx");
FLAT(add_dword, "mov fs, eax; add fs:[ebx], ecx");

static void limit(const char *what, u32 offset, u32 bytes, int is_allowed) {
  const u8 *code = bytes == 1 ? read_byte : bytes == 2 ? read_word : read_dword;
  context_flat(3), context.eax = SEL_FREE | 3, context.ebx = offset;
  run_flat(code), check_event(what, is_allowed ? OK : GP, 0, is_allowed ? 0 : code + 2);
  if (bytes != 4) return;
  context_flat(0), context.eax = SEL_FREE, context.ebx = offset;
  run_flat(write_dword), check_event(what, is_allowed ? OK : GP, 0, is_allowed ? 0 : write_dword + 2);
  context_flat(0), context.eax = SEL_FREE, context.ebx = offset;
  run_flat(add_dword), check_event(what, is_allowed ? OK : GP, 0, is_allowed ? 0 : add_dword + 2);
}

static void limits(void) {
  static const u32 ends[] = {0, 1, 3, 0x7FF, 0xFFE, 0xFFF, 0x1000, 0xFFFF};
  begin("limit-expand-up");
  for (u32 i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    u32 last = ends[i];
    set_gdt(SEL_FREE, descriptor(DATA_BASE, last, 0xF2, FLAG_BIG));
    for (u32 bytes = 1; bytes <= 4; bytes *= 2)
      for (u32 offset = last > 6 ? last - 6 : 0; offset < last + 6; offset++)
        limit("access", offset, bytes, offset + bytes - 1 <= last);
    limit("top", 0xFFFFFFFF, 1, 0);
    limit("wrap", 0xFFFFFFFE, 4, 0);
  }
  end();
  begin("limit-pages");
  set_gdt(SEL_FREE, descriptor(DATA_BASE, 1, 0xF2, FLAG_BIG | FLAG_PAGES));
  for (u32 offset = 0x1FF8; offset < 0x2004; offset++)
    for (u32 bytes = 1; bytes <= 4; bytes *= 2) limit("access", offset, bytes, offset + bytes - 1 <= 0x1FFF);
  end();
  begin("limit-expand-down-32");
  set_gdt(SEL_FREE, descriptor(0, 0x1234, 0xF6, FLAG_BIG));
  for (u32 offset = 0x122E; offset < 0x123C; offset++)
    for (u32 bytes = 1; bytes <= 4; bytes *= 2) limit("access", offset, bytes, offset > 0x1234);
  limit("beyond-64k", 0x30000, 4, 1);
  end();
  begin("limit-expand-down-16");
  set_gdt(SEL_FREE, descriptor(DATA_BASE, 0x1234, 0xF6, 0));
  for (u32 offset = 0x122E; offset < 0x123C; offset++)
    for (u32 bytes = 1; bytes <= 4; bytes *= 2) limit("access", offset, bytes, offset > 0x1234);
  for (u32 offset = 0xFFFA; offset < 0x10002; offset++)
    for (u32 bytes = 1; bytes <= 4; bytes *= 2) limit("end", offset, bytes, offset + bytes - 1 <= 0xFFFF);
  end();
}

/* Stack segments: 16-bit pointers wrap at 64 KiB, limits are #SS(0). */
FLAT(push_stack, "push eax");
FLAT(pop_stack, "pop eax");
FLAT(call_stack, "call 1f; 1: nop");
FLAT(enter_stack, "enter 0x20, 0");
FLAT(pusha_stack, "pushad");
static void stack(const char *what, const u8 *code, u32 access, u32 limit_, u32 flags, u32 esp, u32 vector, u32 esp_after) {
  set_gdt(SEL_FREE, descriptor(STACK_BASE, limit_, access, flags));
  context_flat(3);
  context.ss = SEL_FREE | 3, context.esp = esp;
  run_flat(code);
  check_event(what, vector, 0, 0);
  u32 mask = flags & FLAG_BIG ? 0xFFFFFFFF : 0xFFFF;
  check(what, context.esp & mask, esp_after & mask);
}
static void stacks(void) {
  begin("stack-limits");
  stack("push", push_stack, 0xF2, 0xFFF, FLAG_BIG, 0x1000, OK, 0xFFC);
  stack("push-beyond", push_stack, 0xF2, 0xFFF, FLAG_BIG, 0x1001, SS, 0x1001);
  stack("push-at-0", push_stack, 0xF2, 0xFFF, FLAG_BIG, 0, SS, 0);
  stack("push-at-4", push_stack, 0xF2, 0xFFF, FLAG_BIG, 4, OK, 0);
  stack("push-at-2", push_stack, 0xF2, 0xFFF, FLAG_BIG, 2, SS, 2);
  stack("pop", pop_stack, 0xF2, 0xFFF, FLAG_BIG, 0xFFC, OK, 0x1000);
  stack("pop-beyond", pop_stack, 0xF2, 0xFFF, FLAG_BIG, 0xFFD, SS, 0xFFD);
  stack("call", call_stack, 0xF2, 0xFFF, FLAG_BIG, 0, SS, 0);
  stack("pushad", pusha_stack, 0xF2, 0xFFF, FLAG_BIG, 28, SS, 28);
  stack("pushad-fits", pusha_stack, 0xF2, 0xFFF, FLAG_BIG, 32, OK, 0);
  stack("push-16-wraps", push_stack, 0xF2, 0xFFFF, 0, 0, OK, 0xFFFC);
  stack("pop-16-wraps", pop_stack, 0xF2, 0xFFFF, 0, 0xFFFC, OK, 0);
  stack("down", push_stack, 0xF6, 0xFFF, FLAG_BIG, 0x1004, OK, 0x1000);
  stack("down-limit", push_stack, 0xF6, 0xFFF, FLAG_BIG, 0x1003, SS, 0x1003);
  end();
}

void program_run(void) {
  loads();
  looks();
  adjusts();
  types();
  limits();
  stacks();
}
