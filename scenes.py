"""Where do pictures with known faces come from, when no data set has them?  Faces labelled once, scenes made of them.

    python scenes.py label --data celeba=PATH lfw=PATH masks=PATH [--by-eye weights/finder_labels.csv]
                           [--out .cache/finder] [--workers 2]
    python scenes.py show --data celeba=PATH lfw=PATH [--nobody PATH] [--tables .cache/finder] [--out scenes.png]
    python scenes.py patches --nobody PATH --out DIR [--workers 2]

`label` looks at whole pictures with two detectors, `slim` at two sizes and `mtcnn`. A face is one that both detectors
see, or that `slim` is certain of at both sizes, as of faces with a mask, which `mtcnn` mostly misses. A picture in
which either sees anything else is left out, unless all that `slim` or the `finder` of an earlier
round is sure of is seen by both. The points of the others come from `glasses/weights/keypoints.onnx`,
without the labels' shift. --by-eye is a table of faces in pictures that would be left out, profiles with a mask for the
most part: source, file, and x0, y0 to x4, y4, the five landmarks in pixels. In --out a table a source, `<source>.csv`:
file, face (its number, -1 for a picture left out), score (0 of one by eye), and 0 to 135, the points x0, y0, ... in
pixels. It is written again and again while it grows; a second call
goes on with the pictures that it lacks.

`show` draws scenes with their boxes and landmarks, as train_finder.py learns from them.

`patches` cuts what could be taken for a face out of pictures of nobody, for train.py to learn from: the places that
`finder` finds likeliest, and a few at random, written as <name of the picture>@<number>.jpg, the source `nobody`. A
second call goes on where the first one stopped.

People are dealt to train, select and report as sources.py deals them, pictures of nobody by their file name with the
same bounds. What is held back there, of pictures of nobody and of a plain folder, is neither labelled nor in a scene.
"""

import argparse
import hashlib
import os
import queue
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from data_load import FaceDataset, position
from detector_architectures import SAME, Face, load_detector, shrink
from detector_architectures.finder import Finder
from face_finder import ABSENT, FOUND, NUMBERS
from find_data import DataError, pictures_below
from glasses.files import whole_file
from glasses.keypoints import open_keypoints, without_shift
from glasses.photos import PhotoError, read_image
from keypoint_data import COLUMNS, POINTS
from mosaic import Composer, Picture
from run_config import DIGITS
from sources import SELECT_BELOW, SPLIT_SEED, TRAIN_BELOW, held, held_back, load_sources, named_paths, open_source

PARTS = ("train", "select", "report")
SEARCHED = 320  # pixels: a smaller picture is enlarged to it, so that faces beside the main one are found
DOUBT = 0.4  # score of `slim` from which on a face that the rule below does not confirm leaves the picture out
SURE, CERTAIN = 0.6, 0.8  # score of `slim` of a face that `mtcnn` sees too, and of one that it does not see
UNSURE = 0.2  # score of `finder` from which on a face counts that `slim` sees too
AGREE = 0.4  # IoU of two boxes of one face: `mtcnn` has narrower ones than `slim`
MOST = 32  # faces of a scene
BY_EYE = 4.0  # times as often as others is a picture drawn whose faces were labelled by eye
EYE_COLUMNS = [f"{axis}{i}" for i in range(5) for axis in "xy"]
CHUNK = 20  # pictures after which the table is written
LOOKS, POSSIBLE = (192, 640), 0.02  # pixels at which the finder looks at nobody, and its score from which on it counts
LIKELIEST, AT_RANDOM = 6, 2  # patches of a picture at most: where the finder looks, and anywhere
AROUND, LARGEST = 1.8, 256  # sides of a patch: in sides of the box in its middle, and of its long one in pixels at most


# --------------------------------------------------------------------------------------------- faces labelled once


class Labeller:
    """Finds all faces of a picture, or says that it cannot be sure of them."""

    def __init__(self):
        from detector_architectures.slim import Slim  # no wheel for macOS, where scenes can be made all the same

        self.slims = [Slim(160, DOUBT), Slim(SEARCHED, DOUBT)]
        self.mtcnn, self.finder, self.keypoints = load_detector("mtcnn"), Finder(), open_keypoints()

    def __call__(self, image: np.ndarray, by_eye: Sequence[np.ndarray] = ()) -> list[tuple[float, np.ndarray]] | None:
        """Of each face of an (H, W, 3) uint8 RGB image its score and (68, 2) points; None for one to leave out.

        by_eye: the (5, 2) landmarks of all its faces, where they are known.
        """
        scale = max(1.0, SEARCHED / max(image.shape[:2]))
        large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) if scale > 1 else image
        found = [(0.0, (five + 0.5) * scale - 0.5) for five in by_eye] or self._search(large)
        if not found:
            return None
        points = self.keypoints(large, [landmarks for _, landmarks in found])
        points = (without_shift(points, self.keypoints.shift) + 0.5) / scale - 0.5
        return [(score, one) for (score, _), one in zip(found, points, strict=True)]

    def _search(self, image: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Score and landmarks of all faces; [] where it cannot be sure of them."""
        looks = [slim(image) for slim in self.slims]
        faces = agreed(looks, self.mtcnn(image)) or seen_by_both(looks, self.finder.look(image, SEARCHED, UNSURE))
        return [(face.score, face.landmarks) for face in faces]


def agreed(looks: Sequence[list[Face]], others: list[Face]) -> list[Face]:
    """The faces of several looks of one detector, the surest of those at one place, if no doubt is left about any.

    A face has one partner among `others`, or none and is CERTAIN in all looks. [] where a face is neither, where one
    of `others` is no partner, and where a look is unsure of a further face.
    """
    faces = surest((face for look in looks for face in look), AGREE)
    partners = [[i for i, other in enumerate(others) if face.overlap(other) >= AGREE] for face in faces]
    one_to_one = sorted(i for found in partners for i in found) == list(range(len(others)))
    sure = all(
        (len(found) == 1 and face.score >= SURE) or (not found and all(_certain(face, look) for look in looks))
        for face, found in zip(faces, partners, strict=True)
    )
    return faces if one_to_one and sure else []


def surest(faces: Iterable[Face], overlap: float) -> list[Face]:
    """The surest of those at one place, the surest first; two are at one place from this IoU on."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(face.overlap(other) < overlap for other in kept):
            kept.append(face)
    return kept


def seen_by_both(looks: Sequence[list[Face]], found: list[Face]) -> list[Face]:
    """The faces of `found` that are in one of several looks of another detector, if no doubt is left about any.

    [] where one of either that scores SURE is not seen by the other.
    """

    def seen(face: Face, others: Sequence[Face]) -> bool:
        return any(face.overlap(other) >= AGREE for other in others)

    others = [face for look in looks for face in look]
    sure = all(seen(face, found) for face in others if face.score >= SURE)
    sure = sure and all(seen(face, others) for face in found if face.score >= SURE)
    return [face for face in found if seen(face, others)] if sure else []


def _certain(face: Face, look: list[Face]) -> bool:
    """Whether a look is certain of this face."""
    return any(other.score >= CERTAIN and face.overlap(other) >= AGREE for other in look)


def label_source(
    faces: FaceDataset, table: Path, workers: int, limit: int = 0, by_eye: dict[str, list[np.ndarray]] | None = None
) -> pd.DataFrame:
    """Write the table of a source, of `limit` pictures, evenly drawn, or of all; those that it has already stay.

    by_eye: file -> the (5, 2) landmarks of all its faces, as `read_by_eye` reads them. These are always among them.
    """
    known = read_table(table) if table.is_file() else pd.DataFrame(columns=["file", "face", "score", *COLUMNS])
    by_eye = by_eye or {}
    names = {os.path.relpath(file, faces.root): file for file in faces.files if not held(faces, file)}
    chosen = set(evenly(list(names), limit)) if limit else names
    names = {name: file for name, file in names.items() if name in chosen or name in by_eye}
    left = [name for name in names if name not in set(known["file"])]
    labellers: queue.SimpleQueue = queue.SimpleQueue()
    for _ in range(workers):
        labellers.put(Labeller())

    def rows(name: str) -> list[list]:
        labeller = labellers.get()
        try:
            found = labeller(read_image(names[name], max_side=None)[0], by_eye.get(name, ()))
        except PhotoError as error:
            raise DataError(f"{faces.source}: {names[name]}: {error}; fix or remove it") from error
        finally:
            labellers.put(labeller)
        if found is None:
            return [[name, -1, 0.0, *[np.nan] * len(COLUMNS)]]
        return [[name, i, score, *points.ravel().round(2)] for i, (score, points) in enumerate(found)]

    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(left), desc=faces.source, disable=None) as bar:
        for start in range(0, len(left), CHUNK):
            new = [row for found in pool.map(rows, left[start : start + CHUNK]) for row in found]
            new = pd.DataFrame(new, columns=known.columns)
            known = pd.concat([known, new], ignore_index=True) if len(known) else new
            with whole_file(table) as partial:
                known.to_csv(partial, index=False)
            bar.update(min(CHUNK, len(left) - start))
    return known


def read_by_eye(path: Path) -> dict[str, dict[str, list[np.ndarray]]]:
    """source -> file -> the (5, 2) landmarks of all its faces. Raises DataError for anything else."""
    try:
        table = pd.read_csv(path, dtype={"source": str, "file": str})
        points = table[EYE_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2)
        found: dict[str, dict[str, list[np.ndarray]]] = {}
        for source, file, landmarks in zip(table["source"], table["file"], points, strict=True):
            found.setdefault(source, {}).setdefault(file, []).append(landmarks)
    except (KeyError, ValueError, OSError) as error:  # pandas raises ValueErrors for what is no table
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not a table of source, file, {', '.join(EYE_COLUMNS)}: {reason}") from error
    return found


def read_table(path: Path) -> pd.DataFrame:
    """What `label_source` wrote. Raises DataError for anything else."""
    if not path.is_file():
        raise DataError(f"no table {path}: python scenes.py label writes it")
    try:
        table = pd.read_csv(path, dtype={"file": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table of scenes.py: {' '.join(str(error).split())}; remove it") from error
    if list(table.columns) != ["file", "face", "score", *COLUMNS]:
        raise DataError(f"{path} is not a table of scenes.py label: it has other columns; remove it")
    return table


# ------------------------------------------------------------------------------------------ who is in which part


def evenly(items: Sequence, count: int) -> list:
    """At most `count` of them, evenly drawn."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


def people_parts(sources: dict[str, str], tables: Path) -> dict[str, list[Picture]]:
    """The pictures of the sources, name -> path, by part. Raises DataError, also where a table is missing.

    Each source is drawn as often as the square root of its size says, so that a small one, as that of masks, counts,
    and in it those labelled by eye BY_EYE times as often as others: no detector knew them.
    """
    dealt = load_sources(sources, {})
    parts: dict[str, list[Picture]] = {}
    for part, by_source in zip(PARTS, dealt, strict=True):
        parts[part] = []
        for name, faces in by_source.items():
            table = read_table(tables / f"{name}.csv")
            table = table[table["face"] >= 0]
            points = table[COLUMNS].to_numpy(np.float32).reshape(-1, POINTS, 2)
            rows = table.groupby("file").indices
            keys = {file: os.path.relpath(file, faces.root) for file in faces.files if not held(faces, file)}
            files = [file for file, key in keys.items() if key in rows]
            weight = 1 / np.sqrt(max(1, len(files)))
            scores = table["score"].to_numpy()
            for file in files:
                chosen = rows[keys[file]]
                times = 1.0 if scores[chosen].any() else BY_EYE
                parts[part].append(Picture(file, points[chosen], times * weight))
    if not parts["train"] or not parts["select"]:
        raise DataError(f"no labelled faces to train and to select on: python scenes.py label writes {tables}")
    return parts


def nobody_files(folder: str | os.PathLike) -> list[Path]:
    """The pictures below a folder. Raises DataError where it has none."""
    files = pictures_below(Path(folder))
    if not files:
        raise DataError(f"no pictures of nobody in {folder}; is it the right folder?")
    return files


def nobody_parts(folder: str | os.PathLike | None) -> dict[str, list[Picture]]:
    """The pictures of nobody below a folder, by part: none without a folder. Raises DataError where it has none."""
    parts: dict[str, list[Picture]] = {part: [] for part in PARTS}
    if folder is None:
        return parts
    for file in nobody_files(folder):
        if not held_back(file.name):
            place = position(file.name, SPLIT_SEED)
            parts[PARTS[(place >= TRAIN_BELOW) + (place >= SELECT_BELOW)]].append(Picture(file))
    return parts


def digest(pictures: Sequence[Picture]) -> str:
    """How many pictures, and a hash of their names, sizes and points."""
    hashed = hashlib.sha256()
    for picture in pictures:
        hashed.update(f"{picture.file.parent.name}/{picture.file.name} {picture.file.stat().st_size}\n".encode())
        hashed.update(picture.points.tobytes())
    return f"{len(pictures)} pictures {hashed.hexdigest()[:DIGITS]}"


# -------------------------------------------------------------------------------------- patches of nobody


def likely_boxes(finder: Finder, image: np.ndarray) -> list[tuple[float, ...]]:
    """x, y, w, h of the LIKELIEST places of an (H, W, 3) uint8 RGB image, no two at one place, the likeliest first."""
    faces = surest((face for size in LOOKS for face in finder.look(image, size, POSSIBLE)), SAME)
    return [face.box for face in faces[:LIKELIEST]]


def random_boxes(name: str, height: int, width: int) -> list[tuple[float, ...]]:
    """AT_RANDOM squares in a picture, the same for the same name: a twelfth to a half of its short side."""
    rng = np.random.default_rng(int(2**53 * position(name)))
    sides = min(height, width) * np.exp(rng.uniform(np.log(1 / 12), np.log(1 / 2), AT_RANDOM))
    return [(rng.uniform(0, width - side), rng.uniform(0, height - side), side, side) for side in sides]


def cut_patch(image: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """What an (H, W, 3) image shows around the middle of a box, as far as it is in the picture, shrunk to LARGEST."""
    x, y, w, h = box
    centre, reach = np.array([x + w / 2, y + h / 2]), AROUND * max(w, h) / 2
    x0, y0 = np.clip(np.floor(centre - reach), 0, np.array(image.shape[1::-1]) - 1).astype(int)
    x1, y1 = np.maximum(np.ceil(centre + reach), (x0 + 1, y0 + 1)).astype(int)
    return shrink(image[y0:y1, x0:x1], LARGEST)[0]


def write_patches(folder: Path, out: Path, workers: int) -> int:
    """Write the patches of all pictures below a folder, in folders as there; those that are there stay.

    Returns how many patches there are then. Number 0 of a picture is written last, and says that it has all.
    """
    finder, files = Finder(), nobody_files(folder)

    def write(file: Path) -> None:
        target = out / file.relative_to(folder).parent
        if (target / f"{file.name}@0.jpg").is_file():
            return
        try:
            image = read_image(file, max_side=None)[0]
        except PhotoError as error:
            raise DataError(f"{file}: {error}; fix or remove it") from error
        boxes = likely_boxes(finder, image) + random_boxes(file.name, *image.shape[:2])
        for number, box in reversed(list(enumerate(boxes))):
            with whole_file(target / f"{file.name}@{number}.jpg") as partial:
                Image.fromarray(cut_patch(image, box)).save(partial, "JPEG", quality=95)

    with ThreadPoolExecutor(workers) as pool:
        for _ in tqdm(pool.map(write, files), desc="patches", total=len(files), disable=None):
            pass
    return len(pictures_below(out))


# ------------------------------------------------------------------------------------------------- scenes


class Scenes(Dataset):
    """`count` scenes of a composer, each made when it is asked for; the same for the same seed and number.

    An item: the picture (3, H, W) float32 in 0..1, and the faces (MOST, 15) float32, those to be found first.
    """

    def __init__(self, composer: Composer, count: int, seed: int | tuple[int, ...] = 0):
        self.composer, self.count, self.seed = composer, count, seed

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 RGB, (F, 15) float32."""
        return self.composer(np.random.default_rng([*np.atleast_1d(self.seed).tolist(), index]))

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index >= self.count:
            raise IndexError(index)
        image, faces = self.scene(index)
        faces = faces[np.argsort(-faces[:, 14], kind="stable")][:MOST]
        rows = np.full((MOST, NUMBERS), ABSENT, np.float32)
        rows[: len(faces)] = faces
        return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255), torch.from_numpy(rows)


def draw_scene(image: np.ndarray, faces: np.ndarray, zoom: int = 2) -> np.ndarray:
    """The scene enlarged, with its boxes, green where they are to be found, and landmarks: the eyes are red."""
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    for face in faces:
        colour = (0, 255, 0) if face[14] == FOUND else (255, 160, 0)
        x, y, w, h = (int(v) for v in np.round((face[:4] + 0.5 * (np.arange(4) < 2)) * zoom))
        cv2.rectangle(image, (x, y), (x + w, y + h), colour, 1)
        for number, (px, py) in enumerate((face[4:14].reshape(5, 2) + 0.5) * zoom):
            dot = (255, 0, 0) if number < 2 else (255, 255, 0)
            cv2.circle(image, (int(px), int(py)), 2, dot, -1)
    return image


def sheet(scenes: Scenes, rows: int = 4, columns: int = 6) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the first scenes in a table."""
    drawn = [draw_scene(*scenes.scene(i)) for i in range(rows * columns)]
    drawn = [cv2.copyMakeBorder(one, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255)) for one in drawn]
    return np.vstack([np.hstack(drawn[i : i + columns]) for i in range(0, len(drawn), columns)])


# ------------------------------------------------------------------------------------------ the command line


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scenes.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    label = commands.add_parser("label", help="find the faces of the sources' pictures, once")
    label.add_argument("--out", type=Path, default=Path(".cache/finder"), help="folder of the tables")
    label.add_argument("--workers", type=int, default=os.cpu_count(), help="threads")
    label.add_argument("--by-eye", type=Path, metavar="FILE", help="table of faces in pictures that were left out")
    label.add_argument("--limit", type=int, default=0, help="pictures of each source (default: all)")
    show = commands.add_parser("show", help="draw scenes with their faces")
    show.add_argument("--nobody", type=Path, help="folder with pictures of nobody")
    show.add_argument("--tables", type=Path, default=Path(".cache/finder"), help="folder of the tables")
    show.add_argument("--part", default="train", choices=PARTS[:2])
    show.add_argument("--seed", type=int, default=0)
    show.add_argument("--out", type=Path, default=Path("scenes.png"))
    patches = commands.add_parser("patches", help="cut out of pictures of nobody what could be taken for a face")
    patches.add_argument("--nobody", type=Path, required=True, help="folder with pictures of nobody")
    patches.add_argument("--out", type=Path, required=True, help="folder of the patches")
    patches.add_argument("--workers", type=int, default=os.cpu_count(), help="threads")
    for command in (label, show):
        command.add_argument("--data", nargs="+", required=True, metavar="SOURCE=PATH", help="pictures of people")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    cv2.setNumThreads(1)  # the threads are ours
    try:
        if options.command == "patches":
            count = write_patches(options.nobody, options.out, options.workers)
            print(f"{count} patches of nobody in {options.out}: --data nobody={options.out}")
            return 0
        sources = named_paths(options.data)
        if options.command == "show":
            people, nobody = people_parts(sources, options.tables), nobody_parts(options.nobody)
            scenes = Scenes(Composer(people[options.part], nobody[options.part]), 24, options.seed)
            cv2.imwrite(str(options.out), cv2.cvtColor(sheet(scenes), cv2.COLOR_RGB2BGR))
            print(f"wrote {options.out}")
            return 0
        by_eye = read_by_eye(options.by_eye) if options.by_eye else {}
        for name, path in sources.items():
            source, file = open_source(name, path), options.out / f"{name}.csv"
            table = label_source(source, file, options.workers, options.limit, by_eye.get(name))
            kept = table[table["face"] >= 0]
            count = table["file"].nunique()
            print(
                f"{name}: {len(kept)} faces in {kept['file'].nunique()} of {count} pictures: {options.out / name}.csv"
            )
    except (DataError, ImportError, OSError, ValueError) as error:
        print(f"scenes.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
