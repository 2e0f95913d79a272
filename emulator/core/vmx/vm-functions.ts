/** VM functions: EPTP switching. SDM Vol. 3C, "VM Functions". */
import * as X from "../spec/vmx";
import { cpu } from "../state/cpu";
import { updateContext } from "../state/mode";
import { ramAddress } from "../mmu/physical";
import { bumpJumpGeneration } from "../records/block-cache";
import { eptpRule } from "./control-checks";
import { Vmcs } from "./vmcs";

const LIST_ENTRIES: u32 = 512;

/** Makes entry `index` of the EPTP list the EPTP. False: VMFUNC exits. */
export function switchEptp(index: u32): bool {
  if (index >= LIST_ENTRIES) return false;
  const at = ramAddress(Vmcs.get(X.VMCS_EPTP_LIST_ADDRESS) + ((<u64>index) << 3), 8);
  const eptp = at == 0 ? 0 : load<u64>(at);
  if (eptpRule(eptp) != 0) return false;
  Vmcs.set(X.VMCS_EPT_POINTER, eptp);
  if ((cpu.proc2Controls & X.SECONDARY_EPT_VIOLATION_VE) != 0) Vmcs.set(X.VMCS_EPTP_INDEX, <u64>index);
  cpu.eptp = eptp;
  bumpJumpGeneration();
  updateContext();
  cpu.leave = 1;
  return true;
}
