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
import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
import warnings
import zipfile
import zlib
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
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2
from tqdm.auto import tqdm

import detector_architectures
from pipeline import CROP, IMAGE_SUFFIXES, WEIGHTS, Crop, PhotoError, align_face, find_faces, read_image


class Label(IntEnum):
    """What is in front of the eyes. GLASSES: eyewear whose kind nobody noted down."""

    NONE = 0
    EYEGLASSES = 1
    SUNGLASSES = 2
    GLASSES = 3


class Sample(NamedTuple):
    """One face: image (3, H, W) uint8 RGB, label (an int of `Label`), identity ("" where the source has none)."""

    image: Tensor
    label: int
    identity: str


class DataError(Exception):
    """A data set cannot be used as it is; the message is one line that names the file and the mend."""


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
            if label == Label.GLASSES and kind != Label.NONE:
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
                known = {"0": Label.NONE, "1": Label.GLASSES if name.startswith("celeba@") else Label.EYEGLASSES}
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
            label = {"1": _KINDS.get(kinds.get(name), Label.GLASSES), "-1": Label.NONE}.get(value, value)
            if value == "1" and label == Label.NONE:
                label = Label.GLASSES  # the two lists disagree: the official one decides
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
        Label.GLASSES: ("with_glasses", "glasses", "1"),
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
        path = WEIGHTS / "label_corrections.csv"
        table = _read_csv(path, ("source", "file", "kind"), dataset.source)
        table = table[table["source"] == dataset.source]
    return {row.file: int(_KINDS[row.kind]) for row in table.itertuples(index=False)}


_KINDS = {
    "none": Label.NONE,
    "eyeglasses": Label.EYEGLASSES,
    "sunglasses": Label.SUNGLASSES,
    "glasses": Label.GLASSES,
}


def _label(row) -> object:
    """The `Label` of a table's row by its columns `kind` and `glasses`; an unknown value is returned as it is."""
    kind, glasses = getattr(row, "kind", ""), getattr(row, "glasses", "")
    if kind:
        return _KINDS.get(kind, kind)
    return {"0": Label.NONE, "1": Label.GLASSES, "0.0": Label.NONE, "1.0": Label.GLASSES}.get(glasses, glasses)


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


# ------------------------------------------------------------------------------------ finding a data set

DATASETS_DIR = Path(__file__).with_name("datasets")  # where downloads go; git-ignored
if not os.access(DATASETS_DIR.parent, os.W_OK):  # Kaggle mounts the modules read-only
    DATASETS_DIR = Path("datasets")
EMBEDDED_DIR = Path(__file__).with_name("data")  # what the project ships: the synthetic faces


class _Known(NamedTuple):
    """A public data set: its class, a file that shows it is there, folder names, how to get it."""

    cls: type[FaceDataset]
    markers: tuple[str, ...]
    folders: tuple[str, ...]
    kaggle: str | None
    get_it: str


KNOWN = {
    "kaggle": _Known(
        KaggleGlasses,
        ("train.csv",),
        ("glasses-or-no-glasses", "kaggle"),
        "jeffheaton/glasses-or-no-glasses",
        "set Kaggle credentials, or download kaggle.com/datasets/jeffheaton/glasses-or-no-glasses",
    ),
    "sample": _Known(
        SampleFaces,
        ("train.csv", "kinds.csv"),
        ("sample",),
        None,
        "make it with python make_sample.py",
    ),
    "meglass": _Known(
        MeGlass,
        ("MeGlass_120x120",),
        ("meglass", "MeGlass"),
        None,
        "follow github.com/cleardusk/MeGlass to MeGlass_120x120.zip and meta.txt",
    ),
    "celeba": _Known(
        CelebA,
        ("list_attr_celeba.txt",),
        ("celeba", "CelebA"),
        None,
        "follow mmlab.ie.cuhk.edu.hk/projects/CelebA.html to img_align_celeba.zip and the lists",
    ),
    "lfw": _Known(
        LFW,
        ("lfw-deepfunneled",),
        ("lfw", "lfw-dataset"),
        None,
        "get lfw-deepfunneled.tgz and a lfw_glasses.csv (file, glasses) beside it",
    ),
    "ffhq": _Known(
        LabelsCSV,
        ("labels.csv",),
        ("ffhq",),
        None,
        "put faces and a labels.csv (file, glasses) into one folder",
    ),
}


def find_dataset(
    name: str, path: str | os.PathLike | None = None, download: bool = True, fallback: str | None = None
) -> Path:
    """The folder of the data set `name`, one of `KNOWN`: the first of these places that holds it.

    1. `path`; 2. the folders in the environment variable GLASSES_DATA (os.pathsep between them), themselves
    or a subfolder; 3. Kaggle's mounts, old and new; 4. `datasets/`, where a download puts it; 5. a download with
    the `kaggle` package, where there are credentials and `download` is true. Where no place has it and a
    `fallback` is named, such as the embedded "sample", it is that one, and a printed line says so.

    Raises DataError, saying how to get it, where no place has it.
    """
    if name not in KNOWN:
        raise DataError(f"unknown data set {name!r}: choose from {', '.join(KNOWN)}")
    known = KNOWN[name]
    if path is not None:
        if found := _holds(Path(path), known):
            return found
        raise DataError(f"{name}: {path} has no {known.markers[0]}; {known.get_it}")
    for root in _places():
        if found := _holds(root, known):
            return found
    if download and known.kaggle and (source := kaggle_credentials()):
        print(f"{name}: downloading {known.kaggle} with the Kaggle credentials of {source}", file=sys.stderr)
        return download_kaggle(known.kaggle, DATASETS_DIR / known.folders[0], known.markers)
    if fallback:
        found = find_dataset(fallback, download=download)
        print(f"{name}: not found; using the embedded {fallback} faces instead. To use it: {known.get_it}")
        return found
    raise DataError(f"{name}: not found; {known.get_it}, and set GLASSES_DATA to the folder that holds it")


def _places() -> list[Path]:
    """Folders that may hold data sets, best first."""
    named = [Path(p) for p in os.environ.get("GLASSES_DATA", "").split(os.pathsep) if p]
    mounts = Path(os.environ.get("KAGGLE_ROOT", "/kaggle")) / "input"
    owners = sorted((mounts / "datasets").glob("*")) if (mounts / "datasets").is_dir() else []
    return [*named, mounts, *owners, DATASETS_DIR, EMBEDDED_DIR]


def _holds(root: Path, known: _Known) -> Path | None:
    """`root` or the subfolder of it that is the data set `known`."""
    for folder in (*(root / name for name in known.folders), root):
        inner = [folder, *(folder / name for name in known.folders)]  # some archives hold one folder
        for place in inner:
            if all((place / marker).exists() for marker in known.markers):
                return place
    return None


def kaggle_credentials() -> str | None:
    """Where the Kaggle credentials come from, or None. Looks only; the `kaggle` package is not imported."""
    if os.environ.get("KAGGLE_API_TOKEN"):
        return "KAGGLE_API_TOKEN"
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return "KAGGLE_USERNAME and KAGGLE_KEY"
    folders = [Path.home() / ".kaggle", Path.home() / ".config" / "kaggle"]
    if "KAGGLE_CONFIG_DIR" in os.environ:
        folders = [Path(os.environ["KAGGLE_CONFIG_DIR"])]
    files = [folder / name for folder in folders for name in ("access_token", "kaggle.json")]
    return next((str(file) for file in files if file.is_file()), None)


def download_kaggle(slug: str, folder: Path, markers: Sequence[str]) -> Path:
    """Download the Kaggle data set `slug` ("owner/name") and unpack it as `folder`.

    Shows progress, resumes a download that was cut off, checks the archive, and moves the unpacked files
    into place only when they are whole. Raises DataError with one line for anything that goes wrong.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.parent / f"{slug.split('/')[1]}.zip"
    try:
        if not archive.is_file() or not zipfile.is_zipfile(archive):
            import kaggle  # authenticates when it is imported, so only here

            kaggle.api.dataset_download_files(slug, path=str(folder.parent), quiet=False, unzip=False)
    except SystemExit as error:  # the package exits where the credentials are refused
        raise DataError(f"{slug}: Kaggle refused the credentials; make a new token at kaggle.com/settings") from error
    except Exception as error:  # requests, urllib3, kaggle's own: all mean that the download failed
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        if any(word in reason for word in ("401", "403", "Unauthenticated", "Unauthorized", "Forbidden")):
            raise DataError(
                f"{slug}: Kaggle refused the credentials ({reason}); make a new token at kaggle.com/settings"
            ) from error
        raise DataError(f"{slug}: the download failed ({reason}); run again to resume it") from error
    return unpack(archive, folder, markers)


def unpack(archive: Path, folder: Path, markers: Sequence[str]) -> Path:
    """Check the zip `archive` and unpack it as `folder`, which appears whole or not at all; then delete it."""
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as file:
            for member in tqdm(file.infolist(), desc=f"unpacking {folder.name}", disable=None):
                file.extract(member, partial)  # checks each member's CRC
        if missing := [marker for marker in markers if not (partial / marker).exists()]:
            raise DataError(f"{archive}: unpacked, but there is no {missing[0]} in it; is it the right data set?")
        if folder.exists():  # left by a run that was interrupted, or damaged: what we have now is whole
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise DataError(f"{archive}: cannot unpack: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        archive.unlink(missing_ok=True)
        raise DataError(f"{archive}: damaged archive, deleted; run again to fetch it anew") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    archive.unlink()
    return folder


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


# ------------------------------------------------------------------------------------------ cached crops


DETECTOR_FILES = list(Path(detector_architectures.__file__).parent.glob("*.py"))


class CachedFaces(Dataset):
    """Faces of a data set found, aligned and kept as one memory-mapped array: an epoch decodes no JPEG.

    crops: (N, H, W, 3) uint8, aligned by `pipeline.align_face` with MARGIN times the size of the network's
    crop, so that the training transforms can shift and turn it. labels: (N,) int64. rows: (N,) the face's
    place in `crops`, for a part of a data set.

    detector: a callable as in `detector_architectures`. cache: the folder for the arrays; a change of the list
    of files, of a file's size, of the detectors' code or of the geometry makes a new one. It appears whole
    or not at all.
    """

    MARGIN = 1.5

    def __init__(self, dataset: FaceDataset, detector, cache: str | os.PathLike = ".cache", crop: Crop = CROP):
        crop = crop.with_margin(self.MARGIN)
        code = [file.read_bytes() for file in sorted(DETECTOR_FILES)] + [inspect.getsource(align_face).encode()]
        code = hashlib.sha256(b"".join(code)).hexdigest()
        recipe = [detector.name, code, crop, [(str(file), file.stat().st_size) for file in dataset.files]]
        digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
        path = Path(cache) / f"{dataset.source}-{digest}.npy"
        if not path.is_file():
            _write_crops(path, dataset, detector, crop)
        self.crops = np.load(path, mmap_mode="r")
        self.files, self.labels, self.rows = dataset.files, dataset.labels, np.arange(len(dataset))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> tuple[Tensor, Tensor]:
        """An index or an array of them -> (..., 3, H, W) uint8, (...) int64."""
        crops = torch.tensor(self.crops[self.rows[index]])  # a copy: the array on disk is read-only
        return crops.movedim(-1, -3), torch.as_tensor(self.labels[index])

    def cut(self, crop: Crop = CROP) -> np.ndarray:
        """(N, 64, 96, 3) uint8: the crops without their margin, as `pipeline.align_face` cuts them."""
        top, left = (np.array(self.crops.shape[1:3]) - (crop.height, crop.width)) // 2
        return np.ascontiguousarray(self.crops[self.rows, top : top + crop.height, left : left + crop.width])

    def of(self, part: FaceDataset) -> "CachedFaces":
        """The crops of a part of the data set (of `split`, `subset`, `relabel`), with the part's labels."""
        rows = {file: row for file, row in zip(self.files, self.rows, strict=True)}
        chosen = copy.copy(self)
        chosen.files, chosen.labels = part.files, part.labels
        chosen.rows = np.array([rows[file] for file in part.files])
        return chosen


def _write_crops(path: Path, dataset: FaceDataset, detector, crop: Crop) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    crops = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(dataset), crop.height, crop.width, 3))

    def write(i: int) -> None:
        image = dataset.read(i)
        crops[i] = align_face(image, find_faces(detector, image)[0].landmarks, crop)

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            written = pool.map(write, range(len(dataset)))
            for _ in tqdm(written, desc=f"cropping {dataset.source}", total=len(dataset), disable=None):
                pass
        crops.flush()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------ training transforms


class Chunked(nn.Module):
    """Applies `transform` to `chunk` images of a batch at a time.

    torchvision's v2 transforms draw their random numbers once a call, and a call has a cost of its own: one
    for 8 faces is several times faster than one for each, and few enough share a draw.
    """

    def __init__(self, transform: nn.Module, chunk: int = 8):
        super().__init__()
        self.transform, self.chunk = transform, chunk

    def forward(self, batch: Tensor) -> Tensor:
        return torch.cat([self.transform(part) for part in batch.split(self.chunk)])


class LowResolution(v2.Transform):
    """Shrinks the picture to a fraction of its size, drawn from `scale`, and enlarges it again: a far face."""

    def __init__(self, scale: tuple[float, float] = (0.2, 0.9)):
        super().__init__()
        self.scale = scale

    def make_params(self, flat_inputs):
        return {"scale": torch.empty(()).uniform_(*self.scale).item()}

    def transform(self, inpt, params):
        size = inpt.shape[-2:]
        small = v2.functional.resize(inpt, [max(8, round(side * params["scale"])) for side in size], antialias=True)
        return v2.functional.resize(small, list(size), antialias=True)


class Jpeg(v2.Transform):
    """Compresses each picture as a JPEG of a quality drawn from `quality`. (torchvision's own is deprecated.)"""

    def __init__(self, quality: tuple[int, int] = (25, 90)):
        super().__init__()
        self.quality = quality

    def make_params(self, flat_inputs):
        return {"quality": int(torch.randint(self.quality[0], self.quality[1] + 1, ()))}

    def transform(self, inpt, params):
        pictures = inpt.movedim(-3, -1).cpu().numpy()[..., ::-1]  # (..., H, W, 3) BGR
        flat = pictures.reshape(-1, *pictures.shape[-3:])
        coded = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, params["quality"]])[1] for picture in flat]
        decoded = np.stack([cv2.imdecode(code, cv2.IMREAD_COLOR) for code in coded])
        return torch.tensor(decoded.reshape(pictures.shape)[..., ::-1].copy()).movedim(-1, -3).to(inpt)


class CoverLowerFace(v2.Transform):
    """Paints all below a bent line under the eyes in one shaded colour, as a mask or a scarf covers it.

    Half of them leave a strip of the face free at each side.
    """

    def make_params(self, flat_inputs):
        height, width = flat_inputs[0].shape[-2:]
        nose, (left, right) = torch.empty(()).uniform_(0.53, 0.80), torch.empty(2).uniform_(-0.03, 0.20)
        line = torch.stack([nose + left, nose, nose + right])[None, None]  # shares of the height
        line = height * nn.functional.interpolate(line, width, mode="linear", align_corners=True)[0, 0]
        colour = (
            255 * torch.rand(3 if torch.rand(()) < 0.5 else 1, 1, 1) ** 1.5
        )  # of three channels, or a grey; mostly dark
        shade = torch.linspace(1, torch.empty(()).uniform_(0.6, 1.1).item(), height)[:, None]
        paint = (colour * shade).clamp(0, 255).expand(3, height, width)
        free = width * 0.18 * torch.rand(2) * (torch.rand(()) < 0.5)
        columns = torch.arange(width)
        covered = (columns >= free[0]) & (columns < width - free[1])
        return {"below": (torch.arange(height)[:, None] > line) & covered, "paint": paint}

    def transform(self, inpt, params):
        return torch.where(params["below"].to(inpt.device), params["paint"].to(inpt), inpt)


class CutSides(v2.Transform):
    """Blackens what lies beyond the edge of a close-up photo: above the eyes, below them, or one side with an eye."""

    def make_params(self, flat_inputs):
        height, width = flat_inputs[0].shape[-2:]
        inside = torch.ones(height, width, dtype=torch.bool)
        top, bottom, side, right = (torch.rand(4) < 0.5).tolist()
        if top:
            inside[: int(height * torch.empty(()).uniform_(0.05, 0.28))] = False
        if bottom:
            inside[int(height * torch.empty(()).uniform_(0.58, 0.95)) :] = False
        if side:
            columns = int(width * torch.empty(()).uniform_(0.05, 0.50))
            inside[:, slice(width - columns, None) if right else slice(0, columns)] = False
        return {"inside": inside}

    def transform(self, inpt, params):
        return inpt * params["inside"].to(inpt)


def train_transform(crop: Crop = CROP, strength: float = 1.0) -> nn.Module:
    """What real photos do to a face: (B, 3, 96, 144) uint8 crops with margin -> (B, 3, 64, 96) float32 in 0..1.

    strength scales the shifts, turns and changes of light; 0 leaves only the centre crop.
    """
    if strength == 0:
        return eval_transform(crop)
    s = strength
    return Chunked(
        v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(
                    degrees=16 * s,  # the landmarks of `slim` follow a tilt only by a third
                    translate=(0.05 * s, 0.06 * s),
                    scale=(1 - 0.15 * s, 1 + 0.18 * s),
                    shear=[-5 * s, 5 * s, -5 * s, 5 * s],
                    interpolation=v2.InterpolationMode.BILINEAR,
                ),
                v2.CenterCrop([crop.height, crop.width]),
                v2.RandomApply([CoverLowerFace()], p=0.20 * s),
                v2.RandomApply([CutSides()], p=0.10 * s),
                v2.ColorJitter(brightness=0.4 * s, contrast=0.4 * s, saturation=0.4 * s, hue=0.04 * s),
                v2.RandomGrayscale(p=0.1 * s),
                v2.RandomApply([LowResolution()], p=0.25 * s),
                v2.RandomApply([v2.GaussianBlur(15, sigma=(0.3, 5.0))], p=0.15 * s),
                v2.RandomApply([Jpeg()], p=0.15 * s),
                v2.ToDtype(torch.float32, scale=True),
                v2.RandomApply([v2.GaussianNoise(sigma=0.04 * s)], p=0.15 * s),
            ]
        )
    )


def eval_transform(crop: Crop = CROP) -> nn.Module:
    """The centre of each crop, as the pipeline sees it: (B, 3, 96, 144) uint8 -> (B, 3, 64, 96) float32."""
    return v2.Compose([v2.CenterCrop([crop.height, crop.width]), v2.ToDtype(torch.float32, scale=True)])


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
    partial = out / "meta.txt.part"
    partial.write_text("".join(lines))
    os.replace(partial, out / "meta.txt")  # last: with it the data set is complete
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
