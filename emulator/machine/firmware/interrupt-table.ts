/**
 * The real-mode interrupt table and its handlers, at the addresses where the AT BIOS has them.
 *
 * Hardware interrupts are ended as the 8259 pair wants it, the timer's counts the ticks of the day; every other vector
 * returns. No BIOS service is provided.
 *
 * IBM, "Personal Computer AT Technical Reference", BIOS listing.
 */
import { TableWriter } from "../table-writer.ts";
import { MASTER_VECTOR, SLAVE_VECTOR } from "./legacy-interrupts.ts";

const SEGMENT = 0xf000;
const TIMER = { at: 0xfea5, vector: MASTER_VECTOR };
/** One after the other behind IBM's entry for unexpected hardware interrupts. */
const MASTER_AT = 0xff23;
const SLAVE_AT = 0xff2a;
const RETURN_AT = 0xff53;
const IRQS_PER_CHIP = 8;

/** BDA: ticks since midnight (32 bits) and a flag that midnight has passed. */
const TICKS = 0x6c;
const OVERFLOW = 0x70;
const TICKS_PER_DAY = 0x1800b0;

// prettier-ignore
const TIMER_CODE = Uint8Array.of(
  0x1e,                                     // push ds
  0x50,                                     // push ax
  0xb8, 0x40, 0x00,                         // mov ax, 40h
  0x8e, 0xd8,                               // mov ds, ax
  0x66, 0xff, 0x06, TICKS, 0x00,            // inc dword [ticks]
  0x66, 0x81, 0x3e, TICKS, 0x00, TICKS_PER_DAY & 0xff, (TICKS_PER_DAY >> 8) & 0xff, TICKS_PER_DAY >> 16, 0, // cmp dword [ticks], a day
  0x72, 0x0e,                               // jb tick
  0x66, 0xc7, 0x06, TICKS, 0x00, 0, 0, 0, 0, // mov dword [ticks], 0
  0xc6, 0x06, OVERFLOW, 0x00, 0x01,         // mov byte [overflow], 1
  0xcd, 0x1c,                               // tick: int 1ch
  0xb0, 0x20,                               // mov al, 20h
  0xe6, 0x20,                               // out 20h, al
  0x58,                                     // pop ax
  0x1f,                                     // pop ds
  0xcf,                                     // iret
);
// prettier-ignore
const MASTER_CODE = Uint8Array.of(
  0x50,       // push ax
  0xb0, 0x20, // mov al, 20h
  0xe6, 0x20, // out 20h, al
  0x58,       // pop ax
  0xcf,       // iret
);
// prettier-ignore
const SLAVE_CODE = Uint8Array.of(
  0x50,       // push ax
  0xb0, 0x20, // mov al, 20h
  0xe6, 0xa0, // out 0a0h, al
  0xe6, 0x20, // out 20h, al
  0x58,       // pop ax
  0xcf,       // iret
);
const RETURN_CODE = Uint8Array.of(0xcf); // iret

/** Physical addresses and bytes of the handlers. */
export const INTERRUPT_HANDLERS: readonly (readonly [physical: number, code: Uint8Array])[] = [
  [(SEGMENT << 4) + TIMER.at, TIMER_CODE],
  [(SEGMENT << 4) + MASTER_AT, MASTER_CODE],
  [(SEGMENT << 4) + SLAVE_AT, SLAVE_CODE],
  [(SEGMENT << 4) + RETURN_AT, RETURN_CODE],
];

function handlerOf(vector: number): number {
  if (vector === TIMER.vector) return TIMER.at;
  if (vector > MASTER_VECTOR && vector < MASTER_VECTOR + IRQS_PER_CHIP) return MASTER_AT;
  if (vector >= SLAVE_VECTOR && vector < SLAVE_VECTOR + IRQS_PER_CHIP) return SLAVE_AT;
  return RETURN_AT;
}

/** The 256 vectors, for physical address 0. */
export function interruptTable(): Uint8Array {
  const table = new TableWriter(4 * 256);
  for (let vector = 0; vector < 256; vector++)
    table.u16(4 * vector, handlerOf(vector)).u16(4 * vector + 2, SEGMENT);
  return table.bytes;
}
