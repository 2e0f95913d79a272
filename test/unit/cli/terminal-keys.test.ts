import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keysOf } from "../../../cli/terminal-keys.ts";
import { keyEvents } from "../../../devices/input/scan-codes.ts";

describe("what a terminal sends, as keys", () => {
  test.each([
    ["ls -l <x>\r", "ls -l <shift-comma>x><ret>"],
    ["\x1b[A\x1b[B\x1b[C\x1b[D", "<up><down><right><left>"],
    ["\x1bOA\x1bOP", "<up><f1>"],
    ["\x1b[3~\x1b[5~\x1b[24~", "<delete><pgup><f12>"],
    ["\x1b[1;5C\x1b[1;2D\x1b[3;6~", "<ctrl-right><shift-left><shift-ctrl-delete>"],
    ["\x03\x04\t\x7f", "<ctrl-c><ctrl-d><tab><backspace>"],
    ["\x1b", "<esc>"],
    ["\x1bx", "<alt-x>"],
    ["\xe4\x00", ""],
    ["\x1b[99~ok", "ok"],
  ])("%j", (sent, keys) => expect(keysOf(sent)).toBe(keys));

  test("whatever it sends, the keyboard can type it", () => {
    const piece = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("\x1b", "\x1b[", "\x1bO", "1;", "5", "~", "A", "Z", "<", ";99999999999999999999A"),
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        expect(() => keyEvents(keysOf(pieces.join("")))).not.toThrow();
      }),
    );
  });
});
