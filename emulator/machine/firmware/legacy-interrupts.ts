/**
 * The interrupt hardware as a PC's BIOS leaves it to a boot loader: the timer ticks 18.2 times a second, the 8259 pair
 * is initialised, and the boot processor's local APIC passes its output through. With `interrupt-table.ts`, whose
 * handlers serve it in real-address mode.
 *
 * Intel, "MultiProcessor Specification", "Virtual Wire Mode"; IBM, "Personal Computer AT Technical Reference", BIOS.
 */
import type { PortBus } from "../../../devices/bus/port-bus.ts";

/** Vectors of IRQ 0 and IRQ 8. */
export const MASTER_VECTOR = 0x08;
export const SLAVE_VECTOR = 0x70;

/** Counter 0, both bytes, mode 2; the count 0 stands for 65,536. */
const PIT_RATE_GENERATOR = 0x34;
/** ICW1: edge triggered, cascade, ICW4 follows. */
const ICW1 = 0x11;
/** ICW4: 8086 mode, normal EOI. */
const ICW4 = 0x01;
const CASCADE_INPUT = 2;
/** Open: the timer and the cascade. */
const MASTER_MASK = 0xff & ~((1 << 0) | (1 << CASCADE_INPUT));
const SLAVE_MASK = 0xff;

const PORT_WRITES: readonly (readonly [port: number, value: number])[] = [
  [0x20, ICW1],
  [0x21, MASTER_VECTOR],
  [0x21, 1 << CASCADE_INPUT],
  [0x21, ICW4],
  [0xa0, ICW1],
  [0xa1, SLAVE_VECTOR],
  [0xa1, CASCADE_INPUT],
  [0xa1, ICW4],
  [0x43, PIT_RATE_GENERATOR],
  [0x40, 0],
  [0x40, 0],
  [0x21, MASTER_MASK],
  [0xa1, SLAVE_MASK],
];

/** Registers of the local APIC by (offset >> 4). */
const SVR = 0x0f;
const LVT_LINT0 = 0x35;
const LVT_LINT1 = 0x36;
const SVR_ENABLED = 0x1ff;
const DELIVERY_EXTINT = 0x700;
const DELIVERY_NMI = 0x400;

/** Does what a BIOS does after its power-on self-test. `apic`: the boot processor's local APIC registers, by offset >> 4. */
export function setUpLegacyInterrupts(ports: PortBus, apic: Uint32Array): void {
  for (const [port, value] of PORT_WRITES) ports.write(port, 1, value);
  apic[SVR] = SVR_ENABLED;
  apic[LVT_LINT0] = DELIVERY_EXTINT;
  apic[LVT_LINT1] = DELIVERY_NMI;
}
