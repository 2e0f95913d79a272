/* Integer types and small macros that every file uses. Everything here comes with a freestanding compiler. */
#ifndef TYPES_H
#define TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_UP(value, alignment) (((u64)(value) + (alignment)-1) & ~((u64)(alignment)-1))

/** Memory is identity mapped, so a physical address is a pointer and the other way round. */
#define PHYSICAL_TO_POINTER(address) ((void *)(uintptr_t)(address))
#define POINTER_TO_PHYSICAL(pointer) ((u64)(uintptr_t)(pointer))

#define PAGE_BYTES 4096

/** Keeps the compiler from moving memory accesses across it. */
#define compiler_barrier() __asm__ volatile("" ::: "memory")

/** One load or store that the compiler may neither drop, split nor repeat. */
#define READ_ONCE(place) (*(const volatile __typeof__(place) *)&(place))
#define WRITE_ONCE(place, value) (*(volatile __typeof__(place) *)&(place) = (value))

#endif
