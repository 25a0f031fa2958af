"""What are augmentation, a second source, more steps and other networks worth?  The tables that notebook 2 draws.

    python -m benchmarks.course [--parts PART ...] [--cache PATH] [--note WORDS]
    python -m benchmarks.course --parts shipped     # only these rows anew: after the shipped weights have changed

Writes benchmarks/results/course.csv, in about half an hour on one core.

All learn from the faces of `data/sample` that train in the notebook, with the labels that are known to be wrong
corrected. All are judged on FURTHER faces by each of the two cameras, which the generator makes with another seed, as
they are and changed as augmentation changes them. Whatever is trained is trained with several seeds, a row each:

    recipes   GlassesCNN, the same but for one thing, for exactly the same number of steps, few and many
    ladder    from the larger class to a network that knows ImageNet, which needs two packages: models.EfficientNetLite
    shipped   the network that comes with the project
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from augment import eval_transform, train_transform
from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from data_load import FaceDataset, Label, MeGlass, SampleFaces, known_corrections, split
from detector_architectures import load_detector
from face_cache import BalancedBatches, CachedFaces, FaceBatches
from losses import glasses_loss
from models import GlassesCNN, load_classifier, make_model, probabilities
from synthetic import make_sample

FURTHER, PEOPLE = 500, 100  # faces by the first camera; people before the second, five pictures each
FEW, MANY = 120, 480  # steps of 64 faces: about 8 and 32 epochs
SEEDS = {FEW: range(5), MANY: range(3)}
FINE_TUNED = {"steps": 100, "batch": 32, "rate": 1e-3}  # of the large network: about 3 epochs
RECIPES = {  # name -> which sources, and the strength of the augmentation
    "both": (("first", "second"), 1.0),
    "both, not augmented": (("first", "second"), 0.0),
    "first only": (("first",), 1.0),
    "second only": (("second",), 1.0),
}
JUDGED = f"judged on {FURTHER} further faces by the first camera, {PEOPLE * make_sample.PICTURES} by the second"
COLUMNS = ["part", "name", "steps", "seed", "judged", "changed", "faces", "accuracy"]


def fit(network, sources, steps, seed=0, strength=1.0, rate=4e-3, batch=64, device="cpu"):
    """Train for exactly `steps` batches; returns the network."""
    torch.manual_seed(seed)
    sampler = BalancedBatches([faces.labels for faces in sources.values()], batch)
    batches = FaceBatches(list(sources.values()), train_transform(strength=strength))
    optimizer = torch.optim.AdamW(network.to(device).parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    network.train()
    for item in itertools.islice(forever(sampler, seed), steps):
        images, labels = (part.to(device) for part in batches[item])
        loss = glasses_loss(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def forever(sampler, seed):
    """The batches of one epoch after the other, each in another order."""
    for sampler.seed in itertools.count(1000 * seed):
        yield from sampler


class InBfloat16(nn.Module):
    """A network that computes in 16 bits: twice as fast for the large one, where the processor has it.

    The means and deviations of its batch normalisation follow the faces as fast as torch's own do: with those of the
    package, a hundredth a step, a short training would end before they have arrived.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.network(faces.contiguous(memory_format=torch.channels_last)).float()


# ---------------------------------------------------------------------------------------------- the faces


def parts_of(dataset: FaceDataset) -> list[FaceDataset]:
    """As in the notebook: to learn from, to choose on, to report on; known wrong labels corrected."""
    return [part.relabel(known_corrections(part)) for part in split(dataset, (0.8, 0.1, 0.1), seed=0)]


def make_further(folder: Path) -> None:
    """Write further faces by both cameras below `folder`, unless they are there."""
    if (folder / "meta.txt").is_file():  # written last
        return
    detector, seed = load_detector("slim"), make_sample.SEED + 1
    make_sample.write_kaggle(folder, make_sample.good_pictures(FURTHER, [seed, 4], detector))
    make_sample.write_meglass(folder, PEOPLE, make_sample.PICTURES, detector, seed)


def load_faces(cache: Path) -> tuple[dict[str, CachedFaces], dict[str, CachedFaces]]:
    """What trains, by source, and on what is judged."""
    detector, further = load_detector("auto"), cache / "course"
    make_further(further)
    train, judged = {}, {}
    for name, cls in (("first", SampleFaces), ("second", MeGlass)):
        dataset = cls(make_sample.SAMPLE)
        train[name] = CachedFaces(dataset, detector, cache).of(parts_of(dataset)[0])
        judged[name] = CachedFaces(cls(further), detector, cache)
    return train, judged


# ------------------------------------------------------------------------------------------- how good each is


@torch.inference_mode()
def accuracies(network: nn.Module, judged: dict[str, CachedFaces]) -> Iterator[dict]:
    """A row for each source, as it is and changed; the changes are the same for every network."""
    for source, faces in judged.items():
        crops, labels = faces[np.arange(len(faces))]
        for changed in (False, True):
            torch.manual_seed(1)
            shown = train_transform()(crops) if changed else eval_transform()(crops)
            none = torch.cat([probabilities(network(some))[:, 0] for some in shown.split(100)])
            right = (none < 0.5) == (labels != Label.NONE)
            yield {"judged": source, "changed": changed, "faces": len(faces), "accuracy": right.float().mean().item()}


def small_grey(faces: CachedFaces, size: tuple[int, int] = (24, 16)) -> np.ndarray:
    """(N, 384) float32 grey levels of the crops at 24x16 pixels, each face at mean 0 and deviation 1."""
    grey = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in faces.cut()]
    rows = np.stack([cv2.resize(g, size, interpolation=cv2.INTER_AREA).ravel() for g in grey]).astype(np.float32)
    return (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) + 1)


def without_a_network(train: dict[str, CachedFaces], judged: dict[str, CachedFaces]) -> Iterator[dict]:
    """The larger class, and a logistic regression on small grey crops."""
    worn = np.concatenate([faces.labels != Label.NONE for faces in train.values()])
    line = LogisticRegression(C=0.01, max_iter=1000).fit(np.concatenate([*map(small_grey, train.values())]), worn)
    for source, faces in judged.items():
        truth = faces.labels != Label.NONE
        answers = {
            "the larger class": np.full(len(faces), worn.mean() > 0.5),
            "logistic regression": line.predict(small_grey(faces)),
        }
        for name, answer in answers.items():
            accuracy = (answer == truth).mean()
            yield {"name": name, "judged": source, "changed": False, "faces": len(faces), "accuracy": accuracy}


def measure_recipes(train: dict[str, CachedFaces], judged: dict[str, CachedFaces]) -> Iterator[dict]:
    for steps, seeds in SEEDS.items():
        for seed, (name, (sources, strength)) in itertools.product(seeds, RECIPES.items()):
            torch.manual_seed(seed)
            network = fit(GlassesCNN(), {source: train[source] for source in sources}, steps, seed, strength)
            for row in accuracies(network, judged):
                yield {"name": name, "steps": steps, "seed": seed, **row}


def measure_ladder(train: dict[str, CachedFaces], judged: dict[str, CachedFaces]) -> Iterator[dict]:
    """The rungs that `measure_recipes` does not measure."""
    yield from without_a_network(train, judged)
    for pretrained in (True, False):
        try:
            yield from measure_large(pretrained, train, judged)
        except ImportError as error:
            print(f"left out: {error}", file=sys.stderr)


def measure_large(pretrained: bool, train: dict[str, CachedFaces], judged: dict[str, CachedFaces]) -> Iterator[dict]:
    """EfficientNet-Lite0 from ImageNet's weights, or from chance."""
    for seed in SEEDS[MANY]:
        torch.manual_seed(seed)
        large = InBfloat16(make_model("efficientnet_lite0", pretrained=pretrained))
        network = fit(large, train, seed=seed, **FINE_TUNED)
        name = f"EfficientNet-Lite0 from {'ImageNet' if pretrained else 'chance'}"
        for row in accuracies(network, judged):
            yield {"name": name, "steps": FINE_TUNED["steps"], "seed": seed, **row}


def measure_shipped(train: dict[str, CachedFaces], judged: dict[str, CachedFaces]) -> Iterator[dict]:
    for row in accuracies(load_classifier("glasses", "cpu").model, judged):
        yield {"name": "the shipped network", **row}


MEASURED = {"recipes": measure_recipes, "ladder": measure_ladder, "shipped": measure_shipped}


def read_other_parts(path: Path, parts: list[str]) -> list[dict]:
    """The rows of the table that are not measured anew."""
    if not path.is_file():
        return []
    table = pd.read_csv(path, comment="#")
    return table[~table["part"].isin(parts)].to_dict("records")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=MEASURED, default=[*MEASURED], help="those measured anew")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder for the crops and further faces")
    add_note(parser)
    options = parser.parse_args()
    faces, measured = load_faces(options.cache), []
    for part in options.parts:
        for row in MEASURED[part](*faces):
            measured.append({"part": part, **row})
            print(" ".join(str(value) for value in measured[-1].values()), flush=True)
    rows = read_other_parts(RESULTS / "course.csv", options.parts)  # now, for another process may have written it
    lines = ["batches of 64 faces, of 32 for EfficientNet; threshold 0.5", JUDGED]
    if kept := sorted({row["part"] for row in rows}):
        lines.append(f"of earlier runs of the same command: {', '.join(kept)}")
    table = pd.DataFrame(rows + measured, columns=COLUMNS).astype({"steps": "Int64", "seed": "Int64"})
    table = table.sort_values("part", key=lambda part: part.map([*MEASURED].index), kind="stable")
    write_table(table.round({"accuracy": 4}), RESULTS / "course.csv", header(*lines, note=options.note))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
