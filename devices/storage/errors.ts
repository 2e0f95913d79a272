/**
 * Why a disk image cannot be used: a typed error that says what is wrong, where, and what to do about it.
 */

export type StorageErrorCode =
  | "missing-file"
  | "is-directory"
  | "not-a-regular-file"
  | "permission-denied"
  | "zero-length"
  | "not-whole-sectors"
  | "shorter-than-asked"
  | "cannot-open"
  | "bad-configuration";

export class StorageError extends Error {
  readonly code: StorageErrorCode;
  /** The image's path or the back end's name. */
  readonly where: string;
  /** What a person can do. */
  readonly advice: string;

  constructor(code: StorageErrorCode, where: string, what: string, advice: string) {
    super(`${where}: ${what}; ${advice}`);
    this.name = "StorageError";
    this.code = code;
    this.where = where;
    this.advice = advice;
  }
}
