"""Does the face in each photo wear glasses?  The command line.

    python predict.py photo.jpg                          # Found glasses (0.979, eyeglasses): photo.jpg
    python predict.py photos/ --recursive --format jsonl --output answers.jsonl
    python predict.py photos/ --draw drawn/ --time

Answers go to stdout or --output, everything else to stderr. Exit status: 0, all photos were read; 1, some could
not be (each is reported in its place, the others are answered); 2, the command line is wrong.
"""

import argparse
import csv
import io
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the threads are ours: one a photo, not several in each library

from detector_architectures import DETECTORS

STAGES = ("decode", "detect", "crop", "classify")
CSV_COLUMNS = "path glasses probability kind detector face x y w h face_probability face_kind error".split()


def find_photos(paths: Sequence[str], recursive: bool = False) -> Iterator[tuple[str, str | None]]:
    """(path, None) of every photo that `paths` name, in order, or (path, why not) where there is none.

    A file counts whatever it is called; in a folder those with a picture's suffix do, sorted by name, and
    with `recursive` those of its subfolders too. Links are followed; one that leads back up is reported.
    """
    from pipeline import IMAGE_SUFFIXES

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


class OutputError(Exception):
    """The answers cannot be written; one line that names the file and says why."""


@contextmanager
def open_output(path: str | None):
    """stdout, or a file that appears at `path` only when everything is in it. Raises OutputError."""
    if path is None:
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        yield sys.stdout
        return
    in_place = os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)  # /dev/stdout, a pipe
    partial = path if in_place else f"{path}.{os.getpid()}.part"
    try:
        with open(partial, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
        if not in_place:
            os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if not in_place and os.path.exists(partial):
            os.unlink(partial)


def same_folder(first: str | os.PathLike, second: str | os.PathLike) -> bool:
    """Whether both paths lead to one folder that exists."""
    return os.path.isdir(second) and os.path.samefile(first, second)


def as_text(answer) -> str:
    """One line for a photo with glasses, nothing for another."""
    return f"Found glasses ({answer.probability:.3f}, {answer.kind}): {answer.path}\n" if answer.glasses else ""


def as_jsonl(answer) -> str:
    """One JSON object on a line; boxes are [x, y, w, h] in pixels of the upright photo."""
    faces = [{"box": list(f.box), "probability": round(f.probability, 4), "kind": f.kind} for f in answer.faces]
    record = {
        "path": answer.path,
        "glasses": answer.glasses,
        "probability": None if answer.probability is None else round(answer.probability, 4),
        "kind": answer.kind,
        "detector": answer.detector,
        "faces": faces,
        "error": answer.error,
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def as_csv(answer) -> str:
    """A row a face, the main face first; one row with the error where the photo could not be read."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if answer.error is not None:
        writer.writerow([answer.path, *[""] * 11, answer.error])
    for number, face in enumerate(answer.faces):
        row = [answer.path, int(answer.glasses), f"{answer.probability:.4f}", answer.kind, answer.detector]
        writer.writerow([*row, number, *face.box, f"{face.probability:.4f}", face.kind, ""])
    return buffer.getvalue()


FORMATS = {"text": as_text, "jsonl": as_jsonl, "csv": as_csv}


def draw(answer, folder: Path, taken: set[str]) -> None:
    """Write the photo with its boxes and answers into `folder`, under its own name."""
    from pipeline import read_image

    from figures import annotate

    stem, number = Path(answer.path).stem, 1
    while (name := f"{stem}{'' if number == 1 else f'-{number}'}.jpg") in taken:
        number += 1
    taken.add(name)
    partial = folder / f".{name}.part"
    image, scale = read_image(answer.path)
    annotate(image, answer, scale).save(partial, format="JPEG", quality=90)
    os.replace(partial, folder / name)


def time_table(seconds: Sequence[dict[str, float]], started: float) -> str:
    """The median time of each stage over the photos, in milliseconds."""
    import numpy as np

    medians = [1000 * float(np.median([times[stage] for times in seconds])) for stage in STAGES]
    stages = "  ".join(f"{stage} {value:.1f}" for stage, value in zip(STAGES, medians, strict=True))
    return f"median milliseconds a photo: {stages}  sum {sum(medians):.1f}; start {1000 * started:.0f}"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 and one line where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="predict.py",
        description="Does the face in each photo wear glasses?",
        epilog="Exit status: 0 all photos read, 1 some could not be read, 2 wrong command line.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a photo, or a folder of photos")
    parser.add_argument("--detector", default="auto", choices=DETECTORS, help="how to find the face (default: auto)")
    parser.add_argument("--model", default="glasses", help="glasses, accurate, or a .safetensors or .onnx file")
    parser.add_argument("--threshold", type=float, help="probability from which to say glasses (default: the model's)")
    parser.add_argument("--format", default="text", choices=FORMATS, help="default: text")
    parser.add_argument("--output", metavar="FILE", help="write the answers there instead of to stdout")
    parser.add_argument("--recursive", action="store_true", help="look into subfolders too")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument("--draw", metavar="DIR", type=Path, help="write the photos with boxes and answers there")
    parser.add_argument("--time", action="store_true", help="print the time of each stage")
    options = parser.parse_args(arguments)
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        parser.error(f"--threshold must be between 0 and 1, not {options.threshold}")
    if options.output and not os.path.isdir(os.path.dirname(options.output) or "."):
        parser.error(f"--output: there is no folder {os.path.dirname(options.output)}")
    if options.output and os.path.isdir(options.output):
        parser.error(f"--output: {options.output} is a folder, give a file")
    if options.draw:
        try:
            options.draw.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"--draw: cannot make the folder {options.draw}: {error.strerror}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    start = perf_counter()
    options = parse_arguments(arguments)
    from pipeline import Answer, GlassesPipeline
    from tqdm import tqdm

    photos = list(find_photos(options.paths, options.recursive))
    if options.draw and any(same_folder(options.draw, os.path.dirname(path) or ".") for path, _ in photos):
        print(f"predict.py: --draw: {options.draw} holds photos of the input, give another folder", file=sys.stderr)
        return 2
    try:
        pipeline = GlassesPipeline(options.detector, options.model, options.threshold, options.device)
    except (ImportError, ValueError, OSError) as error:
        print(f"predict.py: {error}", file=sys.stderr)
        return 2
    started = perf_counter() - start

    readable = pipeline(path for path, problem in photos if problem is None)
    counts = {"glasses": 0, "none": 0, "error": 0}
    seconds, drawn = [], set()
    with open_output(options.output) as out:
        if options.format == "csv":
            out.write(",".join(CSV_COLUMNS) + "\n")
        bar = tqdm(photos, unit="photo", disable=True if len(photos) < 2 else None, leave=False)
        for path, problem in bar:
            answer = next(readable) if problem is None else Answer(path, error=problem)
            counts["error" if answer.error else "glasses" if answer.glasses else "none"] += 1
            if line := FORMATS[options.format](answer):
                bar.clear()
                out.write(line)
                out.flush()
            if answer.error:
                bar.clear()
                print(f"predict.py: {answer.path}: {answer.error}", file=sys.stderr)
                continue
            seconds.append(answer.seconds)
            if options.draw:
                try:
                    draw(answer, options.draw, drawn)
                except OSError as error:
                    print(f"predict.py: --draw: {answer.path}: {error.strerror or error}", file=sys.stderr)
    if options.time and seconds:
        print(time_table(seconds, started), file=sys.stderr)
    faults = f", {counts['error']} could not be read" if counts["error"] else ""
    total = counts["glasses"] + counts["none"]
    print(f"{counts['glasses']} of {total} photo{'s' * (total != 1)} with glasses{faults}", file=sys.stderr)
    return 1 if counts["error"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OutputError as error:
        print(f"predict.py: --output: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("predict.py: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
