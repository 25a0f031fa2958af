"""What is in the file?  Any picture that Pillow reads, or an array, becomes (H, W, 3) uint8 RGB, upright.

from glasses.photos import read_image
image, scale = read_image("photo.jpg")               # scale: pixels of the photo for one of `image`
"""

import ctypes
import io
import logging
import math
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .avif .heic .heif .jp2 .ppm .pgm".split()
)
JPEG_FORMATS = ("JPEG", "MPO")  # MPO: what many phones write as .jpg
START_OF_SCAN, RESTART_INTERVAL = b"\xff\xda", b"\xff\xdd\0\4"  # markers in a JPEG
ORIENTATIONS = {  # the EXIF tag -> what makes such a picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
# Of WebM and Matroska, FLV, ASF, MPEG program and transport streams.
FILM_BEGINNINGS = (b"\x1a\x45\xdf\xa3", b"FLV\1", b"\x30\x26\xb2\x75", b"\0\0\1\xba", b"\x47\x40")
PROGRAMS = ("EPS",)  # of Pillow's formats: to read one it starts Ghostscript, which runs what is in the file
NO_FILMS = (b"M4A ", b"M4B ", b"avif", b"avis", b"crx ")  # brands of sounds and photos; crx: Canon's raw photos

MAX_SIDE = 800  # pixels: a larger JPEG is decoded at 1/2, 1/4 or 1/8, never to less than this
FINEST = 4096  # pixels: what is decoded once more for a small face has a long side of about this at most
MAX_JPEG_PIXELS = 500_000_000  # a larger JPEG is refused; other formats at Pillow's limit, 178 million
MOST_SCANNED = 4_000_000_000  # pixels times scans of a JPEG: about two seconds; a camera's has ten scans at most
MOST_LOST = 0.1  # share of the pixels that a JPEG may lack at its end and still be answered
LOADING = Lock()  # of a PIL image that is not decoded yet: one thread at a time
PHOTO_TYPES = (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray, Image.Image)  # and open files

# Pillow's remarks on odd EXIF data and large pictures are not the user's concern. Set once: to set and reset
# warnings around a call is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else what it logs goes to stderr


class PhotoError(Exception):
    """A photo cannot be read; the message is one line that says why, without the path."""


class Photo(NamedTuple):
    """image: (H, W, 3) uint8 RGB. scale: pixels of the upright photo for one of `image`. warning: None, or one line.

    file: what it was decoded from, for `read_finer`; None for an array or a PIL image.
    """

    image: np.ndarray
    scale: float = 1.0
    warning: str | None = None
    file: str | os.PathLike | io.BytesIO | None = None


def read_image(source, max_side: int | None = MAX_SIDE) -> tuple[np.ndarray, float]:
    """The image and the scale of `read_photo`."""
    photo = read_photo(source, max_side)
    return photo.image, photo.scale


def read_photo(source, max_side: int | None = MAX_SIDE) -> Photo:
    """Decode a photo, upright by its EXIF orientation.

    source: a path, the bytes of a file, a file open for reading bytes, a PIL image, or an array as `as_image` takes
    it. A JPEG with a side over twice `max_side` is decoded at 1/2, 1/4 or 1/8 of its size (`Photo.scale` says so).
    Transparent pixels become white, 16-bit and floating-point greys are scaled to 8 bits, of an animation the
    first frame is taken. A JPEG whose end is missing is answered with a warning while it lacks at most MOST_LOST.

    Raises PhotoError with one line for anything that is not a whole picture, TypeError for another kind of source.
    """
    source = check_photo(source)
    if isinstance(source, np.ndarray):
        return Photo(source)
    with _one_line():
        if isinstance(source, Image.Image):
            with LOADING:
                picture = source.copy()
            return Photo(_upright(picture))
        return _decode(_check_file(source), max_side)


def read_finer(photo: Photo, factor: float) -> Photo:
    """The photo decoded again, `factor` times as large or larger, but not beyond its own size or FINEST; itself where
    there is no such size.

    Raises PhotoError with one line where its file has changed or gone.
    """
    size = max(photo.image.shape[:2])
    factor = min(factor, photo.scale, FINEST / size)
    if factor <= 1:
        return photo
    if isinstance(photo.file, io.BytesIO):
        photo.file.seek(0)
    with _one_line():
        return _decode(photo.file, math.ceil(factor * size - 1e-6))


def read_transparent(path: str | os.PathLike) -> np.ndarray:
    """(H, W, 4) uint8 RGBA of a picture, upright. Raises PhotoError with one line for what is not a whole picture."""
    with _one_line(), _open(_check_file(path)) as picture:
        return np.array(_turned(picture).convert("RGBA"))


@contextmanager
def _one_line() -> Iterator[None]:
    """Whatever decoders raise becomes a PhotoError."""
    try:
        yield
    except PhotoError:
        raise
    except FileNotFoundError as error:
        raise PhotoError("no such file") from error
    except PermissionError as error:
        raise PhotoError("no permission to read it") from error
    except MemoryError as error:
        raise PhotoError("too large for the memory of this machine") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError ...
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise PhotoError(f"damaged picture: {reason}"[:200]) from error


def is_photo(source) -> bool:
    """Whether this is one photo, or what should be one, and not a list of them."""
    return isinstance(source, PHOTO_TYPES) or hasattr(source, "read") or hasattr(source, "__array__")


def check_photo(source):
    """The photo as it is, or, of an array, what `as_image` makes of it. Raises TypeError with one line for others."""
    if isinstance(source, np.ndarray):
        return as_image(source)
    if isinstance(source, io.TextIOBase):
        raise TypeError('not a photo: a file open for text; open it with mode "rb"')
    if not isinstance(source, PHOTO_TYPES) and not hasattr(source, "read"):
        raise TypeError(f"not a photo: {type(source).__name__}; give a path, an array, a PIL image, bytes or a file")
    return source


def as_image(array: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4, transparent on white) of any layout in memory -> (H, W, 3) uint8 RGB.

    uint8; uint16 from 0 to 65535; bool; floats from 0 to 1, or, where a value is above 1, from 0 to 255.
    Raises TypeError with one line for any other array.
    """
    array = np.asarray(array)
    shape, channels = array.shape, array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise TypeError(f"not a photo: an array of shape {shape}; give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if array.size == 0:
        raise TypeError(f"not a photo: an empty array, of shape {shape}")
    pixels = _to_bytes(array).reshape(*shape[:2], channels)
    if channels == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if channels == 4:
        pixels = _to_rgb(Image.fromarray(np.ascontiguousarray(pixels), "RGBA"))
    return np.ascontiguousarray(pixels)


def _to_bytes(array: np.ndarray) -> np.ndarray:
    """Pixels of any type that `as_image` takes -> uint8."""
    if array.dtype == np.uint8:
        return array
    if np.issubdtype(array.dtype, np.uint16):  # of either byte order
        return (array // 257).astype(np.uint8)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"not a photo: an array of {array.dtype}; give uint8, uint16, bool or floats")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 255):  # also where either is not a number
        raise TypeError(f"not a photo: floats from {low:g} to {high:g}; give 0 to 1 or 0 to 255")
    return np.round(array * (255 if high <= 1 else 1)).astype(np.uint8)


def _check_file(source) -> str | os.PathLike | io.BytesIO:
    """The path of a regular file, or the bytes of anything else, ready to be opened."""
    if isinstance(source, str | os.PathLike):
        mode = os.stat(source).st_mode
        if not stat.S_ISREG(mode):  # a pipe would keep us waiting for ever
            raise PhotoError("a folder, not a picture" if stat.S_ISDIR(mode) else "not a regular file")
        return source
    return io.BytesIO(source.read() if hasattr(source, "read") else source)


def _decode(file: str | os.PathLike | io.BytesIO, max_side: int | None) -> Photo:
    with _open(file) as picture:
        width, _ = picture.size
        _check_scans(picture, file)
        _shrink_jpeg(picture, max_side)
        scale, warning = max(1.0, width / picture.width), None
        try:
            picture.load()
        except OSError:
            if picture.format not in JPEG_FORMATS:
                raise
            picture, warning = _read_cut_jpeg(_content(file), max_side)
        return Photo(_upright(picture), scale, warning, file)


def _open(file: str | os.PathLike | io.BytesIO) -> Image.Image:
    """The picture, not yet decoded."""
    picture = _known(file)
    if picture.format in PROGRAMS:
        picture.close()
        raise PhotoError(f"{picture.format} is a program that draws, not a picture: save it as PNG or JPEG")
    if picture.format == "TIFF":
        _silence_libtiff()
    return picture


@cache
def _silence_libtiff() -> None:
    """Else it writes lines of its own to stderr, many for a damaged file. What Pillow raises is told anyway."""
    with suppress(OSError, AttributeError):  # a Pillow that holds it where no other can call it
        library = ctypes.CDLL(Image.core.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def _known(file: str | os.PathLike | io.BytesIO) -> Image.Image:
    """What Pillow knows, or knows by one more package."""
    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:  # checked by Pillow before anything is decoded
        if _head(file).startswith(b"\xff\xd8"):
            if isinstance(file, io.BytesIO):
                file.seek(0)
            picture = JpegImagePlugin.JpegImageFile(file)  # without that check: it will be decoded at reduced scale
            if picture.width * picture.height <= MAX_JPEG_PIXELS and "progressive" not in picture.info:
                return picture
        raise PhotoError(f"refused, more than {2 * Image.MAX_IMAGE_PIXELS // 10**6} megapixels") from error
    except UnidentifiedImageError as error:
        head = _head(file)
        if not head:
            raise PhotoError("the file is empty") from error
        if head[4:8] == b"ftyp" and head[8:12] != b"avif" and any(brand in head[8:] for brand in HEIC_BRANDS):
            return _open_heic(file)
        if is_film(head):
            raise PhotoError("a film, not a picture: `glasses video FILM` answers for films") from error
        raise PhotoError("not a picture in a format Pillow reads") from error


def is_film(head: bytes) -> bool:
    """Whether a file that begins with these 32 bytes or more is a film, in one of the usual formats."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):  # MP4, QuickTime
        return head[8:12] not in NO_FILMS
    if head.startswith(b"RIFF"):
        return head[8:12] == b"AVI "
    return head.startswith(FILM_BEGINNINGS)


def _open_heic(file: str | os.PathLike | io.BytesIO) -> Image.Image:
    """HEIC pictures (iPhone) need the optional package pillow-heif."""
    try:
        import pillow_heif
    except ImportError as error:
        raise PhotoError("HEIC pictures need a package: pip install pillow-heif") from error
    pillow_heif.register_heif_opener()
    return Image.open(file)


def _head(file: str | os.PathLike | io.BytesIO, count: int = 32) -> bytes:
    if isinstance(file, io.BytesIO):
        return file.getvalue()[:count]
    with open(file, "rb") as opened:
        return opened.read(count)


def _content(file: str | os.PathLike | io.BytesIO) -> bytes:
    return file.getvalue() if isinstance(file, io.BytesIO) else Path(file).read_bytes()


def _check_scans(picture: Image.Image, file: str | os.PathLike | io.BytesIO) -> None:
    """Raises PhotoError for a JPEG that is drawn over and over: a few bytes a time can take hours."""
    if picture.format not in JPEG_FORMATS:
        return
    head = _head(file, picture.fp.tell())  # of a JPEG alone it ends with the beginning of the first scan
    _, found, scan = head.rpartition(START_OF_SCAN)
    one = "progressive" not in picture.info and found and scan[2:3] == bytes([picture.layers])
    scans = 1 if one else _content(file).count(START_OF_SCAN)
    if scans * picture.width * picture.height > MOST_SCANNED:
        raise PhotoError(f"refused, its {picture.width} x {picture.height} pixels are drawn {scans:,} times over")


def _shrink_jpeg(picture: Image.Image, max_side: int | None) -> None:
    """Ask the decoder of a JPEG for the smallest of its scales with at least `max_side` pixels on the long side."""
    if max_side and picture.format in JPEG_FORMATS:
        shrink = max_side / max(picture.size)
        picture.draft(None, tuple(max(1, int(side * shrink)) for side in picture.size))


def _read_cut_jpeg(content: bytes, max_side: int | None) -> tuple[Image.Image, str]:
    """A JPEG whose end is missing, and a line that says so.

    It is decoded twice, once with nothing and once with noise in place of what is missing: pixels that differ are not
    in the file. Raises OSError where they are more than MOST_LOST, or where only a coarse version is in the file.
    """
    start_of_scan = content.rfind(START_OF_SCAN)
    components = content[start_of_scan + 4]
    last_bits = content[start_of_scan + 7 + 2 * components] & 15  # 0: this scan brings the lowest bits
    decoded, noise = [], _noise_after(content, start_of_scan)
    for end in (b"", noise):
        picture = JpegImagePlugin.JpegImageFile(io.BytesIO(content + end + b"\xff\xd9"))
        _shrink_jpeg(picture, max_side)
        picture.load()
        decoded.append(picture)
    lost = (np.asarray(decoded[0]) != np.asarray(decoded[1])).reshape(decoded[0].height * decoded[0].width, -1)
    lost = float(lost.any(1).mean())
    if lost > MOST_LOST or last_bits:
        raise OSError("truncated, too much of it is missing")
    share = f"{100 * lost:.1f} %" if lost >= 0.001 else "less than 0.1 %"
    return decoded[0], f"the file is cut off, {share} of the picture is missing"


def _noise_after(content: bytes, start_of_scan: int) -> bytes:
    """Several times as much as there is of a JPEG whose end is missing: it must last to the end of the picture.

    With restart markers where that JPEG has them: a decoder passes over all else until the next one. Raises OSError
    where more than half of the intervals between these are missing.
    """
    noise = bytes(range(1, 255))
    marked = content.rfind(RESTART_INTERVAL)
    interval = int.from_bytes(content[marked + 4 : marked + 6], "big") if marked >= 0 else 0
    if not interval:
        return noise * (16 + len(content) // 64)
    markers = re.findall(rb"\xff([\xd0-\xd7])", content[start_of_scan:])
    missing = math.ceil(_units(content, start_of_scan) / interval) - len(markers)
    if missing > len(markers) + 2:
        raise OSError("truncated, too much of it is missing")
    following = 0xD0 + (markers[-1][0] - 0xD0 + 1) % 8 if markers else 0xD0
    length = 32 + 4 * (len(content) - start_of_scan) // max(1, len(markers))
    between = (noise * (1 + length // len(noise)))[:length]
    numbers = (0xD0 + (following - 0xD0 + i) % 8 for i in range(missing + 8))
    return b"".join(between + bytes([0xFF, number]) for number in numbers)


def _units(content: bytes, start_of_scan: int) -> int:
    """How many blocks the last scan of a JPEG has, or, where it has several components, groups of blocks."""
    picture = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    samplings = {layer[0]: layer[1:3] for layer in picture.layer}  # component -> times across and down
    most = [max(times) for times in zip(*samplings.values(), strict=True)]
    sides = [math.ceil(side / (8 * times)) for side, times in zip(picture.size, most, strict=True)]
    if content[start_of_scan + 4] == 1:
        own = samplings[content[start_of_scan + 5]]
        sides = [
            math.ceil(math.ceil(side * times / of_all) / 8)
            for side, times, of_all in zip(picture.size, own, most, strict=True)
        ]
    return math.prod(sides)


def _upright(picture: Image.Image) -> np.ndarray:
    """Turned as its EXIF data say -> (H, W, 3) uint8 RGB."""
    return np.ascontiguousarray(_to_rgb(_turned(picture)))


def _turned(picture: Image.Image) -> Image.Image:
    """As its EXIF data say."""
    turn = ORIENTATIONS.get(picture.getexif().get(ExifTags.Base.Orientation))
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(picture: Image.Image) -> np.ndarray:
    """Any Pillow mode -> (H, W, 3) uint8."""
    if picture.mode.startswith("I") or picture.mode == "F":
        gray = np.asarray(picture, dtype=np.float32)
        finite = gray[np.isfinite(gray)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        gray = np.nan_to_num(gray, nan=low, posinf=high, neginf=low)
        if picture.mode != "F" and low >= 0:  # as many bits as its brightest pixel needs: 8, 12 or 16
            low, high = 0.0, next(2.0**bits - 1 for bits in (8, 12, 16, 32) if high < 2.0**bits)
        span = max(float(high) - float(low), 1e-6)
        gray /= 2  # halves do not overflow
        gray -= low / 2
        gray *= 510.0 / span
        gray = np.clip(gray, 0, 255, out=gray).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
