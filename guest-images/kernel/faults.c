/*
 * The verb `fault:kind=…`: raises an exception. It ends the kernel with a register dump and exit code 127, or, with
 * `catch=1`, is caught and described.
 */
#include "boot-info.h"
#include "console.h"
#include "machine-verbs.h"
#include "power.h"
#include "string.h"
#include "traps.h"

/** Between the local APIC's page and the firmware: no RAM, and no device on any machine that we know. */
#define UNMAPPED_ADDRESS 0xFEF00000UL
/** Canonical, and not in our page tables. */
#define NOT_PRESENT_ADDRESS 0x0000700000000000UL
#define NON_CANONICAL_ADDRESS 0x8000000000000000UL

static void raise_ud(void *unused) {
  (void)unused;
  __asm__ volatile("ud2");
}

static void raise_de(void *unused) {
  (void)unused;
  __asm__ volatile("divl %%ecx" ::"a"(1), "d"(0), "c"(0));
}

static void raise_gp(void *unused) {
  (void)unused;
  __asm__ volatile("movq (%0), %%rax" ::"r"(NON_CANONICAL_ADDRESS) : "rax");
}

static void raise_pf(void *unused) {
  (void)unused;
  __asm__ volatile("movq %%rax, (%0)" ::"r"(NOT_PRESENT_ADDRESS) : "memory");
}

/** No exception: nobody answers, and the read returns all ones on a PC (zeroes under QEMU). */
static void read_unmapped(void *unused) {
  (void)unused;
  volatile u32 *place = (volatile u32 *)UNMAPPED_ADDRESS;
  *place = 0x12345678;
  printf("FAULT unmapped read=0x%08x\n", *place);
}

/** Fetches instructions where there is nothing; with NX the page tables forbid it before. */
static void jump_unmapped(void *unused) {
  (void)unused;
  __asm__ volatile("call *%0" ::"r"(UNMAPPED_ADDRESS) : "memory");
}

static void jump_not_present(void *unused) {
  (void)unused;
  __asm__ volatile("call *%0" ::"r"(NOT_PRESENT_ADDRESS) : "memory");
}

static void raise_triple(void *unused) {
  (void)unused;
  triple_fault();
}

static const struct {
  const char *kind;
  void (*raise)(void *);
} faults[] = {
    {"ud", raise_ud},
    {"de", raise_de},
    {"gp", raise_gp},
    {"pf", raise_pf},
    {"triple", raise_triple},
    {"unmapped", read_unmapped},
    {"jump", jump_unmapped},
    {"jumpnp", jump_not_present},
};

void verb_fault(const struct arguments *arguments) {
  const char *kind = argument_text(arguments, "kind", "");
  for (u32 i = 0; i < ARRAY_LENGTH(faults); i++) {
    if (strcmp(kind, faults[i].kind) != 0) continue;
    if (!argument_u64(arguments, "catch", 0)) {
      faults[i].raise(0);
      return;
    }
    struct caught_exception caught;
    if (try_call(faults[i].raise, 0, &caught))
      printf("FAULT %s vector=%lu error=0x%lx cr2=0x%lx\n", kind, caught.vector, caught.error_code, caught.cr2);
    else printf("FAULT %s raised nothing\n", kind);
    return;
  }
  report_fail("fault", "kind=%s is none of ud, de, gp, pf, triple, unmapped, jump, jumpnp", kind);
}
