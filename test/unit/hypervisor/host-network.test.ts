import fc from "fast-check";
import { expect, test } from "vitest";
import { cycleAt } from "../../../hypervisor/host-network.ts";

test("when a timer of the host's side comes, its time has come by the machine's clock, and only just", () => {
  const frequencies = fc.constantFrom(2_670_000_000, 2_666_000_000, 3_400_000_000, 1_000_000_000, 25_000_000);
  const delays = fc.oneof(
    fc.constantFrom(0.02, 0.2, 0.4, 1, 10),
    fc.double({ min: 0, max: 60, noNaN: true }),
  );
  fc.assert(
    fc.property(frequencies, fc.nat(2 ** 44), delays, (frequency, now, delay) => {
      const seconds = now / frequency + delay;
      const cycle = cycleAt(seconds, frequency);
      expect(cycle / frequency).toBeGreaterThanOrEqual(seconds);
      expect((cycle - 2) / frequency).toBeLessThan(seconds);
    }),
    { numRuns: 2000 },
  );
});
