"""Two photos, one person or two: the vectors of a photo's faces, and `glasses same`."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from colour_blocks import by_hand
from conftest import ROOT
from glasses import GlassesPipeline, recognizer
from glasses.keypoints import open_keypoints
from glasses.photos import read_image
from glasses.recognizer import PLACES, Recognizer
from test_cli import call, run


@pytest.fixture(scope="module")
def pipeline(network):
    return GlassesPipeline(recognizer=Recognizer(network))


@pytest.fixture
def photos(tmp_path, hopper, astronaut) -> Path:
    """Grace Hopper twice, once smaller and darker; Eileen Collins; nobody."""
    shutil.copy(hopper, tmp_path / "hopper.jpg")
    smaller = Image.open(hopper).resize((360, 422), Image.Resampling.LANCZOS)
    ImageEnhance.Brightness(smaller).enhance(0.8).save(tmp_path / "darker.jpg", quality=80)
    Image.open(astronaut).convert("RGB").save(tmp_path / "collins.jpg", quality=95)
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "nobody.png")
    return tmp_path


def test_each_face_has_the_vector_of_its_chip(pipeline, hopper, astronaut):
    left, right = (Image.open(photo).convert("RGB").resize((512, 512)) for photo in (hopper, astronaut))
    both = np.hstack([np.asarray(left), np.asarray(right)])
    answers = list(pipeline([hopper, both, np.zeros((90, 90, 3), np.uint8)]))
    assert [len(answer.faces) for answer in answers] == [1, 2, 0]
    for face in [face for answer in answers for face in answer.faces]:
        assert (face.chip.shape, face.chip.dtype) == ((112, 112, 3), np.uint8)
        assert face.vector.dtype == np.float32
        assert face.vector == pytest.approx(by_hand(face.chip), abs=1e-5)
    assert answers[0].seconds["recognize"] > 0


def test_a_chip_has_eyes_nose_and_mouth_at_their_places(pipeline, hopper, astronaut):
    for photo in (hopper, astronaut):
        (face,) = pipeline.answer(photo).faces
        (found,) = open_keypoints().exact(face.chip, [PLACES.astype(np.float32)])
        assert np.abs(found - PLACES).max() < 6, "of 112 pixels"


def test_nobody_asked_nobody_gets_vectors(hopper):
    (face,) = GlassesPipeline().answer(hopper).faces
    assert face.vector is face.chip is None


def test_a_vector_does_not_depend_on_the_batch(pipeline, hopper, astronaut):
    many = list(pipeline([hopper, astronaut] * 3))
    for answer, photo in zip(many, [hopper, astronaut] * 3, strict=True):
        assert np.array_equal(answer.faces[0].vector, pipeline.answer(photo).faces[0].vector)


def test_a_small_face_beside_a_large_one_is_seen_in_all_its_pixels(pipeline, hopper, astronaut, tmp_path):
    """The JPEG is decoded at half its size for the large face; the small one's chip needs all of it."""
    image = np.full((1800, 2400, 3), 128, np.uint8)
    image[100:1636, 40:1576] = np.asarray(Image.open(astronaut).convert("RGB").resize((1536, 1536)))
    image[600:780, 2000:2154] = np.asarray(Image.open(hopper).resize((154, 180), Image.Resampling.LANCZOS))
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=100, subsampling=0)
    whole, decoded = pipeline.answer(image).faces, pipeline.answer(tmp_path / "a.jpg").faces
    assert len(whole) == len(decoded) == 2
    assert read_image(tmp_path / "a.jpg")[1] > 1
    assert decoded[1].box == pytest.approx(whole[1].box, abs=4)
    coarse = pipeline.answer(read_image(tmp_path / "a.jpg")[0]).faces[1]
    sharpness = [cv2.Laplacian(face.chip, cv2.CV_64F).var() for face in (decoded[1], whole[1], coarse)]
    assert sharpness[0] == pytest.approx(sharpness[1], rel=0.2)
    assert sharpness[0] > 2 * sharpness[2], "or it tests nothing"


def test_one_person_is_the_same_and_two_are_not(capsys, network, photos):
    status, out, err = call(capsys, "same", photos / "hopper.jpg", photos / "darker.jpg", "--model", network)
    assert (status, err) == (0, "")
    said = re.fullmatch(
        r"The same person \(similarity (\S+), threshold 0\.800: of 1,000 pairs of strangers 1 reaches it\)\n", out
    )
    assert 0.8 <= float(said[1]) <= 1
    status, out, err = call(capsys, "same", photos / "hopper.jpg", photos / "collins.jpg", "--model", network)
    assert (status, err) == (1, "")
    said = re.fullmatch(r"Not the same person \(similarity (\S+), threshold 0\.800: of 1,000 .*\)\n", out)
    assert -1 <= float(said[1]) < 0.8


def test_the_similarity_is_the_cosine_of_the_main_faces(capsys, pipeline, network, photos):
    names = [photos / "hopper.jpg", photos / "collins.jpg"]
    status, out, _ = call(capsys, "same", *names, "--model", network, "--format", "jsonl")
    record = json.loads(out)
    assert list(record) == ["same", "similarity", "threshold", "photos"]
    chips = [pipeline.answer(name).faces[0].chip for name in names]
    assert record["similarity"] == pytest.approx(by_hand(chips[0]) @ by_hand(chips[1]), abs=1e-4)
    assert (status, record["same"], record["threshold"]) == (1, False, 0.8)
    assert [photo["path"] for photo in record["photos"]] == list(map(str, names))
    assert [list(photo) for photo in record["photos"]] == [["path", "box", "faces", "error", "warning"]] * 2
    assert record["photos"][1]["box"] == list(pipeline.answer(names[1]).faces[0].box)


@pytest.mark.parametrize(("threshold", "expected"), [("-1", 0), ("1", 1)])
def test_a_threshold_of_ones_own_decides_and_promises_nothing(capsys, network, photos, threshold, expected):
    photo, other = photos / "hopper.jpg", photos / "collins.jpg"
    status, out, _ = call(capsys, "same", photo, other, "--model", network, f"--threshold={threshold}")
    assert status == expected
    assert out.endswith(f", threshold {float(threshold):.3f})\n")


@pytest.mark.parametrize(
    ("other", "why"), [("gone.jpg", "no such file"), ("nobody.png", "no face"), ("text.jpg", "not a picture")]
)
def test_without_two_faces_there_is_no_answer(capsys, network, photos, other, why):
    (photos / "text.jpg").write_text("not a picture")
    status, out, err = call(capsys, "same", photos / "hopper.jpg", photos / other, "--model", network)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"glasses: {photos / other}: {why}")
    turned = [photos / other, photos / "hopper.jpg"]
    status, out, _ = call(capsys, "same", *turned, "--model", network, "--format", "jsonl")
    record = json.loads(out)
    assert status == 2
    assert record["same"] is record["similarity"] is record["photos"][0]["box"] is None
    assert record["photos"][1]["error"] is None


def test_of_several_faces_the_main_one_is_compared_and_a_line_says_so(capsys, network, photos):
    group = Image.new("RGB", (900, 512), "grey")
    group.paste(Image.open(photos / "collins.jpg"), (0, 0))
    group.paste(Image.open(photos / "hopper.jpg").resize((200, 234)), (660, 100))
    group.save(photos / "group.jpg", quality=95)
    status, _, err = call(capsys, "same", photos / "collins.jpg", photos / "group.jpg", "--model", network)
    assert status == 0
    assert err.startswith(f"glasses: {photos / 'group.jpg'}: 2 faces: the main one")


def test_without_a_network_one_line_names_it(capsys, monkeypatch, tmp_path, hopper):
    missing = tmp_path / "recognition.onnx"
    monkeypatch.setattr(recognizer, "RECOGNIZER", missing)
    recognizer.open_recognizer.cache_clear()
    commands = (["same", hopper, hopper], ["group", hopper], ["embed", hopper, "--output", tmp_path / "a.npz"])
    for command in commands:
        status, out, err = call(capsys, *command)
        assert (status, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith(f"glasses: no network at {missing}")
    assert list(tmp_path.iterdir()) == []
    assert call(capsys, "same", hopper, hopper, "--model", hopper)[0] == 2
    recognizer.open_recognizer.cache_clear()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--threshold=1.5"], "between -1 and 1"), (["--threshold=nan"], "between -1 and 1"), (["c"], "unrecognized")],
)
def test_a_wrong_command_line_is_refused(capsys, hopper, options, message):
    status, out, err = call(capsys, "same", hopper, hopper, *options)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]


def test_as_a_process(network, photos):
    done = run("same", photos / "hopper.jpg", photos / "darker.jpg", "--model", network)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The same person (")
    done = run("same", "--help")
    assert done.returncode == 0
    assert "0 the same person, 1 not, 2 no answer" in " ".join(done.stdout.split())


def test_the_shipped_network_says_what_the_readme_shows(capsys, photos):
    """In the README the photos are as `sample_photos.py` writes them: the similarity may differ in its last digits."""
    status, out, err = call(capsys, "same", photos / "hopper.jpg", photos / "collins.jpg")
    assert (status, err) == (1, "")
    shown = re.search(r"^Not the same person \(similarity .*$", (ROOT / "README.md").read_text(), re.MULTILINE)[0]
    numbers = [re.findall(r"0\.\d+", line) for line in (shown, out)]
    assert re.sub(r"0\.\d+", "", out.strip()) == re.sub(r"0\.\d+", "", shown)
    assert float(numbers[1][0]) == pytest.approx(float(numbers[0][0]), abs=0.05)
    assert numbers[1][1] == numbers[0][1]  # the threshold of the file
    assert call(capsys, "same", photos / "hopper.jpg", photos / "darker.jpg")[0] == 0
