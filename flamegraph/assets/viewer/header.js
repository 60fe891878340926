// What the profile says of itself, the path to the zoomed frame, and the legend.

function fact(term, value, { title = "", tone = "" } = {}) {
  const group = element("div", tone);
  group.append(element("dt", "", term), element("dd", "", value));
  if (title) group.title = title;
  return group;
}

function lossFact(loss, samples) {
  if (!loss) return fact("Lost", "not measured", { tone: "warn", title: "The recording does not say whether any were lost" });
  const causes = loss.filter(([, count]) => count > 0);
  const lost = causes.reduce((sum, [, count]) => sum + count, 0);
  if (lost === 0) return fact("Lost", "none", { tone: "good", title: "Everything that the guest recorded of this is here" });
  const words = causes.map(([cause, count]) => `${cause} ${grouped(count)}`).join(", ");
  return fact("Lost", `${grouped(lost)} (${percent(lost / (lost + samples))}): ${words}`, { tone: "warn" });
}

function showFacts() {
  const { head, samples, time } = app.profile;
  $("guest").textContent = head.guest || "unnamed guest";
  const { several, weight } = head.measured;
  const facts = [fact(capitalized(several), grouped(samples))];
  if (head.rate !== null) facts.push(fact("Rate", `${+head.rate.toFixed(2)} Hz`, { title: "Per vCPU" }));
  if (head.seconds !== null) facts.push(fact("Duration", `${+head.seconds.toFixed(2)} s`));
  if (time > 0) facts.push(fact(capitalized(weight), app.profile.weighed(time), { title: `What the ${several} stand for` }));
  facts.push(lossFact(head.loss, samples));
  if (head.ownCost !== null) {
    facts.push(fact("Own cost", percent(head.ownCost), { title: "The profiler's share of vCPU time, measured in the guest" }));
  }
  if (head.buildId) facts.push(fact("Build-id", clipped(head.buildId, 13), { title: clipped(head.buildId, 200) }));
  $("facts").replaceChildren(...facts);
  $("notes").replaceChildren(...head.notes.map((note) => element("li", "", clipped(note, 500))));
}

/** How much of the whole the chosen threads and vCPUs are. */
function showFiltered() {
  const dd = $("facts").querySelector("dd");
  const all = app.profile.samples;
  dd.textContent = app.total.samples === all ? grouped(all) : `${grouped(app.total.samples)} of ${grouped(all)}`;
}

function crumb(node, last) {
  const item = element("button", "crumb", shortName(app.tree.name(node)));
  item.type = "button";
  item.title = clipped(app.tree.name(node), 500);
  if (last) item.setAttribute("aria-current", "location");
  item.addEventListener("click", () => zoomTo(node));
  return item;
}

function showCrumbs() {
  const path = app.tree.path(state.focus);
  const crumbs = path.map((node, at) => crumb(node, at === path.length - 1));
  const share = element("span", "crumb-share");
  const width = app.tree.width[state.focus];
  const unit = state.measure === "time" ? app.profile.weighed(width) : app.profile.counted(width);
  share.textContent = `${unit} · ${percent(app.tree.total > 0 ? width / app.tree.total : 0)}`;
  const bar = $("crumbs");
  bar.replaceChildren(...crumbs, share);
  bar.scrollLeft = bar.scrollWidth;
}

/** What was sampled in the frames of each colour. */
function groupShares() {
  const { palette } = app;
  const tree = app.trees.callees;
  const own = state.measure === "time" ? tree.ownTime : tree.ownSamples;
  const owners = ownerNodes(tree);
  const shares = new Float64Array(palette.groups.length);
  for (let node = 1; node < tree.count; node++) {
    if (own[node] > 0) shares[palette.group(tree, owners[node])] += own[node];
  }
  return shares;
}

function showLegend() {
  const { palette } = app;
  const shares = groupShares();
  const total = app.total[state.measure];
  const order = [...shares.keys()].filter((group) => shares[group] > 0).sort((a, b) => shares[b] - shares[a]);
  const items = order.slice(0, 12).map((group) => {
    const item = element("span", "key");
    const chip = element("i", palette.groups[group].name === UNKNOWN_GROUP ? "chip hatched" : "chip");
    chip.style.background = palette.shade(group, 2, false);
    item.append(chip, element("bdi", "", clipped(palette.groups[group].name, 40)), element("small", "", percent(shares[group] / total)));
    item.title = "Share of what was sampled in these functions themselves";
    return item;
  });
  if (order.length > 12) items.push(element("span", "key more", `and ${grouped(order.length - 12)} more`));
  $("legend").replaceChildren(...items);
}

/** The state of the bar's buttons, and what the search found. */
function showBar() {
  for (const button of document.querySelectorAll("[data-set]")) {
    button.setAttribute("aria-pressed", state[button.dataset.set] === button.dataset.value);
  }
}

function showShare() {
  hideTooltip();
  const query = $("query");
  if (document.activeElement !== query && query.value !== state.query) query.value = state.query;
  $("regex").setAttribute("aria-pressed", state.regex);
  query.setAttribute("aria-invalid", app.searchError !== "");
  const out = $("share");
  out.classList.toggle("wrong", app.searchError !== "");
  if (app.searchError) out.textContent = app.searchError;
  else if (!app.share) out.textContent = "";
  else {
    const { samples, time, functions } = app.share;
    const { total } = app;
    const what = state.pick >= 0 ? clipped(app.profile.fnName(state.pick), 60) : plural(functions, "function");
    const { several, weight } = app.profile.head.measured;
    const parts = [`${percent(samples / total.samples)} of ${several}`];
    if (app.profile.time > 0) parts.push(`${percent(time / total.time)} of ${weight === "vCPU time" ? "time" : weight}`);
    out.replaceChildren(element("b", "", parts.join(" · ")), element("span", "", ` in ${what}`));
    out.title = out.textContent;
  }
}

function applyTheme() {
  app.palette.use(state.color, THEMES[themeName()]);
  $("theme").textContent = themeName() === "dark" ? "☀" : "☾";
}

function toggleTheme() {
  const next = themeName() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  // Where a browser keeps nothing for files, the choice holds until the page closes.
  try {
    localStorage.setItem("uniprof-theme", next);
  } catch {
    return tell("look");
  }
  return tell("look");
}

function restoreTheme() {
  let kept = null;
  try {
    kept = localStorage.getItem("uniprof-theme");
  } catch {
    return;
  }
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
}

function startHeader() {
  showFacts();
  $("theme").addEventListener("click", toggleTheme);
  darkPreferred.addEventListener("change", () => tell("look"));
  $("bar").addEventListener("click", (event) => {
    const button = event.target.closest("[data-set]");
    if (button) choose(button.dataset.set, button.dataset.value);
  });
  const { several, weight, unit } = app.profile.head.measured;
  for (const button of document.querySelectorAll('[data-value="samples"]')) {
    button.textContent = capitalized(several.split(" ").at(-1));
    button.title = `Widths are ${several} (m)`;
  }
  for (const button of document.querySelectorAll('[data-value="time"]')) {
    button.textContent = unit === "bytes" ? "Bytes" : "Time";
    button.title = `Widths are ${weight} (m)`;
    button.disabled = app.profile.time === 0;
  }
  const query = $("query");
  query.addEventListener("input", () => search(query.value, state.regex));
  $("regex").addEventListener("click", () => search(query.value, !state.regex));
  watch("filter", showFiltered);
  watch("filter", showLegend);
  watch("match", showShare);
  watch("view", showCrumbs);
  watch("look", showBar);
  watch("look", showLegend);
}
