/**
 * Buttons, choices, times and scores beside the picture.
 *
 * @typedef {import("./pose.js").Person} Person
 * @typedef {import("./pose.js").Site} Site
 * @typedef {import("./source.js").Source} Source
 * @typedef {{openFile: (file: File) => void, openCamera: () => void, pause: () => void, load: () => void,
 *   results: () => object[], boxes: import("./boxes.js").Boxes}} App
 */

const MOST_THREADS = 8; // what a network of this size still gains from
const USUAL_THREADS = 4;
const REMEMBERED = 30; // frames in the median of times
const MOST_COLUMNS = 6; // people in the table

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${id}: export the bundle again`);
  return found;
}

/** One sentence for whoever looks, and for screen readers. @param {string} text */
export function say(text, bad = false) {
  const line = byId("status", HTMLElement);
  line.textContent = text;
  line.classList.toggle("bad", bad);
}

export class Controls {
  /** @param {Site} site @param {App} app */
  constructor(site, app) {
    this.site = site;
    this.app = app;
    /** @type {{network: number, frame: number}[]} */
    this.measured = [];
    byId("variant", HTMLElement).textContent = site.trained ? site.variant : `${site.variant}, untrained`;
    byId("note", HTMLElement).textContent = `Network: ${site.note}. ONNX Runtime Web ${site.onnxruntime_web}.`;
    this.wire();
    this.wireFiles();
  }

  wire() {
    const { app } = this;
    const click = (/** @type {string} */ id, /** @type {() => void} */ does) => byId(id, HTMLButtonElement).addEventListener("click", does);
    click("camera", () => app.openCamera());
    click("pause", () => app.pause());
    click("add", () => app.boxes.addMiddle());
    click("whole", () => app.boxes.clear());
    click("save", () => this.save());
    for (const id of ["weights", "backend", "threads"]) byId(id, HTMLSelectElement).addEventListener("change", () => app.load());
    byId("stage", HTMLCanvasElement).addEventListener("keydown", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      app.pause();
    });
  }

  wireFiles() {
    const input = byId("file", HTMLInputElement);
    const stage = byId("stage", HTMLCanvasElement);
    const take = (/** @type {FileList | null | undefined} */ files) => {
      if (files?.length) this.app.openFile(files[0]);
      else say("That was no file: drop or paste a photograph or a video", true);
    };
    input.addEventListener("change", () => {
      if (input.files?.length) take(input.files);
      input.value = ""; // the same file may be chosen again
    });
    addEventListener("dragover", (event) => {
      event.preventDefault();
      stage.classList.add("dropping");
    });
    addEventListener("dragleave", () => stage.classList.remove("dropping"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      stage.classList.remove("dropping");
      take(event.dataTransfer?.files);
    });
    addEventListener("paste", (event) => take(event.clipboardData?.files));
  }

  /** Offer what this browser has. */
  async offer() {
    const cores = navigator.hardwareConcurrency || 1;
    const most = crossOriginIsolated ? Math.min(cores, MOST_THREADS) : 1;
    const usual = Math.min(most, USUAL_THREADS, Math.ceil(cores / 2)); // two threads of one core slow each other down
    fill("threads", Array.from({ length: most }, (_, index) => `${index + 1}`), `${usual}`);
    fill("weights", Object.keys(this.site.graphs), "fp16" in this.site.graphs ? "fp16" : "fp32");
    byId("isolation", HTMLElement).textContent = crossOriginIsolated
      ? `The page is isolated: up to ${most} threads.`
      : "One thread: the server does not send the two isolation headers (COOP, COEP), as `lehrnet web` does.";
    const gpu = /** @type {{requestAdapter(): Promise<object | null>} | undefined} */ (Reflect.get(navigator, "gpu"));
    const adapter = await gpu?.requestAdapter().catch(() => null);
    const option = /** @type {HTMLOptionElement} */ (byId("backend", HTMLSelectElement).options[1]);
    option.disabled = !adapter;
    if (!adapter) option.textContent = "WebGPU (none here)";
  }

  get settings() {
    const value = (/** @type {string} */ id) => byId(id, HTMLSelectElement).value;
    return { weights: value("weights"), backend: value("backend"), threads: Number(value("threads")) };
  }

  get follows() {
    return byId("follow", HTMLInputElement).checked;
  }

  /** @param {Source} source */
  opened(source) {
    for (const id of ["add", "whole", "save"]) byId(id, HTMLButtonElement).disabled = false;
    byId("pause", HTMLButtonElement).disabled = source.kind !== "video";
    this.paused(false);
  }

  closed() {
    for (const id of ["add", "whole", "save", "pause"]) byId(id, HTMLButtonElement).disabled = true;
    byId("scores", HTMLTableElement).hidden = true;
  }

  /** @param {boolean} stopped */
  paused(stopped) {
    byId("pause", HTMLButtonElement).textContent = stopped ? "Go on" : "Stop";
  }

  forgetTimes() {
    this.measured = [];
    byId("times", HTMLElement).textContent = "";
  }

  /** Show the median times of the last frames. @param {number} network ms of the network @param {number} frame ms from pixels to drawing */
  times(network, frame) {
    this.measured = [...this.measured, { network, frame }].slice(-REMEMBERED);
    const median = (/** @type {"network" | "frame"} */ key) => {
      const sorted = this.measured.map((each) => each[key]).sort((one, other) => one - other);
      return sorted[sorted.length >> 1];
    };
    const { backend, threads } = this.settings;
    const where = backend === "wasm" ? `WebAssembly, ${threads} ${threads === 1 ? "thread" : "threads"}` : "WebGPU";
    const count = this.measured.length === 1 ? "one frame, the first is slow" : `median of ${this.measured.length} frames`;
    byId("times", HTMLElement).textContent =
      `${median("frame").toFixed(1)} ms a frame (${(1000 / median("frame")).toFixed(1)} a second)\n` +
      `${median("network").toFixed(1)} ms of it in the network\n${where}; ${count}`;
  }

  /** @param {Person[]} people */
  scores(people) {
    const table = byId("scores", HTMLTableElement);
    const { joints } = this.site.pose.skeleton;
    const columns = Math.min(people.length, MOST_COLUMNS);
    if (table.hidden || table.rows[0].cells.length !== columns + 1) this.build(table, columns);
    joints.forEach((_, joint) => {
      for (let column = 0; column < columns; column++) {
        const score = people[column].points[3 * joint + 2];
        const cell = table.rows[joint + 1].cells[column + 1];
        cell.textContent = score.toFixed(2);
        cell.classList.toggle("unsure", score < this.site.pose.min_score);
      }
    });
    table.hidden = columns === 0;
  }

  /** @param {HTMLTableElement} table @param {number} columns */
  build(table, columns) {
    const numbers = Array.from({ length: columns }, (_, index) => element("th", `${index + 1}`, { scope: "col" }));
    table.tHead?.rows[0].replaceChildren(element("th", "joint", { scope: "col" }), ...numbers);
    const rows = this.site.pose.skeleton.joints.map((name) => {
      const row = element("tr", "", {});
      row.append(element("th", name.replaceAll("_", " "), { scope: "row" }), ...numbers.map(() => element("td", "", {})));
      return row;
    });
    table.tBodies[0].replaceChildren(...rows);
  }

  /** Download the people that are shown as COCO results. */
  save() {
    const text = JSON.stringify(this.app.results(), null, 1);
    const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const link = Object.assign(document.createElement("a"), { href: address, download: "keypoints.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000); // ms: the download has begun by then
  }
}

/** @param {string} name @param {string} text @param {Record<string, string>} attributes */
function element(name, text, attributes) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** @param {string} id @param {string[]} values @param {string} chosen */
function fill(id, values, chosen) {
  const select = byId(id, HTMLSelectElement);
  select.replaceChildren(...values.map((value) => new Option(value.toUpperCase(), value)));
  select.value = chosen;
}
