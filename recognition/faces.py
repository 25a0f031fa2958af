"""Which faces teach, and on which is chosen?  Data sets and triplet sets, named as on the command line.

from recognition.faces import training_views
train, select = training_views(["celeba=PATH", "3"])
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_load import position
from find_data import DataError
from recognition.chips import Chips, align_pictures, join, part
from recognition.datasets import NEVER, People, open_people
from recognition.teachers import Teacher
from recognition.triplets import STORE, open_set
from recognition.views import Views

# The cosine from which a face of a data set is taken for someone of another: of 2,760 faces of MeGlass, none of whose
# people is known to be in LFW, 97 in 100 stay below it with each of the 10,480 faces there, by a MobileFaceNet.
ALIKE = 0.62
BLOCK = 1024  # faces that are compared with all others at once
SHARE_SEED = 19  # of the draw of a share of the faces
SELECTED, SELECT_SEED = 0.1, 18  # share of a triplet set's people on whom the epoch is chosen, and the seed of its draw


@dataclass(frozen=True)
class Known:
    """Faces of people who are known: (N,) chips, the names of their files, and whose they are."""

    chips: Chips
    names: list[str]
    identities: list[str]


def open_learners(value: str) -> People:
    """The data set "NAME" or "NAME=PATH". Raises DataError, also for one whose people never train."""
    people = open_people(value)
    if not people.trains:
        raise DataError(f"{people.source}: {NEVER}")
    return people


def training_views(
    values: Sequence[str],
    seed: int = 0,
    store: str | os.PathLike = STORE,
    cache: str | os.PathLike = ".cache",
    workers: int | None = None,
) -> tuple[Views, Views]:
    """The faces to train on, and those of other people to choose the epoch on.

    values: data sets, whose train and select part they are; or numbers of triplet sets, of whose people a tenth is
    chosen on. Raises DataError, also where people who are measured on would train.
    """
    pairs = [
        _of_set(int(value), seed, store) if value.isdecimal() else _of_people(value, seed, cache, workers)
        for value in values
    ]
    train, select = zip(*pairs, strict=True)
    return join(train), join(select)


def strangers(views: Views, teacher: Teacher, value: str, cache: str | os.PathLike, workers: int | None) -> Views:
    """The faces whom the teacher takes for nobody of the data set "NAME=PATH", whose vectors stay below ALIKE.

    Who is to be measured on must not train: celebrities are in many data sets. Raises DataError.
    """
    people = open_people(value)
    others = align_pictures(people, cache, workers).vectors(teacher)
    others = others[~np.isnan(others[:, 0])]
    own = views.answers(teacher, 0, cache)
    nearest = np.concatenate([(own[i : i + BLOCK] @ others.T).max(1) for i in range(0, len(own), BLOCK)])
    kept = np.flatnonzero(nearest < ALIKE)
    print(f"left out: {len(own) - len(kept)} of {len(own)} faces that the teacher takes for someone of {people.source}")
    if not len(kept):
        raise DataError(f"{value}: the teacher takes every face for someone of it; does it tell people apart?")
    return part(views, kept)


def share_of(views: Views, share: float) -> Views:
    """About this share of the faces, drawn by a hash: a larger share holds all of a smaller one."""
    return part(views, [face for face in range(len(views)) if position(f"face {face}", SHARE_SEED) < share])


def _of_people(value: str, seed: int, cache: str | os.PathLike, workers: int | None) -> tuple[Views, Views]:
    people, parts = open_learners(value), []
    for name in ("train", "select"):
        chips = align_pictures(people.part(name), cache, workers)
        if not len(chips.pictures):
            raise DataError(
                f"{people.source}: no face in any picture of the part {name} in {people.root}; are they photos?"
            )
        left_out = chips.left_out()
        print(f"{name} {people.source}: {len(chips.pictures)} faces{f'; left out: {left_out}' if left_out else ''}")
        parts.append(chips.views(seed))
    return parts[0], parts[1]


def _of_set(number: int, seed: int, store: str | os.PathLike) -> tuple[Views, Views]:
    triplets = open_set(number, store)
    if triplets.about["split"] != "train":
        split = triplets.about["split"]
        raise DataError(f"set {number} is of the split {split}, whose people never train: make one with --split train")
    selected = np.array([position(person, SELECT_SEED) < SELECTED for person in triplets.identities])
    if not 0 < selected.sum() < len(selected):
        raise DataError(f"set {number} has too few people to train and to choose an epoch on; make a larger one")
    print(f"train set {number}: {(~selected).sum()} faces; select: {selected.sum()}")
    train, select = (triplets.chips.views(seed, np.flatnonzero(chosen)) for chosen in (~selected, selected))
    return train, select


def known_faces(
    values: Sequence[str], part: str, cache: str | os.PathLike = ".cache", workers: int | None = None
) -> dict[str, Known]:
    """The faces of one part of data sets, by name; those of nobody known are left out. part: of `datasets.PARTS`.

    Raises DataError, also where nobody is known at all.
    """
    faces = {}
    for value in values:
        people = open_learners(value)
        chosen = people.part(part)
        if any(chosen.identities):
            faces[people.source] = Known(align_pictures(chosen, cache, workers), chosen.names(), chosen.identities)
    if not faces:
        raise DataError(f"nobody is known by name in {' '.join(values)}: pictures of known people are needed")
    return faces
