/** Vector instructions that access memory element by element: masked moves and gathers. SDM Vol. 2. */
import { CPU_LANES, CPU_SEG_BASE } from "../layout.generated";
import { Linear } from "../mmu/linear";
import { Address, segmentLinear } from "../mmu/segmented";
import {
  EA_64,
  EA_64_SEGMENT,
  R_ADDRESS_SIZE,
  R_BASE,
  R_DISP,
  R_DST,
  R_EA,
  R_EXTRA,
  R_INDEX,
} from "../records/record";
import { CPU, RDI, getGpr } from "../state/cpu";
import { faultPending, raiseUd } from "../interrupts/raise";
import { R_SRC } from "../records/record";
import { CPU_X87 } from "../layout.generated";
import { Mmx, Vec } from "./vector-operand";

/** Where results are put together. */
const BUFFER: usize = CPU_LANES;

/**
 * Stores the bytes of `value` whose byte in `mask` has bit 7 set, at DS:rDI. Every byte is checked before one is written.
 * Offsets are those of the two registers' bytes.
 */
function storeMasked(record: usize, value: usize, mask: usize, count: u32): bool {
  const size = load<u8>(record, R_ADDRESS_SIZE);
  const rdi = getGpr(RDI);
  const offset = size == 8 ? rdi : size == 4 ? rdi & 0xffffffff : rdi & 0xffff;
  const linear = segmentLinear((<u32>load<u8>(record, R_EA)) & 7, offset, count, true);
  if (faultPending()) return false;
  for (let i: u32 = 0; i < count; i++)
    if (load<i8>(mask + i) < 0 && Linear.storable<u8>(linear + i) == 0) return false;
  for (let i: u32 = 0; i < count; i++)
    if (load<i8>(mask + i) < 0 && !Linear.write<u8>(linear + i, load<u8>(value + i))) return false;
  return true;
}

/** The destination field holds the number of the register of masks (records/bind.ts). */
export function maskmovdqu(record: usize): void {
  storeMasked(record, Vec.srcAt(record), Vec.dstAt(record), 16);
}

export function maskmovq(record: usize): void {
  const registers = CPU + CPU_X87;
  const value = registers + ((<usize>load<u8>(record, R_SRC)) << 4);
  if (storeMasked(record, value, registers + ((<usize>load<u8>(record, R_DST)) << 4), 8)) Mmx.enter();
}

/** End of the last selected element of VMASKMOV: how far the operand reaches. 0 when none is. */
function selectedBytes<T>(mask: usize, bytes: u32): u32 {
  let end: u32 = 0;
  for (let i: u32 = 0; i < bytes; i += <u32>sizeof<T>())
    if (load<i8>(mask + i + sizeof<T>() - 1) < 0) end = i + <u32>sizeof<T>();
  return end;
}

/** VMASKMOVPS and its like, loading: elements that are not selected are not read and become 0. */
export function maskedLoad<T extends number>(record: usize, bytes: u32): void {
  const mask = Vec.hAt(record);
  const buffer = CPU + BUFFER;
  memory.fill(buffer, 0, 32);
  const end = selectedBytes<T>(mask, bytes);
  if (end != 0) {
    const linear = Address.forRead(record, end);
    if (faultPending()) return;
    for (let i: u32 = 0; i < end; i += <u32>sizeof<T>()) {
      if (load<i8>(mask + i + sizeof<T>() - 1) >= 0) continue;
      const at = Linear.readable<T>(linear + i);
      if (at == 0) return;
      store<T>(buffer + i, load<T>(at));
    }
  }
  Vec.setWide(record, load<v128>(buffer), load<v128>(buffer, 16));
}

/** The same, storing: every selected element is checked before one is written. */
export function maskedStore<T extends number>(record: usize, bytes: u32): void {
  const mask = Vec.hAt(record);
  const value = Vec.srcAt(record);
  const end = selectedBytes<T>(mask, bytes);
  if (end == 0) return;
  const linear = Address.forWrite(record, end);
  if (faultPending()) return;
  for (let i: u32 = 0; i < end; i += <u32>sizeof<T>())
    if (load<i8>(mask + i + sizeof<T>() - 1) < 0 && Linear.storable<T>(linear + i) == 0) return;
  for (let i: u32 = 0; i < end; i += <u32>sizeof<T>())
    if (load<i8>(mask + i + sizeof<T>() - 1) < 0 && !Linear.write<T>(linear + i, load<T>(value + i))) return;
}

/** Linear address of a gathered element; BAD_LINEAR with a fault recorded. */
function elementAddress(record: usize, index: i64, size: u32): u64 {
  const ea = <u32>load<u8>(record, R_EA);
  const sum =
    load<u64>(CPU + <usize>load<u8>(record, R_BASE)) +
    load<u64>(record, R_DISP) +
    ((<u64>index) << (ea >> 6));
  const kind = (ea >> 3) & 7;
  if (kind == EA_64) return sum;
  const segment = ea & 7;
  if (kind == EA_64_SEGMENT) return sum + load<u64>(CPU + CPU_SEG_BASE + ((<usize>segment) << 3));
  // VSIB needs a SIB byte: the address size is 32 bits.
  return segmentLinear(segment, sum & 0xffffffff, size, false);
}

/**
 * Gathers `count` elements of type T by indices of type I. Elements go from the lowest up; after a fault those before it are
 * in the destination and their masks are 0, so that the instruction can be restarted.
 */
export function gather<T extends number, I extends number>(record: usize, count: u32): void {
  const target = load<u8>(record, R_DST);
  const masks = load<u8>(record, R_EXTRA);
  const indices = load<u8>(record, R_INDEX) >> 3;
  if (target == masks || target == indices || masks == indices) {
    raiseUd();
    return;
  }
  const destination = Vec.dstAt(record);
  const mask = Vec.hAt(record);
  const index = Vec.indexAt(record);
  for (let i: usize = 0; i < <usize>count; i++) {
    const at = i * sizeof<T>();
    // Bit 7 of the element's last byte is its sign.
    if (load<i8>(mask + at + sizeof<T>() - 1) >= 0) {
      store<T>(mask + at, <T>0);
      continue;
    }
    const linear = elementAddress(record, <i64>load<I>(index + i * sizeof<I>()), <u32>sizeof<T>());
    if (faultPending()) return;
    const from = Linear.readable<T>(linear);
    if (from == 0) return;
    store<T>(destination + at, load<T>(from));
    store<T>(mask + at, <T>0);
  }
  memory.fill(mask, 0, 32);
  const written = <usize>count * sizeof<T>();
  memory.fill(destination + written, 0, 32 - written);
}
