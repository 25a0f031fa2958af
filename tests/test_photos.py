"""Decoding: every format, every array, every broken file."""

import io
import os
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from glasses import photos
from glasses.photos import PhotoError, as_image, read_finer, read_image, read_photo

QUADRANTS = ((0, 0), (0, 1), (1, 0), (1, 1))  # row, column of the four colours of `chart`
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40))


def chart(width=80, height=60) -> Image.Image:
    """Four coloured quadrants: tells every orientation and channel order apart."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for (row, column), colour in zip(QUADRANTS, COLOURS, strict=True):
        pixels[row * height // 2 :, column * width // 2 :] = colour
    return Image.fromarray(pixels)


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    height, width = image.shape[:2]
    return [
        tuple(int(v) for v in image[height // 4 + r * height // 2, width // 4 + c * width // 2]) for r, c in QUADRANTS
    ]


def close(found, expected, tolerance=12) -> bool:
    return np.abs(np.array(found, int) - np.array(expected, int)).max() <= tolerance


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.gif", "a.tiff", "a.avif"])
def test_formats_decode_to_the_same_picture(tmp_path, name):
    options = {"quality": 95} if name[2:] in ("jpg", "webp", "avif") else {}
    chart().save(tmp_path / name, **options)
    image, scale = read_image(tmp_path / name)
    assert image.shape == (60, 80, 3)
    assert image.dtype == np.uint8
    assert scale == 1.0
    assert close(corners(image), COLOURS)


# How a camera stores the upright picture, from the EXIF standard: which side its first row and column show.
STORED = {
    1: lambda v: v,  # top, left
    2: lambda v: v[:, ::-1],  # top, right
    3: lambda v: v[::-1, ::-1],  # bottom, right
    4: lambda v: v[::-1],  # bottom, left
    5: lambda v: v.swapaxes(0, 1),  # left, top
    6: lambda v: v.swapaxes(0, 1)[::-1],  # right, top
    7: lambda v: v.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda v: v.swapaxes(0, 1)[:, ::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](np.asarray(chart())))
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image, _ = read_image(tmp_path / "a.jpg")
    assert image.shape == (60, 80, 3)
    assert close(corners(image), COLOURS)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA", "RGBA", "I;16", "I", "F", "YCbCr", "HSV", "LAB"])
def test_modes_become_rgb(tmp_path, mode):
    gray = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    if mode in ("I;16", "I"):
        picture = Image.fromarray(gray.astype(np.uint16) * 257)
        picture = picture if mode == "I;16" else picture.convert("I")
    elif mode == "F":
        picture = Image.fromarray(gray.astype(np.float32) / 255)
    elif mode == "P":
        picture = Image.fromarray(gray).convert("RGB").quantize(64)
    elif mode == "LA":
        picture = Image.fromarray(gray).convert("LA")
    else:
        picture = Image.fromarray(gray).convert("RGB").convert(mode)
    name = "a.jpg" if mode in ("CMYK", "YCbCr") else "a.tiff" if mode in ("F", "LAB", "I") else "a.png"
    if mode == "HSV":
        picture = picture.convert("RGB")
    picture.save(tmp_path / name)
    image, _ = read_image(tmp_path / name)
    assert image.shape == (48, 64, 3)
    if mode != "1":
        assert close(image[10, :, 0], gray[10], tolerance=20)


def test_transparency_becomes_white_whatever_lies_below(tmp_path):
    picture = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    picture.putpixel((5, 5), (0, 0, 255, 255))
    picture.save(tmp_path / "a.png")
    image, _ = read_image(tmp_path / "a.png")
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[5, 5].tolist() == [0, 0, 255]
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png", transparency=1)
    assert read_image(tmp_path / "p.png")[0][0, 0].tolist() == [255, 255, 255]


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in COLOURS]
    for name in ("a.gif", "a.webp", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert close(read_image(tmp_path / name)[0][10, 10], COLOURS[0], 2)


def test_large_jpeg_is_decoded_reduced_and_says_so(tmp_path):
    chart(6000, 4000).save(tmp_path / "a.jpg")
    image, scale = read_image(tmp_path / "a.jpg")
    assert scale == 4.0
    assert image.shape == (1000, 1500, 3)
    assert read_image(tmp_path / "a.jpg", max_side=None)[0].shape == (4000, 6000, 3)
    chart(6000, 4000).save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=[chart()])
    assert read_image(tmp_path / "b.jpg")[1] == 4.0


def test_a_photo_is_decoded_finer_where_it_has_more_to_show(tmp_path):
    chart(6000, 4000).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    for source in (tmp_path / "a.jpg", content, io.BytesIO(content)):
        photo = read_photo(source)
        assert photo.scale == 4
        assert read_finer(photo, 1.0) is photo
        assert [read_finer(photo, factor).scale for factor in (1.5, 2.0, 2.1, 50)] == [2, 2, 1, 1]
        assert read_finer(photo, 2.0).image.shape == (2000, 3000, 3)
    whole = read_photo(tmp_path / "a.jpg", max_side=None)
    assert read_finer(whole, 2.0) is whole
    array = read_photo(np.zeros((9, 9, 3), np.uint8))
    assert read_finer(array, 2.0) is array
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(PhotoError, match=r"^no such file$"):
        read_finer(photo._replace(file=tmp_path / "a.jpg"), 2.0)


def test_twelve_bit_greys_are_as_bright_as_sixteen(tmp_path):
    gray = np.tile(np.linspace(0, 1, 64), (8, 1))
    for bits in (12, 16):
        Image.fromarray((gray * (2**bits - 1)).astype(np.uint16)).save(tmp_path / f"{bits}.png")
        assert close(read_image(tmp_path / f"{bits}.png")[0][4, :, 0], gray[4] * 255, 2)


def jpeg(picture: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_last_bytes_is_read_with_a_warning(hopper, progressive):
    picture = Image.open(hopper)
    whole = jpeg(picture, quality=90, progressive=progressive)
    pixels = np.asarray(Image.open(io.BytesIO(whole))).astype(int)
    assert read_photo(whole).warning is None
    for missing in (2, 100):
        photo = read_photo(whole[:-missing])
        assert photo.warning.startswith("the file is cut off, ")
        assert photo.image.shape == pixels.shape
        assert (np.abs(photo.image - pixels).max(2) > 20).mean() < 0.02
    for share in (0.5, 0.75):
        with pytest.raises(PhotoError, match="truncated"):
            read_photo(whole[: int(share * len(whole))])


def test_restart_markers_do_not_hide_what_is_missing(hopper):
    """A decoder passes over everything until the next marker, noise included."""
    whole = jpeg(Image.open(hopper).convert("RGB").resize((800, 936)), quality=90, restart_marker_rows=1)
    assert read_photo(whole[:-100]).warning.startswith("the file is cut off")
    for share in (0.2, 0.5, 0.7, 0.85):
        with pytest.raises(PhotoError, match="truncated"):
            read_photo(whole[: int(share * len(whole))])


@pytest.mark.parametrize("orientation", [1, 6])
def test_odd_exif_data_do_not_make_a_photo_damaged(tmp_path, orientation):
    """A resolution, tag 0x11A, of four bytes where a fraction belongs."""
    entries = [(0x0112, 3, 1, orientation.to_bytes(2, "big") + b"\0\0"), (0x011A, 1, 4, b"\1\2\3\4")]
    ifd = len(entries).to_bytes(2, "big")
    for tag, kind, count, value in entries:
        ifd += tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + count.to_bytes(4, "big") + value
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08" + ifd + bytes(4)
    chart().save(tmp_path / "a.jpg", exif=exif, quality=95)
    image, _ = read_image(tmp_path / "a.jpg")
    assert image.shape == ((60, 80, 3) if orientation == 1 else (80, 60, 3))


def test_threads_may_share_a_picture_that_is_not_loaded(hopper):
    pixels = np.asarray(Image.open(hopper))
    for _ in range(4):
        picture = Image.open(hopper)
        with ThreadPoolExecutor(8) as pool:
            assert all((photo.image == pixels).all() for photo in pool.map(read_photo, [picture] * 8))


def test_a_smooth_jpeg_cut_in_half_is_an_error_too():
    """Its lower half takes few bytes: what is missing is counted in pixels, not in bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    noise[150:] = 200
    noise[150:, ::40] = 60
    whole = jpeg(Image.fromarray(noise))
    upper = jpeg(Image.fromarray(noise[:150]))
    with pytest.raises(PhotoError, match="truncated"):
        read_photo(whole[: len(upper)])


def test_a_jpeg_beyond_the_limit_is_decoded_at_reduced_scale(monkeypatch, tmp_path):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000_000)  # doubled, Pillow's limit for refusing
    chart(6000, 4000).save(tmp_path / "a.jpg")
    for source in (tmp_path / "a.jpg", (tmp_path / "a.jpg").read_bytes()):
        image, scale = read_image(source)
        assert (image.shape, scale) == ((1000, 1500, 3), 4.0)
        assert close(corners(image), COLOURS)
    for name, options in (("b.png", {}), ("c.jpg", {"progressive": True})):  # need memory for all of their pixels
        chart(6000, 4000).save(tmp_path / name, **options)
        with pytest.raises(PhotoError, match="refused, more than 8 megapixels"):
            read_image(tmp_path / name)
    monkeypatch.setattr(photos, "MAX_JPEG_PIXELS", 20_000_000)
    with pytest.raises(PhotoError, match="refused"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.heic", "a.jpg", "a"])
def test_heic_is_known_by_its_content(tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60))
    with pytest.raises(PhotoError, match="pip install pillow-heif"):
        read_image(tmp_path / name)
    (tmp_path / "text.heic").write_text("this is no picture at all")
    with pytest.raises(PhotoError, match="not a picture"):
        read_image(tmp_path / "text.heic")


# ------------------------------------------------------------------------------------------------ arrays


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: a.astype(np.uint16) * 257,
        lambda a: (a.astype(np.uint16) * 257).astype(">u2"),
        lambda a: a / 255,
        lambda a: (a / 255).astype(np.float16),
        lambda a: a.astype(np.float32),
        lambda a: np.dstack([a, np.full(a.shape[:2], 255, np.uint8)]),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
        lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
        lambda a: np.frombuffer(a.tobytes(), np.uint8).reshape(a.shape),  # read-only
    ],
)
def test_arrays_of_many_kinds_are_the_same_picture(change):
    pixels = np.asarray(chart())
    image = as_image(change(pixels))
    assert (image.dtype, image.shape) == (np.uint8, (60, 80, 3))
    assert image.flags.c_contiguous
    assert close(image, pixels, 1)


def test_grey_arrays_and_transparent_ones():
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for array in (gray, gray[..., None]):
        assert (as_image(array) == gray[..., None]).all()
    assert as_image(gray > 20)[0, 0].tolist() == [0, 0, 0]
    assert as_image(gray > 20)[5, 7].tolist() == [255, 255, 255]
    clear = np.zeros((2, 2, 4), np.uint8)
    assert (as_image(clear) == 255).all()


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((2, 4, 4, 3), np.uint8), "shape"),
        (np.zeros(9, np.uint8), "shape"),
        (np.zeros((0, 5, 3), np.uint8), "empty"),
        (np.zeros((0, 0)), "empty"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), complex), "complex128"),
        (np.full((4, 4), np.nan), "nan"),
        (np.full((4, 4), 300.0), "300"),
        (np.full((4, 4), -0.5), "-0.5"),
        (np.array([["a"]]), "<U1"),
    ],
)
def test_other_arrays_are_one_clear_type_error(array, word):
    with pytest.raises(TypeError, match=r"^not a photo: ") as caught:
        as_image(array)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_kind_of_source_is_the_same_picture(tmp_path):
    path = tmp_path / "a.png"
    chart().save(path)
    pixels = np.asarray(chart())
    with open(path, "rb") as file:
        sources = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), file, Image.open(path), pixels]
        assert all((read_photo(source).image == pixels).all() for source in sources)
    for source in (7, None, {"path": path}, [path]):
        with pytest.raises(TypeError, match="not a photo: "):
            read_photo(source)
    with open(__file__) as text, pytest.raises(TypeError, match='mode "rb"'):
        read_photo(text)


# ---------------------------------------------------------------------------------------------- bad files


def bad_files(folder) -> dict[str, str]:
    """Broken files of every kind, and a word of the message each must give."""
    chart(400, 300).save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    chart(400, 300).save(folder / "whole.png")
    png = (folder / "whole.png").read_bytes()
    (folder / "text.jpg").write_text("this is not a picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "header.jpg").write_bytes(whole[:10])
    (folder / "cut.png").write_bytes(png[: len(png) // 2])
    bomb = bytearray(png)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height in the IHDR chunk ...
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")  # ... and its checksum
    (folder / "bomb.png").write_bytes(bomb)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    return {
        "text.jpg": "not a picture",
        "empty.jpg": "empty",
        "cut.jpg": "truncated",
        "header.jpg": "picture",
        "cut.png": "damaged",
        "bomb.png": "refused",
        "loop.jpg": "symbolic links",
        "pipe.jpg": "not a regular file",
        "folder.jpg": "folder",
        "gone.jpg": "no such file",
    }


def test_every_bad_file_is_one_line(tmp_path):
    for name, word in bad_files(tmp_path).items():
        with pytest.raises(PhotoError) as caught:
            read_image(tmp_path / name)
        assert word in str(caught.value), name
        assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------- what damaged files have brought up


def test_a_picture_that_is_a_program_does_not_run(tmp_path, monkeypatch):
    """Pillow starts Ghostscript to read PostScript, whatever the file is called."""
    chart().save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    for name in ("run", "call", "check_call", "Popen"):
        monkeypatch.setattr(subprocess, name, lambda *_, **__: pytest.fail("a program was started"))
    for source in (tmp_path / "a.jpg", (tmp_path / "a.jpg").read_bytes()):
        with pytest.raises(PhotoError, match=r"^EPS is a program that draws, not a picture: save it as PNG or JPEG$"):
            read_photo(source)


def test_a_jpeg_that_is_drawn_over_and_over_is_refused(tmp_path):
    whole = jpeg(chart(2000, 2000), progressive=True)
    start = whole.rfind(b"\xff\xda")
    first, scan = whole[:start], whole[start:-2]
    (tmp_path / "a.jpg").write_bytes(first + 5000 * scan + whole[-2:])
    for source in (tmp_path / "a.jpg", (tmp_path / "a.jpg").read_bytes()):
        with pytest.raises(PhotoError, match=r"^refused, its 2000 x 2000 pixels are drawn 5,\d\d\d times over$"):
            read_photo(source)
    assert (read_photo(first + 20 * scan + whole[-2:]).image == read_photo(whole).image).all()


def test_scans_of_a_jpeg_that_is_not_progressive_are_counted_too():
    """Its components one after the other, which Pillow cannot write: a grey one, whose scan is there once for each."""
    whole = jpeg(chart(2000, 2000).convert("L"))
    header, start = whole.find(b"\xff\xc0"), whole.find(b"\xff\xda")
    components = b"\1\x11\0\2\x11\0\3\x11\0"
    frame = b"\xff\xc0\0\x11" + whole[header + 4 : header + 9] + b"\3" + components
    scan = whole[start:-2]
    several = [scan[:5] + bytes([number]) + scan[6:] for number in (1, 2, 3)]
    head = whole[:header] + frame + whole[header + 13 : start]
    assert (read_photo(head + b"".join(several) + whole[-2:]).image.std() > 0).all()
    with pytest.raises(PhotoError, match="times over"):
        read_photo(head + b"".join(several) * 500 + whole[-2:])


@pytest.mark.parametrize("compression", ["group4", "tiff_adobe_deflate", "tiff_lzw"])
def test_libtiff_says_nothing_beside_the_one_line(capfd, compression):
    """Of itself it prints what is wrong with a file, line after line."""
    buffer = io.BytesIO()
    Image.fromarray(np.tile(np.array([0, 1, 1, 0], bool), (90, 25))).save(buffer, "TIFF", compression=compression)
    content = bytearray(buffer.getvalue())
    with Image.open(buffer) as picture:
        start = picture.tag_v2[273][0]  # of its only strip
    content[start : start + 12] = bytes(range(12))
    with pytest.raises(PhotoError, match=r"^damaged picture: .*$"):
        read_photo(bytes(content))
    assert capfd.readouterr() == ("", "")


def test_floats_of_any_size_are_greys_without_a_warning(tmp_path):
    most = np.finfo(np.float32).max
    Image.fromarray(np.array([[-most, 0, most, np.inf, np.nan]], np.float32)).save(tmp_path / "a.tiff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.tiff")[0][0, :, 0].tolist() == [0, 127, 255, 255, 0]


def test_what_pillow_logs_stays_off_stderr(capfd):
    code = (
        "import glasses.photos, logging; logging.getLogger('PIL.TiffImagePlugin').error('more samples than it reads')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert capfd.readouterr().err == ""


def test_what_is_put_in_place_of_a_missing_end_is_not_many_times_the_file(hopper):
    """A few bytes between markers, or a file that has none though it says so."""
    picture = Image.open(hopper).convert("RGB").resize((1000, 1172))
    whole = jpeg(picture, restart_marker_blocks=1)
    for content in (whole[: int(0.97 * len(whole))], jpeg(picture)[:-100]):
        if content not in whole:
            content = content.replace(b"\xff\xda", b"\xff\xdd\0\4\xff\xff\xff\xda", 1)
        noise = photos._noise_after(content, content.rfind(b"\xff\xda"))
        assert len(content) < 16 * len(noise) < 16 * 60 * len(content)
        assert read_photo(content).warning.startswith("the file is cut off")


def test_a_few_bytes_of_a_jpeg_with_restart_markers_that_claims_to_be_huge():
    whole = bytearray(jpeg(chart(400, 300), restart_marker_blocks=1))
    header = whole.find(b"\xff\xc0")
    whole[header + 5 : header + 9] = (12_000).to_bytes(2, "big") * 2
    with pytest.raises(PhotoError, match="truncated, too much of it is missing"):
        read_photo(bytes(whole[:-2]))
