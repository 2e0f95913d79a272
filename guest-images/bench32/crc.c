/* CRC-32 by table, and string instructions: REP MOVSB/MOVSL/STOSL, REPNE SCASB, REPE CMPSB, LODSB. */
#include "bench.h"

#define BUFFER_BYTES 65536
#define POLYNOMIAL 0xEDB88320

const char bench_name[] = "crc";
const u32 bench_default_rounds = 200;

static u32 table[256];
static u8 source[BUFFER_BYTES], copy[BUFFER_BYTES];

static void make_table(void) {
  for (u32 i = 0; i < 256; i++) {
    u32 crc = i;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
    table[i] = crc;
  }
}

static u32 crc32(const u8 *data, u32 count) {
  u32 crc = 0xFFFFFFFF;
  while (count-- > 0) crc = table[(u8)(crc ^ *data++)] ^ crc >> 8;
  return ~crc;
}

/** Distance from the start of the buffer to the first byte with this value, or its length. */
static u32 find_byte(const u8 *data, u8 value) {
  u32 count = BUFFER_BYTES;
  const u8 *at = data;
  __asm__ volatile("repne scasb" : "+D"(at), "+c"(count) : "a"(value) : "cc", "memory");
  return (u32)(at - data);
}

/** Bytes until the first difference, plus one. */
static u32 compare(const u8 *a, const u8 *b, u32 count) {
  const u8 *x = a, *y = b;
  __asm__ volatile("repe cmpsb" : "+S"(x), "+D"(y), "+c"(count)::"cc", "memory");
  return (u32)(x - a);
}

u32 bench_run(u32 n) {
  u32 checksum = MIX_START, random = 99;
  make_table();
  for (u32 i = 0; i < BUFFER_BYTES; i++) source[i] = (u8)(next_random(&random) >> 24);
  while (n-- > 0) {
    void *to = copy;
    const void *from = source;
    u32 words = BUFFER_BYTES / 4;
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(words)::"memory");
    u32 place = next_random(&random) >> 16;
    copy[place] ^= 0x5A;
    checksum = mix(checksum, compare(source, copy, BUFFER_BYTES));
    checksum = mix(checksum, crc32(copy, BUFFER_BYTES));
    checksum = mix(checksum, find_byte(copy, (u8)random));
    source[place] = (u8)checksum;
  }
  return checksum;
}
