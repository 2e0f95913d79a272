/** A look through a guest's paging structures, without effects: for what the hypervisor must find by linear address. */

/** Reads 8 bytes of guest-physical memory; undefined outside RAM. */
export type ReadGuest64 = (guestPhysical: number) => bigint | undefined;

const PRESENT = 1n;
const LARGE = 1n << 7n;
const ADDRESS = 0x000ffffffffff000n;
const CR4_LA57 = 1 << 12;

/**
 * Linear to guest-physical. SDM Vol. 3A, "4-Level Paging and 5-Level Paging". Undefined: not mapped, or a paging mode other
 * than none and these.
 */
export function walkGuest(
  read: ReadGuest64,
  options: { cr0: number; cr3: bigint; cr4: number; efer: bigint },
  linear: bigint,
): number | undefined {
  if ((options.cr0 & 0x80000000) === 0) return Number(linear & 0xffffffffn);
  if ((options.efer & 0x400n) === 0n) return undefined;
  let table = options.cr3 & ADDRESS;
  for (let level = (options.cr4 & CR4_LA57) !== 0 ? 4n : 3n; ; level--) {
    const shift = 12n + 9n * level;
    const entry = read(Number(table + ((linear >> shift) & 511n) * 8n));
    if (entry === undefined || (entry & PRESENT) === 0n) return undefined;
    if (level === 0n || (level < 3n && (entry & LARGE) !== 0n)) {
      const mask = (1n << shift) - 1n;
      return Number((entry & ADDRESS & ~mask) | (linear & mask));
    }
    table = entry & ADDRESS;
  }
}
