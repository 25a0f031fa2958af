"""How good and how fast are the key points, beside other networks and dlib's predictor?

    python -m benchmarks.keypoints --data ytf=PATH --part report --model keypoints=glasses/weights/keypoints.onnx
                                   [classic=runs/classic/keypoints.onnx ...] [--dlib] [--networks] [--note WORDS]

Writes results/keypoints.csv, a row a network: `evaluate_keypoints.table`, parameters and bytes of its file, and the
time of its network for one face on one core; results/keypoint_parts.csv, the errors of the first by part of the face,
size and turn; and results/keypoint_errors.png, the cumulative error curves. --networks: only the rows, into
results/keypoint_networks.csv, where networks are compared among which the shipped one was chosen; those of one name
with a number behind it, as heatmap-0 and heatmap-1, are runs of several seeds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from detector_architectures import load_detector
from evaluate_keypoints import breakdown, choose_part, evaluate, point_errors, table
from figures import plot_error_curve
from glasses.classifiers import open_network
from glasses.crops import Crop, crop_matrix
from glasses.keypoints import KeypointFinder
from timing import measure

# The square that dlib's predictor is given, by the eyes and the mouth: of several the best on the select part.
DLIB_BOX = Crop(100, 100, unit=42.0, drop=0.45)


class DlibFinder:
    """dlib's 68-point predictor, from the same landmarks as ours. Kazemi, Sullivan, CVPR 2014."""

    def __init__(self, box: Crop = DLIB_BOX):
        import dlib

        from detector_architectures.dlib_cnn import LANDMARKS, model_file

        self.box, self.rectangle = box, dlib.rectangle
        self.path = model_file(LANDMARKS)
        self.predict = dlib.shape_predictor(str(self.path))

    def __call__(self, image: np.ndarray, landmarks: Sequence[np.ndarray]) -> np.ndarray:
        """As `KeypointFinder`."""
        return np.stack([self._points(np.ascontiguousarray(image), five) for five in landmarks]).astype(np.float32)

    def _points(self, image: np.ndarray, five: np.ndarray) -> np.ndarray:
        matrix = crop_matrix(five, self.box)
        centre = np.linalg.solve(matrix[:, :2], self.box.centre - matrix[:, 2])
        half = self.box.width / 2 / np.hypot(*matrix[0, :2])
        left, top, right, bottom = (round(float(v)) for v in (*(centre - half), *(centre + half)))
        shape = self.predict(image, self.rectangle(left, top, right, bottom))
        return np.array([(shape.part(i).x, shape.part(i).y) for i in range(68)], float)


def cost(finder: KeypointFinder | DlibFinder, path: Path) -> dict[str, float]:
    """parameters, bytes, the time of the network alone for one face, and of all that the tool does for it, in ms.

    classifiers: the network's time, in those of the classifier `glasses` for one face, measured right after it.
    """
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    five = np.float32([[98, 110], [158, 110], [128, 145], [104, 175], [152, 175]])
    row = {"bytes": path.stat().st_size, "face_ms": 1000 * measure(lambda: finder(image, [five]), 300, 20)["median"]}
    if isinstance(finder, KeypointFinder):
        crop = np.zeros((1, finder.crop.height, finder.crop.width, 3), np.uint8)
        network = measure(lambda: finder.session.run(None, {"faces": crop}), 300, 20)["median"]
        row |= {"parameters": parameters(path), "network_ms": 1000 * network}
        classifier, eyes = open_network("glasses"), np.zeros((1, 64, 96, 3), np.uint8)
        row["classifiers"] = network / measure(lambda: classifier(eyes), 300, 20)["median"]
    return row


def parameters(path: Path) -> int:
    """How many weights and biases the layers of an ONNX file have, however they are stored."""
    import onnx

    graph = onnx.load(path).graph
    makers = {name: node for node in graph.node for name in node.output}
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}

    def stored(name: str) -> str:
        """The constant that is made a number of the layer: of 8 or 16 bits."""
        return stored(makers[name].input[0]) if name in makers else name

    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    return sum(sizes[stored(name)] for node in layers for name in node.input[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="ytf", metavar="ytf[=PATH]")
    parser.add_argument("--part", default="report", choices=("select", "report", "test"))
    parser.add_argument("--model", nargs="+", required=True, metavar="NAME=FILE.onnx")
    parser.add_argument("--dlib", action="store_true", help="dlib's predictor too")
    parser.add_argument("--networks", action="store_true", help="into results/keypoint_networks.csv")
    add_note(parser)
    options = parser.parse_args()
    paths = {name: Path(path) for name, _, path in (model.partition("=") for model in options.model)}
    finders = {name: KeypointFinder(path) for name, path in paths.items()}
    if options.dlib:
        finders["dlib"] = DlibFinder()
        paths["dlib"] = finders["dlib"].path
    dataset = choose_part(options.data, options.part)
    found = evaluate(dataset, finders, load_detector("auto"))
    rows = table(found, dataset)
    for name, finder in finders.items():
        for key, value in cost(finder, paths[name]).items():
            rows.loc[rows["network"] == name, key] = value
    lines = header(
        f"{options.part} part: {len(dataset)} frames of {len(set(dataset.keys()))} people", note=options.note
    )
    print(rows.to_string())
    if options.networks:
        write_table(rows, RESULTS / "keypoint_networks.csv", lines)
        return 0
    write_table(rows, RESULTS / "keypoints.csv", lines)
    errors = {name: point_errors(points, dataset.keypoints) for name, points in found.items()}
    write_table(breakdown(next(iter(errors.values())), dataset.keypoints), RESULTS / "keypoint_parts.csv", lines)
    curves = {name: of_points.mean(1) for name, of_points in errors.items()}
    plot_error_curve(curves).savefig(RESULTS / "keypoint_errors.png", dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
