/*
 * The three ways in, and the way from 32-bit protected mode to C in 64-bit mode.
 *
 *   entry                     mode            information       defined by
 *   image + 0                 32-bit, flat    ESI boot_params   "The Linux/x86 Boot Protocol", 32-bit boot protocol
 *   multiboot_entry           32-bit, flat    EBX info          "Multiboot Specification version 0.6.96"
 *   pvh_entry                 32-bit, flat    EBX start_info    Xen, "x86/HVM direct boot ABI" (PVH)
 *   image + 200H              64-bit          RSI boot_params   "The Linux/x86 Boot Protocol", 64-bit boot protocol
 *
 * All reach start64 with the low 4 GiB identity mapped by the tables below and call
 * kernel_main(protocol, information).
 */
#include "memory-map.h"

#define MULTIBOOT_HEADER_MAGIC 0x1BADB002
#define MULTIBOOT_LOADER_MAGIC 0x2BADB002
#define MULTIBOOT_FLAGS 0x00000003              /* page-align modules; memory information wanted */

#define XEN_ELFNOTE_PHYS32_ENTRY 18

#define MSR_IA32_EFER 0xC0000080
#define EFER_LME 0x100
#define EFER_NXE 0x800
#define CR0_PE_NE_WP_PG_SET 0x80010021          /* PG, WP, NE, PE */
#define CR0_CLEAR_MASK 0x9FFFFFF3               /* all but CD, NW, TS and EM: some firmware leaves the caches off */
#define CR4_PAE 0x20
#define PAGE_PRESENT_WRITE 0x003
#define PAGE_PRESENT_WRITE_2M 0x083

/*
 * Fills the tables with an identity map of 4 GiB in 2 MiB pages, loads CR3 and turns on what 64-bit mode needs
 * except paging itself. Assembled twice, for 32-bit and for 64-bit code: the addresses are all below 4 GiB.
 * Changes EAX, ECX, EDX, EDI and (CPUID) EBX; keeps EBP and ESI.
 */
.macro prepare_long_mode
  movl $(boot_pdpt + PAGE_PRESENT_WRITE), boot_pml4
  movl $(boot_page_directories + PAGE_PRESENT_WRITE), boot_pdpt
  movl $(boot_page_directories + 0x1000 + PAGE_PRESENT_WRITE), boot_pdpt + 8
  movl $(boot_page_directories + 0x2000 + PAGE_PRESENT_WRITE), boot_pdpt + 16
  movl $(boot_page_directories + 0x3000 + PAGE_PRESENT_WRITE), boot_pdpt + 24
  movl $boot_page_directories, %edi
  movl $PAGE_PRESENT_WRITE_2M, %eax
  movl $2048, %ecx
1:
  movl %eax, (%edi)
  addl $8, %edi
  addl $0x200000, %eax
  subl $1, %ecx
  jnz 1b
.endm

/* EFER.NXE may only be set where CPUID.80000001H:EDX[20] says that it exists. Changes EAX, EBX, ECX, EDX. */
.macro set_efer_lme_and_nxe
  movl $0x80000001, %eax
  cpuid
  movl %edx, %edi
  movl $MSR_IA32_EFER, %ecx
  rdmsr
  orl $EFER_LME, %eax
  testl $(1 << 20), %edi
  jz 2f
  orl $EFER_NXE, %eax
2:
  wrmsr
.endm

/* The loader may have left anything in BSS when the image is not an ELF file. Changes EAX, ECX, EDI. */
.macro clear_bss
  cld
  movl $bss_start, %edi
  movl $bss_end, %ecx
  subl %edi, %ecx
  shrl $2, %ecx
  xorl %eax, %eax
  rep stosl
.endm

  .section .boot, "ax"
  .code32
  .globl image_entry32, multiboot_entry, pvh_entry
image_entry32:
  movl %esi, %ebx
  movl $PROTOCOL_LINUX, %ebp
  jmp start32

  .balign 8
  .globl multiboot_header
multiboot_header:
  .long MULTIBOOT_HEADER_MAGIC
  .long MULTIBOOT_FLAGS
  .long -(MULTIBOOT_HEADER_MAGIC + MULTIBOOT_FLAGS)

multiboot_entry:
  movl $PROTOCOL_MULTIBOOT, %ebp
  cmpl $MULTIBOOT_LOADER_MAGIC, %eax
  je start32
not_a_multiboot_loader:                         /* nothing that we were given can be trusted */
  hlt
  jmp not_a_multiboot_loader

pvh_entry:
  movl $PROTOCOL_PVH, %ebp

/* EBP: protocol; EBX: the information structure. */
start32:
  cli
  movl %ebx, %esi
  movl $boot_stack_top, %esp
  clear_bss
  prepare_long_mode
  movl %cr4, %eax
  orl $CR4_PAE, %eax
  movl %eax, %cr4
  movl $boot_pml4, %eax
  movl %eax, %cr3
  set_efer_lme_and_nxe
  movl %cr0, %eax
  orl $CR0_PE_NE_WP_PG_SET, %eax
  andl $CR0_CLEAR_MASK, %eax
  movl %eax, %cr0
  lgdt boot_gdt_pointer
  ljmp $SELECTOR_CODE64, $start64

  .org LINUX_ENTRY64_OFFSET
  .code64
  .globl image_entry64
image_entry64:
  cli
  movl $boot_stack_top, %esp
  movl $PROTOCOL_LINUX, %ebp
  clear_bss
  prepare_long_mode
  set_efer_lme_and_nxe
  movl $boot_pml4, %eax
  movq %rax, %cr3
  movq %cr0, %rax
  orl $0x10020, %eax                            /* WP, NE; PG and PE are on */
  andl $CR0_CLEAR_MASK, %eax
  movq %rax, %cr0
  lgdt boot_gdt_pointer
  pushq $SELECTOR_CODE64
  pushq $start64
  lretq

/* EBP: protocol; ESI: the information structure (below 4 GiB in every protocol that we accept). */
start64:
  movl $SELECTOR_DATA, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  movl $boot_stack_top, %esp
  movl %ebp, %edi
  movl %esi, %esi
  xorl %ebp, %ebp
  call kernel_main
1:
  cli
  hlt
  jmp 1b

  .section .note.Xen, "a", @note
  .balign 4
  .long 4                                       /* name size */
  .long 4                                       /* descriptor size */
  .long XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .long pvh_entry

  .section .rodata
  .balign 8
  .globl boot_gdt
boot_gdt:
  .quad 0
  .quad 0x00AF9B000000FFFF                      /* SELECTOR_CODE64: L = 1 */
  .quad 0x00CF93000000FFFF                      /* SELECTOR_DATA */
  .quad 0x00CF9B000000FFFF                      /* SELECTOR_CODE32: flat, D = 1 */
boot_gdt_end:
  .balign 8
  .globl boot_gdt_pointer
boot_gdt_pointer:
  .word boot_gdt_end - boot_gdt - 1
  .quad boot_gdt

  .section .bss
  .balign 4096
  .globl boot_pml4, boot_pdpt, boot_page_directories
boot_pml4:
  .skip 4096
boot_pdpt:
  .skip 4096
boot_page_directories:
  .skip 4 * 4096
boot_stack:
  .skip STACK_BYTES
  .globl boot_stack_top
boot_stack_top:

  .section .note.GNU-stack, "", @progbits
