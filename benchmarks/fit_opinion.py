"""The tables that bring the judge's ratings onto people's scale: quantiles of both.

    python -m benchmarks.fit_opinion scored_img.json train_pairs/ratings.csv

LABELS is EPAIQA-15K's public label file, RATINGS the judge's of the real edits that training learns from.
Prints every 5 % quantile of harmony and naturalness, and how far apart the two scales are.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from benchmarks import common
from piqa_cli.schema import Dimension
from piqa_cli.training.opinion import JUDGE, PEOPLE, to_opinion

COLUMNS = {
    Dimension.HARMONY: ("harmony_score", "harmony"),
    Dimension.NATURALNESS: ("local_naturalness", "naturalness"),
}
KNOTS = np.linspace(0, 1, 21)


def main() -> None:
    """Prints a row per dimension and side, and whether the package holds the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, metavar="LABELS")
    parser.add_argument("ratings", type=Path, metavar="RATINGS")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    people = json.loads(options.labels.read_text("utf-8"))
    with options.ratings.open(encoding="utf-8", newline="") as stream:
        judge = list(csv.DictReader(stream))
    rows: list[common.Row] = []
    for dimension, (of_people, of_judge) in COLUMNS.items():
        for side, values, held in (
            ("people", [float(row[of_people]) for row in people], PEOPLE[dimension]),
            ("judge", [float(row[of_judge]) for row in judge], JUDGE[dimension]),
        ):
            found = np.round(np.quantile(values, KNOTS), 2)
            same = "yes" if np.allclose(found, held) else "NO"
            rows.append((dimension.value, side, len(values), " ".join(f"{v:g}" for v in found), same))
        moved = [abs(to_opinion(dimension, float(row[of_judge])) - float(row[of_judge])) for row in judge]
        rows.append((dimension.value, "mean move of a rating", len(judge), f"{np.mean(moved):.3f}", "-"))
    columns = ("dimension", "side", "n", "quantiles, every 5 %", "as in the package")
    common.publish([common.Table("From the judge's scale to people's", columns, tuple(rows))], options.json)


if __name__ == "__main__":
    main()
