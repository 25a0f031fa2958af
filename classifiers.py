"""Who answers for a crop?  ONNX Runtime where it is installed and the network lies in ONNX; torch otherwise.

    from classifiers import open_classifier
    probabilities = open_classifier("glasses")(crops)    # (N, 64, 96, 3) uint8 -> (N, 3)

The answers are the same, to a millionth. ONNX Runtime is imported in a tenth of the time and needs a quarter of it
for a face; torch runs on GPUs, and weights that were trained a moment ago.
"""

import json
import os
from pathlib import Path

import numpy as np

from pipeline import KINDS, WEIGHTS, Crop


class OnnxClassifier:
    """Like `models.Classifier`, from a file that `compress.py export` wrote, on the CPU.

    threshold: the P(glasses) from which to say "glasses". crop: the part of the face that it wants to see.
    threads: one, unless told: the pipeline has its own.
    Raises ImportError where onnxruntime is not installed, ValueError with one line for another or damaged file.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        import onnxruntime

        def open_session(disable_qdq: str):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.log_severity_level = 4
            options.add_session_config_entry("session.disable_quant_qdq", disable_qdq)
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        try:
            session = open_session("1")  # weights that are only stored in 8 bits: to float once, not at each call
            metadata = session.get_modelmeta().custom_metadata_map
            header = {key: json.loads(metadata[key]) for key in ("threshold", "kinds", "crop")}
            if metadata.get("arithmetic") == '"int8"':
                session = open_session("0")
        except Exception as error:  # onnxruntime raises a class of its own for each way to fail
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"{path} does not hold a network of this project: {reason}") from error
        self.session = session
        if tuple(header["kinds"]) != KINDS:
            raise ValueError(f"{path} does not hold a network of this project: it tells {header['kinds']} apart")
        self.threshold, self.crop = header["threshold"], Crop(*header["crop"])

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """crops: (N, 64, 96, 3) uint8 RGB -> (N, 3) float32, P(none), P(eyeglasses), P(sunglasses)."""
        return self.session.run(None, {"faces": crops})[0]


def open_classifier(model: str | os.PathLike = "glasses", device: str = "auto"):
    """The classifier from a name in `weights/` ("glasses"), from an `.onnx` or from a `.safetensors` file.

    device: "auto" and "cpu" take ONNX Runtime if they can; else, and for any other device, it is torch.
    Raises what `OnnxClassifier` and `models.load_classifier` raise, FileNotFoundError for a file that is not there.
    """
    path = Path(model) if Path(model).suffix in (".onnx", ".safetensors") else WEIGHTS / f"{model}.onnx"
    if path.suffix == ".onnx" and device in ("auto", "cpu") and path.is_file():
        try:
            return OnnxClassifier(path)
        except ImportError:
            if path.parent != WEIGHTS:
                raise
    if Path(model).suffix == ".onnx":
        if not path.is_file():
            raise FileNotFoundError(f"no network at {path}: python compress.py export writes one")
        if device not in ("auto", "cpu"):
            raise ValueError(f"{path} runs on the CPU, not on {device}: give the .safetensors file")
        model = path.stem
    from models import load_classifier  # torch takes seconds to import

    return load_classifier(model, device)
