"""Which faces train, on which is chosen, and on which reported?  Sources opened as `--data meglass=PATH lfw` says.

from sources import load_sources, named_paths
parts = load_sources(named_paths(["meglass=PATH", "lfw"]), {"ffhq": "PATH"})
parts.train, parts.select, parts.report              # each a dictionary: name of the source -> FaceDataset
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_load import SOURCES, CelebA, FaceDataset, Label, Rendered, position, split
from find_data import KNOWN, DataError, find_dataset

TRAIN_BELOW, SELECT_BELOW = 0.8, 0.9  # bounds of `data_load.position`; above is the report part
CELEBA_SELECT_BELOW = 0.5  # of CelebA's official validation part
SPLIT_SEED = 0  # of the data, not of the training: every model is judged on the same faces
HELD, HELD_SEED = 1 / 7, 7  # share of nobody and of plain folders that is never learned from, and the seed of its draw


class Parts(NamedTuple):
    """Faces by the name of their source. Nobody is in two parts of one source.

    train: weights are fitted to them. select: epoch, temperature, threshold and all else that is chosen is chosen on
    them. report: nothing is; only they may be reported as "not trained on".
    """

    train: dict[str, FaceDataset]
    select: dict[str, FaceDataset]
    report: dict[str, FaceDataset]


def named_paths(values: Sequence[str]) -> dict[str, str]:
    """["meglass=PATH", "celeba"] -> {"meglass": "PATH", "celeba": ""}. DataError for an unknown source or one twice."""
    pairs = dict(value.partition("=")[::2] for value in values)
    if len(pairs) < len(values):
        raise DataError(f"a source is named twice: {' '.join(values)}; name it once")
    for name in pairs:
        _source_class(name)
    return pairs


def open_source(name: str, path: str | os.PathLike = "", strict: bool = True, **options) -> FaceDataset:
    """The data set `name` of `SOURCES` in the folder `path`, or, without one, where `find_dataset` finds it.

    strict: as of `FaceDataset`. options: further arguments of its class, as `split` of `CelebA`. Raises DataError.
    """
    source = _source_class(name)
    if name in KNOWN:
        root = find_dataset(name, path or None)
    elif path:
        root = Path(path)
    else:
        raise DataError(f"{name}: can be anywhere; name its folder, as {name}=PATH")
    return source(root, strict=strict, **options)


def load_sources(
    train: dict[str, str],
    validate: dict[str, str],
    corrections: dict[str, dict[str, int]] | None = None,
    strict: bool = True,
) -> Parts:
    """Open the sources, name -> path, and deal out their faces: those of `train` to all three parts.

    People go where `data_load.position` puts them, so that nobody changes sides when a data set grows or is cut. CelebA
    keeps its official training part; its validation part is dealt out to select and report, its test part is reported.
    Of a plain folder and of nobody the share that is `held` is reported, too. `Rendered` faces only train. The sources
    of `validate` are wholly reported: nothing is chosen on them.

    Each is opened by `open_source`. corrections: as `read_corrections` reads them. Raises DataError, also for a source
    that is in both, for `Rendered` faces to validate, and where a part of one would be empty.
    """
    if both := train.keys() & validate.keys():
        raise DataError(f"{both.pop()} is to train and only to validate: name it once")
    if Rendered.source in validate:
        raise DataError(f"{Rendered.source}: these are faces that train; name them in --data")
    parts = Parts({}, {}, {})
    for name, path in train.items():
        whole = open_source(name, path, strict)
        if name == Rendered.source:
            parts.train[name] = whole
            continue
        for part, faces in zip(parts, deal(whole), strict=True):
            part[name] = faces
    for name, path in validate.items():
        parts.report[name] = open_source(name, path, strict)
    for part in parts:
        for name in part:
            part[name] = part[name].relabel((corrections or {}).get(name, {}))
    return parts


def held_back(name: str) -> bool:
    """Whether the picture of this name, of nobody or of a plain folder, is of the share that is never learned from."""
    return position(name, HELD_SEED) < HELD


def held(faces: FaceDataset, file: Path) -> bool:
    """Whether a file of this source is of the share that is never learned from; of most sources none is."""
    return faces.holds_back and held_back(faces.picture_name(file))


def about_glasses(part: dict[str, FaceDataset]) -> dict[str, FaceDataset]:
    """The sources of a part whose faces have an answer about glasses: without those that show nobody."""
    return {name: faces for name, faces in part.items() if (faces.labels != Label.NOBODY).any()}


def deal(whole: FaceDataset) -> list[FaceDataset]:
    """The train, the select and the report part of a source, as `load_sources` deals it out. Raises DataError."""
    return _deal_celeba(whole) if whole.source == CelebA.source else _deal(whole)


def _deal(whole: FaceDataset) -> list[FaceDataset]:
    """The three parts of a source."""
    parts = split(whole, (TRAIN_BELOW, SELECT_BELOW - TRAIN_BELOW, 1 - SELECT_BELOW), SPLIT_SEED)
    if not whole.holds_back:
        return parts
    learned = [part.subset([i for i, file in enumerate(part.files) if not held(whole, file)]) for part in parts[:2]]
    if not all(map(len, learned)):
        raise DataError(f"{whole.source}: too few faces in {whole.root} to train and to select on; add some")
    used = {file for part in learned for file in part.files}
    return [*learned, whole.subset([i for i, file in enumerate(whole.files) if file not in used])]


def _deal_celeba(whole: CelebA) -> list[FaceDataset]:
    """The three parts of CelebA, which brings an official cut of its own."""
    whole.warn_without_identities()
    official = whole.official_parts()
    for name in ("train", "validation"):
        if name not in official:
            raise DataError(f"celeba: list_eval_partition has no face of the part {name!r} in {whole.root}")
    select, report = split(official["validation"], (CELEBA_SELECT_BELOW, 1 - CELEBA_SELECT_BELOW), SPLIT_SEED)
    reported = {*report.files, *(official["test"].files if "test" in official else ())}
    report = whole.subset([i for i, file in enumerate(whole.files) if file in reported])
    return [official["train"], select, report]


def _source_class(name: str) -> type[FaceDataset]:
    if name not in SOURCES:
        raise DataError(f"unknown source {name!r}: choose from {', '.join(SOURCES)}")
    return SOURCES[name]
