/** A VM's extended page tables, built in RAM with 4-KByte pages as they are first touched. */
import type { MachineMemory } from "../emulator/host/core.ts";
import { struct, u32, u53, type StateAllocator, type ViewOf } from "../layout/struct.ts";

const PAGE = 4096;
/** What a leaf allows. */
export const EptRights = { READ: 1, WRITE: 2, EXECUTE: 4, ALL: 7 } as const;
const RIGHTS_ALL = EptRights.ALL;
/** Write-back memory type in a leaf. */
const LEAF_WRITE_BACK = 6 << 3;

/** Index in a table of `level` (3: the root) of the entry for an address. */
const indexOf = (guestPhysical: number, level: number): number =>
  Math.floor(guestPhysical / 2 ** (12 + 9 * level)) % 512;

export const EptPagesStruct = struct("EptPages", { next: u53, end: u53, root: u53, mapped: u32 });

export class ExtendedPageTables {
  readonly #memory: MachineMemory;
  readonly #state: ViewOf<typeof EptPagesStruct>;
  readonly #start: number;
  readonly #end: number;
  readonly #views: EptView[] = [];

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
    for (const view of this.#views) view.forget();
  }

  /** A virtual CPU's own view, in pages that the hypervisor keeps for it: EptView.PAGES of them from `at` on. */
  view(state: StateAllocator, label: string, at: number): EptView {
    const view = new EptView(this.#memory, this, state, label, at);
    this.#views.push(view);
    return view;
  }

  /** The tables on the way to an address, made where they are missing: the root last, as level 3. */
  tablesTo(guestPhysical: number): readonly number[] {
    this.#leaf(guestPhysical);
    const tables = [0, 0, 0, this.#state.root];
    for (let level = 3; level > 0; level--) {
      const at = this.#memory.ramOffset(tables[level]! + indexOf(guestPhysical, level) * 8, 8) >>> 2;
      tables[level - 1] = (this.#memory.state.u32[at]! & 0xfffff000) >>> 0;
    }
    return tables;
  }

  /** The root table. */
  get root(): number {
    return this.#state.root;
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
      const at = this.#memory.ramOffset(table + indexOf(guestPhysical, level) * 8, 8) >>> 2;
      if ((u32[at]! & RIGHTS_ALL) === 0) {
        const next = this.#newTable();
        u32[at] = (next | RIGHTS_ALL) >>> 0;
        u32[at + 1] = 0;
      }
      table = (u32[at]! & 0xfffff000) >>> 0;
    }
    return this.#memory.ramOffset(table + indexOf(guestPhysical, 0) * 8, 8) >>> 2;
  }

  /** Maps one page. Machine-physical addresses are below 4 GiB: all RAM of the machine is. */
  map(guestPhysical: number, machinePhysical: number, rights: number = RIGHTS_ALL): void {
    const at = this.#leaf(guestPhysical);
    const u32 = this.#memory.state.u32;
    if ((u32[at]! & RIGHTS_ALL) === 0) this.#state.mapped++;
    u32[at] = ((machinePhysical & 0xfffff000) | rights | LEAF_WRITE_BACK) >>> 0;
    u32[at + 1] = 0;
    for (const view of this.#views) view.follow(guestPhysical);
  }

  /** Removes one page's mapping; the caller flushes the TLBs. */
  unmap(guestPhysical: number): void {
    const at = this.#leaf(guestPhysical);
    const u32 = this.#memory.state.u32;
    if ((u32[at]! & RIGHTS_ALL) !== 0) this.#state.mapped--;
    u32[at] = 0;
    u32[at + 1] = 0;
    for (const view of this.#views) view.follow(guestPhysical);
  }
}

export const EptViewStruct = struct("EptView", { page: u53, known: u32 });

/**
 * One virtual CPU's view of a VM's tables, which differs from the others' in one page: it has tables of its own on the way
 * to that page, and shares all the rest. Whoever changes a view flushes that CPU's TLB.
 */
export class EptView {
  /** A table a level. */
  static readonly PAGES = 4;
  readonly #memory: MachineMemory;
  readonly #tables: ExtendedPageTables;
  readonly #state: ViewOf<typeof EptViewStruct>;
  readonly #at: number;

  constructor(
    memory: MachineMemory,
    tables: ExtendedPageTables,
    state: StateAllocator,
    label: string,
    at: number,
  ) {
    this.#memory = memory;
    this.#tables = tables;
    this.#state = state.place(`${label} EPT view`, EptViewStruct);
    this.#at = at;
  }

  get pointer(): number {
    return this.#own(3) | (3 << 3) | 6;
  }

  /** The view's own table of a level. */
  #own(level: number): number {
    return this.#at + level * PAGE;
  }

  #copyTable(from: number, level: number): void {
    const { bytes } = this.#memory.state;
    const source = this.#memory.ramOffset(from, PAGE);
    bytes.copyWithin(this.#memory.ramOffset(this.#own(level), PAGE), source, source + PAGE);
  }

  #setEntry(level: number, guestPhysical: number, value: number): void {
    const at = this.#memory.ramOffset(this.#own(level) + indexOf(guestPhysical, level) * 8, 8) >>> 2;
    this.#memory.state.u32[at] = value;
    this.#memory.state.u32[at + 1] = 0;
  }

  /** As the VM's own tables everywhere. */
  forget(): void {
    this.#state.known = 0;
    this.#copyTable(this.#tables.root, 3);
  }

  /** From now on `set` says what this CPU sees at a page. */
  own(page: number): void {
    this.forget();
    this.#tables.tablesTo(page).forEach((table, level) => this.#copyTable(table, level));
    for (let level = 3; level > 0; level--)
      this.#setEntry(level, page, (this.#own(level - 1) | RIGHTS_ALL) >>> 0);
    this.#state.page = page;
    this.#state.known = 1;
  }

  /** Maps the page that is this view's own. */
  set(machinePhysical: number, rights: number): void {
    const leaf = ((machinePhysical & 0xfffff000) | rights | LEAF_WRITE_BACK) >>> 0;
    this.#setEntry(0, this.#state.page, leaf);
  }

  /** The VM's tables have changed at an address: so do this view's. */
  follow(guestPhysical: number): void {
    const { known, page } = this.#state;
    const tables = this.#tables.tablesTo(guestPhysical);
    for (let level = 3; level >= 0; level--) {
      const index = indexOf(guestPhysical, level);
      const isOwn = known !== 0 && index === indexOf(page, level);
      if (isOwn && level > 0) continue;
      const from = this.#memory.ramOffset(tables[level]! + index * 8, 8) >>> 2;
      if (!isOwn) this.#setEntry(level, guestPhysical, this.#memory.state.u32[from]!);
      return;
    }
  }
}
