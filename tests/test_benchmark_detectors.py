"""The benchmark of the detectors: what it shows them, and what it counts as found."""

import numpy as np
import pytest

from benchmarks.detectors import any_face, at_the_landmarks, in_the_middle, laid, open_detector, plot_detectors, turned
from detector_architectures import Face
from glasses import GlassesPipeline
from glasses.photos import read_image

LANDMARKS = np.float32([[40, 50], [60, 50], [50, 62], [42, 74], [58, 74]])


def marked(width: int = 100, height: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture with a white spot at each landmark."""
    image = np.full((height, width, 3), 60, np.uint8)
    for x, y in LANDMARKS.astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return image, LANDMARKS


def assert_spots(image: np.ndarray, landmarks: np.ndarray) -> None:
    for x, y in np.round(landmarks).astype(int):
        assert image[y, x].min() > 200, (x, y)


@pytest.mark.parametrize("degrees", [0, 15, 90, 180, 210, 345])
def test_landmarks_turn_with_their_picture_and_nothing_is_cut_off(degrees):
    image, landmarks = turned(marked(), degrees)
    assert_spots(image, landmarks)
    cos, sin = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
    assert image.shape[1] == pytest.approx(100 * cos + 120 * sin, abs=1)
    assert image.shape[0] == pytest.approx(100 * sin + 120 * cos, abs=1)
    assert landmarks[0, 0] < landmarks[1, 0] or degrees >= 90, "the first eye is the left one of an upright face"


@pytest.mark.parametrize(("percent", "width"), [(200, 200), (100, 200), (30, 200), (10, 400), (2, 2000), (1, 4000)])
def test_a_face_is_so_many_percent_of_the_width_of_a_picture(percent, width):
    ground = np.full((30, 50, 3), 10, np.uint8)
    image, landmarks = laid(marked(), percent, ground, width_of_face=40)
    assert image.shape == (3 * width // 4, width, 3)
    eyes = np.hypot(*(landmarks[1] - landmarks[0]))
    assert eyes == pytest.approx(20 * percent / 100 * width / 40, rel=1e-3)
    inside = ((landmarks >= 0) & (landmarks < (image.shape[1], image.shape[0]))).all(1)
    if percent <= 100:
        assert inside.all()
        assert_spots(image, landmarks)
    middle = landmarks.mean(0) - (np.array([width, 3 * width // 4]) - 1) / 2
    assert np.abs(middle).max() < 0.5 * eyes + 1
    if percent <= 10:
        assert (image[0, 0] == 10).all()


def test_the_tool_finds_what_the_command_line_answers(astronaut, nobody):
    tool, pipeline = open_detector("tool"), GlassesPipeline()
    for file in (astronaut, *nobody[:3]):
        image = read_image(file)[0]
        assert [tuple(round(v) for v in face.box) for face in tool(image)] == [
            face.box for face in pipeline.answer(image).faces
        ]


def test_what_is_found():
    image = np.zeros((120, 100, 3), np.uint8)
    face = Face((30, 40, 40, 50), 0.9, "test", LANDMARKS)
    assert in_the_middle([face], image, None)
    assert not in_the_middle([Face((0, 0, 40, 50), 0.9, "test")], image, None)
    assert any_face([face], image, None)
    assert not any_face([], image, None)
    assert at_the_landmarks([Face((0, 0, 9, 9), 1, "test"), face], image, LANDMARKS + 5)
    assert not at_the_landmarks([face], image, LANDMARKS + 10)
    upside_down = Face(face.box, 0.9, "test", LANDMARKS[[1, 0, 2, 4, 3]])
    assert not at_the_landmarks([upside_down], image, LANDMARKS), "eyes and corners of the mouth have their sides"
    assert not at_the_landmarks([], image, LANDMARKS)


def test_each_detector_has_a_curve():
    import pandas as pd

    rows = [(name, test, of, 0.5) for name in ("one", "two") for test, of in (("turn", 0), ("turn", 15), ("size", 10))]
    figure = plot_detectors(pd.DataFrame(rows, columns=["detector", "test", "of", "value"]))
    assert [[line.get_label() for line in axes.lines] for axes in figure.axes] == [["one", "two"]] * 2
