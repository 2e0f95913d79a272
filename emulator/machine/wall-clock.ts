/** Wall time in cycles: the host's monotonic clock, the same for all threads of the process, from a common epoch. */

/** An instant of the host's monotonic clock, as process.hrtime gives it; equal for all threads. */
export type Epoch = readonly [seconds: number, nanoseconds: number];

/** A source of whole cycles since `epoch`, which never go back on any thread. */
export function wallClock(epoch: Epoch, frequencyHz: number): () => number {
  const perNanosecond = frequencyHz / 1e9;
  const [epochSeconds, epochNanoseconds] = epoch;
  const start = Math.floor(epochNanoseconds * perNanosecond);
  return () => {
    const [seconds, nanoseconds] = process.hrtime();
    return (seconds - epochSeconds) * frequencyHz + Math.floor(nanoseconds * perNanosecond) - start;
  };
}
