/**
 * Registers of the 82540EM. Names and numbers: Intel, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"
 * (82540EP/EM and its relatives), chapters "Register Descriptions" and "Receive and Transmit Description".
 */
export const VENDOR_INTEL = 0x8086;
export const DEVICE_82540EM = 0x100e;
export const REVISION = 2;

export const REGISTER_BYTES = 0x20000;
export const IO_BYTES = 0x40;

export const CTRL = 0x0000;
export const STATUS = 0x0008;
export const EECD = 0x0010;
export const EERD = 0x0014;
export const CTRL_EXT = 0x0018;
export const FLA = 0x001c;
export const MDIC = 0x0020;
export const FCAL = 0x0028;
export const FCAH = 0x002c;
export const FCT = 0x0030;
export const VET = 0x0038;
export const ICR = 0x00c0;
export const ITR = 0x00c4;
export const ICS = 0x00c8;
export const IMS = 0x00d0;
export const IMC = 0x00d8;
export const RCTL = 0x0100;
export const FCTTV = 0x0170;
export const TXCW = 0x0178;
export const RXCW = 0x0180;
export const TCTL = 0x0400;
export const TIPG = 0x0410;
export const AIFS = 0x0458;
export const LEDCTL = 0x0e00;
export const PBA = 0x1000;
export const FCRTL = 0x2160;
export const FCRTH = 0x2168;
export const RDBAL = 0x2800;
export const RDBAH = 0x2804;
export const RDLEN = 0x2808;
export const RDH = 0x2810;
export const RDT = 0x2818;
export const RDTR = 0x2820;
export const RXDCTL = 0x2828;
export const RADV = 0x282c;
export const RSRPD = 0x2c00;
export const TXDMAC = 0x3000;
export const TDBAL = 0x3800;
export const TDBAH = 0x3804;
export const TDLEN = 0x3808;
export const TDH = 0x3810;
export const TDT = 0x3818;
export const TIDV = 0x3820;
export const TXDCTL = 0x3828;
export const TADV = 0x382c;
export const TSPMT = 0x3830;
/** Statistics: 64 words, cleared when read. */
export const STATISTICS = 0x4000;
export const STATISTICS_END = 0x4100;
export const RXCSUM = 0x5000;
export const MTA = 0x5200;
export const RAL0 = 0x5400;
export const VFTA = 0x5600;
export const WUC = 0x5800;
export const WUFC = 0x5808;
export const WUS = 0x5810;
export const MANC = 0x5820;
export const IPAV = 0x5838;
export const REGISTERS_END = 0x5c00;
export const TABLE_WORDS = 128;
export const RECEIVE_ADDRESSES = 16;

export const CTRL_FD = 1 << 0;
export const CTRL_SLU = 1 << 6;
export const CTRL_RST = 1 << 26;
export const CTRL_VME = 1 << 30;
export const CTRL_PHY_RST = 0x80000000;
/** Everything but the two resets, which clear themselves. */
export const CTRL_WRITABLE = 0x783fffff;
export const STATUS_FD = 1 << 0;
export const STATUS_LU = 1 << 1;
/** Speed and its detected value: 1000 Mbit/s. */
export const STATUS_1000 = (2 << 6) | (2 << 8);

export const EECD_SK = 1 << 0;
export const EECD_CS = 1 << 1;
export const EECD_DI = 1 << 2;
export const EECD_DO = 1 << 3;
export const EECD_REQ = 1 << 6;
export const EECD_GNT = 1 << 7;
export const EECD_PRES = 1 << 8;
export const EECD_WRITABLE = 0x77 & ~EECD_DO;
export const EERD_START = 1 << 0;
export const EERD_DONE = 1 << 4;

export const MDIC_WRITE = 1;
export const MDIC_READ = 2;
export const MDIC_READY = 1 << 28;
export const MDIC_INTERRUPT = 1 << 29;
export const MDIC_ERROR = 1 << 30;
/** Address of the PHY. */
export const PHY_ADDRESS = 1;

export const ICR_TXDW = 1 << 0;
export const ICR_TXQE = 1 << 1;
export const ICR_LSC = 1 << 2;
export const ICR_RXDMT0 = 1 << 4;
export const ICR_RXO = 1 << 6;
export const ICR_RXT0 = 1 << 7;
export const ICR_MDAC = 1 << 9;
export const ICR_TXD_LOW = 1 << 15;
export const ICR_CAUSES = 0x1f6df;

export const RCTL_EN = 1 << 1;
export const RCTL_UPE = 1 << 3;
export const RCTL_MPE = 1 << 4;
export const RCTL_LPE = 1 << 5;
export const RCTL_LBM_MAC = 1 << 6;
export const RCTL_LBM = 3 << 6;
export const RCTL_RDMTS_SHIFT = 8;
export const RCTL_MO_SHIFT = 12;
export const RCTL_BAM = 1 << 15;
export const RCTL_BSIZE_SHIFT = 16;
export const RCTL_VFE = 1 << 18;
export const RCTL_BSEX = 1 << 25;
export const RCTL_SECRC = 1 << 26;
export const RCTL_WRITABLE = 0x06dfb3fe;
export const TCTL_WRITABLE = 0x03fffffa;
export const TCTL_EN = 1 << 1;
export const TCTL_PSP = 1 << 3;
export const RAH_AV = 0x80000000;
export const RXCSUM_PCSS = 0xff;
export const RXCSUM_IPOFL = 1 << 8;
export const RXCSUM_TUOFL = 1 << 9;
/** Write-only, in RDTR and TIDV: the delay ends now. */
export const FLUSH = 0x80000000;

/** Receive descriptor: status and error bytes. */
export const RXD_DD = 1 << 0;
export const RXD_EOP = 1 << 1;
export const RXD_IXSM = 1 << 2;
export const RXD_VP = 1 << 3;
export const RXD_TCPCS = 1 << 5;
export const RXD_IPCS = 1 << 6;
export const RXD_PIF = 1 << 7;
export const RXD_TCPE = 1 << 5;
export const RXD_IPE = 1 << 6;

/** Transmit descriptor: command byte (of the context: TUCMD), type, status, options. */
export const TXD_EOP = 1 << 0;
export const TXD_IC = 1 << 2;
export const TXD_TSE = 1 << 2;
export const TXD_RS = 1 << 3;
export const TXD_DEXT = 1 << 5;
export const TXD_VLE = 1 << 6;
export const TXD_IDE = 1 << 7;
export const TUCMD_TCP = 1 << 0;
export const TUCMD_IP = 1 << 1;
export const DTYP_CONTEXT = 0;
export const DTYP_DATA = 1;
export const TXD_DD = 1 << 0;
export const POPTS_IXSM = 1 << 0;
export const POPTS_TXSM = 1 << 1;
export const DESCRIPTOR_BYTES = 16;

/** Statistics, as offsets. */
export const MPC = 0x4010;
export const RLEC = 0x4040;
export const PRC64 = 0x405c;
export const GPRC = 0x4074;
export const BPRC = 0x4078;
export const MPRC = 0x407c;
export const GPTC = 0x4080;
export const GORCL = 0x4088;
export const GOTCL = 0x4090;
export const RNBC = 0x40a0;
export const ROC = 0x40ac;
export const TORL = 0x40c0;
export const TOTL = 0x40c8;
export const TPR = 0x40d0;
export const TPT = 0x40d4;
export const PTC64 = 0x40d8;
export const MPTC = 0x40f0;
export const BPTC = 0x40f4;
export const TSCTC = 0x40f8;
/** The high words of 64-bit counters. */
export const WIDE_COUNTERS = [GORCL, GOTCL, TORL, TOTL] as const;

/** Frames up to here need no "long packet" permission: with VLAN tag, without check sequence. */
export const MOST_USUAL_BYTES = 1518;
export const MOST_LONG_BYTES = 16384 - 4;
export const FCS_BYTES = 4;

/** Units of the interrupt delays: ITR 256 ns, the others 1.024 µs. */
export const ITR_UNIT = 256e-9;
export const DELAY_UNIT = 1.024e-6;

/** Registers that are what was last written, with the bits that can be. */
export const PLAIN_REGISTERS: ReadonlyMap<number, number> = new Map([
  [FCAL, 0xffffffff],
  [FCAH, 0xffff],
  [FCT, 0xffff],
  [VET, 0xffff],
  [CTRL_EXT, 0x00fffff0],
  [FLA, 0x3],
  [ITR, 0xffff],
  [FCTTV, 0xffff],
  [TXCW, 0xc000ffff],
  [TIPG, 0x3fffffff],
  [AIFS, 0xffff],
  [LEDCTL, 0x8f8f8f8f],
  [PBA, 0xffff],
  [FCRTL, 0x8000fff8],
  [FCRTH, 0xfff8],
  [RDBAL, 0xfffffff0],
  [RDBAH, 0xffffffff],
  [RDLEN, 0xfff80],
  [RDH, 0xffff],
  [RXDCTL, 0x013f3f3f],
  [RADV, 0xffff],
  [RSRPD, 0xfff],
  [TXDMAC, 1],
  [TDBAL, 0xfffffff0],
  [TDBAH, 0xffffffff],
  [TDLEN, 0xfff80],
  [TDH, 0xffff],
  [TXDCTL, 0xfe3f3f3f],
  [TADV, 0xffff],
  [TSPMT, 0xffffffff],
  [RXCSUM, 0x7ff],
  [WUC, 0xf],
  [WUFC, 0xf80ff],
  [MANC, 0xffffffff],
  [IPAV, 0x1000f],
]);
