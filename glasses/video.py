"""What is in a film, and how is one written?  By FFmpeg, through PyAV, one frame after the other.

from glasses.video import Film, FilmWriter
film = Film("in.mp4")                                # raises VideoError with one line
for frame in film.frames():
    print(frame.time, frame.image().shape)           # seconds; (H, W, 3) uint8 RGB, upright
print(film.warnings)                                 # what could not be read

PyAV is an optional package: `import_av` says what to install where it is missing.
"""

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

OLDEST_PYAV = 17  # that was tried; 16 gives the colours of films in high definition wrong
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
QUALITY = {  # of the codecs that these formats take by default: near the eye's limit, as fast as that allows
    "h264": {"crf": "18", "preset": "veryfast"},
    "vp9": {"crf": "28", "b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"},
}
MATRICES = (1, 4, 5, 7, 9)  # from RGB and back, as FFmpeg numbers them
BT601 = 5  # the matrix that a film is taken to be in if it does not say
VIDEO_RANGE = 1  # black is 16, white 235
MISSING = 0.5  # seconds: a film that ends so much earlier than it says is cut off
# FFmpeg's formats that name other files or addresses, and are no film themselves: who sent the list would choose them.
LISTS = {"hls", "dash", "concat", "imf", "sdp", "rtsp", "rtp", "vobsub", "webm_dash_manifest"}
TICKS = Fraction(1, 90_000)  # seconds: of a film that has no time base of its own, as that of a camera


class VideoError(Exception):
    """A film cannot be read or written; the message is one line that says why, without the path."""


class WriteError(VideoError):
    """It is the film that is written."""


def import_av():
    """The package PyAV. Raises ImportError with one line where it is missing or too old."""
    try:
        import av
    except ImportError as error:
        raise ImportError(f"films need the package PyAV: pip install 'av>={OLDEST_PYAV}'") from error
    if int(av.__version__.split(".")[0]) < OLDEST_PYAV:
        raise ImportError(f"PyAV {av.__version__} is too old for films: pip install 'av>={OLDEST_PYAV}'")
    return av


def clock(seconds: float) -> str:
    """ "0:03.2", or from an hour on "1:00:03.2"."""
    tenths = max(0, round(10 * seconds))
    minutes, hours = tenths // 600 % 60, tenths // 36_000
    return f"{f'{hours}:{minutes:02}' if hours else minutes}:{tenths % 600 / 10:04.1f}"


def reason_of(error: Exception) -> str:
    """FFmpeg's words for what went wrong, without its numbers and paths."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


# --------------------------------------------------------------------------------------------------- reading


class FilmFrame:
    """One picture of a film, not yet converted.

    number: counted from 0. time: seconds from the film's beginning. pts: the same in the film's time base.
    """

    def __init__(self, frame, number: int, time: float, pts: int):
        self._frame, self.number, self.time, self.pts = frame, number, time, pts

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, turned upright as the film says."""
        turns = round((getattr(self._frame, "rotation", 0) or 0) / 90) % 4  # to the left
        image = self._frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


class Film:
    """The first film in a file, as a stream of frames.

    rate: mean frames a second, as far as the file knows it. time_base: seconds a step of `pts`. expected: about how
    many frames it holds, None where that is not known. sounds: PyAV's streams of sound. colours: those that the file
    names, for `FilmWriter`. warnings: what could not be read, complete when `frames` has ended.

    Raises VideoError where there is no film in the file or FFmpeg cannot read it, ImportError without PyAV.
    """

    def __init__(self, path: str | os.PathLike):
        av = import_av()
        self.container, self.warnings = _open(path), []
        cover = av.stream.Disposition.attached_pic
        pictures = [one for one in self.container.streams.video if not one.disposition & cover]
        self.sounds = list(self.container.streams.audio)
        try:
            self.stream = _check(self.container, pictures, self.sounds)
        except VideoError:
            self.container.close()
            raise
        context = self.stream.codec_context
        self.stream.thread_type = "AUTO"
        self.time_base, self.rate = self.stream.time_base, self.stream.average_rate or self.stream.guessed_rate
        self.aspect = context.sample_aspect_ratio or None
        self.colours = {name: getattr(context, name) for name in ("colorspace", "color_primaries", "color_trc")}
        self._start = Fraction(self.container.start_time or 0, av.time_base)  # of pictures and sounds, seconds
        self._end = self._declared_end()
        length = self._end and self.rate and round(self._end * self.rate)
        self.expected = self.stream.frames or length or None

    def frames(self, sound: Callable | None = None) -> Iterator[FilmFrame]:
        """All frames in the order in which they are shown; what is damaged is passed over, and `warnings` tell it.

        sound: called with each packet of `sounds`, whose times begin with the film's.
        """
        av = import_av()
        number, last, damaged, stopped = 0, None, 0, None
        packets = self.container.demux([self.stream, *(self.sounds if sound else [])])
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:
                packet, stopped = None, reason_of(error)
            if packet is not None and not packet.size:  # the last one of each stream
                continue
            if packet is not None and packet.stream_index != self.stream.index:
                sound(self._moved(packet))
                continue
            try:
                decoded = self.stream.decode(packet)
            except av.error.FFmpegError:  # EOFError: what was left is decoded already
                decoded = []
                damaged += packet is not None
            for frame in decoded:
                pts = self._pts(frame, last)
                yield FilmFrame(frame, number, float(pts * self.time_base), pts)
                number, last = number + 1, pts
            if packet is None:
                break
        self._conclude(number, last, damaged, stopped)

    def close(self) -> None:
        self.container.close()

    def _moved(self, packet):
        """A packet of sound whose times begin with the film's."""
        shift = round(self._start / packet.time_base)
        for name in ("pts", "dts"):
            if (ticks := getattr(packet, name)) is not None:
                setattr(packet, name, ticks - shift)
        return packet

    def _pts(self, frame, last: int | None) -> int:
        """When a frame is shown, in `time_base`: later than the last one, whatever the file says."""
        step = max(1, round(1 / (self.rate * self.time_base))) if self.rate else 1
        if frame.pts is None:
            return 0 if last is None else last + step
        pts = frame.pts - round(self._start / self.time_base)
        return pts if last is None else max(pts, last + 1)

    def _declared_end(self) -> float | None:
        """Seconds at which the film ends, as the file says."""
        stream = self.stream
        if self.container.format.name == "avi" and stream.frames and self.rate:
            # Its duration is a guess where it is cut.
            return float(stream.frames / self.rate)
        if stream.duration is not None:
            return float(stream.duration * stream.time_base)
        try:  # of Matroska
            hours, minutes, seconds = stream.metadata["DURATION"].split(":")
            return 3600 * int(hours) + 60 * int(minutes) + float(seconds) - float(self._start)
        except (KeyError, ValueError):
            return None

    def _conclude(self, number: int, last: int | None, damaged: int, stopped: str | None) -> None:
        """Fill in `warnings` at the end of the film. Raises VideoError where there was no frame."""
        if not number:
            raise VideoError(f"no picture of this film can be decoded{f': {stopped}' if stopped else ''}")
        end = float(last * self.time_base)
        if self._end is not None and self._end - end > MISSING + (2 / float(self.rate) if self.rate else 0):
            self.warnings.append(f"the film is cut off or damaged, it ends at {clock(end)} of {clock(self._end)}")
        elif stopped:
            self.warnings.append(f"the film cannot be read beyond {clock(end)}: {stopped}")
        elif damaged:
            self.warnings.append(f"the film is damaged in {damaged} place{'s' * (damaged != 1)}")


def _open(path: str | os.PathLike):
    """PyAV's container of a file. Raises VideoError."""
    av = import_av()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe would keep us waiting for ever
            raise VideoError("a folder, not a film" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        if not status.st_size:
            raise VideoError("the file is empty")
        # "file:": a name with a colon is no address; not every title is UTF-8
        options = {"format_whitelist": ",".join(sorted(av.formats_available - LISTS)), "protocol_whitelist": "file"}
        return av.open(f"file:{os.fspath(path)}", options=options, metadata_errors="replace")
    except FileNotFoundError as error:
        raise VideoError("no such file") from error
    except PermissionError as error:
        raise VideoError("no permission to read it") from error
    except av.error.FFmpegError as error:
        with open(path, "rb") as file:
            begun = file.read(8)[4:] == b"ftyp"  # MP4, whose index may come last
        mend = "its index is missing: the file is cut off, or its recording was never ended" if begun else None
        raise VideoError(mend or "not a film in a format FFmpeg reads") from error


def _check(container, pictures: list, sounds: list):
    """The stream of pictures to be read. Raises VideoError where there is none."""
    form = container.format.name
    if form == "tty":  # any text, taken for a drawing of letters
        raise VideoError("not a film in a format FFmpeg reads")
    if form in ("image2", "ico") or form.endswith("_pipe"):
        raise VideoError("a picture, not a film: `glasses predict` answers for photos")
    if not pictures:
        raise VideoError("holds sound, but no film" if sounds else "holds no film")
    if pictures[0].codec_context is None:
        raise VideoError("its pictures are in a format FFmpeg cannot decode")
    return pictures[0]


# --------------------------------------------------------------------------------------------------- writing


class FilmWriter:
    """Writes frames and sound into a file that is whole when `close` returns.

    file: where; suffix: of FORMATS, what kind of file. film: where the sound and the times come from, None for times
    of TICKS and no sound. warnings: which sound could not be kept.

    Sound is copied as it is where the file takes it, else encoded anew. An odd width or height grows by a pixel, the
    border's, since the codecs want even ones. Raises WriteError.
    """

    def __init__(self, file: Path, suffix: str, film: Film | None = None):
        av = import_av()
        self.film, self.warnings, self.size, self._waiting = film, [], None, []
        self.time_base = film.time_base if film else TICKS
        rate = film.rate if film and film.rate else 30
        with _told():  # nothing is written yet
            self.container = av.open(f"file:{file}", "w", format=FORMATS[suffix])
            codec = self.container.default_video_codec
            self.stream = self.container.add_stream(codec, rate=rate, options=QUALITY.get(codec, {}))
        self.matrix = film.colours["colorspace"] if film and film.colours["colorspace"] in MATRICES else None
        self.sounds = {source.index: self._sound(source) for source in (film.sounds if film else [])}

    def write(self, image: np.ndarray, pts: int) -> None:
        """The next frame, (H, W, 3) uint8 RGB, shown at `pts` in the time base of the film; later than the last one."""
        av = import_av()
        if self.size is None:
            self._begin(image)
        if image.shape[1::-1] != self.size:  # some broadcasts change it
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self.matrix or BT601, dst_color_range=VIDEO_RANGE)
        frame.pts, frame.time_base = pts, self.time_base
        with _told():
            self.container.mux(self.stream.encode(frame))

    def sound(self, packet) -> None:
        """A packet of the film's sound, as `Film.frames` gives it."""
        if self.size is None:  # the head of the file, which is written before its first packet, tells the size
            self._waiting.append(packet)
        elif writer := self.sounds[packet.stream_index]:
            with _told():
                writer(packet)

    def close(self) -> None:
        """Write what the encoders still hold, and the end of the file."""
        with _told():
            if self.size:
                for writer in filter(None, self.sounds.values()):
                    writer(None)
                self.container.mux(self.stream.encode(None))
            self.container.close()

    def discard(self) -> None:
        """Close the file, whole or not."""
        with suppress(WriteError), _told():
            self.container.close()

    def _begin(self, image: np.ndarray) -> None:
        """What the encoder must know before the first frame."""
        self.size = image.shape[1::-1]
        film, context = self.film, self.stream.codec_context
        context.width, context.height = (side + side % 2 for side in self.size)
        context.pix_fmt, context.time_base, context.color_range = "yuv420p", self.time_base, VIDEO_RANGE
        if self.matrix:
            for name, value in film.colours.items():
                setattr(context, name, value)
        if film and film.aspect:
            turned = self.size != (film.stream.width, film.stream.height)
            context.sample_aspect_ratio = 1 / film.aspect if turned else film.aspect
        for packet in self._waiting:
            self.sound(packet)
        self._waiting = []

    def _sound(self, source) -> Callable | None:
        """What writes the packets of a stream of sound, and at the end None; None where it cannot be kept."""
        if not _takes(self.container.format.name, source):
            return self._encoder(source)
        copy = self.container.add_stream_from_template(source)
        if source.layout.nb_channels <= 2:  # Matroska does not say which channels they are, MP4 must
            copy.codec_context.layout = "mono" if source.layout.nb_channels == 1 else "stereo"
        _name_language(copy, source)
        last = None

        def write(packet) -> None:
            nonlocal last
            if packet is None or (None not in (last, packet.dts) and packet.dts <= last):
                return  # what a damaged film tells twice, no file takes
            last, packet.stream = packet.dts, copy
            with suppress(import_av().error.InvalidDataError):  # a damaged place
                self.container.mux(packet)

        return write

    def _encoder(self, source) -> Callable | None:
        """What decodes packets of a stream of sound and writes them in a codec that the file takes."""
        av = import_av()
        if source.codec_context is None:
            self.warnings.append("its sound is in a format FFmpeg cannot decode, and is left out")
            return None
        codec = av.Codec(self.container.default_audio_codec, "w")
        rate = source.rate if source.rate in (codec.audio_rates or [source.rate]) else 48_000
        layout = "mono" if source.layout.nb_channels == 1 else "stereo"  # which all encoders take
        new = self.container.add_stream(codec.name, rate=rate, layout=layout)
        _name_language(new, source)
        context, kind, resampler, last = new.codec_context, None, None, None

        def write(packet) -> None:
            nonlocal kind, resampler, last
            try:
                frames = source.decode(packet)
            except av.error.FFmpegError:  # a damaged place, or the end
                frames = []
            for frame in frames:
                if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
                    resampler = av.AudioResampler(context.format, context.layout, context.sample_rate)
                for resampled in resampler.resample(frame):
                    if None in (last, resampled.pts) or resampled.pts > last:
                        last = resampled.pts
                        self.container.mux(new.encode(resampled))
            if packet is None:
                self.container.mux(new.encode(None))

        return write


@contextmanager
def _told() -> Iterator[None]:
    """Whatever FFmpeg says while it writes becomes a WriteError."""
    try:
        yield
    except (import_av().error.FFmpegError, OSError, ValueError) as error:
        raise WriteError(reason_of(error)) from error


def _takes(form: str, source) -> bool:
    """Whether files of a format take the codec of a stream; some say no only when their head is written."""
    av = import_av()
    try:
        with av.open(io.BytesIO(), "w", format=form) as trial:
            trial.add_stream_from_template(source)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _name_language(new, source) -> None:
    if language := source.metadata.get("language"):
        new.metadata["language"] = language
