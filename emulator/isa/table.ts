/** The instruction table: every opcode form that CPU model `max` decodes. Row numbers are indices into `ROWS`. */
import type { Row } from "./format.ts";
import { AVX_INTEGER_ROWS } from "./avx-integer.ts";
import { AVX_ROWS } from "./avx.ts";
import { FMA_BMI_ROWS } from "./fma-bmi.ts";
import { MMX_ROWS } from "./mmx.ts";
import { ONE_BYTE_ROWS } from "./one-byte.ts";
import { SSE3_TO_SHA_ROWS } from "./sse3-sha.ts";
import { SSE_ROWS } from "./sse.ts";
import { TWO_BYTE_ROWS } from "./two-byte.ts";
import { VMX_ROWS } from "./vmx.ts";
import { X87_ROWS } from "./x87.ts";

export type { Row } from "./format.ts";

export const ROWS: readonly Row[] = [
  ...ONE_BYTE_ROWS,
  ...TWO_BYTE_ROWS,
  ...VMX_ROWS,
  ...X87_ROWS,
  ...MMX_ROWS,
  ...SSE_ROWS,
  ...SSE3_TO_SHA_ROWS,
  ...AVX_ROWS,
  ...AVX_INTEGER_ROWS,
  ...FMA_BMI_ROWS,
];

const ids = new Set(ROWS.map((row) => row.id));
if (ids.size !== ROWS.length) throw new Error("instruction table: two rows have the same id");
