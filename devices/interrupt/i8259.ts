/**
 * The PC's pair of interrupt controllers: Intel, "8259A Programmable Interrupt Controller", data sheet, with
 * the edge/level control registers (ELCR) of the PIIX.
 *
 * As on the PC, only the 8086 vector mode exists (ICW4's µPM, and the MCS-80 bits of ICW1, are accepted and
 * ignored) and ELCR replaces ICW1's LTIM bit. Buffered mode has no visible effect.
 */
import { nestedArray, struct, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, InterruptLine, PortDevice, Resettable } from "../ports.ts";
import * as spec from "./i8259-spec.ts";

/** Volatile state of one 8259A. */
export const I8259Struct = struct("I8259", {
  /** Levels of the eight input pins. */
  pins: u8,
  irr: u8,
  isr: u8,
  imr: u8,
  elcr: u8,
  /** Base vector, bits 7:3. */
  icw2: u8,
  icw3: u8,
  icw4: u8,
  /** The initialization command word expected next at DATA: 2, 3, 4, or 0 when initialized. */
  expecting: u8,
  /** ICW1 bits that decide which words follow. */
  icw1: u8,
  /** The level that has the lowest priority; 7 after initialization. */
  lowestPriority: u8,
  rotateInAeoi: u8,
  specialMask: u8,
  readIsr: u8,
  /** The next read is a poll: it acts as an interrupt acknowledge. */
  poll: u8,
});

export const I8259PairStruct = struct("I8259Pair", { chips: nestedArray(I8259Struct, 2) });

type Chip = ViewOf<typeof I8259Struct>;

const MASTER = 0;
const SLAVE = 1;

export class I8259Pair implements Resettable {
  readonly #chips: readonly Chip[];
  readonly #intr: InterruptLine;

  /** Ports 20H–21H, A0H–A1H and 4D0H–4D1H. */
  readonly masterPorts: PortDevice;
  readonly slavePorts: PortDevice;
  readonly elcrPorts: PortDevice;

  /** `intr` is the INTR output towards the processor (or LINT0, or the I/O APIC's input 0). */
  constructor(context: DeviceContext, options: { readonly label: string; readonly intr: InterruptLine }) {
    this.#chips = context.state.place(options.label, I8259PairStruct).chips;
    this.#intr = options.intr;
    const ports = (chip: number): PortDevice => ({
      readPort: (offset) => this.#read(chip, offset),
      writePort: (offset, _size, value) => this.#write(chip, offset, value & 0xff),
    });
    this.masterPorts = ports(MASTER);
    this.slavePorts = ports(SLAVE);
    this.elcrPorts = {
      readPort: (offset) => this.#chips[offset & 1]!.elcr,
      writePort: (offset, _size, value) => this.#writeElcr(offset & 1, value & 0xff),
    };
  }

  reset(): void {
    for (const chip of this.#chips) {
      chip.pins = 0;
      chip.irr = 0;
      chip.isr = 0;
      chip.imr = 0;
      chip.elcr = 0;
      chip.icw1 = 0;
      chip.icw2 = 0;
      chip.icw3 = 0;
      chip.icw4 = 0;
      chip.expecting = 0;
      chip.lowestPriority = 7;
      chip.rotateInAeoi = 0;
      chip.specialMask = 0;
      chip.readIsr = 0;
      chip.poll = 0;
    }
    this.syncOutputs();
  }

  /** Input `irq` of the pair: 0–7 master, 8–15 slave. Input 2 is the cascade and not available. */
  line(irq: number): InterruptLine {
    if (!Number.isInteger(irq) || irq < 0 || irq > 15 || irq === spec.CASCADE)
      throw new RangeError(`IRQ ${irq}: must be 0-15 and not 2, which is the cascade`);
    const chip = this.#chips[irq >> 3]!;
    const bit = 1 << (irq & 7);
    return {
      set: (level) => {
        setPin(chip, bit, level);
        this.syncOutputs();
      },
    };
  }

  /** True while INTR is asserted. */
  get pending(): boolean {
    return highestRequest(this.#chips[MASTER]!, true) >= 0;
  }

  /**
   * The processor's interrupt-acknowledge cycles.
   * @returns the vector. With no request left it is that of level 7 of the chip concerned, and no ISR bit is set
   * there ("a default IR7").
   */
  acknowledge(): number {
    const master = this.#chips[MASTER]!;
    const level = highestRequest(master, true);
    if (level < 0) return master.icw2 | 7;
    acknowledgeLevel(master, level);
    let vector = master.icw2 | level;
    if (level === spec.CASCADE) {
      const slave = this.#chips[SLAVE]!;
      const slaveLevel = highestRequest(slave, false);
      if (slaveLevel >= 0) acknowledgeLevel(slave, slaveLevel);
      vector = slave.icw2 | (slaveLevel >= 0 ? slaveLevel : 7);
      // INT of the slave falls during the acknowledge; a further request gives the master a new edge.
      setPin(master, 1 << spec.CASCADE, false);
    }
    // INTR falls during the acknowledge too.
    this.#intr.set(false);
    this.syncOutputs();
    return vector;
  }

  /** Recomputes the slave's INT, which is an input of the master, then INTR. */
  syncOutputs(): void {
    setPin(this.#chips[MASTER]!, 1 << spec.CASCADE, highestRequest(this.#chips[SLAVE]!, false) >= 0);
    this.#intr.set(this.pending);
  }

  #read(index: number, offset: number): number {
    const chip = this.#chips[index]!;
    if (chip.poll) {
      chip.poll = 0;
      const level = highestRequest(chip, index === MASTER);
      if (level < 0) return 0;
      acknowledgeLevel(chip, level);
      if (index === SLAVE) setPin(this.#chips[MASTER]!, 1 << spec.CASCADE, false);
      this.syncOutputs();
      return spec.POLL_INTERRUPT | level;
    }
    if (offset === spec.DATA) return chip.imr;
    return chip.readIsr ? chip.isr : chip.irr;
  }

  #write(index: number, offset: number, value: number): void {
    const chip = this.#chips[index]!;
    if (offset === spec.COMMAND) {
      if (value & spec.ICW1_SELECT) writeIcw1(chip, value);
      else if (value & spec.OCW3_SELECT) writeOcw3(chip, value);
      else writeOcw2(chip, value);
    } else writeData(chip, value);
    this.syncOutputs();
  }

  #writeElcr(index: number, value: number): void {
    const chip = this.#chips[index]!;
    chip.elcr = value & spec.ELCR_WRITABLE[index]!;
    // A pin that is now level-triggered requests as long as it is high.
    chip.irr |= chip.pins & chip.elcr;
    this.syncOutputs();
  }
}

/**
 * A pin changes. IRR latches a rising edge (or follows the level), and drops with the pin: "The IR inputs must
 * remain high until after the falling edge of the first INTA."
 */
function setPin(chip: Chip, bit: number, level: boolean): void {
  if (level) {
    if (!(chip.pins & bit) || chip.elcr & bit) chip.irr |= bit;
    chip.pins |= bit;
  } else {
    chip.pins &= ~bit;
    chip.irr &= ~bit;
  }
}

/** The level whose bit is set in `mask` and has the highest priority now, or -1. */
function highestPriority(chip: Chip, mask: number): number {
  for (let i = 1; i <= 8; i++) {
    const level = (chip.lowestPriority + i) & 7;
    if (mask & (1 << level)) return level;
  }
  return -1;
}

/** How many levels are of higher priority than `level`; 8 for none (-1). */
function rank(chip: Chip, level: number): number {
  return level < 0 ? 8 : (level - chip.lowestPriority - 1) & 7;
}

/** The request that would be acknowledged now, or -1: unmasked and above everything in service. */
function highestRequest(chip: Chip, isMaster: boolean): number {
  const request = highestPriority(chip, chip.irr & ~chip.imr);
  if (request < 0) return -1;
  let inService = chip.isr;
  // Special mask mode: a masked level in service no longer holds others back.
  if (chip.specialMask) inService &= ~chip.imr;
  // Special fully nested mode: the slave may interrupt again while its own level is in service.
  if (isMaster && chip.icw4 & spec.ICW4_SFNM && request === spec.CASCADE) inService &= ~(1 << spec.CASCADE);
  return rank(chip, request) < rank(chip, highestPriority(chip, inService)) ? request : -1;
}

function acknowledgeLevel(chip: Chip, level: number): void {
  const bit = 1 << level;
  if (!(chip.elcr & bit)) chip.irr &= ~bit;
  if (chip.icw4 & spec.ICW4_AEOI) {
    if (chip.rotateInAeoi) chip.lowestPriority = level;
  } else chip.isr |= bit;
}

/** "Initialization Command Words 1 and 2": what happens when ICW1 is written. */
function writeIcw1(chip: Chip, value: number): void {
  chip.icw1 = value;
  chip.expecting = 2;
  // The edge sense circuit is reset: an input must make a low-to-high transition to request.
  chip.irr = chip.pins & chip.elcr;
  chip.isr = 0;
  chip.imr = 0;
  chip.lowestPriority = 7;
  chip.rotateInAeoi = 0;
  chip.specialMask = 0;
  chip.readIsr = 0;
  chip.poll = 0;
  if (!(value & spec.ICW1_IC4)) chip.icw4 = 0;
}

function writeData(chip: Chip, value: number): void {
  switch (chip.expecting) {
    case 2:
      chip.icw2 = value & 0xf8;
      chip.expecting = !(chip.icw1 & spec.ICW1_SNGL) ? 3 : chip.icw1 & spec.ICW1_IC4 ? 4 : 0;
      break;
    case 3:
      chip.icw3 = value;
      chip.expecting = chip.icw1 & spec.ICW1_IC4 ? 4 : 0;
      break;
    case 4:
      chip.icw4 = value;
      chip.expecting = 0;
      break;
    default:
      chip.imr = value; // OCW1
  }
}

function writeOcw2(chip: Chip, value: number): void {
  const level = value & 7;
  switch (value >> 5) {
    case spec.OCW2_ROTATE_IN_AEOI_CLEAR:
      chip.rotateInAeoi = 0;
      break;
    case spec.OCW2_ROTATE_IN_AEOI_SET:
      chip.rotateInAeoi = 1;
      break;
    case spec.OCW2_NON_SPECIFIC_EOI:
    case spec.OCW2_ROTATE_ON_NON_SPECIFIC_EOI: {
      // "An IS bit that is masked by an IMR bit will not be cleared by a non-specific EOI in special mask mode."
      const served = highestPriority(chip, chip.specialMask ? chip.isr & ~chip.imr : chip.isr);
      if (served < 0) break;
      chip.isr &= ~(1 << served);
      if (value >> 5 === spec.OCW2_ROTATE_ON_NON_SPECIFIC_EOI) chip.lowestPriority = served;
      break;
    }
    case spec.OCW2_SPECIFIC_EOI:
      chip.isr &= ~(1 << level);
      break;
    case spec.OCW2_ROTATE_ON_SPECIFIC_EOI:
      chip.isr &= ~(1 << level);
      chip.lowestPriority = level;
      break;
    case spec.OCW2_SET_PRIORITY:
      chip.lowestPriority = level;
      break;
    default: // no operation
      break;
  }
}

function writeOcw3(chip: Chip, value: number): void {
  if (value & spec.OCW3_POLL) chip.poll = 1;
  if (value & spec.OCW3_RR) chip.readIsr = value & spec.OCW3_RIS;
  if (value & spec.OCW3_ESMM) chip.specialMask = value & spec.OCW3_SMM ? 1 : 0;
}
