/* What C and assembly of the 64-bit test programs share. */
#ifndef LAYOUT64_H
#define LAYOUT64_H

#define SEL64_CODE 0x08
#define SEL64_DATA 0x10
#define SEL64_USER_CODE32 0x1B /* in the order that SYSRET needs */
#define SEL64_USER_DATA 0x23
#define SEL64_USER_CODE 0x2B
#define SEL64_CODE32 0x30
#define SEL64_TSS 0x40 /* 16 bytes */
#define SEL64_FREE 0x60
#define VECTOR_DONE 0x40

#define CTX64_RAX 0
#define CTX64_RCX 8
#define CTX64_RDX 16
#define CTX64_RBX 24
#define CTX64_RBP 32
#define CTX64_RSI 40
#define CTX64_RDI 48
#define CTX64_R8 56
#define CTX64_R9 64
#define CTX64_R10 72
#define CTX64_R11 80
#define CTX64_R12 88
#define CTX64_R13 96
#define CTX64_R14 104
#define CTX64_R15 112
#define CTX64_DS 120
#define CTX64_RIP 128 /* and the next four, as IRETQ pops them */
#define CTX64_CS 136
#define CTX64_RFLAGS 144
#define CTX64_RSP 152
#define CTX64_SS 160
#define CTX64_VECTOR 168
#define CTX64_ERROR 176
#define CTX64_CR2 184
#define CTX64_TRAP_RSP 192
#define CTX64_TRAP_SS 200
#define CTX64_BYTES 208

#endif
