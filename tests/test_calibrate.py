"""Temperature and threshold against cases worked out by hand and against a slow search in exact fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from calibrate import THRESHOLDS, Calibration, calibrate, fit_temperature, fit_threshold
from data_load import Label


def faces(*groups: tuple[int, float, Label]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of `groups`: (how many faces, their P(glasses), their label). All are surely faces."""
    worn = [p for count, p, _ in groups for _ in range(count)]
    labels = [int(label) for count, _, label in groups for _ in range(count)]
    logits = [[0.0, math.log(p / (1 - p)), -60.0, 60.0] for p in worn]
    return torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)


def fit(*sources) -> tuple[float, float, float]:
    return fit_threshold([z for z, _ in sources], [y for _, y in sources])


def slow_threshold(sources: list[list[tuple[float, bool]]]) -> tuple[float, float, float]:
    """The definition, face by face: sources of (P(glasses), wears some)."""
    scores = {}
    for hundredths in range(20, 81):
        threshold, rates = hundredths / 100, []
        for source in sources:
            right = sum(1 for p, worn in source if (p >= threshold) is worn)
            rates.append((Fraction(right, len(source)), len(source)))
        mean = sum(rate for rate, _ in rates) / len(rates)
        error = math.sqrt(sum(rate * (1 - rate) / count for rate, count in rates)) / len(rates)
        scores[threshold] = mean, error
    best = max(scores, key=lambda threshold: scores[threshold][0])  # the lowest of equal ones
    least = scores[best][0] - scores[best][1] - 1e-9
    good = [threshold for threshold, (mean, _) in scores.items() if mean >= least]
    nearest = min(round(abs(threshold - 0.5), 2) for threshold in good)
    chosen = [threshold for threshold in good if round(abs(threshold - 0.5), 2) == nearest]
    return max(chosen, key=lambda threshold: scores[threshold][0]), min(good), max(good)


@pytest.mark.parametrize("seed", range(40))
def test_threshold_is_that_of_a_slow_search(seed):
    rng, sources = np.random.default_rng(seed), []
    for _ in range(rng.integers(1, 4)):
        worn = rng.random(rng.integers(20, 120)) < 0.4
        score = np.where(worn, 1.2, -1.2) + rng.normal(rng.uniform(-1, 1.5), rng.uniform(0.3, 2), len(worn))
        sources.append(list(zip((1 / (1 + np.exp(-score))).tolist(), worn.tolist(), strict=True)))
    drawn = [faces(*((1, p, Label.EYEGLASSES if worn else Label.NONE) for p, worn in source)) for source in sources]
    assert fit(*drawn) == slow_threshold(sources)


def test_where_nothing_errs_the_nearest_to_one_half_of_the_gap_is_taken():
    right = faces((50, 0.605, Label.NONE), (50, 0.725, Label.UNKNOWN_KIND))
    assert fit(right) == (0.61, 0.61, 0.72)
    right = faces((50, 0.305, Label.NONE), (50, 0.405, Label.SUNGLASSES))
    assert fit(right) == (0.4, 0.31, 0.4)
    assert fit(faces((50, 0.1, Label.NONE), (50, 0.9, Label.EYEGLASSES))) == (0.5, 0.2, 0.8)


def test_the_search_reaches_both_ends_and_no_further():
    assert fit(faces((9, 0.795, Label.NONE), (9, 0.9, Label.EYEGLASSES))) == (0.8, 0.8, 0.8)
    assert fit(faces((9, 0.1, Label.NONE), (9, 0.205, Label.EYEGLASSES))) == (0.2, 0.2, 0.2)
    assert THRESHOLDS.tolist() == [i / 100 for i in range(20, 81)]


@pytest.mark.parametrize(("between", "expected"), [(3, (0.5, 0.2, 0.8)), (4, (0.61, 0.61, 0.8))])
def test_the_best_is_only_taken_where_it_is_better_by_a_standard_error(between, expected):
    """Of 400 faces 10 are wrong at any threshold: one standard error of 390 in 400 is 3.12 faces."""
    groups = (200 - between, 0.1, Label.NONE), (between, 0.605, Label.NONE)
    assert fit(faces(*groups, (190, 0.9, Label.EYEGLASSES), (10, 0.05, Label.EYEGLASSES))) == expected


def test_each_source_weighs_the_same():
    """0.56 is better by 4 of 4,000 faces of the large source, 0.5 by 10 of 40 of the small one."""
    large = faces((1996, 0.1, Label.NONE), (4, 0.555, Label.NONE), (2000, 0.9, Label.EYEGLASSES))
    small = faces((20, 0.1, Label.NONE), (10, 0.555, Label.EYEGLASSES), (10, 0.9, Label.EYEGLASSES))
    assert fit(large, small) == (0.5, 0.2, 0.55)
    assert fit(large)[0] == 0.56


def test_the_order_of_the_sources_decides_nothing():
    """23 of 600 faces are wrong up to 0.45, others from 0.55 on, and between them all 48: rates differ by rounding."""
    sources = [
        faces(
            *((100 - early, 0.1, Label.NONE), (early, 0.545, Label.NONE)),
            *((100 - late, 0.9, Label.EYEGLASSES), (late, 0.455, Label.EYEGLASSES)),
        )
        for early, late in ((7, 12), (12, 4), (4, 7))
    ]
    for order in itertools.permutations(sources):
        assert fit(*order) == (0.45, 0.2, 0.8)


def test_logits_as_large_again_double_the_temperature_and_leave_the_thresholds():
    rng = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4000, 4, generator=rng)
    labels = torch.multinomial(F.softmax(logits[:, :3], 1), 1, generator=rng)[:, 0]
    one, two = calibrate([logits], [labels]), calibrate([2 * logits], [labels])
    assert isinstance(one, Calibration)
    assert one.temperature == pytest.approx(1, abs=0.05), "the labels were drawn with these probabilities"
    assert two.temperature == pytest.approx(2 * one.temperature, abs=2e-4)
    assert two[1:] == one[1:] == fit_threshold([logits], [labels], fit_temperature([logits], [labels]))
    assert one.low <= one.threshold <= one.high
    assert fit_threshold([2 * logits], [labels])[1:] != one[1:], "the temperature counts"


def test_calibration_takes_the_threshold_of_the_faces():
    """All faces without glasses have P = 0.605 before the temperature: the next hundredth above is free of errors."""
    z, y = faces((50, 0.605, Label.NONE), (50, 0.725, Label.EYEGLASSES))
    found = calibrate([z], [y])
    highest = 1 / (1 + math.exp(-math.log(0.605 / 0.395) / found.temperature))
    assert 0.5 < found.threshold == found.low == math.ceil(100 * highest) / 100


def test_a_probability_at_the_threshold_is_glasses():
    z = torch.zeros(9, 4, dtype=torch.float64)
    z[:, 2] = -1e9  # P(glasses) is exactly 0.5
    y = torch.full((9,), int(Label.EYEGLASSES))
    assert fit_threshold([z], [y])[0] == 0.5


def test_the_logit_of_a_face_has_no_part_in_it():
    rng = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(500, 4, generator=rng)
    labels = torch.multinomial(F.softmax(logits[:, :3], 1), 1, generator=rng)[:, 0]
    other = torch.cat([logits[:, :3], 5 * torch.randn(500, 1, generator=rng)], dim=1)
    assert calibrate([other], [labels]) == calibrate([logits], [labels])


def test_what_is_no_face_is_left_out():
    """Beside faces, and as a source of its own, which would be a third of the mean."""
    rng = torch.Generator().manual_seed(2)
    first, second = (2 * torch.randn(count, 4, generator=rng) for count in (300, 200))
    labels = [torch.multinomial(F.softmax(z[:, :3], 1), 1, generator=rng)[:, 0] for z in (first, second)]
    nobody = 9 * torch.randn(400, 4, generator=rng)
    of_nobody = torch.full((400,), int(Label.NOBODY))
    mixed = torch.cat([nobody[:50], second]), torch.cat([of_nobody[:50], labels[1]])
    expected = calibrate([first, second], labels)
    assert calibrate([first, nobody, mixed[0]], [labels[0], of_nobody, mixed[1]]) == expected
    with pytest.raises(ValueError, match="no face"):
        calibrate([nobody], [of_nobody])


def test_the_temperature_is_that_of_a_slow_search():
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (500, 4))
    kinds = np.array([rng.choice(3, p=np.exp(row / 1.6) / np.exp(row / 1.6).sum()) for row in logits[:, :3]])

    def loss(temperature: float) -> float:
        divided = logits[:, :3] / temperature
        return (np.log(np.exp(divided).sum(1)) - divided[np.arange(500), kinds]).mean()

    best = min((0.25 * 16 ** (i / 120) for i in range(121)), key=loss)
    assert best == pytest.approx(1.6, rel=0.15)
    assert fit_temperature([torch.from_numpy(logits)], [torch.from_numpy(kinds)]) == pytest.approx(best)


def test_the_temperature_search_goes_from_a_quarter_to_four():
    z, y = faces((50, 0.999999, Label.NONE), (50, 0.999999, Label.EYEGLASSES))
    assert fit_temperature([100 * z], [y]) == pytest.approx(4), "too sure, half of it wrong"
    z, y = faces((50, 0.4, Label.NONE), (50, 0.6, Label.EYEGLASSES))
    assert fit_temperature([z], [y]) == pytest.approx(1 / 4), "never wrong, and unsure"


def test_logits_and_labels_of_other_sources_are_refused():
    z, y = faces((5, 0.9, Label.EYEGLASSES))
    for fit_one in (fit_temperature, fit_threshold):
        with pytest.raises(ValueError, match="zip"):
            fit_one([z, z], [y])
