/** Parallel mode: the loop of the thread that runs one physical CPU, on the metal or with a virtual CPU pinned to it. */
import { Attention } from "../host/core.ts";
import { millisecondsUntil } from "./board-lock.ts";
import type { Board } from "./board.ts";
import { NEVER } from "./events.ts";
import type { Actor } from "./scheduler.ts";

/**
 * Runs CPU `index` until the board stops. While it has nothing to do the thread sleeps on the CPU's attention word, at most
 * until the CPU's own timer; whoever gives it something to do sets a bit there.
 *
 * @param actor what acts on the CPU; one that is idle and never wakes by itself is woken by attention alone
 */
export function runCpuThread(board: Board, index: number, actor: Actor): void {
  const lock = board.lock!;
  const { i32 } = board.memory.state;
  const attention = board.attentionAt(index);
  while (!board.isStopping) {
    // Cleared before the look, so that what happens after the look is seen by the wait.
    Atomics.and(i32, attention, ~Attention.INTERRUPT);
    const wake = lock.hold(() => (actor.isIdle() ? actor.wakeTime() : 0));
    if (wake === 0) {
      actor.act(NEVER, NEVER);
      continue;
    }
    const seen = Atomics.load(i32, attention);
    if ((seen & Attention.INTERRUPT) !== 0 || board.isStopping) continue;
    Atomics.wait(i32, attention, seen, millisecondsUntil(board.clock, wake));
  }
}
