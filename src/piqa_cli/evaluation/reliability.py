"""Whether scores mean what they say: the mean rating behind a score, and how often the truth lies within the spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from piqa_cli.evaluation.joining import Case
from piqa_cli.pairs.columns import DIMENSIONS
from piqa_cli.schema import Dimension

BINS = 10
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
STATED = 0.8
"""What `Score.spread` is half the interval of."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Edits of neighbouring scores."""

    count: int
    score: float
    rating: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of ratings within the interval that a score states for this probability."""

    stated: float
    found: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """One dimension of some records.

    `error` is the mean distance of a bin's score from its rating, weighted by edits; `coverage` is empty where no score
    has a spread, over `with_spread` edits otherwise.
    """

    system: str
    dimension: Dimension
    bins: tuple[Bin, ...]
    error: float
    with_spread: int
    coverage: tuple[Coverage, ...]


def reliability(name: str, cases: Sequence[Case]) -> tuple[Reliability, ...]:
    """Every dimension of some records. Other levels than 80 % take the spread for a normal distribution's."""
    return tuple(_of(name, cases, dimension) for dimension in DIMENSIONS)


def _of(name: str, cases: Sequence[Case], dimension: Dimension) -> Reliability:
    rows: list[tuple[float, float, float]] = []
    for case in cases:
        value, rating = case.value(dimension), case.label.rating(dimension)
        if case.assessment is not None and value is not None and rating is not None:
            spread = case.assessment.scores.of(dimension).spread
            rows.append((value, rating, np.nan if spread is None else spread))
    table = np.array(rows, np.float64).reshape(-1, 3)
    bins = _bins(table[:, 0], table[:, 1])
    error = sum(one.count * abs(one.score - one.rating) for one in bins) / len(table) if len(table) else np.nan
    known = table[~np.isnan(table[:, 2])]
    return Reliability(name, dimension, bins, float(error), len(known), _coverage(known))


def _bins(scores: NDArray[np.float64], ratings: NDArray[np.float64]) -> tuple[Bin, ...]:
    """About as many edits in each; equal scores stay together."""
    if scores.size == 0:
        return ()
    edges = np.unique(np.quantile(scores, np.arange(1, BINS) / BINS))
    which = np.searchsorted(edges, scores, "right")
    return tuple(
        Bin(int(members.sum()), float(scores[members].mean()), float(ratings[members].mean()))
        for number in np.unique(which)
        for members in (which == number,)
    )


def _coverage(known: NDArray[np.float64]) -> tuple[Coverage, ...]:
    if len(known) == 0:
        return ()
    distance = np.abs(known[:, 1] - known[:, 0])
    unit = known[:, 2] / stats.norm.ppf((1 + STATED) / 2)
    return tuple(
        Coverage(level, float(np.mean(distance <= unit * stats.norm.ppf((1 + level) / 2) + 1e-12))) for level in LEVELS
    )
