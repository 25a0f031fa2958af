"""`python -m recognition`."""

from glasses.cli import run
from recognition.commands import PROGRAM, main

if __name__ == "__main__":
    run(main, PROGRAM)
