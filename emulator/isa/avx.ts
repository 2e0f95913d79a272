/**
 * VEX-encoded instructions: AVX but for the integer vectors, and the AVX forms of AES and PCLMULQDQ.
 *
 * Intel SDM Vol. 2, opcode maps and instruction reference.
 * `format.ts` explains the columns: opcode | instruction | attributes.
 */
import { rows } from "./format.ts";

export const AVX_ROWS = [
  ...rows(
    "AVX",
    `
VEX.NP.0F 10 /r               | VMOVUPS Vx,Wx
VEX.66.0F 10 /r               | VMOVUPD Vx,Wx
VEX.F3.0F 10 /r:m             | VMOVSS Vdq,Md
VEX.F3.0F 10 /r:r             | VMOVSS Vdq,Hdq,Udq
VEX.F2.0F 10 /r:m             | VMOVSD Vdq,Mq
VEX.F2.0F 10 /r:r             | VMOVSD Vdq,Hdq,Udq
VEX.NP.0F 11 /r               | VMOVUPS Wx,Vx
VEX.66.0F 11 /r               | VMOVUPD Wx,Vx
VEX.F3.0F 11 /r:m             | VMOVSS Md,Vdq
VEX.F3.0F 11 /r:r             | VMOVSS Udq,Hdq,Vdq
VEX.F2.0F 11 /r:m             | VMOVSD Mq,Vdq
VEX.F2.0F 11 /r:r             | VMOVSD Udq,Hdq,Vdq
VEX.128.NP.0F 12 /r:m         | VMOVLPS Vdq,Hdq,Mq
VEX.128.NP.0F 12 /r:r         | VMOVHLPS Vdq,Hdq,Udq
VEX.128.66.0F 12 /r:m         | VMOVLPD Vdq,Hdq,Mq
VEX.F3.0F 12 /r               | VMOVSLDUP Vx,Wx
VEX.128.F2.0F 12 /r           | VMOVDDUP Vdq,Wq
VEX.256.F2.0F 12 /r           | VMOVDDUP Vqq,Wqq
VEX.128.NP.0F 13 /r:m         | VMOVLPS Mq,Vdq
VEX.128.66.0F 13 /r:m         | VMOVLPD Mq,Vdq
VEX.NP.0F 14 /r               | VUNPCKLPS Vx,Hx,Wx
VEX.66.0F 14 /r               | VUNPCKLPD Vx,Hx,Wx
VEX.NP.0F 15 /r               | VUNPCKHPS Vx,Hx,Wx
VEX.66.0F 15 /r               | VUNPCKHPD Vx,Hx,Wx
VEX.128.NP.0F 16 /r:m         | VMOVHPS Vdq,Hdq,Mq
VEX.128.NP.0F 16 /r:r         | VMOVLHPS Vdq,Hdq,Udq
VEX.128.66.0F 16 /r:m         | VMOVHPD Vdq,Hdq,Mq
VEX.F3.0F 16 /r               | VMOVSHDUP Vx,Wx
VEX.128.NP.0F 17 /r:m         | VMOVHPS Mq,Vdq
VEX.128.66.0F 17 /r:m         | VMOVHPD Mq,Vdq
VEX.NP.0F 28 /r               | VMOVAPS Vx,Wx
VEX.66.0F 28 /r               | VMOVAPD Vx,Wx
VEX.NP.0F 29 /r               | VMOVAPS Wx,Vx
VEX.66.0F 29 /r               | VMOVAPD Wx,Vx
VEX.F3.0F 2A /r               | VCVTSI2SS Vdq,Hdq,Ey
VEX.F2.0F 2A /r               | VCVTSI2SD Vdq,Hdq,Ey
VEX.NP.0F 2B /r:m             | VMOVNTPS Mx,Vx
VEX.66.0F 2B /r:m             | VMOVNTPD Mx,Vx
VEX.F3.0F 2C /r               | VCVTTSS2SI Gy,Wd
VEX.F2.0F 2C /r               | VCVTTSD2SI Gy,Wq
VEX.F3.0F 2D /r               | VCVTSS2SI Gy,Wd
VEX.F2.0F 2D /r               | VCVTSD2SI Gy,Wq
VEX.NP.0F 2E /r               | VUCOMISS Vdq,Wd
VEX.66.0F 2E /r               | VUCOMISD Vdq,Wq
VEX.NP.0F 2F /r               | VCOMISS Vdq,Wd
VEX.66.0F 2F /r               | VCOMISD Vdq,Wq
VEX.NP.0F 50 /r:r             | VMOVMSKPS Gy,Ux
VEX.66.0F 50 /r:r             | VMOVMSKPD Gy,Ux
VEX.NP.0F 51 /r               | VSQRTPS Vx,Wx
VEX.66.0F 51 /r               | VSQRTPD Vx,Wx
VEX.F3.0F 51 /r               | VSQRTSS Vdq,Hdq,Wd
VEX.F2.0F 51 /r               | VSQRTSD Vdq,Hdq,Wq
VEX.NP.0F 52 /r               | VRSQRTPS Vx,Wx
VEX.F3.0F 52 /r               | VRSQRTSS Vdq,Hdq,Wd
VEX.NP.0F 53 /r               | VRCPPS Vx,Wx
VEX.F3.0F 53 /r               | VRCPSS Vdq,Hdq,Wd
VEX.NP.0F 54 /r               | VANDPS Vx,Hx,Wx
VEX.66.0F 54 /r               | VANDPD Vx,Hx,Wx
VEX.NP.0F 55 /r               | VANDNPS Vx,Hx,Wx
VEX.66.0F 55 /r               | VANDNPD Vx,Hx,Wx
VEX.NP.0F 56 /r               | VORPS Vx,Hx,Wx
VEX.66.0F 56 /r               | VORPD Vx,Hx,Wx
VEX.NP.0F 57 /r               | VXORPS Vx,Hx,Wx
VEX.66.0F 57 /r               | VXORPD Vx,Hx,Wx
VEX.NP.0F 58 /r               | VADDPS Vx,Hx,Wx
VEX.66.0F 58 /r               | VADDPD Vx,Hx,Wx
VEX.F3.0F 58 /r               | VADDSS Vdq,Hdq,Wd
VEX.F2.0F 58 /r               | VADDSD Vdq,Hdq,Wq
VEX.NP.0F 59 /r               | VMULPS Vx,Hx,Wx
VEX.66.0F 59 /r               | VMULPD Vx,Hx,Wx
VEX.F3.0F 59 /r               | VMULSS Vdq,Hdq,Wd
VEX.F2.0F 59 /r               | VMULSD Vdq,Hdq,Wq
VEX.NP.0F 5C /r               | VSUBPS Vx,Hx,Wx
VEX.66.0F 5C /r               | VSUBPD Vx,Hx,Wx
VEX.F3.0F 5C /r               | VSUBSS Vdq,Hdq,Wd
VEX.F2.0F 5C /r               | VSUBSD Vdq,Hdq,Wq
VEX.NP.0F 5D /r               | VMINPS Vx,Hx,Wx
VEX.66.0F 5D /r               | VMINPD Vx,Hx,Wx
VEX.F3.0F 5D /r               | VMINSS Vdq,Hdq,Wd
VEX.F2.0F 5D /r               | VMINSD Vdq,Hdq,Wq
VEX.NP.0F 5E /r               | VDIVPS Vx,Hx,Wx
VEX.66.0F 5E /r               | VDIVPD Vx,Hx,Wx
VEX.F3.0F 5E /r               | VDIVSS Vdq,Hdq,Wd
VEX.F2.0F 5E /r               | VDIVSD Vdq,Hdq,Wq
VEX.NP.0F 5F /r               | VMAXPS Vx,Hx,Wx
VEX.66.0F 5F /r               | VMAXPD Vx,Hx,Wx
VEX.F3.0F 5F /r               | VMAXSS Vdq,Hdq,Wd
VEX.F2.0F 5F /r               | VMAXSD Vdq,Hdq,Wq
VEX.128.NP.0F 5A /r           | VCVTPS2PD Vdq,Wq
VEX.256.NP.0F 5A /r           | VCVTPS2PD Vqq,Wdq
VEX.66.0F 5A /r               | VCVTPD2PS Vdq,Wx
VEX.F3.0F 5A /r               | VCVTSS2SD Vdq,Hdq,Wd
VEX.F2.0F 5A /r               | VCVTSD2SS Vdq,Hdq,Wq
VEX.NP.0F 5B /r               | VCVTDQ2PS Vx,Wx
VEX.66.0F 5B /r               | VCVTPS2DQ Vx,Wx
VEX.F3.0F 5B /r               | VCVTTPS2DQ Vx,Wx
VEX.128.66.0F 6E /r           | VMOVD Vdq,Ey
VEX.66.0F 6F /r               | VMOVDQA Vx,Wx
VEX.F3.0F 6F /r               | VMOVDQU Vx,Wx
VEX.128.NP.0F 77              | VZEROUPPER
VEX.256.NP.0F 77              | VZEROALL
VEX.66.0F 7C /r               | VHADDPD Vx,Hx,Wx
VEX.F2.0F 7C /r               | VHADDPS Vx,Hx,Wx
VEX.66.0F 7D /r               | VHSUBPD Vx,Hx,Wx
VEX.F2.0F 7D /r               | VHSUBPS Vx,Hx,Wx
VEX.128.66.0F 7E /r           | VMOVD Ey,Vdq
VEX.128.F3.0F 7E /r           | VMOVQ Vdq,Wq
VEX.66.0F 7F /r               | VMOVDQA Wx,Vx
VEX.F3.0F 7F /r               | VMOVDQU Wx,Vx
VEX.128.NP.0F AE /2:m         | VLDMXCSR Md
VEX.128.NP.0F AE /3:m         | VSTMXCSR Md
VEX.NP.0F C2 /r               | VCMPPS Vx,Hx,Wx,Ib
VEX.66.0F C2 /r               | VCMPPD Vx,Hx,Wx,Ib
VEX.F3.0F C2 /r               | VCMPSS Vdq,Hdq,Wd,Ib
VEX.F2.0F C2 /r               | VCMPSD Vdq,Hdq,Wq,Ib
VEX.128.66.0F C4 /r           | VPINSRW Vdq,Hdq,Ey/w,Ib
VEX.128.66.0F C5 /r:r         | VPEXTRW Gy,Udq,Ib
VEX.NP.0F C6 /r               | VSHUFPS Vx,Hx,Wx,Ib
VEX.66.0F C6 /r               | VSHUFPD Vx,Hx,Wx,Ib
VEX.66.0F D0 /r               | VADDSUBPD Vx,Hx,Wx
VEX.F2.0F D0 /r               | VADDSUBPS Vx,Hx,Wx
VEX.128.66.0F D6 /r           | VMOVQ Wq,Vdq
VEX.66.0F E6 /r               | VCVTTPD2DQ Vdq,Wx
VEX.128.F3.0F E6 /r           | VCVTDQ2PD Vdq,Wq
VEX.256.F3.0F E6 /r           | VCVTDQ2PD Vqq,Wdq
VEX.F2.0F E6 /r               | VCVTPD2DQ Vdq,Wx
VEX.66.0F E7 /r:m             | VMOVNTDQ Mx,Vx
VEX.F2.0F F0 /r:m             | VLDDQU Vx,Mx
VEX.128.66.0F F7 /r:r         | VMASKMOVDQU DIdq,Vdq,Udq
VEX.66.0F38.W0 0C /r          | VPERMILPS Vx,Hx,Wx
VEX.66.0F38.W0 0D /r          | VPERMILPD Vx,Hx,Wx
VEX.66.0F38.W0 0E /r          | VTESTPS Vx,Wx
VEX.66.0F38.W0 0F /r          | VTESTPD Vx,Wx
VEX.66.0F38 17 /r             | VPTEST Vx,Wx
VEX.66.0F38.W0 18 /r:m        | VBROADCASTSS Vx,Md
VEX.256.66.0F38.W0 19 /r:m    | VBROADCASTSD Vqq,Mq
VEX.256.66.0F38.W0 1A /r:m    | VBROADCASTF128 Vqq,Mdq
VEX.66.0F38.W0 2C /r:m        | VMASKMOVPS Vx,Hx,Mx
VEX.66.0F38.W0 2D /r:m        | VMASKMOVPD Vx,Hx,Mx
VEX.66.0F38.W0 2E /r:m        | VMASKMOVPS Mx,Hx,Vx
VEX.66.0F38.W0 2F /r:m        | VMASKMOVPD Mx,Hx,Vx
VEX.128.66.0F38 41 /r         | VPHMINPOSUW Vdq,Wdq
VEX.66.0F3A.W0 04 /r          | VPERMILPS Vx,Wx,Ib
VEX.66.0F3A.W0 05 /r          | VPERMILPD Vx,Wx,Ib
VEX.256.66.0F3A.W0 06 /r      | VPERM2F128 Vqq,Hqq,Wqq,Ib
VEX.66.0F3A 08 /r             | VROUNDPS Vx,Wx,Ib
VEX.66.0F3A 09 /r             | VROUNDPD Vx,Wx,Ib
VEX.66.0F3A 0A /r             | VROUNDSS Vdq,Hdq,Wd,Ib
VEX.66.0F3A 0B /r             | VROUNDSD Vdq,Hdq,Wq,Ib
VEX.66.0F3A 0C /r             | VBLENDPS Vx,Hx,Wx,Ib
VEX.66.0F3A 0D /r             | VBLENDPD Vx,Hx,Wx,Ib
VEX.128.66.0F3A 14 /r         | VPEXTRB Ey/b,Vdq,Ib
VEX.128.66.0F3A 15 /r         | VPEXTRW Ey/w,Vdq,Ib
VEX.128.66.0F3A 16 /r         | VPEXTRD Ey,Vdq,Ib
VEX.128.66.0F3A 17 /r         | VEXTRACTPS Ey/d,Vdq,Ib
VEX.256.66.0F3A.W0 18 /r      | VINSERTF128 Vqq,Hqq,Wdq,Ib
VEX.256.66.0F3A.W0 19 /r      | VEXTRACTF128 Wdq,Vqq,Ib
VEX.128.66.0F3A 20 /r         | VPINSRB Vdq,Hdq,Ey/b,Ib
VEX.128.66.0F3A 21 /r         | VINSERTPS Vdq,Hdq,Wd,Ib
VEX.128.66.0F3A 22 /r         | VPINSRD Vdq,Hdq,Ey,Ib
VEX.66.0F3A 40 /r             | VDPPS Vx,Hx,Wx,Ib
VEX.128.66.0F3A 41 /r         | VDPPD Vdq,Hdq,Wdq,Ib
VEX.66.0F3A.W0 4A /r          | VBLENDVPS Vx,Hx,Wx,Lx
VEX.66.0F3A.W0 4B /r          | VBLENDVPD Vx,Hx,Wx,Lx
VEX.128.66.0F3A 60 /r         | VPCMPESTRM Vdq,Wdq,Ib
VEX.128.66.0F3A 61 /r         | VPCMPESTRI Vdq,Wdq,Ib
VEX.128.66.0F3A 62 /r         | VPCMPISTRM Vdq,Wdq,Ib
VEX.128.66.0F3A 63 /r         | VPCMPISTRI Vdq,Wdq,Ib
`,
  ),
  ...rows(
    "AVX+AES",
    `
VEX.128.66.0F38 DB /r         | VAESIMC Vdq,Wdq
VEX.128.66.0F38 DC /r         | VAESENC Vdq,Hdq,Wdq
VEX.128.66.0F38 DD /r         | VAESENCLAST Vdq,Hdq,Wdq
VEX.128.66.0F38 DE /r         | VAESDEC Vdq,Hdq,Wdq
VEX.128.66.0F38 DF /r         | VAESDECLAST Vdq,Hdq,Wdq
VEX.128.66.0F3A DF /r         | VAESKEYGENASSIST Vdq,Wdq,Ib
`,
  ),
  ...rows(
    "AVX+PCLMULQDQ",
    `
VEX.128.66.0F3A 44 /r         | VPCLMULQDQ Vdq,Hdq,Wdq,Ib
`,
  ),
];
