/** MSRs that a CPU model has or lacks: speculation control, power management, machine-check banks. SDM Vol. 4. */
import { beforeAll, describe, expect, test } from "vitest";
import type { CpuModelName } from "../../../../../emulator/host/cpu-models.ts";
import { BareCore } from "../../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";

const GP = 13;
const RDMSR = "0f32";
const WRMSR = "0f30";
const [RAX, RCX, RDX] = [0, 1, 2];

const SPEC_CTRL = 0x48;
const PRED_CMD = 0x49;
const PKG_CST_CONFIG_CONTROL = 0xe2;
const MCG_CAP = 0x179;
const POWER_CTL = 0x1fc;
const MC0_CTL = 0x400;

let module: WebAssembly.Module;
beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);

const coreOf = (model: CpuModelName, removed: readonly string[] = []): BareCore => {
  const core = new BareCore(module, { model, removed });
  core.enterLong();
  return core;
};

/** The value, or undefined for #GP(0). */
function read(core: BareCore, index: number): bigint | undefined {
  core.setRing(0);
  core.state.gpr[RCX] = BigInt(index);
  const fault = core.run(RDMSR);
  if (fault) {
    expect(fault.vector).toBe(GP);
    return undefined;
  }
  return core.state.gpr[RAX]! | (core.state.gpr[RDX]! << 32n);
}

/** True when it is written, false for #GP(0). */
function write(core: BareCore, index: number, value: bigint): boolean {
  core.setRing(0);
  core.state.gpr[RCX] = BigInt(index);
  core.state.gpr[RAX] = value & 0xffffffffn;
  core.state.gpr[RDX] = value >> 32n;
  const fault = core.run(WRMSR);
  if (fault) expect(fault.vector).toBe(GP);
  return fault === undefined;
}

describe("IA32_SPEC_CTRL and IA32_PRED_CMD", () => {
  test("take the bits that CPUID claims; the command cannot be read", () => {
    const core = coreOf("skylake");
    expect(read(core, SPEC_CTRL)).toBe(0n);
    for (let value = 0n; value < 8n; value++) {
      expect(write(core, SPEC_CTRL, value)).toBe(true);
      expect(read(core, SPEC_CTRL)).toBe(value);
    }
    expect(write(core, SPEC_CTRL, 8n)).toBe(false);
    expect(write(core, SPEC_CTRL, 1n << 32n)).toBe(false);
    expect(read(core, SPEC_CTRL)).toBe(7n);
    expect(write(core, PRED_CMD, 1n)).toBe(true);
    expect(write(core, PRED_CMD, 2n)).toBe(false);
    expect(read(core, PRED_CMD)).toBeUndefined();
  });

  test("are not there without the features", () => {
    for (const core of [coreOf("nehalem"), coreOf("skylake", ["IBRS-IBPB", "STIBP", "SSBD"])]) {
      expect(read(core, SPEC_CTRL)).toBeUndefined();
      expect(write(core, SPEC_CTRL, 0n)).toBe(false);
      expect(write(core, PRED_CMD, 1n)).toBe(false);
    }
    const partial = coreOf("skylake", ["SSBD"]);
    expect(write(partial, SPEC_CTRL, 3n)).toBe(true);
    expect(write(partial, SPEC_CTRL, 4n)).toBe(false);
  });
});

describe("MSR_PKG_CST_CONFIG_CONTROL and MSR_POWER_CTL", () => {
  test("are state from Nehalem on; CFG lock makes the first read-only", () => {
    for (const model of ["nehalem", "sandybridge", "skylake", "max"] as const) {
      const core = coreOf(model);
      expect(write(core, POWER_CTL, 2n)).toBe(true);
      expect(read(core, POWER_CTL)).toBe(2n);
      expect(write(core, PKG_CST_CONFIG_CONTROL, 0x8003n)).toBe(true);
      expect(write(core, PKG_CST_CONFIG_CONTROL, 0n)).toBe(false);
      expect(read(core, PKG_CST_CONFIG_CONTROL)).toBe(0x8003n);
    }
    const penryn = coreOf("penryn");
    expect(read(penryn, POWER_CTL)).toBeUndefined();
    expect(read(penryn, PKG_CST_CONFIG_CONTROL)).toBeUndefined();
    expect(write(penryn, POWER_CTL, 0n)).toBe(false);
  });
});

describe("machine-check banks", () => {
  test("as many as IA32_MCG_CAP says: CTL is state, the others are 0 and take nothing else", () => {
    const core = coreOf("penryn");
    const banks = Number(read(core, MCG_CAP)! & 0xffn);
    expect(banks).toBe(6);
    for (let bank = 0; bank < banks; bank++) {
      const ctl = MC0_CTL + 4 * bank;
      expect(write(core, ctl, 0xffffffffffffffffn - BigInt(bank))).toBe(true);
      for (const other of [1, 2, 3]) {
        expect(read(core, ctl + other)).toBe(0n);
        expect(write(core, ctl + other, 0n)).toBe(true);
        expect(write(core, ctl + other, 1n)).toBe(false);
      }
    }
    for (let bank = 0; bank < banks; bank++)
      expect(read(core, MC0_CTL + 4 * bank)).toBe(0xffffffffffffffffn - BigInt(bank));
    expect(read(core, MC0_CTL + 4 * banks)).toBeUndefined();
    expect(write(core, MC0_CTL + 4 * banks, 0n)).toBe(false);
  });

  test("none without MCA", () => {
    const core = coreOf("skylake", ["MCA", "MCE"]);
    expect(read(core, MCG_CAP)).toBe(0n);
    expect(read(core, MC0_CTL)).toBeUndefined();
  });
});
