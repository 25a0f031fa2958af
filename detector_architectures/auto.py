"""`auto`, the default: the fastest that finds the face.

`slim` looks at the photo at 160 pixels (2 ms), which is enough for most; where it finds nothing, only a tiny face,
or several, it looks again at 320 and at 640. A face that was small in the searched picture is then looked at
once more from near, since one pixel there is much of the distance between its eyes. Where `slim` is unsure,
or found nothing, it also looks at the photo turned. Where still no face was found, a frame is put around the
photo, which brings a face larger than the photo into view; then `haar` tries; at last the centre crop is taken.

`Face.detector` says who answered: "slim", "slim+turn", "slim+frame", "haar" or "center".
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
SURE = 0.88  # score: 99 % of upright faces reach it; of those tilted by 45 degrees, half
TURNS = (45, -45, 90, -90, 180)  # degrees


class Auto:
    """Stages from fast to thorough; a face found in one ends the search, `Center` never fails."""

    name = "auto"

    def __init__(self):
        self._stages = [Slim(size) for size in (160, 320, 640)] if Slim else []
        self._near = Slim(128) if Slim else None
        self._haar = None

    def __call__(self, image: np.ndarray) -> list[Face]:
        found = self._upright(image)
        if self._stages and _score(found) < SURE:
            found = self._turned(image, found)
        return found or self._framed(image) or self._haar_faces(image) or Center()(image)

    def _upright(self, image: np.ndarray) -> list[Face]:
        """`slim` at growing resolution, then each small face from near."""
        found: list[Face] = []
        for slim in self._stages:
            scale = min(1.0, slim.size / max(image.shape[:2]))
            found = slim(image) or found
            if (len(found) == 1 and found[0].box[2] * scale >= TINY) or scale == 1:
                break
        return [self._from_near(image, face) if face.box[2] * scale < SMALL else face for face in found]

    def _from_near(self, image: np.ndarray, face: Face) -> Face:
        """The same face, its box and landmarks found anew in a window around it; itself where that fails."""
        x, y, w, h = face.box
        centre, reach = np.array([x + w / 2, y + h / 2]), WINDOW * max(w, h) / 2
        x0, y0 = np.maximum(centre - reach, 0).astype(int)
        x1, y1 = np.minimum(centre + reach, image.shape[1::-1]).astype(int) + 1
        to_photo = np.array([[1, 0, x0], [0, 1, y0]])
        again = [_mapped(near, to_photo) for near in self._near(np.ascontiguousarray(image[y0:y1, x0:x1]))]
        again = [near for near in again if np.hypot(*(near.landmarks.mean(0) - face.landmarks.mean(0))) < w / 3]
        return max(again, key=lambda near: near.score, default=face)

    def _turned(self, image: np.ndarray, found: list[Face]) -> list[Face]:
        """The faces of the photo turned by the angle at which `slim` is surest; `found` where that is none."""
        scale = min(1.0, self._stages[0].size / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        best = max(TURNS, key=lambda angle: _score(self._stages[1](_turn(small, angle)[0])))
        turned, to_photo = _turn(image, best)
        faces = self._upright(turned)
        if _score(faces) < _score(found) + 0.03:
            return found
        return [replace(_mapped(face, to_photo), detector="slim+turn") for face in faces]

    def _framed(self, image: np.ndarray) -> list[Face]:
        """`slim` on the photo with a border half as wide as itself, for a face larger than the photo."""
        if not self._stages:
            return []
        pad = max(image.shape[:2]) // 2
        framed = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        to_photo = np.array([[1, 0, -pad], [0, 1, -pad]])
        return [replace(_mapped(face, to_photo), detector="slim+frame") for face in self._stages[0](framed)]

    def _haar_faces(self, image: np.ndarray) -> list[Face]:
        self._haar = self._haar or load_detector("haar")
        return self._haar(image)


def _score(faces: list[Face]) -> float:
    return max((face.score for face in faces), default=0.0)


def _turn(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The whole picture turned anticlockwise, and the (2, 3) map from its pixels back to those of `image`."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    new_width, new_height = np.ceil(np.abs(matrix[:, :2]) @ (width, height) - 1e-6).astype(int)
    matrix[:, 2] += ((new_width - width) / 2, (new_height - height) / 2)
    return cv2.warpAffine(image, matrix, (int(new_width), int(new_height))), cv2.invertAffineTransform(matrix)


def _mapped(face: Face, matrix: np.ndarray) -> Face:
    """`face`, found in another picture, in pixels of the photo that the (2, 3) `matrix` leads to."""
    x, y, w, h = face.box
    corners = np.array([[x, y], [x + w, y], [x, y + h], [x + w, y + h]]) @ matrix[:, :2].T + matrix[:, 2]
    low, size = corners.min(0), np.ptp(corners, axis=0)
    landmarks = (face.landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return replace(face, box=(float(low[0]), float(low[1]), float(size[0]), float(size[1])), landmarks=landmarks)
