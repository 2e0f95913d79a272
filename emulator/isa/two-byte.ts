/**
 * The integer and system instructions of the maps 0F, 0F38 and 0F3A.
 *
 * Intel SDM Vol. 2, "Two-byte Opcode Map" and "Three-byte Opcode Maps". MPX, CET and CLDEMOTE encodings are rows
 * NOP: a processor that does not claim those features executes them as the hint NOPs 0F 18 to 0F 1F.
 * `format.ts` explains the columns: opcode | instruction | attributes.
 */
import { rows } from "./format.ts";

export const TWO_BYTE_ROWS = [
  ...rows(
    "BASE",
    `
0F 00 /0          | SLDT Ev/w            | prot
0F 00 /1          | STR Ev/w             | prot
0F 00 /2          | LLDT Ew             | prot priv
0F 00 /3          | LTR Ew              | prot priv
0F 00 /4          | VERR Ew             | prot
0F 00 /5          | VERW Ew             | prot
0F 01 /0:m        | SGDT Ms             | f64
0F 01 /1:m        | SIDT Ms             | f64
0F 01 /2:m        | LGDT Ms             | f64 priv
0F 01 /3:m        | LIDT Ms             | f64 priv
0F 01 /4          | SMSW Ev/w
0F 01 /6          | LMSW Ew             | priv
0F 01 /7:m        | INVLPG M            | priv
0F 01 F8          | SWAPGS              | o64 priv
0F 02 /r          | LAR Gv,Ew           | prot
0F 03 /r          | LSL Gv,Ew           | prot
0F 06             | CLTS                | priv
0F 08             | INVD                | priv
0F 09             | WBINVD              | priv
0F 0B             | UD2
0F 18 /r          | NOP Ev
0F 19 /r          | NOP Ev
0F 1A /r          | NOP Ev
0F 1B /r          | NOP Ev
0F 1C /r          | NOP Ev
0F 1D /r          | NOP Ev
F3 0F 1E FA       | ENDBR64
F3 0F 1E FB       | ENDBR32
0F 1E /r          | NOP Ev
0F 1F /r          | NOP Ev
0F 20 /r          | MOV Ry,Cy           | f64 priv
0F 21 /r          | MOV Ry,Dy           | f64 priv
0F 22 /r          | MOV Cy,Ry           | f64 priv
0F 23 /r          | MOV Dy,Ry           | f64 priv
0F 30             | WRMSR               | priv
0F 31             | RDTSC
0F 32             | RDMSR               | priv
0F 33             | RDPMC
0F 80             | JO Jz               | f64 branch
0F 81             | JNO Jz              | f64 branch
0F 82             | JB Jz               | f64 branch
0F 83             | JNB Jz              | f64 branch
0F 84             | JZ Jz               | f64 branch
0F 85             | JNZ Jz              | f64 branch
0F 86             | JBE Jz              | f64 branch
0F 87             | JNBE Jz             | f64 branch
0F 88             | JS Jz               | f64 branch
0F 89             | JNS Jz              | f64 branch
0F 8A             | JP Jz               | f64 branch
0F 8B             | JNP Jz              | f64 branch
0F 8C             | JL Jz               | f64 branch
0F 8D             | JNL Jz              | f64 branch
0F 8E             | JLE Jz              | f64 branch
0F 8F             | JNLE Jz             | f64 branch
0F 90 /r          | SETO Eb
0F 91 /r          | SETNO Eb
0F 92 /r          | SETB Eb
0F 93 /r          | SETNB Eb
0F 94 /r          | SETZ Eb
0F 95 /r          | SETNZ Eb
0F 96 /r          | SETBE Eb
0F 97 /r          | SETNBE Eb
0F 98 /r          | SETS Eb
0F 99 /r          | SETNS Eb
0F 9A /r          | SETP Eb
0F 9B /r          | SETNP Eb
0F 9C /r          | SETL Eb
0F 9D /r          | SETNL Eb
0F 9E /r          | SETLE Eb
0F 9F /r          | SETNLE Eb
0F A0             | PUSH FS             | d64
0F A1             | POP FS              | d64
0F A2             | CPUID
0F A3 /r          | BT Ev,Gv
0F A4 /r          | SHLD Ev,Gv,Ib
0F A5 /r          | SHLD Ev,Gv,CL
0F A8             | PUSH GS             | d64
0F A9             | POP GS              | d64
0F AA             | RSM                 | branch
0F AB /r          | BTS Ev,Gv           | lock
0F AC /r          | SHRD Ev,Gv,Ib
0F AD /r          | SHRD Ev,Gv,CL
0F AF /r          | IMUL Gv,Ev
0F B0 /r          | CMPXCHG Eb,Gb       | lock
0F B1 /r          | CMPXCHG Ev,Gv       | lock
0F B2 /r:m        | LSS Gv,Mp
0F B3 /r          | BTR Ev,Gv           | lock
0F B4 /r:m        | LFS Gv,Mp
0F B5 /r:m        | LGS Gv,Mp
0F B6 /r          | MOVZX Gv,Eb
0F B7 /r          | MOVZX Gv,Ew
0F B9 /r          | UD1 Gv,Ev
0F BA /4          | BT Ev,Ib
0F BA /5          | BTS Ev,Ib           | lock
0F BA /6          | BTR Ev,Ib           | lock
0F BA /7          | BTC Ev,Ib           | lock
0F BB /r          | BTC Ev,Gv           | lock
0F BC /r          | BSF Gv,Ev
0F BD /r          | BSR Gv,Ev
0F BE /r          | MOVSX Gv,Eb
0F BF /r          | MOVSX Gv,Ew
0F C0 /r          | XADD Eb,Gb          | lock
0F C1 /r          | XADD Ev,Gv          | lock
0F C8+r           | BSWAP Zv
0F FF /r          | UD0 Gv,Ev
`,
  ),
  ...rows(
    "CMOV",
    `
0F 40 /r          | CMOVO Gv,Ev
0F 41 /r          | CMOVNO Gv,Ev
0F 42 /r          | CMOVB Gv,Ev
0F 43 /r          | CMOVNB Gv,Ev
0F 44 /r          | CMOVZ Gv,Ev
0F 45 /r          | CMOVNZ Gv,Ev
0F 46 /r          | CMOVBE Gv,Ev
0F 47 /r          | CMOVNBE Gv,Ev
0F 48 /r          | CMOVS Gv,Ev
0F 49 /r          | CMOVNS Gv,Ev
0F 4A /r          | CMOVP Gv,Ev
0F 4B /r          | CMOVNP Gv,Ev
0F 4C /r          | CMOVL Gv,Ev
0F 4D /r          | CMOVNL Gv,Ev
0F 4E /r          | CMOVLE Gv,Ev
0F 4F /r          | CMOVNLE Gv,Ev
`,
  ),
  ...rows(
    "CX8",
    `
0F C7 /1:m        | CMPXCHG8B Mq        | lock
`,
  ),
  ...rows(
    "CX16",
    `
REX.W 0F C7 /1:m  | CMPXCHG16B Mdq      | lock
`,
  ),
  ...rows(
    "SYSCALL",
    `
0F 05             | SYSCALL             | o64 branch
0F 07             | SYSRET              | o64 branch
`,
  ),
  ...rows(
    "SEP",
    `
0F 34             | SYSENTER            | branch
0F 35             | SYSEXIT             | branch priv
`,
  ),
  ...rows(
    "PREFETCHW",
    `
0F 0D /1:m        | PREFETCHW M
0F 0D /2:m        | PREFETCHWT1 M
0F 0D /r          | NOP Ev
`,
  ),
  ...rows(
    "LZCNT",
    `
F3 0F BD /r       | LZCNT Gv,Ev
`,
  ),
  ...rows(
    "BMI1",
    `
F3 0F BC /r       | TZCNT Gv,Ev
`,
  ),
  ...rows(
    "POPCNT",
    `
F3 0F B8 /r       | POPCNT Gv,Ev
`,
  ),
  ...rows(
    "MOVBE",
    `
NP/66 0F 38 F0 /r:m| MOVBE Gv,Mv
NP/66 0F 38 F1 /r:m| MOVBE Mv,Gv
`,
  ),
  ...rows(
    "ADX",
    `
66 0F 38 F6 /r    | ADCX Gy,Ey
F3 0F 38 F6 /r    | ADOX Gy,Ey
`,
  ),
  ...rows(
    "SSE4_2",
    `
F2 0F 38 F0 /r    | CRC32 Gy,Eb
F2 0F 38 F1 /r    | CRC32 Gy,Ev
`,
  ),
  ...rows(
    "RDTSCP",
    `
0F 01 F9          | RDTSCP
`,
  ),
  ...rows(
    "RDRAND",
    `
NP/66 0F C7 /6:r  | RDRAND Ev
`,
  ),
  ...rows(
    "RDSEED",
    `
NP/66 0F C7 /7:r  | RDSEED Ev
`,
  ),
  ...rows(
    "RDPID",
    `
F3 0F C7 /7:r     | RDPID Ry            | f64
`,
  ),
  ...rows(
    "FSGSBASE",
    `
F3 0F AE /0:r     | RDFSBASE Ey         | o64
F3 0F AE /1:r     | RDGSBASE Ey         | o64
F3 0F AE /2:r     | WRFSBASE Ey         | o64
F3 0F AE /3:r     | WRGSBASE Ey         | o64
`,
  ),
  ...rows(
    "FXSR",
    `
NP 0F AE /0:m     | FXSAVE Mfx
NP 0F AE /1:m     | FXRSTOR Mfx
`,
  ),
  ...rows(
    "XSAVE",
    `
NP 0F 01 D0       | XGETBV
NP 0F 01 D1       | XSETBV
NP 0F AE /4:m     | XSAVE M
NP 0F AE /5:m     | XRSTOR M
`,
  ),
  ...rows(
    "XSAVEOPT",
    `
NP 0F AE /6:m     | XSAVEOPT M
`,
  ),
  ...rows(
    "XSAVEC",
    `
NP 0F C7 /4:m     | XSAVEC M
`,
  ),
  ...rows(
    "XSAVES",
    `
NP 0F C7 /3:m     | XRSTORS M
NP 0F C7 /5:m     | XSAVES M
`,
  ),
  ...rows(
    "INVPCID",
    `
66 0F 38 82 /r:m  | INVPCID Gy,Mdq      | f64 priv
`,
  ),
  ...rows(
    "PKU",
    `
NP 0F 01 EE       | RDPKRU
NP 0F 01 EF       | WRPKRU
`,
  ),
  ...rows(
    "SMAP",
    `
NP 0F 01 CA       | CLAC
NP 0F 01 CB       | STAC
`,
  ),
  ...rows(
    "MONITOR",
    `
NP 0F 01 C8       | MONITOR
NP 0F 01 C9       | MWAIT
`,
  ),
  ...rows(
    "CLFLUSH",
    `
NP 0F AE /7:m     | CLFLUSH M
`,
  ),
  ...rows(
    "CLFLUSHOPT",
    `
66 0F AE /7:m     | CLFLUSHOPT M
`,
  ),
  ...rows(
    "CLWB",
    `
66 0F AE /6:m     | CLWB M
`,
  ),
];
