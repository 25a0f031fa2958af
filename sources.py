"""Which faces train, and which validate?  Data sets opened by name, as `--data meglass=PATH lfw` names them.

from sources import load_sources, named_paths
train, validation = load_sources(named_paths(["meglass=PATH", "lfw"]), {"ffhq": "PATH"})
"""

import os
from collections.abc import Sequence
from pathlib import Path

from data_load import SOURCES, CelebA, FaceDataset, split
from find_data import KNOWN, DataError, find_dataset

VALIDATION_SHARE = 0.2
SPLIT_SEED = 0  # of the data, not of the training: every model is validated on the same faces


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
) -> tuple[dict[str, FaceDataset], dict[str, FaceDataset]]:
    """Open and split the sources: name -> path for those that train, and for those that only validate.

    Each is opened by `open_source`. corrections: as `read_corrections` reads them. Returns the training parts and the
    validation parts. Raises DataError, also for a source that is in both.
    """
    if both := train.keys() & validate.keys():
        raise DataError(f"{both.pop()} is to train and only to validate: name it once")
    training: dict[str, FaceDataset] = {}
    validation: dict[str, FaceDataset] = {}
    for name, path in train.items():
        if name == CelebA.source:
            training[name] = open_source(name, path, strict, split="train")
            validation[name] = open_source(name, path, strict, split="validation")
            training[name].warn_without_identities()
        else:
            whole = open_source(name, path, strict)
            training[name], validation[name] = split(whole, (1 - VALIDATION_SHARE, VALIDATION_SHARE), SPLIT_SEED)
    for name, path in validate.items():
        validation[name] = open_source(name, path, strict)
    for part in (training, validation):
        for name in part:
            part[name] = part[name].relabel((corrections or {}).get(name, {}))
    return training, validation


def _source_class(name: str) -> type[FaceDataset]:
    if name not in SOURCES:
        raise DataError(f"unknown source {name!r}: choose from {', '.join(SOURCES)}")
    return SOURCES[name]
