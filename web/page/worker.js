/**
 * The network's thread: ONNX Runtime Web with one graph, from RGBA pixels and a box to keypoints.
 *
 * @typedef {typeof import("onnxruntime-web")} Ort
 * @typedef {{id: number, kind: "open", settings: import("./network.js").Settings}} Open
 * @typedef {{id: number, kind: "find", pixels: ArrayBuffer, width: number, height: number, box: number[]}} Find
 */

/** @type {Ort | undefined} */
let ort;
/** @type {import("onnxruntime-web").InferenceSession | undefined} */
let session;

/** @param {import("./network.js").Settings} settings */
async function open({ backend, threads, file }) {
  const graph = new URL(file, import.meta.url);
  const library = new URL(`ort/ort.${backend}.min.mjs`, import.meta.url);
  const loaded = /** @type {Ort} */ (await import(library.href));
  loaded.env.wasm.wasmPaths = new URL("ort/", import.meta.url).href;
  loaded.env.wasm.numThreads = threads;
  loaded.env.logLevel = "error";
  const answer = await fetch(graph);
  if (!answer.ok) throw new Error(`the server has no ${file} (${answer.status}): export the bundle again`);
  const content = new Uint8Array(await answer.arrayBuffer());
  session = await loaded.InferenceSession.create(content, { executionProviders: [backend] });
  ort = loaded;
}

/** @param {Find} question */
async function find({ pixels, width, height, box }) {
  if (!ort || !session) throw new Error("the network is not open");
  const start = performance.now();
  const frame = new ort.Tensor("uint8", new Uint8Array(pixels), [height, width, 4]);
  const boxes = new ort.Tensor("float32", Float32Array.from(box), [1, 4]);
  const { keypoints } = await session.run({ frame, boxes });
  const points = Float32Array.from(/** @type {Float32Array} */ (await keypoints.getData()));
  for (const tensor of [frame, boxes, keypoints]) tensor.dispose();
  return { points, ms: performance.now() - start };
}

onmessage = async (/** @type {MessageEvent<Open | Find>} */ { data }) => {
  try {
    const answer = data.kind === "open" ? await open(data.settings) : await find(data);
    postMessage({ id: data.id, answer });
  } catch (error) {
    postMessage({ id: data.id, error: error instanceof Error ? error.message : String(error) });
  }
};
