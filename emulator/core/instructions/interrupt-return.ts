/** IRET in all modes. SDM Vol. 2, "IRET/IRETD/IRETQ". */
import {
  FLAGS_ARITHMETIC,
  FLAG_AC,
  FLAG_DF,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
} from "../spec/architecture";
import { CS, DS, ES, FS, GS, RSP, SS, TR, cpu, setGpr } from "../state/cpu";
import {
  is64,
  isLongMode,
  isProtected,
  isVirtual8086,
  segBase,
  segLimit,
  updateContext,
  updateMode,
} from "../state/mode";
import { descriptorRights, loadRealSegment, setAccessed, setCodeSegment } from "../mmu/descriptors";
import { System } from "../mmu/linear";
import { faultPending, raiseGp } from "../interrupts/raise";
import {
  areVirtualFlagsLegal,
  hasVirtualFlags,
  isIoplBelow3,
  loadVirtualFlags,
} from "../interrupts/virtual-8086";
import { PIN_NMI_EXITING, PIN_VIRTUAL_NMIS } from "../spec/vmx";
import { TASK_BY_IRET, switchTask } from "./task-switch";
import { dropStack, peekStack, setFlagsMasked, setStackPointer } from "./stack";
import { isFarTargetLegal } from "./far-transfer";
import { dropInnerSegments, isReturnCodeLegal, isReturnStackLegal, setReturnStack } from "./return-checks";

export function iret<T>(record: usize): void {
  cpu.leave = 1;
  endNmiBlocking();
  const size = sizeof<T>();
  if (!isProtected()) {
    const target = <u64>peekStack<T>(0);
    const selector = (<u32>peekStack<T>(size)) & 0xffff;
    const image = <u64>peekStack<T>(size * 2);
    if (faultPending()) return;
    if (target > <u64>segLimit(CS)) {
      raiseGp();
      return;
    }
    dropStack(size * 3);
    loadRealSegment(CS, selector);
    cpu.rip = target;
    let writable = FLAGS_ARITHMETIC | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT;
    if (sizeof<T>() != 2) writable |= FLAG_AC | FLAG_ID | FLAG_RF;
    setReturnFlags(image, writable);
    updateMode();
    return;
  }
  if (isVirtual8086()) {
    iretV86<T>();
    return;
  }
  if (cpu.rflags & FLAG_NT) {
    if (isLongMode()) {
      raiseGp();
      return;
    }
    const link = <u32>System.read<u16>(segBase(TR));
    if (faultPending()) return;
    switchTask(link, TASK_BY_IRET, cpu.rip, 0, 0);
    return;
  }
  const target = <u64>peekStack<T>(0);
  if (faultPending()) return;
  const selector = (<u32>peekStack<T>(size)) & 0xffff;
  if (faultPending()) return;
  const image = <u64>peekStack<T>(size * 2);
  if (faultPending()) return;
  if (!isLongMode() && (image & FLAG_VM) != 0 && cpu.cpl == 0 && sizeof<T>() == 4) {
    iretToV86(target, selector, image);
    return;
  }
  if (!isReturnCodeLegal(selector)) return;
  const descriptor = cpu.descriptor;
  const rpl = selector & 3;
  const iopl = (<u32>(cpu.rflags >> 12)) & 3;
  let writable = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;
  if (sizeof<T>() != 2) writable |= FLAG_AC | FLAG_ID | FLAG_RF;
  if (cpu.cpl <= iopl) writable |= FLAG_IF;
  if (cpu.cpl == 0) writable |= FLAG_IOPL | (sizeof<T>() != 2 ? FLAG_VIF | FLAG_VIP : 0);
  if (rpl == cpu.cpl && !is64()) {
    if (!isFarTargetLegal(descriptor, target) || !setAccessed(selector, descriptor)) return;
    dropStack(size * 3);
    setCodeSegment(selector, descriptor, rpl);
    cpu.rip = target;
    setReturnFlags(image, writable);
    updateMode();
    return;
  }
  const newPointer = <u64>peekStack<T>(size * 3);
  if (faultPending()) return;
  const newSs = (<u32>peekStack<T>(size * 4)) & 0xffff;
  if (faultPending()) return;
  if (!isReturnStackLegal(newSs, descriptorRights(descriptor), rpl)) return;
  const stack = cpu.descriptor;
  if (
    !isFarTargetLegal(descriptor, target) ||
    !setAccessed(selector, descriptor) ||
    (stack != 0 && !setAccessed(newSs, stack))
  )
    return;
  const isOuter = rpl != cpu.cpl;
  setCodeSegment(selector, descriptor, rpl);
  setReturnStack(newSs, stack, rpl);
  updateMode();
  setStackPointer(newPointer);
  if (isOuter) dropInnerSegments();
  cpu.rip = target;
  setReturnFlags(image, writable);
  updateMode();
  updateContext();
}

/**
 * IRET ends blocking by NMI, even when it faults (SDM Vol. 3A, "Handling Multiple NMIs"): so before everything else. Under "NMI exiting"
 * that is virtual-NMI blocking, and without virtual NMIs nothing (SDM Vol. 3C, "Changes to Instruction Behavior in VMX Non-Root
 * Operation").
 */
function endNmiBlocking(): void {
  if ((cpu.interruptibility & 8) == 0) return;
  if (cpu.vmxNonRoot != 0 && (cpu.pinControls & (PIN_NMI_EXITING | PIN_VIRTUAL_NMIS)) == PIN_NMI_EXITING)
    return;
  cpu.interruptibility &= ~(<u32>8);
  cpu.iretUnblocked = 1;
}

/** As setFlagsMasked, but RF is taken from the image. */
function setReturnFlags(image: u64, writable: u64): void {
  setFlagsMasked(image, writable);
  cpu.rflags |= image & writable & FLAG_RF;
}

function iretV86<T>(): void {
  const isVirtual = isIoplBelow3();
  if (isVirtual && (sizeof<T>() != 2 || !hasVirtualFlags())) {
    raiseGp();
    return;
  }
  const size = sizeof<T>();
  const target = <u64>peekStack<T>(0);
  const selector = (<u32>peekStack<T>(size)) & 0xffff;
  const image = <u64>peekStack<T>(size * 2);
  if (faultPending()) return;
  if (target > 0xffff) {
    raiseGp();
    return;
  }
  if (isVirtual && !areVirtualFlagsLegal(image)) return;
  dropStack(size * 3);
  loadRealSegment(CS, selector);
  cpu.rip = target;
  let writable = FLAGS_ARITHMETIC | FLAG_TF | FLAG_IF | FLAG_DF | FLAG_NT;
  if (sizeof<T>() != 2) writable |= FLAG_AC | FLAG_ID | FLAG_RF;
  if (isVirtual) loadVirtualFlags(image);
  else setReturnFlags(image, writable);
  updateMode();
}

/** IRET from ring 0 of protected mode to virtual-8086 mode. */
function iretToV86(target: u64, selector: u32, image: u64): void {
  const esp = <u64>peekStack<u32>(12);
  const ss = peekStack<u32>(16) & 0xffff;
  const es = peekStack<u32>(20) & 0xffff;
  const ds = peekStack<u32>(24) & 0xffff;
  const fs = peekStack<u32>(28) & 0xffff;
  const gs = peekStack<u32>(32) & 0xffff;
  if (faultPending()) return;
  if (target > 0xffff) {
    raiseGp();
    return;
  }
  setFlagsMasked(image, 0x3f7fd5 | FLAG_VM);
  cpu.rflags |= FLAG_VM;
  cpu.cpl = 3;
  loadRealSegment(CS, selector);
  loadRealSegment(SS, ss);
  loadRealSegment(ES, es);
  loadRealSegment(DS, ds);
  loadRealSegment(FS, fs);
  loadRealSegment(GS, gs);
  setGpr(RSP, esp);
  cpu.rip = target;
  updateMode();
  updateContext();
}
