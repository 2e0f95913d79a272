/* Switching the machine off, resetting it, and leaving through the debug-exit port. */
#ifndef POWER_H
#define POWER_H

#include "script.h"

/**
 * Enters ACPI state S5 through PM1a_CNT with SLP_TYP from \_S5; without ACPI writes 2000H to port 604H, where QEMU's
 * PIIX4 power management lies. If the machine is still on, says so and halts.
 */
void power_off(void) __attribute__((noreturn));

/** Resets through port CF9H, then the keyboard controller (64H), then a triple fault. */
void power_reset(void) __attribute__((noreturn));

/** Loads an empty IDT and raises an exception: shutdown state, which a PC turns into a reset. */
void triple_fault(void) __attribute__((noreturn));

void verb_poweroff(const struct arguments *arguments);
void verb_reset(const struct arguments *arguments);
void verb_exit(const struct arguments *arguments);

#endif
