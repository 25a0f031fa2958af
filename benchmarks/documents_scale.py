"""What do the documents say of the server, `glasses batch`, damaged files and the campaign?  No command."""

from collections.abc import Callable

import pandas as pd

from benchmarks.report import Results, markdown, number


def served(results: Results) -> str:
    """What fifty clients get of the server, and how much that is of what the command does."""
    table = results["serve"].set_index("way")
    row = table.loc["50 clients, 1 photo a request"]
    return f"{row['photos_per_s']:.0f} photos a second, {100 * row['ratio']:.0f} % of what `glasses predict` answers"


def scale_speed(results: Results) -> str:
    """What two workers of `glasses batch` answer, and of Ray; one of them, and a loop and two loops in comparison."""
    table = results["scale"].query("part == 'speed'").set_index("what")
    loop, one, two = (table.loc[name] for name in ("a loop", "1 worker", "2 workers"))
    text = f"{two['photos_per_s']:.0f} photos a second, {two['ratio']:.2f} times as many as a loop in one process"
    text += f" (one worker {one['ratio']:.2f} times; a photo takes {two['cpu_ms'] / loop['cpu_ms']:.2f} times as much"
    text += " of the processor as in the loop)"
    if "2 workers, Ray" in table.index:
        text += f", and two of Ray {table.loc['2 workers, Ray', 'ratio']:.2f} times as many"
    text += f". Two such loops, which share nothing but the machine, answer {table.loc['two loops', 'ratio']:.2f} times"
    text += " as many as one"
    notes = [line.removeprefix("note: ") for line in results.header("scale") if line.startswith("note: ")]
    return "; ".join([text, *notes])


def scale_growth(results: Results) -> str:
    """How time and memory grow with the number of files."""
    table = results["scale"].query("part == 'growth'")
    few, many = table.iloc[0], table.iloc[-1]
    more = many["mb_late"] / many["mb"] - 1
    return (
        f"{few['count']:,.0f} files take {few['seconds']:.0f} seconds and {many['count']:,.0f} take "
        f"{many['seconds']:.0f}; the processes hold {many['mb']:.0f} MB until the first 5,000 are answered, and after "
        f"that at most {100 * abs(more):.1f} % {'more' if more >= 0 else 'less'}"
    )


def scale_plan(results: Results) -> str:
    """How long a list becomes a plan, and in how much memory."""
    row = results["scale"].query("part == 'plan'").iloc[0]
    return (
        f"A list of {row['count']:,.0f} paths in no order is planned in {row['seconds']:.0f} seconds "
        f"and {row['mb_late']:.0f} MB"
    )


def scale_cluster(results: Results) -> str:
    """What many machines would take, and read."""
    row = results["scale"].query("part == 'cluster'").iloc[0]
    return (
        f"By this, {row['what']} like this one would take {row['seconds'] / 60:.0f} minutes for {row['count']:,.0f} "
        f"photos, and read {row['photos_per_s'] * row['bytes'] / 1e9:.1f} GB of them a second"
    )


def fuzzed(results: Results) -> str:
    """What became of the damaged files."""
    table = results["fuzz"]
    is_picture = table["kind"] == "pictures"
    pictures, others = (table[rows].sum(numeric_only=True) for rows in (is_picture, ~is_picture))
    faults = table[["wrong", "crashes", "hangs"]].sum()
    answered = f"{pictures['answered']:,.0f} were answered and {pictures['named']:,.0f} named"
    kinds = ", ".join(kind for kind in dict.fromkeys(table["kind"]) if kind != "pictures")
    return (
        f"Of {pictures['files']:,.0f} damaged pictures {answered}, and of {others['files']:,.0f} others ({kinds}) "
        f"{others['answered']:,.0f} and {others['named']:,.0f}: {faults['crashes']} crashes, {faults['hangs']} hangs, "
        f"{faults['wrong']} with anything else than an answer or one line"
    )


def fuzz_table(results: Results) -> str:
    """What became of the damaged files of each kind."""
    columns = ["files", "answered", "named", "wrong", "crashes", "hangs"]
    rows = []
    for (kind, form), row in results["fuzz"].groupby(["kind", "format"], sort=False):
        name = form if kind == "pictures" else kind
        rows.append((name, *row[columns].sum(), row["seconds"].max(), row["mb"].max()))
    table = pd.DataFrame(rows, columns=["what", *columns, "seconds", "mb"]).groupby("what", sort=False)
    merged = table[columns].sum().join(table[["seconds", "mb"]].max())
    cells = [
        [name, *(f"{row[column]:,.0f}" for column in columns), f"{row['seconds']:.2f}", f"{row['mb']:,.0f}"]
        for name, row in merged.iterrows()
    ]
    return markdown(["of", *columns, "longest, s", "most, MB"], cells)


CAMPAIGN = {"local": "`glasses batch`", "ray": "`glasses batch --engine ray`", "training": "`train.py`"}


def campaign_table(results: Results) -> str:
    """What was done to `glasses batch` and `train.py`, and what of it was left."""
    table, rows = results["campaign"], []
    for row in table[table["part"].isin(["troubles", *CAMPAIGN])].to_dict("records"):
        if row["part"] != "troubles" and row["what"] != "kills":
            continue
        what = f"{CAMPAIGN[row['part']]}, killed" if row["part"] in CAMPAIGN else f"`glasses batch`: {row['what']}"
        counts = [number(row[name], "{:.0f}") for name in ("count", "reported")]
        counts += [f"{row[name]:.0f}" for name in ("lost", "doubled", "different", "strays", "crashes", "hangs")]
        rows.append([what, *counts])
    columns = ["trouble", "times", "reported", "lost", "doubled", "other bytes", "files left", "crashes", "hangs"]
    return markdown(columns, rows)


def campaign_phases(results: Results) -> str:
    """How many kills fell into which phase."""
    table = results["campaign"]
    parts = []
    for part, name in CAMPAIGN.items():
        of_part = table[(table["part"] == part) & table["what"].str.startswith("kills while ")]
        phases = [f"{row['count']:.0f} {row['what'].removeprefix('kills while ')}" for _, row in of_part.iterrows()]
        parts.append(f"{name}: {', '.join(phases) or 'not measured yet'}")
    return "; ".join(parts)


def campaign_load(results: Results) -> str:
    """How the server bears clients that misbehave."""
    table = results["campaign"].query("part == 'load'").set_index("what")
    well, server = table.loc["well-behaved"], table.loc["the server"]
    rude = table[table.index.str.startswith("misbehaving")]
    more = server["mb_late"] / server["mb"] - 1
    notes = [line.removeprefix("note: ") for line in results.header("campaign") if line.startswith("note: ")]
    text = (
        f"in {server['seconds'] / 60:.0f} minutes {well['count']:,.0f} requests were answered, {well['wrong']:.0f} "
        f"wrongly and {well['shed']:.0f} by 503, half of them within {well['p50_ms']:.0f} ms and 95 % within "
        f"{well['p95_ms']:.0f} ms; of {rude['count'].sum():,.0f} misdeeds of {len(rude)} kinds "
        f"{rude['wrong'].sum():.0f} were answered as they should not be; {server['crashes']:.0f} crashes, "
        f"{table['hangs'].sum():.0f} hangs; the server holds {server['mb']:.0f} MB after a minute and "
        f"{server['mb_late']:.0f} MB at the end ({100 * abs(more):.1f} % {'more' if more >= 0 else 'less'})"
    )
    return "; ".join([text, *notes])


CONTENTS: dict[str, Callable[[Results], str]] = {
    "serve": served,
    "scale-speed": scale_speed,
    "scale-growth": scale_growth,
    "scale-plan": scale_plan,
    "scale-cluster": scale_cluster,
    "fuzz": fuzzed,
    "fuzz-table": fuzz_table,
    "campaign": campaign_table,
    "campaign-phases": campaign_phases,
    "campaign-load": campaign_load,
}
