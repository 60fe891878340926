// Colours: of modules or of kinds, on light and on dark, made in OKLCH so that all are equally bright.

/** OKLCH to `#rrggbb` (B. Ottosson, "A perceptual color space for image processing", 2020); the hue is in degrees. */
function oklch(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const byte = (value) => {
    const clamped = Math.min(1, Math.max(0, value));
    const gamma = clamped <= 0.0031308 ? 12.92 * clamped : 1.055 * clamped ** (1 / 2.4) - 0.055;
    return Math.round(gamma * 255).toString(16).padStart(2, "0");
  };
  return `#${linear.map(byte).join("")}`;
}

// One after the other far apart; the heaviest module takes the first.
const HUES = [55, 245, 150, 310, 85, 200, 20, 275, 120, 340, 225, 175];
// About the hue of what is not on the CPU, so that one picture is not taken for another.
const OFFSETS = [0, -32, 26, -16, 13, -42, 36];

const THEMES = {
  light: { name: "light", fill: 0.835, chroma: 0.088, step: 0.014, dimFill: 0.945, dimChroma: 0.018, match: oklch(0.76, 0.19, 350),
    text: "#1c2127", dimText: "#7b838d", matchText: "#2b0618", hatch: oklch(0.62, 0.13, 25), paper: "#ffffff", edge: "#1c2127" },
  dark: { name: "dark", fill: 0.5, chroma: 0.1, step: 0.014, dimFill: 0.295, dimChroma: 0.02, match: oklch(0.56, 0.21, 350),
    text: "#f3f5f7", dimText: "#858d97", matchText: "#ffffff", hatch: oklch(0.66, 0.13, 25), paper: "#16191d", edge: "#f3f5f7" },
};

const darkPreferred = matchMedia("(prefers-color-scheme: dark)");

/** The reader's choice if there is one, else the system's. */
function themeName() {
  return document.documentElement.dataset.theme || (darkPreferred.matches ? "dark" : "light");
}

// The name of the one group that is drawn hatched.
const UNKNOWN_GROUP = "unknown";
const THREAD_GROUP = "threads";
const NOTE_GROUP = "remarks";
const NEUTRAL = [UNKNOWN_GROUP, THREAD_GROUP, NOTE_GROUP, "no module"];

/** Which group each node belongs to, and the colours of the groups. */
class Palette {
  constructor(profile, sums) {
    this.profile = profile;
    this.variation = new Uint8Array(profile.classes.fnCount);
    this.byModule = this.groupModules(sums);
    this.byKind = this.groupKinds();
    this.use("module", THEMES.light);
  }

  /** The colours from now on. */
  use(mode, theme) {
    this.mode = mode;
    this.theme = theme;
    this.fills = new Map();
    this.hatches = new Map();
    this.pixels = new Map();
  }

  get groups() {
    return this.mode === "kind" ? this.byKind.groups : this.byModule.groups;
  }

  groupModules(sums) {
    const { profile } = this;
    const { fnCount, frameOfFn } = profile.classes;
    const names = new Array(fnCount);
    const weights = new Map();
    const several = profile.head.images.length > 1;
    for (let fn = 0; fn < fnCount; fn++) {
      const name = profile.fnName(fn);
      let hash = 0;
      for (let at = 0; at < name.length && at < 256; at++) hash = (Math.imul(hash, 31) + name.charCodeAt(at)) | 0;
      this.variation[fn] = (hash >>> 3) % 5;
      const kind = profile.fnKind(fn);
      const frame = frameOfFn[fn];
      const module = kind === KIND.UNKNOWN ? UNKNOWN_GROUP : kind === KIND.THREAD ? THREAD_GROUP
        : kind === KIND.NOTE ? NOTE_GROUP
        : (several && profile.imageName(frame)) || moduleOf(name, profile.frameFile(frame)) || "no module";
      names[fn] = module;
      weights.set(module, (weights.get(module) ?? 0) + sums.ownSamples[fn] + sums.samples[fn] * 1e-6);
    }
    const ranked = [...weights.keys()].sort((a, b) => weights.get(b) - weights.get(a) || (a < b ? -1 : 1));
    const groups = ranked.map((name) => ({ name, hue: 0, neutral: NEUTRAL.includes(name) }));
    const { hue } = profile.head.measured;
    const hues = hue === null ? HUES : OFFSETS.map((offset) => hue + offset);
    let next = 0;
    for (const group of groups.filter((one) => !one.neutral)) {
      // Past the palette colours repeat, and are paler.
      group.hue = hues[next % hues.length];
      group.pale = next >= hues.length;
      next++;
    }
    const index = new Map(ranked.map((name, at) => [name, at]));
    return { groups, ofFn: Uint32Array.from(names, (name) => index.get(name)) };
  }

  groupKinds() {
    const hues = [55, 150, 245, 275, 85, 20, 320];
    const groups = FOUND.map((name, found) => ({ name, hue: hues[found], neutral: false, pale: found === 6 }));
    groups[1].name = "inlined";
    return { groups: [...groups, { name: THREAD_GROUP, neutral: true }, { name: UNKNOWN_GROUP, neutral: true },
      { name: NOTE_GROUP, neutral: true }] };
  }

  /** The group of a node, by its index in `groups`; -1 for the whole. */
  group(tree, node) {
    if (node === ALL) return -1;
    const fn = tree.fn(node);
    if (this.mode === "module") return this.byModule.ofFn[fn];
    const kind = this.profile.fnKind(fn);
    if (kind !== KIND.FUNCTION) return FOUND.length + [0, 0, 1, 2][kind];
    if (this.profile.frames.inlined[tree.frame[node]]) return 1;
    // Where frames found in several ways are merged, the least certain way counts.
    const mask = tree.found[node] & 0b111111;
    return mask === 0 ? 6 : 31 - Math.clz32(mask);
  }

  /** The fill of a group's frames. */
  shade(group, variation, dim) {
    const key = (group + 1) * 16 + variation * 2 + (dim ? 1 : 0);
    let fill = this.fills.get(key);
    if (fill === undefined) {
      const { hue, neutral, pale } = this.groups[group] ?? { neutral: true };
      const theme = this.theme;
      const lift = (variation - 2) * theme.step;
      const chroma = (neutral ? 0.008 : dim ? theme.dimChroma : theme.chroma) * (pale ? 0.5 : 1);
      const rest = theme.name === "light" ? 0.04 : -0.1;
      const lightness = dim ? theme.dimFill : theme.fill + (neutral ? rest : lift);
      fill = oklch(lightness, chroma, neutral ? 255 : hue);
      this.fills.set(key, fill);
    }
    return fill;
  }

  fill(tree, node, dim) {
    const fn = tree.fn(node);
    return this.shade(this.group(tree, node), fn < 0 ? 2 : this.variation[fn], dim);
  }

  /** A fill as the bytes of a pixel. */
  pixel(fill) {
    let bytes = this.pixels.get(fill);
    if (bytes === undefined) {
      const rgb = parseInt(fill.slice(1), 16);
      bytes = (0xff000000 | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
      this.pixels.set(fill, bytes);
    }
    return bytes;
  }

  isUnknown(tree, node) {
    return node !== ALL && this.profile.fnKind(tree.fn(node)) === KIND.UNKNOWN;
  }

  /** Diagonal lines, to be laid over a fill. */
  hatch(context, ratio) {
    let pattern = this.hatches.get(ratio);
    if (pattern === undefined) {
      const size = Math.round(7 * ratio);
      const tile = document.createElement("canvas");
      tile.width = size;
      tile.height = size;
      const draw = tile.getContext("2d");
      draw.strokeStyle = this.theme.hatch;
      draw.globalAlpha = 0.55;
      draw.lineWidth = 1.3 * ratio;
      for (const shift of [-size, 0, size]) {
        draw.moveTo(shift - 1, size + 1);
        draw.lineTo(shift + size + 1, -1);
      }
      draw.stroke();
      pattern = context.createPattern(tile, "repeat");
      pattern.setTransform(new DOMMatrix().scale(1 / ratio));
      this.hatches.set(ratio, pattern);
    }
    return pattern;
  }
}
