"""Do the faces in these photos wear glasses?  The command line.

    glasses photo.jpg                                    # Found glasses (0.979, eyeglasses): photo.jpg
    glasses photos/ --recursive --format jsonl --output answers.jsonl
    glasses photos/ --sort sorted/ --draw drawn/ --time

`glasses PATH...` is short for `glasses predict PATH...`; a file that is called as a command is named with its folder
(./predict). Answers go to stdout or --output, everything else to stderr. Exit status: 0, all photos were read;
1, some could not be read, sorted or drawn (each is reported, the others are answered); 2, the command line is wrong.
"""

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of `slim`: the threads are ours, one a photo

from detector_architectures import DETECTORS

from . import __version__
from .output import FORMATS, OutputError, is_stream, one_line


class Stopped(BaseException):
    """A signal asked the process to end; `number` is the signal's."""

    def __init__(self, number: int):
        self.number = number


# ------------------------------------------------------------------------------------------ the command line


def predict_parser(
    prog: str = "glasses predict", models: str = "glasses, accurate, or an .onnx file"
) -> argparse.ArgumentParser:
    """The options of `glasses predict`; models: what --model takes, in words."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Do the faces in these photos wear glasses? `glasses PATH...` means `glasses predict PATH...`.",
        epilog="Exit status: 0 all photos read, 1 some could not be read, 2 wrong command line.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a photo, or a folder of photos")
    add("--detector", default="auto", choices=DETECTORS, help="how to find the face (default: auto)")
    add("--model", default="glasses", help=f"{models} (default: glasses)")
    add("--threshold", type=float, help="probability from which to say glasses (default: the model's)")
    add("--assume-face", action="store_true", help="where no face is found, take what is likeliest for one")
    add("--any", action="store_true", help="answer for the face likeliest to wear glasses, not for the main one")
    add("--format", default="text", choices=FORMATS, help="default: text")
    add("--output", metavar="FILE", help="write the answers there instead of to stdout")
    add("--resume", action="store_true", help="complete the answers of an interrupted run with --output")
    add("--recursive", action="store_true", help="look into subfolders too")
    add("--sort", metavar="DIR", type=Path, help="copy the photos to DIR/glasses, no_glasses, nobody, unreadable")
    add("--link", action="store_true", help="with --sort, link them instead")
    add("--draw", metavar="DIR", type=Path, help="write the photos with boxes and answers there")
    add("--keypoints", action="store_true", help="find 68 points of each face: in jsonl, csv and --draw")
    add("--time", action="store_true", help="print the time of each stage")
    return parser


def _check_threshold(parser: argparse.ArgumentParser, options: argparse.Namespace, least: int = 0) -> None:
    if options.threshold is not None and not least <= options.threshold <= 1:
        parser.error(f"--threshold must be between {least} and 1, not {options.threshold}")


def _check_output(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.output == "":
        parser.error("--output needs the name of a file")
    if options.output and not os.path.isdir(os.path.dirname(options.output) or "."):
        parser.error(f"--output: there is no folder {os.path.dirname(options.output)}")
    if options.output and os.path.isdir(options.output):
        parser.error(f"--output: {options.output} is a folder, give a file")


def _check_whole_output(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """The same for a file that is written at the end alone."""
    _check_output(parser, options)
    if options.output and is_stream(options.output):
        parser.error(f"--output: {options.output} is not a regular file")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exits with 2 and one line where an option is wrong; makes the folders of --draw and --sort."""
    _check_threshold(parser, options)
    _check_output(parser, options)
    if options.resume and not options.output:
        parser.error("--resume needs the --output of the run that was interrupted")
    if options.link and not options.sort:
        parser.error("--link needs --sort DIR")
    for name in ("draw", "sort"):
        if folder := getattr(options, name):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                parser.error(f"--{name}: cannot make the folder {folder}: {error.strerror}")


# ---------------------------------------------------------------------------------------------------- main


def predict_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses predict`."""
    parser = predict_parser(f"{prog} predict")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    from .predict import predict  # with OpenCV and ONNX Runtime, for which --help need not wait

    return predict(options, prog)


def try_on_parser(prog: str = "glasses try-on") -> argparse.ArgumentParser:
    """The options of `glasses try-on`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Put glasses on every face of a photo.",
        epilog="Exit status: 0 written, 1 the photo cannot be read, shows no face, or not be written, "
        "2 wrong command line.",
    )
    add = parser.add_argument
    add("photo", metavar="PHOTO", help="a photo")
    add(
        "--frame",
        default="wayfarer",
        help="round, rimless, half-rim, cat-eye, wayfarer, reading, safety, aviator, oversized or sport; FILE.png, a "
        "transparent picture of glasses from the front; random, another one for each face; all, a sheet of all of "
        "them on the main face; none (default: wayfarer)",
    )
    add("--lens", choices=("clear", "tinted", "mirror"), help="other lenses than the frame's own")
    add("--hat", action="store_true", help="and a hat")
    add("--moustache", action="store_true", help="and a moustache")
    add("--seed", type=int, default=0, help="of --frame random (default: 0)")
    add("--detector", default="auto", choices=DETECTORS, help="how to find the faces (default: auto)")
    add("--output", metavar="FILE", help="default: PHOTO-FRAME.jpg, .png for a .png, in this folder")
    return parser


def try_on_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses try-on`."""
    parser = try_on_parser(f"{prog} try-on")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error(f"--seed must be at least 0, not {options.seed}")
    from .tryon_command import try_on_command  # with OpenCV and ONNX Runtime, for which --help need not wait

    return try_on_command(options, prog)


def serve_parser(prog: str = "glasses serve") -> argparse.ArgumentParser:
    """The options of `glasses serve`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Answer over HTTP: a page, POST /predict, GET /health, /openapi.json, and /api/ to try it.",
        epilog="Exit status: 128 and the number of the signal that ended it, 2 wrong command line.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0: of all networks (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="0: a free one (default: 8000)")
    add("--detector", default="auto", choices=DETECTORS, help="how to find the faces (default: auto)")
    add("--model", default="glasses", help="glasses, accurate, or an .onnx file (default: glasses)")
    add("--threshold", type=float, help="probability from which to say glasses (default: the model's)")
    add("--workers", type=int, help="photos at work at one time (default: one a core, at most 8)")
    add("--cors", metavar="ORIGIN", help="let pages of this origin read the answers, as https://example.org")
    return parser


def serve_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses serve`."""
    parser = serve_parser(f"{prog} serve")
    options = parser.parse_args(arguments)
    if not options.host:
        parser.error("--host needs an address: 0.0.0.0 listens to all networks")
    if options.cors and options.cors != "*" and not re.fullmatch(r"https?://[^/\s]+", options.cors):
        parser.error(f"--cors must be an origin as https://example.org, or *, not {options.cors}")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port must be from 0 to 65535, not {options.port}")
    if options.workers is not None and options.workers < 1:
        parser.error(f"--workers must be at least 1, not {options.workers}")
    _check_threshold(parser, options)
    from .serve_command import serve_command  # with OpenCV and ONNX Runtime, for which --help need not wait

    return serve_command(options, prog)


def video_parser(prog: str = "glasses video") -> argparse.ArgumentParser:
    """The options of `glasses video`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Do the faces in this film wear glasses, and when?",
        epilog="Answers go to stdout, from when to when they held to stderr. Exit status: 0 all of the film was read, "
        "1 it could not be read, or not to its end, or the film of --output not be written, 2 wrong command line.",
    )
    add = parser.add_argument
    add("film", nargs="?", metavar="FILM", help="a film")
    add("--camera", type=int, metavar="N", help="instead of a film: the camera of this number, the first is 0")
    add("--output", metavar="FILE", help="write the film with boxes and answers there: .mp4, .m4v, .mov, .mkv or .webm")
    add("--format", default="jsonl", choices=("jsonl", "csv"), help="of the answers (default: jsonl)")
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--every", type=int, metavar="N", help="answer for every N-th frame (default: for each)")
    some.add_argument("--fps", type=float, metavar="N", help="answer for at most N frames a second")
    add("--try-on", metavar="FRAME", help="instead of boxes: glasses on each face, a frame of `glasses try-on`")
    return parser


def video_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses video`."""
    parser = video_parser(f"{prog} video")
    options = parser.parse_args(arguments)
    if (options.film is None) == (options.camera is None):
        parser.error("give a film, or --camera and its number")
    for name in ("every", "fps"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            parser.error(f"--{name} must be above 0, not {value}")
    from .video_command import video_command  # with OpenCV and ONNX Runtime, for which --help need not wait

    return video_command(options, prog)


def batch_parser(prog: str = "glasses batch") -> argparse.ArgumentParser:
    """The options of `glasses batch`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Answer for any number of photos, by several processes or machines, into Parquet tables. The same "
        "command goes on after any interruption.",
        epilog="Exit status: 0 all photos read, 1 some could not be read or a part of the work failed, 2 wrong command "
        "line, or the batch cannot begin.",
    )
    add = parser.add_argument
    add("input", nargs="?", metavar="INPUT", help="a folder; or a list of photos: .txt, a line each; .csv, .parquet")
    add("--output", metavar="DIR", help="write the tables there")
    add("--status", metavar="DIR", help="instead: what is done, missing and failed there, how fast, until when")
    add("--retry-errors", action="store_true", help="read the photos that could not be read once more")
    add("--engine", default="local", choices=("local", "ray"), help="processes here, or Ray Data (default: local)")
    add("--address", help="with --engine ray: of a cluster, or auto (default: one of this machine alone)")
    add("--workers", type=int, help="processes at work at one time (default: one a core)")
    add("--shard", type=int, default=4096, help="photos a table, the unit of work (default: 4096)")
    add("--detector", default="auto", choices=DETECTORS, help="how to find the face (default: auto)")
    add("--model", default="glasses", help="glasses, accurate, or an .onnx file (default: glasses)")
    add("--threshold", type=float, help="probability from which to say glasses (default: the model's)")
    add("--assume-face", action="store_true", help="where no face is found, take what is likeliest for one")
    add("--any", action="store_true", help="answer for the face likeliest to wear glasses, not for the main one")
    add("--recursive", action="store_true", help="look into subfolders too")
    return parser


def batch_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses batch`."""
    parser = batch_parser(f"{prog} batch")
    options = parser.parse_args(arguments)
    if options.status and (options.input or options.output):
        parser.error("--status DIR stands alone")
    if not options.status and not (options.input and options.output):
        parser.error("give a folder or a list of photos, and --output DIR")
    if options.address and options.engine != "ray":
        parser.error("--address needs --engine ray")
    for name in ("workers", "shard"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, not {value}")
    _check_threshold(parser, options)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        parser.error("the tables need two packages: pip install pyarrow fsspec")
    from .batch_command import batch_command  # with OpenCV and ONNX Runtime, for which --help need not wait

    return batch_command(options, prog)


def same_parser(prog: str = "glasses same") -> argparse.ArgumentParser:
    """The options of `glasses same`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Do two photos show the same person? The main face of each is compared.",
        epilog="Exit status, as of cmp: 0 the same person, 1 not, 2 no answer: a photo cannot be read or shows no "
        "face, or the command line is wrong.",
    )
    add = parser.add_argument
    add("first", metavar="A", help="a photo")
    add("second", metavar="B", help="another photo")
    add("--format", default="text", choices=("text", "jsonl"), help="default: text")
    _add_recognition(parser)
    add("--threshold", type=float, help="similarity from which two are one person, -1 to 1 (default: the model's)")
    add("--assume-face", action="store_true", help="where no face is found, take what is likeliest for one")
    return parser


def _add_recognition(parser: argparse.ArgumentParser) -> None:
    """The options of all commands that compare faces."""
    parser.add_argument("--detector", default="auto", choices=DETECTORS, help="how to find the face (default: auto)")
    parser.add_argument("--model", metavar="FILE", help="another recognition network, an .onnx file")


def same_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses same`."""
    parser = same_parser(f"{prog} same")
    options = parser.parse_args(arguments)
    _check_threshold(parser, options, -1)
    from .same_command import same_command  # with OpenCV and ONNX Runtime, for which --help need not wait

    return same_command(options, prog)


def embed_parser(prog: str = "glasses embed") -> argparse.ArgumentParser:
    """The options of `glasses embed`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Faces as numbers, in a NumPy file: the product of two rows says how similar two faces are.",
        epilog="Exit status: 0 all photos read, 1 some could not be read, 2 wrong command line.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a photo, or a folder of photos")
    add("--output", metavar="FILE", required=True, help="write them there: a .npz file")
    add("--all", action="store_true", help="a row for each face, not for the main one alone")
    add("--resume", action="store_true", help="complete the file of an interrupted run")
    add("--recursive", action="store_true", help="look into subfolders too")
    _add_recognition(parser)
    add("--assume-face", action="store_true", help="where no face is found, take what is likeliest for one")
    return parser


def embed_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses embed`."""
    parser = embed_parser(f"{prog} embed")
    options = parser.parse_args(arguments)
    _check_whole_output(parser, options)
    if not options.output.endswith(".npz"):
        parser.error(f"--output: {options.output} must end in .npz")
    from .embed_command import embed_command  # with OpenCV and ONNX Runtime, for which --help need not wait

    return embed_command(options, prog)


def group_parser(prog: str = "glasses group") -> argparse.ArgumentParser:
    """The options of `glasses group`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Which people are in these photos? A line for each face: its photo, its box, the person's number.",
        epilog="Exit status: 0 all photos read, 1 some could not be read or the sheet not be written, 2 wrong command "
        "line.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="DIR", help="a folder of photos, or a photo")
    add("--output", metavar="FILE", help="write the lines there instead of to stdout")
    add("--sheet", metavar="FILE", help="and draw a row of faces for each person there: .jpg or .png")
    add("--recursive", action="store_true", help="look into subfolders too")
    _add_recognition(parser)
    add("--threshold", type=float, help="mean similarity of the faces of one person, -1 to 1 (default: the model's)")
    return parser


def group_command(arguments: Sequence[str], prog: str = "glasses") -> int:
    """`glasses group`."""
    parser = group_parser(f"{prog} group")
    options = parser.parse_args(arguments)
    _check_threshold(parser, options, -1)
    _check_whole_output(parser, options)
    from .group_command import group_command  # with OpenCV and ONNX Runtime, for which --help need not wait

    return group_command(options, prog)


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "predict": predict_command,
    "try-on": try_on_command,
    "serve": serve_command,
    "video": video_command,
    "batch": batch_command,
    "same": same_command,
    "embed": embed_command,
    "group": group_command,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """`glasses COMMAND ...`, or `glasses PATH...` for `glasses predict PATH...`; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in ("-V", "--version"):
        print(f"glasses {__version__}")
        return 0
    command = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "predict"
    return COMMANDS[command](arguments)


def run(command: Callable[[], int] = main, prog: str = "glasses") -> None:
    """Run a command as the whole process: signals end it in order, and each end has its exit status."""

    if sys.stderr is None:  # closed by the caller: nobody wants to read it
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115

    def stop(number: int, frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # once is enough
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:  # not where the caller has it ignored, as `nohup` does
            signal.signal(number, stop)
    try:
        sys.exit(command())
    except OutputError as error:
        print(f"{prog}: --output: {one_line(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        sys.exit(130)
    except Stopped as stopped:
        print(f"{prog}: stopped by {signal.Signals(stopped.number).name}", file=sys.stderr)
        sys.exit(128 + stopped.number)
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
