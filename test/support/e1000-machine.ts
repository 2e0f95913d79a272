/** An e1000 on buses, driven as a guest would: through its registers and descriptor rings. */
import { MmioBus } from "../../devices/bus/mmio-bus.ts";
import { PortBus } from "../../devices/bus/port-bus.ts";
import { E1000 } from "../../devices/net/e1000/device.ts";
import * as spec from "../../devices/net/e1000/spec.ts";
import { NO_OFFLOAD } from "../../devices/net/ethernet.ts";
import type { LinkPort } from "../../devices/net/link.ts";
import { setUpPci } from "../../devices/pci/firmware-setup.ts";
import { PciBus } from "../../devices/pci/pci-bus.ts";
import { FakeContext, FakeMemory, LineRecorder } from "./device-context.ts";
import { LINK_STATE_BYTES, MAC_A, SentFrames, makeLink } from "./network.ts";

const RAM = 1024 * 1024;
export const RX_RING = 0x1000;
export const TX_RING = 0x2000;
export const RX_BUFFERS = 0x10000;
export const TX_BUFFERS = 0x40000;
export const ENTRIES = 16;

export class E1000Machine {
  readonly context = new FakeContext({ stateBytes: LINK_STATE_BYTES });
  readonly memory = new FakeMemory(RAM);
  readonly line = new LineRecorder();
  readonly medium = new SentFrames();
  readonly link: LinkPort;
  readonly card: E1000;
  readonly mmio = new MmioBus();
  readonly ports = new PortBus();
  readonly view = new DataView(this.memory.bytes.buffer);
  readonly base: number;
  #tail = 0;

  constructor() {
    this.link = makeLink(this.context, this.medium);
    const bus = new PciBus(this.context, { label: "pci", ports: this.ports, memory: this.mmio });
    this.card = new E1000(this.context, {
      label: "e1000",
      memory: this.memory,
      intx: this.line,
      link: this.link,
      mac: MAC_A,
    });
    bus.add(4, 0, this.card.pci);
    this.context.powerOn(bus, this.link, this.card);
    setUpPci(bus, this.ports, { ioBase: 0xc000, memoryBase: 0xe0000000, pmBase: 0x600 });
    this.card.pci.write(4, 2, 7);
    this.base = this.card.pci.barBase(0)!;
  }

  read(offset: number): number {
    return this.mmio.read(this.base + offset, 4);
  }
  write(offset: number, value: number): void {
    this.mmio.write(this.base + offset, 4, value >>> 0);
  }

  /** Both rings, all receive buffers given, both directions on. */
  start(rctl = spec.RCTL_BAM, bufferBytes = 2048): void {
    for (let i = 0; i < ENTRIES; i++)
      this.view.setBigUint64(RX_RING + 16 * i, BigInt(RX_BUFFERS + bufferBytes * i), true);
    this.write(spec.RDBAL, RX_RING);
    this.write(spec.RDLEN, 16 * ENTRIES);
    this.write(spec.RDH, 0);
    this.write(spec.RDT, ENTRIES - 1);
    this.write(spec.TDBAL, TX_RING);
    this.write(spec.TDLEN, 16 * ENTRIES);
    this.write(spec.TDH, 0);
    this.write(spec.TDT, 0);
    this.write(spec.RCTL, rctl | spec.RCTL_EN);
    this.write(spec.TCTL, spec.TCTL_EN | spec.TCTL_PSP);
    this.#tail = 0;
  }

  /** Puts raw words of a transmit descriptor at the tail; the device sees them at `kick`. */
  put(low: number, high: number, third: number, fourth: number): number {
    const at = TX_RING + 16 * this.#tail;
    [low, high, third, fourth].forEach((word, i) => this.view.setUint32(at + 4 * i, word >>> 0, true));
    this.#tail = (this.#tail + 1) % ENTRIES;
    return at;
  }
  kick(): void {
    this.write(spec.TDT, this.#tail);
  }

  /** Sends a frame by one legacy descriptor; returns its status byte's place. */
  sendLegacy(frame: Uint8Array, command = spec.TXD_EOP | spec.TXD_RS, css = 0, cso = 0, special = 0): number {
    this.memory.bytes.set(frame, TX_BUFFERS);
    const at = this.put(
      TX_BUFFERS,
      0,
      frame.length | (cso << 16) | (command << 24),
      (css << 8) | (special << 16),
    );
    this.kick();
    return at + 12;
  }

  /** A frame from the link, at once; whatever it sets off later is left to come. */
  deliverNow(frame: Uint8Array): void {
    this.link.deliver(frame, NO_OFFLOAD);
    this.context.advance(0);
  }

  /** A frame from the link, with all that it sets off. */
  deliver(frame: Uint8Array): void {
    this.deliverNow(frame);
    this.context.settle();
  }

  /** Receive descriptor `index`: length, checksum, status, errors, special. */
  received(index: number): { length: number; sum: number; status: number; errors: number; tag: number } {
    const at = RX_RING + 16 * index;
    return {
      length: this.view.getUint16(at + 8, true),
      sum: this.view.getUint16(at + 10, true),
      status: this.view.getUint8(at + 12),
      errors: this.view.getUint8(at + 13),
      tag: this.view.getUint16(at + 14, true),
    };
  }

  /** A word of the EEPROM, bit by bit. */
  readEeprom(word: number): number {
    const set = (bits: number): void => this.write(spec.EECD, spec.EECD_REQ | bits);
    const clock = (bit: number): boolean => {
      const data = spec.EECD_CS | (bit ? spec.EECD_DI : 0);
      set(data);
      set(data | spec.EECD_SK);
      const out = (this.read(spec.EECD) & spec.EECD_DO) !== 0;
      set(data);
      return out;
    };
    set(0);
    set(spec.EECD_CS);
    const command = (0b110 << 6) | word;
    for (let bit = 8; bit >= 0; bit--) clock((command >> bit) & 1);
    let value = 0;
    for (let bit = 0; bit < 16; bit++) value = (value << 1) | (clock(0) ? 1 : 0);
    set(0);
    return value;
  }
}
