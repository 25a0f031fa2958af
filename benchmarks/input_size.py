"""What should the network be shown?  Trains it for a few epochs on crops of several sizes and shapes.

    python -m benchmarks.input_size --data celeba=PATH meglass=PATH ... --validate ffhq=PATH [--epochs 6] [--csv FILE]

Everything else is alike: sources, parts, schedule, seed, channels. Only the last layer grows with the crop. Loss and
error are those of the last epoch on the report part, which nothing was chosen on.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from data_load import read_corrections
from detector_architectures import load_detector
from face_cache import CachedFaces
from glasses.crops import CROP, Crop
from glasses.files import whole_file
from models import fold_batch_norm
from sources import load_sources, named_paths
from timing import measure
from train import Trainer, validate

CROPS = {
    "eyes, 48x32": Crop(48, 32, CROP.unit / 2),
    "whole face, 64x64": Crop(64, 64, CROP.unit * 2 / 3, drop=0.45),
    "eyes, 96x64": CROP,
    "eyes, 128x80": Crop(128, 80, CROP.unit * 4 / 3),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE=PATH")
    parser.add_argument("--validate", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--corrections", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/input_size"))
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    corrections = read_corrections(options.corrections) if options.corrections else None
    parts = load_sources(named_paths(options.data), named_paths(options.validate), corrections)
    detector = load_detector("auto")
    rows = []
    print("| crop | parameters | one face, ms | loss | mean error, % |\n|---|--:|--:|--:|--:|")
    for name, crop in CROPS.items():
        cached = [{n: CachedFaces(d, detector, options.cache, crop) for n, d in part.items()} for part in parts]
        out = options.out / f"{crop.width}x{crop.height}-{options.epochs}"
        train, select, report = cached
        trainer = Trainer(train, select, out, epochs=options.epochs, workers=1, crop=crop)
        trainer.resume()
        trainer.fit()
        measured = validate(trainer.average.module, report, "cpu")
        network, face = fold_batch_norm(trainer.learner.model), torch.rand(1, 3, crop.height, crop.width)
        with torch.inference_mode():
            milliseconds = 1000 * measure(lambda n=network, f=face: n(f), 200, 20)["median"]
        error = 100 * (1 - np.mean([measured[f"{source}_accuracy"] for source in report]))
        parameters = sum(p.numel() for p in network.parameters())
        loss = measured["loss"]
        rows.append({"crop": name, "parameters": parameters, "ms": milliseconds, "loss": loss, "error": error})
        print(f"| {name} | {parameters} | {milliseconds:.2f} | {loss:.4f} | {error:.2f} |", flush=True)
    if options.csv:
        with whole_file(options.csv) as partial:
            pd.DataFrame(rows).to_csv(partial, index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
