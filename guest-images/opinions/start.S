/*
 * Multiboot entry of the 32-bit test programs, and the two ways to run code under test: `enter` (protected and virtual-8086
 * mode, any privilege level) and `enter_real` (real-address mode). Both load every register from `context`, and are back when an
 * interrupt or exception comes, with the state at that moment in `context`.
 */
#include "layout.h"
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
  ljmp 8, offset 1f
1:
  mov ecx, 16
  mov ds, ecx
  mov es, ecx
  mov ss, ecx
  mov fs, ecx
  mov gs, ecx
  mov esp, offset stack_top
  xor ebp, ebp
  mov edi, offset bss_start
  mov ecx, offset bss_end
  sub ecx, edi
  xor eax, eax
  rep stosb
  mov esi, offset low_image                     /* the 16-bit part to where it runs */
  mov edi, LOW_CODE
  mov ecx, offset low_bytes
  rep movsb
  call program_main
2:
  hlt
  jmp 2b

  .section .rodata
  .balign 8
boot_gdt:
  .quad 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
boot_gdt_pointer:
  .word 23
  .long boot_gdt

/* --- protected and virtual-8086 mode --- */
  .text
  .globl enter, trap_common
enter:
  pushad
  mov host_esp, esp
  test dword ptr context + CTX_EFLAGS, 0x20000
  jz 1f
  push dword ptr context + CTX_GS
  push dword ptr context + CTX_FS
  push dword ptr context + CTX_DS
  push dword ptr context + CTX_ES
  push dword ptr context + CTX_SS
  push dword ptr context + CTX_ESP
  push dword ptr context + CTX_EFLAGS
  push dword ptr context + CTX_CS
  push dword ptr context + CTX_EIP
  push 0
  push 0
  push 0
  push 0
  jmp 3f
1:
  test dword ptr context + CTX_CS, 3
  jz 2f
  push dword ptr context + CTX_SS
  push dword ptr context + CTX_ESP
  jmp 4f
2:
  mov eax, context + CTX_ESP
  mov ss, word ptr context + CTX_SS
  mov esp, eax
4:
  push dword ptr context + CTX_EFLAGS
  push dword ptr context + CTX_CS
  push dword ptr context + CTX_EIP
  push dword ptr context + CTX_DS
  push dword ptr context + CTX_ES
  push dword ptr context + CTX_FS
  push dword ptr context + CTX_GS
3:
  mov eax, context + CTX_EAX
  mov ecx, context + CTX_ECX
  mov edx, context + CTX_EDX
  mov ebx, context + CTX_EBX
  mov ebp, context + CTX_EBP
  mov esi, context + CTX_ESI
  mov edi, context + CTX_EDI
  mov dword ptr is_entered, 1
  pop gs
  pop fs
  pop es
  pop ds
  .globl enter_iret
enter_iret:
  iretd

/* One stub a vector, 16 bytes each: error code or 0, vector. */
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
  pushad
  push ds
  push es
  push fs
  push gs
  mov eax, SEL_DATA
  mov ds, eax
  mov es, eax
  /* [esp]: gs fs es ds, edi esi ebp esp ebx edx ecx eax, vector error eip cs eflags (esp ss (es ds fs gs)) */
  mov eax, ss
  mov trap_ss, eax
  mov trap_esp, esp
  mov eax, cr2
  mov context + CTX_CR2, eax
  mov eax, SEL_DATA
  mov fs, eax
  mov gs, eax
  mov ss, eax
  mov esp, offset trap_c_stack_top
  push 2
  popfd
  push dword ptr trap_esp
  call trap_record
  mov dword ptr is_entered, 0
  mov esp, host_esp
  popad
  ret

/* --- real-address mode --- */
  .globl enter_real
enter_real:
  pushad
  mov host_esp, esp
  mov esi, offset context                       /* where 16-bit code finds it */
  mov edi, offset low_context - low_start + LOW_CODE
  mov ecx, CTX_BYTES / 4
  rep movsd
  lidt real_idt
  ljmp SEL_CODE16_0, offset low_enter - low_start + LOW_CODE
back_from_real:
  mov eax, SEL_DATA
  mov ds, eax
  mov es, eax
  mov fs, eax
  mov gs, eax
  mov ss, eax
  mov esp, host_esp
  lidt idt_pointer
  mov esi, offset low_context - low_start + LOW_CODE
  mov edi, offset context
  mov ecx, CTX_BYTES / 4
  cld
  rep movsd
  popad
  ret

  .section .data
  .balign 4
  .globl real_idt
real_idt:                                       /* its limit is the tests' to change */
  .word 0x3FF
  .long 0

#define LOW(label) ((label) - low_start + LOW_CODE)
  .section .rodata
  .balign 16
low_image:
low_start:
  .code16
low_enter:
  mov ax, SEL_DATA16_0
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov eax, cr0
  and al, 0xFE
  mov cr0, eax
  .byte 0xEA                                    /* jmp 0:low_real */
  .word LOW(low_real), 0
low_real:
  xor ax, ax
  mov ds, ax
  mov ss, [LOW(low_context) + CTX_SS]
  mov esp, [LOW(low_context) + CTX_ESP]
  push dword ptr [LOW(low_context) + CTX_EFLAGS]
  push dword ptr [LOW(low_context) + CTX_CS]
  push dword ptr [LOW(low_context) + CTX_EIP]
  mov es, [LOW(low_context) + CTX_ES]
  mov fs, [LOW(low_context) + CTX_FS]
  mov gs, [LOW(low_context) + CTX_GS]
  mov eax, [LOW(low_context) + CTX_EAX]
  mov ecx, [LOW(low_context) + CTX_ECX]
  mov edx, [LOW(low_context) + CTX_EDX]
  mov ebx, [LOW(low_context) + CTX_EBX]
  mov ebp, [LOW(low_context) + CTX_EBP]
  mov esi, [LOW(low_context) + CTX_ESI]
  mov edi, [LOW(low_context) + CTX_EDI]
  mov ds, [LOW(low_context) + CTX_DS]
  iretd

/* An interrupt or exception in real-address mode: IP, CS and FLAGS are on the stack, no error code. */
  .balign 16
  .globl low_stubs
low_stubs:
  .set vector, 0
  .rept 65
  .balign 8
  push vector
  .byte 0xE9                                    /* jmp near */
  .word low_common - 1f
1:
  .set vector, vector + 1
  .endr

low_common:
  mov cs:[LOW(low_context) + CTX_EAX], eax
  mov cs:[LOW(low_context) + CTX_ECX], ecx
  mov cs:[LOW(low_context) + CTX_EDX], edx
  mov cs:[LOW(low_context) + CTX_EBX], ebx
  mov cs:[LOW(low_context) + CTX_EBP], ebp
  mov cs:[LOW(low_context) + CTX_ESI], esi
  mov cs:[LOW(low_context) + CTX_EDI], edi
  mov cs:[LOW(low_context) + CTX_DS], ds
  mov cs:[LOW(low_context) + CTX_ES], es
  mov cs:[LOW(low_context) + CTX_FS], fs
  mov cs:[LOW(low_context) + CTX_GS], gs
  mov cs:[LOW(low_context) + CTX_SS], ss
  xor eax, eax
  mov cs:[LOW(low_context) + CTX_ERROR], eax
  pop ax
  mov cs:[LOW(low_context) + CTX_VECTOR], eax
  pop ax
  mov cs:[LOW(low_context) + CTX_EIP], eax
  pop ax
  mov cs:[LOW(low_context) + CTX_CS], eax
  pop ax
  mov cs:[LOW(low_context) + CTX_EFLAGS], eax
  mov cs:[LOW(low_context) + CTX_ESP], esp
  cli
  xor ax, ax
  mov ss, ax
  mov esp, REAL_STACK
  mov eax, cr0
  or al, 1
  mov cr0, eax
  .byte 0x66, 0xEA                              /* jmp SEL_CODE32:back_from_real */
  .long back_from_real
  .word SEL_CODE32
  .balign 4
low_context:
  .skip CTX_BYTES
low_end:
  .globl low_bytes
  .set low_bytes, low_end - low_start
  .globl low_stub_address
  .set low_stub_address, low_stubs - low_start + LOW_CODE
  .code32

  .section .bss
  .balign 16
  .skip 32768
stack_top:
  .skip 8192
trap_c_stack_top:
  .skip 8192
  .globl trap_stack_top
trap_stack_top:
  .balign 16
  .globl context, host_esp, is_entered, trap_esp, trap_ss
context:
  .skip CTX_BYTES
host_esp:
  .skip 4
is_entered:
  .skip 4
trap_esp:
  .skip 4
trap_ss:
  .skip 4

  .section .note.GNU-stack, "", @progbits
