"""README and model card hold the numbers of benchmarks/results/, and no others between their markers."""

import shutil

import pandas as pd
import pytest

from benchmarks.documents import CONTENTS, DOCUMENTS, MARKED, Results, folds_table, render
from benchmarks.evaluation import comparisons
from benchmarks.report import RESULTS
from conftest import ROOT


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
