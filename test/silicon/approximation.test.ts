/** RCPPS and RSQRTPS of our core: within the error that Intel SDM Vol. 2 allows, of values of all magnitudes. */
import { beforeAll, describe, expect, test } from "vitest";
import { BUILD_TIMEOUT, buildCore } from "../support/build-core.ts";
import { Random } from "../support/random.ts";
import { CoreUnderTest } from "./core-under-test.ts";
import { CODE, INITIAL_RFLAGS, MODE_64 } from "./environment.ts";
import { CONTROL_OFFSET, MEDIA_BYTES, MXCSR_OFFSET, XMM_OFFSET } from "./media.ts";

const BOUND = 1.5 * 2 ** -12;
const VALUES = 20_000;
const SEED = 12;

let core: CoreUnderTest;

beforeAll(async () => {
  core = new CoreUnderTest(await buildCore("emulator/core/index.ts"));
  core.enter(MODE_64);
}, BUILD_TIMEOUT);

/** Executes the instruction on four singles in XMM1; the result is in XMM0. */
function execute(code: readonly number[], operands: Float32Array): Float32Array {
  const media = new Uint8Array(MEDIA_BYTES);
  const view = new DataView(media.buffer);
  view.setUint16(CONTROL_OFFSET, 0x37f, true);
  view.setUint32(MXCSR_OFFSET, 0x1f80, true);
  new Float32Array(media.buffer, XMM_OFFSET + 16, 4).set(operands);
  core.writeMemory(CODE, Uint8Array.from(code));
  core.setRegisters(new BigUint64Array(16), BigInt(CODE), INITIAL_RFLAGS);
  core.setMedia(media);
  expect(core.step()).toBeUndefined();
  return new Float32Array(core.media().buffer, XMM_OFFSET, 4).slice();
}

describe.each([
  ["RCPPS", [0x0f, 0x53, 0xc1], (x: number) => 1 / x],
  ["RSQRTPS", [0x0f, 0x52, 0xc1], (x: number) => 1 / Math.sqrt(x)],
] as const)("%s", (_, code, exact) => {
  test("has a relative error of at most 1.5 * 2^-12", () => {
    const random = new Random(SEED);
    const words = new Uint32Array(4);
    const operands = new Float32Array(words.buffer);
    let worst = 0;
    for (let i = 0; i < VALUES; i += 4) {
      // Normal numbers whose reciprocals are normal numbers.
      for (let lane = 0; lane < 4; lane++)
        words[lane] = ((2 + random.below(250)) << 23) | (random.next() & 0x7fffff);
      execute(code, operands).forEach((result, lane) => {
        worst = Math.max(worst, Math.abs(result / exact(operands[lane]!) - 1));
      });
    }
    expect(worst).toBeGreaterThan(0);
    expect(worst).toBeLessThanOrEqual(BOUND);
  });
});
