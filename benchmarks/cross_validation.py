"""What do a few hundred faces teach?  5-fold cross-validation by identity on MeGlass, large networks and small.

    python -m benchmarks.cross_validation [--data meglass=PATH] [--faces 600 1800] [--folds 5] [--epochs 12]
                                          [--lr 2e-3] [--corrections FILE] [--bfloat16] [--device auto]
                                          [--note WORDS] [--fold N] [--out runs/cross_validation]

Prints a Markdown table of E[F1] and Var[F1], the sample variance, over the folds and writes
benchmarks/results/cross_validation.csv, a row a fold. Balanced: as many faces with glasses as without. Every network
but the last starts from chance and learns from the faces of its fold alone, the last, which knows ImageNet, where its
two packages are installed (`models.EfficientNetLite`); so does the teacher of the distilled ones, the ResNet-18
of the same fold. All have one schedule: the same epochs, batch and highest learning rate, so that only the network and
the number of faces vary. It suits some better than others: what is compared is what each learns in it, not what the
best schedule would make of each. A run that was cut off goes on where it was. With --fold that fold alone is trained,
and no table written: several processes, or another machine, do a fold each, and a run without it puts together what
they left in --out.
"""

import argparse
import hashlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from benchmarks.networks import folder_of
from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from data_load import FaceDataset, Label, k_folds, read_corrections
from detector_architectures import load_detector
from face_cache import CachedFaces
from find_data import DataError
from glasses.files import whole_file
from models import pick_device
from run_config import digests
from sources import named_paths, open_source
from train import Trainer, predict_logits

TEACHER = "ResNet-18"
BATCH = 32
NETWORKS = {  # name -> architecture, and whether it has a teacher
    TEACHER: ("resnet18", False),
    "SqueezeNet 1.1": ("squeezenet1_1", False),
    "SqueezeNet 1.1, distilled": ("squeezenet1_1", True),
    "GlassesCNN": ("GlassesCNN", False),
    "GlassesCNN, distilled": ("GlassesCNN", True),
    "EfficientNet-Lite0 from ImageNet": ("efficientnet_lite0", False),
}


def balanced_part(dataset: FaceDataset, count: int, seed: int = 0) -> FaceDataset:
    """`count` faces drawn at random, half of them with glasses. DataError where there are too few."""
    glasses = dataset.labels != Label.NONE
    chosen = []
    for of_class in (np.flatnonzero(glasses), np.flatnonzero(~glasses)):
        if len(of_class) < count // 2:
            raise DataError(f"{count} balanced faces asked for, but {dataset!r}")
        chosen.extend(np.random.default_rng(seed).permutation(of_class)[: count // 2])
    return dataset.subset(sorted(chosen))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="meglass", metavar="SOURCE=PATH")
    parser.add_argument("--faces", type=int, nargs="+", default=[600, 1800])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=12, help="of every network")
    parser.add_argument("--lr", type=float, default=2e-3, help="the highest learning rate, of every network")
    parser.add_argument("--corrections", type=Path)
    parser.add_argument("--bfloat16", action="store_true", help="2 to 3 times faster where the processor has it")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    parser.add_argument(
        "--fold", type=int, metavar="N", help="train this fold alone, counted from 1, and write no table"
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/cross_validation"))
    add_note(parser)
    return parser.parse_args()


def train_fold(
    options: argparse.Namespace, run: str, train: CachedFaces, held: CachedFaces
) -> Iterator[tuple[str, float]]:
    """The F1 of each of NETWORKS on the held fold, with its name. run: in the names of the folders."""
    teacher = None
    for name, (architecture, distilled) in NETWORKS.items():
        try:
            trainer = Trainer(
                {"train": train},
                {"held": held},
                folder_of(f"{name}-{run}", options.out),
                epochs=options.epochs,
                batch=BATCH,
                lr=options.lr,
                workers=1,
                architecture=architecture,
                teachers=[teacher] if distilled else (),
                bfloat16=options.bfloat16,
                device=options.device,
            )
        except ImportError as error:  # of the one that knows ImageNet
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
            continue
        trainer.resume()
        trainer.fit(report=lambda history: None)
        network = trainer.average.module  # after the last epoch: no choice that the held fold made
        if name == TEACHER:
            teacher = network.eval()
        found = predict_logits(network, held, options.device).softmax(1)[:, 0].numpy() < 0.5
        yield name, f1_score(held.labels != Label.NONE, found)


def measure_fold(options: argparse.Namespace, count: int, fold: int, train: CachedFaces, held: CachedFaces) -> Path:
    """Train the networks of a fold and write a row for each: network, faces, fold, held, f1. Returns the file.

    One that is there already, of the very same faces and settings, is kept: its name says which they are.
    """
    run = f"{count}-{options.epochs}-{options.lr:g}-{fold}"
    decides = [digests({"train": train, "held": held}), options.bfloat16]
    path = options.out / f"{run}-{hashlib.sha256(repr(decides).encode()).hexdigest()[:8]}.csv"
    if not path.is_file():
        rows = []
        for name, f1 in train_fold(options, run, train, held):
            rows.append({"network": name, "faces": count, "fold": fold, "held": len(held), "f1": f1})
            where = f"{count} faces, fold {fold} of {options.folds}"
            print(f"{where}, {name}: F1 {f1:.4f}", file=sys.stderr, flush=True)
        with whole_file(path) as partial:
            pd.DataFrame(rows).to_csv(partial, index=False)
    return path


def cross_validate(options: argparse.Namespace) -> pd.DataFrame:
    """A row a fold, network and number of faces, or those of the one fold that is asked for."""
    ((source, path),) = named_paths([options.data]).items()
    dataset = open_source(source, path)
    if options.corrections:
        dataset = dataset.relabel(read_corrections(options.corrections).get(source, {}))
    crops = CachedFaces(dataset, load_detector("auto"), options.cache)
    files = []
    for count in options.faces:
        for fold, parts in enumerate(k_folds(balanced_part(dataset, count), options.folds), start=1):
            if options.fold in (None, fold):
                train, held = (crops.of(part) for part in parts)
                files.append(measure_fold(options, count, fold, train, held))
    return pd.concat([pd.read_csv(file) for file in files], ignore_index=True)


def settings(options: argparse.Namespace) -> str:
    """The line of the header that says what all networks had in common."""
    schedule = f"{options.epochs} epochs, batch {BATCH}, highest learning rate {options.lr:g}"
    return f"one schedule for all networks and numbers of faces: {schedule}"


def main() -> int:
    options = parse_arguments()
    options.device = pick_device(options.device)
    table = cross_validate(options)
    if options.fold:
        return 0
    columns = [f"{moment}, {count} faces" for count in options.faces for moment in ("E[F1]", "Var[F1]")]
    print(f"| network | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}")
    for name, part in table.groupby("network", sort=False):
        cells = [part[part["faces"] == count]["f1"] for count in options.faces]
        print(f"| {name} | {' | '.join(f'{f1.mean():.4f} | {f1.var(ddof=1):.6f}' for f1 in cells)} |")
    lines = header("input 96x64; F1 of glasses at a threshold of 0.5", settings(options), note=options.note)
    write_table(table, RESULTS / "cross_validation.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
