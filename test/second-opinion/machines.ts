/** Runs a program on our machine. */
import { Machine, type MachineOptions } from "../../hypervisor/machine.ts";
import { imagePath, parseVerdict, type Program, type Verdict } from "./verdict.ts";

/** More than any program needs. */
const MOST_INSTRUCTIONS = 400_000_000;

/** Our own machine, with the CPU that has everything. */
export function runOurs(program: Program, mode: NonNullable<MachineOptions["mode"]>): Verdict {
  const serial: number[] = [];
  const machine = new Machine({
    kernel: imagePath(program),
    cpu: "max",
    memory: 16,
    mode,
    onSerial: (byte) => serial.push(byte),
  });
  try {
    const { end } = machine.run({ untilInstruction: MOST_INSTRUCTIONS });
    return parseVerdict(Buffer.from(serial).toString("latin1"), end === "triple-fault");
  } finally {
    machine.close();
  }
}
