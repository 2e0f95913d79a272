/** Writes `emulator/core/layout.generated.ts`: the core's view of the layout table. */
import { assemblyScriptOf } from "./generate-assemblyscript.ts";
import { CpuStruct } from "./cpu.ts";
import * as map from "./memory-map.ts";

/** The generated file's text. */
export function layoutAssemblyScript(): string {
  const constants = (
    [
      "MACHINE",
      "TLB_ENTRIES",
      "JUMP_ENTRIES",
      "BLOCK_INDEX_ENTRIES",
      "CPU_TLB_READ",
      "CPU_TLB_WRITE",
      "CPU_TLB_EXECUTE",
      "CPU_JUMP_CACHE",
      "CPU_BLOCK_INDEX",
      "CPU_RECORDS",
    ] as const
  ).map((name) => `export const ${name}: usize = ${map[name]};`);
  return [
    "// Generated from layout/ by `npm run layout`. Do not edit.",
    "",
    ...constants,
    "",
    assemblyScriptOf(CpuStruct),
    assemblyScriptOf(map.MachineStruct),
  ].join("\n");
}
