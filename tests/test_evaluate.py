"""Metrics against hand-computed cases and other libraries, and the command on drawn faces."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binomtest

import evaluate
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
from glasses.classifiers import WEIGHTS
from glasses.pipeline import GlassesPipeline
from models import WEIGHTS as TORCH_WEIGHTS
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
    assert "| folder | 2 | 0 | 0 | 100.00 (34.24 to 100.00) |" in format_table({"folder": found})


def test_nobody_is_wrong_whatever_the_label():
    rows = [(Label.NONE, 0.1, "none"), (Label.EYEGLASSES, 0.9, "eyeglasses"), (Label.EYEGLASSES, 0.2, "none")]
    frame = answers([*rows, (Label.NONE, None, None), (Label.SUNGLASSES, None, None)])
    frame["glasses"] = frame["glasses"].astype(object).where(frame["answer"].notna(), None)
    found = summarize(frame)
    assert (found["faces"], found["errors"], found["not found"]) == (5, 3, 2)
    assert found["accuracy"] == 2 / 5
    assert (found["precision"], found["recall"]) == (1, pytest.approx(1 / 3))
    assert found["AUC"] == 1  # of those with a probability
    assert found["ECE"] == pytest.approx((0.1 + 0.1 + 0.8) / 3)
    assert found["kind"] == 1
    lines = format_table({"a": found}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    assert cells[2][cells[0].index("not found")] == "2"
    assert np.isnan(summarize(frame[3:])["AUC"])
    assert np.isnan(summarize(frame[3:])["ECE"])


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
    pipeline = GlassesPipeline()
    found = answer_dataset(dataset, pipeline)
    assert summarize(found)["accuracy"] == 1
    wrong = answer_dataset(dataset.relabel({"glasses/a.png": Label.NONE}), pipeline)
    figure = draw_errors(wrong, pipeline.detector)
    (drawn,) = [axis for axis in figure.axes if axis.has_data()]
    assert Path(wrong["file"].iloc[0]).stem in drawn.get_title()


def test_pictures_of_nobody_are_drawn_last(portraits, nobody):
    shutil.copy(nobody[0], portraits / "glasses" / "b.png")
    pipeline = GlassesPipeline()
    dataset = FolderPerClass(portraits).relabel({"no_glasses/a.png": Label.EYEGLASSES})
    found = answer_dataset(dataset, pipeline).set_index("file")
    row = found.loc[str(portraits / "glasses" / "b.png")]
    assert row["glasses"] is None
    assert np.isnan(row["probability"])
    titles = [axis.get_title() for axis in draw_errors(found.reset_index(), pipeline.detector).axes if axis.has_data()]
    assert ["not found" in title for title in titles] == [False, True]


def test_unreadable_face_is_named(portraits):
    (portraits / "glasses" / "b.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b\.png"):
        answer_dataset(FolderPerClass(portraits), GlassesPipeline())


def test_command(portraits, nobody, capsys):
    shutil.copy(nobody[0], portraits / "no_glasses" / "nobody.png")
    out = portraits / "out"
    command = ["--validate", f"folder={portraits}", "--device", "cpu"]
    assert evaluate.main([*command, "--csv", str(out / "answers.csv"), "--errors", str(portraits / "errors.png")]) == 0
    assert "| folder | 3 | 1 | 1 | 66.67" in capsys.readouterr().out
    table = pd.read_csv(out / "answers.csv", keep_default_na=False).set_index("file")
    row = table.loc[str(portraits / "no_glasses" / "nobody.png")]
    assert (row["detector"], row["answer"], row["glasses"], row["probability"]) == ("", "", "", "")
    assert set(table["detector"]) == {"slim", ""}
    assert [file.name for file in out.iterdir()] == ["answers.csv"]
    assert (portraits / "errors.png").is_file()
    assert evaluate.main([*command, "--assume-face", "--csv", str(out / "answers.csv")]) == 0
    assert capsys.readouterr().out.splitlines()[2].split(" | ")[3] == "0", "not found"
    row = pd.read_csv(out / "answers.csv").set_index("file").loc[str(portraits / "no_glasses" / "nobody.png")]
    assert row["detector"] == "center"
    assert row["probability"] >= 0


def test_models_are_measured_side_by_side_by_torch_and_onnx_runtime(portraits, capsys):
    models = [WEIGHTS / "glasses.onnx", TORCH_WEIGHTS / "glasses.safetensors"]
    command = ["--validate", f"folder={portraits}", "--device", "cpu", "--model", *map(str, models)]
    assert evaluate.main(command) == 0
    first, second = capsys.readouterr().out.splitlines()[2:]
    assert first.replace(str(models[0]), "") == second.replace(str(models[1]), "")


@pytest.mark.parametrize(
    ("more", "message"),
    [(["--model", "nonsense"], "no network 'nonsense'"), (["--device", "tpu9"], "'tpu9' cannot be used here")],
)
def test_a_wrong_model_or_device_is_one_line_before_any_face_is_read(capsys, more, message):
    assert evaluate.main(["--validate", "folder=/nowhere", *more]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_bad_faces_are_left_out_on_request(portraits, capsys):
    (portraits / "glasses" / "b.png").write_bytes(b"broken")
    command = ["--validate", f"folder={portraits}", "--device", "cpu"]
    assert evaluate.main(command) == 1
    assert "b.png" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="left out 1 of the faces"):
        assert evaluate.main([*command, "--skip-bad"]) == 0
    assert "| folder | 2 | 0 | 0 |" in capsys.readouterr().out
