"""How well does the face finder find, and what does its score mean?  Scenes of others; also a command.

    python evaluate_finder.py --data celeba=PATH lfw=PATH folder=PATH/masks [--nobody PATH] [--part report|select]
                              [--tables .cache/finder] [--model FILE.onnx] [--scenes 2000] [--plot reliability.png]

The scenes are composed as those of train_finder.py, of the people and the pictures of nobody of another part: nothing
was chosen on those of the part `report`. Faces that are DOUBTFUL, tiny or mostly hidden, do not count.

Prints how many faces are found from which score on, at how many false ones a scene; the same by size and tilt of the
face; and the calibration error. --plot draws the reliability diagram: of the boxes with about one score, how many are
faces.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from detector_architectures.finder import MIN_SCORE, WEIGHTS, Finder
from evaluate import expected_calibration_error
from face_finder import FOUND
from figures import plot_reliability
from find_data import DataError
from glasses.files import whole_file
from mosaic import Composer
from scenes import PARTS, Scenes, nobody_parts, people_parts
from sources import named_paths
from train_finder import LEAST, match

SEED = 54_321  # of the scenes
SCORES = (0.2, 0.5, 0.8, 0.9)
SIZES = (6, 12, 24, 48, 96, 192, np.inf)  # pixels: side of the face in a scene of 192
TILTS = (0, 15, 45, 90, 135, 180.1)  # degrees


def search(finder: Finder, scenes: Scenes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All boxes found: score, whether each is of a face, error of its landmarks in sides of the face; and all faces to
    be found: side in pixels, tilt in degrees, and the score of the box that found it, 0 for none."""
    boxes, faces = [], []
    for number in tqdm(range(len(scenes)), desc="scenes", disable=None, leave=False):
        image, wanted = scenes.scene(number)
        found = sorted(finder.look(image, max(image.shape[:2]), LEAST), key=lambda face: -face.score)
        scores = np.array([face.score for face in found])
        rows = match(
            scores,
            np.array([face.box for face in found], np.float32).reshape(-1, 4),
            np.array([face.landmarks for face in found], np.float32).reshape(-1, 5, 2),
            wanted,
        )
        boxes += [row[:3] for row in rows]
        scored = {row[3]: row[0] for row in rows if row[1]}
        there = np.flatnonzero(wanted[:, 14] == FOUND)
        faces += [(np.sqrt(wanted[i, 2] * wanted[i, 3]), tilt(wanted[i]), scored.get(i, 0.0)) for i in there]
    columns = (["score", "hit", "error"], ["side", "tilt", "score"])
    return tuple(pd.DataFrame(rows, columns=names) for rows, names in zip((boxes, faces), columns, strict=True))


def tilt(face: np.ndarray) -> float:
    """0 to 180 degrees from upright, of the line from the eyes to the mouth of a (15,) face."""
    x, y = face[4:14].reshape(5, 2)[[3, 4]].mean(0) - face[4:14].reshape(5, 2)[[0, 1]].mean(0)
    return float(np.degrees(np.arctan2(abs(x), y)))


def report(boxes: pd.DataFrame, faces: pd.DataFrame, scenes: int) -> str:
    """What the command prints."""
    lines = [f"{len(faces)} faces in {scenes} scenes"]
    for score in SCORES:
        likely = boxes[boxes["score"] >= score]
        found, false = (faces["score"] >= score).mean(), (~likely["hit"].astype(bool)).sum() / scenes
        error = f"landmarks {likely['error'].mean():.1%} of the side off"
        lines.append(f"score from {score}: {found:.1%} found, {false:.3f} false ones a scene, {error}")
    for name, bounds, unit in (("side", SIZES, "pixels"), ("tilt", TILTS, "degrees")):
        for low, high in pairwise(bounds):
            inside = faces[(faces[name] >= low) & (faces[name] < high)]
            share = (inside["score"] >= MIN_SCORE).mean() if len(inside) else np.nan
            lines.append(f"{name} from {low:g} {unit}: {share:.1%} of {len(inside)} found")
    calibration = expected_calibration_error(boxes["score"].to_numpy(), boxes["hit"].to_numpy(bool))
    return "\n".join([*lines, f"calibration error {calibration:.3f}"])


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", nargs="+", required=True, metavar="SOURCE=PATH", help="pictures of people that scenes.py labelled")
    add("--nobody", type=Path, help="folder with pictures of nobody")
    add("--part", default="report", choices=PARTS[1:])
    add("--tables", type=Path, default=Path(".cache/finder"), help="folder of the tables of scenes.py")
    add("--model", type=Path, default=WEIGHTS, help="a face finder as ONNX (default: the one of the tool)")
    add("--scenes", type=int, default=2000)
    add("--size", type=int, default=192, help="pixels of a scene's side (default: 192)")
    add("--plot", type=Path, help="file of the reliability diagram")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    cv2.setNumThreads(1)
    try:
        finder = Finder(path=options.model)
        people = people_parts(named_paths(options.data), options.tables)[options.part]
        if not people:
            raise DataError(f"no labelled faces in the part {options.part}")
        composer = Composer(people, nobody_parts(options.nobody)[options.part], options.size)
        scenes = Scenes(composer, options.scenes, SEED)
        boxes, faces = search(finder, scenes)
        print(report(boxes, faces, len(scenes)))
        if options.plot:
            scored = {"finder": (boxes["hit"].to_numpy(bool), boxes["score"].to_numpy())}
            figure = plot_reliability(scored, "score", "share of boxes with a face")
            with whole_file(options.plot) as partial:
                figure.savefig(partial, dpi=120, format=options.plot.suffix[1:] or "png")
            print(f"wrote {options.plot}")
    except (DataError, ImportError, OSError, ValueError) as error:
        print(f"evaluate_finder.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
