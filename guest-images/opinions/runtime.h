/*
 * The frame of the 32-bit test programs: reports on COM1, descriptors, and running code under test.
 *
 * A program is one C file with `program_run`. Expectations are Intel's manual's.
 */
#ifndef RUNTIME_H
#define RUNTIME_H

#include "layout.h"
#include "report.h"

/* --- code under test --- */
struct context {
  u32 edi, esi, ebp, esp, ebx, edx, ecx, eax, gs, fs, es, ds, eip, cs, eflags, ss;
  u32 vector, error, cr2;
};
_Static_assert(sizeof(struct context) == CTX_BYTES, "layout.h");
extern volatile struct context context;
/* What the last interrupt or exception pushed: EIP and up. In protected mode alone. */
extern const u32 *frame;
/* As `context`, but without the runtime's own wishes: enter what `context` says, in the current tables. */
void enter(void);
void enter_real(void);

/* The places where code of 16-bit and 32-bit segments is tested. All have the segments CODE_BASE, DATA_BASE, STACK_BASE. */
enum place { REAL, VIRTUAL86, PROTECTED16, PROTECTED32, PLACES };
extern const char *const place_names[PLACES];

/* Resets `context` for a place: IP 0, SP PROGRAM_SP, everything else 0, IF clear, IOPL 3. */
void context_for(enum place place);
/* Runs from there until INT 40H or a fault; returns the vector. */
u32 run(enum place place);
/* Puts code at CODE_BASE + offset, INT 40H behind it. Returns the offset behind. */
u32 put_code(u32 offset, const u8 *bytes, u32 count);

/* Assembles a piece of code into constants NAME and NAME_end. */
#define ASSEMBLE(name, bits, text)                                                                       \
  __asm__(".pushsection .rodata\n .code" #bits "\n .intel_syntax noprefix\n" #name ":\n" text "\n" #name \
          "_end:\n .att_syntax\n .code32\n .popsection");                                                \
  extern const u8 name[], name##_end[]
#define PUT(name) put_code(0, name, (u32)(name##_end - name))

/* A piece of 32-bit code in flat segments, with INT 40H behind it. */
#define FLAT(name, text) ASSEMBLE(name, 32, text "; int 0x40")
/* Resets `context` for flat segments at a privilege level of 0 or 3, with a stack of its own. */
void context_flat(u32 cpl);
/* Runs flat code; registers are those of `context`. Returns the vector. */
u32 run_flat(const u8 *code);
/* The end of the stack that flat code has. */
extern u8 flat_stack_top[];
/* Notes vector and error code; for a fault, that EIP is at `at` (0: not looked at). */
void check_event(const char *what, u32 vector, u32 error, const u8 *at);

#define data_bytes ((volatile u8 *)DATA_BASE)
#define stack_bytes ((volatile u8 *)STACK_BASE)
#define code_bytes ((volatile u8 *)CODE_BASE)
static inline volatile u32 *data32(u32 offset) { return (volatile u32 *)(DATA_BASE + offset); }
static inline volatile u16 *data16(u32 offset) { return (volatile u16 *)(DATA_BASE + offset); }

/* --- descriptors --- */
struct __attribute__((packed)) pointer {
  u16 limit;
  u32 base;
};
struct tss32 {
  u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss,
      ds, fs, gs, ldt;
  u16 trap, io_base;
};
extern u64 gdt[GDT_ENTRIES], idt[256], ldt[8];
extern struct pointer idt_pointer;
extern struct main_tss {
  struct tss32 tss;
  u8 io_map[8193];
} main_tss;

#define MAIN_TSS_BYTES (offsetof(struct main_tss, io_map) + sizeof main_tss.io_map)

#define DPL(n) ((n) << 5)
#define CODE_READABLE 0x9A
#define DATA_WRITABLE 0x92
#define FLAG_BIG 4      /* D or B */
#define FLAG_PAGES 8    /* G */
u64 descriptor(u32 base, u32 limit, u32 access, u32 flags);
/* `type`: P, DPL and type: 8EH interrupt gate, 8FH trap gate, 85H task gate, 8CH call gate … */
u64 gate(u32 selector, u32 offset, u32 type, u32 parameters);
static inline void set_gdt(u32 selector, u64 value) { gdt[selector >> 3] = value; }
/* The runtime's own gate for a vector. */
void reset_gate(u32 vector, u32 dpl);
u32 trap_stub(u32 vector);

#define FLAG_CF 1u
#define FLAG_PF 4u
#define FLAG_AF 0x10u
#define FLAG_ZF 0x40u
#define FLAG_SF 0x80u
#define FLAG_TF 0x100u
#define FLAG_IF 0x200u
#define FLAG_DF 0x400u
#define FLAG_OF 0x800u
#define FLAG_IOPL3 0x3000u
#define FLAG_NT 0x4000u
#define FLAG_RF 0x10000u
#define FLAG_VM 0x20000u
#define FLAG_AC 0x40000u
#define ARITHMETIC_FLAGS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

static inline u32 read_cr0(void) {
  u32 value;
  __asm__ volatile("mov %%cr0, %0" : "=r"(value));
  return value;
}
static inline void write_cr0(u32 value) { __asm__ volatile("mov %0, %%cr0" ::"r"(value) : "memory"); }
static inline u32 read_cr4(void) {
  u32 value;
  __asm__ volatile("mov %%cr4, %0" : "=r"(value));
  return value;
}
static inline void write_cr4(u32 value) { __asm__ volatile("mov %0, %%cr4" ::"r"(value) : "memory"); }
static inline void write_cr3(u32 value) { __asm__ volatile("mov %0, %%cr3" ::"r"(value) : "memory"); }
static inline void cpuid(u32 leaf, u32 subleaf, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx) {
  __asm__ volatile("cpuid" : "=a"(*eax), "=b"(*ebx), "=c"(*ecx), "=d"(*edx) : "a"(leaf), "c"(subleaf));
}

#endif
