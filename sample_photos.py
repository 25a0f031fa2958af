"""Write two public-domain portraits that come with installed packages into a folder, to try things on.

    python sample_photos.py DIR

Grace Hopper (U.S. Navy, with matplotlib) wears glasses; Eileen Collins (NASA, with scikit-image) does not.
"""

import shutil
import sys
from pathlib import Path

import matplotlib.cbook
import skimage


def sample_photos() -> dict[str, Path]:
    """Name -> file of each portrait, where its package keeps it."""
    return {
        "astronaut.png": Path(skimage.__file__).parent / "data" / "astronaut.png",
        "grace_hopper.jpg": Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python sample_photos.py DIR")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in sample_photos().items():
        shutil.copyfile(file, folder / name)
