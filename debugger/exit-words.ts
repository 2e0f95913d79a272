/**
 * One VM exit in words: what the exit qualification and the exit-information fields say (SDM Vol. 3C, "Basic VM-Exit
 * Information", "Exit Qualification"). To be asked while the VMCS still holds this exit: before the next entry.
 */
import type { LedgerEntry } from "../hypervisor/ledger.ts";
import type { Vcpu } from "../hypervisor/vcpu.ts";
import { KICK_VECTOR } from "../hypervisor/vcpu-state.ts";
import { VmcsField as F } from "../layout/vmx.ts";
import { GENERAL_REGISTERS } from "./guest-view.ts";
import { msrName } from "./msr-names.ts";
import { hex } from "./number-format.ts";

const INFO_VALID = 0x80000000;
const INFO_HAS_ERROR = 1 << 11;
const RFLAGS_IF = 0x200;

const EXCEPTIONS = [
  "#DE",
  "#DB",
  "NMI",
  "#BP",
  "#OF",
  "#BR",
  "#UD",
  "#NM",
  "#DF",
  "coprocessor segment overrun",
  "#TS",
  "#NP",
  "#SS",
  "#GP",
  "#PF",
  "reserved",
  "#MF",
  "#AC",
  "#MC",
  "#XM",
  "#VE",
  "#CP",
] as const;

const EVENT_TYPES = [
  "external interrupt",
  "reserved type",
  "NMI",
  "hardware exception",
  "software interrupt",
  "privileged software exception",
  "software exception",
  "other event",
] as const;

/** The words for an exit; empty where the reason says everything. */
export function exitWords(entry: LedgerEntry, vcpu: Vcpu): string[] {
  const words = reasonWords(entry, vcpu);
  const vectoring = vcpu.vmcs.read32(F.IDT_VECTORING_INFO);
  if ((vectoring & INFO_VALID) !== 0) words.push(`while delivering ${eventWords(vectoring)}`);
  return words;
}

function reasonWords(entry: LedgerEntry, vcpu: Vcpu): string[] {
  const { vmcs, core } = vcpu;
  const low = (register: number): string => hex(core.gprLow(register), 8);
  switch (entry.reason) {
    case "IO_INSTRUCTION":
      return [ioWords(entry, vcpu)];
    case "EPT_VIOLATION":
      return eptWords(entry, vcpu);
    case "CR_ACCESS":
      return [controlRegisterWords(lowHalf(entry.qualification), vcpu)];
    case "MSR_READ":
    case "MSR_WRITE": {
      const index = core.gprLow(1);
      const name = msrName(index);
      const value = hex((BigInt(core.gprLow(2)) << 32n) | BigInt(core.gprLow(0)), 16);
      const verb = entry.reason === "MSR_READ" ? "RDMSR" : "WRMSR";
      // The handler has run: after a read that raised no fault EDX:EAX hold the answer.
      const fault = injectedException(vcpu);
      if (fault !== undefined) return [`${verb} of ${hex(index)} (${name}): answered with ${fault}`];
      return [`${verb} of ${hex(index)} (${name}), value ${value}`];
    }
    case "CPUID":
      return [`answer EAX ${low(0)} EBX ${low(3)} ECX ${low(1)} EDX ${low(2)}`];
    case "EXTERNAL_INTERRUPT": {
      const info = vmcs.read32(F.EXIT_INTERRUPTION_INFO);
      const vector = info & 0xff;
      const meaning =
        vector === KICK_VECTOR ? "the host's own: look at your virtual CPU" : "for the guest, to be injected";
      return [`physical interrupt, vector ${hex(vector, 2)} (${meaning})`];
    }
    case "EXCEPTION_NMI": {
      const info = vmcs.read32(F.EXIT_INTERRUPTION_INFO);
      const error =
        (info & INFO_HAS_ERROR) !== 0
          ? [`error code ${hex(vmcs.read32(F.EXIT_INTERRUPTION_ERROR_CODE), 4)}`]
          : [];
      return [eventWords(info), ...error];
    }
    case "HLT":
      return [
        `HLT with interrupts ${(vmcs.read32(F.GUEST_RFLAGS) & RFLAGS_IF) !== 0 ? "enabled" : "disabled"}`,
      ];
    case "INTERRUPT_WINDOW":
      return ["the guest can take an interrupt now"];
    case "INVLPG":
      return [`linear address ${hex(entry.qualification, 16)}`];
    case "VMCALL":
      return [`hypercall; answer RAX ${hex(core.state.gpr[0]!, 16)}`];
    default:
      return entry.qualification === 0n ? [] : [`qualification ${hex(entry.qualification)}`];
  }
}

/** Bits 31:0 of a qualification: for most reasons all that is defined. */
const lowHalf = (qualification: bigint): number => Number(qualification & 0xffffffffn);

/** The event that the next entry will inject, if it is an exception. */
function injectedException(vcpu: Vcpu): string | undefined {
  const info = vcpu.state.injectInfo;
  return (info & INFO_VALID) !== 0 ? EXCEPTIONS[info & 0xff] : undefined;
}

/** An interruption-information word: type and vector. */
function eventWords(info: number): string {
  const vector = info & 0xff;
  const type = (info >>> 8) & 7;
  const name = type === 3 || type === 6 ? ` ${EXCEPTIONS[vector] ?? ""}` : "";
  return `${EVENT_TYPES[type]!}${name}, vector ${hex(vector, 2)}`;
}

function ioWords(entry: LedgerEntry, vcpu: Vcpu): string {
  const qualification = lowHalf(entry.qualification);
  const size = (qualification & 7) + 1;
  const isIn = (qualification & 8) !== 0;
  const isString = (qualification & 16) !== 0;
  const isRepeated = (qualification & 32) !== 0;
  const port = qualification >>> 16;
  const bytes = `${size} byte${size === 1 ? "" : "s"}`;
  const verb = `${isRepeated ? "REP " : ""}${isIn ? "IN" : "OUT"}${isString ? "S" : ""}`;
  const value = vcpu.core.gprLow(0) & (size === 4 ? 0xffffffff : 2 ** (8 * size) - 1);
  const moved = isString ? "" : `, value ${hex(value >>> 0, 2 * size)}`;
  return `${verb} ${isIn ? "from" : "to"} port ${hex(port, 3)} (${entry.handler}), ${bytes}${moved}`;
}

function eptWords(entry: LedgerEntry, vcpu: Vcpu): string[] {
  const { vmcs, vm } = vcpu;
  const qualification = lowHalf(entry.qualification);
  const address = vmcs.read(F.GUEST_PHYSICAL_ADDRESS);
  const kinds = ["read", "write", "instruction fetch"].filter((_, bit) => (qualification & (1 << bit)) !== 0);
  const rights = ["readable", "writable", "executable"].filter(
    (_, bit) => (qualification & (8 << bit)) !== 0,
  );
  const words = [
    `${kinds.join(" and ")} at guest-physical ${hex(address, 8)} (${addressOwner(address, vcpu)})`,
  ];
  if ((qualification & 0x80) !== 0) {
    const linear = hex(vmcs.readBig(F.GUEST_LINEAR_ADDRESS), 16);
    words.push(
      (qualification & 0x100) !== 0
        ? `linear ${linear}`
        : `an access to a guest paging-structure entry, translating linear ${linear}`,
    );
  }
  words.push(
    rights.length === 0 ? "the page was not present in the EPT" : `the EPT allowed: ${rights.join(", ")}`,
  );
  if (vm.memory.isRam(address - (address % 4096)) && entry.handler === "memory")
    words.push("now mapped to RAM");
  return words;
}

/** What lies at a guest-physical address: RAM, a device with the offset in its range, or nothing. */
function addressOwner(address: number, vcpu: Vcpu): string {
  const { vm } = vcpu;
  if (vm.memory.isRam(address - (address % 4096))) return "RAM";
  if (address >= 0xfee00000 && address < 0xfee01000)
    return `local APIC register ${hex(address - 0xfee00000, 3)}`;
  const target = vm.pc.mmio.find(address);
  if (target === undefined) return "nobody's address";
  const { label } = vm.owners.mmio(address);
  for (const device of vm.pc.served)
    for (let queue = 0; queue < device.queueCount; queue++)
      if (vm.owners.isKick(address) && device.transport.notifyAddress(queue) === address)
        return `${label} + ${hex(address - target.base)}: notification of queue ${queue}`;
  return `${label} + ${hex(address - target.base)}`;
}

/** SDM, "Exit Qualification for Control-Register Accesses". */
function controlRegisterWords(qualification: number, vcpu: Vcpu): string {
  const number = qualification & 15;
  const register = GENERAL_REGISTERS[(qualification >>> 8) & 15]!.toUpperCase();
  const shadow = number === 0 ? F.CR0_READ_SHADOW : F.CR4_READ_SHADOW;
  const seen = number === 8 ? "" : `; the guest's read shadow is now ${hex(vcpu.vmcs.readBig(shadow), 8)}`;
  switch ((qualification >>> 4) & 3) {
    case 0:
      return `MOV to CR${number} from ${register}${seen}`;
    case 1:
      return `MOV from CR${number} to ${register}`;
    case 2:
      return `CLTS${seen}`;
    default:
      return `LMSW, source ${hex((qualification >>> 16) & 0xffff, 4)}${seen}`;
  }
}
