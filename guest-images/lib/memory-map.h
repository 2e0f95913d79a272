/*
 * Where everything lies in memory. Shared by the linker scripts, the assembly files and the C files, so it holds
 * nothing but #defines.
 *
 *   00007000-00007FFF  start-up code of application processors (ap-start.S is copied here)
 *   00100000-          the kernel image: entry points, code, data, BSS
 *   behind the image   the heap, growing upwards; behind it RAM that nobody has touched
 */
#ifndef MEMORY_MAP_H
#define MEMORY_MAP_H

/** Physical, and since low memory is identity mapped also linear, address of the first byte of the image. */
#define KERNEL_BASE 0x100000

/** A start-up IPI's vector is a page number below 1 MiB; 7 means this address. */
#define AP_START_BASE 0x7000
#define AP_START_VECTOR (AP_START_BASE >> 12)

/** Offset of the Linux 64-bit entry point in the image, fixed by the Linux/x86 boot protocol. */
#define LINUX_ENTRY64_OFFSET 0x200

/** Bytes of stack for each CPU. */
#define STACK_BYTES 16384

/** Segment selectors; the same in every CPU's GDT. */
#define SELECTOR_CODE64 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE32 0x18
#define SELECTOR_TSS 0x20

/** How the kernel was entered: the first argument of kernel_main. */
#define PROTOCOL_MULTIBOOT 1
#define PROTOCOL_PVH 2
#define PROTOCOL_LINUX 3

#endif
