/** Addition, subtraction, logic and their flags. SDM Vol. 2. */
import { Flags } from "../state/flags";
import { cpu } from "../state/cpu";

export function add<T>(a: T, b: T): T {
  const r = <T>(a + b);
  Flags.arithmetic<T>(r, <T>((a & b) | ((a | b) & ~r)));
  return r;
}

export function adc<T>(a: T, b: T): T {
  const r = <T>(a + b + <T>Flags.cf());
  Flags.arithmetic<T>(r, <T>((a & b) | ((a | b) & ~r)));
  return r;
}

export function sub<T>(a: T, b: T): T {
  const r = <T>(a - b);
  Flags.arithmetic<T>(r, <T>((~a & b) | (~(a ^ b) & r)));
  return r;
}

export function sbb<T>(a: T, b: T): T {
  const r = <T>(a - b - <T>Flags.cf());
  Flags.arithmetic<T>(r, <T>((~a & b) | (~(a ^ b) & r)));
  return r;
}

export function and<T>(a: T, b: T): T {
  const r = <T>(a & b);
  Flags.logic<T>(r);
  return r;
}

export function or<T>(a: T, b: T): T {
  const r = <T>(a | b);
  Flags.logic<T>(r);
  return r;
}

export function xor<T>(a: T, b: T): T {
  const r = <T>(a ^ b);
  Flags.logic<T>(r);
  return r;
}

/** INC and DEC leave CF alone. */
export function inc<T>(a: T): T {
  const cf = Flags.cf();
  const r = add<T>(a, <T>1);
  Flags.setCf(cf);
  return r;
}

export function dec<T>(a: T): T {
  const cf = Flags.cf();
  const r = sub<T>(a, <T>1);
  Flags.setCf(cf);
  return r;
}

export function neg<T>(a: T): T {
  return sub<T>(<T>0, a);
}

export function not<T>(a: T): T {
  return <T>~a;
}

/** ADCX and ADOX: add with one flag as carry, touching only that flag. */
export function adcx<T>(a: T, b: T): T {
  const carry = Flags.cf();
  const r = <T>(a + b + <T>carry);
  Flags.setCf(carryOut<T>(a, b, r));
  return r;
}

export function adox<T>(a: T, b: T): T {
  const r = <T>(a + b + <T>Flags.of());
  Flags.setCfOf(Flags.cf(), carryOut<T>(a, b, r));
  return r;
}

function carryOut<T>(a: T, b: T, r: T): u64 {
  return <u64>((a & b) | ((a | b) & ~r)) >> (sizeof<T>() * 8 - 1);
}
