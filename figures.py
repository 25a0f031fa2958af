"""How are faces and results drawn?  The figures of the notebooks: numbers in, a matplotlib Figure out.

    %matplotlib inline
    from figures import plot_curves
    plot_curves(history)

The same colour means the same class everywhere, and is told apart by colour-blind readers too (the palette of
Okabe and Ito, 2008). Importing this module does not import matplotlib.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from glasses.drawing import COLOURS, POINT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NAMES = {"none": "no glasses", "unknown_kind": "glasses, kind unknown", "nobody": "not a face"}
KINDS = {**COLOURS, "nobody": "#999999"}  # of all labels, not only of answers
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # for anything but classes
LINES, MARKS, HATCHES = ("-", "--", ":", "-."), "os^vD<>Pp*Xhd", ("", "////", "....", "xxxx", "||||")  # of each round
MANY = 30  # pictures of a person: more are shown as so many
RIGHT, WRONG = "#009E73", "#D55E00"  # frames around answers
ON_FACES = (POINT, "#D55E00", "#56B4E9")  # of points, each seen on light and on dark skin


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **options) -> "tuple[Figure, np.ndarray]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options).ravel()


def _line(number: int) -> dict[str, str]:
    """Colour, line and marker of the line `number`: after the last colour the first, with another line and marker."""
    turn, colour = divmod(number, len(CYCLE))
    return {"color": CYCLE[colour], "linestyle": LINES[turn % len(LINES)], "marker": MARKS[turn % len(MARKS)]}


def _bar(number: int) -> dict[str, str | float]:
    """Colour and hatching of the bars `number`: after the last colour the first, with another hatching."""
    turn, colour = divmod(number, len(CYCLE))
    return {"color": CYCLE[colour], "hatch": HATCHES[turn % len(HATCHES)], "edgecolor": "white", "linewidth": 0}


def _legend(figure: "Figure", axis, place: str = "upper") -> None:
    """The names of what `axis` shows above the figure, or under it ("lower"), in as many columns as fit."""
    handles, names = axis.get_legend_handles_labels()
    inches = 0.65 + 0.08 * max(map(len, names), default=0)  # of a name with its line, at 9 points
    columns = max(1, min(len(names), int(figure.get_figwidth() / inches)))
    rows = -(-len(names) // columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * (rows - 1))  # the axes keep their height
    if names:
        figure.legend(handles, names, loc=f"outside {place} center", ncols=columns, frameon=False, fontsize=9)


def _grid_of(count: int, side: float, height: float, most: int = 4, **options) -> "tuple[Figure, np.ndarray]":
    """A figure of so many axes, at most `most` beside each other; the axes left over in the last row show nothing."""
    columns = max(1, min(most, count))
    rows = max(1, -(-count // columns))
    figure, axes = _figure(side * columns, height * rows, rows, columns, **options)
    for axis in axes[count:]:
        axis.axis("off")
    return figure, axes


def _decades(axis, which: str = "x") -> None:
    """A logarithmic axis with ticks at 1, 2, 5, 10, ...; over many decades at 1, 10, 100, ..."""
    from matplotlib.ticker import LogLocator

    getattr(axis, f"set_{which}scale")("log")
    named = getattr(axis, f"{which}axis")
    low, high = named.get_view_interval()
    named.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    named.set_major_formatter("{x:g}")
    named.minorticks_off()


def _percent(axis, which: str = "y") -> None:
    """Ticks of shares as "70 %" and "99.5 %", with no more digits than each needs."""
    getattr(axis, f"{which}axis").set_major_formatter(lambda share, _: f"{round(100 * share, 2) + 0:g} %")


# ------------------------------------------------------------------------------------------------ faces


def show_images(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    columns: int = 8,
    frames: Sequence[str] | None = None,
    side: float = 1.25,
) -> "Figure":
    """A grid of pictures, (H, W, 3) uint8 or (H, W) grey, none of them stretched.

    titles: a line or two for each. frames: a colour for each. side: inches a picture is wide.
    """
    rows = max(1, -(-len(images) // columns))
    shape = np.max([np.asarray(image).shape[:2] for image in images], axis=0) if len(images) else (1, 1)
    lines = max((str(title).count("\n") + 1 for title in titles), default=0) if titles is not None else 0
    figure, axes = _figure(
        side * columns, (side * min(1.6, shape[0] / shape[1]) + 0.16 * lines + 0.04) * rows, rows, columns
    )
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for i, (axis, image) in enumerate(zip(axes, images, strict=False)):
        axis.imshow(image, cmap="gray")
        if titles is not None:
            axis.set_title(titles[i], fontsize=8, pad=2)
        if frames is not None and frames[i]:
            axis.spines[:].set(visible=True, color=frames[i], linewidth=2.5)
    return figure


def show_rows(rows: Mapping[str, Sequence[np.ndarray]], side: float = 1.2) -> "Figure":
    """A row of pictures for each name, the name at its left."""
    columns = max(len(images) for images in rows.values())
    height, width = np.asarray(next(iter(rows.values()))[0]).shape[:2]
    figure, axes = _figure(side * columns + 1.2, (side * height / width + 0.05) * len(rows), len(rows), columns)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for r, (name, images) in enumerate(rows.items()):
        axes[r * columns].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axis, image in zip(axes[r * columns :], images, strict=False):
            axis.imshow(image, cmap="gray")
    return figure


def show_points(
    images: Sequence[np.ndarray],
    points: Mapping[str, Sequence[np.ndarray]],
    titles: Sequence[str] | None = None,
    columns: int = 6,
    side: float = 1.7,
) -> "Figure":
    """A grid of pictures as `show_images` draws them, with (P, 2) points in pixels on each; none outside is shown.

    points: by name, as many as there are pictures; the names stand above where there are several, and each next
    one has smaller marks, which leave those below to be seen.
    """
    figure = show_images(images, titles, columns, side=side)
    for number, (name, of_images) in enumerate(points.items()):
        style = {"color": ON_FACES[number % len(ON_FACES)], "marker": MARKS[number % len(MARKS)]}
        style["s"] = 5 * side**2 / (1 + 1.5 * number)
        for axis, (x, y) in zip(figure.axes, (np.asarray(p).T for p in of_images), strict=False):
            axis.set_autoscale_on(False)
            axis.scatter(x, y, edgecolors="black", linewidths=0.4, label=name, **style)
    if len(points) > 1:
        figure.set_figheight(figure.get_figheight() + 0.3)
        _legend(figure, figure.axes[0])
    return figure


def show_parts(
    image: np.ndarray, points: np.ndarray, parts: Mapping[str, slice], numbered: Sequence[int] | None = None
) -> "Figure":
    """One large face, (H, W, 3) uint8, with its (P, 2) points in pixels; a colour a part.

    numbered: the points whose number is written beside them, away from the middle of their part; all without it.
    """
    figure, (axis,) = _figure(6.2, 6.5 * image.shape[0] / image.shape[1])
    axis.imshow(image, cmap="gray", interpolation="bicubic")
    axis.set(xticks=[], yticks=[])
    for number, (name, part) in enumerate(parts.items()):
        of_part, colour = points[part], CYCLE[number % len(CYCLE)]
        axis.scatter(*of_part.T, s=22, color=colour, edgecolors="white", linewidths=0.8, label=name)
        for index, point in zip(range(*part.indices(len(points))), of_part, strict=True):
            if numbered is None or index in numbered:
                away = point - of_part.mean(0)
                x, y = 11 * away / max(np.hypot(*away), 1e-6)
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
                style = {"ha": "center", "va": "center", "size": 8, "color": colour, "bbox": box}
                axis.annotate(index, point, (x, -y), textcoords="offset points", **style)
    _legend(figure, axis)
    return figure


# ------------------------------------------------------------------------------------------------- data


def plot_counts(tables: "Mapping[str, pd.DataFrame]") -> "Figure":
    """Faces of each kind in each source; tables as `data_load.describe_faces` makes them."""
    figure, (axis,) = _figure(8, 0.8 + 0.55 * len(tables))
    longest = reach = max((len(table) for table in tables.values()), default=1)
    for y, table in enumerate(tables.values()):
        counts = {kind: count for kind in KINDS if (count := int((table["kind"] == kind).sum()))}
        ends = np.cumsum(list(counts.values()))
        for end, (kind, count) in zip(ends, counts.items(), strict=True):
            axis.barh(y, count, left=end - count, color=KINDS[kind], height=0.7)
        if all(count / longest > 0.01 + 0.016 * len(str(count)) for count in counts.values()):
            for end, count in zip(ends, counts.values(), strict=True):
                axis.text(end - count / 2, y, count, ha="center", va="center")
        else:  # a part is too narrow for its number: all behind the bar, in their order
            text = " + ".join(map(str, counts.values()))
            axis.annotate(text, (ends[-1], y), xytext=(4, 0), textcoords="offset points", va="center")
            reach = max(reach, ends[-1] / (1 - 0.016 * len(text)))  # a letter takes so much of the axis
    axis.set_xlim(0, 1.03 * reach)
    shown = [kind for kind in KINDS if any((table["kind"] == kind).any() for table in tables.values())]
    from matplotlib.patches import Patch

    handles = [Patch(color=KINDS[kind], label=NAMES.get(kind, kind)) for kind in shown]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(shown), frameon=False)
    axis.set(yticks=range(len(tables)), yticklabels=list(tables), xlabel="faces")
    axis.invert_yaxis()
    return figure


def plot_distributions(tables: "Mapping[str, pd.DataFrame]") -> "Figure":
    """Size, brightness and contrast of the pictures, and pictures a person; tables of `data_load.describe_faces`."""
    figure, axes = _figure(11, 2.8, 1, 4)
    for number, (name, table) in enumerate(tables.items()):
        style = _line(number)
        sizes = table["width"].value_counts(normalize=True).sort_index()
        axes[0].plot(sizes.index, sizes, **style | {"linestyle": ""})
        axes[0].plot([], [], label=name, **style)  # for the legend: marker and line
        step = {"histtype": "step", "color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.8}
        for axis, column in zip(axes[1:3], ("brightness", "contrast"), strict=True):
            axis.hist(table[column], bins=30, density=True, **step)
        people = table.loc[table["identity"] != "", "identity"].value_counts().clip(upper=MANY)
        if len(people):
            axes[3].hist(people, bins=np.arange(0.5, people.max() + 1), **step)
    axes[0].set(xlabel="width (pixels)", ylabel="share of the pictures", ylim=(0, 1.1))
    axes[1].set(xlabel="brightness (mean grey level)", ylabel="density", yticks=[])
    axes[2].set(xlabel="contrast (std. dev., levels)", ylabel="density", yticks=[])
    axes[3].set(xlabel=f"pictures a person, at most {MANY}", ylabel="people")
    _legend(figure, axes[0])
    return figure


def plot_bars(
    values: Mapping[str, float],
    label: str,
    log: bool = False,
    errors: Sequence[float] | None = None,
    form: str = "{:.3g}",
) -> "Figure":
    """A horizontal bar a name, with its value. label: of the axis, with the unit."""
    figure, (axis,) = _figure(8, 0.7 + 0.33 * len(values))
    numbers = list(values.values())
    axis.barh(list(values), numbers, xerr=errors, color=CYCLE[0], height=0.65, capsize=3)
    axis.set(xlabel=label, xscale="log" if log else "linear")
    if log:
        axis.set_xlim(10 ** np.floor(np.log10(0.9 * min(numbers))), 3 * 10 ** np.ceil(np.log10(max(numbers))))
    else:
        axis.margins(x=0.13)
    for y, number in enumerate(numbers):
        reach = number + (errors[y] if errors is not None else 0)
        axis.annotate(form.format(number), (reach, y), xytext=(4, 0), textcoords="offset points", va="center")
    axis.invert_yaxis()
    return figure


# --------------------------------------------------------------------------------------------- training


def plot_curves(history: Sequence[Mapping[str, float]], epochs: int | None = None) -> "Figure":
    """Losses and accuracies of a `train.Trainer` over its epochs; epochs: how many there will be."""
    figure, (left, right) = _figure(9, 3, 1, 2)
    x = [row["epoch"] for row in history]
    for number, (key, label) in enumerate((("train_loss", "training, augmented"), ("loss", "validation"))):
        left.plot(x, [row[key] for row in history], markersize=3, label=label, **_line(number))
    left.set(xlabel="epoch", ylabel="loss (nats)", ylim=(0, None))
    keys = dict.fromkeys(key for row in history for key in row if key.endswith("_accuracy"))
    for number, key in enumerate(keys, 2):  # 0 and 1 are the losses
        values = [row.get(key, np.nan) for row in history]
        right.plot(x, values, markersize=3, label=key.removesuffix("_accuracy"), **_line(number))
    right.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0.45, 1.01))
    _percent(right)
    for axis in (left, right):
        axis.set_xlim(0.5, (epochs or max(x, default=1)) + 0.5)
        axis.grid(alpha=0.3)
    if history:
        left.legend(loc="upper right", fontsize=8)
        _legend(figure, right, "lower")
    return figure


def plot_keypoint_curves(
    history: Sequence[Mapping[str, float]], epochs: int | None = None, label: str = "loss"
) -> "Figure":
    """Loss and error of a `train_keypoints.KeypointTrainer` over its epochs; epochs: as many as there will be.

    label: of the loss, with its unit.
    """
    figure, (left, right) = _figure(9, 3, 1, 2)
    x = [row["epoch"] for row in history]
    left.plot(x, [row["train_loss"] for row in history], markersize=3, **_line(0))
    left.set(xlabel="epoch", ylabel=label, ylim=(0, None))
    left.set_title("training, augmented", fontsize=9)
    right.plot(x, [100 * row["error"] for row in history], markersize=3, **_line(1))
    right.set(xlabel="epoch", ylabel="error, % of the eye distance", ylim=(0, None))
    right.set_title("validation", fontsize=9)
    for axis in (left, right):
        axis.set_xlim(0.5, (epochs or max(x, default=1)) + 0.5)
        axis.grid(alpha=0.3)
    return figure


def plot_finder_curves(history: Sequence[Mapping[str, float]], false_faces: float) -> "Figure":
    """Loss, recall and error of a `train_finder.FinderTrainer` over its epochs; false_faces: a scene, of the recall."""
    figure, axes = _figure(12, 3, 1, 3)
    x = [row["epoch"] for row in history]
    curves = (
        ("train_loss", 1, "loss, training", None),
        ("recall", 100, f"faces found, %, at {false_faces} false a scene", 100),
        ("error", 100, "error of landmarks, % of the face's side", None),
    )
    for number, (axis, (name, factor, label, top)) in enumerate(zip(axes, curves, strict=True)):
        axis.plot(x, [factor * row[name] for row in history], markersize=3, **_line(number))
        axis.set(xlabel="epoch", ylabel=label, xlim=(0.5, max(x, default=1) + 0.5), ylim=(0, top))
        axis.grid(alpha=0.3)
    return figure


def plot_error_curve(errors: Mapping[str, np.ndarray], largest: float = 0.12) -> "Figure":
    """The share of faces whose key points are at most so far off; (N,) errors by name, NaN where a face was missed."""
    figure, (axis,) = _figure(6, 3.2)
    for number, (name, values) in enumerate(errors.items()):
        found = np.sort(values[~np.isnan(values)])
        share = np.arange(1, len(found) + 1) / len(values)
        label = f"{name}: mean {100 * found.mean():.2f} %" if len(found) else f"{name}: no face found"
        axis.plot(100 * found, share, **(_line(number) | {"marker": ""}), label=label)
    axis.set(
        xlabel="error, % of the eye distance", ylabel="share of the faces", xlim=(0, 100 * largest), ylim=(0, 1.01)
    )
    _percent(axis)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=8)
    return figure


def plot_loss(losses: Sequence[float], chance: float | None = None, label: str = "loss (nats)") -> "Figure":
    """The loss of each step; chance: the loss of a guess, drawn as a line. label: of the loss, with its unit."""
    figure, (axis,) = _figure(6, 2.6)
    axis.plot(range(1, len(losses) + 1), losses, color=CYCLE[0])
    if chance is not None:
        axis.axhline(chance, color="grey", linestyle=":")
        style = {"xytext": (0, 3), "textcoords": "offset points", "ha": "right", "va": "bottom", "color": "grey"}
        axis.annotate("guessing", (len(losses), chance), **style)
    axis.set(xlabel="step", ylabel=label, ylim=(0, 1.15 * max([*losses, chance or 0])))
    axis.grid(alpha=0.3)
    return figure


def plot_rates(rates: Sequence[float], losses: Sequence[float], chosen: float) -> "Figure":
    """The learning-rate range test of `train.lr_range_test`, and the rate that is used."""
    figure, (axis,) = _figure(6, 2.6)
    axis.plot(rates, losses, color=CYCLE[0], alpha=0.35)
    smooth = np.convolve(np.pad(losses, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    axis.plot(rates, smooth, color=CYCLE[0], label="mean of 5 steps")
    axis.axvline(chosen, color=CYCLE[1], linestyle="--", label=f"used: {chosen:g}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss (nats)", ylim=(0, 3 * np.median(losses)))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


# ------------------------------------------------------------------------------------------- evaluation


def plot_reliability(
    networks: Mapping[str, tuple[np.ndarray, np.ndarray]],
    given: str = "P(glasses) given",
    share: str = "share with glasses",
    bins: int = 10,
) -> "Figure":
    """The share of faces with glasses against the P(glasses) given to them; the area of a dot is its faces."""
    figure, axes = _grid_of(len(networks), 3.4, 3.4, sharey=True)
    for axis, (name, (truth, probability)) in zip(axes[: len(networks)], networks.items(), strict=True):
        index = np.minimum((probability * bins).astype(int), bins - 1)
        bins_of_faces = [index == b for b in np.unique(index)]
        x, y = (np.array([values[face].mean() for face in bins_of_faces]) for values in (probability, truth))
        count = np.array([face.sum() for face in bins_of_faces])
        axis.plot([0, 1], [0, 1], ":", color="grey")
        axis.plot(x, y, color=CYCLE[0], alpha=0.5)
        axis.scatter(x, y, s=12 + 350 * count / count.sum(), color=CYCLE[0], alpha=0.8)
        axis.set(title=name, xlabel=given, xlim=(-0.08, 1.08), ylim=(-0.08, 1.08), aspect="equal")
        axis.grid(alpha=0.3)
    for axis in axes[::4]:
        axis.set_ylabel(share)
    return figure


def plot_times(table: "pd.DataFrame", group: str) -> "Figure":
    """Milliseconds a face over the batch size, a line for each value of the column `group`, 5th to 95th percentile.

    table: `group`, batch, and the seconds a call median, p5 and p95.
    """
    figure, (axis,) = _figure(7, 3.2)
    for number, (name, part) in enumerate(table.groupby(group, sort=False)):
        face, style = 1000 / part["batch"], _line(number)
        axis.plot(part["batch"], part["median"] * face, label=str(name), **style)
        low, high = part["p5"] * face, part["p95"] * face
        axis.fill_between(part["batch"], low, high, color=style["color"], alpha=0.2, linewidth=0)
    axis.set(xscale="log", xlabel="faces a call (batch size)", ylabel="time a face (ms)")
    _decades(axis, "y")
    axis.set_xticks(
        sorted(table["batch"].unique()), [str(size) for size in sorted(table["batch"].unique())], minor=False
    )
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    _legend(figure, axis)
    return figure


def plot_stages(table: "pd.DataFrame") -> "Figure":
    """Stacked milliseconds of each stage; table: a row a detector, a column a stage, in seconds."""
    figure, (axis,) = _figure(8, 0.9 + 0.45 * len(table))
    left = np.zeros(len(table))
    for number, stage in enumerate(table.columns):
        values = 1000 * table[stage].to_numpy()
        axis.barh(list(table.index), values, left=left, label=stage, height=0.65, **_bar(number))
        left += values
    for y, total in enumerate(left):
        axis.annotate(f"{total:.1f}", (total, y), xytext=(4, 0), textcoords="offset points", va="center")
    axis.set(xlabel="time a photo (ms, median)")
    axis.margins(x=0.1)
    axis.invert_yaxis()
    _legend(figure, axis)
    return figure


def plot_latency(table: "pd.DataFrame") -> "Figure":
    """Milliseconds a face of each network, a bar a runtime, alone and in a large batch; on one thread of the CPU.

    table: of `benchmarks/latency.py`, with network, runtime, device, threads, batch, median_ms and p95_ms.
    """
    part = table[(table["device"] == "cpu") & (table["threads"] == 1)]
    networks, runtimes = (list(dict.fromkeys(part[column])) for column in ("network", "runtime"))
    batches = part["batch"].nunique()
    figure, axes = _figure(5.25 * batches, 1 + max(0.5, 0.12 * len(runtimes)) * len(networks), 1, batches, sharey=True)
    height = 0.8 / len(runtimes)
    for axis, (batch, rows) in zip(axes, part.groupby("batch"), strict=True):
        for number, runtime in enumerate(runtimes):
            of_runtime = rows[rows["runtime"] == runtime].set_index("network").reindex(networks)  # not timed: no bar
            median, p95 = of_runtime["median_ms"] / batch, of_runtime["p95_ms"] / batch
            y = np.arange(len(networks)) + (number - (len(runtimes) - 1) / 2) * height
            error = {"xerr": [0 * p95, (p95 - median).clip(lower=0)], "error_kw": {"linewidth": 1}}
            axis.barh(y, median, height, label=runtime, **error, **_bar(number))
        axis.set(xlabel="time a face (ms, median and 95th percentile)")
        _decades(axis)
        axis.set_title("one face a call" if batch == 1 else f"{batch} faces a call")
        axis.grid(alpha=0.3, axis="x")
        axis.set_yticks(range(len(networks)), networks)
    axes[0].invert_yaxis()
    _legend(figure, axes[0])
    return figure


def plot_pareto(accuracy: "pd.DataFrame", latency: "pd.DataFrame") -> "Figure":
    """Errors of each network against its bytes, and against its milliseconds; a line joins those that none beats.

    accuracy: of `benchmarks/accuracy.py`: network, shape, arithmetic, bytes, accuracy, low, high. latency: of
    `benchmarks/latency.py`; the time of one face by ONNX Runtime on one thread is taken.
    """
    times = latency[(latency["batch"] == 1) & (latency["threads"] == 1) & latency["runtime"].str.startswith("ONNX")]
    times = {(row.network, row.runtime.endswith("INT8")): row.median_ms for row in times.itertuples()}
    table = accuracy.assign(
        ms=[times.get((row.shape, row.arithmetic == "int8"), np.nan) for row in accuracy.itertuples()],
        error=1 - accuracy["accuracy"],
    )
    figure, axes = _figure(10.5, 4.6, 1, 2, sharey=True)
    for axis, column, label in zip(
        axes, ("bytes", "ms"), ("size of the weights (KB)", "time a face (ms)"), strict=True
    ):
        scale = 1000 if column == "bytes" else 1
        for number, row in enumerate(table.itertuples()):
            x = getattr(row, column) / scale
            bars = [[max(0, row.error - (1 - row.high))], [max(0, (1 - row.low) - row.error)]]
            colour, mark = CYCLE[number % len(CYCLE)], MARKS[number % len(MARKS)]
            axis.errorbar(x, row.error, bars, fmt=mark, color=colour, elinewidth=0.8, alpha=0.9, label=row.network)
        ordered = table.dropna(subset=[column]).sort_values([column, "error"])
        front = ordered[ordered["error"] < ordered["error"].cummin().shift(fill_value=np.inf)]
        axis.step(front[column] / scale, front["error"], where="post", color="grey", linewidth=1, zorder=0)
        axis.set(xlabel=label)
        _decades(axis)
        axis.grid(alpha=0.3)
        _percent(axis)
    axes[0].set_ylabel("wrong answers, all faces")
    _legend(figure, axes[0], "lower")
    return figure


def plot_groups(table: "pd.DataFrame", label: str, overall: float | None = None) -> "Figure":
    """A rate of each group with its interval and the number of its faces; a line where all faces together are.

    table: a row a group, its name the index, with rate, low, high and faces.
    """
    figure, (axis,) = _figure(8, 0.9 + 0.24 * len(table))
    reach = np.maximum([table["rate"] - table["low"], table["high"] - table["rate"]], 0)
    axis.errorbar(table["rate"], range(len(table)), xerr=reach, fmt="o", color=CYCLE[0], elinewidth=1.2, capsize=2)
    if overall is not None:
        axis.axvline(overall, color="grey", linestyle=":")
    axis.set(xlabel=label, ylim=(len(table) - 0.4, -0.6))
    axis.set_yticks(range(len(table)), [f"{name} ({n})" for name, n in zip(table.index, table["faces"], strict=True)])
    _percent(axis, "x")
    axis.grid(alpha=0.3, axis="x")
    return figure


def plot_seeds(table: "pd.DataFrame", label: str) -> "Figure":
    """The results of several seeds: a dot each, and their mean as a stroke.

    table: a row a training, with what (a line of the picture), where (a panel of it) and value, a rate.
    """
    whats, wheres = (list(dict.fromkeys(table[column])) for column in ("what", "where"))
    figure, axes = _figure(1.2 + 3.3 * len(wheres), 0.9 + 0.36 * len(whats), 1, len(wheres), sharey=True, sharex=True)
    for axis, where in zip(axes, wheres, strict=True):
        for y, what in enumerate(whats):
            values = table.loc[(table["what"] == what) & (table["where"] == where), "value"]
            axis.plot(values, [y] * len(values), "o", color=CYCLE[0], alpha=0.6, markersize=5)
            axis.plot([values.mean()] * 2, [y - 0.3, y + 0.3], color=CYCLE[0], linewidth=2)
        axis.set(xlabel=label, ylim=(len(whats) - 0.5, -0.5))
        axis.set_title(where, fontsize=9)
        axis.set_yticks(range(len(whats)), whats)
        _percent(axis, "x")
        axis.locator_params(axis="x", nbins=4)
        axis.grid(alpha=0.3, axis="x")
    return figure


def show_grid(
    rows: Mapping[str, Sequence[np.ndarray]],
    columns: Sequence[str],
    captions: Mapping[str, Sequence[str]],
    frames: Mapping[str, Sequence[str]],
    side: float = 1.3,
) -> "Figure":
    """A row of pictures for each name, under the names of the columns; none is stretched.

    captions, frames: by the same names, the words under each picture and the colour of its frame.
    """
    tallest = max(len(image) / image.shape[1] for images in rows.values() for image in images)
    size = side * len(columns) + 0.9, (side * min(1.3, tallest) + 0.2) * len(rows) + 0.3
    figure, axes = _figure(*size, len(rows), len(columns))
    for r, (name, images) in enumerate(rows.items()):
        of_row = axes[r * len(columns) :][: len(columns)]
        of_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
        for c, (axis, image) in enumerate(zip(of_row, images, strict=True)):
            axis.imshow(image)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(color=frames[name][c], linewidth=2.5)
            axis.set_xlabel(captions[name][c], fontsize=9, labelpad=2)
            if r == 0:
                axis.set_title(columns[c], fontsize=9, pad=4)
    return figure
