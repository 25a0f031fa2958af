"""How long does one network take, in a process of its own?  Called by latency.py; prints JSON.

python -m benchmarks.time_network FILE THREADS DEVICE BATCH...     # FILE: .onnx, or .safetensors for torch
"""

import json
import os
import sys
from pathlib import Path

file, threads, device = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(threads)  # before any library starts its threads

import numpy as np

from timing import measure, peak_memory

if file.suffix == ".onnx":
    from glasses.classifiers import OnnxClassifier

    classifier = OnnxClassifier(file, threads)
else:
    import torch

    from models import load_classifier

    torch.set_num_threads(threads)
    classifier = load_classifier(file, device)


rows = []
for batch in map(int, sys.argv[4:]):
    crops = np.random.default_rng(0).integers(0, 256, (batch, *classifier.crop[1::-1], 3), dtype=np.uint8)
    repeats = int(np.clip(1.5 / measure(lambda crops=crops: classifier(crops), 3, 3)["median"], 15, 500))
    times = measure(lambda crops=crops: classifier(crops), repeats, repeats // 10)
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else peak_memory()
    rows.append({"batch": batch, "median_ms": 1000 * times["median"], "p95_ms": 1000 * times["p95"], "peak": peak})
print(json.dumps(rows))
