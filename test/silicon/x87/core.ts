/** Our core, running x87 cases: the state goes straight into the CPU block, the instruction is executed at CPL 3 in 64-bit mode. */
import { CoreUnderTest } from "../core-under-test.ts";
import { CODE, INITIAL_RFLAGS, MODE_64, WINDOW } from "../environment.ts";
import { OPERAND_BYTES, REGISTERS, type X87Input, type X87Outcome } from "./case.ts";

const RDI = 7;
const VECTOR_MF = 16;
const RFLAGS_ARITHMETIC = 0x8d5;
const REGISTER_BYTES = 16;

export class X87Core {
  readonly #core: CoreUnderTest;
  readonly #registers: DataView;
  readonly #gpr = new BigUint64Array(16);

  /** `module` is emulator/core/index.ts, compiled. */
  constructor(module: WebAssembly.Module) {
    this.#core = new CoreUnderTest(module);
    this.#core.enter(MODE_64);
    const { x87 } = this.#core.state;
    this.#registers = new DataView(x87.buffer, x87.byteOffset, x87.byteLength);
  }

  run(input: X87Input): X87Outcome {
    const core = this.#core;
    const { state } = core;
    core.writeMemory(CODE, input.code);
    core.writeMemory(WINDOW, input.operand);
    this.#gpr.fill(0n);
    this.#gpr[0] = input.rax;
    this.#gpr[RDI] = BigInt(WINDOW);
    core.setRegisters(this.#gpr, BigInt(CODE), INITIAL_RFLAGS | BigInt(input.rflags));
    state.x87Control = input.control;
    // FRSTOR recomputes ES and B.
    const isPending = (input.status & ~input.control & 0x3f) !== 0;
    state.x87Status = isPending ? input.status | 0x8080 : input.status;
    state.x87Tag = input.tag;
    state.x87Opcode = 0;
    input.registers.forEach(({ exponent, significand }, i) => {
      this.#registers.setBigUint64(i * REGISTER_BYTES, significand, true);
      this.#registers.setUint16(i * REGISTER_BYTES + 8, exponent, true);
    });
    core.updateDerived();
    const exception = core.step();
    if (exception && exception.vector !== VECTOR_MF)
      throw new Error(`exception ${exception.vector} in ${Buffer.from(input.code).toString("hex")}`);
    const { rflags } = core.registers(this.#gpr);
    return {
      isFaulted: exception !== undefined,
      control: state.x87Control,
      status: state.x87Status,
      tag: state.x87Tag,
      opcode: state.x87Opcode,
      rflags: Number(rflags) & RFLAGS_ARITHMETIC,
      rax: this.#gpr[0],
      registers: Array.from({ length: REGISTERS }, (_, i) => ({
        significand: this.#registers.getBigUint64(i * REGISTER_BYTES, true),
        exponent: this.#registers.getUint16(i * REGISTER_BYTES + 8, true),
      })),
      operand: core.window().slice(0, OPERAND_BYTES),
    };
  }
}
