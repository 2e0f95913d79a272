/**
 * Sector addresses in the command block registers: 48-bit, 28-bit, and cylinder/head/sector with the translation
 * that INITIALIZE DEVICE PARAMETERS sets. ANSI INCITS T13, "ATA/ATAPI-6", "Register delivered data transfer
 * command sector addressing".
 */
import * as spec from "./spec.ts";

/** Where a command finds and leaves a sector's address: index 0 holds the present content, 1 the previous one ("HOB"). */
export interface AddressRegisters {
  readonly lbaLow: Uint8Array;
  readonly lbaMid: Uint8Array;
  readonly lbaHigh: Uint8Array;
  /** Translation of cylinder/head/sector addresses. */
  readonly currentHeads: number;
  readonly currentSectorsPerTrack: number;
}

/** The holder of the device register, whose low half is part of an address. */
interface DeviceRegister {
  device: number;
}

/** The sector that the registers address; `undefined` for a CHS address that does not exist. */
export function addressedSector(s: AddressRegisters, device: number, ext: boolean): number | undefined {
  const low24 = (s.lbaHigh[0]! << 16) | (s.lbaMid[0]! << 8) | s.lbaLow[0]!;
  if (ext) return ((s.lbaHigh[1]! << 16) | (s.lbaMid[1]! << 8) | s.lbaLow[1]!) * 2 ** 24 + low24;
  if (device & spec.DEVICE_LBA) return (device & 0x0f) * 2 ** 24 + low24;
  const cylinder = (s.lbaHigh[0]! << 8) | s.lbaMid[0]!;
  const head = device & 0x0f;
  const sector = s.lbaLow[0]!;
  if (sector === 0 || sector > s.currentSectorsPerTrack || head >= s.currentHeads) return undefined;
  return (cylinder * s.currentHeads + head) * s.currentSectorsPerTrack + sector - 1;
}

/** Shows a sector's address in the registers, in the form that the command used. */
export function putAddress(
  s: AddressRegisters & { readonly ext: number },
  channel: DeviceRegister,
  lba: number,
): void {
  if (!s.ext && !(channel.device & spec.DEVICE_LBA)) {
    const track = Math.floor(lba / s.currentSectorsPerTrack);
    const cylinder = Math.floor(track / s.currentHeads);
    s.lbaLow[0] = (lba % s.currentSectorsPerTrack) + 1;
    s.lbaMid[0] = cylinder & 0xff;
    s.lbaHigh[0] = (cylinder >> 8) & 0xff;
    channel.device = (channel.device & 0xf0) | (track % s.currentHeads);
    return;
  }
  s.lbaLow[0] = lba & 0xff;
  s.lbaMid[0] = (lba >>> 8) & 0xff;
  s.lbaHigh[0] = (lba >>> 16) & 0xff;
  const high = Math.floor(lba / 2 ** 24);
  if (s.ext) {
    s.lbaLow[1] = high & 0xff;
    s.lbaMid[1] = (high >> 8) & 0xff;
    s.lbaHigh[1] = (high >> 16) & 0xff;
  } else channel.device = (channel.device & 0xf0) | (high & 0x0f);
}
