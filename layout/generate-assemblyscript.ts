/**
 * Generates AssemblyScript declarations from a struct declaration, so that both languages see one layout.
 */
import type { Fields, StructType } from "./struct.ts";

/** `operandSize` -> `OPERAND_SIZE`. */
export const constantName = (name: string): string =>
  name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toUpperCase();

/**
 * The text of an `@unmanaged` class with the struct's scalar fields, and of the constants `NAME_FIELD` (offset of each
 * field in bytes, also of arrays, byte ranges and nested structs) and `NAME_SIZE`.
 *
 * AssemblyScript lays a class out by natural alignment, as `struct` does. Where the class alone would not reach a
 * field's offset (after fields that are not scalars, or after raised alignment), padding fields are put in.
 */
export function assemblyScriptStruct<F extends Fields>(type: StructType<F>, comment: string): string {
  const prefix = constantName(type.name);
  const constants: string[] = [];
  const members: string[] = [];
  let end = 0;
  const pad = (to: number): void => {
    while (end < to) {
      const width = [8, 4, 2, 1].find((size) => end % size === 0 && end + size <= to)!;
      members.push(`  padding${end}: u${width * 8};`);
      end += width;
    }
  };
  for (const [name, field] of Object.entries(type.fields)) {
    const offset = type.offsets[name]!;
    constants.push(`export const ${prefix}_${constantName(name)}: usize = ${offset};`);
    // An array's element type is also called scalar: only single values become members.
    const isMember = field.scalar !== undefined && field.count === 1 && field.kind !== "array";
    if (!isMember) continue;
    pad(offset);
    members.push(`  ${name}: ${field.scalar};`);
    end = offset + field.size;
  }
  pad(type.size);
  return [
    ...constants,
    `export const ${prefix}_SIZE: usize = ${type.size};`,
    `/** ${comment} */`,
    "@unmanaged",
    `export class ${type.name} {`,
    ...members,
    "}",
    "",
  ].join("\n");
}
