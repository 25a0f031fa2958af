"""A process of the fuzz campaign that does what it must not, a thing a file: would that be noticed?  For test_fuzz.py.

In a file of its own, which imports little: each such process imports it anew.
"""

import os
import signal
import sys
from pathlib import Path

from benchmarks import fuzz_worker
from benchmarks.fuzz_inputs import ANSWERED


def read(number: int, file: Path, content: bytes) -> str:
    if number == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 2:
        while True:
            pass
    if number == 3:
        raise KeyError("not promised")
    if number == 5:
        print("words of a library", file=sys.stderr)
    if number == 6:
        (file.parent.parent / "escaped").write_text("x")
    if number == 7:
        open("/etc/passwd").close()
    if number == 8:
        os.system("true")
    if number == 9:
        bytearray(3_000_000_000)
    return {4: "two\nlines", 10: " ", 11: "an error"}.get(number, ANSWERED)


def work(*arguments) -> None:
    """The process of the campaign, with that reader."""
    fuzz_worker.make_reader = lambda *_: read
    fuzz_worker.work(*arguments)
