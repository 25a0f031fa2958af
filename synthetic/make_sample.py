"""Faces of nobody, with and without glasses: the course's own data, and as many more as you like.

    python -m synthetic.make_sample                                        # data/sample again, from its seeds
    python -m synthetic.make_sample --out DIR --count 500 --glasses        # 500 further faces, all with glasses
    python -m synthetic.make_sample --out DIR --count 500 --bare --seed 7  # without
    python -m synthetic.make_sample --figures data/sample                  # faces.jpg, direction.jpg for its README

    from synthetic.make_sample import Scene, sample_latents, render
    latents = sample_latents(8, seed=0, glasses=True)                      # (8, K) float32
    pictures = render(latents)                                             # 8 of `Picture`: image, landmarks, kind

A latent vector is the whole picture: the face (`synthetic/face_generator.py`), the glasses (`glasses/eyewear.py`) and
the scene, the numbers named in SCENE. The label comes from it too: `glasses` above zero draws glasses, so the label
is how the face was made, and no classifier has a say in it. Faces are refused only where the `slim` detector does not
find the *bare* face at its own landmarks.

In --out: `train.csv` (id, v1..vK, glasses, kind), `test.csv` (without glasses and kind), `kinds.csv` (the truth about
every face), `label_noise.csv` (the labels of train.csv that are wrong on purpose, with the right kind, as `train.py
--corrections` reads it), the pictures in `faces-spring-2020/faces-spring-2020/face-<id>.jpg`, and where the 68 points
of some of them are in `keypoints.csv`, as `keypoint_data.py` reads it; and for lessons on identities and on a second
source `MeGlass_120x120/` and `meta.txt`: other people before another camera, `take_indoors`.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from glasses.crops import KINDS
from glasses.eyewear import EYEWEAR, SUNGLASSES_FROM, Canvas, Head, draw_eyewear, is_sunglasses, uniform
from glasses.photos import PhotoError, read_image
from keypoint_data import POINTS
from synthetic.face_generator import SIZE, FaceGenerator

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
TRAIN, TEST = 1000, 200  # faces in the layout of the Kaggle set
POINTED = 560, 100  # of these, the faces with their points in keypoints.csv, which shall stay small
IDENTITIES, PICTURES = 40, 5  # faces in the layout of MeGlass, and pictures of each
NOISE = 0.03  # share of the labels of train.csv that are wrong on purpose
SEED, QUALITY = 2020, 86  # of the shipped set; of its JPEG files
INDOORS_QUALITY, PIXELS = 60, 60  # of the second camera's JPEG files; what it sees, a side, before it enlarges
TOO_NEAR = (597, 1133)  # draws nearer to a training face than 1 % of real faces are, as benchmarks/sample.py measured
BATCH = 16  # faces made at a time; always so many, so that the arithmetic is always the same

# The numbers of a scene, each about normally distributed. Those from `turn` to `down` place the face in the picture,
# those from `exposure` to `noise` are the camera's. `near_miss` is what a hasty look takes for glasses.
SCENE = (
    "glasses", "turn", "zoom", "right", "down", "exposure", "contrast", "warmth", "saturation", "side_light", "blur",
    "noise", "headwear", "headwear_hue", "headwear_low", "fringe", "near_miss",
)  # fmt: skip
HATS_FROM, FRINGE_FROM = 0.90, 0.97  # of the distributions of `headwear` and `fringe`
NEAR_MISSES = {"on_head": 0.92, "dark_eyes": 0.78, "brows": 0.68, "bags": 0.55}  # from where in that of `near_miss`


class Picture(NamedTuple):
    """image (size, size, 3) uint8 RGB, landmarks (68, 2) in pixels, kind (of `KINDS`), and what else was drawn."""

    image: np.ndarray
    landmarks: np.ndarray
    kind: str
    extra: str


Camera = Callable[[np.ndarray, np.ndarray, "Scene", np.random.Generator], np.ndarray]


class Scene:
    """Names for the parts of a latent vector (K,): `face`, `style` (of the eyewear) and the numbers of SCENE."""

    def __init__(self, latent: np.ndarray):
        faces = len(latent) - len(EYEWEAR) - len(SCENE)
        self.face, self.style = latent[:faces], latent[faces : -len(SCENE)]
        self.numbers = dict(zip(SCENE, latent[-len(SCENE) :].astype(float), strict=True))

    def __getattr__(self, name: str) -> float:  # asked for what is no attribute otherwise: `scene.turn`
        numbers = self.__dict__.get("numbers", {})  # a copy being made has none yet
        if name not in numbers:
            raise AttributeError(name)
        return numbers[name]

    @property
    def opacity(self) -> float:
        """Of the glasses: 0 where `glasses` is below -0.5, 1 above 0.5, smooth between."""
        t = np.clip(self.glasses + 0.5, 0, 1)
        return float(t * t * (3 - 2 * t))

    @property
    def kind(self) -> str:
        """One of `KINDS`: the label."""
        return KINDS[0] if self.glasses <= 0 else KINDS[1 + is_sunglasses(self.style)]

    @property
    def near_miss(self) -> str:
        """What might be taken for glasses, "" for nothing; glasses on the head only where none are worn."""
        share = uniform(self.numbers["near_miss"])
        found = next((name for name, start in NEAR_MISSES.items() if share >= start), "")
        return "" if found == "on_head" and self.opacity > 0 else found


@lru_cache(maxsize=1)
def generator() -> FaceGenerator:
    """The face generator of `weights/`, read once."""
    return FaceGenerator.load()


def sample_latents(
    count: int, seed: int = 0, glasses: bool | None = None, face: np.ndarray | None = None, optical: bool = False
) -> np.ndarray:
    """(count, K) float32 latent vectors, rounded to the three decimals that the tables keep.

    glasses: all with, all without, or (None) half and half. face: the latent of one face for all, each
    picture a little different from the others. optical: no sunglasses, and thinner frames, more of them of metal.
    """
    rng = np.random.default_rng(seed)
    if face is None:
        faces = generator().sample(count, rng)
    else:
        differences = rng.standard_normal((count, len(face)))
        faces = face + 0.30 * differences
    style = rng.standard_normal((count, len(EYEWEAR)))
    if optical:  # the distribution of `tint`, squeezed into the part below that of sunglasses
        tint = EYEWEAR.index("tint")
        shares = [uniform(value) * 0.99 * SUNGLASSES_FROM for value in style[:, tint]]
        style[:, tint] = [NormalDist().inv_cdf(max(share, 1e-3)) for share in shares]
        style[:, EYEWEAR.index("thickness")] -= 0.7
        style[:, EYEWEAR.index("material")] += 0.5
    scene = rng.standard_normal((count, len(SCENE)))
    worn = np.arange(count) % 2 == 0 if glasses is None else np.full(count, glasses)
    column = SCENE.index("glasses")
    scene[:, column] = np.where(worn, 1, -1) * (0.8 + 0.4 * np.abs(scene[:, column]))  # far from the border at 0
    return np.concatenate([faces, style, scene], axis=1).round(3).astype(np.float32)


def bare_faces(latents: np.ndarray, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """The faces of (N, K) latent vectors before anything is drawn on them, and their (N, 68, 2) landmarks."""
    images, landmarks = [], []
    for start in range(0, len(latents), BATCH):
        scenes = [Scene(latent) for latent in latents[start : start + BATCH]]
        faces = np.zeros((BATCH, generator().size), np.float32)
        places = np.zeros((BATCH, 4))
        for i, scene in enumerate(scenes):
            faces[i] = scene.face
            places[i] = np.clip(0.5 * np.array([scene.turn, scene.zoom, scene.right, scene.down]), -1.5, 1.5)
        batch_images, batch_landmarks = generator()(faces, places, size)
        images.append(batch_images[: len(scenes)])
        landmarks.append(batch_landmarks[: len(scenes)])
    return np.concatenate(images), np.concatenate(landmarks)


def render(latents: np.ndarray, size: int = SIZE) -> list[Picture]:
    """The pictures of (N, K) latent vectors, each (size, size, 3)."""
    faces, landmarks = bare_faces(latents, size)
    scenes = [Scene(latent) for latent in latents]
    return [draw_scene(*one) for one in zip(faces, landmarks, scenes, strict=True)]


def draw_scene(face: np.ndarray, landmarks: np.ndarray, scene: Scene, camera: Camera | None = None) -> Picture:
    """Hair, hat and glasses on a bare face (H, W, 3) uint8 with its (68, 2) landmarks, as a camera takes it.

    camera: `take_picture`, or another function with its arguments.
    """
    rng = np.random.default_rng(int(np.abs(scene.face).sum() * 1e3))  # for hair and grain
    extra = [scene.near_miss] if scene.near_miss else []
    if uniform(scene.fringe) >= FRINGE_FROM:
        face = draw_fringe(face, landmarks, scene.fringe, rng)
        extra.append("fringe")
    if scene.near_miss in ("dark_eyes", "brows", "bags"):
        face = darken(face, landmarks, scene.near_miss, rng)
    hat = uniform(scene.headwear) >= HATS_FROM and scene.near_miss != "on_head"
    if hat:
        face = draw_hat(face, landmarks, scene, rng)
        extra.append("hat")
    image = draw_eyewear(face, landmarks, scene.style, scene.opacity)
    if scene.near_miss == "on_head":
        image = draw_eyewear(face, landmarks, scene.style, 1.0, lift=1.02 + 0.15 * rng.random())
    image = (camera or take_picture)(image, landmarks, scene, rng)
    return Picture(image, landmarks, scene.kind, "+".join(extra))


def draw_fringe(face: np.ndarray, landmarks: np.ndarray, fullness: float, rng: np.random.Generator) -> np.ndarray:
    """Strands of the face's own hair over the forehead."""
    head, canvas = Head.of(landmarks), Canvas(*face.shape[:2], blur=0.45)
    image = face.astype(np.float32)
    above = head.project(np.array([[-0.5, -1.22, 0.0], [0.0, -1.22, 0.0], [0.5, -1.22, 0.0]]))
    x, y = np.clip(above, 1, len(face) - 2).astype(int).T
    hair = min(image[y, x], key=np.sum)  # the darkest of three places above the forehead
    low = -0.50 + 0.08 * rng.standard_normal()
    lean = 0.25 * rng.standard_normal()
    parting = rng.uniform(-0.6, 0.6)
    t = np.linspace(0, 1, 9)  # along a strand, from its root to its tip
    for _ in range(int(70 + 20 * fullness)):
        root = rng.uniform(-1.0, 1.0)
        tip = low + 0.10 * rng.standard_normal() + 0.25 * abs(root - parting)
        across = root + (lean + 0.25 * (root - parting)) * t**2
        path = np.stack([across, -1.7 + (tip + 1.7) * t, np.zeros(9)], 1)
        strand = canvas.band(head.project(path), head.unit * np.linspace(0.12, 0.02, 9))
        shade = hair * rng.uniform(0.75, 1.05)
        image += (shade - image) * (0.6 * strand[..., None])
    return np.clip(image, 0, 255).astype(np.uint8)


def darken(face: np.ndarray, landmarks: np.ndarray, what: str, rng: np.random.Generator) -> np.ndarray:
    """Deep shadows around the eyes, heavy brows, or bags below the eyes: what a hasty look takes for a frame."""
    canvas = Canvas(*face.shape[:2], blur=0.6)
    unit = Head.of(landmarks).unit
    mask = canvas.empty()
    for eye, brow in ((landmarks[36:42], landmarks[17:22]), (landmarks[42:48], landmarks[22:27])):
        centre = eye.mean(0)
        if what == "bags":
            t = np.linspace(-1, 1, 15)
            for low in rng.uniform(0.10, 0.34, 2):
                arc = np.stack([rng.uniform(0.24, 0.36) * t, low + 0.14 * (1 - t**2) - 0.04], 1)
                mask = np.maximum(mask, canvas.band(centre + unit * arc, unit * 0.05 * (1 - 0.8 * t**2)))
        elif what == "brows":
            mask = np.maximum(mask, canvas.band(brow, unit * np.array([0.08, 0.11, 0.12, 0.11, 0.08])))
        else:
            turn = np.linspace(0, 2 * np.pi, 40)
            oval = np.stack([0.33 * np.cos(turn), 0.2 * np.sin(turn)], 1)
            mask = np.maximum(mask, canvas.fill(centre + unit * oval))
    softness, strength = {"dark_eyes": (0.09, 0.60), "bags": (0.03, 0.50), "brows": (0.02, 0.60)}[what]
    mask = cv2.GaussianBlur(mask, (0, 0), softness * unit)
    strength = rng.uniform(0.5, 1.0) * strength
    return np.clip(face * (1 - strength * mask[..., None]), 0, 255).astype(np.uint8)


def draw_hat(face: np.ndarray, landmarks: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A knitted hat, or a cap with a peak, and its shadow on the forehead."""
    head, canvas = Head.of(landmarks), Canvas(*face.shape[:2], blur=0.5)
    knitted = scene.headwear_low > 0
    low = -0.66 - 0.12 * uniform(scene.headwear_low)  # units: the height of the edge in the middle, above the eyes
    x = np.linspace(-1.45, 1.45, 25)
    edge = head.project(np.stack([x, low + 0.16 * x**2 + 0.05 * x**4, 0.3 - 0.3 * x**2], 1))
    up = np.array([np.sin(head.roll), -np.cos(head.roll)]) * 3 * head.unit  # pixels: from the edge out of the picture
    cloth = canvas.fill(np.concatenate([edge, (edge + up)[::-1]]))
    hsv = [int(uniform(scene.headwear_hue) * 179), rng.integers(0, 170), rng.integers(25, 200)]
    colour = cv2.cvtColor(np.uint8([[hsv]]), cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)
    shading = shade_cloth(canvas, head, up, low, knitted, rng)

    reach = rng.uniform(0.1, 0.6)  # of the shadow, units: down to the eyes, now and then
    shadow = cv2.GaussianBlur(np.roll(cloth, round(reach * head.unit), 0), (0, 0), (0.05 + 0.2 * reach) * head.unit)
    image = face * (1 - 0.5 * shadow[..., None])
    nose_x, nose_y = np.clip(landmarks[30].astype(int), 0, len(face) - 1)
    light = np.clip(face[nose_y, nose_x].mean() / 150, 0.4, 1.15)
    image += (colour * shading[..., None] * light - image) * cloth[..., None]
    if not knitted:
        peak = peak_mask(canvas, head, low, rng)
        image += (0.55 * colour * light - image) * peak[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def shade_cloth(
    canvas: Canvas, head: Head, up: np.ndarray, low: float, knitted: bool, rng: np.random.Generator
) -> np.ndarray:
    """(H, W) factors of a hat's colour: its weave, darker at the sides and just above its edge at `low` units.

    up: (2,) pixels, of any length.
    """
    offsets = np.stack(canvas.pixels(), -1) - head.origin  # (H, W, 2) pixels
    rows = offsets @ up / np.hypot(*up) / head.unit  # units above the eyes
    columns = offsets @ np.array([-up[1], up[0]]) / np.hypot(*up) / head.unit
    if knitted:
        weave = 0.10 * np.sin(columns * rng.uniform(30, 50)) + 0.08 * (rows < -low + 0.28)
    else:
        weave = 0.05 * cv2.GaussianBlur(rng.standard_normal((canvas.height, canvas.width)), (0, 0), 3) * 6
    return (1.05 - 0.25 * columns**2 + weave) * (0.75 + 0.25 * np.clip((rows + low) * 4 + 0.3, 0, 1))


def peak_mask(canvas: Canvas, head: Head, low: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) mask of the peak of a cap whose edge is at `low` units."""
    t = np.linspace(-1, 1, 21)
    length = rng.uniform(0.5, 1.0)
    front = np.stack([1.15 * t, low + 0.20 * (1 - t**2) * length + 0.16 * t**2, np.full(21, 0.6)], 1)
    back = np.stack([1.15 * t, low - 0.02 + 0.16 * t**2, np.full(21, 0.4)], 1)
    return canvas.fill(np.concatenate([head.project(front), head.project(back)[::-1]]))


def take_picture(image: np.ndarray, landmarks: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """What the camera makes of (H, W, 3) uint8: light from a side, exposure, contrast, colours, blur and grain."""
    width = image.shape[1]
    x = np.linspace(-1, 1, width)[None, :, None]
    picture = image.astype(np.float32) / 255 * np.clip(1 + 0.12 * scene.side_light * x, 0.5, 1.5)
    picture = picture * 2 ** (0.24 * np.clip(scene.exposure, -2.5, 1.5))
    mean = picture.mean()
    picture = (picture - mean) * (1 + 0.10 * np.clip(scene.contrast - 0.5, -2, 1.5)) + mean
    picture = picture * (1 + 0.05 * np.clip(scene.warmth, -2, 2) * np.array([1, 0, -1]))
    gray = picture.mean(-1, keepdims=True)
    picture = gray + (picture - gray) * max(0.0, 0.95 + 0.15 * scene.saturation)
    picture = picture.astype(np.float32)
    blur = 1.1 * (uniform(scene.blur) - 0.5) * width / SIZE  # pixels; none for half of the pictures
    if blur > 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture += rng.standard_normal(picture.shape) * (0.004 + 0.025 * uniform(scene.noise) ** 3)
    return np.clip(np.round(picture * 255), 0, 255).astype(np.uint8)


def take_indoors(image: np.ndarray, landmarks: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """What an old phone makes of (H, W, 3) uint8 in a room: a bare wall, a lamp at one side, few pixels, much noise."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    paint = rng.uniform(0.45, 0.9) * (1 + 0.05 * rng.standard_normal(3))
    wall = paint * (1.1 - 0.2 * y / height)[..., None]
    picture = wall + (image / 255 - wall) * person_mask(landmarks, width)[..., None]
    side = np.sign(scene.side_light) * rng.uniform(0.2, 0.5)
    picture *= np.clip(1 + side * (2 * x / width - 1), 0.4, 1.6)[..., None]
    picture *= rng.uniform(0.55, 0.85) * (1 - rng.uniform(0, 1) * np.array([0, 0.08, 0.25]))  # yellow, more or less
    few = cv2.resize(picture.astype(np.float32), (PIXELS, PIXELS), interpolation=cv2.INTER_AREA)
    few += rng.standard_normal(few.shape) * rng.uniform(0.01, 0.03)
    picture = cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.round(picture * 255), 0, 255).astype(np.uint8)


def person_mask(landmarks: np.ndarray, size: int) -> np.ndarray:
    """(size, size) float32: 1 at the head with its hair, and below it, of (68, 2) landmarks; 0 far from them."""
    head, canvas = Head.of(landmarks), Canvas(size, size, blur=0.0)
    turn = np.linspace(0, 2 * np.pi, 48)
    oval = np.stack([1.25 * np.sin(turn), 0.1 - 1.55 * np.cos(turn), 0 * turn], 1)
    neck = np.array([(-0.9, 1.0, 0), (0.9, 1.0, 0), (2.2, 3.5, 0), (-2.2, 3.5, 0)])
    mask = np.maximum(canvas.fill(head.project(oval)), canvas.fill(head.project(neck)))
    return cv2.GaussianBlur(mask, (0, 0), 0.12 * head.unit)


def is_face(image: np.ndarray, landmarks: np.ndarray, detector) -> bool:
    """Whether `detector` finds one face in an (H, W, 3) picture, its eyes where the (68, 2) landmarks are."""
    found = detector(image)
    if len(found) != 1 or found[0].score < 0.8:
        return False
    eyes = np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0)])
    farthest = np.abs(found[0].landmarks[:2] - eyes).max()
    return bool(farthest < 0.2 * np.hypot(*(eyes[1] - eyes[0])))


def good_pictures(
    count: int,
    seed: Sequence[int],
    detector,
    size: int = SIZE,
    refused: Collection[int] = (),
    camera: Camera | None = None,
    **choice,
) -> list[tuple[np.ndarray, Picture]]:
    """`count` times (latent, picture), of faces that `detector` finds while bare; choice: see `sample_latents`.

    camera: see `draw_scene`. refused: the numbers of draws that are left out, counted from 0. Raises ValueError where
    hardly any face is found.
    """
    made: list[tuple[np.ndarray, Picture]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in range(9 + count):
            latents = sample_latents(BATCH, [*seed, batch], **choice)
            images, landmarks = bare_faces(latents, size)
            allowed = [i for i in range(BATCH) if batch * BATCH + i not in refused]
            good = [i for i in allowed if is_face(images[i], landmarks[i], detector)]
            good = good[: count - len(made)]
            scenes = [Scene(latents[i]) for i in good]
            pictures = pool.map(draw_scene, images[good], landmarks[good], scenes, [camera] * len(good))
            made += zip(latents[good], pictures, strict=True)
            if len(made) >= count:
                return made
    raise ValueError(f"only {len(made)} of {(9 + count) * BATCH} faces were found: do the weights fit this code?")


def flip_some(glasses: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The rows whose labels are to be wrong: `share` of (N,) 0 and 1, as many of either, in rising order."""
    rng = np.random.default_rng(seed)
    half = round(share * len(glasses) / 2)
    wrong = [rng.choice(np.flatnonzero(glasses == label), half, replace=False) for label in (0, 1)]
    return np.sort(np.concatenate(wrong))


def write_picture(picture: Picture, path: Path, quality: int = QUALITY) -> None:
    """Write the image as JPEG. Raises OSError where that fails."""
    bgr = cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, quality]):
        raise OSError(f"cannot write {path}")


def short(value: float) -> str:
    """Three decimals at most: 0.5 -> "0.5", -2.0 -> "-2"."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def write_kaggle(out: Path, made: list[tuple[np.ndarray, Picture]], test: int = 0, noise: float = 0.0) -> None:
    """Write the tables and pictures; the last `test` faces go into test.csv. Ids count from 1.

    noise: the share of the labels of train.csv that are wrong on purpose, and listed in label_noise.csv. A bare face
    that is labelled as one with glasses has the kind of those that its latent vector would draw.
    """
    folder = out / "faces-spring-2020" / "faces-spring-2020"
    folder.mkdir(parents=True, exist_ok=True)
    for i, (_, picture) in enumerate(made):
        write_picture(picture, folder / f"face-{i + 1}.jpg")

    ids = np.arange(1, len(made) + 1)
    kinds = [picture.kind for _, picture in made]
    extras = [picture.extra for _, picture in made]
    truth = np.array([int(kind != "none") for kind in kinds])
    truths = pd.DataFrame({"id": ids, "glasses": truth, "kind": kinds, "extra": extras})
    truths.to_csv(out / "kinds.csv", index=False)

    train = len(made) - test
    wrong = flip_some(truth[:train], noise, SEED)
    labels = truth.copy()
    labels[wrong] = 1 - labels[wrong]
    latents = np.stack([latent for latent, _ in made])
    worn = [KINDS[1 + is_sunglasses(Scene(latent).style)] for latent in latents]
    labelled = np.where(labels == 1, worn, KINDS[0])
    table = pd.DataFrame(latents, columns=[f"v{i + 1}" for i in range(latents.shape[1])]).map(short)
    table.insert(0, "id", ids)
    table[:train].assign(glasses=labels[:train], kind=labelled[:train]).to_csv(out / "train.csv", index=False)
    if test:
        table[train:].to_csv(out / "test.csv", index=False)
    if noise:
        right = [("sample", f"face-{i + 1}.jpg", kinds[i], i + 1, labels[i]) for i in wrong]
        corrections = pd.DataFrame(right, columns=["source", "file", "kind", "id", "glasses"])
        corrections.to_csv(out / "label_noise.csv", index=False)


def write_keypoints(
    out: Path, made: list[tuple[np.ndarray, Picture]], test: int = 0, most: tuple[int, int] | None = None
) -> None:
    """Write keypoints.csv: file, part ("test" for the last `test` faces), x0, y0, x1, y1, ... in pixels.

    most: how many faces of each part, the first ones; None for all.
    """
    rows = list(enumerate(made, start=1))
    train = len(rows) - test
    parts = {"training": rows[:train], "test": rows[train:]}
    lines = []
    for (part, faces), count in zip(parts.items(), most or (None, None), strict=True):
        for number, (_, picture) in faces[:count]:
            file = f"faces-spring-2020/faces-spring-2020/face-{number}.jpg"
            lines.append([file, part, *picture.landmarks.ravel()])
    columns = ["file", "part", *range(2 * POINTS)]
    pd.DataFrame(lines, columns=columns).to_csv(out / "keypoints.csv", index=False, float_format="%.1f")


def people(identities: int, pictures: int, detector, seed: int, size: int = 120) -> Iterator[list]:
    """For each synthetic person, (latent, `Picture`) of so many pictures by `take_indoors`, about half with glasses."""
    for person, (latent, _) in enumerate(good_pictures(identities, [seed, 1], detector)):
        choice = {"face": Scene(latent).face, "optical": True, "camera": take_indoors}
        yield good_pictures(pictures, [seed, 2, person], detector, size, **choice)


def write_meglass(out: Path, identities: int, pictures: int, detector, seed: int) -> None:
    """Write MeGlass_120x120/ and meta.txt with the pictures of `people`."""
    folder = out / "MeGlass_120x120"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for person, made in enumerate(people(identities, pictures, detector, seed)):
        for number, (_, picture) in enumerate(made):
            name = f"sample@identity_{person}@{number}.jpg"
            write_picture(picture, folder / name, INDOORS_QUALITY)
            lines.append(f"{name} {int(picture.kind != 'none')}\n")
    (out / "meta.txt").write_text("".join(lines))


def write_sample(out: Path = SAMPLE, train: int = TRAIN, test: int = TEST, identities: int = IDENTITIES) -> None:
    """Write the shipped set into `out`: its parts are made aside and moved into place when all are whole.

    Other files in `out`, such as its README, stay.
    """
    from detector_architectures import load_detector

    detector = load_detector("slim")
    out.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".sample-", dir=out.parent))
    try:
        made = good_pictures(train + test, [SEED], detector, refused=TOO_NEAR)
        write_kaggle(partial, made, test, NOISE)
        write_keypoints(partial, made, test, POINTED)
        write_meglass(partial, identities, PICTURES, detector, SEED)
        for part in partial.iterdir():
            old = out / part.name
            if old.is_dir():
                shutil.rmtree(old)
            os.replace(part, old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def glasses_direction(latents: np.ndarray, glasses: np.ndarray) -> np.ndarray:
    """(K,) the mean latent (N, K) of the faces labelled 1 less that of those labelled 0."""
    return latents[glasses == 1].mean(0) - latents[glasses == 0].mean(0)


def draw_faces(path: str | os.PathLike, pictures: Sequence[np.ndarray], columns: int) -> None:
    """Draw (H, W, 3) uint8 pictures side by side, `columns` a row. Raises OSError where it cannot be written."""
    rows = [np.concatenate(list(pictures[i : i + columns]), 1) for i in range(0, len(pictures), columns)]
    if not cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(rows, 0), cv2.COLOR_RGB2BGR)):
        raise OSError(f"cannot write {path}")


def draw_figures(folder: Path) -> None:
    """Write `faces.jpg`, the first 64 shipped faces, and `direction.jpg`, bare faces moved along the direction.

    The direction is what a learner finds: the mean latent of faces labelled 1 less that of faces labelled 0,
    of train.csv, wrong labels and all.
    """
    pictures = SAMPLE / "faces-spring-2020" / "faces-spring-2020"
    first = [read_image(pictures / f"face-{i + 1}.jpg")[0] for i in range(64)]
    draw_faces(folder / "faces.jpg", first, 16)
    table = pd.read_csv(SAMPLE / "train.csv")
    latents = table.filter(regex=r"^v\d+$").to_numpy(dtype=np.float32)
    glasses = table["glasses"].to_numpy()
    direction = glasses_direction(latents, glasses)
    start = latents[glasses == 0][:4]
    steps = [latent + amount * direction for latent in start for amount in np.linspace(0, 1.25, 9)]
    draw_faces(folder / "direction.jpg", [picture.image for picture in render(np.stack(steps))], 9)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m synthetic.make_sample", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=SAMPLE, help="folder to write (default: data/sample)")
    parser.add_argument("--count", type=int, help="so many further faces instead of the shipped set")
    parser.add_argument("--seed", type=int, default=0, help="of the further faces")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--glasses", action="store_const", const=True, help="with --count: all with glasses")
    kind.add_argument("--bare", dest="glasses", action="store_const", const=False, help="with --count: all without")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw the two figures there, and no more")
    options = parser.parse_args(arguments)
    if options.glasses is not None and options.count is None:
        parser.error("--glasses and --bare need --count")
    if options.count is not None and (options.count < 1 or options.out == SAMPLE):
        parser.error("--count needs a number above 0, and an --out of its own")
    try:
        if options.figures:
            draw_figures(options.figures)
            print(f"wrote faces.jpg and direction.jpg to {options.figures}")
        elif options.count:
            from detector_architectures import load_detector

            made = good_pictures(options.count, [options.seed, 4], load_detector("slim"), glasses=options.glasses)
            write_kaggle(options.out, made)
            write_keypoints(options.out, made)
            print(f"wrote {options.count} faces to {options.out}")
        else:
            write_sample(options.out)
            print(f"wrote {TRAIN + TEST} faces and {IDENTITIES * PICTURES} of {IDENTITIES} people to {options.out}")
    except (ImportError, OSError, PhotoError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
