/**
 * Scan codes: set 2, which keyboards send, its translation to set 1 by the 8042, and the keys by the names of QEMU's `sendkey`. IBM,
 * "Personal System/2 Hardware Interface Technical Reference", "Keyboard (101- and 102-Key)".
 */

/** A key's code in set 2; `EXTENDED` says that E0H comes before it. */
export const EXTENDED = 0x100;
/** The one key with a sequence of its own, which it sends when it is pressed. */
export const PAUSE = 0x1ff;
export const PAUSE_SEQUENCE: readonly number[] = [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77];
export const EXTENSION = 0xe0;
export const BREAK = 0xf0;

/** Set 2 to set 1, for codes below 85H. */
const TRANSLATION = [
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65, 0x38,
  0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20,
  0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15,
  0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60,
  0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36,
  0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b,
  0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49,
  0x46, 0x54, 0x80, 0x81, 0x82, 0x41, 0x54,
] as const;

/** The set 1 code of a set 2 code; bytes that are no key's stay as they are. */
export function toSet1(code: number): number {
  return TRANSLATION[code] ?? code;
}

/** Letters and digits first, so that their names are their characters. */
const KEYS: Readonly<Record<string, number>> = {
  ...{ a: 0x1c, b: 0x32, c: 0x21, d: 0x23, e: 0x24, f: 0x2b, g: 0x34, h: 0x33, i: 0x43, j: 0x3b, k: 0x42 },
  ...{ l: 0x4b, m: 0x3a, n: 0x31, o: 0x44, p: 0x4d, q: 0x15, r: 0x2d, s: 0x1b, t: 0x2c, u: 0x3c, v: 0x2a },
  ...{ w: 0x1d, x: 0x22, y: 0x35, z: 0x1a },
  ...{ 0: 0x45, 1: 0x16, 2: 0x1e, 3: 0x26, 4: 0x25, 5: 0x2e, 6: 0x36, 7: 0x3d, 8: 0x3e, 9: 0x46 },
  ...{ minus: 0x4e, equal: 0x55, bracket_left: 0x54, bracket_right: 0x5b, semicolon: 0x4c },
  ...{ apostrophe: 0x52, grave_accent: 0x0e, backslash: 0x5d, comma: 0x41, dot: 0x49, slash: 0x4a },
  ...{ less: 0x61, spc: 0x29, ret: 0x5a, tab: 0x0d, esc: 0x76, backspace: 0x66 },
  ...{ shift: 0x12, shift_r: 0x59, ctrl: 0x14, ctrl_r: EXTENDED | 0x14, alt: 0x11, alt_r: EXTENDED | 0x11 },
  ...{ meta_l: EXTENDED | 0x1f, meta_r: EXTENDED | 0x27, menu: EXTENDED | 0x2f },
  ...{ caps_lock: 0x58, num_lock: 0x77, scroll_lock: 0x7e, print: EXTENDED | 0x7c, pause: PAUSE },
  ...{ f1: 0x05, f2: 0x06, f3: 0x04, f4: 0x0c, f5: 0x03, f6: 0x0b, f7: 0x83, f8: 0x0a, f9: 0x01, f10: 0x09 },
  ...{ f11: 0x78, f12: 0x07 },
  ...{ up: EXTENDED | 0x75, down: EXTENDED | 0x72, left: EXTENDED | 0x6b, right: EXTENDED | 0x74 },
  ...{ home: EXTENDED | 0x6c, end: EXTENDED | 0x69, pgup: EXTENDED | 0x7d, pgdn: EXTENDED | 0x7a },
  ...{ insert: EXTENDED | 0x70, delete: EXTENDED | 0x71 },
  ...{ kp_0: 0x70, kp_1: 0x69, kp_2: 0x72, kp_3: 0x7a, kp_4: 0x6b, kp_5: 0x73, kp_6: 0x74, kp_7: 0x6c },
  ...{ kp_8: 0x75, kp_9: 0x7d, kp_add: 0x79, kp_subtract: 0x7b, kp_multiply: 0x7c, kp_decimal: 0x71 },
  ...{ kp_divide: EXTENDED | 0x4a, kp_enter: EXTENDED | 0x5a },
};

/** Characters of the US layout: the key, and whether Shift is held. */
const CHARACTERS = new Map<string, readonly [key: string, shifted: boolean]>();
for (const [characters, keys] of [
  [" \n\t", ["spc", "ret", "tab"]],
  [
    "-=[];'`\\,./",
    "minus equal bracket_left bracket_right semicolon apostrophe grave_accent backslash comma dot slash".split(
      " ",
    ),
  ],
] as const)
  Array.from(characters, (character, i) => CHARACTERS.set(character, [keys[i]!, false]));
Array.from(")!@#$%^&*(", (character, digit) => CHARACTERS.set(character, [String(digit), true]));
Array.from('_+{}:"~|<>?', (character, i) =>
  CHARACTERS.set(character, [
    "minus equal bracket_left bracket_right semicolon apostrophe grave_accent backslash comma dot slash".split(
      " ",
    )[i]!,
    true,
  ]),
);
for (const character of "abcdefghijklmnopqrstuvwxyz0123456789") CHARACTERS.set(character, [character, false]);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
  CHARACTERS.set(character, [character.toLowerCase(), true]);

/** What happens to a key. */
export interface KeyEvent {
  /** Set 2 code with EXTENDED, or PAUSE. */
  readonly code: number;
  readonly pressed: boolean;
}

/** Presses the keys in order, then lets go of them from the last to the first. */
function chord(keys: readonly string[]): KeyEvent[] {
  const codes = keys.map((key) => KEYS[key]!);
  return [
    ...codes.map((code) => ({ code, pressed: true })),
    ...codes.reverse().map((code) => ({ code, pressed: false })),
  ];
}

/**
 * What is to be typed as key events: characters of the US layout, and names of QEMU's `sendkey` in angle brackets, several held
 * together joined by "-": `root<ret>`, `<ctrl-alt-delete>`. Throws RangeError that names what is none.
 */
export function keyEvents(text: string): KeyEvent[] {
  const events: KeyEvent[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === "<") {
      const end = text.indexOf(">", at);
      if (end < 0) throw new RangeError(`"${text.slice(at)}": ">" is missing; "<" itself is <shift-comma>`);
      const names = text.slice(at + 1, end).split("-");
      const unknown = names.find((name) => !Object.hasOwn(KEYS, name));
      if (unknown !== undefined) throw new RangeError(`<${names.join("-")}>: there is no key "${unknown}"`);
      events.push(...chord(names));
      at = end;
      continue;
    }
    const key = CHARACTERS.get(character);
    if (key === undefined) throw new RangeError(`"${character}" is not on the US keyboard`);
    events.push(...chord(key[1] ? ["shift", key[0]] : [key[0]]));
  }
  return events;
}
