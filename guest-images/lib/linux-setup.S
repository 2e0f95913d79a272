/*
 * The real-mode part of kernel.bzimage: the setup header of "The Linux/x86 Boot Protocol", version 2.15, and the code
 * behind it that a 16-bit boot loader (or QEMU's option ROM) enters. The protected-mode part is the kernel image.
 *
 * The build defines KERNEL_BYTES (the protected-mode part in the file) and KERNEL_INIT_BYTES (with BSS).
 *
 * The 16-bit way: clear a boot_params page, copy the header into it, ask the BIOS for the memory map, switch on the
 * A20 line, enter protected mode and jump to the 32-bit entry with ESI = boot_params.
 */
#include "memory-map.h"

#define SETUP_SECTORS 4                         /* behind the first sector */
#define HEADER_START 0x1F1
#define BOOT_PARAMS_OFFSET 0x2000               /* in our segment, behind this file and below the loader's heap */
#define BOOT_PARAMS_BYTES 4096
#define BOOT_PARAMS_E820_ENTRIES 0x1E8
#define BOOT_PARAMS_E820_TABLE 0x2D0
#define E820_MAX 128
#define E820_ENTRY_BYTES 20
#define SMAP 0x534D4150

#define LOADED_HIGH 0x01
#define XLF_KERNEL_64 0x01
#define CODE32 0x08
#define DATA32 0x10

  .text
  .code16
start:
  .org HEADER_START
header:
  .byte SETUP_SECTORS                           /* setup_sects */
  .word 0                                       /* root_flags */
  .long (KERNEL_BYTES + 15) / 16                /* syssize */
  .word 0                                       /* ram_size */
  .word 0xFFFF                                  /* vid_mode: normal */
  .word 0                                       /* root_dev */
  .word 0xAA55                                  /* boot_flag */
  .org 0x200
  .byte 0xEB, setup_entry - header_fields       /* jump; its displacement also says where the header ends */
header_fields:
  .ascii "HdrS"
  .word 0x020F                                  /* version 2.15 */
  .long 0                                       /* realmode_swtch */
  .word 0                                       /* start_sys_seg */
  .word version_text - 0x200                    /* kernel_version */
  .byte 0                                       /* type_of_loader */
  .byte LOADED_HIGH                             /* loadflags */
  .word 0                                       /* setup_move_size */
  .long KERNEL_BASE                             /* code32_start */
  .long 0                                       /* ramdisk_image */
  .long 0                                       /* ramdisk_size */
  .long 0                                       /* bootsect_kludge */
  .word 0                                       /* heap_end_ptr */
  .byte 0                                       /* ext_loader_ver */
  .byte 0                                       /* ext_loader_type */
cmd_line_ptr:
  .long 0                                       /* cmd_line_ptr */
  .long 0x7FFFFFFF                              /* initrd_addr_max */
  .long 0x100000                                /* kernel_alignment */
  .byte 0                                       /* relocatable_kernel: no */
  .byte 20                                      /* min_alignment: 1 MiB */
  .word XLF_KERNEL_64                           /* xloadflags: 64-bit entry point at 200H */
  .long 4095                                    /* cmdline_size */
  .long 0                                       /* hardware_subarch: PC */
  .quad 0                                       /* hardware_subarch_data */
  .long 0                                       /* payload_offset */
  .long 0                                       /* payload_length */
  .quad 0                                       /* setup_data */
  .quad KERNEL_BASE                             /* pref_address */
  .long KERNEL_INIT_BYTES                       /* init_size */
  .long 0                                       /* handover_offset: no EFI */
  .long 0                                       /* kernel_info_offset */
header_end:

/* Entered with CS = the segment of this file + 20H, DS = SS = the segment of this file. */
setup_entry:
  cli
  cld
  movw %ds, %ax
  movw %ax, %es
  movw %ax, %ss
  movl $0xFFF0, %esp
  movw $BOOT_PARAMS_OFFSET, %di
  movw $(BOOT_PARAMS_BYTES / 2), %cx
  xorw %ax, %ax
  rep stosw
  movw $HEADER_START, %si
  movw $(BOOT_PARAMS_OFFSET + HEADER_START), %di
  movw $(header_end - header), %cx
  rep movsb

  /* BIOS function E820H, "Query System Address Map" (ACPI Specification). */
  xorl %ebx, %ebx
  movw $(BOOT_PARAMS_OFFSET + BOOT_PARAMS_E820_TABLE), %di
next_range:
  movl $0xE820, %eax
  movl $E820_ENTRY_BYTES, %ecx
  movl $SMAP, %edx
  int $0x15
  jc ranges_done
  cmpl $SMAP, %eax
  jne ranges_done
  addw $E820_ENTRY_BYTES, %di
  incb BOOT_PARAMS_OFFSET + BOOT_PARAMS_E820_ENTRIES
  cmpb $E820_MAX, BOOT_PARAMS_OFFSET + BOOT_PARAMS_E820_ENTRIES
  jae ranges_done
  testl %ebx, %ebx
  jnz next_range
ranges_done:
  cli

  /* A20 by the PS/2 system control port A, bit 1; bit 0 would reset the machine. */
  inb $0x92, %al
  orb $0x02, %al
  andb $0xFE, %al
  outb %al, $0x92

  xorl %ebx, %ebx
  movw %ds, %bx
  shll $4, %ebx                                 /* linear address of this file */
  leal setup_gdt(%ebx), %eax
  movl %eax, setup_gdt_pointer + 2
  lgdtl setup_gdt_pointer
  leal BOOT_PARAMS_OFFSET(%ebx), %esi
  movl %cr0, %eax
  orl $1, %eax
  movl %eax, %cr0
  leal protected_mode(%ebx), %eax
  movl %eax, far_target
  ljmpl *far_target

  .code32
protected_mode:
  movl $DATA32, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %ebp, %ebp
  xorl %edi, %edi
  xorl %ebx, %ebx
  movl $KERNEL_BASE, %eax
  jmp *%eax

  .balign 8
setup_gdt:
  .quad 0
  .quad 0x00CF9B000000FFFF
  .quad 0x00CF93000000FFFF
setup_gdt_pointer:
  .word 3 * 8 - 1
  .long 0
far_target:
  .long 0
  .word CODE32
version_text:
  .asciz "exitless guest kernel"
  .org 512 * (1 + SETUP_SECTORS)

  .section .note.GNU-stack, "", @progbits
