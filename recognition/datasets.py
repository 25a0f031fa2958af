"""Whose face is it?  Data sets of people in the layouts in which they are published, each behind the same door.

from recognition.datasets import open_people
people = open_people("agedb=PATH")                   # without a path: data/raw/AgeDB
people.files[0], people.identities[0]                # Path, str; "" where nobody knows
train, select, report = people.deal()                # nobody is in two of them

Who is in the report part of a source in sources.py is in that part here, too. To add a data set, write a subclass of
`People` with a `source`, a `folder` and a `_people`, and add it to DATASETS.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import data_load
from data_load import FaceDataset, Label, known_corrections, position
from find_data import EMBEDDED_DIR, DataError, pictures_below, subfolders
from sources import SELECT_BELOW, SPLIT_SEED, deal
from tables import find_file, read_text

RAW = EMBEDDED_DIR / "raw"  # where data sets lie as people have them; git-ignored
PARTS = ("train", "select", "test")  # of `People.deal`, by the names of the command line: "test" is the report part
NEVER = "LFW and YouTube Faces show the same people, on whom is measured: they never train"


class People(FaceDataset):
    """Pictures of people. `_people` yields (file, identity) of each; a file that is not there raises DataError.

    Attributes: as of `FaceDataset`; `labels` tell of glasses only where the data set does (`MeGlass`). folder: its
    name below data/raw. trains: False where it is only measured on.
    """

    folder = ""
    trains = True

    def _people(self) -> Iterable[tuple[Path, str]]:
        """(file, identity) of each picture, as the data set's own lists and names say it; "" for nobody knows whom."""
        raise NotImplementedError

    def _rows(self) -> Iterator[tuple[Path, int, str]]:
        return ((file, Label.NONE, identity) for file, identity in self._people())

    def deal(self) -> list["People"]:
        """The train, the select and the report part, as `sources.load_sources` deals them out. Raises DataError."""
        return deal(self)

    def names(self) -> list[str]:
        """The path of each file below `root`, with / between the folders: the same wherever the data set lies."""
        return [Path(os.path.relpath(file, self.root)).as_posix() for file in self.files]

    def part(self, name: str) -> "People":
        """One of PARTS. Raises DataError, also where people who never train are to."""
        if not self.trains and name != "test":
            raise DataError(f"{self.source}: {NEVER}; take --split test")
        return dict(zip(PARTS, self.deal(), strict=True))[name]


class AgeDB(People):
    """Moschoglou et al.: "AgeDB: the first manually collected, in-the-wild age database", CVPRW 2017.

    All pictures lie in one folder, as <number>_<person>_<age>_<gender>.jpg.
    """

    source, folder = "agedb", "AgeDB"

    def _people(self):
        for file in pictures_below(self.root):
            words = file.stem.split("_")
            if len(words) < 4 or not words[0].isdigit():
                expected = "<number>_<person>_<age>_<gender>.jpg"
                raise DataError(f"{self.source}: {file} is not named {expected}; rename it, or take it out")
            yield file, "_".join(words[1:-2])


class VGGFace2(People):
    """Cao et al.: "VGGFace2: A dataset for recognising faces across pose and age", FG 2018.

    `train/` and `test/` hold a folder an identity; `train_list.txt` and `test_list.txt` name their pictures, as
    n000002/0001_01.jpg. Nobody is in both. The people of `test_list.txt` are reported, of the others nine of ten train.
    """

    source, folder = "vggface2", "VGGFace2"
    OFFICIAL = ("train", "test")

    def _people(self):
        for part in self.OFFICIAL:
            path = self.root / f"{part}_list.txt"
            for name in read_text(path, self.source).split():
                identity, slash, _ = name.partition("/")
                if not slash:
                    raise DataError(f"{self.source}: {path} names {name!r}, which is no <identity>/<picture>.jpg")
                yield self.root / part / name, identity

    def deal(self):
        report = [i for i, file in enumerate(self.files) if file.parent.parent.name == "test"]
        reported = {self.identities[i] for i in report}
        learned: tuple[list[int], list[int]] = ([], [])
        for i, identity in enumerate(self.identities):
            if identity not in reported:
                learned[position(identity, SPLIT_SEED) >= SELECT_BELOW].append(i)
        if not all((*learned, report)):
            raise DataError(f"{self.source}: too few people in {self.root} for a part; add some")
        return [self.subset(part) for part in (*learned, report)]


class CelebA(People, data_load.CelebA):
    """CelebA with `identity_CelebA.txt`; the official partition is kept, its validation part dealt out."""

    source, folder = "celeba", "CelebA"

    def _people(self):
        identities = self.read_list("identity_CelebA", "identity")
        folder = next((f for f in self.PICTURES if (self.root / f).is_dir()), self.PICTURES[-1])
        for name, identity in identities:
            if not identity:
                raise DataError(f"{self.source}: identity_CelebA does not say who {name} is; fetch the file again")
            yield self.root / folder / name, identity


class MeGlass(People, data_load.MeGlass):
    """MeGlass: the identity is in the file's name, and the labels say who wears glasses."""

    folder = "MeGlass"
    _rows = data_load.MeGlass._rows

    def glasses(self) -> np.ndarray:
        """(N,) bool: who wears glasses, wrong labels corrected where they are known."""
        return self.relabel(known_corrections(self)).labels != Label.NONE


class Sample(MeGlass):
    """The synthetic people of `data/sample`, in the layout of MeGlass."""

    source = "sample"


class Pictures(People):
    """Any folder of pictures of people whom nobody knows. A seventh of them is only reported, as of `folder`."""

    source = "pictures"
    several_folders = holds_back = True

    def _people(self):
        named = self.root.resolve().name.lower().startswith(("lfw", "ytf"))
        if named or any((self.root / sign).exists() for sign in ("lfw-deepfunneled", "training_frames_keypoints.csv")):
            raise DataError(f"{self.source}: {self.root}: {NEVER}")
        return ((file, "") for file in pictures_below(self.root))


class Pair(NamedTuple):
    """Two pictures of LFW by their places in `files`, whether they show the same person, and their fold, from 0."""

    first: int
    second: int
    same: bool
    fold: int


class LFW(People):
    """Huang et al.: "Labeled Faces in the Wild", 2007: a folder a person, <person>/<person>_0001.jpg, and `pairs.txt`.

    The folders lie in `root` or in its `lfw-deepfunneled/` or `lfw/`; the pairs there or beside it, also named
    `lfw_pairs.txt`. It is only measured on.
    """

    source, folder = "lfw", "LFW"
    trains = False
    PAIRS = ("pairs.txt", "lfw_pairs.txt")

    def _people(self):
        inner = [self.root / name for name in ("lfw-deepfunneled", "lfw") if (self.root / name).is_dir()]
        for person in subfolders(inner[0] if inner else self.root):
            for file in pictures_below(person):
                yield file, person.name

    def pairs(self) -> list[Pair]:
        """The official pairs of ten folds. Raises DataError for another list, and for a picture that is not there."""
        folder = self.root if any((self.root / name).is_file() for name in self.PAIRS) else self.root.parent
        path = find_file(folder, self.source, self.PAIRS)
        lines = [line.split() for line in read_text(path, self.source).splitlines() if line.strip()]
        try:
            folds, half = map(int, lines[0])
            if len(lines) != 1 + 2 * folds * half:
                raise ValueError(f"{len(lines) - 1} pairs, not {2 * folds * half}")
            places = {(file.parent.name, file.stem): i for i, file in enumerate(self.files)}
            return [self._pair(words, places, i // (2 * half)) for i, words in enumerate(lines[1:])]
        except (ValueError, IndexError, KeyError) as error:
            reason = f"no picture {error}" if isinstance(error, KeyError) else error
            raise DataError(f"{self.source}: {path} is no list of pairs of {self.root}: {reason}") from error

    @staticmethod
    def _pair(words: Sequence[str], places: dict[tuple[str, str], int], fold: int) -> Pair:
        """Of the words "person 1 4", or "person 1 other 2"."""
        if len(words) not in (3, 4):
            raise ValueError(f"a line of {len(words)} words: {' '.join(words)}")
        first, second = (words[0], words[1]), (words[-2] if len(words) == 4 else words[0], words[-1])
        one, other = (places[person, f"{person}_{int(number):04d}"] for person, number in (first, second))
        return Pair(one, other, len(words) == 3, fold)


DATASETS: dict[str, type[People]] = {
    cls.source: cls for cls in (AgeDB, VGGFace2, CelebA, MeGlass, Sample, Pictures, LFW)
}


def open_people(value: str) -> People:
    """ "NAME" or "NAME=PATH", a name of DATASETS; without a path it lies below data/raw. Raises DataError, one line."""
    name, _, path = value.partition("=")
    if name.lower() in ("ytf", "youtube_faces"):
        raise DataError(f"{name}: {NEVER}")
    if name.lower() not in DATASETS:
        raise DataError(f"unknown data set {name!r}: choose from {', '.join(DATASETS)}")
    cls = DATASETS[name.lower()]
    if not path and cls is Pictures:
        raise DataError(f"{name}: can be anywhere; name its folder, as {name}=PATH")
    root = Path(path) if path else EMBEDDED_DIR / "sample" if cls is Sample else RAW / cls.folder
    if not root.is_dir():
        raise DataError(f"{name}: no folder {root}; put it there, or name its folder, as {name}=PATH")
    return cls(root)
