"""What do real photos do to a face and its 68 points?  Transforms that move picture and points together.

from keypoint_transforms import eval_transform, train_transform
sample = train_transform(112)(PointSample(crop, points))   # (168, 168, 3) uint8 -> (3, 112, 112) float32 in 0..1

Each takes a `PointSample` and returns another, and leaves the one it was given as it is; `v2.Compose` of torchvision
puts them in a row. The course on facial key points has `Rescale`, `RandomCrop`, `Normalize` and `ToTensor`; the
others make the faces that photos have and its videos lack.

All that is random comes from torch's generator, or from a numpy generator that a number of torch's seeds: so
`torch.manual_seed` repeats it, and each worker of a DataLoader draws other numbers, and others in each epoch.

A point stays with its pixel, whose centre is at whole numbers: twice as large, (0, 0) becomes (0.5, 0.5). Hidden points
stay where they were. Sizes of blur and the like are for a face of 112 pixels and grow with the picture.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from glasses.eyewear import EYEWEAR, draw_eyewear
from glasses.keypoints import mirror
from keypoint_data import PointSample

COURSE_MEAN, COURSE_SCALE = 100.0, 50.0  # pixels: the course's points are (p - 100) / 50


# ------------------------------------------------------------------------------------- those of the course


class Rescale:
    """Makes the picture larger or smaller. size: its shorter side, or (height, width), in pixels."""

    def __init__(self, size: int | tuple[int, int]):
        self.size = size

    def __call__(self, sample: PointSample) -> PointSample:
        image, points = sample
        height, width = image.shape[:2]
        if isinstance(self.size, int):
            shorter = min(height, width)
            new_height, new_width = int(self.size * height / shorter), int(self.size * width / shorter)
        else:
            new_height, new_width = self.size
        smaller = new_height * new_width < height * width
        resized = cv2.resize(image, (new_width, new_height), interpolation=_shrink_or_grow(smaller))
        ratio = np.float32([new_width / width, new_height / height])
        return PointSample(resized, (points + np.float32(0.5)) * ratio - np.float32(0.5))


def _shrink_or_grow(smaller: bool) -> int:
    return cv2.INTER_AREA if smaller else cv2.INTER_LINEAR  # of these two, only the first does not alias


class RandomCrop:
    """Cuts a random part out of the picture. size: its sides, or (height, width), in pixels.

    Raises ValueError for a picture that is smaller.
    """

    def __init__(self, size: int | tuple[int, int]):
        self.size = (size, size) if isinstance(size, int) else size

    def __call__(self, sample: PointSample) -> PointSample:
        image, points = sample
        free_y, free_x = image.shape[0] - self.size[0], image.shape[1] - self.size[1]
        if min(free_y, free_x) < 0:
            there, wanted = f"{image.shape[0]}x{image.shape[1]}", f"{self.size[0]}x{self.size[1]}"
            raise ValueError(f"a picture of {there} pixels has no part of {wanted}: put a larger Rescale before it")
        top, left = int(torch.randint(free_y + 1, ())), int(torch.randint(free_x + 1, ()))
        part = image[top : top + self.size[0], left : left + self.size[1]]
        return PointSample(part.copy(), points - np.float32([left, top]))


class Normalize:
    """The course's: the picture becomes grey, (H, W) float32 in 0..1, each point (p - 100) / 50; see `denormalize`."""

    def __call__(self, sample: PointSample) -> PointSample:
        grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        return PointSample(grey, (sample.keypoints - np.float32(COURSE_MEAN)) / np.float32(COURSE_SCALE))


def denormalize(keypoints: np.ndarray | Tensor) -> np.ndarray | Tensor:
    """The points, (..., 68, 2), of `Normalize` or of a network that learned from it -> pixels, for plots."""
    return keypoints * COURSE_SCALE + COURSE_MEAN


class ToTensor:
    """(H, W, 3) or grey (H, W), uint8 or float32 in 0..1 -> (3, H, W) or (1, H, W) float32 in 0..1; points float32."""

    def __call__(self, sample: PointSample) -> PointSample:
        image, points = sample
        scale = 255 if image.dtype == np.uint8 else 1
        image = image.reshape(*image.shape[:2], -1).transpose(2, 0, 1)  # -> (3 or 1, H, W)
        tensor = torch.tensor(np.ascontiguousarray(image)).to(torch.float32) / scale
        return PointSample(tensor, torch.tensor(points, dtype=torch.float32))


# ------------------------------------------------------------------------------------------------ geometry


def similarity(
    sample: PointSample, degrees: float, scale: float, shift: tuple[float, float], size: tuple[int, int]
) -> PointSample:
    """Turn a face about the middle of its picture, and cut (width, height) pixels out around it; black outside.

    degrees: clockwise as seen. shift: (2,) x and y, in pixels of what is cut out. The pixels are resampled once.
    """
    image, points = sample
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    centre = (np.array(image.shape[1::-1]) - 1) / 2
    move = (np.array(size) - 1) / 2 + shift - turn @ centre
    cut = cv2.warpAffine(image, np.column_stack([turn, move]), size, flags=cv2.INTER_LINEAR)
    return PointSample(cut, (points @ turn.T + move).astype(np.float32))


class RandomSimilarity:
    """Turns, scales and shifts a face as a detector errs, often a little, seldom much: see `similarity`.

    degrees: at most, to either side. scale: least and most, the first at most 1, the second at least 1. shift: at
    most, as a share of `size`, (width, height) in pixels of what is cut out.
    """

    def __init__(self, degrees: float, scale: tuple[float, float], shift: float, size: tuple[int, int]):
        self.degrees, self.scale, self.shift, self.size = degrees, scale, shift, size

    def __call__(self, sample: PointSample) -> PointSample:
        turn, zoom, right, down = _generator().triangular(-1, 0, 1, 4)
        low, high = self.scale
        scale = high**zoom if zoom > 0 else low**-zoom
        shift = self.shift * right * self.size[0], self.shift * down * self.size[1]
        return similarity(sample, self.degrees * turn, scale, shift, self.size)


class CentreCrop:
    """The middle of the picture, as `RandomSimilarity` cuts it without any error. size: (width, height) in pixels."""

    def __init__(self, size: tuple[int, int]):
        self.size = size

    def __call__(self, sample: PointSample) -> PointSample:
        return similarity(sample, 0.0, 1.0, (0.0, 0.0), self.size)


# --------------------------------------------------------------------------------------- what happens sometimes


def _generator() -> np.random.Generator:
    """A generator seeded by torch's."""
    return np.random.default_rng(int(torch.randint(2**62, ())))


class Sometimes:
    """The common part of what follows: `change`, with probability `p`."""

    def __init__(self, p: float = 0.5):
        self.p = p

    def __call__(self, sample: PointSample) -> PointSample:
        return self.change(sample, _generator()) if torch.rand(()) < self.p else sample

    def change(self, sample: PointSample, rng: np.random.Generator) -> PointSample:
        """The changed sample; `rng` makes all the numbers."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in vars(self).items())})"


class RandomMirror(Sometimes):
    """The mirror image; left points become right ones."""

    def change(self, sample, rng):
        return PointSample(cv2.flip(sample.image, 1), mirror(sample.keypoints, sample.image.shape[1]))


class LowResolution(Sometimes):
    """A far face: shrunk to a share of its size, drawn from `scale`, and enlarged again."""

    def __init__(self, p: float = 0.5, scale: tuple[float, float] = (0.18, 0.8)):
        super().__init__(p)
        self.scale = scale

    def change(self, sample, rng):
        height, width = sample.image.shape[:2]
        scale = rng.uniform(*self.scale)
        small = max(8, round(width * scale)), max(8, round(height * scale))
        image = cv2.resize(sample.image, small, interpolation=cv2.INTER_AREA)
        enlarge = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
        return sample._replace(image=cv2.resize(image, (width, height), interpolation=enlarge))


class Blur(Sometimes):
    """Out of focus, or, half of the time, moved. sigma: of the Gaussian; length: of the way moved; in pixels."""

    def __init__(self, p: float = 0.5, sigma: tuple[float, float] = (0.4, 2.5), length: tuple[float, float] = (2, 11)):
        super().__init__(p)
        self.sigma, self.length = sigma, length

    def change(self, sample, rng):
        unit = sample.image.shape[1] / 112
        if rng.random() < 0.5:
            blurred = cv2.GaussianBlur(sample.image, (0, 0), unit * rng.uniform(*self.sigma))
        else:
            kernel = _motion(unit * rng.uniform(*self.length), rng.uniform(0, np.pi))
            blurred = cv2.filter2D(sample.image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        return sample._replace(image=blurred)


def _motion(length: float, angle: float) -> np.ndarray:
    """(n, n) float32 with a sum of 1: a line of `length` pixels about the middle."""
    middle = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * middle + 1, 2 * middle + 1), np.uint8)
    reach = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = np.round((middle - reach) * 256).astype(int), np.round((middle + reach) * 256).astype(int)
    cv2.line(kernel, tuple(start.tolist()), tuple(end.tolist()), 255, 1, cv2.LINE_AA, shift=8)
    kernel = kernel + kernel[::-1, ::-1].astype(np.float32)  # the same to both sides: no point moves
    return kernel / kernel.sum()


class JpegArtifacts(Sometimes):
    """Compressed as a JPEG of a quality drawn from `quality`."""

    def __init__(self, p: float = 0.5, quality: tuple[int, int] = (12, 80)):
        super().__init__(p)
        self.quality = quality

    def change(self, sample, rng):
        quality = int(rng.integers(self.quality[0], self.quality[1] + 1))
        _, code = cv2.imencode(".jpg", sample.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        return sample._replace(image=cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


class Light(Sometimes):
    """Brightness, contrast, gamma and a cast of colour; now and then light from one side, and no colour at all.

    strength: 1 for factors of up to about 1.7. side, grey: how often of these times.
    """

    def __init__(self, p: float = 0.5, strength: float = 1.0, side: float = 0.4, grey: float = 0.15):
        super().__init__(p)
        self.strength, self.side, self.grey = strength, side, grey

    def change(self, sample, rng):
        image, s = sample.image, self.strength
        level = cv2.mean(image)[1] / 255  # of the green, which is nearly that of the grey picture
        brightness, contrast, gamma = np.exp(s * rng.uniform(-1, 1, 3) * [0.5, 0.45, 0.4])
        cast = np.exp(s * rng.uniform(-0.12, 0.12, 3))
        x = np.linspace(0, 1, 256)[:, None] ** gamma
        x = ((x - level) * contrast + level) * brightness * cast  # (256, 3): a table of all levels
        image = cv2.LUT(image, np.clip(np.round(255 * x), 0, 255).astype(np.uint8)[None])
        if rng.random() < self.grey:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if rng.random() < self.side:
            shade = self._shade(image.shape[0], image.shape[1], rng)
            image = cv2.multiply(image, cv2.merge([shade] * 3), dtype=cv2.CV_8U)  # rounds and clips
        return sample._replace(image=image)

    def _shade(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """(H, W) float32 factors: bright on one side, dark on the other, with a soft border or a hard one."""
        angle = rng.uniform(0, 2 * np.pi)
        x = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(angle))
        y = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(np.sin(angle))
        across = y[:, None] + x - np.float32(rng.uniform(-0.4, 0.4))
        step = np.tanh(across * np.float32(np.exp(rng.uniform(0, 2.5))))
        return 1 + step * np.float32(self.strength * rng.uniform(0.1, 0.5))


class Noise(Sometimes):
    """Grain of a standard deviation drawn from `sigma`, in grey levels; in half of the pictures without colour."""

    def __init__(self, p: float = 0.5, sigma: tuple[float, float] = (2, 16)):
        super().__init__(p)
        self.sigma = sigma

    def change(self, sample, rng):
        height, width, channels = sample.image.shape
        colours = channels if rng.random() < 0.5 else 1
        grain = rng.standard_normal((height, width, colours), np.float32) * np.float32(rng.uniform(*self.sigma))
        noisy = np.clip(np.rint(sample.image + grain), 0, 255)
        return sample._replace(image=noisy.astype(np.uint8))


# ------------------------------------------------------------------------------------- what hides the face


class Blocks(Sometimes):
    """One to three things before the face: boxes, blobs or hands, about one of the points each.

    size: of each, as a share of the picture's width.
    """

    def __init__(self, p: float = 0.5, size: tuple[float, float] = (0.1, 0.4)):
        super().__init__(p)
        self.size = size

    def change(self, sample, rng):
        image, points = sample
        height, width = image.shape[:2]
        for _ in range(rng.integers(1, 4)):
            at = np.clip(points[rng.integers(len(points))], 0, (width - 1, height - 1))
            radius = width * rng.uniform(*self.size) / 2
            draw = (_box, _blob, _hand)[rng.integers(3)]
            cover = draw((height, width), at, radius, rng)
            if rng.random() < 0.3:
                cover = cv2.GaussianBlur(cover, (0, 0), width / 112 * rng.uniform(0.5, 2.5))
            image = _blend(image, _paint(image, at, rng, skin=draw is _hand), cover)
        return sample._replace(image=image)


def _filled(shape: tuple[int, int], outline: np.ndarray) -> np.ndarray:
    """(H, W) uint8: 255 inside an outline (N, 2) in pixels, with smooth edges."""
    cover = np.zeros(shape, np.uint8)
    cv2.fillPoly(cover, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return cover


def _line(cover: np.ndarray, start: np.ndarray, end: np.ndarray, thick: float) -> None:
    """Draw a line with round ends, of places (2,) and a thickness in pixels, on an (H, W) uint8 mask."""
    ends = [tuple(np.round(place * 16).astype(int).tolist()) for place in (start, end)]
    cv2.line(cover, *ends, 255, max(1, round(thick)), cv2.LINE_AA, shift=4)


def _box(shape: tuple[int, int], at: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    angle, sides = rng.normal(0, 0.4), rng.uniform(0.4, 1.3, 2)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * sides * radius
    cos, sin = np.cos(angle), np.sin(angle)
    return _filled(shape, at + corners @ np.array([[cos, sin], [-sin, cos]]))


def _blob(shape: tuple[int, int], at: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = np.arange(1, 5)
    uneven = np.cos(turn[:, None] * waves + rng.uniform(0, 2 * np.pi, 4)) @ (rng.normal(0, 0.25, 4) / waves)
    reach = radius * np.clip(1 + uneven, 0.3, 2)[:, None]
    return _filled(shape, at + reach * np.stack([np.cos(turn), np.sin(turn)], 1))


def _hand(shape: tuple[int, int], at: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """A palm with two to four fingers beside each other, and the arm that it comes from."""
    angle = rng.uniform(0, 2 * np.pi)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    cover = np.zeros(shape, np.uint8)
    _line(cover, at, at - 4 * radius * along, 1.1 * radius)
    _line(cover, at - 0.3 * radius * across, at + 0.3 * radius * across, radius)
    for side in np.linspace(-0.6, 0.6, rng.integers(2, 5)):
        root = at + radius * side * across
        tip = root + radius * rng.uniform(0.9, 1.6) * (along + (0.4 * side + rng.normal(0, 0.08)) * across)
        _line(cover, root, tip, rng.uniform(0.28, 0.4) * radius)
    return cover


def _paint(image: np.ndarray, at: np.ndarray, rng: np.random.Generator, skin: bool) -> np.ndarray:
    """(H, W, 3) uint8 to cover a face with: a colour (near that of `at` for skin), grain, or the picture, mirrored."""
    if skin:
        x, y = at.astype(int)
        colour = image[y, x] * np.exp(rng.normal(0, 0.15)) + rng.normal(0, 6, 3)
    else:
        if rng.random() < 0.25:
            return np.roll(cv2.flip(image, -1), int(rng.integers(image.shape[1])), axis=1)
        colour = 255 * rng.random(3) ** 1.3
    spots = rng.normal(1, rng.uniform(0.03, 0.25), (int(rng.integers(2, 20)), int(rng.integers(2, 20)), 1))
    small = np.clip(spots * colour, 0, 255).astype(np.uint8)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _blend(image: np.ndarray, paint: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: `paint` where `cover`, (H, W) uint8, is 255, `image` where it is 0."""
    share = cv2.merge([cover] * 3)
    covered = cv2.multiply(paint, share, scale=1 / 255)
    return cv2.add(covered, cv2.multiply(image, cv2.bitwise_not(share), scale=1 / 255))


class DrawnGlasses(Sometimes):
    """Eyeglasses or sunglasses of any style, drawn by `glasses.eyewear`; one pair in ten is pushed up on the head."""

    def change(self, sample, rng):
        image, points = sample
        if np.hypot(*(points[45] - points[36])) < 8:  # pixels, from corner to corner: too far, or wholly in profile
            return sample
        lift = rng.uniform(0.9, 1.2) if rng.random() < 0.1 else 0.0
        style = rng.standard_normal(len(EYEWEAR))
        return sample._replace(image=draw_eyewear(image, points.astype(float), style, lift=lift))


class DrawnMask(Sometimes):
    """A cloth before nose and mouth: a mask with pleats and its bands to the ears, or, one in four, a scarf."""

    def change(self, sample, rng):
        image, points = sample[0], sample[1].astype(float)
        down = points[8] - points[27]  # from between the eyes to the chin
        unit = np.hypot(*down)
        if unit < 10:  # pixels
            return sample
        scarf = rng.random() < 0.25
        jaw = self._jaw(points, down, rng)
        cover = _filled(image.shape[:2], self._outline(points, jaw, down, scarf, rng))
        if not scarf and rng.random() < 0.6:  # bands to the ears, from a little inside the cloth
            for corner, ear in ((jaw[0], points[0]), (jaw[-1], points[16])):
                _line(cover, corner + 0.2 * (points[33] - corner), ear, 0.025 * unit)
        shadow = cv2.GaussianBlur(cover, (0, 0), 0.04 * unit)
        image = _blend(image, np.zeros_like(image), (shadow * rng.uniform(0.1, 0.4)).astype(np.uint8))
        return sample._replace(image=_blend(image, self._cloth(sample.image, points, down, scarf, rng), cover))

    @staticmethod
    def _jaw(points: np.ndarray, down: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, 2) the lower edge, from the upper left corner to the upper right one; it may stand off the jaw."""
        first = int(rng.integers(1, 4))
        jaw = points[first : 17 - first]
        off = 1 - np.linspace(-1, 1, len(jaw))[:, None] ** 2  # 1 at the chin, 0 at the corners
        return jaw + down * off * rng.uniform(0, 0.15) + (jaw - jaw.mean(0)) * rng.uniform(-0.06, 0.08)

    @staticmethod
    def _outline(
        points: np.ndarray, jaw: np.ndarray, down: np.ndarray, scarf: bool, rng: np.random.Generator
    ) -> np.ndarray:
        """(80, 2) along the `jaw`, or, for a scarf, down from it, and back over the nose; without corners."""
        nose = points[27] + (points[33] - points[27]) * rng.uniform(0.25, 0.95)
        t = np.linspace(0, 1, 13)[1:-1, None]  # over the nose, from right to left
        rise = 1 - np.abs(2 * t - 1) ** rng.uniform(1, 3.3)  # a straight line to the nose, or an arch
        edge = jaw[-1] + (jaw[0] - jaw[-1]) * t + (nose - (jaw[0] + jaw[-1]) / 2) * rise
        if scarf:
            jaw = np.stack([jaw[0], jaw[0] + 2 * down, jaw[-1] + 2 * down, jaw[-1]])
        path = np.concatenate([jaw, edge, jaw[:1]])
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        at = np.linspace(0, length[-1], 80, endpoint=False)
        even = np.stack([np.interp(at, length, path[:, 0]), np.interp(at, length, path[:, 1])], 1)
        return sum(np.roll(even, step, 0) for step in (-2, -1, 0, 1, 2)) / 5

    @staticmethod
    def _cloth(
        image: np.ndarray, points: np.ndarray, down: np.ndarray, scarf: bool, rng: np.random.Generator
    ) -> np.ndarray:
        """(H, W, 3) uint8: one colour, stripes or spots, with pleats, as light as the face, and darker at its sides."""
        height, width = image.shape[:2]
        unit = np.hypot(*down)
        x = (np.arange(width, dtype=np.float32) - np.float32(points[33, 0])) / np.float32(unit)
        y = ((np.arange(height, dtype=np.float32) - np.float32(points[33, 1])) / np.float32(unit))[:, None]
        sin, cos = np.float32(down / unit)
        across, along = x * cos - y * sin, x * sin + y * cos  # (H, W), 0 below the nose, 1 a face's height away
        hsv = [[[rng.integers(180), 255 * rng.random() ** 2, 255 * rng.random() ** 0.7]] for _ in range(2)]
        colours = cv2.cvtColor(np.array(hsv, np.uint8), cv2.COLOR_HSV2RGB)[:, 0].astype(np.float32)
        light = np.clip(cv2.mean(image)[1] / 110, 0.3, 1.2)
        fold = across * np.float32(rng.normal(0, 0.4)) + along
        depth = rng.uniform(0.02, 0.2) if scarf else rng.uniform(0, 0.08)
        shade = 1 - np.float32(rng.uniform(0.2, 1.2)) * across**2 + np.float32(rng.normal(0, 0.2)) * across
        shade += np.float32(depth) * np.sin(fold * np.float32(rng.uniform(15, 60)))
        shade = np.clip(shade, 0.2, 1.3) * np.float32(light)
        pattern = rng.random()
        if pattern < 0.6:
            return _shaded(colours[0], shade)
        if pattern < 0.8:
            angle, pitch = rng.uniform(0, np.pi), rng.uniform(15, 60)
            wave = np.sin(np.float32(pitch * np.cos(angle)) * across + np.float32(pitch * np.sin(angle)) * along)
        else:
            wave = cv2.resize(rng.normal(0, 1, (24, 24)).astype(np.float32), (width, height))
        second = np.clip(0.5 + 2 * wave, 0, 1)[..., None]  # the share of the second colour
        return _shaded(colours[0] + (colours[1] - colours[0]) * second, shade)


def _shaded(colour: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """A colour (3,), or one a pixel, times (H, W) -> (H, W, 3) uint8."""
    return np.clip(colour * shade[..., None], 0, 255).astype(np.uint8)


# --------------------------------------------------------------------------------------------- in a row


def train_transform(size: int = 112, strength: float = 1.0) -> Callable[[PointSample], PointSample]:
    """For training: a picture of 1.5 times the size, (168, 168, 3) uint8, the face aligned in its middle ->
    (3, 112, 112) float32 in 0..1, points (68, 2) float32 in its pixels, both tensors.

    strength: of turns, scales and shifts, and how often the rest happens; at 0.5 they are about a detector's errors.
    """
    s = strength
    return _compose(
        RandomSimilarity(degrees=30 * s, scale=(0.8**s, 1.25**s), shift=0.1 * s, size=(size, size)),
        RandomMirror(p=0.5),
        DrawnGlasses(p=0.06 * s),  # 7 ms each, the others far below 1
        DrawnMask(p=0.12 * s),
        Light(p=0.6 * s),
        Blocks(p=0.2 * s),
        LowResolution(p=0.2 * s),
        Blur(p=0.2 * s),
        Noise(p=0.2 * s),
        JpegArtifacts(p=0.2 * s),
        ToTensor(),
    )


def eval_transform(size: int = 112) -> Callable[[PointSample], PointSample]:
    """For measuring: the centre of the same picture, in the same form, without anything random."""
    return _compose(CentreCrop((size, size)), ToTensor())


def _compose(*transforms: Callable) -> Callable[[PointSample], PointSample]:
    from torchvision.transforms import v2  # takes seconds, and all who import `data_load` import this file

    return v2.Compose(list(transforms))
