// Zoom: which part of the whole is in view, the way back, and the gestures that change it.

// No closer than this part of the whole.
const CLOSEST = 1e-9;
const GLIDE_MS = 170;
const HISTORY = 200;

/** What is drawn just now; it glides to what `state` asks for. */
const zoom = { from: 0, to: 1, history: [], animation: 0 };
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function forgetZoom() {
  zoom.history = [];
}

function remember() {
  zoom.history.push({ focus: state.focus, from: state.from, to: state.to });
  if (zoom.history.length > HISTORY) zoom.history.shift();
}

/** The part of the whole that a node is. */
function extent(node) {
  const { start, width, total } = app.tree;
  return total === 0 || node === ALL ? [0, 1] : [start[node] / total, (start[node] + width[node]) / total];
}

function show(focus, from, to, glide = true) {
  Object.assign(state, { focus, from, to });
  cancelAnimationFrame(zoom.animation);
  if (!glide || calm.matches) {
    Object.assign(zoom, { from, to });
  } else {
    const start = performance.now();
    const first = { from: zoom.from, to: zoom.to };
    const step = (now) => {
      const done = Math.min(1, Math.max(0, (now - start) / GLIDE_MS));
      const eased = 1 - (1 - done) ** 3;
      zoom.from = first.from + (from - first.from) * eased;
      zoom.to = first.to + (to - first.to) * eased;
      if (done < 1) zoom.animation = requestAnimationFrame(step);
      drawNow();
    };
    zoom.animation = requestAnimationFrame(step);
  }
  tell("view");
}

/** Makes a node as wide as the window. */
function zoomTo(node) {
  if (node < 0 || app.tree.width[node] === 0) return;
  const [from, to] = extent(node);
  if (state.focus === node && state.from === from && state.to === to) return;
  remember();
  show(node, from, to);
}

function zoomBack() {
  const last = zoom.history.pop();
  if (last) show(last.focus, last.from, last.to);
  else if (state.from > 0 || state.to < 1) show(ALL, 0, 1);
}

function zoomReset() {
  if (state.from === 0 && state.to === 1 && state.focus === ALL) return;
  remember();
  show(ALL, 0, 1);
}

/** After a change of the tree: the same node again, if it is still there. */
function refocus() {
  forgetZoom();
  if (app.tree.width[state.focus] === 0) state.focus = ALL;
  const [from, to] = extent(state.focus);
  show(state.focus, from, to, false);
}

/** Shows this part of the whole; the focus is the deepest node that fills it. */
function showPart(from, to) {
  const span = Math.min(1, Math.max(CLOSEST, to - from));
  const left = Math.min(Math.max(0, from), 1 - span);
  const { tree } = app;
  let focus = ALL;
  for (let depth = 1; depth < tree.levels; depth++) {
    const node = tree.at(depth, (left + span / 2) * tree.total);
    if (node < 0) break;
    const [start, end] = extent(node);
    if (start > left + span * 1e-6 || end < left + span * (1 - 1e-6)) break;
    focus = node;
  }
  show(focus, left, left + span, false);
}

/** Zooms about a point (0 to 1 of the window); below 1 `factor` goes closer. */
function zoomAbout(point, factor) {
  const span = Math.min(1, Math.max(CLOSEST, (state.to - state.from) * factor));
  const at = state.from + (state.to - state.from) * point;
  showPart(at - span * point, at + span * (1 - point));
}

function onWheel(event) {
  const scrolls = graph.stage.scrollHeight > graph.stage.clientHeight + 1;
  const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    const shift = (sideways / graph.width) * (state.to - state.from);
    if (state.to - state.from < 1) showPart(state.from + shift, state.to + shift);
  } else if (event.ctrlKey || event.metaKey || !scrolls) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    const amount = Math.max(-120, Math.min(120, event.deltaY * lines));
    zoomAbout(event.offsetX / graph.width, Math.exp(amount * (event.ctrlKey ? 0.006 : 0.003)));
  }
}

/** Click, double click and drag on the canvas. */
function listenToPointer(canvas) {
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drag = { x: event.clientX, y: event.clientY, from: state.from, to: state.to, top: graph.stage.scrollTop, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return hoverAt(event);
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < 5) return undefined;
    drag.moved = true;
    canvas.classList.add("dragging");
    hideTooltip();
    graph.stage.scrollTop = drag.top - dy;
    const shift = (-dx / graph.width) * (drag.to - drag.from);
    if (drag.to - drag.from < 1) showPart(drag.from + shift, drag.to + shift);
    return undefined;
  });
  const finish = (event, clicked) => {
    canvas.classList.remove("dragging");
    const wasClick = drag && !drag.moved && clicked;
    drag = null;
    if (!wasClick) return;
    const node = nodeAt(event.offsetX, event.offsetY);
    select(node);
    if (node >= 0) zoomTo(node);
  };
  canvas.addEventListener("pointerup", (event) => finish(event, true));
  canvas.addEventListener("pointercancel", (event) => finish(event, false));
  canvas.addEventListener("pointerleave", () => {
    if (drag) return;
    state.hover = -1;
    hideTooltip();
    requestDraw();
  });
  canvas.addEventListener("dblclick", () => {
    forgetZoom();
    show(ALL, 0, 1);
    select(-1);
  });
  canvas.addEventListener("wheel", onWheel, { passive: false });
}

function hoverAt(event) {
  const node = nodeAt(event.offsetX, event.offsetY);
  if (node !== state.hover) {
    state.hover = node;
    requestDraw();
  }
  if (node >= 0) showTooltip(node, event.clientX, event.clientY);
  else hideTooltip();
}
