/** One number for everything that decides a machine's future. */
import { createHash, type Hash } from "node:crypto";
import { CpuStruct } from "../layout/cpu.ts";
import type { Core, CpuState } from "../emulator/host/core.ts";

/**
 * Parts of a CPU's block that are its state, one behind the other from the first field to before the second: what the core derives from
 * them, its caches and its scratch space are left out.
 */
const REGIONS: readonly (readonly [from: keyof CpuState, to: keyof CpuState])[] = [
  // Segment, control, debug and model-specific registers.
  ["segSelector", "codeSize"],
  ["x87Control", "branchTaken"],
];

/**
 * Single fields. RFLAGS is not among them: a part of it is lazy, and the core puts it together. Nor are performance counters, which are
 * brought up to date when somebody looks at them.
 */
const FIELDS = [
  ...["gpr", "rip", "apicRegister", "vector", "x87", "mxcsr", "exits", "instructions", "charged"],
  ...["activity", "interruptibility", "nmiPending", "vmxOn", "vmxNonRoot", "vmxonPointer", "vmcsPointer"],
  ...["sipiVector", "mwaitBreaksOnMasked", "intrLine", "initBlocked", "rvi", "svi", "preemptionDeadline"],
  ...["timerDeadline", "apicTimerStart", "tscDeadline", "apicEsrPending", "counterSelect"],
  ...["randomCount", "ferr", "ferrTold", "ignne"],
] as const satisfies readonly (keyof CpuState)[];

function hashCpu(hash: Hash, { state, exports }: Pick<Core, "state" | "exports">, block: Uint8Array): void {
  const { offsets } = CpuStruct;
  hash.update(String(BigInt.asUintN(64, exports.getFlags())));
  for (const [from, to] of REGIONS) hash.update(block.slice(offsets[from], offsets[to]));
  for (const name of FIELDS) {
    const value = state[name];
    if (typeof value === "object")
      hash.update(new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice());
    else hash.update(`${name} ${String(value)};`);
  }
}

/** @param parts memory that is hashed as it is: states of devices, RAM, overlays */
export function stateHash(
  cpus: readonly { readonly core: Pick<Core, "state" | "exports">; readonly block: Uint8Array }[],
  parts: Iterable<Uint8Array>,
): string {
  const hash = createHash("sha256");
  for (const { core, block } of cpus) hashCpu(hash, core, block);
  // A copy: Node does not hash shared memory.
  for (const part of parts) hash.update(part.slice());
  return hash.digest("hex");
}
