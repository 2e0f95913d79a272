/**
 * Tail calls to handlers. AssemblyScript has none, so they are declared as imports; scripts/tail-calls.mjs replaces each
 * use by a WebAssembly `return_call_indirect` and removes the imports.
 *
 * The script also gives every handler a second parameter, always `CPU`, which the run loop's call passes, and replaces the
 * handlers' uses of the global by it: a register instead of two loads.
 */

/**
 * Goes on with the handler of `record + RECORD_SIZE`, in the place of the caller.
 *
 * @param record the record whose handler this is, executed
 * @returns the record at which the run of records stopped
 */
// @ts-ignore: decorator is AssemblyScript's
@external("env", "next")
export declare function next(record: usize): usize;

/** Goes on with the handler of `record` itself, in the place of the caller. */
// @ts-ignore: decorator is AssemblyScript's
@external("env", "enter")
export declare function enter(record: usize): usize;
