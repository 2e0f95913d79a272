/** XSAVES, XRSTORS and IA32_XSS. SDM Vol. 1, "Operation of XSAVES" and "Operation of XRSTORS". */
import { beforeAll, beforeEach, expect, test } from "vitest";
import { BareCore, CODE, DATA } from "../../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";

const CR0_TS = 8n;
const CR4 = (1n << 18n) | (1n << 9n) | (1n << 10n); // OSXSAVE OSFXSR OSXMMEXCPT
const UD = 6;
const NM = 7;
const GP = 13;
const XSAVES = "480fc72f"; // xsaves64 [rdi]
const XRSTORS = "480fc71f"; // xrstors64 [rdi]
const COMPACTED = 1n << 63n;
const HEADER = DATA + 512;

let module: WebAssembly.Module;
let core: BareCore;

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);

function start(model: "max" | "sandybridge" = "max"): void {
  core = new BareCore(module, { model });
  core.enterLong({ cr4: CR4 });
  core.state.xcr0 = 7n;
  core.update();
}
beforeEach(() => start());

function run(code: string, components = 7n, at = DATA, ring: 0 | 3 = 0) {
  core.setRing(ring);
  core.state.gpr[0] = components;
  core.state.gpr[7] = BigInt(at);
  return core.run(code)?.vector;
}

const header = (): [bigint, bigint] => [
  core.ram.getBigUint64(HEADER, true),
  core.ram.getBigUint64(HEADER + 8, true),
];
function setHeader(components: bigint, layout: bigint): void {
  core.ram.setBigUint64(HEADER, components, true);
  core.ram.setBigUint64(HEADER + 8, layout, true);
}

test("XSAVES writes the compacted format, of which what is in use is there; XRSTORS brings it back", () => {
  core.state.vector.fill(0);
  core.state.vector.fill(0x5a, 16, 32);
  expect(run(XSAVES)).toBeUndefined();
  // x87 after power-on is not in its initial configuration (FCW = 40H).
  expect(header()).toEqual([5n, COMPACTED | 7n]);
  expect(core.ram.getUint32(DATA + 576, true)).toBe(0x5a5a5a5a);
  core.state.vector.fill(0xff);
  expect(run(XRSTORS)).toBeUndefined();
  expect([...core.state.vector.subarray(0, 32)]).toEqual([
    ...new Uint8Array(16),
    ...new Uint8Array(16).fill(0x5a),
  ]);
});

test("the instruction mask decides what is written and what is loaded", () => {
  core.state.vector.fill(0x11);
  expect(run(XSAVES, 4n)).toBeUndefined();
  expect(header()).toEqual([4n, COMPACTED | 4n]);
  core.state.vector.fill(0x22);
  expect(run(XRSTORS, 2n)).toBeUndefined();
  // SSE is not in the image: initial. AVX was not asked for.
  expect([core.state.vector[0], core.state.vector[16]]).toEqual([0, 0x22]);
});

test("faults: #UD, #GP(0), #NM by their order", () => {
  core.setPage(CODE, 7n);
  for (const code of [XSAVES, XRSTORS]) {
    expect(run(`f0${code}`)).toBe(UD);
    expect(run(`66${code}`)).toBe(UD);
    expect(run(code, 7n, DATA + 32)).toBe(GP);
    core.state.cr0 |= CR0_TS;
    expect(run(code)).toBe(NM);
    // CPL comes before the task-switched flag, CR4.OSXSAVE before both.
    expect(run(code, 7n, DATA, 3)).toBe(GP);
    core.state.cr4 &= ~(1n << 18n);
    expect(run(code, 7n, DATA, 3)).toBe(UD);
    core.state.cr4 |= 1n << 18n;
    core.state.cr0 &= ~CR0_TS;
  }
  start("sandybridge");
  expect([run(XSAVES), run(XRSTORS)]).toEqual([UD, UD]);
});

test("XRSTORS refuses the standard format and headers that do not fit", () => {
  setHeader(0n, COMPACTED | 7n);
  expect(run(XRSTORS)).toBeUndefined();
  for (const [components, layout] of [
    [0n, 7n],
    [0n, 0n],
    [0n, COMPACTED | 8n],
    [4n, COMPACTED | 3n],
    [0n, COMPACTED | (1n << 9n)],
  ] as const) {
    setHeader(components, layout);
    expect([layout, run(XRSTORS)]).toEqual([layout, GP]);
  }
  setHeader(0n, COMPACTED | 7n);
  core.ram.setUint8(HEADER + 63, 1);
  expect(run(XRSTORS)).toBe(GP);
});

test("IA32_XSS is 0 and takes 0 alone; without XSAVES it does not exist", () => {
  const wrmsr = (value: bigint) => {
    core.setRing(0);
    Object.assign(core.state.gpr, [value & 0xffffffffn, 0xda0n, value >> 32n]);
    return core.run("0f30")?.vector;
  };
  const rdmsr = () => {
    core.setRing(0);
    core.state.gpr[1] = 0xda0n;
    return core.run("0f32")?.vector ?? Number(core.state.gpr[0]);
  };
  expect([wrmsr(0n), wrmsr(1n), wrmsr(1n << 8n), wrmsr(1n << 40n), rdmsr()]).toEqual([
    undefined,
    GP,
    GP,
    GP,
    0,
  ]);
  start("sandybridge");
  expect([wrmsr(0n), rdmsr()]).toEqual([GP, GP]);
});
