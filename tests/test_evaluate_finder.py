"""The evaluation of the face finder: what it counts, and its command."""

import cv2
import numpy as np
import pytest

import evaluate_finder
from detector_architectures import Face
from evaluate_finder import report, search, tilt
from face_finder import FOUND
from mosaic import Composer
from scenes import Scenes
from test_scenes import SAMPLE, sample_pictures, sample_table


class Knows:
    """A finder that is told the faces of each scene, and finds those that `sees` lets it find."""

    def __init__(self, scenes: Scenes, sees=lambda side: True):
        self.answers = {scenes.scene(i)[0].tobytes(): scenes.scene(i)[1] for i in range(len(scenes))}
        self.sees = sees

    def look(self, image, size, min_score):
        found = [
            Face(tuple(face[:4].tolist()), 0.75, "knows", face[4:14].reshape(5, 2))
            for face in self.answers[image.tobytes()]
            if face[14] == FOUND and self.sees(np.sqrt(face[2] * face[3]))
        ]
        corner = Face((-900.0, -900.0, 9.0, 9.0), 0.3, "knows")  # where no face is
        return [*found, corner]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes(Composer(sample_pictures(20), [], 96), 30, 7)


def test_one_that_finds_all_faces_finds_all_and_its_false_ones_are_counted(scenes):
    boxes, faces = search(Knows(scenes), scenes)
    assert len(faces) == sum((scenes.scene(i)[1][:, 14] == FOUND).sum() for i in range(30))
    assert (faces["score"] == 0.75).all()
    assert (~boxes["hit"].astype(bool)).sum() == 30
    assert boxes["error"].dropna().max() == pytest.approx(0, abs=1e-6)
    said = report(boxes, faces, 30)
    assert "score from 0.5: 100.0% found, 0.000 false ones a scene" in said
    assert "score from 0.2: 100.0% found, 1.000 false ones a scene" in said
    assert "score from 0.8: 0.0% found" in said


def test_faces_are_counted_by_their_size(scenes):
    boxes, faces = search(Knows(scenes, sees=lambda side: side >= 24), scenes)
    assert ((faces["score"] > 0) == (faces["side"] >= 24)).all()
    said = report(boxes, faces, 30).splitlines()
    small, large = (next(line for line in said if line.startswith(f"side from {low} ")) for low in (12, 24))
    assert ": 0.0% of " in small
    assert ": 100.0% of " in large


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 180])
def test_the_tilt_is_the_angle_from_upright(degrees):
    upright = np.float32([[-10, -10], [10, -10], [0, 0], [-7, 10], [7, 10]])
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for side in (1, -1):
        turned = upright @ np.array([[cos, -side * sin], [side * sin, cos]])
        face = np.concatenate([[0, 0, 20, 20], turned.ravel(), [FOUND]])
        assert tilt(face) == pytest.approx(degrees, abs=1e-3)


def test_the_command_prints_and_draws(tmp_path, capsys):
    tables = sample_table(tmp_path)
    arguments = ["--data", f"sample={SAMPLE}", "--tables", str(tables), "--scenes", "12"]
    assert evaluate_finder.main([*arguments, "--plot", str(tmp_path / "new" / "r.png")]) == 0
    said = capsys.readouterr().out
    assert "faces in 12 scenes" in said
    assert "tilt from 135 degrees" in said
    assert cv2.imread(str(tmp_path / "new" / "r.png")).shape[0] > 200
    for wrong, words in (
        (["--data", "sample=nowhere"], "nowhere"),
        ([*arguments, "--model", "no.onnx"], "no network at no.onnx"),
        (["--data", f"sample={SAMPLE}", "--tables", str(tmp_path / "empty")], "no table"),
    ):
        assert evaluate_finder.main(wrong) == 1
        error = capsys.readouterr().err
        assert error.startswith("evaluate_finder.py: ")
        assert words in error
        assert error.count("\n") == 1
