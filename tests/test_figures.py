"""The figures: every name is shown and told apart, text fits, axes have names, and the numbers are those given."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.patches import Rectangle

import evaluation_figures
import figures


def test_pictures_are_not_stretched():
    images = [np.zeros((50, 100, 3), np.uint8), np.zeros((60, 60, 3), np.uint8)]
    figure = figures.show_images(images, ["wide", "square"], columns=2, frames=["red", ""])
    FigureCanvasAgg(figure).draw()
    for axis, image in zip(figure.axes, images, strict=True):
        box = axis.get_window_extent()
        assert box.width / box.height == pytest.approx(image.shape[1] / image.shape[0], rel=0.03)


def test_points_lie_on_their_pixels_and_no_face_is_stretched():
    images = [np.zeros((60, 90, 3), np.uint8)] * 3
    labels = [np.array([[10.0, 20], [80, 30]]) + i for i in range(3)]
    outside = [np.array([[200.0, -50]])] * 3
    figure = figures.show_points(images, {"label": labels, "found": outside}, ["a", "b", "c"], columns=2)
    FigureCanvasAgg(figure).draw()
    for axis, points in zip(figure.axes, labels, strict=False):
        np.testing.assert_array_equal(axis.collections[0].get_offsets(), points)
        assert (axis.get_xlim(), axis.get_ylim()) == ((-0.5, 89.5), (59.5, -0.5)), "what is outside does not widen it"
        box = axis.get_window_extent()
        assert box.width / box.height == pytest.approx(90 / 60, rel=0.03)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["label", "found"]
    below, above = figures.show_points(images, {"label": labels, "found": labels}).axes[0].collections
    assert 2 * above.get_sizes()[0] < below.get_sizes()[0], "a square fits into the dot below, which stays visible"
    assert not figures.show_points(images, {"label": labels}).legends


def test_every_point_has_its_number_and_a_part_its_colour():
    points = np.random.default_rng(0).uniform(20, 280, (10, 2))
    axis = (figure := figures.show_parts(np.zeros((300, 300, 3), np.uint8), points, PARTS)).axes[0]
    FigureCanvasAgg(figure).draw()
    assert [text.get_text() for text in axis.texts] == [str(i) for i in range(10)]
    np.testing.assert_allclose([text.xy for text in axis.texts], points)
    of_part = [to_hex(group.get_facecolor()[0]) for group in axis.collections]
    assert [to_hex(text.get_color()) for text in axis.texts] == [of_part[0]] * 4 + [of_part[1]] * 6
    assert axis.get_window_extent().width == pytest.approx(axis.get_window_extent().height, rel=0.03)
    some = figures.show_parts(np.zeros((300, 300, 3), np.uint8), points, PARTS, [2, 7]).axes[0]
    assert [text.get_text() for text in some.texts] == ["2", "7"]


PARTS = {"jaw": slice(0, 4), "eyes": slice(4, 10)}
POINTED = [{"epoch": epoch, "train_loss": 0.2 / epoch, "error": 0.3 / epoch, "lr": 1e-3} for epoch in (1, 2)]
TRUTH, P = np.array([True, False, True, False, True]), np.array([0.9, 0.2, 0.7, 0.6, 0.4])
HISTORY = [{"epoch": 1, "train_loss": 1.0, "loss": 0.9, "a_loss": 0.9, "a_accuracy": 0.6, "lr": 1e-3}]
TABLE = pd.DataFrame({"damage": ["blur"] * 2, "level": [0, 5], "net": [1.0, 0.8]})
TIMES = pd.DataFrame(
    {"what": ["cpu"] * 2, "batch": [1, 8], "median": [1e-3, 4e-3], "p5": [9e-4, 3e-3], "p95": [2e-3, 6e-3]}
)
LATENCY = pd.DataFrame(
    [
        (network, runtime, "cpu", 1, batch, milliseconds * batch, milliseconds * batch * 1.1)
        for network, milliseconds in (("large", 2.0), ("small", 0.2))
        for runtime in ("torch", "ONNX Runtime", "ONNX Runtime, INT8")
        for batch in (1, 64)
    ],
    columns=["network", "runtime", "device", "threads", "batch", "median_ms", "p95_ms"],
)
ACCURACY = pd.DataFrame(
    [
        ("teacher", "large", "float32", 10_000_000, 0.998, 0.996, 0.999),
        ("student", "small", "float32", 90_000, 0.996, 0.994, 0.998),
        ("beaten", "small", "float32", 100_000, 0.990, 0.985, 0.995),
        ("never timed", "other", "int8", 95_000, 0.997, 0.995, 0.999),
    ],
    columns=["network", "shape", "arithmetic", "bytes", "accuracy", "low", "high"],
)
OF_BINS = pd.DataFrame({"given": P, "share": P, "low": P - 0.1, "high": P + 0.1, "faces": [25] * 5})
PRICES = pd.DataFrame({"threshold": [0.2, 0.5, 0.8], "price": [0.1, 0.05, 0.2], "as_good": [True, True, False]})
GROUPS = pd.DataFrame({"rate": [0.9, 1.0], "low": [0.8, 0.9], "high": [0.95, 1.0], "faces": [50, 20]}, ["hat", "none"])
SEEDS = pd.DataFrame(
    [
        (what, where, 0.8 + 0.01 * seed + 0.1 * (what == "both"))
        for what in ("GAN", "both")
        for where in ("judged on GAN", "judged on MeGlass")
        for seed in range(3)
    ],
    columns=["what", "where", "value"],
)
DRAWN = {
    "calibration": lambda: evaluation_figures.plot_calibration({"net": OF_BINS}),
    "prices": lambda: evaluation_figures.plot_prices({"a miss costs 3": PRICES}, {"a miss costs 3": 0.25}),
    "groups": lambda: figures.plot_groups(GROUPS, "right answers (faces)", 0.9),
    "seeds": lambda: figures.plot_seeds(SEEDS, "right answers"),
    "grid": lambda: figures.show_grid(
        {"haar": [np.zeros((50, 40, 3), np.uint8)] * 2}, ["one", "two"], {"haar": ["a", "b"]}, {"haar": ["red"] * 2}
    ),
    "latency": lambda: figures.plot_latency(LATENCY),
    "pareto": lambda: figures.plot_pareto(ACCURACY, LATENCY),
    "counts": lambda: figures.plot_counts({"a": pd.DataFrame({"kind": ["none", "glasses"]})}),
    "bars": lambda: figures.plot_bars({"a": 1.0, "b": 20.0}, "faces a second", log=True),
    "curves": lambda: figures.plot_curves(HISTORY, 3),
    "no curves yet": lambda: figures.plot_curves([], 3),
    "loss": lambda: figures.plot_loss([1.0, 0.5], chance=1.1),
    "key point errors": lambda: figures.plot_error_curve({"net": P / 20}),
    "loss of points": lambda: figures.plot_loss([0.2, 0.1], chance=0.15, label="wing loss (eye distances)"),
    "points": lambda: figures.show_points([np.zeros((9, 9))] * 2, {"label": [P[:4].reshape(2, 2)] * 2}, ["a", "b"]),
    "parts": lambda: figures.show_parts(np.zeros((99, 99)), 90 * RNG.random((10, 2)) + 5, PARTS),
    "key points": lambda: figures.plot_keypoint_curves(POINTED, 4),
    "no key points yet": lambda: figures.plot_keypoint_curves([], 4),
    "finder": lambda: figures.plot_finder_curves([row | {"recall": 0.5} for row in POINTED], 0.1),
    "no finder yet": lambda: figures.plot_finder_curves([], 0.1),
    "error curve": lambda: figures.plot_error_curve({"net": np.array([0.01, 0.05, np.nan]), "other": P / 10}),
    "rates": lambda: figures.plot_rates([1e-3, 1e-2, 1e-1], [1.0, 0.5, 2.0], 1e-2),
    "confusion": lambda: evaluation_figures.plot_confusion({"net": np.array([[5, 1], [0, 4]])}),
    "roc": lambda: evaluation_figures.plot_roc_and_pr({"net": (TRUTH, P)}),
    "reliability": lambda: figures.plot_reliability({"net": (TRUTH, P)}),
    "thresholds": lambda: evaluation_figures.plot_thresholds(TRUTH, P, 0.5),
    "robustness": lambda: evaluation_figures.plot_robustness(TABLE, ["net"]),
    "times": lambda: figures.plot_times(TIMES, "what"),
    "stages": lambda: figures.plot_stages(pd.DataFrame({"decode": [1e-3], "detect": [2e-3]}, index=["slim"])),
}

# More than there are colours, some of them long.
NAMES = [
    *("celeba", "meglass", "lfw", "kaggle", "ffhq", "folder", "sample", "table", "another", "GAN faces only"),
    *("both, not augmented", "student, half, distilled"),
]
RNG = np.random.default_rng(0)
FACES = {
    name: pd.DataFrame(
        {
            "kind": RNG.choice(["none", "eyeglasses", "sunglasses", "unknown_kind"], count, p=[0.6, 0.3, 0.08, 0.02]),
            "width": RNG.choice([100 + 30 * number, 512], count),
            "brightness": RNG.normal(100 + 5 * number, 20, count),
            "contrast": RNG.normal(50, 5, count),
            "identity": [str(i) for i in RNG.integers(0, count // (number + 2), count)],
        }
    )
    for number, (name, count) in enumerate(zip(NAMES, np.geomspace(40, 9000, 12).astype(int), strict=True))
}
GIVEN = {
    name: (truth, (truth * quality + RNG.random(300)) / (1 + quality))
    for name, quality in zip(NAMES, np.linspace(0.3, 3, 12), strict=True)
    for truth in [RNG.random(300) < 0.5]
}
OF_TWELVE = {
    "rows": lambda: figures.show_rows({name: [np.zeros((40, 60, 3), np.uint8)] * 3 for name in NAMES}),
    "counts": lambda: figures.plot_counts(FACES),
    "distributions": lambda: figures.plot_distributions(FACES),
    "bars": lambda: figures.plot_bars(dict(zip(NAMES, range(1, 13), strict=True)), "faces a second", log=True),
    "curves": lambda: figures.plot_curves(
        [
            {"epoch": epoch, "train_loss": 1 / epoch, "loss": 1.2 / epoch}
            | {f"{name}_accuracy": 0.99 - (0.2 + 0.02 * i) / epoch for i, name in enumerate(NAMES)}
            for epoch in range(1, 9)
        ]
    ),
    "confusion": lambda: evaluation_figures.plot_confusion({name: np.array([[5, 1], [0, 4]]) for name in NAMES}),
    "roc": lambda: evaluation_figures.plot_roc_and_pr(GIVEN),
    "reliability": lambda: figures.plot_reliability(GIVEN),
    "robustness": lambda: evaluation_figures.plot_robustness(
        pd.DataFrame({"damage": [d for d in "abcd" for _ in range(3)], "level": [0, 5, 10] * 4})
        .assign(**{name: np.tile([1, 0.95 - i / 50, 0.9 - i / 30], 4) for i, name in enumerate(NAMES)})
        .replace({"damage": {letter: f"damage {letter} (levels)" for letter in "abcd"}}),
        NAMES,
    ),
    "times": lambda: figures.plot_times(
        pd.concat([TIMES.assign(what=name, median=TIMES["median"] * 1.3**i) for i, name in enumerate(NAMES)]), "what"
    ),
    "stages": lambda: figures.plot_stages(pd.DataFrame(RNG.uniform(1e-3, 3e-3, (12, 12)), NAMES[::-1], NAMES)),
    "latency": lambda: figures.plot_latency(
        pd.concat(
            [LATENCY.query("runtime == 'torch'").assign(runtime=name, network=f"of {name}") for name in NAMES]
            + [LATENCY.query("runtime == 'torch'").assign(runtime=name) for name in NAMES]
        ).drop_duplicates(["network", "runtime", "batch"])
    ),
    "pareto": lambda: figures.plot_pareto(
        pd.concat([ACCURACY[:1].assign(network=name, bytes=5000 * 2**i) for i, name in enumerate(NAMES)]), LATENCY
    ),
}
WITH_LEGEND = ("distributions", "curves", "roc", "robustness", "times", "stages", "latency", "pareto")
DRAWN |= {f"{name}, of twelve": draw for name, draw in OF_TWELVE.items()}


@pytest.mark.parametrize("name", DRAWN)
def test_axes_have_names_and_their_text_fits(name):
    figure = DRAWN[name]()
    FigureCanvasAgg(figure).draw()
    whole = figure.bbox
    for axis in figure.axes:
        if axis.axison and axis.has_data():
            assert axis.get_xlabel() or not len(axis.get_xticks())
            for label in (axis.xaxis.label, axis.yaxis.label, axis.title, *axis.get_yticklabels()):
                box = label.get_window_extent()
                if not label.get_text():
                    continue
                assert box.x0 >= whole.x0 - 1
                assert box.x1 <= whole.x1 + 1
            ticks = [t for t in axis.get_xticklabels() if t.get_text() and t.get_visible() and not t.get_rotation()]
            ticks = [t.get_window_extent() for t in ticks]
            ticks = sorted((t for t in ticks if t.width > 1), key=lambda box: box.x0)
            assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(ticks)), "tick labels overlap"
            assert min(axis.get_window_extent().size) > 0.4 * figure.dpi, "too small"
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    texts += [text for axis in figure.axes for text in axis.texts]
    for box in (text.get_window_extent() for text in texts):
        assert whole.x0 - 1 <= box.x0 < box.x1 <= whole.x1 + 1
        assert whole.y0 - 1 <= box.y0 < box.y1 <= whole.y1 + 1


def look_of(shown) -> tuple:
    """By what a reader knows a line, a bar or a point again."""
    if isinstance(shown, ErrorbarContainer):
        shown = shown.lines[0]
    if isinstance(shown, BarContainer):
        shown = shown.patches[0]
    if isinstance(shown, Rectangle):
        return to_hex(shown.get_facecolor()), shown.get_hatch()
    return to_hex(shown.get_color()), shown.get_linestyle(), shown.get_marker()


@pytest.mark.parametrize("name", OF_TWELVE)
def test_every_name_is_shown(name):
    figure = OF_TWELVE[name]()
    FigureCanvasAgg(figure).draw()
    said = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for axis in figure.axes:
        said += [label.get_text() for label in (*axis.get_yticklabels(), *axis.get_xticklabels(), axis.title)]
        said.append(axis.get_ylabel())
    shown = [line.split(":")[0] for line in said]
    assert [name for name in NAMES if name not in shown] == []


@pytest.mark.parametrize("name", WITH_LEGEND)
def test_no_two_names_look_the_same(name):
    (legend,) = (figure := OF_TWELVE[name]()).legends
    looks = {}
    for axis in figure.axes:
        for shown, label in zip(*axis.get_legend_handles_labels(), strict=True):
            assert looks.setdefault(label.split(":")[0], look_of(shown)) == look_of(shown), "the same in every axis"
    named = [text.get_text().split(":")[0] for text in legend.get_texts()]
    assert {*NAMES} <= {*named}
    assert len({looks[name] for name in named}) == len(named)


def test_the_price_of_100_faces_and_what_is_as_good_are_drawn():
    axis = evaluation_figures.plot_prices({"x": PRICES}, {"x": 0.25}).axes[0]
    price, rule = axis.lines
    np.testing.assert_allclose(price.get_ydata(), [10, 5, 20])
    assert rule.get_xdata()[0] == 0.25
    (grey,) = axis.patches
    assert (grey.get_x(), grey.get_x() + grey.get_width()) == (0.2, 0.5)


def test_every_seed_is_a_dot_and_their_mean_a_stroke():
    left, right = figures.plot_seeds(SEEDS, "right answers").axes
    assert [axis.get_title() for axis in (left, right)] == ["judged on GAN", "judged on MeGlass"]
    dots, stroke = left.lines[:2]
    np.testing.assert_allclose(dots.get_xdata(), [0.8, 0.81, 0.82])
    np.testing.assert_allclose(stroke.get_xdata(), [0.81, 0.81])
    assert len({to_hex(line.get_color()) for line in left.lines}) == 1


def test_the_shares_of_seeds_are_written_short_and_apart():
    figure = figures.plot_seeds(SEEDS.assign(value=np.linspace(0.7, 0.93, len(SEEDS))), "accuracy")
    FigureCanvasAgg(figure).draw()
    texts = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(texts) <= 5
    assert {"70 %", "80 %", "90 %"} <= set(texts)


def test_a_share_has_no_more_digits_than_it_needs():
    figure = figures.plot_groups(GROUPS, "right answers (faces)")
    form = figure.axes[0].xaxis.get_major_formatter()
    assert [form(share) for share in (0.7, 0.995, 1.0, 0.0, -1e-17)] == ["70 %", "99.5 %", "100 %", "0 %", "0 %"]


def test_guessing_stands_above_its_line():
    figure = figures.plot_loss([1.0, 0.5], chance=0.8)
    FigureCanvasAgg(figure).draw()
    (axis,) = figure.axes
    (word,) = axis.texts
    assert word.get_window_extent().y0 > axis.transData.transform((1, 0.8))[1] + 2


def test_groups_say_how_many_faces_and_intervals_reach_their_bounds():
    axis = figures.plot_groups(GROUPS, "right answers (faces)").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["hat (50)", "none (20)"]
    (bars,) = axis.containers
    ends = np.array([segment[:, 0] for segment in bars.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, GROUPS[["low", "high"]])


def test_a_grid_has_its_pictures_captions_and_frames_in_place():
    pictures = [np.full((60, 40, 3), value, np.uint8) for value in (10, 20)]
    rows = {"haar": pictures, "slim": pictures[::-1]}
    captions, frames = {"haar": ["a", "b"], "slim": ["c", "d"]}, {"haar": ["red", "blue"], "slim": ["lime", "black"]}
    figure = figures.show_grid(rows, ["one", "two"], captions, frames)
    FigureCanvasAgg(figure).draw()
    assert [axis.get_xlabel() for axis in figure.axes] == ["a", "b", "c", "d"]
    assert [int(axis.images[0].get_array().max()) for axis in figure.axes] == [10, 20, 20, 10]
    assert [to_hex(axis.spines["top"].get_edgecolor()) for axis in figure.axes[:2]] == [to_hex("red"), to_hex("blue")]
    assert [axis.get_title() for axis in figure.axes] == ["one", "two", "", ""]
    box = figure.axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(40 / 60, rel=0.03)


def test_a_band_is_drawn_where_the_bounds_are_there():
    bounds = TABLE.assign(**{"net low": [0.9, 0.7], "net high": [1.0, 0.9]})
    assert not evaluation_figures.plot_robustness(TABLE, ["net"]).axes[0].collections
    (band,) = evaluation_figures.plot_robustness(bounds, ["net"]).axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.7, 1.0)


def test_distributions_of_every_source_are_drawn():
    sizes, *others = figures.plot_distributions(FACES).axes
    assert sum(len(line.get_xdata()) > 0 for line in sizes.lines) == 12
    assert [len(axis.patches) for axis in others] == [12, 12, 12]
    outlines = {(to_hex(step.get_edgecolor()), step.get_linestyle()) for step in others[0].patches}
    assert len(outlines) == 12


def test_people_with_very_many_pictures_are_shown():
    table = FACES["lfw"][:1].loc[[FACES["lfw"].index[0]] * 50].assign(identity="one")
    (outline,) = figures.plot_distributions({"lfw": table}).axes[3].patches
    assert outline.get_xy()[:, 1].max() == 1


def test_counts_are_all_written():
    axis = figures.plot_counts(FACES).axes[0]
    axis.figure.draw_without_rendering()
    assert all(text.get_window_extent().x1 <= axis.get_window_extent().x1 for text in axis.texts)
    numbers = sorted(int(n) for text in axis.texts for n in text.get_text().split(" + "))
    counts = [table["kind"].value_counts() for table in FACES.values()]
    assert numbers == sorted(int(count) for of_source in counts for count in of_source)


def test_pictures_of_nobody_are_counted_too():
    figure = figures.plot_counts({"nobody": pd.DataFrame({"kind": ["nobody"] * 7}), "b": FACES[next(iter(FACES))]})
    assert figure.axes[0].texts[0].get_text() == "7"
    assert "not a face" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_source_that_came_later_has_its_curve():
    history = [*HISTORY, HISTORY[0] | {"epoch": 2, "later_accuracy": 0.8}]
    lines = {line.get_label(): line.get_ydata() for line in figures.plot_curves(history).axes[1].lines}
    assert list(lines["later"]) == pytest.approx([np.nan, 0.8], nan_ok=True)


def test_every_batch_size_has_its_bars():
    three = pd.concat([LATENCY, LATENCY[LATENCY["batch"] == 1].assign(batch=8)])
    assert [axis.get_title() for axis in figures.plot_latency(three).axes] == [
        "one face a call",
        "8 faces a call",
        "64 faces a call",
    ]


def test_figures_show_the_numbers():
    figure = figures.plot_bars({"a": 1.5, "b": 3.0}, "x", form="{:.1f}")
    assert [patch.get_width() for patch in figure.axes[0].patches] == [1.5, 3.0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.5", "3.0"]
    accuracy, precision, recall, _ = evaluation_figures.plot_thresholds(TRUTH, P, 0.5).axes[0].lines
    at = np.argmin(np.abs(accuracy.get_xdata() - 0.5))
    assert accuracy.get_ydata()[at] == pytest.approx(3 / 5)
    assert (precision.get_ydata()[at], recall.get_ydata()[at]) == pytest.approx((2 / 3, 2 / 3))


def test_the_front_joins_the_networks_that_none_beats():
    by_bytes, by_time = figures.plot_pareto(ACCURACY, LATENCY).axes
    (front,) = (line for line in by_bytes.lines if line.get_drawstyle() == "steps-post")
    assert list(front.get_xdata()) == [90, 95, 10_000]
    assert list(front.get_ydata()) == pytest.approx([0.004, 0.003, 0.002])
    (front,) = (line for line in by_time.lines if line.get_drawstyle() == "steps-post")
    assert list(front.get_xdata()) == [0.2, 2.0], "the one that was never timed is left out"


def test_a_missed_face_keeps_the_error_curve_below_one():
    (axis,) = figures.plot_error_curve({"net": np.array([0.05, np.nan, 0.01, 0.03])}).axes
    (line,) = axis.lines
    assert list(line.get_xdata()) == pytest.approx([1, 3, 5])
    assert list(line.get_ydata()) == pytest.approx([1 / 4, 2 / 4, 3 / 4])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["net: mean 3.00 %"]


def test_key_point_curves_show_loss_and_error():
    history = [{"epoch": 1, "train_loss": 0.5, "error": 0.08}, {"epoch": 2, "train_loss": 0.4, "error": 0.05}]
    left, right = figures.plot_keypoint_curves(history, label="wing loss (eye distances)").axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("wing loss (eye distances)", "error, % of the eye distance")
    for axis, values in ((left, [0.5, 0.4]), (right, [8, 5])):
        (line,) = axis.lines
        assert list(line.get_xdata()) == [1, 2]
        assert list(line.get_ydata()) == pytest.approx(values)


def test_finder_curves_show_loss_recall_and_error():
    history = [
        {"epoch": 1, "train_loss": 2.0, "recall": 0.25, "error": 0.5},
        {"epoch": 2, "train_loss": 1.5, "recall": 0.75, "error": np.nan},
    ]
    figure = figures.plot_finder_curves(history, 0.1)
    lines = [line for axis in figure.axes for line in axis.get_lines()]
    assert [line.get_xdata().tolist() for line in lines] == [[1, 2]] * 3
    np.testing.assert_array_equal([line.get_ydata() for line in lines], [[2, 1.5], [25, 75], [50, np.nan]])
    assert figure.axes[1].get_ylabel() == "faces found, %, at 0.1 false a scene"
