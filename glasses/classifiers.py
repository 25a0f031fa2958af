"""Who answers for a crop?  A network in an ONNX file, run by ONNX Runtime on the CPU.

    from glasses.classifiers import open_network
    probabilities = open_network("glasses")(crops)       # (N, 64, 96, 3) uint8 -> (N, 3)

A classifier is anything with such a call, a `threshold` and a `crop`; `GlassesPipeline(classifier=...)` takes it.
"""

import json
import os
import re
from pathlib import Path

import numpy as np

from .crops import KINDS, Crop

WEIGHTS = Path(__file__).with_name("weights")
# From 1.29 on ONNX Runtime tells its maker of each process that loads it, and notes a number for the device below the
# home folder, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
OLDEST_RUNTIME = "1.19"  # of onnxruntime, that reads our files and was tried


class OnnxClassifier:
    """The network of a file that `compress.py export` or `train.py` wrote.

    threshold: the P(glasses) from which to say "glasses". crop: the part of the face that it wants to see.
    threads: one, unless told: the pipeline has its own.
    Raises ImportError where onnxruntime is missing or too old, ValueError with one line for another or damaged file.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        self.session, metadata = open_session(path, threads)
        try:
            header = {key: json.loads(metadata[key]) for key in ("threshold", "kinds", "crop")}
            self.threshold, self.crop = float(header["threshold"]), Crop(*header["crop"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a network of this project: no {error}") from error
        if tuple(header["kinds"]) != KINDS:
            raise ValueError(f"{path} does not hold a network of this project: it tells {header['kinds']} apart")

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """crops: (N, 64, 96, 3) uint8 RGB -> (N, 3) float32, P(none), P(eyeglasses), P(sunglasses)."""
        return self.session.run(None, {"faces": crops})[0]


def open_session(path: str | os.PathLike, threads: int):
    """The onnxruntime session of a file, and its metadata."""
    try:
        import onnxruntime
    except ImportError as error:
        if error.name != "onnxruntime":  # it is there, but something in it fails
            raise ImportError(f"onnxruntime cannot be imported: {' '.join(str(error).split())}") from error
        raise ImportError(f"onnxruntime is not installed: pip install 'onnxruntime>={OLDEST_RUNTIME}'") from error

    def session_of(disable_qdq: str):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.disable_quant_qdq", disable_qdq)
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    try:
        session = session_of("1")  # weights that are only stored in 8 bits: to float once, not at each call
        metadata = session.get_modelmeta().custom_metadata_map
        if metadata.get("arithmetic") == '"int8"':
            session = session_of("0")
    except Exception as error:  # onnxruntime raises a class of its own for each way to fail
        reason = " ".join(str(error).split())
        if re.search(r"unsupported model ir version|not .*support.* opset|opset .* is under development", reason, re.I):
            fix = f"pip install 'onnxruntime>={OLDEST_RUNTIME}'"
            raise ImportError(f"onnxruntime {onnxruntime.__version__} is too old for {path}: {fix}") from error
        raise ValueError(f"{path} does not hold a network of this project: {reason[-160:]}") from error
    return session, metadata


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
            names = sorted((file.stem for file in WEIGHTS.glob("*.onnx")), key=lambda name: (name != "glasses", name))
            raise FileNotFoundError(f"no network {str(model)!r}: give an .onnx file or one of: {', '.join(names)}")
    if not path.is_file():
        raise FileNotFoundError(f"no network at {path}: python compress.py export writes one")
    return OnnxClassifier(path)
