"""How small and fast can it be?  The network as ONNX; also a command.

    python compress.py export [--model glasses] [--weights int8|fp16|fp32] [--out glasses.onnx]
    python compress.py quantize [--model glasses] [--data sample] [--out glasses_int8.onnx]
    python compress.py prune runs/glasses/checkpoint.pt [--ratio 0.25] [--out runs/pruned/checkpoint.pt]

The file holds everything between a crop and the answer: an input "faces" (N, 64, 96, 3) uint8 RGB, cut as
`glasses.crops.align_face` cuts, and an output "probabilities" (N, 4) float32 as of `models.probabilities`, with
normalisation and temperature inside. Threshold, kinds and crop are in its metadata, as JSON, and from which run it is
where the weights say so. That of a GlassesCNN has a second output, "heatmap" (N, 4, 6) float32: how much each place of
the crop speaks for glasses, see `CropsToHeatMap`.

--weights says how they are stored; the arithmetic is in float32 all the same. int8 keeps one scale for each output
channel, and changes nothing for weights that `models.save_weights` has rounded so already.

`quantize` computes in 8-bit integers too (static quantization: the ranges of all maps are found on the training faces
of --data, a source of train.py). Where the processor has instructions for that it is faster still, and the
probabilities change in the second digit.

`prune` leaves out the channels with the smallest weights; `train.py --init` then trains what is left.
"""

import argparse
import copy
import json
import logging
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from detector_architectures import load_detector
from face_cache import CachedFaces
from find_data import DataError
from glasses.crops import KINDS, Crop
from glasses.files import whole_file
from glasses.keypoints import POINTS
from models import (
    OUTPUTS,
    Classifier,
    GlassesCNN,
    fold_batch_norm,
    load_classifier,
    probabilities,
    read_network,
    save_network,
    standardize_levels,
)
from sources import load_sources, named_paths

if TYPE_CHECKING:
    import onnx

STORED = ("int8", "fp16", "fp32")
ORIGIN = ("interval", "config")  # of the header of the weights, what the ONNX file is to say too


class CropsToProbabilities(nn.Module):
    """What a `Classifier` computes, as one graph."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.model, self.temperature = classifier.model, classifier.temperature

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 64, 96, 3) uint8 -> (N, 4) float32."""
        return probabilities(self.model(faces.permute(0, 3, 1, 2).float() / 255), self.temperature)


class CropsToHeatMap(CropsToProbabilities):
    """The same for a `GlassesCNN`, and where it looks: the class activation of its last maps.

    The logits are sums over all places of these maps, so what each place adds to one is exact and needs no gradients
    (Zhou et al.: "Learning Deep Features for Discriminative Localization", CVPR 2016, without its mean).
    """

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 64, 96, 3) uint8 -> (N, 4) float32, and (N, 4, 6) float32: what each of 4 x 6 places adds to the logit
        of the likelier kind of glasses, less what it adds to that of none."""
        linear = self.model.classifier
        maps = self.model.features(standardize_levels(faces.permute(0, 3, 1, 2).float()))  # (N, 32, 4, 6)
        places = maps.flatten(1)  # (N, 768)
        logits = linear(places)
        likelier = logits[:, 1:-1].argmax(1) + 1
        less_none = functional.one_hot(likelier, OUTPUTS) - functional.one_hot(torch.tensor(0), OUTPUTS)  # (N, 4)
        heatmap = (places * (less_none.float() @ linear.weight)).view_as(maps).sum(1)  # (N, 4, 6)
        return probabilities(logits, self.temperature), heatmap


def export_onnx(classifier: Classifier, path: str | os.PathLike, weights: str = "fp32") -> Path:
    """Write `classifier` as ONNX, for any number of faces; the file appears whole or not at all.

    weights: one of STORED. Raises ImportError where onnx or onnxscript is not installed.
    """
    crop: Crop = classifier.crop
    if isinstance(classifier.model, GlassesCNN):
        model = _of_faces(CropsToHeatMap(classifier), crop, "probabilities", "heatmap")
    else:
        model = _of_faces(CropsToProbabilities(classifier), crop, "probabilities")
    store_weights(model, weights)
    header = {"threshold": classifier.threshold, "kinds": KINDS, "crop": crop}
    header |= {key: classifier.header[key] for key in ORIGIN if key in classifier.header}
    return save_onnx(model, path, header)


class CropsToPoints(nn.Module):
    """What a network of `models.KEYPOINT_NETWORKS` computes, from pixels on."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 112, 112, 3) uint8 -> (N, 68, 2) float32, pixels of the crop."""
        return self.network(faces.permute(0, 3, 1, 2).float() / 255)


def export_keypoints(
    network: nn.Module,
    path: str | os.PathLike,
    shift: float,
    header: dict | None = None,
    crops: np.ndarray | None = None,
    weights: str = "fp16",
) -> Path:
    """Write a network of `models.KEYPOINT_NETWORKS` as ONNX, for any number of faces.

    shift: of the labels, which the tool adds to its points, see `glasses.keypoints.without_shift`. header: more for the
    metadata. crops: (N, 112, 112, 3) uint8, some hundreds of faces, on which the ranges of its maps are found: it then
    computes in 8-bit integers. weights: of STORED, for those that it computes with as floats. Raises as `export_onnx`.
    """
    model = _of_faces(CropsToPoints(fold_batch_norm(network)), network.crop, "points")
    about = {"crop": network.crop, "points": POINTS, "order": "iBUG 300-W, from 0", "shift": shift}
    if crops is not None:
        model = quantize(model, crops)
        about["arithmetic"] = "int8"
    store_weights(model, weights)
    return save_onnx(model, path, about | (header or {}))


def as_onnx(
    graph: nn.Module, example: Tensor, sizes: dict[int, Any], entry: str, outputs: Sequence[str]
) -> "onnx.ModelProto":
    """A graph from one input, named `entry`, to `outputs`, as torch's exporter writes it.

    example: an input. sizes: of those of its dimensions that may be others, as `torch.export.Dim`.
    Raises ImportError where onnx or onnxscript is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401, which torch's exporter needs
    except ImportError as error:
        raise ImportError("writing ONNX files needs two packages: pip install onnx onnxscript") from error

    with warnings.catch_warnings():  # of the exporter's own parts, nothing that its user could fix
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            dynamo=True,
            dynamic_shapes=(sizes,),
            input_names=[entry],
            output_names=outputs,
            verbose=False,
        )
    return strip(program.model_proto)


def _of_faces(graph: nn.Module, crop: Crop, *outputs: str) -> "onnx.ModelProto":
    """A graph from "faces" (N, height, width, 3) uint8 to `outputs`, for any N."""
    faces = torch.zeros(2, crop.height, crop.width, 3, dtype=torch.uint8)
    return as_onnx(graph, faces, {0: torch.export.Dim("faces", min=1, max=2**16)}, "faces", outputs)


def save_onnx(model: "onnx.ModelProto", path: str | os.PathLike, header: dict) -> Path:
    """Write a checked model with `header` in its metadata, as JSON; the file appears whole or not at all."""
    import onnx

    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in header.items()})
    onnx.checker.check_model(model)
    with whole_file(path) as partial:
        onnx.save(model, partial)
    return Path(path)


def strip(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model without the notes of where in the Python code each node came from, which take 50 KB, without names of
    nodes and attributes that say what holds without them, and with numbers for names inside."""
    from onnx import defs

    opset = next(one.version for one in model.opset_import if not one.domain)
    graph = model.graph
    del graph.metadata_props[:], graph.value_info[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    kept = {one.name for one in (*graph.input, *graph.output)}
    names = {"": ""}  # an input that a node goes without
    for node in graph.node:
        node.name = ""
        known = defs.get_schema(node.op_type, opset, node.domain).attributes
        told = [one for one in node.attribute if one != known[one.name].default_value and not _follows(one, node)]
        del node.attribute[:]
        node.attribute.extend(told)
        for field in (node.input, node.output):
            field[:] = [name if name in kept else names.setdefault(name, f"t{len(names)}") for name in field]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    return model


def _follows(attribute: "onnx.AttributeProto", node: "onnx.NodeProto") -> bool:
    """Whether a convolution does the same without an attribute: the shape of its weights tells that of its kernel."""
    undilated = attribute.name == "dilations" and set(attribute.ints) == {1}
    return node.op_type == "Conv" and (undilated or attribute.name == "kernel_shape")


def store_weights(model: "onnx.ModelProto", weights: str) -> None:
    """Store the weight tensors, those with more than one dimension, as `weights` says, in place.

    A node before each user makes float32 of them again. Raises ValueError where `weights` is not one of STORED.
    """
    from onnx import numpy_helper

    if weights not in STORED:
        raise ValueError(f"unknown way to store weights {weights!r}: choose from {', '.join(STORED)}")
    if weights == "fp32":
        return
    store = _store_int8 if weights == "int8" else _store_fp16
    graph, nodes = model.graph, []
    for number, tensor in enumerate(list(graph.initializer)):
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 1:
            stored, node = store(values, tensor.name, number)
            graph.initializer.remove(tensor)
            graph.initializer.extend(stored)
            nodes.append(node)
    nodes.extend(graph.node)  # after those that its nodes need
    del graph.node[:]
    graph.node.extend(nodes)


def _store_int8(values: np.ndarray, name: str, number: int) -> tuple[list["onnx.TensorProto"], "onnx.NodeProto"]:
    """Integers of 8 bits and a float32 scale for each row of `values`, and the node that multiplies them to `name`."""
    from onnx import helper, numpy_helper

    rows = values.reshape(len(values), -1)
    scale = np.abs(rows).max(1).clip(1e-12) / np.float32(127)
    rounded = np.round(rows / scale[:, None]).astype(np.int8).reshape(values.shape)
    stored = [numpy_helper.from_array(rounded, f"w{number}"), numpy_helper.from_array(scale, f"s{number}")]
    return stored, helper.make_node("DequantizeLinear", [f"w{number}", f"s{number}"], [name], axis=0)


def _store_fp16(values: np.ndarray, name: str, number: int) -> tuple[list["onnx.TensorProto"], "onnx.NodeProto"]:
    """Floats of 16 bits, and the node that casts them to `name`."""
    from onnx import TensorProto, helper, numpy_helper

    stored = [numpy_helper.from_array(values.astype(np.float16), f"w{number}")]
    return stored, helper.make_node("Cast", [f"w{number}"], [name], to=TensorProto.FLOAT)


def quantize_onnx(classifier: Classifier, path: str | os.PathLike, crops: np.ndarray) -> Path:
    """Write `classifier` as ONNX whose convolutions compute in 8-bit integers.

    crops: (N, 64, 96, 3) uint8, some hundreds of faces, on which the range of each map is found. The normalisation
    before them and the softmax after stay in float32. Raises ImportError where onnx or onnxruntime is not installed.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        plain = onnx.load(export_onnx(classifier, Path(folder) / "plain.onnx"))
    header = {one.key: json.loads(one.value) for one in plain.metadata_props}
    return save_onnx(quantize(plain, crops), path, header | {"arithmetic": "int8"})


def quantize(model: "onnx.ModelProto", pictures: np.ndarray, exact: Sequence[int] = ()) -> "onnx.ModelProto":
    """The model with convolutions in 8-bit integers, by onnxruntime's static quantization.

    pictures: (N, H, W, 3) uint8 for its one input, on which the range of each map is found. exact: the numbers of those
    convolutions, in their order, that stay in float32. Weights have 7 bits, as processors without instructions for
    8-bit integers (VNNI) add up two products in 16 bits.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Pictures(CalibrationDataReader):
        """32 at a time, as the quantizer asks for them."""

        def __init__(self):
            self.batches = iter(np.array_split(pictures, math.ceil(len(pictures) / 32)))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {model.graph.input[0].name: batch}

    for number, node in enumerate(model.graph.node):
        node.name = str(number)  # by which the quantizer knows them
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    with tempfile.TemporaryDirectory() as folder:
        plain, quantized = Path(folder) / "plain.onnx", Path(folder) / "quantized.onnx"
        onnx.save(model, plain)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)  # it advises a step that changes nothing here
        try:
            quantize_static(
                plain,
                quantized,
                Pictures(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                op_types_to_quantize=["Conv", "Gemm", "Relu"],
                nodes_to_exclude=[convolutions[number] for number in exact],
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.getLogger().setLevel(level)
        return strip(share_constants(onnx.load(quantized)))


def share_constants(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model with each of several equal constants stored once, in place: the quantizer writes many zeros."""
    from onnx import numpy_helper

    known: dict[tuple, str] = {}
    names: dict[str, str] = {}
    for tensor in list(model.graph.initializer):
        value = numpy_helper.to_array(tensor)
        names[tensor.name] = known.setdefault((value.dtype.str, value.shape, value.tobytes()), tensor.name)
        if names[tensor.name] != tensor.name:
            model.graph.initializer.remove(tensor)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return model


def calibration_crops(source: str, count: int = 512) -> np.ndarray:
    """(count, 64, 96, 3) uint8 crops of the training part of a source, "name" or "name=PATH" as in train.py."""
    (dataset,) = load_sources(named_paths([source]), {}).train.values()
    chosen = np.sort(np.random.default_rng(0).permutation(len(dataset))[:count])
    return CachedFaces(dataset.subset(chosen), load_detector("auto")).cut()


def prune_channels(model: GlassesCNN, ratio: float) -> GlassesCNN:
    """A copy without the share `ratio` of each convolution's channels, those with the smallest weights.

    Whole channels go, with all that reads them, so what is left is a narrower GlassesCNN; the widths stay multiples
    of 4. It has to be trained further. Done by torch-pruning (Fang et al.: "DepGraph", CVPR 2023). Raises ValueError
    for another network or ratio, ImportError where torch-pruning is not installed.
    """
    try:
        import torch_pruning
    except ImportError as error:
        raise ImportError("pruning needs a package: pip install torch-pruning") from error

    if not isinstance(model, GlassesCNN) or not 0 < ratio < 1:
        raise ValueError(
            f"only a GlassesCNN can be pruned, by a ratio between 0 and 1: {type(model).__name__}, {ratio}"
        )
    model = copy.deepcopy(model).cpu().eval()
    torch_pruning.pruner.MagnitudePruner(
        model,
        torch.rand(1, 3, model.crop.height, model.crop.width),
        importance=torch_pruning.importance.GroupMagnitudeImportance(),
        pruning_ratio=ratio,
        round_to=4,
        ignored_layers=[model.classifier],
    ).step()
    model.widths = tuple(layer.out_channels for layer in model.modules() if isinstance(layer, nn.Conv2d))
    return model


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 and one line where it is wrong."""
    parser = argparse.ArgumentParser(prog="compress.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write the network as ONNX")
    export.add_argument("--model", default="glasses", help="a name in weights/ or a .safetensors file")
    export.add_argument("--weights", default="int8", choices=STORED, help="how they are stored (default: int8)")
    export.add_argument("--out", type=Path, default=Path("glasses.onnx"))
    quantize = commands.add_parser("quantize", help="write it computing in 8-bit integers")
    quantize.add_argument("--model", default="glasses", help="a name in weights/ or a .safetensors file")
    quantize.add_argument("--data", default="sample", metavar="SOURCE=PATH", help="faces to find the ranges on")
    quantize.add_argument("--out", type=Path, default=Path("glasses_int8.onnx"))
    prune = commands.add_parser("prune", help="write a checkpoint with fewer channels, to go on from")
    prune.add_argument("checkpoint", type=Path, help="checkpoint.pt of train.py, of a GlassesCNN")
    prune.add_argument("--ratio", type=float, default=0.25, help="share of the channels to leave out (default: 0.25)")
    prune.add_argument("--out", type=Path, default=Path("runs/pruned/checkpoint.pt"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        if options.command == "prune":
            network = prune_channels(read_network(options.checkpoint), options.ratio)
            save_network(network, options.out)
            print(f"wrote {options.out}, widths {' '.join(map(str, network.widths))}: go on with train.py --init")
            return 0
        classifier = load_classifier(options.model, "cpu")
        if options.command == "export":
            path = export_onnx(classifier, options.out, options.weights)
        else:
            path = quantize_onnx(classifier, options.out, calibration_crops(options.data))
    except (DataError, ImportError, ValueError, OSError) as error:
        print(f"compress.py: {error}", file=sys.stderr)
        return 1
    print(f"wrote {path}, {path.stat().st_size / 1000:.1f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
