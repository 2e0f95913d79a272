/*
 * What each CPU has for itself, reached through GS: its identity, its stacks, its descriptor tables and its
 * counters. A counter is one INC with a GS prefix, so counting costs no lock and no lookup.
 */
#ifndef PERCPU_H
#define PERCPU_H

#include "types.h"

#define MAX_CPUS 32

/** What this kernel has done so far; only ever counted up. */
struct counters {
  u64 ports_in;     /* IN instructions (one for each transfer of a string instruction) */
  u64 ports_out;    /* OUT instructions */
  u64 ide_in;       /* of those, to a port of the IDE function: command, control or bus-master block */
  u64 ide_out;
  u64 eois;         /* writes to the local APIC's EOI register */
  u64 pic_eois;     /* EOI commands to the 8259s (each is also counted in ports_out) */
  u64 hlts;         /* HLT instructions */
  u64 ipis;         /* writes to the interrupt command register */
  u64 mmio;         /* accesses to memory-mapped device registers, the local APIC's excepted */
  u64 apic;         /* accesses to local APIC registers (EOI and ICR too), and writes of IA32_TSC_DEADLINE */
  u64 irqs[256];    /* interrupts and exceptions taken, by vector */
};

/** 64-bit TSS (SDM Vol. 3A, "TSS Descriptor in 64-bit mode"). */
struct __attribute__((packed)) tss {
  u32 reserved0;
  u64 rsp[3];
  u64 reserved1;
  u64 ist[7];
  u64 reserved2;
  u16 reserved3;
  u16 io_map_base;
};

struct cpu {
  struct cpu *self; /* first, so that %gs:0 is a pointer to this structure */
  u32 index;        /* 0 is the CPU that booted */
  u32 apic_id;
  volatile bool online;
  /* One call at a time can be waiting for a CPU; see smp.c. */
  void (*volatile call_function)(void *);
  void *volatile call_argument;
  struct counters counters;
  u64 gdt[6];
  struct tss tss;
};

extern struct cpu cpus[MAX_CPUS];
extern u32 cpu_count; /* CPUs online, at least 1 */

/** This CPU's structure in the GS segment: use it for single fields, e.g. PERCPU->counters.hlts++. */
#define PERCPU ((struct cpu __seg_gs *)0)

/** A pointer to this CPU's structure. */
static inline struct cpu *this_cpu(void) { return PERCPU->self; }

/** HLT with interrupts enabled by STI's one-instruction shadow, so that no wake-up is lost; returns with IF = 0. */
static inline void wait_for_interrupt(void) {
  PERCPU->counters.hlts++;
  __asm__ volatile("sti; hlt; cli" ::: "memory");
}

/** Adds up the counters of all CPUs into `sum`. */
void counters_sum(struct counters *sum);

#endif
