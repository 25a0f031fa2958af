// What is in a moving picture?  Webcam or film: each frame is a photo; its answers are averaged over the last frames.
import { verdict } from "./answers.js";
import { COLOURS, draw } from "./drawing.js";
import { answer } from "./pipeline.js";
import { photoOf } from "./photos.js";
import { makeTracks } from "./tracks.js";

const get = (id) => document.getElementById(id);
const LONG_SIDE = 960; // pixels of the drawn picture
const video = get("film-view");
let running = null; // what ends the picture that is shown
let asked = 0; // how often one was asked for or ended: what comes later than that is not shown

/** Show the webcam until `stop`. */
export async function showCamera(choice) {
  const turn = stop();
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("this browser gives no webcam to this page: it must come by https or from this machine");
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  } catch (error) {
    if (turn !== asked) return;
    const why = {
      NotAllowedError: "it was not allowed",
      NotFoundError: "there is none",
      NotReadableError: "it is in use",
    };
    throw new Error(`no picture from the webcam: ${why[error.name] ?? error.message}`);
  }
  const release = () => stream.getTracks().forEach((track) => track.stop());
  if (turn !== asked) return release();
  video.srcObject = stream;
  await show(choice, true, release);
}

/** Show the film of a file until `stop`. */
export async function showFilm(file, choice) {
  stop();
  running = forget;
  video.src = URL.createObjectURL(file);
  const failed = new Promise((_, reject) => {
    video.onerror = () => reject(new Error(`${file.name}: damaged, or a film that this browser does not play`));
  });
  try {
    await Promise.race([failed, new Promise((resolve) => (video.onloadeddata = resolve))]);
    if (!video.videoWidth) throw new Error(`${file.name}: there is no picture in it`);
  } catch (error) {
    stop();
    throw error;
  }
  await show(choice, false, () => {});
}

/** End what is shown, and let go of the webcam; returns the number by which one that is asked for now knows itself. */
export function stop() {
  running?.();
  running = null;
  get("live").hidden = true;
  for (const told of ["frames", "rate", "glasses", "probability"]) delete get("live").dataset[told];
  return ++asked;
}

function forget() {
  if (video.src) URL.revokeObjectURL(video.src);
  video.onerror = video.onloadeddata = null;
  video.removeAttribute("src");
  video.srcObject = null;
}

async function show(choice, isCamera, release) {
  let shown = true;
  running = () => {
    shown = false;
    video.pause();
    release();
    forget();
  };
  get("live").hidden = false;
  get("pause").hidden = get("seek").hidden = isCamera;
  get("live-answer").textContent = "Waiting for the picture";
  get("live-rate").textContent = "";
  try {
    await video.play();
  } catch (error) {
    if (!shown) return;
    if (error.name !== "AbortError") throw error; // a film of one picture is over before it plays
  }
  get("live").scrollIntoView({ block: "nearest" });
  get("stop").focus();
  const tracks = makeTracks();
  const times = [];
  let last = "";
  while (shown) {
    await nextFrame();
    const now = `${video.currentTime} ${choice.frame} ${choice.heat}`;
    if (shown && isCamera && !video.srcObject.active) {
      stop();
      throw new Error("the webcam gives no more pictures");
    }
    if (!shown || document.hidden || !video.videoWidth || (video.paused && now === last)) continue;
    last = now;
    const photo = photoOf(video);
    const found = tracks(await answer(photo), performance.now() / 1000);
    if (!shown) break;
    drawFrame(photo, found, choice, isCamera);
    if (!isCamera) get("seek").value = video.currentTime / (video.duration || 1);
    times.push(performance.now());
    while (times[0] < times.at(-1) - 2000) times.shift();
    const rate = times.length > 3 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : 0;
    if (rate) get("live-rate").textContent = `${rate.toFixed(0)} frames a second`;
    Object.assign(get("live").dataset, { frames: Number(get("live").dataset.frames ?? 0) + 1, rate: rate.toFixed(1) });
  }
}

/** Resolves when there is another frame, or after a while. */
function nextFrame() {
  return new Promise((resolve) => {
    setTimeout(resolve, 200);
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });
}

function drawFrame(photo, found, choice, isCamera) {
  const canvas = get("view");
  const small = Math.min(1, LONG_SIDE / Math.max(photo.width, photo.height));
  const [width, height] = [photo.width, photo.height].map((side) => Math.round(side * small));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  draw(canvas, photo.canvas, photo, found.faces, choice, isCamera);
  const said = get("live-answer");
  const words = verdict(found);
  if (said.textContent !== words) {
    said.textContent = words;
    said.style.setProperty("--kind", COLOURS[found.kind] ?? "");
    get("said").textContent = words;
  }
  const { dataset } = get("live");
  Object.assign(dataset, { glasses: String(found.glasses), probability: String(found.probability) });
}

get("stop").addEventListener("click", () => {
  stop();
  get("camera").focus();
});
get("pause").addEventListener("click", () => (video.paused ? video.play().catch(() => {}) : video.pause())); // over at once
for (const event of ["play", "pause"]) {
  video.addEventListener(event, () => (get("pause").textContent = video.paused ? "Play" : "Pause"));
}
get("seek").addEventListener("input", (event) => (video.currentTime = event.target.value * (video.duration || 0)));
