/** The CPU benchmark's report as text for a person. */
import { OURS } from "./compare.ts";
import type { CpuReport } from "./compare.ts";
import type { Engine } from "./engine.ts";

/** Lines of a table: CPU seconds and MIPS by engine, our speed relative to each, and the legend. */
export function cpuTable(report: CpuReport, engines: readonly Engine[]): string {
  const others = engines.filter(({ name }) => name !== OURS);
  const header = [
    "kernel",
    "instructions",
    ...engines.map(({ name }) => `${name} s (MIPS)`),
    ...others.map(({ name }) => `x ${name}`),
  ];
  const rows = report.rows.map((row) => [
    row.kernel,
    `${(row.instructions / 1e6).toFixed(1)} M`,
    ...engines.map(({ name }) => `${row.cpuSeconds[name]!.toFixed(3)} (${row.mips[name]!.toFixed(0)})`),
    ...others.map(({ name }) => row.speedVersus[name]!.toFixed(2)),
  ]);
  const means = [
    "geometric mean",
    "",
    ...engines.map(() => ""),
    ...others.map(({ name }) => report.geometricMean[name]!.toFixed(2)),
  ];
  const lines = [header, ...rows, means];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const text = lines.map((line) =>
    line
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join("  "),
  );
  return [
    ...text,
    "",
    "CPU seconds, medians. Columns x NAME: our speed over theirs, above 1.00 we are faster.",
    ...engines.map((engine) => `${engine.name}: ${engine.what} (${engine.version() ?? "unknown version"})`),
  ].join("\n");
}
