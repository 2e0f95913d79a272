/*
 * A plugin of QEMU's (its documentation, "QEMU TCG Plugins"; interface version 1) that counts how often each translated block runs. At the
 * end it writes a line `ADDRESS INSTRUCTIONS` a block to the file given as `out=FILE`: its linear address and how many instructions ran in
 * it. What is declared here is what of the interface is used, so that no header of QEMU's is needed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
enum { ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int operation, void *counter, uint64_t step);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*ended)(plugin_id, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);

EXPORT int qemu_plugin_version = 1;

struct block {
  struct block *next;
  uint64_t address, executed;
};
static struct block *blocks;
static const char *path;

/* A block translated again gets a counter again: their lines are added up by whoever reads them. */
static void translated(plugin_id id, struct qemu_plugin_tb *tb) {
  struct block *block = calloc(1, sizeof *block);
  (void)id;
  if (!block) abort();
  block->address = qemu_plugin_tb_vaddr(tb);
  block->next = blocks;
  blocks = block;
  qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &block->executed, qemu_plugin_tb_n_insns(tb));
}

static void ended(plugin_id id, void *data) {
  FILE *file = fopen(path, "w");
  (void)id, (void)data;
  if (!file) {
    perror(path);
    return;
  }
  for (struct block *block = blocks; block; block = block->next)
    if (block->executed)
      fprintf(file, "%llx %llu\n", (unsigned long long)block->address, (unsigned long long)block->executed);
  fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
  (void)info;
  for (int i = 0; i < count; i++)
    if (!strncmp(arguments[i], "out=", 4)) path = strdup(arguments[i] + 4);
  if (!path) {
    fputs("block-counts: out=FILE is missing\n", stderr);
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
