"""What does a process of the campaign do?  It reads one damaged file after the other, and watches itself; no command,
benchmarks.fuzz is.

Beside crashes and hangs, which whoever started it sees, it finds: an error that is not one line or says nothing, an
exception that was not promised, words on stdout or stderr, a file written, read or run that is not the input, a
connection, a pickle.
"""

import json
import math
import os
import resource
import shutil
import signal
import site
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks import fuzz_files, fuzz_inputs
from benchmarks.fuzz_inputs import ANSWERED, KINDS, OUTSIDE
from glasses.output import as_csv, as_jsonl, one_line

ROOT = Path(__file__).parents[1]
MEMORY = 1_000_000_000  # bytes
LONGEST_LINE = 400  # characters of an error
PICTURES = "pictures"
ANSWERS, NAMED, WRONG, CRASH, HANG = "answered", "named", "wrong", "crashes", "hangs"
FORBIDDEN = ("socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
FORBIDDEN += ("pickle.find_class", "os.putenv", "ctypes.dlopen")


class Outcome(NamedTuple):
    """What became of a file: its number, form, what was done to it, one of the outcomes, the line or what was wrong,
    seconds of the processor, megabytes of the process at most."""

    number: int
    form: str
    change: str
    outcome: str
    line: str
    seconds: float = math.nan
    mb: float = math.nan


def changes_of(kind: str) -> Sequence[fuzz_files.Change]:
    """What damages files of a kind."""
    return fuzz_files.CHANGES if kind == PICTURES else KINDS[kind].changes


def read_corpus(folder: Path) -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """What `write_corpus` wrote: the whole files, and the bombs."""
    forms = json.loads((folder / "forms.json").read_text())
    files = [(form, (folder / str(i)).read_bytes(), heavy) for i, (form, heavy) in enumerate(forms)]
    return [(f, c) for f, c, heavy in files if not heavy], [(f, c) for f, c, heavy in files if heavy]


def read_picture(pipeline, file: Path, content: bytes, as_path: bool) -> str:
    """As the command line answers. Raises AssertionError for an answer that is none."""
    from glasses.crops import KINDS as KINDS_OF_GLASSES

    if as_path:
        file.write_bytes(content)
    answer = pipeline.answer(str(file) if as_path else content)
    record = json.loads(as_jsonl(answer), parse_constant=lambda name: (_ for _ in ()).throw(AssertionError(name)))
    assert record["path"] == (str(file) if as_path else "")
    assert as_csv(answer).count("\n") == max(1, len(answer.faces))
    assert answer.warning is None or answer.warning == one_line(answer.warning)
    if answer.error is not None:
        assert (answer.faces, answer.glasses, answer.probability, answer.kind) == ([], None, None, None)
        return answer.error
    assert (answer.probability is None) == (answer.kind is None) == (not answer.faces)
    for face in answer.faces:
        assert 0 <= face.probability <= 1
        assert face.kind in KINDS_OF_GLASSES
    return ANSWERED


class Watch:
    """What Python is asked to do while a file is read; `seen` are the things that it must not.

    allowed: a folder in which it may write; it may read there and where Python and its packages are.
    """

    def __init__(self, allowed: Path):
        self.seen, self.on = [], False
        packages = [*site.getsitepackages(), os.path.dirname(os.__file__), str(ROOT), sys.prefix]
        self.allowed = os.path.realpath(allowed)
        self.readable = tuple(map(os.path.realpath, [*packages, allowed, "/proc/self", os.devnull]))
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        if event in FORBIDDEN and not self.is_harmless(event, arguments):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path, flags = os.path.realpath(os.fsdecode(arguments[0])), arguments[2] or 0
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not path.startswith(self.allowed if writes else self.readable):
                self.seen.append(f"open {path} {'to write' if writes else 'to read'}")

    def is_harmless(self, event: str, arguments: tuple) -> bool:
        """Packages that are imported late load libraries; torch finds classes of its own by name."""
        if event == "pickle.find_class":
            return str(arguments[0]).split(".")[0] in ("torch", "collections")
        return event == "ctypes.dlopen" and str(arguments[0]).startswith(self.readable)


def limit_memory() -> None:
    """MEMORY bytes more than this process has now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, held + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def most_memory() -> float:
    """Megabytes that this process held at most since the last call; what follows is counted anew."""
    status = Path("/proc/self/status").read_text()
    most = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return most


def make_reader(kind: str, folder: Path, whole: bytes) -> Callable[[int, Path, bytes], str]:
    """What reads a file of a kind: number, path, bytes -> `ANSWERED` or a line. It has read the `whole` one."""
    if kind != PICTURES:
        read = KINDS[kind].read
        read(folder / "case" / KINDS[kind].name, whole)
        return lambda number, file, content: read(file, content)
    import cv2

    from glasses import GlassesPipeline

    cv2.setNumThreads(1)
    pipeline = GlassesPipeline(workers=1)
    pipeline.answer(whole)
    return lambda number, file, content: read_picture(pipeline, file, content, number % 2 == 0)


def outcome_of(read: Callable[[], str], watch: Watch, folder: Path, words: Path) -> tuple[str, str]:
    """The outcome of reading a file, and the line or what was wrong."""
    known = {*folder.iterdir(), *(folder / OUTSIDE).iterdir()}
    watch.seen.clear()
    watch.on = True
    try:
        line = read()
    except (Exception, RecursionError, SystemExit) as error:
        watch.on = False
        return WRONG, f"{type(error).__name__}: {one_line(str(error))[:300]}"
    finally:
        watch.on = False
    sys.stderr.flush()
    if watch.seen:
        return WRONG, watch.seen[0]
    if words.stat().st_size:
        return WRONG, f"said {words.read_bytes()[:300]!r}"
    left = [path for path in [*folder.iterdir(), *(folder / OUTSIDE).iterdir()] if path not in known]
    for path in left:
        path.unlink()
    if left:
        return WRONG, f"wrote {left[0].name} outside of its folder"
    if line == ANSWERED:
        return ANSWERS, ""
    if not line.strip() or len(line) > LONGEST_LINE or one_line(line) != line:
        return WRONG, f"not one line: {line[:300]!r}"
    return NAMED, line


def work(pipe: Connection, at, since, began, kind: str, corpus: Path, seed: int, numbers: Sequence[int]) -> None:
    """Read the files of these numbers, one after the other, and send the `Outcome` of each; at the end None.

    at, since, began: in memory of both processes the number that is read, -1 in between, and the seconds of the
    processor and of the clock at which it was begun.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    whole, heavy = read_corpus(corpus)
    folder = corpus.resolve() / "work"
    shutil.rmtree(folder, ignore_errors=True)  # of a process that died
    case, outside, words = folder / "case", folder / OUTSIDE, folder / "words"
    for path in (case, outside):
        path.mkdir(parents=True)
    (outside / "film.ts").write_bytes(fuzz_inputs.film("mpegts", "mpeg2video") if kind == "films" else b"")
    (outside / "data.bin").write_bytes(bytes(5_000_000) if kind == "networks" else b"")
    read, watch = make_reader(kind, folder, whole[0][1]), Watch(folder)
    said = os.open(words, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)
    limit_memory()
    for number in numbers:
        damaged = fuzz_files.mutated(number, seed, whole, heavy, changes_of(kind))
        shutil.rmtree(case)
        case.mkdir()
        os.ftruncate(said, 0)
        file = case / ("a.jpg" if kind == PICTURES else KINDS[kind].name)
        most_memory()
        since.value, began.value, at.value = time.process_time(), time.monotonic(), number
        result = outcome_of(partial(read, number, file, damaged.content), watch, folder, words)
        seconds = time.process_time() - since.value
        pipe.send(Outcome(number, damaged.form, damaged.change, *result, seconds, most_memory()))
        at.value = -1
    pipe.send(None)
