/** Moves, exchanges, conversions. SDM Vol. 2. */
import { CPU_SEG_SELECTOR } from "../layout.generated";
import { CPU, RAX, RBX, RCX, RDX, getGpr, setGpr, setGprSized } from "../state/cpu";
import { Flags, getFlags, setArithmeticFlags } from "../state/flags";
import { Linear } from "../mmu/linear";
import { Address, segmentLinear } from "../mmu/segmented";
import { R_ADDRESS_SIZE, R_EA, R_FLAGS, RECORD_REGISTER } from "../records/record";
import { raiseGp, faultPending } from "../interrupts/raise";
import { add, sub } from "./arithmetic";
import { Locked, Op } from "./operand";

export function movsxd<T extends number>(record: usize): void {
  let value: i32;
  if (load<u8>(record, R_FLAGS) & RECORD_REGISTER) value = Op.src<i32>(record);
  else {
    // With a 16-bit operand the source is 16 bits wide.
    if (sizeof<T>() == 2) {
      const at = Linear.readable<u16>(Address.forRead(record, 2));
      if (at == 0) return;
      Op.setDst<T>(record, <T>load<u16>(at));
      return;
    }
    const at = Linear.readable<i32>(Address.forRead(record, 4));
    if (at == 0) return;
    value = load<i32>(at);
  }
  Op.setDst<T>(record, <T>(<i64>value));
}

/** XCHG with memory is LOCKed with or without the prefix. */
export function exchangeMemory<T extends number>(record: usize, at: usize): void {
  const value = Op.src<T>(record);
  let old: T;
  if (Locked.isAtomic<T>(at)) old = <T>atomic.xchg<T>(at, value);
  else {
    Locked.acquireSplit();
    old = load<T>(at);
    store<T>(at, value);
    Locked.releaseSplit();
    Linear.commit(at);
  }
  Op.setSrc<T>(record, old);
}

export function xadd<T extends number>(record: usize): void {
  const addend = Op.src<T>(record);
  if (load<u8>(record, R_FLAGS) & RECORD_REGISTER) {
    const old = Op.dst<T>(record);
    const sum = add<T>(old, addend);
    Op.setSrc<T>(record, old);
    Op.setDst<T>(record, sum);
    return;
  }
  const at = Linear.writable<T>(Address.forWrite(record, <u32>sizeof<T>()));
  if (at == 0) return;
  if (Locked.isAtomic<T>(at)) {
    const old = <T>atomic.add<T>(at, addend);
    add<T>(old, addend);
    Op.setSrc<T>(record, old);
    return;
  }
  Locked.acquireSplit();
  const old = load<T>(at);
  store<T>(at, add<T>(old, addend));
  Locked.releaseSplit();
  Linear.commit(at);
  Op.setSrc<T>(record, old);
}

function accumulator<T extends number>(): T {
  return load<T>(CPU);
}

function setAccumulator<T extends number>(value: T): void {
  setGprSized(RAX, <u32>sizeof<T>(), <u64>value);
}

/** The destination is written in either case (SDM: "receives a write cycle"), so a read-only page faults. */
export function cmpxchg<T extends number>(record: usize): void {
  const expected = accumulator<T>();
  const replacement = Op.src<T>(record);
  if (load<u8>(record, R_FLAGS) & RECORD_REGISTER) {
    const old = Op.dst<T>(record);
    sub<T>(expected, old);
    if (old == expected) Op.setDst<T>(record, replacement);
    else setAccumulator<T>(old);
    return;
  }
  const at = Linear.writable<T>(Address.forWrite(record, <u32>sizeof<T>()));
  if (at == 0) return;
  let old: T;
  if (Locked.isAtomic<T>(at)) old = <T>atomic.cmpxchg<T>(at, expected, replacement);
  else {
    Locked.acquireSplit();
    old = load<T>(at);
    if (old == expected) store<T>(at, replacement);
    Locked.releaseSplit();
    Linear.commit(at);
  }
  sub<T>(expected, old);
  if (old != expected) setAccumulator<T>(old);
}

function setZf(zero: bool): void {
  setArithmeticFlags((getFlags() & ~(<u64>0x40)) | (zero ? 0x40 : 0));
}

export function cmpxchg8b(record: usize): void {
  const at = Linear.writable<u64>(Address.forWrite(record, 8));
  if (at == 0) return;
  const expected = (<u64>(<u32>getGpr(RAX))) | (getGpr(RDX) << 32);
  const replacement = (<u64>(<u32>getGpr(RBX))) | (getGpr(RCX) << 32);
  let old: u64;
  if (Locked.isAtomic<u64>(at)) old = atomic.cmpxchg<u64>(at, expected, replacement);
  else {
    Locked.acquireSplit();
    old = load<u64>(at);
    if (old == expected) store<u64>(at, replacement);
    Locked.releaseSplit();
    Linear.commit(at);
  }
  setZf(old == expected);
  if (old != expected) {
    setGpr(RAX, old & 0xffffffff);
    setGpr(RDX, old >> 32);
  }
}

/** 16-byte operands must be aligned; wasm has no 16-byte atomics, so they are kept apart by the split lock. */
export function cmpxchg16b(record: usize): void {
  const linear = Address.forWrite(record, 16);
  if (faultPending()) return;
  if ((linear & 15) != 0) {
    raiseGp();
    return;
  }
  const at = Linear.writable<v128>(linear);
  if (at == 0) return;
  Locked.acquireSplit();
  const low = load<u64>(at);
  const high = load<u64>(at, 8);
  const equal = low == getGpr(RAX) && high == getGpr(RDX);
  if (equal) {
    store<u64>(at, getGpr(RBX));
    store<u64>(at, getGpr(RCX), 8);
  }
  Locked.releaseSplit();
  Linear.commit(at);
  setZf(equal);
  if (!equal) {
    setGpr(RAX, low);
    setGpr(RDX, high);
  }
}

export function byteSwap<T extends number>(value: T): T {
  if (sizeof<T>() == 8) return <T>bswap<u64>(<u64>value);
  if (sizeof<T>() == 4) return <T>bswap<u32>(<u32>value);
  return <T>bswap<u16>(<u16>value);
}

/** CBW, CWDE, CDQE. */
export function cbw<T extends number>(record: usize): void {
  if (sizeof<T>() == 8) setGpr(RAX, <u64>(<i64>load<i32>(CPU)));
  else if (sizeof<T>() == 4) setGpr(RAX, <u64>(<u32>(<i32>load<i16>(CPU))));
  else store<u16>(CPU, <u16>(<i16>load<i8>(CPU)));
}

/** CWD, CDQ, CQO. */
export function cwd<T extends number>(record: usize): void {
  if (sizeof<T>() == 8) setGpr(RDX, <u64>(load<i64>(CPU) >> 63));
  else if (sizeof<T>() == 4) setGpr(RDX, <u64>(<u32>(load<i32>(CPU) >> 31)));
  else setGprSized(RDX, 2, <u64>(<u16>(load<i16>(CPU) >> 15)));
}

export function sahf(record: usize): void {
  // SF, ZF, AF, PF and CF from AH; OF stays.
  const ah = <u64>load<u8>(CPU, 1);
  setArithmeticFlags((ah & 0xd5) | (Flags.of() << 11));
}

export function lahf(record: usize): void {
  store<u8>(CPU, <u8>getFlags(), 1);
}

export function salc(record: usize): void {
  store<u8>(CPU, Flags.cf() != 0 ? 0xff : 0);
}

export function xlat(record: usize): void {
  const size = load<u8>(record, R_ADDRESS_SIZE);
  const sum = getGpr(RBX) + <u64>load<u8>(CPU);
  const offset = size == 8 ? sum : size == 4 ? sum & 0xffffffff : sum & 0xffff;
  const linear = segmentLinear((<u32>load<u8>(record, R_EA)) & 7, offset, 1, false);
  const at = Linear.readable<u8>(linear);
  if (at == 0) return;
  store<u8>(CPU, load<u8>(at));
}

/** MOV r, Sreg: zero-extended to the operand size. */
export function moveFromSegment<T extends number>(record: usize): void {
  Op.setDst<T>(record, <T>load<u16>(CPU + CPU_SEG_SELECTOR + ((<usize>Op.srcNumber(record)) << 3)));
}
