/** 57-bit linear addresses: SDM Vol. 3A, "4-Level Paging and 5-Level Paging" and "Canonicality Checking". */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BareCore, CODE, CR4_LA57, DATA } from "../../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";

const GP = 13;
const PF = 14;
/** Canonical in 57 bits alone, and not even in those. */
const WIDE = 0x00ff_0000_0000_0000n;
const NONE = 0x0200_0000_0000_0000n;
const PML5 = 0x30000;
const PML4 = 0x31000;
const RAX = 0;
const RDI = 7;
const MOV_CR4 = "0f22e0"; // mov cr4, rax

let module: WebAssembly.Module;
let core: BareCore;

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);
beforeEach(() => {
  core = new BareCore(module);
});

describe("CR4.LA57", () => {
  test("can be set and cleared outside IA-32e mode, and not changed in it", () => {
    core.enterProtected();
    core.state.gpr[RAX] = CR4_LA57;
    expect(core.run(MOV_CR4)).toBeUndefined();
    expect(core.state.cr4).toBe(CR4_LA57);
    core.state.gpr[RAX] = 0n;
    expect(core.run(MOV_CR4)).toBeUndefined();
    for (const cr4 of [0n, CR4_LA57]) {
      core.enterLong({ cr4 });
      core.state.gpr[RAX] = core.state.cr4 ^ CR4_LA57;
      expect(core.run(MOV_CR4)).toMatchObject({ vector: GP, error: 0 });
    }
  });

  test("is reserved in the models without it", () => {
    core = new BareCore(module, { model: "skylake" });
    core.enterProtected();
    core.state.gpr[RAX] = CR4_LA57;
    expect(core.run(MOV_CR4)).toMatchObject({ vector: GP, error: 0 });
  });
});

describe("a walk of five levels", () => {
  /** Lets bits 56:48 = `slot` map what slot 0 maps. */
  const mapSlot = (slot: number, entry: bigint): void => {
    core.ram.setBigUint64(PML5 + slot * 8, entry, true);
  };
  beforeEach(() => core.enterLong({ cr4: CR4_LA57 }));

  test("takes bits 56:48 for the first, whose accessed bit is set", () => {
    mapSlot(5, BigInt(PML4) | 3n);
    core.ram.setUint32(DATA, 0x12345678, true);
    core.state.gpr[RDI] = (5n << 48n) | BigInt(DATA);
    expect(core.run("8b07")).toBeUndefined();
    expect(core.state.gpr[RAX]).toBe(0x12345678n);
    expect(core.ram.getBigUint64(PML5 + 5 * 8, true) & 0x20n).toBe(0x20n);
    expect(core.ram.getBigUint64(PML5 + 6 * 8, true)).toBe(0n);
  });

  test("faults for an entry that is not present, reserves its bit 7, and collects its rights", () => {
    core.state.gpr[RDI] = (6n << 48n) | BigInt(DATA);
    expect(core.run("8b07")).toMatchObject({ vector: PF, error: 0 });
    mapSlot(6, BigInt(PML4) | 0x83n);
    core.setRing(0);
    core.state.gpr[RDI] = (6n << 48n) | BigInt(DATA);
    expect(core.run("8b07")).toMatchObject({ vector: PF, error: 9 });
    mapSlot(6, BigInt(PML4) | 1n);
    core.setRing(0);
    core.state.gpr[RDI] = (6n << 48n) | BigInt(DATA);
    expect(core.run("8907")).toMatchObject({ vector: PF, error: 3 });
  });

  test("code runs beyond bit 47", () => {
    mapSlot(5, BigInt(PML4) | 3n);
    core.write(CODE + 0x100, "b82a000000"); // mov eax, 42
    core.state.gpr[RDI] = (5n << 48n) | BigInt(CODE + 0x100);
    expect(core.run("ffe7", 2)).toBeUndefined();
    expect(core.state.gpr[RAX]).toBe(42n);
    expect(core.state.rip).toBe((5n << 48n) + BigInt(CODE + 0x105));
  });
});

describe.each([
  ["4-level paging", 0n],
  ["5-level paging", CR4_LA57],
])("%s", (_, cr4) => {
  const isWide = cr4 !== 0n;
  beforeEach(() => core.enterLong({ cr4 }));

  test("what an access or branch takes depends on the paging mode", () => {
    for (const code of ["8b07", "ffe7"]) {
      core.setRing(0);
      core.state.gpr[RDI] = NONE;
      expect(core.run(code)).toMatchObject({ vector: GP, error: 0 });
      core.setRing(0);
      core.state.gpr[RDI] = WIDE;
      // A jump is taken, and then the fetch faults.
      expect(core.run(code, 2)).toMatchObject({ vector: isWide ? PF : GP });
    }
  });

  test("what MSRs, WRFSBASE and LGDT take depends on the processor alone", () => {
    const wrmsr = (index: number, value: bigint) => {
      core.setRing(0);
      Object.assign(core.state.gpr, [value & 0xffffffffn, BigInt(index), value >> 32n]);
      return core.run("0f30")?.vector;
    };
    for (const index of [0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000102]) {
      expect([index, wrmsr(index, WIDE)]).toEqual([index, undefined]);
      expect([index, wrmsr(index, NONE)]).toEqual([index, GP]);
    }
    const load = (base: bigint) => {
      core.setRing(0);
      core.ram.setUint16(DATA, 0x3f, true);
      core.ram.setBigUint64(DATA + 2, base, true);
      core.state.gpr[RDI] = BigInt(DATA);
      const vector = core.run("0f0117")?.vector;
      Object.assign(core.state, { gdtrBase: 0x2000n });
      return vector;
    };
    expect([load(WIDE), load(NONE)]).toEqual([undefined, GP]);
    core.state.cr4 |= 1n << 16n;
    const wrfsbase = (value: bigint) => {
      core.setRing(0);
      core.state.gpr[RAX] = value;
      return core.run("f3480faed0")?.vector;
    };
    expect([wrfsbase(WIDE), wrfsbase(NONE)]).toEqual([undefined, GP]);
  });
});

test("a processor without LA57 takes 48 bits everywhere", () => {
  core = new BareCore(module, { model: "skylake" });
  core.enterLong();
  Object.assign(core.state.gpr, [0n, 0xc0000082n, WIDE >> 32n]);
  expect(core.run("0f30")?.vector).toBe(GP);
});
