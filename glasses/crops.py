"""What does a network see of a face?  Its eyes, upright, at one place and one size.

from glasses.crops import CROP, align_face
picture = align_face(image, face.landmarks)          # (64, 96, 3) uint8 RGB
"""

from typing import NamedTuple

import cv2
import numpy as np

from detector_architectures import halved

KINDS = ("none", "eyeglasses", "sunglasses")  # of eyewear, in the order of a network's outputs


class Crop(NamedTuple):
    """The part of a face that a network sees: its centre a little below the eyes, the eye line level.

    One unit is the distance between the eyes, or from the eyes to the mouth where that is longer, as in profile.
    The default is 2.7 units wide; a frame of ordinary glasses is 2.2.
    """

    width: int = 96  # pixels
    height: int = 64
    unit: float = 36.0  # pixels a unit
    drop: float = 0.15  # units from the eye line down to the centre

    @property
    def centre(self) -> np.ndarray:
        """(2,) x and y of the middle of the picture, in pixels."""
        return np.array([(self.width - 1) / 2, (self.height - 1) / 2])

    def with_margin(self, factor: float) -> "Crop":
        """The same centre and scale, `factor` times as wide and high, in even numbers of pixels."""
        return self._replace(width=2 * round(self.width * factor / 2), height=2 * round(self.height * factor / 2))


CROP = Crop()


def align_face(image: np.ndarray, landmarks: np.ndarray, crop: Crop = CROP) -> np.ndarray:
    """Cut a face out of `image`: the eye line level, both eyes at a fixed distance and place.

    image: (H, W, 3) uint8. landmarks: (5, 2), as in `detector_architectures.Face`. Returns (height, width, 3) uint8
    of `crop`, black outside the photo.
    """
    return warp_face(image, crop_matrix(landmarks, crop), crop)


def crop_matrix(landmarks: np.ndarray, crop: Crop = CROP) -> np.ndarray:
    """The (2, 3) map from pixels of the photo to those of `crop`: a turn, a scale and a shift."""
    points = np.asarray(landmarks, dtype=np.float64).tolist()  # numbers of Python: for so few they are much faster
    eye, other_eye, _, mouth, other_mouth = (complex(x, y) for x, y in points)
    eyes = (eye + other_eye) / 2
    across, down = other_eye - eye, (mouth + other_mouth) / 2 - eyes
    level = across - 1j * down  # both say where the face's right is: their mean is steadier
    unit = max(abs(across), abs(down), 1.0)
    right = level / max(abs(level), 1e-6) if level else 1.0
    centre = eyes + crop.drop * unit * 1j * right
    turn = crop.unit / unit * right.conjugate()
    shift = complex(*crop.centre) - turn * centre
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def crop_scale(landmarks: np.ndarray, crop: Crop = CROP) -> float:
    """Pixels of `crop` for one of the photo: above 1 the face is enlarged."""
    return float(np.hypot(*crop_matrix(landmarks, crop)[0, :2]))


def warp_face(image: np.ndarray, matrix: np.ndarray, crop: Crop = CROP) -> np.ndarray:
    """The picture that the (2, 3) `matrix` of `crop_matrix` cuts out of `image`, without aliasing."""
    turn = matrix[:, :2]
    scale = float(np.hypot(*turn[0]))
    centre = turn.T @ (crop.centre - matrix[:, 2]) / scale**2  # of the crop, in the photo: `turn` is a turn and a scale

    # Only the surroundings of the face are touched; they are the same for a crop with and without a margin.
    reach = max(np.hypot(crop.width, crop.height) / 2 + 2 * scale, 2.6 * crop.unit) / scale
    x0, y0 = np.maximum(np.floor(centre - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre + reach), image.shape[1::-1]).astype(int)
    if x1 <= x0 or y1 <= y0:  # landmarks far outside the photo
        return np.zeros((crop.height, crop.width, 3), np.uint8)
    image, centre = image[y0:y1, x0:x1], centre - (x0, y0)

    image, share = halved(image, scale)  # a face much larger than the crop: else the warp aliases
    centre = (centre + 0.5) * share - 0.5
    turn = turn / share
    matrix = np.column_stack([turn, crop.centre - turn @ centre])
    return cv2.warpAffine(image, matrix, (crop.width, crop.height), flags=cv2.INTER_LINEAR)
