/*
 * Executes single x87 instructions on the processor it runs on and reports what they did.
 *
 * Cases come on standard input and outcomes go to standard output, in the layouts of `struct input` and `struct output`
 * (little-endian; test/silicon/x87-native.ts is the other end). Per case FRSTOR loads the x87 state, the instruction runs with
 * its operand at (%rdi), and FNSAVE stores the state. An instruction that finds a pending exception raises #MF, which
 * arrives as SIGFPE; nothing but that fact is reported then.
 *
 * Linux on x86-64 only.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define OPERAND_BYTES 32
#define RFLAGS_ARITHMETIC 0x8d5u

struct input {
  uint8_t code[12];
  uint8_t code_length;
  /* Bit n: register Rn is not empty. */
  uint8_t tag;
  uint16_t control;
  uint16_t status;
  uint32_t rflags;
  uint64_t rax;
  /* R0 to R7: ten bytes each. */
  uint8_t registers[8][16];
  uint8_t operand[OPERAND_BYTES];
};

struct output {
  uint16_t status;
  uint16_t control;
  /* Two bits a register, as FNSAVE stores them. */
  uint16_t tag;
  uint16_t opcode;
  /* Relative to the instruction and to the operand. */
  uint32_t instruction_offset;
  uint32_t operand_offset;
  uint32_t rflags;
  /* 1: the instruction raised #MF. */
  uint32_t faulted;
  uint64_t rax;
  uint8_t registers[8][16];
  uint8_t operand[OPERAND_BYTES];
};

/* What FNSAVE stores in 64-bit mode. */
struct image {
  uint32_t control, status, tag, instruction_offset, opcode_and_selector, operand_offset, operand_selector;
  uint8_t stack[8][10];
} __attribute__((packed));

static sigjmp_buf pending;

static void on_signal(int number) {
  (void)number;
  siglongjmp(pending, 1);
}

static uint8_t *map(size_t length) {
  uint8_t *at = mmap(NULL, length, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  if (at == MAP_FAILED) {
    perror("x87: mmap");
    exit(1);
  }
  return at;
}

static uint16_t full_tag(uint8_t abridged) {
  uint16_t tag = 0;
  for (int i = 0; i < 8; i++)
    if (!(abridged >> i & 1)) tag |= (uint16_t)(3 << (2 * i));
  return tag;
}

int main(void) {
  static struct input in;
  static struct output out;
  static struct image before, after;
  uint8_t *const code = map(4096);
  uint8_t *const operand = map(4096);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_NODEFER;
  if (sigaction(SIGFPE, &action, NULL)) return 1;
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    const unsigned top = in.status >> 11 & 7;
    memcpy(code, in.code, in.code_length);
    code[in.code_length] = 0xc3;
    memcpy(operand, in.operand, OPERAND_BYTES);
    memset(&before, 0, sizeof before);
    before.control = in.control;
    before.status = in.status;
    before.tag = full_tag(in.tag);
    for (unsigned i = 0; i < 8; i++) memcpy(before.stack[i], in.registers[(top + i) & 7], 10);
    memset(&out, 0, sizeof out);
    if (sigsetjmp(pending, 0)) {
      __asm__ volatile("fninit");
      out.faulted = 1;
    } else {
      uint64_t rax = in.rax, rflags = in.rflags | 2;
      __asm__ volatile(
          "subq $128, %%rsp\n\tfrstor %[before]\n\tpushq %[rflags]\n\tpopfq\n\tcall *%[code]\n\tpushfq\n\tpopq %[rflags]\n\t"
          "fnsave %[after]\n\taddq $128, %%rsp"
          : [rflags] "+&r"(rflags), [after] "=m"(after), "+a"(rax)
          : [before] "m"(before), [code] "r"(code), "D"(operand)
          : "cc", "memory");
      const unsigned after_top = after.status >> 11 & 7;
      out.status = (uint16_t)after.status;
      out.control = (uint16_t)after.control;
      out.tag = (uint16_t)after.tag;
      out.opcode = (uint16_t)(after.opcode_and_selector >> 16);
      out.instruction_offset = after.instruction_offset - (uint32_t)(uintptr_t)code;
      out.operand_offset = after.operand_offset - (uint32_t)(uintptr_t)operand;
      out.rflags = (uint32_t)rflags & RFLAGS_ARITHMETIC;
      out.rax = rax;
      for (unsigned i = 0; i < 8; i++) memcpy(out.registers[(after_top + i) & 7], after.stack[i], 10);
      memcpy(out.operand, operand, OPERAND_BYTES);
    }
    if (fwrite(&out, sizeof out, 1, stdout) != 1) return 1;
  }
  return fflush(stdout) ? 1 : 0;
}
