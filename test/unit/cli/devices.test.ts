/** `-device` and `-drive` as text, and the cards that come of them. */
import { describe, expect, test } from "vitest";
import { parseDrive } from "../../../cli/arguments.ts";
import { parseCharacter, parseDevice } from "../../../cli/devices.ts";
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

test("-chardev", () => {
  expect(parseCharacter("file,id=f,path=a,,b")).toEqual({ kind: "file", id: "f", path: "a,b" });
  expect(() => parseCharacter("file,id=f")).toThrow("path= is missing");
  expect(() => parseCharacter("tcp,id=f")).toThrow("backend=tcp must be null, stdio or file");
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

  test("units, ports and drives on a card's bus", () => {
    expect(
      planCards(
        [drive("a"), drive("b"), drive("c")],
        [
          { model: "virtio-scsi-pci", id: "s", queues: 2 },
          { model: "scsi-hd", drive: "a", bus: "s.0", target: 2, lun: 1 },
          { model: "scsi-hd", drive: "b" },
          { model: "ahci", id: "h" },
          { model: "ide-hd", drive: "c", bus: "h.4" },
          { model: "virtio-serial-pci" },
          { model: "virtconsole", chardev: "t" },
          { model: "virtserialport", name: "n" },
        ],
        { characters: [{ kind: "stdio", id: "t" }] },
      ),
    ).toEqual([
      {
        kind: "virtio-scsi",
        queues: 2,
        slot: 3,
        units: [
          { target: 2, lun: 1, drive: 0 },
          { target: 0, lun: 0, drive: 1 },
        ],
      },
      { kind: "ahci", slot: 4, drives: [undefined, undefined, undefined, undefined, 2, undefined] },
      {
        kind: "virtio-console",
        slot: 5,
        multiport: true,
        ports: [
          { isConsole: true, character: 0 },
          { isConsole: false, name: "n" },
        ],
      },
    ]);
  });

  test.each<[string, Parameters<typeof planCards>[1]]>([
    ["there is no virtio-scsi with room", [{ model: "scsi-hd", drive: "a" }]],
    ["bus=x.0 must be ID.N of a ahci", [{ model: "ide-hd", drive: "a", bus: "x.0" }]],
    [
      "the ports are 0 to 5",
      [
        { model: "ahci", id: "h" },
        { model: "ide-hd", drive: "a", bus: "h.6" },
      ],
    ],
    ["it has no port", [{ model: "virtio-serial-pci" }]],
    [
      "no unused -chardev has that id",
      [{ model: "virtio-serial-pci" }, { model: "virtconsole", chardev: "t" }],
    ],
    ["a console alone", [{ model: "virtio-serial-pci", maxPorts: 1 }, { model: "virtserialport" }]],
    [
      "another device has that id",
      [
        { model: "virtio-rng-pci", id: "x" },
        { model: "ahci", id: "x" },
      ],
    ],
  ])("%s", (message, devices) => expect(() => planCards([drive("a")], devices)).toThrow(message));
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
        { netdevs },
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
  ] as const)("%j", (devices, message) => expect(() => planCards([], devices, { netdevs })).toThrow(message));
});
