/**
 * What lies outside RAM: the CPU's own local APIC, and the board behind two imports.
 *
 * The exchange is through the CPU block (ioAddress, ioSize, ioValue, ioWrite); an import returns 0 when the
 * access is done and 1 when it must be made again later (another thread holds the device's lock).
 */
import { memoryAccess, portAccess } from "../env";
import { cpu } from "../state/cpu";
import { mustWait } from "../state/clock";
import { FAULT_RETRY, raise } from "../interrupts/raise";
import { APIC_ACCESS, readApicAccessPage, writeApicAccessPage } from "../vmx/virtual-apic";
import { APIC_BASE_ENABLE, APIC_BASE_X2APIC, apicRead, apicWrite } from "../interrupts/local-apic";

const APIC_PAGE: u64 = 0xffffff000;

function isOwnApic(physical: u64): bool {
  const base = cpu.apicBase;
  return (
    (base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE &&
    (physical & ~(<u64>0xfff)) == (base & APIC_PAGE)
  );
}

/**
 * Reads 1, 2, 4, 8, 16 or 32 bytes outside RAM to `into`; the last two as accesses of 8 bytes. False: the access must be made again.
 */
export function readBus(physical: u64, size: u32, into: usize): bool {
  if (size > 8 && (physical & APIC_ACCESS) == 0) {
    for (let i: u32 = 0; i < size; i += 8) if (!readBus(physical + i, 8, into + i)) return false;
    return true;
  }
  if ((physical & APIC_ACCESS) != 0) return readApicAccessPage(physical, size, into);
  if (isOwnApic(physical)) {
    store<u64>(into, <u64>(apicRead((<u32>physical) & 0xff0) >> (((<u32>physical) & 3) << 3)));
    return true;
  }
  cpu.ioGuest = (<u32>(physical >> 52)) & 1;
  cpu.ioAddress = physical & 0xfffffffffffff;
  cpu.ioSize = size;
  cpu.ioWrite = 0;
  if (mustWait()) return false;
  if (memoryAccess() != 0) {
    raise(FAULT_RETRY);
    return false;
  }
  const value = cpu.ioValue;
  if (size == 8) store<u64>(into, value);
  else if (size == 4) store<u32>(into, <u32>value);
  else if (size == 2) store<u16>(into, <u16>value);
  else store<u8>(into, <u8>value);
  return true;
}

/** Writes likewise. */
export function writeBus(physical: u64, size: u32, from: usize): bool {
  if (size > 8) {
    for (let i: u32 = 0; i < size; i += 8) if (!writeBus(physical + i, 8, from + i)) return false;
    return true;
  }
  let value: u64;
  if (size == 8) value = load<u64>(from);
  else if (size == 4) value = load<u32>(from);
  else if (size == 2) value = load<u16>(from);
  else value = load<u8>(from);
  if ((physical & APIC_ACCESS) != 0) {
    writeApicAccessPage(physical, size, value);
    return true;
  }
  if (isOwnApic(physical)) {
    // Registers are 32 bits wide at 16-byte steps; other forms of access are undefined (SDM, "Local APIC").
    if (((<u32>physical) & 0xf) == 0) apicWrite((<u32>physical) & 0xff0, <u32>value);
    return true;
  }
  cpu.ioGuest = (<u32>(physical >> 52)) & 1;
  cpu.ioAddress = physical & 0xfffffffffffff;
  cpu.ioSize = size;
  cpu.ioWrite = 1;
  cpu.ioValue = value;
  if (mustWait()) return false;
  if (memoryAccess() != 0) {
    raise(FAULT_RETRY);
    return false;
  }
  return true;
}

/** IN of 1, 2 or 4 bytes; check `faultPending()` for a retry. */
export function readPort(port: u32, size: u32): u32 {
  cpu.ioAddress = <u64>port;
  cpu.ioSize = size;
  cpu.ioWrite = 0;
  if (mustWait()) return 0;
  if (portAccess() != 0) {
    raise(FAULT_RETRY);
    return 0;
  }
  return <u32>cpu.ioValue;
}

/** OUT. False: the access must be made again. */
export function writePort(port: u32, size: u32, value: u32): bool {
  cpu.ioAddress = <u64>port;
  cpu.ioSize = size;
  cpu.ioWrite = 1;
  cpu.ioValue = <u64>value;
  if (mustWait()) return false;
  if (portAccess() != 0) {
    raise(FAULT_RETRY);
    return false;
  }
  return true;
}
