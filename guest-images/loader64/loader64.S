/*
 * A boot loader for "The Linux/x86 Boot Protocol", 64-bit boot protocol. It is a multiboot kernel whose first module
 * is a bzImage: it makes boot_params from the multiboot information, copies the protected-mode part to its preferred
 * address, enters 64-bit mode and jumps to the entry at 200H with RSI = boot_params. QEMU's -kernel always takes the
 * 16-bit way into a bzImage, so this is how the third way in is tested there:
 *
 *   qemu-system-x86_64 -kernel loader64.elf -initrd kernel.bzimage -append script=hello
 *
 * It ends by writing an error number to port F4H: 1 no module, 2 not a bzImage, 3 no 64-bit entry, 4 it would
 * overwrite this loader or its own source.
 */
#define MULTIBOOT_HEADER_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 0x00000003

/* Offsets in the multiboot information. */
#define MBI_CMDLINE 16
#define MBI_MODS_COUNT 20
#define MBI_MODS_ADDR 24
#define MBI_MMAP_LENGTH 44
#define MBI_MMAP_ADDR 48

/* Offsets in the setup header and boot_params. */
#define E820_ENTRIES 0x1E8
#define SETUP_SECTS 0x1F1
#define SYSSIZE 0x1F4
#define JUMP_DISPLACEMENT 0x201
#define HEADER_MAGIC 0x202
#define TYPE_OF_LOADER 0x210
#define CMD_LINE_PTR 0x228
#define XLOADFLAGS 0x236
#define PREF_ADDRESS 0x258
#define E820_TABLE 0x2D0
#define E820_MAX 128
#define XLF_KERNEL_64 1
#define LOADER_UNDEFINED 0xFF

/* The selectors that the protocol asks for. */
#define BOOT_CS 0x10
#define BOOT_DS 0x18

  .text
  .code32
  .balign 4
  .long MULTIBOOT_HEADER_MAGIC
  .long MULTIBOOT_FLAGS
  .long -(MULTIBOOT_HEADER_MAGIC + MULTIBOOT_FLAGS)

  .globl start
start:
  cli
  cld
  movl $stack_top, %esp
  movl %ebx, %ebp                               /* EBP: multiboot information */
  movl $1, %eax
  cmpl $0, MBI_MODS_COUNT(%ebp)
  je fail
  movl MBI_MODS_ADDR(%ebp), %ebx
  movl (%ebx), %ebx                             /* EBX: the bzImage */
  movl $2, %eax
  cmpl $0x53726448, HEADER_MAGIC(%ebx)          /* "HdrS" */
  jne fail
  movl $3, %eax
  testw $XLF_KERNEL_64, XLOADFLAGS(%ebx)
  jz fail

  /* boot_params: zero except for the setup header, which ends where its jump leads to. */
  leal SETUP_SECTS(%ebx), %esi
  movl $boot_params + SETUP_SECTS, %edi
  movzbl JUMP_DISPLACEMENT(%ebx), %ecx
  addl $(HEADER_MAGIC - SETUP_SECTS), %ecx
  rep movsb
  movb $LOADER_UNDEFINED, boot_params + TYPE_OF_LOADER
  movl MBI_CMDLINE(%ebp), %eax
  movl %eax, boot_params + CMD_LINE_PTR

  /* Memory map: multiboot's entries have their size in front, E820's have not. */
  movl MBI_MMAP_ADDR(%ebp), %esi
  movl %esi, %edx
  addl MBI_MMAP_LENGTH(%ebp), %edx
  movl $boot_params + E820_TABLE, %edi
next_range:
  cmpl %edx, %esi
  jae ranges_done
  cmpb $E820_MAX, boot_params + E820_ENTRIES
  jae ranges_done
  movl (%esi), %eax
  addl $4, %esi
  pushl %esi
  movl $20, %ecx
  rep movsb
  popl %esi
  addl %eax, %esi
  incb boot_params + E820_ENTRIES
  jmp next_range
ranges_done:

  /* The protected-mode part lies behind setup_sects + 1 sectors, 4 + 1 if the header says 0. */
  movzbl SETUP_SECTS(%ebx), %esi
  testl %esi, %esi
  jnz 1f
  movl $4, %esi
1:
  incl %esi
  shll $9, %esi
  addl %ebx, %esi
  movl PREF_ADDRESS(%ebx), %edi
  movl SYSSIZE(%ebx), %ecx
  shll $4, %ecx
  movl $4, %eax
  leal (%edi, %ecx), %edx
  cmpl $start, %edx
  ja fail
  movl %edi, entry
  addl $0x200, entry
  rep movsb

  /* Identity map of the first GiB, which holds kernel, boot_params and command line. */
  movl $(page_directory_pointers + 3), page_map
  movl $(page_directory + 3), page_directory_pointers
  movl $page_directory, %edi
  movl $0x83, %eax
  movl $512, %ecx
2:
  movl %eax, (%edi)
  addl $8, %edi
  addl $0x200000, %eax
  loop 2b
  movl %cr4, %eax
  orl $0x20, %eax                               /* PAE */
  movl %eax, %cr4
  movl $page_map, %eax
  movl %eax, %cr3
  movl $0xC0000080, %ecx                        /* IA32_EFER */
  rdmsr
  orl $0x100, %eax                              /* LME */
  wrmsr
  movl %cr0, %eax
  orl $0x80000001, %eax                         /* PG, PE */
  movl %eax, %cr0
  lgdt gdt_pointer
  ljmp $BOOT_CS, $long_mode

fail:
  outl %eax, $0xF4
3:
  hlt
  jmp 3b

  .code64
long_mode:
  movl $BOOT_DS, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $boot_params, %esi
  movl $entry, %eax                             /* this object is 32-bit: no 64-bit relocations */
  movl (%rax), %eax
  jmp *%rax

  .balign 8
gdt:
  .quad 0
  .quad 0
  .quad 0x00AF9B000000FFFF                      /* BOOT_CS: 64-bit */
  .quad 0x00CF93000000FFFF                      /* BOOT_DS */
gdt_pointer:
  .word 4 * 8 - 1
  .long gdt

  .section .bss
  .balign 4096
page_map:
  .skip 4096
page_directory_pointers:
  .skip 4096
page_directory:
  .skip 4096
boot_params:
  .skip 4096
stack:
  .skip 4096
stack_top:
entry:
  .skip 4

  .section .note.GNU-stack, "", @progbits
