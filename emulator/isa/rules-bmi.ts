/** Rules of BMI1 and BMI2: VEX-encoded instructions on general registers. */
import type { Row } from "./format.ts";
import type { Rule } from "./rule.ts";

const readable = "const at = Linear.readable<T>(Address.forRead(record, sizeof<T>())); if (at == 0) return;";
/** VEX.vvvv as a general register. */
const V = "load<T>(CPU + ((<usize>load<u8>(record, R_EXTRA)) << 3))";

/** destination = f(value), where the value is a register or in memory. */
const from = (f: (value: string) => string): Rule => ({
  register: `Op.setDst<T>(record, ${f("Op.src<T>(record)")});`,
  memory: `${readable} Op.setDst<T>(record, ${f("load<T>(at)")});`,
});

const RULES: Readonly<Record<string, Rule>> = {
  ANDN: from((value) => `andn<T>(${V}, ${value})`),
  BLSR: from((value) => `blsr<T>(${value})`),
  BLSMSK: from((value) => `blsmsk<T>(${value})`),
  BLSI: from((value) => `blsi<T>(${value})`),
  BEXTR: from((value) => `bextr<T>(${value}, <u32>${V})`),
  BZHI: from((value) => `bzhi<T>(${value}, <u32>${V})`),
  PEXT: from((value) => `pext<T>(${V}, ${value})`),
  PDEP: from((value) => `pdep<T>(${V}, ${value})`),
  SHLX: from((value) => `shlx<T>(${value}, ${V})`),
  SHRX: from((value) => `shrx<T>(${value}, ${V})`),
  SARX: from((value) => `sarx<T>(${value}, ${V})`),
  RORX: from((value) => `rorx<T>(${value}, <u32>Op.imm<u8>(record))`),
  MULX: {
    register: "mulx<T>(record, Op.src<T>(record));",
    memory: `${readable} mulx<T>(record, load<T>(at));`,
  },
};

/** The rule of a row of BMI1 or BMI2, or undefined. */
export function bmiRule(row: Row): Rule | undefined {
  return row.feature === "BMI1" || row.feature === "BMI2" ? RULES[row.mnemonic] : undefined;
}
