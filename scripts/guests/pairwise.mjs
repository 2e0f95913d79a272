/** Selections from a product of choices in which every pair of values of two factors occurs. */

/** All rows of a product, as objects. */
export function product(factors) {
  return Object.entries(factors).reduce(
    (rows, [name, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))),
    [{}],
  );
}

const pairsOf = (row) => {
  const entries = Object.entries(row);
  return entries.flatMap(([a, x], i) => entries.slice(i + 1).map(([b, y]) => `${a}=${x} ${b}=${y}`));
};

/**
 * Rows, taken greedily in order, until every pair that occurs in any row has occurred in one that was taken.
 * The same rows give the same selection.
 */
export function pairwise(rows) {
  const missing = new Set(rows.flatMap(pairsOf));
  const taken = [];
  while (missing.size > 0) {
    let best;
    let most = 0;
    for (const row of rows) {
      const count = pairsOf(row).filter((pair) => missing.has(pair)).length;
      if (count > most) [best, most] = [row, count];
    }
    for (const pair of pairsOf(best)) missing.delete(pair);
    taken.push(best);
  }
  return taken;
}
