/**
 * Why a peer's verdict differs from ours: the sentence of Intel's manual (SDM) that it contradicts, or, where the manual leaves
 * something open, what silicon does. A difference without an entry here fails the test, and so does an entry without a difference.
 */
import type { Program } from "./verdict.ts";

export interface Explanation {
  readonly peer: string;
  readonly program: Program;
  /** Groups or digests of the program. */
  readonly groups: RegExp;
  readonly because: string;
}

const LIMITS =
  'It does not check segment limits. SDM Vol. 3A, "Limit Checking": a program ' +
  "cannot address memory outside its segments.";
const DENORMALS =
  'It does not report denormal operands, and so differs in status and after special operands. SDM Vol. 1, "Denormal Operand ' +
  "Exception (#D)\": the processor signals it when an instruction attempts to operate on a denormal operand. Silicon's corpus " +
  "(test/silicon) agrees with us.";
const NEW_STACK =
  'SDM Vol. 3A, "Interrupt 12—Stack Fault Exception (#SS)": a stack segment that is not present raises #SS when SS is loaded with it.';

export const EXPLANATIONS: readonly Explanation[] = [
  {
    peer: "QEMU",
    program: "instructions",
    groups: /^((limit|end-of-segment)-|(real|v86|pm16|pm32)$)/,
    because: LIMITS,
  },
  {
    peer: "QEMU",
    program: "instructions",
    groups: /^ud-lock-/,
    because:
      'SDM Vol. 2A, "LOCK": the prefix before an instruction that is not in its list is #UD. QEMU executes MOV with it.',
  },
  {
    peer: "QEMU",
    program: "instructions",
    groups: /^ud-mov-cr1-/,
    because:
      'SDM Vol. 2B, "MOV—Move to/from Control Registers": #UD for CR1. At CPL 3 #GP(0) applies as well; silicon raises #UD (Sapphire ' +
      "Rapids, in user mode), as for every other invalid opcode.",
  },
  {
    peer: "QEMU",
    program: "segments",
    groups: /^(null-segments|types)$/,
    because:
      'Neither null selectors nor types are looked at when memory is accessed. SDM Vol. 3A, "Segment Selectors": an access through ' +
      'a null selector is #GP; "Type Checking": no write into a code segment or a data segment that is not writable.',
  },
  { peer: "QEMU", program: "segments", groups: /^(limit-|stack-limits)/, because: LIMITS },
  {
    peer: "QEMU",
    program: "gates",
    groups: /^call-gate-same-level$/,
    because:
      'SDM Vol. 3A, "Accessing a Code Segment Through a Call Gate": stack and privilege level change when the gate leads to a more ' +
      "privileged *nonconforming* code segment; QEMU changes them for a conforming one.",
  },
  {
    peer: "QEMU",
    program: "gates",
    groups: /^(call-gate-faults|retf-faults|iret|iret-faults|interrupt-stack-faults|interrupt-gate-faults)$/,
    because:
      `Limits of code and stack segments are not checked; a stack segment that is not present raises #TS or #NP (${NEW_STACK}); ` +
      'an exception\'s delivery does not set EXT in the error code (Vol. 3A, "Error Code"); and IRET at CPL 3 takes VM from the image, ' +
      'which SDM Vol. 2A, "IRET", changes at CPL 0 alone.',
  },
  {
    peer: "QEMU",
    program: "gates",
    groups: /^far-direct-faults$/,
    because:
      'SDM Vol. 3A, "Code- and Data-Segment Descriptor Types": the accessed bit is set whenever a selector for ' +
      "the segment is loaded; a far JMP does not set it in QEMU.",
  },
  {
    peer: "Bochs",
    program: "gates",
    groups: /^iret-faults$/,
    because: `IRET to a stack segment that is not present raises #NP. ${NEW_STACK} (Vol. 2A, "IRET": #SS(selector).)`,
  },
  {
    peer: "QEMU",
    program: "tasks",
    groups: /^exception-task-gate$/,
    because:
      'SDM Vol. 3B, "Resume Flag": for a fault the saved image of EFLAGS has RF set, in the TSS as on the stack.',
  },
  {
    peer: "QEMU",
    program: "tasks",
    groups: /^faults-before-the-switch$/,
    because:
      'SDM Vol. 2A, "JMP" and "CALL": a TSS selector in a task gate that names the LDT is #GP(selector); QEMU raises #TS.',
  },
  {
    peer: "QEMU",
    program: "tasks",
    groups: /^faults-of-the-new-task$/,
    because:
      'SDM Vol. 3A, "Task Switching": behind the commit point the exception comes in the new task, before its first ' +
      "instruction; QEMU saves the EIP of the old task's program for it.",
  },
  {
    peer: "QEMU",
    program: "tasks",
    groups: /^trap-bit$/,
    because:
      'SDM Vol. 3A, "Task-State Segment": a switch to a task whose T flag is set raises #DB. ' +
      "QEMU ignores it.",
  },
  {
    peer: "QEMU",
    program: "paging",
    groups: /^rights-/,
    because:
      'SDM Vol. 3A, "Page-Fault Exceptions": W/R is 1 when the access that faulted was a write. QEMU makes a ' +
      "read-modify-write instruction two accesses, and reports its read.",
  },
  {
    peer: "QEMU",
    program: "paging",
    groups: /^(large-pages-|pae-reserved|nx-off)/,
    because:
      'SDM Vol. 3A, "Page-Fault Exceptions": RSVD is reported only together with P. QEMU reports it alone.',
  },
  {
    peer: "QEMU",
    program: "debug",
    groups: /^(single-step|data-breakpoints|instruction-breakpoints|debug-registers)$/,
    because:
      'SDM Vol. 3B, "Debug Registers" and "Debug Exceptions": the low bits of a wide breakpoint\'s address are ignored, DR6 tells of ' +
      "every breakpoint met, MOV SS holds instruction breakpoints back, faults save RF and an instruction clears it, INT1 (F1) and " +
      "general detect exist. QEMU has none of these.",
  },
  {
    peer: "QEMU",
    program: "debug",
    groups: /^alignment-check$/,
    because: 'SDM Vol. 3A, "Interrupt 17—Alignment Check Exception (#AC)". QEMU does not check.',
  },
  { peer: "QEMU", program: "modes", groups: /^big-real-mode$/, because: LIMITS },
  {
    peer: "QEMU",
    program: "modes",
    groups: /^(v86-frame|v86-gates|double-fault)$/,
    because:
      'SDM Vol. 3B, "Resume Flag": a fault saves RF = 1; Vol. 3B, "Interrupt and Exception Handling in Virtual-8086 Mode": a handler of a ' +
      'privilege level other than 0 is #GP(selector); Vol. 3A, "Error Code": EXT is set where an earlier exception is being delivered.',
  },
  { peer: "QEMU", program: "x87", groups: /-all$/, because: DENORMALS },
  {
    peer: "QEMU",
    program: "x87",
    groups: /^(fprem|fprem1|decimal)$/,
    because:
      'SDM Vol. 1, "Precision Control Field": it affects FADD, FSUB, FMUL, FDIV and FSQRT alone; the remainder of FPREM is exact ' +
      "(Vol. 2A), and FBSTP rounds as the rounding control says. Silicon's corpus (test/silicon) agrees with us.",
  },
  { peer: "QEMU", program: "sse", groups: /-all$/, because: DENORMALS },
  {
    peer: "QEMU",
    program: "long",
    groups: /^(canonical|iretq|sysret|sysenter|call-gate-64|fsgsbase)$/,
    because:
      'Branches to addresses that are not canonical are #GP(0) of the branch, and stack accesses #SS(0). SDM Vol. 1, "Canonical ' +
      'Addressing"; Vol. 2, "JMP", "CALL", "RET", "IRET", "SYSRET", "SYSEXIT", "WRGSBASE". QEMU faults at the target or not at all.',
  },
  {
    peer: "QEMU",
    program: "long",
    groups: /^undefined-in-64-bit-code$/,
    because: "As in 32-bit code: LOCK before MOV, and the priority of #UD for CR1.",
  },
  {
    peer: "QEMU",
    program: "long",
    groups: /^defaults-in-64-bit-code$/,
    because:
      'SDM Vol. 2A, "CALL": in 64-bit mode the operand size of near branches is 64 bits; Vol. 2A, "REX Prefixes": one that is not the ' +
      "last prefix is ignored. QEMU obeys the vendor's manual of its CPU model, AMD's, in the first, and keeps REX.W in the second.",
  },
  {
    peer: "QEMU",
    program: "long",
    groups: /^(ist|gate-faults)$/,
    because:
      'SDM Vol. 3A, "Stack Switching in IA-32e Mode": SS is set to null when the privilege level changes; QEMU does so for every IST ' +
      'stack. "Error Code": the index of a gate is its vector, in bits 15:3; QEMU gives twice that.',
  },
  {
    peer: "QEMU",
    program: "long",
    groups: /^(retfq|segments-64|syscall)$/,
    because:
      'SDM Vol. 3A, "Code Segment Descriptor in IA-32e Mode": L and D both set is reserved, loading it #GP(selector); Vol. 2B, "MOV": a ' +
      'null SS needs RPL = CPL; "SYSCALL": #UD outside 64-bit mode, and RFLAGS keeps what IA32_FMASK does not clear.',
  },
  {
    peer: "QEMU",
    program: "long",
    groups: /^(reserved-4-level|large-pages-4-level)$/,
    because: "As in the program paging: RSVD without P.",
  },
  {
    peer: "QEMU",
    program: "long",
    groups: /^pcid$/,
    because: "Not run: QEMU's TCG of this version has no PCID, and its CPUID says so.",
  },
  {
    peer: "QEMU",
    program: "long",
    groups: /^(ltr-lldt-64|control-registers-64|call-tss-64)$/,
    because:
      'QEMU loads a null selector by LTR, which SDM Vol. 2A, "LTR", makes #GP(0), and ends itself at the next change of privilege.',
  },
  {
    peer: "Bochs",
    program: "long",
    groups: /^(ist|call-gate-64)$/,
    because:
      'SDM Vol. 2A, "INT n" and "CALL": a new stack pointer that is not canonical is #SS(0), with EXT for events: the new SS is null. ' +
      "Bochs gives the old stack's selector.",
  },
  {
    peer: "Bochs",
    program: "long",
    groups: /^control-registers-64$/,
    because:
      'SDM Vol. 2B, "MOV—Move to/from Control Registers": #GP(0) for CR0 with NW = 1 and CD = 0. ' +
      "Bochs takes it.",
  },
];
