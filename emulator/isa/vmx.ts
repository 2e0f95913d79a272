/**
 * Virtual-machine extensions. Intel SDM Vol. 3C, "VMX Instruction Reference".
 *
 * No row is `priv`: outside VMX operation #UD comes before the check of CPL, and in non-root operation a VM exit does.
 * `format.ts` explains the columns: opcode | instruction | attributes.
 */
import { rows } from "./format.ts";

export const VMX_ROWS = rows(
  "VMX",
  `
NP 0F 01 C1       | VMCALL
NP 0F 01 C2       | VMLAUNCH            | prot
NP 0F 01 C3       | VMRESUME            | prot
NP 0F 01 C4       | VMXOFF              | prot
NP 0F 01 D4       | VMFUNC
NP 0F 78 /r       | VMREAD Ey,Gy        | f64 prot
NP 0F 79 /r       | VMWRITE Gy,Ey       | f64 prot
NP 0F C7 /6:m     | VMPTRLD Mq          | prot
66 0F C7 /6:m     | VMCLEAR Mq          | prot
F3 0F C7 /6:m     | VMXON Mq            | prot
NP 0F C7 /7:m     | VMPTRST Mq          | prot
66 0F 38 80 /r:m  | INVEPT Gy,Mdq       | f64 prot
66 0F 38 81 /r:m  | INVVPID Gy,Mdq      | f64 prot
`,
);
