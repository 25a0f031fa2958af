"""The search for data sets, downloads from Kaggle with a stand-in for its package, and unpacking."""

import errno
import sys
import types
import zipfile
from pathlib import Path

import pytest
import requests
import urllib3

import find_data
from conftest import cartoon
from data_load import KaggleGlasses
from find_data import DataError, find_dataset
from test_data_load import write_celeba, write_kaggle


def test_find_dataset_ladder(tmp_path, monkeypatch, meglass):
    assert find_dataset("meglass", meglass) == meglass
    with pytest.raises(DataError, match="MeGlass_120x120"):
        find_dataset("meglass", tmp_path / "elsewhere")
    monkeypatch.setattr(find_data, "DATASETS_DIR", tmp_path / "datasets")
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


@pytest.mark.parametrize("layout", ["flat", "official", "kaggle"])
def test_find_dataset_knows_celeba_as_people_have_it(tmp_path, monkeypatch, layout):
    folder = "celeba-dataset" if layout == "kaggle" else "CelebA"
    root = write_celeba(tmp_path / "input" / "datasets" / "owner" / folder, layout, identities=False)
    assert find_dataset("celeba", root) == root
    assert find_dataset("celeba", root.parent) == root
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    assert find_dataset("celeba") == root


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
def test_find_dataset_takes_either_table_of_labels(tmp_path, name):
    with pytest.raises(DataError, match=r"has no labels\.csv"):
        find_dataset("ffhq", tmp_path)
    (tmp_path / name).write_text("")
    assert find_dataset("ffhq", tmp_path) == tmp_path


@pytest.mark.parametrize("folder", ["ytf", "data", "ytf_keypoints", "youtube-facial-keypoints/data"])
def test_find_dataset_knows_the_key_points_as_people_have_them(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(find_data, "DATASETS_DIR", tmp_path / "datasets")
    with pytest.raises(DataError, match=r"ytf: .* has no training_frames_keypoints\.csv; follow github\.com/udacity"):
        find_dataset("ytf", tmp_path)
    with pytest.raises(DataError, match="ytf: not found; follow"):
        find_dataset("ytf")  # the embedded faces are no more than a fallback
    root = tmp_path / "input" / folder
    root.mkdir(parents=True)
    (root / "training_frames_keypoints.csv").write_text("")
    assert find_dataset("ytf", root) == find_dataset("ytf", tmp_path / "input") == root
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path))
    assert find_dataset("ytf", fallback="sample") == root
    assert find_dataset("ytf", find_dataset("sample")) == find_dataset("sample")


def test_problems_are_one_line(tmp_path):
    find_data.report_problems("faces", [], strict=True)
    problems = [("listed twice", "a.jpg"), ("missing file", "b.jpg"), ("missing file", "c.jpg")]
    line = r"^faces: listed twice: a\.jpg \(and 2 more\); fix it, or leave such out with --skip-bad$"
    with pytest.raises(DataError, match=line):
        find_data.report_problems("faces", problems, strict=True)
    counts = "^faces: left out 3 of the faces listed: 1 x listed twice, 2 x missing file$"
    with pytest.warns(UserWarning, match=counts):
        find_data.report_problems("faces", problems, strict=False)


def test_unreadable_pictures_are_named(tmp_path):
    good, bad, gone = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "gone.png"
    cartoon(0).save(good)
    bad.write_bytes(b"no picture")
    reasons = find_data.unreadable_pictures([good, bad, gone], "faces")
    assert list(reasons) == [bad, gone]
    assert reasons[gone] == "no such file"


def test_find_dataset_without_credentials_says_how(tmp_path, monkeypatch):
    monkeypatch.setattr(find_data, "DATASETS_DIR", tmp_path / "datasets")
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
    monkeypatch.setattr(find_data, "DATASETS_DIR", tmp_path / "datasets")
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


class AnsweredError(Exception):
    """As the errors of requests that carry an answer."""

    def __init__(self, status: int):
        super().__init__("words of theirs,\nwhich nobody promised")
        self.response = types.SimpleNamespace(status_code=status)


RULES = "accept the data set's rules at kaggle.com/datasets/jeffheaton/glasses-or-no-glasses"
FAILURES = [
    (SystemExit(1), "Kaggle refused the credentials; make a new token at kaggle.com/settings"),
    (AnsweredError(401), r"Kaggle refused the credentials \(401\); make a new token at kaggle.com/settings"),
    (AnsweredError(403), rf"Kaggle refused \(403\); make a new token at kaggle.com/settings, or {RULES}"),
    (AnsweredError(404), r"Kaggle knows no such data set \(404\)"),
    (AnsweredError(503), "Kaggle answered with the error 503; run again later to resume"),
    (requests.ReadTimeout("slow"), "Kaggle did not answer in time; run again to resume"),
    (requests.ConnectTimeout(), "Kaggle did not answer in time; run again to resume"),
    (TimeoutError(), "Kaggle did not answer in time; run again to resume"),
    (requests.ConnectionError("no\nroute"), "no connection to Kaggle, or it broke off; run again to resume"),
    (requests.exceptions.ChunkedEncodingError(), "no connection to Kaggle, or it broke off; run again to resume"),
    (urllib3.exceptions.ProtocolError("?"), "no connection to Kaggle, or it broke off; run again to resume"),
    (ConnectionResetError(104, "reset by peer"), "no connection to Kaggle, or it broke off; run again to resume"),
    (OSError(errno.ENOSPC, "full"), "no space left in .*datasets; make room and run again to resume"),
    (PermissionError(errno.EACCES, "Permission denied"), "cannot write .*glasses-or-no-glasses.zip: Permission denied"),
    (ModuleNotFoundError("No module named 'six'", name="six"), "six is missing; pip install kaggle six"),
    (ValueError("size"), "the download is not whole; run again to resume it"),
]


@pytest.mark.parametrize(("failure", "word"), FAILURES, ids=lambda value: type(value).__name__)
def test_failed_download_is_one_line(kaggle_account, failure, word):
    def download(slug, path, **options):
        (Path(path) / "glasses-or-no-glasses.zip").write_bytes(b"the first half")
        raise failure

    kaggle_account.dataset_download_files = download
    with pytest.raises(DataError, match=f"^jeffheaton/glasses-or-no-glasses: .*{word}") as caught:
        find_dataset("kaggle")
    assert "\n" not in str(caught.value)
    archive = find_data.DATASETS_DIR / "glasses-or-no-glasses.zip"
    assert archive.read_bytes() == b"the first half", "kept, so that the package can resume it"


def test_a_failure_nobody_thought_of_is_one_line(kaggle_account):
    def download(slug, path, **options):
        raise RuntimeError("out of\norder")

    kaggle_account.dataset_download_files = download
    with pytest.raises(DataError, match=r"the download failed \(out of order\); run again$"):
        find_dataset("kaggle")


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
        find_data.unpack(archive, folder, ["train.csv"])
    assert not archive.exists()
    assert not any(folder.parent.iterdir())

    pack()
    folder.mkdir()  # what an older program may have left half-unpacked
    assert find_data.unpack(archive, folder, ["train.csv"]) == folder
    assert len(KaggleGlasses(folder)) == 6
    pack()
    with pytest.raises(DataError, match=r"there is no test\.csv in it"):
        find_data.unpack(archive, folder, ["test.csv"])
    assert len(KaggleGlasses(folder)) == 6, "what was there stays where the new archive is not better"


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped"])
def test_no_name_in_an_archive_leads_out_of_its_folder(tmp_path, name):
    archive, home = tmp_path / "home" / "a.zip", tmp_path / "home"
    home.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("train.csv", "id,glasses\n")
        file.writestr(name, "x")
    folder = find_data.unpack(archive, home / "data", ["train.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert [path.name for path in home.iterdir()] == ["data"]
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["escaped", "train.csv"]


def test_a_link_in_an_archive_is_none_when_it_is_unpacked(tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("train.csv", "id,glasses\n")
        file.writestr(link, "/etc/passwd")
    folder = find_data.unpack(tmp_path / "a.zip", tmp_path / "data", ["train.csv"])
    assert not (folder / "link").is_symlink()
    assert (folder / "link").read_text() == "/etc/passwd"


def test_an_archive_that_would_fill_the_disk_is_not_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("train.csv", bytes(5_000_000))
    monkeypatch.setattr(find_data.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=4_000_000))
    with pytest.raises(DataError, match=r"a\.zip: needs 5,000,000 bytes unpacked, and 4,000,000 are free; make room"):
        find_data.unpack(tmp_path / "a.zip", tmp_path / "data", ["train.csv"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_any_damage_of_an_archive_is_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("train.csv", b"id,glasses\n" * 99)
    whole = (tmp_path / "whole.zip").read_bytes()
    body = whole.index(b"train.csv") + len("train.csv")
    for number, damage in enumerate((b"\xff" * 40, bytes(range(40)), b"\x05\x00\x05\x00" + b"\xff" * 36)):
        archive = tmp_path / f"{number}.zip"
        archive.write_bytes(whole[:body] + damage + whole[body + 40 :])
        with pytest.raises(DataError, match=r"damaged archive, deleted; run again|cannot unpack") as caught:
            find_data.unpack(archive, tmp_path / "data", ["train.csv"])
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "data").exists()
    odd = tmp_path / "odd.zip"
    odd.write_bytes(whole.replace(b"train.csv", b"\xfftrain.c"))
    flagged = bytearray(odd.read_bytes())
    for at in (6, flagged.rfind(b"PK\1\2") + 8):
        flagged[at + 1] |= 8  # its names are UTF-8, it says
    odd.write_bytes(flagged)
    with pytest.raises(DataError, match="damaged archive, deleted"):
        find_data.unpack(odd, tmp_path / "data", ["train.csv"])
