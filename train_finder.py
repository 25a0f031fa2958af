"""How does a network learn to find faces?  From scenes that are made while it learns.

    python scenes.py label --data celeba=PATH lfw=PATH folder=PATH/masks       # once
    python train_finder.py --data celeba=PATH lfw=PATH folder=PATH/masks --nobody PATH [--mine]
                           [--epochs 60] [--scenes 20000] [--seed 0] [--out runs/finder] [--resume]
                           [--init runs/other/checkpoint.pt]              # fine-tuning

Each epoch draws new scenes of the people and the pictures of nobody in the part `train`, scenes.py; the epoch is chosen
on SELECTED scenes of the part `select`, always the same: by the recall at FALSE_FACES false faces a scene. --mine: from
the second epoch on pictures of nobody in which the network sees a face are drawn up to 1 + MINED times as often. In
--out:

    finder.onnx           the best epoch's averaged weights, calibrated, in 8-bit integers: put it into glasses/weights/
    checkpoint.pt         all that --resume needs, written after each epoch
    log.csv, curve.png    loss, recall and error, epoch by epoch
    config.json           all that decided the weights, run_config.py

Two numbers calibrate the score on the same scenes: slope and offset of a logistic regression from the network's logit
to whether what it found is a face (Platt 1999). They are multiplied into the last layer, so the score is a probability.
"""

import argparse
import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from detector_architectures import SAME, overlap, shrink
from detector_architectures.finder import MIDDLE_GREY
from export_finder import export_finder
from face_finder import DOUBTFUL, FOUND, FaceFinder, calibrated, decode, finder_loss
from figures import plot_finder_curves
from find_data import DataError
from models import pick_device, read_checkpoint
from mosaic import Composer, Picture, read_picture
from run_config import RunConfig, versions, weights_digest
from scenes import Scenes, digest, nobody_parts, people_parts
from sources import SELECT_BELOW, SPLIT_SEED, TRAIN_BELOW, named_paths
from training import BaseTrainer

SELECTED, SELECT_SEED = 1000, 12_345  # scenes that choose the epoch, and their seed
RANGES = 256  # scenes that tell the ranges of the maps, for arithmetic in 8-bit integers
FALSE_FACES = 0.1  # a scene, at which recall is measured
LEAST = 0.02  # score: what is below is no face in any count
MINED = 9.0  # more often is a picture of nobody drawn of which the network is sure


@dataclass(frozen=True)
class FinderSettings:
    """What one may choose for a run; as `run_config.Settings`. scenes: of an epoch; size: of a scene, in pixels; keep:
    the share of the first weights in the final ones."""

    epochs: int = 60
    batch: int = 64
    lr: float = 4e-3
    seed: int = 0
    scenes: int = 20_000
    size: int = 192
    mine: bool = False
    keep: float = 0.0
    bfloat16: bool = False

    def check(self, started: bool, taught: bool) -> None:
        """Raise ValueError, one line, where no run can have these."""
        for name in ("epochs", "batch", "scenes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.size < 64 or self.size % 32:
            raise ValueError(f"size must be a multiple of 32 from 64 on, not {self.size}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep must be between 0 and 1, not {self.keep}")
        if self.keep and not started:
            raise ValueError("keep is a share of the weights that training starts from: name them with --init")


# ------------------------------------------------------------------------------------------ what is found


class Detections(NamedTuple):
    """What was found in scenes, DOUBTFUL faces aside. logits (N,); hits (N,) bool, whether it is a face; errors (N,),
    mean distance of its landmarks in sides of the face, NaN for no face. faces: to be found; scenes: searched."""

    logits: np.ndarray
    hits: np.ndarray
    errors: np.ndarray
    faces: int
    scenes: int

    def at(self, false_faces: float = FALSE_FACES) -> tuple[float, float]:
        """Recall and mean error of the hits, at the least score that allows so many false faces a scene."""
        order = np.argsort(-self.logits, kind="stable")
        hits, errors = self.hits[order], self.errors[order]
        allowed = np.cumsum(~hits) <= false_faces * self.scenes
        found = hits & allowed
        error = float(errors[found].mean()) if found.any() else math.nan
        return float(found.sum() / max(self.faces, 1)), error


@torch.inference_mode()
def detect(network: nn.Module, scenes: Scenes, device: str = "cpu", batch: int = 64, workers: int = 0) -> Detections:
    """Search all scenes."""
    network.to(device).eval()
    rows, faces = [], 0
    for images, wanted in DataLoader(scenes, batch, num_workers=workers):
        logits, boxes, landmarks = decode(network(images.to(device)).float(), *images.shape[2:])
        for one in zip(logits.cpu().numpy(), boxes.cpu().numpy(), landmarks.cpu().numpy(), wanted.numpy(), strict=True):
            rows += match(*suppress(*one[:3]), one[3])
            faces += int((one[3][:, 14] == FOUND).sum())
    logits, hits, errors = (np.array([row[i] for row in rows]) for i in range(3))
    return Detections(logits, hits.astype(bool), errors.astype(float), faces, len(scenes))


def suppress(logits: np.ndarray, boxes: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of the answers of one picture's cells the surest of each face, the surest first; as `Finder` does."""
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    likely = np.flatnonzero(scores >= LEAST)
    kept = likely[np.asarray(cv2.dnn.NMSBoxes(boxes[likely], scores[likely], LEAST, SAME), int).ravel()]
    return logits[kept], boxes[kept], landmarks[kept]


def match(logits: np.ndarray, boxes: np.ndarray, landmarks: np.ndarray, faces: np.ndarray) -> list[tuple]:
    """(logit, hit, error, face) of each box of a picture, the surest first, with these (F, 15) faces.

    hit: whether it is of a face; face: the number of that face, or -1. error: of the landmarks, in sides of the face. A
    box finds the face of the highest IoU, at least SAME, that none before it found. One that finds none, but has its
    middle in the box of a DOUBTFUL face, is left out.
    """
    left, doubtful, rows = list(np.flatnonzero(faces[:, 14] == FOUND)), faces[faces[:, 14] == DOUBTFUL], []
    for logit, box, points in zip(logits, boxes, landmarks, strict=True):
        shares = [overlap(box, faces[number, :4]) for number in left]
        if shares and max(shares) >= SAME:
            number = left.pop(int(np.argmax(shares)))
            distance = np.hypot(*(points - faces[number, 4:14].reshape(5, 2)).T).mean()
            rows.append((logit, True, distance / np.sqrt(faces[number, 2] * faces[number, 3]), number))
            continue
        middle = box[:2] + box[2:] / 2
        if not ((doubtful[:, :2] <= middle) & (middle <= doubtful[:, :2] + doubtful[:, 2:4])).all(1).any():
            rows.append((logit, False, math.nan, -1))
    return rows


def fit_score(logits: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the logistic regression from (N,) logits to whether each is a hit, by Newton's method.

    As two further examples there are one hit and one that is none at the mean logit, so that both are finite.
    """
    x = np.append(logits, [logits.mean()] * 2 if len(logits) else [0.0, 0.0]).astype(np.float64)
    y = np.append(hits, [1, 0]).astype(np.float64)
    features, weights = np.column_stack([x, np.ones_like(x)]), np.array([1.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(features @ weights).clip(-30, 30)))
        curvature = features.T @ (features * (p * (1 - p))[:, None]) + 1e-3 * np.eye(2)
        weights += np.linalg.solve(curvature, features.T @ (y - p) - 1e-3 * (weights - (1, 0))).clip(-1, 1)
    return float(max(weights[0], 0.05)), float(weights[1])


@torch.inference_mode()
def mine(network: nn.Module, nobody: Sequence[Picture], size: int, device: str = "cpu") -> np.ndarray:
    """(N,) how often each picture of nobody is to be drawn: 1, and up to MINED more by the highest score in it."""
    network.to(device).eval()
    weights = np.ones(len(nobody))
    for i, picture in enumerate(nobody):
        image = cv2.cvtColor(read_picture(picture.file)[0], cv2.COLOR_BGR2RGB)
        small, _ = shrink(image, size)
        square = np.full((size, size, 3), MIDDLE_GREY, np.uint8)
        square[: small.shape[0], : small.shape[1]] = small
        answers = network(torch.from_numpy(square).to(device).permute(2, 0, 1)[None].float() / 255)
        weights[i] += MINED * answers[..., 0].max().sigmoid().item()
    return weights


# ------------------------------------------------------------------------------------------------ training


class FinderTrainer(BaseTrainer):
    """Trains epoch by epoch, keeps the best and a checkpoint to go on from: training.py.

    train, select: of them the scenes are made. out: the folder of the run. settings: the fields of `FinderSettings`.
    start: a network to be trained further. workers: processes that make scenes. selected: how many scenes choose the
    epoch.

    A run on the CPU with the same arguments gives the same weights bit for bit, also when it was killed and resumed in
    between. Attributes: as of `BaseTrainer`; best is the epoch of the best recall on `select`.
    Raises ValueError, one line, where the settings make no sense.
    """

    CHOICE, HIGHEST = "recall", True

    def __init__(
        self,
        train: Composer,
        select: Composer,
        out: str | Path,
        epochs: int = 60,
        *,
        start: FaceFinder | None = None,
        device: str = "cpu",
        workers: int = 1,
        selected: int = SELECTED,
        **settings,
    ):
        chosen = FinderSettings(epochs, **settings)
        parts = [{"people": digest(one.people), "nobody": digest(one.nobody)} for one in (train, select)]
        split = f"{TRAIN_BELOW} {SELECT_BELOW} seed {SPLIT_SEED}; {selected} scenes"
        first = weights_digest(start) if start else ""
        config = RunConfig(chosen, *parts, split, start=first, versions=versions([]))
        torch.manual_seed(chosen.seed)
        steps = math.ceil(chosen.scenes / chosen.batch)
        super().__init__(start or FaceFinder(), config, steps, out, device, chosen.keep)
        self.train, self.select, self.workers = train, Scenes(select, selected, SELECT_SEED), workers

    def _batches(self, epoch: int) -> DataLoader:
        """Scenes have their own seeds, of the run's, the epoch and their number."""
        if self.settings.mine and epoch:
            nobody = self.train.nobody
            self.train.weights = mine(self.average.module, nobody, self.settings.size, self.device)
        scenes = Scenes(self.train, self.steps * self.settings.batch, (self.settings.seed, epoch))
        return DataLoader(scenes, self.settings.batch, num_workers=self.workers)

    @staticmethod
    def _loss(images: Tensor, answers: Tensor, faces: Tensor) -> Tensor:
        return finder_loss(answers, faces, *images.shape[2:])

    def _measure(self) -> dict[str, float]:
        recall, error = detect(self.average.module, self.select, self.device, workers=self.workers).at()
        return {"recall": recall, "error": error}

    def _words(self, row: dict[str, float]) -> str:
        found = f"recall {100 * row['recall']:.1f} %, landmarks {100 * row['error']:.1f} % of the face's side"
        return f"epoch {row['epoch']}: loss {row['train_loss']:.4f}, {found}"

    def export(self) -> Path:
        """Calibrate the best epoch's network, write it as `finder.onnx`, whose path is returned, and the curve."""
        network = self.result()
        found = detect(network, self.select, self.device, workers=self.workers)
        slope, offset = fit_score(found.logits, found.hits)
        plot_finder_curves(self.history, FALSE_FACES).savefig(self.out / "curve.png", dpi=120)
        header = {"config": self.config.as_dict(), "digest": weights_digest(network), "score": [slope, offset]}
        scenes = Scenes(self.train, RANGES, self.settings.seed)
        pictures = np.stack([scenes.scene(number)[0] for number in range(RANGES)])
        return export_finder(calibrated(network.cpu(), slope, offset), self.out / "finder.onnx", header, pictures)


def read_finder(checkpoint: Path) -> FaceFinder:
    """The network of the best epoch. Raises FileNotFoundError, or ValueError for a file of another kind."""
    network = FaceFinder()
    try:
        network.load_state_dict(read_checkpoint(checkpoint, "cpu")["best"]["state"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{checkpoint} is no checkpoint of train_finder.py") from error
    return network


# ------------------------------------------------------------------------------------------ the command line


def load_composers(options: argparse.Namespace) -> tuple[Composer, Composer]:
    """What makes the scenes to train on, and those to select with. Raises DataError."""
    people = people_parts(named_paths(options.data), options.tables)
    nobody = nobody_parts(options.nobody)
    for part in ("train", "select"):
        faces = sum(len(picture.points) for picture in people[part])
        print(f"{part}: {faces} faces in {len(people[part])} pictures, {len(nobody[part])} pictures of nobody")
    train, select = (Composer(people[part], nobody[part], options.size) for part in ("train", "select"))
    return train, select


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", nargs="+", required=True, metavar="SOURCE=PATH", help="pictures of people that scenes.py labelled")
    add("--nobody", type=Path, help="folder with pictures of nobody")
    add("--tables", type=Path, default=Path(".cache/finder"), help="folder of the tables of scenes.py")
    add("--epochs", type=int, default=60, help="more of them extend a run with --resume (default: 60)")
    add("--batch", type=int, default=64, help="scenes a step (default: 64)")
    add("--scenes", type=int, default=20_000, help="scenes an epoch (default: 20000)")
    add("--size", type=int, default=192, help="pixels of a scene's side (default: 192)")
    add("--selected", type=int, default=SELECTED, help=f"scenes that choose the epoch (default: {SELECTED})")
    add("--lr", type=float, default=4e-3, help="highest learning rate of the cycle (default: 0.004)")
    add("--init", type=Path, metavar="FILE", help="start from the best weights of this checkpoint.pt: fine-tuning")
    add("--keep", type=float, default=0.0, help="share of the weights of --init in the final ones, 0 to 1")
    add("--seed", type=int, default=0)
    add("--mine", action="store_true", help="draw pictures of nobody more often in which it sees a face")
    add("--bfloat16", action="store_true", help="compute in 16 bits where the processor has it")
    add("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    add("--workers", type=int, default=1, help="processes that make scenes (default: 1)")
    add("--out", type=Path, default=Path("runs/finder"), help="folder of the run")
    add("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    cv2.setNumThreads(1)  # each process that makes scenes has one
    names = ("epochs", "batch", "lr", "seed", "scenes", "size", "mine", "keep", "bfloat16")
    settings = {name: getattr(options, name) for name in names}
    try:
        FinderSettings(**settings).check(bool(options.init), False)
        device = pick_device(options.device)
        composers = load_composers(options)
        process = {"device": device, "workers": options.workers, "selected": options.selected}
        start = read_finder(options.init) if options.init else None
        trainer = FinderTrainer(*composers, options.out, start=start, **process, **settings)
        if options.resume and trainer.resume():
            print(f"resumed after epoch {len(trainer.history)}")
        trainer.fit()
        which = "last epoch" if options.keep else f"best epoch {trainer.best['epoch']}"
        print(f"{which}; wrote {trainer.export()}")
    except (DataError, ImportError, ValueError, OSError) as error:
        print(f"train_finder.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *where: f"train_finder.py: {message}\n"
    sys.exit(main())
