#include "power.h"

#include "acpi.h"
#include "console.h"
#include "io.h"
#include "traps.h"

#define PM1_SCI_EN 0x0001
#define PM1_SLP_EN 0x2000
#define PM1_SLP_TYP_SHIFT 10

#define QEMU_PM1A_CNT 0x604

/* "RST_CNT—Reset Control Register" of Intel's chipsets. */
#define RESET_CONTROL 0xCF9
#define RESET_SYSTEM 0x02
#define RESET_CPU 0x04

/* 8042: pulse output port bits, with bit 0 (CPU reset, active low) low. */
#define KEYBOARD_STATUS_COMMAND 0x64
#define KEYBOARD_INPUT_FULL 0x02
#define KEYBOARD_PULSE_RESET 0xFE

#define POLL_LIMIT 100000

void power_off(void) {
  interrupts_off();
  if (acpi.pm1a_control && acpi.has_s5) {
    if (!(inw(acpi.pm1a_control) & PM1_SCI_EN) && acpi.smi_command && acpi.acpi_enable) {
      outb(acpi.smi_command, acpi.acpi_enable);
      for (int i = 0; i < POLL_LIMIT && !(inw(acpi.pm1a_control) & PM1_SCI_EN); i++) cpu_pause();
    }
    outw(acpi.pm1a_control, (u16)(acpi.s5_type_a << PM1_SLP_TYP_SHIFT | PM1_SLP_EN));
    if (acpi.pm1b_control) outw(acpi.pm1b_control, (u16)(acpi.s5_type_b << PM1_SLP_TYP_SHIFT | PM1_SLP_EN));
  } else {
    outw(QEMU_PM1A_CNT, PM1_SLP_EN);
  }
  for (int i = 0; i < POLL_LIMIT; i++) cpu_pause();
  printf("The machine did not power off.\n");
  halt_forever();
}

void triple_fault(void) {
  struct __attribute__((packed)) {
    u16 limit;
    u64 base;
  } empty = {0, 0};
  __asm__ volatile("lidt %0; int3" ::"m"(empty));
  halt_forever();
}

void power_reset(void) {
  interrupts_off();
  outb(RESET_CONTROL, RESET_SYSTEM);
  outb(RESET_CONTROL, RESET_SYSTEM | RESET_CPU);
  for (int i = 0; i < POLL_LIMIT; i++) cpu_pause();
  for (int i = 0; i < POLL_LIMIT && (inb(KEYBOARD_STATUS_COMMAND) & KEYBOARD_INPUT_FULL); i++) cpu_pause();
  outb(KEYBOARD_STATUS_COMMAND, KEYBOARD_PULSE_RESET);
  for (int i = 0; i < POLL_LIMIT; i++) cpu_pause();
  triple_fault();
}

void verb_poweroff(const struct arguments *arguments) {
  (void)arguments;
  power_off();
}

void verb_reset(const struct arguments *arguments) {
  (void)arguments;
  power_reset();
}

void verb_exit(const struct arguments *arguments) {
  debug_exit((u32)argument_u64(arguments, "code", 0));
  report_fail("exit", "no debug-exit port at F4H");
}
