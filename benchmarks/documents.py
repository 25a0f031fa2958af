"""Which numbers stand in the documents?  Those of results/ and of the shipped files: `make tables` writes them.

    python -m benchmarks.documents            # writes them
    python -m benchmarks.documents --check    # says which documents hold other numbers, and exits with 1

A marker is <!-- NAME -->, a name of CONTENTS; what it holds ends at <!-- end -->. So no number that a program can
measure is typed: tests/test_documents.py finds those that are.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from benchmarks import documents_scale
from benchmarks.networks import TEACHER
from benchmarks.report import ROOT, Results, markdown, number, run_command
from data_load import read_corrections
from glasses import classifiers
from glasses.files import whole_file
from models import KEYPOINT_NETWORKS, WEIGHTS, load_weights

DOCUMENTS = ("README.md", "weights/MODEL_CARD.md", "data/sample/README.md", "SECURITY.md")
MARKED = re.compile(r"<!-- (?P<name>[a-z_-]+) -->(?P<content>.*?)<!-- end -->", re.DOTALL)
SHIPPED = ("glasses", "accurate")


# ---------------------------------------------------------------------------------------------- tables


def evaluation_table(results: Results) -> str:
    columns = ["source, model", "faces", "errors", "as labelled", "not found", "accuracy (95 % interval)"]
    columns += ["precision", "recall", "F1", "AUC", "ECE", "kind"]
    rows = []
    for row in results["evaluation"].to_dict("records"):
        accuracy = f"{100 * row['accuracy']:.2f} ({100 * row['low']:.2f} to {100 * row['high']:.2f})"
        rates = [number(100 * row[key], "{:.2f}") for key in ("precision", "recall", "F1")]
        rest = [number(row[key], "{:.4f}") for key in ("AUC", "ECE")]
        counts = [row["faces"], row["errors"], row["errors as labelled"], row["not found"]]
        kind = number(100 * row["kind"], "{:.2f}")
        rows.append([f"{row['source']}, {row['model']}", *counts, accuracy, *rates, *rest, kind])
    return markdown(columns, rows)


def networks_table(results: Results) -> str:
    table = results["accuracy"]
    sources = [
        name for name in table.columns if name in ("celeba", "meglass", "lfw", "kaggle", "masks", "ffhq", "folder")
    ]
    rows = []
    for row in table.to_dict("records"):
        cells = [row["network"], f"{row['parameters']:,}", f"{row['bytes'] / 1000:,.0f}"]
        cells.append(f"{milliseconds(results, row):.2f}")
        cells += [f"{100 * row[name]:.2f}" for name in sources]
        errors = f"{row['errors']} ({100 * (1 - row['high']):.2f} to {100 * (1 - row['low']):.2f} %)"
        rows.append([*cells, errors])
    columns = ["network", "parameters", "KB", "one face, ms", *sources, "errors (95 % interval)"]
    return markdown(columns, rows)


def folds_table(results: Results) -> str:
    groups = results["cross_validation"].groupby(["network", "faces"], sort=False)["f1"]
    mean, variance = groups.mean().unstack(), groups.var(ddof=1).unstack()
    names = list(dict.fromkeys(results["cross_validation"]["network"]))
    columns = ["network"]
    for faces in mean.columns:
        columns += [f"E[F1], {faces:,} faces", "Var[F1]"]
    rows = []
    for name in names:
        cells = [(f"{mean.loc[name, n]:.4f}", f"{variance.loc[name, n]:.6f}") for n in mean.columns]
        rows.append([name, *(cell for pair in cells for cell in pair)])
    return markdown(columns, rows)


def photo_table(results: Results) -> str:
    rows = results["photo"].to_dict("records")
    cells = [(r["step"], f"{r['median_ms']:.3f}", f"{r['p95_ms']:.3f}", number(r["ratio"], "{:.2f}")) for r in rows]
    return markdown(["step", "median ms", "p95 ms", "ratio to decoding"], cells)


def robustness_table(results: Results) -> str:
    rows = []
    for row in results["robustness"].to_dict("records"):
        accuracy = f"{100 * row['accuracy']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
        rows.append([row["change"], row["faces"], accuracy, row["missed"], row["false"], row["not_found"]])
    return markdown(["change", "faces", "accuracy, % (95 % interval)", "missed", "false alarms", "not found"], rows)


def crops_table(results: Results) -> str:
    rows = []
    for row in results["input_size"].to_dict("records"):
        measured = [f"{row['ms']:.2f}", f"{row['loss']:.4f}", f"{100 * row['error']:.2f}"]
        rows.append([row["crop"], f"{row['parameters']:,}", *measured])
    return markdown(["crop", "parameters", "one face, ms", "loss", "mean error, %"], rows)


def sample_table(results: Results) -> str:
    rows = []
    for row in results["sample"].to_dict("records"):
        value = f"{row['value']:.1f} {row['unit']}"
        rows.append([row["measure"], row["of"], number(row["wanted"], "{}"), value, f"{row['faces']:,}"])
    return markdown(["measure", "of", "wanted", "measured", "faces"], rows, words=3)


def recognition_table(results: Results) -> str:
    columns = ["network", "parameters", "KB", "one face, ms", "LFW, % (deviation of the folds)", "equal error rate, %"]
    columns += ["MeGlass: without, %", "with, %", "with against without, % (95 % interval)", "match, %", "class, %"]
    rows = []
    for row in results["recognition"].to_dict("records"):
        cells = [row["network"], f"{row['parameters']:,}", f"{row['bytes'] / 1000:,.0f}", f"{row['ms']:.2f}"]
        cells += [f"{100 * row['lfw_accuracy']:.2f} ({100 * row['lfw_deviation']:.2f})", f"{100 * row['lfw_eer']:.2f}"]
        cells += [f"{100 * row[name]:.2f}" for name in ("without_accuracy", "with_accuracy")]
        accuracy, low, high = (100 * row[f"against_{name}"] for name in ("accuracy", "low", "high"))
        cells.append(f"{accuracy:.2f} ({low:.2f} to {high:.2f})")
        rows.append([*cells, *(f"{100 * row[name]:.2f}" for name in ("match", "class"))])
    return markdown(columns, rows)


def recognition_faces_table(results: Results) -> str:
    rows = []
    for row in results["recognition_faces"].to_dict("records"):
        cosines = [f"{row[name]:.3f}" for name in ("cosine_train", "cosine_select")]
        lfw = f"{100 * row['lfw_accuracy']:.2f} ({100 * row['lfw_deviation']:.2f})"
        rows.append([f"{row['faces']:,}", row["epochs"], *cosines, lfw])
    columns = ["faces", "epochs", "cosine to the teacher, trained on", "of other people"]
    return markdown([*columns, "LFW, % (deviation of the folds)"], rows)


# ------------------------------------------------------------------------------------- numbers in sentences


def step(results: Results, name: str) -> float:
    """The milliseconds of a step of photo.csv."""
    table = results["photo"]
    return table[table["step"] == name]["median_ms"].iloc[0]


def milliseconds(results: Results, row: Mapping[str, object]) -> float:
    """How long a network of accuracy.csv or shipped.csv takes for one face on one core, by latency.csv."""
    runtime = "ONNX Runtime, INT8" if row["arithmetic"] == "int8" else "ONNX Runtime"
    times = results["latency"]
    on_one_core = (times["device"] == "cpu") & (times["threads"] == 1) & (times["batch"] == 1)
    of_network = (times["network"] == row["shape"]) & (times["runtime"] == runtime)
    return times[on_one_core & of_network]["median_ms"].iloc[0]


def shipped(results: Results, name: str) -> pd.Series:
    """A row of shipped.csv."""
    table = results["shipped"]
    return table[table["network"] == name].iloc[0]


def parameters(model: str) -> int:
    """Those of a shipped network, counted in its file."""
    return sum(values.numel() for values in load_weights(WEIGHTS / f"{model}.safetensors")[0].parameters())


def kilobytes(file: Path) -> str:
    return f"{file.stat().st_size / 1000:.1f} KB"


def wrong(results: Results, model: str) -> str:
    """How many faces of how many a shipped network gets wrong, over all sources."""
    table = results["evaluation"]
    of_model = table[table["model"] == model]
    return f"{of_model['errors'].sum()} of {of_model['faces'].sum():,}"


def costs(results: Results) -> str:
    """What `accurate` costs beside `glasses`."""
    small, large = (shipped(results, model) for model in SHIPPED)
    slower = milliseconds(results, large) / milliseconds(results, small)
    return f"{large['bytes'] / small['bytes']:.1f} times as large and {slower:.1f} times as slow"


def quantized(results: Results) -> str:
    """What the shipped networks gain and lose in 8-bit integers."""
    parts = []
    for model in SHIPPED:
        plain, small = (shipped(results, f"{model}{arithmetic}") for arithmetic in ("", ", INT8"))
        times = [f"{milliseconds(results, row):.2f}" for row in (small, plain)]
        sizes = [f"{row['bytes'] / 1000:.0f}" for row in (small, plain)]
        errors = f"{small['errors']} errors instead of {plain['errors']} on {plain['faces']:,} faces"
        of_model = f"{times[0]} ms a face instead of {times[1]} for `{model}`"
        parts.append(f"{of_model} ({sizes[0]} KB instead of {sizes[1]}, {errors})")
    return " and ".join(parts)


def epochs(results: Results) -> str:
    """How long the networks were trained, in accuracy.csv: most of them, then the others."""
    trained = results["accuracy"].dropna(subset="epochs")
    usual = trained["epochs"].mode()[0]
    others = [f"{row['network']}: {row['epochs']:.0f}" for _, row in trained[trained["epochs"] != usual].iterrows()]
    return f"{usual:.0f} epochs" + (f" ({'; '.join(others)})" if others else "")


def schedule_of_folds(results: Results) -> str:
    """How the networks of cross_validation.csv were trained, as its header says, and what its note adds."""
    command, *lines = results.header("cross_validation")
    (alike,) = (line for line in lines if line.startswith("one schedule"))
    notes = [line.removeprefix("note: ") for line in lines if line.startswith("note")]
    return "; ".join([f"`{command.removeprefix('command: ').split(' --note')[0]}`", alike, *notes])


def gains(results: Results) -> str:
    """By how much E[F1] of the distilled GlassesCNN differs from that of the plain one, and of its teacher."""
    means = results["cross_validation"].groupby(["network", "faces"])["f1"].mean()
    parts = []
    for faces, student in means["GlassesCNN, distilled"].items():
        alone, teacher = student - means["GlassesCNN", faces], student - means[TEACHER, faces]
        parts.append(f"{alone:+.4f} from the one alone and {teacher:+.4f} from its teacher with {faces:,} faces")
    return ", ".join(parts)


def of_model(model: str) -> dict[str, Callable[[Results], str]]:
    """The contents that each shipped network has."""
    return {
        f"parameters-{model}": lambda r: f"{parameters(model):,} parameters",
        f"weights-{model}": lambda r: kilobytes(WEIGHTS / f"{model}.safetensors"),
        f"onnx-{model}": lambda r: kilobytes(classifiers.WEIGHTS / f"{model}.onnx"),
        f"face-{model}": lambda r: f"{milliseconds(r, shipped(r, model)):.2f} ms",
        f"wrong-{model}": lambda r: wrong(r, model),
    }


def paired(results: Results) -> str:
    """What the paired test says of the two shipped networks, as a sentence."""
    row = results["paired"].iloc[0]
    first = f"of {row['faces']:,} faces `{row['first']}` alone gets {row['only_first_wrong']} wrong"
    return f"{first} and `{row['second']}` alone {row['only_second_wrong']} (McNemar's exact test: p = {row['p']:.2g})"


def keypoints_table(results: Results) -> str:
    columns = ["network", "parameters", "KB", "one face, ms", "in times of `glasses`"]
    columns += ["mean error, % (95 % interval)", "median"]
    columns += ["above 8 %", "above 10 %", "five points", "missed"]
    rows = []
    for row in results["keypoints"].to_dict("records"):
        mean = f"{100 * row['mean']:.2f} ({100 * row['low']:.2f} to {100 * row['high']:.2f})"
        cells = [row["network"], number(row["parameters"], "{:,.0f}"), f"{row['bytes'] / 1000:,.0f}"]
        cells += [number(row["network_ms"], "{:.2f}"), number(row["classifiers"], "{:.1f}")]
        cells += [mean, f"{100 * row['median']:.2f}"]
        cells += [f"{100 * row[key]:.1f} %" for key in ("above 0.08", "above 0.10")]
        rows.append([*cells, f"{100 * row['five']:.2f}", row["missed"]])
    return markdown(columns, rows)


def keypoint_networks_table(results: Results) -> str:
    """Mean and range over the runs of each network that was compared."""
    table = results["keypoint_networks"]
    table = table[table["network"].str.startswith(KEYPOINT_NETWORKS)]
    rows = []
    for name, of_name in table.groupby(table["network"].str.replace(r"-\d+$", "", regex=True), sort=False):
        first = of_name.iloc[0]
        cells = [name, len(of_name), f"{first['parameters']:,.0f}", f"{of_name['network_ms'].mean():.2f}"]
        for errors in (100 * of_name["mean"], 100 * of_name["five"]):
            spread = f" ({errors.min():.2f} to {errors.max():.2f})" if len(errors) > 1 else ""
            cells.append(f"{errors.mean():.2f}{spread}")
        rows.append(cells)
    columns = ["network", "runs", "parameters", "ms", "mean error, % (least to largest)", "five points, %"]
    return markdown(columns, rows)


def keypoint_parts_table(results: Results) -> str:
    rows = results["keypoint_parts"].to_dict("records")
    cells = [(row["by"], row["which"], row["faces"], f"{100 * row['mean']:.2f}") for row in rows]
    return markdown(["by", "which", "faces", "mean error, %"], cells, words=2)


def tryon_table(results: Results) -> str:
    rows = results["tryon"].to_dict("records")
    cells = [
        (r["frame"], r["kind"], r["faces"], f"{100 * r['glasses']:.1f} %", f"{100 * r['right_kind']:.1f} %")
        for r in rows
    ]
    return markdown(["frame", "kind", "faces", "glasses, says the classifier", "of that kind"], cells, words=2)


def detectors_table(results: Results) -> str:
    """What detectors.csv says of each detector; of all turns the mean and the least."""
    table = results["detectors"]
    sources = list(dict.fromkeys(table[table["test"] == "found"]["of"]))
    columns = ["detector", *(f"{source}, %" for source in sources), "nobody: a face, %", "landmarks, %"]
    columns += ["turned, %", "at the worst angle", "2 % of the width, %", "one photo, ms", "MB"]
    rows = []
    for name, of_detector in table.groupby("detector", sort=False):
        value = of_detector.set_index(["test", "of"])["value"]
        cells = [number(100 * value["found", source], "{:.1f}") for source in sources]
        cells += [
            number(100 * value["false", "nobody"], "{:.1f}"),
            number(100 * value["landmarks", "labels"], "{:.1f}"),
        ]
        cells += [number(100 * share, "{:.1f}") for share in (value["turn"].mean(), value["turn"].min())]
        cells += [number(100 * value["size", "2"], "{:.0f}"), number(value["time", "photos"], "{:.1f}")]
        rows.append([name, *cells, number(value["memory", "a photo"], "{:.0f}")])
    return markdown(columns, rows)


def detector_pictures(results: Results) -> str:
    """How many pictures the tests of detectors.csv had."""
    first = results["detectors"]
    first = first[first["detector"] == first["detector"].iloc[0]].set_index(["test", "of"])["pictures"]
    faces = ", ".join(f"{source} {count}" for source, count in first["found"].items())
    turned = f"{first['turn', '0']} faces at {len(first['turn'])} angles"
    return f"{faces}; {first['false', 'nobody']} pictures of nobody; {first['landmarks', 'labels']} frames; {turned}"


def page_speed(results: Results) -> str:
    """How fast the page is, and in which browser."""
    value = results["page"].set_index(["of", "measure", "unit"])["value"]
    load = (
        f"{value['load', 'folder', 'bytes'] / 1e6:.1f} MB, ready in {value['load', 'folder', 'ms'] / 1000:.1f} seconds"
    )
    speeds = f"a photo in {value['photos', 'one photo', 'ms']:.0f} ms, the webcam at"
    rates = [f"{value['webcam', name, 'frames a second']:.0f}" for name in ("640 x 480", "640 x 480, glasses tried on")]
    lines = dict(line.split(": ", 1) for line in results.header("page") if ": " in line)
    where = "; ".join(lines[name] for name in ("browser", "note") if name in lines)
    return f"{load}; {speeds} {rates[0]} frames a second, with glasses tried on {rates[1]} ({where})"


def page_agreement(results: Results) -> str:
    """How many probabilities of the page are those of the command line."""
    table = results["page"]
    counts = table[table["unit"] == "photos"].pivot_table(index="of", columns="measure", values="value", sort=False)
    names = {"photos": "photos", "faces": "embedded faces"}
    parts = [
        f"{row['close']:.0f} of {row['photos']:.0f} {names.get(name, f'other photos (`{name}`)')}, "
        f"{row['same answer']:.0f} with the same answer"
        for name, row in counts.iterrows()
    ]
    return "; ".join(parts)


def video_table(results: Results) -> str:
    """The steps of video.csv, a column for each number of faces."""
    table = results["video"]
    counts = list(dict.fromkeys(table["faces"]))
    rows = []
    for step_name in dict.fromkeys(table[table["faces"] == max(counts)]["step"]):
        of_step = table[table["step"] == step_name].set_index("faces")
        cells = [number(of_step["ms"].get(count, float("nan")), "{:.2f}") for count in counts]
        rows.append([step_name, *cells, number(of_step["ratio"].get(1, float("nan")), "{:.2f}")])
    columns = ["milliseconds a frame", *(f"{count or 'no'} face{'s' * (count > 1)}" for count in counts)]
    return markdown([*columns, "ratio to decoding"], rows)


def video_speed(results: Results) -> str:
    """Frames a second that are answered, by the number of faces."""
    table = results["video"]
    rows = table[table["step"] == "answers"].to_dict("records")
    speeds = [(row["frames_per_s"], row["faces"]) for row in rows]
    return ", ".join(f"{speed:.0f} with {faces or 'no'} face{'s' * (faces > 1)}" for speed, faces in speeds)


def mutation_table(results: Results) -> str:
    names = ("changes", "tried", "noticed")
    rows = [
        [f"`{row['module']}.py`", *(f"{row[name]:,}" for name in names)]
        for row in results["mutation"].to_dict("records")
    ]
    return markdown(["module", *names], rows)


def grouping_table(results: Results) -> str:
    rows = []
    for row in results["grouping"].to_dict("records"):
        shares = [f"{100 * row[key]:.1f}" for key in ("precision", "recall", "f")]
        rows.append(
            [row["data"], row["way"], f"{row['faces']:,}", f"{row['people']:,}", *shares, f"{row['seconds']:.1f}"]
        )
    return markdown(["source", "way", "faces", "people", "precision, %", "recall, %", "F, %", "seconds"], rows, 2)


CONTENTS: dict[str, Callable[[Results], str]] = {
    "evaluation": evaluation_table,
    "networks": networks_table,
    "folds": folds_table,
    "photo": photo_table,
    "robustness": robustness_table,
    "crops": crops_table,
    "grouping": grouping_table,
    "sample": sample_table,
    "recognition": recognition_table,
    "recognition-faces": recognition_faces_table,
    "keypoints": keypoints_table,
    "keypoint-networks": keypoint_networks_table,
    "tryon": tryon_table,
    "keypoint-parts": keypoint_parts_table,
    "paired": paired,
    "measured-on": lambda r: "; ".join(r.header("evaluation")[1:4]),
    "photos": lambda r: f"{r['evaluation'].set_index('source').loc['folder', 'faces'].iloc[0]} whole photos",
    "start": lambda r: f"{step(r, 'glasses photo.jpg, process start to end') / 1000:.2f}",
    "answer": lambda r: f"{step(r, 'whole pipeline: photo to answer, glasses'):.0f} milliseconds",
    "mutation": mutation_table,
    "page-speed": page_speed,
    "page-agreement": page_agreement,
    "video": video_table,
    "video-speed": video_speed,
    "detectors": detectors_table,
    "detector-pictures": detector_pictures,
    "onnx-finder": lambda r: f"{(classifiers.WEIGHTS / 'finder.onnx').stat().st_size / 1000:.0f} KB",
    "installed": lambda r: f"{r['installation']['bytes'].iloc[0] / 1e6:.0f} MB",
    "container": lambda r: f"{r['container']['bytes'].iloc[0] / 1e6:.0f} MB",
    "nobody-held": lambda r: str(r["evaluation"].set_index("source").loc["nobody", "faces"].iloc[0]),
    "by-eye": lambda r: str(len(pd.read_csv(WEIGHTS / "finder_labels.csv"))),
    "corrections": lambda r: str(sum(map(len, read_corrections(WEIGHTS / "label_corrections.csv").values()))),
    "costs": costs,
    "quantized": quantized,
    "epochs": epochs,
    "gains": gains,
    "schedule-of-folds": schedule_of_folds,
    "onnx-keypoints": lambda r: f"{(classifiers.WEIGHTS / 'keypoints.onnx').stat().st_size / 1000:.0f} KB",
    **documents_scale.CONTENTS,
    **of_model("glasses"),
    **of_model("accurate"),
}


def render(text: str, results: Results) -> str:
    """A document with what CONTENTS say between its markers. Raises KeyError for a marker that has no content."""

    def fill(match: re.Match) -> str:
        content = CONTENTS[match["name"]](results)
        around = "\n\n" if "\n" in content else ""  # a table stands alone
        return f"<!-- {match['name']} -->{around}{content}{around}<!-- end -->"

    return MARKED.sub(fill, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a document differs")
    options = parser.parse_args()
    results, differing = Results(), []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        if (new := render(text, results)) != text:
            differing.append(name)
            if not options.check:
                with whole_file(ROOT / name) as partial:
                    partial.write_text(new)
    print(f"{'hold other numbers than results/' if options.check else 'written'}: {', '.join(differing) or 'none'}")
    return 1 if options.check and differing else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
