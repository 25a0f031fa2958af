"""Photos to try things on, without a download: public-domain portraits that come with installed packages.

    python sample_photos.py DIR                  # writes the two portraits
    from sample_photos import made_photos
    image, glasses = made_photos()["group"]      # (H, W, 3) uint8 RGB; True, False, or None where nobody is

Grace Hopper (U.S. Navy, with matplotlib) wears glasses; Eileen Collins (NASA, with scikit-image) does not.
"""

import os
import shutil
import sys
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import skimage

from corruptions import darken, noise, turn
from glasses.photos import read_image


def sample_photos() -> dict[str, Path]:
    """Name -> file of each portrait, where its package keeps it."""
    return {
        "astronaut.png": Path(skimage.__file__).parent / "data" / "astronaut.png",
        "grace_hopper.jpg": Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)),
    }


def made_photos() -> dict[str, tuple[np.ndarray, bool | None]]:
    """Photos made from the portraits, and one of a cat: name -> image, and whether the main face wears glasses."""
    collins, hopper = (read_image(file)[0] for file in sample_photos().values())
    chelsea, _ = read_image(Path(skimage.__file__).parent / "data" / "chelsea.png")
    height = 480
    both = [cv2.resize(image, (round(image.shape[1] * height / len(image)), height)) for image in (collins, hopper)]
    far = cv2.resize(chelsea, (640, 426))
    far[20:184, 450:590] = cv2.resize(hopper, (140, 164), interpolation=cv2.INTER_AREA)
    return {
        "portrait, glasses": (hopper, True),
        "portrait, no glasses": (collins, False),
        "group": (np.concatenate(both[::-1], 1), True),
        "far, in a corner": (far, True),
        "tilted": (turn(hopper, 30), True),
        "on its side": (np.ascontiguousarray(np.rot90(collins)), False),
        "close-up": (hopper[60:330, 130:390], True),
        "dark and noisy": (noise(darken(collins, 0.15), 8), False),
        "nobody": (chelsea, None),
    }


def take_snapshot(path: str | os.PathLike) -> str:
    """Write one picture of the first webcam to `path`; returns a line that says what came of it."""
    if sys.platform == "linux" and not list(Path("/dev").glob("video*")):
        return "no webcam on this machine"  # asked first, for OpenCV would print its own complaints
    camera = cv2.VideoCapture(0)
    try:
        good, frame = camera.read()
    finally:
        camera.release()
    if not good:
        return "the webcam gave no picture"
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return f"wrote {path}" if cv2.imwrite(str(path), frame) else f"cannot write {path}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python sample_photos.py DIR")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in sample_photos().items():
        shutil.copyfile(file, folder / name)
