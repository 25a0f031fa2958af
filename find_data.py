"""Where on this machine is a data set?  Looks for it, and downloads it where that was asked for.

from find_data import find_dataset
folder = find_dataset("kaggle", fallback="sample")   # a Path
"""

import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm


class DataError(Exception):
    """A data set cannot be used as it is; the message is one line that names the file and the mend."""


DATASETS_DIR = Path(__file__).with_name("datasets")  # where downloads go; git-ignored
if not os.access(DATASETS_DIR.parent, os.W_OK):  # Kaggle mounts the modules read-only
    DATASETS_DIR = Path("datasets")
EMBEDDED_DIR = Path(__file__).with_name("data")  # what the project ships: the synthetic faces


class _Known(NamedTuple):
    """A public data set: files that show it is there, folder names, how to get it."""

    markers: tuple[str, ...]
    folders: tuple[str, ...]
    kaggle: str | None
    get_it: str


KNOWN = {
    "kaggle": _Known(
        ("train.csv",),
        ("glasses-or-no-glasses", "kaggle"),
        "jeffheaton/glasses-or-no-glasses",
        "set Kaggle credentials, or download kaggle.com/datasets/jeffheaton/glasses-or-no-glasses",
    ),
    "sample": _Known(
        ("train.csv", "kinds.csv"),
        ("sample",),
        None,
        "make it with python make_sample.py",
    ),
    "meglass": _Known(
        ("MeGlass_120x120",),
        ("meglass", "MeGlass"),
        None,
        "follow github.com/cleardusk/MeGlass to MeGlass_120x120.zip and meta.txt",
    ),
    "celeba": _Known(
        ("list_attr_celeba.txt",),
        ("celeba", "CelebA"),
        None,
        "follow mmlab.ie.cuhk.edu.hk/projects/CelebA.html to img_align_celeba.zip and the lists",
    ),
    "lfw": _Known(
        ("lfw-deepfunneled",),
        ("lfw", "lfw-dataset"),
        None,
        "get lfw-deepfunneled.tgz and a lfw_glasses.csv (file, glasses) beside it",
    ),
    "ffhq": _Known(
        ("labels.csv",),
        ("ffhq",),
        None,
        "put faces and a labels.csv (file, glasses) into one folder",
    ),
}


def find_dataset(
    name: str, path: str | os.PathLike | None = None, download: bool = True, fallback: str | None = None
) -> Path:
    """The folder of the data set `name`, one of `KNOWN`: the first of these places that holds it.

    1. `path`; 2. the folders in the environment variable GLASSES_DATA (os.pathsep between them), themselves
    or a subfolder; 3. Kaggle's mounts, old and new; 4. `datasets/`, where a download puts it; 5. a download with
    the `kaggle` package, where there are credentials and `download` is true. Where no place has it and a
    `fallback` is named, such as the embedded "sample", it is that one, and a printed line says so.

    Raises DataError, saying how to get it, where no place has it.
    """
    if name not in KNOWN:
        raise DataError(f"unknown data set {name!r}: choose from {', '.join(KNOWN)}")
    known = KNOWN[name]
    if path is not None:
        if found := _holds(Path(path), known):
            return found
        raise DataError(f"{name}: {path} has no {known.markers[0]}; {known.get_it}")
    for root in _places():
        if found := _holds(root, known):
            return found
    if download and known.kaggle and (source := kaggle_credentials()):
        print(f"{name}: downloading {known.kaggle} with the Kaggle credentials of {source}", file=sys.stderr)
        return download_kaggle(known.kaggle, DATASETS_DIR / known.folders[0], known.markers)
    if fallback:
        found = find_dataset(fallback, download=download)
        print(f"{name}: not found; using the embedded {fallback} faces instead. To use it: {known.get_it}")
        return found
    raise DataError(f"{name}: not found; {known.get_it}, and set GLASSES_DATA to the folder that holds it")


def _places() -> list[Path]:
    """Folders that may hold data sets, best first."""
    named = [Path(p) for p in os.environ.get("GLASSES_DATA", "").split(os.pathsep) if p]
    mounts = Path(os.environ.get("KAGGLE_ROOT", "/kaggle")) / "input"
    owners = sorted((mounts / "datasets").glob("*")) if (mounts / "datasets").is_dir() else []
    return [*named, mounts, *owners, DATASETS_DIR, EMBEDDED_DIR]


def _holds(root: Path, known: _Known) -> Path | None:
    """`root` or the subfolder of it that is the data set `known`."""
    for folder in (*(root / name for name in known.folders), root):
        inner = [folder, *(folder / name for name in known.folders)]  # some archives hold one folder
        for place in inner:
            if all((place / marker).exists() for marker in known.markers):
                return place
    return None


def kaggle_credentials() -> str | None:
    """Where the Kaggle credentials come from, or None. Looks only; the `kaggle` package is not imported."""
    if os.environ.get("KAGGLE_API_TOKEN"):
        return "KAGGLE_API_TOKEN"
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return "KAGGLE_USERNAME and KAGGLE_KEY"
    folders = [Path.home() / ".kaggle", Path.home() / ".config" / "kaggle"]
    if "KAGGLE_CONFIG_DIR" in os.environ:
        folders = [Path(os.environ["KAGGLE_CONFIG_DIR"])]
    files = [folder / name for folder in folders for name in ("access_token", "kaggle.json")]
    return next((str(file) for file in files if file.is_file()), None)


def download_kaggle(slug: str, folder: Path, markers: Sequence[str]) -> Path:
    """Download the Kaggle data set `slug` ("owner/name") and unpack it as `folder`.

    Shows progress, resumes a download that was cut off, checks the archive, and moves the unpacked files
    into place only when they are whole. Raises DataError with one line for anything that goes wrong.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.parent / f"{slug.split('/')[1]}.zip"
    try:
        if not archive.is_file() or not zipfile.is_zipfile(archive):
            import kaggle  # authenticates when it is imported, so only here

            kaggle.api.dataset_download_files(slug, path=str(folder.parent), quiet=False, unzip=False)
    except SystemExit as error:  # the package exits where the credentials are refused
        raise DataError(f"{slug}: Kaggle refused the credentials; make a new token at kaggle.com/settings") from error
    except Exception as error:  # requests, urllib3, kaggle's own: all mean that the download failed
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        if any(word in reason for word in ("401", "403", "Unauthenticated", "Unauthorized", "Forbidden")):
            raise DataError(
                f"{slug}: Kaggle refused the credentials ({reason}); make a new token at kaggle.com/settings"
            ) from error
        raise DataError(f"{slug}: the download failed ({reason}); run again to resume it") from error
    return unpack(archive, folder, markers)


def unpack(archive: Path, folder: Path, markers: Sequence[str]) -> Path:
    """Check the zip `archive` and unpack it as `folder`, which appears whole or not at all; then delete it."""
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as file:
            for member in tqdm(file.infolist(), desc=f"unpacking {folder.name}", disable=None):
                file.extract(member, partial)  # checks each member's CRC
        if missing := [marker for marker in markers if not (partial / marker).exists()]:
            raise DataError(f"{archive}: unpacked, but there is no {missing[0]} in it; is it the right data set?")
        if folder.exists():  # left by a run that was interrupted, or damaged: what we have now is whole
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise DataError(f"{archive}: cannot unpack: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        archive.unlink(missing_ok=True)
        raise DataError(f"{archive}: damaged archive, deleted; run again to fetch it anew") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    archive.unlink()
    return folder
