"""How is an answer drawn?  Boxes and words in the photo, in the colours of the project's figures."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Of the classes; told apart by colour-blind readers too (the palette of Okabe and Ito, 2008).
COLOURS = {"none": "#56B4E9", "eyeglasses": "#E69F00", "sunglasses": "#CC79A7", "unknown_kind": "#D55E00"}


def annotate(image: np.ndarray, answer, scale: float = 1.0) -> Image.Image:
    """A photo (H, W, 3) uint8 with the boxes and answers of its faces drawn in; the main face has the thick frame.

    answer: of `pipeline.GlassesPipeline`. scale: pixels of its boxes for a pixel of the image, from `read_image`.
    """
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    unit = max(picture.size) / 400  # line widths and letters keep their share of the photo
    font = ImageFont.load_default(max(10, 14 * unit))
    for number, face in enumerate(answer.faces):
        x, y, w, h = (v / scale for v in face.box)
        colour = COLOURS["none" if face.kind == "none" else "eyeglasses"]
        pen.rectangle((x, y, x + w, y + h), outline=colour, width=max(1, round((3 if number == 0 else 1) * unit)))
        text = f"{'no glasses' if face.kind == 'none' else face.kind} ({face.probability:.2f})"
        _, _, right, bottom = pen.textbbox((0, 0), text, font=font)
        at = (min(max(0, x), max(0, picture.width - right)), max(0, y - bottom - 4 * unit))
        pen.rectangle((at[0], at[1], at[0] + right + 2 * unit, at[1] + bottom + 2 * unit), fill=colour)
        pen.text((at[0] + unit, at[1]), text, fill="black", font=font)
    return picture
