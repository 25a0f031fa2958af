"""How fast is the page, and does it answer as the command line does?  Measured in a Chromium that is installed.

    make page && python -m benchmarks.page [--photos PATH ...] [--note WORDS]
    python -m benchmarks.page --picture docs/page.png     # only draws the page, in both themes

The page is served from this machine to a headless Chromium with a fresh profile and a webcam that shows a portrait.
Writes results/page.csv, a row a measure: the bytes and milliseconds of the first load, milliseconds a photo, frames a
second of the webcam, and how far the answers are from those of `GlassesPipeline`: on the photos of `sample_photos`, on
the faces of data/sample, and with --photos on those of folders.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import http.server
import io
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, write_table
from glasses.photos import IMAGE_SUFFIXES
from glasses.pipeline import GlassesPipeline
from sample_photos import made_photos, sample_photos

BUILT = ROOT / "build" / "web"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
CLOSE = 0.02  # of probabilities that agree
PATIENCE = 120  # seconds that a photo, or the networks, may take at most
LOADS, FRAMES = 5, 100  # of which the median and the mean are told


@dataclass
class PageAnswer:
    """What the page says of a photo: glasses and probability as `Answer` has them, all boxes, milliseconds, error."""

    name: str
    glasses: bool | None
    probability: float | None
    boxes: list[tuple[int, ...]]
    milliseconds: float
    error: str | None


def browser_path() -> str | None:
    """The file of an installed Chromium, None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def chromium(webcam: Path | None = None) -> Iterator[Browser]:
    """A headless browser with a fresh profile; webcam: the .mjpeg that it takes for one."""
    options = list(QUIET)
    if webcam:
        options += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        options += [f"--use-file-for-fake-video-capture={webcam}"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path(), args=options, headless=True)
        try:
            yield browser
        finally:
            browser.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address at which this machine serves a folder as any static host does."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_webcam(image: np.ndarray, path: Path, frames: int = 40) -> Path:
    """An .mjpeg of an (H, W, 3) uint8 picture that sways: JPEG after JPEG, 640 x 480."""
    picture = Image.fromarray(image).resize((700, 700 * image.shape[0] // image.shape[1]))
    with open(path, "wb") as file:
        for angle in 8 * np.sin(np.linspace(0, 2 * np.pi, frames, endpoint=False)):
            moved = picture.rotate(angle, resample=Image.Resampling.BILINEAR, center=(310, 180))
            frame = io.BytesIO()
            moved.crop((30 + round(2 * angle), 20, 670 + round(2 * angle), 500)).save(frame, "JPEG", quality=90)
            file.write(frame.getvalue())
    return path


def wait(page: Page, ask: str, wanted=True, seconds: float = PATIENCE):
    """Until a function of the page, as text, returns what is wanted. Raises TimeoutError with what it last returned.

    Polled from here: a wait inside of the page would be code from a string, which its policy forbids.
    """
    end = time.monotonic() + seconds
    while (answer := page.evaluate(ask)) != wanted:
        if time.monotonic() > end:
            raise TimeoutError(f"{ask} is {answer!r}, not {wanted!r}")
        page.wait_for_timeout(20)


def open_page(page: Page, address: str) -> float:
    """Load the page; returns the milliseconds until its networks are ready."""
    start = time.perf_counter()
    page.goto(address)
    wait(page, "() => document.body.dataset.ready ?? null", "true")
    return 1000 * (time.perf_counter() - start)


def answers_of(page: Page, files: Sequence[Path]) -> list[PageAnswer]:
    """What an open page answers for files, in their order."""
    before = page.locator('[data-testid="answer"]').count()
    page.locator("#photo").set_input_files([str(file) for file in files])
    standing = """() => document.querySelectorAll('[data-testid="answer"][data-glasses]').length"""
    wait(page, standing, before + len(files), PATIENCE * len(files))
    told = page.evaluate(
        """() => [...document.querySelectorAll('[data-testid="answer"]')].map((card) => ({...card.dataset,
        boxes: [...card.querySelectorAll('[data-box]')].map((face) => face.dataset.box)}))"""
    )
    return [
        PageAnswer(
            name=one["name"],
            glasses={"true": True, "false": False, "null": None}[one["glasses"]],
            probability=None if one["probability"] == "null" else float(one["probability"]),
            boxes=[tuple(int(side) for side in box.split()) for box in one["boxes"]],
            milliseconds=float(one.get("milliseconds", "nan")),
            error=one.get("error"),
        )
        for one in told[before:]
    ]


def compare(files: Sequence[Path], answers: Sequence[PageAnswer]) -> pd.DataFrame:
    """A row a photo: the difference of the probabilities, NaN where either sees nobody; whether the answers and the
    boxes are the same."""
    rows = []
    for ours, theirs in zip(GlassesPipeline()(files), answers, strict=True):
        seen = None not in (ours.probability, theirs.probability)
        rows.append(
            {
                "difference": abs(ours.probability - theirs.probability) if seen else np.nan,
                "same": ours.glasses == theirs.glasses,
                "boxes": [face.box for face in ours.faces] == theirs.boxes,
                "milliseconds": theirs.milliseconds,
            }
        )
    return pd.DataFrame(rows, index=[Path(file).name for file in files])


def agreement(name: str, table: pd.DataFrame) -> list[tuple]:
    """Rows of page.csv of what `compare` found."""
    far = table["difference"] > CLOSE
    counts = {
        "photos": len(table),
        "same answer": table["same"].sum(),
        "close": (table["difference"] <= CLOSE).sum() + (table["difference"].isna() & table["same"]).sum(),
        "far, other box": (far & ~table["boxes"]).sum(),
        "far, same box": (far & table["boxes"]).sum(),
    }
    rows = [(name, measure, int(count), "photos") for measure, count in counts.items()]
    rows += [(name, "largest difference", float(table["difference"].max()), "probability")]
    return [*rows, (name, "one photo", float(table["milliseconds"].median()), "ms")]


def write_photos(folder: Path) -> list[Path]:
    """The portraits of `sample_photos` as they are, and the photos made from them as PNG."""
    files = [Path(shutil.copy(file, folder / name)) for name, file in sample_photos().items()]
    for name, (image, _) in made_photos().items():
        file = folder / f"{name}.png"
        Image.fromarray(image).save(file)
        files.append(file)
    return files


def frame_rate(page: Page) -> float:
    """Frames a second of the webcam, over FRAMES frames after the first ten."""
    shown = "() => Number(document.getElementById('live').dataset.frames ?? 0) >= "
    page.locator("#camera").click()
    wait(page, f"{shown} 10")
    start = time.perf_counter()
    wait(page, f"{shown} {10 + FRAMES}")
    rate = FRAMES / (time.perf_counter() - start)
    page.locator("#stop").click()
    return rate


def draw_page(path: Path, scratch: Path) -> None:
    """A picture of the page with three answers, the left part in its light theme, the right in its dark one."""
    portraits = {file.name: file for file in write_photos(scratch)}
    chosen = [portraits[name] for name in ("grace_hopper.jpg", "astronaut.png", "group.png")]
    shots = []
    with chromium() as browser, serve(BUILT) as address:
        for scheme in ("light", "dark"):
            size = {"width": 1000, "height": 900}
            with browser.new_context(viewport=size, color_scheme=scheme) as context:
                page = context.new_page()
                open_page(page, address)
                answers_of(page, chosen)
                page.wait_for_timeout(1000)  # until nothing moves any more
                shots.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    light, dark = shots
    across = np.arange(light.width)[None] - 0.66 * light.width + 0.25 * np.arange(light.height)[:, None]
    light.paste(dark, mask=Image.fromarray(np.uint8(255 * (across > 0.12 * light.height))))
    light.quantize(192, dither=Image.Dither.NONE).save(path, optimize=True)


def measure(folders: Sequence[Path], scratch: Path) -> tuple[list[tuple], str]:
    """All rows, and the version of the browser."""
    sets = {"photos": write_photos(scratch), "faces": sorted((ROOT / "data" / "sample").rglob("*.jpg"))}
    sets["faces"] = [file for file in sets["faces"] if "@" in file.name]  # not the pictures of its README
    for folder in folders:
        sets[folder.name] = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    webcam = write_webcam(np.asarray(Image.open(sample_photos()["astronaut.png"]).convert("RGB")), scratch / "a.mjpeg")
    loaded = [file for file in BUILT.iterdir() if file.name != "glasses.html"]
    rows = [
        ("load", "folder", sum(file.stat().st_size for file in loaded), "bytes"),
        ("load", "single file", (BUILT / "glasses.html").stat().st_size, "bytes"),
    ]
    with chromium(webcam) as browser, serve(BUILT) as address:
        for name, start in (("folder", address), ("single file", (BUILT / "glasses.html").as_uri())):
            times = []
            for _ in range(LOADS):
                with browser.new_context() as context:
                    times.append(open_page(context.new_page(), start))
            rows.append(("load", name, float(np.median(times)), "ms"))
        page = browser.new_page()
        open_page(page, address)
        for name, files in sets.items():
            rows += agreement(name, compare(files, answers_of(page, files)))
        page.reload()
        wait(page, "() => document.body.dataset.ready ?? null", "true")
        rows.append(("webcam", "640 x 480", frame_rate(page), "frames a second"))
        page.get_by_text("aviator").click()
        rows.append(("webcam", "640 x 480, glasses tried on", frame_rate(page), "frames a second"))
        return rows, browser.version


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", nargs="+", default=[], type=Path, metavar="PATH", help="folders of more photos")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="write a picture of the page, measure nothing")
    add_note(parser)
    options = parser.parse_args()
    if not (BUILT / "index.html").is_file():
        parser.error("no page in build/web: make page builds it")
    with tempfile.TemporaryDirectory() as scratch:
        if options.picture:
            draw_page(options.picture, Path(scratch))
            return 0
        rows, version = measure(options.photos, Path(scratch))
    table = pd.DataFrame(rows, columns=["of", "measure", "value", "unit"])
    lines = header(f"browser: Chromium {version}, headless, one thread", note=options.note)
    write_table(table, RESULTS / "page.csv", lines)
    print(table.to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
