/**
 * Random inputs of a form's cases: a documented function of corpus seed, form and number, so that the corpus stores
 * only outcomes.
 *
 * Each case has its own xorshift32 sequence, seeded with the FNV-1a hash of "seed/mode/form/number". Values are edges
 * of all widths as often as random ones; addresses mostly point into the window, some across its pages, its ends or
 * nowhere.
 */
import { fnv1a, Random } from "../support/random.ts";
import type { CaseInput } from "./case.ts";
import { encode, RBP, RSP, type EffectiveAddress, type Encoding } from "./encode.ts";
import {
  CODE,
  INITIAL_RFLAGS,
  MODE_16,
  MODE_64,
  MODE_COMPATIBILITY,
  WINDOW,
  WINDOW_BYTES,
  type Mode,
} from "./environment.ts";
import { isImageRecorded, isMediaRecorded, type Form } from "./forms.ts";
import { LaneSource } from "./lanes.ts";
import { IMAGE_BYTES, makeImage, makeImageMedia, makeMedia, MXCSR_OFFSET, setVector } from "./media.ts";
import { smallArray, viewOf } from "./slab.ts";

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSI = 6;
const RDI = 7;

const POKE_BYTES = 32;
/** CF PF AF ZF SF DF OF. */
const RANDOM_RFLAGS = 0xcd5;
/** RFLAGS.AC, and in how many of a hundred cases it is set: CR0.AM is, so that misaligned accesses raise #AC then. */
const RFLAGS_AC = 0x40000n;
const AC_PERCENT = 4;
/** 64 KiB in which nothing is mapped; in 16-bit mode the first half of them is in the data segment. */
const unmapped = (mode: Mode): number => (mode === MODE_16 ? WINDOW + WINDOW_BYTES : 0x30000000);

/** 0, 1, -1 and the largest and smallest signed values of all widths with their neighbours: halves, the lower first. */
const EDGES = new Uint32Array(
  BigInt64Array.from(
    [7n, 15n, 31n, 63n].flatMap((bit) => {
      const top = 1n << bit;
      return [0n, 1n, -1n, top, top - 1n, top + 1n, -top, 2n * top - 1n];
    }),
  ).buffer,
);

/** Writes 64 bits: an edge, a small number, or anything. In 32-bit halves, since this is drawn twenty times a case. */
function putValue(random: Random, words: Uint32Array, at: number): void {
  const kind = random.below(10);
  if (kind < 4) {
    const edge = 2 * random.below(EDGES.length / 2);
    words[at] = EDGES[edge]!;
    words[at + 1] = EDGES[edge + 1]!;
    return;
  }
  if (kind < 6) {
    words[at] = random.below(256);
    words[at + 1] = 0;
    return;
  }
  // Random bits below a random width.
  const width = 1 + random.below(64);
  words[at] = width < 32 ? random.next() >>> (32 - width) : random.next();
  words[at + 1] = width <= 32 ? 0 : random.next() >>> (64 - width);
}

/** A linear address for an operand: mostly inside the window, at times across a page or an end, or outside. */
function target(random: Random, mode: Mode, alignment: number): number {
  const kind = random.below(100);
  const align = (address: number): number => (random.chance(75) ? address - (address % alignment) : address);
  if (kind < 75) return align(WINDOW + 0x200 + random.below(WINDOW_BYTES - 0x400));
  if (kind < 83) return WINDOW + 0x1000 - random.below(24);
  if (kind < 90) return WINDOW + WINDOW_BYTES - random.below(24);
  if (kind < 94) return WINDOW - random.below(12);
  if (kind < 97) return WINDOW + random.below(64);
  return unmapped(mode) + random.below(mode === MODE_16 ? WINDOW_BYTES + 256 : 65536);
}

const low = (register: bigint, addressSize: number): bigint => BigInt.asUintN(addressSize * 8, register);

/** Replaces the bits of a register that the address size uses. */
function setLow(gpr: BigUint64Array, register: number, address: bigint, addressSize: number): void {
  const bits = BigInt(addressSize * 8);
  gpr[register] = ((gpr[register]! >> bits) << bits) | BigInt.asUintN(Number(bits), address);
}

/** The state of a case while it is made. */
interface Draft {
  readonly random: Random;
  readonly form: Form;
  readonly encoding: Encoding;
  readonly gpr: BigUint64Array;
  /** Where the case's own bytes go. */
  pokeAt: number;
}

/** The offset in the data segments that a linear address has. */
const offsetOf = (mode: Mode, linear: number): bigint =>
  mode === MODE_16 ? BigInt.asUintN(16, BigInt(linear - WINDOW)) : BigInt(linear);

/** Points the ModR/M operand at the linear address `linear` by a register or, where none can be chosen, by the displacement. */
function aimAddress(draft: Draft, address: EffectiveAddress, linear: number): void {
  const { gpr, encoding, random } = draft;
  const { base, index, shift, displacement, displacementAt } = address;
  const { addressSize } = encoding;
  const at = offsetOf(draft.form.mode, linear);
  if (base !== undefined && base !== index) {
    const scaled = index === undefined ? 0n : low(gpr[index]!, addressSize) << BigInt(shift);
    setLow(gpr, base, at - displacement - scaled, addressSize);
    return;
  }
  if (displacementAt === undefined) return;
  let rest = 0n;
  if (address.isRipRelative) rest = BigInt(CODE + encoding.bytes.length);
  if (index !== undefined) {
    // Small, so that the displacement reaches the window without wrapping.
    setLow(gpr, index, BigInt(random.below(256)), addressSize);
    rest += low(gpr[index]!, addressSize) * BigInt((1 << shift) + (base === undefined ? 0 : 1));
  }
  const size = Math.min(addressSize, 4);
  writeLittleEndian(encoding.bytes, displacementAt, BigInt.asUintN(8 * size, at - rest), size);
}

function writeLittleEndian(bytes: number[], at: number, value: bigint, count: number): void {
  for (let i = 0; i < count; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

function readDisplacement(bytes: readonly number[], at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** Bits of CX, ECX or RCX that count; the rest is random when the address size leaves some. */
function setCount(draft: Draft, count: number): void {
  const { gpr, random, encoding, form } = draft;
  gpr[RCX] = BigInt(count);
  if (encoding.addressSize === 8 || random.chance(50)) return;
  const rest = BigInt(random.next()) << BigInt(encoding.addressSize * 8);
  gpr[RCX] = BigInt.asUintN(form.mode === MODE_64 ? 64 : 32, gpr[RCX] | rest);
}

/** Registers that an instruction uses without naming them in ModR/M. */
function aimImplicitOperands(draft: Draft): void {
  const { random, form, encoding, gpr } = draft;
  const { mnemonic, operands } = form.row;
  const at = target(random, form.mode, 8);
  const offset = offsetOf(form.mode, at);
  if (operands[0]?.method === "DI") {
    setLow(gpr, RDI, offset, encoding.addressSize);
    draft.pokeAt = at;
  }
  if (/^(PUSH|POP|CALL|RET|ENTER|LEAVE)/.test(mnemonic)) {
    gpr[RSP] = offset;
    draft.pokeAt = at;
    if (mnemonic === "ENTER" || mnemonic === "LEAVE") {
      const frame = target(random, form.mode, 8);
      gpr[RBP] = offsetOf(form.mode, frame);
      if (mnemonic === "LEAVE") draft.pokeAt = frame;
    }
  }
  const methods = operands.map(({ method }) => method);
  if (methods.includes("X")) setLow(gpr, RSI, offset, encoding.addressSize);
  if (methods.includes("Y")) {
    // The same address twice makes CMPS and MOVS compare and move equal bytes.
    const destination = methods.includes("X") && random.chance(30) ? at : target(random, form.mode, 8);
    setLow(gpr, RDI, offsetOf(form.mode, destination), encoding.addressSize);
    draft.pokeAt = destination;
  }
  if (form.group === "REP" || form.group === "REPNE") setCount(draft, random.below(9));
  if (methods.includes("BXAL")) setLow(gpr, RBX, offset - (gpr[RAX]! & 0xffn), encoding.addressSize);
  if (encoding.offsetAt) {
    writeLittleEndian(encoding.bytes, encoding.offsetAt.at, offset, encoding.offsetAt.size);
    draft.pokeAt = at;
  }
}

/** Bits of a branch target that keep it canonical, and in 16-bit mode mostly inside the code segment. */
const branchTargetMask = ({ form, random }: Draft): bigint =>
  form.mode === MODE_16 && random.chance(80) ? 0xffffn : 0x7fffffffffffn;

/** Narrows register operands that are nearly always out of range when random. */
function tameOperands(draft: Draft): void {
  const { random, form, encoding, gpr } = draft;
  const { mnemonic } = form.row;
  if (/^BT[SRC]?$/.test(mnemonic) && form.operand === "mem" && random.chance(85))
    gpr[encoding.reg] = BigInt.asUintN(64, BigInt(random.below(8192) - 4096));
  // A dividend of full width nearly always overflows the quotient.
  if (mnemonic === "DIV" && random.chance(65)) gpr[RDX] = BigInt(random.below(4));
  if (mnemonic === "IDIV" && random.chance(65)) gpr[RDX] = random.chance(50) ? 0n : 0xffffffffffffffffn;
  if (form.operand === "reg" && (mnemonic === "CALL" || mnemonic === "JMP"))
    gpr[encoding.rm]! &= branchTargetMask(draft);
}

/** The case's own bytes in the window: four values, canonical where they are jumped to. */
function pokeBytes(draft: Draft): Uint8Array {
  const { random, form, gpr } = draft;
  const poke = smallArray(POKE_BYTES);
  const words = new Uint32Array(poke.buffer, poke.byteOffset, POKE_BYTES / 4);
  for (let i = 0; i < words.length; i += 2) putValue(random, words, i);
  if (/^(RET|CALL|JMP)$/.test(form.row.mnemonic)) {
    const targets = new BigUint64Array(poke.buffer, poke.byteOffset, POKE_BYTES / 8);
    for (let i = 0; i < targets.length; i++) targets[i]! &= branchTargetMask(draft);
  }
  // SCAS finds something, and runs over something.
  if (form.row.mnemonic === "SCAS" && random.chance(60)) poke.fill(Number(gpr[RAX]! & 0xffn));
  return poke;
}

/**
 * Whether an operand in compatibility mode may wrap at 4 GiB, which the SDM leaves to the implementation (Vol. 3A,
 * "Limit Checking"). Such cases are drawn again.
 */
function mayWrap(draft: Draft): boolean {
  const { form, encoding, gpr } = draft;
  const { address } = encoding;
  if (form.mode !== MODE_COMPATIBILITY || !address) return false;
  const base = address.base === undefined ? 0n : gpr[address.base]!;
  const index = address.index === undefined ? 0n : gpr[address.index]! << BigInt(address.shift);
  const { displacementAt } = address;
  // `aimAddress` may have put another displacement into the code.
  const displacement =
    displacementAt === undefined
      ? address.displacement
      : BigInt(readDisplacement(encoding.bytes, displacementAt));
  return BigInt.asUintN(32, base + index + displacement) > 0xffffff00n;
}

function clearUpperHalves(words: Uint32Array): void {
  for (let i = 1; i < 16; i += 2) words[i] = 0;
}

function draftCase(random: Random, form: Form): Draft {
  const encoding = encode(random, form);
  const is64 = form.mode === MODE_64;
  const { buffer, byteOffset } = smallArray(16 * 8);
  const gpr = new BigUint64Array(buffer, byteOffset, 16);
  const words = new Uint32Array(buffer, byteOffset, 32);
  for (let i = 0; i < (is64 ? 16 : 8); i++) putValue(random, words, 2 * i);
  if (!is64) clearUpperHalves(words);
  const draft: Draft = { random, form, encoding, gpr, pokeAt: WINDOW + 0x200 };
  tameOperands(draft);
  aimImplicitOperands(draft);
  const { address } = encoding;
  if (address) {
    const at = target(random, form.mode, alignmentOf(form));
    aimAddress(draft, address, at);
    draft.pokeAt = at;
  }
  if (!is64) clearUpperHalves(words);
  return draft;
}

function destinationOf({ form, encoding }: Draft): number | undefined {
  const method = form.row.operands[0]?.method;
  if (method === "G") return encoding.reg;
  return method === "Z" || method === "R" || (method === "E" && form.operand === "reg")
    ? encoding.rm
    : undefined;
}

/** Bytes of a media instruction's memory operand, and as many before and behind as there is room for. */
function pokeLanes(draft: Draft, source: LaneSource, media: Uint8Array): Uint8Array {
  const poke = smallArray(POKE_BYTES);
  source.putOperand(new Uint32Array(poke.buffer, poke.byteOffset, POKE_BYTES / 4));
  // Reserved bits are #GP: mostly none.
  if (/LDMXCSR$/.test(draft.form.row.mnemonic) && draft.random.chance(80))
    viewOf(poke).setUint32(0, draft.random.next() & 0xffff, true);
  if (draft.random.chance(15)) poke.set(media.subarray(160, 160 + 16));
  return poke;
}

/** Gathers: indices that stay near the base, and some elements that are not asked for. */
function aimGather(draft: Draft, media: Uint8Array): void {
  const { random, form, encoding } = draft;
  const { vectorIndex, vvvv, address } = encoding;
  if (vectorIndex === undefined || !address) return;
  const isWide = form.row.operands[1]!.registerType === "q";
  const indices = new Uint8Array(32);
  const mask = new Uint8Array(32);
  const view = new DataView(indices.buffer);
  const isTame = random.chance(80);
  for (let i = 0; i < 32; i += isWide ? 8 : 4) {
    const index = isTame || random.chance(70) ? random.below(64) - 32 : (random.next() | 0) >> 4;
    if (isWide) view.setBigInt64(i, BigInt(index), true);
    else view.setInt32(i, index, true);
  }
  for (let i = 0; i < 32; i++) mask[i] = random.next() >>> 24;
  setVector(media, vectorIndex, indices);
  if (random.chance(90)) setVector(media, vvvv, mask);
}

/** PCMPESTRI and PCMPESTRM take lengths from EAX and EDX. */
function tameMediaOperands(draft: Draft): void {
  const { random, form, gpr, encoding } = draft;
  if (!/^V?PCMPESTR/.test(form.row.mnemonic)) return;
  for (const register of [RAX, RDX])
    if (random.chance(85) && register !== encoding.address?.base && register !== encoding.address?.index) {
      const length = random.below(44) - 22;
      gpr[register] = BigInt.asUintN(form.mode === MODE_64 && random.chance(50) ? 64 : 32, BigInt(length));
    }
}

/** How a row's memory operand is aligned where alignment matters. */
function alignmentOf(form: Form): number {
  if (form.row.mnemonic === "CMPXCHG16B") return 16;
  if (isImageRecorded(form.row)) return 64;
  if (!isMediaRecorded(form.row)) return 8;
  return form.is256 ? 32 : 16;
}

/** Does the address use EDX or EAX, which say which components an image has? Such cases are drawn again. */
function namesMask({ form, encoding }: Draft): boolean {
  const { base, index } = encoding.address ?? {};
  return isImageRecorded(form.row) && [base, index].some((register) => register === RAX || register === RDX);
}

/**
 * Does the window end inside an image that is to be restored? SDM Vol. 1, "Memory Access by the XSAVE Feature Set": whether the place of a
 * component in its initial configuration is accessed is left to the processor. Such cases are drawn again.
 */
function isCut({ form, pokeAt }: Draft): boolean {
  const offset = pokeAt - WINDOW;
  return (
    form.row.mnemonic === "XRSTOR" &&
    offset > -IMAGE_BYTES &&
    offset < WINDOW_BYTES &&
    offset + IMAGE_BYTES > WINDOW_BYTES
  );
}

/** An image where the operand is, as far as the window goes. */
function imageAt(draft: Draft, bytes: Uint8Array): NonNullable<CaseInput["image"]> {
  const offset = draft.pokeAt - WINDOW;
  if (offset < 0 || offset >= WINDOW_BYTES) return { offset: 0, bytes: new Uint8Array(0) };
  return { offset, bytes: bytes.subarray(0, WINDOW_BYTES - offset) };
}

function codeOf({ bytes }: Encoding): Uint8Array {
  const code = smallArray(bytes.length);
  code.set(bytes);
  return code;
}

/** Case number `number` of a form under a corpus seed. */
export function makeCase(seed: number, form: Form, number: number): CaseInput {
  const random = new Random(fnv1a(`${seed}/${form.mode}/${form.key}/${number}`));
  let draft = draftCase(random, form);
  while (mayWrap(draft) || namesMask(draft) || isCut(draft)) draft = draftCase(random, form);
  const source = new LaneSource(seed, random, form);
  let media: Uint8Array | undefined;
  if (isMediaRecorded(form.row)) {
    media = makeMedia(random, form, source);
    aimGather(draft, media);
    tameMediaOperands(draft);
    // Exceptions that are unmasked on purpose stay; LDMXCSR and STMXCSR see any state that is valid.
    if (/MXCSR$/.test(form.row.mnemonic)) viewOf(media).setUint32(MXCSR_OFFSET, random.next() & 0xffff, true);
  }
  let image: CaseInput["image"];
  if (isImageRecorded(form.row)) {
    media = makeImageMedia(random, form, source);
    image = imageAt(draft, makeImage(random, source));
    // The components asked for. Processors have more of them than we do: no other bit.
    draft.gpr[RAX] = BigInt(random.chance(60) ? 7 : random.below(8));
    draft.gpr[RDX] = 0n;
  }
  const pokeOffset = Math.max(0, Math.min(WINDOW_BYTES - POKE_BYTES, draft.pokeAt - WINDOW));
  return {
    mode: form.mode,
    code: codeOf(draft.encoding),
    // A gather whose element faults takes the single-step trap in the place of the fault, and begins again (SDM Vol. 2,
    // "VGATHERDPS").
    isRepeated: form.group === "REP" || form.group === "REPNE" || draft.encoding.vectorIndex !== undefined,
    mayLeave: form.row.attributes.has("branch") || form.row.mnemonic === "POPF",
    gpr: draft.gpr,
    rflags:
      INITIAL_RFLAGS | BigInt(random.next() & RANDOM_RFLAGS) | (random.chance(AC_PERCENT) ? RFLAGS_AC : 0n),
    pokeOffset,
    poke: media ? pokeLanes(draft, source, media) : pokeBytes(draft),
    destination: destinationOf(draft),
    ...(media && { media }),
    ...(image && { image }),
  };
}
