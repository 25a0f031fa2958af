"""The training transforms: shapes, ranges, seeds, and that the eyes stay to be seen."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from augment import CoverLowerFace, CutSides, Jpeg, train_transform


def test_train_transform_keeps_shape_range_and_seed():
    batch = torch.randint(0, 256, (20, 3, 96, 144), dtype=torch.uint8)
    transform = train_transform()
    torch.manual_seed(1)
    first = transform(batch)
    torch.manual_seed(1)
    assert torch.equal(first, transform(batch))
    assert first.shape == (20, 3, 64, 96)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert not torch.equal(first, transform(batch))


def test_covered_and_cut_faces_keep_the_eyes():
    """At least one eye and its surroundings stay as they were, and something is covered."""
    torch.manual_seed(0)
    batch = torch.full((2, 3, 64, 96), 100, dtype=torch.uint8)
    eyes = (slice(19, 33), slice(None))  # rows of the crop around the eye line
    covered = torch.stack([CoverLowerFace()(batch) for _ in range(50)])
    assert torch.equal(covered[..., *eyes], batch[..., *eyes].expand(50, -1, -1, -1, -1))
    assert ((covered[..., -1, :] == 100).float().mean() < 0.3).item()
    cut = torch.stack([CutSides()(batch) for _ in range(50)])
    seen = (cut[..., 19:33, :] == 100).all(-2)  # columns in which the eyes' rows are whole
    assert (seen[..., :48].all(-1) | seen[..., 48:].all(-1)).all()
    assert (cut == 0).any()


@pytest.mark.parametrize("seed", range(12))
def test_a_mask_is_what_its_random_numbers_say(seed):
    """Worked out from the numbers in the order in which they are drawn: a seed means the same masks for ever."""
    torch.manual_seed(seed)
    nose, ends = torch.empty(()).uniform_(0.53, 0.80), torch.empty(2).uniform_(-0.03, 0.20)
    channels = 3 if torch.rand(()) < 0.5 else 1
    colour = 255 * torch.rand(channels).expand(3) ** 1.5
    light, strips, has_strips = torch.empty(()).uniform_(0.6, 1.1), torch.rand(2), torch.rand(()) < 0.5

    torch.manual_seed(seed)
    height, width = 64, 97
    mask = CoverLowerFace().make_params([torch.zeros(3, height, width)])
    assert torch.allclose(mask["paint"][:, 0, 0], colour)
    assert torch.allclose(mask["paint"][:, -1, 40], (colour * light).clamp(0, 255))
    covered = mask["below"].any(0).nonzero()[[0, -1], 0]  # the first and the last column
    free = 0.18 * width * strips * has_strips
    assert covered.tolist() == pytest.approx([float(free[0]), width - 1 - float(free[1])], abs=1)
    for column, share in ((width // 2, nose), (int(covered[0]), None), (int(covered[1]), None)):
        if share is None:  # on the straight line from the nose to an edge
            x = column / (width - 1)
            share = nose + (ends[0] * (1 - 2 * x) if x < 0.5 else ends[1] * (2 * x - 1))
        rows = mask["below"][:, column]
        assert not rows[: int(height * share)].any()
        assert rows[int(height * share) + 1 :].all()


@pytest.mark.parametrize("sigma", [1.0, 2.5, 5.0])
def test_the_blur_is_as_wide_as_it_says(sigma):
    """The standard deviation of what becomes of a point: a kernel cut too short is narrower."""
    steps = train_transform().transform.transforms
    (blur,) = (inner for step in steps for inner in getattr(step, "transforms", []) if type(inner) is v2.GaussianBlur)
    assert blur.sigma[1] == 5, "the widest that is tried here"
    blur.sigma = (sigma, sigma)
    point = torch.zeros(1, 3, 64, 96)
    point[..., 32, 48] = 1
    spread = blur(point)[0, 0].numpy()
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    y, x = np.indices(spread.shape)
    assert np.sqrt((spread * (x - 48) ** 2).sum()) == pytest.approx(sigma, rel=0.02)
    assert np.sqrt((spread * (y - 32) ** 2).sum()) == pytest.approx(sigma, rel=0.02)


def test_jpeg_keeps_red_red():
    red = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(2, 3, 64, 96)
    for _ in range(5):
        assert (Jpeg()(red).int() - red.int()).abs().max() <= 6
