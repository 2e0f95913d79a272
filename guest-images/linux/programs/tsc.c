/*
 * Prints the time-stamp counter: `tsc: N`. Where a machine counts a cycle an instruction, that is how many it has taken since
 * power-on. A static program without a C library.
 */
#include "system.h"

enum { SYS_WRITE = 1 };

void program(void);
void program(void) {
  unsigned low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  u64 value = (u64)high << 32 | low;
  char text[32];
  unsigned at = sizeof text;
  text[--at] = '\n';
  do text[--at] = (char)('0' + value % 10);
  while (value /= 10);
  static const char name[] = "tsc: ";
  for (unsigned i = sizeof name - 1; i > 0; i--) text[--at] = name[i - 1];
  call(SYS_WRITE, 1, (u64)(text + at), sizeof text - at, 0, 0, 0);
  leave(0);
}

__asm__(".globl _start\n_start: andq $-16, %rsp\n call program\n");
