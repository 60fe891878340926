// The table of functions: what was sampled in each itself, and in all that it called.

/** Of each node the one that owns what was measured in it. A note and what is above it tell of the stack below: that is the last
 * function's before the first note. */
function ownerNodes(tree) {
  const { profile, count, depth } = tree;
  const owners = new Int32Array(count);
  const told = new Uint8Array(count);
  const path = [];
  for (let at = 1; at < count; at++) {
    while (path.length >= depth[at]) path.pop();
    const below = path.length > 0 ? path[path.length - 1] : 0;
    told[at] = told[below] || profile.fnKind(tree.fn(at)) === KIND.NOTE ? 1 : 0;
    owners[at] = told[at] && below > 0 ? owners[below] : at;
    path.push(at);
  }
  return owners;
}

/** Sums by function over a tree of callees. A function that recurs in a stack counts once in its total. */
function sumFunctions(tree) {
  const { profile, count, depth, end } = tree;
  const { fnCount, fnOfClass } = profile.classes;
  const column = () => new Float64Array(fnCount);
  const sums = { ownSamples: column(), ownTime: column(), samples: column(), time: column() };
  const open = new Int32Array(fnCount);
  const path = [];
  const owners = ownerNodes(tree);
  let at = 1;
  while (at < count) {
    while (path.length >= depth[at]) open[path.pop()]--;
    if (tree.samples[at] === 0) {
      at = end[at];
      continue;
    }
    const fn = fnOfClass[tree.cls[at]];
    const own = fnOfClass[tree.cls[owners[at]]];
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
