/**
 * A virtio device whose requests take time: they are started, wait in the in-flight table, and finish when due, served by the device
 * itself with a timer or by whoever has taken its queues. Which requests there are, and what they do, is the device's own.
 */
import type { PciFunction } from "../pci/config-space.ts";
import type { Clock, DeviceContext, Timer } from "../ports.ts";
import { InFlightTable, type InFlightRequest, type InFlightState } from "./in-flight.ts";
import { DescriptorChain } from "./queue.ts";
import type { ServedVirtio, VirtioService } from "./served.ts";
import type { VirtioPci } from "./transport-pci.ts";

export abstract class TimedRequests<R extends InFlightRequest> implements ServedVirtio {
  abstract readonly transport: VirtioPci;
  abstract readonly pci: PciFunction;
  protected readonly requests: InFlightTable<R>;
  protected readonly clock: Clock;
  /** Scratch, valid inside one call only. */
  protected readonly chain = new DescriptorChain();
  readonly #timer: Timer;
  #service: VirtioService | undefined;

  protected constructor(context: DeviceContext, label: string, table: InFlightState<R>) {
    this.clock = context.clock;
    this.requests = new InFlightTable(table);
    this.#timer = context.timer(`${label} completion`, () => this.#timerFired());
  }

  /** See `ServedVirtio.serveQueue`. What the budget or a full table leaves over is marked by the queue's `servePending`. */
  abstract serveQueue(queue: number, budget: number): number;

  /** Finishes a request that is due, and takes it out of the table. */
  protected abstract finish(request: R): void;

  reset(): void {
    this.transport.reset();
  }

  setService(service: VirtioService | undefined): void {
    this.#service = service;
  }

  get queueCount(): number {
    return this.transport.queues.length;
  }

  get inFlight(): number {
    return this.requests.count;
  }

  get nextDue(): number | undefined {
    return this.requests.earliest()?.completeAt;
  }

  hasWork(queue: number): boolean {
    return this.transport.isQueueLive(queue) && this.transport.queues[queue]!.waiting !== 0;
  }

  completeDue(now: number): number {
    let finished = 0;
    for (;;) {
      const request = this.requests.earliest(now);
      if (request === undefined) return finished;
      this.finish(request);
      finished++;
    }
  }

  signalCompleted(): number {
    let sent = 0;
    this.transport.queues.forEach((queue, index) => {
      if (queue.state.signalPending === 0 || !this.transport.isQueueLive(index)) return;
      if (this.transport.signalQueue(index)) sent++;
    });
    return sent;
  }

  setNotificationsEnabled(queue: number, on: boolean): boolean {
    return this.transport.isQueueLive(queue) && this.transport.queues[queue]!.setNotificationsEnabled(on);
  }

  /** The driver has notified a queue (VirtioDeviceType). */
  notified(queue: number): void {
    if (this.#service !== undefined) {
      this.#service.notified(queue);
      return;
    }
    this.#serveSelf(queue);
    this.#armTimer();
  }

  /** A queue has been reset (VirtioDeviceType): what is in flight on it never happens. Others may have waited for the room that it took. */
  resetQueue(queue: number): void {
    this.requests.forget(queue);
    const service = this.#service;
    if (service === undefined) this.#armTimer();
    else
      this.transport.queues.forEach((other, index) => {
        if (other.state.servePending !== 0) service.notified(index);
      });
  }

  /** Forgets what is in flight: the device has been reset. */
  protected forgetRequests(): void {
    this.requests.clear();
    this.#timer.disarm();
  }

  /** At most a queue's size of chains now, the rest by the timer. */
  #serveSelf(queue: number): void {
    this.serveQueue(queue, this.transport.queues[queue]!.state.size);
  }

  #timerFired(): void {
    this.completeDue(this.clock.now());
    this.signalCompleted();
    this.transport.queues.forEach((queue, index) => {
      if (queue.state.servePending !== 0) this.#serveSelf(index);
    });
    this.#armTimer();
  }

  #armTimer(): void {
    let next = this.nextDue;
    // What waits for room is taken up at the next completion; what only exceeded the bound, as soon as possible.
    if (this.requests.hasRoom(this.chain.addresses.length))
      for (const queue of this.transport.queues) if (queue.state.servePending !== 0) next = this.clock.now();
    if (next === undefined) this.#timer.disarm();
    else this.#timer.arm(next);
  }
}
