/*
 * The verb `uartecho`: echoes what is received, by interrupt, until '.' or the given number of characters. Without
 * input it waits for ever; that is its purpose.
 */
#include "console.h"
#include "ioapic.h"
#include "machine-verbs.h"

static volatile u32 interrupts;

static void on_receive(struct trap_frame *frame) {
  (void)frame;
  interrupts++;
  irq_end();
}

/** `uartecho:count=N`: ends after N characters (default 64) or a '.'. */
void verb_uartecho(const struct arguments *arguments) {
  u64 limit = argument_u64(arguments, "count", 64);
  u64 received = 0;
  int c = 0;
  interrupts = 0;
  irq_route_isa(COM1_IRQ, on_receive);
  console_receive_interrupts(true);
  printf("UARTECHO ready\n");
  while (received < limit && c != '.') {
    c = console_poll();
    if (c < 0) {
      wait_for_interrupt();
      continue;
    }
    received++;
    console_putchar((char)c);
  }
  console_receive_interrupts(false);
  irq_mask(COM1_IRQ);
  printf("\nUARTECHO characters=%lu interrupted=%u\n", received, interrupts > 0);
}
