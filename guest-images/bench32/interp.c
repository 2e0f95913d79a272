/*
 * An interpreter for a toy register machine, whose program counts the steps of Collatz sequences: a dispatch loop
 * with an indirect jump, as emulators and script engines have.
 */
#include "bench.h"

#define REGISTERS 8

enum opcode { MOVE_IMMEDIATE, MOVE, ADD, ADD_IMMEDIATE, SHIFT_RIGHT, AND_IMMEDIATE, JUMP_ZERO, JUMP_NOT_EQUAL, JUMP, END };

struct instruction {
  u8 opcode, a, b, unused;
  u32 immediate;
};

const char bench_name[] = "interp";
const u32 bench_default_rounds = 20000;

/*
 * r0: number; r1: its sequence's current value; r2: steps in all; r3: scratch; r4: limit
 *   for r0 = 1 to r4: r1 = r0; while r1 != 1: { r1 = r1 even ? r1 / 2 : 3 r1 + 1; r2 = r2 + 1 }
 */
static const struct instruction program[] = {
    /*  0 */ {MOVE_IMMEDIATE, 0, 0, 0, 1},
    /*  1 */ {MOVE_IMMEDIATE, 2, 0, 0, 0},
    /*  2 */ {MOVE_IMMEDIATE, 5, 0, 0, 1},
    /*  3 */ {MOVE, 1, 0, 0, 0}, /* next number */
    /*  4 */ {JUMP, 0, 0, 0, 14},
    /*  5 */ {MOVE, 3, 1, 0, 0}, /* next step */
    /*  6 */ {AND_IMMEDIATE, 3, 0, 0, 1},
    /*  7 */ {JUMP_ZERO, 3, 0, 0, 12},
    /*  8 */ {MOVE, 3, 1, 0, 0}, /* odd: 3 r1 + 1 */
    /*  9 */ {ADD, 1, 3, 0, 0},
    /* 10 */ {ADD, 1, 3, 0, 0},
    /* 11 */ {ADD_IMMEDIATE, 1, 0, 0, 1}, /* 3 r1 + 1 is even: fall into the halving, which is a step of its own */
    /* 12 */ {SHIFT_RIGHT, 1, 0, 0, 1},
    /* 13 */ {ADD_IMMEDIATE, 2, 0, 0, 1},
    /* 14 */ {JUMP_NOT_EQUAL, 1, 5, 0, 5},
    /* 15 */ {ADD_IMMEDIATE, 0, 0, 0, 1},
    /* 16 */ {JUMP_NOT_EQUAL, 0, 4, 0, 3},
    /* 17 */ {END, 0, 0, 0, 0},
};

static u32 run(const struct instruction *code, u32 registers[REGISTERS]) {
  const struct instruction *at = code;
  for (;;) {
    const struct instruction *i = at++;
    switch (i->opcode) {
      case MOVE_IMMEDIATE: registers[i->a] = i->immediate; break;
      case MOVE: registers[i->a] = registers[i->b]; break;
      case ADD: registers[i->a] += registers[i->b]; break;
      case ADD_IMMEDIATE: registers[i->a] += i->immediate; break;
      case SHIFT_RIGHT: registers[i->a] >>= i->immediate; break;
      case AND_IMMEDIATE: registers[i->a] &= i->immediate; break;
      case JUMP_ZERO: if (registers[i->a] == 0) at = code + i->immediate; break;
      case JUMP_NOT_EQUAL: if (registers[i->a] != registers[i->b]) at = code + i->immediate; break;
      case JUMP: at = code + i->immediate; break;
      case END: return registers[2];
    }
  }
}

/** Numbers up to n; the checksum is the total of halvings. */
u32 bench_run(u32 n) {
  u32 registers[REGISTERS] = {0};
  if (n == 0) return 0;
  registers[4] = n + 1;
  return run(program, registers);
}
