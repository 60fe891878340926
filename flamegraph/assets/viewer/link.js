// The view as a part of the address after `#`, so that it can be sent, kept and opened again.

const LINKED = { layout: ["flame", "icicle"], direction: ["callees", "callers"], measure: ["samples", "time"], color: ["module", "kind"] };

let defaults = {};
let writing = 0;

function linkOf() {
  const link = new URLSearchParams();
  for (const name of Object.keys(LINKED)) if (state[name] !== defaults[name]) link.set(name, state[name]);
  if (state.query) link.set("search", state.query);
  if (state.regex) link.set("regex", "1");
  if (state.pick >= 0) link.set("function", state.pick);
  if (state.threads) link.set("threads", [...state.threads].join(","));
  if (state.vcpus) link.set("vcpus", [...state.vcpus].join(","));
  if (state.focus !== ALL) link.set("at", state.focus);
  const [from, to] = extent(state.focus);
  if (state.from !== from || state.to !== to) link.set("part", `${state.from},${state.to}`);
  if (!state.panel) link.set("table", "0");
  return link.toString();
}

/** Puts the view into the address, but not with every step of a gesture: browsers limit that. */
function writeLink() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const link = linkOf();
    if (location.hash.slice(1) !== link) history.replaceState(null, "", `#${link}`);
  }, 250);
}

function numbers(text, known) {
  if (text === null) return null;
  const listed = text.split(",").filter((one) => /^\d+$/.test(one)).map(Number).filter((one) => known.has(one));
  return text === "" || listed.length > 0 ? new Set(listed) : null;
}

/** Takes what the address says; whatever is not understood is left out. */
function readLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  for (const [name, values] of Object.entries(LINKED)) {
    const value = link.get(name);
    state[name] = values.includes(value) ? value : defaults[name];
  }
  if (app.profile.time === 0) state.measure = "samples";
  const { owners } = app.profile.head;
  state.threads = numbers(link.get("threads"), new Set(owners.map(([thread]) => thread)));
  state.vcpus = numbers(link.get("vcpus"), new Set(owners.map(([, vcpu]) => vcpu)));
  state.query = (link.get("search") ?? "").slice(0, 2000);
  state.regex = link.get("regex") === "1";
  const fn = Number(link.get("function") ?? -1);
  state.pick = Number.isInteger(fn) && fn >= 0 && fn < app.profile.classes.fnCount ? fn : -1;
  state.panel = link.get("table") !== "0" && (link.get("table") === "1" || innerWidth >= 900);
  state.selected = state.hover = -1;
  recompute();
  const at = Number(link.get("at") ?? ALL);
  state.focus = Number.isInteger(at) && at > 0 && at < app.tree.count ? at : ALL;
  refocus();
  const part = (link.get("part") ?? "").split(",").map(Number);
  if (part.length === 2 && part.every((one) => one >= 0 && one <= 1) && part[0] < part[1]) {
    show(state.focus, part[0], part[1], false);
  }
  rematch();
}

function startLink() {
  for (const name of Object.keys(LINKED)) defaults[name] = state[name];
  for (const what of ["filter", "match", "view", "look"]) watch(what, writeLink);
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) === linkOf() || location.hash === "#stage") return;
    readLink();
    showPanel();
    tell("filter", "match", "look", "view", "selection");
  });
}
