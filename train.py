"""How does the network learn?  Joint training over several sources of faces; also a command.

    python train.py --data celeba=PATH meglass=PATH lfw=PATH kaggle=PATH [--validate ffhq=PATH] [--donors folder]
                    [--epochs 60] [--seed 0] [--device auto] [--out runs/glasses] [--resume]
                    [--architecture GlassesCNN]          # or resnet18, squeezenet1_1, ...
                    [--teacher runs/teacher/glasses.safetensors ...]     # distillation, see losses.py
                    [--init runs/other/checkpoint.pt]    # fine-tuning, with fewer epochs and --lr 1e-3
    torchrun --standalone --nproc_per_node 4 train.py ...    # one process a GPU

The sources given with --data are dealt to three parts, sources.py: the weights learn from `train`; epoch, temperature
and threshold are chosen on `select`; `report`, and sources given with --validate, are for evaluate.py, and none of
their pictures is opened here. In --out:

    glasses.onnx          the best epoch's averaged weights, calibrated, for the tool:
                          python -m glasses predict photo.jpg --model runs/glasses/glasses.onnx
    glasses.safetensors   the same network for torch: evaluate.py, compress.py, --teacher
    checkpoint.pt         all that --resume needs, written after each epoch
    log.csv, curve.png    loss and accuracy of each source, epoch by epoch
    config.json           all that decided the weights, run_config.py; the other files hold it too

--resume goes on from the checkpoint of the same run. One that was cut off ends with the weights that it would have had;
with more --epochs than before it is extended: the cycle of its learning rate is stretched to the new length.
"""

import argparse
import itertools
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from augment import eval_transform, train_transform
from calibrate import calibrate
from compress import export_onnx
from data_load import SOURCES, FaceDataset, Label, Nobody, Rendered, read_corrections
from detector_architectures import load_detector
from face_cache import BalancedBatches, CachedFaces, FaceBatches
from figures import plot_curves
from find_data import DataError
from glasses.crops import KINDS
from losses import Distillation, glasses_loss, log_likelihoods
from models import (
    ARCHITECTURES,
    Classifier,
    GlassesCNN,
    architecture_of,
    load_classifier,
    load_weights,
    make_model,
    pick_device,
    probabilities,
    read_network,
    save_weights,
)
from run_config import (
    RunConfig,
    Settings,
    check_corrections,
    corrections_digest,
    digests,
    split_digest,
    versions,
    weights_digest,
)
from sources import about_glasses, load_sources, named_paths
from training import BaseTrainer

SMOOTHING = 0.01  # of the labels, see `glasses_loss`
MOST_DONORS = 2000  # masked faces that lend others their masks, 41 KB each


def predict_logits(model: nn.Module, faces: CachedFaces, device: str) -> Tensor:
    """(N, 3) float32 logits of the kinds of eyewear on all crops, unaugmented, on the CPU."""
    return predict_outputs(model, faces, device)[:, : len(KINDS)]


@torch.inference_mode()
def predict_outputs(model: nn.Module, faces: CachedFaces, device: str, batch: int = 512) -> Tensor:
    """(N, 4) float32 logits, those of `predict_logits` and that of a face."""
    model.to(device).eval()
    transform = eval_transform(model.crop)
    parts = (faces[slice(start, start + batch)][0] for start in range(0, len(faces), batch))
    return torch.cat([model(transform(part.to(device))).float().cpu() for part in parts])


def predict_glasses(classifier: Classifier, faces: CachedFaces) -> np.ndarray:
    """(N,) calibrated P(glasses) of all crops."""
    logits = predict_outputs(classifier.model, faces, classifier.device)
    return 1 - probabilities(logits, classifier.temperature)[:, 0].numpy()


def validate(model: nn.Module, sources: dict[str, CachedFaces], device: str) -> dict[str, float]:
    """Loss (nats) and accuracy of each source, and "loss", the mean over the sources.

    Right is a face of which the network says whether it wears glasses, and what is no face if it says so.
    """
    result = {}
    for name, faces in sources.items():
        logits, labels = predict_outputs(model, faces, device), torch.from_numpy(faces.labels)
        result[f"{name}_loss"] = glasses_loss(logits, labels).item()
        log_p = log_likelihoods(logits)
        glasses = log_p[:, Label.UNKNOWN_KIND] > log_p[:, Label.NONE]
        right = torch.where(labels == Label.NOBODY, logits[:, -1] < 0, glasses == (labels != Label.NONE))
        result[f"{name}_accuracy"] = right.float().mean().item()
    result["loss"] = float(np.mean([result[f"{name}_loss"] for name in sources]))
    return result


def _donors(train: dict[str, CachedFaces], source: str) -> Tensor | None:
    """(D, 3, 96, 144) uint8: bare faces of a source, MOST_DONORS at most.

    ValueError where it is none of `train`, or all of its faces wear glasses.
    """
    if not source:
        return None
    if source not in train:
        raise ValueError(f"the donors {source!r} are no source that is trained on: {', '.join(train)}")
    bare = np.flatnonzero(train[source].labels == Label.NONE)[:MOST_DONORS]
    if not len(bare):
        raise ValueError(f"the donors {source!r} have no face without glasses: name another source")
    return train[source][bare][0]


class Trainer(BaseTrainer):
    """Trains on several sources of faces at once, keeps the best epoch, and a checkpoint to go on from: training.py.

    train, select: cached faces by source, to learn from, and to choose the epoch and calibrate on. out: the folder of
    the run. settings: the other fields of `Settings`. network: one that exists already, to be trained further.
    teachers: trained networks whose answers are learned too. split, corrections: as of `RunConfig`.
    device, workers: where it computes, and how many processes augment.

    A run on the CPU with the same arguments gives the same weights bit for bit, also when it was killed and resumed in
    between. Attributes: as of `BaseTrainer`; best is the epoch of the least loss on `select`.
    Raises ValueError, one line, where the settings make no sense.
    """

    def __init__(
        self,
        train: dict[str, CachedFaces],
        select: dict[str, CachedFaces],
        out: str | os.PathLike,
        epochs: int = 60,
        *,
        network: nn.Module | None = None,
        teachers: Sequence[nn.Module] = (),
        split: str = "",
        corrections: str = "",
        device: str = "cpu",
        workers: int = 1,
        **settings,
    ):
        wanted = Settings(epochs, **settings)
        torch.manual_seed(wanted.seed)
        start = weights_digest(network) if network else ""
        if network is None:
            network = make_model(wanted.architecture, wanted.crop, wanted.widths)
        is_now = {"architecture": architecture_of(network), "widths": getattr(network, "widths", None)}
        if teachers and wanted.hints is None:
            is_now["hints"] = 1.0
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        chosen = replace(wanted, crop=network.crop, **is_now)
        config = RunConfig(
            chosen,
            digests(train),
            digests(select),
            split,
            corrections,
            start,
            [weights_digest(teacher) for teacher in teachers],
            world,
            versions=versions([*train.values(), *select.values()]),
        )
        self.sampler = BalancedBatches([faces.labels for faces in train.values()], chosen.batch, rank, world)
        super().__init__(network, config, len(self.sampler), out, device, chosen.keep, rank)
        self.select, self.world = select, world
        transform = train_transform(chosen.crop, chosen.strength, _donors(train, chosen.donors))
        self.on_gpu = transform.to(device) if device.startswith("cuda") else None  # where it is the faster of the two
        self.loader = DataLoader(
            FaceBatches(list(train.values()), nn.Identity() if self.on_gpu else transform),
            sampler=self.sampler,
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.startswith("cuda"),
            generator=torch.Generator(),  # else processes that start draw from that of dropout, later epochs do not
        )
        self.teachers = [teacher.to(device) for teacher in teachers]
        self.taught = Distillation(network, self.teachers, chosen.hints, SMOOTHING) if teachers else None

    def _batches(self, epoch: int) -> Iterable[tuple[Tensor, Tensor]]:
        self.sampler.seed = self.settings.seed * 10_007 + epoch
        torch.manual_seed(self.sampler.seed * self.world + self.rank)
        if self.on_gpu is None:
            return self.loader
        return ((self.on_gpu(faces.to(self.device, non_blocking=True)), labels) for faces, labels in self.loader)

    def _epoch(self, epoch: int, bar: tqdm) -> float:
        with self.taught or nullcontext():  # it listens to the network only meanwhile
            return super()._epoch(epoch, bar)

    def _loss(self, faces: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        return self.taught(faces, logits, labels) if self.taught else glasses_loss(logits, labels, SMOOTHING)

    def _measure(self) -> dict[str, float]:
        return validate(self.average.module, self.select, self.device)

    def _words(self, row: dict[str, float]) -> str:
        accuracies = "  ".join(f"{name} {100 * row[f'{name}_accuracy']:.2f} %" for name in self.select)
        return f"epoch {row['epoch']}: train loss {row['train_loss']:.4f}, validation {row['loss']:.4f}  {accuracies}"

    def result(self) -> nn.Module:
        """As `BaseTrainer.result`. With `keep` its batch statistics, which belong to neither of the two networks that
        were averaged, are those of one more epoch of training batches (Izmailov et al.: "Averaging weights leads to
        wider optima", UAI 2018)."""
        network = super().result()
        if self.keep:
            update_bn(self._batches(self.settings.epochs), network, self.device)  # the epoch after the last
        return network

    def export(self) -> Path:
        """Calibrate `result`, write it as `glasses.safetensors`, whose path is returned, and `glasses.onnx`.

        The header of both holds `config`. The curve is drawn beside them.
        """
        network = self.result()
        plot_curves(self.history, self.settings.epochs).savefig(self.out / "curve.png", dpi=120)
        return export_network(network, self.select, self.out, self.device, config=self.config.as_dict())


def export_network(
    network: nn.Module, select: dict[str, CachedFaces], folder: str | os.PathLike, device: str = "cpu", **metadata
) -> Path:
    """Calibrate `network` on the faces of `select` and write it as `glasses.safetensors`, whose path is returned.

    Beside it the same network is written as `glasses.onnx`; where packages for that are missing a line says which.
    metadata: for the header, in which temperature, threshold and the interval of equally good thresholds are too.
    """
    logits = [predict_outputs(network, faces, device) for faces in select.values()]
    labels = [torch.from_numpy(faces.labels) for faces in select.values()]
    temperature, threshold, *interval = calibrate(logits, labels)
    path = Path(folder) / "glasses.safetensors"
    onnx = path.with_suffix(".onnx")
    onnx.unlink(missing_ok=True)  # one of an earlier export must not pass for this network
    save_weights(network, path, temperature=temperature, threshold=threshold, interval=interval, **metadata)
    try:
        export_onnx(load_classifier(path, "cpu"), onnx, "int8")
    except ImportError as error:
        print(f"no {onnx}, which the tool would read: {error}")
    return path


def fit_network(
    train: dict[str, CachedFaces], select: dict[str, CachedFaces], out: str | os.PathLike, **options
) -> nn.Module:
    """The averaged network after the last epoch of a `Trainer` that has these sources and options.

    Unlike `Trainer.export` it takes no epoch that the faces of `select` chose: their accuracy is not flattered.
    """
    trainer = Trainer(train, select, out, **options)
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


# ------------------------------------------------------------------------------------------ the command line


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 and one line where it is wrong."""
    parser = argparse.ArgumentParser(prog="train.py", description=__doc__.split("\n")[0])
    add = parser.add_argument_group("faces").add_argument
    add("--data", nargs="+", required=True, metavar="SOURCE=PATH", help=f"to train on: of {', '.join(SOURCES)}")
    add("--validate", nargs="+", default=[], metavar="SOURCE=PATH", help="for evaluate.py: not opened here")
    add("--corrections", type=Path, metavar="FILE", help="table of source, file, kind: labels known to be wrong")
    add("--skip-bad", action="store_true", help="leave out faces that are missing, unreadable or of unknown label")
    add("--donors", default="", metavar="SOURCE", help="of --data: masked people; bare, they lend others their masks")
    add("--cache", type=Path, default=Path(".cache"), help="folder for the crops (default: .cache)")
    add = parser.add_argument_group("schedule").add_argument
    add("--epochs", type=int, default=60, help="more of them extend a run with --resume (default: 60)")
    add("--batch", type=int, default=256, help="faces of a step (default: 256)")
    add("--lr", type=float, default=4e-3, help="the highest learning rate of the cycle (default: 0.004)")
    add("--seed", type=int, default=0)
    add("--strength", type=float, default=1.0, help="of the augmentation: 0 for none (default: 1)")
    add = parser.add_argument_group("network").add_argument
    add("--architecture", choices=ARCHITECTURES, help="(default: GlassesCNN)")
    add("--widths", type=int, nargs=6, metavar="N", help="channels of GlassesCNN's six convolutions")
    add("--init", type=Path, metavar="FILE", help="start from the best weights of this checkpoint.pt: fine-tuning")
    add("--keep", type=float, default=0.0, help="share of the weights of --init in the final ones, 0 to 1")
    add("--teacher", type=Path, nargs="+", default=[], metavar="FILE", help=".safetensors to learn from")
    add("--hints", type=float, help="weight of the teachers' maps in the loss (default: 1)")
    add = parser.add_argument_group("machine").add_argument
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add("--bfloat16", action="store_true", help="2 to 3 times faster where the processor has it")
    add("--workers", type=int, default=min(8, (os.cpu_count() or 2) // 2), help="processes that augment")
    add = parser.add_argument_group("run").add_argument
    add("--out", type=Path, default=Path("runs/glasses"), help="folder of the run (default: runs/glasses)")
    add("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    options = parser.parse_args(arguments)
    if options.init and (options.architecture or options.widths):
        parser.error("--init brings its own network: leave --architecture and --widths out")
    try:
        settings_of(options).check(bool(options.init), bool(options.teacher))
    except ValueError as error:
        parser.error(str(error))
    return options


def settings_of(options: argparse.Namespace) -> Settings:
    """What the command line says, and otherwise the defaults."""
    names = ("epochs", "batch", "lr", "seed", "strength", "donors", "hints", "keep", "widths", "bfloat16")
    given = {name: getattr(options, name) for name in names}
    return Settings(architecture=options.architecture or "GlassesCNN", **given)


def join_processes(device: str) -> str:
    """The device of this process; one of several that torchrun started joins the others."""
    if "LOCAL_RANK" not in os.environ:
        return device
    cuda = device.startswith("cuda")
    dist.init_process_group("nccl" if cuda else "gloo")
    return f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"


def load_faces(options: argparse.Namespace) -> tuple[dict[str, CachedFaces], dict[str, CachedFaces], dict[str, str]]:
    """The faces to train on and to select with, by source, each described in a line; and how `RunConfig` names them.

    Raises DataError, also for an unknown source in --validate, though none of these is opened.
    """
    corrections = read_corrections(options.corrections) if options.corrections else {}
    given, elsewhere = named_paths(options.data), named_paths(options.validate)
    if both := given.keys() & elsewhere.keys():
        raise DataError(f"{both.pop()} is to train and only to validate: name it once")
    parts = load_sources(given, {}, corrections, strict=not options.skip_bad)
    check_corrections(corrections, *parts)
    if not about_glasses(parts.select):
        raise DataError("there is no face to select on: name a source of faces with and without glasses in --data")
    for part, sources in parts._asdict().items():
        for name, dataset in sources.items():
            print(f"{part} {name}: {dataset!r}{', not opened' if part == 'report' else ''}")
    for dataset in parts.train.values():
        _warn_of_one_class(dataset)
    detector = load_detector("auto")
    train, select = (
        {name: CachedFaces(data, detector, options.cache) for name, data in part.items()}
        for part in (parts.train, parts.select)
    )
    return train, select, {"split": split_digest(parts), "corrections": corrections_digest(corrections, given)}


def _warn_of_one_class(dataset: FaceDataset) -> None:
    if dataset.source in (Nobody.source, Rendered.source):  # which have one class by design
        return
    worn = dataset.labels != Label.NONE
    if worn.all() or not worn.any():
        which = "every face wears glasses" if worn.all() else "no face wears glasses"
        print(f"train.py: {dataset.source}: {which}: the network may learn to tell the source instead", file=sys.stderr)


def make_trainer(options: argparse.Namespace, device: str) -> Trainer:
    """The run that the command line asks for. The networks are read first: they are quicker to be wrong than faces."""
    network = read_network(options.init) if options.init else None
    teachers = [load_weights(file)[0] for file in options.teacher]
    train, select, dealt = load_faces(options)
    return Trainer(
        train,
        select,
        options.out,
        network=network,
        teachers=teachers,
        device=device,
        workers=options.workers,
        **dealt,
        **vars(settings_of(options)),
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
    except (DataError, ValueError, ImportError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *where: f"train.py: {message}\n"
    sys.exit(main())
