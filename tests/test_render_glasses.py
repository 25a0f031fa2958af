"""Glasses drawn on bare faces: of all kinds, where the eyes are, only on people who train, and the same each time."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import render_glasses
from conftest import ROOT, cartoon
from data_load import FaceDataset, Label, Rendered
from detector_architectures import Face
from glasses.frames import FRAMES, LENSES
from glasses.keypoints import five_landmarks
from glasses.photos import read_image
from render_glasses import bare_faces, change_at_eyes, draw_on, hsv, jobs_of, put_on, random_glasses
from sources import load_sources
from test_tryon import POINTS

SAMPLE = ROOT / "data" / "sample"
EYES = five_landmarks(POINTS)[:2]


@pytest.fixture(scope="module")
def photo(astronaut) -> np.ndarray:
    return read_image(astronaut)[0]


@pytest.fixture(scope="module")
def train() -> dict[str, FaceDataset]:
    return load_sources({"sample": str(SAMPLE)}, {}).train


def drawn_glasses(dark: bool, count: int = 300) -> list[render_glasses.Glasses]:
    return [random_glasses(np.random.default_rng(seed), dark) for seed in range(count)]


# -------------------------------------------------------------------------------------------- random glasses


def test_frames_are_of_every_kind():
    glasses = drawn_glasses(dark=False)
    rims = np.array([one.design.rim for one in glasses])
    assert (rims.max(1) == 0).sum() > 15, "rimless"
    assert ((rims[:, 0] > 0) & (rims[:, 1] == 0)).sum() > 15, "half rim"
    assert ((rims.max(1) > 0) & (rims.max(1) < 2)).sum() > 30, "thin"
    assert (rims.min(1) > 3).sum() > 30, "thick"
    assert sum(one.design.one_piece for one in glasses) > 15
    assert len({one.design.outline for one in glasses}) == len({design.outline for design in FRAMES.values()})
    assert len({one.design.colour for one in glasses}) > 200
    sizes = np.array([one.size for one in glasses])
    assert 0.92 <= sizes.min() < 0.94
    assert 1.06 < sizes.max() <= 1.08


def test_lenses_of_sunglasses_have_all_colours_and_are_never_clear():
    glasses = drawn_glasses(dark=True)
    assert {one.lens for one in glasses} == {"tinted", "mirror"}
    tints = np.array([one.design.tint for one in glasses])
    bright = tints[tints.max(1) > 0.3]
    assert 0.3 < len(bright) / len(tints) < 0.7, "half are about black"
    warm = (bright[:, 0] > bright[:, 1]) & (bright[:, 0] > bright[:, 2])
    assert 0.35 < warm.mean() < 0.85, "orange, red, pink"
    assert {int(row.argmax()) for row in bright} == {0, 1, 2}
    top, fade = np.array([one.design.opacity for one in glasses]).T
    assert top.min() >= 0.5
    assert top.max() <= 0.98
    assert (top - fade).min() >= 0.35 - 1e-9, "dark at the bottom, too"


def test_lenses_of_eyeglasses_are_clear_or_faintly_tinted():
    glasses = drawn_glasses(dark=False)
    assert {one.lens for one in glasses} == {"clear", "tinted"} < set(LENSES)
    assert max(one.design.opacity[0] for one in glasses if one.lens == "tinted") <= 0.3
    assert 0.1 < np.mean([one.lens == "tinted" for one in glasses]) < 0.3


def test_colours_by_hue():
    assert hsv(0, 1, 1) == pytest.approx((1, 0, 0))
    assert hsv(1 / 3, 1, 0.5) == hsv(4 / 3, 1, 0.5) == pytest.approx((0, 0.5, 0), abs=1e-6)
    assert hsv(-1 / 3, 0.5, 1) == pytest.approx((0.5, 0.5, 1))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_both_renderers_draw_at_the_eyes_alone_and_the_same_each_time(photo, monkeypatch, share):
    monkeypatch.setattr(render_glasses, "EYEWEAR_SHARE", share)
    before, changes = photo.copy(), {}
    for dark in (False, True):
        pictures = [put_on(photo, POINTS, np.random.default_rng(seed), dark) for seed in range(4)]
        np.testing.assert_array_equal(put_on(photo, POINTS, np.random.default_rng(0), dark), pictures[0])
        assert not np.array_equal(pictures[0], pictures[1])
        for picture in pictures:
            assert change_at_eyes(photo, picture, EYES) > render_glasses.VISIBLE
            np.testing.assert_array_equal(picture[220:], photo[220:])
            np.testing.assert_array_equal(picture[:, :120], photo[:, :120])
        changes[dark] = np.mean([np.abs(picture[95:110, 190:260].astype(int) - photo[95:110, 190:260]).mean()
                                 for picture in pictures])  # fmt: skip
    assert changes[True] > 2 * changes[False]
    np.testing.assert_array_equal(photo, before)


# ---------------------------------------------------------------------------------------- what is left out


def fake_detector(*faces: Face):
    return lambda image: list(faces)


class FakeKeypoints:
    shift = 0.0

    def __init__(self, points: np.ndarray):
        self.points = points

    def __call__(self, image, landmarks):
        return np.float32([self.points] * len(landmarks))


def test_a_face_is_left_out_where_nobody_is_found_or_the_eyes_are_doubtful(photo):
    face = Face((170, 60, 110, 120), 0.9, "fake", np.float32(five_landmarks(POINTS)))
    rng = np.random.default_rng
    assert draw_on(photo, fake_detector(), FakeKeypoints(POINTS), rng(0), True) is None
    assert draw_on(photo, fake_detector(face), FakeKeypoints(POINTS), rng(0), True) is not None
    distance = np.hypot(*(EYES[1] - EYES[0]))
    for share, kept in ((0.15, True), (0.25, False)):
        points = POINTS + np.array([0, share * distance])
        assert (draw_on(photo, fake_detector(face), FakeKeypoints(points), rng(0), True) is not None) == kept


def test_a_face_is_left_out_where_nothing_is_to_be_seen(photo, monkeypatch):
    face = Face((170, 60, 110, 120), 0.9, "fake", np.float32(five_landmarks(POINTS)))
    for levels, kept in ((10, False), (30, True)):
        monkeypatch.setattr(render_glasses, "put_on", lambda image, *_, by=levels: image - np.minimum(image, by))
        drawn = draw_on(photo, fake_detector(face), FakeKeypoints(POINTS), np.random.default_rng(0), False)
        assert (drawn is not None) == kept


def test_change_is_that_about_the_eyes():
    before = np.zeros((100, 100, 3), np.uint8)
    after = before.copy()
    after[70:] = 200
    eyes = np.array([[30.0, 40], [70, 40]])
    assert change_at_eyes(before, after, eyes) == 0
    after[20:60, 10:90] = 60
    assert change_at_eyes(before, after, eyes) == pytest.approx(60, abs=1)
    assert change_at_eyes(before, after, eyes + 500) == 0, "beyond the border"


# ---------------------------------------------------------------------------------------- whose faces, and files


def test_only_bare_faces_that_train_are_drawn_on(train, tmp_path):
    for name in ("eyeglasses", "none"):
        (tmp_path / "masks" / name / "deep").mkdir(parents=True)
        for number in range(40):
            (tmp_path / "masks" / name / "deep" / f"{number}.jpg").touch()
    masks = load_sources({"folder": str(tmp_path / "masks")}, {}).train["folder"]
    faces = bare_faces(train | {"folder": masks}, 10, 0)
    of_sample = [(name, file) for name, file in faces if name.startswith("sample@")]
    bare = {file for file, label in zip(train["sample"].files, train["sample"].labels, strict=True) if label == 0}
    assert len(of_sample) == 10
    assert {file for _, file in of_sample} < bare
    assert all(name == f"sample@{file.stem}@0" for name, file in of_sample)
    masked = sorted(name for name, _ in faces if name.startswith("folder@"))
    none = [file for file, label in zip(masks.files, masks.labels, strict=True) if label == Label.NONE]
    assert masked == sorted(f"folder@none+deep+{file.stem}@{k}" for file in none for k in range(3))
    assert bare_faces(train, 10, 1) != bare_faces(train, 10, 0) == bare_faces(train, 20, 0)[:10]
    assert len(bare_faces(train, 10**6, 0)) == len(bare)


def test_many_sources_give_as_many_faces_each(train):
    twice = {"sample": train["sample"], "kaggle": train["sample"]}
    names = [name.partition("@")[0] for name, _ in bare_faces(twice, 10, 0)]
    assert (names.count("sample"), names.count("kaggle")) == (5, 5)


def test_the_kind_of_glasses_goes_by_seed_and_name():
    faces = [(f"a@{i}@0", Path(f"{i}.jpg")) for i in range(2000)]
    jobs = jobs_of(faces, Path("nowhere"), 0)
    dark = np.array([job.target.parent.name == "sunglasses" for job in jobs])
    assert dark.mean() == pytest.approx(render_glasses.SUNGLASSES, abs=0.04)
    assert jobs_of(faces[5:9], Path("nowhere"), 0) == jobs[5:9]
    assert len({job.seed for job in jobs}) == 2000
    other = jobs_of(faces, Path("nowhere"), 1)
    assert dark.tolist() != [job.target.parent.name == "sunglasses" for job in other]
    # Within a kind glasses are of all kinds: the seeds of their draws do not tell it.
    assert {Path("nowhere"), *(job.target.parent.parent for job in jobs)} == {Path("nowhere")}


def test_the_command_writes_a_source_and_goes_on_where_it_stopped(train, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["--data", f"sample={SAMPLE}", "--out", str(out), "--faces", "6", "--workers", "1"]
    assert render_glasses.main(command) == 0
    assert f"--data rendered={out}" in capsys.readouterr().out
    faces = Rendered(out)
    assert 4 <= len(faces) <= 6
    assert set(faces.labels) <= {Label.EYEGLASSES, Label.SUNGLASSES}
    assert load_sources({"sample": str(SAMPLE), "rendered": str(out)}, {}).train["rendered"].files == faces.files
    content = {file: file.read_bytes() for file in faces.files}
    for i, file in enumerate(faces.files):
        (bare,) = (bare for bare in train["sample"].files if bare.stem == file.stem.split("@")[1])
        before, after = read_image(bare)[0], faces.read(i)
        assert before.shape == after.shape
        assert cv2.absdiff(before, after)[:20].max() < 40, "above the head nothing changes but by JPEG"
    faces.files[0].unlink()
    (job,) = (job for job in jobs_of(bare_faces(train, 6, 0), out, 0) if job.target == faces.files[0])
    assert render_glasses.work(job), "one alone, in another process"
    assert {file: file.read_bytes() for file in faces.files} == content


def test_a_picture_that_cannot_be_read_and_wrong_sources_are_one_line(tmp_path, capsys):
    for name in ("glasses", "none"):
        (tmp_path / "f" / name).mkdir(parents=True)
        for number in range(30):
            cartoon(0).save(tmp_path / "f" / name / f"{number}.png")
    job = jobs_of([("a@b@0", tmp_path / "f" / "none" / "0.png")], tmp_path / "out", 0)[0]
    job.file.write_bytes(b"no picture")
    with pytest.raises(render_glasses.DataError, match=r"0\.png: .*; fix or remove it"):
        render_glasses.work(job)
    assert not (tmp_path / "out").exists()
    assert render_glasses.main(["--data", "folder=/nowhere", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "render_glasses.py: folder: no folder /nowhere\n"
