/** The debugger's commands: a line in, lines out. Knows no terminal. */
import type { LedgerEntry } from "../hypervisor/ledger.ts";
import { VmcsField } from "../layout/vmx.ts";
import { disassemble } from "./disassemble.ts";
import { GENERAL_REGISTERS, SEGMENT_REGISTERS } from "./guest-view.ts";
import { hex, hexBytes } from "./number-format.ts";
import { queueLines } from "./queue-view.ts";
import type { Session, Stop } from "./session.ts";
import { formatField, readVmcs, vmcsChanges, VMCS_FIELDS, type VmcsValues } from "./vmcs-view.ts";

/** What a command cannot do: a sentence for the person at the prompt. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

const HELP = [
  "next [REASON]        to the next exit; with words, to the next whose reason or handler has them",
  "                     (next EPT_VIOLATION, next virtio notify)",
  "back [N]             N exits back (1)",
  "continue             until the guest ends, or Ctrl-C",
  "regs [VCPU]          registers",
  "vmcs [FIELD|all]     what changed in the VMCS since the last stop; one field, or fields with these letters; all",
  "mem [linear] A [N]   N bytes (64) of guest memory at a guest-physical, or a linear, address",
  "x [A] [N]            N instructions (8) from a linear address, or from the guest's RIP",
  "queue [DEVICE]       virtqueues: indices, flags, chains that wait",
  "exits                exits so far, by reason and phase",
  "where                this stop again",
  "help, quit           an empty line repeats next, back, x and mem",
  "",
  "A and N: 4096, 0x1000, 1000H, or a register (rip, rsp, rax, cr3 …), and sums of them (rsp+8).",
];

const MOST_BYTES = 65536;
const MOST_INSTRUCTIONS = 1000;

export class Commands {
  readonly #session: Session;
  readonly #interrupted: () => boolean;
  /** The VMCS of each virtual CPU as it was at the last stop at which somebody could look. */
  #vmcsBefore = new Map<number, VmcsValues>();
  #vmcsNow = new Map<number, VmcsValues>();

  /** @param interrupted asked now and then while the guest runs: true stops it */
  constructor(session: Session, interrupted: () => boolean = () => false) {
    this.#session = session;
    this.#interrupted = interrupted;
    this.#noteVmcs();
  }

  /** Runs to the first exit and says where that is. */
  async start(): Promise<string[]> {
    return this.#run(() => true);
  }

  /**
   * Carries out one command.
   * @returns its answer; undefined for `quit`
   * @throws CommandError when the command is not known or cannot be carried out
   */
  async execute(line: string): Promise<readonly string[] | undefined> {
    const [name = "", ...rest] = line.trim().split(/\s+/);
    switch (name) {
      case "n":
      case "next":
        return this.#run(matcher(rest.join(" ")));
      case "b":
      case "back":
        return this.#back(rest);
      case "c":
      case "continue":
        return this.#run(() => false);
      case "r":
      case "regs":
        return this.#registers(rest);
      case "vmcs":
        return this.#vmcs(rest);
      case "m":
      case "mem":
        return this.#memory(rest);
      case "x":
        return this.#disassembly(rest);
      case "q":
      case "queue":
        return queueLines(
          this.#session.machine.vm!,
          rest[0] === undefined ? undefined : this.#number(rest[0], 8),
        );
      case "exits":
        return this.#exits();
      case "where":
        return this.#session.stop === undefined
          ? ["before the first exit"]
          : stopLines(this.#session.stop, this.#frequency);
      case "h":
      case "?":
      case "help":
        return HELP;
      case "quit":
      case "exit":
        return undefined;
      case "":
        return [];
      default:
        throw new CommandError(`there is no command "${name}"; help lists them`);
    }
  }

  get #frequency(): number {
    return this.#session.machine.profile.frequencyHz;
  }

  // --- moving

  async #run(wanted: (entry: LedgerEntry) => boolean): Promise<string[]> {
    if (this.#session.ended !== undefined)
      throw new CommandError("the guest has ended; back goes on from before");
    const isFound = await this.#session.runTo(wanted, this.#interrupted);
    this.#noteVmcs();
    return this.#standing(isFound);
  }

  async #back(rest: readonly string[]): Promise<string[]> {
    const count = rest[0] === undefined ? 1 : this.#number(rest[0], 2 ** 40);
    if (count < 1) throw new CommandError("back N: N is at least 1");
    if (!(await this.#session.back(count)))
      throw new CommandError("this is the first exit: there is none before it");
    this.#noteVmcs();
    return this.#standing(true);
  }

  #standing(isFound: boolean): string[] {
    const { stop, ended, exits } = this.#session;
    const lines =
      stop !== undefined && (isFound || ended === undefined) ? stopLines(stop, this.#frequency) : [];
    if (ended !== undefined)
      lines.push(
        `the guest has ended: ${ended.end}${ended.end === "debug-exit" ? `, code ${ended.code}` : ""}, after ${exits} exits`,
      );
    else if (!isFound) lines.push(`interrupted, ${exits} exits made`);
    return lines;
  }

  #noteVmcs(): void {
    this.#vmcsBefore = this.#vmcsNow;
    this.#vmcsNow = new Map(this.#session.machine.vm!.vcpus.map((vcpu) => [vcpu.index, readVmcs(vcpu.vmcs)]));
  }

  // --- looking

  #registers(rest: readonly string[]): string[] {
    let view = this.#session.vcpu;
    if (rest[0] !== undefined) {
      const asked = this.#session.view(this.#number(rest[0], 8));
      if (asked === undefined) throw new CommandError(`there is no virtual CPU ${rest[0]}`);
      view = asked;
    }
    const registers = view.registers();
    const cell = (name: string, value: bigint): string => `${name.padStart(6)} ${hex(value, 16)}`;
    const rows = (cells: readonly string[], columns: number): string[] =>
      Array.from({ length: Math.ceil(cells.length / columns) }, (_, row) =>
        cells.slice(row * columns, (row + 1) * columns).join(" "),
      );
    const { rip, rflags, cr0, cr2, cr3, cr4, efer, gdtr, idtr } = registers;
    return [
      `vCPU ${view.vcpu.index}, ${view.mode(registers)}`,
      ...rows(
        registers.general.map((value, i) => cell(GENERAL_REGISTERS[i]!, value)),
        4,
      ),
      ...rows([cell("rip", rip), cell("rflags", rflags)], 4).map((row) => `${row}  ${flagNames(rflags)}`),
      ...rows(
        Object.entries({ cr0, cr2, cr3, cr4, efer }).map(([name, value]) => cell(name, value)),
        4,
      ),
      ...registers.segments.map(
        ({ selector, base, limit, rights }, i) =>
          `${SEGMENT_REGISTERS[i]!.padStart(6)} ${hex(selector, 4)} base ${hex(base, 16)} limit ${hex(limit, 8)} rights ${hex(rights, 5)}`,
      ),
      ...Object.entries({ gdtr, idtr }).map(
        ([name, { base, limit }]) => `${name.padStart(6)}       base ${hex(base, 16)} limit ${hex(limit, 8)}`,
      ),
    ];
  }

  #vmcs(rest: readonly string[]): string[] {
    const { index, vmcs } = this.#session.vcpu.vcpu;
    const values = readVmcs(vmcs);
    const line = (name: string): string => `${name} ${formatField(name, values.get(name)!)}`;
    if (rest[0] === "all") return VMCS_FIELDS.map(([name]) => line(name));
    if (rest[0] !== undefined) {
      const wanted = rest[0].toUpperCase();
      if (wanted in VmcsField) return [line(wanted)];
      const matching = VMCS_FIELDS.map(([name]) => name).filter((name) => name.includes(wanted));
      if (matching.length === 0)
        throw new CommandError(`no VMCS field has "${rest[0]}" in its name; vmcs all lists them`);
      return matching.map(line);
    }
    const changes = vmcsChanges(this.#vmcsBefore.get(index) ?? new Map<string, bigint>(), values);
    if (changes.length === 0) return [`vCPU ${index}: nothing has changed in the VMCS since the last stop`];
    return changes.map(
      ({ field, before, after }) => `${field} ${formatField(field, before)} → ${formatField(field, after)}`,
    );
  }

  #memory(rest: readonly string[]): string[] {
    const isLinear = rest[0] === "linear";
    const [addressText, lengthText] = isLinear ? rest.slice(1) : rest;
    if (addressText === undefined) throw new CommandError("mem [linear] ADDRESS [BYTES]");
    const address = this.#evaluate(addressText);
    const length = lengthText === undefined ? 64 : this.#number(lengthText, MOST_BYTES);
    const view = this.#session.vcpu;
    const bytes = isLinear
      ? view.readLinear(address, length)
      : address < 2n ** 52n
        ? view.readPhysical(Number(address), length)
        : new Uint8Array(0);
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += 16) {
      const row = bytes.subarray(at, at + 16);
      const text = Array.from(row, (byte) =>
        byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".",
      ).join("");
      lines.push(`${hex(address + BigInt(at), isLinear ? 16 : 9)}  ${hexBytes(row).padEnd(47)}  ${text}`);
    }
    if (bytes.length < length)
      lines.push(
        `${hex(address + BigInt(bytes.length), 9)} is ${isLinear ? "not mapped to RAM" : "not RAM"}`,
      );
    return lines;
  }

  #disassembly(rest: readonly string[]): string[] {
    const view = this.#session.vcpu;
    const { rip } = view.registers();
    const from = rest[0] === undefined ? rip : this.#evaluate(rest[0]);
    const count = rest[1] === undefined ? 8 : this.#number(rest[1], MOST_INSTRUCTIONS);
    // An address is linear; code is decoded from an offset in CS.
    const base = view.codeAddress(0n);
    const offset = rest[0] === undefined || /^rip\b/i.test(rest[0]) ? from : from - base;
    const found = disassemble(view, BigInt.asUintN(64, offset), count);
    const lines = found.map(
      ({ address, bytes, text }) =>
        `${address === view.codeAddress(rip) ? ">" : " "} ${hex(address, 16)}  ${hexBytes(bytes).padEnd(29)}  ${text}`,
    );
    return lines.length === 0 ? [`${hex(from, 16)} is not mapped to RAM`] : lines;
  }

  #exits(): string[] {
    const lines = [
      `${"reason".padEnd(22)}${"phase".padEnd(12)}${"exits".padStart(9)}${"direct cycles".padStart(16)}${"synchronous".padStart(16)}`,
    ];
    for (const { index, total, ledger } of this.#session.machine.stats().vcpus) {
      lines.push(`vCPU ${index}: ${total} exits`);
      for (const row of [...ledger].sort((a, b) => b.count - a.count))
        lines.push(
          `${row.reason.padEnd(22)}${row.phase.padEnd(12)}${String(row.count).padStart(9)}${String(row.directCycles).padStart(16)}${String(row.synchronousCycles).padStart(16)}`,
        );
    }
    return lines;
  }

  // --- numbers

  /** A number of a command's argument, 0 to `most`. */
  #number(text: string, most: number): number {
    const value = this.#evaluate(text);
    if (value > BigInt(most)) throw new CommandError(`${text}: at most ${most}`);
    return Number(value);
  }

  /** Numbers and registers, with + and - between them, modulo 2^64. */
  #evaluate(text: string): bigint {
    let sum = 0n;
    for (const [, sign, word] of `+${text}`.replace(/^\+([+-])/, "$1").matchAll(/([+-])([^+-]*)/g)) {
      const value = this.#value(word!, text);
      sum += sign === "-" ? -value : value;
    }
    return BigInt.asUintN(64, sum);
  }

  #value(word: string, text: string): bigint {
    if (/^0x[0-9a-f]+$/i.test(word) || /^[0-9]+$/.test(word)) return BigInt(word);
    if (/^[0-9][0-9a-f]*h$/i.test(word)) return BigInt(`0x${word.slice(0, -1)}`);
    const { general, rip, rflags, cr0, cr2, cr3, cr4, efer } = this.#session.vcpu.registers();
    const registers: Readonly<Record<string, bigint>> = {
      ...Object.fromEntries(general.map((value, i) => [GENERAL_REGISTERS[i]!, value])),
      ...{ rip, rflags, cr0, cr2, cr3, cr4, efer },
    };
    const name = word.toLowerCase();
    if (!Object.hasOwn(registers, name))
      throw new CommandError(`${text}: "${word}" is neither a number (4096, 0x1000, 1000H) nor a register`);
    return registers[name]!;
  }
}

/** An exit is wanted by its reason's name, or by a part of its handler's. No words: every exit. */
function matcher(words: string): (entry: LedgerEntry) => boolean {
  if (words === "") return () => true;
  const lower = words.toLowerCase();
  const reason = words.toUpperCase().replaceAll(/[\s-]+/g, "_");
  return (entry) => entry.reason === reason || entry.handler.toLowerCase().includes(lower);
}

function flagNames(rflags: bigint): string {
  const names: readonly (readonly [number, string])[] = [
    [0, "CF"],
    [2, "PF"],
    [4, "AF"],
    [6, "ZF"],
    [7, "SF"],
    [8, "TF"],
    [9, "IF"],
    [10, "DF"],
    [11, "OF"],
    [14, "NT"],
    [16, "RF"],
    [17, "VM"],
    [18, "AC"],
  ];
  const set = names.filter(([bit]) => ((rflags >> BigInt(bit)) & 1n) !== 0n).map(([, name]) => name);
  const iopl = Number((rflags >> 12n) & 3n);
  return [...set, ...(iopl === 0 ? [] : [`IOPL=${iopl}`])].join(" ");
}

/** A stop in words. */
export function stopLines(stop: Stop, frequencyHz: number): string[] {
  const { entry, instruction } = stop;
  const milliseconds = ((entry.time / frequencyHz) * 1000).toFixed(6);
  const code = instruction === undefined ? "its page is not mapped to RAM" : instruction.text;
  return [
    `exit ${stop.number}  ${entry.reason}  vCPU ${entry.vcpu} on CPU ${entry.pcpu}  ${milliseconds} ms (cycle ${entry.time}, instruction ${entry.instructions})`,
    ...stop.words.map((words) => `  ${words}`),
    ...stop.nested.map((nested) => `  inside its emulation: ${nested.reason}, handler ${nested.handler}`),
    `  ${stop.mode}, RIP ${hex(entry.rip, 8)}: ${code}`,
    `  handler ${entry.handler}, phase ${entry.phase}; ${entry.directCycles} cycles direct, ${entry.synchronousCycles} synchronous`,
  ];
}
