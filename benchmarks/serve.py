"""How many photos does the server answer in a second, beside `glasses predict`?  Writes benchmarks/results/serve.csv.

    python -m benchmarks.serve [--photos 300] [--repeats 5] [--note WORDS]

Both answer the same photos, two public-domain portraits in three sizes, as JPEG, and both have all cores; so do the
server's clients, which run on the same machine. Each round runs `glasses predict` on a folder (its start, timed with
one photo, is taken off) and then all ways to ask the server; the table has the medians over the rounds. cpu_ms is the
processor's time for a photo, without the clients': it says how the two compare where other programs are at work too.
Linux only.
"""

import argparse
import http.client
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, write_table
from sample_photos import sample_photos

SIDES = (512, 1024, 2048)  # pixels of the long side
BOUNDARY = "benchmark"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


class Way(NamedTuple):
    """A way to ask: so many clients at once, each with so many photos a request."""

    clients: int
    photos: int

    def __str__(self) -> str:
        return (
            f"{self.clients} client{'s' * (self.clients > 1)}, {self.photos} photo{'s' * (self.photos > 1)} a request"
        )


WAYS = (Way(1, 1), Way(4, 1), Way(50, 1), Way(4, 10))


def write_photos(folder: Path, count: int) -> list[Path]:
    """So many JPEGs: each portrait in each size in turn."""
    portraits = [Image.open(sample_photos()[name]).convert("RGB") for name in ("grace_hopper.jpg", "astronaut.png")]
    files = []
    for number in range(count):
        portrait, side = portraits[number % 2], SIDES[number // 2 % len(SIDES)]
        files.append(folder / f"{number:04}.jpg")
        if number < 2 * len(SIDES):
            scale = side / max(portrait.size)
            size = [round(length * scale) for length in portrait.size]
            portrait.resize(size, Image.Resampling.LANCZOS).save(files[-1], quality=90)
        else:
            files[-1].write_bytes(files[number % (2 * len(SIDES))].read_bytes())
    return files


def seconds_of_predict(path: Path) -> np.ndarray:
    """Those of `glasses predict` from process start to end, by the clock and of the processor."""

    def now() -> np.ndarray:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return np.array([time.perf_counter(), children.ru_utime + children.ru_stime])

    start = now()
    command = [sys.executable, "-m", "glasses", "predict", path, "--format", "jsonl"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return now() - start


def processor_seconds(process: int) -> float:
    """What a process that runs has taken of the processor."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving():
    """The port and the process number of a `glasses serve`."""
    command = [sys.executable, "-m", "glasses", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        port = int(process.stderr.readline().split("/")[2].split(":")[1])
        with ThreadPoolExecutor(1) as reader:
            reader.submit(process.stderr.read)  # its log, of which a pipe holds little
            try:
                yield port, process.pid
            finally:
                process.terminate()


def form(files: list[Path]) -> bytes:
    """The files as multipart/form-data."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="{{}}"\r\n\r\n'
    parts = [head.format(file.name).encode() + file.read_bytes() + b"\r\n" for file in files]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def ask(port: int, way: Way, files: list[Path]) -> tuple[float, list[float]]:
    """The seconds until all files are answered, and of each request. Raises RuntimeError for any other answer."""
    requests = [form(files[first : first + way.photos]) for first in range(0, len(files), way.photos)]

    def client(number: int) -> list[float]:
        connection, seconds = http.client.HTTPConnection("127.0.0.1", port), []
        for request in requests[number :: way.clients]:
            start = time.perf_counter()
            connection.request("POST", "/predict", request, {"Content-Type": KIND})
            response = connection.getresponse()
            if response.status != 200 or b'"error":null' not in response.read():
                raise RuntimeError(f"the server answered {response.status}")
            seconds.append(time.perf_counter() - start)
        connection.close()
        return seconds

    with ThreadPoolExecutor(way.clients) as pool:
        start = time.perf_counter()
        waited = [seconds for of_client in pool.map(client, range(way.clients)) for seconds in of_client]
        return time.perf_counter() - start, waited


def measure(count: int, repeats: int) -> pd.DataFrame:
    """A row for `glasses predict` and for each way to ask the server: photos_per_s, its ratio to that of predict,
    cpu_ms of a photo, request_ms."""
    rounds = []
    with tempfile.TemporaryDirectory() as folder, serving() as (port, process):
        files = write_photos(Path(folder), count)
        ask(port, WAYS[0], files[:6])  # the first of all is slower
        for _ in range(repeats):
            begin = np.median([seconds_of_predict(files[0]) for _ in range(3)], axis=0)
            seconds, busy = (seconds_of_predict(Path(folder)) - begin) / (count - 1)
            rounds.append({"way": "glasses predict", "photos_per_s": 1 / seconds, "ratio": 1.0, "cpu_ms": 1000 * busy})
            of_predict = 1 / seconds
            for way in WAYS:
                before = processor_seconds(process)
                seconds, waited = ask(port, way, files)
                row = {"way": str(way), "photos_per_s": count / seconds, "ratio": count / seconds / of_predict}
                row["cpu_ms"] = 1000 * (processor_seconds(process) - before) / count
                rounds.append(row | {"request_ms": 1000 * np.median(waited)})
    return pd.DataFrame(rounds).groupby("way", sort=False).median().reset_index()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    add_note(parser)
    options = parser.parse_args()
    table = measure(options.photos, options.repeats)
    print(table.to_string(index=False))
    lines = header(f"photos: {options.photos}; rounds: {options.repeats}", note=options.note)
    write_table(table, RESULTS / "serve.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
