"""How far off are the key points?  Whole pictures through the tool, against labels; also a command.

    python evaluate_keypoints.py --data ytf=PATH [--part report|select|all|test] [--detector auto]
                                 [--model keypoints FILE.onnx ...] [--plot curve.png]

An error is the mean distance of a face's points from the labels, by the distance of the outer eye corners (NME). Each
picture goes the whole way: the detector finds the face, its landmarks align the crop, the points are found in it. A
face that is not found counts as a failure: it is above any bound. Intervals are of 95 %, by a bootstrap over people.

report: the people whom neither weights nor epoch saw (the default); test: the official test part, whose people are
those of the training part.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from detector_architectures import DETECTORS, load_detector
from figures import plot_error_curve
from find_data import DataError, find_dataset
from glasses.classifiers import WEIGHTS
from glasses.keypoints import KeypointFinder, five_landmarks
from glasses.pipeline import find_faces
from keypoint_data import PARTS, FacialKeypointsDataset, eye_distance
from train_keypoints import labelled_parts

BOUNDS = (0.08, 0.10)  # errors above them are counted
SIZES = (0, 30, 40, 50, np.inf)  # pixels between the outer eye corners
YAWS = (0, 0.1, 0.25, np.inf)  # of `turned`, in eye distances: 0.25 is about 30 degrees
RESAMPLES, SEED = 2000, 0

Finder = Callable[[np.ndarray, Sequence[np.ndarray]], np.ndarray]  # as `KeypointFinder`


def locate(dataset: FacialKeypointsDataset, finder: Finder, detector) -> np.ndarray:
    """(N, 68, 2) float32 points of the main face of each picture, NaN where none is found."""

    def one(index: int) -> np.ndarray:
        image = dataset.read(index)
        faces = find_faces(detector, image)
        return finder(image, [faces[0].landmarks])[0] if faces else np.full((68, 2), np.nan, np.float32)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(one, range(len(dataset)))
        return np.stack(list(tqdm(found, desc="finding", total=len(dataset), disable=None, leave=False)))


def point_errors(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N, P, 2) points and the (N, 68, 2) labels of their faces -> (N, P) errors in eye distances, NaN where missed.

    P: 68, or the 5 of `five_landmarks`.
    """
    wanted = labels if found.shape[1] == labels.shape[1] else five_landmarks(labels)
    return np.hypot(*np.moveaxis(found - wanted, -1, 0)) / eye_distance(labels)[:, None]


def summarize(errors: np.ndarray, people: Sequence[str]) -> dict[str, float]:
    """Of (N,) errors, NaN where missed: faces, missed, mean, low, high, median, and the share above each bound."""
    found = errors[~np.isnan(errors)]
    low, high = bootstrap(errors, people)
    row = {"faces": len(errors), "missed": int(np.isnan(errors).sum()), "mean": _mean(errors)}
    row |= {"low": low, "high": high, "median": float(np.median(found)) if len(found) else np.nan}
    return row | {f"above {bound:.2f}": float((~(errors <= bound)).mean()) for bound in BOUNDS}


def _mean(errors: np.ndarray) -> float:
    """Of those that are numbers, NaN where none is."""
    found = errors[~np.isnan(errors)]
    return float(found.mean()) if len(found) else np.nan


def bootstrap(errors: np.ndarray, people: Sequence[str]) -> tuple[float, float]:
    """The 95 % interval of the mean error of those found, people drawn with replacement, each with all their faces."""
    _, person = np.unique(people, return_inverse=True)
    there = ~np.isnan(errors)
    if not there.any():
        return np.nan, np.nan
    sums = np.bincount(person[there], errors[there], person.max() + 1)
    counts = np.bincount(person[there], minlength=person.max() + 1)
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(RESAMPLES, len(sums)))
    faces = counts[drawn].sum(1)
    low, high = np.percentile(sums[drawn].sum(1)[faces > 0] / faces[faces > 0], [2.5, 97.5])
    return float(low), float(high)


def turned(labels: np.ndarray) -> np.ndarray:
    """(N,) how far each face is turned aside: the nose tip's way from the middle of the eyes, in eye distances."""
    across = labels[:, 45] - labels[:, 36]
    nose = labels[:, 30] - (labels[:, 45] + labels[:, 36]) / 2
    return np.abs((nose * across).sum(1)) / (across**2).sum(1)


def breakdown(errors: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Mean errors of (N, 68) `point_errors` by part of the face, by its size and by how far it is turned."""
    of_face, rows = errors.mean(1), []
    rows += [("part", name, _mean(errors[:, part]), len(errors)) for name, part in PARTS.items()]
    for what, values, bounds, unit in (
        ("eye distance", eye_distance(labels), SIZES, "pixels"),
        ("turned", turned(labels), YAWS, "eye distances"),
    ):
        for low, high in pairwise(bounds):
            inside = (values >= low) & (values < high)
            name = f"{low:g} to {high:g} {unit}" if np.isfinite(high) else f"from {low:g} {unit}"
            if inside.any():
                rows.append((what, name, _mean(of_face[inside]), int(inside.sum())))
    return pd.DataFrame(rows, columns=["by", "which", "mean", "faces"])


def choose_part(data: str, part: str) -> FacialKeypointsDataset:
    """The faces that --data and --part name. Raises DataError."""
    name, _, path = data.partition("=")
    if part in ("all", "test"):
        return FacialKeypointsDataset(find_dataset(name, path or None), part="test" if part == "test" else "training")
    return dict(zip(("train", "select", "report"), labelled_parts(name, path), strict=True))[part]


def evaluate(dataset: FacialKeypointsDataset, finders: dict[str, Finder], detector) -> dict[str, np.ndarray]:
    """(N, 68, 2) points of each finder, by its name."""
    return {name: locate(dataset, finder, detector) for name, finder in finders.items()}


def table(found: dict[str, np.ndarray], dataset: FacialKeypointsDataset) -> pd.DataFrame:
    """A row a finder: `summarize` of all points, and "five", the mean error of the five that align a crop."""
    rows, people = [], dataset.keys()
    for name, points in found.items():
        row = {"network": name} | summarize(point_errors(points, dataset.keypoints).mean(1), people)
        five = point_errors(five_landmarks(points), dataset.keypoints).mean(1)
        rows.append(row | {"five": _mean(five)})
    return pd.DataFrame(rows)


def open_finder(model: str) -> KeypointFinder:
    """By a name in `glasses/weights/` or the path of an .onnx file. Raises what `KeypointFinder` raises."""
    return KeypointFinder(model if Path(model).suffix else WEIGHTS / f"{model}.onnx")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="ytf", metavar="ytf[=PATH]", help="labelled faces: ytf or sample")
    parser.add_argument("--part", default="report", choices=("train", "select", "report", "all", "test"))
    parser.add_argument("--detector", default="auto", choices=DETECTORS)
    parser.add_argument("--model", nargs="+", default=["keypoints"], help="keypoints, or .onnx files")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the cumulative error curve there")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        dataset = choose_part(options.data, options.part)
        finders = {model: open_finder(model) for model in options.model}
        found = evaluate(dataset, finders, load_detector(options.detector))
        with pd.option_context("display.float_format", "{:.4f}".format, "display.width", 160):
            print(table(found, dataset).to_string(index=False))
            for name, points in found.items():
                print(f"\n{name}")
                print(breakdown(point_errors(points, dataset.keypoints), dataset.keypoints).to_string(index=False))
        if options.plot:
            errors = {name: point_errors(points, dataset.keypoints).mean(1) for name, points in found.items()}
            plot_error_curve(errors).savefig(options.plot, dpi=120)
    except (DataError, ImportError, ValueError, OSError) as error:
        print(f"evaluate_keypoints.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
