/** A virtual CPU's state beside its VMCS and its physical CPU's block. */
import { struct, u32, u53, u8 } from "../layout/struct.ts";

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
