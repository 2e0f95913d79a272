/**
 * Where a vendor's processors are known to do something else than Intel's manual says, or, where that leaves the choice, than Intel's
 * processors do. Our core follows Intel; these cases are not compared, neither when they were recorded on such a processor nor when such
 * a processor is at hand.
 *
 * Not in the list because no case is made of them: near branches with 66H in 64-bit mode (Intel SDM Vol. 2, "Jcc", "CALL", "RET":
 * operand size is 64 bits; AMD APM Vol. 3, "Near Branches in 64-Bit Mode": 16 bits), and DR4 and DR5 (`encode.ts`).
 */
import type { CaseInput, CaseOutcome } from "./case.ts";
import { MODE_64 } from "./environment.ts";
import type { Form } from "./forms.ts";
import { CONTROL_OFFSET, MXCSR_OFFSET, UPPER_OFFSET, XMM_OFFSET } from "./media.ts";
import { viewOf } from "./slab.ts";

export interface VendorDifference {
  readonly vendor: string;
  readonly what: string;
  readonly manual: string;
  /** `outcome` is what that vendor's processor did. */
  applies(form: Form, input: CaseInput, outcome: CaseOutcome): boolean;
}

const ADDRESS_SIZE = 0x67;
const GENERAL_PROTECTION = 13;
const PAGE_FAULT = 14;

export const VENDOR_DIFFERENCES: readonly VendorDifference[] = [
  {
    vendor: "AuthenticAMD",
    what: "0F 0D with a register operand raises #UD",
    manual: "Intel SDM Vol. 2, Two-byte Opcode Map: 0F 0D is a hint (NOP) in its reserved forms too",
    applies: (form) => form.row.id === "0F 0D /r NOP" && form.operand === "reg",
  },
  {
    vendor: "AuthenticAMD",
    what: "BOUND reads both limits before it compares with the lower one",
    manual: 'Intel SDM Vol. 2, "BOUND", Operation: says nothing of the order of accesses',
    applies: (form, _, outcome) => form.row.mnemonic === "BOUND" && outcome.vector === PAGE_FAULT,
  },
  {
    vendor: "AuthenticAMD",
    what: "near CALL to an illegal target does not write the return address",
    manual:
      'Intel SDM Vol. 2, "CALL", Operation: the target is checked first; Intel\'s processors push first nevertheless',
    applies: (form, _, outcome) => form.row.mnemonic === "CALL" && outcome.vector === GENERAL_PROTECTION,
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
    what: "with ECX as the count in 64-bit mode a repeated string instruction leaves upper halves alone where there is no iteration",
    manual:
      'Intel SDM Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ": says nothing of it; Intel\'s processors clear them',
    applies: (form, input, outcome) =>
      form.mode === MODE_64 &&
      (form.group === "REP" || form.group === "REPNE") &&
      input.code.includes(ADDRESS_SIZE) &&
      (outcome.vector !== undefined || (input.gpr[1]! & 0xffffffffn) === 0n),
  },
  {
    vendor: "AuthenticAMD",
    what: "a masked move's page fault names another byte, and with 16-bit addresses each element's offset wraps at 64 KiB by itself",
    manual:
      'Intel SDM Vol. 2, "VMASKMOV": says nothing of either; offsets go on, as those of an ordinary operand do',
    applies: (form, _, outcome) => /^V(?:P?MASKMOV)/.test(form.row.mnemonic) && outcome.vector === PAGE_FAULT,
  },
  {
    vendor: "AuthenticAMD",
    what: "a gather that faults leaves the masks of elements that it has not loaded, and upper halves, as they were",
    manual:
      'Intel SDM Vol. 2, "VPGATHERDD", Operation: masks are extended before the first element is loaded',
    applies: (form, _, outcome) => /GATHER/.test(form.row.mnemonic) && outcome.vector !== undefined,
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
    what: "a store of an MMX register that faults leaves TOP as it was",
    manual:
      'Intel SDM Vol. 3A, "Exception Classifications": a fault leaves the state from before the instruction; Intel\'s processors have TOP 0',
    applies: (form, _, outcome) =>
      /^NP 0F (?:7E|7F|E7)/.test(form.row.id) && form.operand === "mem" && outcome.vector !== undefined,
  },
  {
    vendor: "AuthenticAMD",
    what: "VCVTPS2PH to memory checks its operand before it converts, and sets no flag in MXCSR when that faults",
    manual:
      'Intel SDM Vol. 3A, "Priority Among Concurrent Events": faults of one instruction\'s execution have no order',
    applies: (form, _, outcome) =>
      form.row.mnemonic === "VCVTPS2PH" && form.operand === "mem" && outcome.vector !== undefined,
  },
  {
    vendor: "AuthenticAMD",
    what: "RCPPS and its like approximate in their own way: within the bound of the right result, but not of Intel's",
    manual: 'Intel SDM Vol. 2, "RCPPS": gives the error bound alone',
    applies: (form) => /^V?R(?:CP|SQRT)[PS]S$/.test(form.row.mnemonic),
  },
  {
    vendor: "AuthenticAMD",
    what: "DPPS and DPPD give all elements the same of several NaNs",
    manual:
      'Intel SDM Vol. 2, "DPPS", Operation: one sum; Intel\'s processors add in another order for each element',
    applies: (form, input, outcome) =>
      /^V?DPP[SD]$/.test(form.row.mnemonic) && writesNan(form, input, outcome),
  },
  {
    vendor: "AuthenticAMD",
    what: "an x87 store checks its operand in memory even if an unmasked exception keeps the result from it",
    manual:
      'Intel SDM Vol. 1, "Software Exception Handling": the result is not stored; nothing is said of the check',
    applies: (form, input, outcome) =>
      isX87Store(form) &&
      outcome.vector !== undefined &&
      (viewOf(input.media!).getUint16(CONTROL_OFFSET, true) & 0x3f) !== 0x3f,
  },
  {
    vendor: "AuthenticAMD",
    what: "an 80-bit store that faults at its upper two bytes has not written the others",
    manual:
      'Intel SDM Vol. 3A, "Program or Task Restart": the instruction can be executed again; Intel\'s processors have written them',
    applies: (form, _, outcome) =>
      isX87Store(form) && form.row.operands[0]!.memoryType === "t" && outcome.vector !== undefined,
  },
  {
    vendor: "AuthenticAMD",
    what: "MXCSR has bit 17, misaligned exception mask",
    manual: 'Intel SDM Vol. 2, "LDMXCSR": #GP for an attempt to set reserved bits, of which bit 17 is one',
    applies: (form, _, outcome) =>
      /LDMXCSR$/.test(form.row.mnemonic) && outcome.vector === undefined && loadsBit17(outcome),
  },
];

const isX87Store = ({ row, operand }: Form): boolean =>
  row.feature === "X87" && operand === "mem" && /^F(?:ST|IST|BST)/.test(row.mnemonic);

const MXCSR_MM = 0x20000;
const loadsBit17 = ({ media }: CaseOutcome): boolean =>
  media !== undefined && (viewOf(media).getUint32(MXCSR_OFFSET, true) & MXCSR_MM) !== 0;

/** Whether an element of a vector register has become a NaN. */
function writesNan(form: Form, { media: before }: CaseInput, { media: after }: CaseOutcome): boolean {
  if (!before || !after) return false;
  const [old, now] = [viewOf(before), viewOf(after)];
  const isDouble = form.row.mnemonic.endsWith("PD");
  const ends: readonly (readonly [number, number])[] = [
    [XMM_OFFSET, XMM_OFFSET + 256],
    [UPPER_OFFSET, UPPER_OFFSET + 256],
  ];
  for (const [start, end] of ends)
    for (let at = start; at < end; at += isDouble ? 8 : 4) {
      const value = isDouble ? now.getFloat64(at, true) : now.getFloat32(at, true);
      const isChanged = isDouble
        ? now.getBigUint64(at, true) !== old.getBigUint64(at, true)
        : now.getUint32(at, true) !== old.getUint32(at, true);
      if (isChanged && Number.isNaN(value)) return true;
    }
  return false;
}

/**
 * Whether a vendor's processors save the last x87 instruction's pointer in any case. AMD's do so only while an unmasked exception is pending
 * (AMD APM Vol. 2, "FXSAVE and FXRSTOR Instructions").
 */
export const savesPointers = (vendor: string): boolean => vendor !== "AuthenticAMD";

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
