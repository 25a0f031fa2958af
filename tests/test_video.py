"""Films are read as they are shown, whole or as far as they go, and written with their times and their sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from films import RATE, packets, tone_frame, write
from glasses.video import Film, FilmWriter, VideoError, WriteError, clock

CORNERS = ((200, 40, 40), (40, 190, 60), (40, 60, 200), (220, 210, 60))  # top left, top right, bottom left, right


def quarters(width: int = 64, height: int = 48) -> np.ndarray:
    """(H, W, 3) uint8 with a colour in each quarter."""
    image = np.zeros((height, width, 3), np.uint8)
    halves = [(slice(0, height // 2), slice(height // 2, height)), (slice(0, width // 2), slice(width // 2, width))]
    for number, colour in enumerate(CORNERS):
        image[halves[0][number // 2], halves[1][number % 2]] = colour
    return image


def corners(image: np.ndarray) -> np.ndarray:
    """(4, 3) the colours in the middle of the quarters."""
    height, width = image.shape[:2]
    return np.array([image[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)], int)


def noise(count: int, side: int = 160) -> list[np.ndarray]:
    """Frames that no codec makes small."""
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8))


def read(path: Path) -> tuple[list, Film]:
    film = Film(path)
    frames = [(frame.time, frame.image()) for frame in film.frames()]
    film.close()
    return frames, film


def copy(source: Path, target: Path) -> list[str]:
    """Write a film anew as it is; what the writer warns of."""
    film = Film(source)
    writer = FilmWriter(target, target.suffix, film)
    for frame in film.frames(writer.sound):
        writer.write(frame.image(), frame.pts)
    writer.close()
    film.close()
    return writer.warnings


# ------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_films_are_upright(tmp_path, rotation):
    path = write(tmp_path / "a.mp4", [quarters()] * 3, rotation=rotation)
    frames, _ = read(path)
    expected = np.rot90(quarters(), rotation // 90)
    assert all(image.shape == expected.shape for _, image in frames)
    assert corners(frames[-1][1]) == pytest.approx(corners(expected), abs=12)


def test_times_are_those_of_the_film(tmp_path):
    times = [0, 40, 70, 300, 310, 1200, 1201, 2000]
    for name in ("a.mp4", "a.mkv"):
        frames, film = read(write(tmp_path / name, [quarters()] * len(times), times))
        assert [time for time, _ in frames] == pytest.approx([time / 1000 for time in times], abs=6e-4)
        assert film.warnings == []


def test_no_two_frames_have_one_time(tmp_path):
    """Which a file may say, but none that is written may."""
    source, whole = tmp_path / "a.mkv", tmp_path / "whole.mkv"
    write(whole, [quarters()] * 5, codec="mjpeg", pixels="yuvj420p")
    with av.open(str(whole)) as film, av.open(str(source), "w") as doubled:
        stream = doubled.add_stream_from_template(film.streams.video[0])
        for packet, time in zip(film.demux(video=0), [0, 40, 40, 80, 120], strict=False):
            packet.pts = packet.dts = time
            packet.stream = stream
            doubled.mux(packet)
    times = [time for time, _ in read(source)[0]]
    assert times == pytest.approx([0, 0.04, 0.041, 0.08, 0.12])
    copy(source, tmp_path / "b.mp4")
    assert len(read(tmp_path / "b.mp4")[0]) == 5


def test_a_transport_stream_begins_at_zero(tmp_path):
    """Its own clock does not; B-frames come in another order than they are shown in."""
    path = write(tmp_path / "a.ts", [quarters()] * 20, sound="aac")
    with av.open(str(path)) as raw:
        assert raw.start_time > 0.04 * av.time_base
    frames, _ = read(path)
    times = [time for time, _ in frames]
    assert times[0] == pytest.approx(0, abs=0.05)
    assert np.diff(times) == pytest.approx(np.full(19, 0.04), abs=1e-4)


def test_frames_without_times_follow_each_other(tmp_path):
    path = write(tmp_path / "a.h264", [quarters()] * 10, options={"bf": "0"})
    frames, film = read(path)
    assert len(frames) == 10
    assert np.diff([time for time, _ in frames]) == pytest.approx(np.full(9, float(1 / film.rate)), rel=0.01)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("ten_bits.mkv", "ffv1", "yuv420p10le", {}),
        ("no_subsampling.mkv", "ffv1", "yuv444p", {}),
        ("grey.mkv", "ffv1", "gray", {}),
        ("full_range.mkv", "mjpeg", "yuvj420p", {}),
        ("alpha.mov", "qtrle", "argb", {}),
        ("vp9.webm", "libvpx-vp9", "yuv420p", {}),
        ("interlaced.mp4", "h264", "yuv420p", {"flags": "+ildct+ilme", "x264-params": "tff=1"}),
        ("old.avi", "mpeg4", "yuv420p", {"qscale": "2"}),
        ("moving.gif", "gif", "rgb8", {}),
    ],
)
def test_all_kinds_of_pixels(tmp_path, name, codec, pixels, options):
    images = [quarters(128, 96)] * 4
    if pixels == "argb":
        images = [np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]) for image in images]
    frames, film = read(write(tmp_path / name, images, [0, 40, 80, 120], codec, pixels, options=options))
    assert (len(frames), film.warnings) == (4, [])
    image = frames[-1][1]
    assert (image.shape, image.dtype) == ((96, 128, 3), np.uint8)
    seen, wanted = corners(image), corners(images[0][..., :3])
    if pixels == "gray":
        seen, wanted = seen.mean(1), (wanted * [0.299, 0.587, 0.114]).sum(1)
    assert seen == pytest.approx(wanted, abs=64 if pixels == "rgb8" else 14)


@pytest.mark.parametrize("size", [(639, 481), (2, 2), (65, 48)])
def test_odd_sizes_and_single_frames(tmp_path, size):
    path = write(tmp_path / "a.mkv", [quarters(*size)], codec="ffv1", pixels="yuv444p")
    (frame,), film = read(path)
    assert frame[1].shape == (size[1], size[0], 3)
    assert film.warnings == []
    copy(path, tmp_path / "b.mp4")
    (again,), _ = read(tmp_path / "b.mp4")
    even = [side + side % 2 for side in size]
    assert again[1].shape == (even[1], even[0], 3)
    if min(size) > 2:
        assert corners(again[1]) == pytest.approx(corners(frame[1]), abs=12)


@pytest.mark.parametrize(("name", "container"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {}), ("a.avi", {})])
def test_a_cut_film_is_read_to_its_end(tmp_path, name, container):
    codec = "mpeg4" if name == "a.avi" else "h264"
    path = write(tmp_path / name, noise(75), codec=codec, container=container)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    frames, film = read(path)
    assert 25 <= len(frames) <= 45
    (warning,) = film.warnings
    assert warning.startswith("the film is cut off or damaged, it ends at 0:01")
    assert warning.endswith(" of 0:03.0")


def test_a_film_whose_middle_is_damaged(tmp_path):
    path = write(tmp_path / "a.mp4", noise(50), options={"g": "10"})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200_000] = bytes(200_000)
    path.write_bytes(content)
    frames, film = read(path)
    assert 30 <= len(frames) < 50
    assert frames[-1][0] > 1.9
    assert len(film.warnings) == 1
    assert "damaged in" in film.warnings[0]


def refused(path: Path) -> str:
    with pytest.raises(VideoError) as caught:
        list(Film(path).frames())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_film_says_so(tmp_path):
    def file(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    whole = write(tmp_path / "whole.mp4", noise(10)).read_bytes()
    Image.fromarray(quarters()).save(tmp_path / "photo.png")
    Image.fromarray(quarters()).save(tmp_path / "photo.jpg")
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as sound:
        tone = sound.add_stream("aac", rate=RATE, layout="stereo")
        sound.mux(tone.encode(tone_frame(0, RATE)))
        sound.mux(tone.encode(None))
    assert refused(file("text.mp4", b"no film at all\n" * 40)) == "not a film in a format FFmpeg reads"
    assert refused(file("text.txt", b"no film at all\n" * 40)) == "not a film in a format FFmpeg reads"
    assert refused(file("empty.mp4", b"")) == "the file is empty"
    assert refused(file("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")).startswith("not a film")
    segment = write(tmp_path / "elsewhere.ts", noise(10))
    for name, text in (
        ("list.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile://{segment}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", f"ffconcat version 1.0\nfile {segment.name}\n"),
    ):
        assert refused(file(name, text.encode())).startswith("not a film"), "it names another file"
    assert "its index is missing" in refused(file("cut.mp4", whole[: len(whole) // 2]))
    with av.open(str(tmp_path / "cover.mp3"), "w") as sound:
        tone, cover = sound.add_stream("libmp3lame", rate=RATE, layout="stereo"), sound.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound.mux(cover.encode(av.VideoFrame.from_ndarray(quarters(), format="rgb24")))
        for stream, last in ((cover, None), (tone, tone_frame(0, RATE)), (tone, None)):
            sound.mux(stream.encode(last))
    for name in ("sound.m4a", "cover.mp3"):
        assert refused(tmp_path / name) == "holds sound, but no film"
    for name in ("photo.png", "photo.jpg"):
        assert "`glasses predict`" in refused(tmp_path / name)
    assert refused(tmp_path) == "a folder, not a film"
    assert refused(tmp_path / "missing.mp4") == "no such file"
    assert refused(tmp_path / "http:" / "x") == "no such file"


def test_a_film_of_which_nothing_is_left(tmp_path):
    path = write(tmp_path / "a.mp4", noise(20), container={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 100])
    assert refused(path).startswith("no picture of this film can be decoded")


def test_a_name_with_a_colon_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.mp4", [quarters()] * 2).rename("http:film.mp4")
    assert len(read(Path("http:film.mp4"))[0]) == 2
    assert copy(Path("http:film.mp4"), Path("pipe:1.mp4")) == []
    assert Path("pipe:1.mp4").stat().st_size > 500


def test_a_title_that_is_not_utf_8(tmp_path):
    write(tmp_path / "a.mkv", [quarters()] * 2)
    with (
        av.open(str(tmp_path / "a.mkv")) as film,
        av.open(str(tmp_path / "b.mkv"), "w", metadata_encoding="latin-1") as other,
    ):
        stream = other.add_stream_from_template(film.streams.video[0])
        other.metadata["title"] = "Été"
        for packet in film.demux():
            if packet.size:
                packet.stream = stream
                other.mux(packet)
    assert b"\xc9t\xe9" in (tmp_path / "b.mkv").read_bytes()
    assert len(read(tmp_path / "b.mkv")[0]) == 2


# ------------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("target", ["b.mp4", "b.m4v", "b.mov", "b.mkv"])
def test_the_sound_is_kept_bit_for_bit(tmp_path, target):
    source = write(tmp_path / "a.mp4", noise(50, 64), sound="aac")
    assert copy(source, tmp_path / target) == []
    assert packets(tmp_path / target) == packets(source)
    assert len(packets(source)) > 90


def tone_of(path: Path) -> tuple[np.ndarray, float]:
    """The sound, and the second at which it begins beside the pictures."""
    with av.open(str(path)) as film:
        frames = list(film.decode(audio=0))
        start = frames[0].time
    with av.open(str(path)) as film:
        first = next(film.decode(video=0))
    return np.concatenate([frame.to_ndarray().astype(float)[0] for frame in frames]), start - first.time


def test_sound_that_the_file_does_not_take_is_encoded_anew(tmp_path):
    source = write(tmp_path / "a.mp4", noise(50, 64), sound="aac")
    assert copy(source, tmp_path / "b.webm") == []
    (before, _), (after, start) = tone_of(source), tone_of(tmp_path / "b.webm")
    assert abs(start) < 0.05
    assert len(after) == pytest.approx(len(before), abs=4800)
    spectra = [np.abs(np.fft.rfft(wave[20_000:60_000])) for wave in (before, after)]
    assert np.corrcoef(*spectra)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("sound", "target", "kept"),
    [
        ("pcm_s16le", "b.mp4", True),
        ("libmp3lame", "b.mov", True),
        ("libopus", "b.mp4", True),
        ("libopus", "b.mov", False),
        ("flac", "b.mov", False),
        ("flac", "b.mkv", True),
        ("ac3", "b.webm", False),
    ],
)
def test_each_sound_is_kept_in_each_file(tmp_path, sound, target, kept):
    """As it is where the file takes it, which some kinds of file know only when they begin to be written."""
    source = write(tmp_path / "a.mkv", noise(50, 64), sound=sound)
    assert copy(source, tmp_path / target) == []
    assert (b"".join(packets(tmp_path / target)) == b"".join(packets(source))) == kept
    assert abs(tone_of(tmp_path / target)[1]) < 0.05
    with av.open(str(tmp_path / target)) as film:
        assert sum(frame.samples for frame in film.decode(audio=0)) == pytest.approx(2 * RATE, abs=2000)


def test_sound_that_is_told_twice_is_written_once(tmp_path):
    """A stretch of a broadcast that comes again, whose times go back."""
    content = write(tmp_path / "a.ts", noise(20, 64), sound="aac").read_bytes()
    middle, end = (len(content) // 188 * share // 4 * 188 for share in (2, 3))
    (tmp_path / "twice.ts").write_bytes(content[:end] + content[middle:])
    assert copy(tmp_path / "twice.ts", tmp_path / "b.mkv") == []
    assert copy(tmp_path / "twice.ts", tmp_path / "b.webm") == []
    kept, all_of_them = packets(tmp_path / "b.mkv"), packets(tmp_path / "a.ts")
    assert 0.8 * len(all_of_them) < len(kept) <= len(all_of_them)


def test_damaged_sound_is_passed_over(tmp_path):
    source = write(tmp_path / "a.ts", noise(20, 64), sound="aac")
    film = Film(source)
    writer = FilmWriter(tmp_path / "b.mkv", ".mkv", film)

    def sound(packet) -> None:
        damaged = av.Packet(bytes(50))
        damaged.stream, damaged.time_base = film.sounds[0], packet.time_base
        damaged.pts = damaged.dts = packet.dts + 1
        writer.sound(packet)
        writer.sound(damaged)

    for frame in film.frames(sound):
        writer.write(frame.image(), frame.pts)
    writer.close()
    assert len(packets(tmp_path / "b.mkv")) == len(packets(source))


def test_sound_whose_channels_change(tmp_path):
    """As from a film to the news in a broadcast."""
    parts = [
        write(tmp_path / f"{n}.ts", noise(25, 64), sound="aac", layout=n, container={"output_ts_offset": str(start)})
        for start, n in enumerate(("stereo", "mono"))
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert copy(tmp_path / "a.ts", tmp_path / "b.webm") == []
    with av.open(str(tmp_path / "b.webm")) as film:
        assert sum(frame.samples for frame in film.decode(audio=0)) == pytest.approx(2 * RATE, abs=4000)


def test_sound_and_pictures_stay_together(tmp_path):
    """Also where the film's clock does not begin at zero."""
    source = write(tmp_path / "a.ts", noise(50, 64), sound="aac")
    copy(source, tmp_path / "b.mp4")
    assert tone_of(tmp_path / "b.mp4")[1] == pytest.approx(tone_of(source)[1], abs=0.03)
    assert packets(tmp_path / "b.mp4")


def test_times_are_kept(tmp_path):
    times = [0, 40, 70, 300, 310, 1200, 1201, 2000]
    source = write(tmp_path / "a.mkv", [quarters()] * len(times), times)
    for name in ("b.mp4", "b.mkv", "b.mov", "b.webm"):
        copy(source, tmp_path / name)
        assert [time for time, _ in read(tmp_path / name)[0]] == pytest.approx([t / 1000 for t in times], abs=2e-3)


def test_a_turned_film_is_written_upright(tmp_path):
    source = write(tmp_path / "a.mp4", [quarters()] * 3, rotation=90)
    copy(source, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as film:
        frame = next(film.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (48, 64, 0)
        assert corners(frame.to_ndarray(format="rgb24")) == pytest.approx(corners(np.rot90(quarters())), abs=12)


@pytest.mark.parametrize("matrix", [1, 5, None])
def test_colours_are_kept(tmp_path, matrix):
    """Of films in the matrix of high definition, of the old one, and of those that do not say."""
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as film:
        stream = film.add_stream("h264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if matrix:
            stream.codec_context.colorspace = matrix
        frame = av.VideoFrame.from_ndarray(quarters(), format="rgb24")
        film.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix or 5, dst_color_range=1)))
        film.mux(stream.encode(None))
    copy(source, tmp_path / "b.mp4")
    for path in (source, tmp_path / "b.mp4"):
        frames, film = read(path)
        assert corners(frames[0][1]) == pytest.approx(corners(quarters()), abs=12)
        assert film.colours["colorspace"] == (matrix or 2)


@pytest.mark.parametrize(("rotation", "aspect"), [(0, Fraction(16, 11)), (90, Fraction(11, 16))])
def test_pixels_that_are_not_square_stay_so(tmp_path, rotation, aspect):
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as film:
        stream = film.add_stream("h264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        stream.set_display_rotation(rotation)
        film.mux(stream.encode(av.VideoFrame.from_ndarray(quarters(), format="rgb24")))
        film.mux(stream.encode(None))
    copy(source, tmp_path / "b.mp4")
    assert Film(tmp_path / "b.mp4").aspect == aspect


def test_a_full_disk_is_told():
    writer = FilmWriter(Path("/dev/full"), ".mkv")
    with pytest.raises(WriteError, match=r"^No space left on device$"):
        [writer.write(image, number * 3600) for number, image in enumerate(noise(200))]
    writer.discard()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (3.24, "0:03.2"), (59.96, "1:00.0"), (754.5, "12:34.5"), (3600, "1:00:00.0")]
)
def test_times_as_people_read_them(seconds, text):
    assert clock(seconds) == text
