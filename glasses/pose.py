"""How is a head turned?  68 key points in, its place and direction in three dimensions out.

from glasses.pose import find_pose
find_pose(keypoints).yaw                              # radians
"""

from dataclasses import dataclass

import cv2
import numpy as np

from . import frames
from .frames import SIDES

DISTANCE = 1000.0  # mm from the eyes to a camera that takes a portrait

# A mean face in mm: key point at the left in the picture, at the right, x of the latter, y, z, and how far to trust
# them when the face talks, smiles or turns. Estimated by us by factorization (Tomasi and Kanade, 1992) from the labels
# of 3,462 frames of YouTube Faces and their mirror images, made symmetric, scaled to 63 mm between the eyes.
FACE = (
    (0, 16, 75, -9, -63, 0.1), (2, 14, 71, 28, -64, 0.1), (8, 8, 0, 112, -26, 0.15),
    (17, 26, 57, -18, -10, 0.3), (19, 24, 37, -21, 13, 0.4), (21, 22, 18, -17, 20, 0.5),
    (27, 27, 0, 4, 19, 1.0), (28, 28, 0, 18, 25, 1.0), (29, 29, 0, 32, 32, 1.0), (30, 30, 0, 43, 32, 1.0),
    (31, 35, 12, 46, 8, 1.0), (33, 33, 0, 50, 14, 1.0), (36, 45, 43, -2, -6, 1.0), (37, 44, 36, -3, 3, 0.7),
    (38, 43, 27, -3, 3, 0.7), (39, 42, 19, 1, 0, 1.0), (40, 47, 27, 3, 1, 0.7), (41, 46, 36, 3, -1, 0.7),
    (48, 54, 25, 67, -12, 0.4), (51, 51, 0, 63, 10, 0.4), (57, 57, 0, 81, 0, 0.2),
)  # fmt: skip
INDICES = np.array([right for _, right, *_ in FACE] + [left for left, right, *_ in FACE if left != right])
TRUST = np.array([row[5] for row in FACE] + [row[5] for row in FACE if row[0] != row[1]])
MODEL = np.array([row[2:5] for row in FACE] + [(-row[2], *row[3:5]) for row in FACE if row[0] != row[1]], float)


@dataclass
class Pose:
    """Where a head is: rotation (3, 3) from its space to the camera's, origin (2,) in pixels, scale in pixels a mm.

    fit: the width of the face, 1 for the mean. ears: where the temples end, (3,) mm by side.
    """

    rotation: np.ndarray
    origin: np.ndarray
    scale: float
    fit: float = 1.0
    ears: dict[int, np.ndarray] | None = None

    def camera(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) mm of the head -> the same in the camera's directions; z is the nearness."""
        return points @ self.rotation.T

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) mm of the head -> (..., 2) pixels."""
        seen = self.camera(points)
        return self.origin + seen[..., :2] * (self.scale * DISTANCE / (DISTANCE - seen[..., 2:]))

    @property
    def eye(self) -> np.ndarray:
        """(3,) mm: where the camera is in the space of the head."""
        return self.rotation.T @ [0, 0, DISTANCE]

    @property
    def yaw(self) -> float:
        """Radians by which the nose points to the right of the picture, as the head stands."""
        return float(np.arctan2(-self.eye[0], self.eye[2]))

    @property
    def far(self) -> int:
        """Which of SIDES is turned away, 0 where none is."""
        return 0 if abs(self.yaw) < 0.12 else int(np.sign(self.yaw))


def check_points(keypoints: np.ndarray) -> np.ndarray:
    """(68, 2) float64 key points. Raises ValueError where they are no finite numbers, or lie all in one place."""
    points = np.asarray(keypoints, dtype=float)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"key points must be (68, 2) finite pixels, not of shape {points.shape}")
    if np.ptp(points, axis=0).max() < 4:
        raise ValueError("key points must span a face of at least 4 pixels")
    return points


def find_pose(keypoints: np.ndarray) -> Pose:
    """The pose of the head with these (68, 2) key points in pixels.

    A robust least squares fit of a camera DISTANCE away to the mean face, from three starts: looking to the left, ahead
    and to the right. Raises what `check_points` raises.
    """
    points = check_points(keypoints)
    seen = points[INDICES]
    _, pose = min((_fit(seen, yaw) for yaw in (-0.7, 0.0, 0.7)), key=lambda found: found[0])
    eyes = np.isin(INDICES, np.r_[27, 36:48])
    pose.origin = pose.origin + (seen - pose.project(MODEL))[eyes].mean(0)  # glasses are worn before the eyes
    _measure(pose, points)
    return pose


def _fit(seen: np.ndarray, yaw: float) -> tuple[float, Pose]:
    """Levenberg's method from one start -> the cost and the pose."""
    turned = MODEL @ cv2.Rodrigues(np.array([0, yaw, 0]))[0].T
    model, there = (p[:, 0] + 1j * p[:, 1] for p in (turned, seen))
    model, there = (p - np.average(p, weights=TRUST) for p in (model, there))
    similar = np.sum(TRUST * there * model.conj()) / np.sum(TRUST * np.abs(model) ** 2)
    roll = cv2.Rodrigues(np.array([0, 0, np.angle(similar)]))[0]
    start = cv2.Rodrigues(roll @ cv2.Rodrigues(np.array([0, yaw, 0]))[0])[0].ravel()
    size = abs(similar)
    place = np.average(seen, axis=0, weights=TRUST) - size * (np.average(turned, axis=0, weights=TRUST) @ roll.T)[:2]
    values = np.r_[start, place / size, np.log(size)]

    def pose_of(v):
        return Pose(cv2.Rodrigues(v[:3])[0], v[3:5] * size, float(np.exp(v[5])))

    def residuals(v):
        return ((pose_of(v).project(MODEL) - seen) / size).ravel()  # mm

    damping, weights = 1e-2, np.repeat(TRUST, 2)
    for _ in range(40):
        error = residuals(values)
        distance = np.repeat(np.hypot(*error.reshape(-1, 2).T), 2)
        robust = weights / np.maximum(1, distance / 5)  # Huber: beyond 5 mm not worse than linear
        slopes = np.stack([(residuals(values + step) - error) / 1e-4 for step in 1e-4 * np.eye(6)], 1)
        normal = slopes.T @ (robust[:, None] * slopes)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -slopes.T @ (robust * error))
        better = (robust * residuals(values + step) ** 2).sum() < (robust * error**2).sum()
        damping = max(damping / 4, 1e-6) if better else damping * 6
        if better:
            values = values + step
            if np.abs(step).max() < 1e-5:
                break
    distance = np.hypot(*residuals(values).reshape(-1, 2).T)
    return float((TRUST * np.minimum(distance**2, 10 * distance)).sum()), pose_of(values)


def _measure(pose: Pose, points: np.ndarray) -> None:
    """Fill in how wide the face is and where its ears are."""
    rows = {side: int(np.argmax(np.equal(INDICES, 16 if side == 1 else 0))) for side in SIDES}
    ends = pose.project(MODEL[[rows[-1], rows[1]]])
    facing = np.clip((np.cos(pose.yaw) - 0.8) / 0.2, 0, 1)
    width = np.hypot(*(points[16] - points[0])) / np.hypot(*(ends[1] - ends[0]))
    pose.fit = float(np.clip(1 + (0.985 * width - 1) * facing, 0.9, 1.1))
    pose.ears = frames.default_ears(pose.fit)
    if pose.far:  # the near ear is seen: its key point says where it is
        near = -pose.far
        row = int(np.flatnonzero((16 if near == 1 else 0) == INDICES)[0])
        missed = (points[INDICES[row]] - pose.project(MODEL[row] * [pose.fit, 1, 1])) / pose.scale
        along = pose.rotation[:2, 1:].T @ missed  # as far as it lies along y and z of the head
        share = np.clip((abs(pose.yaw) - 0.2) / 0.4, 0, 1)
        pose.ears[near] = pose.ears[near] + share * np.array([0, *np.clip(along, -12, 12)]) * [0, 0.6, 1]
