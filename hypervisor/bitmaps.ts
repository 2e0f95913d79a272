/** A VM's I/O and MSR bitmaps (SDM Vol. 3C, "I/O-Bitmap Addresses", "MSR-Bitmap Address"). */

const PAGE = 4096;
/** In an MSR bitmap: the bits of writes, and those of MSRs from C0000000H on. */
const WRITES = 2048;
const HIGH_MSRS = 1024;
const FIRST_HIGH_MSR = 0xc0000000;
const X2APIC_EOI = 0x80b;

/** MSRs that hold nothing but this virtual CPU's own state, on the CPU to which it is pinned: no exit. */
const OWN_MSRS: readonly number[] = [
  // IA32_SPEC_CTRL and IA32_PRED_CMD: with Linux's mitigations each entry into its kernel writes them.
  ...[0x48, 0x49],
  ...[0x174, 0x175, 0x176, 0x1d9, 0x277, 0x2ff, 0xda0, 0xfe, 0x8b, 0x1a0, 0x17, 0x179, 0x17a],
  // Performance counters and their event selects, where the processor has them.
  ...[0xc1, 0xc2, 0xc3, 0xc4, 0x186, 0x187, 0x188, 0x189],
  ...[0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084],
  ...[0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103],
  ...Array.from({ length: 16 }, (_, i) => 0x200 + i),
  // Machine-check banks.
  ...Array.from({ length: 24 }, (_, i) => 0x400 + i),
  ...[0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f],
];

/** Every access exits. `at`: offset of the page in `bytes`. */
export function interceptAllPorts(bytes: Uint8Array, at: number): void {
  bytes.fill(0xff, at, at + PAGE);
}

/**
 * Every MSR exits but a virtual CPU's own.
 *
 * @param passesEoi exitless completion: the guest may write the physical x2APIC's EOI register, and that alone
 */
export function interceptMsrs(bytes: Uint8Array, at: number, passesEoi: boolean): void {
  bytes.fill(0xff, at, at + PAGE);
  const pass = (msr: number, offset: number): void => {
    const bit = msr & 0x1fff;
    bytes[at + offset + (msr >= FIRST_HIGH_MSR ? HIGH_MSRS : 0) + (bit >> 3)]! &= ~(1 << (bit & 7));
  };
  for (const msr of OWN_MSRS) {
    pass(msr, 0);
    pass(msr, WRITES);
  }
  if (passesEoi) pass(X2APIC_EOI, WRITES);
}
