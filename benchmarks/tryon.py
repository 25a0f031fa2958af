"""Do glasses that were tried on look like glasses?  The classifier's answer on bare faces with every frame.

    python -m benchmarks.tryon --data celeba=PATH lfw=PATH [--validate ffhq=PATH] [--faces 200] [--model glasses]
                               [--note WORDS]

The faces are bare ones of the report parts, as many of each source, on which the classifier was not trained. Key points
and drawing are the tool's. Writes results/tryon.csv, a row a frame: faces, the share called glasses, the share of the
right kind; and a row "none", the same faces with nothing on.
"""

import argparse
import sys

import numpy as np
import pandas as pd

from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from data_load import Label, read_corrections
from glasses.frames import FRAMES
from glasses.pipeline import GlassesPipeline
from glasses.tryon import try_on
from models import WEIGHTS
from sources import load_sources, named_paths

SEED = 0


def bare_faces(options: argparse.Namespace, pipeline: GlassesPipeline) -> list[tuple[np.ndarray, np.ndarray]]:
    """(image, key points) of the main face of `--faces` pictures, as many of each source."""
    corrections = read_corrections(WEIGHTS / "label_corrections.csv")
    report = load_sources(named_paths(options.data), named_paths(options.validate), corrections).report
    rng, chosen = np.random.default_rng(SEED), []
    for number, faces in enumerate(report.values()):
        wanted = (number + 1) * options.faces // len(report)
        for index in rng.permutation(np.flatnonzero(faces.labels == Label.NONE)):
            if len(chosen) == wanted:
                break
            image = faces.read(index)
            answer = pipeline.answer(image)
            if answer.faces:
                chosen.append((image, answer.faces[0].keypoints))
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE=PATH")
    parser.add_argument("--validate", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--faces", type=int, default=200)
    parser.add_argument("--model", default="glasses")
    add_note(parser)
    options = parser.parse_args()
    pipeline = GlassesPipeline(model=options.model, keypoints=True)
    faces = bare_faces(options, pipeline)
    rows = []
    for name in ("none", *FRAMES):
        drawn = [image if name == "none" else try_on(image, points, name) for image, points in faces]
        answers = list(pipeline(drawn))
        kind = "none" if name == "none" else "sunglasses" if FRAMES[name].kind == "tinted" else "eyeglasses"
        glasses = np.mean([answer.glasses is True for answer in answers])
        rows.append({"frame": name, "kind": kind, "faces": len(faces), "glasses": glasses})
        rows[-1]["right_kind"] = np.mean([answer.kind == kind for answer in answers])
        print(rows[-1], flush=True)
    lines = header(f"{len(faces)} bare faces of the report parts", note=options.note)
    write_table(pd.DataFrame(rows), RESULTS / "tryon.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
