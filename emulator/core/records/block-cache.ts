/**
 * Blocks of decoded records, cached per physical page.
 *
 * A block is a run of instructions that lie in one page, with a 32-byte header before its records. Blocks that
 * begin in one 64-byte part of a page form a chain from the block index; a write into one of the page's 64-byte parts that hold code drops all
 * blocks of the page at once. Memory for blocks is handed out by a bump pointer; when it is used up, all are
 * dropped. Each CPU has its own cache; page info (mmu/physical.ts) is shared.
 *
 * Header:  0 page u32 (RAM offset of the page)   4 key u32 (page offset | mode key << 12)   8 count u32
 *         12 next u32 (in the index chain)      16 bytes u32 (length of the code)
 */
import {
  BLOCK_INDEX_ENTRIES,
  CPU_ATTENTION,
  CPU_BLOCK_INDEX,
  CPU_FETCH_BYTES,
  CPU_JUMP_CACHE,
  CPU_RECORDS,
  CPU_RUNNING,
  CPU_SHOOTDOWNS_ANSWERED,
  CPU_SHOOTDOWNS_ASKED,
  CPU_TLB_WRITE,
  JUMP_ENTRIES,
  TLB_ENTRIES,
} from "../layout.generated";
import {
  ATTENTION_SHOOTDOWN,
  CPU,
  NO_CPU,
  SHOOTDOWN_SLEEP,
  SHOOTDOWN_SPINS,
  cpu,
  machine,
} from "../state/cpu";
import { segBase, segLimit, updateJumpKey } from "../state/mode";
import { CS } from "../state/cpu";
import { fetchable } from "../mmu/linear";
import { pageInfoAt } from "../mmu/physical";
import { readBus } from "../mmu/bus";
import { forgetMemoryMap, isMemoryMapStale } from "../mmu/rom";
import { raise, raiseGp } from "../interrupts/raise";
import { VECTOR_UD } from "../spec/architecture";
import { DECODE_GP, DECODE_UD, bindBlockEnd, bindRecord, decodeAt, endsBlock } from "./bind";
import { Chain } from "./chain";
import { B_BYTES, B_COUNT, B_KEY, B_NEXT, B_PAGE, BLOCK_HEADER, RECORD_SIZE } from "./record";

/** A block never holds more: it bounds the work before the budget is looked at. */
const MAX_RECORDS: u32 = 64;

/** Head of the chain of the blocks that begin in the 64-byte part of RAM which this offset lies in. */
function indexAt(host: u32): usize {
  return CPU + CPU_BLOCK_INDEX + (((<usize>((host >> 6) * 0x9e3779b1)) >> 18) << 2);
}

/** Drops every block of this CPU. */
export function flushBlocks(): void {
  memory.fill(CPU + CPU_BLOCK_INDEX, 0, BLOCK_INDEX_ENTRIES << 2);
  cpu.recordNext = <u32>(CPU + CPU_RECORDS);
  bumpJumpGeneration();
  cpu.recordEnd = 0;
  cpu.leave = 1;
}

/** Makes every jump-cache entry miss. */
export function bumpJumpGeneration(): void {
  cpu.jumpGeneration = (cpu.jumpGeneration + 1) & 0xffff;
  if (cpu.jumpGeneration == 0) memory.fill(CPU + CPU_JUMP_CACHE, 0, JUMP_ENTRIES << 4);
  updateJumpKey();
}

/** Unlinks all blocks of the page at RAM offset `page`; bit n of `parts`: one may begin in its 64-byte part n. */
function dropPage(page: u32, parts: u64): void {
  for (let left = parts; left != 0; left &= left - 1) {
    let link = indexAt(page + ((<u32>ctz<u64>(left)) << 6));
    for (let block = load<u32>(link); block != 0; block = load<u32>(link)) {
      if (load<u32>(block, B_PAGE) == page) store<u32>(link, load<u32>(block, B_NEXT));
      else link = <usize>block + B_NEXT;
    }
  }
}

/** A write reached decoded code: every CPU forgets the page. */
export function invalidateCode(offset: usize): void {
  const page = <u32>(offset & ~0xfff);
  dropPage(page, atomic.xchg<u64>(pageInfoAt(offset), 0));
  bumpJumpGeneration();
  cpu.recordEnd = 0;
  cpu.leave = 1;
  shootDown();
}

/** As `invalidateCode`, for a thread that runs no CPU (parallel mode): this instance's CPU is one of the others. */
export function invalidateCodeFromOutside(offset: usize): void {
  atomic.store<u64>(pageInfoAt(offset), 0);
  askShootdown(NO_CPU);
  awaitShootdown(NO_CPU);
}

/** Wasm offset of a CPU's block. */
export function blockOfCpu(id: u32): usize {
  return <usize>machine.cpuBase + <usize>id * machine.cpuStride;
}

/**
 * Asks the other CPUs to drop blocks and fast write entries. On one thread they do so before they next run; in
 * parallel mode this waits until each has.
 */
export function shootDown(): void {
  askShootdown(cpu.id);
  if (machine.parallel != 0) awaitShootdown(cpu.id);
}

function askShootdown(asking: u32): void {
  const count = machine.cpuCount;
  for (let id: u32 = 0; id < count; id++) {
    if (id == asking) continue;
    const other = blockOfCpu(id);
    if (machine.parallel != 0) atomic.add<u32>(other + CPU_SHOOTDOWNS_ASKED, 1);
    atomic.or<u32>(other + CPU_ATTENTION, ATTENTION_SHOOTDOWN);
  }
}

/**
 * Waits until every other CPU has answered or is not running: then it looks before it executes again. Requests to the
 * waiting CPU are answered meanwhile, so two that ask each other both go on.
 */
function awaitShootdown(asking: u32): void {
  const count = machine.cpuCount;
  for (let id: u32 = 0; id < count; id++) {
    if (id == asking) continue;
    const other = blockOfCpu(id);
    const asked = atomic.load<u32>(other + CPU_SHOOTDOWNS_ASKED);
    for (let looks: u32 = 0; atomic.load<u32>(other + CPU_RUNNING) != 0; looks++) {
      const answered = atomic.load<u32>(other + CPU_SHOOTDOWNS_ANSWERED);
      if (<i32>(answered - asked) >= 0) break;
      if (asking != NO_CPU) answerIfAsked();
      if (looks >= SHOOTDOWN_SPINS)
        atomic.wait<i32>(other + CPU_SHOOTDOWNS_ANSWERED, answered, SHOOTDOWN_SLEEP);
    }
  }
}

/** Answers shoot-downs: at a boundary, or wherever this CPU holds no translation that it is about to store through. */
export function answerShootdown(): void {
  const asked = atomic.load<u32>(CPU + CPU_SHOOTDOWNS_ASKED);
  memory.fill(CPU + CPU_TLB_WRITE, 0, TLB_ENTRIES << 4);
  flushBlocks();
  if (isMemoryMapStale()) forgetMemoryMap();
  if (machine.parallel == 0) return;
  atomic.store<u32>(CPU + CPU_SHOOTDOWNS_ANSWERED, asked);
  atomic.notify(CPU + CPU_SHOOTDOWNS_ANSWERED, -1);
}

function answerIfAsked(): void {
  if (atomic.load<u32>(CPU + CPU_SHOOTDOWNS_ASKED) != atomic.load<u32>(CPU + CPU_SHOOTDOWNS_ANSWERED))
    answerShootdown();
}

/** Parallel mode: from here on this CPU executes, and others wait for its answers. */
export function startRunning(): void {
  if (machine.parallel == 0) return;
  atomic.store<u32>(CPU + CPU_RUNNING, 1);
  answerIfAsked();
}

/** Parallel mode: this CPU is in host code, or waits. */
export function stopRunning(): void {
  if (machine.parallel == 0) return;
  atomic.store<u32>(CPU + CPU_RUNNING, 0);
  // One that waits for an answer need not sleep its time out.
  atomic.notify(CPU + CPU_SHOOTDOWNS_ANSWERED, -1);
}

/**
 * First code in this part of the page: the page leaves the write TLBs, so that stores are seen.
 * @returns true when a part was marked that had not been: until now a store to it was not seen
 */
function markCode(host: usize, length: u32): bool {
  const info = pageInfoAt(host);
  const first = ((<u32>host) & 0xfff) >> 6;
  const last = (((<u32>host) & 0xfff) + length - 1) >> 6;
  const touched = (((<u64>2) << (last - first)) - 1) << first;
  const before = load<u64>(info);
  if ((before & touched) == touched) return false;
  atomic.or<u64>(info, touched);
  if (before != 0) return true;
  const page = <u32>(host & ~0xfff);
  const count = machine.cpuCount;
  for (let id: u32 = 0; id < count; id++) {
    const base = <usize>machine.cpuBase + <usize>id * machine.cpuStride;
    if (machine.parallel != 0 && base != CPU) continue;
    dropWriteEntries(base, page);
  }
  if (machine.parallel != 0) shootDown();
  return true;
}

/** Drops the fast write entries for the page of a RAM offset from the TLB of the CPU whose block is at `base`. */
export function dropWriteEntries(base: usize, page: u32): void {
  let entry = base + CPU_TLB_WRITE;
  const end = entry + (TLB_ENTRIES << 4);
  for (; entry < end; entry += 16) {
    const tag = load<u64>(entry);
    if (tag == 0) continue;
    if ((((<u32>tag) & 0xfffff000) + load<u32>(entry, 8)) >> 12 == page >> 12) store<u64>(entry, 0);
  }
}

/** The block at the current CS:RIP, decoded if need be; 0 when fetching faulted (recorded). */
export function blockAtRip(): usize {
  let linear = cpu.rip;
  let room: u64 = 4096;
  if (cpu.codeSize != 2) {
    const limit = <u64>segLimit(CS);
    if (cpu.rip > limit) {
      raiseGp();
      return 0;
    }
    room = limit - cpu.rip + 1;
    linear = (cpu.rip + segBase(CS)) & 0xffffffff;
  }
  const slot = CPU + CPU_JUMP_CACHE + Chain.jumpDistance(linear);
  if (load<u64>(slot) == linear && load<u32>(slot, 8) == cpu.jumpKey) {
    const block = load<u32>(slot, 12);
    if (room >= 4096 || load<u32>(block, B_BYTES) <= <u32>room) return block;
  }
  const host = fetchable(linear);
  if (host == 0) return 0;
  if (host == 1) return blockOutsideRam(linear, room);
  const page = <u32>(host & ~0xfff);
  const key = ((<u32>host) & 0xfff) | (cpu.modeKey << 12);
  for (let block = load<u32>(indexAt(<u32>host)); block != 0; block = load<u32>(block, B_NEXT)) {
    if (load<u32>(block, B_PAGE) == page && load<u32>(block, B_KEY) == key) {
      if (room < 4096 && load<u32>(block, B_BYTES) > <u32>room) break;
      remember(slot, linear, block);
      return block;
    }
  }
  return decodeBlock(slot, linear, host, page, key, room);
}

function remember(slot: usize, linear: u64, block: usize): void {
  // Where the instruction pointer wraps behind the block, the run loop sees to it (chain.ts does not).
  if (cpu.codeSize != 2 && linear + <u64>load<u32>(block, B_BYTES) > 0xffffffff) return;
  store<u64>(slot, linear);
  store<u32>(slot, cpu.jumpKey, 8);
  store<u32>(slot, <u32>block, 12);
}

function decodeBlock(slot: usize, linear: u64, host: usize, page: u32, key: u32, room: u64): usize {
  const most = BLOCK_HEADER + <usize>(MAX_RECORDS + 1) * RECORD_SIZE;
  if (<usize>cpu.recordNext + most > CPU + CPU_RECORDS + <usize>cpu.recordCacheSize) flushBlocks();
  const block = <usize>cpu.recordNext;
  const pageEnd = <usize>page + 4096;
  const limit = room < 4096 ? <u32>room : 4096;
  let at = host;
  let record = block + BLOCK_HEADER;
  let count: u32 = 0;
  while (count < MAX_RECORDS) {
    const left = <u32>(pageEnd - at);
    const inLimit = limit - <u32>(at - host);
    const available = left < inLimit ? left : inLimit;
    if (available == 0) break;
    const length = decodeAt(at, available < 15 ? available : 15);
    if (length <= 0) {
      // Undefined, too long, or cut off by the page's or the segment's end: met again, as a block of its own,
      // when execution gets there.
      if (count != 0) break;
      return lonelyInstruction(linear, length, room);
    }
    bindRecord(record, <u32>(at - host), length);
    at += length;
    record += RECORD_SIZE;
    count++;
    if (endsBlock()) break;
  }
  // What was decoded before stores to it were seen may have changed meanwhile: again, now that they are.
  if (markCode(host, <u32>(at - host)) && machine.parallel != 0)
    return decodeBlock(slot, linear, host, page, key, room);
  bindBlockEnd(record);
  store<u32>(block, page, B_PAGE);
  store<u32>(block, key, B_KEY);
  store<u32>(block, count, B_COUNT);
  store<u32>(block, <u32>(at - host), B_BYTES);
  const head = indexAt(<u32>host);
  store<u32>(block, load<u32>(head), B_NEXT);
  store<u32>(head, <u32>block);
  cpu.recordNext = <u32>(record + RECORD_SIZE);
  cpu.blocksDecoded++;
  remember(slot, linear, block);
  return block;
}

/** Where a block that must not be kept is decoded: the last place of the record cache. */
function transientBlock(): usize {
  return CPU + CPU_RECORDS + <usize>cpu.recordCacheSize;
}

/** One instruction that cannot be a cached block: it crosses a page, passes the limit, or is undefined. */
function lonelyInstruction(linear: u64, length: i32, room: u64): usize {
  if (length == DECODE_UD) {
    raise(VECTOR_UD);
    return 0;
  }
  if (length == DECODE_GP) {
    raiseGp();
    return 0;
  }
  return decodeBytewise(linear, room);
}

/** Decodes from a copy of up to 15 bytes, fetched byte by byte so that the fault is that of the first missing one. */
function decodeBytewise(linear: u64, room: u64): usize {
  const bytes = CPU + CPU_FETCH_BYTES;
  const wrap: u64 = cpu.codeSize == 2 ? 0xffffffffffffffff : 0xffffffff;
  for (let have: u32 = 0; have < 15;) {
    if (<u64>have >= room) {
      raiseGp();
      return 0;
    }
    const host = fetchable((linear + have) & wrap);
    if (host == 0) return 0;
    if (host == 1) {
      if (!readBus(cpu.slowPhysical, 1, bytes + have)) return 0;
    } else store<u8>(bytes + have, load<u8>(host));
    have++;
    const length = decodeAt(bytes, have);
    if (length == 0) continue;
    if (length < 0) return lonelyInstruction(linear, length, room);
    const block = transientBlock();
    bindRecord(block + BLOCK_HEADER, 0, length);
    bindBlockEnd(block + BLOCK_HEADER + RECORD_SIZE);
    store<u32>(block, 0, B_PAGE);
    store<u32>(block, 1, B_COUNT);
    store<u32>(block, <u32>length, B_BYTES);
    return block;
  }
  raiseGp();
  return 0;
}

function blockOutsideRam(linear: u64, room: u64): usize {
  return decodeBytewise(linear, room);
}
