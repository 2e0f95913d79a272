/** Turns a struct declaration into AssemblyScript: an `@unmanaged` class and offset constants. */
import type { Fields, StructType } from "./struct.ts";

const screaming = (name: string): string => name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();

/**
 * The class has a field per scalar and byte-exact padding elsewhere; arrays, bytes and nested structs are
 * reached by their offset constant `<NAME>_<FIELD>`. `<NAME>_SIZE` is the struct's size in bytes.
 */
export function assemblyScriptOf<F extends Fields>(type: StructType<F>): string {
  const prefix = screaming(type.name);
  const constants: string[] = [`export const ${prefix}_SIZE: usize = ${type.size};`];
  const members: string[] = [];
  let at = 0;
  let paddings = 0;
  const pad = (until: number): void => {
    for (const width of [1, 2, 4, 8] as const) {
      // Natural alignment makes greedy padding exact: widen while aligned and room is left.
      if (at % (width * 2) !== 0 && width < 8 && at + width <= until) {
        members.push(`  padding${paddings++}: u${width * 8};`);
        at += width;
      }
    }
    for (const width of [8, 4, 2, 1] as const)
      while (at % width === 0 && at + width <= until) {
        members.push(`  padding${paddings++}: u${width * 8};`);
        at += width;
      }
  };
  for (const [name, field] of Object.entries(type.fields)) {
    const offset = type.offsets[name]!;
    constants.push(`export const ${prefix}_${screaming(name)}: usize = ${offset};`);
    if (field.scalar === undefined || field.kind === "array") continue;
    pad(offset);
    members.push(`  ${name}: ${field.scalar};`);
    at = offset + field.size;
  }
  pad(type.size);
  return `@unmanaged\nexport class ${type.name} {\n${members.join("\n")}\n}\n${constants.join("\n")}\n`;
}
