"""What do real photos do to a face?  The transforms of training: shifts, light, masks, blur.

from augment import train_transform
faces = train_transform()(crops)                     # (B, 3, 96, 144) uint8 -> (B, 3, 64, 96) float32 in 0..1
"""

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from glasses.crops import CROP, Crop


class Chunked(nn.Module):
    """Applies `transform` to `chunk` images of a batch at a time.

    torchvision's v2 transforms draw their random numbers once a call, and each call has a fixed cost. With 8 faces a
    call this is several times faster than with one, and still only 8 faces share the numbers.
    """

    def __init__(self, transform: nn.Module, chunk: int = 8):
        super().__init__()
        self.transform, self.chunk = transform, chunk

    def forward(self, batch: Tensor) -> Tensor:
        return torch.cat([self.transform(part) for part in batch.split(self.chunk)])


class LowResolution(v2.Transform):
    """Shrinks the picture to a fraction of its size, drawn from `scale`, and enlarges it again: a far face."""

    def __init__(self, scale: tuple[float, float] = (0.2, 0.9)):
        super().__init__()
        self.scale = scale

    def make_params(self, flat_inputs):
        return {"scale": torch.empty(()).uniform_(*self.scale).item()}

    def transform(self, inpt, params):
        size = inpt.shape[-2:]
        small = v2.functional.resize(inpt, [max(8, round(side * params["scale"])) for side in size], antialias=True)
        return v2.functional.resize(small, list(size), antialias=True)


class Jpeg(v2.Transform):
    """Compresses each picture as a JPEG of a quality drawn from `quality`. (torchvision's own is deprecated.)"""

    def __init__(self, quality: tuple[int, int] = (25, 90)):
        super().__init__()
        self.quality = quality

    def make_params(self, flat_inputs):
        return {"quality": int(torch.randint(self.quality[0], self.quality[1] + 1, ()))}

    def transform(self, inpt, params):
        pictures = inpt.movedim(-3, -1).cpu().numpy()[..., ::-1]  # (..., H, W, 3) BGR
        flat = pictures.reshape(-1, *pictures.shape[-3:])
        coded = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, params["quality"]])[1] for picture in flat]
        decoded = np.stack([cv2.imdecode(code, cv2.IMREAD_COLOR) for code in coded])
        return torch.tensor(decoded.reshape(pictures.shape)[..., ::-1].copy()).movedim(-1, -3).to(inpt)


class CoverLowerFace(v2.Transform):
    """Paints all below a bent line under the eyes in one shaded colour, as a mask or a scarf covers it.

    Half of them leave a strip of the face free at each side.
    """

    def make_params(self, flat_inputs):
        height, width = flat_inputs[0].shape[-2:]
        # All that is random, in a fixed order: a seed gives the same masks in every version.
        nose = torch.empty(()).uniform_(0.53, 0.80)  # where the line crosses the middle, as a share of the height
        left, right = torch.empty(2).uniform_(-0.03, 0.20)  # how much lower it is at the two edges
        channels = 3 if torch.rand(()) < 0.5 else 1  # a colour or a grey
        colour = 255 * torch.rand(channels, 1, 1) ** 1.5  # mostly dark
        light_below = torch.empty(()).uniform_(0.6, 1.1).item()  # of the lowest row; 1 in the highest
        strips = torch.rand(2)  # width of what stays free at the left and at the right
        has_strips = torch.rand(()) < 0.5

        line = torch.stack([nose + left, nose, nose + right])[None, None]  # (3,) -> (1, 1, 3)
        line = height * nn.functional.interpolate(line, width, mode="linear", align_corners=True)[0, 0]  # -> (W,)
        shade = torch.linspace(1, light_below, height)[:, None]  # (H, 1)
        paint = (colour * shade).clamp(0, 255).expand(3, height, width)
        free = width * 0.18 * strips * has_strips  # pixels
        columns = torch.arange(width)
        covered = (columns >= free[0]) & (columns < width - free[1])
        return {"below": (torch.arange(height)[:, None] > line) & covered, "paint": paint}

    def transform(self, inpt, params):
        return torch.where(params["below"].to(inpt.device), params["paint"].to(inpt), inpt)


class CutSides(v2.Transform):
    """Blackens what lies beyond the edge of a close-up photo: above the eyes, below them, or one side with an eye."""

    def make_params(self, flat_inputs):
        height, width = flat_inputs[0].shape[-2:]
        inside = torch.ones(height, width, dtype=torch.bool)
        top, bottom, side, right = (torch.rand(4) < 0.5).tolist()
        if top:
            inside[: int(height * torch.empty(()).uniform_(0.05, 0.28))] = False
        if bottom:
            inside[int(height * torch.empty(()).uniform_(0.58, 0.95)) :] = False
        if side:
            columns = int(width * torch.empty(()).uniform_(0.05, 0.50))
            inside[:, slice(width - columns, None) if right else slice(0, columns)] = False
        return {"inside": inside}

    def transform(self, inpt, params):
        return inpt * params["inside"].to(inpt)


def train_transform(crop: Crop = CROP, strength: float = 1.0) -> nn.Module:
    """What real photos do to a face: (B, 3, 96, 144) uint8 crops with margin -> (B, 3, 64, 96) float32 in 0..1.

    strength scales the shifts, turns and changes of light; 0 leaves only the centre crop.
    """
    if strength == 0:
        return eval_transform(crop)
    s = strength
    return Chunked(
        v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(
                    degrees=16 * s,  # landmarks do not follow a tilt all the way
                    translate=(0.05 * s, 0.06 * s),
                    scale=(1 - 0.15 * s, 1 + 0.18 * s),
                    shear=[-5 * s, 5 * s, -5 * s, 5 * s],
                    interpolation=v2.InterpolationMode.BILINEAR,
                ),
                v2.CenterCrop([crop.height, crop.width]),
                v2.RandomApply([CoverLowerFace()], p=0.20 * s),
                v2.RandomApply([CutSides()], p=0.10 * s),
                v2.ColorJitter(brightness=0.4 * s, contrast=0.4 * s, saturation=0.4 * s, hue=0.04 * s),
                v2.RandomGrayscale(p=0.1 * s),
                v2.RandomApply([LowResolution()], p=0.25 * s),
                v2.RandomApply([v2.GaussianBlur(31, sigma=(0.3, 5.0))], p=0.15 * s),  # 3 sigma to each side
                v2.RandomApply([Jpeg()], p=0.15 * s),
                v2.ToDtype(torch.float32, scale=True),
                v2.RandomApply([v2.GaussianNoise(sigma=0.04 * s)], p=0.15 * s),
            ]
        )
    )


def eval_transform(crop: Crop = CROP) -> nn.Module:
    """The centre of each crop, as the pipeline sees it: (B, 3, 96, 144) uint8 -> (B, 3, 64, 96) float32."""
    return v2.Compose([v2.CenterCrop([crop.height, crop.width]), v2.ToDtype(torch.float32, scale=True)])
