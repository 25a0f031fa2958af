"""Metrics against hand-computed cases and other libraries, and the command on drawn faces."""

import hashlib
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binom, binomtest

import evaluate
from corruptions import darken
from data_load import FolderPerClass, KaggleGlasses, Label, MeGlass
from detector_architectures import load_detector
from evaluate import (
    answer_dataset,
    calibration_bins,
    draw_errors,
    expected_calibration_error,
    format_comparison,
    format_table,
    is_right,
    mcnemar,
    measure_robustness,
    people_interval,
    rates_of_groups,
    sample_traits,
    summarize,
    threshold_prices,
    wilson_interval,
)
from find_data import DataError
from glasses.classifiers import WEIGHTS
from glasses.pipeline import GlassesPipeline
from models import WEIGHTS as TORCH_WEIGHTS
from synthetic.make_sample import SAMPLE
from timing import measure


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (133, 135), (1990, 2000), (1, 3)])
def test_wilson_agrees_with_scipy(hits, count):
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_an_interval_is_within_0_and_1_and_the_whole_where_there_are_no_faces():
    for count in range(1, 200):
        assert 0 <= wilson_interval(0, count)[0] < wilson_interval(count, count)[1] <= 1
    assert wilson_interval(0, 0) == (0, 1)


def test_many_pictures_of_a_person_do_not_narrow_the_interval():
    right = np.array([True] * 17 + [False] * 3)
    alone = people_interval(right, [""] * 20)
    assert alone == wilson_interval(17, 20)
    assert people_interval(right, [f"person {i}" for i in range(20)]) == alone
    same = people_interval(np.repeat(right, 10), np.repeat([f"person {i}" for i in range(20)], 10))
    many = wilson_interval(170, 200)
    assert same[1] - same[0] > 2 * (many[1] - many[0])
    assert same == pytest.approx(alone, abs=0.08)


def test_the_interval_of_people_covers_the_rate_that_made_them():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        of_person = rng.beta(4, 1, 40)  # how often each is recognised, 80 % on average
        right = rng.random((40, 5)) < of_person[:, None]
        low, high = people_interval(right.ravel(), np.repeat([f"person {i}" for i in range(40)], 5))
        covered += low <= 0.8 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_of_people_who_are_all_right_or_all_wrong_it_is_that_of_the_binomial():
    """Two faces of each of 2,000 people: a draw of people is a draw of the binomial distribution."""
    right = np.repeat([True] * 1700 + [False] * 300, 2)
    interval = people_interval(right, np.repeat([f"person {i}" for i in range(2000)], 2))
    assert interval == pytest.approx(binom.ppf([0.025, 0.975], 2000, 0.85) / 2000, abs=1e-3)


def test_where_nobody_is_wrong_it_is_the_interval_of_as_many_people():
    people = np.repeat(["a", "b", "c"], 4)
    assert people_interval(np.ones(12, dtype=bool), people) == wilson_interval(3, 3)
    assert people_interval(np.zeros(12, dtype=bool), people) == wilson_interval(0, 3)


def test_bins_of_calibration_hold_equally_many_faces():
    p = np.array([0.9, 0.1, 0.2, 0.8, 0.3, 0.7])
    table = calibration_bins(p, np.array([True, False, True, True, False, False]), bins=3)
    np.testing.assert_allclose(table["given"], [0.15, 0.5, 0.85])
    np.testing.assert_allclose(table["share"], [0.5, 0.0, 1.0])
    assert list(table["faces"]) == [2, 2, 2]
    np.testing.assert_allclose(table.loc[0, ["low", "high"]].astype(float), wilson_interval(1, 2))


def test_prices_of_thresholds_by_hand():
    p, truth = np.array([0.15, 0.35, 0.55, 0.75]), np.array([False, True, False, True])
    table = threshold_prices(p, truth, miss=3, false_alarm=1).set_index("threshold")
    assert table.loc[0.1, "price"] == pytest.approx(2 / 4)  # two false alarms
    assert table.loc[0.3, "price"] == pytest.approx(1 / 4)
    assert table.loc[0.6, "price"] == pytest.approx(3 / 4)  # a miss
    assert table.loc[0.9, "price"] == pytest.approx(6 / 4)
    error = np.std([0, 0, 1, 0]) / 2  # of the best
    assert list(table["as_good"]) == list(table["price"] <= 0.25 + error + 1e-9)


def test_rates_of_groups_and_traits_of_the_embedded_faces():
    right = np.array([True, True, False, True])
    table = rates_of_groups(right, pd.DataFrame({"hat": [1, 1, 1, 0], "nobody": [0, 0, 0, 0]}, dtype=bool))
    assert table.loc["hat", "rate"] == pytest.approx(2 / 3)
    assert tuple(table.loc["hat", ["low", "high"]]) == pytest.approx(wilson_interval(2, 3))
    assert list(table["faces"]) == [3, 0]

    faces = KaggleGlasses(SAMPLE).subset(range(200))
    traits = sample_traits(faces)
    kinds = pd.read_csv(SAMPLE / "kinds.csv", keep_default_na=False)[:200]
    assert list(traits["hat"]) == ["hat" in extra.split("+") for extra in kinds["extra"]]
    assert all(traits.columns), "each trait has a name"
    assert list(traits["sunglasses"]) == list(kinds["kind"] == "sunglasses")
    assert evaluate.RIM == "v136", "the second of the numbers of glasses, which begin at v135: data/sample/README.md"
    rims = traits[["full rim", "browline", "half rim", "rimless"]].sum(axis=1)
    assert list(rims == 1) == list(kinds["kind"] != "none"), "each pair of glasses has one kind of rim"


def table_of(text: str, number: int = 0) -> list[dict[str, str]]:
    """The rows of the first table in a text, or a later one."""
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    header, _, *rows = (line.strip()[2:-2].split(" | ") for line in blocks[number].strip().splitlines())
    return [dict(zip(header, [cell.strip() for cell in row], strict=True)) for row in rows]


def answers(rows) -> pd.DataFrame:
    """rows: (label, P(glasses), answer)."""
    frame = pd.DataFrame(rows, columns=["label", "probability", "answer"])
    return frame.assign(glasses=frame["answer"] != "none", file="x.jpg", identity="", detector="slim")


def test_summary_of_a_hand_computed_case():
    found = summarize(
        answers(
            [
                (Label.NONE, 0.1, "none"),
                (Label.NONE, 0.2, "none"),
                (Label.NONE, 0.6, "eyeglasses"),
                (Label.EYEGLASSES, 0.9, "eyeglasses"),
                (Label.SUNGLASSES, 0.8, "eyeglasses"),
                (Label.SUNGLASSES, 0.8, "sunglasses"),
                (Label.UNKNOWN_KIND, 0.7, "sunglasses"),
                (Label.UNKNOWN_KIND, 0.3, "none"),
            ]
        )
    )
    assert (found["faces"], found["errors"]) == (8, 2)
    assert found["accuracy"] == 6 / 8
    assert found["precision"] == found["recall"] == found["F1"] == pytest.approx(4 / 5)
    assert found["AUC"] == pytest.approx(14 / 15)  # of 3 x 5 pairs only (0.6, 0.3) is in the wrong order
    assert found["kind"] == pytest.approx(2 / 3)  # of the three of known kind


@pytest.mark.parametrize("by_people", [False, True])
def test_the_interval_is_that_of_faces_or_of_people(by_people):
    rows = answers([(Label.NONE, 0.1, "none")] * 9 + [(Label.NONE, 0.9, "eyeglasses")] * 3)
    found = summarize(rows.assign(identity=list("aaabbbcccddd")), by_people)
    wanted = people_interval(np.arange(12) < 9, list("aaabbbcccddd")) if by_people else wilson_interval(9, 12)
    assert (found["low"], found["high"]) == wanted


@pytest.mark.filterwarnings("error")
def test_one_class_alone_has_no_auc():
    found = summarize(answers([(Label.SUNGLASSES, 0.9, "sunglasses"), (Label.EYEGLASSES, 0.8, "eyeglasses")]))
    assert np.isnan(found["AUC"])
    assert found["accuracy"] == found["precision"] == found["recall"] == found["kind"] == 1
    found = summarize(answers([(Label.NONE, 0.1, "none"), (Label.NONE, 0.2, "none")]))
    assert all(np.isnan(found[name]) for name in ("AUC", "precision", "recall", "kind"))
    assert found["accuracy"] == 1
    assert "| folder | 2 | 0 | 0 | 100.00 (34.24 to 100.00) |" in format_table({"folder": found})


def test_nobody_is_wrong_whatever_the_label():
    rows = [(Label.NONE, 0.1, "none"), (Label.EYEGLASSES, 0.9, "eyeglasses"), (Label.EYEGLASSES, 0.2, "none")]
    frame = answers([*rows, (Label.NONE, None, None), (Label.SUNGLASSES, None, None)])
    frame["glasses"] = frame["glasses"].astype(object).where(frame["answer"].notna(), None)
    found = summarize(frame)
    assert (found["faces"], found["errors"], found["not found"]) == (5, 3, 2)
    assert found["accuracy"] == 2 / 5
    assert (found["precision"], found["recall"]) == (1, pytest.approx(1 / 3))
    assert found["AUC"] == 1  # of those with a probability
    assert found["ECE"] == pytest.approx((0.1 + 0.1 + 0.8) / 3)
    assert found["kind"] == 1
    lines = format_table({"a": found}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in cells}) == 1
    assert cells[2][cells[0].index("not found")] == "2"
    assert np.isnan(summarize(frame[3:])["AUC"])
    assert np.isnan(summarize(frame[3:])["ECE"])


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (5, 1), (3, 9), (14, 14), (40, 17)])
def test_mcnemar_sums_the_binomial_tails(only_first, only_second):
    count = only_first + only_second
    right = np.array([False] * only_first + [True] * only_second + [True] * 7 + [False] * 4)
    right_too = np.array([True] * only_first + [False] * only_second + [True] * 7 + [False] * 4)
    tail = sum(math.comb(count, k) for k in range(min(only_first, only_second) + 1)) / 2**count
    expected = (only_first, only_second, pytest.approx(min(1, 2 * tail)))
    assert mcnemar(right, right_too) == expected
    assert mcnemar(right_too, right)[:2] == (only_second, only_first)


def test_models_are_compared_with_the_first_on_the_same_faces():
    rows = [(Label.NONE, 0.1, "none")] * 3 + [(Label.EYEGLASSES, 0.9, "eyeglasses")] * 7
    first = answers(rows).assign(file=[f"{i}.jpg" for i in range(10)])
    worse = first.assign(glasses=[True, *[False] * 9])  # one false alarm, seven misses
    (row,) = table_of(format_comparison({"a": worse, "b": first}))
    assert (row["first"], row["second"], row["faces"]) == ("a", "b", "10")
    assert (row["only first wrong"], row["only second wrong"]) == ("8", "0")
    assert float(row["p (McNemar)"]) == pytest.approx(2 / 2**8, rel=0.05)
    assert len(table_of(format_comparison({"a": worse, "b": first, "c": worse}))) == 2
    with pytest.raises(ValueError, match="a and b did not answer the same faces"):
        format_comparison({"a": first, "b": first.assign(file="other.jpg")})


def test_errors_are_counted_by_both_labels():
    rows = [(Label.NONE, 0.1, "none"), (Label.EYEGLASSES, 0.9, "eyeglasses"), (Label.NONE, 0.8, "sunglasses")]
    frame = answers(rows).assign(labelled=[Label.UNKNOWN_KIND, Label.NONE, Label.NONE])
    found = summarize(frame)
    assert (found["errors"], found["errors as labelled"]) == (1, 3)
    (row,) = table_of(format_table({"a": found}))
    assert (row["errors"], row["errors as labelled"], row["not found"]) == ("1", "3", "0")
    assert "errors as labelled" not in format_table({"a": summarize(frame.drop(columns="labelled"))})


def test_calibration_error():
    p = np.array([0.95] * 10 + [0.05] * 10)
    assert expected_calibration_error(p, np.array([True] * 10 + [False] * 10)) == pytest.approx(0.05)
    assert expected_calibration_error(p, np.array([True] * 5 + [False] * 15)) == pytest.approx((0.45 + 0.05) / 2)
    assert expected_calibration_error(np.array([1.0]), np.array([True])) == 0


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_is_that_of_a_slow_count(seed):
    rng = np.random.default_rng(seed)
    p = np.array([0.0, 0.95, 1.0, 1.0, *rng.random(200)])
    truth = rng.random(len(p)) < p**2
    truth[1:3] = True, False  # what is said for certain lies in the last bin, too
    gaps = [0.0] * 15  # of each bin, the sum of its probabilities less its faces with glasses
    for probability, worn in zip(p, truth, strict=True):
        gaps[min(int(15 * probability), 14)] += probability - worn
    assert expected_calibration_error(p, truth) == pytest.approx(sum(map(abs, gaps)) / len(p))


def test_table_by_hand():
    rates = {"accuracy": 0.75, "low": 0.40928, "high": 0.9285, "precision": 2 / 3, "recall": 0.5, "F1": 4 / 7}
    summary = {"faces": 8, "errors": 2, "not found": 1, **rates, "AUC": 0.98765, "ECE": 0.01234}
    header, *rest = format_table({"a": summary | {"kind": 0.875}, "b": summary | {"kind": float("nan")}}).splitlines()
    names = "source, faces, errors, not found, accuracy (95 % interval), precision, recall, F1, AUC, ECE, kind"
    assert header.strip("| ").split(" | ") == names.split(", ")
    assert rest == [
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        "| a | 8 | 2 | 1 | 75.00 (40.93 to 92.85) | 66.67 | 50.00 | 57.14 | 0.9877 | 0.0123 | 87.50 |",
        "| b | 8 | 2 | 1 | 75.00 (40.93 to 92.85) | 66.67 | 50.00 | 57.14 | 0.9877 | 0.0123 |  |",
    ]


def test_measure_calls_as_often_as_it_says():
    calls = []
    times = measure(lambda: calls.append(1), repeats=7, warmup=3)
    assert len(calls) == 10
    assert 0 <= times["min"] <= times["median"] <= times["p95"]


@pytest.fixture
def portraits(tmp_path, hopper, astronaut):
    for folder, photo in (("glasses", hopper), ("no_glasses", astronaut)):
        (tmp_path / folder).mkdir()
        Image.open(photo).convert("RGB").save(tmp_path / folder / "a.png")
    return tmp_path


def test_portraits_are_answered_and_a_wrong_label_is_drawn(portraits):
    dataset = FolderPerClass(portraits)
    pipeline = GlassesPipeline()
    found = answer_dataset(dataset, pipeline)
    assert summarize(found)["accuracy"] == 1
    wrong = answer_dataset(dataset.relabel({"glasses/a.png": Label.NONE}), pipeline)
    figure = draw_errors(wrong, pipeline.detector)
    (drawn,) = [axis for axis in figure.axes if axis.has_data()]
    assert Path(wrong["file"].iloc[0]).stem in drawn.get_title()
    assert len(figure.axes) == 1  # as many columns as there are pictures


def test_the_name_of_a_wrong_face_is_cut_before_its_first_at(hopper, tmp_path):
    for name, shown in (("sample@identity_29@4", "identity_29@4"), (f"{'a' * 30}0123", f"{'a' * 14}0123")):
        shutil.copy(hopper, file := tmp_path / f"{name}.jpg")
        frame = answers([(Label.NONE, 0.9, "eyeglasses")]).assign(file=str(file))
        (axis,) = draw_errors(frame, load_detector("center")).axes
        assert axis.get_title().splitlines()[0] == shown


def test_pictures_of_nobody_are_drawn_last(portraits, nobody):
    shutil.copy(nobody[0], portraits / "glasses" / "b.png")
    pipeline = GlassesPipeline()
    dataset = FolderPerClass(portraits).relabel({"no_glasses/a.png": Label.EYEGLASSES})
    found = answer_dataset(dataset, pipeline).set_index("file")
    row = found.loc[str(portraits / "glasses" / "b.png")]
    assert row["glasses"] is None
    assert np.isnan(row["probability"])
    titles = [axis.get_title() for axis in draw_errors(found.reset_index(), pipeline.detector).axes if axis.has_data()]
    assert ["not found" in title for title in titles] == [False, True]


def test_the_surest_errors_are_drawn_first_and_no_more_than_asked_for(hopper):
    rows = [(Label.NONE, 0.55, "eyeglasses"), (Label.EYEGLASSES, 0.02, "none"), (Label.NONE, 0.9, "sunglasses")]
    frame = answers([(Label.NONE, np.nan, "none"), *rows, (Label.SUNGLASSES, 0.99, "sunglasses")])  # the last is right
    frame = frame.assign(file=str(hopper), glasses=[None, *frame["glasses"][1:]])

    def titles(**more) -> list[str]:
        axes = draw_errors(frame, load_detector("center"), **more).axes
        return [axis.get_title().splitlines()[1] for axis in axes if axis.has_data()]

    assert titles() == ["eyeglasses, P 0.02", "none, P 0.90", "none, P 0.55", "none, not found"]
    assert titles(most=2) == ["eyeglasses, P 0.02", "none, P 0.90"]


def test_unreadable_face_is_named(portraits):
    (portraits / "glasses" / "b.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"b\.png"):
        answer_dataset(FolderPerClass(portraits), GlassesPipeline())


def test_command(portraits, nobody, capsys):
    shutil.copy(nobody[0], portraits / "no_glasses" / "nobody.png")
    out = portraits / "out"
    command = ["--validate", f"folder={portraits}", "--device", "cpu"]
    assert evaluate.main([*command, "--csv", str(out / "answers.csv"), "--errors", str(portraits / "errors.png")]) == 0
    assert "| folder | 3 | 1 | 1 | 66.67" in capsys.readouterr().out
    table = pd.read_csv(out / "answers.csv", keep_default_na=False).set_index("file")
    row = table.loc[str(portraits / "no_glasses" / "nobody.png")]
    assert (row["detector"], row["answer"], row["glasses"], row["probability"]) == ("", "", "", "")
    assert set(table["detector"]) == {"finder", ""}
    assert [file.name for file in out.iterdir()] == ["answers.csv"]
    assert (portraits / "errors.png").is_file()
    assert evaluate.main([*command, "--assume-face", "--csv", str(out / "answers.csv")]) == 0
    assert table_of(capsys.readouterr().out)[0]["not found"] == "0"
    row = pd.read_csv(out / "answers.csv").set_index("file").loc[str(portraits / "no_glasses" / "nobody.png")]
    assert row["detector"] == "center"
    assert row["probability"] >= 0


def test_sources_are_told_in_the_order_in_which_they_were_given(portraits, capsys):
    (portraits / "labels.csv").write_text("file,glasses\nglasses/a.png,1\n")
    command = ["--validate", f"folder={portraits}", f"ffhq={portraits}", "--device", "cpu"]
    assert evaluate.main([*command, "--csv", str(portraits / "a.csv")]) == 0
    assert [(row["source"], row["faces"]) for row in table_of(capsys.readouterr().out)] == [
        ("folder", "2"),
        ("ffhq", "1"),
    ]
    table = pd.read_csv(portraits / "a.csv")
    assert list(table) == [*evaluate.COLUMNS, "source", "model", "part"]
    assert list(table["source"]) == ["folder", "folder", "ffhq"]
    assert set(table["model"]) == {"glasses"}


@pytest.mark.parametrize(("threshold", "said"), [("0", [True, True]), ("1", [False, False])])
def test_the_threshold_is_the_one_asked_for(portraits, threshold, said):
    command = ["--validate", f"folder={portraits}", "--device", "cpu", "--threshold", threshold]
    assert evaluate.main([*command, "--csv", str(portraits / "a.csv")]) == 0
    assert list(pd.read_csv(portraits / "a.csv")["glasses"]) == said


def test_models_are_measured_side_by_side_by_torch_and_onnx_runtime(portraits, capsys):
    models = [WEIGHTS / "glasses.onnx", TORCH_WEIGHTS / "glasses.safetensors"]
    command = ["--validate", f"folder={portraits}", "--device", "cpu", "--model", *map(str, models)]
    assert evaluate.main(command) == 0
    out = capsys.readouterr().out
    assert out.startswith("report part, 2 faces:\n\n")
    first, second = table_of(out)
    assert [first.pop("source"), second.pop("source")] == [f"folder, {model}" for model in models]
    assert first == second
    expected = dict(first=str(models[0]), second=str(models[1]), faces="2")
    assert table_of(out, 1) == [expected | {"only first wrong": "0", "only second wrong": "0", "p (McNemar)": "1"}]


@pytest.mark.parametrize(
    ("more", "message"),
    [(["--model", "nonsense"], "no network 'nonsense'"), (["--device", "tpu9"], "'tpu9' cannot be used here")],
)
def test_a_wrong_model_or_device_is_one_line_before_any_face_is_read(capsys, more, message):
    assert evaluate.main(["--validate", "folder=/nowhere", *more]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_bad_faces_are_left_out_on_request(portraits, capsys):
    (portraits / "glasses" / "b.png").write_bytes(b"broken")
    command = ["--validate", f"folder={portraits}", "--device", "cpu"]
    assert evaluate.main(command) == 1
    assert "b.png" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="left out 1 of the faces"):
        assert evaluate.main([*command, "--skip-bad"]) == 0
    assert "| folder | 2 | 0 | 0 |" in capsys.readouterr().out


BOUNDS = {"train": (0, 0.8), "select": (0.8, 0.9), "report": (0.9, 1)}


@pytest.mark.parametrize("part", ["", "report", "select", "train"])
def test_the_report_part_is_measured_or_another_on_request(meglass, tmp_path, capsys, part):
    """The part of each person worked out here, from the hash: what was trained on is not measured unasked."""
    command = ["--data", f"meglass={meglass}", "--device", "cpu", "--detector", "center", "--csv"]
    assert evaluate.main([*command, str(tmp_path / "a.csv"), *(["--part", part] if part else [])]) == 0
    table, part = pd.read_csv(tmp_path / "a.csv"), part or "report"
    people = {name.rpartition("@")[0] for name in (meglass / "meta.txt").read_text().splitlines()}
    digests = {name: hashlib.sha256(f"0:{name}".encode()).hexdigest() for name in people}
    low, high = BOUNDS[part]
    expected = {name for name, digest in digests.items() if low <= int(digest[:16], 16) / 16**16 < high}
    assert set(table["identity"]) == expected != set()
    assert set(table["part"]) == {part}
    assert set(table["source"]) == {"meglass"}
    assert set(table["detector"]) == {"center"}
    assert len(table) == 4 * len(expected)
    out = capsys.readouterr().out
    assert out.startswith(f"{part} part, {len(table)} faces:\n")
    assert table_of(out)[0]["faces"] == str(len(table))


def test_a_part_without_faces_is_one_line(portraits, capsys):
    assert evaluate.main(["--validate", f"folder={portraits}", "--device", "cpu", "--part", "select"]) == 1
    errors = capsys.readouterr().err
    assert "no faces in the select part: name a source in --data" in errors
    assert errors.count("\n") == 1


@pytest.mark.filterwarnings("error")
def test_of_pictures_of_nobody_nobody_is_the_right_answer():
    """Whatever else is said of them is an error; nothing but their accuracy is a rate of theirs."""
    nobodies = [(Label.NOBODY, None, None), (Label.NOBODY, 0.2, "none"), (Label.NOBODY, 0.9, "eyeglasses")]
    faces = [(Label.NONE, 0.1, "none"), (Label.NONE, None, None), (Label.SUNGLASSES, 0.8, "sunglasses")]
    frame = answers([*nobodies, *faces])
    frame["glasses"] = frame["glasses"].astype(object).where(frame["answer"].notna(), None)
    assert is_right(frame).tolist() == [True, False, False, True, False, True]
    found = summarize(frame[:3])
    assert (found["faces"], found["errors"], found["not found"], found["accuracy"]) == (3, 2, 0, pytest.approx(1 / 3))
    assert all(np.isnan(found[name]) for name in ("precision", "recall", "F1", "AUC", "ECE", "kind"))
    both, alone = summarize(frame), summarize(frame[3:])
    assert (both["faces"], both["errors"], both["not found"]) == (6, 3, 1)
    for name in ("precision", "recall", "F1", "AUC", "ECE", "kind", "not found"):
        assert both[name] == alone[name], "of faces alone"


def test_sources_that_show_nobody_have_a_row_of_their_own(portraits, nobody, capsys):
    (portraits / "stones").mkdir()
    shutil.copy(nobody[0], portraits / "stones")
    command = ["--device", "cpu", "--validate", f"nobody={portraits / 'stones'}"]
    assert evaluate.main([*command, f"folder={portraits}"]) == 0
    rows = table_of(capsys.readouterr().out)
    assert {row["source"]: (row["faces"], row["errors"]) for row in rows} == {
        "nobody": ("1", "0"),
        "folder": ("2", "0"),
    }
    assert rows[0]["AUC"] == rows[0]["precision"] == ""
    assert evaluate.main([*command, "--assume-face"]) == 0
    (row,) = table_of(capsys.readouterr().out)
    assert (row["faces"], row["errors"]) == ("1", "1"), "whoever assumes a face has an answer"


def test_errors_with_and_without_corrections(portraits, tmp_path, capsys):
    """Both labels are turned round in the folder; the table of corrections puts one of them right."""
    (portraits / "glasses").rename(portraits / "x")
    (portraits / "no_glasses").rename(portraits / "glasses")
    (portraits / "x").rename(portraits / "no_glasses")
    (portraits / "c.csv").write_text("source,file,kind\nfolder,no_glasses/a.png,eyeglasses\n")
    command = ["--validate", f"folder={portraits}", "--device", "cpu", "--csv", str(portraits / "a.csv")]
    assert evaluate.main([*command, "--corrections", str(portraits / "c.csv")]) == 0
    (row,) = table_of(capsys.readouterr().out)
    assert (row["faces"], row["errors"], row["errors as labelled"]) == ("2", "1", "2")
    table = pd.read_csv(portraits / "a.csv")
    assert (table["label"] == table["labelled"]).tolist() == [False, True]
    assert evaluate.main(command) == 0
    (row,) = table_of(capsys.readouterr().out)
    assert row["errors"] == "2"
    assert "errors as labelled" not in row


def test_robustness_counts_right_answers(meglass):
    dataset = MeGlass(meglass).subset(range(8))

    class Bright:
        """Says "glasses" to crops that are not black."""

        threshold = 0.5

        def __call__(self, crops):
            dark = (crops.reshape(len(crops), -1).mean(1) < 1).astype(float)
            return np.stack([dark, 1 - dark, 0 * dark, 1 + 0 * dark], 1)

    ladder = {"light": ((1, 0), lambda image, points, level: darken(image, level))}
    table = measure_robustness(dataset, load_detector("center"), {"bright": Bright()}, ladder)
    share = float((dataset.labels != Label.NONE).mean())
    assert list(table["level"]) == [1, 0]
    assert list(table["bright"]) == [share, 1 - share]
