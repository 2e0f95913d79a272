/*
 * SSE and SSE2: packed and scalar arithmetic, comparisons, conversions, shuffles and integer operations on a table of operands,
 * under all roundings; results and MXCSR. As x87.c: for machines to be compared.
 */
#include "runtime.h"

const char program_name[] = "sse";

struct __attribute__((aligned(16))) vector {
  u32 lanes[4];
};
static const struct vector values[] = {
    {{0x3F800000, 0x40000000, 0xC0400000, 0x3EAAAAAB}}, /* singles: 1 2 -3 1/3 */
    {{0x00000000, 0x80000000, 0x7F800000, 0xFF800000}},
    {{0x00000001, 0x7F7FFFFF, 0x00800000, 0x807FFFFF}},
    {{0x7FC00001, 0x7F800001, 0x4F000000, 0xCF000001}},
    {{0x00000000, 0x3FF00000, 0x00000000, 0xC0080000}}, /* doubles: 1 -3 */
    {{0x55555555, 0x3FD55555, 0xFFFFFFFF, 0x7FEFFFFF}},
    {{0x00000001, 0x00000000, 0x00000000, 0x7FF80000}},
    {{0x00000001, 0x7FF00000, 0x00000000, 0x41E00000}},
    {{0x01020304, 0x7F80FF00, 0x80007FFF, 0xFFFE0001}},
    {{0xFFFFFFFF, 0x00000000, 0x12345678, 0x9ABCDEF0}},
};
#define COUNT (sizeof values / sizeof values[0])

/* Ordinary singles, doubles (but for the largest) and integers: what comes of two of a kind, rounded to nearest, is in memory and the first digest. */
static int is_ordinary(u32 i, u32 j) { return (i == 0 && j == 0) || (i == 4 && j == 4) || (i >= 8 && j >= 8); }

static u8 *raw = (u8 *)RESULTS_RAW;
static u32 ordinary_digest, digest;
static void keep(const void *bytes, u32 count, int is_value) {
  const u8 *from = bytes;
  for (u32 i = 0; i < count; i++) {
    digest = mix(digest, from[i]);
    if (!is_value) continue;
    ordinary_digest = mix(ordinary_digest, from[i]);
    if (raw < (u8 *)RESULTS_END) *raw++ = from[i];
  }
}

static u32 mxcsr;
#define OPERATIONS(X)                                                                                                    \
  X(addps) X(addss) X(addpd) X(addsd) X(subps) X(subss) X(subpd) X(subsd) X(mulps) X(mulss) X(mulpd) X(mulsd) X(divps)    \
  X(divss) X(divpd) X(divsd) X(minps) X(minss) X(minpd) X(minsd) X(maxps) X(maxss) X(maxpd) X(maxsd) X(sqrtps) X(sqrtss) \
  X(sqrtpd) X(sqrtsd) X(andps) X(andnps) X(orps) X(xorps) X(andpd) X(andnpd) X(orpd) X(xorpd) X(unpcklps) X(unpckhps)    \
  X(unpcklpd) X(unpckhpd) X(cvtdq2ps) X(cvtps2dq) X(cvttps2dq) X(cvtdq2pd) X(cvtpd2dq) X(cvttpd2dq) X(cvtps2pd)         \
  X(cvtpd2ps) X(cvtss2sd) X(cvtsd2ss) X(paddb) X(paddw) X(paddd) X(paddq) X(paddsb) X(paddsw) X(paddusb) X(paddusw)      \
  X(psubb) X(psubw) X(psubd) X(psubq) X(psubsb) X(psubsw) X(psubusb) X(psubusw) X(pmullw) X(pmulhw) X(pmulhuw)          \
  X(pmuludq) X(pmaddwd) X(pavgb) X(pavgw) X(psadbw) X(pminub) X(pminsw) X(pmaxub) X(pmaxsw) X(pcmpeqb) X(pcmpeqw)        \
  X(pcmpeqd) X(pcmpgtb) X(pcmpgtw) X(pcmpgtd) X(pand) X(pandn) X(por) X(pxor) X(packsswb) X(packssdw) X(packuswb)        \
  X(punpcklbw) X(punpcklwd) X(punpckldq) X(punpcklqdq) X(punpckhbw) X(punpckhwd) X(punpckhdq) X(punpckhqdq) X(psllw)     \
  X(pslld) X(psllq) X(psrlw) X(psrld) X(psrlq) X(psraw) X(psrad) X(comiss) X(ucomisd)
#define WITH_IMMEDIATE(X)                                                                                                \
  X(cmpps_, "cmpps", 2) X(cmpss_, "cmpss", 5) X(cmppd_, "cmppd", 1) X(cmpsd_, "cmpsd", 6) X(shufps_, "shufps", 0x9C)     \
  X(shufpd_, "shufpd", 1) X(pshufd_, "pshufd", 0x1B) X(pshufhw_, "pshufhw", 0x4E) X(pshuflw_, "pshuflw", 0xE1)
#define BODY(text)                                                                                                       \
  for (u32 i = 0; i < COUNT; i++)                                                                                        \
    for (u32 j = 0; j < COUNT; j++) {                                                                                    \
      struct vector result;                                                                                              \
      u32 after, flags;                                                                                                  \
      __asm__ volatile("ldmxcsr %3; movaps %4, %%xmm0; movaps %5, %%xmm1; cmp %%eax, %%eax; " text                        \
                       "; pushf; pop %2; movups %%xmm1, %0; stmxcsr %1"                                                   \
                       : "=m"(result), "=m"(after), "=r"(flags)                                                          \
                       : "m"(mxcsr), "m"(values[i]), "m"(values[j])                                                      \
                       : "memory", "cc");                                                                                \
      keep(&result, 16, mxcsr == 0x1F80 && is_ordinary(i, j)), keep(&after, 4, 0);                                                                          \
      flags &= ARITHMETIC_FLAGS, keep(&flags, 4, 0);                                                                        \
    }
#define RUN(name) \
  static void run_##name(void) { BODY(#name " %%xmm0, %%xmm1") }
#define RUN_IMMEDIATE(name, text, value) \
  static void run_##name(void) { BODY(text " $" #value ", %%xmm0, %%xmm1") }
OPERATIONS(RUN)
WITH_IMMEDIATE(RUN_IMMEDIATE)

/* The name of the digest with status and special operands. */
static const char *with_suffix(const char *name) {
  static char text[32];
  u32 n = 0;
  for (; *name; name++) text[n++] = *name;
  for (const char *c = "-all"; *c; c++) text[n++] = *c;
  text[n] = '\0';
  return text;
}

struct operation {
  const char *name;
  void (*run)(void);
};
#define ROW(name) {#name, run_##name},
#define ROW_IMMEDIATE(name, text, value) {text, run_##name},
static const struct operation operations[] = {OPERATIONS(ROW) WITH_IMMEDIATE(ROW_IMMEDIATE)};

void program_run(void) {
  write_cr0((read_cr0() & ~0xCu) | 2);
  write_cr4(read_cr4() | 0x600);
  for (u32 i = 0; i < sizeof operations / sizeof operations[0]; i++) {
    ordinary_digest = digest = MIX_START;
    for (u32 rounding = 0; rounding < 4; rounding++) mxcsr = 0x1F80 | rounding << 13, operations[i].run();
    report_digest(operations[i].name, ordinary_digest);
    report_digest(with_suffix(operations[i].name), digest);
  }
}
