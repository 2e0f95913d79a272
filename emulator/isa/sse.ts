/**
 * Legacy-encoded instructions on XMM registers, SSE and SSE2.
 *
 * Intel SDM Vol. 2, opcode maps. A register operand of a scalar instruction has the scalar's size.
 * `format.ts` explains the columns: opcode | instruction | attributes.
 */
import { rows } from "./format.ts";

export const SSE_ROWS = [
  ...rows(
    "SSE",
    `
NP 0F 10 /r                   | MOVUPS Vdq,Wdq
NP 0F 11 /r                   | MOVUPS Wdq,Vdq
F3 0F 10 /r                   | MOVSS Vdq,Wd
F3 0F 11 /r                   | MOVSS Wd,Vdq
NP 0F 12 /r:m                 | MOVLPS Vdq,Mq
NP 0F 12 /r:r                 | MOVHLPS Vdq,Udq
NP 0F 13 /r:m                 | MOVLPS Mq,Vdq
NP 0F 14 /r                   | UNPCKLPS Vdq,Wdq
NP 0F 15 /r                   | UNPCKHPS Vdq,Wdq
NP 0F 16 /r:m                 | MOVHPS Vdq,Mq
NP 0F 16 /r:r                 | MOVLHPS Vdq,Udq
NP 0F 17 /r:m                 | MOVHPS Mq,Vdq
NP 0F 28 /r                   | MOVAPS Vdq,Wdq
NP 0F 29 /r                   | MOVAPS Wdq,Vdq
NP 0F 2A /r                   | CVTPI2PS Vdq,Qq
F3 0F 2A /r                   | CVTSI2SS Vdq,Ey
NP 0F 2B /r:m                 | MOVNTPS Mdq,Vdq
NP 0F 2C /r                   | CVTTPS2PI Pq,Wq
F3 0F 2C /r                   | CVTTSS2SI Gy,Wd
NP 0F 2D /r                   | CVTPS2PI Pq,Wq
F3 0F 2D /r                   | CVTSS2SI Gy,Wd
NP 0F 2E /r                   | UCOMISS Vdq,Wd
NP 0F 2F /r                   | COMISS Vdq,Wd
NP 0F 50 /r:r                 | MOVMSKPS Gy,Udq
NP 0F 52 /r                   | RSQRTPS Vdq,Wdq
F3 0F 52 /r                   | RSQRTSS Vdq,Wd
NP 0F 53 /r                   | RCPPS Vdq,Wdq
F3 0F 53 /r                   | RCPSS Vdq,Wd
NP 0F 54 /r                   | ANDPS Vdq,Wdq
NP 0F 55 /r                   | ANDNPS Vdq,Wdq
NP 0F 56 /r                   | ORPS Vdq,Wdq
NP 0F 57 /r                   | XORPS Vdq,Wdq
NP 0F C2 /r                   | CMPPS Vdq,Wdq,Ib
F3 0F C2 /r                   | CMPSS Vdq,Wd,Ib
NP 0F C6 /r                   | SHUFPS Vdq,Wdq,Ib
0F 18 /0:m                    | PREFETCHNTA M
0F 18 /1:m                    | PREFETCHT0 M
0F 18 /2:m                    | PREFETCHT1 M
0F 18 /3:m                    | PREFETCHT2 M
NP 0F AE /2:m                 | LDMXCSR Md
NP 0F AE /3:m                 | STMXCSR Md
NP 0F AE /7:r                 | SFENCE
NP 0F 51 /r                   | SQRTPS Vdq,Wdq
F3 0F 51 /r                   | SQRTSS Vdq,Wd
NP 0F 58 /r                   | ADDPS Vdq,Wdq
F3 0F 58 /r                   | ADDSS Vdq,Wd
NP 0F 59 /r                   | MULPS Vdq,Wdq
F3 0F 59 /r                   | MULSS Vdq,Wd
NP 0F 5C /r                   | SUBPS Vdq,Wdq
F3 0F 5C /r                   | SUBSS Vdq,Wd
NP 0F 5D /r                   | MINPS Vdq,Wdq
F3 0F 5D /r                   | MINSS Vdq,Wd
NP 0F 5E /r                   | DIVPS Vdq,Wdq
F3 0F 5E /r                   | DIVSS Vdq,Wd
NP 0F 5F /r                   | MAXPS Vdq,Wdq
F3 0F 5F /r                   | MAXSS Vdq,Wd
`,
  ),
  ...rows(
    "SSE2",
    `
66 0F 10 /r                   | MOVUPD Vdq,Wdq
66 0F 11 /r                   | MOVUPD Wdq,Vdq
F2 0F 10 /r                   | MOVSD Vdq,Wq
F2 0F 11 /r                   | MOVSD Wq,Vdq
66 0F 12 /r:m                 | MOVLPD Vdq,Mq
66 0F 13 /r:m                 | MOVLPD Mq,Vdq
66 0F 14 /r                   | UNPCKLPD Vdq,Wdq
66 0F 15 /r                   | UNPCKHPD Vdq,Wdq
66 0F 16 /r:m                 | MOVHPD Vdq,Mq
66 0F 17 /r:m                 | MOVHPD Mq,Vdq
66 0F 28 /r                   | MOVAPD Vdq,Wdq
66 0F 29 /r                   | MOVAPD Wdq,Vdq
F2 0F 2A /r                   | CVTSI2SD Vdq,Ey
66 0F 2B /r:m                 | MOVNTPD Mdq,Vdq
F2 0F 2C /r                   | CVTTSD2SI Gy,Wq
F2 0F 2D /r                   | CVTSD2SI Gy,Wq
66 0F 2E /r                   | UCOMISD Vdq,Wq
66 0F 2F /r                   | COMISD Vdq,Wq
66 0F 50 /r:r                 | MOVMSKPD Gy,Udq
66 0F 54 /r                   | ANDPD Vdq,Wdq
66 0F 55 /r                   | ANDNPD Vdq,Wdq
66 0F 56 /r                   | ORPD Vdq,Wdq
66 0F 57 /r                   | XORPD Vdq,Wdq
NP 0F 5A /r                   | CVTPS2PD Vdq,Wq
66 0F 5A /r                   | CVTPD2PS Vdq,Wdq
F3 0F 5A /r                   | CVTSS2SD Vdq,Wd
F2 0F 5A /r                   | CVTSD2SS Vdq,Wq
NP 0F 5B /r                   | CVTDQ2PS Vdq,Wdq
66 0F 5B /r                   | CVTPS2DQ Vdq,Wdq
F3 0F 5B /r                   | CVTTPS2DQ Vdq,Wdq
66 0F C2 /r                   | CMPPD Vdq,Wdq,Ib
F2 0F C2 /r                   | CMPSD Vdq,Wq,Ib
NP 0F C3 /r:m                 | MOVNTI My,Gy
66 0F C6 /r                   | SHUFPD Vdq,Wdq,Ib
66 0F E6 /r                   | CVTTPD2DQ Vdq,Wdq
F3 0F E6 /r                   | CVTDQ2PD Vdq,Wq
F2 0F E6 /r                   | CVTPD2DQ Vdq,Wdq
66 0F 6C /r                   | PUNPCKLQDQ Vdq,Wdq
66 0F 6D /r                   | PUNPCKHQDQ Vdq,Wdq
66 0F 6E /r                   | MOVD Vdq,Ey
66 0F 6F /r                   | MOVDQA Vdq,Wdq
F3 0F 6F /r                   | MOVDQU Vdq,Wdq
66 0F 70 /r                   | PSHUFD Vdq,Wdq,Ib
F3 0F 70 /r                   | PSHUFHW Vdq,Wdq,Ib
F2 0F 70 /r                   | PSHUFLW Vdq,Wdq,Ib
66 0F 7E /r                   | MOVD Ey,Vdq
F3 0F 7E /r                   | MOVQ Vdq,Wq
66 0F 7F /r                   | MOVDQA Wdq,Vdq
F3 0F 7F /r                   | MOVDQU Wdq,Vdq
66 0F C4 /r                   | PINSRW Vdq,Ey/w,Ib
66 0F C5 /r:r                 | PEXTRW Gy,Udq,Ib
66 0F D6 /r                   | MOVQ Wq,Vdq
66 0F D7 /r:r                 | PMOVMSKB Gy,Udq
66 0F E7 /r:m                 | MOVNTDQ Mdq,Vdq
66 0F F7 /r:r                 | MASKMOVDQU DIdq,Vdq,Udq
NP 0F AE /5:r                 | LFENCE
NP 0F AE /6:r                 | MFENCE
66 0F 51 /r                   | SQRTPD Vdq,Wdq
F2 0F 51 /r                   | SQRTSD Vdq,Wq
66 0F 58 /r                   | ADDPD Vdq,Wdq
F2 0F 58 /r                   | ADDSD Vdq,Wq
66 0F 59 /r                   | MULPD Vdq,Wdq
F2 0F 59 /r                   | MULSD Vdq,Wq
66 0F 5C /r                   | SUBPD Vdq,Wdq
F2 0F 5C /r                   | SUBSD Vdq,Wq
66 0F 5D /r                   | MINPD Vdq,Wdq
F2 0F 5D /r                   | MINSD Vdq,Wq
66 0F 5E /r                   | DIVPD Vdq,Wdq
F2 0F 5E /r                   | DIVSD Vdq,Wq
66 0F 5F /r                   | MAXPD Vdq,Wdq
F2 0F 5F /r                   | MAXSD Vdq,Wq
66 0F 60 /r                   | PUNPCKLBW Vdq,Wdq
66 0F 61 /r                   | PUNPCKLWD Vdq,Wdq
66 0F 62 /r                   | PUNPCKLDQ Vdq,Wdq
66 0F 63 /r                   | PACKSSWB Vdq,Wdq
66 0F 64 /r                   | PCMPGTB Vdq,Wdq
66 0F 65 /r                   | PCMPGTW Vdq,Wdq
66 0F 66 /r                   | PCMPGTD Vdq,Wdq
66 0F 67 /r                   | PACKUSWB Vdq,Wdq
66 0F 68 /r                   | PUNPCKHBW Vdq,Wdq
66 0F 69 /r                   | PUNPCKHWD Vdq,Wdq
66 0F 6A /r                   | PUNPCKHDQ Vdq,Wdq
66 0F 6B /r                   | PACKSSDW Vdq,Wdq
66 0F 74 /r                   | PCMPEQB Vdq,Wdq
66 0F 75 /r                   | PCMPEQW Vdq,Wdq
66 0F 76 /r                   | PCMPEQD Vdq,Wdq
66 0F D1 /r                   | PSRLW Vdq,Wdq
66 0F D2 /r                   | PSRLD Vdq,Wdq
66 0F D3 /r                   | PSRLQ Vdq,Wdq
66 0F D4 /r                   | PADDQ Vdq,Wdq
66 0F D5 /r                   | PMULLW Vdq,Wdq
66 0F D8 /r                   | PSUBUSB Vdq,Wdq
66 0F D9 /r                   | PSUBUSW Vdq,Wdq
66 0F DA /r                   | PMINUB Vdq,Wdq
66 0F DB /r                   | PAND Vdq,Wdq
66 0F DC /r                   | PADDUSB Vdq,Wdq
66 0F DD /r                   | PADDUSW Vdq,Wdq
66 0F DE /r                   | PMAXUB Vdq,Wdq
66 0F DF /r                   | PANDN Vdq,Wdq
66 0F E0 /r                   | PAVGB Vdq,Wdq
66 0F E1 /r                   | PSRAW Vdq,Wdq
66 0F E2 /r                   | PSRAD Vdq,Wdq
66 0F E3 /r                   | PAVGW Vdq,Wdq
66 0F E4 /r                   | PMULHUW Vdq,Wdq
66 0F E5 /r                   | PMULHW Vdq,Wdq
66 0F E8 /r                   | PSUBSB Vdq,Wdq
66 0F E9 /r                   | PSUBSW Vdq,Wdq
66 0F EA /r                   | PMINSW Vdq,Wdq
66 0F EB /r                   | POR Vdq,Wdq
66 0F EC /r                   | PADDSB Vdq,Wdq
66 0F ED /r                   | PADDSW Vdq,Wdq
66 0F EE /r                   | PMAXSW Vdq,Wdq
66 0F EF /r                   | PXOR Vdq,Wdq
66 0F F1 /r                   | PSLLW Vdq,Wdq
66 0F F2 /r                   | PSLLD Vdq,Wdq
66 0F F3 /r                   | PSLLQ Vdq,Wdq
66 0F F4 /r                   | PMULUDQ Vdq,Wdq
66 0F F5 /r                   | PMADDWD Vdq,Wdq
66 0F F6 /r                   | PSADBW Vdq,Wdq
66 0F F8 /r                   | PSUBB Vdq,Wdq
66 0F F9 /r                   | PSUBW Vdq,Wdq
66 0F FA /r                   | PSUBD Vdq,Wdq
66 0F FB /r                   | PSUBQ Vdq,Wdq
66 0F FC /r                   | PADDB Vdq,Wdq
66 0F FD /r                   | PADDW Vdq,Wdq
66 0F FE /r                   | PADDD Vdq,Wdq
66 0F 71 /2:r                 | PSRLW Udq,Ib
66 0F 71 /4:r                 | PSRAW Udq,Ib
66 0F 71 /6:r                 | PSLLW Udq,Ib
66 0F 72 /2:r                 | PSRLD Udq,Ib
66 0F 72 /4:r                 | PSRAD Udq,Ib
66 0F 72 /6:r                 | PSLLD Udq,Ib
66 0F 73 /2:r                 | PSRLQ Udq,Ib
66 0F 73 /6:r                 | PSLLQ Udq,Ib
66 0F 73 /3:r                 | PSRLDQ Udq,Ib
66 0F 73 /7:r                 | PSLLDQ Udq,Ib
`,
  ),
];
