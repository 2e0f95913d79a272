/**
 * The library: `import { Machine } from "exitless"`, with the command line's words.
 */
export { HostSwitch, type SwitchPort } from "./hypervisor/host-switch.ts";
export type { FramePort } from "./hypervisor/host-network.ts";
export { Machine, OptionError, loadCostProfile } from "./hypervisor/machine.ts";
export type {
  CharacterOptions,
  CpuStats,
  DeviceOptions,
  FilterDumpOptions,
  HostForward,
  NetdevOptions,
  StreamAddress,
  DriveOptions,
  MachineOptions,
  MachineStats,
  MemoryReport,
  RunEnd,
  RunLimits,
  RunResult,
  Snapshot,
} from "./hypervisor/machine.ts";
export { ParallelMachine } from "./hypervisor/parallel-machine.ts";
export type { RequestPath } from "./hypervisor/request-paths.ts";
export type { CompletionPath } from "./hypervisor/vm.ts";
export { traceLine } from "./hypervisor/ledger.ts";
export type { LedgerEntry, LedgerRow, Phase } from "./hypervisor/ledger.ts";
export { ImageError } from "./emulator/machine/loaders/image-error.ts";
export { StorageError } from "./devices/storage/errors.ts";
export type { CostProfile } from "./emulator/machine/cost-profile.ts";
