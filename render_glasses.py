"""Which glasses are missing among real faces?  Drawn ones, of every kind, on bare faces that train.

    python render_glasses.py --data celeba=PATH lfw=PATH folder=PATH --out DIR [--faces 6000] [--seed 0] [--workers 2]

Every bare face of the training part of a plain folder, such as that of masks, is drawn on TIMES, each time with other
glasses; of the other sources --faces are drawn on once, as many of each. Only faces that train are taken, so that what
is written is the source `rendered` of train.py: DIR/eyeglasses/ and DIR/sunglasses/<source>@<name>@<number>.jpg. What
glasses a face gets is decided by --seed and that name alone. A second call goes on where the first one stopped; another
--seed wants another --out.

A face is left out where the detector finds none, where the key points say otherwise than the detector where the eyes
are, and where next to nothing is to be seen of what was drawn. Two renderers take turns: `glasses.tryon` with designs
far beyond its own, and `glasses.eyewear`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from data_load import FaceDataset, FolderPerClass, Label, position
from detector_architectures import load_detector
from find_data import DataError
from glasses import frames
from glasses.eyewear import EYEWEAR, draw_eyewear, is_sunglasses
from glasses.files import whole_file
from glasses.frames import FRAMES, Design
from glasses.keypoints import five_landmarks, open_keypoints, without_shift
from glasses.photos import PhotoError, read_image
from glasses.pipeline import find_faces
from glasses.pose import find_pose
from glasses.tryon import Face, Look, draw_glasses
from sources import load_sources, named_paths

TIMES = 3  # glasses for each face of a plain folder
SUNGLASSES = 0.45  # share of the faces that get some
ASTRAY = 0.2  # eye distances: key points this far from the detector's eyes are wrong
VISIBLE = 17.0  # grey levels of `change_at_eyes` below which next to nothing is to be seen
EYEWEAR_SHARE = 0.25  # of the faces are drawn on by the other renderer
SHAPES = (frames.OVAL, frames.RECTANGLE, frames.TRAPEZOID, frames.CAT, frames.TEARDROP, frames.LARGE)
METALS = (frames.GOLD, frames.GUN, frames.DARK, (0.66, 0.66, 0.68), (0.5, 0.36, 0.28))
PLASTICS = (frames.BLACK, frames.BLACK, frames.TORTOISE, (0.16, 0.09, 0.05), frames.WINE, frames.NAVY)
WARM = (-0.06, 0.12)  # hues from pink to orange, which are common among coloured lenses; 1 is once around


# -------------------------------------------------------------------------------------------- random glasses


class Glasses(NamedTuple):
    """A pair of glasses for `draw_glasses`: its design, a kind of `frames.LENSES`, and how large it is on the face."""

    design: Design
    lens: str
    size: float


def random_glasses(rng: np.random.Generator, dark: bool) -> Glasses:
    """Glasses of any frame, colour and lens; dark: sunglasses."""
    design = FRAMES[rng.choice(list(FRAMES))]
    if not design.one_piece and design is not FRAMES["reading"]:
        design = random_frame(rng, design)
    size = rng.uniform(0.92, 1.08)
    wide, high = np.multiply(design.lens, rng.uniform((0.92, 0.85), (1.08, 1.18)))
    design = replace(
        design,
        lens=(wide, high),
        bridge=design.bridge * rng.uniform(0.9, 1.2),
        centre=design.centre + rng.uniform(-3, 5),  # along the nose
        hinge=design.hinge + rng.uniform(-0.15, 0.15),
        colour=random_colour(rng, design.metal),
        mottled=bool(not design.metal and rng.random() < 0.25),
    )
    lens = "clear"
    if dark:
        lens = "mirror" if rng.random() < 0.2 else "tinted"
        design = replace(design, **random_lenses(rng))
    elif rng.random() < 0.2:  # a faint tint
        tint = hsv(rng.random(), rng.uniform(0.2, 0.8), rng.uniform(0.3, 0.8))
        lens, design = "tinted", replace(design, tint=tint, opacity=(rng.uniform(0.05, 0.3), rng.uniform(0, 0.05)))
    return Glasses(design, lens, size)


def random_frame(rng: np.random.Generator, design: Design) -> Design:
    """The design with another outline and rim: of thin metal, thick, without a rim below, or without any."""
    outline = SHAPES[rng.integers(len(SHAPES))] if rng.random() < 0.5 else design.outline
    kind = rng.choice(["own", "thin", "thick", "half", "none"], p=[0.3, 0.25, 0.2, 0.1, 0.15])
    width = {"thin": rng.uniform(0.9, 2.0), "thick": rng.uniform(3.5, 7.5), "half": rng.uniform(1.5, 4.5)}.get(kind)
    if kind == "own":
        rim = tuple(np.multiply(design.rim, rng.uniform(0.75, 1.3)))
        return replace(design, outline=outline, rim=rim)
    if kind == "thick":
        high = rng.uniform(6, 10)
        rim, temple = (width, width * rng.uniform(0.5, 1)), (high, 0.6 * high)
        return replace(
            design, outline=outline, rim=rim, temple=temple, depth=4.0, bar_width=0.8 * width, metal=False, pads=False
        )
    rim = {"thin": (width, width), "half": (width, 0.0), "none": (0.0, 0.0)}[kind]
    metal, high = bool(kind != "half" or rng.random() < 0.5), rng.uniform(2.0, 3.6)
    return replace(
        design, outline=outline, rim=rim, temple=(high, 0.8 * high), depth=1.8, bar_width=2.2, metal=metal, pads=metal
    )


def random_colour(rng: np.random.Generator, metal: bool) -> tuple[float, float, float]:
    """Of a frame: of a metal, mostly dark, or anything."""
    if metal and rng.random() < 0.85:
        return tuple(np.multiply(METALS[rng.integers(len(METALS))], rng.uniform(0.8, 1.2)))
    if rng.random() < 0.6:
        return tuple(np.multiply(PLASTICS[rng.integers(len(PLASTICS))], rng.uniform(0.7, 1.4)))
    return hsv(rng.random(), rng.uniform(0, 1), rng.uniform(0.1, 0.9))


def random_lenses(rng: np.random.Generator) -> dict[str, tuple]:
    """Tint, opacity and mirror of sunglasses, as of `Design`: half of them about black, others of all colours."""
    if rng.random() < 0.5:
        tint, top = hsv(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.02, 0.15)), rng.uniform(0.7, 0.98)
    else:
        tint = hsv(random_hue(rng), rng.uniform(0.5, 1), rng.uniform(0.35, 0.95))
        top = rng.uniform(0.5, 0.95)
    fade = rng.uniform(0.2, 0.5) if rng.random() < 0.3 else rng.uniform(0, 0.2)
    hue, far = random_hue(rng), rng.uniform(-0.25, 0.25)
    light, value = rng.uniform(0.4, 1), rng.uniform(0.5, 0.95)
    tones = (hsv(hue, light, 0.6 * value), hsv(hue + far, 0.8 * light, value), hsv(hue + 2 * far, light, 0.3 * value))
    return {"tint": tint, "opacity": (top, min(fade, top - 0.35)), "mirror": tones}


def random_hue(rng: np.random.Generator) -> float:
    """A hue, half of them from pink to orange."""
    return rng.uniform(*WARM) % 1 if rng.random() < 0.5 else rng.random()


def hsv(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """The colour, RGB in 0..1; hues go round."""
    pixel = np.float32([[[360 * (hue % 1), saturation, value]]])
    return tuple(float(channel) for channel in cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0])


def random_style(rng: np.random.Generator, dark: bool) -> np.ndarray:
    """Numbers for `draw_eyewear`, of sunglasses or not."""
    style = rng.standard_normal(len(EYEWEAR))
    while is_sunglasses(style) != dark:
        style[EYEWEAR.index("tint")] = rng.standard_normal()
    return style


# -------------------------------------------------------------------------------------- a face with glasses


def put_on(image: np.ndarray, points: np.ndarray, rng: np.random.Generator, dark: bool) -> np.ndarray:
    """An (H, W, 3) uint8 RGB image with random glasses on the face of these (68, 2) points, without shift."""
    if rng.random() < EYEWEAR_SHARE:
        return draw_eyewear(image, points, random_style(rng, dark))
    glasses, pose, drawn = random_glasses(rng, dark), find_pose(points), image.copy()
    pose.fit *= glasses.size
    draw_glasses(drawn, Face(points, pose, Look.of(image, points, pose)), glasses.design, glasses.lens)
    return drawn


def draw_on(image: np.ndarray, detector, keypoints, rng: np.random.Generator, dark: bool) -> np.ndarray | None:
    """An (H, W, 3) uint8 RGB image with random glasses on its main face; None for one to leave out."""
    faces = find_faces(detector, image)
    if not faces:
        return None
    points = without_shift(keypoints(image, [faces[0].landmarks])[0], keypoints.shift).astype(float)
    eyes = five_landmarks(points)[:2]
    distance = np.hypot(*(eyes[1] - eyes[0]))
    if np.hypot(*(eyes - faces[0].landmarks[:2]).T).max() > ASTRAY * distance:
        return None
    drawn = put_on(image, points, rng, dark)
    return drawn if change_at_eyes(image, drawn, eyes) >= VISIBLE else None


def change_at_eyes(before: np.ndarray, after: np.ndarray, eyes: np.ndarray) -> float:
    """Grey levels by which two (H, W, 3) uint8 images differ about (2, 2) eyes, where they differ most.

    Seen from a distance at which an eye distance has 50 pixels; that a twentieth of the pixels exceeds.
    """
    distance = np.hypot(*(eyes[1] - eyes[0]))
    x0, y0 = np.maximum(eyes.min(0) - 0.5 * distance, 0).astype(int)
    x1, y1 = np.maximum(eyes.max(0) + 0.5 * distance, 0).astype(int)
    difference = cv2.GaussianBlur(before.astype(np.float32) - after, (0, 0), max(0.3, 0.02 * distance))
    difference = np.abs(difference).mean(2)[y0:y1, x0:x1]
    return float(np.percentile(difference, 95)) if difference.size else 0.0


# ------------------------------------------------------------------------------------------ which, and where to


class Job(NamedTuple):
    """A face to draw on: its file, the file to write, and the seed of its glasses."""

    file: Path
    target: Path
    seed: tuple[int, int]


def bare_faces(train: dict[str, FaceDataset], count: int, seed: int) -> list[tuple[str, Path]]:
    """(name, file) of all to be drawn on: of plain folders every bare face TIMES, of the others `count`, drawn."""
    others = [name for name, faces in train.items() if not isinstance(faces, FolderPerClass)]
    chosen = []
    for name, faces in train.items():
        bare, times = [faces.files[i] for i in np.flatnonzero(faces.labels == Label.NONE)], TIMES
        if name in others:
            bare, times = sorted(bare, key=lambda file: position(file.name, seed))[: count // len(others)], 1
        for file in bare:
            stem = "+".join(file.relative_to(faces.root).with_suffix("").parts) if faces.several_folders else file.stem
            chosen += [(f"{name}@{stem}@{k}", file) for k in range(times)]
    return chosen


def jobs_of(faces: Sequence[tuple[str, Path]], out: Path, seed: int) -> list[Job]:
    """What is left to do of these names and files."""
    jobs = []
    for name, file in faces:
        place = position(name, seed)
        kind = Label.SUNGLASSES if place < SUNGLASSES else Label.EYEGLASSES
        job = Job(file, out / kind.name.lower() / f"{name}.jpg", (seed, int(2**53 * place)))
        if not job.target.is_file():
            jobs.append(job)
    return jobs


_tools: list = []  # of a process: the detector and the key points


def work(job: Job) -> bool:
    """Draw and write one face; False where it is left out. Raises DataError for a file that cannot be read."""
    if not _tools:
        cv2.setNumThreads(1)
        _tools.extend([load_detector("auto"), open_keypoints()])
    try:
        image = read_image(job.file)[0]
    except PhotoError as error:
        raise DataError(f"{job.file}: {error}; fix or remove it") from error
    dark = job.target.parent.name == Label.SUNGLASSES.name.lower()
    drawn = draw_on(image, *_tools, np.random.default_rng(job.seed), dark)
    if drawn is None:
        return False
    with whole_file(job.target) as partial:
        Image.fromarray(drawn).save(partial, "JPEG", quality=95)
    return True


def render(train: dict[str, FaceDataset], out: Path, count: int, seed: int, workers: int) -> tuple[int, int]:
    """Draw on the faces of a training part what is not there yet; returns how many were written, and left out."""
    jobs = jobs_of(bare_faces(train, count, seed), out, seed)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        done = list(tqdm(pool.map(work, jobs, chunksize=8), desc="drawing", total=len(jobs), disable=None))
    return sum(done), len(done) - sum(done)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="render_glasses.py", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add(
        "--data", nargs="+", required=True, metavar="SOURCE=PATH", help="bare faces, of which those that train are used"
    )
    add("--out", type=Path, required=True, help="folder to write")
    add("--faces", type=int, default=6000, help="of all sources but plain folders together (default: 6000)")
    add("--seed", type=int, default=0, help="fixes the glasses")
    add("--workers", type=int, default=os.cpu_count(), help="processes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        train = load_sources(named_paths(options.data), {}).train
        written, left_out = render(train, options.out, options.faces, options.seed, options.workers)
    except (DataError, ImportError, OSError, ValueError) as error:
        print(f"render_glasses.py: {error}", file=sys.stderr)
        return 1
    print(f"wrote {written} faces, left out {left_out}: --data rendered={options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
