"""Where do faces come from?  One Dataset class a source; all of them yield the same thing.

from data_load import open_source, split
dataset = open_source("meglass", "PATH")             # of `SOURCES`; without a path `find_dataset` looks for it
image, label, identity = dataset[0]                  # (3, H, W) uint8 RGB, int of `Label`, str
train, select, report = split(dataset, (0.8, 0.1, 0.1))   # no identity in two of them

python data_load.py celeba-eyeglasses --data PATH --out DIR [--size 120]
    the faces of CelebA with glasses and as many without, in the geometry and layout of MeGlass
"""

import argparse
import copy
import hashlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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

from find_data import (
    DataError,
    find_dataset,
    pictures_below,
    report_problems,
    subfolders,
    unreadable_pictures,
)
from glasses.files import whole_file
from glasses.photos import PhotoError, read_image

# The other course's data set, which many look for here: 68 points instead of a label.
from keypoint_data import FacialKeypointsDataset as FacialKeypointsDataset
from keypoint_transforms import Normalize as Normalize
from keypoint_transforms import RandomCrop as RandomCrop
from keypoint_transforms import Rescale as Rescale
from keypoint_transforms import ToTensor as ToTensor
from tables import Label, find_file, kind_of, known_kind, label_of_row, read_columns, read_corrections, read_table

CORRECTIONS = Path(__file__).with_name("weights") / "label_corrections.csv"  # of the public data sets


class Sample(NamedTuple):
    """One face: image (3, H, W) uint8 RGB, label (an int of `Label`), identity ("" where the source has none)."""

    image: Tensor
    label: int
    identity: str


# ---------------------------------------------------------------------------------------------- sources


class FaceDataset(Dataset):
    """The common part of all sources: lists of files, labels and identities, checked when they are made.

    root: the folder of the data set. transform: called with the (3, H, W) uint8 image. strict: raise
    DataError for a missing file, a duplicate id or an unknown label; False decodes every picture, and leaves out
    such faces and unreadable pictures, with one warning that counts them.

    Attributes: files (list of Path), labels ((N,) int64), identities (list of str), source (its name), split (the
    official part).
    """

    source = "faces"
    split = "all"
    several_folders = False  # True: two files may have one name
    holds_back = False  # True: a share of the files is never learned from, see `sources.held`

    def __init__(self, root: str | os.PathLike, transform: Callable | None = None, strict: bool = True):
        self.root, self.transform, self.strict = Path(root), transform, strict
        if not self.root.is_dir():
            raise DataError(f"{self.source}: no folder {self.root}")
        faces: list[tuple[Path, int, str]] = []
        problems: list[tuple[str, str]] = []
        seen = set()
        for file, label, identity in self._rows():
            if file in seen:
                problems.append(("listed twice", str(file)))
            elif label not in Label.__members__.values():
                problems.append((f"unknown label {label!r}", str(file)))
            elif not os.path.isfile(file):  # False, not an error, for a name that is too long
                problems.append(("missing file", str(file)))
            else:
                faces.append((file, int(label), identity))
            seen.add(file)
        if not strict:
            unreadable = unreadable_pictures([file for file, _, _ in faces], self.source)
            problems += [("unreadable picture", str(file)) for file in unreadable]
            faces = [face for face in faces if face[0] not in unreadable]
        self.files = [file for file, _, _ in faces]
        self.labels = np.array([label for _, label, _ in faces], dtype=np.int64)
        self.identities = [identity for _, _, identity in faces]
        self._report(problems)

    def _rows(self) -> Iterable[tuple[Path, object, str]]:
        """(file, label, identity) of each face, as the source's own lists say it, unchecked."""
        raise NotImplementedError

    def _report(self, problems: list[tuple[str, str]]) -> None:
        """Raise DataError for the first of (what, file), or warn of all; DataError, too, where no face is left."""
        name = self.source if self.split == "all" else f"{self.source} {self.split}"
        report_problems(name, problems, self.strict, stacklevel=4)
        if not self.files:
            raise DataError(f"{name}: no faces in {self.root}; is it the right folder, and unpacked?")

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
            raise DataError(
                f"{self.source}: {self.files[index]}: {error}; fix it, or leave such out with --skip-bad"
            ) from error

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

    def keys(self) -> list[str]:
        """Whose each face is, for `split`: its identity or, without one, its file.

        A file is known by its name, which is the same however the data set was unpacked; by its path below `root`
        in a source where two files may have one name.
        """
        keys = []
        for identity, file in zip(self.identities, self.files, strict=True):
            name = Path(os.path.relpath(file, self.root)).as_posix() if self.several_folders else file.name
            keys.append(identity or f"file:{name}")
        return keys

    @staticmethod
    def picture_name(file: Path) -> str:
        """The name of the picture that a file is of."""
        return file.name

    def verify(self) -> "FaceDataset":
        """Decode every picture. Raises DataError for the first that fails; strict=False returns the rest."""
        unreadable = unreadable_pictures(self.files, self.source)
        part = self.subset([i for i, file in enumerate(self.files) if file not in unreadable])
        part._report([("unreadable picture", f"{file} ({why})") for file, why in unreadable.items()])
        return part

    def __repr__(self) -> str:
        kinds = ", ".join(f"{(self.labels == k).sum()} {k.name.lower()}" for k in Label if k in self.labels)
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
            table = read_table(self.root / "kinds.csv", self.source, ("id", "kind"))
            kinds = {row["id"]: kind_of(row["kind"]) for row in table}
        table = read_table(self.root / "train.csv", self.source, ("id", "glasses"), ("kind",))
        folders = [self.root / "faces-spring-2020" / "faces-spring-2020", self.root / "faces-spring-2020", self.root]
        folder = next((f for f in folders if f.is_dir() and any(f.glob("face-*"))), folders[0])
        suffix = next((s for s in (".png", ".jpg") if any(folder.glob(f"face-*{s}"))), ".png")
        for row in table:
            label, kind = label_of_row(row), kinds.get(row["id"], Label.NONE)
            if label == Label.UNKNOWN_KIND and kind != Label.NONE:
                label = kind
            yield folder / f"face-{row['id']}{suffix}", label, ""


class SampleFaces(KaggleGlasses):
    """The synthetic faces of `data/sample`, in the layout of the Kaggle set; made by `synthetic/make_sample.py`.

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
        meta = find_file(self.root, self.source, ("meta.txt", "meta_meglass.txt"))
        for name, label in read_columns(meta, self.source, ("label",)):
            # Faces of CelebA that `celeba-eyeglasses` wrote may wear sunglasses.
            worn = Label.UNKNOWN_KIND if name.startswith("celeba@") else Label.EYEGLASSES
            label = {"0": Label.NONE, "1": worn}.get(label, label)
            yield self.root / "MeGlass_120x120" / name, label, name.rpartition("@")[0]


class CelebA(FaceDataset):
    """Liu et al.: "Deep Learning Face Attributes in the Wild", ICCV 2015, aligned, 178x218 pixels.

    Reads the lists `list_attr_celeba`, `list_eval_partition` and, where it is there, `identity_CelebA` as .txt, in
    the folder itself or in the official `Anno/` and `Eval/`, or as .csv, as the Kaggle archive has them. The pictures
    lie in `img_align_celeba/`, there or in `Img/`. The attribute Eyeglasses includes sunglasses; a file
    `eyewear_kind.csv` (`image_id`, `kind`) tells them apart where there is one.

    split: "train", "validation", "test" (the official partition) or "all". balanced: a seed; keeps every
    face with glasses and draws as many without.
    """

    source = "celeba"
    PARTITIONS = {"train": "0", "validation": "1", "test": "2"}
    LISTS = ("{}.txt", "Anno/{}.txt", "Eval/{}.txt", "{}.csv")
    PICTURES = ("img_align_celeba/img_align_celeba", "Img/img_align_celeba", "img_align_celeba")

    def __init__(self, root, transform=None, strict=True, split: str = "all", balanced: int | None = None):
        if split != "all" and split not in self.PARTITIONS:
            raise ValueError(f"unknown split {split!r}: choose from all, {', '.join(self.PARTITIONS)}")
        self.split, self.balanced = split, balanced
        super().__init__(root, transform, strict)

    def _rows(self):
        faces = self.read_list("list_attr_celeba", "Eyeglasses")
        if self.split != "all":
            partition = self._whole_list("list_eval_partition", "partition", [name for name, _ in faces])
            faces = [face for face in faces if partition[face[0]] == self.PARTITIONS[self.split]]
        if self.balanced is not None:
            worn = [face for face in faces if face[1] == "1"]
            bare = [face for face in faces if face[1] != "1"]
            bare.sort(key=lambda face: _stable_hash(self.balanced, face[0]))
            faces = sorted(worn + bare[: len(worn)])
        identities = self._whole_list("identity_CelebA", "identity", [name for name, _ in faces], optional=True)
        kinds = {}
        if (self.root / "eyewear_kind.csv").is_file():
            table = read_table(self.root / "eyewear_kind.csv", self.source, ("image_id", "kind"))
            kinds = {row["image_id"]: kind_of(row["kind"]) for row in table}
        folder = next((f for f in self.PICTURES if (self.root / f).is_dir()), self.PICTURES[-1])
        for name, value in faces:
            kind = kinds.get(name)
            if kind not in (Label.EYEGLASSES, Label.SUNGLASSES):  # not sure, or the official list says otherwise
                kind = Label.UNKNOWN_KIND
            label = {"1": kind, "-1": Label.NONE, "0": Label.NONE}.get(value, value)
            yield self.root / folder / name, label, identities.get(name, "")

    def read_list(self, name: str, *columns: str, optional: bool = False) -> list[tuple[str, ...]]:
        """(file name, a value for each of `columns`) of every line of a list; [] where an optional one is not there."""
        names = [place.format(name) for place in self.LISTS]
        if optional and not any((self.root / name).is_file() for name in names):
            return []
        return read_columns(find_file(self.root, self.source, names), self.source, columns)

    def _whole_list(self, name: str, column: str, faces: Sequence[str], optional: bool = False) -> dict[str, str]:
        """The value of each face in a list; {} where an optional one is not there. DataError where a face has none."""
        values = dict(self.read_list(name, column, optional=optional))
        known = self.PARTITIONS.values() if column == "partition" else None
        if values and (bad := next((face for face in faces if not values.get(face)), None)):
            raise DataError(f"{self.source}: {name} has no line for {bad}; fetch the file again")
        if known and (bad := next((face for face in faces if values[face] not in known), None)):
            raise DataError(f"{self.source}: {name} says {values[bad]!r} of {bad}, not 0, 1 or 2; fetch the file again")
        return values

    def official_parts(self) -> dict[str, "CelebA"]:
        """The faces of each official part that has some, by its name."""
        partition = self._whole_list("list_eval_partition", "partition", [file.name for file in self.files])
        parts = {}
        for name, number in self.PARTITIONS.items():
            if indices := [i for i, file in enumerate(self.files) if partition[file.name] == number]:
                parts[name] = self.subset(indices)
                parts[name].split = name
        return parts

    def warn_without_identities(self) -> None:
        """To be called where faces train: a person's faces may then train and validate."""
        if not any(self.identities):
            why = "only the official parts keep all faces of a person on one side"
            warnings.warn(f"celeba: no identity_CelebA.txt in {self.root}: {why}", stacklevel=3)


class LFW(FaceDataset):
    """Labeled Faces in the Wild, deep-funneled: `lfw-deepfunneled/<person>/<person>_0001.jpg`.

    `lfw_glasses.csv` (`file`, `glasses`) names the labelled faces; the identity is the person.
    """

    source = "lfw"

    def _rows(self):
        for row in read_table(self.root / "lfw_glasses.csv", self.source, ("file", "glasses"), ("kind",)):
            yield self.root / "lfw-deepfunneled" / row["file"], label_of_row(row), row["file"].split("/")[0]


class LabelsCSV(FaceDataset):
    """FFHQ, or any folder with a `labels.csv` or `labels.tsv`: a table as `read_table` takes it.

    Its columns: `file`, then `glasses` (0 or 1) and/or `kind`, maybe `identity`.
    """

    source = "ffhq"
    several_folders = True

    def _rows(self):
        path = find_file(self.root, self.source, ("labels.csv", "labels.tsv"))
        table = read_table(path, self.source, ("file",), ("glasses", "kind", "identity"))
        if table and not {"glasses", "kind"} & table[0].keys():
            raise DataError(f"{self.source}: {path} has neither a column glasses nor kind; add one")
        folder = self.root if any((self.root / row["file"]).is_file() for row in table) else self.root / "images"
        for row in table:
            yield folder / row["file"], label_of_row(row), row.get("identity", "")


class FolderPerClass(FaceDataset):
    """A folder a class: `with_glasses/` and `without_glasses/`, `glasses/` and `no_glasses/`, or `1/` and `0/`.

    `eyeglasses/`, `sunglasses/` and `none/` tell the kind too. Also in `train/`, `val/` and `test/`, in capitals, and
    with other or no signs between the words, as in `Face-With Glasses/`. Any picture below them counts, but no hidden
    file. No identities.
    """

    source = "folder"
    several_folders = holds_back = True
    PARTS = ("train", "val", "valid", "validation", "test")
    NAMES = {
        Label.NONE: "none 0 noglasses noglass nonglasses noeyeglasses withoutglasses withoutglass withouteyeglasses",
        Label.EYEGLASSES: "eyeglasses",
        Label.SUNGLASSES: "sunglasses",
        Label.UNKNOWN_KIND: "glasses glass 1",
    }

    def _rows(self):
        tops = [self.root, *(folder for folder in subfolders(self.root) if folder.name.lower() in self.PARTS)]
        classes = [(self.label_of(folder.name), folder) for top in tops for folder in subfolders(top)]
        classes = sorted((label, folder) for label, folder in classes if label is not None)
        if not classes:
            raise DataError(f"{self.source}: {self.root} has no folder with_glasses, without_glasses or their like")
        for label, folder in classes:
            files = pictures_below(folder)
            if not files:
                raise DataError(f"{self.source}: no pictures in {folder}; put some there, or remove it")
            for file in files:
                yield file, label, ""

    def label_of(self, name: str) -> Label | None:
        """What a folder's name says; None where it is not that of a class."""
        word = re.sub(r"[\W_]", "", name.lower())  # "Face-With Glasses" -> "facewithglasses" -> "glasses"
        word = re.sub(r"^(faces?|people|persons?)?(with(?!out)|wearing)?", "", word)
        return next((label for label, names in self.NAMES.items() if word in names.split()), None)


class Masks(FolderPerClass):
    """People with a mask or a scarf before nose and mouth, in a folder a class."""

    source = "masks"


class Rendered(FolderPerClass):
    """Real faces with drawn glasses, as `render_glasses.py` writes them: all of them are of people who train."""

    source = "rendered"
    holds_back = False


class Nobody(FaceDataset):
    """Pictures without a face, or patches of them, as `scenes.py patches` writes them: all that is below a folder.

    A patch is named <name of its picture>@<number>.jpg. That name is its identity: all patches of a picture stay in one
    part, that in which `scenes.nobody_parts` has the picture.
    """

    source = "nobody"
    several_folders = holds_back = True

    def _rows(self):
        for file in pictures_below(self.root):
            yield file, Label.NOBODY, file.stem.rpartition("@")[0]

    @staticmethod
    def picture_name(file: Path) -> str:
        return file.stem.rpartition("@")[0] or file.name

    def keys(self) -> list[str]:
        return [self.picture_name(file) for file in self.files]


CLASSES = (KaggleGlasses, SampleFaces, MeGlass, CelebA, LFW, LabelsCSV, FolderPerClass, Masks, Rendered, Nobody)
SOURCES: dict[str, type[FaceDataset]] = {cls.source: cls for cls in CLASSES}


# ---------------------------------------------------------------------------------------------- corrections


def known_corrections(dataset: FaceDataset) -> dict[str, int]:
    """File name -> the right `Label` of the faces whose labels are known to be wrong; for `FaceDataset.relabel`.

    From `label_noise.csv` in the data set's folder, where there is one (the embedded faces), else from
    `weights/label_corrections.csv`, which lists those that were found in the public sets by looking at them.
    """
    path = dataset.root / "label_noise.csv"
    if not path.is_file():
        return read_corrections(CORRECTIONS).get(dataset.source, {})
    return {row["file"]: known_kind(row, path) for row in read_table(path, dataset.source, ("file", "kind"))}


# ------------------------------------------------------------------------------------------------ splits


def _stable_hash(seed: int, text: str) -> bytes:
    """The same on every machine and in every Python, unlike hash()."""
    return hashlib.sha256(f"{seed}:{text}".encode()).digest()


def position(key: str, seed: int = 0) -> float:
    """Where a key of `FaceDataset.keys` stands in a line from 0 to 1, 1 excluded, as at random; the same everywhere.

    It is the first 8 bytes of sha256("seed:key") as a fraction, so that positions rise in the order of these hashes.
    The shipped weights were trained on the first 80 % of the faces in that same order: none of them lies beyond 0.9.
    """
    return (int.from_bytes(_stable_hash(seed, key)[:8], "big") >> 11) / 2**53  # 53 bits: a float rounds 64 up to 1


def split(dataset: FaceDataset, fractions: Sequence[float] = (0.8, 0.2), seed: int = 0) -> list[FaceDataset]:
    """Cut a data set into parts that share no identity; the same on every machine and for every subset.

    The fractions, laid end to end, bound the parts, and each person (or face without an identity) goes where its
    `position` lies. So nobody changes sides when the data set grows or is cut, and the parts hold these shares of the
    faces only nearly. Raises ValueError where the fractions do not sum to 1, and DataError where a part would be empty.
    """
    if not np.isclose(sum(fractions), 1) or min(fractions) < 0:
        raise ValueError(f"fractions must be positive and sum to 1, got {tuple(fractions)}")
    bounds = np.cumsum(fractions)[:-1].round(9)  # 0.1 + 0.2 is no more than 0.3
    part_of = np.searchsorted(bounds, [position(key, seed) for key in dataset.keys()], side="right")
    parts = [np.flatnonzero(part_of == number) for number in range(len(fractions))]
    if empty := [share for share, part in zip(fractions, parts, strict=True) if share > 0 and not len(part)]:
        where = f"{dataset.source}: too few people or faces in {dataset.root}"
        raise DataError(f"{where} for a part of {empty[0]:g}; add some")
    return [dataset.subset(part) for part in parts]


def k_folds(dataset: FaceDataset, k: int = 5, seed: int = 0) -> Iterator[tuple[FaceDataset, FaceDataset]]:
    """k pairs of (the rest, the fold held out), cut by `split`: every face is held out once, with its person.

    The folds are 1/k long in `position`, not in faces: of few people some folds are small. Raises as `split`.
    """
    folds = split(dataset, (1 / k,) * k, seed)
    for held in folds:
        out = set(held.files)
        yield dataset.subset([i for i, file in enumerate(dataset.files) if file not in out]), held


def describe_faces(dataset: FaceDataset) -> pd.DataFrame:
    """Decode every picture; a row each: file, kind (name of its label), identity, width, height in pixels,
    brightness and contrast (mean and standard deviation of the grey levels, 0 to 255)."""

    def row(i: int) -> tuple:
        image = dataset.read(i)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        kind = Label(dataset.labels[i]).name.lower()
        height, width = gray.shape
        return dataset.files[i].name, kind, dataset.identities[i], width, height, gray.mean(), gray.std()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(row, range(len(dataset))))
    return pd.DataFrame(rows, columns=["file", "kind", "identity", "width", "height", "brightness", "contrast"])


# --------------------------------------------------------------------------------------- the command line

# CelebA aligned its faces by a similarity of the five landmarks: the eyes lie here, within a few pixels.
CELEBA_EYES = (69.0, 111.0, 108.0, 111.0)  # x and y of the left one in the picture, x and y of the right one


def write_celeba_eyeglasses(
    data: Path, out: Path, size: int = 120, part: str = "all", seed: int = 0, strict: bool = True
) -> int:
    """Write CelebA's balanced slice in the layout of MeGlass: `out`/MeGlass_120x120/ and `out`/meta.txt.

    Each face is cut by the eyes, at 0.35 and 0.65 of the width and 0.52 of the height, and named
    celeba@identity_<id>@<file>, so that MeGlass(out) splits it by identity; without the list of identities, which a
    warning tells, every face is its own. Eye positions come from list_landmarks_align_celeba where it lies beside the
    others. Returns the number of faces.
    """
    if not 16 <= size <= 4096:
        raise DataError(f"--size must be between 16 and 4096 pixels, not {size}")
    dataset = CelebA(find_dataset("celeba", data), strict=strict, split=part, balanced=seed)
    dataset.warn_without_identities()
    columns = ("lefteye_x", "lefteye_y", "righteye_x", "righteye_y")
    landmarks = dataset.read_list("list_landmarks_align_celeba", *columns, optional=True)
    eyes = {name: xy for name, *xy in landmarks if all(xy)}
    folder = out / "MeGlass_120x120"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, file in enumerate(tqdm(dataset.files, desc="aligning", disable=None)):
        try:
            matrix = _eyes_matrix(np.array(eyes.get(file.name, CELEBA_EYES), dtype=float), size)
        except (ValueError, ZeroDivisionError) as error:  # words, or both eyes at one place
            raise DataError(f"celeba: list_landmarks_align_celeba: no eyes of {file.name}; fetch it again") from error
        face = cv2.warpAffine(dataset.read(i), matrix, (size, size), flags=cv2.INTER_LINEAR)
        name = f"celeba@identity_{dataset.identities[i] or file.stem}@{file.stem}.jpg"
        Image.fromarray(face).save(folder / name, quality=95)
        lines.append(f"{name} {int(dataset.labels[i] != Label.NONE)}\n")
    with whole_file(out / "meta.txt") as partial:  # last: with it the data set is complete
        partial.write_text("".join(lines))
    return len(lines)


def _eyes_matrix(eyes: np.ndarray, size: int) -> np.ndarray:
    """The (2, 3) similarity that brings the eyes, x, y, x, y in pixels, to where MeGlass has them."""
    target = np.float64([[0.35 * size, 0.52 * size], [0.65 * size, 0.52 * size]])
    (x0, y0), (x1, y1) = eyes.reshape(2, 2)
    if not np.isfinite(eyes).all():
        raise ValueError("not numbers")
    turn = complex(*(target[1] - target[0])) / complex(x1 - x0, y1 - y0)  # rotation and scale in one number
    a, b = turn.real, turn.imag
    shift = target[0] - np.array([[a, -b], [b, a]]) @ (x0, y0)
    return np.array([[a, -b, shift[0]], [b, a, shift[1]]])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="data_load.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    slice_ = commands.add_parser("celeba-eyeglasses", help="write CelebA's faces with and without glasses as MeGlass")
    slice_.add_argument("--data", type=Path, required=True, help="folder of CelebA: official, or the Kaggle archive")
    slice_.add_argument("--out", type=Path, required=True, help="folder to write")
    slice_.add_argument("--size", type=int, default=120, help="pixels a side (default: 120)")
    slice_.add_argument("--split", default="all", choices=["all", *CelebA.PARTITIONS], help="official partition")
    slice_.add_argument("--seed", type=int, default=0, help="fixes the draw of faces without glasses")
    slice_.add_argument("--skip-bad", action="store_true", help="leave out faces that are missing or unreadable")
    options = parser.parse_args(arguments)
    try:
        count = write_celeba_eyeglasses(
            options.data, options.out, options.size, options.split, options.seed, strict=not options.skip_bad
        )
    except (DataError, OSError) as error:
        print(f"data_load.py: {error}", file=sys.stderr)
        return 1
    print(f"wrote {count} faces to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
