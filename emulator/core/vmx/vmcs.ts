/** Access to the current VMCS: fields are 8-byte slots at fixed places of the region (layout/vmx.ts). */
import { cpu } from "../state/cpu";

export class Vmcs {
  /** Reads a field by its place in the region (VMCS_*). There must be a current VMCS. */
  @inline static get(slot: usize): u64 {
    return load<u64>(<usize>cpu.vmcs + slot);
  }
  @inline static set(slot: usize, value: u64): void {
    store<u64>(<usize>cpu.vmcs + slot, value);
  }
  @inline static get32(slot: usize): u32 {
    return load<u32>(<usize>cpu.vmcs + slot);
  }
}
