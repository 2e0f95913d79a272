/** `-device` and `-drive` as text, and the cards that come of them. */
import { describe, expect, test } from "vitest";
import { parseDrive } from "../../../cli/arguments.ts";
import { parseDevice } from "../../../cli/devices.ts";
import { planCards } from "../../../hypervisor/devices.ts";

describe("-drive", () => {
  test("a doubled comma is a comma of the file's name", () =>
    expect(parseDrive("file=a,,b.img,if=none,id=d")).toEqual({
      file: "a,b.img",
      interface: "none",
      id: "d",
      readOnly: false,
      snapshot: false,
    }));

  test.each([
    ["file=x,file=y", "file= is given twice"],
    ["file=x,if=virtio,queues=17", "queues=17 must be 1 to 16"],
    ["file=x,snapshot=yes", "snapshot=yes must be on or off"],
    ["x", '"x" is not of the form name=value'],
  ])("%s", (text, message) => expect(() => parseDrive(text)).toThrow(message));
});

describe("-device", () => {
  test("model, id, slot and the model's own properties", () =>
    expect(parseDevice("virtio-blk-pci,id=a,addr=0x1f,drive=d,num-queues=4")).toEqual({
      model: "virtio-blk-pci",
      id: "a",
      slot: 31,
      drive: "d",
      queues: 4,
    }));

  test.each([
    ["virtio-blk-pci", "drive= is missing"],
    ["virtio-blk-pci,drive=d,addr=20", "addr=20 must be a PCI slot in hexadecimal, 0 to 1f"],
    ["virtio-blk-pci,drive=d,addr=4.1", "addr=4.1 must be a PCI slot"],
    ["virtio-blk-pci,drive=d,colour=red", "colour= is not known"],
    ["", "driver= is missing"],
  ])("%s", (text, message) => expect(() => parseDevice(text)).toThrow(message));
});

describe("cards", () => {
  const drive = (id: string) => ({ file: "x", interface: "none", id }) as const;
  const virtio = { file: "x", interface: "virtio" } as const;

  test("drives with if=virtio come first; slots that devices name are kept for them", () =>
    expect(
      planCards(
        [drive("a"), virtio, drive("b")],
        [
          { model: "virtio-blk-pci", drive: "b", queues: 2 },
          { model: "virtio-blk-pci", drive: "a", slot: 3 },
        ],
      ),
    ).toEqual([
      { kind: "virtio-blk", drive: 1, queues: 1, slot: 4 },
      { kind: "virtio-blk", drive: 2, queues: 2, slot: 5 },
      { kind: "virtio-blk", drive: 0, queues: 1, slot: 3 },
    ]));

  test("a drive serves one device, and a slot holds one card", () => {
    const blk = { model: "virtio-blk-pci", drive: "a" } as const;
    expect(() => planCards([drive("a")], [blk, blk])).toThrow("no unused drive has that id");
    expect(() => planCards([drive("a"), drive("a")], [])).toThrow("two drives of that name");
    expect(() => planCards([drive("a")], [{ ...blk, slot: 1 }])).toThrow("slot 1 must be 3 to 31");
    const both = [
      { ...blk, slot: 9 },
      { ...blk, drive: "b", slot: 9 },
    ];
    expect(() => planCards([drive("a"), drive("b")], both)).toThrow("slot 9 is taken");
    expect(() => planCards(new Array(30).fill(virtio) as (typeof virtio)[], [])).toThrow(
      "all PCI slots are taken",
    );
  });
});

describe("network cards", () => {
  const netdevs = [
    { kind: "peer", id: "a" },
    { kind: "loop", id: "b" },
  ] as const;

  test("a netdev by its id, an address that counts up or is given", () =>
    expect(
      planCards(
        [],
        [
          { model: "virtio-net-pci", netdev: "b", queuePairs: 2 },
          { model: "e1000", netdev: "a", mac: "02:00:00:00:00:09" },
        ],
        netdevs,
      ),
    ).toEqual([
      {
        kind: "virtio-net",
        netdev: 1,
        mac: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56),
        queuePairs: 2,
        slot: 3,
      },
      { kind: "e1000", netdev: 0, mac: Uint8Array.of(2, 0, 0, 0, 0, 9), slot: 4 },
    ]));

  test.each([
    [[{ model: "e1000", netdev: "x" }], "no netdev has that id"],
    [
      [
        { model: "e1000", netdev: "a" },
        { model: "e1000", netdev: "a" },
      ],
      "another device has that netdev",
    ],
    [[{ model: "e1000", netdev: "a", mac: "01:00:00:00:00:09" }], "must be one station's"],
  ] as const)("%j", (devices, message) => expect(() => planCards([], devices, netdevs)).toThrow(message));
});
