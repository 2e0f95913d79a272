/** MWAIT between CPUs: a wait costs no instructions, ends by another CPU's write, and none is missed. In both clocks. */
import { describe, expect, test } from "vitest";
import { Machine, type RunResult } from "../../hypervisor/machine.ts";
import { ParallelMachine } from "../../hypervisor/parallel-machine.ts";
import { multiboot } from "../support/machine.ts";

const long = (value: number): number[] => [
  value & 0xff,
  (value >>> 8) & 0xff,
  (value >>> 16) & 0xff,
  value >>> 24,
];
const hex = (text: string): number[] => [...Buffer.from(text.replaceAll(" ", ""), "hex")];

/** In real mode: the ball at 9000H comes as an odd number and goes back plus one; 255 ends it. */
const ROUNDS = 200;
const PONG = hex(
  "31c0 8ed8" + // xor ax, ax; mov ds, ax
    "6631c9" + // xor ecx, ecx
    "b80090 0f01c8" + // 5 again: mov ax, 9000h; monitor
    "8a1e0090" + // mov bl, [9000h]
    "80fbff 7412" + // cmp bl, 255; je done
    "f6c301 7505" + // test bl, 1; jnz answer
    "0f01c9 ebe7" + // mwait; jmp again
    "fec3" + // answer: inc bl
    "881e0090 ebdf" + // mov [9000h], bl; jmp again
    "c606009101 fa f4", // done: mov byte [9100h], 1; cli; hlt
);

/** Starts CPU 1 at 8000H, and plays: 1 to it, wait for 2, 3 to it, … with a pause before each, so that it waits. */
const PING = [
  ...hex("be"), // mov esi, pong
  ...long(0),
  ...hex("bf00800000 b9"), // mov edi, 8000h; mov ecx, length
  ...long(PONG.length),
  ...hex("f3a4 bf0003e0fe"), // rep movsb; mov edi, fee00300h
  ...hex("c7471000000001 c70700450000"), // mov [edi + 10h], 1 << 24; mov [edi], INIT
  ...hex("b910270000 e2fe"), // mov ecx, 10000; loop $
  ...hex("c70708460000"), // mov [edi], SIPI to 8000h
  ...hex("31db"), // xor ebx, ebx
  ...hex("b9204e0000 e2fe"), // round: mov ecx, 20000; loop $
  ...hex("fec3 881d00900000"), // inc bl; mov [9000h], bl
  ...hex("fec3"), // inc bl
  ...hex("f390 3a1d00900000 75f6"), // wait: pause; cmp bl, [9000h]; jne wait
  ...hex("80fb"), // cmp bl, rounds
  ROUNDS,
  ...hex("75e0"), // jne round
  ...hex("c60500900000ff"), // mov byte [9000h], 255
  ...hex("f390 803d0091000001 75f5"), // pause; cmp byte [9100h], 1; jne $ - 9
  ...hex("88d8 e6f4"), // mov al, bl; out f4h, al
];
const LOAD = 0x100040;

function program(): number[] {
  const code = [...PING, ...PONG];
  // The address of what is copied.
  code.splice(1, 4, ...long(LOAD + PING.length));
  return code;
}

const ended: RunResult = { end: "debug-exit", code: ROUNDS };

describe("a CPU that waits in MWAIT for another's writes", () => {
  test("virtual time: takes a few instructions a write", () => {
    const run = (): [RunResult, bigint, number] => {
      const machine = new Machine({ kernel: multiboot(program()), mode: "metal", memory: 16, smp: 2 });
      try {
        const result = machine.run({ untilInstruction: 20_000_000 });
        return [result, BigInt(machine.memory.cpuState(1).instructions), machine.cycles];
      } finally {
        machine.close();
      }
    };
    const [result, instructions, cycles] = run();
    expect(result).toEqual(ended);
    expect(instructions).toBeGreaterThan(BigInt(ROUNDS));
    expect(instructions).toBeLessThan(BigInt(ROUNDS * 15));
    expect(run()).toEqual([result, instructions, cycles]);
  });

  test("wall time: none is missed", async () => {
    const machine = new ParallelMachine({
      kernel: multiboot(program()),
      mode: "metal",
      memory: 16,
      smp: 2,
      onSerial: () => undefined,
    });
    try {
      expect(await machine.run()).toEqual(ended);
    } finally {
      await machine.close();
    }
  }, 60_000);
});

test("in a virtual machine they are undefined, as CPUID says", () => {
  // mov eax, 9000h; xor ecx, ecx; monitor: without an IDT, the end.
  const machine = new Machine({
    kernel: multiboot(hex("b800900000 31c9 0f01c8 e6f4")),
    mode: "vm",
    memory: 16,
  });
  try {
    expect(machine.run({ untilInstruction: 10_000 }).end).toBe("triple-fault");
  } finally {
    machine.close();
  }
});
