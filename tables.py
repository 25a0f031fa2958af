"""What do the lists of a data set say?  Tables and lists of labels, as people and spreadsheets write them.

from tables import read_table
table = read_table(folder / "train.csv", "kaggle", ("id", "glasses"))  # a dict a row, of strings
"""

import codecs
import csv
import io
import os
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from find_data import DataError
from glasses.output import one_line

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Label(IntEnum):
    """What is in front of the eyes. UNKNOWN_KIND: eyewear of a kind that nobody noted down; "glasses" in tables.

    NOBODY: there are no eyes, it is not a face.
    """

    NONE = 0
    EYEGLASSES = 1
    SUNGLASSES = 2
    UNKNOWN_KIND = 3
    NOBODY = 4


KIND_NAMES = {  # in the columns `kind` of tables
    "none": Label.NONE,
    "eyeglasses": Label.EYEGLASSES,
    "sunglasses": Label.SUNGLASSES,
    "glasses": Label.UNKNOWN_KIND,
}
YES, NO = ("1", "1.0", "true", "yes", "y"), ("0", "0.0", "false", "no", "n")  # in the columns `glasses`


def find_file(root: Path, source: str, names: Sequence[str]) -> Path:
    """The first of the files `names` that is in the folder `root`. Raises DataError where none is."""
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{source}: no {' or '.join(names)} in {root}; is it the right folder, and unpacked?")


def read_text(path: Path, source: str) -> str:
    """A file in UTF-8 or UTF-16. Raises DataError with one line for what is not."""
    if not path.is_file():
        raise DataError(f"{source}: no {path.name} in {path.parent}; is it the right folder, and unpacked?")
    content = path.read_bytes()
    try:
        text = content.decode("utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f'{source}: {path} is not text in UTF-8; save it as "CSV UTF-8"') from error
    if "\0" in text:
        raise DataError(f'{source}: {path} is not a text file; save it as "CSV UTF-8"')
    return text


def read_table(path: Path, source: str, needed: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, str]]:
    """A table as spreadsheets write it: a dict a row of the columns `needed` and, where they exist, `optional`.

    Separators are commas, semicolons or tabs; the text is UTF-8 or UTF-16. Cells come without spaces around them, and
    with / for \\ in the columns `file` and `image_id`; names of columns may be in capitals; empty rows are left out.
    Raises DataError, in one line that begins with `source`, for anything else.
    """
    text = read_text(path, source).strip("\r\n")
    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        if missing := [name for name in needed if name.lower() not in header]:
            there = one_line(", ".join(header[:8]))[:160] or "nothing"
            raise DataError(f"{source}: no column {missing[0]!r} in line 1 of {path}, only {there}; add it")
        places = {name: header.index(name.lower()) for name in (*needed, *optional) if name.lower() in header}
        table = []
        for cells in rows:
            cells = [cell.strip() for cell in cells]
            if any(cells[len(header) :]):
                fix = f"put quotes around a cell that holds {separator!r}"
                raise DataError(f"{source}: {path} line {rows.line_num} has more cells than line 1; {fix}")
            if any(cells):
                table.append({name: cells[i] if i < len(cells) else "" for name, i in places.items()})
    except csv.Error as error:
        raise DataError(
            f"{source}: {path} line {rows.line_num} is not a table: {one_line(str(error))}; fix the line"
        ) from error
    for column in {"file", "image_id"} & places.keys():
        for row in table:
            row[column] = row[column].replace("\\", "/")
    return table


def read_columns(path: Path, source: str, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """(file name, the word of each of `columns`) of every line of a list as CelebA and MeGlass have them.

    A list of one column is lines "name word"; others begin with a line that counts the rows and one that names the
    columns. Kaggle's .csv are tables with a column `image_id`. Where a line was cut its words are "". Raises DataError
    where the count is wrong or a column is missing.
    """
    if path.suffix == ".csv":
        return [tuple(row.values()) for row in read_table(path, source, ("image_id", *columns))]
    lines = [line for line in read_text(path, source).splitlines() if line.strip()]
    names = list(columns)
    if not lines or len(lines[0].split()) == 1:
        names = lines[1].split() if len(lines) > 1 else []
        if missing := [column for column in columns if column not in names]:
            raise DataError(f"{source}: no column {missing[0]} in line 2 of {path}; fetch the file again")
        count, lines = lines[0].strip(), lines[2:]
        if count != str(len(lines)):
            raise DataError(f"{source}: {path} has {len(lines)} rows, not {one_line(count)[:40]}; fetch the file again")
    places = [1 + names.index(column) for column in columns]
    rows = (line.split() for line in lines)
    return [(row[0], *(row[i] if len(row) > len(names) else "" for i in places)) for row in rows]


# ------------------------------------------------------------------------------------------ labels in tables


def kind_of(name: str) -> Label | str:
    """The `Label` of a name in a column `kind`; an unknown one is returned as it is."""
    return KIND_NAMES.get(name.lower(), name)


def label_of_row(row: dict[str, str]) -> Label | str:
    """The `Label` of a table's row by its columns `kind` and `glasses`; an unknown value is returned as it is."""
    if kind := row.get("kind"):
        return kind_of(kind)
    glasses = row.get("glasses", "")
    if glasses.lower() in YES:
        return Label.UNKNOWN_KIND
    return Label.NONE if glasses.lower() in NO else glasses


def read_corrections(path: str | os.PathLike) -> dict[str, dict[str, int]]:
    """A table of `source`, `file`, `kind` -> by source, file name to the right `Label`, for `FaceDataset.relabel`.

    Raises DataError for a column that is missing or a kind that is unknown.
    """
    corrections: dict[str, dict[str, int]] = {}
    for row in read_table(Path(path), "corrections", ("source", "file", "kind")):
        corrections.setdefault(row["source"], {})[row["file"]] = known_kind(row, path)
    return corrections


def known_kind(row: dict[str, str], path: str | os.PathLike) -> int:
    """The `Label` that a row of the table `path` names in its column `kind`. Raises DataError for another word."""
    label = kind_of(row["kind"])
    if not isinstance(label, Label):
        names = ", ".join(KIND_NAMES)
        raise DataError(
            f"{path}: {one_line(row['file'])[:160] or 'a row'} has the unknown kind {label!r}; write one of {names}"
        )
    return int(label)
