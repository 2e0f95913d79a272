/** Differences between what silicon and our core did with an x87 case. */
import { REGISTERS, type Extended, type X87Input, type X87Outcome } from "./case.ts";

const hex = (value: number): string => value.toString(16).padStart(4, "0");
export const showExtended = ({ exponent, significand }: Extended): string =>
  `${hex(exponent)}.${significand.toString(16).padStart(16, "0")}`;

const C1 = 1 << 9;

/** What differs, as text; empty when nothing does. Contents of empty registers are not compared. */
export function compareX87(expected: X87Outcome, actual: X87Outcome): string[] {
  if (expected.isFaulted || actual.isFaulted)
    return expected.isFaulted === actual.isFaulted
      ? []
      : [`#MF ${expected.isFaulted}, ours ${actual.isFaulted}`];
  const differences: string[] = [];
  for (const name of ["control", "status", "tag", "rflags"] as const)
    if (expected[name] !== actual[name])
      differences.push(`${name} ${hex(expected[name])}, ours ${hex(actual[name])}`);
  // Saving and restoring state at a context switch loses the opcode on AMD's processors, unless an exception is pending.
  if (expected.opcode !== 0 && expected.opcode !== actual.opcode)
    differences.push(`opcode ${hex(expected.opcode)}, ours ${hex(actual.opcode)}`);
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

/** A number's place among those of its sign: neighbours differ by 1. */
const ordinal = ({ exponent, significand }: Extended): bigint =>
  (BigInt(Math.max(exponent & 0x7fff, 1)) << 63n) + significand;

const areNeighbours = (a: Extended, b: Extended): boolean =>
  (a.exponent & 0x8000) === (b.exponent & 0x8000) && [1n, -1n].includes(ordinal(a) - ordinal(b));

/**
 * The same for transcendental instructions, whose results processors round differently: those that are next to each other count
 * as equal, and C1, which says how a result was rounded, is not compared.
 */
export function compareTranscendental(expected: X87Outcome, actual: X87Outcome): string[] {
  const registers = actual.registers.map((ours, i) => {
    const theirs = expected.registers[i]!;
    return areNeighbours(ours, theirs) ? theirs : ours;
  });
  return compareX87(
    { ...expected, status: expected.status & ~C1 },
    { ...actual, status: actual.status & ~C1, registers },
  );
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
