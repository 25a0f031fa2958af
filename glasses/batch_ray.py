"""Who works on a shard, on many machines?  Ray Data: a row a shard, and a pool of actors that hold the networks.

Through Ray go the number of a shard and the counts of its answers; photos and answers do not: an actor reads the paths
from the output folder and writes the part there, so all machines must see that folder, and have this package.
"""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray tells its makers of each run
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave the machine's CUDA settings as they are

import ray
import ray.data

from .batch_plan import PlanError, load_plan
from .batch_shard import answer_shard, open_pipeline
from .batch_workers import Result
from .output import one_line


class ShardActor:
    """Holds the networks; answers a shard a call."""

    def __init__(self, output: str, again: bool):
        self.plan, self.again = load_plan(output), again
        self.pipeline = open_pipeline(self.plan)

    def __call__(self, row: dict) -> dict:
        """{"number"} -> {"number", "outcomes", "counts", "failed"}."""
        number = int(row["number"])
        counts, failed = Counter(), None
        try:
            counts = answer_shard(self.plan, number, self.pipeline, self.again)
        except Exception as error:  # one part's trouble must not lose the others
            failed = one_line(f"{type(error).__name__}: {error}")
        return {"number": number, "outcomes": list(counts), "counts": list(counts.values()), "failed": failed or ""}


def connect(address: str | None, workers: int) -> None:
    """Join the cluster at an address, or begin one of this machine alone. Raises PlanError where there is none."""
    where = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
    for last in (False, True):  # Ray waits some seconds for its own processes, too few where a machine is busy
        try:
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
            return
        except Exception as error:  # Ray raises bare Exception, too
            ray.shutdown()
            if address or last:
                reason = one_line(str(error))[:200]
                raise PlanError(f"no Ray cluster at {address or 'this machine'}: {reason}") from error


def _shards(output: str, numbers: Sequence[int], again: bool, workers: int) -> ray.data.Dataset:
    """What ShardActor returns of each part, when it is iterated."""
    for name in ("ray.data", "ray.data._internal.progress"):  # progress is told by the command, failures by run_ray
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = False
    settings.max_errored_blocks = -1  # a shard that fails does not end the others
    rows = ray.data.from_items([{"number": number} for number in numbers], override_num_blocks=len(numbers))
    with warnings.catch_warnings():
        # By default Ray Data tries for ever what kills an actor; until 2.63 there is this way alone to end that.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        return rows.map(
            ShardActor,
            fn_constructor_args=(output, again),
            # none waits at an actor: it would fail with the one that kills it
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers)), max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            max_task_retries=1,
        )


def run_ray(output: str, numbers: Sequence[int], again: bool, workers: int, address: str | None) -> Iterator[Result]:
    """Answer these parts of the plan in `output` by so many actors; a result for each as it is done, in any order.

    An actor that dies is replaced, and its shard tried once more; then the part has failed, and the others go on.
    again: of parts that are there, the rows with an error. Raises PlanError, and what
    `open_pipeline` raises.
    """
    open_pipeline(load_plan(output))  # what is wrong with it is told before a cluster is begun
    connect(address, workers)
    try:
        done, missing = _shards(output, numbers, again, workers), set(numbers)
        for row in done.iter_rows():
            missing.remove(row["number"])
            counts = Counter(dict(zip(row["outcomes"], row["counts"], strict=True)))
            yield Result(row["number"], counts, row["failed"] or None)
        for number in sorted(missing):
            yield Result(number, Counter(), "its actor died: --engine local finds the photo and goes on without it")
    except ray.exceptions.RayError as error:
        raise PlanError(f"Ray has ended: {one_line(str(error).strip().splitlines()[-1])[:200]}") from error
    finally:
        ray.shutdown()
