/** The border between a machine's network and the host's side of it, on the thread that owns the machine. */
import type { FrameOffload } from "../ports.ts";

/** What the host's side may do to the machine. Any time but inside a call of `HostBackEnd` of another netdev's. */
export interface HostPort {
  /** Sends a frame to the guest. False: the link has no room, the frame is dropped. */
  deliver(frame: Uint8Array, offload: FrameOffload): boolean;
  /** The machine's time, seconds. */
  now(): number;
  /** Makes `timer` be called at that time of the machine; replaces what was armed. */
  arm(seconds: number): void;
}

/** A netdev's host side. */
export interface HostBackEnd {
  /** A frame from the guest; valid during the call. */
  frame(bytes: Uint8Array, offload: FrameOffload): void;
  /** What `HostPort.arm` asked for. */
  timer(): void;
  /** Resolves when it listens or is connected as far as it must be; rejects with what is wrong. */
  readonly ready: Promise<void>;
  /** A line about the connection: where it listens. */
  readonly where: string;
  close(): void;
}
