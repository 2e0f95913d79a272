/* The guest kernel from its entry to the end of its script, in order. */
#include "acpi.h"
#include "apic.h"
#include "bench-io.h"
#include "boot-info.h"
#include "console.h"
#include "heap.h"
#include "ioapic.h"
#include "paging.h"
#include "power.h"
#include "script.h"
#include "smp.h"
#include "traps.h"

u16 ide_bus_master_base;

/** The last line of a run: everything that this kernel has counted since it started. */
static void print_totals(u64 start) {
  static struct counters zero, total;
  counters_sum(&total);
  printf("COUNT cpus=%u cycles=%lu", cpu_count, rdtsc() - start);
  print_counter_deltas(&zero, &total);
  printf("\n");
}

/** Called by boot.S on the boot stack, in 64-bit mode, IF = 0. */
void kernel_main(u32 protocol, u64 information) {
  u64 start = rdtsc();
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
  smp_init();

  const char *script = option_text("script");
  if (!script) script_prompt();
  script_run(script);
  print_totals(start);
  if (failures != 0) {
    printf("SCRIPT failed=%u\n", failures);
    debug_exit(1);
  }
  power_off();
}
