"""A recognition network that needs no training: how the colours of 7 x 7 blocks of a chip differ from their mean."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

SIZE = 147  # numbers for a face


def write_network(path: Path, same: float = 0.8) -> Path:
    """An ONNX file with the input, the output and the metadata that `glasses.recognizer.Recognizer` asks for."""
    nodes = [
        helper.make_node("Cast", ["chips"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["blocks"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["blocks"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["flat", "mean"], ["centred"]),
        helper.make_node("LpNormalization", ["centred"], ["vectors"], axis=1, p=2),
    ]
    chips = helper.make_tensor_value_info("chips", TensorProto.UINT8, ["N", 112, 112, 3])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["N", SIZE])
    graph = helper.make_graph(nodes, "colour blocks", [chips], [vectors])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"same": json.dumps(same)})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def by_hand(chip: np.ndarray) -> np.ndarray:
    """What that network says of a chip, by NumPy: (147,) of length 1."""
    blocks = chip.reshape(7, 16, 7, 16, 3).mean((1, 3), dtype=np.float64).transpose(2, 0, 1).ravel()
    centred = blocks - blocks.mean()
    return centred / np.linalg.norm(centred)
