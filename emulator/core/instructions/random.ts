/**
 * RDRAND and RDSEED, from a generator that belongs to the CPU: the same machine and seed give the same numbers, so that runs can be
 * repeated. SDM Vol. 1, "Random Number Generator Instructions". A number is always there: CF is 1.
 */
import { Flags } from "../state/flags";
import { cpu } from "../state/cpu";

/** SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators"). */
function nextRandom(): u64 {
  cpu.randomCount++;
  let value = cpu.seed + ((<u64>cpu.id) << 32) + cpu.randomCount * 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

/** The number; CF is 1, the other five flags 0. */
export function randomNumber<T extends number>(): T {
  // A result of 1 clears ZF, SF and, of odd parity, PF.
  Flags.explicit<u8>(1, 1, 0, 0);
  return <T>nextRandom();
}
