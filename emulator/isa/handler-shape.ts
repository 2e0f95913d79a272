/**
 * How a handler goes on: wraps a rule's statements (handlers.ts) into a function that returns the record at which the
 * run of records stopped.
 *
 * A handler that is certain that nothing asked to stop goes straight to the next record's handler (env.ts).
 * Any handler may instead return its own record: the run loop then looks at `Cpu.recordEnd` and goes on behind it. So
 * there are five shapes:
 *
 *   plain     cannot fault and reaches no host: goes on
 *   memory    one access through `Access`: goes on unless the access took the slow path
 *   checked   calls what may fault or ask to stop: goes on unless `Cpu.recordEnd` says otherwise
 *   branch    the last of its block, a near branch or a string instruction: goes on with the next block (records/chain.ts)
 *   ending    the last of its block: returns
 *
 * `Cpu.record` says where the CPU is to whoever needs the time inside a block. Plain handlers and the fast path of
 * memory handlers leave it alone.
 */

/** Functions that only compute: they touch registers and flags, cannot fault, and reach neither host nor run loop. */
const PURE = new Set(
  (
    "load store sizeof Op Flags Condition Address add adc sub sbb and or xor inc dec neg not adcx adox shl shr sar rol ror " +
    "rcl rcr shld shrd bt bts btr btc bsf bsr popCount lzcnt tzcnt crc32 byteSwap cbw cwd mul imul imulTruncated " +
    "Access lea if return andn blsr blsmsk blsi bextr bzhi pext pdep shlx shrx sarx rorx mulx " +
    // x87.
    "Last Stack Take Load Result Arithmetic Compare Control Move Integral Transcendental " +
    // Vectors.
    "v128 i8x16 i16x8 i32x4 i64x2 Vec Mmx Lanes Shift Shuffle Across Insert Aes Carryless Sha Text f64x2 Memory Float Parts Single Double Singles " +
    "Doubles Convert Fused Round Approximate signedInteger setRelation joinQuads ptest ptestWide emms " +
    "clearUpperHalves clearVectors"
  ).split(" "),
);

/** A direct near branch, which goes on with the next block by itself. */
const BRANCH = /^Chain\.branch<T>\(record, (.*)\);$/;

/** What else ends a block and needs no look at the boundary behind it, but for what `follow` looks at. */
const FOLLOWED =
  /\b(?:jumpTo|callRelative|callTo|ret|retPop|loop|loopz|loopnz|jcxz|movs|stos|lods|cmps|scas)</;

/** An access whose check stands in the handler, or behind a call (vector-access.ts of the core). */
const ACCESS = /\bLinear\.(readable|writable|storable)(?=<|32\()/;
const CALLED_ACCESS = /\bMemory\.(read|store)\d/;

/** Everything that a body calls, by its first name. */
function calledNames(body: string): string[] {
  return [...body.matchAll(/(?<![.\w])([A-Za-z_]\w*)(?=(?:\.\w+)?(?:<[\w, ]+>)?\()/g)].map(
    (match) => match[1]!,
  );
}

/** The statements of a handler, for a rule's body. `T` still stands for the operand type. */
export function handlerBody(body: string, ends: boolean): string {
  const stopping = body.replaceAll("return;", "return record;");
  const branch = BRANCH.exec(body);
  if (branch) return `return Chain.branch<T>(record, ${branch[1]!});`;
  if (ends)
    return `cpu.record = record; ${stopping} return ${FOLLOWED.test(body) ? "Chain.follow(record)" : "record"};`;
  const viaAccess = stopping
    .replace(new RegExp(ACCESS, "g"), "Access.$1")
    .replaceAll(/(Access\.\w+(?:<\w+>)?\()/g, "$1record, ");
  // What stands behind the commit is done only once the store has reached its place.
  const [before, after = ""] = viaAccess.split("Linear.commit(at);").map((part) => part.trim()) as [
    string,
    string?,
  ];
  const withoutCommit = `${before} ${after}`.trim();
  const isPure = calledNames(withoutCommit).every((name) => PURE.has(name));
  if (!isPure)
    return `cpu.record = record; ${stopping} if (cpu.recordEnd == 0) return record; return next(record);`;
  if (!ACCESS.test(body) && !CALLED_ACCESS.test(body)) return `${stopping} return next(record);`;
  const commits = viaAccess.includes("Linear.commit(at);");
  const rest = after === "" ? "" : `${after} `;
  if (!commits) return `${before} if (at == CPU + CPU_SCRATCH) return record; return next(record);`;
  const slow = `commitSlow(); ${after === "" ? "" : `if (faultPending()) return record; ${rest}`}return record;`;
  return `${before} if (at == CPU + CPU_SCRATCH) { ${slow} } ${rest}return next(record);`;
}
