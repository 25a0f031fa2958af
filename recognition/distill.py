"""How does a small network learn from a large one?  It is to say of each view what its teacher says of the very same.

from recognition.distill import DistillTrainer
trainer = DistillTrainer(train, select, teacher, "runs/recognition", epochs=20, network="mobilenet_v3_small")
trainer.resume()
trainer.fit()
student = trainer.result()
"""

import math
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader, Dataset

from recognition.students import STUDENTS, make_student
from recognition.teachers import Teacher
from recognition.views import Views
from run_config import RunConfig, versions, weights_digest
from training import BaseTrainer, Learner


@dataclass(frozen=True)
class DistillSettings:
    """What one may choose for a run; as `run_config.Settings`.

    schedule: the rate goes through one cycle whose highest value is lr; without it lr stays. views: of each face, one
    an epoch in turn. glasses: the share of the views in which some are drawn on the face; what the teacher says is of
    the face without them. temperature, relations: of `relation_loss`, and its weight.
    """

    epochs: int = 20
    batch: int = 128
    lr: float = 4e-3
    schedule: bool = True
    seed: int = 0
    network: str = STUDENTS[0]
    views: int = 8
    glasses: float = 0.0
    temperature: float = 0.1
    relations: float = 0.5
    bfloat16: bool = False

    def check(self, started: bool, taught: bool) -> None:
        """Raise ValueError, one line, where no run can have these."""
        for name in ("epochs", "views"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch < 2:
            raise ValueError(f"batch must be at least 2, for relations within it, not {self.batch}")
        for name in ("lr", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")
        if not 0 <= self.relations < math.inf:
            raise ValueError(f"relations must be at least 0, not {self.relations}")
        if not 0 <= self.glasses <= 1:
            raise ValueError(f"glasses must be a share from 0 to 1, not {self.glasses}")
        if self.network not in STUDENTS:
            raise ValueError(f"unknown network {self.network!r}: choose from {', '.join(STUDENTS)}")


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of 1 - cosine of two faces' vectors, each (B, D): a number from 0 to 2."""
    return 1 - functional.cosine_similarity(student, teacher).mean()


def relation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How differently two networks see which faces of a batch are alike: (B, D) twice -> a number.

    For each face the cosines with all others, over the temperature, are a distribution by softmax; the loss is the mean
    Kullback-Leibler divergence from the teacher's to the student's (Park et al.: "Relational Knowledge Distillation",
    CVPR 2019, has distances for it; Hinton et al., 2015, the temperature).
    """
    others = ~torch.eye(len(student), dtype=torch.bool, device=student.device)

    def alike(vectors: Tensor) -> Tensor:
        unit = functional.normalize(vectors)
        return (unit @ unit.T / temperature)[others].view(len(vectors), -1).log_softmax(1)

    return functional.kl_div(alike(student), alike(teacher), reduction="batchmean", log_target=True)


class TaughtViews(Dataset):
    """One view of each face, and what the teacher says of it; every second time mirrored, of which it says the same.

    glasses: the share of the views in which some are drawn on. An item: (3, 112, 112) float32 in 0..1, (D,) float32.
    """

    def __init__(self, views: Views, answers: np.ndarray, number: int, seed: int | None, glasses: float = 0.0):
        self.views, self.answers, self.number, self.glasses = views, answers, number, glasses
        mirrored = np.zeros(len(views), bool) if seed is None else np.random.default_rng(seed).random(len(views)) < 0.5
        self.mirrored = mirrored

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, face: int) -> tuple[Tensor, Tensor]:
        view = self.views.view(face, self.number, self.glasses)
        if self.mirrored[face]:
            view = view[:, ::-1].copy()
        picture = torch.from_numpy(view).movedim(-1, 0).float() / 255
        return picture, torch.from_numpy(self.answers[face].astype(np.float32))


class SteadyLearner(Learner):
    """One whose rate stays as it is."""

    def _one_cycle(self, done: int = 0) -> ConstantLR:
        schedule = ConstantLR(self.optimizer, factor=1.0, total_iters=0, last_epoch=done - 1)
        schedule.total_steps = self.steps  # as that of a cycle: where a run is extended a new one is made
        return schedule


class DistillTrainer(BaseTrainer):
    """Trains epoch by epoch, keeps the best and a checkpoint to go on from: training.py.

    train, select: views of faces of different people; the epoch is chosen on select, on the chips as the tool cuts
    them. teacher: what the student is to say. out: the folder of the run. start: a student, to be trained further.
    cache: the folder for the teacher's answers. workers: processes that draw views.
    settings: the fields of `DistillSettings`. Raises ValueError, one line, where they make no sense.
    """

    def __init__(
        self,
        train: Views,
        select: Views,
        teacher: Teacher,
        out: str | os.PathLike,
        epochs: int = 20,
        *,
        start: nn.Module | None = None,
        device: str = "cpu",
        workers: int = 1,
        cache: str | os.PathLike = ".cache",
        **settings,
    ):
        chosen = DistillSettings(epochs, **settings)
        config = RunConfig(
            chosen,
            {"faces": f"{train.digest} seed {train.seed}"},
            {"faces": select.digest},
            start=weights_digest(start) if start else "",
            teachers=[teacher.digest],
            versions=versions([]),
        )
        torch.manual_seed(chosen.seed)
        network = start or make_student(chosen.network, teacher.size)
        steps = len(train) // chosen.batch  # what is left of an epoch would be a batch of few
        if not steps:
            raise ValueError(f"batch must be at most {len(train)}, the number of faces, not {chosen.batch}")
        super().__init__(network, config, steps, out, device)
        if not chosen.schedule:
            self.learner = SteadyLearner(network, chosen, chosen.epochs * steps, device)
        self.train, self.select, self.teacher, self.workers, self.cache = train, select, teacher, workers, cache

    def _batches(self, epoch: int) -> DataLoader:
        number = epoch % self.settings.views  # 0 is the chip itself
        answers = self.train.answers(self.teacher, number, self.cache)
        seed = self.settings.seed + epoch
        faces = TaughtViews(self.train, answers, number, seed, self.settings.glasses)
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(
            faces, self.settings.batch, shuffle=True, drop_last=True, generator=generator, num_workers=self.workers
        )

    def _loss(self, inputs: Tensor, answers: Tensor, wanted: Tensor) -> Tensor:
        loss = cosine_loss(answers, wanted)
        if self.settings.relations:
            loss = loss + self.settings.relations * relation_loss(answers, wanted, self.settings.temperature)
        return loss

    def _measure(self) -> dict[str, float]:
        wanted = torch.from_numpy(self.select.answers(self.teacher, 0, self.cache).astype(np.float32))
        vectors = torch.from_numpy(embed(self.average.module, self.select, self.device))
        return {"loss": cosine_loss(vectors, wanted).item()}

    def _words(self, row: dict[str, float]) -> str:
        return f"epoch {row['epoch']}: trained to {row['train_loss']:.4f}, cosine to the teacher {1 - row['loss']:.4f}"


@torch.inference_mode()
def embed(student: nn.Module, views: Views, device: str = "cpu", batch: int = 256) -> np.ndarray:
    """(N, D) float32 of length 1: a student's vectors of the chips of all faces, in order."""
    student.to(device).eval()
    loader = DataLoader(TaughtViews(views, np.zeros((len(views), 1), np.float16), 0, None), batch)
    vectors = [functional.normalize(student(pictures.to(device))).cpu().numpy() for pictures, _ in loader]
    return np.concatenate(vectors)
