"""The benchmarks: what they count, what they write, and that what lies in results/ says where it came from."""

import argparse
import sys

import numpy as np
import pandas as pd
import pytest

import train
from benchmarks import latency, report
from benchmarks.accuracy import Faces, measure_network, train_network
from benchmarks.cross_validation import balanced_part
from benchmarks.networks import RECIPES, SHAPES, Recipe, folder_of, shape_of
from benchmarks.robustness import count_answers
from compress import prune_channels
from data_load import Label, MeGlass
from detector_architectures import load_detector
from face_cache import CachedFaces
from find_data import DataError
from glasses.classifiers import WEIGHTS as ONNX_WEIGHTS
from glasses.pipeline import Answer
from models import WEIGHTS, GlassesCNN, make_model


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


@pytest.mark.parametrize(
    "name", ["accuracy", "cross_validation", "input_size", "latency", "robustness", "sample", "time_network"]
)
def test_each_program_says_how_it_is_run(name):
    assert f"python -m benchmarks.{name} " in (report.ROOT / "benchmarks" / f"{name}.py").read_text()


def test_nobody_is_counted_apart_from_missed_glasses():
    answers = [Answer("", glasses) for glasses in (True, True, False, False, None, None)]
    row = count_answers(answers, np.array([True, False, True, False, True, False]))
    assert (row["missed"], row["false"], row["not_found"]) == (1, 1, 2)
    assert row["accuracy"] == pytest.approx(2 / 6)
    assert row["low"] < 2 / 6 < row["high"]


def test_results_say_where_they_came_from():
    tables = {}
    for name in ("accuracy", "latency", "cross_validation", "photo"):
        lines = (report.RESULTS / f"{name}.csv").read_text().splitlines()
        keys = [line[2:].split(":")[0] for line in lines if line.startswith("# ")]
        assert keys[:4] == ["command", "date", "machine", "versions"], name
        tables[name] = pd.read_csv(report.RESULTS / f"{name}.csv", comment="#")
    assert set(tables["latency"]["network"]) == set(SHAPES)
    assert {*RECIPES, "weights/glasses", "weights/accurate"} <= set(tables["accuracy"]["network"])
    assert set(tables["accuracy"]["shape"]) <= set(SHAPES)
    folds = tables["cross_validation"].groupby(["network", "faces"])["fold"].nunique()
    assert (folds == 5).all()
    assert len(folds) == 10
