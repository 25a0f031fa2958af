"""What is to be done, and what of it is done?  The plan of a batch, in its output folder.

    DIR/part-00000-<hash>.parquet    the answers for the first 4,096 paths; there as soon as all of them are
    DIR/_plan/plan.json              the settings, and the hash of each part; no part is begun before it is there
    DIR/_plan/manifest.parquet       the sorted paths, a row group a part
    DIR/_plan/run.json               when the last run began, with how many workers, and which parts failed in it

The hash of a part is over its paths, the networks and the options: a file of that name holds these answers and no
others. Readers of Parquet folders (pandas, Spark) pass over what begins with an underscore.
"""

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from detector_architectures.finder import WEIGHTS as FINDER

from . import __version__
from .batch_manifest import is_manifest, is_remote, open_file, read_input, sort_paths, write_paths
from .classifiers import WEIGHTS
from .files import whole_file
from .keypoints import KEYPOINTS

HIDDEN = "_plan"
DECIDING = ("detector", "threshold", "any", "assume_face")  # options that decide the answers


class PlanError(Exception):
    """The batch cannot begin or go on; one line that names what is in the way, and the mend."""


def settings_of(options: argparse.Namespace) -> dict:
    """All that decides the answers but the photos: the options, and the networks by their content. Raises OSError."""
    model = Path(options.model)
    file = model if model.suffix else WEIGHTS / f"{options.model}.onnx"
    networks = {"model": file, "keypoints": KEYPOINTS}
    if options.detector in ("auto", "finder"):
        networks["finder"] = FINDER
    hashes = {name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for name, file in networks.items()}
    return {name: getattr(options, name) for name in DECIDING} | hashes | {"version": __version__}


def input_of(options: argparse.Namespace) -> dict:
    """Which photos are meant: the folder or list, and of a list its content. Raises OSError, ImportError."""
    source, content = options.input, None
    if is_manifest(source):
        with open_file(source) as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    place = source if is_remote(source) else os.path.abspath(source)
    return {"input": place, "content": content, "recursive": options.recursive, "shard": options.shard}


@dataclass
class Plan:
    """A batch that was planned.

    output: its folder. settings, source: what `settings_of` and `input_of` say. folder: where relative paths begin.
    model: the name or file of the network. photos: how many. parts: the hash of each part. protocols: of the paths
    that lie elsewhere.
    """

    output: str
    settings: dict
    source: dict
    folder: str
    model: str
    photos: int
    parts: list[str]
    protocols: list[str]

    def file(self, number: int) -> Path:
        """Where the answers of a part are, or will be."""
        width = max(5, len(str(len(self.parts) - 1)))
        return Path(self.output) / f"part-{number:0{width}}-{self.parts[number]}.parquet"

    def size(self, number: int) -> int:
        """How many photos a part has."""
        shard = self.source["shard"]
        return min(shard, self.photos - number * shard)

    def paths(self, number: int) -> list[bytes]:
        """The paths of a part, in order."""
        return self._manifest.read_row_group(number).column(0).to_pylist()

    @cached_property
    def _manifest(self) -> pq.ParquetFile:
        return pq.ParquetFile(Path(self.output) / HIDDEN / "manifest.parquet")

    def done(self) -> list[int]:
        """The numbers of the parts that are there."""
        there = set(_tables(self.output))
        return [number for number in range(len(self.parts)) if self.file(number).name in there]

    def check_there(self) -> None:
        """Raises FileNotFoundError where the folder has gone meanwhile, as a disk that is not mounted any more."""
        if not (Path(self.output) / HIDDEN / "plan.json").is_file():
            raise FileNotFoundError(f"{self.output} holds this batch no more: put it back")

    def strangers(self) -> list[str]:
        """Tables in the folder that are of no part."""
        ours = {self.file(number).name for number in range(len(self.parts))}
        return sorted(name for name in _tables(self.output) if name not in ours)


def _tables(output: str | os.PathLike) -> Iterator[str]:
    return (file.name for file in Path(output).glob("*.parquet"))


def load_plan(output: str | os.PathLike) -> Plan:
    """The plan in a folder. Raises PlanError where there is none, or none that can be read."""
    file = Path(output) / HIDDEN / "plan.json"
    try:
        return Plan(output=os.path.abspath(output), **json.loads(file.read_text()))
    except FileNotFoundError as error:
        raise PlanError(f"{output} holds no batch: `glasses batch INPUT --output {output}` begins one") from error
    except (OSError, ValueError, TypeError) as error:
        raise PlanError(f"{file} cannot be read ({error}): give another --output") from error


def make_plan(options: argparse.Namespace) -> tuple[Plan, bool]:
    """The plan in the folder of --output, made where there is none, and whether it was there already.

    Raises PlanError where the folder holds another batch; OSError, ValueError and ImportError of the input.
    """
    output, settings, source = Path(options.output), settings_of(options), input_of(options)
    held = (output / HIDDEN / "plan.json").is_file()
    if held:
        plan = load_plan(output)
        if other := _differences(plan.settings | plan.source, settings | source):
            raise PlanError(f"{output} holds a batch with other settings ({other}): give the same, or another --output")
    elif found := sorted(_tables(output)):
        raise PlanError(f"{output} holds {found[0]}, which is of no batch known there: give another --output")
    else:
        plan = _write_plan(options, settings, source)
    if strangers := plan.strangers():
        raise PlanError(f"{output} holds {strangers[0]}, which is not of this batch: take it away")
    return plan, held


def _differences(before: Mapping, now: Mapping) -> str:
    """ "threshold was None and is 0.5"."""
    return ", ".join(f"{key} was {before.get(key)!r} and is {now[key]!r}" for key in now if before.get(key) != now[key])


def _write_plan(options: argparse.Namespace, settings: dict, source: dict) -> Plan:
    hidden = Path(options.output) / HIDDEN
    pieces = hidden / "sort"
    shutil.rmtree(pieces, ignore_errors=True)  # of a run that was killed
    pieces.mkdir(parents=True)
    parts, protocols, photos = [], set(), 0
    mark = json.dumps(settings, sort_keys=True).encode()

    def in_parts() -> Iterator[list[bytes]]:
        nonlocal photos
        paths = sort_paths(read_input(options.input, options.recursive), pieces)
        while part := list(islice(paths, options.shard)):
            parts.append(hashlib.sha256(b"\0".join([mark, *part])).hexdigest()[:16])
            protocols.update(_protocols(part))
            photos += len(part)
            yield part

    try:
        with whole_file(hidden / "manifest.parquet") as partial:
            write_paths(partial, in_parts())
            if not parts:
                raise ValueError(f"{options.input} names no photos")
    finally:
        shutil.rmtree(pieces, ignore_errors=True)
    model = os.path.abspath(options.model) if Path(options.model).suffix else options.model
    plan = Plan(str(options.output), settings, source, os.getcwd(), model, photos, parts, sorted(protocols))
    write_json(hidden / "plan.json", {key: value for key, value in asdict(plan).items() if key != "output"})
    return load_plan(options.output)


def _protocols(paths: Iterable[bytes]) -> set[str]:
    return {path.partition(b"://")[0].decode(errors="replace") for path in paths if is_remote(path)}


def write_json(file: Path, content: dict) -> None:
    """Written whole, and on the disk when this returns."""
    with whole_file(file) as partial, open(partial, "w") as opened:
        json.dump(content, opened)
        opened.flush()
        os.fsync(opened.fileno())


def last_run(plan: Plan) -> dict:
    """What run.json holds: began (seconds since 1970), engine, workers, failed (number of a part -> why); or {}."""
    try:
        return json.loads((Path(plan.output) / HIDDEN / "run.json").read_text())
    except (OSError, ValueError):
        return {}


@contextmanager
def locked(output: str | os.PathLike) -> Iterator[None]:
    """The folder, made where it is missing, for this run alone. Raises PlanError where another one is at work there."""
    import fcntl  # not on Windows

    hidden = Path(output) / HIDDEN
    hidden.mkdir(parents=True, exist_ok=True)
    with open(hidden / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlanError(f"another run is at work in {output}: wait for it, or give another --output") from error
        yield


def is_locked(output: str | os.PathLike) -> bool:
    """Whether a run is at work there."""
    try:
        with locked(output):
            return False
    except PlanError:
        return True
