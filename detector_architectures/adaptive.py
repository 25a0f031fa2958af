"""`adaptive`: `finder`, looking as closely as the photo needs.

One look at 192 pixels is enough for most photos. Where it finds nothing, is unsure, sees a tiny face or several, a look
at 640 pixels follows. A face that was small in the searched picture is then looked at once more from near, since one
pixel there is much of the distance between its eyes.

What is unsure even then, as faces with a mask, pets and dolls are, is looked at from near, and by `slim` where that is
installed. What these say together is the face's score (`Opinion`).
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from . import SAME, Detector, Face, MissingPackageError, find_again, load_detector
from .finder import MIN_SCORE, Finder

FIRST, SECOND = 192, 640  # pixels on the long side of the photo
LEAST, UNSURE, SURE = 0.02, 0.3, 0.97  # score: below the first it is nothing; from the last on nobody else is asked
TINY = 16  # pixels of the searched picture: a smaller face may hide others
SMALL = 40  # pixels of the searched picture: a smaller face is looked at from near
NEAR = 128  # pixels on the long side of what is then looked at
MOST = 6  # unsure faces of a photo that are asked about, the surest first


class Opinion(NamedTuple):
    """How much each score of a face says: a logistic regression."""

    far: float  # of the logit of `finder` in the photo
    near: float  # of its logit from near
    slim: float  # of the score of `slim`
    constant: float

    def __call__(self, far: float, near: float, slim: float) -> float:
        """The probability of a face."""
        logits = self.far * _logit(far) + self.near * _logit(near) + self.slim * slim + self.constant
        return float(1 / (1 + np.exp(-logits)))


# Fitted on the boxes in 124 pictures of nobody that `finder` was not trained on and in 299 of people with masks, for a
# photo that is as likely to show somebody as not.
ALONE, TOGETHER = Opinion(0.72, 0.45, 0.0, -1.5), Opinion(0.55, 0.35, 4.35, -2.1)


Seen = tuple[Face, float]  # a face, and the scale of the look that saw it


class Adaptive:
    """Looks from fast to thorough. Raises what `Finder` raises."""

    name = "adaptive"

    def __init__(self):
        self._finder = Finder()
        try:
            self._slim: Detector | None = load_detector("slim")
        except MissingPackageError:
            self._slim = None

    def __call__(self, image: np.ndarray) -> list[Face]:
        first, second = (min(1.0, size / max(image.shape[:2])) for size in (FIRST, SECOND))
        seen = [(face, first) for face in self._finder.look(image, FIRST, LEAST)]
        if not _enough(seen):
            if first < 1:
                seen += [(face, second) for face in self._finder.look(image, SECOND, LEAST)]
            seen = self._judged(image, _surest(seen))
        return [
            self._exact(image, face) if scale * side(face) < SMALL else face
            for face, scale in seen
            if face.score >= MIN_SCORE
        ]

    def _near(self, window: np.ndarray) -> list[Face]:
        return self._finder.look(window, NEAR, LEAST)

    def _exact(self, image: np.ndarray, face: Face) -> Face:
        """With the box and landmarks seen from near."""
        again = find_again(image, face, self._near)
        return replace(again, score=face.score) if again else face

    def _judged(self, image: np.ndarray, seen: list[Seen]) -> list[Seen]:
        """The sure faces as they are, the others, and those of `slim` beside them, with a score in the light of all."""
        judged, asked = [one for one in seen if one[0].score >= SURE], [one for one in seen if one[0].score < SURE]
        if judged and all(face.score < UNSURE for face, _ in asked):
            return judged
        others = self._slim(image) if self._slim else []
        known = [face for face, _ in seen]
        new = [replace(other, score=LEAST) for other in others if all(other.overlap(face) < SAME for face in known)]
        opinion = TOGETHER if self._slim else ALONE
        for face, scale in [*asked[:MOST], *((face, 1.0) for face in new[:MOST])]:
            again = find_again(image, face, self._near)
            slim = max((other.score for other in others if other.overlap(face) >= SAME), default=0.0)
            score = opinion(face.score, again.score if again else LEAST, slim)
            judged.append((replace(face, score=score), scale))
        return judged


def _enough(seen: list[Seen]) -> bool:
    """Whether a look has seen one face, surely and not tiny, and next to nothing else."""
    likely = [(face, scale) for face, scale in seen if face.score >= UNSURE]
    return len(likely) == 1 and all(face.score >= SURE and scale * side(face) >= TINY for face, scale in likely)


def _surest(seen: list[Seen]) -> list[Seen]:
    """Of the faces of several looks the surest at each place, the surest first."""
    kept: list[Seen] = []
    for face, scale in sorted(seen, key=lambda one: -one[0].score):
        if all(face.overlap(other) < SAME for other, _ in kept):
            kept.append((face, scale))
    return kept


def side(face: Face) -> float:
    """Of the square as large as the face's box, in pixels."""
    return float(np.sqrt(face.area))


def _logit(score: float) -> float:
    score = min(max(score, LEAST), 1 - 1e-6)
    return float(np.log(score / (1 - score)))
