/*
 * Multiboot entry of the 64-bit test programs. `enter64` loads every register from `context64` by IRETQ, whatever the mode and
 * privilege level of its CS, and is back when an interrupt or exception comes, with the state at that moment.
 */
#include "layout64.h"
  .intel_syntax noprefix

#define MULTIBOOT_HEADER_MAGIC 0x1BADB002
#define HAS_ERROR_CODE(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || (v) == 21)

  .section .boot, "ax"
  .code32
  .balign 4
  .long MULTIBOOT_HEADER_MAGIC, 0, -MULTIBOOT_HEADER_MAGIC
  .globl start
start:
  cli
  cld
  lgdt boot_gdt_pointer
  ljmp 16, offset 1f
1:
  mov ecx, 24
  mov ds, ecx
  mov es, ecx
  mov ss, ecx
  mov esp, offset stack_top
  mov edi, offset bss_start
  mov ecx, offset bss_end
  sub ecx, edi
  xor eax, eax
  rep stosb
  /* Identity for 1 GiB in 2-MiB pages, open to users. */
  mov dword ptr boot_pml4, offset boot_pdpt + 7
  mov dword ptr boot_pdpt, offset boot_directory + 7
  mov edi, offset boot_directory
  mov eax, 0x87
  mov ecx, 512
2:
  mov [edi], eax
  add edi, 8
  add eax, 0x200000
  loop 2b
  mov eax, cr4
  or eax, 0x20                                  /* PAE */
  mov cr4, eax
  mov eax, offset boot_pml4
  mov cr3, eax
  mov ecx, 0xC0000080
  rdmsr
  or eax, 0x901                                 /* SCE, LME, NXE */
  wrmsr
  mov eax, cr0
  or eax, 0x80010021                            /* PG, WP, NE, PE */
  mov cr0, eax
  ljmp 8, offset 3f
  .code64
3:
  mov eax, 24
  mov ds, eax
  mov es, eax
  mov ss, eax
  xor eax, eax
  mov fs, eax
  mov gs, eax
  mov esp, offset stack_top
  call program_main
4:
  hlt
  jmp 4b

  .section .rodata
  .balign 8
boot_gdt:
  .quad 0, 0x00AF9B000000FFFF, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
boot_gdt_pointer:
  .word 31
  .long boot_gdt

  .text
  .globl enter64, enter64_iret
enter64:
  push rbx
  push rbp
  push r12
  push r13
  push r14
  push r15
  mov host_rsp, rsp
  mov rsp, offset context64 + CTX64_RIP         /* RIP, CS, RFLAGS, RSP, SS: popped where they are */
  mov r15, context64 + CTX64_R15
  mov r14, context64 + CTX64_R14
  mov r13, context64 + CTX64_R13
  mov r12, context64 + CTX64_R12
  mov r11, context64 + CTX64_R11
  mov r10, context64 + CTX64_R10
  mov r9, context64 + CTX64_R9
  mov r8, context64 + CTX64_R8
  mov rdi, context64 + CTX64_RDI
  mov rsi, context64 + CTX64_RSI
  mov rbp, context64 + CTX64_RBP
  mov rbx, context64 + CTX64_RBX
  mov rdx, context64 + CTX64_RDX
  mov rcx, context64 + CTX64_RCX
  mov dword ptr is_entered, 1
  mov ax, context64 + CTX64_DS
  mov ds, eax
  mov es, eax
  mov rax, context64 + CTX64_RAX
enter64_iret:
  iretq

  .balign 16
  .globl trap_stubs
trap_stubs:
  .set vector, 0
  .rept 256
  .balign 16
  .if !HAS_ERROR_CODE(vector)
  push 0
  .endif
  push vector
  jmp trap_common
  .set vector, vector + 1
  .endr

trap_common:
  cld
  mov context64 + CTX64_RAX, rax
  mov context64 + CTX64_RCX, rcx
  mov context64 + CTX64_RDX, rdx
  mov context64 + CTX64_RBX, rbx
  mov context64 + CTX64_RBP, rbp
  mov context64 + CTX64_RSI, rsi
  mov context64 + CTX64_RDI, rdi
  mov context64 + CTX64_R8, r8
  mov context64 + CTX64_R9, r9
  mov context64 + CTX64_R10, r10
  mov context64 + CTX64_R11, r11
  mov context64 + CTX64_R12, r12
  mov context64 + CTX64_R13, r13
  mov context64 + CTX64_R14, r14
  mov context64 + CTX64_R15, r15
  mov eax, ds
  mov context64 + CTX64_DS, rax
  mov eax, ss
  mov context64 + CTX64_TRAP_SS, rax
  mov rax, cr2
  mov context64 + CTX64_CR2, rax
  pop context64 + CTX64_VECTOR
  pop context64 + CTX64_ERROR
  mov context64 + CTX64_TRAP_RSP, rsp
  pop context64 + CTX64_RIP
  pop context64 + CTX64_CS
  pop context64 + CTX64_RFLAGS
  pop context64 + CTX64_RSP
  pop context64 + CTX64_SS
  mov eax, SEL64_DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov rsp, offset trap_c_stack_top
  push 2
  popfq
  cmp dword ptr is_entered, 0
  je unexpected
  mov dword ptr is_entered, 0
  mov rsp, host_rsp
  pop r15
  pop r14
  pop r13
  pop r12
  pop rbp
  pop rbx
  ret
unexpected:
  mov rdi, context64 + CTX64_VECTOR
  mov rsi, context64 + CTX64_ERROR
  mov rdx, context64 + CTX64_RIP
  mov rcx, context64 + CTX64_CR2
  call report_panic

  .section .bss
  .balign 4096
  .globl boot_pml4, boot_pdpt, boot_directory
boot_pml4:
  .skip 4096
boot_pdpt:
  .skip 4096
boot_directory:
  .skip 4096
  .skip 32768
stack_top:
  .skip 8192
trap_c_stack_top:
  .balign 16
  .globl context64, is_entered, host_rsp
context64:
  .skip CTX64_BYTES
host_rsp:
  .skip 8
is_entered:
  .skip 8

  .section .note.GNU-stack, "", @progbits
