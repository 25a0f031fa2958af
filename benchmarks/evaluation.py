"""How good are the shipped networks?  What evaluate.py measures, kept in results/evaluation.csv and paired.csv.

    python -m benchmarks.evaluation --data celeba=PATH meglass=PATH lfw=PATH kaggle=PATH
                                    --validate ffhq=PATH folder=PATH --corrections weights/label_corrections.csv
                                    --model glasses accurate [--note WORDS]

The other options are those of evaluate.py. A row a network and source; and McNemar's exact test of each further network
against the first, on the same faces. `make tables` puts both into README and model card.
"""

import argparse
import sys

import pandas as pd

from benchmarks.report import RESULTS, add_note, header, run_command, write_table
from evaluate import answer_sources, is_right, mcnemar, parse_arguments, summarize


def rates(answers: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a model and source: what `summarize` says of the answers, by model, of `answer_sources`."""
    rows = []
    for model, frame in answers.items():
        for source, of_source in frame.groupby("source", sort=False):
            rows.append({"model": model, "source": source, "part": of_source["part"].iloc[0], **summarize(of_source)})
    return pd.DataFrame(rows)


def comparisons(answers: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each model after the first: first, second, faces, only_first_wrong, only_second_wrong, p."""
    (first, reference), *others = answers.items()
    columns = ["first", "second", "faces", "only_first_wrong", "only_second_wrong", "p"]
    rows = [(first, name, len(frame), *mcnemar(is_right(reference), is_right(frame))) for name, frame in others]
    return pd.DataFrame(rows, columns=columns)


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_note(parser)
    ours, rest = parser.parse_known_args()
    answers = answer_sources(parse_arguments(rest))
    lines = header("nothing was trained on these faces", note=ours.note)
    for name, table in (("evaluation", rates(answers)), ("paired", comparisons(answers))):
        write_table(table, RESULTS / f"{name}.csv", lines)
        print(table.to_string())
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
