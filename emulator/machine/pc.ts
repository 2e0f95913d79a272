/**
 * A PC's chipset and cards, wired: the same board serves as the physical machine and, inside the hypervisor, as a VM's
 * emulated one. What differs is handed in: memory, the way to the local APICs, and who acts on power and reset.
 */
import { AcpiPm } from "../../devices/acpi/pm.ts";
import { ResetControl } from "../../devices/acpi/reset-control.ts";
import { MmioBus } from "../../devices/bus/mmio-bus.ts";
import { PortBus, type FixedPortRange } from "../../devices/bus/port-bus.ts";
import { DEBUG_CONSOLE_PORT, DebugConsole } from "../../devices/debug/debug-console.ts";
import { DEBUG_EXIT_PORT, DEBUG_EXIT_PORTS, DebugExit } from "../../devices/debug/debug-exit.ts";
import {
  TEST_IRQ_PORT,
  TEST_IRQ_PORTS,
  TEST_LATCH_PORT,
  TEST_LATCH_PORTS,
  TEST_MEMORY_BASE,
  TEST_MEMORY_BYTES,
  TestDevice,
} from "../../devices/debug/test-device.ts";
import { FwCfg } from "../../devices/firmware/fw-cfg.ts";
import {
  FW_CFG_DMA_PORT,
  FW_CFG_DMA_PORTS,
  FW_CFG_PORT,
  FW_CFG_PORTS,
} from "../../devices/firmware/fw-cfg-spec.ts";
import { IdeController } from "../../devices/ide/controller.ts";
import { I8042 } from "../../devices/input/i8042.ts";
import { FLOAT_ERROR_PORT, FloatErrorLatch } from "../../devices/interrupt/float-error.ts";
import { I8259Pair } from "../../devices/interrupt/i8259.ts";
import { IOAPIC_WINDOW } from "../../devices/interrupt/ioapic-spec.ts";
import { IoApic } from "../../devices/interrupt/ioapic.ts";
import { WiredOr } from "../../devices/interrupt/wired-or.ts";
import { HostBridge, IsaBridge, PmFunction } from "../../devices/pci/chipset.ts";
import { setUpPci } from "../../devices/pci/firmware-setup.ts";
import { PciBus } from "../../devices/pci/pci-bus.ts";
import type {
  ApicBus,
  DeviceContext,
  DiskTiming,
  DmaMemory,
  InterruptLine,
  MessageSink,
  Resettable,
  SerialSink,
  Storage,
  SystemControl,
} from "../../devices/ports.ts";
import { Uart16550 } from "../../devices/serial/uart16550.ts";
import { HPET_BYTES } from "../../devices/timer/hpet-spec.ts";
import { Hpet } from "../../devices/timer/hpet.ts";
import { I8254 } from "../../devices/timer/i8254.ts";
import { Mc146818 } from "../../devices/timer/mc146818.ts";
import { Vga } from "../../devices/vga/vga.ts";
import type { VirtioBalloon } from "../../devices/virtio/balloon/device.ts";
import type { ServedVirtio } from "../../devices/virtio/served.ts";
import { buildCards, type CardBackEnds, type CardOptions, type ConsoleInput } from "./cards.ts";
import type { Firmware } from "./firmware/bios.ts";
import * as at from "./layout.ts";
import { NO_NETWORK, Network, type NetworkParts } from "./network.ts";

/** By which firmware knows a board with a firmware configuration device: Red Hat's IDs, as QEMU's i440FX board has them. */
const BOARD_SUBSYSTEM = { vendorId: 0x1af4, id: 0x1100 } as const;

export interface PcDisk {
  /** On the IDE controller; the others are a card's. */
  readonly isIde: boolean;
  readonly storage: Storage;
  readonly timing: DiskTiming;
  /** IDE. Default "disk". */
  readonly media?: "disk" | "cdrom";
  /** IDE: 0 and 1 on the primary channel, 2 and 3 on the secondary one. */
  readonly index?: number;
}

/** What is attached to a PC, with its back ends on this thread. */
export interface PcParts extends Omit<CardBackEnds, "links"> {
  readonly timers: PcTimers;
  readonly disks: readonly PcDisk[];
  readonly cards: readonly CardOptions[];
  readonly network: NetworkParts;
  /** A VGA, with its option ROM where there is one. */
  readonly vga?: { readonly rom?: Uint8Array };
  /** Behind the 8042, which is there in any case. */
  readonly keyboardAndMouse?: boolean;
}

/** Which of the timers that a PC may be without it has. */
export interface PcTimers {
  readonly hpet: boolean;
  readonly pit: boolean;
}

export const NO_PARTS: PcParts = {
  timers: { hpet: false, pit: true },
  disks: [],
  cards: [],
  characters: [],
  entropy: "seeded",
  network: NO_NETWORK,
};

export interface PcOptions {
  /** Prefix of the devices' labels: "board", "vm0". */
  readonly label: string;
  readonly context: DeviceContext;
  /** For disks and networks, when their completions and arrivals are served elsewhere than the other timers. */
  readonly diskContext?: DeviceContext;
  readonly memory: DmaMemory;
  readonly apicBus: ApicBus;
  readonly messages: MessageSink;
  readonly system: SystemControl;
  /** The 8259 pair's output. */
  readonly intr: InterruptLine;
  /** Asserts the first processor's IGNNE#. */
  readonly ignoreFloatErrors: () => void;
  readonly serial: SerialSink;
  readonly parts: PcParts;
  readonly memoryBelow4G: number;
  readonly memoryAbove4G: number;
  readonly processors: number;
  /** Without it the board is as firmware leaves it (`setUpPci`). */
  readonly firmware?: Firmware & { readonly memoryMapChanged: () => void };
}

/** Drives by their places on the channels: what has none takes the first that is free. */
function ideDrives(disks: readonly PcDisk[]): (PcDisk | undefined)[] {
  const ide = disks.filter((disk) => disk.isIde);
  const places: (PcDisk | undefined)[] = [undefined, undefined, undefined, undefined];
  for (const disk of ide) if (disk.index !== undefined) places[disk.index] = disk;
  for (const disk of ide) if (disk.index === undefined) places[places.indexOf(undefined)] = disk;
  return places;
}

export class Pc {
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly pic: I8259Pair;
  readonly pit: I8254 | undefined;
  readonly ioapic: IoApic;
  readonly uart: Uart16550;
  readonly pci: PciBus;
  readonly ide: IdeController;
  readonly network: Network;
  /** The cards whose queues a request path can serve. */
  readonly served: readonly ServedVirtio[];
  readonly balloons: readonly VirtioBalloon[];
  /** Where what comes from a character device goes. */
  readonly inputs: readonly ConsoleInput[];
  readonly pm: AcpiPm;
  readonly floatError: FloatErrorLatch;
  readonly hostBridge: HostBridge;
  readonly vga: Vga | undefined;
  readonly keyboard: I8042;
  readonly #devices: readonly Resettable[];

  constructor(options: PcOptions) {
    const { context, label, system } = options;
    const name = (device: string): string => `${label} ${device}`;
    this.pic = new I8259Pair(context, { label: name("PIC"), intr: options.intr });
    this.ioapic = new IoApic(context, { label: name("IOAPIC"), bus: options.apicBus, version: 0x20 });
    const pins = this.#isaPins(context, label);
    const irq = (n: number): InterruptLine => pins[n]!.source();

    const { timers } = options.parts;
    const hpet = timers.hpet
      ? new Hpet(context, {
          label: name("HPET"),
          irq0: irq(at.PIT_IRQ),
          irq8: irq(at.RTC_IRQ),
          route: (input) => this.ioapic.line(input),
          messages: options.messages,
        })
      : undefined;
    this.pit = timers.pit
      ? new I8254(context, { label: name("PIT"), irq: hpet?.pit ?? irq(at.PIT_IRQ) })
      : undefined;
    const rtc = new Mc146818(context, {
      label: name("RTC"),
      irq: hpet?.rtc ?? irq(at.RTC_IRQ),
      cmos: {
        memoryBelow4G: options.memoryBelow4G,
        memoryAbove4G: options.memoryAbove4G,
        processors: options.processors,
        ...(options.firmware && { bootOrder: options.firmware.bootOrder }),
      },
    });
    this.uart = new Uart16550(context, { label: name("COM1"), irq: irq(at.COM1_IRQ), sink: options.serial });
    this.keyboard = new I8042(context, {
      label: name("8042"),
      irq: irq(at.KEYBOARD_IRQ),
      system,
      ...(options.parts.keyboardAndMouse === true && { auxiliaryIrq: irq(at.MOUSE_IRQ) }),
    });
    this.floatError = new FloatErrorLatch(context, {
      label: name("float error"),
      irq: irq(at.FLOAT_ERROR_IRQ),
      ignore: options.ignoreFloatErrors,
    });
    this.pm = new AcpiPm(context, { label: name("ACPI PM"), sci: irq(at.SCI_IRQ), system });
    const resetControl = new ResetControl(context, { label: name("reset control"), system });

    const testDevice = new TestDevice(context, {
      label: name("test device"),
      lines: Array.from({ length: TEST_IRQ_PORTS }, (_, n) =>
        n === 2 ? undefined : n < 16 ? irq(n) : this.ioapic.line(n),
      ),
    });
    this.pci = new PciBus(context, { label: name("PCI"), ports: this.ports, memory: this.mmio });
    const { firmware } = options;
    this.hostBridge = new HostBridge(context, {
      label: name("host bridge"),
      ...(firmware && { subsystem: BOARD_SUBSYSTEM, memoryMapChanged: firmware.memoryMapChanged }),
    });
    const isaBridge = new IsaBridge(context, {
      label: name("ISA bridge"),
      irq,
      pirq: [this.ioapic.line(16), this.ioapic.line(17), this.ioapic.line(18), this.ioapic.line(19)],
    });
    const diskContext = options.diskContext ?? context;
    this.ide = new IdeController(diskContext, {
      label: name("IDE"),
      memory: options.memory,
      ports: this.ports,
      irqs: [irq(at.IDE_IRQS[0]), irq(at.IDE_IRQS[1])],
      drives: ideDrives(options.parts.disks),
    });
    const pmFunction = new PmFunction(context, {
      label: name("PM function"),
      pm: this.pm,
      ports: this.ports,
    });
    this.pci.add(at.SLOT_HOST_BRIDGE, 0, this.hostBridge.pci);
    this.pci.add(at.SLOT_PIIX, 0, isaBridge.pci);
    this.pci.add(at.SLOT_PIIX, 1, this.ide.pci);
    this.pci.add(at.SLOT_PIIX, 3, pmFunction.pci);
    if (options.parts.vga) {
      this.vga = new Vga(context, {
        label: name("VGA"),
        ports: this.ports,
        memory: this.mmio,
        ...options.parts.vga,
      });
      this.pci.add(at.SLOT_VGA, 0, this.vga.pci);
    }
    this.network = new Network(context, diskContext, label, options.parts.network);
    const backEnds = { ...options.parts, links: this.network.links };
    const cards = buildCards(options.parts.cards, backEnds, {
      context,
      diskContext,
      memory: options.memory,
      messages: options.messages,
      intx: (slot, pin) => isaBridge.intx(slot, pin),
      name,
    });
    for (const { slot, pci } of cards) this.pci.add(slot, 0, pci);
    this.balloons = cards.flatMap(({ balloon }) => balloon ?? []);
    this.inputs = cards.flatMap(({ inputs }) => inputs ?? []);
    this.served = cards.flatMap(({ served }) => served ?? []);

    const fixed = (
      label: string,
      base: number,
      size: number,
      device: Parameters<PortBus["addFixed"]>[0]["device"],
      more: Partial<FixedPortRange> = {},
    ): void => this.ports.addFixed({ label: name(label), base, size, device, ...more });
    const interrupts = { role: "interrupt controller" } as const;
    const timer = { role: "interval timer" } as const;
    fixed("PIC 1", 0x20, 2, this.pic.masterPorts, { maxAccess: 1, ...interrupts });
    fixed("PIC 2", 0xa0, 2, this.pic.slavePorts, { maxAccess: 1, ...interrupts });
    fixed("ELCR", 0x4d0, 2, this.pic.elcrPorts, { maxAccess: 1, ...interrupts });
    if (this.pit) {
      fixed("PIT", 0x40, 4, this.pit, { maxAccess: 1, ...timer });
      fixed("port 61H", 0x61, 1, this.pit.port61, { maxAccess: 1, ...timer });
    }
    fixed("8042 data", 0x60, 1, this.keyboard.dataPort, { maxAccess: 1 });
    fixed("8042 command", 0x64, 1, this.keyboard.commandPort, { maxAccess: 1 });
    fixed("RTC", 0x70, 2, rtc, { maxAccess: 1 });
    fixed("port 92H", 0x92, 1, resetControl.systemControlPortA, { maxAccess: 1 });
    fixed("APM control", 0xb2, 2, this.pm.smiPorts, { maxAccess: 1 });
    fixed("float error", FLOAT_ERROR_PORT, 1, this.floatError, { maxAccess: 1, ...interrupts });
    fixed("debug exit", DEBUG_EXIT_PORT, DEBUG_EXIT_PORTS, new DebugExit(system));
    fixed("test latch", TEST_LATCH_PORT, TEST_LATCH_PORTS, testDevice.latch);
    fixed("test interrupts", TEST_IRQ_PORT, TEST_IRQ_PORTS, testDevice.interrupts);
    fixed("COM1", at.COM1_PORT, 8, this.uart, { maxAccess: 1 });
    fixed("PCI address", 0xcf8, 4, this.pci.addressPort, { exactly: 4 });
    fixed("reset control", 0xcf9, 1, resetControl.resetControlPort, { maxAccess: 1 });
    fixed("PCI data", 0xcfc, 4, this.pci.dataPorts);
    this.mmio.addFixed({
      label: name("IOAPIC"),
      base: at.IOAPIC_BASE,
      size: IOAPIC_WINDOW,
      device: this.ioapic,
      ...interrupts,
    });
    if (hpet)
      this.mmio.addFixed({
        label: name("HPET"),
        base: at.HPET_BASE,
        size: HPET_BYTES,
        device: hpet,
      });
    this.mmio.addFixed({
      label: name("test memory"),
      base: TEST_MEMORY_BASE,
      size: TEST_MEMORY_BYTES,
      device: testDevice.memory,
    });
    this.mmio.addFixed({
      label: name("ECAM"),
      base: at.ECAM_BASE,
      size: at.ECAM_SIZE,
      device: this.pci.ecam,
    });

    const fwCfg =
      firmware &&
      new FwCfg(context, { label: name("fw_cfg"), memory: options.memory, items: firmware.items });
    if (fwCfg) {
      fixed("fw_cfg", FW_CFG_PORT, FW_CFG_PORTS, fwCfg.ports);
      fixed("fw_cfg DMA", FW_CFG_DMA_PORT, FW_CFG_DMA_PORTS, fwCfg.dmaPorts);
    }
    if (firmware?.log)
      fixed("firmware log", DEBUG_CONSOLE_PORT, 1, new DebugConsole(firmware.log), { maxAccess: 1 });

    this.#devices = [
      this.pic,
      this.ioapic,
      ...pins,
      ...(hpet ? [hpet] : []),
      ...(this.pit ? [this.pit] : []),
      rtc,
      this.uart,
      this.keyboard,
      this.floatError,
      this.pm,
      resetControl,
      testDevice,
      this.pci,
      this.hostBridge,
      isaBridge,
      this.ide,
      pmFunction,
      // Before the cards, whose reset clears their links.
      this.network,
      ...cards.flatMap(({ devices }) => devices),
      ...(this.vga ? [this.vga] : []),
      ...(fwCfg ? [fwCfg] : []),
    ];
  }

  /** One wired-OR per ISA interrupt, to the PIC and to the I/O APIC pin (the PIT's to pin 2). */
  #isaPins(context: DeviceContext, label: string): WiredOr[] {
    return Array.from({ length: 16 }, (_, n) => {
      const toPic = n === 2 ? undefined : this.pic.line(n);
      const pin = n === at.PIT_IRQ ? at.PIT_GSI : n;
      const toIoApic = n === 2 ? undefined : this.ioapic.line(pin);
      return new WiredOr(context, `${label} IRQ ${n}`, {
        set: (level) => {
          toPic?.set(level);
          toIoApic?.set(level);
        },
      });
    });
  }

  /** Power-on or system reset of every device. */
  reset(): void {
    for (const device of this.#devices) device.reset();
  }

  /** What firmware would do to PCI; for boots without firmware. */
  setUpPci(): void {
    setUpPci(this.pci, this.ports, {
      ioBase: at.PCI_IO_BASE,
      memoryBase: at.PCI_MEMORY_BASE,
      pmBase: at.PM_BASE,
    });
  }
}
