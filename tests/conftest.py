"""What several tests need: portraits, small data sets in the public layouts, and the way to the real faces."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image, ImageDraw

from models import ARCHITECTURES
from sample_photos import sample_photos

ROOT = Path(__file__).parents[1]


def needed_by(architecture: str) -> list[pytest.MarkDecorator]:
    """The mark that leaves a test of this architecture out where its package is not installed."""
    missing = architecture.startswith("efficientnet") and find_spec("efficientnet_lite_pytorch") is None
    return [pytest.mark.skip(reason="needs efficientnet-lite-pytorch")] if missing else []


EACH_ARCHITECTURE = [pytest.param(name, marks=needed_by(name)) for name in ARCHITECTURES]


def pytest_addoption(parser):
    parser.addoption("--real-data", default=os.environ.get("GLASSES_REAL_DATA"), help="folder with the real faces")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--real-data"):
        return
    skip = pytest.mark.skip(reason="needs the real faces: --real-data=PATH or GLASSES_REAL_DATA=PATH")
    for item in items:
        if "real_data" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data(request) -> Path:
    """The folder with the labelled faces."""
    return Path(request.config.getoption("--real-data"))


@pytest.fixture(autouse=True)
def _no_data_sets_of_this_machine(monkeypatch, tmp_path):
    for name in ("GLASSES_DATA", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("KAGGLE_ROOT", str(tmp_path / "no-kaggle"))


@pytest.fixture(scope="session")
def astronaut() -> Path:
    """A portrait without glasses, 512x512; the face at about x 182 to 268, y 64 to 166."""
    return sample_photos()["astronaut.png"]


@pytest.fixture(scope="session")
def hopper() -> Path:
    """A portrait with glasses, 512x600."""
    return sample_photos()["grace_hopper.jpg"]


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> Path:
    """A recognition network whose vectors are a chip's colours in blocks."""
    from colour_blocks import write_network

    return write_network(tmp_path_factory.mktemp("network") / "blocks.onnx")


NOBODY = (
    "brick.png chelsea.png chessboard_GRAY.png clock_motion.png coffee.png coins.png color.png grass.png gravel.png "
    "horse.png hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png page.png retina.jpg rocket.jpg text.png"
).split()


@pytest.fixture(scope="session")
def nobody() -> list[Path]:
    """Eighteen pictures in which there is no face, from scikit-image: a cat, coins, stars, a page ..."""
    return [Path(skimage.__file__).parent / "data" / name for name in NOBODY]


def cartoon(glasses: int, seed: int = 0, size: int = 120) -> Image.Image:
    """A drawn face of its own skin, hair and background; glasses: 0 none, 1 eyeglasses, 2 sunglasses."""
    rng = np.random.default_rng(seed)
    background, skin, hair = (
        tuple(int(v) for v in rng.integers(low, high, 3)) for low, high in ((0, 256), (110, 230), (0, 90))
    )
    picture = Image.new("RGB", (size, size), background)
    pen, u = ImageDraw.Draw(picture), size / 120
    dx, dy = rng.uniform(-3, 3, 2)

    def ellipse(x, y, rx, ry, **style):
        x, y = x + dx, y + dy
        pen.ellipse([(x - rx) * u, (y - ry) * u, (x + rx) * u, (y + ry) * u], **style)

    ellipse(60, 50, 44, 46, fill=hair)
    ellipse(60, 66, 36, 48, fill=skin)
    for x in (42, 78):
        ellipse(x, 62, 7, 4, fill="white")
        ellipse(x, 62, 3, 3, fill=hair)
    pen.line([(60 + dx) * u, (66 + dy) * u, (57 + dx) * u, (80 + dy) * u], fill=hair, width=round(2 * u))
    ellipse(60, 93, 13, 4, fill=(170, 60, 60))
    if glasses:
        for x in (42, 78):
            ellipse(x, 63, 15, 11, outline="black", width=round(3 * u), fill="black" if glasses == 2 else None)
        pen.line([(57 + dx) * u, (61 + dy) * u, (63 + dx) * u, (61 + dy) * u], fill="black", width=round(3 * u))
    return picture


@pytest.fixture
def meglass(tmp_path) -> Path:
    """40 drawn faces of 10 people in the layout of MeGlass."""
    return write_meglass(tmp_path / "meglass", people=10, each=4)


def write_meglass(root: Path, people: int, each: int) -> Path:
    """Drawn faces in the layout of MeGlass: half of each person's pictures with glasses."""
    folder = root / "MeGlass_120x120"
    folder.mkdir(parents=True)
    lines = []
    for person in range(people):
        for number in range(each):
            name = f"1000{person}@N0{person % 3}_identity_{person}@{700 + number}_0.jpg"
            cartoon(number % 2, seed=person * 100 + number).save(folder / name, quality=92)
            lines.append(f"{name} {number % 2}\n")
    (root / "meta.txt").write_text("".join(lines))
    return root


def obey_signals() -> None:
    """As in a terminal: whoever starts the tests may have them ignored, as `nohup` and shells in the background do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
