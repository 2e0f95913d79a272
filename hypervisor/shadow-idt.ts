/**
 * Exitless interrupts: the shadow IDT. The guest keeps its IDTR; the guest-physical page of its IDT is mapped by
 * EPT to a copy in which only exceptions and the assigned vectors are present. What is mapped is this virtual CPU's alone: others
 * that use the same IDT have copies of their own. The page is never writable, so that the guest's writes to it exit, are made
 * to the real page by the instruction emulator, and are copied.
 *
 * What a data read of the page sees in other vectors' gates is the cleared present bit (docs/known-gaps.md).
 */
import type { MachineMemory } from "../emulator/host/core.ts";
import { array, struct, u32, u53, u8, type StateAllocator, type ViewOf } from "../layout/struct.ts";
import type { EptView } from "./ept.ts";

const PAGE = 4096;
const GATE_BYTES = 16;
const GATE_PRESENT_BYTE = 5;
const FIRST_EXTERNAL_VECTOR = 32;
const EPT_READ_EXECUTE = 5;
const EPT_ALL = 7;

export const ShadowIdtStruct = struct("ShadowIdt", {
  /** Guest-physical address of the page that holds the IDT; valid when `known`. */
  guestPage: u53,
  /** Offset of vector 0 in the page. */
  offset: u32,
  limit: u32,
  known: u8,
  /** MAPPED_: what this CPU sees at the page. */
  mapped: u8,
  /** The copy must be made again. */
  stale: u8,
  /** Vectors delivered straight to the guest, one bit each. */
  assigned: array("u32", 8),
});

const MAPPED_OWN = 0;
const MAPPED_SHADOW = 1;
/** The guest's own page, writable: for a write that is under way. */
const MAPPED_WRITABLE = 2;

export class ShadowIdt {
  readonly state: ViewOf<typeof ShadowIdtStruct>;
  readonly #memory: MachineMemory;
  readonly #view: EptView | undefined;
  readonly #shadowPage: number;
  readonly #machineAddress: (guestPhysical: number) => number;

  /**
   * @param view undefined: interrupts are never exitless
   * @param shadowPage machine-physical page of the hypervisor's own
   */
  constructor(
    state: StateAllocator,
    label: string,
    memory: MachineMemory,
    view: EptView | undefined,
    shadowPage: number,
    machineAddress: (guestPhysical: number) => number,
  ) {
    this.state = state.place(`${label} shadow IDT`, ShadowIdtStruct);
    this.#memory = memory;
    this.#view = view;
    this.#shadowPage = shadowPage;
    this.#machineAddress = machineAddress;
  }

  reset(): void {
    const s = this.state;
    s.known = 0;
    s.mapped = MAPPED_OWN;
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
    const s = this.state;
    s.mapped = MAPPED_OWN;
    // An IDT that crosses a page is not shadowed: its interrupts are injected.
    const fits = guestPhysical !== undefined && (guestPhysical % PAGE) + limit < PAGE;
    s.known = fits && this.#view ? 1 : 0;
    if (!fits || !this.#view) {
      this.#view?.forget();
      return;
    }
    s.guestPage = guestPhysical - (guestPhysical % PAGE);
    s.offset = guestPhysical % PAGE;
    s.limit = limit;
    s.stale = 1;
    this.#view.own(s.guestPage);
    this.#view.set(this.#machineAddress(s.guestPage), EPT_READ_EXECUTE);
  }

  /** True when the page is the guest's IDT page. */
  covers(guestPhysical: number): boolean {
    return this.state.known !== 0 && guestPhysical - (guestPhysical % PAGE) === this.state.guestPage;
  }

  /** The guest has written to its IDT's page, on this or another CPU. */
  written(): void {
    this.state.stale = 1;
    if (this.state.mapped === MAPPED_SHADOW) this.#rebuild();
  }

  /** Lets a write to the page that is about to be made again go to the guest's own page. The TLB is to be flushed. */
  allowWrite(): void {
    this.state.mapped = MAPPED_WRITABLE;
    this.#view?.set(this.#machineAddress(this.state.guestPage), EPT_ALL);
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
    // What was written while the page was writable has not been seen.
    if (s.stale !== 0 || s.mapped === MAPPED_WRITABLE) this.#rebuild();
    if (s.mapped === MAPPED_SHADOW) return false;
    s.mapped = MAPPED_SHADOW;
    this.#view!.set(this.#shadowPage, EPT_READ_EXECUTE);
    return true;
  }

  /** Maps the guest's own page again; true when a TLB flush is needed. */
  unmap(): boolean {
    if (this.state.mapped !== MAPPED_SHADOW) return false;
    this.protect();
    return true;
  }

  /** Maps the guest's own page, and catches writes to it. The TLB is to be flushed. */
  protect(): void {
    this.state.mapped = MAPPED_OWN;
    this.#view!.set(this.#machineAddress(this.state.guestPage), EPT_READ_EXECUTE);
  }
}
