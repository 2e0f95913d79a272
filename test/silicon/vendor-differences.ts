/**
 * Where the processor of the corpus is known to do something else than Intel's manual says. Our core follows the manual; these
 * cases are not compared, and each rule has a test of its own.
 */
import type { Form } from "./forms.ts";

export interface VendorDifference {
  readonly vendor: string;
  readonly what: string;
  readonly manual: string;
  applies(form: Form): boolean;
}

/**
 * Not in the list because no case is made of it: near branches with 66H in 64-bit mode (Intel SDM Vol. 2, "Jcc", "CALL", "RET":
 * operand size is 64 bits; AMD APM Vol. 3, "Near Branches in 64-Bit Mode": 16 bits).
 */
export const VENDOR_DIFFERENCES: readonly VendorDifference[] = [
  {
    vendor: "AuthenticAMD",
    what: "0F 0D with a register operand raises #UD",
    manual: "Intel SDM Vol. 2, Two-byte Opcode Map: 0F 0D is a hint (NOP) in its reserved forms too",
    applies: (form) => form.row.id === "0F 0D /r NOP" && form.operand === "reg",
  },
];

export function isVendorDifference(vendor: string, form: Form): boolean {
  return VENDOR_DIFFERENCES.some((difference) => difference.vendor === vendor && difference.applies(form));
}
