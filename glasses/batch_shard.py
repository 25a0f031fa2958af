"""What is a shard?  Some thousand paths that one process answers, in a table that is whole or not there.

Each photo is answered for itself, not in a batch with others, so a row depends on its photo alone: whoever answers it,
after whichever interruption, writes the same bytes.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from .batch_manifest import is_remote
from .batch_plan import Plan
from .files import whole_file
from .output import as_record, outcome
from .pipeline import Answer, GlassesPipeline

FACE = pa.struct(
    [(name, pa.int32()) for name in ("x", "y", "w", "h")] + [("probability", pa.float64()), ("kind", pa.string())]
)
SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # as the list has it; bytes that are no UTF-8 as \xNN
        ("error", pa.string()),
        ("warning", pa.string()),
        ("glasses", pa.bool_()),
        ("probability", pa.float64()),
        ("kind", pa.string()),
        ("detector", pa.string()),
        ("faces", pa.list_(FACE)),  # the main one first; pixels of the upright photo
        ("size", pa.int64()),  # bytes
        ("mtime", pa.timestamp("us", "UTC")),
    ]
)


def open_pipeline(plan: Plan) -> GlassesPipeline:
    """What answers for the photos of a plan, in the thread that asks. Raises what GlassesPipeline raises."""
    cv2.setNumThreads(1)  # a process a core
    wanted = plan.settings
    return GlassesPipeline(
        wanted["detector"],
        plan.model,
        wanted["threshold"],
        workers=1,
        batch=1,
        assume_face=wanted["assume_face"],
        any_face=wanted["any"],
    )


def answer_shard(
    plan: Plan,
    number: int,
    pipeline: GlassesPipeline,
    again: bool = False,
    skip: Mapping[int, str] | None = None,
    tell: Callable[[int], None] = lambda row: None,
) -> Counter:
    """Answer part `number` of the plan and write it; how many photos have which outcome.

    again: of a part that is there, answer the rows with an error once more. skip: rows that are not read, and why.
    tell: called with the number of each row before it is read. Raises OSError where the part cannot be written.
    """
    plan.check_there()
    skip, paths, counts = skip or {}, plan.paths(number), Counter()
    before = read_part(plan, number) if again else [None] * len(paths)
    rows = []
    for row, (path, old) in enumerate(zip(paths, before, strict=True)):
        tell(row)
        if old is not None and old["error"] is None:
            rows.append(old)
        elif row in skip:
            rows.append(_row(path, Answer("", error=skip[row]), None, None))
        else:
            rows.append(answer_row(path, plan.folder, pipeline))
        counts[_outcome(rows[-1])] += 1
    tell(len(paths))
    write_part(plan, number, rows)
    return counts


def answer_row(path: bytes, folder: str, pipeline: GlassesPipeline) -> dict:
    """The row of a photo; whatever is wrong with it is its `error`."""
    if is_remote(path):
        try:
            photo, size, mtime = _fetch(os.fsdecode(path))
        except Exception as error:  # a package for each protocol, and each raises what it likes
            return _row(path, Answer("", error=_reason(error)), None, None)
    else:
        photo, size, mtime = os.path.join(folder, os.fsdecode(path)), None, None
        try:
            status = os.stat(photo)
            size, mtime = status.st_size, status.st_mtime_ns // 1000
        except (OSError, ValueError):
            pass  # reading it says why
    return _row(path, pipeline.answer(photo), size, mtime)


def _fetch(path: str) -> tuple[bytes, int, int | None]:
    """The content of a file that lies elsewhere, its size, and when it was changed, where that is known."""
    import fsspec

    system, name = fsspec.core.url_to_fs(path)
    content, mtime = system.cat_file(name), None
    try:
        changed = system.modified(name)
        mtime = _microseconds(changed if changed.tzinfo else changed.replace(tzinfo=UTC))
    except (NotImplementedError, KeyError, AttributeError):  # as of HTTP
        pass
    return content, len(content), mtime


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"cannot be fetched: {' '.join(str(error).split()) or type(error).__name__}"[:200]


def _row(path: bytes, answer: Answer, size: int | None, mtime: int | None) -> dict:
    """A row of SCHEMA. mtime: microseconds since 1970."""
    record = as_record(answer)
    faces = [
        dict(zip("xywh", face["box"], strict=True)) | {"probability": face["probability"], "kind": face["kind"]}
        for face in record["faces"]
    ]
    text = {
        "path": path.decode(errors="backslashreplace"),
        "error": _text(answer.error),
        "warning": _text(answer.warning),
    }
    return record | text | {"faces": faces, "size": size, "mtime": mtime}


def _text(text: str | None) -> str | None:
    """What UTF-8 can hold of a text, in which there may be bytes of a file's name."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _outcome(row: Mapping) -> str:
    return outcome(Answer("", error=row["error"], glasses=row["glasses"]))


def write_part(plan: Plan, number: int, rows: list[dict]) -> None:
    """The table of a part, on the disk when it takes its name. The same rows give the same bytes. Raises OSError."""
    table = pa.Table.from_pylist(rows, SCHEMA)
    plan.check_there()
    with whole_file(plan.file(number)) as partial, open(partial, "wb") as file:
        pq.write_table(table, file, row_group_size=len(rows), version="2.6", compression="snappy")
        file.flush()
        os.fsync(file.fileno())


def read_part(plan: Plan, number: int) -> list[dict]:
    """The rows of a part, as `answer_row` makes them."""
    with pq.ParquetFile(plan.file(number)) as table:
        rows = table.read().to_pylist()
    for row in rows:
        row["mtime"] = row["mtime"] and _microseconds(row["mtime"])
    return rows


def _microseconds(time: datetime) -> int:
    """Since 1970."""
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def count_part(plan: Plan, number: int) -> Counter:
    """How many photos of a part that is there have which outcome, without reading the faces."""
    with pq.ParquetFile(plan.file(number)) as table:
        rows = table.read(["error", "glasses"]).to_pylist()
    return Counter(map(_outcome, rows))
