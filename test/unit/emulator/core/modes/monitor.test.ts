/** MONITOR and MWAIT on one CPU: faults, and what ends a wait. SDM Vol. 2, "MONITOR", "MWAIT". */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Activity, Stop } from "../../../../../emulator/host/core.ts";
import { BareCore, CODE, DATA } from "../../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";

const UD = 6;
const GP = 13;
const PF = 14;
const MONITOR = "0f01c8";
const MWAIT = "0f01c9";
const RAX = 0;
const RCX = 1;
const RFLAGS_IF = 0x200n;
const MISC_ENABLE_MONITOR = 1n << 18n;

let module: WebAssembly.Module;
let core: BareCore;
let woken: number[];

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);
beforeEach(() => {
  woken = [];
  core = new BareCore(module, { host: { monitoredLineWritten: (cpu) => woken.push(cpu) } });
  core.enterLong();
});

/** Line address in RAX, then MONITOR and MWAIT with `extensions` in ECX. */
function wait(extensions = 0n, rflags = 2n): void {
  core.setRing(0);
  core.state.gpr[RAX] = BigInt(DATA + 0x40);
  expect(core.run(MONITOR)).toBeUndefined();
  core.state.gpr[RCX] = extensions;
  core.state.rflags = rflags;
  expect(core.run(MWAIT)).toBeUndefined();
}

/** Lets the CPU look for something to do. */
function look(): number {
  core.state.stopAt = core.core.clock() + 1000;
  return core.core.exports.run();
}

const write = (address: number, length = 1): void =>
  core.core.exports.noteWriteRange(core.ram.byteOffset + address, length);

describe("faults", () => {
  test.each([MONITOR, MWAIT])(
    "%s: #UD above CPL 0, with prefixes, and where IA32_MISC_ENABLE says so",
    (code) => {
      for (const prefix of ["f0", "66", "f2", "f3"]) {
        core.setRing(0);
        expect(core.run(prefix + code)?.vector).toBe(UD);
      }
      core.setPage(CODE, 7n);
      core.setRing(3);
      core.state.gpr[RCX] = 4n;
      expect(core.run(code)?.vector).toBe(UD);
      core.state.miscEnable &= ~MISC_ENABLE_MONITOR;
      core.setRing(0);
      expect(core.run(code)?.vector).toBe(UD);
      // CPUID.1:ECX.MONITOR goes with it.
      const bit = (): bigint => {
        core.setRing(0);
        core.state.gpr[RAX] = 1n;
        expect(core.run("0fa2")).toBeUndefined();
        return (core.state.gpr[RCX]! >> 3n) & 1n;
      };
      expect(bit()).toBe(0n);
      core.state.miscEnable |= MISC_ENABLE_MONITOR;
      expect(bit()).toBe(1n);
    },
  );

  test("unknown extensions in RCX are #GP(0), all 64 bits of it", () => {
    for (const [code, rcx] of [
      [MONITOR, 1n],
      [MONITOR, 1n << 32n],
      [MWAIT, 2n],
      [MWAIT, 1n << 63n],
    ] as const) {
      core.setRing(0);
      core.state.gpr[RCX] = rcx;
      expect(core.run(code)).toMatchObject({ vector: GP, error: 0 });
    }
  });

  test("MONITOR reads its operand: page faults, canonicality, segment limits, address size and override", () => {
    core.setPage(DATA, 0n);
    core.state.gpr[RAX] = BigInt(DATA);
    expect(core.run(MONITOR)).toMatchObject({ vector: PF, error: 0 });
    core.setRing(0);
    core.state.gpr[RAX] = 1n << 60n;
    expect(core.run(MONITOR)).toMatchObject({ vector: GP, error: 0 });
    core.setRing(0);
    core.state.gpr[RAX] = (1n << 60n) | BigInt(DATA + 0x1000);
    expect(core.run(`67${MONITOR}`)).toBeUndefined();
    expect(core.state.monitored).toBe(core.ram.byteOffset + DATA + 0x1000);
    core.state.segBase[4] = BigInt(DATA);
    core.state.gpr[RAX] = 0x2040n;
    expect(core.run(`64${MONITOR}`)).toBeUndefined();
    expect(core.state.monitored).toBe(core.ram.byteOffset + DATA + 0x2040);
    core.enterProtected();
    core.state.segLimit[3] = 0xfffn;
    core.update();
    core.state.gpr[RAX] = 0x1000n;
    expect(core.run(MONITOR)).toMatchObject({ vector: GP, error: 0 });
  });

  test("a model without MONITOR: #UD, and IA32_MISC_ENABLE cannot bring it", () => {
    const bare = new BareCore(module, { removed: ["MONITOR"] });
    bare.enterLong();
    expect(bare.run(MONITOR)?.vector).toBe(UD);
    bare.setRing(0);
    Object.assign(bare.state.gpr, [MISC_ENABLE_MONITOR | 1n, 0x1a0n, 0n]);
    expect(bare.run("0f30")).toBeUndefined();
    expect(bare.state.miscEnable).toBe(1n);
  });
});

describe("MWAIT", () => {
  test("does not wait without MONITOR, nor when the line was written in between, by whomever", () => {
    expect(core.run(MWAIT)).toBeUndefined();
    expect(core.state.activity).toBe(Activity.ACTIVE);
    core.setRing(0);
    core.state.gpr[RAX] = BigInt(DATA);
    // monitor; mov [rax + 3fh], cl; mwait
    expect(core.run(`${MONITOR} 88483f ${MWAIT}`, 3)).toBeUndefined();
    expect(core.state.activity).toBe(Activity.ACTIVE);
    expect(woken).toEqual([]);
  });

  test("waits through writes beside the line, and ends by one in it", () => {
    wait();
    expect([look(), look()]).toEqual([Stop.HALTED, Stop.HALTED]);
    write(DATA + 0x3f);
    write(DATA + 0x80, 64);
    write(DATA + 0x1040, 8);
    expect(look()).toBe(Stop.HALTED);
    expect(woken).toEqual([]);
    write(DATA + 0x3f, 2);
    expect(woken).toEqual([0]);
    // nop; nop … behind it run.
    core.write(CODE + 3, "9090909090f4");
    expect(look()).toBe(Stop.HALTED);
    expect(core.state.activity).toBe(Activity.HALTED);
    expect(core.state.rip).toBe(BigInt(CODE + 9));
  });

  test("a wide write over the whole page ends it", () => {
    wait();
    write(DATA - 0x1000, 0x3000);
    expect(woken).toEqual([0]);
  });

  test("an interrupt ends it if it can be taken, or was asked for while masked", () => {
    const interrupt = (): void => {
      core.state.apicRegister[0xf] = 0x1ff;
      core.core.exports.acceptVector(0x40);
    };
    wait(0n, 2n);
    interrupt();
    expect(look()).toBe(Stop.HALTED);
    expect(core.state.activity).toBe(Activity.MWAIT);
    core.state.rflags |= RFLAGS_IF;
    // Delivered, and the handler's HLT executed.
    core.state.stopAt = core.core.clock() + 1;
    core.core.exports.run();
    expect(core.state.rip).toBe(BigInt(0x4000 + 0x40 * 16 + 1));

    core.core.exports.resetForInit();
    core.enterLong();
    wait(1n, 2n);
    expect(look()).toBe(Stop.HALTED);
    interrupt();
    core.write(CODE + 3, "f4");
    expect(look()).toBe(Stop.HALTED);
    // Not taken: IF is 0. The wait is over and HLT has been reached.
    expect([core.state.activity, core.state.rip]).toEqual([Activity.HALTED, BigInt(CODE + 4)]);
  });

  test("once over, the line must be monitored anew, and its page is fast again", () => {
    wait();
    const info = core.memory.header.pageInfo + (DATA >> 12) * 16 + 8;
    const flags = (): number => core.memory.state.u32[info >> 2]!;
    expect(flags()).toBe(1);
    write(DATA + 0x40, 4);
    expect(flags()).toBe(0);
    expect(core.state.monitored).toBe(0);
    core.write(CODE + 3, `${MWAIT}f4`);
    expect(look()).toBe(Stop.HALTED);
    expect(core.state.activity).toBe(Activity.HALTED);
    // An interrupt's end of the wait gives the page back as well.
    wait(1n);
    expect(flags()).toBe(1);
    core.state.nmiPending = 1;
    look();
    expect(flags()).toBe(0);
  });

  test("INIT ends it and leaves nothing monitored", () => {
    wait();
    core.core.exports.resetForInit();
    expect(core.state.monitored).toBe(0);
  });
});
