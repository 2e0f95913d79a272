/**
 * The smallest guest that exits: a loop of CPUID, as a multiboot image with load addresses. It masks the interval timer, which
 * would wait for an interrupt window all the time, since the guest never takes an interrupt.
 */
import type { ImageFile } from "../../emulator/machine/read-image.ts";

const LOAD_ADDRESS = 0x100000;
const HEADER_BYTES = 32;
const MULTIBOOT_MAGIC = 0x1badb002;
const FLAG_ADDRESSES = 1 << 16;

const CPUID = [0x0f, 0xa2];
const NOPS = [0x90, 0x90];

/**
 * @param rounds how often the loop runs, 1 to 2^32 − 1
 * @param exits with CPUID in the loop, or with two NOPs in its place
 */
export function cpuidGuest(rounds: number, exits: boolean): ImageFile {
  const body = [0x31, 0xc0, ...(exits ? CPUID : NOPS), 0x4e];
  const back = 0x100 - (body.length + 2);
  // MOV AL, FFH · OUT 21H, AL · MOV ESI, rounds · body (XOR EAX, EAX · CPUID · DEC ESI) · JNZ body · XOR EAX, EAX ·
  // OUT F4H, AL · HLT
  const mask = [0xb0, 0xff, 0xe6, 0x21];
  const code = [...mask, 0xbe, 0, 0, 0, 0, ...body, 0x75, back, 0x31, 0xc0, 0xe6, 0xf4, 0xf4];
  const bytes = new Uint8Array(HEADER_BYTES + code.length);
  const view = new DataView(bytes.buffer);
  const header = [
    MULTIBOOT_MAGIC,
    FLAG_ADDRESSES,
    -(MULTIBOOT_MAGIC + FLAG_ADDRESSES) >>> 0,
    LOAD_ADDRESS,
    LOAD_ADDRESS,
    0,
    0,
    LOAD_ADDRESS + HEADER_BYTES,
  ];
  header.forEach((word, i) => view.setUint32(i * 4, word, true));
  bytes.set(code, HEADER_BYTES);
  view.setUint32(HEADER_BYTES + mask.length + 1, rounds, true);
  return { path: "cpuid-guest", name: "cpuid-guest", bytes };
}
