"""How small and fast can it be?  The network as ONNX; also a command.

    python compress.py export [--model glasses] [--weights int8|fp16|fp32] [--out weights/glasses.onnx]

The file holds everything between a cropped face and the answer: an input "faces" (N, 64, 96, 3) uint8 RGB, cut as
`pipeline.align_face` cuts, and an output "probabilities" (N, 3) float32, of none, eyeglasses and sunglasses, with
normalisation and temperature inside. Threshold, kinds and crop are in its metadata, as JSON.

--weights says how they are stored; the arithmetic is in float32 all the same. int8 keeps one scale for each output
channel, and changes nothing for weights that `models.save_weights` has rounded so already.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from models import Classifier, load_classifier
from pipeline import KINDS, Crop

if TYPE_CHECKING:
    import onnx

STORED = ("int8", "fp16", "fp32")


class CropsToProbabilities(nn.Module):
    """What a `Classifier` computes, as one graph."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.model, self.temperature = classifier.model, classifier.temperature

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 64, 96, 3) uint8 -> (N, 3) float32."""
        return (self.model(faces.permute(0, 3, 1, 2).float() / 255) / self.temperature).softmax(1)


def export_onnx(classifier: Classifier, path: str | os.PathLike, weights: str = "fp32") -> Path:
    """Write `classifier` as ONNX, for any number of faces; the file appears whole or not at all.

    weights: one of STORED. Raises ImportError where onnx or onnxscript is not installed.
    """
    import onnx

    crop: Crop = classifier.crop
    faces = torch.zeros(2, crop.height, crop.width, 3, dtype=torch.uint8)
    with warnings.catch_warnings():  # of the exporter's own parts, nothing that its user could mend
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            CropsToProbabilities(classifier).eval(),
            (faces,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("faces", min=1, max=2**16)},),
            input_names=["faces"],
            output_names=["probabilities"],
            verbose=False,
        )
    model = strip(program.model_proto)
    store_weights(model, weights)
    header = {"threshold": classifier.threshold, "kinds": KINDS, "crop": crop}
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in header.items()})
    onnx.checker.check_model(model)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    onnx.save(model, partial)
    os.replace(partial, path)
    return path


def strip(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model without the notes of where in the Python code each node came from, which take 50 KB."""
    graph = model.graph
    del graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    for number, node in enumerate(graph.node):
        node.name = str(number)
    return model


def store_weights(model: "onnx.ModelProto", weights: str) -> None:
    """Store the weight tensors, those with more than one dimension, as `weights` says, in place.

    A node before each user makes float32 of them again: Cast, or DequantizeLinear with a scale a row.
    """
    from onnx import TensorProto, helper, numpy_helper

    if weights not in STORED:
        raise ValueError(f"unknown way to store weights {weights!r}: choose from {', '.join(STORED)}")
    graph, nodes = model.graph, []
    tensors = [(tensor, numpy_helper.to_array(tensor)) for tensor in graph.initializer]
    for number, (tensor, values) in enumerate(tensors if weights != "fp32" else []):
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        graph.initializer.remove(tensor)
        small = f"w{number}"
        if weights == "fp16":
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), small))
            nodes.append(helper.make_node("Cast", [small], [tensor.name], to=TensorProto.FLOAT))
            continue
        scale = np.abs(values).reshape(len(values), -1).max(1).clip(1e-12) / np.float32(127)
        rounded = np.round(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(rounded, small))
        graph.initializer.append(numpy_helper.from_array(scale, f"s{number}"))
        nodes.append(helper.make_node("DequantizeLinear", [small, f"s{number}"], [tensor.name], axis=0))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="compress.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write the network as ONNX")
    export.add_argument("--model", default="glasses", help="a name in weights/ or a .safetensors file")
    export.add_argument("--weights", default="int8", choices=STORED, help="how they are stored (default: int8)")
    export.add_argument("--out", type=Path, default=Path("glasses.onnx"))
    options = parser.parse_args(arguments)
    try:
        path = export_onnx(load_classifier(options.model, "cpu"), options.out, options.weights)
    except (ImportError, ValueError, OSError) as error:
        print(f"compress.py: {error}", file=sys.stderr)
        return 1
    print(f"wrote {path}, {path.stat().st_size / 1000:.1f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
