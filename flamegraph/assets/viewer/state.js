// What the reader has chosen, what follows from it, and who wants to know when it changes.

const state = {
  layout: "flame",
  direction: "callees",
  measure: "samples",
  color: "module",
  /** Thread ids and vCPU numbers that are shown; null: all. */
  threads: null,
  vcpus: null,
  query: "",
  regex: false,
  /** The function that is highlighted alone; -1: none. */
  pick: -1,
  /** The node that is zoomed to, and the part of the whole that is in view (0 to 1). */
  focus: ALL,
  from: 0,
  to: 1,
  /** The node that the keyboard is on, and the one under the pointer; -1: none. */
  selected: -1,
  hover: -1,
  sort: "own",
  ascending: false,
  panel: true,
};

/** The profile, the trees made so far, and what was computed for the current choice. */
const app = { profile: null, trees: {}, tree: null, sums: null, palette: null, matched: null, share: null, timings: {} };

const watchers = { filter: [], match: [], view: [], selection: [], look: [] };

/** Calls `then` when this changes: filter, match, view, selection or look. */
function watch(what, then) {
  watchers[what].push(then);
}

function tell(...changes) {
  const called = new Set();
  for (const what of changes) {
    for (const then of watchers[what]) {
      if (!called.has(then)) then();
      called.add(then);
    }
  }
}

/** Runs a step and keeps how long it took, in milliseconds. */
function timed(name, step) {
  const start = performance.now();
  const result = step();
  app.timings[name] = performance.now() - start;
  return result;
}

/** For each owner, a thread on a vCPU, whether its samples are shown. */
function keptOwners() {
  return Uint8Array.from(app.profile.head.owners, ([thread, vcpu]) =>
    (!state.threads || state.threads.has(thread)) && (!state.vcpus || state.vcpus.has(vcpu)) ? 1 : 0);
}

function treeOf(direction) {
  app.trees[direction] ??= timed(direction, () => new Tree(app.profile, direction));
  return app.trees[direction];
}

/** Sums and places the trees anew, after a change of filter, direction or measure. */
function recompute() {
  const keeps = keptOwners();
  const callees = treeOf("callees");
  timed("sum", () => callees.sum(keeps));
  app.sums = timed("functions", () => sumFunctions(callees));
  app.tree = treeOf(state.direction);
  if (app.tree !== callees) app.tree.sum(keeps);
  timed("place", () => app.tree.place(state.measure));
  app.total = { samples: callees.samples[ALL], time: callees.time[ALL] };
}

/** Sets one of the choices of the bar. */
function choose(name, value) {
  if (state[name] === value) return;
  state[name] = value;
  if (name === "direction") {
    state.focus = ALL;
    forgetZoom();
  }
  if (name === "direction" || name === "measure") {
    state.selected = state.hover = -1;
    recompute();
    refocus();
    rematch();
    tell("filter", "match", "view", "selection", "look");
  } else {
    tell("look", "view");
  }
}

/** Sets which threads and vCPUs are shown; null: all. */
function setFilter(threads, vcpus) {
  state.threads = threads;
  state.vcpus = vcpus;
  state.selected = state.hover = -1;
  recompute();
  refocus();
  rematch();
  tell("filter", "match", "view", "selection");
}

function select(node) {
  if (state.selected === node) return;
  state.selected = node;
  tell("selection");
}
