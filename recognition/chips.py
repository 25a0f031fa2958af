"""How is a face found and aligned only once?  The chips of many pictures, kept as one array on disk, and a table.

from recognition.chips import align_pictures
chips = align_pictures(people)                       # in parallel; what was interrupted goes on where it was
chips.pictures[chips.rows[17]]                       # (144, 144, 3) uint8, of people.files[17], where its row is not -1
"""

import hashlib
import inspect
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from detector_architectures import load_detector
from face_cache import alignment_digest, crops_digest
from find_data import DataError
from glasses.files import whole_file
from glasses.keypoints import open_keypoints
from glasses.photos import PhotoError, read_image
from glasses.pipeline import find_faces
from glasses.recognizer import CHIP, PLACES, align_chip, chip_matrix
from recognition.datasets import People
from recognition.views import MARGIN, Views

SIDE = CHIP.width + 2 * MARGIN  # pixels
BLOCK = 256  # pictures that are written at once: of an interrupted run so many are looked at again at most
FOUND, NO_FACE, UNREADABLE = "found", "no face", "unreadable"  # what became of a picture
LEFT_OUT = {NO_FACE: "without a face", UNREADABLE: "unreadable"}
ARRAY, TABLE, DIGEST = "chips.npy", "pictures.csv", "digest.txt"
Network = Callable[[np.ndarray], np.ndarray]  # (N, 112, 112, 3) uint8 -> (N, D) float32 of length 1


@dataclass(frozen=True)
class Chips:
    """The aligned faces of some pictures.

    pictures: (M, 144, 144, 3) uint8, in memory, or mapped from a file. rows: (N,) int64, the place in `pictures` of
    each picture that was looked at, -1 where no face was found. outcomes: (N,) FOUND, NO_FACE or UNREADABLE. digest:
    of their content.
    """

    pictures: Sequence[np.ndarray]
    rows: np.ndarray
    outcomes: np.ndarray
    digest: str

    def left_out(self) -> str:
        """How many pictures are left out, and why, in words; "" where none is."""
        counts = Counter(self.outcomes.tolist())
        return " and ".join(f"{counts[name]} {words}" for name, words in LEFT_OUT.items() if counts[name])

    def views(self, seed: int = 0, chosen: Sequence[int] | None = None) -> Views:
        """The views of the faces that were found, or of those at the places `chosen` of `pictures`."""
        views = Views(self.pictures, self.digest, seed)
        return views if chosen is None else part(views, chosen)

    def vectors(self, network: Network, batch: int = 64) -> np.ndarray:
        """(N, D) float32 of length 1: what a network says of each picture, NaN where no face was found.

        Raises DataError where there is no face at all.
        """
        views, answers = self.views(), []
        for start in tqdm(range(0, len(views), batch), desc="embedding", disable=None, leave=False):
            faces = range(start, min(start + batch, len(views)))
            answers.append(network(np.stack([views.view(face, 0) for face in faces])))
        if not answers:
            raise DataError("no face was found in any of the pictures; are these photos of people?")
        known = np.concatenate(answers)
        vectors = np.full((len(self.rows), known.shape[1]), np.nan, np.float32)
        vectors[self.rows >= 0] = known[self.rows[self.rows >= 0]]
        return vectors


class Joined:
    """Several arrays as one, or only some places of it; an item is read from the array it lies in when it is asked."""

    def __init__(self, arrays: Sequence[Sequence[np.ndarray]], places: np.ndarray | None = None):
        self.arrays = list(arrays)
        self.starts = np.cumsum([0, *map(len, self.arrays)])
        self.places = np.arange(self.starts[-1]) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> np.ndarray:
        place = self.places[index]
        array = int(np.searchsorted(self.starts, place, side="right")) - 1
        return self.arrays[array][place - self.starts[array]]


def join(views: Sequence[Views]) -> Views:
    """The faces of several as one, drawn with the seed of the first."""
    if len(views) == 1:
        return views[0]
    digest = hashlib.sha256(" ".join(one.digest for one in views).encode()).hexdigest()[:16]
    return Views(Joined([one.pictures for one in views]), digest, views[0].seed)


def part(views: Views, chosen: Sequence[int]) -> Views:
    """Those of the faces at these places."""
    places = np.asarray(chosen, np.int64)
    digest = hashlib.sha256(views.digest.encode() + places.tobytes()).hexdigest()[:16]
    return Views(Joined([views.pictures], places), digest, views.seed)


def align_pictures(people: People, cache: str | os.PathLike = ".cache", workers: int | None = None) -> Chips:
    """The chips of all pictures of a data set: of each its main face, aligned by the landmarks of the key points.

    cache: where they are kept, each list of pictures in a folder of its own (`chips_folder`), which appears whole or
    not at all; an interrupted run goes on. workers: threads, as many as there are cores where it is None.
    Raises ValueError for less than one worker.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    folder = chips_folder(people, cache)
    if not folder.is_dir():
        blocks = folder.with_suffix(".blocks")
        files = _write_blocks(people, blocks, workers)
        _join_blocks(people, files, folder)
        shutil.rmtree(blocks)
    return read_chips(folder)


def chips_folder(people: People, cache: str | os.PathLike = ".cache") -> Path:
    """Where `align_pictures` keeps its chips: other pictures, another detector or another geometry, another folder."""
    code = [inspect.getsource(function) for function in (chip_matrix, align_chip, align_picture)]
    mark = crops_digest(people, load_detector("auto"), CHIP, alignment_digest(), MARGIN, PLACES.tolist(), code)
    return Path(cache) / f"chips-{people.source}-{mark}"


def align_picture(file: Path, detector) -> tuple[str, np.ndarray | None]:
    """What became of a picture, and where a face is found its chip with a margin, (144, 144, 3) uint8."""
    try:
        image, _ = read_image(file)
    except PhotoError:
        return UNREADABLE, None
    faces = find_faces(detector, image)[:1]
    if not faces:
        return NO_FACE, None
    (five,) = open_keypoints().exact(image, [faces[0].landmarks])
    return FOUND, align_chip(image, five, MARGIN)


def _write_blocks(people: People, folder: Path, workers: int | None) -> list[Path]:
    """The chips and outcomes of all pictures, a file a BLOCK; those that are there already are kept."""
    detector, blocks = load_detector("auto"), []
    progress = tqdm(total=len(people), desc=f"aligning {people.source}", disable=None)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool, progress:
        for start in range(0, len(people), BLOCK):
            files = people.files[start : start + BLOCK]
            blocks.append(folder / f"{start}.npz")
            if blocks[-1].is_file():
                progress.update(len(files))
                continue
            outcomes, chips = [], []
            for outcome, chip in pool.map(lambda file: align_picture(file, detector), files):
                outcomes.append(outcome)
                if chip is not None:
                    chips.append(chip)
                progress.update()
            with whole_file(blocks[-1]) as partial, open(partial, "wb") as file:
                np.savez(file, outcomes=outcomes, chips=np.array(chips, np.uint8).reshape(-1, SIDE, SIDE, 3))
    return blocks


def _join_blocks(people: People, blocks: Sequence[Path], folder: Path) -> None:
    """What `read_chips` reads, of the files of `_write_blocks`."""

    def blocks_of(name: str) -> Iterator[np.ndarray]:
        for path in blocks:
            with np.load(path) as block:
                yield block[name]

    outcomes = np.concatenate(list(blocks_of("outcomes")))
    table = pd.DataFrame({"file": people.names(), "identity": people.identities, "outcome": outcomes})
    chips = (chip for of_block in blocks_of("chips") for chip in of_block)
    with whole_folder(folder) as partial:
        write_chips(partial, chips, table)


def write_chips(folder: Path, chips: Iterable[np.ndarray], table: pd.DataFrame) -> None:
    """Write what `read_chips` reads into a folder. table: file, identity and outcome of each picture.

    chips: (144, 144, 3) uint8 of each row of the table whose outcome is FOUND.
    """
    digest, count = hashlib.sha256(), int((table["outcome"] == FOUND).sum())
    array = np.lib.format.open_memmap(folder / ARRAY, "w+", np.uint8, (count, SIDE, SIDE, 3))
    for place, chip in zip(range(count), chips, strict=True):
        array[place] = chip
        digest.update(array[place])
    array.flush()
    table.to_csv(folder / TABLE, index=False, errors="surrogateescape")
    (folder / DIGEST).write_text(digest.hexdigest()[:16])


def read_chips(folder: Path) -> Chips:
    """The chips that `write_chips` wrote. Raises DataError where the folder holds none, or not whole."""
    try:
        found = read_pictures(folder)["outcome"].to_numpy(str)
        rows = np.where(found == FOUND, np.cumsum(found == FOUND) - 1, -1)
        return Chips(np.load(folder / ARRAY, mmap_mode="r"), rows, found, (folder / DIGEST).read_text())
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} holds no chips: {error}; delete it, and they are made anew") from error


def read_pictures(folder: Path) -> pd.DataFrame:
    """The table of a folder of `write_chips`: file, identity and outcome, as strings."""
    return pd.read_csv(folder / TABLE, dtype=str, keep_default_na=False, encoding_errors="surrogateescape")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path`; what is written there becomes `path` at the end, whole or not at all.

    Where another process has made `path` meanwhile, FileExistsError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield partial
        if path.exists():
            raise FileExistsError(f"{path} is there already")
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
