/**
 * A virtio device whose queues somebody else may serve: requests are started, finished when due, and signalled, each on a thread
 * and at a time of the owner's choice.
 */
import type { Resettable } from "../ports.ts";
import type { VirtioPci } from "./transport-pci.ts";

/** Who serves the queues, if not the device itself. Set while building; must not block. */
export interface VirtioService {
  /** The driver notified queue `queue`. The owner calls `serveQueue` now or later. */
  notified(queue: number): void;
}

export interface ServedVirtio extends Resettable {
  readonly transport: VirtioPci;
  readonly queueCount: number;
  /** Requests started and not finished. */
  readonly inFlight: number;
  /** When the next request in flight is due, or `undefined`. */
  readonly nextDue: number | undefined;
  /** Hands the queues to `service`; the device then starts and finishes nothing by itself. */
  setService(service: VirtioService | undefined): void;
  /** True when queue `queue` has chains that nobody started yet. */
  hasWork(queue: number): boolean;
  /**
   * Starts up to `budget` waiting requests of a queue.
   * @returns how many were started. Fewer than waiting when the budget is used up, or when the device has no room: then serve
   * again after a completion.
   */
  serveQueue(queue: number, budget: number): number;
  /** Finishes every request due by cycle `now`, in order of time. @returns how many. */
  completeDue(now: number): number;
  /** Signals every queue with completions that were not signalled yet. @returns how many interrupts were sent. */
  signalCompleted(): number;
  /** See `Virtqueue.setNotificationsEnabled`. */
  setNotificationsEnabled(queue: number, on: boolean): boolean;
}
