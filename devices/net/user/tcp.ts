/**
 * One end of a TCP connection with the guest: RFC 9293, with window scaling (RFC 7323), retransmission and its timer (RFC 6298), and
 * NewReno's recovery (RFC 5681, RFC 6582). Buffers are bounded both ways: what waits for the guest fills the send queue, what waits for the
 * other side closes the window. It knows no frames, sockets or clocks.
 *
 * Left out: selective acknowledgement, timestamps, urgent data (delivered in line).
 */
import { be16 } from "../ethernet.ts";

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

/** A segment, as received or to be sent. Sequence numbers are unsigned 32-bit. */
export interface TcpSegment {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  /** As it stands in the header, not scaled. */
  readonly window: number;
  readonly options: Uint8Array;
  readonly data: Uint8Array;
}

export interface TcpOptions {
  /** Initial sequence number of this end. */
  readonly initialSequence: number;
  /** Largest segment that this end takes, and sends at most. */
  readonly segmentBytes: number;
  /** Seconds. */
  now(): number;
  /** Sends a segment; its data may be longer than a segment, by whole segments of `segmentBytes()`. */
  send(segment: TcpSegment): void;
  /** Room for data that `data` would be given. */
  receiveRoom(): number;
  /** The connection is open. */
  opened(): void;
  /** Data from the guest, in order. */
  data(bytes: Uint8Array): void;
  /** The guest has sent its last. */
  ended(): void;
  /** The guest has acknowledged data: there may be room again. */
  sent(): void;
  /** It is over; nothing is called any more. `isReset`: not in order. */
  closed(isReset: boolean): void;
}

type State = "closed" | "syn-sent" | "syn-received" | "open" | "time-wait";

const WINDOW_SCALE = 4;
const DEFAULT_SEGMENT = 536;
/** Most bytes in one call of `send`: what fits one IP packet, and less. */
const MOST_SEND = 61440;
const INITIAL_WINDOW_SEGMENTS = 10;
const LEAST_TIMEOUT = 0.2;
const FIRST_TIMEOUT = 1;
const MOST_TIMEOUT = 30;
/** Timeouts in a row after which the guest is taken for gone. */
const MOST_TIMEOUTS = 8;
const DELAYED_ACK = 0.02;
/** Less than twice the longest life of a segment: there is one link, and no way around. */
const TIME_WAIT = 10;
/** Out-of-order data kept, bytes. */
const MOST_OUT_OF_ORDER = 1 << 18;
const NOTHING = new Uint8Array(0);

const before = (a: number, b: number): boolean => ((a - b) | 0) < 0;
const distance = (from: number, to: number): number => (to - from) >>> 0;

/** Bytes that were not acknowledged yet, in the pieces in which they came. */
class SendQueue {
  readonly #pieces: Uint8Array[] = [];
  #skipped = 0;
  length = 0;

  push(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.length += bytes.length;
  }

  drop(count: number): void {
    this.length -= count;
    this.#skipped += count;
    while (this.#pieces.length > 0 && this.#skipped >= this.#pieces[0]!.length)
      this.#skipped -= this.#pieces.shift()!.length;
  }

  copy(offset: number, length: number): Uint8Array {
    const into = new Uint8Array(length);
    let skip = offset + this.#skipped;
    let done = 0;
    for (const piece of this.#pieces) {
      if (done === length) break;
      if (skip >= piece.length) {
        skip -= piece.length;
        continue;
      }
      const part = piece.subarray(skip, skip + length - done);
      into.set(part, done);
      done += part.length;
      skip = 0;
    }
    return into;
  }
}

export class TcpConnection {
  readonly #o: TcpOptions;
  #state: State = "closed";
  /** Sending: oldest unacknowledged, next, and beyond the furthest ever sent. */
  #una: number;
  #next: number;
  #max: number;
  readonly #queue = new SendQueue();
  #finQueued = false;
  /** The sequence number of this end's FIN, once it was sent. */
  #finSequence: number | undefined;
  #peerWindow = 0;
  #peerScale = 0;
  #scale = 0;
  #segmentBytes = DEFAULT_SEGMENT;
  /** Congestion. */
  #congestion = 0;
  #threshold = Infinity;
  #duplicates = 0;
  #recover: number | undefined;
  /** Round-trip time: smoothed, its variance, and the sequence number that is being timed. */
  #smoothed: number | undefined;
  #variance = 0;
  #timeout = FIRST_TIMEOUT;
  #timed: { readonly sequence: number; readonly at: number } | undefined;
  #timeouts = 0;
  /** Receiving: next expected, the right edge that was promised, data waiting for what is missing. */
  #expected = 0;
  #promised = 0;
  #finExpectedAt: number | undefined;
  #finReceived = false;
  /** The guest's end came before this one was sent: nobody waits for an answer to the last acknowledgement. */
  #endsLast = false;
  #early: { readonly sequence: number; readonly data: Uint8Array }[] = [];
  #unacknowledged = 0;
  /** When to act by itself. */
  #retransmitAt: number | undefined;
  #acknowledgeAt: number | undefined;
  #forgetAt: number | undefined;

  constructor(options: TcpOptions) {
    this.#o = options;
    this.#una = this.#next = this.#max = options.initialSequence >>> 0;
  }

  /** When `expire` must be called, seconds; undefined: never. */
  get deadline(): number | undefined {
    let earliest = this.#retransmitAt;
    for (const at of [this.#acknowledgeAt, this.#forgetAt])
      if (at !== undefined && (earliest === undefined || at < earliest)) earliest = at;
    return earliest;
  }

  get state(): State {
    return this.#state;
  }

  /** Bytes that wait to be acknowledged by the guest. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Bytes of data in a segment to the guest. */
  get segmentBytes(): number {
    return this.#segmentBytes;
  }

  // --- opening

  /** Asks the guest for a connection. */
  connect(): void {
    this.#state = "syn-sent";
    this.#scale = WINDOW_SCALE;
    this.#sendSyn();
  }

  /** The way to the guest has become known: what was asked before then was lost, and need not wait for its time to come. */
  askAgain(): void {
    if (this.#state !== "syn-sent") return;
    this.#timeouts = 0;
    this.#sendSyn();
  }

  /** Answers a SYN of the guest's. */
  accept(syn: TcpSegment): void {
    this.#state = "syn-received";
    this.#takeSyn(syn);
    this.#sendSyn();
  }

  #takeSyn(syn: TcpSegment): void {
    this.#expected = this.#promised = (syn.sequence + 1) >>> 0;
    const { segmentBytes, scale } = readOptions(syn.options);
    this.#segmentBytes = Math.max(64, Math.min(segmentBytes ?? DEFAULT_SEGMENT, this.#o.segmentBytes));
    this.#peerScale = scale ?? 0;
    this.#scale = scale === undefined ? 0 : WINDOW_SCALE;
    // "The Window field in a SYN segment itself is never scaled."
    this.#peerWindow = syn.window;
    this.#congestion = INITIAL_WINDOW_SEGMENTS * this.#segmentBytes;
  }

  #sendSyn(): void {
    const isAnswer = this.#state === "syn-received";
    const mss = this.#o.segmentBytes;
    const options =
      this.#scale === 0
        ? Uint8Array.of(2, 4, mss >> 8, mss & 0xff)
        : Uint8Array.of(2, 4, mss >> 8, mss & 0xff, 1, 3, 3, this.#scale);
    const window = Math.min(0xffff, this.#o.receiveRoom());
    this.#promised = (this.#expected + window) >>> 0;
    this.#o.send({
      sequence: this.#una,
      acknowledgement: isAnswer ? this.#expected : 0,
      flags: isAnswer ? SYN | ACK : SYN,
      window,
      options,
      data: NOTHING,
    });
    this.#next = this.#max = (this.#una + 1) >>> 0;
    this.#retransmitAt = this.#o.now() + this.#wait;
  }

  // --- this end's user

  /** Sends bytes, which the connection keeps; its user looks at `waiting`. */
  write(bytes: Uint8Array): void {
    if (this.#finQueued || this.#state === "closed" || bytes.length === 0) return;
    this.#queue.push(bytes);
    this.#output();
  }

  /** Sends an end after what was written. */
  end(): void {
    if (this.#finQueued || this.#state === "closed") return;
    this.#finQueued = true;
    this.#output();
  }

  /** Ends the connection at once. */
  abort(): void {
    if (this.#state === "closed") return;
    this.#emit(RST | ACK, this.#next, NOTHING);
    this.#close(true);
  }

  /** There is more room for data than before. */
  roomMade(): void {
    if (this.#state !== "open") return;
    const room = this.#o.receiveRoom();
    const promised = distance(this.#expected, this.#promised);
    // The sender is told when it is worth it ("silly window syndrome").
    if (room - promised >= 2 * this.#o.segmentBytes && promised < room / 2) this.#acknowledge();
  }

  // --- segments of the guest's

  receive(segment: TcpSegment): void {
    if (this.#state === "syn-sent") this.#receiveInSynSent(segment);
    else if (this.#state !== "closed") this.#receiveSynchronized(segment);
  }

  #receiveInSynSent(segment: TcpSegment): void {
    const { flags, acknowledgement } = segment;
    const acknowledges = (flags & ACK) !== 0 && acknowledgement === this.#next;
    if (flags & RST) {
      if (acknowledges) this.#close(true);
      return;
    }
    if (!(flags & SYN) || !acknowledges) return;
    this.#takeSyn(segment);
    this.#una = acknowledgement;
    this.#retransmitAt = undefined;
    this.#timeouts = 0;
    this.#state = "open";
    this.#acknowledge();
    this.#o.opened();
    this.#output();
  }

  #receiveSynchronized(segment: TcpSegment): void {
    const { flags, sequence, data } = segment;
    const length = data.length + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    if (flags & SYN && this.#state === "syn-received" && sequence === (this.#expected - 1) >>> 0) {
      this.#sendSyn();
      return;
    }
    if (!this.#isAcceptable(sequence, length)) {
      if (!(flags & RST)) this.#acknowledge();
      return;
    }
    if (flags & RST) {
      // Only exactly at the edge; elsewhere in the window it is answered (RFC 5961).
      if (sequence === this.#expected) this.#close(true);
      else this.#acknowledge();
      return;
    }
    if (flags & SYN) {
      this.#acknowledge();
      return;
    }
    if (!(flags & ACK) || !this.#takeAcknowledgement(segment)) return;
    if (this.#isOver()) return;
    this.#takeData(segment);
    if (this.#isOver()) return;
    this.#output();
    this.#finishIfOver();
  }

  /** `#close` may have been called by whatever was called. */
  #isOver(): boolean {
    return this.#state === "closed";
  }

  #isAcceptable(sequence: number, length: number): boolean {
    const window = distance(this.#expected, this.#promised);
    const end = (sequence + length) >>> 0;
    if (length === 0)
      return (
        sequence === this.#expected ||
        (!before(sequence, this.#expected) && before(sequence, this.#promised)) ||
        // An acknowledgement sent before data that overtook it.
        (before(sequence, this.#expected) && distance(sequence, this.#expected) <= MOST_OUT_OF_ORDER)
      );
    if (window === 0) return false;
    return before(sequence, this.#promised) && before(this.#expected, end);
  }

  /** False when the segment is to be left at that. */
  #takeAcknowledgement(segment: TcpSegment): boolean {
    const { acknowledgement } = segment;
    if (before(this.#max, acknowledgement)) {
      this.#acknowledge();
      return false;
    }
    const windowBefore = this.#peerWindow;
    if (!before(acknowledgement, this.#una)) this.#peerWindow = segment.window << this.#peerScale;
    if (this.#state === "syn-received") {
      if (acknowledgement === this.#una) return false;
      this.#una = acknowledgement;
      this.#retransmitAt = undefined;
      this.#timeouts = 0;
      this.#state = "open";
      this.#o.opened();
      return true;
    }
    if (before(this.#una, acknowledgement)) this.#takeNewAcknowledgement(acknowledgement);
    else if (
      acknowledgement === this.#una &&
      this.#una !== this.#max &&
      segment.data.length === 0 &&
      !(segment.flags & FIN) &&
      this.#peerWindow === windowBefore
    )
      this.#takeDuplicate();
    // Somebody is there, whatever it says.
    this.#timeouts = 0;
    return true;
  }

  #takeNewAcknowledgement(acknowledgement: number): void {
    const acknowledged = distance(this.#una, acknowledgement);
    const now = this.#o.now();
    if (this.#timed !== undefined && !before(acknowledgement, this.#timed.sequence)) {
      this.#measured(now - this.#timed.at);
      this.#timed = undefined;
    }
    this.#timeouts = 0;
    this.#una = acknowledgement;
    if (before(this.#next, acknowledgement)) this.#next = acknowledgement;
    this.#queue.drop(Math.min(acknowledged, this.#queue.length));
    this.#duplicates = 0;
    const mss = this.#segmentBytes;
    if (this.#recover !== undefined) {
      if (before(acknowledgement, this.#recover)) {
        // A partial acknowledgement: the next hole.
        this.#congestion = Math.max(mss, this.#congestion - acknowledged + mss);
        this.#resendFirst();
      } else {
        this.#congestion = this.#threshold;
        this.#recover = undefined;
      }
    } else if (this.#congestion < this.#threshold) this.#congestion += Math.min(acknowledged, 2 * mss);
    else this.#congestion += Math.max(1, Math.floor((mss * mss) / this.#congestion));
    this.#retransmitAt = this.#una === this.#max ? undefined : now + this.#wait;
    if (acknowledged > 0) this.#o.sent();
  }

  #takeDuplicate(): void {
    const mss = this.#segmentBytes;
    this.#duplicates++;
    if (this.#recover !== undefined) {
      // Each says that a segment has left the network.
      this.#congestion += mss;
      return;
    }
    if (this.#duplicates !== 3) return;
    this.#threshold = Math.max(distance(this.#una, this.#max) / 2, 2 * mss);
    this.#recover = this.#max;
    this.#congestion = this.#threshold + 3 * mss;
    this.#resendFirst();
  }

  /** How long an acknowledgement is waited for: twice as long after each time in vain. */
  get #wait(): number {
    return Math.min(MOST_TIMEOUT, this.#timeout * 2 ** this.#timeouts);
  }

  #measured(seconds: number): void {
    if (this.#smoothed === undefined) {
      this.#smoothed = seconds;
      this.#variance = seconds / 2;
    } else {
      this.#variance = 0.75 * this.#variance + 0.25 * Math.abs(this.#smoothed - seconds);
      this.#smoothed = 0.875 * this.#smoothed + 0.125 * seconds;
    }
    this.#timeout = Math.min(MOST_TIMEOUT, Math.max(LEAST_TIMEOUT, this.#smoothed + 4 * this.#variance));
  }

  #takeData(segment: TcpSegment): void {
    let { sequence, data } = segment;
    const hasFin = (segment.flags & FIN) !== 0;
    if (hasFin) this.#finExpectedAt ??= (sequence + data.length) >>> 0;
    if (data.length === 0 && !hasFin) return;
    if (before(sequence, this.#expected)) {
      data = data.subarray(Math.min(data.length, distance(sequence, this.#expected)));
      sequence = this.#expected;
    }
    // Only what was promised: beyond it there is no room.
    const room = distance(sequence, this.#promised);
    if (data.length > room) data = data.subarray(0, room);
    if (sequence !== this.#expected) {
      this.#keepEarly(sequence, data);
      // At once, and each time: three of these make the sender send what is missing.
      this.#acknowledge();
      return;
    }
    const hadHoles = this.#early.length > 0;
    this.#deliver(data);
    this.#deliverEarly();
    if (this.#isOver()) return;
    const isEnd = !this.#finReceived && this.#finExpectedAt === this.#expected;
    if (isEnd) {
      this.#finReceived = true;
      this.#endsLast = this.#finSequence === undefined;
      this.#expected = (this.#expected + 1) >>> 0;
      this.#promised = before(this.#promised, this.#expected) ? this.#expected : this.#promised;
    }
    this.#unacknowledged += data.length;
    if (isEnd || hadHoles || this.#unacknowledged >= 2 * this.#o.segmentBytes) this.#acknowledge();
    else this.#acknowledgeAt ??= this.#o.now() + DELAYED_ACK;
    if (isEnd) this.#o.ended();
  }

  #deliver(data: Uint8Array): void {
    if (data.length === 0 || this.#finReceived) return;
    this.#expected = (this.#expected + data.length) >>> 0;
    this.#o.data(data);
  }

  #keepEarly(sequence: number, data: Uint8Array): void {
    let kept = 0;
    for (const piece of this.#early) kept += piece.data.length;
    if (data.length === 0 || kept + data.length > MOST_OUT_OF_ORDER) return;
    const at = this.#early.findIndex((piece) => before(sequence, piece.sequence));
    this.#early.splice(at < 0 ? this.#early.length : at, 0, { sequence, data: data.slice() });
  }

  #deliverEarly(): void {
    while (this.#early.length > 0 && !this.#isOver()) {
      const { sequence, data } = this.#early[0]!;
      if (before(this.#expected, sequence)) return;
      this.#early.shift();
      const known = distance(sequence, this.#expected);
      if (known < data.length) this.#deliver(data.subarray(known));
    }
  }

  // --- sending

  #output(): void {
    if (this.#state !== "open") return;
    const mss = this.#segmentBytes;
    for (;;) {
      const inFlight = distance(this.#una, this.#next);
      const unsent = Math.max(0, this.#queue.length - inFlight);
      const window = Math.min(this.#peerWindow, this.#congestion) - inFlight;
      if (unsent > 0 && window > 0 && (window >= Math.min(unsent, mss) || inFlight === 0)) {
        let size = Math.min(unsent, window, MOST_SEND);
        if (size > mss && size < unsent) size -= size % mss;
        const last = size === unsent;
        this.#emit(last ? ACK | PSH : ACK, this.#next, this.#queue.copy(inFlight, size));
        this.#advance(size);
        continue;
      }
      // The end has a sequence number of its own, after the data's.
      if (this.#finQueued && inFlight === this.#queue.length && !this.#isFinAcknowledged) {
        this.#finSequence ??= this.#next;
        this.#emit(FIN | ACK, this.#next, NOTHING);
        this.#advance(1);
      }
      // A closed window is asked about by the retransmission timer.
      if (unsent > 0 && inFlight === 0) this.#retransmitAt ??= this.#o.now() + this.#wait;
      return;
    }
  }

  get #isFinAcknowledged(): boolean {
    return this.#finSequence !== undefined && before(this.#finSequence, this.#una);
  }

  #advance(size: number): void {
    const now = this.#o.now();
    if (this.#next === this.#max) this.#timed ??= { sequence: (this.#next + size) >>> 0, at: now };
    this.#next = (this.#next + size) >>> 0;
    if (before(this.#max, this.#next)) this.#max = this.#next;
    this.#retransmitAt ??= now + this.#wait;
  }

  /** Sends what is oldest of what is under way again. @returns the sequence numbers that takes: bytes, or the end's one */
  #resendFirst(): number {
    this.#timed = undefined;
    const size = Math.min(this.#queue.length, this.#segmentBytes, distance(this.#una, this.#max));
    if (size > 0) this.#emit(ACK, this.#una, this.#queue.copy(0, size));
    else this.#emit(FIN | ACK, this.#una, NOTHING);
    this.#retransmitAt = this.#o.now() + this.#wait;
    return Math.max(size, 1);
  }

  #acknowledge(): void {
    this.#emit(ACK, this.#next, NOTHING);
  }

  #emit(flags: number, sequence: number, data: Uint8Array): void {
    const room = Math.min(this.#o.receiveRoom(), 0xffff << this.#scale);
    // What was promised stays promised, and what is promised can be told.
    const window = Math.ceil(Math.max(room, distance(this.#expected, this.#promised)) / 2 ** this.#scale);
    const told = Math.min(0xffff, window);
    this.#promised = (this.#expected + told * 2 ** this.#scale) >>> 0;
    this.#acknowledgeAt = undefined;
    this.#unacknowledged = 0;
    this.#o.send({
      sequence,
      acknowledgement: this.#expected,
      flags,
      window: told,
      options: NOTHING,
      data,
    });
  }

  // --- time

  /** Does what is due. */
  expire(now: number): void {
    if (this.#forgetAt !== undefined && this.#forgetAt <= now) {
      this.#close(false);
      return;
    }
    if (this.#acknowledgeAt !== undefined && this.#acknowledgeAt <= now) this.#acknowledge();
    if (this.#retransmitAt !== undefined && this.#retransmitAt <= now) this.#retransmit();
  }

  #retransmit(): void {
    this.#retransmitAt = undefined;
    if (++this.#timeouts > MOST_TIMEOUTS) {
      this.abort();
      return;
    }
    this.#timed = undefined;
    if (this.#state === "syn-sent" || this.#state === "syn-received") {
      this.#sendSyn();
      return;
    }
    if (this.#una === this.#max) {
      // Nothing under way: the window is closed. One byte asks whether it still is.
      if (this.#queue.length > 0 && this.#peerWindow === 0) {
        this.#emit(ACK, this.#una, this.#queue.copy(0, 1));
        this.#next = this.#max = (this.#una + 1) >>> 0;
        this.#retransmitAt = this.#o.now() + this.#wait;
      } else this.#output();
      return;
    }
    const mss = this.#segmentBytes;
    this.#threshold = Math.max(distance(this.#una, this.#max) / 2, 2 * mss);
    this.#congestion = mss;
    this.#recover = undefined;
    this.#duplicates = 0;
    // All that was sent is sent again, as the window opens; what has arrived is acknowledged at the first.
    this.#next = (this.#una + this.#resendFirst()) >>> 0;
  }

  #finishIfOver(): void {
    if (!this.#isFinAcknowledged || !this.#finReceived || this.#state !== "open") return;
    if (this.#endsLast) {
      this.#close(false);
      return;
    }
    this.#state = "time-wait";
    this.#retransmitAt = undefined;
    this.#forgetAt = this.#o.now() + TIME_WAIT;
  }

  #close(isReset: boolean): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#retransmitAt = this.#acknowledgeAt = this.#forgetAt = undefined;
    this.#early = [];
    this.#o.closed(isReset);
  }
}

/** The options of a SYN that matter here; what is malformed ends the list. */
function readOptions(options: Uint8Array): { segmentBytes?: number; scale?: number } {
  const found: { segmentBytes?: number; scale?: number } = {};
  for (let at = 0; at < options.length;) {
    const kind = options[at]!;
    if (kind === 0) break;
    if (kind === 1) {
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2 || at + length > options.length) break;
    if (kind === 2 && length === 4) found.segmentBytes = be16(options, at + 2);
    // "A value greater than 14 must be treated as 14."
    else if (kind === 3 && length === 3) found.scale = Math.min(14, options[at + 2]!);
    at += length;
  }
  return found;
}
