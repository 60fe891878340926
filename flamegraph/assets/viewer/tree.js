// The call tree: stacks merged where their frames look alike, in depth-first order, with the sums of the chosen samples.
//
// Node 0 is the whole. All of a node's descendants follow it, up to `end`. The merging does not depend on the filter, so
// a change of threads or vCPUs only sums anew.

const ALL = 0;

/** Columns that grow. */
function grown(old, Type, capacity) {
  const bigger = new Type(capacity);
  bigger.set(old);
  return bigger;
}

/**
 * Nodes in the order in which they were found. Most have one child, which its parent knows; the others are in an
 * open-addressing table from parent and class to node.
 */
class Merger {
  constructor(profile, capacity) {
    this.frames = profile.frames;
    this.classOf = profile.classes.ofFrame;
    this.count = 1;
    this.capacity = capacity;
    for (const [name, Type] of MERGED) this[name] = new Type(capacity);
    this.parent[ALL] = this.cls[ALL] = this.frame[ALL] = -1;
    this.slots = new Int32Array(1 << 12);
    this.used = 0;
    // Names are the guest's choice; it could make them collide if it knew this.
    this.seed = (Math.random() * 0x7fffffff) | 1;
  }

  child(parent, frame) {
    const cls = this.classOf[frame];
    const first = this.first[parent];
    if (first === 0) return (this.first[parent] = this.add(parent, cls, frame));
    if (this.cls[first] === cls) return this.found(first, frame);
    const mask = this.slots.length - 1;
    let at = this.slot(parent, cls);
    for (let id = this.slots[at]; id !== 0; id = this.slots[at]) {
      if (this.parent[id] === parent && this.cls[id] === cls) return this.found(id, frame);
      at = (at + 1) & mask;
    }
    const id = this.add(parent, cls, frame);
    this.slots[at] = id;
    if (++this.used * 2 > this.slots.length) this.growTable();
    return id;
  }

  slot(parent, cls) {
    let hash = Math.imul(parent ^ this.seed, 0x9e3779b1) ^ Math.imul(cls + 0x7ed55d16, 0x85ebca6b);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    return (hash ^ (hash >>> 13)) & (this.slots.length - 1);
  }

  add(parent, cls, frame) {
    if (this.count === this.capacity) {
      this.capacity *= 2;
      for (const [name, Type] of MERGED) this[name] = grown(this[name], Type, this.capacity);
    }
    const id = this.count++;
    this.parent[id] = parent;
    this.cls[id] = cls;
    this.frame[id] = frame;
    this.ways[id] = 1 << this.frames.found[frame];
    return id;
  }

  /** Notes how a further frame differs from the first one of its node. */
  found(id, frame) {
    const first = this.frame[id];
    if (first === frame) return id;
    const { line, file, high, low, found } = this.frames;
    this.ways[id] |= 1 << found[frame];
    if (line[first] !== line[frame] || file[first] !== file[frame]) this.mixed[id] |= 1;
    if (low[first] !== low[frame] || high[first] !== high[frame]) this.mixed[id] |= 2;
    return id;
  }

  growTable() {
    const old = this.slots;
    this.slots = new Int32Array(old.length * 2);
    const mask = this.slots.length - 1;
    for (const id of old) {
      if (id === 0) continue;
      let at = this.slot(this.parent[id], this.cls[id]);
      while (this.slots[at] !== 0) at = (at + 1) & mask;
      this.slots[at] = id;
    }
  }
}

const MERGED = [["parent", Int32Array], ["cls", Int32Array], ["frame", Int32Array], ["first", Int32Array], ["ways", Uint8Array], ["mixed", Uint8Array]];

function mergeCallees(profile, merger) {
  const { count, parent, frame } = profile.nodes;
  const merged = new Int32Array(count);
  for (let id = 0; id < count; id++) {
    merged[id] = merger.child(parent[id] < 0 ? ALL : merged[parent[id]], frame[id]);
  }
  return profile.leaves.node.map((node) => merged[node]);
}

function mergeCallers(profile, merger) {
  const { parent, frame } = profile.nodes;
  const ends = new Map();
  return profile.leaves.node.map((leaf) => {
    let end = ends.get(leaf);
    if (end === undefined) {
      end = ALL;
      for (let node = leaf; node >= 0; node = parent[node]) end = merger.child(end, frame[node]);
      ends.set(leaf, end);
    }
    return end;
  });
}

/** The places of 0..count sorted by `key` (0..keys), stable. */
function countingSort(order, key, keys) {
  const starts = new Int32Array(keys + 1);
  for (const id of order) starts[key[id] + 1]++;
  for (let at = 1; at <= keys; at++) starts[at] += starts[at - 1];
  const sorted = new Int32Array(order.length);
  for (const id of order) sorted[starts[key[id]]++] = id;
  return sorted;
}

/** Where the children of each node start in a list that is sorted by parent; node 0 is no child. */
function childStarts({ count, parent }) {
  const starts = new Int32Array(count + 1);
  for (let id = 1; id < count; id++) starts[parent[id] + 1]++;
  for (let at = 1; at <= count; at++) starts[at] += starts[at - 1];
  return starts;
}

/** The nodes of a merger in depth-first order, siblings by class, which is by name. */
function depthFirst(merger, classes) {
  const { count, parent, cls } = merger;
  const starts = childStarts(merger);
  const children = new Int32Array(count);
  const siblings = new Int32Array(count);
  let several = 0;
  for (let id = 1; id < count; id++) {
    if (starts[parent[id] + 1] - starts[parent[id]] > 1) siblings[several++] = id;
    else children[starts[parent[id]]] = id;
  }
  const next = starts.slice();
  for (const id of countingSort(siblings.subarray(0, several), cls, classes)) children[next[parent[id]]++] = id;
  const order = new Int32Array(count);
  const pending = new Int32Array(count);
  let open = 1;
  for (let placed = 0; open > 0; placed++) {
    const id = pending[--open];
    order[placed] = id;
    for (let at = starts[id + 1] - 1; at >= starts[id]; at--) pending[open++] = children[at];
  }
  return order;
}

class Tree {
  constructor(profile, direction) {
    this.profile = profile;
    const callers = direction === "callers";
    const merger = new Merger(profile, callers ? 1 << 12 : profile.nodes.count + 1);
    const leaves = (callers ? mergeCallers : mergeCallees)(profile, merger);
    const order = depthFirst(merger, profile.classes.count);
    const place = new Int32Array(merger.count);
    order.forEach((id, at) => (place[id] = at));
    const count = order.length;
    this.count = count;
    this.leaf = leaves.map((id) => place[id]);
    this.parent = new Int32Array(count);
    this.cls = new Int32Array(count);
    this.frame = new Int32Array(count);
    this.depth = new Int32Array(count);
    this.found = new Uint8Array(count);
    this.mixed = new Uint8Array(count);
    for (let at = 0; at < count; at++) {
      const id = order[at];
      this.parent[at] = at === ALL ? -1 : place[merger.parent[id]];
      this.cls[at] = merger.cls[id];
      this.frame[at] = merger.frame[id];
      this.found[at] = merger.ways[id];
      this.mixed[at] = merger.mixed[id];
      this.depth[at] = at === ALL ? 0 : this.depth[this.parent[at]] + 1;
    }
    this.end = new Int32Array(count).map((_, at) => at + 1);
    for (let at = count - 1; at > ALL; at--) {
      const parent = this.parent[at];
      if (this.end[at] > this.end[parent]) this.end[parent] = this.end[at];
    }
    this.makeLevels();
    for (const name of ["ownSamples", "ownTime", "samples", "time", "start"]) this[name] = new Float64Array(count);
  }

  /** The nodes of each depth, in the order in which they lie from left to right. */
  makeLevels() {
    let deepest = 0;
    for (const depth of this.depth) if (depth > deepest) deepest = depth;
    const ids = new Int32Array(this.count).map((_, at) => at);
    this.byLevel = countingSort(ids, this.depth, deepest + 1);
    this.levelStart = new Int32Array(deepest + 2);
    for (const depth of this.depth) this.levelStart[depth + 1]++;
    for (let at = 1; at < this.levelStart.length; at++) this.levelStart[at] += this.levelStart[at - 1];
  }

  /** Sums the leaves of the owners that `keeps` has a 1 for. */
  sum(keeps) {
    const { leaves } = this.profile;
    const { ownSamples, ownTime, samples, time, parent } = this;
    ownSamples.fill(0);
    ownTime.fill(0);
    for (let id = 0; id < leaves.count; id++) {
      if (keeps[leaves.owner[id]] === 0) continue;
      ownSamples[this.leaf[id]] += leaves.samples[id];
      ownTime[this.leaf[id]] += leaves.time[id];
    }
    samples.set(ownSamples);
    time.set(ownTime);
    this.levels = 1;
    for (let at = this.count - 1; at > ALL; at--) {
      samples[parent[at]] += samples[at];
      time[parent[at]] += time[at];
      if (samples[at] > 0 && this.depth[at] >= this.levels) this.levels = this.depth[at] + 1;
    }
  }

  /** Places the nodes from left to right: children from their parent's left edge on. Widths are of this measure. */
  place(measure) {
    this.width = measure === "time" ? this.time : this.samples;
    this.own = measure === "time" ? this.ownTime : this.ownSamples;
    const { start, width, parent } = this;
    const next = new Float64Array(this.count);
    start[ALL] = 0;
    for (let at = 1; at < this.count; at++) {
      const left = next[parent[at]];
      start[at] = left;
      next[at] = left;
      next[parent[at]] = left + width[at];
    }
    this.total = width[ALL];
  }

  /** The first place in a level, from `from` on, whose node ends right of `value`. */
  firstEndingAfter(value, from, to) {
    const { byLevel, start, width } = this;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const node = byLevel[middle];
      if (start[node] + width[node] > value) to = middle;
      else from = middle + 1;
    }
    return from;
  }

  /** The first place in a level, from `from` on, whose node starts at `value` or right of it. */
  firstStartingAt(value, from, to) {
    const { byLevel, start } = this;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (start[byLevel[middle]] >= value) to = middle;
      else from = middle + 1;
    }
    return from;
  }

  /** The node at a depth and a place, or -1. */
  at(depth, value) {
    if (depth < 0 || depth >= this.levels) return -1;
    const to = this.levelStart[depth + 1];
    const found = this.firstEndingAfter(value, this.levelStart[depth], to);
    if (found === to) return -1;
    const node = this.byLevel[found];
    return this.start[node] <= value ? node : -1;
  }

  /** From the whole to `node`. */
  path(node) {
    const path = [];
    for (let at = node; at >= 0; at = this.parent[at]) path.unshift(at);
    return path;
  }

  fn(node) {
    return node === ALL ? -1 : this.profile.classes.fnOfClass[this.cls[node]];
  }

  /** What a node is called. */
  name(node) {
    return node === ALL ? "all" : this.profile.fnName(this.fn(node));
  }
}
