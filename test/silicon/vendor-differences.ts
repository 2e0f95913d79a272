/**
 * Where the processor of the corpus is known to do something else than Intel's manual says. Our core follows the manual; these
 * cases are not compared.
 *
 * Not in the list because no case is made of them: near branches with 66H in 64-bit mode (Intel SDM Vol. 2, "Jcc", "CALL", "RET":
 * operand size is 64 bits; AMD APM Vol. 3, "Near Branches in 64-Bit Mode": 16 bits), and DR4 and DR5 (`encode.ts`).
 */
import type { CaseInput, CaseOutcome } from "./case.ts";
import { MODE_16 } from "./environment.ts";
import type { Form } from "./forms.ts";
import { MXCSR_OFFSET } from "./media.ts";

export interface VendorDifference {
  readonly vendor: string;
  readonly what: string;
  readonly manual: string;
  /** `outcome` is what that vendor's processor did. */
  applies(form: Form, input: CaseInput, outcome: CaseOutcome): boolean;
}

const CS_OVERRIDE = 0x2e;
const ADDRESS_SIZE = 0x67;
const STACK_FAULT = 12;
const GENERAL_PROTECTION = 13;
const PAGE_FAULT = 14;
const SIMD_EXCEPTION = 19;

export const VENDOR_DIFFERENCES: readonly VendorDifference[] = [
  {
    vendor: "AuthenticAMD",
    what: "0F 0D with a register operand raises #UD",
    manual: "Intel SDM Vol. 2, Two-byte Opcode Map: 0F 0D is a hint (NOP) in its reserved forms too",
    applies: (form) => form.row.id === "0F 0D /r NOP" && form.operand === "reg",
  },
  {
    vendor: "AuthenticAMD",
    what: "ARPL reads its destination first, and checks whether it can be written only if it changes it",
    manual: 'Intel SDM Vol. 2, "ARPL": #GP(0) "if the destination is located in a non-writable segment"',
    applies: (form, input, outcome) =>
      form.row.mnemonic === "ARPL" &&
      form.operand === "mem" &&
      (outcome.vector === PAGE_FAULT || input.code[0] === CS_OVERRIDE),
  },
  {
    vendor: "AuthenticAMD",
    what: "near CALL pushes before it checks its target against the code segment's limit, so that #SS or #PF comes before #GP",
    manual: 'Intel SDM Vol. 2, "CALL", Operation: the target is checked first',
    applies: (form, _, outcome) =>
      form.row.mnemonic === "CALL" &&
      form.mode === MODE_16 &&
      form.size === "66" &&
      (outcome.vector === STACK_FAULT || outcome.vector === PAGE_FAULT),
  },
  {
    vendor: "AuthenticAMD",
    what: "MOVSXD with a 16-bit operand size reads four bytes of memory, and faults for the upper two",
    manual: 'Intel SDM Vol. 2, "MOVSXD": MOVSXD r16, r/m16',
    applies: (form, _, outcome) =>
      form.row.mnemonic === "MOVSXD" &&
      form.size === "66" &&
      form.operand === "mem" &&
      outcome.vector === PAGE_FAULT,
  },
  {
    vendor: "AuthenticAMD",
    what: "with 16-bit addresses each element of a masked move has an offset of its own that wraps at 64 KiB",
    manual:
      'Intel SDM Vol. 2, "VMASKMOV": says nothing of it; ours go on, as those of an ordinary operand do',
    applies: (form, input, outcome) =>
      /^V(?:P?MASKMOV)/.test(form.row.mnemonic) &&
      input.code.includes(ADDRESS_SIZE) &&
      outcome.vector === PAGE_FAULT,
  },
  {
    vendor: "AuthenticAMD",
    what: "SHA instructions take memory operands that are not aligned",
    manual: 'Intel SDM Vol. 2, "SHA1RNDS4" and its like: exception class 4, whose legacy forms raise #GP(0)',
    applies: (form, _, outcome) =>
      form.row.feature === "SHA" && form.operand === "mem" && outcome.vector !== GENERAL_PROTECTION,
  },
  {
    vendor: "AuthenticAMD",
    what: "MASKMOVQ and MASKMOVDQU fault for bytes that are not selected, the former after its transition to MMX",
    manual: 'Intel SDM Vol. 2, "MASKMOVDQU": left to the implementation; ours faults for selected bytes only',
    applies: (form, _, outcome) =>
      /MASKMOV(?:Q|DQU)$/.test(form.row.mnemonic) && outcome.vector !== undefined,
  },
  {
    vendor: "AuthenticAMD",
    what: "a conversion to or from an MMX register that raises #XM has made the transition to MMX all the same",
    manual:
      'Intel SDM Vol. 3A, "Exception Classifications": a fault leaves the state from before the instruction',
    applies: (form, _, outcome) =>
      /^CVT(?:PI|T?P[SD]2PI)/.test(form.row.mnemonic) && outcome.vector === SIMD_EXCEPTION,
  },
  {
    vendor: "AuthenticAMD",
    what: "MXCSR has bit 17, misaligned exception mask",
    manual: 'Intel SDM Vol. 2, "LDMXCSR": #GP for an attempt to set reserved bits, of which bit 17 is one',
    applies: (form, _, outcome) =>
      /LDMXCSR$/.test(form.row.mnemonic) && outcome.vector === undefined && loadsBit17(outcome),
  },
];

const MXCSR_MM = 0x20000;
function loadsBit17({ media }: CaseOutcome): boolean {
  return (
    media !== undefined &&
    (new DataView(media.buffer, media.byteOffset).getUint32(MXCSR_OFFSET, true) & MXCSR_MM) !== 0
  );
}

export function isVendorDifference(
  vendor: string,
  form: Form,
  input: CaseInput,
  outcome: CaseOutcome,
): boolean {
  return VENDOR_DIFFERENCES.some(
    (difference) => difference.vendor === vendor && difference.applies(form, input, outcome),
  );
}
