/* SHA-256 (FIPS 180-4) of 64 KiB, again and again: rotates, adds, few branches. */
#include "bench.h"

#define MESSAGE_BYTES 65536
#define BLOCK_BYTES 64

const char bench_name[] = "sha256";
const u32 bench_default_rounds = 30;

static u8 message[MESSAGE_BYTES];
static u32 constants[64];

static u32 rotate_right(u32 x, u32 n) { return x >> n | x << (32 - n); }

/** The first 32 bits of the fractional part of a prime's root; `degree` 2 or 3. By bisection in integers. */
static u32 root_fraction(u32 prime, u32 degree) {
  /* The largest r with r^degree <= prime * 2^(32 degree), bit by bit; r has at most 37 bits, so limbs of 16. */
  u32 r[8] = {0};
  for (int bit = 37; bit >= 0; bit--) {
    r[bit / 16] |= 1u << bit % 16;
    u32 power[8] = {1};
    for (u32 d = 0; d < degree; d++) {
      u32 product[8] = {0};
      for (int i = 0; i < 8; i++)
        for (int j = 0; j < 3 && i + j < 8; j++) {
          u32 term = power[i] * r[j];
          for (int k = i + j; term != 0 && k < 8; k++) {
            u32 sum = product[k] + (term & 0xFFFF);
            product[k] = sum & 0xFFFF;
            term = (term >> 16) + (sum >> 16);
          }
        }
      for (int i = 0; i < 8; i++) power[i] = product[i];
    }
    u32 target[8] = {0};
    target[2 * degree] = prime;
    int greater = 0;
    for (int i = 7; i >= 0 && !greater; i--) {
      if (power[i] < target[i]) break;
      greater = power[i] > target[i];
    }
    if (greater) r[bit / 16] &= ~(1u << bit % 16);
  }
  return r[1] << 16 | r[0];
}

/** FIPS 180-4, 4.2.2 and 5.3.3: constants from the cube roots of 64 primes, first state from square roots of eight. */
static void prepare(u32 first_state[8]) {
  u32 found = 0;
  for (u32 candidate = 2; found < 64; candidate++) {
    u32 is_prime = 1;
    for (u32 d = 2; d * d <= candidate; d++)
      if (candidate % d == 0) is_prime = 0;
    if (!is_prime) continue;
    constants[found] = root_fraction(candidate, 3);
    if (found < 8) first_state[found] = root_fraction(candidate, 2);
    found++;
  }
}

static void compress(u32 state[8], const u8 *block) {
  u32 w[64];
  for (int t = 0; t < 16; t++)
    w[t] = (u32)block[4 * t] << 24 | (u32)block[4 * t + 1] << 16 | (u32)block[4 * t + 2] << 8 | block[4 * t + 3];
  for (int t = 16; t < 64; t++) {
    u32 s0 = rotate_right(w[t - 15], 7) ^ rotate_right(w[t - 15], 18) ^ w[t - 15] >> 3;
    u32 s1 = rotate_right(w[t - 2], 17) ^ rotate_right(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  u32 a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
  for (int t = 0; t < 64; t++) {
    u32 t1 = h + (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)) + ((e & f) ^ (~e & g)) +
             constants[t] + w[t];
    u32 t2 = (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

/** Returns the first word of the digest of n copies of the message. */
u32 bench_run(u32 n) {
  u32 state[8], random = 1;
  prepare(state);
  for (u32 i = 0; i < MESSAGE_BYTES; i++) message[i] = (u8)(next_random(&random) >> 24);
  for (u32 round = 0; round < n; round++)
    for (u32 at = 0; at < MESSAGE_BYTES; at += BLOCK_BYTES) compress(state, message + at);
  /* Padding: a 1 bit, zeroes, and the length in bits. */
  u8 last[BLOCK_BYTES] = {0x80};
  u32 bits_low = n * (MESSAGE_BYTES * 8), bits_high = n >> 13;
  for (int i = 0; i < 4; i++) {
    last[56 + i] = (u8)(bits_high >> (24 - 8 * i));
    last[60 + i] = (u8)(bits_low >> (24 - 8 * i));
  }
  compress(state, last);
  return state[0];
}
