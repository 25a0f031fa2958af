"""How do the synthetic faces learn to look like faces?  From aligned bare ones; also a command.

    pip install dlib-bin face_recognition_models          # finds the 68 landmarks
    python -m synthetic.train_generator --data PATH/celeba [--out weights/faces.safetensors]
                                        [--steps 4000] [--cache textures.npz]

--data: CelebA as `data_load.CelebA` reads it; only faces of its training part without glasses are used. The steps:

    1. landmarks: 68 of each face, by the regression trees of Kazemi and Sullivan (CVPR 2014) as dlib has them
    2. texture: each face warped until its landmarks lie at their mean; those turned far to a side are left out
    3. linear model: principal components of textures and of shapes, then of both together, and a mixture of
       Gaussians over the first of the joint ones
    4. refiner: a network that makes the linear model's blurred textures sharp, against a discriminator that
       tells its work from real textures (Goodfellow et al., 2014; hinge loss and spectral norm of Miyato et al., 2018)

The result holds means, components, the mixture and the network: no face. --cache keeps what steps 1 and 2 made; what it
holds of other pictures, or made by another program, is made again.
"""

import argparse
import copy
import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from data_load import CelebA, FaceDataset, Label
from face_cache import package_version
from find_data import DataError
from glasses.files import whole_file
from models import WEIGHTS
from synthetic.face_generator import EYES, TEXTURE, FaceGenerator, Refiner, anchors, quantize, spline_map

TEXTURES, SHAPES = 110, 24  # components of each
MIXED, GAUSSIANS = 24, 20  # joint components under the mixture, and Gaussians in it
BATCH, STEPS = 8, 4000
# Which landmark of a face is each landmark of its mirror image: jaw, brows, nose, eyes, and lips outside and inside.
_EYES_MIRRORED = [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
_LIPS_MIRRORED = np.r_[54:47:-1, 59:54:-1, 64:59:-1, 67, 66, 65]
MIRROR = np.r_[16:-1:-1, 26:16:-1, 27:31, 35:30:-1, _EYES_MIRRORED, _LIPS_MIRRORED]
STEADY = [*range(36, 48), 27, 28, 29, 30, 33, 48, 54]  # landmarks that a smile or a turn moves least


# -------------------------------------------------------------------------------- landmarks and textures


def find_landmarks(dataset: FaceDataset, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks (N, 68, 2) in pixels, indices (N,) and detection scores (N,) of the frontal faces among `indices`."""
    from importlib.util import find_spec

    import dlib

    models = Path(find_spec("face_recognition_models").origin).parent / "models"
    predictor = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
    detector = dlib.get_frontal_face_detector()
    points, kept, scores = [], [], []
    for i in tqdm(indices, desc="landmarks", disable=None):
        image = dataset.read(i)
        height, width = image.shape[:2]
        boxes, box_scores, _ = detector.run(image, 0, 0.0)
        near = []
        for box, score in zip(boxes, box_scores, strict=True):
            off = np.hypot(box.center().x - 0.5 * width, box.center().y - 0.55 * height)
            if off < 30 and box.width() > 60:
                near.append((score, box))
        if near:
            score, box = max(near, key=lambda pair: pair[0])
            points.append([(point.x, point.y) for point in predictor(image, box).parts()])
            kept.append(i)
            scores.append(score)
    return np.array(points, dtype=float), np.array(kept), np.array(scores)


def procrustes(points: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The turn and scale (2, 2) and the shift (2,) that bring (N, 2) points nearest to the reference."""
    a, b = points - points.mean(0), reference - reference.mean(0)
    a, b = a @ (1, 1j), b @ (1, 1j)  # (N, 2) -> (N,) complex numbers: one factor turns and scales them
    factor = np.vdot(a, b) / np.vdot(a, a)  # least squares
    matrix = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return matrix, reference.mean(0) - matrix @ points.mean(0)


def mean_landmarks(points: np.ndarray) -> np.ndarray:
    """(68, 2) mean of (N, 68, 2) aligned landmarks, symmetrical, its eyes at EYES of the texture."""
    eyes = np.array(EYES)
    mean = points[0]
    for _ in range(3):
        aligned = []
        for one in points:
            matrix, shift = procrustes(one[STEADY], mean[STEADY])
            aligned.append(one @ matrix.T + shift)
        mean = np.mean(aligned, 0)
        left, right = mean[36:42].mean(0), mean[42:48].mean(0)
        matrix, shift = procrustes(np.stack([left, right]), eyes)
        mean = mean @ matrix.T + shift
        mean = (mean + mean[MIRROR] * (-1, 1) + (TEXTURE, 0)) / 2  # of the face and its mirror image
    return mean


def warp_to_mean(
    image: np.ndarray, points: np.ndarray, mean: np.ndarray, spline: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """An image's texture (96, 96, 3) uint8, and its landmarks (68, 2) in the texture's frame before the warp.

    spline: from the landmarks and anchors to every pixel, as `spline_map` gives it for the mean.
    """
    matrix, shift = procrustes(points[STEADY], mean[STEADY])
    shape = points @ matrix.T + shift
    at = spline @ np.concatenate([shape, anchors()])  # (96 * 96, 2)
    at = ((at - shift) @ np.linalg.inv(matrix).T).reshape(TEXTURE, TEXTURE, 2).astype(np.float32)
    smooth = cv2.GaussianBlur(image, (0, 0), 0.6)  # the texture is smaller than the image
    return cv2.remap(smooth, at[..., 0], at[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT), shape


def textures_of(dataset: FaceDataset, cache: Path | None, mean: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Textures (N, 96, 96, 3) uint8, shapes (N, 68, 2), scores (N,) and the mean landmarks of the bare faces.

    mean: (68, 2) to warp to, where it is not to be that of these faces. cache: a file to keep them in, in the format of
    .npz whatever its name; what it holds is taken where it was made of the same pictures by the same program.
    """
    bare = np.flatnonzero(dataset.labels == Label.NONE)
    key = textures_key([dataset.files[i] for i in bare], mean) if cache is not None else ""
    if cache is not None and cache.is_file():
        kept = dict(np.load(cache))
        if str(kept.pop("key", "")) == key:
            return kept
        print(f"{cache} is of other faces, or of another program: made again", file=sys.stderr)
    points, indices, scores = find_landmarks(dataset, bare)
    mean = mean_landmarks(points) if mean is None else mean
    y, x = np.mgrid[0:TEXTURE, 0:TEXTURE]
    grid = np.stack([x.ravel(), y.ravel()], 1)
    spline = spline_map(np.concatenate([mean, anchors()]), grid)
    textures, shapes = [], []
    for i, one in zip(tqdm(indices, desc="textures", disable=None), points, strict=True):
        texture, shape = warp_to_mean(dataset.read(i), one, mean, spline)
        textures.append(texture)
        shapes.append(shape)
    result = {"textures": np.stack(textures), "shapes": np.stack(shapes), "scores": scores, "mean": mean}
    if cache is not None:
        with whole_file(cache) as partial, partial.open("wb") as file:
            np.savez(file, key=key, **result)
    return result


def textures_key(files: Sequence[Path], mean: np.ndarray | None) -> str:
    """A hash of all that `textures_of` depends on."""
    steps = (find_landmarks, procrustes, mean_landmarks, warp_to_mean, spline_map, anchors)
    recipe = {
        "files": [(str(file), file.stat().st_size) for file in files],
        "mean": None if mean is None else np.asarray(mean).tolist(),
        "code": [inspect.getsource(step) for step in steps],
        "sizes": (TEXTURE, EYES, STEADY, MIRROR.tolist()),
        "packages": [cv2.__version__, *map(package_version, ("dlib-bin", "dlib", "face_recognition_models"))],
    }
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()


def is_frontal(shapes: np.ndarray, scores: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(N,) bool: both cheeks in sight, the nose tip between the eyes, no odd shape, surely a face."""
    x = shapes[:, :, 0]
    left, right = x[:, 36] - x[:, 0:4].mean(1), x[:, 13:17].mean(1) - x[:, 45]  # (N,) from each eye to its cheek
    turned = np.abs((left - right) / (left + right))
    nose = np.abs((x[:, 30] - TEXTURE / 2) / (EYES[1][0] - EYES[0][0]))
    keep = (turned < 0.55) & (nose < 0.16) & (scores > 0.6)
    # The odd shapes: the 4 % farthest from the mean, each of 30 principal components counted in its own spread.
    offsets = (shapes - shapes[keep].mean(0)).reshape(len(shapes), -1)
    _, spread, components = np.linalg.svd(offsets[keep], full_matrices=False)
    distance = ((offsets @ components[:30].T / spread[:30]) ** 2).sum(1)
    return keep & (distance < np.percentile(distance[keep], 96))


# ------------------------------------------------------------------------------------------ linear model


def linear_model(
    textures: np.ndarray, shapes: np.ndarray, mean: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The parts of `FaceGenerator` but for the refiner, and the joint latents (2 N, K) of faces and mirror images."""
    from sklearn.mixture import GaussianMixture

    textures = np.concatenate([textures, textures[:, :, ::-1]])
    shapes = np.concatenate([shapes, shapes[:, MIRROR] * (-1, 1) + (TEXTURE, 0)])
    x = torch.from_numpy(textures.reshape(len(textures), -1)).float() / 127.5 - 1  # (2 N, 3 * 96 * 96)
    texture_mean = x.mean(0)
    x -= texture_mean
    basis = torch.svd_lowrank(x, q=TEXTURES + 20, niter=3)[2][:, :TEXTURES]  # (3 * 96 * 96, 110)
    coefficients = (x @ basis).numpy()
    texture_basis, texture_scale = quantize(basis.T.numpy())

    shapes = shapes.reshape(len(shapes), -1)  # (2 N, 136)
    shape_mean = shapes.mean(0)
    shape_basis = np.linalg.svd(shapes - shape_mean, full_matrices=False)[2][:SHAPES]  # (24, 136)
    moves = (shapes - shape_mean) @ shape_basis.T

    joint, latents = joint_components(coefficients, moves)
    mixture = GaussianMixture(GAUSSIANS, reg_covar=0.1, random_state=0, max_iter=25, init_params="k-means++")
    mixture.fit(latents[:, :MIXED])
    return {
        "texture_mean": texture_mean.half().numpy(),
        "texture_basis": texture_basis,
        "texture_scale": texture_scale,
        "shape_mean": shape_mean.astype(np.float32),
        "shape_basis": shape_basis.astype(np.float32),
        "joint": joint.astype(np.float32),
        "mixture_weights": mixture.weights_.astype(np.float32),
        "mixture_means": mixture.means_.astype(np.float32),
        "mixture_factors": np.linalg.cholesky(mixture.covariances_).astype(np.float16),
        "landmarks": mean.astype(np.float32),
    }, latents.astype(np.float32)


def joint_components(coefficients: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of textures (M, 110) and shapes (M, 24) together, in which both count alike.

    Returns the (K, 134) matrix from latents to both sets of coefficients, and the (M, K) latents, whose columns have
    a standard deviation of 1.
    """
    weight = np.sqrt(coefficients.var(0).sum() / moves.var(0).sum())
    both = np.concatenate([coefficients, moves * weight], 1)
    _, singular, components = np.linalg.svd(both, full_matrices=False)
    standard_deviations = singular / np.sqrt(len(both))
    latents = both @ components.T / standard_deviations
    joint = standard_deviations[:, None] * components
    joint[:, coefficients.shape[1] :] /= weight
    return joint, latents


# ----------------------------------------------------------------------------------------------- refiner


class Discriminator(nn.Module):
    """Tells real textures from made ones, at three sizes of what it looks at."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 160)):
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        pairs = zip((3, *widths[:-1]), widths, strict=True)
        self.layers = nn.ModuleList([norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in pairs])
        self.heads = nn.ModuleList([norm(nn.Conv2d(width, 1, 3, 1, 1)) for width in widths[1:]])

    def forward(self, texture: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, 3, 96, 96) -> maps of scores (B, 1, 24, 24), (B, 1, 12, 12) and (B, 1, 6, 6), and all features."""
        features = []
        for layer in self.layers:
            features.append(F.leaky_relu(layer(features[-1] if features else texture), 0.2))
        return [head(x) for head, x in zip(self.heads, features[1:], strict=True)], features


def blurred_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of 4x4 means; what lies outside the face counts an eighth."""
    line = torch.arange(TEXTURE, dtype=torch.float32)
    face = (((line[None] - 47.5) / 33) ** 2 + ((line[:, None] - 47) / 44) ** 2 < 1).float()
    weight = F.avg_pool2d((0.12 + 0.88 * face)[None, None], 4)
    return ((F.avg_pool2d(a, 4) - F.avg_pool2d(b, 4)).abs() * weight).mean()


def train_refiner(
    textures: np.ndarray,
    latents: np.ndarray,
    model: dict[str, np.ndarray],
    steps: int,
    seed: int = 0,
    save: Callable[[Refiner], None] = lambda refiner: None,
) -> Refiner:
    """The averaged refiner after `steps` batches: half reconstructions of real textures, half new faces.

    textures: (N, 96, 96, 3) uint8. latents: (2 N, K), theirs and then their mirror images'. A reconstruction is
    drawn to the real texture, by pixel and by the discriminator's features; a new face only to its own blurred
    texture; and both to what the discriminator takes for real. save: called with the average every 200 steps.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    refiner, critic = Refiner(), Discriminator()
    nn.init.normal_(refiner.last.weight, std=1e-3)  # at first the texture passes as it is
    nn.init.zeros_(refiner.last.bias)
    average = copy.deepcopy(refiner)
    generator = FaceGenerator(tensors_of(model, refiner))
    for network in (refiner, critic):
        network.to(memory_format=torch.channels_last)
    ours = torch.optim.Adam(refiner.parameters(), 2e-4, betas=(0.0, 0.99))
    theirs = torch.optim.Adam(critic.parameters(), 4e-4, betas=(0.0, 0.99))

    def rate(step: int) -> float:
        return min(1, step / 100) * min(1, (steps - step) / (0.3 * steps))

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, rate) for optimizer in (ours, theirs)]
    bar = tqdm(range(steps), desc="refiner", disable=None)
    for step in bar:
        real, blurred = draw_batch(textures, latents, generator, rng)
        made = refiner(blurred)
        update(theirs, critic_loss(critic, real, made.detach(), regularize=step % 16 == 0))
        critic.requires_grad_(False)
        loss, parts = refiner_loss(critic, real, blurred, made)
        update(ours, loss)
        critic.requires_grad_(True)
        for schedule in schedules:
            schedule.step()
        move_average(average, refiner, min(0.995, (1 + step) / (20 + step)))
        if step % 20 == 0:
            bar.set_postfix({name: f"{value:.3f}" for name, value in parts.items()}, refresh=False)
        if step % 200 == 199:
            save(average)
    return average


def draw_batch(
    textures: np.ndarray, latents: np.ndarray, generator: FaceGenerator, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Real textures and blurred ones, each (B, 3, 96, 96) in -1..1; every other real one is mirrored, by chance.

    The first half of the blurred textures are those of the first half of the real ones, the others are new faces'.
    """
    half = BATCH // 2
    rows = rng.integers(0, len(textures), BATCH)
    mirrored = rng.random(BATCH) < 0.5
    chosen = np.where(mirrored[:, None, None, None], textures[rows][:, :, ::-1], textures[rows])
    real = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 127.5 - 1  # (B, 96, 96, 3) -> (B, 3, 96, 96)
    known = latents[rows + len(textures) * mirrored][:half]
    codes = np.concatenate([known, generator.sample(half, rng)])  # (B, K)
    return real, generator.blurred(codes).contiguous(memory_format=torch.channels_last)


def critic_loss(critic: Discriminator, real: Tensor, made: Tensor, regularize: bool) -> Tensor:
    """Hinge loss of telling real textures from made ones, both (B, 3, 96, 96).

    regularize: also keep the slope at real textures small (Mescheder et al., ICML 2018); done every 16 steps, hence
    with 16 times the weight.
    """
    loss = 0
    real_scores, made_scores = critic(real)[0], critic(made)[0]
    for true, false in zip(real_scores, made_scores, strict=True):
        loss = loss + F.relu(1 - true).mean() + F.relu(1 + false).mean()
    if regularize:
        at = real.clone().requires_grad_(True)
        scores = sum(score.mean((1, 2, 3)).sum() for score in critic(at)[0])
        (slope,) = torch.autograd.grad(scores, at, create_graph=True)
        loss = loss + 16 * 0.25 * slope.square().sum((1, 2, 3)).mean()
    return loss


def refiner_loss(critic: Discriminator, real: Tensor, blurred: Tensor, made: Tensor) -> tuple[Tensor, dict[str, float]]:
    """What the refiner is to make small, and two of its parts to be shown; see `train_refiner`."""
    half = len(made) // 2
    scores, features = critic(made)
    with torch.no_grad():
        _, wanted = critic(real[:half])
    fooled = -sum(score.mean() for score in scores)
    alike = sum((found[:half] - goal).abs().mean() for found, goal in zip(features, wanted, strict=True))
    pixels = (made[:half] - real[:half]).abs().mean()
    kept = blurred_distance(made[:half], real[:half]) + blurred_distance(made[half:], blurred[half:])
    loss = 0.5 * fooled + 2 * alike + 2 * pixels + 5 * kept
    return loss, {"pixels": pixels.item(), "fooled": fooled.item()}


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the parameters of the average to those of the network, but for the share `keep`."""
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - keep)


def tensors_of(model: dict[str, np.ndarray], refiner: Refiner) -> dict[str, Tensor]:
    """The linear model and the refiner as `FaceGenerator` takes them; the tensors share their memory with both."""
    tensors = {name: torch.from_numpy(value) for name, value in model.items()}
    return tensors | {f"refiner.{name}": value for name, value in refiner.state_dict().items()}


def save_generator(model: dict[str, np.ndarray], refiner: Refiner, path: Path) -> None:
    """Write both as `FaceGenerator.load` reads them; the file appears whole or not at all."""
    tensors = tensors_of(model, refiner)
    for name, value in tensors.items():
        tensors[name] = (value.half() if name.startswith("refiner.") else value).contiguous()
    with whole_file(path) as partial:
        partial.write_bytes(save(tensors))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m synthetic.train_generator", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of CelebA, with its lists")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "faces.safetensors")
    parser.add_argument("--cache", type=Path, help="an .npz file for the textures: found there, not made again")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the refiner (default: {STEPS})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        data = textures_of(CelebA(options.data, split="train"), options.cache)
    except (DataError, ImportError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    keep = is_frontal(data["shapes"], data["scores"], data["mean"])
    print(f"{keep.sum()} of {len(keep)} faces look at the camera")
    torch.manual_seed(options.seed)
    model, latents = linear_model(data["textures"][keep], data["shapes"][keep], data["mean"])

    def save(refiner: Refiner) -> None:
        save_generator(model, refiner, options.out)

    save(train_refiner(data["textures"][keep], latents, model, options.steps, options.seed, save))
    print(f"wrote {options.out}, {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
