/**
 * What the compiled core may and may not contain, seen in the binary itself: one instance per physical CPU shares the
 * memory with others and with saved states, so nothing may live in the instance (ARCHITECTURE.md, "State addressing").
 */
import { readFileSync } from "node:fs";
import binaryen from "binaryen";
import { expect, test } from "vitest";
import { MACHINE } from "../../layout/memory-map.ts";

const wasm = readFileSync("dist/core.wasm");
const module = new WebAssembly.Module(wasm);
const text = ((): string => {
  const parsed = binaryen.readBinary(wasm);
  const emitted = parsed.emitText();
  parsed.dispose();
  return emitted;
})();

const CODE_SECTION = 10;

/** Reads an unsigned LEB128 number: value and the offset behind it. */
function leb(at: number): [value: number, next: number] {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = wasm[at++]!;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
}

/** Sizes in bytes of all function bodies, in the order of the code section. */
function bodySizes(): number[] {
  for (let at = 8; at < wasm.length;) {
    const id = wasm[at]!;
    const [size, start] = leb(at + 1);
    if (id !== CODE_SECTION) {
      at = start + size;
      continue;
    }
    const sizes: number[] = [];
    let [left, body] = leb(start);
    for (; left > 0; left--) {
      const [bytes, first] = leb(body);
      sizes.push(bytes);
      body = first + bytes;
    }
    return sizes;
  }
  return [];
}

test("imports are the shared memory, the CPU's base and the host's functions, and nothing else", () => {
  const imports = WebAssembly.Module.imports(module).map(
    ({ module: from, name, kind }) => `${from}.${name} ${kind}`,
  );
  const allowed = new Set([
    "env.memory memory",
    "env.CPU global",
    "env.portAccess function",
    "env.memoryAccess function",
    "env.wallClock function",
    "env.sendInterrupt function",
    "env.endOfInterrupt function",
    "env.floatError function",
    "env.monitoredLineWritten function",
    "env.acknowledgeInterrupt function",
  ]);
  expect(imports.filter((one) => !allowed.has(one))).toEqual([]);
  expect(imports).toContain("env.memory memory");
  expect(imports).toContain("env.CPU global");
});

test("no global is mutable, and none is exported", () => {
  expect(text.match(/\(mut /g)).toBeNull();
  expect(WebAssembly.Module.exports(module).filter(({ kind }) => kind === "global")).toEqual([]);
});

test("the memory is not grown, nothing is allocated, and no segment is initialized late", () => {
  expect(text).not.toContain("memory.grow");
  expect(text).not.toContain("~lib/rt");
  expect(text).not.toMatch(/\((?:memory\.init|data\.drop|table\.set|table\.grow|table\.init|elem\.drop)\b/);
});

test("constant data lies below the machine header, and no store has a constant address there", () => {
  const segments = [...text.matchAll(/^ \(data \S+ \(i32\.const (\d+)\) "((?:[^"\\]|\\.)*)"\)/gm)];
  expect(segments.length).toBe([...text.matchAll(/^ \(data /gm)].length);
  for (const [, at, contents] of segments) {
    const bytes = contents!.replaceAll(/\\(?:[0-9a-f]{2}|.)/g, "x").length;
    expect(Number(at) + bytes).toBeLessThanOrEqual(MACHINE);
  }
  const stores = [
    ...text.matchAll(
      /\((?:[if](?:32|64)|v128)\S*store\S*(?: offset=(\d+))?(?: align=\d+)?\s+\(i32\.const (-?\d+)\)/g,
    ),
  ];
  const low = stores.filter(([, offset, address]) => (Number(address) >>> 0) + Number(offset ?? 0) < MACHINE);
  expect(low.map(([store]) => store)).toEqual([]);
});

test("handlers go on by tail calls, so that a run of records needs no stack", () => {
  const tailCalls = text.match(/\(return_call_indirect /g)?.length ?? 0;
  expect(tailCalls).toBeGreaterThan(500);
  expect(text).not.toMatch(/\(import "env" "(?:next|enter)"/);
});

test("no function is so large that engines compile it badly", () => {
  const sizes = bodySizes();
  expect(sizes.length).toBeGreaterThan(1000);
  const largest = Math.max(...sizes);
  console.info(`core: ${wasm.length} bytes, ${sizes.length} functions, the largest ${largest} bytes`);
  expect(largest).toBeLessThan(32768);
});
