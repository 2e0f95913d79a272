/** Protection keys: SDM Vol. 3A, "Protection Keys"; Vol. 2, "RDPKRU", "WRPKRU". */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BareCore, CODE, DATA } from "../../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";

const CR4_PKE = 1n << 22n;
const CR4_OSXSAVE = 1n << 18n;
const CR0_WP = 1n << 16n;
const UD = 6;
const GP = 13;
const PF = 14;

const RDPKRU = "0f01ee";
const WRPKRU = "0f01ef";
const READ = "8b07"; // mov eax, [rdi]
const WRITE = "8907"; // mov [rdi], eax
const FETCH = "ffe7"; // jmp rdi

let module: WebAssembly.Module;
let core: BareCore;

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);

/** Key 5 on the data page; AD is bit 10 of PKRU, WD bit 11. */
const KEY = 5n;
const AD = 1 << 10;
const WD = 1 << 11;
const userPage = 7n | (KEY << 59n);

beforeEach(() => {
  core = new BareCore(module);
  core.enterLong({ cr4: CR4_PKE });
  // Handlers and their stack stay the supervisor's.
  for (const page of [CODE, CODE + 0x1000, CODE + 0x2000]) core.setPage(page, 7n);
  core.setPage(DATA, userPage);
});

function access(code: string, pkru: number, ring: 0 | 3): [vector: number, error: number] | undefined {
  core.setRing(ring);
  core.state.pkru = pkru;
  core.update();
  core.state.gpr[7] = BigInt(DATA);
  const event = core.run(code);
  return event && [event.vector, event.error];
}

describe("WRPKRU and RDPKRU", () => {
  test("move PKRU, and clear the upper halves that RDPKRU writes", () => {
    core.setRing(3);
    Object.assign(core.state.gpr, [0xffffffff_89abcdefn, 0n, 0n]);
    expect(core.run(WRPKRU)).toBeUndefined();
    expect(core.state.pkru).toBe(0x89abcdef);
    Object.assign(core.state.gpr, [~0n & 0xffffffffffffffffn, 1n << 32n, 5n]);
    expect(core.run(RDPKRU)).toBeUndefined();
    expect([core.state.gpr[0], core.state.gpr[2]]).toEqual([0x89abcdefn, 0n]);
  });

  test("ECX other than 0 is #GP(0), and so is EDX for WRPKRU", () => {
    core.state.gpr[1] = 1n;
    expect(core.run(RDPKRU)).toMatchObject({ vector: GP, error: 0 });
    core.setRing(0);
    core.state.gpr[1] = 1n;
    expect(core.run(WRPKRU)).toMatchObject({ vector: GP, error: 0 });
    core.setRing(0);
    Object.assign(core.state.gpr, [0n, 0n, 1n]);
    expect(core.run(WRPKRU)).toMatchObject({ vector: GP, error: 0 });
  });

  test("without CR4.PKE, with LOCK or another prefix, and on a model without PKU: #UD", () => {
    for (const prefix of ["f0", "66", "f3", "f2"]) {
      core.setRing(0);
      expect(core.run(prefix + RDPKRU)?.vector).toBe(UD);
      core.setRing(0);
      expect(core.run(prefix + WRPKRU)?.vector).toBe(UD);
    }
    core.state.cr4 &= ~CR4_PKE;
    for (const code of [RDPKRU, WRPKRU]) {
      core.setRing(0);
      core.state.gpr[1] = 1n;
      expect(core.run(code)?.vector).toBe(UD);
    }
    const older = new BareCore(module, { model: "sandybridge" });
    older.enterLong();
    expect(older.run(RDPKRU)?.vector).toBe(UD);
    // mov cr4, rax
    older.setRing(0);
    older.state.gpr[0] = older.state.cr4 | CR4_PKE;
    expect(older.run("0f22e0")?.vector).toBe(GP);
  });
});

describe("an access to a user page", () => {
  test.each([
    ["user read", READ, 3, AD, [PF, 0x25]],
    ["user write", WRITE, 3, AD, [PF, 0x27]],
    ["user read", READ, 3, WD, undefined],
    ["user write", WRITE, 3, WD, [PF, 0x27]],
    ["supervisor read", READ, 0, AD, [PF, 0x21]],
    ["supervisor read", READ, 0, WD, undefined],
    ["supervisor write", WRITE, 0, WD, [PF, 0x23]],
    ["fetch", FETCH, 3, AD | WD, undefined],
    ["user write with rights of other keys only", WRITE, 3, ~(AD | WD) >>> 0, undefined],
  ] as const)("%s (%s at CPL %i, PKRU %i)", (_, code, ring, pkru, expected) => {
    core.write(DATA, "90");
    // The code page has key 0, of which the last case takes the rights away: fetches do not mind, the stack is not used.
    expect(access(code, pkru, ring)).toEqual(expected);
  });

  test("WD holds for the supervisor with CR0.WP alone", () => {
    core.state.cr0 &= ~CR0_WP;
    expect(access(WRITE, WD, 0)).toBeUndefined();
    expect(access(WRITE, WD, 3)).toEqual([PF, 0x27]);
    expect(access(WRITE, AD, 0)).toEqual([PF, 0x23]);
  });

  test("the bit is set beside the reason that stands without keys, and not for pages that are not present", () => {
    core.setPage(DATA, 5n | (KEY << 59n));
    expect(access(WRITE, AD, 3)).toEqual([PF, 0x27]);
    expect(access(WRITE, 0, 3)).toEqual([PF, 0x07]);
    core.setPage(DATA, 6n | (KEY << 59n));
    expect(access(WRITE, AD, 3)).toEqual([PF, 0x06]);
  });

  test("supervisor pages have no key, and without CR4.PKE no page has", () => {
    core.setPage(DATA, 3n | (KEY << 59n));
    expect(access(WRITE, AD | WD, 0)).toBeUndefined();
    core.setPage(DATA, userPage);
    core.state.cr4 &= ~CR4_PKE;
    expect(access(WRITE, AD | WD, 3)).toBeUndefined();
  });
});

test("WRPKRU takes effect at the next instruction, forth and back, whatever the TLB holds", () => {
  core.setRing(3);
  core.state.gpr[7] = BigInt(DATA);
  core.state.gpr[3] = BigInt(WD);
  // mov [rdi], eax; xchg eax, ebx; wrpkru; xchg eax, ebx; mov ecx, [rdi]; xor ecx, ecx; xor eax, eax; wrpkru; mov [rdi], eax
  const code = `${WRITE} 93 ${WRPKRU} 93 8b0f 31c9 31c0 ${WRPKRU} ${WRITE}`;
  expect(core.run(code, 9)).toBeUndefined();
  // And once more with the write where WD is set.
  core.state.gpr[3] = BigInt(WD);
  const event = core.run(`${WRITE} 93 ${WRPKRU} 93 ${WRITE}`, 5);
  expect(event).toMatchObject({ vector: PF, error: 0x27 });
  expect(core.state.cr2).toBe(BigInt(DATA));
});

test("XSAVE, XSAVEC and XRSTOR keep PKRU as component 9, and XRSTOR's value holds at once", () => {
  core.state.cr4 |= CR4_OSXSAVE;
  core.state.xcr0 = 0x207n;
  core.state.pkru = AD;
  core.update();
  const area = DATA + 0x1000;
  core.setPage(area, 7n);
  const save = (code: string, components: number): void => {
    core.setRing(0);
    Object.assign(core.state.gpr, [BigInt(components), 0n, 0n]);
    core.state.gpr[7] = BigInt(area);
    expect(core.run(code)).toBeUndefined();
  };
  save("480fae27", 0x200); // xsave64 [rdi]
  expect(core.ram.getBigUint64(area + 512, true)).toBe(0x200n);
  expect(core.ram.getUint32(area + 832, true)).toBe(AD);
  core.state.pkru = 0;
  save("480fae2f", 0x200); // xrstor64 [rdi]
  expect(core.state.pkru).toBe(AD);
  expect(access(READ, core.state.pkru, 3)).toEqual([PF, 0x25]);
  // Compacted without AVX: right behind the header.
  save("480fc727", 0x201); // xsavec64 [rdi]
  expect(core.ram.getBigUint64(area + 520, true)).toBe(0x8000000000000201n);
  expect(core.ram.getUint32(area + 576, true)).toBe(AD);
  // Not in use: XSTATE_BV says so, and XRSTOR makes it 0.
  core.state.pkru = 0;
  save("480fc727", 0x204);
  expect(core.ram.getBigUint64(area + 512, true) & 0x200n).toBe(0n);
  core.state.pkru = WD;
  save("480fae2f", 0x204);
  expect(core.state.pkru).toBe(0);
  expect(access(WRITE, core.state.pkru, 3)).toBeUndefined();
});
