"""Where on this machine is a data set?  Looks for it, and downloads it where that was asked for.

from find_data import find_dataset
folder = find_dataset("kaggle", fallback="sample")   # a Path
"""

import errno
import os
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from glasses.photos import IMAGE_SUFFIXES, PhotoError, read_image


class DataError(Exception):
    """A data set cannot be used as it is; the message is one line that names the file and how to fix it."""


DATASETS_DIR = Path(__file__).with_name("datasets")  # where downloads go; git-ignored
if not os.access(DATASETS_DIR.parent, os.W_OK):  # Kaggle mounts the modules read-only
    DATASETS_DIR = Path("datasets")
EMBEDDED_DIR = Path(__file__).with_name("data")  # what the project ships: the synthetic faces


class _Known(NamedTuple):
    """A public data set: how it is recognized, folder names, how to get it."""

    layouts: tuple[tuple[str, ...], ...]  # the files of any one of these show that it is there
    folders: tuple[str, ...]
    kaggle: str | None
    get_it: str


KNOWN = {
    "kaggle": _Known(
        (("train.csv",),),
        ("glasses-or-no-glasses", "kaggle"),
        "jeffheaton/glasses-or-no-glasses",
        "set Kaggle credentials, or download kaggle.com/datasets/jeffheaton/glasses-or-no-glasses",
    ),
    "sample": _Known(
        (("train.csv", "kinds.csv"),),
        ("sample",),
        None,
        "make it with python -m synthetic.make_sample",
    ),
    "meglass": _Known(
        (("MeGlass_120x120",),),
        ("meglass", "MeGlass"),
        None,
        "follow github.com/cleardusk/MeGlass to MeGlass_120x120.zip and meta.txt",
    ),
    "celeba": _Known(
        (("list_attr_celeba.txt",), ("list_attr_celeba.csv",), ("Anno/list_attr_celeba.txt",)),
        ("celeba", "CelebA", "celeba-dataset"),
        None,
        "follow mmlab.ie.cuhk.edu.hk/projects/CelebA.html to img_align_celeba.zip and the lists",
    ),
    "lfw": _Known(
        (("lfw-deepfunneled",),),
        ("lfw", "lfw-dataset"),
        None,
        "get lfw-deepfunneled.tgz and a lfw_glasses.csv (file, glasses) beside it",
    ),
    "ffhq": _Known(
        (("labels.csv",), ("labels.tsv",)),
        ("ffhq",),
        None,
        "put faces and a labels.csv (file, glasses) into one folder",
    ),
    "ytf": _Known(
        (("training_frames_keypoints.csv",), ("keypoints.csv",)),
        ("ytf", "ytf_keypoints", "youtube-facial-keypoints", "data"),
        None,
        "follow github.com/udacity/P1_Facial_Keypoints to its folder data, or to train-test-data.zip",
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
        raise DataError(f"{name}: {path} has no {known.layouts[0][0]}; {known.get_it}")
    for root in _places():
        if found := _holds(root, known):
            return found
    if download and known.kaggle and (source := kaggle_credentials()):
        print(f"{name}: downloading {known.kaggle} with the Kaggle credentials of {source}", file=sys.stderr)
        return download_kaggle(known.kaggle, DATASETS_DIR / known.folders[0], known.layouts[0])
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
            if any(all((place / file).exists() for file in layout) for layout in known.layouts):
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


def download_kaggle(slug: str, folder: Path, needed: Sequence[str]) -> Path:
    """Download the Kaggle data set `slug` ("owner/name") and unpack it as `folder`; files in it that are `needed`.

    Shows progress, resumes a download that was cut off, checks the archive, and moves the unpacked files
    into place only when they are whole. Raises DataError with one line for anything that goes wrong.
    """
    archive = folder.parent / f"{slug.split('/')[1]}.zip"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not zipfile.is_zipfile(archive):
            import kaggle  # authenticates when it is imported, so only here

            kaggle.api.dataset_download_files(slug, path=str(folder.parent), quiet=False, unzip=False)
    except SystemExit as error:  # the package exits where it has no credentials, or cannot use them
        raise DataError(f"{slug}: Kaggle refused the credentials; make a new token at kaggle.com/settings") from error
    except Exception as error:  # requests, urllib3, kaggle's own: all mean that the download failed
        raise DataError(f"{slug}: {_why_failed(error, slug, archive)}") from error
    return unpack(archive, folder, needed)


def _why_failed(error: Exception, slug: str, archive: Path) -> str:
    """What stopped the download, and how to fix it: by the type of the error, for packages change what it says."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    names = {cls.__name__ for cls in type(error).__mro__}  # of errors of requests and urllib3, which may be missing
    if status == 401:
        return "Kaggle refused the credentials (401); make a new token at kaggle.com/settings"
    if status == 403:
        page = f"kaggle.com/datasets/{slug}"
        return (
            f"Kaggle refused (403); make a new token at kaggle.com/settings, or accept the data set's rules at {page}"
        )
    if status == 404:
        return f"Kaggle knows no such data set (404); see whether kaggle.com/datasets/{slug} is still there"
    if status is not None:
        return f"Kaggle answered with the error {status}; run again later to resume the download"
    if isinstance(error, ImportError):
        return (
            f"the package kaggle cannot be imported, {error.name or 'a part of it'} is missing; pip install kaggle six"
        )
    if names & {"Timeout", "TimeoutError"}:
        return "Kaggle did not answer in time; run again to resume the download"
    if getattr(error, "errno", None) == errno.ENOSPC:
        return f"no space left in {archive.parent}; make room and run again to resume the download"
    broken = {"ConnectionError", "ChunkedEncodingError", "ContentDecodingError", "ProtocolError", "HTTPException"}
    if names & broken:
        return "no connection to Kaggle, or it broke off; run again to resume the download"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write {archive}: {error.strerror}"
    if archive.is_file():  # kaggle 2.2.5 notices a broken connection only by the size of what has come
        return "the download is not whole; run again to resume it"
    return f"the download failed ({' '.join(str(error).split())[:160] or type(error).__name__}); run again"


def unpack(archive: Path, folder: Path, needed: Sequence[str]) -> Path:
    """Check the zip `archive` and unpack it as `folder`, which appears whole or not at all; then delete it."""
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as file:
            size, free = sum(member.file_size for member in file.infolist()), shutil.disk_usage(partial).free
            if size > free:
                raise DataError(f"{archive}: needs {size:,} bytes unpacked, and {free:,} are free; make room")
            for member in tqdm(file.infolist(), desc=f"unpacking {folder.name}", disable=None):
                file.extract(member, partial)  # checks each member's CRC
        if missing := [name for name in needed if not (partial / name).exists()]:
            raise DataError(f"{archive}: unpacked, but there is no {missing[0]} in it; is it the right data set?")
        if folder.exists():  # left by a program that was interrupted, or damaged: what we have now is whole
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise DataError(f"{archive}: cannot unpack: {error.strerror or error}") from error
    except (RuntimeError, NotImplementedError) as error:  # a password, a compression that Python does not know
        raise DataError(f"{archive}: cannot unpack: {error}; unpack it by hand as {folder}") from error
    except DataError:
        raise
    except Exception as error:  # of a damaged one zipfile raises what it likes: BadZipFile, IndexError, lzma's own ...
        archive.unlink(missing_ok=True)
        raise DataError(f"{archive}: damaged archive, deleted; run again to fetch it anew") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    archive.unlink()
    return folder


def subfolders(folder: Path) -> list[Path]:
    """Sorted; without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in `folder` and its subfolders, sorted; without hidden ones, as `._photo.jpg` of macOS."""
    files = [file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def unreadable_pictures(files: Sequence[Path], source: str) -> dict[Path, str]:
    """Decode every picture: file -> why it cannot be read, of those that cannot."""

    def why(file: Path) -> str | None:
        try:
            read_image(file)
        except PhotoError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        progress = {"desc": f"checking {source}", "total": len(files), "disable": None, "leave": False}
        reasons = list(tqdm(pool.map(why, files), **progress))
    return {file: reason for file, reason in zip(files, reasons, strict=True) if reason}


def report_problems(name: str, problems: Sequence[tuple[str, str]], strict: bool, stacklevel: int = 3) -> None:
    """Raise DataError for the first of a data set's problems, (what, where); warn of all where it is not `strict`."""
    if problems and strict:
        what, where = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(f"{name}: {what}: {where}{more}; fix it, or leave such out with --skip-bad")
    if problems:
        counts = ", ".join(f"{n} x {what}" for what, n in Counter(what for what, _ in problems).items())
        warnings.warn(f"{name}: left out {len(problems)} of the faces listed: {counts}", stacklevel=stacklevel)
