/**
 * The x87 escape opcodes D8 to DF.
 *
 * Intel SDM Vol. 2, "Escape Opcode Instructions". The aliases that the maps leave blank but all Intel processors
 * execute (FXCH at DD C8 and DF C8, FCOM at DC D0, FSTP at D9 D8, DF D0 and DF D8, FFREEP, and the 8087/287
 * controls FNENI, FNDISI, FNSETPM, which are NOPs since the 387) are included.
 * FISTTP belongs to CPUID feature SSE3, FCMOVcc and FCOMI to CMOV; all of it counts as X87 here.
 * `format.ts` explains the columns: opcode | instruction | attributes.
 */
import { rows } from "./format.ts";

export const X87_ROWS = rows(
  "X87",
  `
D8 /0:m           | FADD Md
D8 /1:m           | FMUL Md
D8 /2:m           | FCOM Md
D8 /3:m           | FCOMP Md
D8 /4:m           | FSUB Md
D8 /5:m           | FSUBR Md
D8 /6:m           | FDIV Md
D8 /7:m           | FDIVR Md
D8 C0+i           | FADD ST0,STi
D8 C8+i           | FMUL ST0,STi
D8 D0+i           | FCOM ST0,STi
D8 D8+i           | FCOMP ST0,STi
D8 E0+i           | FSUB ST0,STi
D8 E8+i           | FSUBR ST0,STi
D8 F0+i           | FDIV ST0,STi
D8 F8+i           | FDIVR ST0,STi
D9 /0:m           | FLD Md
D9 /2:m           | FST Md
D9 /3:m           | FSTP Md
D9 /4:m           | FLDENV Menv
D9 /5:m           | FLDCW Mw
D9 /6:m           | FNSTENV Menv
D9 /7:m           | FNSTCW Mw
D9 C0+i           | FLD STi
D9 C8+i           | FXCH ST0,STi
D9 D0             | FNOP
D9 D8+i           | FSTPNCE STi
D9 E0             | FCHS
D9 E1             | FABS
D9 E4             | FTST
D9 E5             | FXAM
D9 E8             | FLD1
D9 E9             | FLDL2T
D9 EA             | FLDL2E
D9 EB             | FLDPI
D9 EC             | FLDLG2
D9 ED             | FLDLN2
D9 EE             | FLDZ
D9 F0             | F2XM1
D9 F1             | FYL2X
D9 F2             | FPTAN
D9 F3             | FPATAN
D9 F4             | FXTRACT
D9 F5             | FPREM1
D9 F6             | FDECSTP
D9 F7             | FINCSTP
D9 F8             | FPREM
D9 F9             | FYL2XP1
D9 FA             | FSQRT
D9 FB             | FSINCOS
D9 FC             | FRNDINT
D9 FD             | FSCALE
D9 FE             | FSIN
D9 FF             | FCOS
DA /0:m           | FIADD Md
DA /1:m           | FIMUL Md
DA /2:m           | FICOM Md
DA /3:m           | FICOMP Md
DA /4:m           | FISUB Md
DA /5:m           | FISUBR Md
DA /6:m           | FIDIV Md
DA /7:m           | FIDIVR Md
DA C0+i           | FCMOVB ST0,STi
DA C8+i           | FCMOVE ST0,STi
DA D0+i           | FCMOVBE ST0,STi
DA D8+i           | FCMOVU ST0,STi
DA E9             | FUCOMPP
DB /0:m           | FILD Md
DB /1:m           | FISTTP Md
DB /2:m           | FIST Md
DB /3:m           | FISTP Md
DB /5:m           | FLD Mt
DB /7:m           | FSTP Mt
DB C0+i           | FCMOVNB ST0,STi
DB C8+i           | FCMOVNE ST0,STi
DB D0+i           | FCMOVNBE ST0,STi
DB D8+i           | FCMOVNU ST0,STi
DB E0             | FNENI
DB E1             | FNDISI
DB E2             | FNCLEX
DB E3             | FNINIT
DB E4             | FNSETPM
DB E8+i           | FUCOMI ST0,STi
DB F0+i           | FCOMI ST0,STi
DC /0:m           | FADD Mq
DC /1:m           | FMUL Mq
DC /2:m           | FCOM Mq
DC /3:m           | FCOMP Mq
DC /4:m           | FSUB Mq
DC /5:m           | FSUBR Mq
DC /6:m           | FDIV Mq
DC /7:m           | FDIVR Mq
DC C0+i           | FADD STi,ST0
DC C8+i           | FMUL STi,ST0
DC D0+i           | FCOM ST0,STi
DC D8+i           | FCOMP ST0,STi
DC E0+i           | FSUBR STi,ST0
DC E8+i           | FSUB STi,ST0
DC F0+i           | FDIVR STi,ST0
DC F8+i           | FDIV STi,ST0
DD /0:m           | FLD Mq
DD /1:m           | FISTTP Mq
DD /2:m           | FST Mq
DD /3:m           | FSTP Mq
DD /4:m           | FRSTOR Msave
DD /6:m           | FNSAVE Msave
DD /7:m           | FNSTSW Mw
DD C0+i           | FFREE STi
DD C8+i           | FXCH ST0,STi
DD D0+i           | FST STi
DD D8+i           | FSTP STi
DD E0+i           | FUCOM ST0,STi
DD E8+i           | FUCOMP ST0,STi
DE /0:m           | FIADD Mw
DE /1:m           | FIMUL Mw
DE /2:m           | FICOM Mw
DE /3:m           | FICOMP Mw
DE /4:m           | FISUB Mw
DE /5:m           | FISUBR Mw
DE /6:m           | FIDIV Mw
DE /7:m           | FIDIVR Mw
DE C0+i           | FADDP STi,ST0
DE C8+i           | FMULP STi,ST0
DE D0+i           | FCOMP ST0,STi
DE D9             | FCOMPP
DE E0+i           | FSUBRP STi,ST0
DE E8+i           | FSUBP STi,ST0
DE F0+i           | FDIVRP STi,ST0
DE F8+i           | FDIVP STi,ST0
DF /0:m           | FILD Mw
DF /1:m           | FISTTP Mw
DF /2:m           | FIST Mw
DF /3:m           | FISTP Mw
DF /4:m           | FBLD Mt
DF /5:m           | FILD Mq
DF /6:m           | FBSTP Mt
DF /7:m           | FISTP Mq
DF C0+i           | FFREEP STi
DF C8+i           | FXCH ST0,STi
DF D0+i           | FSTP STi
DF D8+i           | FSTP STi
DF E0             | FNSTSW AX
DF E8+i           | FUCOMIP ST0,STi
DF F0+i           | FCOMIP ST0,STi
`,
);
