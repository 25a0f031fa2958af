"""What else happens to a batch?  Workers die, a disk is full, folders vanish, reading breaks off; no command.

archive = Archive(folder, 5000)                      # links to public-domain photos, broken files, and a list of them
expected = archive.run("undisturbed").output         # what `glasses batch` writes without any trouble
for name, trouble in TROUBLES.items():
    row = trouble(archive, expected, random.Random(0))

Each trouble is reported for what it concerns, the rest is answered, and when it is over the same command, or with
--retry-errors, ends with the same bytes: `Archive.differences` counts what is not so.
"""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import psutil
import pyarrow.parquet as pq
import skimage
from PIL import Image

from benchmarks.report import ROOT
from glasses.batch_plan import HIDDEN
from sample_photos import sample_photos

HANG = 900  # seconds after which a command that should have ended hangs
SIDE = 160  # pixels of the long side: what is tried does not depend on it, and small ones are answered sooner
BROKEN = 25  # of so many photos one is broken
PLANNED = {"plan.json", "manifest.parquet", "run.json", "lock"}  # what a batch keeps for itself


class Run(NamedTuple):
    """A `glasses batch` that has ended. status: None where it had to be ended."""

    output: Path
    status: int | None
    told: str

    @property
    def crashed(self) -> bool:
        """Whether it ended as no command may."""
        return self.status not in (0, 1, None) or "Traceback" in self.told


class Archive:
    """A folder with so many photos in photos/a and photos/b, and list.txt, which names them in no order.

    Links to two portraits and a picture of a cat; one of BROKEN is no photo, is cut off, or is not there.
    """

    def __init__(self, home: Path, count: int, shard: int = 50):
        self.home, self.shard = home, shard
        sources = write_sources(home / "sources")
        broken = sources.pop("broken")
        self.paths = []
        for number in range(count):
            kind = broken if number % BROKEN == 0 else sources["photos"]
            source = kind[number // BROKEN % len(kind) if kind is broken else number % len(kind)]
            self.paths.append(f"photos/{'ab'[number % 2]}/{number:05}{source.suffix}")
            (home / self.paths[-1]).parent.mkdir(parents=True, exist_ok=True)
            (home / self.paths[-1]).symlink_to(source)
        lines = [f"{path}\n" for path in self.paths]
        random.Random(0).shuffle(lines)
        (home / "list.txt").write_text("".join(lines))

    def command(self, output: str | Path, *more: object, source: str = "list.txt", workers: int = 2) -> list[str]:
        """`glasses batch` for the photos of the list."""
        arguments = [source, "--output", output, "--shard", self.shard, "--workers", workers, *more]
        return [sys.executable, "-m", "glasses", "batch", *map(str, arguments)]

    def start(self, output: str | Path, *more: object, **options) -> subprocess.Popen:
        """That command at work, in a group of processes of its own."""
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = self.command(output, *more, **options)
        with open(self.home / "told.txt", "w") as told:
            return subprocess.Popen(command, cwd=self.home, env=environment, stderr=told, start_new_session=True)

    def ended(self, process: subprocess.Popen, output: str | Path) -> Run:
        """It, when it has ended by itself, or was ended after HANG seconds."""
        try:
            status = process.wait(HANG)
        except subprocess.TimeoutExpired:
            end_tree(process)
            status = None
        return Run(self.home / output, status, (self.home / "told.txt").read_text())

    def run(self, output: str | Path, *more: object, **options) -> Run:
        """The command from start to end."""
        return self.ended(self.start(output, *more, **options), output)

    def half_way(self, process: subprocess.Popen, output: str | Path, count: int) -> None:
        """Wait until so many of its parts are there."""
        while process.poll() is None and len(parts_of(self.home / output)) < count:
            time.sleep(0.01)

    def differences(self, output: str | Path, expected: Path, paths: Sequence[str] | None = None) -> dict[str, int]:
        """What is not as it should be: rows lost and doubled, parts with other bytes, files that nobody needs."""
        output = self.home / output
        found = Counter(row["path"] for row in rows_of(output))
        wanted = set(self.paths if paths is None else paths)
        theirs, ours = parts_of(expected), parts_of(output)
        strays = {file.name for file in output.iterdir()} - {HIDDEN, *ours}
        strays |= {file.name for file in (output / HIDDEN).iterdir()} - PLANNED
        return {
            "lost": len(wanted - found.keys()),
            "doubled": sum(found.values()) - len(found),
            "different": sum(ours.get(name) != theirs.get(name) for name in {*ours, *theirs}),
            "strays": len(strays),
        }


def write_sources(folder: Path) -> dict[str, list[Path]]:
    """The files that the links lead to: "photos", and what is "broken"."""
    folder.mkdir(parents=True)
    files = [*sample_photos().values(), Path(skimage.__file__).parent / "data" / "chelsea.png"]
    photos = [folder / f"{file.stem}.jpg" for file in files]
    for file, small in zip(files, photos, strict=True):
        picture = Image.open(file).convert("RGB")
        picture.thumbnail((SIDE, SIDE))
        picture.save(small, quality=90)
    whole = photos[0].read_bytes()
    contents = {"cut.jpg": whole[: len(whole) // 2], "end.jpg": whole[:-200], "empty.png": b"", "text.jpg": b"no photo"}
    broken = [folder / name for name in (*contents, "gone.jpg", "folder.jpg", "pipe.jpg")]
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    return {"photos": photos, "broken": broken}


def parts_of(output: Path) -> dict[str, bytes]:
    """The tables of a batch by their names."""
    return {file.name: file.read_bytes() for file in output.glob("part-*.parquet")}


def rows_of(output: Path) -> list[dict]:
    """Their rows, as pyarrow reads them."""
    return [row for file in sorted(output.glob("part-*.parquet")) for row in pq.ParquetFile(file).read().to_pylist()]


def errors_of(output: Path) -> int:
    return sum(row["error"] is not None for row in rows_of(output))


def tree_of(process: int) -> list[psutil.Process]:
    """A process and all that it has started, itself first; [] where it has ended."""
    try:
        first = psutil.Process(process)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def end_tree(process: subprocess.Popen) -> None:
    kill(tree_of(process.pid))
    process.wait()


# ------------------------------------------------------------------------------------------------ the troubles


class Row(NamedTuple):
    """What came of a trouble: how often it struck, how many photos or parts were reported, the runs, differences."""

    count: int
    reported: int
    runs: Sequence[Run]
    differences: dict[str, int]

    def as_record(self) -> dict[str, int]:
        ends = {"crashes": sum(run.crashed for run in self.runs), "hangs": sum(run.status is None for run in self.runs)}
        return {"count": self.count, "reported": self.reported} | self.differences | ends


def workers_die(archive: Archive, expected: Path, chance: random.Random, times: int = 20) -> Row:
    """By SIGKILL, as where memory is short, some moment after a further part; the command goes on.

    A photo at which two died by chance is reported. (Where none comes to its first photo, three times in a row, the
    command ends: it is not the photos.)
    """
    output, deaths = "dying", 0
    process = archive.start(output)
    while process.poll() is None and deaths < times:
        archive.half_way(process, output, len(parts_of(archive.home / output)) + 1)
        time.sleep(chance.uniform(0, 0.3))
        workers = [each for each in tree_of(process.pid)[1:] if is_worker(each)]
        kill(chance.sample(workers, min(1, len(workers))))
        deaths += bool(workers)
    run = archive.ended(process, output)
    reported = errors_of(run.output) - errors_of(expected) + run.told.count(" failed: ")
    again = archive.run(output, "--retry-errors")
    return Row(deaths, reported, [run, again], archive.differences(output, expected))


def is_worker(process: psutil.Process) -> bool:
    """Whether it reads photos, and is not what Python starts beside."""
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.Error:
        return False


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A file system of so many bytes in the folder, which is made; what it yields makes it larger. PermissionError."""
    folder.mkdir()

    def mount(options: str) -> None:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if done.returncode:
            raise PermissionError(f"no file system may be mounted here: {done.stderr.strip()}")

    mount(f"size={size}")
    try:
        yield lambda size: mount(f"remount,size={size}")
    finally:
        subprocess.run(["umount", folder], check=True)


def disk_is_full(archive: Archive, expected: Path, chance: random.Random) -> Row:
    """Half of the parts have room. The others are reported, and written by the same command where there is more."""
    files = [file for file in expected.rglob("*") if file.is_file()]
    pages = sum(-(-file.stat().st_size // 4096) + 1 for file in files)
    folder = archive.home / "disk"
    with small_disk(folder, 4096 * (pages // 2)) as enlarge:
        full = archive.run(folder / "out")
        enlarge(4096 * 4 * pages)
        again = archive.run(folder / "out")
        differences = archive.differences(folder / "out", expected)
    return Row(1, full.told.count("No space left"), [full, again], differences)


def photos_vanish(archive: Archive, expected: Path, chance: random.Random) -> Row:
    """Half of them, as where a disk is unplugged, half-way; later they are back."""
    output, folder = "without photos", archive.home / "photos" / "b"
    process = archive.start(output)
    archive.half_way(process, output, len(parts_of(expected)) // 2 if len(parts_of(expected)) > 3 else 1)
    folder.rename(archive.home / "elsewhere")
    gone = archive.ended(process, output)
    (archive.home / "elsewhere").rename(folder)
    reported = errors_of(gone.output) - errors_of(expected)
    again = archive.run(output, "--retry-errors")
    return Row(1, reported, [gone, again], archive.differences(output, expected))


def output_vanishes(archive: Archive, expected: Path, chance: random.Random) -> Row:
    """The folder of the answers, half-way; when it is back the same command goes on there."""
    output = "without output"
    process = archive.start(output)
    archive.half_way(process, output, len(parts_of(expected)) // 2 if len(parts_of(expected)) > 3 else 1)
    (archive.home / output).rename(archive.home / "put away")
    gone = archive.ended(process, output)
    shutil.rmtree(archive.home / output, ignore_errors=True)
    (archive.home / "put away").rename(archive.home / output)
    again = archive.run(output)
    return Row(1, gone.told.count(" failed: "), [gone, again], archive.differences(output, expected))


def reading_fails(archive: Archive, expected: Path, chance: random.Random) -> Row:
    """Some files can be opened and not be read, as on a damaged disk: /proc/self/mem is such a file."""
    output = "unreadable"
    chosen = [archive.home / path for path in chance.sample(archive.paths, max(2, len(archive.paths) // 20))]
    chosen = [file for file in chosen if file.is_file()]
    targets = [file.readlink() for file in chosen]
    for file in chosen:
        file.unlink()
        file.symlink_to("/proc/self/mem")
    failed = archive.run(output)
    for file, target in zip(chosen, targets, strict=True):
        file.unlink()
        file.symlink_to(target)
    reported = sum("Input/output error" in (row["error"] or "") for row in rows_of(failed.output))
    again = archive.run(output, "--retry-errors")
    return Row(len(chosen), reported, [failed, again], archive.differences(output, expected))


class BreakingHandler(SimpleHTTPRequestHandler):
    """Serves files, of which those in `broken` end half-way."""

    broken: set[str] = set()

    def copyfile(self, source, outputfile) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.path in self.broken else content)

    def log_message(self, *_) -> None:
        pass


def connection_breaks(archive: Archive, expected: Path, chance: random.Random, count: int = 200) -> Row:
    """Photos that come over HTTP end half-way, and do not later."""
    handler = type("Handler", (BreakingHandler,), {"broken": set()})
    chosen = [path for path in archive.paths if (archive.home / path).is_file()][:count]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=archive.home)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        addresses = [f"http://127.0.0.1:{server.server_address[1]}/{path}" for path in chosen]
        (archive.home / "addresses.txt").write_text("".join(f"{address}\n" for address in addresses))
        whole = archive.run("whole", source="addresses.txt")
        large = [path for path in chosen if (archive.home / path).stat().st_size > 2000]
        handler.broken = {f"/{path}" for path in chance.sample(large, len(large) // 4)}
        broken = archive.run("broken", source="addresses.txt")
        reported = sum("cannot be fetched" in (row["error"] or "") for row in rows_of(broken.output))
        struck, handler.broken = len(handler.broken), set()
        again = archive.run("broken", "--retry-errors", source="addresses.txt")
        server.shutdown()
    return Row(struck, reported, [whole, broken, again], archive.differences("broken", whole.output, addresses))


TROUBLES: dict[str, Callable[[Archive, Path, random.Random], Row]] = {
    "workers die": workers_die,
    "the disk is full": disk_is_full,
    "photos vanish": photos_vanish,
    "the output vanishes": output_vanishes,
    "reading fails": reading_fails,
    "connections break off": connection_breaks,
}
