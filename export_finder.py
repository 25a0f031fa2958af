"""How does a face finder become a file?  The network as ONNX, with its decoding inside.

    from export_finder import export_finder
    export_finder(network, "finder.onnx")

The file holds everything between a picture and the faces in it: an input "pictures" (N, H, W, 3) uint8 RGB, of any size
whose sides are multiples of 32, and for each of the A cells outputs "score" (N, A), "box" (N, A, 4) and "landmarks"
(N, A, 5, 2), float32. `detector_architectures.finder.Finder` runs it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from compress import as_onnx, quantize, save_onnx, store_weights
from face_finder import NUMBERS, STRIDES, FaceFinder, decode
from models import fold_batch_norm

if TYPE_CHECKING:
    import onnx

OUTPUTS = ("score", "box", "landmarks")


class PicturesToFaces(nn.Module):
    """What `detector_architectures.finder.Finder` runs: a score, a box and landmarks of each cell, in pixels.

    Its first layer is one of `exact_sums`: the 8-bit steps behind it are then the same on each machine.
    """

    STEP, LARGEST = 1 / 512, 0.5  # of what the first layer sees: odd multiples of a 512th, on both sides of middle grey

    def __init__(self, network: FaceFinder):
        super().__init__()
        self.network = fold_batch_norm(network)
        first, second = self.network.fine[0][0], self.network.fine[1][0]
        bias = first.bias.data * (255 / 256)  # it sees pixels in 256ths, so it says 255/256 of what it did,
        first.weight.data, first.bias.data = exact_sums(first.weight.data, bias, self.STEP, self.LARGEST)
        second.weight.data *= 256 / 255  # and the next one makes up for it

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, H, W, 3) uint8 -> (N, A) probabilities, (N, A, 4) x, y, w, h, (N, A, 5, 2) x, y, all float32."""
        answers = self.network((images.permute(0, 3, 1, 2).float() + 0.5) / 256)  # from which it takes 0.5
        logits, boxes, landmarks = decode(answers, images.shape[1], images.shape[2])
        return logits.sigmoid(), boxes, landmarks


def exact_sums(weight: Tensor, bias: Tensor, step: float, largest: float) -> tuple[Tensor, Tensor]:
    """A convolution's (out, in, h, w) weight and (out,) bias, rounded so that no sum in it is ever rounded.

    step, largest: its inputs are multiples of this power of two, and none is farther from 0. Each filter is rounded to
    multiples of the smallest power of two with which all sums are less than 2**21 steps of it: float32 holds eight
    times as many, so they come out the same to the bit in whatever order they are added up. That holds as well where
    weights are then stored as 16-bit floats, which are multiples of it too.
    """
    reach = largest * weight.double().abs().flatten(1).sum(1) + bias.double().abs()  # (out,) no sum goes farther
    unit = 2 ** ((1.01 * reach).clamp(min=step).log2().ceil() - 21)  # of the sums; what rounding adds is within 1 %
    grid = (unit / step).view(-1, 1, 1, 1)
    return ((weight / grid).round() * grid).float(), ((bias / unit).round() * unit).float()


def export_finder(
    network: FaceFinder, path: str | os.PathLike, header: dict | None = None, pictures: np.ndarray | None = None
) -> Path:
    """Write a face finder as ONNX, for any number of pictures of one size; the file appears whole or not at all.

    header: for the metadata. pictures: (N, H, W, 3) uint8, some hundreds, on which the ranges of its maps are found: it
    then computes in 8-bit integers, but for the first and the last convolutions; without them weights are only stored
    so. Raises ImportError where onnx, onnxscript or onnxruntime is not installed.
    """
    dim = torch.export.Dim
    sizes = {0: dim("pictures", min=1, max=2**10), 1: 32 * dim("rows", max=2**9), 2: 32 * dim("columns", max=2**9)}
    example = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    model = as_onnx(PicturesToFaces(network), example, sizes, "pictures", OUTPUTS)
    about = {"strides": STRIDES, "box": "x, y, w, h", "landmarks": "two eyes, nose tip, two mouth corners"}
    if pictures is None:
        store_weights(model, "int8")
    else:
        model = quantize(model, pictures, exact=first_and_last(model))
        store_weights(model, "fp16")  # the others
        about["arithmetic"] = "int8"
    return save_onnx(model, path, about | (header or {}))


def first_and_last(model: "onnx.ModelProto") -> list[int]:
    """The numbers of the convolutions that see the picture, and that give the answers."""
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes = [weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    return [number for number, (out, seen, *_) in enumerate(shapes) if seen == 3 or out == NUMBERS]
