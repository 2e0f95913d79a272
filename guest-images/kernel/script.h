/*
 * Scripts: `verb:name=value,name=value;verb;…`, without spaces, on the command line as `script=` or typed at the
 * prompt, run from left to right.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include "types.h"

#define MAX_ARGUMENTS 16

/** A verb's arguments; the texts lie in the script and end at ',', ';', ' ' or its end. */
struct arguments {
  u32 count;
  struct {
    char name[24];
    char value[40];
  } items[MAX_ARGUMENTS];
};

/** The value of an argument, or `otherwise` if it was not given. */
const char *argument_text(const struct arguments *arguments, const char *name, const char *otherwise);

/** A numeric argument (decimal, 0x…, suffix K, M, G), or `otherwise`. A value that is no number fails the script. */
u64 argument_u64(const struct arguments *arguments, const char *name, u64 otherwise);

struct verb {
  const char *name;
  void (*run)(const struct arguments *arguments);
  const char *help;
};

/** All verbs, ended by one without a name; in verbs.c. */
extern const struct verb verbs[];

/** Runs a script up to its end or the first space. A verb that does not exist counts as a failure. */
void script_run(const char *script);

/** Reads lines from the console and runs each as a script, for ever. */
void script_prompt(void) __attribute__((noreturn));

/** Prints `PASS name`. */
void report_pass(const char *name);

/** Prints `FAIL name: …` and makes the run end with a failure. */
void report_fail(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Prints PASS or, if the two differ, FAIL with both values. */
void report_equal(const char *name, u64 expected, u64 got);

/** How many failures have been reported. */
extern u32 failures;

#endif
