"""What does `glasses group` do?  Finds the people in a folder of photos, and draws them on a sheet.

    glasses group photos/ --recursive --output people.jsonl --sheet people.jpg

Of a photo are kept the boxes and vectors of its faces; the few that are drawn are read once more.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TextIO

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from .files import whole_file
from .folders import find_photos
from .messages import tell
from .output import OutputError, one_line, open_stdout, write_text
from .people import group_faces, number_people
from .photos import PhotoError, read_finer, read_photo
from .pipeline import GlassesPipeline
from .predict import answers_from
from .recognizer import open_recognizer
from .tryon_command import save

TILE, CAPTION, LABEL, GAP = 144, 32, 120, 8  # pixels of the sheet: a face, its file's name, what a row is, between them
IN_A_ROW, ROWS = 10, 100  # faces of a person that are drawn, and rows of the sheet, at most
SURROUNDINGS = 1.5  # width and height of what is drawn of a face, in long sides of its box


class PhotoFace(NamedTuple):
    """A face of a photo: box as x, y, w, h in pixels of the upright photo; vector: (D,) float32 of length 1.

    Both are None for a photo without a face; error: why it could not be read.
    """

    path: str
    box: tuple[int, int, int, int] | None = None
    vector: np.ndarray | None = None
    error: str | None = None


class Row(NamedTuple):
    """A row of the sheet: words at its left, and the faces."""

    label: str
    faces: Sequence[PhotoFace]


def group_command(options: argparse.Namespace, prog: str) -> int:
    """Do what the options say; returns the exit status: 1 for trouble with a photo or the sheet, 2 for the command."""
    cv2.setNumThreads(1)
    try:
        stdout = None if options.output else open_stdout()
        photos = list(find_photos(options.paths, options.recursive))
        check_places(options, [path for path, _ in photos])
        recognizer = open_recognizer(options.model)
        pipeline = GlassesPipeline(options.detector, recognizer=recognizer)
    except (ImportError, ValueError, OSError, OutputError) as error:
        return tell(prog, error)
    found = find_all(photos, pipeline, prog)
    faces = [face for face in found if face.box]
    threshold = recognizer.threshold if options.threshold is None else options.threshold
    vectors = np.array([face.vector for face in faces], np.float32).reshape(-1, recognizer.size)
    people = number_people(group_faces(vectors, threshold))
    write_people(stdout, options.output, found, people)
    print(summary(found, people), file=sys.stderr)
    failed = any(face.error for face in found)
    if options.sheet and not faces:
        return tell(prog, "--sheet: nothing to draw, no face was found", 1)
    if options.sheet:
        rows = sheet_rows(faces, people)
        if len(rows) > ROWS:
            tell(prog, f"--sheet: {ROWS} of {len(rows)} rows are drawn")
        try:
            with whole_file(options.sheet) as partial:
                save(contact_sheet(rows[:ROWS], pipeline.workers), partial, Path(options.sheet).suffix)
        except (OSError, ValueError) as error:
            return tell(prog, f"cannot write {options.sheet}: {getattr(error, 'strerror', None) or error}", 1)
    return 1 if failed else 0


def check_places(options: argparse.Namespace, photos: Sequence[str]) -> None:
    """Raises ValueError where --output or --sheet would overwrite a photo, or be taken for one by the next run."""
    for name in ("output", "sheet"):
        file = getattr(options, name)
        if file and os.path.exists(file) and any(os.path.exists(p) and os.path.samefile(p, file) for p in photos):
            raise ValueError(f"--{name}: {file} is a photo of the input, give another file")
    if options.sheet is None:
        return
    if os.path.isdir(options.sheet):
        raise ValueError(f"--sheet: {options.sheet} is a folder, give a file")
    if Path(options.sheet).suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"--sheet: {options.sheet} does not end as a picture does, as in .jpg or .png")
    parent = Path(os.path.realpath(os.path.dirname(options.sheet) or "."))
    for folder in filter(os.path.isdir, options.paths):
        top = Path(os.path.realpath(folder))
        if parent == top or (options.recursive and parent.is_relative_to(top)):
            raise ValueError(f"--sheet: {options.sheet} would lie among the photos of {folder}, give another folder")


def find_all(photos: Sequence[tuple[str, str | None]], pipeline: GlassesPipeline, prog: str) -> list[PhotoFace]:
    """All faces of the photos, in their order, and one without a box for each photo that shows none."""
    found = []
    with tqdm(photos, unit="photo", disable=len(photos) < 2 or None, leave=False) as bar:
        for answer in answers_from(photos, 0, pipeline):
            found += [PhotoFace(answer.path, face.box, face.vector) for face in answer.faces]
            if not answer.faces:
                found.append(PhotoFace(answer.path, error=answer.error))
            if answer.error or answer.warning:
                bar.clear()
                tell(prog, f"{answer.path}: {answer.error or answer.warning}")
            bar.update()
    return found


def write_people(
    stdout: TextIO | None, output: str | None, found: Sequence[PhotoFace], people: Sequence[int | None]
) -> None:
    """A line for each face and for each photo without; to stdout, or to a file that is whole or not there.

    people: the numbers of those that have a box. Raises OutputError.
    """
    numbers, lines = iter(people), []
    for face in found:
        box, person = (list(face.box), next(numbers)) if face.box else (None, None)
        record = {"path": face.path, "box": box, "person": person, "error": face.error}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    if stdout:
        write_text(stdout, "".join(lines), "stdout")
        return
    try:
        with whole_file(output) as partial:
            partial.write_bytes("".join(lines).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error


def summary(found: Sequence[PhotoFace], people: Sequence[int | None]) -> str:
    """ "3 people with 12 faces, 4 faces alone, 2 photos without a face, 1 could not be read"."""
    count, alone = max(filter(None, people), default=0), people.count(None)
    unread = sum(face.error is not None for face in found)
    nobody = len(found) - len(people) - unread
    grouped = f"{count} {'person' if count == 1 else 'people'} with {_count(len(people) - alone, 'face')}"
    parts = [grouped, f"{_count(alone, 'face')} alone"]
    parts += [f"{_count(nobody, 'photo')} without a face"] if nobody else []
    parts += [f"{unread} could not be read"] if unread else []
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


# ------------------------------------------------------------------------------------------------- the sheet


def sheet_rows(faces: Sequence[PhotoFace], people: Sequence[int | None]) -> list[Row]:
    """A row a person, the faces nearest to the person's mean first; then rows of those who are alone."""
    of_people: dict[int | None, list[PhotoFace]] = {}
    for face, person in zip(faces, people, strict=True):
        of_people.setdefault(person, []).append(face)
    alone, rows = of_people.pop(None, []), []
    for person, own in sorted(of_people.items()):
        mean = np.mean([face.vector for face in own], axis=0)
        typical = sorted(own, key=lambda face: -float(face.vector @ mean))
        rows.append(Row(f"person {person}\n{_count(len(own), 'face')}", typical[:IN_A_ROW]))
    return rows + [Row("alone", alone[start : start + IN_A_ROW]) for start in range(0, len(alone), IN_A_ROW)]


def contact_sheet(rows: Sequence[Row], workers: int = 1) -> Image.Image:
    """The rows one below the other, each face with its surroundings and the name of its file below it."""
    columns = max(len(row.faces) for row in rows)
    width, height = TILE + GAP, TILE + CAPTION + GAP
    sheet = Image.new("RGB", (LABEL + columns * width + GAP, len(rows) * height + GAP), "white")
    pen, large, small = ImageDraw.Draw(sheet), ImageFont.load_default(16), ImageFont.load_default(12)
    with ThreadPoolExecutor(workers) as pool:
        for number, row in enumerate(rows):
            top = GAP + number * height
            pen.multiline_text((GAP, top + TILE / 2), row.label, fill="black", font=large, anchor="lm")
            for place, (face, tile) in enumerate(zip(row.faces, pool.map(cut_tile, row.faces), strict=True)):
                left = LABEL + place * width
                sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
                lines = caption(os.path.basename(face.path), small)
                pen.multiline_text((left + TILE / 2, top + TILE + 2), lines, "black", small, "ma", 2, "center")
    return sheet


def cut_tile(face: PhotoFace) -> Image.Image:
    """A face with its surroundings, TILE pixels on its long side; grey where the photo has gone since."""
    x, y, w, h = face.box
    reach = SURROUNDINGS * max(w, h, 1) / 2
    try:
        photo = read_photo(face.path)
        photo = read_finer(photo, photo.scale * TILE / (2 * reach))
    except PhotoError:
        return Image.new("RGB", (TILE, TILE), "lightgrey")
    size, reach = np.array(photo.image.shape[1::-1]), reach / photo.scale
    centre = np.clip(np.array([x + w / 2, y + h / 2]) / photo.scale, 0, size - 1)
    x0, y0 = np.maximum(centre - reach, 0).astype(int)
    x1, y1 = np.ceil(np.minimum(centre + reach, size)).astype(int)
    tile = Image.fromarray(np.ascontiguousarray(photo.image[y0:y1, x0:x1]))
    share = TILE / max(tile.size)
    return tile.resize([max(1, round(side * share)) for side in tile.size], Image.Resampling.LANCZOS)


def caption(name: str, font: ImageFont.FreeTypeFont) -> str:
    """The name of a file in at most two lines as wide as a tile; what is too much is left out of its middle."""
    name = one_line(name)
    end = len(name)
    while font.getlength(name[:end]) > TILE:
        end -= 1
    if end < len(name):
        end = min(end, (len(name) + 1) // 2)  # two lines of one length, rather than a last letter alone
    first, rest, dots = name[:end], name[end:], ""
    while font.getlength(dots + rest) > TILE:
        rest, dots = rest[1:], "..."
    return f"{first}\n{dots}{rest}" if rest else first
