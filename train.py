"""How does the network learn?  Joint training over several sources of faces; also a command.

    python train.py --data celeba=PATH meglass=PATH lfw=PATH kaggle=PATH --validate ffhq=PATH
                    [--epochs 60] [--seed 0] [--device auto] [--out runs/glasses] [--resume]
                    [--architecture GlassesCNN]          # or resnet18, squeezenet1_1, ...
                    [--teacher runs/teacher/glasses.safetensors ...]     # distillation, see losses.py
                    [--init runs/other/checkpoint.pt]    # fine-tuning, with fewer epochs and --lr 1e-3
    torchrun --standalone --nproc_per_node 4 train.py ...    # one process a GPU

CelebA keeps its official partition; of the other sources given with --data, one identity in five (or, where
there are none, one face in five) validates. Sources given with --validate are never trained on. In --out:

    glasses.safetensors   the best epoch's averaged weights, calibrated: what predict.py reads
    checkpoint.pt         all that --resume needs, written after each epoch
    log.csv, curve.png    loss and accuracy of each source, epoch by epoch
"""

import argparse
import copy
import csv
import hashlib
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from augment import eval_transform, train_transform
from data_load import SOURCES, Label, load_sources, named_paths, read_corrections
from detector_architectures import load_detector
from face_cache import CachedFaces
from figures import plot_curves
from find_data import DataError
from glasses.crops import CROP
from losses import Distillation, glasses_loss
from models import (
    ARCHITECTURES,
    Classifier,
    GlassesCNN,
    architecture_of,
    load_weights,
    make_model,
    pick_device,
    read_checkpoint,
    read_network,
    save_weights,
)

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
        glasses = [of_source != Label.NONE for of_source in labels]
        weights = [
            np.sqrt(len(mask)) * np.where(mask, 0.5 / max(1, mask.sum()), 0.5 / max(1, (~mask).sum()))
            for mask in glasses
        ]
        self.weights = torch.from_numpy(np.concatenate(weights))
        self.batch, self.rank, self.world = batch, rank, world
        self.seed = 0  # set before each epoch

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


def calibrate(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[float, float]:
    """Temperature and threshold from validation logits, a tensor a source, each source weighing the same.

    The temperature minimises the loss (Guo et al.: "On Calibration of Modern Neural Networks", ICML 2017); the
    threshold is the one of the highest mean accuracy, of equal ones the nearest to 0.5.
    """
    grid = np.geomspace(0.25, 4, 121)
    pairs = list(zip(logits, labels, strict=True))
    temperature = min(grid, key=lambda t: np.mean([glasses_loss(z / t, y).item() for z, y in pairs]))
    found = [(1 - F.softmax(z / temperature, dim=1)[:, 0], y != Label.NONE) for z, y in pairs]

    def score(threshold: float) -> tuple[float, float]:
        accuracy = np.mean([((p >= threshold) == y).float().mean().item() for p, y in found])
        return round(float(accuracy), 6), -abs(threshold - 0.5)

    return float(round(temperature, 4)), max((round(t, 2) for t in np.arange(0.2, 0.81, 0.01)), key=score)


class Trainer:
    """Everything a run holds: model, average, optimiser, schedule, history; saved and loaded as one.

    train, validation: cached faces by source. strength: of the augmentation, 0 for none. architecture: one of
    `models.ARCHITECTURES`, with the widths of `models.make_model`; network: one that exists already, to be trained
    further. teachers: trained networks whose answers are learned too, and hints: with what weight their maps
    (`losses.Distillation`). keep: the share of the first weights in the exported ones. bfloat16: compute in numbers of
    16 bits; on CUDA without it in float16. A run on the CPU with the same arguments gives the same weights bit for bit,
    also when it was killed and resumed in between.
    """

    def __init__(
        self,
        train,
        validation,
        out,
        epochs=60,
        seed=0,
        device="cpu",
        batch=256,
        lr=4e-3,
        workers=1,
        crop=CROP,
        strength=1.0,
        architecture="GlassesCNN",
        widths: Sequence[int] | None = None,
        network: nn.Module | None = None,
        teachers: Sequence[nn.Module] = (),
        hints=1.0,
        keep=0.0,
        bfloat16=False,
    ):
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.validation, self.out, self.device = validation, Path(out), device
        self.epochs, self.seed = epochs, seed
        labels = b"".join(name.encode() + faces.labels.tobytes() for name, faces in train.items())
        self.run = {"epochs": epochs, "seed": seed, "batch": batch, "lr": lr, "crop": list(crop), "world": self.world}
        torch.manual_seed(seed)
        network = make_model(architecture, crop, widths) if network is None else network
        self.model = network.to(device, memory_format=torch.channels_last)  # 1.5 times faster, also on a CPU
        self.keep, self.first = keep, copy.deepcopy(network.state_dict()) if keep else {}
        self.run |= {"strength": strength, "bfloat16": bfloat16, "teachers": len(teachers), "hints": hints}
        self.run |= {"architecture": architecture_of(network), "widths": getattr(network, "widths", None)}
        self.run["labels"] = hashlib.sha256(labels).hexdigest()
        self.sampler = BalancedBatches([faces.labels for faces in train.values()], batch, self.rank, self.world)
        self.loader = DataLoader(
            FaceBatches(list(train.values()), train_transform(crop, strength)),
            sampler=self.sampler,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.startswith("cuda"),
        )
        steps = epochs * len(self.sampler)
        decay = get_ema_multi_avg_fn(min(0.999, 1 - 10 / max(20, steps)))
        self.average = AveragedModel(self.model, multi_avg_fn=decay, use_buffers=True)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=0.02)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, lr, total_steps=steps, pct_start=0.15)
        self.kind = device.split(":")[0]
        half = torch.bfloat16 if bfloat16 else torch.float16  # of less range: it needs the scaler
        self.scaler = torch.amp.GradScaler(self.kind, enabled=half == torch.float16 and self.kind == "cuda")
        self.autocast = {"dtype": half, "enabled": bfloat16 or self.kind == "cuda"}
        self.history: list[dict[str, float]] = []
        self.best: dict = {"loss": math.inf, "state": None}
        self.trained = self.model  # DDP's wrapper shares the parameters
        if self.world > 1:
            self.trained = DistributedDataParallel(self.model)
        self.loss = lambda faces, logits, labels: glasses_loss(logits, labels, SMOOTHING)
        if teachers:  # it listens to self.model: the average, a copy, must have been made before
            self.loss = Distillation(self.model, [one.to(device) for one in teachers], hints, SMOOTHING)

    @property
    def checkpoint(self) -> Path:
        """The file that `resume` reads."""
        return self.out / "checkpoint.pt"

    def fit(self, report: Callable[[list[dict[str, float]]], None] | None = None) -> dict[str, float]:
        """Train the epochs that are left; returns the last row of the history.

        report: called with the history after each epoch; without it each epoch prints a line.
        """
        total = self.epochs * len(self.sampler)
        done = len(self.history) * len(self.sampler)
        with tqdm(total=total, initial=done, disable=None if self.rank == 0 else True) as bar:
            for epoch in range(len(self.history), self.epochs):
                row = {"epoch": epoch + 1, "train_loss": self._epoch(epoch, bar), "lr": self.schedule.get_last_lr()[0]}
                row |= validate(self.average.module, self.validation, self.device)
                self.history.append(row)
                if row["loss"] < self.best["loss"]:
                    state = {key: value.cpu().clone() for key, value in self.average.module.state_dict().items()}
                    self.best = {"loss": row["loss"], "epoch": epoch + 1, "state": state}
                if self.rank == 0:
                    self.save()
                    report(self.history) if report else bar.write(_summary(row, self.validation))
        return self.history[-1]

    def _epoch(self, epoch: int, bar: tqdm) -> float:
        # Each epoch has its own seed, so that a resumed run needs no random state from the last one.
        self.sampler.seed = self.seed * 10_007 + epoch
        torch.manual_seed(self.sampler.seed * self.world + self.rank)
        self.model.train()
        losses = []
        for faces, labels in self.loader:
            faces = faces.to(self.device, non_blocking=True, memory_format=torch.channels_last)
            labels = labels.to(self.device, non_blocking=True)
            with torch.autocast(self.kind, **self.autocast):
                loss = self.loss(faces, self.trained(faces).float(), labels)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.schedule.step()
            self.average.update_parameters(self.model)
            losses.append(loss.detach())
            bar.update()
            if len(losses) % 10 == 0:
                bar.set_postfix(epoch=epoch + 1, loss=f"{torch.stack(losses[-10:]).mean().item():.4f}", refresh=False)
        return torch.stack(losses).mean().item()

    def save(self) -> None:
        """Write the checkpoint and the log, each whole or not at all."""
        self.out.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".part")
        torch.save({**{key: part.state_dict() for key, part in self._parts()}, **self._plain()}, partial)
        os.replace(partial, self.checkpoint)
        partial = self.out / "log.csv.part"
        with open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)
        os.replace(partial, self.out / "log.csv")

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`; False where there is none.

        Raises ValueError where it belongs to a run with other arguments or other data.
        """
        if not self.checkpoint.is_file():
            return False
        state = read_checkpoint(self.checkpoint, self.device)
        if other := [key for key, value in self.run.items() if state["run"].get(key) != value]:
            raise ValueError(
                f"{self.checkpoint} is of another run: its {', '.join(other)} differ; choose another --out"
            )
        for key, part in self._parts():
            part.load_state_dict(state[key])
        self.history, self.best = state["history"], state["best"]
        return True

    def _parts(self) -> list[tuple[str, object]]:
        names = ("model", "average", "optimizer", "schedule", "scaler")
        return [(name, getattr(self, name)) for name in names]

    def _plain(self) -> dict:
        return {"run": self.run, "history": self.history, "best": self.best}

    def export(self) -> Path:
        """Calibrate the best epoch's average and write it as `glasses.safetensors`; draw the curve.

        With `keep` it is the last epoch's, averaged with the first weights: fine-tuned networks so keep what they knew
        (Wortsman et al.: "Robust fine-tuning of zero-shot models", CVPR 2022).
        """
        if self.keep:
            for key, value in self.average.module.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(self.first[key].to(value), self.keep)
        else:
            self.average.module.load_state_dict(self.best["state"])
        logits = [predict_logits(self.average.module, faces, self.device) for faces in self.validation.values()]
        labels = [torch.from_numpy(faces.labels) for faces in self.validation.values()]
        temperature, threshold = calibrate(logits, labels)
        path = self.out / "glasses.safetensors"
        save_weights(self.average.module, path, temperature=temperature, threshold=threshold)
        plot_curves(self.history, self.epochs).savefig(self.out / "curve.png", dpi=120)
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="train.py", description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[], metavar="SOURCE=PATH", help=f"of {', '.join(SOURCES)}")
    parser.add_argument("--validate", nargs="+", default=[], metavar="SOURCE=PATH", help="never trained on")
    parser.add_argument("--corrections", type=Path, help="CSV of file, kind: labels known to be wrong")
    parser.add_argument("--out", type=Path, default=Path("runs/glasses"))
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder for the cropped faces")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=4e-3, help="the highest learning rate of the cycle")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--workers", type=int, default=min(8, (os.cpu_count() or 2) // 2), help="that augment")
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="(default: GlassesCNN)")
    parser.add_argument("--widths", type=int, nargs=6, metavar="N", help="channels of GlassesCNN's six convolutions")
    parser.add_argument("--teacher", type=Path, nargs="+", default=[], metavar="FILE", help="weights to learn from")
    parser.add_argument("--hints", type=float, default=1.0, help="weight of the teacher's maps in the loss")
    parser.add_argument("--bfloat16", action="store_true", help="2 to 3 times faster where the processor has it")
    parser.add_argument("--init", type=Path, help="start from the best weights of this checkpoint.pt: fine-tuning")
    parser.add_argument("--keep", type=float, default=0.0, help="share of the weights of --init in the exported ones")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    options = parser.parse_args(arguments)
    if not options.data:
        parser.error("--data is needed, as --data meglass=PATH celeba=PATH")
    if options.init and (options.architecture or options.widths):
        parser.error("--init brings its own network: leave --architecture and --widths out")
    if "LOCAL_RANK" in os.environ:  # started by torchrun
        cuda = torch.cuda.is_available() and options.device != "cpu"
        dist.init_process_group("nccl" if cuda else "gloo")
        options.device = f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"
    try:
        corrections = read_corrections(options.corrections) if options.corrections else None
        train, validation = load_sources(named_paths(options.data), named_paths(options.validate), corrections)
        detector = load_detector("auto")
        cached = [{n: CachedFaces(d, detector, options.cache) for n, d in part.items()} for part in (train, validation)]
        for name, dataset in itertools.chain(train.items(), validation.items()):
            print(f"{'train' if dataset is train.get(name) else 'validate'} {name}: {dataset!r}")
        device = pick_device(options.device)
        torch.use_deterministic_algorithms(device == "cpu")  # on a GPU they cost speed, and some do not exist
        trainer = Trainer(
            *cached,
            options.out,
            epochs=options.epochs,
            seed=options.seed,
            device=device,
            batch=options.batch,
            lr=options.lr,
            workers=options.workers,
            architecture=options.architecture or "GlassesCNN",
            widths=options.widths,
            network=read_network(options.init) if options.init else None,
            teachers=[load_weights(file)[0] for file in options.teacher],
            hints=options.hints,
            keep=options.keep,
            bfloat16=options.bfloat16,
        )
        if options.resume and trainer.resume():
            print(f"resumed after epoch {len(trainer.history)}")
        trainer.fit()
        if trainer.rank == 0:
            which = "last epoch" if options.keep else f"best epoch {trainer.best['epoch']}"
            print(f"{which}; wrote {trainer.export()}")
    except (DataError, ValueError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
