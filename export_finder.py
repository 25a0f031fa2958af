"""How does a face finder become a file?  The network as ONNX, with its decoding inside.

    from export_finder import export_finder
    export_finder(network, "finder.onnx")

The file holds everything between a picture and the faces in it: an input "pictures" (N, H, W, 3) uint8 RGB, of any size
whose sides are multiples of 32, and for each of the A cells outputs "score" (N, A), "box" (N, A, 4) and "landmarks"
(N, A, 5, 2), float32. `detector_architectures.finder.Finder` runs it.
"""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from compress import as_onnx, save_onnx, store_weights
from face_finder import STRIDES, FaceFinder, decode
from models import fold_batch_norm

OUTPUTS = ("score", "box", "landmarks")


class PicturesToFaces(nn.Module):
    """What `detector_architectures.finder.Finder` runs: a score, a box and landmarks of each cell, in pixels."""

    def __init__(self, network: FaceFinder):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, H, W, 3) uint8 -> (N, A) probabilities, (N, A, 4) x, y, w, h, (N, A, 5, 2) x, y, all float32."""
        answers = self.network(images.permute(0, 3, 1, 2).float() / 255)
        logits, boxes, landmarks = decode(answers, images.shape[1], images.shape[2])
        return logits.sigmoid(), boxes, landmarks


def export_finder(
    network: FaceFinder, path: str | os.PathLike, header: dict | None = None, weights: str = "int8"
) -> Path:
    """Write a face finder as ONNX, for any number of pictures of one size; the file appears whole or not at all.

    header: for the metadata. weights: one of `compress.STORED`. Raises ImportError where onnx or onnxscript is not
    installed.
    """
    dim = torch.export.Dim
    sizes = {0: dim("pictures", min=1, max=2**10), 1: 32 * dim("rows", max=2**9), 2: 32 * dim("columns", max=2**9)}
    pictures = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    model = as_onnx(PicturesToFaces(fold_batch_norm(network)), pictures, sizes, "pictures", OUTPUTS)
    store_weights(model, weights)
    about = {"strides": STRIDES, "box": "x, y, w, h", "landmarks": "two eyes, nose tip, two mouth corners"}
    return save_onnx(model, path, about | (header or {}))
