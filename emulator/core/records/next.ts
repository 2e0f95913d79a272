/**
 * Goes on with the next record's handler, in the place of the caller: `return next(record)` is a tail call.
 *
 * AssemblyScript has no tail calls, so this is declared as an import. scripts/tail-calls.mjs replaces each use by a
 * WebAssembly `return_call_indirect` to the handler of `record + RECORD_SIZE`, and removes the import.
 *
 * @param record the record whose handler this is, executed
 * @returns the record at which the run of records stopped
 */
// @ts-ignore: decorator is AssemblyScript's
@external("env", "next")
export declare function next(record: usize): usize;
