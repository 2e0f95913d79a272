/**
 * The block of one physical CPU: architectural state first, then what the core derives from it.
 *
 * The segment registers are kept as parallel arrays of 8-byte slots in the order of the VMCS guest-state
 * area (ES CS SS DS FS GS LDTR TR), so that VM entry and exit move them as whole groups.
 */
import { array, bytes, i32, struct, u32, u53, u64 } from "./struct.ts";

/** General registers live at offset 0 so that a record's operand is one byte: the offset of its slot. */
export const CpuStruct = struct(
  "Cpu",
  {
    // --- general registers; slot 16 is always zero (absent base or index), slot 17 the running block's RIP.
    gpr: array("u64", 16),
    zero: u64,
    blockRip: u64,

    // --- instruction pointer and flags
    /** Address of the next instruction; exact between instructions only (see records/blocks.ts). */
    rip: u64,
    /** RFLAGS without the six arithmetic flags, which are lazy: see state/flags.ts. */
    rflags: u64,
    flagResult: u64,
    flagCarries: u64,

    // --- segment registers
    segSelector: array("u64", 8),
    segBase: array("u64", 8),
    gdtrBase: u64,
    idtrBase: u64,
    segLimit: array("u64", 8),
    gdtrLimit: u64,
    idtrLimit: u64,
    segRights: array("u64", 8),

    // --- control, debug and model-specific registers
    cr0: u64,
    cr2: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    xcr0: u64,
    /** Protection-key rights: for key i, bit 2i disables access (AD), bit 2i+1 writing (WD). */
    pkru: u32,
    dr: array("u64", 8),
    pat: u64,
    sysenterCs: u64,
    sysenterEsp: u64,
    sysenterEip: u64,
    star: u64,
    lstar: u64,
    cstar: u64,
    fmask: u64,
    kernelGsBase: u64,
    tscAux: u64,
    apicBase: u64,
    featureControl: u64,
    miscEnable: u64,
    debugCtl: u64,
    /** IA32_SPEC_CTRL, MSR_PKG_CST_CONFIG_CONTROL, MSR_POWER_CTL, and IA32_MCi_CTL. */
    specCtrl: u64,
    packageCStates: u64,
    powerCtl: u64,
    machineCheckCtl: array("u64", 6),
    tscAdjust: u64,
    microcode: u64,
    mtrrDefType: u64,
    mtrrVariable: array("u64", 16),
    mtrrFixed: array("u64", 11),
    pdpte: array("u64", 4),

    // --- derived from the above; recomputed by state/mode.ts
    /** 0: 16-bit code, 1: 32-bit, 2: 64-bit. */
    codeSize: u32,
    cpl: u32,
    savedCpl: u32,
    /** Key of decoded blocks: code size, flatness. */
    modeKey: u32,
    /** 0: RSP as it is; 1: ESP in a flat stack; 2: through SS with limit checks. */
    stackKind: u32,
    /** Tag of the current translation context in TLB entries, 1..4095. */
    asid: u32,
    /** asid, mode and jump-cache generation, as stored in jump-cache entries. */
    jumpKey: u32,
    jumpGeneration: u32,
    /** jumpKey where RIP is the linear address of the next instruction; else a value that no entry has. */
    followKey: u32,
    a20Mask: u32,
    /** Bits above the linear-address width in use: 16, or 7 with CR4.LA57. */
    canonicalShift: u32,
    /** Contexts have been forgotten since `asid` was looked up. */
    contextStale: u32,
    /** The attribute map of C0000H–FFFFFH (mmu/rom.ts) that the translations were made by. */
    memoryMap: u32,

    // --- run loop
    /** Executing a block stops when the record pointer reaches this; 0 stops after the current record. */
    recordEnd: u32,
    /** Pending fault: vector, or -1. */
    faultVector: i32,
    faultHasError: u32,
    faultError: u32,
    /** CR2 of a pending page fault; CR2 itself changes at delivery, after any exit it causes. */
    cr2Pending: u64,
    /** Result of readDescriptor. */
    descriptor: u64,
    descriptorHigh: u64,
    remainder: u64,
    farSelector: u32,
    /** A software interrupt to deliver after the instruction; -1 when none. */
    softwareVector: i32,
    softwareSource: u32,
    /** Length of the software-interrupt instruction (or of the one that an injected event stands for). */
    softwareLength: u32,
    injecting: u32,
    nmiPending: u32,
    signature: u32,
    /** Guest-physical pages that the emulated instruction's accesses (fetch, source, destination, two each) may reach through the host. */
    emulatedPages: array("u64", 6),
    emulatedPageCount: u32,
    /** 1 when an access handed to the host is guest-physical (emulator), 0 when machine-physical. */
    ioGuest: u32,
    /** A REP instruction stopped between iterations: RIP stays at it. */
    repeatPending: u32,
    /** Instruction count at which the run ends. */
    targetInstructions: u64,
    /** CR4 bits that the CPU model has. */
    cr4Allowed: u64,
    /** Instruction sets that the CPU model has: bits numbered as in emulator/host/instruction-sets.ts. */
    features: bytes(16, 16),
    pdpteScratch: array("u64", 4),
    pauses: u64,
    /** Written by any thread (atomically): bits of ATTENTION_*. Stands before `leave`: both are looked at as one u64. */
    attention: u32,
    /** 1: the block must be left and the boundary conditions looked at. */
    leave: u32,
    cpuidCount: u32,
    cpuidHighest: u32,
    cpuidHighestExtended: u32,
    /** {leaf, subleaf or all ones, eax, ebx, ecx, edx}, written once from the CPU model. */
    cpuid: bytes(64 * 24, 16),
    cr0Mask: u64,
    cr0Shadow: u64,
    cr4Mask: u64,
    cr4Shadow: u64,
    innerEsp: u64,
    pushPointer: u64,
    innerSs: u32,
    /** The event being delivered, for IDT-vectoring information; vector -1 when none. */
    deliveringVector: i32,
    deliveringSource: u32,
    deliveringHasError: u32,
    deliveringError: u32,
    /** The record being executed, and the first of its block not yet counted; both 0 between blocks. */
    record: u32,
    blockFirst: u32,
    /**
     * A budget that ended in the middle of a block: its block and next record, and what must be as it was for the run to go on there
     * without a look-up. `resumeRecord` 0: none.
     */
    resumeBlock: u32,
    resumeRecord: u32,
    resumeKey: u32,
    resumeLinear: u64,
    /** 1 active, 2 HLT, 3 shutdown, 4 wait-for-SIPI, 5 MWAIT, 6 an x87 instruction waits for FERR# to be answered. */
    activity: u32,
    /** Bit 0: blocking by STI; bit 1: by MOV SS; bit 3: by NMI (the VMCS interruptibility format). */
    interruptibility: u32,
    /** Why `run` returned. */
    stopReason: u32,
    sipiVector: u32,
    /** Wasm offset of the line that MONITOR armed, 0 when none or written since. Any CPU's writer may clear it. */
    monitored: u32,
    /** 1: MWAIT ends by an interrupt that is masked as well. */
    mwaitBreaksOnMasked: u32,
    /** The INTR input from the 8259 pair (wired to LINT0). */
    intrLine: u32,
    /** Set while the core runs one instruction for the hypervisor's emulator. */
    emulating: u32,
    instructions: u53,
    /** Cycles charged beside instructions (cost profile). */
    charged: u53,
    /** Stop when the clock reaches this (cycles). */
    stopAt: u53,
    /** Stop when the instruction count reaches this. */
    stopAtInstruction: u53,
    /** Clock of the CPU or thread furthest behind: what depends on time waits until this CPU is not ahead of it. */
    yieldAbove: u53,
    /** Cycle at which the local-APIC timer fires; all ones when it does not. */
    timerDeadline: u53,

    // --- exchange with the host on port, memory and special accesses
    ioAddress: u53,
    ioValue: u64,
    ioSize: u32,
    ioWrite: u32,
    /** Value of a slow access: MMIO or page-crossing. See mmu/linear.ts. */
    scratch: bytes(64, 16),
    /** Where a pending slow write goes. */
    slowPhysical: u64,
    slowPhysical2: u64,
    slowSize: u32,
    slowSize1: u32,
    /** Bytes of an instruction that crosses a page. */
    fetchBytes: bytes(16, 16),

    // --- identity and configuration (latched at creation)
    id: u32,
    cpuModel: u32,
    /** 1: the model has paging-structure caches. */
    walksCached: u32,
    /** Performance counters that the model has (state/performance.ts). */
    counters: u32,
    /** Banks of the machine-check architecture, at most 6; 0: there is none. */
    machineCheckBanks: u32,
    /** 1: the model has MSR_PKG_CST_CONFIG_CONTROL and MSR_POWER_CTL. */
    hasPowerMsrs: u32,
    /** Bits that IA32_SPEC_CTRL has; 0: there is none. */
    specCtrlMay: u32,
    clockMode: u32,
    cyclesPerInstruction: u32,
    /** What a VM exit and the entry behind it cost a hypervisor inside the machine; charged at the exit. */
    vmxExitCycles: u32,
    tscFrequency: u64,
    recordCache: u32,
    recordCacheSize: u32,
    recordNext: u32,
    asidNext: u32,
    seed: u64,

    // --- local APIC: registers at (offset >> 4), as the register page has them
    apicRegister: array("u32", 64),
    apicTimerStart: u53,
    tscDeadline: u64,
    apicEsrPending: u32,
    apicSpare: u32,

    // --- VMX
    vmxOn: u32,
    vmxNonRoot: u32,
    vmxonPointer: u64,
    vmcsPointer: u64,
    /** Wasm offset of the current VMCS region; 0 when there is none. */
    vmcs: u32,
    /** 1: VM exits return to the hypervisor outside the machine instead of loading the host-state area. */
    hypervisorOutside: u32,
    pinControls: u32,
    procControls: u32,
    proc2Controls: u32,
    exceptionBitmap: u32,
    eptp: u64,
    vpid: u32,
    /**
     * Wasm offset of the VMCS whose controls and guest state this block still holds, since it left them there at its last
     * exit; 0 when that is not so. Then an entry loads only what software writes between exits (vmx/entry.ts).
     */
    vmcsKept: u32,
    tscOffset: u64,
    preemptionDeadline: u53,
    /** Guest state that exits save has been written since it was last saved, beyond RIP, RSP, RFLAGS and blocking. */
    guestStateChanged: u32,
    /** 1: every register group that entries load is saved by exits: the condition for keeping it. */
    vmcsSavesAll: u32,
    /** RFLAGS as the last exit saved them. */
    flagsSaved: u64,
    vmxEntryChecksSkipped: u64,
    vmxEntryChecksDone: u64,
    /** Number of the rule that the last failed VM entry broke (layout/vmx-rules.ts); 0 none. */
    entryRule: u32,
    /** VMX capabilities of the CPU model, latched at creation: which controls may be 1. All 0: no VMX. */
    vmxPinMay: u32,
    vmxPrimaryMay: u32,
    vmxSecondaryMay: u32,
    vmxExitMay: u32,
    vmxEntryMay: u32,
    /** IA32_VMX_EPT_VPID_CAP, its two words; low words of IA32_VMX_MISC and IA32_VMX_VMFUNC. */
    vmxEptCapability: u32,
    vmxVpidCapability: u32,
    vmxMisc: u32,
    vmxFunctions: u32,
    /** Blocking by STI and MOV SS that the instruction being executed began under. */
    shadowBefore: u32,
    /** VMLAUNCH or VMRESUME has passed its checks: the boundary enters the guest. 1 resume, 2 launch. */
    entryPending: u32,
    /** Exits that are taken behind the instruction that caused them: TRAP_EXIT_* (vmx/trap-exits.ts). */
    trapExits: u32,
    /** Vector of an EOI-induced exit, offset of an APIC-write exit. */
    trapQualification: u32,
    /** An INIT that arrived in VMX root operation, where it is blocked. */
    initBlocked: u32,
    /** Wasm offset of the virtual-APIC page while the TPR shadow is in use, else 0. */
    virtualApic: u32,
    /** Requesting and servicing virtual interrupt: the guest interrupt status. */
    rvi: u32,
    svi: u32,
    /** Page of the APIC-access address while APIC accesses are virtualized, else all ones. */
    apicAccessPage: u64,
    /** The IRET being executed has ended blocking by NMI: bit 12 of the information about an exit that it causes. */
    iretUnblocked: u32,
    /** Multiplier of the guest's time-stamp counter, 48 fraction bits. */
    tscMultiplier: u64,
    /** PAUSE-loop exiting: when the last PAUSE of this loop was executed, and the first. */
    pauseLast: u64,
    pauseFirst: u64,
    /** The linear address being translated is a user-mode one: EPT's mode-based execute control asks. */
    walkUser: u32,

    // --- performance counters: IA32_PERFEVTSELx, IA32_PMCx, and the events counted when each was last brought up to date
    counterSelect: array("u64", 4),
    counterValue: array("u64", 4),
    counterSeen: array("u64", 4),
    /** Bit n: counter n is enabled; and of those, the ones whose overflow interrupts. */
    countersOn: u32,
    countersArmed: u32,
    /** 1: what runs since they were last brought up to date is user-mode code. */
    countersUser: u32,

    // --- counters
    exits: array("u64", 72),
    walkReferences: u64,
    /** TLB misses by what wanted the translation. */
    loadMisses: u64,
    storeMisses: u64,
    fetchMisses: u64,
    blocksDecoded: u64,
    interruptsTaken: u64,

    // --- media state
    /** YMM registers, 32 bytes each; an XMM register is the lower half of its slot. */
    vector: bytes(512, 16),
    /**
     * x87 data registers R0 to R7 (physical numbers, not relative to TOP), 16 bytes each: significand in bytes 7:0, sign and
     * exponent in bytes 9:8. MMX register n is the significand of Rn.
     */
    x87: bytes(128, 16),
    mxcsr: u32,
    /** Numbers that RDRAND and RDSEED have given. */
    randomCount: u64,
    x87Control: u32,
    /** With TOP in bits 13:11. */
    x87Status: u32,
    /** Bit n: Rn is not empty (the form of FXSAVE). */
    x87Tag: u32,
    /** Last x87 instruction (bits 10:0) and last operand, as FXSAVE shows them. */
    x87Opcode: u32,
    x87CodeSelector: u32,
    x87DataSelector: u32,
    x87CodeOffset: u64,
    x87DataOffset: u64,
    /** Set by taken branches, where the run loop goes instruction by instruction: for IA32_DEBUGCTL.BTF. */
    branchTaken: u32,
    /** FERR#: an x87 exception is pending and CR0.NE is 0; and as the board was last told. */
    ferr: u32,
    ferrTold: u32,
    /** IGNNE#, set by the board and cleared with FERR#. */
    ignne: u32,
    /** Kinds of breakpoints that are enabled; derived by interrupts/debug.ts. */
    breakpoints: u32,
    /** The TSS of a task being switched to; a fault of the new task, for its first instruction (-1: none). */
    taskImage: bytes(104, 8),
    taskFault: i32,
    taskFaultError: u32,
    /** The event being delivered has switched tasks. */
    taskSwitched: u32,
    /** Data and I/O breakpoints met by the instruction being executed: bits as in DR6. */
    debugHits: u32,
    /** What the #DB about to be delivered tells of; likewise. */
    debugConditions: u64,
    /** Where vector instructions take operands apart and put results together. */
    lanes: bytes(96, 16),
    /** Derived by state/media.ts: kinds of media instructions that fault instead of executing. */
    mediaFaults: u32,

    // --- floating-point operations (emulator/core/float)
    /** Masks, rounding and DAZ/FTZ of F32 and F64 operations, in the x87 control word's layout (float/environment.ts). */
    floatControl: u32,
    /** Exceptions of the operations so far, IE in bit 0 to PE in bit 5. */
    floatFlags: u32,
    /** 1: the last rounding made the magnitude larger (C1 of the x87 status word). */
    floatRoundedUp: u32,
    /** Sign (bit 15) and exponent of a double extended result; its significand is what the operation returns. */
    floatExponent: u32,
    /** Second result of wide integer operations. */
    floatRemainder: u64,
    /** Results of 128-bit operations beside the upper word, which they return (float/series.ts). */
    wideLow: u64,
    wideExponent: i32,
    /** Of an argument's reduction: how often π/2 was taken from it, modulo 4, and whether the rest is negative. */
    quadrant: u32,
    restSign: u32,
    /** An x87 instruction's operand from memory as a double extended number, or its result to go there. */
    operandSignificand: u64,
    operandExponent: u32,
    /** Where an 80-bit operand is. */
    operandLinear: u64,
    /** Where images of x87 and SSE state are put together on their way to and from memory. */
    image: bytes(832, 16),

    decoded: bytes(128, 16),
    contexts: bytes(64 * 48, 16),
    /** Paging-structure caches (mmu/structure-cache.ts): of linear and of guest-physical addresses. */
    structures: bytes(3 * 16 * 64, 64),
    eptStructures: bytes(3 * 16 * 64, 64),
    contextNext: u32,
    contextLast: u32,
    /** Parallel mode: 1 while this CPU executes; 0 while it waits or is in host code, and so holds nothing stale. */
    running: u32,
    /** Parallel mode: shoot-downs asked of this CPU so far, and up to which it has answered. */
    shootdownsAsked: u32,
    shootdownsAnswered: u32,
  },
  64,
);
