/** The VMCS as a list of named fields, and what changed in it between two looks. */
import type { Vmcs } from "../hypervisor/vmcs.ts";
import { VmcsField } from "../layout/vmx.ts";
import { hex } from "./number-format.ts";

/** Fields by encoding, as Appendix B of the SDM orders them. */
export const VMCS_FIELDS: readonly (readonly [string, number])[] = Object.entries(VmcsField).sort(
  ([, a], [, b]) => a - b,
);

export type VmcsValues = ReadonlyMap<string, bigint>;

export function readVmcs(vmcs: Vmcs): VmcsValues {
  return new Map(VMCS_FIELDS.map(([name, encoding]) => [name, vmcs.readBig(encoding)]));
}

export interface VmcsChange {
  readonly field: string;
  readonly before: bigint;
  readonly after: bigint;
}

export function vmcsChanges(before: VmcsValues, after: VmcsValues): VmcsChange[] {
  return [...after]
    .map(([field, value]) => ({ field, before: before.get(field) ?? 0n, after: value }))
    .filter((change) => change.before !== change.after);
}

/** A value with the digits of its field's width (SDM, "Field Encoding in VMCS"). */
export function formatField(name: string, value: bigint): string {
  const encoding = VMCS_FIELDS.find(([field]) => field === name)?.[1] ?? 0x6000;
  const digits = [4, 16, 8, 16][(encoding >>> 13) & 3]!;
  return hex(value, digits);
}
