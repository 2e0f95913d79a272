/**
 * A keyboard of 101 keys behind the 8042: commands and scan code sets 1 and 2. IBM, "PS/2 Hardware Interface Technical Reference",
 * "Keyboard (101- and 102-Key)". No set 3; held keys do not repeat.
 */
import { array, nested, struct, u16, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { Clock, Timer } from "../ports.ts";
import { Ps2Queue, Ps2QueueStruct } from "./ps2-queue.ts";
import { BREAK, EXTENDED, EXTENSION, PAUSE, PAUSE_SEQUENCE, toSet1, type KeyEvent } from "./scan-codes.ts";

const MOST_TYPED = 1024;
/** Typed keys: pressed. */
const PRESSED = 1 << 15;

export const Ps2KeyboardStruct = struct("Ps2Keyboard", {
  /** Keys are sent. */
  scanning: u8,
  scanSet: u8,
  leds: u8,
  /** The command whose argument is expected, or 0. */
  awaiting: u8,
  lastSent: u8,
  replies: nested(Ps2QueueStruct),
  keys: nested(Ps2QueueStruct),
  /** Key events that a person or script has made and the keyboard has not yet: a ring. */
  typedFirst: u16,
  typedCount: u16,
  typed: array("u16", MOST_TYPED),
});

export const ACKNOWLEDGE = 0xfa;
export const SELF_TEST_PASSED = 0xaa;
export const RESEND = 0xfe;
const ECHO = 0xee;
const SET_LEDS = 0xed;
const SET_SCAN_SET = 0xf0;
const READ_ID = 0xf2;
const SET_TYPEMATIC = 0xf3;
const ENABLE = 0xf4;
const DISABLE = 0xf5;
const SET_DEFAULTS = 0xf6;
/** F7H–FDH set how set 3 repeats. */
const SET_KEY_TYPES_LAST = 0xfd;
const RESET = 0xff;
const ID = [0xab, 0x83] as const;
/** "Key detection error or overrun" in set 2 and set 1. */
const OVERRUN_SET_2 = 0x00;
const OVERRUN_SET_1 = 0xff;
/** A typist's time between two events of keys. */
const TYPING_HZ = 200;

export class Ps2Keyboard {
  readonly #s: ViewOf<typeof Ps2KeyboardStruct>;
  readonly #replies: Ps2Queue;
  readonly #keys: Ps2Queue;
  readonly #clock: Clock;
  readonly #typing: Timer;
  readonly #hasData: () => void;

  /** @param hasData called when the keyboard has come to have something to send */
  constructor(
    state: ViewOf<typeof Ps2KeyboardStruct>,
    clock: Clock,
    timer: (fire: () => void) => Timer,
    hasData: () => void,
  ) {
    this.#s = state;
    this.#replies = new Ps2Queue(state.replies);
    this.#keys = new Ps2Queue(state.keys);
    this.#clock = clock;
    this.#typing = timer(() => this.#type());
    this.#hasData = hasData;
  }

  /** Power-on: the self-test has passed, and says so. */
  reset(): void {
    const s = this.#s;
    this.#setDefaults();
    s.leds = 0;
    s.scanning = 1;
    s.awaiting = 0;
    s.lastSent = 0;
    s.typedFirst = 0;
    s.typedCount = 0;
    this.#replies.clear();
    this.#keys.clear();
    this.#typing.disarm();
  }

  /** The next byte for the host; replies come before keys. */
  next(): number | undefined {
    const value = this.#replies.shift() ?? this.#keys.shift();
    if (value !== undefined) this.#s.lastSent = value;
    return value;
  }

  get isSilent(): boolean {
    return this.#replies.isEmpty && this.#keys.isEmpty;
  }

  /** A byte from the host. */
  receive(value: number): void {
    const s = this.#s;
    const command = s.awaiting;
    s.awaiting = 0;
    if (command !== 0 && value < SET_LEDS) this.#argument(command, value);
    else this.#command(value);
    this.#hasData();
  }

  /** Types: events are made one after the other, as fast as a person could. Returns how many were taken. */
  type(events: readonly KeyEvent[]): number {
    const s = this.#s;
    const taken = Math.min(events.length, MOST_TYPED - s.typedCount);
    for (const { code, pressed } of events.slice(0, taken))
      s.typed[(s.typedFirst + s.typedCount++) % MOST_TYPED] = code | (pressed ? PRESSED : 0);
    if (taken > 0 && this.#typing.armedAt === undefined) this.#armTyping();
    return taken;
  }

  #armTyping(): void {
    this.#typing.arm(this.#clock.now() + Math.ceil(this.#clock.frequencyHz / TYPING_HZ));
  }

  /** The next typed event, once the host has taken the one before. */
  #type(): void {
    const s = this.#s;
    if (s.typedCount === 0) return;
    if (this.isSilent && s.scanning !== 0) {
      const event = s.typed[s.typedFirst]!;
      s.typedFirst = (s.typedFirst + 1) % MOST_TYPED;
      s.typedCount--;
      this.#key(event & ~PRESSED, (event & PRESSED) !== 0);
      this.#hasData();
    }
    if (s.typedCount !== 0) this.#armTyping();
  }

  #key(code: number, pressed: boolean): void {
    const isSet1 = this.#s.scanSet === 1;
    let sequence: number[];
    if (code === PAUSE) sequence = pressed ? [...PAUSE_SEQUENCE] : [];
    else {
      const prefix = code & EXTENDED ? [EXTENSION] : [];
      sequence = [...prefix, ...(pressed ? [] : [BREAK]), code & 0xff];
    }
    if (isSet1) sequence = set1Sequence(sequence);
    if (!this.#keys.push(...sequence)) this.#keys.push(isSet1 ? OVERRUN_SET_1 : OVERRUN_SET_2);
  }

  #setDefaults(): void {
    this.#s.scanSet = 2;
  }

  #command(value: number): void {
    const s = this.#s;
    switch (value) {
      case ECHO:
        this.#replies.push(ECHO);
        return;
      case RESEND:
        this.#replies.push(s.lastSent);
        return;
      case SET_LEDS:
      case SET_SCAN_SET:
      case SET_TYPEMATIC:
        s.awaiting = value;
        break;
      case READ_ID:
        this.#replies.push(ACKNOWLEDGE, ...ID);
        return;
      case ENABLE:
        s.scanning = 1;
        this.#keys.clear();
        break;
      case DISABLE:
        s.scanning = 0;
        this.#setDefaults();
        this.#keys.clear();
        break;
      case SET_DEFAULTS:
        this.#setDefaults();
        this.#keys.clear();
        break;
      case RESET:
        this.#setDefaults();
        s.scanning = 1;
        s.leds = 0;
        this.#keys.clear();
        this.#replies.push(ACKNOWLEDGE, SELF_TEST_PASSED);
        return;
      default:
        if (value < SET_DEFAULTS || value > SET_KEY_TYPES_LAST) {
          this.#replies.push(RESEND);
          return;
        }
    }
    this.#replies.push(ACKNOWLEDGE);
  }

  #argument(command: number, value: number): void {
    const s = this.#s;
    if (command === SET_LEDS) s.leds = value & 7;
    else if (command === SET_SCAN_SET) {
      if (value === 0) {
        this.#replies.push(ACKNOWLEDGE, s.scanSet);
        return;
      }
      if (value !== 1 && value !== 2) {
        this.#replies.push(RESEND);
        return;
      }
      s.scanSet = value;
    }
    this.#replies.push(ACKNOWLEDGE);
  }
}

/** A sequence of set 2 in set 1: the break code is the make code with bit 7. */
function set1Sequence(sequence: readonly number[]): number[] {
  const out: number[] = [];
  let isBreak = false;
  for (const byte of sequence) {
    if (byte === BREAK) isBreak = true;
    else if (byte >= EXTENSION) out.push(byte);
    else {
      out.push(toSet1(byte) | (isBreak ? 0x80 : 0));
      isBreak = false;
    }
  }
  return out;
}
