/** Differences between what silicon and our core did with an x87 case. */
import { REGISTERS, type Extended, type X87Form, type X87Input, type X87Outcome } from "./case.ts";

const hex = (value: number): string => value.toString(16).padStart(4, "0");
export const showExtended = ({ exponent, significand }: Extended): string =>
  `${hex(exponent)}.${significand.toString(16).padStart(16, "0")}`;

const C1 = 1 << 9;

/**
 * FCOMI and its like: AMD's processors leave C1 alone; Intel SDM Vol. 2, "FCOMI/FCOMIP/FUCOMI/FUCOMIP", FPU Flags Affected: "C1 Set to
 * 0". Our core follows the manual.
 */
const clearsC1 = (form: X87Form): boolean => /COMIP?$/.test(form.row.mnemonic);

/** What differs, as text; empty when nothing does. Contents of empty registers are not compared. */
export function compareX87(form: X87Form, recorded: X87Outcome, actual: X87Outcome): string[] {
  const expected = clearsC1(form) ? { ...recorded, status: recorded.status & ~C1 } : recorded;
  if (expected.isFaulted || actual.isFaulted)
    return expected.isFaulted === actual.isFaulted
      ? []
      : [`#MF ${expected.isFaulted}, ours ${actual.isFaulted}`];
  const differences: string[] = [];
  for (const name of ["control", "status", "tag", "rflags", "opcode"] as const)
    if (expected[name] !== actual[name])
      differences.push(`${name} ${hex(expected[name])}, ours ${hex(actual[name])}`);
  if (expected.rax !== actual.rax) differences.push(`RAX ${expected.rax}, ours ${actual.rax}`);
  for (let i = 0; i < REGISTERS; i++) {
    if (((expected.tag >> i) & 1) === 0) continue;
    const [theirs, ours] = [showExtended(expected.registers[i]!), showExtended(actual.registers[i]!)];
    if (theirs !== ours) differences.push(`R${i} ${theirs}, ours ${ours}`);
  }
  const [theirs, ours] = [expected, actual].map(({ operand }) => Buffer.from(operand).toString("hex"));
  if (theirs !== ours) differences.push(`memory ${theirs}, ours ${ours}`);
  return differences;
}

/** A case in a line, for messages. */
export function describeX87(key: string, input: X87Input): string {
  const top = (input.status >> 11) & 7;
  const stack = Array.from({ length: REGISTERS }, (_, i) => {
    const number = (top + i) & 7;
    return (input.tag >> number) & 1 ? showExtended(input.registers[number]!) : "-";
  });
  return `${key} [${Buffer.from(input.code).toString("hex")}] control ${hex(input.control)} status ${hex(input.status)} stack ${stack.join(" ")} memory ${Buffer.from(input.operand).toString("hex")}`;
}
