/** The generated files of the repository and what makes each. `scripts/generate.mjs` writes or checks them. */
import { decoderTables, handlerNumbers } from "../emulator/isa/generate.ts";
import {
  DecodedFlag,
  DecodedStruct,
  DecodeResult,
  BASE_RIP,
  NO_REGISTER,
  NO_SEGMENT,
  OperandKind,
} from "../layout/decoded.ts";
import { assemblyScriptStruct } from "../layout/generate-assemblyscript.ts";

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

/** Path in the repository -> makes the text below the first line. */
export const GENERATED_FILES: Readonly<Record<string, () => string>> = {
  "emulator/core/decode/tables.generated.ts": decoderTables,
  "emulator/core/decode/handlers.generated.ts": handlerNumbers,
  "emulator/core/decode/decoded.generated.ts": decodedStruct,
};
