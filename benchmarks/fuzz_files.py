"""Which broken pictures are there?  Whole ones in every format that Pillow writes or a few lines make, and what damages
them; no command, benchmarks.fuzz is.

whole = list(seeds())                                # (form, bytes): of a public-domain portrait
case = mutated(1234, 0, whole)                       # always the same file

Where a format is made of blocks (PNG, JPEG, RIFF,
ISO media), these are dropped, doubled and altered too, and lengths and checksums are made right again, so that what was
damaged is read and not refused at once.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

SIDE = 112  # pixels: of the whole pictures, in which a face is found; small, so that damage hits what matters
PNG = b"\x89PNG\r\n\x1a\n"
ODD = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 32767, 32768, 65500, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
BOMB_SHARE = 0.03
BLOCKS_OF_BOXES = (b"ftyp", b"jP  ")  # at byte 4 of ISO media: AVIF, HEIC, MP4; of JPEG 2000
ADAM7 = (  # the passes of an interlaced PNG: first column and row, steps between columns and rows
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
CLAIMS = (  # where a width and height stand: after which bytes, how far from these, and how
    (b"IHDR", 4, ">II"),
    (b"\xff\xc0", 5, ">HH"),
    (b"\xff\xc2", 5, ">HH"),
    (b"GIF8", 6, "<HH"),
    (b"BM", 18, "<ii"),
    (b"ispe", 8, ">II"),
    (b"ihdr", 4, ">II"),
    (b"VP8 ", 14, "<HH"),
    (b"8BPS", 14, ">II"),
    (b"qoif", 4, ">II"),
    (b"DDS ", 12, "<II"),
    (b"\1\xda", 6, ">HH"),
)


class Case(NamedTuple):
    """A file: of which form it was, what was done to it, and its bytes."""

    form: str
    change: str
    content: bytes


# ------------------------------------------------------------------------------------------------ whole pictures


def saved(picture: Image.Image, form: str, **options) -> bytes:
    """The file; of copies, since Pillow leaves the settings of one format on a picture for the next."""
    if "append_images" in options:
        options["append_images"] = [other.copy() for other in options["append_images"]]
    buffer = io.BytesIO()
    picture.copy().save(buffer, form, **options)
    return buffer.getvalue()


@cache
def exif_block() -> bytes:
    """EXIF data with an orientation, a place and a resolution, as a TIFF without pictures."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.0
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0words"
    exif.get_ifd(0x8825)[1] = "N"
    return exif.tobytes().removeprefix(b"Exif\0\0")


@cache
def icc_block() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def portrait() -> Image.Image:
    from sample_photos import sample_photos  # with Matplotlib and scikit-image, for which a process need not wait

    return Image.open(sample_photos()["grace_hopper.jpg"]).convert("RGB").resize((SIDE, SIDE * 600 // 512))


def seeds() -> Iterator[tuple[str, bytes]]:
    """(form, whole file) of every kind: "png, palette" is a PNG."""
    picture = portrait()
    grey, turned = picture.convert("L"), picture.transpose(Image.Transpose.ROTATE_90)
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    several = {"save_all": True, "append_images": [turned.resize(picture.size), picture]}
    yield from of_jpeg(picture, grey, several)
    yield from of_png(picture, grey, deep, several)
    yield from of_tiff(picture, grey, deep, several)
    for form in ("GIF", "WEBP"):
        yield f"{form.lower()}", saved(picture, form)
        yield f"{form.lower()}, animated", saved(picture, form, **several)
    yield "webp, lossless", saved(picture.convert("RGBA"), "WEBP", lossless=True, exif=exif_block())
    yield "avif", saved(picture, "AVIF", speed=10, exif=exif_block(), icc_profile=icc_block())
    yield "avif, animated", saved(picture, "AVIF", speed=10, **several)
    yield from of_heic(picture)
    for codec in ("jp2", "j2k"):
        yield f"jpeg 2000, {codec}", saved(picture, "JPEG2000", no_jp2=codec == "j2k")
    for form, mode in (
        *(("BMP", mode) for mode in ("RGB", "P", "1", "L")),
        *(("PPM", mode) for mode in ("RGB", "L", "1", "F")),
        *(("TGA", mode) for mode in ("RGB", "P")),
        *((form, "RGB") for form in ("DIB", "ICNS", "ICO", "IM", "PCX", "SGI", "DDS", "QOI", "EPS")),
        *((form, "1") for form in ("MSP", "XBM")),
        ("SPIDER", "F"),
        ("BLP", "P"),
    ):
        try:
            yield f"{form.lower()}, {mode}", saved(picture.convert(mode), form)
        except KeyError:  # an older Pillow does not write it
            continue
    yield "tga, rle", saved(picture, "TGA", compression="tga_rle")
    yield "dds, dxt5", saved(picture.convert("RGBA"), "DDS", pixel_format="DXT5")
    yield from by_hand(picture, grey)


def of_jpeg(picture: Image.Image, grey: Image.Image, several: dict) -> Iterator[tuple[str, bytes]]:
    yield "jpeg", saved(picture, "JPEG")
    yield "jpeg, progressive", saved(picture, "JPEG", progressive=True)
    yield "jpeg, grey", saved(grey, "JPEG")
    yield "jpeg, CMYK", saved(picture.convert("CMYK"), "JPEG")
    yield "jpeg, restart markers", saved(picture, "JPEG", restart_marker_rows=1)
    yield "jpeg, large", saved(picture.resize((1700, 1800)), "JPEG", quality=60)  # decoded at a reduced scale
    yield "jpeg, EXIF and ICC", saved(picture, "JPEG", exif=b"Exif\0\0" + exif_block(), icc_profile=icc_block())
    yield "jpeg, several pictures", saved(picture, "MPO", **several)


def of_png(picture: Image.Image, grey: Image.Image, deep: Image.Image, several: dict) -> Iterator[tuple[str, bytes]]:
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 200, zip=True)
    text.add_itxt("XML:com.adobe.xmp", "<x tiff:Orientation='6'/>", zip=True)
    yield "png", saved(picture, "PNG", exif=exif_block(), icc_profile=icc_block(), pnginfo=text)
    yield "png, 16 bits", saved(deep, "PNG")
    yield "png, 1 bit", saved(picture.convert("1"), "PNG")
    yield "png, palette", saved(picture.quantize(40), "PNG", transparency=3)
    yield "png, transparent", saved(picture.convert("RGBA"), "PNG")
    yield "png, grey", saved(grey, "PNG", transparency=7)
    yield "png, animated", saved(picture, "PNG", **several)
    rows = []
    for x, y, dx, dy in ADAM7:
        rows += [b"\0" + row.tobytes() for row in np.asarray(grey)[y::dy, x::dx]]
    head = struct.pack(">IIBBBBB", *grey.size, 8, 0, 0, 0, 1)
    yield "png, interlaced", png([b"IHDR" + head, b"IDAT" + zlib.compress(b"".join(rows)), b"IEND"])


def of_tiff(picture: Image.Image, grey: Image.Image, deep: Image.Image, several: dict) -> Iterator[tuple[str, bytes]]:
    for compression in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "lzma", "zstd"):
        try:
            yield f"tiff, {compression}", saved(picture, "TIFF", compression=compression)
        except OSError:  # a libtiff without it
            continue
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield f"tiff, {compression}", saved(picture.convert("1"), "TIFF", compression=compression)
    for mode in ("CMYK", "LAB", "RGBA", "P", "F", "YCbCr"):
        yield f"tiff, {mode}", saved(picture.convert("L" if mode == "F" else "RGB").convert(mode), "TIFF")
    yield "tiff, 16 bits", saved(deep, "TIFF", compression="tiff_lzw")
    yield "tiff, big", saved(grey, "TIFF", big_tiff=True)
    yield "tiff, several pages", saved(picture, "TIFF", compression="tiff_lzw", **several)


def of_heic(picture: Image.Image) -> Iterator[tuple[str, bytes]]:
    try:
        import pillow_heif
    except ImportError:  # the tool then says that it is needed
        yield "heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
        return
    several = pillow_heif.from_pillow(picture)  # without a word to Pillow, which tests of the tool would notice
    for name, count in (("heic", 1), ("heic, several pictures", 2)):
        while len(several) < count:
            several.add_from_pillow(picture)
        buffer = io.BytesIO()
        several.save(buffer, quality=60, exif=exif_block())
        yield name, buffer.getvalue()


def by_hand(picture: Image.Image, grey: Image.Image) -> Iterator[tuple[str, bytes]]:
    """Formats that Pillow reads but does not write."""
    (width, height), rgb = picture.size, np.asarray(picture)
    planes = rgb.transpose(2, 0, 1).tobytes()
    yield "psd", b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3) + bytes(12) + b"\0\0" + planes
    cards = f"SIMPLE  = T|BITPIX  = 8|NAXIS   = 2|NAXIS1  = {width}|NAXIS2  = {height}|END".split("|")
    yield "fits", "".join(f"{card:80}" for card in cards).encode().ljust(2880) + grey.tobytes()
    yield "sun", struct.pack(">8I", 0x59A66A95, width, height, 24, 3 * width * height, 1, 0, 0) + rgb.tobytes()
    few = picture.quantize(4)
    colours = [bytes(few.getpalette()[3 * i : 3 * i + 3]).hex() for i in range(4)]
    lines = [f"{width} {height} 4 1", *(f"{'abcd'[i]} c #{colour}" for i, colour in enumerate(colours))]
    lines += ["".join("abcd"[value] for value in row) for row in np.asarray(few)]
    body = ",\n".join(f'"{line}"' for line in lines)
    yield "xpm", f"/* XPM */\nstatic char *a[] = {{\n{body}\n}};\n".encode()
    page = saved(picture, "PCX")
    yield "dcx", struct.pack("<III", 0x3ADE68B1, 12, 0) + page
    icon = bytearray(saved(picture.resize((64, 64)), "ICO", bitmap_format="bmp"))
    icon[2] = 2
    yield "cur", bytes(icon)
    frame = struct.pack("<IHH", 6 + 2 + width * height, 16, 0)[:6] + grey.tobytes() + b"\0\0"
    head = struct.pack("<IHHHHHHI", 144 + len(frame), 0xAF11, 1, width, height, 8, 3, 5).ljust(128, b"\0")
    yield "fli", head + struct.pack("<IHH8x", 16 + len(frame), 0xF1FA, 1) + frame


# -------------------------------------------------------------------------------------------------------- bombs


def flat_png(side: int, bits: int, colour: int = 0, more: Sequence[bytes] = (), rows: int | None = None) -> bytes:
    """A PNG of one colour, of `side` pixels each way; `rows`, where its data have another number of rows."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    row = bytes(1 + -(-side * bits * channels // 8))
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side if rows is None else rows)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    return png([b"IHDR" + head, *more, b"IDAT" + data, b"IEND"])


def bombs() -> Iterator[tuple[str, bytes]]:
    """Small files of much memory or much work: large flat pictures, a great many parts, loops, sizes that are lies."""
    zeros = zlib.compress(bytes(150_000_000), 9)
    for side, depth, colour in ((13_000, 1, 0), (13_000, 8, 0), (9000, 16, 0), (7000, 8, 2), (7000, 8, 6)):
        yield f"bomb, png of {side} pixels, {depth} bits", flat_png(side, depth, colour)
    yield "bomb, png of 60,000 pixels", flat_png(60_000, 1, rows=100)
    yield "bomb, png with too much data", flat_png(100, 8, rows=1_000_000)
    yield "bomb, png text", flat_png(100, 8, more=[b"zTXta\0\0" + zeros])
    yield "bomb, png text in many parts", flat_png(100, 8, more=[b"zTXta\0\0" + zlib.compress(bytes(900_000), 9)] * 200)
    yield "bomb, png profile", flat_png(100, 8, more=[b"iCCPa\0\0" + zeros])
    for options in ({}, {"progressive": True}):
        flat = saved(Image.new("L", (12_000, 12_000), 90), "JPEG", quality=20, **options)
        yield f"bomb, jpeg of 12,000 pixels{', progressive' * bool(options)}", flat
    scans = saved(Image.new("L", (2500, 2500), 90), "JPEG", progressive=True)
    start = scans.rfind(b"\xff\xda")
    yield "bomb, jpeg of 10,000 scans", scans[:start] + scans[start:-2] * 10_000 + scans[-2:]
    restarts = saved(portrait().resize((1000, 1000)), "JPEG", restart_marker_blocks=1)
    yield "bomb, jpeg, cut, with restart markers", restarts[: int(0.97 * len(restarts))]
    yield "bomb, jpeg, cut, of one interval", jpeg_without_markers()
    frames = {"save_all": True, "append_images": [Image.new("P", (9, 9), i % 7) for i in range(3000)]}
    yield "bomb, gif of 3,000 frames", saved(Image.new("P", (9, 9)), "GIF", **frames)
    gif = saved(Image.new("P", (9, 9)), "GIF")
    yield "bomb, gif of 13,000 pixels", gif[:6] + struct.pack("<HH", 13_000, 13_000) + gif[10:]
    yield "bomb, tiff", saved(Image.new("L", (12_000, 12_000)), "TIFF", compression="tiff_adobe_deflate")
    yield "bomb, tiff of strips", saved(Image.new("L", (8, 65_000)), "TIFF", compression="tiff_lzw", strip_size=8)
    loop = bytearray(saved(Image.new("L", (9, 9)), "TIFF"))
    (first,) = struct.unpack_from("<I", loop, 4)
    (entries,) = struct.unpack_from("<H", loop, first)
    struct.pack_into("<I", loop, first + 2 + 12 * entries, first)
    yield "bomb, tiff that loops", bytes(loop)
    large = Image.new("RGB", (5000, 5000))
    for form, options in (("WEBP", {"lossless": True, "method": 0}), ("JPEG2000", {}), ("AVIF", {"speed": 10})):
        yield f"bomb, {form.lower()} of 5,000 pixels", saved(large, form, **options)
    inner = flat_png(13_000, 1)
    yield "bomb, ico", struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(inner), 22) + inner
    yield "bomb, bmp", bmp_of_nothing(13_000)
    for line in ("P6 60000 60000 255\n", "P5 13000 13000 255\n", "P1 13000 13000\n#" + "x" * 1_000_000):
        yield "bomb, ppm", line.encode()
    yield "bomb, xbm", b"#define a_width 13000\n#define a_height 13000\nstatic char a_bits[] = {\n" + b"0x00," * 200_000
    yield "bomb, icns", b"icns" + struct.pack(">I", 2**31 - 1) + b"ic10\0\0\0\x08" * 100_000


def jpeg_without_markers() -> bytes:
    """A JPEG that says that it has restart markers, has none, and lacks its last bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (1800, 1800), np.uint8)
    whole = saved(Image.fromarray(noise), "JPEG", quality=95)
    start = whole.rfind(b"\xff\xda")
    return whole[:start] + b"\xff\xdd\0\4\xff\xff" + whole[start:-100]


def bmp_of_nothing(side: int) -> bytes:
    """A run-length coded BMP that ends at once."""
    palette, data = bytes(1024), b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(data), 0, 0, 14 + 40 + 1024) + head + palette + data


# ------------------------------------------------------------------------------------------------------- damage

Change = Callable[[random.Random, bytes], bytes]


def place(rng: random.Random, content: bytes) -> int:
    """Somewhere in it; as often as not near its beginning, where the numbers stand."""
    return rng.randrange(1 + (min(len(content), 300) if rng.random() < 0.5 else len(content)))


def overwrite(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def bits(rng: random.Random, content: bytes) -> bytes:
    damaged = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 4, 16))):
        damaged[min(place(rng, content), len(damaged) - 1)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def some_bytes(rng: random.Random, content: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 3, 9))):
        value = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        content = overwrite(content, place(rng, content), bytes([value]))
    return content


def number(rng: random.Random, content: bytes) -> bytes:
    """A number of one, two or four bytes becomes an odd one."""
    size = rng.choice((1, 2, 2, 4, 4, 8))
    value = rng.choice(ODD) % 256**size
    return overwrite(content, place(rng, content), value.to_bytes(size, rng.choice(("big", "little"))))


def cut(rng: random.Random, content: bytes) -> bytes:
    start = place(rng, content)
    return rng.choice((content[:start], content[start:], content[:start] + content[start + rng.randrange(1, 400) :]))


def insert(rng: random.Random, content: bytes) -> bytes:
    start, other, size = place(rng, content), place(rng, content), rng.choice((1, 2, 4, 30, 1000))
    piece = rng.choice((bytes(size), rng.randbytes(size), b"\xff" * size, content[other : other + size]))
    return content[:start] + piece + content[start:]


def repeat(rng: random.Random, content: bytes) -> bytes:
    start, size = place(rng, content), rng.choice((1, 4, 12, 100, 1000))
    piece = content[start : start + size]
    return content[:start] + piece * rng.choice((2, 10, 1000)) + content[start + size :]


def swap(rng: random.Random, content: bytes) -> bytes:
    (a, b), size = sorted((place(rng, content), place(rng, content))), rng.choice((1, 4, 64))
    return content[:a] + content[b : b + size] + content[a + size : b] + content[a : a + size] + content[b + size :]


def claim(rng: random.Random, content: bytes) -> bytes:
    """Another width and height than it has."""
    for after, offset, form in CLAIMS:
        start = content[:4096].find(after)
        if start >= 0 and start + offset + struct.calcsize(form) <= len(content):
            most = 256 ** (struct.calcsize(form) // 2) // (2 if form[1].islower() else 1)
            values = [rng.choice(ODD) % most for _ in range(2)]
            return overwrite(content, start + offset, struct.pack(form, *values))
    return number(rng, content)


def entry(rng: random.Random, content: bytes) -> bytes:
    """An entry of the first directory of a TIFF becomes another."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None or len(content) < 30:
        return number(rng, content)
    start = struct.unpack_from(f"{order}I", content, 4)[0]
    if start + 2 > len(content):
        return number(rng, content)
    count = struct.unpack_from(f"{order}H", content, start)[0]
    at = start + 2 + 12 * rng.randrange(max(1, count)) + rng.choice((0, 2, 4, 8))
    size = 2 if (at - start - 2) % 12 < 4 else 4
    value = rng.choice((*ODD, len(content), rng.randrange(256, 350), rng.randrange(1, 14))) % 256**size
    return overwrite(content, at, value.to_bytes(size, "little" if order == "<" else "big"))


def same(rng: random.Random, content: bytes) -> bytes:
    return content


def metadata(rng: random.Random, content: bytes) -> bytes:
    """EXIF data or a colour profile, damaged or not, in a file of blocks."""
    exif, icc = (rng.choice((entry, bits, number, cut, same))(rng, block()) for block in (exif_block, icc_block))
    if content.startswith(PNG):
        new = rng.choice((b"eXIf" + exif, b"iCCPa\0\0" + zlib.compress(icc), b"tRNS" + icc[:99], b"PLTE" + icc[:99]))
    elif content.startswith(b"\xff\xd8"):
        new = rng.choice((b"\xff\xe1Exif\0\0" + exif, b"\xff\xe2ICC_PROFILE\0\1\1" + icc, b"\xff\xe2MPF\0" + exif))
    elif content.startswith(b"RIFF"):
        new = rng.choice((b"EXIF" + exif, b"ICCP" + icc))
    else:
        return insert(rng, content)
    pieces, join = split(content)
    pieces.insert(rng.randrange(1, max(2, len(pieces))), new)
    return join(pieces)


def blocks(rng: random.Random, content: bytes) -> bytes:
    """A block is dropped, doubled, moved or altered; the lengths and checksums are right."""
    pieces, join = split(content)
    if len(pieces) < 2:
        return entry(rng, content)
    chosen, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    how = rng.choice(("drop", "double", "move", "alter", "alter", "alter", "unpack"))
    if how == "drop":
        del pieces[chosen]
    elif how == "double":
        pieces[chosen:chosen] = [pieces[other]] * rng.choice((1, 1, 20, 500))
    elif how == "move":
        pieces.insert(other, pieces.pop(chosen))
    else:
        name, body = pieces[chosen][:4], pieces[chosen][4:]
        packed = how == "unpack" and name == b"IDAT"
        try:
            body = zlib.decompress(body) if packed else body
        except zlib.error:  # what was damaged before
            packed = False
        body = rng.choice((bits, some_bytes, number, cut, repeat))(rng, body)
        pieces[chosen] = name + (zlib.compress(body) if packed else body)
    return join(pieces)


# ------------------------------------------------------------------------------------------------- files of blocks


def png(pieces: Sequence[bytes]) -> bytes:
    """Chunks, name and data, as a PNG."""
    chunks = [struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in pieces]
    return PNG + b"".join(chunks)


def split(content: bytes) -> tuple[list[bytes], Callable[[list[bytes]], bytes]]:
    """The blocks of a file, each without its length and checksum, and what joins them again; else a single one."""
    if content.startswith(PNG):
        return list(walk(content, 8, ">I", after=4)), png
    if content.startswith(b"RIFF"):
        return list(walk(content, 12, "<I", named_first=True, even=True)), partial(riff, content[8:12])
    if content[4:8] in BLOCKS_OF_BOXES:
        return list(walk(content, 0, ">I", counted=8)), lambda pieces: b"".join(
            struct.pack(">I", len(one) + 4) + one for one in pieces
        )
    if content.startswith(b"\xff\xd8"):
        return list(segments(content)), jpeg
    return [content], b"".join


def walk(
    content: bytes, at: int, length: str, named_first=False, even=False, after: int = 0, counted: int = 0
) -> Iterator[bytes]:
    """Name and data of blocks with a length and a name of four bytes each; counted: bytes of both that it includes."""
    while at + 8 <= len(content):
        size = max(0, struct.unpack_from(length, content, at + 4 * named_first)[0] - counted)
        name = content[at : at + 4] if named_first else content[at + 4 : at + 8]
        yield name + content[at + 8 : at + 8 + size]
        at += 8 + size + (size % 2 if even else 0) + after


def riff(kind: bytes, pieces: Sequence[bytes]) -> bytes:
    chunks = [one[:4] + struct.pack("<I", len(one) - 4) + one[4:] + bytes(len(one) % 2) for one in pieces]
    body = kind + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def segments(content: bytes) -> Iterator[bytes]:
    """Of a JPEG marker and data of each segment, and with the first scan all that follows."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        size = struct.unpack_from(">H", content, at + 2)[0]
        yield content[at : at + 2] + content[at + 4 : at + 2 + size]
        at += 2 + max(2, size)
    yield content[at:]


def jpeg(pieces: Sequence[bytes]) -> bytes:
    """Segments, marker and data each, as a JPEG."""
    whole = b"\xff\xd8"
    for one in pieces:
        is_scan = one.startswith(b"\xff\xda") or not one.startswith(b"\xff")
        whole += one if is_scan else one[:2] + struct.pack(">H", (len(one)) % 65536) + one[2:]
    return whole


# ------------------------------------------------------------------------------------------------------- a case

CHANGES: tuple[Change, ...] = (bits, some_bytes, number, cut, insert, repeat, swap, claim, entry, metadata, blocks)


def mutated(
    number: int,
    seed: int,
    whole: Sequence[tuple[str, bytes]],
    heavy: Sequence[tuple[str, bytes]] = (),
    changes: Sequence[Change] = CHANGES,
) -> Case:
    """The file of this number: one of the `whole` ones with one to four changes, now and then with the beginning of
    another, or one of the `heavy`, as often as not unchanged."""
    rng = random.Random(f"{seed} {number}")
    if heavy and rng.random() < BOMB_SHARE:
        form, content = rng.choice(heavy)
        if rng.random() < 0.5:
            return Case(form, "as it is", content)
        return Case(form, "some_bytes", some_bytes(rng, content))
    form, content = rng.choice(whole)
    done = []
    if rng.random() < 0.08:
        other, size = rng.choice(whole)[1], rng.choice((2, 4, 12, 30, 200))
        begun = rng.choice((other[:size] + content[size:], other[:size] + content))
        content = rng.choice((begun, content[: len(content) // 2] + other))
        done.append("another's beginning")
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4)) - len(done)):
        change = rng.choice(changes)
        content = change(rng, content)
        done.append(change.__name__)
    if content.startswith(PNG) and rng.random() < 0.7:
        pieces, join = split(content)
        content = join(pieces)
    return Case(form, ", ".join(done), content)
