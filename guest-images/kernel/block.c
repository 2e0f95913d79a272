#include "block.h"

#include "console.h"
#include "pci.h"
#include "percpu.h"
#include "string.h"
#include "time.h"

static struct block_device *devices[MAX_BLOCK_DEVICES];
static u32 device_count;

void block_register(struct block_device *device) {
  if (device_count == MAX_BLOCK_DEVICES) return;
  devices[device_count++] = device;
  printf("DISK %s sectors=%lu queues=%u%s\n", device->name, device->sectors, device->queue_count,
         device->read_only ? " read-only" : "");
}

struct block_device *block_find(const struct arguments *arguments) {
  static bool initialized;
  if (!initialized) {
    initialized = true;
    pci_init();
    ide_init();
    virtio_blk_init();
  }
  const char *name = argument_text(arguments, "dev", "virtio");
  for (u32 i = 0; i < device_count; i++)
    if (strncmp(devices[i]->name, name, strlen(name)) == 0) return devices[i];
  report_fail("dev", "there is no disk '%s'", name);
  return 0;
}

bool block_wait(struct block_device *device, struct block_request *request) {
  while (!request->done) {
    if (watchdog_expired()) {
      report_fail("io", "%s: no completion of operation %u at sector %lu", device->name, request->operation,
                  request->sector);
      return false;
    }
    wait_for_interrupt();
  }
  return true;
}

bool block_execute(struct block_device *device, struct block_request *request) {
  request->done = false;
  watchdog_start();
  if (!device->submit(device, request)) {
    watchdog_stop();
    report_fail("io", "%s: a request was refused while the device was idle", device->name);
    return false;
  }
  bool finished = block_wait(device, request);
  watchdog_stop();
  if (finished && request->status != BLOCK_OK)
    report_fail("io", "%s: operation %u at sector %lu ended with status %u", device->name, request->operation,
                request->sector, request->status);
  return finished && request->status == BLOCK_OK;
}
