/** The host's side of a machine's networks: sockets and callbacks. It lives on the thread that owns the machine. */
import type { HostBackEnd, HostPort } from "../devices/net/host-port.ts";
import { NO_OFFLOAD } from "../devices/net/ethernet.ts";
import { StreamBackEnd } from "../devices/net/stream.ts";
import { UserBackEnd } from "../devices/net/user/back-end.ts";
import type { FrameOffload } from "../devices/ports.ts";
import { OptionError } from "./option-error.ts";
import type { NetdevOptions } from "./netdevs.ts";

/** How the host's side reaches the machine. */
export interface MachineAccess {
  deliver(netdev: number, frame: Uint8Array, offload: FrameOffload): boolean;
  /** Seconds. */
  now(): number;
  arm(netdev: number, seconds: number): void;
}

/**
 * The first cycle by which `seconds` have passed on a clock of that frequency. `cycle / frequencyHz` is never less than `seconds`, though
 * both are rounded: a timer that came a hair too early would find nothing due and be armed for the same cycle, for ever.
 */
export function cycleAt(seconds: number, frequencyHz: number): number {
  const cycle = Math.ceil(seconds * frequencyHz);
  return cycle / frequencyHz < seconds ? cycle + 1 : cycle;
}

/** A netdev of kind `host`: its frames are the library's user's. */
export class FramePort implements HostBackEnd {
  readonly ready = Promise.resolve();
  readonly where = "frames by the library";
  readonly #port: HostPort;
  /** Frames that the guest sends; copied for the callee. */
  onFrame: ((frame: Uint8Array) => void) | undefined;

  constructor(port: HostPort) {
    this.#port = port;
  }

  /** Sends a frame, from the destination address on, to the guest. False when there was no room for it. */
  send(frame: Uint8Array): boolean {
    return this.#port.deliver(frame, NO_OFFLOAD);
  }

  frame(bytes: Uint8Array): void {
    this.onFrame?.(bytes.slice());
  }

  timer(): void {
    return;
  }

  close(): void {
    this.onFrame = undefined;
  }
}

export class HostNetwork {
  readonly #backEnds: readonly (HostBackEnd | undefined)[];
  readonly #netdevs: readonly NetdevOptions[];

  constructor(netdevs: readonly NetdevOptions[], access: MachineAccess) {
    this.#netdevs = netdevs;
    this.#backEnds = netdevs.map((options, index) => {
      const port: HostPort = {
        deliver: (frame, offload) => access.deliver(index, frame, offload),
        now: () => access.now(),
        arm: (seconds) => access.arm(index, seconds),
      };
      switch (options.kind) {
        case "host":
          return new FramePort(port);
        case "stream":
          return new StreamBackEnd(port, options);
        case "user":
          return new UserBackEnd(port, options);
        case "loop":
        case "peer":
          return undefined;
      }
    });
  }

  /** Something outside may send at any time. */
  get reachesOut(): boolean {
    return this.#backEnds.some((backEnd) => backEnd !== undefined && !(backEnd instanceof FramePort));
  }

  /** Resolves when everything that listens does; rejects with OptionError. */
  async ready(): Promise<void> {
    for (const [index, backEnd] of this.#backEnds.entries()) {
      try {
        await backEnd?.ready;
      } catch (error) {
        const { kind, id } = this.#netdevs[index]!;
        throw new OptionError(
          `-netdev ${kind},id=${id}: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
    }
  }

  /** Where each netdev is to be found, one line each. */
  describe(): string[] {
    return this.#backEnds.flatMap((backEnd, index) =>
      backEnd === undefined || backEnd instanceof FramePort || backEnd.where === ""
        ? []
        : [`netdev ${this.#netdevs[index]!.id}: ${backEnd.where}`],
    );
  }

  frame(netdev: number, bytes: Uint8Array, offload: FrameOffload): void {
    this.#backEnds[netdev]?.frame(bytes, offload);
  }

  timer(netdev: number): void {
    this.#backEnds[netdev]?.timer();
  }

  /** The frames of a netdev of kind `host`. Throws RangeError when there is none of that name. */
  port(id: string): FramePort {
    const index = this.#netdevs.findIndex((netdev) => netdev.id === id);
    const backEnd = this.#backEnds[index];
    if (!(backEnd instanceof FramePort)) throw new RangeError(`no netdev of kind host has the id ${id}`);
    return backEnd;
  }

  close(): void {
    for (const backEnd of this.#backEnds) backEnd?.close();
  }
}
