"""Do the faces in these photos wear glasses?  The command line.

    glasses photo.jpg                                    # Found glasses (0.979, eyeglasses): photo.jpg
    glasses photos/ --recursive --format jsonl --output answers.jsonl
    glasses photos/ --sort sorted/ --draw drawn/ --time

`glasses PATH...` is short for `glasses predict PATH...`; a file that is called as a command is named with its folder
(./predict). Answers go to stdout or --output, everything else to stderr. Exit status: 0, all photos were read;
1, some could not be (each is reported in its place, the others are answered); 2, the command line is wrong.
"""

import argparse
import hashlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of `slim`: the threads are ours, one a photo

from detector_architectures import DETECTORS

from . import __version__
from .classifiers import WEIGHTS, open_network
from .files import whole_file
from .folders import file_away, find_photos, holds_photo_of, numbered
from .output import FORMATS, FileOutput, OutputError, StreamOutput, one_line, open_output, outcome
from .photos import PhotoError, read_image
from .pipeline import Answer, GlassesPipeline

STAGES = ("decode", "detect", "align", "classify")
DRAWN = b"drawn by glasses predict"  # comment in the pictures of --draw, by which a later run knows them


class Stopped(BaseException):
    """A signal asked the process to end; `number` is the signal's."""

    def __init__(self, number: int):
        self.number = number


# ------------------------------------------------------------------------------------------ the command line


def predict_parser(prog: str = "glasses predict") -> argparse.ArgumentParser:
    """The options of `glasses predict`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Do the faces in these photos wear glasses? `glasses PATH...` means `glasses predict PATH...`.",
        epilog="Exit status: 0 all photos read, 1 some could not be read, 2 wrong command line.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a photo, or a folder of photos")
    add("--detector", default="auto", choices=DETECTORS, help="how to find the face (default: auto)")
    add("--model", default="glasses", help="glasses, accurate, or an .onnx file (default: glasses)")
    add("--threshold", type=float, help="probability from which to say glasses (default: the model's)")
    add("--assume-face", action="store_true", help="where no face is found, take the centre of the photo for one")
    add("--any", action="store_true", help="answer for the face likeliest to wear glasses, not for the main one")
    add("--format", default="text", choices=FORMATS, help="default: text")
    add("--output", metavar="FILE", help="write the answers there instead of to stdout")
    add("--resume", action="store_true", help="complete the answers of an interrupted run with --output")
    add("--recursive", action="store_true", help="look into subfolders too")
    add("--sort", metavar="DIR", type=Path, help="copy the photos to DIR/glasses, no_glasses, nobody, unreadable")
    add("--link", action="store_true", help="with --sort, link them instead")
    add("--draw", metavar="DIR", type=Path, help="write the photos with boxes and answers there")
    add("--time", action="store_true", help="print the time of each stage")
    return parser


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exits with 2 and one line where an option is wrong; makes the folders of --draw and --sort."""
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        parser.error(f"--threshold must be between 0 and 1, not {options.threshold}")
    if options.output and not os.path.isdir(os.path.dirname(options.output) or "."):
        parser.error(f"--output: there is no folder {os.path.dirname(options.output)}")
    if options.output and os.path.isdir(options.output):
        parser.error(f"--output: {options.output} is a folder, give a file")
    if options.resume and not options.output:
        parser.error("--resume needs the --output of the run that was interrupted")
    if options.link and not options.sort:
        parser.error("--link needs --sort DIR")
    for name in ("draw", "sort"):
        if folder := getattr(options, name):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                parser.error(f"--{name}: cannot make the folder {folder}: {error.strerror}")


def settings_of(options: argparse.Namespace) -> dict:
    """All that decides what is written, for --resume: the options, and the network by its content."""
    model = Path(options.model)
    file = model if model.suffix else WEIGHTS / f"{options.model}.onnx"
    names = ("detector", "threshold", "assume_face", "any", "format", "sort", "link", "draw")
    settings = {name: getattr(options, name) for name in names}
    settings |= {name: value and str(value) for name, value in settings.items() if isinstance(value, Path)}
    return settings | {"model": hashlib.sha256(file.read_bytes()).hexdigest()[:16], "version": __version__}


# ------------------------------------------------------------------------------------------------- predict


def predict(options: argparse.Namespace, prog: str, open_classifier: Callable = open_network) -> int:
    """Answer for all photos that the options name; returns the exit status.

    open_classifier: called with the name or path of --model. Messages on stderr begin with `prog`.
    """
    start = perf_counter()
    photos = list(find_photos(options.paths, options.recursive))
    for name in ("draw", "sort"):
        if (folder := getattr(options, name)) and holds_photo_of(folder, [path for path, _ in photos]):
            return _refuse(prog, f"--{name}: {folder} holds photos of the input, give another folder")
    try:
        pipeline = GlassesPipeline(
            options.detector,
            threshold=options.threshold,
            classifier=open_classifier(options.model),
            assume_face=options.assume_face,
            any_face=options.any,
        )
        names = [path for path, _ in photos]
        output = open_output(options.output, options.format, settings_of(options), names, options.resume)
    except (ImportError, ValueError, OSError, OutputError) as error:
        return _refuse(prog, error)
    started = perf_counter() - start

    try:
        seconds = _answer_all(photos, pipeline, output, options, prog)
        output.close()
    except BaseException:
        if kept := output.keep():
            print(f"{prog}: {kept}", file=sys.stderr)
        raise
    if options.time and seconds:
        print(time_table(seconds, started), file=sys.stderr)
    print(summary(output.counts), file=sys.stderr)
    return 1 if output.counts["unreadable"] else 0


def _refuse(prog: str, reason: object) -> int:
    print(f"{prog}: {reason}", file=sys.stderr)
    return 2


def _answer_all(
    photos: Sequence[tuple[str, str | None]],
    pipeline: GlassesPipeline,
    output: StreamOutput | FileOutput,
    options: argparse.Namespace,
    prog: str,
) -> list[dict[str, float]]:
    """Answer, write, sort and draw the photos that are not done yet; returns the times of each."""
    from tqdm import tqdm

    seconds, jobs = [], side_jobs([path for path, _ in photos], options)
    with tqdm(photos, initial=output.done, unit="photo", disable=len(photos) < 2 or None, leave=False) as bar:

        def tell(line: str) -> None:
            bar.clear()
            print(f"{prog}: {line}", file=sys.stderr)

        for number, answer in enumerate(answers_from(photos, output.done, pipeline), output.done):
            name = one_line(answer.path)
            for option, job in jobs:
                try:
                    job(number, answer)
                except (OSError, PhotoError) as error:
                    tell(f"{option}: {name}: {getattr(error, 'strerror', None) or error}")
            bar.clear()
            output.write(answer)
            if answer.error or answer.warning:
                tell(f"{name}: {answer.error or answer.warning}")
            if answer.seconds:
                seconds.append(answer.seconds)
            bar.update()
    return seconds


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
    taken, names = set(), []
    for photo in photos:
        own, number = f"{Path(photo).stem}.jpg", 1
        while (name := numbered(own, number)) in taken or not _ours(folder / name):
            number += 1
        taken.add(name)
        names.append(name)
    return names


def _ours(file: Path) -> bool:
    """Whether nothing is lost by writing `file`: it is not there, or an earlier run drew it."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return picture.info.get("comment") == DRAWN
    except FileNotFoundError:
        return True
    except OSError:
        return False


def draw(answer: Answer, file: Path) -> None:
    """Write the photo with its boxes and answers as `file`. Raises OSError and PhotoError."""
    if answer.error:
        return
    from .drawing import annotate

    image, scale = read_image(answer.path)
    with whole_file(file) as partial:
        annotate(image, answer, scale).save(partial, format="JPEG", quality=90, comment=DRAWN)


def time_table(seconds: Sequence[dict[str, float]], started: float) -> str:
    """The median time of each stage over the photos, in milliseconds."""
    import numpy as np

    medians = [1000 * float(np.median([times[stage] for times in seconds])) for stage in STAGES]
    stages = "  ".join(f"{stage} {value:.1f}" for stage, value in zip(STAGES, medians, strict=True))
    return f"median milliseconds a photo: {stages}  sum {sum(medians):.1f}; start {1000 * started:.0f}"


def summary(counts: Counter) -> str:
    """ "3 of 20 photos with glasses, 2 without a face, 1 could not be read"."""
    total = sum(counts.values()) - counts["unreadable"]
    nobody = f", {counts['nobody']} without a face" if counts["nobody"] else ""
    faults = f", {counts['unreadable']} could not be read" if counts["unreadable"] else ""
    return f"{counts['glasses']} of {total} photo{'s' * (total != 1)} with glasses{nobody}{faults}"


# ---------------------------------------------------------------------------------------------------- main


def predict_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses predict`."""
    parser = predict_parser(f"{prog} predict")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return predict(options, prog)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"predict": predict_command}


def main(arguments: Sequence[str] | None = None) -> int:
    """`glasses COMMAND ...`, or `glasses PATH...` for `glasses predict PATH...`; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in ("-V", "--version"):
        print(f"glasses {__version__}")
        return 0
    command = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "predict"
    return COMMANDS[command](arguments)


def run(command: Callable[[], int] = main, prog: str = "glasses") -> None:
    """Run a command as the whole process: signals end it in order, and each end has its exit status."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:  # not where the caller has it ignored, as `nohup` does
            signal.signal(number, stop)
    try:
        sys.exit(command())
    except OutputError as error:
        print(f"{prog}: --output: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        sys.exit(130)
    except Stopped as stopped:
        print(f"{prog}: stopped by {signal.Signals(stopped.number).name}", file=sys.stderr)
        sys.exit(128 + stopped.number)
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
