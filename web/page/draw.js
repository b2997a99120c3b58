/**
 * Drawing: the picture, skeletons as `runtime/draw.py` draws them, and boxes.
 *
 * @typedef {import("./pose.js").Box} Box
 * @typedef {import("./pose.js").Person} Person
 * @typedef {import("./pose.js").Site} Site
 */
import { sideOf } from "./pose.js";

const LONGEST_SIDE = 1600; // px of the drawing; the network sees the picture's own

/** Set the canvas' size for a picture, and return px of the canvas by px of the picture. @param {HTMLCanvasElement} canvas @param {{width: number, height: number}} size */
export function fit(canvas, { width, height }) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const [across, down] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
  }
  return scale;
}

/** Joints below the spec's `min_score`, and their limbs, are not drawn. @param {CanvasRenderingContext2D} context @param {Person} person @param {Site} site @param {number} scale */
export function drawPerson(context, { box, points }, site, scale) {
  const { skeleton, min_score } = site.pose;
  const thickness = Math.max(2, (Math.min(box[2] - box[0], box[3] - box[1]) * scale) / 80);
  const seen = skeleton.joints.map((_, joint) => points[3 * joint + 2] >= min_score);
  const at = (/** @type {number} */ joint) => /** @type {[number, number]} */ ([(points[3 * joint] + 0.5) * scale, (points[3 * joint + 1] + 0.5) * scale]);
  context.lineWidth = thickness;
  context.lineCap = "round";
  for (const limb of skeleton.limbs) {
    if (!limb.every((joint) => seen[joint])) continue;
    context.strokeStyle = site.colours[sideOf(skeleton, limb)];
    context.beginPath();
    context.moveTo(...at(limb[0]));
    context.lineTo(...at(limb[1]));
    context.stroke();
  }
  seen.forEach((shown, joint) => {
    if (!shown) return;
    disc(context, at(joint), thickness + 1, "#fff");
    disc(context, at(joint), thickness, site.colours[sideOf(skeleton, [joint])]);
  });
}

/** @param {CanvasRenderingContext2D} context @param {[number, number]} centre @param {number} radius @param {string} colour */
function disc(context, centre, radius, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(...centre, radius, 0, 2 * Math.PI);
  context.fill();
}

/** @param {CanvasRenderingContext2D} context @param {Box} box @param {boolean} chosen @param {number} scale */
export function drawBox(context, box, chosen, scale) {
  const [left, top, right, bottom] = box.map((edge) => edge * scale);
  context.lineWidth = chosen ? 3 : 1.5;
  for (const [colour, dash] of /** @type {[string, number[]][]} */ ([["#000", []], ["#fff", [6, 4]]])) {
    context.strokeStyle = colour;
    context.setLineDash(dash);
    context.strokeRect(left, top, right - left, bottom - top);
  }
  context.setLineDash([]);
}
