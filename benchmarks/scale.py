"""How many photos does `glasses batch` answer, and what grows with their number?  Writes benchmarks/results/scale.csv.

    python -m benchmarks.scale [speed growth plan] [--photos 4000] [--repeats 3] [--files 1000 10000 100000]
                               [--paths 10000000] [--ray] [--note WORDS]

speed: the photos of benchmarks.serve, two public-domain portraits in three sizes, answered by a loop in one process, by
two such loops beside each other, which share nothing and so show what the machine can, and by `glasses batch`; the
start of each, timed with a photo a worker, is taken off. Medians over the rounds. cpu_ms is the processor's time for a
photo: it says how they compare where other programs are at work too.
growth: links to the smallest of these photos; the memory is what all its processes hold, as Linux counts it.
plan: the lines of a list are in no order. cluster: computed from the speed with two workers.
The parts that are not named stay in the table as they are. Linux only.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import datetime
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, with_earlier, write_table
from benchmarks.serve import write_photos

MACHINES, MANY = 100, 10_000_000
EARLY = 5000  # photos after which memory is to stay as it is
LOOPS = ("a loop", "two loops")
PARTS = ("speed", "growth", "plan")
SHARD = 200  # photos, where some thousand are dealt out to two workers
PLAN = """
import sys
from pathlib import Path
from glasses.batch_plan import locked, make_plan
from glasses.cli import batch_parser

def most():
    return next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)

options, before = batch_parser().parse_args(sys.argv[1:]), most()
with locked(options.output):
    make_plan(options)
print(before, most())
"""


LOOP = """
import sys
import cv2
from glasses import GlassesPipeline
cv2.setNumThreads(1)
pipeline = GlassesPipeline(workers=1)
for line in sys.stdin:
    if pipeline.answer(line.rstrip()).error:
        sys.exit(f"{line} was not answered")
"""


def now() -> np.ndarray:
    """Seconds by the clock, and of the processor, of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in used)])


def seconds_of_loops(photos: list[Path], count: int) -> np.ndarray:
    """Those of `count` processes at a time, each with its share of the photos, one after the other; as `now`."""
    start, processes = now(), []
    for share in (photos[number::count] for number in range(count)):
        with tempfile.TemporaryFile("w+") as paths:  # a pipe would hold a part of them back, and with it the next loop
            paths.writelines(f"{photo}\n" for photo in share)
            paths.seek(0)
            processes.append(subprocess.Popen([sys.executable, "-c", LOOP], cwd=ROOT, stdin=paths))
    if any([process.wait() for process in processes]):
        raise RuntimeError("a loop did not end well")
    return now() - start


def start_batch(source: Path, output: Path, workers: int, shard: int, *more: str) -> subprocess.Popen:
    arguments = [source, "--output", output, "--workers", workers, "--shard", shard, *more]
    command = [sys.executable, "-m", "glasses", "batch", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def seconds_of_batch(photos: list[Path], workers: int, shard: int, *more: str) -> np.ndarray:
    """Those of `glasses batch` for these photos, from process start to end; as `now`."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "list.txt"
        source.write_text("".join(f"{photo}\n" for photo in photos))
        start = now()
        process = start_batch(source, Path(folder) / "out", workers, shard, *more)
        told = process.communicate()[1]
        if process.returncode:
            raise RuntimeError(told)
        return now() - start


def measure_speed(count: int, repeats: int, ray: bool) -> pd.DataFrame:
    """A row for each of LOOPS and for each way of `glasses batch`: photos_per_s, its ratio to the loop, cpu_ms."""
    ways = {"1 worker": (1,), "2 workers": (2,)} | ({"2 workers, Ray": (2, "--engine", "ray")} if ray else {})
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), count)
        size = sum(photo.stat().st_size for photo in photos) / count
        for _ in range(repeats):
            for loops, name in enumerate(LOOPS, 1):
                begin = seconds_of_loops(photos[:loops], loops)
                rounds.append([name, loops, *begin, *seconds_of_loops(photos, loops)])
            for name, (workers, *more) in ways.items():
                begin = seconds_of_batch(photos[:workers], workers, 1, *more)
                rounds.append([name, workers, *begin, *seconds_of_batch(photos, workers, SHARD, *more)])
    columns = ["what", "first", "begin", "begin_cpu", "all", "all_cpu"]
    medians = pd.DataFrame(rounds, columns=columns).groupby("what", sort=False).median()
    photos = count - medians["first"]
    speed, cpu = photos / (medians["all"] - medians["begin"]), (medians["all_cpu"] - medians["begin_cpu"]) / photos
    cpu[cpu.index.str.contains("Ray")] = np.nan  # its workers are no children of the command
    table = pd.DataFrame({"photos_per_s": speed, "ratio": speed / speed[LOOPS[0]], "cpu_ms": 1000 * cpu})
    return table.reset_index().assign(part="speed", count=count, bytes=size, start_s=medians["begin"].to_numpy())


def processes_of(process: int) -> list[int]:
    """The process and its children."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return [process]
    return [process, *map(int, children)]


def memory_of(processes: list[int]) -> float:
    """Megabytes that these processes hold now; what they share is counted once each."""
    pages = 0
    for process in processes:
        try:
            pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
        except OSError:  # it has ended
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_growth(count: int) -> dict:
    """Seconds and megabytes of a batch of so many links: the most until EARLY photos were answered, and after that."""
    with tempfile.TemporaryDirectory() as folder:
        photo = write_photos(Path(folder), 1)[0]
        links = Path(folder) / "links"
        links.mkdir()
        for number in range(count):
            (links / f"{number:07}.jpg").symlink_to(photo)
        output, memory = Path(folder) / "out", {False: 0.0, True: 0.0}
        start = time.perf_counter()
        process = start_batch(links, output, 2, 1000)
        while process.poll() is None:
            late = 1000 * len(list(output.glob("part-*"))) >= EARLY
            memory[late] = max(memory[late], memory_of(processes_of(process.pid)))
            time.sleep(0.2)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise RuntimeError(process.stderr.read())
    row = {"part": "growth", "what": "files", "count": count, "seconds": seconds, "photos_per_s": count / seconds}
    return row | {"mb": memory[False], "mb_late": memory[True] or np.nan}


def measure_plan(count: int) -> dict:
    """Seconds until a list of so many paths is a plan, and megabytes of that process: before, and the most."""
    with tempfile.TemporaryDirectory() as folder:
        source, numbers = Path(folder) / "list.txt", list(range(count))
        random.Random(0).shuffle(numbers)
        with open(source, "w") as file:
            file.writelines(f"archive/{n % 997:03}/{n // 997 % 1000:03}/photo-{n:08}.jpg\n" for n in numbers)
        del numbers
        command = [sys.executable, "-c", PLAN, source, "--output", Path(folder) / "out"]
        start = time.perf_counter()
        told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - start
    before, most = (int(kilobytes) * 1024 / 1e6 for kilobytes in told.split())
    return {"part": "plan", "what": "paths", "count": count, "seconds": seconds, "mb": before, "mb_late": most}


def measure_cluster(speed: pd.DataFrame) -> dict:
    """What MACHINES would take, of what `measure_speed` found."""
    of_two = speed.set_index("what").loc["2 workers"]
    photos_per_s = MACHINES * of_two["photos_per_s"]
    row = {"part": "cluster", "what": f"{MACHINES} machines", "count": MANY, "seconds": MANY / photos_per_s}
    return row | {"photos_per_s": photos_per_s, "bytes": of_two["bytes"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--photos", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--files", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--paths", type=int, default=MANY)
    parser.add_argument("--ray", action="store_true", help="measure that engine, too")
    add_note(parser)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no {unknown.pop()}: choose from {', '.join(PARTS)}")
    file = RESULTS / "scale.csv"
    for part in options.parts or PARTS:
        if part == "speed":
            speed = measure_speed(options.photos, options.repeats, options.ray)
            measured = pd.concat([speed, pd.DataFrame([measure_cluster(speed)])])
        elif part == "plan":
            measured = pd.DataFrame([measure_plan(options.paths)])
        else:
            measured = pd.DataFrame([measure_growth(count) for count in options.files])
        measured["date"] = datetime.date.today()
        print(measured.dropna(axis=1, how="all").to_string(index=False), flush=True)
        table = with_earlier(measured, file, "part")
        lines = header(f"rounds: {options.repeats}; each part as it was last measured", note=options.note)
        write_table(table, file, lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
