/*
 * IDE disks behind a PCI IDE function (class 01H, subclass 01H), such as the PIIX3's. Sources: ATA/ATAPI-6 (T13
 * 1410D), "Programming Interface for Bus Master IDE Controller" revision 1.0, Intel "82371FB/82371SB (PIIX/PIIX3)".
 *
 * DMA commands are issued and completed with the register accesses, in the order, that Linux's libata uses for such
 * a controller (drivers/ata/libata-sff.c with ata_piix), because the number of accesses is the number of VM exits
 * that we measure. One read:
 *
 *   access                        register                    in libata
 *   issue
 *    1 IN  status                 wait until not busy         ata_bmdma_qc_issue: ata_dev_select, ata_wait_idle
 *    2 OUT device                 select the drive            ata_sff_dev_select
 *    3 IN  alternate status       400 ns                      ata_sff_pause
 *    4 IN  status                 wait until not busy         ata_wait_idle
 *   [  OUT features, sector count, LBA low, mid, high         ata_sff_tf_load, previous content: LBA48 only, 5]
 *    5-9 OUT features, sector count, LBA low, mid, high       ata_sff_tf_load
 *   10 OUT device                                             ata_sff_tf_load
 *   11 IN  status                 wait until not busy         ata_wait_idle
 *   12 OUT PRD table address (32 bits)                        ata_bmdma_setup
 *   13 IN  bus-master command                                 ata_bmdma_setup
 *   14 OUT bus-master command     direction                   ata_bmdma_setup
 *   15 OUT command                                            ata_sff_exec_command
 *   16 IN  alternate status       400 ns                      ata_sff_pause
 *   17 IN  bus-master command                                 ata_bmdma_start
 *   18 OUT bus-master command     start                       ata_bmdma_start
 *   interrupt
 *    1 IN  bus-master status      is it ours?                 ata_bmdma_port_intr: ata_bmdma_status
 *    2 IN  bus-master command                                 ata_bmdma_stop
 *    3 OUT bus-master command     stop                        ata_bmdma_stop
 *    4 IN  alternate status       one PIO cycle               ata_sff_dma_pause
 *    5 IN  alternate status       still busy?                 ata_sff_irq_status
 *    6 IN  status                 clears INTRQ                ata_sff_irq_status
 *    7 IN  bus-master status                                  ata_bmdma_irq_clear
 *    8 OUT bus-master status      clears interrupt and error  ata_bmdma_irq_clear
 *
 * 18 + 8 = 26 accesses, 31 with LBA48. ata_wait_idle reads the status again while the drive is busy, so these are
 * the least numbers; it also waits 10 µs before each read, on real hardware too, which the option `idedelay=1` adds.
 */
#include "block.h"
#include "boot-info.h"
#include "console.h"
#include "heap.h"
#include "io.h"
#include "ioapic.h"
#include "pci.h"
#include "string.h"
#include "time.h"

/* Command block, offsets from the base (ATA/ATAPI-6, "I/O registers descriptions"). */
#define DATA 0
#define FEATURES 1
#define SECTOR_COUNT 2
#define LBA_LOW 3
#define LBA_MID 4
#define LBA_HIGH 5
#define DEVICE 6
#define COMMAND 7
#define STATUS 7

#define STATUS_BSY 0x80
#define STATUS_DF 0x20
#define STATUS_DRQ 0x08
#define STATUS_ERR 0x01

#define DEVICE_OBSOLETE 0xA0 /* two bits that are 1 in old drives; Linux sets them always */
#define DEVICE_LBA 0x40
#define DEVICE_SLAVE 0x10

#define CONTROL_NIEN 0x02
#define CONTROL_SRST 0x04
#define CONTROL_OBSOLETE 0x08

#define READ_SECTORS 0x20
#define READ_SECTORS_EXT 0x24
#define READ_DMA_EXT 0x25
#define WRITE_SECTORS 0x30
#define WRITE_SECTORS_EXT 0x34
#define WRITE_DMA_EXT 0x35
#define READ_DMA 0xC8
#define WRITE_DMA 0xCA
#define FLUSH_CACHE 0xE7
#define FLUSH_CACHE_EXT 0xEA
#define IDENTIFY_DEVICE 0xEC
#define SET_FEATURES 0xEF
#define SET_TRANSFER_MODE 0x03
#define TRANSFER_MODE_UDMA 0x40

/* Bus-master block, offsets from the channel's half. */
#define BM_COMMAND 0
#define BM_STATUS 2
#define BM_PRD_TABLE 4
#define BM_COMMAND_START 0x01
#define BM_COMMAND_WRITE_MEMORY 0x08 /* the drive is read */
#define BM_STATUS_ACTIVE 0x01
#define BM_STATUS_ERROR 0x02
#define BM_STATUS_INTERRUPT 0x04

#define PRD_END 0x80000000
#define PRD_MAX_BYTES 0x10000
#define MAX_DMA_BYTES 0x20000 /* 256 sectors, the most of one LBA28 command */

#define BUSY_POLL_LIMIT 20000000
#define WAIT_IDLE_POLLS 1000 /* as ata_wait_idle */

struct prd {
  u32 address, bytes_and_end;
};

struct channel {
  u16 command_block, control_block, bus_master; /* bus_master = 0: PIO only */
  u32 irq;
  bool is_native;
  struct prd *prd_table;
  struct ide_device *active; /* whose first request the channel is executing */
};

struct ide_device {
  struct block_device block;
  struct channel *channel;
  u8 select; /* DEVICE_OBSOLETE, and DEVICE_SLAVE for drive 1 */
  bool lba48, dma;
  char name[8], model[41], serial[21], firmware[9];
  /* Requests wait here while the channel is executing another. The first is the one in execution, if active. */
  struct block_request *head, *tail;
};

static struct channel channels[2];
static struct ide_device drives[4];
static u32 drive_count;
static bool delays;

static void delay_ns(u64 nanoseconds) {
  if (!delays) return;
  u64 start = rdtsc(), cycles = tsc_hz() / 1000000 * nanoseconds / 1000;
  while (rdtsc() - start < cycles) cpu_pause();
}

static u8 read_status(const struct channel *c) { return inb(c->command_block + STATUS); }
static u8 read_alternate_status(const struct channel *c) { return inb(c->control_block); }

/** Reads the status until the drive is neither busy nor wants data, with libata's patience. */
static u8 wait_idle(const struct channel *c) {
  u8 status;
  u32 polls = 0;
  do {
    delay_ns(10000);
    status = read_status(c);
  } while (status != 0xFF && (status & (STATUS_BSY | STATUS_DRQ)) && ++polls < WAIT_IDLE_POLLS);
  return status;
}

/** One access to the alternate status takes long enough on real hardware for the status to become valid. */
static void pause_400ns(const struct channel *c) {
  read_alternate_status(c);
  delay_ns(400);
}

static void select_drive(const struct ide_device *d) {
  wait_idle(d->channel);
  outb(d->channel->command_block + DEVICE, d->select);
  pause_400ns(d->channel);
  wait_idle(d->channel);
}

static void load_address_registers(const struct channel *c, u8 features, u8 count, u8 low, u8 mid, u8 high) {
  outb(c->command_block + FEATURES, features);
  outb(c->command_block + SECTOR_COUNT, count);
  outb(c->command_block + LBA_LOW, low);
  outb(c->command_block + LBA_MID, mid);
  outb(c->command_block + LBA_HIGH, high);
}

/** Loads sector address and count; `lba48` decides the form. */
static void load_task_file(const struct ide_device *d, u64 sector, u32 sectors, bool lba48) {
  const struct channel *c = d->channel;
  u8 device = d->select | DEVICE_LBA;
  if (lba48)
    load_address_registers(c, 0, (u8)(sectors >> 8), (u8)(sector >> 24), (u8)(sector >> 32), (u8)(sector >> 40));
  else
    device |= sector >> 24 & 0x0F;
  load_address_registers(c, 0, (u8)sectors, (u8)sector, (u8)(sector >> 8), (u8)(sector >> 16));
  outb(c->command_block + DEVICE, device);
  wait_idle(c);
}

static void execute_command(const struct channel *c, u8 command) {
  outb(c->command_block + COMMAND, command);
  pause_400ns(c);
}

/** libata's choice: the short form wherever sector address and count fit it. */
static bool needs_lba48(const struct ide_device *d, u64 sector, u32 sectors) {
  return d->block.force_lba48 || sector + sectors > 0x0FFFFFFF || sectors > 256;
}

/** Describes the buffer in pieces that do not cross a 64 KiB boundary, as the controller wants them. */
static void fill_prd_table(struct prd *prd, u64 address, u32 bytes) {
  for (;;) {
    u32 piece = MIN(bytes, PRD_MAX_BYTES - (u32)(address & (PRD_MAX_BYTES - 1)));
    prd->address = (u32)address;
    prd->bytes_and_end = piece & 0xFFFF; /* 0 means 64 KiB */
    bytes -= piece;
    address += piece;
    if (bytes == 0) break;
    prd++;
  }
  prd->bytes_and_end |= PRD_END;
}

static void issue_dma(struct ide_device *d, const struct block_request *request) {
  struct channel *c = d->channel;
  bool write = request->operation == BLOCK_WRITE;
  u32 sectors = request->bytes / SECTOR_BYTES;
  bool lba48 = needs_lba48(d, request->sector, sectors);
  fill_prd_table(c->prd_table, POINTER_TO_PHYSICAL(request->buffer), request->bytes);
  memory_fence();

  select_drive(d);
  load_task_file(d, request->sector, sectors, lba48);

  outl(c->bus_master + BM_PRD_TABLE, (u32)POINTER_TO_PHYSICAL(c->prd_table));
  u8 command = inb(c->bus_master + BM_COMMAND) & (u8)~(BM_COMMAND_WRITE_MEMORY | BM_COMMAND_START);
  if (!write) command |= BM_COMMAND_WRITE_MEMORY;
  outb(c->bus_master + BM_COMMAND, command);

  execute_command(c, lba48 ? (write ? WRITE_DMA_EXT : READ_DMA_EXT) : (write ? WRITE_DMA : READ_DMA));

  command = inb(c->bus_master + BM_COMMAND);
  outb(c->bus_master + BM_COMMAND, command | BM_COMMAND_START);
}

/** A command without data: its task file has only the device register. */
static void issue_flush(struct ide_device *d) {
  select_drive(d);
  outb(d->channel->command_block + DEVICE, d->select);
  wait_idle(d->channel);
  execute_command(d->channel, d->lba48 ? FLUSH_CACHE_EXT : FLUSH_CACHE);
}

static void issue_next(struct channel *c);

static void complete(struct ide_device *d, enum block_status status) {
  struct block_request *request = d->head;
  d->head = request->next;
  d->channel->active = 0;
  request->status = status;
  compiler_barrier();
  request->done = true;
}

static void on_interrupt(struct channel *c) {
  struct ide_device *d = c->active;
  if (!d) {
    read_status(c); /* nothing under way: take the interrupt back */
    return;
  }
  struct block_request *request = d->head;
  u8 bus_master_status = 0;
  if (request->operation != BLOCK_FLUSH) {
    bus_master_status = inb(c->bus_master + BM_STATUS);
    if (!(bus_master_status & BM_STATUS_INTERRUPT)) return;
    u8 command = inb(c->bus_master + BM_COMMAND);
    outb(c->bus_master + BM_COMMAND, command & (u8)~BM_COMMAND_START);
    read_alternate_status(c);
  }
  u8 status = read_alternate_status(c);
  if (status & STATUS_BSY) return;
  status = read_status(c);
  if (c->bus_master) outb(c->bus_master + BM_STATUS, inb(c->bus_master + BM_STATUS));

  d->block.statistics.interrupts++;
  bool failed = (status & (STATUS_ERR | STATUS_DF)) || (bus_master_status & BM_STATUS_ERROR);
  complete(d, failed ? BLOCK_IO_ERROR : BLOCK_OK);
  issue_next(c);
}

static void on_primary_interrupt(struct trap_frame *frame) {
  (void)frame;
  on_interrupt(&channels[0]);
  irq_end();
}

static void on_secondary_interrupt(struct trap_frame *frame) {
  (void)frame;
  on_interrupt(&channels[1]);
  irq_end();
}

/* --- PIO, polled --- */

/** Waits until BSY is clear and returns the status; 0xFF when the drive stays busy. */
static u8 wait_not_busy(const struct channel *c) {
  for (u32 i = 0; i < BUSY_POLL_LIMIT; i++) {
    u8 status = read_alternate_status(c);
    if (!(status & STATUS_BSY)) return read_status(c);
    cpu_pause();
  }
  printf("ide: still busy after %u status reads\n", BUSY_POLL_LIMIT);
  return 0xFF;
}

/** Transfers sectors with READ/WRITE SECTORS. The drive's interrupts are off meanwhile. */
static enum block_status transfer_pio(struct ide_device *d, const struct block_request *request) {
  const struct channel *c = d->channel;
  bool write = request->operation == BLOCK_WRITE;
  u32 sectors = request->bytes / SECTOR_BYTES;
  bool lba48 = needs_lba48(d, request->sector, sectors);
  u8 *buffer = request->buffer;
  enum block_status result = BLOCK_OK;
  outb(c->control_block, CONTROL_OBSOLETE | CONTROL_NIEN);
  select_drive(d);
  load_task_file(d, request->sector, sectors, lba48);
  execute_command(c, lba48 ? (write ? WRITE_SECTORS_EXT : READ_SECTORS_EXT) : (write ? WRITE_SECTORS : READ_SECTORS));
  for (u32 i = 0; i < sectors; i++, buffer += SECTOR_BYTES) {
    u8 status = wait_not_busy(c);
    if ((status & (STATUS_ERR | STATUS_DF)) || !(status & STATUS_DRQ)) {
      result = BLOCK_IO_ERROR;
      break;
    }
    if (write) outsw(c->command_block + DATA, buffer, SECTOR_BYTES / 2);
    else insw(c->command_block + DATA, buffer, SECTOR_BYTES / 2);
  }
  u8 status = wait_not_busy(c);
  if (status & (STATUS_BSY | STATUS_DRQ | STATUS_ERR | STATUS_DF)) result = BLOCK_IO_ERROR;
  outb(c->control_block, CONTROL_OBSOLETE);
  return result;
}

/* --- the block device --- */

static void issue_next(struct channel *c) {
  for (u32 i = 0; i < drive_count && !c->active; i++) {
    struct ide_device *d = &drives[i];
    if (d->channel != c || !d->head) continue;
    c->active = d;
    if (d->head->operation == BLOCK_FLUSH) issue_flush(d);
    else if (d->block.use_pio || !d->dma) complete(d, transfer_pio(d, d->head));
    else issue_dma(d, d->head);
  }
}

static bool ide_submit(struct block_device *device, struct block_request *request) {
  struct ide_device *d = device->driver;
  device->statistics.requests++;
  bool transfer = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
  if (!transfer && request->operation != BLOCK_FLUSH) {
    request->status = BLOCK_UNSUPPORTED;
    request->done = true;
    return true;
  }
  request->next = 0;
  if (d->head) d->tail->next = request;
  else d->head = request;
  d->tail = request;
  issue_next(d->channel);
  return true;
}

static void ide_describe(struct block_device *device) {
  const struct ide_device *d = device->driver;
  printf("ID dev=%s model=%s serial=%s firmware=%s lba48=%u dma=%u\n", d->name, d->model, d->serial, d->firmware,
         d->lba48, d->dma);
}

/* --- finding drives --- */

/** IDENTIFY's texts have the first character in the high byte of a word, and are padded with blanks. */
static void copy_identify_text(char *to, const u16 *words, u32 word_count) {
  u32 length = 0;
  for (u32 i = 0; i < word_count; i++) {
    to[length++] = (char)(words[i] >> 8);
    to[length++] = (char)words[i];
  }
  while (length > 0 && to[length - 1] == ' ') length--;
  to[length] = '\0';
}

/** Selects the fastest Ultra DMA mode up to 2 (33 MB/s, no 80-wire cable) that the drive has. */
static void set_transfer_mode(struct ide_device *d, const u16 *identify) {
  if (!(identify[53] & 4) || !(identify[88] & 7)) return;
  u8 mode = identify[88] & 4 ? 2 : identify[88] & 2 ? 1 : 0;
  const struct channel *c = d->channel;
  outb(c->command_block + FEATURES, SET_TRANSFER_MODE);
  outb(c->command_block + SECTOR_COUNT, TRANSFER_MODE_UDMA | mode);
  execute_command(c, SET_FEATURES);
  wait_not_busy(c);
}

static void probe_drive(struct channel *c, u8 select) {
  static u16 identify[256];
  struct ide_device *d = &drives[drive_count];
  outb(c->command_block + DEVICE, select);
  pause_400ns(c);
  u8 status = read_status(c);
  if (status == 0xFF || status == 0) return;
  /* A register that keeps what is written means that a drive is there. */
  outb(c->command_block + SECTOR_COUNT, 0x55);
  outb(c->command_block + LBA_LOW, 0xAA);
  if (inb(c->command_block + SECTOR_COUNT) != 0x55 || inb(c->command_block + LBA_LOW) != 0xAA) return;
  execute_command(c, IDENTIFY_DEVICE);
  status = read_status(c);
  if (status == 0) return;
  status = wait_not_busy(c);
  /* A packet device aborts the command and leaves its signature in LBA mid and high. */
  if ((status & STATUS_ERR) || !(status & STATUS_DRQ)) return;
  insw(c->command_block + DATA, identify, 256);

  *d = (struct ide_device){.channel = c, .select = select};
  snprintf(d->name, sizeof d->name, "ide%u", drive_count);
  copy_identify_text(d->serial, identify + 10, 10);
  copy_identify_text(d->firmware, identify + 23, 4);
  copy_identify_text(d->model, identify + 27, 20);
  d->lba48 = (identify[83] & 0xC400) == 0x4400;
  d->dma = (identify[49] & 0x0100) && c->bus_master != 0;
  u64 sectors = identify[60] | (u64)identify[61] << 16;
  if (d->lba48)
    sectors = identify[100] | (u64)identify[101] << 16 | (u64)identify[102] << 32 | (u64)identify[103] << 48;
  if (d->dma) set_transfer_mode(d, identify);
  d->block = (struct block_device){
      .name = d->name,
      .sectors = sectors,
      .max_bytes = MAX_DMA_BYTES,
      .queue_count = 1,
      .can_flush = (identify[83] & 0x1000) != 0,
      .can_get_id = true,
      .driver = d,
      .submit = ide_submit,
      .describe = ide_describe,
  };
  drive_count++;
  block_register(&d->block);
}

static void probe_channel(struct channel *c, trap_handler handler) {
  if (read_status(c) == 0xFF) return; /* no drive: the bus floats */
  u32 before = drive_count;
  outb(c->control_block, CONTROL_OBSOLETE | CONTROL_NIEN);
  probe_drive(c, DEVICE_OBSOLETE);
  probe_drive(c, DEVICE_OBSOLETE | DEVICE_SLAVE);
  if (drive_count == before) return;
  /* The table and each of its entries must not cross 64 KiB; a page never does. */
  c->prd_table = heap_allocate(PAGE_BYTES, PAGE_BYTES);
  if (c->is_native) irq_route_pci(c->irq, handler);
  else irq_route_isa(c->irq, handler);
  read_status(c);
  outb(c->control_block, CONTROL_OBSOLETE); /* interrupts on */
}

void ide_init(void) {
  delays = option_is("idedelay", "1");
  for (u32 i = 0; i < pci_function_count; i++) {
    const struct pci_function *f = &pci_functions[i];
    if (f->class != 0x01 || f->subclass != 0x01) continue;
    u16 command = pci_read16(f, PCI_COMMAND);
    u16 wanted = command | PCI_COMMAND_IO | PCI_COMMAND_MASTER;
    if (wanted != command) pci_write16(f, PCI_COMMAND, wanted);
    ide_bus_master_base = f->interface & 0x80 ? (u16)pci_bar_address(f, 4) : 0;
    for (u32 n = 0; n < 2; n++) {
      struct channel *c = &channels[n];
      *c = (struct channel){.command_block = n == 0 ? 0x1F0 : 0x170,
                            .control_block = n == 0 ? 0x3F6 : 0x376,
                            .irq = n == 0 ? 14 : 15};
      if (ide_bus_master_base) c->bus_master = (u16)(ide_bus_master_base + 8 * n);
      if (f->interface & (1 << (2 * n))) { /* native mode: addresses from the BARs, the PCI interrupt */
        c->command_block = (u16)pci_bar_address(f, 2 * n);
        c->control_block = (u16)(pci_bar_address(f, 2 * n + 1) + 2);
        c->irq = pci_read8(f, PCI_INTERRUPT_LINE);
        c->is_native = true;
      }
      probe_channel(c, n == 0 ? on_primary_interrupt : on_secondary_interrupt);
    }
    return;
  }
}
