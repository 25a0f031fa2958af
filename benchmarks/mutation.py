"""Do the tests notice a fault?  A tool changes a module, one place after the other; its tests must fail each time.

    pip install cosmic-ray
    python -m benchmarks.mutation calibrate [losses sources ...] [--most N] [--note WORDS]

NAME.py is changed in a copy of this folder and judged by tests/test_NAME.py. Prints the changes that no test noticed,
and writes results/mutation.csv, a row a module: date, how many changes there are, how many of them were tried, all or N
drawn at random, and how many of those were noticed. Rows of modules that are not named stay.
"""

import argparse
import datetime
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, with_earlier, write_table

SEED = 0  # of the draw of the changes that are tried
LEFT_OUT = (".*", "build", "runs", "datasets", "__pycache__", "*.ipynb")
CONFIG = """[cosmic-ray]
module-path = "{name}.py"
timeout = 120.0
excluded-modules = []
test-command = "{python} -m pytest -x -q --no-cov -p no:cacheprovider tests/test_{name}.py"
[cosmic-ray.distributor]
name = "local"
"""


def mutate(name: str, folder: Path, most: int | None = None) -> tuple[int, list[str | None]]:
    """How many changes of a module there are; of each that is tried None where the tests noticed it, else the change.

    folder: for a copy of this one. most: so many changes are tried, drawn at random; all where it is None.
    """
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    copy = folder / name
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (copy / "mutation.toml").write_text(CONFIG.format(name=name, python=sys.executable))
    for step in ("init", "exec"):
        command = [
            sys.executable,
            "-c",
            "from cosmic_ray.cli import main; main()",
            step,
            "mutation.toml",
            "work.sqlite",
        ]
        subprocess.run(command, cwd=copy, check=True)
        if step == "init":
            with use_db(copy / "work.sqlite", WorkDB.Mode.open) as work:
                jobs = [item.job_id for item in work.work_items]  # in the order of the module
                random.Random(SEED).shuffle(jobs)
                for job in jobs[len(jobs) if most is None else most :]:
                    work.set_result(job, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    with use_db(copy / "work.sqlite", WorkDB.Mode.open) as work:
        tried = [result for _, result in work.completed_work_items if result.worker_outcome != WorkerOutcome.SKIPPED]
    return len(jobs), [result.diff if result.test_outcome == TestOutcome.SURVIVED else None for result in tried]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="+", metavar="NAME", help="a module that has tests/test_NAME.py")
    parser.add_argument(
        "--most", type=int, metavar="N", help="try N changes of a module, drawn at random (default: all)"
    )
    add_note(parser)
    options = parser.parse_args()
    try:
        import cosmic_ray  # noqa: F401, before anything is copied
    except ImportError:
        print("benchmarks.mutation: it needs a package: pip install cosmic-ray", file=sys.stderr)
        return 1
    for name in options.modules:
        if not (ROOT / f"{name}.py").is_file() or not (ROOT / "tests" / f"test_{name}.py").is_file():
            parser.error(f"{name}: there is no {name}.py with a tests/test_{name}.py")
    file = RESULTS / "mutation.csv"
    for name in options.modules:
        with tempfile.TemporaryDirectory() as folder:
            changes, tried = mutate(name, Path(folder), options.most)
        unnoticed = [change for change in tried if change is not None]
        print(
            "\n".join([*unnoticed, f"{name}: {len(tried) - len(unnoticed)} of {len(tried)} changes noticed"]),
            flush=True,
        )
        row = {"module": name, "date": datetime.date.today(), "changes": changes, "tried": len(tried)}
        rows = pd.DataFrame([row | {"noticed": len(tried) - len(unnoticed)}])
        table = with_earlier(rows, file, "module").sort_values("module", ignore_index=True)
        write_table(table, file, header(note=options.note))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
