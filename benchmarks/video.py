"""How many frames a second are answered?  Prints a Markdown table and writes benchmarks/results/video.csv.

    python -m benchmarks.video [--seconds 10] [--repeats 5] [--note WORDS] [--out benchmarks/results]

Films of 1280x720 at 25 frames a second with no face, one and four in motion, made of the public-domain portraits, in
H.264. One core, of which the process's own time is taken, whatever else runs there. Each time is the mean over the
frames of a film, since the face finder looks at some frames alone; of that the median over the repeats. "answers" is
what `glasses video` does beside decoding and printing; the rows that begin with "of which" are parts of it.
"""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before any library starts its threads
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import av
import cv2
import numpy as np
import pandas as pd

from benchmarks.documents import Results, video_table
from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from glasses.photos import read_image
from glasses.tracks import FaceTracker
from glasses.video import Film, FilmWriter
from glasses.video_command import Painter
from sample_photos import sample_photos

WIDTH, HEIGHT, RATE = 1280, 720, 25
FACES = (0, 1, 4)


def faces() -> list[np.ndarray]:
    """Two portraits, 240 pixels wide."""
    collins, hopper = (read_image(file)[0] for file in sample_photos().values())
    parts = collins[0:230, 120:330], hopper[20:380, 110:400]
    return [cv2.resize(part, (240, 300), interpolation=cv2.INTER_AREA) for part in parts]


def pictures(count: int, frames: int) -> Iterator[np.ndarray]:
    """(720, 1280, 3) uint8: `count` portraits that move before soft colours, under a camera's noise."""
    rng, portraits = np.random.default_rng(0), faces()
    coarse = rng.integers(60, 160, (9, 16, 3), np.uint8)
    background = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for number in range(frames):
        picture, t = background.copy(), number / RATE
        for face in range(count):
            x = round((160 + 260 * face if count > 1 else 520) + 60 * np.sin(1.1 * t + face))
            y = round(220 + 60 * np.sin(1.7 * t + face))
            portrait = portraits[face % len(portraits)]
            picture[y : y + portrait.shape[0], x : x + portrait.shape[1]] = portrait
        noisy = picture + rng.normal(0, 3, picture.shape[:2]).astype(np.float32)[..., None]
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def make_film(path: Path, count: int, frames: int) -> Path:
    with av.open(str(path), "w") as film:
        stream = film.add_stream("h264", rate=RATE, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in pictures(count, frames):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode(None))
    return path


class Watch:
    """Seconds of the processor spent in each step."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, step: str, function: Callable) -> Callable:
        def run(*arguments, **options):
            start = process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[step] += process_time() - start

        return run


def measure(path: Path, folder: Path) -> dict[str, float]:
    """Seconds a frame of each step, over one film."""
    watch, film, count = Watch(), Film(path), 0
    tracker, boxes, glasses = FaceTracker(), Painter(None), Painter("aviator")
    points = FaceTracker(keypoints=True)
    writer = FilmWriter(folder / "out.mp4", ".mp4", film)
    tracker.detector.candidates = watch.timed("of which the face finder", tracker.detector.candidates)
    tracker._points = watch.timed("of which key points", tracker._points)
    tracker._judge = watch.timed("of which cutting out and classifying", tracker._judge)
    frames = film.frames()
    following = watch.timed("decode", lambda: next(frames, None))
    while frame := following():
        count += 1
        image = watch.timed("of which to RGB", frame.image)()
        found = watch.timed("tracker", tracker)(image, frame.time)
        drawn = watch.timed("draw boxes and answers", boxes)(image, found)
        watch.timed("encode H.264", writer.write)(drawn, frame.pts)
        if count % RATE == 0:  # it takes as long as all else
            found = points(image, frame.time)
            watch.timed("try glasses on", glasses)(image, found)
    writer.close()
    seconds = watch.seconds
    seconds["try glasses on"] *= RATE
    seconds["answers"] = seconds["of which to RGB"] + seconds.pop("tracker")
    return {step: value / count for step, value in seconds.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each film")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    add_note(parser)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in FACES:
            path = make_film(Path(folder) / f"{count}.mp4", count, RATE * options.seconds)
            runs = [measure(path, Path(folder)) for _ in range(options.repeats)]
            medians = pd.DataFrame(runs).median()
            steps = ["decode", "answers", *(step for step in medians.index if step.startswith("of which"))]
            steps += ["draw boxes and answers", *(["try glasses on"] if count else []), "encode H.264"]
            for step in steps:
                ms, ratio = 1000 * medians[step], medians[step] / medians["decode"]
                rows.append({"faces": count, "step": step, "ms": ms, "frames_per_s": 1000 / ms, "ratio": ratio})
    lines = header(
        f"PyAV {av.__version__}; {options.seconds} s of {WIDTH}x{HEIGHT} at {RATE} frames/s, one core, median of "
        f"{options.repeats} runs",
        note=options.note,
    )
    write_table(pd.DataFrame(rows), options.out / "video.csv", lines)
    print(video_table(Results(options.out)))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
