"""How does a command say what is wrong?  In one line on stderr, which begins with its name."""

import sys

from .output import one_line


def tell(prog: str, problem: object, status: int = 2) -> int:
    """A line to stderr that begins with `prog`; returns `status`, what the process is to exit with."""
    print(f"{prog}: {one_line(str(problem))}", file=sys.stderr)
    return status
