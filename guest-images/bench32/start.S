/* Multiboot 1 entry of the 32-bit benchmark kernels ("Multiboot Specification version 0.6.96"). */
#define MULTIBOOT_HEADER_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 0x00000003              /* page-align modules; memory information wanted */
#define STACK_BYTES 65536

  .section .boot, "ax"
  .code32
  .balign 4
header:
  .long MULTIBOOT_HEADER_MAGIC
  .long MULTIBOOT_FLAGS
  .long -(MULTIBOOT_HEADER_MAGIC + MULTIBOOT_FLAGS)

  .globl start
start:
  cli
  cld
  lgdt gdt_pointer
  ljmp $8, $1f
1:
  movl $16, %ecx
  movl %ecx, %ds
  movl %ecx, %es
  movl %ecx, %ss
  movl $stack_top, %esp
  xorl %ebp, %ebp
  movl $bss_start, %edi
  movl $bss_end, %ecx
  subl %edi, %ecx
  xorl %eax, %eax
  rep stosb
  pushl %ebx                                    /* multiboot information */
  call bench_main
2:
  cli
  hlt
  jmp 2b

  .section .rodata
  .balign 8
gdt:
  .quad 0
  .quad 0x00CF9B000000FFFF
  .quad 0x00CF93000000FFFF
gdt_pointer:
  .word 3 * 8 - 1
  .long gdt

  .section .bss
  .balign 16
  .skip STACK_BYTES
stack_top:

  .section .note.GNU-stack, "", @progbits
