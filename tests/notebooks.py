"""Is a committed notebook clean, and was it this code that made its outputs?

python tests/notebooks.py stamp 1_Load_Data.ipynb ...     # after a clean run: `make notebooks` does both
python tests/notebooks.py check 1_Load_Data.ipynb ...
"""

import hashlib
import re
import sys
from pathlib import Path

import nbformat

LARGEST = 1_500_000  # bytes
LONGEST = 25  # lines of code in a cell
WIDGET = "application/vnd.jupyter.widget-view+json"
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:root|home|Users|work|tmp|usr|opt|private|var|mnt|check)/|site-packages")


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def code_digest(notebook) -> str:
    """Of all code, cell by cell; outputs, counts and prose do not change it."""
    return hashlib.sha256("\0".join(cell.source for cell in code_cells(notebook)).encode()).hexdigest()


def output_text(output) -> str:
    """What an output says in words."""
    data = output.get("data", {})
    texts = [output.get("text", ""), *(value for kind, value in data.items() if kind.startswith("text/"))]
    return "\n".join("".join(text) for text in texts)


def problems(path: Path) -> list[str]:
    """Everything that is not clean, a line each."""
    notebook = nbformat.read(path, as_version=4)
    cells, found = code_cells(notebook), []
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("the cells were not run once each, in order")
    if path.stat().st_size > LARGEST:
        found.append(f"larger than {LARGEST} bytes")
    if notebook.metadata.get("code_sha256") != code_digest(notebook):
        found.append("the code is not that which made the outputs: run `make notebooks`")
    for number, cell in enumerate(cells, 1):
        if len(cell.source.splitlines()) > LONGEST:
            found.append(f"cell {number} has more than {LONGEST} lines")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"cell {number} failed: {output.ename}")
            if output.output_type == "stream" and output.name == "stderr":
                found.append(f"cell {number} warns: {output_text(output).strip()[:80]}")
            if WIDGET in output.get("data", {}):
                found.append(f"cell {number} shows a widget, which is nothing without its kernel")
            if match := MACHINE_PATH.search(output_text(output)):
                found.append(f"cell {number} shows a path of a machine: {match.group()}")
        if match := MACHINE_PATH.search(cell.source):
            found.append(f"cell {number} holds a path of a machine: {match.group()}")
    return found


def stamp(path: Path) -> None:
    """Note the digest of the code, and drop what says nothing without the kernel: progress bars, buttons, times."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "code_sha256": code_digest(notebook),
    }
    for cell in notebook.cells:
        cell.metadata = {}
    for cell in code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    command, files = sys.argv[1], [Path(name) for name in sys.argv[2:]]
    if command == "stamp":
        for file in files:
            stamp(file)
    unclean = [f"{file}: {line}" for file in files for line in problems(file)]
    print("\n".join(unclean) or f"{len(files)} notebooks are clean")
    sys.exit(bool(unclean))
