"""Which pictures are compared?  Triplets: a picture, another of the same person, and one of another person.

from recognition.triplets import make_set, open_set
number = make_set(open_people("agedb=PATH"), "test", 1000, seed=0)
triplets = open_set(number)

A set is a folder with a number as its name, data/triplets/1: the chips of its pictures, a table of these, the triplets
as rows of it, and what it was made of. Which they are follows from the seed and from the data set's own names alone, by
a hash: not from the machine, nor from the order in which its folders are listed.
"""

import datetime
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
import pandas as pd

from data_load import position
from find_data import EMBEDDED_DIR, DataError
from recognition.chips import (
    FOUND,
    LEFT_OUT,
    Chips,
    align_pictures,
    chips_folder,
    read_chips,
    read_pictures,
    whole_folder,
    write_chips,
)
from recognition.datasets import People

STORE = EMBEDDED_DIR / "triplets"  # git-ignored
ROLES = ["anchor", "positive", "negative"]
MOST_DRAWS = 50  # for a triplet: a small data set has few, and none is taken twice

Triplet = tuple[int, int, int]  # the anchor, the positive and the negative, as places in `people.files`


@dataclass(frozen=True)
class TripletSet:
    """A set as it lies on disk.

    about: dataset, split, number, seed and date; of the split, the people, those of them with several pictures, and the
    pictures of all; without a face, unreadable: how many of the pictures that were looked at are left out. chips: of
    its M pictures. names, identities: of each its file below the data set's folder, and whose it is. triplets: (N, 3)
    int64, rows of these.
    """

    about: dict
    chips: Chips
    names: list[str]
    identities: list[str]
    triplets: np.ndarray


def draw_triplets(people: People, seed: int) -> Iterator[Triplet]:
    """Triplets without end. Each person who has two pictures is as likely as another.

    The negative is any picture of any other person. Pictures of nobody known are left out. Raises DataError where
    there are no two people, one of them with two pictures.
    """
    pictures: dict[str, list[int]] = {}
    for place in sorted(range(len(people)), key=people.names().__getitem__):
        if people.identities[place]:
            pictures.setdefault(people.identities[place], []).append(place)
    everybody = sorted(pictures)
    several = [number for number, person in enumerate(everybody) if len(pictures[person]) > 1]
    if not several or len(everybody) < 2:
        raise DataError(f"{people.source}: {people.root} has no two people, one of them with two pictures; add some")

    def triplet(number: int) -> Triplet:
        def drawn(what: str, among: int, but: int | None = None) -> int:
            """A number below `among`, another one than `but`."""
            if but is None:
                return int(position(f"triplet {number} {what}", seed) * among)
            other = drawn(what, among - 1)
            return other + (other >= but)

        person = several[drawn("person", len(several))]
        other = drawn("other person", len(everybody), but=person)
        own, others = pictures[everybody[person]], pictures[everybody[other]]
        anchor = drawn("anchor", len(own))
        positive = drawn("positive", len(own), but=anchor)
        return own[anchor], own[positive], others[drawn("negative", len(others))]

    return map(triplet, count())


class _Looked:
    """The pictures of a data set that were searched for a face so far, each once, in rounds."""

    def __init__(self, people: People, cache: Path, workers: int | None):
        self.people, self.cache, self.workers = people, cache, workers
        self.chip_of: dict[int, np.ndarray | None] = {}  # by place; None where no face was found
        self.outcomes: Counter[str] = Counter()
        self.folders: list[Path] = []

    def look(self, places: set[int]) -> None:
        """Align those that were not looked at yet."""
        new = sorted(places - self.chip_of.keys())
        if not new:
            return
        part = self.people.subset(new)
        chips = align_pictures(part, self.cache, self.workers)
        self.folders.append(chips_folder(part, self.cache))
        self.outcomes.update(chips.outcomes.tolist())
        for place, row in zip(new, chips.rows, strict=True):
            self.chip_of[place] = chips.pictures[row] if row >= 0 else None

    def found(self, triplet: Triplet) -> bool:
        """Whether all three pictures show a face."""
        return all(self.chip_of[place] is not None for place in triplet)


def _collect(looked: _Looked, number: int, seed: int) -> list[Triplet]:
    """So many triplets, none of them twice, whose pictures all show a face."""
    people = looked.people
    drawn, kept = islice(draw_triplets(people, seed), MOST_DRAWS * number), {}
    while len(kept) < number and (candidates := list(islice(drawn, number - len(kept)))):
        looked.look({place for triplet in candidates for place in triplet})
        kept |= dict.fromkeys(triplet for triplet in candidates if looked.found(triplet))
    if len(kept) < number:
        few = f"{people.source}: only {len(kept)} different triplets of {number} were drawn from {people.root}"
        raise DataError(f"{few}; ask for fewer")
    return list(kept)


def make_set(
    people: People,
    split: str,
    number: int,
    seed: int = 0,
    store: str | os.PathLike = STORE,
    cache: str | os.PathLike = ".cache",
    workers: int | None = None,
) -> int:
    """Draw triplets of a part of a data set, align their faces, write the set, whole or not at all; returns its number.

    split: of `recognition.datasets.PARTS`. A triplet with a picture in which no face is found is left out, and another
    drawn. Where the command was interrupted the same one goes on. Raises DataError, also where there are fewer triplets
    than `number`, and ValueError for less than one.
    """
    if number < 1:
        raise ValueError(f"a set has at least one triplet, not {number}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, not {seed}")
    part = people.part(split)
    looked = _Looked(part, Path(cache) / "triplets", workers)
    triplets = _collect(looked, number, seed)
    names = part.names()
    used = sorted({place for triplet in triplets for place in triplet}, key=names.__getitem__)
    row_of = {place: row for row, place in enumerate(used)}
    table = pd.DataFrame({"file": [names[place] for place in used], "outcome": FOUND})
    table.insert(1, "identity", [part.identities[place] for place in used])
    faces = Counter(person for person in part.identities if person)
    about = {"dataset": people.source, "split": split, "number": number, "seed": seed}
    about |= {"date": str(datetime.date.today()), "people": len(faces)}
    about |= {"several": sum(of_person > 1 for of_person in faces.values()), "pictures": faces.total()}
    about |= {words: looked.outcomes[outcome] for outcome, words in LEFT_OUT.items()}
    own = 1 + max(set_numbers(store), default=0)
    with whole_folder(Path(store) / str(own)) as partial:
        write_chips(partial, (looked.chip_of[place] for place in used), table)
        rows = [[row_of[place] for place in triplet] for triplet in triplets]
        pd.DataFrame(rows, columns=ROLES).to_csv(partial / "triplets.csv", index=False)
        (partial / "set.json").write_text(json.dumps(about, indent=2) + "\n")
    for folder in looked.folders:  # what is needed of them is in the set
        shutil.rmtree(folder)
    return own


def set_numbers(store: str | os.PathLike = STORE) -> list[int]:
    """The numbers of the sets in a folder, ascending; [] where there is no folder."""
    return sorted(int(path.parent.name) for path in Path(store).glob("*/set.json") if path.parent.name.isdecimal())


def read_about(number: int, store: str | os.PathLike = STORE) -> dict:
    """What a set was made of. Raises DataError where there is none with this number, and where it is damaged."""
    path = Path(store) / str(number) / "set.json"
    if not path.is_file():
        raise DataError(
            f"no triplet set {number} in {store}: `python -m recognition triplets list` shows which there are"
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; delete its folder and make the set anew") from error


def open_set(number: int, store: str | os.PathLike = STORE) -> TripletSet:
    """The set of this number. Raises DataError where there is none, and where it is damaged."""
    about, folder = read_about(number, store), Path(store) / str(number)
    chips, table = read_chips(folder), read_pictures(folder)
    try:
        triplets = pd.read_csv(folder / "triplets.csv", dtype=np.int64)[ROLES].to_numpy()
        if len(triplets) != about["number"] or not ((triplets >= 0) & (triplets < len(table))).all():
            raise ValueError("other triplets than its pictures")
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} is damaged: {error}; delete it and make the set anew") from error
    return TripletSet(about, chips, table["file"].tolist(), table["identity"].tolist(), triplets)


def coverage(triplets: TripletSet) -> dict[str, tuple[int, int]]:
    """(how many the set uses, how many there are in its split) of people, of those with several pictures, as anchors,
    and of pictures."""
    used = np.unique(triplets.triplets)
    anchors = {triplets.identities[row] for row in np.unique(triplets.triplets[:, 0])}
    people = {triplets.identities[row] for row in used}
    counts = {"people": len(people), "several": len(anchors), "pictures": len(used)}
    return {what: (count, triplets.about[what]) for what, count in counts.items()}
