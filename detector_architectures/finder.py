"""`finder`: this project's own face finder, one small network that runs wherever ONNX Runtime does.

`train_finder.py` trains it; it finds faces at any tilt, and its landmarks tell the tilt.
"""

import os
from pathlib import Path

import cv2
import numpy as np

from . import SAME, Face, shrink
from .onnx_file import open_session

WEIGHTS = Path(__file__).parents[1] / "glasses" / "weights" / "finder.onnx"
STRIDES, CELL = "[8, 16, 32]", 32  # pixels of its cells; the sides of what the network sees are multiples of the last
MIDDLE_GREY = 128  # beyond the picture: next to nothing for the network
MIN_SCORE = 0.5  # a probability
AGREEING = 0.6  # IoU with the surest box of a face, from which on another is of the same


class Finder:
    """The network on the image shrunk (never enlarged) to `size` pixels on its long side.

    Faces narrower than about 8 pixels there are not found. threads: of ONNX Runtime.
    Raises FileNotFoundError with one line where there is no such network, ValueError for another or damaged file.
    """

    name = "finder"

    def __init__(
        self, size: int = 320, min_score: float = MIN_SCORE, path: str | os.PathLike = WEIGHTS, threads: int = 1
    ):
        self.size, self.min_score = size, min_score
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no network at {path}: train_finder.py writes one")
        self._session, metadata = open_session(path, threads)
        if metadata.get("strides") != STRIDES:
            raise ValueError(f"{path} does not hold a face finder of this version")

    def __call__(self, image: np.ndarray) -> list[Face]:
        return self.look(image, self.size, self.min_score)

    def look(self, image: np.ndarray, size: int, min_score: float) -> list[Face]:
        """The faces of an (H, W, 3) uint8 RGB image, shrunk to `size` pixels, with at least this score.

        A face is the mean of all cells that agree on it, weighted by their scores, which is steadier than the surest
        alone. Bazarevsky et al.: "BlazeFace", 2019.
        """
        small, scale = shrink(image, size)
        _, scores, boxes, landmarks = self.cells(small)
        likely = np.flatnonzero(scores >= min_score)
        scores, boxes, landmarks = scores[likely], boxes[likely], landmarks[likely]
        kept = cv2.dnn.NMSBoxes(boxes, scores, min_score, SAME)
        faces = []
        for i in kept:
            weights = scores * (overlaps(boxes[i], boxes) >= AGREEING)
            weights /= weights.sum()
            box, points = weights @ boxes, np.tensordot(weights, landmarks, 1)
            faces.append(Face(tuple(box.tolist()), float(scores[i]), self.name, points))
        return [face.scaled(1 / scale) for face in faces] if scale < 1 else faces

    def cells(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What each cell of an (H, W, 3) uint8 RGB image answers, before one face is one answer.

        Returns the image as the network sees it, its sides made multiples of CELL, and of its A cells, in the order of
        `face_finder.cells`, scores (A,), boxes (A, 4) and landmarks (A, 5, 2) in pixels, float32.
        """
        height, width = image.shape[:2]
        padded = np.full((-height % CELL + height, -width % CELL + width, 3), MIDDLE_GREY, np.uint8)
        padded[:height, :width] = image
        scores, boxes, landmarks = (out[0] for out in self._session.run(None, {"pictures": padded[None]}))
        return padded, scores, boxes, landmarks


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N,) IoU of a box x, y, w, h with each of (N, 4)."""
    starts, ends = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    shared = np.maximum(ends - starts, 0).prod(1)
    return shared / (box[2] * box[3] + boxes[:, 2] * boxes[:, 3] - shared)
