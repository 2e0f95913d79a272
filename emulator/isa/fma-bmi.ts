/**
 * VEX-encoded instructions: FMA, F16C, BMI1 and BMI2.
 *
 * Intel SDM Vol. 2, opcode maps and instruction reference.
 * `format.ts` explains the columns: opcode | instruction | attributes.
 */
import { rows } from "./format.ts";

export const FMA_BMI_ROWS = [
  ...rows(
    "FMA",
    `
VEX.66.0F38.W0 96 /r          | VFMADDSUB132PS Vx,Hx,Wx
VEX.66.0F38.W1 96 /r          | VFMADDSUB132PD Vx,Hx,Wx
VEX.66.0F38.W0 97 /r          | VFMSUBADD132PS Vx,Hx,Wx
VEX.66.0F38.W1 97 /r          | VFMSUBADD132PD Vx,Hx,Wx
VEX.66.0F38.W0 98 /r          | VFMADD132PS Vx,Hx,Wx
VEX.66.0F38.W1 98 /r          | VFMADD132PD Vx,Hx,Wx
VEX.66.0F38.W0 99 /r          | VFMADD132SS Vdq,Hdq,Wd
VEX.66.0F38.W1 99 /r          | VFMADD132SD Vdq,Hdq,Wq
VEX.66.0F38.W0 9A /r          | VFMSUB132PS Vx,Hx,Wx
VEX.66.0F38.W1 9A /r          | VFMSUB132PD Vx,Hx,Wx
VEX.66.0F38.W0 9B /r          | VFMSUB132SS Vdq,Hdq,Wd
VEX.66.0F38.W1 9B /r          | VFMSUB132SD Vdq,Hdq,Wq
VEX.66.0F38.W0 9C /r          | VFNMADD132PS Vx,Hx,Wx
VEX.66.0F38.W1 9C /r          | VFNMADD132PD Vx,Hx,Wx
VEX.66.0F38.W0 9D /r          | VFNMADD132SS Vdq,Hdq,Wd
VEX.66.0F38.W1 9D /r          | VFNMADD132SD Vdq,Hdq,Wq
VEX.66.0F38.W0 9E /r          | VFNMSUB132PS Vx,Hx,Wx
VEX.66.0F38.W1 9E /r          | VFNMSUB132PD Vx,Hx,Wx
VEX.66.0F38.W0 9F /r          | VFNMSUB132SS Vdq,Hdq,Wd
VEX.66.0F38.W1 9F /r          | VFNMSUB132SD Vdq,Hdq,Wq
VEX.66.0F38.W0 A6 /r          | VFMADDSUB213PS Vx,Hx,Wx
VEX.66.0F38.W1 A6 /r          | VFMADDSUB213PD Vx,Hx,Wx
VEX.66.0F38.W0 A7 /r          | VFMSUBADD213PS Vx,Hx,Wx
VEX.66.0F38.W1 A7 /r          | VFMSUBADD213PD Vx,Hx,Wx
VEX.66.0F38.W0 A8 /r          | VFMADD213PS Vx,Hx,Wx
VEX.66.0F38.W1 A8 /r          | VFMADD213PD Vx,Hx,Wx
VEX.66.0F38.W0 A9 /r          | VFMADD213SS Vdq,Hdq,Wd
VEX.66.0F38.W1 A9 /r          | VFMADD213SD Vdq,Hdq,Wq
VEX.66.0F38.W0 AA /r          | VFMSUB213PS Vx,Hx,Wx
VEX.66.0F38.W1 AA /r          | VFMSUB213PD Vx,Hx,Wx
VEX.66.0F38.W0 AB /r          | VFMSUB213SS Vdq,Hdq,Wd
VEX.66.0F38.W1 AB /r          | VFMSUB213SD Vdq,Hdq,Wq
VEX.66.0F38.W0 AC /r          | VFNMADD213PS Vx,Hx,Wx
VEX.66.0F38.W1 AC /r          | VFNMADD213PD Vx,Hx,Wx
VEX.66.0F38.W0 AD /r          | VFNMADD213SS Vdq,Hdq,Wd
VEX.66.0F38.W1 AD /r          | VFNMADD213SD Vdq,Hdq,Wq
VEX.66.0F38.W0 AE /r          | VFNMSUB213PS Vx,Hx,Wx
VEX.66.0F38.W1 AE /r          | VFNMSUB213PD Vx,Hx,Wx
VEX.66.0F38.W0 AF /r          | VFNMSUB213SS Vdq,Hdq,Wd
VEX.66.0F38.W1 AF /r          | VFNMSUB213SD Vdq,Hdq,Wq
VEX.66.0F38.W0 B6 /r          | VFMADDSUB231PS Vx,Hx,Wx
VEX.66.0F38.W1 B6 /r          | VFMADDSUB231PD Vx,Hx,Wx
VEX.66.0F38.W0 B7 /r          | VFMSUBADD231PS Vx,Hx,Wx
VEX.66.0F38.W1 B7 /r          | VFMSUBADD231PD Vx,Hx,Wx
VEX.66.0F38.W0 B8 /r          | VFMADD231PS Vx,Hx,Wx
VEX.66.0F38.W1 B8 /r          | VFMADD231PD Vx,Hx,Wx
VEX.66.0F38.W0 B9 /r          | VFMADD231SS Vdq,Hdq,Wd
VEX.66.0F38.W1 B9 /r          | VFMADD231SD Vdq,Hdq,Wq
VEX.66.0F38.W0 BA /r          | VFMSUB231PS Vx,Hx,Wx
VEX.66.0F38.W1 BA /r          | VFMSUB231PD Vx,Hx,Wx
VEX.66.0F38.W0 BB /r          | VFMSUB231SS Vdq,Hdq,Wd
VEX.66.0F38.W1 BB /r          | VFMSUB231SD Vdq,Hdq,Wq
VEX.66.0F38.W0 BC /r          | VFNMADD231PS Vx,Hx,Wx
VEX.66.0F38.W1 BC /r          | VFNMADD231PD Vx,Hx,Wx
VEX.66.0F38.W0 BD /r          | VFNMADD231SS Vdq,Hdq,Wd
VEX.66.0F38.W1 BD /r          | VFNMADD231SD Vdq,Hdq,Wq
VEX.66.0F38.W0 BE /r          | VFNMSUB231PS Vx,Hx,Wx
VEX.66.0F38.W1 BE /r          | VFNMSUB231PD Vx,Hx,Wx
VEX.66.0F38.W0 BF /r          | VFNMSUB231SS Vdq,Hdq,Wd
VEX.66.0F38.W1 BF /r          | VFNMSUB231SD Vdq,Hdq,Wq
`,
  ),
  ...rows(
    "F16C",
    `
VEX.128.66.0F38.W0 13 /r      | VCVTPH2PS Vdq,Wq
VEX.256.66.0F38.W0 13 /r      | VCVTPH2PS Vqq,Wdq
VEX.128.66.0F3A.W0 1D /r      | VCVTPS2PH Wq,Vdq,Ib
VEX.256.66.0F3A.W0 1D /r      | VCVTPS2PH Wdq,Vqq,Ib
`,
  ),
  ...rows(
    "BMI1",
    `
VEX.L0.NP.0F38 F2 /r          | ANDN Gy,By,Ey
VEX.L0.NP.0F38 F3 /1          | BLSR By,Ey
VEX.L0.NP.0F38 F3 /2          | BLSMSK By,Ey
VEX.L0.NP.0F38 F3 /3          | BLSI By,Ey
VEX.L0.NP.0F38 F7 /r          | BEXTR Gy,Ey,By
`,
  ),
  ...rows(
    "BMI2",
    `
VEX.L0.NP.0F38 F5 /r          | BZHI Gy,Ey,By
VEX.L0.F3.0F38 F5 /r          | PEXT Gy,By,Ey
VEX.L0.F2.0F38 F5 /r          | PDEP Gy,By,Ey
VEX.L0.F2.0F38 F6 /r          | MULX Gy,By,Ey
VEX.L0.66.0F38 F7 /r          | SHLX Gy,Ey,By
VEX.L0.F3.0F38 F7 /r          | SARX Gy,Ey,By
VEX.L0.F2.0F38 F7 /r          | SHRX Gy,Ey,By
VEX.L0.F2.0F3A F0 /r          | RORX Gy,Ey,Ib
`,
  ),
];
