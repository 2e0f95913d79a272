/** Vector instructions that access memory element by element: masked moves and gathers. SDM Vol. 2. */
import { CPU_LANES, CPU_SEG_BASE } from "../layout.generated";
import { Linear, Unaligned } from "../mmu/linear";
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

/** Linear address of the eight bytes of DS:rDI's operand from `start` on, to be written. */
function quadLinear(record: usize, start: u64): u64 {
  const size = load<u8>(record, R_ADDRESS_SIZE);
  const sum = getGpr(RDI) + start;
  const offset = size == 8 ? sum : size == 4 ? sum & 0xffffffff : sum & 0xffff;
  return segmentLinear((<u32>load<u8>(record, R_EA)) & 7, offset, 8, true);
}

/** Stores the bytes of eight at `value` whose byte in `mask` has bit 7 set. */
function storeSelectedBytes(linear: u64, value: usize, mask: usize): bool {
  for (let i: u32 = 0; i < 8; i++)
    if (load<i8>(mask + i) < 0 && !Linear.write<u8>(linear + i, load<u8>(value + i))) return false;
  return true;
}

/**
 * MASKMOVDQU. SDM Vol. 2 leaves open whether bytes that are not selected raise exceptions. Here they do, as on Intel's processors, which make
 * two stores of it and check the upper one first. The destination field holds the number of the register of masks (records/bind.ts).
 */
export function maskmovdqu(record: usize): void {
  const value = Vec.srcAt(record);
  const mask = Vec.dstAt(record);
  const upper = quadLinear(record, 8);
  if (Linear.storable<u64>(upper) == 0) return;
  const lower = quadLinear(record, 0);
  if (Linear.storable<u64>(lower) == 0) return;
  if (storeSelectedBytes(lower, value, mask)) storeSelectedBytes(upper, value + 8, mask + 8);
}

/** MASKMOVQ, likewise with one store. */
export function maskmovq(record: usize): void {
  Mmx.enter();
  const registers = CPU + CPU_X87;
  const value = registers + ((<usize>load<u8>(record, R_SRC)) << 4);
  const mask = registers + ((<usize>load<u8>(record, R_DST)) << 4);
  const linear = quadLinear(record, 0);
  if (Linear.storable<u64>(linear) != 0) storeSelectedBytes(linear, value, mask);
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
  const wasChecked = Unaligned.enter();
  loadMasked<T>(record, bytes);
  Unaligned.leave(wasChecked);
}

function loadMasked<T extends number>(record: usize, bytes: u32): void {
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

/** Whether the bytes of a masked store's selected elements can be written; a fault names the byte that Intel's processors name. */
function canStoreMasked(first: u64, last: u64): bool {
  return Linear.storable<u8>(first) != 0 && (first >> 12 == last >> 12 || Linear.storable<u8>(last) != 0);
}

/** The same, storing: the selected elements are checked before one is written. */
export function maskedStore<T extends number>(record: usize, bytes: u32): void {
  const wasChecked = Unaligned.enter();
  storeSelected<T>(record, bytes);
  Unaligned.leave(wasChecked);
}

function storeSelected<T extends number>(record: usize, bytes: u32): void {
  const mask = Vec.hAt(record);
  const value = Vec.srcAt(record);
  const end = selectedBytes<T>(mask, bytes);
  if (end == 0) return;
  const linear = Address.forWrite(record, end);
  if (faultPending()) return;
  let start: u32 = 0;
  while (load<i8>(mask + start + sizeof<T>() - 1) >= 0) start += <u32>sizeof<T>();
  if (!canStoreMasked(linear + start, linear + end - 1)) return;
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

/** Makes each element of a gather's mask all ones or all zeros, by its sign, and what is behind the vector's `bytes` 0. */
function extendMask<T extends number>(mask: usize, bytes: usize): void {
  // Bit 7 of the element's last byte is its sign.
  for (let at: usize = 0; at < bytes; at += sizeof<T>())
    store<T>(mask + at, load<i8>(mask + at + sizeof<T>() - 1) < 0 ? <T>-1 : <T>0);
  memory.fill(mask + bytes, 0, 32 - bytes);
}

/**
 * Gathers `count` elements of type T by indices of type I. Elements go from the lowest up; after a fault those before it are
 * in the destination and their masks are 0, so that the instruction can be restarted; the others' masks are extended.
 */
export function gather<T extends number, I extends number>(record: usize, count: u32): void {
  const wasChecked = Unaligned.enter();
  gatherElements<T, I>(record, count);
  Unaligned.leave(wasChecked);
}

function gatherElements<T extends number, I extends number>(record: usize, count: u32): void {
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
  // The vector's length is that of its elements, or, where they are narrower, of their indices.
  const bytes = <usize>count * max<usize>(sizeof<T>(), sizeof<I>());
  extendMask<T>(mask, bytes);
  for (let i: usize = 0; i < <usize>count; i++) {
    const at = i * sizeof<T>();
    if (load<T>(mask + at) == 0) continue;
    const linear = elementAddress(record, <i64>load<I>(index + i * sizeof<I>()), <u32>sizeof<T>());
    if (faultPending()) return;
    const from = Linear.readable<T>(linear);
    if (from == 0) return;
    store<T>(destination + at, load<T>(from));
    store<T>(mask + at, <T>0);
    memory.fill(destination + bytes, 0, 32 - bytes);
  }
  memory.fill(mask, 0, 32);
  const written = <usize>count * sizeof<T>();
  memory.fill(destination + written, 0, 32 - written);
}
