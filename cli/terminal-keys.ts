/**
 * What a terminal sends, as keys of the guest's keyboard (devices/input/scan-codes.ts `keyEvents`): xterm's control sequences, which other
 * terminals follow. What is no key of the US layout is left out.
 */

/** Last letter of a sequence `ESC [ … letter` or `ESC O letter`. */
const BY_LETTER: Readonly<Record<string, string>> = {
  ...{ A: "up", B: "down", C: "right", D: "left", H: "home", F: "end", Z: "shift-tab" },
  ...{ P: "f1", Q: "f2", R: "f3", S: "f4", M: "kp_enter" },
};
/** Number of a sequence `ESC [ number ~`. */
const BY_NUMBER: Readonly<Record<string, string>> = {
  ...{ 1: "home", 2: "insert", 3: "delete", 4: "end", 5: "pgup", 6: "pgdn", 7: "home", 8: "end" },
  ...{ 11: "f1", 12: "f2", 13: "f3", 14: "f4", 15: "f5", 17: "f6", 18: "f7", 19: "f8", 20: "f9", 21: "f10" },
  ...{ 23: "f11", 24: "f12" },
};
/** Bits of a sequence's second number less 1. */
const MODIFIERS = ["shift", "alt", "ctrl", "meta_l"];
const SEQUENCE = /^\x1b(?:\[(\d*)(?:;(\d+))?([A-Z~])|O([A-Z]))/;

function named(name: string, modifier: number): string {
  const held = MODIFIERS.filter((_, bit) => ((modifier - 1) >> bit) & 1);
  return `<${[...held, name].join("-")}>`;
}

/** One character that is not part of a sequence; undefined for what is no key. */
function character(text: string): string | undefined {
  const code = text.charCodeAt(0);
  if (text === "\r" || text === "\n") return "<ret>";
  if (text === "\t") return "<tab>";
  if (text === "\x1b") return "<esc>";
  if (text === "\x7f" || text === "\b") return "<backspace>";
  if (text === "<") return "<shift-comma>";
  if (code >= 1 && code <= 26) return `<ctrl-${String.fromCharCode(0x60 + code)}>`;
  return code >= 0x20 && code < 0x7f ? text : undefined;
}

/**
 * @param text what came at once: a sequence that is cut in two counts as Escape and characters
 * @returns as `Machine.type` takes it
 */
export function keysOf(text: string): string {
  let keys = "";
  for (let at = 0; at < text.length;) {
    const [whole, number, modifier, letter, functionLetter] = SEQUENCE.exec(text.slice(at, at + 16)) ?? [];
    if (whole !== undefined) {
      const name = letter === "~" ? BY_NUMBER[number ?? ""] : BY_LETTER[letter ?? functionLetter ?? ""];
      if (name !== undefined) keys += named(name, Number(modifier ?? 1));
      at += whole.length;
      continue;
    }
    // Escape and a character at once: Alt.
    const isAlt = text[at] === "\x1b" && /^[a-z0-9]$/.test(text[at + 1] ?? "");
    keys += isAlt ? `<alt-${text[at + 1]!}>` : (character(text[at]!) ?? "");
    at += isAlt ? 2 : 1;
  }
  return keys;
}
