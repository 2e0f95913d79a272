/*
 * Benchmarks of disk reads: `seq`, `rand` and `busy`.
 *
 * Request i reads `size` bytes at sector S(i), in units of s = size / 512 sectors; `span` (default the whole disk
 * behind `start`) holds n = floor(span / s) units.
 *   seq:   S(i) = start + (i mod n) s
 *   rand:  S(i) = start + floor(hi(x_i) n / 2^32) s, where x_i is the i-th output of xorshift64* and hi its upper 32
 *          bits: x ^= x >> 12; x ^= x << 25; x ^= x >> 27; output x * 2545F4914F6CDD1DH mod 2^64, x starting at the seed
 *          (0 is replaced by 1)
 *
 * Checksum of request i: h = CBF29CE484222325H; for each 64-bit little-endian word w of the data in order,
 * h = (h xor w) * 100000001B3H mod 2^64 (FNV-1a over words). Checksum of the run: the sum of
 * h_i * (2 i + 1) mod 2^64, which does not depend on the order of completion.
 */
#include "bench-io.h"

#include "block.h"
#include "console.h"
#include "cpu.h"
#include "heap.h"
#include "percpu.h"
#include "string.h"
#include "time.h"

#define FNV_OFFSET_BASIS 0xCBF29CE484222325
#define FNV_PRIME 0x100000001B3
#define XORSHIFT_MULTIPLIER 0x2545F4914F6CDD1D

#define MAX_QUEUE_DEPTH 128
#define BUFFER_ALIGNMENT 0x10000 /* so that 64 KiB is one entry of IDE's descriptor table */

static u64 checksum_of(const void *data, u32 bytes) {
  const u64 *words = data;
  u64 h = FNV_OFFSET_BASIS;
  /* The loop's own instructions would be half of it; the benchmark is of disks. */
#pragma GCC unroll 8
  for (u32 i = 0; i < bytes / 8; i++) h = (h ^ words[i]) * FNV_PRIME;
  return h;
}

static u64 xorshift64star(u64 *x) {
  *x ^= *x >> 12;
  *x ^= *x << 25;
  *x ^= *x >> 27;
  return *x * XORSHIFT_MULTIPLIER;
}

/** Memory for buffers is kept from one benchmark to the next. */
static u8 *buffers(u64 bytes) {
  static u8 *memory;
  static u64 have;
  if (bytes > have) {
    memory = heap_allocate(bytes, BUFFER_ALIGNMENT);
    have = bytes;
  }
  return memory;
}

struct run {
  struct block_device *device;
  const char *name;
  bool random, busy, checksum;
  u32 size, depth, queues;
  u64 count, start, units, random_state;
  u64 submitted, finished, failed, checksum_sum, busy_iterations;
};

/** FREE → (prepare) → PREPARED → (the device accepts) → SUBMITTED → (done) → FREE */
enum slot_state { FREE, PREPARED, SUBMITTED };

struct slot {
  struct block_request request;
  u64 number;
  enum slot_state state;
};

static struct slot slots[MAX_QUEUE_DEPTH];

static bool run_parse(struct run *run, const struct arguments *arguments, bool random, u64 default_size) {
  struct block_device *device = block_find(arguments);
  if (!device) return false;
  u64 size = argument_u64(arguments, "size", default_size);
  u64 depth = argument_u64(arguments, "qd", 1);
  u64 start = argument_u64(arguments, "start", 0);
  if (size == 0 || size % SECTOR_BYTES != 0 || size > device->max_bytes) {
    report_fail("io", "size=%lu must be a multiple of 512 up to %u", size, device->max_bytes);
    return false;
  }
  if (depth == 0 || depth > MAX_QUEUE_DEPTH) {
    report_fail("io", "qd=%lu must be 1 to %u", depth, MAX_QUEUE_DEPTH);
    return false;
  }
  u64 sectors = size / SECTOR_BYTES;
  u64 room = start < device->sectors ? device->sectors - start : 0;
  u64 span = MIN(argument_u64(arguments, "span", room), room);
  if (span < sectors) {
    report_fail("io", "%s has %lu sectors: no room for one request at %lu", device->name, device->sectors, start);
    return false;
  }
  device->force_lba48 = argument_u64(arguments, "lba48", 0) != 0;
  device->use_pio = strcmp(argument_text(arguments, "mode", "dma"), "pio") == 0;
  u64 seed = argument_u64(arguments, "seed", 1);
  *run = (struct run){
      .device = device,
      .random = random,
      .checksum = argument_u64(arguments, "sum", 1) != 0,
      .size = (u32)size,
      .depth = (u32)depth,
      .queues = (u32)MAX(argument_u64(arguments, "queues", 1), 1),
      .count = argument_u64(arguments, "count", 64),
      .start = start,
      .units = MIN(span / sectors, 0xFFFFFFFF),
      .random_state = seed ? seed : 1,
  };
  return true;
}

static u64 next_sector(struct run *run) {
  u64 unit = run->random ? (xorshift64star(&run->random_state) >> 32) * run->units >> 32 : run->submitted % run->units;
  return run->start + unit * (run->size / SECTOR_BYTES);
}

static void prepare(struct run *run, struct slot *slot, u8 *buffer) {
  slot->request = (struct block_request){
      .operation = BLOCK_READ,
      .sector = next_sector(run),
      .bytes = run->size,
      .buffer = buffer,
      .queue = (u32)(run->submitted % run->queues),
  };
  slot->number = run->submitted++;
  slot->state = PREPARED;
}

static void finish(struct run *run, struct slot *slot) {
  slot->state = FREE;
  run->finished++;
  if (slot->request.status != BLOCK_OK) run->failed++;
  else if (run->checksum)
    run->checksum_sum += checksum_of(slot->request.buffer, run->size) * (2 * slot->number + 1);
}

/**
 * Waits for the next completion: in HLT, or, for `busy`, computing with interrupts on, as a CPU does that has other
 * work than waiting for its disk.
 */
static void wait_for_completion(struct run *run) {
  if (!run->busy) {
    wait_for_interrupt();
    return;
  }
  interrupts_on();
  for (int i = 0; i < 64; i++) {
    run->busy_iterations++;
    compiler_barrier();
  }
  interrupts_off();
}

/** Takes a slot as far as it can go now; true if it got anywhere. */
static bool advance(struct run *run, struct slot *slot, u8 *buffer) {
  bool progress = false;
  if (slot->state == SUBMITTED && slot->request.done) {
    finish(run, slot);
    progress = true;
  }
  if (slot->state == FREE && run->submitted < run->count) prepare(run, slot, buffer);
  /* A device may have less room than our queue depth: the request then waits for a completion. */
  if (slot->state == PREPARED && run->device->submit(run->device, &slot->request)) {
    slot->state = SUBMITTED;
    progress = true;
  }
  return progress;
}

/** Keeps `depth` requests in flight until all are done; false if the watchdog ended it. */
static bool run_requests(struct run *run, u8 *memory) {
  while (run->finished < run->count) {
    bool progress = false;
    for (u32 i = 0; i < run->depth; i++) progress |= advance(run, &slots[i], memory + (u64)i * run->size);
    if (progress) continue;
    if (watchdog_expired()) {
      report_fail("io", "%s: %lu of %lu requests never completed", run->device->name, run->count - run->finished,
                  run->count);
      return false;
    }
    wait_for_completion(run);
  }
  return true;
}

static void measure(struct run *run) {
  static struct counters before, after;
  u8 *memory = buffers((u64)run->size * run->depth);
  for (u32 i = 0; i < MAX_QUEUE_DEPTH; i++) slots[i].state = FREE;
  watchdog_start();
  struct block_statistics old = run->device->statistics;
  counters_sum(&before);
  u64 start = rdtsc();
  bool finished = run_requests(run, memory);
  u64 cycles = rdtsc() - start;
  counters_sum(&after);
  watchdog_stop();
  if (!finished) return;
  const struct block_statistics *new = &run->device->statistics;
  printf("IO name=%s dev=%s size=%u count=%lu qd=%u cycles=%lu bytes=%lu checksum=0x%016lx errors=%lu kicks=%lu "
         "suppressed=%lu completions=%lu busy=%lu",
         run->name, run->device->name, run->size, run->count, run->depth, cycles, run->count * run->size,
         run->checksum_sum, run->failed, new->kicks - old.kicks, new->kicks_suppressed - old.kicks_suppressed,
         new->interrupts - old.interrupts, run->busy_iterations);
  print_counter_deltas(&before, &after);
  printf("\n");
  if (run->failed) report_fail("io", "%lu requests of %lu failed", run->failed, run->count);
}

void print_counter_deltas(const struct counters *before, const struct counters *after) {
  u64 interrupts = 0;
  for (u32 v = 32; v < 256; v++) interrupts += after->irqs[v] - before->irqs[v];
  printf(" ports_in=%lu ports_out=%lu ide_in=%lu ide_out=%lu irqs=%lu eois=%lu hlts=%lu ipis=%lu mmio=%lu "
         "apic=%lu vectors=",
         after->ports_in - before->ports_in, after->ports_out - before->ports_out, after->ide_in - before->ide_in,
         after->ide_out - before->ide_out, interrupts, after->eois - before->eois, after->hlts - before->hlts,
         after->ipis - before->ipis, after->mmio - before->mmio, after->apic - before->apic);
  const char *separator = "";
  for (u32 v = 0; v < 256; v++) {
    if (after->irqs[v] == before->irqs[v]) continue;
    printf("%s%u:%lu", separator, v, after->irqs[v] - before->irqs[v]);
    separator = ",";
  }
  if (!*separator) printf("none");
}

void verb_seq(const struct arguments *arguments) {
  struct run run;
  if (!run_parse(&run, arguments, false, 65536)) return;
  run.name = "seq";
  measure(&run);
}

void verb_rand(const struct arguments *arguments) {
  struct run run;
  if (!run_parse(&run, arguments, true, 4096)) return;
  run.name = "rand";
  measure(&run);
}

void verb_busy(const struct arguments *arguments) {
  struct run run;
  bool random = strcmp(argument_text(arguments, "pattern", "rand"), "seq") != 0;
  if (!run_parse(&run, arguments, random, random ? 4096 : 65536)) return;
  run.name = random ? "busy-rand" : "busy-seq";
  run.busy = true;
  measure(&run);
}

/* --- correctness: writes that are read back, and the rest of the commands --- */

/** A sector's content depends on where it is, on the seed and on the place in it, so that no mix-up goes unseen. */
static u64 pattern(u64 sector, u32 word, u64 seed) {
  return (sector * 64 + word + 1) * FNV_PRIME ^ (seed + 1) * XORSHIFT_MULTIPLIER;
}

/** Writes and reads back `count` requests of `size` bytes from `start`; compares every word. */
void verb_write(const struct arguments *arguments) {
  struct run run;
  if (!run_parse(&run, arguments, false, 4096)) return;
  u64 seed = argument_u64(arguments, "seed", 1);
  u8 *memory = buffers(run.size);
  u64 *words = (u64 *)memory;
  struct block_request request = {.bytes = run.size, .buffer = memory};
  u32 sectors = run.size / SECTOR_BYTES, words_per_request = run.size / 8;
  u64 count = MIN(run.count, run.units);
  for (int pass = 0; pass < 2; pass++)
    for (u64 i = 0; i < count; i++) {
      request.sector = run.start + i * sectors;
      request.operation = pass == 0 ? BLOCK_WRITE : BLOCK_READ;
      for (u32 w = 0; w < words_per_request; w++)
        words[w] = pass == 0 ? pattern(request.sector + w / 64, w % 64, seed) : 0;
      if (!block_execute(run.device, &request)) return;
      for (u32 w = 0; pass == 1 && w < words_per_request; w++) {
        u64 expected = pattern(request.sector + w / 64, w % 64, seed);
        if (words[w] == expected) continue;
        report_fail("write", "sector %lu word %u: expected 0x%lx, got 0x%lx", request.sector + w / 64, w % 64,
                    expected, words[w]);
        return;
      }
    }
  printf("WRITE dev=%s start=%lu sectors=%lu seed=%lu verified\n", run.device->name, run.start, count * sectors, seed);
  report_pass("write");
}

/** Reads one sector by PIO, by DMA and by DMA with LBA48 and compares the three. */
void verb_ideread(const struct arguments *arguments) {
  struct arguments with_default = *arguments;
  if (with_default.count < MAX_ARGUMENTS && !argument_text(arguments, "dev", 0)) {
    snprintf(with_default.items[with_default.count].name, 24, "dev");
    snprintf(with_default.items[with_default.count++].value, 40, "ide");
  }
  struct block_device *device = block_find(&with_default);
  if (!device) return;
  u64 sector = argument_u64(arguments, "sector", 0);
  u8 *memory = buffers(3 * SECTOR_BYTES);
  for (u32 way = 0; way < 3; way++) {
    struct block_request request = {
        .operation = BLOCK_READ, .sector = sector, .bytes = SECTOR_BYTES, .buffer = memory + way * SECTOR_BYTES};
    device->use_pio = way == 0;
    device->force_lba48 = way == 2;
    if (!block_execute(device, &request)) return;
  }
  device->use_pio = device->force_lba48 = false;
  bool same = memcmp(memory, memory + SECTOR_BYTES, SECTOR_BYTES) == 0 &&
              memcmp(memory, memory + 2 * SECTOR_BYTES, SECTOR_BYTES) == 0;
  printf("IDEREAD dev=%s sector=%lu checksum=0x%016lx\n", device->name, sector, checksum_of(memory, SECTOR_BYTES));
  if (same) report_pass("ideread");
  else report_fail("ideread", "PIO, DMA and LBA48 DMA returned different data");
}

/** One request whose status is returned; BLOCK_UNSUPPORTED also if it timed out, which has been reported. */
static enum block_status status_of(struct block_device *device, enum block_operation operation, u64 sector) {
  struct block_request request = {
      .operation = operation, .sector = sector, .bytes = SECTOR_BYTES, .buffer = buffers(SECTOR_BYTES)};
  watchdog_start();
  bool finished = device->submit(device, &request) && block_wait(device, &request);
  watchdog_stop();
  return finished ? request.status : BLOCK_UNSUPPORTED;
}

/** Reads and writes the first sector behind the end: both must fail, and the device must work on afterwards. */
void verb_beyond(const struct arguments *arguments) {
  struct block_device *device = block_find(arguments);
  if (!device) return;
  device->use_pio = strcmp(argument_text(arguments, "mode", "dma"), "pio") == 0;
  report_equal("read-beyond-end", BLOCK_IO_ERROR, status_of(device, BLOCK_READ, device->sectors));
  report_equal("write-beyond-end", BLOCK_IO_ERROR, status_of(device, BLOCK_WRITE, device->sectors));
  report_equal("read-after-error", BLOCK_OK, status_of(device, BLOCK_READ, device->sectors - 1));
}

void verb_flush(const struct arguments *arguments) {
  struct block_device *device = block_find(arguments);
  if (!device) return;
  struct block_request request = {.operation = BLOCK_FLUSH};
  if (block_execute(device, &request)) report_pass("flush");
}

/** Shared by discard and write-zeroes: checks the range against what the device allows, and runs the command. */
static bool run_range_command(const struct arguments *arguments, enum block_operation operation, const char *name,
                              struct block_device **device, u64 *start, u64 *sectors) {
  *device = block_find(arguments);
  if (!*device) return false;
  bool can = operation == BLOCK_DISCARD ? (*device)->can_discard : (*device)->can_write_zeroes;
  u32 most = operation == BLOCK_DISCARD ? (*device)->max_discard_sectors : (*device)->max_write_zeroes_sectors;
  *start = argument_u64(arguments, "start", 0);
  *sectors = argument_u64(arguments, "sectors", 8);
  if (!can) {
    report_fail(name, "%s does not offer it", (*device)->name);
    return false;
  }
  if (*sectors > most || *sectors > 0x7FFFFF || *start + *sectors > (*device)->sectors) {
    report_fail(name, "%lu sectors at %lu are more than the device allows", *sectors, *start);
    return false;
  }
  struct block_request request = {
      .operation = operation, .sector = *start, .bytes = (u32)*sectors * SECTOR_BYTES};
  return block_execute(*device, &request);
}

/** What discarded sectors read as is the device's choice, so only the command's success is checked. */
void verb_discard(const struct arguments *arguments) {
  struct block_device *device;
  u64 start, sectors;
  if (!run_range_command(arguments, BLOCK_DISCARD, "discard", &device, &start, &sectors)) return;
  printf("DISCARD dev=%s start=%lu sectors=%lu\n", device->name, start, sectors);
  report_pass("discard");
}

/** Writes zeroes and reads every sector back. */
void verb_writezeroes(const struct arguments *arguments) {
  struct block_device *device;
  u64 start, sectors;
  if (!run_range_command(arguments, BLOCK_WRITE_ZEROES, "writezeroes", &device, &start, &sectors)) return;
  u8 *memory = buffers(SECTOR_BYTES);
  for (u64 sector = start; sector < start + sectors; sector++) {
    struct block_request request = {
        .operation = BLOCK_READ, .sector = sector, .bytes = SECTOR_BYTES, .buffer = memory};
    memset(memory, 0xA5, SECTOR_BYTES);
    if (!block_execute(device, &request)) return;
    for (u32 i = 0; i < SECTOR_BYTES; i++)
      if (memory[i] != 0) {
        report_fail("writezeroes", "sector %lu byte %u is 0x%x", sector, i, memory[i]);
        return;
      }
  }
  printf("WRITEZEROES dev=%s start=%lu sectors=%lu verified\n", device->name, start, sectors);
  report_pass("writezeroes");
}

void verb_getid(const struct arguments *arguments) {
  struct block_device *device = block_find(arguments);
  if (device) device->describe(device);
}
