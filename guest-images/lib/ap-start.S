/*
 * Start-up code of an application processor. smp.c copies it to AP_START_BASE and writes the parameters at its
 * end; the start-up IPI enters it in real mode with CS = AP_START_BASE >> 4 and IP = 0 (SDM Vol. 3A,
 * "Multiple-Processor (MP) Initialization").
 */
#include "memory-map.h"

#define AT(symbol) (AP_START_BASE + (symbol) - ap_start)
#define MSR_IA32_EFER 0xC0000080

  .section .rodata
  .balign 16
  .globl ap_start, ap_start_end, ap_start_parameters
ap_start:
  .code16
  cli
  cld
  xorw %ax, %ax
  movw %ax, %ds
  lgdtl AT(ap_gdt_pointer)
  movl %cr0, %eax
  orl $1, %eax
  movl %eax, %cr0
  ljmpl $SELECTOR_CODE32, $AT(ap_start32)

  .code32
ap_start32:
  movl $SELECTOR_DATA, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl AT(ap_cr4), %eax
  movl %eax, %cr4
  movl AT(ap_cr3), %eax
  movl %eax, %cr3
  movl $MSR_IA32_EFER, %ecx
  rdmsr
  movl AT(ap_efer), %eax
  wrmsr
  movl AT(ap_cr0), %eax
  movl %eax, %cr0
  ljmpl $SELECTOR_CODE64, $AT(ap_start64)

  .code64
ap_start64:
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  movq AT(ap_stack), %rsp
  movq AT(ap_cpu), %rdi
  movq AT(ap_entry), %rax
  xorl %ebp, %ebp
  call *%rax
1:
  cli
  hlt
  jmp 1b

  .balign 8
ap_gdt_pointer:
  .word 4 * 8 - 1
  .long boot_gdt
  .balign 8
/* struct ap_parameters in smp.c */
ap_start_parameters:
ap_stack:
  .quad 0
ap_cpu:
  .quad 0
ap_entry:
  .quad 0
ap_cr0:
  .long 0
ap_cr3:
  .long 0
ap_cr4:
  .long 0
ap_efer:
  .long 0
ap_start_end:

  .section .note.GNU-stack, "", @progbits
