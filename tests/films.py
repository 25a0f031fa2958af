"""Films for the tests, made of public-domain portraits: what is in them, and when, is known.

scene = Scene(640, 360)
image = scene.frame([(portrait, x, y, scale, angle)])       # (H, W, 3) uint8: portraits over a background
write(path, images, times, rotation=90, sound="aac")        # a film of them, by PyAV
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from glasses import GlassesPipeline, read_image, try_on
from sample_photos import sample_photos

TICKS = Fraction(1, 1000)  # seconds
RATE = 48_000  # of the sound


def portrait() -> tuple[np.ndarray, np.ndarray]:
    """A bare face cut out of the astronaut's portrait, (190, 150, 3) uint8, and its 68 key points."""
    image = np.ascontiguousarray(read_image(sample_photos()["astronaut.png"])[0][10:200, 150:300])
    return image, GlassesPipeline(keypoints=True).answer(image).faces[0].keypoints


def dressed(frame: str) -> np.ndarray:
    """The same with a frame on it."""
    return try_on(*portrait(), frame)


def hopper() -> np.ndarray:
    """A face with glasses, (200, 158, 3) uint8."""
    image = read_image(sample_photos()["grace_hopper.jpg"])[0]
    return cv2.resize(image[40:340, 130:367], (158, 200), interpolation=cv2.INTER_AREA)


class Scene:
    """A background of soft colours, on which pictures are put."""

    def __init__(self, width: int = 640, height: int = 360, seed: int = 0):
        coarse = np.random.default_rng(seed).integers(60, 160, (5, 8, 3), np.uint8)
        self.background = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)

    def frame(self, pictures: Iterable[tuple] = (), noise: float = 0.0, seed: int = 0) -> np.ndarray:
        """(H, W, 3) uint8: pictures (image, x, y, scale, degrees), their middles at x, y, the later ones in front."""
        frame = self.background
        for image, x, y, scale, degrees in pictures:
            height, width = image.shape[:2]
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
            turn[:, 2] += (x - width / 2, y - height / 2)
            half, size = (width // 2, height // 2), frame.shape[1::-1]
            oval = cv2.ellipse(np.zeros((height, width), np.float32), half, half, 0, 0, 360, 1, -1)
            cover = cv2.warpAffine(cv2.GaussianBlur(oval, (0, 0), 3), turn, size)[..., None]
            frame = frame * (1 - cover) + cv2.warpAffine(image, turn, size) * cover
        frame = frame + np.random.default_rng(seed).normal(0, noise, frame.shape[:2])[..., None]
        return np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def write(
    path: Path,
    images: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    codec: str = "h264",
    pixels: str = "yuv420p",
    rotation: int | None = None,
    sound: str | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    layout: str = "stereo",
) -> Path:
    """A film of (H, W, 3) or (H, W, 4) images, shown at `times` in milliseconds, 25 a second by default.

    rotation: degrees to the left by which it is to be shown. sound: a codec, of a tone as long as the film; layout: its
    channels.
    """
    times = [40 * number for number in range(len(images))] if times is None else times
    with av.open(str(path), "w", options=container or {}) as film:
        pictures = film.add_stream(codec, rate=25, options=options or {})
        pictures.height, pictures.width = images[0].shape[:2]
        pictures.pix_fmt, pictures.codec_context.time_base = pixels, TICKS
        if rotation:
            pictures.set_display_rotation(rotation)
        tone = film.add_stream(sound, rate=RATE, layout=layout) if sound else None
        for number, (image, time) in enumerate(zip(images, times, strict=True)):
            frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = time, TICKS
            film.mux(pictures.encode(frame))
            if tone:
                film.mux(tone.encode(tone_frame(number * RATE // 25, RATE // 25)))
        if tone:
            film.mux(tone.encode(None))
        film.mux(pictures.encode(None))
    return path


def tone_frame(start: int, count: int) -> av.AudioFrame:
    """`count` samples of a rising tone in stereo from the sample `start` on."""
    t = (start + np.arange(count)) / RATE
    wave = (8000 * np.sin(2 * np.pi * (300 + 50 * t) * t)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], format="s16", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
    return frame


def packets(path: Path, kind: str = "audio") -> list[bytes]:
    """What is in the packets of a film's first stream of sound or pictures."""
    with av.open(str(path)) as film:
        return [bytes(packet) for packet in film.demux(**{kind: 0}) if packet.size]
