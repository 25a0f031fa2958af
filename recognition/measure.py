"""How well are people told apart?  Verification of pairs, match and class accuracy, and what glasses cost.

from recognition.measure import match_accuracy, measure_lfw
match_accuracy(vectors, triplets)                    # a share
row, cosines, same = measure_lfw(network, open_people("lfw=PATH"))

Vectors are (N, D) float32 of length 1, NaN where no face was found in a picture: whatever is asked of such a picture is
answered wrongly.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_load import position
from find_data import DataError
from recognition.chips import Network, align_pictures
from recognition.datasets import LFW, MeGlass

LEAST, MOST = -2.0, 2.0  # below and above every cosine
FALSE_ACCEPTS = 1e-3  # share of the pairs of two people that the tool takes for one
MOST_FACES = 4000  # of which all pairs are compared to set that threshold
MOST_DRAWS = 20  # for a pair of two people: none is taken twice
RESAMPLES, SEED = 2000, 0
KINDS = ("without glasses", "with glasses", "with against without")


class Pairs(NamedTuple):
    """Rows of N pictures and of N others, (N,) int64, and whether both show the same person, (N,) bool."""

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray

    @classmethod
    def of(cls, pairs: Sequence[tuple[int, int, bool]]) -> "Pairs":
        """Of (first, second, same) each."""
        first, second, same = zip(*pairs, strict=True)
        return cls(np.array(first), np.array(second), np.array(same, bool))


# ------------------------------------------------------------------------------------------------ verification


def pair_cosines(vectors: np.ndarray, pairs: Pairs) -> np.ndarray:
    """(N,) float64 from -1 to 1; of a pair with a face that was not found the value that is wrong at any threshold:
    LEAST for the same person, MOST for two."""
    cosines = np.einsum("nd,nd->n", vectors[pairs.first], vectors[pairs.second], dtype=np.float64)
    return np.where(np.isnan(cosines), np.where(pairs.same, LEAST, MOST), cosines)


def best_threshold(cosines: np.ndarray, same: np.ndarray) -> float:
    """The cosine from which pairs are best taken for the same person: halfway between two that occur, the lowest of
    several that are as good."""
    levels = np.unique([LEAST, *cosines, MOST])
    thresholds = (levels[1:] + levels[:-1]) / 2
    accepted = same.sum() - np.searchsorted(np.sort(cosines[same]), thresholds)
    refused = np.searchsorted(np.sort(cosines[~same]), thresholds)
    return float(thresholds[np.argmax(accepted + refused)])


def is_right(cosines: np.ndarray, same: np.ndarray, threshold: float) -> np.ndarray:
    """(N,) bool: whether each pair is taken for what it is."""
    return (cosines >= threshold) == same


def fold_accuracies(cosines: np.ndarray, same: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """The accuracy on each fold, at the threshold that is best on the others: the protocol of LFW (Huang et al., 2007).

    fold: (N,) int, of each pair.
    """
    rates = []
    for number in np.unique(fold):
        held = fold == number
        threshold = best_threshold(cosines[~held], same[~held])
        rates.append(is_right(cosines[held], same[held], threshold).mean())
    return np.array(rates)


def roc(cosines: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of pairs of two people, and of the same person, that are accepted, at falling thresholds; from 0 to 1."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(same, cosines, drop_intermediate=False)
    return false, true


def equal_error_rate(cosines: np.ndarray, same: np.ndarray) -> float:
    """Where as many pairs of two people are accepted as of the same person are refused, on the line between the two
    points of the ROC curve around that."""
    false, true = roc(cosines, same)
    excess = false - (1 - true)  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(false[after - 1] + share * (false[after] - false[after - 1]))


def measure_lfw(
    network: Network, people: LFW, cache: str | os.PathLike = ".cache", workers: int | None = None
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """The official protocol on LFW: a row, and cosine and truth of each pair, (N,) and (N,) bool.

    The row: pairs; accuracy, the mean over ten folds, and deviation, that of these ten; eer; not_found, the pictures in
    which no face was found: their pairs are wrong.
    """
    listed = people.pairs()
    used = sorted({place for pair in listed for place in (pair.first, pair.second)})
    chips = align_pictures(people.subset(used), cache, workers)
    row_of = {place: row for row, place in enumerate(used)}
    pairs = Pairs.of([(row_of[pair.first], row_of[pair.second], pair.same) for pair in listed])
    cosines = pair_cosines(chips.vectors(network), pairs)
    rates = fold_accuracies(cosines, pairs.same, np.array([pair.fold for pair in listed]))
    row = {"pairs": len(listed), "accuracy": float(rates.mean()), "deviation": float(rates.std(ddof=1))}
    row |= {"eer": equal_error_rate(cosines, pairs.same), "not_found": int((chips.rows < 0).sum())}
    return row, cosines, pairs.same


# -------------------------------------------------------------------------------------- match and class accuracy


def match_accuracy(vectors: np.ndarray, triplets: np.ndarray) -> float:
    """The share of (N, 3) triplets whose anchor is nearer to the positive than to the negative."""
    anchor, positive, negative = (vectors[triplets[:, role]] for role in range(3))
    nearer = np.einsum("nd,nd->n", anchor, positive) > np.einsum("nd,nd->n", anchor, negative)  # False where NaN is
    return float(nearer.mean())


def held_out(names: Sequence[str], identities: Sequence[str]) -> tuple[dict[str, list[int]], list[int]]:
    """Of people with two pictures or more: the rows by which each is known, and those to be recognized.

    Of a person's pictures, in an order that follows from their names by a hash, every second is held out.
    """
    rows: dict[str, list[int]] = {}
    for row in sorted(range(len(names)), key=lambda row: position(names[row])):
        rows.setdefault(identities[row], []).append(row)
    several = {person: rows[person] for person in sorted(rows) if person and len(rows[person]) > 1}
    return {person: own[::2] for person, own in several.items()}, [row for own in several.values() for row in own[1::2]]


def class_accuracy(vectors: np.ndarray, names: Sequence[str], identities: Sequence[str]) -> tuple[float, int, int]:
    """The share of held-out pictures whose nearest mean, by the cosine, is that of their person; how many pictures
    these are, and of how many people.

    names, identities: (N,) of each picture. Raises DataError where nobody has two pictures.
    """
    known, asked = held_out(names, identities)
    if not asked:
        raise DataError("nobody has two pictures, one to be known by and one to be recognized: take a larger set")
    means = np.stack([np.nansum(vectors[rows], axis=0) for rows in known.values()])
    means = means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)
    people = {person: number for number, person in enumerate(known)}
    right = []
    for row in asked:
        cosines = means @ vectors[row]
        right.append(not np.isnan(cosines).any() and int(cosines.argmax()) == people[identities[row]])
    return float(np.mean(right)), len(asked), len(known)


# -------------------------------------------------------------------------------------------- the tool's threshold


def impostor_cosines(vectors: np.ndarray, names: Sequence[str], identities: Sequence[str]) -> np.ndarray:
    """The cosines of all pairs of pictures of two people; of more than MOST_FACES pictures, of so many by a hash.

    Pictures without a face, and of nobody known, are left out. Raises DataError where no pair is left.
    """
    there = [row for row in range(len(names)) if identities[row] and not np.isnan(vectors[row]).any()]
    there = sorted(there, key=lambda row: position(names[row]))[:MOST_FACES]
    _, person = np.unique([identities[row] for row in there], return_inverse=True)
    one, other = np.nonzero(np.triu(person[:, None] != person[None]))
    if not len(one):
        raise DataError("no pictures of two people that are known by name, to set the threshold by: name more data")
    return (vectors[there] @ vectors[there].T)[one, other]


def threshold_at(cosines: np.ndarray, rate: float = FALSE_ACCEPTS) -> float:
    """The lowest cosine that at most this share of the pairs of two people reaches."""
    falling = np.sort(np.asarray(cosines, np.float32))[::-1]
    return float(np.nextafter(falling[int(rate * len(falling))], np.float32(np.inf)))


# -------------------------------------------------------------------------------------------------------- glasses


def glasses_pairs(glasses: np.ndarray, names: Sequence[str], identities: Sequence[str]) -> dict[str, Pairs]:
    """Pairs of each of KINDS: all of the same person, and as many of two people, drawn by a hash.

    glasses: (N,) bool. Raises DataError where a kind has no pair of the same person, or too few of two people.
    """
    order = sorted(range(len(names)), key=names.__getitem__)
    bare, worn = ([row for row in order if glasses[row] == wears] for wears in (False, True))
    found = {}
    for kind, (left, right) in zip(KINDS, ((bare, bare), (worn, worn), (worn, bare)), strict=True):
        own: dict[str, list[int]] = {}
        for row in right:
            own.setdefault(identities[row], []).append(row)
        one_list = left is right
        genuine = [(a, b) for a in left for b in own.get(identities[a], ()) if not one_list or names[a] < names[b]]
        others: dict[tuple[int, int], None] = {}
        for number in range(MOST_DRAWS * len(genuine)):
            drawn = [position(f"{kind} {number} {side}") for side in ("first", "second")]
            a, b = (rows[int(share * len(rows))] for share, rows in zip(drawn, (left, right), strict=True))
            if identities[a] != identities[b]:
                others[(min(a, b), max(a, b)) if one_list else (a, b)] = None
            if len(others) == len(genuine):
                break
        if not genuine or len(others) < len(genuine):
            raise DataError(f"too few pairs of pictures {kind}: more people are needed, each with and without glasses")
        found[kind] = Pairs.of([(*pair, True) for pair in genuine] + [(*pair, False) for pair in others])
    return found


def resampled_accuracies(right: np.ndarray, one: np.ndarray, other: np.ndarray, people: int) -> np.ndarray:
    """(RESAMPLES,) accuracies of pairs, people drawn with replacement: a pair counts as often as both its people do.

    right: (N,) bool. one, other: (N,) int, whom each shows, below `people`. NaN where no pair was drawn.
    """
    random, rates = np.random.default_rng(SEED), []
    for _ in range(RESAMPLES):
        drawn = np.bincount(random.integers(people, size=people), minlength=people)
        weight = np.where(one == other, drawn[one], drawn[one] * drawn[other])
        rates.append(weight[right].sum() / weight.sum() if weight.any() else np.nan)
    return np.array(rates)


def measure_glasses(
    network: Network, people: MeGlass, cache: str | os.PathLike = ".cache", workers: int | None = None
) -> tuple[list[dict], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """What glasses cost: a row for each of KINDS, and by kind cosine and truth of each pair.

    On the people of the report part; the threshold is the best one for the pairs of all kinds of the select part. A
    row: pairs, half of them of the same person; accuracy, low and high; eer; less, low and high: how much less than
    without glasses. Intervals are of 95 %, by a bootstrap over people.
    """
    _, select, report = people.deal()
    known = {}
    for name, part in (("select", select), ("report", report)):
        vectors = align_pictures(part, cache, workers).vectors(network)
        pairs = glasses_pairs(part.glasses(), part.names(), part.identities)
        known[name] = {kind: (pair_cosines(vectors, one), one) for kind, one in pairs.items()}
    chosen = known["select"].values()
    threshold = best_threshold(
        np.concatenate([cosines for cosines, _ in chosen]), np.concatenate([pairs.same for _, pairs in chosen])
    )
    everybody, person = np.unique(report.identities, return_inverse=True)
    rows, drawn = [], {}
    for kind, (cosines, pairs) in known["report"].items():
        right = is_right(cosines, pairs.same, threshold)
        drawn[kind] = resampled_accuracies(right, person[pairs.first], person[pairs.second], len(everybody))
        less = drawn[KINDS[0]] - drawn[kind]
        row = {"kind": kind, "pairs": len(right), "accuracy": float(right.mean())}
        row |= dict(zip(("low", "high"), _interval(drawn[kind]), strict=True))
        row["eer"] = equal_error_rate(cosines, pairs.same)
        row["less"] = (rows[0] if rows else row)["accuracy"] - row["accuracy"]
        rows.append(row | dict(zip(("less_low", "less_high"), _interval(less), strict=True)))
    return rows, {kind: (cosines, pairs.same) for kind, (cosines, pairs) in known["report"].items()}


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
