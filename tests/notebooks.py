"""Is a committed notebook clean, and was it this code that made its outputs?

python tests/notebooks.py stamp 1_Load_Data.ipynb ...     # after a clean run: `make notebooks` does both
python tests/notebooks.py check 1_Load_Data.ipynb ...

The stamp holds digests of the notebook's code, of its outputs, and of each module of this project that it imports,
directly or through others. Comments, docstrings and layout of a module are not part of its digest.
"""

import ast
import hashlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 1_500_000  # bytes
LONGEST = 25  # lines of code in a cell
WIDGET = "application/vnd.jupyter.widget-view+json"
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:root|home|Users|work|tmp|usr|opt|private|var|mnt|check)/|site-packages")
FOR_IPYTHON = re.compile(r"^(\s*)[%!]+\S.*$", re.MULTILINE)  # a line that Python does not understand


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def code_digest(notebook) -> str:
    """Of all code, cell by cell; outputs, counts and prose do not change it."""
    return hashlib.sha256("\0".join(cell.source for cell in code_cells(notebook)).encode()).hexdigest()


def output_digest(notebook) -> str:
    """Of all that the outputs show, cell by cell: text, and pictures as they are stored."""
    digest = hashlib.sha256()
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            for kind, content in sorted({"stream": output.get("text", ""), **output.get("data", {})}.items()):
                digest.update(f"{number}\0{output.output_type}\0{kind}\0{content}\0".encode())
    return digest.hexdigest()


# ----------------------------------------------------------------------------- the modules that it imports


def _what_counts(node: object) -> object:
    """A syntax tree as nested tuples, the same in every version of Python: no positions, no empty fields."""
    if isinstance(node, ast.AST):
        fields = ((name, _what_counts(value)) for name, value in ast.iter_fields(node) if name != "kind")
        return type(node).__name__, *((name, value) for name, value in fields if value not in ("None", ()))
    if isinstance(node, list):
        return tuple(map(_what_counts, node))
    return ascii(node)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        has_one = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if has_one and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree


@cache  # by content: a module is read for many notebooks
def module_digest(source: str) -> str:
    """Of a module's code."""
    return hashlib.sha256(repr(_what_counts(_without_docstrings(ast.parse(source)))).encode()).hexdigest()[:16]


@cache
def imported_names(source: str, package: str = "") -> frozenset[str]:
    """All that is imported anywhere in the source of a module of `package`, but for type checkers only.

    Of `from a import b` both "a" and "a.b", whichever is the module. Where `import_module` is used, every string that
    could name a module of the package.
    """
    by_strings = "import_module" in source
    names, waiting = set(), [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif by_strings and isinstance(node, ast.Constant) and str(node.value).isidentifier():
            names.add(".".join(filter(None, [package, str(node.value)])))
    return frozenset(names)


def _files_of(name: str, root: Path) -> Iterator[Path]:
    """The files that `import name` runs, as far as they are below `root`."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:count])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                yield file


def modules_of(notebook, root: Path = ROOT) -> dict[str, str]:
    """The digest of each module below `root` that the notebook's code needs, by its path from there."""
    code = "\n".join(FOR_IPYTHON.sub(r"\1pass", cell.source) for cell in code_cells(notebook))
    waiting, sources = list(imported_names(code)), {}
    while waiting:
        for file in _files_of(waiting.pop(), root):
            if file not in sources:
                sources[file] = file.read_text(encoding="utf-8")
                waiting += imported_names(sources[file], ".".join(file.relative_to(root).parent.parts))
    return {file.relative_to(root).as_posix(): module_digest(sources[file]) for file in sorted(sources)}


# ---------------------------------------------------------------------------------------------- the checks


def output_text(output) -> str:
    """What an output says in words."""
    data = output.get("data", {})
    texts = [output.get("text", ""), *(value for kind, value in data.items() if kind.startswith("text/"))]
    return "\n".join("".join(text) for text in texts)


def stamp_problems(notebook, root: Path = ROOT) -> list[str]:
    """Where the outputs are not what this code makes, a line each."""
    stamped, found = notebook.metadata, []
    if stamped.get("code_sha256") != code_digest(notebook):
        found.append("the code is not that which made the outputs: run `make notebooks`")
    if not {"outputs_sha256", "modules_sha256"} <= stamped.keys():
        return [*found, "nothing says which run made it: run `make notebooks`"]
    if stamped["outputs_sha256"] != output_digest(notebook):
        found.append("the outputs are not those that the run made: run `make notebooks`")
    then, now = stamped["modules_sha256"], modules_of(notebook, root)
    if changed := sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name)):
        found.append(f"made by other code of {', '.join(changed)}: run `make notebooks`")
    return found


def problems(path: Path, root: Path = ROOT) -> list[str]:
    """Everything that is not clean, a line each. root: the folder of the modules that it imports."""
    notebook = nbformat.read(path, as_version=4)
    cells, found = code_cells(notebook), []
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("the cells were not run once each, in order")
    if path.stat().st_size > LARGEST:
        found.append(f"larger than {LARGEST} bytes")
    found += stamp_problems(notebook, root)
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


def stamp(path: Path, root: Path = ROOT) -> None:
    """Note the digests, and drop what says nothing without the kernel: progress bars, buttons, times."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
    for cell in code_cells(notebook):
        cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "code_sha256": code_digest(notebook),
        "outputs_sha256": output_digest(notebook),
        "modules_sha256": modules_of(notebook, root),
    }
    nbformat.write(notebook, path)


if __name__ == "__main__":
    command, files = sys.argv[1], [Path(name) for name in sys.argv[2:]]
    if command == "stamp":
        for file in files:
            stamp(file)
    unclean = [f"{file}: {line}" for file in files for line in problems(file)]
    print("\n".join(unclean) or f"{len(files)} notebooks are clean")
    sys.exit(bool(unclean))
