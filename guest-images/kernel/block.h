/* Disks, whatever their controller: requests are submitted, and their completion is seen in the request. */
#ifndef BLOCK_H
#define BLOCK_H

#include "script.h"

#define SECTOR_BYTES 512
#define MAX_BLOCK_DEVICES 8

enum block_operation {
  BLOCK_READ,
  BLOCK_WRITE,
  BLOCK_FLUSH,
  BLOCK_DISCARD,
  BLOCK_WRITE_ZEROES,
  BLOCK_GET_ID, /* 20 bytes of text into the buffer */
};

enum block_status {
  BLOCK_OK,
  BLOCK_IO_ERROR,
  BLOCK_UNSUPPORTED,
};

struct block_request {
  enum block_operation operation;
  u64 sector;
  u32 bytes;    /* of the buffer; for discard and write-zeroes 512 times the number of sectors */
  void *buffer; /* physically contiguous (all memory is) and at least 512-byte aligned */
  u32 queue;    /* which of the device's queues; ignored by devices with one */

  /* Set by the driver. */
  volatile bool done;
  enum block_status status;
  struct block_request *next; /* the driver's own, while it has the request */
};

/** Kicks are notifications of the device ("doorbells"); devices without the notion leave them at 0. */
struct block_statistics {
  u64 requests, kicks, kicks_suppressed, interrupts;
};

struct block_device {
  const char *name;
  u64 sectors;
  u32 max_bytes;  /* of one request */
  u32 queue_count;
  bool read_only, can_flush, can_discard, can_write_zeroes, can_get_id;
  u32 max_discard_sectors, max_write_zeroes_sectors;
  bool force_lba48, use_pio; /* IDE: how to transfer */
  struct block_statistics statistics;
  void *driver; /* the driver's own structure */

  /** Accepts a request, or returns false if the device has no room now. IF must be 0. */
  bool (*submit)(struct block_device *device, struct block_request *request);

  /** Prints identification in one line. */
  void (*describe)(struct block_device *device);
};

/** Adds a device to the list; names are given by the driver: ide0, virtio0, … */
void block_register(struct block_device *device);

/**
 * The device that an argument `dev=` names: `ide` and `virtio` mean the first of their kind. Initializes the
 * drivers on first use. Reports a failure and returns 0 if there is none.
 */
struct block_device *block_find(const struct arguments *arguments);

/** Waits in HLT until `request` is done. Reports a failure and returns false when the watchdog expires first. */
bool block_wait(struct block_device *device, struct block_request *request);

/** Submits one request and waits for it. Reports a failure unless the status is BLOCK_OK. */
bool block_execute(struct block_device *device, struct block_request *request);

/** Drivers; each registers what it finds. */
void ide_init(void);
void virtio_blk_init(void);

#endif
