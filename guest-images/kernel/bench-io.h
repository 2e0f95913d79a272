/* Verbs that read and write disks, and the line that reports what a benchmark did. */
#ifndef BENCH_IO_H
#define BENCH_IO_H

#include "script.h"

void verb_seq(const struct arguments *arguments);
void verb_rand(const struct arguments *arguments);
void verb_busy(const struct arguments *arguments);
void verb_ideread(const struct arguments *arguments);
void verb_write(const struct arguments *arguments);
void verb_flush(const struct arguments *arguments);
void verb_discard(const struct arguments *arguments);
void verb_writezeroes(const struct arguments *arguments);
void verb_beyond(const struct arguments *arguments);
void verb_getid(const struct arguments *arguments);

/** Prints ` name=value` for each counter that moved between two sums: ports, interrupts by vector, EOIs, HLTs, IPIs. */
struct counters;
void print_counter_deltas(const struct counters *before, const struct counters *after);

#endif
