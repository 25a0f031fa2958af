"""What learns to tell people apart?  Two networks for a phone, MobileNetV3 Small and Large, on aligned faces.

from recognition.students import make_student
vectors = make_student("mobilenet_v3_small")(faces)  # (B, 3, 112, 112) in 0..1 -> (B, 192) of any length
"""

import os

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from glasses.recognizer import CHIP
from models import read_checkpoint

SIZE = 192  # numbers for a face
STUDENTS = ("mobilenet_v3_small", "mobilenet_v3_large")


class Student(nn.Module):
    """The convolutions of a MobileNetV3 (Howard et al.: "Searching for MobileNetV3", ICCV 2019) and a head of our own.

    A face of 112 pixels is half as wide as what they were made for: the first layer keeps all its pixels (stride 1).
    Faces are aligned, so where something is matters: not the mean over the last maps but a weight for each of their
    7 x 7 places, as in MobileFaceNet (Chen et al., CCBR 2018). name: of STUDENTS. size: of the vectors.
    """

    def __init__(self, name: str = "mobilenet_v3_small", size: int = SIZE):
        super().__init__()
        from torchvision.models import get_model

        if name not in STUDENTS:
            raise ValueError(f"unknown network {name!r}: choose from {', '.join(STUDENTS)}")
        self.name, self.size = name, size
        # The Large one's last blocks have half of their channels: on faces they are not missed, and take most bytes.
        options = {"reduced_tail": True} if name == "mobilenet_v3_large" else {}
        self.features = get_model(name, weights=None, **options).features
        self.features[0][0].stride = (1, 1)
        channels, side = self.features[-1].out_channels, CHIP.width // 16
        self.places = nn.Conv2d(channels, channels, side, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.linear = nn.Conv2d(channels, size, 1, bias=False)
        self.last_norm = nn.BatchNorm2d(size)
        nn.init.constant_(self.places.weight, 1 / side**2)  # begins as the mean
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.1  # torchvision has a tenth of it, for runs of many more steps

    def forward(self, faces: Tensor) -> Tensor:
        """faces: (B, 3, 112, 112) RGB in 0..1, as `glasses.recognizer.align_chip` cuts them -> (B, size)."""
        x = self.norm(self.places(self.features((faces - 0.5) * 2)))
        return self.last_norm(self.linear(x)).flatten(1)


def make_student(name: str = "mobilenet_v3_small", size: int = SIZE) -> Student:
    """A student that begins from chance. Raises ValueError for a name that is not one of STUDENTS."""
    return Student(name, size)


class ChipsToVectors(nn.Module):
    """What the tool computes, as one graph: of each face and its mirror image what the student says, added.

    It has learned to say the same of both, and does not quite: a part of its error goes out with the mean.
    whitening: what the vectors of length 1 go through then, as `export.whitening` fits it.
    """

    def __init__(self, student: Student, whitening: nn.Linear | None = None):
        super().__init__()
        self.student, self.whitening = student, whitening

    def forward(self, chips: Tensor) -> Tensor:
        """(N, 112, 112, 3) uint8 -> (N, size) float32 of length 1."""
        faces = chips.permute(0, 3, 1, 2).float() / 255
        vectors = self.student(torch.cat([faces, faces.flip(3)]))
        vectors = normalize(vectors.unflatten(0, (2, -1)).sum(0))
        return vectors if self.whitening is None else normalize(self.whitening(vectors))


class StudentNetwork:
    """A student as the tool asks networks: chips in, vectors out; by torch. whitening: as of `ChipsToVectors`."""

    def __init__(self, student: Student, whitening: nn.Linear | None = None):
        self.graph = ChipsToVectors(student, whitening).cpu().eval()

    @torch.inference_mode()
    def __call__(self, chips: np.ndarray) -> np.ndarray:
        """chips: (N, 112, 112, 3) uint8 RGB -> (N, size) float32 of length 1."""
        return self.graph(torch.from_numpy(chips)).numpy()


def read_student(checkpoint: str | os.PathLike) -> Student:
    """The student of the best epoch of a `checkpoint.pt`.

    Raises OSError where it cannot be read, ValueError where it is of another network.
    """
    state = read_checkpoint(checkpoint)
    try:
        best = state["best"]["state"]
        student = make_student(state["config"]["network"], len(best["linear.weight"]))
        student.load_state_dict(best)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{checkpoint} is of no student of recognition: {str(error).splitlines()[0]}") from error
    return student
