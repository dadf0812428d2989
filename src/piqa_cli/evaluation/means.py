"""Means and shares over edits, with intervals over photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from piqa_cli.evaluation.scores import Resampling
from piqa_cli.metrics import Interval, bootstrap_values, percentile_interval

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean or share over `count` edits with its interval; NaN over none."""

    name: str
    count: int
    value: float
    low: float = _NAN
    high: float = _NAN


def mean_of(name: str, values: Sequence[float], sources: Sequence[str], how: Resampling) -> Mean:
    """The mean of the values that are not NaN; the interval draws whole photos."""
    return ratio_of(name, values, [1.0] * len(values), sources, how)


def ratio_of(
    name: str, above: Sequence[float], below: Sequence[float], sources: Sequence[str], how: Resampling
) -> Mean:
    """sum(above) / sum(below) over the edits whose two values are not NaN; the interval draws whole photos."""
    a, b = np.array(above, np.float64), np.array(below, np.float64)
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known], b[known]
    if b.sum() == 0:
        return Mean(name, int(a.size), _NAN)
    interval = Interval(_NAN, _NAN)
    if how.resamples:
        group = np.array(sources, np.str_)[known]
        values = bootstrap_values(_ratio, a, b, group=group, resamples=how.resamples, seed=how.seed)
        interval = percentile_interval(values)
    return Mean(name, int(a.size), _ratio(a, b), interval.low, interval.high)


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    total = b.sum()
    return float(a.sum() / total) if total else _NAN
