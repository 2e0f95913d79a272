/** Guests that use devices' registers as code, stack or page tables: an architectural end, never trouble for the host. */
import { describe, expect, test } from "vitest";
import { Machine, type RunResult } from "../../hypervisor/machine.ts";
import { multiboot } from "../support/machine.ts";

const IOAPIC = 0xfec00000;
const LOCAL_APIC = 0xfee00000;
const NOTHING = 0xd0000000;

const long = (value: number): number[] => [
  value & 0xff,
  (value >>> 8) & 0xff,
  (value >>> 16) & 0xff,
  value >>> 24,
];
const EXIT_5 = [0xb0, 0x05, 0xe6, 0xf4]; // mov al, 5; out 0f4h, al
const HALT = [0xfa, 0xf4, 0xeb, 0xfd]; // cli; hlt; and again

function run(mode: "metal" | "vm", code: readonly number[]): RunResult {
  const machine = new Machine({ kernel: multiboot(code), mode, memory: 16 });
  try {
    return machine.run({ untilInstruction: 1_000_000 });
  } finally {
    machine.close();
  }
}

describe.each(["metal", "vm"] as const)("%s", (mode) => {
  test.each([
    ["nothing", NOTHING],
    ["the I/O APIC", IOAPIC],
    ["the local APIC", LOCAL_APIC],
  ])("code in %s", (_, address) => {
    // mov eax, address; jmp eax. No IDT: whatever it raises ends in a triple fault.
    expect(run(mode, [0xb8, ...long(address), 0xff, 0xe0]).end).toBe("triple-fault");
  });

  test("an instruction that reads one device and writes another", () => {
    const code = [
      ...[0xbe, ...long(IOAPIC)], // mov esi, I/O APIC
      ...[0xbf, ...long(LOCAL_APIC + 0x80)], // mov edi, task-priority register
      0xa5, // movsd
      ...EXIT_5,
    ];
    expect(run(mode, code)).toEqual({ end: "debug-exit", code: 5 });
  });

  test("page tables in a device", () => {
    const code = [
      ...[0xb8, ...long(IOAPIC), 0x0f, 0x22, 0xd8], // mov eax, I/O APIC; mov cr3, eax
      ...[0x0f, 0x20, 0xc0, 0x0d, ...long(0x80000000), 0x0f, 0x22, 0xc0], // mov eax, cr0; or eax, PG; mov cr0, eax
      ...HALT,
    ];
    expect(run(mode, code).end).toBe("triple-fault");
  });

  test("a stack in a device, used by INT3", () => {
    const HANDLER = 0x100100;
    const GATE = 0x100200;
    const code = [
      ...[0x0f, 0x01, 0x1d, ...long(GATE + 8)], // lidt [descriptor]
      ...[0xbc, ...long(IOAPIC + 0x100)], // mov esp, I/O APIC
      0xcc, // int3
      ...HALT,
    ];
    const image = [...code];
    const put = (address: number, bytes: readonly number[]): void => {
      for (const [i, byte] of bytes.entries()) image[address - 0x100040 + i] = byte;
    };
    put(HANDLER, EXIT_5);
    put(GATE, [HANDLER & 0xff, (HANDLER >> 8) & 0xff, 8, 0, 0, 0x8e, (HANDLER >> 16) & 0xff, 0]);
    // The gate above is number 3.
    put(GATE + 8, [31, 0, ...long(GATE - 24)]);
    const filled = Array.from(image, (byte: number | undefined) => byte ?? 0x90);
    // The hypervisor has no instruction to emulate there (docs/known-gaps.md).
    expect(run(mode, filled).end).toBe(mode === "metal" ? "debug-exit" : "triple-fault");
  });
});
