"""`auto`, the default: the fastest that finds the face.

`slim` looks at the photo at 160 pixels (2 ms), which is enough for most; where it finds nothing, only a tiny face,
or several, it looks again at 320 and at 640. A face that was small in the searched picture is then looked at
once more from near, since one pixel there is much of the distance between its eyes. Where no face
was found, a frame is put around the photo, which brings a face larger than the photo into view; then `haar`
tries; at last the centre crop is taken. `Face.detector` says who answered: "slim", "slim+frame", "haar", "center".
"""

from dataclasses import replace

import cv2
import numpy as np

from . import Face, load_detector
from .center import Center

try:
    from .slim import Slim
except ModuleNotFoundError:  # no wheel for this platform (macOS): haar and center remain
    Slim = None

TINY = 16  # pixels of the searched picture: a narrower face may hide others, so a finer look follows
SMALL = 48  # pixels of the searched picture: a narrower face is looked at again from near
WINDOW = 1.8  # width and height of what is then looked at, in sides of the face box


class Auto:
    """Stages from fast to thorough; a face found in one ends the search, `Center` never fails."""

    name = "auto"

    def __init__(self):
        self._stages = [Slim(size) for size in (160, 320, 640)] if Slim else []
        self._near = Slim(128) if Slim else None
        self._haar = None

    def __call__(self, image: np.ndarray) -> list[Face]:
        found: list[Face] = []
        for slim in self._stages:
            scale = min(1.0, slim.size / max(image.shape[:2]))
            found = slim(image) or found
            if (len(found) == 1 and found[0].box[2] * scale >= TINY) or scale == 1:
                break
        if found:
            return [self._from_near(image, face) if face.box[2] * scale < SMALL else face for face in found]
        return self._framed(image) or self._haar_faces(image) or Center()(image)

    def _from_near(self, image: np.ndarray, face: Face) -> Face:
        """The same face, its box and landmarks found anew in a window around it; itself where that fails."""
        x, y, w, h = face.box
        centre, reach = np.array([x + w / 2, y + h / 2]), WINDOW * max(w, h) / 2
        x0, y0 = np.maximum(centre - reach, 0).astype(int)
        x1, y1 = np.minimum(centre + reach, image.shape[1::-1]).astype(int) + 1
        again = [_moved(near, x0, y0) for near in self._near(np.ascontiguousarray(image[y0:y1, x0:x1]))]
        again = [near for near in again if np.hypot(*(near.landmarks.mean(0) - face.landmarks.mean(0))) < w / 3]
        return max(again, key=lambda near: near.score, default=face)

    def _framed(self, image: np.ndarray) -> list[Face]:
        """`slim` on the photo with a border half as wide as itself, for a face larger than the photo."""
        if not self._stages:
            return []
        pad = max(image.shape[:2]) // 2
        framed = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        return [replace(_moved(face, -pad, -pad), detector="slim+frame") for face in self._stages[0](framed)]

    def _haar_faces(self, image: np.ndarray) -> list[Face]:
        self._haar = self._haar or load_detector("haar")
        return self._haar(image)


def _moved(face: Face, x: float, y: float) -> Face:
    """`face`, found in a part of the photo whose corner is x, y, in pixels of the photo."""
    box = (face.box[0] + x, face.box[1] + y, *face.box[2:])
    return replace(face, box=box, landmarks=face.landmarks + np.float32([x, y]))
