/**
 * RDRAND and RDSEED, from a generator that belongs to the CPU: the same machine and seed give the same numbers, so that runs can be
 * repeated. SDM Vol. 1, "Random Number Generator Instructions". A number is always there: CF is 1.
 */
import { Flags } from "../state/flags";
import { cpu } from "../state/cpu";
import { EXIT_REASON_RDRAND, EXIT_REASON_RDSEED } from "../spec/vmx";
import { exitOnRandom } from "../vmx/instruction-exits";
import { Op } from "./operand";

/** SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators"). */
function nextRandom(): u64 {
  cpu.randomCount++;
  let value = cpu.seed + ((<u64>cpu.id) << 32) + cpu.randomCount * 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

export function rdrand<T extends number>(record: usize): void {
  if (!exitOnRandom(record, EXIT_REASON_RDRAND)) setNumber<T>(record);
}

export function rdseed<T extends number>(record: usize): void {
  if (!exitOnRandom(record, EXIT_REASON_RDSEED)) setNumber<T>(record);
}

/** The number; CF is 1, the other five flags 0. */
function setNumber<T extends number>(record: usize): void {
  // A result of 1 clears ZF, SF and, of odd parity, PF.
  Flags.explicit<u8>(1, 1, 0, 0);
  Op.setDst<T>(record, <T>nextRandom());
}
