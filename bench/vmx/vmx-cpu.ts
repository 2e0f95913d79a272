/**
 * A physical CPU with VMX, alone: a VMCS that VM entry accepts, a guest of one instruction, and what an entry comes to.
 *
 * Root mode is the test's: the CPU is in IA-32e mode as a hypervisor inside the machine would be, and the entry is made through the
 * core's door. The guest is HLT in 64-bit mode behind identity tables (guest and machine addresses are the same, without EPT).
 */
import { readFileSync } from "node:fs";
import { Core, MachineMemory, configureCpu, type CoreHost } from "../../emulator/host/core.ts";
import { cpuModel } from "../../emulator/host/cpu-models.ts";
import { Vmcs } from "../../hypervisor/vmcs.ts";
import { ENTRY_RULES } from "../../layout/vmx-rules.ts";
import { planMemory } from "../../layout/memory-map.ts";
import * as X from "../../layout/vmx.ts";

const F = X.VmcsField;

/** Machine-physical pages. */
export const PAGE = {
  PML4: 0x1000,
  PDPT: 0x2000,
  PD: 0x3000,
  CODE: 0x4000,
  VMCS: 0x5000,
  SHADOW: 0x6000,
  BITMAP: 0x7000,
  VIRTUAL_APIC: 0x8000,
  APIC_ACCESS: 0x9000,
  EPT: 0xa000,
  MSRS: 0xd000,
  POSTED: 0xe000,
  GDT: 0xf000,
  STACK: 0x20000,
} as const;
const RAM_BYTES = 4 << 20;
const RECORD_BYTES = 1 << 20;
const TSC = 2_670_000_000;
const HLT = 0xf4;

const module = new WebAssembly.Module(readFileSync("dist/core.wasm"));

/** No board: every access outside RAM reads as ones. */
const noBoard = (core: () => Core): CoreHost => ({
  portAccess: () => {
    core().state.ioValue = 0xffffffffn;
    return false;
  },
  memoryAccess: () => {
    core().state.ioValue = 0xffffffffffffffffn;
    return false;
  },
  wallClock: () => 0,
  sendInterrupt: () => undefined,
  endOfInterrupt: () => undefined,
  acknowledgeInterrupt: () => 0xff,
  floatError: () => undefined,
  monitoredLineWritten: () => undefined,
});

/** What an entry came to. */
export type EntryOutcome =
  | { readonly kind: "entered" }
  | { readonly kind: "fail-valid"; readonly error: number; readonly rule: string }
  | {
      readonly kind: "failed-entry";
      readonly reason: number;
      readonly qualification: bigint;
      readonly rule: string;
    };

export class VmxCpu {
  readonly core: Core;
  readonly memory: MachineMemory;
  readonly vmcs: Vmcs;

  constructor(options: { readonly added?: readonly string[]; readonly removed?: readonly string[] } = {}) {
    const plan = planMemory({ cpus: 1, ramBytes: RAM_BYTES, stateBytes: 65536, recordBytes: RECORD_BYTES });
    this.memory = MachineMemory.create(plan, false);
    configureCpu(this.memory, 0, {
      clock: "virtual",
      cyclesPerInstruction: 1,
      tscFrequency: TSC,
      recordBytes: RECORD_BYTES,
      ...cpuModel({ ...options, model: "max", cpus: 1, tscFrequency: TSC }),
    });
    this.core = new Core(
      module,
      this.memory,
      0,
      noBoard(() => this.core),
    );
    this.core.exports.resetForPowerOn();
    this.vmcs = new Vmcs(this.memory.state, this.offset(PAGE.VMCS));
    this.reset();
  }

  offset(physical: number): number {
    return this.memory.plan.ramBase + physical;
  }
  write32(physical: number, value: number): void {
    new DataView(this.memory.state.buffer).setUint32(this.offset(physical), value, true);
  }
  read32(physical: number): number {
    return new DataView(this.memory.state.buffer).getUint32(this.offset(physical), true);
  }
  write64(physical: number, value: bigint): void {
    new DataView(this.memory.state.buffer).setBigUint64(this.offset(physical), value, true);
  }

  /** Tables, code, and a VMCS that passes; root mode in IA-32e mode. */
  reset(): void {
    this.memory.state.bytes.fill(0, this.offset(0), this.offset(RAM_BYTES));
    this.write64(PAGE.PML4, BigInt(PAGE.PDPT) | 7n);
    this.write64(PAGE.PDPT, BigInt(PAGE.PD) | 7n);
    this.write64(PAGE.PD, 0x87n);
    this.memory.state.bytes.fill(HLT, this.offset(PAGE.CODE), this.offset(PAGE.CODE) + 16);
    this.memory.state.bytes.fill(0xff, this.offset(PAGE.BITMAP), this.offset(PAGE.BITMAP) + 4096);
    this.write32(PAGE.SHADOW, (X.VMCS_REVISION | 0x80000000) >>> 0);
    // No interrupt requested or in service.
    this.core.state.apicRegister.fill(0);
    this.core.state.nmiPending = 0;
    this.enterRoot();
    this.#fillVmcs();
  }

  /** VMX root operation in IA-32e mode, with the VMCS current. */
  enterRoot(): void {
    const { state } = this.core;
    state.vmxNonRoot = 0;
    state.vmxOn = 1;
    state.hypervisorOutside = 0;
    state.vmcs = this.vmcs.offset;
    state.vmcsPointer = BigInt(PAGE.VMCS);
    state.vmcsKept = 0;
    state.efer = 0x500n;
    state.cr0 = 0x80050033n;
    state.cr4 = 0x2020n;
    state.cr3 = BigInt(PAGE.PML4);
    state.entryPending = 0;
    state.trapExits = 0;
    state.faultVector = -1;
    state.attention = 0;
    this.core.exports.flushBlocks();
    this.core.exports.flushAllContexts();
    this.core.exports.updateMode();
    this.core.exports.updateContext();
  }

  #fillVmcs(): void {
    const v = this.vmcs;
    v.clear();
    v.write(F.PIN_BASED_CONTROLS, X.MustBe1.PIN);
    v.write(
      F.PRIMARY_CONTROLS,
      (X.MustBe1.PRIMARY | X.Primary.HLT_EXITING | X.Primary.SECONDARY_CONTROLS) >>> 0,
    );
    v.write(F.SECONDARY_CONTROLS, 0);
    v.write(F.EXIT_CONTROLS, X.MustBe1.EXIT | X.ExitControl.HOST_ADDRESS_SPACE_SIZE);
    v.write(F.ENTRY_CONTROLS, X.MustBe1.ENTRY | X.EntryControl.IA32E_MODE_GUEST);
    v.writeBig(F.VMCS_LINK_POINTER, 0xffffffffffffffffn);
    for (const [cr0, cr3, cr4] of [
      [F.GUEST_CR0, F.GUEST_CR3, F.GUEST_CR4],
      [F.HOST_CR0, F.HOST_CR3, F.HOST_CR4],
    ] as const) {
      v.write(cr0, 0x80050033);
      v.write(cr3, PAGE.PML4);
      v.write(cr4, 0x2020);
    }
    for (let i = 0; i < 8; i++) {
      v.write(F.GUEST_ES_SELECTOR + 2 * i, 0x10);
      v.write(F.GUEST_ES_LIMIT + 2 * i, 0xffffffff);
      v.write(F.GUEST_ES_ACCESS_RIGHTS + 2 * i, 0xc093);
    }
    v.write(F.GUEST_CS_SELECTOR, 8);
    v.write(F.GUEST_CS_ACCESS_RIGHTS, 0xa09b);
    v.write(F.GUEST_LDTR_ACCESS_RIGHTS, 0x10000);
    v.write(F.GUEST_TR_SELECTOR, 0x18);
    v.write(F.GUEST_TR_LIMIT, 0x67);
    v.write(F.GUEST_TR_ACCESS_RIGHTS, 0x8b);
    v.write(F.GUEST_RIP, PAGE.CODE);
    v.write(F.GUEST_RSP, PAGE.STACK);
    v.write(F.GUEST_RFLAGS, 2);
    v.write(F.GUEST_DR7, 0x400);
    v.write(F.GUEST_EFER, 0x500);
    v.writeBig(F.GUEST_PAT, 0x0007040600070406n);
    v.write(F.HOST_CS_SELECTOR, 8);
    v.write(F.HOST_SS_SELECTOR, 16);
    v.write(F.HOST_TR_SELECTOR, 24);
    v.write(F.HOST_EFER, 0x500);
    v.writeBig(F.HOST_PAT, 0x0007040600070406n);
    v.write(F.HOST_RIP, PAGE.CODE + 8);
    v.write(F.HOST_RSP, PAGE.STACK);
    v.write(F.VIRTUAL_APIC_ADDRESS, PAGE.VIRTUAL_APIC);
    v.write(F.APIC_ACCESS_ADDRESS, PAGE.APIC_ACCESS);
    for (const bitmap of [F.IO_BITMAP_A, F.IO_BITMAP_B, F.MSR_BITMAP, F.VMREAD_BITMAP, F.VMWRITE_BITMAP])
      v.write(bitmap, PAGE.BITMAP);
    v.write(F.EPT_POINTER, PAGE.EPT | (3 << 3) | 6);
    v.write(F.POSTED_INTERRUPT_DESCRIPTOR, PAGE.POSTED);
    v.write(F.VIRTUAL_PROCESSOR_ID, 1);
  }

  /** Sets bits of a field of up to 53 bits. */
  set(field: number, bits: number): void {
    this.vmcs.writeBig(field, this.vmcs.readBig(field) | BigInt(bits));
  }
  clear(field: number, bits: number): void {
    this.vmcs.writeBig(field, this.vmcs.readBig(field) & ~BigInt(bits));
  }

  enter(): EntryOutcome {
    const status = this.core.exports.vmEnter();
    const rule = ENTRY_RULES[this.core.state.entryRule - 1]?.name ?? "";
    if (status === 0) return { kind: "entered" };
    if (status === 1) return { kind: "fail-valid", error: this.vmcs.read32(F.VM_INSTRUCTION_ERROR), rule };
    return {
      kind: "failed-entry",
      reason: this.vmcs.read32(F.EXIT_REASON),
      qualification: this.vmcs.readBig(F.EXIT_QUALIFICATION),
      rule,
    };
  }
}
