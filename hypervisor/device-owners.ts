/** Which device answers a port or an address of the VM, and what that means for costs and the ledger. */
import type { DeviceRole } from "../devices/ports.ts";
import type { Pc } from "../emulator/machine/pc.ts";
import { PhaseCode } from "./ledger.ts";

const PAGE = 4096;

/** Devices that the hypervisor emulates itself; all others live in the user process. */
const IN_KERNEL: ReadonlySet<DeviceRole> = new Set(["interrupt controller", "interval timer"]);

/** Who owns a port or address. */
export interface Owner {
  /** The device's label without the VM's. */
  readonly label: string;
  readonly isInKernel: boolean;
  /** What an access to it is part of. */
  readonly phase: PhaseCode;
}

const NOBODY: Owner = { label: "nobody", isInKernel: false, phase: PhaseCode.OTHER };

interface Range {
  readonly label: string;
  readonly role?: DeviceRole;
}

export class DeviceOwners {
  readonly #prefix: string;
  readonly #pc: Pc;
  /** By range of a bus: what a label is made into is made once. */
  readonly #owners = new Map<object, Owner>();

  /** @param label the VM's, with which its devices' labels begin */
  constructor(label: string, pc: Pc) {
    this.#prefix = `${label} `;
    this.#pc = pc;
  }

  /** The owner of a port, for an access of `size` bytes (CF8H is a register only as a doubleword). */
  port(port: number, size: 1 | 2 | 4): Owner {
    return this.#ownerOf(this.#pc.ports.rangeAt(port, size));
  }

  /** The owner of an address that is not RAM. */
  mmio(address: number): Owner {
    return this.#ownerOf(this.#pc.mmio.find(address)?.range);
  }

  /** True for a virtio notification address: registered to signal the serving thread (ioeventfd-like). */
  isKick(address: number): boolean {
    for (const device of this.#pc.served) {
      const notify = device.transport.notifyAddress(0);
      if (notify !== undefined && address >= notify && address < notify + PAGE) return true;
    }
    return false;
  }

  #ownerOf(range: Range | undefined): Owner {
    if (range === undefined) return NOBODY;
    const known = this.#owners.get(range);
    if (known !== undefined) return known;
    const { label, role = "other" } = range;
    const owner: Owner = {
      label: label.startsWith(this.#prefix) ? label.slice(this.#prefix.length) : label,
      isInKernel: IN_KERNEL.has(role),
      phase: role === "storage" ? PhaseCode.REQUEST : PhaseCode.OTHER,
    };
    this.#owners.set(range, owner);
    return owner;
  }
}
