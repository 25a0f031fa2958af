"""Which faces are of one person?  Vectors in, the number of a person for each out.

    from glasses.people import group_faces, number_people
    people = number_people(group_faces(vectors, threshold))     # [1, 2, 1, None, 1, 2]

Agglomerative clustering with average linkage, which `benchmarks/grouping.py` compares with others.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

AT_ONCE = 2**24  # cosines that are held at one time


def group_faces(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Which cluster each face is in, (N,) int64: the number of the cluster's first face.

    vectors: (N, D) float32 of length 1. Two clusters are merged, the most similar ones first, while the mean cosine of
    a face of the one and a face of the other is at least `threshold` (average linkage, UPGMA). That mean is the product
    of the mean vectors of the two, so no table of all pairs is held. A merged cluster is never more similar to a third
    one than the more similar of its parts was; hence two that are each other's nearest may be merged at once, and a
    cluster's nearest stays its nearest until that is merged itself (F. Murtagh: "A survey of recent advances in
    hierarchical clustering algorithms", The Computer Journal, 1983).
    """
    count = len(vectors)
    means, sizes, clusters = np.array(vectors, np.float32), np.ones(count), np.arange(count)
    similarity, nearest = np.full(count, -np.inf, np.float32), np.full(count, -1)
    going, stale = np.full(count, True), np.arange(count)  # stale: whose nearest is to be searched for
    while going.sum() > 1:
        similarity[stale], nearest[stale] = _nearest(means, stale, np.flatnonzero(going))
        going &= similarity >= threshold  # it is done: nothing will come nearer
        (left,) = np.nonzero(going)
        if not len(left):
            break
        first = left[(nearest[nearest[left]] == left) & (left < nearest[left])]
        if not len(first):  # rounding or ties made a ring: its most similar pair
            top = left[np.argmax(similarity[left])]
            first = np.array([min(top, nearest[top])])
            nearest[first] = max(top, nearest[top])
        second = nearest[first]
        shares = (sizes[second] / (sizes[first] + sizes[second]))[:, None]
        means[first] += shares.astype(np.float32) * (means[second] - means[first])
        sizes[first] += sizes[second]
        going[second] = False
        into = np.arange(count)
        into[second] = first
        clusters = into[clusters]
        merged = np.zeros(count, bool)
        merged[first] = merged[second] = True
        stale = np.flatnonzero(going & (merged | merged[nearest]))
    return clusters


def _nearest(means: np.ndarray, of: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cosine to the nearest one other than itself and which one that is, for the rows `of`, among others."""
    rows = max(1, AT_ONCE // len(among))
    similarity, nearest = [], []
    others = means[among].T
    for start in range(0, len(of), rows):
        block = of[start : start + rows]
        cosines = means[block] @ others
        cosines[block[:, None] == among] = -np.inf
        best = cosines.argmax(1)
        similarity.append(cosines[np.arange(len(block)), best])
        nearest.append(among[best])
    return np.concatenate(similarity), np.concatenate(nearest)


def number_people(clusters: Sequence[int]) -> list[int | None]:
    """The person's number of each face: 1 has the most faces. None for a face that is alone in its cluster."""
    sizes = Counter(int(cluster) for cluster in clusters)  # in the order of their first faces, in which equals stay
    people = [cluster for cluster, size in sizes.most_common() if size > 1]
    numbers = {cluster: number for number, cluster in enumerate(people, 1)}
    return [numbers.get(int(cluster)) for cluster in clusters]
