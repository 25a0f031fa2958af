"""How are answers written?  As text, JSON lines or CSV; to stdout, or to a file that no interruption loses."""

import csv
import io
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from .pipeline import Answer

CSV_COLUMNS = "path glasses probability kind detector face x y w h face_probability face_kind error warning".split()
KEYPOINT_COLUMNS = [f"{axis}{number}" for number in range(68) for axis in "xy"]  # of the 68 key points, in pixels
OUTCOMES = ("glasses", "no_glasses", "nobody", "unreadable")


def outcome(answer: "Answer") -> str:
    """Which of OUTCOMES an answer is."""
    if answer.error is not None:
        return "unreadable"
    if answer.glasses is None:
        return "nobody"
    return "glasses" if answer.glasses else "no_glasses"


def one_line(text: str) -> str:
    """`text` with control characters as escapes, so that a file name with a newline stays on its line."""
    return "".join(c if c.isprintable() or 0xDC80 <= ord(c) <= 0xDCFF else repr(c)[1:-1] for c in text)


def as_text(answer: "Answer") -> str:
    """One line for a photo with glasses, nothing for another."""
    if not answer.glasses:
        return ""
    return f"Found glasses ({answer.probability:.3f}, {answer.kind}): {one_line(answer.path)}\n"


def as_record(answer: "Answer") -> dict:
    """What JSON says of a photo; boxes are [x, y, w, h], key points [x, y], in pixels of the upright photo."""
    faces = [{"box": list(f.box), "probability": round(f.probability, 4), "kind": f.kind} for f in answer.faces]
    for face, record in zip(answer.faces, faces, strict=True):
        if face.keypoints is not None:
            record["keypoints"] = [[round(float(x), 2), round(float(y), 2)] for x, y in face.keypoints]
    return {
        "path": answer.path,
        "glasses": answer.glasses,
        "probability": None if answer.probability is None else round(answer.probability, 4),
        "kind": answer.kind,
        "detector": answer.detector,
        "faces": faces,
        "error": answer.error,
        "warning": answer.warning,
    }


def as_jsonl(answer: "Answer") -> str:
    """One JSON object on a line."""
    return json.dumps(as_record(answer), ensure_ascii=False) + "\n"


def as_csv(answer: "Answer") -> str:
    """A row a face, the main face first; one row with empty cells where there is none."""
    return "".join(_csv_row(row) for row in _rows(answer))


def as_keypoint_csv(answer: "Answer") -> str:
    """The rows of `as_csv`, each with the 136 cells of KEYPOINT_COLUMNS behind it."""
    points = [[f"{value:.2f}" for value in face.keypoints.ravel()] for face in answer.faces]
    empty = [""] * len(KEYPOINT_COLUMNS)
    return "".join(_csv_row(row + of_face) for row, of_face in zip(_rows(answer), points or [empty], strict=True))


def _rows(answer: "Answer") -> list[list[object]]:
    end = [answer.error or "", answer.warning or ""]
    if not answer.faces:
        return [[answer.path, *[""] * 11, *end]]
    start = [answer.path, int(answer.glasses), f"{answer.probability:.4f}", answer.kind, answer.detector]
    faces = enumerate(answer.faces)
    return [[*start, number, *face.box, f"{face.probability:.4f}", face.kind, *end] for number, face in faces]


def _csv_row(cells: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)  # quotes a cell that holds either of the two
    return buffer.getvalue().removesuffix("\r\n") + "\n"


FORMATS = {"text": as_text, "jsonl": as_jsonl, "csv": as_csv}
KEYPOINT_CSV = "csv with key points"  # beside FORMATS, what csv becomes where they are asked for
HEADERS = {"text": "", "jsonl": "", "csv": ",".join(CSV_COLUMNS) + "\n"}
HEADERS[KEYPOINT_CSV] = ",".join(CSV_COLUMNS + KEYPOINT_COLUMNS) + "\n"


def _written(answer: "Answer", form: str) -> str:
    """The answer in one of FORMATS, or as KEYPOINT_CSV."""
    return as_keypoint_csv(answer) if form == KEYPOINT_CSV else FORMATS[form](answer)


def _write_all(file: io.RawIOBase, content: bytes) -> None:
    """Write all of it to an unbuffered file, which may take less at a time."""
    while content:
        content = content[file.write(content) :]


def _lock(file: io.RawIOBase, part: Path) -> None:
    """Keep other runs out until `file` is closed. Raises OutputError where another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{part} is being written by another run: wait for it, or give another --output") from error


class OutputError(Exception):
    """The answers cannot be written; one line that names the file, says why, and how to go on."""


def write_text(file: TextIO, text: str, name: str) -> None:
    """Write at once to a stream that is called so. Raises OutputError; BrokenPipeError where nobody reads any more."""
    try:
        file.write(text)
        file.flush()
    except BrokenPipeError:  # the reader has seen enough: not an error of ours
        raise
    except OSError as error:
        raise OutputError(f"cannot write {name}: {error.strerror or error}") from error


def open_stdout() -> TextIO:
    """Stdout, which now takes any text. Raises OutputError where it is closed."""
    if sys.stdout is None:
        raise OutputError("stdout is closed: give --output FILE")
    if hasattr(sys.stdout, "reconfigure"):  # not where something else stands in for it
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return sys.stdout


class StreamOutput:
    """Answers to stdout, or to a pipe or device; nothing to resume."""

    done = 0

    def __init__(self, path: str | None, form: str):
        if path is None:
            self.file = open_stdout()
        else:
            self.file = open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
        self.name, self.form, self.counts = path or "stdout", form, Counter()
        if HEADERS[form]:
            write_text(self.file, HEADERS[form], self.name)

    def write(self, answer: "Answer") -> None:
        self.counts[outcome(answer)] += 1
        if text := _written(answer, self.form):
            write_text(self.file, text, self.name)

    def close(self) -> None:
        if self.file is not sys.stdout:
            self.file.close()

    def keep(self) -> str | None:
        """What to tell of the answers that are there when the run stops early."""
        return None


class FileOutput:
    """Answers to a file that appears at `path` when all are in it; until then they lie in `path`.part.

    Beside that, `path`.part.log says with which settings they were made (its first line) and, a line a photo, how far
    they reach: [path of the photo, outcome, bytes of `path`.part so far]. What the log does not know of is made again,
    so a run may be killed at any moment. `done`: the number of photos that are answered already. counts: by outcome.

    Raises OutputError where the answers of another run are in the way.
    """

    def __init__(self, path: str, form: str, settings: dict, photos: Sequence[str], resume: bool = False):
        self.path, self.form, self.counts, self.done = Path(os.path.realpath(path)), form, Counter(), 0
        self.part, self.log = Path(f"{self.path}.part"), Path(f"{self.path}.part.log")
        self.notes = open(self.log, "a+b", buffering=0)  # noqa: SIM115
        try:
            _lock(self.notes, self.part)
            self.notes.seek(0)
            lines = self.notes.read().splitlines(keepends=True)
            held = bool(lines) and self.part.is_file()
            if held and not resume:
                raise OutputError(
                    f"{self.part} holds the answers of a run that was interrupted: "
                    f"--resume completes them; delete it and {self.log.name} to begin anew"
                )
            self.bytes, kept = self._recall(lines, settings, photos) if held else self._begin(settings)
            self.notes.truncate(kept)  # opened for appending: what follows is written at its end
            self.answers = open(self.part, "r+b", buffering=0)  # noqa: SIM115
            self.answers.truncate(self.bytes)
            self.answers.seek(self.bytes)
        except BaseException:
            self.notes.close()
            if not self.part.is_file():
                self.log.unlink(missing_ok=True)
            raise

    def _begin(self, settings: dict) -> tuple[int, int]:
        """A new file of answers with its header, and a log with the settings: how many bytes they hold."""
        header = HEADERS[self.form].encode()
        self.part.write_bytes(header)
        first = (json.dumps([settings, len(header)]) + "\n").encode()
        self.notes.truncate(0)
        _write_all(self.notes, first)
        return len(header), len(first)

    def _recall(self, lines: list[bytes], settings: dict, photos: Sequence[str]) -> tuple[int, int]:
        """How many bytes of the answers and of the log are good, by the log's `lines`; fills `done` and `counts`."""
        size, read = self.part.stat().st_size, len(lines[0])
        try:
            before, good = json.loads(lines[0])
            if not isinstance(before, dict) or not 0 <= good <= size:
                raise ValueError("not such a line")
        except (TypeError, ValueError) as error:
            raise OutputError(f"{self.log} is damaged: delete it and {self.part.name} to begin anew") from error
        if other := [key for key in settings if before.get(key) != settings[key]]:
            was = ", ".join(f"{key} was {before.get(key)!r} and is {settings[key]!r}" for key in other)
            raise OutputError(f"--resume: {self.part} was made with other options ({was}): give the same ones")
        for line in lines[1:]:
            try:
                photo, result, end = json.loads(line)
            except ValueError:  # the last line of a run that was killed
                break
            if not line.endswith(b"\n") or end > size:
                break
            if self.done >= len(photos) or photo != photos[self.done]:
                raise OutputError(
                    f"--resume: other photos than those of {self.part}, from number {self.done + 1} on: "
                    f"give the same ones, or delete it and {self.log.name} to begin anew"
                )
            self.done, self.counts[result] = self.done + 1, self.counts[result] + 1
            good, read = end, read + len(line)
        return good, read

    def text(self, answer: "Answer") -> str:
        """What of an answer goes into the file."""
        return _written(answer, self.form)

    def write(self, answer: "Answer") -> None:
        text = self.text(answer).encode("utf-8", "backslashreplace")
        result = outcome(answer)
        note = json.dumps([answer.path, result, self.bytes + len(text)]) + "\n"
        try:
            _write_all(self.answers, text)
            _write_all(self.notes, note.encode())
        except OSError as error:
            raise OutputError(f"cannot write {self.part}: {error.strerror}") from error
        self.bytes += len(text)
        self.done, self.counts[result] = self.done + 1, self.counts[result] + 1

    def close(self) -> None:
        """All photos are answered: the file takes its name."""
        self.answers.close()
        try:
            os.replace(self.part, self.path)
            self.log.unlink()
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            self.notes.close()

    def keep(self) -> str | None:
        """Stop early: what is answered stays, and a line says where; where nothing is, nothing stays."""
        self.answers.close()
        self.notes.close()
        if not self.part.is_file():  # it has its name already
            return None
        if self.done:
            return f"{self.done} answers are kept in {self.part}: --resume goes on from there"
        self.part.unlink()
        self.log.unlink()
        return None


def is_stream(path: str) -> bool:
    """Whether `path` is a device, a pipe, or a name for one, as /dev/stdout, and not to be replaced."""
    if Path(os.path.abspath(path)).is_relative_to("/dev"):
        return True
    return os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)


def open_output(
    path: str | None, form: str, settings: dict, photos: Sequence[str], resume: bool = False
) -> StreamOutput | FileOutput:
    """Where the answers for `photos` go: stdout where `path` is None. form: of FORMATS, or KEYPOINT_CSV.

    Raises OutputError.
    """
    try:
        if path is None or is_stream(path):
            return StreamOutput(path, form)
        return FileOutput(path, form, settings, photos, resume)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
