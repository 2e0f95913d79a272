/**
 * The kernel inside a bzImage, unpacked by the host: Linux kernel documentation, "The Linux/x86 Boot Protocol", fields
 * payload_offset and payload_length. It is the ELF file that the PVH protocol wants, and it spares the guest the unpacking.
 */
import { gunzipSync } from "node:zlib";
import type { ImageFile } from "../read-image.ts";
import { hex } from "./image-error.ts";
import { isLz4, unpackLz4 } from "./lz4.ts";
import { ImageReader } from "./reader.ts";

const SETUP_SECTS = 0x1f1;
const VERSION = 0x206;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const VERSION_2_08 = 0x208;
const SECTOR = 512;
const DEFAULT_SETUP_SECTS = 4;
/** No kernel that fits in the machine's RAM unpacks to more. */
const LONGEST = 512 << 20;

const GZIP = 0x8b1f;
const OTHERS: Readonly<Record<number, string>> = {
  0x37fd: "XZ",
  0x5a42: "bzip2",
  0x005d: "LZMA",
  0x4c89: "LZO",
  0xb528: "Zstandard",
};

/**
 * Unpacks a bzImage's payload.
 * @throws ImageError when there is none, it is damaged, or packed in a way that is not known here
 */
export function unpackLinuxPayload(file: ImageFile): ImageFile {
  const reader = new ImageReader(file);
  if (reader.u16(VERSION, "version") < VERSION_2_08)
    throw reader.error(
      "kernel payload",
      "version",
      "protocols before 2.08 do not say where it is",
      "use the bzImage itself",
    );
  const setup = (reader.u8(SETUP_SECTS, "setup_sects") || DEFAULT_SETUP_SECTS) + 1;
  const start = setup * SECTOR + reader.u32(PAYLOAD_OFFSET, "payload_offset");
  const length = reader.u32(PAYLOAD_LENGTH, "payload_length");
  const payload = reader.bytes(start, length, "kernel payload");
  const damaged = (why: string): Error =>
    reader.error("kernel payload", `${hex(start)}, ${length} bytes`, why, "use an undamaged kernel");
  if (payload.length < 8) throw damaged("it is too short");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  // The packed data is followed by the length that it unpacks to.
  const unpackedLength = view.getUint32(payload.length - 4, true);
  if (unpackedLength > LONGEST) throw damaged(`it says that it unpacks to ${unpackedLength} bytes`);
  const packed = payload.subarray(0, payload.length - 4);
  const bytes = isLz4(packed)
    ? unpackLz4(packed, unpackedLength)
    : view.getUint16(0, true) === GZIP
      ? gunzip(packed, unpackedLength)
      : unknown(view.getUint16(0, true));
  if (bytes?.length !== unpackedLength) throw damaged("it does not unpack");
  return { ...file, bytes };

  function unknown(magic: number): never {
    throw reader.error(
      "kernel payload",
      hex(start),
      `it is packed with ${OTHERS[magic] ?? `something unknown (magic ${hex(magic)})`}; gzip and LZ4 can be unpacked here`,
      "unpack it with Linux's scripts/extract-vmlinux, or boot the bzImage itself (--protocol linux)",
    );
  }
}

function gunzip(packed: Uint8Array, length: number): Uint8Array | undefined {
  try {
    return gunzipSync(packed, { maxOutputLength: length + 1 });
  } catch {
    return undefined;
  }
}
