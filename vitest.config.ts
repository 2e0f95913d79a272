import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    // Parallel mode runs up to seven threads on CI's two cores: what fails there once is tried once more, and said so.
    retry: process.env.CI === "true" ? 1 : 0,
    pool: "forks",
    maxWorkers: 2,
  },
});
