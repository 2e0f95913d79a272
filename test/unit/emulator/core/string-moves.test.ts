/** Repeated string instructions move in bulk where they can; nobody must be able to tell. SDM Vol. 2, "REP/REPE/REPZ/REPNE/REPNZ". */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { CODE, DATA, PAGE_TABLE, BareCore } from "../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../support/build-core.ts";

const REP_MOVSD = "f3a5";
const REP_STOSD = "f3ab";
const [RAX, RCX, RSI, RDI] = [0, 1, 6, 7];
const COUNT = 8;
const FROM = DATA;
const TO = DATA + 0x2000;
/** A page that is mapped to a device. */
const DEVICE = DATA + 0x4000;
const DEVICE_PHYSICAL = 0xd0000000;
const DB = 1;

let module: WebAssembly.Module;
let core: BareCore;
let accesses: { address: number; isWrite: boolean }[];

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);
beforeEach(() => {
  accesses = [];
  core = new BareCore(module, {
    host: {
      memoryAccess: () => {
        const { state } = core;
        accesses.push({ address: state.ioAddress, isWrite: state.ioWrite !== 0 });
        // As a FIFO: each read has another value.
        if (state.ioWrite === 0) state.ioValue = BigInt(accesses.length);
        return false;
      },
    },
  });
  core.enterLong();
  core.ram.setBigUint64(PAGE_TABLE + (DEVICE / 4096) * 8, BigInt(DEVICE_PHYSICAL) | 3n, true);
  for (let i = 0; i < COUNT; i++) core.ram.setUint32(FROM + 4 * i, 0x100 + i, true);
});

/** Runs the instruction with no pause in it. */
function move(code: string, from: number, to: number): void {
  core.write(CODE, code + "90");
  const { state } = core;
  state.rip = BigInt(CODE);
  state.gpr[RAX] = 0x55n;
  state.gpr[RCX] = BigInt(COUNT);
  state.gpr[RSI] = BigInt(from);
  state.gpr[RDI] = BigInt(to);
  state.stopAt = core.core.clock() + COUNT;
  core.core.exports.run();
}

const words = (at: number): number[] =>
  Array.from({ length: COUNT }, (_, i) => core.ram.getUint32(at + 4 * i, true));
const places = Array.from({ length: COUNT }, (_, i) => DEVICE_PHYSICAL + 4 * i);

test("from a device: it is read once an element", () => {
  move(REP_MOVSD, DEVICE, TO);
  expect(core.state.gpr[RCX]).toBe(0n);
  expect(accesses).toEqual(places.map((address) => ({ address, isWrite: false })));
  expect(words(TO)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test.each([REP_MOVSD, REP_STOSD])("%s to a device: it is written once an element, and not read", (code) => {
  move(code, FROM, DEVICE);
  expect(core.state.gpr[RCX]).toBe(0n);
  expect(accesses).toEqual(places.map((address) => ({ address, isWrite: true })));
});

test.each([REP_MOVSD, REP_STOSD])(
  "%s over a data breakpoint: #DB behind the element that meets it",
  (code) => {
    const { state } = core;
    state.gpr[RAX] = BigInt(TO + 4 * 5);
    state.gpr[RCX] = 0xd0001n; // L0; writes of 4 bytes
    // mov dr0, rax; mov dr7, rcx
    expect(core.run("0f23c0 0f23f9", 2)).toBeUndefined();
    move(code, FROM, TO);
    const event = core.run(undefined);
    expect(event?.vector).toBe(DB);
    expect(state.gpr[RCX]).toBe(BigInt(COUNT - 6));
    expect(state.gpr[RDI]).toBe(BigInt(TO + 4 * 6));
  },
);
