"""How good is it?  Metrics with intervals; also a command.

    python evaluate.py --data celeba=PATH meglass=PATH lfw=PATH kaggle=PATH --validate ffhq=PATH folder=PATH
                       [--detector auto] [--model glasses ...] [--csv FILE] [--errors FILE.png]

Every face goes from its file through the whole pipeline, as in predict.py. The sources and their validation
parts are those of train.py: what was trained on is not measured. --errors draws the wrong answers for the
eye: keep that picture to yourself where the faces may not be shown.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from corruptions import LADDERS
from data_load import FaceDataset, Label
from detector_architectures import DETECTORS
from figures import show_images
from find_data import DataError
from glasses.crops import KINDS, align_face
from glasses.photos import PhotoError, read_image
from glasses.pipeline import GlassesPipeline, find_faces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from models import Classifier


def wilson_interval(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a rate of `hits` in `count`. Wilson, J. Am. Stat. Assoc. 22 (1927).

    Unlike the normal interval it stays within 0..1 and is right near 100 %, where our rates are.
    """
    if count == 0:
        return 0.0, 1.0
    rate, weight = hits / count, z * z / count
    centre = (rate + weight / 2) / (1 + weight)
    half = z * np.sqrt(rate * (1 - rate) / count + weight / (4 * count)) / (1 + weight)
    return float(max(0, centre - half)), float(min(1, centre + half))


def answer_dataset(dataset: FaceDataset, pipeline: GlassesPipeline) -> pd.DataFrame:
    """Run every picture of `dataset` through `pipeline`.

    Returns a row a picture: file, identity, label (int of `Label`), probability, answer (one of `KINDS`),
    glasses (bool), detector. Raises DataError, naming the file, for a picture that cannot be read.
    """
    rows = []
    answers = tqdm(pipeline(dataset.files), total=len(dataset), desc=dataset.source, disable=None, leave=False)
    for answer, label, identity in zip(answers, dataset.labels, dataset.identities, strict=True):
        if answer.error:
            raise DataError(f"{dataset.source}: {answer.path}: {answer.error}")
        rows.append(
            (answer.path, identity, int(label), answer.probability, answer.kind, answer.glasses, answer.detector)
        )
    return pd.DataFrame(rows, columns=["file", "identity", "label", "probability", "answer", "glasses", "detector"])


def measure_robustness(
    dataset: FaceDataset, detector, classifiers: "dict[str, Classifier]", ladders: dict[str, tuple] = LADDERS
) -> pd.DataFrame:
    """Accuracy on all faces of `dataset`, damaged as `corruptions.LADDERS` say and then found, cut and classified.

    Returns a row a damage and level: damage, level, and the accuracy under the name of each classifier.
    """
    truth = dataset.labels != Label.NONE
    images = [dataset.read(i) for i in range(len(dataset))]
    points = [find_faces(detector, image, assume_face=True)[0].landmarks for image in images]

    def crop(image: np.ndarray) -> np.ndarray:
        return align_face(image, find_faces(detector, image, assume_face=True)[0].landmarks)

    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for damage, (levels, change) in ladders.items():
            for level in levels:
                damaged = (change(image, p, level) for image, p in zip(images, points, strict=True))
                crops = np.stack(list(pool.map(crop, damaged)))
                row = {"damage": damage, "level": level}
                for name, classifier in classifiers.items():
                    found = 1 - classifier(crops)[:, 0] >= classifier.threshold
                    row[name] = float((found == truth).mean())
                rows.append(row)
    return pd.DataFrame(rows)


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Mean distance of P(glasses) from the share of glasses, over equal-width bins (Guo et al., ICML 2017)."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        abs(probability[index == b].mean() - truth[index == b].mean()) * (index == b).sum() for b in np.unique(index)
    ]
    return float(np.sum(gaps) / len(probability))


def summarize(answers: pd.DataFrame) -> dict[str, float]:
    """The rates of one source from the rows of `answer_dataset`; glasses of either kind are the positive class.

    "kind" is the accuracy of eyeglasses against sunglasses, over faces with glasses of a known kind that were
    found to wear some; NaN where there are none.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    truth = (answers["label"] != Label.NONE).to_numpy()
    found = answers["glasses"].to_numpy(dtype=bool)
    hits = int((truth == found).sum())
    precision, recall, f1, _ = precision_recall_fscore_support(truth, found, average="binary", zero_division=np.nan)
    both = 0 < truth.sum() < len(truth)
    known = answers[answers["label"].isin([Label.EYEGLASSES, Label.SUNGLASSES]) & found]
    right_kind = known["answer"] == known["label"].map(dict(enumerate(KINDS)))
    low, high = wilson_interval(hits, len(answers))
    return {
        "faces": len(answers),
        "errors": len(answers) - hits,
        "accuracy": hits / len(answers),
        "low": low,
        "high": high,
        "precision": precision,
        "recall": recall,
        "F1": f1,
        "AUC": roc_auc_score(truth, answers["probability"]) if both else float("nan"),
        "ECE": expected_calibration_error(answers["probability"].to_numpy(), truth),
        "kind": float(right_kind.mean()) if len(known) else float("nan"),
    }


def format_table(summaries: dict[str, dict[str, float]]) -> str:
    """Markdown: a row a source, rates in per cent."""
    lines = [
        "| source | faces | errors | accuracy (95 % interval) | precision | recall | F1 | AUC | ECE | kind |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, s in summaries.items():
        rates = [f"{100 * s[key]:.2f}" if s[key] == s[key] else "" for key in ("precision", "recall", "F1")]
        rest = ["" if s[key] != s[key] else f"{s[key]:.4f}" for key in ("AUC", "ECE")]
        kind = "" if s["kind"] != s["kind"] else f"{100 * s['kind']:.2f}"
        accuracy = f"{100 * s['accuracy']:.2f} ({100 * s['low']:.2f} to {100 * s['high']:.2f})"
        lines.append(f"| {' | '.join([name, str(s['faces']), str(s['errors']), accuracy, *rates, *rest, kind])} |")
    return "\n".join(lines)


def draw_errors(answers: pd.DataFrame, detector, columns: int = 8, most: int = 96) -> "Figure":
    """The crops of the wrong answers, the surest first, with file, label and P(glasses), at most so many."""
    wrong = answers[answers["glasses"].astype(bool) != (answers["label"] != Label.NONE)]
    wrong = wrong.iloc[(-(wrong["probability"] - 0.5).abs()).argsort()][:most]
    images = [read_image(file)[0] for file in wrong["file"]]
    crops = [align_face(image, find_faces(detector, image, assume_face=True)[0].landmarks) for image in images]
    titles = [
        f"{Path(row.file).stem[-12:]}\n{Label(row.label).name.lower()}, P {row.probability:.2f}"
        for row in wrong.itertuples()
    ]
    return show_images(crops, titles, columns)


def main(arguments: Sequence[str] | None = None) -> int:
    from data_load import load_sources, named_paths, read_corrections

    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[], metavar="SOURCE=PATH", help="their validation parts")
    parser.add_argument("--validate", nargs="+", default=[], metavar="SOURCE=PATH", help="all of their faces")
    parser.add_argument("--corrections", type=Path, help="CSV of file, kind: labels known to be wrong")
    parser.add_argument("--detector", default="auto", choices=DETECTORS)
    parser.add_argument(
        "--model", nargs="+", default=["glasses"], help="names in weights/ or .safetensors files, each to be measured"
    )
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--csv", type=Path, help="write every answer there")
    parser.add_argument("--errors", type=Path, help="draw the wrong answers there, as a PNG")
    options = parser.parse_args(arguments)
    if not options.data + options.validate:
        parser.error("--data or --validate is needed, as --data meglass=PATH")
    try:
        corrections = read_corrections(options.corrections) if options.corrections else None
        _, sources = load_sources(named_paths(options.data), named_paths(options.validate), corrections)
        answers = {}
        for model in options.model:
            pipeline = GlassesPipeline(options.detector, model, options.threshold, options.device)
            for name, dataset in sources.items():
                row = name if len(options.model) == 1 else f"{name}, {model}"
                answers[row] = answer_dataset(dataset, pipeline)
        print(format_table({row: summarize(frame) for row, frame in answers.items()}))
        everything = pd.concat([frame.assign(source=row) for row, frame in answers.items()])
        if options.csv:
            everything.to_csv(options.csv, index=False)
        if options.errors:
            draw_errors(everything, pipeline.detector).savefig(options.errors, dpi=120)
    except (DataError, PhotoError, ImportError, ValueError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
