"""The command line: formats, bad input of every kind, exit codes, output that is whole or not there."""

import csv
import fcntl
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import predict
import pytest
from PIL import Image

from conftest import ROOT
from test_pipeline import bad_files


def run(*arguments, cwd=ROOT, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "predict.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120, **options)


def call(capsys, *arguments) -> tuple[int, str, str]:
    """The same without a new process: exit status, stdout, stderr."""
    try:
        status = predict.main([str(a) for a in arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(autouse=True)
def _stdout_can_be_reconfigured(monkeypatch):
    """pytest's replacement of stdout has no `reconfigure`."""
    monkeypatch.setattr(type(sys.stdout), "reconfigure", lambda self, **options: None, raising=False)


@pytest.fixture
def photos(tmp_path, hopper, astronaut) -> Path:
    """A folder with two portraits, a text file, and a subfolder with one more portrait."""
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    shutil.copy(hopper, folder / "b hopper.jpg")
    shutil.copy(astronaut, folder / "a.png")
    shutil.copy(hopper, folder / "deeper" / "c.JPG")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_text_names_the_photos_with_glasses(photos):
    done = run(photos)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("Found glasses (")
    assert line.endswith(f", eyeglasses): {photos / 'b hopper.jpg'}")
    assert 0.5 < float(line.split("(")[1].split(",")[0]) <= 1
    assert done.stderr == "1 of 2 photos with glasses\n"


def test_jsonl_has_every_field_in_input_order(capsys, photos):
    status, out, _ = call(capsys, photos / "b hopper.jpg", photos / "a.png", "--format", "jsonl")
    first, second = (json.loads(line) for line in out.splitlines())
    assert status == 0
    assert list(first) == ["path", "glasses", "probability", "kind", "detector", "faces", "error"]
    assert [first["path"], second["path"]] == [str(photos / "b hopper.jpg"), str(photos / "a.png")]
    assert (first["glasses"], first["kind"], first["detector"], first["error"]) == (True, "eyeglasses", "slim", None)
    assert (second["glasses"], second["kind"]) == (False, "none")
    (face,) = second["faces"]
    assert list(face) == ["box", "probability", "kind"]
    assert np.abs(np.array(face["box"]) - [180, 64, 88, 106]).max() < 15
    assert all(isinstance(v, int) for v in face["box"])
    assert face["probability"] == second["probability"] < 0.5


def test_csv_has_a_row_a_face(capsys, photos, hopper, astronaut):
    both = np.hstack([np.asarray(Image.open(p).convert("RGB").resize((512, 512))) for p in (hopper, astronaut)])
    Image.fromarray(both).save(photos / "both, of them.png")
    _, out, _ = call(capsys, photos / "both, of them.png", photos / "gone.jpg", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == predict.CSV_COLUMNS
    assert [(row["path"], row["face"], row["error"]) for row in rows] == [
        (str(photos / "both, of them.png"), "0", ""),
        (str(photos / "both, of them.png"), "1", ""),
        (str(photos / "gone.jpg"), "", "no such file"),
    ]
    assert {row["face_kind"] for row in rows[:2]} == {"eyeglasses", "none"}


def test_recursive_and_suffixes(capsys, photos):
    _, out, _ = call(capsys, photos, "--recursive", "--format", "jsonl")
    names = [os.path.relpath(json.loads(line)["path"], photos) for line in out.splitlines()]
    assert names == ["a.png", "b hopper.jpg", "deeper/c.JPG"]


def test_every_bad_file_in_its_place_and_nothing_lost(tmp_path, hopper):
    """One call over everything that can be wrong: a line each, the good photos answered, no traceback."""
    bad = bad_files(tmp_path)
    bad["folder.jpg"] = "no pictures in this folder"
    names = sorted([*bad, "good.jpg"])
    shutil.copy(hopper, tmp_path / "good.jpg")
    done = run(*(tmp_path / name for name in names), "--format", "jsonl")
    assert done.returncode == 1
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(r["path"]).name for r in records] == names
    for name, record in zip(names, records, strict=True):
        if name == "good.jpg":
            assert record["glasses"]
        else:
            assert bad[name] in record["error"], name
            assert record["glasses"] is record["probability"] is record["kind"] is None
            assert record["faces"] == []
    errors = [line for line in done.stderr.splitlines() if line.startswith("predict.py: ")]
    assert len(errors) == len(bad)
    assert done.stderr.splitlines()[-1] == f"1 of 1 photo with glasses, {len(bad)} could not be read"
    assert "Traceback" not in done.stderr


def test_bad_files_in_a_folder(capsys, tmp_path, hopper):
    """The same found in a folder: links that lead nowhere, a pipe, a thin picture; the rest is answered."""
    shutil.copy(hopper, tmp_path / "good.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    Image.new("RGB", (900, 1)).save(tmp_path / "thin.png")
    status, out, _ = call(capsys, tmp_path, "--format", "jsonl")
    records = {Path(r["path"]).name: r for r in map(json.loads, out.splitlines())}
    assert status == 1
    assert records["good.jpg"]["glasses"]
    assert records["thin.png"]["detector"] == "center"
    assert [records[f"{name}.jpg"]["error"] is None for name in ("loop", "dangling", "pipe")] == [False] * 3


@pytest.mark.parametrize("target", ["/proc/answers.jsonl", "/dev/full"])
def test_output_that_cannot_be_written_is_one_line(photos, target):
    done = run(photos, "--format", "jsonl", "--output", target)
    assert done.returncode == 2
    assert f"cannot write {target}" in done.stderr
    assert "Traceback" not in done.stderr


def test_directory_loops_end(capsys, photos):
    (photos / "deeper" / "up").symlink_to(photos)
    status, out, err = call(capsys, photos, "--recursive", "--format", "jsonl")
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [r["error"] is None for r in records] == [True, True, True, False]
    assert "leads back" in records[3]["error"]
    assert str(photos / "deeper" / "up") in err


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read everything")
def test_no_permission_is_one_line(photos):
    (photos / "a.png").chmod(0)
    (photos / "deeper").chmod(0)
    arguments = [sys.executable, str(ROOT / "predict.py"), str(photos), "--recursive", "--format", "jsonl"]
    drop = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"] if os.geteuid() == 0 else []
    try:
        done = subprocess.run([*drop, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    finally:
        (photos / "deeper").chmod(0o700)
    errors = [json.loads(line)["error"] for line in done.stdout.splitlines()]
    assert errors == ["no permission to read it", None, "cannot open the folder: Permission denied"]
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "PATH"),
        (["x.jpg", "--detector", "yolo"], "yolo"),
        (["x.jpg", "--threshold", "1.5"], "between 0 and 1"),
        (["x.jpg", "--format", "xml"], "xml"),
        (["x.jpg", "--model", "nonsense"], "no weights at"),
        (["x.jpg", "--device", "tpu9"], "tpu9"),
        (["x.jpg", "--output", "/no/such/folder/out.csv"], "there is no folder"),
        (["x.jpg", "--output", "."], "is a folder"),
        (["x.jpg", "--draw", __file__ + "/x"], "cannot make the folder"),
    ],
)
def test_usage_errors(capsys, arguments, word):
    status, out, err = call(capsys, *arguments)
    assert status == 2
    assert word in err
    assert out == ""


def test_threshold(capsys, photos):
    _, out, _ = call(capsys, photos, "--threshold", "0")
    assert len(out.splitlines()) == 2
    _, out, _ = call(capsys, photos, "--threshold", "1")
    assert out == ""


def test_output_is_whole_or_not_there(capsys, photos, tmp_path, monkeypatch):
    target = tmp_path / "answers.jsonl"
    target.write_text("the old answers")
    status, out, _ = call(capsys, photos, "--format", "jsonl", "--output", target)
    assert (status, out) == (0, "")
    assert len(target.read_text().splitlines()) == 2

    def interrupted(answer):
        raise KeyboardInterrupt

    monkeypatch.setitem(predict.FORMATS, "jsonl", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict.main([str(photos), "--format", "jsonl", "--output", str(target)])
    assert len(target.read_text().splitlines()) == 2, "the answers of the last whole run"
    assert not list(tmp_path.glob("*.part"))


def test_draw_keeps_every_photo_apart(capsys, photos, tmp_path):
    shutil.copy(photos / "a.png", photos / "deeper" / "a.png")
    status, _, _ = call(capsys, photos, "--recursive", "--draw", tmp_path / "drawn")
    assert status == 0
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["a-2.jpg", "a.jpg", "b hopper.jpg", "c.jpg"]
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "a.jpg"), int)
    plain = np.asarray(Image.open(photos / "a.png").convert("RGB"), int)
    assert drawn.shape == plain.shape
    changed = np.argwhere(np.abs(drawn - plain).max(2) > 60)
    assert changed[:, 1].min() == pytest.approx(181, abs=12), "the box is where the face is"
    assert changed[:, 1].max() < 350


def test_draw_never_writes_over_the_photos(capsys, photos, tmp_path):
    before = {file: file.read_bytes() for file in photos.iterdir() if file.is_file()}
    (tmp_path / "link").symlink_to(photos)
    for folder in (photos, tmp_path / "link"):
        status, out, err = call(capsys, photos, "--draw", folder)
        assert (status, out) == (2, "")
        assert "holds photos of the input" in err
    assert {file: file.read_bytes() for file in photos.iterdir() if file.is_file()} == before


def test_time_prints_each_stage(capsys, photos):
    _, _, err = call(capsys, photos, "--time")
    table = next(line for line in err.splitlines() if line.startswith("median milliseconds"))
    assert all(f"{stage} " in table for stage in predict.STAGES)


def test_names_that_are_not_unicode(photos):
    name = os.fsencode(photos) + b"/bad\xff\nname.jpg"
    with open(photos / "b hopper.jpg", "rb") as source, open(name, "wb") as target:
        target.write(source.read())
    done = run(photos, "--format", "jsonl", env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert os.fsencode(records[2]["path"]) == name


def test_progress_bar_only_on_a_terminal(photos):
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, str(ROOT / "predict.py"), str(photos), "--recursive"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=slave, text=True)
    out, _ = process.communicate(timeout=120)
    os.close(slave)
    seen = b""
    while chunk := _read(master):
        seen += chunk
    assert b"photo" in seen
    assert b"\r" in seen
    assert len(out.splitlines()) == 2
    assert "\r" not in run(photos).stderr


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


def test_a_closed_pipe_is_not_an_error(photos):
    """As in `predict.py ... | head -1`."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "predict.py"), *[str(photos / "a.png")] * 3, "--format", "jsonl"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait(timeout=120)


def test_works_from_any_folder(photos):
    done = run("a.png", "b hopper.jpg", cwd=photos)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(": b hopper.jpg")


def test_help_is_quick_to_load():
    code = (
        "import sys, predict\n"
        "try: predict.main(['--help'])\n"
        "except SystemExit: print([name for name in ('torch', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
