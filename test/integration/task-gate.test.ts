/** An event through a task gate, on the bare machine and in a virtual machine, where the switch is a VM exit that is emulated. */
import { expect, test } from "vitest";
import { Machine } from "../../hypervisor/machine.ts";
import { multiboot } from "../support/machine.ts";

const hex = (text: string): number[] => [...Buffer.from(text.replaceAll(" ", ""), "hex")];
const le = (value: number): string =>
  [0, 8, 16, 24].map((shift) => ((value >>> shift) & 0xff).toString(16).padStart(2, "0")).join("");
/** mov dword [at], value */
const put = (at: number, value: number): string => `c705${le(at)}${le(value)}`;

const LOAD = 0x100040;
const GDT = 0x9000;
const OLD_TSS = 0xa000;
const NEW_TSS = 0xa100;
const IDT = 0xb000;
const POINTER = 0xc000;
const OLD_SELECTOR = 0x18;
const NEW_SELECTOR = 0x20;
const HANDLER = 0x100200;
const STACK = 0x8000;
const GP = 13;

/** Loads tables and a task, and raises #GP(0040H) by loading DS with a selector beyond the GDT. */
function program(handler: string): number[] {
  const tss = (base: number, selector: number): string =>
    put(GDT + selector, ((base & 0xffff) << 16) | 0x67) + put(GDT + selector + 4, 0x00008900);
  const code = hex(
    put(GDT, 0) +
      put(GDT + 4, 0) +
      put(GDT + 8, 0x0000ffff) +
      put(GDT + 12, 0x00cf9b00) +
      put(GDT + 16, 0x0000ffff) +
      put(GDT + 20, 0x00cf9300) +
      tss(OLD_TSS, OLD_SELECTOR) +
      tss(NEW_TSS, NEW_SELECTOR) +
      put(NEW_TSS + 0x20, HANDLER) +
      put(NEW_TSS + 0x24, 2) +
      put(NEW_TSS + 0x38, STACK) +
      put(NEW_TSS + 0x4c, 8) +
      [0x48, 0x50, 0x54].map((segment) => put(NEW_TSS + segment, 0x10)).join("") +
      // A task gate for #GP.
      put(IDT + GP * 8, NEW_SELECTOR << 16) +
      put(IDT + GP * 8 + 4, 0x8500) +
      put(POINTER, 0x90000027) +
      put(POINTER + 4, GDT >>> 16) +
      put(POINTER + 8, ((IDT & 0xffff) << 16) | 0x7ff) +
      put(POINTER + 12, IDT >>> 16) +
      `0f0115${le(POINTER)} 0f011d${le(POINTER + 8)}` +
      // ljmp $8:next; mov ax, 18h; ltr ax; mov ebx, 11223344h; mov ax, 40h; mov ds, ax
      `ea${le(0)}0800 66b81800 0f00d8 bb44332211 66b84000 8ed8`,
  );
  // The far jump's target is the instruction behind it.
  const jump = code.length - (7 + 4 + 3 + 5 + 4 + 2);
  code.splice(jump + 1, 4, ...hex(le(LOAD + jump + 7)));
  while (code.length < HANDLER - LOAD) code.push(0x90);
  return [...code, ...hex(handler)];
}

/** What the new task finds, in a byte that it writes to the debug-exit port. */
const CHECKS: readonly (readonly [what: string, handler: string, code: number])[] = [
  ["the error code on its stack", "58 e6f4", 0x40],
  ["the old task's selector as its link", `a0${le(NEW_TSS)} e6f4`, OLD_SELECTOR],
  ["NT in its flags", "9c 58 c1e80e 83e001 e6f4", 1],
  ["the old task's registers in its TSS", `a0${le(OLD_TSS + 0x34)} e6f4`, 0x44],
  // mov eax, [old EIP]; mov al, [eax]: MOV DS, AX, the instruction that faulted.
  ["the old task's EIP at the instruction", `a1${le(OLD_TSS + 0x20)} 8a00 e6f4`, 0x8e],
];

test.each(CHECKS.flatMap((check) => [["metal", ...check] as const, ["vm", ...check] as const]))(
  "%s: the new task has %s",
  (mode, _, handler, code) => {
    const machine = new Machine({ kernel: multiboot(program(handler)), mode, memory: 16 });
    try {
      expect(machine.run({ untilInstruction: 100_000 })).toEqual({ end: "debug-exit", code });
      expect(machine.stats().exits["TASK_SWITCH"] ?? 0).toBe(mode === "vm" ? 1 : 0);
    } finally {
      machine.close();
    }
  },
);
