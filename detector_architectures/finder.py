"""`finder`: this project's own face finder, one small network that runs wherever ONNX Runtime does.

`train_finder.py` trains it; it finds faces at any tilt, and its landmarks tell the tilt.
"""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from . import Face, shrink

WEIGHTS = Path(__file__).parents[1] / "glasses" / "weights" / "finder.onnx"
CELL = 32  # pixels: the sides of what the network sees are multiples of it
MIDDLE_GREY = 128  # beyond the picture: next to nothing for the network
SAME = 0.4  # IoU from which on two boxes are of one face
MIN_SCORE = 0.5  # a probability


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
        if not Path(path).is_file():
            raise FileNotFoundError(f"no network at {path}: train_finder.py writes one")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # weights to float once, not at each call
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            known = max(json.loads(self._session.get_modelmeta().custom_metadata_map["strides"])) == CELL
        except Exception as error:  # onnxruntime raises a class of its own for each way to fail
            raise ValueError(f"{path} does not hold a face finder: {' '.join(str(error).split())[-160:]}") from error
        if not known:
            raise ValueError(f"{path} does not hold a face finder of this version: it has other cells")

    def __call__(self, image: np.ndarray) -> list[Face]:
        small, scale = shrink(image, self.size)
        height, width = small.shape[:2]
        padded = np.full((1, -height % CELL + height, -width % CELL + width, 3), MIDDLE_GREY, np.uint8)
        padded[0, :height, :width] = small
        scores, boxes, landmarks = (out[0] for out in self._session.run(None, {"pictures": padded}))
        likely = np.flatnonzero(scores >= self.min_score)
        scores, boxes, landmarks = scores[likely], boxes[likely], landmarks[likely]
        kept = cv2.dnn.NMSBoxes(boxes, scores, self.min_score, SAME)
        boxes[:, :2], landmarks = (boxes[:, :2] + 0.5) / scale - 0.5, (landmarks + 0.5) / scale - 0.5
        boxes[:, 2:] /= scale
        return [Face(tuple(boxes[i].tolist()), float(scores[i]), self.name, landmarks[i]) for i in kept]
