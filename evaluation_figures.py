"""How is an evaluation drawn?  The figures of notebook 4: numbers in, a matplotlib Figure out, as in figures.py.

from evaluation_figures import plot_confusion
plot_confusion({"shipped": confusion_matrix(truth, found)})
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures import CYCLE, _figure, _grid_of, _legend, _line, _percent

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def plot_confusion(matrices: Mapping[str, np.ndarray], names: Sequence[str] = ("none", "glasses")) -> "Figure":
    """Confusion matrices side by side: rows are the truth, columns the answer; counts and shares of a row."""
    figure, axes = _grid_of(len(matrices), 3.3, 3.1)
    for axis, (title, matrix) in zip(axes[: len(matrices)], matrices.items(), strict=True):
        share = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if share[row, column] > 0.5 else "black"
            text = f"{int(count)}\n{100 * share[row, column]:.1f} %"
            axis.text(column, row, text, ha="center", va="center", color=colour)
        axis.set(title=title, xlabel="answer", ylabel="truth", xticks=range(len(names)), yticks=range(len(names)))
        axis.set_xticklabels(names)
        axis.set_yticklabels(names, rotation=90, va="center")
    return figure


def plot_roc_and_pr(networks: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """ROC and precision against recall. networks: name -> truth (N,) bool and P(glasses) (N,)."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    figure, (left, right) = _figure(9, 3.6, 1, 2)
    for number, (name, (truth, probability)) in enumerate(networks.items()):
        style = _line(number) | {"marker": ""}
        false, true, _ = roc_curve(truth, probability)
        precision, recall, _ = precision_recall_curve(truth, probability)
        area, mean = roc_auc_score(truth, probability), average_precision_score(truth, probability)
        left.plot(false, true, label=f"{name}: AUC {area:.4f}, AP {mean:.4f}", **style)
        right.plot(recall, precision, **style)
    left.plot([0, 1], [0, 1], linewidth=0.8, color="grey", label="guessing")
    left.set(xlabel="false alarms (share of faces without glasses)", ylabel="recall", title="ROC")
    right.set(
        xlabel="recall (share of faces with glasses)", ylabel="precision", title="precision and recall", ylim=(0, 1.02)
    )
    for axis in (left, right):
        axis.grid(alpha=0.3)
    _legend(figure, left, "lower")
    return figure


def plot_thresholds(truth: np.ndarray, probability: np.ndarray, chosen: float) -> "Figure":
    """Accuracy, precision and recall over the threshold of P(glasses)."""
    thresholds = np.linspace(0.01, 0.99, 99)
    found = probability[None] >= thresholds[:, None]  # (99, N)
    hits = (found & truth).sum(1)
    figure, (axis,) = _figure(7, 3)
    rates = {
        "accuracy": (found == truth).mean(1),
        "precision": hits / np.maximum(1, found.sum(1)),
        "recall": hits / max(1, truth.sum()),
    }
    for colour, (name, values) in zip(CYCLE[: len(rates)], rates.items(), strict=True):
        axis.plot(thresholds, values, color=colour, label=name)
    axis.axvline(chosen, color="black", linestyle="--", label=f"used: {chosen:g}")
    axis.set(xlabel="threshold of P(glasses)", ylabel="rate", xlim=(0, 1))
    _percent(axis)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower center", ncols=4, fontsize=8)
    return figure


def plot_robustness(table: "pd.DataFrame", networks: Sequence[str]) -> "Figure":
    """Accuracy against the strength of each damage. table: damage, level, and a column for each network.

    Where there are columns of the same name with " low" and " high", they are drawn as a band.
    """
    damages = list(dict.fromkeys(table["damage"]))
    figure, axes = _grid_of(len(damages), 3.5, 2.5, most=3, sharey=True)
    for axis, damage in zip(axes[: len(damages)], damages, strict=True):
        part = table[table["damage"] == damage]
        for number, name in enumerate(networks):
            levels, style = [f"{level:g}" for level in part["level"]], _line(number)
            axis.plot(levels, part[name], label=name, **style)
            if f"{name} low" in part:
                bounds = part[f"{name} low"], part[f"{name} high"]
                axis.fill_between(levels, *bounds, color=style["color"], alpha=0.15, linewidth=0)
        axis.set(xlabel=damage, ylim=(min(0.45, table[list(networks)].to_numpy().min() - 0.03), 1.02))
        axis.grid(alpha=0.3)
        _percent(axis)
    for axis in axes[::3]:
        axis.set_ylabel("accuracy")
    _legend(figure, axes[0])
    return figure


def plot_calibration(tables: "Mapping[str, pd.DataFrame]") -> "Figure":
    """Share of faces with glasses against the P(glasses) given, a dot a bin of equally many faces, with its interval.

    tables: by network, as of `evaluate.calibration_bins`: given, share, low, high, faces.
    """
    figure, axes = _grid_of(len(tables), 3.4, 3.5, sharey=True)
    for axis, (name, table) in zip(axes[: len(tables)], tables.items(), strict=True):
        axis.plot([0, 1], [0, 1], ":", color="grey")
        reach = [table["share"] - table["low"], table["high"] - table["share"]]
        axis.errorbar(table["given"], table["share"], np.maximum(reach, 0), fmt="o", color=CYCLE[0], elinewidth=1)
        title = f"{name}\n{table['faces'].sum()} faces, {table['faces'].min()} or more a dot"
        axis.set(xlabel="P(glasses) given", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal")
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3)
    for axis in axes[::4]:
        axis.set_ylabel("share with glasses")
    return figure


def plot_prices(tables: "Mapping[str, pd.DataFrame]", marked: Mapping[str, float]) -> "Figure":
    """What the errors of a hundred faces cost at each threshold; grey are the thresholds as good as the best.

    tables: by title, as of `evaluate.threshold_prices`: threshold, price, error, as_good. marked: by the same titles
    a threshold that is drawn as a line.
    """
    figure, axes = _grid_of(len(tables), 3.5, 2.9)
    for axis, (title, table) in zip(axes[: len(tables)], tables.items(), strict=True):
        good = table.loc[table["as_good"], "threshold"]
        axis.axvspan(good.min(), good.max(), color="grey", alpha=0.25, label="within one error of the best")
        axis.plot(table["threshold"], 100 * table["price"], color=CYCLE[0], label="price on these faces")
        axis.axvline(marked[title], color=CYCLE[1], linestyle="--", label="1 / (1 + ratio of the costs)")
        axis.set(xlabel="threshold of P(glasses)", xlim=(0, 1), ylim=(0, None))
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("price of 100 faces")
    _legend(figure, axes[0])
    return figure
