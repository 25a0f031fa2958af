"""How is an answer drawn?  Boxes and words in the photo, heat maps on faces, in the project's colours."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .pipeline import Answer

# Of the classes; told apart by colour-blind readers too (the palette of Okabe and Ito, 2008).
COLOURS = {"none": "#56B4E9", "eyeglasses": "#E69F00", "sunglasses": "#CC79A7", "unknown_kind": "#D55E00"}
POINT = "#F0E442"  # of a key point
SMALLEST, LARGEST = 10, 14  # letters: pixels at the least, 1/400 of the photo's long side at the most


class Rectangle(NamedTuple):
    """Corners in pixels of the drawn picture."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Rectangle") -> float:
        """The area that both cover, in pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


def annotate(
    image: np.ndarray, answer: Answer, scale: float = 1.0, names: Sequence[object] | None = None
) -> Image.Image:
    """A photo (H, W, 3) uint8 with the boxes and answers of its faces drawn in; the main face has the thick frame.

    Its key points are drawn where the answer has them. scale: pixels of the answer's boxes for a pixel of the image,
    from `read_image`. names: of the faces, for their labels; then no face is the main one. Labels keep off all faces
    and off each other as far as there is room.
    """
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    unit = max(picture.size) / 400  # line widths and letters keep their share of the photo
    corners = [(x, y, x + w, y + h) for x, y, w, h in (face.box for face in answer.faces)]
    boxes = [Rectangle(*(side / scale for side in of_face)) for of_face in corners]
    texts = [f"{'no glasses' if face.kind == 'none' else face.kind} ({face.probability:.2f})" for face in answer.faces]
    if names is not None:
        texts = [f"{name}: {text}" for name, text in zip(names, texts, strict=True)]
    colours = [COLOURS["none" if face.kind == "none" else "eyeglasses"] for face in answer.faces]
    thick = 0 if names is None else None
    for number, (box, colour) in enumerate(zip(boxes, colours, strict=True)):
        pen.rectangle(box, outline=colour, width=max(1, round((3 if number == thick else 1) * unit)))
    for face in answer.faces:
        if face.keypoints is not None:
            draw_points(pen, (face.keypoints + 0.5) / scale - 0.5, max(0.6, 0.012 * face.box[2] / scale))

    labels: list[Rectangle] = []
    for box, text, colour in zip(boxes, texts, colours, strict=True):
        font = _font(text, 1.3 * (box.right - box.left), unit)
        _, _, width, height = pen.textbbox((0, 0), text, font=font)
        others = [other for other in boxes if other is not box]
        label = place_label(box, (width + 2 * unit, height + 2 * unit), others + labels, picture.size, 2 * unit)
        labels.append(label)
        pen.rectangle(label, fill=colour)
        pen.text((label.left + unit, label.top), text, fill="black", font=font)
    return picture


def draw_points(pen: ImageDraw.ImageDraw, points: np.ndarray, radius: float) -> None:
    """(68, 2) points in pixels of the drawn picture, as dots with a dark edge that shows on any skin."""
    for x, y in points:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=POINT, outline="black", width=1)


def heat_map(crop: np.ndarray, places: np.ndarray) -> Image.Image:
    """What a network saw of a face, (H, W, 3) uint8, grey and three times as large, and in colours how much each place,
    (h, w), spoke for glasses or for none: the stronger, the more colour; full where it is strongest."""
    size = (3 * crop.shape[1], 3 * crop.shape[0])
    face = Image.fromarray(crop).convert("L").convert("RGB").resize(size, Image.Resampling.BICUBIC)
    strength = places / max(float(np.abs(places).max()), 1e-6)
    smooth = np.asarray(Image.fromarray(np.float32(strength)).resize(size, Image.Resampling.BICUBIC))
    for colour, share in ((COLOURS["eyeglasses"], smooth), (COLOURS["none"], -smooth)):
        mask = Image.fromarray(np.uint8(200 * share.clip(0, 1)))
        face.paste(Image.new("RGB", size, colour), mask=mask)
    return face


def _font(text: str, width: float, unit: float) -> ImageFont.FreeTypeFont:
    """The letters that make `text` no wider than `width`, within SMALLEST and LARGEST."""
    largest = max(SMALLEST, LARGEST * unit)
    font = ImageFont.load_default(largest)
    return ImageFont.load_default(float(np.clip(largest * width / font.getlength(text), SMALLEST, largest)))


def place_label(
    box: Rectangle, size: tuple[float, float], taken: list[Rectangle], picture: tuple[int, int], gap: float
) -> Rectangle:
    """Where a label of `size` (width, height) goes: beside its box, off what is taken, within the picture.

    Above the box if it can be, else below, then higher up and further down, then at the sides; where nothing is free,
    where it covers least. gap: pixels between label and box.
    """
    (width, height), middle = size, (box.left + box.right - size[0]) / 2
    places = []
    for row in range(4):
        above, below = box.top - gap - (row + 1) * height, box.bottom + gap + row * height
        for left in (box.left, middle, box.right - width):
            places += [(left, above), (left, below)]
    places += [(box.right + gap, box.top), (box.left - gap - width, box.top), (box.left, box.top)]
    best, least = None, np.inf
    for left, top in places:
        left = min(max(0.0, left), max(0.0, picture[0] - width))
        top = min(max(0.0, top), max(0.0, picture[1] - height))
        label = Rectangle(left, top, left + width, top + height)
        covered = sum(label.overlap(other) for other in taken) + 0.1 * label.overlap(box)
        if covered < least:
            best, least = label, covered
        if covered == 0:
            break
    return best
