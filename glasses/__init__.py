"""Does this face wear glasses?  The tool: photo in, answer out.

from glasses import GlassesPipeline
print(GlassesPipeline().answer("photo.jpg").glasses)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .photos import PhotoError, read_image
    from .pipeline import Answer, FaceAnswer, GlassesPipeline

__version__ = "2.0.0"
__all__ = ["Answer", "FaceAnswer", "GlassesPipeline", "PhotoError", "read_image"]


def __getattr__(name: str):
    """The names above, imported at first use: `glasses --help` need not wait for OpenCV."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "photos" if name in ("PhotoError", "read_image") else "pipeline"
    return getattr(import_module(f".{home}", __name__), name)
