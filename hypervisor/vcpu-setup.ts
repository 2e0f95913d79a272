/** What a virtual CPU's VMCS holds at power-on, and the guest states that it can start in. */
import type { EntryState } from "../emulator/machine/loaders/entry-state.ts";
import * as X from "../layout/vmx.ts";
import type { Vcpu } from "./vcpu.ts";
import type { Vmcs } from "./vmcs.ts";

const F = X.VmcsField;

/** An empty VMCS, then everything but the guest's segments, RIP and control registers. */
export function initialiseVmcs(vcpu: Vcpu): void {
  const v = vcpu.vmcs;
  const { pages } = vcpu.vm;
  v.clear();
  v.write(
    F.PIN_BASED_CONTROLS,
    X.MustBe1.PIN | X.Pin.EXTERNAL_INTERRUPT_EXITING | X.Pin.NMI_EXITING | X.Pin.VIRTUAL_NMIS,
  );
  v.write(
    F.PRIMARY_CONTROLS,
    (X.MustBe1.PRIMARY |
      X.Primary.HLT_EXITING |
      X.Primary.MWAIT_EXITING |
      X.Primary.MONITOR_EXITING |
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
      X.Secondary.ENABLE_XSAVES |
      (vcpu.vm.completion === "eli" ? X.Secondary.DESCRIPTOR_TABLE_EXITING : 0),
  );
  v.write(
    F.EXIT_CONTROLS,
    X.MustBe1.EXIT |
      X.ExitControl.SAVE_DEBUG_CONTROLS |
      X.ExitControl.HOST_ADDRESS_SPACE_SIZE |
      X.ExitControl.ACKNOWLEDGE_INTERRUPT |
      X.ExitControl.SAVE_PAT |
      X.ExitControl.SAVE_EFER,
  );
  v.write(
    F.ENTRY_CONTROLS,
    X.MustBe1.ENTRY | X.EntryControl.LOAD_DEBUG_CONTROLS | X.EntryControl.LOAD_PAT | X.EntryControl.LOAD_EFER,
  );
  v.write(F.IO_BITMAP_A, pages.ioBitmapA);
  v.write(F.IO_BITMAP_B, pages.ioBitmapB);
  v.write(F.MSR_BITMAP, pages.msrBitmap);
  v.write(F.VIRTUAL_PROCESSOR_ID, vcpu.index + 1);
  v.write(F.EPT_POINTER, (vcpu.eptView ?? vcpu.vm.ept).pointer);
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

function setSegment(
  v: Vmcs,
  index: number,
  selector: number,
  base: number,
  limit: number,
  rights: number,
): void {
  v.write(F.GUEST_ES_SELECTOR + 2 * index, selector);
  v.write(F.GUEST_ES_BASE + 2 * index, base);
  v.write(F.GUEST_ES_LIMIT + 2 * index, limit);
  v.write(F.GUEST_ES_ACCESS_RIGHTS + 2 * index, rights);
}

/** CD and NW of CR0, which VM entry does not load: they are the physical register's. */
const CR0_CACHE = 0x60000000n;
const CR0_NE = 0x20;

/** The guest's CR0. NE is fixed in VMX operation; the guest sees the shadow. */
function setCr0({ vmcs, core }: Vcpu, value: number): void {
  vmcs.write(F.GUEST_CR0, (value | CR0_NE) >>> 0);
  vmcs.write(F.CR0_READ_SHADOW, value);
  core.state.cr0 = (core.state.cr0 & ~CR0_CACHE) | (BigInt(value) & CR0_CACHE);
}

/** Real mode at CS:IP with everything else as after INIT. */
export function setRealModeStart(vcpu: Vcpu, selector: number, base: number, ip: number): void {
  const v = vcpu.vmcs;
  for (let i = 0; i < 8; i++) setSegment(v, i, 0, 0, 0xffff, 0x93);
  setSegment(v, 1, selector, base, 0xffff, 0x9b);
  setSegment(v, 6, 0, 0, 0xffff, 0x82);
  setSegment(v, 7, 0, 0, 0xffff, 0x8b);
  for (const field of [F.GUEST_GDTR_BASE, F.GUEST_IDTR_BASE, F.GUEST_CR3, F.GUEST_EFER, F.GUEST_RSP])
    v.write(field, 0);
  v.write(F.GUEST_GDTR_LIMIT, 0xffff);
  v.write(F.GUEST_IDTR_LIMIT, 0xffff);
  setCr0(vcpu, 0x60000010);
  v.write(F.GUEST_CR4, 0x2000);
  v.write(F.CR4_READ_SHADOW, 0);
  v.write(F.GUEST_RIP, ip);
  v.write(F.GUEST_RFLAGS, 2);
  v.write(F.GUEST_INTERRUPTIBILITY, 0);
  v.write(F.GUEST_ACTIVITY_STATE, 0);
  const { gpr } = vcpu.core.state;
  gpr.fill(0n);
  gpr[2] = BigInt(vcpu.core.state.signature);
}

/** The state at an image's entry point. */
export function setEntryState(vcpu: Vcpu, entry: EntryState): void {
  const v = vcpu.vmcs;
  entry.segments.forEach((segment, i) =>
    setSegment(v, i, segment.selector, segment.base, segment.limit, segment.rights),
  );
  // VM entry wants a busy TSS in TR, and every loaded segment accessed.
  v.write(F.GUEST_GDTR_BASE, entry.gdtr.base);
  v.write(F.GUEST_GDTR_LIMIT, entry.gdtr.limit);
  v.write(F.GUEST_IDTR_BASE, entry.idtr.base);
  v.write(F.GUEST_IDTR_LIMIT, entry.idtr.limit);
  setCr0(vcpu, entry.cr0);
  v.write(F.GUEST_CR3, entry.cr3);
  v.write(F.GUEST_CR4, (entry.cr4 | 0x2000) >>> 0);
  v.write(F.CR4_READ_SHADOW, entry.cr4);
  v.write(F.GUEST_EFER, entry.efer);
  v.write(F.GUEST_RIP, entry.rip);
  v.write(F.GUEST_RFLAGS, entry.rflags);
  setLongModeControl(v, (entry.efer & 0x400) !== 0);
  entry.general.forEach((value, i) => (vcpu.core.state.gpr[i] = BigInt(value)));
  v.write(F.GUEST_RSP, entry.general[4] ?? 0);
}

/** Says to VM entry whether the guest is in IA-32e mode. */
export function setLongModeControl(v: Vmcs, isLong: boolean): void {
  const before = v.read32(F.ENTRY_CONTROLS);
  const bit = X.EntryControl.IA32E_MODE_GUEST;
  v.write(F.ENTRY_CONTROLS, isLong ? before | bit : before & ~bit);
}
