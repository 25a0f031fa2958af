"""How do clients behave, well and badly?  What `glasses serve` has to bear in campaign.py; no command.

rows = measure_load(minutes=10, clients=50, seed=19)

Half of the clients send photos, one after the other, and compare each answer with that of the pipeline in this process.
The others do one of MISDEEDS after the other, each of which may only be answered by certain statuses, or not at all.
"""

import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import psutil
import skimage

from benchmarks.report import ROOT
from benchmarks.serve import BOUNDARY, KIND, form, write_photos
from glasses import GlassesPipeline
from glasses.output import as_record

SECONDS = 120  # until a request that has no answer hangs
IDLE = 6  # seconds after which the server has closed connections that are idle
WELL = "well-behaved"
NOBODY = ("chelsea.png", "coffee.png", "rocket.jpg")  # of scikit-image
NAMES = ("a.jpg", "../../etc/passwd", "C:\\x\\y.jpg", "\0", "x" * 4000, "é 中.jpg", "")


# ------------------------------------------------------------------------------------------------ one connection


def request(body: bytes, kind: str = KIND, path: str = "/predict", length: int | None = None, more: str = "") -> bytes:
    """A POST; length: what it announces, where that is not true. The server is asked to close the connection."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n{more}"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


@contextmanager
def connected(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        yield client


def send(client: socket.socket, pieces: Iterable[bytes], pause: float = 0.0) -> None:
    """All pieces, or as many as the server takes."""
    try:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(pause)
    except (ConnectionError, BrokenPipeError):  # it has refused the rest, and may have said why
        return


def receive(client: socket.socket) -> bytes:
    """Everything until the server closes the connection. Raises TimeoutError where it never does."""
    received = b""
    try:
        while piece := client.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def statuses(received: bytes) -> tuple[int, ...]:
    """Of the responses, in their order; one that does not tell its length is the last."""
    found = []
    while received.startswith(b"HTTP/1.1 "):
        head, _, received = received.partition(b"\r\n\r\n")
        found.append(int(head.split()[1]))
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        received = received[int(length[1]) :] if length else b""
    return tuple(found)


def ask(port: int, *pieces: bytes, pause: float = 0.0) -> tuple[int, ...]:
    """The statuses of what the server answers to these pieces on a connection of their own."""
    with connected(port) as client:
        send(client, pieces, pause)
        return statuses(receive(client))


# ----------------------------------------------------------------------------------------------------- misdeeds


class Material:
    """What the clients send: photos, the answers that they must get, and worse."""

    def __init__(self, folder: Path):
        files = write_photos(folder, 6)
        files += [Path(skimage.__file__).parent / "data" / name for name in NOBODY]
        whole = files[0].read_bytes()
        for name, content in {"cut.jpg": whole[: len(whole) // 2], "end.jpg": whole[:-150], "text.jpg": b"x"}.items():
            files.append(folder / name)
            files[-1].write_bytes(content)
        cv2.setNumThreads(1)  # as the server
        pipeline = GlassesPipeline(workers=1, crops=True)
        self.forms, self.answers = [form([file]) for file in files], []
        for file in files:
            answer = pipeline.answer(file.read_bytes())
            answer.path = file.name
            self.answers.append([json.loads(json.dumps(as_record(answer)))])
        self.forms.append(form(files[:4]))
        self.answers.append([record for (record,) in self.answers[:4]])
        self.photo = whole
        self.large, self.bomb = picture(5000), picture(20_000)
        self.huge = of_photo(bytes(26_000_000))


def picture(side: int) -> bytes:
    """A black PNG of one bit a pixel: few bytes, many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    row = bytes(1 + -(-side // 8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * side)) + chunk(b"IEND", b"")


def of_photo(content: bytes, name: str = "a.jpg", field: str = "photo") -> bytes:
    """A form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def mutated(content: bytes, chance: random.Random) -> bytes:
    """With some other bytes, or with its end cut off."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 10, 1000])):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.choice([len(changed), chance.randrange(len(changed))])])


Misdeed = Callable[[int, Material, random.Random], tuple[int, ...]]  # port, material, chance -> statuses


def silent_body(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    return ask(port, request(of_photo(material.photo))[: chance.randrange(200, 20_000)])


def dripping_body(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    sent = request(of_photo(material.photo))
    pieces = [sent[:300], *(sent[at : at + 1] for at in range(300, 340)), sent[340:]]
    return ask(port, *pieces, pause=0.2)


def dripping_head(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    return ask(port, b"POST /predict HTTP/1.1\r\n", *[b"X: y\r\n"] * 60, pause=0.25)


def cut_connection(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    """Closed, or reset, in mid body or when all is sent."""
    sent = request(of_photo(material.photo))
    with connected(port) as client:
        send(client, [sent[: chance.choice([chance.randrange(len(sent)), len(sent)])]])
        if chance.random() < 0.5:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    return ()


def half_closed(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    with connected(port) as client:
        send(client, [request(of_photo(material.photo))[:5000]])
        client.shutdown(socket.SHUT_WR)
        return statuses(receive(client))


def never_reads(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    with connected(port) as client:
        send(client, [request(material.forms[0], path="/predict?heatmap=1")])
        time.sleep(chance.uniform(0, 3))
    return ()


def broken_file(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    content = chance.choice([mutated(material.photo, chance), chance.randbytes(5000), b""])
    return ask(port, request(of_photo(content)))


def huge_file(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    return ask(port, request(material.huge))


def many_pixels(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    return ask(port, request(of_photo(chance.choice([material.large, material.bomb]))))


def odd_name(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    return ask(port, request(of_photo(b"", chance.choice(NAMES))))


def wrong_field(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    return ask(port, request(of_photo(material.photo, field=chance.choice(["picture", "", "x" * 100_000]))))


def many_parts(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    part = of_photo(b"x").removesuffix(f"--{BOUNDARY}--\r\n".encode())
    return ask(port, request(part * chance.choice([21, 5000])))


def endless_part_header(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    lines = chance.choice([b"X: " + b"x" * 2_000_000, b"X: y\r\n" * 100_000])
    return ask(port, request(f"--{BOUNDARY}\r\n".encode() + lines))


def no_form(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    kind = chance.choice(["application/json", "multipart/form-data", "", f"{KIND}{'x' * 300}"])
    return ask(port, request(b"{}", kind))


def wrong_address(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    path = chance.choice(["/nothing", "/%00", "/..%2f..%2fetc/passwd", "/health", "/predict?heatmap=yes"])
    return ask(port, request(b"x", path=path))


def endless_head(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    return ask(port, request(b"", more="X: " + "x" * 300_000 + "\r\n"))


def false_length(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    more = chance.choice(["Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: -1\r\n"])
    return ask(port, request(of_photo(material.photo), more=more))


def garbage(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    return ask(port, chance.randbytes(chance.randrange(20, 2000)) + b"\r\n\r\n")


def pipelined_garbage(port: int, material: Material, chance: random.Random) -> tuple[int, ...]:
    good = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    return ask(port, good * 2 + b"\0" + chance.randbytes(300).replace(b"\n", b"\r") + b"\r\n\r\n")


BUSY = (503,)
MISDEEDS: dict[Misdeed, set[tuple[int, ...]]] = {  # and what may be answered; (): nothing; BUSY may be always
    silent_body: {(408,)},
    dripping_body: {(200,)},
    dripping_head: {()},
    cut_connection: {()},
    half_closed: {(), (400,)},
    never_reads: {()},
    broken_file: {(200,)},
    huge_file: {(413,)},
    many_pixels: {(200,)},
    odd_name: {(200,), (400,)},
    wrong_field: {(400,)},
    many_parts: {(413,)},
    endless_part_header: {(400,)},
    no_form: {(400,), (415,)},
    wrong_address: {(400,), (404,), (405,)},
    endless_head: {(400,)},
    false_length: {(400,)},
    garbage: {(400,)},
    pipelined_garbage: {(200, 200, 400)},
}


# --------------------------------------------------------------------------------------------------- the clients


@dataclass
class Diary:
    """What clients met. seconds: of right answers. counts: by (who, outcome); right, wrong, shed, hung."""

    seconds: list[float] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, who: str, outcome: str, seconds: float | None = None, example: object = "") -> None:
        with self.lock:
            self.counts[who, outcome] += 1
            if seconds is not None:
                self.seconds.append(seconds)
            if outcome in ("wrong", "hung") and len(self.examples) < 20:
                self.examples.append(f"{who}, {outcome}: {str(example)[:300]}")


def behave(port: int, material: Material, chance: random.Random, end: float, diary: Diary) -> None:
    """Send photos until then, each on a connection of its own, and compare the answers."""
    while time.monotonic() < end:
        which, start = chance.randrange(len(material.forms)), time.perf_counter()
        try:
            with connected(port) as client:
                client.sendall(request(material.forms[which]))
                received = receive(client)
        except TimeoutError as error:
            diary.note(WELL, "hung", example=error)
            continue
        except ConnectionError as error:
            diary.note(WELL, "wrong", example=error)
            continue
        seconds, status = time.perf_counter() - start, statuses(received)
        body = received.partition(b"\r\n\r\n")[2]
        if status == BUSY:
            diary.note(WELL, "shed")
            time.sleep(1)  # as the answer asks
        elif status == (200,) and json.loads(body) == material.answers[which]:
            diary.note(WELL, "right", seconds)
        else:
            diary.note(WELL, "wrong", example=received)


def misbehave(port: int, material: Material, chance: random.Random, end: float, diary: Diary) -> None:
    """One misdeed after the other until then."""
    while time.monotonic() < end:
        misdeed = chance.choice(list(MISDEEDS))
        name = misdeed.__name__.replace("_", " ")
        try:
            found = misdeed(port, material, chance)
        except TimeoutError as error:
            diary.note(name, "hung", example=error)
            continue
        except ConnectionError as error:  # the connection itself was refused, or reset before anything was sent
            diary.note(name, "wrong", example=error)
            continue
        if found == BUSY:
            diary.note(name, "shed")
        else:
            diary.note(name, "right" if found in MISDEEDS[misdeed] else "wrong", example=found)
        time.sleep(chance.uniform(0, 0.5))


def watch(process: psutil.Process, end: float, samples: list[tuple[float, float]]) -> None:
    """Append (seconds since now, megabytes) each second."""
    start = time.monotonic()
    while time.monotonic() < end:
        try:
            samples.append((time.monotonic() - start, process.memory_info().rss / 1e6))
        except psutil.NoSuchProcess:
            return
        time.sleep(1)


@contextmanager
def serving(folder: Path):
    """A `glasses serve`: its process, its port, and what it says, in a file."""
    told = folder / "told.txt"
    command = [sys.executable, "-m", "glasses", "serve", "--port", "0"]
    with open(told, "w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stderr=file, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        while "http://" not in told.read_text() and process.poll() is None:
            time.sleep(0.05)
        yield process, int(told.read_text().split("/")[2].split(":")[1]), told
    finally:
        process.terminate()
        process.wait(60)


def requests_at_work(port: int) -> int:
    """What /health says."""
    with connected(port) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return json.loads(receive(client).partition(b"\r\n\r\n")[2])["requests"]


def measure_load(minutes: float, clients: int, seed: int) -> list[dict]:
    """Rows: the well-behaved, those of each misdeed, and the server, with its memory in megabytes.

    crashes: whether the server has ended, and errors of its own that it told. hangs: requests that got no end, and of
    the server those that it still counts as at work when all clients have gone; opened: files that are open then and
    were not before.
    """
    diary, samples = Diary(), []
    with tempfile.TemporaryDirectory() as folder:
        material = Material(Path(folder))
        with serving(Path(folder)) as (process, port, told):
            ask(port, request(material.forms[0]))  # the first of all is slower
            server, end = psutil.Process(process.pid), time.monotonic() + 60 * minutes
            files = server.num_fds()
            threads = [threading.Thread(target=watch, args=(server, end, samples))]
            for number in range(clients):
                arguments = (port, material, random.Random(seed * 1000 + number), end, diary)
                threads.append(threading.Thread(target=misbehave if number % 2 else behave, args=arguments))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(IDLE)
            alive = process.poll() is None
            row = {"crashes": int(not alive), "hangs": 0, "opened": 0}
            if alive:
                row |= {"hangs": requests_at_work(port), "opened": server.num_fds() - files}
        row["crashes"] += told.read_text().count("Traceback")
    print("\n".join(diary.examples), flush=True)
    row |= {"part": "load", "what": "the server", "seconds": 60 * minutes} | memory(samples)
    return [*client_rows(diary), row]


def client_rows(diary: Diary) -> list[dict]:
    """A row for the well-behaved, with the seconds of their requests, and one for each misdeed."""
    rows = []
    for who in sorted({who for who, _ in diary.counts}, key=lambda who: (who != WELL, who)):
        right, wrong, shed, hung = (diary.counts[who, outcome] for outcome in ("right", "wrong", "shed", "hung"))
        row = {"part": "load", "what": who if who == WELL else f"misbehaving: {who}"}
        row |= {"count": right + wrong + shed + hung, "wrong": wrong, "shed": shed, "hangs": hung}
        if who == WELL and diary.seconds:
            row |= {f"p{q}_ms": 1000 * np.percentile(diary.seconds, q) for q in (50, 95)}
        rows.append(row)
    return rows


def memory(samples: Sequence[tuple[float, float]]) -> dict[str, float]:
    """mb: the median of the second half of the first minute; mb_late: of the last half minute; mb_most: at any time.

    samples: (seconds, megabytes). Where they last less than two minutes: of their second quarter and second half.
    """
    last = samples[-1][0]
    first, late = min(30.0, last / 4), max(last - 30, last / 2)
    early = [size for second, size in samples if first <= second <= 2 * first]
    rest = [size for second, size in samples if second >= late]
    return {"mb": np.median(early), "mb_late": np.median(rest), "mb_most": max(size for _, size in samples)}
