// Numbers and names as people read them.

const grouping = new Intl.NumberFormat("en-US");

const grouped = (number) => grouping.format(number);

const plural = (number, word) => `${grouped(number)} ${word}${number === 1 ? "" : "s"}`;

/** A share (0 to 1) with one decimal, two where it is small. */
function percent(share) {
  if (!Number.isFinite(share)) return "0 %";
  const value = share * 100;
  if (value > 0 && value < 0.01) return "<0.01 %";
  return `${value.toFixed(value > 0 && value < 1 ? 2 : 1)} %`;
}

/** Nanoseconds in the unit that fits. */
function duration(ns) {
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  const [scale, unit] = ns < 1e6 ? [1e3, "µs"] : ns < 1e9 ? [1e6, "ms"] : [1e9, "s"];
  const value = ns / scale;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

/** Bytes in the unit that fits. */
function bytes(count) {
  if (count < 1e3) return plural(Math.round(count), "byte");
  const [scale, unit] = count < 1e6 ? [1e3, "kB"] : count < 1e9 ? [1e6, "MB"] : [1e9, "GB"];
  const value = count / scale;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Characters that reorder or hide text: a name could look like another.
const DECEPTIVE = /[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]/g;

/** The text with such characters spelled out. */
function honest(text) {
  return text.replace(DECEPTIVE, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
}

/** At most `limit` characters. */
function clipped(text, limit) {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}

/** Where the last `count` segments of a path such as `a::b<c::d>::e` start; separators inside brackets don't part it. */
function tailOf(name, count) {
  let depth = 0;
  for (let at = name.length - 1; at > 1; at--) {
    const char = name[at];
    if (char === ">" || char === ")" || char === "]" || char === "}") depth++;
    else if (char === "<" || char === "(" || char === "[" || char === "{") depth--;
    else if (char === ":" && name[at - 1] === ":" && depth <= 0) {
      count--;
      if (count === 0) return name.slice(at + 1);
      at--;
    }
  }
  return name;
}

/** The last two segments of a path; of a very long name its start. */
function shortName(name) {
  return clipped(name.length > 4096 ? name : tailOf(name, 2), 300);
}

const PATH_START = /([A-Za-z_$][\w$]*)::/;
const OCAML_MODULE = /^([A-Z][\w']*)\./;

/** The crate or namespace that a name starts with, else the crate, folder or file of its source, else nothing. */
function moduleOf(name, file) {
  const path = PATH_START.exec(name.length > 4096 ? name.slice(0, 4096) : name);
  if (path) return path[1];
  const ocaml = OCAML_MODULE.exec(name);
  return ocaml ? ocaml[1] : moduleOfFile(file);
}

/** `talc` of `…/talc-4.4/src/lib.rs`, `core` of `library/core/src/num/mod.rs`, `vfs` of `lib/vfs/file.c`. */
function moduleOfFile(file) {
  const parts = file.split(/[\\/]/).filter((part) => part !== "" && part !== "." && part !== "..");
  const source = parts.lastIndexOf("src");
  if (source > 0) return parts[source - 1].replace(/-\d[\w.+-]*$/, "");
  const folder = source === 0 ? "" : parts[parts.length - 2] ?? "";
  return folder || (parts[parts.length - 1] ?? "");
}

/** A new element with text; text is never markup. */
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const $ = (id) => document.getElementById(id);
