/**
 * The two other ways a PC is reset: the reset control register at CF9H (Intel, "82371AB PCI-to-ISA / IDE
 * Xcelerator (PIIX4)", data sheet) and system control port A at 92H (IBM PS/2's, with fast reset and the A20
 * gate).
 */
import { struct, u8 } from "../../layout/struct.ts";
import type { ViewOf } from "../../layout/struct.ts";
import type { DeviceContext, PortDevice, Resettable, SystemControl } from "../ports.ts";
import * as spec from "./pm-spec.ts";

export const ResetControlStruct = struct("ResetControl", { rcr: u8, port92: u8 });

export class ResetControl implements Resettable {
  readonly #state: ViewOf<typeof ResetControlStruct>;
  readonly #system: SystemControl;

  /** Port CF9H, byte accesses only (dword accesses at CF8H are the PCI configuration address). */
  readonly resetControlPort: PortDevice;
  /** Port 92H. */
  readonly systemControlPortA: PortDevice;

  constructor(context: DeviceContext, options: { readonly label: string; readonly system: SystemControl }) {
    this.#state = context.state.place(options.label, ResetControlStruct);
    this.#system = options.system;
    this.resetControlPort = {
      readPort: () => this.#state.rcr,
      writePort: (_offset, _size, value) => this.#writeRcr(value & spec.RCR_WRITABLE),
    };
    this.systemControlPortA = {
      readPort: () => this.#state.port92,
      writePort: (_offset, _size, value) => this.#writePort92(value & 0xff),
    };
  }

  reset(): void {
    this.#state.rcr = 0;
    this.#state.port92 = 0;
  }

  /** "A 0-to-1 transition of RCPU initiates the reset"; SRST chooses a hard one. */
  #writeRcr(value: number): void {
    const s = this.#state;
    const rises = (value & ~s.rcr & spec.RCR_RCPU) !== 0;
    s.rcr = value;
    if (rises) this.#system.requestReset(value & spec.RCR_SRST ? "system" : "cpu");
  }

  #writePort92(value: number): void {
    const s = this.#state;
    const changed = value ^ s.port92;
    s.port92 = value;
    if (changed & spec.PORT92_A20) this.#system.setA20((value & spec.PORT92_A20) !== 0);
    if (changed & value & spec.PORT92_FAST_RESET) this.#system.requestReset("cpu");
  }
}
