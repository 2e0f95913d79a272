/* The few C library functions that the compiler and this kernel call. */
#ifndef STRING_H
#define STRING_H

#include "types.h"

void *memcpy(void *destination, const void *source, size_t count);
void *memmove(void *destination, const void *source, size_t count);
void *memset(void *destination, int value, size_t count);
int memcmp(const void *a, const void *b, size_t count);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t count);

/**
 * Reads an unsigned number, decimal or with 0x, with an optional suffix K, M or G (powers of 1024), that ends at
 * `terminator` or at the end of the string.
 *
 * @returns false, leaving *value alone, if the text is not such a number or does not fit 64 bits
 */
bool parse_u64(const char *text, char terminator, u64 *value);

#endif
