/** Mode parameters of a disk: SPC-4, "Mode parameters"; SBC-3, "Caching mode page". The write cache alone can be changed. */
import { be16, putBe } from "./cdb.ts";
import * as spec from "./spec.ts";

/** Of a disk's state. */
export interface ModeState {
  writeCache: number;
}

/** Page control of MODE SENSE. */
const CHANGEABLE = 1;
const DEFAULT = 2;
const SAVED = 3;
const DISABLE_BLOCK_DESCRIPTORS = 1 << 3;
const BLOCK_DESCRIPTOR_BYTES = 8;

/** What MODE SENSE returns, or the additional sense code of why not. */
export function modeSense(
  cdb: Uint8Array,
  state: ModeState,
  disk: { readonly sectors: number; readonly readOnly: boolean },
): Uint8Array | number {
  const isLong = cdb[0] === spec.MODE_SENSE_10;
  const control = cdb[2]! >> 6;
  const code = cdb[2]! & 0x3f;
  const subpage = cdb[3]!;
  if (control === SAVED) return spec.SAVING_PARAMETERS_NOT_SUPPORTED;
  const known = code === spec.PAGE_CACHING || code === spec.PAGE_CONTROL || code === spec.PAGE_ALL;
  if (!known || (subpage !== 0 && !(code === spec.PAGE_ALL && subpage === 0xff)))
    return spec.INVALID_FIELD_IN_CDB;
  const pages: number[] = [];
  if (code === spec.PAGE_CACHING || code === spec.PAGE_ALL) pages.push(...cachingPage(control, state));
  if (code === spec.PAGE_CONTROL || code === spec.PAGE_ALL) pages.push(...controlPage());
  const descriptor = cdb[1]! & DISABLE_BLOCK_DESCRIPTORS ? 0 : BLOCK_DESCRIPTOR_BYTES;
  const header = isLong ? 8 : 4;
  const data = new Uint8Array(header + descriptor + pages.length);
  const specific = (disk.readOnly ? spec.MODE_WP : 0) | spec.MODE_DPOFUA;
  if (isLong) {
    putBe(data, 0, 2, data.length - 2);
    data[3] = specific;
    putBe(data, 6, 2, descriptor);
  } else {
    data[0] = data.length - 1;
    data[2] = specific;
    data[3] = descriptor;
  }
  if (descriptor > 0) {
    putBe(data, header, 4, Math.min(0xffffffff, disk.sectors));
    putBe(data, header + 5, 3, 512);
  }
  data.set(pages, header + descriptor);
  return data;
}

function cachingPage(control: number, { writeCache }: ModeState): number[] {
  const page = new Array<number>(20).fill(0);
  page[0] = spec.PAGE_CACHING;
  page[1] = page.length - 2;
  const isOn = control === CHANGEABLE || control === DEFAULT || writeCache !== 0;
  page[2] = isOn ? spec.CACHING_WCE : 0;
  return page;
}

function controlPage(): number[] {
  return [spec.PAGE_CONTROL, 10, ...new Array<number>(10).fill(0)];
}

/** Takes a MODE SELECT parameter list; returns the additional sense code of what is wrong with it, or 0. */
export function modeSelect(list: Uint8Array, isLong: boolean, state: ModeState): number {
  const header = isLong ? 8 : 4;
  // An empty list changes nothing.
  if (list.length === 0) return 0;
  if (list.length < header) return spec.PARAMETER_LIST_LENGTH_ERROR;
  const descriptors = isLong ? be16(list, 6) : list[3]!;
  let at = header + descriptors;
  let { writeCache } = state;
  while (at < list.length) {
    const length = 2 + (list[at + 1] ?? 0);
    if (at + length > list.length) return spec.PARAMETER_LIST_LENGTH_ERROR;
    const code = list[at]! & 0x7f;
    if (code === spec.PAGE_CACHING && length === 20) writeCache = list[at + 2]! & spec.CACHING_WCE ? 1 : 0;
    else if (code !== spec.PAGE_CONTROL) return spec.INVALID_FIELD_IN_PARAMETER_LIST;
    at += length;
  }
  state.writeCache = writeCache;
  return 0;
}
