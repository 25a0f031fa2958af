"""`auto`, the default: `finder`, looking as closely as the photo needs.

One look at 192 pixels is enough for most photos. Where it finds nothing, is unsure, sees a tiny face or several, a look
at 640 pixels follows. A face that was small in the searched picture is then looked at once more from near, since one
pixel there is much of the distance between its eyes. A tiny photo is enlarged first; one in which no face was found is
searched once more with a border around it, which brings a face larger than the photo into view.

Faces with a mask, in profile or cut off have low scores, and so have pets and dolls. `candidates` returns these too,
for those who can look at them once more, as the pipeline does.
"""

from dataclasses import replace

import cv2
import numpy as np

from . import SAME, Face, find_again, shrink
from .finder import Finder

FIRST, SECOND = 192, 640  # pixels on the long side of the photo
NEAR = 160  # pixels on the long side of what is looked at from near
SMALLEST = 160  # pixels on the long side: a smaller photo is enlarged to it
LEAST, UNSURE, SURE = 0.1, 0.5, 0.97  # score: below the first it is nothing; from the last on it needs no second look
MIN_SCORE = 0.93  # of what is a face without anybody else's word: of 100 photos of nobody, four have such a face
TINY = 16  # pixels of the searched picture: a smaller face may hide others
SMALL = 48  # pixels of the searched picture: a smaller face is looked at from near
BORDER = 32  # pixels around a photo of SMALLEST

Seen = tuple[Face, float]  # a face, and the scale of the look that saw it


class Auto:
    """Looks from fast to thorough. Raises what `Finder` raises."""

    name = "auto"

    def __init__(self):
        self._finder = Finder()

    def __call__(self, image: np.ndarray) -> list[Face]:
        return [face for face in self.candidates(image) if face.score >= MIN_SCORE]

    def candidates(self, image: np.ndarray) -> list[Face]:
        """The faces of an (H, W, 3) uint8 RGB image, and what could be one: all with a score of at least LEAST."""
        scale = SMALLEST / max(image.shape[:2])
        if scale > 1:
            return [face.scaled(1 / scale) for face in self.candidates(_enlarged(image, scale))]
        return self._faces(image) or self._framed(image)

    def _faces(self, image: np.ndarray) -> list[Face]:
        seen = self._look(image, FIRST)
        if not _enough(seen) and max(image.shape[:2]) > FIRST:
            seen += self._look(image, SECOND)
        return [self._from_near(image, face) if scale * face.side < SMALL else face for face, scale in _likely(seen)]

    def _look(self, image: np.ndarray, size: int) -> list[Seen]:
        scale = min(1.0, size / max(image.shape[:2]))
        return [(face, scale) for face in self._finder.look(image, size, LEAST)]

    def _from_near(self, image: np.ndarray, face: Face) -> Face:
        """With the box and landmarks seen from near."""
        again = find_again(image, face, lambda window: self._finder.look(window, NEAR, LEAST))
        return replace(again, score=face.score) if again else face

    def _framed(self, image: np.ndarray) -> list[Face]:
        """What is surely a face in the photo, shrunk, with a border around it."""
        small, scale = shrink(image, SMALLEST)
        framed = cv2.copyMakeBorder(small, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_REPLICATE)
        faces = self._finder.look(framed, SMALLEST + 2 * BORDER, SURE)
        return [face.moved(-BORDER, -BORDER).scaled(1 / scale) for face in faces]


def _enlarged(image: np.ndarray, scale: float) -> np.ndarray:
    """The image `scale` times as large, at most doubled at once: in one step edges would become stairs."""
    if scale > 2:
        return _enlarged(_enlarged(image, 2), scale / 2)
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def _enough(seen: list[Seen]) -> bool:
    """Whether a look has seen one face, surely and not tiny, and next to nothing else."""
    likely = [(face, scale) for face, scale in seen if face.score >= UNSURE]
    return len(likely) == 1 and all(face.score >= SURE and scale * face.side >= TINY for face, scale in likely)


def _likely(seen: list[Seen]) -> list[Seen]:
    """Of the faces of all looks the surest at each place; beside a sure face only those that are likely themselves."""
    kept: list[Seen] = []
    for face, scale in sorted(seen, key=lambda one: -one[0].score):
        if all(face.overlap(other) < SAME for other, _ in kept):
            kept.append((face, scale))
    least = UNSURE if kept and kept[0][0].score >= SURE else LEAST
    return [(face, scale) for face, scale in kept if face.score >= least]
