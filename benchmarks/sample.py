"""How good are the synthetic faces?  Measured on real ones, which the project does not hold.

    python -m benchmarks.sample --lfw PATH --ffhq PATH [--celeba PATH] [--epochs 60] [--seeds 0 1]
                                [--model glasses] [--note WORDS]

Prints, as Markdown, and writes benchmarks/results/sample.csv, for data/sample (or --sample DIR):

    real faces    balanced accuracy on LFW and FFHQ of a GlassesCNN trained from scratch on train.csv alone, its
                  wrong labels included, at the plain threshold of 0.5
    agreement     of the shipped classifier (--model), which never saw these faces, with how they were made
    detector      share of the pictures in which `slim` finds a face
    copies        distance of each synthetic face to its nearest training face (--celeba), beside that of real faces
                  which the generator did not see; needs what train_generator.py needs
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from data_load import Label, split
from detector_architectures import load_detector
from face_cache import CachedFaces
from glasses.photos import read_image
from glasses.pipeline import GlassesPipeline
from models import open_classifier
from sources import open_source
from synthetic import make_sample
from synthetic.face_generator import FaceGenerator
from train import Trainer, predict_logits


def line(measure: str, of: str, value: float, faces: int, unit: str = "%", wanted: str = "") -> dict[str, object]:
    """A row of the table: what was measured, of what, the value in its unit, of how many faces, and what was wanted."""
    return {"measure": measure, "of": of, "value": value, "unit": unit, "faces": faces, "wanted": wanted}


def balanced_accuracy(model: torch.nn.Module, faces: CachedFaces) -> tuple[float, float, float]:
    """Mean of the two shares, then the share of faces with glasses, and of those without, that were told right."""
    logits = predict_logits(model, faces, "cpu")
    found = (logits[:, 1:].logsumexp(1) > logits[:, 0]).numpy()
    glasses = faces.labels != Label.NONE
    recall, rest = float(found[glasses].mean()), float((~found)[~glasses].mean())
    return (recall + rest) / 2, recall, rest


def train_on_sample(sample: Path, cache: Path, out: Path, epochs: int, seed: int) -> torch.nn.Module:
    """GlassesCNN from scratch on nine tenths of train.csv; the last tenth chooses the epoch."""
    detector = load_detector("auto")
    train, held = (CachedFaces(part, detector, cache) for part in split(open_source("sample", sample), (0.9, 0.1)))
    trainer = Trainer({"sample": train}, {"sample": held}, out, epochs=epochs, seed=seed, batch=64, workers=0)
    trainer.fit()
    trainer.average.module.load_state_dict(trainer.best["state"])
    return trainer.average.module


def tables(sample: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """kinds.csv with the path of each picture, and the (N, K) latent vectors in its order."""
    kinds = pd.read_csv(sample / "kinds.csv", keep_default_na=False)
    kinds["file"] = [sample / "faces-spring-2020" / "faces-spring-2020" / f"face-{i}.jpg" for i in kinds["id"]]
    both = pd.concat([pd.read_csv(sample / name) for name in ("train.csv", "test.csv")]).set_index("id")
    return kinds, both.loc[kinds["id"], [c for c in both if c[0] == "v"]].to_numpy(dtype=np.float32)


def nearest(faces: np.ndarray, others: np.ndarray) -> np.ndarray:
    """RMS difference, in levels of 0..255, of each (N, 96, 96, 3) uint8 texture to the nearest of the others.

    Textures are compared at 24x24, where no detail hides that two faces are one; mirror images count too.
    """

    def small(textures: np.ndarray) -> np.ndarray:
        return textures.reshape(-1, 24, 4, 24, 4, 3).mean((2, 4), dtype=np.float32).reshape(len(textures), -1)

    a, b = small(faces), small(np.concatenate([others, others[:, :, ::-1]]))
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(square.min(1), 0) / a.shape[1])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sample", type=Path, default=make_sample.SAMPLE)
    parser.add_argument("--lfw", metavar="PATH", help="as data_load.LFW reads it")
    parser.add_argument("--ffhq", metavar="PATH", help="as data_load.LabelsCSV reads it")
    parser.add_argument("--celeba", metavar="PATH", help="as data_load.CelebA reads it")
    parser.add_argument("--model", default="glasses", help="a name, an .onnx or a .safetensors file")
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("runs/sample"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    add_note(parser)
    return parser.parse_args()


def judge_on_real_faces(options: argparse.Namespace) -> Iterator[dict]:
    """What a network that learned from the sample alone is worth on real faces."""
    given = {name: path for name, path in (("lfw", options.lfw), ("ffhq", options.ffhq)) if path}
    detector = load_detector("auto")
    real = {name: CachedFaces(open_source(name, path), detector, options.cache) for name, path in given.items()}
    for seed in options.seeds if real else []:
        model = train_on_sample(options.sample, options.cache, options.out / str(seed), options.epochs, seed)
        for name, faces in real.items():
            of, glasses = (
                f"trained on it (seed {seed}), tested on {name.upper()}",
                int((faces.labels != Label.NONE).sum()),
            )
            balanced, recall, rest = (100 * value for value in balanced_accuracy(model, faces))
            yield line("balanced accuracy", of, balanced, len(faces), wanted="80 %, better 90 %")
            yield line("... with glasses", of, recall, glasses)
            yield line("... without", of, rest, len(faces) - glasses)


def ask_classifier(model: str, kinds: pd.DataFrame) -> Iterator[dict]:
    """How often the classifier, if there is one yet, agrees with how the faces were made: over all, by kind."""
    try:
        classifier = open_classifier(model)
    except FileNotFoundError as error:
        print(f"left out: {error}", file=sys.stderr)
        return
    answers = list(GlassesPipeline(classifier=classifier)(list(kinds["file"])))
    right = np.array([answer.glasses for answer in answers]) == (kinds["glasses"] == 1).to_numpy()
    yield line("agreement of the classifier", "all", 100 * right.mean(), len(right), wanted="97 %")
    for name, part in (*kinds.groupby("kind"), *kinds[kinds["extra"] != ""].groupby("extra")):
        yield line("... of the classifier", name, 100 * right[part.index].mean(), len(part))


def compare_with_training_faces(options: argparse.Namespace, latents: np.ndarray, slim) -> Iterator[dict]:
    """How near the synthetic faces come to the faces that the generator saw, beside real ones that it did not."""
    from synthetic.train_generator import textures_of

    generator = FaceGenerator.load()
    seen, unseen = (
        textures_of(
            open_source("celeba", options.celeba, split=part), options.cache / f"{part}.npz", generator.mean_landmarks
        )
        for part in ("train", "validation")
    )
    people = make_sample.people(make_sample.IDENTITIES, make_sample.PICTURES, slim, make_sample.SEED)
    shipped = np.concatenate([latents, [latent for made in people for latent, _ in made]])
    made = nearest(generator.textures(shipped[:, : generator.size]), seen["textures"])
    other = nearest(unseen["textures"], seen["textures"])
    for name, values in (("synthetic", made), ("real, held out", other)):
        for of, value in zip(("least", "1st percentile", "median"), np.percentile(values, [0, 1, 50]), strict=True):
            yield line(f"distance to the nearest training face, {name}", of, value, len(values), "levels")
    share = 100 * (made >= np.percentile(other, 1)).mean()
    yield line("no nearer than the 1st percentile of real ones", "all", share, len(made), wanted="100 %")


def find_faces(kinds: pd.DataFrame, slim) -> Iterator[dict]:
    """In how many of the pictures `slim` finds a face."""
    found = np.array([len(slim(read_image(file)[0])) > 0 for file in kinds["file"]])
    yield line("`slim` finds a face", "all", 100 * found.mean(), len(found), wanted="98 %")


def main() -> int:
    options = parse_arguments()
    options.cache.mkdir(parents=True, exist_ok=True)
    kinds, latents = tables(options.sample)
    slim = load_detector("slim")
    measured = [judge_on_real_faces(options), ask_classifier(options.model, kinds), find_faces(kinds, slim)]
    if options.celeba:
        measured.append(compare_with_training_faces(options, latents, slim))
    rows = []
    print("| measure | of | wanted | measured | faces |\n|---|---|---|--:|--:|")
    for row in chain.from_iterable(measured):
        rows.append(row)
        print("| {measure} | {of} | {wanted} | {value:.1f} {unit} | {faces:,} |".format(**row), flush=True)
    lines = header(f"networks trained for {options.epochs} epochs", note=options.note)
    write_table(pd.DataFrame(rows), RESULTS / "sample.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
