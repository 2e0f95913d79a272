/** The hypervisor's VMREAD and VMWRITE: fields of one VMCS region in RAM, by their encoding. */
import type { StateMemory } from "../layout/struct.ts";
import {
  ALWAYS_CHECKED,
  VMCS_FIELDS_END,
  VMCS_DIRTY_AT,
  VMCS_REVISION,
  VMCS_REVISION_AT,
  VmcsField,
  vmcsFieldOffset,
} from "../layout/vmx.ts";

// Fields that every exit touches, as 32-bit words from the region's start.
const wordOf = (field: number): number => vmcsFieldOffset(field) >>> 2;
const EXIT_REASON = wordOf(VmcsField.EXIT_REASON);
const EXIT_INSTRUCTION_LENGTH = wordOf(VmcsField.EXIT_INSTRUCTION_LENGTH);
const GUEST_CR4 = wordOf(VmcsField.GUEST_CR4);
const GUEST_RIP = wordOf(VmcsField.GUEST_RIP);
const GUEST_RFLAGS = wordOf(VmcsField.GUEST_RFLAGS);
const GUEST_DEBUGCTL = wordOf(VmcsField.GUEST_DEBUGCTL);
const GUEST_PENDING_DEBUG = wordOf(VmcsField.GUEST_PENDING_DEBUG);
const GUEST_INTERRUPTIBILITY = wordOf(VmcsField.GUEST_INTERRUPTIBILITY);
const PRIMARY_CONTROLS = wordOf(VmcsField.PRIMARY_CONTROLS);

const BLOCKING_STI_MOVSS = 3;
const RFLAGS_TF = 0x100;
/** IA32_DEBUGCTL: the trap flag traps behind taken branches alone. */
const DEBUGCTL_BTF = 2;
/** BS in the pending debug exceptions. */
const PENDING_SINGLE_STEP = 1 << 14;
/** 1 for each slot of the region (offset / 8) whose writing makes the entry checks necessary again. */
const MAKES_DIRTY = new Uint8Array(VMCS_FIELDS_END / 8).fill(1);
for (const field of ALWAYS_CHECKED) MAKES_DIRTY[vmcsFieldOffset(field) >>> 3] = 0;

export class Vmcs {
  readonly #u32: Uint32Array;
  readonly #u64: BigUint64Array;
  readonly #at: number;
  /** The same as index of 32-bit words. */
  readonly #region: number;

  /** @param at wasm offset of the 4-KByte region */
  constructor(memory: StateMemory, at: number) {
    this.#u32 = memory.u32;
    this.#u64 = memory.u64;
    this.#at = at;
    this.#region = at >>> 2;
  }

  /** Wasm offset of the region: what the CPU block's `vmcs` holds when this is current. */
  get offset(): number {
    return this.#at;
  }

  /** VMCLEAR: an empty region with the revision identifier. */
  clear(): void {
    this.#u32.fill(0, this.#at >>> 2, (this.#at + 4096) >>> 2);
    this.#u32[(this.#at + VMCS_REVISION_AT) >>> 2] = VMCS_REVISION;
    this.#u32[(this.#at + VMCS_DIRTY_AT) >>> 2] = 1;
  }

  /** Low 32 bits of a field. */
  read32(field: number): number {
    return this.#u32[(this.#at + vmcsFieldOffset(field)) >>> 2]!;
  }

  /** A field whose value is below 2^53 (addresses, lengths); above, precision is lost. */
  read(field: number): number {
    const index = (this.#at + vmcsFieldOffset(field)) >>> 2;
    return this.#u32[index + 1]! * 4294967296 + this.#u32[index]!;
  }

  readBig(field: number): bigint {
    return this.#u64[(this.#at + vmcsFieldOffset(field)) >>> 3]!;
  }

  /** Writes a field from a number below 2^53. */
  write(field: number, value: number): void {
    const offset = vmcsFieldOffset(field);
    const index = (this.#at + offset) >>> 2;
    this.#u32[index] = value >>> 0;
    this.#u32[index + 1] = (value / 4294967296) >>> 0;
    this.#markDirty(offset);
  }

  writeBig(field: number, value: bigint): void {
    const offset = vmcsFieldOffset(field);
    this.#u64[(this.#at + offset) >>> 3] = BigInt.asUintN(64, value);
    this.#markDirty(offset);
  }

  /** The basic exit reason. */
  get exitReason(): number {
    return this.#u32[this.#region + EXIT_REASON]! & 0xffff;
  }

  /** Low half of the guest's CR4. */
  get guestCr4(): number {
    return this.#u32[this.#region + GUEST_CR4]!;
  }

  /** The primary processor-based controls. */
  get primaryControls(): number {
    return this.#u32[this.#region + PRIMARY_CONTROLS]!;
  }

  /**
   * Moves guest RIP past the instruction that exited, and ends blocking by STI or MOV SS. Under the trap flag its single-step
   * trap becomes a pending debug exception.
   */
  skipInstruction(is64: boolean): void {
    const words = this.#u32;
    const at = this.#region + GUEST_RIP;
    const low = words[at]! + words[this.#region + EXIT_INSTRUCTION_LENGTH]!;
    words[at] = low;
    if (low > 0xffffffff) words[at + 1] = words[at + 1]! + 1;
    if (!is64) words[at + 1] = 0;
    words[this.#region + GUEST_INTERRUPTIBILITY]! &= ~BLOCKING_STI_MOVSS;
    // What is skipped is no branch.
    const isStepping = (words[this.#region + GUEST_DEBUGCTL]! & DEBUGCTL_BTF) === 0;
    if (isStepping && (words[this.#region + GUEST_RFLAGS]! & RFLAGS_TF) !== 0)
      words[this.#region + GUEST_PENDING_DEBUG]! |= PENDING_SINGLE_STEP;
  }

  #markDirty(offset: number): void {
    if (MAKES_DIRTY[offset >>> 3] !== 0) this.#u32[(this.#at + VMCS_DIRTY_AT) >>> 2] = 1;
  }
}
