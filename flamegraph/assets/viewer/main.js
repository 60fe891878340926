// From the data in the file to the first drawing.

function startGraph() {
  Object.assign(graph, { canvas: $("canvas"), stage: $("stage") });
  graph.context = graph.canvas.getContext("2d", { alpha: false });
  listenToPointer(graph.canvas);
  graph.stage.addEventListener("scroll", requestDraw, { passive: true });
  new ResizeObserver(() => !printing && resizeGraph()).observe(graph.stage);
  let layout = state.layout;
  watch("look", () => {
    applyTheme();
    if (layout !== state.layout) {
      layout = state.layout;
      scrollToRoot();
    }
    requestDraw();
  });
  watch("filter", fitContent);
  for (const what of ["view", "match"]) watch(what, requestDraw);
  watch("selection", showSelected);
}

/** For tests and for scripts of the reader: what is drawn, without a look at the pixels. */
function describe() {
  return {
    state,
    timings: app.timings,
    get total() {
      return app.total;
    },
    get share() {
      return app.share;
    },
    get drawings() {
      return graph.drawn;
    },
    get nodes() {
      return app.tree.count;
    },
    /** The frames that are drawn, at least `narrowest` pixels wide, as depth, left edge, width and name. */
    frames(narrowest = 1) {
      const { tree } = app;
      const frames = [];
      for (let node = 0; node < tree.count; node++) {
        if (tree.width[node] === 0) continue;
        const box = rectangle(node);
        const left = Math.max(0, box.left);
        const width = Math.min(graph.width, box.left + box.width) - left;
        if (width >= narrowest) frames.push({ node, depth: tree.depth[node], left, top: box.top, width, name: tree.name(node) });
      }
      return frames;
    },
    /** Draws at once; milliseconds. */
    draw() {
      const start = performance.now();
      drawNow();
      return performance.now() - start;
    },
  };
}

function start() {
  restoreTheme();
  app.profile = timed("read", () => new Profile());
  const { view } = app.profile.head;
  Object.assign(state, { layout: view.icicle ? "icicle" : "flame", direction: view.callers ? "callers" : "callees",
    measure: view.time && app.profile.time > 0 ? "time" : "samples" });
  startLink();
  readLink();
  app.palette = timed("colors", () => new Palette(app.profile, app.sums));
  applyTheme();
  startGraph();
  startTable();
  startHeader();
  startFilter();
  startKeys();
  startPrint();
  showPanel();
  tell("filter", "match", "look", "view", "selection");
  resizeGraph();
  scrollToRoot();
  drawNow();
  app.timings.ready = performance.now();
  globalThis.uniprof = describe();
}

start();
