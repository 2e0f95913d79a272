// Replaces each `return next(record)` of the core by a tail call to the next record's handler (records/next.ts).
import binaryen from "binaryen";

/** Size of a record and offset of its handler's table index: records/record.ts. */
const RECORD_SIZE = 32;

const IMPORT = /^ *\(import "env" "next" \(func (\S+) \(param i32\) \(result i32\)\)\)\n/m;

/**
 * @param {Uint8Array} wasm the compiled core
 * @returns {{ wasm: Uint8Array, calls: number }} the core with tail calls, and how many there are
 */
export function insertTailCalls(wasm) {
  const before = binaryen.readBinary(wasm);
  const text = before.emitText();
  before.dispose();
  const name = IMPORT.exec(text)?.[1];
  if (name === undefined) throw new Error("tail-calls: the core does not import env.next");
  const type = /\(type (\S+) \(func \(param i32\) \(result i32\)\)\)/.exec(text)?.[1];
  const table = /^ *\(table (\S+)/m.exec(text)?.[1];
  if (type === undefined || table === undefined) throw new Error("tail-calls: no handler type or no table");
  let calls = 0;
  const escaped = name.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const replaced = text
    .replace(IMPORT, "")
    .replaceAll(new RegExp(`\\(call ${escaped}\\s+\\(local\\.get (\\S+)\\)\\s*\\)`, "g"), (_, local) => {
      calls++;
      const index = `(i32.load16_u offset=${RECORD_SIZE} (local.get ${local}))`;
      const record = `(i32.add (local.get ${local}) (i32.const ${RECORD_SIZE}))`;
      return `(return_call_indirect ${table} (type ${type}) ${record} ${index})`;
    });
  if (replaced.includes(`(call ${name}`)) throw new Error("tail-calls: a use of next is not of the form next(record)");
  const after = binaryen.parseText(replaced);
  const { Atomics, BulkMemory, BulkMemoryOpt, MutableGlobals, NontrappingFPToInt, SignExt, SIMD128, TailCall } = binaryen.Features;
  after.setFeatures(Atomics | BulkMemory | MutableGlobals | NontrappingFPToInt | SignExt | SIMD128 | TailCall | BulkMemoryOpt);
  if (!after.validate()) throw new Error("tail-calls: the result is not valid");
  binaryen.setDebugInfo(true);
  const result = after.emitBinary();
  after.dispose();
  return { wasm: result, calls };
}
