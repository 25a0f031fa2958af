"""Where do faces come from?  One Dataset class a source; all of them yield the same thing.

from data_load import CelebA, MeGlass, find_dataset, split
dataset = MeGlass(find_dataset("meglass"))
image, label, identity = dataset[0]                  # (3, H, W) uint8 RGB, int of `Label`, str
train, validation = split(dataset, (0.8, 0.2))       # no identity in both

python data_load.py celeba-eyeglasses --data PATH --out DIR [--size 120]
    the faces of CelebA with glasses and as many without, in the geometry and layout of MeGlass
"""

import argparse
import copy
import csv
import hashlib
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from find_data import KNOWN, DataError, find_dataset
from glasses.files import whole_file
from glasses.photos import IMAGE_SUFFIXES, PhotoError, read_image

CORRECTIONS = Path(__file__).with_name("weights") / "label_corrections.csv"  # of the public data sets
VALIDATION_SHARE = 0.2
SPLIT_SEED = 0  # of the data, not of the training: every model is validated on the same faces


class Label(IntEnum):
    """What is in front of the eyes. UNKNOWN_KIND: glasses, but nobody noted down which kind."""

    NONE = 0
    EYEGLASSES = 1
    SUNGLASSES = 2
    UNKNOWN_KIND = 3


class Sample(NamedTuple):
    """One face: image (3, H, W) uint8 RGB, label (an int of `Label`), identity ("" where the source has none)."""

    image: Tensor
    label: int
    identity: str


# ---------------------------------------------------------------------------------------------- sources


class FaceDataset(Dataset):
    """The common part of all sources: lists of files, labels and identities, checked when they are made.

    root: the folder of the data set. transform: called with the (3, H, W) uint8 image. strict: raise
    DataError for a missing file, a duplicate id or an unknown label; False leaves such faces out, with one
    warning that counts them.

    Attributes: files (list of Path), labels ((N,) int64), identities (list of str), source (its name).
    """

    source = "faces"

    def __init__(self, root: str | os.PathLike, transform: Callable | None = None, strict: bool = True):
        self.root, self.transform, self.strict = Path(root), transform, strict
        if not self.root.is_dir():
            raise DataError(f"{self.source}: no folder {self.root}")
        self.files: list[Path] = []
        self.identities: list[str] = []
        labels: list[int] = []
        problems: list[tuple[str, str]] = []
        seen = set()
        for file, label, identity in self._rows():
            if file in seen:
                problems.append(("listed twice", str(file)))
            elif label not in Label.__members__.values():
                problems.append((f"unknown label {label!r}", str(file)))
            elif not file.is_file():
                problems.append(("missing file", str(file)))
            else:
                self.files.append(file)
                self.identities.append(identity)
                labels.append(int(label))
            seen.add(file)
        self.labels = np.array(labels, dtype=np.int64)
        self._report(problems)

    def _rows(self) -> Iterable[tuple[Path, object, str]]:
        """(file, label, identity) of each face, as the source's own lists say it, unchecked."""
        raise NotImplementedError

    def _report(self, problems: list[tuple[str, str]]) -> None:
        if problems and self.strict:
            what, file = problems[0]
            more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
            raise DataError(f"{self.source}: {what}: {file}{more}; mend it, or pass strict=False to leave such out")
        if problems:
            counts = ", ".join(f"{n} x {what}" for what, n in Counter(what for what, _ in problems).items())
            warnings.warn(f"{self.source}: left out {len(problems)} of the faces listed: {counts}", stacklevel=3)
        if not self.files:
            raise DataError(f"{self.source}: no faces in {self.root}; is it the right folder, and unpacked?")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        image = torch.tensor(self.read(index)).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        if self.transform is not None:
            image = self.transform(image)
        return Sample(image, int(self.labels[index]), self.identities[index])

    def read(self, index: int) -> np.ndarray:
        """The picture as (H, W, 3) uint8 RGB. Raises DataError, naming the file, where it cannot be read."""
        try:
            return read_image(self.files[index])[0]
        except PhotoError as error:
            raise DataError(f"{self.source}: {self.files[index]}: {error}; fetch the file again") from error

    def subset(self, indices: Sequence[int]) -> "FaceDataset":
        """The same data set with only the faces at `indices`, in their order."""
        part = copy.copy(self)
        part.files = [self.files[i] for i in indices]
        part.identities = [self.identities[i] for i in indices]
        part.labels = self.labels[np.asarray(indices, dtype=np.int64)]
        return part

    def relabel(self, corrections: dict[str, int]) -> "FaceDataset":
        """The same data set with other labels for some files; keys end a file's path, as "person/face.jpg"."""
        part = copy.copy(self)
        part.labels = self.labels.copy()
        for i, file in enumerate(self.files):
            for key in (file.name, f"{file.parent.name}/{file.name}"):
                part.labels[i] = corrections.get(key, part.labels[i])
        return part

    def verify(self) -> "FaceDataset":
        """Decode every picture. Raises DataError for the first that fails; strict=False returns the rest."""
        good, problems = [], []
        for i in tqdm(range(len(self)), desc=f"checking {self.source}", disable=None, leave=False):
            try:
                self.read(i)
                good.append(i)
            except DataError as error:
                problems.append(("unreadable picture", f"{self.files[i]} ({error.__cause__})"))
        part = self.subset(good)
        part._report(problems)
        return part

    def __repr__(self) -> str:
        counts = Counter(Label(label).name.lower() for label in self.labels)
        kinds = ", ".join(
            f"{counts[label.name.lower()]} {label.name.lower()}" for label in Label if label in self.labels
        )
        people = len(set(self.identities) - {""})
        return f"{type(self).__name__}({len(self)} faces: {kinds}{f'; {people} people' if people else ''})"


class KaggleGlasses(FaceDataset):
    """The GAN faces of kaggle.com/datasets/jeffheaton/glasses-or-no-glasses.

    `train.csv` holds `id` and `glasses`, and in the original v1..v512, the latent vector that made the face;
    the pictures are `faces-spring-2020/faces-spring-2020/face-<id>.png` (here also .jpg). No identities. A file
    `kinds.csv` (`id`, `kind`) tells eyeglasses from sunglasses where there is one.
    """

    source = "kaggle"

    def _rows(self):
        kinds = {}
        if (self.root / "kinds.csv").is_file():
            table = _read_csv(self.root / "kinds.csv", ("id", "kind"), self.source)
            kinds = {row.id: _KINDS.get(row.kind, row.kind) for row in table.itertuples(index=False)}
        table = _read_csv(self.root / "train.csv", ("id", "glasses"), self.source, columns=("id", "glasses", "kind"))
        folders = [self.root / "faces-spring-2020" / "faces-spring-2020", self.root / "faces-spring-2020", self.root]
        folder = next((f for f in folders if f.is_dir() and any(f.glob("face-*"))), folders[0])
        suffix = next((s for s in (".png", ".jpg") if any(folder.glob(f"face-*{s}"))), ".png")
        for row in table.itertuples(index=False):
            label, kind = _label(row), kinds.get(row.id, Label.NONE)
            if label == Label.UNKNOWN_KIND and kind != Label.NONE:
                label = kind
            yield folder / f"face-{row.id}{suffix}", label, ""


class SampleFaces(KaggleGlasses):
    """The synthetic faces of `data/sample`, in the layout of the Kaggle set; made by `make_sample.py`.

    As there, some labels are wrong: `known_corrections` reads which.
    """

    source = "sample"


class MeGlass(FaceDataset):
    """Guo et al.: "Face Synthesis for Eyeglass-Robust Face Recognition", CCBR 2018 (github.com/cleardusk/MeGlass).

    `meta.txt` has a line "file 0|1" a face; the pictures lie in `MeGlass_120x120/`. Optical glasses only. The
    identity is the part of the file name before its last "@": owner and identity_k of the photo album.
    """

    source = "meglass"

    def _rows(self):
        meta = _first_file(self.root, ("meta.txt", "meta_meglass.txt"), self.source)
        folder = self.root / "MeGlass_120x120"
        for number, line in enumerate(meta.read_text().splitlines(), start=1):
            if line.strip():
                name, _, label = line.strip().rpartition(" ")
                if not name:
                    raise DataError(f'{self.source}: {meta} line {number} is not "file 0|1": {line!r}')
                # Faces of CelebA that `celeba-eyeglasses` wrote may wear sunglasses.
                known = {"0": Label.NONE, "1": Label.UNKNOWN_KIND if name.startswith("celeba@") else Label.EYEGLASSES}
                yield folder / name, known.get(label, label), name.rpartition("@")[0]


class CelebA(FaceDataset):
    """Liu et al.: "Deep Learning Face Attributes in the Wild", ICCV 2015, aligned and cropped (178x218).

    Reads the official `list_attr_celeba.txt`, `list_eval_partition.txt`, `identity_CelebA.txt` and
    `img_align_celeba/`. The attribute Eyeglasses includes sunglasses; a file `eyewear_kind.csv` (`image_id`,
    `kind`) tells them apart where there is one.

    split: "train", "validation", "test" (the official partition) or "all". balanced: a seed; keeps every
    face with glasses and draws as many without.
    """

    source = "celeba"
    PARTITIONS = {"train": "0", "validation": "1", "test": "2"}

    def __init__(self, root, transform=None, strict=True, split: str = "all", balanced: int | None = None):
        if split != "all" and split not in self.PARTITIONS:
            raise ValueError(f"unknown split {split!r}: choose from all, {', '.join(self.PARTITIONS)}")
        self.split, self.balanced = split, balanced
        super().__init__(root, transform, strict)

    def _rows(self):
        path = _first_file(self.root, ("list_attr_celeba.txt",), self.source)
        with open(path) as file:
            count, header = next(file, ""), next(file, "").split()
            if "Eyeglasses" not in header:
                raise DataError(f"{self.source}: no column Eyeglasses in line 2 of {path}; fetch the file again")
            column = 1 + header.index("Eyeglasses")
            rows = [line.split() for line in file if line.strip()]
        # A line that was cut has no value; it goes on as "" and is reported as an unknown label.
        attribute = [(row[0], row[column] if len(row) == 1 + len(header) else "") for row in rows]
        if count.strip() != str(len(rows)):
            raise DataError(f"{self.source}: {path} has {len(rows)} rows, not {count.strip()}; fetch the file again")
        identity = _read_pairs(_first_file(self.root, ("identity_CelebA.txt",), self.source))
        if self.split != "all":
            path = _first_file(self.root, ("list_eval_partition.txt",), self.source)
            partition = _read_pairs(path)
            if missing := [name for name, _ in attribute if name not in partition]:
                raise DataError(f"{self.source}: {path} has no line for {missing[0]}; fetch the file again")
            attribute = [row for row in attribute if partition.get(row[0]) == self.PARTITIONS[self.split]]
        if self.balanced is not None:
            with_glasses = [row for row in attribute if row[1] == "1"]
            without = [row for row in attribute if row[1] != "1"]
            without.sort(key=lambda row: _stable_hash(self.balanced, row[0]))
            attribute = sorted(with_glasses + without[: len(with_glasses)])
        kinds = {}
        if (self.root / "eyewear_kind.csv").is_file():
            table = _read_csv(self.root / "eyewear_kind.csv", ("image_id", "kind"), self.source)
            kinds = dict(zip(table["image_id"], table["kind"], strict=True))
        for name, value in attribute:
            label = {"1": _KINDS.get(kinds.get(name), Label.UNKNOWN_KIND), "-1": Label.NONE}.get(value, value)
            if value == "1" and label == Label.NONE:
                label = Label.UNKNOWN_KIND  # the two lists disagree: the official one decides
            yield self.root / "img_align_celeba" / name, label, identity.get(name, "")


class LFW(FaceDataset):
    """Labeled Faces in the Wild, deep-funneled: `lfw-deepfunneled/<person>/<person>_0001.jpg`.

    `lfw_glasses.csv` (`file`, `glasses`) names the labelled faces; the identity is the person.
    """

    source = "lfw"

    def _rows(self):
        table = _read_csv(_first_file(self.root, ("lfw_glasses.csv",), self.source), ("file", "glasses"), self.source)
        folder = self.root / "lfw-deepfunneled"
        for row in table.itertuples(index=False):
            yield folder / row.file, _label(row), row.file.split("/")[0]


class LabelsCSV(FaceDataset):
    """FFHQ, or any folder with a `labels.csv`: `file`, then `glasses` (0 or 1) and/or `kind`, maybe `identity`."""

    source = "ffhq"

    def _rows(self):
        table = _read_csv(self.root / "labels.csv", ("file",), self.source)
        if not {"glasses", "kind"} & set(table.columns):
            raise DataError(f"{self.source}: {self.root / 'labels.csv'} has neither a column glasses nor kind")
        folder = self.root if any((self.root / name).is_file() for name in table["file"]) else self.root / "images"
        for row in table.itertuples(index=False):
            yield folder / row.file, _label(row), getattr(row, "identity", "")


class FolderPerClass(FaceDataset):
    """A folder a class: `with_glasses/` and `without_glasses/`, `glasses/` and `no_glasses/`, or `1/` and `0/`.

    `eyeglasses/`, `sunglasses/` and `none/` tell the kind too. Any picture below them counts. No identities.
    """

    source = "folder"
    NAMES = {
        Label.NONE: ("without_glasses", "no_glasses", "none", "0"),
        Label.EYEGLASSES: ("eyeglasses",),
        Label.SUNGLASSES: ("sunglasses",),
        Label.UNKNOWN_KIND: ("with_glasses", "glasses", "1"),
    }

    def _rows(self):
        found = [(self.root / name, label) for label, names in self.NAMES.items() for name in names]
        found = [(folder, label) for folder, label in found if folder.is_dir()]
        if not found:
            raise DataError(f"{self.source}: {self.root} has no folder with_glasses, without_glasses or their like")
        for folder, label in found:
            files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
            if not files:
                raise DataError(f"{self.source}: no pictures in {folder}")
            for file in files:
                yield file, label, ""


SOURCES: dict[str, type[FaceDataset]] = {
    cls.source: cls for cls in (KaggleGlasses, SampleFaces, MeGlass, CelebA, LFW, LabelsCSV, FolderPerClass)
}


def known_corrections(dataset: FaceDataset) -> dict[str, int]:
    """File name -> the right `Label` of the faces whose labels are known to be wrong; for `FaceDataset.relabel`.

    From `label_noise.csv` in the data set's folder, where there is one (the embedded faces), else from
    `weights/label_corrections.csv`, which lists those that were found in the public sets by looking at them.
    """
    path = dataset.root / "label_noise.csv"
    if path.is_file():
        table = _read_csv(path, ("file", "kind"), dataset.source)
    else:
        path = CORRECTIONS
        table = _read_csv(path, ("source", "file", "kind"), dataset.source)
        table = table[table["source"] == dataset.source]
    return {row.file: int(_KINDS[row.kind]) for row in table.itertuples(index=False)}


_KINDS = {
    "none": Label.NONE,
    "eyeglasses": Label.EYEGLASSES,
    "sunglasses": Label.SUNGLASSES,
    "glasses": Label.UNKNOWN_KIND,
}


def _label(row) -> object:
    """The `Label` of a table's row by its columns `kind` and `glasses`; an unknown value is returned as it is."""
    kind, glasses = getattr(row, "kind", ""), getattr(row, "glasses", "")
    if kind:
        return _KINDS.get(kind, kind)
    return {"0": Label.NONE, "1": Label.UNKNOWN_KIND, "0.0": Label.NONE, "1.0": Label.UNKNOWN_KIND}.get(
        glasses, glasses
    )


def _first_file(root: Path, names: Sequence[str], source: str) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{source}: no {' or '.join(names)} in {root}; is it the right folder, and unpacked?")


def _read_csv(path: Path, needed: Sequence[str], source: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A CSV file as strings, empty where a cell is empty; only `columns` where they are given."""
    if not path.is_file():
        raise DataError(f"{source}: no {path.name} in {path.parent}; is it the right folder, and unpacked?")
    try:
        keep = None if columns is None else lambda name: name in columns
        table = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=keep)
    except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: {path} is not a CSV table: {' '.join(str(error).split())}") from error
    if missing := [name for name in needed if name not in table.columns]:
        raise DataError(f"{source}: no column {missing[0]!r} in {path}, only {', '.join(table.columns[:8])}")
    return table


def _read_pairs(path: Path) -> dict[str, str]:
    """A file of lines "key value"."""
    return dict(line.split()[:2] for line in path.read_text().splitlines() if len(line.split()) >= 2)


# ------------------------------------------------------------------------------------------------ splits


def _stable_hash(seed: int, text: str) -> bytes:
    """The same on every machine and in every Python, unlike hash()."""
    return hashlib.sha256(f"{seed}:{text}".encode()).digest()


def split(dataset: FaceDataset, fractions: Sequence[float] = (0.8, 0.2), seed: int = 0) -> list[FaceDataset]:
    """Cut a data set into parts that share no identity; the same on every machine.

    Faces without an identity are each their own, and are drawn label by label, so that each part has
    the same share of each label. fractions: of the faces, summing to 1. Raises ValueError otherwise, and
    DataError where a part would be empty.
    """
    if not np.isclose(sum(fractions), 1) or min(fractions) < 0:
        raise ValueError(f"fractions must be positive and sum to 1, got {tuple(fractions)}")
    names = Counter(file.name for file in dataset.files)
    groups: dict[str, list[int]] = {}
    for i, (identity, file) in enumerate(zip(dataset.identities, dataset.files, strict=True)):
        name = file.name if names[file.name] == 1 else file.relative_to(dataset.root).as_posix()
        groups.setdefault(identity or f"file:{name}", []).append(i)
    # One line of groups for each label of single faces; people, who have several labels, stand in one line.
    lines: dict[int, list[str]] = {}
    for key, members in groups.items():
        line = -1 if dataset.identities[members[0]] else int(dataset.labels[members[0]])
        lines.setdefault(line, []).append(key)
    parts: list[list[int]] = [[] for _ in fractions]
    for keys in lines.values():
        keys.sort(key=lambda key: _stable_hash(seed, key))
        sizes = np.array([len(groups[key]) for key in keys])
        middle = (np.cumsum(sizes) - sizes / 2) / sizes.sum()  # where each group lies in its line, 0 to 1
        bounds = np.cumsum(fractions)[:-1]
        for key, part in zip(keys, np.searchsorted(bounds, middle, side="right"), strict=True):
            parts[part].extend(groups[key])
    if empty := [share for share, part in zip(fractions, parts, strict=True) if share > 0 and not part]:
        raise DataError(f"{dataset.source}: too few people or faces in {dataset.root} for a part of {empty[0]:g}")
    return [dataset.subset(sorted(part)) for part in parts]


def k_folds(dataset: FaceDataset, k: int = 5, seed: int = 0) -> Iterator[tuple[FaceDataset, FaceDataset]]:
    """k pairs of (the rest, the fold held out), cut by `split`: every face is held out once, with its person."""
    folds = split(dataset, (1 / k,) * k, seed)
    for held in folds:
        out = set(held.files)
        yield dataset.subset([i for i, file in enumerate(dataset.files) if file not in out]), held


def describe_faces(dataset: FaceDataset) -> pd.DataFrame:
    """Decodes every picture; a row each: file, kind (name of its label), identity, width, height in pixels,
    brightness and contrast (mean and deviation of the grey levels, 0 to 255)."""

    def row(i: int) -> tuple:
        image = dataset.read(i)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        kind = Label(dataset.labels[i]).name.lower()
        height, width = gray.shape
        return dataset.files[i].name, kind, dataset.identities[i], width, height, gray.mean(), gray.std()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(row, range(len(dataset))))
    return pd.DataFrame(rows, columns=["file", "kind", "identity", "width", "height", "brightness", "contrast"])


# -------------------------------------------------------------------------- several sources


def named_paths(values: Sequence[str]) -> dict[str, str]:
    """["meglass=PATH", "celeba"] -> {"meglass": "PATH", "celeba": ""}. DataError for an unknown source or one twice."""
    pairs = dict(value.partition("=")[::2] for value in values)
    if len(pairs) < len(values):
        raise DataError(f"a source is named twice: {' '.join(values)}")
    for name in pairs:
        if name not in SOURCES:
            raise DataError(f"unknown source {name!r}: choose from {', '.join(SOURCES)}")
    return pairs


def load_sources(
    train: dict[str, str], validate: dict[str, str], corrections: dict[str, dict[str, int]] | None = None
) -> tuple[dict[str, FaceDataset], dict[str, FaceDataset]]:
    """Open and split the sources: name -> path for those that train, and for those that only validate.

    An empty path is searched for by `find_dataset`. Returns the training parts and the validation parts.
    Raises DataError, also for a source that is in both.
    """
    if both := train.keys() & validate.keys():
        raise DataError(f"{both.pop()} is to train and only to validate: name it once")
    parts: tuple[dict, dict] = {}, {}
    for (name, path), only_validate in [(s, False) for s in train.items()] + [(s, True) for s in validate.items()]:
        cls = SOURCES[name]
        root = find_dataset(name, path or None) if name in KNOWN else Path(path)
        if only_validate:
            parts[1][name] = cls(root)
        elif cls is CelebA:
            parts[0][name], parts[1][name] = (cls(root, split=part) for part in ("train", "validation"))
        else:
            parts[0][name], parts[1][name] = split(cls(root), (1 - VALIDATION_SHARE, VALIDATION_SHARE), SPLIT_SEED)
    for part in parts:
        for name in part:
            part[name] = part[name].relabel((corrections or {}).get(name, {}))
    return parts


def read_corrections(path: str | os.PathLike) -> dict[str, dict[str, int]]:
    """A CSV of `source`, `file`, `kind` -> by source, file name to int of `Label`.

    Raises DataError for a column that is missing or a kind that is unknown.
    """
    corrections: dict[str, dict[str, int]] = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            try:
                corrections.setdefault(row["source"], {})[row["file"]] = int(_KINDS[row["kind"]])
            except KeyError as error:
                raise DataError(f"{path}: no such column or kind: {error}") from error
    return corrections


# --------------------------------------------------------------------------------------- the command line

# CelebA aligned its faces by a similarity of the five landmarks: the eyes lie here, within a few pixels.
CELEBA_EYES = ((69.0, 111.0), (108.0, 111.0))


def write_celeba_eyeglasses(data: Path, out: Path, size: int = 120, part: str = "all", seed: int = 0) -> int:
    """Write CelebA's balanced slice in the layout of MeGlass: `out`/MeGlass_120x120/ and `out`/meta.txt.

    Each face is cut by the eyes, at 0.35 and 0.65 of the width and 0.52 of the height, and named
    celeba@identity_<id>@<file>, so that MeGlass(out) splits it by identity. Eye positions come from the
    official list_landmarks_align_celeba.txt where it lies beside the others. Returns the number of faces.
    """
    if size < 16:
        raise DataError(f"--size must be at least 16 pixels, not {size}")
    dataset = CelebA(data, split=part, balanced=seed)
    eyes = {}
    if (landmarks := data / "list_landmarks_align_celeba.txt").is_file():
        for line in landmarks.read_text().splitlines()[2:]:
            name, *xy = line.split()
            eyes[name] = np.array(xy[:4], dtype=float).reshape(2, 2)
    folder = out / "MeGlass_120x120"
    folder.mkdir(parents=True, exist_ok=True)
    target = np.float64([[0.35 * size, 0.52 * size], [0.65 * size, 0.52 * size]])
    lines = []
    for i, file in enumerate(tqdm(dataset.files, desc="cropping", disable=None)):
        (x0, y0), (x1, y1) = eyes.get(file.name, CELEBA_EYES)
        turn = complex(*(target[1] - target[0])) / complex(x1 - x0, y1 - y0)  # rotation and scale in one number
        a, b = turn.real, turn.imag
        shift = target[0] - np.array([[a, -b], [b, a]]) @ (x0, y0)
        matrix = np.array([[a, -b, shift[0]], [b, a, shift[1]]])
        face = cv2.warpAffine(dataset.read(i), matrix, (size, size), flags=cv2.INTER_LINEAR)
        name = f"celeba@identity_{dataset.identities[i]}@{file.stem}.jpg"
        Image.fromarray(face).save(folder / name, quality=95)
        lines.append(f"{name} {int(dataset.labels[i] != Label.NONE)}\n")
    with whole_file(out / "meta.txt") as partial:  # last: with it the data set is complete
        partial.write_text("".join(lines))
    return len(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="data_load.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    slice_ = commands.add_parser("celeba-eyeglasses", help="write CelebA's faces with and without glasses as MeGlass")
    slice_.add_argument("--data", type=Path, required=True, help="folder with list_attr_celeba.txt")
    slice_.add_argument("--out", type=Path, required=True, help="folder to write")
    slice_.add_argument("--size", type=int, default=120, help="pixels a side (default: 120)")
    slice_.add_argument("--split", default="all", choices=["all", *CelebA.PARTITIONS], help="official partition")
    slice_.add_argument("--seed", type=int, default=0, help="fixes the draw of faces without glasses")
    options = parser.parse_args(arguments)
    try:
        count = write_celeba_eyeglasses(options.data, options.out, options.size, options.split, options.seed)
    except (DataError, OSError) as error:
        print(f"data_load.py: {error}", file=sys.stderr)
        return 1
    print(f"wrote {count} faces to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
