"""What the benchmark of recognition writes: a row a network, of small data sets in the public layouts."""

import json
import math
import shutil
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import recognition, recognition_faces
from benchmarks.documents import CONTENTS, Results
from conftest import ROOT
from glasses.recognizer import Recognizer
from recognition import faces
from recognition.datasets import open_people
from recognition.measure import measure_glasses, measure_lfw
from recognition.teachers import OnnxTeacher
from test_recognition_data import FACES, write_lfw
from test_recognition_models import write_teacher

PIXELS = 112 * 112 * 3


def write_recognizer(path) -> None:
    """A network of random weights in the form of the tool's, these stored in 8 bits."""
    weights = np.random.default_rng(1).integers(-127, 128, (PIXELS, 8), dtype=np.int8)
    stored = {"weights": weights, "scales": np.full(8, 0.01, np.float32), "sizes": np.array([-1, PIXELS])}
    nodes = [
        helper.make_node("DequantizeLinear", ["weights", "scales"], ["floats"], axis=1),
        helper.make_node("Cast", ["chips"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "sizes"], ["flat"]),
        helper.make_node("MatMul", ["flat", "floats"], ["answer"]),
        helper.make_node("LpNormalization", ["answer"], ["vectors"], axis=1, p=2),
    ]
    entry = helper.make_tensor_value_info("chips", TensorProto.UINT8, ("N", 112, 112, 3))
    answer = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ("N", 8))
    constants = [numpy_helper.from_array(values, name) for name, values in stored.items()]
    graph = helper.make_graph(nodes, "recognizer", [entry], [answer], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"same": json.dumps(0.5)})
    onnx.save(model, path)


def write_faces_of_celeba(root) -> None:
    """The sample's 40 people: ten of the official training part, the others of its validation part."""
    (root / "img_align_celeba").mkdir(parents=True)
    lists: dict[str, list[str]] = {"identity_CelebA": [], "list_eval_partition": []}
    people = sorted({file.name.rpartition("@")[0] for file in FACES})
    for number, file in enumerate(FACES):
        name, person = f"{number:06d}.jpg", people.index(file.name.rpartition("@")[0])
        shutil.copy(file, root / "img_align_celeba" / name)
        lists["identity_CelebA"].append(f"{name} {person}")
        lists["list_eval_partition"].append(f"{name} {int(person >= 10)}")
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")


def test_parameters_are_the_weights_without_their_scales(tmp_path):
    write_recognizer(tmp_path / "r.onnx")
    assert recognition.parameters(tmp_path / "r.onnx") == 8 * PIXELS
    write_teacher(tmp_path / "t.onnx", size=16)
    assert recognition.parameters(tmp_path / "t.onnx") == 3 * 14 * 14 * 16


def test_a_row_a_network_and_the_document_s_table_of_it(tmp_path, monkeypatch):
    lfw = write_lfw(tmp_path / "lfw")
    for number, file in enumerate(sorted(lfw.rglob("*.jpg"))):
        file.write_bytes(FACES[number].read_bytes())
    write_faces_of_celeba(tmp_path / "celeba")
    write_teacher(tmp_path / "teacher.onnx")
    write_recognizer(tmp_path / "small.onnx")
    places = {"lfw": lfw, "meglass": ROOT / "data" / "sample", "celeba": tmp_path / "celeba"}
    arguments = [f"--{name}={path}" for name, path in places.items()]
    arguments += [f"--teacher={tmp_path / 'teacher.onnx'}", "--student", f"Small={tmp_path / 'small.onnx'}"]
    arguments += ["--triplets", "30", f"--cache={tmp_path / 'cache'}", "--note", "measured in a test"]
    monkeypatch.setattr(sys, "argv", ["recognition.py", *arguments])
    monkeypatch.setattr(recognition, "RESULTS", tmp_path)
    monkeypatch.setattr(recognition, "measure", lambda function, *_: {"median": 0.004})
    assert recognition.main() == 0

    text = (tmp_path / "recognition.csv").read_text()
    assert str(tmp_path) not in text
    assert "# note: measured in a test\n" in text
    rows = pd.read_csv(tmp_path / "recognition.csv", comment="#").set_index("network")
    assert list(rows.index) == ["teacher", "Small"]
    assert rows["bytes"].tolist() == [(tmp_path / f"{name}.onnx").stat().st_size for name in ("teacher", "small")]
    assert rows["ms"].tolist() == [4, 4]
    assert rows["triplets"].tolist() == [30, 30]
    assert rows["class_people"].nunique() == rows["class_pictures"].nunique() == 1
    networks = {"teacher": OnnxTeacher(tmp_path / "teacher.onnx"), "Small": Recognizer(tmp_path / "small.onnx")}
    for name, network in networks.items():
        of_lfw, _, _ = measure_lfw(network, open_people(f"lfw={lfw}"), tmp_path / "cache")
        kinds, _ = measure_glasses(network, open_people(f"meglass={places['meglass']}"), tmp_path / "cache")
        assert rows.loc[name, "lfw_accuracy"] == pytest.approx(of_lfw["accuracy"])
        without, worn, against = (row["accuracy"] for row in kinds)
        found = rows.loc[name, ["without_accuracy", "with_accuracy", "against_accuracy", "against_less"]]
        assert found.tolist() == pytest.approx([without, worn, against, without - against])
    assert not math.isclose(rows.loc["teacher", "against_eer"], rows.loc["Small", "against_eer"])
    lines = CONTENTS["recognition"](Results(tmp_path)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| teacher", "| Small"]


def test_more_faces_of_the_same_number_of_views(tmp_path, monkeypatch):
    lfw = write_lfw(tmp_path / "lfw")
    for number, file in enumerate(sorted(lfw.rglob("*.jpg"))):
        file.write_bytes(FACES[number].read_bytes())
    write_teacher(tmp_path / "teacher.onnx")
    monkeypatch.setattr(faces, "ALIKE", 1.01)  # to a teacher by chance all are alike
    arguments = [f"--teacher={tmp_path / 'teacher.onnx'}", f"--train-set=sample={ROOT / 'data' / 'sample'}"]
    arguments += [f"--lfw={lfw}", "--shares", "0.667", "1", "--epochs", "1", "--views", "1", "--batch", "32"]
    arguments += [f"--cache={tmp_path / 'cache'}", f"--out={tmp_path / 'runs'}", "--note", "measured in a test"]
    monkeypatch.setattr(sys, "argv", ["recognition_faces.py", *arguments])
    monkeypatch.setattr(recognition_faces, "RESULTS", tmp_path)
    assert recognition_faces.main() == 0

    text = (tmp_path / "recognition_faces.csv").read_text()
    assert str(tmp_path) not in text
    assert "# note: measured in a test\n" in text
    rows = pd.read_csv(tmp_path / "recognition_faces.csv", comment="#")
    few, all_faces = rows["faces"]
    assert 0.5 < few / all_faces < 0.8
    assert rows["epochs"].tolist() == [round(all_faces / few), 1]
    assert rows["cosine_train"].between(-1, 1).all()
    assert rows["cosine_select"].between(-1, 1).all()
    assert (tmp_path / "recognition_faces.png").stat().st_size > 5000
    runs = {folder: (folder / "checkpoint.pt").stat().st_mtime for folder in (tmp_path / "runs").iterdir()}
    assert len(runs) == 2
    assert recognition_faces.main() == 0, "nothing is trained again"
    assert {folder: (folder / "checkpoint.pt").stat().st_mtime for folder in runs} == runs
    assert pd.read_csv(tmp_path / "recognition_faces.csv", comment="#").equals(rows)
