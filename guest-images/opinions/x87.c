/*
 * x87: every operation on a table of operands, under all roundings and precisions, as 80-bit results and status words. What
 * they must be is the business of test/silicon; here machines are compared with each other, by digest and by memory.
 */
#include "runtime.h"

const char program_name[] = "x87";

struct __attribute__((packed)) extended {
  u64 significand;
  u16 exponent;
};
static const struct extended values[] = {
    {0, 0},                        /* 0 */
    {0, 0x8000},                   /* -0 */
    {1ULL << 63, 0x3FFF},          /* 1 */
    {1ULL << 63, 0xBFFF},          /* -1 */
    {0xC000000000000000, 0x4000},  /* 3 */
    {0xAAAAAAAAAAAAAAAB, 0x3FFD},  /* 1/3 */
    {0xC90FDAA22168C235, 0x4000},  /* pi */
    {0xFFFFFFFFFFFFFFFF, 0x403E},  /* 2^64 - 1 */
    {0x8000000000000001, 0xC03D},  /* -(2^62 + 1/2) */
    {0xFFFFFFFFFFFFFFFF, 0x7FFE},  /* largest */
    {1ULL << 63, 1},               /* smallest normal */
    {1, 0},                        /* smallest denormal */
    {1ULL << 63, 0x7FFF},          /* infinity */
    {1ULL << 63, 0xFFFF},          /* -infinity */
    {0xC000000000000123, 0x7FFF},  /* quiet NaN */
    {0x8000000000000123, 0xFFFF},  /* signalling NaN */
    {0x9E3779B97F4A7C15, 0x400A},
    {0x8000000000000000, 0x3FFE},  /* 1/2 */
};
#define COUNT (sizeof values / sizeof values[0])

/* Neither infinite, NaN nor denormal, and none 2^62 times another: their results are in memory and in the first digest. */
static int is_ordinary(u32 i) { return i <= 6 || i >= 16; }

static u8 *raw = (u8 *)RESULTS_RAW;
static u32 ordinary_digest, digest;
static int is_case_ordinary;
static void keep(const void *bytes, u32 count, int is_value) {
  const u8 *from = bytes;
  for (u32 i = 0; i < count; i++) {
    digest = mix(digest, from[i]);
    if (!is_value || !is_case_ordinary) continue;
    ordinary_digest = mix(ordinary_digest, from[i]);
    if (raw < (u8 *)RESULTS_END) *raw++ = from[i];
  }
}

static u16 control_word;
#define LOAD(value) __asm__ volatile("fldt %0" ::"m"(value))
#define START() __asm__ volatile("fninit; fldcw %0" ::"m"(control_word))
static void finish_case(int has_result) {
  struct extended result = {0, 0};
  u16 status;
  __asm__ volatile("fnstsw %0" : "=m"(status));
  if (has_result) __asm__ volatile("fstpt %0" : "=m"(result));
  keep(&result, 10, has_result), keep(&status, 2, !has_result);
}

#define BINARY(X)                                                                                     \
  X(fadd, "faddp", 1) X(fsub, "fsubp", 1) X(fsubr, "fsubrp", 1) X(fmul, "fmulp", 1) X(fdiv, "fdivp", 1) \
  X(fdivr, "fdivrp", 1) X(fprem, "fprem", 1) X(fprem1, "fprem1", 1) X(fcom, "fcompp", 0) X(fucom, "fucompp", 0) \
  X(fscale, "fscale", 1)
#define UNARY(X)                                                                                      \
  X(fsqrt, "fsqrt", 1) X(frndint, "frndint", 1) X(fabs, "fabs", 1) X(fchs, "fchs", 1) X(ftst, "ftst", 1) \
  X(fxam, "fxam", 1) X(fxtract, "fxtract; fstp %%st(1)", 1) X(fld1, "fld1; faddp", 1) X(fldpi, "fldpi; fmulp", 1)
#define RUN_BINARY(name, text, has_result)                                       \
  static void run_##name(void) {                                                 \
    for (u32 i = 0; i < COUNT; i++)                                              \
      for (u32 j = 0; j < COUNT; j++) {                                          \
        is_case_ordinary = is_ordinary(i) && is_ordinary(j);                     \
        START();                                                                 \
        LOAD(values[i]);                                                         \
        LOAD(values[j]);                                                         \
        __asm__ volatile(text);                                                  \
        finish_case(has_result);                                                 \
      }                                                                          \
  }
#define RUN_UNARY(name, text, has_result)  \
  static void run_##name(void) {           \
    for (u32 i = 0; i < COUNT; i++) {      \
      is_case_ordinary = is_ordinary(i);   \
      START();                             \
      LOAD(values[i]);                     \
      __asm__ volatile(text ::);            \
      finish_case(has_result);             \
    }                                      \
  }
BINARY(RUN_BINARY)
UNARY(RUN_UNARY)

static void run_stores(void) {
  for (u32 i = 0; i < COUNT; i++) {
    u8 out[32] = {0};
    is_case_ordinary = is_ordinary(i);
    START();
    for (int k = 0; k < 6; k++) LOAD(values[i]);
    __asm__ volatile("fistps %0" : "=m"(*(u16 *)out));
    __asm__ volatile("fistpl %0" : "=m"(*(u32 *)(out + 2)));
    __asm__ volatile("fistpll %0" : "=m"(*(u64 *)(out + 6)));
    __asm__ volatile("fstps %0" : "=m"(*(u32 *)(out + 14)));
    __asm__ volatile("fstpl %0" : "=m"(*(u64 *)(out + 18)));
    __asm__ volatile("fnstsw %0" : "=m"(*(u16 *)(out + 26)));
    keep(out, 26, 1), keep(out + 26, 2, 0);
  }
}
static void run_decimal(void) {
  for (u32 i = 0; i < COUNT; i++) {
    struct extended packed;
    u16 status;
    is_case_ordinary = is_ordinary(i);
    START();
    LOAD(values[i]);
    __asm__ volatile("fbstp %0" : "=m"(packed));
    __asm__ volatile("fnstsw %0" : "=m"(status));
    keep(&packed, 10, 1), keep(&status, 2, 0);
  }
  static const struct extended decimals[] = {{0x3456789012345678, 0x0012}, {0x9999999999999999, 0x8099}, {1, 0}};
  is_case_ordinary = 1;
  for (u32 i = 0; i < 3; i++) {
    START();
    __asm__ volatile("fbld %0" ::"m"(decimals[i]));
    finish_case(1);
  }
}
static void run_loads(void) {
  static const u32 words[] = {0, 1, 0x80000000, 0x7FFFFFFF, 0x3F800000, 0x7F800000, 0x7FC00001, 0x7F800001, 1, 0xFFFFFFFF};
  is_case_ordinary = 0;
  for (u32 i = 0; i + 1 < sizeof words / 4; i++) {
    START();
    __asm__ volatile("flds %0" ::"m"(words[i]));
    finish_case(1);
    START();
    __asm__ volatile("fildl %0" ::"m"(words[i]));
    finish_case(1);
    START();
    __asm__ volatile("fldl %0" ::"m"(*(const u64 *)&words[i]));
    finish_case(1);
    START();
    __asm__ volatile("fildll %0" ::"m"(*(const u64 *)&words[i]));
    finish_case(1);
  }
}

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
#define ROW(name, text, has_result) {#name, run_##name},
static const struct operation operations[] = {BINARY(ROW) UNARY(ROW){"store", run_stores}, {"load", run_loads}, {"decimal", run_decimal}};

void program_run(void) {
  write_cr0(read_cr0() & ~0xCu);
  for (u32 i = 0; i < sizeof operations / sizeof operations[0]; i++) {
    ordinary_digest = digest = MIX_START;
    /* Rounding and precision: nearest, down, up, to zero with 64 bits; and 53 and 24 bits to nearest. */
    static const u16 controls[] = {0x037F, 0x077F, 0x0B7F, 0x0F7F, 0x027F, 0x007F};
    for (u32 k = 0; k < 6; k++) control_word = controls[k], operations[i].run();
    report_digest(operations[i].name, ordinary_digest);
    report_digest(with_suffix(operations[i].name), digest);
  }
}
