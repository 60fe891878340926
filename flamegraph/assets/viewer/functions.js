// The table of functions: what was sampled in each itself, and in all that it called.

/** Sums by function over a tree of callees. A function that recurs in a stack counts once in its total. */
function sumFunctions(tree) {
  const { profile, count, depth, end } = tree;
  const { fnCount, fnOfClass } = profile.classes;
  const column = () => new Float64Array(fnCount);
  const sums = { ownSamples: column(), ownTime: column(), samples: column(), time: column() };
  const open = new Int32Array(fnCount);
  const path = [];
  // Of each function on the path: who owns what was measured in it, and whether a note is at or below it.
  const owners = [];
  const told = [];
  let at = 1;
  while (at < count) {
    while (path.length >= depth[at]) open[path.pop()]--;
    if (tree.samples[at] === 0) {
      at = end[at];
      continue;
    }
    const fn = fnOfClass[tree.cls[at]];
    // A note and what is above it tell of the stack below: what was measured there is the last function's before the first note.
    const below = path.length - 1;
    const isTold = profile.fnKind(fn) === KIND.NOTE || (below >= 0 && told[below]);
    const own = isTold && below >= 0 ? owners[below] : fn;
    owners[below + 1] = own;
    told[below + 1] = isTold;
    sums.ownSamples[own] += tree.ownSamples[at];
    sums.ownTime[own] += tree.ownTime[at];
    if (open[fn] === 0) {
      sums.samples[fn] += tree.samples[at];
      sums.time[fn] += tree.time[at];
    }
    open[fn]++;
    path.push(fn);
    at++;
  }
  return sums;
}

/** The functions that have samples; threads and notes are none. */
function listFunctions(profile, sums) {
  const list = [];
  for (let fn = 0; fn < profile.classes.fnCount; fn++) {
    if (sums.samples[fn] > 0 && profile.fnKind(fn) !== KIND.THREAD && profile.fnKind(fn) !== KIND.NOTE) list.push(fn);
  }
  return list;
}
