"""Sums that come out the same to the bit in whatever order they are added up, so that all machines answer alike."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from compress import _of_faces, save_onnx
from detector_architectures.finder import WEIGHTS as FINDER
from export_finder import PicturesToFaces, exact_sums
from face_finder import FaceFinder, decode
from glasses.crops import CROP, Crop
from models import EPSILON, KEYPOINT_CROP, standardize

# ------------------------------------------------------------------------------- a crop's light and contrast


def crops_of(height: int, width: int) -> dict[str, Tensor]:
    """(1, 3, H, W) float32 whole numbers from 0 to 255: noise, and what is hard to sum."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (1, 3, height, width), generator=generator).float()
    return {
        "noise": noise,
        "halves": (noise > 127) * 255.0,
        "dark": (noise > 250).float(),
        "bright": 253 + noise % 3,
        "flat": torch.full_like(noise, 77),
        "black": torch.zeros_like(noise),
        "slope": torch.linspace(3, 250, noise.numel()).round().view_as(noise),
    }


def by_hand(faces: Tensor) -> Tensor:
    """What `standardize` is, in float64."""
    faces = faces.double()
    x = faces - faces.mean((1, 2, 3), keepdim=True)
    return x / (x.square().mean((1, 2, 3), keepdim=True) + EPSILON).sqrt()


def in_one_sum(faces: Tensor) -> Tensor:
    """The same in float32, from numbers that are not whole."""
    x = faces - faces.mean((1, 2, 3), keepdim=True)
    return x / (x.square().mean((1, 2, 3), keepdim=True) + EPSILON).sqrt()


def orders(faces: Tensor, count: int = 20) -> list[Tensor]:
    """Permutations of a crop's pixels, colours among them."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randperm(faces[0].numel(), generator=generator) for _ in range(count)]


@pytest.mark.parametrize("size", [(CROP.height, CROP.width), (KEYPOINT_CROP.height, KEYPOINT_CROP.width), (64, 258)])
def test_pixels_in_another_order_are_the_same_to_the_bit(size):
    for name, levels in crops_of(*size).items():
        faces = levels / 255
        expected = standardize(faces).flatten()
        for order in orders(faces):
            moved = faces.flatten()[order].view_as(faces)
            assert torch.equal(standardize(moved).flatten(), expected[order]), name
    faces = crops_of(*size)["noise"] / 255
    plain = [in_one_sum(faces.flatten()[order].view_as(faces)).flatten().sort().values for order in orders(faces)]
    assert not all(torch.equal(one, plain[0]) for one in plain), "it makes a difference, else nothing was tested"


@pytest.mark.parametrize("size", [(64, 96), (112, 112), (128, 192), (224, 224), (300, 400), (5, 7)])
def test_it_is_right_for_any_size(size):
    """Also where the sums are too large to be exact, and for pixels that are no whole numbers, as in training."""
    for name, levels in crops_of(*size).items():
        found = standardize(levels / 255)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, by_hand(levels.double() / 255), rtol=1e-6, atol=1e-6, err_msg=name)
        changed = (0.8 * levels / 255 + 0.013) ** 1.3
        np.testing.assert_allclose(standardize(changed), by_hand(changed), rtol=1e-6, atol=1e-5, err_msg=name)


def test_each_crop_of_a_batch_is_standardized_alone():
    crops = torch.cat(list(crops_of(64, 96).values())) / 255
    assert torch.equal(standardize(crops), torch.cat([standardize(one[None]) for one in crops]))


def test_its_gradient_is_that_of_the_formula():
    faces = (crops_of(8, 12)["noise"] / 255).double().requires_grad_()
    weight = torch.randn(faces.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = torch.autograd.grad((by_hand(faces) * weight).sum(), faces)[0]
    found = torch.autograd.grad((standardize(faces) * weight).sum(), faces)[0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


class Standardized(nn.Module):
    """The first steps of the exported networks."""

    def forward(self, faces: Tensor) -> Tensor:
        return standardize(faces.permute(0, 3, 1, 2).float() / 255)


@pytest.mark.parametrize("crop", [CROP, KEYPOINT_CROP, Crop(96, 32)])
def test_the_exported_graph_does_not_mind_the_order_either(tmp_path, crop):
    file = save_onnx(_of_faces(Standardized(), crop, "standardized"), tmp_path / "s.onnx", {})
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for name, levels in crops_of(crop.height, crop.width).items():
        (expected,) = session.run(None, {"faces": levels.byte().permute(0, 2, 3, 1).numpy()})
        np.testing.assert_allclose(expected, standardize(levels / 255), rtol=1e-6, atol=1e-6, err_msg=name)
        for order in orders(levels, 5):
            moved = levels.flatten()[order].view_as(levels)
            (found,) = session.run(None, {"faces": moved.byte().permute(0, 2, 3, 1).numpy()})
            np.testing.assert_array_equal(found.ravel(), expected.ravel()[order], err_msg=name)


# ---------------------------------------------------------------------------- the first layer of the finder


def pixels_of(pictures: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32, what the finder's first layer sees."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() + 0.5) / 256 - 0.5


def in_any_order(pixels: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
    """A convolution of stride 2 with its products added up one after the other, in several orders, in float32."""
    taps = F.unfold(pixels, 3, padding=1, stride=2)  # (N, 27, places)
    products = [taps[:, k, None] * weight.flatten(1)[:, k].view(1, -1, 1) for k in range(27)]
    products.append(bias.view(1, -1, 1).expand_as(products[0]))
    generator, sums = torch.Generator().manual_seed(3), []
    any_order = [torch.randperm(28, generator=generator).tolist() for _ in range(3)]
    for order in ([*range(28)], [*range(27, -1, -1)], *any_order):
        total = torch.zeros_like(products[0])
        for k in order:
            total = total + products[k]
        sums.append(total)
    return sums


@pytest.fixture(scope="module")
def extremes() -> np.ndarray:
    """(4, 64, 96, 3) uint8: noise, black and white pixels, all black, all white."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    return np.stack([noise, np.where(noise > 127, 255, 0).astype(np.uint8), np.zeros_like(noise), noise | 255])


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 30.0])
def test_rounded_weights_give_the_same_sums_in_any_order(extremes, scale):
    generator = torch.Generator().manual_seed(0)
    weight = scale * torch.randn(16, 3, 3, 3, generator=generator)
    bias = scale * torch.randn(16, generator=generator)
    weight[0], bias[1] = 0, 40 * scale  # a dead filter, and one with a large bias
    step, largest = PicturesToFaces.STEP, PicturesToFaces.LARGEST
    rounded = exact_sums(weight, bias, step, largest)
    pixels = pixels_of(extremes)
    assert torch.equal((pixels / step).round() * step, pixels)
    assert pixels.abs().max() < largest
    for stored in (rounded, (rounded[0].half().float(), rounded[1])):  # in 32 bits, and in 16 as the file has them
        exact = F.conv2d(pixels.double(), stored[0].double(), stored[1].double(), stride=2, padding=1).flatten(2)
        for found in in_any_order(pixels, *stored):
            assert torch.equal(found.double(), exact)
        found = F.conv2d(pixels, *stored, stride=2, padding=1).flatten(2)
        assert torch.equal(found.double(), exact), "as torch adds them up, too"
    plain = in_any_order(pixels, weight, bias)
    assert not all(torch.equal(one, plain[0]) for one in plain), "it makes a difference, else nothing was tested"

    reach = largest * weight.abs().flatten(1).sum(1) + bias.abs()
    moved = (rounded[0] - weight).abs().flatten(1).amax(1)
    assert (moved <= 1.02 * reach / step * 2**-21)[1:].all(), "half of the grid at most"
    assert torch.equal(rounded[0][0], torch.zeros(3, 3, 3))


def shipped_first_layer() -> tuple[Tensor, Tensor, str]:
    """The weight and bias of the shipped finder's first layer, and the name of its output."""
    graph = onnx.load(FINDER).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in constants]
    cast = {node.output[0]: constants[node.input[0]] for node in casts}
    (layer,) = (n for n in graph.node if n.op_type == "Conv" and n.input[1] in cast and cast[n.input[1]].shape[1] == 3)
    weight, bias = cast[layer.input[1]].astype(np.float32), constants[layer.input[2]]
    return torch.from_numpy(weight), torch.tensor(bias), layer.output[0]


def test_the_shipped_finder_has_such_a_first_layer(astronaut, hopper, extremes, tmp_path):
    weight, bias, name = shipped_first_layer()
    again = exact_sums(weight, bias, PicturesToFaces.STEP, PicturesToFaces.LARGEST)
    assert torch.equal(again[0], weight), "it was rounded already"
    assert torch.equal(again[1], bias)
    model = onnx.load(FINDER)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    onnx.save(model, tmp_path / "seen.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "seen.onnx", providers=["CPUExecutionProvider"])
    portraits = [np.asarray(Image.open(file).convert("RGB").resize((96, 64))) for file in (astronaut, hopper)]
    pictures = np.concatenate([extremes, np.stack(portraits)])
    (found,) = session.run([name], {"pictures": pictures})
    exact = F.conv2d(pixels_of(pictures).double(), weight.double(), bias.double(), stride=2, padding=1)
    np.testing.assert_array_equal(found.astype(np.float64), exact)


def test_rounding_hardly_moves_what_the_finder_says(astronaut, hopper):
    """Of one with weights as large as the shipped ones: scores by less than 0.001, places by less than 0.02 pixels."""
    torch.manual_seed(0)
    network = FaceFinder().eval()
    with torch.no_grad():
        network.fine[0][0].weight.copy_(0.97 * shipped_first_layer()[0])
        for layers in network.heads:
            layers[-1].weight *= 20
    portraits = [Image.open(file).convert("RGB").resize((192, 192)) for file in (astronaut, hopper)]
    pictures = np.stack([np.asarray(portrait) for portrait in portraits])
    with torch.inference_mode():
        images = torch.from_numpy(pictures)
        scores, boxes, landmarks = PicturesToFaces(network)(images)
        logits, boxes_before, landmarks_before = decode(network(images.permute(0, 3, 1, 2) / 255), 192, 192)
    assert logits.std() > 0.05, "there is something to compare"
    np.testing.assert_allclose(scores, logits.sigmoid(), atol=1e-3)
    np.testing.assert_allclose(boxes, boxes_before, atol=0.02)
    np.testing.assert_allclose(landmarks, landmarks_before, atol=0.02)
