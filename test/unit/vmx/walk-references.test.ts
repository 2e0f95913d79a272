/**
 * How many paging-structure entries a TLB miss reads with nested paging: SDM Vol. 3C, "EPT Translation Mechanism" (each entry of the guest's
 * tables is at a guest-physical address, which EPT translates first); and what paging-structure caches save of it (Vol. 3A,
 * "Paging-Structure Caches"; Vol. 3C, "Information That May Be Cached").
 */
import { expect, test } from "vitest";
import * as X from "../../../layout/vmx.ts";
import { PAGE, VmxCpu } from "../../../bench/vmx/vmx-cpu.ts";

const F = X.VmcsField;
// nop; mov eax, [rcx]; invlpg [rcx]; hlt
const CODE = [0x90, 0x8b, 0x01, 0x0f, 0x01, 0x39, 0xf4];
const LOAD = 1;
const INVLPG = 3;
const GUEST_PAGE_TABLE = 0x30000;
const EPT_PAGE_TABLE = 0x31000;
const LARGE = 0x80n;
/** Set before, so that no entry has to be written. */
const ACCESSED = 0x20n;

/** A guest whose load at RCX can be stepped; `levels` are those of its tables and of EPT's: 4 with 4-KByte pages, 3 with 2-MByte. */
class Walks {
  readonly cpu: VmxCpu;
  constructor(
    guest: 3 | 4,
    ept: 0 | 3 | 4,
    isCached: boolean,
    prepare: (cpu: VmxCpu) => void = () => undefined,
  ) {
    const cpu = new VmxCpu({ removed: isCached ? [] : ["WALK-CACHES"] });
    this.cpu = cpu;
    cpu.memory.state.bytes.set(CODE, cpu.offset(PAGE.CODE));
    for (let i = 0n; i < 512n; i++)
      cpu.write64(GUEST_PAGE_TABLE + Number(i) * 8, (0x200000n + i * 4096n) | ACCESSED | 7n);
    cpu.write64(
      PAGE.PD + 8,
      guest === 3 ? 0x200000n | LARGE | ACCESSED | 7n : BigInt(GUEST_PAGE_TABLE) | ACCESSED | 7n,
    );
    if (ept !== 0) {
      cpu.set(F.SECONDARY_CONTROLS, X.Secondary.ENABLE_EPT);
      cpu.write64(PAGE.EPT, BigInt(PAGE.EPT + 0x1000) | 7n);
      cpu.write64(PAGE.EPT + 0x1000, BigInt(PAGE.EPT + 0x2000) | 7n);
      for (let i = 0n; i < 2n; i++) {
        const table = EPT_PAGE_TABLE + Number(i) * 4096;
        for (let j = 0n; j < 512n; j++)
          cpu.write64(table + Number(j) * 8, (i * 0x200000n + j * 4096n) | 0x37n);
        cpu.write64(
          PAGE.EPT + 0x2000 + Number(i) * 8,
          ept === 3 ? (i * 0x200000n) | LARGE | 0x37n : BigInt(table) | 7n,
        );
      }
    }
    prepare(cpu);
    expect(cpu.enter()).toEqual({ kind: "entered" });
    this.step(0, 0n);
  }

  /** Executes the instruction at an offset of CODE with RCX; returns how many entries were read. */
  step(at: number, rcx: bigint): number {
    const { state, exports } = this.cpu.core;
    state.rip = BigInt(PAGE.CODE + at);
    state.gpr[1] = rcx;
    state.stopAtInstruction = state.instructions + 1;
    const before = state.walkReferences;
    exports.run();
    return Number(state.walkReferences - before);
  }
}

const TARGET = 0x300000n;
const NEXT_PAGE = TARGET + 4096n;

test.each([
  [4, 0, 4],
  [3, 0, 3],
  [4, 4, 24],
  [4, 3, 19],
  [3, 4, 19],
  [3, 3, 15],
] as const)("%i levels of the guest and %i of EPT: %i references", (guest, ept, wanted) => {
  const walks = new Walks(guest, ept, false);
  expect(walks.step(LOAD, TARGET)).toBe(wanted);
  // A second load of the page finds it in the TLB; another page is walked in full.
  expect(walks.step(LOAD, TARGET)).toBe(0);
  if (guest === 4) expect(walks.step(LOAD, NEXT_PAGE)).toBe(wanted);
});

test.each([
  // The guest's page-table entry alone.
  [4, 0, 1],
  // That and EPT's page-table entry of the page that it maps.
  [4, 4, 2],
  [4, 3, 2],
] as const)("%i and %i levels with caches: the next page takes %i", (guest, ept, wanted) => {
  const walks = new Walks(guest, ept, true);
  const first = walks.step(LOAD, TARGET);
  expect(first).toBeLessThanOrEqual(guest * (ept + 1) + ept);
  expect(first).toBeGreaterThan(wanted);
  expect(walks.step(LOAD, NEXT_PAGE)).toBe(wanted);
  // INVLPG drops the linear entries of every address, not EPT's own. The next fetch brings back what it shares with the load: all but the
  // page directory's entry, and the table's and the page itself, which EPT translates with one reference each.
  walks.step(INVLPG, TARGET + 0x1000000n);
  walks.step(0, 0n);
  expect(walks.step(LOAD, NEXT_PAGE + 4096n)).toBe(ept === 0 ? 2 : 4);
});

test("a page fault drops what would translate its address", () => {
  const walks = new Walks(4, 0, true, (cpu) => {
    cpu.set(F.SECONDARY_CONTROLS, X.Secondary.ENABLE_VPID);
    cpu.set(F.EXCEPTION_BITMAP, 1 << 14);
    cpu.core.state.hypervisorOutside = 1;
  });
  const { cpu } = walks;
  const page = TARGET + 0x2000n;
  const entry = GUEST_PAGE_TABLE + 0x102 * 8;
  walks.step(LOAD, TARGET);
  cpu.write64(entry, 0n);
  expect(walks.step(LOAD, page)).toBe(1);
  expect(cpu.vmcs.read32(F.EXIT_REASON)).toBe(0);
  cpu.write64(entry, page | ACCESSED | 7n);
  expect(cpu.enter()).toEqual({ kind: "entered" });
  // With a VPID, exit and entry alone drop nothing: the fault has.
  expect(walks.step(LOAD, page)).toBe(4);
  expect(walks.step(LOAD, page + 4096n)).toBe(1);
});

test("a new EPT hierarchy has no cached entries of the old", () => {
  const walks = new Walks(4, 4, true);
  walks.step(LOAD, TARGET);
  expect(walks.step(LOAD, NEXT_PAGE)).toBe(2);
  walks.cpu.core.exports.dropContextsOfEpt(0n);
  walks.cpu.core.exports.updateContext();
  expect(walks.step(LOAD, NEXT_PAGE)).toBeGreaterThan(2);
});
