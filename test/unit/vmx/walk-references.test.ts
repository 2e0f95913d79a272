/**
 * How many paging-structure entries a TLB miss reads with nested paging: SDM Vol. 3C, "EPT Translation Mechanism" (each entry of the guest's
 * tables is at a guest-physical address, which EPT translates first).
 */
import { expect, test } from "vitest";
import * as X from "../../../layout/vmx.ts";
import { PAGE, VmxCpu } from "../../../bench/vmx/vmx-cpu.ts";

const F = X.VmcsField;
// nop; mov eax, [rcx]; hlt
const CODE = [0x90, 0x8b, 0x01, 0xf4];
const GUEST_PAGE_TABLE = 0x30000;
const EPT_PAGE_TABLE = 0x31000;
const LARGE = 0x80n;
/** Set before, so that no entry has to be written. */
const ACCESSED = 0x20n;

/** References of the load at 3 MBytes; `levels` are those of the guest's tables and of EPT's: 4 with 4-KByte pages, 3 with 2-MByte. */
function references(guest: 3 | 4, ept: 0 | 3 | 4): number {
  const cpu = new VmxCpu();
  cpu.memory.state.bytes.set(CODE, cpu.offset(PAGE.CODE));
  const target = 0x300000n;
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
      for (let j = 0n; j < 512n; j++) cpu.write64(table + Number(j) * 8, (i * 0x200000n + j * 4096n) | 0x37n);
      cpu.write64(
        PAGE.EPT + 0x2000 + Number(i) * 8,
        ept === 3 ? (i * 0x200000n) | LARGE | 0x37n : BigInt(table) | 7n,
      );
    }
  }
  cpu.core.state.gpr[1] = target;
  expect(cpu.enter()).toEqual({ kind: "entered" });
  const { state, exports } = cpu.core;
  const step = (): void => {
    state.stopAtInstruction = state.instructions + 1;
    exports.run();
  };
  step();
  const before = state.walkReferences;
  step();
  const count = Number(state.walkReferences - before);
  // A second load of the page finds it in the TLB.
  state.rip = BigInt(PAGE.CODE + 1);
  step();
  expect(Number(state.walkReferences - before)).toBe(count);
  return count;
}

test.each([
  [4, 0, 4],
  [3, 0, 3],
  [4, 4, 24],
  [4, 3, 19],
  [3, 4, 19],
  [3, 3, 15],
] as const)("%i levels of the guest and %i of EPT: %i references", (guest, ept, wanted) => {
  expect(references(guest, ept)).toBe(wanted);
});
