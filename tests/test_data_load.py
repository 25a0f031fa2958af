"""Sources in their public layouts and as people have them, and bad ones."""

import csv
import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import data_load
from conftest import ROOT, cartoon
from data_load import (
    LFW,
    CelebA,
    FolderPerClass,
    KaggleGlasses,
    Label,
    LabelsCSV,
    MeGlass,
    Nobody,
    Rendered,
    known_corrections,
    read_corrections,
)
from find_data import DataError


def write_celeba(root: Path, layout: str = "flat", identities: bool = True, no: str = "-1") -> Path:
    """20 drawn faces of CelebA: 6 with glasses; people 1 to 10, two pictures each; 14 train, 4 validate, 2 test.

    layout: "flat" (all lists beside the pictures), "official" (in folders, lines end in spaces and further columns) or
    "kaggle" (the lists are .csv, the pictures lie a folder deeper). no: how "without" is written.
    """
    pictures, attributes, parts = {
        "flat": ("img_align_celeba", "", ""),
        "official": ("Img/img_align_celeba", "Anno", "Eval"),
        "kaggle": ("img_align_celeba/img_align_celeba", "", ""),
    }[layout]
    for folder in (pictures, attributes, parts):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(1, 21):
        name, glasses = f"{i:06d}.jpg", i % 3 == 0
        cartoon(int(glasses), seed=i).resize((178, 218)).save(root / pictures / name)
        rows.append((name, "1" if glasses else no, str((i - 1) // 2 + 1), str(0 if i <= 14 else 1 if i <= 18 else 2)))
    if layout == "kaggle":
        lines = [f"{name},{no},{value},1\n" for name, value, _, _ in rows]
        (root / "list_attr_celeba.csv").write_text("image_id,Bald,Eyeglasses,Young\n" + "".join(lines))
        lines = [f"{name},{part}\n" for name, _, _, part in rows]
        (root / "list_eval_partition.csv").write_text("image_id,partition\n" + "".join(lines))
    else:
        end = " \n" if layout == "flat" else "  1 -1 \r\n"
        lines = [f"{name} {no}  {value}  1{end}" for name, value, _, _ in rows]
        (root / attributes / "list_attr_celeba.txt").write_text("20\nBald Eyeglasses Young \n" + "".join(lines))
        lines = [f"{name} {part}{end}" for name, _, _, part in rows]
        (root / parts / "list_eval_partition.txt").write_text("".join(lines))
    if identities:
        lines = [f"{name} {person}\n" for name, _, person, _ in rows]
        (root / attributes / "identity_CelebA.txt").write_text("".join(lines))
    (root / "eyewear_kind.csv").write_text("image_id,kind\n000003.jpg,sunglasses\n000006.jpg,eyeglasses\n000009.jpg,\n")
    return root


@pytest.fixture
def celeba(tmp_path) -> Path:
    return write_celeba(tmp_path / "celeba")


def write_kaggle(root: Path, suffix: str, latent: int) -> Path:
    folder = root / "faces-spring-2020" / "faces-spring-2020"
    folder.mkdir(parents=True)
    header = ["id", *(f"v{i + 1}" for i in range(latent)), "glasses"]
    rows = [[str(i), *["0.25"] * latent, str(i % 2)] for i in range(1, 7)]
    (root / "train.csv").write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    for i in range(1, 7):
        cartoon(i % 2, seed=i).save(folder / f"face-{i}{suffix}")
    return root


@pytest.mark.parametrize(("suffix", "latent"), [(".png", 512), (".jpg", 0)])
def test_kaggle_layouts(tmp_path, suffix, latent):
    dataset = KaggleGlasses(write_kaggle(tmp_path / "k", suffix, latent))
    assert len(dataset) == 6
    image, label, identity = dataset[0]
    assert image.shape == (3, 120, 120)
    assert image.dtype == torch.uint8
    assert (label, identity) == (Label.UNKNOWN_KIND, "")
    assert dataset[1].label == Label.NONE


def test_every_source_yields_rgb(tmp_path):
    root = write_kaggle(tmp_path / "k", ".png", 0)
    file = next(root.rglob("face-2.png"))
    Image.new("RGB", (5, 7), (200, 30, 10)).save(file)
    dataset = KaggleGlasses(root)
    image = dataset[dataset.files.index(file)].image
    assert image.shape == (3, 7, 5)
    assert image[:, 3, 2].tolist() == [200, 30, 10]


def test_meglass_identity_is_owner_and_number(meglass):
    dataset = MeGlass(meglass)
    assert len(set(dataset.identities)) == 10
    assert "10003@N00_identity_3" in dataset.identities
    assert set(dataset.labels) == {Label.NONE, Label.EYEGLASSES}


@pytest.mark.parametrize(("layout", "no"), [("flat", "-1"), ("flat", "0"), ("official", "-1"), ("kaggle", "-1")])
def test_celeba_partition_kind_and_identity(tmp_path, layout, no):
    celeba = write_celeba(tmp_path / "celeba", layout, no=no)
    train = CelebA(celeba, split="train")
    assert [f.name for f in train.files] == [f"{i:06d}.jpg" for i in range(1, 15)]
    kinds = dict(zip((f.name for f in train.files), train.labels, strict=True))
    assert kinds["000003.jpg"] == Label.SUNGLASSES
    assert kinds["000006.jpg"] == Label.EYEGLASSES
    assert kinds["000009.jpg"] == kinds["000012.jpg"] == Label.UNKNOWN_KIND  # an empty cell, and no row
    assert kinds["000001.jpg"] == Label.NONE
    assert train.identities[:4] == ["1", "1", "2", "2"]
    assert len(CelebA(celeba, split="validation")) == 4
    assert len(CelebA(celeba)) == 20
    assert train[0].image.shape == (3, 218, 178)


def test_celeba_balanced_takes_all_with_glasses_and_a_fixed_draw(celeba):
    first, again, other = (CelebA(celeba, balanced=seed) for seed in (0, 0, 1))
    assert first.files == again.files != other.files
    assert sum(first.labels == Label.NONE) == sum(first.labels != Label.NONE) == 6


def test_celeba_slice_joins_meglass(celeba, tmp_path):
    out = tmp_path / "slice"
    command = [
        sys.executable,
        ROOT / "data_load.py",
        "celeba-eyeglasses",
        "--data",
        celeba,
        "--out",
        out,
        "--size",
        "100",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    dataset = MeGlass(out)
    assert len(dataset) == 12
    assert dataset[0].image.shape == (3, 100, 100)
    assert set(dataset.identities) <= {f"celeba@identity_{i}" for i in range(1, 11)}
    assert set(dataset.labels) == {Label.NONE, Label.UNKNOWN_KIND}, "one of them wears sunglasses: the kind is unknown"
    for arguments in (["--size", "0"], ["--out", "/proc/x"]):
        run = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert run.returncode == 1
        assert len(run.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("layout", ["none", "txt", "csv"])
def test_celeba_slice_puts_the_eyes_where_meglass_has_them(celeba, tmp_path, layout):
    """A dot on each eye must come out at 0.35 and 0.65 of the width: where CelebA puts the eyes, or a list says."""
    x = 0 if layout == "none" else 20
    for file in (celeba / "img_align_celeba").iterdir():
        pixels = np.zeros((218, 178, 3), np.uint8)
        pixels[109:114, 67 + x : 72 + x] = pixels[109:114, 106 + x : 111 + x] = 255
        Image.fromarray(pixels).save(file, quality=95)
    names = ["lefteye_x", "lefteye_y", "righteye_x", "righteye_y"]
    rows = [[f"{i:06d}.jpg", "89", "111", "128", "111"] for i in range(1, 21)]
    if layout == "txt":
        lines = ["20", " ".join(names), *(" ".join(row) for row in rows)]
        (celeba / "list_landmarks_align_celeba.txt").write_text("\n".join(lines))
    if layout == "csv":
        lines = [",".join(row) for row in [["image_id", *names], *rows]]
        (celeba / "list_landmarks_align_celeba.csv").write_text("\n".join(lines))
    data_load.write_celeba_eyeglasses(celeba, tmp_path / "out", size=200)
    gray = MeGlass(tmp_path / "out")[0].image.float().mean(0)
    for columns, expected in ((slice(0, 100), 70), (slice(100, 200), 130)):
        half = gray[:, columns] * (gray[:, columns] > 60)
        x = (half.sum(0) * torch.arange(100)).sum() / half.sum() + columns.start
        y = (half.sum(1) * torch.arange(200)).sum() / half.sum()
        assert x == pytest.approx(expected, abs=1.5)
        assert y == pytest.approx(104, abs=1.5)


def test_celeba_slice_without_identities_says_so_and_takes_every_face_for_its_own(tmp_path):
    celeba = write_celeba(tmp_path / "celeba", "kaggle", identities=False)
    with pytest.warns(UserWarning, match="no identity_CelebA.txt"):
        count = data_load.write_celeba_eyeglasses(celeba, tmp_path / "out")
    assert len(set(MeGlass(tmp_path / "out").identities)) == count == 12


def test_lfw_person_is_the_identity(tmp_path):
    folder = tmp_path / "lfw-deepfunneled" / "Ada_Lovelace"
    folder.mkdir(parents=True)
    cartoon(1).save(folder / "Ada_Lovelace_0001.jpg")
    (tmp_path / "lfw_glasses.csv").write_text("file,glasses\nAda_Lovelace/Ada_Lovelace_0001.jpg,1\n")
    assert LFW(tmp_path)[0][1:] == (Label.UNKNOWN_KIND, "Ada_Lovelace")


def test_labels_csv_reads_kind_and_identity(tmp_path):
    for i in range(3):
        cartoon(i, seed=i).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_text("file,kind,identity\n0.png,none,a\n1.png,eyeglasses,a\n2.png,sunglasses,b\n")
    dataset = LabelsCSV(tmp_path)
    assert dataset.labels.tolist() == [Label.NONE, Label.EYEGLASSES, Label.SUNGLASSES]
    assert dataset.identities == ["a", "a", "b"]


@pytest.mark.parametrize("names", [("with_glasses", "without_glasses"), ("1", "0"), ("glasses", "no_glasses")])
def test_folder_per_class(tmp_path, names):
    for glasses, name in zip((1, 0), names, strict=True):
        (tmp_path / name / "deeper").mkdir(parents=True)
        cartoon(glasses).save(tmp_path / name / "a.png")
        cartoon(glasses).save(tmp_path / name / "deeper" / "b.webp")
        (tmp_path / name / "notes.txt").write_text("not a picture")
    dataset = FolderPerClass(tmp_path)
    found = {
        (f.relative_to(tmp_path).parts[0], int(label)) for f, label in zip(dataset.files, dataset.labels, strict=True)
    }
    assert len(dataset) == 4
    assert found == {(names[0], Label.UNKNOWN_KIND), (names[1], Label.NONE)}


CLASS_FOLDERS = [
    ("With Glasses", "Without_Glasses"),
    ("with-glasses", "without-glasses"),
    ("WithGlasses", "WithoutGlasses"),
    ("FaceWithGlasses", "FaceNoGlasses"),
    ("Glasses", "NoGlasses"),
    ("faces with glasses", "faces with no glasses"),
    ("GLASSES", "NON-GLASSES"),
]


@pytest.mark.parametrize("names", CLASS_FOLDERS, ids=lambda names: names[0])
def test_class_folders_as_people_name_them(tmp_path, names):
    for glasses, name in zip((1, 0), names, strict=True):
        (tmp_path / name).mkdir()
        cartoon(glasses).save(tmp_path / name / "a.png")
    dataset = FolderPerClass(tmp_path)
    assert [file.parent.name for file in dataset.files] == [names[1], names[0]]
    assert dataset.labels.tolist() == [Label.NONE, Label.UNKNOWN_KIND]


def test_class_folders_that_tell_the_kind_and_others(tmp_path):
    names = {"eye-glasses": Label.EYEGLASSES, "Sun Glasses": Label.SUNGLASSES, "None": Label.NONE}
    for name in [*names, "test pictures", ".glasses", "sunglasses on the table"]:
        (tmp_path / name).mkdir()
        cartoon(0).save(tmp_path / name / "a.png")
    dataset = FolderPerClass(tmp_path)
    assert {file.parent.name: label for file, label in zip(dataset.files, dataset.labels, strict=True)} == names


def test_class_folders_in_parts_and_twice_are_all_read(tmp_path):
    places = [
        "glasses",
        "With_Glasses",
        "Train/glasses",
        "val/glasses",
        "VALID/Glasses",
        "validation/1",
        "test/glasses",
    ]
    for place in places:
        (tmp_path / place).mkdir(parents=True)
        cartoon(1).save(tmp_path / place / "a.png")
    (tmp_path / "other" / "glasses").mkdir(parents=True)  # is no part
    dataset = FolderPerClass(tmp_path)
    assert sorted(file.parent.relative_to(tmp_path).as_posix() for file in dataset.files) == sorted(places)
    assert set(dataset.labels) == {Label.UNKNOWN_KIND}


def test_rendered_faces_are_a_folder_a_class_of_another_name(tmp_path):
    for name, glasses in (("eyeglasses", 1), ("sunglasses", 2)):
        (tmp_path / name).mkdir()
        cartoon(glasses).save(tmp_path / name / "celeba@000001@0.jpg")
    dataset = Rendered(tmp_path)
    assert (dataset.source, dataset.labels.tolist()) == ("rendered", [Label.EYEGLASSES, Label.SUNGLASSES])
    assert data_load.SOURCES["rendered"] is Rendered


def test_nobody_is_any_picture_below_a_folder_and_a_patch_has_its_picture_for_identity(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("stone.png", "deep/cat.jpg@0.jpg", "deep/er/a@b.png@12.jpg"):
        cartoon(0).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    dataset = Nobody(tmp_path)
    names = {file.name: (identity, key) for file, identity, key in zip(
        dataset.files, dataset.identities, dataset.keys(), strict=True
    )}  # fmt: skip
    assert names == {
        "stone.png": ("", "stone.png"),
        "cat.jpg@0.jpg": ("cat.jpg", "cat.jpg"),
        "a@b.png@12.jpg": ("a@b.png", "a@b.png"),
    }
    assert set(dataset.labels) == {Label.NOBODY}
    assert "3 nobody" in repr(dataset)
    assert dataset[0].label == Label.NOBODY == 4
    assert data_load.SOURCES["nobody"] is Nobody
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="nobody: no faces in"):
        Nobody(tmp_path / "none")


def test_what_macos_and_windows_leave_is_no_photo(tmp_path):
    for glasses, name in enumerate(("no_glasses", "glasses")):
        (tmp_path / name / ".thumbnails").mkdir(parents=True)
        cartoon(glasses).save(tmp_path / name / "a.png")
        cartoon(glasses).save(tmp_path / name / ".thumbnails" / "a.png")
        for left in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.jpg"):
            (tmp_path / name / left).write_bytes(b"left behind")
    assert [file.name for file in FolderPerClass(tmp_path).verify().files] == ["a.png", "a.png"]


# ------------------------------------------------------------------------------------------------ tables

TABLE = [["file", "glasses"], ["a.jpg", "1"], ["sub/b.jpg", "0"]]


def write_table(path: Path, rows, separator: str = ",", encoding: str = "utf-8", end: str = "\n") -> Path:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


@pytest.fixture
def labelled(tmp_path) -> Path:
    """A folder with a.jpg and sub/b.jpg, and no table yet."""
    (tmp_path / "set" / "sub").mkdir(parents=True)
    cartoon(1).save(tmp_path / "set" / "a.jpg")
    cartoon(0).save(tmp_path / "set" / "sub" / "b.jpg")
    return tmp_path / "set"


def check_labelled(folder: Path) -> None:
    dataset = LabelsCSV(folder)
    assert [file.relative_to(folder).as_posix() for file in dataset.files] == ["a.jpg", "sub/b.jpg"]
    assert dataset.labels.tolist() == [Label.UNKNOWN_KIND, Label.NONE]


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_write_them(labelled, name, separator, encoding):
    write_table(labelled / name, TABLE, separator, encoding, end="\r\n")
    check_labelled(labelled)


@pytest.mark.parametrize("yes_no", ["TRUE FALSE", "true False", "Yes NO", "y n", "1.0 0.0"])
def test_words_for_yes_and_no_with_spaces_around(labelled, yes_no):
    yes, no = yes_no.split()
    write_table(labelled / "labels.csv", [[" File ", "Glasses"], ["a.jpg", f" {yes} "], [" sub/b.jpg", no]])
    check_labelled(labelled)


def test_tables_with_backslashes_empty_rows_and_quotes(labelled):
    rows = [["file", "glasses", ""], [], ["a.jpg", "1", ""], ["sub\\b.jpg", "0"], ["", "", ""]]
    write_table(labelled / "labels.csv", rows, ";")
    check_labelled(labelled)
    (labelled / "a.jpg").rename(labelled / "a, b; c.jpg")
    write_table(labelled / "labels.csv", [["file", "glasses"], ["a, b; c.jpg", "1"]])
    assert [file.name for file in LabelsCSV(labelled).files] == ["a, b; c.jpg"]


def test_the_word_glasses_in_a_column_of_kinds_says_no_kind(labelled):
    write_table(labelled / "labels.csv", [["file", "kind"], ["a.jpg", "Glasses"], ["sub/b.jpg", "NONE"]])
    check_labelled(labelled)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no column 'file' in line 1 of .*labels.csv"),
        (b"name;glasses\na.jpg;1\n", "no column 'file' in line 1 of .*labels.csv, only name, glasses; add it"),
        (b"file,label\na.jpg,1\n", "labels.csv has neither a column glasses nor kind; add one"),
        (b"file,glasses\na.jpg,1,sub/b.jpg,0\n", "labels.csv line 2 has more cells than line 1; put quotes"),
        (b'file,glasses\n"a.jpg,1\n', "labels.csv line 2 is not a table: .*; fix the line"),
        ("file,glasses\n\xe4.jpg,1\n".encode("latin-1"), 'labels.csv is not text in UTF-8; save it as "CSV UTF-8"'),
        (b"PK\x03\x04\0\0\0\0", 'labels.csv is not a text file; save it as "CSV UTF-8"'),
        (b"file,glasses\na.jpg,maybe\n", "unknown label 'maybe': .*a.jpg; fix it"),
        (b"file,glasses\na.jpg\n", "unknown label '': .*a.jpg; fix it"),
    ],
)
def test_a_broken_table_is_one_line(labelled, content, word):
    (labelled / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=word) as caught:
        LabelsCSV(labelled)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("separator", "encoding"), [(",", "utf-8"), (";", "utf-16"), ("\t", "utf-8-sig")])
def test_corrections_are_tables_too(meglass, tmp_path, separator, encoding):
    rows = [["source", "file", "kind"], ["meglass", "x\\a.jpg", "Sunglasses"], ["lfw", "b.jpg", " glasses "]]
    table = write_table(tmp_path / "c.csv", rows, separator, encoding)
    right = {"meglass": {"x/a.jpg": Label.SUNGLASSES}, "lfw": {"b.jpg": Label.UNKNOWN_KIND}}
    assert read_corrections(table) == right
    write_table(meglass / "label_noise.csv", [row[1:] for row in rows], separator, encoding)
    assert known_corrections(MeGlass(meglass)) == right["meglass"] | right["lfw"]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("source,file,kind\nlfw,a.jpg\n", "c.csv: a.jpg has the unknown kind ''; write one of none, eyeglasses"),
        ("source,file,kind\nlfw,a.jpg,monocle\n", "c.csv: a.jpg has the unknown kind 'monocle'; write one of none"),
        ("source,kind\nlfw,none\n", "no column 'file' in line 1 of .*c.csv"),
    ],
)
def test_broken_corrections_are_one_line(tmp_path, content, word):
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(DataError, match=word) as caught:
        read_corrections(tmp_path / "c.csv")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"no nowhere\.csv in"):
        read_corrections(tmp_path / "nowhere.csv")


def test_a_table_may_name_files_outside_its_folder(labelled):
    cartoon(1).save(labelled.parent / "outside.jpg")
    write_table(labelled / "labels.csv", [*TABLE, ["../outside.jpg", "1"], [str(labelled / "sub" / "b.jpg"), "0"]])
    with pytest.warns(UserWarning, match="1 x listed twice"):
        assert LabelsCSV(labelled, strict=False).keys() == ["file:a.jpg", "file:sub/b.jpg", "file:../outside.jpg"]


# ------------------------------------------------------------------------------------------- bad sources


def test_missing_file_is_named_or_counted(meglass):
    gone = sorted((meglass / "MeGlass_120x120").iterdir())[:3]
    for file in gone:
        file.unlink()
    with pytest.raises(DataError, match=f"missing file.*{gone[0].name}.*; fix it, or leave such out with --skip-bad"):
        MeGlass(meglass)
    with pytest.warns(UserWarning, match="left out 3 of the faces listed: 3 x missing file"):
        assert len(MeGlass(meglass, strict=False)) == 37


def test_unknown_label_and_duplicate_id_are_named(meglass):
    lines = (meglass / "meta.txt").read_text().splitlines()
    (meglass / "meta.txt").write_text("\n".join([*lines[:-1], lines[-1][:-1] + "7", lines[0]]))
    with pytest.raises(DataError, match="unknown label '7'"):
        MeGlass(meglass)
    with pytest.warns(UserWarning, match="1 x unknown label '7', 1 x listed twice"):
        assert len(MeGlass(meglass, strict=False)) == 39


@pytest.mark.parametrize("content", [b"", b"this is text", None])
def test_unreadable_image_is_named_or_counted(meglass, content):
    file = sorted((meglass / "MeGlass_120x120").iterdir())[5]
    file.write_bytes(file.read_bytes()[:700] if content is None else content)
    dataset = MeGlass(meglass)
    with pytest.raises(DataError, match=f"{file.name}.*--skip-bad"):
        dataset[dataset.files.index(file)]
    with pytest.raises(DataError, match=f"unreadable picture.*{file.name}"):
        dataset.verify()
    with pytest.warns(UserWarning, match="1 x unreadable picture"):
        assert len(MeGlass(meglass, strict=False)) == 39
    dataset.strict = False
    with pytest.warns(UserWarning, match="1 x unreadable picture"):
        assert len(dataset.verify()) == 39


def test_wrong_or_empty_folders(tmp_path, celeba):
    (tmp_path / "empty" / "with_glasses").mkdir(parents=True)
    with pytest.raises(DataError, match="no pictures in"):
        FolderPerClass(tmp_path / "empty")
    with pytest.raises(DataError, match=r"no meta\.txt"):
        MeGlass(tmp_path / "empty")
    with pytest.raises(DataError, match="no folder"):
        MeGlass(tmp_path / "nowhere")
    (celeba / "list_attr_celeba.txt").write_text("")
    with pytest.raises(DataError, match="no column Eyeglasses"):
        CelebA(celeba)


def test_celeba_lists_that_were_cut_are_named(celeba):
    path = celeba / "list_attr_celeba.txt"
    whole = path.read_text()
    path.write_text(whole.rsplit("\n", 3)[0] + "\n")
    with pytest.raises(DataError, match="has 18 rows, not 20"):
        CelebA(celeba)
    path.write_text(whole.rstrip()[:-3] + "\n")
    with pytest.raises(DataError, match=r"unknown label ''.*000020\.jpg"):
        CelebA(celeba)
    path.write_text(whole)
    partition = celeba / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace("000007.jpg 0 \n", ""))
    with pytest.raises(DataError, match=r"no line for 000007\.jpg"):
        CelebA(celeba, split="train")
    partition.unlink()
    with pytest.raises(DataError, match=r"no list_eval_partition\.txt or Anno/.* or list_eval_partition\.csv in"):
        CelebA(celeba, split="train")


def test_celeba_lists_that_miss_a_face_or_hold_odd_values_are_named(celeba):
    partition, identity = celeba / "list_eval_partition.txt", celeba / "identity_CelebA.txt"
    whole = partition.read_text(), identity.read_text()
    partition.write_text(whole[0].replace("000007.jpg 0", "000007.jpg 7"))
    with pytest.raises(DataError, match=r"says '7' of 000007\.jpg"):
        CelebA(celeba, split="train")
    partition.write_text(whole[0])
    identity.write_text("\n".join(line for line in whole[1].splitlines() if "000007" not in line))
    with pytest.raises(DataError, match=r"identity_CelebA has no line for 000007\.jpg"):
        CelebA(celeba)


@pytest.mark.parametrize("eyes", ["abc 111 108 111", "69 111 69 111", "nan 111 108 111"])
def test_celeba_slice_names_eyes_that_are_none(celeba, tmp_path, eyes):
    header = "20\nlefteye_x lefteye_y righteye_x righteye_y\n"
    rows = "".join(f"{i:06d}.jpg {eyes}\n" for i in range(1, 21))
    (celeba / "list_landmarks_align_celeba.txt").write_text(header + rows)
    with pytest.raises(DataError, match=r"no eyes of 0000\d\d\.jpg"):
        data_load.write_celeba_eyeglasses(celeba, tmp_path / "out")


def test_a_name_that_is_too_long_is_a_missing_file(tmp_path):
    cartoon(0).save(tmp_path / "0.png")
    (tmp_path / "labels.csv").write_text(f"file,glasses\n0.png,0\n{'x' * 400}.png,1\n")
    with pytest.raises(DataError, match="missing file"):
        LabelsCSV(tmp_path)


def test_labels_csv_without_rows_or_without_its_first_file(tmp_path):
    (tmp_path / "labels.csv").write_text("file,glasses\n")
    with pytest.raises(DataError, match="no faces in"):
        LabelsCSV(tmp_path)
    for i in (1, 2):
        cartoon(0).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_text("file,glasses\n0.png,0\n1.png,0\n2.png,1\n")
    with pytest.warns(UserWarning, match="left out 1 "):
        assert len(LabelsCSV(tmp_path, strict=False)) == 2


def test_warnings_still_come_after_pictures_were_read_in_threads(meglass):
    dataset = MeGlass(meglass)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(dataset.read, list(range(40)) * 5))
    dataset.files[0].unlink()
    with pytest.warns(UserWarning, match="left out 1"):
        MeGlass(meglass, strict=False)


def test_table_without_the_column_says_which(tmp_path):
    (tmp_path / "train.csv").write_text("id,spectacles\n1,0\n")
    with pytest.raises(DataError, match="no column 'glasses'"):
        KaggleGlasses(tmp_path)


def test_relabel_by_name_or_folder_and_name(meglass):
    dataset = MeGlass(meglass)
    name = dataset.files[0].name
    changed = dataset.relabel({name: Label.SUNGLASSES, f"MeGlass_120x120/{dataset.files[1].name}": Label.UNKNOWN_KIND})
    assert changed.labels[:2].tolist() == [Label.SUNGLASSES, Label.UNKNOWN_KIND]
    assert dataset.labels[0] == Label.NONE, "the original is untouched"
