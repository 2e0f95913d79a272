/**
 * Who serves the requests of a VM's disks, and when: the threads of the request paths.
 *
 * `user`: virtio data on the main-loop thread of the user process; `in-vmm`: on a device-emulation thread in the
 * hypervisor; `poll`: as `in-vmm`, with a thread that watches the queues, so that no notification is ever needed.
 */
import type { DeviceContext, Timer } from "../devices/ports.ts";
import type { ServedVirtio } from "../devices/virtio/served.ts";
import type { Board } from "../emulator/machine/board.ts";
import type { ChargeName } from "../emulator/machine/cost-profile.ts";
import { HostThread, PollThread } from "./host-thread.ts";

export type RequestPath = "user" | "in-vmm" | "poll";

export interface RequestPathsOptions {
  readonly label: string;
  readonly board: Board;
  readonly path: RequestPath;
  readonly costs: Readonly<Record<ChargeName, number>>;
}

/** A queue's device and the task that serves it. */
interface Served {
  readonly device: ServedVirtio;
  readonly serveTask: number;
}

export class RequestPaths {
  /** The user process's main loop, or the hypervisor's device-emulation thread: whoever moves disk data. */
  readonly ioThread: HostThread;
  /** For disks: their timers are completions, which `ioThread` handles. */
  readonly diskContext: DeviceContext;
  readonly #label: string;
  readonly #board: Board;
  readonly #path: RequestPath;
  readonly #costs: Readonly<Record<ChargeName, number>>;
  #pollThread: PollThread | undefined;
  #devices: readonly ServedVirtio[] = [];
  #actingThread: HostThread | PollThread | undefined;

  constructor({ label, board, path, costs }: RequestPathsOptions) {
    this.#label = label;
    this.#board = board;
    this.#path = path;
    this.#costs = costs;
    this.ioThread = new HostThread(board.allocator, {
      label: `${label} ${path === "user" ? "main loop" : "device emulation"}`,
      now: () => board.clock.now(),
      woken: (time) => board.woken(time),
      isParallel: board.lock !== undefined,
      wakeCycles: path === "poll" ? costs.queueHandOff : costs.threadWake,
    });
    this.diskContext = this.#diskContext();
  }

  /** With path `poll`, once the devices are wired. */
  get pollThread(): PollThread | undefined {
    return this.#pollThread;
  }

  /** Charges the host thread that acts now, if one does. */
  chargeActing(cycles: number): void {
    this.#actingThread?.charge(cycles);
  }

  /** Timers of disks are completions of the physical disk: the I/O thread, not the event, does what they ask. */
  #diskContext(): DeviceContext {
    const { context } = this.#board;
    return {
      state: context.state,
      clock: context.clock,
      timer: (label, fire) => {
        const task = this.ioThread.addTask({
          label,
          run: (thread) => {
            this.#onThread(thread, () => {
              thread.charge(this.#costs.completionHandling);
              if (this.#path === "user") thread.charge(this.#costs.userModeHop);
              fire();
            });
          },
        });
        return context.timer(label, () => this.ioThread.post(task));
      },
    };
  }

  #onThread(thread: HostThread | PollThread, act: () => void): void {
    const before = this.#actingThread;
    this.#actingThread = thread;
    act();
    this.#actingThread = before;
  }

  /** Wires the virtio devices to who serves them. */
  wire(devices: readonly ServedVirtio[]): void {
    const board = this.#board;
    this.#devices = devices;
    const served = devices.map((device, index): Served => {
      const completions = board.events.timer(`${this.#label} virtio ${index} disk`, () =>
        this.ioThread.post(completeTask),
      );
      const serve = (thread: HostThread): void => {
        this.#onThread(thread, () => {
          for (let queue = 0; queue < device.queueCount; queue++) {
            let started = 0;
            while (device.hasWork(queue)) {
              const now = device.serveQueue(queue, 64);
              if (now === 0) break;
              started += now;
            }
            thread.charge(started * this.#costs.requestHandling);
          }
          if (this.#path === "user") thread.charge(this.#costs.userModeHop);
          armFor(device, completions);
        });
      };
      const complete = (thread: HostThread): void => {
        this.#onThread(thread, () => {
          thread.charge(this.#costs.completionHandling);
          if (this.#path === "user") thread.charge(this.#costs.userModeHop);
          device.completeDue(board.clock.now());
          device.signalCompleted();
          // Requests that found the in-flight table full go on now.
          for (let queue = 0; queue < device.queueCount; queue++)
            if (device.hasWork(queue) && this.#path !== "poll") serve(thread);
          armFor(device, completions);
        });
      };
      const serveTask = this.ioThread.addTask({ label: `virtio ${index} requests`, run: serve });
      const completeTask: number = this.ioThread.addTask({
        label: `virtio ${index} completions`,
        run: complete,
      });
      device.setService({
        notified: () => {
          if (this.#path !== "poll") this.ioThread.post(serveTask);
          else if (device.transport.isQueueLive(0)) this.ioThread.post(serveTask);
        },
      });
      return { device, serveTask };
    });
    if (this.#path !== "poll") return;
    this.#pollThread = new PollThread(board.allocator, {
      label: `${this.#label} polling`,
      iterationCycles: this.#costs.pollIteration,
      woken: (time) => board.woken(time),
      poll: (thread) => this.#poll(thread, served),
      peek: () => this.#mayHaveRequests(served),
    });
  }

  /** One look at every queue: hands those with requests to the emulation thread. */
  #poll(thread: PollThread, devices: readonly Served[]): boolean {
    let found = false;
    for (const { device, serveTask } of devices)
      for (let queue = 0; queue < device.queueCount; queue++) {
        if (!device.transport.isQueueLive(queue)) continue;
        // No notification, ever: asked for at each look, since the driver may have set the queue up again.
        device.setNotificationsEnabled(queue, false);
        if (!device.hasWork(queue) || this.ioThread.isPosted(serveTask)) continue;
        thread.charge(this.#costs.queueHandOff);
        this.#onThread(thread, () => this.ioThread.post(serveTask));
        found = true;
      }
    return found;
  }

  /** Without a lock: what it reads may be old, which the next look or `#poll` puts right. */
  #mayHaveRequests(devices: readonly Served[]): boolean {
    for (const { device, serveTask } of devices) {
      if (this.ioThread.isPosted(serveTask)) continue;
      for (let queue = 0; queue < device.queueCount; queue++) if (device.hasWork(queue)) return true;
    }
    return false;
  }

  /**
   * Parallel mode: a queue that has just become live is polled from then on, so the driver is told at once not to notify;
   * the polling thread's next look might come after the first request.
   */
  silenceQueues(): void {
    if (this.#path !== "poll" || this.#board.lock === undefined) return;
    for (const device of this.#devices)
      for (let queue = 0; queue < device.queueCount; queue++) device.setNotificationsEnabled(queue, false);
  }

  /** A virtual CPU is about to run: the polling thread has something to watch again. */
  entering(): void {
    const pollThread = this.#pollThread;
    if (pollThread === undefined || this.#board.lock !== undefined || !pollThread.isIdle()) return;
    pollThread.unpark(this.#board.clock.now());
  }
}

/** Arms a timer for a device's next completion. */
function armFor(device: ServedVirtio, timer: Timer): void {
  const due = device.nextDue;
  if (due === undefined) timer.disarm();
  else timer.arm(due);
}
