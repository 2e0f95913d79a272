/**
 * Builds one random encoding of a form. The rules are those of Intel SDM Vol. 2A, "Instruction Format"; this is the
 * decoder's counterpart and shares no code with it.
 */
import { PREFIX_66, PREFIX_F2, PREFIX_F3 } from "../../emulator/isa/format.ts";
import type { OperandType } from "../../emulator/isa/operands.ts";
import type { Random } from "../support/random.ts";
import { MODE_16, MODE_64, MODE_COMPATIBILITY } from "./environment.ts";
import type { Form } from "./forms.ts";

/** Register numbers that addresses and implicit operands name. */
export const RSP = 4;
export const RBP = 5;

/** A memory operand: base + (index << shift) + displacement, truncated to the address size. */
export interface EffectiveAddress {
  readonly base: number | undefined;
  readonly index: number | undefined;
  readonly shift: number;
  /** The displacement as encoded; where it can be chosen freely, `displacementAt` says where it is. */
  readonly displacement: bigint;
  readonly displacementAt: number | undefined;
  readonly isRipRelative: boolean;
}

export interface Encoding {
  readonly bytes: number[];
  /** Address size in bytes. */
  readonly addressSize: number;
  /** Operand size in bytes: 2, 4 or 8. */
  readonly operandSize: number;
  /** Number in the reg field of ModR/M, and of the register in r/m or the opcode. */
  readonly reg: number;
  readonly rm: number;
  /** The memory operand of ModR/M. */
  readonly address: EffectiveAddress | undefined;
  /** Offset and size in bytes of an offset in the instruction (MOV AL, moffs8 and its like). */
  readonly offsetAt: { readonly at: number; readonly size: number } | undefined;
  /** The first immediate's low byte: shift counts and bit offsets. */
  readonly immediate: number;
  /** Number of the register in VEX.vvvv. */
  readonly vvvv: number;
  /** Number of the register of indices of a VSIB operand. */
  readonly vectorIndex: number | undefined;
}

/** Operand size in bytes, as the manual's rules for the attributes say. */
export function operandSizeOf(form: Form): number {
  if (form.mode !== MODE_64) return (form.mode === MODE_16) === (form.size === "66") ? 4 : 2;
  if (form.size === "W" || form.row.attributes.has("f64")) return 8;
  if (form.size === "66") return 2;
  return form.row.attributes.has("d64") ? 8 : 4;
}

const MAP_BYTES: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e];

/** The fields that REX and VEX extend. */
interface Extensions {
  w: number;
  r: number;
  x: number;
  b: number;
}

interface ModrmPart {
  readonly bytes: number[];
  readonly reg: number;
  readonly rm: number;
  readonly address: Omit<EffectiveAddress, "displacementAt"> | undefined;
  /** Offset in `bytes` of a displacement as wide as an address (but at most four bytes). */
  readonly displacementAt: number | undefined;
  readonly vectorIndex?: number;
}

const littleEndian = (value: number | bigint, count: number): number[] =>
  Array.from({ length: count }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));

/** ModR/M, SIB and displacement; sets R, X and B. */
function encodeModrm(random: Random, form: Form, addressSize: number, extensions: Extensions): ModrmPart {
  const { mask, value } = form.row.modrm!;
  const is64 = form.mode === MODE_64;
  const extended = (): number => (is64 && random.chance(50) ? 1 : 0);
  let regField = random.below(8);
  if ((mask & 0x38) !== 0) regField = (value & 0x38) >> 3;
  else extensions.r = extended();
  // SDM Vol. 2, "MOV—Move to/from Debug Registers": with CR4.DE set DR4 and DR5 are #UD before the CPL is looked at; AMD
  // processors raise #GP first.
  if (form.row.operands.some(({ method }) => method === "D")) regField &= ~4;
  const reg = regField | (extensions.r << 3);
  if (form.operand === "reg") {
    const rmField = (mask & 7) !== 0 ? value & 7 : random.below(8);
    if ((mask & 7) === 0) extensions.b = extended();
    const modrm = 0xc0 | (regField << 3) | rmField;
    return {
      bytes: [modrm],
      reg,
      rm: rmField | (extensions.b << 3),
      address: undefined,
      displacementAt: undefined,
    };
  }
  const mod = random.below(3);
  const isVsib = form.row.operands.some(({ method }) => method === "VMX" || method === "VMY");
  let rm = isVsib ? 4 : random.below(8);
  if (addressSize === 2) return encode16(random, form, mod, rm, regField, reg);
  extensions.x = extended();
  extensions.b = extended();
  const bytes = [(mod << 6) | (regField << 3) | rm];
  let index: number | undefined;
  let shift = 0;
  let vectorIndex: number | undefined;
  const hasSib = rm === 4;
  if (hasSib) {
    const sib = random.below(256);
    bytes.push(sib);
    shift = sib >> 6;
    index = ((sib >> 3) & 7) | (extensions.x << 3);
    if (isVsib) vectorIndex = index;
    if (isVsib || index === RSP) index = undefined;
    rm = sib & 7;
  }
  const hasNoBase = mod === 0 && rm === 5;
  const displacementBytes = hasNoBase || mod === 2 ? 4 : mod;
  const displacement =
    displacementBytes === 0
      ? 0
      : displacementBytes === 1
        ? random.below(256) - 128
        : random.below(8192) - 4096;
  const displacementAt = displacementBytes === 4 ? bytes.length : undefined;
  bytes.push(...littleEndian(BigInt.asUintN(32, BigInt(displacement)), displacementBytes));
  const address = {
    base: hasNoBase ? undefined : rm | (extensions.b << 3),
    index,
    shift,
    displacement: BigInt(displacement),
    isRipRelative: is64 && hasNoBase && !hasSib,
  };
  return {
    bytes,
    reg,
    rm: 0,
    address,
    displacementAt,
    ...(vectorIndex !== undefined && { vectorIndex }),
  };
}

/** Base and index by the r/m field of 16-bit addressing: BX BP SI DI. SDM Vol. 2A, Table 2-1. */
const ADDRESSES_16 = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, undefined],
  [7, undefined],
  [5, undefined],
  [3, undefined],
] as const;

/** 16-bit addressing. In 32-bit code such addresses are below 64 KiB, where nothing is mapped: they are not aimed. */
function encode16(
  random: Random,
  form: Form,
  mod: number,
  rm: number,
  regField: number,
  reg: number,
): ModrmPart {
  const count = mod === 0 ? (rm === 6 ? 2 : 0) : mod;
  const displacement = count === 0 ? 0 : count === 1 ? random.below(256) - 128 : random.below(65536) - 32768;
  const bytes = [
    (mod << 6) | (regField << 3) | rm,
    ...littleEndian(BigInt.asUintN(16, BigInt(displacement)), count),
  ];
  if (form.mode !== MODE_16) return { bytes, reg, rm: 0, address: undefined, displacementAt: undefined };
  const hasNoBase = mod === 0 && rm === 6;
  const [base, index] = hasNoBase ? [undefined, undefined] : ADDRESSES_16[rm]!;
  const address = { base, index, shift: 0, displacement: BigInt(displacement), isRipRelative: false };
  return { bytes, reg, rm: 0, address, displacementAt: hasNoBase ? 1 : undefined };
}

/** Immediates in the instruction's order; near displacements and memory offsets included. */
function encodeImmediates(random: Random, form: Form, operandSize: number, addressSize: number) {
  const bytes: number[] = [];
  let offset: { at: number; size: number } | undefined;
  const sizeOf = (type: OperandType): number =>
    type === "w"
      ? 2
      : type === "v"
        ? operandSize
        : type === "z"
          ? Math.min(operandSize, 4)
          : type === "d"
            ? 4
            : 1;
  let count = 0;
  for (const { method, registerType } of form.row.operands) {
    if (method === "O") {
      offset = { at: bytes.length, size: addressSize };
      bytes.push(...Array.from({ length: addressSize }, () => 0));
    } else if (method === "I" || method === "J") {
      bytes.push(
        ...(form.row.mnemonic === "ENTER"
          ? enterImmediate(random, count)
          : immediate(random, sizeOf(registerType))),
      );
      count++;
    } else if (method === "L") {
      // Bits 3:0 are ignored; outside 64-bit mode bit 7 is, too.
      bytes.push(random.below(256));
    }
  }
  return { bytes, offset };
}

/** ENTER's frame size, mostly within the window, and nesting level: deep nests write more than the harness reports. */
function enterImmediate(random: Random, n: number): number[] {
  if (n === 0) return random.chance(80) ? [random.below(256), 0] : immediate(random, 2);
  return [random.below(6) | (random.chance(20) ? 0xe0 : 0)];
}

/** Often an edge: 0, 1, -1, smallest and largest signed. */
function immediate(random: Random, size: number): number[] {
  const bits = BigInt(8 * size);
  const top = 1n << (bits - 1n);
  if (random.chance(40)) return littleEndian(random.pick([0n, 1n, (1n << bits) - 1n, top, top - 1n]), size);
  return Array.from({ length: size }, () => random.below(256));
}

/** VEX in two or three bytes. SDM Vol. 2A, "Vector Extension (VEX) Prefix". */
function encodeVex(random: Random, form: Form, extensions: Extensions, vvvv: number): number[] {
  const { row } = form;
  const pp =
    row.prefixes === PREFIX_66 ? 1 : row.prefixes === PREFIX_F3 ? 2 : row.prefixes === PREFIX_F2 ? 3 : 0;
  const { w, r, x, b } = extensions;
  const low = ((~vvvv & 15) << 3) | (form.is256 ? 4 : 0) | pp;
  if (row.map === 4 && w === 0 && x === 0 && b === 0 && random.chance(50))
    return [0xc5, ((r ^ 1) << 7) | low];
  return [0xc4, ((r ^ 1) << 7) | ((x ^ 1) << 6) | ((b ^ 1) << 5) | (row.map - 3), (w << 7) | low];
}

function addressSizeOf(form: Form, hasAddressPrefix: boolean): number {
  if (form.mode === MODE_64) return hasAddressPrefix ? 4 : 8;
  return (form.mode === MODE_16) === hasAddressPrefix ? 4 : 2;
}

/** A random encoding of the form, at most 15 bytes. */
export function encode(random: Random, form: Form): Encoding {
  const { row } = form;
  const is64 = form.mode === MODE_64;
  const hasAddressPrefix = random.chance(form.mode === MODE_COMPATIBILITY ? 4 : 12);
  const addressSize = addressSizeOf(form, hasAddressPrefix);
  const operandSize = operandSizeOf(form);
  const isW = form.size === "W" || (row.map >= 4 && row.w === 2);
  const extensions: Extensions = { w: isW ? 1 : 0, r: 0, x: 0, b: 0 };

  const opcode = row.opcode + random.below(row.opcodeCount);
  if (row.opcodeCount === 8 && is64 && random.chance(50)) extensions.b = 1;
  const modrm = row.modrm ? encodeModrm(random, form, addressSize, extensions) : undefined;
  const immediates = encodeImmediates(random, form, operandSize, addressSize);

  const prefixes: number[] = [];
  if (random.chance(6)) prefixes.push(random.pick(SEGMENT_PREFIXES));
  if (hasAddressPrefix) prefixes.push(0x67);
  if (form.group !== "") prefixes.push(form.group === "LOCK" ? 0xf0 : form.group === "REP" ? 0xf3 : 0xf2);
  if (form.size === "66") prefixes.push(0x66);
  const { w, r, x, b } = extensions;
  let vvvv = 0;
  if (row.map >= 4) {
    if (row.operands.some(({ method }) => method === "B" || method === "H"))
      vvvv = random.below(is64 ? 16 : 8);
    prefixes.push(...encodeVex(random, form, extensions, vvvv));
  } else {
    if (row.hasPrefixColumn) {
      if (row.prefixes === PREFIX_66) prefixes.push(0x66);
      if (row.prefixes === PREFIX_F3) prefixes.push(0xf3);
      if (row.prefixes === PREFIX_F2) prefixes.push(0xf2);
    }
    const rex = (w << 3) | (r << 2) | (x << 1) | b;
    // An empty REX turns AH to BH into SPL to DIL. NOP (90) must not become XCHG R8, rAX.
    if (is64 && (rex !== 0 || random.chance(30))) prefixes.push(0x40 | rex);
    prefixes.push(...MAP_BYTES[row.map]!);
  }
  const head = [...prefixes, opcode];
  const bytes = [...head, ...(modrm?.bytes ?? []), ...immediates.bytes];
  const immediatesAt = bytes.length - immediates.bytes.length;
  return {
    bytes,
    addressSize,
    operandSize,
    reg: modrm?.reg ?? 0,
    rm: modrm?.rm ?? (opcode & 7) | (b << 3),
    address: modrm?.address && {
      ...modrm.address,
      displacementAt: modrm.displacementAt === undefined ? undefined : head.length + modrm.displacementAt,
    },
    offsetAt: immediates.offset && { at: immediatesAt + immediates.offset.at, size: immediates.offset.size },
    immediate: immediates.bytes[0] ?? 0,
    vvvv,
    vectorIndex: modrm?.vectorIndex,
  };
}
