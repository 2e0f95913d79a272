/** `name=value,...` as QEMU writes it in `-drive`, `-device` and their like: each value is taken once, and what nobody took is an error. */

/** Marks a doubled comma, which stands for a comma in a value. */
const COMMA = "\0";

export class Properties {
  readonly #option: string;
  readonly #values = new Map<string, string>();
  readonly #lists: ReadonlyMap<string, string[]>;

  /**
   * Throws an Error that names the wrong part, as every method here does.
   *
   * @param option the text with the option's name, for messages: `-drive file=…`
   * @param text the properties
   * @param first name of a first property that may be given as its value alone
   * @param many names of properties that may be given more than once
   */
  constructor(option: string, text: string, first?: string, many: readonly string[] = []) {
    this.#option = option;
    this.#lists = new Map(many.map((name) => [name, []]));
    text
      .replaceAll(",,", COMMA)
      .split(",")
      .forEach((part, index) => {
        const equals = part.indexOf("=");
        if (index === 0 && first !== undefined && equals < 0) this.#put(first, part);
        else if (equals < 1) this.fail(`"${part}" is not of the form name=value`);
        else this.#put(part.slice(0, equals), part.slice(equals + 1));
      });
  }

  #put(name: string, value: string): void {
    const plain = value.replaceAll(COMMA, ",");
    const list = this.#lists.get(name);
    if (list !== undefined) list.push(plain);
    else if (this.#values.has(name)) this.fail(`${name}= is given twice`);
    else this.#values.set(name, plain);
  }

  /** Refuses the option. */
  fail(why: string): never {
    throw new Error(`${this.#option}: ${why}`);
  }

  take(name: string): string | undefined {
    const value = this.#values.get(name);
    this.#values.delete(name);
    return value;
  }

  /** The values of a property that may be given more than once. */
  all(name: string): readonly string[] {
    return this.#lists.get(name)?.splice(0) ?? [];
  }

  /** A value that must be there and not empty. */
  required(name: string): string {
    const value = this.take(name);
    return value === undefined || value === "" ? this.fail(`${name}= is missing`) : value;
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T | undefined {
    const value = this.take(name);
    if (value === undefined) return undefined;
    const found = values.find((known) => known === value);
    return (
      found ??
      this.fail(
        `${name}=${value} must be ${values.slice(0, -1).join(", ")} or ${values[values.length - 1] ?? ""}`,
      )
    );
  }

  isOn(name: string): boolean {
    return this.oneOf(name, ["on", "off"] as const) === "on";
  }

  integer(name: string, least: number, most: number): number | undefined {
    return this.#numeric(name, least, most, Number.isInteger);
  }

  number(name: string, least: number, most: number): number | undefined {
    return this.#numeric(name, least, most, Number.isFinite);
  }

  #numeric(
    name: string,
    least: number,
    most: number,
    isKind: (value: number) => boolean,
  ): number | undefined {
    const text = this.take(name);
    if (text === undefined) return undefined;
    const value = text.trim() === "" ? NaN : Number(text);
    return isKind(value) && value >= least && value <= most
      ? value
      : this.fail(`${name}=${text} must be ${least} to ${most}`);
  }

  /** Everything has been taken, or the rest is not known. */
  end(): void {
    const lists = [...this.#lists].filter(([, values]) => values.length > 0);
    const [unknown] = [...this.#values.keys(), ...lists.map(([name]) => name)];
    if (unknown !== undefined) this.fail(`${unknown}= is not known`);
  }
}

/** A property that may be absent, for spreading. */
export function optional<K extends string, V>(name: K, value: V | undefined): { [key in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [key in K]?: V });
}
