/**
 * The test device of kvm-unit-tests, as its x86 library drives it: a latch at port E0H (4 bytes); at 2000H one port per
 * interrupt line whose level is what was written (0 or not); and at FF000000H 64 KiB that behave as memory, though every
 * access goes to the device.
 */
import { array, bytes, struct, type ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, InterruptLine, MmioDevice, PortDevice, Resettable } from "../ports.ts";

export const TEST_LATCH_PORT = 0xe0;
export const TEST_LATCH_PORTS = 4;
export const TEST_IRQ_PORT = 0x2000;
export const TEST_IRQ_PORTS = 24;

export const TEST_MEMORY_BASE = 0xff000000;
export const TEST_MEMORY_BYTES = 0x10000;

export const TestDeviceStruct = struct("TestDevice", {
  latch: array("u32", 1),
  memory: bytes(TEST_MEMORY_BYTES, 8),
});

export class TestDevice implements Resettable {
  readonly latch: PortDevice;
  readonly interrupts: PortDevice;
  readonly memory: MmioDevice;
  readonly #state: ViewOf<typeof TestDeviceStruct>;
  readonly #lines: readonly (InterruptLine | undefined)[];

  /** @param lines by number; those missing ignore writes */
  constructor(
    context: DeviceContext,
    options: { readonly label: string; readonly lines: readonly (InterruptLine | undefined)[] },
  ) {
    this.#state = context.state.place(options.label, TestDeviceStruct);
    this.#lines = options.lines;
    this.latch = {
      readPort: (offset, size) => {
        const value = this.#state.latch[0]! >>> (8 * offset);
        return size === 4 ? value : value & (2 ** (8 * size) - 1);
      },
      writePort: (offset, size, value) => {
        const mask = size === 4 ? 0xffffffff : ((1 << (8 * size)) - 1) << (8 * offset);
        this.#state.latch[0] = (this.#state.latch[0]! & ~mask) | ((value << (8 * offset)) & mask);
      },
    };
    this.memory = {
      readMmio: (offset, size) => {
        let value = 0;
        for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.#state.memory[offset + i] ?? 0xff);
        return value;
      },
      writeMmio: (offset, size, value) => {
        for (let i = 0; i < size; i++) this.#state.memory[offset + i] = value >>> (8 * i);
      },
    };
    this.interrupts = {
      readPort: () => 0xff,
      writePort: (offset, _size, value) => this.#lines[offset]?.set(value !== 0),
    };
  }

  reset(): void {
    this.#state.latch[0] = 0;
    this.#state.memory.fill(0);
    for (const line of this.#lines) line?.set(false);
  }
}
