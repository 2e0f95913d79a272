import { expect, test } from "vitest";
import { HostSwitch, type SwitchPort } from "../../../hypervisor/host-switch.ts";
import { BROADCAST, MAC_A, MAC_B, frameOf } from "../../support/network.ts";

class Port implements SwitchPort {
  onFrame: ((frame: Uint8Array) => void) | undefined;
  received = 0;
  send(): boolean {
    this.received++;
    return true;
  }
}

test("frames go to all but the sender, and to one machine alone once its address is known", () => {
  const hub = new HostSwitch();
  const ports = [new Port(), new Port(), new Port()];
  ports.forEach((port) => hub.connect(port));
  const counts = (): number[] => ports.map((port) => [port.received, (port.received = 0)][0]!);
  ports[0]!.onFrame!(frameOf(MAC_B, MAC_A, 60));
  expect(counts()).toEqual([0, 1, 1]);
  ports[1]!.onFrame!(frameOf(MAC_A, MAC_B, 60));
  expect(counts()).toEqual([1, 0, 0]);
  ports[0]!.onFrame!(frameOf(MAC_B, MAC_A, 60));
  expect(counts()).toEqual([0, 1, 0]);
  ports[0]!.onFrame!(frameOf(BROADCAST, MAC_A, 60));
  expect(counts()).toEqual([0, 1, 1]);
  // The table is bounded: MAC_B, not heard of since, is forgotten.
  for (let i = 0; i < 256; i++) ports[2]!.onFrame!(frameOf(MAC_A, Uint8Array.of(2, 0, 0, 0, 1, i), 60));
  counts();
  ports[0]!.onFrame!(frameOf(MAC_B, MAC_A, 60));
  expect(counts()).toEqual([0, 1, 1]);
});
