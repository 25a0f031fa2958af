"""`haar`: OpenCV's frontal face cascade, the classic that needs nothing but OpenCV.

Viola, Jones: "Rapid Object Detection using a Boosted Cascade of Simple Features", CVPR 2001.
"""

from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from . import Face, shrink

WINDOW = 24  # pixels: the smallest face that the cascade sees
SIZE = 480  # pixels on the long side of the searched image
MIN_SCORE = 0.4  # of 320 pictures of nobody 6 reach it; of 611 with a face 12 of those that the cascade finds do not


class Haar:
    """Upright frontal faces only; half of the tilted ones and all profiles are missed."""

    name = "haar"

    def __init__(self, min_score: float = MIN_SCORE):
        self.min_score = min_score
        if not hasattr(cv2, "CascadeClassifier"):
            raise ModuleNotFoundError("OpenCV 5 has no cascades", name="OpenCV 4")
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
        self._cascade = cv2.CascadeClassifier(str(path))
        self._lock = Lock()  # a cascade keeps the picture it works on: one thread at a time

    def __call__(self, image: np.ndarray) -> list[Face]:
        gray, scale = shrink(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), SIZE)
        if min(gray.shape) < WINDOW:
            return []
        with self._lock:
            boxes, _, weights = self._cascade.detectMultiScale3(gray, 1.1, 5, outputRejectLevels=True)
        # The cascade's weight has no upper end; 1 - exp(-w / 4) orders faces the same way within 0 to 1.
        scores = 1 - np.exp(-np.maximum(np.ravel(weights), 0) / 4)
        return [
            Face(_slim_box(box), score=float(score), detector=self.name).scaled(1 / scale)
            for box, score in zip(boxes, scores, strict=True)
            if score >= self.min_score
        ]


def _slim_box(box: np.ndarray) -> tuple[float, float, float, float]:
    """The cascade's square, which takes in both cheeks, as the box around the face itself."""
    x, y, w, h = (float(v) for v in box)
    return x + 0.10 * w, y + 0.04 * h, 0.80 * w, 1.0 * h
