"""What does it stand?  The whole pipeline on faces that were cut, covered, turned, darkened or shrunk.

    python benchmarks/robustness.py --validate ffhq=PATH [--data celeba=PATH ...] [--model glasses] [--csv FILE]

The faces are those that evaluate.py measures; each is changed as a whole photo before the pipeline sees it.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
import pandas as pd

from corruptions import darken, hat, jpeg, mask, noise, turn, window
from data_load import Label, load_sources, named_paths
from detector_architectures import load_detector
from evaluate import wilson_interval
from glasses.pipeline import GlassesPipeline, find_faces

CHANGES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "none": lambda i, p: i,
    "left half of the face": lambda i, p: window(i, p, 9, 0.15, 9, 9),
    "right half of the face": lambda i, p: window(i, p, 0.15, 9, 9, 9),
    "close-up, brows to mouth": lambda i, p: window(i, p, 1.2, 1.2, 0.8, 0.8),
    "close-up, the eyes alone": lambda i, p: window(i, p, 1.1, 1.1, 0.45, 0.45),
    "light mask": lambda i, p: mask(i, p, (200, 220, 235)),
    "dark mask": lambda i, p: mask(i, p, (20, 20, 20)),
    "hat to the brows": hat,
    "tilted 20 degrees": lambda i, p: turn(i, 20),
    "tilted 45 degrees": lambda i, p: turn(i, -45),
    "on its side": lambda i, p: np.ascontiguousarray(np.rot90(i)),
    "a fifth of the light": lambda i, p: darken(i, 0.2),
    "noise, deviation 25": lambda i, p: noise(i, 25),
    "blur, deviation 3 pixels": lambda i, p: cv2.GaussianBlur(i, (0, 0), 3),
    "JPEG quality 10": lambda i, p: jpeg(i, 10),
    "48 pixels high": lambda i, p: cv2.resize(i, None, fx=48 / len(i), fy=48 / len(i), interpolation=cv2.INTER_AREA),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--validate", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--model", default="glasses")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    _, sources = load_sources(named_paths(options.data), named_paths(options.validate))
    detector, pipeline = load_detector("auto"), GlassesPipeline(model=options.model)
    photos = [(dataset, i) for dataset in sources.values() for i in range(len(dataset))]
    truth = np.array([dataset.labels[i] != Label.NONE for dataset, i in photos])
    images = [dataset.read(i) for dataset, i in photos]
    points = [find_faces(detector, image, assume_face=True)[0].landmarks for image in images]
    rows = []
    print("| change | accuracy, % (95 % interval) | missed | false alarms | centre crop |\n|---|--:|--:|--:|--:|")
    for name, change in CHANGES.items():
        answers = list(pipeline(change(image, p) for image, p in zip(images, points, strict=True)))
        found = np.array([answer.glasses for answer in answers])
        hits, centre = int((found == truth).sum()), sum(answer.detector == "center" for answer in answers)
        low, high = wilson_interval(hits, len(truth))
        missed, false = int((truth & ~found).sum()), int((~truth & found).sum())
        rows.append({"change": name, "accuracy": hits / len(truth), "missed": missed, "false": false, "centre": centre})
        rates = f"{100 * hits / len(truth):.1f} ({100 * low:.1f} to {100 * high:.1f})"
        print(f"| {name} | {rates} | {missed} | {false} | {centre} |", flush=True)
    if options.csv:
        pd.DataFrame(rows).to_csv(options.csv, index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
