"""How is a face found only once?  The crops of a data set, cut and kept as one array on disk, and drawn in batches.

from face_cache import CachedFaces
faces = CachedFaces(dataset, load_detector("auto"))
crops, labels = faces[np.arange(32)]                 # (32, 3, 96, 144) uint8, (32,) int64
"""

import copy
import hashlib
import importlib.metadata
import inspect
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

import detector_architectures
import glasses.crops
import glasses.keypoints
from data_load import FaceDataset, Label
from detector_architectures import DETECTORS
from detector_architectures.finder import WEIGHTS as FINDER
from glasses.crops import CROP, Crop
from glasses.files import remove_partials, whole_file
from glasses.keypoints import KEYPOINTS
from glasses.photos import MAX_SIDE
from glasses.pipeline import cut_faces, find_faces

DETECTOR_FILES = [*Path(detector_architectures.__file__).parent.glob("*.py"), FINDER]  # what they do, and know


class CachedFaces(Dataset):
    """Faces of a data set found, aligned and kept as one memory-mapped array: an epoch decodes no JPEG.

    crops: (N, H, W, 3) uint8, cut by `glasses.pipeline.cut_faces` with MARGIN times the size of the network's
    crop, so that the training transforms can shift and turn it. Where no face is found it is the centre of the
    picture. labels: (N,) int64. rows: (N,) the face's place in `crops`, for a part of a data set.
    packages: `detector_packages` of what cut them.

    detector: a callable as in `detector_architectures`. cache: the folder for the arrays; a change of the list of
    files, of a file's size, of the detectors' code and weights, of the packages they run or of the geometry makes a
    new one. It appears whole or not at all. Photos are decoded as by the pipeline, but not again for a small face.
    """

    MARGIN = 1.5

    def __init__(self, dataset: FaceDataset, detector, cache: str | os.PathLike = ".cache", crop: Crop = CROP):
        crop = crop.with_margin(self.MARGIN)
        path = Path(cache) / f"{dataset.source}-{crops_digest(dataset, detector, crop, alignment_digest())}.npy"
        if not path.is_file():
            _write_crops(path, dataset, detector, crop)
        self.crops = np.load(path, mmap_mode="r")
        self.packages = detector_packages(detector)
        self.files, self.labels, self.rows = dataset.files, dataset.labels, np.arange(len(dataset))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> tuple[Tensor, Tensor]:
        """An index or an array of them -> (..., 3, H, W) uint8, (...) int64."""
        crops = torch.tensor(self.crops[self.rows[index]])  # a copy: the array on disk is read-only
        return crops.movedim(-1, -3), torch.as_tensor(self.labels[index])

    def cut(self, crop: Crop = CROP) -> np.ndarray:
        """(N, 64, 96, 3) uint8: the crops without their margin, as `glasses.crops.align_face` cuts them."""
        top, left = (np.array(self.crops.shape[1:3]) - (crop.height, crop.width)) // 2
        return np.ascontiguousarray(self.crops[self.rows, top : top + crop.height, left : left + crop.width])

    def of(self, part: FaceDataset) -> "CachedFaces":
        """The crops of a part of the data set (of `split`, `subset`, `relabel`), with the part's labels."""
        rows = {file: row for file, row in zip(self.files, self.rows, strict=True)}
        chosen = copy.copy(self)
        chosen.files, chosen.labels = part.files, part.labels
        chosen.rows = np.array([rows[file] for file in part.files])
        return chosen


class FaceBatches(Dataset):
    """Crops of several sources as one; an item is a whole batch, augmented: (seed, indices) -> faces, labels."""

    def __init__(self, sources: Sequence[CachedFaces], transform: nn.Module):
        self.sources, self.transform = list(sources), transform
        self.starts = np.cumsum([0] + [len(source) for source in sources])

    def __getitem__(self, item: tuple[int, np.ndarray]) -> tuple[Tensor, Tensor]:
        seed, indices = item
        source = np.searchsorted(self.starts, indices, side="right") - 1
        faces = torch.empty((len(indices), *self.sources[0][0][0].shape), dtype=torch.uint8)
        labels = torch.empty(len(indices), dtype=torch.int64)
        for s in np.unique(source):
            chosen = torch.from_numpy(source == s)
            faces[chosen], labels[chosen] = self.sources[s][indices[source == s] - self.starts[s]]
        with torch.random.fork_rng(devices=[]):  # the batch depends on its seed alone, not on who makes it
            torch.manual_seed(seed)
            return self.transform(faces), labels


class BalancedBatches:
    """Yields (seed, indices) for `FaceBatches`: every source by its weight, in it both classes alike.

    A source weighs as the square root of its size, so that a small one is seen often but not by heart. Each class has
    half of that weight, also where there is no other: with glasses, without, and nobody.
    With `world` processes each takes its share of every batch.
    """

    def __init__(self, labels: Sequence[np.ndarray], batch: int, rank: int = 0, world: int = 1):
        self.weights = torch.from_numpy(np.concatenate([self._weights(of_source) for of_source in labels]))
        self.batch, self.rank, self.world = batch, rank, world
        self.seed = 0  # set before each epoch

    @staticmethod
    def _weights(labels: np.ndarray) -> np.ndarray:
        """(N,) how often each face of a source is drawn, relative to all others."""
        classes = np.select([labels == Label.NONE, labels == Label.NOBODY], [0, 1], default=2)
        return np.sqrt(len(labels)) * (0.5 / np.bincount(classes)[classes])

    def __len__(self) -> int:
        return math.ceil(len(self.weights) / self.batch)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.multinomial(self.weights, len(self) * self.batch, replacement=True, generator=generator)
        for step, indices in enumerate(drawn.split(self.batch)):
            yield (self.seed * 1_000_003 + step) * self.world + self.rank, indices[self.rank :: self.world].numpy()


def detector_packages(detector) -> dict[str, str]:
    """The packages that a detector runs, with their versions. OpenCV is always one of them: it cuts the crops."""
    packages = {"opencv": cv2.__version__}
    for module, _, install, imported in DETECTORS.values():
        if f"{detector_architectures.__name__}.{module}" == type(detector).__module__ and imported not in (None, "cv2"):
            packages |= {package: package_version(package) for package in install.split()}
    return packages


def package_version(package: str) -> str:
    """The version of an installed package; "unknown" where there is none of this name."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # perhaps the same module from a package of another name
        return "unknown"


def crops_digest(dataset, detector, crop: Crop, *more) -> str:
    """Of all that the crops of a data set depend on: another one names another file.

    dataset: has `files`. detector: None where none looks; then only its list of files and the geometry count. more:
    what else decides, in types that JSON has.
    """
    code, detector_is = [inspect.getsource(glasses.crops).encode()], None
    if detector is not None:
        code = [*(file.read_bytes() for file in sorted(DETECTOR_FILES)), *code, inspect.getsource(find_faces).encode()]
        detector_is = [detector.name, detector_packages(detector), MAX_SIDE]
    files = [(str(file), file.stat().st_size) for file in dataset.files]
    recipe = [detector_is, hashlib.sha256(b"".join(code)).hexdigest(), crop, files, *more]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]


def alignment_digest() -> str:
    """Of what cuts a face out once it is found: the key points' network and code."""
    code = inspect.getsource(glasses.keypoints) + inspect.getsource(cut_faces)
    return hashlib.sha256(KEYPOINTS.read_bytes() + code.encode()).hexdigest()[:16]


def _write_crops(path: Path, dataset: FaceDataset, detector, crop: Crop) -> None:
    remove_partials(path.parent)  # of runs that were killed: of a large data set they are large
    with whole_file(path) as partial:
        crops = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(dataset), crop.height, crop.width, 3))

        def write(i: int) -> None:
            image = dataset.read(i)
            crops[i] = cut_faces(image, find_faces(detector, image, assume_face=True)[:1], crop)[0]

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            written = pool.map(write, range(len(dataset)))
            for _ in tqdm(written, desc=f"aligning {dataset.source}", total=len(dataset), disable=None):
                pass
        crops.flush()
