/**
 * The adapter's EEPROM of 64 words, read through EERD or bit by bit as a Microwire part (93C46): manual, "EEPROM Interface" and "EEPROM
 * Address Map". It cannot be written.
 */
import { struct, u16, u8, type ViewOf } from "../../../layout/struct.ts";
import * as spec from "./spec.ts";

const WORDS = 64;
/** "such that after adding all the words … the sum should be BABAH". */
const CHECKSUM = 0xbaba;
const INIT_CONTROL_1 = 0x0a;
const INIT_CONTROL_2 = 0x0f;
/** A valid image's signature, and the identification below is to be loaded. */
const INIT_CONTROL_1_VALUE = 0x4000 | 0x3;
/** Advertises pause in both directions. */
const INIT_CONTROL_2_VALUE = 0x3000;

/** Start bit, two bits of operation code, six of address. */
const COMMAND_BITS = 9;
const START_AND_READ = 0b110;

export const EepromStruct = struct("E1000Eeprom", {
  /** EECD as written. */
  control: u8,
  /** Bits shifted in since the chip was selected, their value, and the word being shifted out. */
  bits: u8,
  command: u16,
  word: u16,
  output: u8,
});

export class Eeprom {
  readonly #state: ViewOf<typeof EepromStruct>;
  readonly #words = new Uint16Array(WORDS);

  constructor(state: ViewOf<typeof EepromStruct>, mac: Uint8Array) {
    this.#state = state;
    const words = this.#words;
    words.fill(0xffff);
    for (let i = 0; i < 3; i++) words[i] = mac[2 * i]! | (mac[2 * i + 1]! << 8);
    words[INIT_CONTROL_1] = INIT_CONTROL_1_VALUE;
    words.set([spec.DEVICE_82540EM, spec.VENDOR_INTEL, spec.DEVICE_82540EM, spec.VENDOR_INTEL], 0x0b);
    words[INIT_CONTROL_2] = INIT_CONTROL_2_VALUE;
    words[WORDS - 1] = 0;
    words[WORDS - 1] = CHECKSUM - words.reduce((sum, word) => sum + word, 0);
  }

  reset(): void {
    Object.assign(this.#state, { control: 0, bits: 0, command: 0, word: 0, output: 1 });
  }

  /** EERD after `value` was written: done at once. */
  readWord(value: number): number {
    if (!(value & spec.EERD_START)) return value & 0xff00;
    const address = (value >>> 8) & 0xff;
    return ((this.#words[address % WORDS]! << 16) | (address << 8) | spec.EERD_DONE) >>> 0;
  }

  get control(): number {
    const s = this.#state;
    const granted = s.control & spec.EECD_REQ ? spec.EECD_GNT : 0;
    return s.control | granted | (s.output ? spec.EECD_DO : 0) | spec.EECD_PRES;
  }

  /** A write of EECD: selecting begins a command, each rise of the clock takes a bit in or gives one out. */
  set control(value: number) {
    const s = this.#state;
    const before = s.control;
    s.control = value & spec.EECD_WRITABLE;
    if (!(value & spec.EECD_CS)) {
      s.bits = 0;
      s.command = 0;
      s.output = 1;
      return;
    }
    if (!(value & spec.EECD_SK) || before & spec.EECD_SK) return;
    if (s.bits < COMMAND_BITS) this.#shiftIn((value & spec.EECD_DI) !== 0);
    else this.#shiftOut();
  }

  #shiftIn(bit: boolean): void {
    const s = this.#state;
    // Zeroes before the start bit mean nothing.
    if (s.bits === 0 && !bit) return;
    s.command = ((s.command << 1) | (bit ? 1 : 0)) & 0xffff;
    s.bits++;
    if (s.bits < COMMAND_BITS) return;
    const reads = s.command >> 6 === START_AND_READ;
    s.word = reads ? this.#words[s.command & (WORDS - 1)]! : 0xffff;
    // A zero comes before the data.
    s.output = 0;
  }

  #shiftOut(): void {
    const s = this.#state;
    s.output = s.word >> 15;
    s.word = (s.word << 1) & 0xffff;
  }
}
