"""Picture and points move together; the course's transforms on known numbers; what each augmentation does."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from find_data import find_dataset
from keypoint_data import MIRRORED, FacialKeypointsDataset, PointSample
from keypoint_transforms import (
    Blocks,
    Blur,
    CentreCrop,
    DrawnGlasses,
    DrawnMask,
    JpegArtifacts,
    Light,
    LowResolution,
    Noise,
    Normalize,
    RandomCrop,
    RandomMirror,
    RandomSimilarity,
    Rescale,
    ToTensor,
    _motion,
    denormalize,
    eval_transform,
    similarity,
    train_transform,
)

ONLY_PICTURE = [Blocks, Blur, DrawnGlasses, DrawnMask, JpegArtifacts, Light, LowResolution, Noise]


@pytest.fixture(scope="module")
def faces() -> list[PointSample]:
    """Eight of the embedded faces without glasses, about 112 x 112, each in a picture of 168 x 168."""
    dataset = FacialKeypointsDataset(find_dataset("sample"))
    margin = [(28, 28), (28, 28), (0, 0)]
    return [PointSample(np.pad(image, margin), points + 28) for image, points in (dataset[i] for i in range(0, 80, 10))]


@pytest.fixture
def face(faces) -> PointSample:
    """The first of `faces`, alone in its picture of 112 x 112."""
    return CentreCrop((112, 112))(faces[0])


def dotted(at: np.ndarray, height: int = 150, width: int = 180) -> np.ndarray:
    """A black picture with a soft white dot at a place (2,) of subpixel exactness."""
    y, x = np.mgrid[0:height, 0:width]
    dot = 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 2.5**2))
    return np.repeat(dot[..., None], 3, axis=2).round().astype(np.uint8)


def centre_of(picture: np.ndarray) -> np.ndarray:
    """x and y of the middle of what is bright."""
    light = picture.astype(float).sum(-1)
    y, x = np.mgrid[0 : light.shape[0], 0 : light.shape[1]]
    return np.array([(x * light).sum(), (y * light).sum()]) / light.sum()


MOVES = {
    "smaller": Rescale(100),
    "larger": Rescale(333),
    "bent": Rescale((120, 260)),
    "part": RandomCrop((120, 130)),
    "centre": CentreCrop((121, 140)),
    "mirror": RandomMirror(1),
    "similarity": RandomSimilarity(40, (0.7, 1.4), 0.1, (130, 110)),
    "all": v2.Compose([Rescale(170), RandomCrop(140), RandomSimilarity(20, (0.8, 1.2), 0.05, (112, 112))]),
}


@pytest.mark.parametrize("name", MOVES)
def test_points_stay_with_their_pixels(name):
    torch.manual_seed(4)
    keypoints = np.random.default_rng(4).uniform((70, 55), (110, 95), (68, 2)).astype(np.float32)
    for i in (0, 17, 36, 54):
        moved = MOVES[name](PointSample(dotted(keypoints[i]), keypoints))
        assert moved.keypoints.dtype == np.float32
        assert moved.image.dtype == np.uint8
        now = np.argsort(MIRRORED)[i] if name == "mirror" else i
        np.testing.assert_allclose(centre_of(moved.image), moved.keypoints[now], atol=0.15)


def test_similarity_moves_points_as_torchvision_does():
    points = np.random.default_rng(0).uniform(60, 108, (68, 2)).astype(np.float32)
    sample = PointSample(np.zeros((168, 168, 3), np.uint8), points)
    moved = similarity(sample, 25.0, 1.2, (4.0, -7.0), (168, 168)).keypoints
    there = tv_tensors.KeyPoints(torch.from_numpy(points), canvas_size=(168, 168))
    theirs = v2.functional.affine(there, 25.0, [4, -7], 1.2, [0.0, 0.0], center=[83.5, 83.5])
    np.testing.assert_allclose(moved, np.asarray(theirs), atol=1e-3)


def test_similarity_keeps_to_its_bounds():
    torch.manual_seed(0)
    square = PointSample(np.zeros((100, 100, 3), np.uint8), np.float32([[49.5, 49.5], [59.5, 49.5]]))
    moved = np.stack([RandomSimilarity(20, (0.8, 1.5), 0.1, (60, 80))(square).keypoints for _ in range(500)])
    across = moved[:, 1] - moved[:, 0]
    turn, scale = np.degrees(np.arctan2(across[:, 1], across[:, 0])), np.hypot(*across.T) / 10
    shift = (moved[:, 0] - (29.5, 39.5)) / (60, 80)
    for values, low, high in ((turn, -20, 20), (scale, 0.8, 1.5), (shift[:, 0], -0.1, 0.1), (shift[:, 1], -0.1, 0.1)):
        assert low <= values.min() < low + 0.15 * (high - low)
        assert high >= values.max() > high - 0.15 * (high - low)


def test_mirror_twice_is_the_same_face(face):
    mirror = RandomMirror(1)
    once = mirror(face)
    assert once.keypoints[36:42, 0].mean() < once.keypoints[42:48, 0].mean(), "what is left keeps a left one's number"
    np.testing.assert_array_equal(once.image, face.image[:, ::-1])
    twice = mirror(once)
    np.testing.assert_array_equal(twice.image, face.image)
    np.testing.assert_allclose(twice.keypoints, face.keypoints, atol=1e-4)


# ------------------------------------------------------------------------------------- those of the course


def test_rescale_on_known_numbers():
    sample = PointSample(np.zeros((200, 300, 3), np.uint8), np.float32([[0, 0], [299, 199], [99.5, 49.5]]))
    half = Rescale(100)(sample)
    assert half.image.shape == (100, 150, 3)
    np.testing.assert_allclose(half.keypoints, [[-0.25, -0.25], [149.25, 99.25], [49.5, 24.5]])
    bent = Rescale((400, 150))(sample)
    assert bent.image.shape == (400, 150, 3)
    np.testing.assert_allclose(bent.keypoints, [[-0.25, 0.5], [149.25, 398.5], [49.5, 99.5]])
    assert Rescale(250)(PointSample(np.zeros((192, 176, 3), np.uint8), sample[1])).image.shape == (272, 250, 3)


def test_random_crop_cuts_every_part_and_refuses_a_small_picture():
    y, x = np.mgrid[0:12, 0:15].astype(np.uint8)
    sample = PointSample(np.stack([x, y, x], 2), np.float32([[7, 5]]))
    torch.manual_seed(0)
    corners = set()
    for _ in range(300):
        image, keypoints = RandomCrop((10, 12))(sample)
        left, top = image[0, 0, :2]
        np.testing.assert_array_equal(image, sample.image[top : top + 10, left : left + 12])
        np.testing.assert_allclose(keypoints, [[7 - float(left), 5 - float(top)]])
        corners.add((int(left), int(top)))
    assert corners == {(left, top) for left in range(4) for top in range(3)}
    with pytest.raises(ValueError, match="a picture of 12x15 pixels has no part of 13x13: put a larger Rescale before"):
        RandomCrop(13)(sample)


def test_normalize_and_back():
    image = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]])
    grey, keypoints = Normalize()(PointSample(image, np.float32([[150, 50], [100, 87.5]])))
    np.testing.assert_allclose(grey, [[0.299, 0.587, 0.114, 1.0]], atol=0.002)  # ITU-R BT.601
    assert (grey.dtype, keypoints.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(keypoints, [[1, -1], [0, -0.25]])
    np.testing.assert_allclose(denormalize(keypoints), [[150, 50], [100, 87.5]])
    assert denormalize(torch.tensor([[1.0, -1.0]])).tolist() == [[150, 50]]


def test_to_tensor_on_known_numbers():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    tensor, keypoints = ToTensor()(PointSample(image, np.float32([[1, 2]])))
    assert tensor.shape == (3, 2, 4)
    assert tensor.dtype == keypoints.dtype == torch.float32
    assert tensor[2, 1, 3].item() == pytest.approx(23 / 255)
    assert keypoints.tolist() == [[1, 2]]
    grey = ToTensor()(PointSample(np.float32([[0.25, 1]]), np.float32([[1, 2]]))).image
    assert grey.tolist() == [[[0.25, 1]]]


# ------------------------------------------------------------------------------------------- augmentation


@pytest.mark.parametrize("kind", ONLY_PICTURE)
def test_it_changes_the_picture_and_nothing_else(kind, faces):
    torch.manual_seed(0)
    for face in faces:
        before = face.image.copy()
        for _ in range(3):
            image, keypoints = kind(p=1)(face)
            assert (image.shape, image.dtype) == ((168, 168, 3), np.uint8)
            assert np.isfinite(keypoints).all()
            np.testing.assert_array_equal(keypoints, face.keypoints)
            assert (image != before).mean() > 0.003
        np.testing.assert_array_equal(face.image, before, "the picture it was given")
    assert kind(p=0)(faces[0]) is faces[0]


@pytest.mark.parametrize("kind", [*ONLY_PICTURE, RandomMirror])
@pytest.mark.parametrize(("spread", "middle"), [(0, 20), (0.5, 20), (30, -200), (900, 40)])
def test_it_takes_any_points_and_sizes(kind, spread, middle):
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    for height, width in ((40, 31), (97, 150)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image.flags.writeable = False  # as one of an array on disk
        keypoints = (middle + spread * rng.standard_normal((68, 2))).astype(np.float32)
        for _ in range(4):
            changed = kind(p=1)(PointSample(image, keypoints))
            assert (changed.image.shape, changed.image.dtype) == (image.shape, np.uint8)
            assert changed.keypoints.dtype == np.float32
            assert np.isfinite(changed.keypoints).all()


def test_p_is_how_often(face):
    torch.manual_seed(0)
    changed = sum(RandomMirror(0.3)(face) is not face for _ in range(1000))
    assert 250 < changed < 350


def detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(image, cv2.CV_32F).std())


@pytest.mark.parametrize("kind", [LowResolution, Blur])
def test_detail_is_lost_and_the_face_stays_in_its_place(kind, face):
    torch.manual_seed(0)
    sharp, dot = detail(face.image), PointSample(dotted(np.array([60.3, 50.8]), 112, 112), face.keypoints)
    for _ in range(30):
        assert detail(kind(p=1)(face).image) < sharp
        np.testing.assert_allclose(centre_of(kind(p=1)(dot).image), (60.3, 50.8), atol=0.25)


def test_motion_blur_is_a_line():
    kernel = _motion(9.0, np.radians(30))
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    y, x = np.argwhere(kernel > 0.02).T - kernel.shape[0] // 2
    across, along = x * np.sin(np.radians(30)) - y * np.cos(np.radians(30)), x * np.cos(np.radians(30)) + y * 0.5
    assert np.abs(across).max() < 1.2
    assert 4 <= np.abs(along).max() < 6


def test_grain_is_as_strong_as_it_was_told():
    flat = PointSample(np.full((112, 112, 3), 128, np.uint8), np.zeros((68, 2), np.float32))
    torch.manual_seed(0)
    noisy = [Noise(p=1, sigma=(10, 10))(flat).image.astype(float) - 128 for _ in range(20)]
    assert np.std(noisy) == pytest.approx(10, abs=0.3)
    colourless = [bool((one == one[..., :1]).all()) for one in noisy]
    assert 4 <= sum(colourless) <= 16


def test_jpeg_is_coarse_at_a_low_quality(face):
    coarse, fine = (JpegArtifacts(p=1, quality=(q, q))(face).image.astype(float) for q in (10, 95))
    assert np.abs(fine - face.image).mean() < 3, "the colours are where they were"
    assert np.abs(coarse - face.image).mean() > 2 * np.abs(fine - face.image).mean()


def test_light_may_take_the_colour_or_come_from_a_side(face):
    torch.manual_seed(0)
    grey = Light(p=1, grey=1, side=0)(face).image
    assert (grey == grey[..., :1]).all()
    flat = PointSample(np.full((112, 112, 3), 120, np.uint8), face.keypoints)
    even = Light(p=1, grey=0, side=0)(flat).image
    assert (even == even[0, 0]).all()
    lit = Light(p=1, grey=0, side=1)(flat).image.astype(float)
    assert np.ptp(lit.mean(-1)) > 15
    weak = [np.abs(Light(p=1, strength=0.05, grey=0)(face).image.astype(int) - face.image).mean() for _ in range(20)]
    assert max(weak) < 12


def test_blocks_hide_a_part_and_leave_a_part(face):
    torch.manual_seed(0)
    hidden = [(Blocks(p=1)(face).image != face.image).any(-1).mean() for _ in range(100)]
    assert 0.03 < np.mean(hidden) < 0.35
    assert max(hidden) < 0.85


def test_glasses_are_drawn_at_the_eyes(face):
    torch.manual_seed(0)
    change = np.mean([np.abs(DrawnGlasses(p=1)(face).image.astype(float) - face.image).sum(-1) for _ in range(20)], 0)
    x, y = face.keypoints[36:48].mean(0).astype(int)
    chin = int(face.keypoints[57, 1])  # from the lower lip down
    assert change[y - 8 : y + 8, x - 25 : x + 25].mean() > 20
    assert change[chin:].max() == 0


def test_a_mask_hides_mouth_and_nostrils_and_no_eye(faces):
    torch.manual_seed(0)
    for face in faces:
        flat = PointSample(np.full((168, 168, 3), 90, np.uint8), face.keypoints)
        covered = np.mean([(DrawnMask(p=1)(flat).image != 90).any(-1) for _ in range(40)], 0)
        share = [covered[y, x] for x, y in face.keypoints.round().astype(int)]
        assert np.mean(share[48:]) > 0.9
        assert max(share[i] for i in (37, 38, 43, 44)) < 0.05, "the upper lids"
        assert max(share[19:25]) == 0, "the brows, but for their ends, where the bands pass"


# --------------------------------------------------------------------------------------------- in a row


def test_training_and_measuring_see_the_same_size(faces):
    torch.manual_seed(0)
    train, measure = pickle.loads(pickle.dumps((train_transform(112), eval_transform(112))))
    for face in faces:
        image, keypoints = train(face)
        assert (image.shape, image.dtype) == ((3, 112, 112), torch.float32)
        assert 0 <= image.min() < image.max() <= 1
        assert (keypoints.shape, keypoints.dtype) == ((68, 2), torch.float32)
        image, keypoints = measure(face)
        np.testing.assert_array_equal((image * 255).round().permute(1, 2, 0), face.image[28:140, 28:140])
        np.testing.assert_allclose(keypoints, face.keypoints - 28, atol=1e-4)
    assert train_transform(64)(PointSample(np.zeros((96, 96, 3), np.uint8), faces[0].keypoints))[0].shape[-1] == 64


class Repeated(Dataset):
    """One face, sixteen times."""

    def __init__(self, face: PointSample):
        self.face, self.transform = face, train_transform(112)

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> PointSample:
        return self.transform(self.face)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_seed_repeats_what_each_worker_draws(faces, workers):
    loader = DataLoader(Repeated(faces[0]), batch_size=4, num_workers=workers)

    def two_epochs() -> torch.Tensor:
        torch.manual_seed(7)
        return torch.cat([batch.keypoints.clone() for _ in range(2) for batch in loader])  # (32, 68, 2)

    drawn = two_epochs()
    torch.testing.assert_close(drawn, two_epochs(), rtol=0, atol=0)
    assert len(torch.unique(drawn.flatten(1), dim=0)) == 32, "no two alike, in no worker and no epoch"
