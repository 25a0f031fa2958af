"""What does `glasses same` do?  Finds the main face of two photos and says whether they are one person.

glasses same a.jpg b.jpg                               # The same person (similarity 0.712, threshold 0.361: ...)
glasses same a.jpg b.jpg > /dev/null && echo "one person"
"""

import argparse
import json
from collections.abc import Callable

import cv2

from .messages import tell
from .output import OutputError, open_stdout, write_text
from .pipeline import Answer, GlassesPipeline
from .recognizer import open_recognizer

RATE = "of 1,000 pairs of strangers 1 reaches it"  # of the threshold that a network's file has


def same_command(options: argparse.Namespace, prog: str, open_pipeline: Callable = GlassesPipeline) -> int:
    """Compare two photos; returns the exit status: 0 the same person, 1 not, 2 no answer."""
    cv2.setNumThreads(1)
    try:
        stdout = open_stdout()
        recognizer = open_recognizer(options.model)
        pipeline = open_pipeline(options.detector, assume_face=options.assume_face, recognizer=recognizer)
    except (ImportError, ValueError, OSError, OutputError) as error:
        return tell(prog, error)
    answers = list(pipeline([options.first, options.second]))
    for answer in answers:
        if problem := _problem(answer):
            tell(prog, f"{answer.path}: {problem}")

    threshold = recognizer.threshold if options.threshold is None else options.threshold
    found = all(answer.faces for answer in answers)
    similarity = float(answers[0].faces[0].vector @ answers[1].faces[0].vector) if found else None
    same = similarity >= threshold if found else None
    if options.format == "jsonl":
        faces = [_as_record(answer) for answer in answers]
        numbers = {"similarity": similarity and round(similarity, 4), "threshold": round(threshold, 4)}
        write_text(stdout, json.dumps({"same": same, **numbers, "photos": faces}, ensure_ascii=False) + "\n", "stdout")
    elif found:
        rate = f": {RATE}" if options.threshold is None else ""
        verdict = "The same person" if same else "Not the same person"
        line = f"{verdict} (similarity {similarity:.3f}, threshold {threshold:.3f}{rate})\n"
        write_text(stdout, line, "stdout")
    return 2 if not found else 0 if same else 1


def _problem(answer: Answer) -> str | None:
    """What to say of a photo."""
    if answer.error or not answer.faces:
        return answer.error or "no face"
    if len(answer.faces) > 1:
        return f"{len(answer.faces)} faces: the main one, the large and central one, is compared"
    return answer.warning


def _as_record(answer: Answer) -> dict:
    """What JSON says of one of the photos: its main face's box as [x, y, w, h] in pixels of the upright photo."""
    box = list(answer.faces[0].box) if answer.faces else None
    return {
        "path": answer.path,
        "box": box,
        "faces": len(answer.faces),
        "error": answer.error,
        "warning": answer.warning,
    }
