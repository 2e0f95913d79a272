/* The table of verbs, and the verbs too small for a file of their own. */
#include "boot-info.h"
#include "console.h"
#include "power.h"
#include "script.h"

static void verb_hello(const struct arguments *arguments) {
  (void)arguments;
  printf("HELLO protocol=%s command_line=%s\n", boot_protocol_name(), boot_info.command_line);
}

static void verb_memmap(const struct arguments *arguments) {
  static const char *const names[] = {"?", "ram", "reserved", "acpi", "nvs", "unusable"};
  (void)arguments;
  for (u32 i = 0; i < boot_info.range_count; i++) {
    const struct memory_range *range = &boot_info.ranges[i];
    printf("MEMORY %016lx-%016lx %s\n", range->base, range->base + range->length - 1,
           range->type < ARRAY_LENGTH(names) ? names[range->type] : names[0]);
  }
}

static void verb_help(const struct arguments *arguments) {
  (void)arguments;
  for (const struct verb *verb = verbs; verb->name; verb++) printf("%-12s %s\n", verb->name, verb->help);
}

const struct verb verbs[] = {
    {"help", verb_help, "lists the verbs"},
    {"hello", verb_hello, "prints the boot protocol and the command line"},
    {"memmap", verb_memmap, "prints the loader's memory map"},
    {"poweroff", verb_poweroff, "ACPI S5"},
    {"reset", verb_reset, "resets the machine (CF9H)"},
    {"exit", verb_exit, "code=N: leaves through the debug-exit port"},
    {0},
};
