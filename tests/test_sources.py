"""Who is in which part: positions, splits, folds, and the three parts of the sources; and opening them by name."""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest

import data_load
from conftest import ROOT
from data_load import CelebA, FolderPerClass, KaggleGlasses, Label, MeGlass, Nobody, Rendered, k_folds, position, split
from find_data import DataError
from sources import HELD_SEED, Parts, about_glasses, held, load_sources, named_paths, open_source
from test_data_load import write_celeba, write_kaggle


def expected_position(key: str, seed: int = 0) -> float:
    """Worked out from the definition: the first 16 digits of the hash as a fraction."""
    return int(hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()[:16], 16) / 16**16


def write_names(root: Path, people: int = 60, each: int = 3) -> Path:
    """The layout of MeGlass without pictures, for what looks at names alone."""
    (root / "MeGlass_120x120").mkdir(parents=True)
    names = [f"1@N00_identity_{person}@{number}.jpg" for person in range(people) for number in range(each)]
    for name in names:
        (root / "MeGlass_120x120" / name).touch()
    (root / "meta.txt").write_text("".join(f"{name} {i % 2}\n" for i, name in enumerate(names)))
    return root


def parts_of(dataset, fractions=(0.8, 0.1, 0.1)) -> dict[Path, int]:
    """The part of each face."""
    return {file: number for number, part in enumerate(split(dataset, fractions)) for file in part.files}


def test_positions_follow_the_definition_and_stay_below_one(monkeypatch):
    keys = [f"person {i}" for i in range(5000)]
    for seed in (0, 3):
        places = [position(key, seed) for key in keys]
        assert places == pytest.approx([expected_position(key, seed) for key in keys], abs=1e-15)
        assert np.histogram(places, bins=10, range=(0, 1))[0] == pytest.approx(500, abs=100), "evenly spread"
    monkeypatch.setattr(data_load, "_stable_hash", lambda seed, key: b"\xff" * 32)
    assert 1 - 1e-15 < position("the last of all") < 1


def test_positions_rise_in_the_order_in_which_the_shipped_weights_were_split():
    keys = [f"file:face-{i}.png" for i in range(2000)]
    order = sorted(keys, key=lambda key: hashlib.sha256(f"0:{key}".encode()).digest())
    assert order == sorted(keys, key=position)


@pytest.mark.parametrize("seed", range(3))
def test_split_goes_by_position_shares_no_identity_and_loses_nothing(tmp_path, seed):
    dataset = MeGlass(write_names(tmp_path / "m"))
    parts = split(dataset, (0.6, 0.2, 0.2), seed)
    for part, (low, high) in zip(parts, ((0, 0.6), (0.6, 0.8), (0.8, 1)), strict=True):
        people = {person for person in dataset.identities if low <= expected_position(person, seed) < high}
        assert set(part.identities) == people != set()
        assert len(part) == 3 * len(people)
        assert part.files == sorted(part.files, key=dataset.files.index), "in their order"
    assert sorted(file for part in parts for file in part.files) == sorted(dataset.files)


def test_a_face_without_identity_goes_by_its_file(tmp_path):
    for deep in (True, False):
        root = write_kaggle(tmp_path / str(deep), ".png", 0)
        if not deep:
            for file in list(root.rglob("*.png")):
                file.rename(root / file.name)
        places = {file: expected_position(f"file:{file.name}") for file in KaggleGlasses(root).files}
        low, high = split(KaggleGlasses(root), (0.5, 0.5))
        assert {file.name for file in low.files} == {file.name for file, place in places.items() if place < 0.5}
        assert {file.name for file in high.files} == {file.name for file, place in places.items() if place >= 0.5}


def test_a_face_on_a_bound_is_in_the_upper_part(tmp_path, monkeypatch):
    dataset = MeGlass(write_names(tmp_path / "m", people=10, each=1))
    places = dict(zip(dataset.identities, (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), strict=True))
    monkeypatch.setattr(data_load, "position", lambda key, seed: places[key])
    assert list(parts_of(dataset).values()) == [0] * 8 + [1, 2]
    assert list(parts_of(dataset, (0.1,) * 10).values()) == list(range(10)), "0.1 + 0.1 + 0.1 is 0.3"
    assert [len(part) for part in split(dataset, (0.8, 0, 0.2))] == [8, 0, 2], "a part of nothing is no error"


def test_a_face_keeps_its_part_when_the_set_grows_or_is_cut(tmp_path):
    people = MeGlass(write_names(tmp_path / "m", people=300, each=2))
    for folder in ("glasses", "no_glasses"):
        for i in range(200):  # a name is single in some cuts, and there twice in the whole
            (tmp_path / "f" / folder / str(i)).mkdir(parents=True)
            (tmp_path / "f" / folder / str(i) / f"face{i // 2}.jpg").touch()
    rng = np.random.default_rng(0)
    for dataset in (people, FolderPerClass(tmp_path / "f")):
        whole = parts_of(dataset)
        for _ in range(20):
            kept = rng.permutation(len(dataset))[: rng.integers(100, len(dataset))]
            cut = dataset.subset(kept)
            assert parts_of(cut) == {file: whole[file] for file in cut.files}
    (tmp_path / "f" / "glasses" / "face1.jpg").touch()
    grown = parts_of(FolderPerClass(tmp_path / "f"))
    assert {file: grown[file] for file in whole} == whole


@pytest.mark.parametrize("source", [KaggleGlasses, MeGlass])
def test_the_first_faces_of_the_sample_have_the_parts_that_they_have_in_the_whole(source):
    dataset = source(ROOT / "data" / "sample")
    whole, first = parts_of(dataset), dataset.subset(range(min(700, len(dataset) * 2 // 3)))
    assert parts_of(first) == {file: whole[file] for file in first.files}


def test_folds_are_bounded_by_position(tmp_path):
    dataset = MeGlass(write_names(tmp_path / "m"))
    for number, (rest, fold) in enumerate(k_folds(dataset, 4, seed=1)):
        assert {int(4 * expected_position(person, 1)) for person in fold.identities} == {number}
        assert number not in {int(4 * expected_position(person, 1)) for person in rest.identities}
        assert len(rest) + len(fold) == len(dataset)


def test_unasked_a_split_is_of_four_fifths_and_one_and_folds_are_five(tmp_path):
    dataset = MeGlass(write_names(tmp_path / "m"))
    places = {person: expected_position(person) for person in dataset.identities}
    low, high = split(dataset)
    assert set(low.identities) == {person for person, place in places.items() if place < 0.8}
    assert set(high.identities) == {person for person, place in places.items() if place >= 0.8}
    held = [{int(5 * places[person]) for person in fold.identities} for _, fold in k_folds(dataset)]
    assert held == [{0}, {1}, {2}, {3}, {4}]


def test_split_tells_files_of_one_name_apart_and_refuses_empty_parts(tmp_path):
    for folder in ("glasses", "no_glasses"):
        for i in range(10):
            (tmp_path / folder / str(i)).mkdir(parents=True)
            (tmp_path / folder / str(i) / "face.jpg").touch()
    dataset = FolderPerClass(tmp_path)
    assert dataset.keys()[0] == "file:no_glasses/0/face.jpg"
    assert len(set(dataset.keys())) == 20
    with pytest.raises(DataError, match=r"folder: too few people or faces in .* for a part of 0\.5; add some"):
        split(dataset.subset([0]), (0.5, 0.5))


def test_split_refuses_fractions_that_do_not_sum_to_one(meglass):
    with pytest.raises(ValueError, match="sum to 1"):
        split(MeGlass(meglass), (0.5, 0.4))


# ------------------------------------------------------------------------------------------- the three parts


def test_a_source_is_dealt_out_by_fixed_bounds(tmp_path):
    root = write_names(tmp_path / "m")
    parts = load_sources({"meglass": str(root)}, {})
    assert isinstance(parts, Parts)
    people = set(MeGlass(root).identities)
    for part, (low, high) in zip(parts, ((0, 0.8), (0.8, 0.9), (0.9, 1)), strict=True):
        expected = {person for person in people if low <= expected_position(person) < high}
        assert set(part["meglass"].identities) == expected != set()
        assert len(part["meglass"]) == 3 * len(expected)
    again = split(MeGlass(root), (0.8, 0.1, 0.1), seed=0)
    assert [part["meglass"].files for part in parts] == [part.files for part in again]


def test_what_only_validates_is_wholly_reported(tmp_path, meglass):
    other = write_names(tmp_path / "other")
    (other / "labels.csv").write_text("file,glasses\nMeGlass_120x120/1@N00_identity_0@0.jpg,1\n")
    parts = load_sources({"meglass": str(meglass)}, {"ffhq": str(other)})
    assert [list(part) for part in parts] == [["meglass"], ["meglass"], ["meglass", "ffhq"]]
    assert len(parts.report["ffhq"]) == 1
    parts = load_sources({}, {"meglass": str(meglass)})
    assert (parts.train, parts.select) == ({}, {})
    assert parts.report["meglass"].files == MeGlass(meglass).files


def write_folder(root: Path, each: int = 100, names: tuple[str, ...] = ("eyeglasses", "none")) -> Path:
    """A folder a class without pictures, for what looks at names alone."""
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(each):
            (root / name / f"{name}{number}.jpg").touch()
    return root


def test_a_seventh_of_a_plain_folder_is_only_reported_and_the_others_are_dealt_as_ever(tmp_path):
    whole = FolderPerClass(write_folder(tmp_path / "f"))
    held_files = {file for file in whole.files if expected_position(file.name, HELD_SEED) < 1 / 7}
    assert 15 < len(held_files) < 45
    parts = load_sources({"folder": str(tmp_path / "f")}, {})
    before = [set(part.files) for part in split(whole, (0.8, 0.1, 0.1))]
    train, select, report = (set(part["folder"].files) for part in parts)
    assert (train, select) == (before[0] - held_files, before[1] - held_files)
    assert report == before[2] | held_files
    assert sum(len(part["folder"]) for part in parts) == len(whole)
    for part in parts:
        files = part["folder"].files
        assert files == sorted(files, key=whole.files.index), "in their order"
        labels = [Label.NONE if file.parent.name == "none" else Label.EYEGLASSES for file in files]
        assert part["folder"].labels.tolist() == labels
    assert len(load_sources({}, {"folder": str(tmp_path / "f")}).report["folder"]) == len(whole)


def test_nothing_is_held_back_of_a_data_set_that_others_share(tmp_path):
    dataset = MeGlass(write_names(tmp_path / "m"))
    assert not any(held(dataset, file) for file in dataset.files)


def test_a_folder_of_which_all_is_held_back_is_one_line(tmp_path, monkeypatch):
    write_folder(tmp_path / "f", 30)
    monkeypatch.setattr("sources.HELD", 1.0)
    with pytest.raises(DataError, match=r"folder: too few faces in .* to train and to select on; add some"):
        load_sources({"folder": str(tmp_path / "f")}, {})


def test_rendered_faces_only_train(tmp_path, meglass):
    root = write_folder(tmp_path / "r", 20, ("eyeglasses", "sunglasses"))
    parts = load_sources({"meglass": str(meglass), "rendered": str(root)}, {})
    assert parts.train["rendered"].files == Rendered(root).files
    assert len(parts.train["rendered"]) == 40
    assert set(parts.train["rendered"].labels) == {Label.EYEGLASSES, Label.SUNGLASSES}
    assert [list(part) for part in parts] == [["meglass", "rendered"], ["meglass"], ["meglass"]]
    with pytest.raises(DataError, match="rendered: these are faces that train; name them in --data"):
        load_sources({"meglass": str(meglass)}, {"rendered": str(root)})


def test_patches_of_a_picture_of_nobody_stay_together(tmp_path):
    for folder in ("a", "b/c"):
        (tmp_path / "n" / folder).mkdir(parents=True)
        for number in range(200):
            for k in range(3):
                (tmp_path / "n" / folder / f"{folder[0]}@{number}.png@{k}.jpg").touch()
    parts = load_sources({"nobody": str(tmp_path / "n")}, {})
    pictures = [set(part["nobody"].identities) for part in parts]
    assert [len(part["nobody"]) for part in parts] == [3 * len(names) for names in pictures]
    assert sum(map(len, pictures)) == len(set.union(*pictures)) == 400
    back = {name for name in set.union(*pictures) if expected_position(name, HELD_SEED) < 1 / 7}
    assert pictures[0] == {name for name in set.union(*pictures) - back if expected_position(name) < 0.8}
    assert pictures[1] == {name for name in set.union(*pictures) - back if 0.8 <= expected_position(name) < 0.9}
    assert back < pictures[2]


def test_pictures_of_nobody_have_no_answer_about_glasses(tmp_path, meglass):
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "stone.jpg").touch()
    part = {"meglass": MeGlass(meglass), "nobody": Nobody(tmp_path / "n")}
    assert about_glasses(part) == {"meglass": part["meglass"]}
    assert about_glasses({"nobody": part["nobody"]}) == {}


def test_celeba_trains_on_its_official_part_and_deals_out_its_validation_part(tmp_path):
    root = write_celeba(tmp_path / "celeba")
    train, select, report = (part["celeba"] for part in load_sources({"celeba": str(root)}, {}))
    assert train.files == CelebA(root, split="train").files
    validation, test = CelebA(root, split="validation"), CelebA(root, split="test")
    low = {person for person in validation.identities if expected_position(person) < 0.5}
    assert set(select.identities) == low != set()
    assert set(report.identities) == set(validation.identities) - low | set(test.identities)
    assert len(select) + len(report) == len(validation) + len(test)
    assert (train.split, len(train)) == ("train", 14)


def test_celeba_without_a_test_part_or_without_a_validation_part(tmp_path):
    root = write_celeba(tmp_path / "celeba")
    path = root / "list_eval_partition.txt"
    whole = path.read_text()
    path.write_text(whole.replace("jpg 2", "jpg 0"))
    train, select, report = (part["celeba"] for part in load_sources({"celeba": str(root)}, {}))
    assert (len(train), len(select), len(report)) == (16, 2, 2)
    path.write_text(whole.replace("jpg 1", "jpg 0"))
    with pytest.raises(DataError, match="list_eval_partition has no face of the part 'validation' in"):
        load_sources({"celeba": str(root)}, {})


def test_celeba_without_identities_warns_once_where_it_trains(tmp_path):
    celeba = str(write_celeba(tmp_path / "celeba", "kaggle", identities=False))
    with pytest.warns(UserWarning, match="no identity_CelebA.txt") as caught:
        parts = load_sources({"celeba": celeba}, {})
    assert len(caught) == 1
    train, select, report = (part["celeba"] for part in parts)
    assert set(train.identities) == {""}
    assert len(train) == 14
    numbers = [15, 16, 17, 18]
    low = [f"{i:06d}.jpg" for i in numbers if expected_position(f"file:{i:06d}.jpg") < 0.5]
    assert [file.name for file in select.files] == low
    assert len(report) == 4 - len(low) + 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_sources({}, {"celeba": celeba}).report["celeba"]) == 20


def test_all_that_is_bad_is_counted_in_one_warning(meglass):
    files = sorted((meglass / "MeGlass_120x120").iterdir())
    files[3].unlink()
    files[8].write_bytes(b"")
    files[9].write_bytes(b"no picture")
    with open(meglass / "meta.txt", "a") as meta:
        meta.write(f"{files[0].name} 0\n")
    with pytest.raises(DataError, match=r"and 1 more\).*--skip-bad"):
        load_sources({"meglass": str(meglass)}, {})
    with pytest.warns(UserWarning, match="left out") as caught:
        parts = load_sources({"meglass": str(meglass)}, {}, strict=False)
    (warning,) = caught
    assert str(warning.message) == (
        "meglass: left out 4 of the faces listed: 1 x missing file, 1 x listed twice, 2 x unreadable picture"
    )
    kept = [file for part in parts for file in part["meglass"].files]
    assert sorted(kept) == sorted(set(files) - {files[3], files[8], files[9]})
    train = parts.train["meglass"]
    assert len(train.labels) == len(train.identities) == len(train)


def test_celeba_counts_what_is_bad(tmp_path):
    celeba = write_celeba(tmp_path / "celeba")
    for number in (1, 15):
        (celeba / "img_align_celeba" / f"{number:06d}.jpg").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="celeba: left out 2 of") as caught:
        parts = load_sources({"celeba": str(celeba)}, {}, strict=False)
    assert len(caught) == 1
    assert sum(len(part["celeba"]) for part in parts) == 18
    assert len(parts.train["celeba"]) == 13


def test_corrections_reach_every_part(meglass):
    corrections = {"meglass": {file.name: Label.SUNGLASSES for file in MeGlass(meglass).files}}
    for part in load_sources({"meglass": str(meglass)}, {}, corrections):
        assert set(part["meglass"].labels) == {Label.SUNGLASSES}
    for part in load_sources({"meglass": str(meglass)}, {}, {"celeba": corrections["meglass"]}):
        assert set(part["meglass"].labels) == {Label.NONE, Label.EYEGLASSES}, "those of another source"


def test_too_few_people_for_a_part_are_one_line(tmp_path):
    root = write_names(tmp_path / "m", people=2)
    with pytest.raises(DataError, match=r"meglass: too few people or faces in .* for a part of 0\.1; add some"):
        load_sources({"meglass": str(root)}, {})


def test_a_source_is_to_train_or_to_validate(meglass):
    with pytest.raises(DataError, match="name it once"):
        load_sources({"meglass": str(meglass)}, {"meglass": str(meglass)})


# ---------------------------------------------------------------------------------------- opening by name


def test_open_source_by_path_or_by_search(meglass, tmp_path, monkeypatch):
    assert open_source("meglass", str(meglass)).files == MeGlass(meglass).files
    monkeypatch.setenv("GLASSES_DATA", str(tmp_path))
    assert open_source("meglass").files == MeGlass(meglass).files
    celeba = write_celeba(tmp_path / "elsewhere")
    dataset = open_source("celeba", celeba, split="validation", transform=lambda image: image[:1])
    assert len(dataset) == 4
    assert dataset[0].image.shape == (1, 218, 178)


def test_open_source_is_not_strict_where_asked(meglass):
    first, second, *_ = (meglass / "MeGlass_120x120").iterdir()
    first.write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="1 x unreadable picture"):
        assert len(open_source("meglass", meglass, strict=False)) == 39
    second.unlink()
    with pytest.raises(DataError, match="missing file"):
        open_source("meglass", meglass)


@pytest.mark.parametrize(
    ("name", "path", "word"),
    [
        ("folder", "", "name its folder, as folder=PATH"),
        ("glases", "", "unknown source 'glases': choose from kaggle"),
        ("meglass", "nowhere", "meglass: nowhere has no MeGlass_120x120"),
        ("folder", "nowhere", "folder: no folder nowhere"),
    ],
)
def test_open_source_says_what_is_wrong(name, path, word):
    with pytest.raises(DataError, match=word):
        open_source(name, path)


def test_named_paths():
    assert named_paths(["meglass=a=b", "celeba"]) == {"meglass": "a=b", "celeba": ""}
    with pytest.raises(DataError, match="named twice"):
        named_paths(["celeba", "celeba=x"])
    with pytest.raises(DataError, match="unknown source 'x'"):
        named_paths(["x=y"])
