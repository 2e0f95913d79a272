/**
 * Instructions on MMX registers, also those that SSE, SSE2 and SSSE3 added.
 *
 * Intel SDM Vol. 2, opcode maps. `format.ts` explains the columns: opcode | instruction | attributes.
 */
import { rows } from "./format.ts";

export const MMX_ROWS = [
  ...rows(
    "MMX",
    `
NP 0F 60 /r                   | PUNPCKLBW Pq,Qd
NP 0F 61 /r                   | PUNPCKLWD Pq,Qd
NP 0F 62 /r                   | PUNPCKLDQ Pq,Qd
NP 0F 63 /r                   | PACKSSWB Pq,Qq
NP 0F 64 /r                   | PCMPGTB Pq,Qq
NP 0F 65 /r                   | PCMPGTW Pq,Qq
NP 0F 66 /r                   | PCMPGTD Pq,Qq
NP 0F 67 /r                   | PACKUSWB Pq,Qq
NP 0F 68 /r                   | PUNPCKHBW Pq,Qq
NP 0F 69 /r                   | PUNPCKHWD Pq,Qq
NP 0F 6A /r                   | PUNPCKHDQ Pq,Qq
NP 0F 6B /r                   | PACKSSDW Pq,Qq
NP 0F 74 /r                   | PCMPEQB Pq,Qq
NP 0F 75 /r                   | PCMPEQW Pq,Qq
NP 0F 76 /r                   | PCMPEQD Pq,Qq
NP 0F D1 /r                   | PSRLW Pq,Qq
NP 0F D2 /r                   | PSRLD Pq,Qq
NP 0F D3 /r                   | PSRLQ Pq,Qq
NP 0F D5 /r                   | PMULLW Pq,Qq
NP 0F D8 /r                   | PSUBUSB Pq,Qq
NP 0F D9 /r                   | PSUBUSW Pq,Qq
NP 0F DB /r                   | PAND Pq,Qq
NP 0F DC /r                   | PADDUSB Pq,Qq
NP 0F DD /r                   | PADDUSW Pq,Qq
NP 0F DF /r                   | PANDN Pq,Qq
NP 0F E1 /r                   | PSRAW Pq,Qq
NP 0F E2 /r                   | PSRAD Pq,Qq
NP 0F E5 /r                   | PMULHW Pq,Qq
NP 0F E8 /r                   | PSUBSB Pq,Qq
NP 0F E9 /r                   | PSUBSW Pq,Qq
NP 0F EB /r                   | POR Pq,Qq
NP 0F EC /r                   | PADDSB Pq,Qq
NP 0F ED /r                   | PADDSW Pq,Qq
NP 0F EF /r                   | PXOR Pq,Qq
NP 0F F1 /r                   | PSLLW Pq,Qq
NP 0F F2 /r                   | PSLLD Pq,Qq
NP 0F F3 /r                   | PSLLQ Pq,Qq
NP 0F F5 /r                   | PMADDWD Pq,Qq
NP 0F F8 /r                   | PSUBB Pq,Qq
NP 0F F9 /r                   | PSUBW Pq,Qq
NP 0F FA /r                   | PSUBD Pq,Qq
NP 0F FC /r                   | PADDB Pq,Qq
NP 0F FD /r                   | PADDW Pq,Qq
NP 0F FE /r                   | PADDD Pq,Qq
NP 0F 6E /r                   | MOVD Pq,Ey
NP 0F 6F /r                   | MOVQ Pq,Qq
NP 0F 7E /r                   | MOVD Ey,Pq
NP 0F 7F /r                   | MOVQ Qq,Pq
NP 0F 77                      | EMMS
NP 0F 71 /2:r                 | PSRLW Nq,Ib
NP 0F 71 /4:r                 | PSRAW Nq,Ib
NP 0F 71 /6:r                 | PSLLW Nq,Ib
NP 0F 72 /2:r                 | PSRLD Nq,Ib
NP 0F 72 /4:r                 | PSRAD Nq,Ib
NP 0F 72 /6:r                 | PSLLD Nq,Ib
NP 0F 73 /2:r                 | PSRLQ Nq,Ib
NP 0F 73 /6:r                 | PSLLQ Nq,Ib
`,
  ),
  ...rows(
    "SSE",
    `
NP 0F DA /r                   | PMINUB Pq,Qq
NP 0F DE /r                   | PMAXUB Pq,Qq
NP 0F E0 /r                   | PAVGB Pq,Qq
NP 0F E3 /r                   | PAVGW Pq,Qq
NP 0F E4 /r                   | PMULHUW Pq,Qq
NP 0F EA /r                   | PMINSW Pq,Qq
NP 0F EE /r                   | PMAXSW Pq,Qq
NP 0F F6 /r                   | PSADBW Pq,Qq
NP 0F 70 /r                   | PSHUFW Pq,Qq,Ib
NP 0F C4 /r                   | PINSRW Pq,Ey/w,Ib
NP 0F C5 /r:r                 | PEXTRW Gy,Nq,Ib
NP 0F D7 /r:r                 | PMOVMSKB Gy,Nq
NP 0F E7 /r:m                 | MOVNTQ Mq,Pq
NP 0F F7 /r:r                 | MASKMOVQ DIq,Pq,Nq
`,
  ),
  ...rows(
    "SSE2",
    `
NP 0F D4 /r                   | PADDQ Pq,Qq
NP 0F F4 /r                   | PMULUDQ Pq,Qq
NP 0F FB /r                   | PSUBQ Pq,Qq
F3 0F D6 /r:r                 | MOVQ2DQ Vdq,Nq
F2 0F D6 /r:r                 | MOVDQ2Q Pq,Udq
66 0F 2A /r                   | CVTPI2PD Vdq,Qq
66 0F 2C /r                   | CVTTPD2PI Pq,Wdq
66 0F 2D /r                   | CVTPD2PI Pq,Wdq
`,
  ),
  ...rows(
    "SSSE3",
    `
NP 0F 38 00 /r                | PSHUFB Pq,Qq
NP 0F 38 01 /r                | PHADDW Pq,Qq
NP 0F 38 02 /r                | PHADDD Pq,Qq
NP 0F 38 03 /r                | PHADDSW Pq,Qq
NP 0F 38 04 /r                | PMADDUBSW Pq,Qq
NP 0F 38 05 /r                | PHSUBW Pq,Qq
NP 0F 38 06 /r                | PHSUBD Pq,Qq
NP 0F 38 07 /r                | PHSUBSW Pq,Qq
NP 0F 38 08 /r                | PSIGNB Pq,Qq
NP 0F 38 09 /r                | PSIGNW Pq,Qq
NP 0F 38 0A /r                | PSIGND Pq,Qq
NP 0F 38 0B /r                | PMULHRSW Pq,Qq
NP 0F 38 1C /r                | PABSB Pq,Qq
NP 0F 38 1D /r                | PABSW Pq,Qq
NP 0F 38 1E /r                | PABSD Pq,Qq
NP 0F 3A 0F /r                | PALIGNR Pq,Qq,Ib
`,
  ),
];
