"""How well scores agree with ratings, a dimension at a time, with intervals over photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from piqa_cli.evaluation.joining import Case
from piqa_cli.evaluation.logistic import Logistic, fit_logistic
from piqa_cli.metrics import (
    Interval,
    bootstrap_counts,
    bootstrap_values,
    krcc,
    percentile_interval,
    plcc,
    rmse,
    srcc,
    tie_calibrated_accuracy,
)
from piqa_cli.pairs.columns import DIMENSIONS, Array, Ratings, table_of
from piqa_cli.schema import Dimension

Metric = Literal["srcc", "krcc", "plcc", "plcc_logistic", "rmse", "accuracy"]
Kind = Literal["assessed", "blind", "ratings"]
METRICS: tuple[Metric, ...] = ("srcc", "krcc", "plcc", "plcc_logistic", "rmse", "accuracy")
LOWER_IS_BETTER: tuple[Metric, ...] = ("rmse",)
_NAN = float("nan")
_BLOCK = 512  # rows of the table of pairs that are held at once


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the rated edits and one dimension of theirs; `completed` keeps those that people rated as done."""

    dimension: Dimension
    completed: bool = False

    @property
    def name(self) -> str:
        """As tables and files call it."""
        return f"{self.dimension.value}_completed" if self.completed else self.dimension.value


SUBSETS: tuple[Subset, ...] = (
    Subset(Dimension.OVERALL),
    Subset(Dimension.OVERALL, completed=True),
    *(Subset(dimension) for dimension in DIMENSIONS if dimension is not Dimension.OVERALL),
)
"""Overall is nearly decided by completion, so it is also told where the edit was done."""


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """What is measured against the ratings: records, or a baseline.

    `values` are N x 4 as in `Ratings`, NaN where unknown; `reason` says why all are. `on_scale`: the values are meant
    to be on the dimension's scale, so that RMSE has a meaning. `kind` blind: saw no pixels; ratings: saw what people
    said of the other dimensions.
    """

    name: str
    kind: Kind
    values: Array
    on_scale: bool = True
    reason: str | None = None

    def of(self, dimension: Dimension) -> Array:
        """The N values of a dimension."""
        return np.asarray(self.values[:, DIMENSIONS.index(dimension)], np.float64)


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's value and its interval; NaN where it is not defined, and `reason` then says why."""

    metric: Metric
    value: float
    low: float = _NAN
    high: float = _NAN
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One system on one subset.

    Of `rated` edits `scored` have a value; `nulls` were assessed without one, `failed` could not be assessed. `epsilon`
    is the tie calibration's, on the scale of the values.
    """

    system: str
    kind: Kind
    subset: Subset
    rated: int
    scored: int
    nulls: int
    failed: int
    figures: tuple[Figure, ...]
    epsilon: float

    def figure(self, metric: Metric) -> Figure:
        """One of the figures."""
        return self.figures[METRICS.index(metric)]


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are made; no resamples make none."""

    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The values that a system and people both gave, and the photos they belong to."""

    predicted: Array
    truth: Array
    sources: NDArray[np.str_]


def rows_of(ratings: Ratings, subset: Subset) -> NDArray[np.bool_]:
    """Which of the N edits are in the subset and have a rating."""
    rows = ~np.isnan(ratings.of(subset.dimension))
    return rows & ratings.completed if subset.completed else rows


def system_of(name: str, cases: Sequence[Case]) -> System:
    """Records as columns, nulls and failures as NaN."""
    return System(name, "assessed", table_of(cases, Case.value))


def columns_of(ratings: Ratings, system: System, subset: Subset, *others: System) -> Columns:
    """What the system and people both gave in the subset, and every one of `others` as well."""
    rows = rows_of(ratings, subset)
    for one in (system, *others):
        rows &= np.isfinite(one.of(subset.dimension))
    sources = np.array(ratings.sources, np.str_)[rows] if rows.any() else np.zeros(0, np.str_)
    return Columns(system.of(subset.dimension)[rows], ratings.of(subset.dimension)[rows], sources)


def score_rows(
    ratings: Ratings, system: System, failed: NDArray[np.bool_], how: Resampling, subsets: Iterable[Subset] = SUBSETS
) -> tuple[ScoreRow, ...]:
    """A system on every subset.

    Args:
        ratings: of N edits.
        system: N values a dimension.
        failed: N, where the pair could not be assessed.
        how: of the intervals.
        subsets: which.
    """
    rows: list[ScoreRow] = []
    for subset in subsets:
        rated = rows_of(ratings, subset)
        columns = columns_of(ratings, system, subset)
        figures, epsilon = measure(columns, how, on_scale=system.on_scale, reason=system.reason)
        scored, broken = columns.truth.size, int(np.count_nonzero(rated & failed))
        nulls = int(rated.sum()) - scored - broken
        rows.append(
            ScoreRow(system.name, system.kind, subset, int(rated.sum()), scored, nulls, broken, figures, epsilon)
        )
    return tuple(rows)


def measure(
    columns: Columns, how: Resampling, *, on_scale: bool = True, reason: str | None = None
) -> tuple[tuple[Figure, ...], float]:
    """Every metric with its interval, in the order of METRICS, and the tie calibration's epsilon.

    Args:
        columns: N values.
        how: of the intervals, which draw whole photos.
        on_scale: whether RMSE has a meaning.
        reason: why there are no values, if it is known.
    """
    curve = fit_logistic(columns.predicted, columns.truth)
    calibrated = tie_calibrated_accuracy(columns.predicted, columns.truth)
    figures: list[Figure] = []
    for metric in METRICS:
        why = reason or _undefined(metric, columns, curve, on_scale=on_scale)
        if why is not None:
            figures.append(Figure(metric, _NAN, reason=why))
            continue
        value = calibrated.accuracy if metric == "accuracy" else _value(metric, columns, curve)
        interval = Interval(_NAN, _NAN)
        if how.resamples:
            interval = percentile_interval(resampled(metric, columns, how, curve, calibrated.epsilon))
        figures.append(Figure(metric, value, interval.low, interval.high))
    return tuple(figures), calibrated.epsilon


def resampled(metric: Metric, columns: Columns, how: Resampling, curve: Logistic | str, epsilon: float) -> Array:
    """The metric on each resample of photos; the curve and epsilon are those of all values, as fitted once."""
    a, b = columns.predicted, columns.truth
    if metric == "accuracy":
        return _resampled_accuracy(columns, how, epsilon)
    if metric == "plcc_logistic":
        a, metric = (curve(a) if isinstance(curve, Logistic) else a), "plcc"
    return bootstrap_values(PLAIN[metric], a, b, group=columns.sources, resamples=how.resamples, seed=how.seed)


PLAIN: dict[str, Callable[[Array, Array], float]] = {"srcc": srcc, "krcc": krcc, "plcc": plcc, "rmse": rmse}


def _value(metric: Metric, columns: Columns, curve: Logistic | str) -> float:
    a, b = columns.predicted, columns.truth
    if metric == "plcc_logistic":
        return plcc(curve(a), b) if isinstance(curve, Logistic) else _NAN
    return PLAIN[metric](a, b)


def _undefined(metric: Metric, columns: Columns, curve: Logistic | str, *, on_scale: bool) -> str | None:
    """Why a metric has no value; None where it has one."""
    if columns.truth.size == 0:
        return "no edit has both a rating and a score"
    if metric == "rmse":
        return None if on_scale else "the values are not on the dimension's scale"
    if columns.truth.size < 2:
        return "needs at least two edits"
    if metric == "accuracy":
        return None
    for side, values in (("scores", columns.predicted), ("ratings", columns.truth)):
        if np.all(values == values[0]):
            return f"all {side} are equal"
    return curve if metric == "plcc_logistic" and isinstance(curve, str) else None


def _resampled_accuracy(columns: Columns, how: Resampling, epsilon: float) -> Array:
    """Share of pairs put as people do on each resample; a value never makes a pair with its own copy.

    With w copies of a value the share is a sum of w_i w_j over pairs, so one table of pairs serves all resamples.
    """
    a, b = columns.predicted, columns.truth
    times = bootstrap_counts(columns.sources, a.size, how.resamples, how.seed).astype(np.float32)
    right = np.zeros(how.resamples)
    for first in range(0, a.size, _BLOCK):
        rows = slice(first, first + _BLOCK)
        agrees = _agreement(a, b, rows, epsilon).astype(np.float32)
        right += np.einsum("ij,ij->i", times[:, rows] @ agrees, times, dtype=np.float64)
    total = times.sum(axis=1, dtype=np.float64) ** 2 - np.square(times, dtype=np.float64).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, right / total, _NAN)


def _agreement(a: Array, b: Array, rows: slice, epsilon: float) -> NDArray[np.bool_]:
    """Some rows of the table of pairs: True where the prediction puts the pair as people do; not on the diagonal."""
    told, wanted = a[rows, None] - a[None, :], b[rows, None] - b[None, :]
    tied = np.abs(told) <= epsilon
    agrees = np.where(tied, wanted == 0, told * wanted > 0)
    own = np.arange(agrees.shape[0])
    agrees[own, own + rows.start] = False
    return np.asarray(agrees, np.bool_)
