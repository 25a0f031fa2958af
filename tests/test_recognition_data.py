"""Where do faces of known people come from?  The layouts, who may train, chips kept once, triplets from a seed."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import ROOT, cartoon
from data_load import position
from detector_architectures import load_detector
from find_data import DataError
from glasses.keypoints import open_keypoints
from glasses.photos import read_image
from glasses.recognizer import PLACES, align_chip
from recognition import chips as chips_module
from recognition import triplets as triplets_module
from recognition.chips import FOUND, NO_FACE, UNREADABLE, Joined, align_pictures, chips_folder, join
from recognition.datasets import DATASETS, People, open_people
from recognition.triplets import coverage, draw_triplets, make_set, open_set, read_about, set_numbers
from recognition.views import MARGIN
from sources import load_sources

SAMPLE = ROOT / "data" / "sample"
FACES = sorted((SAMPLE / "MeGlass_120x120").glob("*.jpg"))


def put(path: Path, seed: int = 0) -> None:
    """A drawn face of 40 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cartoon(0, seed, 40).save(path)


def write_agedb(root: Path) -> Path:
    for number, person in enumerate(("AdaLovelace", "Ada_King", "AdaLovelace", "Ole")):
        put(root / f"{number}_{person}_3{number}_f.jpg", number)
    return root


def write_vggface2(root: Path, train: int = 12, test: int = 2) -> Path:
    for part, people in (("train", range(train)), ("test", range(train, train + test))):
        names = [f"n{person:06d}/000{picture}_01.jpg" for person in people for picture in range(2)]
        for name in names:
            put(root / part / name)
        (root / f"{part}_list.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def write_celeba(root: Path, people: int = 30) -> Path:
    """Six pictures of each; ten people each of the official train, validation and test part."""
    lists: dict[str, list[str]] = {"list_attr_celeba": [], "identity_CelebA": [], "list_eval_partition": []}
    for number in range(6 * people):
        name, person = f"{number:06d}.jpg", number % people
        put(root / "img_align_celeba" / name)
        lists["list_attr_celeba"].append(f"{name} -1")
        lists["identity_CelebA"].append(f"{name} {person}")
        lists["list_eval_partition"].append(f"{name} {person * 3 // people}")
    lists["list_attr_celeba"][:0] = [str(6 * people), "Eyeglasses"]
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def write_lfw(root: Path, below: str = "lfw-deepfunneled") -> Path:
    """Three people, and two folds of one pair each of the same person and of two."""
    for person, pictures in (("Ada_Lovelace", 3), ("Ole", 1), ("Zoe", 2)):
        for number in range(1, pictures + 1):
            put(root / below / person / f"{person}_{number:04d}.jpg")
    lines = ["2\t1", "Ada_Lovelace\t1\t3", "Ada_Lovelace\t2\tOle\t1", "Zoe\t1\t2", "Ole\t1\tZoe\t2"]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n")
    return root


# ------------------------------------------------------------------------------------------------ the data sets


def test_every_layout_says_who_is_who(tmp_path):
    agedb = open_people(f"agedb={write_agedb(tmp_path / 'a')}")
    assert agedb.identities == ["AdaLovelace", "Ada_King", "AdaLovelace", "Ole"]
    vggface2 = open_people(f"VGGFace2={write_vggface2(tmp_path / 'v', 2, 1)}")
    assert vggface2.identities == ["n000000", "n000000", "n000001", "n000001", "n000002", "n000002"]
    assert vggface2.names()[-1] == "test/n000002/0001_01.jpg"
    celeba = open_people(f"celeba={write_celeba(tmp_path / 'c')}")
    assert (celeba.identities[:3], celeba.files[31].name) == (["0", "1", "2"], "000031.jpg")
    lfw = open_people(f"lfw={write_lfw(tmp_path / 'l')}")
    assert Counter(lfw.identities) == {"Ada_Lovelace": 3, "Ole": 1, "Zoe": 2}
    pictures = open_people(f"pictures={tmp_path / 'a'}")
    assert pictures.identities == [""] * 4
    sample = open_people("sample")
    assert (len(sample), len(set(sample.identities))) == (200, 40)
    assert sample.identities[0] == sample.files[0].name.rpartition("@")[0]


def test_celeba_needs_no_attributes_and_reads_the_official_tree(tmp_path):
    root = write_celeba(tmp_path)
    (root / "list_attr_celeba.txt").unlink()
    for folder, name in (("Anno", "identity_CelebA.txt"), ("Eval", "list_eval_partition.txt")):
        (root / folder).mkdir()
        (root / name).rename(root / folder / name)
    (root / "Img").mkdir()
    (root / "img_align_celeba").rename(root / "Img" / "img_align_celeba")
    people = open_people(f"celeba={root}")
    assert len(people) == 180
    assert all(file.is_file() for file in people.files)


@pytest.mark.parametrize(
    ("name", "write", "lost", "said"),
    [
        ("vggface2", write_vggface2, "train_list.txt", "vggface2: no train_list.txt in"),
        ("vggface2", write_vggface2, "test", "vggface2: missing file: "),
        ("celeba", write_celeba, "identity_CelebA.txt", "celeba: no identity_CelebA.txt or"),
        ("celeba", write_celeba, "img_align_celeba/000007.jpg", "celeba: missing file: "),
        ("agedb", write_agedb, "", "agedb: no faces in"),
        ("lfw", write_lfw, "lfw-deepfunneled", "lfw: no faces in"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, name, write, lost, said):
    path = write(tmp_path / "set") / lost
    if path.is_dir():
        shutil.rmtree(path)
        (tmp_path / "set").mkdir(exist_ok=True)
    else:
        path.unlink()
    with pytest.raises(DataError, match=said) as error:
        open_people(f"{name}={tmp_path / 'set'}")
    assert "\n" not in str(error.value)
    assert str(tmp_path / "set") in str(error.value)


def test_wrong_names_are_one_line(tmp_path):
    root = write_agedb(tmp_path / "a")
    put(root / "portrait.jpg")
    with pytest.raises(DataError, match=r"agedb: .*portrait.jpg is not named <number>_<person>"):
        open_people(f"agedb={root}")
    with pytest.raises(DataError, match=r"unknown data set 'agebd': choose from agedb, vggface2"):
        open_people("agebd")
    with pytest.raises(DataError, match=r"pictures: can be anywhere; name its folder"):
        open_people("pictures")
    with pytest.raises(DataError, match=rf"vggface2: no folder .*{os.sep}raw{os.sep}VGGFace2; put it there, or"):
        open_people("vggface2")


def test_who_is_measured_on_never_trains(tmp_path):
    lfw = open_people(f"lfw={write_lfw(tmp_path / 'set')}")
    for part in ("train", "select"):
        with pytest.raises(DataError, match="LFW and YouTube Faces show the same people"):
            lfw.part(part)
    for value in (f"pictures={tmp_path / 'set'}", "ytf", f"ytf={tmp_path}"):
        with pytest.raises(DataError, match="LFW and YouTube Faces show the same people"):
            open_people(value)
    (tmp_path / "set" / "lfw-deepfunneled").rename(tmp_path / "lfw_copy")
    with pytest.raises(DataError, match="LFW and YouTube Faces show the same people"):
        open_people(f"pictures={tmp_path / 'lfw_copy'}")


@pytest.mark.parametrize("name", ["meglass", "celeba"])
def test_nobody_trains_here_who_is_reported_there(tmp_path, name):
    """The parts are those of the trainers for glasses, file by file."""
    root = SAMPLE if name == "meglass" else write_celeba(tmp_path)
    parts = open_people(f"{name}={root}").deal()
    for part, there in zip(parts, load_sources({name: str(root)}, {}), strict=True):
        assert part.files == there[name].files
        assert isinstance(part, People)


def test_plain_pictures_hold_back_those_that_are_held_back_there(tmp_path):
    for number in range(60):
        for glasses in ("with_glasses", "without_glasses"):
            put(tmp_path / glasses / f"{glasses}{number}.jpg")
    here, there = open_people(f"pictures={tmp_path}").deal(), load_sources({"folder": str(tmp_path)}, {})
    for part, same in zip(here, there, strict=True):
        assert sorted(part.files) == sorted(same["folder"].files)


def test_vggface2_keeps_its_official_test_part(tmp_path):
    train, select, report = open_people(f"vggface2={write_vggface2(tmp_path, 40)}").deal()
    assert set(report.identities) == {"n000040", "n000041"}
    assert set(train.identities) == {f"n{i:06d}" for i in range(40) if position(f"n{i:06d}") < 0.9}
    assert set(select.identities) == {f"n{i:06d}" for i in range(40) if position(f"n{i:06d}") >= 0.9}
    assert len(train) + len(select) + len(report) == 84


@pytest.mark.parametrize("below", ["lfw-deepfunneled", "lfw", ""])
def test_pairs_of_lfw(tmp_path, below):
    people = open_people(f"lfw={write_lfw(tmp_path, below)}")
    pairs = [
        (people.files[one].stem, people.files[other].stem, same, fold) for one, other, same, fold in people.pairs()
    ]
    assert pairs == [
        ("Ada_Lovelace_0001", "Ada_Lovelace_0003", True, 0),
        ("Ada_Lovelace_0002", "Ole_0001", False, 0),
        ("Zoe_0001", "Zoe_0002", True, 1),
        ("Ole_0001", "Zoe_0002", False, 1),
    ]


def test_pairs_may_lie_beside_the_pictures(tmp_path):
    root = write_lfw(tmp_path)
    (root / "pairs.txt").rename(root / "lfw_pairs.txt")
    assert len(open_people(f"lfw={root / 'lfw-deepfunneled'}").pairs()) == 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2\t1", "2\t2", "4 pairs, not 8"),
        ("Zoe\t1\t2", "Zoe\t1\t7", "no picture .*Zoe_0007"),
        ("Zoe\t1\t2", "Zoe\tone\t2", "one"),
        ("Zoe\t1\t2", "Zoe\t1", "a line of 2 words: Zoe 1"),
    ],
)
def test_another_list_of_pairs_is_one_line(tmp_path, old, new, said):
    people = open_people(f"lfw={write_lfw(tmp_path)}")
    file = tmp_path / "pairs.txt"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"lfw: .*pairs.txt is no list of pairs of .*{said}") as error:
        people.pairs()
    assert "\n" not in str(error.value)


def test_glasses_of_the_sample_are_as_its_list_says():
    people = open_people("sample")
    said = dict(line.split() for line in (SAMPLE / "meta.txt").read_text().splitlines())
    assert [said[file.name] == "1" for file in people.files] == people.glasses().tolist()


def test_the_readme_names_every_data_set():
    readme = (ROOT / "README.md").read_text()
    assert [name for name in DATASETS if f"`{name}`" not in readme] == []


# ---------------------------------------------------------------------------------------------------- the chips


@pytest.fixture
def people(tmp_path) -> People:
    """Eleven pictures: nine synthetic faces, a text without a face, and a file that is no picture."""
    folder = tmp_path / "people"
    folder.mkdir()
    for file in FACES[:9]:
        shutil.copy(file, folder)
    import skimage

    shutil.copy(Path(skimage.__file__).parent / "data" / "page.png", folder / "page.png")
    (folder / "torn.jpg").write_bytes(FACES[0].read_bytes()[:300])
    return open_people(f"pictures={folder}")


def test_faces_are_aligned_and_others_counted(people, tmp_path):
    chips = align_pictures(people, tmp_path / "cache")
    outcome = dict(zip(people.names(), chips.outcomes.tolist(), strict=True))
    assert Counter(outcome.values()) == {FOUND: 9, NO_FACE: 1, UNREADABLE: 1}
    assert (outcome["page.png"], outcome["torn.jpg"]) == (NO_FACE, UNREADABLE)
    assert chips.left_out() == "1 without a face and 1 unreadable"
    assert (chips.pictures.shape, chips.pictures.dtype) == ((9, 144, 144, 3), np.uint8)
    assert isinstance(chips.pictures, np.memmap)
    assert chips.rows[people.names().index("page.png")] == chips.rows[people.names().index("torn.jpg")] == -1
    for file, row in zip(people.files, chips.rows, strict=True):
        if row >= 0:
            chip = np.array(chips.pictures[row])
            found = open_keypoints().exact(chip, [PLACES + MARGIN])[0] - MARGIN
            assert np.hypot(*(found - PLACES).T).mean() < 4, "its landmarks are where those of all chips are"
            assert nearest(file, chips.pictures) == row, "it is of this picture"
    (folder,) = (tmp_path / "cache").iterdir()
    table = pd.read_csv(folder / "pictures.csv")
    assert table["file"].tolist() == people.names()


def nearest(file: Path, chips: np.ndarray) -> int:
    """The chip that is most like the face of a picture, cut out by the landmarks of another detector."""
    image, _ = read_image(file)
    face = align_chip(image, load_detector("finder")(image)[0].landmarks, MARGIN)
    return int(np.argmin([np.abs(chip.astype(int) - face).mean() for chip in chips]))


def test_a_view_without_change_is_the_chip_of_the_tool(people, tmp_path):
    chips = align_pictures(people, tmp_path)
    view = chips.views().view(3, 0)
    assert view.shape == (112, 112, 3)
    np.testing.assert_array_equal(view, chips.pictures[3][MARGIN:-MARGIN, MARGIN:-MARGIN])


def test_vectors_are_in_the_order_of_the_pictures_and_nan_where_there_is_no_face(people, tmp_path):
    chips = align_pictures(people, tmp_path)
    vectors = chips.vectors(lambda faces: faces.reshape(len(faces), -1)[:, :7].astype(np.float32), batch=4)
    assert (vectors.shape, vectors.dtype) == ((11, 7), np.float32)
    for outcome, row, vector in zip(chips.outcomes, chips.rows, vectors, strict=True):
        if outcome == FOUND:
            np.testing.assert_array_equal(vector, chips.pictures[row][MARGIN:-MARGIN, MARGIN:-MARGIN].ravel()[:7])
        else:
            assert np.isnan(vector).all()


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bits(people, tmp_path, monkeypatch):
    whole = align_pictures(people, tmp_path / "whole", workers=3)
    monkeypatch.setattr(chips_module, "BLOCK", 4)
    looked, real = [], chips_module.align_picture

    def breaks(file, detector):
        looked.append(file)
        if len(looked) == 7:
            raise KeyboardInterrupt
        return real(file, detector)

    monkeypatch.setattr(chips_module, "align_picture", breaks)
    # The code of `align_picture` is a part of the folder's name: the folders of both runs are alike.
    monkeypatch.setattr(chips_module, "chips_folder", lambda people, cache: Path(cache) / "chips-x")
    with pytest.raises(KeyboardInterrupt):
        align_pictures(people, tmp_path / "cut", workers=1)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["chips-x.blocks"]
    assert [path.name for path in (tmp_path / "cut" / "chips-x.blocks").iterdir()] == ["0.npz"]
    looked.clear()
    monkeypatch.setattr(chips_module, "align_picture", lambda *args: looked.append(args[0]) or real(*args))
    resumed = align_pictures(people, tmp_path / "cut", workers=1)
    assert sorted(looked) == sorted(people.files[4:])
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["chips-x"]
    assert resumed.digest == whole.digest
    np.testing.assert_array_equal(resumed.pictures, whole.pictures)
    np.testing.assert_array_equal(resumed.rows, whole.rows)
    looked.clear()
    align_pictures(people, tmp_path / "cut")
    assert looked == [], "it is kept"


def test_other_pictures_are_other_chips(people, tmp_path):
    before = chips_folder(people, tmp_path)
    assert chips_folder(people, tmp_path) == before
    assert chips_folder(people.subset([0, 1]), tmp_path) != before
    people.files[0].write_bytes(people.files[0].read_bytes() + b"\0")
    assert chips_folder(people, tmp_path) != before


def test_no_face_at_all_and_no_worker_are_one_line(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "a.jpg").write_bytes(b"no picture")
    pictures = open_people(f"pictures={tmp_path / 'faces'}")
    chips = align_pictures(pictures, tmp_path / "cache")
    assert (chips.pictures.shape, chips.rows.tolist()) == ((0, 144, 144, 3), [-1])
    with pytest.raises(DataError, match="no face was found in any of the pictures"):
        chips.vectors(lambda faces: faces)
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        align_pictures(pictures, tmp_path / "cache", workers=0)


def test_damaged_chips_are_told(people, tmp_path):
    align_pictures(people, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    array = folder / "chips.npy"
    array.write_bytes(array.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"holds no chips: .*; delete it, and they are made anew"):
        align_pictures(people, tmp_path / "cache")


def test_several_arrays_as_one(people, tmp_path):
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, (count, 144, 144, 3), dtype=np.uint8) for count in (3, 1, 5)]
    every = np.concatenate(arrays)
    joined = Joined(arrays)
    assert len(joined) == 9
    for index in range(9):
        np.testing.assert_array_equal(joined[index], every[index])
    some = Joined(arrays, np.array([8, 0, 3]))
    assert [int(np.abs(some[i].astype(int) - every[j]).max()) for i, j in enumerate((8, 0, 3))] == [0, 0, 0]

    chips = align_pictures(people, tmp_path)
    both = join([chips.views(5), chips.views(5, [2, 4])])
    assert len(both) == 11
    np.testing.assert_array_equal(both.view(10, 0), chips.views().view(4, 0))
    digests = {chips.views().digest, chips.views(0, [2, 4]).digest, chips.views(0, [4, 2]).digest, both.digest}
    assert len(digests) == 4, "other faces have other answers"


# ------------------------------------------------------------------------------------------------- the triplets


def test_triplets_are_of_two_people_and_of_three_pictures():
    people = open_people("sample")
    for anchor, positive, negative in islice(draw_triplets(people, 0), 3000):
        assert people.identities[anchor] == people.identities[positive] != people.identities[negative]
        assert anchor != positive


def test_every_person_and_every_picture_is_as_likely():
    """Of 40 people with five pictures each, the first two of which have only two left: 4,000 draws."""
    people = open_people("sample")
    first = sorted(set(people.identities))[:2]
    seen: Counter[str] = Counter()
    kept = [i for i, who in enumerate(people.identities) if who not in first or seen.update([who]) or seen[who] <= 2]
    people = people.subset(kept)
    drawn = np.array(list(islice(draw_triplets(people, 1), 4000)))
    for role in (0, 2):
        of_person = Counter(people.identities[place] for place in drawn[:, role])
        assert len(of_person) == 40
        assert 60 < min(of_person.values()) < max(of_person.values()) < 145, "100 each, within 4.5 deviations"
    for role in range(3):
        five = [place for place, who in enumerate(people.identities) if who not in first]
        counts = Counter(drawn[:, role].tolist())
        assert min(counts[place] for place in five) > 3, "20 each"


def test_who_has_one_picture_is_a_negative_only_and_nobody_known_none(tmp_path):
    for name in ("0_Ada_1_f", "1_Ada_2_f", "2_Ole_3_m"):
        put(tmp_path / f"{name}.jpg")
    people = open_people(f"agedb={tmp_path}")
    assert set(islice(draw_triplets(people, 0), 50)) == {(0, 1, 2), (1, 0, 2)}
    for lost in (tmp_path / "2_Ole_3_m.jpg", tmp_path / "1_Ada_2_f.jpg"):
        lost.unlink()
        with pytest.raises(DataError, match="has no two people, one of them with two pictures"):
            draw_triplets(open_people(f"agedb={tmp_path}"), 0)


def names_of(people: People, seed: int, count: int = 200) -> list[tuple[str, ...]]:
    return [
        tuple(people.files[place].name for place in triplet) for triplet in islice(draw_triplets(people, seed), count)
    ]


def test_triplets_follow_from_the_seed_alone(tmp_path):
    """Not from the order in which files were written or are listed, the folder, nor from Python's own hash."""
    people = open_people("sample")
    copy = tmp_path / "elsewhere"
    (copy / "MeGlass_120x120").mkdir(parents=True)
    for file in reversed(FACES):
        shutil.copy(file, copy / "MeGlass_120x120")
    lines = (SAMPLE / "meta.txt").read_text().splitlines()
    (copy / "meta.txt").write_text("\n".join(reversed(lines)) + "\n")
    other = open_people(f"meglass={copy}")
    assert other.files != people.files
    assert names_of(other, 3) == names_of(people, 3) != names_of(people, 4)
    code = "from test_recognition_data import *; print(names_of(open_people('sample'), 3))"
    environment = os.environ | {"PYTHONHASHSEED": "18", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert said.stdout == f"{names_of(people, 3)}\n"


@pytest.fixture
def some(tmp_path) -> Path:
    """25 of the sample's people, and one file of each that is no picture."""
    root = tmp_path / "some"
    (root / "MeGlass_120x120").mkdir(parents=True)
    lines = []
    for person in sorted({file.name.rpartition("@")[0] for file in FACES})[:25]:
        for number in range(5):
            name = f"{person}@{number}.jpg"
            shutil.copy(SAMPLE / "MeGlass_120x120" / name, root / "MeGlass_120x120")
            lines.append(f"{name} 0\n")
        (root / "MeGlass_120x120" / f"{person}@9.jpg").write_bytes(b"torn")
        lines.append(f"{person}@9.jpg 0\n")
    (root / "meta.txt").write_text("".join(lines))
    return root


def make(root: Path, folder: Path, number: int = 30, **options) -> int:
    people = open_people(f"meglass={root}")
    return make_set(people, "train", number, store=folder / "store", cache=folder / "cache", **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_set_holds_what_it_says(some, tmp_path):
    assert make(some, tmp_path) == 1
    triplets, train = open_set(1, tmp_path / "store"), open_people(f"meglass={some}").part("train")
    assert triplets.about | {"date": ""} == {
        "dataset": "meglass",
        "split": "train",
        "number": 30,
        "seed": 0,
        "date": "",
        "people": len(set(train.identities)),
        "several": len(set(train.identities)),
        "pictures": len(train),
        "without a face": 0,
        "unreadable": triplets.about["unreadable"],
    }
    assert triplets.about["unreadable"] > 0
    assert len({tuple(row) for row in triplets.triplets.tolist()}) == 30
    assert not any(name.endswith("@9.jpg") for name in triplets.names)
    assert set(triplets.identities) <= set(train.identities)
    assert np.unique(triplets.triplets).tolist() == list(range(len(triplets.names))), "no picture is there for nothing"
    for anchor, positive, negative in triplets.triplets:
        assert triplets.identities[anchor] == triplets.identities[positive] != triplets.identities[negative]
        assert anchor != positive
    for name, identity in zip(triplets.names, triplets.identities, strict=True):
        assert Path(name).name.rpartition("@")[0] == identity, "picture and label are of the same person"
    for row in (0, 7, len(triplets.names) - 1):
        assert nearest(some / triplets.names[row], triplets.chips.pictures) == row
    assert contents(tmp_path / "cache") == {}, "the chips are in the set"


def test_a_longer_set_of_the_same_seed_begins_alike_and_has_the_next_number(some, tmp_path):
    assert [make(some, tmp_path, 10), make(some, tmp_path, 20), make(some, tmp_path, 10, seed=1)] == [1, 2, 3]
    assert set_numbers(tmp_path / "store") == [1, 2, 3]
    named = []
    for number in (1, 2, 3):
        triplets = open_set(number, tmp_path / "store")
        named.append([[triplets.names[row] for row in triplet] for triplet in triplets.triplets])
    assert named[0] == named[1][:10]
    assert named[0] != named[2]


def test_an_interrupted_set_goes_on_and_ends_with_the_same_bits(some, tmp_path, monkeypatch):
    make(some, tmp_path / "whole")
    monkeypatch.setattr(chips_module, "BLOCK", 8)
    real, looked = chips_module.align_picture, []

    def breaks(*args):
        looked.append(args[0])
        if len(looked) > 20:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(chips_module, "align_picture", breaks)
    for module in (chips_module, triplets_module):  # whose name else depends on this very function's code
        monkeypatch.setattr(module, "chips_folder", lambda part, cache: cache / f"chips-{hash(tuple(part.names()))}")
    with pytest.raises(KeyboardInterrupt):
        make(some, tmp_path / "cut", workers=1)
    assert not (tmp_path / "cut" / "store").exists()
    monkeypatch.setattr(chips_module, "align_picture", lambda *args: looked.append(args[0]) or real(*args))
    looked.clear()
    assert make(some, tmp_path / "cut", workers=2) == 1
    assert len(looked) == len(set(looked))
    assert contents(tmp_path / "cut" / "store") == contents(tmp_path / "whole" / "store")
    again = []
    monkeypatch.setattr(chips_module, "align_picture", lambda *args: again.append(args[0]) or real(*args))
    make(some, tmp_path / "anew", workers=2)
    assert len(looked) <= len(again) - 16, "two blocks of eight were kept"


def test_what_cannot_be_written_leaves_nothing(some, tmp_path, monkeypatch):
    def full(folder, *_):
        (folder / "chips.npy").write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(triplets_module, "write_chips", full)
    with pytest.raises(OSError, match="No space left"):
        make(some, tmp_path)
    assert list((tmp_path / "store").iterdir()) == []


def test_too_many_triplets_are_one_line_and_no_set(tmp_path):
    for number, file in enumerate(FACES[:2]):
        shutil.copy(file, tmp_path / f"{number}_Ada_1_f.jpg")
    shutil.copy(FACES[5], tmp_path / "2_Ole_1_m.jpg")
    people = open_people(f"agedb={tmp_path}")
    people.part = lambda name: people
    with pytest.raises(DataError, match=r"agedb: only 2 different triplets of 3 were drawn from .*; ask for fewer"):
        make_set(people, "train", 3, store=tmp_path / "store", cache=tmp_path / "cache")
    assert not (tmp_path / "store").exists()
    assert make_set(people, "train", 2, store=tmp_path / "store", cache=tmp_path / "cache") == 1
    for number, seed, said in ((0, 0, "at least one triplet, not 0"), (1, -1, "seed must be at least 0, not -1")):
        with pytest.raises(ValueError, match=said):
            make_set(people, "train", number, seed)


def test_coverage_by_hand(tmp_path):
    """Two people with two pictures, of whom one is an anchor, and one with one picture."""
    for number, (file, who) in enumerate(zip(FACES[:5], ("Ada", "Ada", "Bo", "Bo", "Cy"), strict=True)):
        shutil.copy(file, tmp_path / f"{number}_{who}_1_f.jpg")
    people = open_people(f"agedb={tmp_path}")
    people.part = lambda name: people
    make_set(people, "train", 1, store=tmp_path / "store", cache=tmp_path / "cache")
    triplets = open_set(1, tmp_path / "store")
    assert coverage(triplets) == {"people": (2, 3), "several": (1, 2), "pictures": (3, 5)}


def test_a_set_that_is_not_there_or_damaged_is_one_line(some, tmp_path):
    with pytest.raises(DataError, match=r"no triplet set 7 in .*: `python -m recognition triplets list` shows"):
        open_set(7, tmp_path / "store")
    make(some, tmp_path)
    folder = tmp_path / "store" / "1"
    lines = (folder / "triplets.csv").read_text()
    (folder / "triplets.csv").write_text(lines.replace(lines.splitlines()[1], "0,1,999"))
    with pytest.raises(DataError, match="is damaged: other triplets than its pictures; delete it"):
        open_set(1, tmp_path / "store")
    (folder / "set.json").write_text("{")
    with pytest.raises(DataError, match=r"set.json is damaged: .*; delete its folder"):
        read_about(1, tmp_path / "store")
