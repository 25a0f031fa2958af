"""Sources in their public layouts, splits, the search for data sets, the cache, and the training transforms."""

import hashlib
import subprocess
import sys
import types
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import data_load
from augment import train_transform
from conftest import ROOT, cartoon
from data_load import LFW, CelebA, FolderPerClass, KaggleGlasses, Label, LabelsCSV, MeGlass, split
from detector_architectures import load_detector
from face_cache import CachedFaces
from find_data import DataError, find_dataset


@pytest.fixture
def celeba(tmp_path) -> Path:
    """20 drawn faces in CelebA's official layout: 6 with glasses; people 1 to 10, two pictures each."""
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(1, 21)]
    glasses = [i % 3 == 0 for i in range(1, 21)]
    for i, name in enumerate(names):
        cartoon(int(glasses[i]), seed=i).resize((178, 218)).save(root / "img_align_celeba" / name)
    rows = [f"{n} {' 1' if g else '-1'} -1  1" for n, g in zip(names, glasses, strict=True)]
    (root / "list_attr_celeba.txt").write_text("20\nEyeglasses Male Young\n" + "\n".join(rows) + "\n")
    (root / "identity_CelebA.txt").write_text("".join(f"{n} {i // 2 + 1}\n" for i, n in enumerate(names)))
    parts = [0] * 14 + [1] * 4 + [2] * 2
    (root / "list_eval_partition.txt").write_text("".join(f"{n} {p}\n" for n, p in zip(names, parts, strict=True)))
    (root / "eyewear_kind.csv").write_text("image_id,kind\n000003.jpg,sunglasses\n000006.jpg,eyeglasses\n000009.jpg,\n")
    return root


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


def test_celeba_partition_kind_and_identity(celeba):
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


def test_celeba_slice_puts_the_eyes_where_meglass_has_them(celeba, tmp_path):
    """A dot on each official eye position must come out at 0.35 and 0.65 of the width."""
    for file in (celeba / "img_align_celeba").iterdir():
        pixels = np.zeros((218, 178, 3), np.uint8)
        pixels[109:114, 67:72] = pixels[109:114, 106:111] = 255
        Image.fromarray(pixels).save(file, quality=95)
    data_load.write_celeba_eyeglasses(celeba, tmp_path / "out", size=200)
    gray = MeGlass(tmp_path / "out")[0].image.float().mean(0)
    for columns, expected in ((slice(0, 100), 70), (slice(100, 200), 130)):
        half = gray[:, columns] * (gray[:, columns] > 60)
        x = (half.sum(0) * torch.arange(100)).sum() / half.sum() + columns.start
        y = (half.sum(1) * torch.arange(200)).sum() / half.sum()
        assert x == pytest.approx(expected, abs=1.5)
        assert y == pytest.approx(104, abs=1.5)


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


# ------------------------------------------------------------------------------------------- bad sources


def test_missing_file_is_named_or_counted(meglass):
    gone = sorted((meglass / "MeGlass_120x120").iterdir())[:3]
    for file in gone:
        file.unlink()
    with pytest.raises(DataError, match=f"missing file.*{gone[0].name}"):
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
    with pytest.raises(DataError, match=file.name):
        dataset[dataset.files.index(file)]
    with pytest.raises(DataError, match=f"unreadable picture.*{file.name}"):
        dataset.verify()
    with pytest.warns(UserWarning, match="1 x unreadable picture"):
        assert len(MeGlass(meglass, strict=False).verify()) == 39


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
    path.write_text(whole.rstrip()[:-6] + "\n")
    with pytest.raises(DataError, match=r"unknown label ''.*000020\.jpg"):
        CelebA(celeba)
    path.write_text(whole)
    partition = celeba / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace("000007.jpg 0\n", ""))
    with pytest.raises(DataError, match=r"no line for 000007\.jpg"):
        CelebA(celeba, split="train")


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


# ------------------------------------------------------------------------------------------------ splits


def test_split_shares_no_identity_and_loses_nothing(meglass):
    dataset = MeGlass(meglass)
    for seed in range(5):
        parts = split(dataset, (0.6, 0.2, 0.2), seed)
        people = [set(part.identities) for part in parts]
        assert not (people[0] & people[1])
        assert not (people[0] & people[2])
        assert not (people[1] & people[2])
        assert sorted(f for part in parts for f in part.files) == sorted(dataset.files)
        assert [len(part) for part in parts] == [24, 8, 8]


def test_split_is_stratified_without_identities(tmp_path):
    for name, count in (("glasses", 10), ("no_glasses", 30)):
        (tmp_path / name).mkdir()
        for i in range(count):
            (tmp_path / name / f"{name}{i}.png").write_bytes(b"")
    first, second = split(FolderPerClass(tmp_path), (0.7, 0.3))
    assert [sum(first.labels == label) for label in (Label.NONE, Label.UNKNOWN_KIND)] == [21, 7]
    assert [sum(second.labels == label) for label in (Label.NONE, Label.UNKNOWN_KIND)] == [9, 3]


def test_split_is_the_same_on_every_machine(meglass):
    """Worked out from the definition: people in the order of sha256("seed:identity"), the first half of the faces."""
    dataset = MeGlass(meglass)
    people = sorted(set(dataset.identities), key=lambda p: hashlib.sha256(f"3:{p}".encode()).digest())
    assert set(split(dataset, (0.5, 0.5), seed=3)[0].identities) == set(people[:5])


def test_split_tells_files_of_one_name_apart_and_refuses_empty_parts(tmp_path):
    for folder in ("glasses", "no_glasses"):
        for i in range(10):
            (tmp_path / folder / str(i)).mkdir(parents=True)
            (tmp_path / folder / str(i) / "face.jpg").write_bytes(b"")
    dataset = FolderPerClass(tmp_path)
    assert [len(part) for part in split(dataset, (0.5, 0.5))] == [10, 10]
    with pytest.raises(DataError, match="too few people or faces"):
        split(dataset.subset([0]), (0.5, 0.5))


def test_split_refuses_fractions_that_do_not_sum_to_one(meglass):
    with pytest.raises(ValueError, match="sum to 1"):
        split(MeGlass(meglass), (0.5, 0.4))


# --------------------------------------------------------------------------------------- finding data sets


def test_find_dataset_ladder(tmp_path, monkeypatch, meglass):
    assert find_dataset("meglass", meglass) == meglass
    with pytest.raises(DataError, match="MeGlass_120x120"):
        find_dataset("meglass", tmp_path / "elsewhere")
    monkeypatch.setattr(data_load, "DATASETS_DIR", tmp_path / "datasets")
    with pytest.raises(DataError, match="not found; follow"):
        find_dataset("meglass")
    for mount in ("input/glasses-or-no-glasses", "input/datasets/jeffheaton/glasses-or-no-glasses"):
        kaggle = tmp_path / mount.replace("/", "_")
        root = write_kaggle(kaggle / mount, ".png", 2)
        monkeypatch.setenv("KAGGLE_ROOT", str(kaggle))
        assert find_dataset("kaggle") == root
    monkeypatch.setenv("GLASSES_DATA", str(meglass.parent))  # before Kaggle's mounts; a subfolder counts
    assert find_dataset("meglass") == meglass
    with pytest.raises(DataError, match="unknown data set"):
        find_dataset("nonsense")


def test_find_dataset_without_credentials_says_how(tmp_path, monkeypatch):
    monkeypatch.setattr(data_load, "DATASETS_DIR", tmp_path / "datasets")
    with pytest.raises(DataError, match="set Kaggle credentials, or download"):
        find_dataset("kaggle")
    assert "kaggle" not in sys.modules, "importing the package without credentials ends the program"


@pytest.fixture
def kaggle_account(tmp_path, monkeypatch):
    """Credentials, and a stand-in for the `kaggle` package whose `dataset_download_files` the test sets."""
    package = types.ModuleType("kaggle")
    package.api = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "kaggle", package)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    monkeypatch.setattr(data_load, "DATASETS_DIR", tmp_path / "datasets")
    return package.api


def test_download_fetches_checks_and_unpacks(tmp_path, kaggle_account, capsys):
    source = write_kaggle(tmp_path / "source", ".png", 2)

    def download(slug, path, **options):
        assert slug == "jeffheaton/glasses-or-no-glasses"
        with zipfile.ZipFile(Path(path) / "glasses-or-no-glasses.zip", "w") as file:
            for member in source.rglob("*.*"):
                file.write(member, member.relative_to(source))

    kaggle_account.dataset_download_files = download
    folder = find_dataset("kaggle")
    assert len(KaggleGlasses(folder)) == 6
    assert [p.name for p in folder.parent.iterdir()] == ["glasses-or-no-glasses"], "the archive is deleted"
    message = capsys.readouterr().err
    assert "KAGGLE_API_TOKEN" in message
    assert "secret" not in message
    del kaggle_account.dataset_download_files
    assert find_dataset("kaggle") == folder, "found without another download"


@pytest.mark.parametrize(
    ("failure", "word"),
    [(SystemExit(1), "refused the credentials"), (ConnectionError("no\nroute"), "no route.*run again to resume")],
)
def test_failed_download_is_one_line(kaggle_account, failure, word):
    def download(slug, path, **options):
        (Path(path) / "glasses-or-no-glasses.zip").write_bytes(b"the first half")
        raise failure

    kaggle_account.dataset_download_files = download
    with pytest.raises(DataError, match=word) as caught:
        find_dataset("kaggle")
    assert "\n" not in str(caught.value)
    archive = data_load.DATASETS_DIR / "glasses-or-no-glasses.zip"
    assert archive.read_bytes() == b"the first half", "kept, so that the package can resume it"


def test_no_download_where_none_is_wanted(kaggle_account):
    with pytest.raises(DataError, match="not found"):
        find_dataset("kaggle", download=False)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_unpack_is_whole_or_not_at_all(tmp_path, compression):
    source = write_kaggle(tmp_path / "source", ".png", 0)
    archive, folder = tmp_path / "set.zip", tmp_path / "datasets" / "set"
    folder.parent.mkdir()

    def pack():
        with zipfile.ZipFile(archive, "w", compression) as file:
            for member in source.rglob("*.*"):
                file.write(member, member.relative_to(source))

    pack()
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    archive.write_bytes(damaged)
    with pytest.raises(DataError, match="damaged archive, deleted; run again"):
        data_load.unpack(archive, folder, ["train.csv"])
    assert not archive.exists()
    assert not any(folder.parent.iterdir())

    pack()
    folder.mkdir()  # what an older program may have left half-unpacked
    assert data_load.unpack(archive, folder, ["train.csv"]) == folder
    assert len(KaggleGlasses(folder)) == 6
    pack()
    with pytest.raises(DataError, match=r"there is no test\.csv in it"):
        data_load.unpack(archive, folder, ["test.csv"])
    assert len(KaggleGlasses(folder)) == 6, "what was there stays where the new archive is not better"


# ------------------------------------------------------------------------------- cached crops, transforms


class WholeImage:
    """A detector for drawn faces, whose landmarks are known."""

    name = "whole"

    def __call__(self, image):
        from detector_architectures import Face

        points = np.float32([[42, 62], [78, 62], [57, 80], [47, 93], [73, 93]]) * image.shape[1] / 120
        return [Face((20, 20, 80, 95), 1.0, self.name, points)]


def test_cache_holds_the_crops_and_is_written_once(meglass, tmp_path):
    from glasses.crops import CROP, align_face

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
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_cache_is_whole_or_not_at_all(meglass, tmp_path):
    dataset = MeGlass(meglass)
    dataset.files[30].write_bytes(b"broken")
    with pytest.raises(DataError, match=dataset.files[30].name):
        CachedFaces(dataset, WholeImage(), tmp_path / "cache")
    assert not any((tmp_path / "cache").iterdir())


def test_centre_of_the_margin_is_the_crop_the_pipeline_makes(hopper):
    """Training sees the centre of the larger crop; predict.py sees the small one: they must be the same face."""
    from glasses.crops import CROP, align_face
    from glasses.photos import read_image

    image = read_image(hopper)[0]
    face = load_detector("slim")(image)[0]
    small, large = align_face(image, face.landmarks), align_face(image, face.landmarks, CROP.with_margin(1.5))
    difference = np.abs(large[16:80, 24:120].astype(int) - small)
    assert difference.max() <= 3, "the warp rounds to 1/32 of a pixel, no more"
    assert difference.mean() < 0.05


def test_train_transform_keeps_shape_range_and_seed():
    batch = torch.randint(0, 256, (20, 3, 96, 144), dtype=torch.uint8)
    transform = train_transform()
    torch.manual_seed(1)
    first = transform(batch)
    torch.manual_seed(1)
    assert torch.equal(first, transform(batch))
    assert first.shape == (20, 3, 64, 96)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert not torch.equal(first, transform(batch))


def test_covered_and_cut_faces_keep_the_eyes():
    """At least one eye and its surroundings stay as they were, and something is covered."""
    torch.manual_seed(0)
    batch = torch.full((2, 3, 64, 96), 100, dtype=torch.uint8)
    eyes = (slice(19, 33), slice(None))  # rows of the crop around the eye line
    covered = torch.stack([data_load.CoverLowerFace()(batch) for _ in range(50)])
    assert torch.equal(covered[..., *eyes], batch[..., *eyes].expand(50, -1, -1, -1, -1))
    assert ((covered[..., -1, :] == 100).float().mean() < 0.3).item()
    cut = torch.stack([data_load.CutSides()(batch) for _ in range(50)])
    seen = (cut[..., 19:33, :] == 100).all(-2)  # columns in which the eyes' rows are whole
    assert (seen[..., :48].all(-1) | seen[..., 48:].all(-1)).all()
    assert (cut == 0).any()


def test_relabel_by_name_or_folder_and_name(meglass):
    dataset = MeGlass(meglass)
    name = dataset.files[0].name
    changed = dataset.relabel({name: Label.SUNGLASSES, f"MeGlass_120x120/{dataset.files[1].name}": Label.UNKNOWN_KIND})
    assert changed.labels[:2].tolist() == [Label.SUNGLASSES, Label.UNKNOWN_KIND]
    assert dataset.labels[0] == Label.NONE, "the original is untouched"
