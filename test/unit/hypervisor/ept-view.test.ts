/** Views of a VM's extended page tables: one page of a virtual CPU's own, all others shared. */
import { beforeEach, describe, expect, test } from "vitest";
import { MachineMemory } from "../../../emulator/host/core.ts";
import { ExtendedPageTables, type EptView } from "../../../hypervisor/ept.ts";
import { planMemory } from "../../../layout/memory-map.ts";
import { StateAllocator } from "../../../layout/struct.ts";

const PAGE = 4096;
const RAM = 2 << 20;
const TABLES = 0x100000;
const VIEWS = 0x1c0000;
const RIGHTS = 7;
const READ_EXECUTE = 5;
/** The page that differs; one in the same page table; others that share its directory, its 512 GiB, and nothing. */
const IDT = 0x40001000;
const NEIGHBOURS = [0x40002000, 0x40200000, 0x100000, 0x8000000000];

let memory: MachineMemory;
let tables: ExtendedPageTables;
let first: EptView;
let second: EptView;

beforeEach(() => {
  const plan = planMemory({ cpus: 1, ramBytes: RAM, stateBytes: 65536, recordBytes: 65536 });
  memory = MachineMemory.create(plan, false);
  const state = new StateAllocator(memory.state, plan.stateBase, plan.stateEnd);
  tables = new ExtendedPageTables(memory, state, "vm", TABLES, VIEWS);
  first = tables.view(state, "vCPU 0", VIEWS);
  second = tables.view(state, "vCPU 1", VIEWS + 4 * PAGE);
  tables.reset();
});

/** {machine page, rights} of an address by walking, as the processor would; undefined where it is not mapped. */
function walk(pointer: number, guestPhysical: number): { page: number; rights: number } | undefined {
  let table = pointer - (pointer % PAGE);
  for (let level = 3; ; level--) {
    const index = Math.floor(guestPhysical / 2 ** (12 + 9 * level)) % 512;
    const entry = memory.state.u32[memory.ramOffset(table + index * 8, 8) >>> 2]!;
    if ((entry & 7) === 0) return undefined;
    if (level === 0) return { page: (entry & 0xfffff000) >>> 0, rights: entry & 7 };
    table = (entry & 0xfffff000) >>> 0;
  }
}

describe.each([
  ["before", true],
  ["after", false],
])("pages mapped %s the view has a page of its own", (_, isBefore) => {
  test("are the same in all views, but for that page", () => {
    const mapAll = (): void => NEIGHBOURS.forEach((at, i) => tables.map(at, (i + 1) * PAGE));
    tables.map(IDT, 0x50000);
    if (isBefore) mapAll();
    first.own(IDT);
    first.set(0x60000, READ_EXECUTE);
    if (!isBefore) mapAll();
    for (const { pointer } of [tables, first, second])
      NEIGHBOURS.forEach((at, i) =>
        expect(walk(pointer, at)).toEqual({ page: (i + 1) * PAGE, rights: RIGHTS }),
      );
    expect(walk(first.pointer, IDT)).toEqual({ page: 0x60000, rights: READ_EXECUTE });
    expect(walk(second.pointer, IDT)).toEqual({ page: 0x50000, rights: RIGHTS });
    tables.unmap(NEIGHBOURS[0]!);
    tables.unmap(NEIGHBOURS[2]!);
    for (const { pointer } of [first, second])
      expect(NEIGHBOURS.map((at) => walk(pointer, at) !== undefined)).toEqual([false, true, false, true]);
  });
});

test("a page of one's own that moves leaves the old one as the others see it", () => {
  tables.map(IDT, 0x50000);
  tables.map(NEIGHBOURS[1]!, 0x51000);
  first.own(IDT);
  first.set(0x60000, READ_EXECUTE);
  first.own(NEIGHBOURS[1]!);
  first.set(0x61000, READ_EXECUTE);
  expect(walk(first.pointer, IDT)).toEqual({ page: 0x50000, rights: RIGHTS });
  expect(walk(first.pointer, NEIGHBOURS[1]!)).toEqual({ page: 0x61000, rights: READ_EXECUTE });
  first.forget();
  expect(walk(first.pointer, NEIGHBOURS[1]!)).toEqual({ page: 0x51000, rights: RIGHTS });
});
