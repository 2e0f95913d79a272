/**
 * A mouse behind the 8042: IBM's three-byte packets, and the wheel after the sample rates 200, 100, 80. IBM, "PS/2 Hardware Interface
 * Technical Reference", "Auxiliary Device (Mouse)"; Microsoft, "IntelliMouse".
 */
import { i32, nested, struct, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import { ACKNOWLEDGE, RESEND, SELF_TEST_PASSED } from "./ps2-keyboard.ts";
import { Ps2Queue, Ps2QueueStruct } from "./ps2-queue.ts";

export const Ps2MouseStruct = struct("Ps2Mouse", {
  reporting: u8,
  remote: u8,
  wrap: u8,
  scaling: u8,
  resolution: u8,
  sampleRate: u8,
  /** The two sample rates before that. */
  rateBefore: u8,
  rateBeforeThat: u8,
  id: u8,
  buttons: u8,
  awaiting: u8,
  lastSent: u8,
  /** Movement that has not been sent. */
  x: i32,
  y: i32,
  wheel: i32,
  /** Buttons have changed since the last packet. */
  changed: u8,
  queue: nested(Ps2QueueStruct),
});

const SET_SCALING_1 = 0xe6;
const SET_SCALING_2 = 0xe7;
const SET_RESOLUTION = 0xe8;
const STATUS_REQUEST = 0xe9;
const SET_STREAM = 0xea;
const READ_DATA = 0xeb;
const RESET_WRAP = 0xec;
const SET_WRAP = 0xee;
const SET_REMOTE = 0xf0;
const READ_ID = 0xf2;
const SET_SAMPLE_RATE = 0xf3;
const ENABLE = 0xf4;
const DISABLE = 0xf5;
const SET_DEFAULTS = 0xf6;
const RESET = 0xff;

const ID_MOUSE = 0;
const ID_WHEEL = 3;
const MOST_MOVEMENT = 255;
const clamp = (value: number, most: number): number => Math.max(-most - 1, Math.min(most, value));

export class Ps2Mouse {
  readonly #s: ViewOf<typeof Ps2MouseStruct>;
  readonly #queue: Ps2Queue;
  readonly #hasData: () => void;

  constructor(state: ViewOf<typeof Ps2MouseStruct>, hasData: () => void) {
    this.#s = state;
    this.#queue = new Ps2Queue(state.queue);
    this.#hasData = hasData;
  }

  reset(): void {
    this.#queue.clear();
    Object.assign(this.#s, {
      id: ID_MOUSE,
      wrap: 0,
      awaiting: 0,
      lastSent: 0,
      buttons: 0,
      rateBefore: 0,
      rateBeforeThat: 0,
    });
    this.#setDefaults();
  }

  get isSilent(): boolean {
    return this.#queue.isEmpty;
  }

  next(): number | undefined {
    const value = this.#queue.shift();
    if (value !== undefined) this.#s.lastSent = value;
    if (this.#queue.isEmpty) this.#report();
    return value;
  }

  /** The mouse is moved (right and up are positive), its wheel turned, its buttons set (1 left, 2 right, 4 middle). */
  move(x: number, y: number, wheel: number, buttons: number): void {
    const s = this.#s;
    s.x = clamp(s.x + x, 0x7fff);
    s.y = clamp(s.y + y, 0x7fff);
    s.wheel = clamp(s.wheel + wheel, 0x7f);
    if ((buttons & 7) !== s.buttons) s.changed = 1;
    s.buttons = buttons & 7;
    if (this.#queue.isEmpty) this.#report();
    this.#hasData();
  }

  receive(value: number): void {
    const s = this.#s;
    const command = s.awaiting;
    s.awaiting = 0;
    if (command !== 0) this.#argument(command, value);
    else if (s.wrap !== 0 && value !== RESET_WRAP && value !== RESET) this.#queue.push(value);
    else this.#command(value);
    this.#hasData();
  }

  #setDefaults(): void {
    Object.assign(this.#s, {
      reporting: 0,
      remote: 0,
      scaling: 0,
      resolution: 2,
      sampleRate: 100,
      x: 0,
      y: 0,
      wheel: 0,
      changed: 0,
    });
  }

  #command(value: number): void {
    const s = this.#s;
    // A command ends a packet that is being sent.
    this.#queue.clear();
    switch (value) {
      case SET_SCALING_1:
      case SET_SCALING_2:
        s.scaling = value === SET_SCALING_2 ? 1 : 0;
        break;
      case SET_RESOLUTION:
      case SET_SAMPLE_RATE:
        s.awaiting = value;
        break;
      case STATUS_REQUEST:
        this.#queue.push(ACKNOWLEDGE, this.#status(), s.resolution, s.sampleRate);
        return;
      case SET_STREAM:
      case SET_REMOTE:
        s.remote = value === SET_REMOTE ? 1 : 0;
        break;
      case READ_DATA:
        this.#queue.push(ACKNOWLEDGE, ...this.#packet());
        return;
      case RESET_WRAP:
      case SET_WRAP:
        s.wrap = value === SET_WRAP ? 1 : 0;
        break;
      case READ_ID:
        this.#queue.push(ACKNOWLEDGE, s.id);
        return;
      case ENABLE:
      case DISABLE:
        s.reporting = value === ENABLE ? 1 : 0;
        break;
      case SET_DEFAULTS:
        this.#setDefaults();
        break;
      case RESEND:
        this.#queue.push(s.lastSent);
        return;
      case RESET:
        this.reset();
        this.#queue.push(ACKNOWLEDGE, SELF_TEST_PASSED, s.id);
        return;
      default:
        this.#queue.push(RESEND);
        return;
    }
    this.#queue.push(ACKNOWLEDGE);
  }

  #argument(command: number, value: number): void {
    const s = this.#s;
    if (command === SET_RESOLUTION) s.resolution = value & 3;
    else {
      // The wheel is found by a sequence of rates.
      if (s.rateBeforeThat === 200 && s.rateBefore === 100 && value === 80) s.id = ID_WHEEL;
      s.rateBeforeThat = s.rateBefore;
      s.rateBefore = value;
      s.sampleRate = value;
    }
    this.#queue.push(ACKNOWLEDGE);
  }

  #status(): number {
    const s = this.#s;
    const buttons = ((s.buttons & 1) << 2) | ((s.buttons & 2) >> 1) | ((s.buttons & 4) >> 1);
    return (s.remote << 6) | (s.reporting << 5) | (s.scaling << 4) | buttons;
  }

  /** In stream mode movement and buttons are sent as they come. */
  #report(): void {
    const s = this.#s;
    if (s.reporting === 0 || s.remote !== 0 || s.wrap !== 0) return;
    if (s.x === 0 && s.y === 0 && s.wheel === 0 && s.changed === 0) return;
    this.#queue.push(...this.#packet());
  }

  #packet(): number[] {
    const s = this.#s;
    const [x, y, wheel] = [clamp(s.x, MOST_MOVEMENT), clamp(s.y, MOST_MOVEMENT), clamp(s.wheel, 7)];
    s.x -= x;
    s.y -= y;
    s.wheel -= wheel;
    s.changed = 0;
    const signs = (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0);
    const packet = [0x08 | signs | s.buttons, x & 0xff, y & 0xff];
    return s.id === ID_WHEEL ? [...packet, wheel & 0xff] : packet;
  }
}
