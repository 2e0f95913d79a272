/**
 * Guests of a few instructions, each of which exits, and what the VMCS must say of it: SDM Vol. 3C, "Recording VM-Exit Information and
 * Updating VM-Entry Control Fields". From the VMCS of test/support/vmx-cpu.ts: 64-bit mode, CPL 0, HLT exiting.
 */
import * as X from "../../../layout/vmx.ts";
import { PAGE, type VmxCpu } from "../../support/vmx-cpu.ts";

const F = X.VmcsField;
const R = X.ExitReason;
const { Pin, Primary, Secondary } = X;

export interface ExitCase {
  readonly name: string;
  readonly code: readonly number[];
  readonly setup?: (cpu: VmxCpu) => void;
  readonly reason: number;
  readonly qualification?: bigint | number;
  /** Instruction length. */
  readonly length?: number;
  readonly instructionInfo?: number;
  /** Interruption information and error code. */
  readonly info?: number;
  readonly error?: number;
  readonly vectoring?: number;
  readonly vectoringError?: number;
  readonly linear?: bigint | number;
  readonly physical?: number;
  /** Guest RIP saved, from the code's first byte. */
  readonly rip?: number;
  readonly pendingDebug?: number;
  readonly interruptibility?: number;
}

const primary = (bits: number) => (cpu: VmxCpu) => cpu.set(F.PRIMARY_CONTROLS, bits);
const secondary = (bits: number) => (cpu: VmxCpu) => cpu.set(F.SECONDARY_CONTROLS, bits);
const pin = (bits: number) => (cpu: VmxCpu) => cpu.set(F.PIN_BASED_CONTROLS, bits);
const write = (field: number, value: number | bigint) => (cpu: VmxCpu) =>
  cpu.vmcs.writeBig(field, BigInt(value));
const all =
  (...steps: ((cpu: VmxCpu) => void)[]) =>
  (cpu: VmxCpu): void =>
    steps.forEach((step) => step(cpu));
const gpr = (register: number, value: number | bigint) => (cpu: VmxCpu) => {
  if (register === 4) cpu.vmcs.writeBig(F.GUEST_RSP, BigInt(value));
  else cpu.core.state.gpr[register] = BigInt(value);
};
const exceptions = (...vectors: number[]) =>
  write(
    F.EXCEPTION_BITMAP,
    vectors.reduce((bits, vector) => (bits | (1 << vector)) >>> 0, 0),
  );
const VALID = 0x80000000;
const ERROR = 1 << 11;
const exception = (vector: number): number => (VALID | (3 << 8) | vector) >>> 0;
const RAX = 0;
const RCX = 1;
const RDX = 2;
const RDI = 7;

/** Instructions that exit by a control, or always: name, code, reason, setup. */
const PLAIN: readonly ExitCase[] = (
  [
    ["CPUID", [0x0f, 0xa2], R.CPUID],
    ["INVD", [0x0f, 0x08], R.INVD],
    ["WBINVD", [0x0f, 0x09], R.WBINVD, secondary(Secondary.WBINVD_EXITING)],
    ["HLT", [0xf4], R.HLT],
    ["PAUSE", [0xf3, 0x90], R.PAUSE, primary(Primary.PAUSE_EXITING)],
    ["RDTSC", [0x0f, 0x31], R.RDTSC, primary(Primary.RDTSC_EXITING)],
    [
      "RDTSCP",
      [0x0f, 0x01, 0xf9],
      R.RDTSCP,
      all(secondary(Secondary.ENABLE_RDTSCP), primary(Primary.RDTSC_EXITING)),
    ],
    ["RDPMC", [0x0f, 0x33], R.RDPMC, primary(Primary.RDPMC_EXITING)],
    ["MONITOR", [0x0f, 0x01, 0xc8], R.MONITOR, primary(Primary.MONITOR_EXITING)],
    ["MWAIT", [0x0f, 0x01, 0xc9], R.MWAIT, primary(Primary.MWAIT_EXITING)],
    ["RDMSR without bitmaps", [0x0f, 0x32], R.MSR_READ],
    ["WRMSR without bitmaps", [0x0f, 0x30], R.MSR_WRITE],
    [
      "RDMSR with its bit set",
      [0x0f, 0x32],
      R.MSR_READ,
      all(primary(Primary.USE_MSR_BITMAPS), gpr(RCX, 0xc0000080)),
    ],
    ["XSETBV", [0x0f, 0x01, 0xd1], R.XSETBV, all((cpu) => cpu.set(F.GUEST_CR4, 1 << 18))],
    ["VMCALL", [0x0f, 0x01, 0xc1], R.VMCALL],
    ["VMLAUNCH", [0x0f, 0x01, 0xc2], R.VMLAUNCH],
    ["VMRESUME", [0x0f, 0x01, 0xc3], R.VMRESUME],
    ["VMXOFF", [0x0f, 0x01, 0xc4], R.VMXOFF],
    [
      "VMFUNC of a function that is off",
      [0x0f, 0x01, 0xd4],
      R.VMFUNC,
      secondary(Secondary.ENABLE_VM_FUNCTIONS),
    ],
  ] as const
).map(([name, code, reason, setup]) => ({
  name,
  code,
  reason,
  length: code.length,
  qualification: 0,
  ...(setup && { setup }),
}));

// Instruction information: scaling 1:0, address size 9:7 (2: 64 bits), segment 17:15, index 21:18 (22: none), base 26:23.
const DS_64 = (2 << 7) | (3 << 15);
const NO_INDEX = 1 << 22;
const base = (register: number): number => register << 23;

/** Memory operand [rcx + rdx*4 + 10H]. */
const MODRM_MEMORY = (reg: number): number[] => [0x44 | (reg << 3), 0x91, 0x10];
const MEMORY_INFO = (2 | DS_64 | (RDX << 18) | base(RCX)) >>> 0;

const VMX_MEMORY: readonly ExitCase[] = (
  [
    ["VMPTRLD", [0x0f, 0xc7], 6, R.VMPTRLD],
    ["VMCLEAR", [0x66, 0x0f, 0xc7], 6, R.VMCLEAR],
    ["VMXON", [0xf3, 0x0f, 0xc7], 6, R.VMXON],
    ["VMPTRST", [0x0f, 0xc7], 7, R.VMPTRST],
  ] as const
).map(([name, opcode, reg, reason]) => ({
  name: `${name} [rcx+rdx*4+10h]`,
  code: [...opcode, ...MODRM_MEMORY(reg)],
  reason,
  length: opcode.length + 3,
  qualification: 0x10,
  instructionInfo: MEMORY_INFO,
}));

const VMX_REGISTERS: readonly ExitCase[] = [
  {
    name: "VMREAD rbx, rax",
    code: [0x0f, 0x78, 0xc3],
    reason: R.VMREAD,
    length: 3,
    qualification: 0,
    // Register form: bit 10, register 6:3; the encoding's register in 31:28.
    instructionInfo: (1 << 10) | (3 << 3) | (2 << 7) | (RAX << 28),
  },
  {
    name: "VMREAD [rcx+rdx*4+10h], rdi",
    code: [0x0f, 0x78, ...MODRM_MEMORY(RDI)],
    reason: R.VMREAD,
    length: 5,
    qualification: 0x10,
    instructionInfo: MEMORY_INFO | (RDI << 28),
  },
  {
    name: "VMWRITE rdi, rbx",
    code: [0x0f, 0x79, 0xfb],
    reason: R.VMWRITE,
    length: 3,
    qualification: 0,
    instructionInfo: (1 << 10) | (3 << 3) | (2 << 7) | (RDI << 28),
  },
  {
    name: "INVEPT rdx, [rcx+rdx*4+10h]",
    code: [0x66, 0x0f, 0x38, 0x80, ...MODRM_MEMORY(RDX)],
    reason: R.INVEPT,
    length: 7,
    qualification: 0x10,
    instructionInfo: MEMORY_INFO | (RDX << 28),
  },
  {
    name: "INVVPID rdi, [rip+20h]: the address in the qualification, no base",
    code: [0x66, 0x0f, 0x38, 0x81, 0x3d, 0x20, 0, 0, 0],
    reason: R.INVVPID,
    length: 9,
    qualification: PAGE.CODE + 9 + 0x20,
    instructionInfo: DS_64 | NO_INDEX | (1 << 27) | (RDI << 28),
  },
  {
    name: "INVPCID rax, [rcx+rdx*4+10h]",
    code: [0x66, 0x0f, 0x38, 0x82, ...MODRM_MEMORY(RAX)],
    setup: all(secondary(Secondary.ENABLE_INVPCID), primary(Primary.INVLPG_EXITING)),
    reason: R.INVPCID,
    length: 7,
    qualification: 0x10,
    instructionInfo: MEMORY_INFO,
  },
  {
    name: "RDRAND r9d",
    code: [0x41, 0x0f, 0xc7, 0xf1],
    setup: secondary(Secondary.RDRAND_EXITING),
    reason: R.RDRAND,
    length: 4,
    instructionInfo: (9 << 3) | (1 << 11),
  },
  {
    name: "RDSEED dx",
    code: [0x66, 0x0f, 0xc7, 0xfa],
    setup: secondary(Secondary.RDSEED_EXITING),
    reason: R.RDSEED,
    length: 4,
    instructionInfo: RDX << 3,
  },
];

const descriptorTable = secondary(Secondary.DESCRIPTOR_TABLE_EXITING);
const DESCRIPTOR_TABLES: readonly ExitCase[] = [
  ...(["SGDT", "SIDT", "LGDT", "LIDT"] as const).map((name, i) => ({
    name: `${name} [rcx+rdx*4+10h]`,
    code: [0x0f, 0x01, ...MODRM_MEMORY(i)],
    setup: descriptorTable,
    reason: R.GDTR_IDTR_ACCESS,
    length: 5,
    qualification: 0x10,
    instructionInfo: MEMORY_INFO | (i << 28),
  })),
  ...(["SLDT", "STR", "LLDT", "LTR"] as const).map((name, i) => ({
    name: `${name} [rcx+rdx*4+10h]`,
    code: [0x0f, 0x00, ...MODRM_MEMORY(i)],
    setup: descriptorTable,
    reason: R.LDTR_TR_ACCESS,
    length: 5,
    qualification: 0x10,
    instructionInfo: MEMORY_INFO | (i << 28),
  })),
  {
    name: "LTR dx",
    code: [0x0f, 0x00, 0xda],
    setup: descriptorTable,
    reason: R.LDTR_TR_ACCESS,
    length: 3,
    qualification: 0,
    instructionInfo: (1 << 10) | (RDX << 3) | (2 << 7) | (3 << 28),
  },
];

const mask = (mask: number, bits: number, shadow: number, value: number) =>
  all(write(mask, bits), write(shadow, value));
/** Control registers: number 3:0, type 5:4, register 11:8, LMSW's operand 6 and source 31:16. */
const CONTROL_REGISTERS: readonly ExitCase[] = [
  ...[0, 2, 4, 7].map((register) => ({
    name: `MOV CR3, register ${register}`,
    code: [0x0f, 0x22, 0xd8 | register],
    setup: primary(Primary.CR3_LOAD_EXITING),
    reason: R.CR_ACCESS,
    length: 3,
    qualification: 3 | (register << 8),
  })),
  {
    name: "MOV R9, CR3",
    code: [0x41, 0x0f, 0x20, 0xd9],
    setup: primary(Primary.CR3_STORE_EXITING),
    reason: R.CR_ACCESS,
    length: 4,
    qualification: 3 | (1 << 4) | (9 << 8),
  },
  {
    name: "MOV CR0, RCX that differs from the shadow in a masked bit",
    code: [0x0f, 0x22, 0xc1],
    setup: all(mask(F.CR0_MASK, 8, F.CR0_READ_SHADOW, 0), gpr(RCX, 8)),
    reason: R.CR_ACCESS,
    length: 3,
    qualification: RCX << 8,
  },
  {
    name: "MOV CR4, RCX likewise",
    code: [0x0f, 0x22, 0xe1],
    setup: all(mask(F.CR4_MASK, 0x80, F.CR4_READ_SHADOW, 0), gpr(RCX, 0x80)),
    reason: R.CR_ACCESS,
    length: 3,
    qualification: 4 | (RCX << 8),
  },
  {
    name: "MOV CR8, RAX",
    code: [0x44, 0x0f, 0x22, 0xc0],
    setup: primary(Primary.CR8_LOAD_EXITING),
    reason: R.CR_ACCESS,
    length: 4,
    qualification: 8,
  },
  {
    name: "MOV RDX, CR8",
    code: [0x44, 0x0f, 0x20, 0xc2],
    setup: primary(Primary.CR8_STORE_EXITING),
    reason: R.CR_ACCESS,
    length: 4,
    qualification: 8 | (1 << 4) | (RDX << 8),
  },
  {
    name: "CLTS",
    code: [0x0f, 0x06],
    setup: mask(F.CR0_MASK, 8, F.CR0_READ_SHADOW, 8),
    reason: R.CR_ACCESS,
    length: 2,
    qualification: 2 << 4,
  },
  {
    name: "LMSW AX",
    code: [0x0f, 0x01, 0xf0],
    setup: all(mask(F.CR0_MASK, 8, F.CR0_READ_SHADOW, 0), gpr(RAX, 0xab19)),
    reason: R.CR_ACCESS,
    length: 3,
    qualification: (3 << 4) + 0xab19 * 0x10000,
  },
  {
    name: "LMSW [rcx+rdx*4+10h]",
    code: [0x0f, 0x01, ...MODRM_MEMORY(6)],
    setup: all(mask(F.CR0_MASK, 8, F.CR0_READ_SHADOW, 0), gpr(RCX, 0x40000), gpr(RDX, 4), (cpu) =>
      cpu.write32(0x40020, 0x9),
    ),
    reason: R.CR_ACCESS,
    length: 5,
    qualification: (3 << 4) | (1 << 6) | (9 << 16),
    linear: 0x40020,
  },
];

const DEBUG_REGISTERS: readonly ExitCase[] = [
  {
    name: "MOV DR7, RCX",
    code: [0x0f, 0x23, 0xf9],
    setup: primary(Primary.MOV_DR_EXITING),
    reason: R.DR_ACCESS,
    length: 3,
    qualification: 7 | (RCX << 8),
  },
  {
    name: "MOV R10, DR3",
    code: [0x41, 0x0f, 0x21, 0xda],
    setup: primary(Primary.MOV_DR_EXITING),
    reason: R.DR_ACCESS,
    length: 4,
    qualification: 3 | (1 << 4) | (10 << 8),
  },
];

/** I/O: size - 1 in 2:0, IN 3, string 4, REP 5, immediate 6, port 31:16. */
const io = primary(Primary.UNCONDITIONAL_IO_EXITING);
const PORTS: readonly ExitCase[] = [
  {
    name: "IN AL, DX",
    code: [0xec],
    setup: all(io, gpr(RDX, 0x1234)),
    reason: R.IO_INSTRUCTION,
    length: 1,
    qualification: 8 | (0x1234 << 16),
  },
  {
    name: "OUT DX, AX",
    code: [0x66, 0xef],
    setup: all(io, gpr(RDX, 0x80)),
    reason: R.IO_INSTRUCTION,
    length: 2,
    qualification: 1 | (0x80 << 16),
  },
  {
    name: "OUT 70H, EAX, by the bitmap",
    code: [0xe7, 0x70],
    setup: primary(Primary.USE_IO_BITMAPS),
    reason: R.IO_INSTRUCTION,
    length: 2,
    qualification: 3 | (1 << 6) | (0x70 << 16),
  },
  {
    name: "REP INSB: destination and address size",
    code: [0xf3, 0x6c],
    setup: all(io, gpr(RDX, 0x60), gpr(RDI, 0x40000), gpr(RCX, 5)),
    reason: R.IO_INSTRUCTION,
    length: 2,
    qualification: 8 | (1 << 4) | (1 << 5) | (0x60 << 16),
    linear: 0x40000,
    instructionInfo: 2 << 7,
  },
  {
    name: "OUTSD from FS with 32-bit addresses: segment",
    code: [0x64, 0x67, 0x6f],
    setup: all(io, gpr(RDX, 0x60), gpr(6, 0x50000), write(F.GUEST_FS_BASE, 0x1000)),
    reason: R.IO_INSTRUCTION,
    length: 3,
    qualification: 3 | (1 << 4) | (0x60 << 16),
    linear: 0x51000,
    instructionInfo: (1 << 7) | (4 << 15),
  },
];

const noIdt = write(F.GUEST_IDTR_LIMIT, 0);
/** An IDT whose gates all lead to HLT, except that the tables do not map the stack's page at 4 GiB. */
const EXCEPTIONS: readonly ExitCase[] = [
  {
    name: "#UD",
    code: [0x0f, 0x0b],
    setup: exceptions(6),
    reason: R.EXCEPTION_NMI,
    info: exception(6),
    qualification: 0,
    rip: 0,
  },
  {
    name: "#GP with its error code: a far pointer beyond the GDT",
    code: [0x8e, 0xd8],
    setup: all(exceptions(13), gpr(RAX, 0x1238)),
    reason: R.EXCEPTION_NMI,
    info: (exception(13) | ERROR) >>> 0,
    error: 0x1238,
  },
  {
    name: "#PF: the address, and the error code",
    code: [0x89, 0x01],
    setup: all(exceptions(14), gpr(RCX, 0x123456789000n)),
    reason: R.EXCEPTION_NMI,
    info: (exception(14) | ERROR) >>> 0,
    error: 2,
    qualification: 0x123456789000n,
  },
  {
    name: "#PF that the mask and match leave out, then the double fault of a missing IDT: a triple fault",
    code: [0x89, 0x01],
    setup: all(
      exceptions(14),
      write(F.PAGE_FAULT_ERROR_MASK, 2),
      write(F.PAGE_FAULT_ERROR_MATCH, 0),
      gpr(RCX, 0x123456789000n),
      noIdt,
    ),
    reason: R.TRIPLE_FAULT,
    qualification: 0,
  },
  {
    name: "INT3: a software exception, with its length",
    code: [0xcc],
    setup: exceptions(3),
    reason: R.EXCEPTION_NMI,
    info: (VALID | (6 << 8) | 3) >>> 0,
    length: 1,
    rip: 0,
  },
  {
    name: "INT1: a privileged software exception",
    code: [0xf1],
    setup: exceptions(1),
    reason: R.EXCEPTION_NMI,
    info: (VALID | (5 << 8) | 1) >>> 0,
    length: 1,
    rip: 0,
  },
  {
    name: "single step: BS in the qualification",
    code: [0x90, 0x90],
    setup: all(exceptions(1), write(F.GUEST_RFLAGS, 0x102)),
    reason: R.EXCEPTION_NMI,
    info: exception(1),
    qualification: 0x4000,
    rip: 1,
  },
  {
    name: "instruction breakpoint: B2",
    code: [0x90, 0x90],
    setup: all(
      exceptions(1),
      (cpu) => (cpu.core.state.dr[2] = BigInt(PAGE.CODE + 1)),
      (cpu) => cpu.set(F.ENTRY_CONTROLS, X.EntryControl.LOAD_DEBUG_CONTROLS),
      write(F.GUEST_DR7, 0x420),
    ),
    reason: R.EXCEPTION_NMI,
    info: exception(1),
    qualification: 4,
    rip: 1,
  },
  {
    name: "general detect: BD",
    code: [0x0f, 0x21, 0xc0],
    setup: all(
      exceptions(1),
      (cpu) => cpu.set(F.ENTRY_CONTROLS, X.EntryControl.LOAD_DEBUG_CONTROLS),
      write(F.GUEST_DR7, 0x2400),
    ),
    reason: R.EXCEPTION_NMI,
    info: exception(1),
    qualification: 0x2000,
    rip: 0,
  },
  {
    name: "an exception met while INT n is delivered: IDT-vectoring information, and the length of INT n",
    code: [0xcd, 0x80],
    setup: all(exceptions(13), noIdt),
    reason: R.EXCEPTION_NMI,
    info: (exception(13) | ERROR) >>> 0,
    error: (0x80 << 3) | 2,
    vectoring: (VALID | (4 << 8) | 0x80) >>> 0,
    length: 2,
    rip: 0,
  },
  {
    name: "an exception met while one with an error code is delivered",
    code: [0x8e, 0xd8],
    setup: all(exceptions(8), gpr(RAX, 0x1238), noIdt),
    reason: R.EXCEPTION_NMI,
    // #GP while #GP is delivered is #DF.
    info: (exception(8) | ERROR) >>> 0,
    error: 0,
    vectoring: (exception(13) | ERROR) >>> 0,
    vectoringError: 0x1238,
  },
  {
    name: "an exception met while an injected event is delivered",
    code: [0x90],
    setup: all(
      exceptions(13),
      noIdt,
      write(F.GUEST_RFLAGS, 0x202),
      write(F.ENTRY_INTERRUPTION_INFO, (VALID | 0x55) >>> 0),
    ),
    reason: R.EXCEPTION_NMI,
    info: (exception(13) | ERROR) >>> 0,
    error: (0x55 << 3) | 3,
    vectoring: (VALID | 0x55) >>> 0,
    rip: 0,
  },
];

const request = (vector: number) => (cpu: VmxCpu) => cpu.core.exports.acceptVector(vector);
const apicOn = (cpu: VmxCpu): void => {
  cpu.core.state.apicBase = 0xfee00d00n;
  cpu.core.state.apicRegister[0x0f] = 0x1ff;
};
const ATTENTION = { INIT: 1, SIPI: 2, NMI: 4 } as const;
const EVENTS: readonly ExitCase[] = [
  {
    name: "external interrupt, acknowledged",
    code: [0x90],
    setup: all(apicOn, request(0x61), pin(Pin.EXTERNAL_INTERRUPT_EXITING), (cpu) =>
      cpu.set(F.EXIT_CONTROLS, X.ExitControl.ACKNOWLEDGE_INTERRUPT),
    ),
    reason: R.EXTERNAL_INTERRUPT,
    info: (VALID | 0x61) >>> 0,
    qualification: 0,
    rip: 0,
  },
  {
    name: "external interrupt, not acknowledged: no information",
    code: [0x90],
    setup: all(apicOn, request(0x61), pin(Pin.EXTERNAL_INTERRUPT_EXITING)),
    reason: R.EXTERNAL_INTERRUPT,
    info: 0,
  },
  {
    name: "NMI",
    code: [0x90],
    setup: all(pin(Pin.NMI_EXITING), (cpu) => (cpu.core.state.nmiPending = 1)),
    reason: R.EXCEPTION_NMI,
    info: (VALID | (2 << 8) | 2) >>> 0,
    qualification: 0,
  },
  {
    name: "interrupt window",
    code: [0x90],
    setup: all(primary(Primary.INTERRUPT_WINDOW_EXITING), write(F.GUEST_RFLAGS, 0x202)),
    reason: R.INTERRUPT_WINDOW,
    qualification: 0,
    rip: 0,
  },
  {
    name: "interrupt window, behind the instruction that STI shields",
    code: [0xfb, 0x90, 0x90],
    setup: primary(Primary.INTERRUPT_WINDOW_EXITING),
    reason: R.INTERRUPT_WINDOW,
    rip: 2,
  },
  {
    name: "NMI window",
    code: [0x90],
    setup: all(pin(Pin.NMI_EXITING | Pin.VIRTUAL_NMIS), primary(Primary.NMI_WINDOW_EXITING)),
    reason: R.NMI_WINDOW,
    qualification: 0,
    rip: 0,
  },
  {
    name: "preemption timer of 0: before the first instruction",
    code: [0x90],
    setup: all(pin(Pin.PREEMPTION_TIMER), write(F.PREEMPTION_TIMER_VALUE, 0)),
    reason: R.PREEMPTION_TIMER,
    qualification: 0,
    rip: 0,
  },
  {
    name: "monitor trap flag: behind the first",
    code: [0x90, 0x90],
    setup: primary(Primary.MONITOR_TRAP_FLAG),
    reason: R.MONITOR_TRAP_FLAG,
    qualification: 0,
    rip: 1,
  },
  {
    name: "monitor trap flag with RFLAGS.TF: the trap is pending",
    code: [0x90, 0x90],
    setup: all(primary(Primary.MONITOR_TRAP_FLAG), write(F.GUEST_RFLAGS, 0x102)),
    reason: R.MONITOR_TRAP_FLAG,
    rip: 1,
    pendingDebug: 0x4000,
  },
  {
    name: "a pending MTF VM exit, injected",
    code: [0x90],
    setup: write(F.ENTRY_INTERRUPTION_INFO, (VALID | (7 << 8)) >>> 0),
    reason: R.MONITOR_TRAP_FLAG,
    rip: 0,
  },
  {
    name: "INIT",
    code: [0x90],
    setup: (cpu) => (cpu.core.state.attention = ATTENTION.INIT),
    reason: R.INIT_SIGNAL,
    qualification: 0,
    rip: 0,
  },
  {
    name: "SIPI: its vector",
    code: [0x90],
    setup: all(write(F.GUEST_ACTIVITY_STATE, 3), (cpu) => {
      cpu.core.state.sipiVector = 0x9a;
      cpu.core.state.attention = ATTENTION.SIPI;
    }),
    reason: R.SIPI,
    qualification: 0x9a,
    rip: 0,
  },
  {
    name: "an exit under blocking by MOV SS: the interruptibility state has it",
    code: [0x8e, 0xd0, 0x0f, 0xa2],
    setup: all(gpr(RAX, 0x10), (cpu) => {
      cpu.write64(PAGE.GDT + 0x10, 0x00cf93000000ffffn);
      cpu.vmcs.write(F.GUEST_GDTR_BASE, PAGE.GDT);
      cpu.vmcs.write(F.GUEST_GDTR_LIMIT, 0xff);
    }),
    reason: R.CPUID,
    rip: 2,
    interruptibility: 2,
  },
];

/** Identity EPT of 2-MByte pages for the first; `leaf` are the bits of the entry for the page at 200000H, reached by [rcx]. */
const withEpt =
  (leaf: bigint, more: (cpu: VmxCpu) => void = () => undefined) =>
  (cpu: VmxCpu): void => {
    cpu.write64(PAGE.EPT, BigInt(PAGE.EPT + 0x1000) | 7n);
    cpu.write64(PAGE.EPT + 0x1000, BigInt(PAGE.EPT + 0x2000) | 7n);
    cpu.write64(PAGE.EPT + 0x2000, 0xb7n);
    cpu.write64(PAGE.EPT + 0x2008, leaf);
    cpu.write64(PAGE.PD + 8, 0x200087n);
    cpu.set(F.SECONDARY_CONTROLS, Secondary.ENABLE_EPT);
    gpr(RCX, 0x200123)(cpu);
    more(cpu);
  };
const LOAD = [0x8b, 0x01];
const STORE = [0x89, 0x01];
const JUMP = [0xff, 0xe1];
const LARGE = 0x2000b0n;
/** Linear address valid, and of a translation. */
const LINEAR = (1 << 7) | (1 << 8);
const EPT: readonly ExitCase[] = [
  ...(
    [
      ["read of a page that is not present", LOAD, 0n, 1],
      ["write", STORE, 0n, 2],
      ["fetch", JUMP, 0n, 4],
      ["write of a readable page", STORE, LARGE | 1n, 2 | (1 << 3)],
      ["write of a readable and executable page", STORE, LARGE | 5n, 2 | (5 << 3)],
      ["fetch of a readable and writable page", JUMP, LARGE | 3n, 4 | (3 << 3)],
      ["read of an execute-only page", LOAD, LARGE | 4n, 1 | (4 << 3)],
    ] as const
  ).map(([name, code, leaf, qualification]) => ({
    name: `EPT violation: ${name}`,
    code,
    setup: withEpt(leaf),
    reason: R.EPT_VIOLATION,
    qualification: qualification | LINEAR,
    linear: 0x200123,
    physical: 0x200123,
  })),
  {
    name: "EPT violation: a paging-structure entry of the guest",
    code: LOAD,
    setup: withEpt(LARGE | 7n, (cpu) => {
      // The page directory for 1 GByte and up lies in the page that is not present.
      cpu.write64(PAGE.EPT + 0x2008, 0n);
      cpu.write64(PAGE.PDPT + 8, 0x200007n);
      gpr(RCX, 0x40000010)(cpu);
    }),
    reason: R.EPT_VIOLATION,
    qualification: 1 | (1 << 7),
    linear: 0x40000010,
    physical: 0x200000,
  },
  {
    name: "EPT violation: the same with accessed and dirty flags, a read and a write",
    code: LOAD,
    setup: withEpt(LARGE | 1n, (cpu) => {
      cpu.set(F.EPT_POINTER, 1 << 6);
      cpu.write64(PAGE.PDPT + 8, 0x200007n);
      gpr(RCX, 0x40000010)(cpu);
    }),
    reason: R.EPT_VIOLATION,
    qualification: 3 | (1 << 3) | (1 << 7),
    physical: 0x200000,
  },
  {
    name: "EPT violation: user-mode execute access denied, mode-based",
    code: JUMP,
    setup: withEpt(LARGE | 0x407n, (cpu) => {
      cpu.set(F.SECONDARY_CONTROLS, Secondary.MODE_BASED_EXECUTE);
      cpu.write64(PAGE.EPT, BigInt(PAGE.EPT + 0x1000) | 0x407n);
      cpu.write64(PAGE.EPT + 0x1000, BigInt(PAGE.EPT + 0x2000) | 0x407n);
      cpu.write64(PAGE.EPT + 0x2000, 0x4b7n);
      // A supervisor address may be executed only by bit 2.
      cpu.write64(PAGE.EPT + 0x2008, LARGE | 0x403n);
      cpu.write64(PAGE.PD + 8, 0x200083n);
    }),
    reason: R.EPT_VIOLATION,
    qualification: 4 | (3 << 3) | (1 << 6) | LINEAR,
    physical: 0x200123,
  },
  {
    name: "EPT misconfiguration: write without read",
    code: LOAD,
    setup: withEpt(LARGE | 2n),
    reason: R.EPT_MISCONFIGURATION,
    physical: 0x200123,
  },
  {
    name: "EPT misconfiguration: a reserved memory type",
    code: LOAD,
    setup: withEpt(0x200097n),
    reason: R.EPT_MISCONFIGURATION,
    physical: 0x200123,
  },
  {
    name: "page-modification log full",
    code: STORE,
    setup: withEpt(LARGE | 7n, (cpu) => {
      cpu.set(F.EPT_POINTER, 1 << 6);
      cpu.set(F.SECONDARY_CONTROLS, Secondary.ENABLE_PML);
      cpu.vmcs.write(F.PML_ADDRESS, PAGE.MSRS);
      cpu.vmcs.write(F.PML_INDEX, 0xffff);
    }),
    reason: R.PML_FULL,
    qualification: 0,
    rip: 0,
  },
];

const APIC = PAGE.APIC_ACCESS;
const apicAccess = all(
  primary(Primary.USE_TPR_SHADOW),
  secondary(Secondary.VIRTUALIZE_APIC_ACCESSES),
  gpr(RCX, APIC),
);
const apicVirtual = all(
  apicAccess,
  secondary(Secondary.APIC_REGISTER_VIRTUALIZATION | Secondary.VIRTUAL_INTERRUPT_DELIVERY),
  pin(Pin.EXTERNAL_INTERRUPT_EXITING),
);
/** mov eax, [rcx+disp32], mov [rcx+disp32], eax */
const load = (offset: number): number[] => [0x8b, 0x81, offset & 0xff, offset >> 8, 0, 0];
const store = (offset: number): number[] => [0x89, 0x81, offset & 0xff, offset >> 8, 0, 0];
const APIC_CASES: readonly ExitCase[] = [
  {
    name: "APIC access: read of the ID",
    code: load(0x20),
    setup: apicAccess,
    reason: R.APIC_ACCESS,
    qualification: 0x20,
    length: 6,
    rip: 0,
  },
  {
    name: "APIC access: write of the ICR",
    code: store(0x300),
    setup: apicAccess,
    reason: R.APIC_ACCESS,
    qualification: 0x300 | (1 << 12),
    length: 6,
    rip: 0,
  },
  {
    name: "APIC access: instruction fetch",
    code: JUMP,
    setup: apicAccess,
    reason: R.APIC_ACCESS,
    qualification: 2 << 12,
  },
  {
    name: "APIC access: while an event is delivered",
    code: [0xcd, 0x80],
    setup: all(apicAccess, write(F.GUEST_RSP, APIC + 0x800), (cpu) => {
      cpu.vmcs.write(F.GUEST_IDTR_BASE, PAGE.MSRS);
      cpu.vmcs.write(F.GUEST_IDTR_LIMIT, 0xfff);
      cpu.vmcs.write(F.GUEST_GDTR_BASE, PAGE.GDT);
      cpu.vmcs.write(F.GUEST_GDTR_LIMIT, 0xff);
      cpu.write64(PAGE.GDT + 8, 0x00af9b000000ffffn);
      cpu.write64(PAGE.MSRS + 0x800, (BigInt(PAGE.CODE) & 0xffffn) | 0x8e0000080000n);
    }),
    reason: R.APIC_ACCESS,
    qualification: 0x7f8 | (3 << 12),
    vectoring: (VALID | (4 << 8) | 0x80) >>> 0,
  },
  {
    name: "APIC write: behind the store",
    code: store(0xf0),
    setup: apicVirtual,
    reason: R.APIC_WRITE,
    qualification: 0xf0,
    rip: 6,
  },
  {
    name: "virtualized EOI: the vector, behind the store",
    code: store(0xb0),
    setup: all(apicVirtual, write(F.GUEST_INTERRUPT_STATUS, 0x7100), write(F.EOI_EXIT_BITMAP_1, 2n ** 49n)),
    reason: R.VIRTUALIZED_EOI,
    qualification: 0x71,
    rip: 6,
  },
  {
    name: "TPR below threshold, by MOV to CR8",
    code: [0x44, 0x0f, 0x22, 0xc0],
    setup: all(apicAccess, write(F.TPR_THRESHOLD, 3), gpr(RAX, 2), (cpu) =>
      cpu.write32(PAGE.VIRTUAL_APIC + 0x80, 0x40),
    ),
    reason: R.TPR_BELOW_THRESHOLD,
    qualification: 0,
    rip: 4,
  },
  {
    name: "TPR below threshold at VM entry",
    code: [0x90],
    setup: all(apicAccess, write(F.TPR_THRESHOLD, 3)),
    reason: R.TPR_BELOW_THRESHOLD,
    rip: 0,
  },
];

const INVLPG: ExitCase = {
  name: "INVLPG [rcx+rdx*4+10h]: the linear address",
  code: [0x0f, 0x01, ...MODRM_MEMORY(7)],
  setup: all(primary(Primary.INVLPG_EXITING), gpr(RCX, 0x40000), gpr(RDX, 4)),
  reason: R.INVLPG,
  length: 5,
  qualification: 0x40020,
};

export const EXIT_CASES: readonly ExitCase[] = [
  ...PLAIN,
  INVLPG,
  ...VMX_MEMORY,
  ...VMX_REGISTERS,
  ...DESCRIPTOR_TABLES,
  ...CONTROL_REGISTERS,
  ...DEBUG_REGISTERS,
  ...PORTS,
  ...EXCEPTIONS,
  ...EVENTS,
  ...EPT,
  ...APIC_CASES,
];
