/*
 * virtio block devices ("Virtual I/O Device (VIRTIO) Version 1.2", "Block Device"), PCI IDs 1042H and, when it has
 * the modern interface too, the transitional 1001H.
 */
#include "apic.h"
#include "block.h"
#include "boot-info.h"
#include "console.h"
#include "heap.h"
#include "io.h"
#include "ioapic.h"
#include "smp.h"
#include "virtio.h"

#define PCI_DEVICE_MODERN 0x1042
#define PCI_DEVICE_TRANSITIONAL 0x1001

#define VIRTIO_BLK_F_SEG_MAX 2
#define VIRTIO_BLK_F_RO 5
#define VIRTIO_BLK_F_FLUSH 9
#define VIRTIO_BLK_F_MQ 12
#define VIRTIO_BLK_F_DISCARD 13
#define VIRTIO_BLK_F_WRITE_ZEROES 14

/* "Device configuration layout". */
#define CONFIG_CAPACITY 0x00
#define CONFIG_NUM_QUEUES 0x22
#define CONFIG_MAX_DISCARD_SECTORS 0x24
#define CONFIG_MAX_WRITE_ZEROES_SECTORS 0x30

#define VIRTIO_BLK_T_IN 0
#define VIRTIO_BLK_T_OUT 1
#define VIRTIO_BLK_T_FLUSH 4
#define VIRTIO_BLK_T_GET_ID 8
#define VIRTIO_BLK_T_DISCARD 11
#define VIRTIO_BLK_T_WRITE_ZEROES 13

#define VIRTIO_BLK_S_OK 0
#define VIRTIO_BLK_S_UNSUPP 2

#define MAX_DEVICES 4
#define MAX_QUEUES 4
#define MAX_REQUEST_BYTES (1u << 20)

struct request_header {
  u32 type, reserved;
  u64 sector;
};

/** "struct virtio_blk_discard_write_zeroes". */
struct discard_segment {
  u64 sector;
  u32 num_sectors, flags;
};

/** What the device reads and writes besides the caller's buffer. */
struct slot {
  struct request_header header;
  struct discard_segment segment;
  u8 status;
  struct slot *next_free;
  struct block_request *request;
};

struct virtio_blk {
  struct block_device block;
  struct virtio_device virtio;
  struct virtq queues[MAX_QUEUES];
  u8 vectors[MAX_QUEUES];
  /* The submitter and the interrupt handler may run on two CPUs (option `msixcpu=`). */
  struct spinlock lock;
  struct slot *free_slots;
  char name[12];
};

static struct virtio_blk devices[MAX_DEVICES];
static u32 device_count;

static u32 type_of(enum block_operation operation) {
  switch (operation) {
    case BLOCK_READ: return VIRTIO_BLK_T_IN;
    case BLOCK_WRITE: return VIRTIO_BLK_T_OUT;
    case BLOCK_FLUSH: return VIRTIO_BLK_T_FLUSH;
    case BLOCK_DISCARD: return VIRTIO_BLK_T_DISCARD;
    case BLOCK_WRITE_ZEROES: return VIRTIO_BLK_T_WRITE_ZEROES;
    default: return VIRTIO_BLK_T_GET_ID;
  }
}

static bool supports(const struct block_device *device, enum block_operation operation) {
  return (operation != BLOCK_FLUSH || device->can_flush) && (operation != BLOCK_DISCARD || device->can_discard) &&
         (operation != BLOCK_WRITE_ZEROES || device->can_write_zeroes);
}

/** Describes a request to its queue; false if the queue is full. */
static bool add_request(struct virtio_blk *d, struct slot *slot, struct block_request *request) {
  bool transfer = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
  slot->request = request;
  slot->header = (struct request_header){type_of(request->operation), 0, transfer ? request->sector : 0};

  struct virtq_buffer buffers[3] = {{POINTER_TO_PHYSICAL(&slot->header), sizeof slot->header, false}};
  u32 count = 1;
  if (request->operation == BLOCK_DISCARD || request->operation == BLOCK_WRITE_ZEROES) {
    slot->segment = (struct discard_segment){request->sector, request->bytes / SECTOR_BYTES, 0};
    buffers[count++] = (struct virtq_buffer){POINTER_TO_PHYSICAL(&slot->segment), sizeof slot->segment, false};
  } else if (request->operation != BLOCK_FLUSH) {
    buffers[count++] = (struct virtq_buffer){POINTER_TO_PHYSICAL(request->buffer), request->bytes,
                                             request->operation != BLOCK_WRITE};
  }
  buffers[count++] = (struct virtq_buffer){POINTER_TO_PHYSICAL(&slot->status), 1, true};
  return virtq_add(&d->queues[request->queue % d->block.queue_count], buffers, count, slot);
}

static bool virtio_blk_submit(struct block_device *device, struct block_request *request) {
  struct virtio_blk *d = device->driver;
  if (!supports(device, request->operation)) {
    request->status = BLOCK_UNSUPPORTED;
    request->done = true;
    return true;
  }
  spin_lock(&d->lock);
  struct slot *slot = d->free_slots;
  bool accepted = slot && add_request(d, slot, request);
  if (accepted) {
    d->free_slots = slot->next_free;
    device->statistics.requests++;
    if (virtq_kick(&d->queues[request->queue % device->queue_count])) device->statistics.kicks++;
    else device->statistics.kicks_suppressed++;
  }
  spin_unlock(&d->lock);
  return accepted;
}

/** Completes everything that a queue has returned. */
static void complete_queue(struct virtio_blk *d, struct virtq *queue) {
  struct slot *slot;
  spin_lock(&d->lock);
  while ((slot = virtq_take_used(queue, 0)) != 0) {
    struct block_request *request = slot->request;
    request->status = slot->status == VIRTIO_BLK_S_OK       ? BLOCK_OK
                      : slot->status == VIRTIO_BLK_S_UNSUPP ? BLOCK_UNSUPPORTED
                                                            : BLOCK_IO_ERROR;
    slot->next_free = d->free_slots;
    d->free_slots = slot;
    compiler_barrier();
    request->done = true;
  }
  spin_unlock(&d->lock);
  /* Requests are submitted and awaited on the booting CPU; steered elsewhere, an interrupt does not wake it. */
  if (PERCPU->index != 0) apic_send(cpus[0].apic_id, ICR_FIXED | VECTOR_CALL);
}

static void on_queue_interrupt(struct trap_frame *frame) {
  for (u32 i = 0; i < device_count; i++)
    for (u32 n = 0; n < devices[i].block.queue_count; n++)
      if (devices[i].vectors[n] == frame->vector) {
        devices[i].block.statistics.interrupts++;
        complete_queue(&devices[i], &devices[i].queues[n]);
      }
  apic_eoi();
}

/** The device's capacity or other configuration changed. We read the capacity at the start only. */
static void on_config_interrupt(struct trap_frame *frame) {
  (void)frame;
  apic_eoi();
}

/** Without MSI-X: reading the ISR status says whether the interrupt is ours and takes it back. */
static void on_intx(struct trap_frame *frame) {
  (void)frame;
  for (u32 i = 0; i < device_count; i++) {
    struct virtio_blk *d = &devices[i];
    if (d->virtio.use_msix || !(mmio_read8(d->virtio.isr) & 1)) continue;
    d->block.statistics.interrupts++;
    for (u32 n = 0; n < d->block.queue_count; n++) complete_queue(d, &d->queues[n]);
  }
  irq_end();
}

static void virtio_blk_describe(struct block_device *device) {
  static char id[SECTOR_BYTES] __attribute__((aligned(SECTOR_BYTES)));
  struct virtio_blk *d = device->driver;
  struct block_request request = {.operation = BLOCK_GET_ID, .buffer = id, .bytes = 20};
  for (u32 i = 0; i <= 20; i++) id[i] = '\0';
  if (!block_execute(device, &request)) return;
  printf("ID dev=%s id=%s features=0x%lx queues=%u msix=%u\n", device->name, id, d->virtio.features,
         device->queue_count, d->virtio.use_msix);
}

static bool setup_interrupts_and_queues(struct virtio_blk *d, u32 queues) {
  struct virtio_device *v = &d->virtio;
  u32 destination = msix_destination();
  if (v->use_msix) {
    u8 config_vector = msix_allocate_vector();
    trap_set_handler(config_vector, on_config_interrupt);
    msix_set(&v->msix, 0, config_vector, destination);
    queues = MIN(queues, v->msix.entries - 1);
  } else {
    u8 line = pci_read8(v->function, PCI_INTERRUPT_LINE);
    if (line == 0 || line == 0xFF) {
      printf("virtio: no MSI-X, and firmware has not routed the interrupt pin\n");
      return false;
    }
    irq_route_pci(line, on_intx);
  }
  for (u32 n = 0; n < queues; n++) {
    if (v->use_msix) {
      d->vectors[n] = msix_allocate_vector();
      trap_set_handler(d->vectors[n], on_queue_interrupt);
      msix_set(&v->msix, n + 1, d->vectors[n], destination);
    }
    if (!virtio_setup_queue(v, &d->queues[n], (u16)n, (u16)(n + 1))) return n > 0;
    d->block.queue_count = n + 1;
  }
  return queues > 0;
}

static u64 wanted_features(void) {
  u64 wishes = 1UL << VIRTIO_BLK_F_FLUSH | 1UL << VIRTIO_BLK_F_DISCARD | 1UL << VIRTIO_BLK_F_WRITE_ZEROES |
               1UL << VIRTIO_BLK_F_MQ | 1UL << VIRTIO_BLK_F_RO;
  if (!option_is("virtio.eventidx", "0")) wishes |= 1UL << VIRTIO_F_EVENT_IDX;
  if (!option_is("virtio.indirect", "0")) wishes |= 1UL << VIRTIO_F_INDIRECT_DESC;
  return wishes;
}

static void attach(const struct pci_function *f) {
  struct virtio_blk *d = &devices[device_count];
  struct virtio_device *v = &d->virtio;
  if (!virtio_start(v, f, wanted_features())) return;
  snprintf(d->name, sizeof d->name, "virtio%u", device_count);
  d->block = (struct block_device){
      .name = d->name,
      .sectors = mmio_read32(v->device_config + CONFIG_CAPACITY) |
                 (u64)mmio_read32(v->device_config + CONFIG_CAPACITY + 4) << 32,
      .max_bytes = MAX_REQUEST_BYTES,
      .read_only = virtio_has(v, VIRTIO_BLK_F_RO),
      .can_flush = virtio_has(v, VIRTIO_BLK_F_FLUSH),
      .can_discard = virtio_has(v, VIRTIO_BLK_F_DISCARD),
      .can_write_zeroes = virtio_has(v, VIRTIO_BLK_F_WRITE_ZEROES),
      .can_get_id = true,
      .driver = d,
      .submit = virtio_blk_submit,
      .describe = virtio_blk_describe,
  };
  if (d->block.can_discard)
    d->block.max_discard_sectors = mmio_read32(v->device_config + CONFIG_MAX_DISCARD_SECTORS);
  if (d->block.can_write_zeroes)
    d->block.max_write_zeroes_sectors = mmio_read32(v->device_config + CONFIG_MAX_WRITE_ZEROES_SECTORS);
  u32 queues = virtio_has(v, VIRTIO_BLK_F_MQ) ? mmio_read16(v->device_config + CONFIG_NUM_QUEUES) : 1;
  device_count++; /* before the first interrupt, whose handler goes through the list */
  if (!setup_interrupts_and_queues(d, MIN(queues, MAX_QUEUES))) {
    device_count--;
    return;
  }
  u32 slots = 0;
  for (u32 n = 0; n < d->block.queue_count; n++) slots += d->queues[n].size;
  struct slot *pool = heap_allocate(sizeof(struct slot) * slots, 64);
  for (u32 i = 0; i < slots; i++) {
    pool[i].next_free = d->free_slots;
    d->free_slots = &pool[i];
  }
  virtio_finish(v);
  block_register(&d->block);
}

void virtio_blk_init(void) {
  for (u32 i = 0; i < pci_function_count && device_count < MAX_DEVICES; i++) {
    const struct pci_function *f = &pci_functions[i];
    if (f->vendor_id == VIRTIO_VENDOR && (f->device_id == PCI_DEVICE_MODERN || f->device_id == PCI_DEVICE_TRANSITIONAL))
      attach(f);
  }
}
