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
mirror image is as good as the picture; the tool puts it back, `shift` in the file's metadata.
"""

import argparse
import hashlib
import math
import os
import sys
import warnings
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
from face_cache import crops_digest
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
from run_config import DIGITS, RunConfig, versions, weights_digest
from sources import SELECT_BELOW, SPLIT_SEED, TRAIN_BELOW, named_paths, open_source
from training import BaseTrainer

RANGES = 512  # faces that tell the ranges of the maps, for arithmetic in 8-bit integers
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
        content = hashlib.sha256(points.tobytes()).hexdigest()
        path = Path(cache) / f"keypoints-{crops_digest(dataset, detector, self.crop, content)}.npz"
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


@torch.inference_mode()
def find_points(network: nn.Module, faces: Dataset, device: str = "cpu", batch: int = 256) -> np.ndarray:
    """(N, 68, 2) float32 points of all crops, unaugmented, in pixels of the crop."""
    network.to(device).eval()
    return np.concatenate([network(images.to(device)).cpu().numpy() for images, _ in DataLoader(faces, batch)])


class KeypointTrainer(BaseTrainer):
    """Trains epoch by epoch, keeps the best and a checkpoint to go on from: training.py.

    labelled: faces with labels to learn from; others: with pseudo-labels. select: faces as a detector cuts them, on
    which the epoch is chosen. out: the folder of the run. start: a network of the same kind, to be trained further.
    settings: the fields of `KeypointSettings`. workers: processes that augment.

    Attributes: as of `BaseTrainer`; best is the epoch of the least error on `select`.
    Raises ValueError, one line, where the settings make no sense.
    """

    CHOICE = "error"

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
        chosen = KeypointSettings(epochs, **settings)
        train = {"labelled": labelled.digest} | {name: faces.digest for name, faces in others.items()}
        split_ = f"{TRAIN_BELOW} {SELECT_BELOW} seed {SPLIT_SEED}"
        first = weights_digest(start) if start else ""
        config = RunConfig(chosen, train, {"select": select.digest}, split_, start=first, versions=versions([]))
        torch.manual_seed(chosen.seed)
        network = start or make_keypoint_network(chosen.network)
        self.sources = [labelled, *others.values()]
        count = chosen.faces or sum(map(len, self.sources))
        super().__init__(network, config, math.ceil(count / chosen.batch), out, device, chosen.keep)
        self.select, self.workers = select, workers

    def _batches(self, epoch: int) -> DataLoader:
        seed = self.settings.seed * 10_007 + epoch
        generator = torch.Generator().manual_seed(seed)
        shares = [1.0] if len(self.sources) == 1 else [self.settings.share, *self._shares()]
        weights = [
            torch.full((len(faces),), share / len(faces)) for faces, share in zip(self.sources, shares, strict=True)
        ]
        draws = WeightedRandomSampler(torch.cat(weights), self.steps * self.settings.batch, generator=generator)
        faces = ConcatDataset(self.sources)
        torch.manual_seed(seed)
        return DataLoader(faces, self.settings.batch, sampler=draws, num_workers=self.workers, generator=generator)

    def _shares(self) -> np.ndarray:
        """Of each source in what labelled frames leave: as the square root of its size."""
        roots = np.sqrt([len(faces) for faces in self.sources[1:]])
        return (1 - self.settings.share) * roots / roots.sum()

    def _loss(self, images: Tensor, found: Tensor, points: Tensor) -> Tensor:
        """The classic network's is the mean squared error of its scaled points, as in the course."""
        return (
            ((found - points) / 50).square().mean() if self.settings.network == "classic" else wing_loss(found, points)
        )

    def _measure(self) -> dict[str, float]:
        errors = mean_errors(find_points(self.average.module, self.select, self.device), self.select.keypoints)
        return {"error": float(errors.mean())}

    def _words(self, row: dict[str, float]) -> str:
        return f"epoch {row['epoch']}: loss {row['train_loss']:.4f}, error {100 * row['error']:.2f} %"

    def export(self, shift: float = LABEL_SHIFT) -> Path:
        """Write `result` as `keypoints.onnx`, whose path is returned, and draw the curve."""
        network = self.result()
        plot_keypoint_curves(self.history).savefig(self.out / "curve.png", dpi=120)
        header = {"config": self.config.as_dict(), "digest": weights_digest(network)}
        crops = self.select.crops[:RANGES]
        return export_keypoints(network, self.out / "keypoints.onnx", shift, header, crops)


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
    add("--epochs", type=int, default=40, help="more of them extend a run with --resume (default: 40)")
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
    warnings.formatwarning = lambda message, *where: f"train_keypoints.py: {message}\n"
    sys.exit(main())
