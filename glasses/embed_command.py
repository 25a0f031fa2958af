"""What does `glasses embed` do?  Faces as numbers, in a NumPy file that no interruption loses.

    glasses embed photos/ --recursive --output faces.npz

    table = numpy.load("faces.npz")
    cosines = table["embedding"] @ table["embedding"].T         # NaN where no face is

Until all photos are done their vectors lie in FILE.part, a line a photo, as the answers of `glasses predict` do.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from . import __version__
from .classifiers import CLASSIFIERS, WEIGHTS
from .files import whole_file
from .folders import find_photos
from .messages import tell
from .output import FileOutput, OutputError
from .pipeline import Answer, GlassesPipeline
from .predict import answers_from
from .recognizer import RECOGNIZER, open_recognizer


def embed_command(options: argparse.Namespace, prog: str) -> int:
    """Do what the options say; returns the exit status."""
    cv2.setNumThreads(1)
    try:
        recognizer = open_recognizer(options.model)
        pipeline = GlassesPipeline(options.detector, assume_face=options.assume_face, recognizer=recognizer)
        photos = list(find_photos(options.paths, options.recursive))
        network = hashlib.sha256(Path(options.model or RECOGNIZER).read_bytes()).hexdigest()
        about = {"threshold": np.float64(recognizer.threshold), "network": network}
        output = VectorFile(options, about, [path for path, _ in photos], recognizer.size)
    except (ImportError, ValueError, OSError, OutputError) as error:
        return tell(prog, error)
    try:
        with tqdm(photos, initial=output.done, unit="photo", disable=len(photos) < 2 or None, leave=False) as bar:
            for answer in answers_from(photos, output.done, pipeline):
                bar.clear()
                output.write(answer)
                if answer.error or answer.warning:
                    tell(prog, f"{answer.path}: {answer.error or answer.warning}")
                bar.update()
        output.close()
    except BaseException:
        if kept := output.keep():
            tell(prog, kept)
        raise
    print(summary(output.counts), file=sys.stderr)
    return 1 if output.counts["unreadable"] else 0


def summary(counts: Counter) -> str:
    """ "198 of 200 photos with a face, 1 could not be read"."""
    total = sum(counts.values()) - counts["unreadable"]
    faults = f", {counts['unreadable']} could not be read" if counts["unreadable"] else ""
    return f"{total - counts['nobody']} of {total} photo{'s' * (total != 1)} with a face{faults}"


class VectorFile(FileOutput):
    """The .npz of `--output`, which appears when all vectors are in it; until then they lie in its .part.

    about: other arrays of the file. size: numbers for a face. Raises what `FileOutput` raises, OSError.
    """

    def __init__(self, options: argparse.Namespace, about: dict, photos: Sequence[str], size: int):
        self.about, self.size, self.every_face = about, size, options.all
        finder = hashlib.sha256((WEIGHTS / f"{CLASSIFIERS[0]}.onnx").read_bytes()).hexdigest()[:16]
        settings = {"detector": options.detector, "assume_face": options.assume_face, "all": options.all}
        settings |= {"network": about["network"], "model": finder, "version": __version__}
        super().__init__(options.output, "jsonl", settings, photos, options.resume)

    def text(self, answer: Answer) -> str:
        """A line for a photo, from which `_rows` reads the same to the last bit."""
        faces = answer.faces if self.every_face else answer.faces[:1]
        found = [[face.box, base64.b64encode(np.float32(face.vector).tobytes()).decode()] for face in faces]
        return json.dumps([answer.path, answer.error, found]) + "\n"

    def close(self) -> None:
        """All photos are done: the file is written, whole or not at all."""
        self.answers.close()
        rows = list(self._rows())
        paths, numbers, boxes, vectors, errors = zip(*rows, strict=True) if rows else [()] * 5
        arrays = {
            "path": np.array(paths, str),
            "face": np.array(numbers, np.int32),
            "box": np.array(boxes, np.float32).reshape(-1, 4),
            "embedding": np.array(vectors, np.float32).reshape(-1, self.size),
            "error": np.array(errors, str),
        }
        try:
            with whole_file(self.path) as partial, open(partial, "wb") as file:
                np.savez_compressed(file, **arrays, **self.about)
            self.part.unlink()
            self.log.unlink()
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            self.notes.close()

    def _rows(self) -> Iterator[tuple[str, int, Sequence[float], np.ndarray, str]]:
        """(path, number of the face, box, vector, error) of each row; NaN where no face is."""
        nowhere, nobody = np.full(4, np.nan, np.float32), np.full(self.size, np.nan, np.float32)
        with open(self.part, encoding="utf-8") as lines:
            for line in lines:
                path, error, found = json.loads(line)
                for number, (box, code) in enumerate(found):
                    yield path, number, box, np.frombuffer(base64.b64decode(code), np.float32), error or ""
                if not found:
                    yield path, -1, nowhere, nobody, error or ""
