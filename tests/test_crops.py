"""Alignment: where the eyes come out."""

import cv2
import numpy as np
import pytest

from glasses.crops import CROP, align_face


@pytest.mark.parametrize("angle", [-70, -20, 0, 15, 45])
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_align_puts_both_eyes_at_their_place(angle, scale):
    """A dot for each eye, turned and scaled, must come out at one place, on a level line."""
    size = 600
    unit = 60 * scale
    radians = np.deg2rad(angle)
    across = np.array([np.cos(radians), np.sin(radians)]) * unit
    down = np.array([-np.sin(radians), np.cos(radians)]) * unit
    middle = np.array([310.0, 280.0])
    eyes = np.array([middle - across / 2, middle + across / 2])
    mouth = np.array([eyes[0] + down, eyes[1] + down])
    landmarks = np.float32([*eyes, middle + down / 2, *mouth])
    image = np.zeros((size, size, 3), np.uint8)
    for eye, channel in zip(eyes, (0, 2), strict=True):
        at, radius = [round(v * 16) for v in eye], round(max(2, unit / 10) * 16)  # in sixteenths of a pixel
        cv2.circle(image, at, radius, [255 * (c == channel) for c in range(3)], -1, cv2.LINE_AA, shift=4)
    crop = align_face(image, landmarks)
    assert crop.shape == (64, 96, 3)
    for channel, x in ((0, 47.5 - CROP.unit / 2), (2, 47.5 + CROP.unit / 2)):
        weight = crop[..., channel].astype(float)
        rows, columns = np.indices(weight.shape)
        assert (weight * columns).sum() / weight.sum() == pytest.approx(x, abs=0.7)
        assert (weight * rows).sum() / weight.sum() == pytest.approx(31.5 - CROP.drop * CROP.unit, abs=0.7)


def test_align_profile_takes_its_size_from_eyes_to_mouth():
    """In profile the eyes nearly coincide; the crop must not be blown up."""
    landmarks = np.float32([[100, 100], [106, 100], [120, 120], [100, 140], [106, 140]])
    image = np.zeros((200, 200, 3), np.uint8)
    image[138:143, 60:140] = 255  # a line at the mouth, one unit (40 pixels) below the eyes
    crop = align_face(image, landmarks)
    row = np.average(np.arange(64), weights=crop[:, 48, 0].astype(float))
    assert row == pytest.approx(31.5 + (1 - CROP.drop) * CROP.unit, abs=1)


@pytest.mark.parametrize(
    "landmarks", [np.zeros((5, 2)), np.full((5, 2), 1e4), np.full((5, 2), -500.0), np.eye(5, 2) * 1e-9]
)
def test_align_survives_senseless_landmarks(landmarks):
    assert align_face(np.full((50, 60, 3), 9, np.uint8), landmarks).shape == (64, 96, 3)
