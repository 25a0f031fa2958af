"""What the notebooks call: figures, damage, folds, layer tables, short trainings and made photos."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import nn
from torch.utils.data import DataLoader

import figures
import sample_photos
from augment import train_transform
from conftest import write_meglass
from corruptions import LADDERS, blur, darken, mask, turn
from data_load import KaggleGlasses, Label, MeGlass, describe_faces, k_folds, known_corrections, read_corrections
from detector_architectures import Face, load_detector
from evaluate import measure_robustness
from face_cache import CachedFaces
from glasses.drawing import annotate
from glasses.pipeline import GlassesPipeline
from models import WEIGHTS, GlassesCNN, describe_layers, load_classifier
from synthetic.make_sample import SAMPLE
from train import BalancedBatches, FaceBatches, find_run, fit_network, lr_range_test, predict_glasses, predict_logits


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    dataset = MeGlass(write_meglass(folder / "meglass", people=6, each=4))
    return dataset, CachedFaces(dataset, load_detector("center"), folder / "cache")


# ------------------------------------------------------------------------------------------- data


def test_describe_faces_measures_each_picture(meglass):
    dataset = MeGlass(meglass)
    table = describe_faces(dataset)
    assert list(table["file"]) == [file.name for file in dataset.files]
    assert set(table["width"]) == {120}
    assert list(table["kind"] == "none") == list(dataset.labels == Label.NONE)
    gray = dataset.read(3).astype(float) @ (0.299, 0.587, 0.114)
    assert table["brightness"][3] == pytest.approx(gray.mean(), abs=0.6)
    assert table["contrast"][3] == pytest.approx(gray.std(), abs=0.6)


def test_every_face_is_held_out_once_with_its_person(meglass):
    dataset = MeGlass(meglass)
    held = []
    for rest, fold in k_folds(dataset, 5):
        assert not set(rest.identities) & set(fold.identities)
        assert len(rest) + len(fold) == len(dataset)
        held += fold.files
    assert sorted(held) == sorted(dataset.files)


def test_the_crops_of_a_part_are_those_of_its_files(faces):
    dataset, cached = faces
    part = dataset.subset([5, 2, 9]).relabel({dataset.files[2].name: Label.SUNGLASSES})
    crops, labels = cached.of(part)[np.arange(3)]
    np.testing.assert_array_equal(crops, cached[np.array([5, 2, 9])][0])
    assert labels.tolist() == [dataset.labels[5], Label.SUNGLASSES, dataset.labels[9]]
    again = cached.of(part).of(part.subset([1]))
    np.testing.assert_array_equal(again[0][0], cached[2][0])


def test_corrections_come_with_the_set_or_with_the_weights(meglass):
    sample, other = KaggleGlasses(SAMPLE), MeGlass(meglass)
    noise = known_corrections(sample)
    assert len(noise) == (sample.relabel(noise).labels != sample.labels).sum() > 20
    listed = read_corrections(WEIGHTS / "label_corrections.csv")["meglass"]
    assert known_corrections(other) == listed != {}


# ---------------------------------------------------------------------------------------- network


def test_layer_table_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 5, 3, padding=1), nn.Flatten())
    model.append(nn.Linear(5 * 4 * 6, 2))
    table = describe_layers(model, (3, 8, 12))
    assert list(table["output"]) == ["4x4x6", "5x4x6", "2"]
    assert list(table["parameters"]) == [4 * 3 * 9 + 4, 5 * 4 * 9 + 5, 120 * 2 + 2]
    assert list(table["multiply_adds"]) == [4 * 3 * 9 * 24, 5 * 4 * 9 * 24, 240]
    assert list(table["receptive_field"]) == [3, 7, 7]


def test_receptive_field_is_what_the_gradient_sees():
    model = GlassesCNN().eval()
    picture = torch.rand(1, 3, 64, 96, requires_grad=True)
    for layer, field in zip(model.features[:4], describe_layers(model)["receptive_field"][:4], strict=True):
        nn.init.constant_(layer[0].weight, 0.01)
        one = model.features[: list(model.features).index(layer) + 1](picture)
        (gradient,) = torch.autograd.grad(one[0, 0, one.shape[2] // 2, one.shape[3] // 2], picture)
        assert (gradient[0].abs().sum((0, 1)) > 0).sum() == field


def test_short_training_gives_the_last_average_and_repeats(faces, tmp_path):
    _, cached = faces
    options = {"epochs": 2, "batch": 12, "workers": 0}
    one, other = (fit_network({"m": cached}, {"m": cached}, tmp_path, **options) for _ in range(2))
    plain = fit_network({"m": cached}, {"m": cached}, tmp_path, strength=0, **options)
    same = predict_logits(one, cached, "cpu")
    torch.testing.assert_close(same, predict_logits(other, cached, "cpu"), rtol=0, atol=0)
    assert not torch.equal(same, predict_logits(plain, cached, "cpu"))


def test_a_student_follows_its_teacher(faces, tmp_path):
    _, cached = faces

    class Sure(torch.nn.Module):
        """Says "sunglasses" of every face, whatever its label."""

        def forward(self, images):
            return torch.tensor([[0.0, 0.0, 12.0]]).expand(len(images), 3)

    options = {"epochs": 8, "batch": 12, "workers": 0}
    student = fit_network({"m": cached}, {"m": cached}, tmp_path, teachers=[Sure()], hints=0, **options)
    assert (predict_logits(student, cached, "cpu").argmax(1) == 2).float().mean() > 0.9


def test_probabilities_of_cached_crops_are_those_of_the_classifier(faces):
    _, cached = faces
    classifier = load_classifier("glasses", "cpu")
    centre = cached.cut()
    np.testing.assert_allclose(predict_glasses(classifier, cached), 1 - classifier(centre)[:, 0], atol=1e-5)


def test_learning_rate_test_falls_and_blows_up(faces):
    _, cached = faces
    batches = FaceBatches([cached], train_transform(strength=0))
    loader = DataLoader(batches, sampler=BalancedBatches([cached.labels], 24), batch_size=None)
    losses = lr_range_test(loader, np.geomspace(1e-4, 30, 25))
    assert len(losses) == 25
    assert min(losses) < 0.7 * losses[0]
    assert max(losses[-5:]) > 2 * min(losses)


def test_a_run_is_found_here_or_in_an_attached_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path / "kaggle"))
    assert find_run() is None
    for place in ("kaggle/input/notebooks/me/two/runs/course", "kaggle/input/two/runs/course", "runs/course"):
        (tmp_path / place).mkdir(parents=True)
        assert find_run() != tmp_path / place  # empty: no finished run
        (tmp_path / place / "glasses.safetensors").touch()
        assert find_run().resolve() == tmp_path / place


# ------------------------------------------------------------------------------------------ photos


def test_made_photos_have_the_answers_they_claim():
    photos = sample_photos.made_photos()
    answers = GlassesPipeline()(image for image, _ in photos.values())
    for (name, (image, truth)), answer in zip(photos.items(), answers, strict=True):
        assert image.dtype == np.uint8
        assert (name, answer.glasses) == (name, truth)


@pytest.mark.skipif(sample_photos.sys.platform != "linux", reason="looks for /dev/video*")
def test_no_webcam_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_photos.Path, "glob", lambda *_: iter(()))
    assert sample_photos.take_snapshot(tmp_path / "x.jpg") == "no webcam on this machine"


def test_damage_grows_with_its_level_and_spares_the_first():
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    points = np.float32([[32, 40], [64, 40], [48, 58], [36, 74], [60, 74]])
    for name, (levels, change) in LADDERS.items():
        difference = [np.abs(change(image, points, level).astype(int) - image).mean() for level in levels]
        assert change(image, points, levels[-1]).shape == image.shape
        assert difference == sorted(difference), name
        if not name.startswith(("JPEG", "mask")):
            assert difference[0] == 0, name


def test_damage_by_hand():
    image = np.full((96, 96, 3), 200, np.uint8)
    points = np.float32([[32, 40], [64, 40], [48, 60], [36, 74], [60, 74]])
    assert (darken(image, 0.5) == 100).all()
    assert (blur(image, points, 16) == 200).all()
    assert turn(image, 45)[0, 0].tolist() == [0, 0, 0]
    covered = mask(image, points, (0, 0, 0), top=0.5)
    assert covered[70, 48].tolist() == [0, 0, 0]
    assert covered[40, 48].tolist() == [200, 200, 200]


def test_robustness_counts_right_answers(meglass):
    dataset = MeGlass(meglass).subset(range(8))

    class Bright:
        """Says "glasses" to crops that are not black."""

        threshold = 0.5

        def __call__(self, crops):
            dark = (crops.reshape(len(crops), -1).mean(1) < 1).astype(float)
            return np.stack([dark, 1 - dark, 0 * dark], 1)

    ladder = {"light": ((1, 0), lambda image, points, level: darken(image, level))}
    table = measure_robustness(dataset, load_detector("center"), {"bright": Bright()}, ladder)
    share = float((dataset.labels != Label.NONE).mean())
    assert list(table["level"]) == [1, 0]
    assert list(table["bright"]) == [share, 1 - share]


# ----------------------------------------------------------------------------------------- figures


def test_pictures_are_not_stretched():
    images = [np.zeros((50, 100, 3), np.uint8), np.zeros((60, 60, 3), np.uint8)]
    figure = figures.show_images(images, ["wide", "square"], columns=2, frames=["red", ""])
    FigureCanvasAgg(figure).draw()
    for axis, image in zip(figure.axes, images, strict=True):
        box = axis.get_window_extent()
        assert box.width / box.height == pytest.approx(image.shape[1] / image.shape[0], rel=0.03)


def test_boxes_are_drawn_where_the_face_is():
    class Fixed:
        name = "fixed"

        def __call__(self, image):
            return [Face((20, 30, 40, 50), 1.0, "fixed")]

    image = np.full((100, 100, 3), 255, np.uint8)
    (answer,) = GlassesPipeline(Fixed())([image])
    drawn = np.asarray(annotate(image, answer))
    changed = np.argwhere((drawn != 255).any(2))
    assert (drawn[80, 40] != 255).any()
    assert changed[:, 0].max() == pytest.approx(80, abs=2)
    assert (drawn[90:] == 255).all()


TRUTH, P = np.array([True, False, True, False, True]), np.array([0.9, 0.2, 0.7, 0.6, 0.4])
HISTORY = [{"epoch": 1, "train_loss": 1.0, "loss": 0.9, "a_loss": 0.9, "a_accuracy": 0.6, "lr": 1e-3}]
TABLE = pd.DataFrame({"damage": ["blur"] * 2, "level": [0, 5], "net": [1.0, 0.8]})
TIMES = pd.DataFrame(
    {"what": ["cpu"] * 2, "batch": [1, 8], "median": [1e-3, 4e-3], "p5": [9e-4, 3e-3], "p95": [2e-3, 6e-3]}
)
LATENCY = pd.DataFrame(
    [
        (network, runtime, "cpu", 1, batch, milliseconds * batch, milliseconds * batch * 1.1)
        for network, milliseconds in (("large", 2.0), ("small", 0.2))
        for runtime in ("torch", "ONNX Runtime", "ONNX Runtime, INT8")
        for batch in (1, 64)
    ],
    columns=["network", "runtime", "device", "threads", "batch", "median_ms", "p95_ms"],
)
ACCURACY = pd.DataFrame(
    [
        ("teacher", "large", "float32", 10_000_000, 0.998, 0.996, 0.999),
        ("student", "small", "float32", 90_000, 0.996, 0.994, 0.998),
        ("beaten", "small", "float32", 100_000, 0.990, 0.985, 0.995),
        ("never timed", "other", "int8", 95_000, 0.997, 0.995, 0.999),
    ],
    columns=["network", "shape", "arithmetic", "bytes", "accuracy", "low", "high"],
)
DRAWN = {
    "latency": lambda: figures.plot_latency(LATENCY),
    "pareto": lambda: figures.plot_pareto(ACCURACY, LATENCY),
    "counts": lambda: figures.plot_counts({"a": pd.DataFrame({"kind": ["none", "glasses"]})}),
    "bars": lambda: figures.plot_bars({"a": 1.0, "b": 20.0}, "faces a second", log=True),
    "curves": lambda: figures.plot_curves(HISTORY, 3),
    "no curves yet": lambda: figures.plot_curves([], 3),
    "loss": lambda: figures.plot_loss([1.0, 0.5], chance=1.1),
    "rates": lambda: figures.plot_rates([1e-3, 1e-2, 1e-1], [1.0, 0.5, 2.0], 1e-2),
    "confusion": lambda: figures.plot_confusion({"net": np.array([[5, 1], [0, 4]])}),
    "roc": lambda: figures.plot_roc_and_pr({"net": (TRUTH, P)}),
    "reliability": lambda: figures.plot_reliability({"net": (TRUTH, P)}),
    "thresholds": lambda: figures.plot_thresholds(TRUTH, P, 0.5),
    "matrix": lambda: figures.plot_matrix(pd.DataFrame({"x": [0.9]}, index=["y"]), "trained on", "judged on"),
    "robustness": lambda: figures.plot_robustness(TABLE, ["net"]),
    "times": lambda: figures.plot_times(TIMES, "what"),
    "stages": lambda: figures.plot_stages(pd.DataFrame({"decode": [1e-3], "detect": [2e-3]}, index=["slim"])),
}


@pytest.mark.parametrize("name", DRAWN)
def test_axes_have_names_and_their_text_fits(name):
    figure = DRAWN[name]()
    FigureCanvasAgg(figure).draw()
    whole = figure.bbox
    for axis in figure.axes:
        if axis.axison and axis.has_data():
            assert axis.get_xlabel()
            for label in (axis.xaxis.label, axis.yaxis.label, axis.title, *axis.get_yticklabels()):
                box = label.get_window_extent()
                if not label.get_text():
                    continue
                assert box.x0 >= whole.x0 - 1
                assert box.x1 <= whole.x1 + 1
            ticks = [t.get_window_extent() for t in axis.get_xticklabels() if t.get_text() and t.get_visible()]
            ticks = sorted((t for t in ticks if t.width > 1), key=lambda box: box.x0)
            assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(ticks)), "tick labels overlap"


def test_figures_show_the_numbers():
    figure = figures.plot_bars({"a": 1.5, "b": 3.0}, "x", form="{:.1f}")
    assert [patch.get_width() for patch in figure.axes[0].patches] == [1.5, 3.0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.5", "3.0"]
    accuracy, precision, recall, _ = figures.plot_thresholds(TRUTH, P, 0.5).axes[0].lines
    at = np.argmin(np.abs(accuracy.get_xdata() - 0.5))
    assert accuracy.get_ydata()[at] == pytest.approx(3 / 5)
    assert (precision.get_ydata()[at], recall.get_ydata()[at]) == pytest.approx((2 / 3, 2 / 3))


def test_the_front_joins_the_networks_that_none_beats():
    by_bytes, by_time = figures.plot_pareto(ACCURACY, LATENCY).axes
    (front,) = (line for line in by_bytes.lines if line.get_drawstyle() == "steps-post")
    assert list(front.get_xdata()) == [90, 95, 10_000]
    assert list(front.get_ydata()) == pytest.approx([0.004, 0.003, 0.002])
    (front,) = (line for line in by_time.lines if line.get_drawstyle() == "steps-post")
    assert list(front.get_xdata()) == [0.2, 2.0], "the one that was never timed is left out"
