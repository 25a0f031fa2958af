"""What does `glasses batch` do?  Plans, lets workers answer what is missing, and says what is there.

glasses batch photos/ --recursive --output answers          # the same command goes on after any interruption
glasses batch --status answers
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

from tqdm import tqdm

from .batch_plan import HIDDEN, Plan, PlanError, is_locked, last_run, load_plan, locked, make_plan, write_json
from .batch_shard import count_part
from .batch_workers import Result, run_local
from .messages import tell
from .predict import summary


def batch_command(options: argparse.Namespace, prog: str) -> int:
    """Do what the options say; returns the exit status."""
    try:
        if options.status:
            return print_status(load_plan(options.status))
        with locked(options.output):
            _clean(Path(options.output))
            start = time.perf_counter()
            plan, held = make_plan(options)
            _check_protocols(plan)
            words = "goes on with the plan that is there" if held else "planned"
            seconds = time.perf_counter() - start
            tell(prog, f"{words}: {_count(plan.photos, 'photo')} in {_count(len(plan.parts), 'part')}, {seconds:.1f} s")
            return _answer(plan, options, prog)
    except (PlanError, ImportError, ValueError, OSError) as error:
        tell(prog, error)
        return 2


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _clean(output: Path) -> None:
    """Take away what a run that was killed had begun to write."""
    for folder in (output, output / HIDDEN):
        for file in folder.glob(".*.part"):
            file.unlink(missing_ok=True)


def _check_protocols(plan: Plan) -> None:
    """Raises PlanError where paths lie where no package reads."""
    for protocol in plan.protocols:
        import fsspec

        try:
            fsspec.get_filesystem_class(protocol)
        except (ImportError, ValueError) as error:
            raise PlanError(f"paths begin with {protocol}://: {error}") from error


def _answer(plan: Plan, options: argparse.Namespace, prog: str) -> int:
    """Answer what is missing, and with --retry-errors what has errors."""
    workers = options.workers or os.cpu_count() or 1
    done = plan.done()
    missing = sorted(set(range(len(plan.parts))) - set(done))
    with_errors = [n for n in done if count_part(plan, n)["unreadable"]] if options.retry_errors else []
    run = {"began": time.time(), "engine": options.engine, "workers": workers, "failed": {}}
    file = Path(plan.output) / HIDDEN / "run.json"
    write_json(file, run)
    photos = sum(map(plan.size, missing + with_errors))
    bar = tqdm(total=photos, unit="photo", disable=None if photos else True, leave=False)
    try:
        for numbers, again in ((with_errors, True), (missing, False)):
            for result in _results(plan, numbers, again, workers, options, bar):
                if result.failed:
                    run["failed"][result.number] = result.failed
                    with suppress(OSError):  # what keeps a part from being written may keep this, too; it is told here
                        plan.check_there()
                        write_json(file, run)
                    bar.clear()
                    tell(prog, f"part {result.number} of {len(plan.parts)} failed: {result.failed}")
    except BaseException:
        bar.close()
        tell(prog, f"{len(plan.done())} of {len(plan.parts)} parts are there: the same command goes on from them")
        raise
    bar.close()
    counts = sum((count_part(plan, number) for number in plan.done()), Counter())
    if failed := run["failed"]:
        tell(prog, f"{_count(len(failed), 'part')} failed: the same command tries again")
    if counts["unreadable"]:
        tell(prog, "why a photo could not be read is in the column `error`; --retry-errors tries again")
    print(summary(counts), file=sys.stderr)
    return 1 if failed or counts["unreadable"] else 0


def _results(
    plan: Plan, numbers: list[int], again: bool, workers: int, options: argparse.Namespace, bar: tqdm
) -> Iterator[Result]:
    """The results of these parts by the engine of the options; the bar follows."""
    finished = bar.n

    def tick(rows: int = 0) -> None:
        bar.update(finished + rows - bar.n)

    if not numbers:
        return
    if options.engine == "ray":
        try:
            from .batch_ray import run_ray
        except ImportError as error:
            raise PlanError(f"--engine ray needs a package: pip install 'ray[data]' ({error})") from error

        results = run_ray(plan.output, numbers, again, workers, options.address)
    else:
        results = run_local(plan.output, numbers, again, workers, tick)
    with closing(results):
        for result in results:
            finished += plan.size(result.number)
            tick()
            yield result


# -------------------------------------------------------------------------------------------------- --status


def print_status(plan: Plan) -> int:
    """Say on stdout what is done and failed, how fast, and until when; 0, or 1 where a part or photo failed."""
    done, run = plan.done(), last_run(plan)
    counts = sum((count_part(plan, number) for number in done), Counter())
    photos = counts.total()
    failed = {number: why for number, why in run.get("failed", {}).items() if int(number) not in set(done)}
    print(f"{len(done):,} of {_count(len(plan.parts), 'part')} done, {photos:,} of {_count(plan.photos, 'photo')}")
    print(summary(counts))
    for number, why in failed.items():
        print(f"part {number} failed: {why}")
    if speed := _speed(plan, done, run):
        print(f"{speed:.1f} photos a second by {_count(run['workers'], 'worker')} ({run['engine']})")
    if not is_locked(plan.output):
        print("nobody is at work" if len(done) < len(plan.parts) else "all parts are there")
    elif speed:
        end = datetime.now() + timedelta(seconds=(plan.photos - photos) / speed)
        print(f"at work, until about {end:%Y-%m-%d %H:%M}")
    else:
        print("at work; no part of this run is done yet")
    return 1 if failed or counts["unreadable"] else 0


def _speed(plan: Plan, done: list[int], run: dict) -> float | None:
    """Photos a second of the last run, from its beginning to the last part that it wrote; None where it wrote none."""
    written = {number: plan.file(number).stat().st_mtime for number in done}
    of_run = [number for number, when in written.items() if when > run.get("began", time.time())]
    if not of_run:
        return None
    return sum(map(plan.size, of_run)) / (max(written[number] for number in of_run) - run["began"])
