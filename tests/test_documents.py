"""The documents hold the numbers of benchmarks/results/ and of the shipped files, and none of those kinds is typed."""

import math
import re
import shutil

import numpy as np
import onnx
import pandas as pd
import pytest

from benchmarks import report, sample
from benchmarks.documents import CONTENTS, DOCUMENTS, MARKED, folds_table, render
from benchmarks.evaluation import comparisons
from benchmarks.report import RESULTS, Results
from conftest import ROOT
from glasses.classifiers import WEIGHTS as ONNX_WEIGHTS

TYPED = re.compile(  # numbers that a program here measures, each with its unit; "about" makes one rough
    r"""(?<!about\s) (?<![\d.,])
    (?: \d[\d.,]* \s (?:million\s)? parameters
      | \d[\d.,]* \s? [KMG]B \b
      | \d[\d.,]* \s? (?:ms|milliseconds) \b
      | of \s \d{1,3},\d{3} \b
      | \d[\d.,]* \s (?:errors|wrong|missed|false\salarms) \b
      | \d[\d.,]* \s times \s as \s (?:large|small|slow|fast)
      | \| \s* \d[\d,]*\.\d+ \s* (?=\|) )  # a cell of a table
    """,
    re.VERBOSE | re.IGNORECASE,
)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def typed_numbers(text: str) -> list[str]:
    """What TYPED finds outside of markers and code."""
    return TYPED.findall(CODE.sub("", MARKED.sub("", text)))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_hold_what_was_measured(name):
    text = (ROOT / name).read_text()
    assert render(text, Results()) == text, "run `make tables`"
    markers = [match["name"] for match in MARKED.finditer(text)]
    assert markers
    assert text.count("<!-- end -->") == len(markers), "a marker does not end, or an end has no marker"


def test_every_content_is_somewhere():
    used = {match["name"] for name in DOCUMENTS for match in MARKED.finditer((ROOT / name).read_text())}
    assert used == set(CONTENTS)


def test_a_number_that_was_changed_by_hand_is_found(tmp_path):
    text = (ROOT / "README.md").read_text()
    match = next(match for match in MARKED.finditer(text) if match["name"] == "evaluation")
    falsified = text.replace(match["content"], match["content"].replace("100.00", "99.99"), 1)
    assert falsified != text
    assert render(falsified, Results()) == text
    shutil.copytree(RESULTS, tmp_path / "results")
    file = tmp_path / "results" / "evaluation.csv"
    lines = [line for line in file.read_text().splitlines() if line.startswith("#")]
    table = pd.read_csv(file, comment="#")
    table.loc[0, "errors"] += 1
    file.write_text("\n".join(lines) + "\n" + table.to_csv(index=False))
    assert render(text, Results(tmp_path / "results")) != text


@pytest.mark.parametrize(
    ("name", "table", "column"),
    [
        ("answer", "photo", "median_ms"),
        ("detectors", "detectors", "value"),
        ("start", "photo", "median_ms"),
        ("installed", "installation", "bytes"),
        ("face-glasses", "latency", "median_ms"),
        ("face-accurate", "latency", "median_ms"),
        ("quantized", "latency", "median_ms"),
        ("quantized", "shipped", "errors"),
        ("quantized", "shipped", "bytes"),
        ("costs", "latency", "median_ms"),
        ("costs", "shipped", "bytes"),
        ("epochs", "accuracy", "epochs"),
        ("photos", "evaluation", "faces"),
        ("wrong-glasses", "evaluation", "errors"),
        ("wrong-accurate", "evaluation", "faces"),
        ("gains", "cross_validation", "f1"),
        ("paired", "paired", "only_first_wrong"),
        ("video", "video", "ms"),
        ("video-speed", "video", "frames_per_s"),
        ("page-speed", "page", "value"),
        ("page-agreement", "page", "value"),
        ("serve", "serve", "ratio"),
        ("container", "container", "bytes"),
        ("scale-speed", "scale", "photos_per_s"),
        ("scale-growth", "scale", "seconds"),
        ("scale-plan", "scale", "mb_late"),
        ("scale-cluster", "scale", "seconds"),
        ("fuzz", "fuzz", "answered"),
        ("fuzz-table", "fuzz", "named"),
        ("campaign", "campaign", "count"),
        ("campaign-phases", "campaign", "count"),
        ("campaign-load", "campaign", "mb_late"),
    ],
)
def test_a_sentence_follows_what_was_measured(tmp_path, name, table, column):
    """Other results, other words; and where the documents still hold the old ones, `make tables` would change them."""
    shutil.copytree(RESULTS, tmp_path / "results")
    measured = pd.read_csv(RESULTS / f"{table}.csv", comment="#")
    measured[column] *= np.arange(2, len(measured) + 2)
    report.write_table(measured, tmp_path / "results" / f"{table}.csv", Results().header(table))
    others = Results(tmp_path / "results")
    assert CONTENTS[name](others) != CONTENTS[name](Results())
    holding = [text for text in DOCUMENTS if f"<!-- {name} -->" in (ROOT / text).read_text()]
    assert holding
    assert all(render((ROOT / text).read_text(), others) != (ROOT / text).read_text() for text in holding)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nobody_typed_a_number_that_is_measured(name):
    assert typed_numbers((ROOT / name).read_text()) == [], "write it with a marker of benchmarks/documents.py"


@pytest.mark.parametrize(
    "typed",
    [
        "a network of 93,000 parameters",
        "the ResNet-18 (11.2 million parameters)",
        "95 KB of weights",
        "370 MB with all packages",
        "6.7 GB with torch",
        "in 10 milliseconds",
        "0.09 ms a face instead of 0.15",
        "the same 11 errors",
        "Of 4,941 faces",
        "it gets 11 wrong",
        "7.7 times as slow",
        "| eyes, 48x32 | 0.20 | 6.58 |",
    ],
)
def test_a_typed_number_is_found(typed):
    assert typed_numbers(f"Words, {typed}.\n")
    assert not typed_numbers(f"Words, <!-- a -->{typed}<!-- end -->.\n")


def test_rough_numbers_settings_and_code_may_be_typed():
    text = (
        "about 6.7 GB; about\n5 ms; a crop of 96x64; `--faces 1,800 parameters`\n```\n95 KB\n```\n1,200 faces of 40\n"
    )
    assert typed_numbers(text) == []


def test_parameters_are_those_of_the_onnx_file():
    for model in ("glasses", "accurate"):
        graph = onnx.load(ONNX_WEIGHTS / f"{model}.onnx").graph
        biases = {node.input[2] for node in graph.node if node.op_type in ("Conv", "Gemm")}
        learned = [a for a in graph.initializer if a.data_type == onnx.TensorProto.INT8 or a.name in biases]
        count = sum(math.prod(array.dims) for array in learned)
        assert CONTENTS[f"parameters-{model}"](Results()) == f"{count:,} parameters"


def test_sentences_by_hand(tmp_path):
    """Two networks of round numbers, as they would be said."""
    shipped = [("glasses", "GlassesCNN", 100_000, 3, 0.2), ("accurate", "GlassesCNN, wide", 400_000, 2, 1.0)]
    rows, times, rates = [], [], []
    for name, shape, size, errors, ms in shipped:
        for suffix, arithmetic, more in (("", "float32", 1), (", INT8", "int8", 2)):
            row = {"network": f"{name}{suffix}", "shape": shape, "arithmetic": arithmetic}
            rows.append(row | {"bytes": more * size, "errors": errors + more, "faces": 1200})
            runtime = "ONNX Runtime" + suffix
            of_network = {"network": shape, "runtime": runtime, "device": "cpu", "batch": 1}
            times += [of_network | {"threads": n, "median_ms": ms / more / n} for n in (1, 2)]
        rates += [{"model": name, "source": source, "faces": 1000, "errors": errors} for source in "ab"]
    for name, table in (("shipped", rows), ("latency", times), ("evaluation", rates)):
        report.write_table(pd.DataFrame(table), tmp_path / f"{name}.csv", [])
    results = Results(tmp_path)
    assert CONTENTS["costs"](results) == "4.0 times as large and 5.0 times as slow"
    assert CONTENTS["wrong-glasses"](results) == "6 of 2,000"
    assert CONTENTS["quantized"](results) == (
        "0.10 ms a face instead of 0.20 for `glasses` (200 KB instead of 100, 5 errors instead of 4 on 1,200 faces) "
        "and 0.50 ms a face instead of 1.00 for `accurate` "
        "(800 KB instead of 400, 4 errors instead of 3 on 1,200 faces)"
    )


def test_the_crops_table_is_what_was_measured(tmp_path):
    text = "a <!-- crops -->x<!-- end -->"
    row = {"crop": "eyes, 96x64", "parameters": 93059, "ms": 0.5, "loss": 0.04, "error": 0.0123}
    report.write_table(pd.DataFrame([row]), tmp_path / "input_size.csv", ["command: x"])
    assert "\n\n| crop | " in render(text, Results(tmp_path))
    assert CONTENTS["crops"](Results(tmp_path)).splitlines()[-1] == "| eyes, 96x64 | 93,059 | 0.50 | 0.0400 | 1.23 |"


def test_the_table_of_recognition_is_what_was_measured(tmp_path):
    row = {"network": "Small", "parameters": 1_900_000, "bytes": 2_012_345, "ms": 4.567, "lfw_accuracy": 0.97654}
    row |= {"lfw_deviation": 0.00712, "lfw_eer": 0.0239, "without_accuracy": 0.99, "with_accuracy": 0.985}
    row |= {"against_accuracy": 0.98, "against_low": 0.97, "against_high": 0.99, "match": 0.9912, "class": 0.9034}
    report.write_table(pd.DataFrame([row]), tmp_path / "recognition.csv", ["command: x"])
    assert CONTENTS["recognition"](Results(tmp_path)).splitlines()[-1] == (
        "| Small | 1,900,000 | 2,012 | 4.57 | 97.65 (0.71) | 2.39 | 99.00 | 98.50 | 98.00 (97.00 to 99.00) "
        "| 99.12 | 90.34 |"
    )


def test_the_table_of_more_faces_is_what_was_measured(tmp_path):
    row = {"faces": 5432, "epochs": 24, "cosine_train": 0.71234, "cosine_select": 0.6, "lfw_accuracy": 0.93456}
    row |= {"lfw_deviation": 0.0123, "lfw_eer": 0.07}
    report.write_table(pd.DataFrame([row]), tmp_path / "recognition_faces.csv", ["command: x"])
    assert CONTENTS["recognition-faces"](Results(tmp_path)).splitlines()[-1] == (
        "| 5,432 | 24 | 0.712 | 0.600 | 93.46 (1.23) |"
    )


def test_the_table_of_the_sample_is_what_was_measured(tmp_path):
    lines = [
        sample.line("balanced accuracy", "LFW", 85.71, 10280, wanted="80 %"),
        sample.line("near", "a", 24.5, 9, "levels"),
    ]
    report.write_table(pd.DataFrame(lines), tmp_path / "sample.csv", ["command: x"])
    assert CONTENTS["sample"](Results(tmp_path)).splitlines()[-2:] == [
        "| balanced accuracy | LFW | 80 % | 85.7 % | 10,280 |",
        "| near | a |  | 24.5 levels | 9 |",
    ]


def test_the_table_of_grouping_is_what_was_measured(tmp_path):
    row = {"data": "lfw", "faces": 12345, "people": 4321, "way": "single linkage", "seconds": 1.234}
    row |= {"precision": 0.5, "recall": 0.9876, "f": 0.66}
    report.write_table(pd.DataFrame([row]), tmp_path / "grouping.csv", ["command: x"])
    assert CONTENTS["grouping"](Results(tmp_path)).splitlines()[-1] == (
        "| lfw | single linkage | 12,345 | 4,321 | 50.0 | 98.8 | 66.0 | 1.2 |"
    )


def test_tables_of_key_points_by_hand(tmp_path):
    """The networks that were compared are told together, each with its runs."""
    row = {"faces": 300, "missed": 1, "low": 0.038, "high": 0.042, "median": 0.035, "above 0.08": 0.05}
    row |= {
        "above 0.10": 0.02,
        "bytes": 1_090_000,
        "face_ms": 0.5,
        "parameters": 545_640,
        "network_ms": 0.25,
        "classifiers": 2.5,
    }
    means = {"keypoints": 0.04, "heatmap-0": 0.05, "heatmap-1": 0.06, "heatmap-12": 0.07, "classic": 0.16, "dlib": 0.08}
    rows = [row | {"network": name, "mean": mean, "five": mean / 2} for name, mean in means.items()]
    rows[-1] |= {"parameters": math.nan, "network_ms": math.nan, "classifiers": math.nan}
    report.write_table(pd.DataFrame([rows[0], rows[-1]]), tmp_path / "keypoints.csv", ["command: x"])
    report.write_table(pd.DataFrame(rows), tmp_path / "keypoint_networks.csv", ["command: x"])
    assert CONTENTS["keypoints"](Results(tmp_path)).splitlines()[2:] == [
        "| keypoints | 545,640 | 1,090 | 0.25 | 2.5 | 4.00 (3.80 to 4.20) | 3.50 | 5.0 % | 2.0 % | 2.00 | 1 |",
        "| dlib |  | 1,090 |  |  | 8.00 (3.80 to 4.20) | 3.50 | 5.0 % | 2.0 % | 4.00 | 1 |",
    ]
    assert CONTENTS["keypoint-networks"](Results(tmp_path)).splitlines()[2:] == [
        "| heatmap | 3 | 545,640 | 0.25 | 6.00 (5.00 to 7.00) | 3.00 (2.50 to 3.50) |",
        "| classic | 1 | 545,640 | 0.25 | 16.00 | 8.00 |",
    ]


def test_how_the_folds_were_trained_is_in_the_header(tmp_path):
    lines = ["command: python -m x --epochs 3 --note on a GPU", "date: today", "one schedule for all", "note: on a GPU"]
    report.write_table(pd.DataFrame({"network": ["a"]}), tmp_path / "cross_validation.csv", lines)
    said = CONTENTS["schedule-of-folds"](Results(tmp_path))
    assert said == "`python -m x --epochs 3`; one schedule for all; on a GPU"


def test_an_unknown_marker_is_named():
    with pytest.raises(KeyError, match="nonsense"):
        render("<!-- nonsense -->1<!-- end -->", Results())


def test_variance_of_folds_is_the_sample_variance(tmp_path):
    scores = [0.90, 0.92, 0.97, 0.91, 0.95]
    rows = [{"network": "a", "faces": 600, "fold": i, "held": 120, "f1": f1} for i, f1 in enumerate(scores)]
    pd.DataFrame(rows).to_csv(tmp_path / "cross_validation.csv", index=False)
    mean = sum(scores) / 5
    variance = sum((score - mean) ** 2 for score in scores) / 4
    last = folds_table(Results(tmp_path)).splitlines()[-1]
    assert last == f"| a | {mean:.4f} | {variance:.6f} |"


def test_mcnemar_by_hand():
    """Six faces that only the first gets wrong and one that only the second does: p = 2 * (1 + 7) / 2**7."""
    first = pd.DataFrame({"label": [1] * 20, "glasses": [False] * 6 + [True] * 14})
    second = first.assign(glasses=[True] * 6 + [False] + [True] * 13)
    (row,) = comparisons({"a": first, "b": second}).to_dict("records")
    assert (row["first"], row["second"], row["faces"]) == ("a", "b", 20)
    assert (row["only_first_wrong"], row["only_second_wrong"]) == (6, 1)
    assert row["p"] == pytest.approx(2 * (1 + 7) / 2**7)
