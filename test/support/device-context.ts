/**
 * A small world for a device model under test: a clock that a test moves, timers that fire in order, RAM, and
 * recorders for lines and messages.
 */
import { StateAllocator, StateMemory } from "../../layout/struct.ts";
import type {
  ApicBus,
  Clock,
  DeviceContext,
  DmaMemory,
  InterruptLine,
  InterruptMessage,
  MessageSink,
  SystemControl,
  Timer,
} from "../../devices/ports.ts";

export class FakeClock implements Clock {
  readonly frequencyHz: number;
  readonly epochSeconds: number;
  cycles = 0;

  constructor(frequencyHz = 1_000_000_000, epochSeconds = Date.UTC(2026, 0, 15, 10, 20, 30) / 1000) {
    this.frequencyHz = frequencyHz;
    this.epochSeconds = epochSeconds;
  }
  now(): number {
    return this.cycles;
  }
  ticks(hz: number): number {
    return Number((BigInt(this.cycles) * BigInt(hz)) / BigInt(this.frequencyHz));
  }
  timeOfTick(hz: number, n: number): number {
    return Number((BigInt(n) * BigInt(this.frequencyHz) + BigInt(hz) - 1n) / BigInt(hz));
  }
}

/** A clock of the wall's, seen by a slow or interrupted host: each look at it is `step` cycles after the one before. */
export class MovingClock extends FakeClock {
  step = 0;

  override now(): number {
    this.cycles += this.step;
    return super.now();
  }
  override ticks(hz: number): number {
    this.cycles += this.step;
    return super.ticks(hz);
  }
}

class FakeTimer implements Timer {
  readonly label: string;
  readonly fire: () => void;
  armedAt: number | undefined;
  order = 0;
  readonly #context: FakeContext;

  constructor(context: FakeContext, label: string, fire: () => void) {
    this.#context = context;
    this.label = label;
    this.fire = fire;
  }
  arm(time: number): void {
    if (!Number.isSafeInteger(time) || time < 0) throw new RangeError(`${this.label}: armed at ${time}`);
    this.armedAt = time;
    this.order = this.#context.nextOrder++;
  }
  disarm(): void {
    this.armedAt = undefined;
  }
}

/** The pattern of red zones, as long as any can be. */
const RED_ZONE = Buffer.alloc(4 * 1024 * 1024, StateAllocator.RED_ZONE_BYTE);

export class FakeContext implements DeviceContext {
  readonly memory: StateMemory;
  readonly state: StateAllocator;
  readonly clock: FakeClock;
  readonly timers: FakeTimer[] = [];
  nextOrder = 0;
  readonly #start: number;

  /** With `like`, a second context on the same state memory: what another thread would build. */
  constructor(options: { stateBytes?: number; clock?: FakeClock; like?: FakeContext } = {}) {
    this.memory =
      options.like?.memory ?? new StateMemory(new SharedArrayBuffer(options.stateBytes ?? 1024 * 1024));
    this.#start = 4096;
    this.state = new StateAllocator(this.memory, this.#start, this.memory.bytes.length);
    this.clock = options.clock ?? options.like?.clock ?? new FakeClock();
    if (options.like === undefined) this.memory.bytes.fill(StateAllocator.RED_ZONE_BYTE);
  }

  timer(label: string, fire: () => void): Timer {
    const timer = new FakeTimer(this, label, fire);
    this.timers.push(timer);
    return timer;
  }

  /** What the board does once at creation: state is zero, then every device is reset. */
  powerOn(...devices: { reset(): void }[]): void {
    for (const block of this.state.blocks) this.memory.bytes.fill(0, block.offset, block.offset + block.size);
    for (const device of devices) device.reset();
  }

  /** Moves time to `cycles`, firing what falls due on the way, earliest first. */
  advanceTo(cycles: number): void {
    for (let fired = 0; ; fired++) {
      if (fired > 1_000_000) throw new Error("timers do not come to rest");
      let next: FakeTimer | undefined;
      for (const timer of this.timers) {
        if (timer.armedAt === undefined || timer.armedAt > cycles) continue;
        if (
          next === undefined ||
          timer.armedAt < next.armedAt! ||
          (timer.armedAt === next.armedAt && timer.order < next.order)
        )
          next = timer;
      }
      if (next === undefined) break;
      this.clock.cycles = Math.max(this.clock.cycles, next.armedAt!);
      next.armedAt = undefined;
      next.fire();
    }
    this.clock.cycles = Math.max(this.clock.cycles, cycles);
  }

  advance(cycles: number): void {
    this.advanceTo(this.clock.cycles + cycles);
  }

  advanceMicroseconds(microseconds: number): void {
    this.advance(Math.round((this.clock.frequencyHz / 1e6) * microseconds));
  }

  /** Runs until no timer is armed, or `limit` cycles have passed. */
  settle(limit = 100_000_000_000): void {
    const end = this.clock.cycles + limit;
    for (;;) {
      let next: number | undefined;
      for (const timer of this.timers)
        if (timer.armedAt !== undefined && (next === undefined || timer.armedAt < next)) next = timer.armedAt;
      if (next === undefined || next > end) return;
      this.advanceTo(Math.max(next, this.clock.cycles));
    }
  }

  /** Throws if a byte outside all placed blocks was changed. */
  checkRedZones(): void {
    const all = Buffer.from(this.memory.bytes.slice().buffer);
    let at = 0;
    for (const block of [...this.state.blocks, { label: "end", offset: all.length, size: 0 }]) {
      if (!all.subarray(at, block.offset).equals(RED_ZONE.subarray(0, block.offset - at)))
        throw new Error(`red zone before ${block.label} damaged`);
      at = block.offset + block.size;
    }
  }

  /** A copy of all state, as a snapshot would take it. */
  snapshot(): Buffer {
    return Buffer.from(this.memory.bytes.slice().buffer);
  }

  /** True when all state equals a snapshot. */
  sameAs(snapshot: Buffer): boolean {
    return snapshot.equals(this.snapshot());
  }

  /** Restores a snapshot of the state and the time; timers are given as they were armed. */
  restore(snapshot: Uint8Array): void {
    this.memory.bytes.set(snapshot);
  }
}

/** RAM at `[base, base + length)`; everything else is refused. */
export class FakeMemory implements DmaMemory {
  readonly bytes: Uint8Array;
  readonly base: number;
  readonly #view: DataView;
  /** Called before each read of RAM: tests of double fetches change memory here. */
  onRead: ((address: number, length: number) => void) | undefined;

  constructor(length: number, base = 0) {
    const buffer = new ArrayBuffer(length);
    this.bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.base = base;
  }
  contains(address: number, length: number): boolean {
    if (length === 0) return true;
    return (
      Number.isSafeInteger(address) &&
      address >= this.base &&
      length >= 0 &&
      address - this.base <= this.bytes.length - length
    );
  }
  read(address: number, into: Uint8Array): boolean {
    if (!this.contains(address, into.length)) return false;
    this.onRead?.(address, into.length);
    into.set(this.bytes.subarray(address - this.base, address - this.base + into.length));
    return true;
  }
  write(address: number, from: Uint8Array): boolean {
    if (!this.contains(address, from.length)) return false;
    if (from.length > 0) this.bytes.set(from, address - this.base);
    return true;
  }
  read16(address: number): number | undefined {
    if (!this.contains(address, 2)) return undefined;
    this.onRead?.(address, 2);
    return this.#view.getUint16(address - this.base, true);
  }
  read32(address: number): number | undefined {
    if (!this.contains(address, 4)) return undefined;
    this.onRead?.(address, 4);
    return this.#view.getUint32(address - this.base, true);
  }
  write16(address: number, value: number): boolean {
    if (!this.contains(address, 2)) return false;
    this.#view.setUint16(address - this.base, value, true);
    return true;
  }
  write32(address: number, value: number): boolean {
    if (!this.contains(address, 4)) return false;
    this.#view.setUint32(address - this.base, value, true);
    return true;
  }
}

/** A wire that remembers how often it changed. */
export class LineRecorder implements InterruptLine {
  level = false;
  rises = 0;
  falls = 0;
  onChange: ((level: boolean) => void) | undefined;

  set(level: boolean): void {
    if (level === this.level) return;
    this.level = level;
    if (level) this.rises++;
    else this.falls++;
    this.onChange?.(level);
  }
}

export class MessageRecorder implements MessageSink {
  readonly sent: { address: number; data: number }[] = [];
  send(address: number, data: number): void {
    this.sent.push({ address, data });
  }
}

export class ApicRecorder implements ApicBus {
  readonly delivered: InterruptMessage[] = [];
  deliver(message: InterruptMessage): void {
    this.delivered.push(message);
  }
}

export class SystemRecorder implements SystemControl {
  readonly events: string[] = [];
  requestReset(scope: "cpu" | "system"): void {
    this.events.push(`reset ${scope}`);
  }
  requestPowerOff(): void {
    this.events.push("power-off");
  }
  requestExit(code: number): void {
    this.events.push(`exit ${code}`);
  }
  setA20(open: boolean): void {
    this.events.push(`a20 ${open ? "open" : "closed"}`);
  }
}
