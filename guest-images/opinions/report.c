/* Reports on COM1, and the end of a program. Compiled for 32-bit and for 64-bit programs. */
#include "report.h"
#include "layout.h"

#define COM1 0x3F8
#define TRANSMIT_POLL_LIMIT 1000000
#define DEBUG_EXIT_PORT 0xF4
#define BOCHS_SHUTDOWN_PORT 0x8900 /* Bochs ends when "Shutdown" is written there */
#define PIC1_MASK 0x21
#define PIC2_MASK 0xA1
#define DIGITS ((int)(2 * sizeof(word)))
#define MOST_FAILURES_SHOWN 20

static const char *group_name;
static u32 group_checks, group_failures, all_failures, group_digest, groups;

void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
u8 inb(u16 port) {
  u8 value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

void print(const char *text) {
  for (; *text; text++) {
    for (u32 i = 0; i < TRANSMIT_POLL_LIMIT && !(inb(COM1 + 5) & 0x20); i++) {
    }
    outb(COM1, (u8)*text);
  }
}

void print_hex(word value, int digits) {
  char text[DIGITS + 1];
  for (int i = 0; i < digits; i++) text[i] = "0123456789abcdef"[value >> (4 * (digits - 1 - i)) & 15];
  text[digits] = '\0';
  print(text);
}

static void print_decimal(u32 value) {
  char text[11];
  int at = 10;
  text[at] = '\0';
  do text[--at] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  print(text + at);
}

void begin(const char *group) {
  group_name = group;
  group_checks = group_failures = 0;
  group_digest = MIX_START;
}

void check(const char *what, word got, word expected) {
  group_checks++;
  group_digest = mix(group_digest, (u32)got);
  if (got == expected) return;
  all_failures++;
  if (++group_failures > MOST_FAILURES_SHOWN) return;
  print("FAIL ");
  print(group_name);
  print("/");
  print(what);
  print(" expected=");
  print_hex(expected, DIGITS);
  print(" got=");
  print_hex(got, DIGITS);
  print("\r\n");
}

void end(void) {
  volatile u32 *results = (volatile u32 *)RESULTS_BASE;
  u32 name = MIX_START;
  for (const char *c = group_name; *c; c++) name = mix(name, (u8)*c);
  results[2 * groups] = name;
  results[2 * groups + 1] = group_digest;
  groups++;
  if (group_failures) return;
  print("PASS ");
  print(group_name);
  print(" checks=");
  print_decimal(group_checks);
  print("\r\n");
}

void report_digest(const char *name, u32 digest) {
  print("DIGEST ");
  print(name);
  print(" ");
  print_hex(digest, 8);
  print("\r\n");
}

void finish(void) {
  print("END ");
  print(program_name);
  print(" failures=");
  print_decimal(all_failures);
  print("\r\n");
  outb(DEBUG_EXIT_PORT, 0);
  for (const char *c = "Shutdown"; *c; c++) outb(BOCHS_SHUTDOWN_PORT, (u8)*c);
  for (;;) __asm__ volatile("cli; hlt");
}

void report_start(void) {
  outb(PIC1_MASK, 0xFF);
  outb(PIC2_MASK, 0xFF);
  outb(COM1 + 3, 0x83); /* 115,200 baud, 8 bits */
  outb(COM1, 1);
  outb(COM1 + 1, 0);
  outb(COM1 + 3, 3);
  print("BEGIN ");
  print(program_name);
  print("\r\n");
}

void report_panic(word vector, word error, word ip, word cr2) {
  const word values[] = {vector, error, ip, cr2};
  static const char *const names[] = {"FAIL panic vector=", " error=", " ip=", " cr2="};
  for (int i = 0; i < 4; i++) {
    print(names[i]);
    print_hex(values[i], DIGITS);
  }
  print("\r\n");
  all_failures++;
  finish();
}

void *memcpy(void *to, const void *from, size_t count) {
  void *d = to;
  __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(count)::"memory");
  return to;
}

void *memset(void *to, int value, size_t count) {
  void *d = to;
  __asm__ volatile("rep stosb" : "+D"(d), "+c"(count) : "a"(value) : "memory");
  return to;
}
