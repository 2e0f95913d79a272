/**
 * Registers and bits of the 16550 UART. Names: National Semiconductor, "PC16550D Universal Asynchronous
 * Receiver/Transmitter with FIFOs", data sheet. No behaviour.
 */

/** Receiver Buffer (read), Transmitter Holding (write), Divisor Latch low byte (DLAB = 1). */
export const RBR_THR_DLL = 0;
/** Interrupt Enable, Divisor Latch high byte (DLAB = 1). */
export const IER_DLM = 1;
/** Interrupt Identification (read), FIFO Control (write). */
export const IIR_FCR = 2;
export const LCR = 3;
export const MCR = 4;
export const LSR = 5;
export const MSR = 6;
export const SCR = 7;
/** Ports that the device claims. */
export const UART_PORTS = 8;

/** Enable Received Data Available (and character timeout) Interrupt. */
export const IER_ERBFI = 1 << 0;
/** Enable Transmitter Holding Register Empty Interrupt. */
export const IER_ETBEI = 1 << 1;
/** Enable Receiver Line Status Interrupt. */
export const IER_ELSI = 1 << 2;
/** Enable Modem Status Interrupt. */
export const IER_EDSSI = 1 << 3;
export const IER_WRITABLE = 0x0f;

/** IIR bit 0: 0 means an interrupt is pending. The other values are causes, highest priority first. */
export const IIR_NONE = 0x01;
export const IIR_RECEIVER_LINE_STATUS = 0x06;
export const IIR_RECEIVED_DATA_AVAILABLE = 0x04;
export const IIR_CHARACTER_TIMEOUT = 0x0c;
export const IIR_THR_EMPTY = 0x02;
export const IIR_MODEM_STATUS = 0x00;
export const IIR_FIFOS_ENABLED = 0xc0;

export const FCR_FIFO_ENABLE = 1 << 0;
export const FCR_RCVR_FIFO_RESET = 1 << 1;
export const FCR_XMIT_FIFO_RESET = 1 << 2;
export const FCR_DMA_MODE = 1 << 3;
export const FCR_TRIGGER_SHIFT = 6;
/** Characters in the receiver FIFO at which "received data available" is raised, by FCR bits 7:6. */
export const RCVR_TRIGGER = [1, 4, 8, 14] as const;

export const LCR_WORD_LENGTH = 0x03;
export const LCR_STB = 1 << 2;
export const LCR_PEN = 1 << 3;
export const LCR_BREAK = 1 << 6;
/** Divisor Latch Access Bit. */
export const LCR_DLAB = 1 << 7;

export const MCR_DTR = 1 << 0;
export const MCR_RTS = 1 << 1;
export const MCR_OUT1 = 1 << 2;
/** On a PC this output enables the interrupt line. */
export const MCR_OUT2 = 1 << 3;
export const MCR_LOOP = 1 << 4;
export const MCR_WRITABLE = 0x1f;

export const LSR_DR = 1 << 0;
export const LSR_OE = 1 << 1;
export const LSR_PE = 1 << 2;
export const LSR_FE = 1 << 3;
export const LSR_BI = 1 << 4;
export const LSR_THRE = 1 << 5;
export const LSR_TEMT = 1 << 6;
/** At least one error in the receiver FIFO. */
export const LSR_FIFO_ERROR = 1 << 7;
export const LSR_ERRORS = LSR_OE | LSR_PE | LSR_FE | LSR_BI;

export const MSR_DCTS = 1 << 0;
export const MSR_DDSR = 1 << 1;
export const MSR_TERI = 1 << 2;
export const MSR_DDCD = 1 << 3;
export const MSR_CTS = 1 << 4;
export const MSR_DSR = 1 << 5;
export const MSR_RI = 1 << 6;
export const MSR_DCD = 1 << 7;
export const MSR_DELTAS = MSR_DCTS | MSR_DDSR | MSR_TERI | MSR_DDCD;

export const FIFO_SIZE = 16;
/** The PC's UART crystal, in Hz; a bit lasts 16 × divisor of its periods. */
export const UART_CLOCK_HZ = 1_843_200;
export const CLOCKS_PER_BIT_PER_DIVISOR = 16;
