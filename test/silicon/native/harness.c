/*
 * Executes single instructions on the processor it runs on, at user level, and reports what they did.
 *
 * Cases come on standard input and outcomes go to standard output, in the layouts of `struct input` and `struct output`
 * (little-endian; test/silicon/native-core.ts is the other end). Per case: the operand window gets its content, the
 * registers are loaded by returning from a signal handler with a changed context, and an INT3 behind the instruction, or RFLAGS.TF where it may
 * go elsewhere, brings the processor back (a single-step trap costs a virtual machine three times as much). Returning with CS = 23H, or with a selector of the LDT, runs the instruction in 32-bit or 16-bit
 * compatibility mode; the kernel delivers signals from there to this 64-bit process as from any other code. x87, MMX, SSE and AVX
 * state goes in and out with the extended-state image of the signal frame (Intel SDM Vol. 1, "XSAVE-Managed State").
 *
 * Linux on x86-64 only. Usage: harness PATTERN, where PATTERN is a file of WINDOW_BYTES bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <asm/ldt.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* These are part of the corpus: test/silicon/environment.ts has the same. */
#define CODE_PAGE 0x10000000ul
#define CODE 0x10000800ul
#define PAGE_BYTES 4096
#define WINDOW 0x20000000ul
#define WINDOW_BYTES 8192
/* In 16-bit mode code segment and data segments begin at the code page and at the window. */
#define CODE_LIMIT_16 0xffff
#define DATA_LIMIT_16 0x3fff

#define MAX_POKE 64
#define MAX_CHANGES 1024
#define MAX_IMAGE 832
#define MAX_STEPS 64
#define BUFFER_BYTES (1 << 18)
#define RFLAGS_TF 0x100u
#define VECTOR_DB 1
#define VECTOR_BP 3
#define INT3 0xcc
/* Copies of INT3 behind the instruction. */
#define BEHIND_BYTES 8

/* Bits of `struct input.flags`. */
#define IS_REPEATED 1
#define HAS_MEDIA 2
#define HAS_IMAGE 4
#define IS_STEPPED 8

/* A media image: the 512 bytes that FXSAVE64 writes, then the upper halves of YMM0 to YMM15. */
#define LEGACY_BYTES 512
#define UPPER_BYTES 256
#define MEDIA_BYTES (LEGACY_BYTES + UPPER_BYTES)
#define MXCSR_OFFSET 24
#define ST_OFFSET 32
#define XMM_OFFSET 160
#define XMM_BYTES 256
/* The part of the legacy image that is state; behind it Linux keeps words of its own. */
#define LEGACY_STATE_BYTES 416
/* In the standard form of an XSAVE image: XSTATE_BV, and the upper halves (component 2). */
#define XSTATE_BV_OFFSET 512
#define UPPER_OFFSET 576
#define XSTATE_X87 1u
#define XSTATE_SSE 2u
#define XSTATE_AVX 4u

enum { MODE_16 = 0, MODE_COMPATIBILITY = 1, MODE_64 = 2 };

/* Linux's user segments, and our two in the LDT. */
enum { CS_64 = 0x33, CS_32 = 0x23, DATA_32 = 0x2b, CS_16 = 0x07, DATA_16 = 0x0f };

struct input {
  uint8_t code[16];
  uint8_t code_length;
  uint8_t mode;
  /*
   * IS_REPEATED: step again while RIP does not move, since repeated string instructions trap after every iteration.
   * IS_STEPPED: by RFLAGS.TF; the instruction may branch or change TF. With IS_REPEATED, too.
   * HAS_MEDIA: a media image follows this struct, and one follows the outcome.
   * HAS_IMAGE: a `struct image` follows, a longer part of the window's content.
   */
  uint8_t flags;
  uint8_t poke_length;
  uint32_t poke_offset;
  uint64_t rflags;
  uint64_t gpr[16];
  uint8_t poke[MAX_POKE];
};

struct image {
  uint32_t offset;
  uint32_t length;
  uint8_t bytes[MAX_IMAGE];
};

/* Of the two arrays `change_count` elements are written, one array behind the other, and then zeros to a multiple of eight bytes. */
struct output {
  /* 1 when the instruction completed (the single-step trap), else the vector of the exception it raised. */
  uint32_t vector;
  uint32_t error;
  uint64_t cr2;
  uint64_t rip;
  uint64_t rflags;
  uint64_t gpr[16];
  uint32_t change_count;
  uint32_t reserved;
  uint16_t change_offset[MAX_CHANGES];
  uint8_t change_value[MAX_CHANGES];
};

/* Architecture's register numbers -> gregs. */
static const int gpr_index[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static uint8_t pattern[WINDOW_BYTES];
static uint8_t before[WINDOW_BYTES];
static uint8_t *const window = (uint8_t *)WINDOW;
static uint8_t *const code = (uint8_t *)CODE;
static struct input current;
static uint8_t media[MEDIA_BYTES];
static struct image image;
static int is_running;
static int is_stepped;
static unsigned steps;
static sigjmp_buf finished;

static uint64_t start_rip(void) { return current.mode == MODE_16 ? CODE - CODE_PAGE : CODE; }

static void fail(const char *what) {
  fprintf(stderr, "harness: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* The image in the signal frame. Linux has put it there in the standard form of XSAVE. */
static uint8_t *extended_state(const ucontext_t *context) { return (uint8_t *)context->uc_mcontext.fpregs; }

static int is_zero(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (bytes[i]) return 0;
  return 1;
}

/*
 * Components that are not in their initial configuration. Intel's processors count a component as in use that was loaded as one, whatever its
 * value (SDM Vol. 1, "Processor Tracking of XSAVE-Managed State"), and XSAVE shows that: no other one is loaded. MXCSR is not part of
 * that, and loaded in any case.
 */
static uint64_t components_in_use(void) {
  static const uint8_t initial_x87[MXCSR_OFFSET] = {0x7f, 0x03};
  uint64_t components = 0;
  if (memcmp(media, initial_x87, MXCSR_OFFSET) || !is_zero(media + ST_OFFSET, XMM_OFFSET - ST_OFFSET)) components |= XSTATE_X87;
  if (!is_zero(media + XMM_OFFSET, XMM_BYTES)) components |= XSTATE_SSE;
  if (!is_zero(media + LEGACY_BYTES, UPPER_BYTES)) components |= XSTATE_AVX;
  return components;
}

static void load_media(ucontext_t *context) {
  uint8_t *image = extended_state(context);
  uint64_t components;
  memcpy(image, media, LEGACY_STATE_BYTES);
  memcpy(image + UPPER_OFFSET, media + LEGACY_BYTES, UPPER_BYTES);
  memcpy(&components, image + XSTATE_BV_OFFSET, sizeof components);
  components &= ~(uint64_t)(XSTATE_X87 | XSTATE_SSE | XSTATE_AVX);
  components |= components_in_use();
  memcpy(image + XSTATE_BV_OFFSET, &components, sizeof components);
}

/* Components in their initial configuration are not in the image. */
static void report_media(const ucontext_t *context) {
  const uint8_t *image = extended_state(context);
  uint64_t components;
  memset(media, 0, sizeof media);
  memcpy(&components, image + XSTATE_BV_OFFSET, sizeof components);
  if (components & XSTATE_X87) {
    memcpy(media, image, MXCSR_OFFSET);
    for (unsigned i = 0; i < 8; i++) memcpy(media + ST_OFFSET + 16 * i, image + ST_OFFSET + 16 * i, 10);
  } else {
    media[0] = 0x7f;
    media[1] = 0x03;
  }
  /* MXCSR belongs to no component's tracking: it is always in the image. */
  memcpy(media + MXCSR_OFFSET, image + MXCSR_OFFSET, 4);
  if (components & XSTATE_SSE) memcpy(media + XMM_OFFSET, image + XMM_OFFSET, XMM_BYTES);
  if (components & XSTATE_AVX) memcpy(media + LEGACY_BYTES, image + UPPER_OFFSET, UPPER_BYTES);
  if (fwrite(media, sizeof media, 1, stdout) != 1) fail("write");
}

/* Reads the next case. Returns 0 when there is none. */
static int read_case(void) {
  if (fread(&current, sizeof current, 1, stdin) != 1) return 0;
  if (current.code_length > sizeof current.code || current.poke_length > MAX_POKE ||
      current.poke_offset > WINDOW_BYTES - (uint32_t)current.poke_length) {
    errno = EINVAL;
    fail("case");
  }
  if (current.flags & HAS_MEDIA) {
    if (fread(media, sizeof media, 1, stdin) != 1) fail("case");
  }
  memcpy(before, pattern, WINDOW_BYTES);
  memcpy(before + current.poke_offset, current.poke, current.poke_length);
  if (current.flags & HAS_IMAGE) {
    if (fread(&image, sizeof image, 1, stdin) != 1 || image.length > MAX_IMAGE || image.offset > WINDOW_BYTES - image.length)
      fail("image");
    memcpy(before + image.offset, image.bytes, image.length);
  }
  return 1;
}

/* Loads the case into the context that the handler returns to. */
static void start_case(ucontext_t *context, int with_trap) {
  greg_t *gregs = context->uc_mcontext.gregs;
  is_stepped = with_trap;
  if (current.flags & HAS_MEDIA) load_media(context);
  memcpy(window, before, WINDOW_BYTES);
  memset((void *)CODE_PAGE, 0, PAGE_BYTES);
  memcpy(code, current.code, current.code_length);
  memset(code + current.code_length, INT3, BEHIND_BYTES);
  for (int i = 0; i < 16; i++) gregs[gpr_index[i]] = (greg_t)current.gpr[i];
  gregs[REG_RIP] = (greg_t)start_rip();
  gregs[REG_EFL] = (greg_t)(current.rflags | (is_stepped ? RFLAGS_TF : 0));
  /* DS and ES stay as they are set here; CS, GS, FS and SS are loaded, from the low word up. 64-bit processes start with null DS and ES. */
  const uint32_t data = current.mode == MODE_16 ? DATA_16 : DATA_32;
  const uint64_t code_segment = current.mode == MODE_64 ? CS_64 : current.mode == MODE_16 ? CS_16 : CS_32;
  __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" ::"r"(data));
  gregs[REG_CSGSFS] = (greg_t)(((uint64_t)data << 48) | code_segment);
  steps = 0;
}

/* Whether the instruction has completed: the single-step trap, or the INT3 behind it. */
static int is_completed(const greg_t *gregs) {
  if (is_stepped) return gregs[REG_TRAPNO] == VECTOR_DB;
  return gregs[REG_TRAPNO] == VECTOR_BP && (uint64_t)gregs[REG_RIP] == start_rip() + current.code_length + 1;
}

static void report(const ucontext_t *context) {
  const greg_t *gregs = context->uc_mcontext.gregs;
  static struct output out;
  memset(&out, 0, offsetof(struct output, change_offset));
  out.vector = is_completed(gregs) ? VECTOR_DB : (uint32_t)gregs[REG_TRAPNO];
  if (out.vector != VECTOR_DB) out.error = (uint32_t)gregs[REG_ERR];
  if (out.vector == 14) out.cr2 = (uint64_t)gregs[REG_CR2];
  out.rip = (uint64_t)gregs[REG_RIP] - (out.vector == VECTOR_DB && !is_stepped);
  out.rflags = (uint64_t)gregs[REG_EFL];
  for (int i = 0; i < 16; i++) out.gpr[i] = (uint64_t)gregs[gpr_index[i]];
  for (unsigned i = 0; i < WINDOW_BYTES; i += 8) {
    if (memcmp(window + i, before + i, 8) == 0) continue;
    for (unsigned j = i; j < i + 8; j++) {
      if (window[j] == before[j]) continue;
      if (out.change_count == MAX_CHANGES) {
        errno = E2BIG;
        fail("memory changes");
      }
      out.change_offset[out.change_count] = (uint16_t)j;
      out.change_value[out.change_count++] = window[j];
    }
  }
  if (fwrite(&out, offsetof(struct output, change_offset), 1, stdout) != 1) fail("write");
  if (fwrite(out.change_offset, sizeof *out.change_offset, out.change_count, stdout) != out.change_count) fail("write");
  if (fwrite(out.change_value, 1, out.change_count, stdout) != out.change_count) fail("write");
  const size_t padding = -(3 * (size_t)out.change_count) & 7;
  if (fwrite("\0\0\0\0\0\0\0", 1, padding, stdout) != padding) fail("write");
  if (current.flags & HAS_MEDIA) report_media(context);
}

static void handler(int number, siginfo_t *info, void *raw) {
  ucontext_t *context = raw;
  /*
   * The instruction may have set AC (compiled code makes unaligned accesses), NT or ID. sigreturn leaves the latter two
   * as they are here, so that without this the next case would begin with them.
   */
  __asm__ volatile("pushfq\n\tandl $~0x244000, (%%rsp)\n\tpopfq" ::: "cc", "memory");
  (void)info;
  if (number == SIGUSR1) {
    is_running = 1;
  } else {
    const greg_t *gregs = context->uc_mcontext.gregs;
    if (!is_running) _exit(2);
    /* A trap of the instruction's own, or it has overwritten what is behind it: once more. */
    if (!is_stepped && !is_completed(gregs) && gregs[REG_RIP] != (greg_t)start_rip()) {
      start_case(context, 1);
      return;
    }
    if ((current.flags & IS_REPEATED) && gregs[REG_TRAPNO] == VECTOR_DB && gregs[REG_RIP] == (greg_t)start_rip() && ++steps < MAX_STEPS)
      return;
    report(context);
  }
  if (!read_case()) siglongjmp(finished, 1);
  start_case(context, (current.flags & (IS_REPEATED | IS_STEPPED)) != 0);
}

static void map(unsigned long address, size_t length) {
  void *at = mmap((void *)address, length, PROT_READ | PROT_WRITE | PROT_EXEC,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at != (void *)address) fail("mmap");
}

/* A 16-bit, byte-granular, accessed and writable or readable segment. */
static void set_ldt(unsigned entry, unsigned base, unsigned limit, unsigned contents) {
  struct user_desc segment;
  memset(&segment, 0, sizeof segment);
  segment.entry_number = entry;
  segment.base_addr = base;
  segment.limit = limit;
  segment.contents = contents;
  segment.useable = 1;
  if (syscall(SYS_modify_ldt, 1, &segment, sizeof segment)) fail("modify_ldt");
}

int main(int argc, char **argv) {
  static const int signals[] = {SIGUSR1, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  struct sigaction action;
  stack_t stack;
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  if (!file || fread(pattern, WINDOW_BYTES, 1, file) != 1) fail("pattern file");
  fclose(file);
  setvbuf(stdin, NULL, _IOFBF, BUFFER_BYTES);
  setvbuf(stdout, NULL, _IOFBF, BUFFER_BYTES);
  map(CODE_PAGE, PAGE_BYTES);
  map(WINDOW, WINDOW_BYTES);
  stack.ss_size = 1 << 18;
  stack.ss_sp = malloc(stack.ss_size);
  stack.ss_flags = 0;
  if (!stack.ss_sp || sigaltstack(&stack, NULL)) fail("sigaltstack");
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
    if (sigaction(signals[i], &action, NULL)) fail("sigaction");
  set_ldt(CS_16 >> 3, CODE_PAGE, CODE_LIMIT_16, MODIFY_LDT_CONTENTS_CODE);
  set_ldt(DATA_16 >> 3, WINDOW, DATA_LIMIT_16, MODIFY_LDT_CONTENTS_DATA);
  if (sigsetjmp(finished, 1) == 0) raise(SIGUSR1);
  return fflush(stdout) ? 1 : 0;
}
