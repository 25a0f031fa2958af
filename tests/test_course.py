"""What the notebooks call: damage, folds, layer tables, short trainings, made photos and the tool from Python."""

import io
import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn
from torch.utils.data import DataLoader

import sample_photos
from augment import train_transform
from benchmarks.robustness import measure
from conftest import EACH_ARCHITECTURE, ROOT, write_meglass
from corruptions import LADDERS, blur, darken, jpeg, mask, noise, turn
from data_load import KaggleGlasses, Label, MeGlass, describe_faces, k_folds, known_corrections, read_corrections
from detector_architectures import Face, load_detector
from evaluate import measure_robustness
from face_cache import CachedFaces
from glasses.cli import main
from glasses.drawing import annotate
from glasses.output import FORMATS
from glasses.pipeline import GlassesPipeline
from models import (
    WEIGHTS,
    GlassesCNN,
    describe_layers,
    fold_batch_norm,
    load_classifier,
    load_weights,
    make_model,
    probabilities,
    save_weights,
)
from synthetic.make_sample import SAMPLE
from train import (
    BalancedBatches,
    FaceBatches,
    find_run,
    fit_network,
    lr_range_test,
    predict_glasses,
    predict_logits,
    predict_outputs,
)


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
    assert list(table["receptive_field"]) == [3, 7, "whole"]


def test_receptive_field_is_what_the_gradient_sees():
    model = GlassesCNN().eval()
    picture = torch.rand(1, 3, 64, 96, requires_grad=True)
    for layer, field in zip(model.features[:4], describe_layers(model)["receptive_field"][:4], strict=True):
        nn.init.constant_(layer[0].weight, 0.01)
        one = model.features[: list(model.features).index(layer) + 1](picture)
        (gradient,) = torch.autograd.grad(one[0, 0, one.shape[2] // 2, one.shape[3] // 2], picture)
        assert (gradient[0].abs().sum((0, 1)) > 0).sum() == field


def test_a_layer_table_that_fails_leaves_the_network_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        describe_layers(model, (3, 9, 9))
    assert [module.training for module in model] == [True, False, True, True]
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    describe_layers(network := GlassesCNN().train())
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())


def used(architecture: str) -> nn.Module:
    """A network whose batch statistics are not the initial ones."""
    torch.manual_seed(0)
    model = make_model(architecture, pretrained=False)
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(16, 3, 64, 96))
    return model.eval()


@pytest.mark.parametrize("architecture", EACH_ARCHITECTURE)
def test_no_batch_norm_is_left_and_nothing_changes(architecture, tmp_path):
    model, faces = used(architecture), torch.rand(4, 3, 64, 96)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        folded = fold_batch_norm(model)
        expected = model(faces)
        torch.testing.assert_close(folded(faces), expected, atol=1e-5, rtol=1e-5)
        norms = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert bool(norms) == (architecture != "squeezenet1_1")
        left = any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert left == architecture.startswith("efficientnet"), "whose convolutions are no layers of torch's own"
        assert {name for name, _ in folded.named_modules()} == {name for name, _ in model.named_modules()}
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

        save_weights(model, tmp_path / "w.safetensors")
        loaded, _ = load_weights(tmp_path / "w.safetensors")
        assert any(isinstance(module, nn.BatchNorm2d) for module in loaded.modules()) == left
        assert (probabilities(loaded(faces)) - probabilities(expected)).abs().max() < 0.02


def test_a_batch_norm_stays_where_others_see_the_same_map():
    class Forked(nn.Module):
        """The first convolution's map is used twice, the second convolution is, the third goes through a ReLU."""

        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
            self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(5))

        def forward(self, x):
            x = self.convs[0](x)
            x = x + self.norms[0](x)
            x = self.norms[1](self.convs[1](x)) + self.norms[2](self.convs[1](x + 1))
            x = self.norms[3](self.convs[2](x).relu())
            return self.norms[4](self.convs[3](x))

    torch.manual_seed(0)
    model, x = Forked(), torch.rand(8, 3, 5, 5)
    for _ in range(5):
        model(x + 3)
    folded = fold_batch_norm(model)
    assert [isinstance(norm, nn.BatchNorm2d) for norm in folded.norms] == [True, True, True, True, False]
    torch.testing.assert_close(folded(x), model.eval()(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["glasses", "accurate"])
def test_layers_of_shipped_weights_have_the_names_that_they_are_stored_by(name):
    with safe_open(WEIGHTS / f"{name}.safetensors", framework="pt") as file:
        stored = {key.removesuffix(".scale") for key in file.keys()}
    features = {f"features.{i}.0.{kind}" for i in range(6) for kind in ("weight", "bias")}
    assert stored == features | {"classifier.weight", "classifier.bias"}
    assert load_weights(WEIGHTS / f"{name}.safetensors")[0].state_dict().keys() == stored


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
        """Says "sunglasses" of every face, whatever its label, and that it is none, whatever it is."""

        def forward(self, images):
            return torch.tensor([[0.0, 0.0, 12.0, -12.0]]).expand(len(images), 4)

    options = {"epochs": 8, "batch": 12, "workers": 0}
    student = fit_network({"m": cached}, {"m": cached}, tmp_path, teachers=[Sure()], hints=0, **options)
    outputs = predict_outputs(student, cached, "cpu")
    assert (outputs[:, :3].argmax(1) == 2).float().mean() > 0.9
    assert (outputs[:, 3] < 0).float().mean() > 0.9


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


def test_jpeg_is_that_of_another_library(hopper):
    image = np.asarray(Image.open(hopper).convert("RGB"))
    for quality in (5, 10, 40, 90):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        difference = np.abs(jpeg(image, quality).astype(float) - np.asarray(Image.open(file)))
        assert difference.mean() < 0.5, quality


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
def test_a_pure_colour_stays_what_it_is(colour):
    image = np.full((64, 64, 3), colour, np.uint8)
    assert np.abs(jpeg(image, 50).astype(int) - colour).max() <= 6


def test_a_red_edge_is_smeared_as_red_and_not_as_blue():
    """JPEG keeps more of red's light than of blue's (0.299, 0.114), and halves both colours: red has the finer edge."""
    errors = []
    for channel in (0, 2):
        image = np.zeros((64, 64, 3), np.uint8)
        image[:, 29:, channel] = 255
        errors.append(np.abs(jpeg(image, 30).astype(int) - image)[..., channel].mean())
    assert errors[0] < errors[1]


def test_noise_and_darkness_keep_the_mean():
    grey = np.full((600, 600, 3), 128, np.uint8)
    noisy = noise(grey, 10).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=0.1)
    assert noisy.std() == pytest.approx(np.hypot(10, 1 / np.sqrt(12)), abs=0.05)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (3, 1)).T[None]
    for light in (0.05, 0.1, 0.2, 0.5):
        darkened = darken(ramp, light)
        assert np.abs(darkened - ramp * light).max() <= 0.5
        assert darkened.mean() == pytest.approx((ramp * light).mean(), abs=0.1)


class Spotter:
    """A detector of pictures with a black pixel: the face is around it."""

    name = "spotter"

    def __call__(self, image):
        y, x = np.argwhere((image == 0).all(2))[0]
        return [Face((x - 10, y - 10, 20, 20), 1.0, self.name)]


def spotted(*spots) -> list[np.ndarray]:
    images = [np.full((64, 64, 3), 200, np.uint8) for _ in spots]
    for image, (x, y) in zip(images, spots, strict=True):
        image[y, x] = 0
    return images


class AlwaysGlasses:
    """Says "glasses" of every crop, and that it is a face."""

    threshold, crop = 0.5, load_classifier("glasses", "cpu").crop

    def __call__(self, crops):
        return np.tile(np.float32([0, 1, 0, 1]), (len(crops), 1))


@pytest.mark.parametrize("way", ["evaluate.py", "benchmarks/robustness.py"])
def test_damage_is_done_around_the_face_of_the_same_picture(way):
    images, seen = spotted((20, 20), (40, 22), (30, 44)), []

    def damage(image, points, level=1):
        (face,) = Spotter()(image)
        seen.append(np.abs(points - face.landmarks).max() < 1e-6)
        return image

    if way == "evaluate.py":
        dataset = FakeSource(images, [Label.EYEGLASSES, Label.NONE, Label.NONE])
        table = measure_robustness(dataset, Spotter(), {"all": AlwaysGlasses()}, {"spot": ((1, 2), damage)})
        assert list(table["all"]) == [pytest.approx(1 / 3)] * 2
    else:
        pipeline = GlassesPipeline(Spotter(), classifier=AlwaysGlasses())
        rows = list(measure(images, np.array([True, False, False]), pipeline, {"one": damage, "two": damage}))
        assert [(row["change"], row["accuracy"]) for row in rows] == [
            ("one", pytest.approx(1 / 3)),
            ("two", pytest.approx(1 / 3)),
        ]
    assert seen == [True] * 6


class FakeSource:
    """As much of a `FaceDataset` as `measure_robustness` uses."""

    def __init__(self, images, labels):
        self.images, self.labels = images, np.array(labels)

    def __len__(self):
        return len(self.images)

    def read(self, i):
        return self.images[i]


def test_boxes_are_drawn_where_the_face_is():
    class Fixed:
        name = "fixed"

        def __call__(self, image):
            return [Face((20, 30, 40, 50), 1.0, "fixed")]

    image = np.full((100, 100, 3), 255, np.uint8)
    (answer,) = GlassesPipeline(Fixed(), classifier=AlwaysGlasses())([image])
    drawn = np.asarray(annotate(image, answer))
    changed = np.argwhere((drawn != 255).any(2))
    assert (drawn[80, 40] != 255).any()
    assert changed[:, 0].max() == pytest.approx(80, abs=2)
    assert (drawn[90:] == 255).all()


# ------------------------------------------------------------------------------------ the tool from Python


@pytest.mark.parametrize("form", FORMATS)
def test_the_tool_answers_where_stdout_is_replaced(hopper, astronaut, form):
    out = io.StringIO()
    with redirect_stdout(out):
        assert main([str(hopper), str(astronaut), "--format", form]) == 0
    assert out.getvalue().count(hopper.name) == 1
    assert out.getvalue().count(astronaut.name) == (form != "text"), "as text, only those with glasses"
    assert not out.closed


FRESH = """
import sys
import cv2
cv2.setNumThreads(4)
from glasses import pipeline
from glasses.cli import main
threads, read_photo = [], pipeline.read_photo
def note(source):
    threads.append(cv2.getNumThreads())
    return read_photo(source)
pipeline.read_photo = note
status = main(sys.argv[1:])
print(status, threads, file=sys.stderr)
"""


def test_opencv_adds_no_threads_to_ours(hopper, astronaut):
    command = [sys.executable, "-c", FRESH, str(hopper), str(astronaut)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "0 [1, 1]"
