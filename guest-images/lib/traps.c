#include "traps.h"

#include "console.h"
#include "heap.h"
#include "io.h"
#include "memory-map.h"
#include "string.h"

#define DEBUG_EXIT_PORT 0xF4

#define GATE_INTERRUPT 0x8E00 /* present, DPL 0, 64-bit interrupt gate */
#define IST_DOUBLE_FAULT 1
#define IST_NMI 2

/* SDM Vol. 3A, "64-Bit Mode IDT". */
struct __attribute__((packed)) gate {
  u16 offset_low, selector;
  u16 ist_and_type_low; /* bits 2:0 IST; bits 15:8 P, DPL, type */
  u16 offset_middle;
  u32 offset_high, reserved;
};

struct __attribute__((packed)) table_register {
  u16 limit;
  u64 base;
};

struct cpu cpus[MAX_CPUS];
u32 cpu_count = 1;

extern u8 vector_stubs[];
static struct gate idt[256] __attribute__((aligned(PAGE_BYTES)));
static trap_handler handlers[256];
/* Stacks for #DF and NMI; the booting CPU needs its own before there is a heap. */
#define FAULT_STACK_BYTES 2048
static u8 boot_fault_stacks[2 * FAULT_STACK_BYTES] __attribute__((aligned(16)));

/* try_call's way back: the stack pointer of try_enter (below), 0 when no call is under way. */
u64 try_stack_pointer;
static struct caught_exception last_caught;

void traps_init(void) {
  for (u32 vector = 0; vector < 256; vector++) {
    u64 offset = POINTER_TO_PHYSICAL(vector_stubs) + 16 * vector;
    u16 ist = vector == VECTOR_DF ? IST_DOUBLE_FAULT : vector == VECTOR_NMI ? IST_NMI : 0;
    idt[vector] = (struct gate){
        .offset_low = (u16)offset,
        .selector = SELECTOR_CODE64,
        .ist_and_type_low = GATE_INTERRUPT | ist,
        .offset_middle = (u16)(offset >> 16),
        .offset_high = (u32)(offset >> 32),
    };
  }
}

void traps_init_cpu(struct cpu *cpu) {
  cpu->self = cpu;
  cpu->index = (u32)(cpu - cpus);
  u8 *stacks = cpu->index == 0 ? boot_fault_stacks : heap_allocate(2 * FAULT_STACK_BYTES, 16);
  cpu->tss.ist[IST_DOUBLE_FAULT - 1] = POINTER_TO_PHYSICAL(stacks + FAULT_STACK_BYTES);
  cpu->tss.ist[IST_NMI - 1] = POINTER_TO_PHYSICAL(stacks + 2 * FAULT_STACK_BYTES);
  cpu->tss.io_map_base = sizeof cpu->tss;

  extern const u64 boot_gdt[];
  for (int i = 0; i < 4; i++) cpu->gdt[i] = boot_gdt[i];
  /* SDM Vol. 3A, "TSS Descriptor in 64-bit mode": 16 bytes, type 9 (available), present. */
  u64 base = POINTER_TO_PHYSICAL(&cpu->tss), limit = sizeof cpu->tss - 1;
  cpu->gdt[4] = (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | 0x89UL << 40 | (limit >> 16 & 0xF) << 48 |
                (base >> 24 & 0xFF) << 56;
  cpu->gdt[5] = base >> 32;

  struct table_register gdtr = {sizeof cpu->gdt - 1, POINTER_TO_PHYSICAL(cpu->gdt)};
  struct table_register idtr = {sizeof idt - 1, POINTER_TO_PHYSICAL(idt)};
  __asm__ volatile("lgdt %0; lidt %1; ltr %w2" ::"m"(gdtr), "m"(idtr), "r"(SELECTOR_TSS) : "memory");
  wrmsr(MSR_IA32_GS_BASE, POINTER_TO_PHYSICAL(cpu));
}

void trap_set_handler(u8 vector, trap_handler handler) { WRITE_ONCE(handlers[vector], handler); }

static const char *const exception_names[] = {
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "coprocessor segment overrun", "#TS",
    "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM", "#VE", "#CP"};

static void print_frame(const struct trap_frame *f) {
  const char *name = f->vector < ARRAY_LENGTH(exception_names) ? exception_names[f->vector] : "interrupt";
  printf("\nEXCEPTION %s vector=%lu error=0x%lx cr2=0x%lx cpu=%u\n", name, f->vector, f->error_code, read_cr2(),
         PERCPU->index);
  printf("rip=%016lx cs=%04lx rflags=%016lx rsp=%016lx ss=%04lx\n", f->rip, f->cs, f->rflags, f->rsp, f->ss);
  printf("rax=%016lx rbx=%016lx rcx=%016lx rdx=%016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
  printf("rsi=%016lx rdi=%016lx rbp=%016lx r8 =%016lx\n", f->rsi, f->rdi, f->rbp, f->r8);
  printf("r9 =%016lx r10=%016lx r11=%016lx r12=%016lx\n", f->r9, f->r10, f->r11, f->r12);
  printf("r13=%016lx r14=%016lx r15=%016lx\n", f->r13, f->r14, f->r15);
  printf("cr0=%016lx cr3=%016lx cr4=%016lx efer=%016lx\n", read_cr0(), read_cr3(), read_cr4(),
         rdmsr(MSR_IA32_EFER));
}

/** Where a caught exception resumes; written in assembly below. */
extern u8 try_recover[];

/** Called by the entry stubs for every vector, with IF = 0. */
void trap(struct trap_frame *frame) {
  u8 vector = (u8)frame->vector;
  PERCPU->counters.irqs[vector]++;
  trap_handler handler = READ_ONCE(handlers[vector]);
  if (handler) {
    handler(frame);
    return;
  }
  if (vector < 32 && try_stack_pointer != 0 && PERCPU->index == 0) {
    last_caught = (struct caught_exception){vector, frame->error_code, frame->rip, read_cr2()};
    frame->rip = POINTER_TO_PHYSICAL(try_recover);
    frame->rsp = try_stack_pointer;
    return;
  }
  print_frame(frame);
  panic("no handler for vector %u", vector);
}

/*
 * u64 try_enter(function, argument): calls the function and returns 0. trap() turns an exception in it into a
 * return with 1, by resuming at try_recover with the stack as it was before the call.
 */
__asm__(
    ".text\n"
    "try_enter:\n"
    "  pushq %rbx\n  pushq %rbp\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  pushfq\n"
    "  movq %rsp, try_stack_pointer\n"
    "  movq %rdi, %rax\n  movq %rsi, %rdi\n"
    "  call *%rax\n"
    "  xorl %eax, %eax\n"
    "  jmp try_leave\n"
    ".globl try_recover\n"
    "try_recover:\n"
    "  movl $1, %eax\n"
    "try_leave:\n"
    "  movq $0, try_stack_pointer\n"
    "  popfq\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbp\n  popq %rbx\n"
    "  ret\n");
u64 try_enter(void (*function)(void *), void *argument);

bool try_call(void (*function)(void *), void *argument, struct caught_exception *caught) {
  bool failed = try_enter(function, argument) != 0;
  if (failed) *caught = last_caught;
  return failed;
}

void debug_exit(u32 code) { outl(DEBUG_EXIT_PORT, code); }

void halt_forever(void) {
  for (;;) __asm__ volatile("cli; hlt");
}

void panic(const char *format, ...) {
  interrupts_off();
  char message[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  printf("PANIC: %s\n", message);
  debug_exit(DEBUG_EXIT_PANIC);
  halt_forever();
}
