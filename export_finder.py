"""How does a face finder become a file?  The network as ONNX, with its decoding inside.

    from export_finder import export_finder
    export_finder(network, "finder.onnx")

The file holds everything between a picture and the faces in it: an input "pictures" (N, H, W, 3) uint8 RGB, of any size
whose sides are multiples of 32, and for each of the A cells outputs "score" (N, A), "box" (N, A, 4) and "landmarks"
(N, A, 5, 2), float32. `detector_architectures.finder.Finder` runs it.
"""

import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from compress import store_weights, strip
from face_finder import STRIDES, FaceFinder, decode
from glasses.files import whole_file
from models import fold_batch_norm

if TYPE_CHECKING:
    import onnx

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
    model = _trace(PicturesToFaces(fold_batch_norm(network)))
    store_weights(model, weights)
    about = {"strides": STRIDES, "box": "x, y, w, h", "landmarks": "two eyes, nose tip, two mouth corners"}

    import onnx

    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in (about | (header or {})).items()})
    onnx.checker.check_model(model)
    with whole_file(path) as partial:
        onnx.save(model, partial)
    return Path(path)


def _trace(graph: PicturesToFaces) -> "onnx.ModelProto":
    """The graph as torch's exporter writes it, for any number of pictures and any sides that are multiples of 32."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401, which torch's exporter needs
    except ImportError as error:
        raise ImportError("writing ONNX files needs two packages: pip install onnx onnxscript") from error

    dim = torch.export.Dim
    shape = {0: dim("pictures", min=1, max=2**10), 1: 32 * dim("rows", max=2**9), 2: 32 * dim("columns", max=2**9)}
    with warnings.catch_warnings():  # of the exporter's own parts, nothing that its user could fix
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.eval(),
            (torch.zeros(2, 96, 128, 3, dtype=torch.uint8),),
            dynamo=True,
            dynamic_shapes=(shape,),
            input_names=["pictures"],
            output_names=OUTPUTS,
            verbose=False,
        )
    return strip(program.model_proto)
