"""Where are the 68 points of a face?  The data of the course on facial key points, and its order of the points.

from keypoint_data import FacialKeypointsDataset
from find_data import find_dataset
dataset = FacialKeypointsDataset(find_dataset("ytf", fallback="sample"))   # part="test" for the others
image, keypoints = dataset[0]                        # (H, W, 3) uint8 RGB, (68, 2) float32: x and y in pixels
"""

import copy
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import Dataset

from find_data import DataError, report_problems, unreadable_pictures
from glasses.keypoints import MIRRORED, POINTS  # noqa: F401, the order of the points, for those who use the data
from glasses.photos import PhotoError, read_image
from tables import find_file, read_text

# The points as iBUG 300-W numbers them, here from 0; left and right are those of the picture. Sagonas et al.: "300
# Faces in-the-Wild Challenge", ICCV Workshops 2013.
PARTS = {
    "jaw": slice(0, 17),  # from ear to ear, 8 is the chin
    "brows": slice(17, 27),  # the left one to 21
    "nose": slice(27, 36),  # the bridge down to its tip, 30, then below it from left to right
    "eyes": slice(36, 48),  # the left one to 41; each clockwise from its left corner
    "mouth": slice(48, 68),  # the outer lips to 59, then the inner ones; clockwise from the left corner
}

COLUMNS = [str(i) for i in range(2 * POINTS)]  # of the table: x0, y0, x1, y1, ...


class PointSample(NamedTuple):
    """A face and its points: image (H, W, 3) uint8 RGB, keypoints (68, 2) float32, x and y in pixels.

    (0, 0) is the centre of the upper left pixel. After `keypoint_transforms.ToTensor` both are tensors.
    """

    image: np.ndarray | Tensor
    keypoints: np.ndarray | Tensor


class FacialKeypointsDataset(Dataset):
    """Faces of YouTube videos with 68 points, as Udacity's P1_Facial_Keypoints selected them.

    Wolf, Hassner, Maoz: "Face Recognition in Unconstrained Videos with Matched Background Similarity", CVPR 2011.
    The points of `<part>_frames_keypoints.csv` are those of the pictures in the folder `<part>/`: the first column is
    the file, the columns 0 to 135 are x0, y0, x1, y1, ... in pixels. Where a folder lacks that table, its
    `keypoints.csv` is read, of the same columns, and `part`: its files are relative to `root`, as in `data/sample`.

    root: the folder of the data set. transform: called with the `PointSample`. strict: raise DataError for a row
    without 136 numbers, a missing file, or one listed twice; False decodes every picture, and leaves out such rows
    and unreadable pictures, with one warning that counts them. part: "training" or "test". table: another table
    of these columns, its files relative to `root`; a column `part` chooses rows, a column `identity` names the people.

    Attributes: files (list of Path), keypoints ((N, 68, 2) float32), identities (list of str: without such a column,
    the file's stem before its last "_", which is the person here and in LFW, or "").
    """

    source = "ytf"
    PARTS = ("training", "test")

    def __init__(
        self,
        root: str | os.PathLike,
        transform: Callable | None = None,
        strict: bool = True,
        part: str = "training",
        table: str | os.PathLike | None = None,
    ):
        if part not in self.PARTS:
            raise ValueError(f"unknown part {part!r}: choose from {', '.join(self.PARTS)}")
        self.root, self.transform, self.strict, self.part = Path(root), transform, strict, part
        official = f"{part}_frames_keypoints.csv"
        path = Path(table) if table is not None else find_file(self.root, self.source, (official, "keypoints.csv"))
        folder = self.root / part if table is None and path.name == official else self.root
        names, points, identities = _read_points(path, self.source, part)
        files = [folder / name for name in names]

        problems, good, seen = [], [], set()
        for i, file in enumerate(files):
            if not np.isfinite(points[i]).all():
                problems.append((f"a row without {2 * POINTS} numbers", f"{path} row {i + 1} ({names[i]})"))
            elif file in seen:
                problems.append(("listed twice", f"{file} in {path} row {i + 1}"))
            elif not os.path.isfile(file):
                problems.append(("missing file", f"{file} of {path} row {i + 1}"))
            else:
                good.append(i)
            seen.add(file)
        if not strict:
            unreadable = unreadable_pictures([files[i] for i in good], self.source)
            problems += [("unreadable picture", str(file)) for file in unreadable]
            good = [i for i in good if files[i] not in unreadable]
        self.files = [files[i] for i in good]
        self.identities = [identities[i] for i in good]
        self.keypoints = points[good]
        report_problems(f"{self.source} {part}", problems, strict)
        if not self.files:
            raise DataError(f"{self.source} {part}: no faces in {path}; is it the right table, and whole?")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> PointSample:
        sample = PointSample(self.read(index), self.keypoints[index].copy())
        return sample if self.transform is None else self.transform(sample)

    def read(self, index: int) -> np.ndarray:
        """The picture as (H, W, 3) uint8 RGB. Raises DataError, naming the file, where it cannot be read."""
        try:
            return read_image(self.files[index], max_side=None)[0]
        except PhotoError as error:
            fix = "fix it, or leave such out with --skip-bad"
            raise DataError(f"{self.source}: {self.files[index]}: {error}; {fix}") from error

    def subset(self, indices: Sequence[int]) -> "FacialKeypointsDataset":
        """The same data set with only the faces at `indices`, in their order."""
        part = copy.copy(self)
        part.files = [self.files[i] for i in indices]
        part.identities = [self.identities[i] for i in indices]
        part.keypoints = self.keypoints[np.asarray(indices, dtype=np.int64)]
        return part

    def keys(self) -> list[str]:
        """Whose each face is, for `data_load.split`: as `FaceDataset.keys`, its identity or, without one, its file."""
        return [name or f"file:{file.name}" for name, file in zip(self.identities, self.files, strict=True)]

    def __repr__(self) -> str:
        people = len(set(self.identities) - {""})
        return f"{type(self).__name__}({len(self)} faces: {POINTS} points{f'; {people} people' if people else ''})"


def _read_points(path: Path, source: str, part: str) -> tuple[list[str], np.ndarray, list[str]]:
    """The rows of a table that belong to `part`: file names, (N, 68, 2) float32 with NaN for what is no number, and
    identities. Raises DataError for what is no such table."""
    text = read_text(path, source)
    try:
        table = pd.read_csv(io.StringIO(text), index_col=False, dtype={"part": str, "identity": str}, low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{source}: {path} is not a table: {' '.join(str(error).split())}; fix the line") from error
    if missing := [column for column in COLUMNS if column not in table]:
        wanted = f"the file and {COLUMNS[0]} to {COLUMNS[-1]}"
        raise DataError(f"{source}: no column {missing[0]!r} in line 1 of {path}; name the columns: {wanted}")
    if "part" in table:
        table = table[table["part"] == part]
    names = [name.replace("\\", "/") for name in table.iloc[:, 0].fillna("").astype(str)]
    points = table[COLUMNS].apply(pd.to_numeric, errors="coerce").to_numpy(np.float32).reshape(-1, POINTS, 2)
    if "identity" in table:
        return names, points, list(table["identity"].fillna(""))
    return names, points, [Path(name).stem.rpartition("_")[0] for name in names]


def eye_distance(keypoints: np.ndarray) -> np.ndarray:
    """(..., 68, 2) points -> (...) the distance of the outer eye corners, in pixels: the unit of all errors."""
    return np.hypot(*np.moveaxis(keypoints[..., 45, :] - keypoints[..., 36, :], -1, 0))


def mean_errors(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N, 68, 2) twice -> (N,) normalised mean error (NME) of each face: mean distance by the labels' eye distance."""
    return np.hypot(*np.moveaxis(found - labels, -1, 0)).mean(1) / eye_distance(labels)
