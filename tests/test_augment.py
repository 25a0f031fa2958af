"""The training transforms: shapes, ranges, seeds, what each step does, and that the eyes stay to be seen."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import v2

import augment
from augment import (
    Blur,
    BorrowLowerFace,
    Cap,
    Colour,
    CoverLowerFace,
    CutSides,
    Hand,
    Jpeg,
    LightEdge,
    LowResolution,
    Noise,
    Sometimes,
    Text,
    Warp,
    eval_transform,
    text_masks,
    train_transform,
)
from glasses.crops import CROP, Crop

EYE_ROWS = slice(19, 33)  # of the crop of 64, around the eye line
STEPS = [
    CoverLowerFace(), Hand(), Cap(), LightEdge(), Colour(), Text(), CutSides(), LowResolution(), Blur(), Jpeg(), Noise()
]  # fmt: skip
named = pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)


def noise_faces(count: int, height: int = 96, width: int = 144) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


def plain(count: int = 40, level: float = 0.5, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.full((count, 3, height, width), level)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ------------------------------------------------------------------------------------------------ the whole


def test_train_transform_keeps_shape_range_and_seed():
    batch = noise_faces(100)
    before = batch.clone()
    transform = train_transform(donors=noise_faces(3))
    torch.manual_seed(1)
    first = transform(batch)
    torch.manual_seed(1)
    assert torch.equal(first, transform(batch))
    assert first.shape == (100, 3, 64, 96)
    assert first.dtype == torch.float32
    assert first.is_contiguous()
    assert first.min() >= 0
    assert first.max() <= 1
    assert not torch.equal(first, transform(batch))
    assert torch.equal(batch, before), "the batch is the caller's"


def test_each_face_has_its_own_numbers():
    """Also across the parts into which a batch is cut."""
    faces = train_transform()(noise_faces(1).expand(130, -1, -1, -1))
    assert len(faces.flatten(1).unique(dim=0)) == 130


@named
def test_a_step_keeps_shape_and_range_and_gives_each_face_its_own_numbers(step):
    faces = torch.rand(1, 3, 64, 96).expand(24, -1, -1, -1).contiguous()
    before = faces.clone()
    torch.manual_seed(3)
    changed = step(faces)
    assert changed.shape == faces.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= -1e-6
    assert torch.equal(faces, before)
    few = {LightEdge: 20, CutSides: 10, Text: 20, LowResolution: 16, Jpeg: 16}.get(
        type(step), 24
    )  # a cut may take nothing away, a size or a quality come twice
    assert len(changed.flatten(1).unique(dim=0)) >= few
    torch.manual_seed(3)
    assert torch.equal(changed, step(faces))


@pytest.mark.parametrize("crop", [CROP, Crop(64, 48, unit=24.0), Crop(49, 37, unit=18.0)])
def test_any_crop_and_any_margin(crop):
    margin = crop.with_margin(1.5)
    batch = noise_faces(70, margin.height, margin.width)
    assert train_transform(crop, donors=batch[:2])(batch).shape == (70, 3, crop.height, crop.width)
    bare = batch[..., : crop.height, : crop.width]
    assert train_transform(crop)(bare).shape == (70, 3, crop.height, crop.width)


def test_without_strength_only_the_middle_is_cut_out():
    batch = noise_faces(5)
    middle = batch[..., 16:80, 24:120].float() / 255
    for transform in (train_transform(strength=0), eval_transform()):
        assert torch.allclose(transform(batch), middle)
    little = train_transform(strength=1e-4)(batch)
    same = (little - middle).abs().mean((1, 2, 3)) < 0.01
    assert torch.allclose(little[same], middle[same], atol=0.02)
    assert torch.allclose(little[~same].flip(-1), middle[~same], atol=0.02), "half are mirrored"


def test_strength_and_donors_decide_which_steps_there_are():
    def steps(transform):
        return {type(step.step).__name__: step.p for step in transform if isinstance(step, Sometimes)}

    full, half = steps(train_transform(donors=noise_faces(2))), steps(train_transform(strength=0.5))
    assert full.keys() - half.keys() == {"BorrowLowerFace"}
    assert half == {name: full[name] / 2 for name in half}


def test_a_transform_can_be_pickled_and_does_the_same_afterwards():
    batch = noise_faces(30)
    train_transform()(batch.repeat(3, 1, 1, 1))  # the watermarks are drawn
    assert len(pickle.dumps(train_transform())) < 20_000
    transform = train_transform(donors=noise_faces(2))
    again = pickle.loads(pickle.dumps(transform))
    torch.manual_seed(5)
    first = transform(batch)
    torch.manual_seed(5)
    assert torch.equal(first, again(batch))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_does_the_same():
    """From the same numbers, but for the noise, whose numbers are its own and yet those of the seed."""
    batch, donors = noise_faces(60), noise_faces(3)
    whole = train_transform(donors=donors)
    without_noise = type(whole)(*[step for step in whole if not isinstance(getattr(step, "step", step), Noise)])
    torch.manual_seed(1)
    on_cpu = without_noise(batch)
    torch.manual_seed(1)
    on_gpu = without_noise(batch.cuda())
    assert on_gpu.is_cuda
    assert ((on_gpu.cpu() - on_cpu).abs() > 0.01).float().mean() < 0.01  # a rounding before JPEG may go the other way
    torch.manual_seed(1)
    first = whole(batch.cuda())
    with torch.random.fork_rng(devices=[]):  # as in `FaceBatches`: the GPU's own generator is not asked
        torch.manual_seed(1)
        assert torch.equal(first, whole(batch.cuda()))


def test_sometimes_changes_those_that_it_draws():
    class Darken(nn.Module):
        def forward(self, images):
            return 0 * images

    faces = plain(1000)
    assert torch.equal(Sometimes(Darken(), 0.0)(faces.clone()), faces)
    assert not Sometimes(Darken(), 1.0)(faces.clone()).any()
    some = Sometimes(Darken(), 0.3)(faces.clone())
    assert set(some.unique().tolist()) == {0.0, 0.5}
    assert (some == 0).all((1, 2, 3)).float().mean() == pytest.approx(0.3, abs=0.06)  # 4 standard deviations
    assert (some == 0.5).all((1, 2, 3)).float().mean() == pytest.approx(0.7, abs=0.06)


# -------------------------------------------------------------------------------------------------- geometry


def test_warp_without_ranges_is_the_middle_or_its_mirror_image():
    faces = torch.rand(6, 3, 96, 144)
    middle = faces[..., 16:80, 24:120]
    still = {"degrees": 0, "shift": (0, 0), "scale": (1, 1), "shear": 0}
    assert torch.allclose(Warp(**still, mirror=0)(faces), middle, atol=1e-4)
    assert torch.allclose(Warp(**still, mirror=1)(faces), middle.flip(-1), atol=1e-4)


def maps_of(warp: Warp, count: int) -> np.ndarray:
    """(count, 2, 3) from pixels of the crop to those of the picture, both about their middle: measured on ramps."""
    y, x = torch.meshgrid(torch.arange(96) - 47.5, torch.arange(144) - 71.5, indexing="ij")
    ramps = torch.stack([x, y, torch.ones_like(x)])[None].expand(count, -1, -1, -1).float()
    out = warp(ramps).double().numpy()
    v, u = np.meshgrid(np.arange(64) - 31.5, np.arange(96) - 47.5, indexing="ij")
    maps = []
    for face in out:
        inside = face[2] > 0.999
        place = np.stack([u[inside], v[inside], np.ones(inside.sum())], 1)
        fit, residual, _, _ = np.linalg.lstsq(place, face[:2, inside].T, rcond=None)
        assert residual.max() < 1, "an affine map"
        maps.append(fit.T)
    return np.array(maps)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_warp_turns_scales_shears_and_shifts_as_far_as_it_says(strength):
    (warp,) = (step for step in train_transform(strength=strength) if isinstance(step, Warp))
    maps = maps_of(warp, 400)
    forward = np.linalg.inv(maps[:, :, :2])
    mirrored = np.linalg.det(forward) < 0
    assert mirrored.mean() == pytest.approx(0.5, abs=0.1)
    forward[mirrored, :, 0] *= -1

    scale = np.sqrt(np.linalg.det(forward))
    for measured, least, most in (
        (scale, 1 - 0.15 * strength, 1 + 0.18 * strength),
        (np.degrees(np.arctan2(forward[:, 1, 0] - forward[:, 0, 1], forward.trace(axis1=1, axis2=2))),
         -21 * strength, 21 * strength),  # a shear of 5 to both sides turns by 5 as well
    ):  # fmt: skip
        assert least - 0.01 <= measured.min() < least + 0.2 * (most - least)
        assert most + 0.01 >= measured.max() > most - 0.2 * (most - least)
    # columns of a turned and sheared square are at right angles but for the shears
    lean = np.degrees(
        np.arcsin((forward[:, :, 0] * forward[:, :, 1]).sum(1) / np.prod(np.hypot(*forward.transpose(1, 0, 2)), 1))
    )
    assert 7 * strength < np.abs(lean).max() < 10.1 * strength
    shift = np.abs(np.einsum("nij,nj->ni", np.linalg.inv(maps[:, :, :2]), maps[:, :, 2]))
    assert np.all(shift.max(0) <= np.array([0.05 * 144, 0.06 * 96]) * strength + 0.02)
    assert np.all(shift.max(0) > np.array([0.05 * 144, 0.06 * 96]) * strength * 0.9)


# ---------------------------------------------------------------------------------------- before the face


def test_a_borrowed_lower_face_is_the_donors_below_the_eyes():
    faces = torch.zeros(200, 3, 96, 144)
    donors = torch.zeros(2, 3, 96, 144, dtype=torch.uint8)
    donors[0, 0, :, :72] = 150  # red at the left, black at the right
    donors[1, 1] = 150  # green
    changed = BorrowLowerFace(donors)(faces)
    eyes = 47.5 - 0.15 * 36
    assert not changed[:, :, : round(eyes + 5)].any(), "the eyes stay"
    bottom = changed[:, :, -1]  # (N, 3, W)
    assert not changed[:, 2].any(), "no donor is blue"
    red, green = bottom[:, 0].amax(1) > 0, bottom[:, 1].amax(1) > 0
    assert (red ^ green).all(), "one donor each"
    assert 0.35 < red.float().mean() < 0.65
    left, right = bottom[red, 0, 10] > 0, bottom[red, 0, -10] > 0
    assert (left ^ right).all()
    assert 0.3 < left.float().mean() < 0.7, "mirrored half of the time"
    gain = bottom.amax((1, 2)) * 255 / 150
    assert 0.6 <= gain.min() < 0.65
    assert 1.25 < gain.max() <= 1.3
    first_row = (changed[green, 1, :, 72] > 0).int().argmax(1).float()  # where the line crosses the middle
    assert eyes + 0.24 * 36 <= first_row.min() < eyes + 0.35 * 36
    assert eyes + 0.60 * 36 < first_row.max() <= eyes + 0.75 * 36


def test_donors_must_be_cut_as_the_faces_are():
    with pytest.raises(ValueError, match=r"donors \(3, 64, 96\) for faces \(3, 96, 144\)"):
        BorrowLowerFace(noise_faces(1, 64, 96))(torch.zeros(1, 3, 96, 144))


def test_covered_and_cut_faces_keep_the_eyes():
    """At least one eye and its surroundings stay as they were, and something is covered."""
    faces = plain(200, 0.4)
    covered = CoverLowerFace()(faces)
    assert torch.equal(covered[..., EYE_ROWS, :], faces[..., EYE_ROWS, :])
    assert (covered[..., -1, :] == 0.4).float().mean() < 0.3
    cut = CutSides()(faces)
    seen = (cut[..., EYE_ROWS, :] == 0.4).all(-2)  # columns in which the eyes' rows are whole
    assert (seen[..., :48].all(-1) | seen[..., 48:].all(-1)).all()
    assert set(cut.unique().tolist()) == {0.0, faces.max().item()}
    assert (cut == 0).any((1, 2, 3)).float().mean() > 0.7


def test_a_cover_reaches_from_side_to_side_or_leaves_strips():
    covered = (CoverLowerFace()(plain(400, 0.437)) != 0.437).any(1)[:, -1]  # (N, W) of the lowest row
    assert covered[:, 20:76].float().mean() > 0.97
    whole = covered.float().mean(1) > 0.99
    assert 0.35 < whole.float().mean() < 0.65
    free = 96 - covered[~whole].sum(1)
    assert free.max() <= 2 * 0.18 * 96 + 2


def test_covers_have_patterns_folds_and_seams():
    """What is of one colour apart from its shade, row by row, has none of them."""
    covered = CoverLowerFace()(plain(400, 0.437))
    lowest = covered[:, :, 52:, 30:66]
    spread = (lowest.amax(-1) - lowest.amin(-1)).amax((1, 2))
    assert 0.15 < (spread < 1e-5).float().mean() < 0.5
    assert (spread > 0.3).float().mean() > 0.1


def test_a_cap_covers_the_brow_and_shades_the_eyes_alone():
    faces = plain(300, 0.5)
    changed = Cap()(faces)
    assert torch.equal(changed[:, :, 32:], faces[:, :, 32:]), "below the shadow"
    assert (changed[:, :, 0] != 0.5).any(1).float().mean() > 0.97, "the top is covered"
    shaded = changed[:, :, 22:32]
    assert (shaded <= 0.5).all(), "only darker"
    assert shaded.min() >= 0.35 * 0.5 - 1e-6
    assert (shaded[:, :, 0, 48] < 0.499).all(1).float().mean() > 0.2, "some shadows reach the eyes"
    assert torch.allclose(shaded, shaded[:, :1].expand_as(shaded), atol=1e-6), "a shadow has no colour"


def test_a_hand_leaves_an_eye():
    """It comes from a side or from below and is of a colour that skin has."""
    faces = plain(300, 0.5)
    faces[:, 2] = 0.99  # bluer than any skin
    changed = Hand()(faces)
    free = (changed == faces).all(1)  # (N, H, W)
    eyes = [free[:, 20:34, middle - 9 : middle + 9].all((1, 2)) for middle in (30, 66)]
    assert (eyes[0] | eyes[1]).all()
    assert not (eyes[0] & eyes[1]).all(), "it may hide one"
    assert free[:, :14].all()
    edge = torch.cat([free[:, :, 0], free[:, :, -1], free[:, -1]], 1)
    assert (~edge).any(1).float().mean() > 0.98, "it enters from somewhere"
    assert 0.05 < (~free).float().mean() < 0.4
    red, green, blue = (channel[~free] for channel in changed.unbind(1))
    solid = blue < 0.5  # not the soft outline
    assert (red[solid] >= green[solid] - 0.02).float().mean() > 0.98


# -------------------------------------------------------------------------------------------- light and colour


def test_light_has_an_edge():
    faces = plain(200, 0.2)
    gain = LightEdge()(faces)[:, 0] / 0.2
    low, high = gain.amin((1, 2)), gain.amax((1, 2))
    brighter = high > 1.02
    assert (low[~brighter] >= 0.35 - 1e-4).all()
    assert (high[~brighter] <= 1.02).all()
    assert (high[brighter] <= 1.9).all()
    assert (low[brighter] >= 1 - 1e-4).all()
    assert 0.35 < brighter.float().mean() < 0.65
    assert (high - low > 0.1).float().mean() > 0.9
    sharp = (gain.diff(dim=2).abs().amax((1, 2)) > 0.5 * (high - low)) | (
        gain.diff(dim=1).abs().amax((1, 2)) > 0.5 * (high - low)
    )
    assert 0.1 < sharp.float().mean() < 0.9, "some edges are hard, some soft"
    assert (LightEdge()(plain(200, 0.8)) < 1.15).all(), "the brightest are not burnt out"


def test_colour_without_jitter_changes_nothing():
    faces = torch.rand(9, 3, 20, 30)
    assert torch.allclose(Colour(0, 0, 0, 0)(faces), faces, atol=1e-6)


def test_grey_faces_have_equal_channels():
    faces = torch.rand(300, 3, 20, 30) * 0.6 + 0.2
    all_grey = Colour(0, 0.04, 0, 1)(faces)
    assert torch.allclose(all_grey, v2.functional.rgb_to_grayscale(faces, 3), atol=2e-3)
    some = Colour()(faces)
    grey = (some - some[:, :1]).abs().amax((1, 2, 3)) < 1e-5
    assert grey.float().mean() == pytest.approx(0.10, abs=0.07)


@pytest.mark.parametrize("which", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_colours_change_as_torchvision_changes_them(which, factor):
    faces = torch.rand(4, 3, 20, 30) * 0.3 + 0.35
    factors = {name: torch.ones(4, 1, 1) for name in ("brightness", "contrast", "saturation")} | {
        "turns": torch.zeros(4, 1, 1)
    }
    factors[which] *= factor
    expected = getattr(v2.functional, f"adjust_{which}")(faces, factor)
    assert torch.allclose(Colour.change(faces, **factors), expected, atol=2e-3)


def test_a_turn_of_the_hue_keeps_greys_and_grey_levels():
    one, turns = torch.ones(3, 1, 1), torch.tensor([0.0, 1 / 3, 0.5])[:, None, None]
    faces = torch.rand(3, 3, 20, 30) * 0.2 + 0.4
    turned = Colour.change(faces, one, one, one, turns)
    grey = v2.functional.rgb_to_grayscale
    assert torch.allclose(grey(turned), grey(faces), atol=2e-3)
    assert torch.allclose(turned[2] - grey(turned)[2], grey(faces)[2] - faces[2], atol=2e-3), (
        "half a turn: the opposite"
    )
    red = torch.tensor([0.6, 0.4, 0.4]).view(1, 3, 1, 1).expand(3, 3, 4, 4)
    assert Colour.change(red, one, one, one, turns)[:, :, 0, 0].argmax(1).tolist()[:2] == [0, 1], "red, then green"
    greys = torch.rand(3, 1, 20, 30).expand(-1, 3, -1, -1)
    assert torch.allclose(Colour.change(greys, one, one, one, turns), greys, atol=1e-3)


def test_one_face_in_twenty_gets_any_hue():
    red = torch.tensor([0.7, 0.3, 0.3]).view(1, 3, 1, 1).expand(2000, 3, 2, 2)
    hue_of = Colour(0, 0.04, 0.05, 0)(red)[:, :, 0, 0]
    assert (hue_of.argmax(1) != 0).float().mean() == pytest.approx(0.05 * 2 / 3, abs=0.016)  # 4 standard deviations


# ------------------------------------------------------------------------------------------------ what is lost


def test_watermarks_are_always_the_same_and_all_different():
    masks = text_masks(64, 96)
    assert masks.shape == (256, 96, 144)
    assert masks.dtype == torch.uint8
    assert text_masks(64, 96) is masks, "drawn once"
    assert torch.equal(text_masks.__wrapped__(64, 96, 12), masks[:12])
    assert len(masks.flatten(1).unique(dim=0)) == 256
    ink = (masks > 128).float().mean((1, 2))
    assert (masks > 30).any((1, 2)).all()
    assert 0.02 < ink.mean() < 0.2
    assert ink.max() < 0.6


def test_text_is_thin_and_mostly_white():
    changed = Text()(plain(400, 0.5)) - 0.5
    there = changed.abs().amax((1, 2, 3)) > 0.04
    assert there.float().mean() > 0.85, "few words lie beside the face"
    white = (changed >= 0).all((1, 2, 3)) & (changed[:, 0] == changed[:, 1]).all((1, 2))
    assert 0.5 < white[there].float().mean() < 0.8
    assert (changed.abs().amax(1) > 0.02).float().mean((1, 2)).max() < 0.75, "the face stays in view"
    assert changed.max() <= 0.5 * 0.9 + 1e-6


def test_half_of_the_texts_lie_across_the_eyes():
    eyes = round((CROP.height - 1) / 2 - CROP.drop * CROP.unit)  # row
    changed = (Text()(plain(600, 0.5)) - 0.5).abs().amax(1) > 0.02  # (N, H, W)
    across, on_mouth = (changed[:, row - 3 : row + 4].any(1).float().mean(1) > 0.3 for row in (eyes, eyes + 20))
    assert across.float().mean() > 0.5
    assert across.float().mean() > on_mouth.float().mean() + 0.05


@pytest.mark.parametrize("scale", [0.2, 0.33, 0.6, 0.9])
def test_low_resolution_is_what_interpolate_does(scale):
    faces = torch.rand(5, 3, 64, 96)
    small = [max(8, round(64 * scale)), max(8, round(96 * scale))]
    expected = F.interpolate(F.interpolate(faces, small, mode="bilinear", antialias=True), (64, 96), mode="bilinear")
    assert torch.allclose(LowResolution((scale, scale))(faces), expected, atol=1e-4)


def test_low_resolution_differs_from_face_to_face():
    detail = LowResolution()(torch.rand(1, 3, 64, 96).expand(50, -1, -1, -1)).std((1, 2, 3))
    assert detail.min() < 0.06
    assert detail.max() > 0.11


@pytest.mark.parametrize("sigma", [1.0, 2.5, 5.0])
def test_the_blur_is_as_wide_as_it_says(sigma):
    """The standard deviation of what becomes of a point: a kernel cut too short is narrower."""
    point = torch.zeros(2, 3, 64, 96)
    point[..., 32, 48] = 1
    spread = Blur((sigma, sigma))(point)[1, 0].double().numpy()
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    y, x = np.indices(spread.shape)
    assert np.sqrt((spread * (x - 48) ** 2).sum()) == pytest.approx(sigma, rel=0.02)
    assert np.sqrt((spread * (y - 32) ** 2).sum()) == pytest.approx(sigma, rel=0.02)


def test_the_blur_is_opencvs_far_from_the_border():
    face = torch.rand(1, 3, 64, 96)
    expected = cv2.GaussianBlur(face[0].permute(1, 2, 0).numpy(), (41, 41), 3.0)
    assert np.allclose(
        Blur((3, 3))(face)[0].permute(1, 2, 0).numpy()[15:-15, 15:-15], expected[15:-15, 15:-15], atol=1e-4
    )
    assert torch.allclose(Blur()(plain(20, 0.3)), plain(20, 0.3), atol=1e-5), "no border gets darker"


def test_jpeg_keeps_red_red():
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(20, 3, 64, 96)
    assert (Jpeg()(red) - red).abs().max() <= 6 / 255


def test_jpeg_is_opencvs_at_a_quality_of_each_faces_own():
    face = torch.rand(1, 3, 64, 96)
    picture = (face[0].permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8)
    expected = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    coded = Jpeg((40, 40))(face)[0].permute(1, 2, 0).numpy()
    assert np.array_equal((coded[..., ::-1] * 255).round(), expected)
    errors = (Jpeg()(face.expand(60, -1, -1, -1)) - face).abs().mean((1, 2, 3))
    assert len(errors.unique()) > 20
    assert errors.max() > 1.15 * errors.min()


def test_noise_has_each_faces_own_strength():
    grain = (Noise(0.04)(plain(200, 0.5)) - 0.5).std((1, 2, 3))
    assert 0.0095 < grain.min() < 0.013
    assert 0.036 < grain.max() < 0.041
    assert Noise(0.5)(plain(9, 0.99)).max() == 1


def test_the_matrices_of_the_hue_have_not_moved():
    """A quarter of a turn and another are half a turn: of a grey nothing is left, of a colour its opposite."""
    assert torch.allclose(augment.QUARTER @ torch.ones(3), torch.zeros(3), atol=1e-3)
    colour = torch.tensor([0.3, -0.1, 0.0])
    colour -= augment.LUMA @ colour
    assert torch.allclose(augment.QUARTER @ augment.QUARTER @ colour, -colour, atol=2e-3)


def test_text_is_drawn_with_the_fonts_that_there_are(monkeypatch):
    """matplotlib 3.10 has no cmti10."""
    monkeypatch.setattr(augment, "FONTS", f"none-such {augment.FONTS}")
    masks = augment.text_masks.__wrapped__(16, 24, 8)
    assert masks.shape == (8, 24, 36)
    assert (masks.flatten(1).amax(1) > 64).all(), "there is ink on all"
