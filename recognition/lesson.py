"""How is a network taught in seconds?  A tiny student for notebook 7, which learns what a teacher says of some faces.

from recognition.lesson import teach, tiny_student, vectors_of
student = tiny_student(answers.shape[1])
losses = teach(student, faces, answers)              # (N, 112, 112, 3) uint8, (N, D) float32 of length 1
vectors = vectors_of(student, faces)                 # (N, D) float32 of length 1
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from recognition.distill import cosine_loss, relation_loss

WIDTHS = (3, 16, 32, 64)  # channels, from the colours on
BATCH, RATE, TEMPERATURE = 100, 4e-3, 0.1


def tiny_student(size: int, seed: int = 0) -> nn.Sequential:
    """(B, 3, 112, 112) -> (B, size): three plain convolutions on the face at half its size, and a linear layer.

    size: numbers for a face. seed: of the first weights.
    """
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.AvgPool2d(2)]
    for channels, more in pairwise(WIDTHS):
        layers += [nn.Conv2d(channels, more, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(more), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * 7 * 7, size, bias=False), nn.BatchNorm1d(size))


def teach(
    student: nn.Module, faces: np.ndarray, answers: np.ndarray, epochs: int = 8, relations: float = 0.5, seed: int = 0
) -> list[float]:
    """Train a student to say of each face what its teacher says; returns the loss of each step.

    faces: (N, 112, 112, 3) uint8. answers: (N, D) float32, the teacher's. relations: the weight of `relation_loss`.
    seed: of the order of the faces. Raises ValueError for fewer faces than a batch of 100.
    """
    count = len(faces) // BATCH
    if not count:
        raise ValueError(f"at least {BATCH} faces are needed to teach from, not {len(faces)}")
    pictures, wanted = _as_input(faces), torch.from_numpy(answers)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * count)
    losses = []
    student.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(faces), generator=generator)[: count * BATCH].view(count, BATCH):
            said = student(pictures[batch])
            loss = cosine_loss(said, wanted[batch]) + relations * relation_loss(said, wanted[batch], TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return losses


@torch.inference_mode()
def vectors_of(student: nn.Module, faces: np.ndarray) -> np.ndarray:
    """(N, 112, 112, 3) uint8 -> (N, D) float32 of length 1: what a student says of faces."""
    return nn.functional.normalize(student.eval()(_as_input(faces))).numpy()


def _as_input(faces: np.ndarray) -> Tensor:
    """(N, 112, 112, 3) uint8 -> (N, 3, 112, 112) float32 in -1..1."""
    return torch.from_numpy(faces).movedim(-1, 1).float() / 127.5 - 1
