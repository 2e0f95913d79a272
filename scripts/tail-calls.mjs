// Finishes the compiled core where AssemblyScript has no words for it (emulator/core/env.ts): tail calls between the handlers of
// records, and the CPU's block as a parameter of every handler. Works on WebAssembly's text form.
import binaryen from "binaryen";

/** Size of a record, which begins with its handler's table index: records/record.ts. */
const RECORD_SIZE = 32;
const HANDLER_TYPE = "$record-handler";
/** A function of the generated file as the compiler leaves it. */
const HANDLER = /^( \(func \S*instructions\/handlers\.generated\/\S+ .*?\(param \$0 i32\))( \(result i32\))/;
/** Parameter that the compiler knows nothing of, so that it cannot have used its place for something else. */
const BASE = "$base";

const escape = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Removes the import `env.name` with this declaration and returns its symbol. */
function takeImport(module, name, declaration) {
  const found = new RegExp(`^ *\\(import "env" "${name}" ${declaration}\\)\\n`, "m").exec(module.text);
  if (found === null) throw new Error(`tail-calls: the core does not import env.${name}`);
  module.text = module.text.replace(found[0], "");
  return found[1];
}

/** Replaces each `(call name (local.get x))` by what `make(x)` gives. Returns how many there were. */
function replaceCalls(module, name, make) {
  const symbol = takeImport(module, name, "\\(func (\\S+) \\(param i32\\) \\(result i32\\)\\)");
  let count = 0;
  const use = new RegExp(`\\(call ${escape(symbol)}\\s+\\(local\\.get (\\S+)\\)\\s*\\)`, "g");
  module.text = module.text.replaceAll(use, (_, local) => {
    count++;
    return make(local);
  });
  if (new RegExp(`\\(call ${escape(symbol)}\\s`).test(module.text))
    throw new Error(`tail-calls: a use of ${name} does not have a local variable as its argument`);
  return count;
}

/** Gives each handler its second parameter and lets it use that instead of the global. Returns how many there are. */
function addBaseParameter(module, global) {
  let count = 0;
  module.text = module.text
    .split(/(?=^ \(func )/m)
    .map((part) => {
      if (!HANDLER.test(part)) return part;
      count++;
      return part
        .replace(HANDLER, `$1 (param ${BASE} i32)$2`)
        .replaceAll(`(global.get ${global})`, `(local.get ${BASE})`);
    })
    .join("");
  return count;
}

/** Lets the run loop's call to a handler, the only one through the table with a handler's type, pass the second argument. */
function passBase(module, base) {
  const type = /\(type (\S+) \(func \(param i32\) \(result i32\)\)\)/.exec(module.text)?.[1];
  const parts = module.text.split(
    new RegExp(`(?<=\\(call_indirect (?:\\$\\S+ )?)\\(type ${escape(String(type))}\\)`),
  );
  if (parts.length !== 2)
    throw new Error(`tail-calls: ${parts.length - 1} calls to handlers besides tail calls, not 1`);
  const [before, after] = parts;
  let end = after.indexOf("(");
  let depth = 0;
  do {
    if (after[end] === "(") depth++;
    if (after[end] === ")") depth--;
    end++;
  } while (depth > 0);
  module.text = `${before}(type ${HANDLER_TYPE})${after.slice(0, end)} ${base}${after.slice(end)}`;
}

/**
 * @param {Uint8Array} wasm the compiled core
 * @returns {{ wasm: Uint8Array, tailCalls: number, handlers: number }}
 */
export function insertTailCalls(wasm) {
  const compiled = binaryen.readBinary(wasm);
  const module = { text: compiled.emitText() };
  compiled.dispose();
  // An entry for tests may have no handlers in it.
  if (!/^ *\(import "env" "next" /m.test(module.text)) return { wasm, tailCalls: 0, handlers: 0 };
  const global = /^ *\(import "env" "CPU" \(global (\S+) i32\)\)/m.exec(module.text)?.[1];
  const table = /^ *\(table (\S+)/m.exec(module.text)?.[1];
  if (global === undefined || table === undefined)
    throw new Error("tail-calls: no import env.cpu or no table");

  const indirect = (call, base, local, distance) => {
    const record =
      distance === 0 ? `(local.get ${local})` : `(i32.add (local.get ${local}) (i32.const ${distance}))`;
    const index = `(i32.load16_u offset=${distance} (local.get ${local}))`;
    return `(${call} ${table} (type ${HANDLER_TYPE}) ${record} ${base} ${index})`;
  };
  const base = `(local.get ${BASE})`;
  const tailCalls =
    replaceCalls(module, "next", (local) => indirect("return_call_indirect", base, local, RECORD_SIZE)) +
    replaceCalls(module, "enter", (local) => indirect("return_call_indirect", base, local, 0));
  passBase(module, `(global.get ${global})`);
  const handlers = addBaseParameter(module, global);
  module.text = module.text.replace(
    /^\(module\n/,
    `(module\n (type ${HANDLER_TYPE} (func (param i32 i32) (result i32)))\n`,
  );

  const finished = binaryen.parseText(module.text);
  const {
    Atomics,
    BulkMemory,
    BulkMemoryOpt,
    MutableGlobals,
    NontrappingFPToInt,
    SignExt,
    SIMD128,
    TailCall,
  } = binaryen.Features;
  finished.setFeatures(
    Atomics | BulkMemory | BulkMemoryOpt | MutableGlobals | NontrappingFPToInt | SignExt | SIMD128 | TailCall,
  );
  if (!finished.validate()) throw new Error("tail-calls: the result is not valid");
  binaryen.setDebugInfo(true);
  const result = finished.emitBinary();
  finished.dispose();
  return { wasm: result, tailCalls, handlers };
}
