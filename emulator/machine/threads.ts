/** Parallel mode: the loops of the board's threads. A host thread's loop is in the hypervisor. */
import { Attention } from "../host/core.ts";
import { millisecondsUntil } from "./board-lock.ts";
import type { Board } from "./board.ts";
import { NEVER } from "./events.ts";
import type { Actor } from "./scheduler.ts";

/**
 * Runs CPU `index`, on the metal or with a virtual CPU pinned to it, until the board stops. While it has nothing to do the thread sleeps on the CPU's attention word, at most
 * until the CPU's own timer; whoever gives it something to do sets a bit there.
 *
 * @param actor what acts on the CPU; one that is idle and never wakes by itself is woken by attention alone
 */
export function runCpuThread(board: Board, index: number, actor: Actor): void {
  const lock = board.lock!;
  const { i32 } = board.memory.state;
  const attention = board.attentionAt(index);
  const signals = Attention.INTERRUPT | Attention.STOP;
  for (;;) {
    // Cleared before the looks, so that what happens after a look is seen by the wait.
    Atomics.and(i32, attention, ~signals);
    if (board.isStopping) return;
    const wake = lock.hold(() => (actor.isIdle() ? actor.wakeTime() : 0));
    if (wake === 0) {
      actor.act(NEVER, NEVER);
      continue;
    }
    const seen = Atomics.load(i32, attention);
    if ((seen & signals) !== 0) continue;
    if (wake === NEVER) lock.sleepingCpu(() => Atomics.wait(i32, attention, seen));
    else Atomics.wait(i32, attention, seen, millisecondsUntil(board.clock, wake));
  }
}

/**
 * Fires the board's timers until it stops, and stops it when nothing can ever happen again: all CPUs have halted for good,
 * or they sleep without a timer, none has been woken, no event is armed and no host thread has work.
 */
export function runTimekeeper(
  board: Board,
  machine: {
    readonly hasHostWork: () => boolean;
    /** No interrupt can wake any CPU. */
    readonly isDead: () => boolean;
  },
): void {
  const lock = board.lock!;
  const { i32 } = board.memory.state;
  const isQuiet = (): boolean =>
    lock.state.asleep === board.cores.length &&
    board.events.next === NEVER &&
    !machine.hasHostWork() &&
    board.cores.every(
      (_, index) => (Atomics.load(i32, board.attentionAt(index)) & ~Attention.SHOOTDOWN) === 0,
    );
  while (!board.isStopping)
    if (lock.keepTime() && lock.hold(() => machine.isDead() || isQuiet())) board.stopThreads();
}
