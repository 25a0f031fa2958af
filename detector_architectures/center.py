"""`center`: no search at all; the face is taken to fill the square at the centre of the photo."""

import numpy as np

from . import Face


class Center:
    """The right choice, at no cost, for ID photos and for data sets of cropped faces."""

    name = "center"

    def __call__(self, image: np.ndarray) -> list[Face]:
        height, width = image.shape[:2]
        side = min(height, width)
        # A portrait's square shows more than the face: its box is the middle 60 %, a little below the centre.
        w, h = 0.60 * side, 0.75 * side
        return [Face(((width - w) / 2, (height - h) / 2 + 0.03 * side, w, h), score=0.0, detector=self.name)]
