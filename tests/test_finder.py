"""The face finder: its cells, what each is to answer, its loss, and the detector that runs it as ONNX."""

import math
import sys
from itertools import pairwise

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from detector_architectures.finder import Finder
from detector_architectures.onnx_file import open_session
from export_finder import PicturesToFaces, export_finder
from face_finder import (
    ABSENT,
    DOUBTFUL,
    FOUND,
    NEAR,
    SIDES,
    STRIDES,
    FaceFinder,
    assign,
    calibrated,
    cells,
    decode,
    encode,
    finder_loss,
)


def random_faces(rng: np.random.Generator, count: int, size: int) -> torch.Tensor:
    """(count, 15): of any size, some beyond the border, some doubtful or absent."""
    side = np.exp(rng.uniform(np.log(5), np.log(1.4 * size), (count, 1)))
    shape = np.exp(rng.uniform(-0.3, 0.3, (count, 1)))
    sizes = np.concatenate([side * shape, side / shape], 1)
    corners = rng.uniform(-0.1 * size, 1.1 * size, (count, 2)) - sizes / 2
    landmarks = corners[:, None] + sizes[:, None] * rng.uniform(0.1, 0.9, (count, 5, 2))
    states = rng.choice([FOUND, FOUND, FOUND, DOUBTFUL, ABSENT], (count, 1))
    rows = np.concatenate([corners, sizes, landmarks.reshape(count, 10), states], 1)
    rows[states[:, 0] == ABSENT] = 0
    return torch.from_numpy(rows.astype(np.float32))


# --------------------------------------------------------------------------------------- cells and their answers


def test_cells_cover_the_picture():
    middles, strides = cells(96, 160)
    assert len(middles) == len(strides) == 12 * 20 + 6 * 10 + 3 * 5
    assert middles[0].tolist() == [3.5, 3.5], "the mean of the pixels 0 to 7"
    assert middles[1].tolist() == [11.5, 3.5]
    assert middles[20].tolist() == [3.5, 11.5]
    assert middles[-1].tolist() == [143.5, 79.5]
    assert sorted(set(strides[:, 0].tolist())) == list(STRIDES)


def test_decoding_inverts_encoding():
    rng = np.random.default_rng(0)
    faces = random_faces(rng, 40, 192)
    faces[:, 2:4] = faces[:, 2:4].clamp(min=4)
    middles, strides = cells(192, 192)
    for i in rng.integers(len(middles), size=20):
        answers = torch.zeros(40, len(middles), 15)
        answers[:, i, 1:] = encode(faces, middles[i], strides[i])
        _, boxes, landmarks = decode(answers, 192, 192)
        fits = faces[:, 2:4].amax(1) < strides[i] * math.exp(4)
        torch.testing.assert_close(boxes[fits, i], faces[fits, :4], atol=1e-2, rtol=1e-4)
        torch.testing.assert_close(landmarks[:, i].flatten(1), faces[:, 4:14], atol=1e-2, rtol=1e-4)


def test_an_answer_of_nothing_is_a_box_of_one_cell_about_its_middle():
    _, boxes, landmarks = decode(torch.zeros(1, 21, 15), 32, 32)
    assert boxes[0, 0].tolist() == [-0.5, -0.5, 8, 8]
    assert boxes[0, -1].tolist() == [-0.5, -0.5, 32, 32]
    assert landmarks[0, 0].tolist() == [[3.5, 3.5]] * 5


def slow_assign(faces: np.ndarray, height: int, width: int) -> tuple[list[int], list[bool]]:
    """One cell and one face after the other."""
    chosen, counts = [], []
    for number, stride in enumerate(STRIDES):
        for row in range(height // stride):
            for column in range(width // stride):
                px, py = column * stride + (stride - 1) / 2, row * stride + (stride - 1) / 2
                best, smallest, doubt = -1, math.inf, False
                for i, (x, y, w, h, *_, state) in enumerate(faces.tolist()):
                    if state == ABSENT:
                        continue
                    side = math.sqrt(w * h)
                    cx = min(max(x + w / 2, -0.499), width - 0.501)
                    cy = min(max(y + h / 2, -0.499), height - 0.501)
                    reach = min(max(NEAR * side, stride / 2), 1.5 * stride)
                    near = -reach <= px - cx < reach and -reach <= py - cy < reach
                    if state == FOUND and near and SIDES[number][0] <= side < SIDES[number][1] and side < smallest:
                        best, smallest = i, side
                    doubt |= state == DOUBTFUL and x <= px <= x + w and y <= py <= y + h
                chosen.append(best)
                counts.append(best >= 0 or not doubt)
    return chosen, counts


def test_cells_get_the_faces_that_a_slow_loop_gives_them():
    rng = np.random.default_rng(1)
    faces = torch.stack([random_faces(rng, 9, 128) for _ in range(12)])
    chosen, counts = assign(faces, 96, 128)
    expected = [slow_assign(one.numpy(), 96, 128) for one in faces]
    assert chosen.tolist() == [one[0] for one in expected]
    assert counts.tolist() == [one[1] for one in expected]
    assert (chosen >= 0).any(1).all()
    assert not counts.all()


def test_every_face_to_be_found_has_a_cell_unless_a_smaller_one_takes_it():
    rng = np.random.default_rng(2)
    for _ in range(50):
        face = random_faces(rng, 1, 192)
        face[0, 14] = FOUND
        if face[0, 2] > 0:
            chosen, _ = assign(face[None], 192, 192)
            assert 1 <= (chosen == 0).sum() <= 40
    assert all(low[1] > high[0] for low, high in pairwise(SIDES)), "no gap between the strides"


# ---------------------------------------------------------------------------------------------- the network


def test_every_weight_learns_from_faces_of_all_sizes():
    torch.manual_seed(0)
    network = FaceFinder((4, 8, 8), 8)
    faces = torch.stack([random_faces(np.random.default_rng(3), 12, 128)] * 2)
    answers = network(torch.rand(2, 3, 96, 128))
    assert answers.shape == (2, len(cells(96, 128)[0]), 15)
    loss = finder_loss(answers, faces, 96, 128)
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_loss_is_nothing_for_the_truth_and_more_for_less():
    faces = random_faces(np.random.default_rng(4), 6, 128)[None]
    chosen, _ = assign(faces, 128, 128)
    middles, strides = cells(128, 128)
    truth = torch.zeros(1, len(middles), 15)
    truth[..., 0] = torch.where(chosen >= 0, 20.0, -20.0)
    wanted = faces[0][chosen[0].clamp(min=0)]
    truth[0, :, 1:] = torch.where(chosen[0, :, None] >= 0, encode(wanted, middles, strides), 0.0)
    best = finder_loss(truth, faces, 128, 128).item()
    assert best == pytest.approx(0, abs=1e-3)
    for column, change in ((0, -3.0), (1, 0.2), (3, 0.2), (6, 0.3)):
        worse = truth.clone()
        worse[..., column] += torch.where(chosen >= 0, change, 0.0) if column else torch.where(chosen >= 0, -20.0, 0.0)
        assert finder_loss(worse, faces, 128, 128).item() > best + 0.01, column
    doubtful = faces.clone()
    doubtful[..., 14] = torch.where(doubtful[..., 14] == FOUND, DOUBTFUL, doubtful[..., 14])
    confident = truth.clone()
    confident[..., 0] = 20
    assert finder_loss(confident, doubtful, 128, 128) < finder_loss(confident, torch.zeros_like(faces), 128, 128)


def test_without_a_face_the_loss_is_that_of_the_scores():
    loss = finder_loss(torch.randn(2, 21, 15), torch.zeros(2, 3, 15), 32, 32)
    assert loss.isfinite()
    assert loss > 0


def test_calibration_changes_the_logits_alone():
    torch.manual_seed(0)
    network = FaceFinder((4, 8, 8), 8).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(images)
        after = calibrated(network, 1.5, -0.5)(images)
    torch.testing.assert_close(after[..., 0], 1.5 * before[..., 0] - 0.5)
    torch.testing.assert_close(after[..., 1:], before[..., 1:])


# ------------------------------------------------------------------------------------------------- as ONNX


@pytest.fixture(scope="module")
def trained_like() -> FaceFinder:
    """With batch statistics that are not the initial ones, and answers that differ."""
    torch.manual_seed(0)
    network = FaceFinder()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # a mean over all batches
    for _ in range(3):
        network(torch.nn.functional.interpolate(torch.rand(4, 3, 8, 8), scale_factor=12.0, mode="bilinear"))
    with torch.no_grad():
        for layers in network.heads:
            layers[-1].weight *= 20
            layers[-1].bias[3:5] = 1.0  # boxes of 2.7 cells
    return network.eval()


@pytest.fixture(scope="module")
def file(trained_like, tmp_path_factory):
    return export_finder(trained_like, tmp_path_factory.mktemp("onnx") / "finder.onnx", {"digest": "abc"})


def rounded(network: FaceFinder) -> FaceFinder:
    """What is exported, for pictures in 256ths (`in_256ths`), with each filter in 255 levels, as the file stores it."""
    network = PicturesToFaces(network).network
    for weight in network.parameters():
        if weight.dim() > 1:
            scale = weight.detach().abs().flatten(1).amax(1).view(-1, 1, 1, 1) / 127
            weight.data = (weight.data / scale).round() * scale
    return network


def in_256ths(images: torch.Tensor) -> torch.Tensor:
    """uint8 -> float32, as the exported graph begins."""
    return (images.float() + 0.5) / 256


def test_onnx_answers_as_torch_for_pictures_of_any_size(trained_like, file):
    assert file.stat().st_size <= 250_000
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    network, rng = rounded(trained_like), np.random.default_rng(0)
    for count, height, width in ((1, 160, 192), (3, 64, 32), (2, 96, 96)):
        images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        with torch.inference_mode():
            answers = network(in_256ths(torch.from_numpy(images).permute(0, 3, 1, 2)))
            logits, boxes, landmarks = decode(answers, height, width)
        found = session.run(["score", "box", "landmarks"], {"pictures": images})
        assert [one.shape[2:] for one in found] == [(), (4,), (5, 2)]
        np.testing.assert_allclose(found[0], logits.sigmoid(), atol=1e-3)
        np.testing.assert_allclose(found[1], boxes, atol=0.02, rtol=1e-3)
        np.testing.assert_allclose(found[2], landmarks, atol=0.02, rtol=1e-3)
        assert logits.std() > 0.2, "there is something to compare"


def test_in_8_bit_integers_it_answers_nearly_the_same(trained_like, file, tmp_path):
    """The ranges are found on pictures like those that it is shown; the first and the last layers stay exact."""
    rng = np.random.default_rng(0)
    blobs = rng.integers(0, 256, (48, 8, 8, 3), dtype=np.uint8)
    pictures = np.stack([cv2.resize(one, (96, 96)) for one in blobs])
    path = export_finder(trained_like, tmp_path / "int8.onnx", pictures=pictures[:32])
    model = onnx.load(path)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    exact = [makers.get(node.input[1]) != "DequantizeLinear" for node in convolutions]
    assert sum(exact) == 1 + len(STRIDES), "the first, and one a head"
    assert path.stat().st_size <= 250_000
    session, metadata = open_session(path, 1)
    assert metadata["arithmetic"] == '"int8"'
    plain = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (scores, boxes, _), (found, places, _) = (one.run(None, {"pictures": pictures[32:]}) for one in (plain, session))
    assert np.corrcoef(scores.ravel(), found.ravel())[0, 1] > 0.99
    side = np.sqrt(boxes[..., 2:].prod(-1, keepdims=True))
    assert (np.abs(boxes - places) / side).mean() < 0.1


def test_the_detector_finds_in_pixels_of_the_photo(trained_like, file):
    """The surest place of a random network, in a photo twice as large as is searched."""
    rng = np.random.default_rng(5)
    photo = cv2.resize(rng.integers(0, 256, (10, 14, 3), dtype=np.uint8), (280, 200))
    finder = Finder(140, min_score=0.0, path=file)
    faces = finder(photo)
    padded = np.full((128, 160, 3), 128, np.uint8)
    padded[:100, :140] = cv2.resize(photo, (140, 100), interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        answers = rounded(trained_like)(in_256ths(torch.from_numpy(padded).permute(2, 0, 1)[None]))
        logits, boxes, landmarks = decode(answers, 128, 160)
    best = int(logits[0].argmax())
    surest = max(faces, key=lambda face: face.score)
    assert surest.score == pytest.approx(logits[0, best].sigmoid().item(), abs=1e-3)
    x, y, w, h = boxes[0, best].tolist()
    assert surest.box == pytest.approx((2 * x + 0.5, 2 * y + 0.5, 2 * w, 2 * h), abs=0.1)
    np.testing.assert_allclose(surest.landmarks, 2 * landmarks[0, best] + 0.5, atol=0.1)
    assert surest.landmarks.shape == (5, 2)
    assert surest.detector == "finder"
    assert len(faces) < logits.numel(), "of one place there is one face"
    assert Finder(140, min_score=1.0, path=file)(photo) == []


def test_pictures_of_any_shape_are_searched(file):
    finder = Finder(160, path=file)
    for shape in ((1, 1), (3, 400), (400, 3), (33, 31), (1, 2000)):
        assert isinstance(finder(np.full((*shape, 3), 80, np.uint8)), list)


def test_without_the_packages_that_write_onnx_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match="pip install onnx onnxscript"):
        export_finder(FaceFinder((4, 8, 8), 8), tmp_path / "f.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_foreign_network_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no network at .*f.onnx: train_finder.py writes one"):
        Finder(path=tmp_path / "f.onnx")
    (tmp_path / "f.onnx").write_bytes(b"nothing")
    for path in (tmp_path / "f.onnx", "glasses/weights/glasses.onnx"):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            Finder(path=path)
        assert "\n" not in str(caught.value)
