"""What the page must know of the tool: the constants of its modules and of its networks' files, as JSON.

    python -m web.make_settings            # writes web/settings.json; a test says where it is of another tool

The page names its modules and constants as the tool does, and types none of them again.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np

import detector_architectures
from detector_architectures import auto, finder
from detector_architectures.onnx_file import open_session
from glasses import __version__, classifiers, crops, drawing, frames, keypoints, photos, pipeline, pose, tryon

SETTINGS = Path(__file__).with_name("settings.json")
NETWORKS = ("finder", "keypoints", "glasses")
NAMES: dict[str, tuple[ModuleType, str]] = {  # part of the file -> module, its constants
    "faces": (detector_architectures, "SAME SURROUNDINGS"),
    "auto": (auto, "FIRST SECOND NEAR SMALLEST LEAST UNSURE SURE TINY SMALL BORDER"),
    "finder": (finder, "CELL MIDDLE_GREY AGREEING"),
    "crops": (crops, "KINDS"),
    "keypoints": (keypoints, "POINTS TOLERANCE PARTS"),
    "photos": (photos, "MAX_SIDE FINEST HEIC_BRANDS"),
    "pipeline": (pipeline, "SCORE SECOND_LOOK CONSTANT"),
    "pose": (pose, "DISTANCE INDICES TRUST MODEL"),
    "frames": (frames, "SIDES LEAN"),
    "tryon": (tryon, "SKULL CHEEKS NOSE GLASS"),
    "drawing": (drawing, "COLOURS"),
}


def plain(value):
    """Anything that a module or a file says, in the types of JSON."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("ascii")
    return value


def network(name: str) -> dict:
    """What the file of a network says of it, without the record of its training."""
    _, metadata = open_session(classifiers.WEIGHTS / f"{name}.onnx", threads=1)
    said = {key: json.loads(value) for key, value in sorted(metadata.items()) if key == "threshold"}
    said["arithmetic"] = json.loads(metadata.get("arithmetic", '"float32"'))
    if "crop" in metadata:
        said["crop"] = crops.Crop(*json.loads(metadata["crop"]))._asdict()
    return said


def settings() -> dict:
    """All of it. Raises what `open_session` raises."""
    parts = {part: {name: plain(getattr(of, name)) for name in names.split()} for part, (of, names) in NAMES.items()}
    parts["frames"]["FRAMES"] = {name: plain(asdict(design)) for name, design in frames.FRAMES.items()}
    return {"version": __version__, "networks": {name: network(name) for name in NETWORKS}, **parts}


def written(parts: dict) -> str:
    """JSON of one line a constant, so that a change of one is a change of one line."""
    lines = []
    for part, content in parts.items():
        if isinstance(content, dict):
            inner = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
            content = f"{{\n{inner}\n  }}"
        else:
            content = json.dumps(content)
        lines.append(f"  {json.dumps(part)}: {content}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    SETTINGS.write_text(written(settings()))
