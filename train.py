"""How does the network learn?  Joint training over several sources of faces; also a command.

    python train.py --data celeba=PATH meglass=PATH lfw=PATH kaggle=PATH --validate ffhq=PATH
                    [--epochs 60] [--seed 0] [--device auto] [--out runs/glasses] [--resume]
                    [--architecture GlassesCNN]          # or resnet18, squeezenet1_1, ...
                    [--teacher runs/teacher/glasses.safetensors ...]     # distillation, see losses.py
                    [--init runs/other/checkpoint.pt]    # fine-tuning, with fewer epochs and --lr 1e-3
    torchrun --standalone --nproc_per_node 4 train.py ...    # one process a GPU

CelebA keeps its official partition; of the other sources given with --data, one identity in five (or, where
there are none, one face in five) validates. Sources given with --validate are never trained on. In --out:

    glasses.onnx          the best epoch's averaged weights, calibrated, for the tool:
                          python -m glasses predict photo.jpg --model runs/glasses/glasses.onnx
    glasses.safetensors   the same network for torch: evaluate.py, compress.py, --teacher
    checkpoint.pt         all that --resume needs, written after each epoch
    log.csv, curve.png    loss and accuracy of each source, epoch by epoch

--resume goes on from the checkpoint. A run that was cut off ends with the weights that it would have had; with more
--epochs than before it is extended: the cycle of its learning rate is stretched to the new length.
"""

import argparse
import copy
import csv
import hashlib
import itertools
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from augment import eval_transform, train_transform
from calibrate import calibrate
from compress import export_onnx
from data_load import SOURCES, FaceDataset, Label, read_corrections
from detector_architectures import load_detector
from face_cache import CachedFaces
from figures import plot_curves
from find_data import DataError
from glasses.crops import CROP, Crop
from glasses.files import whole_file
from losses import Distillation, glasses_loss
from models import (
    ARCHITECTURES,
    Classifier,
    GlassesCNN,
    architecture_of,
    load_classifier,
    load_weights,
    make_model,
    pick_device,
    read_checkpoint,
    read_network,
    save_weights,
)
from sources import load_sources, named_paths

SMOOTHING = 0.01  # of the labels, see `glasses_loss`


class FaceBatches(Dataset):
    """Crops of several sources as one; an item is a whole batch, augmented: (seed, indices) -> faces, labels."""

    def __init__(self, sources: Sequence[CachedFaces], transform: nn.Module):
        self.sources, self.transform = list(sources), transform
        self.starts = np.cumsum([0] + [len(source) for source in sources])

    def __getitem__(self, item: tuple[int, np.ndarray]) -> tuple[Tensor, Tensor]:
        seed, indices = item
        source = np.searchsorted(self.starts, indices, side="right") - 1
        faces = torch.empty((len(indices), *self.sources[0][0][0].shape), dtype=torch.uint8)
        labels = torch.empty(len(indices), dtype=torch.int64)
        for s in np.unique(source):
            chosen = torch.from_numpy(source == s)
            faces[chosen], labels[chosen] = self.sources[s][indices[source == s] - self.starts[s]]
        with torch.random.fork_rng(devices=[]):  # the batch depends on its seed alone, not on who makes it
            torch.manual_seed(seed)
            return self.transform(faces), labels


class BalancedBatches:
    """Yields (seed, indices) for `FaceBatches`: every source by its weight, in it both classes alike.

    A source weighs as the square root of its size, so that a small one is seen often but not by heart.
    With `world` processes each takes its share of every batch.
    """

    def __init__(self, labels: Sequence[np.ndarray], batch: int, rank: int = 0, world: int = 1):
        self.weights = torch.from_numpy(np.concatenate([self._weights(of_source) for of_source in labels]))
        self.batch, self.rank, self.world = batch, rank, world
        self.seed = 0  # set before each epoch

    @staticmethod
    def _weights(labels: np.ndarray) -> np.ndarray:
        """(N,) how often each face of a source is drawn, relative to all others."""
        glasses = labels != Label.NONE
        with_glasses, without = max(1, glasses.sum()), max(1, (~glasses).sum())
        return np.sqrt(len(labels)) * np.where(glasses, 0.5 / with_glasses, 0.5 / without)

    def __len__(self) -> int:
        return math.ceil(len(self.weights) / self.batch)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.multinomial(self.weights, len(self) * self.batch, replacement=True, generator=generator)
        for step, indices in enumerate(drawn.split(self.batch)):
            yield (self.seed * 1_000_003 + step) * self.world + self.rank, indices[self.rank :: self.world].numpy()


@torch.inference_mode()
def predict_logits(model: nn.Module, faces: CachedFaces, device: str, batch: int = 512) -> Tensor:
    """(N, 3) float32 logits of all crops, unaugmented, on the CPU."""
    model.to(device).eval()
    transform = eval_transform(model.crop)
    parts = (faces[slice(start, start + batch)][0] for start in range(0, len(faces), batch))
    return torch.cat([model(transform(part.to(device))).float().cpu() for part in parts])


def predict_glasses(classifier: Classifier, faces: CachedFaces) -> np.ndarray:
    """(N,) calibrated P(glasses) of all crops."""
    logits = predict_logits(classifier.model, faces, classifier.device)
    return 1 - F.softmax(logits / classifier.temperature, dim=1)[:, 0].numpy()


def validate(model: nn.Module, sources: dict[str, CachedFaces], device: str) -> dict[str, float]:
    """Loss (nats) and accuracy of each source, and "loss", the mean over the sources."""
    result = {}
    for name, faces in sources.items():
        logits, labels = predict_logits(model, faces, device), torch.from_numpy(faces.labels)
        result[f"{name}_loss"] = glasses_loss(logits, labels).item()
        glasses = logits[:, 1:].logsumexp(1) > logits[:, 0]
        result[f"{name}_accuracy"] = (glasses == (labels != Label.NONE)).float().mean().item()
    result["loss"] = float(np.mean([result[f"{name}_loss"] for name in sources]))
    return result


@dataclass(frozen=True)
class Settings:
    """What decides the weights of a run, besides its faces and the networks it is given; its checkpoint keeps them.

    The schedule: epochs; batch, the faces of a step; lr, the highest learning rate of the cycle; seed.
    The task: strength of the augmentation, 0 for none; hints, the weight of the teachers' maps (`Distillation`).
    The network, where none is given: architecture, widths and crop, as `models.make_model` takes them.
    bfloat16: compute in numbers of 16 bits; on CUDA without it in float16.
    """

    epochs: int = 60
    batch: int = 256
    lr: float = 4e-3
    seed: int = 0
    strength: float = 1.0
    hints: float = 1.0
    architecture: str = "GlassesCNN"
    widths: Sequence[int] | None = None
    crop: Crop = CROP
    bfloat16: bool = False


class Learner:
    """How does one batch change the weights?  The network, its moving average, AdamW and one cycle of its rate.

    steps: of the whole run, over which the cycle goes.
    """

    PARTS = ("model", "average", "optimizer", "schedule", "scaler")  # those with a state

    def __init__(self, network: nn.Module, settings: Settings, steps: int, device: str):
        self.device, self.device_type = device, device.split(":")[0]
        self.lr, self.steps = settings.lr, steps
        self.model = network.to(device, memory_format=torch.channels_last)  # 1.5 times faster, also on a CPU
        decay = get_ema_multi_avg_fn(min(0.999, 1 - 10 / max(20, steps)))
        self.average = AveragedModel(self.model, multi_avg_fn=decay, use_buffers=True)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.lr, weight_decay=0.02)
        self.schedule = self._one_cycle()
        dtype = torch.bfloat16 if settings.bfloat16 else torch.float16  # of less range: it needs the scaler
        on_cuda = self.device_type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=dtype == torch.float16 and on_cuda)
        self.autocast = {"dtype": dtype, "enabled": settings.bfloat16 or on_cuda}
        several = dist.is_initialized() and dist.get_world_size() > 1
        self.trained = DistributedDataParallel(self.model) if several else self.model  # which shares the parameters

    def _one_cycle(self, done: int = 0) -> OneCycleLR:
        return OneCycleLR(self.optimizer, self.lr, total_steps=self.steps, pct_start=0.15, last_epoch=done - 1)

    def step(self, faces: Tensor, labels: Tensor, loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Learn from one batch, (B, 3, H, W) float32 and (B,); returns its `loss` of faces, logits and labels."""
        faces = faces.to(self.device, non_blocking=True, memory_format=torch.channels_last)
        labels = labels.to(self.device, non_blocking=True)
        with torch.autocast(self.device_type, **self.autocast):
            value = loss(faces, self.trained(faces).float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(value).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        self.average.update_parameters(self.model)
        return value.detach()

    def state_dict(self) -> dict[str, dict]:
        """By the names of PARTS."""
        return {name: getattr(self, name).state_dict() for name in self.PARTS}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        """Go on from `state_dict`. If that was of fewer steps the cycle of the rate is stretched to `steps`."""
        for name in self.PARTS:
            getattr(self, name).load_state_dict(state[name])
        if self.schedule.total_steps != self.steps:
            self.schedule = self._one_cycle(self.schedule.last_epoch)


class Trainer:
    """How does a run go from epoch to epoch?  Trains, validates, keeps the best epoch, and a checkpoint to go on from.

    train, validation: cached faces by source, to learn from and to be judged on. out: the folder of the run.
    settings: the other fields of `Settings`. network: one that exists already, to be trained further, and keep: the
    share of its weights in the exported ones. teachers: trained networks whose answers are learned too.
    device, workers: where it computes, and how many processes augment.

    A run on the CPU with the same arguments gives the same weights bit for bit, also when it was killed and resumed in
    between. Attributes: history, a row an epoch; best, the epoch of the least validation loss and its state.
    """

    def __init__(
        self,
        train: dict[str, CachedFaces],
        validation: dict[str, CachedFaces],
        out: str | os.PathLike,
        epochs: int = 60,
        *,
        network: nn.Module | None = None,
        keep: float = 0.0,
        teachers: Sequence[nn.Module] = (),
        device: str = "cpu",
        workers: int = 1,
        **settings,
    ):
        wanted = Settings(epochs, **settings)
        torch.manual_seed(wanted.seed)
        if network is None:
            network = make_model(wanted.architecture, wanted.crop, wanted.widths)
        widths = getattr(network, "widths", None)
        self.settings = replace(wanted, architecture=architecture_of(network), widths=widths, crop=network.crop)
        self.validation, self.out, self.device = validation, Path(out), device
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        labels = [faces.labels for faces in train.values()]
        self.sampler = BalancedBatches(labels, self.settings.batch, self.rank, self.world)
        self.loader = DataLoader(
            FaceBatches(list(train.values()), train_transform(self.settings.crop, self.settings.strength)),
            sampler=self.sampler,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.startswith("cuda"),
        )
        names_and_labels = b"".join(name.encode() + faces.labels.tobytes() for name, faces in train.items())
        self.labels_digest = hashlib.sha256(names_and_labels).hexdigest()
        self.learner = Learner(network, self.settings, epochs * len(self.sampler), device)
        self.keep, self.first = keep, copy.deepcopy(network.state_dict()) if keep else {}
        self.teachers = [teacher.to(device) for teacher in teachers]
        self.history: list[dict[str, float]] = []
        self.best: dict = {"loss": math.inf, "state": None}

    @property
    def average(self) -> AveragedModel:
        """The moving average of the weights: what is validated and exported; its network is `average.module`."""
        return self.learner.average

    @property
    def checkpoint(self) -> Path:
        """The file that `resume` reads."""
        return self.out / "checkpoint.pt"

    def fit(self, report: Callable[[list[dict[str, float]]], None] | None = None) -> dict[str, float]:
        """Train the epochs that are left; returns the last row of the history.

        report: called with the history after each epoch; without it each epoch prints a line.
        """
        epochs, steps = self.settings.epochs, len(self.sampler)
        bar = tqdm(total=epochs * steps, initial=len(self.history) * steps, disable=None if self.rank == 0 else True)
        with bar, self._loss() as loss:
            for epoch in range(len(self.history), epochs):
                train_loss = self._epoch(epoch, loss, bar)
                row = {"epoch": epoch + 1, "train_loss": train_loss, "lr": self.learner.schedule.get_last_lr()[0]}
                row |= validate(self.average.module, self.validation, self.device)
                self.history.append(row)
                if row["loss"] < self.best["loss"]:
                    state = {key: value.cpu().clone() for key, value in self.average.module.state_dict().items()}
                    self.best = {"loss": row["loss"], "epoch": epoch + 1, "state": state}
                if self.rank == 0:
                    self.save()
                    report(self.history) if report else bar.write(_summary(row, self.validation))
        return self.history[-1]

    def _loss(self) -> AbstractContextManager[Callable[[Tensor, Tensor, Tensor], Tensor]]:
        """The loss of (faces, logits, labels), for a `with` statement."""
        if self.teachers:
            return Distillation(self.learner.model, self.teachers, self.settings.hints, SMOOTHING)
        return nullcontext(lambda faces, logits, labels: glasses_loss(logits, labels, SMOOTHING))

    def _epoch(self, epoch: int, loss: Callable[[Tensor, Tensor, Tensor], Tensor], bar: tqdm) -> float:
        """Train one epoch; returns the mean of its losses."""
        # Each epoch has its own seed, so that a resumed run needs no random state from the last one.
        self.sampler.seed = self.settings.seed * 10_007 + epoch
        torch.manual_seed(self.sampler.seed * self.world + self.rank)
        self.learner.model.train()
        losses = []
        for faces, labels in self.loader:
            losses.append(self.learner.step(faces, labels, loss))
            bar.update()
            if len(losses) % 10 == 0:
                bar.set_postfix(epoch=epoch + 1, loss=f"{torch.stack(losses[-10:]).mean().item():.4f}", refresh=False)
        return torch.stack(losses).mean().item()

    def save(self) -> None:
        """Write the checkpoint and the log, each whole or not at all."""
        state = {"settings": self._all_settings(), "history": self.history, "best": self.best}
        with whole_file(self.checkpoint) as partial:
            torch.save({**self.learner.state_dict(), **state}, partial)
        with whole_file(self.out / "log.csv") as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)

    def _all_settings(self) -> dict:
        """`settings`, and what else must be the same for a run to be resumed, in plain types."""
        others = {"world": self.world, "teachers": len(self.teachers), "labels": self.labels_digest}
        return {**asdict(self.settings), "crop": list(self.settings.crop), **others}

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`; False where there is none.

        Where it is of fewer epochs the run is extended and a line says so: the cycle of the learning rate is stretched
        to the new length, and the rate goes on with what the longer cycle has at that epoch.
        Raises ValueError where the checkpoint belongs to a run of more epochs, other settings or other data.
        """
        if not self.checkpoint.is_file():
            return False
        state = read_checkpoint(self.checkpoint, self.device)
        before = state["settings"]
        differing = [key for key, value in self._all_settings().items() if before.get(key) != value]
        if extended := before.get("epochs", math.inf) < self.settings.epochs:
            differing.remove("epochs")
        if differing:
            differ = ", ".join(differing)
            raise ValueError(f"{self.checkpoint} is of another run: its {differ} differ; choose another --out")
        self.learner.load_state_dict(state)
        self.history, self.best = state["history"], state["best"]
        if extended and self.rank == 0:
            lengths = f"from {before['epochs']} to {self.settings.epochs} epochs"
            print(f"extended {lengths}: the cycle of the learning rate is stretched to the new length")
        return True

    def export(self) -> Path:
        """Calibrate the best epoch's average, write it as `glasses.safetensors` and `glasses.onnx`, draw the curve.

        With `keep` it is the last epoch's, averaged with the first weights: fine-tuned networks so keep what they knew
        (Wortsman et al.: "Robust fine-tuning of zero-shot models", CVPR 2022). Returns the path of the weights.
        Raises ValueError where no epoch had a validation loss that is a number.
        """
        network = self.average.module
        if self.keep:
            for key, value in network.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(self.first[key].to(value), self.keep)
        elif self.best["state"] is None:
            raise ValueError(f"{self.out}: the loss was no number in any epoch; train with a lower --lr")
        else:
            network.load_state_dict(self.best["state"])
        plot_curves(self.history, self.settings.epochs).savefig(self.out / "curve.png", dpi=120)
        return export_network(network, self.validation, self.out, self.device)


def export_network(
    network: nn.Module, validation: dict[str, CachedFaces], folder: str | os.PathLike, device: str = "cpu"
) -> Path:
    """Calibrate `network` on the validation faces and write it as `glasses.safetensors`, whose path is returned.

    Beside it the same network is written as `glasses.onnx`; where packages for that are missing a line says which.
    """
    logits = [predict_logits(network, faces, device) for faces in validation.values()]
    labels = [torch.from_numpy(faces.labels) for faces in validation.values()]
    temperature, threshold = calibrate(logits, labels)
    path = Path(folder) / "glasses.safetensors"
    onnx = path.with_suffix(".onnx")
    onnx.unlink(missing_ok=True)  # one of an earlier export must not pass for this network
    save_weights(network, path, temperature=temperature, threshold=threshold)
    try:
        export_onnx(load_classifier(path, "cpu"), onnx, "int8")
    except ImportError as error:
        print(f"no {onnx}, which the tool would read: {error}")
    return path


def fit_network(
    train: dict[str, CachedFaces], validation: dict[str, CachedFaces], out: str | os.PathLike, **options
) -> nn.Module:
    """The averaged network after the last epoch of a `Trainer` that has these sources and options.

    Unlike `Trainer.export` it takes no epoch that the validation faces chose: their accuracy is not flattered.
    """
    trainer = Trainer(train, validation, out, **options)
    trainer.fit(report=lambda history: None)
    return trainer.average.module.eval()


def find_run(name: str = "course") -> Path | None:
    """The folder of a finished run: `runs/<name>` here, or in the output of another notebook attached on Kaggle."""
    mounts = Path(os.environ.get("KAGGLE_ROOT", "/kaggle")) / "input"
    places = [Path("runs") / name, *mounts.glob(f"*/runs/{name}"), *mounts.glob(f"notebooks/*/*/runs/{name}")]
    return next((place for place in places if (place / "glasses.safetensors").is_file()), None)


def lr_range_test(loader: DataLoader, rates: Sequence[float], device: str = "cpu", seed: int = 0) -> list[float]:
    """Loss (nats) of a fresh `GlassesCNN` as the learning rate rises, a batch each: Smith, WACV 2017.

    The best highest rate is a little below the one where the loss is least. The loader repeats where it ends.
    """
    torch.manual_seed(seed)
    model = GlassesCNN().to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    losses = []
    for rate, (faces, labels) in zip(rates, batches, strict=False):
        optimizer.param_groups[0]["lr"] = rate
        loss = glasses_loss(model(faces.to(device, memory_format=torch.channels_last)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _summary(row: dict[str, float], sources) -> str:
    accuracies = "  ".join(f"{name} {100 * row[f'{name}_accuracy']:.2f} %" for name in sources)
    return f"epoch {row['epoch']}: train loss {row['train_loss']:.4f}, validation {row['loss']:.4f}  {accuracies}"


# ------------------------------------------------------------------------------------------ the command line


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 and one line where it is wrong."""
    parser = argparse.ArgumentParser(prog="train.py", description=__doc__.split("\n")[0])
    add = parser.add_argument_group("faces").add_argument
    add("--data", nargs="+", required=True, metavar="SOURCE=PATH", help=f"to train on: of {', '.join(SOURCES)}")
    add("--validate", nargs="+", default=[], metavar="SOURCE=PATH", help="never trained on")
    add("--corrections", type=Path, metavar="FILE", help="table of source, file, kind: labels known to be wrong")
    add("--skip-bad", action="store_true", help="leave out faces that are missing, unreadable or of unknown label")
    add("--cache", type=Path, default=Path(".cache"), help="folder for the crops (default: .cache)")
    add = parser.add_argument_group("schedule").add_argument
    add("--epochs", type=int, default=60, help="more of them extend a run with --resume (default: 60)")
    add("--batch", type=int, default=256, help="faces of a step (default: 256)")
    add("--lr", type=float, default=4e-3, help="the highest learning rate of the cycle (default: 0.004)")
    add("--seed", type=int, default=0)
    add = parser.add_argument_group("network").add_argument
    add("--architecture", choices=ARCHITECTURES, help="(default: GlassesCNN)")
    add("--widths", type=int, nargs=6, metavar="N", help="channels of GlassesCNN's six convolutions")
    add("--init", type=Path, metavar="FILE", help="start from the best weights of this checkpoint.pt: fine-tuning")
    add("--keep", type=float, default=0.0, help="share of the weights of --init in the exported ones")
    add("--teacher", type=Path, nargs="+", default=[], metavar="FILE", help=".safetensors to learn from")
    add("--hints", type=float, default=1.0, help="weight of the teachers' maps in the loss (default: 1)")
    add = parser.add_argument_group("machine").add_argument
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add("--bfloat16", action="store_true", help="2 to 3 times faster where the processor has it")
    add("--workers", type=int, default=min(8, (os.cpu_count() or 2) // 2), help="processes that augment")
    add = parser.add_argument_group("run").add_argument
    add("--out", type=Path, default=Path("runs/glasses"), help="folder of the run (default: runs/glasses)")
    add("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    options = parser.parse_args(arguments)
    if min(options.epochs, options.batch) < 1:
        parser.error("--epochs and --batch must be at least 1")
    if options.init and (options.architecture or options.widths):
        parser.error("--init brings its own network: leave --architecture and --widths out")
    return options


def join_processes(device: str) -> str:
    """The device of this process; one of several that torchrun started joins the others."""
    if "LOCAL_RANK" not in os.environ:
        return device
    cuda = device.startswith("cuda")
    dist.init_process_group("nccl" if cuda else "gloo")
    return f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"


def load_faces(options: argparse.Namespace) -> tuple[dict[str, CachedFaces], dict[str, CachedFaces]]:
    """The faces to train on and to validate on, by source, each source described in a line."""
    corrections = read_corrections(options.corrections) if options.corrections else None
    given = named_paths(options.data), named_paths(options.validate)
    train, validation = load_sources(*given, corrections, strict=not options.skip_bad)
    for name, dataset in train.items():
        print(f"train {name}: {dataset!r}")
        _warn_of_one_class(dataset)
    for name, dataset in validation.items():
        print(f"validate {name}: {dataset!r}")
    detector = load_detector("auto")

    parts = (train, validation)
    return tuple({name: CachedFaces(data, detector, options.cache) for name, data in part.items()} for part in parts)


def _warn_of_one_class(dataset: FaceDataset) -> None:
    worn = dataset.labels != Label.NONE
    if worn.all() or not worn.any():
        which = "every face wears glasses" if worn.all() else "no face wears glasses"
        print(f"train.py: {dataset.source}: {which}: the network may learn to tell the source instead", file=sys.stderr)


def make_trainer(options: argparse.Namespace, device: str) -> Trainer:
    """The run that the command line asks for. The networks are read first: they are quicker to be wrong than faces."""
    network = read_network(options.init) if options.init else None
    teachers = [load_weights(file)[0] for file in options.teacher]
    return Trainer(
        *load_faces(options),
        options.out,
        options.epochs,
        network=network,
        keep=options.keep,
        teachers=teachers,
        device=device,
        workers=options.workers,
        architecture=options.architecture or "GlassesCNN",
        **{name: getattr(options, name) for name in ("batch", "lr", "seed", "hints", "widths", "bfloat16")},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        device = join_processes(pick_device(options.device))
        torch.use_deterministic_algorithms(device == "cpu")  # on a GPU they cost speed, and some do not exist
        trainer = make_trainer(options, device)
        if options.resume and trainer.resume():
            print(f"resumed after epoch {len(trainer.history)}")
        trainer.fit()
        if trainer.rank == 0:
            path = trainer.export()
            which = "last epoch" if options.keep else f"best epoch {trainer.best['epoch']}"
            print(f"{which}; wrote {path}")
    except (DataError, ValueError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *where: f"train.py: {message}\n"
    sys.exit(main())
