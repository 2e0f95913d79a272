/*
 * Boot sector for machines without a multiboot loader (Bochs): reads an ELF file that follows it on the disk, places its
 * segments and enters it in 32-bit mode as a multiboot loader would, without an information structure.
 *
 * Whoever makes the disk writes the number of the file's sectors into the word at 1FCH.
 */
  .intel_syntax noprefix
  .code16
#define FILE_AT 0x10000 /* up to 9FFFFH */
#define SECTORS_AT_ONCE 64
#define ELF_ENTRY 0x18
#define ELF_PHOFF 0x1C
#define ELF_PHENTSIZE 0x2A
#define ELF_PHNUM 0x2C
#define PH_TYPE 0
#define PH_OFFSET 4
#define PH_PADDR 12
#define PH_FILESZ 16
#define PH_MEMSZ 20

  .globl boot
boot:
  cli
  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7C00
  mov [drive], dl
read:
  mov ax, [sectors]
  test ax, ax
  jz loaded
  cmp ax, SECTORS_AT_ONCE
  jbe 1f
  mov ax, SECTORS_AT_ONCE
1:
  mov [packet_count], ax
  mov si, offset packet
  mov dl, [drive]
  mov ah, 0x42                                  /* INT 13H extensions: read */
  int 0x13
  jc failed
  mov ax, [packet_count]
  sub [sectors], ax
  add [packet_lba], ax
  shl ax, 5                                     /* 512 bytes are 32 paragraphs */
  add [packet_segment], ax
  jmp read
failed:
  hlt
  jmp failed
loaded:
  in al, 0x92                                   /* A20 */
  or al, 2
  out 0x92, al
  cli
  lgdt [gdt_pointer]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  .byte 0xEA
  .word protected, 8
  .code32
protected:
  mov ax, 16
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov esp, 0x7C00
  cld
  mov ebx, FILE_AT
  movzx edx, word ptr [ebx + ELF_PHNUM]
  mov ebp, [ebx + ELF_PHOFF]
  add ebp, ebx
segment:
  cmp dword ptr [ebp + PH_TYPE], 1
  jne 2f
  mov esi, [ebp + PH_OFFSET]
  add esi, ebx
  mov edi, [ebp + PH_PADDR]
  mov ecx, [ebp + PH_FILESZ]
  rep movsb
  mov ecx, [ebp + PH_MEMSZ]
  sub ecx, [ebp + PH_FILESZ]
  xor eax, eax
  rep stosb
2:
  movzx eax, word ptr [ebx + ELF_PHENTSIZE]
  add ebp, eax
  dec edx
  jnz segment
  mov ecx, [ebx + ELF_ENTRY]
  mov eax, 0x2BADB002
  xor ebx, ebx
  jmp ecx

  .balign 8
gdt:
  .quad 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
gdt_pointer:
  .word 23
  .long gdt
drive:
  .byte 0
  .balign 4
packet:
  .byte 16, 0
packet_count:
  .word 0, 0
packet_segment:
  .word FILE_AT / 16
packet_lba:
  .long 1, 0

  .org 0x1FC
sectors:
  .word 0
  .byte 0x55, 0xAA
  .section .note.GNU-stack, "", @progbits
