/** The corpora: which forms each has, in which mode, and how many cases of each form. */
import { MODE_16, MODE_64, MODE_COMPATIBILITY, type Mode } from "./environment.ts";
import { formsOf, imageFormsOf, mediaFormsOf, type Form } from "./forms.ts";
import { isFloat } from "./lanes.ts";

export interface Suite {
  /** Name of the file in `corpus/`, without its ending. */
  readonly name: string;
  readonly mode: Mode;
  readonly casesPerForm: number;
  forms(): Form[];
}

const isX87 = (form: Form): boolean => form.row.feature === "X87";

const integer = (name: string, mode: Mode): Suite => ({
  name,
  mode,
  casesPerForm: 60,
  forms: () => formsOf(mode),
});

/** Vector instructions: floating point apart, since edges and rounding need more cases. */
const vector = (name: string, mode: Mode, casesPerForm: number, float: boolean): Suite => ({
  name,
  mode,
  casesPerForm,
  forms: () => mediaFormsOf(mode).filter((form) => !isX87(form) && isFloat(form) === float),
});

/** The `x87/` corpus has its edge cases; these, what depends on mode: images, pointers, faults of memory operands. */
const x87 = (name: string, mode: Mode, casesPerForm: number): Suite => ({
  name,
  mode,
  casesPerForm,
  forms: () => mediaFormsOf(mode).filter(isX87),
});

/** FXSAVE, XSAVE and their like. */
const image = (name: string, mode: Mode, casesPerForm: number): Suite => ({
  name,
  mode,
  casesPerForm,
  forms: () => imageFormsOf(mode),
});

export const INTEGER_SUITES: readonly Suite[] = [
  integer("64-bit", MODE_64),
  integer("compatibility", MODE_COMPATIBILITY),
  integer("16-bit", MODE_16),
];
export const MEDIA_SUITES: readonly Suite[] = [
  vector("vector-64-bit", MODE_64, 30, false),
  vector("vector-compatibility", MODE_COMPATIBILITY, 10, false),
  vector("float-64-bit", MODE_64, 100, true),
  vector("float-compatibility", MODE_COMPATIBILITY, 10, true),
  x87("x87-64-bit", MODE_64, 80),
  x87("x87-compatibility", MODE_COMPATIBILITY, 20),
  x87("x87-16-bit", MODE_16, 10),
  image("image-64-bit", MODE_64, 150),
  image("image-compatibility", MODE_COMPATIBILITY, 60),
];
export const SUITES: readonly Suite[] = [...INTEGER_SUITES, ...MEDIA_SUITES];
