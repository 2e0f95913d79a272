/** The native x87 harness, from TypeScript: builds it with gcc and runs cases on the processor at hand. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { OPERAND_BYTES, REGISTERS, type X87Input, type X87Outcome } from "./case.ts";

const SOURCE = "test/silicon/native/x87.c";
const DIRECTORY = "build/silicon";

/** `struct input` of the harness. */
const INPUT = {
  codeLength: 12,
  tag: 13,
  control: 14,
  status: 16,
  rflags: 20,
  rax: 24,
  registers: 32,
  operand: 160,
  size: 192,
};
/** `struct output`. */
const OUTPUT = {
  status: 0,
  control: 2,
  tag: 4,
  opcode: 6,
  rflags: 16,
  faulted: 20,
  rax: 24,
  registers: 32,
  operand: 160,
  size: 192,
};
const REGISTER_BYTES = 16;

/** Builds the harness; returns its path. Throws with gcc's messages. */
export function buildX87Harness(): string {
  mkdirSync(DIRECTORY, { recursive: true });
  const output = join(DIRECTORY, "x87");
  execFileSync("gcc", ["-O1", "-Wall", "-Wextra", "-Werror", "-o", output, SOURCE], { stdio: "pipe" });
  return output;
}

/** The bytes that the harness reads for these cases; their digest identifies the inputs of a corpus. */
export function encodeX87Inputs(inputs: readonly X87Input[]): Uint8Array {
  const bytes = new Uint8Array(inputs.length * INPUT.size);
  const view = new DataView(bytes.buffer);
  inputs.forEach((input, n) => {
    const at = n * INPUT.size;
    bytes.set(input.code, at);
    bytes[at + INPUT.codeLength] = input.code.length;
    bytes[at + INPUT.tag] = input.tag;
    view.setUint16(at + INPUT.control, input.control, true);
    view.setUint16(at + INPUT.status, input.status, true);
    view.setUint32(at + INPUT.rflags, input.rflags, true);
    view.setBigUint64(at + INPUT.rax, input.rax, true);
    input.registers.forEach(({ exponent, significand }, i) => {
      view.setBigUint64(at + INPUT.registers + i * REGISTER_BYTES, significand, true);
      view.setUint16(at + INPUT.registers + i * REGISTER_BYTES + 8, exponent, true);
    });
    bytes.set(input.operand, at + INPUT.operand);
  });
  return bytes;
}

/** Bytes of an outcome as the harness writes it. */
export const X87_OUTCOME_BYTES = OUTPUT.size;

/** Reads an outcome. */
export function decodeX87Outcome(view: DataView, at: number): X87Outcome {
  const full = view.getUint16(at + OUTPUT.tag, true);
  let tag = 0;
  for (let i = 0; i < REGISTERS; i++) if (((full >> (2 * i)) & 3) !== 3) tag |= 1 << i;
  return {
    isFaulted: view.getUint32(at + OUTPUT.faulted, true) !== 0,
    control: view.getUint16(at + OUTPUT.control, true),
    status: view.getUint16(at + OUTPUT.status, true),
    tag,
    opcode: view.getUint16(at + OUTPUT.opcode, true),
    rflags: view.getUint32(at + OUTPUT.rflags, true),
    rax: view.getBigUint64(at + OUTPUT.rax, true),
    registers: Array.from({ length: REGISTERS }, (_, i) => ({
      significand: view.getBigUint64(at + OUTPUT.registers + i * REGISTER_BYTES, true),
      exponent: view.getUint16(at + OUTPUT.registers + i * REGISTER_BYTES + 8, true),
    })),
    operand: new Uint8Array(view.buffer, view.byteOffset + at + OUTPUT.operand, OPERAND_BYTES).slice(),
  };
}

/** Runs the cases in order: the outcomes as the harness writes them. Throws when it fails. */
export function runX87NativeRaw(harness: string, inputs: readonly X87Input[]): Uint8Array {
  const run = spawnSync(harness, [], {
    input: encodeX87Inputs(inputs),
    maxBuffer: inputs.length * OUTPUT.size + 4096,
  });
  if (run.status !== 0)
    throw new Error(`x87 harness: status ${run.status ?? run.signal ?? "?"}: ${run.stderr.toString()}`, {
      cause: run.error,
    });
  if (run.stdout.length !== inputs.length * OUTPUT.size)
    throw new Error(`x87 harness: ${run.stdout.length / OUTPUT.size} outcomes of ${inputs.length}`);
  return run.stdout;
}

/** `runX87NativeRaw`, decoded. */
export function runX87Native(harness: string, inputs: readonly X87Input[]): X87Outcome[] {
  const raw = runX87NativeRaw(harness, inputs);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return inputs.map((_, i) => decodeX87Outcome(view, i * OUTPUT.size));
}
