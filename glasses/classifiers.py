"""Who answers for a crop?  A network in an ONNX file, run by ONNX Runtime on the CPU.

    from glasses.classifiers import open_network
    probabilities = open_network("glasses")(crops)       # (N, 64, 96, 3) uint8 -> (N, 4)

A classifier is anything with such a call, a `threshold` and a `crop`; `GlassesPipeline(classifier=...)` takes it.
"""

import json
import os
from pathlib import Path

import numpy as np

from detector_architectures.onnx_file import open_session

from .crops import KINDS, Crop, align_face

WEIGHTS = Path(__file__).with_name("weights")
CLASSIFIERS = ("glasses", "accurate")  # those in it, the default first
SOMEWHERE = np.array([[30, 40], [60, 40], [45, 55], [35, 70], [55, 70]], np.float32)  # landmarks of a face


class OnnxClassifier:
    """The network of a file that `compress.py export` or `train.py` wrote.

    threshold: the P(glasses) from which to say "glasses". crop: the part of the face that it wants to see.
    threads: one, unless told: the pipeline has its own.
    Raises ImportError where onnxruntime is missing or too old, ValueError with one line for another or damaged file,
    which a first answer shows.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        self.session, metadata = open_session(path, threads)
        try:
            header = {key: json.loads(metadata[key]) for key in ("threshold", "kinds", "crop")}
            self.threshold, self.crop = float(header["threshold"]), Crop(*header["crop"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} does not hold a network of this project: no {str(error)[:160]}") from error
        if header["kinds"] != list(KINDS):
            kinds = repr(header["kinds"])[:160]
            raise ValueError(f"{path} does not hold a network of this project: it tells {kinds} apart")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"{path} does not hold a network of this project: its threshold is {self.threshold}")
        self._answer_once(path)

    def _answer_once(self, path: str | os.PathLike) -> None:
        """Answer for a face in an empty picture. Raises ValueError where crop or network cannot."""
        try:
            crop = align_face(np.zeros((99, 99, 3), np.uint8), SOMEWHERE, self.crop)
            answer = np.asarray(self(crop[None]))
        except Exception as error:  # of NumPy, OpenCV and ONNX Runtime, each of its own
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{path} does not hold a network of this project: {reason[-160:]}") from error
        if answer.shape != (1, 4) or not ((answer >= 0) & (answer <= 1.001)).all():
            raise ValueError(f"{path} does not hold a network of this project: its answers are no probabilities")

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """crops: (N, 64, 96, 3) uint8 RGB -> (N, 4) float32.

        P(none), P(eyeglasses), P(sunglasses), if it is a face, which sum to one; and P(it is a face).
        """
        return self.session.run(["probabilities"], {"faces": crops})[0]

    def heat_maps(self, crops: np.ndarray) -> np.ndarray | None:
        """Where the network looks: crops (N, 64, 96, 3) uint8 RGB -> (N, 4, 6) float32; None for a network without.

        How much each of 4 x 6 places of the crop speaks for the likelier kind of glasses (above zero) or for none
        (below), as a part of the difference of their logits.
        """
        if "heatmap" not in (output.name for output in self.session.get_outputs()):
            return None
        return self.session.run(["heatmap"], {"faces": crops})[0]


def open_network(model: str | os.PathLike = "glasses") -> OnnxClassifier:
    """The classifier of a name in `glasses/weights/` ("glasses", "accurate") or of an `.onnx` file.

    Raises what `OnnxClassifier` raises, FileNotFoundError with one line where there is no such network.
    """
    path = Path(model)
    if path.suffix == ".safetensors":
        raise ValueError(f"{path} is for torch: give the .onnx file beside it, or use the course's predict.py")
    if path.suffix != ".onnx":
        path = WEIGHTS / f"{model}.onnx"
        if not path.is_file():
            names = ", ".join(CLASSIFIERS)
            raise FileNotFoundError(f"no network {str(model)!r}: give an .onnx file or one of: {names}")
    if not path.is_file():
        raise FileNotFoundError(f"no network at {path}: python compress.py export writes one")
    return OnnxClassifier(path)
