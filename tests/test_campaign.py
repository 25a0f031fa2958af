"""The campaign in small: kills, troubles and rude clients leave nothing lost, doubled or wrong; it would be seen."""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")
psutil = pytest.importorskip("psutil")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from benchmarks import campaign, clients, troubles  # noqa: E402
from benchmarks.campaign import BatchJob, TrainingJob, kill_often  # noqa: E402
from benchmarks.clients import MISDEEDS, WELL, Diary, Material, behave, measure_load, statuses  # noqa: E402
from benchmarks.troubles import TROUBLES, Archive  # noqa: E402
from conftest import ROOT  # noqa: E402
from data_load import MeGlass  # noqa: E402
from detector_architectures import load_detector  # noqa: E402
from face_cache import CachedFaces  # noqa: E402
from glasses import GlassesPipeline, batch_command, cli  # noqa: E402
from glasses.batch_workers import Result  # noqa: E402
from glasses.files import MACHINE, remove_partials, whole_file  # noqa: E402
from glasses.uploads import Limits  # noqa: E402
from test_server import serving  # noqa: E402
from train import Trainer  # noqa: E402

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes as Linux shows them")
NOTHING = {"lost": 0, "doubled": 0, "different": 0, "strays": 0}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Archive:
    """60 photos, three of them broken, in parts of five."""
    return Archive(tmp_path_factory.mktemp("archive"), 60, shard=5)


@pytest.fixture(scope="module")
def expected(archive) -> Path:
    """What `glasses batch` writes without any trouble."""
    run = archive.run("undisturbed", workers=1)
    assert (run.status, run.crashed) == (1, False), run.told
    return run.output


# ---------------------------------------------------------------------------------------------------- the kills


def test_a_batch_that_is_killed_loses_nothing(archive, expected):
    """The phases too are those that were asked for: most kills fall where the command was waited for, the last where it
    ends."""
    job = BatchJob(archive, "local", expected)
    goals = itertools.chain(["planning", "loading", "answering", "writing"], itertools.repeat(None))
    job.ahead, job.short = lambda: [next(goals)], dict.fromkeys(job.short, 0.02)  # there are few photos
    tally = kill_often(job, kills=5, minutes=5, chance=random.Random(19))
    assert tally.phases.total() == 5
    assert set(tally.phases) >= {"planning", "ending"}
    assert set(tally.phases) & {"loading", "answering", "writing"}
    assert (tally.crashes, tally.hangs) == (0, 0)
    assert tally.differences == NOTHING
    assert not [each for each in psutil.process_iter() if str(archive.home) in " ".join(command_of(each))]


def command_of(process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_what_a_batch_is_ahead_of(archive, expected, tmp_path):
    job = BatchJob(archive, "local", expected)
    job.out = tmp_path / "out"
    assert "planning" in job.ahead()
    shutil.copytree(expected, job.out)
    assert "ending" in job.ahead()
    next(job.out.glob("part-*")).unlink()
    assert {"loading", "answering", "writing"} <= set(job.ahead())


def test_phases_by_the_files_that_are_there(archive, expected, tmp_path):
    job, began = BatchJob(archive, "local", expected), time.time() - 10
    job.out, job.seen = tmp_path / "out", tmp_path / "seen"
    found = [job.phase(began, 0)]
    shutil.copytree(expected, job.out)
    plan = job.out / "_plan"
    for file in plan.iterdir():
        os.utime(file, (1, 1))  # of an earlier life
    found.append(job.phase(began, 0))
    (plan / "lock").touch()
    found.append(job.phase(began, 0))
    (plan / "run.json").touch()
    part = next(job.out.glob("part-*"))
    part.rename(tmp_path / part.name)
    found.append(job.phase(began, 0))
    job.seen.touch()
    found.append(job.phase(began, 0))
    (job.out / ".abc.1.part").touch()
    found.append(job.phase(began, 0))
    (job.out / ".abc.1.part").rename(part)
    found.append(job.phase(began, 0))
    assert found == ["starting", "starting", "planning", "loading", "answering", "writing", "ending"]


def test_what_is_not_as_it_should_be_is_counted(archive, expected, tmp_path):
    shutil.copytree(expected, tmp_path / "out")
    first, second, third, *_ = sorted((tmp_path / "out").glob("part-*"))
    rows = pq.ParquetFile(first).read()
    pq.write_table(pa.concat_tables([rows.slice(1), rows.slice(1, 1)]), first)  # one lost, one doubled, other bytes
    second.unlink()  # five lost, a part less
    third.with_name("part-00009-0123456789abcdef.parquet").write_bytes(third.read_bytes())  # five doubled, a part more
    (tmp_path / "out" / ".abc.7.part").touch()
    (tmp_path / "out" / "_plan" / "sort").mkdir()
    found = archive.differences(tmp_path / "out", expected)
    assert found == {"lost": 6, "doubled": 6, "different": 3, "strays": 2}
    assert archive.differences(expected, expected) == NOTHING


def test_what_is_not_as_it_should_be_after_training(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingJob, "EPOCHS", 5)
    whole, killed = TrainingJob(tmp_path, "whole"), TrainingJob(tmp_path, "killed", tmp_path / "whole")
    for job, epochs in ((whole, "1 2 3 4 5"), (killed, "1 2 3 3 5")):
        job.out.mkdir()
        (job.out / "log.csv").write_text("epoch,loss\n" + "".join(f"{epoch},0.5\n" for epoch in epochs.split()))
        save_file({"a": np.zeros(2), "b": np.ones(3)}, job.out / "glasses.safetensors", {"config": "x", "kinds": "y"})
    assert whole.ahead() == [None, None, "cutting faces"]
    (killed.out / "config.json").touch()
    (killed.out / ".abc.7.part").touch()
    assert killed.differences() == {"lost": 1, "doubled": 1, "different": 2, "strays": 1}
    assert TrainingJob(tmp_path, "whole", tmp_path / "whole").differences() == NOTHING
    save_file({"a": np.zeros(2), "b": np.zeros(3)}, killed.out / "glasses.safetensors", {"config": "x", "kinds": "y"})
    assert killed.differences()["different"] == 3
    assert killed.phase(time.time(), 7) == "writing"
    assert killed.phase(time.time(), 8) == "starting"


# ------------------------------------------------------------------------------------------------- the troubles


@pytest.mark.parametrize("name", ["the disk is full", "the output vanishes", "reading fails", "connections break off"])
def test_a_trouble_is_reported_and_loses_nothing(archive, expected, name):
    """(Workers that die and photos that vanish are in test_batch.py.)"""
    try:
        row = TROUBLES[name](archive, expected, random.Random(1))
    except PermissionError as error:
        pytest.skip(str(error))
    assert row.reported >= row.count > 0, [run.told for run in row.runs]
    record = row.as_record()
    assert {key: record[key] for key in NOTHING} == NOTHING
    assert (record["crashes"], record["hangs"]) == (0, 0)
    assert all(run.status == 1 for run in row.runs)  # some photos are broken


def test_a_command_that_crashes_is_counted(tmp_path):
    ended = [troubles.Run(tmp_path, status, told) for status, told in ((1, "x"), (-9, "x"), (None, "x"), (2, "x"))]
    row = troubles.Row(1, 1, [*ended, troubles.Run(tmp_path, 1, "Traceback (most recent call last)")], NOTHING)
    assert (row.as_record()["crashes"], row.as_record()["hangs"]) == (3, 1)


def test_a_note_that_cannot_be_written_fails_nothing(archive, monkeypatch, capsys):
    """On a full disk neither a part nor the note of its failure can be written; the other parts go on."""
    written = []

    def write(file, content):
        written.append(dict(content["failed"]))
        if content["failed"]:
            raise OSError(28, "No space left on device")

    results = [Result(0, Counter(), "OSError: [Errno 28] No space left on device"), Result(1, Counter(glasses=5))]
    monkeypatch.setattr(batch_command, "write_json", write)
    monkeypatch.setattr(batch_command, "run_local", lambda *_: (result for result in results))
    monkeypatch.chdir(archive.home)
    assert cli.main(["batch", "list.txt", "--output", "noted", "--shard", "5"]) == 1
    assert len(written) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "part 0 of 12 failed: OSError: [Errno 28] No space left on device" in lines[-3]
    assert "1 part failed: the same command tries again" in lines[-2]


def test_nothing_is_written_where_the_batch_was(archive, expected, tmp_path):
    """A disk that was unmounted leaves an empty folder, which is another disk's."""
    from glasses.batch_plan import load_plan
    from glasses.batch_shard import answer_shard, write_part

    shutil.copytree(expected, tmp_path / "out")
    plan = load_plan(tmp_path / "out")
    plan.paths(0)
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    for attempt in (lambda: answer_shard(plan, 0, None), lambda: write_part(plan, 0, [])):
        with pytest.raises(FileNotFoundError, match="out holds this batch no more: put it back"):
            attempt()
    assert list((tmp_path / "out").iterdir()) == []


# --------------------------------------------------------------------------------------------------- the clients


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Material:
    return Material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def port():
    limits = Limits(header_seconds=1, silent_seconds=0.6, reading_seconds=2)
    with serving(GlassesPipeline(workers=1, crops=True), limits) as port:
        yield port


@pytest.mark.parametrize("misdeed", MISDEEDS, ids=lambda misdeed: misdeed.__name__)
def test_each_misdeed_is_answered_as_it_may_be(port, material, misdeed):
    for seed in range(1 if misdeed.__name__.startswith("dripping") else 4):
        assert misdeed(int(port), material, random.Random(seed)) in MISDEEDS[misdeed]
    end = time.monotonic() + 20
    while port.server.gate.requests and time.monotonic() < end:
        time.sleep(0.05)
    assert (port.server.gate.requests, port.server.gate.bytes) == (0, 0)


def test_a_wrong_answer_is_seen(port, material):
    diary, end = Diary(), time.monotonic() + 1.5
    behave(int(port), material, random.Random(0), end, diary)
    assert set(diary.counts) == {(WELL, "right")}
    other = Material.__new__(Material)
    other.forms, other.answers = material.forms, [[answers[0] | {"probability": 0.5}] for answers in material.answers]
    behave(int(port), other, random.Random(0), time.monotonic() + 0.5, diary)
    assert diary.counts[WELL, "wrong"] > 0
    assert len(diary.seconds) == diary.counts[WELL, "right"]


def test_a_little_load(monkeypatch):
    monkeypatch.setattr(clients, "IDLE", 5.5)
    quick = {clients.garbage: {(400,)}, clients.cut_connection: {()}, clients.broken_file: {(200,)}}
    monkeypatch.setattr(clients, "MISDEEDS", quick)
    well, *rude, server = measure_load(minutes=0.1, clients=6, seed=0)
    assert (well["what"], well["wrong"], well["shed"], well["hangs"]) == (WELL, 0, 0, 0)
    assert well["count"] > 5
    assert 0 < well["p50_ms"] <= well["p95_ms"]
    assert {row["what"] for row in rude} <= {
        "misbehaving: garbage",
        "misbehaving: cut connection",
        "misbehaving: broken file",
    }
    assert all(row["count"] > 0 and (row["wrong"], row["hangs"]) == (0, 0) for row in rude)
    assert (server["crashes"], server["hangs"]) == (0, 0)
    assert 50 < server["mb"] <= server["mb_most"] < 2000


def test_memory_is_the_median_after_half_a_minute_and_at_the_end():
    samples = [(second, 500 if second < 30 else 100 + second / 10) for second in range(600)]
    samples[300] = (300, 900)
    found = clients.memory(samples)
    assert found == {"mb": pytest.approx(104.5), "mb_late": pytest.approx(158.4, abs=0.1), "mb_most": 900}


def test_statuses_are_those_of_each_response():
    body = json.dumps({"a": "HTTP/1.1 500 "})
    first = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    assert statuses(f"{first}HTTP/1.1 400 Bad Request\r\n\r\nInvalid".encode()) == (200, 400)
    assert statuses(b"") == ()


# ------------------------------------------------------------------------------- what killed processes leave


def test_what_a_killed_process_had_begun_is_taken_away(tmp_path):
    """And what others have begun that are at work, or of another machine, is not."""
    code = f"from glasses.files import whole_file\nwith whole_file({str(tmp_path / 'a')!r}) as partial:\n"
    code += "    partial.touch()\n    print(flush=True)\n    input()\n"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        (of_other,) = tmp_path.iterdir()
        remove_partials(tmp_path)
        assert of_other.exists(), "it is at work"
        elsewhere = of_other.with_name(of_other.name.replace(MACHINE, "0000"))
        elsewhere.touch()
        other.kill()
        other.wait()
        with whole_file(tmp_path / "b") as partial:
            partial.touch()
            remove_partials(tmp_path)
            assert set(tmp_path.iterdir()) == {elsewhere, partial}


def test_what_a_killed_training_had_begun_is_taken_away(meglass, tmp_path):
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    left = [tmp_path / folder / f".abc.{MACHINE}.{ended.pid}.part" for folder in ("cache", "out")]
    for file in left:
        file.parent.mkdir()
        file.touch()
    faces = {"meglass": CachedFaces(MeGlass(meglass), load_detector("center"), tmp_path / "cache")}
    Trainer(faces, faces, tmp_path / "out", 1, batch=16, workers=0).fit(lambda history: None)
    assert not [file for file in left if file.exists()]


# ---------------------------------------------------------------------------------------------------- the table


def test_other_parts_stay_in_the_table(tmp_path, monkeypatch):
    earlier = "part,count\nload,1\nray,2\nlocal,3\n"
    (tmp_path / "campaign.csv").write_text(earlier)
    monkeypatch.setattr(campaign, "RESULTS", tmp_path)
    monkeypatch.setattr(campaign, "measure_batch", lambda part, *_: [{"part": part, "count": n} for n in (7, 8)])
    monkeypatch.setattr("sys.argv", ["campaign.py", "ray"])
    assert campaign.main() == 0
    table = pd.read_csv(tmp_path / "campaign.csv", comment="#")
    assert table[["part", "count"]].to_numpy().tolist() == [["local", 3], ["ray", 7], ["ray", 8], ["load", 1]]
    (tmp_path / "campaign.csv").unlink()
    assert campaign.main() == 0
    assert pd.read_csv(tmp_path / "campaign.csv", comment="#")["part"].tolist() == ["ray", "ray"]


def test_an_unknown_part_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["campaign.py", "nothing"])
    with pytest.raises(SystemExit):
        campaign.main()
    assert "there is no nothing: choose from local, ray, training, troubles, load" in capsys.readouterr().err
