/**
 * Boxes that a person draws, by mouse, finger or keyboard; none means the whole picture.
 *
 * @typedef {import("./pose.js").Box} Box
 */

const SMALLEST = 8; // px of the picture; a shorter drag is a click
const STEP = 0.02; // of the picture's longer side, for a key

/** The boxes of one picture. */
export class Boxes {
  /** @param {HTMLCanvasElement} canvas @param {() => void} changed  called after each change */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.width = this.height = 0;
    /** @type {Box[]} */
    this.list = [];
    this.chosen = -1;
    /** @type {{from: [number, number], box: Box | null} | null} */
    this.drag = null;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => this.end());
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Begin anew with a picture. @param {number} width @param {number} height */
  reset(width, height) {
    [this.width, this.height, this.list, this.chosen, this.drag] = [width, height, [], -1, null];
  }

  /** Take other boxes, as those of the next frame. @param {Box[]} list */
  replace(list) {
    this.list = list;
    this.chosen = Math.min(this.chosen, list.length - 1);
  }

  /** @param {Box} box */
  add(box) {
    this.list = [...this.list, box];
    this.chosen = this.list.length - 1;
    this.changed();
  }

  /** A box in the middle, for those who do not draw. */
  addMiddle() {
    this.add([this.width / 4, this.height / 8, (3 * this.width) / 4, (7 * this.height) / 8]);
  }

  clear() {
    [this.list, this.chosen] = [[], -1];
    this.changed();
  }

  /** Px of the picture under a pointer. @param {PointerEvent} event @returns {[number, number]} */
  place({ clientX, clientY }) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const [border, share] = [this.canvas.clientLeft, 2 * this.canvas.clientLeft];
    const x = ((clientX - left - border) / Math.max(1, width - share)) * this.width;
    const y = ((clientY - top - border) / Math.max(1, height - share)) * this.height;
    return [Math.min(Math.max(x, 0), this.width), Math.min(Math.max(y, 0), this.height)];
  }

  /** @param {PointerEvent} event */
  begin(event) {
    if (this.width === 0 || !event.isPrimary || event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { from: this.place(event), box: null };
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (this.drag === null || !event.isPrimary) return;
    const [[x, y], [left, top]] = [this.place(event), this.drag.from];
    /** @type {Box} */
    const box = [Math.min(x, left), Math.min(y, top), Math.max(x, left), Math.max(y, top)];
    this.drag.box = Math.min(box[2] - box[0], box[3] - box[1]) >= SMALLEST ? box : null;
    this.changed();
  }

  end() {
    const drag = this.drag;
    this.drag = null;
    if (drag === null) return;
    if (drag.box) this.add(drag.box);
    else this.choose(drag.from);
  }

  cancel() {
    this.drag = null;
    this.changed();
  }

  /** Choose the smallest box around a point. @param {[number, number]} point */
  choose([x, y]) {
    const area = (/** @type {Box} */ [left, top, right, bottom]) => (right - left) * (bottom - top);
    const around = this.list.filter(([left, top, right, bottom]) => left <= x && x <= right && top <= y && y <= bottom);
    around.sort((one, other) => area(one) - area(other));
    this.chosen = around.length ? this.list.indexOf(around[0]) : -1;
    this.changed();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (this.width === 0 || event.ctrlKey || event.altKey || event.metaKey) return;
    /** @type {Record<string, () => void>} */
    const does = {
      b: () => this.addMiddle(),
      n: () => this.next(),
      Escape: () => this.clear(),
      Delete: () => this.remove(),
      Backspace: () => this.remove(),
      ArrowLeft: () => this.shift(-1, 0, event.shiftKey),
      ArrowRight: () => this.shift(1, 0, event.shiftKey),
      ArrowUp: () => this.shift(0, -1, event.shiftKey),
      ArrowDown: () => this.shift(0, 1, event.shiftKey),
    };
    const action = does[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }

  next() {
    if (this.list.length) this.chosen = (this.chosen + 1) % this.list.length;
    this.changed();
  }

  remove() {
    if (this.chosen < 0) return;
    this.list = this.list.filter((_, index) => index !== this.chosen);
    this.chosen = Math.min(this.chosen, this.list.length - 1);
    this.changed();
  }

  /** Move the chosen box, or only its lower right corner. @param {number} x @param {number} y @param {boolean} corner */
  shift(x, y, corner) {
    if (this.chosen < 0) return;
    const step = STEP * Math.max(this.width, this.height);
    const [left, top, right, bottom] = this.list[this.chosen];
    const first = corner ? [left, top] : [left + x * step, top + y * step];
    const last = [Math.max(right + x * step, first[0] + SMALLEST), Math.max(bottom + y * step, first[1] + SMALLEST)];
    if (first[0] >= this.width || first[1] >= this.height || last[0] <= 0 || last[1] <= 0) return;
    this.list = this.list.map((box, index) => (index === this.chosen ? [first[0], first[1], last[0], last[1]] : box));
    this.changed();
  }
}
