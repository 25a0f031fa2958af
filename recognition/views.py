"""What does a student see of a face?  Views of it, each drawn from a seed, so that its teacher can see the very same.

    from recognition.views import Views
    views = Views(chips, digest, seed=0)
    picture = views.view(face=17, number=3)              # (112, 112, 3) uint8, always the same

A teacher answers for each view once: its answers for all faces' view of one number are one file.
"""

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from glasses.files import whole_file
from glasses.keypoints import open_keypoints
from glasses.recognizer import CHIP, PLACES
from recognition.teachers import Teacher
from render_glasses import put_on

MARGIN = 16  # pixels of the pictures that views are drawn from, to each side of the chip
DARK = 0.2  # share of the drawn glasses that are sunglasses
BLOCK = 1024  # views that are held at once for a teacher
CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # how views are drawn: another way, other answers


def draw_view(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(144, 144, 3) uint8, a chip with its margin -> (112, 112, 3) uint8: turned, shifted, of another light and camera.

    Landmarks of a finder are off by some pixels; photos are dark, blurred, small, grey and saved as JPEG.
    """
    turn = np.radians(random.normal(0, 4)) * 1j
    scale = np.exp(random.normal(0, 0.04) + turn)
    shift = complex(*random.normal(0, 1.5, 2))
    centre = (CHIP.width - 1) / 2 * (1 + 1j)
    offset = centre + shift - scale * (centre + MARGIN * (1 + 1j))
    matrix = np.array([[scale.real, -scale.imag, offset.real], [scale.imag, scale.real, offset.imag]])
    view = cv2.warpAffine(picture, matrix, (CHIP.width, CHIP.height), flags=cv2.INTER_LINEAR)
    if random.random() < 0.3:  # a small face, enlarged
        side = int(random.uniform(28, 100))
        small = cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA)
        view = cv2.resize(small, (CHIP.width, CHIP.height), interpolation=cv2.INTER_LINEAR)
    elif random.random() < 0.15:
        view = cv2.GaussianBlur(view, (0, 0), random.uniform(0.5, 1.8))
    levels = np.arange(256) / 255
    levels = levels ** np.exp(random.normal(0, 0.25)) * np.exp(random.normal(0, 0.15))
    levels = (levels - 0.5) * np.exp(random.normal(0, 0.15)) + 0.5
    view = cv2.LUT(view, np.clip(255 * levels, 0, 255).round().astype(np.uint8))
    if random.random() < 0.1:
        view = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if random.random() < 0.25:
        quality = int(random.uniform(20, 90))
        view = cv2.imdecode(cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return view


def wear_glasses(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(144, 144, 3) uint8, a chip with its margin -> the same with glasses drawn on, of any kind."""
    (points,) = open_keypoints().seen(picture, [PLACES + MARGIN])
    return put_on(picture, points.astype(float), random, random.random() < DARK)


class Views:
    """The views of many faces.

    pictures: (N, 144, 144, 3) uint8, chips with their margin; digest: that of their content. seed: of what is drawn.
    """

    def __init__(self, pictures: np.ndarray, digest: str, seed: int = 0):
        self.pictures, self.digest, self.seed = pictures, digest, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def view(self, face: int, number: int, glasses: float = 0.0) -> np.ndarray:
        """View `number` of a face, (112, 112, 3) uint8; number 0 is the chip as the tool cuts it.

        glasses: the share of views in which some are drawn on; all else in them is as without.
        """
        picture = self.pictures[face]
        if glasses:
            random = np.random.default_rng([self.seed, face, number, 1])
            if random.random() < glasses:
                picture = wear_glasses(picture, random)
        if number == 0:
            return np.ascontiguousarray(picture[MARGIN:-MARGIN, MARGIN:-MARGIN])
        return draw_view(picture, np.random.default_rng([self.seed, face, number]))

    def answers(self, teacher: Teacher, number: int, cache: str | os.PathLike = ".cache") -> np.ndarray:
        """What a teacher says of view `number` of each face, (N, size) float16 of length 1; computed once."""
        mark = hashlib.sha256(f"{self.digest} {self.seed} {number} {teacher.digest} {CODE}".encode()).hexdigest()[:16]
        path = Path(cache) / f"answers-{mark}.npy"
        if not path.is_file():
            blocks = []
            for start in tqdm(range(0, len(self), BLOCK), desc=f"teacher, view {number}", disable=None):
                faces = range(start, min(start + BLOCK, len(self)))
                blocks.append(teacher(np.stack([self.view(face, number) for face in faces])).astype(np.float16))
            with whole_file(path) as partial, open(partial, "wb") as file:
                np.save(file, np.concatenate(blocks))
        return np.load(path, mmap_mode="r")
