/** What a handler does, as text. */

/** AssemblyScript statements for one handler. `T` stands for the operand type. */
export interface Rule {
  /** All operands in registers (or no ModR/M operand). */
  readonly register?: string;
  readonly memory?: string;
  /** Memory form with LOCK; without one, LOCK rows use `memory`. */
  readonly locked?: string;
  /** VEX rows with VEX.L = 1; `register` and `memory` are those with VEX.L = 0. */
  readonly register256?: string;
  readonly memory256?: string;
  /** The instruction ends a block: it may change RIP, mode, translation or what interrupts can do. */
  readonly ends?: boolean;
}
