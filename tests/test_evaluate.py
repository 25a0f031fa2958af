"""Metrics against hand-computed cases and other libraries, and the command on drawn faces."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binomtest

from conftest import ROOT, cartoon
from data_load import FolderPerClass, Label
from evaluate import (
    answer_dataset,
    draw_errors,
    expected_calibration_error,
    format_table,
    summarize,
    wilson_interval,
)
from find_data import DataError
from glasses.pipeline import GlassesPipeline
from timing import measure


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (133, 135), (1990, 2000), (1, 3)])
def test_wilson_agrees_with_scipy(hits, count):
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-4)


def answers(rows) -> pd.DataFrame:
    """rows: (label, P(glasses), answer)."""
    frame = pd.DataFrame(rows, columns=["label", "probability", "answer"])
    return frame.assign(glasses=frame["answer"] != "none", file="x.jpg", identity="", detector="slim")


def test_summary_of_a_hand_computed_case():
    found = summarize(
        answers(
            [
                (Label.NONE, 0.1, "none"),
                (Label.NONE, 0.2, "none"),
                (Label.NONE, 0.6, "eyeglasses"),
                (Label.EYEGLASSES, 0.9, "eyeglasses"),
                (Label.SUNGLASSES, 0.8, "eyeglasses"),
                (Label.SUNGLASSES, 0.8, "sunglasses"),
                (Label.UNKNOWN_KIND, 0.7, "sunglasses"),
                (Label.UNKNOWN_KIND, 0.3, "none"),
            ]
        )
    )
    assert (found["faces"], found["errors"]) == (8, 2)
    assert found["accuracy"] == 6 / 8
    assert found["precision"] == found["recall"] == found["F1"] == pytest.approx(4 / 5)
    assert found["AUC"] == pytest.approx(14 / 15)  # of 3 x 5 pairs only (0.6, 0.3) is in the wrong order
    assert found["kind"] == pytest.approx(2 / 3)  # of the three of known kind


def test_one_class_alone_has_no_auc():
    found = summarize(answers([(Label.NONE, 0.1, "none"), (Label.NONE, 0.2, "none")]))
    assert np.isnan(found["AUC"])
    assert found["accuracy"] == 1
    assert "| folder | 2 | 0 | 100.00 (34.24 to 100.00) |" in format_table({"folder": found})


def test_calibration_error():
    p = np.array([0.95] * 10 + [0.05] * 10)
    assert expected_calibration_error(p, np.array([True] * 10 + [False] * 10)) == pytest.approx(0.05)
    assert expected_calibration_error(p, np.array([True] * 5 + [False] * 15)) == pytest.approx((0.45 + 0.05) / 2)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == 0


def test_measure_calls_as_often_as_it_says():
    calls = []
    times = measure(lambda: calls.append(1), repeats=7, warmup=3)
    assert len(calls) == 10
    assert 0 <= times["min"] <= times["median"] <= times["p95"]


@pytest.fixture
def portraits(tmp_path, hopper, astronaut):
    for folder, photo in (("glasses", hopper), ("no_glasses", astronaut)):
        (tmp_path / folder).mkdir()
        Image.open(photo).convert("RGB").save(tmp_path / folder / "a.png")
    return tmp_path


def test_portraits_are_answered_and_a_wrong_label_is_drawn(portraits):
    dataset = FolderPerClass(portraits)
    pipeline = GlassesPipeline(device="cpu")
    found = answer_dataset(dataset, pipeline)
    assert summarize(found)["accuracy"] == 1
    wrong = answer_dataset(dataset.relabel({"glasses/a.png": Label.NONE}), pipeline)
    figure = draw_errors(wrong, pipeline.detector)
    (drawn,) = [axis for axis in figure.axes if axis.has_data()]
    assert Path(wrong["file"].iloc[0]).stem in drawn.get_title()


def test_unreadable_face_is_named(portraits):
    (portraits / "glasses" / "b.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b\.png"):
        answer_dataset(FolderPerClass(portraits), GlassesPipeline(device="cpu"))


def test_command(portraits):
    cartoon(0).save(portraits / "no_glasses" / "drawn.png")
    out = portraits / "answers.csv"
    command = [sys.executable, "evaluate.py", "--validate", f"folder={portraits}", "--csv", str(out), "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| folder | 3 |" in done.stdout
    assert len(pd.read_csv(out)) == 3
    done = subprocess.run([*command, "--model", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
