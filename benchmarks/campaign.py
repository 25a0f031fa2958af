"""Is anything lost, whatever is killed, full or gone, and whoever asks?  Writes benchmarks/results/campaign.csv.

    python -m benchmarks.campaign [local ray training troubles load] [--kills 100] [--photos 5000] [--most 15]
                                  [--minutes 10] [--clients 50] [--seed 19] [--note WORDS]

local, ray, training: `glasses batch` by each engine, and `train.py`, are killed by SIGKILL again and again, and go on
by the same command: --kills times, or as often as --most minutes allow. Some moments are drawn from the clock, others
from phases that are short. Every other kill ends all processes; the others end the command alone, whose workers must
then end themselves, while the next command is at work already. All is stopped first, so that the phase in which a kill
falls is seen and not guessed. What is there at the end is compared, byte by byte, with what a run without any trouble
wrote, and the rows are counted as pyarrow reads them. What is complete before the last kill is begun anew.
troubles: what is no kill, troubles.py. load: `glasses serve` with so many clients, half of which misbehave, clients.py.

The parts that are not named stay in the table as they are. Linux only; a full disk needs the right to mount one.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # the order of the sums of training depends on it

import argparse
import csv
import datetime
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
from safetensors import safe_open

from benchmarks.clients import measure_load
from benchmarks.report import RESULTS, ROOT, add_note, header, run_command, with_earlier, write_table
from benchmarks.troubles import HANG, TROUBLES, Archive, kill, parts_of, tree_of
from glasses.batch_plan import HIDDEN

PARTS = ("local", "ray", "training", "troubles", "load")
WATCH = """
import os, sys
def watch(event, arguments, mark=os.environ["CAMPAIGN_MARK"], seen=os.environ["CAMPAIGN_SEEN"], told=[]):
    if event == "open" and mark in str(arguments[0]) and not told:
        told.append(True)
        os.close(os.open(seen, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
sys.addaudithook(watch)
"""  # a process so touches a file when it opens the first one whose path holds the mark: it has begun its work


class Job:
    """A command that is killed, and goes on by being given again.

    home: a folder of its own. out: what it writes. command: as it is given each time. mark: what the path of the first
    file holds that it opens for its work. life: seconds within which it is killed where no phase is waited for. short:
    the phases that can be, and in how many seconds after their beginning it is killed at the latest.
    """

    mark, life, short = "", 5.0, {}

    def __init__(self, home: Path, command: Sequence[object], out: Path):
        self.home, self.command, self.out = home, [sys.executable, *map(str, command)], out
        self.seen = home / "seen"
        (home / "watch").mkdir(parents=True, exist_ok=True)
        (home / "watch" / "sitecustomize.py").write_text(WATCH)

    def start(self) -> subprocess.Popen:
        """It at work, in a group of processes of its own; what it says is in told.txt."""
        paths = os.pathsep.join(map(str, [ROOT, self.home / "watch"]))
        environment = os.environ | {"PYTHONPATH": paths, "CAMPAIGN_MARK": self.mark, "CAMPAIGN_SEEN": str(self.seen)}
        environment["RAY_TMPDIR"] = str(self.home)
        with open(self.home / "told.txt", "w") as told:
            return subprocess.Popen(
                self.command, cwd=self.home, env=environment, stdout=told, stderr=told, start_new_session=True
            )

    def told(self) -> str:
        return (self.home / "told.txt").read_text()

    def clean(self) -> None:
        """Take away what it wrote."""
        shutil.rmtree(self.out, ignore_errors=True)

    def phase(self, began: float, process: int) -> str:
        """What it is doing, by the files that are there. began: seconds since 1970."""
        raise NotImplementedError

    def ahead(self) -> list[str | None]:
        """The phases to be waited for in its next life, one of which is drawn; None: a moment by the clock."""
        raise NotImplementedError

    def differences(self) -> dict[str, int]:
        """What is not as without any trouble: lost, doubled, different, strays."""
        raise NotImplementedError


def is_new(file: Path, began: float) -> bool:
    """Whether a file is there and was written since then."""
    try:
        return file.stat().st_mtime >= began
    except OSError:
        return False


class BatchJob(Job):
    """`glasses batch` by an engine. expected: the folder that it writes without any trouble."""

    mark, short = "/photos/", {"planning": 0.05, "loading": 1.0, "answering": 0.5, "writing": 0.0, "ending": 0.1}

    def __init__(self, archive: Archive, engine: str, expected: Path):
        command = archive.command(f"by {engine}", "--engine", engine)[1:]
        super().__init__(archive.home, command, archive.home / f"by {engine}")
        self.archive, self.expected, self.parts = archive, expected, len(parts_of(expected))
        self.life = {"local": 5.0, "ray": 30.0}[engine]

    def _there(self) -> int:
        return len(list(self.out.glob("part-*.parquet")))

    def phase(self, began: float, process: int) -> str:
        plan = self.out / HIDDEN
        if not is_new(plan / "lock", began):
            return "starting"
        if not is_new(plan / "run.json", began):
            return "planning"
        if any(self.out.glob(".*.part")):
            return "writing"
        if self._there() == self.parts:
            return "ending"
        return "answering" if is_new(self.seen, began) else "loading"

    def ahead(self) -> list[str | None]:
        if not (self.out / HIDDEN / "plan.json").is_file():
            return ["planning", "planning", None]
        if self._there() == self.parts:
            return ["planning", "ending", "ending"]
        return [None, None, "loading", "answering", "writing"]

    def differences(self) -> dict[str, int]:
        return self.archive.differences(self.out, self.expected)


class TrainingJob(Job):
    """`train.py` on 200 synthetic faces. expected: the folder of a run without any trouble."""

    mark, life, short = ".npy", 20.0, {"cutting faces": 5.0, "writing": 0.0, "ending": 8.0}
    EPOCHS = 20
    FILES = ("glasses.safetensors", "glasses.onnx", "log.csv", "config.json")

    def __init__(self, home: Path, name: str = "killed", expected: Path | None = None):
        command = [ROOT / "train.py", "--data", f"meglass={ROOT / 'data' / 'sample'}", "--epochs", self.EPOCHS]
        command += ["--batch", 32, "--device", "cpu", "--workers", 1, "--resume"]
        super().__init__(home, [*command, "--out", home / name, "--cache", home / name / "faces"], home / name)
        self.expected = expected

    def _epochs(self) -> list[str]:
        try:
            with open(self.out / "log.csv", newline="") as file:
                return [row["epoch"] for row in csv.DictReader(file)]
        except FileNotFoundError:
            return []

    def phase(self, began: float, process: int) -> str:
        if any((self.out / "faces").glob(f".*.{process}.part")):
            return "cutting faces"
        if any(self.out.glob(f".*.{process}.part")):
            return "writing"
        if not is_new(self.seen, began):
            return "starting"
        return "ending" if len(self._epochs()) == self.EPOCHS else "training"

    def ahead(self) -> list[str | None]:
        if not (self.out / "checkpoint.pt").is_file():
            return [None, None, "cutting faces"]
        return ["ending", None] if len(self._epochs()) == self.EPOCHS else [None, None, "writing"]

    def differences(self) -> dict[str, int]:
        epochs, wanted = Counter(self._epochs()), {str(number + 1) for number in range(self.EPOCHS)}
        strays = [file for file in self.out.rglob(".*.part") if file.is_file()]
        return {
            "lost": len(wanted - epochs.keys()),
            "doubled": sum(epochs.values()) - len(epochs),
            "different": sum(content(self.out / name) != content(self.expected / name) for name in self.FILES),
            "strays": len(strays),
        }


def content(file: Path) -> object:
    """What is in a file, None where there is none. Of weights: header and tensors, which may lie in any order in it."""
    if not file.is_file():
        return None
    if file.suffix != ".safetensors":
        return file.read_bytes()
    with safe_open(file, "numpy") as opened:
        header, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}
    return header, {name: (one.dtype, one.shape, one.tobytes()) for name, one in tensors.items()}


# ---------------------------------------------------------------------------------------------------- the kills


@dataclass
class Tally:
    """What happened. phases: kills by the phase in which they fell. refused: commands that said why they could not
    begin, as Ray does on a busy machine. hangs: commands, and workers, that did not end."""

    phases: Counter = field(default_factory=Counter)
    rounds: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    differences: Counter = field(default_factory=Counter)

    def note_end(self, job: Job, status: int) -> bool:
        """Of a command that ended by itself; whether it did what it was to do."""
        if status not in (0, 1) or "Traceback" in job.told():
            refused = status == 2 and "no Ray cluster" in job.told()
            self.refused += refused
            self.crashes += not refused
            print(f"ended with {status}: {job.told()}", flush=True)
        return status in (0, 1)

    def finish(self, job: Job) -> None:
        """Let a job come to its end; where it cannot begin it is given again."""
        for _ in range(10):
            process = job.start()
            try:
                if self.note_end(job, process.wait(HANG)):
                    return
            except subprocess.TimeoutExpired:
                kill(tree_of(process.pid))
                process.wait()
                self.hangs += 1


def wait_for_moment(job: Job, process: subprocess.Popen, began: float, goal: str | None, chance: random.Random) -> None:
    """Until the command is to be killed, or has ended. goal: one of `Job.ahead`; the ending is waited for long."""
    until = began + chance.uniform(0, job.life)
    longest = began + (HANG if goal == "ending" else 4 * job.life)
    if goal is None:
        while process.poll() is None and time.time() < until:
            time.sleep(0.01)
        return
    while process.poll() is None and job.phase(began, process.pid) != goal and time.time() < longest:
        time.sleep(0.002)
    time.sleep(chance.uniform(0, job.short[goal]))


def stop_tree(process: int) -> list[psutil.Process]:
    """Stop a process and all that it started, so that nothing changes any more; itself first."""
    stopped = {}
    while new := [each for each in tree_of(process) if each.pid not in stopped]:
        for each in new:
            stopped[each.pid] = each
            try:
                each.suspend()
            except psutil.NoSuchProcess:
                continue
    return list(stopped.values())


def kill_once(job: Job, goal: str | None, chance: random.Random, tally: Tally) -> tuple[bool, list[psutil.Process]]:
    """A life of the command: whether it came to its end, and the workers that must end by themselves."""
    began, process = time.time(), job.start()
    wait_for_moment(job, process, began, goal, chance)
    tree = stop_tree(process.pid)
    phase, alone = job.phase(began, process.pid), chance.random() < 0.5
    kill(tree[:1] if alone else tree)
    status = process.wait()
    if alone:
        for each in tree[1:]:
            try:
                each.resume()
            except psutil.NoSuchProcess:
                continue
    if status == -9:
        tally.phases[phase] += 1
        return False, tree[1:]
    return tally.note_end(job, status), tree[1:]


def kill_often(job: Job, kills: int, minutes: float, chance: random.Random) -> Tally:
    """Kill a job so often, or for so long, and let it end each time that it is complete or the last kill was done.

    The last of them, a tenth of the kills or a quarter of the time, are to fall where it ends.
    """
    tally, start = Tally(), time.monotonic()
    end, late = start + 60 * minutes, start + 45 * minutes
    while tally.phases.total() < kills and time.monotonic() < end:
        job.clean()
        ended, workers = False, []
        while not ended and tally.phases.total() < kills and time.monotonic() < end:
            last = tally.phases.total() >= kills - max(1, kills // 10) or time.monotonic() > late
            ended, orphans = kill_once(job, "ending" if last else chance.choice(job.ahead()), chance, tally)
            workers += orphans
        if not ended:
            tally.finish(job)
        _, alive = psutil.wait_procs(workers, 60)
        kill(alive)
        tally.hangs += len(alive)
        tally.rounds += 1
        tally.differences.update(job.differences())
        print(f"{job.out.name}, round {tally.rounds}: {dict(tally.phases)} {dict(tally.differences)}", flush=True)
    return tally


def kill_rows(name: str, job: Job, options: argparse.Namespace, count: int) -> list[dict]:
    """A row for all kills of a job, and one for each phase. count: photos or epochs that each round must have."""
    start = time.monotonic()
    tally = kill_often(job, options.kills, options.most, random.Random(options.seed))
    seconds = time.monotonic() - start
    row = {"what": "kills", "count": tally.phases.total(), "rounds": tally.rounds, "of": count}
    row |= {key: tally.differences[key] for key in ("lost", "doubled", "different", "strays")}
    rows = [row | {"refused": tally.refused, "crashes": tally.crashes, "hangs": tally.hangs, "seconds": seconds}]
    rows += [{"what": f"kills while {phase}", "count": number} for phase, number in sorted(tally.phases.items())]
    return [{"part": name} | row for row in rows]


def measure_batch(engine: str, options: argparse.Namespace, home: Path) -> list[dict]:
    """`glasses batch` by an engine, killed."""
    archive = Archive(home, options.photos)
    run = archive.run("undisturbed")
    if run.crashed or any(archive.differences("undisturbed", run.output).values()):
        raise RuntimeError(f"not even undisturbed it is right: {run.told}")
    return kill_rows(engine, BatchJob(archive, engine, run.output), options, options.photos)


def measure_training(options: argparse.Namespace, home: Path) -> list[dict]:
    """`train.py`, killed."""
    undisturbed = TrainingJob(home, "undisturbed")
    if undisturbed.start().wait(HANG):
        raise RuntimeError(f"not even undisturbed it ends: {undisturbed.told()}")
    return kill_rows("training", TrainingJob(home, "killed", undisturbed.out), options, TrainingJob.EPOCHS)


def measure_troubles(options: argparse.Namespace, home: Path) -> list[dict]:
    """A row for each of TROUBLES."""
    archive = Archive(home, options.photos)
    expected, rows = archive.run("undisturbed").output, []
    for name, trouble in TROUBLES.items():
        start = time.monotonic()
        record = trouble(archive, expected, random.Random(options.seed)).as_record()
        rows.append({"part": "troubles", "what": name, "of": options.photos} | record)
        rows[-1]["seconds"] = time.monotonic() - start
        print(rows[-1], flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--most", type=float, default=15, help="minutes in which one command is killed")
    parser.add_argument("--minutes", type=float, default=10, help="of load")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=19)
    add_note(parser)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no {unknown.pop()}: choose from {', '.join(PARTS)}")
    file = RESULTS / "campaign.csv"
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            if part == "load":
                rows = measure_load(options.minutes, options.clients, options.seed)
            else:
                measure = {"training": measure_training, "troubles": measure_troubles}.get(part)
                home = Path(folder)
                rows = measure(options, home) if measure else measure_batch(part, options, home)
        for row in rows:
            row["date"] = datetime.date.today()
        table = with_earlier(pd.DataFrame(rows), file, "part", PARTS)
        print(table.to_string(index=False), flush=True)
        lines = header(f"seed: {options.seed}; each part as it was last measured", note=options.note)
        write_table(table, file, lines)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
