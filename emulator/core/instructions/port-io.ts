/** IN, OUT, INS, OUTS: permission by IOPL and the TSS bitmap, VM exits, then the board. SDM Vol. 1, "Input/Output". */
import { FLAG_VM } from "../spec/architecture";
import { CPU, RAX, RDI, RDX, RSI, TR, cpu, getGpr, setGprSized } from "../state/cpu";
import { isProtected, segBase, segLimit, segRights } from "../state/mode";
import { Linear, System } from "../mmu/linear";
import { readPort, writePort } from "../mmu/bus";
import { faultPending, raiseGp } from "../interrupts/raise";
import { notePortAccess } from "../interrupts/debug";
import { exitOnPort } from "../vmx/io-exits";
import { StringPort } from "./string";

/** SDM Vol. 1, "I/O Permission Bit Map". False with #GP(0) recorded. */
export function isPortAllowed(port: u32, size: u32): bool {
  const iopl = (<u32>(cpu.rflags >> 12)) & 3;
  if (!isProtected() || ((cpu.rflags & FLAG_VM) == 0 && cpu.cpl <= iopl)) return true;
  const limit = segLimit(TR);
  // Only a 32- or 64-bit TSS has a map.
  if ((segRights(TR) & 8) != 0 && limit >= 0x67) {
    const map = <u32>System.read<u16>(segBase(TR) + 0x66);
    if (faultPending()) return false;
    const at = map + (port >> 3);
    if (at + 1 <= limit) {
      const bits = <u32>System.read<u16>(segBase(TR) + at);
      if (faultPending()) return false;
      if (((bits >> (port & 7)) & ((1 << size) - 1)) == 0) return true;
    }
  }
  raiseGp();
  return false;
}

export function portIn<T>(record: usize, port: u32, isImmediate: bool): void {
  if (!isPortAllowed(port, <u32>sizeof<T>())) return;
  if (exitOnPort(record, port, <u32>sizeof<T>(), true, false, isImmediate)) return;
  const value = readPort(port, <u32>sizeof<T>());
  if (faultPending()) return;
  notePortAccess(port, <u32>sizeof<T>());
  setGprSized(RAX, <u32>sizeof<T>(), <u64>value);
}

export function portOut<T>(record: usize, port: u32, isImmediate: bool): void {
  if (!isPortAllowed(port, <u32>sizeof<T>())) return;
  if (exitOnPort(record, port, <u32>sizeof<T>(), false, false, isImmediate)) return;
  if (writePort(port, <u32>sizeof<T>(), <u32>load<T>(CPU))) notePortAccess(port, <u32>sizeof<T>());
}

export function ins<T>(record: usize): void {
  const size = <u32>sizeof<T>();
  const port = (<u32>getGpr(RDX)) & 0xffff;
  if (!isPortAllowed(port, size)) return;
  const allowed = StringPort.allowed(record);
  if (allowed != 0 && exitOnPort(record, port, size, true, true, false)) return;
  const generation = cpu.jumpGeneration;
  let done: u64 = 0;
  // What has written to code is decoded again before it goes on.
  while (done < allowed && cpu.jumpGeneration == generation) {
    // The destination is checked before the port is read: a read may have an effect.
    const at = Linear.storable<T>(StringPort.destination(record, size));
    if (at == 0) break;
    const first = cpu.slowPhysical;
    const second = cpu.slowPhysical2;
    const length = cpu.slowSize;
    const length1 = cpu.slowSize1;
    const value = readPort(port, size);
    if (faultPending()) break;
    notePortAccess(port, size);
    cpu.slowPhysical = first;
    cpu.slowPhysical2 = second;
    cpu.slowSize = length;
    cpu.slowSize1 = length1;
    store<T>(at, <T>value);
    Linear.commit(at);
    if (faultPending()) break;
    StringPort.advance(record, RDI, sizeof<T>());
    done++;
  }
  StringPort.finish(record, done);
}

export function outs<T>(record: usize): void {
  const size = <u32>sizeof<T>();
  const port = (<u32>getGpr(RDX)) & 0xffff;
  if (!isPortAllowed(port, size)) return;
  const allowed = StringPort.allowed(record);
  if (allowed != 0 && exitOnPort(record, port, size, false, true, false)) return;
  let done: u64 = 0;
  while (done < allowed) {
    const at = Linear.readable<T>(StringPort.source(record, size));
    if (at == 0) break;
    if (!writePort(port, size, <u32>load<T>(at))) break;
    notePortAccess(port, size);
    StringPort.advance(record, RSI, sizeof<T>());
    done++;
  }
  StringPort.finish(record, done);
}
