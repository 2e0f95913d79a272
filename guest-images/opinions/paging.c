/*
 * Paging in 32-bit mode, with 4-KiB and 4-MiB pages, and PAE paging with 4-KiB and 2-MiB pages: every combination of
 * rights at both levels for both privileges, #PF error codes and CR2, accessed and dirty bits, reserved bits, WP, NX, SMEP, SMAP,
 * global pages and INVLPG. SDM Vol. 3A, "Paging".
 */
#include "runtime.h"

const char program_name[] = "paging";

enum { OK = VECTOR_DONE, PF = 14, GP = 13 };
#define P 1u
#define W 2u
#define U 4u
#define A 0x20u
#define D 0x40u
#define LARGE 0x80u
#define G 0x100u
#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u
#define PF_I 0x10u
#define CR0_WP 0x10000u
#define CR0_PG 0x80000000u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_PGE 0x80u
#define CR4_SMEP 0x100000u
#define CR4_SMAP 0x200000u

/* The page under test: linear 40000000H. Its frame, and one more. */
#define MEMORY(at) (*(volatile u32 *)(at))
#define MEMORY16(at) (*(volatile u16 *)(at))
#define TEST 0x40000000u
#define SMALL_FRAME 0x60000u
#define OTHER_FRAME 0x61000u

static volatile u32 *const directory = (u32 *)LOW_PAGE_TABLES;
static volatile u32 *const table = (u32 *)(LOW_PAGE_TABLES + 0x1000);
/* PAE: pointers, the directory of the first GiB, that of the second, and its first table. */
static volatile u64 *const pointers = (u64 *)(LOW_PAGE_TABLES + 0x2000);
static volatile u64 *const directory0 = (u64 *)(LOW_PAGE_TABLES + 0x3000);
static volatile u64 *const directory1 = (u64 *)(LOW_PAGE_TABLES + 0x4000);
static volatile u64 *const table64 = (u64 *)(LOW_PAGE_TABLES + 0x5000);
static int is_pae, has_nx, has_smep, has_smap, has_pge;
static u32 physical_bits;

/* Identity for the lowest 32 MiB, with user access so that ring 3 can run: SMEP and SMAP tests map their own. */
static void build_32(void) {
  memset((void *)directory, 0, 8192);
  for (u32 i = 0; i < 8; i++) directory[i] = i << 22 | LARGE | A | D | U | W | P;
  directory[TEST >> 22] = (u32)table | U | W | P;
}
static void build_pae(void) {
  memset((void *)pointers, 0, 0x4000);
  pointers[0] = (u32)directory0 | P;
  pointers[1] = (u32)directory1 | P;
  for (u32 i = 0; i < 16; i++) directory0[i] = i << 21 | LARGE | A | D | U | W | P;
  directory1[0] = (u32)table64 | U | W | P;
}
static void invalidate(void) { __asm__ volatile("invlpg (%0)" ::"r"(TEST) : "memory"); }
static void reload(void) { write_cr3(is_pae ? (u32)pointers : (u32)directory); }
/* The tables as they were at first: built with paging off. */
static void rebuild(void) {
  write_cr0(read_cr0() & ~CR0_PG);
  if (is_pae) build_pae();
  else build_32();
  reload();
  write_cr0(read_cr0() | CR0_PG | CR0_WP);
}
static void set_leaf(u64 entry) {
  if (is_pae) table64[0] = entry;
  else table[0] = (u32)entry;
}
static u32 leaf(void) { return is_pae ? (u32)table64[0] : table[0]; }
static void set_upper(u64 bits) {
  if (is_pae) directory1[0] = (u32)table64 | bits;
  else directory[TEST >> 22] = (u32)table | (u32)bits;
}
static u32 upper(void) { return is_pae ? (u32)directory1[0] : directory[TEST >> 22]; }

FLAT(read_, "mov eax, [ebx]");
FLAT(write_, "mov [ebx], ecx");
FLAT(modify_, "add [ebx], ecx");
FLAT(execute_, "jmp ebx");

/* One access to TEST + 8. Returns the error code, or 100H when there was none. */
#define NO_FAULT 0x100u
static u32 access(u32 cpl, const u8 *code) {
  context_flat(cpl);
  context.ebx = TEST + 8, context.ecx = 0x1234;
  invalidate();
  run_flat(code);
  if (context.vector == OK) return NO_FAULT;
  check("vector", context.vector, PF);
  check("cr2", context.cr2, TEST + 8);
  check("eip", context.eip, code == execute_ ? TEST + 8 : (u32)code);
  return context.error;
}

static void prepare_frame(void) {
  volatile u8 *bytes = (volatile u8 *)SMALL_FRAME;
  for (u32 i = 0; i < 16; i++) bytes[i] = 0x90;
  bytes[10] = 0xCD, bytes[11] = VECTOR_DONE; /* what `execute_` comes to */
}

static void rights(const char *group) {
  begin(group);
  prepare_frame();
  for (u32 wp = 0; wp < 2; wp++) {
    write_cr0((read_cr0() & ~CR0_WP) | (wp ? CR0_WP : 0));
    for (u32 bits = 0; bits < 64; bits++) {
      u32 up = bits & 7, low = bits >> 3;
      for (u32 cpl = 0; cpl <= 3; cpl += 3)
        for (u32 kind = 0; kind < 4; kind++) {
          const u8 *code = kind == 0 ? read_ : kind == 1 ? write_ : kind == 2 ? modify_ : execute_;
          prepare_frame();
          set_upper(up), set_leaf(SMALL_FRAME | low);
          int writes = kind == 1 || kind == 2;
          int present = up & low & P, user = up & low & U, writable = up & low & W;
          int allowed = present && (cpl == 0 || user) && (!writes || writable || (cpl == 0 && !wp));
          /* I/D is reported with NX or SMEP alone; W where the access that faulted was a write. A read-modify-write is one. */
          u32 error = (present ? PF_P : 0) | (writes ? PF_W : 0) | (cpl == 3 ? PF_U : 0);
          if (kind == 3 && ((is_pae && has_nx) || (read_cr4() & CR4_SMEP))) error |= PF_I;
          u32 got = access(cpl, code);
          /* Intel's processors report the read of a read-modify-write as a write. */
          check("error", got, allowed ? NO_FAULT : error);
          check("leaf-bits", leaf() & (A | D), allowed ? A | (writes ? D : 0) : leaf() & A ? leaf() & A : 0);
          if (allowed) check("upper-accessed", upper() & A, A);
          if (!allowed) check("not-dirty", leaf() & D, 0);
        }
    }
  }
  write_cr0(read_cr0() | CR0_WP);
  end();
}

static void translation(const char *group) {
  begin(group);
  volatile u32 *at = (volatile u32 *)TEST;
  MEMORY(SMALL_FRAME) = 0x11111111, MEMORY(OTHER_FRAME) = 0x22222222;
  set_upper(U | W | P), set_leaf(SMALL_FRAME | U | W | P), reload();
  check("first", *at, 0x11111111);
  set_leaf(OTHER_FRAME | U | W | P), invalidate();
  check("invlpg", *at, 0x22222222);
  *at = 0x33333333, check("write", MEMORY(OTHER_FRAME), 0x33333333), check("dirty", leaf() & (A | D), A | D);
  set_leaf(SMALL_FRAME | U | W | P), reload(), check("cr3", *at, 0x11111111);
  /* A word across two pages. */
  if (is_pae) table64[1] = OTHER_FRAME | U | W | P;
  else table[1] = OTHER_FRAME | U | W | P;
  MEMORY16(SMALL_FRAME + 0xFFE) = 0xBBAA, MEMORY16(OTHER_FRAME) = 0xDDCC;
  reload(), check("across", MEMORY(TEST + 0xFFE), 0xDDCCBBAA);
  MEMORY(TEST + 0xFFE) = 0x44332211;
  check("across-low", MEMORY16(SMALL_FRAME + 0xFFE), 0x2211), check("across-high", MEMORY16(OTHER_FRAME), 0x4433);
  /* The second page faults: nothing is written to the first, and CR2 is the second's first byte. */
  if (is_pae) table64[1] = 0;
  else table[1] = 0;
  reload();
  context_flat(3), context.ebx = TEST + 0xFFE, context.ecx = 0xFFFFFFFF, run_flat(write_);
  check("across-fault", context.vector, PF), check("across-error", context.error, PF_W | PF_U), check("across-cr2", context.cr2, TEST + 0x1000);
  check("across-unchanged", MEMORY16(SMALL_FRAME + 0xFFE), 0x2211);
  if (has_pge) {
    /* A global page outlives a load of CR3, and not one of CR4.PGE. */
    write_cr4(read_cr4() | CR4_PGE);
    set_leaf(SMALL_FRAME | G | U | W | P), invalidate();
    MEMORY(SMALL_FRAME) = 0x55555555, MEMORY(OTHER_FRAME) = 0x66666666;
    check("global", *at, 0x55555555);
    set_leaf(OTHER_FRAME | G | U | W | P), write_cr4(read_cr4() & ~CR4_PGE);
    check("global-flushed", *at, 0x66666666);
  }
  end();
}

static void large_pages(const char *group) {
  begin(group);
  u32 shift = is_pae ? 21 : 22;
  /* The large page maps the low memory, where the frames are. */
  u64 entry = (u64)LARGE | U | W | P;
  MEMORY(SMALL_FRAME) = 0x12344321;
  if (is_pae) directory1[0] = entry;
  else directory[TEST >> 22] = (u32)entry;
  reload();
  check("read", MEMORY(TEST + SMALL_FRAME), 0x12344321);
  check("accessed", upper() & (A | D), A);
  MEMORY(TEST + SMALL_FRAME) = 5, check("write", MEMORY(SMALL_FRAME), 5), check("dirty", upper() & (A | D), A | D);
  check("end", MEMORY(TEST + (1u << shift) - 4096 + 0), MEMORY((1u << shift) - 4096));
  /* Rights of a large page. */
  for (u32 bits = 0; bits < 8; bits++) {
    u64 e = (u64)LARGE | bits;
    if (is_pae) directory1[0] = e;
    else directory[TEST >> 22] = (u32)e;
    for (u32 cpl = 0; cpl <= 3; cpl += 3)
      for (u32 writes = 0; writes < 2; writes++) {
        reload();
        context_flat(cpl), context.ebx = TEST + SMALL_FRAME, run_flat(writes ? write_ : read_);
        int present = bits & P, allowed = present && (cpl == 0 || bits & U) && (!writes || bits & W);
        u32 error = (present ? PF_P : 0) | (writes ? PF_W : 0) | (cpl == 3 ? PF_U : 0);
        check("vector", context.vector, allowed ? OK : PF);
        if (!allowed) check("error", context.error, error), check("cr2", context.cr2, TEST + SMALL_FRAME);
      }
  }
  if (is_pae) directory1[0] = entry | 1u << 13;
  else directory[TEST >> 22] = (u32)entry | 1u << 21; /* a PSE-36 entry's bit 21 is reserved */
  reload();
  context_flat(0), context.ebx = TEST, run_flat(read_);
  check("reserved", context.vector, PF), check("reserved-error", context.error, PF_RSVD | PF_P);
  /* Without CR4.PSE, bit 7 of a directory entry is ignored. */
  if (!is_pae) {
    rebuild();
    write_cr0(read_cr0() & ~CR0_PG);
    for (u32 i = 0; i < 8; i++) {
      volatile u32 *small = (volatile u32 *)(LOW_PAGE_TABLES + 0x6000 + 0x1000 * i);
      for (u32 k = 0; k < 1024; k++) small[k] = i << 22 | k << 12 | U | W | P;
      directory[i] = (u32)small | U | W | P;
    }
    set_leaf(SMALL_FRAME | U | W | P), set_upper(LARGE | U | W | P);
    MEMORY(SMALL_FRAME) = 0x77;
    write_cr4(read_cr4() & ~CR4_PSE), reload(), write_cr0(read_cr0() | CR0_PG);
    check("no-pse", MEMORY(TEST), 0x77);
    write_cr0(read_cr0() & ~CR0_PG);
    write_cr4(read_cr4() | CR4_PSE);
  }
  rebuild();
  end();
}

FLAT(load_cr3, "mov cr3, eax");
static void nx_off(void) {
  begin("nx-off");
  set_upper(U | W | P), set_leaf(1ULL << 63 | SMALL_FRAME | U | W | P);
  check("leaf", access(0, read_), PF_RSVD | PF_P);
  set_upper(1ULL << 63 | U | W | P), set_leaf(SMALL_FRAME | U | W | P);
  check("upper", access(0, read_), PF_RSVD | PF_P);
  set_upper(U | W | P);
  end();
}

static void reserved_bits(void) {
  rebuild();
  begin("pae-reserved");
  static const struct {
    u32 bit, level; /* 0: table, 1: directory */
  } cases[] = {{52, 0}, {62, 0}, {52, 1}, {62, 1}};
  for (u32 i = 0; i < 4; i++) {
    u64 bit = 1ULL << cases[i].bit;
    set_upper((cases[i].level == 1 ? bit : 0) | U | W | P), set_leaf((cases[i].level == 0 ? bit : 0) | SMALL_FRAME | U | W | P);
    check("read", access(0, read_), PF_RSVD | PF_P);
    check("write-user", access(3, write_), PF_RSVD | PF_P | PF_W | PF_U);
    check("no-accessed", leaf() & A, 0);
  }
  /* Beyond the physical-address width. */
  if (physical_bits < 52) {
    set_upper(U | W | P), set_leaf(1ULL << physical_bits | SMALL_FRAME | U | W | P);
    check("address", access(0, read_), PF_RSVD | PF_P);
    set_leaf(1ULL << physical_bits | SMALL_FRAME | U | W);
    check("not-present", access(0, read_), 0);
  }
  set_leaf(SMALL_FRAME | U | W | P);
  /* PDPTEs are loaded with CR3 and checked then. */
  u64 before = pointers[1];
  pointers[1] |= 1 << 1;
  u32 vector = 0;
  context_flat(0), context.eax = (u32)pointers, vector = run_flat(load_cr3);
  check("pdpte", vector, GP), check("pdpte-error", context.error, 0);
  pointers[1] = before & ~(u64)P, reload();
  check("pdpte-not-present", access(0, read_), 0);
  pointers[1] = before;
  /* Still as loaded. */
  invalidate();
  check("pdpte-latched", access(0, read_), 0);
  reload(), check("pdpte-reloaded", access(0, read_), NO_FAULT);
  end();
}

static void set_efer_nxe(int on) {
  u32 low, high;
  __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xC0000080));
  low = on ? low | 0x800 : low & ~0x800u;
  __asm__ volatile("wrmsr" ::"a"(low), "d"(high), "c"(0xC0000080));
}

static void execute_disable(void) {
  begin("nx");
  prepare_frame();
  set_upper(U | W | P), set_leaf(1ULL << 63 | SMALL_FRAME | U | W | P);
  for (u32 cpl = 0; cpl <= 3; cpl += 3) {
    check("read", access(cpl, read_), NO_FAULT);
    prepare_frame();
    check("execute", access(cpl, execute_), PF_P | PF_I | (cpl ? PF_U : 0));
  }
  set_upper(1ULL << 63 | U | W | P), set_leaf(SMALL_FRAME | U | W | P);
  check("upper", access(0, execute_), PF_P | PF_I);
  end();
}

/* SMEP and SMAP: all of the program becomes supervisor pages, and the page under test a user page. */
FLAT(read_ac, "stac; mov eax, [ebx]; clac");
FLAT(write_ac, "pushfd; or dword ptr [esp], 0x40000; popfd; mov [ebx], ecx");
static void supervisor_only(void) {
  u32 i;
  if (is_pae)
    for (i = 0; i < 16; i++) directory0[i] &= ~(u64)U;
  else
    for (i = 0; i < 8; i++) directory[i] &= ~U;
  set_upper(U | W | P), set_leaf(SMALL_FRAME | U | W | P), reload();
  prepare_frame();
  if (has_smep) {
    begin(is_pae ? "smep-pae" : "smep-32");
    check("off", access(0, execute_), NO_FAULT);
    write_cr4(read_cr4() | CR4_SMEP);
    check("user-page", access(0, execute_), PF_P | PF_I);
    check("data", access(0, read_), NO_FAULT);
    set_leaf(SMALL_FRAME | W | P), check("supervisor-page", access(0, execute_), NO_FAULT);
    set_leaf(SMALL_FRAME | U | W), check("not-present", access(0, execute_), PF_I);
    set_leaf(SMALL_FRAME | U | W | P);
    write_cr4(read_cr4() & ~CR4_SMEP);
    end();
  }
  if (has_smap) {
    begin(is_pae ? "smap-pae" : "smap-32");
    write_cr4(read_cr4() | CR4_SMAP);
    check("read", access(0, read_), PF_P);
    check("write", access(0, write_), PF_P | PF_W);
    check("stac", access(0, read_ac), NO_FAULT);
    check("popf-ac", access(0, write_ac), NO_FAULT);
    set_leaf(SMALL_FRAME | W | P), check("supervisor-page", access(0, read_), NO_FAULT);
    set_leaf(SMALL_FRAME | U | W | P);
    prepare_frame(), check("execute", access(0, execute_), NO_FAULT); /* a fetch is SMEP's matter */
    write_cr4(read_cr4() & ~CR4_SMAP);
    check("off", access(0, read_), NO_FAULT);
    end();
  }
}

/* Page faults of what the processor does by itself: pushes, descriptor tables and TSS are supervisor accesses. */
static void load_ldt(u32 selector) { __asm__ volatile("lldt %w0" ::"r"(selector)); }
FLAT(push_, "mov esp, ebx; push ecx");
FLAT(load_fs, "mov fs, eax");
static void implicit_accesses(const char *group) {
  begin(group);
  rebuild();
  set_upper(U | W | P), set_leaf(0), reload();
  context_flat(3), context.ebx = TEST + 16, run_flat(push_);
  check("push", context.vector, PF), check("push-error", context.error, PF_W | PF_U), check("push-cr2", context.cr2, TEST + 12);
  check("push-esp", context.esp, TEST + 16);
  /* A descriptor table in a page that is not there, and then in one for the supervisor alone. */
  set_gdt(SEL_LDT, descriptor(TEST, 63, 0x82, 0)), load_ldt(SEL_LDT);
  context_flat(3), context.eax = 0xF, run_flat(load_fs);
  check("descriptor", context.vector, PF), check("descriptor-error", context.error, 0), check("descriptor-cr2", context.cr2, TEST + 8);
  set_leaf(SMALL_FRAME | W | P), ((volatile u64 *)SMALL_FRAME)[1] = descriptor(0, 0xFFFFF, 0xF2, 0xC), reload();
  context_flat(3), context.eax = 0xF, run_flat(load_fs), check("supervisor", context.vector, OK);
  check("accessed", (u32)(((volatile u64 *)SMALL_FRAME)[1] >> 40) & 0xFF, 0xF3);
  set_leaf(SMALL_FRAME | P), ((volatile u64 *)SMALL_FRAME)[1] = descriptor(0, 0xFFFFF, 0xF2, 0xC), reload();
  context_flat(3), context.eax = 0xF, run_flat(load_fs), check("read-only", context.vector, PF);
  check("read-only-error", context.error, PF_P | PF_W);
  load_ldt(0);
  set_gdt(SEL_LDT, descriptor((u32)ldt, sizeof ldt - 1, 0x82, 0));
  end();
}

void program_run(void) {
  u32 eax, ebx, ecx, edx, max_leaf;
  cpuid(1, 0, &eax, &ebx, &ecx, &edx);
  has_pge = edx >> 13 & 1;
  int has_pae = edx >> 6 & 1;
  cpuid(0, 0, &max_leaf, &ebx, &ecx, &edx);
  if (max_leaf >= 7) cpuid(7, 0, &eax, &ebx, &ecx, &edx), has_smep = ebx >> 7 & 1, has_smap = ebx >> 20 & 1;
  cpuid(0x80000000, 0, &eax, &ebx, &ecx, &edx);
  u32 extended = eax;
  physical_bits = 36;
  int can_nx = 0;
  if (extended >= 0x80000001 && extended < 0x80001000) cpuid(0x80000001, 0, &eax, &ebx, &ecx, &edx), can_nx = edx >> 20 & 1;
  if (extended >= 0x80000008 && extended < 0x80001000) cpuid(0x80000008, 0, &eax, &ebx, &ecx, &edx), physical_bits = eax & 0xFF;

  write_cr4(read_cr4() | CR4_PSE);
  rebuild();
  rights("rights-32");
  translation("translation-32");
  large_pages("large-pages-32");
  supervisor_only();
  write_cr0(read_cr0() & ~CR0_PG);
  if (has_pae) {
    is_pae = 1;
    write_cr4(read_cr4() | CR4_PAE);
    rebuild();
    rights("rights-pae");
    translation("translation-pae");
    nx_off();
    if (can_nx) {
      set_efer_nxe(1), has_nx = 1;
      rights("rights-pae-nx");
      execute_disable();
    }
    large_pages("large-pages-pae");
    supervisor_only();
    /* These last: there is a machine that gives up at some. */
    reserved_bits();
    implicit_accesses("implicit-pae");
    write_cr0(read_cr0() & ~CR0_PG);
    write_cr4(read_cr4() & ~CR4_PAE);
    is_pae = has_nx = 0;
  }
  rebuild();
  implicit_accesses("implicit-32");
}
