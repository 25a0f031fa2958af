"""How is a face found only once?  The crops of a data set, cut and kept as one array on disk.

from face_cache import CachedFaces
faces = CachedFaces(dataset, load_detector("auto"))
crops, labels = faces[np.arange(32)]                 # (32, 3, 96, 144) uint8, (32,) int64
"""

import copy
import hashlib
import inspect
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

import detector_architectures
import glasses.crops
from data_load import FaceDataset
from glasses.crops import CROP, Crop, align_face
from glasses.files import whole_file
from glasses.pipeline import find_faces

DETECTOR_FILES = list(Path(detector_architectures.__file__).parent.glob("*.py"))


class CachedFaces(Dataset):
    """Faces of a data set found, aligned and kept as one memory-mapped array: an epoch decodes no JPEG.

    crops: (N, H, W, 3) uint8, cut by `glasses.crops.align_face` with MARGIN times the size of the network's
    crop, so that the training transforms can shift and turn it. Where no face is found it is the centre of the
    picture. labels: (N,) int64. rows: (N,) the face's place in `crops`, for a part of a data set.

    detector: a callable as in `detector_architectures`. cache: the folder for the arrays; a change of the list
    of files, of a file's size, of the detectors' code or of the geometry makes a new one. It appears whole
    or not at all.
    """

    MARGIN = 1.5

    def __init__(self, dataset: FaceDataset, detector, cache: str | os.PathLike = ".cache", crop: Crop = CROP):
        crop = crop.with_margin(self.MARGIN)
        path = Path(cache) / f"{dataset.source}-{_digest(dataset, detector, crop)}.npy"
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


def _digest(dataset: FaceDataset, detector, crop: Crop) -> str:
    """Of all that the crops depend on: another one names another file."""
    code = [file.read_bytes() for file in sorted(DETECTOR_FILES)]
    code += [inspect.getsource(part).encode() for part in (glasses.crops, find_faces)]
    files = [(str(file), file.stat().st_size) for file in dataset.files]
    recipe = [detector.name, hashlib.sha256(b"".join(code)).hexdigest(), crop, files]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]


def _write_crops(path: Path, dataset: FaceDataset, detector, crop: Crop) -> None:
    with whole_file(path) as partial:
        crops = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(dataset), crop.height, crop.width, 3))

        def write(i: int) -> None:
            image = dataset.read(i)
            crops[i] = align_face(image, find_faces(detector, image, assume_face=True)[0].landmarks, crop)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            written = pool.map(write, range(len(dataset)))
            for _ in tqdm(written, desc=f"aligning {dataset.source}", total=len(dataset), disable=None):
                pass
        crops.flush()
