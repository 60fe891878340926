// What is known of one frame: at the pointer, or at the frame that the keyboard is on.

// Names can be of any length; this much can be read.
const NAME_LIMIT = 700;

/** Names every way in which the merged frames of a node were found. */
function foundWords(node) {
  return FOUND.filter((_, found) => app.tree.found[node] & (1 << found)).join(", ");
}

function tooltipFacts(node) {
  const { profile, tree } = app;
  const frame = tree.frame[node];
  const facts = [];
  const place = profile.place(frame);
  const many = tree.mixed[node];
  if (place !== "") facts.push(["source", many & 1 ? `${place} and other lines` : place]);
  const image = profile.imageName(frame);
  if (image !== "") facts.push(["image", image]);
  if (profile.fnKind(tree.fn(node)) === KIND.UNKNOWN) {
    const address = profile.address(frame);
    if (address !== "") facts.push(["address", many & 2 ? `${address} and others` : address]);
  }
  if (profile.fnKind(tree.fn(node)) !== KIND.THREAD && profile.fnKind(tree.fn(node)) !== KIND.NOTE) facts.push(["found by", foundWords(node)]);
  return facts;
}

function amountRow(label, samples, time) {
  const row = element("tr");
  row.append(element("th", "", label));
  const cells = [grouped(samples), percent(samples / app.total.samples)];
  if (app.profile.time > 0) cells.push(app.profile.weighed(time), percent(time / app.total.time));
  row.append(...cells.map((text) => element("td", "", text)));
  return row;
}

function amounts(node) {
  const { tree } = app;
  const table = element("table");
  const head = element("tr");
  head.append(element("th"));
  const { several, weight } = app.profile.head.measured;
  for (const name of app.profile.time > 0 ? [several, weight] : [several]) {
    const cell = element("th", "", name);
    cell.colSpan = 2;
    head.append(cell);
  }
  table.append(head);
  if (node !== ALL && state.direction === "callees") table.append(amountRow("self", tree.ownSamples[node], tree.ownTime[node]));
  table.append(amountRow("total", tree.samples[node], tree.time[node]));
  return table;
}

function fillTooltip(box, node) {
  const { profile, tree } = app;
  const name = element("div", "name", clipped(tree.name(node), NAME_LIMIT));
  const parts = [name];
  if (node !== ALL) {
    const marks = element("div", "marks");
    const kind = profile.fnKind(tree.fn(node));
    if (kind === KIND.THREAD) marks.append(element("span", "mark", "thread"));
    if (kind === KIND.NOTE) marks.append(element("span", "mark", "no code"));
    if (kind === KIND.UNKNOWN) marks.append(element("span", "mark warn", "no name"));
    if (profile.frames.inlined[tree.frame[node]]) marks.append(element("span", "mark", "inlined"));
    if (marks.childElementCount > 0) parts.push(marks);
    const facts = element("dl");
    for (const [term, value] of tooltipFacts(node)) facts.append(element("dt", "", term), element("dd", "", value));
    parts.push(facts);
  }
  box.replaceChildren(...parts, amounts(node));
}

function showTooltip(node, x, y) {
  const box = $("tooltip");
  if (box.hidden || box.node !== node || box.tree !== app.tree) {
    fillTooltip(box, node);
    box.node = node;
    box.tree = app.tree;
    box.hidden = false;
  }
  const { offsetWidth, offsetHeight } = box;
  const left = x + 14 + offsetWidth > innerWidth - 8 ? x - 14 - offsetWidth : x + 14;
  const top = y + 18 + offsetHeight > innerHeight - 8 ? y - 12 - offsetHeight : y + 18;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${Math.max(8, top)}px`;
}

function hideTooltip() {
  $("tooltip").hidden = true;
}

/** One sentence of a node, for those who don't see the graph. */
function spoken(node) {
  const { tree, profile } = app;
  const { several, weight } = profile.head.measured;
  return `${clipped(tree.name(node), 200)}, depth ${tree.depth[node]}, ${profile.counted(tree.samples[node])}, ` +
    `${percent(tree.width[node] / tree.total)} of ${state.measure === "time" ? weight : several}`;
}

function showSelected() {
  const node = state.selected;
  requestDraw();
  if (node < 0) {
    $("live").textContent = "";
    return;
  }
  $("live").textContent = spoken(node);
}

/** The tooltip of the selected frame, beside it; for moves by the keyboard. */
function showTooltipOfSelected() {
  const node = state.selected;
  if (node < 0) return hideTooltip();
  const box = rectangle(node);
  const stage = graph.canvas.getBoundingClientRect();
  const x = Math.min(Math.max(box.left, 0), graph.width - 20);
  return showTooltip(node, stage.left + x, stage.top + box.top + 6);
}
