"""Whether two sets of records differ by more than chance: a paired bootstrap over photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from piqa_cli.evaluation.logistic import fit_logistic
from piqa_cli.evaluation.scores import (
    METRICS,
    SUBSETS,
    Columns,
    Metric,
    Resampling,
    Subset,
    System,
    columns_of,
    measure,
    resampled,
)
from piqa_cli.metrics import percentile_interval, tie_calibrated_accuracy
from piqa_cli.pairs.columns import Array, Ratings

_NAN = float("nan")
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second on the `count` edits that both scored, with its 95 % interval.

    `p` is two-sided; `p_holm` is corrected over the subsets of the metric. NaN where there is no figure, and `reason`
    says why.
    """

    subset: Subset
    metric: Metric
    count: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    reason: str | None = None

    @property
    def significant(self) -> bool:
        """Below LEVEL after the correction."""
        return self.p_holm < LEVEL


def compare(ratings: Ratings, first: System, second: System, how: Resampling) -> tuple[Difference, ...]:
    """Every metric on every subset. Both systems are drawn on the same photos, on the edits that both scored.

    Raises:
        ValueError: no resamples.
    """
    by_subset = [_on_subset(ratings, first, second, how, subset) for subset in SUBSETS]
    columns = [_corrected([row[index] for row in by_subset]) for index in range(len(METRICS))]
    return tuple(column[index] for index in range(len(SUBSETS)) for column in columns)


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) of p-values, in their order; NaN ones are passed over."""
    known = sorted((value, index) for index, value in enumerate(values) if not np.isnan(value))
    corrected, highest = [_NAN] * len(values), 0.0
    for rank, (value, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * value))
        corrected[index] = highest
    return corrected


def two_sided(differences: Array) -> float:
    """Twice the smaller share of resampled differences on either side of 0, at least 2 / (n + 1); NaN for none."""
    known = differences[~np.isnan(differences)]
    if known.size == 0:
        return _NAN
    fewer = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return float(min(1.0, 2 * (fewer + 1) / (known.size + 1)))


def _corrected(rows: Sequence[Difference]) -> list[Difference]:
    return [replace(row, p_holm=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True)]


def _on_subset(ratings: Ratings, first: System, second: System, how: Resampling, subset: Subset) -> list[Difference]:
    sides = (columns_of(ratings, first, subset, second), columns_of(ratings, second, subset, first))
    (one, _), (other, _) = (measure(side, Resampling(0)) for side in sides)
    rows: list[Difference] = []
    for index, metric in enumerate(METRICS):
        a, b, count = one[index], other[index], sides[0].truth.size
        reason = a.reason or b.reason
        if reason is not None:
            gaps = (_NAN,) * 5
        else:
            drawn = _drawn(metric, sides[0], how) - _drawn(metric, sides[1], how)
            interval = percentile_interval(drawn)
            gaps = (a.value - b.value, interval.low, interval.high, two_sided(drawn), _NAN)
        rows.append(Difference(subset, metric, count, a.value, b.value, *gaps, reason=reason))
    return rows


def _drawn(metric: Metric, columns: Columns, how: Resampling) -> Array:
    curve = fit_logistic(columns.predicted, columns.truth) if metric == "plcc_logistic" else ""
    epsilon = tie_calibrated_accuracy(columns.predicted, columns.truth).epsilon if metric == "accuracy" else _NAN
    return resampled(metric, columns, how, curve, epsilon)
