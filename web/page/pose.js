/**
 * What the page computes itself, without a browser: regions, the next box of a person, COCO results.
 * `runtime/track/matching.py` and `pose/results.py` are the definitions; a test ties these functions to them.
 *
 * @typedef {[number, number, number, number]} Box  left, top, right, bottom edges in px of the picture
 * @typedef {{left: number, top: number, width: number, height: number}} Region  whole px of the picture
 * @typedef {{box: Box, points: Float32Array}} Person  points: x, y in px of the picture and score, for each joint
 * @typedef {{name: string, joints: string[], flip_pairs: [number, number][], limbs: [number, number][]}} Skeleton
 * @typedef {{skeleton: Skeleton, input_size: [number, number], padding: number, min_score: number}} Pose
 * @typedef {{sure: number, grow: number, lowest: number}} Follow
 * @typedef {{file: string, bytes: number}} Graph
 * @typedef {{variant: string, trained: boolean, note: string, onnxruntime_web: string, pose: Pose,
 *   colours: {left: string, right: string, middle: string}, sure_joint: number, follow: Follow,
 *   graphs: Record<string, Graph>}} Site  what site.json says
 */

const PERSON_CATEGORY = 1;
const SMALLEST_BOX = 8; // px: what is smaller is no person
const DECIMALS = 1e4; // of coordinates in COCO results

/**
 * The part of a picture that the crop of a box can see, or null where there is none: the graph then gets these pixels
 * alone. One px beside the crop is for bilinear sampling, the other for frames that shift it.
 * @param {Box} box @param {Pose} pose @param {number} width @param {number} height @returns {Region | null}
 */
export function regionOf([left, top, right, bottom], pose, width, height) {
  const [rows, columns] = pose.input_size;
  const share = pose.padding * Math.max((right - left) / columns, (bottom - top) / rows);
  const [across, down] = [share * (columns / 2 + 1) + 2, share * (rows / 2 + 1) + 2];
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  const first = [Math.max(0, Math.floor(x - across)), Math.max(0, Math.floor(y - down))];
  const last = [Math.min(width, Math.ceil(x + across)), Math.min(height, Math.ceil(y + down))];
  if (last[0] <= first[0] || last[1] <= first[1]) return null;
  return { left: first[0], top: first[1], width: last[0] - first[0], height: last[1] - first[1] };
}

/** Scores of a person's joints. @param {Float32Array} points */
export function scoresOf(points) {
  return points.filter((_, index) => index % 3 === 2);
}

/** @param {Float32Array} values */
export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * The box around the surer joints of a person, grown by a share of its sides: where they are looked for next.
 * @param {Float32Array} points @param {Follow} follow @returns {Box}
 */
export function boxOf(points, follow) {
  const scores = scoresOf(points);
  const lowest = Math.min(follow.sure * mean(scores), Math.max(...scores));
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  scores.forEach((score, joint) => {
    if (score < lowest) return;
    for (const axis of [0, 1]) {
      low[axis] = Math.min(low[axis], points[3 * joint + axis]);
      high[axis] = Math.max(high[axis], points[3 * joint + axis]);
    }
  });
  const margin = [0, 1].map((axis) => Math.max(follow.grow * (high[axis] - low[axis]), 1));
  return [low[0] - margin[0], low[1] - margin[1], high[0] + margin[0], high[1] + margin[1]];
}

/**
 * The next box of a person in a video, within the picture; null where the network lost them.
 * @param {Person} person @param {Follow} follow @param {number} width @param {number} height
 */
export function nextBox(person, follow, width, height) {
  if (mean(scoresOf(person.points)) < follow.lowest) return null;
  const [left, top, right, bottom] = boxOf(person.points, follow);
  /** @type {Box} */
  const inside = [Math.max(left, 0), Math.max(top, 0), Math.min(right, width), Math.min(bottom, height)];
  return Math.min(inside[2] - inside[0], inside[3] - inside[1]) < SMALLEST_BOX ? null : inside;
}

/** The side of the body that all these joints are on. @param {Skeleton} skeleton @param {number[]} joints */
export function sideOf(skeleton, joints) {
  const sides = new Set(
    joints.map((joint) => {
      const pair = skeleton.flip_pairs.find((each) => each.includes(joint));
      return pair === undefined ? "middle" : pair[0] === joint ? "left" : "right";
    }),
  );
  return sides.size === 1 ? /** @type {"left" | "right" | "middle"} */ ([...sides][0]) : "middle";
}

/** A person's score as HRNet's: the mean of the surer joints. @param {Float32Array} points @param {number} sure */
export function personScore(points, sure) {
  const scores = scoresOf(points).filter((score) => score > sure);
  return scores.length === 0 ? 0 : mean(scores);
}

/**
 * People as COCO keypoint results, as `lehrnet predict` writes them.
 * @param {Person[]} people @param {string} name @param {number} sure  lowest score of a joint that counts
 */
export function cocoResults(people, name, sure) {
  const stem = name.replace(/\.[^.]*$/, "");
  return people.map(({ box: [left, top, right, bottom], points }) => ({
    image_id: /^\d{1,15}$/.test(stem) ? Number(stem) : 1,
    category_id: PERSON_CATEGORY,
    file_name: name,
    bbox: [left, top, right - left, bottom - top],
    keypoints: Array.from(points, (value) => Math.round(value * DECIMALS) / DECIMALS),
    score: personScore(points, sure),
  }));
}
