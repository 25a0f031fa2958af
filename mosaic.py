"""How does a picture of many faces come about?  Whole pictures, scaled, turned, cut and put beside each other.

from mosaic import Composer, Picture
composer = Composer(people, nobody)                  # lists of `Picture`: a file, and the points of its faces
image, faces = composer(np.random.default_rng(0))    # (192, 192, 3) uint8 RGB, (F, 15): see face_finder.py

A scene is one picture, a grid of up to four, or a ground with up to six pictures laid on it. Each picture is scaled by
the face that it is to show, turned by any angle, half of them near upright, and cut at its sides. Pictures of nobody
are treated as if they had a face in their middle, so neither the edge of a picture nor its place says that there is
one. Nobody is: a picture of nobody, what is beside the faces of a picture (shoulders, hair, rooms), or grain and
colours. What a later picture hides, or the border cuts, counts as hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from face_finder import ABSENT, DOUBTFUL, FOUND, NUMBERS
from glasses.keypoints import five_landmarks, mirror
from keypoint_data import PointSample
from keypoint_transforms import Blocks, Blur, DrawnMask, JpegArtifacts, Light, LowResolution, Noise

# The box of a face in its own upright frame: these shares of their width and height beyond the outermost of its 68
# points, left, above, right and below. The medians of the boxes of `slim` over 230 faces of CelebA and LFW, with which
# the box so made has a mean IoU of 0.87.
BEYOND = np.array([-0.025, 0.37, -0.025, -0.025])
SMALLEST = 6.0  # pixels of the scene: a smaller face is DOUBTFUL
SEEN, LANDMARKS_SEEN, HARDLY_SEEN = 0.35, 3, 0.1  # share of its box and number of landmarks of a face to be found
GRID = np.stack(np.meshgrid(np.linspace(-0.45, 0.45, 7), np.linspace(-0.45, 0.45, 7)), -1).reshape(-1, 2)  # of a box
PEOPLE = 0.6  # share of the pieces that show somebody
UPRIGHT, TILT = 0.5, 12.0  # share of the pieces near upright, and the standard deviation of their tilt in degrees
VIRTUAL = 0.45  # of the shorter side: the face that a picture of nobody is thought to have
REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
STRIP = 24  # pixels: what is beside the faces of a picture and narrower is not used


@dataclass(eq=False)
class Picture:
    """A file, the (F, 68, 2) points of all the faces in it, in its pixels, and how often it is drawn beside others."""

    file: Path
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 68, 2), np.float32))
    weight: float = 1.0


class Tilted(NamedTuple):
    """A face's box in its own upright frame: centre (2,) and size (2,) in pixels, roll in degrees, clockwise."""

    centre: np.ndarray
    size: np.ndarray
    roll: float

    @property
    def side(self) -> float:
        """Of the square of the same area."""
        return float(np.sqrt(self.size.prod()))

    def upright(self) -> np.ndarray:
        """(4,) x, y, w, h: the shape of the upright box around the tilted one, with the area of the face's own box."""
        cos, sin = abs(np.cos(np.radians(self.roll))), abs(np.sin(np.radians(self.roll)))
        around = np.array([[cos, sin], [sin, cos]]) @ self.size
        size = around * self.side / np.sqrt(around.prod())
        return np.concatenate([self.centre - size / 2, size])


def tilted_box(points: np.ndarray) -> Tilted:
    """The box of a face with these (68, 2) points."""
    eye, other_eye, _, mouth, other_mouth = five_landmarks(points.astype(np.float64))
    across, down = other_eye - eye, (mouth + other_mouth - eye - other_eye) / 2
    level = across + np.array([down[1], -down[0]])  # as in `glasses.crops.crop_matrix`
    cos, sin = level / max(np.hypot(*level), 1e-6)
    frame = np.array([[cos, sin], [-sin, cos]])
    turned = points @ frame.T
    low, high = turned.min(0), turned.max(0)
    span = high - low
    low, high = low - BEYOND[:2] * span, high + BEYOND[2:] * span
    return Tilted(frame.T @ ((low + high) / 2), high - low, float(np.degrees(np.arctan2(sin, cos))))


class Piece(NamedTuple):
    """What is put into a scene. image: (H, W, 3) uint8 BGR. points: (F, 68, 2). anchor, side: the middle and the side
    of the face that scales and places it, in its pixels, of a picture of nobody only thought of."""

    image: np.ndarray
    points: np.ndarray
    anchor: np.ndarray
    side: float


class Composer:
    """Makes scenes of `size` pixels a side from pictures of people and of nobody.

    weights: how often each picture of nobody is drawn, relative to the others; may be set anew at any time.
    """

    CHANGES = (  # of the finished scene
        Light(p=0.5),
        LowResolution(p=0.12, scale=(0.4, 0.9)),
        Blur(p=0.15, sigma=(0.2, 1.2), length=(1.5, 5)),
        Noise(p=0.12),
        JpegArtifacts(p=0.25, quality=(20, 85)),
    )
    COVERS = (DrawnMask(p=0.2), Blocks(p=0.04, size=(0.1, 0.3)))  # of one face of a piece
    DARK = 0.06  # share of scenes that are very dark

    def __init__(self, people: Sequence[Picture], nobody: Sequence[Picture], size: int = 192):
        self.people, self.nobody, self.size = list(people), list(nobody), size
        self.boxes = [[tilted_box(points) for points in picture.points] for picture in self.people]
        self.weights = np.ones(len(self.nobody))
        self.places = np.cumsum([picture.weight for picture in self.people])  # of each in a draw by weight

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(size, size, 3) uint8 RGB, and (F, 15) float32 faces: box, landmarks, and whether it is to be found."""
        canvas = _Canvas(self.size)
        whole = (0, 0, self.size, self.size)
        layout = rng.random()
        if layout < 0.35:
            self._fill(canvas, whole, rng)
        elif layout < 0.6:
            for cell in _grid(self.size, rng):
                self._fill(canvas, cell, rng)
        else:
            self._ground(canvas, whole, rng)
            for _ in range(rng.integers(1, 7)):
                self._lay(canvas, whole, self.size * np.exp(rng.uniform(np.log(0.02), np.log(0.5))), False, rng)
        image = cv2.cvtColor(canvas.image, cv2.COLOR_BGR2RGB)
        return self._changed(image, rng), canvas.faces()

    def _fill(self, canvas: "_Canvas", cell: tuple[int, int, int, int], rng: np.random.Generator) -> None:
        """One picture in a rectangle: of 30 % of them the border goes on to its edge, else the ground is seen."""
        short = min(cell[2] - cell[0], cell[3] - cell[1])
        side = short * np.exp(rng.uniform(np.log(0.1), np.log(1.5)))
        streaks = rng.random() < 0.3
        if not streaks:
            self._ground(canvas, cell, rng)
        self._lay(canvas, cell, side, streaks, rng)

    def _lay(
        self, canvas: "_Canvas", cell: tuple[int, int, int, int], side: float, streaks: bool, rng: np.random.Generator
    ) -> None:
        """A piece whose face has this side, somewhere in the rectangle: up to a quarter of it beyond the edge."""
        piece = self._piece(side, rng)
        piece = self._covered(piece, side, rng)
        if rng.random() < 0.7:
            piece = _cut(piece, rng)
        if rng.random() < 0.5:
            piece = _mirrored(piece)
        degrees = rng.normal(0, TILT) if rng.random() < UPRIGHT else rng.uniform(-180, 180)
        box = np.array(cell, float)
        length = box[2:] - box[:2]
        reach = np.abs(length - side) / 2 + np.minimum(length, side) / 4
        place = (box[:2] + box[2:] - 1) / 2 + reach * rng.uniform(-1, 1, 2)
        cos, sin = (side / piece.side * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])).tolist()
        turn = np.array([[cos, -sin], [sin, cos]])
        canvas.paste(piece, np.column_stack([turn, place - turn @ piece.anchor]), cell, streaks)

    def _piece(self, side: float, rng: np.random.Generator) -> Piece:
        """Somebody or nobody, to be scaled to a face of this side: much smaller, it is decoded smaller."""
        kind = rng.random()
        if kind < PEOPLE or (not self.nobody and kind < 0.8):
            number = self._somebody(rng)
            box = self.boxes[number][int(rng.integers(len(self.boxes[number])))]
            image, ratio = read_picture(self.people[number].file, side / box.side)
            points = (self.people[number].points + 0.5) * ratio - 0.5
            return Piece(image, points.astype(np.float32), (box.centre + 0.5) * ratio - 0.5, box.side * ratio)
        if kind < 0.8:
            number = int(rng.choice(len(self.nobody), p=self.weights / self.weights.sum()))
            image, _ = read_picture(self.nobody[number].file, side / 100)  # of 200 pixels
        else:
            image = self._beside(rng) if kind < 0.94 else _texture(96, 96, rng)
        height, width = image.shape[:2]
        middle = np.array([width, height]) * rng.uniform(0.4, 0.6, 2)
        return Piece(image, np.zeros((0, 68, 2), np.float32), middle, VIRTUAL * min(height, width))

    def _somebody(self, rng: np.random.Generator) -> int:
        """The number of a picture of people."""
        return int(np.searchsorted(self.places, rng.random() * self.places[-1], side="right"))

    def _beside(self, rng: np.random.Generator) -> np.ndarray:
        """What is left of, right of, above or below all faces of a picture; grain where that is too narrow."""
        number = self._somebody(rng)
        image, ratio = read_picture(self.people[number].file, 1.0)
        boxes = np.array([box.upright() for box in self.boxes[number]]) * ratio
        spare = 0.1 * boxes[:, 2:].max()
        left, top = (boxes[:, :2].min(0) - spare).astype(int)
        right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(0).astype(int) + int(spare)
        strips = [image[:, : max(left, 0)], image[:, right:], image[: max(top, 0)], image[bottom:]]
        strips = [strip for strip in strips if min(strip.shape[:2]) >= STRIP]
        return strips[rng.integers(len(strips))] if strips else _texture(96, 96, rng)

    def _covered(self, piece: Piece, side: float, rng: np.random.Generator) -> Piece:
        """Now and then a mask or a thing before a face that is not tiny."""
        if not len(piece.points) or side < 16:
            return piece
        for cover in self.COVERS:
            if rng.random() < cover.p:
                face = piece.points[rng.integers(len(piece.points))]
                piece = piece._replace(image=cover.change(PointSample(piece.image, face), rng).image)
        return piece

    def _ground(self, canvas: "_Canvas", cell: tuple[int, int, int, int], rng: np.random.Generator) -> None:
        """Fill a rectangle: with a picture of nobody, mirrored at its edges, or with colours and grain."""
        x0, y0, x1, y1 = cell
        if self.nobody and rng.random() < 0.5:
            number = int(rng.choice(len(self.nobody), p=self.weights / self.weights.sum()))
            image, _ = read_picture(self.nobody[number].file, 1.0)
            degrees, scale = rng.uniform(-180, 180), rng.uniform(0.6, 2) * max(x1 - x0, y1 - y0) / max(image.shape)
            matrix = cv2.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), degrees, scale)
            matrix[:, 2] += np.array([x1 - x0, y1 - y0]) / 2 - np.array(image.shape[1::-1]) / 2
            ground = cv2.warpAffine(image, matrix, (x1 - x0, y1 - y0), borderMode=cv2.BORDER_REFLECT_101)
        else:
            ground = _texture(y1 - y0, x1 - x0, rng)
        canvas.image[y0:y1, x0:x1] = ground
        canvas.owner[y0:y1, x0:x1] = 0

    def _changed(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Light, blur, grain and compression of the whole scene."""
        sample = PointSample(image, np.zeros((1, 2)))
        for change in self.CHANGES:
            if rng.random() < change.p:
                sample = change.change(sample, rng)
        if rng.random() < self.DARK:
            return cv2.convertScaleAbs(sample.image, alpha=rng.uniform(0.08, 0.4))
        return sample.image


class _Canvas:
    """A scene in the making. image: BGR. owner: (size, size) uint8, the number of the picture that each pixel is of, 0
    for the ground."""

    def __init__(self, size: int):
        self.image = np.zeros((size, size, 3), np.uint8)
        self.owner = np.zeros((size, size), np.uint8)
        self.shown: list[tuple[int, np.ndarray]] = []  # number of the picture, points of a face
        self.count = 0

    def paste(self, piece: Piece, matrix: np.ndarray, cell: tuple[int, int, int, int], streaks: bool) -> None:
        """Put a piece where the (2, 3) `matrix` leads, but within the rectangle. streaks: its border goes on there."""
        self.count += 1
        x0, y0, x1, y1 = cell
        height, width = piece.image.shape[:2]
        turn, shift = matrix[:, :2], matrix[:, 2]
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
        corners = corners @ turn.T + shift
        cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
        outline = np.round((corners - (x0, y0)) * 256).clip(-(2**28), 2**28).astype(np.int32)
        cv2.fillConvexPoly(cover, outline, 1, shift=8)
        inside = matrix - np.array([[0, 0, x0], [0, 0, y0]])
        border = cv2.BORDER_REPLICATE  # also where not seen: no dark rim
        warped = cv2.warpAffine(piece.image, inside, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=border)
        place, owner = self.image[y0:y1, x0:x1], self.owner[y0:y1, x0:x1]
        if streaks:
            place[:], owner[:] = warped, 0
        else:
            cv2.copyTo(warped, cover, place)
        owner[cover > 0] = self.count
        self.shown += [(self.count, points @ turn.T + shift) for points in piece.points]

    def faces(self) -> np.ndarray:
        """(F, 15) float32, of the faces that are seen at least a little."""
        rows = []
        for number, points in self.shown:
            box = tilted_box(points)
            cos, sin = np.cos(np.radians(box.roll)), np.sin(np.radians(box.roll))
            seen = self._seen(number, box.centre + (GRID * box.size) @ np.array([[cos, sin], [-sin, cos]])).mean()
            landmarks = five_landmarks(points)
            whole = seen >= SEEN and self._seen(number, landmarks).sum() >= LANDMARKS_SEEN
            state = FOUND if whole and box.side >= SMALLEST else DOUBTFUL if seen >= HARDLY_SEEN else ABSENT
            if state != ABSENT:
                rows.append(np.concatenate([box.upright(), landmarks.ravel(), [state]]))
        return np.array(rows, np.float32).reshape(-1, NUMBERS)

    def _seen(self, number: int, places: np.ndarray) -> np.ndarray:
        """(N,) whether these (N, 2) places are in the scene and show this picture."""
        x, y = np.round(places).astype(int).T
        size = len(self.owner)
        within = (x >= 0) & (y >= 0) & (x < size) & (y < size)
        return within & (self.owner[y.clip(0, size - 1), x.clip(0, size - 1)] == number)


def read_picture(file: Path, scale: float = 1.0) -> tuple[np.ndarray, float]:
    """(H, W, 3) uint8 BGR, decoded at 1, 1/2, 1/4 or 1/8 of its size, but never below `scale`; and which of these."""
    ratio, flag = next(((ratio, flag) for ratio, flag in REDUCED if scale * ratio <= 1), (1, cv2.IMREAD_COLOR))
    image = cv2.imread(str(file), flag)
    if image is None:
        raise ValueError(f"{file} cannot be read: remove it from the folder, or from the table")
    return image, 1 / ratio


def _cut(piece: Piece, rng: np.random.Generator) -> Piece:
    """A part of the picture: each side may be cut off, up to a little into the face."""
    height, width = piece.image.shape[:2]
    low = np.maximum(piece.anchor - 0.35 * piece.side, 1) * rng.random(2) ** 2
    high = (
        np.array([width, height])
        - np.maximum((width, height) - piece.anchor - 0.35 * piece.side, 1) * rng.random(2) ** 2
    )
    (x0, y0), (x1, y1) = low.astype(int), np.ceil(high).astype(int)
    shift = np.array([x0, y0])
    return piece._replace(image=piece.image[y0:y1, x0:x1], points=piece.points - shift, anchor=piece.anchor - shift)


def _mirrored(piece: Piece) -> Piece:
    width = piece.image.shape[1]
    anchor = piece.anchor * (-1, 1) + (width - 1, 0)
    return piece._replace(image=cv2.flip(piece.image, 1), points=mirror(piece.points, width), anchor=anchor)


def _texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8: one colour, a slope between colours, or spots of some size."""
    kind = rng.random()
    rows, columns = (1, 1) if kind < 0.2 else (2, 2) if kind < 0.45 else rng.integers(3, 40, 2).tolist()
    base = 255 * rng.random(3)
    spread = rng.uniform(5, 90)
    channels = 3 if rng.random() < 0.5 else 1
    spots = np.clip(base + rng.normal(0, spread, (rows, columns, channels)), 0, 255).astype(np.uint8)
    method = cv2.INTER_NEAREST if rng.random() < 0.2 else cv2.INTER_LINEAR
    return cv2.resize(spots, (width, height), interpolation=method)


def _grid(size: int, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
    """Two to four rectangles x0, y0, x1, y1 that fill the scene."""
    x, y = (size * rng.uniform(0.3, 0.7, 2)).astype(int).tolist()
    columns = [(0, x), (x, size)] if rng.random() < 0.75 else [(0, size)]
    rows = [(0, y), (y, size)] if rng.random() < 0.75 or len(columns) == 1 else [(0, size)]
    return [(left, top, right, bottom) for left, right in columns for top, bottom in rows]
