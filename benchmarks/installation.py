"""How much does the tool alone take?  Installs it in a new environment and writes benchmarks/results/installation.csv.

    python -m benchmarks.installation [--note WORDS]

Bytes are those of all files of the environment, pip's own among them; links are not followed. The seconds are those of
`pip install .`: with the packages in pip's cache they are few.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, write_table


def bytes_of(folder: Path) -> int:
    """The size of all files below a folder; links are not followed."""
    files = [Path(where) / name for where, _, names in os.walk(folder) for name in names]
    return sum(file.lstat().st_size for file in files if not file.is_symlink())


def install(folder: Path) -> tuple[float, list[str]]:
    """The seconds of `pip install .` in a new environment in that folder, and what lies there then, as "numpy==2.4.6".

    Raises CalledProcessError where pip fails; its words are on stderr.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    start = time.perf_counter()
    subprocess.run([*pip, "install", "--quiet", ROOT], check=True)
    seconds = time.perf_counter() - start
    frozen = subprocess.run([*pip, "list", "--format", "freeze"], check=True, capture_output=True, text=True)
    return seconds, frozen.stdout.split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_note(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "environment"
        seconds, packages = install(folder)
        row = {"environment": "the tool", "packages": len(packages), "bytes": bytes_of(folder), "seconds": seconds}
    print("{environment}: {packages} packages, {bytes:,} bytes, {seconds:.1f} s".format(**row))
    lines = header(f"installed: {', '.join(packages)}", note=options.note)
    write_table(pd.DataFrame([row]), RESULTS / "installation.csv", lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
