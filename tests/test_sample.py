"""The embedded faces and what makes them: layout, labels, repeatability, and that they are faces."""

import socket

import cv2
import numpy as np
import pandas as pd
import pytest

from data_load import Label, MeGlass, SampleFaces, known_corrections, read_corrections, split
from detector_architectures import load_detector
from find_data import DataError, find_dataset
from glasses.eyewear import EYEWEAR, Frame, Head, draw_eyewear
from keypoint_data import FacialKeypointsDataset
from synthetic import make_sample, train_generator
from synthetic.face_generator import spline_map
from synthetic.make_sample import SAMPLE, SCENE, Scene, bare_faces, good_pictures, main, render, sample_latents
from synthetic.train_generator import MIRROR, procrustes, textures_of

FACES = SAMPLE / "faces-spring-2020" / "faces-spring-2020"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any attempt to open a connection fails."""

    def refuse(*_, **__):
        raise AssertionError("the sample must need no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def train():
    return pd.read_csv(SAMPLE / "train.csv")


@pytest.fixture(scope="module")
def kinds():
    return pd.read_csv(SAMPLE / "kinds.csv", keep_default_na=False)


def test_layout_of_the_kaggle_part(train, kinds):
    test = pd.read_csv(SAMPLE / "test.csv")
    assert len(train) >= 1000
    assert len(test) >= 200
    assert "glasses" not in test.columns
    assert list(train.columns) == [*test.columns, "glasses", "kind"]
    assert sorted([*train["id"], *test["id"]]) == list(kinds["id"])
    for number in kinds["id"]:
        assert (FACES / f"face-{number}.jpg").is_file()
    assert min(cv2.imread(str(FACES / "face-1.jpg")).shape[:2]) >= 96
    assert sum(file.stat().st_size for file in SAMPLE.rglob("*") if file.is_file()) <= 8e6


def test_half_wear_glasses_and_some_of_these_sunglasses(kinds):
    assert 0.45 < (kinds["kind"] != "none").mean() < 0.55
    assert 0.15 < (kinds["kind"] == "sunglasses").sum() / (kinds["kind"] != "none").sum() < 0.35


def test_label_noise_lists_all_wrong_labels_and_no_other(train, kinds):
    truth = kinds.set_index("id")["glasses"].loc[train["id"]].to_numpy()
    wrong = train.loc[train["glasses"] != truth, "id"]
    noise = pd.read_csv(SAMPLE / "label_noise.csv")
    assert sorted(noise["id"]) == sorted(wrong)
    assert 0.02 <= len(noise) / len(train) <= 0.05
    assert ((noise["kind"] != "none") != (noise["glasses"] == 1)).all()
    corrected = SampleFaces(SAMPLE).relabel(known_corrections(SampleFaces(SAMPLE)))
    right = kinds.set_index("id")["kind"].loc[train["id"]]
    assert [Label(label).name.lower() for label in corrected.labels] == list(right)
    assert read_corrections(SAMPLE / "label_noise.csv")["sample"] == known_corrections(SampleFaces(SAMPLE))


def test_wrong_labels_are_of_ordinary_kinds(train, kinds):
    """Nothing but the picture gives them away."""
    assert ((train["kind"] != "none") == (train["glasses"] == 1)).all()
    truth = kinds.set_index("id").loc[train["id"]]
    right = train["glasses"].to_numpy() == truth["glasses"].to_numpy()
    assert (train["kind"].to_numpy() == truth["kind"].to_numpy())[right].all()
    assert Label.UNKNOWN_KIND not in SampleFaces(SAMPLE).labels
    assert {"eyeglasses", "sunglasses"} == set(train["kind"][~right]) - {"none"}


def test_labels_are_how_the_face_was_made(train, kinds):
    latents = train.filter(regex=r"^v\d+$").to_numpy(dtype=np.float32)
    made = [Scene(latent).kind for latent in latents]
    assert made == list(kinds["kind"][: len(train)])


def test_shipped_pictures_come_from_their_latents(train):
    rows = [0, 1, 500]
    latents = train.filter(regex=r"^v\d+$").to_numpy(dtype=np.float32)[rows]
    for row, picture in zip(rows, render(latents), strict=True):
        shipped = cv2.cvtColor(cv2.imread(str(FACES / f"face-{train['id'][row]}.jpg")), cv2.COLOR_BGR2RGB)
        assert np.abs(shipped.astype(int) - picture.image).mean() < 6  # levels: JPEG, and another machine's rounding


def test_shipped_points_come_from_the_latents(train, tmp_path):
    tables = train, pd.read_csv(SAMPLE / "test.csv")
    latents = [table.filter(regex=r"^v\d+$").to_numpy(dtype=np.float32)[:8] for table in tables]
    points = [bare_faces(part)[1] for part in latents]
    made = [(None, make_sample.Picture(None, face, "none", "")) for part in points for face in part]
    make_sample.write_keypoints(tmp_path, made[:8] + [None] * (make_sample.TRAIN - 8) + made[8:], test=8, most=(8, 8))
    written = (tmp_path / "keypoints.csv").read_text().splitlines()
    shipped = (SAMPLE / "keypoints.csv").read_text().splitlines()
    trained, tested = make_sample.POINTED
    assert len(shipped) == 1 + trained + tested
    assert written == [*shipped[:9], *shipped[1 + trained :][:8]]


def test_the_detector_sees_the_shipped_points():
    """Its eyes, nose and mouth corners are where the table says, mostly within a tenth of the eyes' distance."""
    slim, dataset = load_detector("slim"), FacialKeypointsDataset(SAMPLE)
    errors = []
    for image, keypoints in (dataset[i] for i in range(0, len(dataset), 10)):
        eyes = np.stack([keypoints[36:42].mean(0), keypoints[42:48].mean(0)])
        places = np.concatenate([eyes, keypoints[[30, 48, 54]]])  # the order of the detector's five
        unit = np.hypot(*(eyes[1] - eyes[0]))
        errors += [np.hypot(*(face.landmarks - places).T) / unit for face in slim(image)[:1]]
    assert len(errors) > 50
    assert np.median(errors, axis=0).max() < 0.1


def test_the_same_seed_makes_the_same_pixels():
    first, again = (render(sample_latents(3, seed=5)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
    assert not np.array_equal(first[0].image, render(sample_latents(3, seed=6))[0].image)


def test_a_face_does_not_depend_on_its_neighbours():
    latents = sample_latents(4, seed=8)
    np.testing.assert_array_equal(render(latents)[2].image, render(latents[2:3])[0].image)


def test_detector_finds_the_faces(kinds):
    slim = load_detector("slim")
    files = [FACES / f"face-{number}.jpg" for number in kinds["id"][::10]]
    found = [bool(slim(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))) for file in files]
    assert np.mean(found) >= 0.98


@pytest.fixture
def landmarks():
    """(68, 2) of the mean face in a picture of 112 pixels."""
    generator = make_sample.generator()
    return generator.shapes(np.zeros((1, generator.size), np.float32))[0] * 112 / 96


def style_of(**numbers):
    """The average glasses but for these numbers of EYEWEAR."""
    return np.array([numbers.get(name, 0.0) for name in EYEWEAR])


def test_glasses_change_the_eyes_and_leave_the_chin(landmarks):
    face = np.full((112, 112, 3), 170, np.uint8)
    style = style_of(material=-2, lightness=-2)  # dark plastic
    worn = draw_eyewear(face, landmarks, style).astype(int)
    change = np.abs(worn - 170).max(-1)
    eyes, chin = landmarks[36:48].mean(0).astype(int), landmarks[8].astype(int)
    assert change[eyes[1] - 8 : eyes[1] + 8].max() > 60
    assert change[min(chin[1], 111) - 10 :].max() == 0
    np.testing.assert_array_equal(draw_eyewear(face, landmarks, style, opacity=0), face)


def test_glasses_on_the_head_leave_the_eyes_free(landmarks):
    face = np.full((112, 112, 3), 170, np.uint8)
    lifted = draw_eyewear(face, landmarks, style_of(material=-2, lightness=-2), lift=1.0).astype(int)
    change = np.abs(lifted - 170).max(-1)
    eyes = landmarks[36:48].mean(0).astype(int)
    assert change[: eyes[1] - 16].max() > 60
    assert change[eyes[1] - 8 :].max() == 0


def test_each_kind_of_rim_is_where_its_name_says(landmarks):
    rims = {}
    for value in (-2.0, -0.8, -0.55, 0.5):
        frame = Frame.of(style_of(rim=value, material=-1), landmarks)
        above, below = frame.normals[:, 1] < -0.9, frame.normals[:, 1] > 0.9
        rims[frame.rim] = frame.rim_widths[above].mean(), frame.rim_widths[below].mean()
    assert list(rims) == ["rimless", "half rim", "browline", "full rim"]
    assert max(rims["rimless"]) < 0.02
    assert rims["half rim"][0] > 0.04
    assert rims["half rim"][1] == 0
    assert rims["browline"][0] > 3 * rims["browline"][1] > 0
    assert min(rims["full rim"]) > 0.04


def test_dark_lenses_hide_the_eyes(landmarks):
    face = np.full((112, 112, 3), 170, np.uint8)
    x, y = landmarks[36:42].mean(0).round().astype(int)
    light = {}
    for tint in (-1.0, 1.5):
        worn = draw_eyewear(face, landmarks, style_of(tint=tint))
        light[tint] = worn[y - 2 : y + 3, x - 2 : x + 3].mean()
    assert light[1.5] < 0.6 * light[-1.0]


def test_head_knows_turn_and_scale():
    landmarks = np.zeros((68, 2))
    landmarks[36:42], landmarks[42:48], landmarks[30] = (40, 50), (70, 50), (55, 65)
    head = Head.of(landmarks)
    assert head.unit == pytest.approx(30)
    assert head.yaw == pytest.approx(0)
    assert head.roll == pytest.approx(0)
    np.testing.assert_allclose(head.project(np.array([[0.5, 0.0, 0.0]])), [[70, 50]])


def test_spline_reproduces_an_affine_map():
    rng = np.random.default_rng(0)
    source, at = rng.uniform(0, 100, (12, 2)), rng.uniform(0, 100, (5, 2))
    matrix, shift = np.array([[1.1, -0.2], [0.3, 0.9]]), np.array([4.0, -7.0])
    np.testing.assert_allclose(spline_map(source, at) @ (source @ matrix.T + shift), at @ matrix.T + shift, atol=1e-6)


def test_landmarks_of_a_mirror_image(landmarks):
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))
    mirrored = landmarks[MIRROR] * (-1, 1) + (112, 0)  # the mean face is nearly symmetrical
    assert np.abs(mirrored - landmarks).max() < 3


def test_procrustes_finds_turn_scale_and_shift():
    points = np.random.default_rng(0).uniform(0, 100, (7, 2))
    matrix, shift = 1.3 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]), np.array([5.0, -8.0])
    found_matrix, found_shift = procrustes(points, points @ matrix.T + shift)
    np.testing.assert_allclose(found_matrix, matrix, atol=1e-9)
    np.testing.assert_allclose(found_shift, shift, atol=1e-9)


@pytest.mark.parametrize("name", ["textures.npz", "textures"])
def test_textures_are_found_again_where_they_are_of_the_same_faces(
    name, landmarks, meglass, tmp_path, monkeypatch, capsys
):
    made = []

    def find_landmarks(dataset, indices):
        made.append(len(indices))
        return np.stack([landmarks + i for i in range(len(indices))]), np.asarray(indices), np.ones(len(indices))

    monkeypatch.setattr(train_generator, "find_landmarks", find_landmarks)
    dataset, cache = MeGlass(meglass), tmp_path / "cache" / name
    first = textures_of(dataset, cache)
    assert first.keys() == {"textures", "shapes", "scores", "mean"}
    again = textures_of(dataset, cache)
    assert made == [20], "the bare faces, once"
    for key, value in first.items():
        np.testing.assert_array_equal(again[key], value)
    assert capsys.readouterr().err == ""

    assert len(textures_of(dataset.subset(range(30)), cache)["textures"]) == made[-1] == 15
    assert capsys.readouterr().err == f"{cache} is of other faces, or of another program: made again\n"
    textures_of(dataset.subset(range(30)), cache, first["mean"] + 1)
    assert len(made) == 3, "warped to another mean"
    textures_of(dataset.subset(range(30)), cache, first["mean"] + 1)
    assert len(made) == 3
    np.savez(tmp_path / "old.npz", **first)
    textures_of(dataset, tmp_path / "old.npz")
    assert len(made) == 4, "nobody knows of which faces that was"
    assert [path.name for path in cache.parent.iterdir()] == [name]


def test_moving_along_glasses_puts_them_on():
    latent = sample_latents(1, seed=3, glasses=False)
    path = np.repeat(latent, 4, axis=0)
    path[:, -len(SCENE)] = [-1.0, -0.2, 0.2, 1.0]
    faces, _ = bare_faces(path)
    assert (faces == faces[0]).all()
    assert [Scene(one).kind != "none" for one in path] == [False, False, True, True]
    opacity = [Scene(one).opacity for one in path]
    assert opacity == sorted(opacity)
    assert (opacity[0], opacity[-1]) == (0, 1)


def test_meglass_part_splits_by_identity():
    dataset = MeGlass(SAMPLE)
    assert len(dataset) >= 200
    for identity in set(dataset.identities):
        labels = dataset.labels[[i for i, other in enumerate(dataset.identities) if other == identity]]
        assert set(labels) == {Label.NONE, Label.EYEGLASSES}
    one, other = split(dataset)
    assert not set(one.identities) & set(other.identities)


def test_the_second_set_has_another_camera():
    """Darker, flatter and softer than the first; and a bare wall where the first has something in the corner."""

    def describe(file):
        image = cv2.imread(str(file)).astype(float)
        step = np.abs(np.diff(image.mean(-1), axis=1)).mean()
        return image.mean(), image.std(), step, image[:12, :12].std((0, 1)).mean()

    folders = sorted(FACES.glob("*.jpg"))[::6], sorted((SAMPLE / "MeGlass_120x120").glob("*.jpg"))
    first, second = (np.mean([describe(file) for file in folder], axis=0) for folder in folders)
    assert (second < (0.95, 0.85, 0.8, 0.5) * first).all()


def test_shipped_pictures_of_people_come_from_their_seeds():
    faces = next(make_sample.people(make_sample.IDENTITIES, make_sample.PICTURES, load_detector("slim"), 2020))
    for number, (_, picture) in enumerate(faces):
        shipped = cv2.imread(str(SAMPLE / "MeGlass_120x120" / f"sample@identity_0@{number}.jpg"))[..., ::-1]
        assert np.abs(shipped.astype(int) - picture.image).mean() < 6  # levels: JPEG, and another machine's rounding


def test_find_dataset_falls_back_by_name(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GLASSES_DATA", "")
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    monkeypatch.setattr("find_data.DATASETS_DIR", tmp_path)
    assert find_dataset("sample") == SAMPLE
    with pytest.raises(DataError, match="kaggle: not found"):
        find_dataset("kaggle", download=False)
    assert capsys.readouterr().out == ""
    assert find_dataset("kaggle", download=False, fallback="sample") == SAMPLE
    assert capsys.readouterr().out.count("\n") == 1
    dataset = SampleFaces(find_dataset("sample"))
    assert len(dataset) >= 1000
    assert {Label.NONE, Label.EYEGLASSES, Label.SUNGLASSES} <= set(dataset.labels)


def test_command_makes_further_faces(tmp_path):
    assert main(["--out", str(tmp_path), "--count", "6", "--glasses", "--seed", "4"]) == 0
    table = pd.read_csv(tmp_path / "train.csv")
    assert list(table["glasses"]) == [1] * 6
    assert len(list((tmp_path / "faces-spring-2020" / "faces-spring-2020").glob("face-*.jpg"))) == 6
    points = FacialKeypointsDataset(tmp_path)
    assert [file.name for file in points.files] == [f"face-{i}.jpg" for i in range(1, 7)]


@pytest.mark.parametrize("arguments", [["--glasses"], ["--count", "5"], ["--count", "0", "--out", "x"]])
def test_command_refuses_what_makes_no_sense(arguments):
    with pytest.raises(SystemExit):
        main(arguments)


def test_good_pictures_says_when_there_are_none():
    with pytest.raises(ValueError, match="only 0 of"):
        good_pictures(1, [0], lambda image: [])
