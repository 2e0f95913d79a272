/** A VM's extended page tables, built in RAM with 4-KByte pages as they are first touched. */
import type { MachineMemory } from "../emulator/host/core.ts";
import { struct, u32, u53, type StateAllocator, type ViewOf } from "../layout/struct.ts";

const PAGE = 4096;
/** What a leaf allows. */
export const EptRights = { READ: 1, WRITE: 2, EXECUTE: 4, ALL: 7 } as const;
const RIGHTS_ALL = EptRights.ALL;
/** Write-back memory type in a leaf. */
const LEAF_WRITE_BACK = 6 << 3;

export const EptPagesStruct = struct("EptPages", { next: u53, end: u53, root: u53, mapped: u32 });

export class ExtendedPageTables {
  readonly #memory: MachineMemory;
  readonly #state: ViewOf<typeof EptPagesStruct>;
  readonly #start: number;
  readonly #end: number;

  /** Tables are taken from machine-physical [start, end), which the hypervisor keeps for itself. */
  constructor(memory: MachineMemory, state: StateAllocator, label: string, start: number, end: number) {
    this.#memory = memory;
    this.#state = state.place(`${label} EPT`, EptPagesStruct);
    this.#start = start;
    this.#end = end;
  }

  /** Pages that tables for `ramBytes` of guest memory and as many device pages can need at most. */
  static pagesFor(ramBytes: number): number {
    return Math.ceil(ramBytes / (512 * PAGE)) + 16;
  }

  reset(): void {
    this.#state.next = this.#start;
    this.#state.end = this.#end;
    this.#state.mapped = 0;
    this.#state.root = this.#newTable();
  }

  /** EPT pointer: write-back, 4 levels. */
  get pointer(): number {
    return this.#state.root | (3 << 3) | 6;
  }

  /** 4-KByte pages mapped. */
  get mappedPages(): number {
    return this.#state.mapped;
  }

  #newTable(): number {
    const at = this.#state.next;
    if (at + PAGE > this.#end) throw new RangeError("EPT: no page left for tables");
    this.#state.next = at + PAGE;
    const offset = this.#memory.ramOffset(at, PAGE);
    this.#memory.state.bytes.fill(0, offset, offset + PAGE);
    return at;
  }

  /** u32 index of the low half of the leaf entry, making tables on the way. */
  #leaf(guestPhysical: number): number {
    const u32 = this.#memory.state.u32;
    let table = this.#state.root;
    for (let level = 3; level > 0; level--) {
      const index = Math.floor(guestPhysical / 2 ** (12 + 9 * level)) % 512;
      const at = this.#memory.ramOffset(table + index * 8, 8) >>> 2;
      if ((u32[at]! & RIGHTS_ALL) === 0) {
        const next = this.#newTable();
        u32[at] = (next | RIGHTS_ALL) >>> 0;
        u32[at + 1] = 0;
      }
      table = (u32[at]! & 0xfffff000) >>> 0;
    }
    return this.#memory.ramOffset(table + (Math.floor(guestPhysical / PAGE) % 512) * 8, 8) >>> 2;
  }

  /** Maps one page. Machine-physical addresses are below 4 GiB: all RAM of the machine is. */
  map(guestPhysical: number, machinePhysical: number, rights: number = RIGHTS_ALL): void {
    const at = this.#leaf(guestPhysical);
    const u32 = this.#memory.state.u32;
    if ((u32[at]! & RIGHTS_ALL) === 0) this.#state.mapped++;
    u32[at] = ((machinePhysical & 0xfffff000) | rights | LEAF_WRITE_BACK) >>> 0;
    u32[at + 1] = 0;
  }

  /** Removes one page's mapping; the caller flushes the TLBs. */
  unmap(guestPhysical: number): void {
    const at = this.#leaf(guestPhysical);
    const u32 = this.#memory.state.u32;
    if ((u32[at]! & RIGHTS_ALL) !== 0) this.#state.mapped--;
    u32[at] = 0;
    u32[at + 1] = 0;
  }
}
