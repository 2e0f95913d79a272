/** Constants of the architecture, with the manual's names (SDM Vol. 3A). No logic. */

export const CR0_PE: u64 = 1 << 0;
export const CR0_MP: u64 = 1 << 1;
export const CR0_EM: u64 = 1 << 2;
export const CR0_TS: u64 = 1 << 3;
export const CR0_ET: u64 = 1 << 4;
export const CR0_NE: u64 = 1 << 5;
export const CR0_WP: u64 = 1 << 16;
export const CR0_AM: u64 = 1 << 18;
export const CR0_NW: u64 = 1 << 29;
export const CR0_CD: u64 = 1 << 30;
export const CR0_PG: u64 = 1 << 31;

export const CR4_VME: u64 = 1 << 0;
export const CR4_PVI: u64 = 1 << 1;
export const CR4_TSD: u64 = 1 << 2;
export const CR4_DE: u64 = 1 << 3;
export const CR4_PSE: u64 = 1 << 4;
export const CR4_PAE: u64 = 1 << 5;
export const CR4_MCE: u64 = 1 << 6;
export const CR4_PGE: u64 = 1 << 7;
export const CR4_PCE: u64 = 1 << 8;
export const CR4_OSFXSR: u64 = 1 << 9;
export const CR4_OSXMMEXCPT: u64 = 1 << 10;
export const CR4_UMIP: u64 = 1 << 11;
export const CR4_LA57: u64 = 1 << 12;
export const CR4_VMXE: u64 = 1 << 13;
export const CR4_FSGSBASE: u64 = 1 << 16;
export const CR4_PCIDE: u64 = 1 << 17;
export const CR4_OSXSAVE: u64 = 1 << 18;
export const CR4_SMEP: u64 = 1 << 20;
export const CR4_SMAP: u64 = 1 << 21;
export const CR4_PKE: u64 = 1 << 22;

export const EFER_SCE: u64 = 1 << 0;
export const EFER_LME: u64 = 1 << 8;
export const EFER_LMA: u64 = 1 << 10;
export const EFER_NXE: u64 = 1 << 11;

export const FLAG_CF: u64 = 1 << 0;
export const FLAG_1: u64 = 1 << 1;
export const FLAG_PF: u64 = 1 << 2;
export const FLAG_AF: u64 = 1 << 4;
export const FLAG_ZF: u64 = 1 << 6;
export const FLAG_SF: u64 = 1 << 7;
export const FLAG_TF: u64 = 1 << 8;
export const FLAG_IF: u64 = 1 << 9;
export const FLAG_DF: u64 = 1 << 10;
export const FLAG_OF: u64 = 1 << 11;
export const FLAG_IOPL: u64 = 3 << 12;
export const FLAG_NT: u64 = 1 << 14;
export const FLAG_RF: u64 = 1 << 16;
export const FLAG_VM: u64 = 1 << 17;
export const FLAG_AC: u64 = 1 << 18;
export const FLAG_VIF: u64 = 1 << 19;
export const FLAG_VIP: u64 = 1 << 20;
export const FLAG_ID: u64 = 1 << 21;
/** The six that ALU instructions write, kept lazily. */
export const FLAGS_ARITHMETIC: u64 = 0x8d5;

export const XCR0_X87: u64 = 1 << 0;
export const XCR0_SSE: u64 = 1 << 1;
export const XCR0_AVX: u64 = 1 << 2;
export const XCR0_PKRU: u64 = 1 << 9;

/** x87 status word: an unmasked exception is pending. */
export const X87_STATUS_ES: u32 = 1 << 7;

export const VECTOR_DE: i32 = 0;
export const VECTOR_DB: i32 = 1;
export const VECTOR_NMI: i32 = 2;
export const VECTOR_BP: i32 = 3;
export const VECTOR_OF: i32 = 4;
export const VECTOR_BR: i32 = 5;
export const VECTOR_UD: i32 = 6;
export const VECTOR_NM: i32 = 7;
export const VECTOR_DF: i32 = 8;
export const VECTOR_TS: i32 = 10;
export const VECTOR_NP: i32 = 11;
export const VECTOR_SS: i32 = 12;
export const VECTOR_GP: i32 = 13;
export const VECTOR_PF: i32 = 14;
export const VECTOR_MF: i32 = 16;
export const VECTOR_AC: i32 = 17;
export const VECTOR_MC: i32 = 18;
export const VECTOR_XM: i32 = 19;

// Page-fault error code (SDM Vol. 3A, "Page-Fault Exceptions").
export const PF_PRESENT: u32 = 1 << 0;
export const PF_WRITE: u32 = 1 << 1;
export const PF_USER: u32 = 1 << 2;
export const PF_RESERVED: u32 = 1 << 3;
export const PF_FETCH: u32 = 1 << 4;
export const PF_KEY: u32 = 1 << 5;

// Paging-structure entries.
export const PTE_P: u64 = 1 << 0;
export const PTE_RW: u64 = 1 << 1;
export const PTE_US: u64 = 1 << 2;
export const PTE_A: u64 = 1 << 5;
export const PTE_D: u64 = 1 << 6;
export const PTE_PS: u64 = 1 << 7;
export const PTE_G: u64 = 1 << 8;
export const PTE_NX: u64 = 1 << 63;

/** Physical-address width that CPUID reports. */
export const PHYSICAL_BITS: u32 = 40;
export const PHYSICAL_MASK: u64 = (1 << 40) - 1;

// Segment access rights in the VMCS format (SDM Vol. 3C, "Guest Register State").
export const AR_TYPE: u64 = 0xf;
export const AR_ACCESSED: u64 = 1 << 0;
/** Data: writable. Code: readable. */
export const AR_RW: u64 = 1 << 1;
/** Data: expand-down. Code: conforming. */
export const AR_DC: u64 = 1 << 2;
export const AR_CODE: u64 = 1 << 3;
export const AR_S: u64 = 1 << 4;
export const AR_DPL_SHIFT: u64 = 5;
export const AR_P: u64 = 1 << 7;
export const AR_AVL: u64 = 1 << 12;
export const AR_L: u64 = 1 << 13;
export const AR_DB: u64 = 1 << 14;
export const AR_G: u64 = 1 << 15;
export const AR_UNUSABLE: u64 = 1 << 16;

// System-segment types.
export const TYPE_TSS16_AVAILABLE: u64 = 1;
export const TYPE_LDT: u64 = 2;
export const TYPE_TSS16_BUSY: u64 = 3;
export const TYPE_CALL_GATE16: u64 = 4;
export const TYPE_TASK_GATE: u64 = 5;
export const TYPE_INTERRUPT_GATE16: u64 = 6;
export const TYPE_TRAP_GATE16: u64 = 7;
export const TYPE_TSS_AVAILABLE: u64 = 9;
export const TYPE_TSS_BUSY: u64 = 11;
export const TYPE_CALL_GATE: u64 = 12;
export const TYPE_INTERRUPT_GATE: u64 = 14;
export const TYPE_TRAP_GATE: u64 = 15;
