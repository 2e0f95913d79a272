/** A virtual CPU that its guest has halted with interrupts off, as firmware leaves application processors. */
import { expect, test } from "vitest";
import { Machine } from "../../hypervisor/machine.ts";
import { VcpuRun } from "../../hypervisor/vcpu-state.ts";
import { KERNEL } from "../support/cli.ts";

test("INIT and SIPI start it at the time at which they are sent, not at that of its HLT", () => {
  const machine = new Machine({ kernel: KERNEL, append: "script=smp:count=10;poweroff", smp: 2, memory: 32 });
  try {
    const [first, second] = machine.vm!.vcpus;
    second!.state.run = VcpuRun.HALTED;
    const before = second!.core.state.instructions;
    const result = machine.run({ until: () => second!.core.state.instructions > before });
    expect(result.end).toBe("paused");
    const { lookAhead } = machine.profile;
    expect(first!.clock()).toBeGreaterThan(lookAhead.cycles);
    expect(second!.clock()).toBeGreaterThan(first!.clock() - 2 * lookAhead.cycles);
    expect(machine.run().end).toBe("power-off");
  } finally {
    machine.close();
  }
});
