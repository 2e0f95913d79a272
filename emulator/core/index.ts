/** The core's whole public surface: one physical CPU. `emulator/host` is its only user. */
export { run, enterAndRun, emulateEvent, emulateOne, emulateTaskError, isWakeUpPending } from "./run-loop";
export { vmEnter } from "./vmx/entry";
export { resetForPowerOn, resetForInit } from "./state/reset";
export { flushAllContexts, dropContextsOfEpt, invalidatePage } from "./mmu/contexts";
export { updateContext, updateMode } from "./state/mode";
export { forgetMemoryMap } from "./mmu/rom";
export { updateMedia } from "./state/media";
export { flushBlocks, answerShootdown, startRunning, stopRunning } from "./records/block-cache";
export { noteWriteRange, noteWriteRangeFromOutside } from "./mmu/door";
export { getFlags, setArithmeticFlags } from "./state/flags";
export { acceptVector, acknowledgeVector, apicRead, apicWrite, pendingVector } from "./interrupts/local-apic";
