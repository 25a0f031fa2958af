"""What should the network be shown?  Trains it for a few epochs on crops of several sizes and shapes.

    python -m benchmarks.input_size --data celeba=PATH meglass=PATH ... --validate ffhq=PATH ... [--epochs 6]
                                    [--corrections FILE] [--note WORDS] [--out runs/input_size]

Prints a Markdown table and writes benchmarks/results/input_size.csv, which `make tables` puts into the model card. A
run that was cut off goes on where it was.

Everything else is alike: sources, parts, schedule, seed, channels. Only the last layer grows with the crop. Loss and
error are those of the last epoch on the report part, which nothing was chosen on; the error is the mean over its
sources. The time is that of the network alone, on one face, by torch on one thread.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from data_load import read_corrections
from detector_architectures import load_detector
from face_cache import CachedFaces
from glasses.crops import CROP, Crop
from models import fold_batch_norm
from sources import Parts, load_sources, named_paths
from timing import measure
from train import Trainer, validate

CROPS = {
    "eyes, 48x32": Crop(48, 32, CROP.unit / 2),
    "whole face, 64x64": Crop(64, 64, CROP.unit * 2 / 3, drop=0.45),
    "eyes, 96x64": CROP,
    "eyes, 128x80": Crop(128, 80, CROP.unit * 4 / 3),
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE=PATH")
    parser.add_argument("--validate", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--corrections", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/input_size"))
    add_note(parser)
    return parser.parse_args()


def measure_crop(options: argparse.Namespace, parts: Parts, crop: Crop) -> dict[str, float]:
    """Trains the network on such crops of the faces: parameters, ms of one face, loss and mean error (a share)."""
    detector = load_detector("auto")
    train, select, report = [
        {name: CachedFaces(faces, detector, options.cache, crop) for name, faces in part.items()} for part in parts
    ]
    out = options.out / f"{crop.width}x{crop.height}-{options.epochs}"
    trainer = Trainer(train, select, out, epochs=options.epochs, workers=1, crop=crop)
    trainer.resume()
    trainer.fit()
    measured = validate(trainer.average.module, report, "cpu")
    network, face = fold_batch_norm(trainer.learner.model), torch.rand(1, 3, crop.height, crop.width)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        milliseconds = 1000 * measure(lambda: network(face), 200, 20)["median"]
    torch.set_num_threads(threads)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "ms": milliseconds,
        "loss": measured["loss"],
        "error": 1 - np.mean([measured[f"{source}_accuracy"] for source in report]),
    }


def main() -> int:
    options = parse_arguments()
    corrections = read_corrections(options.corrections) if options.corrections else None
    parts = load_sources(named_paths(options.data), named_paths(options.validate), corrections)
    rows = []
    print("| crop | parameters | one face, ms | loss | mean error, % |\n|---|--:|--:|--:|--:|")
    for name, crop in CROPS.items():
        row = {"crop": name, **measure_crop(options, parts, crop)}
        rows.append(row)
        error = 100 * row["error"]
        print(f"| {name} | {row['parameters']:,} | {row['ms']:.2f} | {row['loss']:.4f} | {error:.2f} |", flush=True)
    sizes = ", ".join(f"{name} {len(faces)}" for name, faces in parts.report.items())
    lines = header(f"report faces: {sizes}; {options.epochs} epochs, one run each", note=options.note)
    write_table(pd.DataFrame(rows), RESULTS / "input_size.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
