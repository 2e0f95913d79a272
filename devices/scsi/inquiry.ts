/** INQUIRY data of a disk: SPC-4, "Standard INQUIRY data" and "Vital product data parameters"; SBC-3 for the pages of disks. */
import { putBe } from "./cdb.ts";
import * as spec from "./spec.ts";

export interface DiskIdentity {
  /** Up to 20 ASCII characters. */
  readonly serial: string;
  readonly product: string;
}

const VENDOR = "EXITLESS";

function putText(into: Uint8Array, at: number, bytes: number, text: string): void {
  for (let i = 0; i < bytes; i++) into[at + i] = i < text.length ? text.charCodeAt(i) & 0x7f : 0x20;
}

/** Standard INQUIRY data; of no disk, when no logical unit is there. */
export function standardInquiry(identity: DiskIdentity | undefined): Uint8Array {
  const data = new Uint8Array(spec.STANDARD_INQUIRY_BYTES);
  data[0] = identity === undefined ? spec.NO_LOGICAL_UNIT : 0x00;
  data[2] = 0x06; // SPC-4
  data[3] = 0x12; // hierarchical addressing; response format 2
  data[4] = spec.STANDARD_INQUIRY_BYTES - 5;
  data[7] = 0x02; // command queuing
  putText(data, 8, 8, VENDOR);
  putText(data, 16, 16, identity?.product ?? "");
  putText(data, 32, 4, "1.0");
  return data;
}

/** A page of vital product data; `undefined` when there is none of that code. */
export function vitalProductData(code: number, identity: DiskIdentity): Uint8Array | undefined {
  const page = PAGES.get(code)?.(identity);
  if (page === undefined) return undefined;
  const data = new Uint8Array(4 + page.length);
  data[1] = code;
  putBe(data, 2, 2, page.length);
  data.set(page, 4);
  return data;
}

const PAGES: ReadonlyMap<number, (identity: DiskIdentity) => Uint8Array> = new Map<
  number,
  (identity: DiskIdentity) => Uint8Array
>([
  [spec.VPD_SUPPORTED_PAGES, () => Uint8Array.from([...PAGES.keys()])],
  [spec.VPD_UNIT_SERIAL_NUMBER, ({ serial }) => Uint8Array.from(serial, (c) => c.charCodeAt(0) & 0x7f)],
  [spec.VPD_DEVICE_IDENTIFICATION, deviceIdentification],
  [spec.VPD_BLOCK_LIMITS, blockLimits],
  [
    spec.VPD_BLOCK_DEVICE_CHARACTERISTICS,
    () => {
      const page = new Uint8Array(60);
      page[1] = 1; // medium rotation rate: non-rotating
      return page;
    },
  ],
  // UNMAP, WRITE SAME (16) and (10) with UNMAP; what was unmapped reads as zeroes; thin provisioning.
  [spec.VPD_LOGICAL_BLOCK_PROVISIONING, () => Uint8Array.of(0, 0xe4, 0x02, 0)],
]);

/** One designator of the logical unit: T10 vendor ID, with the serial number. */
function deviceIdentification({ serial }: DiskIdentity): Uint8Array {
  const page = new Uint8Array(4 + 8 + serial.length);
  page.set([0x02, 0x01, 0, 8 + serial.length]); // ASCII; logical unit, T10 vendor ID
  putText(page, 4, 8, VENDOR);
  putText(page, 12, serial.length, serial);
  return page;
}

function blockLimits(): Uint8Array {
  const page = new Uint8Array(60);
  page[0] = 1; // WRITE SAME needs a length
  putBe(page, 2, 2, 8); // optimal granularity: 4 KiB
  putBe(page, 4, 4, spec.MOST_TRANSFER_BLOCKS);
  putBe(page, 16, 4, spec.MOST_UNMAP_BLOCKS);
  putBe(page, 20, 4, spec.MOST_UNMAP_DESCRIPTORS);
  putBe(page, 24, 4, 1); // optimal unmap granularity
  putBe(page, 32, 8, spec.MOST_UNMAP_BLOCKS); // WRITE SAME
  return page;
}
