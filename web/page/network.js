/**
 * The network, in a thread of its own (worker.js), so that the page answers while it computes.
 *
 * @typedef {import("./pose.js").Box} Box
 * @typedef {import("./pose.js").Region} Region
 * @typedef {{backend: string, threads: number, file: string}} Settings
 * @typedef {{points: Float32Array, ms: number}} Found
 */

export class Network {
  /** @param {Worker} worker */
  constructor(worker) {
    this.worker = worker;
    this.asked = 0;
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    worker.onmessage = ({ data }) => this.settle(data);
    worker.onerror = (event) => this.fail(`The network's thread could not be started: ${event.message || "its script did not load"}`);
  }

  /** Load ONNX Runtime Web and a graph; an Error says in words what failed. @param {Settings} settings */
  static async open(settings) {
    const network = new Network(new Worker(new URL("worker.js", import.meta.url), { type: "module" }));
    try {
      await network.ask({ kind: "open", settings }, []);
    } catch (error) {
      network.close();
      throw error;
    }
    return network;
  }

  /**
   * Keypoints of the person in a box, in px of the picture, from the pixels of a region; these are given away.
   * @param {ImageData} image @param {Region} region @param {Box} box @returns {Promise<Found>}
   */
  async find(image, region, box) {
    const [left, top] = [region.left, region.top];
    const inside = [box[0] - left, box[1] - top, box[2] - left, box[3] - top];
    const pixels = image.data.buffer;
    const question = { kind: "find", pixels, width: image.width, height: image.height, box: inside };
    /** @type {Found} */
    const found = await this.ask(question, [pixels]);
    for (let joint = 0; joint < found.points.length; joint += 3) {
      found.points[joint] += left;
      found.points[joint + 1] += top;
    }
    return found;
  }

  /** @param {object} question @param {Transferable[]} given @returns {Promise<any>} */
  ask(question, given) {
    const id = ++this.asked;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...question }, given);
    });
  }

  /** @param {{id: number, answer?: any, error?: string}} reply */
  settle({ id, answer, error }) {
    const asker = this.waiting.get(id);
    this.waiting.delete(id);
    if (error === undefined) asker?.resolve(answer);
    else asker?.reject(new Error(error));
  }

  /** Stop the thread; whoever waits for an answer gets an Error. */
  close() {
    this.worker.terminate();
    this.fail("the network was closed");
  }

  /** @param {string} why */
  fail(why) {
    for (const { reject } of this.waiting.values()) reject(new Error(why));
    this.waiting.clear();
  }
}
