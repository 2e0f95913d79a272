/**
 * A virtual CPU: its VMCS and the loop of entries and exits. It is pinned to one physical CPU and acts on that CPU's clock.
 *
 * Rule: whatever the guest can see is in the VMCS, the physical CPU's block, or this struct, all in shared memory.
 */
import { Activity, Attention, Stop, type Core } from "../emulator/host/core.ts";
import type { BoardLock } from "../emulator/machine/board-lock.ts";
import { leaveSoon } from "../emulator/machine/cpu-actor.ts";
import { NEVER } from "../emulator/machine/events.ts";
import type { Actor } from "../emulator/machine/scheduler.ts";
import type { ViewOf } from "../layout/struct.ts";
import * as X from "../layout/vmx.ts";
import { ExitDispatch } from "./exit-dispatch.ts";
import { canTakeInterrupt, prepareInjection } from "./injection.ts";
import { Ledger, PHASES, PhaseCode, exitReasonName } from "./ledger.ts";
import type { EptView } from "./ept.ts";
import { ShadowIdt } from "./shadow-idt.ts";
import { initialiseVmcs, setLongModeControl, setRealModeStart } from "./vcpu-setup.ts";
import { KICK_VECTOR, VcpuRun, SPECIAL_WORDS, VcpuStruct, VcpuWord } from "./vcpu-state.ts";
import { Vmcs } from "./vmcs.ts";
import { VirtualApic } from "./virtual-apic.ts";
import type { Vm } from "./vm.ts";

const F = X.VmcsField;

const RFLAGS_IF = 0x200;
const BLOCKING_NMI = 8;
const APIC_EOI_OFFSET = 0xb0;
/** In the place of a stop: the guest was not entered. No value of `Stop`. */
const STAYED = 0;

export class Vcpu implements Actor {
  readonly label: string;
  readonly isDivisible = true;
  readonly index: number;
  readonly vm: Vm;
  readonly core: Core;
  readonly vmcs: Vmcs;
  readonly state: ViewOf<typeof VcpuStruct>;
  /** The same by VcpuWord. */
  readonly words: Uint32Array;
  readonly apic: VirtualApic;
  readonly ledger: Ledger;
  /** With exitless completion: what this virtual CPU sees of guest-physical memory. */
  readonly eptView: EptView | undefined;
  readonly shadowIdt: ShadowIdt;
  /** The first SPECIAL_WORDS of them. */
  readonly #special: Uint32Array;
  readonly #dispatch: ExitDispatch;
  /** Parallel mode: held whenever this virtual CPU's thread is not in the guest and not asleep. */
  readonly #lock: BoardLock | undefined;
  /** What every exit costs: the switches, and finding the handler. */
  readonly #exitCycles: number;
  /** Exitless completion may be chosen at an entry. */
  readonly #isExitless: boolean;
  readonly #dispatchCycles: number;
  /** Set by the exit handlers: what the exit was about. */
  phase: PhaseCode = PhaseCode.OTHER;
  handler = "";

  constructor(
    vm: Vm,
    index: number,
    core: Core,
    pages: { readonly vmcs: number; readonly shadowIdt: number; readonly eptView: number },
  ) {
    this.label = `${vm.label} vCPU ${index}`;
    this.vm = vm;
    this.index = index;
    this.core = core;
    const { allocator, memory } = vm.board;
    this.#lock = vm.board.lock;
    const at = allocator.take(this.label, VcpuStruct.size, VcpuStruct.align);
    this.state = VcpuStruct.at(memory.state, at);
    this.words = memory.state.u32.subarray(at >>> 2, (at + VcpuStruct.size) >>> 2);
    this.#special = this.words.subarray(0, SPECIAL_WORDS);
    this.vmcs = new Vmcs(memory.state, memory.ramOffset(pages.vmcs, 4096));
    this.ledger = new Ledger(allocator, this.label);
    if (vm.completion === "eli") this.eptView = vm.ept.view(allocator, this.label, pages.eptView);
    this.shadowIdt = new ShadowIdt(allocator, this.label, memory, this.eptView, pages.shadowIdt, (at) =>
      vm.memory.machineAddress(at),
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
    this.#isExitless = vm.completion === "eli";
    this.#exitCycles = vm.costs.exitAndEntry;
    this.#dispatchCycles = vm.costs.exitDispatch;
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
    this.apic.reset();
    this.ledger.reset();
    this.shadowIdt.reset();
    const cpu = this.core.state;
    cpu.vmcs = this.vmcs.offset;
    cpu.vmcsPointer = BigInt(this.vmcs.offset - this.vm.board.memory.plan.ramBase);
    cpu.emulatedPageCount = 0;
    cpu.hypervisorOutside = 1;
    cpu.vmxOn = 1;
    cpu.activity = Activity.ACTIVE;
    cpu.exits.fill(0n);
    this.#preparePhysicalApic();
    initialiseVmcs(this);
    setRealModeStart(this, 0xf000, 0xffff0000, 0xfff0);
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

  /** Halted with interrupts off, waiting for a SIPI that nobody sends, or shut down. */
  get isDead(): boolean {
    const s = this.state;
    if (s.run === VcpuRun.RUNNING || s.attention !== 0 || s.nmiPending !== 0) return false;
    return s.run !== VcpuRun.HALTED || (this.vmcs.read32(F.GUEST_RFLAGS) & RFLAGS_IF) === 0;
  }

  // --- what others do to it

  /** In VMX non-root operation: an entry has been made and no exit since. */
  get isInGuest(): boolean {
    return this.core.isInGuest;
  }

  /** Something may have become deliverable: wakes a halted virtual CPU, kicks a running one out of the guest. */
  notify(): void {
    const s = this.state;
    if (s.run === VcpuRun.HALTED) {
      if (this.#hasDeliverable()) this.wake();
      // INIT ends HLT whatever IF is; its clock must come up to now, as a wake-up's does.
      else if (s.attention !== 0) this.vm.board.kicked(this.core.index);
      return;
    }
    if (s.run !== VcpuRun.RUNNING) {
      if (s.attention !== 0) this.vm.board.kicked(this.core.index);
      return;
    }
    if (!this.isInGuest || s.kicked !== 0 || (s.attention === 0 && !this.#hasDeliverable())) return;
    s.kicked = 1;
    this.vm.paths.chargeActing(this.vm.costs.ipiSend);
    this.vm.board.sendPhysicalIpi(this.core.index, KICK_VECTOR);
  }

  /** Ends HLT: the virtual CPU's thread is woken by the host's scheduler. */
  wake(): void {
    if (this.state.run !== VcpuRun.HALTED) return;
    this.state.run = VcpuRun.RUNNING;
    this.vm.board.kicked(this.core.index);
    this.charge(this.vm.costs.haltWake);
  }

  #hasDeliverable(): boolean {
    return this.state.nmiPending !== 0 || this.apic.hasInterrupt();
  }

  /** Attention bits of INIT, SIPI and NMI from other virtual CPUs. */
  attend(bit: number): void {
    if ((this.state.attention & bit & Attention.NMI) !== 0) this.state.attention |= Attention.NMI_AGAIN;
    this.state.attention |= bit;
    if (bit === Attention.INTERRUPT) this.state.attention &= ~Attention.INTERRUPT;
    this.notify();
  }

  // --- costs

  /** Virtual time only: wall time passes by itself. */
  charge(cycles: number): void {
    if (this.#lock === undefined) this.core.charge(cycles);
  }

  // --- the loop

  clock(): number {
    return this.#lock === undefined ? this.core.clock() : this.vm.board.clock.now();
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
    const { core } = this;
    core.state.stopAt = limit;
    core.state.yieldAbove = others;
    let isWithinLimit = false;
    for (;;) {
      const stop = core.isInGuest ? core.run() : this.#enterAndRun(isWithinLimit);
      if (stop !== Stop.VM_EXIT) return stop === Stop.RETRY;
      const end = this.#lock === undefined ? this.#exit() : this.#exitUnderLock(this.#lock);
      if (end >= core.stopAt || this.vm.isStopping || this.vm.isPausing) return false;
      isWithinLimit = true;
    }
  }

  /**
   * From root mode into the guest and on, until something stops it; STAYED when there is a reason not to go.
   *
   * @param isWithinLimit the clock and the board's requests have just been looked at
   */
  #enterAndRun(isWithinLimit: boolean): number {
    if (this.#lock !== undefined) {
      // Whoever posts an interrupt under the lock finds this virtual CPU either not yet past its look at them, or in the guest.
      if (!this.#enterUnderLock(this.#lock)) return STAYED;
      return this.core.run();
    }
    const { core } = this;
    let stop: number = Stop.HOST_INTERRUPT;
    if (isWithinLimit && this.#isPlainEntry()) {
      this.vm.entering();
      stop = core.enterAndRun();
    }
    while (stop === Stop.HOST_INTERRUPT) {
      if (!this.#prepareEntry()) return STAYED;
      stop = core.enterAndRun();
    }
    if (stop >= Stop.ENTRY_FAILED) this.#entryFailed(stop - Stop.ENTRY_FAILED);
    return stop;
  }

  /** An entry that injects nothing, after an exit that changed nothing: `#prepareEntry` would find nothing to do. */
  #isPlainEntry(): boolean {
    const special = this.#special;
    const somethingToDo = special[0]! | special[1]! | special[2]! | special[3]! | special[4]!;
    if (somethingToDo !== 0 || this.#isExitless || this.core.hasReachedInstruction) return false;
    const hasWindow = (this.vmcs.primaryControls & X.Primary.INTERRUPT_WINDOW_EXITING) !== 0;
    // With an interrupt that the guest cannot take yet, the window is asked for, and that is all.
    return this.apic.hasInterrupt() ? hasWindow && !canTakeInterrupt(this.vmcs) : !hasWindow;
  }

  #enterUnderLock(lock: BoardLock): boolean {
    lock.enter();
    try {
      if (!this.#prepareEntry()) return false;
      const status = this.core.exports.vmEnter();
      if (status !== 0) this.#entryFailed(status);
      return true;
    } finally {
      lock.leave();
    }
  }

  #exitUnderLock(lock: BoardLock): number {
    lock.enter();
    try {
      return this.#exit();
    } finally {
      lock.leave();
    }
  }

  /** Everything before VM entry; false when there is a reason to stay in root mode. */
  #prepareEntry(): boolean {
    const { core, words } = this;
    if (this.vm.isStopping) return false;
    if (words[VcpuWord.ATTENTION] !== 0) this.#answerAttention();
    this.#takeHostInterrupts();
    if (words[VcpuWord.RUN] !== VcpuRun.RUNNING) return false;
    if (this.clock() >= core.stopAt || core.hasReachedInstruction) return false;
    prepareInjection(this);
    if (words[VcpuWord.FLUSH] !== 0) {
      core.exports.flushAllContexts();
      words[VcpuWord.FLUSH] = 0;
    }
    this.vm.entering();
    return true;
  }

  /** @param status of `vmEnter`: 1 VMfailValid, 2 an exit for invalid guest state */
  #entryFailed(status: number): never {
    const what =
      status === 1
        ? `failed with VM-instruction error ${this.vmcs.read32(F.VM_INSTRUCTION_ERROR)}`
        : "failed: invalid guest state";
    throw new Error(`${this.label}: VM entry ${what}`);
  }

  /** One NMI is kept while NMIs are blocked; else one is about to be injected, and another kept behind it. */
  #noteNmi(): void {
    const isBlocked = (this.vmcs.read32(F.GUEST_INTERRUPTIBILITY) & BLOCKING_NMI) !== 0;
    this.state.nmiPending = Math.min(this.state.nmiPending + 1, isBlocked ? 1 : 2);
  }

  /** INIT, SIPI and NMI that arrived for this virtual CPU. */
  #answerAttention(): void {
    const s = this.state;
    const bits = s.attention;
    s.attention = 0;
    if (bits & Attention.NMI) this.#noteNmi();
    if (bits & Attention.NMI_AGAIN) this.#noteNmi();
    if (bits & Attention.INIT) {
      setRealModeStart(this, 0xf000, 0xffff0000, 0xfff0);
      setLongModeControl(this.vmcs, false);
      this.apic.initRegisters();
      s.run = this.index === 0 ? VcpuRun.RUNNING : VcpuRun.WAIT_FOR_SIPI;
    }
    if (bits & Attention.SIPI && s.run === VcpuRun.WAIT_FOR_SIPI) {
      setRealModeStart(this, s.sipiVector << 8, s.sipiVector << 12, 0);
      s.run = VcpuRun.RUNNING;
    }
    if (s.nmiPending !== 0 && s.run === VcpuRun.HALTED) this.wake();
  }

  /** Physical interrupts that reach the host's IDT while this CPU is not in the guest. */
  #takeHostInterrupts(): void {
    const { exports } = this.core;
    for (let vector = exports.pendingVector(); vector >= 0; vector = exports.pendingVector()) {
      exports.acknowledgeVector(vector);
      exports.apicWrite(APIC_EOI_OFFSET, 0);
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

  /** An exit met while the emulator ran an instruction of another exit: an entry of its own. */
  nestedExit(): void {
    const { phase, handler } = this;
    this.#exit();
    this.phase = phase;
    this.handler = handler;
  }

  /** The instruction emulator reached the page handed over, or a port. */
  emulatedAccess(): void {
    this.#dispatch.emulatedAccess();
  }

  /** One exit: cost, handler, ledger entry. Returns the clock after it. */
  #exit(): number {
    const start = this.clock();
    this.charge(this.#exitCycles + this.#dispatchCycles);
    const reason = this.vmcs.exitReason;
    this.phase = PhaseCode.OTHER;
    this.handler = "";
    if (this.vm.isTraced) return this.#tracedExit(reason, start);
    this.#dispatch.handle(reason);
    const end = this.clock();
    this.ledger.enter(reason, this.phase, this.#exitCycles, end - start - this.#exitCycles);
    return end;
  }

  /** The same where somebody sees the entry. */
  #tracedExit(reason: number, start: number): number {
    // The handler moves RIP on.
    const rip = this.vmcs.readBig(F.GUEST_RIP);
    const qualification = this.vmcs.readBig(F.EXIT_QUALIFICATION);
    this.#dispatch.handle(reason);
    const end = this.clock();
    const synchronousCycles = end - start - this.#exitCycles;
    const sequence = this.ledger.enter(reason, this.phase, this.#exitCycles, synchronousCycles);
    this.vm.trace({
      sequence,
      time: start,
      instructions: this.core.state.instructions,
      vcpu: this.index,
      pcpu: this.core.index,
      reason: exitReasonName(reason),
      qualification,
      rip,
      phase: PHASES[this.phase],
      handler: this.handler,
      directCycles: this.#exitCycles,
      indirectCycles: 0,
      synchronousCycles,
    });
    return end;
  }
}
