"""The command line: formats, bad input of every kind, exit codes, output that is whole or not there."""

import csv
import fcntl
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, obey_signals
from detector_architectures import load_detector
from glasses import cli, output
from glasses.output import CSV_COLUMNS, one_line
from glasses.photos import read_image
from glasses.predict import STAGES
from test_photos import bad_files


def run(*arguments, cwd=ROOT, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "glasses", *map(str, arguments)]
    options["env"] = {**(options.get("env") or os.environ), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120, **options)


def call(capsys, *arguments) -> tuple[int, str, str]:
    """The same without a new process: exit status, stdout, stderr."""
    try:
        status = cli.main([str(a) for a in arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


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
    assert list(first) == ["path", "glasses", "probability", "kind", "detector", "faces", "error", "warning"]
    assert [first["path"], second["path"]] == [str(photos / "b hopper.jpg"), str(photos / "a.png")]
    assert (first["glasses"], first["kind"], first["detector"], first["error"]) == (True, "eyeglasses", "finder", None)
    assert (second["glasses"], second["kind"]) == (False, "none")
    (face,) = second["faces"]
    assert list(face) == ["box", "probability", "kind"]
    assert np.abs(np.array(face["box"]) - [180, 57, 93, 119]).max() < 15  # with the forehead, as `mosaic.tilted_box`
    assert all(isinstance(v, int) for v in face["box"])
    assert face["probability"] == second["probability"] < 0.5


def test_csv_has_a_row_a_face(capsys, photos, hopper, astronaut):
    both = np.hstack([np.asarray(Image.open(p).convert("RGB").resize((512, 512))) for p in (hopper, astronaut)])
    Image.fromarray(both).save(photos / "both, of them.png")
    _, out, _ = call(capsys, photos / "both, of them.png", photos / "gone.jpg", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == CSV_COLUMNS
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
    errors = [line for line in done.stderr.splitlines() if line.startswith("glasses: ")]
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
    assert records["thin.png"]["faces"] == []
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
    arguments = [sys.executable, "-m", "glasses", str(photos), "--recursive", "--format", "jsonl"]
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
        (["x.jpg", "--model", "nonsense"], "no network 'nonsense'"),
        (["x.jpg", "--model", "x.safetensors"], "is for torch"),
        (["x.jpg", "--resume"], "needs the --output"),
        (["x.jpg", "--link"], "needs --sort"),
        (["x.jpg", "--sort", __file__ + "/x"], "cannot make the folder"),
        (["x.jpg", "--output", "/no/such/folder/out.csv"], "there is no folder"),
        (["x.jpg", "--output", "."], "is a folder"),
        (["x.jpg", "--output", ""], "needs the name of a file"),
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

    monkeypatch.setitem(output.FORMATS, "jsonl", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cli.main([str(photos), "--format", "jsonl", "--output", str(target)])
    assert len(target.read_text().splitlines()) == 2, "the answers of the last whole run"
    assert not list(tmp_path.glob("*.part*")), "not one answer was there to be kept"


# -------------------------------------------------------------------------------------------------- nobody


@pytest.fixture
def mixed(tmp_path, hopper, nobody) -> Path:
    """A folder with a portrait, a cat, coins and a file that is no picture."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(hopper, folder / "hopper.jpg")
    for file in nobody:
        if file.name in ("chelsea.png", "coins.png"):
            shutil.copy(file, folder)
    (folder / "text.jpg").write_text("no picture")
    return folder


def test_nobody_in_each_format(capsys, mixed):
    status, out, err = call(capsys, mixed, "--format", "jsonl")
    records = {Path(record["path"]).name: record for record in map(json.loads, out.splitlines())}
    nothing = {"glasses": None, "probability": None, "kind": None, "detector": None, "faces": []}
    for name in ("chelsea.png", "coins.png"):
        assert {key: records[name][key] for key in nothing} == nothing
        assert records[name]["error"] is records[name]["warning"] is None
    assert status == 1, "for text.jpg"
    assert err.splitlines()[-1] == "1 of 3 photos with glasses, 2 without a face, 1 could not be read"

    _, out, _ = call(capsys, mixed, "--format", "csv")
    rows = {Path(row["path"]).name: row for row in csv.DictReader(io.StringIO(out))}
    assert len(out.splitlines()) == 5
    assert {value for key, value in rows["coins.png"].items() if key != "path"} == {""}

    _, out, _ = call(capsys, mixed)
    assert [line.rsplit("/", 1)[1] for line in out.splitlines()] == ["hopper.jpg"]


def test_assume_face_and_the_centre_answer_for_everything(capsys, mixed):
    """Where nobody is, of what could be a face, else of the centre."""
    auto = load_detector("auto")
    for option in (("--assume-face",), ("--detector", "center")):
        _, out, err = call(capsys, mixed, "--format", "jsonl", *option)
        found = {Path(r["path"]).name: r["detector"] for r in map(json.loads, out.splitlines())}
        for name in ("coins.png", "chelsea.png"):
            could = option == ("--assume-face",) and auto.candidates(read_image(mixed / name)[0])
            assert found[name] == ("finder" if could else "center")
        assert "without a face" not in err


def test_a_cut_photo_is_answered_with_a_warning(capsys, tmp_path, hopper):
    (tmp_path / "cut.jpg").write_bytes(hopper.read_bytes()[:-100])
    status, out, err = call(capsys, tmp_path / "cut.jpg", "--format", "jsonl")
    record = json.loads(out)
    assert (status, record["glasses"], record["error"]) == (0, True, None)
    assert record["warning"].startswith("the file is cut off")
    assert f"cut.jpg: {record['warning']}" in err


# ------------------------------------------------------------------------------------------------- folders


def test_what_systems_leave_in_folders_is_no_photo(capsys, photos, hopper):
    (photos / ".hidden").mkdir()
    shutil.copy(hopper, photos / ".hidden" / "h.jpg")
    for name in ("._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (photos / name).write_bytes(b"left by a system")
    status, out, _ = call(capsys, photos, "--recursive", "--format", "jsonl")
    assert status == 0
    assert [Path(json.loads(line)["path"]).name for line in out.splitlines()] == ["a.png", "b hopper.jpg", "c.JPG"]


def test_a_newline_in_a_name_stays_on_its_line(capsys, photos, hopper):
    shutil.copy(hopper, photos / "two\nlines\x1b[31m\r.jpg")
    (photos / "no\npicture.jpg").write_text("x")
    status, out, err = call(capsys, photos)
    assert status == 1
    assert [line.split(": ")[1] for line in out.splitlines()] == [
        str(photos / "b hopper.jpg"),
        str(photos) + r"/two\nlines\x1b[31m\r.jpg",
    ]
    assert len(err.splitlines()) == 2
    assert one_line("grün, 眼鏡 \udcff") == "grün, 眼鏡 \udcff", "what can be printed stays"


def test_commands_and_files_of_their_names(capsys, tmp_path, hopper, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(hopper, "predict")
    for arguments in (["./predict"], ["predict", "predict"], ["predict", "./predict"]):
        status, out, _ = call(capsys, *arguments)
        assert status == 0
        assert out.startswith("Found glasses")
    assert call(capsys, "predict")[0] == 2, "a command without a path"
    assert call(capsys, "--version")[1].startswith("glasses ")


# ------------------------------------------------------------------------------------------------- sorting


def test_sort_copies_each_photo_to_its_kind(capsys, mixed, photos, tmp_path):
    shutil.copy(photos / "b hopper.jpg", mixed / "hopper-2.jpg")
    (mixed / "deeper").mkdir()
    shutil.copy(photos / "a.png", mixed / "deeper" / "hopper.jpg")  # a name that is there twice, another picture
    before = {file: file.read_bytes() for file in mixed.rglob("*") if file.is_file()}
    expected = {
        "glasses": ["hopper-2.jpg", "hopper.jpg"],
        "no_glasses": ["hopper.jpg"],
        "nobody": ["chelsea.png", "coins.png"],
        "unreadable": ["text.jpg"],
    }
    for _ in range(2):  # the second time nothing is to be done
        status, _, _ = call(capsys, mixed, "--recursive", "--sort", tmp_path / "sorted")
        assert status == 1
        found = {folder.name: sorted(f.name for f in folder.iterdir()) for folder in (tmp_path / "sorted").iterdir()}
        assert found == expected
    assert (tmp_path / "sorted/glasses/hopper.jpg").read_bytes() == (mixed / "hopper.jpg").read_bytes()
    assert {file: file.read_bytes() for file in mixed.rglob("*") if file.is_file()} == before
    assert not (tmp_path / "sorted/glasses/hopper.jpg").is_symlink()


def test_sort_never_overwrites(capsys, photos, tmp_path):
    (tmp_path / "sorted/glasses").mkdir(parents=True)
    (tmp_path / "sorted/glasses/b hopper.jpg").write_text("somebody else's")
    assert call(capsys, photos, "--sort", tmp_path / "sorted")[0] == 0
    assert (tmp_path / "sorted/glasses/b hopper.jpg").read_text() == "somebody else's"
    assert (tmp_path / "sorted/glasses/b hopper-2.jpg").read_bytes() == (photos / "b hopper.jpg").read_bytes()
    status, _, err = call(capsys, tmp_path / "sorted/glasses", "--sort", tmp_path / "sorted")
    assert (status, "holds photos of the input" in err) == (2, True)


def test_sort_links(capsys, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    for _ in range(2):
        assert call(capsys, "b hopper.jpg", "--sort", tmp_path / "sorted", "--link")[0] == 0
    (link,) = (tmp_path / "sorted/glasses").iterdir()
    assert link.is_symlink()
    assert link.resolve() == (photos / "b hopper.jpg").resolve()


def test_links_lead_to_the_photo_whatever_its_path(capsys, photos, tmp_path, monkeypatch):
    """ ".." behind a link is not the folder that its name says."""
    (tmp_path / "far" / "deep").mkdir(parents=True)
    shutil.copy(photos / "b hopper.jpg", tmp_path / "far" / "q.jpg")
    (tmp_path / "link").symlink_to("far/deep")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert call(capsys, "link/../q.jpg", "--sort", "sorted", "--link")[0] == 0
    (link,) = (tmp_path / "sorted/glasses").iterdir()
    assert link.samefile(tmp_path / "far" / "q.jpg")


def test_the_longest_names_are_sorted_and_drawn(capsys, hopper, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a" * 251 + ".jpg", "é" * 125 + "b" * 5, "c" * 255):
        shutil.copy(hopper, tmp_path / "in" / name)
    files = sorted((tmp_path / "in").iterdir())
    for _ in range(2):
        status, _, err = call(capsys, *files, "--sort", tmp_path / "sorted", "--draw", tmp_path / "drawn")
        assert (status, err) == (0, "3 of 3 photos with glasses\n")
    assert len(list((tmp_path / "sorted/glasses").iterdir())) == len(list((tmp_path / "drawn").iterdir())) == 3


def test_draw_is_not_held_up_by_what_is_in_its_folder(capsys, photos, tmp_path):
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    os.mkfifo(drawn / "a.jpg")
    huge = bytearray(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (30_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0")
    (drawn / "b hopper.jpg").write_bytes(huge + zlib.crc32(bytes(huge[12:])).to_bytes(4, "big") + bytes(100))
    status, _, _ = call(capsys, photos, "--draw", drawn)
    assert status == 0
    assert {file.name for file in drawn.iterdir()} == {"a.jpg", "a-2.jpg", "b hopper.jpg", "b hopper-2.jpg"}
    status, _, err = call(capsys, photos, "--sort", tmp_path / "s", "--draw", tmp_path / "s/glasses")
    assert (status, "lies in the folder of --sort" in err) == (2, True)


@pytest.mark.parametrize("closing", ["<&-", "2>&-", ">/dev/full"])
def test_closed_or_full_streams_are_no_traceback(photos, closing):
    command = f"{sys.executable} -m glasses '{photos}' --format jsonl {closing}"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if "full" in closing else 0)
    assert "Traceback" not in done.stderr
    if "full" not in closing:
        assert [json.loads(line)["glasses"] for line in done.stdout.splitlines()] == [False, True]


def test_closed_stdout_is_one_line(photos):
    command = f"{sys.executable} -m glasses '{photos}' >&-"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "glasses: stdout is closed: give --output FILE\n")


def test_folders_that_link_to_each_other_are_read_once(capsys, hopper, tmp_path):
    for number in range(5):
        (tmp_path / "all" / str(number)).mkdir(parents=True)
        shutil.copy(hopper, tmp_path / "all" / str(number) / "h.jpg")
        for other in range(5):
            (tmp_path / "all" / str(number) / f"to{other}").symlink_to(f"../{other}")
    _, out, _ = call(capsys, tmp_path / "all", "--recursive", "--format", "jsonl")
    found = [json.loads(line) for line in out.splitlines()]
    assert sum(record["error"] is None for record in found) == 5
    assert len(found) < 40


def test_a_carriage_return_in_a_name_is_one_csv_row(capsys, photos, hopper):
    shutil.copy(hopper, photos / "a\rb.jpg")
    _, out, _ = call(capsys, photos / "a\rb.jpg", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(out, newline=""))
    assert row["path"] == str(photos / "a\rb.jpg")


def test_onnx_runtime_sends_nothing_about_us(tmp_path, hopper):
    """It would note a number for this device below the home folder, and use it."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = run(hopper, env=environment | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_any_counts_a_photo_for_any_of_its_faces(capsys, tmp_path, hopper, astronaut):
    image = np.full((600, 900, 3), 128, np.uint8)
    image[40:552, 40:552] = np.asarray(Image.open(astronaut).convert("RGB"))
    image[200:350, 700:828] = np.asarray(Image.open(hopper).convert("RGB").resize((128, 150)))
    Image.fromarray(image).save(tmp_path / "two.png")
    _, _, err = call(capsys, tmp_path / "two.png")
    assert err == "0 of 1 photo with glasses\n"
    _, out, err = call(capsys, tmp_path / "two.png", "--any", "--format", "jsonl", "--sort", tmp_path / "sorted")
    assert err == "1 of 1 photo with glasses\n"
    assert (json.loads(out)["glasses"], json.loads(out)["kind"]) == (True, "eyeglasses")
    assert (tmp_path / "sorted/glasses/two.png").is_file()


# -------------------------------------------------------------------------------------------- interruption


@pytest.fixture(scope="module")
def many(tmp_path_factory, hopper, astronaut, nobody) -> Path:
    """A folder of 90 small photos: two people, now and then no picture, one of nobody."""
    folder = tmp_path_factory.mktemp("many")
    pictures = [Image.open(file).convert("RGB").resize((200, 225)) for file in (hopper, astronaut)]
    shutil.copy(next(file for file in nobody if file.name == "coins.png"), folder / "045.jpg")
    for number in range(90):
        if number % 10 == 9:
            (folder / f"{number:03d}.jpg").write_text("no picture")
        elif number != 45:
            pictures[number % 2].rotate(number / 20).save(folder / f"{number:03d}.jpg", quality=80)
    return folder


SLOWLY = """
import sys, time
from glasses import cli, output
def slowly(write):
    return lambda answer: (time.sleep(0.02), write(answer))[1]
output.FORMATS = {name: slowly(write) for name, write in output.FORMATS.items()}
cli.run()
"""


@pytest.mark.parametrize(
    ("form", "number", "status"),
    [
        ("jsonl", signal.SIGINT, 130),
        ("text", signal.SIGTERM, 143),
        ("csv", signal.SIGHUP, 129),
        ("jsonl", signal.SIGKILL, -9),
    ],
)
def test_an_interrupted_run_is_completed_byte_for_byte(capsys, many, tmp_path, form, number, status):
    whole, target = tmp_path / "whole", tmp_path / "answers"
    whole_status, _, whole_err = call(capsys, many, "--format", form, "--output", whole)
    arguments = [str(many), "--format", form, "--output", str(target)]
    command = [sys.executable, "-c", SLOWLY, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=obey_signals)
    log = tmp_path / "answers.part.log"
    while process.poll() is None and (not log.is_file() or len(log.read_bytes().splitlines()) < 40):
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert not target.exists()
    kept = (tmp_path / "answers.part").read_bytes()
    assert whole.read_bytes().startswith(kept), "what was answered stays"
    if number != signal.SIGKILL:
        assert "answers are kept in" in err
        assert str(target) + ".part" in err
        assert "Traceback" not in err
    again, _, err = call(capsys, *arguments)
    assert (again, "--resume completes them" in err) == (2, True), "nothing is lost by a forgotten option"
    resumed_status, _, resumed_err = call(capsys, *arguments, "--resume")
    assert target.read_bytes() == whole.read_bytes()
    assert (resumed_status, resumed_err.splitlines()[-1]) == (whole_status, whole_err.splitlines()[-1])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["answers", "whole"]


IMPATIENT = """
import os, signal, time
from glasses import cli
def command():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        print("tidied up")
cli.run(command)
"""


def test_a_second_ctrl_c_does_not_disturb_the_tidying_up():
    command = [sys.executable, "-c", IMPATIENT]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, preexec_fn=obey_signals
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "tidied up\n", "glasses: interrupted\n")


@pytest.fixture
def stopped(many, tmp_path, monkeypatch) -> list[str]:
    """The arguments of a run that was interrupted after 40 answers."""
    arguments = [str(many), "--format", "jsonl", "--output", str(tmp_path / "a.jsonl")]
    count = 0

    def interrupted(answer, write=output.FORMATS["jsonl"]):
        nonlocal count
        count += 1
        if count > 40:
            raise KeyboardInterrupt
        return write(answer)

    with monkeypatch.context() as patch:
        patch.setitem(output.FORMATS, "jsonl", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cli.main(arguments)
    return arguments


@pytest.mark.parametrize(
    "option", [("--threshold", "0.9"), ("--model", "accurate"), ("--detector", "haar"), ("--any",), ("--assume-face",)]
)
def test_resume_wants_the_same_options(capsys, stopped, tmp_path, option):
    before = (tmp_path / "a.jsonl.part").read_bytes()
    capsys.readouterr()
    status, _, err = call(capsys, *stopped, "--resume", *option)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert option[0].strip("-").replace("-", "_") in err
    assert "give the same" in err
    assert (tmp_path / "a.jsonl.part").read_bytes() == before


def test_resume_wants_the_same_photos(capsys, stopped, many, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(many, other)
    stopped[0] = str(other)
    status, _, err = call(capsys, *stopped, "--resume")
    assert status == 2
    assert "other photos than those of" in err


def test_resume_survives_a_torn_log_and_a_short_file(capsys, stopped, many, tmp_path):
    """As after a power cut: half a line in the log, answers that it knows but that are not on the disk."""
    part, log = tmp_path / "a.jsonl.part", tmp_path / "a.jsonl.part.log"
    part.write_bytes(part.read_bytes()[:-200])
    log.write_bytes(log.read_bytes() + b'["' + os.fsencode(many) + b"/04")
    assert call(capsys, *stopped, "--resume")[0] == 1
    call(capsys, *stopped[:-1], tmp_path / "whole.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    for line in ("no log\n", "5\n", "null\n", "[1, 2]\n", "[{}, 300]\n"):
        log.write_text(line)
        part.write_text("x")
        status, _, err = call(capsys, *stopped, "--resume")
        assert (status, "is damaged: delete it" in err, err.count("\n")) == (2, True, 1), line
    part.unlink()  # killed after the file took its name, or at the very beginning: nothing is held
    assert call(capsys, *stopped)[0] == 1
    log.write_text("")
    part.write_text("")
    assert call(capsys, *stopped)[0] == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.jsonl", "whole.jsonl"]


def test_two_runs_do_not_write_one_file(capsys, stopped, tmp_path):
    with open(tmp_path / "a.jsonl.part.log", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        status, _, err = call(capsys, *stopped, "--resume")
        assert (status, "is being written by another run" in err) == (2, True)
    assert call(capsys, *stopped, "--resume")[0] == 1


def test_output_never_replaces_a_photo_a_device_or_a_link(capsys, photos, tmp_path, hopper):
    photo = photos / "b hopper.jpg"
    (tmp_path / "link.jpg").symlink_to(photo)
    for target in (photo, tmp_path / "link.jpg"):
        status, _, err = call(capsys, photos, "--output", target)
        assert (status, "is a photo of the input" in err) == (2, True)
    assert photo.read_bytes() == hopper.read_bytes()
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "out.txt").symlink_to("real.txt")
    assert call(capsys, photos, "--output", tmp_path / "out.txt")[0] == 0
    assert (tmp_path / "out.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text().startswith("Found glasses")
    command = f"{sys.executable} -m glasses '{photo}' --output /dev/stdout > {tmp_path}/stdout.txt"
    subprocess.run(["sh", "-c", command], cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "stdout.txt").read_text().startswith("Found glasses")
    assert Path("/dev/stdout").is_symlink()


def test_resume_with_nothing_to_resume_begins(capsys, photos, tmp_path):
    status, _, _ = call(capsys, photos, "--output", tmp_path / "a.txt", "--resume")
    assert status == 0
    assert (tmp_path / "a.txt").read_text().startswith("Found glasses")


def test_a_full_disk_keeps_what_was_answered(capsys, stopped, tmp_path, monkeypatch):
    def full(file, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(output, "_write_all", full)
        with pytest.raises(output.OutputError, match="No space left on device"):
            cli.main([*stopped, "--resume"])
    assert "40 answers are kept in" in capsys.readouterr().err
    assert call(capsys, *stopped, "--resume")[0] == 1
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 90


# ------------------------------------------------------------------------------------------------- drawing


def test_draw_keeps_files_that_were_there(capsys, photos, tmp_path):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "a.jpg").write_text("somebody else's")
    for _ in range(2):  # its own drawings it draws anew
        assert call(capsys, photos, "--draw", tmp_path / "drawn")[0] == 0
        assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["a-2.jpg", "a.jpg", "b hopper.jpg"]
    assert (tmp_path / "drawn" / "a.jpg").read_text() == "somebody else's"


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
    for options, stages in (([], set(STAGES) - {"keypoints"}), (["--keypoints"], set(STAGES))):
        _, _, err = call(capsys, photos, "--time", *options)
        table = next(line for line in err.splitlines() if line.startswith("median milliseconds"))
        assert {stage for stage in STAGES if f"{stage} " in table} == stages


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
    command = [sys.executable, "-m", "glasses", str(photos), "--recursive"]
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
    """As in `glasses ... | head -1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "glasses", *[str(photos / "a.png")] * 3, "--format", "jsonl"],
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
        "import sys, glasses.cli\n"
        "try: glasses.cli.main(['--help'])\n"
        "except SystemExit: print([name for name in ('torch', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
