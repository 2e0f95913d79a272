/**
 * A machine that goes back to a moment of its run for every attempt: what follows is run each time with other damage in the image behind
 * its drive, or in its memory.
 */
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const { Machine, loadCostProfile } = await import(join(root, "dist", "index.js"));

/** Ten cycles an instruction: waits for a device's time take a tenth of the instructions. */
const COST = { ...loadCostProfile("nehalem-2010"), cyclesPerInstruction: 10 };
/** How often texts are looked at; more often on the way to a moment that is to be held. */
const SLICE_CYCLES = 40e6;
const FINE_CYCLES = 200e3;

/** A machine, what it sends by its serial port and shows, and how far it may go. */
export class WatchedMachine {
  #sent = "";
  machine;

  constructor(options) {
    this.machine = new Machine({
      cost: COST,
      ...options,
      onSerial: (byte) => {
        this.#sent += String.fromCharCode(byte);
      },
    });
  }

  /** Everything that a person at the machine would have read since the attempt began. */
  get text() {
    return `${this.#sent}\n${this.machine.screenText?.join("\n") ?? ""}`;
  }

  forget() {
    this.#sent = "";
  }

  /**
   * Runs to the guest's end, to a text that says that there is nothing to wait for, or to a bound.
   * @param {{ instructions: number, cycles: number, seconds: number }} bound the last is of the host's: code that writes to its own page
   * runs at a hundredth of the speed
   * @returns {string} how it ended: "exit 42", "power-off", "reset", "triple-fault", "idle", "stopped", "time over"
   */
  run(bound, isOver, { slice = SLICE_CYCLES, isExact = false } = {}) {
    const { machine } = this;
    const lastInstruction = machine.instructions + bound.instructions;
    const lastCycle = machine.cycles + bound.cycles;
    const lastMoment = performance.now() + 1000 * bound.seconds;
    let isStopping = false;
    for (;;) {
      const untilCycle = Math.min(machine.cycles + slice, lastCycle);
      const { end, code } = machine.run({ untilCycle, untilInstruction: lastInstruction });
      if (end === "debug-exit") return `exit ${code}`;
      if (end !== "paused") return end;
      // One slice more: an error is seldom one line.
      if (isStopping) return "stopped";
      isStopping = isOver(this.text);
      if (isStopping && isExact) return "stopped";
      const isUp = machine.instructions >= lastInstruction || machine.cycles >= lastCycle;
      if (isUp || performance.now() > lastMoment) return "time over";
    }
  }

  close() {
    this.machine.close();
  }
}

/**
 * A machine with moments to go back to. A moment is what `hold` gives: a snapshot, and where the clocks stood.
 */
export class HeldMachine extends WatchedMachine {
  #image;
  #file;

  /**
   * @param {object} options those of the machine
   * @param {{ path: string, bytes: Buffer }} [image] what its drive reads: a file that attempts change under it, and the bytes it has
   */
  constructor(options, image) {
    if (image) writeFileSync(image.path, image.bytes);
    super(options);
    this.#image = image;
    if (image) this.#file = openSync(image.path, "r+");
  }

  /** Runs on until `isThere`, and holds that moment. Throws where it does not come. */
  hold(what, bound, isThere) {
    const end = this.run(bound, isThere, { slice: FINE_CYCLES, isExact: true });
    if (end !== "stopped") throw new Error(`the guest did not come to ${what}: ${end}\n${this.text}`);
    const { instructions, cycles } = this.machine;
    return { snapshot: this.machine.save(), instructions, cycles };
  }

  /** What has been spent since a moment, times a factor. */
  since(moment, factor) {
    const { instructions, cycles } = this.machine;
    return {
      instructions: factor * (instructions - moment.instructions),
      cycles: factor * (cycles - moment.cycles),
    };
  }

  #goBack({ snapshot }) {
    this.machine.restore(snapshot);
    this.forget();
  }

  /** Runs from a moment with a mutation in the image. */
  attempt(moment, mutation, bound, isOver) {
    this.#goBack(moment);
    const { bytes } = this.#image;
    const { patches, length } = mutation;
    const put = (from, at) => writeSync(this.#file, from, 0, from.length, at);
    try {
      for (const { at, bytes: damaged } of patches) put(damaged, at);
      if (length !== undefined) ftruncateSync(this.#file, length);
      return this.run(bound, isOver);
    } finally {
      for (const { at, bytes: damaged } of patches) put(bytes.subarray(at, at + damaged.length), at);
      if (length !== undefined) put(bytes.subarray(length), length);
    }
  }

  /** Runs from a moment with other bytes in the memory of a machine on metal. */
  attemptInMemory(moment, physical, bytes, bound, isOver) {
    this.#goBack(moment);
    const { memory } = this.machine;
    memory.state.bytes.set(bytes, memory.ramOffset(physical, bytes.length));
    return this.run(bound, isOver);
  }

  close() {
    super.close();
    if (this.#file !== undefined) closeSync(this.#file);
  }
}
