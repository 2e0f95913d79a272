/*
 * The verb `uartecho`: echoes what is received until '.' or the given number of characters. Only the interrupt handler
 * reads the UART, so every character shows that its interrupt works. Without input it waits for ever; that is its
 * purpose.
 */
#include "console.h"
#include "ioapic.h"
#include "machine-verbs.h"

#define RING_SIZE 256

static struct {
  u8 characters[RING_SIZE];
  volatile u32 written, read; /* ever counted up; the difference is what waits */
  volatile u32 interrupts;
} ring;

/** IRQ 4 is edge-triggered: all that is there must be read, or there is no other edge. */
static void on_receive(struct trap_frame *frame) {
  (void)frame;
  int c;
  ring.interrupts++;
  while ((c = console_poll()) >= 0)
    if (ring.written - ring.read < RING_SIZE) ring.characters[ring.written++ % RING_SIZE] = (u8)c;
  irq_end();
}

/** `uartecho:count=N`: ends after N characters (default 64) or a '.'. */
void verb_uartecho(const struct arguments *arguments) {
  u64 limit = argument_u64(arguments, "count", 64);
  u64 received = 0;
  u8 c = 0;
  ring.written = ring.read = ring.interrupts = 0;
  irq_route_isa(COM1_IRQ, on_receive);
  console_receive_interrupts(true);
  printf("UARTECHO ready\n");
  while (received < limit && c != '.') {
    if (ring.read == ring.written) {
      wait_for_interrupt();
      continue;
    }
    c = ring.characters[ring.read++ % RING_SIZE];
    received++;
    console_putchar((char)c);
  }
  console_receive_interrupts(false);
  irq_mask(COM1_IRQ);
  printf("\nUARTECHO characters=%lu interrupted=%u\n", received, ring.interrupts > 0);
}
