/** A virtual CPU's state beside its VMCS and its physical CPU's block. */
import { struct, u32, u53, u8 } from "../layout/struct.ts";

/** The host's own vector: "look at your virtual CPU". */
export const KICK_VECTOR = 0xf2;

export const VcpuRun = { RUNNING: 0, HALTED: 1, WAIT_FOR_SIPI: 2, SHUTDOWN: 3 } as const;

export const VcpuStruct = struct("Vcpu", {
  // The first five words: all 0 in a virtual CPU that runs with nothing to do for it (SPECIAL_WORDS).
  run: u32,
  attention: u32,
  /** The TLB must forget EPT translations at the next entry. */
  flush: u32,
  nmiPending: u32,
  /** #NP or another exception to inject at the next entry: interruption information and error code. */
  injectInfo: u32,
  injectError: u32,
  injectLength: u32,
  sipiVector: u32,
  /** A physical kick is on its way or not yet answered. */
  kicked: u8,
  /** Exitless completion is in force until the next exit that needs the virtual APIC. */
  exitless: u8,
  /** Hypercalls so far. */
  hypercalls: u53,
});

/** How many words of the struct's beginning are 0 unless an entry has something to do. */
export const SPECIAL_WORDS = 5;

/** Fields that every entry looks at, as 32-bit words from the struct's start. */
export const VcpuWord = {
  RUN: VcpuStruct.offsets.run >>> 2,
  ATTENTION: VcpuStruct.offsets.attention >>> 2,
  FLUSH: VcpuStruct.offsets.flush >>> 2,
  NMI_PENDING: VcpuStruct.offsets.nmiPending >>> 2,
  INJECT_INFO: VcpuStruct.offsets.injectInfo >>> 2,
} as const;
