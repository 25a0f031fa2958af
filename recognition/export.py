"""How does a student become a file?  As ONNX, from chips to vectors, with the cosine from which two are one person.

from recognition.export import export_student
export_student(student, "recognition.onnx", {"celeba": faces})
export_student(student, "recognition.onnx", {"celeba": faces}, layer=whitening(StudentNetwork(student), others))
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from compress import as_onnx, save_onnx, store_weights
from find_data import DataError
from glasses.files import whole_file
from glasses.recognizer import CHIP, Recognizer
from models import fold_batch_norm
from recognition.chips import Network
from recognition.faces import Known
from recognition.measure import FALSE_ACCEPTS, impostor_cosines, threshold_at
from recognition.students import ChipsToVectors, Student

SHRINKAGE = 1.0  # times the mean variance, added in each direction: of few people the small variances are not known


def same_person_threshold(network: Network, faces: Mapping[str, Known]) -> float:
    """The cosine that of the pairs of two people of each data set at most FALSE_ACCEPTS reach.

    Raises DataError where a data set has no pair of two people.
    """
    thresholds = []
    for known in faces.values():
        vectors = known.chips.vectors(network)
        thresholds.append(threshold_at(impostor_cosines(vectors, known.names, known.identities)))
    return max(thresholds)


def within_people(vectors: np.ndarray, identities: Sequence[str]) -> np.ndarray:
    """(N, D) vectors and whose they are -> (D, D): the covariance of what makes pictures of one person differ.

    Faces that were not found, NaN, and of nobody known are left out. Raises DataError where nobody has two pictures.
    """
    rows = [row for row, person in enumerate(identities) if person and not np.isnan(vectors[row]).any()]
    table = pd.DataFrame(vectors[rows].astype(np.float64))
    own = table.groupby(np.array(identities)[rows])
    free = len(table) - own.ngroups
    if not free:
        raise DataError("nobody has two pictures, to learn from how pictures of one person differ: name more data")
    apart = (table - own.transform("mean")).to_numpy()
    return apart.T @ apart / free


def whitening(network: Network, faces: Mapping[str, Known]) -> nn.Linear:
    """The layer after which pictures of one person differ about equally much in each direction.

    Where they differed much, by light, by glasses, two faces that differ so may well be one person's; the cosine then
    goes by the other directions (Hatch et al.: "Within-class covariance normalization", Interspeech 2006). Each data
    set counts alike. Raises DataError where nobody has two pictures.
    """
    vectors = {name: known.chips.vectors(network) for name, known in faces.items()}
    scatters = [within_people(vectors[name], known.identities) for name, known in faces.items()]
    scatter = sum(one / np.trace(one) * len(one) for one in scatters) / len(scatters)
    values, directions = np.linalg.eigh(scatter + SHRINKAGE * np.eye(len(scatter)))
    matrix = directions * values**-0.5 @ directions.T
    layer = nn.Linear(*matrix.shape)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(matrix))
        layer.bias.copy_(torch.from_numpy(-matrix @ np.nanmean(np.concatenate(list(vectors.values())), axis=0)))
    return layer


def export_student(
    student: Student,
    path: str | os.PathLike,
    faces: Mapping[str, Known],
    weights: str = "int8",
    header: dict | None = None,
    layer: nn.Linear | None = None,
) -> Path:
    """Write a student for the tool: "chips" (N, 112, 112, 3) uint8 -> "vectors" (N, size) float32 of length 1.

    The file appears whole or not at all. faces: of the select parts, by data set: nobody of whom the weights or the
    accuracy that is told depend on. The threshold, `same` in the metadata, is that of the file itself. weights: of
    `compress.STORED`. header: more for the metadata. layer: of `whitening`; without it the vectors are the
    student's own. Raises ImportError where onnx or onnxscript is not installed,
    DataError where there are no two people.
    """
    graph = ChipsToVectors(fold_batch_norm(student.cpu()), layer)
    chips = torch.zeros(2, CHIP.height, CHIP.width, 3, dtype=torch.uint8)
    model = as_onnx(graph, chips, {0: torch.export.Dim("faces", min=1, max=2**16)}, "chips", ["vectors"])
    store_weights(model, weights)
    about = {"network": student.name, "size": student.size, "false_accepts": FALSE_ACCEPTS} | (header or {})
    with whole_file(path) as partial:
        save_onnx(model, partial, about | {"same": 1.0})  # until it has been measured
        same = same_person_threshold(Recognizer(partial), faces)
        save_onnx(model, partial, about | {"same": math.ceil(1e4 * same) / 1e4})
    return Path(path)


def agreement(one: Network, other: Network, chips: np.ndarray) -> float:
    """The least cosine between what two networks say of (N, 112, 112, 3) uint8 chips."""
    return float((one(chips) * other(chips)).sum(1).min())
