/** Keyboard and mouse behind the 8042, driven as SeaBIOS and Linux drive them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { I8042 } from "../../../../devices/input/i8042.ts";
import { keyEvents } from "../../../../devices/input/scan-codes.ts";
import { FakeContext, LineRecorder, SystemRecorder } from "../../../support/device-context.ts";

class Guest {
  readonly context = new FakeContext();
  readonly irq1 = new LineRecorder();
  readonly irq12 = new LineRecorder();
  readonly controller: I8042;

  constructor() {
    this.controller = new I8042(this.context, {
      label: "8042",
      irq: this.irq1,
      auxiliaryIrq: this.irq12,
      system: new SystemRecorder(),
    });
    this.context.powerOn(this.controller);
  }
  command(value: number, data?: number): void {
    this.controller.commandPort.writePort(0, 1, value);
    if (data !== undefined) this.controller.dataPort.writePort(0, 1, data);
  }
  data(value: number): void {
    this.controller.dataPort.writePort(0, 1, value);
  }
  get status(): number {
    return this.controller.commandPort.readPort(0, 1);
  }
  /** Everything that comes within a while: [byte, from the mouse]. */
  receive(microseconds = 100_000): [number, boolean][] {
    const received: [number, boolean][] = [];
    for (let waited = 0; waited < microseconds; waited += 50) {
      const { status } = this;
      if (status & 1) received.push([this.controller.dataPort.readPort(0, 1), (status & 0x20) !== 0]);
      this.context.advanceMicroseconds(50);
    }
    return received;
  }
  bytes(microseconds?: number): number[] {
    return this.receive(microseconds).map(([byte]) => byte);
  }
  /** A byte to the keyboard, and what it answers. */
  keyboard(...values: number[]): number[] {
    return values.flatMap((value) => {
      this.data(value);
      return this.bytes(2000);
    });
  }
  mouse(...values: number[]): number[] {
    return values.flatMap((value) => {
      this.command(0xd4, value);
      return this.receive(2000).map(([byte, isMouse]) => (isMouse ? byte : -1));
    });
  }
}

const TRANSLATE_AND_INTERRUPTS = 0x47;

test("the controller has an auxiliary interface, and tells of it", () => {
  const guest = new Guest();
  guest.command(0xa9);
  expect(guest.bytes()).toEqual([0]);
  guest.command(0xd3, 0x5a);
  expect(guest.receive()).toEqual([[0x5a, true]]);
  guest.command(0xa8);
  guest.command(0x20);
  expect(guest.bytes()[0]! & 0x20).toBe(0);
  guest.command(0xa7);
  guest.command(0x20);
  expect(guest.bytes()[0]! & 0x20).toBe(0x20);
});

describe("keyboard", () => {
  test("reset, identification, scan code sets, lights", () => {
    const guest = new Guest();
    expect(guest.keyboard(0xff)).toEqual([0xfa, 0xaa]);
    expect(guest.keyboard(0xf2)).toEqual([0xfa, 0xab, 0x83]);
    expect(guest.keyboard(0xf0, 0)).toEqual([0xfa, 0xfa, 2]);
    expect(guest.keyboard(0xf0, 3)).toEqual([0xfa, 0xfe]);
    expect(guest.keyboard(0xed, 7, 0xee, 0x12)).toEqual([0xfa, 0xfa, 0xee, 0xfe]);
  });
  test("keys in set 2, in set 1, and translated by the controller", () => {
    const guest = new Guest();
    guest.command(0x60, 0x01);
    const typed = (text: string): number[] => {
      guest.controller.keyboard!.type(keyEvents(text));
      return guest.bytes(200_000);
    };
    expect(typed("aA")).toEqual([0x1c, 0xf0, 0x1c, 0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12]);
    expect(typed("<up>")).toEqual([0xe0, 0x75, 0xe0, 0xf0, 0x75]);
    expect(typed("<pause>")).toEqual([0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77]);
    guest.keyboard(0xf0, 1);
    expect(typed("a<up>")).toEqual([0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8]);
    guest.keyboard(0xf0, 2);
    guest.command(0x60, TRANSLATE_AND_INTERRUPTS);
    expect(typed("a<up><f7>")).toEqual([0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8, 0x41, 0xc1]);
    expect(typed("<pause>")).toEqual([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    expect(guest.keyboard(0xf2)).toEqual([0xfa, 0xab, 0x41]);
  });
  test("nothing is sent while keyboard or interface is disabled; typing waits", () => {
    const guest = new Guest();
    guest.keyboard(0xf5);
    guest.controller.keyboard!.type(keyEvents("a"));
    expect(guest.bytes(50_000)).toEqual([]);
    expect(guest.keyboard(0xf4)[0]).toBe(0xfa);
    guest.command(0xad);
    guest.bytes(50_000);
    guest.controller.keyboard!.type(keyEvents("b"));
    expect(guest.bytes(50_000)).toEqual([]);
    guest.command(0xae);
    expect(guest.bytes(50_000)).toContain(0x32);
  });
  test("IRQ 1 rises for each byte", () => {
    const guest = new Guest();
    guest.command(0x60, TRANSLATE_AND_INTERRUPTS);
    guest.controller.keyboard!.type(keyEvents("abc"));
    const before = guest.irq1.rises;
    guest.bytes(200_000);
    expect(guest.irq1.rises - before).toBe(6);
    expect(guest.irq12.rises).toBe(0);
  });
});

describe("mouse", () => {
  test("reset, identification, and the wheel", () => {
    const guest = new Guest();
    expect(guest.mouse(0xff)).toEqual([0xfa, 0xaa, 0]);
    expect(guest.mouse(0xf2)).toEqual([0xfa, 0]);
    guest.mouse(0xf3, 200, 0xf3, 100, 0xf3, 80);
    expect(guest.mouse(0xf2)).toEqual([0xfa, 3]);
    expect(guest.mouse(0xe8, 1, 0xe9)).toEqual([0xfa, 0xfa, 0xfa, 0, 1, 80]);
  });
  test("packets, with IRQ 12", () => {
    const guest = new Guest();
    guest.command(0x60, TRANSLATE_AND_INTERRUPTS);
    guest.controller.mouse!.move(5, 5, 0, 0);
    expect(guest.bytes()).toEqual([]);
    guest.mouse(0xf6, 0xf4);
    const before = guest.irq12.rises;
    guest.controller.mouse!.move(-3, 300, 0, 1);
    expect(guest.receive()).toEqual([0x19, 0xfd, 0xff, 0x09, 0x00, 45].map((byte) => [byte, true]));
    expect(guest.irq12.rises - before).toBe(6);
    expect(guest.mouse(0xeb)).toEqual([0xfa, 0x09, 0, 0]);
  });
  test("wrap mode sends everything back", () => {
    const guest = new Guest();
    expect(guest.mouse(0xee, 0x42, 0xf4, 0xec)).toEqual([0xfa, 0x42, 0xf4, 0xfa]);
  });
});

test("words for keys", () => {
  expect(keyEvents("<ctrl-alt-delete>")).toHaveLength(6);
  expect(() => keyEvents("<hyper>")).toThrow('there is no key "hyper"');
  expect(() => keyEvents("a<ret")).toThrow('">" is missing');
  expect(() => keyEvents("ü")).toThrow("not on the US keyboard");
});

test("random commands and keys harm nothing", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom("command", "data", "read", "type", "move"), fc.nat(255)), {
        maxLength: 200,
      }),
      (actions) => {
        const guest = new Guest();
        for (const [kind, value] of actions) {
          if (kind === "command") guest.command(value);
          else if (kind === "data") guest.data(value);
          else if (kind === "read") guest.controller.dataPort.readPort(0, 1);
          else if (kind === "type") guest.controller.keyboard!.type(keyEvents("x<pause>"));
          else guest.controller.mouse!.move(value * 1000, -value, value, value);
          guest.context.advanceMicroseconds(value * 10);
        }
        guest.context.checkRedZones();
      },
    ),
    { numRuns: 200 },
  );
});
