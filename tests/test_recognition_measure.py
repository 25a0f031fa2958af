"""Are the measures right?  Each beside a slow one, or a case by hand; a face that was not found is always wrong."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from conftest import ROOT
from data_load import position
from find_data import DataError
from recognition.datasets import open_people
from recognition.measure import (
    FALSE_ACCEPTS,
    KINDS,
    Pairs,
    best_threshold,
    class_accuracy,
    equal_error_rate,
    fold_accuracies,
    glasses_pairs,
    held_out,
    impostor_cosines,
    is_right,
    match_accuracy,
    measure_glasses,
    measure_lfw,
    pair_cosines,
    resampled_accuracies,
    roc,
    threshold_at,
)
from test_recognition_data import FACES, write_lfw


def some_vectors(count: int, size: int = 6, seed: int = 0, missing: tuple[int, ...] = ()) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[list(missing)] = np.nan
    return vectors


def some_pairs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cosines that tell a little, some of them equal, and their truth."""
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.5
    return (0.3 * same + 0.3 * random.normal(size=count)).clip(-1, 1).round(2), same


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True))


# --------------------------------------------------------------------------------------------------- verification


def test_cosines_of_pairs_and_of_those_without_a_face():
    vectors = some_vectors(5, missing=(4,))
    pairs = Pairs.of([(0, 1, True), (2, 3, False), (0, 4, True), (4, 1, False)])
    cosines = pair_cosines(vectors, pairs)
    assert cosines[:2] == pytest.approx([cosine(vectors[0], vectors[1]), cosine(vectors[2], vectors[3])])
    for threshold in (-1.0, 0.0, 1.0):
        assert not is_right(cosines, pairs.same, threshold)[2:].any(), "wrong at every threshold"


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_best_of_all(seed):
    cosines, same = some_pairs(60, seed)
    threshold = best_threshold(cosines, same)
    levels = [-2, *sorted(set(cosines)), 2]
    rates = {}
    for low, high in pairwise(levels):
        middle = (low + high) / 2
        rates[middle] = sum((c >= middle) == s for c, s in zip(cosines, same, strict=True))
    best = max(rates.values())
    assert threshold == pytest.approx(min(middle for middle, rate in rates.items() if rate == best))


def test_thresholds_where_everything_is_one_thing():
    cosines = np.array([0.2, 0.4])
    assert best_threshold(cosines, np.array([True, True])) < 0.2
    assert best_threshold(cosines, np.array([False, False])) > 0.4
    assert best_threshold(np.array([0.2, 0.4, 2.0]), np.array([False, False, False])) < 2.0, "not found stays wrong"


def test_ten_folds_by_a_slow_loop():
    cosines, same = some_pairs(200)
    fold = np.random.default_rng(1).integers(10, size=200)
    expected = []
    for number in range(10):
        others = [(c, s) for c, s, f in zip(cosines, same, fold, strict=True) if f != number]
        held = [(c, s) for c, s, f in zip(cosines, same, fold, strict=True) if f == number]
        levels = [-2, *sorted({c for c, _ in others}), 2]
        best, threshold = -1, 0.0
        for low, high in pairwise(levels):
            hits = sum((c >= (low + high) / 2) == s for c, s in others)
            if hits > best:
                best, threshold = hits, (low + high) / 2
        expected.append(sum((c >= threshold) == s for c, s in held) / len(held))
    assert fold_accuracies(cosines, same, fold) == pytest.approx(expected)


def test_the_threshold_of_a_fold_does_not_know_the_fold():
    """All pairs of fold 0 lie the other way round: it is answered wrongly, and not by a threshold of its own."""
    cosines = np.array([0.9, 0.1] * 10)
    same = np.array([True, False] * 10)
    fold = np.repeat(np.arange(10), 2)
    same[:2] = [False, True]
    assert fold_accuracies(cosines, same, fold).tolist() == [0.0] + [1.0] * 9


def test_roc_and_equal_error_rate_by_a_slow_loop():
    cosines, same = some_pairs(150, 3)
    false, true = roc(cosines, same)
    points = [(0.0, 0.0)]
    for threshold in sorted(set(cosines), reverse=True):
        taken = cosines >= threshold
        points.append(((taken & ~same).sum() / (~same).sum(), (taken & same).sum() / same.sum()))
    assert np.column_stack([false, true]) == pytest.approx(np.array(points))
    for (f0, t0), (f1, t1) in pairwise(points):
        if f0 < 1 - t0 and f1 >= 1 - t1:  # on the line between them f = 1 - t, found by halving
            low, high = 0.0, 1.0
            for _ in range(60):
                share = (low + high) / 2
                low, high = (share, high) if f0 + share * (f1 - f0) < 1 - t0 - share * (t1 - t0) else (low, share)
            assert equal_error_rate(cosines, same) == pytest.approx(f0 + low * (f1 - f0))
            return
    pytest.fail("the curve does not cross")


def test_equal_error_rates_by_hand():
    same = np.array([True, True, False, False])
    assert equal_error_rate(np.array([0.9, 0.8, 0.2, 0.1]), same) == 0
    assert equal_error_rate(np.array([0.1, 0.2, 0.8, 0.9]), same) == 1
    assert equal_error_rate(np.array([0.9, 0.4, 0.5, 0.1]), same) == pytest.approx(0.5)


class Colours:
    """A network that sees how bright the quarters of a face are; of no use for anything but tests."""

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        assert (chips.shape[1:], chips.dtype) == ((112, 112, 3), np.uint8)
        quarters = chips.reshape(len(chips), 2, 56, 2, 56, 3).mean((2, 4)).reshape(len(chips), -1)
        vectors = (quarters - quarters.mean(1, keepdims=True)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_lfw_from_pictures_to_the_mean_of_the_folds(tmp_path):
    people = write_lfw(tmp_path / "lfw")
    for number, file in enumerate(sorted(people.rglob("*.jpg"))):
        file.write_bytes(FACES[number].read_bytes())
    (people / "lfw-deepfunneled" / "Zoe" / "Zoe_0001.jpg").write_bytes(b"torn")
    row, cosines, same = measure_lfw(Colours(), open_people(f"lfw={people}"), tmp_path / "cache")
    assert same.tolist() == [True, False, True, False]
    assert cosines[2] == -2, "of the torn picture"
    assert (np.abs(cosines[[0, 1, 3]]) <= 1).all()
    rates = fold_accuracies(cosines, same, np.array([0, 0, 1, 1]))
    assert row["accuracy"] == pytest.approx(rates.mean())
    assert row["deviation"] == pytest.approx(math.dist(rates, [rates.mean()] * 2))  # of two: sqrt of the sum of squares
    assert row["eer"] == pytest.approx(equal_error_rate(cosines, same))
    assert (row["pairs"], row["not_found"]) == (4, 1)


# -------------------------------------------------------------------------------------------- match, class, threshold


def test_match_accuracy_by_a_slow_loop():
    vectors = some_vectors(20, missing=(3, 11))
    triplets = np.array([np.random.default_rng(seed).permutation(20)[:3] for seed in range(80)])
    right = 0
    for a, p, n in triplets.tolist():
        if {3, 11} & {a, p, n}:
            continue
        right += cosine(vectors[a], vectors[p]) > cosine(vectors[a], vectors[n])
    assert any({3, 11} & set(triplet) for triplet in triplets.tolist())
    assert match_accuracy(vectors, triplets) == pytest.approx(right / 80)
    assert match_accuracy(np.ones((3, 2), np.float32), np.array([[0, 1, 2]])) == 0, "no nearer is not nearer"


def test_every_second_picture_is_held_out():
    identities = ["a"] * 5 + ["b"] * 2 + ["c"] + [""] * 3
    names = [f"{i}.jpg" for i in range(len(identities))]
    known, asked = held_out(names, identities)
    assert {who: len(rows) for who, rows in known.items()} == {"a": 3, "b": 1}
    assert len(asked) == 3
    for who, rows in (("a", range(5)), ("b", range(5, 7))):
        order = sorted(rows, key=lambda row: position(f"{row}.jpg"))
        assert known[who] == order[::2]
        assert set(order[1::2]) <= set(asked)


def test_class_accuracy_by_a_slow_loop():
    random = np.random.default_rng(2)
    centres = some_vectors(12, seed=5)
    identities = [f"p{i}" for i in random.integers(12, size=70)]
    vectors = np.stack([centres[int(who[1:])] for who in identities]) + 0.6 * random.normal(size=(70, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    names = [f"{i}.jpg" for i in range(70)]
    known, asked = held_out(names, identities)
    vectors[[asked[0], known[identities[asked[9]]][0]]] = np.nan
    right = 0
    for row in asked:
        best, nearest = -9.0, ""
        for who, rows in known.items():
            total = [sum(float(vectors[r][d]) for r in rows if not np.isnan(vectors[r][0])) for d in range(6)]
            length = math.sqrt(sum(v * v for v in total))
            value = cosine(vectors[row], total) / length
            if value > best:
                best, nearest = value, who
        right += nearest == identities[row]
    accuracy, pictures, people = class_accuracy(vectors, names, identities)
    assert 0.3 < accuracy < 0.99
    assert accuracy == pytest.approx(right / len(asked))
    assert (pictures, people) == (len(asked), len(known))


def test_a_person_known_by_no_face_is_not_recognized():
    vectors = np.array([[np.nan, np.nan], [1, 0], [1, 0], [0, 1]], np.float32)
    names, identities = list("abcd"), ["x", "x", "y", "y"]
    known, asked = held_out(names, identities)
    vectors[known["x"]], vectors[known["y"]] = np.nan, [1, 0]
    vectors[asked] = [1, 0]
    assert class_accuracy(vectors, names, identities) == (0.5, 2, 2)
    with pytest.raises(DataError, match="nobody has two pictures"):
        class_accuracy(vectors[:2], ["a", "b"], ["x", "y"])


def test_impostors_are_all_pairs_of_two_people():
    vectors = some_vectors(30, missing=(7,))
    identities = [f"p{i % 8}" for i in range(28)] + ["", ""]
    names = [f"{i}" for i in range(30)]
    expected = sorted(
        cosine(vectors[i], vectors[j])
        for i in range(28)
        for j in range(i)
        if identities[i] != identities[j] and 7 not in (i, j)
    )
    assert np.sort(impostor_cosines(vectors, names, identities)) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(DataError, match="no pictures of two people"):
        impostor_cosines(vectors[:2], names[:2], ["p", "p"])


@pytest.mark.parametrize("count", [10, 999, 1000, 2500])
def test_at_the_threshold_one_in_a_thousand_is_taken_for_one_person(count):
    cosines = np.random.default_rng(count).normal(0, 0.2, count).astype(np.float32)
    threshold = threshold_at(cosines)
    allowed = math.floor(count * FALSE_ACCEPTS)
    assert (cosines >= threshold).sum() == allowed
    lower = np.sort(cosines)[::-1][allowed]
    assert (cosines >= lower).sum() == allowed + 1, "no lower one would do"
    assert threshold == pytest.approx(float(lower), abs=1e-6)


# -------------------------------------------------------------------------------------------------------- glasses


def test_pairs_with_and_without_glasses():
    people = open_people("sample")
    glasses, names, identities = people.glasses(), people.names(), people.identities
    pairs = glasses_pairs(glasses, names, identities)
    assert tuple(pairs) == KINDS
    for kind, wears in zip(KINDS, ((False, False), (True, True), (True, False)), strict=True):
        first, second, same = pairs[kind]
        assert glasses[first].tolist() == [wears[0]] * len(first)
        assert glasses[second].tolist() == [wears[1]] * len(first)
        assert [identities[a] == identities[b] for a, b in zip(first, second, strict=True)] == same.tolist()
        assert same.sum() * 2 == len(same)
        assert len({frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}) == len(first)
        expected = 0
        for who in set(identities):
            own = Counter(bool(glasses[row]) for row in range(len(names)) if identities[row] == who)
            expected += own[True] * own[False] if wears[0] != wears[1] else math.comb(own[wears[0]], 2)
        assert same.sum() == expected, "all of them"
    order = np.random.default_rng(0).permutation(len(names))
    mixed = glasses_pairs(glasses[order], [names[i] for i in order], [identities[i] for i in order])
    for kind in KINDS:
        known = {frozenset((names[a], names[b])) for a, b, _ in zip(*pairs[kind], strict=True)}
        assert known == {frozenset((names[order[a]], names[order[b]])) for a, b, _ in zip(*mixed[kind], strict=True)}
    with pytest.raises(DataError, match="too few pairs of pictures with glasses"):
        glasses_pairs(np.zeros(200, bool), names, identities)


def test_people_are_resampled_with_all_their_pairs():
    """Two people, drawn twice, so both, the first twice or the second twice, at 1/2, 1/4, 1/4."""
    one, other = np.array([0, 1, 0]), np.array([0, 1, 1])
    rates = resampled_accuracies(np.array([True, False, False]), one, other, 2)
    shares = {value: float((np.abs(rates - value) < 1e-9).mean()) for value in (1 / 3, 1.0, 0.0)}
    assert shares[1 / 3] == pytest.approx(0.5, abs=0.04)  # both once: each pair once
    assert shares[1.0] == pytest.approx(0.25, abs=0.04)  # the first alone: a pair of two people needs both
    assert shares[0.0] == pytest.approx(0.25, abs=0.04)
    assert math.isclose(sum(shares.values()), 1)


def test_what_glasses_cost(tmp_path):
    people = open_people(f"meglass={ROOT / 'data' / 'sample'}")
    rows, pairs = measure_glasses(Colours(), people, tmp_path)
    assert [row["kind"] for row in rows] == list(KINDS) == list(pairs)
    _, select, report = people.deal()
    expected = glasses_pairs(report.glasses(), report.names(), report.identities)
    chosen = glasses_pairs(select.glasses(), select.names(), select.identities)
    from recognition.chips import align_pictures

    of_select, of_report = (align_pictures(part, tmp_path).vectors(Colours()) for part in (select, report))
    pooled = [(pair_cosines(of_select, one), one.same) for one in chosen.values()]
    threshold = best_threshold(*map(np.concatenate, zip(*pooled, strict=True)))
    for row, kind in zip(rows, KINDS, strict=True):
        cosines, same = pairs[kind]
        assert cosines == pytest.approx(pair_cosines(of_report, expected[kind]))
        assert row["pairs"] == len(same)
        assert row["accuracy"] == pytest.approx(((cosines >= threshold) == same).mean())
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["less"] == pytest.approx(rows[0]["accuracy"] - row["accuracy"])
        assert row["less_low"] <= row["less"] <= row["less_high"]
    assert (rows[0]["less_low"], rows[0]["less_high"]) == (0, 0)
