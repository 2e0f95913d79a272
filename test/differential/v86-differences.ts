/** Where v86 0.5.462 contradicts Intel's manual (SDM), found by programs that check themselves. */
import type { Program } from "../second-opinion/verdict.ts";

export interface V86Difference {
  readonly program: Program;
  /** Groups of checks, or digests. */
  readonly names: RegExp;
  readonly because: string;
  /** v86 ends itself here ("unimplemented"), so that what follows is not reached. */
  readonly stops?: true;
}

const LIMITS =
  'SDM Vol. 3A, "Limit Checking": accesses beyond a segment\'s limit are #GP or #SS. v86 does not check limits of data, stack and code.';

export const V86_DIFFERENCES: readonly V86Difference[] = [
  { program: "instructions", names: /^(limit|end-of-segment)-/, because: LIMITS },
  {
    program: "instructions",
    names: /^enter-nested-/,
    because:
      'SDM Vol. 2A, "ENTER": with a nesting level, frame pointers are copied from the old frame. v86 copies from the new one.',
  },
  {
    program: "instructions",
    names: /^ud-(lock|lock-cmp)-/,
    because:
      'SDM Vol. 2A, "LOCK": #UD before an instruction that is not in its list, or whose destination is no memory.',
  },
  {
    program: "instructions",
    names: /^ud-mov-cr1-/,
    because: 'SDM Vol. 2B, "MOV—Move to/from Control Registers": CR1 is #UD.',
  },
  {
    program: "instructions",
    names: /^(bound-low|ud-bound-register)-/,
    because: 'SDM Vol. 2A, "BOUND": #BR outside the bounds, #UD for a register. v86 ignores the instruction.',
  },
  {
    program: "instructions",
    names: /^too-long-/,
    because:
      'SDM Vol. 3A, "Interrupt 13—General Protection Exception (#GP)": an instruction of more than 15 bytes.',
  },
  {
    program: "instructions",
    names: /^(real|v86|pm16|pm32)$/,
    because: "Digests over all of the above.",
  },
  { program: "segments", names: /^(limit-|stack-limits$)/, because: LIMITS },
  {
    program: "segments",
    names: /^types$/,
    because:
      'SDM Vol. 3A, "Type Checking": no write into a code segment or a data segment that is not writable.',
  },
  {
    program: "gates",
    names: /^far-direct-faults$/,
    because:
      'SDM Vol. 2A, "JMP": EIP beyond the limit and system descriptors are #GP; Vol. 3A, "Code- and Data-Segment Descriptor Types": ' +
      "loading sets the accessed bit.",
  },
  {
    program: "gates",
    names: /^retf-faults$/,
    because:
      'SDM Vol. 2B, "RET": a stack segment that is null, of another RPL or DPL, or not present is #GP or #SS.',
  },
  {
    program: "gates",
    names: /^privileged-at-3$/,
    because: 'SDM Vol. 2A, "INVD": #GP(0) when the CPL is not 0. v86 has no INVD (#UD).',
  },
  {
    program: "gates",
    names: /^(iret-faults|interrupt-(gate|stack)-faults|call-gate-faults)$/,
    because: 'SDM Vol. 2A, "IRET": a null CS is #GP(0). v86 ends itself.',
    stops: true,
  },
  {
    program: "tasks",
    names: /^exception-task-gate$/,
    because: 'SDM Vol. 3B, "Resume Flag": the saved EFLAGS of a fault has RF set, in the TSS too.',
  },
  {
    program: "tasks",
    names: /^trap-bit$/,
    because: 'SDM Vol. 3A, "Task-State Segment": T in the TSS raises #DB.',
  },
  {
    program: "tasks",
    names: /^(faults-(of-the-new-task|before-the-switch)|tss-16)$/,
    because: 'SDM Vol. 3A, "Task Switching": an LDT selector that names no LDT is #TS. v86 ends itself.',
    stops: true,
  },
  {
    program: "paging",
    names: /^(large-pages-(32|pae)|pae-reserved|nx-off)$/,
    because:
      'SDM Vol. 3A, "Page-Fault Exceptions": a reserved bit that is set is #PF with RSVD; "PAE Paging": and #GP in a PDPTE.',
  },
  {
    program: "paging",
    names: /^(smep|smap|rights-pae-nx|nx$)/,
    because: "Not run: v86 has none of SMEP, SMAP and NX, and its CPUID says so.",
  },
  {
    program: "paging",
    names: /^implicit-/,
    because:
      'SDM Vol. 3A, "Determination of Access Mode": a descriptor table in a page that is not present is #PF. v86 ends itself.',
    stops: true,
  },
  {
    program: "modes",
    names: /^real-mode$/,
    because: 'SDM Vol. 2A, "INT n": in real-address mode a vector beyond IDTR\'s limit is #GP.',
  },
  { program: "modes", names: /^big-real-mode$/, because: LIMITS },
  { program: "modes", names: /^v86-frame$/, because: 'SDM Vol. 3B, "Resume Flag": a fault saves RF = 1.' },
  {
    program: "modes",
    names: /^(double-fault|double-fault-task|v86-gates)$/,
    because:
      'SDM Vol. 3A, "Interrupt 8—Double Fault Exception (#DF)": a contributory exception while another is delivered. v86 ends itself.',
    stops: true,
  },
  {
    program: "x87",
    names: /-all$/,
    because:
      'SDM Vol. 1, "x87 FPU Floating-Point Exception Handling" and "Denormal Operand Exception (#D)": flags of the status word, pseudo-' +
      "denormals and NaNs. v86 sets few of them.",
  },
  {
    program: "x87",
    names: /^(fprem1?|fscale|fxtract|fldpi)$/,
    because:
      'SDM Vol. 2A: "FPREM" by 0 is invalid and its remainder exact; "FSCALE" and "FXTRACT" are exact, 0 divides by zero; "FLDPI" rounds as ' +
      "the rounding control says.",
  },
  {
    program: "x87",
    names: /^decimal$/,
    because: 'SDM Vol. 2A, "FBSTP". v86 has none (#UD), which ends the program.',
  },
  {
    program: "sse",
    names: /-all$/,
    because:
      'SDM Vol. 1, "SIMD Floating-Point Exceptions" and "Rounding Control Field": v86 sets no flags in MXCSR, and rounds to nearest alone.',
  },
];
