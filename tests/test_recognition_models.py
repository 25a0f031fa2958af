"""How does a small network learn to tell people apart?  Teachers, views, students, distillation, files, commands."""

import json
import math

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from conftest import ROOT
from find_data import DataError
from glasses.recognizer import Recognizer
from recognition import commands
from recognition import views as views_module
from recognition.chips import align_pictures
from recognition.commands import main
from recognition.datasets import open_people
from recognition.distill import DistillTrainer, cosine_loss, embed, relation_loss
from recognition.export import export_student, whitening, within_people
from recognition.faces import ALIKE, Known, known_faces, share_of, strangers, training_views
from recognition.figures import plot_verification
from recognition.measure import equal_error_rate, impostor_cosines
from recognition.students import STUDENTS, StudentNetwork, make_student, read_student
from recognition.teachers import OnnxTeacher
from recognition.views import MARGIN, Views
from test_recognition_data import write_agedb, write_lfw

SAMPLE = f"sample={ROOT / 'data' / 'sample'}"


def write_teacher(path, size: int = 16, shape: tuple = ("N", 3, 112, 112), batch: int = -1) -> np.ndarray:
    """A network of random weights that sees each face in 14 x 14 places; returns its weights.

    batch: how many pictures it takes at once, though its input does not say so; -1: any number.
    """
    weights = np.random.default_rng(0).normal(size=(3 * 14 * 14, size)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["data"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Reshape", ["small", "sizes"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["answer"]),
    ]
    entry = helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ("N", size))
    sizes = np.array([batch, len(weights)])
    constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(sizes, "sizes")]
    graph = helper.make_graph(nodes, "teacher", [entry], [answer], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return weights


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.onnx"
    write_teacher(path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The chips of data/sample, found once."""
    folder = tmp_path_factory.mktemp("cache")
    training_views([SAMPLE], cache=folder)
    return folder


@pytest.fixture(scope="module")
def few(cache) -> tuple[Views, Views]:
    """24 faces to train on, and 6 of other people."""
    train, select = training_views([SAMPLE], cache=cache)
    return Views(train.pictures[:24], "some", 0), Views(select.pictures[:6], "others", 0)


def some_chips(count: int, side: int = 112) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


# ------------------------------------------------------------------------------------------------------ teachers


@pytest.mark.parametrize("batch", [-1, 2])
def test_a_teacher_answers_for_a_face_and_its_mirror_image(tmp_path, batch):
    weights = write_teacher(tmp_path / "teacher.onnx", batch=batch)
    teacher, chips = OnnxTeacher(tmp_path / "teacher.onnx"), some_chips(70)
    vectors = teacher(chips)
    assert (vectors.shape, vectors.dtype, teacher.size) == ((70, 16), np.float32, 16)
    for chip, vector in zip(chips[::23], vectors[::23], strict=True):
        total = np.zeros(16)
        for picture in (chip, chip[:, ::-1]):
            pixels = (picture.astype(float) - 127.5) / 128
            small = pixels.reshape(14, 8, 14, 8, 3).mean((1, 3)).transpose(2, 0, 1)  # (3, 14, 14)
            total += small.ravel() @ weights
        assert vector == pytest.approx(total / np.linalg.norm(total), abs=1e-4)


def test_what_is_no_teacher_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no teacher at .*: give an ONNX file"):
        OnnxTeacher(tmp_path / "none.onnx")
    write_teacher(tmp_path / "wide.onnx", shape=("N", 3, 112, "W"))
    with pytest.raises(ValueError, match=r"wide.onnx is no teacher: it does not take \(N, 3, 112, 112\)"):
        OnnxTeacher(tmp_path / "wide.onnx")
    write_teacher(tmp_path / "three.onnx", batch=3)
    with pytest.raises(ValueError, match=r"three.onnx is no teacher: it does not answer for a face: ") as error:
        OnnxTeacher(tmp_path / "three.onnx")
    assert "\n" not in str(error.value)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ValueError, match="does not hold a network"):
        OnnxTeacher(tmp_path / "text.onnx")


# --------------------------------------------------------------------------------------------------------- views


def test_views_follow_from_seed_face_and_number():
    pictures = some_chips(3, 112 + 2 * MARGIN)
    one, again, other = Views(pictures, "x", 1), Views(pictures, "x", 1), Views(pictures, "x", 2)
    for number in (1, 5):
        np.testing.assert_array_equal(one.view(2, number), again.view(2, number))
        assert (one.view(2, number) != other.view(2, number)).any()
    assert (one.view(2, 1) != one.view(2, 5)).any()
    np.testing.assert_array_equal(one.view(1, 0), pictures[1, MARGIN:-MARGIN, MARGIN:-MARGIN])


def test_a_teacher_sees_the_very_view_and_is_asked_once(tmp_path):
    views, asked = Views(some_chips(5, 112 + 2 * MARGIN), "x", 1), []

    class Teacher:
        digest, size = "t", 3

        def __call__(self, chips):
            asked.append(chips)
            return np.arange(3 * len(chips), dtype=np.float32).reshape(-1, 3)

    first = views.answers(Teacher(), 2, tmp_path)
    np.testing.assert_array_equal(asked[0], np.stack([views.view(face, 2) for face in range(5)]))
    np.testing.assert_array_equal(views.answers(Teacher(), 2, tmp_path), first)
    assert len(asked) == 1
    views.answers(Teacher(), 3, tmp_path)
    Views(views.pictures, "y", 1).answers(Teacher(), 2, tmp_path)
    Views(views.pictures, "x", 2).answers(Teacher(), 2, tmp_path)
    assert len(asked) == 4, "another view, other faces, another seed"


def test_glasses_are_drawn_on_a_share_of_the_views(cache):
    views, _ = training_views([SAMPLE], cache=cache)
    number, share = 3, 0.5
    drawn = 0
    for face in range(40):
        bare, view = views.view(face, number), views.view(face, number, share)
        np.testing.assert_array_equal(view, views.view(face, number, share))
        if (changed := (view != bare).any(2)).any():
            drawn += 1
            assert changed[30:75].sum() > 0.6 * changed.sum(), "about the eyes"
    assert 10 <= drawn <= 30
    assert all((views.view(face, number, 1.0) != views.view(face, number)).any() for face in range(10))


def test_a_student_sees_glasses_and_its_teacher_none(tmp_path, few, teacher_file, monkeypatch):
    """The answers are the same with them and without; what the student sees is not."""
    monkeypatch.setattr(views_module, "wear_glasses", lambda picture, random: 255 - picture)
    bare, worn = (trainer_of(tmp_path, few, teacher_file, glasses=share) for share in (0.0, 1.0))
    for epoch in (0, 1):
        for (seen, answers), (other, same) in zip(bare._batches(epoch), worn._batches(epoch), strict=True):
            assert torch.equal(answers, same)
            assert (seen - other).abs().mean() > 0.05


# -------------------------------------------------------------------------------------------------------- losses


def test_losses_by_slow_loops():
    random = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(6, 4, generator=random), torch.randn(6, 4, generator=random)

    def cosine(a, b):
        return float(a @ b / a.norm() / b.norm())

    expected = sum(1 - cosine(a, b) for a, b in zip(student, teacher, strict=True)) / 6
    assert cosine_loss(student, teacher).item() == pytest.approx(expected, abs=1e-6)
    total = 0.0
    for face in range(6):
        shares = []
        for vectors in (student, teacher):
            exps = {o: math.exp(cosine(vectors[face], vectors[o]) / 0.5) for o in range(6) if o != face}
            shares.append({o: value / sum(exps.values()) for o, value in exps.items()})
        total += sum(p * math.log(p / shares[0][o]) for o, p in shares[1].items())
    assert relation_loss(student, teacher, 0.5).item() == pytest.approx(total / 6, abs=1e-5)
    turned = teacher @ torch.linalg.qr(torch.randn(4, 4, generator=random))[0]
    assert relation_loss(turned, teacher, 0.5).item() == pytest.approx(0, abs=1e-5), "relations are in any frame"


# ------------------------------------------------------------------------------------------------------ students


@pytest.mark.parametrize("name", STUDENTS)
def test_every_weight_of_a_student_has_a_gradient(name):
    torch.manual_seed(0)
    student = make_student(name, 24)
    vectors = student(torch.rand(2, 3, 112, 112))
    assert vectors.shape == (2, 24)
    (vectors * torch.rand(2, 24)).sum().backward()
    assert all(parameter.grad is not None for parameter in student.parameters())


def trainer_of(folder, few, teacher_file, epochs: int = 2, **settings) -> DistillTrainer:
    settings = {"batch": 8, "lr": 2e-3} | settings
    cache = {"workers": 0, "cache": folder / "cache"}
    return DistillTrainer(*few, OnnxTeacher(teacher_file), folder, epochs, **cache, **settings)


@pytest.mark.parametrize("schedule", [True, False])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, few, teacher_file, schedule):
    whole = trainer_of(tmp_path / "whole", few, teacher_file, schedule=schedule)
    whole.fit(lambda history: None)

    def stop(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer_of(tmp_path / "cut", few, teacher_file, schedule=schedule).fit(stop)
    resumed = trainer_of(tmp_path / "cut", few, teacher_file, schedule=schedule)
    assert resumed.resume()
    assert len(resumed.history) == 1
    resumed.fit(lambda history: None)
    assert resumed.history == whole.history
    state = resumed.result().state_dict()
    assert all(torch.equal(value, state[key]) for key, value in whole.result().state_dict().items())
    for part in ("model", "optimizer"):
        one, other = (trainer.learner.state_dict()[part] for trainer in (whole, resumed))
        assert str(one) == str(other)
    rates = [row["lr"] for row in whole.history]
    assert (rates == [2e-3, 2e-3]) != schedule
    read = read_student(tmp_path / "cut" / "checkpoint.pt").state_dict()
    assert all(torch.equal(value, read[key]) for key, value in whole.result().state_dict().items())


def test_a_run_without_a_cycle_can_be_extended(tmp_path, few, teacher_file):
    trainer_of(tmp_path, few, teacher_file, epochs=1, schedule=False).fit(lambda history: None)
    longer = trainer_of(tmp_path, few, teacher_file, epochs=2, schedule=False)
    assert longer.resume()
    longer.fit(lambda history: None)
    assert [row["lr"] for row in longer.history] == [2e-3, 2e-3]


def test_a_student_comes_nearer_to_its_teacher(tmp_path, few, teacher_file):
    trainer = trainer_of(tmp_path, few, teacher_file, epochs=6, lr=4e-3, views=1, relations=0.0)
    trainer.fit(lambda history: None)
    rows = trainer.history
    assert rows[-1]["train_loss"] < 0.9 * rows[0]["train_loss"]
    losses = [row["loss"] for row in rows]
    assert trainer.best["loss"] == min(losses)
    vectors = embed(trainer.result(), trainer.select)
    wanted = trainer.select.answers(trainer.teacher, 0, tmp_path / "cache").astype(np.float32)
    cosines = [float(a @ b) / np.linalg.norm(b) for a, b in zip(vectors, wanted, strict=True)]
    assert 1 - np.mean(cosines) == pytest.approx(min(losses), abs=2e-3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch": 1}, "batch must be at least 2"),
        ({"batch": 999}, "batch must be at most 24, the number of faces"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"glasses": 1.5}, "glasses must be a share from 0 to 1, not 1.5"),
        ({"network": "resnet"}, "unknown network 'resnet'"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, few, teacher_file, setting, said):
    with pytest.raises(ValueError, match=said):
        trainer_of(tmp_path, few, teacher_file, **setting)


def test_who_trains_and_who_is_chosen_on(cache, tmp_path):
    train, select = training_views([SAMPLE], cache=cache)
    people = open_people(SAMPLE)
    assert (len(train), len(select)) == (len(people.part("train")), len(people.part("select"))) == (155, 15)
    both, _ = training_views([SAMPLE, SAMPLE], cache=cache)
    assert len(both) == 310
    with pytest.raises(DataError, match="never train"):
        training_views([f"lfw={write_lfw(tmp_path / 'lfw')}"], cache=cache)
    with pytest.raises(DataError, match="nobody is known by name in pictures"):
        known_faces([f"pictures={ROOT / 'data' / 'sample' / 'faces-spring-2020'}"], "select", cache)


# ---------------------------------------------------------------------------------------------------- ONNX files


@pytest.mark.parametrize(("name", "weights"), list(zip(STUDENTS, ("int8", "fp16"), strict=True)))
def test_the_file_says_what_the_student_says(tmp_path, cache, name, weights):
    torch.manual_seed(1)
    student, faces = make_student(name, 32), known_faces([SAMPLE], "select", cache)
    with torch.no_grad():  # statistics of real maps, as after training
        student.train()
        for _ in range(3):
            student(torch.rand(4, 3, 112, 112))
    path = export_student(student, tmp_path / "r.onnx", faces, weights)
    assert [file.name for file in tmp_path.iterdir()] == ["r.onnx"]
    written, chips = Recognizer(path), some_chips(5)
    vectors = written(chips)
    assert (vectors.shape, vectors.dtype, written.size) == ((5, 32), np.float32, 32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert (vectors * StudentNetwork(student)(chips)).sum(1).min() > (0.98 if weights == "int8" else 0.9999)
    assert written(chips[:1])[0] == pytest.approx(vectors[0], abs=1e-5)
    mirrored = np.ascontiguousarray(chips[:, :, ::-1])
    assert written(mirrored) == pytest.approx(vectors, abs=1e-5), "a face and its mirror image are one"

    known = faces["sample"]
    impostors = impostor_cosines(known.chips.vectors(written), known.names, known.identities)
    assert (impostors >= written.threshold).mean() <= 1e-3
    assert written.threshold == pytest.approx(impostors.max(), abs=2e-4), "75 pairs: not one may reach it"
    stored = {one.key: json.loads(one.value) for one in onnx.load(path).metadata_props}
    assert (stored["network"], stored["size"], stored["false_accepts"]) == (name, 32, 1e-3)
    count = sum(parameter.numel() for parameter in student.parameters())
    assert path.stat().st_size < count * (1 if weights == "int8" else 2) * 1.15


class Given:
    """Chips whose vectors are known, instead of those of a network."""

    def __init__(self, vectors):
        self.known = vectors

    def vectors(self, network):
        return self.known


def some_people(seed: int, noise: np.ndarray, people: int = 300) -> Known:
    """Three pictures of each, their vectors in 6 directions, in which pictures of one person differ by `noise`."""
    random = np.random.default_rng(seed)
    vectors = np.repeat(random.normal(size=(people, 6)), 3, axis=0) + noise * random.normal(size=(3 * people, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Known(
        Given(vectors), [f"{row}.jpg" for row in range(3 * people)], [str(row // 3) for row in range(3 * people)]
    )


def test_scatter_within_people_by_a_slow_loop():
    known = some_people(0, np.ones(6), people=5)
    vectors = known.chips.known.copy()
    vectors[4] = np.nan
    identities = [*known.identities[:-3], "", "alone", ""]
    sums, free = np.zeros((6, 6)), 0
    for person in "0123":
        own = [v.astype(float) for v, i in zip(vectors, identities, strict=True) if i == person and not np.isnan(v[0])]
        mean = sum(own) / len(own)
        sums += sum(np.outer(v - mean, v - mean) for v in own)
        free += len(own) - 1
    assert within_people(vectors, identities) == pytest.approx(sums / free)
    with pytest.raises(DataError, match="nobody has two pictures"):
        within_people(vectors[:2], ["a", "b"])


def test_whitening_takes_less_notice_of_what_differs_within_people():
    noise = np.array([2.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    layer = whitening(None, {"one": some_people(1, noise), "other": some_people(2, noise)})
    assert torch.linalg.eigvalsh(layer.weight).min() > 0
    assert layer.weight[0, 0] < 0.5 * layer.weight[1, 1]
    fresh = some_people(3, noise)
    plain = fresh.chips.known
    with torch.inference_mode():
        white = torch.nn.functional.normalize(layer(torch.from_numpy(plain))).numpy()
    first, second = np.triu_indices(len(plain), 1)
    same = np.array(fresh.identities)[first] == np.array(fresh.identities)[second]
    errors = [equal_error_rate((v[first] * v[second]).sum(1), same) for v in (plain, white)]
    assert errors[1] < 0.7 * errors[0]


def test_a_whitened_file_says_what_the_two_say(tmp_path, cache):
    torch.manual_seed(2)
    student, faces = make_student("mobilenet_v3_small", 32), known_faces([SAMPLE], "train", cache)
    layer = whitening(StudentNetwork(student), faces)
    file = export_student(student, tmp_path / "w.onnx", known_faces([SAMPLE], "select", cache), "fp32", layer=layer)
    vectors, chips = Recognizer(file)(some_chips(5)), some_chips(5)
    assert vectors == pytest.approx(StudentNetwork(student, layer)(chips), abs=1e-4)
    assert abs(vectors - StudentNetwork(student)(chips)).max() > 0.05
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_a_checkpoint_of_another_trainer_is_one_line(tmp_path):
    torch.save({"config": {"architecture": "GlassesCNN"}, "best": {"state": {}}}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint.pt is of no student of recognition: ") as error:
        read_student(tmp_path / "checkpoint.pt")
    assert "\n" not in str(error.value)


def test_the_roc_curve_shows_each_network():
    random = np.random.default_rng(0)
    same = random.random(200) < 0.5
    figure = plot_verification(
        {name: (same + random.normal(size=200) * noise, same) for name, noise in (("a", 0.1), ("b", 1))}
    )
    (axis,) = figure.axes
    assert axis.get_xlim()[0] == pytest.approx(1 / (~same).sum())
    assert [line.get_label().partition(":")[0] for line in axis.get_lines()] == ["a", "b"]


# ------------------------------------------------------------------------------------------------------ commands


def run(capsys, *arguments) -> list[str]:
    """The lines that a command prints; it must end well."""
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys, *arguments) -> str:
    """The one line of a command that cannot do what it is asked."""
    assert main([str(argument) for argument in arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m recognition: ")
    return line


def test_from_pictures_to_a_file_and_its_tests(tmp_path, monkeypatch, capsys, cache, teacher_file):
    monkeypatch.setattr(commands, "RUNS", tmp_path / "runs")
    places = ("--cache", cache, "--store", tmp_path / "sets")
    (made,) = run(capsys, "triplets", "make", 40, SAMPLE, "--split", "test", "-w", 2, *places)
    assert made == "set 1: 40 triplets of sample, test"
    run(capsys, "triplets", "make", 40, SAMPLE, "--seed", 7, *places)
    header, *rows = run(capsys, "triplets", "list", *places)
    assert header.split() == ["id", "data", "set", "split", "number", "date"]
    assert [row.split()[:4] for row in rows] == [["1", "sample", "test", "40"], ["2", "sample", "train", "40"]]
    people, several, pictures = run(capsys, "triplets", "coverage", "--set", 1, *places)
    assert people == "people: 6 of 6 (100.0 %)"
    assert several == "of those with several pictures, as anchors: 6 of 6 (100.0 %)"
    assert pictures.startswith("pictures: ")

    distill = (
        "models",
        "distill",
        "mobilenet_v3_small",
        "--teacher",
        teacher_file,
        "-b",
        12,
        "--train-set",
        2,
        *places,
    )
    more = ("-e", 1, "-t", 0.2, "--views", 2, "--relations", 0.3, "--share", 0.9)
    lines = run(capsys, *distill, "--test-set", 1, *more)
    assert [line for line in lines if line.startswith("best epoch 1 of 1; the run is")] == [lines[-2]]
    assert lines[-1].startswith("1: match accuracy ")
    config = json.loads((tmp_path / "runs" / "1" / "config.json").read_text())
    assert (config["temperature"], config["batch"], config["network"]) == (0.2, 12, "mobilenet_v3_small")
    assert (config["views"], config["relations"]) == (2, 0.3)
    assert (tmp_path / "runs" / "1" / "curves.png").read_bytes().startswith(b"\x89PNG")
    resumed, *_ = run(capsys, *distill, *more, "--out", tmp_path / "runs" / "1", "--resume")[1:]
    assert resumed == "resumed after epoch 1"
    run(capsys, *distill, "-e", 1, "--init", 1, "--no-lr-scheduler", "--lr", 0.001)
    header, *rows = run(capsys, "models", "list")
    assert [row.split()[:5] for row in rows] == [
        ["1", "mobilenet_v3_small", "1", "of", "1"],
        ["2", "mobilenet_v3_small", "1", "of", "1"],
    ]

    test = ("models", "test", "--set", 1, *places)
    asked = [run(capsys, *test, "--student", 1), run(capsys, *test, "--student", tmp_path / "runs" / "1")]
    assert asked[0] == asked[1]
    assert asked[0][0].endswith("% of 40 triplets (sample, test)")
    for which in (("--student", 1), ("--teacher", teacher_file)):
        (said,) = run(capsys, *test, *which, "--measure", "class")
        assert "pictures of 6 people (sample, test)" in said
    said = run(
        capsys, "models", "test", "--set", SAMPLE, "--teacher", teacher_file, "--plot", tmp_path / "roc.png", *places
    )
    assert [line.split(":")[0].split(" pairs ")[1] for line in said] == [
        "without glasses",
        "with glasses",
        "with against without",
    ]
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")

    file = tmp_path / "new" / "r.onnx"
    assert "Name data sets with --select-set" in refused(capsys, "models", "export", 1, "--output", file, *places)
    written, compared = run(capsys, "models", "export", 1, "--output", file, "--select-set", SAMPLE, *places)
    assert written.startswith(f"wrote {file}, ")
    assert float(compared.split("at least ")[1].split()[0]) > 0.9
    assert f"{Recognizer(file).threshold:.4f}" in written
    white = ("--select-set", SAMPLE, "--whiten-set", SAMPLE, "--weights", "fp32")
    _, compared = run(capsys, "models", "export", 1, "--output", file, *white, *places)
    least = float(compared.split("at least ")[1].split()[0])
    assert least > 0.9, "of a student that has hardly begun: whitening enlarges what little its vectors differ by"
    stored = {one.key: json.loads(one.value) for one in onnx.load(file).metadata_props}
    assert (stored["data"], stored["whitened"]) == (["sample"], ["sample"])
    (said,) = run(capsys, *test, "--student", file)
    assert said.startswith("match accuracy ")


def test_a_faulty_command_is_one_line(tmp_path, monkeypatch, capsys, teacher_file):
    monkeypatch.setattr(commands, "RUNS", tmp_path / "runs")
    places = ("--cache", tmp_path / "cache", "--store", tmp_path / "sets")
    distill = ("models", "distill", "mobilenet_v3_small", "--teacher", teacher_file, *places, "--train-set", SAMPLE)
    lfw = f"lfw={write_lfw(tmp_path / 'lfw')}"
    assert "no triplet set 3 in" in refused(capsys, "triplets", "coverage", "--set", 3, *places)
    assert "never train" in refused(capsys, "triplets", "make", 5, lfw, *places)
    assert "no run 5: `python -m recognition models list` shows" in refused(
        capsys, "models", "test", "--student", 5, "--set", lfw
    )
    assert "never train" in refused(capsys, *distill[:-1], lfw)
    assert "no teacher at" in refused(capsys, *distill, "--teacher", tmp_path / "none.onnx")
    assert "no triplet set 9" in refused(capsys, *distill, "--test-set", 9)
    assert "--resume goes on with the run in --out" in refused(capsys, *distill, "--resume")
    assert "epochs must be at least 1, not 0" in refused(capsys, *distill, "-e", 0)
    assert "views must be at least 1, not 0" in refused(capsys, *distill, "--views", 0)
    assert "--share must be above 0 and at most 1, not 0.0" in refused(capsys, *distill, "--share", 0)
    teacher = ("models", "test", "--teacher", teacher_file, *places)
    assert "agedb" in refused(capsys, *teacher, "--set", f"agedb={write_agedb(tmp_path / 'agedb')}")
    assert "--measure is of triplet sets" in refused(capsys, *teacher, "--set", lfw, "--measure", "class")
    assert "--plot draws the ROC curves of pairs" in refused(capsys, *teacher, "--set", 1, "--plot", tmp_path / "a.png")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(SystemExit) as exit_:
        main(["models", "test", "--set", "1"])
    assert exit_.value.code == 2


def test_a_set_of_people_who_are_measured_on_does_not_train(tmp_path, monkeypatch, capsys, cache, teacher_file):
    monkeypatch.setattr(commands, "RUNS", tmp_path / "runs")
    places = ("--cache", cache, "--store", tmp_path / "sets")
    run(capsys, "triplets", "make", 10, SAMPLE, "--split", "test", *places)
    said = refused(
        capsys, "models", "distill", "mobilenet_v3_small", "--teacher", teacher_file, "--train-set", 1, *places
    )
    assert "set 1 is of the split test, whose people never train" in said


def test_who_looks_like_someone_of_the_test_set_is_left_out(tmp_path, capsys, cache, teacher_file):
    """Two pictures of the sample stand in for LFW: the faces that the teacher finds like them go, all others stay."""
    train, _ = training_views([SAMPLE], cache=cache)
    people = open_people(SAMPLE).part("train")
    places = [3, 40]
    for number, place in enumerate(places, 1):
        file = tmp_path / "lfw" / "A_B" / f"A_B_{number:04d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(people.files[place].read_bytes())
    teacher = OnnxTeacher(teacher_file)
    centred = Centred(teacher, embed_all(train, teacher).mean(0))  # else its random weights find all faces alike
    answers = embed_all(train, centred)
    expected = [face for face in range(len(train)) if (answers[face] @ answers[places].T).max() < ALIKE]
    capsys.readouterr()
    kept = strangers(train, centred, f"lfw={tmp_path / 'lfw'}", tmp_path / "cache", 1)
    assert 0 < len(expected) < len(train) - 1
    said = f"left out: {len(train) - len(expected)} of {len(train)} faces that the teacher takes for someone of lfw"
    assert said in capsys.readouterr().out
    assert len(kept) == len(expected)
    for face in (0, len(expected) // 2, len(expected) - 1):
        np.testing.assert_array_equal(kept.view(face, 0), train.view(expected[face], 0))


class Centred:
    """A teacher less the mean of what it says, of length 1."""

    def __init__(self, teacher, mean):
        self.teacher, self.mean, self.digest, self.size = teacher, mean, "centred", teacher.size

    def __call__(self, chips):
        vectors = self.teacher(chips) - self.mean
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def embed_all(views, network):
    return network(np.stack([views.view(face, 0) for face in range(len(views))]))


def test_a_larger_share_holds_the_smaller(cache):
    train, _ = training_views([SAMPLE], cache=cache)
    third, two = share_of(train, 1 / 3), share_of(train, 2 / 3)
    assert 0.2 * len(train) < len(third) < 0.47 * len(train) < len(two) < 0.8 * len(train)
    assert set(third.pictures.places.tolist()) <= set(two.pictures.places.tolist())
    assert len(share_of(train, 1.0)) == len(train)


def test_lfw_is_measured_by_the_command(tmp_path, capsys, teacher_file):
    root = write_lfw(tmp_path / "lfw")
    from test_recognition_data import FACES

    for number, file in enumerate(sorted(root.rglob("*.jpg"))):
        file.write_bytes(FACES[number].read_bytes())
    (line,) = run(capsys, "models", "test", "--teacher", teacher_file, "--set", f"lfw={root}", "--cache", tmp_path)
    assert line.startswith("4 pairs: ")
    assert line.endswith("no face found in 0 pictures")
    assert align_pictures(open_people(f"lfw={root}"), tmp_path).left_out() == ""
