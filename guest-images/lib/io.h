/*
 * Port access and memory-mapped registers. Every access of this kernel goes through these functions, which count it:
 * a hypervisor's table of exits is compared with these counts.
 */
#ifndef IO_H
#define IO_H

#include "cpu.h"
#include "percpu.h"

/** Where the IDE function's bus-master registers are (set by the driver); 0 if there are none. */
extern u16 ide_bus_master_base;

/** Is `port` one of the IDE function's? Both channels' command and control blocks, and the bus-master block. */
static inline bool is_ide_port(u16 port) {
  return (port & ~0x87) == 0x170 || (port & ~0x80) == 0x376 ||
         (ide_bus_master_base != 0 && (u16)(port - ide_bus_master_base) < 16);
}

static inline void count_in(u16 port, u64 transfers) {
  PERCPU->counters.ports_in += transfers;
  if (is_ide_port(port)) PERCPU->counters.ide_in += transfers;
}

static inline void count_out(u16 port, u64 transfers) {
  PERCPU->counters.ports_out += transfers;
  if (is_ide_port(port)) PERCPU->counters.ide_out += transfers;
}

#define DEFINE_PORT_ACCESS(suffix, type)                                                                            \
  static inline type in##suffix(u16 port) {                                                                         \
    type value;                                                                                                     \
    count_in(port, 1);                                                                                              \
    __asm__ volatile("in" #suffix " %w1, %0" : "=a"(value) : "Nd"(port) : "memory");                                \
    return value;                                                                                                   \
  }                                                                                                                 \
  static inline void out##suffix(u16 port, type value) {                                                            \
    count_out(port, 1);                                                                                             \
    __asm__ volatile("out" #suffix " %0, %w1" ::"a"(value), "Nd"(port) : "memory");                                 \
  }

DEFINE_PORT_ACCESS(b, u8)
DEFINE_PORT_ACCESS(w, u16)
DEFINE_PORT_ACCESS(l, u32)

/** Reads `count` words with REP INSW. Counted as `count` accesses: each iteration is one. */
static inline void insw(u16 port, void *buffer, u64 count) {
  count_in(port, count);
  __asm__ volatile("rep insw" : "+D"(buffer), "+c"(count) : "d"(port) : "memory");
}

/** Writes `count` words with REP OUTSW. */
static inline void outsw(u16 port, const void *buffer, u64 count) {
  count_out(port, count);
  __asm__ volatile("rep outsw" : "+S"(buffer), "+c"(count) : "d"(port) : "memory");
}

/** Memory-mapped device registers: one counted access of exactly this width, in program order. */
#define DEFINE_MMIO_ACCESS(width, type)                                                                             \
  static inline type mmio_read##width(u64 address) {                                                                \
    PERCPU->counters.mmio++;                                                                                        \
    return *(volatile type *)(uintptr_t)address;                                                                    \
  }                                                                                                                 \
  static inline void mmio_write##width(u64 address, type value) {                                                   \
    PERCPU->counters.mmio++;                                                                                        \
    *(volatile type *)(uintptr_t)address = value;                                                                   \
  }

DEFINE_MMIO_ACCESS(8, u8)
DEFINE_MMIO_ACCESS(16, u16)
DEFINE_MMIO_ACCESS(32, u32)
DEFINE_MMIO_ACCESS(64, u64)

#endif
