"""What do real photos do to a face?  The transforms of training: shifts, masks, caps, light, text, blur.

from augment import train_transform
faces = train_transform()(crops)                     # (B, 3, 96, 144) uint8 -> (B, 3, 64, 96) float32 in 0..1

A step changes a whole batch at once, and each of its faces by numbers of its own: (N, 3, H, W) float32 in 0..1 in, the
same out, on the CPU or on a GPU. All that is random comes from torch's generator of the CPU, also the seed of the noise
that a GPU draws: `torch.manual_seed` repeats a batch. Sizes in pixels are for a crop 96 wide and grow with it.
"""

import functools
import math
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from glasses.crops import CROP, Crop

LUMA = torch.tensor([0.299, 0.587, 0.114])  # what red, green and blue add to the grey level, ITU-R BT.601
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
TURN = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # I and Q by 90 degrees, from red towards green
QUARTER = torch.linalg.inv(YIQ) @ TURN @ YIQ  # the same for red, green and blue, and nothing of a grey
SKIN = torch.tensor([[0.20, 0.12, 0.09], [0.48, 0.30, 0.21], [0.78, 0.56, 0.44], [0.97, 0.82, 0.74]])  # dark to light
HAIR = torch.tensor([[0.05, 0.04, 0.04], [0.24, 0.15, 0.10], [0.55, 0.38, 0.22], [0.80, 0.70, 0.55]])
FONTS = """DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSansMono DejaVuSansMono-Bold DejaVuSerif
    DejaVuSerif-Bold DejaVuSerif-Italic STIXGeneral STIXGeneralBol STIXGeneralItalic cmr10 cmss10 cmti10 cmtt10 cmb10"""


def train_transform(crop: Crop = CROP, strength: float = 1.0, donors: Tensor | None = None) -> nn.Module:
    """What real photos do to a face: (B, 3, 96, 144) uint8 crops with margin -> (B, 3, 64, 96) float32 in 0..1.

    strength: scales the shifts, the turns, the changes of light, and how often the rest happens; 0 leaves only the
    centre crop. donors: (D, 3, 96, 144) uint8 faces with real masks and no glasses, for `BorrowLowerFace`.
    """
    if strength == 0:
        return eval_transform(crop)
    s = strength
    borrow = [] if donors is None else [Sometimes(BorrowLowerFace(donors, crop), 0.20 * s)]
    return InParts(
        ToFloat(),
        *borrow,
        Warp(crop, 16 * s, (0.05 * s, 0.06 * s), (1 - 0.15 * s, 1 + 0.18 * s), 5 * s),
        # before the face
        Sometimes(CoverLowerFace(), 0.15 * s),
        Sometimes(Hand(), 0.04 * s),
        Sometimes(Cap(), 0.08 * s),
        # the light, and the camera's colours
        Sometimes(LightEdge(), 0.08 * s),
        Colour(0.4 * s, 0.04 * s, 0.05 * s, 0.10 * s),
        # the picture's way to us
        Sometimes(Text(), 0.15 * s),
        Sometimes(CutSides(), 0.10 * s),
        Sometimes(LowResolution(), 0.25 * s),
        Sometimes(Blur(), 0.15 * s),
        Sometimes(Jpeg(), 0.15 * s),
        Sometimes(Noise(0.04 * s), 0.15 * s),
        Clamp(),
    )


def eval_transform(crop: Crop = CROP) -> nn.Module:
    """The centre of each crop, as the pipeline sees it: (B, 3, 96, 144) uint8 -> (B, 3, 64, 96) float32."""
    return v2.Compose([v2.CenterCrop([crop.height, crop.width]), v2.ToDtype(torch.float32, scale=True)])


class InParts(nn.Sequential):
    """The steps in a row: on the CPU 64 faces at a time, which its cache holds; elsewhere all at once."""

    def forward(self, images: Tensor) -> Tensor:
        parts = images.split(64) if images.device.type == "cpu" else [images]
        return torch.cat([super(InParts, self).forward(part) for part in parts])


class ToFloat(nn.Module):
    """uint8 -> float32 in 0..1, always a new tensor, which the steps behind it may change."""

    def forward(self, images: Tensor) -> Tensor:
        return images.to(torch.float32, copy=True).mul_(1 / 255)


class Clamp(nn.Module):
    """To 0..1, in place."""

    def forward(self, images: Tensor) -> Tensor:
        return images.clamp_(0, 1)


class Sometimes(nn.Module):
    """Applies `step` to the faces that it draws, each with probability `p`, and puts them back: in place."""

    def __init__(self, step: nn.Module, p: float):
        super().__init__()
        self.step, self.p = step, p

    def forward(self, images: Tensor) -> Tensor:
        drawn = (torch.rand(len(images)) < self.p).nonzero()[:, 0]
        if len(drawn):
            drawn = drawn.to(images.device)
            images.index_copy_(0, drawn, self.step(images.index_select(0, drawn)))
        return images

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


# ------------------------------------------------------------------------------------ what the steps are made of


def _draw(images: Tensor, *ranges: tuple[float, float]) -> Tensor:
    """(R, N, 1, 1): of each range a number for each face, even between its ends, on the device of the faces."""
    low, high = torch.tensor(ranges, dtype=torch.float32).T
    numbers = low + (high - low) * torch.rand(len(images), len(ranges))
    return numbers.T.contiguous()[..., None, None].to(images.device)


def _axes(images: Tensor) -> tuple[Tensor, Tensor, float]:
    """(H, 1) row, (1, W) x from -1 to 1, and the pixels that one is of a crop 96 wide."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, dtype=torch.float32, device=images.device)[:, None]
    return rows, torch.linspace(-1, 1, width, device=images.device)[None], width / 96


def _below(rows: Tensor, x: Tensor, middle: Tensor, left: Tensor, right: Tensor, bend: Tensor) -> Tensor:
    """(N, H, W) rows below a line that crosses the middle at row `middle` and is `left` and `right` lower at the ends.

    bend: 1 for two straight halves, more for a round one.
    """
    return rows - (middle + torch.where(x < 0, left, right) * x.abs() ** bend)


def _colours(images: Tensor) -> Tensor:
    """(N, 3, 1, 1) any colour, in half of them a grey; dark or light."""
    numbers = torch.rand(len(images), 5)
    colour = torch.where(numbers[:, 3:4] < 0.5, numbers[:, :1], numbers[:, :3]) ** (0.4 + 1.6 * numbers[:, 4:])
    return colour[..., None, None].to(images.device)


def _palette(images: Tensor, palette: Tensor) -> Tensor:
    """(N, 3, 1, 1) a colour between two neighbours in `palette`, (P, 3)."""
    place = torch.rand(len(images), 1) * (len(palette) - 1)
    first = place.long()[:, 0].clamp(max=len(palette) - 2)
    return torch.lerp(palette[first], palette[first + 1], place - first[:, None])[..., None, None].to(images.device)


def _spots(images: Tensor, rows: int, columns: int) -> Tensor:
    """(N, H, W) smooth random numbers about 0 from a grid of `rows` x `columns`."""
    grid = torch.randn(len(images), 1, rows, columns).to(images.device)
    return F.interpolate(grid, images.shape[-2:], mode="bilinear", align_corners=True)[:, 0]


def _mix(images: Tensor, paint: Tensor, share: Tensor) -> Tensor:
    """`paint`, (N, 3, H, W) or less, where `share`, (N, H, W), is 1, and `images` where it is 0."""
    return torch.lerp(images, paint.expand_as(images), share[:, None])


def _filter(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A separable filter of its own for each face: (N, H, H) from rows to rows, (N, W, W) from columns to columns."""
    count, channels, height, width = images.shape
    images = images.reshape(count, channels * height, width) @ columns.mT
    images = rows @ images.view(count, channels, height, width).transpose(1, 2).reshape(count, height, -1)
    return images.view(count, height, channels, width).transpose(1, 2)


# -------------------------------------------------------------------------------------------------- geometry


class Warp(nn.Module):
    """Mirrors, turns, shifts, scales and shears each face, and cuts `crop` out of its middle; black outside.

    degrees, shear (degrees): to either side. shift: to either side, as shares of the width and the height of the
    picture with its margin. scale: least and most. mirror: the probability.
    """

    def __init__(
        self,
        crop: Crop = CROP,
        degrees: float = 16.0,  # landmarks do not follow a tilt all the way
        shift: tuple[float, float] = (0.05, 0.06),
        scale: tuple[float, float] = (0.85, 1.18),
        shear: float = 5.0,
        mirror: float = 0.5,
    ):
        super().__init__()
        self.crop, self.degrees, self.shift, self.scale = crop, degrees, shift, scale
        self.shear, self.mirror = shear, mirror

    def forward(self, images: Tensor) -> Tensor:
        sizes = torch.tensor(images.shape[:-3:-1])  # (2,) width and height
        low, high = self.scale
        numbers = torch.rand(len(images), 7)
        angle = torch.deg2rad(self.degrees * (2 * numbers[:, 0] - 1))
        scale = low + (high - low) * numbers[:, 1]
        flip = torch.where(numbers[:, 2] < self.mirror, -1.0, 1.0)
        shear = torch.tan(torch.deg2rad(self.shear * (2 * numbers[:, 3:5] - 1)))
        shift = torch.tensor(self.shift) * (2 * numbers[:, 5:] - 1) * sizes  # (N, 2) pixels

        # From pixels of the crop back to those of the picture, both about their middle.
        turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], 1).view(-1, 2, 2)
        skew = torch.stack([flip, flip * shear[:, 0], shear[:, 1], torch.ones_like(flip)], 1).view(-1, 2, 2)
        back = skew @ turn / scale[:, None, None]
        matrix = torch.cat([back * torch.tensor([self.crop.width, self.crop.height]), -2 * back @ shift[..., None]], 2)
        matrix = (matrix / sizes[:, None]).to(images.device)  # (N, 2, 3), -1..1 to -1..1
        size = [len(images), 3, self.crop.height, self.crop.width]
        grid = F.affine_grid(matrix, size, align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


# ------------------------------------------------------------------------------------- what is before the face


class BorrowLowerFace(nn.Module):
    """Takes all below a bent line under the eyes from another face, one of `donors`: a real mask, with its folds.

    donors: (D, 3, H, W) uint8, cut as the faces are, so that their eyes are in one place. crop: says where that is.
    Raises ValueError for faces of another size.
    """

    def __init__(self, donors: Tensor, crop: Crop = CROP):
        super().__init__()
        self.crop = crop
        self.register_buffer("donors", donors, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1:] != self.donors.shape[1:]:
            raise ValueError(
                f"donors {tuple(self.donors.shape[1:])} for faces {tuple(images.shape[1:])}: cut them alike"
            )
        unit = self.crop.unit
        eyes = (images.shape[-2] - 1) / 2 - self.crop.drop * unit  # row
        upper, lower = images.tensor_split([int(eyes)], 2)
        chosen = torch.randint(len(self.donors), (len(images),)).to(self.donors.device)
        other = self.donors[:, :, int(eyes) :].index_select(0, chosen).to(images.device)
        mirrored, gain, soft = _draw(images, (0, 1), (0.6, 1.3), (0.5, 4.0))
        other = torch.where(mirrored[..., None] < 0.5, other.flip(-1), other).float() * (gain[..., None] / 255)

        rows, x, _ = _axes(lower)
        under, left, right, bend = _draw(images, (0.25, 0.70), (-0.05, 0.40), (-0.05, 0.40), (1.0, 2.0))  # units
        below = _below(rows, x, eyes % 1 + under * unit, left * unit, right * unit, bend)
        lower = _mix(lower, other.clamp_(max=1), (below / (soft * unit / 36)).clamp_(0, 1))
        return torch.cat([upper, lower], 2)


class CoverLowerFace(nn.Module):
    """Paints all below a bent line under the eyes in one shaded colour, as a mask or a scarf covers it.

    Half of them leave a strip of the face free at each side. Half have a pattern of a second colour, half have folds,
    half have a seam along the upper border.
    """

    def forward(self, images: Tensor) -> Tensor:
        upper, lower = images.tensor_split([images.shape[-2] // 2], 2)
        return torch.cat([upper, self._cover(lower)], 2)

    def _cover(self, images: Tensor) -> Tensor:
        """The lower half of each face: (N, 3, H, W)."""
        rows, x, pixel = _axes(images)
        height = images.shape[-2]
        nose, left, right, bend = _draw(images, (0.06, 0.60), (-0.06, 0.40), (-0.06, 0.40), (1.0, 2.0))
        below = _below(rows, x, height * nose, height * left, height * right, bend)
        free_left, free_right, has_strips = _draw(images, (0, 0.36), (0, 0.36), (0, 1))
        strips = (has_strips < 0.5) * torch.where(x < 0, free_left, free_right)
        cover = below.clamp(0, 1) * (x.abs() <= 1 - strips)

        pattern, second, folds, seam = _draw(images, (-1, 1), (0.4, 1.0), (-0.5, 0.5), (-1.5, 1.5))
        paint = _mix(
            _colours(images).expand_as(images), _colours(images), self._pattern(images) * (pattern > 0) * second
        )
        light_below, thick, seam_gain = _draw(images, (0.6, 1.1), (1.0, 3.0), (0.3, 0.8))
        shade = 1 + (light_below - 1) * (rows / height) - folds.clamp(min=0) * self._folds(images)
        on_seam = (below < thick * pixel) * (seam.abs() > 0.75) * torch.sign(seam)
        return _mix(images, (paint * (shade * (1 + on_seam * seam_gain))[:, None]).clamp_(0, 1), cover)

    @staticmethod
    def _pattern(images: Tensor) -> Tensor:
        """(N, H, W) in 0..1: stripes, dots or blotches."""
        rows, x, pixel = _axes(images)
        kind, angle, period, phase, sharp, least = _draw(
            images, (0, 3), (0, math.pi), (4, 18), (0, 2 * math.pi), (2, 8), (-0.3, 0.6)
        )
        columns = x * images.shape[-1] / 2
        turn = 2 * math.pi / (period * pixel)
        wave = torch.sin(turn * (columns * angle.cos() + rows * angle.sin()) + phase)
        dots = wave * torch.sin(turn * (rows * angle.cos() - columns * angle.sin()) + phase)
        blotches = _spots(images, 4, 12)
        return torch.sigmoid(sharp * (torch.where(kind < 1, wave, torch.where(kind < 2, 1.4 * dots, blotches)) - least))

    @staticmethod
    def _folds(images: Tensor) -> Tensor:
        """(N, H, W), 1 in the middle of three soft lines, of which some are level, 0 far from them."""
        rows, x, pixel = _axes(images)
        (slant,) = _draw(images, (-0.6, 0.6))
        at, tilt, bend, thick = (_draw(images, *[ends] * 3) for ends in ((0, 1.2), (-0.5, 0.5), (-0.6, 0.2), (1.4, 5)))
        line = images.shape[-2] * (at + (slant + tilt) * x + bend * x**2)  # (3, N, 1, W) row
        return ((1 - ((rows - line) / (thick * pixel)) ** 2).clamp_(min=0) ** 2).sum(0).clamp_(max=1)


class Cap(nn.Module):
    """A cap, or hair over the brows, above a bent line, and its shadow below it."""

    def forward(self, images: Tensor) -> Tensor:
        rows, x, pixel = _axes(images)
        line, bend = _draw(images, (4, 20), (1.0, 2.5))  # rows
        lower = (line + _draw(images, (-10, 10), (-10, 10))).clamp_(max=20) - line
        below = _below(rows, x, pixel * line, *(pixel * lower), bend)
        hair, ragged, brim, brim_gain = _draw(images, (-1, 1), (0, 5), (-6, 6), (0.5, 1.4))
        streaks = _spots(images, 3, 48)  # from the top down, a little bent
        cover = below - (hair > 0) * ragged * pixel * (_spots(images, 1, 24).abs() - 2).clamp_(max=0)  # only upwards

        colour = torch.where(hair[..., None] > 0, _palette(images, HAIR), _colours(images))
        light_above, streak, depth, dark = _draw(images, (0.7, 1.3), (0.1, 0.4), (3, 10), (0.35, 0.9))
        shade = 1 + (light_above - 1) * (-below / (20 * pixel)).clamp(0, 1) + (hair > 0) * streak * streaks
        shade = torch.where((hair <= 0) & (-below < brim * pixel), brim_gain, shade)
        shadow = dark + (1 - dark) * (below / (depth * pixel)).clamp(0, 1)
        paint = (colour * shade[:, None]).clamp_(0, 1)
        return _mix(images * shadow[:, None], paint, (0.5 - cover).clamp_(0, 1))


class Hand(nn.Module):
    """Fingers from a side or from below, up to the cheek; they may hide one eye, never both."""

    def forward(self, images: Tensor) -> Tensor:
        rows, x, pixel = _axes(images)
        columns = x * images.shape[-1] / 2  # pixels from the middle
        side, across, up, angle, thick, fan = _draw(
            images, (-1, 1), (0.35, 0.75), (0.58, 0.90), (0, math.pi / 2), (3.5, 5.5), (0, 0.15)
        )
        short = _draw(images, *[(0, 1.5)] * 4, (6.5, 8.0))  # (5, N, 1, 1): four fingers and, behind them, the palm
        wide = _draw(images, *[(0.85, 1.1)] * 4, (2.2, 2.8))
        beside = torch.tensor([-1.5, -0.5, 0.5, 1.5, 0.0], device=images.device).view(-1, 1, 1, 1)
        side, thick = torch.where(side < 0, -1.0, 1.0), thick * pixel
        out_x, out_y = side * torch.cos(angle + fan * beside), torch.sin(angle + fan * beside)  # away from the face
        start_x = side * (across * images.shape[-1] / 2 - angle.sin() * 1.9 * thick * beside) + short * thick * out_x
        start_y = up * images.shape[-2] + angle.cos() * 1.9 * thick * beside + short * thick * out_y
        along = ((columns - start_x) * out_x + (rows - start_y) * out_y).clamp_(min=0)
        away = torch.hypot(columns - start_x - along * out_x, rows - start_y - along * out_y)  # from each one's middle
        near = (away / (thick * wide)).amin(0)  # 1 on the outline of the nearest
        light, slope = _draw(images, (0.6, 1.1), (-0.3, 0.3))
        shade = light * (1 + slope * x) * (1 - 0.45 * near.clamp(max=1) ** 3)
        paint = (_palette(images, SKIN) * shade[:, None]).clamp_(0, 1)
        return _mix(images, paint, ((1 - near) * thick + 0.5).clamp_(0, 1))


class CutSides(nn.Module):
    """Blackens what lies beyond the edge of a close-up photo: above the eyes, below them, or one side with an eye."""

    def forward(self, images: Tensor) -> Tensor:
        rows, x, _ = _axes(images)
        top, bottom, side, right = _draw(images, (0, 1), (0, 1), (0, 1), (-1, 1))
        above, below, columns = _draw(images, (0.05, 0.28), (0.58, 0.95), (0.05, 0.50))
        height = images.shape[-2]
        inside = ((top < 0.5) | (rows >= above * height)) & ((bottom < 0.5) | (rows < below * height))
        inside = inside & ((side < 0.5) | (x * torch.where(right < 0, -1.0, 1.0) < 1 - 2 * columns))
        return images * inside[:, None]


# ---------------------------------------------------------------------------------------------- light and colour


class LightEdge(nn.Module):
    """Brighter or darker on one side of a straight edge, or in bands: a hard shadow, light through blinds."""

    def forward(self, images: Tensor) -> Tensor:
        rows, x, pixel = _axes(images)
        height, width = images.shape[-2:]
        angle, across, soft = _draw(images, (0, 2 * math.pi), (-0.35, 0.35), (math.log(0.3), math.log(12)))
        middle = torch.sin(angle) * (rows - height / 2) + torch.cos(angle) * x * width / 2 - across * height
        kind, wide, apart, bright = _draw(images, (0, 3), (0.25, 0.6), (10, 30), (-1, 1))
        apart = pixel * torch.where(kind < 2, 2 * apart, apart)  # pixels from band to band
        band = torch.where(kind < 2, middle, middle - apart * torch.round(middle / apart))  # one, or several
        distance = torch.where(kind < 1, middle, apart * wide / 2 - band.abs())  # pixels inside the edge
        gain_up, gain_down = _draw(images, (1.15, 1.9), (0.35, 0.85))
        gain = torch.where(bright > 0, gain_up, gain_down) - 1
        gain = (gain * torch.sigmoid(4 * distance / (soft.exp() * pixel)))[:, None]
        return images * (1 + gain) / (1 + 0.5 * gain.clamp(min=0) * images)  # what is bright already gains less


class Colour(nn.Module):
    """Brightness, contrast, saturation and hue, of each face as one matrix.

    jitter: of the first three, to either side of 1. hue: to either side, in turns of the circle of hues. any_hue, grey:
    the share of faces that get any hue, and none.
    """

    def __init__(self, jitter: float = 0.4, hue: float = 0.04, any_hue: float = 0.05, grey: float = 0.10):
        super().__init__()
        self.jitter, self.hue, self.any_hue, self.grey = jitter, hue, any_hue, grey

    def forward(self, images: Tensor) -> Tensor:
        numbers, rare = 2 * torch.rand(4, len(images), 1, 1) - 1, torch.rand(2, len(images), 1, 1)
        brightness, contrast, saturation = (1 + self.jitter * numbers[:3]).clamp_(min=0)
        turns = torch.where(rare[0] < self.any_hue, 0.5, self.hue) * numbers[3]
        return self.change(images, brightness, contrast, torch.where(rare[1] < self.grey, 0, saturation), turns)

    @staticmethod
    def change(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, turns: Tensor) -> Tensor:
        """By factors, as `v2.functional.adjust_brightness` and the like, and turns of the hue; each (N, 1, 1)."""
        angle, grey = 2 * math.pi * turns, LUMA.expand(3, 3)  # the rows of `grey` give each channel the grey level
        colour = grey + saturation * (angle.cos() * (torch.eye(3) - grey) + angle.sin() * QUARTER)
        matrix = (brightness * contrast * colour).to(images.device)  # (N, 3, 3)
        pixels = images.flatten(2)  # (N, 3, H * W)
        mean = LUMA.to(images.device) @ pixels.mean(2, keepdim=True)  # (N, 1): about it the contrast changes
        offset = (brightness * (1 - contrast)).to(images.device) * mean[..., None]
        return torch.baddbmm(offset, matrix, pixels).clamp_(0, 1).view_as(images)


# ---------------------------------------------------------------------------------------------- what is lost


class Text(nn.Module):
    """A watermark across the picture: one of `text_masks`, mostly in white, more or less transparent.

    Half of them lie across the eyes, where a line of letters looks most like a frame.
    """

    EYES = 0.41  # their row in a crop, as a share of its height

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        masks = text_masks(height, width)
        count, high, wide = masks.shape
        chosen, top, left, across = (
            torch.randint(n, (len(images), 1, 1)) for n in (count, high - height + 1, wide - width + 1, 2)
        )
        top = torch.where(across == 1, round(high / 2 - self.EYES * height), top)
        cut = masks[chosen, top + torch.arange(height)[:, None], left + torch.arange(width)]  # (N, H, W)
        kind, opaque = _draw(images, (0, 1), (0.15, 0.9))
        black_or_any = torch.where(kind[..., None] < 0.8, 0.0, _colours(images))
        colour = torch.where(kind[..., None] < 0.6, 1.0, black_or_any)
        return _mix(images, colour, cut.to(images) * (opaque / 255))


@functools.lru_cache(maxsize=4)
def text_masks(height: int, width: int, count: int = 256) -> Tensor:
    """(count, 1.5 height, 1.5 width) uint8: words in all sizes, fonts and directions, 255 where their ink is.

    The same at each call. Drawn once a process, in half a second. Older versions of matplotlib lack some of the FONTS.
    """
    rng = np.random.default_rng(0)
    fonts = [Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf") for name in FONTS.split()]
    fonts = [font for font in fonts if font.is_file()]
    high, wide = round(1.5 * height), round(1.5 * width)
    return torch.from_numpy(np.stack([_text_mask(high, wide, height / 64, fonts, rng) for _ in range(count)]))


def _text_mask(height: int, width: int, pixel: float, fonts: list[Path], rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8: a word, several lines or a page full of one word."""
    size = max(5, round(pixel * 5 * 8 ** rng.random()))  # 5 to 40 pixels
    font = ImageFont.truetype(fonts[rng.integers(len(fonts))], size, layout_engine=ImageFont.Layout.BASIC)
    side = math.ceil(math.hypot(height, width))
    kind = rng.random()
    if kind < 0.7:
        text = "\n".join(_words(rng) for _ in range(1 if kind < 0.45 else rng.integers(2, 5)))
    else:
        line = "   ".join([_words(rng)] * (2 + side // size // 5))
        text = "\n".join(line[rng.integers(9) :] for _ in range(2 + side // size // 2))
    canvas = Image.new("L", (side, side))
    outline = rng.random() < 0.3
    ink = {"fill": 0, "stroke_width": max(1, size // 16), "stroke_fill": 255} if outline else {"fill": 255}
    x, y = side / 2 + rng.uniform(-1, 1, 2) * (0.15 * width, 0.03 * height)
    place = {"anchor": "mm", "align": "center", "spacing": size * rng.uniform(0.1, 1.0)}
    if kind < 0.45 and size < 14 * pixel and rng.random() < 0.3:  # on a bar
        bar = (0, y - size * rng.uniform(0.6, 1.0), side, y + size * rng.uniform(0.6, 1.0))
        ImageDraw.Draw(canvas).rectangle(bar, fill=int(rng.integers(40, 130)))
    ImageDraw.Draw(canvas).multiline_text((x, y), text, font=font, **place, **ink)
    angle = rng.choice([0, 0, 0, 30, -30, 45, 90]) + rng.normal(0, 4) if rng.random() < 0.8 else rng.uniform(-90, 90)
    turned = canvas.rotate(angle, Image.Resampling.BILINEAR)
    left, top = (side - width) // 2, (side - height) // 2
    return np.asarray(turned.crop((left, top, left + width, top + height)))


def _words(rng: np.random.Generator) -> str:
    """What a photo's owner or its date may look like: letters, digits, signs."""
    alphabets = (
        "abcdefghijklmnopqrstuvwxyz",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "0123456789",
        "0123456789:/.-",
        "*#@+%&=~_!?x",
    )
    chosen = rng.choice(len(alphabets), size=rng.integers(1, 4), p=(0.35, 0.35, 0.12, 0.12, 0.06))
    word = " ".join("".join(rng.choice(list(alphabets[i]), size=rng.integers(2, 9))) for i in chosen)
    return str(rng.choice(["", "", "", "© ", "@", "www."])) + word


class LowResolution(nn.Module):
    """A far face: shrunk to a share of its size, drawn from `scale`, without aliasing, and enlarged again."""

    def __init__(self, scale: tuple[float, float] = (0.2, 0.9)):
        super().__init__()
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        (scale,) = _draw(images, self.scale)
        return _filter(images, *(self._there_and_back(side, scale) for side in images.shape[-2:]))

    @staticmethod
    def _there_and_back(side: int, scale: Tensor) -> Tensor:
        """(N, side, side): to `scale`, (N, 1, 1), times as many pixels, 8 at least, and back again.

        Linear between pixels, over as many as the picture shrinks: `F.interpolate` with antialias=True.
        """
        few = torch.round(side * scale).clamp_(min=8)
        pixels = torch.arange(side, dtype=torch.float32, device=scale.device)
        ratio = side / few
        shrink = F.relu(1 - (pixels - ((pixels[:, None] + 0.5) * ratio - 0.5)).abs() / ratio.clamp(min=1))
        enlarge = F.relu(1 - (pixels - ((pixels[:, None] + 0.5) / ratio - 0.5)).abs()) * (pixels < few)
        shrink, enlarge = (weights / weights.sum(2, keepdim=True).clamp_(min=1e-6) for weights in (shrink, enlarge))
        return enlarge @ shrink


class Blur(nn.Module):
    """Out of focus: a Gaussian of a standard deviation drawn from `sigma`, in pixels."""

    def __init__(self, sigma: tuple[float, float] = (0.3, 5.0)):
        super().__init__()
        self.sigma = sigma

    def forward(self, images: Tensor) -> Tensor:
        (sigma,) = _draw(images, self.sigma)
        return _filter(images, *(self._gaussian(side, sigma) for side in images.shape[-2:]))

    @staticmethod
    def _gaussian(side: int, sigma: Tensor) -> Tensor:
        """(N, side, side) weights of all pixels for each; what lies outside has none."""
        pixels = torch.arange(side, dtype=torch.float32, device=sigma.device)
        weights = torch.exp(-0.5 * (pixels / sigma[:, 0]) ** 2)  # (N, side) by distance
        weights = F.threshold(weights, 1e-6, 0)  # the denormal numbers far out would make the products slow
        distance = (pixels - pixels[:, None]).abs().long()
        weights = weights.index_select(1, distance.flatten()).view(-1, side, side)
        return weights / weights.sum(2, keepdim=True)


class Jpeg(nn.Module):
    """Compresses each picture as a JPEG of a quality drawn from `quality`."""

    def __init__(self, quality: tuple[int, int] = (25, 90)):
        super().__init__()
        self.quality = quality

    def forward(self, images: Tensor) -> Tensor:
        qualities = torch.randint(self.quality[0], self.quality[1] + 1, (len(images),)).tolist()
        bytes_ = images.flip(1).mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        pictures = bytes_.permute(0, 2, 3, 1).contiguous().cpu().numpy()  # (N, H, W, 3) BGR
        for i, quality in enumerate(qualities):
            code = cv2.imencode(".jpg", pictures[i], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            pictures[i] = cv2.imdecode(code, cv2.IMREAD_COLOR)
        return torch.from_numpy(pictures).to(images.device).permute(0, 3, 1, 2).flip(1) / 255


class Noise(nn.Module):
    """Grain of a standard deviation of up to `sigma`, drawn on the device of the faces."""

    def __init__(self, sigma: float = 0.04):
        super().__init__()
        self.sigma = sigma

    def forward(self, images: Tensor) -> Tensor:
        (sigma,) = _draw(images, (0.25 * self.sigma, self.sigma))
        generator = torch.Generator(images.device).manual_seed(int(torch.randint(2**62, ())))
        return (images + sigma[..., None] * torch.empty_like(images).normal_(generator=generator)).clamp_(0, 1)
