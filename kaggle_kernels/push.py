"""The notebooks on Kaggle: builds the data set of the modules they import and a folder for each, and pushes them.

    python kaggle_kernels/push.py --dry-run           # fills build/kaggle/ and says what would go; needs no account
    python kaggle_kernels/push.py                     # the data set, then every notebook
    python kaggle_kernels/push.py 3_Full_Pipeline     # the data set, then this notebook

Wants a token of kaggle.com/settings in KAGGLE_API_TOKEN or ~/.kaggle/access_token. What is pushed is private. Kaggle
runs a notebook on a GPU as soon as it has it; before one that reads another's output, push.py waits for that.
Exit status: 0, all was pushed; 1, something was not (one line says what); 2, the command line is wrong.
"""

import argparse
import io
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "kaggle"
# What goes into the data set with the root's modules.
FOLDERS = ("detector_architectures", "glasses", "recognition", "synthetic", "weights")
FOLDERS += ("data/sample", "benchmarks/results")
OWNER = "OWNER"  # stands in the committed metadata for the user's name
POLL, LIMIT = 10, 3600  # seconds between two looks at what Kaggle is doing, and after which to give up


class PushError(Exception):
    """Something was not pushed; the message is one line that names it and the fix."""


def find_notebooks() -> dict[str, Path]:
    """The course's notebooks by name, as "1_Load_Data", in order."""
    return {path.stem: path for path in sorted(ROOT.glob("[0-9]_*.ipynb"))}


def build(user: str, out: Path) -> dict[str, Path]:
    """Make `out` anew: helpers/ (the data set) and a folder for each notebook. Returns these folders by name."""
    partial = out.with_name(f"{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    for folder in FOLDERS:  # shutil.copy, not copy2: by a file's old time the client takes up an upload long expired
        shutil.copytree(ROOT / folder, partial / "helpers" / folder, ignore=ignore, copy_function=shutil.copy)
    for file in (*ROOT.glob("*.py"), ROOT / "LICENSE"):
        shutil.copy(file, partial / "helpers")
    notebooks = find_notebooks()
    for name in ("helpers", *notebooks):
        template = ROOT / "kaggle_kernels" / name / f"{'dataset' if name == 'helpers' else 'kernel'}-metadata.json"
        if not template.is_file():
            raise PushError(f"no {template}: copy another notebook's, and change its id, title and code_file")
        (partial / name).mkdir(exist_ok=True)
        (partial / name / template.name).write_text(template.read_text().replace(f'"{OWNER}/', f'"{user}/'))
    for name, notebook in notebooks.items():
        shutil.copy(notebook, partial / name)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return {name: out / name for name in ("helpers", *notebooks)}


def describe(folder: Path) -> str:
    """A line on what `folder` becomes on Kaggle."""
    (path,) = folder.glob("*-metadata.json")
    metadata = json.loads(path.read_text())
    if path.name == "dataset-metadata.json":
        files = [file for file in folder.rglob("*") if file.is_file() and file != path]  # path itself is not uploaded
        sizes = [file.stat().st_size for file in files]
        return f"data set {metadata['id']}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"
    reads = ", ".join(metadata["dataset_sources"] + metadata["kernel_sources"])
    return f"notebook {metadata['id']}: {metadata['code_file']} on {metadata['machine_shape']}, reads {reads}"


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn whatever the client raises about `what` into a PushError."""
    try:
        yield
    except PushError:
        raise
    except Exception as error:  # requests, urllib3, the client's own checks: all mean that it was not pushed
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        refused = status_code(error) in (401, 403, 404)
        fix = "pip install kaggle six" if isinstance(error, ImportError) else "run again"
        raise PushError(f"{what}: {reason}; {'check the token and --user' if refused else fix}") from error


def status_code(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def sign_in():
    """The client of the `kaggle` package, signed in. Raises PushError where the credentials are missing or refused."""
    try:
        with one_line("Kaggle"), redirect_stdout(io.StringIO()):  # it prints a page of help
            import kaggle  # signs in when it is imported, so only here

            kaggle.api.authenticate()
    except SystemExit as error:
        fix = "put a token of kaggle.com/settings into KAGGLE_API_TOKEN, or only look, with --dry-run"
        raise PushError(f"no credentials that Kaggle takes: {fix}") from error
    upload = kaggle.api._upload_file

    def upload_or_stop(name: str, *rest):  # the client itself would go on without a file that did not arrive
        try:
            uploaded = upload(name, *rest)
        except Exception as error:  # or it raises what its version likes
            raise PushError(f"{name}: the upload broke off; run again") from error
        if uploaded is None:
            raise PushError(f"{name}: the upload broke off; run again")
        return uploaded

    kaggle.api._upload_file = upload_or_stop
    return kaggle.api


def wait(what: str, look: Callable[[], str], good: str, bad: Sequence[str]) -> None:
    """Look every POLL seconds until `look` says `good`. Raises PushError where it says one of `bad`, or after LIMIT."""
    print(f"waiting until {what} is {good}", flush=True)
    end, state = time.monotonic() + LIMIT, ""
    while state != good:
        time.sleep(POLL)  # before the first look too: for a moment Kaggle may still tell of an earlier version
        state = look().lower()
        if state in bad or (state != good and time.monotonic() > end):
            raise PushError(f"{what} is {state}: see its page on Kaggle, then run again")


def push_helpers(api, folder: Path) -> None:
    """Make the data set, or a new version of it, and wait until Kaggle has unpacked it."""
    ref = json.loads((folder / "dataset-metadata.json").read_text())["id"]
    name = f"data set {ref}"
    with one_line(name):
        try:
            exists = bool(api.dataset_status(ref))
        except OSError as error:  # as the errors of requests are; Kaggle says 403, too, of what is not there
            if status_code(error) not in (403, 404):
                raise
            exists = False
        if exists:  # "zip": a folder travels as an archive of its name, and Kaggle makes it a folder again
            answer = api.dataset_create_version(str(folder), "pushed from the repository", quiet=True, dir_mode="zip")
        else:
            answer = api.dataset_create_new(str(folder), public=False, quiet=True, dir_mode="zip")
        if answer.error or answer.status.lower() != "ok":
            raise PushError(f"{name}: Kaggle refused it: {answer.error or answer.status}")
        print(f"pushed {'a new version of ' if exists else ''}{name}: {answer.url}", flush=True)
        wait(name, lambda: api.dataset_status(ref), "ready", ["failed", "deleted"])


def push_notebook(api, folder: Path) -> None:
    """Push the notebook, once those whose output it reads have run."""
    metadata = json.loads((folder / "kernel-metadata.json").read_text())
    name = f"notebook {metadata['id']}"
    with one_line(name):
        for source in metadata["kernel_sources"]:
            stopped = ["error", "cancel_requested", "cancel_acknowledged"]
            wait(f"notebook {source}", lambda s=source: api.kernels_status(s).status.name, "complete", stopped)
        answer = api.kernels_push(str(folder))
        if answer.error:
            raise PushError(f"{name}: Kaggle refused it: {answer.error}")
        print(f"pushed {name}, version {answer.version_number}: {answer.url}", flush=True)
        if missing := [*answer.invalid_dataset_sources, *answer.invalid_kernel_sources]:
            raise PushError(f"{name}: Kaggle did not attach {', '.join(missing)}: add it on the notebook's page")


def main(arguments: Sequence[str] | None = None) -> int:
    notebooks = find_notebooks()
    parser = argparse.ArgumentParser(prog="push.py", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help=f"of {', '.join(notebooks)} (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="build the folders and say what would be pushed")
    parser.add_argument("--user", help="owner on Kaggle (default: whose the credentials are)")
    options = parser.parse_args(arguments)
    if unknown := set(options.notebooks) - set(notebooks):
        parser.error(f"no notebook {unknown.pop()!r}: choose from {', '.join(notebooks)}")
    if options.user is not None and not re.fullmatch(r"[A-Za-z0-9-]+", options.user):
        parser.error(f"--user {options.user!r}: give the name in the address of your Kaggle page")
    try:
        api = None if options.dry_run else sign_in()
        folders = build(options.user or (api.get_config_value("username") if api else OWNER), BUILD)
        chosen = sorted(options.notebooks or notebooks)
        if options.dry_run:
            print(f"would push from {BUILD}{'' if options.user else f' ({OWNER}: you, or --user)'}:")
            print("\n".join(describe(folders[name]) for name in ["helpers", *chosen]))
            return 0
        push_helpers(api, folders["helpers"])
        for name in chosen:
            push_notebook(api, folders[name])
    except (PushError, OSError) as error:
        print(f"push.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("push.py: interrupted; run again with the notebooks that are still to be pushed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
