"""How well do the networks of recognition/ tell people apart, and what do glasses cost them?

    python -m benchmarks.recognition --lfw PATH --meglass PATH --celeba PATH --teacher FILE.onnx
                                     [--student "MobileNetV3-Small=FILE.onnx" ...] [--triplets 5000] [--note WORDS]

Writes results/recognition.csv, a row a network; those that are not asked again stay as they were measured, with date
and machine. Parameters and bytes of its file; the time of one face by ONNX Runtime on one thread (each network is
asked for it and its mirror image); LFW by its official protocol, from the pictures; pairs with and without glasses of
MeGlass, and match and class accuracy on triplets of CelebA, both of people of the report parts. Students are files of
`python -m recognition models export`; without any it is the shipped one. `make tables` puts them into README and
model card.
"""

import argparse
import datetime
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before any library starts its threads

import numpy as np
import onnx
import pandas as pd

from benchmarks.report import RESULTS, add_note, header, processor, run_command, with_earlier, write_table
from glasses.recognizer import RECOGNIZER, Recognizer
from recognition.chips import Network
from recognition.datasets import open_people
from recognition.measure import KINDS, class_accuracy, match_accuracy, measure_glasses, measure_lfw
from recognition.teachers import OnnxTeacher
from recognition.triplets import TripletSet, make_set, open_set
from timing import measure

COLUMNS = dict(zip(KINDS, ("without", "with", "against"), strict=True))
WEIGHTS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)


def parameters(path: Path) -> int:
    """How many weights and biases are in an ONNX file: all its numbers but single ones, and the scales of others."""
    graph = onnx.load(path).graph
    scales = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.input[1:]}
    counts = {one.name: int(np.prod(one.dims)) for one in graph.initializer if one.data_type in WEIGHTS}
    return sum(count for name, count in counts.items() if name not in scales and count > 1)


def cost(network: Network, path: Path) -> dict[str, float]:
    """parameters, bytes, and the time of one face in ms."""
    chip = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), dtype=np.uint8)
    milliseconds = 1000 * measure(lambda: network(chip), 300, 20)["median"]
    return {"parameters": parameters(path), "bytes": path.stat().st_size, "ms": milliseconds}


def quality(network: Network, options: argparse.Namespace, triplets: TripletSet) -> dict[str, float]:
    """What LFW, MeGlass and the triplets of CelebA say of a network."""
    lfw, _, _ = measure_lfw(network, open_people(f"lfw={options.lfw}"), options.cache, options.workers)
    row = {f"lfw_{name}": value for name, value in lfw.items()}
    worn, _ = measure_glasses(network, open_people(f"meglass={options.meglass}"), options.cache, options.workers)
    for of_kind in worn:
        kind = COLUMNS[of_kind.pop("kind")]
        row |= {f"{kind}_{name}": value for name, value in of_kind.items()}
    vectors = triplets.chips.vectors(network)
    accuracy, pictures, people = class_accuracy(vectors, triplets.names, triplets.identities)
    row |= {"match": match_accuracy(vectors, triplets.triplets), "triplets": len(triplets.triplets)}
    return row | {"class": accuracy, "class_pictures": pictures, "class_people": people}


def table(networks: Mapping[str, tuple[Network, Path]], options: argparse.Namespace) -> pd.DataFrame:
    """A row a network, (network, its file) by name."""
    rows = []
    with tempfile.TemporaryDirectory() as store:
        celeba = open_people(f"celeba={options.celeba}")
        made = make_set(celeba, "test", options.triplets, 0, store, options.cache, options.workers)
        triplets = open_set(made, store)
        for name, (network, path) in networks.items():
            rows.append({"network": name, **cost(network, path), **quality(network, options, triplets)})
            print(pd.Series(rows[-1]).to_string(), end="\n\n", flush=True)
    return pd.DataFrame(rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("lfw", "meglass", "celeba"):
        parser.add_argument(f"--{name}", required=True, metavar="PATH", help="folder of the data set")
    parser.add_argument("--teacher", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--student", nargs="+", default=[f"recognition={RECOGNIZER}"], metavar="NAME=FILE.onnx")
    parser.add_argument("--triplets", type=int, default=5000, help="of CelebA (default: 5000)")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--workers", type=int)
    add_note(parser)
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    networks: dict[str, tuple[Network, Path]] = {"teacher": (OnnxTeacher(options.teacher), options.teacher)}
    for name, _, path in (student.partition("=") for student in options.student):
        networks[name] = (Recognizer(path), Path(path))
    rows = table(networks, options).assign(date=datetime.date.today(), machine=processor())
    file = RESULTS / "recognition.csv"
    lines = header("1 thread; no person here trained a student; each network as last measured", note=options.note)
    write_table(with_earlier(rows, file, "network"), file, lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
