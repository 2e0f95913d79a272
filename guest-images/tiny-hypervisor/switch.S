/*
 * int enter_guest(struct registers *r, int is_launched): VM entry with the guest's general registers, and the way back.
 *
 * RSP and RIP are in the VMCS, in both directions; the other fifteen registers are ours to move. Returns 0 after a VM exit, 1 when
 * the entry failed (VMfail), with the reason in the VM-instruction error field.
 */
  .intel_syntax noprefix
#define HOST_RSP 0x6C14

  .text
  .globl enter_guest, guest_exits
enter_guest:
  push rbx
  push rbp
  push r12
  push r13
  push r14
  push r15
  push rdi                                      /* where the exit finds the guest's registers again */
  mov rax, HOST_RSP
  vmwrite rax, rsp
  cmp esi, 0                                    /* the moves below leave the flags alone */
  mov rax, [rdi]
  mov rcx, [rdi + 8]
  mov rdx, [rdi + 16]
  mov rbx, [rdi + 24]
  mov rbp, [rdi + 40]
  mov rsi, [rdi + 48]
  mov r8, [rdi + 64]
  mov r9, [rdi + 72]
  mov r10, [rdi + 80]
  mov r11, [rdi + 88]
  mov r12, [rdi + 96]
  mov r13, [rdi + 104]
  mov r14, [rdi + 112]
  mov r15, [rdi + 120]
  mov rdi, [rdi + 56]
  jne 1f
  vmlaunch
  jmp 2f
1:
  vmresume
2:                                              /* still here: VMfail */
  pop rdi
  mov eax, 1
  jmp 3f
guest_exits:                                    /* HOST_RIP: RSP is what the VMWRITE above gave */
  xchg rdi, [rsp]
  mov [rdi], rax
  mov [rdi + 8], rcx
  mov [rdi + 16], rdx
  mov [rdi + 24], rbx
  mov [rdi + 40], rbp
  mov [rdi + 48], rsi
  mov [rdi + 64], r8
  mov [rdi + 72], r9
  mov [rdi + 80], r10
  mov [rdi + 88], r11
  mov [rdi + 96], r12
  mov [rdi + 104], r13
  mov [rdi + 112], r14
  mov [rdi + 120], r15
  pop rax                                       /* the guest's RDI, that was exchanged */
  mov [rdi + 56], rax
  xor eax, eax
3:
  pop r15
  pop r14
  pop r13
  pop r12
  pop rbp
  pop rbx
  ret
