/**
 * The MSR areas of VM entries and VM exits: 16-byte entries of index, reserved word and value. SDM Vol. 3C, "VM-Exit Controls for
 * MSRs", "VM-Entry Controls for MSRs", "Loading MSRs", "Saving MSRs".
 */
import * as X from "../spec/vmx";
import * as MSR from "../spec/msr";
import { cpu } from "../state/cpu";
import { ramAddress, isGuarded, noteWrite } from "../mmu/physical";
import { NO_FAULT } from "../interrupts/raise";
import { isX2apic } from "../interrupts/local-apic";
import { msrValue, setMsr } from "../instructions/msr";
import { broken } from "./rule";
import { Vmcs } from "./vmcs";

/** What IA32_VMX_MISC[27:25] = 0 recommends at most; more gives results that the manual leaves undefined. */
const MOST_ENTRIES: u32 = 512;
const SMM_MONITOR_CTL: u32 = 0x9b;

/** A fault of the access to an MSR is taken back: true when there was one. */
function faulted(): bool {
  if (cpu.faultVector == NO_FAULT) return false;
  cpu.faultVector = NO_FAULT;
  return true;
}

function isForbidden(index: u32, isLoad: bool): bool {
  if (index >> 8 == 8 && isX2apic()) return true;
  if (!isLoad) return index == 0x9e;
  return (
    index == MSR.FS_BASE ||
    index == MSR.GS_BASE ||
    index >> 8 == 8 ||
    index == SMM_MONITOR_CTL ||
    index == MSR.BIOS_UPDATE_TRIGGER
  );
}

/** Loads an area. Returns 0, or the number of the entry that failed, from 1. */
function loadArea(count: u32, address: u64): u32 {
  for (let i: u32 = 0; i < count; i++) {
    if (i >= MOST_ENTRIES) {
      broken(X.RULE_ENTRY_MSR_COUNT);
      return i + 1;
    }
    const at = ramAddress(address + ((<u64>i) << 4), 16);
    const index: u32 = at == 0 ? 0xffffffff : load<u32>(at);
    if (at != 0 && load<u32>(at, 4) != 0) {
      broken(X.RULE_ENTRY_MSR_RESERVED);
      return i + 1;
    }
    if (isForbidden(index, true)) {
      broken(X.RULE_ENTRY_MSR_INDEX);
      return i + 1;
    }
    setMsr(index, at == 0 ? 0xffffffffffffffff : load<u64>(at, 8));
    if (faulted()) {
      broken(X.RULE_ENTRY_MSR_VALUE);
      return i + 1;
    }
  }
  return 0;
}

/** At VM entry. Returns 0, or the number of the entry that failed: the exit qualification of the failure. */
export function loadEntryMsrs(): u32 {
  const count = Vmcs.get32(X.VMCS_ENTRY_MSR_LOAD_COUNT);
  return count == 0 ? 0 : loadArea(count, Vmcs.get(X.VMCS_ENTRY_MSR_LOAD_ADDRESS));
}

/** At VM exit, the host's. False: VMX abort. */
export function loadExitMsrs(): bool {
  const count = Vmcs.get32(X.VMCS_EXIT_MSR_LOAD_COUNT);
  return count == 0 || loadArea(count, Vmcs.get(X.VMCS_EXIT_MSR_LOAD_ADDRESS)) == 0;
}

/** At VM exit, the guest's. False: VMX abort. */
export function storeExitMsrs(): bool {
  const count = Vmcs.get32(X.VMCS_EXIT_MSR_STORE_COUNT);
  const address = Vmcs.get(X.VMCS_EXIT_MSR_STORE_ADDRESS);
  for (let i: u32 = 0; i < count; i++) {
    const at = ramAddress(address + ((<u64>i) << 4), 16);
    if (i >= MOST_ENTRIES || at == 0) return false;
    const index = load<u32>(at);
    if (isForbidden(index, false) || load<u32>(at, 4) != 0) return false;
    const value = msrValue(index);
    if (faulted()) return false;
    store<u64>(at, value, 8);
    if (isGuarded(at)) noteWrite(at, 16);
  }
  return true;
}
