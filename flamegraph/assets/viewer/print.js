// On paper: the whole height of the graph, light, and the first functions of the table.

// Pixels of a line on landscape A4 at 96 dpi, less margins.
const PAPER_WIDTH = 1040;
// No browser draws canvases of any height.
const TALLEST = 12000;
const PRINTED_ROWS = 40;

let printing = false;

function startPrinting() {
  if (printing || !app.tree) return;
  printing = true;
  const { canvas, context } = graph;
  const height = Math.min(app.tree.levels * ROW + 8, TALLEST / 2);
  const content = contentHeight();
  graph.kept = { width: canvas.style.width, height: canvas.style.height };
  canvas.width = PAPER_WIDTH * 2;
  canvas.height = height * 2;
  canvas.style.width = `${PAPER_WIDTH}px`;
  canvas.style.height = `${height}px`;
  app.palette.use(state.color, THEMES.light);
  const shown = state.hover;
  state.hover = -1;
  paint({ context, width: PAPER_WIDTH, height, top: state.layout === "icicle" ? 0 : content - height, ratio: 2 });
  state.hover = shown;
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
