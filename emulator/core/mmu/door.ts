/** What the host asks of memory: noting writes by devices, and looking through a CPU's paging without effects. */
import { noteWrite } from "./physical";

/** A device wrote `length` bytes at a RAM offset: code, dirty log and watches are told, page by page. */
export function noteWriteRange(offset: usize, length: u32): void {
  let at = offset;
  let left = length;
  while (left > 0) {
    const inPage: u32 = 4096 - (<u32>at & 0xfff);
    const size = left < inPage ? left : inPage;
    noteWrite(at, size);
    at += size;
    left -= size;
  }
}
