"""Kaggle: what is pushed, with the real client against a server of our own, and each notebook run as Kaggle runs it.

No request leaves this machine: the client's address is changed before it is imported, and the proxies lead nowhere.
"""

import ast
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pandas as pd
import push
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from conftest import ROOT
from data_load import KaggleGlasses
from find_data import KNOWN
from test_data_load import write_kaggle

GAN = KNOWN["kaggle"].kaggle
NOTEBOOKS = push.find_notebooks()
METADATA = {
    path.parent.name: json.loads(path.read_text())
    for path in sorted(ROOT.glob("kaggle_kernels/*/kernel-metadata.json"))
}
HELPERS = json.loads((ROOT / "kaggle_kernels" / "helpers" / "dataset-metadata.json").read_text())
FAKE = {"KAGGLE_USERNAME": "ada", "KAGGLE_KEY": "0123456789abcdef"}


def files_of(folder: Path) -> dict[str, str]:
    """The digest of every file below `folder`, and "folder" for every folder, by path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """What push.py builds for the user "ada"."""
    return push.build("ada", tmp_path_factory.mktemp("build") / "kaggle")


# -------------------------------------------------------------------------------------------- what is built


def test_every_notebook_has_metadata_and_the_other_way_round():
    assert list(METADATA) == list(NOTEBOOKS)


@pytest.mark.parametrize("name", METADATA)
def test_metadata_of_a_notebook(name):
    metadata = METADATA[name]
    assert metadata["code_file"] == f"{name}.ipynb"
    owner, slug = metadata["id"].split("/")
    assert owner == "OWNER"
    assert slug == re.sub("[^a-z0-9]+", "-", metadata["title"].lower()), "Kaggle makes the slug from the title"
    assert 5 <= len(metadata["title"]) <= 50
    assert (metadata["language"], metadata["kernel_type"]) == ("python", "notebook")
    assert metadata["enable_gpu"] is True
    assert metadata["machine_shape"] == "NvidiaTeslaT4", "the default, a P100, is too old for Kaggle's torch"
    assert metadata["enable_internet"] is True, "the detectors' packages are not in Kaggle's image"
    assert metadata["is_private"] is True, "the weights may not be used by everybody"
    assert metadata["dataset_sources"] == [GAN, HELPERS["id"]]


def test_kernels_come_after_those_whose_output_they_read():
    ids = [metadata["id"] for metadata in METADATA.values()]
    assert len(set(ids)) == len(ids)
    for position, metadata in enumerate(METADATA.values()):
        assert set(metadata["kernel_sources"]) <= set(ids[:position])
    for name in ("3_Full_Pipeline", "4_Evaluate"):
        assert METADATA[name]["kernel_sources"] == [METADATA["2_Define_Network"]["id"]]


def test_metadata_of_the_data_set():
    owner, slug = HELPERS["id"].split("/")
    assert owner == "OWNER"
    assert slug == re.sub("[^a-z0-9]+", "-", HELPERS["title"].lower())
    assert 6 <= len(slug) <= 50
    assert 6 <= len(HELPERS["title"]) <= 50
    assert 20 <= len(HELPERS["subtitle"]) <= 80
    assert HELPERS["licenses"] == [{"name": "other"}], "MIT is not among Kaggle's; the description says which"
    assert "MIT" in HELPERS["description"]


def local_imports(source: str) -> set[str]:
    """The modules of this project that `source` imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return {name for name in names if (ROOT / f"{name}.py").is_file() or (ROOT / name / "__init__.py").is_file()}


def code_of(notebook: Path) -> str:
    """All code of a notebook, without lines that only IPython understands."""
    cells = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    return "\n".join(re.sub(r"^\s*[%!].*$", "pass", cell, flags=re.MULTILINE) for cell in cells)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_that_a_notebook_imports_is_in_the_data_set(built, name):
    waiting, seen = local_imports(code_of(NOTEBOOKS[name])), set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        files = [ROOT / f"{module}.py"] if (ROOT / f"{module}.py").is_file() else [*(ROOT / module).glob("*.py")]
        for file in files:
            copy = built["helpers"] / file.relative_to(ROOT)
            assert copy.is_file(), f"{name} needs {file.name}"
            assert copy.read_bytes() == file.read_bytes()
            waiting |= local_imports(file.read_text()) - seen
    assert "data_load" in seen, "the first cell of a notebook looks for data_load.py to find the others"
    assert {"find_data", "glasses", "detector_architectures"} <= seen, "what data_load imports counts too"


def test_what_is_built(built):
    helpers = built["helpers"]
    for folder in push.FOLDERS:
        there = {file.relative_to(ROOT) for file in (ROOT / folder).rglob("*") if "__pycache__" not in file.parts}
        assert {file.relative_to(helpers) for file in (helpers / folder).rglob("*")} == there
    names = [str(file.relative_to(helpers)) for file in helpers.rglob("*") if file.is_file()]
    assert {"weights/glasses.safetensors", "glasses/weights/glasses.onnx", "synthetic/make_sample.py"} <= {*names}
    assert sum((helpers / name).stat().st_size for name in names) < 30e6
    assert json.loads((helpers / "dataset-metadata.json").read_text())["id"] == "ada/glasses-or-not-helpers"
    for name, notebook in NOTEBOOKS.items():
        assert sorted(file.name for file in built[name].iterdir()) == [notebook.name, "kernel-metadata.json"]
        assert (built[name] / notebook.name).read_bytes() == notebook.read_bytes()
        text = (built[name] / "kernel-metadata.json").read_text()
        assert "OWNER" not in text
        assert json.loads(text)["id"].startswith("ada/")


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a git checkout")
def test_nothing_that_git_ignores_is_built(built):
    helpers = built["helpers"]
    names = [str(file.relative_to(helpers)) for file in helpers.rglob("*") if file.is_file()]
    command = ["git", "check-ignore", "--stdin"]
    done = subprocess.run(command, cwd=ROOT, input="\n".join(names), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr


def test_dry_run_needs_no_account_and_builds_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(push, "BUILD", tmp_path / "build" / "kaggle")
    (push.BUILD / "helpers").mkdir(parents=True)
    (push.BUILD / "helpers" / "left_over.py").write_text("")
    assert push.main(["--dry-run"]) == 0
    assert "kaggle" not in sys.modules, "the package is imported only where something is pushed"
    out = capsys.readouterr().out
    assert "data set OWNER/glasses-or-not-helpers: " in out
    for name in NOTEBOOKS:
        assert f"notebook {METADATA[name]['id']}: {name}.ipynb on NvidiaTeslaT4, reads {GAN}, OWNER/" in out
    assert not (push.BUILD / "helpers" / "left_over.py").exists()
    assert [path.name for path in push.BUILD.parent.iterdir()] == ["kaggle"], "nothing half-built is left"

    assert push.main(["--dry-run", "--user", "ada", next(iter(NOTEBOOKS))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == [
        "data set ada/glasses-or-not-helpers",
        f"notebook {next(iter(METADATA.values()))['id'].replace('OWNER', 'ada')}",
    ]


def test_every_file_that_is_uploaded_is_counted(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "dataset-metadata.json").write_text('{"id": "ada/x"}')  # tells the client, is not uploaded
    for name in ("LICENSE", "one.py", "data/list", "data/deep/two.tar.gz"):
        (tmp_path / name).write_bytes(b"x" * 500_000)
    assert push.describe(tmp_path) == "data set ada/x: 4 files, 2.0 MB"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["9_Nothing"], "no notebook '9_Nothing': choose from"), (["--user", "ada/x"], "the address of your Kaggle page")],
)
def test_wrong_command_line(capsys, arguments, word):
    with pytest.raises(SystemExit) as stop:
        push.main([*arguments, "--dry-run"])
    assert stop.value.code == 2
    assert word in capsys.readouterr().err


def test_caches_stay_and_a_notebook_without_metadata_is_named(tmp_path, monkeypatch, capsys):
    for folder in (*push.FOLDERS, "kaggle_kernels/helpers", "weights/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("LICENSE", "one.py", "weights/two.py", "weights/__pycache__/two.pyc", "weights/.part"):
        (tmp_path / name).touch()
    (tmp_path / "kaggle_kernels" / "helpers" / "dataset-metadata.json").write_text('{"id": "OWNER/x"}')
    monkeypatch.setattr(push, "ROOT", tmp_path)
    monkeypatch.setattr(push, "BUILD", tmp_path / "build" / "kaggle")
    helpers = push.build("ada", tmp_path / "out")["helpers"]
    names = {str(file.relative_to(helpers)) for file in helpers.rglob("*") if file.is_file()}
    assert names == {"LICENSE", "one.py", "weights/two.py", "dataset-metadata.json"}
    (tmp_path / "5_New.ipynb").write_text("{}")
    assert push.main(["--dry-run"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "5_New/kernel-metadata.json: copy another" in line
    assert not push.BUILD.exists()


# ---------------------------------------------------------------------- the real client against our server


class Kaggle(ThreadingHTTPServer):
    """As much of Kaggle as push.py and data_load.py use: data sets, blobs, notebooks, on a free port of the loopback.

    `faults` maps a method's name to (status, JSON) that it answers instead; a data set is a dict of its files, with
    archives unpacked into folders of their names, as Kaggle's backend does.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.users = {"secret-token": "ada"}
        self.faults: dict[str, tuple[int, dict]] = {}
        self.calls: list[tuple[str, dict]] = []  # (method, request)
        self.blobs: dict[str, tuple[str, bytes]] = {}  # token: (name, content)
        self.datasets: dict[str, list[dict[str, bytes]]] = {}  # versions
        self.kernels: dict[str, list[dict]] = {}
        self.statuses: dict[str, list[str]] = {}  # of data sets and notebooks: said once each, the last forever
        self.archive, self.cut, self.ranges = b"", False, []  # the download; broken off?; ranges asked for
        self.reached = threading.Event()  # a call that `hang` names has come
        self.hang, self.go_on = "", threading.Event()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that went away is what we test
            super().handle_error(request, client_address)

    def named(self, method: str) -> list[dict]:
        return [request for name, request in self.calls if name == method]

    def unpacked(self, files: list[dict]) -> dict[str, bytes]:
        found = {}
        for file in files:
            name, content = self.blobs[file["token"]]
            if name.endswith(".zip"):
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    found |= {f"{name[:-4]}/{member}": archive.read(member) for member in archive.namelist()}
            else:
                found[name] = content
        return found

    def status(self, ref: str) -> str:
        waiting = self.statuses.get(ref) or ["READY" if ref in self.datasets else "COMPLETE"]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def answer(self, method: str, request: dict) -> tuple[int, dict]:
        if method in self.faults:
            return self.faults[method]
        ref = f"{request.get('ownerSlug')}/{request.get('datasetSlug') or request.get('slug')}"
        done = {"status": "Ok", "ref": ref, "url": f"{self.address}/{ref}"}
        if method == "IntrospectToken":
            user = self.users.get(request["token"])
            return 200, {"active": user is not None, "username": user or ""}
        if method == "StartBlobUpload":
            token = f"blob-{len(self.blobs)}"
            self.blobs[token] = request["name"], b""
            return 200, {"token": token, "createUrl": f"{self.address}/upload/{token}"}
        if method == "GetDatasetStatus":
            missing = 403, {"code": 403, "message": "Permission 'datasets.get' was denied"}
            return (200, {"status": self.status(ref)}) if ref in self.datasets else missing
        if method == "CreateDataset":
            self.datasets[ref] = [self.unpacked(request["files"])]
            return 200, done
        if method == "CreateDatasetVersion":
            self.datasets[ref].append(self.unpacked(request["body"]["files"]))
            return 200, done
        if method == "SaveKernel":
            versions = self.kernels.setdefault(request["slug"], [])
            versions.append(request)
            bad = [source for source in request.get("datasetDataSources", []) if source not in {GAN, *self.datasets}]
            bad_kernels = [source for source in request.get("kernelDataSources", []) if source not in self.kernels]
            answer = {"versionNumber": len(versions), "url": f"{self.address}/code/{request['slug']}"}
            return 200, {**answer, "invalidDatasetSources": bad, "invalidKernelSources": bad_kernels}
        if method == "GetKernelSessionStatus":
            return 200, {"status": self.status(f"{request['userName']}/{request['kernelSlug']}")}
        return 404, {"code": 404, "message": f"no method {method}"}


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply(self, status: int, content: bytes = b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        request = json.loads(self.body())
        method = self.path.rsplit("/", 1)[1]
        self.server.calls.append((method, request))
        if method == self.server.hang:
            self.server.reached.set()
            self.server.go_on.wait(30)
        if method == "DownloadDataset" and method not in self.server.faults:
            return self.reply(302, Location=f"{self.server.address}/files/{request['datasetSlug']}.zip")
        status, answer = self.server.answer(method, request)
        return self.reply(status, json.dumps(answer).encode(), Content_Type="application/json")

    def do_PUT(self):
        token, content = self.path.rsplit("/", 1)[1], self.body()
        name = self.server.blobs[token][0]
        if name in self.server.faults:
            return self.reply(self.server.faults[name][0])
        self.server.blobs[token] = name, content
        return self.reply(200, b"{}")

    def do_GET(self):
        archive, start = self.server.archive, 0
        if asked := self.headers.get("Range"):
            self.server.ranges.append(asked)
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(archive) - start))
        self.send_header("Content-Type", "application/zip")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.sha256(archive).hexdigest()}"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        self.end_headers()
        if not self.server.cut and self.server.hang != "GET":
            self.wfile.write(archive[start:])
            return
        if not asked:
            self.wfile.write(archive[: len(archive) * 2 // 3])
        if self.server.hang == "GET":
            self.wfile.flush()
            self.server.reached.set()
            self.server.go_on.wait(30)
        self.close_connection = True


# The client waits seconds between two attempts, and offers no setting for its address.
SITE = """
import os, time
time.sleep = lambda seconds: None
from kagglesdk import kaggle_env
kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.PROD] = os.environ["KAGGLE_STUB"]
"""


@pytest.fixture
def kaggle() -> Iterator[Kaggle]:
    server = Kaggle()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def start(kaggle, tmp_path):
    """start(code, *arguments, **variables): a Python whose Kaggle is our server, with a home of its own."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    (tmp_path / "home").mkdir()

    def run(code: str, *arguments, **variables) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KAGGLE")}
        environment |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "home"), "KAGGLE_STUB": kaggle.address}
        path = os.pathsep.join(map(str, (tmp_path / "site", ROOT, ROOT / "kaggle_kernels")))
        environment |= {"PYTHONPATH": path, "KAGGLE_ROOT": str(tmp_path / "no-kaggle")}
        nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        environment |= nowhere | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"} | variables
        command = [sys.executable, "-c", code, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        # A shell that starts things in the background lets them ignore Ctrl-C; these must not.
        obey = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
        return subprocess.Popen(command, cwd=tmp_path, env=environment, preexec_fn=obey, **pipes)

    return run


def finish(process: subprocess.Popen, seconds: float = 120) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


PUSH = """
import sys
from pathlib import Path
import push
push.BUILD = Path("build/kaggle")
sys.exit(push.main(sys.argv[1:]))
"""


def test_pushes_with_the_real_client(kaggle, start, built):
    helpers = "ada/glasses-or-not-helpers"
    kaggle.statuses[helpers] = ["BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "READY"]
    network = METADATA["2_Define_Network"]["id"].replace("OWNER", "ada")
    kaggle.statuses[network] = ["QUEUED", "RUNNING", "COMPLETE"]
    status, out, err = finish(start(PUSH, KAGGLE_API_TOKEN="secret-token"))
    assert status == 0, err
    assert "does not resolve" not in out, "the client's warning of a title that is not the slug"
    assert "secret-token" not in out + err

    (version,) = kaggle.datasets[helpers]
    here = {str(f.relative_to(built["helpers"])): f.read_bytes() for f in built["helpers"].rglob("*") if f.is_file()}
    del here["dataset-metadata.json"]  # tells the client, is not uploaded
    assert version == here, "the data set unpacks to what was built, folders included"
    assert f": {len(version)} files, {sum(map(len, version.values())) / 1e6:.1f} MB" in push.describe(built["helpers"])
    (made,) = kaggle.named("CreateDataset")
    assert made["isPrivate"] is True
    assert made["licenseName"] == "other"

    assert list(kaggle.kernels) == [METADATA[name]["id"].replace("OWNER", "ada") for name in NOTEBOOKS]
    for name, (request,) in zip(NOTEBOOKS, kaggle.kernels.values(), strict=True):
        assert request["newTitle"] == METADATA[name]["title"]
        assert (request["language"], request["kernelType"]) == ("python", "notebook")
        assert request["enableGpu"] is request["enableInternet"] is request["isPrivate"] is True
        assert request["machineShape"] == "NvidiaTeslaT4"
        assert request["datasetDataSources"] == [GAN, helpers]
        read = [source.replace("OWNER", "ada") for source in METADATA[name]["kernel_sources"]]
        assert request.get("kernelDataSources", []) == read
        sent, original = json.loads(request["text"])["cells"], nbformat.read(NOTEBOOKS[name], 4).cells
        assert [cell["source"] for cell in sent] == [cell.source for cell in original]
        assert not any(cell.get("outputs") for cell in sent)
    methods = [method for method, _ in kaggle.calls]
    ready = len(methods) - methods[::-1].index("GetDatasetStatus")
    assert ready <= methods.index("SaveKernel"), "the notebooks come when the data set is unpacked"
    if "3_Full_Pipeline" in NOTEBOOKS:
        assert kaggle.statuses[network] == ["COMPLETE"], "the third comes when the second has run"

    status, out, err = finish(start(PUSH, next(iter(NOTEBOOKS)), **FAKE))
    assert status == 0, err
    assert "a new version of data set" in out
    assert kaggle.datasets[helpers] == [here, here]
    assert [len(versions) for versions in kaggle.kernels.values()] == [2] + [1] * (len(NOTEBOOKS) - 1)


@pytest.mark.parametrize(
    ("method", "answer", "word"),
    [
        ("GetDatasetStatus", (500, {"code": 500, "message": "out of order"}), "out of order; run again"),
        ("GetDatasetStatus", (401, {"code": 401, "message": "Unauthenticated"}), "check the token and --user"),
        ("CreateDataset", (200, {"status": "error", "error": "The slug is taken"}), "refused it: The slug is taken"),
        ("weights.zip", (400, {}), "weights.zip: the upload broke off; run again"),
        ("SaveKernel", (200, {"error": "Maximum weekly GPU quota reached"}), "notebook ada/.*weekly GPU quota reached"),
        ("SaveKernel", (200, {"invalidDatasetSources": [GAN]}), f"did not attach {GAN}"),
        ("IntrospectToken", (200, {"active": False}), "no credentials that Kaggle takes: put a token"),
    ],
)
def test_a_refusal_is_one_line(kaggle, start, method, answer, word):
    kaggle.faults[method] = answer
    status, _, err = finish(start(PUSH, next(iter(NOTEBOOKS)), KAGGLE_API_TOKEN="secret-token"))
    assert status == 1
    (line,) = err.splitlines()
    assert line.startswith("push.py: ")
    assert re.search(word, line)
    if method in ("GetDatasetStatus", "IntrospectToken"):
        assert not kaggle.blobs, "nothing is uploaded that could not be used"
    if method != "SaveKernel":
        assert not kaggle.datasets
        assert not kaggle.kernels
    if method == "weights.zip":
        del kaggle.faults[method]
        assert finish(start(PUSH, next(iter(NOTEBOOKS)), KAGGLE_API_TOKEN="secret-token"))[0] == 0
        assert "weights/glasses.safetensors" in kaggle.datasets["ada/glasses-or-not-helpers"][0]


def test_a_data_set_that_kaggle_cannot_unpack_stops_the_push(kaggle, start):
    kaggle.statuses["ada/glasses-or-not-helpers"] = ["BLOBS_RECEIVED", "FAILED"]
    status, _, err = finish(start(PUSH, **FAKE))
    assert status == 1
    assert "helpers is failed: see its page on Kaggle" in err
    assert not kaggle.kernels


@pytest.mark.parametrize("server", ["up", "down"])
def test_without_credentials_or_kaggle(kaggle, start, server):
    if server == "down":
        kaggle.server_close()
    status, _, err = finish(start(PUSH, **(FAKE if server == "down" else {})))
    assert status == 1
    (line,) = err.splitlines()
    assert ("run again" if server == "down" else "no credentials that Kaggle takes: put a token") in line
    assert not kaggle.calls


def test_interrupted_push_is_one_line(kaggle, start):
    kaggle.hang = "SaveKernel"
    process = start(PUSH, **FAKE)
    assert kaggle.reached.wait(60)
    process.send_signal(signal.SIGINT)
    status, _, err = finish(process)
    assert (status, err.count("\n")) == (130, 1)
    assert "push.py: interrupted; run again" in err


# ----------------------------------------------------------------------------- downloads with the real client

FIND = """
import sys
from pathlib import Path
import find_data
find_data.DATASETS_DIR = Path("datasets").absolute()
try:
    print("found", find_data.find_dataset("kaggle"))
except find_data.DataError as error:
    sys.exit(f"DataError: {error}")
"""


@pytest.fixture
def download(kaggle, start, tmp_path):
    """download(): exit status, the last line of stderr; the server has a data set of 6 faces and 3 MB of noise."""
    source = write_kaggle(tmp_path / "source", ".png", 2)
    (source / "noise.bin").write_bytes(random.Random(0).randbytes(3_000_000))  # the client writes 1 MB at a time
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in source.rglob("*.*"):
            archive.write(file, file.relative_to(source))
    kaggle.archive = packed.getvalue()

    def run() -> tuple[int, str]:
        status, _, err = finish(start(FIND, **FAKE))
        assert "Traceback" not in err
        return status, ["", *err.splitlines()][-1]

    return run


def check_downloaded(datasets: Path) -> None:
    """The set is whole, and alone: no archive, no half of one, no folder half-filled."""
    assert [path.name for path in datasets.iterdir()] == ["glasses-or-no-glasses"]
    assert len(KaggleGlasses(datasets / "glasses-or-no-glasses").verify()) == 6


def test_downloads_with_the_real_client(kaggle, download, tmp_path):
    status, line = download()
    assert status == 0, line
    (request,) = kaggle.named("DownloadDataset")
    assert f"{request['ownerSlug']}/{request['datasetSlug']}" == GAN
    check_downloaded(tmp_path / "datasets")
    assert download()[0] == 0
    assert len(kaggle.named("DownloadDataset")) == 1, "what is there is not fetched again"


@pytest.mark.parametrize("how", ["cut off", "killed"])
def test_broken_download_goes_on(kaggle, start, download, tmp_path, how):
    archive = tmp_path / "datasets" / "glasses-or-no-glasses.zip"
    if how == "cut off":
        kaggle.cut = True
        status, line = download()
        assert status == 1
        assert re.match(f"DataError: {GAN}: .*run again to resume", line)
        kaggle.cut = False
    else:
        kaggle.hang = "GET"
        process = start(FIND, **FAKE)
        assert kaggle.reached.wait(60)
        while not archive.is_file() or not archive.stat().st_size:
            assert process.poll() is None, process.communicate()
        process.kill()
        process.wait()
        kaggle.hang = ""
        kaggle.go_on.set()
    part = archive.stat().st_size
    assert 0 < part < len(kaggle.archive)
    kaggle.ranges.clear()
    status, line = download()
    assert status == 0, line
    assert kaggle.ranges == [f"bytes={part}-"], "only the rest is fetched"
    check_downloaded(tmp_path / "datasets")


def test_corrupt_archive_is_fetched_again(kaggle, download, tmp_path):
    whole, damaged = kaggle.archive, bytearray(kaggle.archive)
    damaged[len(damaged) // 2] ^= 0xFF
    kaggle.archive = bytes(damaged)
    status, line = download()
    assert status == 1
    assert re.match("DataError: .*damaged archive, deleted; run again to fetch it anew", line)
    assert not any((tmp_path / "datasets").iterdir())
    kaggle.archive = whole
    assert download()[0] == 0
    check_downloaded(tmp_path / "datasets")


def test_half_unpacked_folder_is_replaced(download, tmp_path):
    half = tmp_path / "datasets" / "glasses-or-no-glasses" / "faces-spring-2020" / "faces-spring-2020"
    half.mkdir(parents=True)
    (half / "face-1.png").write_bytes(b"half a face")
    status, line = download()
    assert status == 0, line
    check_downloaded(tmp_path / "datasets")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (401, "refused the credentials"),
        (403, f"accept the data set's rules at kaggle.com/datasets/{GAN}$"),
        (404, "no such data set"),
        (500, "run again later"),
    ],
)
def test_refused_download_is_one_line(kaggle, download, code, word):
    """In our words, whatever Kaggle and its client say."""
    kaggle.faults["DownloadDataset"] = code, {"code": code, "message": "Something\nelse"}
    status, line = download()
    assert status == 1
    assert re.match(f"DataError: {GAN}: .*{word}", line)


# ----------------------------------------------------------------------------- the notebooks, as Kaggle runs them


@pytest.fixture(scope="module")
def gan(tmp_path_factory) -> Path:
    """120 of the sample faces, as Kaggle has its own: PNG, no table of kinds or of wrong labels."""
    source, root = ROOT / "data" / "sample", tmp_path_factory.mktemp("gan")
    folder = root / "faces-spring-2020" / "faces-spring-2020"
    folder.mkdir(parents=True)
    for name, count in (("train.csv", 100), ("test.csv", 20)):
        table = pd.read_csv(source / name).head(count)
        table.to_csv(root / name, index=False)
        for i in table["id"]:
            with Image.open(source / "faces-spring-2020" / "faces-spring-2020" / f"face-{i}.jpg") as face:
                face.save(folder / f"face-{i}.png")
    return root


def mount(root: Path, old: bool, **sources: Path) -> Path:
    """A Kaggle machine's /kaggle at `root`: inputs that cannot be written, by kind, and an empty working/."""
    for ref, folder in sources.items():
        kind, owner, slug = ref.split("/")
        place = root / "input" / (slug if old else ref)
        assert kind in ("datasets", "notebooks")
        assert owner
        shutil.copytree(folder, place, ignore=shutil.ignore_patterns("*-metadata.json"))
    for path in [*(root / "input").rglob("*"), root / "input"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    (root / "working").mkdir()
    return root


def run_on_kaggle(notebook: Path, root: Path) -> nbformat.NotebookNode:
    """Run `notebook` as Kaggle would; the outputs. Fails where a cell does, or where it writes outside of working/."""
    working = root / "working"
    shutil.copy(notebook, working)
    before = files_of(root / "input")
    home = root.parent / f"{root.name}-home"
    home.mkdir()
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    environment = keep | {"HOME": str(home), "TMPDIR": str(home), "KAGGLE_ROOT": str(root), "QUICK": "1"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # as on a read-only mount; root may write here all the same
    outputs = home / "executed.ipynb"
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", notebook.name, "--output", outputs]
    done = subprocess.run(
        command, cwd=working, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert files_of(root / "input") == before, "the inputs are as they were"
    assert sorted(path.name for path in root.iterdir()) == ["input", "working"]
    return nbformat.read(outputs, 4)


def inputs_of(metadata: dict, helpers: Path, gan: Path, outputs: dict[str, Path]) -> dict[str, Path]:
    """What is mounted for a notebook, from its metadata."""
    folders = {GAN: gan, HELPERS["id"]: helpers}
    sources = {f"datasets/{ref.replace('OWNER', 'ada')}": folders[ref] for ref in metadata["dataset_sources"]}
    return sources | {f"notebooks/{ref.replace('OWNER', 'ada')}": outputs[ref] for ref in metadata["kernel_sources"]}


STAND_IN = [
    """
import os, sys
from pathlib import Path
MOUNTS = Path(os.environ.get("KAGGLE_ROOT", "/kaggle")) / "input"
HELPERS = [*MOUNTS.glob("*/data_load.py"), *MOUNTS.glob("datasets/*/*/data_load.py")]
if HELPERS: sys.path.insert(0, str(HELPERS[0].parent))
""",
    """
import data_load
from find_data import find_dataset
from models import load_classifier
load_classifier("glasses")
print(data_load.__file__)
print(find_dataset("kaggle"))
print(find_dataset("sample"))
Path("model.txt").write_text("trained")
""",
]


@pytest.mark.parametrize("old", [False, True], ids=["new mounts", "old mounts"])
def test_a_stand_in_finds_helpers_and_data_in_the_mounts(tmp_path, built, gan, old):
    notebook = tmp_path / "0_Stand_In.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in STAND_IN]), notebook)
    root = tmp_path / "kaggle"
    mount(root, old, **inputs_of(METADATA["1_Load_Data"], built["helpers"], gan, {}))
    executed = run_on_kaggle(notebook, root)
    mounts = root / "input" if old else root / "input" / "datasets"
    helpers = mounts / ("" if old else "ada") / "glasses-or-not-helpers"
    faces = mounts / ("" if old else "jeffheaton") / "glasses-or-no-glasses"
    said = executed.cells[1].outputs[0].text.split()
    assert said == [str(helpers / "data_load.py"), str(faces), str(helpers / "data" / "sample")]
    assert sorted(path.name for path in (root / "working").iterdir()) == [notebook.name, "model.txt"]


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("(MOUNTS / 'new.txt').touch()", "the inputs are as they were|Permission denied"),
        ("(MOUNTS.parent / 'elsewhere').touch()", "working"),
        ("import no_such_module", "ModuleNotFoundError"),
    ],
)
def test_a_stand_in_that_misbehaves_is_caught(tmp_path, code, word):
    notebook = tmp_path / "0_Stand_In.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in (STAND_IN[0], code)]), notebook)
    (tmp_path / "empty").mkdir()
    root = mount(tmp_path / "kaggle", False, **{"datasets/ada/empty": tmp_path / "empty"})
    with pytest.raises(AssertionError, match=word):
        run_on_kaggle(notebook, root)


@pytest.fixture(scope="module")
def executed(tmp_path_factory, built, gan):
    """executed(name): run that notebook, once, after those whose output it reads; its outputs and working folder."""
    by_id = {metadata["id"]: name for name, metadata in METADATA.items()}

    @cache
    def run(name: str) -> tuple[nbformat.NotebookNode, Path]:
        metadata = METADATA[name]
        outputs = {ref: run(by_id[ref])[1] for ref in metadata["kernel_sources"]}
        root = tmp_path_factory.mktemp(name) / "kaggle"
        mount(root, name.startswith("1"), **inputs_of(metadata, built["helpers"], gan, outputs))
        return run_on_kaggle(built[name] / f"{name}.ipynb", root), root / "working"

    return run


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_as_on_kaggle(executed, name):
    notebook, _ = executed(name)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    text = json.dumps(notebook)
    assert str(ROOT / "data") not in text, "the data of the mounts was read, not the project's"
    outputs = [output for cell in cells for output in cell.outputs]
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []
