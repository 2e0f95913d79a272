/**
 * A PC's networks: one link a network device, what the links lead to inside the machine, and the way to the host. Plans are plain
 * data, so that every thread builds the same.
 */
import { LinkPort, type Medium } from "../../devices/net/link.ts";
import { Loopback, Switch } from "../../devices/net/media.ts";
import type { ImpairmentOptions } from "../../devices/net/impairment.ts";
import type { DeviceContext, FrameOffload, Resettable, Timer } from "../../devices/ports.ts";

/** A network device's back end, as the machine sees it. */
export interface NetdevPlan {
  readonly id: string;
  readonly medium:
    | { readonly kind: "loop" }
    /** All with the same name are on one switch. */
    | { readonly kind: "peer"; readonly link: string }
    /** Frames leave the machine. */
    | { readonly kind: "host"; readonly takesOffloads: boolean };
  /** In virtual time; in wall time a frame takes the time it takes. */
  readonly latencyCycles: number;
  /** 0: unlimited. */
  readonly bitsPerSecond: number;
  readonly impairment?: ImpairmentOptions;
}

/** What one thread of the machine has for its networks. */
export interface NetworkParts {
  readonly plans: readonly NetdevPlan[];
  /** A frame leaves the machine. Called with the lock held; must not block, and must copy what it keeps. */
  readonly toHost: (netdev: number, frame: Uint8Array, offload: FrameOffload) => void;
  /** The host's timer of a netdev has fired (virtual time). */
  readonly hostTimer: (netdev: number) => void;
  /** Sees the frames of a netdev; undefined: nobody does. */
  readonly capture: (netdev: number) => ((frame: Uint8Array) => void) | undefined;
}

/** A machine without any. */
export const NO_NETWORK: NetworkParts = {
  plans: [],
  toHost: () => undefined,
  hostTimer: () => undefined,
  capture: () => undefined,
};

export class Network implements Resettable {
  /** By number of the netdev. */
  readonly links: readonly LinkPort[];
  /** For those whose frames leave the machine: a timer for the host's side, in the machine's time. */
  readonly hostTimers: readonly (Timer | undefined)[];
  readonly #switches = new Map<string, Switch>();

  /** @param linkContext for the links: whose thread takes what arrives */
  constructor(context: DeviceContext, linkContext: DeviceContext, label: string, parts: NetworkParts) {
    this.links = parts.plans.map((plan, index) => {
      const capture = parts.capture(index);
      const medium = this.#medium(context, label, plan, index, parts);
      const link = new LinkPort(linkContext, {
        label: `${label} netdev ${plan.id}`,
        medium,
        latency: plan.latencyCycles,
        bitsPerSecond: plan.bitsPerSecond,
        ...(plan.impairment ? { impairment: plan.impairment } : {}),
        ...(capture ? { capture: (_direction, frame) => capture(frame) } : {}),
      });
      if (medium instanceof Switch) medium.add(link);
      return link;
    });
    this.hostTimers = parts.plans.map((plan, index) =>
      plan.medium.kind === "host"
        ? context.timer(`${label} netdev ${plan.id} host`, () => parts.hostTimer(index))
        : undefined,
    );
  }

  reset(): void {
    for (const medium of this.#switches.values()) medium.reset();
    for (const link of this.links) link.reset();
  }

  #medium(
    context: DeviceContext,
    label: string,
    { medium }: NetdevPlan,
    index: number,
    parts: NetworkParts,
  ): Medium {
    switch (medium.kind) {
      case "loop":
        return new Loopback();
      case "peer": {
        const found =
          this.#switches.get(medium.link) ?? new Switch(context, `${label} switch ${medium.link}`);
        this.#switches.set(medium.link, found);
        return found;
      }
      case "host":
        return {
          takesOffloads: medium.takesOffloads,
          transmit: (_from, frame, offload) => parts.toHost(index, frame, offload),
        };
    }
  }
}
