"""How is a file written?  Whole or not at all.

with whole_file(path) as partial:                    # a Path beside it
    partial.write_bytes(content)                     # an exception leaves `path` as it was, and nothing else
remove_partials(folder)                              # what stays there of a process that was killed
"""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:4]  # a folder may be that of several


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A path in the folder of `path`, made where it is missing; what is written there becomes `path` at the end."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:8]  # the name itself may be too long
    partial = path.with_name(f".{mark}.{MACHINE}.{os.getpid()}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: str | os.PathLike) -> None:
    """Take away what processes of this machine that were killed had begun to write in a folder."""
    for file in Path(folder).glob(f".*.{MACHINE}.*.part"):
        process = file.name.split(".")[-2]
        if process.isdigit() and not _is_at_work(int(process)):
            file.unlink(missing_ok=True)


def _is_at_work(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and does nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True
