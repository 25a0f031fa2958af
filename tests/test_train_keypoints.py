"""How a network learns the points: the networks and their ONNX files, the faces cut out, training and its command."""

import csv
import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

import compress
import train_keypoints
from conftest import ROOT, cartoon
from detector_architectures import Face
from glasses.crops import Crop, align_face, crop_matrix
from glasses.keypoints import LABEL_SHIFT, KeypointFinder, five_landmarks
from keypoint_data import MIRRORED, FacialKeypointsDataset
from keypoint_transforms import eval_transform, train_transform
from models import KEYPOINT_CROP, ClassicKeypointNet, KeypointNet, fold_batch_norm, make_keypoint_network
from sources import SELECT_BELOW, TRAIN_BELOW
from test_keypoint_data import write_table
from train_keypoints import CachedKeypoints, KeypointTrainer

SAMPLE = ROOT / "data" / "sample"

# --------------------------------------------------------------------------------------------- the networks


@pytest.mark.parametrize("head", ["heatmap", "regression"])
@pytest.mark.parametrize("crop", [KEYPOINT_CROP, Crop(96, 64)])
def test_points_in_pixels_of_the_crop_and_a_gradient_for_every_weight(head, crop):
    torch.manual_seed(0)
    network = KeypointNet(head, (8, 8, 16, 16), crop)
    points = network(torch.rand(3, 3, crop.height, crop.width))
    assert (points.shape, points.dtype) == ((3, 68, 2), torch.float32)
    assert ((points > -20) & (points < torch.tensor([crop.width + 20, crop.height + 20]))).all()
    (points * torch.rand(3, 68, 2)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


class Given(nn.Module):
    """A layer that gives the same whatever it sees."""

    def __init__(self, output: torch.Tensor):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output


def test_the_point_of_a_heat_map_is_the_pixel_of_its_hot_place():
    """Four channels a point: those of an even and an odd row, and in each of an even and an odd column, of 28x28."""
    network = KeypointNet("heatmap").eval()
    rng, hot, expected = np.random.default_rng(0), torch.zeros(2, 272, 14, 14), np.zeros((2, 68, 2))
    for face in range(2):
        for point in range(68):
            row, column = rng.integers(28, size=2)
            hot[face, 4 * point + 2 * (row % 2) + column % 2, row // 2, column // 2] = 1000
            pixels = range(4 * column, 4 * column + 4), range(4 * row, 4 * row + 4)  # that this place stands for
            expected[face, point] = [np.mean(side) for side in pixels]
    network.maps = Given(hot)
    np.testing.assert_allclose(network(torch.rand(2, 3, 112, 112)).detach(), expected, atol=1e-4)


def test_a_flat_heat_map_and_a_regression_of_nothing_point_at_the_middle():
    for head, layer in (("heatmap", "maps"), ("regression", "points")):
        network = KeypointNet(head).eval()
        for parameter in getattr(network, layer).parameters():
            torch.nn.init.zeros_(parameter)
        np.testing.assert_allclose(network(torch.rand(1, 3, 112, 112)).detach(), 111 / 2, atol=1e-4)


def test_the_mean_of_two_hot_places_is_between_them():
    network, hot = KeypointNet("heatmap").eval(), torch.full((1, 272, 14, 14), -1000.0)
    hot[:, ::4, 2, 3] = hot[:, ::4, 6, 3] = 0  # rows 4 and 12 of 28, column 6
    network.maps = Given(hot)
    np.testing.assert_allclose(network(torch.rand(1, 3, 112, 112))[0].detach(), [[25.5, 33.5]] * 68, atol=1e-4)


def test_the_classic_network_is_the_one_of_the_course():
    network = make_keypoint_network("classic")
    kernels = 32 * 25 + 64 * 32 * 9 + 128 * 64 * 9 + 256 * 128 * 9 + (32 + 64 + 128 + 256)
    dense = (256 * 12 * 12 * 244 + 244) + (244 * 136 + 136)
    assert sum(p.numel() for p in network.parameters()) == kernels + dense == pytest.approx(9.4e6, rel=0.01)
    for parameter in network.points.parameters():
        torch.nn.init.zeros_(parameter)
    points = network.eval()(torch.rand(1, 3, 224, 224))
    assert points.shape == (1, 68, 2)
    assert (points == 100).all(), "the course's points are (p - 100) / 50"


def test_unknown_networks_are_named():
    for make in (make_keypoint_network, KeypointNet):
        with pytest.raises(ValueError, match=r"'vgg': choose from .*regression") as caught:
            make("vgg")
        assert "\n" not in str(caught.value)
    assert isinstance(make_keypoint_network("classic"), ClassicKeypointNet)
    assert [make_keypoint_network(name).head for name in ("heatmap", "regression")] == ["heatmap", "regression"]


# --------------------------------------------------------------------------------------------------- as ONNX


def trained_like(head: str) -> KeypointNet:
    """A network whose batch statistics are not the initial ones and whose points are spread."""
    torch.manual_seed(0)
    network = KeypointNet(head)
    for _ in range(3):
        network(torch.rand(16, 3, 112, 112))
    with torch.no_grad():
        last = network.maps if head == "heatmap" else network.points
        last.weight *= 100 if head == "heatmap" else 10
    return network.eval()


def points_of(network: KeypointNet, crops: np.ndarray) -> np.ndarray:
    """(N, 68, 2) the points of (N, 112, 112, 3) crops, one face after the other."""
    with torch.inference_mode():
        return np.stack(
            [network(torch.from_numpy(one.copy()).permute(2, 0, 1)[None] / 255)[0].numpy() for one in crops]
        )


@pytest.mark.parametrize("head", ["heatmap", "regression"])
def test_onnx_finds_the_points_of_torch_in_any_number_of_faces(head, tmp_path):
    network = trained_like(head)
    file = compress.export_keypoints(network, tmp_path / "new" / "k.onnx", 0.25, {"digest": "abc"})
    assert file.stat().st_size <= 1_200_000
    assert [path.name for path in file.parent.iterdir()] == ["k.onnx"]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])  # as another program would
    rounded = fold_batch_norm(network)
    for parameter in rounded.parameters():
        if parameter.dim() > 1:
            parameter.data = parameter.data.half().float()

    crops = np.random.default_rng(0).integers(0, 256, (7, 112, 112, 3), dtype=np.uint8)
    crops[3:] = crops[3:] // 2 + np.arange(112, dtype=np.uint8)[:, None]
    expected, plain = points_of(rounded, crops), points_of(network, crops)
    assert plain.std((1, 2)).min() > 1, "there is something to compare"
    assert np.abs(expected - plain).max() < 1
    for count in (1, 2, 7):
        (found,) = session.run(None, {"faces": crops[:count]})
        np.testing.assert_allclose(found, expected[:count], atol=5e-3)

    header = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert header == {
        "crop": [112, 112, 30.0, 0.65],
        "points": 68,
        "order": "iBUG 300-W, from 0",
        "shift": 0.25,
        "digest": "abc",
    }
    finder = KeypointFinder(file)
    assert (finder.crop, finder.shift) == (KEYPOINT_CROP, 0.25)


def test_in_8_bit_integers_the_points_are_nearly_the_same(tmp_path):
    network = trained_like("regression")
    crops = np.random.default_rng(0).integers(0, 256, (40, 14, 14, 3), dtype=np.uint8)
    crops = np.stack([cv2.resize(one, (112, 112)) for one in crops])
    plain = compress.export_keypoints(network, tmp_path / "plain.onnx", 0.25)
    small = compress.export_keypoints(network, tmp_path / "small.onnx", 0.25, crops=crops[:32])
    assert small.stat().st_size < 0.7 * plain.stat().st_size
    found, expected = (KeypointFinder(file).session.run(None, {"faces": crops[32:]})[0] for file in (small, plain))
    assert np.hypot(*(found - expected).T).mean() < 1.0, "pixels of 112"


def test_the_tool_takes_the_mean_of_a_face_and_its_mirror_image_and_adds_the_shift(tmp_path, monkeypatch):
    monkeypatch.setattr("glasses.keypoints.TOLERANCE", np.inf)  # one look
    network = trained_like("regression")
    finder = KeypointFinder(compress.export_keypoints(network, tmp_path / "k.onnx", 0.25, weights="fp32"))
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    landmarks = [np.float32([[120, 100], [190, 130], [150, 160], [110, 180], [165, 200]]), np.float32([[30, 40]] * 5)]
    landmarks[1] += np.float32([[0, 0], [25, -5], [14, 12], [4, 30], [26, 24]])

    expected = []
    for five in landmarks:
        crop = align_face(image, five, KEYPOINT_CROP)
        own, other = points_of(network, np.stack([crop, crop[:, ::-1]]))
        back = np.stack([111 - other[:, 0], other[:, 1]], axis=1)[MIRRORED]
        assert np.abs(own - back).max() > 1, "there is a mean to take"
        points = (own + back) / 2
        points += 0.25 * (points[45] - points[36])
        matrix = np.vstack([crop_matrix(five, KEYPOINT_CROP), [0, 0, 1]])
        expected.append((np.linalg.inv(matrix) @ np.c_[points, np.ones(68)].T)[:2].T)
    np.testing.assert_allclose(finder(image, landmarks), expected, atol=2e-2)


# ------------------------------------------------------------------------------------------- faces cut out


def test_what_is_cut_out_is_where_the_points_are(tmp_path):
    """A white dot at each point in turn; the labels lie 10 % of the eye distance to the right of it."""
    base = FacialKeypointsDataset(SAMPLE).keypoints[0].astype(np.float64) + np.array([60, 40])
    dots, names = [0, 8, 30, 36, 45, 48, 57], []
    for number, dot in enumerate(dots):
        image = np.zeros((240, 260, 3), np.uint8)
        x, y = np.round(base[dot]).astype(int)
        image[y, x] = 255
        names.append(f"{number}.png")
        Image.fromarray(image).save(tmp_path / names[-1])
    table = write_table(tmp_path / "t.csv", names)
    dataset = FacialKeypointsDataset(tmp_path, table=table)
    labels = base + 0.1 * (base[45] - base[36])
    dataset.keypoints = np.repeat(labels[None], len(dots), axis=0).astype(np.float32)
    faces = CachedKeypoints(dataset, KEYPOINT_CROP, tmp_path / "cache", shift=0.1)
    assert faces.crops.shape == (7, 168, 168, 3)
    assert (faces.keypoints.shape, faces.keypoints.dtype) == ((7, 68, 2), np.float32)
    for number, dot in enumerate(dots):
        bright = faces[number].image[..., 0].astype(float)
        rows, columns = np.mgrid[:168, :168]
        place = np.array([(bright * columns).sum(), (bright * rows).sum()]) / bright.sum()
        assert np.hypot(*(place - faces[number].keypoints[dot])) < 1.5, "a rounded pixel, enlarged"
    eyes = five_landmarks(faces.keypoints[0])[:2]
    assert np.abs(eyes.mean(0) - 83.5).max() < 30


def test_a_detector_cuts_as_in_the_first_look_of_the_tool(tmp_path):
    dataset = FacialKeypointsDataset(SAMPLE).subset([4])
    landmarks = five_landmarks(dataset.keypoints[0]) + np.array([6, -4])

    class Detector:
        name = "of the test"

        def __call__(self, image):
            return [Face((20, 20, 70, 70), 1.0, self.name, landmarks)]

    faces = CachedKeypoints(dataset, KEYPOINT_CROP, tmp_path, Detector(), shift=0.0)
    assert faces.crops.shape == (1, 112, 112, 3)
    matrix = crop_matrix(landmarks, KEYPOINT_CROP)
    by_hand = [matrix @ (*point, 1) for point in dataset.keypoints[0]]
    np.testing.assert_allclose(faces.keypoints[0], by_hand, atol=1e-3)


def test_faces_are_cut_once_and_anew_for_other_labels(tmp_path, monkeypatch):
    dataset = FacialKeypointsDataset(SAMPLE).subset(range(4))
    first = CachedKeypoints(dataset, KEYPOINT_CROP, tmp_path, shift=0.0)
    cut, real = [], train_keypoints.align_face
    monkeypatch.setattr(train_keypoints, "align_face", lambda *given: cut.append(1) or real(*given))
    again = CachedKeypoints(dataset, KEYPOINT_CROP, tmp_path, shift=0.0)
    assert not cut
    assert again.digest == first.digest
    np.testing.assert_array_equal(again.crops, first.crops)
    others = [
        CachedKeypoints(dataset, KEYPOINT_CROP, tmp_path, shift=0.01),
        CachedKeypoints(dataset, KEYPOINT_CROP._replace(unit=31.0), tmp_path, shift=0.0),
        CachedKeypoints(dataset.subset([1, 0, 2, 3]), KEYPOINT_CROP, tmp_path, shift=0.0),
    ]
    assert len(cut) == 12
    assert len({first.digest, *(faces.digest for faces in others)}) == 4
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".npz"]


def test_another_code_of_the_detectors_cuts_anew_what_they_found(tmp_path, monkeypatch):
    dataset = FacialKeypointsDataset(SAMPLE).subset(range(2))

    def cut() -> int:
        """With a detector and without one; the files that there are."""
        for detector in (Told(dataset), None):
            CachedKeypoints(dataset, KEYPOINT_CROP, tmp_path / "cache", detector, shift=0.0)
        return len(list((tmp_path / "cache").iterdir()))

    assert (cut(), cut()) == (2, 2)
    (tmp_path / "detector.py").write_text("another = 1")
    monkeypatch.setattr("face_cache.DETECTOR_FILES", [tmp_path / "detector.py"])
    assert (cut(), cut()) == (3, 3)


def test_nobody_is_in_two_parts_and_all_are_in_one(tmp_path):
    videos = tmp_path / "ytf"
    (videos / "training").mkdir(parents=True)
    names = [f"Person_{number}_{frame}1.jpg" for number in range(60) for frame in range(2)]
    write_table(videos / "training_frames_keypoints.csv", names)
    for name in names:
        (videos / "training" / name).touch()
    parts = train_keypoints.labelled_parts("ytf", str(videos))
    people = [{file.name.rsplit("_", 1)[0] for file in part.files} for part in parts]
    assert not people[0] & people[1] | people[0] & people[2] | people[1] & people[2]
    assert sorted(file.name for part in parts for file in part.files) == sorted(names)
    assert (TRAIN_BELOW, SELECT_BELOW) == (0.8, 0.9)
    assert len(people[0]) > 35, "about 80 %"
    assert min(map(len, people)) >= 1


# ------------------------------------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


class Told:
    """A detector that was told where the faces of a data set are."""

    name = "told"

    def __init__(self, dataset: FacialKeypointsDataset):
        self.faces = {dataset.read(i).tobytes(): five_landmarks(dataset.keypoints[i]) for i in range(len(dataset))}

    def __call__(self, image):
        return [Face((20, 20, 70, 70), 1.0, self.name, self.faces[image.tobytes()])]


def cached(cache: Path, indices, transform=None, shift: float = 0.0) -> CachedKeypoints:
    """Faces to learn from with `transform`, else to select with."""
    dataset = FacialKeypointsDataset(SAMPLE).subset(list(indices))
    detector = None if transform else Told(dataset)
    return CachedKeypoints(dataset, KEYPOINT_CROP, cache, detector, shift, transform or eval_transform(112))


@pytest.fixture
def small(monkeypatch) -> None:
    """Networks that are quick; with their own random numbers, as a resumed run must not depend on them."""
    monkeypatch.setattr(train_keypoints, "make_keypoint_network", lambda name: KeypointNet(name, (4, 8, 8, 8)))


def quiet(history) -> None:
    """A report that prints nothing."""


def make(cache: Path, out: Path, epochs: int = 3, **more) -> KeypointTrainer:
    """A trainer of augmented faces, labelled and not, two batches an epoch."""
    given = dict(labelled=range(12), others=range(12, 20), shift=0.0, workers=0, batch=8, faces=16) | more
    labelled = cached(cache, given.pop("labelled"), train_transform(112), given.pop("shift"))
    others = {"other": cached(cache, given.pop("others"), train_transform(112))} if given["others"] else {}
    given.pop("others", None)
    return KeypointTrainer(labelled, others, cached(cache, range(20, 28)), out, epochs, **given)


def test_a_few_faces_are_learned_by_heart(cache, tmp_path, monkeypatch):
    """Better than the best points that are the same for all of them."""
    monkeypatch.setattr(train_keypoints, "make_keypoint_network", lambda name: KeypointNet(name, (8, 16, 16, 16)))
    faces, select = cached(cache, range(16), eval_transform(112)), cached(cache, range(16))
    trainer = KeypointTrainer(faces, {}, select, tmp_path, 8, batch=16, faces=240, workers=0)
    trainer.fit(report=quiet)
    first, last = trainer.history[0], trainer.history[-1]
    assert last["train_loss"] < 0.6 * first["train_loss"]
    truth = select.keypoints
    unit = np.hypot(*(truth[:, 45] - truth[:, 36]).T)[:, None]
    of_the_mean = (np.hypot(*(truth - truth.mean(0)).transpose(2, 0, 1)) / unit).mean()
    assert last["error"] < 0.8 * of_the_mean
    found = train_keypoints.find_points(trainer.learner.average.module, select)
    assert last["error"] == pytest.approx((np.hypot(*(found - truth).transpose(2, 0, 1)) / unit).mean(), rel=1e-4)


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
@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_run_resumes_to_the_same_result(cache, tmp_path, workers):
    whole = make(cache, tmp_path / "whole", workers=workers)
    whole.fit(report=quiet)

    def stop(history) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt

    torch.manual_seed(5)
    killed = make(cache, tmp_path / "killed", workers=workers)
    with pytest.raises(KeyboardInterrupt):
        killed.fit(report=stop)
    torch.rand(7)
    resumed = make(cache, tmp_path / "killed", workers=workers)
    assert resumed.resume()
    assert len(resumed.history) == 2
    resumed.fit(report=quiet)
    assert same(whole.learner.state_dict(), resumed.learner.state_dict())
    assert same(whole.best, resumed.best)
    assert whole.history == resumed.history
    assert (tmp_path / "whole" / "log.csv").read_bytes() == (tmp_path / "killed" / "log.csv").read_bytes()
    assert make(cache, tmp_path / "killed", workers=workers).resume(), "a finished run, too"


@pytest.mark.usefixtures("small")
def test_the_seed_decides(cache, tmp_path):
    trainers = [make(cache, tmp_path / str(i), epochs=1, seed=seed) for i, seed in enumerate((0, 0, 1))]
    for trainer in trainers:
        trainer.fit(report=quiet)
    states = [trainer.learner.state_dict() for trainer in trainers]
    assert same(states[0], states[1])
    assert not same(states[0]["model"], states[2]["model"])
    assert not make(cache, tmp_path / "none").resume(), "there is nothing to resume"


@pytest.mark.usefixtures("small")
def test_fine_tuning_starts_from_the_best_epoch_and_knows_it(cache, tmp_path):
    first = make(cache, tmp_path / "first", epochs=2)
    first.fit(quiet)
    start = train_keypoints.read_keypoint_network(first.checkpoint)
    best = first.best["state"]
    assert all(torch.equal(value, best[name]) for name, value in start.state_dict().items())
    again = make(cache, tmp_path / "again", epochs=1, start=start, lr=1e-9)
    assert again.config.start
    again.fit(quiet)
    kernels = [name for name, value in best.items() if value.dim() == 4]
    moved = [(again.best["state"][name] - best[name]).abs().max() for name in kernels]
    assert len(kernels) >= 8
    assert all(change < 1e-4 for change in moved)
    start = train_keypoints.read_keypoint_network(first.checkpoint)  # anew: the other was trained on
    kept = make(cache, tmp_path / "kept", epochs=2, start=start, keep=0.25)
    kept.fit(quiet)
    last = kept.learner.average.module.state_dict()
    for name, value in kept.result().state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * last[name] + 0.25 * best[name])
    assert any(not torch.equal(last[name], best[name]) for name in kernels)
    assert (len(kept.first), again.first) == (len(best), {}), "without a share nothing is to be kept"
    with pytest.raises(ValueError, match="start was nothing, is "):
        make(cache, tmp_path / "first", epochs=2, start=start).resume()


@pytest.mark.usefixtures("small")
def test_a_checkpoint_of_another_run_is_refused(cache, tmp_path):
    make(cache, tmp_path, epochs=1).fit(report=quiet)
    for other, differences in (
        (dict(epochs=2, lr=1e-3), ["lr was 0.004, is 0.001"]),
        (dict(epochs=1, seed=3, batch=4), ["batch was 8, is 4", "seed was 0, is 3"]),
        (dict(epochs=1, network="heatmap"), ["network was regression, is heatmap"]),
        (dict(epochs=1, bfloat16=True), ["bfloat16 was False, is True"]),
        (dict(epochs=1, others=[]), ["train other was ", "is nothing"]),
        (dict(epochs=1, shift=0.02), ["train labelled was "]),
        (dict(epochs=1, labelled=range(1, 12)), ["train labelled was "]),
    ):
        trainer = make(cache, tmp_path, **other)
        with pytest.raises(ValueError, match=r"is of another run: .*; choose another --out$") as caught:
            trainer.resume()
        told = str(caught.value)
        assert str(tmp_path / "checkpoint.pt") in told
        assert all(difference in told for difference in differences), told
        assert told.count(" was ") == sum(" was " in difference for difference in differences)
        assert "\n" not in told
        assert trainer.history == []
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="is no checkpoint"):
        make(cache, tmp_path, epochs=1).resume()


@pytest.mark.usefixtures("small")
def test_more_epochs_extend_a_run_and_fewer_are_another(cache, tmp_path, capsys):
    make(cache, tmp_path, 2).fit(report=quiet)
    longer = make(cache, tmp_path, 3)
    assert longer.resume()
    assert capsys.readouterr().out.startswith("extended from 2 to 3 epochs: ")
    longer.fit(report=quiet)
    assert [row["epoch"] for row in longer.history] == [1, 2, 3]
    assert longer.learner.schedule.last_epoch == longer.learner.schedule.total_steps == 6, "two batches an epoch"
    assert json.loads((tmp_path / "config.json").read_text())["extended"] == [2]
    with pytest.raises(ValueError, match=r"is of another run: epochs was 3, is 2; choose another --out$"):
        make(cache, tmp_path, 2).resume()


@pytest.mark.usefixtures("small")
def test_other_versions_are_a_line_and_no_error(cache, tmp_path, monkeypatch):
    make(cache, tmp_path, 1).fit(report=quiet)
    monkeypatch.setattr(train_keypoints, "versions", lambda faces: {"torch": "0.1"})
    with pytest.warns(UserWarning, match=r"is of other versions: versions torch was \d\S*, is 0\.1;"):
        assert make(cache, tmp_path, 1).resume()


@pytest.mark.usefixtures("small")
def test_the_epoch_of_the_least_error_is_exported(cache, tmp_path, monkeypatch):
    trainer, seen, exported = make(cache, tmp_path), [], {}
    errors = [0.5, 0.2, 0.3]

    def of_epoch(found, labels):
        seen.append({name: value.clone() for name, value in trainer.learner.average.module.state_dict().items()})
        assert labels is trainer.select.keypoints
        return np.full(8, errors[len(seen) - 1])

    def export(network, path, shift, header, crops):
        exported.update(state=network.state_dict(), shift=shift, header=header, crops=crops)
        return path

    monkeypatch.setattr(train_keypoints, "mean_errors", of_epoch)
    monkeypatch.setattr(train_keypoints, "export_keypoints", export)
    trainer.fit(report=quiet)
    assert (trainer.best["epoch"], trainer.best["error"]) == (2, 0.2)
    assert [row["error"] for row in trainer.history] == errors
    assert trainer.export() == tmp_path / "keypoints.onnx"
    assert same(exported["state"], seen[1])
    assert not same(exported["state"], seen[2])
    assert exported["shift"] == LABEL_SHIFT
    np.testing.assert_array_equal(exported["crops"], trainer.select.crops, "which tell the ranges of the maps")
    assert exported["header"]["config"] == trainer.config.as_dict()
    assert (tmp_path / "curve.png").is_file()


class OneNumber:
    """Faces of one number, as `CachedKeypoints` are asked for."""

    def __init__(self, number: int, count: int):
        self.number, self.count, self.digest = number, count, f"of {number}"

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.tensor([self.number, index]), torch.zeros(68, 2)


@pytest.mark.usefixtures("small")
def test_half_of_what_is_seen_is_labelled_and_others_by_the_root_of_their_size(cache, tmp_path):
    select = cached(cache, range(2))
    for sources, shares in (([50, 100, 400], [1 / 2, 1 / 6, 1 / 3]), ([1000, 10], [1 / 2, 1 / 2]), ([50], [1])):
        labelled, *others = (OneNumber(number, count) for number, count in enumerate(sources))
        named = {str(one.number): one for one in others}
        trainer = KeypointTrainer(labelled, named, select, tmp_path, 2, faces=6000, batch=100, workers=0)
        drawn, others_drawn = ([images for images, _ in trainer._batches(epoch)] for epoch in (0, 1))
        assert [len(images) for images in drawn] == [100] * 60
        rows = torch.cat(drawn)
        for number, share in enumerate(shares):
            of_source = rows[rows[:, 0] == number, 1]
            assert len(of_source) / 6000 == pytest.approx(share, abs=0.03)
            assert len(of_source.unique()) > 0.7 * min(len(of_source) / 3, sources[number]), "all of its faces"
        assert not torch.equal(torch.cat(others_drawn), rows), "another epoch, other faces"


def test_an_epoch_has_as_many_faces_as_there_are_or_as_were_asked_for(cache, tmp_path):
    labelled, select = OneNumber(0, 90), cached(cache, range(2))
    for faces, steps in ((0, math.ceil(100 / 32)), (64, 2), (65, 3)):
        trainer = KeypointTrainer(labelled, {"o": OneNumber(1, 10)}, select, tmp_path, 1, faces=faces, batch=32)
        assert trainer.steps == steps


@pytest.mark.usefixtures("small")
def test_the_classic_network_learns_by_the_mean_square_of_its_scaled_points(cache, tmp_path):
    found, points = 100 * torch.rand(2, 68, 2), 100 * torch.rand(2, 68, 2)
    pairs = zip(found.ravel().tolist(), points.ravel().tolist(), strict=True)
    expected = np.mean([((one - other) / 50) ** 2 for one, other in pairs])
    trainer = make(cache, tmp_path)
    assert trainer._loss(None, found, points).item() != pytest.approx(expected, rel=0.01)
    object.__setattr__(trainer.settings, "network", "classic")
    assert trainer._loss(None, found, points).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("small")
def test_a_run_that_diverges_ends_at_once_with_one_line(cache, tmp_path):
    trainer = make(cache, tmp_path / "run", lr=1e30)
    with pytest.raises(ValueError, match=r"^the loss is nan in epoch 1: train with a lower --lr$"):
        trainer.fit(report=quiet)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


# --------------------------------------------------------------------------------------- the command line


def command(cache: Path, out: Path, *more) -> list[str]:
    data = ["--data", f"sample={SAMPLE}", "--cache", str(cache), "--out", str(out), "--device", "cpu"]
    return [*data, "--epochs", "2", "--batch", "24", "--faces", "48", "--workers", "0", *map(str, more)]


def test_a_whole_run_leaves_a_network_for_the_tool(cache, tmp_path, capsys):
    names = [f"MeGlass_120x120/sample@identity_{person}@0.jpg" for person in range(12)]
    write_table(tmp_path / "meglass.csv", names)
    run = command(cache, tmp_path / "run", "--pseudo", f"meglass={SAMPLE}", "--tables", tmp_path)
    assert train_keypoints.main(run) == 0
    out = capsys.readouterr().out
    assert "train meglass: 12 faces with pseudo-labels" in out
    assert "best epoch " in out
    folder = tmp_path / "run"
    files = ["checkpoint.pt", "config.json", "curve.png", "keypoints.onnx", "log.csv"]
    assert sorted(file.name for file in folder.iterdir()) == files
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    config = json.loads((folder / "config.json").read_text())
    assert (config["epochs"], config["batch"], config["faces"]) == (2, 24, 48)
    assert set(config["train"]) == {"labelled", "meglass"}
    finder = KeypointFinder(folder / "keypoints.onnx")
    properties = finder.session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["config"]) == config
    best = torch.load(folder / "checkpoint.pt", weights_only=True)["best"]
    assert best["error"] == min(float(row["error"]) for row in rows)

    network = make_keypoint_network(config["network"]).eval()
    network.load_state_dict(best["state"])
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    expected = points_of(network, crops)
    found = finder.session.run(None, {"faces": crops})[0]
    np.testing.assert_allclose(found, expected, atol=0.2)


def test_the_faces_that_are_reported_are_not_even_opened(tmp_path):
    """Here their pictures are broken. And labels of YouTube Faces lose their shift, those of the sample have none."""
    videos = tmp_path / "ytf"
    (videos / "training").mkdir(parents=True)
    names = [f"Person_{number}_01.jpg" for number in range(30)]
    write_table(videos / "training_frames_keypoints.csv", names)
    for number, name in enumerate(names):
        cartoon(0, seed=number).save(videos / "training" / name)
    parts = train_keypoints.labelled_parts("ytf", str(videos))
    for file in parts[2].files:
        file.write_bytes(b"no picture")
    options = ["--data", f"ytf={videos}", "--cache", str(tmp_path / "cache"), "--network", "regression"]
    labelled, others, select = train_keypoints.load_faces(train_keypoints.parse_arguments(options))
    assert (len(labelled), others, len(select)) == (len(parts[0]), {}, len(parts[1]))
    crop = make_keypoint_network("regression").crop
    unshifted = CachedKeypoints(parts[0], crop, tmp_path / "cache", shift=LABEL_SHIFT)
    assert labelled.digest == unshifted.digest
    assert select.crops.shape[1:] == (crop.height, crop.width, 3), "as the tool cuts"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch", "0"], "batch must be at least 1, not 0"),
        (["--epochs", "-1"], "epochs must be at least 1, not -1"),
        (["--lr", "0"], "lr must be above 0, not 0.0"),
        (["--faces", "-1"], "faces must be at least 0, not -1"),
        (["--strength", "2"], "strength must be between 0 and 1, not 2.0"),
        (["--keep", "0.5"], "keep is a share of the weights that training starts from"),
        (["--init", "/nowhere/checkpoint.pt"], "/nowhere/checkpoint.pt"),
        (["--init", __file__], "is no checkpoint of train"),
        (["--data", "ytf=/nowhere"], "ytf: /nowhere has no training_frames_keypoints.csv"),
        (["--data", "nonsense"], "unknown data set 'nonsense'"),
        (["--pseudo", "lfw=/nowhere"], "/nowhere"),
        (["--pseudo", "spectacles"], "unknown source 'spectacles'"),
        (["--pseudo", "lfw=a", "lfw=b"], "named twice"),
        (["--pseudo", f"meglass={SAMPLE}", "--tables", "/nowhere"], "meglass.csv"),
        (["--device", "tpu9"], "device 'tpu9' cannot be used here"),
    ],
)
def test_wrong_arguments_are_one_line(cache, tmp_path, capsys, more, message):
    assert train_keypoints.main(command(cache, tmp_path, *more)) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("train_keypoints.py: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_network_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        train_keypoints.main(["--network", "vgg"])
    assert stop.value.code == 2
    assert "vgg" in capsys.readouterr().err


def test_without_onnx_the_checkpoint_is_there_and_a_line_says_what_to_install(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_keypoints, "make_keypoint_network", lambda name: KeypointNet(name, (4, 8, 8, 8)))
    monkeypatch.setitem(sys.modules, "onnx", None)  # importing it is then an ImportError
    assert train_keypoints.main(command(cache, tmp_path, "--epochs", 1)) == 1
    errors = capsys.readouterr().err
    assert "pip install onnx onnxscript" in errors
    assert errors.count("\n") == 1
    assert (tmp_path / "checkpoint.pt").is_file()
