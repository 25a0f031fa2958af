"""How well are faces grouped into people?  Ways to cluster the vectors of photos of people whose names are known.

    python -m benchmarks.grouping --data meglass=PATH [--folders lfw=PATH] [--model FILE.onnx] [--note WORDS]

--data: the people of the report part of each source, on whom nothing was trained. --folders: a folder with a folder a
person. The vectors are those of `glasses embed`: the main face of each photo; one without a face is left out. Writes
results/grouping.csv, a row a source and a way: of all pairs of faces that are put together the share that is of one
person (precision), of all pairs of one person the share that is put together (recall), their F-score, and seconds.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from sklearn.cluster import HDBSCAN, AgglomerativeClustering
from tqdm import tqdm

from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from glasses.people import group_faces
from glasses.photos import IMAGE_SUFFIXES
from glasses.pipeline import GlassesPipeline
from glasses.recognizer import open_recognizer
from sources import load_sources, named_paths

AROUND = (-0.1, -0.05, 0.05, 0.1)  # how far from the network's threshold average linkage is tried too


def ways(threshold: float) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Name -> vectors (N, D) of length 1 to labels (N,), below 0 for a face alone; the tool's way first."""

    def linked(linkage: str) -> Callable[[np.ndarray], np.ndarray]:
        settings = {"n_clusters": None, "metric": "cosine", "distance_threshold": 1 - threshold}
        return AgglomerativeClustering(linkage=linkage, **settings).fit_predict

    around = {f"average linkage, {step:+.2f}": threshold + step for step in AROUND}
    return {
        "average linkage": lambda vectors: group_faces(vectors, threshold),
        **{name: lambda vectors, other=other: group_faces(vectors, other) for name, other in around.items()},
        "single linkage": linked("single"),
        "complete linkage": linked("complete"),
        "HDBSCAN": HDBSCAN(min_cluster_size=2, copy=True).fit_predict,
    }


def pair_scores(labels: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """Precision, recall and F of the pairs of faces that share a label, (N,), of those that share a person, (N,)."""
    labels = np.where(labels < 0, labels.max() + 1 + np.arange(len(labels)), labels)  # each of these alone
    both, together, of_one = (_pairs(key) for key in (list(zip(labels, people, strict=True)), labels, people))
    precision, recall = both / max(1, together), both / max(1, of_one)
    return {"precision": precision, "recall": recall, "f": 2 * precision * recall / max(1e-12, precision + recall)}


def _pairs(keys) -> int:
    """How many pairs have the same key."""
    counts = pd.Series(list(keys)).value_counts().to_numpy()
    return int((counts * (counts - 1) // 2).sum())


def photos_of_people(options: argparse.Namespace) -> dict[str, tuple[list[Path], list[str]]]:
    """Name -> files and people."""
    found = {}
    if options.data:
        for name, faces in load_sources(named_paths(options.data), {}).report.items():
            found[name] = (list(faces.files), list(faces.identities))
    for name, path in (value.split("=", 1) for value in options.folders):
        files = sorted(file for file in Path(path).glob("*/*") if file.suffix.lower() in IMAGE_SUFFIXES)
        found[name] = (files, [file.parent.name for file in files])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=[], metavar="SOURCE=PATH")
    parser.add_argument("--folders", nargs="+", default=[], metavar="NAME=PATH")
    parser.add_argument("--model", metavar="FILE", help="another recognition network")
    add_note(parser)
    options = parser.parse_args()
    recognizer = open_recognizer(options.model)
    pipeline, rows = GlassesPipeline(recognizer=recognizer), []
    for name, (files, people) in photos_of_people(options).items():
        answers = tqdm(pipeline(files), total=len(files), desc=name, disable=None)
        found = [(a.faces[0].vector, person) for a, person in zip(answers, people, strict=True) if a.faces]
        vectors, known = np.stack([vector for vector, _ in found]), np.array([person for _, person in found])
        for way, cluster in ways(recognizer.threshold).items():
            start = perf_counter()
            labels = np.asarray(cluster(vectors))
            seconds = perf_counter() - start
            row = {"data": name, "faces": len(known), "people": len(set(known)), "way": way}
            rows.append(row | pair_scores(labels, known) | {"seconds": seconds})
            print(rows[-1], flush=True)
    lines = header(f"threshold: {recognizer.threshold:.4f}", note=options.note)
    write_table(pd.DataFrame(rows), RESULTS / "grouping.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
