"""The first cell of the notebooks: it finds the modules wherever they lie, and installs what Kaggle and Colab lack."""

import subprocess
import sys
from pathlib import Path

import badges
import nbformat
import pytest

import cloud
from cloud import PARTS, Part, install_missing
from conftest import ROOT

NOTEBOOKS = [path for path in sorted(ROOT.glob("[0-9]_*.ipynb")) if "install_missing" in path.read_text()]


def first_cell(path: Path) -> str:
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


CELL = "\n".join(line for line in first_cell(NOTEBOOKS[0]).splitlines() if not line.startswith("%"))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A Colab machine that lacks grad-cam and OpenCV 4; machine(net): what install_missing does, and pip was asked."""
    target = cloud.OPENCV
    there, asked = {part.module for part in PARTS} - {"pytorch_grad_cam", "cv2"}, []
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    monkeypatch.setattr(cloud, "OPENCV", tmp_path / "opencv4")
    monkeypatch.setattr(cloud, "is_there", lambda part: part.module in there)

    def run(command, **options):
        asked.append(command[-1])
        (part,) = (part for part in PARTS if part.package == command[-1])
        if part.module == "cv2":
            assert command[command.index("--target") + 1] == str(target), "no other OpenCV is touched"
            (tmp_path / "opencv4").mkdir()
        there.add(part.module)

    monkeypatch.setattr(cloud.subprocess, "run", run)

    def start(net: bool):
        monkeypatch.setattr(cloud, "has_net", lambda: net)
        return install_missing(), asked

    return start


def test_what_is_missing_is_installed(machine, tmp_path, capsys):
    folders, asked = machine(net=True)
    assert asked == ["opencv-python-headless>=4.10,<5", "grad-cam"]
    assert folders == [str(tmp_path / "opencv4")]
    assert capsys.readouterr().out == ""


def test_without_the_net_each_missing_part_is_a_line(machine, capsys):
    folders, asked = machine(net=False)
    assert (folders, asked) == ([], [])
    opencv, heat = capsys.readouterr().out.splitlines()
    assert opencv.startswith("without opencv-python-headless>=4.10,<5: the detector haar is left out (there is no net:")
    assert heat.startswith("without grad-cam: ")


def test_what_pip_cannot_install_is_a_line_without_a_word_of_the_net(machine, monkeypatch, capsys):
    monkeypatch.setattr(cloud, "install", lambda part: part.module == "cv2")
    machine(net=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"without grad-cam: {next(part.lost for part in PARTS if part.package == 'grad-cam')}"


def test_elsewhere_nothing_is_installed(monkeypatch):
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cloud.subprocess, "run", lambda *_, **__: pytest.fail("something was installed"))
    monkeypatch.setattr(cloud, "is_there", lambda part: False)
    assert install_missing() == []


def test_opencv_is_there_where_its_cascades_are(monkeypatch, tmp_path):
    monkeypatch.setattr(cloud, "OPENCV", tmp_path / "none")
    opencv = next(part for part in PARTS if part.module == "cv2")
    assert cloud.is_there(opencv)
    monkeypatch.setattr(cloud, "CASCADE", "data/no.xml")  # as in OpenCV 5
    assert not cloud.is_there(opencv)
    assert not cloud.is_there(Part("x", "no_such_module_anywhere", ""))


def test_all_that_may_be_missing_is_required_elsewhere():
    required = (ROOT / "requirements.txt").read_text()
    assert [part.package for part in PARTS if part.package.split(">")[0].split("<")[0] not in required] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_all_notebooks_start_alike(path):
    assert first_cell(path) == first_cell(NOTEBOOKS[0])


def run_cell(folder: Path, cell: str = CELL, **environment) -> subprocess.CompletedProcess:
    """The first cell in a folder, and then where the modules come from."""
    code = cell + "\nimport cloud\nprint('modules of', Path(cloud.__file__).parent.resolve())"
    variables = {"PATH": "/usr/bin:/bin", "KAGGLE_ROOT": str(folder / "kaggle"), "HOME": str(folder)} | environment
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "place", [".", "NAME-main", "kaggle/input/set", "kaggle/input/set/helpers", "kaggle/input/datasets/me/set"]
)
def test_the_modules_are_found(tmp_path, place):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for name in ("cloud.py", "data_load.py"):
        (tmp_path / place / name).write_bytes((ROOT / name).read_bytes())
    done = run_cell(tmp_path)
    assert done.stdout == f"modules of {(tmp_path / place).resolve()}\n", done.stderr


def test_modules_that_are_nowhere_are_one_line_that_says_what_to_do(tmp_path):
    done = run_cell(tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: the modules of the course are not here: attach their data set")
    assert "During handling" not in done.stderr


def test_the_modules_are_cloned(tmp_path):
    repository = tmp_path / "repository"
    repository.mkdir()
    for name in ("cloud.py", "data_load.py"):
        (repository / name).write_bytes((ROOT / name).read_bytes())
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(repository)]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    (tmp_path / "working").mkdir()
    cell = CELL.replace('REPOSITORY = ""', f'REPOSITORY = "file://{repository}"')
    assert cell != CELL
    done = run_cell(tmp_path / "working", cell)
    assert done.stdout == f"modules of {(tmp_path / 'working' / 'modules').resolve()}\n", done.stderr
    again = run_cell(tmp_path / "working", cell)
    assert again.stdout == done.stdout, "what is there is not cloned again"


def test_badges_and_address_are_written(tmp_path):
    for path in (ROOT / "README.md", *NOTEBOOKS[:2]):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for repository in ("me/other", "ada/glasses"):  # the second time over the first
        badges.write_badges(tmp_path, repository, "main")
    before, after = ((folder / "README.md").read_text() for folder in (ROOT, tmp_path))
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    for path in NOTEBOOKS[:2]:
        place = f"ada/glasses/blob/main/{path.name}"
        (row,) = (line for line in added if line.startswith(f"| {path.name} |"))
        assert f"(https://colab.research.google.com/github/{place})" in row
        assert f"(https://kaggle.com/kernels/welcome?src=https://github.com/{place})" in row
        assert first_cell(tmp_path / path.name).count('REPOSITORY = "https://github.com/ada/glasses"') == 1
    assert "me/other" not in after


@pytest.mark.parametrize("wrong", ["https://github.com/ada/glasses", "glasses"])
def test_an_address_that_is_none_is_one_line(wrong, capsys):
    with pytest.raises(SystemExit):
        badges.main([wrong])
    assert capsys.readouterr().err.splitlines()[-1].endswith("give it as OWNER/NAME")
