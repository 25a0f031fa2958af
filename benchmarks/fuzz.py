"""Is every file answered or named, whatever is in it?  Writes benchmarks/results/fuzz.csv.

    python -m benchmarks.fuzz [--files 20000] [--others 1000] [--seed 0] [--kinds pictures films ...]
                              [--keep DIR] [--note WORDS]

`--files` damaged pictures (fuzz_files.py) go from decode to answer through the whole pipeline of the command line, as
a path and as bytes in turn; then `--others` damaged or hostile files of each other kind that is read (fuzz_inputs.py).
Each is read in a process of its own kind, which may hold MEMORY bytes more than it does after its first answer
(RLIMIT_DATA: what programs and libraries map is in it, files are not) and may take SECONDS of the processor for a file.
A process that dies or takes longer is ended, the file is counted and named, and another process goes on with the next.

What else is counted as wrong says fuzz_worker.py. `--keep DIR` writes the files of what was wrong there. Rows of kinds
that are not named stay in the table. Linux only.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from benchmarks import fuzz_files
from benchmarks.fuzz_inputs import KINDS
from benchmarks.fuzz_worker import (
    ANSWERS,
    CRASH,
    HANG,
    MEMORY,
    NAMED,
    PICTURES,
    WRONG,
    Outcome,
    changes_of,
    read_corpus,
    work,
)
from benchmarks.report import RESULTS, add_note, header, run_command, write_table

SECONDS, LONGEST = 5, 60  # of the processor, and by the clock, for a file


def write_corpus(kind: str, folder: Path, with_bombs: bool = True) -> None:
    """The whole files of a kind, and of pictures the bombs: each in a file, and their forms in forms.json."""
    makers = [(fuzz_files.seeds if kind == PICTURES else KINDS[kind].files, False)]
    makers += [(fuzz_files.bombs, True)] if kind == PICTURES and with_bombs else []
    forms = []
    for make, heavy in makers:
        for form, content in make():
            (folder / f"{len(forms)}").write_bytes(content)
            forms.append([form, heavy])
    (folder / "forms.json").write_text(json.dumps(forms))


def used_by(process: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(kind: str, corpus: Path, seed: int, numbers: Sequence[int], worker: Callable = work) -> Iterator[Outcome]:
    """The outcome of each number, in order. Raises RuntimeError where a process dies before it reads the first file."""
    context, left = multiprocessing.get_context("spawn"), list(numbers)
    whole, heavy = read_corpus(corpus)
    while left:
        at, since, began = context.RawValue("q", -1), context.RawValue("d", 0), context.RawValue("d", 0)
        ours, theirs = context.Pipe(duplex=False)
        arguments = (theirs, at, since, began, kind, corpus, seed, left)
        process = context.Process(target=worker, args=arguments, daemon=True)
        process.start()
        theirs.close()
        hung = False
        try:
            while True:
                if ours.poll(0.2):
                    if (outcome := ours.recv()) is None:
                        return
                    left.remove(outcome.number)
                    yield outcome
                elif at.value >= 0 and process.is_alive():
                    used, passed = used_by(process.pid) - since.value, time.monotonic() - began.value
                    if hung := used > SECONDS or passed > LONGEST:
                        process.kill()
                        break
        except EOFError:
            pass
        finally:
            if sys.exc_info()[0] is GeneratorExit:
                process.kill()
            process.join()
            ours.close()
        number = at.value
        if number not in left:
            raise RuntimeError(f"{kind}: a process ended with {process.exitcode} before it read a file")
        left.remove(number)
        case = fuzz_files.mutated(number, seed, whole, heavy, changes_of(kind))
        how = f"longer than {SECONDS} s" if hung else f"ended by {process.exitcode}"
        yield Outcome(number, case.form, case.change, HANG if hung else CRASH, how)


def campaign(
    kind: str, count: int, seed: int, with_bombs: bool = True, keep: Path | None = None, worker: Callable = work
) -> pd.DataFrame:
    """A row for each of `count` files of a kind, as `Outcome`. keep: a folder for the files of what was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder)
        write_corpus(kind, corpus, with_bombs)
        whole, heavy = read_corpus(corpus)
        outcomes = []
        for outcome in tqdm(run(kind, corpus, seed, range(count), worker), desc=kind, total=count, disable=None):
            outcomes.append(outcome)
            if outcome.outcome in (WRONG, CRASH, HANG):
                what = f"{outcome.form} ({outcome.change}): {outcome.outcome}: {outcome.line}"
                tqdm.write(f"{kind} {outcome.number}: {what}")
                if keep:
                    content = fuzz_files.mutated(outcome.number, seed, whole, heavy, changes_of(kind)).content
                    (keep / f"{kind}-{outcome.number}").write_bytes(content)
    return pd.DataFrame(outcomes, columns=Outcome._fields)


def summary(kind: str, outcomes: pd.DataFrame) -> pd.DataFrame:
    """A row a format: how many files had which outcome, the longest time, and the most memory."""
    of_form = outcomes.groupby(outcomes["form"].str.partition(",")[0].rename("format"), sort=False)
    table = of_form["outcome"].value_counts().unstack(fill_value=0)
    table = table.reindex(columns=[ANSWERS, NAMED, WRONG, CRASH, HANG], fill_value=0)
    table.insert(0, "files", of_form.size())
    table = table.join(of_form[["seconds", "mb"]].max().round(2)).reset_index()
    table.insert(0, "kind", kind)
    return table


def merged(file: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a kind, and those of others that are in the file, in the order of the kinds."""
    earlier = pd.read_csv(file, comment="#") if file.is_file() else table.head(0)
    rows = pd.concat([earlier[~earlier["kind"].isin(table["kind"])], table]) if len(earlier) else table
    return rows.sort_values("kind", key=lambda kinds: kinds.map([PICTURES, *KINDS].index), kind="stable")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--others", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=[PICTURES, *KINDS], choices=[PICTURES, *KINDS])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the files of what was wrong there")
    add_note(parser)
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    limits = f"{MEMORY:,} bytes, {SECONDS} s of the processor a file; seed {options.seed}"
    file, wrong = RESULTS / "fuzz.csv", 0
    for kind in options.kinds:
        count = options.files if kind == PICTURES else options.others
        table = summary(kind, campaign(kind, count, options.seed, keep=options.keep))
        print(table.to_string(index=False), flush=True)
        wrong += table[[WRONG, CRASH, HANG]].to_numpy().sum()
        write_table(merged(file, table), file, header(limits, note=options.note))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(run_command(main))
