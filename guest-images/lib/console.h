/*
 * The console: a 16550 UART at 3F8H (COM1), written by polling (National Semiconductor "PC16550D" data sheet), and
 * formatted output on it.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdarg.h>

#include "types.h"

#define COM1_BASE 0x3F8
#define COM1_IRQ 4

/** 115,200 baud, 8 data bits, no parity, FIFOs on, no interrupts. */
void console_init(void);

/** Writes one character when the transmitter holding register is free; '\n' is sent as CR LF. */
void console_putchar(char c);

/** The next received character, or -1 if there is none now. */
int console_poll(void);

/** Lets the UART raise IRQ 4 for received characters (IER.ERBFI, MCR.OUT2), or stops it. */
void console_receive_interrupts(bool on);

/**
 * Formatted output. Knows %c %s %d %u %x %p and %%, the length modifier l (64 bits), a width, and the flags 0 and -.
 */
void printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** As snprintf, with the arguments in a list. */
size_t vsnprintf(char *buffer, size_t size, const char *format, va_list arguments);

/** As printf, into a buffer of `size` bytes, always terminated. Returns the number of characters stored. */
size_t snprintf(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
