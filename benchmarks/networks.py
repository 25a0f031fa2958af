"""Which networks are compared, and how is each trained?  Read by accuracy.py and latency.py; no command."""

from dataclasses import dataclass
from pathlib import Path

WIDE = (96, 128, 160, 256, 256, 96)
HALF = (12, 16, 16, 32, 32, 16)


@dataclass(frozen=True)
class Recipe:
    """How a row of the table is trained.

    architecture, widths: as in `models.make_model`. teachers: rows whose networks it learns from. start: the row whose
    best weights it goes on from, after a share `prune` of the channels has been left out.
    """

    architecture: str = "GlassesCNN"
    widths: tuple[int, ...] | None = None
    epochs: int = 12
    batch: int = 256
    lr: float = 3e-3
    teachers: tuple[str, ...] = ()
    start: str = ""
    prune: float = 0.0


TEACHER = "ResNet-18"
RECIPES = {
    TEACHER: Recipe("resnet18", epochs=16),
    "GlassesCNN": Recipe(),
    "GlassesCNN, distilled": Recipe(teachers=(TEACHER,)),
    "GlassesCNN, distilled, half pruned": Recipe(
        epochs=6, lr=1e-3, teachers=(TEACHER,), start="GlassesCNN, distilled", prune=0.5
    ),
    "SqueezeNet 1.1": Recipe("squeezenet1_1", lr=1e-3),
    "SqueezeNet 1.1, distilled": Recipe("squeezenet1_1", lr=1e-3, teachers=(TEACHER,)),
    "MobileNetV3-Small": Recipe("mobilenet_v3_small"),
    "ShuffleNetV2 x0.5": Recipe("shufflenet_v2_x0_5"),
}

# The shapes whose speed is measured: name -> architecture and widths. Speed does not depend on how one was trained.
SHAPES = {
    "ResNet-18": ("resnet18", None),
    "SqueezeNet 1.1": ("squeezenet1_1", None),
    "MobileNetV3-Small": ("mobilenet_v3_small", None),
    "ShuffleNetV2 x0.5": ("shufflenet_v2_x0_5", None),
    "GlassesCNN, wide": ("GlassesCNN", WIDE),
    "GlassesCNN": ("GlassesCNN", None),
    "GlassesCNN, half": ("GlassesCNN", HALF),
}


def folder_of(name: str, out: Path) -> Path:
    """Where the row `name` keeps its run."""
    return out / name.replace(",", "").replace(" ", "_")


def shape_of(model) -> str:
    """The name in SHAPES of a network."""
    from models import GlassesCNN, architecture_of

    widths = None if getattr(model, "widths", None) in (None, GlassesCNN().widths) else model.widths
    return next(name for name, shape in SHAPES.items() if shape == (architecture_of(model), widths))
