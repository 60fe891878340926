// The profile as the file has it: columns of numbers, read once. The format is in docs/html-viewer.md.

const KIND = { FUNCTION: 0, THREAD: 1, UNKNOWN: 2, NOTE: 3 };
const FOUND = ["sampled instruction", "inline record", "frame pointer", "CFI", "prologue", "stack scan", "not told"];

function take(id) {
  const holder = $(`data-${id}`);
  const text = holder.textContent;
  holder.remove();
  return text;
}

function bytesOf(id) {
  const text = take(id);
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Numbers of seven bits a byte, the lowest first. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  next() {
    let byte = this.bytes[this.at++];
    if (byte < 128) return byte;
    let value = byte & 127;
    let scale = 128;
    do {
      byte = this.bytes[this.at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte >= 128);
    return value;
  }

  signed() {
    const value = this.next();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}

function readFrames() {
  const reader = new Reader(bytesOf("frames"));
  const count = reader.next();
  const column = () => new Uint32Array(count);
  const frames = { count, name: column(), file: column(), line: column(), image: column(), kind: new Uint8Array(count),
    inlined: new Uint8Array(count), found: new Uint8Array(count), located: new Uint8Array(count), high: column(), low: column() };
  for (let id = 0; id < count; id++) {
    frames.name[id] = reader.next();
    frames.file[id] = reader.next();
    frames.line[id] = reader.next();
    frames.image[id] = reader.next();
    const flags = reader.next();
    frames.kind[id] = flags & 3;
    frames.inlined[id] = (flags >> 2) & 1;
    frames.located[id] = (flags >> 3) & 1;
    frames.found[id] = flags >> 4;
    if (flags & 8) {
      frames.high[id] = reader.next();
      frames.low[id] = reader.next();
    }
  }
  return frames;
}

/**
 * Frames of one name, kind and inline mark make a class, which trees merge; those of one name and kind a function, which
 * the table lists. The file has them sorted that way.
 */
function classify(frames) {
  const ofFrame = new Uint32Array(frames.count);
  const fnOfClass = [];
  const frameOfClass = [];
  const frameOfFn = [];
  for (let id = 0; id < frames.count; id++) {
    const before = id - 1;
    const sameFn = id > 0 && frames.name[id] === frames.name[before] && frames.kind[id] === frames.kind[before];
    if (!sameFn) frameOfFn.push(id);
    if (!sameFn || frames.inlined[id] !== frames.inlined[before]) {
      frameOfClass.push(id);
      fnOfClass.push(frameOfFn.length - 1);
    }
    ofFrame[id] = frameOfClass.length - 1;
  }
  return { ofFrame, count: frameOfClass.length, fnOfClass: Uint32Array.from(fnOfClass),
    frameOfClass: Uint32Array.from(frameOfClass), fnCount: frameOfFn.length, frameOfFn: Uint32Array.from(frameOfFn) };
}

function readNodes() {
  const reader = new Reader(bytesOf("nodes"));
  const count = reader.next();
  const parent = new Int32Array(count);
  const frame = new Uint32Array(count);
  for (let id = 0; id < count; id++) {
    const back = reader.next();
    parent[id] = back === 0 ? -1 : id - back;
    frame[id] = reader.next();
  }
  return { count, parent, frame };
}

function readLeaves() {
  const reader = new Reader(bytesOf("leaves"));
  const count = reader.next();
  const leaves = { count, node: new Int32Array(count), owner: new Uint32Array(count),
    samples: new Float64Array(count), time: new Float64Array(count) };
  let node = 0;
  for (let id = 0; id < count; id++) {
    node += reader.signed();
    leaves.node[id] = node;
    leaves.owner[id] = reader.next();
    leaves.samples[id] = reader.next();
    leaves.time[id] = reader.next();
  }
  return leaves;
}

class Profile {
  constructor() {
    const spelled = (_, value) => (typeof value === "string" ? honest(value) : value);
    this.head = JSON.parse(take("head"), spelled);
    this.strings = JSON.parse(take("strings"));
    this.strings.forEach((text, id) => {
      const shown = honest(text);
      if (shown !== text) this.strings[id] = shown;
    });
    this.frames = readFrames();
    this.classes = classify(this.frames);
    this.nodes = readNodes();
    this.leaves = readLeaves();
    this.samples = 0;
    this.time = 0;
    for (let id = 0; id < this.leaves.count; id++) {
      this.samples += this.leaves.samples[id];
      this.time += this.leaves.time[id];
    }
  }

  /** A number of what was counted. */
  counted(number) {
    const { one, several } = this.head.measured;
    return `${grouped(number)} ${number === 1 ? one : several}`;
  }

  /** A weight, in its unit. */
  weighed(value) {
    return this.head.measured.unit === "bytes" ? bytes(value) : duration(value);
  }

  /** The name of a function of the table. */
  fnName(fn) {
    return this.strings[this.frames.name[this.classes.frameOfFn[fn]]] || "[no name]";
  }

  fnKind(fn) {
    return this.frames.kind[this.classes.frameOfFn[fn]];
  }

  frameFile(frame) {
    const file = this.frames.file[frame];
    return file === 0 ? "" : this.strings[file - 1];
  }

  /** `file:line`, or what of it is known. */
  place(frame) {
    const line = this.frames.line[frame];
    const file = this.frameFile(frame);
    return line > 0 && file !== "" ? `${file}:${line - 1}` : file;
  }

  imageName(frame) {
    const image = this.frames.image[frame];
    return image === 0 ? "" : this.head.images[image - 1] ?? "";
  }

  address(frame) {
    if (this.frames.located[frame] === 0) return "";
    const low = this.frames.low[frame].toString(16);
    const high = this.frames.high[frame];
    return high === 0 ? `0x${low}` : `0x${high.toString(16)}${low.padStart(8, "0")}`;
  }

  threadName(id) {
    const known = this.head.threads.find((thread) => thread[0] === id);
    return known && known[1] ? known[1] : `thread ${id}`;
  }
}
