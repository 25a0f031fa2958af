"""How sure may a network be, and from where on is it glasses?  Temperature and threshold, from logits and labels.

from calibrate import calibrate
temperature, threshold, low, high = calibrate([logits], [labels])   # a tensor a source: (N, 4) and (N,)
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_load import Label
from losses import glasses_loss
from models import probabilities

THRESHOLDS = np.linspace(0.2, 0.8, 61).round(2)  # both ends belong to them


class Calibration(NamedTuple):
    """temperature: divides the logits. threshold: the P(glasses) from which on it is glasses, somewhere from `low`
    to `high`, the ends of the thresholds that these faces cannot tell from the best."""

    temperature: float
    threshold: float
    low: float
    high: float


def calibrate(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Calibration:
    """Temperature and threshold from the logits of faces that were not trained on; each source weighs the same.

    logits, labels: (N, 4) and (N,), a tensor a source. What is no face, `Label.NOBODY`, has no part in it.
    Raises ValueError where nothing else is there.
    """
    pairs = [(z[y != Label.NOBODY], y[y != Label.NOBODY]) for z, y in zip(logits, labels, strict=True)]
    if not any(len(y) for _, y in pairs):
        raise ValueError("there is no face to calibrate on: name a source of faces in --data")
    logits, labels = zip(*[(z, y) for z, y in pairs if len(y)], strict=True)
    temperature = fit_temperature(logits, labels)
    return Calibration(round(temperature, 4), *fit_threshold(logits, labels, temperature))


def fit_temperature(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> float:
    """The temperature of the least mean loss over the sources, from the logits (N, 4) and labels (N,) of each.

    Guo et al.: "On Calibration of Modern Neural Networks", ICML 2017.
    """

    def loss(temperature: float) -> float:
        divided = [torch.cat([z[:, :-1] / temperature, z[:, -1:]], dim=1) for z in logits]
        return np.mean([glasses_loss(z, y).item() for z, y in zip(divided, labels, strict=True)])

    return float(min(np.geomspace(0.25, 4, 121), key=loss))


def fit_threshold(
    logits: Sequence[Tensor], labels: Sequence[Tensor], temperature: float = 1.0
) -> tuple[float, float, float]:
    """The threshold of P(glasses), and the lowest and the highest that is as good as far as these faces can tell.

    As good: of `THRESHOLDS`, all whose accuracy, a mean over the sources, is within one standard error of the best.
    Of these the nearest to 0.5 is taken, since the best of few faces is best by luck (the "one standard error rule":
    Breiman et al., Classification and Regression Trees, 1984). The error is that of a mean of binomial rates.
    """
    rates, variance = np.zeros(len(THRESHOLDS)), np.zeros(len(THRESHOLDS))
    for z, y in zip(logits, labels, strict=True):
        worn = 1 - probabilities(z.double(), temperature)[:, 0].numpy()
        right = (worn[:, None] >= THRESHOLDS) == (y != Label.NONE).numpy()[:, None]  # (N, 61)
        rate = right.mean(0)  # (61,)
        rates += rate / len(logits)
        variance += rate * (1 - rate) / len(y) / len(logits) ** 2
    rates = rates.round(12)  # equal means are equal, in whatever order they were added
    best = rates.argmax()
    good = np.flatnonzero(rates >= rates[best] - np.sqrt(variance[best]) - 1e-9)
    chosen = min(good, key=lambda i: (round(abs(THRESHOLDS[i] - 0.5), 2), -rates[i]))
    return tuple(float(THRESHOLDS[i]) for i in (chosen, good[0], good[-1]))
