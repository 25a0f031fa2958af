"""How the face finder learns: what counts as found, the score's calibration, training, mining and the command."""

import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import train_finder
from detector_architectures.finder import Finder
from face_finder import DOUBTFUL, FOUND, FaceFinder, finder_loss
from mosaic import Composer, Picture
from scenes import Scenes
from test_scenes import SAMPLE, sample_pictures, sample_table
from train_finder import Detections, FinderTrainer, detect, fit_score, match, suppress


def row(x: float, side: float = 40, state: float = FOUND) -> list[float]:
    """A face whose five landmarks are at its middle."""
    return [x, 10, side, side, *[x + side / 2, 10 + side / 2] * 5, state]


@pytest.fixture(scope="module")
def nobody(tmp_path_factory) -> Path:
    """Sixty pictures of nobody: colours."""
    folder = tmp_path_factory.mktemp("nobody")
    rng = np.random.default_rng(0)
    for number in range(60):
        cv2.imwrite(
            str(folder / f"{number}.png"), cv2.resize(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8), (90, 70))
        )
    return folder


def composers(nobody: Path, size: int = 64) -> tuple[Composer, Composer]:
    pictures, empty = sample_pictures(14), [Picture(file) for file in sorted(nobody.iterdir())]
    return Composer(pictures[:10], empty[:5], size), Composer(pictures[10:], empty[5:8], size)


# --------------------------------------------------------------------------------------------- what is found


def test_each_face_is_found_once_and_doubtful_ones_do_not_count():
    faces = np.array([row(0), row(100), row(200, state=DOUBTFUL), [0] * 15], np.float32)
    boxes = np.array([[2, 10, 40, 40], [0, 12, 40, 40], [104, 10, 40, 40], [205, 12, 30, 30], [300, 10, 40, 40]], float)
    points = np.repeat(boxes[:, None, :2] + boxes[:, None, 2:] / 2, 5, axis=1)
    rows = match(np.array([5.0, 4, 3, 2, 1]), boxes, points, faces)
    assert [(logit, hit) for logit, hit, *_ in rows] == [(5, True), (4, False), (3, True), (1, False)]
    assert [number for *_, number in rows] == [0, -1, 1, -1]
    errors = [error for _, _, error, _ in rows]
    assert errors[0] == pytest.approx(2 / 40)
    assert errors[2] == pytest.approx(4 / 40)
    assert math.isnan(errors[1])


def test_of_one_place_the_surest_is_kept():
    boxes = np.array([[0, 0, 40, 40], [3, 0, 40, 40], [80, 0, 40, 40], [160, 0, 40, 40]], np.float32)
    logits, kept, points = suppress(np.float32([1, 2, 0, -9]), boxes, np.zeros((4, 5, 2), np.float32))
    assert logits.tolist() == [2, 0]
    assert kept[:, 0].tolist() == [3, 80]
    assert points.shape == (2, 5, 2)


def test_recall_at_so_many_false_faces_a_scene():
    logits = np.array([9, 8, 7, 6, 5, 4.0])
    hits = np.array([True, False, True, False, True, False])
    found = Detections(logits, hits, np.where(hits, [0.1, 0, 0.2, 0, 0.6, 0], np.nan), faces=4, scenes=10)
    assert found.at(0.1) == pytest.approx((2 / 4, 0.15)), "one false face in ten scenes: to the second hit"
    assert found.at(0.2) == pytest.approx((3 / 4, 0.3))
    assert found.at(0.0)[0] == pytest.approx(1 / 4)
    nothing = Detections(np.zeros(0), np.zeros(0, bool), np.zeros(0), 3, 10).at()
    assert nothing[0] == 0
    assert math.isnan(nothing[1])


def test_slope_and_offset_make_the_score_a_probability():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 20_000)
    hits = rng.random(20_000) < 1 / (1 + np.exp(-(0.6 * logits + 1.2)))
    assert fit_score(logits, hits) == pytest.approx((0.6, 1.2), abs=0.07)
    for few in ([], [1.0], [3.0, -2.0]):
        slope, offset = fit_score(np.array(few), np.array(few) > 0)
        assert np.isfinite([slope, offset]).all()
        assert slope > 0


# ------------------------------------------------------------------------------------------------ training


def test_eight_scenes_are_learned_by_heart(nobody):
    torch.manual_seed(0)
    scenes = Scenes(composers(nobody, 96)[0], 8, seed=4)
    images, faces = (torch.stack(parts) for parts in zip(*(scenes[i] for i in range(8)), strict=True))
    network = FaceFinder((8, 16, 24), 24)
    optimizer, losses = torch.optim.AdamW(network.parameters(), lr=4e-3), []
    for _ in range(120):
        loss = finder_loss(network(images), faces, 96, 96)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
    found = detect(network, scenes)
    assert found.faces == (faces[..., 14] == FOUND).sum()
    recall, error = found.at(0.2)
    assert recall > 0.7
    assert error < 0.2


@pytest.fixture
def small(monkeypatch) -> None:
    monkeypatch.setattr(train_finder, "FaceFinder", lambda: FaceFinder((4, 8, 8), 8))


def make(nobody: Path, out: Path, epochs: int = 3, **more) -> FinderTrainer:
    given = dict(batch=4, scenes=8, size=64, workers=0, selected=4, mine=True) | more
    return FinderTrainer(*composers(nobody), out, epochs, **given)


def quiet(history) -> None:
    """A report that prints nothing."""


def flat(state, name: str = "") -> dict[str, object]:
    """All that a nested state holds, by a name for each."""
    if isinstance(state, dict):
        return {key: value for part, inner in state.items() for key, value in flat(inner, f"{name}/{part}").items()}
    return {name: state}


def same(first, second) -> bool:
    first, second = flat(first), flat(second)
    assert first.keys() == second.keys()
    return all(
        torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        for name, value in first.items()
    )


@pytest.mark.usefixtures("small")
def test_an_interrupted_run_resumes_to_the_same_result(nobody, tmp_path):
    whole = make(nobody, tmp_path / "whole")
    whole.fit(report=quiet)

    def stop(history) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt

    killed = make(nobody, tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        killed.fit(report=stop)
    torch.rand(7)
    resumed = make(nobody, tmp_path / "killed")
    assert resumed.resume()
    assert len(resumed.history) == 2
    resumed.fit(report=quiet)
    assert same(whole.learner.state_dict(), resumed.learner.state_dict())
    assert same(whole.best, resumed.best)
    assert (tmp_path / "whole" / "log.csv").read_bytes() == (tmp_path / "killed" / "log.csv").read_bytes()
    for more in (dict(seed=1), dict(mine=False), dict(scenes=16), dict(selected=5)):
        with pytest.raises(ValueError, match=r"is of another run: .* was .*; choose another --out"):
            make(nobody, tmp_path / "killed", **more).resume()
    assert not make(nobody, tmp_path / "none").resume()


@pytest.mark.usefixtures("small")
def test_a_run_goes_on_from_another_network(nobody, tmp_path):
    first = make(nobody, tmp_path / "first", 1)
    first.fit(report=quiet)
    start = train_finder.read_finder(first.checkpoint)
    assert same(start.state_dict(), first.best["state"])
    second = make(nobody, tmp_path / "second", 1, start=start, lr=1e-9)
    second.fit(report=quiet)
    for name, value in second.best["state"].items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, first.best["state"][name], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="start was"):
        make(nobody, tmp_path / "second", 1, lr=1e-9).resume()
    torch.save({"best": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other.pt is no checkpoint of these trainers"):
        train_finder.read_finder(tmp_path / "other.pt")


@pytest.mark.usefixtures("small")
def test_pictures_in_which_it_sees_a_face_are_drawn_more_often(nobody):
    pictures = [Picture(file) for file in sorted(nobody.iterdir())[:4]]
    network = FaceFinder((4, 8, 8), 8).eval()
    weights = train_finder.mine(network, pictures, 64)
    assert weights.shape == (4,)
    assert weights == pytest.approx(1 + 9 / (1 + math.exp(4)), abs=0.1), "at first the score is that of a logit of -4"
    for layers in network.heads:
        torch.nn.init.constant_(layers[-1].bias[:1], 20.0)
    assert train_finder.mine(network, pictures, 64) == pytest.approx(10, abs=1e-3)


@pytest.mark.usefixtures("small")
def test_a_run_that_diverges_ends_at_once_with_one_line(nobody, tmp_path):
    with pytest.raises(ValueError, match=r"^the loss is nan in epoch 1: train with a lower --lr$"):
        make(nobody, tmp_path / "run", lr=1e30).fit(report=quiet)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.usefixtures("small")
def test_the_epoch_of_the_best_recall_is_exported(nobody, tmp_path, monkeypatch):
    trainer, seen, exported, shapes = make(nobody, tmp_path), [], {}, []
    recalls, real = [0.2, 0.6, 0.4], train_finder.detect

    def detect(network, *more, **options):
        if len(seen) < 3:
            seen.append({name: value.clone() for name, value in network.state_dict().items()})
            found = real(network, *more, **options)
            monkeypatch.setattr(Detections, "at", lambda found: (recalls[len(seen) - 1], math.nan))
            return found
        exported.update(state=network.state_dict())
        return real(network, *more, **options)

    monkeypatch.setattr(train_finder, "detect", detect)
    monkeypatch.setattr(
        train_finder, "export_finder", lambda network, path, header, pictures: shapes.append(pictures.shape) or path
    )
    trainer.fit(report=quiet)
    assert [row["recall"] for row in trainer.history] == recalls
    assert (trainer.best["epoch"], trainer.best["recall"]) == (2, 0.6)
    assert trainer.export() == tmp_path / "finder.onnx"
    size = trainer.settings.size
    assert shapes == [(train_finder.RANGES, size, size, 3)], "scenes that tell the ranges of the maps"
    assert same(exported["state"], seen[1])
    assert not same(exported["state"], seen[2])


@pytest.mark.usefixtures("small")
def test_more_epochs_extend_a_run_and_other_versions_are_a_line(nobody, tmp_path, monkeypatch, capsys):
    make(nobody, tmp_path, 1).fit(report=quiet)
    monkeypatch.setattr(train_finder, "versions", lambda faces: {"torch": "0.1"})
    longer = make(nobody, tmp_path, 2)
    with pytest.warns(UserWarning, match=r"is of other versions: versions torch was \d\S*, is 0\.1;"):
        assert longer.resume()
    assert capsys.readouterr().out.startswith("extended from 1 to 2 epochs: ")
    longer.fit(report=quiet)
    assert [line["epoch"] for line in longer.history] == [1, 2]
    assert json.loads((tmp_path / "config.json").read_text())["extended"] == [1]


# --------------------------------------------------------------------------------------- the command line


def command(nobody: Path, tables: Path, out: Path, *more) -> list[str]:
    data = ["--data", f"sample={SAMPLE}", "--nobody", str(nobody), "--tables", str(tables), "--out", str(out)]
    sizes = ["--epochs", "1", "--batch", "4", "--scenes", "8", "--size", "64", "--selected", "6", "--workers", "0"]
    return [*data, *sizes, "--device", "cpu", *map(str, more)]


def test_a_whole_run_leaves_a_finder(nobody, tmp_path, capsys):
    tables, folder = sample_table(tmp_path, 120), tmp_path / "run"
    assert train_finder.main(command(nobody, tables, folder)) == 0
    out = capsys.readouterr().out
    assert "best epoch 1; wrote" in out
    assert "select: " in out
    files = ["checkpoint.pt", "config.json", "curve.png", "finder.onnx", "log.csv"]
    assert sorted(file.name for file in folder.iterdir()) == files
    with open(folder / "log.csv", newline="") as file:
        assert [line["epoch"] for line in csv.DictReader(file)] == ["1"]
    config = json.loads((folder / "config.json").read_text())
    assert (config["epochs"], config["scenes"], config["mine"]) == (1, 8, False)
    assert set(config["train"]) == {"people", "nobody"}
    finder = Finder(path=folder / "finder.onnx")
    assert finder(np.zeros((50, 70, 3), np.uint8)) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch", "0"], "batch must be at least 1, not 0"),
        (["--size", "100"], "size must be a multiple of 32 from 64 on, not 100"),
        (["--lr", "-1"], "lr must be above 0, not -1.0"),
        (["--data", "spectacles"], "unknown source 'spectacles'"),
        (["--tables", "/nowhere"], "no table /nowhere/sample.csv: python scenes.py label writes it"),
        (["--nobody", "/nowhere"], "no pictures of nobody in /nowhere"),
        (["--device", "tpu9"], "device 'tpu9' cannot be used here"),
    ],
)
def test_wrong_arguments_are_one_line(nobody, tmp_path, capsys, more, message):
    assert train_finder.main(command(nobody, sample_table(tmp_path), tmp_path / "run", *more)) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("train_finder.py: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "run").exists()
