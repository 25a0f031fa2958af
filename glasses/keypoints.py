"""Where are the 68 points of a face?  Photo and faces in, points out.

from glasses.keypoints import open_keypoints
points = open_keypoints()(image, [face.landmarks])   # (1, 68, 2) float32, pixels of the image

In the order of iBUG 300-W, counted from 0: jaw 0 to 16, brows 17 to 26, nose 27 to 35, eyes 36 to 47, mouth 48 to 67.
"""

import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from detector_architectures.onnx_file import open_session

from .classifiers import WEIGHTS
from .crops import Crop, align_face, crop_matrix

POINTS = 68
KEYPOINTS = WEIGHTS / "keypoints.onnx"
# The labels of YouTube Faces lie this far to the right of where others see the points, and their mirror images to the
# left: in distances of the outer eye corners, the mean of 3,462 frames against both teachers of pseudo_label.py.
LABEL_SHIFT = 0.028
# Of the crop's width: how far off its corners may be. A third of the frames of YouTube Faces, found by `auto`, are then
# looked at twice, which lowers the error as much as if all were.
TOLERANCE = 0.10
# Of a pixel, to which a detector's landmarks are rounded: their last digits, which are not the same on each machine,
# then do not decide which 8-bit steps the network takes.
PARTS = 64
# In the mirror image, point i is where MIRRORED[i] was: mirrored = points[MIRRORED], each x as width - 1 - x.
_EYES = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
_LIPS = [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
MIRRORED = np.array([*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), *_EYES, *_LIPS])


def five_landmarks(points: np.ndarray) -> np.ndarray:
    """(..., 68, 2) points -> (..., 5, 2) eye centres, nose tip, mouth corners, as of `detector_architectures.Face`."""
    eyes = [points[..., start : start + 6, :].mean(-2) for start in (36, 42)]
    return np.stack([*eyes, points[..., 30, :], points[..., 48, :], points[..., 54, :]], axis=-2)


def mirror(points: np.ndarray, width: int) -> np.ndarray:
    """(..., 68, 2) points of a picture of this width -> those of its mirror image."""
    return points[..., MIRRORED, :] * np.float32([-1, 1]) + np.float32([width - 1, 0])


class KeypointFinder:
    """The network of a file that `train_keypoints.py` wrote.

    crop: what it wants to see. shift: how far to the right of where it sees them the points are put, in distances of
    the outer eye corners, as the labels are that it learned from (`without_shift`).
    Raises FileNotFoundError, ImportError where onnxruntime is missing or too old, ValueError with one line for another
    or damaged file.
    """

    def __init__(self, path: str | os.PathLike, threads: int = 1):
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no network at {path}: train_keypoints.py writes one")
        self.session, metadata = open_session(path, threads)
        try:
            self.crop, self.shift = Crop(*json.loads(metadata["crop"])), float(json.loads(metadata["shift"]))
            known = json.loads(metadata["points"]) == POINTS
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a key point network of this project: no {error}") from error
        if not known:
            raise ValueError(f"{path} does not hold a key point network of this project: it has other points")

    def __call__(self, image: np.ndarray, landmarks: Sequence[np.ndarray]) -> np.ndarray:
        """The points of the faces of an (H, W, 3) uint8 RGB image with these (5, 2) landmarks, (N, 68, 2) float32.

        The mean of what the network says of a face and of its mirror image, put where the labels are.
        """
        return without_shift(self.seen(image, landmarks, twice=True), -self.shift).astype(np.float32)

    def seen(self, image: np.ndarray, landmarks: Sequence[np.ndarray], twice: bool = False) -> np.ndarray:
        """The points of these faces, (N, 68, 2), where they are seen. twice: the mirror image is asked too."""
        return self._search(image, landmarks, self._look_twice if twice else self._look)

    def exact(self, image: np.ndarray, landmarks: Sequence[np.ndarray]) -> np.ndarray:
        """The five landmarks (N, 5, 2) float32 of these faces as the points tell them, where they are seen.

        The mirror image is not asked: a face in it would be cut out alike.
        """
        return five_landmarks(self.seen(image, landmarks)).astype(np.float32)

    def _search(self, image: np.ndarray, landmarks: Sequence[np.ndarray], look: Callable) -> np.ndarray:
        """The points, (N, 68, 2), where they are seen. Where they show that a face was cut out badly, farther off than
        TOLERANCE, it is looked at once more."""
        if not len(landmarks):
            return np.zeros((0, POINTS, 2), np.float32)
        landmarks = [np.round(PARTS * np.asarray(five, float)) / PARTS for five in landmarks]
        points = look(image, landmarks)
        better = five_landmarks(points)
        if again := [i for i, five in enumerate(landmarks) if misplaced(five, better[i], self.crop) > TOLERANCE]:
            points[again] = look(image, better[again])
        return points

    def _look(self, image: np.ndarray, landmarks: Sequence[np.ndarray], twice: bool = False) -> np.ndarray:
        """The points of faces cut out by these landmarks, in pixels of the image. twice: in the mirror image too."""
        crops = np.stack([align_face(image, five, self.crop) for five in landmarks])
        if twice:
            crops = np.concatenate([crops, crops[:, :, ::-1]])
        points = self.session.run(None, {"faces": crops})[0]
        if twice:
            points = (points[: len(landmarks)] + mirror(points[len(landmarks) :], self.crop.width)) / 2
        return np.stack([_leave(*pair, self.crop) for pair in zip(points, landmarks, strict=True)])

    def _look_twice(self, image: np.ndarray, landmarks: Sequence[np.ndarray]) -> np.ndarray:
        return self._look(image, landmarks, twice=True)


def misplaced(landmarks: np.ndarray, better: np.ndarray, crop: Crop) -> float:
    """How far the corners of a crop move at most, as a share of its width, if it is cut by `better` landmarks."""
    corners = np.array([[0, 0], [crop.width, 0], [0, crop.height], [crop.width, crop.height]], float)
    in_photo = _leave(corners, landmarks, crop)
    matrix = crop_matrix(better, crop)
    moved = in_photo @ matrix[:, :2].T + matrix[:, 2]
    return float(np.hypot(*(moved - corners).T).max()) / crop.width


def _leave(points: np.ndarray, landmarks: np.ndarray, crop: Crop) -> np.ndarray:
    """(68, 2) points of the crop of these landmarks, in pixels of the photo."""
    matrix = crop_matrix(landmarks, crop)
    return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def without_shift(points: np.ndarray, shift: float) -> np.ndarray:
    """(..., 68, 2) points where they are seen, of those with the shift of the labels along the line of the eyes."""
    return points - shift * (points[..., 45:46, :] - points[..., 36:37, :])


@lru_cache(maxsize=1)
def open_keypoints() -> KeypointFinder:
    """The network of `glasses/weights/keypoints.onnx`, opened once. Raises what `KeypointFinder` raises."""
    return KeypointFinder(KEYPOINTS)
