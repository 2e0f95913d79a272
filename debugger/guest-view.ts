/**
 * A virtual CPU as a debugger sees it: registers, mode, and memory by guest-physical and linear address. Looking changes
 * nothing: no accessed bits, no TLB entries, no faults.
 *
 * Between exits the guest's state is in the VMCS (SDM Vol. 3C, "Guest-State Area"); of a virtual CPU that is in the
 * guest, in its physical CPU's block.
 */
import { walkGuest } from "../hypervisor/guest-walk.ts";
import type { Vcpu } from "../hypervisor/vcpu.ts";
import { VmcsField as F } from "../layout/vmx.ts";

export const GENERAL_REGISTERS = [
  "rax",
  "rcx",
  "rdx",
  "rbx",
  "rsp",
  "rbp",
  "rsi",
  "rdi",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
] as const;
export const SEGMENT_REGISTERS = ["es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"] as const;

export interface SegmentView {
  readonly selector: number;
  readonly base: bigint;
  readonly limit: number;
  /** Access rights in the VMCS format. */
  readonly rights: number;
}

export interface RegistersView {
  /** In the order of GENERAL_REGISTERS. */
  readonly general: readonly bigint[];
  readonly rip: bigint;
  readonly rflags: bigint;
  /** As the guest reads them: host-owned bits come from the read shadows. */
  readonly cr0: bigint;
  readonly cr2: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  /** In the order of SEGMENT_REGISTERS. */
  readonly segments: readonly SegmentView[];
  readonly gdtr: { readonly base: bigint; readonly limit: number };
  readonly idtr: { readonly base: bigint; readonly limit: number };
}

const CS = 1;
const SS = 2;
const CR0_PE = 1n;
const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const EFER_LMA = 1n << 10n;
const RFLAGS_VM = 1n << 17n;
const RIGHTS_UNUSABLE = 1 << 16;
const RIGHTS_L = 1 << 13;
const RIGHTS_D = 1 << 14;
const PAGE = 4096;

export class GuestView {
  readonly vcpu: Vcpu;

  constructor(vcpu: Vcpu) {
    this.vcpu = vcpu;
  }

  registers(): RegistersView {
    return this.vcpu.isInGuest ? this.#fromCpu() : this.#fromVmcs();
  }

  #fromVmcs(): RegistersView {
    const { vmcs, core } = this.vcpu;
    const field = (encoding: number): bigint => vmcs.readBig(encoding);
    const shadowed = (value: bigint, mask: bigint, shadow: bigint): bigint =>
      (value & ~mask) | (shadow & mask);
    const general = Array.from(core.state.gpr);
    general[4] = field(F.GUEST_RSP);
    return {
      general,
      rip: field(F.GUEST_RIP),
      rflags: field(F.GUEST_RFLAGS),
      cr0: shadowed(field(F.GUEST_CR0), field(F.CR0_MASK), field(F.CR0_READ_SHADOW)),
      cr2: core.state.cr2,
      cr3: field(F.GUEST_CR3),
      cr4: shadowed(field(F.GUEST_CR4), field(F.CR4_MASK), field(F.CR4_READ_SHADOW)),
      efer: field(F.GUEST_EFER),
      segments: SEGMENT_REGISTERS.map((_, i) => ({
        selector: vmcs.read32(F.GUEST_ES_SELECTOR + 2 * i),
        base: field(F.GUEST_ES_BASE + 2 * i),
        limit: vmcs.read32(F.GUEST_ES_LIMIT + 2 * i),
        rights: vmcs.read32(F.GUEST_ES_ACCESS_RIGHTS + 2 * i),
      })),
      gdtr: { base: field(F.GUEST_GDTR_BASE), limit: vmcs.read32(F.GUEST_GDTR_LIMIT) },
      idtr: { base: field(F.GUEST_IDTR_BASE), limit: vmcs.read32(F.GUEST_IDTR_LIMIT) },
    };
  }

  #fromCpu(): RegistersView {
    const { state, exports } = this.vcpu.core;
    const shadowed = (value: bigint, mask: bigint, shadow: bigint): bigint =>
      (value & ~mask) | (shadow & mask);
    return {
      general: Array.from(state.gpr),
      rip: state.rip,
      rflags: exports.getFlags(),
      cr0: shadowed(state.cr0, state.cr0Mask, state.cr0Shadow),
      cr2: state.cr2,
      cr3: state.cr3,
      cr4: shadowed(state.cr4, state.cr4Mask, state.cr4Shadow),
      efer: state.efer,
      segments: SEGMENT_REGISTERS.map((_, i) => ({
        selector: Number(state.segSelector[i]),
        base: state.segBase[i]!,
        limit: Number(state.segLimit[i]),
        rights: Number(state.segRights[i]),
      })),
      gdtr: { base: state.gdtrBase, limit: Number(state.gdtrLimit) },
      idtr: { base: state.idtrBase, limit: Number(state.idtrLimit) },
    };
  }

  /** Operand size of the guest's code: 16, 32 or 64. */
  codeBits(registers = this.registers()): 16 | 32 | 64 {
    const { rights } = registers.segments[CS]!;
    if ((registers.efer & EFER_LMA) !== 0n && (rights & RIGHTS_L) !== 0) return 64;
    return (rights & RIGHTS_D) !== 0 ? 32 : 16;
  }

  /** Operating mode by the manual's name, with the privilege level. */
  mode(registers = this.registers()): string {
    if ((registers.cr0 & CR0_PE) === 0n) return "real-address mode";
    if ((registers.rflags & RFLAGS_VM) !== 0n) return "virtual-8086 mode, CPL 3";
    const ss = registers.segments[SS]!;
    const cpl = (ss.rights & RIGHTS_UNUSABLE) !== 0 ? 0 : (ss.rights >>> 5) & 3;
    if ((registers.efer & EFER_LMA) === 0n) return `protected mode, CPL ${cpl}`;
    return `${this.codeBits(registers) === 64 ? "64-bit" : "compatibility"} mode, CPL ${cpl}`;
  }

  /** Linear address of an offset in the code segment. */
  codeAddress(rip: bigint, registers = this.registers()): bigint {
    const bits = this.codeBits(registers);
    return bits === 64 ? BigInt.asUintN(64, rip) : (registers.segments[CS]!.base + rip) & 0xffffffffn;
  }

  /** Guest-physical address of a linear one, by the paging mode in force; undefined where nothing is mapped. */
  translate(linear: bigint): number | undefined {
    const { cr0, cr3, cr4, efer } = this.registers();
    const read = (address: number): bigint | undefined => this.vcpu.vm.memory.read64(address);
    if ((cr0 & CR0_PG) === 0n || (efer & EFER_LMA) !== 0n)
      return walkGuest(
        read,
        { cr0: Number(cr0 & 0xffffffffn), cr3, cr4: Number(cr4 & 0xffffffffn), efer },
        linear,
      );
    const address = linear & 0xffffffffn;
    return (cr4 & CR4_PAE) !== 0n
      ? walkPae(read, cr3, address)
      : walk32Bit(read, cr3, address, (cr4 & CR4_PSE) !== 0n);
  }

  /** Bytes of guest RAM at a guest-physical address: as many of `length` as there are before something else begins. */
  readPhysical(address: number, length: number): Uint8Array {
    return gather(length, (done) => ({
      room: PAGE - ((address + done) % PAGE),
      read: (count) => this.vcpu.vm.memory.read(address + done, count),
    }));
  }

  /** As `readPhysical`, by linear address. */
  readLinear(address: bigint, length: number): Uint8Array {
    return gather(length, (done) => {
      const linear = BigInt.asUintN(64, address + BigInt(done));
      const physical = this.translate(linear);
      return {
        room: PAGE - Number(linear & 0xfffn),
        read: (count) => (physical === undefined ? undefined : this.vcpu.vm.memory.read(physical, count)),
      };
    });
  }
}

/** Reads page by page until `length` bytes are there or a page cannot be read. */
function gather(
  length: number,
  pieceAt: (done: number) => { room: number; read(count: number): Uint8Array | undefined },
): Uint8Array {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const page = pieceAt(done);
    const piece = page.read(Math.min(page.room, length - done));
    if (piece === undefined) break;
    bytes.set(piece, done);
    done += piece.length;
  }
  return bytes.subarray(0, done);
}

type Read64 = (address: number) => bigint | undefined;

/** SDM Vol. 3A, "PAE Paging". The PDPTE registers are taken from memory, where CR3 points. */
function walkPae(read: Read64, cr3: bigint, linear: bigint): number | undefined {
  const frame = 0x000ffffffffff000n;
  const directory = read(Number((cr3 & 0xffffffe0n) + (linear >> 30n) * 8n));
  if (directory === undefined || (directory & 1n) === 0n) return undefined;
  const pde = read(Number((directory & frame) + ((linear >> 21n) & 511n) * 8n));
  if (pde === undefined || (pde & 1n) === 0n) return undefined;
  if ((pde & 0x80n) !== 0n) return Number((pde & frame & ~0x1fffffn) | (linear & 0x1fffffn));
  const pte = read(Number((pde & frame) + ((linear >> 12n) & 511n) * 8n));
  if (pte === undefined || (pte & 1n) === 0n) return undefined;
  return Number((pte & frame) | (linear & 0xfffn));
}

/** SDM Vol. 3A, "32-Bit Paging", with 4-MByte pages where CR4.PSE allows them (without PSE-36). */
function walk32Bit(read: Read64, cr3: bigint, linear: bigint, pse: boolean): number | undefined {
  const entry = (address: bigint): bigint | undefined => {
    const pair = read(Number(address & ~7n));
    return pair === undefined ? undefined : (pair >> ((address & 4n) * 8n)) & 0xffffffffn;
  };
  const pde = entry((cr3 & 0xfffff000n) + (linear >> 22n) * 4n);
  if (pde === undefined || (pde & 1n) === 0n) return undefined;
  if (pse && (pde & 0x80n) !== 0n) return Number((pde & 0xffc00000n) | (linear & 0x3fffffn));
  const pte = entry((pde & 0xfffff000n) + ((linear >> 12n) & 1023n) * 4n);
  if (pte === undefined || (pte & 1n) === 0n) return undefined;
  return Number((pte & 0xfffff000n) | (linear & 0xfffn));
}
