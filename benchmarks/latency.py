"""How long does an answer take?  Prints two Markdown tables and writes them to benchmarks/results/.

    python -m benchmarks.latency [--repeats 300] [--skip-photo | --skip-networks] [--only NAME ...] [--note WORDS]
                                 [--out benchmarks/results]

photo.csv: each step from a photo to its answer, on one core, in one process, files in the page cache. The photo is a
public-domain portrait at 0.6 megapixels, JPEG quality 90.

latency.csv and latency.png: every network of networks.py on one face and on 64, by torch, by ONNX Runtime, and by ONNX
Runtime in 8-bit integers; on 1 and 2 threads, and by torch on CUDA where there is one; each in a process of its own, so
that its peak memory (on CUDA, that of the device) is its own. A network's speed does not depend on what it has learned:
these have random weights.

Times are medians; another program on the same machine moves them all, so read the ratios.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before any library starts its threads

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm.auto import tqdm

from benchmarks.networks import SHAPES
from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, write_table
from compress import export_onnx, quantize_onnx
from detector_architectures import DETECTORS, MissingPackageError, load_detector
from figures import plot_latency
from glasses.classifiers import CLASSIFIERS
from glasses.crops import align_face
from glasses.keypoints import open_keypoints
from glasses.photos import read_image
from glasses.pipeline import GlassesPipeline, find_faces
from models import Classifier, load_classifier, make_model, open_classifier, save_weights
from sample_photos import sample_photos
from timing import measure

SLOW = ("mtcnn", "dlib")  # timed a thirtieth as often
BATCHES = (1, 64)


def write_photo(folder: Path) -> Path:
    """The portrait, 775x775 = 0.6 megapixels."""
    photo = folder / "photo.jpg"
    portrait = Image.open(sample_photos()["astronaut.png"]).convert("RGB")
    portrait.resize((775, 775), Image.Resampling.LANCZOS).save(photo, quality=90)
    return photo


def stages(photo: Path) -> dict[str, tuple]:
    """Name -> a function of no arguments, to be timed."""
    classifiers = {"ONNX Runtime": open_classifier(device="cpu"), "torch": load_classifier(device="cpu")}
    geometry = classifiers["torch"].crop
    image, _ = read_image(photo)
    auto = load_detector("auto")
    landmarks = find_faces(auto, image)[0].landmarks
    crop = align_face(image, landmarks, geometry)[None]
    rows = {
        "decode the photo (Pillow)": lambda: np.asarray(Image.open(photo).convert("RGB")),
        "read_image: decode, upright, RGB": lambda: read_image(photo),
    }
    for name in DETECTORS:
        try:
            detector = load_detector(name)
        except MissingPackageError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        rows[f"detect: {name}"] = lambda detector=detector: detector(image)
    keypoints = open_keypoints()
    rows["landmarks: one face"] = lambda: keypoints.exact(image, [landmarks])
    rows["align: one face"] = lambda: align_face(image, landmarks, geometry)
    for name, classifier in classifiers.items():
        rows[f"classify: one face, {name}"] = lambda classifier=classifier: classifier(crop)
    for name in CLASSIFIERS:
        pipeline = GlassesPipeline(model=name, workers=1)
        rows[f"whole pipeline: photo to answer, {name}"] = lambda pipeline=pipeline: list(pipeline([photo]))
    return rows


def cold_start(photo: Path, repeats: int = 20) -> dict[str, float]:
    """Seconds from starting `python -m glasses photo` to its end, as `measure` gives them."""
    command = [sys.executable, "-m", "glasses", photo]
    return measure(lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=True), repeats, 1)


def time_photo(repeats: int) -> pd.DataFrame:
    """A row a step: step, median_ms, p95_ms, ratio to decoding; prints them."""
    with tempfile.TemporaryDirectory() as folder:
        photo = write_photo(Path(folder))
        rows = []
        print("| step | median ms | p95 ms | ratio to decoding |\n|---|--:|--:|--:|")
        for name, function in stages(photo).items():
            slow = any(name.endswith(detector) for detector in SLOW)
            times = measure(function, max(5, repeats // 30) if slow else repeats, 2 if slow else 20)
            rows.append({"step": name, "median_ms": 1000 * times["median"], "p95_ms": 1000 * times["p95"]})
            rows[-1]["ratio"] = rows[-1]["median_ms"] / rows[0]["median_ms"]
            print("| {step} | {median_ms:.3f} | {p95_ms:.3f} | {ratio:.2f} |".format(**rows[-1]), flush=True)
        times = cold_start(photo)
        start = {"step": "glasses photo.jpg, process start to end"}
        rows.append(start | {"median_ms": 1000 * times["median"], "p95_ms": 1000 * times["p95"]})
        print(f"\n`glasses photo.jpg`, process start to end: {times['median']:.2f} s\n")
    return pd.DataFrame(rows)


def time_file(file: Path, device: str, threads: int, batches: Sequence[int] = BATCHES) -> list[dict[str, float]]:
    """What time_network.py measures of a network's file, a row for each size of a batch, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.time_network", file, threads, device, *batches]
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise RuntimeError(f"python -m benchmarks.time_network {file} {threads} {device}: {reason}")
    rows = json.loads(done.stdout)
    for row in rows:
        row["images_per_s"] = 1000 * row["batch"] / row["median_ms"]
        row["peak_mb"] = row.pop("peak") / 2**20
    return rows


def write_network(shape: str, folder: Path) -> dict[str, Path]:
    """The files of a network of SHAPES with random weights, by the runtime that reads them."""
    architecture, widths = SHAPES[shape]
    torch.manual_seed(0)
    classifier = Classifier(make_model(architecture, widths=widths))
    calibration = np.random.default_rng(0).integers(0, 256, (64, 64, 96, 3), dtype=np.uint8)
    weights = folder / "glasses.safetensors"
    save_weights(classifier.model, weights)
    return {
        "ONNX Runtime": export_onnx(classifier, folder / "plain.onnx"),
        "ONNX Runtime, INT8": quantize_onnx(classifier, folder / "int8.onnx", calibration),
        "torch": weights,
    }


def time_networks(shapes: Sequence[str] = tuple(SHAPES)) -> pd.DataFrame:
    """A row a network, runtime, thread number and batch, with median_ms, p95_ms, images_per_s, peak_mb; prints them."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in tqdm(shapes, disable=None):
            for runtime, file in write_network(shape, Path(folder)).items():
                for device, threads in (("cpu", 1), ("cpu", 2), ("cuda", 1)):
                    if device == "cpu" or (runtime == "torch" and torch.cuda.is_available()):
                        where = {"network": shape, "runtime": runtime, "device": device, "threads": threads}
                        rows.extend(where | row for row in time_file(file, device, threads))
    print("| network | runtime | device, threads | faces | median ms | p95 ms | faces/s | peak MB |")
    print(f"|---|---|---|{'--:|' * 5}")
    for row in rows:
        cells = "{network} | {runtime} | {device}, {threads} | {batch} | {median_ms:.3f} | {p95_ms:.3f}".format(**row)
        print(f"| {cells} | {row['images_per_s']:.0f} | {row['peak_mb']:.0f} |")
    return pd.DataFrame(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=300, help="of each step of the photo")
    parser.add_argument("--skip-photo", action="store_true")
    parser.add_argument("--skip-networks", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SHAPES, metavar="NAME", help="networks; others keep their rows")
    add_note(parser)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the CSV files and the figure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if not options.skip_photo:
        slow = f"{' and '.join(SLOW)}: a thirtieth, after 2"
        lines = header("1 thread", f"{options.repeats} repeats after 20 to warm up ({slow})", note=options.note)
        print("\n".join(lines) + "\n")
        write_table(time_photo(options.repeats), options.out / "photo.csv", lines)
    if not options.skip_networks:
        lines = header("input 96x64; one face and 64; for 1.5 s each, at least 15 times", note=options.note)
        print("\n".join(lines) + "\n")
        table = time_networks(options.only or tuple(SHAPES))
        if options.only:
            earlier = pd.read_csv(options.out / "latency.csv", comment="#")
            table = pd.concat([earlier[~earlier["network"].isin(options.only)], table], ignore_index=True)
            lines.append(f"of this run: {', '.join(options.only)}; the others as they were measured before")
        write_table(table, options.out / "latency.csv", lines)
        plot_latency(table).savefig(options.out / "latency.png", dpi=120)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
