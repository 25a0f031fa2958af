"""Where are the key points of faces that nobody labelled?  Two teachers say it, in the words of YouTube Faces' labels.

    python pseudo_label.py --ytf PATH --teachers DIR --data celeba=PATH meglass=PATH lfw=PATH [--out .cache/keypoints]

Each teacher has a convention of its own of where a jaw or a brow is, 8 to 10 % of the eye distance from that of the
labels. A ridge regression, fitted on the labelled frames of the people of the training part, reads the labels' points
from theirs; it sees each face and its mirror image, and its answer is the mean of both. A face where the readouts of
the two teachers disagree by more than DISAGREE of the eye distance is left out, as is every person who is not in the
training part. The labels lie LABEL_SHIFT too far to the right, `glasses.keypoints`; the tables do not.

In --out a table a source in the layout of YouTube Faces, for `FacialKeypointsDataset(root, table=...)`: `<source>.csv`.
DIR holds two networks of others, which are not part of this project:
    face_mesh_468.onnx   468 points of a 192x192 crop, from the npm package @mediapipe/face_mesh 0.4.1657299874
    face_68.onnx         68 points of a 112x112 crop, from the npm package @vladmandic/face-api 1.7.15
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pandas as pd
from tqdm.auto import tqdm

from data_load import FaceDataset, position
from detector_architectures import Face, main_face
from detector_architectures.slim import Slim
from find_data import DataError, find_dataset
from glasses.files import whole_file
from glasses.keypoints import LABEL_SHIFT, mirror, without_shift
from keypoint_data import FacialKeypointsDataset, eye_distance, mean_errors
from sources import SPLIT_SEED, TRAIN_BELOW, load_sources, named_paths

DISAGREE = 0.06  # of the distance between the outer eye corners, mean over the points
RIDGE = 0.1  # penalty of the regression's weights, features being of order 1 and labels in eye distances
EYES = (33, 263)  # of the mesh: the outer corners


class Teachers:
    """Both networks on a face: (468, 2) and (68, 2) points in pixels."""

    MEAN = np.float32([122.782, 117.001, 104.298])  # of what face_68 was trained on
    SCALES = (1.25, 1.5)  # sides of the mesh's two crops, in sides of the box: the mean of both is steadier

    def __init__(self, folder: str | os.PathLike):
        files = [Path(folder) / name for name in ("face_mesh_468.onnx", "face_68.onnx")]
        if missing := [file for file in files if not file.is_file()]:
            raise DataError(f"no network of the teachers at {missing[0]}; the head of pseudo_label.py says what it is")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.mesh, self.points = (
            onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]) for file in files
        )

    def __call__(self, image: np.ndarray, face: Face) -> tuple[np.ndarray, np.ndarray]:
        """The points of a face of an (H, W, 3) uint8 RGB image."""
        x, y, w, h = face.box
        centre, side = np.array([x + w / 2, y + h / 2]), max(w, h)
        across = face.landmarks[1] - face.landmarks[0]
        meshes = [self._mesh(image, centre, scale * side, np.arctan2(*across[::-1])) for scale in self.SCALES]
        matrix = _square(centre, side, 0.0, 112)
        crop = (cv2.warpAffine(image, matrix, (112, 112)) - self.MEAN) / 255
        (out,) = self.points.run(None, {self.points.get_inputs()[0].name: crop.transpose(2, 0, 1)[None]})
        return np.mean(meshes, axis=0), _back(out.reshape(68, 2) * 112, matrix)

    def _mesh(self, image: np.ndarray, centre: np.ndarray, side: float, angle: float) -> np.ndarray:
        matrix = _square(centre, side, angle, 192)
        crop = cv2.warpAffine(image, matrix, (192, 192)).astype(np.float32) / 255
        outputs = self.mesh.run(None, {self.mesh.get_inputs()[0].name: crop.transpose(2, 0, 1)[None]})
        points = next(out for out in outputs if out.size == 468 * 3).reshape(468, 3)
        return _back(points[:, :2], matrix)


def _square(centre: np.ndarray, side: float, angle: float, pixels: int) -> np.ndarray:
    """The (2, 3) map that cuts a turned square of the image out as `pixels` a side."""
    cos, sin = np.cos(angle) * pixels / side, np.sin(angle) * pixels / side
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([turn, pixels / 2 - turn @ centre])


def _back(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points of a crop in pixels of the image from which `matrix` cut it."""
    return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


class Seen:
    """What the teachers say of one face: their points in a frame of the face's own, and the map to pixels.

    The frame: the mesh's mean at 0, its spread 1, its outer eye corners level. features: mesh (936,), points (136,).
    """

    def __init__(self, mesh: np.ndarray, points: np.ndarray):
        across = mesh[EYES[1]] - mesh[EYES[0]]
        cos, sin = across / np.hypot(*across)
        self.turn = np.array([[cos, -sin], [sin, cos]])  # from the frame to the image
        self.centre = mesh.mean(0)
        self.spread = np.sqrt(((mesh - self.centre) ** 2).sum(1).mean())
        self.features = {"mesh": self.enter(mesh).ravel(), "points": self.enter(points).ravel()}

    def enter(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) pixels -> the frame."""
        return (points - self.centre) @ self.turn / self.spread

    def leave(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) in the frame -> pixels."""
        return points @ self.turn.T * self.spread + self.centre


def look(teachers: Teachers, detector: Slim, image: np.ndarray) -> tuple[Seen, Seen] | None:
    """The main face of an image, and the same in the mirror; None where the detector finds none in one of the two."""
    both = []
    for picture in (image, np.ascontiguousarray(image[:, ::-1])):
        face = main_face(detector(picture), picture.shape)
        if face is None:
            return None
        both.append(Seen(*teachers(picture, face)))
    return both[0], both[1]


class Readout:
    """From teachers' points to labels' points: one ridge regression for each teacher, and one for both together."""

    KINDS = {"mesh": ("mesh",), "points": ("points",), "both": ("mesh", "points")}

    def __init__(self, faces: Sequence[tuple[Seen, Seen]], labels: np.ndarray, widths: Sequence[int]):
        seen = [one for pair in faces for one in pair]
        wanted = [
            one.enter(points).ravel()
            for pair, own, width in zip(faces, labels, widths, strict=True)
            for one, points in zip(pair, (own, mirror(own, width)), strict=True)
        ]
        self.weights = {kind: _ridge(self._features(seen, kind), np.array(wanted)) for kind in self.KINDS}

    def __call__(self, pair: tuple[Seen, Seen], width: int, kind: str = "both") -> np.ndarray:
        """(68, 2) pixels of the face of an image `width` wide."""
        features = self._features(pair, kind)
        own, other = (features @ self.weights[kind]).reshape(2, 68, 2)
        return (pair[0].leave(own) + mirror(pair[1].leave(other), width)) / 2

    def _features(self, seen: Sequence[Seen], kind: str) -> np.ndarray:
        rows = [np.concatenate([*(one.features[name] for name in self.KINDS[kind]), [1.0]]) for one in seen]
        return np.stack(rows)


def _ridge(features: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Weights of the regression, the last, of the constant, free of penalty."""
    penalty = RIDGE * np.eye(features.shape[1])
    penalty[-1, -1] = 0
    return np.linalg.solve(features.T @ features + penalty, features.T @ wanted)


def look_at_all(teachers: Teachers, read, count: int, name: str) -> list:
    """(pair of `Seen` or None, width) for each of `count` pictures; read: from a number to an image."""

    def one(index: int):
        image = read(index)
        return look(teachers, detector, image), image.shape[1]

    detector = Slim(320)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(one, range(count)), desc=name, total=count, disable=None))


def fit_readout(teachers: Teachers, ytf: FacialKeypointsDataset) -> Readout:
    """The readout of the training people; prints its error on the others."""
    looks = look_at_all(teachers, ytf.read, len(ytf), "YouTube Faces")
    trained = np.array([position(key, SPLIT_SEED) < TRAIN_BELOW for key in ytf.keys()])
    found = np.array([pair is not None for pair, _ in looks])

    def chosen(where: np.ndarray) -> tuple[list, np.ndarray, list]:
        rows = np.flatnonzero(where & found)
        return [looks[i][0] for i in rows], labels[rows], [looks[i][1] for i in rows]

    labels = without_shift(ytf.keypoints, LABEL_SHIFT)
    readout = Readout(*chosen(trained))
    pairs, wanted, widths = chosen(~trained)
    for kind in Readout.KINDS:
        read = np.stack([readout(pair, width, kind) for pair, width in zip(pairs, widths, strict=True)])
        nme = mean_errors(read, wanted)
        print(
            f"readout of {kind}: mean error {100 * nme.mean():.2f} % of the eye distance on {len(nme)} frames of others"
        )
    return readout


def label(readout: Readout, looks: Sequence, files: Sequence[str]) -> pd.DataFrame:
    """The table of the faces on which the teachers agree, in the layout of YouTube Faces."""
    rows, kept = [], []
    for (pair, width), file in zip(looks, files, strict=True):
        if pair is None:
            continue
        mesh, points, both = (readout(pair, width, kind) for kind in ("mesh", "points", "both"))
        if np.hypot(*(mesh - points).T).mean() <= DISAGREE * eye_distance(both[None])[0]:
            rows.append(both.ravel().round(1))
            kept.append(file)
    return pd.DataFrame(np.array(rows).reshape(-1, 136), index=kept)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ytf", type=Path, help="folder of the labelled frames")
    parser.add_argument("--teachers", type=Path, required=True, help="folder of the two networks")
    parser.add_argument("--data", nargs="+", default=[], metavar="SOURCE=PATH", help="faces to label")
    parser.add_argument("--out", type=Path, default=Path(".cache/keypoints"))
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)  # the threads are ours, one a face
    try:
        ytf = FacialKeypointsDataset(find_dataset("ytf", options.ytf))
        parts = load_sources(named_paths(options.data), {})
        teachers = Teachers(options.teachers)
        readout = fit_readout(teachers, ytf)
        for name, faces in parts.train.items():
            table = label_source(readout, teachers, faces)
            with whole_file(options.out / f"{name}.csv") as partial:
                table.to_csv(partial)
            print(f"{name}: {len(table)} of {len(faces)} faces labelled: {options.out / name}.csv")
    except (DataError, OSError) as error:
        print(f"pseudo_label.py: {error}", file=sys.stderr)
        return 1
    return 0


def label_source(readout: Readout, teachers: Teachers, faces: FaceDataset) -> pd.DataFrame:
    """The table of a source's faces."""
    looks = look_at_all(teachers, faces.read, len(faces), faces.source)
    return label(readout, looks, [os.path.relpath(file, faces.root) for file in faces.files])


if __name__ == "__main__":
    sys.exit(main())
