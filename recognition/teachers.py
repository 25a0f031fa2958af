"""Who teaches?  A large network of others that tells people apart; it is a file of yours, and never ships.

from recognition.teachers import OnnxTeacher
vectors = OnnxTeacher("teacher.onnx")(chips)         # (N, 112, 112, 3) uint8 -> (N, D) float32 of length 1
"""

import hashlib
import os
from pathlib import Path
from typing import Protocol

import numpy as np

from detector_architectures.onnx_file import open_session

BATCH = 64  # chips at once


class Teacher(Protocol):
    """What answers for chips. digest: of its weights; size: numbers for a face."""

    digest: str
    size: int

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        """(N, 112, 112, 3) uint8 RGB -> (N, size) float32 of length 1."""


class OnnxTeacher:
    """An embedding network as public projects export them: one input (N, 3, 112, 112), pixels less 127.5 over 128.

    A face and its mirror image are asked and added. threads: one, unless told.
    Raises FileNotFoundError, ImportError where onnxruntime is missing, ValueError with one line for another file.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no teacher at {path}: give an ONNX file of a face-recognition network")
        self.session, _ = open_session(path, threads)
        entries = self.session.get_inputs()
        if len(entries) != 1 or list(entries[0].shape[1:]) != [3, 112, 112]:
            raise ValueError(f"{path} is no teacher: it does not take (N, 3, 112, 112), but {entries[0].shape}")
        self.entry = entries[0].name
        self.digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
        chips, vectors = np.zeros((2, 112, 112, 3), np.uint8), None
        for self.batch in (BATCH, 1):  # some are exported for one face and its mirror image, and say so only here
            try:
                vectors = self(chips)
                break
            except Exception as error:  # onnxruntime raises a class of its own for each way to fail
                reason = " ".join(str(error).split())
        if vectors is None:
            raise ValueError(f"{path} is no teacher: it does not answer for a face: {reason[-160:]}")
        self.size = vectors.shape[1]

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        """(N, 112, 112, 3) uint8 RGB -> (N, size) float32 of length 1."""
        vectors = np.concatenate(
            [self._ask(chips[start : start + self.batch]) for start in range(0, len(chips), self.batch)]
        )
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)

    def _ask(self, chips: np.ndarray) -> np.ndarray:
        pixels = (chips.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 128
        both = np.concatenate([pixels, pixels[..., ::-1]])
        vectors = self.session.run(None, {self.entry: both})[0]
        return vectors[: len(chips)] + vectors[len(chips) :]
