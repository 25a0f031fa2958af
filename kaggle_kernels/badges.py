"""Where do the notebooks open?  Writes the repository's address into the README and into the notebooks' first cells.

    python kaggle_kernels/badges.py OWNER/NAME             # of the public repository on GitHub
    python kaggle_kernels/badges.py OWNER/NAME --branch B  # other than main

The README gets a badge for Colab and one for Kaggle a notebook; the first cells get the address from which Colab, and
Kaggle without the modules' data set, clone the modules. Their code has changed then: run `make notebooks`.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
COLAB = "https://colab.research.google.com"
KAGGLE = "https://kaggle.com"
PLACE = re.compile(r"(<!-- \[badges\] -->\n).*?(<!-- \[end\] -->)", re.DOTALL)  # in the README
ADDRESS = re.compile(r'^REPOSITORY = "[^"]*"', re.MULTILINE)  # in a first cell


def badges(names: Sequence[str], repository: str, branch: str) -> str:
    """Markdown: a table with a row a notebook."""
    lines = ["", "| notebook | Colab | Kaggle |", "|---|---|---|"]
    for name in names:
        path = f"{repository}/blob/{branch}/{name}"
        colab = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github/{path})"
        kaggle = f"[![Open in Kaggle]({KAGGLE}/static/images/open-in-kaggle.svg)]"
        lines.append(f"| {name} | {colab} | {kaggle}({KAGGLE}/kernels/welcome?src=https://github.com/{path}) |")
    return "\n".join([*lines, "", ""])


def write_badges(root: Path, repository: str, branch: str = "main") -> None:
    """Write the table into README.md of `root` and the address into its notebooks."""
    notebooks = sorted(root.glob("[0-9]_*.ipynb"))
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    table = badges([file.name for file in notebooks], repository, branch)
    readme.write_text(PLACE.sub(lambda match: match[1] + table + match[2], text), encoding="utf-8")
    for file in notebooks:
        notebook = nbformat.read(file, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source = ADDRESS.sub(f'REPOSITORY = "https://github.com/{repository}"', cell.source)
        nbformat.write(notebook, file)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="badges.py", description=__doc__.split("\n")[0])
    parser.add_argument("repository", metavar="OWNER/NAME", help="of the public repository on GitHub")
    parser.add_argument("--branch", default="main", help="from which the notebooks are opened (default: main)")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", options.repository):
        parser.error(f"{options.repository!r}: give it as OWNER/NAME")
    write_badges(ROOT, options.repository, options.branch)
    print("wrote README.md and the notebooks; their first cells have changed: run `make notebooks`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
