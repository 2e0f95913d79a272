/** The APIC ID register: SDM Vol. 3A, "Local APIC ID" and "Physical Destination Mode". */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { Attention } from "../../../emulator/host/core.ts";
import { LocalApics } from "../../../emulator/machine/apic-bus.ts";
import { BareCore } from "../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../support/build-core.ts";

const ID = 0x20;
const FIXED = 0x4000;
const BROADCAST = 0xff;

let module: WebAssembly.Module;
let cores: BareCore[];
let apics: LocalApics;
let interrupted: number[];

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);
beforeEach(() => {
  interrupted = [];
  // Two machines of one CPU each; the second's ID is written.
  cores = [new BareCore(module), new BareCore(module)];
  apics = new LocalApics(
    cores.map(({ state }, index) => ({
      registers: state.apicRegister,
      base: () => Number(state.apicBase),
      setSipiVector: () => undefined,
      notify: (bit) => bit === Attention.INTERRUPT && interrupted.push(index),
    })),
  );
  for (const { core } of cores) core.exports.apicWrite(0xf0, 0x1ff);
  setId(1, 1);
});

const setId = (index: number, id: number): void => cores[index]!.core.exports.apicWrite(ID, id << 24);
const idOf = (index: number): number => cores[index]!.core.exports.apicRead(ID) >>> 24;
/** CPUs that a fixed interrupt with a physical destination reaches. */
function reached(destination: number): number[] {
  interrupted = [];
  apics.sendIpi(0, FIXED | 0x40, destination);
  return interrupted;
}

test("software can change it in xAPIC mode, and physical destinations follow", () => {
  expect([idOf(0), idOf(1), reached(1)]).toEqual([0, 1, [1]]);
  setId(1, 0xabc);
  expect([idOf(1), reached(1), reached(0xbc)]).toEqual([0xbc, [], [1]]);
  setId(1, 0);
  expect([reached(0), reached(1), reached(BROADCAST)]).toEqual([[0, 1], [], [0, 1]]);
});

test("who sends to an ID that it shares is not alone", () => {
  expect([apics.isAlone(0, 0), apics.isAlone(0, 1), apics.isAlone(1, 1)]).toEqual([true, false, true]);
  setId(1, 0);
  expect([apics.isAlone(0, 0), apics.isAlone(0, 1)]).toEqual([false, false]);
});

test("INIT keeps it, power-on and a disabled APIC do not, and x2APIC mode has the initial one", () => {
  const { exports, state } = { exports: cores[1]!.core.exports, state: cores[1]!.state };
  setId(1, 9);
  exports.resetForInit();
  expect(idOf(1)).toBe(9);
  exports.resetForPowerOn();
  expect(idOf(1)).toBe(0);
  const setBase = (base: bigint): void => {
    cores[1]!.enterProtected();
    Object.assign(state.gpr, [base & 0xffffffffn, 0x1bn, base >> 32n]);
    expect(cores[1]!.run("0f30")).toBeUndefined();
  };
  setId(1, 9);
  setBase(0xfee00d00n);
  expect(exports.apicRead(ID)).toBe(0);
  exports.apicWrite(ID, 0x0a000000);
  expect(exports.apicRead(ID)).toBe(0);
  setBase(0xfee00100n);
  setBase(0xfee00900n);
  expect(idOf(1)).toBe(0);
});
