"""Which photos are to be answered, and in what order?  A list of any length becomes a sorted one, in bounded memory.

The order is that of the paths' bytes, and each path is there once. A list is cut in pieces that are sorted in memory,
written aside, and merged; so it need not be sorted, and takes the same memory whether it has a million lines or ten.
"""

import csv
import heapq
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .folders import find_photos
from .photos import IMAGE_SUFFIXES

MANIFESTS = (".txt", ".csv", ".parquet")
PIECE = 500_000  # paths that are sorted in memory at a time
AT_ONCE = 8192  # paths that are read from a table at a time
PATHS = pa.schema([("path", pa.binary())])  # bytes: a file's name may be no text


def is_remote(path: str | bytes) -> bool:
    """Whether fsspec is asked for it, as for https://host/a.jpg or s3://bucket/a.jpg."""
    return (b"://" if isinstance(path, bytes) else "://") in path


def is_manifest(source: str) -> bool:
    """Whether it is a list of photos, by its suffix, and not a folder."""
    return source.lower().endswith(MANIFESTS) and not os.path.isdir(source)


def open_file(path: str) -> BinaryIO:
    """A file on this machine, or anywhere fsspec reads, open for reading bytes. Raises OSError, ImportError."""
    if not is_remote(path):
        return open(path, "rb")
    import fsspec

    return fsspec.open(path, "rb").open()


def read_input(source: str, recursive: bool) -> Iterator[bytes]:
    """The paths that a folder holds or a list names, in its order.

    .txt: a path a line. .csv, .parquet: the column `path`. Empty lines and cells are passed over.
    Raises OSError, and ValueError with one line where it is no such list or the folder holds no photos.
    """
    if not is_manifest(source):
        yield from _read_folder(source, recursive)
        return
    reader = {".txt": _read_text, ".csv": _read_csv, ".parquet": _read_parquet}[Path(source).suffix.lower()]
    with open_file(source) as file:
        try:
            yield from (path for path in reader(file, source) if path)
        except (csv.Error, pa.ArrowException, OSError) as error:  # Arrow raises OSErrors too, and names no file
            raise ValueError(f"{source} cannot be read: {' '.join(str(error).split())}") from error


def _read_text(file: BinaryIO, source: str) -> Iterator[bytes]:
    first = file.readline().removeprefix(b"\xef\xbb\xbf")  # the mark that some editors write before UTF-8
    yield first.rstrip(b"\r\n")
    for line in file:
        yield line.rstrip(b"\r\n")


def _read_csv(file: BinaryIO, source: str) -> Iterator[bytes]:
    rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=""))
    header = next(rows, [])
    if "path" not in header:
        raise ValueError(f"{source} has no column `path`: name it in the first line")
    column = header.index("path")
    for row in rows:
        if len(row) > column:
            yield os.fsencode(row[column])


def _read_parquet(file: BinaryIO, source: str) -> Iterator[bytes | None]:
    try:
        table = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{source} is no Parquet file") from error
    if "path" not in table.schema_arrow.names:
        raise ValueError(f"{source} has no column `path`")
    for batch in table.iter_batches(AT_ONCE, columns=["path"]):
        yield from batch.column(0).cast(pa.binary()).to_pylist()


def _read_folder(source: str, recursive: bool) -> Iterator[bytes]:
    if is_remote(source):
        found = _list_remote(source, recursive)
    elif os.path.isdir(source):
        found = [path for path, _ in find_photos([source], recursive) if path != source]
    else:
        raise FileNotFoundError(f"there is no folder {source}, and no list {', '.join(MANIFESTS)}")
    if not found:
        raise ValueError(f"no pictures in {source}{'' if recursive else '; --recursive looks deeper'}")
    yield from map(os.fsencode, found)


def _list_remote(source: str, recursive: bool) -> list[str]:
    """The addresses of the photos in a folder anywhere fsspec lists one."""
    import fsspec

    system, path = fsspec.core.url_to_fs(source)
    found = system.find(path, maxdepth=None if recursive else 1)
    photos = [name for name in found if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES]
    return [system.unstrip_protocol(name) for name in photos]


# --------------------------------------------------------------------------------------------- sorted, on disk


def sort_paths(paths: Iterable[bytes], folder: Path) -> Iterator[bytes]:
    """The paths in order, each once; `folder`, which is there, takes the sorted pieces. Raises OSError."""
    paths, pieces = iter(paths), []
    while piece := list(islice(paths, PIECE)):
        piece.sort()
        pieces.append(folder / f"{len(pieces)}.parquet")
        write_paths(pieces[-1], [piece])
    merged = heapq.merge(*map(read_paths, pieces))
    return (path for path, _ in groupby(merged))


def write_paths(file: Path, parts: Iterable[Sequence[bytes]]) -> None:
    """A table of paths; each part is a row group of it, which is found without reading the others."""
    with pq.ParquetWriter(file, PATHS, use_dictionary=False, write_statistics=False) as writer:
        for part in parts:
            writer.write_table(pa.table([pa.array(part, pa.binary())], schema=PATHS), row_group_size=max(1, len(part)))


def read_paths(file: Path) -> Iterator[bytes]:
    """The paths of such a table, in its order."""
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(AT_ONCE):
            yield from batch.column(0).to_pylist()
