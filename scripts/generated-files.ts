/** The generated files of the repository and what makes each. `scripts/generate.mjs` writes or checks them. */
import { handlerFunctions } from "../emulator/isa/generate-handlers.ts";
import { TABLE_FEATURES } from "../emulator/isa/features.ts";
import { floatTables } from "../emulator/isa/generate-float-tables.ts";
import { MEDIA_BITS } from "../emulator/isa/media-kinds.ts";
import { decoderTables } from "../emulator/isa/generate.ts";
import {
  DecodedFlag,
  DecodedStruct,
  DecodeResult,
  BASE_RIP,
  NO_REGISTER,
  NO_SEGMENT,
  OperandKind,
} from "../layout/decoded.ts";
import { CpuStruct } from "../layout/cpu.ts";
import { assemblyScriptStruct } from "../layout/generate-assemblyscript.ts";
import * as vmx from "../layout/vmx.ts";
import { ENTRY_RULES } from "../layout/vmx-rules.ts";
import * as map from "../layout/memory-map.ts";

const constants = (prefix: string, type: string, values: Readonly<Record<string, number>>): string =>
  Object.entries(values)
    .map(([name, value]) => `export const ${prefix}${name}: ${type} = ${value};\n`)
    .join("");

const decodedStruct = (): string =>
  assemblyScriptStruct(
    DecodedStruct,
    "One decoded instruction; the fields are described in layout/decoded.ts.",
  ) +
  constants("DECODED_FLAG_", "u32", DecodedFlag) +
  constants("OPERAND_", "u32", OperandKind) +
  constants("DECODE_", "i32", DecodeResult) +
  constants("", "u32", { NO_REGISTER, BASE_RIP, NO_SEGMENT });

const layout = (): string =>
  constants("", "usize", {
    MACHINE: map.MACHINE,
    TLB_ENTRIES: map.TLB_ENTRIES,
    JUMP_ENTRIES: map.JUMP_ENTRIES,
    BLOCK_INDEX_ENTRIES: map.BLOCK_INDEX_ENTRIES,
    CPU_TLB_READ: map.CPU_TLB_READ,
    CPU_TLB_WRITE: map.CPU_TLB_WRITE,
    CPU_TLB_EXECUTE: map.CPU_TLB_EXECUTE,
    CPU_JUMP_CACHE: map.CPU_JUMP_CACHE,
    CPU_BLOCK_INDEX: map.CPU_BLOCK_INDEX,
    CPU_RECORDS: map.CPU_RECORDS,
  }) +
  assemblyScriptStruct(CpuStruct, "One physical CPU; the fields are described in layout/cpu.ts.") +
  assemblyScriptStruct(map.MachineStruct, "The machine header; layout/memory-map.ts.");

/** By group of width and type: which fields exist, and writing to which of them makes entry checks necessary. */
const vmcsFieldTables = (): string => {
  const cases = (masks: readonly number[]): string =>
    masks.map((mask, group) => `    case ${group}:\n      return ${mask};\n`).join("");
  return (
    `\n/** Bit n: the group's field of index n exists. */\nexport function vmcsGroupFields(group: u32): u32 {\n  switch (group) {\n${cases(vmx.vmcsGroupMasks())}    default:\n      return 0;\n  }\n}\n` +
    `\n/** Bit n: writing the group's field of index n leaves the VMCS clean. */\nexport function vmcsGroupClean(group: u32): u32 {\n  switch (group) {\n${cases(vmx.vmcsGroupMasks(vmx.ALWAYS_CHECKED))}    default:\n      return 0;\n  }\n}\n`
  );
};

const vmxConstants = (): string => {
  const { vmcsFieldOffset, VmcsField } = vmx;
  const slots = Object.fromEntries(
    Object.entries(VmcsField).map(([name, value]) => [name, vmcsFieldOffset(value)]),
  );
  return (
    "// Places of VMCS fields in the region, exit reasons and control bits; see layout/vmx.ts.\n" +
    constants("VMCS_", "usize", slots) +
    constants("EXIT_REASON_", "u32", vmx.ExitReason) +
    constants("PIN_", "u32", vmx.Pin) +
    constants("PRIMARY_", "u32", vmx.Primary) +
    constants("SECONDARY_", "u32", vmx.Secondary) +
    constants("EXIT_", "u32", vmx.ExitControl) +
    constants("ENTRY_", "u32", vmx.EntryControl) +
    constants("MUST_BE_1_", "u32", vmx.MustBe1) +
    constants("DEFAULT1_", "u32", vmx.Default1) +
    constants("EPT_CAPABILITY_", "u32", vmx.EptCapability) +
    constants("VPID_CAPABILITY_", "u32", vmx.VpidCapability) +
    constants("MISC_", "u32", vmx.Misc) +
    constants("", "u32", { VMCS_REVISION: vmx.VMCS_REVISION }) +
    constants("", "usize", {
      VMCS_LAUNCH_STATE_AT: vmx.VMCS_LAUNCH_STATE_AT,
      VMCS_DIRTY_AT: vmx.VMCS_DIRTY_AT,
      VMCS_ABORT_AT: vmx.VMCS_ABORT_AT,
      VMCS_FIELDS_AT: vmx.VMCS_FIELDS_AT,
      VMCS_FIELDS_PER_GROUP: vmx.VMCS_FIELDS_PER_GROUP,
    }) +
    "// Rules of VM entry; layout/vmx-rules.ts.\n" +
    constants("RULE_", "u32", Object.fromEntries(ENTRY_RULES.map(({ name }, i) => [name, i + 1]))) +
    vmcsFieldTables()
  );
};

/** Path in the repository -> makes the text below the first line. */
export const GENERATED_FILES: Readonly<Record<string, () => string>> = {
  "emulator/core/decode/tables.generated.ts": decoderTables,
  "emulator/core/layout.generated.ts": layout,
  "emulator/core/spec/vmx.ts": vmxConstants,
  "emulator/core/instructions/handlers.generated.ts": handlerFunctions,
  "emulator/core/decode/decoded.generated.ts": decodedStruct,
  "emulator/host/instruction-sets.generated.ts": () =>
    `/** Features of the instruction table; the order numbers the bits of \`Cpu.features\`. */\nexport const TABLE_FEATURES: readonly string[] = ${JSON.stringify(TABLE_FEATURES)};\n`,
  "emulator/core/float/tables.generated.ts": floatTables,
  "emulator/core/spec/media.generated.ts": () =>
    "// Kinds of media instructions, bits of `Cpu.mediaFaults`.\n" + constants("MEDIA_", "u32", MEDIA_BITS),
};
