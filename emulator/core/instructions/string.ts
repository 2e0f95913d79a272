/**
 * String instructions. SDM Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ".
 *
 * Each iteration counts as one instruction. An iteration commits by itself; a fault, the end of the budget, or an
 * event leaves RIP at the instruction with rSI, rDI and rCX where they are.
 */
import { CPU, ES, RAX, RCX, RDI, RSI, cpu, getGpr, setGpr } from "../state/cpu";
import { settleCount } from "../state/clock";
import { is64 } from "../state/mode";
import { Flags } from "../state/flags";
import { FLAG_DF } from "../spec/architecture";
import { Linear } from "../mmu/linear";
import { segmentLinear } from "../mmu/segmented";
import { faultPending } from "../interrupts/raise";
import { R_ADDRESS_SIZE, R_EA, R_FLAGS, RECORD_REP, RECORD_REPNE } from "../records/record";
import { sub } from "./arithmetic";

/** The most iterations done between two looks at the boundary: bounds the delay of an event from another CPU. */
const MOST_ITERATIONS: u64 = 4096;

function addressMask(record: usize): u64 {
  const size = load<u8>(record, R_ADDRESS_SIZE);
  return size == 8 ? 0xffffffffffffffff : size == 4 ? 0xffffffff : 0xffff;
}

/** Writes an index or count register at the address size. */
function setAddressed(record: usize, register: u32, value: u64): void {
  const size = load<u8>(record, R_ADDRESS_SIZE);
  if (size == 8) setGpr(register, value);
  else if (size == 4) setGpr(register, value & 0xffffffff);
  else store<u16>(CPU + ((<usize>register) << 3), <u16>value);
}

function advance(record: usize, register: u32, size: u64): void {
  setAddressed(record, register, getGpr(register) + (cpu.rflags & FLAG_DF ? 0 - size : size));
}

/**
 * With ECX as the count in 64-bit mode the manual does not say what becomes of the upper halves where there is no iteration. Intel's
 * processors write ECX, and with it RCX, in any case; and with MOVS and STOS ESI and EDI too.
 */
function countsIn32Bits(record: usize): bool {
  return is64() && load<u8>(record, R_ADDRESS_SIZE) == 4;
}

function isRepeated(record: usize): bool {
  return (load<u8>(record, R_FLAGS) & (RECORD_REP | RECORD_REPNE)) != 0;
}

/** Iterations allowed now: by rCX, the budget and the bound. 0: rCX is 0, the instruction is done. */
function allowedIterations(record: usize): u64 {
  settleCount();
  if (countsIn32Bits(record)) setGpr(RCX, getGpr(RCX) & 0xffffffff);
  const count = getGpr(RCX) & addressMask(record);
  if (count == 0) return 0;
  const budget = cpu.targetInstructions - cpu.instructions;
  const most = budget < MOST_ITERATIONS ? budget : MOST_ITERATIONS;
  return count < most ? count : most;
}

/** After `done` iterations: takes them off rCX and counts them; the instruction repeats if it has more to do. */
function finish(record: usize, done: u64, isOver: bool): void {
  const left = (getGpr(RCX) - done) & addressMask(record);
  if (done != 0) setAddressed(record, RCX, left);
  if (faultPending() || (left != 0 && !isOver)) {
    cpu.instructions += done;
    if (!faultPending()) cpu.repeatPending = 1;
    cpu.recordEnd = 0;
  } else if (done > 1) cpu.instructions += done - 1;
}

function sourceLinear(record: usize, size: u32): u64 {
  return segmentLinear((<u32>load<u8>(record, R_EA)) & 7, getGpr(RSI) & addressMask(record), size, false);
}

function destinationLinear(record: usize, size: u32, write: bool): u64 {
  return segmentLinear(ES, getGpr(RDI) & addressMask(record), size, write);
}

/** Elements from a linear address to the end of its page. */
function elementsInPage<T extends number>(linear: u64): u64 {
  return (4096 - (linear & 0xfff)) / sizeof<T>();
}

function movsOne<T extends number>(record: usize): bool {
  const from = Linear.readable<T>(sourceLinear(record, <u32>sizeof<T>()));
  if (from == 0) return false;
  const value = load<T>(from);
  const to = Linear.storable<T>(destinationLinear(record, <u32>sizeof<T>(), true));
  if (to == 0) return false;
  store<T>(to, value);
  Linear.commit(to);
  if (faultPending()) return false;
  advance(record, RSI, sizeof<T>());
  advance(record, RDI, sizeof<T>());
  return true;
}

/**
 * Moves as many elements at once as lie in one page at both ends; 0 when one by one is needed. Only what the TLB holds already: the first
 * element of a page goes by itself, and so does all that has no entry there (devices, pages with code, watched data). So trying has
 * no effect, and no access is made twice.
 */
function movsBulk<T extends number>(record: usize, most: u64): u64 {
  if (!is64() || (cpu.rflags & FLAG_DF) != 0 || load<u8>(record, R_ADDRESS_SIZE) != 8 || most < 4) return 0;
  const fromLinear = sourceLinear(record, <u32>sizeof<T>());
  const toLinear = destinationLinear(record, <u32>sizeof<T>(), true);
  let count = most;
  count = min<u64>(count, elementsInPage<T>(fromLinear));
  count = min<u64>(count, elementsInPage<T>(toLinear));
  if (count < 4) return 0;
  const from = Linear.keptForReading(fromLinear);
  const to = Linear.keptForWriting(toLinear);
  if (from == 0 || to == 0) return 0;
  const bytes = <usize>count * sizeof<T>();
  // An overlap in which the copy feeds on itself must go element by element.
  if (to > from && to < from + bytes) return 0;
  memory.copy(to, from, bytes);
  setGpr(RSI, getGpr(RSI) + bytes);
  setGpr(RDI, getGpr(RDI) + bytes);
  return count;
}

export function movs<T extends number>(record: usize): void {
  if (!isRepeated(record)) {
    movsOne<T>(record);
    return;
  }
  if (countsIn32Bits(record)) {
    setGpr(RSI, getGpr(RSI) & 0xffffffff);
    setGpr(RDI, getGpr(RDI) & 0xffffffff);
  }
  const allowed = allowedIterations(record);
  const generation = cpu.jumpGeneration;
  let done: u64 = 0;
  // What has written to code, its own perhaps, is decoded again before it goes on.
  while (done < allowed && cpu.jumpGeneration == generation) {
    const bulk = movsBulk<T>(record, allowed - done);
    if (bulk != 0) {
      done += bulk;
      continue;
    }
    if (!movsOne<T>(record)) break;
    done++;
  }
  finish(record, done, false);
}

function stosOne<T extends number>(record: usize): bool {
  const to = Linear.storable<T>(destinationLinear(record, <u32>sizeof<T>(), true));
  if (to == 0) return false;
  store<T>(to, load<T>(CPU));
  Linear.commit(to);
  if (faultPending()) return false;
  advance(record, RDI, sizeof<T>());
  return true;
}

/** As `movsBulk`. */
function stosBulk<T extends number>(record: usize, most: u64): u64 {
  if (!is64() || (cpu.rflags & FLAG_DF) != 0 || load<u8>(record, R_ADDRESS_SIZE) != 8 || most < 4) return 0;
  const toLinear = destinationLinear(record, <u32>sizeof<T>(), true);
  const count = min<u64>(most, elementsInPage<T>(toLinear));
  if (count < 4) return 0;
  const to = Linear.keptForWriting(toLinear);
  if (to == 0) return 0;
  const value = load<T>(CPU);
  const bytes = <usize>count * sizeof<T>();
  for (let i: usize = 0; i < bytes; i += sizeof<T>()) store<T>(to + i, value);
  setGpr(RDI, getGpr(RDI) + bytes);
  return count;
}

export function stos<T extends number>(record: usize): void {
  if (!isRepeated(record)) {
    stosOne<T>(record);
    return;
  }
  if (countsIn32Bits(record)) setGpr(RDI, getGpr(RDI) & 0xffffffff);
  const allowed = allowedIterations(record);
  const generation = cpu.jumpGeneration;
  let done: u64 = 0;
  // What has written to code, its own perhaps, is decoded again before it goes on.
  while (done < allowed && cpu.jumpGeneration == generation) {
    const bulk = stosBulk<T>(record, allowed - done);
    if (bulk != 0) {
      done += bulk;
      continue;
    }
    if (!stosOne<T>(record)) break;
    done++;
  }
  finish(record, done, false);
}

function lodsOne<T extends number>(record: usize): bool {
  const from = Linear.readable<T>(sourceLinear(record, <u32>sizeof<T>()));
  if (from == 0) return false;
  if (sizeof<T>() == 4) setGpr(RAX, <u64>load<u32>(from));
  else store<T>(CPU, load<T>(from));
  advance(record, RSI, sizeof<T>());
  return true;
}

export function lods<T extends number>(record: usize): void {
  if (!isRepeated(record)) {
    lodsOne<T>(record);
    return;
  }
  const allowed = allowedIterations(record);
  let done: u64 = 0;
  while (done < allowed && lodsOne<T>(record)) done++;
  finish(record, done, false);
}

function cmpsOne<T extends number>(record: usize): bool {
  const from = Linear.readable<T>(sourceLinear(record, <u32>sizeof<T>()));
  if (from == 0) return false;
  const first = load<T>(from);
  const to = Linear.readable<T>(destinationLinear(record, <u32>sizeof<T>(), false));
  if (to == 0) return false;
  sub<T>(first, load<T>(to));
  advance(record, RSI, sizeof<T>());
  advance(record, RDI, sizeof<T>());
  return true;
}

function scasOne<T extends number>(record: usize): bool {
  const to = Linear.readable<T>(destinationLinear(record, <u32>sizeof<T>(), false));
  if (to == 0) return false;
  sub<T>(load<T>(CPU), load<T>(to));
  advance(record, RDI, sizeof<T>());
  return true;
}

/** REPE goes on while ZF = 1, REPNE while ZF = 0. */
function goesOn(record: usize): bool {
  return Flags.zf() == ((load<u8>(record, R_FLAGS) & RECORD_REP) != 0);
}

export function cmps<T extends number>(record: usize): void {
  if (!isRepeated(record)) {
    cmpsOne<T>(record);
    return;
  }
  const allowed = allowedIterations(record);
  let done: u64 = 0;
  let isOver = false;
  while (done < allowed && !isOver && cmpsOne<T>(record)) {
    done++;
    isOver = !goesOn(record);
  }
  finish(record, done, isOver);
}

export function scas<T extends number>(record: usize): void {
  if (!isRepeated(record)) {
    scasOne<T>(record);
    return;
  }
  const allowed = allowedIterations(record);
  let done: u64 = 0;
  let isOver = false;
  while (done < allowed && !isOver && scasOne<T>(record)) {
    done++;
    isOver = !goesOn(record);
  }
  finish(record, done, isOver);
}

/** For INS and OUTS (port-io.ts). */
export class StringPort {
  static allowed(record: usize): u64 {
    return isRepeated(record) ? allowedIterations(record) : 1;
  }
  static finish(record: usize, done: u64): void {
    if (isRepeated(record)) finish(record, done, false);
  }
  static isRepeated(record: usize): bool {
    return isRepeated(record);
  }
  static source(record: usize, size: u32): u64 {
    return sourceLinear(record, size);
  }
  static destination(record: usize, size: u32): u64 {
    return destinationLinear(record, size, true);
  }
  static advance(record: usize, register: u32, size: u64): void {
    advance(record, register, size);
  }
}
