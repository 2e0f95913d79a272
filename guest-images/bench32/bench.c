/* The frame of the 32-bit benchmark kernels: command line, result on COM1, end through port F4H. */
#include "bench.h"

#define COM1_BASE 0x3F8
#define LSR_THRE 0x20
#define DEBUG_EXIT_PORT 0xF4
#define TRANSMIT_POLL_LIMIT 1000000

#define MULTIBOOT_HAS_COMMAND_LINE 4

struct multiboot_info {
  u32 flags, mem_lower, mem_upper, boot_device, cmdline;
};

static u8 inb(uint16_t port) {
  u8 value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static void outb(uint16_t port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }

static void print(const char *text) {
  for (; *text; text++) {
    for (u32 i = 0; i < TRANSMIT_POLL_LIMIT && !(inb(COM1_BASE + 5) & LSR_THRE); i++) {
    }
    outb(COM1_BASE, (u8)*text);
  }
}

static void print_hex(u32 value) {
  char text[9];
  for (int i = 0; i < 8; i++) text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
  text[8] = '\0';
  print(text);
}

/** The number behind ` name=` in the command line, or `otherwise`. `name` is one letter. */
static u32 option(const char *command_line, char name, u32 otherwise) {
  char before = ' ';
  for (const char *c = command_line; *c; before = *c++) {
    if (before != ' ' || c[0] != name || c[1] != '=') continue;
    u32 value = 0;
    for (c += 2; *c >= '0' && *c <= '9'; c++) value = value * 10 + (u32)(*c - '0');
    return value;
  }
  return otherwise;
}

/** TSC cycles, low half: enough to tell instructions under QEMU's -icount shift=0, where one is one nanosecond. */
static u32 rdtsc_low(void) {
  u32 low;
  __asm__ volatile("rdtsc" : "=a"(low)::"edx");
  return low;
}

/** Called by start.S. Options: `n=ROUNDS`, and `c=1` to print TSC cycles too. */
void bench_main(const struct multiboot_info *info) {
  const char *command_line = info->flags & MULTIBOOT_HAS_COMMAND_LINE ? (const char *)info->cmdline : "";
  u32 rounds = option(command_line, 'n', bench_default_rounds);
  u32 start = option(command_line, 'c', 0) ? rdtsc_low() : 0;
  u32 checksum = bench_run(rounds);
  if (option(command_line, 'c', 0)) {
    print("CYCLES ");
    print_hex(rdtsc_low() - start);
    print("\r\n");
  }
  print("RESULT ");
  print(bench_name);
  print(" ");
  print_hex(checksum);
  print("\r\n");
  outb(DEBUG_EXIT_PORT, 0);
}

/* The compiler may call these for loops and assignments that it recognizes. */
void *memcpy(void *destination, const void *source, size_t count) {
  void *d = destination;
  __asm__ volatile("rep movsb" : "+D"(d), "+S"(source), "+c"(count)::"memory");
  return destination;
}

void *memset(void *destination, int value, size_t count) {
  void *d = destination;
  __asm__ volatile("rep stosb" : "+D"(d), "+c"(count) : "a"(value) : "memory");
  return destination;
}
