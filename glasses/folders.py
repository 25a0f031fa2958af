"""Which photos do these paths name, and where do they go?"""

import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from .files import whole_file
from .photos import IMAGE_SUFFIXES


def find_photos(paths: Sequence[str], recursive: bool = False) -> Iterator[tuple[str, str | None]]:
    """(path, None) of every photo that `paths` name, in order, or (path, why not) where there is none.

    A file counts whatever it is called; in a folder those with a picture's suffix do, sorted by name, and
    with `recursive` those of its subfolders too. Hidden files and folders, as macOS leaves them (`._photo.jpg`), are
    passed over. Links are followed; one that leads back up is reported.
    """

    def walk(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str | None]]:
        try:
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield folder, f"cannot open the folder: {error.strerror}"
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            yield folder, "a loop: this link leads back to a folder above it"
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if os.path.isdir(entry.path):  # False for a link that leads nowhere: reading it says why
                if recursive:
                    yield from walk(entry.path, (*above, here))
            elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                yield entry.path, None

    for path in paths:
        if os.path.isdir(path):
            found = list(walk(path, ()))
            yield from found or [
                (path, f"no pictures in this folder{'' if recursive else '; --recursive looks deeper'}")
            ]
        else:
            yield path, None


def holds_photo_of(folder: str | os.PathLike, photos: Sequence[str]) -> bool:
    """Whether one of the photos lies in `folder` or below it."""
    if not os.path.isdir(folder):
        return False
    top = Path(folder).resolve()
    parents = {os.path.dirname(photo) or "." for photo in photos}
    return any(Path(parent).resolve().is_relative_to(top) for parent in parents)


def numbered(name: str, number: int) -> str:
    """The name, or with a number above 1 "name-2.jpg"."""
    path = Path(name)
    return name if number == 1 else f"{path.stem}-{number}{path.suffix}"


def file_away(photo: str, folder: Path, link: bool = False) -> None:
    """Copy `photo` into `folder`, or link it there; under a name with a number where another file has its name.

    What is no regular file stays where it is. Raises OSError.
    """
    if not os.path.isfile(photo):
        return
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while (target := folder / numbered(os.path.basename(photo), number)).exists() or target.is_symlink():
        if target.exists() and (target.samefile(photo) or filecmp.cmp(target, photo, shallow=False)):
            return  # already there, from a run before
        number += 1
    if link:
        target.symlink_to(os.path.abspath(photo))
    else:
        with whole_file(target) as partial:
            shutil.copy2(photo, partial)
