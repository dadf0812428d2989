"""Fit the overall score to people's ratings, and say how well it predicts them on photos held out.

    python -m benchmarks.fit_fusion scored_img.json

LABELS is the human-rated part of EPAIQA-15K in its published format; it is not part of this project. The
coefficients, fitted to all rows, are the literals in `piqa_cli.fusion`; the figures beside them come from
fits to four fifths of the photos, on the other fifth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from piqa_cli.metrics import plcc, rmse, srcc
from piqa_cli.pairs.epaiqa import Label, parse_labels, split_of
from piqa_cli.schema import Dimension, Failure

Array = NDArray[np.float64]
DIMENSIONS = (Dimension.OVERALL, Dimension.COMPLETION, Dimension.HARMONY, Dimension.NATURALNESS)


@dataclass(frozen=True, slots=True)
class Ratings:
    """Columns of the label file, one entry per edit; `test` marks the photos that are held out."""

    test: NDArray[np.bool_]
    overall: Array
    completion: Array
    harmony: Array
    naturalness: Array

    def where(self, rows: NDArray[np.bool_]) -> Ratings:
        """The ratings of some rows."""
        columns = (self.overall, self.completion, self.harmony, self.naturalness)
        return Ratings(self.test[rows], *(column[rows] for column in columns))


def _linear(r: Ratings) -> Array:
    return np.stack([np.ones_like(r.overall), r.completion, r.harmony, r.naturalness], 1)


def _products(r: Ratings) -> Array:
    c, h, n = r.completion, r.harmony, r.naturalness
    return np.stack([np.ones_like(c), c, h, n, c * h, c * n, h * n], 1)


def _region(r: Ratings) -> Array:
    h, n = r.harmony, r.naturalness
    return np.stack([np.ones_like(h), h, n, h * n], 1)


def _everything(r: Ratings) -> NDArray[np.bool_]:
    return np.ones(r.overall.shape, bool)


def _done(r: Ratings) -> NDArray[np.bool_]:
    return np.equal(r.completion, 3)


@dataclass(frozen=True, slots=True)
class Variant:
    """A fit: its terms, and the rows it is fitted to and tested on."""

    name: str
    terms: tuple[str, ...]
    design: Callable[[Ratings], Array]
    rows: Callable[[Ratings], NDArray[np.bool_]]


VARIANTS: tuple[Variant, ...] = (
    Variant("C, H, N linear", ("1", "C", "H", "N"), _linear, _everything),
    Variant("C, H, N with products (ALL_TERMS)", ("1", "C", "H", "N", "CH", "CN", "HN"), _products, _everything),
    Variant("H, N of completed edits (DONE)", ("1", "H", "N", "HN"), _region, _done),
    Variant("H, N known, C unknown", ("1", "H", "N", "HN"), _region, _everything),
)


def read(path: Path) -> Ratings:
    """The rows of a label file that have all four ratings.

    Raises:
        InputError: the file is not such a list.
    """
    labels = [label for label in parse_labels(str(path)) if not isinstance(label, Failure)]
    rated = [label for label in labels if all(label.rating(dimension) is not None for dimension in DIMENSIONS)]
    columns = np.array([_row(label) for label in rated], np.float64).T
    test = np.array([split_of(label.source_name) == "test" for label in rated])
    return Ratings(test, *columns)


def _row(label: Label) -> list[float]:
    return [label.rating(dimension) or 0.0 for dimension in DIMENSIONS]


def fit(variant: Variant, ratings: Ratings) -> Array:
    """Least-squares coefficients, in the order of the variant's terms."""
    return np.asarray(np.linalg.lstsq(variant.design(ratings), ratings.overall, rcond=None)[0], np.float64)


def coefficients(ratings: Ratings) -> common.Table:
    """Every variant fitted to all its rows."""
    rows: list[common.Row] = []
    for variant in VARIANTS:
        used = ratings.where(variant.rows(ratings))
        weights = fit(variant, used)
        residual = float(np.std(used.overall - variant.design(used) @ weights))
        text = " ".join(f"{weight:+.4f} {term}" for weight, term in zip(weights, variant.terms, strict=True))
        rows.append((variant.name, len(used.overall), text, residual))
    return common.Table("Coefficients, all rows", ("fit", "n", "overall =", "residual sd"), tuple(rows))


def held_out(ratings: Ratings) -> common.Table:
    """Every variant fitted to the training photos and measured on the others, clipped to the scale."""
    rows: list[common.Row] = []
    for variant in VARIANTS:
        used = ratings.where(variant.rows(ratings))
        weights = fit(variant, used.where(~used.test))
        test = used.where(used.test)
        predicted = np.clip(variant.design(test) @ weights, 1, 5)
        figures = (srcc(predicted, test.overall), plcc(predicted, test.overall), rmse(predicted, test.overall))
        rows.append((variant.name, len(test.overall), *figures))
    note = "Split by photo. Each fit is tested on rows of the kind it was fitted to."
    return common.Table("Held-out photos", ("fit", "n", "SRCC", "PLCC", "RMSE"), tuple(rows), note)


def by_completion(ratings: Ratings) -> common.Table:
    """Overall by completion alone: what a failed edit gets."""
    rows: list[common.Row] = []
    for level in (1, 2, 3):
        overall = ratings.overall[ratings.completion == level]
        rows.append((level, len(overall), float(overall.mean()), float(overall.std())))
    return common.Table("Overall by completion (MEAN_BY_COMPLETION)", ("C", "n", "mean", "sd"), tuple(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path, metavar="LABELS", help="EPAIQA-15K's label file")
    parser.add_argument("--json", type=Path, help="also write the tables to this file as JSON")
    options = parser.parse_args(arguments)
    ratings = read(options.labels)
    common.publish((coefficients(ratings), held_out(ratings), by_completion(ratings)), options.json)


if __name__ == "__main__":
    main()
