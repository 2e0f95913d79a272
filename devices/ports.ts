/**
 * Everything a device model may ask of the world around it.
 *
 * The same model serves as physical hardware on the board and as an emulated device inside the hypervisor;
 * only who supplies these ports differs. Devices import this file, `layout/`, and nothing else outside
 * their own room.
 *
 * Rules:
 * - A device call is synchronous and never blocks. The caller holds the lock that covers the device.
 * - All volatile state lives in structs placed by `DeviceContext.state`; an object holds only
 *   configuration and handles. So a device built twice from the same configuration on two threads is the
 *   same device.
 * - Pending work is data: a `Timer` slot and fields of the device's struct, never a closure or promise.
 * - Work per register access or notification is bounded.
 * - Configuration is latched at activation; a descriptor is copied once, before use.
 */
import type { StateAllocator } from "../layout/struct.ts";

/** A physical address as the device's bus sees it. Below 2^52, so a number is exact. */
export type BusAddress = number;

export type AccessSize = 1 | 2 | 4 | 8;

/** A level-triggered wire into an interrupt controller. Setting the level it has is no event. */
export interface InterruptLine {
  set(level: boolean): void;
}

/** What an I/O APIC sends to the local APICs. Field values are those of the redirection entry. */
export interface InterruptMessage {
  /** Bits 63:56 of the redirection entry: an APIC ID, or a set of processors. */
  readonly destination: number;
  readonly destinationMode: "physical" | "logical";
  /** 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT. */
  readonly deliveryMode: number;
  readonly vector: number;
  /** A level-triggered fixed or lowest-priority interrupt is answered with `eoi(vector)` by the board. */
  readonly trigger: "edge" | "level";
}

/** The way from an I/O APIC to the local APICs; supplied by the board. */
export interface ApicBus {
  deliver(message: InterruptMessage): void;
}

/**
 * What the chipset asks of the whole machine. A request is only noted by the callee and carried out after the
 * device call has returned: a device is never reset from inside its own register write.
 */
export interface SystemControl {
  /** "cpu": INIT to the processors only (port 92H, keyboard controller); "system": every device too. */
  requestReset(scope: "cpu" | "system"): void;
  /** The guest entered the soft-off state (ACPI S5). */
  requestPowerOff(): void;
  /** The guest wrote `code` to the debug-exit port. */
  requestExit(code: number): void;
  /** The A20 gate was opened or closed. */
  setA20(open: boolean): void;
}

/** Where a message-signalled interrupt is written (a 32-bit memory write by the device). */
export interface MessageSink {
  send(address: BusAddress, data: number): void;
}

/**
 * The memory that a device reaches by DMA: RAM only.
 *
 * Addresses outside RAM (holes, device registers, beyond the end) are refused, never wrapped: so a device
 * cannot reach its own registers by DMA. Writes go through the one door that keeps decoded code, dirty logs
 * and watchpoints right.
 */
export interface DmaMemory {
  /** True when all of `[address, address + length)` is RAM. `length` 0 is true for any address. */
  contains(address: BusAddress, length: number): boolean;
  /** Copies out of RAM into `into`; false, with nothing copied, when the range is not all RAM. */
  read(address: BusAddress, into: Uint8Array): boolean;
  /** Copies `from` into RAM; false, with nothing written, when the range is not all RAM. */
  write(address: BusAddress, from: Uint8Array): boolean;
  /** Little-endian scalars; `undefined` / false when not RAM. */
  read16(address: BusAddress): number | undefined;
  read32(address: BusAddress): number | undefined;
  write16(address: BusAddress, value: number): boolean;
  write32(address: BusAddress, value: number): boolean;
}

/**
 * The board's time, an integer number of cycles of the time-stamp counter at `frequencyHz`; the same unit in
 * virtual and in wall mode.
 */
export interface Clock {
  readonly frequencyHz: number;
  /** Cycles since power-on; an integer below 2^53. */
  now(): number;
  /** Whole periods of a `hz` counter since power-on: floor(now × hz / frequencyHz), exactly. */
  ticks(hz: number): number;
  /** The first instant (in cycles) at which `ticks(hz)` is `n` or more, exactly. */
  timeOfTick(hz: number, n: number): number;
  /** Wall-clock seconds since 1970 at power-on, for the RTC. Fixed in virtual mode. */
  readonly epochSeconds: number;
}

/** One slot in the event queue: at most one firing is pending. State is in shared memory. */
export interface Timer {
  /** Fires at `time` (cycles); a time in the past fires as soon as possible. Replaces what was armed. */
  arm(time: number): void;
  disarm(): void;
  readonly armedAt: number | undefined;
}

/** What a device is given at construction. */
export interface DeviceContext {
  readonly state: StateAllocator;
  readonly clock: Clock;
  /** Makes a timer slot; `fire` is called on whatever thread serves the device, under its lock. */
  timer(label: string, fire: () => void): Timer;
}

/**
 * What a device is to a PC. The buses keep it beside each range, for those who treat kinds of devices differently: a
 * hypervisor may emulate some itself and leave others to a process.
 */
export type DeviceRole = "interrupt controller" | "interval timer" | "storage" | "other";

/** A device on the I/O-port bus. `offset` is relative to the registered base. */
export interface PortDevice {
  readPort(offset: number, size: 1 | 2 | 4): number;
  writePort(offset: number, size: 1 | 2 | 4, value: number): void;
}

/** A device on the memory bus. 8-byte accesses are split by the bus into two 4-byte ones, low half first. */
export interface MmioDevice {
  readMmio(offset: number, size: 1 | 2 | 4): number;
  writeMmio(offset: number, size: 1 | 2 | 4, value: number): void;
}

/** A device with state to put in its power-on form. Called once at creation and at every reset. */
export interface Resettable {
  reset(): void;
}

/** Bytes out to the person, bytes in from the person. Input is data in shared memory (a ring), see `serial/`. */
export interface SerialSink {
  /** One byte the guest transmitted. */
  transmit(byte: number): void;
}

/** Where a character device's bytes go. */
export interface CharacterSink {
  /** `bytes` are valid inside the call only. */
  write(bytes: Uint8Array): void;
}

/** Where random bytes come from. */
export interface EntropySource {
  fill(into: Uint8Array): void;
}

/** What became of a request to a storage back end. */
export type StorageResult = "ok" | "io-error" | "read-only" | "out-of-range" | "unsupported";

/**
 * A disk's contents: synchronous, addressed in bytes, whole 512-byte sectors. Host trouble is "io-error",
 * never an exception. Time is not spent here: see `DiskTiming`.
 */
export interface Storage {
  /** Capacity in 512-byte sectors. */
  readonly sectors: number;
  readonly readOnly: boolean;
  /** Up to 20 ASCII characters. */
  readonly serial: string;
  read(sector: number, into: Uint8Array): StorageResult;
  write(sector: number, from: Uint8Array): StorageResult;
  flush(): StorageResult;
  discard(sector: number, count: number): StorageResult;
  writeZeroes(sector: number, count: number, mayUnmap: boolean): StorageResult;
}

export type StorageOperation = "read" | "write" | "flush" | "discard" | "write-zeroes";

/**
 * The service-time model of the physical disk. State (when the disk is next free, where its head or
 * last-read sector is) lives in shared memory, so that every path and metal alike stand before one disk.
 */
export interface DiskTiming {
  /** Registers a request issued now and returns the cycle at which it completes. */
  complete(operation: StorageOperation, sector: number, byteLength: number): number;
}

/**
 * What the sender of a frame has left to be done by whoever needs it done: the meaning of the header that virtio puts before a frame
 * (virtio 1.2, "struct virtio_net_hdr"). All zero: the frame is as it goes over a wire.
 */
export interface FrameOffload {
  /** Where the bytes begin whose ones' complement sum is to be completed; 0 when the frame's checksums are complete. */
  readonly checksumStart: number;
  /** Where the sum belongs, from `checksumStart`. It holds the pseudo-header's sum already. */
  readonly checksumOffset: number;
  /** TCP payload bytes of each frame that this one stands for; 0 when it stands for itself. */
  readonly segmentBytes: number;
  /** With `segmentBytes`: TCP over IPv4 or IPv6. */
  readonly segmentation: 0 | 4 | 6;
  /** The first segment alone keeps CWR. */
  readonly ecn: boolean;
  /** Somebody trustworthy made or checked the transport checksum. */
  readonly checked: boolean;
}

/** What a receiver takes undone; see `FrameOffload`. */
export interface OffloadsTaken {
  readonly checksum: boolean;
  readonly tcp4: boolean;
  readonly tcp6: boolean;
  readonly ecn: boolean;
}

/** The device at the end of a link. */
export interface NetworkReceiver {
  /** Frames have arrived: `peek` and `take`. */
  arrived(): void;
  /** `isUp` has changed. */
  carrierChanged(): void;
  /** What may arrive undone; undefined: nobody listens, frames are dropped. */
  listens(): OffloadsTaken | undefined;
}

export interface ReceivedFrame {
  /** A view on the link's memory, valid until `take`. */
  readonly bytes: Uint8Array;
  readonly offload: FrameOffload;
}

/**
 * A network device's way to the network. Frames begin with the destination address and end before the frame check
 * sequence. Frames on their way are data in shared memory; arrival is an event.
 */
export interface NetworkLink {
  /** Sends a frame; it is copied. What the network has no room for is dropped. */
  send(frame: Uint8Array, offload: FrameOffload): void;
  /** The oldest frame that has arrived and was not taken. */
  peek(): ReceivedFrame | undefined;
  /** Takes the frame that `peek` returned. */
  take(): void;
  /** Forgets what has arrived and what is on its way to this device. */
  clear(): void;
  readonly isUp: boolean;
  /** Configuration: once, while building. */
  connect(receiver: NetworkReceiver): void;
}
