// The library in one page: boots our guest kernel as a virtual machine, and says what it cost in VM exits.
// Run it with `node examples/boot.mjs` after `npm run build`.
import { fileURLToPath } from "node:url";
import { Machine } from "exitless";

const kernel = fileURLToPath(new URL("../guest-images/images/kernel.elf", import.meta.url));
const slowest = { handler: "", synchronousCycles: 0 };

const machine = new Machine({
  kernel,
  append: "script=hello",
  memory: 32,
  smp: 2,
  onSerial: (byte) => process.stdout.write(Uint8Array.of(byte)),
  onExit: (entry) => {
    if (entry.synchronousCycles > slowest.synchronousCycles) Object.assign(slowest, entry);
  },
});
try {
  // To the first CPUID exit, then to the end: a pause changes nothing.
  machine.run({ pauseAt: (entry) => entry.reason === "CPUID" });
  console.log(`first CPUID after ${machine.instructions} instructions`);
  const { end } = machine.run();
  const { exits, virtualSeconds, ledgerAgrees } = machine.stats();
  const total = Object.values(exits).reduce((sum, count) => sum + count, 0);
  console.log(`${end} after ${(virtualSeconds * 1000).toFixed(3)} ms of virtual time, ${total} exits`);
  for (const [reason, count] of Object.entries(exits)) console.log(`  ${reason} ${count}`);
  console.log(
    `slowest handler: ${slowest.handler}, ${slowest.synchronousCycles} cycles; ledger ${ledgerAgrees ? "agrees" : "DISAGREES"}`,
  );
} finally {
  machine.close();
}
