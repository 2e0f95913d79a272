/**
 * Exitless interrupts: the shadow IDT. The guest keeps its IDTR; the guest-physical page of its IDT is mapped by
 * EPT to a copy in which only exceptions and the assigned vectors are present. The page is mapped read-only, so that
 * the guest's writes to it exit, are made to the real page by the instruction emulator, and are copied.
 *
 * What a data read of the page sees in other vectors' gates is the cleared present bit (docs/known-gaps.md).
 */
import type { MachineMemory } from "../emulator/host/core.ts";
import { array, struct, u32, u53, u8, type StateAllocator, type ViewOf } from "../layout/struct.ts";
import type { ExtendedPageTables } from "./ept.ts";

const PAGE = 4096;
const GATE_BYTES = 16;
const GATE_PRESENT_BYTE = 5;
const FIRST_EXTERNAL_VECTOR = 32;
const EPT_READ_EXECUTE = 5;

export const ShadowIdtStruct = struct("ShadowIdt", {
  /** Guest-physical address of the page that holds the IDT; valid when `known`. */
  guestPage: u53,
  /** Offset of vector 0 in the page. */
  offset: u32,
  limit: u32,
  known: u8,
  /** The shadow page is mapped now. */
  mapped: u8,
  /** The copy must be made again. */
  stale: u8,
  /** Vectors delivered straight to the guest, one bit each. */
  assigned: array("u32", 8),
});

export class ShadowIdt {
  readonly state: ViewOf<typeof ShadowIdtStruct>;
  readonly #memory: MachineMemory;
  readonly #ept: ExtendedPageTables;
  readonly #shadowPage: number;
  readonly #machineAddress: (guestPhysical: number) => number;

  /** @param shadowPage machine-physical page of the hypervisor's own */
  constructor(
    state: StateAllocator,
    label: string,
    memory: MachineMemory,
    ept: ExtendedPageTables,
    shadowPage: number,
    machineAddress: (guestPhysical: number) => number,
  ) {
    this.state = state.place(`${label} shadow IDT`, ShadowIdtStruct);
    this.#memory = memory;
    this.#ept = ept;
    this.#shadowPage = shadowPage;
    this.#machineAddress = machineAddress;
  }

  reset(): void {
    const s = this.state;
    s.known = 0;
    s.mapped = 0;
    s.stale = 0;
    s.assigned.fill(0);
  }

  isAssigned(vector: number): boolean {
    return ((this.state.assigned[vector >> 5]! >>> (vector & 31)) & 1) !== 0;
  }

  /** Lets a vector go straight to the guest. */
  assign(vector: number): void {
    if (vector < FIRST_EXTERNAL_VECTOR || this.isAssigned(vector)) return;
    this.state.assigned[vector >> 5]! |= 1 << (vector & 31);
    this.state.stale = 1;
  }

  /** The guest loaded an IDTR (or its tables changed): where the IDT is now, or undefined when it cannot be shadowed. */
  locate(guestPhysical: number | undefined, limit: number): void {
    this.unmap();
    const s = this.state;
    // An IDT that crosses a page is not shadowed: its interrupts are injected.
    const fits = guestPhysical !== undefined && (guestPhysical % PAGE) + limit < PAGE;
    s.known = fits ? 1 : 0;
    if (!fits) return;
    s.guestPage = guestPhysical - (guestPhysical % PAGE);
    s.offset = guestPhysical % PAGE;
    s.limit = limit;
    s.stale = 1;
  }

  /** True when the page is the guest's IDT page. */
  covers(guestPhysical: number): boolean {
    return this.state.known !== 0 && guestPhysical - (guestPhysical % PAGE) === this.state.guestPage;
  }

  /** The guest wrote to its IDT's page. */
  written(): void {
    this.state.stale = 1;
  }

  #rebuild(): void {
    const s = this.state;
    const bytes = this.#memory.state.bytes;
    const from = this.#memory.ramOffset(this.#machineAddress(s.guestPage), PAGE);
    const to = this.#memory.ramOffset(this.#shadowPage, PAGE);
    bytes.copyWithin(to, from, from + PAGE);
    for (let vector = FIRST_EXTERNAL_VECTOR; vector < 256; vector++) {
      const gate = vector * GATE_BYTES;
      if (gate + GATE_BYTES - 1 > s.limit) break;
      if (!this.isAssigned(vector)) bytes[to + s.offset + gate + GATE_PRESENT_BYTE]! &= 0x7f;
    }
    s.stale = 0;
  }

  /** Maps the shadow page; true when a TLB flush is needed. */
  map(): boolean {
    const s = this.state;
    if (s.stale !== 0) this.#rebuild();
    if (s.mapped !== 0) return false;
    s.mapped = 1;
    this.#ept.map(s.guestPage, this.#shadowPage, EPT_READ_EXECUTE);
    return true;
  }

  /** Maps the guest's own page again; true when a TLB flush is needed. */
  unmap(): boolean {
    const s = this.state;
    if (s.mapped === 0) return false;
    s.mapped = 0;
    this.#ept.map(s.guestPage, this.#machineAddress(s.guestPage));
    return true;
  }
}
