/* The guest kernel from its entry to the end of its script, in order. */
#include "acpi.h"
#include "apic.h"
#include "boot-info.h"
#include "console.h"
#include "heap.h"
#include "ioapic.h"
#include "paging.h"
#include "power.h"
#include "script.h"
#include "traps.h"

u16 ide_bus_master_base;

/** Called by boot.S on the boot stack, in 64-bit mode, IF = 0. */
void kernel_main(u32 protocol, u64 information) {
  traps_init();
  traps_init_cpu(&cpus[0]);
  cpus[0].online = true;
  boot_info_read(protocol, information);
  console_init();
  printf("exitless guest kernel, booted by %s\n", boot_protocol_name());

  heap_init();
  paging_init();
  acpi_init();
  apic_choose_mode();
  apic_init_cpu();
  irq_init();

  const char *script = option_text("script");
  if (!script) script_prompt();
  script_run(script);
  if (failures != 0) {
    printf("SCRIPT failed=%u\n", failures);
    debug_exit(1);
  }
  power_off();
}
