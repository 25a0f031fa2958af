"""What decides the weights of a run?  Its settings, its faces and the networks it was given, known by their content.

config = RunConfig(Settings(epochs=10), digests(train), digests(select))
config.as_dict()                     # in plain types: config.json, the checkpoint, the header of the weights
config.compare(another.as_dict())    # what differs, as {"batch": (256, 64)}, and which versions
"""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from data_load import FaceDataset
from face_cache import CachedFaces
from find_data import DataError
from glasses.crops import CROP, Crop
from models import architecture_of
from sources import SELECT_BELOW, SPLIT_SEED, TRAIN_BELOW

DIGITS = 12  # of a hash in hexadecimal: enough that no two are alike by chance
AS_ON_DISK = {"errors": "surrogateescape"}  # a file's name need not be text


@dataclass(frozen=True)
class Settings:
    """What one may choose for a run.

    The schedule: epochs; batch, the faces of a step; lr, the highest learning rate of the cycle; seed.
    The task: strength of the augmentation, 0 for none; donors, the source whose bare faces lend others the lower half,
    as `augment.BorrowLowerFace`; hints, the weight of the teachers' maps (`Distillation`), 1
    where there are teachers; keep, the share of the first weights in the final ones, where training starts from a
    network.
    The network, where none is given: architecture, widths and crop, as `models.make_model` takes them.
    bfloat16: compute in numbers of 16 bits; on CUDA without it in float16.
    """

    epochs: int = 60
    batch: int = 256
    lr: float = 4e-3
    seed: int = 0
    strength: float = 1.0
    donors: str = ""
    hints: float | None = None
    keep: float = 0.0
    architecture: str = "GlassesCNN"
    widths: Sequence[int] | None = None
    crop: Crop = CROP
    bfloat16: bool = False

    def check(self, started: bool, taught: bool) -> None:
        """Raise ValueError, one line, where no run can have these. started: from a network; taught: by teachers."""
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        for name in ("strength", "hints"):
            if not 0 <= (getattr(self, name) or 0) < math.inf:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep must be between 0 and 1, not {self.keep}")
        if self.keep and not started:
            raise ValueError("keep is a share of the weights that training starts from: name them with --init")
        if self.hints is not None and not taught:
            raise ValueError("hints weigh the maps of teachers: name one with --teacher")


class Difference(NamedTuple):
    """A value of another run, and the one of this."""

    then: object
    now: object


@dataclass(frozen=True)
class RunConfig:
    """All that decides the weights of a run. Raises ValueError, one line, where its settings make no sense.

    train, select: a hash of the faces of each source, `digests`. split: `split_digest` of how they were dealt out.
    corrections: `corrections_digest`. start, teachers: `weights_digest` of the networks that were given. world: the
    processes that share a batch. extended: the epochs that the run was to have before it was given more.
    versions: `versions` of the packages that compute.
    """

    settings: Settings
    train: dict[str, str]
    select: dict[str, str]
    split: str = ""
    corrections: str = ""
    start: str = ""
    teachers: Sequence[str] = ()
    world: int = 1
    extended: Sequence[int] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings.check(bool(self.start), bool(self.teachers))

    def as_dict(self) -> dict:
        """Settings and all else by name, in the types that JSON has."""
        others = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "settings"}
        return json.loads(json.dumps(asdict(self.settings) | others))

    def compare(self, other: dict) -> tuple[dict[str, Difference], dict[str, Difference]]:
        """What differs from the `as_dict` of another run, by name: first what decides, then versions."""
        then, now = _flat(other), _flat(self.as_dict())
        names = [name for name in dict.fromkeys([*now, *then]) if then.get(name) != now.get(name)]
        differing = {name: Difference(then.get(name), now.get(name)) for name in names}
        of_versions = {name: value for name, value in differing.items() if name.startswith("versions ")}
        return {name: value for name, value in differing.items() if name not in of_versions}, of_versions


def in_words(differences: dict[str, Difference]) -> str:
    """ "batch was 256, is 64; train lfw was nothing, is 700 faces 31b2..." """
    return "; ".join(f"{name} was {_word(one.then)}, is {_word(one.now)}" for name, one in differences.items())


def _word(value: object) -> str:
    return "nothing" if value in (None, "", []) else str(value)


def _flat(config: dict) -> dict[str, object]:
    """{"seed": 0, "train": {"lfw": x}} -> {"seed": 0, "train lfw": x}."""
    flat = {}
    for name, value in config.items():
        flat |= {f"{name} {key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat


# -------------------------------------------------------------------------------------- known by their content


def digests(sources: dict[str, CachedFaces]) -> dict[str, str]:
    """Of each source, how many faces, and a hash of their crops, labels and file names, in their order."""
    return {name: f"{len(faces)} faces {_faces_digest(faces)}" for name, faces in sources.items()}


def _faces_digest(faces: CachedFaces) -> str:
    digest = hashlib.sha256(repr(faces.crops.shape[1:]).encode())
    for file, label in zip(faces.files, faces.labels, strict=True):
        digest.update(f"{_short(file)} {label}\n".encode(**AS_ON_DISK))
    for rows in np.array_split(faces.rows, math.ceil(len(faces) / 256)):
        digest.update(faces.crops[rows].ravel())
    return digest.hexdigest()[:DIGITS]


def _short(file: Path) -> str:
    """As much of a path as corrections may name: the same wherever the data set lies."""
    return f"{file.parent.name}/{file.name}"


def weights_digest(network: nn.Module) -> str:
    """Of the architecture, and of all weights and batch statistics."""
    digest = hashlib.sha256(f"{type(network).__name__} {architecture_of(network)}".encode())
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:DIGITS]


def split_digest(parts: Sequence[dict[str, FaceDataset]]) -> str:
    """The bounds and the seed of sources.py, and a hash of which file of which source is in which part.

    Only sources that are in all parts count: of the others nothing is dealt out.
    """
    digest = hashlib.sha256()
    for number, part in enumerate(parts):
        for name in sorted(set.intersection(*map(set, parts))):
            for file in part[name].files:
                digest.update(f"{number} {name} {_short(file)}\n".encode(**AS_ON_DISK))
    return f"{TRAIN_BELOW} {SELECT_BELOW} seed {SPLIT_SEED} {digest.hexdigest()[:DIGITS]}"


def corrections_digest(corrections: dict[str, dict[str, int]] | None, sources: Iterable[str]) -> str:
    """Of the corrections of these sources; "" where there are none."""
    given = {name: corrections[name] for name in sorted(sources) if (corrections or {}).get(name)}
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:DIGITS] if given else ""


def check_corrections(corrections: dict[str, dict[str, int]], *parts: dict[str, FaceDataset]) -> None:
    """Raise DataError that names the corrections which are of no face, in the sources that were opened.

    parts: the faces by source, such as `sources.load_sources` deals them out. A face that is on the disk in a folder
    of its source, but in no part, was left out on purpose.
    """
    for source in dict.fromkeys(name for part in parts for name in part):
        files = {file for part in parts for file in (part[source].files if source in part else ())}
        known = {key for file in files for key in (file.name, _short(file))}
        lost = [key for key in corrections.get(source, {}) if key not in known]
        folders = {folder for file in files for folder in (file.parent, file.parent.parent)} if lost else ()
        lost = [key for key in lost if not any((folder / key).is_file() for folder in folders)]
        if lost:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            raise DataError(f"corrections: no face of {source} is {', '.join(lost[:3])}{more}; fix these rows")


def versions(faces: Iterable[CachedFaces]) -> dict[str, str]:
    """Of torch, torchvision, numpy, and of what found and cut these faces."""
    packages = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy")}
    for one in faces:
        packages |= one.packages
    return packages
