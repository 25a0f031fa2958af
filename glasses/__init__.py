"""Does this face wear glasses?  The tool: photo in, answer out.

from glasses import GlassesPipeline
print(GlassesPipeline().answer("photo.jpg").glasses)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .photos import PhotoError, read_image
    from .pipeline import Answer, FaceAnswer, GlassesPipeline
    from .tryon import try_on

__version__ = "2.2.0"
HOMES = {
    "Answer": "pipeline",
    "FaceAnswer": "pipeline",
    "GlassesPipeline": "pipeline",
    "PhotoError": "photos",
    "read_image": "photos",
    "try_on": "tryon",
}
__all__ = ["Answer", "FaceAnswer", "GlassesPipeline", "PhotoError", "read_image", "try_on"]


def __getattr__(name: str):
    """The names above, imported at first use: `glasses --help` need not wait for OpenCV."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{HOMES[name]}", __name__), name)
