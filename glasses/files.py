"""How is a file written?  Whole or not at all.

with whole_file(path) as partial:                    # a Path beside it
    partial.write_bytes(content)                     # an exception leaves `path` as it was, and nothing else
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A path in the folder of `path`, made where it is missing; what is written there becomes `path` at the end."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:8]  # the name itself may be too long
    partial = path.with_name(f".{mark}.{os.getpid()}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
