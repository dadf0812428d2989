"""The sample of synthetic edits that was rated: makes its pictures for raters, and gathers what they wrote.

    python scripts/rate_sample.py make --data DATA --out SHEETS --raters 8
    python scripts/rate_sample.py collect --data DATA --out SHEETS

`make` writes a folder a rater (r000.png ..., source left and edited right; list.csv with the instructions) and
`key.csv`, which no rater sees. Every rater also gets a few real edits of `pairs/` whose ratings are known, to see
whether the scale drifts. `collect` reads each rater's `ratings.csv` (file, overall, completion, harmony, naturalness,
preserved, box, note), prints how the known ones came out, and writes `src/piqa_cli/training/synthetic_ratings.csv`.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import common
from piqa_cli.metrics import srcc
from piqa_cli.synthesis import FAMILIES, PhotoLibrary, Sample, Split, make_sample
from piqa_cli.training.edits import load_rgb
from piqa_cli.training.ratings import COLUMNS

TABLE = Path(__file__).parents[1] / "src" / "piqa_cli" / "training" / "synthetic_ratings.csv"
ROUNDS = 58  # edits of each family
SIDE = 448  # of the pictures
SHOWN = 600  # longest side of a picture on a sheet
FIRST_SEED = 9_000_000
KNOWN_EACH = 5  # real edits among a rater's sheets
RATED = ("overall", "harmony", "naturalness", "preserved")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one synthetic edit is made from."""

    number: int
    family: str
    severity: float
    split: Split

    @property
    def seed(self) -> int:
        """Of `make_sample`."""
        return FIRST_SEED + self.number

    def make(self, library: PhotoLibrary) -> Sample:
        """The edit."""
        return make_sample(library, self.seed, SIDE, self.split, family=self.family, severity=self.severity)


def recipes() -> Iterator[Recipe]:
    """All families in turn; three in twenty without a fault; of every 29 rounds 20 train, 4 val, 5 test."""
    for number in range(ROUNDS * len(FAMILIES)):
        rng = np.random.default_rng((9, number))
        severity = 0.0 if rng.random() < 0.15 else round(float(rng.uniform(0.05, 1)), 3)
        place = number // len(FAMILIES) % 29
        split: Split = "train" if place < 20 else "val" if place < 24 else "test"
        yield Recipe(number, FAMILIES[number % len(FAMILIES)].name, severity, split)


def sheet(source: NDArray[np.uint8], edited: NDArray[np.uint8]) -> Image.Image:
    """Source left, edited right, each at most `SHOWN` pixels long, a white gap between."""
    pictures = [Image.fromarray(picture) for picture in (source, edited)]
    for picture in pictures:
        picture.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
    size = pictures[0].width + 8 + pictures[1].width, max(picture.height for picture in pictures)
    drawn = Image.new("RGB", size, "white")
    drawn.paste(pictures[0], (0, 0))
    drawn.paste(pictures[1], (pictures[0].width + 8, 0))
    return drawn


def make(data: Path, out: Path, raters: int) -> None:
    """Writes the sheets, in an order that tells nothing."""
    library = PhotoLibrary(data / "photos")
    known = [pair for pair in common.real_pairs(data) if pair.prompt]
    order = np.random.default_rng(0)
    made: list[Recipe | common.RealPair] = list(recipes())
    made += [known[int(i)] for i in order.permutation(len(known))[: KNOWN_EACH * raters]]
    shuffled = [made[int(i)] for i in order.permutation(len(made))]
    lists: list[list[list[str]]] = [[["file", "instruction"]] for _ in range(raters)]
    for place, item in enumerate(shuffled):
        mine = lists[place % raters]
        mine.append([f"r{len(mine) - 1:03d}.png", "" if isinstance(item, Recipe) else item.prompt or ""])
    for rater, rows in enumerate(lists):
        (out / f"rater{rater}").mkdir(parents=True, exist_ok=True)
        _write(out / f"rater{rater}" / "list.csv", rows)
    key = [["rater", "file", "id", "level", "area", "harmony_severity", "naturalness_severity", "drift_severity"]]
    for place, item in enumerate(shuffled):
        rater, file = place % raters, f"r{place // raters:03d}.png"
        drawn, entry = _drawn(item, library)
        drawn.save(out / f"rater{rater}" / file)
        key.append([str(rater), file, *entry])
    _write(out / "key.csv", key)


def _drawn(item: Recipe | common.RealPair, library: PhotoLibrary) -> tuple[Image.Image, list[str]]:
    """The sheet, and what the key says of it after rater and file."""
    if not isinstance(item, Recipe):
        return sheet(load_rgb(item.source), load_rgb(item.edited)), [item.id, *[""] * 5]
    sample = item.make(library)
    numbers = (
        sample.edited.mean(), sample.mask.mean(), sample.harmony_severity, sample.naturalness_severity,
        sample.drift_severity,
    )  # fmt: skip
    return sheet(sample.source, sample.edited), [str(item.number), *(f"{number:.4f}" for number in numbers)]


def collect(data: Path, out: Path) -> None:
    """Gathers the ratings into the table; prints how well the known ones agree with what is known of them."""
    given = {
        (folder.name.removeprefix("rater"), row["file"]): row
        for folder in sorted(out.glob("rater*"))
        for row in _read(folder / "ratings.csv")
    }
    known = {row["id"]: row for row in _read(data / "pairs" / "ratings.csv")}
    every = {str(recipe.number): recipe for recipe in recipes()}
    rows: list[list[str]] = []
    again: list[tuple[dict[str, str], dict[str, str]]] = []
    for entry in _read(out / "key.csv"):
        rating = given.get((entry["rater"], entry["file"]))
        if rating is None:
            print(f"not rated: rater {entry['rater']}, {entry['file']}")
        elif entry["id"] in known:
            again.append((known[entry["id"]], rating))
        else:
            rows.append(_row(every[entry["id"]], entry, rating))
    _write(TABLE, [list(COLUMNS), *sorted(rows, key=lambda row: int(row[1]))])
    print(f"{len(rows)} rated synthetic edits in {TABLE}")
    for name in RATED:
        pairs = [(float(a[name]), float(b[name])) for a, b in again if a[name] and b[name]]
        before, after = (np.array(side) for side in zip(*pairs, strict=True))
        slope, shift = np.polyfit(after, before, 1)
        print(
            f"{name}: {len(pairs)} known, SRCC {srcc(before, after):.2f}, mean {np.mean(after - before):+.2f}, "
            f"known = {slope:.2f} x given {shift:+.2f}"
        )


def _row(recipe: Recipe, entry: dict[str, str], rating: dict[str, str]) -> list[str]:
    values = [rating[name] for name in RATED]
    if not all(1 <= float(value) <= 5 and math.isfinite(float(value)) for value in values):
        raise SystemExit(f"rater {entry['rater']}, {entry['file']}: ratings from 1 to 5 expected, found {values}")
    severities = [entry[f"{name}_severity"] for name in ("harmony", "naturalness", "drift")]
    return [
        f"made{recipe.number:04d}", str(recipe.seed), str(SIDE), recipe.split, recipe.family, str(recipe.severity),
        *severities, entry["area"], entry["level"], *values, rating["box"], rating["note"],
    ]  # fmt: skip


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _write(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "collect"))
    parser.add_argument("--data", type=Path, default=common.DATA, help="folder with photos/ and pairs/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the sheets")
    parser.add_argument("--raters", type=int, default=8)
    options = parser.parse_args()
    if options.what == "make":
        make(options.data, options.out, options.raters)
    else:
        collect(options.data, options.out)


if __name__ == "__main__":
    main()
