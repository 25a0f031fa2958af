"""What does it withstand?  The whole pipeline on faces that were cut, covered, turned, darkened or shrunk.

    python -m benchmarks.robustness --validate ffhq=PATH [--data celeba=PATH ...] [--model glasses]
                                    [--others masks=PATH celeba=PATH lfw=PATH] [--corrections FILE] [--note WORDS]

Writes results/robustness.csv. The faces are those that evaluate.py measures; each is changed as a whole photo before
the pipeline sees it. As there, it is wrong where it finds nobody. --others: sources whose report part is shown as it
is, for what no change makes: those of masks in a row, and of all others those turned far to the side.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import cv2
import numpy as np
import pandas as pd

from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from corruptions import darken, hat, jpeg, mask, noise, turn, window
from data_load import FaceDataset, Label, Masks, read_corrections
from evaluate import wilson_interval
from evaluate_keypoints import turned
from glasses.keypoints import open_keypoints
from glasses.pipeline import Answer, GlassesPipeline, find_faces
from models import open_classifier
from sources import about_glasses, load_sources, named_paths

PROFILE = 0.4  # eye distances between the nose tip and the middle of the eyes: about 45 degrees, `turned`


def watermark(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A photo agency's name across the eyes, half transparent."""
    unit = np.hypot(*(points[1] - points[0]))
    (width, height), _ = cv2.getTextSize("STOCK PHOTO", cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
    scale, middle = 3 * unit / width, points[:2].mean(0)
    corner = (int(middle[0] - 1.5 * unit), int(middle[1] + scale * height / 2))
    written = image.copy()
    thick = max(1, round(2.5 * scale))
    cv2.putText(written, "STOCK PHOTO", corner, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thick, cv2.LINE_AA)
    return cv2.addWeighted(image, 0.5, written, 0.5, 0)


CHANGES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "none": lambda i, p: i,
    "left half of the face": lambda i, p: window(i, p, 9, 0.15, 9, 9),
    "right half of the face": lambda i, p: window(i, p, 0.15, 9, 9, 9),
    "close-up, brows to mouth": lambda i, p: window(i, p, 1.2, 1.2, 0.8, 0.8),
    "close-up, the eyes alone": lambda i, p: window(i, p, 1.1, 1.1, 0.45, 0.45),
    "light mask": lambda i, p: mask(i, p, (200, 220, 235)),
    "dark mask": lambda i, p: mask(i, p, (20, 20, 20)),
    "hat to the brows": hat,
    "watermark across the eyes": watermark,
    "tilted 20 degrees": lambda i, p: turn(i, 20),
    "tilted 45 degrees": lambda i, p: turn(i, -45),
    "on its side": lambda i, p: np.ascontiguousarray(np.rot90(i)),
    "a fifth of the light": lambda i, p: darken(i, 0.2),
    "noise, standard deviation 25": lambda i, p: noise(i, 25),
    "blur, standard deviation 3 pixels": lambda i, p: cv2.GaussianBlur(i, (0, 0), 3),
    "JPEG quality 10": lambda i, p: jpeg(i, 10),
    "48 pixels high": lambda i, p: cv2.resize(i, None, fx=48 / len(i), fy=48 / len(i), interpolation=cv2.INTER_AREA),
}


def measure(
    images: Sequence[np.ndarray],
    truth: np.ndarray,
    pipeline: GlassesPipeline,
    changes: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = CHANGES,
) -> Iterator[dict]:
    """For each change its name, and the counts of `count_answers` over the changed photos; truth: (N,) bool.

    A change is told the landmarks of the unchanged face.
    """
    points = [find_faces(pipeline.detector, image, assume_face=True)[0].landmarks for image in images]
    for name, change in changes.items():
        changed = (change(image, p) for image, p in zip(images, points, strict=True))
        yield {"change": name, **count_answers(list(pipeline(changed)), truth)}


def others(sources: dict[str, FaceDataset], pipeline: GlassesPipeline) -> Iterator[dict]:
    """The rows of pictures as they are: of real masks, and of faces in profile."""
    real, profiles = [], []
    for dataset in sources.values():
        for i in range(len(dataset)):
            image, worn = dataset.read(i), bool(dataset.labels[i] != Label.NONE)
            if dataset.source == Masks.source:
                real.append((image, worn))
            elif is_profile(image, pipeline):
                profiles.append((image, worn))
    for name, photos in (("real masks, other pictures", real), ("profiles, other pictures", profiles)):
        if photos:
            answers = list(pipeline(image for image, _ in photos))
            yield {"change": name, **count_answers(answers, np.array([worn for _, worn in photos]))}


def is_profile(image: np.ndarray, pipeline: GlassesPipeline) -> bool:
    """Whether the key points see the main face turned by PROFILE or more."""
    face = find_faces(pipeline.detector, image, assume_face=True)[0]
    return bool(turned(open_keypoints()(image, [face.landmarks]))[0] >= PROFILE)


def count_answers(answers: Sequence[Answer], truth: np.ndarray) -> dict[str, float]:
    """Accuracy with its 95 % interval, and how many faces were missed, falsely said to wear glasses, or not found."""
    said = np.array([answer.glasses is True for answer in answers])
    nobody = np.array([answer.glasses is None for answer in answers])
    hits = int((~nobody & (said == truth)).sum())
    low, high = wilson_interval(hits, len(truth))
    return {
        "faces": len(truth),
        "accuracy": hits / len(truth),
        "low": low,
        "high": high,
        "missed": int((truth & ~said & ~nobody).sum()),
        "false": int((~truth & said).sum()),
        "not_found": int(nobody.sum()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--validate", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--others", nargs="+", default=[], metavar="SOURCE=PATH", help="shown as they are")
    parser.add_argument("--corrections", metavar="FILE", help="labels of --others known to be wrong")
    parser.add_argument("--model", default="glasses")
    add_note(parser)
    options = parser.parse_args()
    sources = about_glasses(load_sources(named_paths(options.data), named_paths(options.validate)).report)
    pipeline = GlassesPipeline(classifier=open_classifier(options.model))
    photos = [(dataset, i) for dataset in sources.values() for i in range(len(dataset))]
    truth = np.array([dataset.labels[i] != Label.NONE for dataset, i in photos])
    images = [dataset.read(i) for dataset, i in photos]
    corrections = read_corrections(options.corrections) if options.corrections else {}
    unchanged = about_glasses(load_sources(named_paths(options.others), {}, corrections).report)
    rows = []
    print("| change | faces | accuracy, % (95 % interval) | missed | false alarms | not found |")
    print("|---|--:|--:|--:|--:|--:|")
    for row in chain(measure(images, truth, pipeline), others(unchanged, pipeline)):
        rows.append(row)
        accuracy, low, high = (f"{100 * row[key]:.1f}" for key in ("accuracy", "low", "high"))
        counts = f"{row['missed']} | {row['false']} | {row['not_found']}"
        print(f"| {row['change']} | {row['faces']} | {accuracy} ({low} to {high}) | {counts} |", flush=True)
    lines = header(f"{len(truth)} faces, model {options.model}", note=options.note)
    write_table(pd.DataFrame(rows), RESULTS / "robustness.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
