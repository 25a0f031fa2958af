"""ONNX: the same answers as torch, from a file that needs nothing else, and a tool that never imports torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open

import compress
from conftest import ROOT
from detector_architectures import load_detector
from glasses.classifiers import CLASSIFIERS, OnnxClassifier, open_network
from glasses.classifiers import WEIGHTS as ONNX_WEIGHTS
from glasses.crops import align_face
from glasses.photos import read_image
from glasses.pipeline import GlassesPipeline, find_faces
from models import (
    EPSILON,
    WEIGHTS,
    Classifier,
    GlassesCNN,
    load_classifier,
    make_model,
    open_classifier,
    save_network,
    save_weights,
)
from synthetic.make_sample import SAMPLE

SHIPPED = ONNX_WEIGHTS / "glasses.onnx"


def crops_of(*photos) -> np.ndarray:
    """A crop of each photo, and sixty of noise."""
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
    assert all(path.stat().st_size <= most for path in (ONNX_WEIGHTS / f"{name}.onnx", WEIGHTS / f"{name}.safetensors"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> dict[str, Path]:
    """The shipped network as ONNX, by the way its weights are stored."""
    classifier, folder = load_classifier("glasses", "cpu"), tmp_path_factory.mktemp("stored")
    return {way: compress.export_onnx(classifier, folder / f"{way}.onnx", way) for way in compress.STORED}


@pytest.mark.parametrize(
    ("weights", "kilobytes", "tolerance"), [("fp32", 400, 1e-5), ("fp16", 200, 1e-3), ("int8", 100, 1e-5)]
)
def test_every_way_to_store_gives_the_same_probabilities(stored, hopper, astronaut, weights, kilobytes, tolerance):
    classifier, file = load_classifier("glasses", "cpu"), stored[weights]
    assert file.stat().st_size <= 1000 * kilobytes
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])  # as another program would
    crops = crops_of(hopper, astronaut)
    for count in (1, 7, len(crops)):
        given = session.run(None, {"faces": crops[:count]})[0]
        np.testing.assert_allclose(given, classifier(crops[:count]), atol=tolerance)
        np.testing.assert_allclose(given[:, :3].sum(1), 1, atol=1e-5)
    header = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert header == {
        "threshold": classifier.threshold,
        "kinds": ["none", "eyeglasses", "sunglasses"],
        "crop": list(classifier.crop),
        **{key: classifier.header[key] for key in ("interval", "config")},
    }


def heat_map_by_hand(file, face: np.ndarray) -> tuple[np.ndarray, float]:
    """(4, 6) and the difference of two logits, computed in float64 from the numbers in a .safetensors file alone."""
    with safe_open(file, framework="np") as stored:
        tensors = {name: stored.get_tensor(name).astype(float) for name in stored.keys()}
    weights = {}
    for name in tensors:
        if name + ".scale" in tensors:
            rows = tensors[name].reshape(len(tensors[name]), -1) * tensors[name + ".scale"][:, None]
            weights[name] = rows.reshape(tensors[name].shape)
    x = face / 255 - face.mean() / 255
    x = (x / np.sqrt(x.var() + EPSILON)).transpose(2, 0, 1)  # (3, 64, 96)
    for block, step in enumerate((2, 2, 1, 2, 1, 2)):
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
        x = np.einsum("chwij,kcij->khw", windows[:, ::step, ::step], weights[f"features.{block}.0.weight"])
        x = np.maximum(x + tensors[f"features.{block}.0.bias"][:, None, None], 0)
    linear = weights["classifier.weight"].reshape(-1, *x.shape)  # (4, C, 4, 6)
    logits = np.einsum("kcij,cij->k", linear, x) + tensors["classifier.bias"]
    glasses = 1 if logits[1] > logits[2] else 2
    return ((linear[glasses] - linear[0]) * x).sum(0), logits[glasses] - logits[0]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_shipped_heat_map_is_what_each_place_adds_to_the_logits(name, hopper, astronaut):
    classifier, file = open_network(name), WEIGHTS / f"{name}.safetensors"
    crops = crops_of(hopper, astronaut)
    crops[2] = crops[1]  # with dark glasses:
    crops[2, 20:42, 14:44] = crops[2, 20:42, 52:82] = 10
    maps, likely = classifier.heat_maps(crops), classifier(crops)
    assert (maps.shape, maps.dtype) == ((len(crops), 4, 6), np.float32)
    with safe_open(file, framework="np") as stored:
        bias, temperature = stored.get_tensor("classifier.bias"), json.loads(stored.metadata()["temperature"])
    glasses = likely[:, 1:3].argmax(1) + 1
    odds = np.log(likely[np.arange(len(crops)), glasses] / likely[:, 0]) * temperature
    np.testing.assert_allclose(maps.sum((1, 2)) + bias[glasses] - bias[0], odds, atol=2e-3, rtol=1e-4)
    for number in (0, 1, 2):
        expected, difference = heat_map_by_hand(file, crops[number])
        np.testing.assert_allclose(maps[number], expected, atol=1e-4)
        assert expected.sum() + bias[glasses[number]] - bias[0] == pytest.approx(difference, abs=1e-3)
    assert {1, 2} <= set(glasses), "both kinds are asked about"


def test_heat_maps_of_other_arithmetic_and_networks(stored, tmp_path, hopper):
    crops = crops_of(hopper)
    exact = open_network("glasses").heat_maps(crops)
    np.testing.assert_allclose(OnnxClassifier(stored["fp32"]).heat_maps(crops), exact, atol=1e-4)
    integer = compress.quantize_onnx(load_classifier("glasses", "cpu"), tmp_path / "q.onnx", crops)
    assert len(tensors(integer, np.int8)) == 7, "the linear layer's weights are stored once"
    assert not tensors(integer, np.float32)
    error = np.abs(OnnxClassifier(integer).heat_maps(crops) - exact)
    assert 0 < error.mean() < np.abs(exact).mean() / 4
    other = Classifier(make_model("shufflenet_v2_x0_5"))
    file = compress.export_onnx(other, tmp_path / "other.onnx")
    assert OnnxClassifier(file).heat_maps(crops) is None
    np.testing.assert_allclose(OnnxClassifier(file)(crops), other(crops), atol=1e-5)


def test_an_export_says_nothing_that_holds_without_saying(stored):
    """What takes bytes and changes nothing: names of nodes, notes, attributes at their defaults."""
    model = onnx.load(stored["int8"])
    assert not any(node.name or node.doc_string or node.metadata_props for node in model.graph.node)
    assert not model.graph.value_info
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert [{one.name for one in node.attribute} for node in convolutions] == [{"pads", "strides"}] * 6


def test_another_networks_weights_come_back_within_the_rounding(tmp_path):
    save_weights(GlassesCNN(), tmp_path / "other.safetensors", temperature=0.5, threshold=0.3)
    torch_classifier = load_classifier(tmp_path / "other.safetensors", "cpu")
    file = compress.export_onnx(torch_classifier, tmp_path / "other.onnx", "int8")
    crops = np.random.default_rng(1).integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    np.testing.assert_allclose(OnnxClassifier(file)(crops), torch_classifier(crops), atol=1e-3)
    assert OnnxClassifier(file).threshold == 0.3


def test_weights_may_be_read_by_whoever_may_read_other_files(tmp_path):
    (tmp_path / "other").touch()
    save_weights(GlassesCNN((8,) * 6), tmp_path / "w.safetensors", threshold=0.3, temperature=2.0)
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_onnx_file_says_of_which_run_it_is(tmp_path):
    origin = {"interval": [0.2, 0.4], "config": {"seed": 3, "train": {"m": "5 faces a1"}}}
    save_weights(GlassesCNN((8,) * 6), tmp_path / "w.safetensors", threshold=0.3, temperature=2.0, **origin)
    classifier = load_classifier(tmp_path / "w.safetensors", "cpu")
    model = onnx.load(compress.export_onnx(classifier, tmp_path / "w.onnx"))
    header = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert header.keys() == {"threshold", "kinds", "crop", "interval", "config"}
    assert {key: header[key] for key in origin} == origin


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


def tensors(file, dtype: type) -> list[np.ndarray]:
    """The tensors of a type with more than one dimension in an ONNX file."""
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer]
    return [array for array in arrays if array.dtype == dtype and array.ndim > 1]


def test_weights_are_stored_in_fewer_bits(stored):
    """By hand: half floats, or integers with a scale a row such that the largest number of the row is 127."""
    weights, halves = tensors(stored["fp32"], np.float32), tensors(stored["fp16"], np.float16)
    assert len(weights) == 7  # six convolutions and a linear layer
    for weight, half in zip(weights, halves, strict=True):
        np.testing.assert_array_equal(half, weight.astype(np.float16))
    integers = tensors(stored["int8"], np.int8)
    for weight, rounded in zip(weights, integers, strict=True):
        largest = np.abs(weight.reshape(len(weight), -1)).max(1)
        rows = rounded.reshape(len(rounded), -1).astype(int)
        assert set(np.abs(rows[largest > 1e-6]).max(1)) == {127}
        np.testing.assert_allclose(rows * largest[:, None] / 127, weight.reshape(rows.shape), atol=largest.max() / 250)
    assert not tensors(stored["fp16"], np.float32) + tensors(stored["int8"], np.float32), "none is left as it was"


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
    plain, onnx = GlassesPipeline(classifier=open_classifier(WEIGHTS / "glasses.safetensors")), GlassesPipeline()
    assert isinstance(onnx.classifier, OnnxClassifier)
    assert isinstance(plain.classifier, Classifier)
    for one, other in zip(plain(photos), onnx(photos), strict=True):
        assert (one.glasses, one.kind) == (other.glasses, other.kind)
        assert one.probability == pytest.approx(other.probability, abs=1e-5)


# ------------------------------------------------------------------------- where ONNX Runtime is missing or too old

MISSING = "sys.modules['onnxruntime'] = None"  # importing it is then an ImportError
TOO_OLD = """
import types

class InferenceSession:
    def __init__(self, *arguments, **options):
        raise RuntimeError("Load model failed: Unsupported model IR version: 10, max supported IR version: 9")

sys.modules["onnxruntime"] = types.SimpleNamespace(
    __version__="1.15.0", InferenceSession=InferenceSession,
    SessionOptions=lambda: types.SimpleNamespace(add_session_config_entry=lambda *entry: None),
)
"""


def run(code: str) -> str:
    """stdout of a fresh Python that runs `code` in the project's folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tool_imports_nothing_of_the_course(hopper):
    code = (
        "import sys\n"
        "from glasses import GlassesPipeline\n"
        f"print(GlassesPipeline().answer({str(hopper)!r}).kind)\n"
        "course = ('torch', 'torchvision', 'pandas', 'matplotlib', 'sklearn', 'models', 'data_load')\n"
        "print([name for name in course if name in sys.modules])"
    )
    assert run(code).splitlines() == ["eyeglasses", "[]"]


@pytest.mark.parametrize(
    ("state", "problem"),
    [(MISSING, "onnxruntime is not installed"), (TOO_OLD, "onnxruntime 1.15.0 is too old for")],
    ids=["missing", "too old"],
)
def test_where_onnx_runtime_fails_the_tool_says_what_to_install_and_the_course_takes_torch(
    hopper, tmp_path, state, problem
):
    image = read_image(hopper)[0]
    np.save(tmp_path / "crop.npy", align_face(image, load_detector("auto")(image)[0].landmarks))
    code = f"""
import sys
{state}
from glasses import GlassesPipeline
try:
    GlassesPipeline()
except ImportError as error:
    print(error)
import models, numpy
for model in ("glasses", {str(SHIPPED)!r}):
    classifier = models.open_classifier(model)
    none, eyeglasses, sunglasses = classifier(numpy.load({str(tmp_path / "crop.npy")!r})[None])[0, :3]
    print(type(classifier).__name__, eyeglasses > 0.5)
try:
    models.open_classifier({str(ROOT / "runs" / "other.onnx")!r})
except (ImportError, OSError) as error:
    print(type(error).__name__)
"""
    told, *answers, other = run(code).splitlines()
    assert problem in told
    assert "pip install 'onnxruntime>=1." in told
    assert answers == ["Classifier True"] * 2
    assert other == "FileNotFoundError"


def test_another_onnx_file_is_not_answered_by_the_shipped_weights(tmp_path, monkeypatch):
    """Without ONNX Runtime the torch weights stand in for the shipped .onnx files, and for no others."""
    (tmp_path / "glasses.onnx").write_bytes(SHIPPED.read_bytes())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install"):
        open_classifier(tmp_path / "glasses.onnx")
    with pytest.raises(ImportError, match="pip install"):
        open_network("glasses")
    assert isinstance(open_classifier(SHIPPED), Classifier)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "torch_pruning"])
def test_a_missing_package_is_one_line(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    save_network(GlassesCNN((8,) * 6), tmp_path / "checkpoint.pt")
    out = ["--out", str(tmp_path / "new" / "x")]
    if package == "torch_pruning":
        assert compress.main(["prune", str(tmp_path / "checkpoint.pt"), *out]) == 1
    else:
        assert compress.main(["export", *out]) == 1
    errors = capsys.readouterr().err
    assert "pip install " in errors
    assert package.replace("_", "-") in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "new").exists()


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
