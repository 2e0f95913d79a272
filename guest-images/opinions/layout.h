/* Where things are: read by the C and the assembly sources and by the linker script. */
#ifndef LAYOUT_H
#define LAYOUT_H

/* Below 1 MiB, where all modes reach. LOW_CODE holds the way into real-address mode and out of it. */
#define LOW_PAGE_TABLES 0x50000 /* and 10H pages up: free for paging tests */
#define LOW_CODE 0x8000
#define REAL_STACK 0x7F00
/* The three 64-KiB segments of a program under test, the same addresses in every mode. */
#define CODE_BASE 0x20000
#define DATA_BASE 0x30000
#define STACK_BASE 0x40000
#define PROGRAM_SP 0x8000

/*
 * What a program has computed, for comparisons of memory (test/differential/v86.test.ts): for each group a hash of its name and a
 * digest of its values; from RESULTS_RAW on, whatever else a program leaves.
 */
#define RESULTS_BASE 0x200000
#define RESULTS_RAW 0x208000
#define RESULTS_END 0x220000

/* Selectors. */
#define SEL_CODE32 0x08
#define SEL_DATA 0x10
#define SEL_CODE16_0 0x18 /* 16-bit, base 0: the way to real-address mode */
#define SEL_DATA16_0 0x20
#define SEL_TSS 0x28
#define SEL_TSS_B 0x30
#define SEL_TSS_C 0x38
#define SEL_LDT 0x40
#define SEL_USER_CODE32 0x4B /* flat */
#define SEL_USER_DATA 0x53
#define SEL_PROGRAM_CODE16 0x5B /* CODE_BASE and so on, 64 KiB, DPL 3 */
#define SEL_PROGRAM_CODE32 0x63
#define SEL_PROGRAM_DATA 0x6B
#define SEL_PROGRAM_STACK16 0x73
#define SEL_PROGRAM_STACK32 0x7B
#define SEL_FREE 0x80 /* from here up: the tests' own */
#define GDT_ENTRIES 64

#define VECTOR_DONE 0x40 /* INT 40H ends a program under test */

/* struct context, by offset */
#define CTX_EDI 0
#define CTX_ESI 4
#define CTX_EBP 8
#define CTX_ESP 12
#define CTX_EBX 16
#define CTX_EDX 20
#define CTX_ECX 24
#define CTX_EAX 28
#define CTX_GS 32
#define CTX_FS 36
#define CTX_ES 40
#define CTX_DS 44
#define CTX_EIP 48
#define CTX_CS 52
#define CTX_EFLAGS 56
#define CTX_SS 60
#define CTX_VECTOR 64
#define CTX_ERROR 68
#define CTX_CR2 72
#define CTX_BYTES 76

#endif
