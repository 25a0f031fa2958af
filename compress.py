"""How small and fast can it be?  The network as ONNX; also a command.

    python compress.py export [--model glasses] [--out glasses.onnx]

The file holds everything between a cropped face and the answer: an input "faces" (N, 64, 96, 3) uint8 RGB, cut as
`pipeline.align_face` cuts, and an output "probabilities" (N, 3) float32, of none, eyeglasses and sunglasses, with
normalisation and temperature inside. Threshold, kinds and crop are in its metadata.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models import Classifier, load_classifier
from pipeline import KINDS, Crop


class CropsToProbabilities(nn.Module):
    """What a `Classifier` computes, as one graph."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.model, self.temperature = classifier.model, classifier.temperature

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 64, 96, 3) uint8 -> (N, 3) float32."""
        return (self.model(faces.permute(0, 3, 1, 2).float() / 255) / self.temperature).softmax(1)


def export_onnx(classifier: Classifier, path: str | os.PathLike) -> Path:
    """Write `classifier` as ONNX in float32, for any number of faces; the file appears whole or not at all."""
    import onnx

    crop: Crop = classifier.crop
    faces = torch.zeros(2, crop.height, crop.width, 3, dtype=torch.uint8)
    with warnings.catch_warnings():  # of the exporter's own parts, nothing that its user could mend
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            CropsToProbabilities(classifier).eval(),
            (faces,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("faces", min=1, max=2**16)},),
            input_names=["faces"],
            output_names=["probabilities"],
            verbose=False,
        )
    model = program.model_proto
    header = {"threshold": classifier.threshold, "kinds": KINDS, "crop": crop}
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in header.items()})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    onnx.save(model, partial)
    os.replace(partial, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="compress.py", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write the network as ONNX")
    export.add_argument("--model", default="glasses", help="a name in weights/ or a .safetensors file")
    export.add_argument("--out", type=Path, default=Path("glasses.onnx"))
    options = parser.parse_args(arguments)
    try:
        path = export_onnx(load_classifier(options.model, "cpu"), options.out)
    except (ImportError, ValueError, OSError) as error:
        print(f"compress.py: {error}", file=sys.stderr)
        return 1
    print(f"wrote {path}, {path.stat().st_size / 1000:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
