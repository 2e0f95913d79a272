import { beforeAll, describe, expect, test } from "vitest";
import { Attention, Core, MachineMemory, Stop, configureCpu } from "../../../emulator/host/core.ts";
import type { CoreHost } from "../../../emulator/host/core.ts";
import { CPU_MODELS, cpuModel } from "../../../emulator/host/cpu-models.ts";
import type { CpuModelName } from "../../../emulator/host/cpu-models.ts";
import { answerCpuid } from "../../../emulator/host/cpuid-answer.ts";
import { buildFirmware } from "../../../emulator/machine/firmware/firmware.ts";
import type { BootImage, BootProtocol } from "../../../emulator/machine/loaders/boot-image.ts";
import type { BootSegment } from "../../../emulator/machine/loaders/boot-memory.ts";
import { loadBootImage } from "../../../emulator/machine/loaders/detect.ts";
import { RAX, RCX, RSI, applyEntryState } from "../../../emulator/machine/loaders/entry-state.ts";
import { readImage } from "../../../emulator/machine/read-image.ts";
import { planMemory } from "../../../layout/memory-map.ts";
import { BUILD_TIMEOUT, buildCore } from "../../support/build-core.ts";
import { MIB, bootRequest, buildElf, imageFile, multibootHeader } from "../../support/boot-images.ts";

const TSC = 2_670_000_000;
const COM1_DATA = 0x3f8;
const COM1_LSR = 0x3fd;
/** What reads give: the serial port is ready, the I/O APIC (its version register) has 24 inputs. */
const READS = new Map([
  [COM1_LSR, 0x60],
  [0xfec00010, 0x170020],
]);
const SMI_CMD = 0xb2;
const PM1_CNT = 0x604;
const MAX_ACCESSES = 20_000;

let module: WebAssembly.Module;
beforeAll(async () => void (module = await buildCore("emulator/core/index.ts")), BUILD_TIMEOUT);

/** A CPU with RAM, a serial port that is always ready, and registers that remember writes; stops at HLT or `until`. */
class Bench {
  readonly core: Core;
  readonly memory: MachineMemory;
  output = "";
  /** Last value written to each port. */
  readonly written = new Map<number, number>();
  #accesses = 0;

  constructor(model: CpuModelName, until: (port: number) => boolean = () => false) {
    const recordBytes = 4 * MIB;
    const plan = planMemory({ cpus: 1, ramBytes: 64 * MIB, stateBytes: 0x10000, recordBytes });
    this.memory = MachineMemory.create(plan, false);
    const access = (): boolean => {
      const cpu = this.core.state;
      const address = cpu.ioAddress;
      const value = Number(cpu.ioValue);
      if (!cpu.ioWrite) cpu.ioValue = BigInt(this.#read(address));
      else if (address === COM1_DATA) this.output += String.fromCharCode(value & 0xff);
      else this.written.set(address, value);
      if ((cpu.ioWrite && until(address)) || ++this.#accesses >= MAX_ACCESSES)
        cpu.attention |= Attention.STOP;
      return false;
    };
    const host: CoreHost = {
      portAccess: access,
      memoryAccess: access,
      wallClock: () => 0,
      sendInterrupt: () => undefined,
      endOfInterrupt: () => undefined,
      floatError: () => undefined,
      monitoredLineWritten: () => undefined,
      acknowledgeInterrupt: () => 0xff,
    };
    this.core = new Core(module, this.memory, 0, host);
    configureCpu(this.memory, 0, {
      clock: "virtual",
      cyclesPerInstruction: 1,
      tscFrequency: TSC,
      recordBytes,
      ...cpuModel({ model, cpus: 1, tscFrequency: TSC }),
    });
    this.core.exports.resetForPowerOn();
  }

  #read(address: number): number {
    // ACPI mode is on once the FADT's ACPI_ENABLE has been written to SMI_CMD.
    if (address === PM1_CNT) return this.written.get(SMI_CMD) === 0xf1 ? 1 : 0;
    return READS.get(address) ?? 0;
  }

  load(segments: readonly BootSegment[]): void {
    for (const { physical, bytes, size } of segments) {
      const at = this.memory.ramOffset(physical, size);
      expect(at).not.toBe(0);
      this.memory.state.bytes.fill(0, at, at + size);
      this.memory.state.bytes.set(bytes, at);
    }
  }

  start(image: BootImage): number {
    this.load(image.segments);
    applyEntryState(this.core.state, image.entry);
    this.core.exports.updateMode();
    this.core.exports.updateContext();
    return this.core.exports.run();
  }
}

describe.each<[BootProtocol, string]>([
  ["multiboot", "kernel.elf"],
  ["pvh", "kernel.elf"],
  ["linux", "kernel.bzimage"],
])("%s", (protocol, name) => {
  test("our guest kernel finds command line, memory map and ACPI tables, and powers off by them", () => {
    const file = new URL(`../../../guest-images/images/${name}`, import.meta.url).pathname;
    const commandLine = "tsc=2670000000 apic=xapic script=hello;memmap";
    const request = bootRequest(readImage(file, "kernel"), { commandLine });
    const firmware = buildFirmware({ ram: request.ram, cpus: 1, signature: 0x506e3, featureFlags: 0 });
    expect(firmware.rsdp).toBe(request.rsdp);
    const bench = new Bench("max", (port) => port === PM1_CNT);
    bench.load(firmware.segments);
    expect(bench.start(loadBootImage(request, protocol))).toBe(Stop.REQUESTED);
    const lines = bench.output.replace("\u0001", "").split("\r\n");
    const heard = protocol === "multiboot" ? `kernel.elf ${commandLine}` : commandLine;
    expect(lines[0]).toBe(`exitless guest kernel, booted by ${protocol}`);
    expect(lines[1]).toBe(`HELLO protocol=${protocol} command_line=${heard}`);
    const address = (value: number): string => value.toString(16).padStart(16, "0");
    expect(lines.slice(2, 2 + request.memoryMap.length)).toEqual(
      request.memoryMap.map(
        ({ base, length, type }) =>
          `MEMORY ${address(base)}-${address(base + length - 1)} ${type === 1 ? "ram" : "reserved"}`,
      ),
    );
    // SLP_EN with the sleep type of \_S5.
    expect(bench.written.get(PM1_CNT)).toBe(0x2000);
  });
});

/** A multiboot image at 1 MiB whose code is CPUID; HLT. */
function cpuidImage(): BootImage {
  const contents = new Uint8Array(0x20);
  contents.set(multibootHeader(0));
  contents.set([0x0f, 0xa2, 0xf4], 0x10);
  return loadBootImage(bootRequest(imageFile(buildElf(32, 0x100010, [{ physical: 0x100000, contents }]))));
}

test.each(CPU_MODELS)("%s: the core's CPUID and answerCpuid agree on every leaf and beyond", (model) => {
  const { cpuid } = cpuModel({ model, cpus: 1, tscFrequency: TSC });
  const bench = new Bench(model);
  const image = cpuidImage();
  const leaves = [
    ...Array(0x20).keys(),
    0x3fffffff,
    0x40000000,
    0x50000000,
    ...[...Array(0xa).keys()].map((n) => 0x80000000 + n),
    0xffffffff,
  ];
  for (const leaf of leaves)
    for (const subleaf of [0, 1, 2, 3, 4, 0x101]) {
      const { general } = image.entry;
      const registers = general.map((value, i) => (i === RAX ? leaf : i === RCX ? subleaf : value));
      bench.core.state.activity = 1;
      expect(bench.start({ ...image, entry: { ...image.entry, general: registers } })).toBe(Stop.HALTED);
      const [eax, ecx, edx, ebx] = [...bench.core.state.gpr].map(Number);
      const answer = answerCpuid(cpuid, leaf, subleaf, {
        apicId: 0,
        apicEnabled: true,
        osxsave: false,
        xcr0: 1,
      });
      expect({ leaf, subleaf, eax, ebx, ecx, edx }).toEqual({ leaf, subleaf, ...answer });
    }
});

test("a 64-bit entry runs 64-bit code with RSI as given", () => {
  const file = new URL("../../../guest-images/images/kernel.bzimage", import.meta.url).pathname;
  const image = loadBootImage(bootRequest(readImage(file, "kernel")));
  const bench = new Bench("skylake");
  bench.load(image.segments);
  // MOV RAX, RSI; SHL RAX, 32; HLT
  bench.load([
    {
      physical: image.entry.rip,
      bytes: Uint8Array.of(0x48, 0x89, 0xf0, 0x48, 0xc1, 0xe0, 0x20, 0xf4),
      size: 8,
    },
  ]);
  expect(bench.start({ ...image, segments: [] })).toBe(Stop.HALTED);
  expect(bench.core.state.gpr[RAX]).toBe(BigInt(image.entry.general[RSI]!) << 32n);
});
