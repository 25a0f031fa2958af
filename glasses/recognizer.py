"""Who is it?  A face as numbers: the cosine of two faces' numbers says whether they are one person.

    from glasses.recognizer import align_chip, open_recognizer
    vectors = open_recognizer()(chips)                   # (N, 112, 112, 3) uint8 -> (N, 192) float32 of length 1
    cosine = float(vectors[0] @ vectors[1])

It compares faces that you have; it knows nobody. The network is trained by the wing `recognition/`.
"""

import json
import os
from functools import lru_cache

import numpy as np

from detector_architectures.onnx_file import open_session

from .classifiers import WEIGHTS
from .crops import Crop, warp_face

RECOGNIZER = WEIGHTS / "recognition.onnx"
# Where eye centres, nose tip and mouth corners lie in a chip of 112 x 112 pixels: the places that face recognition has
# agreed upon (Deng et al.: "ArcFace", CVPR 2019), so that networks of others see what they want to see.
PLACES = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
CHIP = Crop(112, 112, unit=35.2)  # the size of a chip; the unit is the distance of its eyes


def chip_matrix(landmarks: np.ndarray, margin: int = 0) -> np.ndarray:
    """The (2, 3) map, a turn, a scale and a shift, that brings five landmarks nearest to PLACES, by least squares.

    landmarks: (5, 2), as in `detector_architectures.Face`. margin: pixels to each side of the chip.
    """
    points = np.asarray(landmarks, np.float64) @ [1, 1j]
    places = (PLACES + margin) @ [1, 1j]
    from_centre = points - points.mean()
    spread = max(float(np.sum(np.abs(from_centre) ** 2)), 1e-6)  # of a face that is one point
    turn = np.sum(from_centre.conj() * (places - places.mean())) / spread
    shift = places.mean() - turn * points.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def align_chip(image: np.ndarray, landmarks: np.ndarray, margin: int = 0) -> np.ndarray:
    """Cut a face out of `image` (H, W, 3) uint8, its landmarks at PLACES: (112, 112, 3) uint8, black outside the photo.

    margin: pixels more to each side, room to turn and shift.
    """
    size = CHIP.width + 2 * margin
    return warp_face(image, chip_matrix(landmarks, margin), CHIP._replace(width=size, height=size))


class Recognizer:
    """The network of a file that `python -m recognition models export` wrote.

    threshold: the cosine from which two faces are one person: of pairs of two people one in a thousand reaches it.
    threads: one, unless told.
    Raises FileNotFoundError, ImportError where onnxruntime is missing or too old, ValueError with one line for another
    or damaged file.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no network at {path}: python -m recognition models export writes one")
        self.session, metadata = open_session(path, threads)
        try:
            self.threshold = float(json.loads(metadata["same"]))
            self.size = int(self.session.get_outputs()[0].shape[1])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{path} does not hold a recognition network of this project: no {error}") from error

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        """chips: (N, 112, 112, 3) uint8 RGB, as `align_chip` cuts them -> (N, size) float32 of length 1."""
        return self.session.run(["vectors"], {"chips": chips})[0]


@lru_cache(maxsize=1)
def open_recognizer(path: str | os.PathLike | None = None) -> Recognizer:
    """The network of a file, or of `glasses/weights/recognition.onnx`, opened once. Raises what `Recognizer` raises."""
    return Recognizer(RECOGNIZER if path is None else path)
