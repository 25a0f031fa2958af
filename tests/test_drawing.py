"""Boxes and labels: on their face, off the others, within the picture."""

from itertools import combinations

import numpy as np
import pytest

from glasses.drawing import Rectangle, annotate, place_label
from glasses.pipeline import Answer, FaceAnswer


def crowd(seed: int) -> list[Rectangle]:
    """Up to twelve boxes of several sizes in a picture of 900x620, none over another."""
    rng, boxes = np.random.default_rng(seed), []
    for _ in range(200):
        side = rng.integers(40, 100)
        x, y = rng.integers(0, 900 - side), rng.integers(0, 620 - side)
        box = Rectangle(x, y, x + side, y + 1.2 * side)
        if not any(box.overlap(other) for other in boxes) and box.bottom <= 620 and len(boxes) < 12:
            boxes.append(box)
    return boxes


@pytest.mark.parametrize("seed", range(8))
def test_labels_keep_off_faces_and_off_each_other(seed):
    boxes, labels = crowd(seed), []
    for box in boxes:
        others = [other for other in boxes if other is not box]
        labels.append(place_label(box, (95, 16), others + labels, (900, 620), 4))
    assert not any(one.overlap(other) for one, other in combinations(labels, 2))
    for box, label in zip(boxes, labels, strict=True):
        assert not any(label.overlap(other) for other in boxes if other is not box)
        assert 0 <= label.left <= label.right <= 900
        assert 0 <= label.top <= label.bottom <= 620


def test_a_label_without_room_covers_least():
    """A face as large as the picture: its label lies within, on itself."""
    whole = Rectangle(0, 0, 100, 100)
    label = place_label(whole, (60, 16), [], (100, 100), 4)
    assert (label.left >= 0, label.top >= 0, label.right <= 100, label.bottom <= 100) == (True,) * 4


def test_a_face_is_not_written_on_by_its_neighbour():
    """Two faces one above the other, in an image that is all white: nothing is drawn inside either box."""
    faces = [FaceAnswer((100, 100, 80, 100), 0.99, "eyeglasses"), FaceAnswer((100, 210, 80, 100), 0.01, "none")]
    answer = Answer("", True, 0.99, "eyeglasses", "slim", faces)
    drawn = np.asarray(annotate(np.full((400, 400, 3), 255, np.uint8), answer))
    for x, y, w, h in (face.box for face in faces):
        assert (drawn[y + 6 : y + h - 6, x + 6 : x + w - 6] == 255).all()
    assert (drawn != 255).any()


def test_faces_with_names_are_drawn_alike():
    """None is the main one, whose frame would be thicker; and each label is longer by its name."""
    faces = [FaceAnswer((60, 150, 200, 200), 0.01, "none"), FaceAnswer((460, 150, 200, 200), 0.01, "none")]
    answer, white = Answer("", faces=faces), np.full((400, 800, 3), 255, np.uint8)
    plain, named = (np.asarray(annotate(white, answer, names=names)) for names in (None, (7, 12)))
    left, right = ((picture[250, x - 12 : x + 12] != 255).any(1).sum() for picture, x in ((named, 60), (named, 460)))
    assert left == right
    assert (plain[250, 48:72] != 255).any(1).sum() > left
    widths = [(picture[140:148] != 255).any((0, 2)).sum() for picture in (plain, named)]
    assert widths[1] > widths[0]
