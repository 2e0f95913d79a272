/**
 * Virtual-machine extensions. Intel SDM Vol. 3C, "VMX Instruction Reference".
 *
 * VMFUNC is executable at any privilege level; the others check CPL or cause a VM exit (the row says `priv` where
 * the manual's pseudocode ends in #GP(0) for CPL above 0).
 * `format.ts` explains the columns: opcode | instruction | attributes | implementation.
 */
import { rows } from "./format.ts";

export const VMX_ROWS = rows(
  "VMX",
  `
NP 0F 01 C1       | VMCALL              |                 |
NP 0F 01 C2       | VMLAUNCH            | prot priv       |
NP 0F 01 C3       | VMRESUME            | prot priv       |
NP 0F 01 C4       | VMXOFF              | prot priv       |
NP 0F 01 D4       | VMFUNC              |                 |
NP 0F 78 /r       | VMREAD Ey,Gy        | f64 prot priv   |
NP 0F 79 /r       | VMWRITE Gy,Ey       | f64 prot priv   |
NP 0F C7 /6:m     | VMPTRLD Mq          | prot priv       |
66 0F C7 /6:m     | VMCLEAR Mq          | prot priv       |
F3 0F C7 /6:m     | VMXON Mq            | prot priv       |
NP 0F C7 /7:m     | VMPTRST Mq          | prot priv       |
66 0F 38 80 /r:m  | INVEPT Gy,Mdq       | f64 prot priv   |
66 0F 38 81 /r:m  | INVVPID Gy,Mdq      | f64 prot priv   |
`,
);
