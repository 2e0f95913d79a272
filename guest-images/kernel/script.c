#include "script.h"

#include <stdarg.h>

#include "console.h"
#include "ioapic.h"
#include "percpu.h"
#include "string.h"
#include "traps.h"

u32 failures;

#define MAX_LINE 1024

static bool ends_word(char c) { return c == '\0' || c == ' ' || c == ';' || c == ','; }

/** Copies text up to `stop` or the end of the word; returns the place where it stopped. */
static const char *copy_word(const char *text, char stop, char *to, size_t size) {
  size_t length = 0;
  for (; !ends_word(*text) && *text != stop; text++)
    if (length + 1 < size) to[length++] = *text;
  to[length] = '\0';
  return text;
}

const char *argument_text(const struct arguments *arguments, const char *name, const char *otherwise) {
  for (u32 i = 0; i < arguments->count; i++)
    if (strcmp(arguments->items[i].name, name) == 0) return arguments->items[i].value;
  return otherwise;
}

u64 argument_u64(const struct arguments *arguments, const char *name, u64 otherwise) {
  const char *text = argument_text(arguments, name, 0);
  u64 value = otherwise;
  if (text && !parse_u64(text, '\0', &value)) report_fail("script", "argument %s=%s is not a number", name, text);
  return value;
}

static void run_verb(const char *name, const struct arguments *arguments) {
  for (const struct verb *verb = verbs; verb->name; verb++)
    if (strcmp(verb->name, name) == 0) {
      verb->run(arguments);
      return;
    }
  report_fail("script", "no verb '%s'; 'help' lists them", name);
}

void script_run(const char *script) {
  const char *at = script;
  while (*at && *at != ' ') {
    char name[24];
    struct arguments arguments = {0};
    at = copy_word(at, ':', name, sizeof name);
    while (*at == ':' || *at == ',') {
      at++;
      if (arguments.count == MAX_ARGUMENTS) {
        report_fail("script", "more than %u arguments for %s", MAX_ARGUMENTS, name);
        return;
      }
      u32 i = arguments.count++;
      at = copy_word(at, '=', arguments.items[i].name, sizeof arguments.items[i].name);
      if (*at == '=') at = copy_word(at + 1, ',', arguments.items[i].value, sizeof arguments.items[i].value);
    }
    if (name[0]) run_verb(name, &arguments);
    if (*at == ';') at++;
  }
}

/* One line typed at the console, edited with backspace. The UART's interrupt only ends HLT; we then poll. */
static void on_receive(struct trap_frame *frame) {
  (void)frame;
  irq_end();
}

static void read_line(char *line, size_t size) {
  size_t length = 0;
  for (;;) {
    interrupts_off();
    int c = console_poll();
    if (c < 0) {
      wait_for_interrupt();
      continue;
    }
    if (c == '\r' || c == '\n') break;
    if ((c == '\b' || c == 0x7F) && length > 0) {
      length--;
      printf("\b \b");
    } else if (c >= ' ' && c < 0x7F && length + 1 < size) {
      line[length++] = (char)c;
      console_putchar((char)c);
    }
  }
  line[length] = '\0';
  printf("\n");
}

void script_prompt(void) {
  static char line[MAX_LINE];
  irq_route_isa(COM1_IRQ, on_receive);
  console_receive_interrupts(true);
  printf("Type verbs, e.g. help or seq:dev=virtio,count=100\n");
  for (;;) {
    printf("> ");
    read_line(line, sizeof line);
    script_run(line);
  }
}

void report_pass(const char *name) { printf("PASS %s\n", name); }

void report_fail(const char *name, const char *format, ...) {
  char message[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  failures++;
  printf("FAIL %s: %s\n", name, message);
}

void report_equal(const char *name, u64 expected, u64 got) {
  if (expected == got) report_pass(name);
  else report_fail(name, "expected %lu, got %lu", expected, got);
}
