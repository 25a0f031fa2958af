"""How is recognition drawn?  Numbers in, a matplotlib Figure out, as in figures.py.

from recognition.figures import plot_cosines, plot_distillation, plot_shares, plot_verification
plot_verification({"student": (cosines, same)})
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from figures import _bar, _figure, _legend, _line
from recognition.measure import equal_error_rate, roc

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def plot_distillation(history: Sequence[Mapping[str, float]]) -> "Figure":
    """Loss and cosine to the teacher of a `DistillTrainer` over its epochs."""
    figure, (left, right) = _figure(9, 3, 1, 2)
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["train_loss"] for row in history], markersize=3, **_line(0))
    left.set(xlabel="epoch", ylabel="loss, training", ylim=(0, None))
    right.plot(epochs, [1 - row["loss"] for row in history], markersize=3, **_line(1))
    right.set(xlabel="epoch", ylabel="cosine to the teacher, validation")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def plot_verification(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """ROC curves. pairs: name -> cosine of each pair (N,), and whether it is of the same person (N,) bool.

    The share of false accepts is on a logarithmic axis: there is where thresholds lie.
    """
    figure, (axis,) = _figure(6, 3.6)
    for number, (name, (cosines, same)) in enumerate(pairs.items()):
        false, true = roc(cosines, same)
        label = f"{name}: equal error rate {100 * equal_error_rate(cosines, same):.2f} %"
        axis.step(false, true, where="post", label=label, **(_line(number) | {"marker": ""}))
    least = min(1 / max(1, (~same).sum()) for _, same in pairs.values())
    axis.set(xscale="log", xlim=(least, 1), ylim=(None, 1.005))
    axis.set(xlabel="pairs of two people taken for one (share)", ylabel="pairs of one person recognized (share)")
    axis.grid(alpha=0.3)
    _legend(figure, axis, "lower")
    return figure


def plot_cosines(cosines: np.ndarray, same: np.ndarray, threshold: float) -> "Figure":
    """How alike are pairs of one person, and of two people?  A histogram of each, and where the threshold lies.

    cosines: (N,). same: (N,) bool. Each histogram is the share of its own pairs.
    """
    figure, (axis,) = _figure(6, 3)
    bins = np.linspace(min(-0.4, cosines.min()), 1, 41)
    for number, (name, chosen) in enumerate((("one person", same), ("two people", ~same))):
        weights = np.full(chosen.sum(), 1 / max(1, chosen.sum()))
        axis.hist(cosines[chosen], bins, weights=weights, alpha=0.6, label=f"{name} ({chosen.sum():,})", **_bar(number))
    axis.axvline(threshold, color="black", linestyle="--", label=f"the tool's threshold, {threshold:.2f}")
    axis.set(xlabel="cosine of the two faces' vectors", ylabel="share of the pairs")
    _legend(figure, axis)
    return figure


def plot_shares(rows: "pd.DataFrame") -> "Figure":
    """What a student has of more faces: `benchmarks/recognition_faces.py`.

    rows: faces, cosine_train and cosine_select, lfw_accuracy and lfw_deviation of ten folds, a row a student.
    """
    figure, (left, right) = _figure(9, 3, 1, 2)
    for number, (column, of) in enumerate((("cosine_train", "trained on"), ("cosine_select", "of other people"))):
        left.plot(rows["faces"], rows[column], label=of, **_line(number))
    left.set(xlabel="faces trained on", ylabel="cosine to the teacher")
    left.legend(frameon=False, fontsize=9)
    accuracy, error = 100 * rows["lfw_accuracy"], 100 * rows["lfw_deviation"] / 10**0.5
    right.errorbar(rows["faces"], accuracy, yerr=error, capsize=3, **_line(2))
    right.set(xlabel="faces trained on", ylabel="LFW, % (standard error)")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.set(xlim=(0, None), xticks=rows["faces"], xticklabels=[f"{faces:,}" for faces in rows["faces"]])
    return figure
