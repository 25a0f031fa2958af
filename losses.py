"""How wrong is an answer?  The loss against the labels, and against a larger network: distillation.

loss = glasses_loss(logits, labels)
with Distillation(student, [teacher]) as distillation:  # until its end it keeps one map of each network
    loss = distillation(faces, student(faces), labels)
"""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from data_load import Label
from models import architecture_of

# Of each architecture, the layer whose map has an eighth of the crop's height and width: (B, C, 8, 12) or nearly so.
HINT_LAYERS = {
    "GlassesCNN": "features.4",
    "squeezenet1_1": "network.features.7",
    "mobilenet_v3_small": "network.features.3",
    "shufflenet_v2_x0_5": "network.stage2",
    "resnet18": "network.layer2",
    "efficientnet_lite0": "network._blocks.10",
    "efficientnet_lite1": "network._blocks.14",
    "efficientnet_lite2": "network._blocks.14",
}


def glasses_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0, weight: Tensor | float = 1.0) -> Tensor:
    """Cross-entropy of (B, 4) logits and (B,) labels of `Label`: a mean, in nats.

    smoothing: the share of the faces whose label is taken to be glasses or none at random. weight: of each face, (B,).
    """
    log_p = log_likelihoods(logits)
    hit = log_p.gather(1, labels[:, None]).squeeze(1)
    at_random = torch.where(labels == Label.NOBODY, hit, (log_p[:, Label.NONE] + log_p[:, Label.UNKNOWN_KIND]) / 2)
    return -(weight * ((1 - smoothing) * hit + smoothing * at_random)).mean()


def log_likelihoods(logits: Tensor) -> Tensor:
    """(B, 4) logits -> (B, 5): the logarithm of the probability of each label, in the order of `Label`.

    First there is a face or none, then it wears something or nothing: the probabilities are multiplied. A face labelled
    UNKNOWN_KIND is right with either kind: its probability is their sum.
    """
    kinds, face = F.log_softmax(logits[:, :-1], dim=1), F.logsigmoid(logits[:, -1:])
    either = kinds[:, 1:].logsumexp(1, keepdim=True)
    return torch.cat([face + kinds, face + either, F.logsigmoid(-logits[:, -1:])], dim=1)


def wing_loss(found: Tensor, labels: Tensor, width: float = 0.1, curvature: float = 0.02) -> Tensor:
    """Of (B, 68, 2) points against others: a mean over coordinates, in distances of the labels' outer eye corners.

    Below `width` it grows as a logarithm, so that small errors still pull; above as the error itself. Feng et al.:
    "Wing Loss for Robust Facial Landmark Localisation with Convolutional Neural Networks", CVPR 2018.
    """
    unit = torch.linalg.vector_norm(labels[:, 45] - labels[:, 36], dim=1)  # (B,) pixels
    error = (found - labels).abs() / unit[:, None, None]
    small = width * torch.log1p(error / curvature)
    offset = width - width * math.log1p(width / curvature)  # where the two meet
    return torch.where(error < width, small, error - offset).mean()


def believed(teacher: Tensor, labels: Tensor) -> Tensor:
    """(B,) what each label counts for a student of the teacher with these (B, 4) logits, 0 to 1.

    1, unless the teacher holds the label for all but impossible: below a probability of 0.1 in proportion to it.
    Most such labels are wrong.
    """
    p = log_likelihoods(teacher).exp()
    return (p.gather(1, labels[:, None]).squeeze(1) / 0.1).clamp(max=1)


def distillation_loss(
    logits: Tensor,
    labels: Tensor,
    teacher: Tensor,
    smoothing: float = 0.0,
    share: float = 0.7,
    temperature: float = 3.0,
) -> Tensor:
    """What the student's (B, 4) logits lose against the teacher's and against the labels: a mean, in nats.

    `share` of it is the distance from the teacher's probabilities, both softened by `temperature` (Hinton, Vinyals,
    Dean, 2015): of the kinds, where there is a face, and of a face; the rest is `glasses_loss`, each label weighed as
    it is `believed`.
    """
    student, teaching = logits / temperature, teacher / temperature
    kinds = F.kl_div(F.log_softmax(student[:, :-1], dim=1), F.softmax(teaching[:, :-1], dim=1), reduction="none").sum(1)
    target = teaching[:, -1].sigmoid()
    face = F.binary_cross_entropy_with_logits(student[:, -1], target, reduction="none")
    face = face - F.binary_cross_entropy_with_logits(teaching[:, -1], target, reduction="none")  # 0 where they agree
    distance = ((labels != Label.NOBODY) * kinds + face).mean() * temperature**2
    return share * distance + (1 - share) * glasses_loss(logits, labels, smoothing, believed(teacher, labels))


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """How differently two maps (B, C, H, W) are spread over the face: 0 for alike, 2 for no place in common.

    Compared is where the activity is, the mean square over the channels, so that the numbers of channels need not
    agree: "attention transfer", Zagoruyko, Komodakis, ICLR 2017. The teacher's map is brought to the student's size.
    """
    student, teacher = (activity.float().square().mean(1, keepdim=True) for activity in (student, teacher))
    teacher = F.interpolate(teacher, student.shape[-2:], mode="bilinear", antialias=True)
    student, teacher = (F.normalize(activity.flatten(1)) for activity in (student, teacher))
    return (student - teacher).square().sum(1).mean()


class HintRecorder:
    """What did the networks see last?  Keeps the newest map of the hint layer of each, from `start` to `close`."""

    def __init__(self, networks: Sequence[nn.Module]):
        self.networks = list(networks)
        self.maps: dict[nn.Module, Tensor] = {}
        self._hooks: list[RemovableHandle] = []

    def start(self) -> None:
        """Listen: from now on each forward pass of a network leaves its map in `maps[network]`."""
        for network in self.networks:
            layer = network.get_submodule(HINT_LAYERS[architecture_of(network)])
            self._hooks.append(layer.register_forward_hook(self._note_for(network)))

    def close(self) -> None:
        """Stop listening, and forget the maps."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.maps.clear()

    def _note_for(self, network: nn.Module) -> Callable:
        def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.maps[network] = output

        return note


class Distillation:
    """The loss of a student that learns from one or more teachers: their mean logits, and hints from their maps.

    The teachers see the very faces that the student sees, augmented as they are (Beyer et al., CVPR 2022: "Knowledge
    distillation: A good teacher is patient and consistent"), so their answers cannot be computed beforehand.
    hints: the weight of `hint_loss`; 0 for none. Used in a `with` statement, after which nothing listens any more.
    """

    def __init__(self, student: nn.Module, teachers: Sequence[nn.Module], hints: float = 1.0, smoothing: float = 0.0):
        self.student, self.hints, self.smoothing = student, hints, smoothing
        self.teachers = [copy.deepcopy(teacher).eval() for teacher in teachers]  # the originals stay as they are
        self.recorder = HintRecorder([student, *self.teachers] if hints else [])

    def __enter__(self) -> "Distillation":
        self.recorder.start()
        return self

    def __exit__(self, *exception) -> None:
        self.recorder.close()

    def __call__(self, faces: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """faces (B, 3, H, W), just shown to the student, which answered with logits (B, 4); labels (B,)."""
        with torch.no_grad():
            taught = torch.stack([teacher(faces).float() for teacher in self.teachers]).mean(0)
        loss = distillation_loss(logits, labels, taught, self.smoothing)
        if self.hints:
            maps = self.recorder.maps
            if not maps:
                raise RuntimeError("a Distillation with hints listens only inside its with statement")
            hints = [hint_loss(maps[self.student], maps[teacher]) for teacher in self.teachers]
            loss = loss + self.hints * torch.stack(hints).mean()
        return loss
