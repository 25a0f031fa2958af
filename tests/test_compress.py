"""ONNX: the same answers as torch, from a file that needs nothing else, and a command line that never imports torch."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import compress
from conftest import ROOT
from glasses.classifiers import OnnxClassifier
from glasses.crops import align_face
from glasses.photos import read_image
from glasses.pipeline import GlassesPipeline, find_faces
from models import WEIGHTS, GlassesCNN, load_classifier, make_model, open_classifier, save_weights
from synthetic.make_sample import SAMPLE

SHIPPED = WEIGHTS / "glasses.onnx"


def crops_of(*photos) -> np.ndarray:
    """A crop of each photo, and sixty of noise."""
    from detector_architectures import load_detector

    images = [read_image(photo)[0] for photo in photos]
    detector = load_detector("auto")
    real = [align_face(image, find_faces(detector, image, assume_face=True)[0].landmarks) for image in images]
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 96, 3), dtype=np.uint8)
    return np.concatenate([np.stack(real), noise, np.zeros_like(noise[:1])])


@pytest.mark.parametrize(("name", "most"), [("glasses", 100_000), ("accurate", 3_000_000)])
def test_shipped_network_is_that_of_the_shipped_weights(name, most, hopper, astronaut):
    torch_classifier, classifier = load_classifier(name, "cpu"), open_classifier(name)
    assert isinstance(classifier, OnnxClassifier)
    crops = crops_of(hopper, astronaut)
    np.testing.assert_allclose(classifier(crops), torch_classifier(crops), atol=1e-5)
    assert (classifier.threshold, classifier.crop) == (torch_classifier.threshold, torch_classifier.crop)
    assert [probability[0] < 0.5 for probability in classifier(crops[:2])] == [True, False]
    assert all((WEIGHTS / f"{name}.{suffix}").stat().st_size <= most for suffix in ("onnx", "safetensors"))


@pytest.mark.parametrize(
    ("weights", "kilobytes", "tolerance"), [("fp32", 400, 1e-5), ("fp16", 200, 1e-3), ("int8", 100, 1e-5)]
)
def test_every_way_to_store_gives_the_same_probabilities(tmp_path, hopper, astronaut, weights, kilobytes, tolerance):
    classifier = load_classifier("glasses", "cpu")
    file = compress.export_onnx(classifier, tmp_path / "glasses.onnx", weights)
    assert file.stat().st_size <= 1000 * kilobytes
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])  # as another program would
    crops = crops_of(hopper, astronaut)
    for count in (1, 7, len(crops)):
        given = session.run(None, {"faces": crops[:count]})[0]
        np.testing.assert_allclose(given, classifier(crops[:count]), atol=tolerance)
        np.testing.assert_allclose(given.sum(1), 1, atol=1e-5)
    header = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert header == {
        "threshold": classifier.threshold,
        "kinds": ["none", "eyeglasses", "sunglasses"],
        "crop": list(classifier.crop),
    }


def test_another_networks_weights_come_back_within_the_rounding(tmp_path):
    save_weights(GlassesCNN(), tmp_path / "other.safetensors", temperature=0.5, threshold=0.3)
    torch_classifier = load_classifier(tmp_path / "other.safetensors", "cpu")
    file = compress.export_onnx(torch_classifier, tmp_path / "other.onnx", "int8")
    crops = np.random.default_rng(1).integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    np.testing.assert_allclose(OnnxClassifier(file)(crops), torch_classifier(crops), atol=1e-3)
    assert OnnxClassifier(file).threshold == 0.3


def test_integer_arithmetic_gives_nearly_the_same_answers(tmp_path):
    assert compress.main(["quantize", "--data", f"sample={SAMPLE}", "--out", str(tmp_path / "q.onnx")]) == 0
    integer, plain = OnnxClassifier(tmp_path / "q.onnx"), load_classifier("glasses", "cpu")
    files = sorted((SAMPLE / "faces-spring-2020" / "faces-spring-2020").glob("face-1*.jpg"))[:100]
    crops = crops_of(*files)[:100]
    one, other = 1 - integer(crops)[:, 0], 1 - plain(crops)[:, 0]
    assert 1e-6 < np.abs(one - other).max() < 0.15
    assert ((one >= integer.threshold) == (other >= plain.threshold)).mean() >= 0.99
    assert (tmp_path / "q.onnx").stat().st_size <= 120_000
    kinds = {node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q.onnx"]


def test_export_says_what_is_wrong(tmp_path, capsys):
    assert compress.main(["export", "--model", "nonsense", "--out", str(tmp_path / "x.onnx")]) == 1
    assert capsys.readouterr().err.startswith("compress.py: no weights at")
    assert compress.main(["quantize", "--data", f"sample={tmp_path}", "--out", str(tmp_path / "x.onnx")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ValueError, match="'int4': choose from int8, fp16, fp32"):
        compress.export_onnx(load_classifier("glasses", "cpu"), tmp_path / "x.onnx", "int4")
    assert list(tmp_path.iterdir()) == []


def test_wrong_networks_are_one_line(tmp_path):
    for content in (b"no network", SHIPPED.read_bytes()[:5000]):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.onnx does not hold a network") as caught:
            open_classifier(tmp_path / "bad.onnx")
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no network at"):
        open_classifier(tmp_path / "none.onnx")
    with pytest.raises(FileNotFoundError, match="one of: glasses"):
        open_classifier("nonsense")
    with pytest.raises(ValueError, match="not on cuda"):
        open_classifier(SHIPPED, "cuda")


def test_pipelines_agree(hopper, astronaut):
    photos = [hopper, astronaut]
    plain, onnx = GlassesPipeline(model=WEIGHTS / "glasses.safetensors"), GlassesPipeline(model=SHIPPED)
    assert isinstance(onnx.classifier, OnnxClassifier)
    assert not isinstance(plain.classifier, OnnxClassifier)
    for one, other in zip(plain(photos), onnx(photos), strict=True):
        assert (one.glasses, one.kind) == (other.glasses, other.kind)
        assert one.probability == pytest.approx(other.probability, abs=1e-5)


def run(code: str, **variables) -> str:
    """stdout of a fresh Python that runs `code` in the project's folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_the_command_line_never_imports_torch(hopper):
    code = (
        "import sys, predict\n"
        f"assert predict.main([{str(hopper)!r}]) == 0\n"
        "print([name for name in ('torch', 'torchvision', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    lines = run(code).splitlines()
    assert lines[0].startswith("Found glasses")
    assert lines[-1] == "[]"


def test_torch_answers_where_onnx_runtime_is_missing(hopper):
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = None\n"  # importing it is then an ImportError
        "from pipeline import GlassesPipeline\n"
        f"pipeline = GlassesPipeline(); (answer,) = pipeline([{str(hopper)!r}])\n"
        "print(type(pipeline.classifier).__module__, answer.kind)"
    )
    assert run(code).split() == ["models", "eyeglasses"]


def test_pruning_takes_the_channels_that_do_nothing():
    """Silence half of the channels: without them the answers are the same, to the last digits."""
    torch.manual_seed(0)
    model = GlassesCNN().eval()
    with torch.no_grad():
        for block in model.features:
            silent = torch.randperm(block[0].out_channels)[: block[0].out_channels // 2]
            for tensor in (block[0].weight, block[1].weight, block[1].bias):
                tensor[silent] = 0
    faces = torch.rand(5, 3, 64, 96)
    pruned = compress.prune_channels(model, 0.5)
    assert pruned.widths == (12, 16, 16, 32, 32, 16)
    with torch.inference_mode():
        torch.testing.assert_close(pruned(faces), model(faces), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ratio", [0, 1, -0.5])
def test_pruning_says_what_it_cannot_prune(ratio):
    with pytest.raises(ValueError, match="GlassesCNN can be pruned"):
        compress.prune_channels(GlassesCNN(), ratio)
    with pytest.raises(ValueError, match="TorchvisionNet"):
        compress.prune_channels(make_model("shufflenet_v2_x0_5"), 0.5)
