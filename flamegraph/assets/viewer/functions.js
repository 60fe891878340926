// The table of functions: what was sampled in each itself, and in all that it called.

/** Sums by function over a tree of callees. A function that recurs in a stack counts once in its total. */
function sumFunctions(tree) {
  const { profile, count, depth, end } = tree;
  const { fnCount, fnOfClass } = profile.classes;
  const column = () => new Float64Array(fnCount);
  const sums = { ownSamples: column(), ownTime: column(), samples: column(), time: column() };
  const open = new Int32Array(fnCount);
  const path = [];
  let at = 1;
  while (at < count) {
    while (path.length >= depth[at]) open[path.pop()]--;
    if (tree.samples[at] === 0) {
      at = end[at];
      continue;
    }
    const fn = fnOfClass[tree.cls[at]];
    // A note is no function: what was measured in it is that of the function that it is about.
    const own = profile.fnKind(fn) === KIND.NOTE ? path.findLast((above) => profile.fnKind(above) !== KIND.NOTE) ?? fn : fn;
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
