/**
 * Virtual-8086 mode with and without its extensions, and protected mode's virtual interrupts. SDM Vol. 3B, "8086 Emulation": "Software
 * Interrupt Handling Methods While in Virtual-8086 Mode", "Protected-Mode Virtual Interrupts"; Vol. 2, the tables of CLI, STI, PUSHF, POPF.
 */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BareCore, CODE, TSS } from "../../../../support/bare-core.ts";
import { BUILD_TIMEOUT, buildCore } from "../../../../support/build-core.ts";

const GP = 13;
const CR4_VME = 1n;
const CR4_PVI = 2n;
const TF = 1n << 8n;
const IF = 1n << 9n;
const IOPL = 3n << 12n;
const NT = 1n << 14n;
const VM = 1n << 17n;
const VIF = 1n << 19n;
const VIP = 1n << 20n;

const CLI = "fa";
const STI = "fb";
const PUSHF = "9c";
const POPF = "9d";
const IRET = "cf";
const INT_21 = "cd21";

/** The 8086 program's stack and its handler of INT 21H, as segment:offset. */
const STACK = 0x9000;
const HANDLER = { segment: 0x1100, offset: 0x0234 };
const SP = 0x0f00;
/** Base of the I/O map in the TSS: the redirection map lies before it. */
const IO_MAP = 0x100;

let module: WebAssembly.Module;
let core: BareCore;

beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);
beforeEach(() => {
  core = new BareCore(module);
  core.enterProtected();
});

/** Enters the 8086 program with these flags beside VM. Its stack is at 9000H, its interrupt table at 0. */
function enter(rflags: bigint, cr4 = CR4_VME): void {
  core.setRing(3);
  core.state.cr4 = cr4;
  core.state.rflags = VM | 2n | rflags;
  for (let slot = 0; slot < 6; slot++) {
    const base = slot === 1 ? CODE : STACK;
    core.state.segSelector[slot] = BigInt(base >> 4);
    core.state.segBase[slot] = BigInt(base);
    core.state.segLimit[slot] = 0xffffn;
    core.state.segRights[slot] = 0xf3n;
  }
  core.state.gpr[4] = BigInt(SP);
  core.update();
  core.ram.setUint16(TSS + 102, IO_MAP, true);
  core.ram.setUint16(0x21 * 4, HANDLER.offset, true);
  core.ram.setUint16(0x21 * 4 + 2, HANDLER.segment, true);
}

/** Bit 21H of the redirection map: 1 sends the interrupt to the monitor. */
function direct(toMonitor: boolean): void {
  core.ram.setUint8(TSS + IO_MAP - 32 + 4, toMonitor ? 2 : 0);
}

const word = (sp: number): bigint => BigInt(core.ram.getUint16(STACK + sp, true));
const flags = (mask: bigint): bigint => core.flags & mask;
const generalProtection = { vector: GP, error: 0 };

describe("CLI and STI", () => {
  test.each([
    // [flags, CR4, CLI faults, STI faults, flag that they change]
    ["IOPL 3", IOPL, 0n, false, false, IF],
    ["IOPL 3 with VME", IOPL, CR4_VME, false, false, IF],
    ["IOPL 2", 2n << 12n, 0n, true, true, 0n],
    ["IOPL 2, PVI is not for this mode", 2n << 12n, CR4_PVI, true, true, 0n],
    ["IOPL 0 with VME", 0n, CR4_VME, false, false, VIF],
    ["IOPL 0 with VME and VIP", VIP, CR4_VME, false, true, VIF],
  ] as const)("in virtual-8086 mode, %s", (_, rflags, cr4, cliFaults, stiFaults, changed) => {
    enter(rflags, cr4);
    const sti = core.run(STI);
    if (stiFaults) expect(sti).toMatchObject(generalProtection);
    else expect([sti, flags(IF | VIF)]).toEqual([undefined, changed]);
    enter(rflags | changed, cr4);
    const cli = core.run(CLI);
    if (cliFaults) expect(cli).toMatchObject(generalProtection);
    else expect([cli, flags(IF | VIF)]).toEqual([undefined, 0n]);
  });

  test.each([
    ["CPL 3, PVI", 3, 0n, CR4_PVI, VIF],
    ["CPL 3, PVI and VIP", 3, VIP, CR4_PVI, undefined],
    ["CPL 3, VME is not for this mode", 3, 0n, CR4_VME, undefined],
    ["CPL 3, IOPL 3 with PVI", 3, IOPL, CR4_PVI, IF],
    ["CPL 0, PVI", 0, 0n, CR4_PVI, IF],
  ] as const)("in protected mode, %s", (_, ring, rflags, cr4, changed) => {
    core.setRing(ring);
    core.state.cr4 = cr4;
    core.state.rflags |= rflags;
    const sti = core.run(STI);
    if (changed === undefined) {
      expect(sti).toMatchObject(generalProtection);
      return;
    }
    expect([sti, flags(IF | VIF)]).toEqual([undefined, changed]);
    expect([core.run(CLI), flags(IF | VIF)]).toEqual([undefined, 0n]);
  });
});

describe("PUSHF and POPF in virtual-8086 mode", () => {
  test("PUSHF shows IOPL 3 and VIF as IF", () => {
    enter(VIF);
    expect(core.run(PUSHF)).toBeUndefined();
    expect(word(SP - 2) & (IF | IOPL)).toBe(IF | IOPL);
    enter(IF);
    expect(core.run(PUSHF)).toBeUndefined();
    expect(word(SP - 2) & (IF | IOPL)).toBe(IOPL);
    enter(IOPL | VIF);
    expect(core.run(PUSHF)).toBeUndefined();
    expect(word(SP - 2) & (IF | IOPL)).toBe(IOPL);
  });

  test("32-bit forms, and any without VME, are #GP(0) below IOPL 3", () => {
    for (const code of [PUSHF, POPF, IRET]) {
      enter(0n);
      expect([code, core.run(`66${code}`)]).toEqual([code, expect.objectContaining(generalProtection)]);
      enter(0n, 0n);
      expect(core.run(code)).toMatchObject(generalProtection);
      enter(IOPL);
      core.ram.setUint32(STACK + SP + 8, 0, true);
      expect(core.run(`66${code}`)).toBeUndefined();
    }
  });

  test("POPF and IRET load VIF from IF, and leave IF and IOPL", () => {
    for (const [code, at] of [
      [POPF, SP],
      [IRET, SP + 4],
    ] as const) {
      enter(IF);
      core.ram.setUint16(STACK + at, Number(NT | 1n), true);
      expect(core.run(code)).toBeUndefined();
      expect(flags(IF | VIF | IOPL | NT | 1n)).toBe(IF | NT | 1n);
      enter(0n);
      core.ram.setUint16(STACK + at, Number(IF | IOPL), true);
      expect(core.run(code)).toBeUndefined();
      expect(flags(IF | VIF | IOPL | NT)).toBe(VIF);
      expect(core.state.gpr[4]).toBe(BigInt(at + 2));
    }
  });

  test("POPF and IRET are #GP(0) for TF, and for IF while VIP is set; nothing has changed then", () => {
    for (const [code, at] of [
      [POPF, SP],
      [IRET, SP + 4],
    ] as const)
      for (const [image, rflags, faults] of [
        [TF, 0n, true],
        [IF, VIP, true],
        [0n, VIP, false],
        [IF, 0n, false],
      ] as const) {
        enter(rflags | VIF);
        core.ram.setUint32(STACK + SP, CODE << 12, true);
        core.ram.setUint16(STACK + at, Number(image), true);
        const event = core.run(code);
        if (!faults) expect(event).toBeUndefined();
        else {
          expect(event).toMatchObject(generalProtection);
          expect(event!.rflags & (VIF | VIP)).toBe(rflags | VIF);
          expect(event!.rip).toBe(0n);
        }
      }
  });
});

describe("INT n in virtual-8086 mode", () => {
  const redirected = (): void => {
    expect(core.state.rip).toBe(BigInt(HANDLER.offset));
    expect(core.state.segBase[1]).toBe(BigInt(HANDLER.segment << 4));
    expect(flags(VM)).toBe(VM);
    expect([word(SP - 6), word(SP - 4)]).toEqual([2n, BigInt(CODE >> 4)]);
    expect(core.state.gpr[4]).toBe(BigInt(SP - 6));
  };

  test("methods 1 and 2: without VME by IOPL to the gate or to #GP(0)", () => {
    direct(false);
    enter(IOPL, 0n);
    expect(core.run(INT_21)).toMatchObject({ vector: 0x21, rip: 2n });
    enter(2n << 12n, 0n);
    expect(core.run(INT_21)).toMatchObject(generalProtection);
  });

  test("methods 3 and 4: a map bit of 1 is as without VME", () => {
    direct(true);
    enter(0n);
    expect(core.run(INT_21)).toMatchObject(generalProtection);
    enter(IOPL);
    expect(core.run(INT_21)).toMatchObject({ vector: 0x21, rip: 2n });
  });

  test("method 5: with IOPL 3 a map bit of 0 stays in the program, IF and TF cleared", () => {
    direct(false);
    enter(IOPL | IF | NT);
    expect(core.run(INT_21)).toBeUndefined();
    redirected();
    expect(word(SP - 2) & (IOPL | IF | NT)).toBe(IOPL | IF | NT);
    expect(flags(IF | IOPL | NT)).toBe(IOPL | NT);
    // Under TF no single-step trap behind it.
    enter(IOPL | TF);
    expect(core.run(INT_21)).toBeUndefined();
    redirected();
    expect([word(SP - 2) & TF, flags(TF)]).toEqual([TF, 0n]);
  });

  test("method 6: with IOPL below 3 FLAGS are pushed with IOPL 3 and VIF as IF, and VIF is cleared", () => {
    direct(false);
    enter(VIF | IF);
    expect(core.run(INT_21)).toBeUndefined();
    redirected();
    expect(word(SP - 2) & (IOPL | IF)).toBe(IOPL | IF);
    expect(flags(IF | VIF | IOPL)).toBe(IF);
    enter(IF);
    expect(core.run(INT_21)).toBeUndefined();
    expect(word(SP - 2) & (IOPL | IF)).toBe(IOPL);
  });

  test("INT3 and INTO go by their gates whatever the map says", () => {
    enter(0n);
    expect(core.run("cc")).toMatchObject({ vector: 3 });
  });

  test("a map beyond the TSS's limit, or no 32-bit TSS, is #GP(0)", () => {
    for (const change of [
      () => (core.state.segLimit[7] = BigInt(IO_MAP - 32 + 3)),
      () => (core.state.segLimit[7] = 102n),
    ]) {
      direct(false);
      enter(0n);
      change();
      // What the handler needs of the TSS is there.
      expect(core.run(INT_21)).toMatchObject(generalProtection);
    }
  });
});

test("a model without VME has neither CR4 bit", () => {
  const bare = new BareCore(module, { removed: ["VME"] });
  for (const bit of [CR4_VME, CR4_PVI]) {
    bare.enterProtected();
    bare.state.gpr[0] = bit;
    expect(bare.run("0f22e0")).toMatchObject(generalProtection);
    core.setRing(0);
    core.state.gpr[0] = bit;
    expect(core.run("0f22e0")).toBeUndefined();
  }
});
