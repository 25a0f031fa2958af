"""How good is each network, large and small, plain and distilled?  Trains those that are missing, measures all.

    python -m benchmarks.accuracy --data celeba=PATH meglass=PATH ... --validate ffhq=PATH ... [--corrections FILE]
                                  [--only NAME ...] [--shipped] [--bfloat16] [--out runs/networks] [--note WORDS]

Prints a Markdown table and writes benchmarks/results/accuracy.csv, and, where latency.csv is beside it, pareto.png.
--shipped measures only the networks that are shipped, which had other trainings, and writes shipped.csv.
All networks learn from the same faces, their epoch and threshold are chosen on the same others, and they are measured
on the report part, which served for neither (networks.py: how each is trained). A run that was cut off goes on where it
was, and weights that are there already are measured again where they are of the same run; on two CPU cores all of them
take some hours.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.networks import RECIPES, Recipe, folder_of, shape_of
from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from compress import calibration_crops, prune_channels, quantize_onnx
from data_load import Label, read_corrections
from detector_architectures import load_detector
from evaluate import wilson_interval
from face_cache import CachedFaces
from figures import plot_pareto
from glasses.classifiers import CLASSIFIERS, WEIGHTS, OnnxClassifier
from models import load_classifier, load_weights, read_network
from run_config import RunConfig, check_corrections, corrections_digest, split_digest
from sources import about_glasses, load_sources, named_paths
from train import Trainer


class Faces(NamedTuple):
    """The three parts, crops by source, and how they were dealt and corrected, as of `RunConfig`."""

    train: dict[str, CachedFaces]
    select: dict[str, CachedFaces]
    report: dict[str, CachedFaces]
    split: str = ""
    corrections: str = ""


def train_network(name: str, recipe: Recipe, faces: Faces, options: argparse.Namespace) -> Path:
    """The weights of a row, trained now if they have not been in the very same run.

    Raises ValueError, naming the differences, where the folder holds the checkpoint of another run.
    """
    out = options.out
    network = read_network(folder_of(recipe.start, out) / "checkpoint.pt") if recipe.start else None
    trainer = Trainer(
        faces.train,
        faces.select,
        folder_of(name, out),
        epochs=recipe.epochs,
        batch=recipe.batch,
        lr=recipe.lr,
        architecture=recipe.architecture,
        widths=recipe.widths,
        network=prune_channels(network, recipe.prune) if recipe.prune else network,
        teachers=[load_weights(folder_of(teacher, out) / "glasses.safetensors")[0] for teacher in recipe.teachers],
        bfloat16=options.bfloat16,
        corrections=faces.corrections,
        split=faces.split,
    )
    weights = trainer.out / "glasses.safetensors"
    if weights.is_file() and is_of(trainer.config, weights):
        return weights
    trainer.resume()
    print(f"training {name}", flush=True)
    trainer.fit()
    return trainer.export()


def is_of(config: RunConfig, weights: Path) -> bool:
    """Whether the header of the weights says that they are of such a run, by whatever versions of the packages."""
    _, header = load_weights(weights)
    differing, _ = config.compare(header.get("config", {}))
    return not differing


def measure_network(classify, report: Mapping[str, CachedFaces]) -> dict[str, float]:
    """Accuracy on each source, and over all faces with its 95 % interval. classify: crops -> (N, 4) probabilities."""
    row, errors = {}, 0
    for name, faces in report.items():
        probability = np.concatenate(
            [1 - classify(part)[:, 0] for part in np.array_split(faces.cut(), 1 + len(faces) // 256)]
        )
        wrong = int(((probability >= classify.threshold) != (faces.labels != Label.NONE)).sum())
        row[name] = 1 - wrong / len(faces)
        errors += wrong
    count = sum(len(faces) for faces in report.values())
    low, high = wilson_interval(count - errors, count)
    return {**row, "faces": count, "errors": errors, "accuracy": 1 - errors / count, "low": low, "high": high}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE=PATH")
    parser.add_argument("--validate", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--corrections", type=Path)
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=RECIPES, metavar="NAME", help="some rows")
    parser.add_argument("--shipped", action="store_true", help="the shipped networks instead")
    parser.add_argument("--bfloat16", action="store_true", help="2 to 3 times faster where the processor has it")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/networks"))
    add_note(parser)
    return parser.parse_args()


def load_faces(options: argparse.Namespace) -> Faces:
    """The faces of all sources."""
    corrections = read_corrections(options.corrections) if options.corrections else {}
    detector, given = load_detector("auto"), named_paths(options.data)
    parts = load_sources(given, named_paths(options.validate), corrections)
    check_corrections(corrections, *parts)
    dealt = parts.train, parts.select, about_glasses(parts.report)
    if options.shipped:  # nothing is trained
        dealt = {}, {}, dealt[2]
    cached = [{name: CachedFaces(data, detector, options.cache) for name, data in part.items()} for part in dealt]
    return Faces(*cached, split_digest(parts), corrections_digest(corrections, given))


def measure_all(options: argparse.Namespace, faces: Faces) -> pd.DataFrame:
    """A row a network: the recipes, trained where they have not been, or the shipped ones."""
    rows = []

    def note(name: str, file: Path, classify, model, arithmetic: str = "float32", epochs: int | None = None) -> None:
        size = {"parameters": sum(p.numel() for p in model.parameters()), "bytes": file.stat().st_size}
        row = {"network": name, "shape": shape_of(model), "arithmetic": arithmetic, "epochs": epochs, **size}
        rows.append(row | measure_network(classify, faces.report))

    for name in () if options.shipped else options.only:
        file = train_network(name, RECIPES[name], faces, options)
        classifier = load_classifier(file, "cpu")
        note(name, file, classifier, classifier.model, epochs=RECIPES[name].epochs)
    if not options.shipped:
        return pd.DataFrame(rows)
    calibration = calibration_crops("sample")
    options.out.mkdir(parents=True, exist_ok=True)
    for file in (WEIGHTS / f"{name}.onnx" for name in CLASSIFIERS):
        classifier = load_classifier(file.stem, "cpu")
        note(file.stem, file, OnnxClassifier(file), classifier.model)
        quantized = quantize_onnx(classifier, options.out / f"{file.stem}_int8.onnx", calibration)
        note(f"{file.stem}, INT8", quantized, OnnxClassifier(quantized), classifier.model, "int8")
    return pd.DataFrame(rows)


def print_table(table: pd.DataFrame, sources: Sequence[str]) -> None:
    print(f"\n| network | parameters | KB | {' | '.join(sources)} | all | errors |\n|---|{'--:|' * (4 + len(sources))}")
    for row in table.to_dict("records"):
        rates = " | ".join(f"{100 * row[name]:.2f}" for name in [*sources, "accuracy"])
        print(f"| {row['network']} | {row['parameters']:,} | {row['bytes'] / 1000:.0f} | {rates} | {row['errors']} |")


def main() -> int:
    options = parse_arguments()
    faces = load_faces(options)
    table = measure_all(options, faces)
    print_table(table, list(faces.report))
    sizes = ", ".join(f"{name} {len(of_source)}" for name, of_source in faces.report.items())
    lines = header(f"report faces: {sizes}; input 96x64", note=options.note)
    write_table(table, RESULTS / ("shipped.csv" if options.shipped else "accuracy.csv"), lines)
    if not options.shipped and (RESULTS / "latency.csv").is_file():
        times = pd.read_csv(RESULTS / "latency.csv", comment="#")
        plot_pareto(table, times).savefig(RESULTS / "pareto.png", dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
