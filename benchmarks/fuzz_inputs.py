"""What else does the project read, and what would a hostile one be?  Networks, weights, tables, lists, archives, films,
forms and frames: whole ones, hostile ones, and how each is read; no command, benchmarks.fuzz is.

Each `read_...` reads a file as the project does and returns "answered" or, where the project refuses it by the error
that it promises, its line as the command prints it. Any other exception is a fault.
"""

import csv
import io
import json
import logging
import os
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks import fuzz_files
from benchmarks.fuzz_files import Change, saved
from glasses.classifiers import CLASSIFIERS
from glasses.classifiers import WEIGHTS as ONNX_WEIGHTS
from glasses.output import one_line

ROOT = Path(__file__).parents[1]

ANSWERED = "answered"
OFTEN = 8  # the whole network is among its files, since there are many hostile ones
FRAMES = 20  # of a film that are looked at
OUTSIDE = "outside"  # the folder beside that of a case, with files that nothing may read
BOUNDARY = b"a-boundary"

Files = Iterator[tuple[str, bytes]]


class Kind(NamedTuple):
    """A kind of input: its whole and hostile files, how one is called and read, and what damages it."""

    files: Callable[[], Files]
    name: str
    read: Callable[[Path, bytes], str]
    changes: tuple[Change, ...]


# ------------------------------------------------------------------------------------------------------ networks


def networks() -> Files:
    import onnx
    from onnx import TensorProto

    path = ONNX_WEIGHTS / f"{CLASSIFIERS[0]}.onnx"
    for _ in range(OFTEN):
        yield "network", path.read_bytes()

    def changed(change: Callable[[onnx.ModelProto], None]) -> bytes:
        model = onnx.load(path)
        change(model)
        return model.SerializeToString()

    def outside(location: str) -> Callable[[onnx.ModelProto], None]:
        def change(model: onnx.ModelProto) -> None:
            largest = max(model.graph.initializer, key=lambda one: len(one.raw_data))
            length = len(largest.raw_data)
            largest.ClearField("raw_data")
            largest.data_location = TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
                largest.external_data.add(key=key, value=value)

        return change

    for location in (f"../{OUTSIDE}/data.bin", "../../../../etc/passwd", "/etc/passwd", "/proc/self/mem", "link.bin"):
        yield "network, data outside", changed(outside(location))
    for dims in ([2**40], [2**31, 2**31], [-1]):
        yield "network, a huge tensor", changed(lambda model, dims=dims: model.graph.initializer[0].dims.extend(dims))
    yield "network, another opset", changed(lambda model: setattr(model.opset_import[0], "version", 9999))
    yield "network, another format", changed(lambda model: setattr(model, "ir_version", 9999))
    yield "network, an unknown operator", changed(lambda model: setattr(model.graph.node[0], "op_type", "System"))
    yield "network, a domain of its own", changed(lambda model: setattr(model.graph.node[0], "domain", "evil"))
    yield "network, other outputs", changed(lambda model: model.graph.output.pop(0))
    deep = "[" * 100_000
    for key, value in (
        ("crop", deep),
        ("crop", "[1e9, 1e9, 1]"),
        ("crop", '["a", "b", "c"]'),
        ("crop", "[-96, -64, 36]"),
        ("threshold", "NaN"),
        ("threshold", "1e999"),
        ("kinds", "7"),
    ):

        def change(model: onnx.ModelProto, key: str = key, value: str = value) -> None:
            next(one for one in model.metadata_props if one.key == key).value = value

        yield "network, metadata", changed(change)


def read_network(file: Path, content: bytes) -> str:
    """As `--model FILE.onnx` is, for one face."""
    from glasses.classifiers import open_network

    file.write_bytes(content)
    link = file.with_name("link.bin")
    if not link.is_symlink():
        link.symlink_to(f"../{OUTSIDE}/data.bin")
    try:
        network = open_network(file)
    except (ImportError, ValueError, OSError) as error:
        return one_line(str(error))
    crop = np.zeros((1, network.crop.height, network.crop.width, 3), np.uint8)
    probabilities = network(crop)
    assert probabilities.shape == (1, 4), probabilities.shape
    assert np.isfinite(probabilities).all(), probabilities
    return ANSWERED


def weights() -> Files:
    path = ROOT / "weights" / f"{CLASSIFIERS[0]}.safetensors"
    whole = path.read_bytes()
    (length,) = struct.unpack_from("<Q", whole)
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    for _ in range(OFTEN):
        yield "weights", whole

    def written(header: object, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    first, second = [name for name in header if name != "__metadata__"][:2]
    overlapping, end = header[second]["data_offsets"], len(data)
    for offsets in ([0, 2**63], [-1, 4], [2**63 - 1, 2**63], [end, end + 4], [8, 4], overlapping):
        yield "weights, offsets", written(header | {first: header[first] | {"data_offsets": offsets}})
    for shape in ([2**40], [-1], [2**63, 2**63]):
        yield "weights, a huge tensor", written(header | {first: header[first] | {"shape": shape}})
    for said in (2**63, 2**64 - 1, 99_000_000, 0):
        yield "weights, a huge header", written(header, said)
    yield "weights, deep", written(b'{"a":' * 100_000)
    for key, value in (("widths", "[1000000000]"), ("crop", "[1, 2]"), ("architecture", "[]"), ("crop", "[" * 100_000)):
        metadata = header["__metadata__"] | {key: value}
        yield "weights, metadata", written(header | {"__metadata__": metadata})
    pickle = b"\x80\x04cos\nsystem\n(S'true'\ntR."
    yield "weights, a pickle", pickle
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle)
    yield "weights, a checkpoint", archive.getvalue()


def read_weights(file: Path, content: bytes) -> str:
    """As the course's `--model FILE.safetensors` is."""
    from models import load_classifier

    file.write_bytes(content)
    try:
        with warnings.catch_warnings(action="ignore"):  # of torch, where a layer of no weights is asked for
            load_classifier(file, "cpu")
    except (ValueError, OSError) as error:
        return one_line(str(error))
    return ANSWERED


# -------------------------------------------------------------------------------------------- tables and lists

TOKENS = (b'"', b"\n", b"\r", b",", b";", b"\t", b"\0", b"\xff", b"\\", b'""', b"\xef\xbb\xbf", b"path", b"=1+1", b"-1")
TOKENS += (b"x" * 200_000, b"\n" * 999, b"9" * 5000, b"../../etc/passwd", "\u2028\u200f".encode(), b"\xed\xa0\x80")


def token(rng: random.Random, content: bytes) -> bytes:
    """What means something in a table stands where it should not."""
    at = rng.randrange(1 + len(content))
    return content[:at] + rng.choice(TOKENS) * rng.choice((1, 1, 2)) + content[at:]


TEXT = (token, token, fuzz_files.cut, fuzz_files.bits, fuzz_files.repeat, fuzz_files.swap, fuzz_files.insert)


def tables() -> Files:
    rows = [("file", "glasses", "kind"), ("a/é.jpg", "1", "eyeglasses"), ('b,"c".jpg', "0", "none")]
    for separator in ",;\t":
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=separator).writerows(rows)
        text = buffer.getvalue()
        yield "table", text.encode()
        yield "table", text.encode("utf-16")
    yield "list of labels", b"3\nEyeglasses Hat\na.jpg 1 -1\nb.jpg -1 1\nc.jpg 1 1\n"


def read_a_table(file: Path, content: bytes) -> str:
    """As the tables of a data set are."""
    from find_data import DataError
    from tables import read_columns, read_corrections, read_table

    text = file.with_suffix(".txt")
    file.write_bytes(content)
    text.write_bytes(content)
    said = []
    for read in (
        lambda: read_table(file, "x", ("file", "glasses"), ("kind",)),
        lambda: read_columns(text, "x", ("Eyeglasses",)),
        lambda: read_corrections(text),
    ):
        try:
            read()
            said.append(ANSWERED)
        except DataError as error:
            said.append(str(error))
    odd = [line for line in said if line != one_line(line)]
    return (odd or [line for line in said if line == ANSWERED] or said)[0]


def lists() -> Files:
    import pyarrow as pa
    import pyarrow.parquet as pq

    yield "list of photos, txt", "\r\n".join(["a.jpg", "é, b.jpg", "", "http://127.0.0.1:9/a.jpg"] * 9).encode()
    yield "list of photos, csv", b'n,path\n1,a.jpg\n2,"b, c.jpg"\n3,\n4,caf\xe9.jpg\n' * 3
    for column in (
        pa.array(["a.jpg", None, "é.jpg"] * 50),
        pa.array([b"a.jpg", b"\xff"]).dictionary_encode(),
        pa.array([1, 2]),
        pa.array([["a"]]),
        pa.array([None, None]),
    ):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"path": column, "other": column}), buffer)
        yield "list of photos, parquet", buffer.getvalue()


def read_list(file: Path, content: bytes) -> str:
    """As the list that `glasses batch` is given."""
    from glasses.batch_manifest import read_input, sort_paths

    file = file.with_suffix({b"PAR1": ".parquet", b"n,pa": ".csv"}.get(content[:4], ".txt"))
    file.write_bytes(content)
    try:
        for path in sort_paths(read_input(str(file), False), file.parent):
            assert isinstance(path, bytes)
    except (ValueError, OSError, ImportError) as error:
        return one_line(str(error))
    finally:
        for piece in file.parent.glob("[0-9].parquet"):
            piece.unlink()
    return ANSWERED


# ---------------------------------------------------------------------------------------------------- archives


def archives() -> Files:
    def packed(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return buffer.getvalue()

    needed = ("train.csv", b"id,glasses\n1,0\n")
    yield "archive", packed(needed, ("faces/a.jpg", b"x" * 3000), ("faces/b.jpg", b"y" * 3000))
    yield "archive, stored", packed(needed, ("a", b"z" * 200), method=zipfile.ZIP_STORED)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield "archive, bzip2 and lzma", packed(needed, ("a", b"z" * 200), method=method)
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    for name in ("../escaped", "/escaped", "..\\escaped", "a/../../../escaped", "C:\\escaped", "~/escaped"):
        yield "archive, names outside", packed(needed, (name, b"x"))
    yield "archive, a link", packed(needed, (link, f"../{OUTSIDE}".encode()), ("link/escaped", b"x"))
    yield "archive, twice the same", packed(needed, ("a", b"1"), ("a/b", b"2"))
    yield "archive, a bomb", packed(needed, *((f"{n}", bytes(50_000_000)) for n in range(3)))
    lie = bytearray(packed(needed, ("a", b"x" * 999)))
    struct.pack_into("<I", lie, lie.rfind(b"PK\1\2") + 24, 2**32 - 2)
    yield "archive, a size that is a lie", bytes(lie)


def read_archive(file: Path, content: bytes) -> str:
    """As the archive of a downloaded data set is."""
    from find_data import DataError, unpack

    file = file.with_suffix(".zip")
    file.write_bytes(content)
    try:
        unpack(file, file.with_name("unpacked"), ["train.csv"])
    except DataError as error:
        assert not file.with_name("unpacked").exists(), "half of it is there"
        return str(error)
    assert not any(path.is_symlink() for path in file.with_name("unpacked").rglob("*")), "a link"
    return ANSWERED


# ------------------------------------------------------------------------------------------------ films and forms


@cache
def film(name: str, codec: str, pixels: str = "yuv420p") -> bytes:
    """A second of a moving portrait."""
    import av

    image = np.asarray(fuzz_files.portrait().resize((96, 112)))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=name) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 112, pixels
        stream.codec_context.time_base = Fraction(1, 25)
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.roll(image, number, 1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def films() -> Files:
    for name, codec, pixels in (
        ("mp4", "h264", "yuv420p"),
        ("mp4", "mpeg4", "yuv420p"),
        ("mov", "mjpeg", "yuvj420p"),
        ("matroska", "vp9", "yuv420p"),
        ("webm", "vp8", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
        ("mpegts", "mpeg2video", "yuv420p"),
        ("flv", "flv1", "yuv420p"),
        ("ogg", "theora", "yuv420p"),
        ("gif", "gif", "rgb8"),
    ):
        try:
            yield f"film, {name}", film(name, codec, pixels)
        except Exception:  # an FFmpeg without this encoder
            continue
    segment = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    for place in (f"../{OUTSIDE}/film.ts", "http://127.0.0.1:9/film.ts"):
        yield "film, a list of films", segment.format(place).encode()
        yield "film, a list of films", f"ffconcat version 1.0\nfile '{place}'\n".encode()
    description = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    yield "film, a description of a stream", description


def read_film(file: Path, content: bytes) -> str:
    """As `glasses video` does, without the networks."""
    from glasses.video import Film, VideoError

    suffix = {b"#EXT": ".m3u8", b"ffco": ".ffconcat", b"v=0\n": ".sdp"}.get(content[:4], ".film")
    file = file.with_suffix(suffix)
    file.write_bytes(content)
    try:
        opened = Film(file)
    except VideoError as error:
        return str(error)
    try:
        assert opened.container.format.name not in ("hls", "concat"), "it reads other files"
        for frame in opened.frames():
            image = frame.image()
            assert image.dtype == np.uint8
            assert image.ndim == 3
            if frame.number == FRAMES:
                break
    except VideoError as error:
        return str(error)
    finally:
        opened.close()
    return ANSWERED


def forms() -> Files:
    content = saved(fuzz_files.portrait(), "JPEG")
    for names in (("a.jpg",), ("a.jpg", "b.png", "../c.jpg"), ()):
        body = b""
        for name in names:
            head = f'Content-Disposition: form-data; name="photo"; filename="{name}"\r\n\r\n'
            body += b"--" + BOUNDARY + b"\r\n" + head.encode() + content[:1500] + b"\r\n"
        yield "form", body + b"--" + BOUNDARY + b"--\r\n"


def read_form(file: Path, content: bytes) -> str:
    """As the body of a request is; answered or refused alike, whatever pieces it comes in."""
    from glasses.uploads import Limits, PhotoParser, RefusedError

    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # as `glasses serve` does
    limits, found = Limits(file=5000, files=3), []
    for size in (len(content) or 1, 7, 1):
        parser = PhotoParser(BOUNDARY, limits)
        try:
            for start in range(0, len(content), size):
                parser.write(content[start : start + size])
            found.append([(upload.name, bytes(upload.content)) for upload in parser.finish()])
        except RefusedError as error:
            found.append(error.reason)
        finally:
            parser.close()
    photos = [None if isinstance(one, str) else one for one in found]
    assert photos[0] == photos[1] == photos[2], [str(one)[:80] for one in found]
    return found[0] if isinstance(found[0], str) else ANSWERED


def frames() -> Files:
    glasses, cover = fuzz_files.portrait().convert("RGBA").resize((120, 40)), Image.new("L", (120, 40))
    cover.paste(255, (10, 5, 110, 35))
    glasses.putalpha(cover)
    for form in ("PNG", "WEBP", "GIF", "TIFF"):
        yield f"frame, {form.lower()}", saved(glasses, form)
    yield "frame, eps", saved(glasses.convert("RGB"), "EPS")
    yield "frame, a bomb", fuzz_files.flat_png(1500, 1)


def read_a_frame(file: Path, content: bytes) -> str:
    """As `glasses try-on --frame FILE` is."""
    from glasses.tryon_command import read_frame

    file.write_bytes(content)
    try:
        read_frame(os.fspath(file))
    except ValueError as error:
        return str(error)
    return ANSWERED


KINDS = {
    "networks": Kind(networks, "a.onnx", read_network, fuzz_files.CHANGES[:7]),
    "weights": Kind(weights, "a.safetensors", read_weights, (*fuzz_files.CHANGES[:7], token)),
    "tables": Kind(tables, "a.csv", read_a_table, TEXT),
    "lists": Kind(lists, "a.txt", read_list, TEXT),
    "archives": Kind(archives, "a.zip", read_archive, fuzz_files.CHANGES[:7]),
    "films": Kind(films, "a.film", read_film, (*fuzz_files.CHANGES[:7], fuzz_files.blocks, fuzz_files.blocks)),
    "forms": Kind(forms, "body", read_form, (*fuzz_files.CHANGES[:7], token)),
    "frames": Kind(frames, "frame.png", read_a_frame, fuzz_files.CHANGES),
}
