"""Would more faces make a better student?  One is taught with a part of the faces, one with more, one with all.

    python -m benchmarks.recognition_faces --teacher FILE.onnx --train-set celeba=PATH meglass=PATH ... --lfw PATH
                                           [--shares 0.333 0.667 1] [--epochs 8] [--views 4] [--note WORDS]
                                           [--out runs/recognition_faces]

Writes results/recognition_faces.csv, a row a share, and recognition_faces.png: cosine to the teacher, in training and
on the faces of the select parts, and LFW's pairs by the official protocol. Who looks like someone of LFW is left out.
All students learn from as many views: --epochs is that of all faces, of fewer there are more epochs; a larger share
holds all faces of a smaller one. A run that was cut off goes on where it was.
"""

import argparse
import sys
from pathlib import Path

import cv2
import pandas as pd

from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from glasses.files import whole_file
from models import pick_device
from recognition.datasets import open_people
from recognition.distill import DistillTrainer, embed
from recognition.faces import share_of, strangers, training_views
from recognition.figures import plot_shares
from recognition.measure import measure_lfw
from recognition.students import STUDENTS, StudentNetwork
from recognition.teachers import OnnxTeacher
from recognition.views import Views


def measure_share(
    options: argparse.Namespace, train: Views, select: Views, teacher: OnnxTeacher, epochs: int
) -> dict[str, float]:
    """faces and epochs; cosine to the teacher on the faces trained on, and on others; LFW's accuracy and deviation."""
    out, device = options.out / f"{options.network}-{len(train)}-{epochs}", pick_device("auto")
    settings = {name: getattr(options, name) for name in ("network", "batch", "views", "seed")} | {"relations": 0.2}
    trainer = DistillTrainer(
        train, select, teacher, out, epochs, device=device, workers=1, cache=options.cache, **settings
    )
    trainer.resume()
    trainer.fit()
    student = trainer.result()
    cosine = (embed(student, train, device) * train.answers(teacher, 0, options.cache)).sum(1).mean()
    lfw, _, _ = measure_lfw(StudentNetwork(student), open_people(f"lfw={options.lfw}"), options.cache, options.workers)
    row = {"faces": len(train), "epochs": epochs, "cosine_train": cosine, "cosine_select": 1 - trainer.best["loss"]}
    return row | {"lfw_accuracy": lfw["accuracy"], "lfw_deviation": lfw["deviation"], "lfw_eer": lfw["eer"]}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--teacher", required=True, type=Path, metavar="FILE.onnx")
    parser.add_argument("--train-set", required=True, nargs="+", metavar="ID|DATASET")
    parser.add_argument("--lfw", required=True, metavar="PATH")
    parser.add_argument("--network", default=STUDENTS[0], choices=STUDENTS)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.333, 0.667, 1.0])
    parser.add_argument("--epochs", type=int, default=8, help="of all faces (default: 8)")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--views", type=int, default=4, help="of each face (default: 4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/recognition_faces"))
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--workers", type=int)
    add_note(parser)
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    cv2.setNumThreads(1)
    teacher = OnnxTeacher(options.teacher)
    train, select = training_views(options.train_set, options.seed, cache=options.cache, workers=options.workers)
    train = strangers(train, teacher, f"lfw={options.lfw}", options.cache, options.workers)
    rows = []
    for share in options.shares:
        part = share_of(train, share)
        epochs = round(options.epochs * len(train) / len(part))
        rows.append(measure_share(options, part, select, teacher, epochs))
        print(pd.Series(rows[-1]).to_string(), end="\n\n", flush=True)
    rows = pd.DataFrame(rows)
    lines = header(
        f"{options.network}; {options.views} views of each face; {len(select)} select faces", note=options.note
    )
    write_table(rows, RESULTS / "recognition_faces.csv", lines)
    with whole_file(RESULTS / "recognition_faces.png") as unfinished:
        plot_shares(rows).savefig(unfinished, dpi=120, format="png")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
