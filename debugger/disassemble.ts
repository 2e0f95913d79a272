/** Guest code as text, by iced-x86. */
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from "iced-x86";
import type { GuestView } from "./guest-view.ts";

const LONGEST_INSTRUCTION = 15;

export interface DisassembledInstruction {
  /** Linear address. */
  readonly address: bigint;
  /** Offset in the code segment: what RIP holds. */
  readonly rip: bigint;
  readonly bytes: Uint8Array;
  /** NASM syntax; "(bad)" for what is no instruction. */
  readonly text: string;
}

/**
 * Decodes `count` instructions from an offset in the code segment, with the guest's code size. Fewer come back where the
 * code's pages are not mapped to RAM.
 */
export function disassemble(view: GuestView, rip: bigint, count: number): DisassembledInstruction[] {
  const registers = view.registers();
  const bits = view.codeBits(registers);
  const address = view.codeAddress(rip, registers);
  const code = view.readLinear(address, count * LONGEST_INSTRUCTION);
  const decoder = new Decoder(bits, code, DecoderOptions.None);
  const formatter = new Formatter(FormatterSyntax.Nasm);
  formatter.spaceAfterOperandSeparator = true;
  const found: DisassembledInstruction[] = [];
  try {
    decoder.ip = rip;
    while (found.length < count && decoder.canDecode) {
      const start = decoder.position;
      const instruction = decoder.decode();
      found.push({
        address: BigInt.asUintN(64, address + BigInt(start)),
        rip: instruction.ip,
        bytes: code.slice(start, decoder.position),
        text: formatter.format(instruction),
      });
      instruction.free();
    }
  } finally {
    formatter.free();
    decoder.free();
  }
  return found;
}
