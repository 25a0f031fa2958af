"""Who works on a shard?  Processes on this machine, each with its networks and one shard at a time.

A process may die: the system kills it where memory is short, or a decoder crashes. Its shard goes to a fresh one. Where
that dies at the same photo, the photo is answered with an error and not read again; all others are answered.
"""

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from .batch_plan import PlanError, load_plan
from .batch_shard import answer_shard, open_pipeline
from .output import one_line

LOADING = -1  # the row of a process that has not begun yet
MOST_STARTS = 3  # processes one after the other that die while they load the networks
MOST_STRAYS = 8  # photos of a shard at which a process died once: then it is not the photos
TICK = 0.5  # seconds between two looks at the progress


class Result(NamedTuple):
    """What became of a part: how many photos have which outcome, or why it is not there."""

    number: int
    counts: Counter
    failed: str | None = None


@dataclass
class Task:
    """A part that is to be answered. again: its errors alone. deaths: how many processes died at which row.

    skip: rows that are not read any more, and why.
    """

    number: int
    again: bool
    deaths: Counter = field(default_factory=Counter)
    skip: dict[int, str] = field(default_factory=dict)

    def died(self, row: int, how: str) -> str | None:
        """Note the death of a process at a row; why the part has failed, where it is not a photo's fault."""
        if row == LOADING:
            return None
        self.deaths[row] += 1
        if self.deaths[row] == 2:
            self.skip[row] = f"{how}, twice"
        if self.deaths[row] > 2 or sum(count == 1 for count in self.deaths.values()) > MOST_STRAYS:
            return f"{how}, {self.deaths.total()} times"
        return None


class Worker:
    """A process, the pipe to it, and the number of the row at which it is, in memory of both."""

    def __init__(self, output: str):
        context = multiprocessing.get_context("spawn")  # a fork would share what threads of ours hold locked
        self.row = context.RawValue("q", LOADING)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(output, theirs, self.row), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.task: Task | None = None

    def give(self, task: Task) -> None:
        self.task = task
        if self.row.value != LOADING:
            self.row.value = 0
        with suppress(OSError):  # where it is dead receiving will say so
            self.pipe.send((task.number, task.again, task.skip))

    def death(self) -> str:
        """How the process died, in words."""
        self.process.join()
        code = self.process.exitcode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        return f"the process that read it ended {how}{', as where memory is short' if code == -signal.SIGKILL else ''}"

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(output: str, pipe: Connection, row) -> None:
    """What a worker's process does: answer shards until the pipe ends. Its parent's death ends it, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the parent ends this one
    parent = os.getppid()

    def tell(at: int) -> None:
        row.value = at
        if os.getppid() != parent:
            os._exit(1)

    try:
        plan = load_plan(output)
        pipeline = open_pipeline(plan)
    except (ImportError, ValueError, OSError, PlanError) as error:
        pipe.send((None, one_line(str(error))))
        return
    row.value = 0
    while True:
        try:
            number, again, skip = pipe.recv()
        except (EOFError, OSError):  # its parent has ended
            return
        try:
            answer = answer_shard(plan, number, pipeline, again, skip, tell), None
        except Exception as error:  # one part's trouble must not lose the others
            answer = Counter(), one_line(f"{type(error).__name__}: {error}")
        try:
            pipe.send(answer)
        except OSError:  # as above: the part is there all the same
            return


def run_local(
    output: str, numbers: Sequence[int], again: bool, workers: int, tick: Callable[[int], None] = lambda rows: None
) -> Iterator[Result]:
    """Answer these parts of the plan in `output`; a result for each as it is done, in any order.

    again: of parts that are there, the rows with an error. tick: called now and then with the number of rows that were
    answered of parts at work. Raises PlanError where no process can load the networks.
    """
    waiting, pool, starts = deque(Task(number, again) for number in numbers), [], 0
    try:
        while waiting or any(worker.task for worker in pool):
            while waiting and len(pool) < workers:
                pool.append(Worker(output))
            for worker in pool:
                if worker.task is None and waiting:
                    worker.give(waiting.popleft())
            busy = {worker.pipe: worker for worker in pool if worker.task}
            for pipe in wait(list(busy), TICK):
                worker = busy[pipe]
                task, row = worker.task, worker.row.value
                try:
                    counts, failed = pipe.recv()
                except (EOFError, OSError):
                    starts = starts + 1 if row == LOADING else 0
                    how = worker.death()
                    pool.remove(worker)
                    worker.end()
                    if starts == MOST_STARTS:
                        raise PlanError(f"{how}, as it loaded the networks") from None
                    if failed := task.died(row, how):
                        yield Result(task.number, Counter(), failed)
                    else:
                        waiting.appendleft(task)
                    continue
                if counts is None:
                    raise PlanError(failed)
                starts, worker.task = 0, None
                yield Result(task.number, counts, failed)
            tick(sum(max(0, worker.row.value) for worker in pool if worker.task))
    finally:
        for worker in pool:
            worker.end()
