// The flame graph: one canvas as large as its window, drawn from the levels of the tree.
//
// Of each level only what is in view is looked at, and of nodes narrower than a pixel only one a pixel: a drawing costs
// by the size of the window, not of the profile. Narrow frames are pixels of a small picture, one row a level, which is
// stretched to the height of a level.

const ROW = 20;
const FONT_SIZE = 12;
const FONT = `${FONT_SIZE}px system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif`;
// Narrower frames are set as pixels, of which thousands cost less than as many rectangles.
const PIXEL_WIDTH = 6;
// Narrower frames have no text.
const TEXT_WIDTH = 26;
// Longer labels fit no window.
const LABEL_LIMIT = 400;

const graph = { canvas: null, context: null, stage: null, width: 0, height: 0, ratio: 1, fromBottom: 0, pending: false, drawn: 0 };
const labels = new Map();
const widths = new Map();

function contentHeight() {
  return Math.max(app.tree.levels * ROW + 8, graph.height);
}

/** The upper edge of a level, from the top of the scrolled content. */
function levelTop(depth) {
  return state.layout === "icicle" ? depth * ROW : contentHeight() - (depth + 1) * ROW;
}

function depthAt(y) {
  return Math.floor((state.layout === "icicle" ? y : contentHeight() - y) / ROW);
}

/** Fits the canvas to its window. */
function resizeGraph() {
  const { stage, canvas } = graph;
  const width = stage.clientWidth;
  const height = stage.clientHeight;
  const ratio = window.devicePixelRatio || 1;
  if (width === graph.width && height === graph.height && ratio === graph.ratio) return;
  Object.assign(graph, { width, height, ratio });
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  fitContent();
  drawNow();
}

/** Makes the scrolled content as high as the tree. A root at the bottom stays as far from there as it was drawn last, whatever
    the browser has scrolled since, because the window or the content became higher or lower. */
function fitContent() {
  const { stage, fromBottom } = graph;
  $("space").style.height = `${contentHeight()}px`;
  if (state.layout === "flame") stage.scrollTop = stage.scrollHeight - graph.height - fromBottom;
}

/** To where the root is. */
function scrollToRoot() {
  fitContent();
  graph.stage.scrollTop = state.layout === "icicle" ? 0 : graph.stage.scrollHeight;
}

/** Scrolls so far that the row of a node is in view. */
function revealRow(node) {
  const { stage } = graph;
  const top = levelTop(app.tree.depth[node]);
  if (top < stage.scrollTop) stage.scrollTop = top - ROW;
  else if (top + ROW > stage.scrollTop + graph.height) stage.scrollTop = top + 2 * ROW - graph.height;
}

function requestDraw() {
  if (graph.pending) return;
  graph.pending = true;
  requestAnimationFrame(drawNow);
}

function drawNow() {
  graph.pending = false;
  if (!app.tree || graph.width === 0 || printing) return;
  timed("draw", () =>
    paint({ context: graph.context, width: graph.width, height: graph.height, top: graph.stage.scrollTop, ratio: graph.ratio }));
  graph.drawn++;
  graph.fromBottom = graph.stage.scrollHeight - graph.stage.scrollTop - graph.height;
}

/** Draws what of the graph is between `top` and `top + height` of its content. */
function paint(view) {
  const { context, width, height, top, ratio } = view;
  const { tree } = app;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = app.palette.theme.paper;
  context.fillRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  context.direction = "ltr";
  if (tree.total === 0) return;
  const span = (zoom.to - zoom.from) * tree.total;
  const part = { ...view, left: zoom.from * tree.total, right: zoom.to * tree.total, scale: width / span };
  const depths = [depthAt(top), depthAt(top + height)].sort((a, b) => a - b);
  const first = Math.max(0, depths[0]);
  const last = Math.min(tree.levels - 1, depths[1]);
  if (last < first) return;
  const columns = Math.round(width * ratio);
  const picture = new ImageData(columns, last - first + 1);
  const pixels = new Uint32Array(picture.data.buffer);
  const wide = [];
  for (let depth = first; depth <= last; depth++) {
    const row = (depth - first) * columns;
    scanLevel(part, depth, pixels.subarray(row, row + columns), wide);
  }
  stretch(part, picture, first);
  for (const node of wide) paintFrame(part, node);
  outline(part, state.hover, 1);
  outline(part, state.selected, 2);
}

/** Sets the narrow frames of a level as pixels, and lists the wide ones. */
function scanLevel(part, depth, pixels, wide) {
  const { tree } = app;
  const { byLevel, start, width } = tree;
  const to = tree.levelStart[depth + 1];
  const scale = part.scale * part.ratio;
  const narrow = PIXEL_WIDTH * part.ratio;
  let at = tree.firstEndingAfter(part.left, tree.levelStart[depth], to);
  while (at < to) {
    const node = byLevel[at];
    if (start[node] >= part.right) break;
    const left = (start[node] - part.left) * scale;
    const span = width[node] * scale;
    let next = at + 1;
    if (span >= narrow) wide.push(node);
    else if (span >= 1) {
      // A pixel between neighbours where there is room.
      pixels.fill(pixelOf(node, at, next), Math.max(0, Math.round(left)), Math.round(left + span) - (span > 3 ? 1 : 0));
    } else {
      const pixel = Math.floor(left);
      next = tree.firstStartingAt(part.left + (pixel + 1) / scale, next, to);
      // The last one that starts in this pixel can be wide.
      if (next - 1 > at && width[byLevel[next - 1]] * scale >= 1) next--;
      if (pixel >= 0 && pixel < pixels.length) pixels[pixel] = pixelOf(node, at, next);
    }
    at = next;
  }
}

/** The pixel for the nodes at these places of a level: that of the first one, or of a match among them. */
function pixelOf(node, at, next) {
  const { palette } = app;
  if (app.matched === null) return palette.pixel(palette.fill(app.tree, node, false));
  const hit = app.matchCounts[next] > app.matchCounts[at];
  return palette.pixel(hit ? palette.theme.match : palette.fill(app.tree, node, true));
}

/** Draws each row of the picture as high as a level. */
function stretch(part, picture, first) {
  const { context, width, top } = part;
  graph.pixels ??= document.createElement("canvas");
  const { pixels } = graph;
  if (pixels.width < picture.width || pixels.height < picture.height) {
    pixels.width = picture.width;
    pixels.height = picture.height;
  }
  pixels.getContext("2d").putImageData(picture, 0, 0);
  context.imageSmoothingEnabled = false;
  for (let row = 0; row < picture.height; row++) {
    context.drawImage(pixels, 0, row, picture.width, 1, 0, levelTop(first + row) - top, width, ROW - 1);
  }
}

function isDim(node) {
  return app.matched !== null && (node === ALL || app.matched[app.tree.fn(node)] === 0);
}

function paintFrame(part, node) {
  const { context, ratio } = part;
  const left = (app.tree.start[node] - part.left) * part.scale;
  const wide = app.tree.width[node] * part.scale;
  const y = levelTop(app.tree.depth[node]) - part.top;
  const { theme } = app.palette;
  const dim = isDim(node);
  const hit = app.matched !== null && !dim;
  // On whole device pixels, with one between neighbours.
  const from = Math.round(Math.max(left, -2) * ratio) / ratio;
  const to = Math.round(Math.min(left + wide, part.width + 2) * ratio) / ratio;
  const gap = 1 / ratio;
  context.fillStyle = hit ? theme.match : app.palette.fill(app.tree, node, dim);
  context.fillRect(from, y, to - from - gap, ROW - 1);
  if (app.palette.isUnknown(app.tree, node)) {
    context.fillStyle = app.palette.hatch(context, ratio);
    context.fillRect(from, y, to - from - gap, ROW - 1);
  }
  const visible = Math.min(to, part.width) - Math.max(from, 0);
  if (visible < TEXT_WIDTH) return;
  const inlined = node !== ALL && app.profile.frames.inlined[app.tree.frame[node]] === 1;
  context.font = inlined ? `italic ${FONT}` : FONT;
  const text = fitted(context, node, visible - 10, inlined);
  if (text === "") return;
  context.fillStyle = hit ? theme.matchText : dim ? theme.dimText : theme.text;
  context.fillText(text, Math.max(from, 0) + 5, y + ROW / 2);
}

function outline(part, node, weight) {
  if (node < 0 || app.tree.width[node] === 0) return;
  const left = (app.tree.start[node] - part.left) * part.scale;
  const wide = app.tree.width[node] * part.scale;
  if (left + wide < 0 || left > part.width) return;
  const { context } = part;
  const from = Math.max(left, 0);
  const to = Math.min(left + Math.max(wide, 2), part.width);
  context.strokeStyle = app.palette.theme.edge;
  context.lineWidth = weight;
  context.strokeRect(from + weight / 2, levelTop(app.tree.depth[node]) - part.top + weight / 2,
    Math.max(to - from - weight, 0.5), ROW - 1 - weight);
}

function textWidth(context, text, slanted) {
  const key = slanted ? `\u0000${text}` : text;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 50000) widths.clear();
    width = context.measureText(text).width;
    widths.set(key, width);
  }
  return width;
}

/** A node's label, and shorter forms of it. */
function labelForms(node) {
  if (node === ALL) return [`all · ${app.profile.counted(app.total.samples)}`, "all"];
  const fn = app.tree.fn(node);
  let forms = labels.get(fn);
  if (forms === undefined) {
    const name = app.profile.fnName(fn);
    const tail = name.length > 4096 ? name : tailOf(name, 2);
    const last = name.length > 4096 ? name : tailOf(name, 1);
    forms = [...new Set([name, tail, last].map((form) => clipped(form, LABEL_LIMIT)))];
    labels.set(fn, forms);
  }
  return forms;
}

/** The longest form of a node's label that fits, or the start of the shortest. */
function fitted(context, node, room, slanted) {
  const forms = labelForms(node);
  for (const form of forms) if (textWidth(context, form, slanted) <= room) return form;
  const text = forms[forms.length - 1];
  let length = Math.floor((room / textWidth(context, text, slanted)) * text.length);
  for (; length > 1; length--) {
    // Not in the middle of a pair of surrogates.
    if ((text.charCodeAt(length - 1) & 0xfc00) === 0xd800) continue;
    const start = `${text.slice(0, length)}…`;
    if (context.measureText(start).width <= room) return start;
  }
  return "";
}

/** The node at a point of the canvas, or -1. */
function nodeAt(x, y) {
  if (!app.tree || app.tree.total === 0) return -1;
  const value = (zoom.from + (x / graph.width) * (zoom.to - zoom.from)) * app.tree.total;
  return app.tree.at(depthAt(y + graph.stage.scrollTop), value);
}

/** Where a node is on the canvas. */
function rectangle(node) {
  const span = (zoom.to - zoom.from) * app.tree.total;
  const left = ((app.tree.start[node] - zoom.from * app.tree.total) / span) * graph.width;
  const width = (app.tree.width[node] / span) * graph.width;
  return { left, width, top: levelTop(app.tree.depth[node]) - graph.stage.scrollTop, height: ROW };
}
