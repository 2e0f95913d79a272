import { beforeEach, describe, expect, test } from "vitest";
import * as spec from "../../../../devices/serial/spec.ts";
import { RECEIVE_RING_BYTES, Uart16550 } from "../../../../devices/serial/uart16550.ts";
import { FakeContext, LineRecorder } from "../../../support/device-context.ts";

let context: FakeContext;
let line: LineRecorder;
let sent: number[];
let uart: Uart16550;

const make = (on: FakeContext): Uart16550 =>
  new Uart16550(on, { label: "com1", irq: line, sink: { transmit: (byte) => sent.push(byte) } });
const read = (register: number): number => uart.readPort(register);
const write = (register: number, value: number): void => uart.writePort(register, 1, value);
const enableFifo = (trigger = 0): void => write(spec.IIR_FCR, spec.FCR_FIFO_ENABLE | (trigger << 6));

beforeEach(() => {
  context = new FakeContext();
  line = new LineRecorder();
  sent = [];
  uart = make(context);
  context.powerOn(uart);
  write(spec.LCR, 3);
  write(spec.MCR, spec.MCR_DTR | spec.MCR_RTS | spec.MCR_OUT2);
  uart.readPort(spec.MSR);
});

describe("registers", () => {
  test("the divisor latch hides behind DLAB", () => {
    write(spec.LCR, spec.LCR_DLAB | 3);
    write(spec.RBR_THR_DLL, 0x34);
    write(spec.IER_DLM, 0x12);
    expect([read(spec.RBR_THR_DLL), read(spec.IER_DLM)]).toEqual([0x34, 0x12]);
    write(spec.LCR, 3);
    expect(read(spec.IER_DLM)).toBe(0);
    expect(sent).toEqual([]);
  });

  test("the scratch register holds a byte; IER keeps its low four bits", () => {
    write(spec.SCR, 0xa5);
    write(spec.IER_DLM, 0xff);
    expect([read(spec.SCR), read(spec.IER_DLM)]).toEqual([0xa5, 0x0f]);
  });

  test("IIR bits 7:6 show enabled FIFOs, and FCR bits without bit 0 are not programmed", () => {
    expect(read(spec.IIR_FCR)).toBe(0x01);
    write(spec.IIR_FCR, 0xc0);
    expect(read(spec.IIR_FCR)).toBe(0x01);
    enableFifo();
    expect(read(spec.IIR_FCR)).toBe(0xc1);
  });

  test("the transmitter sends at once and stays empty, masking to the word length", () => {
    for (const byte of [0x41, 0xff]) write(spec.RBR_THR_DLL, byte);
    write(spec.LCR, 2);
    write(spec.RBR_THR_DLL, 0xff);
    expect(sent).toEqual([0x41, 0xff, 0x7f]);
    expect(read(spec.LSR)).toBe(spec.LSR_THRE | spec.LSR_TEMT);
  });
});

describe("interrupts", () => {
  test("enabling ETBEI with THR empty raises the line; reading IIR clears the cause", () => {
    write(spec.IER_DLM, spec.IER_ETBEI);
    expect(line.level).toBe(true);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_THR_EMPTY);
    expect(line.level).toBe(false);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_NONE);
  });

  test("each THR write gives a new edge, even when the cause was still pending", () => {
    write(spec.IER_DLM, spec.IER_ETBEI);
    const before = line.rises;
    write(spec.RBR_THR_DLL, 1);
    write(spec.RBR_THR_DLL, 2);
    expect(line.rises - before).toBe(2);
  });

  test("reading IIR does not clear THRE while a higher cause is reported", () => {
    write(spec.IER_DLM, spec.IER_ETBEI | spec.IER_ERBFI);
    uart.receive(Uint8Array.of(7));
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_RECEIVED_DATA_AVAILABLE);
    expect(read(spec.RBR_THR_DLL)).toBe(7);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_THR_EMPTY);
  });

  test("priorities: line status, received data, THRE, modem status", () => {
    write(spec.MCR, spec.MCR_LOOP);
    write(spec.RBR_THR_DLL, 1);
    write(spec.RBR_THR_DLL, 2); // overrun in 16450 mode
    write(spec.MCR, spec.MCR_LOOP | spec.MCR_RTS); // CTS changes
    write(spec.IER_DLM, 0x0f);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_RECEIVER_LINE_STATUS);
    expect(read(spec.LSR) & (spec.LSR_OE | spec.LSR_DR)).toBe(spec.LSR_OE | spec.LSR_DR);
    expect(read(spec.LSR) & spec.LSR_OE).toBe(0);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_RECEIVED_DATA_AVAILABLE);
    expect(read(spec.RBR_THR_DLL)).toBe(2);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_THR_EMPTY);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_MODEM_STATUS);
    expect(read(spec.MSR) & spec.MSR_DCTS).toBe(spec.MSR_DCTS);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_NONE);
  });

  test("without OUT2, and in loop-back, no interrupt leaves the chip", () => {
    write(spec.IER_DLM, spec.IER_ETBEI);
    write(spec.MCR, 0);
    expect(line.level).toBe(false);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_THR_EMPTY);
    write(spec.IER_DLM, 0);
    write(spec.IER_DLM, spec.IER_ETBEI);
    write(spec.MCR, spec.MCR_OUT2 | spec.MCR_LOOP);
    expect(line.level).toBe(false);
  });

  test.each([
    [0, 1],
    [1, 4],
    [2, 8],
    [3, 14],
  ])("trigger code %i interrupts at %i characters", (code, level) => {
    enableFifo(code);
    write(spec.IER_DLM, spec.IER_ERBFI);
    for (let i = 0; i < level - 1; i++) uart.receive(Uint8Array.of(i));
    expect(line.level).toBe(false);
    uart.receive(Uint8Array.of(0xee));
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_RECEIVED_DATA_AVAILABLE | spec.IIR_FIFOS_ENABLED);
  });

  test("fewer characters than the trigger time out after four character times, exactly", () => {
    write(spec.LCR, spec.LCR_DLAB | 3);
    write(spec.RBR_THR_DLL, 1); // 115,200 baud, 10 bits: four characters are 347.2 µs
    write(spec.LCR, 3);
    enableFifo(2);
    write(spec.IER_DLM, spec.IER_ERBFI);
    uart.receive(Uint8Array.of(1, 2));
    context.advanceMicroseconds(347);
    expect(line.level).toBe(false);
    context.advanceMicroseconds(1);
    expect(read(spec.IIR_FCR)).toBe(spec.IIR_CHARACTER_TIMEOUT | spec.IIR_FIFOS_ENABLED);
    expect(read(spec.RBR_THR_DLL)).toBe(1);
    expect(line.level).toBe(false);
    context.advanceMicroseconds(400);
    expect(line.level).toBe(true);
    expect(read(spec.RBR_THR_DLL)).toBe(2);
    context.advanceMicroseconds(4000);
    expect(line.level).toBe(false);
  });
});

describe("receiver", () => {
  test("input waits in the ring, loses nothing, and is bounded", () => {
    enableFifo(3);
    const input = Uint8Array.from({ length: 6000 }, (_, i) => i * 7);
    const accepted = uart.receive(input);
    expect(accepted).toBe(RECEIVE_RING_BYTES);
    const more = uart.receive(input.subarray(accepted));
    expect(more).toBe(16); // as many as the FIFO took
    const got: number[] = [];
    while (read(spec.LSR) & spec.LSR_DR) got.push(read(spec.RBR_THR_DLL));
    expect(got).toEqual([...input.subarray(0, accepted + more)]);
    expect(read(spec.LSR) & spec.LSR_OE).toBe(0);
  });

  test("resetting the receiver FIFO drops its characters; toggling FIFO mode too", () => {
    enableFifo();
    write(spec.MCR, spec.MCR_LOOP);
    write(spec.RBR_THR_DLL, 1);
    write(spec.IIR_FCR, spec.FCR_FIFO_ENABLE | spec.FCR_RCVR_FIFO_RESET);
    expect(read(spec.LSR) & spec.LSR_DR).toBe(0);
    write(spec.RBR_THR_DLL, 2);
    write(spec.IIR_FCR, 0);
    expect(read(spec.LSR) & spec.LSR_DR).toBe(0);
  });

  test("loop-back: 17 characters overrun the FIFO and keep the first 16, modem outputs come back", () => {
    enableFifo();
    write(spec.MCR, spec.MCR_LOOP | spec.MCR_DTR | spec.MCR_OUT2);
    expect(read(spec.MSR) & 0xf0).toBe(spec.MSR_DSR | spec.MSR_DCD);
    for (let i = 0; i < 17; i++) write(spec.RBR_THR_DLL, 0x20 + i);
    expect(sent).toEqual([]);
    expect(read(spec.LSR) & spec.LSR_OE).toBe(spec.LSR_OE);
    expect(Array.from({ length: 16 }, () => read(spec.RBR_THR_DLL))).toEqual(
      Array.from({ length: 16 }, (_, i) => 0x20 + i),
    );
    expect(read(spec.LSR) & spec.LSR_DR).toBe(0);
  });

  test("a break in loop-back is shown when it reaches the top of the FIFO", () => {
    enableFifo();
    write(spec.MCR, spec.MCR_LOOP);
    write(spec.RBR_THR_DLL, 0x55);
    write(spec.LCR, 3 | spec.LCR_BREAK);
    expect(read(spec.LSR) & (spec.LSR_BI | spec.LSR_FIFO_ERROR)).toBe(spec.LSR_FIFO_ERROR);
    read(spec.RBR_THR_DLL);
    expect(read(spec.LSR) & spec.LSR_BI).toBe(spec.LSR_BI);
    expect(read(spec.LSR) & (spec.LSR_BI | spec.LSR_FIFO_ERROR)).toBe(0);
  });
});

test("a second instance on the same memory disturbs nothing and continues", () => {
  enableFifo();
  uart.receive(Uint8Array.of(1, 2, 3));
  const before = context.snapshot();
  const other = make(new FakeContext({ like: context }));
  expect(context.sameAs(before)).toBe(true);
  expect([other.readPort(0), other.readPort(0), other.readPort(0)]).toEqual([1, 2, 3]);
  expect(read(spec.LSR) & spec.LSR_DR).toBe(0);
  context.checkRedZones();
});
