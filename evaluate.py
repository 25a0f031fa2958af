"""How good is it?  Metrics with intervals; also a command.

    python evaluate.py --data celeba=PATH meglass=PATH lfw=PATH kaggle=PATH --validate ffhq=PATH folder=PATH
                       [--part report] [--corrections FILE] [--detector auto] [--model glasses ...] [--assume-face]
                       [--csv FILE] [--errors FILE.png]

Every picture goes from its file through the whole pipeline, as in `glasses predict`. The sources and their parts are
those of train.py: measured is the report part, which nothing was trained on and nothing was chosen on; --part takes
another. Where nobody is found in a picture of a face the answer is wrong, whatever the label, and counted as "not
found"; --assume-face takes what is likeliest for the face. Of pictures of nobody it is the right answer. With
--corrections the errors are also counted by the labels as they came, since labels were corrected where a network
disagreed. Of several models each is compared with the first.
--errors draws the wrong answers for the eye: keep that picture to yourself where the faces may not be shown.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from corruptions import LADDERS
from data_load import FaceDataset, Label, read_corrections
from detector_architectures import DETECTORS, load_detector
from figures import show_images
from find_data import DataError
from glasses.crops import KINDS
from glasses.eyewear import EYEWEAR, rim_kind, uniform
from glasses.files import whole_file
from glasses.photos import PhotoError, read_image
from glasses.pipeline import GlassesPipeline, cut_faces, find_faces
from models import open_classifier
from run_config import check_corrections
from sources import Parts, load_sources, named_paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from models import Classifier

COLUMNS = ["file", "identity", "label", "probability", "answer", "glasses", "detector"]  # of `answer_dataset`
RIM = f"v{135 + EYEWEAR.index('rim')}"  # of the embedded faces: the column of train.csv, data/sample/README.md
AS_LABELLED = "errors as labelled"  # in tables, beside the errors by corrected labels


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


def people_interval(right: np.ndarray, people: Sequence[str]) -> tuple[float, float]:
    """The 95 % interval of a rate, (N,) bool, where a person may have several faces: these are no new evidence.

    A bootstrap: people are drawn with replacement, each with all their faces. Where each face is another person, or the
    rate is 0 or 1, so that all draws are alike, it is Wilson's, of as many people. people: "" is a person of its own.
    """
    names = [name or f"face {i}" for i, name in enumerate(people)]
    _, person = np.unique(names, return_inverse=True)
    hits, faces = np.bincount(person, right), np.bincount(person)
    if len(hits) == len(right) or hits.sum() in (0, len(right)):
        return wilson_interval(round(right.mean() * len(hits)), len(hits))
    drawn = np.random.default_rng(0).integers(len(hits), size=(5000, len(hits)))
    low, high = np.percentile(hits[drawn].sum(1) / faces[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)


def answer_dataset(dataset: FaceDataset, pipeline: GlassesPipeline) -> pd.DataFrame:
    """Run every picture of `dataset` through `pipeline`.

    Returns a row a picture: file, identity, label (int of `Label`), probability, answer (one of `KINDS`),
    glasses (bool), detector; where nobody was found probability is NaN, and the last three are None.
    Raises DataError, naming the file, for a picture that cannot be read.
    """
    rows = []
    answers = tqdm(pipeline(dataset.files), total=len(dataset), desc=dataset.source, disable=None, leave=False)
    for answer, label, identity in zip(answers, dataset.labels, dataset.identities, strict=True):
        if answer.error:
            raise DataError(f"{dataset.source}: {answer.path}: {answer.error}")
        rows.append(
            (answer.path, identity, int(label), answer.probability, answer.kind, answer.glasses, answer.detector)
        )
    return pd.DataFrame(rows, columns=COLUMNS).astype({"probability": float})


def is_right(answers: pd.DataFrame, label: str = "label") -> np.ndarray:
    """(N,) bool, which rows of `answer_dataset` are right: nobody is so only where the column `label` says NOBODY."""
    nobody, labels = answers["glasses"].isna().to_numpy(), answers[label].to_numpy()
    found = answers["glasses"].to_numpy(dtype=bool)  # False where nobody is
    return np.where(labels == Label.NOBODY, nobody, ~nobody & (found == (labels != Label.NONE)))


def mcnemar(right: np.ndarray, right_too: np.ndarray) -> tuple[int, int, float]:
    """Are two networks equally good?  Faces that only the first got wrong, only the second, and McNemar's exact p.

    right, right_too: (N,) bool, of the same faces. p is the chance of a difference at least so large where each of the
    two is as likely to win a face on which they differ (McNemar, Psychometrika 12, 1947).
    """
    from scipy.stats import binomtest

    first, second = int((~right & right_too).sum()), int((right & ~right_too).sum())
    return first, second, float(binomtest(first, first + second).pvalue) if first + second else 1.0


def sample_traits(dataset: FaceDataset) -> pd.DataFrame:
    """How the embedded faces were made: a row a face of `dataset`, a bool column a trait; none for other data sets.

    From `kinds.csv`: what else was drawn, as a hat or a fringe, and sunglasses; from `train.csv`: the kind of rim of
    faces with glasses.
    """
    if not (dataset.root / "kinds.csv").is_file():
        return pd.DataFrame(index=range(len(dataset)))
    numbers = [int(file.stem.split("-")[1]) for file in dataset.files]
    kinds = pd.read_csv(dataset.root / "kinds.csv", keep_default_na=False).set_index("id").loc[numbers]
    made = pd.read_csv(dataset.root / "train.csv").set_index("id").reindex(numbers)
    words = {"bags": "bags at the eyes", "brows": "heavy brows", "dark_eyes": "shadows at the eyes"}
    words["on_head"] = "glasses on the head"
    drawn = kinds["extra"].str.get_dummies("+").astype(bool)
    traits = drawn.drop(columns="", errors="ignore").rename(columns=words)  # "" is of the faces with nothing extra
    rims = made[RIM].map(lambda value: rim_kind(uniform(value)))
    for kind in ("full rim", "browline", "half rim", "rimless"):
        traits[kind] = (rims == kind) & (kinds["kind"] != "none")
    return traits.assign(sunglasses=kinds["kind"] == "sunglasses").reset_index(drop=True)


def rates_of_groups(right: np.ndarray, groups: pd.DataFrame) -> pd.DataFrame:
    """The share of right answers in each group: rate, low, high (Wilson's 95 % interval) and faces, a row a group.

    right: (N,) bool. groups: a bool column a group, N rows.
    """
    rows = {}
    for name in groups:
        inside = right[groups[name].to_numpy(dtype=bool)]
        low, high = wilson_interval(int(inside.sum()), len(inside))
        rows[name] = {"rate": inside.mean() if len(inside) else np.nan, "low": low, "high": high, "faces": len(inside)}
    return pd.DataFrame(rows).T.astype({"faces": int})


def measure_robustness(
    dataset: FaceDataset, detector, classifiers: "dict[str, Classifier]", ladders: dict[str, tuple] = LADDERS
) -> pd.DataFrame:
    """Accuracy on all faces of `dataset`, damaged as `corruptions.LADDERS` say and then found, cut and classified.

    Returns a row a damage and level: damage, level, and under the name of each classifier its accuracy, and the 95 %
    interval of it under that name with " low" and " high".
    """
    truth = dataset.labels != Label.NONE
    images = [dataset.read(i) for i in range(len(dataset))]
    points = [find_faces(detector, image, assume_face=True)[0].landmarks for image in images]

    def crop(image: np.ndarray) -> np.ndarray:
        return cut_faces(image, find_faces(detector, image, assume_face=True)[:1])[0]

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
                    low, high = wilson_interval(int((found == truth).sum()), len(truth))
                    row |= {f"{name} low": low, f"{name} high": high}
                rows.append(row)
    return pd.DataFrame(rows)


def expected_calibration_error(probability: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Mean distance of P(glasses) from the share of glasses, over equal-width bins (Guo et al., ICML 2017)."""
    index = np.minimum((probability * bins).astype(int), bins - 1)
    total = 0.0
    for b in np.unique(index):
        inside = index == b
        total += abs(probability[inside].mean() - truth[inside].mean()) * inside.sum()
    return float(total / len(probability))


def calibration_bins(probability: np.ndarray, truth: np.ndarray, bins: int = 8) -> pd.DataFrame:
    """What was said and what came true, in bins of equally many faces: a row a bin, from unlikely to likely.

    Columns: given (mean P(glasses)), share (of faces with glasses), low and high (its 95 % interval), faces.
    """
    rows = []
    for chosen in np.array_split(np.argsort(probability, kind="stable"), bins):
        low, high = wilson_interval(int(truth[chosen].sum()), len(chosen))
        rows.append((probability[chosen].mean(), truth[chosen].mean(), low, high, len(chosen)))
    return pd.DataFrame(rows, columns=["given", "share", "low", "high", "faces"])


def threshold_prices(probability: np.ndarray, truth: np.ndarray, miss: float, false_alarm: float = 1.0) -> pd.DataFrame:
    """What the errors of each threshold cost: threshold, price (a mean over the faces), error (its standard error) and
    as_good, whether the price is within one standard error of the least (as in `calibrate.fit_threshold`)."""
    thresholds = np.linspace(0.01, 0.99, 99).round(2)
    said = probability >= thresholds[:, None]  # (99, N)
    prices = miss * (~said & truth) + false_alarm * (said & ~truth)
    table = pd.DataFrame({"threshold": thresholds, "price": prices.mean(1)})
    table["error"] = prices.std(1) / np.sqrt(len(truth))
    best = table.loc[table["price"].idxmin()]
    return table.assign(as_good=table["price"] <= best["price"] + best["error"] + 1e-12)


def summarize(answers: pd.DataFrame, by_people: bool = False) -> dict[str, float]:
    """The rates of one source from the rows of `answer_dataset`; glasses of either kind are the positive class.

    "errors" are all answers that are not right, "not found" those of them where nobody was found. Pictures of nobody
    have an accuracy alone. Such a face lowers
    accuracy, and with glasses recall; it is none that was said to wear glasses, and has no probability: precision,
    AUC and ECE leave it out. "kind" is the accuracy of eyeglasses against sunglasses, over faces with glasses of a
    known kind that were found to wear some. What cannot be computed is NaN. Where `answers` has a column "labelled",
    the labels before they were corrected, "errors as labelled" are the errors by those. "low" and "high" bound the
    accuracy: `wilson_interval` over the faces, or with `by_people` the `people_interval`.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    right = is_right(answers)
    hits = int(right.sum())
    low, high = people_interval(right, answers["identity"]) if by_people else wilson_interval(hits, len(answers))
    total, by_labels = len(answers), {}
    if "labelled" in answers:
        by_labels = {AS_LABELLED: int((~is_right(answers, "labelled")).sum())}
    answers = answers[answers["label"] != Label.NOBODY]
    truth = (answers["label"] != Label.NONE).to_numpy()
    said_glasses = answers["glasses"].to_numpy(dtype=bool)  # False where nobody was found
    found = answers["glasses"].notna().to_numpy()
    precision = recall = f1 = float("nan")
    if len(truth):
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, said_glasses, average="binary", zero_division=np.nan
        )
    known = answers[answers["label"].isin([Label.EYEGLASSES, Label.SUNGLASSES]) & said_glasses]
    right_kind = known["answer"] == known["label"].map(dict(enumerate(KINDS)))
    probability, truth = answers["probability"].to_numpy()[found], truth[found]
    return {
        "faces": total,
        "errors": total - hits,
        **by_labels,
        "not found": int((~found).sum()),
        "accuracy": hits / total,
        "low": low,
        "high": high,
        "precision": precision,
        "recall": recall,
        "F1": f1,
        "AUC": roc_auc_score(truth, probability) if 0 < truth.sum() < len(truth) else float("nan"),
        "ECE": expected_calibration_error(probability, truth) if len(truth) else float("nan"),
        "kind": float(right_kind.mean()) if len(known) else float("nan"),
    }


def format_table(summaries: dict[str, dict[str, float]]) -> str:
    """Markdown: a row a source, rates in per cent."""
    counts = ["faces", "errors", AS_LABELLED, "not found"]
    counts = [name for name in counts if all(name in summary for summary in summaries.values())]
    rows = []
    for name, summary in summaries.items():
        accuracy, low, high = (f"{100 * summary[key]:.2f}" for key in ("accuracy", "low", "high"))
        cells = [name, *(str(summary[key]) for key in counts), f"{accuracy} ({low} to {high})"]
        cells += [_cell(100 * summary[key], 2) for key in ("precision", "recall", "F1")]
        cells += [_cell(summary[key], 4) for key in ("AUC", "ECE")]
        rows.append([*cells, _cell(100 * summary["kind"], 2)])
    rates = ["accuracy (95 % interval)", "precision", "recall", "F1", "AUC", "ECE", "kind"]
    return _markdown(["source", *counts, *rates], rows)


def format_comparison(answers: dict[str, pd.DataFrame]) -> str:
    """Markdown: `mcnemar` of the first model against each other; rows of `answer_dataset` by model, of the same faces.

    Raises ValueError where the faces are not the same.
    """
    (first, reference), *others = answers.items()
    rows = []
    for name, frame in others:
        if list(frame["file"]) != list(reference["file"]):
            raise ValueError(f"{first} and {name} did not answer the same faces")
        only_first, only_second, p = mcnemar(is_right(reference), is_right(frame))
        rows.append([first, name, str(len(frame)), str(only_first), str(only_second), f"{p:.2g}"])
    return _markdown(["first", "second", "faces", "only first wrong", "only second wrong", "p (McNemar)"], rows)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, the first column to the left."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], f"|---|{'--:|' * (len(header) - 1)}", *lines[1:]])


def _cell(value: float, digits: int) -> str:
    """The number, or nothing for NaN."""
    return "" if np.isnan(value) else f"{value:.{digits}f}"


def draw_errors(answers: pd.DataFrame, detector, columns: int = 8, most: int = 96) -> "Figure":
    """The crops of the wrong answers, the surest first, with file, label and P(glasses), at most so many.

    Last are those where nobody was found, with the centre of the picture. A file's name is shown without its ending
    and what is before its first "@", and of a longer one the last 18 letters.
    """
    wrong = answers[~is_right(answers)]
    wrong = wrong.iloc[np.argsort(-(wrong["probability"] - 0.5).abs().to_numpy())][:most]
    images = [read_image(file)[0] for file in wrong["file"]]
    crops = [cut_faces(image, find_faces(detector, image, assume_face=True)[:1])[0] for image in images]
    titles = []
    for row in wrong.itertuples():
        said = "not found" if np.isnan(row.probability) else f"P {row.probability:.2f}"
        titles.append(f"{Path(row.file).stem.split('@', 1)[-1][-18:]}\n{Label(row.label).name.lower()}, {said}")
    return show_images(crops, titles, min(columns, max(1, len(wrong))))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 and one line where it is wrong."""
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", nargs="+", default=[], metavar="SOURCE=PATH", help="of which one part is measured, see --part")
    add("--validate", nargs="+", default=[], metavar="SOURCE=PATH", help="wholly measured: all is in the report part")
    parts = "report (default: for numbers to tell), select (on which networks were chosen) or train"
    add("--part", default="report", choices=Parts._fields, help=parts)
    add("--corrections", type=Path, metavar="FILE", help="table of source, file, kind: labels known to be wrong")
    add("--skip-bad", action="store_true", help="leave out faces that are missing, unreadable or of unknown label")
    add("--detector", default="auto", choices=DETECTORS)
    add("--model", nargs="+", default=["glasses"], help="names, .onnx or .safetensors files, each to be measured")
    add("--threshold", type=float, help="probability from which to say glasses (default: each model's)")
    add("--assume-face", action="store_true", help="where no face is found, take what is likeliest for one")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add("--csv", type=Path, metavar="FILE", help="write every answer there")
    add("--errors", type=Path, metavar="FILE", help="draw the wrong answers there, as a PNG")
    options = parser.parse_args(arguments)
    if not options.data + options.validate:
        parser.error("--data or --validate is needed, as --data meglass=PATH")
    return options


def answer_sources(options: argparse.Namespace) -> dict[str, pd.DataFrame]:
    """The answers of each model, by its name, to the chosen part of all sources.

    Beside the columns of `answer_dataset` they have source, model, part and, with corrections, labelled.
    """
    classifiers = {model: open_classifier(model, options.device) for model in options.model}
    corrections = read_corrections(options.corrections) if options.corrections else {}
    given = named_paths(options.data), named_paths(options.validate)
    parts = load_sources(*given, strict=not options.skip_bad)
    check_corrections(corrections, *parts)
    sources = getattr(parts, options.part)
    if not sources:
        raise DataError(f"no faces in the {options.part} part: name a source in --data, or leave --part out")
    answers = {}
    for model, classifier in classifiers.items():
        pipeline = GlassesPipeline(
            options.detector, threshold=options.threshold, classifier=classifier, assume_face=options.assume_face
        )
        frames = []
        for name, dataset in sources.items():
            frame = answer_dataset(dataset.relabel(corrections.get(name, {})), pipeline)
            frame = frame.assign(source=name, model=model, part=options.part)
            frames.append(frame.assign(labelled=dataset.labels) if options.corrections else frame)
        answers[model] = pd.concat(frames, ignore_index=True)
    return answers


def describe_answers(answers: dict[str, pd.DataFrame]) -> str:
    """What the command prints: which part it is and how many faces, the table of rates, and the comparisons."""
    everything = pd.concat(answers.values())
    (part,) = everything["part"].unique()
    summaries = {}
    for model, frame in answers.items():
        for source, rows in frame.groupby("source", sort=False):
            summaries[source if len(answers) == 1 else f"{source}, {model}"] = summarize(rows)
    tables = [f"{part} part, {len(everything) // len(answers)} faces:", format_table(summaries)]
    if len(answers) > 1:
        tables.append(format_comparison(answers))
    return "\n\n".join(tables)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        answers = answer_sources(options)
        print(describe_answers(answers))
        everything = pd.concat(answers.values())
        if options.csv:
            with whole_file(options.csv) as partial:
                everything.to_csv(partial, index=False)
        if options.errors:
            draw_errors(everything, load_detector(options.detector)).savefig(options.errors, dpi=120)
    except (DataError, PhotoError, ImportError, ValueError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *where: f"evaluate.py: {message}\n"
    sys.exit(main())
