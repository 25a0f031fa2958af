"""`auto`, the default: the fastest detector that finds the face.

`slim` at 160 pixels answers for most photos in 2 ms. Where it finds nothing, or only faces too small to
place the eyes well, `slim` at 320 and 640 pixels look again; then a frame is put around the photo, which
brings a face that overflows it into view; then `haar`; and at last the centre crop. `Face.detector` says
who answered: "slim", "slim+frame", "haar" or "center".
"""

from dataclasses import replace

import cv2
import numpy as np

from . import Face, load_detector, main_face
from .center import Center

try:
    from .slim import Slim
except ModuleNotFoundError:  # no wheel for this platform (macOS): haar and center remain
    Slim = None

MIN_WIDTH = 20  # pixels of the searched image: below, a pixel of landmark error is 10 % of the eye distance


class Auto:
    """Stages from fast to thorough; a face found in one ends the search, `Center` never fails."""

    name = "auto"

    def __init__(self):
        self._slim = [Slim(size) for size in (160, 320, 640)] if Slim else []
        self._haar = None

    def __call__(self, image: np.ndarray) -> list[Face]:
        seen: list[Face] = []
        longest = max(image.shape[:2])
        for slim in self._slim:
            faces = slim(image)
            seen = faces or seen
            scale = min(1.0, slim.size / longest)
            if faces and main_face(faces, image.shape).box[2] * scale >= MIN_WIDTH or scale == 1:
                break
        return seen or self._framed(image) or self._haar_faces(image) or Center()(image)

    def _framed(self, image: np.ndarray) -> list[Face]:
        """`slim` on the photo with a border half as wide as itself, for a face larger than the photo."""
        if not self._slim:
            return []
        pad = max(image.shape[:2]) // 2
        framed = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        return [
            replace(
                face,
                box=(face.box[0] - pad, face.box[1] - pad, *face.box[2:]),
                landmarks=face.landmarks - pad,
                detector="slim+frame",
            )
            for face in self._slim[0](framed)
        ]

    def _haar_faces(self, image: np.ndarray) -> list[Face]:
        self._haar = self._haar or load_detector("haar")
        return self._haar(image)
