"""Where are the 68 points?  The finder against the synthetic faces, the pipeline, and the command line."""

import csv
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from conftest import ROOT
from detector_architectures import load_detector, main_face
from glasses import cli, keypoints, output
from glasses.drawing import annotate
from glasses.keypoints import PARTS, KeypointFinder, five_landmarks, open_keypoints, without_shift
from glasses.output import CSV_COLUMNS
from glasses.photos import read_image
from glasses.pipeline import Answer, FaceAnswer, GlassesPipeline
from glasses.predict import STAGES
from keypoint_data import FacialKeypointsDataset
from test_cli import call
from test_photos import STORED

SHIPPED = ROOT / "glasses" / "weights"
MEAN, WORST = 0.11, 0.25  # errors of the shipped network, in distances of the outer eye corners, on synthetic faces


@pytest.fixture(scope="module")
def faces() -> FacialKeypointsDataset:
    """Synthetic faces, 112x112, and where their points really are."""
    return FacialKeypointsDataset(ROOT / "data" / "sample", part="test")


def error(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of (68, 2) points, less the shift of the labels, from the true ones, in eye distances."""
    found = without_shift(found, open_keypoints().shift)
    distances = [np.hypot(x, y) for x, y in found - truth]
    return float(np.mean(distances) / np.hypot(*(truth[45] - truth[36])))


# ------------------------------------------------------------------------------------------------ by hand


def test_five_landmarks_by_hand():
    points = np.random.default_rng(0).uniform(0, 100, (2, 68, 2))
    for face, five in zip(points, five_landmarks(points), strict=True):
        for axis in (0, 1):
            assert five[0, axis] == pytest.approx(sum(face[i, axis] for i in (36, 37, 38, 39, 40, 41)) / 6)
            assert five[1, axis] == pytest.approx(sum(face[i, axis] for i in (42, 43, 44, 45, 46, 47)) / 6)
        np.testing.assert_array_equal(five[2:], [face[30], face[48], face[54]])
        np.testing.assert_array_equal(five_landmarks(face), five)


def test_without_shift_undoes_what_the_exported_network_adds():
    points = np.random.default_rng(0).uniform(0, 100, (4, 68, 2))
    shifted = points.copy()
    for face in shifted:  # along the line of its own outer eye corners
        face += 0.3 * (face[45] - face[36])
    np.testing.assert_allclose(without_shift(shifted, 0.3), points)
    np.testing.assert_allclose(without_shift(shifted[0], 0.3), points[0])
    level = np.zeros((68, 2))
    level[45] = 50, 0
    np.testing.assert_allclose(without_shift(level, 0.1)[0], [-5, 0])


# --------------------------------------------------------------------------------------------- the finder


def resized(image: np.ndarray, points: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    way = cv2.INTER_AREA if side < len(image) else cv2.INTER_CUBIC
    return cv2.resize(image, (side, side), interpolation=way), (points + 0.5) * side / len(image) - 0.5


def in_the_corner(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At the right and lower border of a large photo, the ear and the chin cut off."""
    photo = np.full((600, 800, 3), 90, np.uint8)
    photo[600 - 98 :, 800 - 94 :] = image[:98, :94]
    return photo, points + np.array([800 - 94, 600 - 98])


SHOWN = {
    "as it is": lambda image, points: (image, points),
    "turned by 180 degrees": lambda image, points: (image[::-1, ::-1].copy(), 111 - points),
    "turned by 90 degrees": lambda image, points: (
        np.rot90(image).copy(),
        np.stack([points[:, 1], 111 - points[:, 0]], axis=1),
    ),
    "small": lambda image, points: resized(image, points, 40),
    "large": lambda image, points: resized(image, points, 900),
    "in the corner": in_the_corner,
}


def as_of_a_detector(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The five landmarks of these points, off by about 4 % of the eye distance."""
    five = five_landmarks(truth)
    return five + rng.normal(0, 0.03 * np.hypot(*(five[1] - five[0])), five.shape)


@pytest.mark.parametrize("way", SHOWN)
def test_points_are_right_in_pixels_of_the_image(faces, way):
    errors, rng = [], np.random.default_rng(1)
    for index in range(12):
        image, truth = SHOWN[way](*faces[index])
        points = open_keypoints()(image, [as_of_a_detector(truth, rng)])
        assert (points.shape, points.dtype) == ((1, 68, 2), np.float32)
        errors.append(error(points[0], truth))
    assert np.mean(errors) < MEAN
    assert max(errors) < WORST


def test_several_faces_of_a_photo_are_each_found_as_alone(faces):
    """Black around each, as beyond the border of its own picture; and nothing depends on where a face is."""
    photo, places = np.zeros((500, 700, 3), np.uint8), [(30, 40), (380, 100), (200, 350)]
    for index, (x, y) in enumerate(places):
        photo[y : y + 112, x : x + 112] = faces.read(index)
    landmarks = [five_landmarks(faces.keypoints[index]) for index in range(3)]
    together = open_keypoints()(photo, [five + place for five, place in zip(landmarks, places, strict=True)])
    assert together.shape == (3, 68, 2)
    for index, place in enumerate(places):
        alone = open_keypoints()(faces.read(index), [landmarks[index]])[0]
        np.testing.assert_allclose(together[index] - place, alone, atol=0.1)


def test_bad_landmarks_are_mended_by_the_second_look(faces):
    """Half as wide again, turned by 15 degrees and aside: the first look gives what the second is aligned by."""
    image, truth = faces[3]
    five = five_landmarks(truth)
    cos, sin = 1.5 * np.cos(np.radians(15)), 1.5 * np.sin(np.radians(15))
    spoilt = (five - five.mean(0)) @ np.array([[cos, sin], [-sin, cos]]) + five.mean(0) + (3, -2)
    assert error(open_keypoints()(image, [spoilt])[0], truth) < WORST


def test_the_last_digits_of_landmarks_do_not_matter(faces):
    """They are not the same on each machine."""
    image, five = faces.read(0), np.round(PARTS * five_landmarks(faces.keypoints[0])) / PARTS
    expected = open_keypoints().seen(image, [five])
    for moved in (five - 0.4 / PARTS, five + 0.4 / PARTS):
        np.testing.assert_array_equal(open_keypoints().seen(image, [moved]), expected)
    assert not np.array_equal(open_keypoints().seen(image, [five + 1 / PARTS]), expected)


def test_no_faces_are_no_points(faces):
    points = open_keypoints()(faces.read(0), [])
    assert (points.shape, points.dtype) == ((0, 68, 2), np.float32)
    exact = open_keypoints().exact(faces.read(0), [])
    assert (exact.shape, exact.dtype) == ((0, 5, 2), np.float32)


@pytest.mark.parametrize("way", SHOWN)
def test_exact_landmarks_are_where_the_face_is_seen(faces, way):
    """Without the shift of the labels; from landmarks as of a detector, in the errors of the points."""
    errors, rng = [], np.random.default_rng(1)
    for index in range(12):
        image, truth = SHOWN[way](*faces[index])
        five = five_landmarks(truth)
        eyes = np.hypot(*(truth[45] - truth[36]))
        spoilt = as_of_a_detector(truth, rng)
        (exact,) = open_keypoints().exact(image, [spoilt])
        assert (exact.shape, exact.dtype) == ((5, 2), np.float32)
        errors.append(np.hypot(*(exact - five).T).mean() / eyes)
        seen = without_shift(open_keypoints()(image, [spoilt]), open_keypoints().shift)
        assert np.abs(exact - five_landmarks(seen)[0]).max() < 0.06 * eyes, "the mirror image would say nearly the same"
    assert np.mean(errors) < MEAN
    assert max(errors) < WORST


@pytest.mark.parametrize("portrait", ["astronaut", "hopper"])
def test_exact_landmarks_are_steadier_than_those_of_the_detector(portrait, request):
    """A photo shifted by some pixels shows the same face: how far do its landmarks move on it?"""
    image, detector = read_image(request.getfixturevalue(portrait))[0], load_detector("auto")
    own, exact = [], []
    for shift in np.random.default_rng(0).integers(0, 24, (12, 2)):
        x, y = (int(v) for v in shift)
        shifted = cv2.copyMakeBorder(image, y, 0, x, 0, cv2.BORDER_REPLICATE)
        face = main_face(detector(shifted), shifted.shape)
        own.append(face.landmarks - shift)
        exact.append(open_keypoints().exact(shifted, [face.landmarks])[0] - shift)
    spread = [np.sqrt(np.var(found, axis=0).sum(-1).mean()) for found in (own, exact)]
    eyes = np.hypot(*np.mean(exact, axis=0)[:2].T @ (-1, 1))
    assert spread[1] < spread[0] / 2
    assert spread[1] < 0.02 * eyes


def test_exact_landmarks_of_bad_ones_are_mended_by_the_second_look(faces):
    image, truth = faces[3]
    five = five_landmarks(truth)
    cos, sin = 1.5 * np.cos(np.radians(15)), 1.5 * np.sin(np.radians(15))
    spoilt = (five - five.mean(0)) @ np.array([[cos, sin], [-sin, cos]]) + five.mean(0) + (3, -2)
    (exact,) = open_keypoints().exact(image, [spoilt])
    again = open_keypoints().exact(image, [spoilt, five])
    np.testing.assert_allclose(again[0], exact, atol=0.01)
    left, before = (np.hypot(*(found - five).T).mean() for found in (exact, spoilt))
    assert left < before / 3


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), -1e4), np.full((5, 2), 40.0)])
def test_impossible_landmarks_give_numbers(faces, landmarks):
    assert np.isfinite(open_keypoints()(faces.read(0), [landmarks])).all()


def test_the_same_in_four_threads(faces):
    finder, indices = KeypointFinder(SHIPPED / "keypoints.onnx"), list(range(10)) * 3

    def find(index: int) -> np.ndarray:
        return finder(faces.read(index), [five_landmarks(faces.keypoints[index])])

    alone = [find(index) for index in range(10)]
    with ThreadPoolExecutor(4) as pool:
        for index, found in zip(indices, pool.map(find, indices), strict=True):
            np.testing.assert_array_equal(found, alone[index])


def with_other_points(path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(SHIPPED / "keypoints.onnx")
    about = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(model, about | {"points": "98"})
    onnx.save(model, path)


WRONG = {
    "classifier": (lambda path: shutil.copy(SHIPPED / "glasses.onnx", path), "no key point|no 'shift'"),
    "text": (lambda path: path.write_text("no network"), "does not hold a network"),
    "cut": (lambda path: path.write_bytes((SHIPPED / "keypoints.onnx").read_bytes()[:9999]), "does not hold"),
    "missing": (lambda path: None, "no network at"),
    "other points": (with_other_points, "it has other points"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_file_is_one_line(tmp_path, kind):
    make, words = WRONG[kind]
    make(tmp_path / "wrong.onnx")
    with pytest.raises((ValueError, OSError), match=words) as caught:
        KeypointFinder(tmp_path / "wrong.onnx")
    assert "wrong.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_shipped_file_is_small_and_says_what_it_is():
    assert (SHIPPED / "keypoints.onnx").stat().st_size <= 1_200_000
    finder = open_keypoints()
    assert finder is open_keypoints(), "opened once"
    assert finder.session.get_inputs()[0].shape[1:] == [finder.crop.height, finder.crop.width, 3]
    assert 0 <= finder.shift < 0.1


# ------------------------------------------------------------------------------------------- the pipeline


@pytest.fixture(scope="module")
def plain() -> GlassesPipeline:
    return GlassesPipeline()


@pytest.fixture(scope="module")
def pointed() -> GlassesPipeline:
    return GlassesPipeline(keypoints=True)


@pytest.fixture(scope="module")
def both(hopper, astronaut) -> np.ndarray:
    """Two portraits side by side, (512, 1024, 3)."""
    return np.hstack([cv2.resize(read_image(photo)[0], (512, 512)) for photo in (hopper, astronaut)])


def test_points_only_where_they_were_asked_for_and_nothing_else_changes(plain, pointed, both, hopper, nobody):
    photos = [hopper, both, nobody[3], "gone.jpg"]
    for without, answer in zip(plain(photos), pointed(photos), strict=True):
        assert all(face.keypoints is None for face in without.faces)
        assert "keypoints" not in without.seconds
        assert replace(without, seconds={}) == replace(answer, seconds={}), "to the last digit"
        assert ("keypoints" in answer.seconds) == (answer.error is None)
        for face in answer.faces:
            assert (face.keypoints.shape, face.keypoints.dtype) == ((68, 2), np.float32)
    assert [len(answer.faces) for answer in pointed(photos)] == [1, 2, 0, 0]


def test_each_face_has_its_own_points(pointed, both):
    for face in pointed.answer(both).faces:
        x, y, w, h = face.box
        points, five = face.keypoints, five_landmarks(face.keypoints)
        assert x < points[:, 0].mean() < x + w
        assert y < points[:, 1].mean() < y + h
        inside = (points > (x - 0.15 * w, y - 0.15 * h)) & (points < (x + 1.15 * w, y + 1.15 * h))
        assert inside.all(1).mean() > 0.95
        assert five[0, 0] < five[2, 0] < five[1, 0], "upright, and left is left"
        assert max(five[:2, 1]) < five[2, 1] < min(five[3:, 1])


@pytest.mark.parametrize("orientation", STORED)
def test_points_are_of_the_upright_photo(pointed, both, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](both[:, 512:])))
    stored.save(tmp_path / "a.jpg", exif=exif, quality=97)
    (face,), (expected,) = (pointed.answer(photo).faces for photo in (tmp_path / "a.jpg", both[:, 512:]))
    assert np.hypot(*(face.keypoints - expected.keypoints).T).mean() < 2.5  # of a face 88 pixels wide


def test_points_are_in_pixels_of_a_photo_that_is_decoded_smaller(pointed, astronaut, tmp_path):
    image = read_image(astronaut)[0]
    Image.fromarray(image).resize((4096, 4096), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=90)
    assert read_image(tmp_path / "large.jpg")[1] == 4
    large, small = (pointed.answer(photo).faces[0].keypoints for photo in (tmp_path / "large.jpg", image))
    assert np.hypot(*((large + 0.5) / 8 - 0.5 - small).T).mean() < 2.5  # of a face 88 pixels wide


def test_corners_of_the_picture_stay_corners(astronaut, tmp_path):
    """A point at the very corner of what was decoded is at the very corner of the photo."""
    pipeline = GlassesPipeline("center", keypoints=True)

    class Corners:
        crop = open_keypoints().crop

        def __call__(self, image, landmarks):
            return np.float32([[[-0.5, -0.5], [image.shape[1] - 0.5, image.shape[0] - 0.5]]] * len(landmarks))

    pipeline.find_keypoints = Corners()
    Image.open(astronaut).convert("RGB").resize((4000, 3200)).save(tmp_path / "large.jpg")
    (face,) = pipeline.answer(tmp_path / "large.jpg").faces
    np.testing.assert_allclose(face.keypoints, [[-0.5, -0.5], [3999.5, 3199.5]])


def test_trouble_with_the_points_of_one_photo_does_not_lose_the_others(hopper, both):
    pipeline = GlassesPipeline(keypoints=True)
    find = pipeline.find_keypoints

    def trouble(image, landmarks):
        if image.shape[1] == 1024:
            raise IndexError("x")
        return find(image, landmarks)

    pipeline.find_keypoints = trouble
    first, second, third = pipeline([hopper, both, hopper])
    assert first.glasses is third.glasses is True
    assert second.error == "cannot be searched for faces: x"


@pytest.fixture
def no_network(monkeypatch, tmp_path) -> Path:
    """As if the tool came without keypoints.onnx; where it is looked for."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(keypoints, "KEYPOINTS", tmp_path / "empty" / "keypoints.onnx")
    open_keypoints.cache_clear()
    yield tmp_path / "empty" / "keypoints.onnx"
    open_keypoints.cache_clear()


@pytest.mark.parametrize("asked", [False, True])
def test_without_the_network_no_pipeline_is_made(no_network, hopper, capsys, asked):
    """Every face is cut out by its points, whether they are asked for or not."""
    with pytest.raises(FileNotFoundError, match=r"keypoints\.onnx"):
        GlassesPipeline(keypoints=asked)
    status, out, err = call(capsys, hopper, *(["--keypoints"] if asked else []))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("glasses")
    assert str(no_network) in err


def test_points_are_drawn_where_they_are_and_nowhere_else():
    """On a photo that was decoded at a quarter of its size."""
    image = np.full((300, 400, 3), 128, np.uint8)
    places = np.random.default_rng(0).uniform((600, 500), (1000, 900), (68, 2)).astype(np.float32)

    def drawn(points: np.ndarray | None) -> np.ndarray:
        face = FaceAnswer((600, 500, 400, 400), 0.1, "none", points)
        return np.asarray(annotate(image, Answer("a.jpg", False, 0.1, "none", "slim", [face]), 4.0), int)

    changed = np.argwhere(np.abs(drawn(places) - drawn(None)).max(2) > 0)[:, ::-1]
    in_image = (places + 0.5) / 4 - 0.5
    distances = np.hypot(*(changed[:, None] - in_image).transpose(2, 0, 1))  # (pixels, 68)
    assert distances.min(0).max() < 1, "every point is drawn"
    assert distances.min(1).max() < 4, "and nothing else"
    assert len(changed) > 68


# --------------------------------------------------------------------------------------- the command line


@pytest.fixture
def photos(tmp_path, both, nobody) -> Path:
    """A folder with two people in one photo, one person, nobody, and a text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(both).save(folder / "a.png")
    Image.fromarray(both[:, 512:]).save(folder / "b.png")
    shutil.copy(next(file for file in nobody if file.name == "coins.png"), folder / "c.png")
    (folder / "d.jpg").write_text("no picture")
    return folder


def test_jsonl_has_68_pairs_a_face(capsys, photos, pointed, both):
    _, plain, _ = call(capsys, photos, "--format", "jsonl")
    status, out, _ = call(capsys, photos, "--format", "jsonl", "--keypoints")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 1, "for d.jpg"
    found = [face.pop("keypoints") for record in records for face in record["faces"]]
    assert records == [json.loads(line) for line in plain.splitlines()], "all else is as it was"
    assert [len(record["faces"]) for record in records] == [2, 1, 0, 0]
    expected = [face.keypoints for photo in (both, both[:, 512:]) for face in pointed.answer(photo).faces]
    assert all(len(points) == 68 and all(len(pair) == 2 for pair in points) for points in found)
    np.testing.assert_allclose(found, expected, atol=0.0051)  # two decimals


def test_csv_has_136_more_columns(capsys, photos):
    _, plain, _ = call(capsys, photos, "--format", "csv")
    _, out, _ = call(capsys, photos, "--format", "csv", "--keypoints")
    header, *rows = csv.reader(io.StringIO(out, newline=""))
    before = list(csv.reader(io.StringIO(plain, newline="")))
    assert [header[:14], *(row[:14] for row in rows)] == before
    assert before[0] == CSV_COLUMNS
    assert header[14:] == [name for number in range(68) for name in (f"x{number}", f"y{number}")]
    assert [len(row) for row in rows] == [150] * 5
    assert [set(row[14:]) == {""} for row in rows] == [False, False, False, True, True], "nobody, unreadable"

    _, out, _ = call(capsys, photos, "--format", "jsonl", "--keypoints")
    points = [face["keypoints"] for line in out.splitlines() for face in json.loads(line)["faces"]]
    np.testing.assert_allclose([[float(cell) for cell in row[14:]] for row in rows[:3]], np.reshape(points, (3, 136)))


def test_text_stays_as_it_is(capsys, photos):
    assert call(capsys, photos, "--keypoints") == call(capsys, photos)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_resume_wants_the_points_again(capsys, photos, tmp_path, monkeypatch, form):
    arguments = [photos, "--format", form, "--output", tmp_path / "answers"]
    call(capsys, photos, "--format", form, "--keypoints", "--output", tmp_path / "whole")
    for first, second, words in (
        (["--keypoints"], [], "keypoints was True and is False"),
        ([], ["--keypoints"], "keypoints was False and is True"),
    ):
        real, count = output._written, 0

        def interrupted(*of_answer, real=real):
            nonlocal count
            count += 1
            if count > 1:
                raise KeyboardInterrupt
            return real(*of_answer)

        with monkeypatch.context() as patch:
            patch.setattr(output, "_written", interrupted)
            with pytest.raises(KeyboardInterrupt):
                cli.main([str(argument) for argument in [*arguments, *first]])
        capsys.readouterr()
        status, _, err = call(capsys, *arguments, *second, "--resume")
        assert (status, err.count("\n")) == (2, 1)
        assert words in err
        assert call(capsys, *arguments, *first, "--resume")[0] == 1, "for d.jpg"
        same = (tmp_path / "answers").read_bytes() == (tmp_path / "whole").read_bytes()
        assert same == ("--keypoints" in first)


def test_draw_draws_the_points(capsys, photos, tmp_path, pointed, both):
    for name, more in (("plain", []), ("pointed", ["--keypoints"])):
        assert call(capsys, photos / "b.png", "--draw", tmp_path / name, *more)[0] == 0
    without, drawn = (np.asarray(Image.open(tmp_path / name / "b.jpg"), int) for name in ("plain", "pointed"))
    changed = np.argwhere(np.abs(drawn - without).max(2) > 60)[:, ::-1]
    points = pointed.answer(both[:, 512:]).faces[0].keypoints
    distances = np.hypot(*(changed[:, None] - points).transpose(2, 0, 1))
    assert distances.min(1).max() < 6
    assert (distances.min(0) < 3).mean() > 0.9


def test_time_lists_the_stage(capsys, photos):
    tables = []
    for more in ([], ["--keypoints"]):
        _, _, err = call(capsys, photos, "--time", *more)
        tables.append(next(line for line in err.splitlines() if line.startswith("median milliseconds")))
    assert "keypoints" not in tables[0]
    assert [word for word in tables[1].replace(":", "").split() if word in STAGES] == list(STAGES)
