/* The other CPUs: starting them, running functions on them, and locks. */
#ifndef SMP_H
#define SMP_H

#include "cpu.h"
#include "percpu.h"

/**
 * Starts the CPUs that the MADT lists, one after the other, with INIT and start-up IPIs. Each then waits in HLT for
 * smp_call. The option `smp=0` leaves them alone. Also installs the handler of VECTOR_CALL.
 */
void smp_init(void);

/**
 * Starts function(argument) on another online CPU, by IPI, with IF = 0 there. Returns at once; the previous call to
 * that CPU must have ended.
 */
void smp_call(u32 cpu, void (*function)(void *), void *argument);

/** Waits until the call of smp_call has returned. False, after a long time, if it does not. */
bool smp_wait(u32 cpu);

struct spinlock {
  volatile u32 taken;
};

static inline void spin_lock(struct spinlock *lock) {
  while (__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE))
    while (lock->taken) cpu_pause();
}

static inline void spin_unlock(struct spinlock *lock) { __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE); }

#endif
