"""How sure may a network be, and from where on is it glasses?  Temperature and threshold, from logits and labels.

from calibrate import calibrate
temperature, threshold = calibrate([logits], [labels])   # a tensor a source: (N, 3) and (N,)
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from data_load import Label
from losses import glasses_loss


def calibrate(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[float, float]:
    """Temperature and threshold from validation logits, a tensor a source, each source weighing the same."""
    temperature = fit_temperature(logits, labels)
    return round(temperature, 4), fit_threshold(logits, labels, temperature)


def fit_temperature(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> float:
    """The temperature of the least mean loss over the sources, from the logits (N, 3) and labels (N,) of each.

    Guo et al.: "On Calibration of Modern Neural Networks", ICML 2017.
    """

    def loss(temperature: float) -> float:
        return np.mean([glasses_loss(z / temperature, y).item() for z, y in zip(logits, labels, strict=True)])

    return float(min(np.geomspace(0.25, 4, 121), key=loss))


def fit_threshold(logits: Sequence[Tensor], labels: Sequence[Tensor], temperature: float = 1.0) -> float:
    """The threshold of P(glasses) with the highest mean accuracy over the sources, of equal ones the nearest to 0.5."""
    probabilities = [1 - F.softmax(z / temperature, dim=1)[:, 0] for z in logits]
    truths = [y != Label.NONE for y in labels]

    def score(threshold: float) -> tuple[float, float]:
        pairs = zip(probabilities, truths, strict=True)
        accuracy = np.mean([((p >= threshold) == truth).float().mean().item() for p, truth in pairs])
        return round(float(accuracy), 6), -abs(threshold - 0.5)

    return float(max((round(t, 2) for t in np.arange(0.2, 0.81, 0.01)), key=score))
