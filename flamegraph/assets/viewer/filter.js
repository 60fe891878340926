// Which threads and vCPUs are shown: a menu of each.

// More threads than this are found by typing a part of their name.
const LISTED = 300;

function ownerTotals(index) {
  const { head, leaves } = app.profile;
  const totals = new Map();
  for (let id = 0; id < leaves.count; id++) {
    const key = head.owners[leaves.owner[id]][index];
    totals.set(key, (totals.get(key) ?? 0) + leaves.samples[id]);
  }
  return [...totals].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
}

/** A menu with a box for each thread (or vCPU), with its share of all samples. */
class Menu {
  constructor(id, index, name, chosen, choose) {
    Object.assign(this, { root: $(id), index, name, chosen, choose });
    this.items = ownerTotals(index);
    this.word = this.root.querySelector("summary").textContent;
    this.build();
  }

  build() {
    const list = this.root.querySelector(".list");
    const tools = element("div", "tools");
    const all = element("button", "plain", "Show all");
    all.type = "button";
    all.addEventListener("click", () => this.choose(null));
    tools.append(all);
    if (this.items.length > 12) {
      const find = element("input");
      find.type = "search";
      find.placeholder = `Find among ${grouped(this.items.length)}`;
      find.setAttribute("aria-label", find.placeholder);
      find.addEventListener("input", () => this.fill(find.value.toLowerCase()));
      tools.append(find);
    }
    this.body = element("div", "items");
    list.replaceChildren(tools, this.body);
    this.fill("");
  }

  fill(wanted) {
    const matching = this.items.filter(([key]) => this.name(key).toLowerCase().includes(wanted));
    this.body.replaceChildren(...matching.slice(0, LISTED).map(([key, samples]) => this.item(key, samples)));
    if (matching.length > LISTED) this.body.append(element("p", "more", `and ${grouped(matching.length - LISTED)} more`));
    this.refresh();
  }

  item(key, samples) {
    const row = element("div", "item");
    const label = element("label");
    const box = element("input");
    box.type = "checkbox";
    box.dataset.key = key;
    box.addEventListener("change", () => this.toggle(key, box.checked));
    const share = samples / app.profile.samples;
    const figure = element("span", "amount", percent(share));
    figure.style.setProperty("--share", `${(share * 100).toFixed(2)}%`);
    label.append(box, element("bdi", "label", clipped(this.name(key), 120)), figure);
    const only = element("button", "only", "only");
    only.type = "button";
    only.title = `Show only ${clipped(this.name(key), 120)}`;
    only.addEventListener("click", () => this.choose(new Set([key])));
    row.append(label, only);
    return row;
  }

  toggle(key, on) {
    const next = new Set(this.chosen() ?? this.items.map(([one]) => one));
    if (on) next.add(key);
    else next.delete(key);
    this.choose(next.size === this.items.length ? null : next);
  }

  refresh() {
    const chosen = this.chosen();
    for (const box of this.body.querySelectorAll("input[type=checkbox]")) {
      box.checked = !chosen || chosen.has(Number(box.dataset.key));
    }
    const count = chosen ? `${chosen.size} of ${this.items.length}` : `${this.items.length}`;
    this.root.querySelector("summary").replaceChildren(this.word, element("span", "count", count));
    this.root.classList.toggle("active", chosen !== null);
  }
}

function startFilter() {
  const names = new Map(app.profile.head.threads.map(([id]) => [id, app.profile.threadName(id)]));
  const uses = new Map();
  for (const name of names.values()) uses.set(name, (uses.get(name) ?? 0) + 1);
  // Threads can have the same name.
  const threadLabel = (id) => (uses.get(names.get(id)) > 1 ? `${names.get(id)} · ${id}` : names.get(id));
  const menus = [
    new Menu("threads", 0, threadLabel, () => state.threads, (chosen) => setFilter(chosen, state.vcpus)),
    new Menu("vcpus", 1, (vcpu) => `vCPU ${vcpu}`, () => state.vcpus, (chosen) => setFilter(state.threads, chosen)),
  ];
  watch("filter", () => menus.forEach((menu) => menu.refresh()));
  watch("filter", () => ($("empty").hidden = app.total.samples > 0));
  $("empty-reset").addEventListener("click", () => setFilter(null, null));
  document.addEventListener("pointerdown", (event) => {
    for (const { root } of menus) if (!root.contains(event.target)) root.open = false;
  });
}
