/**
 * What the next VM entry injects, and whether interrupts go straight to the guest (SDM Vol. 3C, "Event Injection",
 * "Interrupt-Window Exiting").
 */
import * as X from "../layout/vmx.ts";
import type { Vcpu } from "./vcpu.ts";
import { VcpuWord } from "./vcpu-state.ts";
import type { Vmcs } from "./vmcs.ts";

const F = X.VmcsField;
const WINDOWS = X.Primary.INTERRUPT_WINDOW_EXITING | X.Primary.NMI_WINDOW_EXITING;
const RFLAGS_IF = 0x200;
const BLOCKING_STI_MOVSS = 3;
const BLOCKING_NMI = 8;
const INFO_VALID = 0x80000000;
const INFO_NMI = (INFO_VALID | (2 << 8) | 2) >>> 0;
const VECTOR_NP = 11;

/** Before each entry, in root mode: chooses the event and the interrupt window. */
export function prepareInjection(vcpu: Vcpu): void {
  const { words, vmcs, apic } = vcpu;
  let injects = false;
  let wantsWindow = false;
  if (words[VcpuWord.INJECT_INFO] !== 0) {
    writeInjection(vcpu);
    injects = true;
    wantsWindow = apic.hasInterrupt();
  } else if (
    words[VcpuWord.NMI_PENDING] !== 0 &&
    (vmcs.read32(F.GUEST_INTERRUPTIBILITY) & (BLOCKING_STI_MOVSS | BLOCKING_NMI)) === 0
  ) {
    words[VcpuWord.NMI_PENDING]! -= 1;
    vmcs.write(F.ENTRY_INTERRUPTION_INFO, INFO_NMI);
    injects = true;
  } else if (apic.hasInterrupt()) {
    injects = injectInterrupt(vcpu);
    wantsWindow = !injects || apic.hasInterrupt();
  }
  const primary = vmcs.primaryControls;
  // An NMI that waits for the end of another's handler, or behind what is injected now.
  const wantsNmiWindow = words[VcpuWord.NMI_PENDING] !== 0;
  const windows =
    (wantsWindow ? X.Primary.INTERRUPT_WINDOW_EXITING : 0) |
    (wantsNmiWindow ? X.Primary.NMI_WINDOW_EXITING : 0);
  if ((primary & WINDOWS) !== windows) vmcs.write(F.PRIMARY_CONTROLS, ((primary & ~WINDOWS) | windows) >>> 0);
  if (injects) vmcs.write(F.GUEST_ACTIVITY_STATE, 0);
  if (vcpu.vm.completion === "eli") chooseExitless(vcpu, injects || wantsWindow || apic.inService >= 0);
}

/** Hands the event that waits to be injected to the VMCS. */
export function writeInjection({ state, vmcs }: Vcpu): void {
  vmcs.write(F.ENTRY_INTERRUPTION_INFO, state.injectInfo);
  vmcs.write(F.ENTRY_EXCEPTION_ERROR_CODE, state.injectError);
  vmcs.write(F.ENTRY_INSTRUCTION_LENGTH, state.injectLength);
  state.injectInfo = 0;
}

/** The guest's RFLAGS.IF is set, and neither STI nor MOV SS blocks. */
export function canTakeInterrupt(vmcs: Vmcs): boolean {
  return (
    (vmcs.read32(F.GUEST_RFLAGS) & RFLAGS_IF) !== 0 &&
    (vmcs.read32(F.GUEST_INTERRUPTIBILITY) & BLOCKING_STI_MOVSS) === 0
  );
}

/** Takes the interrupt that is pending if the guest can take one now: the 8259's first, as the older protocol has it. */
function injectInterrupt(vcpu: Vcpu): boolean {
  const { vmcs, apic } = vcpu;
  if (!canTakeInterrupt(vmcs)) return false;
  let vector;
  if (apic.isExternalPending()) vector = vcpu.vm.pc.pic.acknowledge();
  else {
    vector = apic.pendingVector();
    apic.acknowledge(vector);
  }
  vmcs.write(F.ENTRY_INTERRUPTION_INFO, (INFO_VALID | vector) >>> 0);
  vcpu.charge(vcpu.vm.costs.interruptInjection);
  return true;
}

/**
 * Exitless completion holds while nothing is injected or in service at the virtual APIC: then external interrupts go
 * through the shadow IDT and the EOI register is the physical one.
 */
function chooseExitless(vcpu: Vcpu, needsVirtualApic: boolean): void {
  const s = vcpu.state;
  const { vmcs, shadowIdt } = vcpu;
  const on = !needsVirtualApic && shadowIdt.state.known !== 0 && vcpu.apic.isX2apic;
  if (on ? shadowIdt.map() : shadowIdt.unmap()) s.flush = 1;
  if ((s.exitless !== 0) === on) return;
  s.exitless = on ? 1 : 0;
  const pin = vmcs.read32(F.PIN_BASED_CONTROLS);
  const exiting = X.Pin.EXTERNAL_INTERRUPT_EXITING;
  vmcs.write(F.PIN_BASED_CONTROLS, on ? pin & ~exiting : pin | exiting);
  const bitmap = vmcs.read32(F.EXCEPTION_BITMAP);
  vmcs.write(F.EXCEPTION_BITMAP, on ? bitmap | (1 << VECTOR_NP) : bitmap & ~(1 << VECTOR_NP));
  const { pages } = vcpu.vm;
  vmcs.write(F.MSR_BITMAP, on ? pages.msrBitmapExitless : pages.msrBitmap);
}
