"""`dlib`: the max-margin CNN detector with 68 landmarks, precise and slow (seconds a photo on a CPU).

King: "Max-Margin Object Detection", 2015; Kazemi, Sullivan: "One Millisecond Face Alignment with an
Ensemble of Regression Trees", CVPR 2014. Install: pip install dlib-bin face_recognition_models
"""

from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import dlib
import numpy as np

from . import Face, shrink

WINDOW = 40  # pixels: about the smallest face that the detector sees
SIZE = 640  # pixels on the long side of the searched image
LANDMARKS = "shape_predictor_68_face_landmarks.dat"


def model_file(name: str) -> Path:
    """Where a file of the package face_recognition_models is. Raises ModuleNotFoundError where it is not installed."""
    spec = find_spec("face_recognition_models")  # not imported: it wants pkg_resources, which new environments lack
    if spec is None:
        raise ModuleNotFoundError("no landmark model", name="face_recognition_models")
    return Path(spec.origin).parent / "models" / name


class DlibCNN:
    """mmod face boxes, then 68 landmarks, of which the eyes, nose tip and mouth corners are kept."""

    name = "dlib"

    def __init__(self):
        self._detect = dlib.cnn_face_detection_model_v1(str(model_file("mmod_human_face_detector.dat")))
        self._lock = Lock()  # dlib's networks keep their layers' outputs: one thread at a time
        self._landmarks = dlib.shape_predictor(str(model_file(LANDMARKS)))

    def __call__(self, image: np.ndarray) -> list[Face]:
        image, scale = shrink(image, SIZE)
        if min(image.shape[:2]) < WINDOW:
            return []
        image = np.ascontiguousarray(image)
        with self._lock:
            detected = self._detect(image, 0)
        faces = []
        for found in detected:
            box = found.rect
            shape = self._landmarks(image, box)
            points = np.float32([(shape.part(i).x, shape.part(i).y) for i in range(68)])
            five = np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
            xywh = (box.left(), box.top(), box.width(), box.height())
            faces.append(Face(xywh, min(1.0, found.confidence), self.name, five).scaled(1 / scale))
        return faces
