// Replaces each `return next(record)` and `return enter(record)` of the core by a tail call to a handler (records/next.ts).
import binaryen from "binaryen";

/** Size of a record, which begins with its handler's table index: records/record.ts. */
const RECORD_SIZE = 32;

/**
 * @param {Uint8Array} wasm the compiled core
 * @returns {{ wasm: Uint8Array, calls: number }} the core with tail calls, and how many there are
 */
export function insertTailCalls(wasm) {
  const before = binaryen.readBinary(wasm);
  const text = before.emitText();
  before.dispose();
  const type = /\(type (\S+) \(func \(param i32\) \(result i32\)\)\)/.exec(text)?.[1];
  const table = /^ *\(table (\S+)/m.exec(text)?.[1];
  if (type === undefined || table === undefined) throw new Error("tail-calls: no handler type or no table");
  let replaced = text;
  let calls = 0;
  for (const [name, distance] of [
    ["next", RECORD_SIZE],
    ["enter", 0],
  ]) {
    const found = new RegExp(`^ *\\(import "env" "${name}" \\(func (\\S+) \\(param i32\\) \\(result i32\\)\\)\\)\\n`, "m").exec(replaced);
    if (found === null) throw new Error(`tail-calls: the core does not import env.${name}`);
    const [declaration, symbol] = found;
    replaced = replaced.replace(declaration, "");
    const escaped = symbol.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
    replaced = replaced.replaceAll(new RegExp(`\\(call ${escaped}\\s+\\(local\\.get (\\S+)\\)\\s*\\)`, "g"), (_, local) => {
      calls++;
      const index = `(i32.load16_u offset=${distance} (local.get ${local}))`;
      const record = distance === 0 ? `(local.get ${local})` : `(i32.add (local.get ${local}) (i32.const ${distance}))`;
      return `(return_call_indirect ${table} (type ${type}) ${record} ${index})`;
    });
    if (replaced.includes(`(call ${symbol}\n`)) throw new Error(`tail-calls: a use of ${name} has no local as its argument`);
  }
  const after = binaryen.parseText(replaced);
  const { Atomics, BulkMemory, BulkMemoryOpt, MutableGlobals, NontrappingFPToInt, SignExt, SIMD128, TailCall } = binaryen.Features;
  after.setFeatures(Atomics | BulkMemory | MutableGlobals | NontrappingFPToInt | SignExt | SIMD128 | TailCall | BulkMemoryOpt);
  if (!after.validate()) throw new Error("tail-calls: the result is not valid");
  binaryen.setDebugInfo(true);
  const result = after.emitBinary();
  after.dispose();
  return { wasm: result, calls };
}
