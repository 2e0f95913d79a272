#include "string.h"

void *memcpy(void *destination, const void *source, size_t count) {
  void *d = destination;
  __asm__ volatile("rep movsb" : "+D"(d), "+S"(source), "+c"(count)::"memory");
  return destination;
}

void *memmove(void *destination, const void *source, size_t count) {
  u8 *d = destination;
  const u8 *s = source;
  if (d <= s || d >= s + count) return memcpy(destination, source, count);
  while (count-- > 0) {
    d[count] = s[count];
    compiler_barrier(); /* or the compiler makes this loop a call to memmove */
  }
  return destination;
}

void *memset(void *destination, int value, size_t count) {
  void *d = destination;
  __asm__ volatile("rep stosb" : "+D"(d), "+c"(count) : "a"(value) : "memory");
  return destination;
}

int memcmp(const void *a, const void *b, size_t count) {
  const u8 *x = a, *y = b;
  for (size_t i = 0; i < count; i++)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

size_t strlen(const char *s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}

int strncmp(const char *a, const char *b, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (a[i] != b[i]) return (u8)a[i] < (u8)b[i] ? -1 : 1;
    if (!a[i]) return 0;
  }
  return 0;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, (size_t)-1); }

static int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

bool parse_u64(const char *text, char terminator, u64 *value) {
  int base = 10;
  if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    base = 16;
    text += 2;
  }
  u64 result = 0;
  int digits = 0;
  for (; digit_value(*text) < base; text++, digits++)
    if (__builtin_mul_overflow(result, (u64)base, &result) ||
        __builtin_add_overflow(result, (u64)digit_value(*text), &result))
      return false;
  if (digits == 0) return false;
  int shift = *text == 'K' ? 10 : *text == 'M' ? 20 : *text == 'G' ? 30 : 0;
  if (shift != 0) {
    text++;
    if (result >> (64 - shift)) return false;
    result <<= shift;
  }
  if (*text != '\0' && *text != terminator) return false;
  *value = result;
  return true;
}
