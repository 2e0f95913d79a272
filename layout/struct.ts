/**
 * The schema of volatile state: structs in the one shared memory.
 *
 * All volatile state of the machine (CPU blocks, device registers, queues, scheduler) lives in one
 * `WebAssembly.Memory`, so that saving, restoring, hashing and comparing a machine are page copies and any
 * worker can serve any device. A struct is declared once with `struct(name, fields)`; TypeScript reaches it
 * through `at(memory, offset)`, AssemblyScript through offsets generated from the same declaration.
 *
 * All fields are little-endian and naturally aligned.
 */

/** Views on the one memory. Created once per thread; shared memory never detaches them. */
export class StateMemory {
  readonly buffer: SharedArrayBuffer | ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly u64: BigUint64Array;
  readonly f64: Float64Array;

  constructor(buffer: SharedArrayBuffer | ArrayBuffer) {
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.f64 = new Float64Array(buffer);
  }
}

/** A field's type: how wide it is, how it is aligned, and how a view reaches it. */
export interface FieldType<T> {
  readonly kind: "u8" | "u16" | "u32" | "i32" | "u53" | "u64" | "bytes" | "array" | "struct" | "structs";
  readonly size: number;
  readonly align: number;
  /** Elements in an array-like field, else 1. */
  readonly count: number;
  /** The AssemblyScript scalar type, where the field is a scalar. */
  readonly scalar: string | undefined;
  /** A scalar's accessors for the byte offset `at` in the struct. */
  readonly accessors?: (at: number) => PropertyDescriptor & ThisType<StructView>;
  /** Where the field is not a scalar: what a view has in its place, made once with the view. */
  readonly value?: (memory: StateMemory, offset: number) => T;
  /** Type carrier only; never set. */
  readonly type?: T;
}

/**
 * What a view consists of: the struct's own stretch of memory, by element. Its fields are accessors of a class of its own for
 * each struct, so that all views of a struct have one shape: with accessors of their own, objects become dictionaries. Each
 * kind's accessors are written out and load one property of the view, since that load meets the shapes of all structs
 * wherever the engine does not inline the accessor (docs/performance.md).
 */
class StructView {
  readonly $bytes: Uint8Array;
  readonly $u16: Uint16Array;
  readonly $u32: Uint32Array;
  readonly $i32: Int32Array;
  readonly $u64: BigUint64Array;
  readonly $values: readonly unknown[];

  /** @param size bytes, a multiple of the widest scalar's */
  constructor(memory: StateMemory, offset: number, size: number, values: readonly unknown[]) {
    const end = offset + size;
    this.$bytes = memory.bytes.subarray(offset, end);
    this.$u16 = memory.u16.subarray(offset >>> 1, end >>> 1);
    this.$u32 = memory.u32.subarray(offset >>> 2, end >>> 2);
    this.$i32 = memory.i32.subarray(offset >>> 2, end >>> 2);
    this.$u64 = memory.u64.subarray(offset >>> 3, end >>> 3);
    this.$values = values;
  }
}

function scalar<T>(
  kind: FieldType<T>["kind"],
  size: number,
  scalarName: string,
  accessors: NonNullable<FieldType<T>["accessors"]>,
): FieldType<T> {
  return { kind, size, align: size, count: 1, scalar: scalarName, accessors };
}

export const u8 = scalar<number>("u8", 1, "u8", (at) => ({
  get() {
    return this.$bytes[at]!;
  },
  set(value: number) {
    this.$bytes[at] = value;
  },
}));
export const u16 = scalar<number>("u16", 2, "u16", (at) => {
  const index = at >>> 1;
  return {
    get() {
      return this.$u16[index]!;
    },
    set(value: number) {
      this.$u16[index] = value;
    },
  };
});
export const u32 = scalar<number>("u32", 4, "u32", (at) => {
  const index = at >>> 2;
  return {
    get() {
      return this.$u32[index]!;
    },
    set(value: number) {
      this.$u32[index] = value;
    },
  };
});
export const i32 = scalar<number>("i32", 4, "i32", (at) => {
  const index = at >>> 2;
  return {
    get() {
      return this.$i32[index]!;
    },
    set(value: number) {
      this.$i32[index] = value;
    },
  };
});
/** 8 bytes holding an unsigned integer below 2^53, as a number: times and byte offsets. */
export const u53 = scalar<number>("u53", 8, "u64", (at) => {
  const low = at >>> 2;
  const high = low + 1;
  return {
    get() {
      const words = this.$u32;
      return words[high]! * 4294967296 + words[low]!;
    },
    set(value: number) {
      const words = this.$u32;
      words[low] = value >>> 0;
      // Division by a power of two is exact, so what is cut off is the fraction alone.
      words[high] = (value / 4294967296) >>> 0;
    },
  };
});
/** 8 bytes as a BigInt. Slow: not for hot paths. */
export const u64 = scalar<bigint>("u64", 8, "u64", (at) => {
  const index = at >>> 3;
  return {
    get() {
      return this.$u64[index]!;
    },
    set(value: bigint) {
      this.$u64[index] = BigInt.asUintN(64, value);
    },
  };
});

/** `count` bytes, seen as a `Uint8Array` on the shared memory. */
export function bytes(count: number, align = 1): FieldType<Uint8Array> {
  return {
    kind: "bytes",
    size: count,
    align,
    count,
    scalar: undefined,
    value: (memory, offset) => memory.bytes.subarray(offset, offset + count),
  };
}

type ElementArray = {
  u16: Uint16Array;
  u32: Uint32Array;
  i32: Int32Array;
  u64: BigUint64Array;
  f64: Float64Array;
};

/** A fixed array of scalars, seen as a typed array on the shared memory. */
export function array<K extends keyof ElementArray>(element: K, count: number): FieldType<ElementArray[K]> {
  const width = { u16: 2, u32: 4, i32: 4, u64: 8, f64: 8 }[element];
  return {
    kind: "array",
    size: width * count,
    align: width,
    count,
    scalar: element,
    value: (memory, offset) =>
      memory[element].subarray(offset / width, offset / width + count) as ElementArray[K],
  };
}

export type Fields = Readonly<Record<string, FieldType<unknown>>>;
export type View<F extends Fields> = {
  -readonly [K in keyof F]: F[K] extends FieldType<infer T> ? T : never;
};

/** A struct: its layout, and a way to see it at an offset of the shared memory. */
export interface StructType<F extends Fields> {
  readonly name: string;
  readonly size: number;
  readonly align: number;
  readonly fields: F;
  readonly offsets: { readonly [K in keyof F]: number };
  /**
   * A live view: reading a property reads the shared memory. Create once, keep. The fields are accessors of its class, not
   * properties of its own: spread and `Object.entries` do not see them.
   */
  at(memory: StateMemory, offset: number): View<F>;
}

/** The TypeScript type of a struct's view: `type Registers = ViewOf<typeof RegistersStruct>`. */
export type ViewOf<S> = S extends StructType<infer F> ? View<F> : never;

const alignUp = (value: number, align: number): number => Math.ceil(value / align) * align;

/** The constructor of a struct's views: a class with the fields as accessors. */
function viewClass(
  fields: Fields,
  offsets: Readonly<Record<string, number>>,
  size: number,
): (memory: StateMemory, offset: number) => StructView {
  class OneStructView extends StructView {}
  const values: { readonly at: number; readonly make: (memory: StateMemory, offset: number) => unknown }[] =
    [];
  for (const [key, { accessors, value }] of Object.entries(fields)) {
    const at = offsets[key]!;
    if (accessors !== undefined) Object.defineProperty(OneStructView.prototype, key, accessors(at));
    if (value === undefined) continue;
    const index = values.push({ at, make: value }) - 1;
    const descriptor: PropertyDescriptor & ThisType<StructView> = {
      get() {
        return this.$values[index];
      },
    };
    Object.defineProperty(OneStructView.prototype, key, descriptor);
  }
  return (memory, offset) =>
    new OneStructView(
      memory,
      offset,
      size,
      values.map(({ at, make }) => make(memory, offset + at)),
    );
}

/** Declares a struct. Field order is memory order; `align` raises the alignment (and size multiple). */
export function struct<F extends Fields>(name: string, fields: F, align = 1): StructType<F> {
  const offsets: Record<string, number> = {};
  let end = 0;
  let widest = align;
  for (const [key, field] of Object.entries(fields)) {
    end = alignUp(end, field.align);
    offsets[key] = end;
    end += field.size;
    widest = Math.max(widest, field.align);
  }
  const size = alignUp(end, widest);
  const view = viewClass(fields, offsets, size);
  return {
    name,
    size,
    align: widest,
    fields,
    offsets: offsets as { readonly [K in keyof F]: number },
    at(memory, offset) {
      if (offset % widest !== 0) throw new RangeError(`${name} at ${offset}: not aligned to ${widest}`);
      return view(memory, offset) as View<F>;
    },
  };
}

/** A struct inside a struct. */
export function nested<F extends Fields>(type: StructType<F>): FieldType<View<F>> {
  return {
    kind: "struct",
    size: type.size,
    align: type.align,
    count: 1,
    scalar: undefined,
    value: (memory, offset) => type.at(memory, offset),
  };
}

/** A fixed array of structs inside a struct. */
export function nestedArray<F extends Fields>(
  type: StructType<F>,
  count: number,
): FieldType<readonly View<F>[]> {
  return {
    kind: "structs",
    size: type.size * count,
    align: type.align,
    count,
    scalar: undefined,
    value: (memory, offset) =>
      Array.from({ length: count }, (_, i) => type.at(memory, offset + i * type.size)),
  };
}

/**
 * Hands out places in the state area, in construction order.
 *
 * Every thread builds the same machine from the same configuration, so the same calls give the same offsets:
 * no pointers need to be passed. Between two blocks lies a red zone, so that a stray write is found by its
 * pattern instead of corrupting a neighbour.
 */
export class StateAllocator {
  readonly memory: StateMemory;
  readonly blocks: { readonly label: string; readonly offset: number; readonly size: number }[] = [];
  #next: number;
  readonly #end: number;

  /** Bytes between two blocks, filled with `RED_ZONE_BYTE` when the machine is created. */
  static readonly RED_ZONE = 64;
  static readonly RED_ZONE_BYTE = 0xa5;

  constructor(memory: StateMemory, start: number, end: number) {
    this.memory = memory;
    this.#next = start;
    this.#end = end;
  }

  /** Takes `size` bytes; throws when the state area is full (a configuration error, not a guest's doing). */
  take(label: string, size: number, align = 8): number {
    const offset = alignUp(this.#next + StateAllocator.RED_ZONE, Math.max(8, align));
    if (offset + size > this.#end)
      throw new RangeError(`state area full: ${label} needs ${size} bytes, ${this.#end - offset} left`);
    this.#next = offset + size;
    this.blocks.push({ label, offset, size });
    return offset;
  }

  /** Takes a struct's place and returns its live view. */
  place<F extends Fields>(label: string, type: StructType<F>): View<F> {
    return type.at(this.memory, this.take(label, type.size, type.align));
  }
}
