/** Control and status word, environment and whole state. SDM Vol. 2; formats: Vol. 1, "Saving the x87 FPU's State". */
import { CPU_IMAGE, CPU_X87 } from "../../layout.generated";
import { CPU, cpu } from "../../state/cpu";
import { isRealOrV86 } from "../../state/mode";
import { Address } from "../../mmu/segmented";
import { faultPending } from "../../interrupts/raise";
import { Extended } from "../../float/extended";
import {
  CONTROL_FIXED,
  CONTROL_INITIAL,
  CONTROL_WRITABLE,
  STATUS_B,
  STATUS_ES,
  STATUS_EXCEPTIONS,
  STATUS_SF,
} from "../../spec/x87";
import { Op } from "../operand";
import { hasNoSelectors } from "../fxsave";
import { readImage, writeImage } from "./memory";
import { Stack, updatePending } from "./stack";

const REGISTERS: usize = 8;
/** Bytes of the environment, and of the registers behind it. */
const ENVIRONMENT_16: u32 = 14;
const ENVIRONMENT_32: u32 = 28;
const REGISTER_BYTES: u32 = 80;

export class Control {
  static load(value: u32): void {
    cpu.x87Control = (value & CONTROL_WRITABLE) | CONTROL_FIXED;
    updatePending();
  }

  /** FNINIT. The registers' contents stay; they are empty. */
  static initialize(): void {
    cpu.x87Control = CONTROL_INITIAL;
    cpu.x87Status = 0;
    cpu.x87Tag = 0;
    cpu.x87Opcode = 0;
    cpu.x87CodeOffset = 0;
    cpu.x87CodeSelector = 0;
    cpu.x87DataOffset = 0;
    cpu.x87DataSelector = 0;
    updatePending();
  }

  /** FNCLEX. */
  static clear(): void {
    cpu.x87Status &= ~(STATUS_EXCEPTIONS | STATUS_SF | STATUS_ES | STATUS_B);
    updatePending();
  }
}

/** The tag word: two bits a register, found by looking at what is in it. */
export function fullTag(): u32 {
  let tag: u32 = 0;
  for (let i: u32 = 0; i < REGISTERS; i++) {
    let kind: u32 = 3;
    if (((cpu.x87Tag >> i) & 1) != 0) {
      const slot = CPU + CPU_X87 + ((<usize>i) << 4);
      const exponent = <u32>load<u16>(slot, 8);
      const significand = load<u64>(slot);
      kind = Extended.isNormal(exponent, significand) ? 0 : Extended.isZero(exponent, significand) ? 1 : 2;
    }
    tag |= kind << (i << 1);
  }
  return tag;
}

function setFullTag(tag: u32): void {
  let valid: u32 = 0;
  for (let i: u32 = 0; i < REGISTERS; i++) if (((tag >> (i << 1)) & 3) != 3) valid |= 1 << i;
  cpu.x87Tag = valid;
}

function put16(at: usize, value: u32): void {
  store<u16>(CPU + at, <u16>value, CPU_IMAGE);
}
function put32(at: usize, value: u32): void {
  store<u32>(CPU + at, value, CPU_IMAGE);
}
function get16(at: usize): u32 {
  return <u32>load<u16>(CPU + at, CPU_IMAGE);
}
function get32(at: usize): u32 {
  return load<u32>(CPU + at, CPU_IMAGE);
}

/** Upper half of a 32-bit image's words. */
const RESERVED: u32 = 0xffff0000;

/** Puts the environment into the image area. */
function putEnvironment(is16: bool): void {
  const isLinear = isRealOrV86();
  const hidden = hasNoSelectors();
  const codeSelector = hidden ? 0 : cpu.x87CodeSelector;
  const dataSelector = hidden ? 0 : cpu.x87DataSelector;
  // In real-address and virtual-8086 mode the pointers are linear addresses.
  const code = <u32>cpu.x87CodeOffset + (isLinear ? cpu.x87CodeSelector << 4 : 0);
  const data = <u32>cpu.x87DataOffset + (isLinear ? cpu.x87DataSelector << 4 : 0);
  const opcode = cpu.x87Opcode & 0x7ff;
  if (is16) {
    put16(0, cpu.x87Control);
    put16(2, cpu.x87Status);
    put16(4, fullTag());
    put16(6, code);
    put16(8, isLinear ? ((code >> 4) & 0xf000) | opcode : codeSelector);
    put16(10, data);
    put16(12, isLinear ? (data >> 4) & 0xf000 : dataSelector);
    return;
  }
  put32(0, cpu.x87Control | RESERVED);
  put32(4, cpu.x87Status | RESERVED);
  put32(8, fullTag() | RESERVED);
  put32(12, isLinear ? (code & 0xffff) | RESERVED : code);
  put32(16, isLinear ? ((code >> 4) & 0x0ffff000) | opcode : codeSelector | (opcode << 16));
  put32(20, isLinear ? (data & 0xffff) | RESERVED : data);
  put32(24, isLinear ? (data >> 4) & 0x0ffff000 : dataSelector | RESERVED);
}

/** Takes the environment from the image area. */
function getEnvironment(is16: bool): void {
  const isLinear = isRealOrV86();
  cpu.x87Control = (get16(0) & CONTROL_WRITABLE) | CONTROL_FIXED;
  cpu.x87Status = get16(is16 ? 2 : 4);
  setFullTag(get16(is16 ? 4 : 8));
  if (isLinear) {
    const code = is16 ? get16(6) | ((get16(8) & 0xf000) << 4) : get16(12) | ((get32(16) & 0x0ffff000) << 4);
    const data = is16 ? get16(10) | ((get16(12) & 0xf000) << 4) : get16(20) | ((get32(24) & 0x0ffff000) << 4);
    cpu.x87CodeOffset = code;
    cpu.x87DataOffset = data;
    cpu.x87CodeSelector = 0;
    cpu.x87DataSelector = 0;
    cpu.x87Opcode = get16(is16 ? 8 : 16) & 0x7ff;
  } else {
    cpu.x87CodeOffset = is16 ? get16(6) : get32(12);
    cpu.x87CodeSelector = get16(is16 ? 8 : 16);
    cpu.x87DataOffset = is16 ? get16(10) : get32(20);
    cpu.x87DataSelector = get16(is16 ? 12 : 24);
    cpu.x87Opcode = is16 ? 0 : get16(18) & 0x7ff;
  }
  updatePending();
}

export function fnstenv(record: usize): void {
  const is16 = Op.size(record) == 2;
  const size = is16 ? ENVIRONMENT_16 : ENVIRONMENT_32;
  const linear = Address.forWrite(record, size);
  if (faultPending()) return;
  putEnvironment(is16);
  if (is16 ? !writeImage<u16>(linear, 0, size) : !writeImage<u32>(linear, 0, size)) return;
  cpu.x87Control |= STATUS_EXCEPTIONS;
  updatePending();
}

export function fldenv(record: usize): void {
  const is16 = Op.size(record) == 2;
  const size = is16 ? ENVIRONMENT_16 : ENVIRONMENT_32;
  const linear = Address.forRead(record, size);
  if (faultPending()) return;
  if (is16 ? !readImage<u16>(linear, size) : !readImage<u32>(linear, size)) return;
  getEnvironment(is16);
}

export function fnsave(record: usize): void {
  const is16 = Op.size(record) == 2;
  const environment = is16 ? ENVIRONMENT_16 : ENVIRONMENT_32;
  const size = environment + REGISTER_BYTES;
  const linear = Address.forWrite(record, size);
  if (faultPending()) return;
  putEnvironment(is16);
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const at = CPU + CPU_IMAGE + <usize>(environment + i * 10);
    store<u64>(at, Stack.significand(i));
    store<u16>(at, <u16>Stack.exponent(i), 8);
  }
  if (is16 ? !writeImage<u16>(linear, 0, size) : !writeImage<u32>(linear, 0, size)) return;
  Control.initialize();
}

export function frstor(record: usize): void {
  const is16 = Op.size(record) == 2;
  const environment = is16 ? ENVIRONMENT_16 : ENVIRONMENT_32;
  const size = environment + REGISTER_BYTES;
  const linear = Address.forRead(record, size);
  if (faultPending()) return;
  if (is16 ? !readImage<u16>(linear, size) : !readImage<u32>(linear, size)) return;
  getEnvironment(is16);
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const at = CPU + CPU_IMAGE + <usize>(environment + i * 10);
    const slot = Stack.slot(i);
    store<u64>(slot, load<u64>(at));
    store<u16>(slot, load<u16>(at, 8), 8);
  }
}
