/** `-chardev`: where the bytes of a character device go. */
import { appendFileSync, writeFileSync } from "node:fs";
import type { CharacterSink } from "../devices/ports.ts";
import { OptionError } from "./option-error.ts";

/** A character device by its id: nothing, the terminal that the serial port has as well, or a file. */
export type CharacterOptions =
  | { readonly kind: "null" | "stdio"; readonly id: string }
  | { readonly kind: "file"; readonly id: string; readonly path: string };

/** Makes the files anew, when the machine is made. Throws OptionError where that fails. */
export function startCharacters(characters: readonly CharacterOptions[]): void {
  for (const character of characters) {
    if (character.kind !== "file") continue;
    try {
      writeFileSync(character.path, "");
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new OptionError(`-chardev file,id=${character.id}: ${why}; name a file that can be written`);
    }
  }
}

/** This thread's way to a character device. `transmit`: to the terminal. */
export function openCharacter(character: CharacterOptions, transmit: (byte: number) => void): CharacterSink {
  switch (character.kind) {
    case "null":
      return { write: () => undefined };
    case "stdio":
      return { write: (bytes) => bytes.forEach((byte) => transmit(byte)) };
    case "file":
      return {
        write: (bytes) => {
          try {
            appendFileSync(character.path, bytes);
          } catch {
            // The machine goes on: a full disk is no fault of the guest's.
          }
        },
      };
  }
}
