"""How does a run go from epoch to epoch?  `Learner`, one step, and `BaseTrainer`, what all trainers have in common.

`train.Trainer`, `train_keypoints.KeypointTrainer` and `train_finder.FinderTrainer` say what an epoch is and how it is
measured; the rest is here. In the folder of the run it writes

    checkpoint.pt     all that `resume` needs, after each epoch
    log.csv           a row an epoch
    config.json       all that decided the weights, run_config.py
"""

import copy
import csv
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from glasses.files import remove_partials, whole_file
from models import read_checkpoint
from run_config import RunConfig, Settings, in_words


class Learner:
    """How does one batch change the weights?  The network, its moving average, AdamW and one cycle of its rate.

    settings: those of the run, of which `lr` and `bfloat16` count here. steps: of the whole run, over which the cycle
    goes.
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
        """Learn from one batch; returns its `loss` of faces, answers and labels.

        faces: (B, 3, H, W) float32. labels: (B, ...), what is to be answered.
        """
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


class BaseTrainer:
    """How does a run go from epoch to epoch?  Trains, measures, keeps the best epoch, and a checkpoint to go on from.

    network: what is trained. config: of the run; its settings have epochs, lr and bfloat16 at least. steps: batches of
    an epoch. out: the folder of the run. device: where it computes. keep: the share of the first weights in those of
    `result`. rank: the number of this process; of several that share a batch only the first, 0, writes and tells.

    A subclass has `_batches`, `_loss`, `_measure` and `_words`, and names the column that chooses the best epoch.

    Attributes: config; settings; history, a row an epoch; best, the epoch that was chosen and its state.
    """

    CHOICE = "loss"  # the column of the history that chooses the best epoch
    HIGHEST = False  # whether its highest value is the best, not the least

    def __init__(
        self,
        network: nn.Module,
        config: RunConfig,
        steps: int,
        out: str | os.PathLike,
        device: str = "cpu",
        keep: float = 0.0,
        rank: int = 0,
    ):
        self.config, self.settings, self.steps = config, config.settings, steps
        self.out, self.device, self.keep, self.rank = Path(out), device, keep, rank
        self.learner = Learner(network, self.settings, self.settings.epochs * steps, device)
        self.first = copy.deepcopy(network.state_dict()) if keep else {}
        self.history: list[dict[str, float]] = []
        self.best: dict = {self.CHOICE: -math.inf if self.HIGHEST else math.inf, "state": None}

    def _batches(self, epoch: int) -> Iterable[tuple[Tensor, Tensor]]:
        """What the network sees in an epoch, counted from 0, and what it is to answer: `steps` batches.

        Whatever is random in it has a seed of this epoch, so that a resumed run needs no random state of the last one.
        """
        raise NotImplementedError

    def _loss(self, inputs: Tensor, answers: Tensor, wanted: Tensor) -> Tensor:
        """Of a batch: a number."""
        raise NotImplementedError

    def _measure(self) -> dict[str, float]:
        """How good `average` is after an epoch: further columns of the history, CHOICE among them."""
        raise NotImplementedError

    def _words(self, row: dict[str, float]) -> str:
        """A row of the history as a line to print."""
        raise NotImplementedError

    @property
    def average(self) -> AveragedModel:
        """The moving average of the weights: what is measured and exported; its network is `average.module`."""
        return self.learner.average

    @property
    def checkpoint(self) -> Path:
        """The file that `resume` reads."""
        return self.out / "checkpoint.pt"

    def fit(self, report: Callable[[list[dict[str, float]]], None] | None = None) -> dict[str, float]:
        """Train the epochs that are left; returns the last row of the history.

        report: called with the history after each epoch; without it each epoch prints a line.
        Raises ValueError as soon as a loss, or the column that chooses the best epoch, is no number.
        """
        epochs, done = self.settings.epochs, len(self.history)
        if self.rank == 0:
            remove_partials(self.out)  # of a run that was killed
        disable = None if self.rank == 0 else True  # None: shown in a terminal only
        with tqdm(total=epochs * self.steps, initial=done * self.steps, disable=disable) as bar:
            for epoch in range(done, epochs):
                train_loss = self._epoch(epoch, bar)
                row = {"epoch": epoch + 1, "train_loss": train_loss, "lr": self.learner.schedule.get_last_lr()[0]}
                row |= self._measure()
                self._finite(row[self.CHOICE], epoch)
                self.history.append(row)
                self._keep_best(row)
                if self.rank == 0:
                    self.save()
                    self._tell(report, bar)
        return self.history[-1]

    def _epoch(self, epoch: int, bar: tqdm) -> float:
        """Train one epoch; returns the mean of its losses."""
        batches = self._batches(epoch)
        self.learner.model.train()
        losses = []
        for inputs, wanted in batches:
            losses.append(self.learner.step(inputs, wanted, self._loss))
            bar.update()
            if len(losses) % 10 == 0:
                recent = self._finite(torch.stack(losses[-10:]).mean().item(), epoch)
                bar.set_postfix(epoch=epoch + 1, loss=f"{recent:.4f}", refresh=False)
        return self._finite(torch.stack(losses).mean().item(), epoch)

    def _finite(self, loss: float, epoch: int) -> float:
        """The loss, where it is a number; ValueError where the run has diverged."""
        if not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} in epoch {epoch + 1}: train with a lower --lr")
        return loss

    def _keep_best(self, row: dict[str, float]) -> None:
        """Set `best` to the epoch of this row, the last one, where it is better than those before."""
        value, before = row[self.CHOICE], self.best[self.CHOICE]
        if value > before if self.HIGHEST else value < before:
            state = {key: tensor.cpu().clone() for key, tensor in self.average.module.state_dict().items()}
            self.best = {self.CHOICE: value, "epoch": row["epoch"], "state": state}

    def _tell(self, report: Callable[[list[dict[str, float]]], None] | None, bar: tqdm) -> None:
        if report:
            report(self.history)
        else:
            with bar.external_write_mode():  # the line goes above the bar
                print(self._words(self.history[-1]), flush=True)

    def save(self) -> None:
        """Write the checkpoint, the log and the config, each whole or not at all."""
        config = self.config.as_dict()
        state = {"config": config, "history": self.history, "best": self.best}
        with whole_file(self.checkpoint) as partial:
            torch.save({**self.learner.state_dict(), **state}, partial)
        with whole_file(self.out / "log.csv") as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)
        with whole_file(self.out / "config.json") as partial:
            partial.write_text(json.dumps(config, indent=2) + "\n")

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`; False where there is none.

        Where it is of fewer epochs the run is extended and a line says so: the cycle of the learning rate is stretched
        to the new length, and the rate goes on with what the longer cycle has at that epoch.
        Raises ValueError, naming each difference, where the checkpoint belongs to a run of more epochs, other settings,
        other faces or other networks. Other versions of packages are only a warning.
        """
        if not self.checkpoint.is_file():
            return False
        state = read_checkpoint(self.checkpoint, self.device)
        differing, other_versions = self.config.compare(state["config"])
        differing.pop("extended", None)  # a history of the run, not a wish
        length = differing.get("epochs")
        if extended := length is not None and length.then is not None and length.then < length.now:
            del differing["epochs"]
        if differing:
            raise ValueError(f"{self.checkpoint} is of another run: {in_words(differing)}; choose another --out")
        if other_versions and self.rank == 0:
            warnings.warn(f"{self.checkpoint} is of other versions: {in_words(other_versions)}", stacklevel=2)
        self.learner.load_state_dict(state)
        self.history, self.best = state["history"], state["best"]
        lengths = [*state["config"]["extended"], *([length.then] if extended else [])]
        self.config = replace(self.config, extended=lengths)
        if extended and self.rank == 0:
            longer = f"from {length.then} to {length.now} epochs"
            print(f"extended {longer}: the cycle of the learning rate is stretched to the new length")
        return True

    def result(self) -> nn.Module:
        """The network of the run, a copy: of its best epoch.

        With `keep` it is the last epoch's average, itself averaged with the first weights: fine-tuned networks so keep
        what they knew (Wortsman et al.: "Robust fine-tuning of zero-shot models", CVPR 2022).
        Raises ValueError before the first epoch.
        """
        if self.best["state"] is None:
            raise ValueError(f"{self.out}: no epoch was trained")
        network = copy.deepcopy(self.average.module)
        if not self.keep:
            network.load_state_dict(self.best["state"])
            return network
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(self.first[key].to(value), self.keep)
        return network
