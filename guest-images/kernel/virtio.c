#include "virtio.h"

#include "boot-info.h"
#include "console.h"
#include "heap.h"
#include "io.h"
#include "paging.h"

/* "Virtio Structure PCI Capabilities": offsets in the capability, and types. */
#define CAP_CFG_TYPE 3
#define CAP_BAR 4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_NOTIFY_MULTIPLIER 16
#define VIRTIO_PCI_CAP_COMMON_CFG 1
#define VIRTIO_PCI_CAP_NOTIFY_CFG 2
#define VIRTIO_PCI_CAP_ISR_CFG 3
#define VIRTIO_PCI_CAP_DEVICE_CFG 4

/* "Common configuration structure layout". */
#define DEVICE_FEATURE_SELECT 0x00
#define DEVICE_FEATURE 0x04
#define DRIVER_FEATURE_SELECT 0x08
#define DRIVER_FEATURE 0x0C
#define CONFIG_MSIX_VECTOR 0x10
#define NUM_QUEUES 0x12
#define DEVICE_STATUS 0x14
#define QUEUE_SELECT 0x16
#define QUEUE_SIZE 0x18
#define QUEUE_MSIX_VECTOR 0x1A
#define QUEUE_ENABLE 0x1C
#define QUEUE_NOTIFY_OFF 0x1E
#define QUEUE_DESC 0x20
#define QUEUE_DRIVER 0x28
#define QUEUE_DEVICE 0x30

#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8
#define FAILED 128

#define VIRTQ_USED_F_NO_NOTIFY 1
#define VIRTIO_MSI_NO_VECTOR 0xFFFF

#define RESET_POLL_LIMIT 10000000

/** The address of the structure of a type, mapped, or 0; the first one with a usable BAR, as the specification says. */
static u64 find_structure(const struct pci_function *f, u8 type, u8 *capability) {
  for (u8 at = pci_find_capability(f, PCI_CAP_VENDOR, 0); at; at = pci_find_capability(f, PCI_CAP_VENDOR, at)) {
    u8 bar = pci_read8(f, at + CAP_BAR);
    if (pci_read8(f, at + CAP_CFG_TYPE) != type || bar > 5 || pci_bar_is_io(f, bar)) continue;
    u64 address = pci_bar_address(f, bar) + pci_read32(f, at + CAP_OFFSET);
    paging_map_device(address, pci_read32(f, at + CAP_LENGTH));
    *capability = at;
    return address;
  }
  return 0;
}

static void set_status(const struct virtio_device *d, u8 bits) {
  mmio_write8(d->common + DEVICE_STATUS, mmio_read8(d->common + DEVICE_STATUS) | bits);
}

static u64 read_device_features(const struct virtio_device *d) {
  mmio_write32(d->common + DEVICE_FEATURE_SELECT, 0);
  u64 low = mmio_read32(d->common + DEVICE_FEATURE);
  mmio_write32(d->common + DEVICE_FEATURE_SELECT, 1);
  return low | (u64)mmio_read32(d->common + DEVICE_FEATURE) << 32;
}

static void write_driver_features(const struct virtio_device *d, u64 features) {
  mmio_write32(d->common + DRIVER_FEATURE_SELECT, 0);
  mmio_write32(d->common + DRIVER_FEATURE, (u32)features);
  mmio_write32(d->common + DRIVER_FEATURE_SELECT, 1);
  mmio_write32(d->common + DRIVER_FEATURE, (u32)(features >> 32));
}

bool virtio_has(const struct virtio_device *d, u32 feature) { return d->features >> feature & 1; }

bool virtio_start(struct virtio_device *d, const struct pci_function *f, u64 wishes) {
  u8 capability = 0;
  *d = (struct virtio_device){.function = f};
  u16 command = pci_read16(f, PCI_COMMAND);
  pci_write16(f, PCI_COMMAND, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
  d->common = find_structure(f, VIRTIO_PCI_CAP_COMMON_CFG, &capability);
  d->isr = find_structure(f, VIRTIO_PCI_CAP_ISR_CFG, &capability);
  d->device_config = find_structure(f, VIRTIO_PCI_CAP_DEVICE_CFG, &capability);
  d->notify = find_structure(f, VIRTIO_PCI_CAP_NOTIFY_CFG, &capability);
  if (!d->common || !d->isr || !d->notify) {
    printf("virtio: %04x:%04x has no modern interface\n", f->vendor_id, f->device_id);
    return false;
  }
  d->notify_multiplier = pci_read32(f, capability + CAP_NOTIFY_MULTIPLIER);

  mmio_write8(d->common + DEVICE_STATUS, 0);
  u32 polls = 0;
  while (mmio_read8(d->common + DEVICE_STATUS) != 0)
    if (++polls == RESET_POLL_LIMIT) {
      printf("virtio: the device does not finish its reset\n");
      return false;
    }
  set_status(d, ACKNOWLEDGE);
  set_status(d, DRIVER);
  d->features = read_device_features(d) & (wishes | 1UL << VIRTIO_F_VERSION_1);
  write_driver_features(d, d->features);
  set_status(d, FEATURES_OK);
  if (!virtio_has(d, VIRTIO_F_VERSION_1) || !(mmio_read8(d->common + DEVICE_STATUS) & FEATURES_OK)) {
    set_status(d, FAILED);
    printf("virtio: the device does not accept features 0x%lx\n", d->features);
    return false;
  }
  d->use_msix = !option_is("msix", "0") && msix_enable(&d->msix, f);
  mmio_write16(d->common + CONFIG_MSIX_VECTOR, d->use_msix ? 0 : VIRTIO_MSI_NO_VECTOR);
  return true;
}

bool virtio_setup_queue(struct virtio_device *d, struct virtq *q, u16 index, u16 msix_entry) {
  mmio_write16(d->common + QUEUE_SELECT, index);
  u16 size = mmio_read16(d->common + QUEUE_SIZE);
  if (size == 0) return false;
  size = MIN(size, VIRTIO_MAX_QUEUE_SIZE);
  size = (u16)MIN(size, option_u64("virtio.queuesize", size));
  while (size & (size - 1)) size &= (u16)(size - 1); /* a power of two */
  mmio_write16(d->common + QUEUE_SIZE, size);
  *q = (struct virtq){.index = index, .size = size, .free_count = size};
  q->event_idx = virtio_has(d, VIRTIO_F_EVENT_IDX);
  /* Descriptor table 16-byte, available ring 2-byte, used ring 4-byte aligned; pages are easy to recognize. */
  q->desc = heap_allocate(sizeof(struct virtq_desc) * size, PAGE_BYTES);
  q->avail = heap_allocate(sizeof(struct virtq_avail) + 2u * size + 2, PAGE_BYTES);
  q->used = heap_allocate(sizeof(struct virtq_used) + sizeof(struct virtq_used_elem) * size + 2, PAGE_BYTES);
  if (virtio_has(d, VIRTIO_F_INDIRECT_DESC))
    q->indirect = heap_allocate(sizeof(struct virtq_desc) * VIRTIO_MAX_CHAIN * size, PAGE_BYTES);
  for (u16 i = 0; i < size; i++) q->desc[i].next = (u16)(i + 1);

  mmio_write64(d->common + QUEUE_DESC, POINTER_TO_PHYSICAL(q->desc));
  mmio_write64(d->common + QUEUE_DRIVER, POINTER_TO_PHYSICAL(q->avail));
  mmio_write64(d->common + QUEUE_DEVICE, POINTER_TO_PHYSICAL(q->used));
  mmio_write16(d->common + QUEUE_MSIX_VECTOR, d->use_msix ? msix_entry : VIRTIO_MSI_NO_VECTOR);
  if (d->use_msix && mmio_read16(d->common + QUEUE_MSIX_VECTOR) != msix_entry) {
    printf("virtio: queue %u gets no MSI-X vector\n", index);
    return false;
  }
  q->notify_address = d->notify + (u64)mmio_read16(d->common + QUEUE_NOTIFY_OFF) * d->notify_multiplier;
  mmio_write16(d->common + QUEUE_ENABLE, 1);
  return true;
}

void virtio_finish(struct virtio_device *d) { set_status(d, DRIVER_OK); }

/* The two event fields lie behind the rings. */
static volatile u16 *used_event(struct virtq *q) { return &q->avail->ring[q->size]; }
static volatile u16 *avail_event(struct virtq *q) { return (volatile u16 *)&q->used->ring[q->size]; }

/** Writes a chain into consecutive descriptors of a table that is the device's only when we say so. */
static void write_indirect(struct virtq_desc *table, const struct virtq_buffer *buffers, u32 count) {
  for (u32 i = 0; i < count; i++)
    table[i] = (struct virtq_desc){buffers[i].address, buffers[i].bytes,
                                   (u16)((buffers[i].device_writes ? VIRTQ_DESC_F_WRITE : 0) |
                                         (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0)),
                                   (u16)(i + 1 < count ? i + 1 : 0)};
}

bool virtq_add(struct virtq *q, const struct virtq_buffer *buffers, u32 count, void *token) {
  if (count > VIRTIO_MAX_CHAIN || q->free_count < (q->indirect ? 1 : count)) return false;
  u16 head = q->free_head;
  if (q->indirect) {
    struct virtq_desc *table = q->indirect + (u32)head * VIRTIO_MAX_CHAIN;
    write_indirect(table, buffers, count);
    q->free_head = q->desc[head].next;
    q->free_count--;
    q->desc[head].addr = POINTER_TO_PHYSICAL(table);
    q->desc[head].len = count * (u32)sizeof(struct virtq_desc);
    q->desc[head].flags = VIRTQ_DESC_F_INDIRECT;
  } else {
    u16 at = head;
    for (u32 i = 0; i < count; i++) {
      struct virtq_desc *desc = &q->desc[at]; /* its next field links the free list and now the chain */
      desc->addr = buffers[i].address;
      desc->len = buffers[i].bytes;
      desc->flags = (u16)((buffers[i].device_writes ? VIRTQ_DESC_F_WRITE : 0) |
                          (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0));
      at = desc->next;
    }
    q->free_head = at;
    q->free_count = (u16)(q->free_count - count);
  }
  q->tokens[head] = token;
  q->avail->ring[q->avail->idx & (q->size - 1)] = head;
  compiler_barrier(); /* x86 keeps stores in order: the entry before the index */
  WRITE_ONCE(q->avail->idx, (u16)(q->avail->idx + 1));
  return true;
}

bool virtq_kick(struct virtq *q) {
  memory_fence(); /* the index must be visible before we read whether the device sleeps */
  u16 new = q->avail->idx, old = q->notified;
  q->notified = new;
  /* "Driver Notifications": with EVENT_IDX, kick iff the index went past avail_event in this step. */
  bool wanted = q->event_idx ? (u16)(new - *avail_event(q) - 1) < (u16)(new - old)
                             : !(q->used->flags & VIRTQ_USED_F_NO_NOTIFY);
  if (wanted) mmio_write16(q->notify_address, q->index);
  return wanted;
}

static void free_chain(struct virtq *q, u16 head) {
  u16 at = head, count = 1;
  while (q->desc[at].flags & VIRTQ_DESC_F_NEXT) {
    at = q->desc[at].next;
    count++;
  }
  q->desc[at].next = q->free_head;
  q->free_head = head;
  q->free_count = (u16)(q->free_count + count);
}

void *virtq_take_used(struct virtq *q, u32 *written) {
  if (q->last_used == q->used->idx && q->event_idx) {
    *used_event(q) = q->last_used;
    memory_fence(); /* tell first, then look once more, or an interrupt can be lost in between */
  }
  if (q->last_used == q->used->idx) return 0;
  compiler_barrier();
  volatile struct virtq_used_elem *element = &q->used->ring[q->last_used & (q->size - 1)];
  u32 id = element->id;
  if (id >= q->size || !q->tokens[id]) panic("virtio: queue %u returns chain %u, which is not in use", q->index, id);
  if (written) *written = element->len;
  q->last_used++;
  void *token = q->tokens[id];
  q->tokens[id] = 0;
  free_chain(q, (u16)id);
  return token;
}
