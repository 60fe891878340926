// Search: which functions match, and which share of the samples they are in.

// A regular expression looks at no more than this of a name; names can be of any length.
const REGEX_LIMIT = 4096;

let lowerNames = null;

/** Whether each function's name matches; null where nothing is searched for; an error where the pattern is none. */
function matchingFns() {
  const { profile } = app;
  const count = profile.classes.fnCount;
  if (state.pick >= 0) {
    const only = new Uint8Array(count);
    only[state.pick] = 1;
    return only;
  }
  if (state.query === "") return null;
  const matched = new Uint8Array(count);
  if (state.regex) {
    const pattern = new RegExp(state.query, "i");
    for (let fn = 0; fn < count; fn++) matched[fn] = pattern.test(profile.fnName(fn).slice(0, REGEX_LIMIT)) ? 1 : 0;
    return matched;
  }
  lowerNames ??= Array.from({ length: count }, (_, fn) => profile.fnName(fn).toLowerCase());
  const wanted = state.query.toLowerCase();
  for (let fn = 0; fn < count; fn++) matched[fn] = lowerNames[fn].includes(wanted) ? 1 : 0;
  return matched;
}

/** Samples and time of the stacks that have a matching frame, each counted once; the outermost such nodes. */
function matchedShare(matched) {
  const tree = app.tree;
  const share = { samples: 0, time: 0, nodes: [], functions: 0 };
  for (let node = 1; node < tree.count; ) {
    if (tree.samples[node] === 0) {
      node = tree.end[node];
    } else if (matched[tree.fn(node)] === 1) {
      share.samples += tree.samples[node];
      share.time += tree.time[node];
      share.nodes.push(node);
      node = tree.end[node];
    } else {
      node++;
    }
  }
  for (let fn = 0; fn < matched.length; fn++) if (matched[fn] === 1 && app.sums.samples[fn] > 0) share.functions++;
  return share;
}

/** How many of the nodes before each place of the levels match: tells whether any of a merged run does. */
function countMatches(matched) {
  const { tree } = app;
  const counts = new Int32Array(tree.count + 1);
  for (let at = 0; at < tree.count; at++) {
    const node = tree.byLevel[at];
    const hit = node !== ALL && tree.samples[node] > 0 && matched[tree.fn(node)] === 1;
    counts[at + 1] = counts[at] + (hit ? 1 : 0);
  }
  return counts;
}

/** Computes the matches anew, after a change of the search or of the tree. */
function rematch() {
  app.searchError = "";
  app.matched = null;
  app.share = null;
  try {
    app.matched = matchingFns();
  } catch (error) {
    app.searchError = "not a regular expression";
  }
  if (app.matched) {
    timed("match", () => {
      app.share = matchedShare(app.matched);
      app.matchCounts = countMatches(app.matched);
    });
    app.share.nodes.sort((a, b) => app.tree.width[b] - app.tree.width[a]);
  }
  state.found = -1;
}

function search(query, regex) {
  if (state.query === query && state.regex === regex && state.pick < 0) return;
  state.query = query;
  state.regex = regex;
  state.pick = -1;
  rematch();
  tell("match");
}

/** Highlights one function; again, or -1: none. */
function pick(fn) {
  state.pick = state.pick === fn ? -1 : fn;
  rematch();
  tell("match");
}

/** Goes to the next matching node, the widest first. */
function nextMatch(step) {
  const nodes = app.share?.nodes ?? [];
  if (nodes.length === 0) return;
  state.found = (state.found + step + nodes.length) % nodes.length;
  const node = nodes[state.found];
  zoomTo(app.tree.parent[node] < 0 ? ALL : app.tree.parent[node]);
  select(node);
  revealRow(node);
}
