"""What does `glasses video` do?  Follows the faces of a film, answers, and writes or shows the film with the answers.

glasses video in.mp4 > answers.jsonl                   # an object for each face of each frame
glasses video in.mp4 --format csv --every 5
glasses video in.mp4 --output out.mp4                  # with boxes and answers, and with the sound
glasses video in.mp4 --output out.mp4 --try-on aviator
glasses video --camera 0                               # in a window
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .camera import Camera, Window, open_window
from .drawing import annotate
from .files import whole_file
from .frames import FRAMES
from .messages import tell
from .output import OutputError, write_text
from .pipeline import Answer
from .tracks import FaceTracker, TrackedFace
from .tryon import Look, look_at, wear
from .tryon_command import read_frame
from .video import FORMATS, Film, FilmWriter, VideoError, WriteError, clock, import_av

CSV_COLUMNS = "time frame track x y w h probability kind".split()
STEADY_LOOK = 0.1  # how far the light on a face is followed from frame to frame, when glasses are tried on


def video_command(options: argparse.Namespace, prog: str) -> int:
    """Do what the options say; returns the exit status: 1 for trouble with a film, 2 for a wrong command line."""
    cv2.setNumThreads(1)
    name = options.film if options.camera is None else f"camera {options.camera}"
    try:
        output, paint = check_output(options), Painter(options.try_on)
        if options.camera is None or output:
            import_av()
        tracker = FaceTracker(keypoints=options.try_on is not None)
        source = Camera(options.camera) if options.camera is not None else Film(options.film)
    except VideoError as error:
        return tell(prog, f"{name}: {error}", 1)
    except (ImportError, ValueError, OSError) as error:
        return tell(prog, error)
    with closing(source):
        window = _window(options, prog)
        try:
            frames, warnings = _answer_all(source, tracker, paint, output, window, options)
        except VideoError as error:
            tell(prog, f"cannot write {output}: {error}" if isinstance(error, WriteError) else f"{name}: {error}")
            return 1
    for warning in source.warnings:
        tell(prog, f"{name}: {warning}")
    for warning in warnings:
        tell(prog, f"{output}: {warning}")
    print("\n".join(summary(tracker.spans, *frames)), file=sys.stderr)
    return 1 if source.warnings else 0


def check_output(options: argparse.Namespace) -> Path | None:
    """Where the film goes, None where none is written. Raises ValueError with one line where it cannot go there."""
    if options.output is None:
        if options.try_on is not None and options.camera is None:
            raise ValueError("--try-on draws into a film: give --output FILE")
        return None
    output = Path(options.output)
    if output.suffix.lower() not in FORMATS:
        raise ValueError(f"--output: {options.output} does not end as a film does: give {', '.join(FORMATS)}")
    if not output.parent.is_dir():
        raise ValueError(f"--output: there is no folder {output.parent}")
    if output.is_dir():
        raise ValueError(f"--output: {output} is a folder, give a file")
    if options.film and output.exists() and Path(options.film).exists() and output.samefile(options.film):
        raise ValueError(f"--output: {output} is the film that is read, give another file")
    return output


def _window(options: argparse.Namespace, prog: str) -> Window | None:
    """The window of a camera; None, and a line, where there cannot be one."""
    if options.camera is None:
        return None
    try:
        return open_window(f"camera {options.camera}: q ends")
    except VideoError as error:
        tell(prog, f"{error}; the answers go on, Ctrl-C ends them")
        return None


def _answer_all(
    source: Film | Camera,
    tracker: FaceTracker,
    paint: "Painter",
    output: Path | None,
    window: Window | None,
    options: argparse.Namespace,
) -> tuple[tuple[int, float], list[str]]:
    """Follow the faces, print, write and show. Returns the number of frames and the time of the last; and warnings."""
    write, is_wanted = Lines(options.format).write, wanted(options.every, options.fps)
    number, time = -1, 0.0
    with ExitStack() as stack:
        if window:
            stack.callback(window.close)
        writer = None
        if output:
            partial = stack.enter_context(whole_file(output))
            writer = FilmWriter(partial, output.suffix.lower(), source if isinstance(source, Film) else None)
            stack.callback(writer.discard)
        frames = source.frames(writer.sound) if writer and isinstance(source, Film) else source.frames()
        quiet = None if not getattr(sys.stdout, "isatty", bool)() else True  # the answers show how far it is
        bar = stack.enter_context(tqdm(frames, total=source.expected, unit="frame", disable=quiet, leave=False))
        try:
            for frame in bar:
                number, time, told = frame.number, frame.time, is_wanted(frame.number, frame.time)
                if not (told or writer or window):
                    continue
                image = frame.image()
                faces = tracker(image, frame.time)
                if told:
                    write(frame.number, frame.time, faces)
                drawn = paint(image, faces) if writer or window else None
                if writer:
                    writer.write(drawn, frame.pts)
                if window and not window.show(drawn):
                    break
        except KeyboardInterrupt:
            if isinstance(source, Film):
                raise  # half a film is none; but a camera has no other end
        if writer:
            writer.close()
    return (number + 1, time), writer.warnings if writer else []


def wanted(every: int | None, rate: float | None) -> Callable[[int, float], bool]:
    """Whether a frame, by its number and time, is answered: every n-th, or at most so many a second, or all."""
    due = 0.0

    def is_wanted(number: int, time: float) -> bool:
        nonlocal due
        if rate is None:
            return number % (every or 1) == 0
        if time < due - 1e-6:
            return False
        due += 1 / rate
        if due <= time:  # there were no frames for a while
            due = time + 1 / rate
        return True

    return is_wanted


# ------------------------------------------------------------------------------------------------- the answers


class Lines:
    """Answers to stdout, a line for each face of a frame; form: "jsonl" or "csv". Raises OutputError."""

    def __init__(self, form: str):
        if sys.stdout is None:
            raise OutputError("stdout is closed: the answers go there")
        self.form = form
        if form == "csv":
            write_text(sys.stdout, ",".join(CSV_COLUMNS) + "\n", "stdout")

    def write(self, number: int, time: float, faces: Iterable[TrackedFace]) -> None:
        """The faces of frame `number`, `time` seconds from the film's beginning."""
        lines = (as_csv if self.form == "csv" else as_jsonl)(number, time, faces)
        if lines:
            write_text(sys.stdout, lines, "stdout")


def as_jsonl(number: int, time: float, faces: Iterable[TrackedFace]) -> str:
    """A JSON object a face; its box is [x, y, w, h] in pixels of the upright frame."""
    place = {"time": round(time, 3), "frame": number}
    answers = (
        {"track": f.track, "box": list(f.box), "probability": round(f.probability, 4), "kind": f.kind} for f in faces
    )
    return "".join(json.dumps(place | answer) + "\n" for answer in answers)


def as_csv(number: int, time: float, faces: Iterable[TrackedFace]) -> str:
    """A row of CSV_COLUMNS a face."""
    buffer = io.StringIO()
    rows = ([f"{time:.3f}", number, f.track, *f.box, f"{f.probability:.4f}", f.kind] for f in faces)
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def summary(spans: dict[int, list], frames: int, time: float) -> list[str]:
    """From when to when each track wore what, a line a span; and a last line for the whole film."""
    lines = []
    for number, of_track in spans.items():
        for start, end, kind in of_track:
            lines.append(f"track {number}: {clock(start)} to {clock(end)} {'no glasses' if kind == 'none' else kind}")
    with_glasses = sum(any(span.kind != "none" for span in of_track) for of_track in spans.values())
    found = f"{len(spans)} track{'s' * (len(spans) != 1)}, {with_glasses} with glasses" if spans else "no face"
    return [*lines, f"{found}, in {frames} frame{'s' * (frames != 1)} ({clock(time)})"]


# ------------------------------------------------------------------------------------------------ the pictures


class Painter:
    """Draws into frames: boxes and answers, or glasses; frame: what --try-on says, None for boxes.

    Raises ValueError with one line for a frame that there is not.
    """

    def __init__(self, frame: str | None):
        self.frame = None if frame is None else read_frame(frame)
        if frame is not None and frame in ("all", "none"):
            raise ValueError(f"--try-on: {frame} is for photos, give one frame or random")
        self._looks: dict[int, Look] = {}

    def __call__(self, image: np.ndarray, faces: list[TrackedFace]) -> np.ndarray:
        """The next frame, (H, W, 3) uint8, with what there is to be drawn."""
        if self.frame is None:
            return np.asarray(annotate(image, Answer("", faces=faces), names=[face.track for face in faces]))
        for face in sorted(faces, key=lambda face: face.box[2]):  # the larger ones are nearer
            image = self._dress(image, face)
        self._looks = {face.track: self._looks[face.track] for face in faces if face.track in self._looks}
        return image

    def _dress(self, image: np.ndarray, face: TrackedFace) -> np.ndarray:
        """Glasses on one face; in the light of its last frames, which would flicker else."""
        try:
            seen = look_at(image, face.keypoints)
        except ValueError:  # smaller than glasses can be drawn on
            return image
        before = self._looks.get(face.track)
        self._looks[face.track] = seen.look = before.towards(seen.look, STEADY_LOOK) if before else seen.look
        frame = self.frame
        if isinstance(frame, str) and frame == "random":
            frame = list(FRAMES)[int(np.random.default_rng(face.track).integers(len(FRAMES)))]
        return wear(image, seen, frame)
