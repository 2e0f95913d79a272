/*
 * The 386's other instructions in every place: moves, stacks, strings, control transfers, conditions, and the faults they
 * raise. Each piece of code is assembled for 16-bit and for 32-bit segments; expectations are SDM Vol. 2's "Operation" sections.
 */
#include "runtime.h"

const char program_name[] = "instructions";

/* Registers behind the code; X: not looked at. */
#define X 0xDEADBEEF
struct expectation {
  u32 eax, ecx, edx, ebx, esi, edi;
};
struct test {
  const char *name;
  const u8 *start[2], *middle[2], *end[2];
  struct expectation after[2]; /* 16-bit, 32-bit */
  u32 vector;                  /* VECTOR_DONE, or the fault of what stands behind the middle */
  u32 real_vector;             /* the same in real-address mode */
};

#define PIECE(label, bits, before, behind)                                                                \
  __asm__(".pushsection .rodata\n .code" #bits "\n .intel_syntax noprefix\n .set BITS, " #bits "\n" #label      \
          "_" #bits ":\n" before "\n" #label "_" #bits "_middle:\n" behind "\n" #label "_" #bits           \
          "_end:\n .att_syntax\n .code32\n .popsection");                                                     \
  extern const u8 label##_##bits[], label##_##bits##_middle[], label##_##bits##_end[];
#define BOTH(label, before, behind) PIECE(label, 16, before, behind) PIECE(label, 32, before, behind)

/* mov ebx, the offset of a local label; 77 is the beginning. */
#define EBX_TO(target) ".if BITS == 16; .byte 0x66; .endif; .byte 0xBB; .long " target " - 77b; "
#define NOTHING {X, X, X, X, X, X}
/* CODE(label, text, registers): the same in all segments. CODE2: other registers behind 32-bit code. FAULT(label, before, text, vector). */
#define CODES(CODE, CODE2, FAULT, FAULT2)                                                                      \
  /* --- moves --- */                                                                                          \
  CODE(mov_imm, "mov eax, 0x12345678; mov cx, 0x9ABC; mov dl, 0x80; mov bh, 0x7F",                             \
       {0x12345678, 0x9ABC, 0x80, 0x7F00, 0, 0})                                                               \
  CODE(mov_memory, "mov dword ptr [0x310], 0x89ABCDEF; mov ax, [0x310]; mov cl, [0x313]; mov edx, [0x310]",    \
       {0xCDEF, 0x89, 0x89ABCDEF, 0, 0, 0})                                                                    \
  CODE(mov_moffs, "mov eax, 0x55AA1234; mov [0x320], eax; xor eax, eax; mov al, [0x321]; mov cx, ax; mov ax, [0x322]", \
       {0x55AA, 0x12, 0, 0, 0, 0})                                                                             \
  CODE(addresses_16, "mov bx, 0x200; mov si, 5; mov di, 7; mov bp, 0x210; mov al, [bx+si]; mov ah, [bx+di+1];" \
                     "mov cl, ds:[bp+si]; mov ch, ds:[bp+di-2]; mov dl, [si+0x200]; mov dh, [bx-1+2]",                                \
       {0x0805, 0x1515, 0x0105, 0x200, 5, 7})                                                                  \
  CODE(addresses_32, "mov ebx, 0x200; mov esi, 5; mov edi, 2; mov al, [ebx+esi*4]; mov ah, [ebx+edi*8+1];"      \
                     "mov cl, [edi*2+0x203]; mov ch, [esi+esi*8+0x200]; mov dl, [ebx+edi-1]",                     \
       {0x1114, 0x2D07, 0x01, 0x200, 5, 2})                                                                    \
  CODE(lea, "mov ebx, 0xFFFF1000; mov esi, 0x00010020; lea eax, [ebx+esi*2+4]; lea cx, [ebx+esi]; lea edx, [bx+si]", \
       {0x00011044 - 0x20000 + 0x20000, 0x1020, 0x1020, 0xFFFF1000, 0x10020, 0})                                                  \
  CODE(movzx_movsx, "mov word ptr [0x310], 0x80FE; movzx eax, byte ptr [0x310]; movsx ecx, byte ptr [0x310];"  \
                    "movzx edx, word ptr [0x310]; movsx ebx, word ptr [0x310]; mov si, 0xFF80; mov edi, -1; movsx si, al; movzx di, cl", \
       {0xFE, 0xFFFFFFFE, 0x80FE, 0xFFFF80FE, 0xFFFE, 0xFFFF00FE})                                             \
  CODE(xchg, "mov eax, 0x11112222; mov ecx, 0x33334444; xchg eax, ecx; xchg cl, ch; mov [0x310], eax; mov edx, 5; xchg dx, [0x310]; mov ebx, [0x310]", \
       {0x33334444, 0x11112222, 0x4444, 0x33330005, 0, 0})                                                     \
  CODE(convert, "mov eax, 0x12348080; cbw; mov ecx, eax; cwde; mov edx, eax; mov ebx, 0; mov ax, 0x8000; push edx; cwd; mov bx, dx; pop edx; mov esi, edx; mov eax, 0x80000000; cdq", \
       {0x80000000, 0x1234FF80, 0xFFFFFFFF, 0xFFFF, 0xFFFFFF80, 0})                                            \
  CODE(xlat, "mov bx, 0x200; mov al, 0x33; xlatb; mov cl, al; mov ebx, 0x201; mov al, 0xFE; xlatb", {0xFF, 0x33, 0, 0x201, 0, 0}) \
  CODE(segment_moves, "mov ax, ds; mov es, ax; mov cx, es; mov fs, cx; mov gs, cx; mov dx, fs; sub dx, ax; mov bx, gs; sub bx, ax; sub cx, ax", \
       {X, 0, 0, 0, 0, 0})                                                                                     \
  CODE(segment_override, "mov ax, ss; mov fs, ax; mov word ptr ss:[0x10], 0x1357; mov word ptr [0x310], 0; mov cx, fs:[0x10]; mov word ptr fs:[0x10], 0x2468; mov dx, ss:[0x10]; mov ax, 0; mov bp, 0x10; mov bx, [bp]", \
       {X, 0x1357, 0x2468, 0x2468, 0, 0})                                                                      \
  CODE(load_far_pointers, "mov ax, ds; mov dword ptr [0x310], 0xABCD1234; mov [0x312], ax; mov word ptr [0x314], ax; mov cx, 0; .if BITS == 16; les cx, [0x310]; .else; .byte 0x66; les ecx, [0x310]; .endif; mov dx, es; sub dx, ax; xor eax, eax", \
       {0, 0x1234, 0, 0, 0, 0})                                                                                \
  CODE(flags_image, "xor eax, eax; stc; mov al, 0; lahf; mov cl, ah; mov ah, 0xD7; sahf; lahf; mov dl, ah; cmc; lahf; mov dh, ah; clc; cld; std; pushf; .if BITS == 16; pop bx; .else; pop ebx; .endif; cld; and bx, 0x400; mov ah, 0", \
       {X, 0x47, 0xD6D7, 0x400, 0, 0})                                                                         \
  /* --- stack --- */                                                                                          \
  CODE2(push_pop, "mov ebx, esp; push 0x1234; mov eax, esp; push -1; mov ecx, esp; .if BITS == 16; pop dx; movsx esi, dx; pop dx; .else; pop edx; mov esi, edx; pop edx; .endif; mov edi, esp; sub eax, ebx; sub ecx, ebx; sub edi, ebx; neg eax; neg ecx", \
        {2, 4, 0x1234, X, 0xFFFFFFFF, 0}, {4, 8, 0x1234, X, 0xFFFFFFFF, 0})                                                  \
  CODE(push_sizes, "mov ebx, esp; .if BITS == 16; push ax; .byte 0x66; push ax; .byte 0x66, 0x06; .else; .byte 0x66; push eax; push eax; push es; .endif; mov eax, ebx; sub eax, esp; mov esp, ebx", \
       {10, 0, 0, X, 0, 0})                                                                                    \
  CODE(push_sp, "movzx esp, sp; mov ebx, esp; push sp; pop ax; cmp ax, bx; setz al; movzx eax, al; mov ecx, esp; push [esp]; pop cx; xor ecx, ecx; mov esp, ebx; mov dword ptr ss:[esp], 0x2222; .if BITS == 16; push ax; pop word ptr [esp]; mov cx, ss:[esp]; .else; push eax; pop dword ptr [esp]; mov cx, ss:[esp]; .endif; mov esp, ebx", \
       {1, 1, 0, X, 0, 0})                                                                                     \
  CODE(pusha_popa, "mov eax, 0x10001; mov ecx, 0x20002; mov edx, 0x30003; mov ebx, 0x40004; mov esi, 0x60006; mov edi, 0x70007; mov ebp, 0x50005;" \
       ".byte 0x60; xor ax, ax; xor cx, cx; xor dx, dx; xor bx, bx; xor si, si; xor di, di; xor bp, bp; .byte 0x61; xor ax, bp; mov bp, 0; sub bp, ax; add ax, bp", \
       {X, 0x20002, 0x30003, 0x40004, 0x60006, 0x70007})                                                       \
  CODE2(enter_leave, "movzx esp, sp; mov bp, 0x7777; movzx ebp, bp; mov ebx, esp; enter 16, 0; mov eax, ebx; sub eax, esp; mov ecx, ebx; sub ecx, ebp; leave; mov edx, ebp; sub ebx, esp; mov ebp, 0", \
        {18, 2, 0x7777, 0, 0, 0}, {20, 4, 0x7777, 0, 0, 0})                                                    \
  CODE2(enter_nested, "movzx esp, sp; mov ebp, 0x7000; .if BITS == 16; mov word ptr [bp-2], 0xAAAA; mov word ptr [bp-4], 0xBBBB; .else; mov dword ptr ss:[0x6FFC], 0xAAAA; mov dword ptr ss:[0x6FF8], 0xBBBB; .endif; mov ebx, esp; enter 8, 3; mov eax, ebx; sub eax, esp; mov ecx, ebx; sub ecx, ebp;" \
        ".if BITS == 16; mov dx, [bp-2]; mov si, [bp-4]; mov di, [bp-6]; add di, 2; sub di, bx; .else; mov edx, [ebp-4]; mov esi, [ebp-8]; mov edi, [ebp-12]; add edi, 4; sub edi, ebx; .endif; mov esp, ebx; mov ebx, 0", \
        {16, 2, 0xAAAA, 0, 0xBBBB, 0}, {24, 4, 0xAAAA, 0, 0xBBBB, 0})                                          \
  CODE(pushf_popf, "pushf; pop ax; mov cx, ax; or ax, 0xCD5; push ax; popf; pushf; pop dx; and dx, 0xCD5; push cx; popf; xor ax, ax", {X, X, 0xCD5, 0, 0, 0}) \
  /* --- strings --- */                                                                                        \
  CODE(movs, "cld; mov esi, 0x200; mov edi, 0x400; movsb; movsw; movsd; mov eax, [0x400]; mov ecx, [0x403]",   \
       {0x03020100, 0x06050403, 0, 0, 0x207, 0x407})                                                           \
  CODE(rep_movs, "cld; mov esi, 0x200; mov edi, 0x400; mov ecx, 20; rep movsw; mov eax, [0x424]; mov edx, [0x400]", \
       {0x27262524, 0, 0x03020100, 0, 0x228, 0x428})                                                           \
  CODE(rep_movs_down, "std; mov esi, 0x20C; mov edi, 0x410; mov ecx, 4; rep movsd; cld; mov eax, [0x404]; mov edx, [0x410]", \
       {0x03020100, 0, 0x0F0E0D0C, 0, 0x1FC, 0x400})                                                           \
  CODE(rep_overlap, "cld; mov dword ptr [0x400], 0x000000AB; mov esi, 0x400; mov edi, 0x401; mov ecx, 7; rep movsb; mov eax, [0x400]; mov edx, [0x404]", \
       {0xABABABAB, 0, 0xABABABAB, 0, 0x407, 0x408})                                                           \
  CODE(rep_zero, "cld; mov esi, 0x111; mov edi, 0x222; mov ecx, 0; rep movsb; rep stosd; repe cmpsb; repne scasb; mov eax, 0", {0, 0, 0, 0, 0x111, 0x222}) \
  CODE(stos_lods, "cld; mov edi, 0x400; mov eax, 0x89ABCDEF; mov ecx, 3; rep stosd; stosw; stosb; mov esi, 0x404; lodsb; mov dl, al; lodsw; mov bx, ax; lodsd", \
       {0xABCDEF89, 0, 0xEF, 0xABCD, 0x40B, 0x40F})                                                            \
  CODE(cmps, "cld; mov dword ptr [0x400], 0x03020100; mov dword ptr [0x404], 0x07060504; mov esi, 0x200; mov edi, 0x400; mov ecx, 20; repe cmpsb; setb al; movzx eax, al", \
       {X, 11, 0, 0, 0x209, 0x409})                                                                            \
  CODE(cmps_not, "cld; mov esi, 0x200; mov edi, 0x210; mov ecx, 4; repne cmpsw; seta al; movzx eax, al; mov edx, 0; setz dl", {0, 0, 0, 0, 0x208, 0x218}) \
  CODE(scas, "cld; mov edi, 0x200; mov al, 0x42; mov ecx, 0x80; repne scasb; setz dl; mov eax, 0x07060504; mov esi, edi; mov edi, 0x204; scasd; setz dh", \
       {0x07060504, 0x80 - 0x43, 0x0101, 0, 0x243, 0x208})                                                     \
  CODE(address_size, "cld; mov esi, 0xABCD0200; mov edi, 0x12340400; mov ecx, 0x56780004; .if BITS == 32; .byte 0x67; .endif; rep movsb; mov eax, [0x400]", \
       {0x03020100, 0x56780000, 0, 0, 0xABCD0204, 0x12340404})                                                 \
  CODE(address_size_32, "cld; mov esi, 0x200; mov edi, 0x400; mov ecx, 4; .if BITS == 16; .byte 0x67; .endif; rep movsb; mov eax, [0x400]", \
       {0x03020100, 0, 0, 0, 0x204, 0x404})                                                                    \
  CODE(outs_ins, "cld; mov esi, 0x200; mov edx, 0x80; mov ecx, 3; rep outsb; mov dx, 0x21; mov al, 0xFB; out dx, al; mov edi, 0x400; insb; mov al, [0x400]; mov cl, 0xFF; mov [0x401], cl; mov esi, 0x401; outsb; xor ecx, ecx", \
       {0xFB, 0, 0x21, 0, 0x402, 0x401})                                                                       \
  CODE(in_out, "mov al, 0xFE; out 0x21, al; in al, 0x21; mov cl, al; mov dx, 0x21; in al, dx; mov ch, al; mov al, 0xFF; out dx, al; mov eax, 0x80000000; mov dx, 0xCF8; out dx, eax; mov eax, 0; in eax, dx", \
       {0x80000000, 0xFEFE, 0xCF8, 0, 0, 0})                                                                   \
  /* --- control transfers --- */                                                                              \
  CODE(jumps, "xor eax, eax; jmp 1f; or al, 1; 1: .byte 0xE9; .if BITS == 16; .word 2; .else; .long 2; .endif; or al, 2; " EBX_TO("2f") " .if BITS == 16; jmp bx; .else; jmp ebx; .endif; or al, 4; 2: mov ebx, 0", \
       {0, 0, 0, 0, 0, 0})                                                                                     \
  CODE2(call_ret, "mov ebx, esp; call 1f; jmp 2f; 1: mov ecx, ebx; sub ecx, esp; ret; 2: push ax; push ax; call 3f; jmp 4f; 3: ret 4; 4: mov eax, ebx; sub eax, esp; mov esp, ebx", \
        {0, 2, 0, X, 0, 0}, {4 - 4, 4, 0, X, 0, 0})                                                            \
  CODE(far_call_ret, "mov ax, cs; " EBX_TO("1f") "mov [0x310], bx; mov [0x312], ax; mov edx, 0; mov ebx, esp; .if BITS == 16; call dword ptr [0x310]; .else; .byte 0x66, 0xFF, 0x1D; .long 0x310; .endif; mov dl, 1; jmp 2f; 1: mov ecx, ebx; sub ecx, esp; .if BITS == 32; .byte 0x66; .endif; .byte 0xCB; 2: mov eax, ebx; sub eax, esp", \
       {0, 4, 1, X, 0, 0})                                                                                     \
  CODE(far_call_ret_32, "mov ax, cs; " EBX_TO("1f") "mov [0x310], ebx; mov [0x314], ax; mov edx, 0; mov ebx, esp; .if BITS == 16; .byte 0x66, 0xFF, 0x1E; .word 0x310; .else; .byte 0xFF, 0x1D; .long 0x310; .endif; mov dl, 1; jmp 2f; 1: mov ecx, ebx; sub ecx, esp; push 0; push 0; .if BITS == 16; add sp, 4; .byte 0x66; .else; add esp, 8; .endif; .byte 0xCB; 2: mov eax, ebx; sub eax, esp", \
       {0, 8, 1, X, 0, 0})                                                                                     \
  CODE(far_jump, "mov ax, cs; " EBX_TO("1f") "mov [0x310], bx; mov [0x312], ax; mov edx, 0; .if BITS == 16; jmp dword ptr [0x310]; .else; .byte 0x66, 0xFF, 0x2D; .long 0x310; .endif; mov dl, 1; 1: mov eax, 0", {0, 0, 0, X, 0, 0}) \
  CODE(ret_far_immediate, "mov ebx, esp; push ax; push ax; push ax; push ax; push cs; .if BITS == 16; .byte 0x68; .word 1f - 77b; .byte 0xCA; .word 8; .else; .byte 0x68; .long 1f - 77b; .byte 0xCA; .word 8; .endif; or al, 1; 1: mov eax, ebx; sub eax, esp; .if BITS == 32; add esp, 0; .endif; mov esp, ebx", \
       {0, 0, 0, X, 0, 0})                                                                                     \
  CODE(loops, "mov ecx, 5; xor eax, eax; 1: inc eax; loop 1b; mov ecx, 5; 2: inc eax; cmp eax, 7; loopne 2b; mov edx, ecx; mov ecx, 3; cmp eax, eax; 3: inc ebx; cmp ebx, ebx; loope 3b; jcxz 4f; or eax, 0x100; 4: mov ecx, 0x10000; .if BITS == 32; .byte 0x67; .endif; jcxz 5f; or eax, 0x200; 5: .byte 0x67; .if BITS == 16; jcxz 6f; .else; jcxz 6f; .endif; 6: mov ecx, 0", \
       {7, 0, 3, 3, 0, 0})                                                                                     \
  CODE(setcc, "xor eax, eax; xor ecx, ecx; mov dl, 0x7F; cmp dl, 0x80; seto al; setb ah; setl cl; setg ch; sets bl; setns bh; mov esi, 0; setp dl; setnp dh; movzx edx, dx", \
       {0x0101, 0x0100, 0x0001 - 0x0001 + 0x0001, 0x0001, 0, 0})                                                                  \
  CODE(operand_size_ip, "xor eax, eax; .if BITS == 16; .byte 0x66, 0xE9; .long 2; .else; jmp 1f; .byte 0x90, 0x90; 1:; .endif; .if BITS == 16; or al, 1; .endif; nop", {0, 0, 0, 0, 0, 0}) \
  CODE(into_not, "mov al, 1; add al, 1; into; mov ecx, 3; bound cx, [0x330]; mov eax, 0", {0, 3, 0, 0, 0, 0})  \
  CODE(bit_strings, "mov dword ptr [0x3F0], 0; mov dword ptr [0x408], 0; mov ebx, 0x400; mov eax, -127; bts [ebx], eax; setc cl; mov eax, 68; bts dword ptr [ebx], eax; mov eax, -127; btc [ebx], eax; setc ch; mov eax, -3; mov dword ptr [0x3FC], 0; bts word ptr [ebx], ax; mov dl, [0x3FF]; mov dh, [0x408]; movzx edx, dx; mov eax, 0", \
       {0, 0x0100, 0x1020, 0x400, 0, 0})                                                                       \
  CODE(lock, "mov dword ptr [0x310], 5; mov eax, 7; lock add [0x310], eax; lock inc dword ptr [0x310]; lock xchg [0x310], eax; lock bts dword ptr [0x310], 16; mov ecx, [0x310]", \
       {13, 0x10007, 0, 0, 0, 0})                                                                              \
  CODE(wrap_16, "mov bx, 0xFFFF; mov si, 0x202; mov al, [bx+si]; mov cl, [si-2]; mov edx, 0", {1, 0, 0, 0xFFFF, 0x202, 0})                        \
  CODE2(default_size, "mov eax, 0x11111111; .byte 0xB8, 0x22, 0x22; .if BITS == 32; .byte 0x33, 0x33; .endif; mov ecx, 0x44444444; .byte 0x66, 0xB9, 0x55, 0x55; .if BITS == 16; .byte 0x66, 0x66; .endif", \
        {0x11112222, 0x66665555, 0, 0, 0, 0}, {0x33332222, 0x44445555, 0, 0, 0, 0})                            \
  CODE(repeated_prefixes, "mov eax, 0; mov cx, ss; mov fs, cx; mov byte ptr ss:[0x210], 0x77; .byte 0x3E, 0x64, 0x66, 0x66; .if BITS == 16; mov al, [0x210]; .else; mov al, [0x210]; .endif; mov ecx, 0", {0x77, 0, 0, 0, 0, 0})  \
  /* --- faults --- */                                                                                         \
  FAULT(ud_0f0b, "nop", "ud2", 6)                                                                              \
  FAULT(ud_lock, "nop", ".byte 0xF0, 0x89, 0xC0", 6)                                                           \
  FAULT(ud_lock_cmp, "nop", ".byte 0xF0, 0x39, 0x03", 6)                                                       \
  FAULT(ud_mov_cs, "nop", ".byte 0x8E, 0xC8", 6)                                                               \
  FAULT(ud_mov_segment_6, "nop", ".byte 0x8E, 0xF0", 6)                                                        \
  FAULT(ud_lea_register, "nop", ".byte 0x8D, 0xC0", 6)                                                         \
  FAULT(ud_les_register, "nop", ".byte 0xC4, 0xC0", 6)                                                         \
  FAULT(ud_bound_register, "nop", ".byte 0x62, 0xC0", 6)                                                       \
  FAULT(ud_far_register, "nop", ".byte 0xFF, 0xD8", 6)                                                         \
  FAULT(ud_ff_7, "nop", ".byte 0xFF, 0xFF", 6)                                                                 \
  FAULT(ud_mov_cr1, "nop", ".byte 0x0F, 0x20, 0xC8", 6)                                                        \
  FAULT(divide, "mov ax, 0x100; mov cl, 1", "div cl", 0)                                                       \
  FAULT(bound_low, "mov cx, 1; mov dword ptr [0x330], 0x00050002", ".if BITS == 32; .byte 0x66; .endif; .byte 0x62, 0x0E; .word 0x330; .if BITS == 32; .word 0; .endif", 5)                           \
  FAULT(limit_data, "mov ebx, 0xFFFF", "mov ax, [ebx]", 13)                                                    \
  FAULT(limit_data_beyond, "mov ebx, 0x10000", "mov al, [ebx]", 13)                                            \
  FAULT(limit_data_dword, "mov ebx, 0xFFFD", "mov [ebx], eax", 13)                                             \
  FAULT(limit_wrap, "mov ebx, 0xFFFFFFFF", "mov eax, [ebx]", 13)                                               \
  FAULT(limit_stack, "mov ebp, 0xFFFF", "mov ax, [ebp]", 12)                                                   \
  FAULT(limit_stack_esp, "nop", "mov eax, [esp+0x10000]", 12)                                                  \
  FAULT(limit_string, "cld; mov esi, 0xFFFF; mov edi, 0x400", "lodsw", 13)                                     \
  FAULT(limit_movs_destination, "cld; mov edi, 0xFFFE; mov esi, 0x400", "movsd", 13)                           \
  FAULT(too_long, "nop", ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90", 13) \
  FAULT2(lldt, "xor eax, eax", "lldt ax", 13, 6)                                                               \
  FAULT2(clts, "nop", "clts", 13, VECTOR_DONE)                                                                 \
  FAULT2(mov_cr0, "nop", "mov eax, cr0", 13, VECTOR_DONE)                                                      \
  FAULT2(mov_dr, "nop", "mov eax, dr0", 13, VECTOR_DONE)                                                       \
  FAULT2(sldt, "nop", ".byte 0x0F, 0x00, 0xC0", VECTOR_DONE, 6)                                                \
  FAULT2(lar, "nop", "lar eax, ecx", VECTOR_DONE, 6)                                                           \
  FAULT2(verr, "nop", "verr ax", VECTOR_DONE, 6)                                                               \
  FAULT2(arpl, "nop", ".byte 0x63, 0xC8", VECTOR_DONE, 6)                                                      \
  FAULT2(hlt, "nop", "hlt", 13, 255)

#define DEFINE_CODE(label, text, ...) PIECE(label, 16, "77:\n" text, "nop") PIECE(label, 32, "77:\n" text, "nop")
#define DEFINE_FAULT(label, before, text, vector) BOTH(label, before, text)
#define DEFINE_FAULT2(label, before, text, vector, real) BOTH(label, before, text)
CODES(DEFINE_CODE, DEFINE_CODE, DEFINE_FAULT, DEFINE_FAULT2)

#define ROW(label, vector, real, ...)                                                                         \
  {#label, {label##_16, label##_32}, {label##_16_middle, label##_32_middle}, {label##_16_end, label##_32_end}, \
   {__VA_ARGS__}, vector, real},
#define ROW_CODE(label, text, ...) ROW(label, VECTOR_DONE, VECTOR_DONE, __VA_ARGS__, __VA_ARGS__)
#define ROW_CODE2(label, text, ...) ROW(label, VECTOR_DONE, VECTOR_DONE, __VA_ARGS__)
#define ROW_FAULT(label, before, text, vector) ROW(label, vector, vector, NOTHING, NOTHING)
#define ROW_FAULT2(label, before, text, vector, real) ROW(label, vector, real, NOTHING, NOTHING)
static const struct test tests[] = {CODES(ROW_CODE, ROW_CODE2, ROW_FAULT, ROW_FAULT2)};

static void prepare_data(void) {
  for (u32 i = 0; i < 0x600; i++) data_bytes[i] = i >= 0x200 && i < 0x300 ? (u8)i : 0;
  *data16(0x330) = 0, *data16(0x332) = 9;
  for (u32 i = 0; i < 64; i++) stack_bytes[i] = 0;
}

static u32 digest;
static void look_at(const char *what, u32 got, u32 expected) {
  if (expected == X) return;
  check(what, got, expected);
  digest = mix(digest, got);
}

static void one(const struct test *t, enum place place) {
  int wide = place == PROTECTED32;
  u32 bytes = (u32)(t->end[wide] - t->start[wide]);
  put_code(0, t->start[wide], bytes);
  prepare_data();
  context_for(place);
  volatile struct context *c = &context;
  u32 vector = run(place);
  u32 expected = place == REAL ? t->real_vector : t->vector;
  /* In virtual-8086 mode what needs protected mode is undefined, and what needs CPL 0 is #GP. */
  if (place == VIRTUAL86 && t->real_vector == 6) expected = 6;
  check("vector", vector, expected);
  digest = mix(digest, vector);
  if (vector != VECTOR_DONE) {
    check("ip", c->eip, (u32)(t->middle[wide] - t->start[wide]));
    if (place != REAL) check("error", c->error, 0);
    /* IRET to a 16-bit stack leaves the upper half of ESP undefined. */
    check("esp", wide ? c->esp : c->esp & 0xFFFF, PROGRAM_SP);
    return;
  }
  if (t->vector != VECTOR_DONE) return;
  check("ip", c->eip, bytes + 2);
  check("sp", c->esp & 0xFFFF, PROGRAM_SP);
  const struct expectation *e = &t->after[wide];
  look_at("eax", c->eax, e->eax);
  look_at("ecx", c->ecx, e->ecx);
  look_at("edx", c->edx, e->edx);
  look_at("ebx", c->ebx, e->ebx);
  look_at("esi", c->esi, e->esi);
  look_at("edi", c->edi, e->edi);
}

static void group_of(const char *name, enum place place) {
  static char group[48];
  u32 length = 0;
  for (const char *c = name; *c; c++) group[length++] = *c == '_' ? '-' : *c;
  group[length++] = '-';
  for (const char *c = place_names[place]; *c; c++) group[length++] = *c;
  group[length] = '\0';
  begin(group);
}

/* Jcc and SETcc: all 16 conditions under all combinations of the five flags that they look at. */
static int condition_holds(u32 condition, u32 flags) {
  int cf = (flags & FLAG_CF) != 0, zf = (flags & FLAG_ZF) != 0, sf = (flags & FLAG_SF) != 0;
  int of = (flags & FLAG_OF) != 0, pf = (flags & FLAG_PF) != 0;
  const int holds[8] = {of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of};
  return holds[condition >> 1] ^ (int)(condition & 1);
}
static void conditions(enum place place) {
  group_of("conditions", place);
  for (u32 condition = 0; condition < 16; condition++) {
    u32 wide = place == PROTECTED32;
    const u8 code[] = {(u8)(0x70 | condition), 2, 0xB0, 0x55,                     /* jcc over mov al, 55H */
                       0x0F, (u8)(0x90 | condition), 0xC1,                          /* setcc cl */
                       0x0F, (u8)(0x80 | condition), 2, 0, 0xB2, 0x55};             /* jcc near over mov dl, 55H */
    u8 bytes[20];
    u32 n = 0;
    for (u32 i = 0; i < sizeof code; i++) {
      bytes[n++] = code[i];
      if (i == 10 && wide) bytes[n++] = 0, bytes[n++] = 0;
    }
    put_code(0, bytes, n);
    for (u32 bits = 0; bits < 32; bits++) {
      u32 flags = (bits & 1 ? FLAG_CF : 0) | (bits & 2 ? FLAG_ZF : 0) | (bits & 4 ? FLAG_SF : 0) |
                  (bits & 8 ? FLAG_OF : 0) | (bits & 16 ? FLAG_PF : 0);
      context_for(place);
      context.eflags |= flags;
      run(place);
      int holds = condition_holds(condition, flags);
      check("jcc", context.eax, holds ? 0 : 0x55);
      check("setcc", context.ecx, (u32)holds);
      check("jcc-near", context.edx, holds ? 0 : 0x55);
      check("flags", context.eflags & ARITHMETIC_FLAGS, flags);
      digest = mix(digest, context.eax ^ context.ecx << 8 ^ context.edx << 16);
    }
  }
  end();
}

/* INT n, INT3 and INTO: traps, so IP is behind them. */
static void software_interrupts(enum place place) {
  static const struct {
    u8 code[2];
    u32 count, vector, flags;
  } cases[] = {{{0xCC, 0}, 1, 3, 0}, {{0xCD, 3}, 2, 3, 0}, {{0xCE, 0}, 1, 4, FLAG_OF}, {{0xCD, 0x40}, 2, 0x40, 0}};
  group_of("software-interrupts", place);
  for (u32 i = 0; i < 4; i++) {
    put_code(0, cases[i].code, cases[i].count);
    context_for(place);
    context.eflags |= cases[i].flags;
    check("vector", run(place), cases[i].vector);
    check("ip", context.eip, cases[i].count);
    check("flags", context.eflags & FLAG_OF, cases[i].flags);
  }
  end();
}

/* Overflow at IP: 16-bit code runs off its segment's end, where the next instruction is beyond the limit (#GP; an IP of 64 KiB). */
static void end_of_segment(enum place place) {
  group_of("end-of-segment", place);
  code_bytes[0xFFFE] = 0x90, code_bytes[0xFFFF] = 0x90;
  context_for(place);
  context.eip = 0xFFFE;
  check("vector", run(place), 13);
  code_bytes[0xFFFF] = 0xB0; /* an instruction that crosses the limit */
  context_for(place);
  context.eip = 0xFFFF;
  check("crossing", run(place), 13);
  check("crossing-ip", context.eip & 0xFFFF, 0xFFFF);
  end();
}

void program_run(void) {
  for (u32 place = 0; place < PLACES; place++) {
    digest = MIX_START;
    for (u32 i = 0; i < sizeof tests / sizeof tests[0]; i++) {
      if (place == REAL && tests[i].real_vector == 255) continue;
      group_of(tests[i].name, (enum place)place);
      one(&tests[i], (enum place)place);
      end();
    }
    conditions((enum place)place);
    software_interrupts((enum place)place);
    end_of_segment((enum place)place);
    report_digest(place_names[place], digest);
  }
}
