// The table of functions. Only the rows in view are in the document, so that 100,000 of them scroll as ten do.

const TABLE_ROW = 24;
// Rows beyond the edges, so that scrolling shows no gaps.
const SPARE = 8;

const table = { list: [], first: -1, last: -1 };

function columns() {
  return state.measure === "time" ? { own: app.sums.ownTime, total: app.sums.time } : { own: app.sums.ownSamples, total: app.sums.samples };
}

/** The functions to be listed: those that match the search, sorted. */
function listRows() {
  const { own, total } = columns();
  // By name is by number: the file has them sorted.
  const order = { own: (a, b) => own[a] - own[b] || total[a] - total[b], total: (a, b) => total[a] - total[b] || own[a] - own[b],
    name: (a, b) => a - b }[state.sort];
  const keep = (fn) => state.pick >= 0 || !app.matched || app.matched[fn] === 1;
  const sign = state.ascending ? 1 : -1;
  table.list = listFunctions(app.profile, app.sums).filter(keep).sort((a, b) => sign * order(a, b) || a - b);
}

function amountCell(value, whole) {
  const cell = element("td", "number");
  const share = whole > 0 ? value / whole : 0;
  const bar = element("span", "amount", percent(share));
  bar.style.setProperty("--share", `${(share * 100).toFixed(2)}%`);
  cell.append(bar);
  cell.title = state.measure === "time" ? app.profile.weighed(value) : app.profile.counted(value);
  return cell;
}

/** What stands before the short form of a name. */
function pathBefore(name) {
  const short = shortName(name);
  return name.endsWith(short) ? clipped(name.slice(0, name.length - short.length).replace(/::$/, ""), 200) : "";
}

function tableRow(fn, index) {
  const { profile, palette } = app;
  const { own, total } = columns();
  const whole = app.total[state.measure];
  const row = element("tr");
  row.dataset.fn = fn;
  row.setAttribute("aria-rowindex", index + 2);
  if (fn === state.pick) row.setAttribute("aria-selected", "true");
  const name = element("td", "function");
  const chip = element("i", profile.fnKind(fn) === KIND.UNKNOWN ? "chip hatched" : "chip");
  chip.style.background = palette.shade(groupOfFn(fn), palette.variation[fn], false);
  const path = pathBefore(profile.fnName(fn));
  name.title = [clipped(profile.fnName(fn), 1000), profile.place(profile.classes.frameOfFn[fn])].filter(Boolean).join("\n");
  name.append(chip, element("bdi", "", shortName(profile.fnName(fn))));
  if (path) name.append(element("bdi", "path", path));
  row.append(amountCell(own[fn], whole), amountCell(total[fn], whole), name);
  return row;
}

/** The group whose colour stands for a function: with colours by kind, that of its first frame. */
function groupOfFn(fn) {
  const { palette, profile } = app;
  if (palette.mode === "module") return palette.byModule.ofFn[fn];
  const frame = profile.classes.frameOfFn[fn];
  if (profile.fnKind(fn) === KIND.UNKNOWN) return FOUND.length + 1;
  return profile.frames.inlined[frame] ? 1 : profile.frames.found[frame];
}

function spacer(rows) {
  const row = element("tr", "spacer");
  row.setAttribute("aria-hidden", "true");
  const cell = element("td");
  cell.colSpan = 3;
  cell.style.height = `${rows * TABLE_ROW}px`;
  row.append(cell);
  return row;
}

function drawRows(always) {
  const view = $("rows");
  if (!state.panel || view.clientHeight === 0) return;
  const first = Math.max(0, Math.floor(view.scrollTop / TABLE_ROW) - SPARE);
  const last = Math.min(table.list.length, Math.ceil((view.scrollTop + view.clientHeight) / TABLE_ROW) + SPARE);
  if (!always && first === table.first && last === table.last) return;
  Object.assign(table, { first, last });
  const rows = table.list.slice(first, last).map((fn, at) => tableRow(fn, first + at));
  const body = view.querySelector("tbody");
  body.replaceChildren(spacer(first), ...rows, spacer(table.list.length - last));
  if (table.list.length === 0) {
    const row = element("tr", "none");
    const cell = element("td", "", "No function matches.");
    cell.colSpan = 3;
    row.append(cell);
    body.replaceChildren(row);
  }
}

function refreshTable() {
  listRows();
  const view = $("rows");
  view.querySelector("table").setAttribute("aria-rowcount", table.list.length + 1);
  for (const button of view.querySelectorAll("[data-sort]")) {
    const active = button.dataset.sort === state.sort;
    const direction = state.ascending ? "ascending" : "descending";
    button.closest("th").setAttribute("aria-sort", active ? direction : "none");
  }
  drawRows(true);
}

function sortBy(column) {
  if (state.sort === column) state.ascending = !state.ascending;
  else Object.assign(state, { sort: column, ascending: column === "name" });
  $("rows").scrollTop = 0;
  refreshTable();
}

/** The highlighted row, or the first, moves by `step`. */
function moveRow(step) {
  if (table.list.length === 0) return;
  const now = table.list.indexOf(state.pick);
  const next = Math.min(table.list.length - 1, Math.max(0, now < 0 ? 0 : now + step));
  const view = $("rows");
  const top = next * TABLE_ROW;
  if (top < view.scrollTop) view.scrollTop = top;
  else if (top + 2 * TABLE_ROW > view.scrollTop + view.clientHeight) view.scrollTop = top + 2 * TABLE_ROW - view.clientHeight;
  if (table.list[next] !== state.pick) pick(table.list[next]);
}

/** Between graph and table: dragged, or moved by arrow keys. */
function listenToGrip() {
  const grip = $("grip");
  const panel = $("panel");
  const set = (width) => {
    panel.style.width = `${Math.round(Math.min(innerWidth * 0.8, Math.max(220, width)))}px`;
  };
  grip.addEventListener("pointerdown", (event) => {
    grip.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  grip.addEventListener("pointermove", (event) => {
    if (grip.hasPointerCapture(event.pointerId)) set(innerWidth - event.clientX);
  });
  grip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: 24, ArrowRight: -24 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    set(panel.offsetWidth + step);
  });
}

function showPanel() {
  document.body.classList.toggle("no-panel", !state.panel);
  $("panel-toggle").setAttribute("aria-pressed", state.panel);
  drawRows(true);
}

function startTable() {
  const view = $("rows");
  view.addEventListener("scroll", () => drawRows(false), { passive: true });
  new ResizeObserver(() => drawRows(false)).observe(view);
  view.addEventListener("click", (event) => {
    const button = event.target.closest("[data-sort]");
    const row = event.target.closest("tr[data-fn]");
    if (button) sortBy(button.dataset.sort);
    else if (row) pick(Number(row.dataset.fn));
  });
  view.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20 }[event.key];
    if (!step || event.target !== view) return;
    event.preventDefault();
    event.stopPropagation();
    moveRow(step);
  });
  listenToGrip();
  $("panel-toggle").addEventListener("click", () => {
    state.panel = !state.panel;
    showPanel();
    tell("look");
  });
  watch("filter", refreshTable);
  watch("match", refreshTable);
  watch("look", () => drawRows(true));
}
