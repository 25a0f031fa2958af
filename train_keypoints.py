"""How does a network learn the 68 points of a face?  From labelled frames, and from faces that teachers labelled.

    python train_keypoints.py --data ytf=PATH [--pseudo celeba=PATH lfw=PATH ...] [--tables .cache/keypoints]
                              [--network regression] [--epochs 40] [--seed 0] [--out runs/keypoints] [--resume]
                              [--init runs/other/checkpoint.pt --strength 0.5]   # fine-tuning

ytf: the frames of YouTube Faces, or `sample`, the synthetic faces. Their people are dealt to three parts as all faces
are, sources.py: the weights learn from `train`, the epoch is chosen on `select`, and nothing is on `report`, which
evaluate_keypoints.py measures. --pseudo: faces of other data sets whose points pseudo_label.py wrote to --tables.
Half of what it sees are labelled frames (--share). In --out:

    keypoints.onnx        the best epoch's averaged weights, for the tool: put it into glasses/weights/
    checkpoint.pt         all that --resume needs, written after each epoch
    log.csv, curve.png    loss and error, epoch by epoch
    config.json           all that decided the weights, run_config.py

The labels of YouTube Faces lie LABEL_SHIFT too far to the right. The network learns without that shift, so that a
mirror image is as good as the picture; the exported file puts it back.
"""

import argparse
import copy
import csv
import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, WeightedRandomSampler
from tqdm.auto import tqdm

from compress import export_keypoints
from data_load import split
from detector_architectures import load_detector
from face_cache import detector_packages
from figures import plot_keypoint_curves
from find_data import DataError, find_dataset
from glasses.crops import Crop, align_face, crop_matrix
from glasses.files import whole_file
from glasses.keypoints import LABEL_SHIFT, five_landmarks, without_shift
from glasses.pipeline import find_faces
from keypoint_data import FacialKeypointsDataset, PointSample, mean_errors
from keypoint_transforms import eval_transform, train_transform
from losses import wing_loss
from models import KEYPOINT_NETWORKS, make_keypoint_network, pick_device, read_checkpoint
from run_config import DIGITS, RunConfig, in_words, versions, weights_digest
from sources import SELECT_BELOW, SPLIT_SEED, TRAIN_BELOW, named_paths, open_source
from train import Learner

MARGIN = 1.5  # of a cached crop, in sides of the network's: room to turn and shift


@dataclass(frozen=True)
class KeypointSettings:
    """What one may choose for a run; as `run_config.Settings`.

    faces: of an epoch, 0 for as many as there are. strength: of the augmentation. share: of labelled faces among
    those drawn, where there are others. keep: the share of the first weights in the final ones, where training starts
    from a network.
    """

    epochs: int = 40
    batch: int = 128
    lr: float = 4e-3
    seed: int = 0
    network: str = "regression"
    faces: int = 0
    strength: float = 1.0
    share: float = 0.5
    keep: float = 0.0
    bfloat16: bool = False

    def check(self, started: bool, taught: bool) -> None:
        """Raise ValueError, one line, where no run can have these."""
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.faces < 0:
            raise ValueError(f"faces must be at least 0, not {self.faces}")
        for name in ("strength", "share", "keep"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if self.keep and not started:
            raise ValueError("keep is a share of the weights that training starts from: name them with --init")
        if self.network not in KEYPOINT_NETWORKS:
            raise ValueError(f"unknown network {self.network!r}: choose from {', '.join(KEYPOINT_NETWORKS)}")


class CachedKeypoints(Dataset):
    """Faces of a data set cut out once and kept as one file.

    crops: (N, H, W, 3) uint8. keypoints: (N, 68, 2) float32 in their pixels, without the labels' shift. An item is a
    `PointSample`, or what `transform` makes of it.

    detector: cuts where it finds the face, as the tool's first look does; without one the points themselves say where,
    MARGIN times as wide. shift: of the labels. cache: the folder for the file, which appears whole or not at all.
    digest: of crops and points, wherever the data set lies.
    """

    def __init__(
        self,
        dataset: FacialKeypointsDataset,
        crop: Crop,
        cache: str | os.PathLike = ".cache",
        detector=None,
        shift: float = LABEL_SHIFT,
        transform: Callable | None = None,
    ):
        self.crop, self.transform = crop if detector else crop.with_margin(MARGIN), transform
        points = without_shift(dataset.keypoints, shift)
        path = Path(cache) / f"keypoints-{_digest(dataset, points, self.crop, detector)}.npz"
        if not path.is_file():
            self._write(path, dataset, points, detector)
        with np.load(path) as stored:
            self.crops, self.keypoints = stored["crops"], stored["keypoints"]
        content = hashlib.sha256(self.crops)
        content.update(self.keypoints)
        self.digest = f"{len(self)} faces {content.hexdigest()[:DIGITS]}"

    def _write(self, path: Path, dataset: FacialKeypointsDataset, points: np.ndarray, detector) -> None:
        def cut(index: int) -> tuple[np.ndarray, np.ndarray]:
            image = dataset.read(index)
            if detector is None:
                landmarks = five_landmarks(points[index])
            else:
                landmarks = find_faces(detector, image, assume_face=True)[0].landmarks
            matrix = crop_matrix(landmarks, self.crop)
            return align_face(image, landmarks, self.crop), points[index] @ matrix[:, :2].T + matrix[:, 2]

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            cutting = pool.map(cut, range(len(dataset)))
            crops, keypoints = zip(*tqdm(cutting, desc="cutting", total=len(dataset), disable=None), strict=True)
        with whole_file(path) as partial, open(partial, "wb") as file:
            np.savez(file, crops=np.stack(crops), keypoints=np.stack(keypoints).astype(np.float32))

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int):
        sample = PointSample(self.crops[index], self.keypoints[index])
        return sample if self.transform is None else self.transform(sample)


def _digest(dataset: FacialKeypointsDataset, points: np.ndarray, crop: Crop, detector) -> str:
    """Of all that the crops depend on: another one names another file."""
    files = [(str(file), file.stat().st_size) for file in dataset.files]
    recipe = [files, hashlib.sha256(points.tobytes()).hexdigest(), crop, detector and detector_packages(detector)]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:DIGITS]


@torch.inference_mode()
def find_points(network: nn.Module, faces: Dataset, device: str = "cpu", batch: int = 256) -> np.ndarray:
    """(N, 68, 2) float32 points of all crops, unaugmented, in pixels of the crop."""
    network.to(device).eval()
    return np.concatenate([network(images.to(device)).cpu().numpy() for images, _ in DataLoader(faces, batch)])


class KeypointTrainer:
    """Trains epoch by epoch, keeps the best and a checkpoint to go on from.

    labelled: faces with labels to learn from; others: with pseudo-labels. select: faces as a detector cuts them, on
    which the epoch is chosen. out: the folder of the run. start: a network of the same kind, to be trained further.
    settings: the fields of `KeypointSettings`. workers: processes that augment.

    Attributes: config; history, a row an epoch; best, the epoch of the least error on `select` and its state.
    Raises ValueError, one line, where the settings make no sense.
    """

    def __init__(
        self,
        labelled: CachedKeypoints,
        others: dict[str, CachedKeypoints],
        select: CachedKeypoints,
        out: str | os.PathLike,
        epochs: int = 40,
        *,
        start: nn.Module | None = None,
        device: str = "cpu",
        workers: int = 1,
        **settings,
    ):
        self.settings = KeypointSettings(epochs, **settings)
        train = {"labelled": labelled.digest} | {name: faces.digest for name, faces in others.items()}
        split_ = f"{TRAIN_BELOW} {SELECT_BELOW} seed {SPLIT_SEED}"
        first = weights_digest(start) if start else ""
        self.config = RunConfig(
            self.settings, train, {"select": select.digest}, split_, start=first, versions=versions([])
        )
        torch.manual_seed(self.settings.seed)
        network = start or make_keypoint_network(self.settings.network)
        self.first = copy.deepcopy(network.state_dict())
        self.select, self.out, self.device, self.workers = select, Path(out), device, workers
        self.sources = [labelled, *others.values()]
        count = self.settings.faces or sum(map(len, self.sources))
        self.steps = math.ceil(count / self.settings.batch)
        self.learner = Learner(network, self.settings, self.settings.epochs * self.steps, device)
        self.history: list[dict[str, float]] = []
        self.best: dict = {"error": math.inf, "state": None}

    @property
    def checkpoint(self) -> Path:
        """The file that `resume` reads."""
        return self.out / "checkpoint.pt"

    def fit(self, report: Callable[[list[dict[str, float]]], None] | None = None) -> dict[str, float]:
        """Train the epochs that are left; returns the last row of the history.

        report: called with the history after each epoch; without it each epoch prints a line.
        """
        average = self.learner.average
        for epoch in range(len(self.history), self.settings.epochs):
            row = {"epoch": epoch + 1, "train_loss": self._epoch(epoch), "lr": self.learner.schedule.get_last_lr()[0]}
            errors = mean_errors(find_points(average.module, self.select, self.device), self.select.keypoints)
            row["error"] = float(errors.mean())
            if not math.isfinite(row["train_loss"] + row["error"]):
                raise ValueError(f"the loss is no number any more in epoch {epoch + 1}: choose a lower --lr")
            self.history.append(row)
            if row["error"] < self.best["error"]:
                state = {key: value.cpu().clone() for key, value in average.module.state_dict().items()}
                self.best = {"error": row["error"], "epoch": epoch + 1, "state": state}
            self.save()
            words = f"epoch {row['epoch']}: loss {row['train_loss']:.4f}, error {100 * row['error']:.2f} %"
            report(self.history) if report else print(words, flush=True)
        return self.history[-1]

    def _epoch(self, epoch: int) -> float:
        seed = self.settings.seed * 10_007 + epoch  # each epoch has its own, so that a resumed run needs no other state
        generator = torch.Generator().manual_seed(seed)
        shares = [1.0] if len(self.sources) == 1 else [self.settings.share, *self._shares()]
        weights = [
            torch.full((len(faces),), share / len(faces)) for faces, share in zip(self.sources, shares, strict=True)
        ]
        draws = WeightedRandomSampler(torch.cat(weights), self.steps * self.settings.batch, generator=generator)
        faces = ConcatDataset(self.sources)
        loader = DataLoader(faces, self.settings.batch, sampler=draws, num_workers=self.workers, generator=generator)
        torch.manual_seed(seed)
        self.learner.model.train()
        losses = []
        for images, points in tqdm(loader, desc=f"epoch {epoch + 1}", disable=None, leave=False):
            losses.append(self.learner.step(images, points, self._loss))
        return torch.stack(losses).mean().item()

    def _shares(self) -> np.ndarray:
        """Of each source in what labelled frames leave: as the square root of its size."""
        roots = np.sqrt([len(faces) for faces in self.sources[1:]])
        return (1 - self.settings.share) * roots / roots.sum()

    def _loss(self, images: Tensor, found: Tensor, points: Tensor) -> Tensor:
        """The classic network's is the mean squared error of its scaled points, as in the course."""
        return (
            ((found - points) / 50).square().mean() if self.settings.network == "classic" else wing_loss(found, points)
        )

    def save(self) -> None:
        """Write the checkpoint, the log and the config, each whole or not at all."""
        config = self.config.as_dict()
        with whole_file(self.checkpoint) as partial:
            torch.save(
                {**self.learner.state_dict(), "config": config, "history": self.history, "best": self.best}, partial
            )
        with whole_file(self.out / "log.csv") as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)
        with whole_file(self.out / "config.json") as partial:
            partial.write_text(json.dumps(config, indent=2) + "\n")

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`; False where there is none.

        Raises ValueError, naming each difference, where it belongs to a run of other settings or faces.
        """
        if not self.checkpoint.is_file():
            return False
        state = read_checkpoint(self.checkpoint, self.device)
        differing, _ = self.config.compare(state["config"])
        if differing:
            raise ValueError(f"{self.checkpoint} is of another run: {in_words(differing)}; choose another --out")
        self.learner.load_state_dict(state)
        self.history, self.best = state["history"], state["best"]
        return True

    def result(self) -> nn.Module:
        """The network of the run: of its best epoch; with `keep` the last epoch's, averaged with the first weights
        (Wortsman et al.: "Robust fine-tuning of zero-shot models", CVPR 2022)."""
        network = copy.deepcopy(self.learner.average.module)
        if not self.settings.keep:
            network.load_state_dict(self.best["state"])
            return network
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(self.first[key].to(value), self.settings.keep)
        return network

    def export(self, shift: float = LABEL_SHIFT) -> Path:
        """Write `result` as `keypoints.onnx`, whose path is returned, and draw the curve."""
        network = self.result()
        plot_keypoint_curves(self.history).savefig(self.out / "curve.png", dpi=120)
        header = {"config": self.config.as_dict(), "digest": weights_digest(network)}
        return export_keypoints(network, self.out / "keypoints.onnx", shift, header)


def read_keypoint_network(checkpoint: str | os.PathLike) -> nn.Module:
    """The network of a checkpoint with its best epoch's weights. Raises OSError, or ValueError for another file."""
    state = read_checkpoint(checkpoint)
    try:
        network = make_keypoint_network(state["config"]["network"])
        network.load_state_dict(state["best"]["state"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{checkpoint} is no checkpoint of train_keypoints.py: {str(error).splitlines()[0]}"
        ) from error
    return network


def labelled_parts(name: str, path: str = "") -> list[FacialKeypointsDataset]:
    """train, select and report of the labelled faces, "ytf" or "sample"."""
    whole = FacialKeypointsDataset(find_dataset(name, path or None))
    return split(whole, (TRAIN_BELOW, SELECT_BELOW - TRAIN_BELOW, 1 - SELECT_BELOW), SPLIT_SEED)


def load_faces(options: argparse.Namespace) -> tuple[CachedKeypoints, dict[str, CachedKeypoints], CachedKeypoints]:
    """The faces to train on, labelled and not, and to select with. Raises DataError."""
    name, _, path = options.data.partition("=")
    shift = LABEL_SHIFT if name == "ytf" else 0.0
    crop = make_keypoint_network(options.network).crop
    augment = train_transform(crop.width, options.strength)
    train, select, _ = labelled_parts(name, path)
    labelled = CachedKeypoints(train, crop, options.cache, shift=shift, transform=augment)
    others = {}
    for source, folder in named_paths(options.pseudo).items():
        root = open_source(source, folder).root
        table = FacialKeypointsDataset(root, table=options.tables / f"{source}.csv")
        others[source] = CachedKeypoints(table, crop, options.cache, shift=0.0, transform=augment)
        print(f"train {source}: {len(table)} faces with pseudo-labels")
    detector = load_detector("auto")
    chosen = CachedKeypoints(select, crop, options.cache, detector, shift, transform=eval_transform(crop.width))
    print(f"train {name}: {len(labelled)} faces; select {name}: {len(chosen)}")
    return labelled, others, chosen


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", default="ytf", metavar="ytf[=PATH]", help="labelled faces: ytf or sample (default: ytf)")
    add("--pseudo", nargs="+", default=[], metavar="SOURCE=PATH", help="faces that pseudo_label.py labelled")
    add("--tables", type=Path, default=Path(".cache/keypoints"), help="folder of the tables of pseudo_label.py")
    add("--network", default="regression", choices=KEYPOINT_NETWORKS, help="default: regression")
    add("--init", type=Path, metavar="FILE", help="start from the best weights of this checkpoint.pt: fine-tuning")
    add("--epochs", type=int, default=40)
    add("--batch", type=int, default=128, help="faces a step (default: 128)")
    add("--faces", type=int, default=0, help="faces an epoch (default: as many as there are)")
    add("--lr", type=float, default=4e-3, help="highest learning rate of the cycle (default: 0.004)")
    add("--strength", type=float, default=1.0, help="of the augmentation, 0 to 1 (default: 1)")
    add("--keep", type=float, default=0.0, help="share of the weights of --init in the final ones, 0 to 1")
    add("--share", type=float, default=0.5, help="of labelled faces among those drawn (default: 0.5)")
    add("--seed", type=int, default=0)
    add("--bfloat16", action="store_true", help="compute in 16 bits where the processor has it")
    add("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    add("--workers", type=int, default=1, help="processes that augment (default: 1)")
    add("--cache", type=Path, default=Path(".cache"), help="folder for the faces cut out")
    add("--out", type=Path, default=Path("runs/keypoints"), help="folder of the run")
    add("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    cv2.setNumThreads(1)  # each process that augments has one
    names = ("epochs", "batch", "lr", "seed", "network", "faces", "strength", "share", "keep", "bfloat16")
    settings = {name: getattr(options, name) for name in names}
    try:
        KeypointSettings(**settings).check(bool(options.init), False)
        device = pick_device(options.device)
        start = read_keypoint_network(options.init) if options.init else None
        if start and start.head != options.network:
            raise ValueError(f"{options.init} is of the network {start.head}: name it with --network")
        faces = load_faces(options)
        machine = {"device": device, "workers": options.workers}
        trainer = KeypointTrainer(*faces, options.out, start=start, **machine, **settings)
        if options.resume and trainer.resume():
            print(f"resumed after epoch {len(trainer.history)}")
        trainer.fit()
        which = "last epoch" if options.keep else f"best epoch {trainer.best['epoch']}"
        print(f"{which}; wrote {trainer.export()}")
    except (DataError, ImportError, ValueError, OSError) as error:
        print(f"train_keypoints.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
