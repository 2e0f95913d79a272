/** The host's random numbers, for machines in wall time. */
import { randomFillSync } from "node:crypto";
import type { EntropySource } from "../ports.ts";

export const hostEntropy: EntropySource = { fill: (into) => void randomFillSync(into) };
