/*
 * Reports on COM1: `PASS group checks=n`, or a line `FAIL group/check expected=… got=…` for each check that failed.
 */
#ifndef REPORT_H
#define REPORT_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
/* As wide as a register. */
typedef unsigned long word;

/* What a program is. */
extern const char program_name[];
void program_run(void);

void report_start(void);
void print(const char *text);
void print_hex(word value, int digits);
void begin(const char *group);
/* Counts a check, and reports a difference. */
void check(const char *what, word got, word expected);
void end(void);
/* One step of FNV-1a over 32-bit words. */
static inline u32 mix(u32 digest, u32 word) { return (digest ^ word) * 16777619; }
#define MIX_START 2166136261u
/* `DIGEST name value`: for machines to compare. */
void report_digest(const char *name, u32 digest);
/* Ends the program: debug-exit port, Bochs' shutdown port, halt. */
void finish(void) __attribute__((noreturn));
void outb(u16 port, u8 value);
u8 inb(u16 port);
/* Ends the program at an exception that no test asked for. */
void report_panic(word vector, word error, word ip, word cr2) __attribute__((noreturn));

void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

#endif
