/*
 * virtio over PCI, modern interface only, with split virtqueues ("Virtual I/O Device (VIRTIO) Version 1.2", "Virtio
 * Over PCI Bus" and "Split Virtqueues"). Names are the specification's.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "pci.h"
#include "traps.h"

#define VIRTIO_VENDOR 0x1AF4

#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32

#define VIRTQ_DESC_F_NEXT 1
#define VIRTQ_DESC_F_WRITE 2
#define VIRTQ_DESC_F_INDIRECT 4

#define VIRTIO_MAX_QUEUE_SIZE 256
#define VIRTIO_MAX_CHAIN 8 /* descriptors of one request */

struct virtq_desc {
  u64 addr;
  u32 len;
  u16 flags, next;
};

struct virtq_avail {
  u16 flags, idx, ring[]; /* behind the ring: used_event */
};

struct virtq_used_elem {
  u32 id, len;
};

struct virtq_used {
  u16 flags, idx;
  struct virtq_used_elem ring[]; /* behind the ring: u16 avail_event */
};

struct virtq {
  u16 index, size;
  struct virtq_desc *desc;
  struct virtq_avail *avail;
  volatile struct virtq_used *used;
  struct virtq_desc *indirect; /* VIRTIO_MAX_CHAIN descriptors for each head, if indirect descriptors are in use */
  void *tokens[VIRTIO_MAX_QUEUE_SIZE]; /* what the caller gave with the chain, by head */
  u16 free_head, free_count;
  u16 last_used;
  u16 notified; /* avail->idx when the device was last considered for a kick */
  bool event_idx;
  u64 notify_address;
};

struct virtio_device {
  const struct pci_function *function;
  u64 common, notify, isr, device_config;
  u32 notify_multiplier;
  u64 features; /* negotiated */
  struct msix msix;
  bool use_msix;
};

/** One buffer of a chain. Buffers that the device writes follow all that it reads. */
struct virtq_buffer {
  u64 address;
  u32 bytes;
  bool device_writes;
};

/**
 * Finds the capabilities, resets the device and negotiates: the driver's wishes that the device offers.
 * VERSION_1 must be among them. Leaves the device in FEATURES_OK.
 *
 * @returns false, with a message, if the device has no modern interface or refuses the features
 */
bool virtio_start(struct virtio_device *device, const struct pci_function *function, u64 wishes);

/** Sets up queue `index` with at most VIRTIO_MAX_QUEUE_SIZE entries and MSI-X table entry `msix_entry`. */
bool virtio_setup_queue(struct virtio_device *device, struct virtq *queue, u16 index, u16 msix_entry);

/** DRIVER_OK: the device is live. */
void virtio_finish(struct virtio_device *device);

bool virtio_has(const struct virtio_device *device, u32 feature);

/** Adds a chain and makes it available, without a kick; false if there are not enough free descriptors. */
bool virtq_add(struct virtq *queue, const struct virtq_buffer *buffers, u32 count, void *token);

/** Kicks the device and returns true, unless it has said that it needs no kick for what was added since the last call. */
bool virtq_kick(struct virtq *queue);

/**
 * Takes the next used chain.
 *
 * @returns the caller's token and the bytes written, or 0 when there is none; interrupts for the next one are then
 *          enabled again and none has been missed
 */
void *virtq_take_used(struct virtq *queue, u32 *written);

#endif
