/* Exceptions and interrupts: the IDT, handlers by vector, and what happens when nobody handles one. */
#ifndef TRAPS_H
#define TRAPS_H

#include "cpu.h"
#include "percpu.h"

#define VECTOR_DE 0
#define VECTOR_NMI 2
#define VECTOR_BP 3
#define VECTOR_UD 6
#define VECTOR_DF 8
#define VECTOR_NP 11
#define VECTOR_GP 13
#define VECTOR_PF 14

/* Our own use of the vectors above the exceptions. */
#define VECTOR_PIC 0x20        /* 8259 inputs 0-15 */
#define VECTOR_IOAPIC 0x30     /* I/O APIC inputs 0-31 */
#define VECTOR_MSIX 0x50       /* MSI-X vectors are given out from here … */
#define VECTOR_MSIX_LAST 0x9F  /* … to here */
#define VECTOR_TIMER 0xF0      /* local APIC timer */
#define VECTOR_CALL 0xF1       /* run a function on another CPU */
#define VECTOR_SELF 0xF2       /* IPI to oneself (micro-benchmarks) */
#define VECTOR_ERROR 0xF3      /* local APIC error */
#define VECTOR_SPURIOUS 0xFF

/** The stack as vectors.S leaves it: general registers, vector, error code, and what the CPU pushed. */
struct trap_frame {
  u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
  u64 vector, error_code;
  u64 rip, cs, rflags, rsp, ss;
};

/** Called with IF = 0; the handler of an interrupt must send the EOI itself. */
typedef void (*trap_handler)(struct trap_frame *frame);

/** Builds the IDT, the same for all CPUs. */
void traps_init(void);

/** Loads this CPU's GDT, TSS (with separate stacks for #DF and NMI), the IDT and GS. */
void traps_init_cpu(struct cpu *cpu);

/** Installs a handler for a vector; 0 removes it. */
void trap_set_handler(u8 vector, trap_handler handler);

/** What the last exception caught by try_… was. */
struct caught_exception {
  u64 vector, error_code, rip, cr2;
};

/**
 * Calls function(argument); if it raises an exception, comes back here instead.
 *
 * Only one call can be under way, on one CPU, and the function must hold no lock.
 *
 * @returns true if an exception was caught; *caught then says which
 */
bool try_call(void (*function)(void *), void *argument, struct caught_exception *caught);

/** Prints a message, stops all and exits through the debug-exit port with DEBUG_EXIT_PANIC. */
void panic(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/** Status that the debug-exit port receives when the kernel gives up. */
#define DEBUG_EXIT_PANIC 127

/** Writes to isa-debug-exit at F4H; a machine that has one ends there with status (code << 1) | 1. */
void debug_exit(u32 code);

/** Halts this CPU for ever. */
void halt_forever(void) __attribute__((noreturn));

#endif
