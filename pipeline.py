"""How does a photo become an answer?  file -> image -> faces -> crops -> probabilities -> answer

    from pipeline import GlassesPipeline
    pipeline = GlassesPipeline()                         # detector="auto", model="glasses"
    for answer in pipeline(["a.jpg", "b.png"]):          # paths, or (H, W, 3) uint8 RGB arrays
        print(answer.path, answer.glasses, answer.probability, answer.kind)

Importing this module imports neither torch nor any detector's package: they load with the pipeline.
"""

import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from detector_architectures import Face, load_detector, main_face

WEIGHTS = Path(__file__).with_name("weights")
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .avif .heic .heif .jp2 .ppm .pgm".split()
)
KINDS = ("none", "eyeglasses", "sunglasses")  # the order of the model's outputs

MAX_SIDE = 1280  # pixels: a larger JPEG is decoded at 1/2, 1/4 or 1/8, never to less than this


class Crop(NamedTuple):
    """The part of a face that a network sees: its centre a little below the eyes, the eye line level.

    One unit is the distance between the eyes, or from the eyes to the mouth where that is longer, as in profile.
    The default is 2.7 units wide; a frame of ordinary glasses is 2.2.
    """

    width: int = 96  # pixels
    height: int = 64
    unit: float = 36.0  # pixels a unit
    drop: float = 0.15  # units from the eye line down to the centre

    def with_margin(self, factor: float) -> "Crop":
        """The same centre and scale, `factor` times as wide and high, in even numbers of pixels."""
        return self._replace(width=2 * round(self.width * factor / 2), height=2 * round(self.height * factor / 2))


CROP = Crop()

# Pillow's remarks on odd EXIF data and large pictures are not the user's concern. Set once: to set and reset
# warnings around a call is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class PhotoError(Exception):
    """A photo cannot be read; the message is one line that says why, without the path."""


@dataclass
class FaceAnswer:
    """One face: box as x, y, w, h in pixels of the upright photo, P(glasses), and which of `KINDS` it is."""

    box: tuple[int, int, int, int]
    probability: float
    kind: str


@dataclass
class Answer:
    """The answer for a photo: that of its main face, and all faces, the main one first.

    glasses, probability, kind and detector are None where the photo could not be read (`error` says why).
    `seconds` holds the time of each stage; "classify" is this photo's share of its batch.
    """

    path: str
    glasses: bool | None = None
    probability: float | None = None
    kind: str | None = None
    detector: str | None = None
    faces: list[FaceAnswer] = field(default_factory=list)
    error: str | None = None
    seconds: dict[str, float] = field(default_factory=dict, repr=False)


def read_image(path: str | os.PathLike, max_side: int | None = MAX_SIDE) -> tuple[np.ndarray, float]:
    """Decode any picture that Pillow reads, upright by its EXIF orientation.

    Returns the image as (H, W, 3) uint8 RGB, and how many pixels of the upright photo one of its pixels
    is: 1.0, or 2.0 to 8.0 where a JPEG with a side over twice `max_side` was decoded at reduced scale.
    Transparent pixels become white, 16-bit and floating-point greys are scaled to 8 bits, of an animation the
    first frame is taken.

    Raises PhotoError with one line for anything that is not a whole picture.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # a pipe would keep us waiting for ever
            raise PhotoError("a folder, not a picture" if stat.S_ISDIR(mode) else "not a regular file")
        if Path(path).suffix.lower() in (".heic", ".heif"):
            _register_heif()
        with Image.open(path) as picture:
            width, height = picture.size
            if max_side and picture.format in ("JPEG", "MPO"):  # MPO: what many phones write as .jpg
                shrink = max_side / max(width, height)
                picture.draft(None, (max(1, int(width * shrink)), max(1, int(height * shrink))))
            scale = max(1.0, width / picture.width)
            ImageOps.exif_transpose(picture, in_place=True)  # in place: without a copy where nothing is to turn
            return np.ascontiguousarray(_to_rgb(picture)), scale
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's limit, checked before anything is decoded
        raise PhotoError(f"refused, more than {2 * Image.MAX_IMAGE_PIXELS // 10**6} megapixels") from error
    except UnidentifiedImageError as error:
        reason = "the file is empty" if Path(path).stat().st_size == 0 else "not a picture in a format Pillow reads"
        raise PhotoError(reason) from error
    except FileNotFoundError as error:
        raise PhotoError("no such file") from error
    except PermissionError as error:
        raise PhotoError("no permission to read it") from error
    except MemoryError as error:
        raise PhotoError("too large for the memory of this machine") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError ...
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise PhotoError(f"damaged picture: {reason}"[:200]) from error


def _register_heif() -> None:
    """HEIC pictures (iPhone) need the optional package pillow-heif."""
    try:
        import pillow_heif
    except ImportError as error:
        raise PhotoError("HEIC pictures need a package: pip install pillow-heif") from error
    pillow_heif.register_heif_opener()


def _to_rgb(picture: Image.Image) -> np.ndarray:
    """Any Pillow mode -> (H, W, 3) uint8."""
    if picture.mode.startswith("I") or picture.mode == "F":
        gray = np.nan_to_num(np.asarray(picture, dtype=np.float32))
        low, high = gray.min(), gray.max()
        if picture.mode != "F" and low >= 0:  # as many bits as its brightest pixel needs: 8, 12 or 16
            low, high = 0.0, next(2.0**bits - 1 for bits in (8, 12, 16, 32) if high < 2.0**bits)
        gray = np.clip((gray - low) * (255.0 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def align_face(image: np.ndarray, landmarks: np.ndarray, crop: Crop = CROP) -> np.ndarray:
    """Cut a face out of `image`: the eye line level, both eyes at a fixed distance and place.

    image: (H, W, 3) uint8. landmarks: (5, 2), as in `Face`. Returns (height, width, 3) uint8 of `crop`, black
    outside the photo.
    """
    width, height = crop.width, crop.height
    eye, other_eye, _, mouth, other_mouth = np.asarray(landmarks, dtype=np.float64)
    eyes = (eye + other_eye) / 2
    across, down = other_eye - eye, (mouth + other_mouth) / 2 - eyes
    level = across + np.array([down[1], -down[0]])  # both say where the face's right is: their mean is steadier
    source_unit = max(np.hypot(*across), np.hypot(*down), 1.0)
    cos, sin = level / max(np.hypot(*level), 1e-6) if level.any() else (1.0, 0.0)
    centre = eyes + crop.drop * source_unit * np.array([-sin, cos])

    scale = crop.unit / source_unit
    reach = max(np.hypot(width, height) / 2 / scale + 2, 2.6 * source_unit)  # alike for crops with and without margin
    x0, y0 = np.maximum(np.floor(centre - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre + reach), image.shape[1::-1]).astype(int)
    if x1 <= x0 or y1 <= y0:  # landmarks far outside the photo
        return np.zeros((height, width, 3), np.uint8)
    image, centre = image[y0:y1, x0:x1], centre - (x0, y0)
    if scale < 0.75:  # much larger than the crop: shrink it by its area first, else the warp aliases
        small = [max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))]
        ratio = np.array(small) / (x1 - x0, y1 - y0)
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        centre = (centre + 0.5) * ratio - 0.5
        scale /= ratio.mean()

    turn = scale * np.array([[cos, sin], [-sin, cos]])  # photo -> crop
    shift = np.array([(width - 1) / 2, (height - 1) / 2]) - turn @ centre
    return cv2.warpAffine(image, np.column_stack([turn, shift]), (width, height), flags=cv2.INTER_LINEAR)


def find_faces(detector, image: np.ndarray) -> list[Face]:
    """All faces of an (H, W, 3) uint8 RGB image, the main one first; the centre crop where there is none."""
    faces = detector(image) or load_detector("center")(image)
    first = main_face(faces, image.shape)
    return [first, *sorted((face for face in faces if face is not first), key=lambda face: -face.area)]


class GlassesPipeline:
    """Photos in, answers out, in order; decoding and detection run in `workers` threads, faces in batches.

    model: a name in `weights/` or the path of a `.safetensors` or `.onnx` file. threshold: the probability from which
    a face wears glasses; None takes the one stored with the weights.

    Raises what `load_detector` and `classifiers.open_classifier` raise.
    """

    def __init__(self, detector="auto", model="glasses", threshold=None, device="auto", workers=None, batch=32):
        from classifiers import open_classifier  # which imports this module

        self.detector = load_detector(detector) if isinstance(detector, str) else detector
        self.classifier = open_classifier(model, device)
        self.threshold = self.classifier.threshold if threshold is None else threshold
        self.workers, self.batch = workers or min(8, os.cpu_count() or 1), batch

    def __call__(self, photos: Iterable[str | os.PathLike | np.ndarray]) -> Iterator[Answer]:
        photos = iter(photos)
        with ThreadPoolExecutor(self.workers) as pool:
            while chunk := list(islice(photos, self.batch)):
                answers, crops = zip(*pool.map(self._crops, chunk), strict=True)
                yield from self._classify(answers, crops)

    def _crops(self, photo) -> tuple[Answer, list[np.ndarray]]:
        """Decode, detect and crop one photo: its answer so far, and a crop of each face."""
        array = isinstance(photo, np.ndarray)
        answer = Answer(path="" if array else os.fspath(photo))
        start = perf_counter()
        try:
            image, scale = (photo, 1.0) if array else read_image(photo)
        except PhotoError as error:
            answer.error = str(error)
            return answer, []
        decoded = perf_counter()
        try:
            faces = find_faces(self.detector, image)
            detected = perf_counter()
            crops = [align_face(image, face.landmarks, self.classifier.crop) for face in faces]
        except (cv2.error, RuntimeError, ValueError) as error:  # one photo's trouble must not lose the others
            answer.error = f"cannot be searched for faces: {' '.join(str(error).split())}"[:200]
            return answer, []
        answer.detector = faces[0].detector
        answer.faces = [
            FaceAnswer(tuple(round(float(v) * scale) for v in face.box), probability=0.0, kind="none") for face in faces
        ]
        answer.seconds = {
            "decode": decoded - start,
            "detect": detected - decoded,
            "crop": perf_counter() - detected,
        }
        return answer, crops

    def _classify(self, answers: tuple[Answer, ...], crops: tuple[list[np.ndarray], ...]) -> Iterator[Answer]:
        """Classify the faces of all photos of a batch at once and fill in the answers."""
        flat = [crop for of_photo in crops for crop in of_photo]
        start = perf_counter()
        rows = iter(self.classifier(np.stack(flat)) if flat else [])
        share = (perf_counter() - start) / max(1, len(flat))
        for answer in answers:
            for face, row in zip(answer.faces, rows, strict=False):
                face.probability = float(1 - row[0])
                face.kind = KINDS[1 + int(row[2] > row[1])] if face.probability >= self.threshold else "none"
            if answer.faces:
                main = answer.faces[0]
                answer.probability, answer.kind = main.probability, main.kind
                answer.glasses = main.probability >= self.threshold
                answer.seconds["classify"] = share * len(answer.faces)
            yield answer
