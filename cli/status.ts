/** Exit statuses, documented in the README. A guest's debug exit is `(code << 1) | 1`, always odd; ours are even. */
export const Status = {
  OK: 0,
  USAGE: 2,
  BAD_IMAGE: 4,
  TRIPLE_FAULT: 6,
  TIMEOUT: 8,
  /** The guest halted for ever: no interrupt can come. */
  HALTED: 10,
  INTERNAL: 12,
  INTERRUPTED: 130,
} as const;
