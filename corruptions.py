"""What happens to photos?  Ways to cut, cover, turn, darken, blur or compress one, and how hard.

    from corruptions import LADDERS
    levels, change = LADDERS["blur (% of the eye distance)"]
    worse = change(image, landmarks, levels[-1])         # (H, W, 3) uint8 RGB -> the same

image: (H, W, 3) uint8 RGB. points: (5, 2) landmarks in pixels, as in `detector_architectures.Face`.
"""

from collections.abc import Callable

import cv2
import numpy as np


def window(image: np.ndarray, points: np.ndarray, left: float, right: float, up: float, down: float) -> np.ndarray:
    """The part of the photo so many eye distances around the point between the eyes."""
    unit, (x, y) = np.hypot(*(points[1] - points[0])), points[:2].mean(0)
    rows = slice(max(0, int(y - up * unit)), max(1, int(y + down * unit)))
    return image[rows, max(0, int(x - left * unit)) : max(1, int(x + right * unit))]


def mask(
    image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int] = (200, 220, 235), top: float = 0.5
) -> np.ndarray:
    """A face mask up from the chin; top: 0 at the tip of the nose, 0.5 at its bridge, 1 at the eyes."""
    unit, nose = np.hypot(*(points[1] - points[0])), points[2]
    y = top * points[:2, 1].mean() + (1 - top) * nose[1]
    chin = points[3:, 1].mean() + unit
    left, right = points[0, 0] - 0.7 * unit, points[1, 0] + 0.7 * unit
    outline = [(left, y), (nose[0], y - 0.1 * unit), (right, y), (right, chin - 0.3 * unit), (nose[0], chin)]
    return cv2.fillPoly(image.copy(), [np.int32([*outline, (left, chin - 0.3 * unit)])], colour)


def hat(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Everything above the brows in one dark colour."""
    brows = points[:2, 1].mean() - 0.45 * np.hypot(*(points[1] - points[0]))
    out = image.copy()
    out[: max(0, int(brows))] = (30, 30, 60)
    return out


def turn(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turned about the centre; degrees > 0 is anticlockwise."""
    height, width = image.shape[:2]
    return cv2.warpAffine(image, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0), (width, height))


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Through a JPEG file."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def darken(image: np.ndarray, light: float) -> np.ndarray:
    """With so much of the light, 0 to 1."""
    return np.rint(image * light).astype(np.uint8)


def blur(image: np.ndarray, points: np.ndarray, sigma: float) -> np.ndarray:
    """Out of focus by a Gaussian, its standard deviation in per cent of the distance between the eyes."""
    return cv2.GaussianBlur(image, (0, 0), max(0.01, sigma / 100 * np.hypot(*(points[1] - points[0]))))


def noise(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian noise with a standard deviation of so many grey levels."""
    grain = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.rint(np.clip(image + grain, 0, 255)).astype(np.uint8)


# What is done, in the unit of its levels -> the levels, from nothing to hard, and the function.
LADDERS: dict[str, tuple[tuple[float, ...], Callable[[np.ndarray, np.ndarray, float], np.ndarray]]] = {
    "blur (% of the eye distance)": ((0, 4, 8, 12, 16), blur),
    "noise (grey levels)": ((0, 10, 20, 40, 60), lambda image, points, level: noise(image, level)),
    "light (share)": ((1, 0.5, 0.2, 0.1, 0.05), lambda image, points, level: darken(image, level)),
    "JPEG (quality)": ((100, 40, 20, 10, 5), lambda image, points, level: jpeg(image, int(level))),
    "rotation (degrees)": ((0, 15, 30, 60, 90), lambda image, points, level: turn(image, level)),
    "mask (0 nose tip, 1 eyes)": (
        (-0.5, 0, 0.25, 0.5, 0.7),
        lambda image, points, level: mask(image, points, top=level),
    ),
}
