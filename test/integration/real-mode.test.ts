/** Real-address mode on a machine without firmware: the timer ticks as a BIOS leaves it, with handlers that end the interrupt. */
import { describe, expect, test } from "vitest";
import { Machine } from "../../hypervisor/machine.ts";
import { multiboot } from "../support/machine.ts";

// prettier-ignore
const PROGRAM = [
  0xfa,                                // cli
  0xbe, 0x60, 0x00, 0x10, 0x00,        // mov esi, code16
  0xbf, 0x00, 0x80, 0x00, 0x00,        // mov edi, 8000h
  0xb9, 0x3c, 0x00, 0x00, 0x00,        // mov ecx, its length
  0xf3, 0xa4,                          // rep movsb
  0x0f, 0x01, 0x15, 0x9c, 0x00, 0x10, 0x00, // lgdt [gdtr]
  0xea, 0x00, 0x80, 0x00, 0x00, 0x08, 0x00, // jmp 8:8000h
  // code16, at 100060h: 16-bit protected mode, at 8000h
  0x0f, 0x20, 0xc0,                    // mov eax, cr0
  0x24, 0xfe,                          // and al, 0feh
  0x0f, 0x22, 0xc0,                    // mov cr0, eax
  0xea, 0x0d, 0x80, 0x00, 0x00,        // jmp 0:800dh
  0xb8, 0x00, 0x50,                    // mov ax, 5000h
  0x8e, 0xd0,                          // mov ss, ax
  0xbc, 0x00, 0x80,                    // mov sp, 8000h
  0xb8, 0x40, 0x00,                    // mov ax, 40h
  0x8e, 0xd8,                          // mov ds, ax
  0x66, 0x8b, 0x1e, 0x6c, 0x00,        // mov ebx, [ticks]
  0xfb,                                // sti
  0xf4,                                // again: hlt
  0x66, 0xa1, 0x6c, 0x00,              // mov eax, [ticks]
  0x66, 0x29, 0xd8,                    // sub eax, ebx
  0x66, 0x83, 0xf8, 0x03,              // cmp eax, 3
  0x72, 0xf2,                          // jb again
  0xfa,                                // cli
  0x81, 0xfc, 0x00, 0x80,              // cmp sp, 8000h
  0x75, 0x04,                          // jne bad
  0xb0, 0x05,                          // mov al, 5
  0xe6, 0xf4,                          // out 0f4h, al
  0xf4,                                // bad: hlt
  0xeb, 0xfd,                          // jmp bad
  // gdtr, at 10009ch, and the table
  0x0f, 0x00, 0xa2, 0x00, 0x10, 0x00,
  0, 0, 0, 0, 0, 0, 0, 0,
  0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0x00, 0x00,
];

/** 3 periods of 65,536 clocks of 1.193182 MHz. */
const THREE_TICKS = (3 * 65536) / 1193182;

// In a VM the interrupt table, its handlers and the stack are first touched by the delivery of an injected interrupt, which
// EPT violations cut short: it must come again, once.
describe.each(["metal", "vm"] as const)("%s", (mode) => {
  test("three timer ticks reach the BIOS data area and leave the stack as it was", () => {
    const machine = new Machine({ kernel: multiboot(PROGRAM), mode, memory: 16 });
    const result = machine.run();
    const seconds = machine.stats().virtualSeconds;
    machine.close();
    expect(result).toEqual({ end: "debug-exit", code: 5 });
    expect(seconds).toBeGreaterThan((2 / 3) * THREE_TICKS);
    expect(seconds).toBeLessThan(1.01 * THREE_TICKS);
  });
});
