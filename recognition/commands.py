"""What does the command line of the wing say?

    python -m recognition triplets make NUMBER DATASET [--split train|test] [-w N] [--seed N]
    python -m recognition triplets list
    python -m recognition triplets coverage --set ID

    python -m recognition models distill mobilenet_v3_small --teacher FILE.onnx --train-set ID|DATASET ...
                                 [--test-set ID|lfw ...] [-e EPOCHS] [-t TEMPERATURE] [--lr RATE] [--no-lr-scheduler]
                                 [-b BATCH] [--views N] [--glasses SHARE] [--relations WEIGHT] [--without lfw=PATH ...]
                                 [--share PART] [-w N] [--seed N] [--out DIR] [--init RUN] [--resume]
    python -m recognition models list
    python -m recognition models test --student RUN | --teacher FILE.onnx --set ID|lfw|meglass [--measure match|class]
                              [--plot FILE]
    python -m recognition models export RUN --output FILE.onnx [--select-set DATASET ...] [--whiten-set DATASET ...]

A DATASET is NAME or NAME=PATH, of agedb, vggface2, celeba, meglass, sample, pictures and lfw; without a path it lies
below data/raw. A RUN is its number in `models list`, or its folder.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from compress import STORED
from find_data import DataError
from glasses.files import whole_file
from recognition.chips import Network
from recognition.datasets import DATASETS, LFW, PARTS, MeGlass, open_people
from recognition.measure import class_accuracy, match_accuracy, measure_glasses, measure_lfw
from recognition.students import STUDENTS
from recognition.triplets import STORE, TripletSet, coverage, make_set, open_set, read_about, set_numbers

PROGRAM = "python -m recognition"
RUNS = Path("runs/recognition")
SETS_OF_RUN = "sets.json"  # in the folder of a run: the data sets it was given, as on the command line


# ------------------------------------------------------------------------------------------------------ triplets


def triplets_make(options: argparse.Namespace) -> None:
    """`triplets make`."""
    people = open_people(options.dataset)
    number = make_set(
        people, options.split, options.number, options.seed, options.store, options.cache, options.workers
    )
    about = read_about(number, options.store)
    print(f"set {number}: {about['number']} triplets of {people.source}, {options.split}")
    for words in ("without a face", "unreadable"):
        if about[words]:
            print(f"left out: {about[words]} pictures {words}")


def triplets_list(options: argparse.Namespace) -> None:
    """`triplets list`."""
    rows = [(str(number), read_about(number, options.store)) for number in set_numbers(options.store)]
    names = ("dataset", "split", "number", "date")
    print_table(
        ("id", "data set", "split", "number", "date"), [(own, *(about[n] for n in names)) for own, about in rows]
    )


def triplets_coverage(options: argparse.Namespace) -> None:
    """`triplets coverage`."""
    triplets = open_set(options.set, options.store)
    words = {"people": "people", "several": "of those with several pictures, as anchors", "pictures": "pictures"}
    for what, (used, there) in coverage(triplets).items():
        print(f"{words[what]}: {used} of {there} ({100 * used / there:.1f} %)")


# -------------------------------------------------------------------------------------------------------- models


def models_distill(options: argparse.Namespace) -> None:
    """`models distill`."""
    import cv2

    from models import pick_device
    from recognition.distill import DistillSettings, DistillTrainer
    from recognition.faces import share_of, strangers, training_views
    from recognition.figures import plot_distillation
    from recognition.students import StudentNetwork, read_student
    from recognition.teachers import OnnxTeacher

    cv2.setNumThreads(1)  # each process that draws views has one
    if not 0 < options.share <= 1:
        raise ValueError(f"--share must be above 0 and at most 1, not {options.share}")
    if options.resume and not options.out:
        raise ValueError("--resume goes on with the run in --out: name its folder")
    tests = [open_test(value, "match", options) for value in options.test_set]  # what is missing is told now
    names = ("epochs", "temperature", "relations", "lr", "batch", "views", "glasses", "seed", "bfloat16")
    settings = {name: getattr(options, name) for name in names}
    settings |= {"network": options.network, "schedule": not options.no_lr_scheduler}
    DistillSettings(**settings).check(bool(options.init), True)
    device = pick_device(options.device)
    start = read_student(run_folder(options.init) / "checkpoint.pt") if options.init else None
    workers = options.workers or 1
    teacher = OnnxTeacher(options.teacher, workers)
    if start and (start.name, start.size) != (options.network, teacher.size):
        raise ValueError(f"--init {options.init} is a {start.name} of {start.size} numbers: name another")
    train, select = training_views(options.train_set, options.seed, options.store, options.cache, options.workers)
    for value in options.without:
        train = strangers(train, teacher, value, options.cache, options.workers)
    if options.share < 1:
        train = share_of(train, options.share)
    out = options.out or RUNS / str(1 + max(run_numbers(), default=0))
    machine = {"start": start, "device": device, "workers": workers, "cache": options.cache}
    trainer = DistillTrainer(train, select, teacher, out, **machine, **settings)
    if options.resume and trainer.resume():
        print(f"resumed after epoch {len(trainer.history)}")
    with whole_file(out / SETS_OF_RUN) as unfinished:
        unfinished.write_text(json.dumps(options.train_set) + "\n")
    trainer.fit()
    with whole_file(out / "curves.png") as unfinished:
        plot_distillation(trainer.history).savefig(unfinished, dpi=120, format="png")
    print(f"best epoch {trainer.best['epoch']} of {len(trainer.history)}; the run is {out}")
    for value, test in zip(options.test_set, tests, strict=True):
        print(f"{value}: {test(StudentNetwork(trainer.result())).words}")


def models_list(options: argparse.Namespace) -> None:
    """`models list`."""
    rows = []
    for number in run_numbers():
        folder = RUNS / str(number)
        with open(folder / "log.csv", newline="") as file:
            history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        config, best = json.loads((folder / "config.json").read_text()), min(history, key=lambda row: row["loss"])
        epochs = f"{len(history)} of {config['epochs']}"
        rows.append((number, config["network"], epochs, f"{best['epoch']:.0f}", f"{1 - best['loss']:.4f}"))
    print_table(("id", "network", "epochs", "best epoch", "cosine to the teacher"), rows)


def models_test(options: argparse.Namespace) -> None:
    """`models test`."""
    if options.measure and not options.set.isdecimal():
        raise ValueError(f"--measure is of triplet sets, and {options.set} has a measure of its own: leave it out")
    if options.plot and options.set.isdecimal():
        raise ValueError("--plot draws the ROC curves of pairs: of lfw or meglass, not of a triplet set")
    test = open_test(options.set, options.measure or "match", options)
    tested = test(open_network(options.student, options.teacher))
    print(tested.words)
    if options.plot:
        from recognition.figures import plot_verification

        with whole_file(options.plot) as unfinished:
            plot_verification(tested.pairs).savefig(unfinished, dpi=120, format=options.plot.suffix[1:] or "png")


def models_export(options: argparse.Namespace) -> None:
    """`models export`."""
    from glasses.recognizer import Recognizer
    from recognition.export import agreement, export_student, whitening
    from recognition.faces import known_faces
    from recognition.students import StudentNetwork, read_student

    folder = run_folder(options.run)
    student = read_student(folder / "checkpoint.pt")
    sets = options.select_set
    if not sets and (folder / SETS_OF_RUN).is_file():
        sets = [value for value in json.loads((folder / SETS_OF_RUN).read_text()) if not value.isdecimal()]
    if not sets:
        raise ValueError("on whose select part is the threshold to be set? Name data sets with --select-set")
    places = {"cache": options.cache, "workers": options.workers}
    faces = known_faces(sets, "select", **places)
    layer, header = None, {"data": sorted(faces)}
    if options.whiten_set:
        learned = known_faces(options.whiten_set, "train", **places)
        layer, header["whitened"] = whitening(StudentNetwork(student), learned), sorted(learned)
    path = export_student(student, options.output, faces, options.weights, header, layer)
    written, views = Recognizer(path), next(iter(faces.values())).chips.views()
    chips = np.stack([views.view(face, 0) for face in range(min(256, len(views)))])
    least = agreement(StudentNetwork(student, layer), written, chips)
    print(
        f"wrote {path}, {path.stat().st_size / 1000:.1f} KB; the same person from a cosine of {written.threshold:.4f}"
    )
    print(f"its vectors and those in 32 bits: cosine of at least {least:.4f} on {len(chips)} faces")


class Tested(NamedTuple):
    """What a test found, in words, and by name cosines and truth of its pairs, where it has pairs."""

    words: str
    pairs: dict[str, tuple[np.ndarray, np.ndarray]]


def open_test(value: str, measure: str, options: argparse.Namespace) -> Callable[[Network], Tested]:
    """What asks a network, by the number of a triplet set or a data set. Raises DataError where it is not there."""
    if value.isdecimal():
        return partial(_on_triplets, triplets=open_set(int(value), options.store), measure=measure)
    people = open_people(value)
    if isinstance(people, LFW):
        people.pairs()  # is the list whole? This is told now
        return partial(_on_lfw, people=people, options=options)
    if isinstance(people, MeGlass):
        return partial(_on_glasses, people=people, options=options)
    raise DataError(f"{value} has no measure of its own: give lfw, meglass, or the number of a triplet set of it")


def _on_triplets(network: Network, triplets: TripletSet, measure: str) -> Tested:
    vectors = triplets.chips.vectors(network)
    about = triplets.about
    of = f"({about['dataset']}, {about['split']})"
    if measure == "match":
        accuracy = match_accuracy(vectors, triplets.triplets)
        return Tested(f"match accuracy {100 * accuracy:.2f} % of {len(triplets.triplets)} triplets {of}", {})
    accuracy, pictures, people = class_accuracy(vectors, triplets.names, triplets.identities)
    return Tested(f"class accuracy {100 * accuracy:.2f} % of {pictures} pictures of {people} people {of}", {})


def _on_lfw(network: Network, people: LFW, options: argparse.Namespace) -> Tested:
    row, cosines, same = measure_lfw(network, people, options.cache, options.workers)
    accuracy = f"{100 * row['accuracy']:.2f} % (deviation over the folds {100 * row['deviation']:.2f})"
    rest = f"equal error rate {100 * row['eer']:.2f} %; no face found in {row['not_found']} pictures"
    return Tested(f"{row['pairs']} pairs: {accuracy}; {rest}", {"LFW": (cosines, same)})


def _on_glasses(network: Network, people: MeGlass, options: argparse.Namespace) -> Tested:
    rows, pairs = measure_glasses(network, people, options.cache, options.workers)
    lines = []
    for row in rows:
        accuracy = f"{100 * row['accuracy']:.2f} % ({100 * row['low']:.2f} to {100 * row['high']:.2f})"
        less = f"{100 * row['less']:.2f} points less ({100 * row['less_low']:.2f} to {100 * row['less_high']:.2f})"
        rest = f"equal error rate {100 * row['eer']:.2f} %"
        lines.append(f"{row['pairs']} pairs {row['kind']}: {accuracy}; {rest}" + (f"; {less}" if len(lines) else ""))
    return Tested("\n".join(lines), pairs)


def open_network(student: str | None, teacher: Path | None) -> Network:
    """The network of --student, a run or an .onnx file, or of --teacher. Raises what opening it raises."""
    if teacher:
        from recognition.teachers import OnnxTeacher

        return OnnxTeacher(teacher)
    if student.endswith(".onnx"):
        from glasses.recognizer import Recognizer

        return Recognizer(student)
    from recognition.students import StudentNetwork, read_student

    return StudentNetwork(read_student(run_folder(student) / "checkpoint.pt"))


def run_numbers() -> list[int]:
    """Of the runs in RUNS, ascending."""
    return sorted(int(path.parent.name) for path in RUNS.glob("*/config.json") if path.parent.name.isdecimal())


def run_folder(run: str) -> Path:
    """The folder of a run, named by its number or as it is. Raises DataError where there is none."""
    for folder in (RUNS / run, Path(run)):
        if (folder / "checkpoint.pt").is_file():
            return folder
    raise DataError(f"no run {run}: `{PROGRAM} models list` shows those in {RUNS}, others are named by their folder")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as what is in them."""
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# ------------------------------------------------------------------------------------------------ the command line


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 and one line where it is wrong."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Who is it? Data sets, triplets, distillation, tests.")
    groups = parser.add_subparsers(dest="group", required=True)
    triplets = groups.add_parser("triplets", help="which pictures are compared").add_subparsers(required=True)
    models = groups.add_parser("models", help="networks that tell people apart").add_subparsers(required=True)
    _add_triplets(triplets)
    _add_distill(models)
    _add_models(models)
    return parser.parse_args(arguments)


def _add_triplets(commands: argparse._SubParsersAction) -> None:
    make = _command(commands, "make", triplets_make, "draw triplets, and align their faces")
    make.add_argument("number", type=int, help="how many triplets")
    make.add_argument("dataset", metavar="DATASET", help=f"{', '.join(DATASETS)}; NAME or NAME=PATH")
    make.add_argument("--split", default="train", choices=PARTS, help="whose (default: train); test: who never train")
    make.add_argument("--seed", type=int, default=0, help="decides which (default: 0)")
    _command(commands, "list", triplets_list, "which sets there are")
    covered = _command(commands, "coverage", triplets_coverage, "how much of its data set a set uses")
    covered.add_argument("--set", type=int, required=True, metavar="ID", help="its number in the list")


def _add_distill(commands: argparse._SubParsersAction) -> None:
    distill = _command(commands, "distill", models_distill, "train a student to say what a teacher says")
    add = distill.add_argument
    add("network", choices=STUDENTS)
    add("--teacher", type=Path, required=True, metavar="FILE.onnx", help="a face-recognition network of yours")
    add("--train-set", nargs="+", required=True, metavar="ID|DATASET", help="triplet sets or data sets to learn from")
    add("--test-set", nargs="+", default=[], metavar="ID|lfw", help="what the result is measured on")
    add("-e", "--epochs", type=int, default=20, help="more of them extend a run with --resume (default: 20)")
    add("-t", "--temperature", type=float, default=0.1, help="of the relations within a batch (default: 0.1)")
    add("--lr", type=float, default=4e-3, help="highest learning rate of the cycle (default: 0.004)")
    add("--no-lr-scheduler", action="store_true", help="no cycle: the rate stays as it is")
    add("-b", "--batch", type=int, default=128, help="faces a step (default: 128)")
    add("--views", type=int, default=8, help="of each face, one an epoch in turn (default: 8)")
    add("--glasses", type=float, default=0.0, metavar="SHARE", help="of the views, with glasses drawn on (default: 0)")
    add("--relations", type=float, default=0.5, help="weight of the relations within a batch (default: 0.5)")
    add("--without", nargs="+", default=[], metavar="DATASET", help="leave out who looks like someone of it, as lfw")
    add("--share", type=float, default=1.0, help="train on this part of the faces (default: 1)")
    add("--seed", type=int, default=0)
    add("--bfloat16", action="store_true", help="compute in 16 bits where the processor has it")
    add("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    add("--out", type=Path, help=f"folder of the run (default: the next number in {RUNS})")
    add("--init", metavar="RUN", help="start from the best weights of this run")
    add("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")


def _add_models(commands: argparse._SubParsersAction) -> None:
    _command(commands, "list", models_list, "which runs there are")
    test = _command(commands, "test", models_test, "how well people are told apart")
    which = test.add_mutually_exclusive_group(required=True)
    which.add_argument("--student", metavar="RUN", help="a run, or an .onnx file of `models export`")
    which.add_argument("--teacher", type=Path, metavar="FILE.onnx")
    test.add_argument("--set", required=True, metavar="ID|lfw|meglass", help="a triplet set, lfw=PATH or meglass=PATH")
    test.add_argument("--measure", choices=("match", "class"), help="on a triplet set (default: match)")
    test.add_argument("--plot", type=Path, metavar="FILE", help="draw the ROC curve there")
    export = _command(commands, "export", models_export, "write a student for the tool")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--output", type=Path, required=True, metavar="FILE.onnx")
    export.add_argument("--weights", default="int8", choices=STORED, help="how they are stored")
    export.add_argument(
        "--select-set", nargs="+", default=[], metavar="DATASET", help="on whose select parts the threshold is set"
    )
    export.add_argument(
        "--whiten-set", nargs="+", default=[], metavar="DATASET", help="by whose train parts the vectors are whitened"
    )


def _command(
    commands: argparse._SubParsersAction, name: str, function: Callable, words: str
) -> argparse.ArgumentParser:
    """A parser whose command is `function`, with the options that all have."""
    parser = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    parser.set_defaults(function=function)
    parser.add_argument("-w", "--workers", type=int, help="threads or processes")
    parser.add_argument("--store", type=Path, default=STORE, metavar="DIR", help="of the triplet sets")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), metavar="DIR", help="of faces and answers")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m recognition ...`; returns the exit status."""
    options = parse_arguments(arguments)
    try:
        options.function(options)
    except (DataError, ImportError, ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0
