/* Verbs that exercise the machine rather than disks; each is explained where it is implemented. */
#ifndef MACHINE_VERBS_H
#define MACHINE_VERBS_H

#include "script.h"

void verb_timer(const struct arguments *arguments);     /* timers.c */
void verb_idle(const struct arguments *arguments);      /* timers.c */
void verb_spin(const struct arguments *arguments);      /* timers.c */
void verb_smp(const struct arguments *arguments);       /* smp-test.c */
void verb_exits(const struct arguments *arguments);     /* bench-exits.c */
void verb_walks(const struct arguments *arguments);     /* bench-walks.c */
void verb_fault(const struct arguments *arguments);     /* faults.c */
void verb_selftest(const struct arguments *arguments);  /* selftest.c */
void verb_uartecho(const struct arguments *arguments);  /* uart-echo.c */

#endif
