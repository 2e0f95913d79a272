/**
 * A virtual CPU: its VMCS, the loop of entries and exits, and event injection. It is pinned to one physical CPU and acts on
 * that CPU's clock.
 *
 * Rule: whatever the guest can see is in the VMCS, the physical CPU's block, or this struct, all in shared memory.
 */
import { Activity, Attention, Stop, type Core } from "../emulator/host/core.ts";
import type { BoardLock } from "../emulator/machine/board-lock.ts";
import { cpuClock, leaveSoon } from "../emulator/machine/cpu-actor.ts";
import { NEVER } from "../emulator/machine/events.ts";
import type { EntryState } from "../emulator/machine/loaders/entry-state.ts";
import type { Actor } from "../emulator/machine/scheduler.ts";
import { struct, u32, u53, u8, type ViewOf } from "../layout/struct.ts";
import * as X from "../layout/vmx.ts";
import { ExitDispatch } from "./exit-dispatch.ts";
import { Ledger, exitReasonName, type LedgerEntry, type Phase } from "./ledger.ts";
import { ShadowIdt } from "./shadow-idt.ts";
import { Vmcs } from "./vmcs.ts";
import { VirtualApic } from "./virtual-apic.ts";
import type { Vm } from "./vm.ts";

const F = X.VmcsField;

/** The host's own vector: "look at your virtual CPU". */
export const KICK_VECTOR = 0xf2;

export const VcpuRun = { RUNNING: 0, HALTED: 1, WAIT_FOR_SIPI: 2, SHUTDOWN: 3 } as const;

export const VcpuStruct = struct("Vcpu", {
  run: u8,
  /** A physical kick is on its way or not yet answered. */
  kicked: u8,
  /** Exitless completion is in force until the next exit that needs the virtual APIC. */
  exitless: u8,
  /** The TLB must forget EPT translations at the next entry. */
  flush: u8,
  nmiPending: u8,
  attention: u32,
  sipiVector: u32,
  /** #NP or another exception to inject at the next entry: interruption information and error code. */
  injectInfo: u32,
  injectError: u32,
  injectLength: u32,
  entries: u53,
  /** Cycles at which the running exit began, for the ledger. */
  exitStart: u53,
  /** Hypercalls so far. */
  hypercalls: u53,
});

const RFLAGS_IF = 0x200;
const BLOCKING_STI_MOVSS = 3;
const INFO_VALID = 0x80000000;

export class Vcpu implements Actor {
  readonly label: string;
  readonly isDivisible = true;
  readonly index: number;
  readonly vm: Vm;
  readonly core: Core;
  readonly vmcs: Vmcs;
  readonly state: ViewOf<typeof VcpuStruct>;
  readonly apic: VirtualApic;
  readonly ledger: Ledger;
  readonly shadowIdt: ShadowIdt;
  readonly #dispatch: ExitDispatch;
  /** Parallel mode: held whenever this virtual CPU's thread is not in the guest and not asleep. */
  readonly #lock: BoardLock | undefined;
  /** Set by the exit handlers: what the exit was about. */
  phase: Phase = "other";
  handler = "";

  constructor(
    vm: Vm,
    index: number,
    core: Core,
    pages: { readonly vmcs: number; readonly shadowIdt: number },
  ) {
    this.label = `${vm.label} vCPU ${index}`;
    this.vm = vm;
    this.index = index;
    this.core = core;
    const { allocator, memory } = vm.board;
    this.#lock = vm.board.lock;
    this.state = allocator.place(this.label, VcpuStruct);
    this.vmcs = new Vmcs(memory.state, memory.ramOffset(pages.vmcs, 4096));
    this.ledger = new Ledger(allocator, this.label);
    this.shadowIdt = new ShadowIdt(allocator, this.label, memory, vm.ept, pages.shadowIdt, (at) =>
      vm.machineAddress(at),
    );
    this.apic = new VirtualApic({
      id: index,
      label: `${this.label} APIC`,
      context: vm.board.context,
      sendIpi: (icrLow, destination) => vm.apics.sendIpi(index, icrLow, destination),
      endOfInterrupt: (vector) => vm.pc.ioapic.eoi(vector),
      changed: () => this.notify(),
      guestTsc: () => vm.board.clock.now() + Number(core.state.tscAdjust),
    });
    this.#dispatch = new ExitDispatch(this);
  }

  // --- set-up

  /** Power-on: the VMCS, the virtual APIC; waiting for SIPI except for the first. */
  reset(): void {
    const s = this.state;
    s.run = this.index === 0 ? VcpuRun.RUNNING : VcpuRun.WAIT_FOR_SIPI;
    s.kicked = 0;
    s.exitless = 0;
    s.flush = 1;
    s.nmiPending = 0;
    s.attention = 0;
    s.injectInfo = 0;
    s.entries = 0;
    this.apic.reset();
    this.ledger.reset();
    this.shadowIdt.reset();
    const cpu = this.core.state;
    cpu.vmcs = this.vmcs.offset;
    cpu.vmcsPointer = BigInt(this.vmcs.offset - this.vm.board.memory.plan.ramBase);
    cpu.emulatedPage = 0xffffffffffffffffn;
    cpu.hypervisorOutside = 1;
    cpu.vmxOn = 1;
    cpu.activity = Activity.ACTIVE;
    cpu.exits.fill(0n);
    this.#preparePhysicalApic();
    this.#initialiseVmcs();
    this.setRealModeStart(0xf000, 0xffff0000, 0xfff0);
  }

  /** The physical CPU's local APIC as the hypervisor uses it: x2APIC mode, on. */
  #preparePhysicalApic(): void {
    const cpu = this.core.state;
    cpu.apicBase = cpu.apicBase | (3n << 10n);
    cpu.apicRegister[2] = this.core.index;
    cpu.apicRegister[0x0d] = (((this.core.index >> 4) << 16) | (1 << (this.core.index & 15))) >>> 0;
    cpu.apicRegister[0x0f] = 0x1ff;
    // The host takes interrupts through its own IDT whenever it runs; here: at exits and before entries.
    cpu.rflags = 0x202n;
  }

  #initialiseVmcs(): void {
    const v = this.vmcs;
    const { pages } = this.vm;
    v.clear();
    v.write(F.PIN_BASED_CONTROLS, X.Allowed.PIN_MUST | X.Pin.EXTERNAL_INTERRUPT_EXITING | X.Pin.NMI_EXITING);
    v.write(
      F.PRIMARY_CONTROLS,
      (X.Allowed.PRIMARY_MUST |
        X.Primary.HLT_EXITING |
        X.Primary.CR8_LOAD_EXITING |
        X.Primary.CR8_STORE_EXITING |
        X.Primary.USE_IO_BITMAPS |
        X.Primary.USE_MSR_BITMAPS |
        X.Primary.SECONDARY_CONTROLS) >>>
        0,
    );
    v.write(
      F.SECONDARY_CONTROLS,
      X.Secondary.ENABLE_EPT |
        X.Secondary.ENABLE_VPID |
        X.Secondary.UNRESTRICTED_GUEST |
        X.Secondary.ENABLE_RDTSCP |
        X.Secondary.ENABLE_INVPCID |
        (this.vm.completion === "eli" ? X.Secondary.DESCRIPTOR_TABLE_EXITING : 0),
    );
    v.write(
      F.EXIT_CONTROLS,
      X.Allowed.EXIT_MUST |
        X.ExitControl.SAVE_DEBUG_CONTROLS |
        X.ExitControl.HOST_ADDRESS_SPACE_SIZE |
        X.ExitControl.ACKNOWLEDGE_INTERRUPT |
        X.ExitControl.SAVE_PAT |
        X.ExitControl.SAVE_EFER,
    );
    v.write(
      F.ENTRY_CONTROLS,
      X.Allowed.ENTRY_MUST |
        X.EntryControl.LOAD_DEBUG_CONTROLS |
        X.EntryControl.LOAD_PAT |
        X.EntryControl.LOAD_EFER,
    );
    v.write(F.IO_BITMAP_A, pages.ioBitmapA);
    v.write(F.IO_BITMAP_B, pages.ioBitmapB);
    v.write(F.MSR_BITMAP, pages.msrBitmap);
    v.write(F.VIRTUAL_PROCESSOR_ID, this.index + 1);
    v.write(F.EPT_POINTER, this.vm.ept.pointer);
    v.writeBig(F.VMCS_LINK_POINTER, 0xffffffffffffffffn);
    // CR4.VMXE and CR0.NE are fixed in VMX operation: the guest sees and sets only the shadow.
    v.write(F.CR0_MASK, 0x20);
    v.write(F.CR4_MASK, 0x2000);
    v.write(F.CR0_READ_SHADOW, 0);
    v.write(F.CR4_READ_SHADOW, 0);
    v.writeBig(F.GUEST_PAT, 0x0007040600070406n);
    v.write(F.GUEST_DR7, 0x400);
    // A host state that passes the checks. This hypervisor is outside the machine: it is never loaded.
    v.write(F.HOST_CR0, 0x80000021);
    v.write(F.HOST_CR4, 0x2020);
    v.write(F.HOST_CS_SELECTOR, 8);
    v.write(F.HOST_SS_SELECTOR, 16);
    v.write(F.HOST_TR_SELECTOR, 24);
    v.write(F.HOST_EFER, 0x500);
    v.writeBig(F.HOST_PAT, 0x0007040600070406n);
  }

  #setSegment(index: number, selector: number, base: number, limit: number, rights: number): void {
    const v = this.vmcs;
    v.write(F.GUEST_ES_SELECTOR + 2 * index, selector);
    v.write(F.GUEST_ES_BASE + 2 * index, base);
    v.write(F.GUEST_ES_LIMIT + 2 * index, limit);
    v.write(F.GUEST_ES_ACCESS_RIGHTS + 2 * index, rights);
  }

  /** Real mode at CS:IP with everything else as after INIT. */
  setRealModeStart(selector: number, base: number, ip: number): void {
    const v = this.vmcs;
    for (let i = 0; i < 8; i++) this.#setSegment(i, 0, 0, 0xffff, 0x93);
    this.#setSegment(1, selector, base, 0xffff, 0x9b);
    this.#setSegment(6, 0, 0, 0xffff, 0x82);
    this.#setSegment(7, 0, 0, 0xffff, 0x8b);
    for (const field of [F.GUEST_GDTR_BASE, F.GUEST_IDTR_BASE, F.GUEST_CR3, F.GUEST_EFER, F.GUEST_RSP])
      v.write(field, 0);
    v.write(F.GUEST_GDTR_LIMIT, 0xffff);
    v.write(F.GUEST_IDTR_LIMIT, 0xffff);
    v.write(F.GUEST_CR0, 0x60000030);
    v.write(F.CR0_READ_SHADOW, 0x60000010);
    v.write(F.GUEST_CR4, 0x2000);
    v.write(F.CR4_READ_SHADOW, 0);
    v.write(F.GUEST_RIP, ip);
    v.write(F.GUEST_RFLAGS, 2);
    v.write(F.GUEST_INTERRUPTIBILITY, 0);
    v.write(F.GUEST_ACTIVITY_STATE, 0);
    const { gpr } = this.core.state;
    gpr.fill(0n);
    gpr[2] = BigInt(this.core.state.signature);
  }

  /** The state at an image's entry point. */
  setEntryState(entry: EntryState): void {
    const v = this.vmcs;
    entry.segments.forEach((segment, i) =>
      this.#setSegment(i, segment.selector, segment.base, segment.limit, segment.rights),
    );
    // VM entry wants a busy TSS in TR, and every loaded segment accessed.
    v.write(F.GUEST_GDTR_BASE, entry.gdtr.base);
    v.write(F.GUEST_GDTR_LIMIT, entry.gdtr.limit);
    v.write(F.GUEST_IDTR_BASE, entry.idtr.base);
    v.write(F.GUEST_IDTR_LIMIT, entry.idtr.limit);
    v.write(F.GUEST_CR0, (entry.cr0 | 0x20) >>> 0);
    v.write(F.CR0_READ_SHADOW, entry.cr0);
    v.write(F.GUEST_CR3, entry.cr3);
    v.write(F.GUEST_CR4, (entry.cr4 | 0x2000) >>> 0);
    v.write(F.CR4_READ_SHADOW, entry.cr4);
    v.write(F.GUEST_EFER, entry.efer);
    v.write(F.GUEST_RIP, entry.rip);
    v.write(F.GUEST_RFLAGS, entry.rflags);
    this.setLongModeControl((entry.efer & 0x400) !== 0);
    entry.general.forEach((value, i) => (this.core.state.gpr[i] = BigInt(value)));
    v.write(F.GUEST_RSP, entry.general[4] ?? 0);
  }

  setLongModeControl(isLong: boolean): void {
    const before = this.vmcs.read32(F.ENTRY_CONTROLS);
    const bit = X.EntryControl.IA32E_MODE_GUEST;
    this.vmcs.write(F.ENTRY_CONTROLS, isLong ? before | bit : before & ~bit);
  }

  /** Halted with interrupts off, waiting for a SIPI that nobody sends, or shut down. */
  get isDead(): boolean {
    const s = this.state;
    if (s.run === VcpuRun.RUNNING || s.attention !== 0 || s.nmiPending !== 0) return false;
    return s.run !== VcpuRun.HALTED || (this.vmcs.read32(F.GUEST_RFLAGS) & RFLAGS_IF) === 0;
  }

  // --- what others do to it

  /** In VMX non-root operation: an entry has been made and no exit since. */
  get isInGuest(): boolean {
    return this.core.state.vmxNonRoot !== 0;
  }

  /** Something may have become deliverable: wakes a halted virtual CPU, kicks a running one out of the guest. */
  notify(): void {
    const s = this.state;
    if (s.run === VcpuRun.HALTED) {
      if (this.#hasDeliverable()) this.wake();
      return;
    }
    if (s.run !== VcpuRun.RUNNING) {
      if (s.attention !== 0) this.vm.board.kicked(this.core.index);
      return;
    }
    if (!this.isInGuest || s.kicked !== 0 || (s.attention === 0 && !this.#hasDeliverable())) return;
    s.kicked = 1;
    this.vm.chargeActing("ipiSend");
    this.vm.board.sendPhysicalIpi(this.core.index, KICK_VECTOR);
  }

  /** Ends HLT: the virtual CPU's thread is woken by the host's scheduler. */
  wake(): void {
    if (this.state.run !== VcpuRun.HALTED) return;
    this.state.run = VcpuRun.RUNNING;
    this.vm.board.kicked(this.core.index);
    this.charge(this.vm.cost("haltWake"));
  }

  #hasDeliverable(): boolean {
    return this.state.nmiPending !== 0 || this.apic.isExternalPending() || this.apic.pendingVector() >= 0;
  }

  /** Attention bits of INIT, SIPI and NMI from other virtual CPUs. */
  attend(bit: number): void {
    this.state.attention |= bit;
    if (bit === Attention.INTERRUPT) this.state.attention &= ~Attention.INTERRUPT;
    this.notify();
  }

  // --- costs

  /** Virtual time only: wall time passes by itself. */
  charge(cycles: number): void {
    if (this.#lock === undefined) this.core.state.charged += cycles;
  }

  // --- the loop

  clock(): number {
    return this.#lock === undefined ? cpuClock(this.core) : this.vm.board.clock.now();
  }

  isIdle(): boolean {
    const s = this.state;
    if (s.run === VcpuRun.RUNNING) return false;
    if (s.attention !== 0) return false;
    return !(s.run === VcpuRun.HALTED && this.core.exports.pendingVector() >= 0);
  }

  wakeTime(): number {
    return NEVER;
  }

  waitUntil(time: number): void {
    const behind = time - this.clock();
    if (behind > 0) this.charge(behind);
  }

  limitTo(time: number): void {
    if (time < this.core.state.stopAt) {
      this.core.state.stopAt = time;
      leaveSoon(this.core);
    }
  }

  othersFrom(time: number): void {
    this.core.state.yieldAbove = time;
  }

  act(limit: number, others: number): boolean {
    const cpu = this.core.state;
    cpu.stopAt = limit;
    cpu.yieldAbove = others;
    for (;;) {
      if (!this.isInGuest) {
        if (!this.#underLock(() => this.#goToGuest())) return false;
        continue;
      }
      const stop = this.core.exports.run();
      switch (stop) {
        case Stop.VM_EXIT:
          this.#underLock(() => this.#exit());
          if (this.clock() >= cpu.stopAt || this.vm.isStopping || this.vm.isPausing) return false;
          break;
        case Stop.RETRY:
          return true;
        default:
          return false;
      }
    }
  }

  /** From root mode into the guest; false when there is a reason not to go. */
  #goToGuest(): boolean {
    const cpu = this.core.state;
    if (this.vm.isStopping) return false;
    this.#answerAttention();
    this.#takeHostInterrupts();
    if (this.state.run !== VcpuRun.RUNNING) return false;
    if (this.clock() >= cpu.stopAt || cpu.instructions >= cpu.stopAtInstruction) return false;
    this.#enter();
    return true;
  }

  /** In parallel mode everything outside the guest happens under the board's lock. */
  #underLock<T>(act: () => T): T {
    return this.#lock === undefined ? act() : this.#lock.hold(act);
  }

  /** INIT, SIPI and NMI that arrived for this virtual CPU. */
  #answerAttention(): void {
    const s = this.state;
    const bits = s.attention;
    if (bits === 0) return;
    s.attention = 0;
    if (bits & Attention.NMI) s.nmiPending = 1;
    if (bits & Attention.INIT) {
      this.setRealModeStart(0xf000, 0xffff0000, 0xfff0);
      this.setLongModeControl(false);
      this.apic.resetRegisters();
      s.run = this.index === 0 ? VcpuRun.RUNNING : VcpuRun.WAIT_FOR_SIPI;
    }
    if (bits & Attention.SIPI && s.run === VcpuRun.WAIT_FOR_SIPI) {
      this.setRealModeStart(s.sipiVector << 8, s.sipiVector << 12, 0);
      s.run = VcpuRun.RUNNING;
    }
    if (s.nmiPending !== 0 && s.run === VcpuRun.HALTED) this.wake();
  }

  /** Physical interrupts that reach the host's IDT while this CPU is not in the guest. */
  #takeHostInterrupts(): void {
    const { exports } = this.core;
    for (let vector = exports.pendingVector(); vector >= 0; vector = exports.pendingVector()) {
      exports.acknowledgeVector(vector);
      exports.apicWrite(0xb0, 0);
      this.hostInterrupt(vector);
    }
  }

  /** The host's handler of a physical interrupt (already ended at the physical APIC). */
  hostInterrupt(vector: number): void {
    if (vector === KICK_VECTOR) {
      this.state.kicked = 0;
      return;
    }
    // An assigned vector that came while the guest was not there to take it: injected like any other.
    this.apic.accept(vector);
  }

  #enter(): void {
    const s = this.state;
    this.#prepareInjection();
    if (s.flush !== 0) {
      this.core.exports.flushAllContexts();
      s.flush = 0;
    }
    s.entries++;
    this.vm.entering();
    const status = this.core.exports.vmEnter();
    if (status === 0) return;
    throw new Error(
      `${this.label}: VM entry ${status === 1 ? `failed with VM-instruction error ${this.vmcs.read32(F.VM_INSTRUCTION_ERROR)}` : "failed: invalid guest state"}`,
    );
  }

  /** Chooses what to inject and whether interrupts go straight to the guest. */
  #prepareInjection(): void {
    const s = this.state;
    const v = this.vmcs;
    const flags = v.read32(F.GUEST_RFLAGS);
    const blocking = v.read32(F.GUEST_INTERRUPTIBILITY);
    let wantsWindow = false;
    let injects = false;
    if (s.injectInfo !== 0) {
      v.write(F.ENTRY_INTERRUPTION_INFO, s.injectInfo);
      v.write(F.ENTRY_EXCEPTION_ERROR_CODE, s.injectError);
      v.write(F.ENTRY_INSTRUCTION_LENGTH, s.injectLength);
      s.injectInfo = 0;
      injects = true;
      wantsWindow = this.apic.isExternalPending() || this.apic.pendingVector() >= 0;
    } else if (s.nmiPending !== 0 && (blocking & (BLOCKING_STI_MOVSS | 8)) === 0) {
      s.nmiPending = 0;
      v.write(F.ENTRY_INTERRUPTION_INFO, (INFO_VALID | (2 << 8) | 2) >>> 0);
      injects = true;
    } else {
      const isExternal = this.apic.isExternalPending();
      const vector = isExternal ? 0 : this.apic.pendingVector();
      if (isExternal || vector >= 0) {
        if ((flags & RFLAGS_IF) !== 0 && (blocking & BLOCKING_STI_MOVSS) === 0) {
          const taken = isExternal ? this.vm.pc.pic.acknowledge() : vector;
          if (!isExternal) this.apic.acknowledge(vector);
          v.write(F.ENTRY_INTERRUPTION_INFO, (INFO_VALID | taken) >>> 0);
          this.charge(this.vm.cost("interruptInjection"));
          injects = true;
          wantsWindow = this.apic.isExternalPending() || this.apic.pendingVector() >= 0;
        } else wantsWindow = true;
      }
    }
    const primary = v.read32(F.PRIMARY_CONTROLS);
    const window = X.Primary.INTERRUPT_WINDOW_EXITING;
    const next = wantsWindow ? primary | window : primary & ~window;
    if (next !== primary) v.write(F.PRIMARY_CONTROLS, next >>> 0);
    if (injects) v.write(F.GUEST_ACTIVITY_STATE, 0);
    if (this.vm.completion === "eli")
      this.#chooseExitless(injects || wantsWindow || this.apic.inService >= 0);
  }

  /**
   * Exitless completion holds while nothing is injected or in service at the virtual APIC: then external interrupts go
   * through the shadow IDT and the EOI register is the physical one (FACTS §4, points 1 to 6 and 11).
   */
  #chooseExitless(needsVirtualApic: boolean): void {
    const s = this.state;
    const idt = this.shadowIdt;
    const on = !needsVirtualApic && idt.state.known !== 0 && this.apic.isX2apic;
    const flush = on ? idt.map() : idt.unmap();
    if (flush) s.flush = 1;
    if ((s.exitless !== 0) === on) return;
    s.exitless = on ? 1 : 0;
    const v = this.vmcs;
    const pin = v.read32(F.PIN_BASED_CONTROLS);
    const exiting = X.Pin.EXTERNAL_INTERRUPT_EXITING;
    v.write(F.PIN_BASED_CONTROLS, on ? pin & ~exiting : pin | exiting);
    const bitmap = v.read32(F.EXCEPTION_BITMAP);
    v.write(F.EXCEPTION_BITMAP, on ? bitmap | (1 << 11) : bitmap & ~(1 << 11));
    v.write(F.MSR_BITMAP, on ? this.vm.pages.msrBitmapExitless : this.vm.pages.msrBitmap);
  }

  /** An exit met while the emulator ran an instruction of another exit: an entry of its own. */
  nestedExit(): void {
    const { phase, handler } = this;
    const { exitStart } = this.state;
    this.#exit();
    this.state.exitStart = exitStart;
    this.phase = phase;
    this.handler = handler;
  }

  /** The instruction emulator reached the page handed over, or a port. */
  emulatedAccess(): void {
    this.#dispatch.emulatedAccess();
  }

  /** One exit: cost, handler, ledger entry. */
  #exit(): void {
    const s = this.state;
    const cpu = this.core.state;
    const start = this.clock();
    s.exitStart = start;
    const direct = this.vm.cost("exitAndEntry");
    this.charge(direct + this.vm.cost("exitDispatch"));
    const reason = this.vmcs.read32(F.EXIT_REASON) & 0xffff;
    const { onExit, pauseAt } = this.vm;
    const isTraced = onExit !== undefined || pauseAt !== undefined;
    // The handler moves RIP on.
    const rip = isTraced ? this.vmcs.readBig(F.GUEST_RIP) : 0n;
    const qualification = isTraced ? this.vmcs.readBig(F.EXIT_QUALIFICATION) : 0n;
    this.phase = "other";
    this.handler = "";
    this.#dispatch.handle(reason);
    const synchronous = this.clock() - start - direct;
    const sequence = this.ledger.enter(reason, this.phase, direct, synchronous);
    if (!isTraced) return;
    const entry: LedgerEntry = {
      sequence,
      time: start,
      instructions: cpu.instructions,
      vcpu: this.index,
      pcpu: this.core.index,
      reason: exitReasonName(reason),
      qualification,
      rip,
      phase: this.phase,
      handler: this.handler,
      directCycles: direct,
      indirectCycles: 0,
      synchronousCycles: synchronous,
    };
    onExit?.(entry);
    if (pauseAt?.(entry) === true) this.vm.isPausing = true;
  }
}
