"""Which detector finds faces best, and which is fastest?  All of them on the same pictures.

    python -m benchmarks.detectors --data celeba=PATH lfw=PATH [--validate ffhq=PATH kaggle=PATH] [--masks PATH]
                                   [--nobody PATH] [--turned ffhq] [--keypoints ytf=PATH] [--photos PATH]
                                   [--detectors tool auto finder slim haar mtcnn] [--faces 500] [--note WORDS]

Writes results/detectors.csv, a row a detector, a test and what it is of, and results/detectors.png. The tests:

    found       share of the report parts' pictures in which a face is found in the middle, and of --masks and of the
                frames of --keypoints in which one is found at all
    false       share of the pictures of --nobody in which a face is found
    landmarks   mean error of the five landmarks of the main face, in distances of the outer eye corners, on the report
                part of --keypoints: from its labels, and from where they are seen, `glasses.keypoints.without_shift`
    turn        share of the faces of --turned found after so many degrees, landmarks in the right order; only faces
                that `slim` and `mtcnn` find upright
    size        the same where the face is so many percent of the width of a picture, laid on those of --nobody
    time        milliseconds a photo of --photos with 720 pixels on its long side, mean of medians, on one core
    memory      megabytes of a process that has looked at one such photo

Of --masks and --nobody only what `sources.held` keeps from the training of the face finder. The detector `tool` is
`auto` as the tool uses it: its candidates, of which the network for glasses says what is a face, with the landmarks by
which they are cut out.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"  # before any library starts its threads

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, write_table
from data_load import FolderPerClass
from detector_architectures import DETECTORS, Detector, Face, load_detector, main_face, shrink
from detector_architectures.finder import MIDDLE_GREY
from evaluate import wilson_interval
from evaluate_keypoints import choose_part, point_errors
from figures import CYCLE
from find_data import pictures_below
from glasses.classifiers import open_network
from glasses.crops import align_face
from glasses.keypoints import LABEL_SHIFT, five_landmarks, open_keypoints, without_shift
from glasses.photos import read_image
from glasses.pipeline import find_candidates, is_face
from keypoint_data import FacialKeypointsDataset
from scenes import evenly
from sources import held, held_back, load_sources, named_paths
from timing import measure

DETECTED = ("tool", "auto", "finder", "slim", "haar", "mtcnn")
DEGREES = tuple(range(0, 360, 15))
PERCENT = (200, 150, 100, 70, 50, 30, 20, 10, 5, 3, 2, 1)  # of the picture's width
SMALLEST, LARGEST = 200, 4000  # pixels: width of the pictures of the size test
NEAR = 0.5  # of the distance between the eyes: mean distance of the landmarks of a face that is found
LONG_SIDE = 720  # pixels of the photos that are timed

Known = tuple[np.ndarray, np.ndarray]  # image, and the (5, 2) landmarks of the face in it


class Tool:
    """The faces of the pipeline's default, with the landmarks by which it cuts them out."""

    name = "tool"

    def __init__(self):
        self.auto, self.network, self.keypoints = load_detector("auto"), open_network(), open_keypoints()

    def __call__(self, image: np.ndarray) -> list[Face]:
        faces = find_candidates(self.auto, image)
        if not faces:
            return []
        exact = self.keypoints.exact(image, [face.landmarks for face in faces])
        seen = self.network(np.stack([align_face(image, landmarks, self.network.crop) for landmarks in exact]))[:, 3]
        exact_faces = [replace(face, landmarks=landmarks) for face, landmarks in zip(faces, exact, strict=True)]
        return [face for face, probability in zip(exact_faces, seen, strict=True) if is_face(face, probability)]


def open_detector(name: str) -> Detector:
    """One of DETECTED, or another detector by its name."""
    return Tool() if name == Tool.name else load_detector(name)


def search(detector: Detector, pictures: Sequence, read: Callable, is_found: Callable) -> np.ndarray:
    """(N,) what `is_found` says of the faces in each picture and of what `read` returns beside it."""

    def one(picture) -> float:
        image, wanted = read(picture)
        return is_found(detector(image), image, wanted)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.array(list(pool.map(one, pictures)), float)


def in_the_middle(faces: list[Face], image: np.ndarray, _) -> bool:
    """Whether a box holds the middle of the picture."""
    y, x = (side / 2 for side in image.shape[:2])
    return any(left <= x <= left + w and top <= y <= top + h for left, top, w, h in (face.box for face in faces))


def any_face(faces: list[Face], image: np.ndarray, _) -> bool:
    """Whether there is one."""
    return bool(faces)


def at_the_landmarks(faces: list[Face], image: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether a face has its landmarks near these."""
    eyes = np.hypot(*(wanted[1] - wanted[0]))
    return any(np.hypot(*(face.landmarks - wanted).T).mean() < NEAR * eyes for face in faces)


def turned(known: Known, degrees: float) -> Known:
    """The picture turned on a grey canvas that holds all of it."""
    image, landmarks = known
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    size = np.ceil(np.abs(matrix[:, :2]) @ (width, height) - 1e-6).astype(int)
    matrix[:, 2] += (size - (width, height)) / 2
    canvas = cv2.warpAffine(image, matrix, size.tolist(), borderValue=3 * (MIDDLE_GREY,))
    return canvas, landmarks @ matrix[:, :2].T + matrix[:, 2]


def laid(known: Known, percent: float, ground: np.ndarray, width_of_face: float) -> Known:
    """The picture on a ground of 4:3, so large that the face is `percent` of its width; in the middle of it."""
    image, landmarks = known
    width = int(np.clip(100 * width_of_face / percent, SMALLEST, LARGEST))
    height, scale = 3 * width // 4, percent / 100 * width / width_of_face
    cover = max(width / ground.shape[1], height / ground.shape[0])
    canvas = cv2.resize(ground, None, fx=cover * 1.001, fy=cover * 1.001)[:height, :width].copy()
    shift = (np.array([width, height]) - 1) / 2 - scale * (np.array(image.shape[1::-1]) - 1) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=method)
    x, y = np.round(shift).astype(int)
    top, left = max(-y, 0), max(-x, 0)
    part = small[top : top + height - max(y, 0), left : left + width - max(x, 0)]
    canvas[max(y, 0) : max(y, 0) + part.shape[0], max(x, 0) : max(x, 0) + part.shape[1]] = part
    return canvas, landmarks @ matrix[:, :2].T + matrix[:, 2]


def known_faces(images: Sequence[np.ndarray]) -> list[tuple[Known, float]]:
    """Of each portrait in which `mtcnn` and `slim` see one face alike: it, its landmarks, and the width of the face.

    The landmarks are those of the key points.
    """
    first, second, finder = load_detector("slim"), load_detector("mtcnn"), open_keypoints()
    known = []
    for image in images:
        one, other = first(image), second(image)
        if len(one) == len(other) == 1 and in_the_middle(other, image, None):
            points = without_shift(finder(image, [one[0].landmarks])[0], finder.shift)
            known.append(((image, five_landmarks(points)), one[0].box[2]))
    return known


def landmark_errors(detector: Detector, dataset: FacialKeypointsDataset) -> dict[str, np.ndarray]:
    """(N,) errors of the main faces, from the labels and from where they are seen; NaN where no face is found."""

    def landmarks(index: int) -> np.ndarray:
        image = dataset.read(index)
        face = main_face(detector(image), image.shape)
        return np.full((5, 2), np.nan) if face is None else face.landmarks

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = np.stack(list(pool.map(landmarks, range(len(dataset)))))
    labels = {"labels": dataset.keypoints, "as seen": without_shift(dataset.keypoints, LABEL_SHIFT)}
    return {of: point_errors(found, points).mean(1) for of, points in labels.items()}


def milliseconds(detector: Detector, images: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) median times for the images."""
    return np.array([1000 * measure(lambda image=image: detector(image), 5, 1)["median"] for image in images])


def megabytes(name: str, file: Path) -> float:
    """Peak memory of a process that has looked at one photo."""
    code = (
        "import sys, cv2; from detector_architectures import load_detector, shrink; from timing import peak_memory; "
        "from glasses import GlassesPipeline; from glasses.photos import read_image; "
        "cv2.setNumThreads(1); name, file, size = sys.argv[1:]; image, _ = shrink(read_image(file)[0], int(size)); "
        f"look = GlassesPipeline(workers=1).answer if name == '{Tool.name}' else load_detector(name); "
        "look(image); print(peak_memory() / 1e6)"
    )
    arguments = [sys.executable, "-c", code, name, str(file), str(LONG_SIDE)]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


class Measured:
    """Collects the rows of the table for one detector after the other."""

    def __init__(self):
        self.rows: list[dict] = []

    def share(self, detector: Detector, test: str, of: object, found: Sequence[bool]) -> None:
        """A share, with its 95 % interval (Wilson)."""
        low, high = wilson_interval(int(np.sum(found)), len(found))
        self._add(detector, test, of, len(found), float(np.mean(found)), low, high)

    def mean(self, detector: Detector, test: str, of: object, values: np.ndarray) -> None:
        """A mean, with its 95 % interval (normal)."""
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        self._add(detector, test, of, len(values), float(values.mean()), values.mean() - half, values.mean() + half)

    def _add(self, detector: Detector, test: str, of: object, pictures: int, value, low, high) -> None:
        row = {"detector": detector.name, "test": test, "of": of, "pictures": pictures}
        self.rows.append(row | {"value": value, "low": low, "high": high})
        print(f"{detector.name}: {test} {of}: {value:.4f} of {pictures}", flush=True)


def measure_all(options: argparse.Namespace) -> pd.DataFrame:
    """The table. Raises DataError."""
    sources = load_sources(named_paths(options.data), named_paths(options.validate), {}).report
    pictures = {name: evenly(range(len(faces)), options.faces) for name, faces in sources.items()}
    masks = FolderPerClass(options.masks) if options.masks else None
    masked = [file for file in masks.files if held(masks, file)] if masks else []
    nobody = [file for file in pictures_below(options.nobody) if held_back(file.name)] if options.nobody else []
    grounds = [read_image(file)[0] for file in nobody]
    turning = sources[options.turned]
    known = known_faces([turning.read(i) for i in evenly(range(len(turning)), options.turns)])
    frames = choose_part(options.keypoints, "report") if options.keypoints else None
    photos = pictures_below(options.photos) if options.photos else []
    images = [shrink(read_image(file)[0], LONG_SIDE)[0] for file in photos]
    measured = Measured()
    for name in options.detectors:
        detector = open_detector(name)
        for source, chosen in pictures.items():
            found = search(detector, chosen, lambda i, faces=sources[source]: (faces.read(i), None), in_the_middle)
            measured.share(detector, "found", source, found)
        for test, files in (("found", masked), ("false", nobody)):
            if files:
                found = search(detector, files, read_image, any_face)
                measured.share(detector, test, "masks" if test == "found" else "nobody", found)
        if frames:
            errors = landmark_errors(detector, frames)
            measured.share(detector, "found", "frames", ~np.isnan(errors["labels"]))
            for of, of_frames in errors.items():
                measured.mean(detector, "landmarks", of, of_frames[~np.isnan(of_frames)])
        for degrees in DEGREES:
            found = search(detector, known, lambda one, by=degrees: turned(one[0], by), at_the_landmarks)
            measured.share(detector, "turn", degrees, found)
        for percent in PERCENT if grounds else ():

            def picture(number: int, percent: float = percent) -> Known:
                one, width = known[number]
                return laid(one, percent, grounds[number % len(grounds)], width)

            found = search(detector, evenly(range(len(known)), options.sizes), picture, at_the_landmarks)
            measured.share(detector, "size", percent, found)
        if photos:
            measured.mean(detector, "time", "photos", milliseconds(detector, images))
            measured.mean(detector, "memory", "a photo", np.array([megabytes(name, photos[0])]))
    return pd.DataFrame(measured.rows)


def plot_detectors(table: pd.DataFrame) -> Figure:
    """Share of the faces found by their turn, and by their size."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, (test, label) in zip(
        figure.subplots(1, 2, sharey=True),
        (("turn", "degrees by which the picture is turned"), ("size", "width of the face, % of the picture's")),
        strict=True,
    ):
        for (name, rows), colour in zip(
            table[table["test"] == test].groupby("detector", sort=False), CYCLE, strict=False
        ):
            axes.plot(rows["of"].astype(float), 100 * rows["value"], "o-", color=colour, markersize=3, label=name)
        axes.set(xlabel=label, ylim=(-3, 103))
        axes.grid(alpha=0.3)
    left, right = figure.axes
    left.set(ylabel="faces found, %", xticks=range(0, 361, 45))
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center")
    right.set_xscale("log")
    right.set_xticks(PERCENT, ["" if percent == 150 else f"{percent:g}" for percent in PERCENT], minor=False)
    right.minorticks_off()
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", nargs="+", required=True, metavar="SOURCE=PATH", help="portraits: their report part")
    add("--validate", nargs="+", default=[], metavar="SOURCE=PATH", help="portraits: all of them")
    add("--masks", type=Path, metavar="FOLDER", help="pictures of people with masks, in a folder a class")
    add("--nobody", type=Path, metavar="FOLDER", help="pictures of nobody")
    add("--turned", default="ffhq", metavar="SOURCE", help="the source whose faces are turned and scaled")
    add("--keypoints", metavar="ytf=PATH", help="frames with 68 points")
    add("--photos", type=Path, metavar="FOLDER", help="photos to time")
    add("--detectors", nargs="+", default=DETECTED, choices=(Tool.name, *DETECTORS))
    add("--faces", type=int, default=500, help="pictures of each source at most (default: 500)")
    add("--turns", type=int, default=100, help="faces that are turned (default: 100)")
    add("--sizes", type=int, default=40, help="faces that are scaled (default: 40)")
    add_note(parser)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.turned not in named_paths([*options.data, *options.validate]):
        parser.error(f"--turned {options.turned}: name its path with --data or --validate")
    table = measure_all(options)
    write_table(table, RESULTS / "detectors.csv", header(note=options.note))
    plot_detectors(table).savefig(RESULTS / "detectors.png", dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
