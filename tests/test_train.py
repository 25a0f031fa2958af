"""The network, its weights, the loss, and training: reproducible, resumable, in several processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from conftest import ROOT, write_meglass
from data_load import Label, MeGlass, load_sources, read_corrections
from detector_architectures import load_detector
from find_data import DataError
from glasses.crops import KINDS, align_face
from glasses.photos import read_image
from losses import glasses_loss
from models import (
    ARCHITECTURES,
    GlassesCNN,
    fold_batch_norm,
    load_classifier,
    load_weights,
    make_model,
    pick_device,
    save_weights,
)
from train import BalancedBatches, calibrate

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
    crop = align_face(image, load_detector("slim")(image)[0].landmarks, model.crop)
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
    assert torch.allclose(loaded(faces).softmax(1), model(faces).softmax(1), atol=0.02)
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
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(3)}, file)
    else:
        file.write_bytes(b"not weights" if damage == "text" else SHIPPED.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"bad\.safetensors does not hold weights") as caught:
        load_classifier(file)
    assert "\n" not in str(caught.value)


def test_missing_weights_and_devices_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="one of: glasses"):
        load_classifier("nonsense")
    with pytest.raises(ValueError, match="device 'tpu9' cannot be used here"):
        pick_device("tpu9")


def test_classifier_probabilities(tmp_path):
    crops = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), dtype=np.uint8)
    classifier = load_classifier(device="cpu")
    found = classifier(crops)
    assert found.shape == (5, 3)
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    logits = classifier.model(torch.from_numpy(crops).permute(0, 3, 1, 2) / 255)
    assert np.allclose(found, F.softmax(logits / classifier.temperature, dim=1).detach(), atol=1e-5)


# --------------------------------------------------------------------------------------------------- loss


def test_loss_of_known_kinds_is_cross_entropy():
    logits, labels = torch.randn(20, 3), torch.randint(0, 3, (20,))
    assert glasses_loss(logits, labels).item() == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_trains_and_comes_back_from_its_weights(architecture, tmp_path):
    torch.manual_seed(0)
    model = make_model(architecture)
    faces = torch.rand(8, 3, 64, 96)
    glasses_loss(model(faces), torch.arange(8) % 4).backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    save_weights(model, tmp_path / "w.safetensors", threshold=0.4)
    again, header = load_weights(tmp_path / "w.safetensors")
    assert header["architecture"] == architecture
    with torch.inference_mode():
        torch.testing.assert_close(again(faces).softmax(1), model(faces).softmax(1), atol=0.02, rtol=0)
    if architecture != "resnet18":
        assert (tmp_path / "w.safetensors").stat().st_size <= 3_000_000


def test_unknown_architecture_is_named():
    with pytest.raises(ValueError, match="'vgg': choose from GlassesCNN"):
        make_model("vgg")


def test_calibration_finds_a_known_temperature_and_threshold():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(20_000, 3, generator=generator) * 2
    labels = torch.multinomial(true.softmax(1), 1, generator=generator).squeeze(1)
    temperature, threshold = calibrate([true * 1.7], [labels])
    assert temperature == pytest.approx(1.7, rel=0.06)
    assert threshold == pytest.approx(0.5, abs=0.05)


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


def test_sources_are_split_the_same_with_no_identity_in_both(meglass):
    train, validation = load_sources({"meglass": str(meglass)}, {})
    assert not set(train["meglass"].identities) & set(validation["meglass"].identities)
    assert len(train["meglass"]) + len(validation["meglass"]) == len(MeGlass(meglass))


def test_corrections_reach_training_and_validation(meglass, tmp_path):
    files = MeGlass(meglass).files
    table = tmp_path / "corrections.csv"
    for source, expected in (("meglass", {Label.SUNGLASSES}), ("celeba", {Label.NONE, Label.EYEGLASSES})):
        table.write_text("source,file,kind\n" + "".join(f"{source},{file.name},sunglasses\n" for file in files))
        for part in load_sources({"meglass": str(meglass)}, {}, read_corrections(table)):
            assert set(part["meglass"].labels) == expected, "a source's corrections are for its own files"
    table.write_text("source,file,kind\nceleba,a.jpg,monocle\n")
    with pytest.raises(DataError, match="MONOCLE"):
        read_corrections(table)


def command(meglass, out, *more) -> list[str]:
    arguments = ["--data", f"meglass={meglass}", "--epochs", "3", "--batch", "16", "--device", "cpu", "--workers", "0"]
    return ["train.py", *arguments, "--out", str(out), "--cache", str(meglass / "cache"), *more]


def run(arguments, launcher=(), **options):
    return subprocess.run(
        [sys.executable, *launcher, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A data set of drawn faces, and the folder of a whole run on it."""
    meglass = write_meglass(tmp_path_factory.mktemp("train") / "meglass", people=16, each=4)
    out = meglass.parent / "whole"
    done = run(command(meglass, out))
    assert done.returncode == 0, done.stderr
    return meglass, out


def weights(folder) -> dict[str, np.ndarray]:
    with safe_open(folder / "glasses.safetensors", framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def assert_same(first, second):
    first, second = weights(first), weights(second)
    assert first.keys() == second.keys()
    for name in first:
        assert np.array_equal(first[name], second[name]), name


def test_a_run_leaves_weights_log_and_curve(finished):
    _, out = finished
    assert sorted(p.name for p in out.iterdir()) == ["checkpoint.pt", "curve.png", "glasses.safetensors", "log.csv"]
    with open(out / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[2]["train_loss"]) < float(rows[0]["train_loss"])
    assert load_classifier(out / "glasses.safetensors", "cpu")(np.zeros((1, 64, 96, 3), np.uint8)).shape == (1, 3)


def test_the_seed_reproduces_a_run_bit_for_bit(finished):
    meglass, out = finished
    again = run(command(meglass, meglass.parent / "again"))
    assert again.returncode == 0, again.stderr
    assert_same(out, meglass.parent / "again")
    other = run(command(meglass, meglass.parent / "other", "--seed", "1"))
    assert other.returncode == 0, other.stderr
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(weights(out).values(), weights(meglass.parent / "other").values(), strict=True)
    )


def test_a_killed_run_resumes_to_the_same_result(finished):
    meglass, out = finished
    killed = meglass.parent / "killed"
    process = subprocess.Popen(
        [sys.executable, *command(meglass, killed)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not (killed / "checkpoint.pt").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (killed / "checkpoint.pt").is_file()
    assert not (killed / "glasses.safetensors").exists(), "killed too late to show anything"
    resumed = run(command(meglass, killed, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed after epoch" in resumed.stdout
    assert_same(out, killed)
    stranger = run(command(meglass, killed, "--resume", "--seed", "9", "--batch", "8"))
    assert stranger.returncode == 1
    assert "is of another run: its seed, batch differ" in stranger.stderr
    assert "Traceback" not in stranger.stderr


def test_fine_tuning_starts_from_the_weights_of_another_run(finished):
    meglass, out = finished
    tuned = meglass.parent / "tuned"
    done = run(command(meglass, tuned, "--init", str(out / "checkpoint.pt"), "--lr", "1e-9"))
    assert done.returncode == 0, done.stderr
    first, second = weights(out), weights(tuned)
    for name in ("classifier.weight", "classifier.weight.scale", "classifier.bias"):  # batch statistics move on
        assert np.abs(first[name].astype(float) - second[name].astype(float)).max() <= 1, name
    kept = meglass.parent / "kept"  # all of the first weights, whatever was learned after them
    done = run(command(meglass, kept, "--init", str(out / "checkpoint.pt"), "--lr", "0.1", "--keep", "1"))
    assert done.returncode == 0, done.stderr
    assert "last epoch; wrote" in done.stdout
    first, second = weights(out), weights(kept)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    done = run(command(meglass, tuned, "--init", str(out / "log.csv")))
    assert done.returncode == 1
    assert "is no checkpoint of train.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_torchrun_trains_in_two_processes(finished):
    meglass, _ = finished
    out = meglass.parent / "two"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    done = run(command(meglass, out), launcher, env={**os.environ, "OMP_NUM_THREADS": "1"})
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
    ],
)
def test_wrong_data_is_one_line(arguments, message, tmp_path):
    done = run(["train.py", *arguments, "--out", str(tmp_path)])
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_student_is_taught_in_bfloat16_pruned_and_taught_again(finished):
    """The whole way by command: train.py --teacher, compress.py prune, train.py --init."""
    meglass, _ = finished
    taught, pruned = meglass.parent / "taught", meglass.parent / "pruned" / "checkpoint.pt"
    teach = ("--epochs", "1", "--bfloat16", "--teacher", str(SHIPPED), str(SHIPPED))
    done = run(command(meglass, taught, *teach, "--widths", "8", "8", "8", "16", "16", "8"))
    assert done.returncode == 0, done.stderr
    done = run(["compress.py", "prune", str(taught / "checkpoint.pt"), "--ratio", "0.5", "--out", str(pruned)])
    assert done.returncode == 0, done.stderr
    assert "widths 4 4 4 8 8 4" in done.stdout
    smaller = meglass.parent / "smaller"
    done = run(command(meglass, smaller, "--init", str(pruned), *teach, "--hints", "0"))
    assert done.returncode == 0, done.stderr
    network, header = load_weights(smaller / "glasses.safetensors")
    assert network.widths == tuple(header["widths"]) == (4, 4, 4, 8, 8, 4)
    assert run(command(meglass, smaller, "--resume", "--init", str(pruned), *teach)).stderr.count("hints differ") == 1


def test_init_and_architecture_exclude_each_other(finished):
    meglass, out = finished
    done = run(command(meglass, out, "--init", "x.pt", "--architecture", "resnet18"))
    assert done.returncode == 2
    assert "leave --architecture" in done.stderr
