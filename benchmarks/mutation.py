"""Do the tests notice a fault?  A tool changes a module, one place after the other; its tests must fail each time.

    pip install cosmic-ray
    python -m benchmarks.mutation calibrate [losses sources ...] [--note WORDS]

NAME.py is changed in a copy of this folder and judged by tests/test_NAME.py. Prints the changes that no test noticed,
and writes results/mutation.csv, a row a module: date, how many changes, how many of them were noticed. Rows of modules
that are not named stay.
"""

import argparse
import datetime
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.report import RESULTS, ROOT, add_note, header, write_table

LEFT_OUT = (".*", "build", "runs", "datasets", "__pycache__", "*.ipynb")
CONFIG = """[cosmic-ray]
module-path = "{name}.py"
timeout = 120.0
excluded-modules = []
test-command = "{python} -m pytest -x -q --no-cov -p no:cacheprovider tests/test_{name}.py"
[cosmic-ray.distributor]
name = "local"
"""


def mutate(name: str, folder: Path) -> list[str | None]:
    """Of each change of a module, in a copy of this folder, None where the tests noticed it, else the change."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome

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
    with use_db(copy / "work.sqlite", WorkDB.Mode.open) as work:
        results = [result for _, result in work.completed_work_items]
    return [result.diff if result.test_outcome == TestOutcome.SURVIVED else None for result in results]


def merged(earlier: pd.DataFrame, rows: list[dict]) -> pd.DataFrame:
    """The rows, and those of the earlier table of other modules."""
    others = earlier[~earlier["module"].isin([row["module"] for row in rows])].to_dict("records")
    return pd.DataFrame([*others, *rows]).sort_values("module", ignore_index=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="+", metavar="NAME", help="a module that has tests/test_NAME.py")
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
    rows = []
    for name in options.modules:
        with tempfile.TemporaryDirectory() as folder:
            changes = mutate(name, Path(folder))
        unnoticed = [change for change in changes if change is not None]
        print("\n".join([*unnoticed, f"{name}: {len(changes) - len(unnoticed)} of {len(changes)} changes noticed"]))
        row = {"module": name, "date": datetime.date.today(), "changes": len(changes)}
        rows.append(row | {"noticed": len(changes) - len(unnoticed)})
    file = RESULTS / "mutation.csv"
    earlier = pd.read_csv(file, comment="#") if file.is_file() else pd.DataFrame(columns=["module"])
    write_table(merged(earlier, rows), file, header(note=options.note))
    return 0


if __name__ == "__main__":
    sys.exit(main())
