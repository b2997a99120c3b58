/**
 * Where pixels come from: a photograph, a video file, the camera. What cannot be opened is answered in words.
 *
 * @typedef {import("./pose.js").Region} Region
 * @typedef {{kind: "picture" | "video", name: string, width: number, height: number, element: ImageBitmap | HTMLVideoElement,
 *   close: () => void}} Source
 */

const MOST_PIXELS = 1 << 26; // a canvas takes no more in some browsers
const MOST_BYTES = 1 << 28;

/** Open a file that was chosen or dropped. @param {File} file @param {HTMLVideoElement} video @returns {Promise<Source>} */
export async function openFile(file, video) {
  if (file.size === 0) throw new Error(`${file.name} is empty: choose a photograph or a video`);
  if (file.type.startsWith("video/")) return openVideo(file, video);
  if (file.size > MOST_BYTES) throw new Error(`${file.name} has ${file.size >> 20} MiB, expected a picture of at most ${MOST_BYTES >> 20}`);
  let picture;
  try {
    picture = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    const kind = file.type || "of an unknown type";
    throw new Error(`${file.name} (${kind}) is no picture that this browser can read: try a JPEG, PNG or WebP file`);
  }
  if (picture.width * picture.height > MOST_PIXELS) {
    const size = `${picture.width} x ${picture.height} px`;
    picture.close();
    throw new Error(`${file.name} has ${size}, expected at most ${MOST_PIXELS >> 20} Mi px: make it smaller`);
  }
  return { kind: "picture", name: file.name, width: picture.width, height: picture.height, element: picture, close: () => picture.close() };
}

/** @param {File} file @param {HTMLVideoElement} video @returns {Promise<Source>} */
async function openVideo(file, video) {
  const address = URL.createObjectURL(file);
  try {
    video.src = address;
    await loaded(video);
  } catch {
    URL.revokeObjectURL(address);
    throw new Error(`${file.name} (${file.type}) is no video that this browser can play: try MP4 with H.264, or WebM`);
  }
  return playing(video, file.name, () => URL.revokeObjectURL(address));
}

/** Open the camera. @param {HTMLVideoElement} video @returns {Promise<Source>} */
export async function openCamera(video) {
  if (!navigator.mediaDevices) {
    throw new Error("The camera is only given to pages from https or from this machine (localhost): serve the page so");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
  } catch (error) {
    const refused = error instanceof DOMException && error.name === "NotAllowedError";
    throw new Error(refused ? "The camera was refused: allow it for this page in the browser's settings" : "No camera was found: connect one, or open a file");
  }
  video.srcObject = stream;
  await loaded(video);
  return playing(video, "camera", () => stream.getTracks().forEach((track) => track.stop()));
}

/** @param {HTMLVideoElement} video @param {string} name @param {() => void} freed @returns {Source} */
function playing(video, name, freed) {
  const close = () => {
    video.pause();
    video.removeAttribute("src");
    video.srcObject = null;
    video.load();
    freed();
  };
  return { kind: "video", name, width: video.videoWidth, height: video.videoHeight, element: video, close };
}

/** Wait until a video has a frame. @param {HTMLVideoElement} video @returns {Promise<void>} */
function loaded(video) {
  return new Promise((resolve, reject) => {
    const settle = () => {
      video.removeEventListener("loadeddata", settle);
      video.removeEventListener("error", settle);
      if (video.error || video.videoWidth === 0) reject(video.error ?? new Error("there is no picture in it"));
      else resolve();
    };
    video.addEventListener("loadeddata", settle);
    video.addEventListener("error", settle);
  });
}

/** The picture of a source as it is now; null while a video has none, as between its end and its beginning. @param {Source} source */
export async function grab({ element }) {
  if (element instanceof ImageBitmap) return element;
  if (element.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null;
  return createImageBitmap(element).catch(() => null);
}

/** Reads pixels of pictures, unscaled, through one canvas of its own. */
export class PixelReader {
  constructor() {
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    if (context === null) throw new Error("This browser gives no canvas: allow canvas, or use another browser");
    this.context = context;
  }

  /** RGBA pixels of a region. @param {ImageBitmap} picture @param {Region} region */
  read(picture, { left, top, width, height }) {
    const { canvas } = this.context;
    if (canvas.width < width || canvas.height < height) {
      canvas.width = Math.max(canvas.width, width);
      canvas.height = Math.max(canvas.height, height);
    }
    this.context.drawImage(picture, left, top, width, height, 0, 0, width, height);
    return this.context.getImageData(0, 0, width, height);
  }
}
