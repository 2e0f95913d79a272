/*
 * The 386's arithmetic, logic, shift, bit and decimal instructions in every place, against models written from the "Operation" and
 * "Flags Affected" sections of SDM Vol. 2 in another way than by the instructions themselves: bit by bit, or in 64 bits.
 */
#include "runtime.h"

const char program_name[] = "arithmetic";

enum { MEMORY_AT = 0x100 };

/* What an instruction leaves behind: destination, second register (EDX or AH), flags and which of them mean nothing. */
struct outcome {
  u32 value, second, flags, undefined;
  u32 vector;
};
struct operands {
  u32 size; /* bits */
  u32 a, b, c; /* destination (or rAX), source (or rCX), third (or rDX) */
  u32 flags;
};
typedef struct outcome (*model)(const struct operands *);

static u32 mask_of(u32 size) { return size == 32 ? 0xFFFFFFFF : (1u << size) - 1; }
static u32 sign_of(u32 value, u32 size) { return value >> (size - 1) & 1; }
static int parity_of(u32 value) {
  int ones = 0;
  for (int i = 0; i < 8; i++) ones += value >> i & 1;
  return ones % 2 == 0;
}
static u32 zsp(u32 value, u32 size) {
  return ((value & mask_of(size)) == 0 ? FLAG_ZF : 0) | (sign_of(value, size) ? FLAG_SF : 0) |
         (parity_of(value) ? FLAG_PF : 0);
}
static u64 mask64(u32 size) { return mask_of(size); }

/* a + b + carry and a - b - borrow, digit by digit. */
static struct outcome sum(u32 size, u32 a, u32 b, u32 carry) {
  u32 value = 0, into_top = 0, half = 0;
  for (u32 i = 0; i < size; i++) {
    u32 digits = (a >> i & 1) + (b >> i & 1) + carry;
    value |= (digits & 1) << i;
    if (i == size - 1) into_top = carry;
    carry = digits >> 1;
    if (i == 3) half = carry;
  }
  return (struct outcome){.value = value,
                          .flags = zsp(value, size) | (carry ? FLAG_CF : 0) | (half ? FLAG_AF : 0) |
                                   (into_top != carry ? FLAG_OF : 0)};
}
static struct outcome difference(u32 size, u32 a, u32 b, u32 borrow) {
  u32 value = 0, into_top = 0, half = 0;
  for (u32 i = 0; i < size; i++) {
    int digits = (int)(a >> i & 1) - (int)(b >> i & 1) - (int)borrow;
    value |= (u32)(digits & 1) << i;
    if (i == size - 1) into_top = borrow;
    borrow = digits < 0;
    if (i == 3) half = borrow;
  }
  return (struct outcome){.value = value,
                          .flags = zsp(value, size) | (borrow ? FLAG_CF : 0) | (half ? FLAG_AF : 0) |
                                   (into_top != borrow ? FLAG_OF : 0)};
}
static struct outcome logic(u32 size, u32 value) {
  return (struct outcome){.value = value, .flags = zsp(value, size), .undefined = FLAG_AF};
}
static u32 carry_in(const struct operands *o) { return o->flags & FLAG_CF ? 1 : 0; }
static struct outcome m_add(const struct operands *o) { return sum(o->size, o->a, o->b, 0); }
static struct outcome m_adc(const struct operands *o) { return sum(o->size, o->a, o->b, carry_in(o)); }
static struct outcome m_sub(const struct operands *o) { return difference(o->size, o->a, o->b, 0); }
static struct outcome m_sbb(const struct operands *o) { return difference(o->size, o->a, o->b, carry_in(o)); }
static struct outcome m_cmp(const struct operands *o) {
  struct outcome r = difference(o->size, o->a, o->b, 0);
  r.value = o->a;
  return r;
}
static struct outcome m_and(const struct operands *o) { return logic(o->size, o->a & o->b); }
static struct outcome m_or(const struct operands *o) { return logic(o->size, o->a | o->b); }
static struct outcome m_xor(const struct operands *o) { return logic(o->size, o->a ^ o->b); }
static struct outcome m_test(const struct operands *o) {
  struct outcome r = logic(o->size, o->a & o->b);
  r.value = o->a;
  return r;
}
static struct outcome keep_carry(struct outcome r, const struct operands *o) {
  r.flags = (r.flags & ~FLAG_CF) | (o->flags & FLAG_CF);
  return r;
}
static struct outcome m_inc(const struct operands *o) { return keep_carry(sum(o->size, o->a, 1, 0), o); }
static struct outcome m_dec(const struct operands *o) { return keep_carry(difference(o->size, o->a, 1, 0), o); }
static struct outcome m_neg(const struct operands *o) { return difference(o->size, 0, o->a, 0); }
static struct outcome m_not(const struct operands *o) {
  return (struct outcome){.value = ~o->a & mask_of(o->size), .flags = o->flags & ARITHMETIC_FLAGS};
}

/* One place at a time; the count is masked to 5 bits, and for RCL and RCR it counts modulo size + 1. OF is defined for a count of 1. */
static struct outcome shift(const struct operands *o, int kind) {
  u32 size = o->size, count = o->b & 31, value = o->a, carry = carry_in(o);
  if (count == 0) return (struct outcome){.value = value, .flags = o->flags & ARITHMETIC_FLAGS};
  for (u32 i = 0; i < count; i++) {
    u32 top = sign_of(value, size), low = value & 1, before = carry;
    switch (kind) {
      case 0: value = value << 1 | top, carry = top; break;
      case 1: value = value >> 1 | low << (size - 1), carry = low; break;
      case 2: value = value << 1 | before, carry = top; break;
      case 3: value = value >> 1 | before << (size - 1), carry = low; break;
      case 4: value = value << 1, carry = top; break;
      case 5: value = value >> 1, carry = low; break;
      default: value = value >> 1 | top << (size - 1), carry = low; break;
    }
    value &= mask_of(size);
  }
  struct outcome r = {.value = value};
  int isLeft = kind == 0 || kind == 2 || kind == 4;
  u32 overflow;
  if (isLeft) overflow = sign_of(value, size) ^ carry;
  else if (kind == 5) overflow = sign_of(o->a, size);
  else if (kind == 7) overflow = 0;
  else overflow = sign_of(value, size) ^ (value >> (size - 2) & 1);
  r.flags = (carry ? FLAG_CF : 0) | (overflow ? FLAG_OF : 0);
  if (count != 1) r.undefined |= FLAG_OF;
  if (kind < 4) r.flags |= o->flags & (FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF);
  else r.flags |= zsp(value, size), r.undefined |= FLAG_AF;
  /* SHL and SHR by the operand's size or more: CF is undefined. */
  if ((kind == 4 || kind == 5) && count >= size) r.undefined |= FLAG_CF;
  return r;
}
static struct outcome m_rol(const struct operands *o) { return shift(o, 0); }
static struct outcome m_ror(const struct operands *o) { return shift(o, 1); }
static struct outcome m_rcl(const struct operands *o) { return shift(o, 2); }
static struct outcome m_rcr(const struct operands *o) { return shift(o, 3); }
static struct outcome m_shl(const struct operands *o) { return shift(o, 4); }
static struct outcome m_shr(const struct operands *o) { return shift(o, 5); }
static struct outcome m_sar(const struct operands *o) { return shift(o, 7); }

static struct outcome double_shift(const struct operands *o, int left) {
  u32 count = o->b & 31, size = o->size;
  if (count == 0) return (struct outcome){.value = o->a, .flags = o->flags & ARITHMETIC_FLAGS};
  if (count > size) /* everything is undefined: the caller leaves such counts out */
    return (struct outcome){.undefined = ARITHMETIC_FLAGS};
  u32 value = o->a, source = o->c & mask_of(size), carry = 0;
  for (u32 i = 0; i < count; i++) {
    if (left) {
      carry = sign_of(value, size);
      value = (value << 1 | sign_of(source, size)) & mask_of(size);
      source = source << 1 & mask_of(size);
    } else {
      carry = value & 1;
      value = value >> 1 | (source & 1) << (size - 1);
      source >>= 1;
    }
  }
  struct outcome r = {.value = value, .flags = zsp(value, size) | (carry ? FLAG_CF : 0), .undefined = FLAG_AF};
  if (sign_of(value, size) != sign_of(o->a, size)) r.flags |= FLAG_OF;
  if (count != 1) r.undefined |= FLAG_OF;
  return r;
}
static struct outcome m_shld(const struct operands *o) { return double_shift(o, 1); }
static struct outcome m_shrd(const struct operands *o) { return double_shift(o, 0); }

static int64_t extend(u32 value, u32 size) {
  return size == 32 ? (int32_t)value : size == 16 ? (int16_t)value : (int8_t)value;
}
#define MULTIPLY_UNDEFINED (FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF)
/* `value` is rAX, `second` rDX; with 8 bits the product is all in AX. */
static struct outcome product(const struct operands *o, u64 wide, int overflows) {
  struct outcome r = {.flags = overflows ? FLAG_CF | FLAG_OF : 0, .undefined = MULTIPLY_UNDEFINED};
  if (o->size == 8) r.value = (u32)wide & 0xFFFF, r.second = o->c;
  else r.value = (u32)(wide & mask64(o->size)), r.second = (u32)(wide >> o->size & mask64(o->size));
  return r;
}
static struct outcome m_mul(const struct operands *o) {
  u64 wide = (u64)o->a * o->b;
  return product(o, wide, wide >> o->size != 0);
}
static struct outcome m_imul(const struct operands *o) {
  int64_t wide = extend(o->a, o->size) * extend(o->b, o->size);
  return product(o, (u64)wide, wide != extend((u32)wide & mask_of(o->size), o->size));
}
static struct outcome m_imul2(const struct operands *o) {
  struct outcome r = m_imul(o);
  r.second = o->c;
  return r;
}
/* Long division by shift and subtract; gcc's 64-bit division is a library function that is not here. */
static u64 divide(u64 dividend, u64 divisor, u64 *remainder) {
  u64 quotient = 0, rest = 0;
  for (int i = 63; i >= 0; i--) {
    rest = rest << 1 | (dividend >> i & 1);
    quotient <<= 1;
    if (rest >= divisor) rest -= divisor, quotient |= 1;
  }
  *remainder = rest;
  return quotient;
}
static struct outcome quotient(const struct operands *o, u64 q, u64 rest) {
  struct outcome r = {.undefined = ARITHMETIC_FLAGS};
  if (o->size == 8) r.value = (u32)(q & 0xFF) | (u32)(rest & 0xFF) << 8, r.second = o->c;
  else r.value = (u32)(q & mask64(o->size)), r.second = (u32)(rest & mask64(o->size));
  return r;
}
static u64 dividend(const struct operands *o) {
  return o->size == 8 ? o->a : (u64)o->c << o->size | o->a;
}
static const struct outcome divide_error = {.vector = 1 /* #DE, plus 1 */, .undefined = ARITHMETIC_FLAGS};
static struct outcome m_div(const struct operands *o) {
  if (o->b == 0) return divide_error;
  u64 rest, q = divide(dividend(o), o->b, &rest);
  return q > mask64(o->size) ? divide_error : quotient(o, q, rest);
}
static struct outcome m_idiv(const struct operands *o) {
  if (o->b == 0) return divide_error;
  u64 whole = dividend(o);
  int64_t n = o->size == 32 ? (int64_t)whole : o->size == 16 ? (int32_t)whole : (int16_t)whole;
  int64_t d = extend(o->b, o->size);
  u64 rest, q = divide(n < 0 ? -(u64)n : (u64)n, d < 0 ? -(u64)d : (u64)d, &rest);
  int isNegative = (n < 0) != (d < 0);
  u64 most = (mask64(o->size) >> 1) + (isNegative ? 1 : 0);
  if (q > most) return divide_error;
  return quotient(o, isNegative ? -q : q, n < 0 ? -rest : rest);
}

#define BIT_UNDEFINED (FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF)
static struct outcome bit(const struct operands *o, int kind) {
  u32 at = o->b & (o->size - 1), one = 1u << at, value = o->a;
  u32 carry = value >> at & 1;
  if (kind == 1) value |= one;
  if (kind == 2) value &= ~one;
  if (kind == 3) value ^= one;
  /* ZF is unaffected. */
  return (struct outcome){.value = value, .flags = (carry ? FLAG_CF : 0) | (o->flags & FLAG_ZF), .undefined = BIT_UNDEFINED};
}
static struct outcome m_bt(const struct operands *o) { return bit(o, 0); }
static struct outcome m_bts(const struct operands *o) { return bit(o, 1); }
static struct outcome m_btr(const struct operands *o) { return bit(o, 2); }
static struct outcome m_btc(const struct operands *o) { return bit(o, 3); }
/* A source of 0 leaves the destination undefined: the caller leaves it out of the comparison. */
static struct outcome scan(const struct operands *o, int from_top) {
  u32 found = 0;
  for (u32 i = 0; i < o->size; i++)
    if (o->b >> i & 1) {
      found = i;
      if (!from_top) break;
    }
  return (struct outcome){.value = found,
                          .flags = o->b ? 0 : FLAG_ZF,
                          .undefined = FLAG_CF | FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF};
}
static struct outcome m_bsf(const struct operands *o) { return scan(o, 0); }
static struct outcome m_bsr(const struct operands *o) { return scan(o, 1); }

/* --- decimal: `a` is AX, 16 bits --- */
static struct outcome m_daa(const struct operands *o) {
  u32 al = o->a & 0xFF, old = al, cf = o->flags & FLAG_CF, carry = 0, half = 0;
  if ((al & 15) > 9 || (o->flags & FLAG_AF)) carry = cf || al + 6 > 0xFF, al += 6, half = 1;
  if (old > 0x99 || cf) al += 0x60, carry = 1;
  al &= 0xFF;
  return (struct outcome){.value = (o->a & 0xFF00) | al, .undefined = FLAG_OF,
                          .flags = zsp(al, 8) | (carry ? FLAG_CF : 0) | (half ? FLAG_AF : 0)};
}
static struct outcome m_das(const struct operands *o) {
  u32 al = o->a & 0xFF, old = al, cf = o->flags & FLAG_CF, carry = 0, half = 0;
  if ((al & 15) > 9 || (o->flags & FLAG_AF)) carry = cf || al < 6, al -= 6, half = 1;
  if (old > 0x99 || cf) al -= 0x60, carry = 1;
  al &= 0xFF;
  return (struct outcome){.value = (o->a & 0xFF00) | al, .undefined = FLAG_OF,
                          .flags = zsp(al, 8) | (carry ? FLAG_CF : 0) | (half ? FLAG_AF : 0)};
}
#define ASCII_UNDEFINED (FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF)
static struct outcome m_aaa(const struct operands *o) {
  u32 ax = o->a, adjusts = (ax & 15) > 9 || (o->flags & FLAG_AF);
  if (adjusts) ax = (ax + 0x106) & 0xFFFF;
  return (struct outcome){.value = ax & 0xFF0F, .undefined = ASCII_UNDEFINED, .flags = adjusts ? FLAG_CF | FLAG_AF : 0};
}
static struct outcome m_aas(const struct operands *o) {
  u32 ax = o->a, adjusts = (ax & 15) > 9 || (o->flags & FLAG_AF);
  if (adjusts) ax = (ax - 6) & 0xFFFF, ax = (ax - 0x100) & 0xFFFF;
  return (struct outcome){.value = ax & 0xFF0F, .undefined = ASCII_UNDEFINED, .flags = adjusts ? FLAG_CF | FLAG_AF : 0};
}
/* AAM and AAD: `b` is the immediate. */
static struct outcome m_aam(const struct operands *o) {
  u32 base = o->b & 0xFF, al = o->a & 0xFF;
  if (base == 0) return divide_error;
  return (struct outcome){.value = al / base << 8 | al % base, .flags = zsp(al % base, 8), .undefined = FLAG_OF | FLAG_AF | FLAG_CF};
}
static struct outcome m_aad(const struct operands *o) {
  u32 al = ((o->a & 0xFF) + (o->a >> 8) * (o->b & 0xFF)) & 0xFF;
  return (struct outcome){.value = al, .flags = zsp(al, 8), .undefined = FLAG_OF | FLAG_AF | FLAG_CF};
}

/* --- the table --- */
enum form {
  RM_REG,   /* r/m, r: destination AL/AX/EAX or memory, source CL/CX/ECX */
  RM_ONLY,  /* r/m, with a digit */
  RM_CL,    /* the same; CL is the count */
  RM_IMM8,  /* the same; count in an immediate */
  RM_1,     /* the same; by 1 */
  RAX_RM,   /* rAX and rDX, by r/m: CL/CX/ECX or memory */
  REG_RM,   /* 0F, r, r/m: source CX/ECX or memory */
  SHD_CL, SHD_IMM, /* 0F, r/m, r, count: destination rAX, source rDX */
  BT_REG, BT_IMM,  /* 0F, bit offset in CX/ECX or an immediate */
  IMPLIED,  /* AX alone */
  IMPLIED_IMM
};
struct instruction {
  const char *name;
  enum form form;
  u8 opcode, digit;
  model model;
};
static const struct instruction instructions[] = {
    {"add", RM_REG, 0x00, 0, m_add}, {"or", RM_REG, 0x08, 0, m_or},   {"adc", RM_REG, 0x10, 0, m_adc},
    {"sbb", RM_REG, 0x18, 0, m_sbb}, {"and", RM_REG, 0x20, 0, m_and}, {"sub", RM_REG, 0x28, 0, m_sub},
    {"xor", RM_REG, 0x30, 0, m_xor}, {"cmp", RM_REG, 0x38, 0, m_cmp}, {"test", RM_REG, 0x84, 0, m_test},
    {"inc", RM_ONLY, 0xFE, 0, m_inc}, {"dec", RM_ONLY, 0xFE, 1, m_dec}, {"not", RM_ONLY, 0xF6, 2, m_not},
    {"neg", RM_ONLY, 0xF6, 3, m_neg},
    {"rol-cl", RM_CL, 0xD2, 0, m_rol}, {"ror-cl", RM_CL, 0xD2, 1, m_ror}, {"rcl-cl", RM_CL, 0xD2, 2, m_rcl},
    {"rcr-cl", RM_CL, 0xD2, 3, m_rcr}, {"shl-cl", RM_CL, 0xD2, 4, m_shl}, {"shr-cl", RM_CL, 0xD2, 5, m_shr},
    {"sar-cl", RM_CL, 0xD2, 7, m_sar},
    {"rol-imm", RM_IMM8, 0xC0, 0, m_rol}, {"rcr-imm", RM_IMM8, 0xC0, 3, m_rcr}, {"shl-imm", RM_IMM8, 0xC0, 4, m_shl},
    {"shr-imm", RM_IMM8, 0xC0, 5, m_shr}, {"sar-imm", RM_IMM8, 0xC0, 7, m_sar},
    {"rol-1", RM_1, 0xD0, 0, m_rol}, {"ror-1", RM_1, 0xD0, 1, m_ror}, {"rcl-1", RM_1, 0xD0, 2, m_rcl},
    {"rcr-1", RM_1, 0xD0, 3, m_rcr}, {"shl-1", RM_1, 0xD0, 4, m_shl}, {"shr-1", RM_1, 0xD0, 5, m_shr},
    {"sar-1", RM_1, 0xD0, 7, m_sar},
    {"mul", RAX_RM, 0xF6, 4, m_mul}, {"imul", RAX_RM, 0xF6, 5, m_imul}, {"div", RAX_RM, 0xF6, 6, m_div},
    {"idiv", RAX_RM, 0xF6, 7, m_idiv},
    {"imul-r-rm", REG_RM, 0xAF, 0, m_imul2}, {"bsf", REG_RM, 0xBC, 0, m_bsf}, {"bsr", REG_RM, 0xBD, 0, m_bsr},
    {"shld-cl", SHD_CL, 0xA5, 0, m_shld}, {"shrd-cl", SHD_CL, 0xAD, 0, m_shrd},
    {"shld-imm", SHD_IMM, 0xA4, 0, m_shld}, {"shrd-imm", SHD_IMM, 0xAC, 0, m_shrd},
    {"bt", BT_REG, 0xA3, 0, m_bt}, {"bts", BT_REG, 0xAB, 0, m_bts}, {"btr", BT_REG, 0xB3, 0, m_btr},
    {"btc", BT_REG, 0xBB, 0, m_btc}, {"bt-imm", BT_IMM, 0xBA, 4, m_bt}, {"bts-imm", BT_IMM, 0xBA, 5, m_bts},
    {"btr-imm", BT_IMM, 0xBA, 6, m_btr}, {"btc-imm", BT_IMM, 0xBA, 7, m_btc},
    {"daa", IMPLIED, 0x27, 0, m_daa}, {"das", IMPLIED, 0x2F, 0, m_das}, {"aaa", IMPLIED, 0x37, 0, m_aaa},
    {"aas", IMPLIED, 0x3F, 0, m_aas}, {"aam", IMPLIED_IMM, 0xD4, 0, m_aam}, {"aad", IMPLIED_IMM, 0xD5, 0, m_aad},
};
#define INSTRUCTIONS (sizeof instructions / sizeof instructions[0])

static int has_8_bits(enum form form) { return form != REG_RM && form < SHD_CL; }
static int has_immediate(enum form form) {
  return form == RM_IMM8 || form == SHD_IMM || form == BT_IMM || form == IMPLIED_IMM;
}

/* Returns the offset of the immediate, or 0. */
static u32 assemble(const struct instruction *i, enum place place, u32 size, int in_memory) {
  u8 bytes[16];
  u32 n = 0, is16 = place != PROTECTED32;
  if (i->form >= IMPLIED) bytes[n++] = i->opcode;
  else {
    if (size != 8 && (size == 16) != is16) bytes[n++] = 0x66;
    if (i->form >= REG_RM) bytes[n++] = 0x0F;
    bytes[n++] = (u8)(i->opcode | (size != 8 && i->form < REG_RM ? 1 : 0));
    /* r/m: memory at rBX, or rAX (the destination), or rCX where rAX is implied. reg: rCX, rAX, rDX or the digit. */
    u32 rm = i->form == RAX_RM || i->form == REG_RM ? 1 : 0, reg = i->digit;
    if (i->form == RM_REG || i->form == BT_REG) reg = 1;
    if (i->form == SHD_CL || i->form == SHD_IMM) reg = 2;
    bytes[n++] = (u8)(in_memory ? reg << 3 | (is16 ? 7 : 3) : 0xC0 | reg << 3 | rm);
  }
  u32 at = n;
  if (has_immediate(i->form)) bytes[n++] = 0;
  put_code(0, bytes, n);
  return has_immediate(i->form) ? at : 0;
}

static u32 digest;
static u32 results[PLACES * 64];

static void one_case(const struct instruction *i, enum place place, const struct operands *o, int in_memory, u32 immediate_at) {
  u32 mask = i->form >= IMPLIED ? 0xFFFF : mask_of(o->size);
  int writes_memory = in_memory && i->form != RAX_RM && i->form != REG_RM;
  if (immediate_at) code_bytes[immediate_at] = (u8)o->b;
  context_for(place);
  volatile struct context *c = &context;
  u32 upper = 0xA5A50000 & ~mask;
  c->eax = (writes_memory ? 0 : o->a) | upper;
  if (i->form == RAX_RM && o->size == 8) c->eax = o->a;
  c->ecx = o->b, c->edx = o->c, c->ebx = MEMORY_AT;
  c->eflags |= o->flags;
  *data32(MEMORY_AT) = writes_memory ? (o->a & mask) | upper : o->b;
  u32 vector = run(place);
  struct outcome expected = i->model(o);
  u32 got = writes_memory ? *data32(MEMORY_AT) : c->eax;
  u32 wanted_vector = expected.vector ? expected.vector - 1 : VECTOR_DONE;
  digest = mix(digest, vector);
  if (vector != wanted_vector) {
    check(i->name, vector, wanted_vector);
    return;
  }
  if (vector != VECTOR_DONE) {
    check(i->name, c->eax, i->form == RAX_RM && o->size == 8 ? o->a : o->a | upper);
    return;
  }
  u32 wide = i->form == RAX_RM && o->size == 8 ? 0xFFFF : mask;
  u32 flags = c->eflags & ARITHMETIC_FLAGS & ~expected.undefined;
  int isUndefined = (i->model == m_bsf || i->model == m_bsr) && o->b == 0;
  if (!isUndefined) {
    check(i->name, got, (got & ~wide & 0) | (expected.value & wide) | (wide == mask ? upper : 0));
    digest = mix(digest, got);
  }
  check("flags", flags, expected.flags & ~expected.undefined);
  digest = mix(digest, flags);
  if (i->form == RAX_RM) check("rdx", c->edx & mask, expected.second & mask), digest = mix(digest, c->edx & mask);
}

static const u32 values8[] = {0, 1, 0x0F, 0x10, 0x7F, 0x80, 0x99, 0xFE, 0xFF, 0x3A};
static const u32 values16[] = {0, 1, 0x0F, 0xFF, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1234, 0xFFF0};
static const u32 values32[] = {0, 1, 0x0F, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0x12345678, 0xFFFF8000};
static const u32 counts[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 0xFF};
#define COUNT(array) (sizeof array / sizeof array[0])

static void test_size(const struct instruction *i, enum place place, u32 size, int in_memory) {
  const u32 *values = size == 8 ? values8 : size == 16 ? values16 : values32;
  u32 immediate_at = assemble(i, place, size, in_memory);
  int is_count = i->form == RM_CL || i->form == RM_IMM8 || i->form == SHD_CL || i->form == SHD_IMM;
  int is_bit = i->form == BT_REG || i->form == BT_IMM;
  const u32 *sources = is_count || is_bit ? counts : values;
  u32 n = is_count || is_bit ? COUNT(counts) : i->form == RM_1 || i->form == RM_ONLY ? 1 : COUNT(values8);
  u32 state = size * 77 + place;
  for (u32 x = 0; x < COUNT(values8); x++)
    for (u32 y = in_memory ? x % 3 : 0; y < n; y += in_memory ? 3 : 1) { /* a third of them in memory */
      struct operands o = {.size = size, .a = values[x], .b = sources[y]};
      if (i->form == RM_1) o.b = 1;
      /* A bit offset beyond a memory operand reaches other memory: tested apart. */
      if (i->form == BT_REG && in_memory) o.b &= size - 1;
      if ((i->form == SHD_CL || i->form == SHD_IMM) && (o.b & 31) > size) continue;
      state = state * 1664525 + 1013904223;
      o.flags = (state & 1 ? ARITHMETIC_FLAGS : state >> 8 & ARITHMETIC_FLAGS);
      o.c = values[state >> 24 & 7] & mask_of(size);
      if (i->form == RAX_RM && size == 8) o.a |= (i->digit >= 6 ? (state >> 20 & 3) : 0) << 8;
      /* For half of the divisions a dividend whose quotient mostly fits. */
      if (i->form == RAX_RM && size > 8 && i->digit >= 6 && state & 0x10000)
        o.c = i->digit == 7 && sign_of(o.a, size) ? mask_of(size) : 0;
      if (i->form == RAX_RM && size == 8 && i->digit < 6) o.a &= 0xFF;
      one_case(i, place, &o, in_memory, immediate_at);
    }
}

static void test_implied(const struct instruction *i, enum place place) {
  static const u32 bases[] = {10, 0, 1, 16, 0xFF};
  u32 immediate_at = assemble(i, place, 16, 0);
  for (u32 al = 0; al < 256; al += place == REAL ? 1 : 3)
    for (u32 flags = 0; flags < (i->form == IMPLIED ? 4 : COUNT(bases)); flags++) {
      struct operands o = {.size = 16, .a = (al * 7 & 0xFF) << 8 | al, .b = i->form == IMPLIED ? 0 : bases[flags]};
      o.flags = (flags & 1 ? FLAG_CF : 0) | (flags & 2 ? FLAG_AF : 0);
      one_case(i, place, &o, 0, immediate_at);
    }
}

void program_run(void) {
  for (u32 place = 0; place < PLACES; place++) {
    for (u32 n = 0; n < INSTRUCTIONS; n++) {
      const struct instruction *i = &instructions[n];
      char group[32];
      u32 length = 0;
      for (const char *c = i->name; *c; c++) group[length++] = *c;
      group[length++] = '-';
      for (const char *c = place_names[place]; *c; c++) group[length++] = *c;
      group[length] = '\0';
      begin(group);
      digest = MIX_START;
      if (i->form >= IMPLIED) test_implied(i, (enum place)place);
      else
        for (int in_memory = 0; in_memory < 2; in_memory++)
          for (u32 size = 8; size <= 32; size *= 2)
            if (size > 8 || has_8_bits(i->form)) test_size(i, (enum place)place, size, in_memory);
      end();
      results[place * INSTRUCTIONS + n] = digest;
    }
    u32 all = MIX_START;
    for (u32 n = 0; n < INSTRUCTIONS; n++) all = mix(all, results[place * INSTRUCTIONS + n]);
    report_digest(place_names[place], all);
  }
}
