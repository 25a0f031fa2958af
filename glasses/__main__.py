"""python -m glasses ... is the command `glasses ...`."""

from .cli import run

run()
