/**
 * What the core imports: where this CPU's state is, the doors to the board, and two names that stand for tail calls.
 *
 * AssemblyScript names an import's module after the file that declares it, so this file's name is the module's: `env`.
 */

/** Wasm offset of this CPU's block. Imported and immutable, so that the engine folds it into addresses. */
export declare const CPU: usize;

/** An access to memory that is not RAM, described in the CPU block (mmu/bus.ts); 1 when it must be made again later. */
export declare function memoryAccess(): i32;

/** The same for an I/O port. */
export declare function portAccess(): i32;

/** Sends the interrupt that this CPU wrote to its ICR. */
export declare function sendInterrupt(icrLow: u32, destination: u32): void;

/** Tells the I/O APICs that a level-triggered vector was ended. */
export declare function endOfInterrupt(vector: u32): void;

/** The 8259 pair's acknowledge cycle: the vector. */
export declare function acknowledgeInterrupt(): i32;

/** FERR# has changed: 1 asserted, 0 not. */
export declare function floatError(level: u32): void;

/** The line that CPU `index` monitors has been written: it may be waiting for that in MWAIT. */
export declare function monitoredLineWritten(index: u32): void;

/** Cycles since power-on, in wall mode. */
export declare function wallClock(): f64;

/**
 * Goes on with the handler of `record + RECORD_SIZE`, in the place of the caller: a tail call. AssemblyScript has none, so
 * scripts/tail-calls.mjs replaces each use by a WebAssembly `return_call_indirect` and removes the import.
 *
 * The script also gives every handler a second parameter, always `CPU`, which the run loop's call passes, and replaces the
 * handlers' uses of the global by it: a register instead of two loads.
 *
 * @param record the record whose handler this is, executed
 * @returns the record at which the run of records stopped
 */
export declare function next(record: usize): usize;

/** Goes on with the handler of `record` itself, in the place of the caller. */
export declare function enter(record: usize): usize;
