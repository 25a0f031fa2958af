"""Labels from two teachers: their points in the face's own frame, the readout, and the tables.

The teachers' networks are not part of the project: here others with the same calls stand in for them.
"""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import pseudo_label
from conftest import ROOT
from data_load import MeGlass, position
from detector_architectures import Face, main_face
from detector_architectures.slim import Slim
from find_data import DataError
from glasses.keypoints import LABEL_SHIFT, open_keypoints, without_shift
from keypoint_data import MIRRORED, FacialKeypointsDataset, eye_distance, mean_errors
from pseudo_label import DISAGREE, Readout, Seen, Teachers, label, look, mirror
from sources import SPLIT_SEED, TRAIN_BELOW

SAMPLE = ROOT / "data" / "sample"
RNG = np.random.default_rng(0)

# The mesh of the tests: its point i is where SWAP[i] was in the mirror image; 33 and 263 are the outer eye corners.
SWAP = np.arange(468)
for _one, _other in ((33, 263), *((i, 467 - i) for i in range(100, 200))):
    SWAP[[_one, _other]] = _other, _one
MESH = RNG.normal(0, 1, (468, 2))
MESH[33], MESH[263] = (-1.2, -0.3), (1.2, -0.3)


def mesh_at(angle: float, size: float, place: tuple[float, float], change: np.ndarray | float = 0) -> np.ndarray:
    """The mesh turned clockwise by degrees, `size` times as large, at a place in pixels."""
    cos, sin = size * np.cos(np.radians(angle)), size * np.sin(np.radians(angle))
    return (MESH + change) @ np.array([[cos, sin], [-sin, cos]]) + place


# ------------------------------------------------------------------------------------- the frame of a face


def test_what_enters_the_frame_leaves_it_as_it_was():
    seen = Seen(mesh_at(25, 40, (300, 200)), RNG.normal(0, 50, (68, 2)))
    points = RNG.uniform(0, 500, (68, 2))
    np.testing.assert_allclose(seen.leave(seen.enter(points)), points)
    np.testing.assert_allclose(seen.enter(seen.leave(points)), points)


def test_the_frame_of_a_face_does_not_depend_on_where_it_is():
    points = RNG.normal(0, 1, (68, 2))
    expected = None
    for angle, size, place in ((0, 1, (0, 0)), (40, 35, (200, 90)), (-170, 3, (-50, 1000))):
        cos, sin = size * np.cos(np.radians(angle)), size * np.sin(np.radians(angle))
        moved = points @ np.array([[cos, sin], [-sin, cos]]) + place
        seen = Seen(mesh_at(angle, size, place), moved)
        mesh = seen.features["mesh"].reshape(468, 2)
        np.testing.assert_allclose(mesh.mean(0), 0, atol=1e-9)
        assert np.sqrt((mesh**2).sum(1).mean()) == pytest.approx(1)
        assert mesh[263, 1] == pytest.approx(mesh[33, 1]), "level"
        assert mesh[263, 0] > mesh[33, 0], "and upright"
        found = np.concatenate([seen.features["mesh"], seen.features["points"]])
        np.testing.assert_allclose(found, found if expected is None else expected, atol=1e-9)
        expected = found
    assert found.shape == (936 + 136,)


def test_the_mirror_image_of_the_mirror_image():
    points = RNG.uniform(0, 100, (68, 2))
    mirrored = mirror(points, 101)
    np.testing.assert_allclose(mirror(mirrored, 101), points)
    assert mirrored[36].tolist() == pytest.approx([100 - points[45, 0], points[45, 1]])  # the outer eye corners
    assert mirrored[8].tolist() == pytest.approx([100 - points[8, 0], points[8, 1]])  # the chin
    image = np.zeros((50, 101, 3), np.uint8)
    image[20, 30] = 255  # the left corner of the mouth
    points[48] = 30, 20
    x, y = mirror(points, 101)[54].astype(int)
    assert image[:, ::-1][y, x, 0] == 255


# --------------------------------------------------------------------------------------------- the readout


@pytest.fixture(scope="module")
def known() -> tuple[list, np.ndarray, int]:
    """Faces as the teachers see them, and labels that are a linear map of that, the same one in the mirror."""
    rng, width = np.random.default_rng(1), 640
    of_mesh, of_points = rng.normal(0, 0.05, (2, 10, 468, 2)), rng.normal(0, 0.05, (2, 10, 68, 2))
    base, weights = rng.normal(0, 1, (68, 2)), rng.normal(0, 0.02, (68, 468))
    swapped = np.empty_like(weights)
    for i in range(68):
        for j in range(468):
            swapped[i, j] = weights[MIRRORED[i], SWAP[j]]
    weights = (weights + swapped) / 2  # a mirrored mesh gives mirrored points
    pairs, labels = [], []
    for _ in range(150):
        kinds = rng.normal(0, 1, 10)
        mesh = mesh_at(
            rng.normal(0, 15), rng.uniform(30, 60), rng.uniform(200, 400, 2), np.tensordot(kinds, of_mesh[0], 1)
        )
        points = 40 * (base + np.tensordot(kinds, of_points[0], 1)) + 300
        in_mirror = np.array([width - 1, 0]) + mesh[SWAP] * (-1, 1)
        pair = Seen(mesh, points), Seen(in_mirror, mirror(points, width))
        pairs.append(pair)
        labels.append(pair[0].leave(weights @ pair[0].features["mesh"].reshape(468, 2)))
    return pairs, np.array(labels), width


def test_a_linear_map_is_found_again(known):
    pairs, labels, width = known
    readout = Readout(pairs[:120], labels[:120], [width] * 120)
    unit = np.std(labels - labels.mean(1, keepdims=True))
    for kind in ("mesh", "both"):
        for pair, expected in zip(pairs[120:], labels[120:], strict=True):
            assert np.abs(readout(pair, width, kind) - expected).mean() < 0.03 * unit
            swapped = readout(pair[::-1], width, kind)
            np.testing.assert_allclose(swapped, mirror(readout(pair, width, kind), width), atol=1e-6)


def test_the_ridge_is_the_one_of_a_slow_descent():
    """And its constant is free: labels far from 0 are met on the average."""
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.normal(0, 1, (30, 4)), np.ones(30)])
    wanted = features[:, :4] @ rng.normal(0, 1, (4, 3)) + 100 + rng.normal(0, 0.1, (30, 3))
    weights = np.zeros((5, 3))
    free = np.array([1, 1, 1, 1, 0])[:, None]
    for _ in range(3000):
        weights -= 0.01 * (features.T @ (features @ weights - wanted) + pseudo_label.RIDGE * free * weights)
    np.testing.assert_allclose(pseudo_label._ridge(features, wanted), weights, atol=1e-6)
    assert (features @ weights - wanted).mean(0) == pytest.approx(0, abs=1e-6)


class Says:
    """A readout that says for each kind what it was told."""

    def __init__(self, **points: np.ndarray):
        self.points = points

    def __call__(self, pair, width, kind="both"):
        assert (pair, width) == ("seen", 120)
        return self.points[kind]


def test_a_face_on_which_the_teachers_disagree_is_left_out():
    points = FacialKeypointsDataset(SAMPLE).keypoints[0].astype(np.float64)
    unit = float(eye_distance(points[None])[0])
    for share, kept in ((0, True), (0.98, True), (1.02, False), (5, False)):
        away = points + np.array([0, share * DISAGREE * unit])
        table = label(Says(mesh=points, points=away, both=points), [("seen", 120)], ["a.jpg"])
        assert list(table.index) == (["a.jpg"] if kept else [])
        assert table.shape == (int(kept), 136)
    one_point = points.copy()
    one_point[8] += (0, 60 * DISAGREE * unit)  # 60/68 of the bound in the mean
    looks = [(None, 120), ("seen", 120), (None, 7)]
    table = label(Says(mesh=one_point, points=points, both=points + 0.26), looks, ["a.jpg", "b.jpg", "c.jpg"])
    assert list(table.index) == ["b.jpg"], "and where nobody was found"
    np.testing.assert_allclose(table.to_numpy().reshape(68, 2), points + 0.26, atol=0.051)


# ------------------------------------------------------------------------------------- the teachers' calls


def constant_network(path: Path, side: int, outputs: dict[str, np.ndarray]) -> None:
    """An ONNX file that says the same of every (1, 3, side, side) crop."""
    onnx = pytest.importorskip("onnx")
    given = onnx.helper.make_tensor_value_info("crop", onnx.TensorProto.FLOAT, [1, 3, side, side])
    nodes, infos, constants = [], [], []
    for name, value in outputs.items():
        constants.append(onnx.numpy_helper.from_array(value.astype(np.float32), f"{name} value"))
        nodes.append(onnx.helper.make_node("Identity", [f"{name} value"], [name]))
        infos.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape))
    graph = onnx.helper.make_graph(nodes, "constant", [given], infos, constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def test_the_teachers_points_are_put_into_the_photo_by_hand(tmp_path):
    """The mesh looks at turned squares of 1.25 and 1.5 times the box, the other at the upright box."""
    mesh, points = np.zeros((1, 1404)), np.zeros((1, 136))
    mesh[0, :6] = 96, 96, 5, 192, 96, -5  # x, y, z of the middle and of the middle of the right border
    points[0, :4] = 0.5, 0.5, 1, 0.5
    constant_network(tmp_path / "face_mesh_468.onnx", 192, {"score": np.zeros((1, 1)), "mesh": mesh})
    constant_network(tmp_path / "face_68.onnx", 112, {"points": points})
    eyes = np.float32([[100, 100], [130, 140], [90, 150], [70, 130], [100, 170]])  # turned by atan(40 / 30)
    face = Face((50, 80, 100, 80), 1.0, "test", eyes)
    found_mesh, found = Teachers(tmp_path)(np.zeros((300, 300, 3), np.uint8), face)
    assert (found_mesh.shape, found.shape) == ((468, 2), (68, 2))
    along = np.array([30, 40]) / 50
    np.testing.assert_allclose(found_mesh[:2], [(100, 120), (100, 120) + along * 1.375 * 100 / 2], atol=1e-4)
    np.testing.assert_allclose(found[:2], [(100, 120), (150, 120)], atol=1e-4)


def test_missing_teachers_are_one_line(tmp_path, capsys):
    with pytest.raises(DataError, match=r"face_mesh_468\.onnx"):
        Teachers(tmp_path)
    constant_network(tmp_path / "face_mesh_468.onnx", 192, {"mesh": np.zeros((1, 1404))})
    arguments = ["--ytf", str(SAMPLE), "--teachers", str(tmp_path), "--out", str(tmp_path / "out")]
    assert pseudo_label.main(arguments) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("pseudo_label.py: ")
    assert "face_68.onnx" in errors
    assert errors.count("\n") == 1
    assert pseudo_label.main(["--ytf", "/nowhere", "--teachers", str(tmp_path)]) == 1
    assert "/nowhere" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class FakeTeachers:
    """As `Teachers`: the tool's own points for one, and mixtures of them for the mesh.

    Where the upper left corner is green, they disagree.
    """

    def __init__(self, folder: object = None):
        mix = np.random.default_rng(5).dirichlet(np.full(68, 0.1), 468)
        mix[33], mix[263] = np.eye(68)[36], np.eye(68)[45]
        self.mix = mix

    def __call__(self, image: np.ndarray, face: Face) -> tuple[np.ndarray, np.ndarray]:
        points = open_keypoints()(image, [face.landmarks])[0].astype(np.float64)
        red, green, _ = image[:6, :6].mean((0, 1))
        return self.mix @ points, 2 * points[::-1] if red < 90 and green > 200 else points


class OneFace:
    """A detector of one face, but of none where the upper left pixel has 7 of red."""

    def __call__(self, image: np.ndarray) -> list[Face]:
        return [] if image[0, 0, 0] == 7 else [Face((30, 30, 50, 50), 1.0, "test")]


def test_a_face_is_looked_at_in_the_mirror_too():
    image = RNG.integers(8, 200, (112, 120, 3), dtype=np.uint8)
    looked = []

    def teachers(picture, face):
        assert picture.flags.c_contiguous
        looked.append(picture)
        return MESH * 20 + 50, np.zeros((68, 2))

    pair = look(teachers, OneFace(), image)
    assert len(pair) == 2
    np.testing.assert_array_equal(looked[0], image)
    np.testing.assert_array_equal(looked[1], cv2.flip(image, 1))
    for corner in (0, -1):  # nobody is found in it, or in its mirror image
        blind = image.copy()
        blind[0, corner, 0] = 7
        assert look(teachers, OneFace(), blind) is None


@pytest.fixture
def few(tmp_path) -> tuple[Path, Path]:
    """60 labelled synthetic faces, and 45 in the layout of MeGlass, of which the teachers disagree on one."""
    labelled, faces = tmp_path / "labelled", tmp_path / "meglass"
    labelled.mkdir()
    lines = (SAMPLE / "keypoints.csv").read_text().splitlines()[:61]
    (labelled / "keypoints.csv").write_text("\n".join(lines) + "\n")
    (labelled / "faces-spring-2020").symlink_to(SAMPLE / "faces-spring-2020")
    (faces / "MeGlass_120x120").mkdir(parents=True)
    lines = (SAMPLE / "meta.txt").read_text().splitlines()[::4]
    (faces / "meta.txt").write_text("\n".join(lines) + "\n")
    for line in lines:
        name = line.split()[0]
        shutil.copy(SAMPLE / "MeGlass_120x120" / name, faces / "MeGlass_120x120" / name)
    return labelled, faces


def test_tables_of_the_training_people_open_as_key_points(few, tmp_path, monkeypatch, capsys):
    labelled, root = few
    whole = MeGlass(root)
    trained = [
        file for file, key in zip(whole.files, whole.keys(), strict=True) if position(key, SPLIT_SEED) < TRAIN_BELOW
    ]
    spoilt = trained[1]
    image = cv2.imread(str(spoilt))
    image[:16, :16] = image[:16, -16:] = (0, 255, 0)
    cv2.imwrite(str(spoilt), image)
    monkeypatch.setattr(pseudo_label, "Teachers", FakeTeachers)
    arguments = ["--ytf", labelled, "--teachers", tmp_path, "--data", f"meglass={root}", "--out", tmp_path / "out"]
    assert pseudo_label.main([str(argument) for argument in arguments]) == 0
    out = capsys.readouterr().out
    assert "mean error" in out
    assert f"meglass: {len(trained) - 1} of {len(trained)} faces labelled: {tmp_path / 'out' / 'meglass.csv'}" in out
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["meglass.csv"]

    faces = FacialKeypointsDataset(root, table=tmp_path / "out" / "meglass.csv")
    assert faces.files == [file for file in trained if file != spoilt]
    assert len(pd.read_csv(tmp_path / "out" / "meglass.csv").columns) == 137
    detector, finder = Slim(320), open_keypoints()
    errors = []
    for index in range(0, len(faces), 4):
        image, points = faces[index]
        own = without_shift(finder(image, [main_face(detector(image), image.shape).landmarks]), finder.shift)
        errors.append(mean_errors(points[None], without_shift(own, LABEL_SHIFT))[0])
    assert np.mean(errors) < 0.1, "what the teachers saw, in the words of the labels, without their shift"
