/*
 * What each 32-bit benchmark kernel is made of: one function that does `n` rounds of a fixed computation and returns
 * a checksum of its result. bench.c calls it, prints `RESULT name checksum` on COM1 and stops.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;

/** The name in the RESULT line. */
extern const char bench_name[];

/** Rounds if the command line has no `n=`: some 100 to 200 million instructions. */
extern const u32 bench_default_rounds;

/** Does the work. Equal `n` must give equal checksums on every machine. */
u32 bench_run(u32 n);

/** A linear congruential generator (Numerical Recipes' constants): the next of a fixed sequence of numbers. */
static inline u32 next_random(u32 *state) { return *state = *state * 1664525 + 1013904223; }

/** One step of FNV-1a over 32-bit words. */
static inline u32 mix(u32 checksum, u32 word) { return (checksum ^ word) * 16777619; }
#define MIX_START 2166136261u

#endif
