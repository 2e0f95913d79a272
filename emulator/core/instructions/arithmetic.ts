/** Addition, subtraction, logic and their flags. SDM Vol. 2. */
import { Flags } from "../state/flags";

export function add<T extends number>(a: T, b: T): T {
  const r = <T>(a + b);
  Flags.arithmetic<T>(r, <T>((a & b) | ((a | b) & ~r)));
  return r;
}

export function adc<T extends number>(a: T, b: T): T {
  const r = <T>(a + b + <T>Flags.cf());
  Flags.arithmetic<T>(r, <T>((a & b) | ((a | b) & ~r)));
  return r;
}

export function sub<T extends number>(a: T, b: T): T {
  const r = <T>(a - b);
  Flags.arithmetic<T>(r, <T>((~a & b) | (~(a ^ b) & r)));
  return r;
}

export function sbb<T extends number>(a: T, b: T): T {
  const r = <T>(a - b - <T>Flags.cf());
  Flags.arithmetic<T>(r, <T>((~a & b) | (~(a ^ b) & r)));
  return r;
}

export function and<T extends number>(a: T, b: T): T {
  const r = <T>(a & b);
  Flags.logic<T>(r);
  return r;
}

export function or<T extends number>(a: T, b: T): T {
  const r = <T>(a | b);
  Flags.logic<T>(r);
  return r;
}

export function xor<T extends number>(a: T, b: T): T {
  const r = <T>(a ^ b);
  Flags.logic<T>(r);
  return r;
}

/** INC and DEC leave CF alone. */
export function inc<T extends number>(a: T): T {
  const cf = Flags.cf();
  const r = add<T>(a, <T>1);
  Flags.setCf(cf);
  return r;
}

export function dec<T extends number>(a: T): T {
  const cf = Flags.cf();
  const r = sub<T>(a, <T>1);
  Flags.setCf(cf);
  return r;
}

export function neg<T extends number>(a: T): T {
  return sub<T>(<T>0, a);
}

export function not<T extends number>(a: T): T {
  return <T>~a;
}

/** ADCX and ADOX: add with one flag as carry, touching only that flag. */
export function adcx<T extends number>(a: T, b: T): T {
  const carry = Flags.cf();
  const r = <T>(a + b + <T>carry);
  Flags.setCf(carryOut<T>(a, b, r));
  return r;
}

export function adox<T extends number>(a: T, b: T): T {
  const r = <T>(a + b + <T>Flags.of());
  Flags.setCfOf(Flags.cf(), carryOut<T>(a, b, r));
  return r;
}

function carryOut<T extends number>(a: T, b: T, r: T): u64 {
  return (<u64>((a & b) | ((a | b) & ~r))) >> (sizeof<T>() * 8 - 1);
}
