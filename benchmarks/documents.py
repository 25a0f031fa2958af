"""Which numbers stand in README and model card?  Those that results/ holds: `make tables` writes them between markers.

    python -m benchmarks.documents            # writes them
    python -m benchmarks.documents --check    # says which documents hold other numbers, and exits with 1

A marker is <!-- NAME -->, a name of CONTENTS; what it holds ends at <!-- end -->.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.report import RESULTS, ROOT
from glasses.files import whole_file

DOCUMENTS = ("README.md", "weights/MODEL_CARD.md")
MARKED = re.compile(r"<!-- (?P<name>[a-z_-]+) -->(?P<content>.*?)<!-- end -->", re.DOTALL)


class Results:
    """The tables of a folder as they were written, read once; `Results()["photo"]` is photo.csv."""

    def __init__(self, folder: Path = RESULTS):
        self.folder, self.tables = folder, {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self.tables:
            self.tables[name] = pd.read_csv(self.folder / f"{name}.csv", comment="#", keep_default_na=True)
        return self.tables[name]

    def header(self, name: str) -> list[str]:
        """The lines above a table: command, date, machine, versions, notes."""
        lines = (self.folder / f"{name}.csv").read_text().splitlines()
        return [line[2:] for line in lines if line.startswith("# ")]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1) -> str:
    """A table whose first columns, so many as `words`, are words; the others are numbers."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * words}{'--:|' * (len(columns) - words)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def number(value: float, form: str) -> str:
    """The value in a format, "" where there is none."""
    return "" if pd.isna(value) else form.format(value)


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
    table, times = results["accuracy"], results["latency"]
    on_one_core = times[(times["device"] == "cpu") & (times["threads"] == 1) & (times["batch"] == 1)]
    sources = [name for name in table.columns if name in ("celeba", "meglass", "lfw", "kaggle", "ffhq", "folder")]
    rows = []
    for row in table.to_dict("records"):
        runtime = "ONNX Runtime, INT8" if row["arithmetic"] == "int8" else "ONNX Runtime"
        of_network = on_one_core[(on_one_core["network"] == row["shape"]) & (on_one_core["runtime"] == runtime)]
        cells = [row["network"], f"{row['parameters']:,}", f"{row['bytes'] / 1000:,.0f}"]
        cells.append(f"{of_network['median_ms'].iloc[0]:.2f}")
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
        rows.append([row["change"], accuracy, row["missed"], row["false"], row["not_found"]])
    return markdown(["change", "accuracy, % (95 % interval)", "missed", "false alarms", "not found"], rows)


# ------------------------------------------------------------------------------------- numbers in sentences


def step(results: Results, name: str) -> pd.Series:
    """A row of photo.csv."""
    table = results["photo"]
    return table[table["step"] == name].iloc[0]


def paired(results: Results) -> str:
    """What the paired test says of the two shipped networks, as a sentence."""
    row = results["paired"].iloc[0]
    first = f"of {row['faces']:,} faces `{row['first']}` alone gets {row['only_first_wrong']} wrong"
    return f"{first} and `{row['second']}` alone {row['only_second_wrong']} (McNemar's exact test: p = {row['p']:.2f})"


CONTENTS: dict[str, Callable[[Results], str]] = {
    "evaluation": evaluation_table,
    "networks": networks_table,
    "folds": folds_table,
    "photo": photo_table,
    "robustness": robustness_table,
    "paired": paired,
    "measured-on": lambda r: "; ".join(r.header("evaluation")[1:4]),
    "start": lambda r: f"{step(r, 'glasses photo.jpg, process start to end')['median_ms'] / 1000:.2f}",
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
    sys.exit(main())
