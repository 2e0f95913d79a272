import { describe, expect, test } from "vitest";
import { drawing } from "../../../cli/screen-console.ts";

const CLEAR_REST = "\x1b[K";
const HIDE = "\x1b[?25l";
const SHOW = "\x1b[?25h";

describe("what the terminal is told", () => {
  test("the lines that differ, and the cursor last", () => {
    expect(drawing(["a", "b", "c"], ["a", "B", "c"], { row: 2, column: 4 })).toBe(
      `${HIDE}\x1b[2;1HB${CLEAR_REST}\x1b[3;5H${SHOW}`,
    );
  });

  test("nothing but the cursor when nothing has changed; no cursor where there is none", () => {
    expect(drawing(["a"], ["a"], undefined)).toBe(HIDE);
  });

  test("lines that are there no more are cleared", () => {
    expect(drawing(["a", "b"], ["a"], undefined)).toBe(`${HIDE}\x1b[2;1H${CLEAR_REST}`);
  });
});
