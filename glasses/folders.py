"""Which photos do these paths name, and where do they go?"""

import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from .files import whole_file
from .photos import IMAGE_SUFFIXES

LONGEST_NAME = 255  # bytes, of a file's name in most file systems


def find_photos(paths: Sequence[str], recursive: bool = False) -> Iterator[tuple[str, str | None]]:
    """(path, None) of every photo that `paths` name, in order, or (path, why not) where there is none.

    A file counts whatever it is called; in a folder those with a picture's suffix do, sorted by name, and
    with `recursive` those of its subfolders too. Hidden files and folders, as macOS leaves them (`._photo.jpg`), are
    passed over. Links are followed; one that leads back up is reported.
    """

    for path in paths:
        if os.path.isdir(path):
            found = list(_walk(path, recursive))
            yield from found or [
                (path, f"no pictures in this folder{'' if recursive else '; --recursive looks deeper'}")
            ]
        else:
            yield path, None


def _walk(top: str, recursive: bool) -> Iterator[tuple[str, str | None]]:
    """What `find_photos` yields of a folder; one to which several links lead is read once."""
    waiting = [(top, True, ())]  # path, whether it is a folder, and the folders above it
    read = set()
    while waiting:
        path, is_folder, above = waiting.pop()
        if not is_folder:
            yield path, None
            continue
        try:
            status = os.stat(path)
            here = (status.st_dev, status.st_ino)
            if here in above:
                yield path, "a loop: this link leads back to a folder above it"
            if here in read:
                continue
            read.add(here)
            entries = sorted(os.scandir(path), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            yield path, f"cannot open the folder: {error.strerror}"
            continue
        for entry in entries:
            is_folder = os.path.isdir(entry.path)  # False for a link that leads nowhere: reading it says why
            wanted = recursive if is_folder else Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
            if wanted and not entry.name.startswith("."):
                waiting.append((entry.path, is_folder, (*above, here)))


def holds_photo_of(folder: str | os.PathLike, photos: Sequence[str]) -> bool:
    """Whether one of the photos lies in `folder` or below it."""
    if not os.path.isdir(folder):
        return False
    top = os.path.realpath(folder)
    parents = {os.path.dirname(photo) or "." for photo in photos}
    return any(Path(os.path.realpath(parent)).is_relative_to(top) for parent in parents)


def numbered(name: str, number: int) -> str:
    """The name, or with a number above 1 "name-2.jpg"; cut where it would be longer than LONGEST_NAME."""
    stem, suffix = os.path.splitext(name)
    suffix = f"{'' if number == 1 else f'-{number}'}{suffix}"
    room = LONGEST_NAME - len(os.fsencode(suffix))
    return os.fsencode(stem)[:room].decode(errors="ignore") + suffix if len(os.fsencode(stem)) > room else stem + suffix


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
        folder_of_photo = os.path.realpath(os.path.dirname(photo) or ".")
        target.symlink_to(os.path.join(folder_of_photo, os.path.basename(photo)))
    else:
        with whole_file(target) as partial:
            shutil.copy2(photo, partial)
