"""Is the small task of a notebook solved?  The check, and the answers of all tasks by their names.

from exercises import check
overlap = check(overlap, [(a, b), (a, c)])     # yours where it is right, else the answer of the same name here

A task is a function that is to be written; empty, it returns None. The notebook goes on with the answer then.
"""

from collections.abc import Callable, Sequence

import numpy as np


def check(yours: Callable, cases: Sequence[tuple]) -> Callable:
    """`yours`, if it gives what the answer of its name gives on the arguments of each case, else the answer.

    Prints which of the two the notebook goes on with, and the first case on which they differ, or that raises an error.
    """
    answer = ANSWERS[yours.__name__]
    said = [_called(yours, case) for case in cases]
    if all(value is None for value in said):
        print(f"{yours.__name__} is empty: the notebook goes on with the answer")
        return answer
    for case, value in zip(cases, said, strict=True):
        wanted = answer(*case)
        if not _same(value, wanted):
            words = f"raises {type(value).__name__}: " if isinstance(value, Exception) else "is "
            print(f"{yours.__name__} of {_short(case)} {words}{_short(value)}, should be {_short(wanted)};", end=" ")
            print("the notebook goes on with the answer")
            return answer
    print(f"{yours.__name__} is right in {len(cases)} cases of {len(cases)}")
    return yours


def _called(yours: Callable, case: tuple) -> object:
    """What a student's function gives, or the error that it raises."""
    try:
        return yours(*case)
    except Exception as error:
        return error


def _same(one: object, other: object) -> bool:
    try:
        one, other = (np.asarray(value, dtype=float) for value in (one, other))
    except (TypeError, ValueError, RuntimeError):  # words, an error, or nothing that is a number
        return False
    return one.shape == other.shape and np.allclose(one, other, atol=1e-5)


def _short(value: object) -> str:
    return " ".join(str(value).split())[:120]


# ------------------------------------------------------------------------------------------- 1_Load_Data


def sharpness(grey):
    return np.abs(np.diff(grey.astype(float), axis=1)).mean()


def people_on_both_sides(one, other):
    return len(set(one) & set(other))


# -------------------------------------------------------------------------------------- 2_Define_Network


def cost(channels_in, channels_out, height, width):
    weights = 3 * 3 * channels_in * channels_out
    return weights, weights * height * width


def surprise(logits, label):
    shares = np.exp(logits) / np.exp(logits).sum()
    return -np.log(shares[label])


# --------------------------------------------------------------------------------------- 3_Full_Pipeline


def overlap(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0, width) * max(0, height)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def heat(maps, slopes):
    weights = slopes.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * maps).sum(axis=0), 0)


# -------------------------------------------------------------------------------------------- 4_Evaluate


def precision_and_recall(truth, found):
    hits = (truth & found).sum()
    return hits / found.sum(), hits / truth.sum()


def cheapest_threshold(miss, false_alarm):
    return 1 / (1 + miss / false_alarm)


# -------------------------------------------------------------------------------------------- 5_Compress


def soften(logits, temperature):
    powers = np.exp(logits / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def through_int8(values):
    step = np.abs(values).max() / 127
    return np.round(values / step) * step


# ------------------------------------------------------------------------------------------- 6_Keypoints


def mean_error(points, labels):
    unit = np.hypot(*(labels[45] - labels[36]))
    return np.hypot(*(points - labels).T).mean() / unit


def mean_place(heat_map):
    rows, columns = np.indices(heat_map.shape)
    share = heat_map / heat_map.sum()
    return (share * columns).sum(), (share * rows).sum()


# ------------------------------------------------------------------------------------------- 7_Recognize


def cosines(one, other):
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / lengths


def accept_rates(similarity, same, threshold):
    accepted = similarity >= threshold
    return accepted[~same].mean(), accepted[same].mean()


ANSWERS = {
    answer.__name__: answer
    for answer in (
        sharpness,
        people_on_both_sides,
        cost,
        surprise,
        overlap,
        heat,
        precision_and_recall,
        cheapest_threshold,
        soften,
        through_int8,
        mean_error,
        mean_place,
        cosines,
        accept_rates,
    )
}
