"""The small tasks of the notebooks: their answers are right, and the check tells right, wrong and empty apart."""

import ast
import inspect
import re

import nbformat
import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass
from sklearn.metrics import precision_score, recall_score

import exercises
from compress import _store_int8
from conftest import ROOT
from exercises import ANSWERS, check
from keypoint_data import mean_errors

RNG = np.random.default_rng(0)
NOTEBOOKS = sorted(ROOT.glob("[0-9]_*.ipynb"))


def test_overlap_by_hand():
    assert exercises.overlap((0, 0, 4, 4), (2, 2, 4, 4)) == pytest.approx(4 / 28)
    assert exercises.overlap((0, 0, 4, 4), (4, 0, 4, 4)) == 0
    assert exercises.overlap((1, 1, 2, 2), (0, 0, 4, 4)) == pytest.approx(4 / 16)


def test_heat_by_hand():
    maps = np.array([[[1.0, 2.0]], [[3.0, 0.0]]])
    slopes = np.array([[[1.0, 3.0]], [[-2.0, 0.0]]])  # means 2 and -1
    np.testing.assert_allclose(exercises.heat(maps, slopes), [[0.0, 4.0]])


def test_precision_and_recall_are_those_of_scikit_learn():
    truth, found = RNG.random((2, 50)) < 0.4
    expected = precision_score(truth, found), recall_score(truth, found)
    np.testing.assert_allclose(exercises.precision_and_recall(truth, found), expected)


@pytest.mark.parametrize(("miss", "false_alarm"), [(1, 1), (5, 1), (2, 7)])
def test_the_cheapest_threshold_is_where_the_cheaper_answer_changes(miss, false_alarm):
    p = np.linspace(0, 1, 10_001)
    cheaper = false_alarm * (1 - p) <= miss * p  # to say glasses
    assert exercises.cheapest_threshold(miss, false_alarm) == pytest.approx(p[cheaper].min(), abs=2e-4)


def test_softened_probabilities_are_those_of_torch():
    logits = RNG.normal(size=(5, 3))
    expected = torch.from_numpy(logits / 2.5).softmax(1)
    np.testing.assert_allclose(exercises.soften(logits, 2.5), expected)


def test_weights_through_int8_are_those_that_are_stored():
    values = RNG.normal(size=(1, 30)).astype(np.float32)
    (integers, scale), _ = _store_int8(values, "w", 0)
    stored = np.frombuffer(integers.raw_data, np.int8) * np.frombuffer(scale.raw_data, np.float32)
    np.testing.assert_allclose(exercises.through_int8(values[0]), stored, atol=1e-6)


def test_key_point_answers_are_those_of_the_modules():
    points, labels = RNG.uniform(0, 99, (2, 68, 2))
    assert exercises.mean_error(points, labels) == pytest.approx(mean_errors(points[None], labels[None])[0])
    heat_map = RNG.random((7, 9))
    np.testing.assert_allclose(exercises.mean_place(heat_map), center_of_mass(heat_map)[::-1])


CASES = [((0, 0, 10, 10), (0, 0, 10, 10)), ((0, 0, 10, 10), (5, 0, 10, 10))]


def of_name(function):
    function.__name__ = "overlap"
    return function


def test_an_empty_task_is_answered(capsys):
    assert check(of_name(lambda a, b: None), CASES) is exercises.overlap
    assert capsys.readouterr().out == "overlap is empty: the notebook goes on with the answer\n"


def test_a_right_task_is_taken(capsys):
    yours = of_name(lambda a, b: exercises.overlap(b, a))
    assert check(yours, CASES) is yours
    assert capsys.readouterr().out == "overlap is right in 2 cases of 2\n"


@pytest.mark.parametrize("wrong", [lambda a, b: 1.0, lambda a, b: (1.0, 1.0), lambda a, b: 1.0 if a == b else None])
def test_a_wrong_task_is_answered_and_the_case_named(capsys, wrong):
    assert check(of_name(wrong), CASES) is exercises.overlap
    said = capsys.readouterr().out
    assert said.startswith("overlap of ((0, 0, 10, 10), ")
    assert "should be" in said
    assert said.count("\n") == 1


def test_a_task_that_raises_is_answered_in_one_line(capsys):
    assert check(of_name(lambda a, b: a.area / 0), CASES) is exercises.overlap
    said = capsys.readouterr().out
    assert " raises AttributeError: 'tuple' object has no attribute 'area', should be 1.0; " in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("wrong", ["half", ["a", 1], object()])
def test_an_answer_that_is_no_number_is_wrong(capsys, wrong):
    assert check(of_name(lambda a, b: wrong), CASES) is exercises.overlap
    assert "should be 1.0; the notebook goes on with the answer" in capsys.readouterr().out


def tasks(notebook) -> dict[str, int]:
    """The names of the functions that are to be written, with the number of their cell."""
    found = {}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and "# TODO" in cell.source:
            (function,) = ast.parse(cell.source).body
            found[function.name] = number
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_task_is_checked_and_its_answer_folded_away(path):
    notebook = nbformat.read(path, as_version=4)
    assert len(tasks(notebook)) == 2
    for name, number in tasks(notebook).items():
        task, checked, folded = notebook.cells[number : number + 3]
        arguments = [inspect.signature(ANSWERS[name]).parameters, ast.parse(task.source).body[0].args.args]
        assert list(arguments[0]) == [argument.arg for argument in arguments[1]]
        assert re.search(rf"^{name} = check\({name}, (\[|cases\))", checked.source, re.MULTILINE)
        assert folded.source.startswith("<details><summary>The answer</summary>")
        assert f"```python\n{inspect.getsource(ANSWERS[name]).strip()}\n```" in folded.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_student_is_asked_before_each_section(path):
    prose = "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    sections = re.split(r"^## (?=\d\.\d+ )", prose, flags=re.M)[1:]
    without = [section.splitlines()[0] for section in sections if "> **Predict before you run.** (a) " not in section]
    assert without == []
