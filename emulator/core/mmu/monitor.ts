/**
 * Monitored lines: what MONITOR arms and a write ends. SDM Vol. 3A, "MONITOR/MWAIT Instruction".
 *
 * The page of a monitored line is PAGE_WATCHED, so that no CPU has a fast write entry for it and every write, by a CPU or a device,
 * comes by `noteWrite` and from there here. A CPU whose line was written has `Cpu.monitored` 0; if it waits, the host
 * wakes it. On one thread a page is watched as long as a line in it is monitored. In parallel mode it stays watched: whoever
 * comes back to fast writes while another is in the middle of a slow locked access would undo it.
 */
import { monitoredLineWritten } from "../env";
import { CPU_ACTIVITY, CPU_MONITORED } from "../layout.generated";
import { CPU, MWAITING, machine } from "../state/cpu";
import { blockOfCpu, dropWriteEntries, shootDown } from "../records/block-cache";
import { PAGE_WATCHED, PAGE_WATCH_SEEN, pageInfoAt } from "./physical";

/** Bytes of a monitored line, as CPUID leaf 5 says. */
export const MONITOR_LINE: u32 = 64;

const PAGE_FLAGS: usize = 8;

/** Monitors the line of a RAM offset, and no other. Writes that other CPUs begin after this has returned are seen. */
export function armMonitor(host: usize): void {
  disarmMonitor();
  atomic.store<u32>(CPU + CPU_MONITORED, <u32>(host & ~(<usize>(MONITOR_LINE - 1))));
  const flags = pageInfoAt(host) + PAGE_FLAGS;
  const before = atomic.or<u32>(flags, PAGE_WATCHED);
  if (machine.parallel == 0) {
    if ((before & PAGE_WATCHED) != 0) return;
    for (let id: u32 = 0; id < machine.cpuCount; id++) dropWriteEntries(blockOfCpu(id), <u32>host);
  } else if ((before & PAGE_WATCH_SEEN) == 0) {
    dropWriteEntries(CPU, <u32>host);
    shootDown();
    // From now on no CPU has a fast entry for the page: the next MONITOR need not ask.
    atomic.or<u32>(flags, PAGE_WATCH_SEEN);
  }
}

/** Ends this CPU's monitoring. */
export function disarmMonitor(): void {
  const line = <usize>atomic.xchg<u32>(CPU + CPU_MONITORED, 0);
  if (line != 0) unwatch(line);
}

/** On one thread: the page is watched no longer when nobody monitors a line in it. */
function unwatch(host: usize): void {
  if (machine.parallel != 0) return;
  for (let id: u32 = 0; id < machine.cpuCount; id++) {
    const line = <usize>load<u32>(blockOfCpu(id) + CPU_MONITORED);
    if (line != 0 && line >> 12 == host >> 12) return;
  }
  const flags = pageInfoAt(host) + PAGE_FLAGS;
  store<u32>(flags, load<u32>(flags) & ~PAGE_WATCHED);
}

/** `size` bytes of a watched page have been written: ends the monitoring of their lines, and the waiting of CPUs for that. */
export function noteWatchedWrite(offset: usize, size: u32): void {
  let ended = false;
  for (let id: u32 = 0; id < machine.cpuCount; id++) {
    const block = blockOfCpu(id);
    const line = <usize>atomic.load<u32>(block + CPU_MONITORED);
    if (line == 0 || offset >= line + <usize>MONITOR_LINE || offset + <usize>size <= line) continue;
    atomic.store<u32>(block + CPU_MONITORED, 0);
    ended = true;
    // In parallel mode it may be about to wait.
    if (machine.parallel != 0 || load<u32>(block + CPU_ACTIVITY) == MWAITING) monitoredLineWritten(id);
  }
  if (ended) unwatch(offset);
}
