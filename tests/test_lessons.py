"""Notebooks 1 and 2: the answers of their small tasks, the loop that is shown, and the table that is drawn."""

import inspect
import math

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import course
from benchmarks.report import RESULTS
from conftest import ROOT
from data_load import Label
from exercises import cost, people_on_both_sides, sharpness, surprise
from models import GlassesCNN, describe_layers


def code_of(notebook: str) -> list[str]:
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def test_sharpness_by_hand():
    assert sharpness(np.uint8([[10, 20, 30], [30, 20, 10]])) == 10
    assert sharpness(np.uint8([[0, 255], [255, 0]])) == 255


def test_people_are_counted_once():
    assert people_on_both_sides(["ann", "bob", "bob"], ["bob", "eve", "bob"]) == 1
    assert people_on_both_sides(["ann"], []) == 0


def test_cost_is_that_of_the_layer_table():
    table = describe_layers(nn.Sequential(nn.Conv2d(5, 7, 3, padding=1, bias=False)), (5, 8, 12))
    assert cost(5, 7, 8, 12) == (table["parameters"][0], table["multiply_adds"][0])


def test_surprise_is_torchs_cross_entropy():
    logits = np.array([0.3, -1.2, 2.0])
    for label in range(3):
        loss = nn.functional.cross_entropy(torch.tensor(logits)[None], torch.tensor([label])).item()
        assert surprise(logits, label) == pytest.approx(loss)
    assert surprise(np.zeros(3), 0) == pytest.approx(math.log(3))


def test_the_loop_of_the_notebook_is_that_of_the_stored_table():
    shown = "\n\n\n".join(inspect.getsource(function).rstrip() for function in (course.fit, course.forever))
    assert shown in code_of("2_Define_Network.ipynb")


class Faces:
    """As much of `CachedFaces` as a training needs: dark faces with glasses, bright ones without."""

    def __init__(self, count: int):
        self.labels = np.arange(count) % 2

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        labels = torch.as_tensor(self.labels[index])
        faces = torch.full((*labels.shape, 3, 96, 144), 200, dtype=torch.uint8)
        faces[..., 40:50, :] = (200 - 180 * (labels != Label.NONE)).byte()[..., None, None, None]
        return faces, labels

    def cut(self):
        return self[np.arange(len(self))][0][..., 16:80, 24:120].permute(0, 2, 3, 1).contiguous().numpy()


class Counter(GlassesCNN):
    """Counts the batches that it is trained on."""

    batches = 0

    def forward(self, faces):
        self.batches += self.training
        return super().forward(faces)


@pytest.mark.parametrize("faces", [8, 100])
def test_a_training_has_exactly_its_steps_whatever_the_faces(faces):
    network = course.fit(Counter(), {"one": Faces(faces), "other": Faces(4)}, steps=7, batch=16)
    assert network.batches == 7
    assert not network.training


def test_epochs_of_the_loop_differ_and_seeds_too():
    sampler = course.BalancedBatches([Faces(64).labels], 32)
    drawn = [tuple(indices) for (_, indices), _ in zip(course.forever(sampler, 0), range(4), strict=False)]
    assert len(set(drawn)) == 4
    _, other = next(course.forever(sampler, 1))
    assert tuple(other) != drawn[0]


def test_rungs_without_a_network_are_counted():
    faces = {"one": Faces(40)}
    rows = {row["name"]: row["accuracy"] for row in course.without_a_network(faces, faces)}
    assert rows == {"the larger class": 0.5, "logistic regression": 1.0}


def test_other_parts_of_the_table_stay(tmp_path):
    assert course.read_other_parts(tmp_path / "none.csv", ["ladder"]) == []
    pd.DataFrame({"part": ["ladder", "shipped"], "name": ["a", "b"]}).to_csv(tmp_path / "t.csv", index=False)
    assert course.read_other_parts(tmp_path / "t.csv", ["ladder"]) == [{"part": "shipped", "name": "b"}]


def test_every_training_of_the_stored_table_has_three_seeds_and_the_same_steps():
    table = pd.read_csv(RESULTS / "course.csv", comment="#")
    assert set(table["part"]) == set(course.MEASURED)
    trained = table[table["seed"].notna()]
    assert trained.groupby(["name", "steps", "judged", "changed"])["seed"].nunique().min() >= 3
    recipes = trained[trained["part"] == "recipes"]
    assert set(map(tuple, recipes.groupby("name")["steps"].unique())) == {(course.FEW, course.MANY)}
    assert table["accuracy"].between(0, 1).all()


def test_nothing_is_counted_false_where_nobody_knows():
    """The three states of a label, on a set whose key is whole and on one whose key is not."""
    (source,) = [source for source in code_of("1_Load_Data.ipynb") if "def state(" in source]
    function = source[source.index("def state(") : source.index("\n\n\n", source.index("def state("))]

    class Gan:
        files = [ROOT / "face-1.jpg", ROOT / "face-2.jpg"]

    for all_listed, other in ((True, "known right"), (False, "nobody knows")):
        names = {"gan": Gan, "noise": {"face-1.jpg": 0}, "all_listed": all_listed}
        exec(function, names)
        assert [names["state"](face) for face in (0, 1)] == ["known wrong", other]
