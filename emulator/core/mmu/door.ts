/** What the host asks of memory: noting writes by devices, and looking through a CPU's paging without effects. */
import { machine } from "../state/cpu";
import { MACHINE_FLAG_CHANGES } from "../layout.generated";
import { noteWrite, noteWriteFromOutside } from "./physical";

/** A device wrote `length` bytes at a RAM offset: code, dirty log and watches are told, page by page. */
export function noteWriteRange(offset: usize, length: u32): void {
  orderStores();
  let at = offset;
  let left = length;
  while (left > 0) {
    const inPage: u32 = 4096 - ((<u32>at) & 0xfff);
    const size = left < inPage ? left : inPage;
    noteWrite(at, size);
    at += size;
    left -= size;
  }
}

/** As `noteWriteRange`, in parallel mode on a thread that runs no CPU: nothing of this instance's CPU is touched. */
export function noteWriteRangeFromOutside(offset: usize, length: u32): void {
  orderStores();
  let at = offset;
  let left = length;
  while (left > 0) {
    const inPage: u32 = 4096 - ((<u32>at) & 0xfff);
    const size = left < inPage ? left : inPage;
    noteWriteFromOutside(at, size);
    at += size;
    left -= size;
  }
}

/**
 * The device's stores come before the look at the page's flags, whose other side is a CPU that sets a flag and then
 * decodes: a full barrier, for which a locked read-modify-write stands (the compiler has no fence).
 */
function orderStores(): void {
  if (machine.parallel != 0) atomic.add<u64>(changetype<usize>(machine) + MACHINE_FLAG_CHANGES, 0);
}
