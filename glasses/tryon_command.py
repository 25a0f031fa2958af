"""What does `glasses try-on` do?  Finds the faces of a photo, puts glasses on them, writes the picture.

glasses try-on me.jpg --frame aviator                  # me-aviator.jpg
glasses try-on party.jpg --frame random --seed 3 --hat
glasses try-on me.jpg --frame all --output sheet.png   # a contact sheet
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .files import whole_file
from .frames import FRAMES, check_picture
from .messages import tell
from .output import one_line
from .photos import PhotoError, read_photo, read_transparent
from .pipeline import GlassesPipeline
from .tryon import try_on

OTHERS = ("random", "all", "none")  # of --frame, beside the names of frames and files
TILE, CAPTION, COLUMNS = 320, 34, 5  # of the contact sheet: pixels of a face and of its caption, faces a row


def try_on_command(options: argparse.Namespace, prog: str, open_pipeline: Callable = GlassesPipeline) -> int:
    """Do what the options say; returns the exit status: 1 for trouble with the photo, 2 for a wrong command line."""
    cv2.setNumThreads(1)
    try:
        if options.frame == "none" and not (options.hat or options.moustache):
            raise ValueError("nothing to try on: give a --frame, --hat or --moustache")
        frame = read_frame(options.frame)
        if options.lens and not isinstance(frame, str):
            raise ValueError("--lens is for the frames that we draw: leave it out")
        output = check_output(options)
        pipeline = open_pipeline(options.detector, keypoints=True)
    except (ImportError, ValueError, OSError) as error:
        return tell(prog, error, 2)
    name = one_line(options.photo)
    try:
        photo = read_photo(options.photo, max_side=None)
        answer = pipeline.answer(photo.image)
    except PhotoError as error:
        return tell(prog, f"{name}: {error}", 1)
    if photo.warning or answer.error:
        tell(prog, f"{name}: {answer.error or photo.warning}", 1)
    if not answer.faces:
        return 1 if answer.error else tell(prog, f"{name}: no face", 1)

    points = [face.keypoints for face in answer.faces]
    if options.frame == "all":
        picture = contact_sheet(photo.image, points[0], options.lens, options.hat, options.moustache)
        points = points[:1]
    else:
        picture = dress(photo.image, points, frame, options)
    try:
        with whole_file(output) as partial:
            save(picture, partial, output.suffix)
    except (OSError, ValueError) as error:
        return tell(prog, f"cannot write {output}: {getattr(error, 'strerror', None) or error}", 1)
    print(f"{one_line(str(output))}: {options.frame} on {len(points)} face{'s' * (len(points) != 1)}")
    return 0


def read_frame(name: str) -> str | np.ndarray | None:
    """What --frame names, as `try_on` takes it: a name, or a picture as (h, w, 4) uint8 RGBA; None for "none".

    Raises ValueError with one line for an unknown name, and for a file that is no picture with transparency.
    """
    if name in FRAMES or name in OTHERS:
        return None if name == "none" else name
    if not Path(name).suffix and not os.path.isfile(name):
        raise ValueError(f"unknown frame {name!r}: give {', '.join([*FRAMES, *OTHERS])}, or a transparent FILE.png")
    if not os.path.exists(name):
        raise ValueError(f"--frame: there is no file {name}")
    try:
        rgba = read_transparent(name)
        check_picture(rgba)
    except (PhotoError, ValueError) as error:
        raise ValueError(f"--frame: {name}: {error}") from error
    return rgba


def check_output(options: argparse.Namespace) -> Path:
    """Where the picture goes. Raises ValueError with one line where it cannot go there."""
    if options.output == "":
        raise ValueError("--output needs the name of a file")
    photo, frame = Path(options.photo), options.frame
    suffix = ".png" if photo.suffix.lower() == ".png" else ".jpg"
    output = Path(options.output or f"{photo.stem}-{frame if frame in FRAMES else Path(frame).stem}{suffix}")
    if output.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"--output: {output} does not end as a picture does, as in .jpg or .png")
    if not output.parent.is_dir():
        raise ValueError(f"--output: there is no folder {output.parent}")
    if output.is_dir():
        raise ValueError(f"--output: {output} is a folder, give a file")
    for file in (photo, Path(frame)):
        if output.exists() and file.exists() and output.samefile(file):
            raise ValueError(f"--output: {output} is read by this command, give another file")
    return output


def dress(
    image: np.ndarray, points: Sequence[np.ndarray], frame: str | np.ndarray | None, options: argparse.Namespace
) -> Image.Image:
    """The (H, W, 3) uint8 image with glasses on every face, the smallest first: larger ones are nearer."""
    rng = np.random.default_rng(options.seed)
    each = [str(rng.choice(list(FRAMES))) if isinstance(frame, str) and frame == "random" else frame for _ in points]
    for number in sorted(range(len(points)), key=lambda number: np.ptp(points[number], axis=0).max()):
        image = try_on(image, points[number], each[number], options.lens, options.hat, options.moustache)
    return Image.fromarray(image)


def contact_sheet(
    image: np.ndarray, points: np.ndarray, lens: str | None, hat: bool = False, moustache: bool = False
) -> Image.Image:
    """All frames on one face of an (H, W, 3) uint8 image, each with its name below."""
    middle, reach = (points.min(0) + points.max(0)) / 2, np.ptp(points, axis=0).max()
    corner = np.maximum(np.floor(middle - (0.9 + 0.4 * hat) * reach - [0, 0.15 * reach]), 0).astype(int)
    x1, y1 = np.ceil(middle + 0.9 * reach).astype(int)
    face, points = image[corner[1] : y1, corner[0] : x1], points - corner
    shrink = TILE / max(face.shape[:2])
    if 2 * shrink < 1:  # drawn at twice the size it is shown in
        face = cv2.resize(face, None, fx=2 * shrink, fy=2 * shrink, interpolation=cv2.INTER_AREA)
        points, shrink = points * 2 * shrink, 0.5
    rows = -(-len(FRAMES) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for number, name in enumerate(FRAMES):
        drawn = Image.fromarray(try_on(face, points, name, lens, hat, moustache))
        drawn = drawn.resize([max(1, round(side * shrink)) for side in drawn.size], Image.Resampling.LANCZOS)
        left, top = number % COLUMNS * TILE, number // COLUMNS * (TILE + CAPTION)
        sheet.paste(drawn, (left + (TILE - drawn.width) // 2, top + (TILE - drawn.height) // 2))
        pen.text((left + TILE / 2, top + TILE + CAPTION / 2), name, fill="black", font=font, anchor="mm")
    return sheet


def save(picture: Image.Image, file: Path, suffix: str) -> None:
    """Write a picture in the format of `suffix`. Raises OSError and ValueError."""
    form = Image.registered_extensions()[suffix.lower()]
    picture.save(file, format=form, **({"quality": 95, "subsampling": 0} if form == "JPEG" else {}))
