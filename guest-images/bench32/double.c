/*
 * Double precision: points of the Mandelbrot set, and products of matrices. build.sh makes two kernels of it, `x87` and `sse2`.
 *
 * The kernel for SSE2 computes in double precision throughout; that for x87 keeps what the compiler leaves in registers in double extended
 * precision, so that its checksum is another.
 */
#include "bench.h"

#define WIDTH 64
#define HEIGHT 48
#define LIMIT 100
#define SIZE 40

#define CR0_EM_TS 0xC
#define CR0_MP_NE 0x22
#define CR4_OSFXSR_OSXMMEXCPT 0x600

#ifdef __SSE2__
const char bench_name[] = "sse2";
#else
const char bench_name[] = "x87";
#endif
const u32 bench_default_rounds = 56;

static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

/** Makes floating-point instructions usable. */
static void enable(void) {
  u32 control;
  __asm__ volatile("mov %%cr0, %0" : "=r"(control));
  __asm__ volatile("mov %0, %%cr0" ::"r"((control & ~(u32)CR0_EM_TS) | CR0_MP_NE));
#ifdef __SSE2__
  __asm__ volatile("mov %%cr4, %0" : "=r"(control));
  __asm__ volatile("mov %0, %%cr4" ::"r"(control | CR4_OSFXSR_OSXMMEXCPT));
#endif
  __asm__ volatile("fninit");
}

static u32 mandelbrot(void) {
  u32 total = 0;
  for (int row = 0; row < HEIGHT; row++)
    for (int column = 0; column < WIDTH; column++) {
      const double cr = column * (3.0 / WIDTH) - 2.25, ci = row * (2.5 / HEIGHT) - 1.25;
      double r = 0, i = 0;
      u32 n = 0;
      while (n < LIMIT && r * r + i * i < 4.0) {
        const double next = r * r - i * i + cr;
        i = 2.0 * r * i + ci;
        r = next;
        n++;
      }
      total += n;
    }
  return total;
}

static void multiply(void) {
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++) {
      double sum = 0;
      for (int k = 0; k < SIZE; k++) sum += a[i][k] * b[k][j];
      c[i][j] = sum / (SIZE / 2);
    }
}

static u32 mix_double(u32 checksum, double value) {
  union {
    double value;
    u32 words[2];
  } bits = {value};
  return mix(mix(checksum, bits.words[0]), bits.words[1]);
}

u32 bench_run(u32 n) {
  u32 checksum = MIX_START, state = 1;
  enable();
  for (int i = 0; i < SIZE; i++)
    for (int j = 0; j < SIZE; j++) {
      a[i][j] = (int)(next_random(&state) >> 8) * (1.0 / 16777216);
      b[i][j] = (int)(next_random(&state) >> 8) * (1.0 / 16777216) - 0.5;
    }
  while (n-- > 0) {
    checksum = mix(checksum, mandelbrot());
    multiply();
    for (int i = 0; i < SIZE; i++)
      for (int j = 0; j < SIZE; j++) {
        checksum = mix_double(checksum, c[i][j]);
        a[i][j] = 0.5 * a[i][j] + c[j][i];
      }
  }
  return checksum;
}
