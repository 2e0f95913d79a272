/**
 * VMCSs with random contents, entered: each entry ends as VMfail, as a failed entry, or in a guest whose run exits; never in an exception
 * of the host. And the same comes of it whether the checks of fields that have not been written are skipped or made anew.
 *
 * EXITLESS_VMCS_CASES: how many entries (2,000).
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import * as X from "../../../layout/vmx.ts";
import { PAGE, VmxCpu } from "../../support/vmx-cpu.ts";

const CASES = Number(process.env.EXITLESS_VMCS_CASES ?? 2000);
/** Entries from one valid VMCS on; each keeps what the ones before it wrote. */
const ENTRIES = 20;
const INSTRUCTIONS = 50;
const ATTENTION_INIT = 1;
const fields = Object.values(X.VmcsField);

/** Values that are near something, as well as any. */
const value = fc.oneof(
  fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
  fc.bigInt({ min: 0n, max: 0xffffn }),
  fc.integer({ min: 0, max: 63 }).map((bit) => 1n << BigInt(bit)),
  fc.constantFrom(...Object.values(PAGE).map(BigInt)),
);
type Change =
  | { readonly kind: "write"; readonly field: number; readonly value: bigint }
  | { readonly kind: "flip"; readonly field: number; readonly bit: number };
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), field: fc.constantFrom(...fields), value }),
  // One bit off a valid value gets further.
  fc.record({
    kind: fc.constant("flip" as const),
    field: fc.constantFrom(...fields),
    bit: fc.integer({ min: 0, max: 31 }),
  }),
);
const entries = fc.array(fc.array(change, { maxLength: 4 }), { minLength: ENTRIES, maxLength: ENTRIES });

function apply({ vmcs }: VmxCpu, one: Change): void {
  const before = vmcs.readBig(one.field);
  vmcs.writeBig(one.field, one.kind === "write" ? one.value : before ^ (1n << BigInt(one.bit)));
}

/** Enters, runs a little, and makes the guest exit if it has not; everything that can be seen of it. */
function outcome(cpu: VmxCpu): string {
  const { state, exports } = cpu.core;
  const entered = cpu.enter();
  let stop = 0;
  if (entered.kind === "entered") {
    state.stopAtInstruction = state.instructions + INSTRUCTIONS;
    stop = exports.run();
    if (state.vmxNonRoot !== 0) {
      state.stopAtInstruction = state.instructions + INSTRUCTIONS;
      state.attention = ATTENTION_INIT;
      stop = exports.run();
    }
  }
  const region = cpu.memory.state.bytes.subarray(
    cpu.vmcs.offset + X.VMCS_FIELDS_AT,
    cpu.vmcs.offset + X.VMCS_FIELDS_END,
  );
  return JSON.stringify(
    [
      entered,
      stop,
      state.vmxNonRoot,
      state.instructions,
      state.rip,
      state.cr0,
      state.cr3,
      state.cr4,
      state.efer,
      [...state.gpr],
      Buffer.from(region).toString("base64"),
    ],
    (_, one: unknown) => (typeof one === "bigint" ? one.toString(16) : one),
  );
}

/** Root mode again, whatever the exit has loaded; a guest that nothing brings out (wait-for-SIPI) is given up. */
function backToRoot(cpu: VmxCpu): boolean {
  if (cpu.core.state.vmxNonRoot !== 0 || cpu.core.state.vmxOn === 0) return false;
  cpu.enterRoot();
  return true;
}

test(`${CASES} entries of random VMCSs, with checks cached and made anew`, () => {
  const cached = new VmxCpu();
  const full = new VmxCpu();
  const memory = cached.memory.state.bytes.length;
  const kinds = new Map<string, number>();
  fc.assert(
    fc.property(entries, (list) => {
      cached.reset();
      full.reset();
      for (const changes of list) {
        for (const one of changes) {
          apply(cached, one);
          apply(full, one);
        }
        full.write32(PAGE.VMCS + X.VMCS_DIRTY_AT, 1);
        const got = outcome(cached);
        expect(outcome(full)).toBe(got);
        const kind = /"kind":"([\w-]+)"/.exec(got)![1]!;
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        if (backToRoot(cached) && backToRoot(full)) continue;
        cached.reset();
        full.reset();
      }
    }),
    { numRuns: Math.ceil(CASES / ENTRIES), seed: 4, endOnFailure: true },
  );
  // All three ends have been met, and nothing has grown.
  expect([...kinds.keys()].sort()).toEqual(["entered", "fail-valid", "failed-entry"]);
  expect([...kinds.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(CASES);
  expect(cached.memory.wasm.buffer.byteLength).toBe(memory);
}, 600_000);
