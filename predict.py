"""Does the face in each photo wear glasses?  `glasses predict` for the course: also with torch, and on a GPU.

    python predict.py photo.jpg                          # Found glasses (0.979, eyeglasses): photo.jpg
    python predict.py photo.jpg --model runs/course/glasses.safetensors --device cuda

All other options and the output are those of `glasses predict` (glasses/cli.py).
"""

from collections.abc import Sequence
from pathlib import Path

from glasses.cli import check_options, predict_parser, run


def open_classifier(model: str, device: str):
    """ONNX Runtime's network where it will do, so that torch, which takes seconds, is not imported; else torch's."""
    from glasses.classifiers import open_network

    if device in ("auto", "cpu") and Path(model).suffix != ".safetensors":
        try:
            return open_network(model)
        except ImportError:  # onnxruntime is missing or too old
            pass
    import models

    return models.open_classifier(model, device)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = predict_parser("predict.py", "glasses, accurate, an .onnx file, or a .safetensors file for torch")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    from glasses.predict import predict  # with OpenCV and ONNX Runtime, for which --help need not wait

    return predict(options, "predict.py", lambda model: open_classifier(model, options.device))


if __name__ == "__main__":
    run(main, "predict.py")
