"""What does `glasses predict` do?  Finds the photos, answers, writes, sorts and draws."""

import argparse
import hashlib
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from . import __version__
from .classifiers import WEIGHTS, open_network
from .files import whole_file
from .folders import file_away, find_photos, holds_photo_of, numbered
from .messages import tell
from .output import KEYPOINT_CSV, FileOutput, OutputError, StreamOutput, one_line, open_output, outcome
from .photos import PhotoError, read_image
from .pipeline import Answer, GlassesPipeline

STAGES = ("decode", "detect", "align", "keypoints", "classify")
DRAWN_SIDE = 1280  # pixels: a larger JPEG is drawn at 1/2, 1/4 or 1/8, never smaller than this
LARGEST_JPEG = 65_500  # pixels a side
DRAWN = b"drawn by glasses predict"  # comment in the pictures of --draw, by which a later run knows them


def settings_of(options: argparse.Namespace) -> dict:
    """All that decides what is written, for --resume: the options, and the network by its content."""
    model = Path(options.model)
    file = model if model.suffix else WEIGHTS / f"{options.model}.onnx"
    names = ("detector", "threshold", "assume_face", "any", "format", "sort", "link", "draw", "keypoints")
    settings = {name: getattr(options, name) for name in names}
    settings |= {name: value and str(value) for name, value in settings.items() if isinstance(value, Path)}
    return settings | {"model": hashlib.sha256(file.read_bytes()).hexdigest()[:16], "version": __version__}


def predict(options: argparse.Namespace, prog: str, open_classifier: Callable = open_network) -> int:
    """Answer for all photos that the options name; returns the exit status.

    open_classifier: called with the name or path of --model. Messages on stderr begin with `prog`.
    """
    start = perf_counter()
    cv2.setNumThreads(1)  # the threads are ours, one a photo
    try:
        photos = list(find_photos(options.paths, options.recursive))
        names = [path for path, _ in photos]
        if problem := check_places(options, names):
            return tell(prog, problem)
        pipeline = GlassesPipeline(
            options.detector,
            threshold=options.threshold,
            classifier=open_classifier(options.model),
            assume_face=options.assume_face,
            any_face=options.any,
            keypoints=options.keypoints,
        )
        form = KEYPOINT_CSV if options.keypoints and options.format == "csv" else options.format
        output = open_output(options.output, form, settings_of(options), names, options.resume)
    except (ImportError, ValueError, OSError, OutputError) as error:
        return tell(prog, error)
    started = perf_counter() - start

    try:
        seconds, failed = _answer_all(photos, pipeline, output, options, prog)
        output.close()
    except BaseException:
        if kept := output.keep():
            print(f"{prog}: {kept}", file=sys.stderr)
        raise
    if options.time and seconds:
        print(time_table(seconds, started), file=sys.stderr)
    print(summary(output.counts), file=sys.stderr)
    return 1 if failed or output.counts["unreadable"] else 0


def check_places(options: argparse.Namespace, photos: Sequence[str]) -> str | None:
    """Why answers, drawings or copies cannot go where the options say: they would overwrite a photo, or each other."""
    for name in ("draw", "sort"):
        if (folder := getattr(options, name)) and holds_photo_of(folder, photos):
            return f"--{name}: {folder} holds photos of the input, give another folder"
    if options.draw and options.sort:
        drawn, sorted_ = (Path(os.path.realpath(folder)) for folder in (options.draw, options.sort))
        if drawn.is_relative_to(sorted_):
            return f"--draw: {options.draw} lies in the folder of --sort, give another"
    there = options.output and os.path.exists(options.output)
    if there and any(os.path.exists(photo) and os.path.samefile(photo, options.output) for photo in photos):
        return f"--output: {options.output} is a photo of the input, give another file"
    return None


def _answer_all(
    photos: Sequence[tuple[str, str | None]],
    pipeline: GlassesPipeline,
    output: StreamOutput | FileOutput,
    options: argparse.Namespace,
    prog: str,
) -> tuple[list[dict[str, float]], int]:
    """Answer, write, sort and draw the photos that are not done yet.

    Returns the times of each, and how often sorting or drawing failed.
    """
    seconds, failed, jobs = [], 0, side_jobs([path for path, _ in photos], options)
    with tqdm(photos, initial=output.done, unit="photo", disable=len(photos) < 2 or None, leave=False) as bar:

        def tell_above(line: str) -> None:
            bar.clear()
            print(f"{prog}: {line}", file=sys.stderr)

        for number, answer in enumerate(answers_from(photos, output.done, pipeline), output.done):
            name = one_line(answer.path)
            for option, job in jobs:
                try:
                    job(number, answer)
                except (OSError, PhotoError) as error:
                    failed += 1
                    tell_above(f"{option}: {name}: {getattr(error, 'strerror', None) or error}")
            bar.clear()
            output.write(answer)
            if answer.error or answer.warning:
                tell_above(f"{name}: {answer.error or answer.warning}")
            if answer.seconds:
                seconds.append(answer.seconds)
            bar.update()
    return seconds, failed


def side_jobs(photos: Sequence[str], options: argparse.Namespace) -> list[tuple[str, Callable[[int, Answer], None]]]:
    """What --sort and --draw do with the answer of photo number n, each with its option's name."""
    jobs = []
    if options.sort:
        jobs.append(("--sort", lambda _, answer: file_away(answer.path, options.sort / outcome(answer), options.link)))
    if options.draw:
        names = drawn_names(photos, options.draw)
        jobs.append(("--draw", lambda number, answer: draw(answer, options.draw / names[number])))
    return jobs


def answers_from(photos: Sequence[tuple[str, str | None]], done: int, pipeline: GlassesPipeline) -> Iterator[Answer]:
    """The answers of photos[done:], in batches of the same photos as if none were done yet.

    The last digits of a probability depend on the other faces of its batch: so a resumed run gives the same bytes.
    """
    readable = [path for path, problem in photos if problem is None]
    before = sum(problem is None for _, problem in photos[:done])
    first = before - before % pipeline.batch
    answers = pipeline(readable[first:])
    for _ in range(before - first):
        next(answers)
    for path, problem in photos[done:]:
        yield next(answers) if problem is None else Answer(path, error=problem)


def drawn_names(photos: Iterable[str], folder: Path) -> list[str]:
    """A name in `folder` for the drawing of each photo: its own with .jpg, and a number where that is taken."""
    used: Counter[str] = Counter()  # the highest number of each name; some disks take "A.jpg" and "a.jpg" for one
    names = []
    for photo in photos:
        own = f"{Path(photo).stem}.jpg"
        used[own.casefold()] += 1
        while not _ours(folder / numbered(own, used[own.casefold()])):
            used[own.casefold()] += 1
        names.append(numbered(own, used[own.casefold()]))
    return names


def _ours(file: Path) -> bool:
    """Whether nothing is lost by writing `file`: it is not there, or an earlier run drew it."""
    try:
        if not stat.S_ISREG(os.lstat(file).st_mode):
            return False
    except OSError:  # it is not there, or cannot be looked at: then writing it will say why
        return True
    try:
        with Image.open(file) as picture:
            return picture.info.get("comment") == DRAWN
    except Exception:  # a file of any other kind
        return False


def draw(answer: Answer, file: Path) -> None:
    """Write the photo with its boxes and answers as `file`. Raises OSError and PhotoError."""
    if answer.error:
        return
    from .drawing import annotate  # reads fonts

    image, scale = read_image(answer.path, DRAWN_SIDE)
    drawn = annotate(image, answer, scale)
    drawn.thumbnail((LARGEST_JPEG, LARGEST_JPEG))  # in place; smaller ones stay as they are
    with whole_file(file) as partial:
        drawn.save(partial, format="JPEG", quality=90, comment=DRAWN)


def time_table(seconds: Sequence[dict[str, float]], started: float) -> str:
    """The median time of each stage over the photos, in milliseconds."""
    present = [stage for stage in STAGES if any(stage in times for times in seconds)]
    medians = {s: 1000 * float(np.median([times[s] for times in seconds if s in times])) for s in present}
    stages = "  ".join(f"{stage} {value:.1f}" for stage, value in medians.items())
    return f"median milliseconds a photo: {stages}  sum {sum(medians.values()):.1f}; start {1000 * started:.0f}"


def summary(counts: Counter) -> str:
    """ "3 of 20 photos with glasses, 2 without a face, 1 could not be read"."""
    total = sum(counts.values()) - counts["unreadable"]
    nobody = f", {counts['nobody']} without a face" if counts["nobody"] else ""
    faults = f", {counts['unreadable']} could not be read" if counts["unreadable"] else ""
    return f"{counts['glasses']} of {total} photo{'s' * (total != 1)} with glasses{nobody}{faults}"
