/** A multiboot 2 image of a few instructions, on metal and in a VM: it finds its command line by the information structure and sends it. */
import { expect, test } from "vitest";
import { Machine } from "../../hypervisor/machine.ts";
import { imageFile, multiboot2Header } from "../support/boot-images.ts";

const LOAD = 0x200000;
const CODE = 0x80;
const COMMAND_LINE = "words for the kernel";

const SENDER = [
  ...[0x3d, 0x89, 0x62, 0xd7, 0x36, 0x75, 0x31], // cmp eax, 36d76289h; jne fail
  ...[0x8d, 0x73, 0x08], // lea esi, [ebx + 8]: the first tag
  ...[0x8b, 0x06, 0x85, 0xc0, 0x74, 0x28], // next: mov eax, [esi]; test eax, eax; jz fail
  ...[0x83, 0xf8, 0x01, 0x74, 0x0d], // cmp eax, 1; je found
  ...[0x8b, 0x46, 0x04, 0x83, 0xc0, 0x07, 0x83, 0xe0, 0xf8], // mov eax, [esi + 4]; add eax, 7; and eax, -8
  ...[0x01, 0xc6, 0xeb, 0xe8], // add esi, eax; jmp next
  ...[0x83, 0xc6, 0x08, 0x66, 0xba, 0xf8, 0x03], // found: add esi, 8; mov dx, COM1
  ...[0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8], // send: lodsb; test al, al; jz done; out dx, al; jmp send
  ...[0xb0, 0x2a, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd], // done: exit 42
  ...[0xb0, 0x01, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd], // fail: exit 1
];

test.each(["metal", "vm"] as const)("%s", (mode) => {
  const bytes = new Uint8Array(0x200);
  const addresses = { type: 2, fields: [LOAD, LOAD, 0, 0] };
  bytes.set(multiboot2Header([addresses, { type: 3, fields: [LOAD + CODE] }]));
  bytes.set(SENDER, CODE);
  let sent = "";
  const machine = new Machine({
    kernel: imageFile(bytes),
    initrd: imageFile(new Uint8Array(100), "module"),
    append: COMMAND_LINE,
    memory: 16,
    mode,
    onSerial: (byte) => void (sent += String.fromCharCode(byte)),
  });
  const result = machine.run({ untilInstruction: 100_000 });
  machine.close();
  expect([machine.bootImage?.protocol, result, sent]).toEqual([
    "multiboot2",
    { end: "debug-exit", code: 42 },
    // The serial port has not been set up: it sends five bits a character.
    String.fromCharCode(...Buffer.from(COMMAND_LINE).map((letter) => letter & 0x1f)),
  ]);
});
