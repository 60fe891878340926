// On paper: all levels of what is in view, light, on one page where that can be read, and the first functions of the table.

// Pixels of a line on landscape A4 at 96 dpi, less margins.
const PAPER_WIDTH = 1040;
// What the heading leaves of its height, and how much smaller a graph is drawn to fit into that.
const PAPER_HEIGHT = 520;
const SMALLEST = 2;
// No browser draws canvases of any height.
const TALLEST = 12000;
const PRINTED_ROWS = 40;

let printing = false;

/** How many levels have a frame in view. */
function levelsInView() {
  const { tree } = app;
  const [left, right] = [zoom.from * tree.total, zoom.to * tree.total];
  let levels = 1;
  for (let node = 0; node < tree.count; node++) {
    const { start, width, depth } = tree;
    const seen = width[node] > 0 && start[node] < right && start[node] + width[node] > left;
    if (seen && depth[node] >= levels) levels = depth[node] + 1;
  }
  return levels;
}

function startPrinting() {
  if (printing || !app.tree) return;
  printing = true;
  const { canvas, context } = graph;
  const height = Math.min(levelsInView() * ROW + 8, TALLEST / 2);
  const smaller = Math.min(SMALLEST, Math.max(1, height / PAPER_HEIGHT));
  const width = PAPER_WIDTH * smaller;
  const content = contentHeight();
  graph.kept = { width: canvas.style.width, height: canvas.style.height };
  canvas.width = width * 2;
  canvas.height = height * 2;
  canvas.style.width = `${PAPER_WIDTH}px`;
  canvas.style.height = `${height / smaller}px`;
  app.palette.use(state.color, THEMES.light);
  const { hover, selected } = state;
  Object.assign(state, { hover: -1, selected: -1 });
  paint({ context, width, height, top: state.layout === "icicle" ? 0 : content - height, ratio: 2 });
  Object.assign(state, { hover, selected });
  showLegend();
  showPrintedTable();
}

function showPrintedTable() {
  const { own, total } = columns();
  const whole = app.total[state.measure];
  const rows = table.list.slice(0, PRINTED_ROWS).map((fn) => {
    const row = element("tr");
    const cells = [percent(own[fn] / whole), percent(total[fn] / whole)].map((text) => element("td", "number", text));
    row.append(...cells, element("td", "", clipped(app.profile.fnName(fn), 160)));
    return row;
  });
  const head = element("tr");
  head.append(...["Self", "Total", "Function"].map((text) => element("th", "", text)));
  const list = element("table");
  list.append(head, ...rows);
  $("print-table").replaceChildren(list);
}

function stopPrinting() {
  if (!printing) return;
  printing = false;
  graph.canvas.style.width = graph.kept.width;
  graph.canvas.style.height = graph.kept.height;
  // Sizes that differ from any make it fit anew.
  graph.width = 0;
  $("print-table").replaceChildren();
  applyTheme();
  resizeGraph();
  tell("look");
}

function startPrint() {
  addEventListener("beforeprint", startPrinting);
  addEventListener("afterprint", stopPrinting);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? startPrinting() : stopPrinting()));
}
