// The keyboard, and the page that lists its keys.

const KEYS = [
  ["Frames", [
    ["click, Enter", "zoom to the frame"],
    ["Esc, Backspace", "back"],
    ["double click, 0", "the whole"],
    ["wheel", "zoom at the pointer, or scroll a tall graph; with Ctrl always zoom"],
    ["drag, Shift wheel", "move sideways"],
    ["arrows", "from frame to frame"],
    ["+  −", "closer, farther"],
  ]],
  ["Search", [
    ["/ or Ctrl F", "search functions"],
    ["x", "regular expression or plain text"],
    ["n  N", "next match, widest first; the one before"],
    ["Esc", "no highlight, no search"],
  ]],
  ["View", [
    ["i", "flame or icicle"],
    ["c", "callees or callers"],
    ["m", "samples or vCPU time"],
    ["k", "colour by module or kind"],
    ["l", "table of functions"],
    ["t", "dark or light"],
    ["?", "this page"],
  ]],
];

const NOTES = [
  "A function that the compiler inlined is in italics. Hatched frames have no name; what they show is the reason.",
  "Frames narrower than a pixel are drawn together; they are in every sum. The address holds the view: copy it to come back.",
];

function buildHelp() {
  const dialog = $("help");
  const title = element("h2", "", "Keys");
  title.id = "help-title";
  const columns = element("div", "columns");
  for (const [heading, keys] of KEYS) {
    const section = element("section");
    const list = element("dl");
    for (const [key, what] of keys) list.append(element("dt", "", key), element("dd", "", what));
    section.append(element("h3", "", heading), list);
    columns.append(section);
  }
  const close = element("button", "plain", "Close");
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(title, columns, ...NOTES.map((note) => element("p", "", note)), close);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  $("help-open").addEventListener("click", () => dialog.showModal());
}

const other = (name, a, b) => choose(name, state[name] === a ? b : a);

/** The widest child, or -1. */
function widestChild(node) {
  const { tree } = app;
  let widest = -1;
  for (let at = node + 1; at < tree.end[node]; at = tree.end[at]) {
    if (tree.width[at] > 0 && (widest < 0 || tree.width[at] > tree.width[widest])) widest = at;
  }
  return widest;
}

/** The sibling to the left or right, or the node itself. */
function sibling(node, step) {
  const { tree } = app;
  if (node === ALL) return node;
  const parent = tree.parent[node];
  let before = node;
  for (let at = parent + 1; at < tree.end[parent]; at = tree.end[at]) {
    if (tree.width[at] === 0) continue;
    if (at > node && step > 0) return at;
    if (at >= node) break;
    before = at;
  }
  return step < 0 ? before : node;
}

/** Moves the selection, and the window where it would leave it. */
function moveSelection(key) {
  const { tree } = app;
  const deeper = state.layout === "icicle" ? "ArrowDown" : "ArrowUp";
  const now = state.selected;
  let next = now;
  if (now < 0) next = state.focus;
  else if (key === "ArrowLeft") next = sibling(now, -1);
  else if (key === "ArrowRight") next = sibling(now, 1);
  else if (key === deeper) next = widestChild(now);
  else next = tree.parent[now];
  if (next < 0) return;
  const [from, to] = extent(next);
  const outside = to <= state.from || from >= state.to || ((to - from) / (state.to - state.from)) * graph.width < 3;
  if (outside) {
    const parent = Math.max(ALL, tree.parent[next]);
    const [start, end] = extent(parent);
    remember();
    show(parent, start, end, false);
  }
  select(next);
  revealRow(next);
  showTooltipOfSelected();
}

/** Esc: first an open menu, then the highlight, then the zoom, then the search, then the selection. */
function escape() {
  const menu = document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (state.pick >= 0) pick(state.pick);
  else if (state.focus !== ALL || state.from > 0 || state.to < 1) zoomBack();
  else if (state.query !== "") clearSearch();
  else select(-1);
  hideTooltip();
}

function clearSearch() {
  $("query").value = "";
  search("", state.regex);
}

const COMMANDS = {
  "?": () => $("help").showModal(),
  "/": () => $("query").select(),
  Escape: escape,
  Backspace: () => zoomBack(),
  0: () => zoomReset(),
  Home: () => zoomReset(),
  "+": () => zoomAbout(0.5, 0.6),
  "=": () => zoomAbout(0.5, 0.6),
  "-": () => zoomAbout(0.5, 1 / 0.6),
  n: () => nextMatch(1),
  N: () => nextMatch(-1),
  i: () => other("layout", "flame", "icicle"),
  c: () => other("direction", "callees", "callers"),
  m: () => app.profile.time > 0 && other("measure", "samples", "time"),
  k: () => other("color", "module", "kind"),
  x: () => search($("query").value, !state.regex),
  l: () => $("panel-toggle").click(),
  t: () => toggleTheme(),
  Enter: () => zoomTo(state.selected),
  ArrowUp: (event) => moveSelection(event.key),
  ArrowDown: (event) => moveSelection(event.key),
  ArrowLeft: (event) => moveSelection(event.key),
  ArrowRight: (event) => moveSelection(event.key),
};

function onKey(event) {
  if ($("help").open) return;
  const typing = event.target.matches?.("input");
  if ((event.ctrlKey || event.metaKey) && event.key === "f") {
    event.preventDefault();
    $("query").select();
  } else if (typing) {
    if (event.key === "Escape") {
      event.preventDefault();
      if (event.target === $("query") && state.query !== "") clearSearch();
      else event.target.blur();
    } else if (event.key === "Enter" && event.target === $("query")) nextMatch(event.shiftKey ? -1 : 1);
  } else if (!event.ctrlKey && !event.metaKey && !event.altKey && Object.hasOwn(COMMANDS, event.key)) {
    // Enter and arrows belong to a button or a menu that has the focus.
    if (/^(Enter|Arrow)/.test(event.key) && event.target !== graph.canvas && event.target !== document.body) return;
    event.preventDefault();
    COMMANDS[event.key](event);
  }
}

function startKeys() {
  buildHelp();
  addEventListener("keydown", onKey);
  $("skip").addEventListener("click", (event) => {
    event.preventDefault();
    graph.canvas.focus();
  });
}
