// What is in the file?  As glasses/photos.py. A photo: {image, scale, width, height, levels, finest, shrunk, canvas}.
// width, height: of the upright photo, whose pixels for one of `image` are `scale`. levels: its copies at 1, 1/2, 1/4
// and 1/8 of the finest that is kept, which is `shrunk` where the photo itself is larger. canvas: shows that one.
import settings from "../settings.json";
import { halved } from "./images.js";

const { MAX_SIDE, FINEST, HEIC_BRANDS } = settings.photos;

const HEIC =
  "HEIC, which this browser does not read: save it as JPEG (iPhone: Settings, Camera, Formats, Most Compatible)";
const DAMAGED = "damaged, or not a picture in a format that this browser reads (JPEG, PNG, WebP, AVIF, GIF, BMP)";

const GONE = "a folder, or a file that was moved or changed meanwhile: choose it again";

/** A photo cannot be read; the message is one line that says why. */
export class PhotoError extends Error {}

/** Decode the file of a photo, upright by its EXIF orientation; of an animated picture (GIF, WebP, PNG) the first frame.
 * Raises PhotoError. */
export async function readPhoto(file) {
  if (!file.size) throw new PhotoError("the file is empty");
  let head, bitmap;
  try {
    head = new TextDecoder("latin1").decode(await file.slice(0, 32).arrayBuffer());
  } catch {
    throw new PhotoError(GONE);
  }
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new PhotoError(isHeic(head) ? HEIC : DAMAGED);
  }
  try {
    return photoOf(bitmap, head.startsWith("\xff\xd8"));
  } finally {
    bitmap.close();
  }
}

function isHeic(head) {
  return (
    head.slice(4, 8) === "ftyp" && head.slice(8, 12) !== "avif" && HEIC_BRANDS.some((brand) => head.includes(brand, 8))
  );
}

/** The photo that a bitmap, a canvas or the frame of a video shows. coarse: searched as small as a JPEG. */
export function photoOf(source, coarse = true) {
  const width = source.videoWidth || source.width;
  const height = source.videoHeight || source.height;
  let scale = 1;
  while (Math.max(width, height) / scale > FINEST) scale *= 2;
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width / scale)), Math.max(1, Math.round(height / scale)));
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new PhotoError("too large for the memory that this browser lends");
  pen.fillStyle = "white"; // where the picture is transparent
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
  const levels = [pen.getImageData(0, 0, canvas.width, canvas.height)];
  const photo = { width, height, levels, shrunk: scale > 1, finest: scale, canvas };
  return { ...photo, ...atLevel(photo, coarse ? MAX_SIDE : FINEST) };
}

/** The photo `factor` times as large or larger, but not beyond its own size; itself where there is no such size. */
export function finer(photo, factor) {
  const size = Math.max(photo.image.width, photo.image.height);
  const wanted = Math.min(factor, photo.scale / photo.finest);
  return wanted <= 1 ? photo : { ...photo, ...atLevel(photo, Math.ceil(wanted * size - 1e-6)) };
}

/** The smallest of 1, 1/2, 1/4 and 1/8 of the photo with at least `size` pixels on its long side. */
function atLevel(photo, size) {
  const { levels, finest } = photo;
  let level = 0;
  while (level < 3 && Math.max(levels[level].width, levels[level].height) >= 2 * size) {
    level += 1;
    levels[level] ??= halved(levels[level - 1], 0.5)[0];
  }
  return { image: levels[level], scale: finest * 2 ** level };
}
