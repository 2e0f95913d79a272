/**
 * The PHY inside the 82540EM, reached through MDIC: IEEE 802.3 clause 22 registers and the manual's "PHY Registers". Its partner takes
 * part in auto-negotiation and has everything; that is over at once.
 */
import { array, struct, type ViewOf } from "../../../layout/struct.ts";

const CONTROL = 0;
const STATUS = 1;
const IDENTIFIER_1 = 2;
const IDENTIFIER_2 = 3;
const ADVERTISEMENT = 4;
const PARTNER = 5;
const EXPANSION = 6;
const GIGABIT_CONTROL = 9;
const GIGABIT_STATUS = 10;
const EXTENDED_STATUS = 15;
const SPECIFIC_CONTROL = 16;
const SPECIFIC_STATUS = 17;
const INTERRUPT_ENABLE = 18;
const EXTENDED_CONTROL = 20;
const PAGE = 29;
const PAGE_DATA = 30;

const CONTROL_RESET = 1 << 15;
const CONTROL_LOOPBACK = 1 << 14;
const CONTROL_POWER_DOWN = 1 << 11;
const CONTROL_RESTART = 1 << 9;
const STATUS_LINK = 1 << 2;
const STATUS_NEGOTIATED = 1 << 5;
const SPECIFIC_LINK = 1 << 10;

const PHY_REGISTERS = 32;

export const PhyStruct = struct("E1000Phy", { registers: array("u16", PHY_REGISTERS) });

const POWER_ON: ReadonlyMap<number, number> = new Map([
  // Auto-negotiation on, full duplex, 1000 Mbit/s.
  [CONTROL, 0x1140],
  [IDENTIFIER_1, 0x0141],
  [IDENTIFIER_2, 0x0c20],
  // 10 and 100 Mbit/s, both duplex modes, pause.
  [ADVERTISEMENT, 0x0de1],
  [GIGABIT_CONTROL, 0x0e00],
  [SPECIFIC_CONTROL, 0x0360],
  [EXTENDED_CONTROL, 0x0d60],
]);

const WRITABLE: ReadonlyMap<number, number> = new Map([
  [CONTROL, 0x7d40],
  [ADVERTISEMENT, 0xbfff],
  [7, 0xbfff],
  [GIGABIT_CONTROL, 0xff00],
  [SPECIFIC_CONTROL, 0xffff],
  [INTERRUPT_ENABLE, 0xffff],
  [EXTENDED_CONTROL, 0xffff],
  [24, 0xffff],
  [PAGE, 0xffff],
  [PAGE_DATA, 0xffff],
]);

export class Phy {
  readonly #registers: Uint16Array;
  readonly #isPlugged: () => boolean;
  readonly #linkMayHaveChanged: () => void;

  /** @param linkMayHaveChanged called after the guest has restarted negotiation, reset the PHY or powered it up or down */
  constructor(state: ViewOf<typeof PhyStruct>, isPlugged: () => boolean, linkMayHaveChanged: () => void) {
    this.#registers = state.registers;
    this.#isPlugged = isPlugged;
    this.#linkMayHaveChanged = linkMayHaveChanged;
  }

  reset(): void {
    this.#registers.fill(0);
    for (const [register, value] of POWER_ON) this.#registers[register] = value;
  }

  get isLinkUp(): boolean {
    return this.#isPlugged() && !(this.#registers[CONTROL]! & CONTROL_POWER_DOWN);
  }

  get isLoopback(): boolean {
    return (this.#registers[CONTROL]! & CONTROL_LOOPBACK) !== 0;
  }

  read(register: number): number {
    const up = this.isLinkUp;
    switch (register) {
      case STATUS:
        // All speeds of copper but 100BASE-T4, extended status, extended registers.
        return 0x7949 | (up ? STATUS_LINK | STATUS_NEGOTIATED : 0);
      case PARTNER:
        return up ? 0xcde1 : 0;
      case EXPANSION:
        return up ? 0x000f : 0x0004;
      case GIGABIT_STATUS:
        // Both receivers fine, the partner does 1000BASE-T in both duplex modes.
        return up ? 0x7c00 : 0;
      case EXTENDED_STATUS:
        return 0x3000;
      case SPECIFIC_STATUS:
        // 1000 Mbit/s, full duplex, resolved, link.
        return up ? 0xa808 | SPECIFIC_LINK : 0x8000;
      default:
        return this.#registers[register]!;
    }
  }

  write(register: number, value: number): void {
    const mask = WRITABLE.get(register);
    if (mask === undefined) return;
    if (register === CONTROL && value & CONTROL_RESET) {
      this.reset();
      this.#linkMayHaveChanged();
      return;
    }
    const before = this.#registers[register]!;
    this.#registers[register] = value & mask;
    if (register !== CONTROL) return;
    if (value & CONTROL_RESTART || (before ^ value) & CONTROL_POWER_DOWN) this.#linkMayHaveChanged();
  }
}
