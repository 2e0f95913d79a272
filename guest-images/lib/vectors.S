/*
 * One entry stub for each of the 256 vectors. A stub makes the stack look the same whether or not the CPU pushed
 * an error code (SDM Vol. 3A, "Error Code"), saves the general registers and calls trap(frame) in traps.c.
 */

  .text
  .code64
common_entry:
  cld
  pushq %rax
  pushq %rcx
  pushq %rdx
  pushq %rbx
  pushq %rbp
  pushq %rsi
  pushq %rdi
  pushq %r8
  pushq %r9
  pushq %r10
  pushq %r11
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, %rdi
  call trap
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %r11
  popq %r10
  popq %r9
  popq %r8
  popq %rdi
  popq %rsi
  popq %rbp
  popq %rbx
  popq %rdx
  popq %rcx
  popq %rax
  addq $16, %rsp                                /* vector and error code */
  iretq

/*
 * #DF 8, #TS 10, #NP 11, #SS 12, #GP 13, #PF 14, #AC 17, #CP 21 push an error code. The longest stub has 12 bytes,
 * so the stub of vector v is at vector_stubs + 16 v.
 */
  .balign 16
  .globl vector_stubs
vector_stubs:
  .set vector, 0
  .rept 256
  .balign 16
  .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
  pushq $0
  .endif
  pushq $vector
  jmp common_entry
  .set vector, vector + 1
  .endr

  .section .note.GNU-stack, "", @progbits
