/**
 * Legacy-encoded instructions on XMM registers, from SSE3 on: SSE3, SSSE3, SSE4, AES, PCLMULQDQ, SHA.
 *
 * Intel SDM Vol. 2, opcode maps. A register operand of a scalar instruction has the scalar's size.
 * XMM0 is an implicit operand of BLENDVPS, BLENDVPD, PBLENDVB and SHA256RNDS2.
 * `format.ts` explains the columns: opcode | instruction | attributes.
 */
import { rows } from "./format.ts";

export const SSE3_TO_SHA_ROWS = [
  ...rows(
    "SSE3",
    `
66 0F 7C /r                   | HADDPD Vdq,Wdq
F2 0F 7C /r                   | HADDPS Vdq,Wdq
66 0F 7D /r                   | HSUBPD Vdq,Wdq
F2 0F 7D /r                   | HSUBPS Vdq,Wdq
66 0F D0 /r                   | ADDSUBPD Vdq,Wdq
F2 0F D0 /r                   | ADDSUBPS Vdq,Wdq
F2 0F F0 /r:m                 | LDDQU Vdq,Mdq
F2 0F 12 /r                   | MOVDDUP Vdq,Wq
F3 0F 12 /r                   | MOVSLDUP Vdq,Wdq
F3 0F 16 /r                   | MOVSHDUP Vdq,Wdq
`,
  ),
  ...rows(
    "SSSE3",
    `
66 0F 38 00 /r                | PSHUFB Vdq,Wdq
66 0F 38 01 /r                | PHADDW Vdq,Wdq
66 0F 38 02 /r                | PHADDD Vdq,Wdq
66 0F 38 03 /r                | PHADDSW Vdq,Wdq
66 0F 38 04 /r                | PMADDUBSW Vdq,Wdq
66 0F 38 05 /r                | PHSUBW Vdq,Wdq
66 0F 38 06 /r                | PHSUBD Vdq,Wdq
66 0F 38 07 /r                | PHSUBSW Vdq,Wdq
66 0F 38 08 /r                | PSIGNB Vdq,Wdq
66 0F 38 09 /r                | PSIGNW Vdq,Wdq
66 0F 38 0A /r                | PSIGND Vdq,Wdq
66 0F 38 0B /r                | PMULHRSW Vdq,Wdq
66 0F 38 1C /r                | PABSB Vdq,Wdq
66 0F 38 1D /r                | PABSW Vdq,Wdq
66 0F 38 1E /r                | PABSD Vdq,Wdq
66 0F 3A 0F /r                | PALIGNR Vdq,Wdq,Ib
`,
  ),
  ...rows(
    "SSE4_1",
    `
66 0F 38 10 /r                | PBLENDVB Vdq,Wdq
66 0F 38 14 /r                | BLENDVPS Vdq,Wdq
66 0F 38 15 /r                | BLENDVPD Vdq,Wdq
66 0F 38 17 /r                | PTEST Vdq,Wdq
66 0F 38 20 /r                | PMOVSXBW Vdq,Wq
66 0F 38 21 /r                | PMOVSXBD Vdq,Wd
66 0F 38 22 /r                | PMOVSXBQ Vdq,Ww
66 0F 38 23 /r                | PMOVSXWD Vdq,Wq
66 0F 38 24 /r                | PMOVSXWQ Vdq,Wd
66 0F 38 25 /r                | PMOVSXDQ Vdq,Wq
66 0F 38 28 /r                | PMULDQ Vdq,Wdq
66 0F 38 29 /r                | PCMPEQQ Vdq,Wdq
66 0F 38 2A /r:m              | MOVNTDQA Vdq,Mdq
66 0F 38 2B /r                | PACKUSDW Vdq,Wdq
66 0F 38 30 /r                | PMOVZXBW Vdq,Wq
66 0F 38 31 /r                | PMOVZXBD Vdq,Wd
66 0F 38 32 /r                | PMOVZXBQ Vdq,Ww
66 0F 38 33 /r                | PMOVZXWD Vdq,Wq
66 0F 38 34 /r                | PMOVZXWQ Vdq,Wd
66 0F 38 35 /r                | PMOVZXDQ Vdq,Wq
66 0F 38 38 /r                | PMINSB Vdq,Wdq
66 0F 38 39 /r                | PMINSD Vdq,Wdq
66 0F 38 3A /r                | PMINUW Vdq,Wdq
66 0F 38 3B /r                | PMINUD Vdq,Wdq
66 0F 38 3C /r                | PMAXSB Vdq,Wdq
66 0F 38 3D /r                | PMAXSD Vdq,Wdq
66 0F 38 3E /r                | PMAXUW Vdq,Wdq
66 0F 38 3F /r                | PMAXUD Vdq,Wdq
66 0F 38 40 /r                | PMULLD Vdq,Wdq
66 0F 38 41 /r                | PHMINPOSUW Vdq,Wdq
66 0F 3A 08 /r                | ROUNDPS Vdq,Wdq,Ib
66 0F 3A 09 /r                | ROUNDPD Vdq,Wdq,Ib
66 0F 3A 0A /r                | ROUNDSS Vdq,Wd,Ib
66 0F 3A 0B /r                | ROUNDSD Vdq,Wq,Ib
66 0F 3A 0C /r                | BLENDPS Vdq,Wdq,Ib
66 0F 3A 0D /r                | BLENDPD Vdq,Wdq,Ib
66 0F 3A 0E /r                | PBLENDW Vdq,Wdq,Ib
66 0F 3A 14 /r                | PEXTRB Ey/b,Vdq,Ib
66 0F 3A 15 /r                | PEXTRW Ey/w,Vdq,Ib
66 0F 3A 16 /r                | PEXTRD Ey,Vdq,Ib
66 0F 3A 17 /r                | EXTRACTPS Ey/d,Vdq,Ib
66 0F 3A 20 /r                | PINSRB Vdq,Ey/b,Ib
66 0F 3A 21 /r                | INSERTPS Vdq,Wd,Ib
66 0F 3A 22 /r                | PINSRD Vdq,Ey,Ib
66 0F 3A 40 /r                | DPPS Vdq,Wdq,Ib
66 0F 3A 41 /r                | DPPD Vdq,Wdq,Ib
66 0F 3A 42 /r                | MPSADBW Vdq,Wdq,Ib
`,
  ),
  ...rows(
    "SSE4_2",
    `
66 0F 38 37 /r                | PCMPGTQ Vdq,Wdq
66 0F 3A 60 /r                | PCMPESTRM Vdq,Wdq,Ib
66 0F 3A 61 /r                | PCMPESTRI Vdq,Wdq,Ib
66 0F 3A 62 /r                | PCMPISTRM Vdq,Wdq,Ib
66 0F 3A 63 /r                | PCMPISTRI Vdq,Wdq,Ib
`,
  ),
  ...rows(
    "AES",
    `
66 0F 38 DB /r                | AESIMC Vdq,Wdq
66 0F 38 DC /r                | AESENC Vdq,Wdq
66 0F 38 DD /r                | AESENCLAST Vdq,Wdq
66 0F 38 DE /r                | AESDEC Vdq,Wdq
66 0F 38 DF /r                | AESDECLAST Vdq,Wdq
66 0F 3A DF /r                | AESKEYGENASSIST Vdq,Wdq,Ib
`,
  ),
  ...rows(
    "PCLMULQDQ",
    `
66 0F 3A 44 /r                | PCLMULQDQ Vdq,Wdq,Ib
`,
  ),
  ...rows(
    "SHA",
    `
NP 0F 38 C8 /r                | SHA1NEXTE Vdq,Wdq
NP 0F 38 C9 /r                | SHA1MSG1 Vdq,Wdq
NP 0F 38 CA /r                | SHA1MSG2 Vdq,Wdq
NP 0F 38 CB /r                | SHA256RNDS2 Vdq,Wdq
NP 0F 38 CC /r                | SHA256MSG1 Vdq,Wdq
NP 0F 38 CD /r                | SHA256MSG2 Vdq,Wdq
NP 0F 3A CC /r                | SHA1RNDS4 Vdq,Wdq,Ib
`,
  ),
];
