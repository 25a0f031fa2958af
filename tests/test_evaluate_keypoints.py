"""How far off are the points?  Errors against hand-computed cases and slow loops, and the command on drawn faces."""

import re
import shutil

import numpy as np
import pytest

import evaluate_keypoints
from conftest import ROOT
from detector_architectures import Face, load_detector
from evaluate_keypoints import bootstrap, breakdown, locate, point_errors, summarize, table, turned
from glasses.classifiers import WEIGHTS
from glasses.keypoints import five_landmarks, open_keypoints
from keypoint_data import PARTS, FacialKeypointsDataset

SAMPLE = ROOT / "data" / "sample"


def face_like(count: int, seed: int = 0) -> np.ndarray:
    """(count, 68, 2) places, outer eye corners 40 pixels apart and level."""
    labels = np.random.default_rng(seed).uniform(0, 100, (count, 68, 2))
    labels[:, 36], labels[:, 45] = (30, 50), (70, 50)
    return labels


def test_errors_by_hand():
    labels = face_like(3)
    found = labels.copy()
    found[0, 0] += 3, 4  # 5 pixels of 40
    found[1] += 0, -8
    found[2] = np.nan
    errors = point_errors(found, labels)
    assert errors.shape == (3, 68)
    np.testing.assert_allclose(errors[0], [5 / 40, *[0] * 67], atol=1e-12)
    np.testing.assert_allclose(errors[1], 0.2)
    assert np.isnan(errors[2]).all()
    np.testing.assert_allclose(point_errors(2 * found, 2 * labels)[:2], errors[:2], atol=1e-12)

    five = five_landmarks(labels)
    five[:, 2] += 6, 0
    np.testing.assert_allclose(point_errors(five, labels), [[0, 0, 6 / 40, 0, 0]] * 3, atol=1e-12)


def test_a_missed_face_is_above_every_bound_and_in_no_mean():
    errors = np.array([0.05, 0.08, 0.09, 0.2, np.nan])  # 0.08 is not above 0.08
    row = summarize(errors, list("abcde"))
    assert (row["faces"], row["missed"]) == (5, 1)
    assert row["mean"] == pytest.approx((0.05 + 0.08 + 0.09 + 0.2) / 4)
    assert row["median"] == pytest.approx(0.085)
    assert row["above 0.08"] == pytest.approx(3 / 5)
    assert row["above 0.10"] == pytest.approx(2 / 5)
    assert row["low"] < row["mean"] < row["high"]


@pytest.mark.filterwarnings("error")
def test_where_all_faces_are_missed_nothing_is_a_mean():
    row = summarize(np.full(3, np.nan), list("aab"))
    assert (row["missed"], row["above 0.08"], row["above 0.10"]) == (3, 1, 1)
    assert np.isnan([row[name] for name in ("mean", "low", "high", "median")]).all()
    rows = breakdown(np.full((3, 68), np.nan), face_like(3))
    assert rows["mean"].isna().all()


def test_the_interval_is_that_of_a_slow_bootstrap_over_people():
    rng = np.random.default_rng(3)
    people = rng.choice(list("abcdefgh"), 40)
    errors = rng.gamma(2, 0.03, 40)
    errors[rng.random(40) < 0.2] = np.nan
    names = sorted(set(people))
    means = []
    for drawn in np.random.default_rng(evaluate_keypoints.SEED).integers(8, size=(evaluate_keypoints.RESAMPLES, 8)):
        faces = [e for i in drawn for e, person in zip(errors, people, strict=True) if person == names[i]]
        means.append(np.mean([error for error in faces if not np.isnan(error)]))
    means.sort()
    low, high = bootstrap(errors, people)
    place = len(means) - 1
    assert low == pytest.approx(np.interp(0.025 * place, range(len(means)), means))
    assert high == pytest.approx(np.interp(0.975 * place, range(len(means)), means))


def test_the_interval_is_as_wide_as_theory_says_and_knows_that_faces_of_a_person_are_alike():
    rng = np.random.default_rng(0)
    of_person = rng.normal(0.05, 0.01, 100)
    low, high = bootstrap(of_person, np.arange(100).astype(str))
    assert (high - low) == pytest.approx(2 * 1.96 * 0.01 / np.sqrt(100), rel=0.15)
    repeated = bootstrap(np.repeat(of_person, 9), np.repeat(np.arange(100), 9).astype(str))
    assert repeated == pytest.approx((low, high), abs=3e-4), "nine alike say no more than one"


def test_how_far_a_face_is_turned_by_hand():
    labels = face_like(4)
    labels[:, 30] = (50, 60), (60, 60), (40, 75), (70, 0)  # the middle of the eyes is at 50
    np.testing.assert_allclose(turned(labels), [0, 0.25, 0.25, 0.5])
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    np.testing.assert_allclose(turned(3 * labels @ turn + 7), [0, 0.25, 0.25, 0.5], atol=1e-9)


def test_every_face_is_in_one_group_of_each_kind():
    rng = np.random.default_rng(1)
    labels = face_like(200) * rng.uniform(0.3, 3, (200, 1, 1))  # 12 to 120 pixels between the eye corners
    labels[:5] = face_like(5) * np.array([30, 40, 50, 29.999, 1000])[:, None, None] / 40  # at the bounds, too
    errors = rng.gamma(2, 0.03, (200, 68))
    rows = breakdown(errors, labels)
    by_part = rows[rows["by"] == "part"].set_index("which")
    assert list(by_part.index) == list(PARTS)
    assert by_part.loc["nose", "mean"] == pytest.approx(
        np.mean([errors[i, j] for i in range(200) for j in range(27, 36)])
    )
    assert sum(by_part["mean"] * [17, 10, 9, 12, 20]) / 68 == pytest.approx(errors.mean())
    for what in ("eye distance", "turned"):
        group = rows[rows["by"] == what]
        assert group["faces"].sum() == 200, what
        assert (group["mean"] * group["faces"]).sum() / 200 == pytest.approx(errors.mean())
    sizes = rows[rows["by"] == "eye distance"].set_index("which")["faces"]
    between = np.hypot(*(labels[:, 45] - labels[:, 36]).T)
    assert sizes["30 to 40 pixels"] == sum(30 <= distance < 40 for distance in between)
    assert sizes["from 50 pixels"] == sum(distance >= 50 for distance in between)
    assert len(sizes) == 4


def test_a_missed_face_is_counted_in_its_group():
    errors, labels = np.full((4, 68), 0.1), face_like(4)
    errors[0] = np.nan
    labels[:, 30] = 50, 70
    rows = breakdown(errors, labels)
    assert list(rows["faces"]) == [4] * 7
    np.testing.assert_allclose(rows["mean"], 0.1)


# -------------------------------------------------------------------------------------------- whole pictures


@pytest.fixture(scope="module")
def faces() -> FacialKeypointsDataset:
    return FacialKeypointsDataset(SAMPLE).subset(range(8))


def test_points_are_found_in_the_order_of_the_pictures_and_missed_ones_are_nan(faces):
    """The detector finds nobody in the third, and in the others a second, smaller face."""
    third = faces.read(2)

    def detector(image):
        if np.array_equal(image, third):
            return []
        return [
            Face((0, 0, 9, 9), 1.0, "test"),
            Face((20, 20, 70, 70), 1.0, "test", np.full((5, 2), float(image[0, 0, 0]))),
        ]

    def finder(image, landmarks):
        (five,) = landmarks
        return np.full((1, 68, 2), five[0, 0] + 1000 * int(image[5, 5, 1]), np.float32)

    found = locate(faces, finder, detector)
    assert (found.shape, found.dtype) == ((8, 68, 2), np.float32)
    for index in range(8):
        image = faces.read(index).astype(int)
        expected = np.nan if index == 2 else int(image[0, 0, 0]) + 1000 * int(image[5, 5, 1])
        assert found[index, 7, 1] == pytest.approx(expected, nan_ok=True)


def test_a_row_for_each_finder(faces):
    found = {"right": faces.keypoints.copy(), "off": faces.keypoints + np.float32([2, 0])}
    found["right"][3] = np.nan
    rows = table(found, faces).set_index("network")
    expected = np.mean(2 / np.hypot(*(faces.keypoints[:, 45] - faces.keypoints[:, 36]).T))
    assert list(rows.index) == ["right", "off"]
    assert rows.loc["right", "mean"] == rows.loc["right", "five"] == pytest.approx(0, abs=1e-6)
    assert list(rows["missed"]) == [1, 0]
    assert rows.loc["off", "mean"] == pytest.approx(expected, rel=1e-5)
    assert rows.loc["off", "five"] == pytest.approx(expected, rel=1e-4)
    assert rows.loc["right", "above 0.10"] == pytest.approx(1 / 8)


def test_the_shipped_network_goes_the_whole_way(faces):
    found = evaluate_keypoints.evaluate(faces, {"keypoints": open_keypoints()}, load_detector("auto"))
    row = summarize(point_errors(found["keypoints"], faces.keypoints).mean(1), faces.keys())
    assert row["missed"] == 0
    assert row["mean"] < 0.11, "with the shift of the labels of YouTube Faces, which the sample's lack"


# --------------------------------------------------------------------------------------- the command line


def test_command(tmp_path, capsys):
    shutil.copy(WEIGHTS / "keypoints.onnx", tmp_path / "keypoints.onnx")
    models = ["keypoints", str(tmp_path / "keypoints.onnx")]
    command = ["--data", f"sample={SAMPLE}", "--part", "select", "--detector", "slim"]
    assert evaluate_keypoints.main([*command, "--model", *models, "--plot", str(tmp_path / "curve.png")]) == 0
    out = capsys.readouterr().out
    whole, *parts = out.split("\n\n")
    header, first, second = (line.split() for line in whole.splitlines())
    words = "network faces missed mean low high median above 0.08 above 0.10 five"
    assert " ".join(header) == words
    assert [first[0], second[0]] == models, "two files of one name are two networks"
    assert first[1:] == second[1:]
    assert int(first[1]) == len(evaluate_keypoints.choose_part(f"sample={SAMPLE}", "select"))
    assert 0 < float(first[3]) < 0.11
    assert [part.splitlines()[0] for part in parts] == models
    assert all(re.search(rf"part +{name} ", parts[0]) for name in PARTS)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_parts_of_the_labelled_faces():
    names = ("train", "select", "report", "all", "test")
    parts = {name: evaluate_keypoints.choose_part(f"sample={SAMPLE}", name) for name in names}
    files = {name: set(part.files) for name, part in parts.items()}
    assert files["train"] | files["select"] | files["report"] == files["all"]
    assert sum(len(files[name]) for name in ("train", "select", "report")) == len(files["all"])
    assert not files["test"] & files["all"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "ytf=/nowhere"], "/nowhere has no training_frames_keypoints.csv"),
        (["--data", "nonsense"], "unknown data set 'nonsense'"),
        (["--model", "nonsense"], "nonsense.onnx"),
        (["--model", str(WEIGHTS / "glasses.onnx")], "does not hold a key point network"),
        (["--model", str(SAMPLE / "README.md")], "does not hold a network"),
    ],
)
def test_wrong_arguments_are_one_line(capsys, arguments, message):
    assert evaluate_keypoints.main(["--data", f"sample={SAMPLE}", *arguments]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("evaluate_keypoints.py: ")
    assert message in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_a_plot_that_cannot_be_written_is_one_line_after_the_numbers(capsys, tmp_path, monkeypatch, faces):
    monkeypatch.setattr(evaluate_keypoints, "choose_part", lambda data, part: faces)
    assert evaluate_keypoints.main(["--plot", str(tmp_path / "no" / "curve.png")]) == 1
    told = capsys.readouterr()
    assert "network" in told.out
    assert told.err.startswith("evaluate_keypoints.py: ")
    assert told.err.count("\n") == 1


def test_unknown_choices_are_refused():
    for option in (["--part", "validation"], ["--detector", "yolo"]):
        with pytest.raises(SystemExit) as stop:
            evaluate_keypoints.main(option)
        assert stop.value.code == 2
