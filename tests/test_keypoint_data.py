"""The 68 points: the public layout and tables of its kind, bad ones, people in parts, and the embedded stand-in."""

from pathlib import Path

import numpy as np
import pytest

import data_load
import keypoint_data
from conftest import cartoon
from data_load import LFW, split
from find_data import DataError, find_dataset
from keypoint_data import COLUMNS, MIRRORED, PARTS, POINTS, FacialKeypointsDataset, PointSample

PEOPLE = ["Ada_Lovelace", "Alan_Turing", "Edsger_Dijkstra", "Grace_Hopper", "Kurt_Goedel", "Emmy_Noether"]


def face_points(seed: int) -> np.ndarray:
    """(68, 2) places in a picture of 120 pixels, with a decimal each."""
    return np.random.default_rng(seed).uniform(5, 115, (POINTS, 2)).round(1)


def write_table(path: Path, names: list[str], **columns: list[str]) -> Path:
    """A table of the public layout: the first column has no name; `columns` come after it."""
    lines = [",".join(["", *columns, *COLUMNS])]
    for i, name in enumerate(names):
        extra = [values[i] for values in columns.values()]
        lines.append(",".join([name, *extra, *(str(value) for value in face_points(i).ravel())]))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def ytf(tmp_path) -> Path:
    """Two frames of each of six people for training, one of a seventh for the test: PNG files named .jpg, RGBA."""
    root = tmp_path / "ytf"
    parts = {
        "training": [f"{person}_{n}1.jpg" for person in PEOPLE for n in range(2)],
        "test": ["Alonzo_Church_00.jpg"],
    }
    for part, names in parts.items():
        (root / part).mkdir(parents=True)
        write_table(root / f"{part}_frames_keypoints.csv", names)
        for i, name in enumerate(names):
            cartoon(i % 2, seed=i).convert("RGBA").save(root / part / name, format="PNG")
    return root


def test_the_public_layout(ytf):
    dataset = FacialKeypointsDataset(ytf)
    assert len(dataset) == 12
    assert repr(dataset) == "FacialKeypointsDataset(12 faces: 68 points; 6 people)"
    assert dataset.identities[:3] == ["Ada_Lovelace", "Ada_Lovelace", "Alan_Turing"]
    assert dataset.keypoints.shape == (12, 68, 2)
    image, keypoints = dataset[3]
    np.testing.assert_array_equal(image, np.asarray(cartoon(1, seed=3)))
    assert (image.dtype, keypoints.dtype) == (np.uint8, np.float32)
    np.testing.assert_allclose(keypoints, face_points(3), atol=1e-5)
    test = FacialKeypointsDataset(ytf, part="test")
    assert [file.name for file in test.files] == ["Alonzo_Church_00.jpg"]
    with pytest.raises(ValueError, match="unknown part 'train': choose from training, test"):
        FacialKeypointsDataset(ytf, part="train")


def test_the_transform_gets_the_sample_and_spoils_nothing(ytf):
    def transform(sample):
        assert isinstance(sample, PointSample)
        sample.keypoints[:] = 0
        return "what it returns"

    dataset = FacialKeypointsDataset(ytf, transform)
    assert dataset[0] == "what it returns"
    np.testing.assert_allclose(dataset.keypoints[0], face_points(0), atol=1e-5)


def test_split_keeps_people_apart(ytf):
    dataset = FacialKeypointsDataset(ytf)
    parts = split(dataset, (0.5, 0.5))
    assert sorted(file.name for part in parts for file in part.files) == sorted(file.name for file in dataset.files)
    assert not set(parts[0].identities) & set(parts[1].identities)
    for part in parts:
        rows = [dataset.files.index(file) for file in part.files]
        np.testing.assert_array_equal(part.keypoints, dataset.keypoints[rows])
        np.testing.assert_array_equal(part[0].image, dataset[rows[0]].image)


def test_a_person_of_lfw_goes_where_its_videos_go(ytf, tmp_path):
    root, names = tmp_path / "lfw", [f"{person}/{person}_0001.jpg" for person in PEOPLE]
    for name in names:
        (root / "lfw-deepfunneled" / name).parent.mkdir(parents=True)
        cartoon(0).save(root / "lfw-deepfunneled" / name)
    (root / "lfw_glasses.csv").write_text("file,glasses\n" + "".join(f"{name},0\n" for name in names))
    table = write_table(tmp_path / "made.csv", [f"lfw-deepfunneled\\{name}".replace("/", "\\") for name in names])
    faces, points = LFW(root), FacialKeypointsDataset(root, table=table)
    assert [file.name for file in points.files] == [file.name for file in faces.files]
    videos = FacialKeypointsDataset(ytf)
    sides = [[set(part.identities) for part in split(dataset, (0.5, 0.5))] for dataset in (faces, points, videos)]
    assert sides[0] == sides[1] == sides[2]


def test_a_table_may_tell_part_and_person(tmp_path):
    names = ["1.png", "2.png", "3.png"]
    for name in names:
        cartoon(0).save(tmp_path / name)
    table = write_table(tmp_path / "t.csv", names, part=["test", "training", "training"], identity=["7", "8", ""])
    dataset = FacialKeypointsDataset(tmp_path, table=table)
    assert dataset.files == [tmp_path / "2.png", tmp_path / "3.png"]
    assert dataset.keys() == ["8", "file:3.png"]
    np.testing.assert_allclose(dataset.keypoints[0], face_points(1), atol=1e-5)
    assert FacialKeypointsDataset(tmp_path, part="test", table=table).identities == ["7"]


def change_row(number: int, change):
    """What replaces the row `number` of the training table by what `change` makes of its cells."""

    def spoil(root: Path) -> None:
        path = root / "training_frames_keypoints.csv"
        lines = path.read_text().splitlines()
        lines[number] = ",".join(change(lines[number].split(",")))
        path.write_text("\n".join(lines) + "\n")

    return spoil


def delete_picture(root: Path) -> None:
    (root / "training" / "Alan_Turing_01.jpg").unlink()


NO_NUMBER = r"a row without 136 numbers: .*training_frames_keypoints\.csv row 3 \(Alan_Turing_01\.jpg\)"
BAD_ROWS = {
    "cut": (change_row(3, lambda cells: cells[:90]), NO_NUMBER),
    "word": (change_row(3, lambda cells: [*cells[:8], "left", *cells[9:]]), NO_NUMBER),
    "nan": (change_row(3, lambda cells: [*cells[:8], "nan", *cells[9:]]), NO_NUMBER),
    "endless": (change_row(3, lambda cells: [*cells[:8], "inf", *cells[9:]]), NO_NUMBER),
    "empty": (change_row(3, lambda cells: [*cells[:8], "", *cells[9:]]), NO_NUMBER),
    "twice": (change_row(4, lambda cells: ["Alan_Turing_01.jpg", *cells[1:]]), r"listed twice: .*01\.jpg in .* row 4"),
    "nameless": (change_row(3, lambda cells: ["", *cells[1:]]), "missing file: .*training of .* row 3"),
    "gone": (delete_picture, r"missing file: .*Alan_Turing_01\.jpg of .*training_frames_keypoints\.csv row 3"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_named_or_left_out(ytf, kind):
    spoil, words = BAD_ROWS[kind]
    spoil(ytf)
    with pytest.raises(
        DataError, match=f"^ytf training: {words}; fix it, or leave such out with --skip-bad$"
    ) as caught:
        FacialKeypointsDataset(ytf)
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="^ytf training: left out 1 of the faces listed: 1 x ") as warned:
        dataset = FacialKeypointsDataset(ytf, strict=False)
    assert len(dataset) == len(dataset.keypoints) == len(dataset.identities) == 11
    assert [Path(warning.filename).name for warning in warned] == [Path(__file__).name], "it says who asked for it"


def test_several_bad_rows_are_one_warning(ytf):
    for kind in ("cut", "twice"):
        BAD_ROWS[kind][0](ytf)
    (ytf / "training" / "Ada_Lovelace_01.jpg").write_bytes(b"no picture")
    counts = "1 x a row without 136 numbers, 1 x listed twice, 1 x unreadable picture"
    with pytest.warns(UserWarning, match=f"^ytf training: left out 3 of the faces listed: {counts}$") as warned:
        assert len(FacialKeypointsDataset(ytf, strict=False)) == 9
    assert len(warned) == 1


def test_an_unreadable_picture_is_named(ytf):
    (ytf / "training" / "Ada_Lovelace_01.jpg").write_bytes(b"no picture")
    dataset = FacialKeypointsDataset(ytf)
    with pytest.raises(DataError, match=r"^ytf: .*Ada_Lovelace_01\.jpg: .*--skip-bad$"):
        dataset[0]


BAD_TABLES = {
    "none": (
        None,
        r"no training_frames_keypoints\.csv or keypoints\.csv in .*; is it the right folder, and unpacked\?",
    ),
    "empty": (b"", r"frames_keypoints\.csv is not a table: No columns to parse from file; fix the line"),
    "picture": (b"\xff\xd8\xff\xe0", r"frames_keypoints\.csv is not text in UTF-8; save it as"),
    "few": (
        b",0,1,2\na.jpg,1,2,3\n",
        r"no column '3' in line 1 of .*frames_keypoints\.csv; name the columns: the file",
    ),
    "quote": (f',{",".join(COLUMNS)}\n"a.jpg'.encode(), r"frames_keypoints\.csv is not a table: .*; fix the line"),
    "long": (
        f",{','.join(COLUMNS)}\na.jpg{',1' * 136}\nb.jpg{',1' * 137}\n".encode(),
        r"frames_keypoints\.csv is not a table: .*Expected 137 fields in line 3, saw 138; fix the line",
    ),
    "no row": (f",{','.join(COLUMNS)}\n".encode(), r"no faces in .*keypoints\.csv; is it the right table, and whole\?"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_no_table_is_one_line(ytf, kind, strict):
    content, words = BAD_TABLES[kind]
    table = ytf / "training_frames_keypoints.csv"
    table.unlink() if content is None else table.write_bytes(content)
    with pytest.raises(DataError, match=f"^ytf.*: .*{words}") as caught:
        FacialKeypointsDataset(ytf, strict=strict)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"^ytf: no other\.csv in .*"):
        FacialKeypointsDataset(ytf, table=ytf / "other.csv")


def test_the_stand_in_opens(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("find_data.DATASETS_DIR", tmp_path)
    root = find_dataset("ytf", fallback="sample")
    assert capsys.readouterr().out.startswith("ytf: not found; using the embedded sample faces instead.")
    training, test = FacialKeypointsDataset(root), FacialKeypointsDataset(root, part="test")
    assert len(training) >= 500
    assert len(test) >= 100
    assert not set(training.keys()) & set(test.keys())
    assert training[0].image.shape == (112, 112, 3)
    for dataset in (training, test):
        middle = {part: dataset.keypoints[:, places, 1].mean(1) for part, places in PARTS.items()}
        assert (middle["brows"] < middle["eyes"]).all()
        assert (middle["eyes"] < middle["nose"]).all()
        assert (middle["nose"] < middle["mouth"]).all()
    assert (root / "keypoints.csv").stat().st_size <= 500_000


def test_the_parts_are_all_points():
    order = np.concatenate([np.arange(POINTS)[part] for part in PARTS.values()])
    np.testing.assert_array_equal(order, np.arange(POINTS))


def test_mirrored_swaps_left_and_right():
    np.testing.assert_array_equal(MIRRORED[MIRRORED], np.arange(POINTS))
    for part in PARTS.values():
        np.testing.assert_array_equal(np.sort(MIRRORED[part]), np.arange(POINTS)[part])
    keypoints = FacialKeypointsDataset(find_dataset("sample")).keypoints
    mean = keypoints.mean(0)  # of 600 faces: a face as symmetrical as faces are
    mirrored = mean[MIRRORED] * (-1, 1) + (111, 0)
    assert np.abs(mirrored - mean).max() < 2
    assert np.abs(mean * (-1, 1) + (111, 0) - mean).max() > 50, "without MIRRORED, left stays left"


def test_they_are_in_data_load_too():
    assert data_load.FacialKeypointsDataset is keypoint_data.FacialKeypointsDataset
    sample = PointSample(np.zeros((120, 240, 3), np.uint8), np.zeros((68, 2), np.float32))
    for step in (data_load.Rescale(110), data_load.RandomCrop(100), data_load.Normalize(), data_load.ToTensor()):
        sample = step(sample)
    assert sample.image.shape == (1, 100, 100)


@pytest.mark.real_data
def test_real_frames(real_data):
    root = find_dataset("ytf", real_data)
    dataset = FacialKeypointsDataset(root)
    assert len(dataset) > 3000
    assert len(set(dataset.identities)) > 300
    assert "Luis_Fonsi" in dataset.identities
    for i in range(0, len(dataset), 100):
        image, keypoints = dataset[i]
        height, width = image.shape[:2]
        inside = ((keypoints >= 0) & (keypoints < (width, height))).all(1)
        assert inside.mean() > 0.8
