#include "console.h"

#include "io.h"
#include "string.h"

/* Registers, by the data sheet's names, as offsets from the base. */
#define RBR 0 /* receiver buffer (read) */
#define THR 0 /* transmitter holding (write) */
#define DLL 0 /* divisor latch, when LCR.DLAB = 1 */
#define DLM 1
#define IER 1
#define FCR 2
#define LCR 3
#define MCR 4
#define LSR 5

#define IER_ERBFI 0x01
#define FCR_ENABLE_AND_CLEAR 0x07
#define LCR_8N1 0x03
#define LCR_DLAB 0x80
#define MCR_DTR_RTS 0x03
#define MCR_OUT2 0x08 /* on a PC, gates the interrupt output */
#define LSR_DR 0x01
#define LSR_THRE 0x20

/** A transmitter that stays busy longer than this is not there; output is then lost rather than the kernel stuck. */
#define TRANSMIT_POLL_LIMIT 10000000

void console_init(void) {
  outb(COM1_BASE + IER, 0);
  outb(COM1_BASE + LCR, LCR_DLAB | LCR_8N1);
  outb(COM1_BASE + DLL, 1);
  outb(COM1_BASE + DLM, 0);
  outb(COM1_BASE + LCR, LCR_8N1);
  outb(COM1_BASE + FCR, FCR_ENABLE_AND_CLEAR);
  outb(COM1_BASE + MCR, MCR_DTR_RTS);
}

static void transmit(u8 byte) {
  for (int i = 0; i < TRANSMIT_POLL_LIMIT; i++) {
    if (inb(COM1_BASE + LSR) & LSR_THRE) {
      outb(COM1_BASE + THR, byte);
      return;
    }
    cpu_pause();
  }
}

void console_putchar(char c) {
  if (c == '\n') transmit('\r');
  transmit((u8)c);
}

int console_poll(void) {
  return inb(COM1_BASE + LSR) & LSR_DR ? inb(COM1_BASE + RBR) : -1;
}

void console_receive_interrupts(bool on) {
  outb(COM1_BASE + MCR, on ? MCR_DTR_RTS | MCR_OUT2 : MCR_DTR_RTS);
  outb(COM1_BASE + IER, on ? IER_ERBFI : 0);
}

/** Where formatted characters go: a buffer if there is one, else the console. */
struct sink {
  char *buffer;
  size_t size, length;
};

static void emit(struct sink *sink, char c) {
  if (!sink->buffer) {
    console_putchar(c);
  } else if (sink->length + 1 < sink->size) {
    sink->buffer[sink->length++] = c;
  }
}

static void emit_padded(struct sink *sink, const char *text, size_t length, int width, char pad, bool left) {
  int fill = width > (int)length ? width - (int)length : 0;
  if (!left)
    for (; fill > 0; fill--) emit(sink, pad);
  for (size_t i = 0; i < length; i++) emit(sink, text[i]);
  for (; fill > 0; fill--) emit(sink, ' ');
}

static void emit_number(struct sink *sink, u64 value, unsigned base, bool negative, int width, char pad, bool left) {
  char text[24];
  size_t position = sizeof text;
  do {
    text[--position] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  if (negative && pad == '0') {
    emit(sink, '-');
    width--;
  } else if (negative) {
    text[--position] = '-';
  }
  emit_padded(sink, text + position, sizeof text - position, width, pad, left);
}

static void format_to(struct sink *sink, const char *format, va_list arguments) {
  for (; *format; format++) {
    if (*format != '%') {
      emit(sink, *format);
      continue;
    }
    format++;
    bool left = false, is_long = false;
    char pad = ' ';
    int width = 0;
    for (; *format == '-' || *format == '0'; format++) {
      if (*format == '-') left = true;
      else pad = '0';
    }
    for (; *format >= '0' && *format <= '9'; format++) width = width * 10 + (*format - '0');
    for (; *format == 'l'; format++) is_long = true;
    switch (*format) {
      case 'd': {
        long value = is_long ? va_arg(arguments, long) : va_arg(arguments, int);
        emit_number(sink, value < 0 ? -(u64)value : (u64)value, 10, value < 0, width, pad, left);
        break;
      }
      case 'u':
      case 'x': {
        u64 value = is_long ? va_arg(arguments, u64) : va_arg(arguments, u32);
        emit_number(sink, value, *format == 'u' ? 10 : 16, false, width, pad, left);
        break;
      }
      case 'p':
        emit_number(sink, va_arg(arguments, u64), 16, false, 16, '0', false);
        break;
      case 'c':
        emit(sink, (char)va_arg(arguments, int));
        break;
      case 's': {
        const char *text = va_arg(arguments, const char *);
        emit_padded(sink, text, strlen(text), width, ' ', left);
        break;
      }
      case '\0':
        return;
      default:
        emit(sink, *format);
    }
  }
}

void printf(const char *format, ...) {
  struct sink sink = {0};
  va_list arguments;
  va_start(arguments, format);
  format_to(&sink, format, arguments);
  va_end(arguments);
}

size_t vsnprintf(char *buffer, size_t size, const char *format, va_list arguments) {
  struct sink sink = {.buffer = buffer, .size = size};
  format_to(&sink, format, arguments);
  if (size > 0) buffer[sink.length] = '\0';
  return sink.length;
}

size_t snprintf(char *buffer, size_t size, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  size_t length = vsnprintf(buffer, size, format, arguments);
  va_end(arguments);
  return length;
}
