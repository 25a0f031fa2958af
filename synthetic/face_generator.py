"""Bare faces out of nothing: a linear model of shape and texture, and a small network that adds the detail.

    from synthetic.face_generator import FaceGenerator
    generator = FaceGenerator.load()
    latents = generator.sample(8, numpy.random.default_rng(0))       # (8, K) float32
    faces, landmarks = generator(latents)                            # (8, 112, 112, 3) uint8, (8, 68, 2) pixels

A face is made in three steps. The latent vector gives, linearly, the places of 68 landmarks and a blurred
*texture*: the face as it would look if its landmarks lay at their mean (Cootes, Edwards, Taylor: "Active
Appearance Models", PAMI 2001). `Refiner`, trained against a discriminator by `synthetic/train_generator.py`, sharpens
the texture. A thin-plate spline (Bookstein, PAMI 1989) then carries the texture to the landmarks.
"""

import os
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from models import WEIGHTS

TEXTURE = 96  # pixels a side of the texture, in which the mean face lies with its eyes at EYES
EYES = ((34.5, 38.0), (61.5, 38.0))
SIZE = 112  # pixels a side of a finished face
MOST_DETAIL = 0.35  # of -1..1: what the refiner adds at most, so that no single pixel stands out
SKIN_DETAIL = 0.6  # the share of it that is added away from the eyes, the brows, the nostrils and the mouth
GRID = 4  # pixels between the points at which the warp is computed


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))


class Refiner(nn.Module):
    """Adds detail to a blurred texture: a U-shaped network that works at half the texture's size and below.

    widths: channels at 1/2, 1/4 and 1/8 of the texture's side.
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 96)):
        super().__init__()
        a, b, c = widths
        self.stem = nn.Conv2d(3, a, 4, stride=2, padding=1)
        self.down = nn.ModuleList([ResidualBlock(a), ResidualBlock(b)])
        self.shrink = nn.ModuleList([nn.Conv2d(a, b, 2, stride=2), nn.Conv2d(b, c, 2, stride=2)])
        self.middle = nn.Sequential(ResidualBlock(c), ResidualBlock(c))
        self.grow = nn.ModuleList([nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)])
        self.up = nn.ModuleList([nn.Sequential(ResidualBlock(b), ResidualBlock(b)), ResidualBlock(a)])
        self.full = nn.Conv2d(a, 12, 3, padding=1)
        self.last = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, texture: Tensor) -> Tensor:
        """(B, 3, 96, 96) in -1..1 -> the same, sharp."""
        x = self.stem(texture)  # (B, 3, 96, 96) -> (B, 32, 48, 48)
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(block(x))
            x = shrink(skips[-1])  # -> (B, 64, 24, 24) -> (B, 96, 12, 12)
        x = self.middle(x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(F.interpolate(grow(x), scale_factor=2, mode="nearest") + skips.pop())
        x = self.full(F.interpolate(F.leaky_relu(x, 0.2), scale_factor=2, mode="nearest"))  # -> (B, 12, 96, 96)
        return texture + self.last(F.leaky_relu(x, 0.2))


def spline_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, 2), (M, 2) -> (N, M), r^2 log r of the distances: the bending of a thin plate."""
    square = ((a[:, None] - b[None]) ** 2).sum(-1)
    return 0.5 * square * np.log(np.maximum(square, 1e-9))


def spline_map(source: np.ndarray, at: np.ndarray, stiffness: float = 3.0) -> np.ndarray:
    """(M, N) matrix of the thin-plate spline from the points `source` (N, 2) to any `target` (N, 2).

    `matrix @ target` is where the spline takes the points `at` (M, 2). It takes each source to its target only
    nearly: `stiffness`, in pixels squared, smooths over landmarks that are off by a pixel.
    """
    n = len(source)
    system = np.zeros((n + 3, n + 3))  # n bending weights and an affine map
    system[:n, :n] = spline_kernel(source, source) + stiffness * np.eye(n)
    system[:n, n], system[n, :n] = 1, 1
    system[:n, n + 1 :], system[n + 1 :, :n] = source, source.T
    values = np.concatenate([spline_kernel(at, source), np.ones((len(at), 1)), at], axis=1)
    return np.linalg.solve(system, values.T).T[:, :n]  # the system is symmetric


def anchors() -> np.ndarray:
    """(20, 2) points around the texture that a spline leaves where they are, so that the background stays."""
    line = np.linspace(-4, TEXTURE + 4, 6)
    ends = (line[0], line[-1])
    return np.array([(x, y) for x in line for y in line if x in ends or y in ends])


def quantize(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, N) float -> int8 of the same shape and the (K, 1) float32 scale of each row."""
    scale = np.abs(rows).max(1, keepdims=True) / 127
    return np.round(rows / scale).astype(np.int8), scale.astype(np.float32)


class FaceGenerator:
    """Latent vectors in, faces and their landmarks out; made by `load`.

    size: K, the length of a latent vector. Each of its numbers has a standard deviation of 1 over the faces.
    """

    def __init__(self, tensors: dict[str, Tensor]):
        state, part = {}, {}
        for name, value in tensors.items():
            if name.startswith("refiner."):
                state[name.removeprefix("refiner.")] = value.float()
            else:
                part[name] = value.numpy()
        self.refiner = Refiner().eval()
        self.refiner.load_state_dict(state)
        self.refiner.to(memory_format=torch.channels_last)
        self.texture_mean = part["texture_mean"].astype(np.float32)  # (3 * 96 * 96,)
        self.texture_basis = part["texture_basis"].astype(np.float32) * part["texture_scale"]  # (110, 3 * 96 * 96)
        self.shape_mean = part["shape_mean"].astype(np.float64)  # (136,)
        self.shape_basis = part["shape_basis"].astype(np.float64)  # (24, 136)
        self.joint = part["joint"].astype(np.float32)  # (K, 110 + 24): from latents to both sets of coefficients
        self.weights = part["mixture_weights"].astype(np.float64)
        self.means = part["mixture_means"].astype(np.float64)  # (20, 24)
        self.factors = part["mixture_factors"].astype(np.float64)  # (20, 24, 24), Cholesky
        self.mean_landmarks = part["landmarks"].astype(np.float64)  # (68, 2), in the texture
        self.sharp = _features(self.mean_landmarks)[..., None]  # (96, 96, 1)
        self.size = len(self.joint)

    @classmethod
    def load(cls, path: str | os.PathLike = WEIGHTS / "faces.safetensors") -> "FaceGenerator":
        """Read the weights. Raises FileNotFoundError where there are none."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"no weights at {path}: make them with python -m synthetic.train_generator")
        return cls(load_file(path))

    def sample(self, count: int, rng: np.random.Generator, variety: float = 0.85) -> np.ndarray:
        """(count, K) float32 latent vectors of faces: a mixture of Gaussians in the first, a Gaussian in the rest.

        variety: the standard deviation within each Gaussian, 1 for that of the training faces; less is prettier.
        """
        latents = variety * rng.standard_normal((count, self.size))
        which = rng.choice(len(self.weights), count, p=self.weights / self.weights.sum())
        d = self.means.shape[1]
        within = np.einsum("nij,nj->ni", self.factors[which], latents[:, :d])  # (count, d), correlated
        latents[:, :d] = self.means[which] + within
        return latents.astype(np.float32)

    def blurred(self, latents: np.ndarray) -> Tensor:
        """(N, K) -> (N, 3, 96, 96) in -1..1: the linear model's textures, which the refiner makes sharp."""
        coefficients = latents @ self.joint[:, : len(self.texture_basis)]
        flat = coefficients @ self.texture_basis + self.texture_mean
        return torch.from_numpy(flat).view(-1, TEXTURE, TEXTURE, 3).permute(0, 3, 1, 2)

    def shapes(self, latents: np.ndarray) -> np.ndarray:
        """(N, K) -> landmarks (N, 68, 2) in the texture's pixels."""
        moves = latents.astype(np.float64) @ self.joint[:, len(self.texture_basis) :]
        return (moves @ self.shape_basis + self.shape_mean).reshape(-1, 68, 2)

    @torch.inference_mode()
    def textures(self, latents: np.ndarray) -> np.ndarray:
        """(N, K) -> (N, 96, 96, 3) uint8 RGB, sharp."""
        blurred = self.blurred(latents).contiguous(memory_format=torch.channels_last)
        detail = MOST_DETAIL * torch.tanh((self.refiner(blurred) - blurred) / MOST_DETAIL)
        share = torch.from_numpy(SKIN_DETAIL + (1 - SKIN_DETAIL) * self.sharp).permute(2, 0, 1)  # (1, 96, 96)
        sharp = (blurred + detail * share).clamp(-1, 1)
        levels = (sharp * 127.5 + 127.5).round().byte()
        levels = levels.permute(0, 2, 3, 1).contiguous().numpy()  # (N, 3, 96, 96) -> (N, 96, 96, 3)
        return np.stack([_calm(texture, self.sharp[..., 0]) for texture in levels])

    def __call__(
        self, latents: np.ndarray, places: np.ndarray | None = None, size: int = SIZE
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N, K) -> faces (N, size, size, 3) uint8 RGB and their landmarks (N, 68, 2) in pixels.

        places: (N, 4), each about -1 to 1: turn in the picture (of 10 degrees), size (of 8 %), shift right and down
        (of 4 % of the picture).
        """
        textures, shapes = self.textures(latents), self.shapes(latents)
        places = np.zeros((len(latents), 4)) if places is None else places
        faces, landmarks = [], []
        for texture, shape, place in zip(textures, shapes, places, strict=True):
            face, points = _place(texture, shape, self.mean_landmarks, place, size)
            faces.append(face)
            landmarks.append(points)
        return np.stack(faces), np.stack(landmarks)


def _features(landmarks: np.ndarray) -> np.ndarray:
    """(96, 96) float32: 1 at the eyes, brows, nostrils and mouth of the texture, 0 on skin, hair and background."""
    mask = np.zeros((TEXTURE, TEXTURE), np.float32)
    for part in (slice(36, 42), slice(42, 48), slice(17, 22), slice(22, 27), slice(31, 36), slice(48, 60)):
        sixteenths = np.round(landmarks[part] * 16).astype(np.int32)  # of a pixel, for shift=4
        cv2.fillConvexPoly(mask, cv2.convexHull(sixteenths), 1.0, shift=4)
    return cv2.GaussianBlur(cv2.dilate(mask, np.ones((7, 7))), (0, 0), 3)


def _calm(texture: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """A texture (96, 96, 3) uint8 without the specks that an adversary leaves.

    Colours are those of the neighbourhood, by a median; light is smoothed, but for edges, where `sharp` is not 1.
    """
    planes = cv2.cvtColor(texture, cv2.COLOR_RGB2YCrCb)
    planes[..., 1:] = cv2.medianBlur(planes, 5)[..., 1:]
    smooth = cv2.bilateralFilter(planes[..., 0], 5, 40, 2.0)
    planes[..., 0] = np.round(sharp * planes[..., 0] + (1 - sharp) * smooth)
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)


def _place(
    texture: np.ndarray, shape: np.ndarray, mean: np.ndarray, place: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Carry a texture to its landmarks and those into the picture: (size, size, 3) uint8, (68, 2)."""
    turn, zoom, right, down = place
    scale = size / (TEXTURE - 6) * (1 + 0.08 * zoom)
    cos, sin = scale * np.cos(np.radians(10 * turn)), scale * np.sin(np.radians(10 * turn))
    matrix = np.array([[cos, -sin], [sin, cos]])
    centre = np.array([(size - 1) / 2, (size - 1) / 2]) + 0.04 * size * np.array([right, down])
    middle = np.array([TEXTURE / 2, TEXTURE / 2])

    # For each pixel, where in the texture its colour is: turned back, then bent by the spline. The spline is smooth,
    # so it is computed at every fourth pixel only.
    line = np.arange(0, size + GRID, GRID) + 0.0
    pixels = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    level = (pixels - centre) @ np.linalg.inv(matrix).T + middle
    fixed = anchors()
    at = spline_map(np.concatenate([shape, fixed]), level) @ np.concatenate([mean, fixed])
    at = at.reshape(len(line), len(line), 2).astype(np.float32)
    between = (np.arange(size) / GRID).astype(np.float32)
    at = cv2.remap(at, *np.meshgrid(between, between), cv2.INTER_LINEAR)  # (size, size, 2)
    face = cv2.remap(texture, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return face, (shape - middle) @ matrix.T + centre
