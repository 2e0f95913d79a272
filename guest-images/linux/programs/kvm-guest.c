/*
 * Runs a guest by Linux's KVM interface (Linux kernel documentation, "The Definitive KVM (Kernel-based Virtual Machine) API
 * Documentation") and prints what KVM counted. The guest is real-mode code that writes to a port and reads from one `ROUNDS` times, writes
 * to an address without memory, and halts: 2 × ROUNDS I/O exits, one MMIO exit, one HLT exit.
 *
 * A static program without a C library: _start, and system calls by number (x86-64). Exit status 0 when all came as it should.
 */
#include "system.h"

enum { ROUNDS = 1000, OUT_PORT = 0x10, IN_PORT = 0x11 };
#define CODE_AT 0x1000UL
#define MEMORY_BYTES 0x10000UL
/* Three pages and one that KVM itself wants on processors without unrestricted guests. */
#define TSS_AT 0xFFFBD000UL
#define IDENTITY_MAP_AT 0xFFFBC000UL

/* --- System calls ------------------------------------------------------------------------------------------------------------ */

enum { SYS_READ = 0, SYS_WRITE = 1, SYS_OPEN = 2, SYS_MMAP = 9, SYS_IOCTL = 16, SYS_PREAD64 = 17 };
enum { O_RDWR = 2, PROT_READ_WRITE = 3, MAP_SHARED = 1, MAP_PRIVATE_ANONYMOUS = 0x22 };

static long ioctl(long file, u64 request, u64 argument) {
  return call(SYS_IOCTL, (u64)file, request, argument, 0, 0, 0);
}
static void *map(u64 bytes, long file, u64 flags) {
  return (void *)call(SYS_MMAP, 0, bytes, PROT_READ_WRITE, flags, (u64)file, 0);
}

static void print(const char *text) { call(SYS_WRITE, 1, (u64)text, length(text), 0, 0, 0); }
static void print_number(u64 value) {
  char digits[24];
  u32 at = sizeof digits;
  digits[--at] = 0;
  do digits[--at] = (char)('0' + value % 10);
  while (value /= 10);
  print(digits + at);
}
static void report(const char *name, u64 value) {
  print("kvm: ");
  print(name);
  print(" ");
  print_number(value);
  print("\n");
}
static long need(const char *what, long result) {
  if (result >= 0) return result;
  print("kvm: FAIL ");
  print(what);
  print(", error ");
  print_number((u64)-result);
  print("\n");
  leave(1);
}

/* --- KVM's interface, as far as it is used here --------------------------------------------------------------------------------- */

#define KVM_GET_API_VERSION 0xAE00
#define KVM_CREATE_VM 0xAE01
#define KVM_GET_VCPU_MMAP_SIZE 0xAE04
#define KVM_CREATE_VCPU 0xAE41
#define KVM_SET_USER_MEMORY_REGION 0x4020AE46
#define KVM_SET_TSS_ADDR 0xAE47
#define KVM_SET_IDENTITY_MAP_ADDR 0x4008AE48
#define KVM_RUN 0xAE80
#define KVM_SET_REGS 0x4090AE82
#define KVM_GET_SREGS 0x8138AE83
#define KVM_SET_SREGS 0x4138AE84
#define KVM_GET_STATS_FD 0xAECE

enum { KVM_EXIT_IO = 2, KVM_EXIT_HLT = 5, KVM_EXIT_MMIO = 6 };

struct memory_region {
  u32 slot, flags;
  u64 guest_physical, bytes, user_address;
};
struct registers {
  u64 rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags;
};
/* struct kvm_sregs: CS is its first segment, with the base first and the selector behind base and limit. */
struct special_registers {
  u64 cs_base;
  u32 cs_limit;
  unsigned short cs_selector;
  u8 rest[312 - 14];
};
/* struct kvm_run up to the part that depends on the exit. */
struct run {
  u8 request_interrupt_window, immediate_exit, padding[6];
  u32 exit_reason;
  u8 ready_for_interrupt, if_flag;
  unsigned short flags;
  u64 cr8, apic_base;
  union {
    struct {
      u8 direction, size;
      unsigned short port;
      u32 count;
      u64 data_offset;
    } io;
    struct {
      u64 address;
      u8 data[8];
      u32 length;
      u8 is_write;
    } mmio;
  };
};

/* "KVM_GET_STATS_FD": header, descriptors, values. */
struct stats_header {
  u32 flags, name_size, count, id_offset, descriptors_offset, data_offset;
};
struct stats_descriptor {
  u32 flags;
  short exponent;
  unsigned short size;
  u32 offset, bucket_size;
  char name[48];
};

/* Prints every counter of the virtual CPU that is not 0 and does not depend on time. */
static void print_statistics(long vcpu) {
  long file = ioctl(vcpu, KVM_GET_STATS_FD, 0);
  if (file < 0) {
    print("kvm: no statistics\n");
    return;
  }
  struct stats_header header;
  call(SYS_PREAD64, (u64)file, (u64)&header, sizeof header, 0, 0, 0);
  u64 step = 16 + header.name_size;
  for (u32 i = 0; i < header.count && header.name_size <= 48; i++) {
    struct stats_descriptor descriptor;
    u64 value = 0;
    call(SYS_PREAD64, (u64)file, (u64)&descriptor, step, header.descriptors_offset + i * step, 0, 0);
    if (descriptor.size != 1) continue;
    call(SYS_PREAD64, (u64)file, (u64)&value, 8, header.data_offset + descriptor.offset, 0, 0);
    if (value) report(descriptor.name, value);
  }
}

static const u8 guest_code[] = {
    0xB9, ROUNDS & 0xFF, ROUNDS >> 8, /* mov cx, ROUNDS   */
    0x88, 0xC8,                       /* mov al, cl       */
    0xE6, OUT_PORT,                   /* out OUT_PORT, al */
    0xE4, IN_PORT,                    /* in al, IN_PORT   */
    0x00, 0xC3,                       /* add bl, al       */
    0xE2, 0xF6,                       /* loop             */
    0x88, 0x1E, 0x00, 0x00,           /* mov [0], bl: DS is a segment without memory behind it */
    0xF4,                             /* hlt              */
};

void program(void);
void program(void) {
  long kvm = need("open /dev/kvm", call(SYS_OPEN, (u64) "/dev/kvm", O_RDWR, 0, 0, 0, 0));
  report("api", (u64)ioctl(kvm, KVM_GET_API_VERSION, 0));
  long vm = need("KVM_CREATE_VM", ioctl(kvm, KVM_CREATE_VM, 0));
  u64 identity_map = IDENTITY_MAP_AT;
  need("KVM_SET_IDENTITY_MAP_ADDR", ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, (u64)&identity_map));
  need("KVM_SET_TSS_ADDR", ioctl(vm, KVM_SET_TSS_ADDR, TSS_AT));
  u8 *memory = map(MEMORY_BYTES, -1, MAP_PRIVATE_ANONYMOUS);
  struct memory_region region = {0, 0, 0, MEMORY_BYTES, (u64)memory};
  need("KVM_SET_USER_MEMORY_REGION", ioctl(vm, KVM_SET_USER_MEMORY_REGION, (u64)&region));
  for (u32 i = 0; i < sizeof guest_code; i++) memory[CODE_AT + i] = guest_code[i];

  long vcpu = need("KVM_CREATE_VCPU", ioctl(vm, KVM_CREATE_VCPU, 0));
  long run_bytes = need("KVM_GET_VCPU_MMAP_SIZE", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
  struct run *run = map((u64)run_bytes, vcpu, MAP_SHARED);
  struct special_registers special;
  need("KVM_GET_SREGS", ioctl(vcpu, KVM_GET_SREGS, (u64)&special));
  special.cs_base = 0;
  special.cs_selector = 0;
  /* DS, behind CS (24 bytes a segment): base 20000H is behind the guest's memory. */
  *(u64 *)(special.rest + 24 - 14) = 0x20000;
  *(unsigned short *)(special.rest + 24 - 14 + 12) = 0x2000;
  need("KVM_SET_SREGS", ioctl(vcpu, KVM_SET_SREGS, (u64)&special));
  struct registers registers = {.rip = CODE_AT, .rflags = 2};
  need("KVM_SET_REGS", ioctl(vcpu, KVM_SET_REGS, (u64)&registers));

  u64 outs = 0, ins = 0, mmios = 0, sum_written = 0, stored = 0;
  for (;;) {
    need("KVM_RUN", ioctl(vcpu, KVM_RUN, 0));
    if (run->exit_reason == KVM_EXIT_IO) {
      u8 *data = (u8 *)run + run->io.data_offset;
      if (run->io.direction) {
        outs++;
        sum_written += *data;
      } else *data = (u8)++ins;
    } else if (run->exit_reason == KVM_EXIT_MMIO) {
      mmios++;
      stored = run->mmio.data[0];
      report("mmio address", run->mmio.address);
    } else break;
  }
  report("reason of the last exit", run->exit_reason);
  report("outs", outs);
  report("ins", ins);
  report("mmios", mmios);
  report("sum of what was written", sum_written);
  report("sum of what was read", stored);
  print_statistics(vcpu);
  /* 1000 bytes 0E8H, 0E7H, … 1; and the low byte of 1 + 2 + … + 1000. */
  u64 written = 0, read = 0;
  for (u64 i = 1; i <= ROUNDS; i++) written += i & 0xFF, read += i;
  int is_right = run->exit_reason == KVM_EXIT_HLT && outs == ROUNDS && ins == ROUNDS && mmios == 1 &&
                 sum_written == written && stored == (read & 0xFF);
  print(is_right ? "kvm: PASS\n" : "kvm: FAIL\n");
  leave(!is_right);
}

__asm__(".globl _start\n_start: andq $-16, %rsp\n call program\n");
