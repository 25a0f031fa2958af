"""`glasses batch`: once for each photo, whatever is killed, full or gone meanwhile; the same bytes each time."""

import csv
import fcntl
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from conftest import ROOT, obey_signals
from glasses.cli import batch_parser, main

pytest.importorskip("pyarrow")
fsspec = pytest.importorskip("fsspec")

import pyarrow.parquet as pq  # noqa: E402

from glasses import GlassesPipeline, batch_manifest  # noqa: E402
from glasses.batch_manifest import read_input, sort_paths  # noqa: E402
from glasses.batch_plan import PlanError, load_plan, locked, make_plan  # noqa: E402
from glasses.batch_shard import answer_row, answer_shard, open_pipeline  # noqa: E402
from glasses.batch_workers import LOADING, MOST_STRAYS, Task, _work  # noqa: E402

SHARD = 3
POISON = """
import os, signal, sys
def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith("poison.jpg"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "glasses", "batch", *map(str, arguments)]


def environment(*more_paths: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, *more_paths])), "OMP_NUM_THREADS": "1"}


def batch(*arguments: object, cwd: Path, paths=(), **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(*paths), capture_output=True, text=True, timeout=300, **more
    )


def parts(output: Path) -> dict[str, bytes]:
    """The tables of a batch by their names."""
    return {file.name: file.read_bytes() for file in sorted(output.glob("part-*.parquet"))}


def rows(output: Path) -> list[dict]:
    return [row for file in sorted(output.glob("part-*.parquet")) for row in pq.ParquetFile(file).read().to_pylist()]


def planned(folder: Path, *arguments: str):
    """The plan of `glasses batch` with these arguments and an output in `folder`."""
    options = batch_parser().parse_args([*arguments, "--output", str(folder / "out")])
    with locked(options.output):
        return make_plan(options)[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory, hopper, astronaut, nobody) -> Path:
    """A folder with 20 photos in `photos`: two portraits, two pictures of nobody, what is no photo."""
    home = tmp_path_factory.mktemp("home")
    (home / "photos" / "below").mkdir(parents=True)
    sources = [hopper, astronaut, nobody[1], nobody[10]]
    for number in range(18):
        source = sources[number % 4]
        folder = home / "photos" / ("below" if number % 3 else "")
        (folder / f"{number:02}{source.suffix}").symlink_to(source)
    (home / "photos" / "broken.jpg").write_bytes(b"no picture")
    shutil.copy(hopper, os.fsencode(home / "photos") + b'/caf\xe9, "large"\n.jpg')
    return home


@pytest.fixture(scope="module")
def undisturbed(home) -> Path:
    """What one process writes without any trouble."""
    done = batch("photos", "--recursive", "--output", "undisturbed", "--shard", SHARD, "--workers", 1, cwd=home)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].endswith("without a face, 1 could not be read")
    return home / "undisturbed"


# -------------------------------------------------------------------------------------- lists and their order


def test_a_list_of_any_order_becomes_a_sorted_one(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_manifest, "PIECE", 100)
    monkeypatch.setattr(batch_manifest, "AT_ONCE", 7)
    paths = [f"{random.Random(n).random():.3f}/é.jpg".encode() for n in range(1234)] + [b"caf\xe9", b"a\nb"]
    paths += paths[:50]
    assert list(sort_paths(paths, tmp_path)) == sorted(set(paths))
    assert len(list(tmp_path.iterdir())) == 13, "pieces on disk"


@pytest.mark.parametrize("suffix", ["txt", "csv", "parquet"])
def test_lists_of_each_kind(tmp_path, suffix):
    names = ["a.jpg", 'b, "c".jpg', "é.jpg", "https://host/a.jpg?x=1"]
    file = tmp_path / f"list.{suffix}"
    if suffix == "txt":
        file.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(names).encode() + b"\ncaf\xe9")
        assert list(read_input(str(file), False)) == [name.encode() for name in names] + [b"caf\xe9"]
        return
    if suffix == "csv":
        with open(file, "w", newline="") as opened:
            csv.writer(opened).writerows([["number", "path"], *enumerate([*names, ""])])
    else:
        pd.DataFrame({"number": range(5), "path": [*names, None]}).to_parquet(file)
    assert list(read_input(str(file), False)) == [name.encode() for name in names]


def test_what_is_no_list_is_refused_in_a_line(tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "other.csv").write_text("file\na.jpg\n")
    (tmp_path / "other.parquet").write_text("file\na.jpg\n")
    (tmp_path / "no pictures").mkdir()
    (tmp_path / "long.csv").write_text("path\n" + "x" * 200_000 + "\n")
    pd.DataFrame({"path": ["a.jpg", "b.jpg"]}).to_parquet(tmp_path / "whole.parquet")
    content = bytearray((tmp_path / "whole.parquet").read_bytes())
    content[4:20] = b"\xff" * 16
    (tmp_path / "damaged.parquet").write_bytes(content)
    pd.DataFrame({"path": [[1, 2]]}).to_parquet(tmp_path / "numbers.parquet")
    for name, why in (
        ("long.csv", "cannot be read: field larger than field limit"),
        ("damaged.parquet", "cannot be read: "),
        ("numbers.parquet", "cannot be read: Unsupported cast"),
        ("empty.txt", "names no photos"),
        ("other.csv", "no column `path`"),
        ("other.parquet", "no Parquet file"),
        ("no pictures", "no pictures in"),
        ("missing", "no folder"),
        ("missing.txt", "No such file"),
    ):
        assert main(["batch", str(tmp_path / name), "--output", str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line
        assert name in line
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_parts_hold_each_photo_once_and_know_their_settings(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{n % 10}/{n}.jpg\n" for n in [*range(100), *range(5)]))
    source = str(tmp_path / "list.txt")
    plan = planned(tmp_path / "1", source, "--shard", "30")
    assert (plan.photos, [plan.size(n) for n in range(4)]) == (100, [30, 30, 30, 10])
    assert [p for n in range(4) for p in plan.paths(n)] == sorted(f"{n % 10}/{n}.jpg".encode() for n in range(100))
    assert len(set(plan.parts)) == 4
    assert planned(tmp_path / "2", source, "--shard", "30").parts == plan.parts
    other_model = tmp_path / "other.onnx"
    shutil.copy(ROOT / "glasses" / "weights" / "accurate.onnx", other_model)
    for number, more in enumerate(
        (["--threshold", "0.5"], ["--any"], ["--detector", "haar"], ["--model", str(other_model)])
    ):
        assert not set(planned(tmp_path / f"3{number}", source, "--shard", "30", *more).parts) & set(plan.parts)
    (tmp_path / "list.txt").write_text("".join(f"{n % 10}/{n}.jpg\n" for n in range(99)))
    changed = planned(tmp_path / "4", source, "--shard", "30").parts
    assert [a == b for a, b in zip(changed, plan.parts, strict=True)] == [True, True, True, False]


def test_what_is_mixed_is_refused(home, tmp_path, capsys):
    shutil.copytree(home / "photos", tmp_path / "photos", symlinks=True)
    source = [str(tmp_path / "photos"), "--shard", "9"]
    planned(tmp_path, *source)
    planned(tmp_path, *source)
    for more in (["--threshold", "0.7"], ["--recursive"], ["--model", "accurate"], ["--shard", "8"]):
        with pytest.raises(PlanError, match=rf"{more[0][2:]} was .* and is .*: give the same, or another --output"):
            planned(tmp_path, *source, *more)
    (tmp_path / "list.txt").write_text("a.jpg\n")
    planned(tmp_path / "of a list", str(tmp_path / "list.txt"))
    (tmp_path / "list.txt").write_text("b.jpg\n")
    with pytest.raises(PlanError, match="content was"):
        planned(tmp_path / "of a list", str(tmp_path / "list.txt"))
    (tmp_path / "out" / "part-00000-0123456789abcdef.parquet").write_bytes(b"")
    with pytest.raises(PlanError, match=r"part-00000-0123456789abcdef[.]parquet, which is not of this batch"):
        planned(tmp_path, *source)
    shutil.rmtree(tmp_path / "out" / "_plan")
    with pytest.raises(PlanError, match="of no batch known there"):
        planned(tmp_path, *source)
    with open(tmp_path / "out" / "_plan" / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["batch", *source, "--output", str(tmp_path / "out")]) == 2
    assert "another run is at work in" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- the tables


def test_the_answers_are_those_of_predict(home, undisturbed):
    of_predict = subprocess.run(
        [sys.executable, "-m", "glasses", "photos", "--recursive", "--format", "jsonl"],
        cwd=home,
        env=environment(),
        capture_output=True,
    )
    records = [json.loads(line) for line in of_predict.stdout.decode().splitlines()]
    expected = {os.fsencode(record["path"]).decode(errors="backslashreplace"): record for record in records}
    found = {row["path"]: row for row in rows(undisturbed)}
    assert found.keys() == expected.keys()
    assert len(found) == 20
    assert {row["kind"] for row in found.values()} == {"eyeglasses", "none", None}
    for path, row in found.items():
        record = expected[path]
        for name in ("glasses", "kind", "detector", "error", "warning"):
            assert row[name] == record[name]
        assert row["probability"] == (record["probability"] and pytest.approx(record["probability"], abs=2e-4))
        assert [[face[name] for name in "xywh"] for face in row["faces"]] == [face["box"] for face in record["faces"]]


def test_size_and_time_are_the_file_s(home, undisturbed):
    for row in rows(undisturbed):
        status = (home / row["path"].replace("\\xe9", "\udce9")).stat()
        assert (row["size"], row["mtime"].timestamp()) == (status.st_size, pytest.approx(status.st_mtime, abs=2e-6))


def test_pandas_and_duckdb_read_the_tables(undisturbed):
    duckdb = pytest.importorskip("duckdb")
    table = pd.read_parquet(undisturbed)
    assert len(table) == 20
    assert table["glasses"].sum() == len(table[table["kind"] == "eyeglasses"]) > 0
    sql = f"""SELECT count(*), count(glasses), sum(size), max(len(faces)), max(faces[1].probability),
              count(*) FILTER (error IS NOT NULL) FROM '{undisturbed}/*.parquet'"""
    ((count, answered, size, most, surest, errors),) = duckdb.sql(sql).fetchall()
    assert (count, answered, size, errors) == (20, table["glasses"].count(), table["size"].sum(), 1)
    assert most == table["faces"].map(len).max()
    assert surest == max(face["probability"] for faces in table["faces"] for face in faces[:1])
    types = dict(
        duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{undisturbed}/*.parquet')").fetchall()
    )
    face = "STRUCT(x INTEGER, y INTEGER, w INTEGER, h INTEGER, probability DOUBLE, kind VARCHAR)[]"
    assert types == {
        **dict.fromkeys(["path", "error", "warning", "kind", "detector"], "VARCHAR"),
        **{"glasses": "BOOLEAN", "probability": "DOUBLE", "faces": face},
        **{"size": "BIGINT", "mtime": "TIMESTAMP WITH TIME ZONE"},
    }


def test_spark_s_rules_are_kept(undisturbed):
    """No unsigned numbers, times in microseconds, three-level lists; the plan has a name that it passes over."""
    for file in undisturbed.glob("*.parquet"):
        schema = pq.ParquetFile(file).schema
        columns = {schema.column(number).path: schema.column(number) for number in range(len(schema))}
        assert "faces.list.element.kind" in columns
        time_type = json.loads(columns["mtime"].logical_type.to_json())
        assert (time_type["isAdjustedToUTC"], time_type["timeUnit"]) == (True, "microseconds")
        assert {column.physical_type for column in columns.values()} <= {
            "BOOLEAN",
            "INT32",
            "INT64",
            "DOUBLE",
            "BYTE_ARRAY",
        }
        assert "UINT" not in str(schema).upper().replace("TIMEUNIT", "")
        compressions = {pq.ParquetFile(file).metadata.row_group(0).column(n).compression for n in range(len(schema))}
        assert compressions == {"SNAPPY"}
    others = {file.name for file in undisturbed.iterdir()} - parts(undisturbed).keys()
    assert all(name.startswith("_") for name in others)


def test_a_row_depends_on_its_photo_alone(home, undisturbed, tmp_path):
    """Part 4 alone, in this process, after others were answered by it."""
    plan = load_plan(undisturbed)
    pipeline = open_pipeline(plan)
    for number in (0, 5, 4):
        before = plan.file(number).read_bytes()
        plan.file(number).unlink()
        answer_shard(plan, number, pipeline)
        assert plan.file(number).read_bytes() == before


# ------------------------------------------------------------------------------------------------------ trouble


def workers_of(process: int) -> list[int]:
    """The processes that a `glasses batch` has started to read photos."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [int(child) for child, line in commands.items() if b"spawn_main" in line]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for the workers in /proc")
def test_killed_at_random_moments(home, undisturbed):
    """The command again and again, and one of its workers now and then: as if nothing had happened."""
    arguments = ("photos", "--recursive", "--output", "killed", "--shard", SHARD, "--workers", 2)
    chance, orphans, hits = random.Random(19), [], 0
    for kill in range(8):
        with subprocess.Popen(command(*arguments), cwd=home, env=environment(), stderr=subprocess.PIPE) as process:
            there, deadline = len(parts(home / "killed")), time.monotonic() + 60
            while len(parts(home / "killed")) < min(6, there + kill % 2) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
            if process.poll() is None:
                workers = workers_of(process.pid)
                orphans += workers
                if kill % 3 == 2 and workers:
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    time.sleep(0.2)
                process.kill()
            hits += process.wait() == -signal.SIGKILL
    assert hits >= 4, "it was done before it was killed"
    done = batch(*arguments, cwd=home)
    assert done.returncode == 1, done.stderr
    assert parts(home / "killed") == parts(undisturbed)
    assert [row["path"] for row in rows(home / "killed")] == [row["path"] for row in rows(undisturbed)]
    assert {file.name for file in (home / "killed").iterdir()} == {"_plan", *parts(undisturbed)}
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{orphan}/cwd").exists() for orphan in orphans) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [orphan for orphan in orphans if Path(f"/proc/{orphan}/cwd").exists()], "a worker outlived its parent"


def test_a_photo_that_kills_its_process(home, tmp_path, undisturbed):
    """The first death is another process's chance; after the second the photo is named, and all others answered."""
    (tmp_path / "sitecustomize.py").write_text(POISON)
    shutil.copytree(home / "photos", tmp_path / "photos", symlinks=True)
    shutil.copy(home / "photos" / "00.jpg", tmp_path / "photos" / "below" / "02-poison.jpg")
    arguments = ("photos", "--recursive", "--output", "out", "--shard", 50, "--workers", 2)
    done = batch(*arguments, cwd=tmp_path, paths=[tmp_path])
    assert done.returncode == 1, done.stderr
    poisoned = [row for row in rows(tmp_path / "out") if row["path"].endswith("poison.jpg")]
    assert [row["error"] for row in poisoned] == [
        "the process that read it ended by SIGKILL, as where memory is short, twice"
    ]
    others = [row for row in rows(tmp_path / "out") if row not in poisoned]
    expected = {row["path"]: row for row in rows(undisturbed)}
    assert [row["path"] for row in others] == sorted(expected)
    for row in others:
        for name in ("glasses", "probability", "faces", "error", "size"):
            assert row[name] == expected[row["path"]][name]
    again = batch(*arguments, "--retry-errors", cwd=tmp_path)  # on a machine that can read it
    assert again.stderr.splitlines()[-1].endswith("1 could not be read")
    (row,) = (row for row in rows(tmp_path / "out") if row["path"].endswith("poison.jpg"))
    assert row["error"] is None
    assert row["glasses"] == expected["photos/00.jpg"]["glasses"]


def test_a_worker_whose_parent_has_ended_ends_without_a_word(home, undisturbed, monkeypatch, tmp_path):
    """Also where the parent ends while the last row is read; the part is written."""
    shutil.copytree(undisturbed, tmp_path / "out")
    plan = load_plan(tmp_path / "out")
    plan.file(2).unlink()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    ours, theirs = multiprocessing.Pipe()
    ours.send((2, False, {}))
    ours.close()
    _work(str(tmp_path / "out"), theirs, SimpleNamespace(value=LOADING))
    assert parts(tmp_path / "out") == parts(undisturbed)
    with pytest.raises(OSError, match="pipe"):
        theirs.send("nobody reads it")


def test_deaths_at_ever_other_photos_end():
    task = Task(0, False)
    assert task.died(LOADING, "x") is None
    assert [task.died(row, "x") for row in range(MOST_STRAYS)] == [None] * MOST_STRAYS
    assert task.died(3, "x") is None
    assert task.skip == {3: "x, twice"}
    assert task.died(20, "x") is None
    assert "11 times" in task.died(21, "x")
    assert Task(0, False, deaths=task.deaths).died(3, "x"), "a third death, where the row is not read"


def test_a_full_disk_fails_parts_and_not_the_batch(home, undisturbed):
    """No file may be larger than the smallest of the parts: that and the plan can be written, others not."""
    arguments = ("photos", "--recursive", "--output", "full", "--shard", SHARD, "--workers", 2)
    sizes = sorted({len(content) for content in parts(undisturbed).values()})
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (sizes[0], sizes[0]))
    done = batch(*arguments, cwd=home, preexec_fn=limit)
    written = parts(home / "full")
    assert done.returncode == 1, done.stderr
    assert {len(content) for content in written.values()} == {sizes[0]}
    lines = [line for line in done.stderr.splitlines() if "failed: OSError: [Errno 27]" in line]
    assert len(lines) == len(parts(undisturbed)) - len(written) > 0
    status = batch("--status", "full", cwd=home)
    assert status.returncode == 1
    assert status.stdout.count(" failed: OSError") == len(lines)
    assert status.stdout.startswith(f"{len(written)} of {len(parts(undisturbed))} parts done")
    assert {file.name for file in (home / "full").iterdir()} == {"_plan", *written}
    batch(*arguments, cwd=home)
    assert parts(home / "full") == parts(undisturbed)


def test_a_folder_that_vanishes_and_comes_back(home, undisturbed):
    arguments = ("photos", "--recursive", "--output", "vanished", "--shard", SHARD, "--workers", 1)
    options = batch_parser().parse_args(list(map(str, arguments)))
    here = Path.cwd()
    os.chdir(home)
    try:
        with locked(options.output):
            make_plan(options)
        (home / "photos" / "below").rename(home / "elsewhere")
        done = batch(*arguments, cwd=home)
    finally:
        (home / "elsewhere").rename(home / "photos" / "below")
        os.chdir(here)
    gone = [row for row in rows(home / "vanished") if row["error"] == "no such file"]
    assert [row["path"] for row in gone] == [
        r["path"] for r in rows(undisturbed) if r["path"].startswith("photos/below")
    ]
    assert done.returncode == 1
    assert f"{len(gone) + 1} could not be read" in done.stderr
    kept = {name: os.stat(home / "vanished" / name).st_mtime_ns for name in parts(home / "vanished")}
    untouched = [
        n for n in kept if all(row["error"] is None for row in pq.read_table(home / "vanished" / n).to_pylist())
    ]
    batch(*arguments, cwd=home)
    assert len(gone) == len([row for row in rows(home / "vanished") if row["error"] == "no such file"]), "not asked"
    done = batch(*arguments, "--retry-errors", cwd=home)
    assert parts(home / "vanished") == parts(undisturbed)
    assert all(os.stat(home / "vanished" / name).st_mtime_ns == kept[name] for name in untouched)
    status = batch("--status", "vanished", cwd=home)
    assert status.stdout.splitlines()[:2] == ["7 of 7 parts done, 20 of 20 photos", done.stderr.splitlines()[-1]]
    assert status.stdout.splitlines()[-1] == "all parts are there"


def test_ctrl_c_keeps_what_is_there_and_status_says_it(home, undisturbed):
    arguments = ("photos", "--recursive", "--output", "interrupted", "--shard", SHARD, "--workers", 1)
    with subprocess.Popen(
        command(*arguments),
        cwd=home,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=obey_signals,
    ) as process:
        while not parts(home / "interrupted"):
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)  # its worker ends the part that it has
        status = batch("--status", "interrupted", cwd=home).stdout.splitlines()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        told = process.stderr.read().splitlines()
    assert process.returncode == 130
    assert re.fullmatch(r"[1-6] of 7 parts done, (3|6|9|12|15|18) of 20 photos", status[0])
    assert "photos a second by 1 worker (local)" in status[-2]
    assert status[-1].startswith("at work, until about 20")
    assert told[-2].endswith("of 7 parts are there: the same command goes on from them")
    batch(*arguments, cwd=home)
    assert parts(home / "interrupted") == parts(undisturbed)


def test_networks_that_cannot_be_loaded_end_it(home, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    done = batch("photos", "--output", tmp_path / "out", "--model", tmp_path / "broken.onnx", cwd=home)
    assert done.returncode == 2
    assert "does not hold a network of this project" in done.stderr.splitlines()[-1]
    assert not parts(tmp_path / "out")


# ---------------------------------------------------------------------------------------- photos that lie elsewhere


def test_photos_over_http(home, undisturbed):
    """From a server of our own, also listed by it; what it does not have is named."""
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=home / "photos")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        names = ["00.jpg", "below/01.png", "broken.jpg", "missing.jpg"]
        (home / "addresses.txt").write_text("".join(f"{address}/{name}\n" for name in names))
        done = batch("addresses.txt", "--output", "fetched", "--workers", 2, "--shard", 2, cwd=home)
        found = list(read_input(f"{address}/", False))
        server.shutdown()
    assert done.returncode == 1
    table = {row["path"].removeprefix(f"{address}/"): row for row in rows(home / "fetched")}
    assert list(table) == names
    assert table["missing.jpg"]["error"] == "no such file"
    expected = {row["path"].removeprefix("photos/"): row for row in rows(undisturbed)}
    for name in names[:3]:
        for column in ("glasses", "probability", "kind", "faces", "error", "size"):
            assert table[name][column] == expected[name][column]
    assert {path.decode().removeprefix(f"{address}/") for path in found} > {"00.jpg", "03.jpg", "broken.jpg"}


def test_photos_in_other_file_systems(hopper, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/photos/a.jpg", hopper.read_bytes())
    memory.pipe_file("/photos/notes.md", b"none")
    memory.pipe_file("/photos/below/b.jpg", hopper.read_bytes())
    assert list(read_input("memory://photos", False)) == [b"memory:///photos/a.jpg"]
    assert sorted(read_input("memory://photos", True)) == [b"memory:///photos/a.jpg", b"memory:///photos/below/b.jpg"]
    pipeline = GlassesPipeline(workers=1, batch=1)
    local = answer_row(os.fsencode(hopper), ".", pipeline)
    row = answer_row(b"memory:///photos/a.jpg", ".", pipeline)
    assert abs(row["mtime"] / 1e6 - time.time()) < 600
    by_address = answer_row(f"file://{hopper}".encode(), ".", pipeline)
    assert abs(by_address["mtime"] - local["mtime"]) <= 1, "a microsecond, rounded otherwise"
    for other in (row, by_address):
        assert other | {"path": "", "mtime": 0} == local | {"path": "", "mtime": 0}
    assert answer_row(b"memory:///photos/c.jpg", ".", pipeline)["error"] == "no such file"
    memory.rm("/photos", recursive=True)


def test_a_protocol_that_no_package_reads_is_refused(tmp_path, capsys):
    (tmp_path / "list.txt").write_text("gopher://host/a.jpg\n")
    assert main(["batch", str(tmp_path / "list.txt"), "--output", str(tmp_path / "out")]) == 2
    assert "paths begin with gopher://: Protocol not known" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- Ray


def test_ray_writes_the_same_bytes(home, undisturbed):
    pytest.importorskip("ray.data")
    arguments = ("photos", "--recursive", "--output", "by ray", "--shard", SHARD, "--workers", 2, "--engine", "ray")
    done = batch(*arguments, cwd=home)
    if "timed out during startup" in done.stderr:
        pytest.skip("Ray waits 15 seconds for its own processes, and this machine is too busy")
    assert done.returncode == 1, done.stderr
    assert parts(home / "by ray") == parts(undisturbed)
    assert done.stderr.splitlines()[-1] == "6 of 19 photos with glasses, 8 without a face, 1 could not be read"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give a folder or a list of photos, and --output DIR"),
        (["photos"], "give a folder or a list of photos, and --output DIR"),
        (["--status", "a", "--output", "b"], "--status DIR stands alone"),
        (["photos", "--output", "out", "--shard", "0"], "--shard must be at least 1, not 0"),
        (["photos", "--output", "out", "--workers", "-1"], "--workers must be at least 1, not -1"),
        (["photos", "--output", "out", "--threshold", "2"], "--threshold must be between 0 and 1, not 2.0"),
        (["photos", "--output", "out", "--address", "auto"], "--address needs --engine ray"),
    ],
)
def test_a_wrong_command_line(arguments, why, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["batch", *arguments])
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_the_status_of_no_batch(tmp_path, capsys):
    assert main(["batch", "--status", str(tmp_path)]) == 2
    assert "holds no batch" in capsys.readouterr().err
