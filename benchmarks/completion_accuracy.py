"""How far the prompt completion that compact can verify agrees with the silver ratings; where its spreads come from.

python -m benchmarks.completion_accuracy --data ../shared/data
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from benchmarks.finding_thresholds import pair_with_mask
from piqa_cli.compact.completion import colour_value, is_removal, named_colour, removal_value, share_of_colour
from piqa_cli.compact.features import measure


def report(name: str, values: list[float], truths: list[float]) -> None:
    """One line: Spearman, mean error, the width that holds 80 %, and the same for the best constant."""
    value, truth = np.array(values), np.array(truths)
    error, constant = np.abs(value - truth), np.abs(truth - np.median(truth))
    right = np.mean((value >= 2.25) == (truth >= 2.25))
    print(
        f"{name:8s} n={truth.size:3d}  SRCC {spearmanr(value, truth).statistic:5.2f}  mean error {error.mean():.2f}",
        end="",
    )
    print(f"  80 % within {np.percentile(error, 80):.2f} (a constant: {np.percentile(constant, 80):.2f})", end="")
    print(f"  done (>= 2.25) or not: {100 * right:.0f} % right, {100 * np.mean(truth >= 2.25):.0f} % are done")


def main() -> None:
    """Prints one line for removals and one for colours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder: Path = parser.parse_args().data / "train_pairs"
    cv2.setNumThreads(1)
    with (folder / "ratings.csv").open(newline="") as stream:
        ratings = {row["id"]: row for row in csv.DictReader(stream)}
    removal: tuple[list[float], list[float]] = ([], [])
    colour: tuple[list[float], list[float]] = ([], [])
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        prompt, truth = row.get("prompt"), ratings[row["id"]]["completion"]
        if not prompt or not truth:
            continue
        name = None if is_removal(prompt) else named_colour(prompt)
        if name is None and not is_removal(prompt):
            continue
        source, edited, mask = pair_with_mask(folder, row, ratings[row["id"]]["box"])
        if name is None:
            measured = measure(edited, source, mask, np.ones(mask.shape, bool))
            if measured.kept is not None:
                removal[0].append(removal_value(measured))
                removal[1].append(float(truth))
        elif mask.sum() >= 64:
            now, before = (share_of_colour(name, picture, mask) for picture in (edited, source))
            colour[0].append(colour_value(now, before))
            colour[1].append(float(truth))
    report("removal", *removal)
    report("colour", *colour)


if __name__ == "__main__":
    main()
