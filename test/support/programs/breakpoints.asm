; Breakpoints on instructions and data, and the trap flag, counted in EBX: 1 a data breakpoint, 16 an instruction one, 256 a
; single step. Ends with AL = 5 in the debug-exit port when each came once, else with the count.
; nasm -f bin breakpoints.asm
bits 32
org 0x100040
start:
 mov esp, 0x180000
 lgdt [gdtr]
 jmp 8:go
go:
 mov ax, 16
 mov ds, ax
 mov es, ax
 mov ss, ax
 mov eax, handler
 mov [idt + 8], ax
 mov word [idt + 10], 8
 mov word [idt + 12], 0x8e00
 shr eax, 16
 mov [idt + 14], ax
 lidt [idtr]
 ; data breakpoint 1 on writes of 4 bytes at data
 mov eax, data
 mov dr1, eax
 ; instruction breakpoint 0
 mov eax, here
 mov dr0, eax
 mov eax, 0x00d00402 | 0x000a   ; G1 G0, RW1 = 1 LEN1 = 3
 mov dr7, eax
 xor ebx, ebx
 mov byte [data + 3], 7   ; +1 (write inside)
 mov al, [data]           ; none: read
 mov byte [data + 4], 7   ; none: beyond
here:
 nop                       ; +16
 pushfd
 or dword [esp], 0x100
 popfd
 nop                       ; +256 single step
 and dword [esp - 4], ~0x100
 mov eax, 0x400
 mov dr7, eax
 cmp ebx, 0x111
 jne bad
 mov al, 5
 out 0xf4, al
bad:
 mov eax, ebx
 out 0xf4, al
handler:
 push eax
 mov eax, dr6
 test eax, 1
 jz .n0
 add ebx, 16
 or dword [esp + 12], 0x10000
.n0:
 test eax, 2
 jz .n1
 add ebx, 1
.n1:
 test eax, 0x4000
 jz .n2
 add ebx, 256
 and dword [esp + 12], ~0x100
.n2:
 xor eax, eax
 mov dr6, eax
 pop eax
 iretd
align 8
gdt: dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: dw 23
 dd gdt
idt: dq 0, 0
idtr: dw 15
 dd idt
data: dd 0, 0
