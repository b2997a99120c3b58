/**
 * The page: a source of pictures, boxes, the network, and what is shown of them. After each frame the document gets the
 * event "lehrnet:poses" with the people in its `detail`.
 *
 * @typedef {import("./pose.js").Box} Box
 * @typedef {import("./pose.js").Person} Person
 * @typedef {import("./pose.js").Site} Site
 * @typedef {import("./source.js").Source} Source
 */
import { Boxes } from "./boxes.js";
import { Controls, byId, say } from "./controls.js";
import { drawBox, drawPerson, fit } from "./draw.js";
import { Network } from "./network.js";
import { cocoResults, nextBox, regionOf } from "./pose.js";
import { PixelReader, grab, openCamera, openFile } from "./source.js";

class App {
  /** @param {Site} site */
  constructor(site) {
    this.site = site;
    this.canvas = byId("stage", HTMLCanvasElement);
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.video = byId("video", HTMLVideoElement);
    this.pixels = new PixelReader();
    this.boxes = new Boxes(this.canvas, () => this.boxesChanged());
    this.controls = new Controls(site, this);
    /** @type {Network | null} */
    this.network = null;
    /** @type {Source | null} */
    this.source = null;
    /** @type {ImageBitmap | null} the picture that people were found in */
    this.shown = null;
    /** @type {Person[]} */
    this.people = [];
    /** @type {(Box | null)[] | null} boxes of the next frame; null: begin with those that were drawn */
    this.followed = null;
    /** @type {Box[]} */
    this.ranFor = this.boxes.list;
    this.opened = this.loaded = 0; // which source, which network: an answer for an older one is dropped
    this.working = this.again = false;
  }

  /** Load the network as the controls say. */
  async load() {
    const mine = ++this.loaded;
    this.network?.close();
    this.network = null;
    const { backend, threads, weights } = this.controls.settings;
    say(`Loading ${(this.site.graphs[weights].bytes / 1e6).toFixed(1)} MB of weights …`);
    try {
      const network = await Network.open({ backend, threads, file: this.site.graphs[weights].file });
      if (mine !== this.loaded) return network.close();
      this.network = network;
    } catch (error) {
      if (mine !== this.loaded) return;
      const way = backend === "webgpu" ? "choose WebAssembly instead" : "load the page again";
      return say(`The network could not be opened: ${wordsOf(error)}; ${way}`, true);
    }
    this.controls.forgetTimes();
    say(this.source ? this.about(this.source) : "Ready: open or drop a photograph or a video, or take the camera.");
    this.work();
  }

  /** @param {File} file */
  openFile(file) {
    return this.open(() => openFile(file, this.video));
  }

  openCamera() {
    return this.open(() => openCamera(this.video));
  }

  /** @param {() => Promise<Source>} opener */
  async open(opener) {
    const mine = ++this.opened;
    this.release();
    say("Opening …");
    try {
      const source = await opener();
      if (mine !== this.opened) return source.close();
      this.source = source;
    } catch (error) {
      return say(wordsOf(error), true);
    }
    const { kind, width, height } = this.source;
    this.boxes.reset(width, height);
    [this.ranFor, this.followed] = [this.boxes.list, null];
    this.controls.opened(this.source);
    this.controls.forgetTimes();
    say(this.about(this.source));
    if (kind === "video") await this.video.play().catch((error) => say(`The video does not start: ${wordsOf(error)}`, true));
    this.work();
  }

  /** What is open. @param {Source} source */
  about({ name, width, height }) {
    return `${name}, ${width} x ${height} px${this.network ? "" : "; the network is still being loaded"}`;
  }

  /** Let go of the source and of what is shown of it. */
  release() {
    this.source?.close();
    if (this.source?.kind === "video") this.shown?.close();
    [this.source, this.shown, this.people] = [null, null, []];
    this.boxes.reset(0, 0);
    this.controls.closed();
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Find people in the picture as it is now, and again if something changed meanwhile. */
  async work() {
    this.again = true;
    if (this.working) return;
    this.working = true;
    while (this.again && this.network && this.source) {
      this.again = false;
      try {
        await this.frame(this.network, this.source);
      } catch (error) {
        if (this.network) say(`The network failed: ${wordsOf(error)}`, true);
      }
    }
    this.working = false;
  }

  /** One frame, from pixels to the drawing. @param {Network} network @param {Source} source */
  async frame(network, source) {
    const [start, mine, asked] = [performance.now(), this.opened, this.boxes.list];
    const { width, height } = source;
    const picture = await grab(source);
    if (picture === null) return this.nextFrame();
    /** @type {Box[]} */
    const drawn = asked.length ? asked : [[0, 0, width, height]];
    const boxes = drawn.map((box, index) => this.followed?.[index] ?? box);
    const people = [];
    let ms = 0;
    for (const box of boxes) {
      const region = mine === this.opened ? regionOf(box, this.site.pose, width, height) : null;
      if (region === null) continue;
      const found = await network.find(this.pixels.read(picture, region), region, box);
      people.push({ box, points: found.points });
      ms += found.ms;
    }
    if (mine !== this.opened) {
      if (source.kind === "video") picture.close();
      return;
    }
    this.accept(source, picture, people, asked);
    const frameMs = performance.now() - start;
    this.controls.times(ms, frameMs);
    const detail = { people, ms, frameMs };
    document.dispatchEvent(new CustomEvent("lehrnet:poses", { detail }));
  }

  /** Show people, and prepare the next frame. @param {Source} source @param {ImageBitmap} picture @param {Person[]} people @param {Box[]} asked */
  accept(source, picture, people, asked) {
    if (source.kind === "video" && this.shown !== picture) this.shown?.close();
    [this.shown, this.people, this.ranFor] = [picture, people, asked];
    if (source.kind === "video") {
      const follows = this.controls.follows && asked === this.boxes.list && people.length === Math.max(1, asked.length);
      const { width, height } = source;
      this.followed = follows ? people.map((person) => nextBox(person, this.site.follow, width, height)) : null;
      this.nextFrame();
    }
    this.render();
    this.controls.scores(people);
  }

  /** Work again at the video's next frame; those that pass meanwhile are left out. */
  nextFrame() {
    if (this.video.paused) return;
    if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(() => this.work());
    else requestAnimationFrame(() => this.work());
  }

  /** Stop or go on with a video. */
  async pause() {
    if (this.source?.kind !== "video") return;
    if (this.video.paused) {
      await this.video.play().catch((error) => say(wordsOf(error), true));
      this.work();
    } else this.video.pause();
    this.controls.paused(this.video.paused);
  }

  boxesChanged() {
    this.followed = this.boxes.list === this.ranFor ? this.followed : null;
    if (this.boxes.list !== this.ranFor) this.work();
    this.render();
  }

  /** Draw the picture, people and boxes. */
  render() {
    if (this.shown === null) return;
    const scale = fit(this.canvas, this.shown);
    this.context.drawImage(this.shown, 0, 0, this.canvas.width, this.canvas.height);
    for (const person of this.people) drawPerson(this.context, person, this.site, scale);
    const boxes = this.followed ? this.followed.filter((box) => box !== null) : this.boxes.list;
    boxes.forEach((box, index) => drawBox(this.context, box, index === this.boxes.chosen, scale));
    if (this.boxes.drag?.box) drawBox(this.context, this.boxes.drag.box, true, scale);
  }

  /** COCO results of the people that are shown. */
  results() {
    return cocoResults(this.people, this.source?.name ?? "", this.site.sure_joint);
  }
}

/** @param {unknown} error */
function wordsOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/** @returns {Promise<Site>} */
async function readSite() {
  const answer = await fetch(new URL("site.json", import.meta.url));
  if (!answer.ok) throw new Error(`the server has no site.json (${answer.status}): serve the folder that \`lehrnet export --web\` wrote`);
  return answer.json();
}

try {
  const site = await readSite();
  if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly, which runs the network");
  const app = new App(site);
  await app.controls.offer();
  await app.load();
} catch (error) {
  say(`The page could not start: ${wordsOf(error)}`, true);
}
