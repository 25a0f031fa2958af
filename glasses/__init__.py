"""Does this face wear glasses?  The tool: photo in, answer out.

from glasses import GlassesPipeline
print(GlassesPipeline().answer("photo.jpg").glasses)
"""

from .photos import PhotoError, read_image
from .pipeline import Answer, FaceAnswer, GlassesPipeline

__version__ = "2.0.0"
__all__ = ["Answer", "FaceAnswer", "GlassesPipeline", "PhotoError", "read_image"]
