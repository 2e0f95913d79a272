/** Decimal adjustment (SDM Vol. 2, "DAA" …). Flags that the manual leaves undefined get the processor family's usual values. */
import { VECTOR_DE } from "../spec/architecture";
import { CPU } from "../state/cpu";
import { Flags } from "../state/flags";
import { raise } from "../interrupts/raise";
import { Op } from "./operand";

function setAl(value: u32): void {
  store<u8>(CPU, <u8>value);
}

export function daa(record: usize): void {
  const old = <u32>load<u8>(CPU);
  let al = old;
  let cf = Flags.cf();
  let af: u64 = 0;
  if ((al & 15) > 9 || Flags.af() != 0) {
    al += 6;
    af = 1;
  }
  if (old > 0x99 || cf != 0) {
    al += 0x60;
    cf = 1;
  }
  setAl(al);
  Flags.explicit<u8>(<u8>al, cf, 0, af);
}

export function das(record: usize): void {
  const old = <u32>load<u8>(CPU);
  let al = old;
  const oldCf = Flags.cf();
  let cf: u64 = 0;
  let af: u64 = 0;
  if ((al & 15) > 9 || Flags.af() != 0) {
    cf = oldCf | (al < 6 ? 1 : 0);
    al -= 6;
    af = 1;
  }
  if (old > 0x99 || oldCf != 0) {
    al -= 0x60;
    cf = 1;
  }
  setAl(al);
  Flags.explicit<u8>(<u8>al, cf, 0, af);
}

export function aaa(record: usize): void {
  adjustAscii(0x106);
}

export function aas(record: usize): void {
  adjustAscii(<u32>-0x106);
}

function adjustAscii(by: u32): void {
  let ax = <u32>load<u16>(CPU);
  let carry: u64 = 0;
  if ((ax & 15) > 9 || Flags.af() != 0) {
    ax += by;
    carry = 1;
  }
  ax &= 0xff0f;
  store<u16>(CPU, <u16>ax);
  Flags.explicit<u8>(<u8>ax, carry, 0, carry);
}

export function aam(record: usize): void {
  const base = <u32>Op.imm<u8>(record);
  if (base == 0) {
    raise(VECTOR_DE);
    return;
  }
  const al = <u32>load<u8>(CPU);
  store<u16>(CPU, <u16>(((al / base) << 8) | (al % base)));
  Flags.logic<u8>(<u8>(al % base));
}

export function aad(record: usize): void {
  const ax = <u32>load<u16>(CPU);
  const al = ((ax & 0xff) + (ax >> 8) * <u32>Op.imm<u8>(record)) & 0xff;
  store<u16>(CPU, <u16>al);
  Flags.logic<u8>(<u8>al);
}
