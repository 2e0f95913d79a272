/** What the hypervisor does for each exit reason. */
import { setIoValue, ioValueLow } from "../emulator/machine/board.ts";
import { CPUID_APIC_ON, CPUID_CR4_FLAGS } from "../emulator/host/cpuid-answer.ts";
import * as X from "../layout/vmx.ts";
import { EptRights } from "./ept.ts";
import { walkGuest } from "./guest-walk.ts";
import { PhaseCode } from "./ledger.ts";
import type { Vcpu } from "./vcpu.ts";
import { VcpuRun } from "./vcpu-state.ts";

const F = X.VmcsField;
const R = X.ExitReason;

const PAGE = 4096;

// MSRs that always exit.
const MSR_TSC = 0x10;
const MSR_APIC_BASE = 0x1b;
const MSR_FEATURE_CONTROL = 0x3a;
const MSR_TSC_ADJUST = 0x3b;
const MSR_TSC_DEADLINE = 0x6e0;
const MSR_X2APIC = 0x800;
const MSR_X2APIC_END = 0x840;
const MSR_X2APIC_EOI = 0x80b;

const XSAVE_LEAF = 0xd;
const XCR0_X87 = 1 << 0;
const XCR0_SSE = 1 << 1;
const XCR0_AVX = 1 << 2;

const VECTOR_NP = 11;
const VECTOR_GP = 13;
const VECTOR_UD = 6;
const TYPE_EXTERNAL = 0;
const TYPE_NMI = 2;
const TYPE_EXCEPTION = 3;
const BLOCKING_BY_NMI = 1 << 3;
/** Bit 12 of the IDT-vectoring information is undefined; in what is injected it must be 0. */
const VECTORING_UNDEFINED = 1 << 12;
/** L0 to G3: breakpoints that are enabled. */
const DR7_ENABLES = 0xff;
const INFO_VALID = 0x80000000;
const INFO_HAS_ERROR = 1 << 11;

export class ExitDispatch {
  readonly #vcpu: Vcpu;
  /** EAX, EBX, ECX, EDX of the CPUID exit being handled. */
  readonly #cpuidAnswer = new Uint32Array(4);

  constructor(vcpu: Vcpu) {
    this.#vcpu = vcpu;
  }

  handle(reason: number): void {
    const vcpu = this.#vcpu;
    switch (reason) {
      case R.EXTERNAL_INTERRUPT:
        this.#externalInterrupt(vcpu.vmcs.read32(F.EXIT_INTERRUPTION_INFO) & 0xff);
        return;
      case R.EXCEPTION_NMI:
        this.#exception();
        return;
      case R.INTERRUPT_WINDOW:
        // The window is open: the next entry injects.
        vcpu.phase = PhaseCode.COMPLETION;
        vcpu.handler = "interrupt window";
        return;
      case R.NMI_WINDOW:
        vcpu.handler = "NMI window";
        return;
      case R.TASK_SWITCH:
        this.#taskSwitch();
        return;
      case R.HLT:
        vcpu.handler = "halt";
        this.#skip();
        this.#halt();
        return;
      case R.CPUID:
        vcpu.handler = "cpuid";
        this.#cpuid();
        this.#skip();
        return;
      case R.XSETBV:
        vcpu.handler = "xsetbv";
        this.#xsetbv();
        return;
      case R.IO_INSTRUCTION:
        this.#io();
        return;
      case R.MSR_READ:
        this.#msrRead();
        return;
      case R.MSR_WRITE:
        this.#msrWrite();
        return;
      case R.CR_ACCESS:
        this.#controlRegister();
        return;
      case R.EPT_VIOLATION:
        this.#eptViolation();
        return;
      case R.GDTR_IDTR_ACCESS:
        this.#descriptorTable();
        return;
      case R.LDTR_TR_ACCESS:
      case R.WBINVD:
      case R.INVD:
        vcpu.handler = "emulate";
        this.#emulate(-1);
        return;
      case R.VMCALL:
        vcpu.handler = "hypercall";
        vcpu.state.hypercalls++;
        vcpu.charge(vcpu.vm.costs.hypercall);
        // No hypercall is defined yet: the answer is KVM's "not supported".
        vcpu.core.state.gpr[0] = 0xfffffffffffffc18n;
        this.#skip();
        return;
      case R.TRIPLE_FAULT:
        vcpu.handler = "triple fault";
        vcpu.state.run = VcpuRun.SHUTDOWN;
        vcpu.vm.tripleFault();
        return;
      case R.INIT_SIGNAL:
      case R.PREEMPTION_TIMER:
        vcpu.handler = "host";
        return;
      case R.VMCLEAR:
      case R.VMLAUNCH:
      case R.VMPTRLD:
      case R.VMPTRST:
      case R.VMREAD:
      case R.VMRESUME:
      case R.VMWRITE:
      case R.VMXOFF:
      case R.VMXON:
      case R.INVEPT:
      case R.INVVPID:
        vcpu.handler = "no nested VMX";
        this.#inject(VECTOR_UD);
        return;
      case R.MONITOR:
      case R.MWAIT:
        // A virtual CPU's CPUID has them not.
        vcpu.handler = "no MONITOR";
        this.#inject(VECTOR_UD);
        return;
      default:
        throw new Error(
          `${vcpu.label}: exit reason ${reason} has no handler (RIP ${vcpu.vmcs.readBig(F.GUEST_RIP).toString(16)})`,
        );
    }
  }

  // --- helpers

  #skip(): void {
    const { vmcs, core } = this.#vcpu;
    vmcs.skipInstruction(core.is64BitCode);
  }

  /** Injects a fault at the next entry. */
  #inject(vector: number, errorCode?: number): void {
    const s = this.#vcpu.state;
    s.injectInfo =
      (INFO_VALID | (TYPE_EXCEPTION << 8) | vector | (errorCode === undefined ? 0 : INFO_HAS_ERROR)) >>> 0;
    s.injectError = errorCode ?? 0;
  }

  /** Charges the hop to the user process and back where the device lives there. */
  #chargeDevice(isInKernel: boolean): void {
    const { vm } = this.#vcpu;
    this.#vcpu.charge(vm.costs.deviceRegister);
    if (vm.path === "user" && !isInKernel) {
      this.#vcpu.charge(vm.costs.userModeHop);
      if (this.#vcpu.phase === PhaseCode.OTHER) this.#vcpu.phase = PhaseCode.EMULATION;
    }
  }

  /**
   * Runs the guest's instruction with one more guest-physical page handed to the VM's devices: an instruction may reach
   * several of them, each of which exits when it is first met.
   */
  #emulate(page: number, cost = this.#vcpu.vm.costs.instructionEmulation): void {
    const vcpu = this.#vcpu;
    const { core, vm } = vcpu;
    vcpu.charge(cost);
    const { emulatedPages: pages, emulatedPageCount: before } = core.state;
    if (page >= 0) {
      const known = pages.subarray(0, before);
      if (before === pages.length || known.includes(BigInt(page))) {
        // A paging structure of the guest in a device's registers, say: no processor state lets this go on.
        vcpu.handler = "instruction that cannot be emulated";
        vcpu.state.run = VcpuRun.SHUTDOWN;
        vm.tripleFault();
        return;
      }
      pages[before] = BigInt(page);
      core.state.emulatedPageCount = before + 1;
    }
    vm.emulating = vcpu;
    const exited = core.exports.emulateOne();
    vm.emulating = undefined;
    // The instruction was not finished: something else in it exits. That exit is counted and handled by itself.
    if (exited !== 0) vcpu.nestedExit();
    core.state.emulatedPageCount = before;
  }

  /** A task switch is emulated: with the instruction, or with the delivery of the event that goes through a task gate. */
  #taskSwitch(): void {
    const vcpu = this.#vcpu;
    const { core, vm, vmcs } = vcpu;
    vcpu.handler = "task switch";
    if ((vmcs.read32(F.IDT_VECTORING_INFO) & INFO_VALID) === 0) {
      this.#emulate(-1);
      return;
    }
    if (this.#takesByVirtualApic()) return;
    vcpu.charge(vm.costs.instructionEmulation);
    const newTask = vmcs.read32(F.EXIT_QUALIFICATION) & 0xffff;
    let exited = this.#emulateEvent(() => core.exports.emulateEvent());
    // A stack of two pages, at most, that the new task has not touched yet: the event itself is not delivered again.
    for (let i = 0; exited && i < 2 && vmcs.read32(F.GUEST_TR_SELECTOR) === newTask; i++) {
      vmcs.write(F.IDT_VECTORING_INFO, 0);
      vcpu.nestedExit();
      exited = this.#emulateEvent(() => core.exports.emulateTaskError());
    }
    if (exited) vcpu.nestedExit();
  }

  #emulateEvent(act: () => number): boolean {
    const { vm } = this.#vcpu;
    vm.emulating = this.#vcpu;
    const exited = act() !== 0;
    vm.emulating = undefined;
    return exited;
  }

  #halt(): void {
    const { state, apic } = this.#vcpu;
    // A single-step trap behind HLT ends it at once.
    const isTrapped = this.#vcpu.vmcs.read32(F.GUEST_PENDING_DEBUG) !== 0;
    if (state.nmiPending !== 0 || apic.hasInterrupt() || isTrapped) return;
    state.run = VcpuRun.HALTED;
  }

  #externalInterrupt(vector: number): void {
    const vcpu = this.#vcpu;
    vcpu.phase = PhaseCode.COMPLETION;
    vcpu.handler = "host interrupt";
    vcpu.core.exports.apicWrite(0xb0, 0);
    vcpu.hostInterrupt(vector);
  }

  #exception(): void {
    const vcpu = this.#vcpu;
    const { vmcs } = vcpu;
    const info = vmcs.read32(F.EXIT_INTERRUPTION_INFO);
    const vectoring = vmcs.read32(F.IDT_VECTORING_INFO);
    if ((info & 0x7ff) === ((TYPE_EXCEPTION << 8) | VECTOR_NP)) {
      const type = (vectoring >>> 8) & 7;
      if ((vectoring & INFO_VALID) !== 0 && type === 0) {
        // A vector that is not the guest's came through the shadow IDT: the physical APIC has acknowledged it, and
        // the host dispatches it in software. It is not re-injected.
        vcpu.handler = "not-present vector";
        vcpu.phase = PhaseCode.COMPLETION;
        vcpu.core.exports.apicWrite(0xb0, 0);
        vcpu.hostInterrupt(vectoring & 0xff);
        return;
      }
      vcpu.handler = "guest #NP";
      // INT n through a gate that only the shadow has cleared: again, with the guest's own IDT.
      if (this.#injectAgain()) return;
      this.#inject(VECTOR_NP, vmcs.read32(F.EXIT_INTERRUPTION_ERROR_CODE));
      return;
    }
    throw new Error(`${vcpu.label}: exception exit ${info.toString(16)} that nobody asked for`);
  }

  /**
   * An event whose delivery the exit has cut short is delivered again at the next entry. SDM Vol. 3C, "Information for VM Exits
   * That Occur During Event Delivery". False when there was none.
   */
  #injectAgain(): boolean {
    const { state, vmcs } = this.#vcpu;
    const vectoring = vmcs.read32(F.IDT_VECTORING_INFO);
    if ((vectoring & INFO_VALID) === 0) return false;
    if (this.#takesByVirtualApic()) return true;
    const type = (vectoring >>> 8) & 7;
    state.injectInfo = (vectoring & ~VECTORING_UNDEFINED) >>> 0;
    state.injectError = vmcs.read32(F.IDT_VECTORING_ERROR_CODE);
    state.injectLength = vmcs.read32(F.EXIT_INSTRUCTION_LENGTH);
    const blocking = vmcs.read32(F.GUEST_INTERRUPTIBILITY);
    // An NMI that is injected while NMIs are blocked would not pass the entry checks of virtual NMIs.
    if (type === TYPE_NMI) vmcs.write(F.GUEST_INTERRUPTIBILITY, blocking & ~BLOCKING_BY_NMI);
    return true;
  }

  /**
   * An interrupt that came through the shadow IDT, and whose delivery has been cut short: the physical APIC has acknowledged it, so it is
   * ended there and goes on by way of the virtual one. False for other events.
   */
  #takesByVirtualApic(): boolean {
    const { core, state, vmcs } = this.#vcpu;
    const vectoring = vmcs.read32(F.IDT_VECTORING_INFO);
    if (((vectoring >>> 8) & 7) !== TYPE_EXTERNAL || state.exitless === 0) return false;
    core.exports.apicWrite(0xb0, 0);
    this.#vcpu.hostInterrupt(vectoring & 0xff);
    return true;
  }

  #cpuid(): void {
    const { core, vm, index, apic, vmcs } = this.#vcpu;
    const answer = this.#cpuidAnswer;
    vm.cpuid.answer(
      core.gprLow(0),
      core.gprLow(1),
      index,
      (apic.isEnabled ? CPUID_APIC_ON : 0) | (vmcs.guestCr4 & CPUID_CR4_FLAGS),
      core.xcr0,
      answer,
    );
    core.setGprLow(0, answer[0]!);
    core.setGprLow(3, answer[1]!);
    core.setGprLow(1, answer[2]!);
    core.setGprLow(2, answer[3]!);
  }

  /** XCR0 is the physical register: the virtual CPU has the core to itself. The core has checked CPL and CR4.OSXSAVE. */
  #xsetbv(): void {
    const { core, vm } = this.#vcpu;
    const value = core.gprLow(0);
    const answer = this.#cpuidAnswer;
    vm.cpuid.answer(XSAVE_LEAF, 0, 0, 0, value, answer);
    const supported = answer[0]!;
    const hasAvxWithoutSse = (value & XCR0_AVX) !== 0 && (value & XCR0_SSE) === 0;
    if (
      core.gprLow(1) !== 0 ||
      core.gprLow(2) !== 0 ||
      (value & XCR0_X87) === 0 ||
      hasAvxWithoutSse ||
      (value & ~supported) !== 0
    ) {
      this.#inject(VECTOR_GP, 0);
      return;
    }
    core.state.xcr0 = BigInt(value);
    core.exports.updateMedia();
    this.#skip();
  }

  #io(): void {
    const vcpu = this.#vcpu;
    const { vmcs, core, vm } = vcpu;
    const qualification = vmcs.read32(F.EXIT_QUALIFICATION);
    const size = ((qualification & 7) + 1) as 1 | 2 | 4;
    const isIn = (qualification & 8) !== 0;
    const isString = (qualification & 16) !== 0;
    const port = qualification >>> 16;
    const owner = vm.owners.port(port, size);
    vcpu.phase = owner.phase;
    vcpu.handler = owner.label;
    if (isString || (vmcs.read32(F.GUEST_DR7) & DR7_ENABLES) !== 0) {
      // INS and OUTS touch memory, and there may be an I/O breakpoint: the emulator runs them with the port handed to
      // the VM's board.
      this.#chargeDevice(owner.isInKernel);
      this.#emulate(-1);
      return;
    }
    this.#chargeDevice(owner.isInKernel);
    if (isIn) {
      core.setGprSized(0, size, vm.pc.ports.read(port, size));
    } else {
      const value = core.gprLow(0);
      vm.pc.ports.write(port, size, size === 4 ? value : value & (size === 1 ? 0xff : 0xffff));
    }
    this.#skip();
  }

  #msrRead(): void {
    const vcpu = this.#vcpu;
    const { core, vm, apic } = vcpu;
    const index = core.gprLow(1);
    vcpu.handler = "msr read";
    vcpu.charge(vm.costs.msrEmulation);
    let value: bigint | undefined;
    if (index >= MSR_X2APIC && index < MSR_X2APIC_END) {
      vcpu.handler = "x2apic";
      value = apic.readX2(index - MSR_X2APIC);
    } else if (index === MSR_APIC_BASE) value = BigInt(apic.base);
    else if (index === MSR_TSC_DEADLINE) value = apic.readTscDeadline();
    else if (index === MSR_TSC) value = BigInt(vcpu.clock()) + core.state.tscAdjust;
    else if (index === MSR_TSC_ADJUST) value = core.state.tscAdjust;
    else if (index === MSR_FEATURE_CONTROL) value = 1n;
    if (value === undefined) {
      this.#inject(VECTOR_GP, 0);
      return;
    }
    core.setGprLow(0, Number(value & 0xffffffffn));
    core.setGprLow(2, Number(value >> 32n));
    this.#skip();
  }

  #msrWrite(): void {
    const vcpu = this.#vcpu;
    const { core, vm, apic } = vcpu;
    const index = core.gprLow(1);
    const low = core.gprLow(0);
    const high = core.gprLow(2);
    vcpu.handler = "msr write";
    vcpu.charge(vm.costs.msrEmulation);
    let done = false;
    const { vmcs } = vcpu;
    const rip = vmcs.readBig(F.GUEST_RIP);
    const blocking = vmcs.read32(F.GUEST_INTERRUPTIBILITY);
    const pendingDebug = vmcs.readBig(F.GUEST_PENDING_DEBUG);
    // RIP moves on first: what the write sets off may look at it.
    this.#skip();
    if (index >= MSR_X2APIC && index < MSR_X2APIC_END) {
      vcpu.handler = index === MSR_X2APIC_EOI ? "eoi" : "x2apic";
      if (index === MSR_X2APIC_EOI) vcpu.phase = PhaseCode.COMPLETION;
      done = apic.writeX2(index - MSR_X2APIC, low, high);
    } else done = this.#writeOtherMsr(index, (BigInt(high) << 32n) | BigInt(low));
    if (done) return;
    // The instruction has not been executed after all.
    vmcs.writeBig(F.GUEST_RIP, rip);
    vmcs.write(F.GUEST_INTERRUPTIBILITY, blocking);
    vmcs.writeBig(F.GUEST_PENDING_DEBUG, pendingDebug);
    this.#inject(VECTOR_GP, 0);
  }

  /** MSRs outside the x2APIC range. False: #GP. */
  #writeOtherMsr(index: number, value: bigint): boolean {
    const { core, apic } = this.#vcpu;
    switch (index) {
      case MSR_APIC_BASE:
        return apic.writeBase(value);
      case MSR_TSC_DEADLINE:
        apic.writeTscDeadline(value);
        return true;
      case MSR_TSC_ADJUST:
        core.state.tscAdjust = value;
        return true;
      case MSR_TSC:
        core.state.tscAdjust = value - BigInt(this.#vcpu.clock());
        return true;
      default:
        return false;
    }
  }

  /** MOV to CR0 or CR4 that changes a masked bit, MOV to and from CR8. */
  #controlRegister(): void {
    const vcpu = this.#vcpu;
    const { vmcs, core, apic } = vcpu;
    const qualification = vmcs.read32(F.EXIT_QUALIFICATION);
    const number = qualification & 15;
    const type = (qualification >>> 4) & 3;
    const register = (qualification >>> 8) & 15;
    vcpu.handler = `cr${number}`;
    const source = register === 4 ? vmcs.readBig(F.GUEST_RSP) : core.state.gpr[register]!;
    if (number === 8) {
      if (type === 0) {
        if (source > 15n) {
          this.#inject(VECTOR_GP, 0);
          return;
        }
        apic.write(0x08, Number(source) << 4);
      } else core.state.gpr[register] = BigInt(apic.read(0x08) >>> 4);
      this.#skip();
      return;
    }
    // The masked bits alone are the hypervisor's: the shadow takes the guest's value, the rest is done by the
    // instruction itself, which no longer differs from the shadow.
    const [mask, shadow] = number === 0 ? [F.CR0_MASK, F.CR0_READ_SHADOW] : [F.CR4_MASK, F.CR4_READ_SHADOW];
    const maskBits = vmcs.read32(mask);
    const value = type === 3 ? (qualification >>> 16) & 0xffff : Number(source & 0xffffffffn);
    if (number === 4 && (value & 0x2000) !== 0) {
      // CR4.VMXE is not offered (CPUID has no VMX).
      this.#inject(VECTOR_GP, 0);
      return;
    }
    vmcs.write(shadow, ((vmcs.read32(shadow) & ~maskBits) | (value & maskBits)) >>> 0);
    this.#emulate(-1);
  }

  #eptViolation(): void {
    const vcpu = this.#vcpu;
    const { vmcs, vm } = vcpu;
    const address = vmcs.read(F.GUEST_PHYSICAL_ADDRESS);
    const page = address - (address % PAGE);
    const isDelivering = this.#injectAgain();
    const place = vm.placeOf(page);
    // EXIT_QUALIFICATION, bits 2:0: read, write, fetch. SDM Vol. 3C, "Exit Qualification for EPT Violations".
    const wanted = vmcs.read32(F.EXIT_QUALIFICATION) & EptRights.ALL;
    if (place !== undefined && (wanted & ~place.rights) === 0) {
      if (vcpu.shadowIdt.covers(page)) {
        this.#writeToIdtPage(page, isDelivering);
        return;
      }
      vcpu.handler = "memory";
      vcpu.charge(vm.costs.eptFault);
      vm.ept.map(page, place.machineAddress, place.rights);
      return;
    }
    if (isDelivering) {
      // Stack or tables of the guest in a device's registers: there is no instruction to emulate.
      vcpu.handler = "event delivery to a device";
      vcpu.state.run = VcpuRun.SHUTDOWN;
      vm.tripleFault();
      return;
    }
    if (vm.owners.isKick(address)) {
      // An address registered for signalling: no device code runs on this thread, the instruction only moves data.
      vcpu.phase = PhaseCode.REQUEST;
      vcpu.handler = "virtio notify";
      this.#emulate(page, vm.costs.kickSignal);
      return;
    }
    if (page === vcpu.apic.page) {
      vcpu.handler = (address & 0xff0) === 0xb0 ? "eoi" : "apic";
      if (vcpu.handler === "eoi") vcpu.phase = PhaseCode.COMPLETION;
    } else if (vm.rom?.covers(page) === true) vcpu.handler = "rom";
    else {
      const owner = vm.owners.mmio(address);
      vcpu.handler = owner.label;
      this.#chargeDevice(owner.isInKernel);
    }
    this.#emulate(page);
  }

  /** A guest write to the page of its IDT: made to the page itself, then copied to the shadows of all CPUs that have one of it. */
  #writeToIdtPage(page: number, isDelivering: boolean): void {
    const vcpu = this.#vcpu;
    vcpu.handler = "idt page";
    vcpu.shadowIdt.allowWrite();
    vcpu.core.exports.flushAllContexts();
    // An event delivery's own write is made again with it, at the next entry; the shadow is made anew behind it.
    if (!isDelivering) {
      this.#emulate(-1);
      vcpu.shadowIdt.protect();
    }
    for (const { shadowIdt } of vcpu.vm.vcpus) if (shadowIdt.covers(page)) shadowIdt.written();
    vcpu.state.flush = 1;
  }

  /** SGDT, SIDT, LGDT, LIDT under descriptor-table exiting: done by the emulator; a new IDT is found for the shadow. */
  #descriptorTable(): void {
    const vcpu = this.#vcpu;
    const { vmcs, vm } = vcpu;
    vcpu.handler = "descriptor table";
    this.#emulate(-1);
    const linear = vmcs.readBig(F.GUEST_IDTR_BASE);
    const at = walkGuest(
      (address) => vm.memory.read64(address),
      {
        cr0: vmcs.read32(F.GUEST_CR0),
        cr3: vmcs.readBig(F.GUEST_CR3),
        cr4: vmcs.read32(F.GUEST_CR4),
        efer: vmcs.readBig(F.GUEST_EFER),
      },
      linear,
    );
    vcpu.shadowIdt.locate(
      at !== undefined && vm.isPlainRam(at) ? at : undefined,
      vmcs.read32(F.GUEST_IDTR_LIMIT),
    );
    vcpu.state.flush = 1;
  }

  /** An access of an emulated instruction to the page handed over: the virtual APIC or the VM's board. */
  emulatedAccess(): void {
    const { core, vm, apic } = this.#vcpu;
    const cpu = core.state;
    const address = cpu.ioAddress;
    if (address - (address % PAGE) === apic.page && apic.isEnabled && !apic.isX2apic) {
      const index = (address & 0xff0) >>> 4;
      if (cpu.ioWrite === 0) setIoValue(core, apic.read(index) >>> ((address & 3) * 8), 0);
      else if ((address & 15) === 0) apic.write(index, ioValueLow(core));
      return;
    }
    vm.access(core);
  }
}
